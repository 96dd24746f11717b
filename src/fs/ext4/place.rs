//! Placement: which blocks each inode gets.
//!
//! Everything that is no fixed metadata goes upwards through the free runs, in one order: the resize inode's index block, the
//! journal, the file of orphans, quota files, all directories in tree order, xattr blocks and long link targets, then the contents of files in tree order. So
//! directories lie near each other, files that are neighbours in the tree are neighbours on disk, each file is one extent
//! unless fixed metadata, 32,768 blocks or a hole part it, and the end of the disk stays free in one piece.
//!
//! What others may build on: the blocks of one inode ascend and stand in one stretch of [`Placement::runs`], its data
//! first and then its extent tree, leaves before what points to them; the journal's place follows from the size alone.

use super::mapping::{Mapping, Piece};
use crate::error::{Error, Result};
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
    /// Ascending, disjoint.
    pub(super) runs: Vec<Run>,
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
    /// The extents of an inode, ascending.
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

    /// The position of the run that holds `block`, or of the first one after it.
    pub(super) fn first_ending_after(&self, block: u64) -> usize {
        self.runs.partition_point(|run| run.end() <= block)
    }

    /// The run that holds `block`, or the first one after it.
    pub(super) fn at_or_after(&self, block: u64) -> Option<&Run> {
        self.runs.get(self.first_ending_after(block))
    }

    /// Where logical block `number` of an inode lies; 0 for a hole.
    pub(super) fn block_of(&self, ino: u32, number: u64) -> u64 {
        let extents = self.extents(ino);
        let at = extents.partition_point(|run| u64::from(run.logical) + u64::from(run.count) <= number);
        extents.get(at).filter(|run| u64::from(run.logical) <= number).map_or(0, |run| run.start + number - u64::from(run.logical))
    }

    /// The runs that meet `range`.
    pub(super) fn meeting(&self, range: Range<u64>) -> impl Iterator<Item = &Run> {
        let first = self.runs.partition_point(|run| run.end() <= range.start);
        self.runs[first..].iter().take_while(move |run| run.start < range.end)
    }
}

/// Hands out free blocks, upwards.
pub(super) struct Placer<'a> {
    occupied: &'a [Range<u64>],
    /// The next block to hand out.
    at: u64,
    /// The end of the filesystem. Beyond it blocks are handed out too, so that what is missing can be counted.
    end: u64,
    mapping: Mapping,
    placement: Placement,
}

impl<'a> Placer<'a> {
    /// A placer for blocks under `end` that are not `occupied` (ascending and disjoint), for inodes to `last_ino`
    /// that are mapped as `mapping` says.
    pub(super) fn new(occupied: &'a [Range<u64>], end: u64, last_ino: u32, mapping: Mapping) -> Self {
        let first_run = vec![NO_RUN; index_of(last_ino) + 1];
        let placement = Placement { runs: Vec::new(), first_run, resize_index: 0, xattr_blocks: Vec::new(), tree_blocks: 0, missing_blocks: 0 };
        Self { occupied, at: 0, end, mapping, placement }
    }

    /// Places the blocks of an inode: `pieces` are the parts that are no holes, ascending. Then the nodes that map them, if they do not
    /// fit into the inode.
    pub(super) fn put_inode(&mut self, ino: u32, pieces: impl Iterator<Item = Piece>) -> Result<()> {
        let first = self.placement.runs.len();
        for piece in pieces {
            self.put(piece.kind, ino, piece.first, piece.blocks)?;
        }
        let extents = self.placement.runs.len() - first;
        if extents == 0 {
            return Ok(());
        }
        self.placement.first_run[index_of(ino)] = u32::try_from(first).ok().filter(|first| *first != NO_RUN).ok_or_else(too_many_runs)?;
        // Each run is an extent now.
        let placed = self.placement.runs[first..].iter();
        let nodes = self.mapping.nodes(placed.map(|run| Piece { kind: run.kind, first: u64::from(run.logical), blocks: u64::from(run.count) }));
        for (kind, number, count) in nodes {
            self.placement.tree_blocks += count;
            self.put(kind, ino, number, count)?;
        }
        Ok(())
    }

