//! What was placed so far, and the cursor that hands out free blocks upwards.

use super::{NO_RUN, Placement, Run, RunKind};
use crate::error::{Error, Result};
use crate::fs::ext4::mapping::{Mapping, Piece};
use crate::units::index_of;
use std::ops::Range;

/// Whose blocks are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Data and map of an inode.
    Inode(u32),
    /// The xattr block with this number.
    Xattrs(u32),
}

/// Hands out free blocks, upwards.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    /// In the order in which they are used.
    free: &'a [Range<u64>],
    /// Blocks of the first of them that are used.
    used: u64,
    /// Where blocks are handed out that are not there, so that they can be counted.
    beyond: u64,
}

impl<'a> Cursor<'a> {
    /// A cursor over `free`; what does not fit is handed out from `beyond` on.
    pub(super) fn new(free: &'a [Range<u64>], beyond: u64) -> Self {
        Self { free, used: 0, beyond }
    }

    /// The next free blocks, at most `most` (which is not 0), in one piece: (first, count).
    pub(super) fn take(&mut self, most: u64) -> (u64, u64) {
        while let Some((first, rest)) = self.free.split_first() {
            let start = first.start + self.used;
            if start < first.end {
                let count = most.min(first.end - start);
                self.used += count;
                return (start, count);
            }
            (self.free, self.used) = (rest, 0);
        }
        let start = self.beyond;
        self.beyond += most;
        (start, most)
    }

    /// Blocks that it can hand out.
    pub(super) fn left(&self) -> u64 {
        total(self.free) - self.used
    }
}

/// The blocks that have a place.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) mapping: Mapping,
    pub(super) runs: Vec<Run>,
    /// Some inode's blocks do not stand in one stretch of `runs`.
    pub(super) in_parts: bool,
}

impl Ledger {
    pub(super) fn new(mapping: Mapping) -> Self {
        Self { mapping, runs: Vec::new(), in_parts: false }
    }

    /// Places blocks of `holder`: `pieces` are the parts that are no holes, ascending. Then the nodes that map them, if they do not
    /// fit into the inode.
    pub(super) fn put(&mut self, holder: Holder, pieces: impl Iterator<Item = Piece>, cursor: &mut Cursor<'_>) -> Result<()> {
        let first = self.runs.len();
        self.put_pieces(holder, pieces, cursor)?;
        let Holder::Inode(ino) = holder else { return Ok(()) };
        // Each run is an extent now.
        let nodes = self.mapping.nodes(self.runs[first..].iter().map(piece_of));
        for (kind, number, count) in nodes {
            self.put_run(kind, ino, number, count, cursor)?;
        }
        Ok(())
    }

    /// Places blocks of `holder` and no nodes.
    pub(super) fn put_pieces(&mut self, holder: Holder, pieces: impl Iterator<Item = Piece>, cursor: &mut Cursor<'_>) -> Result<()> {
        for piece in pieces {
            let (kind, owner) = match holder {
                Holder::Inode(ino) => (piece.kind, ino),
                Holder::Xattrs(number) => (RunKind::Xattr, number),
            };
            self.put_run(kind, owner, piece.first, piece.blocks, cursor)?;
        }
        Ok(())
    }

    /// Places `blocks` blocks of one kind, the first of them number `first_logical`.
    pub(super) fn put_run(&mut self, kind: RunKind, owner: u32, first_logical: u64, blocks: u64, cursor: &mut Cursor<'_>) -> Result<()> {
        let mut logical = first_logical;
        let end = first_logical + blocks;
        while logical < end {
            let (start, count) = cursor.take((end - logical).min(Piece::run_max(kind)));
            self.runs.push(Run {
                start,
                logical: u32::try_from(logical).map_err(|_| Error::limit("a file of over 2^32 blocks"))?,
                owner,
                count: u16::try_from(count).expect("at most EXTENT_BLOCKS_MAX were asked for"),
                kind,
            });
            logical += count;
        }
        if self.runs.len() > index_of(u32::MAX - 1) {
            return Err(Error::limit("over 2^32 extents in one filesystem"));
        }
        Ok(())
    }

    /// What of `0..end` is neither `occupied` (ascending, disjoint) nor placed.
    pub(super) fn free(&self, occupied: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
        let mut taken: Vec<Range<u64>> = self.runs.iter().map(|run| run.start..run.end()).filter(|run| run.start < end).collect();
        taken.extend_from_slice(occupied);
        complement(taken, end)
    }

