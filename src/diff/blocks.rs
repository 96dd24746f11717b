//! Blocks that differ between two disks.

use crate::checksum::{BlockChecksums, BlockState, ZERO_BLOCK_DIGEST};
use crate::units::{BLOCK_BYTES, BlockIndex, Size, u64_of};
use serde::Serialize;
use std::fmt;

/// The 512-KiB blocks in which two disks differ: what a new snapshot on top of the old one has to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockDiff {
    /// Blocks of the new disk.
    pub total: u64,
    /// Blocks of the new disk that hold data.
    pub data: u64,
    /// Blocks whose bytes differ; those behind the end of the old disk count where they hold data.
    pub differing: u64,
    /// How many of these held data on the old disk and are zero on the new one.
    pub zeroed: u64,
    /// Bytes in the differing blocks.
    pub differing_bytes: u64,
    /// How many that is for a thousand blocks with data.
    pub share_permille: u64,
    /// The blocks themselves: first and count, ascending.
    pub runs: Vec<[u64; 2]>,
}

/// Compares two disks by the digests of their blocks.
#[must_use]
pub fn diff_blocks(old: &BlockChecksums, new: &BlockChecksums) -> BlockDiff {
    let digest = |blocks: &BlockChecksums, index: u64| blocks.get(BlockIndex(index)).map_or(ZERO_BLOCK_DIGEST, |block| block.digest);
    // Only where one side has data can they differ.
    let mut candidates: Vec<u64> = Vec::new();
    for blocks in [old, new] {
        let data = blocks.runs().filter(|run| run.state == BlockState::Data);
        candidates.extend(data.flat_map(|run| run.first.0..run.first.0 + run.count).filter(|index| *index < new.block_count()));
    }
    candidates.sort_unstable();
    candidates.dedup();
    let mut runs: Vec<[u64; 2]> = Vec::new();
    for index in candidates.into_iter().filter(|index| digest(old, *index) != digest(new, *index)) {
        match runs.last_mut() {
            Some([first, count]) if *first + *count == index => *count += 1,
            _ => runs.push([index, 1]),
        }
    }
    let is_zeroed = |index: &u64| digest(new, *index) == ZERO_BLOCK_DIGEST;
    let zeroed = u64_of(runs.iter().flat_map(|[first, count]| *first..*first + *count).filter(is_zeroed).count());
    let differing: u64 = runs.iter().map(|[_, count]| count).sum();
    BlockDiff {
        total: new.block_count(),
        data: new.data_blocks(),
        differing,
        zeroed,
        differing_bytes: differing * BLOCK_BYTES,
        share_permille: if new.data_blocks() == 0 { 0 } else { differing.saturating_mul(1000) / new.data_blocks() },
        runs,
    }
}

impl fmt::Display for BlockDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, differing, zeroed, differing_bytes, share_permille, .. } = self;
        write!(
            f,
            "{differing} blocks of 512 KiB differ ({}): {}.{} % of the {data} with data; a new snapshot would store them",
            Size::bytes(*differing_bytes),
            share_permille / 10,
            share_permille % 10
        )?;
        if *zeroed > 0 { write!(f, " ({zeroed} of them as zeros)") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_unused_and_missing_blocks_are_the_same() {
        let mut old = BlockChecksums::new(6);
        old.push_data(BlockIndex(0), [1; 32]);
        old.push_data(BlockIndex(1), [2; 32]);
        old.push_zeros(BlockIndex(2), 2);
        old.push_data(BlockIndex(5), [3; 32]);
        let mut new = BlockChecksums::new(8);
        new.push_data(BlockIndex(0), [1; 32]);
        new.push_data(BlockIndex(1), [9; 32]);
        new.push_zeros(BlockIndex(4), 1);
        new.push_data(BlockIndex(7), [4; 32]);
        let diff = diff_blocks(&old, &new);
        assert_eq!(diff.runs, [[1, 1], [5, 1], [7, 1]]);
        assert_eq!((diff.differing, diff.zeroed, diff.differing_bytes, diff.data, diff.share_permille), (3, 1, 3 * BLOCK_BYTES, 3, 1000));
        assert_eq!(diff_blocks(&new, &new).differing, 0);
    }
}
