//! Block maps: twelve pointers in the inode, then a single, a double and a triple indirect block of pointers.
//!
//! ```text
//! i_block: | 0 … 11: data | 12: indirect | 13: double | 14: triple |
//! ```
//!
//! Nodes have a level (1: its pointers are data blocks) and a number on it, counted over what the whole map could hold: node 0 of level
//! 1 stands in the inode, the next `p` beneath node 0 of level 2, which stands in the inode too, all others beneath node 1 and
//! following of level 2, which stand beneath the one node of level 3. Nodes over holes alone are left out.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.3.2 "Direct/Indirect Block Addressing".

use super::format::I_BLOCK_BYTES;
use super::groups::low32;
use super::place::{Run, RunKind};
use crate::units::{u64_of, usize_of};

/// Data blocks that the inode points to itself.
const DIRECT: u64 = 12;
/// Bytes of a pointer.
const POINTER_BYTES: usize = 4;

/// Blocks that a map can hold, with `p` pointers in a block.
pub(super) const fn blocks_max(p: u64) -> u64 {
    DIRECT + p + p * p + p * p * p
}

/// The node of level 2 above node `leaf` of level 1, which is not 0.
const fn above(leaf: u64, p: u64) -> u64 {
    (leaf - 1) / p
}

/// The nodes of a map over ascending ranges `(first, count)` of logical blocks: `(level, first number, count)`, by level.
pub(super) fn nodes(ranges: impl Iterator<Item = (u64, u64)>, p: u64) -> Vec<(u8, u64, u64)> {
    let leaves =
        ranges.filter(|(first, count)| first + count > DIRECT).map(|(first, count)| ((first.max(DIRECT) - DIRECT) / p, (first + count - 1 - DIRECT) / p));
    let leaves = runs(leaves);
    let seconds = runs(leaves.iter().filter(|(first, count)| first + count > 1).map(|(first, count)| (above((*first).max(1), p), above(first + count - 1, p))));
    let third = seconds.iter().any(|(first, count)| first + count > 1).then_some((0, 1));
    [(1, leaves), (2, seconds), (3, third.into_iter().collect())]
        .into_iter()
        .flat_map(|(level, runs)| runs.into_iter().map(move |(first, count)| (level, first, count)))
        .collect()
}

/// Joins ascending `(first, last)` that touch or overlap to `(first, count)`.
fn runs(spans: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (first, last) in spans {
        match runs.last_mut() {
            Some((start, count)) if *start + *count >= first => *count = (*count).max(last + 1 - *start),
            _ => runs.push((first, last + 1 - first)),
        }
    }
    runs
}

/// The map of one inode: its data, and the runs that hold the map's nodes.
pub(super) struct BlockMap<'a> {
    pub(super) extents: &'a [Run],
    pub(super) nodes: &'a [Run],
    pub(super) pointers_per_block: u64,
}