    /// Places the index block of the resize inode.
    pub(super) fn put_resize_index(&mut self, ino: u32) -> Result<()> {
        self.put(RunKind::ResizeIndex, ino, 0, 1)?;
        self.placement.resize_index = self.last_start();
        Ok(())
    }

    /// Places the next xattr block.
    pub(super) fn put_xattr_block(&mut self) -> Result<()> {
        let number = u32::try_from(self.placement.xattr_blocks.len()).map_err(|_| too_many_runs())?;
        self.put(RunKind::Xattr, number, 0, 1)?;
        let start = self.last_start();
        self.placement.xattr_blocks.push(start);
        Ok(())
    }

    fn last_start(&self) -> u64 {
        self.placement.runs.last().map_or(0, |run| run.start)
    }

    fn put(&mut self, kind: RunKind, owner: u32, first_logical: u64, blocks: u64) -> Result<()> {
        let mut logical = first_logical;
        let end = first_logical + blocks;
        while logical < end {
            let (start, count) = self.take((end - logical).min(Piece::run_max(kind)));
            let run = Run {
                start,
                logical: u32::try_from(logical).map_err(|_| Error::limit("a file of over 2^32 blocks"))?,
                owner,
                count: u16::try_from(count).expect("at most EXTENT_BLOCKS_MAX were asked for"),
                kind,
            };
            self.placement.runs.push(run);
            logical += count;
        }
        if self.placement.runs.len() > index_of(u32::MAX) {
            return Err(too_many_runs());
        }
        Ok(())
    }

    /// The next free blocks, at most `most` (which is not 0), in one piece: (first, count).
    fn take(&mut self, most: u64) -> (u64, u64) {
        while let Some(next) = self.occupied.first().filter(|next| next.start <= self.at) {
            self.at = self.at.max(next.end);
            self.occupied = &self.occupied[1..];
        }
        let free = self.occupied.first().map_or(u64::MAX, |next| next.start - self.at);
        // A piece never crosses the end of the filesystem, so that every block is either there or missing.
        let inside = if self.at < self.end { self.end - self.at } else { u64::MAX };
        let count = most.min(free).min(inside);
        let start = self.at;
        self.at += count;
        if start >= self.end {
            self.placement.missing_blocks += count;
        }
        (start, count)
    }

    /// All that was placed.
    pub(super) fn finish(self) -> Placement {
        debug_assert!(self.placement.runs.is_sorted_by_key(|run| run.start), "the cursor only goes upwards");
        self.placement
    }
}

fn too_many_runs() -> Error {
    Error::limit("over 2^32 extents in one filesystem")
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
    fn pieces_go_round_what_is_occupied_and_are_extents_at_most() {
        let occupied = [0..10, 12..20, 100_000..100_001];
        let mut placer = Placer::new(&occupied, 200_000, 20, Mapping::Extents { entries_per_node: 340 });
        placer.put_inode(12, [Piece::data(0, 3), Piece::data(10, 70_000)].into_iter()).unwrap();
        placer.put_inode(13, [].into_iter()).unwrap();
        let placement = placer.finish();
        let extents: Vec<(u64, u32, u16)> = placement.extents(12).iter().map(|run| (run.start, run.logical, run.count)).collect();
        assert_eq!(extents, [(10, 0, 2), (20, 2, 1), (21, 10, 32_768), (32_789, 32_778, 32_768), (65_557, 65_546, 4_464)]);
        assert_eq!(placement.tree(12).len(), 1);
        assert_eq!(placement.extents(13), []);
        assert_eq!((placement.tree_blocks, placement.missing_blocks), (1, 0));
    }

    #[test]
    fn what_is_missing_is_counted_to_the_block() {
        let occupied = [0..10, 12..18];
        let mut placer = Placer::new(&occupied, 20, 20, Mapping::Extents { entries_per_node: 340 });
        placer.put_inode(12, [Piece::data(0, 7)].into_iter()).unwrap();
        assert_eq!(placer.finish().missing_blocks, 3);
    }

    #[test]
    fn runs_are_small() {
        assert_eq!(size_of::<Run>(), 24);
    }
}
