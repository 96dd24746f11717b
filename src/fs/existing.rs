//! A filesystem that is there already, read: the same tree and contents that every other source gives, and where they lie.

use crate::content::Contents;
use crate::error::Error;
use crate::report::FilesystemSummary;
use crate::tree::{NodeId, Tree};
use crate::units::MIB;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How a filesystem is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Judge what reading the tree alone does not need too: bitmaps and counts against what is in use, link counts, copies. What
    /// is wrong goes to [`ReadFilesystem::findings`].
    pub check: bool,
    /// Names in all directories together: 8 Mi.
    pub entries: u64,
    /// Bytes in all different xattr sets together: 256 MiB.
    pub xattr_bytes: u64,
    /// Findings after which no more are kept: 1,000.
    pub findings: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { check: false, entries: 8 << 20, xattr_bytes: 256 * MIB, findings: 1000 }
    }
}

/// A filesystem that was read.
pub struct ReadFilesystem {
    /// What it holds, as far as it can be read.
    pub tree: Tree,
    /// The contents of its files, by the numbers in the tree from 0 on.
    pub contents: Arc<dyn Contents>,
    /// How many contents there are.
    pub contents_count: u32,
    /// The inode of each node of the tree; empty where the filesystem has no inodes.
    pub inodes: Vec<u32>,
    /// What its superblock or boot sector says.
    pub summary: FilesystemSummary,
    /// What a person should know and that is not wrong: a journal that was replayed, files that were open when it was copied.
    pub notes: Vec<String>,
    /// What is wrong, each with its path or its offset in the filesystem. What a finding concerns is not in the tree (a file whose
    /// blocks cannot be found), or not all of it is (a directory); all else can be relied on.
    pub damage: Vec<Error>,
    /// What is wrong and does not touch the tree (with [`ReadOptions::check`]): counts, bitmaps, checksums of what is not needed.
    pub findings: Vec<Error>,
    /// What cannot be read although nothing is wrong, by path: encrypted directories and files. They stand in the tree, empty.
    pub unreadable: Vec<Error>,
    /// Where everything lies, ascending and disjoint. What lies in none of them is free.
    pub places: Vec<Place>,
}

impl ReadFilesystem {
    /// Whether anything at all was found that is not as it should be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.findings.is_empty()
    }

    /// What lies at `offset_bytes` of the filesystem; `None` where it is free.
    #[must_use]
    pub fn at(&self, offset_bytes: u64) -> Option<&Place> {
        let place = self.places.get(self.places.partition_point(|place| place.range.end <= offset_bytes))?;
        (place.range.start <= offset_bytes).then_some(place)
    }
}

impl fmt::Debug for ReadFilesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFilesystem")
            .field("tree", &self.tree.node_count())
            .field("damage", &self.damage)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// A range of the filesystem and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the filesystem's begin.
    pub range: Range<u64>,
    /// Whose they are.
    pub owner: PlaceOwner,
}

/// Whose a range of a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceOwner {
    /// Contents of a file, entries of a directory, the target of a link: from `offset_bytes` in it.
    Data {
        /// The node.
        node: NodeId,
        /// The offset in the node's data of the range's first byte.
        offset_bytes: u64,
    },
    /// What a node needs beside its data: nodes of its extent tree or block map, attributes.
    About {
        /// The node; of several that share it, the first.
        node: NodeId,
        /// Such as `extent tree`, `xattrs`.
        what: &'static str,
    },
    /// A structure of the filesystem's own.
    Structure {
        /// Such as `inode table`, `journal`, `file allocation table`.
        what: &'static str,
        /// The block group, where it is of one.
        group: Option<u32>,
    },
}
