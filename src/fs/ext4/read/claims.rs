//! Who has which block: everything that is met says so, and what two claim is found once all is known.

use super::findings::{Findings, Paths, Spot};
use super::volume::Volume;
use crate::error::{Error, escape};
use crate::fs::existing::{Place, PlaceOwner};
use crate::tree::NodeId;
use crate::units::index_of;
use std::collections::HashMap;

/// Structures of the filesystem's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    BootBlock,
    Superblock,
    Descriptors,
    ReservedDescriptors,
    BlockBitmap,
    InodeBitmap,
    InodeTable,
    Journal,
    ResizeInode,
    Quota,
    OrphanFile,
    MultipleMountProtection,
    /// A reserved inode that has blocks and no known use.
    ReservedInode,
    /// Deleted while it was open.
    Deleted,
    /// In use, and in no directory.
    Unconnected,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BootBlock => "boot block",
            Self::Superblock => "superblock",
            Self::Descriptors => "group descriptors",
            Self::ReservedDescriptors => "reserved group descriptors",
            Self::BlockBitmap => "block bitmap",
            Self::InodeBitmap => "inode bitmap",
            Self::InodeTable => "inode table",
            Self::Journal => "journal",
            Self::ResizeInode => "resize inode",
            Self::Quota => "quota file",
            Self::OrphanFile => "orphan file",
            Self::MultipleMountProtection => "multiple mount protection",
            Self::ReservedInode => "reserved inode",
            Self::Deleted => "deleted file",
            Self::Unconnected => "unconnected inode",
        }
    }
}

/// What a node needs beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Map,
    Xattrs,
    /// What names lead to that are not in the tree: those of an encrypted directory, and the second of two equal ones.
    Hidden,
}

impl About {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Map => "extent tree or block map",
            Self::Xattrs => "xattrs",
            Self::Hidden => "entries that are not in the tree",
        }
    }
}

/// Whose blocks are; nodes by the builder's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A node's data from this block of it on.
    Data(NodeId, u32),
    About(NodeId, About),
    /// A structure and its group, or [`NO_GROUP`].
    Structure(What, u32),
}

/// A structure that belongs to no group.
const NO_GROUP: u32 = u32::MAX;

impl Owner {
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Data(node, _) | Self::About(node, _) => Some(node),
            Self::Structure(..) => None,
        }
    }
}

/// Neighbouring blocks of one owner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) start: u64,
    pub(super) blocks: u32,
    pub(super) owner: Owner,
}

impl Claim {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.blocks)
    }
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    list: Vec<Claim>,
}

impl Claims {
    pub(super) fn structure(&mut self, what: What, group: Option<u32>, start: u64, blocks: u64) {
        self.add(start, blocks, Owner::Structure(what, group.unwrap_or(NO_GROUP)));
    }

    pub(super) fn add(&mut self, mut start: u64, mut blocks: u64, mut owner: Owner) {
        while blocks > 0 {
            let count = u32::try_from(blocks).unwrap_or(u32::MAX);
            self.list.push(Claim { start, blocks: count, owner });
            (start, blocks) = (start + u64::from(count), blocks - u64::from(count));
            if let Owner::Data(_, logical) = &mut owner {
                *logical = logical.saturating_add(count);
            }
        }
    }

    /// All claims, ascending. Blocks that two claim are damage that names both; but blocks of a cluster that structures share, and
    /// where files may share blocks.
    pub(super) fn settle(mut self, volume: &Volume, paths: &Paths<'_>, may_share: bool, damage: &mut Findings) -> Vec<Claim> {
        self.list.sort_unstable_by_key(|claim| (claim.start, claim.blocks));
        let mut reach: Option<Claim> = None;
        for claim in &self.list {
            if let Some(before) = reach {
                let same_cluster = (before.end() - 1) / volume.cluster_blocks == claim.start / volume.cluster_blocks;
                let overlap = claim.start < before.end();
                let share = may_share && before.owner.node().is_some() && claim.owner.node().is_some();
                let of_one = !overlap && (before.owner.node() == claim.owner.node());
                if (overlap || same_cluster) && !share && !of_one {
                    report(volume, paths, &before, claim, damage);
                }
            }
            if reach.is_none_or(|before| claim.end() > before.end()) {
                reach = Some(*claim);
            }
        }
        self.list
    }
}

