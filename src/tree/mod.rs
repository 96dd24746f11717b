//! The tree: what a filesystem holds, as metadata and the length of every file, before any byte is placed.
//!
//! A [`Tree`] is frozen: its nodes are numbered in tree order (depth first, entries by the bytes of their names,
//! a hard link where it is first met), so that everything planned from it is a function of the tree alone. It is
//! made by a [`TreeBuilder`], which is also the one home of the rules by which trees are laid over each other.
//!
//! The tree is an arena made for a million entries: names in one byte buffer, nodes of 64 bytes in one `Vec`,
//! entries sorted by directory and name, xattr sets interned.

mod builder;
mod xattr;

pub use builder::{NewNode, TreeBuilder};
pub use xattr::{XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES, Xattr, XattrSet, XattrSetId};

use crate::error::{Error, Result};
use crate::units::{ContentId, index_of};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use xattr::XattrSets;

/// The longest name of one entry: ext4's and POSIX's limit.
pub const NAME_MAX_BYTES: usize = 255;
/// The longest path that a source may name: Linux's PATH_MAX counts 4,096, archives nest deeper; the limit only
/// bounds the work on a hostile name.
pub const PATH_MAX_BYTES: usize = 1 << 20;
/// Links that the lookup of one path follows: Linux's MAXSYMLINKS.
pub const SYMLINKS_MAX: usize = 40;
/// Entries in one tree: node numbers are 32 bits, and ext4 has no more inodes.
pub const ENTRIES_MAX: u32 = u32::MAX - 2;

/// The number of a node in its tree. In a frozen tree numbers follow tree order and the root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// The position in arrays that run parallel to the nodes.
    #[must_use]
    pub const fn index(self) -> usize {
        index_of(self.0)
    }
}

/// A time: seconds since 1970-01-01T00:00:00Z, negative before, and nanoseconds (0 to 999,999,999) after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// `seconds` after the epoch, to the second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// What every node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of contents.
    pub mtime: Timestamp,
    /// Extended attributes, interned in the tree.
    pub xattrs: XattrSetId,
    /// Attributes that `chattr` and the kernel set (`FS_IOC_GETFLAGS`), as far as they say something about the entry and not about
    /// where its bytes lie: see [`attribute`].
    pub attributes: u32,
    /// Project that its space is counted for (`FS_IOC_FSGETXATTR`).
    pub project: u32,
}

/// Bits of [`Metadata::attributes`]: those of `FS_IOC_GETFLAGS` (Linux, include/uapi/linux/fs.h).
pub mod attribute {
    /// All that `chattr` sets and every filesystem may keep: secure deletion, undeletable, compressed, synchronous, immutable,
    /// append only, no dump, no access time, data journalling, no tail merging, synchronous directory, top of a hierarchy,
    /// direct access (DAX), project hierarchy.
    pub const SETTABLE: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x200_0000 | 0x2000_0000;
    /// Encrypted (fscrypt): contents, targets and names are not what they seem.
    pub const ENCRYPTED: u32 = 0x800;
    /// Sealed by fs-verity.
    pub const VERITY: u32 = 0x10_0000;
    /// A directory whose names do not tell upper from lower case.
    pub const CASEFOLDED: u32 = 0x4000_0000;
    /// What trees keep.
    pub const KEPT: u32 = SETTABLE | ENCRYPTED | VERITY | CASEFOLDED;

    /// Names of the bits that `chattr` sets, as archives have them (`SCHILY.fflags`; libarchive's where it has one), and of the
    /// others as `lsattr -l` has them.
    pub const NAMES: [(&str, u32); 17] = [
        ("securedeletion", 0x1),
        ("nounlink", 0x2),
        ("compress", 0x4),
        ("sync", 0x8),
        ("schg", 0x10),
        ("sappnd", 0x20),
        ("nodump", 0x40),
        ("noatime", 0x80),
        ("journal-data", 0x4000),
        ("notail", 0x8000),
        ("dirsync", 0x1_0000),
        ("topdir", 0x2_0000),
        ("dax", 0x200_0000),
        ("projinherit", 0x2000_0000),
        ("encrypted", ENCRYPTED),
        ("verity", VERITY),
        ("casefold", CASEFOLDED),
    ];

