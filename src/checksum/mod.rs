//! Block checksums and their aggregate, as the EBS direct API takes them.
//!
//! The unit is the block of 512 KiB; a short last block is hashed padded with zeros to that length. The LINEAR
//! aggregate (EBS direct API, CompleteSnapshot, `x-amz-Checksum-Aggregation-Method`) is the SHA-256 of the 32-byte
//! digests of the blocks that are uploaded, data and zero alike, in ascending order; unused blocks contribute nothing.

mod base64;
mod jsonl;
pub mod sha256;

pub use base64::{decode as base64_decode, encode as base64_encode};

use crate::error::{Error, Result};
use crate::report::BlockSummary;
use crate::units::{BLOCK_BYTES, BlockIndex, u64_of, usize_of};
use ::sha2::{Digest as _, Sha256};
use std::ops::Range;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The digest of 512 KiB of zeros.
pub const ZERO_BLOCK_DIGEST: Digest = [
    0x07, 0x85, 0x4d, 0x2f, 0xef, 0x29, 0x7a, 0x06, 0xba, 0x81, 0x68, 0x5e, 0x66, 0x0c, 0x33, 0x2d, 0xe3, 0x6d, 0x5d, 0x18, 0xd5, 0x46, 0x92, 0x7d, 0x30, 0xda,
    0xad, 0x6d, 0x7f, 0xda, 0x15, 0x41,
];

/// What a block of the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockState {
    /// It holds a byte that is not zero.
    Data,
    /// It is zero, and somebody trusts it to be.
    Zero,
    /// Nobody reads it.
    Unused,
}

/// A used block and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockChecksum {
    /// Which block.
    pub index: BlockIndex,
    /// Data or zero.
    pub state: BlockState,
    /// SHA-256 over 512 KiB.
    pub digest: Digest,
}

/// Neighbouring blocks of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRun {
    /// The first block.
    pub first: BlockIndex,
    /// How many.
    pub count: u64,
    /// What they are.
    pub state: BlockState,
}

/// Used blocks that touch and are of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    count: u64,
    /// Where the digests of a run of data begin; `None` for zeros.
    digests_from: Option<usize>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.count
    }

    fn state(&self) -> BlockState {
        if self.digests_from.is_some() { BlockState::Data } else { BlockState::Zero }
    }
}

/// The state of every block of a disk, or of a slice of its blocks, and the digest of every data block, ascending.
///
/// Memory: 32 bytes a data block and 40 bytes a run; unused and zero blocks cost nothing of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChecksums {
    /// The blocks that this is about.
    range: Range<u64>,
    runs: Vec<Run>,
    digests: Vec<Digest>,
}

impl BlockChecksums {
    /// A disk of `block_count` blocks, all of them unused.
    #[must_use]
    pub fn new(block_count: u64) -> Self {
        Self::of_slice(BlockIndex(0)..BlockIndex(block_count))
    }

    /// A slice of a disk's blocks, all of them unused; an empty one where it ends before it begins.
    #[must_use]
    pub fn of_slice(blocks: Range<BlockIndex>) -> Self {
        Self { range: blocks.start.0..blocks.end.0.max(blocks.start.0), runs: Vec::new(), digests: Vec::new() }
    }

    /// Joins slices of one disk, each of which begins where the one before it ends: what many workers or machines computed
    /// is then equal to what one would have, the aggregate too.
    ///
    /// # Errors
    /// No slices, a gap or an overlap between two.
    pub fn merge(slices: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut slices = slices.into_iter();
        let mut whole = slices.next().ok_or_else(|| Error::invalid("no block checksums to join"))?;
        for slice in slices {
            let (end, start) = (whole.range.end, slice.range.start);
            if start != end {
                return Err(Error::invalid(format!("block checksums that begin at block {start} where the ones before them end at block {end}")));
            }
            whole.range.end = slice.range.end;
            for run in slice.runs {
                match run.digests_from {
                    Some(from) => {
                        for (index, digest) in (run.first..run.end()).zip(&slice.digests[from..]) {
                            whole.push_data(BlockIndex(index), *digest);
                        }
                    }
                    None => whole.push_zeros(BlockIndex(run.first), run.count),
                }
            }
        }
        Ok(whole)
    }

    /// The same with all unused blocks as zero ones: for a disk whose unused blocks somebody may trust to be zero.
    #[must_use]
    pub fn unused_as_zeros(&self) -> Self {
        let mut all = Self::of_slice(self.slice());
        all.digests.reserve_exact(self.digests.len());
        for run in self.runs() {
            match run.state {
                BlockState::Data => {
                    for index in run.first.0..run.first.0 + run.count {
                        let block = self.get(BlockIndex(index)).expect("a block of a run of data has a digest");
                        all.push_data(block.index, block.digest);
                    }
                }
                _ => all.push_zeros(run.first, run.count),
            }
        }
        all
    }