    /// Brings the runs of each inode into one stretch, data before nodes.
    pub(super) fn sort(&mut self) {
        if !self.in_parts {
            return;
        }
        let rank = |kind: RunKind| match kind {
            RunKind::Data | RunKind::Unwritten => 0,
            RunKind::Tree => 1,
            RunKind::Map(level) => 1 + level,
            // Numbered apart from inodes: behind them.
            RunKind::Xattr | RunKind::ResizeIndex => u8::MAX,
        };
        self.runs.sort_by_key(|run| (rank(run.kind) == u8::MAX, run.owner, rank(run.kind), run.logical));
        self.in_parts = false;
    }

    /// All that was placed, for inodes to `last_ino` in a filesystem of `end` blocks.
    pub(super) fn finish(mut self, last_ino: u32, end: u64) -> Placement {
        self.sort();
        let mut first_run = vec![NO_RUN; index_of(last_ino) + 1];
        let (mut resize_index, mut xattr_blocks, mut tree_blocks, mut missing_blocks) = (0, Vec::new(), 0, 0);
        for (at, run) in (0..).zip(&self.runs) {
            let count = u64::from(run.count);
            if run.start >= end {
                missing_blocks += count;
            }
            match run.kind {
                RunKind::Data | RunKind::Unwritten if first_run[index_of(run.owner)] == NO_RUN => first_run[index_of(run.owner)] = at,
                RunKind::Data | RunKind::Unwritten => {}
                RunKind::Tree | RunKind::Map(_) => tree_blocks += count,
                RunKind::Xattr => {
                    let number = index_of(run.owner);
                    xattr_blocks.resize(xattr_blocks.len().max(number + 1), 0);
                    xattr_blocks[number] = run.start;
                }
                RunKind::ResizeIndex => resize_index = run.start,
            }
        }
        let mut by_place = Vec::new();
        if !self.runs.is_sorted_by_key(|run| run.start) {
            by_place = (0..).take(self.runs.len()).collect();
            by_place.sort_unstable_by_key(|at| self.runs[index_of(*at)].start);
        }
        Placement { runs: self.runs, by_place, first_run, resize_index, xattr_blocks, tree_blocks, missing_blocks }
    }
}

/// A run as a piece of its file.
pub(super) fn piece_of(run: &Run) -> Piece {
    Piece { kind: run.kind, first: u64::from(run.logical), blocks: u64::from(run.count) }
}

/// What of `0..end` lies in none of `taken`, which may lie anywhere and overlap.
pub(super) fn complement(mut taken: Vec<Range<u64>>, end: u64) -> Vec<Range<u64>> {
    taken.sort_unstable_by_key(|range| range.start);
    let mut free = Vec::new();
    let mut at = 0;
    for range in taken {
        if range.start > at {
            free.push(at..range.start.min(end));
        }
        at = at.max(range.end);
    }
    if at < end {
        free.push(at..end);
    }
    free
}

/// How many blocks ranges have.
pub(super) fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_round_what_is_occupied_and_are_extents_at_most() {
        let occupied = [0..10, 12..20, 100_000..100_001];
        let free = complement(occupied.to_vec(), 200_000);
        let (mut ledger, mut cursor) = (Ledger::new(Mapping::Extents { entries_per_node: 340 }), Cursor::new(&free, 200_000));
        ledger.put(Holder::Inode(12), [Piece::data(0, 3), Piece::data(10, 70_000)].into_iter(), &mut cursor).unwrap();
        ledger.put(Holder::Inode(13), [].into_iter(), &mut cursor).unwrap();
        let placement = ledger.finish(20, 200_000);
        let extents: Vec<(u64, u32, u16)> = placement.extents(12).iter().map(|run| (run.start, run.logical, run.count)).collect();
        assert_eq!(extents, [(10, 0, 2), (20, 2, 1), (21, 10, 32_768), (32_789, 32_778, 32_768), (65_557, 65_546, 4_464)]);
        assert_eq!(placement.tree(12).len(), 1);
        assert_eq!(placement.extents(13), []);
        assert_eq!((placement.tree_blocks, placement.missing_blocks), (1, 0));
    }

    #[test]
    fn what_is_missing_is_counted_to_the_block() {
        let occupied = [0..10, 12..18];
        let free = complement(occupied.to_vec(), 20);
        let (mut ledger, mut cursor) = (Ledger::new(Mapping::Extents { entries_per_node: 340 }), Cursor::new(&free, 20));
        ledger.put(Holder::Inode(12), [Piece::data(0, 7)].into_iter(), &mut cursor).unwrap();
        assert_eq!(ledger.finish(20, 20).missing_blocks, 3);
    }
}