    /// The names of all bits of `attributes` that have one.
    #[must_use]
    pub fn names(attributes: u32) -> Vec<&'static str> {
        NAMES.iter().filter(|(_, bit)| attributes & bit != 0).map(|(name, _)| *name).collect()
    }

    /// The bits of names with commas between; `Err` has a name that is not known.
    ///
    /// # Errors
    /// The first name that is not known.
    pub fn from_names(names: &str) -> Result<u32, &str> {
        let bit = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(0, |all, name| bit(name).map(|bit| all | bit).ok_or(name))
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory; its entries are [`Tree::entries`].
    Directory,
    /// A regular file.
    File(FileData),
    /// A symbolic link; its target is [`Tree::target`].
    Symlink(ByteRange),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Numbers of a device, as Linux has them: 12 bits of major, 20 of minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number, 0 to 4,095.
    pub major: u32,
    /// Minor number, 0 to 1,048,575.
    pub minor: u32,
}

/// The contents of a regular file: where they are read, how long they are, which parts are data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileData {
    /// Where the contents are read.
    pub content: ContentId,
    /// Length in bytes.
    pub length: u64,
    /// Which parts are data, where the file has holes; see [`Tree::data_ranges`].
    pub holes: HolesId,
}

/// A reference to a list of data ranges; [`HolesId::NONE`] for a file without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolesId(u32);

impl HolesId {
    /// The whole file is data.
    pub const NONE: Self = Self(u32::MAX);
}

/// A range of the tree's byte buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u32,
    len: u32,
}

/// A node: its metadata, its kind, and how many entries name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Mode, owner, time, xattrs.
    pub metadata: Metadata,
    /// Directory, file, link, device, …
    pub kind: NodeKind,
    /// Entries that name this node: more than 1 for hard links. 1 for directories.
    pub links: u32,
    /// True for a directory that no source named: the parent of something that was named. Its metadata is a default.
    pub implied: bool,
}

impl Node {
    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }
}

/// A name in a directory and the node that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The directory.
    pub parent: NodeId,
    /// The node.
    pub node: NodeId,
    name: ByteRange,
}

/// A frozen tree. Cheap to share behind an `Arc`; nothing in it changes.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Sorted by (parent, name).
    entries: Vec<Entry>,
    /// Per node the index of its first entry; one more at the end. Only directories have any.
    first_entry: Vec<u32>,
    bytes: Vec<u8>,
    holes: Vec<Vec<(u64, u64)>>,
    xattrs: XattrSets,
}

impl Tree {
    /// The number of nodes: inodes that a filesystem needs for this tree.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of names, without the root's.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The node with this number.
    ///
    /// # Panics
    /// If `id` is of another tree.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All nodes in tree order, with their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The entries of a directory, sorted by the bytes of their names; empty for anything else.
    #[must_use]
    pub fn entries(&self, directory: NodeId) -> &[Entry] {
        let first = index_of(self.first_entry[directory.index()]);
        let end = index_of(self.first_entry[directory.index() + 1]);
        &self.entries[first..end]
    }

    /// The name of an entry.
    #[must_use]
    pub fn name(&self, entry: &Entry) -> &[u8] {
        self.slice(entry.name)
    }

    /// The target of a symbolic link, empty for anything else.
    #[must_use]
    pub fn target(&self, id: NodeId) -> &[u8] {
        match self.node(id).kind {
            NodeKind::Symlink(target) => self.slice(target),
            _ => &[],
        }
    }

    /// The xattrs of a set, sorted by name.
    #[must_use]
    pub fn xattrs(&self, set: XattrSetId) -> &[Xattr] {
        self.xattrs.get(set)
    }