fn describe(paths: &Paths<'_>, owner: Owner) -> String {
    let path = |node: NodeId| escape(&paths.of_node(paths.in_tree(node)));
    match owner {
        Owner::Data(node, logical) => format!("block {logical} of {}", path(node)),
        Owner::About(node, about) => format!("the {} of {}", about.name(), path(node)),
        Owner::Structure(what, NO_GROUP) => format!("the {}", what.name()),
        Owner::Structure(what, group) => format!("the {} of block group {group}", what.name()),
    }
}

fn report(volume: &Volume, paths: &Paths<'_>, one: &Claim, other: &Claim, damage: &mut Findings) {
    if damage.is_full() {
        return damage.count();
    }
    let end = one.end().min(other.end());
    let (first, last) = (other.start, end.max(other.start + 1) - 1);
    let blocks = if first == last { format!("block {first} is") } else { format!("blocks {first} to {last} are") };
    // Named for the path of a node, the later one if both are.
    let (here, there) = if other.owner.node().is_some() { (other, one) } else { (one, other) };
    // Where in its owner's data the shared blocks begin.
    let moved = |claim: &Claim| match claim.owner {
        Owner::Data(node, logical) => Owner::Data(node, logical.saturating_add(u32::try_from(first.saturating_sub(claim.start)).unwrap_or(u32::MAX))),
        owner => owner,
    };
    let message = format!("{blocks} claimed twice: as {} and as {}", describe(paths, moved(here)), describe(paths, moved(there)));
    damage.push_at(here.owner.node().map(Spot::node), Error::corrupt(message).at_offset(volume.offset(first)));
}

/// The places of all claims, ascending and disjoint; what two claim is the first one's.
pub(super) fn places(claims: &[Claim], volume: &Volume, paths: &Paths<'_>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(claims.len());
    let mut end = 0;
    for claim in claims {
        let start = claim.start.max(end);
        if start >= claim.end() {
            continue;
        }
        end = claim.end();
        let skipped = start - claim.start;
        let owner = match claim.owner {
            Owner::Data(node, logical) => PlaceOwner::Data { node: paths.in_tree(node), offset_bytes: (u64::from(logical) + skipped) * volume.block_bytes },
            Owner::About(node, about) => PlaceOwner::About { node: paths.in_tree(node), what: about.name() },
            Owner::Structure(what, group) => PlaceOwner::Structure { what: what.name(), group: (group != NO_GROUP).then_some(group) },
        };
        let range = volume.offset(start)..volume.offset(end);
        match places.last_mut() {
            Some(last) if last.range.end == range.start && goes_on(last, &owner) => last.range.end = range.end,
            _ => places.push(Place { range, owner }),
        }
    }
    places.shrink_to_fit();
    places
}

/// Whether `owner` is what comes behind `place` if it goes on.
fn goes_on(place: &Place, owner: &PlaceOwner) -> bool {
    match (place.owner, *owner) {
        (PlaceOwner::Data { node, offset_bytes }, PlaceOwner::Data { node: other, offset_bytes: next }) => {
            node == other && offset_bytes + (place.range.end - place.range.start) == next
        }
        (one, other) => one == other,
    }
}

/// Blocks that were met: for structures that must be met once, however many files point to them. Memory grows with the blocks in it.
#[derive(Debug, Default)]
pub(super) struct BlockSet {
    words: HashMap<u64, [u64; 8]>,
}

impl BlockSet {
    /// Adds a block; false if it was there.
    pub(super) fn insert(&mut self, block: u64) -> bool {
        const BITS: u64 = 512;
        let word = self.words.entry(block / BITS).or_default();
        let at = block % BITS;
        let mask = 1 << (at % 64);
        let word = &mut word[index_of(u32::try_from(at / 64).expect("under 8"))];
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_small() {
        assert!(size_of::<Claim>() <= 24);
    }

    #[test]
    fn a_block_is_met_once() {
        let mut set = BlockSet::default();
        for block in [0, 1, 63, 64, 511, 512, u64::MAX] {
            assert!(set.insert(block));
            assert!(!set.insert(block));
        }
        assert_eq!(set.words.len(), 3);
    }
}
