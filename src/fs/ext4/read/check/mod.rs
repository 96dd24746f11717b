//! The check: whether what is not needed to read the tree is as it should be. Nothing is mended.
//!
//! | what | against |
//! |---|---|
//! | inode bitmaps, free inodes, directories, unused inodes of each group | inodes in use, by their records ([`inodes`]) |
//! | block bitmaps, free blocks of each group | claims ([`blocks`]) |
//! | totals of the superblock | sums over the groups |
//! | link counts | names |
//! | inodes in use | names: what has none is not connected |
//! | indexes of directories | hashes of the names in each leaf ([`index`]) |
//! | counts of blocks and lengths of inodes | what maps their blocks ([`record`]) |
//! | copies of superblock and descriptors | the first ones ([`copies`]) |
//! | hashes and counts of shared attributes | entries and users |
//! | quota files | what owners have ([`quota`]) |
//! | the resize inode | the blocks that are kept for growth ([`resize`]) |
//!
//! Where the journal was replayed, totals of the superblock are not judged: the kernel does not keep them while mounted.

mod blocks;
mod copies;
mod hash;
mod index;
mod inodes;
mod quota;
mod record;
mod resize;
mod superblock;

pub(super) use blocks::check as blocks;
use copies::check as copies;
pub(super) use index::check as index;
pub(super) use inodes::Totals;
pub(super) use superblock::totals;

use super::super::format::{LINK_MAX, ro_compat};
use super::findings::{Findings, Paths};
use super::scan::NodeFacts;
use super::volume::Volume;
use crate::error::Error;
use crate::tree::{NodeId, Tree, attribute};
use crate::units::u64_of;

/// Link counts against names. `by_number` are the facts of nodes by the builder's numbers.
pub(super) fn links(volume: &Volume, tree: &Tree, paths: &Paths<'_>, by_number: &[NodeFacts], findings: &mut Findings) {
    for (facts, number) in by_number.iter().zip((0..).map(NodeId)) {
        let id = paths.in_tree(number);
        if id.0 == u32::MAX {
            continue;
        }
        let node = tree.node(id);
        // Names in encrypted directories are not in the tree.
        if node.metadata.attributes & attribute::ENCRYPTED != 0 {
            continue;
        }
        let says = u32::from(facts.links);
        let counted = if node.is_directory() {
            let hidden = |child: NodeId| tree.node(child).is_directory();
            2 + u64_of(tree.entries(id).iter().filter(|entry| hidden(entry.node)).count())
        } else {
            u64::from(node.links)
        };
        let many = node.is_directory() && volume.has_ro_compat(ro_compat::DIR_NLINK) && says == 1;
        if u64::from(says) != counted && !many && !(node.is_directory() && counted > u64::from(LINK_MAX) && says == 1) {
            let message = format!("inode {} says {says} links; {counted} were found", facts.ino);
            findings.push_at(Some(super::findings::Spot::node(number)), Error::corrupt(message));
        }
    }
}

impl super::scan::Scan<'_> {
    /// What can be judged before the tree is frozen.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn check(&mut self, orphans: &super::system::Orphans) -> crate::error::Result<Totals> {
        let totals = self.check_inodes(orphans)?;
        self.settle_late(orphans);
        superblock::fields(self.volume, &mut self.findings);
        superblock::descriptors(self.volume, self.groups, &mut self.findings);
        self.check_resize_inode();
        self.check_quotas(&totals.usage);
        copies(self.volume, &mut self.cache, &mut self.findings)?;
        for error in std::mem::take(&mut self.xattrs.odd).into_iter().chain(self.xattrs.wrong_references()) {
            self.findings.push(error);
        }
        for (block, says, users) in self.xattrs.wrong_counts() {
            let message = format!("block {block} of extended attributes says {says} users; it has {users}");
            self.findings.push(Error::corrupt(message).at_offset(self.volume.offset(block)));
        }
        super::journal::check(self);
        Ok(totals)
    }
}