    /// The parts of a file that are data, as ascending, disjoint `(offset, length)` in bytes; the rest is holes.
    /// A file without holes gives one range, an empty one none.
    pub fn data_ranges(&self, file: &FileData) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (listed, dense) = if file.holes == HolesId::NONE {
            (&[][..], (file.length > 0).then_some((0, file.length)))
        } else {
            (&self.holes[index_of(file.holes.0)][..], None)
        };
        listed.iter().copied().chain(dense)
    }

    /// The entry `name` of a directory.
    #[must_use]
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let entries = self.entries(directory);
        let at = entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()?;
        Some(entries[at].node)
    }

    /// The node at `path` (leading and repeated slashes do not count), not following links.
    #[must_use]
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        path.as_ref().split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").try_fold(NodeId::ROOT, |at, part| self.child(at, part))
    }

    /// The node at `path`, following symbolic links inside the tree (at most [`SYMLINKS_MAX`]); never outside it.
    #[must_use]
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        let mut pending: Vec<&[u8]> = path.as_ref().split(|b| *b == b'/').rev().collect();
        let mut trail = vec![NodeId::ROOT];
        let mut followed = 0;
        while let Some(part) = pending.pop() {
            match part {
                b"" | b"." => {}
                b".." => {
                    if trail.len() > 1 {
                        trail.pop();
                    }
                }
                name => {
                    let child = self.child(*trail.last()?, name)?;
                    if let NodeKind::Symlink(_) = self.node(child).kind {
                        followed += 1;
                        let target = self.target(child);
                        if followed > SYMLINKS_MAX || target.len() > PATH_MAX_BYTES {
                            return None;
                        }
                        if target.first() == Some(&b'/') {
                            trail.truncate(1);
                        }
                        pending.extend(target.split(|b| *b == b'/').rev());
                    } else {
                        trail.push(child);
                    }
                }
            }
        }
        trail.last().copied()
    }

    /// The first path of a node, without a leading slash; for messages (it searches the whole tree).
    #[must_use]
    pub fn path_of(&self, id: NodeId) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let Some(entry) = self.entries.iter().find(|entry| entry.node == at) else { break };
            parts.push(self.name(entry));
            at = entry.parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// Calls `visit` with the path (no leading slash; empty for the root) and the node of every entry, in tree order:
    /// a directory before its entries, hard links once for each name.
    ///
    /// # Errors
    /// Stops at the first error that `visit` gives.
    pub fn walk(&self, visit: impl FnMut(&[u8], NodeId) -> Result<()>) -> Result<()> {
        self.walk_beneath(NodeId::ROOT, visit)
    }

    /// As [`Tree::walk`], from `directory` down; paths begin there.
    ///
    /// # Errors
    /// Stops at the first error that `visit` gives.
    pub fn walk_beneath(&self, directory: NodeId, mut visit: impl FnMut(&[u8], NodeId) -> Result<()>) -> Result<()> {
        visit(b"", directory)?;
        let top = directory.index();
        let mut path = Vec::new();
        // (next entry, end of the directory's entries, length of the directory's path)
        let mut stack = vec![(self.first_entry[top], self.first_entry[top + 1], 0)];
        while let Some((next, end, len)) = stack.last_mut() {
            if next == end {
                stack.pop();
                continue;
            }
            let entry = self.entries[index_of(*next)];
            *next += 1;
            path.truncate(*len);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(self.name(&entry));
            visit(&path, entry.node)?;
            if self.node(entry.node).is_directory() {
                let at = entry.node.index();
                stack.push((self.first_entry[at], self.first_entry[at + 1], path.len()));
            }
        }
        Ok(())
    }

    /// Takes what lies beneath the directory at `path` out of this tree, as a tree of its own whose root is that
    /// directory; the directory stays, empty. Without such a directory, or with nothing in it, there is no second tree.
    ///
    /// # Errors
    /// A hard link between what is beneath the directory and what is not: two filesystems cannot share a file.
    pub fn split_off(self, path: impl AsRef<[u8]>) -> Result<(Self, Option<Self>)> {
        let path = path.as_ref();
        let Some(directory) = self.resolve(path).filter(|id| *id != NodeId::ROOT && !self.entries(*id).is_empty()) else {
            return Ok((self, None));
        };
        let mut names_beneath: HashMap<NodeId, u32> = HashMap::new();
        self.walk_beneath(directory, |_, id| {
            if self.node(id).links > 1 {
                *names_beneath.entry(id).or_default() += 1;
            }
            Ok(())
        })?;
        let shared = |id: &NodeId| names_beneath.get(id).is_some_and(|names| *names != self.node(*id).links);
        if let Some(id) = self.nodes().map(|(id, _)| id).find(shared) {
            return Err(Error::invalid("a hard link leads out of the mount point; two filesystems cannot share a file").at_path(self.path_of(id)));
        }
        let mut beneath = TreeBuilder::new();
        beneath.overlay_beneath(&self, directory, 0)?;
        let beneath = beneath.freeze()?;
        let place = self.path_of(directory);
        let metadata = self.node(directory).metadata;
        let mut rest = TreeBuilder::from_tree(self);
        rest.remove(&place)?;
        rest.add(&place, metadata, NewNode::Directory)?;
        Ok((rest.freeze()?, Some(beneath)))
    }

    /// Raises the number of every file's contents by `base`, as [`crate::content::ContentStore::add_store`] did with the
    /// contents themselves.
    ///
    /// # Errors
    /// Over 2^32 contents.
    pub fn raise_contents(&mut self, base: u32) -> Result<()> {
        if base == 0 {
            return Ok(());
        }
        for node in &mut self.nodes {
            if let NodeKind::File(file) = &mut node.kind {
                file.content = file.content.0.checked_add(base).map(ContentId).ok_or_else(|| Error::limit("over 2^32 files"))?;
            }
        }
        Ok(())
    }

    /// SHA-256 over paths, metadata and lengths: equal for a directory, its tar and its pipe. The seed of a disk
    /// that has no name.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"rootvol tree 1\0");
        let number = |hash: &mut Sha256, value: u64| hash.update(value.to_le_bytes());
        let bytes = |hash: &mut Sha256, value: &[u8]| {
            hash.update(crate::units::u64_of(value.len()).to_le_bytes());
            hash.update(value);
        };
        let visited = self.walk(|path, id| {
            let Node { metadata, kind, .. } = self.node(id);
            bytes(&mut hash, path);
            number(&mut hash, u64::from(id.0));
            number(&mut hash, u64::from(metadata.mode));
            number(&mut hash, u64::from(metadata.uid));
            number(&mut hash, u64::from(metadata.gid));
            hash.update(metadata.mtime.seconds.to_le_bytes());
            number(&mut hash, u64::from(metadata.mtime.nanoseconds));
            for xattr in self.xattrs(metadata.xattrs) {
                bytes(&mut hash, &xattr.name);
                bytes(&mut hash, &xattr.value);
            }
            // Few sources know of these; where they say nothing the digest is what it was without them.
            if (metadata.attributes, metadata.project) != (0, 0) {
                hash.update(b"a");
                number(&mut hash, u64::from(metadata.attributes));
                number(&mut hash, u64::from(metadata.project));
            }
            match kind {
                NodeKind::Directory => hash.update(b"d"),
                NodeKind::File(file) => {
                    hash.update(b"f");
                    number(&mut hash, file.length);
                }
                NodeKind::Symlink(_) => {
                    hash.update(b"l");
                    bytes(&mut hash, self.target(id));
                }
                NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                    hash.update(if matches!(kind, NodeKind::CharDevice(_)) { b"c" } else { b"b" });
                    number(&mut hash, u64::from(device.major));
                    number(&mut hash, u64::from(device.minor));
                }
                NodeKind::Fifo => hash.update(b"p"),
                NodeKind::Socket => hash.update(b"s"),
            }
            Ok(())
        });
        debug_assert!(visited.is_ok(), "the visitor gives no error");
        hash.finalize().into()
    }

    fn slice(&self, range: ByteRange) -> &[u8] {
        &self.bytes[index_of(range.start)..][..index_of(range.len)]
    }
}

/// Whether `a` and `b` are the same on what a filesystem keeps: for tests of lossless ways.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// Splits a path into its parts: `.` and empty parts are dropped, so absolute names are confined to the root.
///
/// # Errors
/// `..` anywhere, a name over [`NAME_MAX_BYTES`], a NUL byte, a path over [`PATH_MAX_BYTES`].
pub(crate) fn split_path(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() > PATH_MAX_BYTES {
        return Err(Error::limit(format!("a path of {} bytes; at most {PATH_MAX_BYTES} are read", path.len())));
    }
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    for part in &parts {
        if *part == b".." {
            return Err(Error::corrupt("the name has a part \"..\", which could leave the root").at_path(path));
        }
        if part.len() > NAME_MAX_BYTES {
            return Err(Error::limit(format!("a name of {} bytes; a filesystem holds at most {NAME_MAX_BYTES}", part.len())).at_path(path));
        }
        if part.contains(&0) {
            return Err(Error::corrupt("the name has a NUL byte").at_path(path));
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