impl BlockMap<'_> {
    /// `i_block`.
    pub(super) fn root(&self) -> [u8; I_BLOCK_BYTES] {
        let mut b = [0; I_BLOCK_BYTES];
        let (direct, indirect) = b.split_at_mut(usize_of(DIRECT) * POINTER_BYTES);
        self.fill_data(0, direct);
        for (slot, level) in indirect.chunks_exact_mut(POINTER_BYTES).zip(1..) {
            slot.copy_from_slice(&self.node(level, 0).to_le_bytes());
        }
        b
    }

    /// Node `number` of `level` into a block.
    pub(super) fn fill_block(&self, level: u8, number: u64, block: &mut [u8]) {
        let p = self.pointers_per_block;
        if level == 1 {
            self.fill_data(DIRECT + number * p, block);
            return;
        }
        // Beneath node 0 of level 3 are those of level 2 but the first, beneath node n of level 2 those of level 1 but the first.
        for (slot, child) in block.chunks_exact_mut(POINTER_BYTES).zip(1 + number * p..) {
            slot.copy_from_slice(&self.node(level - 1, child).to_le_bytes());
        }
    }

    /// Pointers to data blocks from logical block `first` on; 0 for holes.
    fn fill_data(&self, first: u64, out: &mut [u8]) {
        out.fill(0);
        let end = first + u64_of(out.len() / POINTER_BYTES);
        let from = self.extents.partition_point(|run| u64::from(run.logical) + u64::from(run.count) <= first);
        for run in self.extents[from..].iter().take_while(|run| u64::from(run.logical) < end) {
            let logical = u64::from(run.logical);
            for at in logical.max(first)..(logical + u64::from(run.count)).min(end) {
                let slot = usize_of(at - first) * POINTER_BYTES;
                out[slot..slot + POINTER_BYTES].copy_from_slice(&low32(run.start + at - logical).to_le_bytes());
            }
        }
    }

    /// The block of a node, 0 if there is none.
    fn node(&self, level: u8, number: u64) -> u32 {
        let key = |run: &Run| match run.kind {
            RunKind::Map(level) => (level, u64::from(run.logical) + u64::from(run.count)),
            _ => (u8::MAX, 0),
        };
        let at = self.nodes.partition_point(|run| key(run) <= (level, number));
        let run = self.nodes.get(at).filter(|run| run.kind == RunKind::Map(level) && u64::from(run.logical) <= number);
        run.map_or(0, |run| low32(run.start + number - u64::from(run.logical)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_those_that_data_needs() {
        const P: u64 = 4;
        let of = |ranges: &[(u64, u64)]| nodes(ranges.iter().copied(), P);
        assert_eq!(of(&[(0, 12)]), []);
        assert_eq!(of(&[(0, 13)]), [(1, 0, 1)]);
        assert_eq!(of(&[(11, 1), (15, 1), (16, 1)]), [(1, 0, 2), (2, 0, 1)]);
        // 12 + 4 + 16 = 32 is the first block beneath the triple indirect one.
        assert_eq!(of(&[(31, 1)]), [(1, 4, 1), (2, 0, 1)]);
        assert_eq!(of(&[(32, 1)]), [(1, 5, 1), (2, 1, 1), (3, 0, 1)]);
        assert_eq!(of(&[(0, blocks_max(P))]), [(1, 0, 21), (2, 0, 5), (3, 0, 1)]);
    }

    /// Follows the pointers from the inode to a logical block, by the specification.
    fn find(root: &[u8; I_BLOCK_BYTES], blocks: &dyn Fn(u32) -> Vec<u8>, logical: u64, p: u64) -> u32 {
        let pointer = |b: &[u8], at: u64| u32::from_le_bytes(b[usize_of(at) * 4..][..4].try_into().unwrap());
        let follow = |mut block: u32, mut rest: u64, depth: u32| {
            for level in (0..depth).rev() {
                if block == 0 {
                    return 0;
                }
                block = pointer(&blocks(block), rest / p.pow(level));
                rest %= p.pow(level);
            }
            block
        };
        match logical {
            0..12 => pointer(root, logical),
            _ if logical < 12 + p => follow(pointer(root, 12), logical - 12, 1),
            _ if logical < 12 + p + p * p => follow(pointer(root, 13), logical - 12 - p, 2),
            _ => follow(pointer(root, 14), logical - 12 - p - p * p, 3),
        }
    }

    #[test]
    fn every_block_is_found_and_every_hole_is_none() {
        const P: u64 = 4;
        for step in [1, 2, 3, 7, 30] {
            let logical: Vec<u64> = (0..blocks_max(P)).filter(|at| at % step == 0).collect();
            let run = |start, logical, kind| Run { start, logical: low32(logical), owner: 12, count: 1, kind };
            let extents: Vec<Run> = logical.iter().map(|at| run(1000 + at, *at, RunKind::Data)).collect();
            let mut place = 5000;
            let mut node_runs = Vec::new();
            for (level, first, count) in nodes(logical.iter().map(|at| (*at, 1)), P) {
                for number in first..first + count {
                    node_runs.push(run(place, number, RunKind::Map(level)));
                    place += 1;
                }
            }
            let map = BlockMap { extents: &extents, nodes: &node_runs, pointers_per_block: P };
            let block = |at: u32| {
                let run = node_runs.iter().find(|run| run.start == u64::from(at)).expect("a pointer to a node");
                let RunKind::Map(level) = run.kind else { unreachable!() };
                let mut b = vec![0xff; usize_of(P) * 4];
                map.fill_block(level, u64::from(run.logical), &mut b);
                b
            };
            for at in 0..blocks_max(P) {
                let expected = if at % step == 0 { low32(1000 + at) } else { 0 };
                assert_eq!(find(&map.root(), &block, at, P), expected, "block {at}, every {step}th");
            }
        }
    }
}