    /// Adds a data block.
    ///
    /// # Panics
    /// If the block is not behind all blocks before it, or outside the disk.
    pub fn push_data(&mut self, index: BlockIndex, digest: Digest) {
        self.check_next(index.0, 1);
        let digests_from = Some(self.digests.len());
        self.digests.push(digest);
        match self.runs.last_mut() {
            Some(last) if last.end() == index.0 && last.digests_from.is_some() => last.count += 1,
            _ => self.runs.push(Run { first: index.0, count: 1, digests_from }),
        }
    }

    /// Adds `count` zero blocks.
    ///
    /// # Panics
    /// If the blocks are not behind all blocks before them, or outside the disk.
    pub fn push_zeros(&mut self, first: BlockIndex, count: u64) {
        self.check_next(first.0, count);
        match self.runs.last_mut() {
            _ if count == 0 => {}
            Some(last) if last.end() == first.0 && last.digests_from.is_none() => last.count += count,
            _ => self.runs.push(Run { first: first.0, count, digests_from: None }),
        }
    }

    /// Makes this a slice of `blocks`, in which all used ones lie.
    pub(crate) fn narrow(&mut self, blocks: Range<BlockIndex>) {
        let inside = |run: &Run| blocks.start.0 <= run.first && run.end() <= blocks.end.0;
        assert!(self.runs.iter().all(inside), "used blocks outside {blocks:?}");
        self.range = blocks.start.0..blocks.end.0;
    }

    fn check_next(&self, first: u64, count: u64) {
        let end = self.runs.last().map_or(self.range.start, Run::end);
        assert!(first >= end, "block {first} came after block {end}");
        assert!(first.checked_add(count).is_some_and(|end| end <= self.range.end), "block {first} + {count} of {:?}", self.range);
    }

    /// The blocks that this is about: all of a disk, or a slice.
    #[must_use]
    pub fn slice(&self) -> Range<BlockIndex> {
        BlockIndex(self.range.start)..BlockIndex(self.range.end)
    }

    /// The number of blocks, a short last one included.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The number of data blocks.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        u64_of(self.digests.len())
    }

    /// The number of zero blocks.
    #[must_use]
    pub fn zero_blocks(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum::<u64>() - self.data_blocks()
    }

    /// The number of unused blocks.
    #[must_use]
    pub fn unused_blocks(&self) -> u64 {
        self.block_count() - self.data_blocks() - self.zero_blocks()
    }

    /// All blocks as runs of one state, from the first to the last without gap.
    pub fn runs(&self) -> impl Iterator<Item = StateRun> + '_ {
        let last = Run { first: self.range.end, count: 0, digests_from: None };
        let mut done = self.range.start;
        self.runs.iter().copied().chain([last]).flat_map(move |run| {
            let gap = StateRun { first: BlockIndex(done), count: run.first - done, state: BlockState::Unused };
            done = run.end();
            [gap, StateRun { first: BlockIndex(run.first), count: run.count, state: run.state() }].into_iter().filter(|run| run.count > 0)
        })
    }

    /// The used blocks with their digests, ascending.
    pub fn iter(&self) -> impl Iterator<Item = BlockChecksum> + '_ {
        self.runs.iter().flat_map(|run| (run.first..run.end()).map(|index| self.checksum(run, index)))
    }

    fn checksum(&self, run: &Run, index: u64) -> BlockChecksum {
        let digest = run.digests_from.map_or(ZERO_BLOCK_DIGEST, |from| self.digests[from + usize_of(index - run.first)]);
        BlockChecksum { index: BlockIndex(index), state: run.state(), digest }
    }

    /// The block `index`, or `None` if it is unused or outside the disk.
    #[must_use]
    pub fn get(&self, index: BlockIndex) -> Option<BlockChecksum> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end() <= index.0))?;
        (run.first <= index.0).then(|| self.checksum(run, index.0))
    }

    /// The LINEAR aggregate over data and zero blocks.
    #[must_use]
    pub fn linear(&self) -> Digest {
        let zeros = [ZERO_BLOCK_DIGEST; 128];
        let mut hasher = Sha256::new();
        for run in &self.runs {
            match run.digests_from {
                Some(from) => hasher.update(self.digests[from..from + usize_of(run.count)].as_flattened()),
                None => {
                    let mut left = run.count;
                    while left > 0 {
                        let now = left.min(u64_of(zeros.len()));
                        hasher.update(zeros[..usize_of(now)].as_flattened());
                        left -= now;
                    }
                }
            }
        }
        hasher.finalize().into()
    }

    /// [`BlockChecksums::linear`] in base64, as CompleteSnapshot takes it.
    #[must_use]
    pub fn linear_checksum(&self) -> String {
        base64_encode(&self.linear())
    }

    /// The blocks by state, for the report.
    #[must_use]
    pub fn summary(&self) -> BlockSummary {
        BlockSummary {
            block_bytes: BLOCK_BYTES,
            total: self.block_count(),
            data: self.data_blocks(),
            zero: self.zero_blocks(),
            unused: self.unused_blocks(),
            linear_checksum: self.linear_checksum(),
        }
    }
}

/// Whether all of `bytes` are zero. Data nearly always differs in its first bytes; zeros are scanned at the speed of
/// memory, because the inner loop has no branch and becomes vector instructions.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<256>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
