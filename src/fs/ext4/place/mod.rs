//! Placement: which blocks each inode gets, and which number.
//!
//! A pure function of the tree, the options, an earlier version (`parent`) and a boot order, in this order:
//!
//! ```text
//! own       resize inode's index, journal, file of orphans, quota files, lost+found: upwards from the start    policy
//! order     what is read first at boot, in that order, in 512-KiB blocks of its own                             order
//! parent    what was there stays there; what is new or grown goes into few blocks                              keep, room
//! stable    else: chunks of neighbours, each in 512-KiB blocks that its own paths choose                        stable
//! dense     else: directories, then xattrs, then files, in tree order without a gap                            ledger
//! ```
//!
//! What others may build on: the blocks of one inode stand in one stretch of [`Placement::runs`], its data first, ascending in the
//! file, and then its extent tree, leaves before what points to them; the journal's place follows from the size alone.

mod early;
mod inodes;
mod items;
mod keep;
mod ledger;
mod matching;
mod order;
mod policy;
mod room;
mod stable;

pub(super) use matching::Matching;
pub(super) use policy::{Placed, place};

use crate::units::index_of;
use std::ops::Range;

/// What the blocks of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunKind {
    /// Blocks of the inode `owner`: contents, a directory, a link's target, the journal.
    Data,
    /// Blocks of a file that were never written and read as zero: nothing lies in them.
    Unwritten,
    /// Nodes of the extent tree of the inode `owner`; `logical` counts them.
    Tree,
    /// Nodes of this level of the block map of the inode `owner`; `logical` is their number on it.
    Map(u8),
    /// The xattr block number `owner`.
    Xattr,
    /// The index block of the resize inode.
    ResizeIndex,
}

/// Neighbouring blocks of one owner. A `Data` or `Unwritten` run is one extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u64,
    /// The first block's number in the file, or among the tree's nodes.
    pub(super) logical: u32,
    pub(super) owner: u32,
    pub(super) count: u16,
    pub(super) kind: RunKind,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.count)
    }
}

/// No run: an inode without blocks.
const NO_RUN: u32 = u32::MAX;

/// All runs.
#[derive(Debug)]
pub(super) struct Placement {
    /// Each inode's in one stretch.
    runs: Vec<Run>,
    /// Positions in `runs`, ascending by place; empty where `runs` ascend themselves.
    by_place: Vec<u32>,
    /// By inode number: the inode's first run, or [`NO_RUN`].
    first_run: Vec<u32>,
    /// The index block of the resize inode, if there is one.
    pub(super) resize_index: u64,
    /// By number: where each xattr block lies.
    pub(super) xattr_blocks: Vec<u64>,
    /// Nodes of extent trees, of all inodes.
    pub(super) tree_blocks: u64,
    /// Blocks that found no place. If not 0, the filesystem is too small and the placement of no use.
    pub(super) missing_blocks: u64,
}

impl Placement {
    /// All runs, in no order that says anything.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The extents of an inode, ascending in the file.
    pub(super) fn extents(&self, ino: u32) -> &[Run] {
        let first = self.first_run[index_of(ino)];
        if first == NO_RUN {
            return &[];
        }
        let runs = &self.runs[index_of(first)..];
        // An inode's data stands in one stretch, so the condition turns false once and stays so.
        &runs[..runs.partition_point(|run| matches!(run.kind, RunKind::Data | RunKind::Unwritten) && run.owner == ino)]
    }

    /// The runs of nodes of an inode's extent tree or block map.
    pub(super) fn tree(&self, ino: u32) -> &[Run] {
        let data = self.extents(ino).len();
        if data == 0 {
            return &[];
        }
        let runs = &self.runs[index_of(self.first_run[index_of(ino)]) + data..];
        &runs[..runs.partition_point(|run| matches!(run.kind, RunKind::Tree | RunKind::Map(_)) && run.owner == ino)]
    }

    /// Blocks of an inode, those that map it included.
    pub(super) fn blocks(&self, ino: u32) -> u64 {
        self.extents(ino).iter().chain(self.tree(ino)).map(|run| u64::from(run.count)).sum()
    }

    /// The run that is number `at` by its place.
    fn by_place(&self, at: usize) -> Option<&Run> {
        if self.by_place.is_empty() { self.runs.get(at) } else { self.by_place.get(at).map(|at| &self.runs[index_of(*at)]) }
    }

    /// The number by its place of the run that holds `block`, or of the first one after it.
    fn first_ending_after(&self, block: u64) -> usize {
        if self.by_place.is_empty() {
            self.runs.partition_point(|run| run.end() <= block)
        } else {
            self.by_place.partition_point(|at| self.runs[index_of(*at)].end() <= block)
        }
    }

    /// The runs from the one that holds `block`, or the first one after it, on, ascending by place.
    pub(super) fn runs_from(&self, block: u64) -> impl Iterator<Item = &Run> {
        (self.first_ending_after(block)..).map_while(|at| self.by_place(at))
    }

    /// The run that holds `block`, or the first one after it.
    pub(super) fn at_or_after(&self, block: u64) -> Option<&Run> {
        self.by_place(self.first_ending_after(block))
    }

    /// Where logical block `number` of an inode lies; 0 for a hole.
    pub(super) fn block_of(&self, ino: u32, number: u64) -> u64 {
        let extents = self.extents(ino);
        let at = extents.partition_point(|run| u64::from(run.logical) + u64::from(run.count) <= number);
        extents.get(at).filter(|run| u64::from(run.logical) <= number).map_or(0, |run| run.start + number - u64::from(run.logical))
    }

    /// The runs that meet `range`.
    pub(super) fn meeting(&self, range: Range<u64>) -> impl Iterator<Item = &Run> {
        self.runs_from(range.start).take_while(move |run| run.start < range.end)
    }
}

/// The parts of a file that are no holes, in blocks: `data` are its ascending ranges in bytes, rounded outwards to blocks
/// (so holes are rounded inwards) and joined where they touch.
pub(super) fn block_ranges(data: impl Iterator<Item = (u64, u64)>, block_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut data = data.map(move |(offset, len)| (offset / block_bytes, (offset + len).div_ceil(block_bytes))).peekable();
    std::iter::from_fn(move || {
        let (start, mut end) = data.next()?;
        while let Some((_, next_end)) = data.next_if(|(next, _)| *next <= end) {
            end = next_end.max(end);
        }
        Some((start, end - start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bytes_become_ranges_of_blocks() {
        let blocks = |data: &[(u64, u64)]| block_ranges(data.iter().copied(), 4096).collect::<Vec<_>>();
        assert_eq!(blocks(&[]), []);
        assert_eq!(blocks(&[(0, 1)]), [(0, 1)]);
        assert_eq!(blocks(&[(4095, 2)]), [(0, 2)]);
        assert_eq!(blocks(&[(0, 10), (20, 10), (4096, 1)]), [(0, 2)]);
        assert_eq!(blocks(&[(0, 4096), (8192, 4097)]), [(0, 1), (2, 2)]);
    }

    #[test]
    fn runs_are_small() {
        assert_eq!(size_of::<Run>(), 24);
    }
}
