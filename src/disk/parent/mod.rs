//! An earlier version of a disk: what a new one is to stay close to, so that few of its blocks differ.
//!
//! ```text
//! OUT.report.json ─► OUT.layout ─┐
//! OUT.layout ────────────────────┼─► Parent ─► DiskSpec::parent ─► identifiers, times, sizes, places
//! image ─► partitions, ext4 ─────┘                             └─► ext4::Options::parent of each filesystem
//!                                                              └─► blocks that nothing uses any more: zeros
//! ```
//! What is known of it: the disk and its partitions, which 512-KiB blocks hold data, and of each ext4 filesystem where its files lie.
//! It is read from the image itself, or from the `.layout` that a build writes beside its report ([`file`] has its form).
//!
//! Anybody may have made what is opened here. It decides places only, never contents: what cannot be is refused, and of a
//! filesystem that is damaged the sound part is known.

mod chains;
mod file;
mod open;
mod write;

pub(super) use open::ext4_of_read;

pub use file::{LAYOUT_ENTRIES_MAX, LAYOUT_MAX_BYTES, LAYOUT_RUNS_MAX};

use crate::error::Result;
use crate::fs::ext4::format::TIME_MAX_SECONDS;
use crate::fs::{ext4, fat};
use crate::layout::AllocationMap;
use crate::report::{DiskSummary, PartitionSummary};
use crate::tree::Timestamp;
use crate::units::BLOCK_BYTES;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What is known of an earlier version of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// The disk.
    pub disk: DiskSummary,
    /// Its partitions, by number; without a table the disk as one with number 0.
    pub partitions: Vec<ParentPartition>,
    /// The 512-KiB blocks that hold a byte that is not zero, by number: ascending, disjoint ranges.
    pub data: Vec<Range<u64>>,
    /// The LINEAR aggregate of its blocks in base64, where it is known.
    pub linear_checksum: Option<String>,
    /// What it was read from, for messages; escaped.
    pub name: String,
    /// The files that it was read from, and those that lie beside them: no output may overwrite one.
    pub paths: Vec<PathBuf>,
    /// What of it is not known.
    pub notes: Vec<String>,
}

/// A partition of an earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParentPartition {
    /// What the table and the filesystem say of it.
    pub summary: PartitionSummary,
    /// Where the files of its ext4 filesystem lie, as far as it could be read.
    pub ext4: Option<Arc<ext4::Parent>>,
    /// Where the files of its FAT volume lie.
    pub fat: Option<Arc<fat::Parent>>,
}

impl ParentPartition {
    /// A partition of which no more is known than this.
    #[must_use]
    pub fn new(summary: PartitionSummary) -> Self {
        Self { summary, ext4: None, fat: None }
    }

    pub(super) fn is_root(&self) -> bool {
        let name = &self.summary.partition_type;
        (name.starts_with("root") && !name.contains("verity")) || self.summary.mount_point.as_deref() == Some("/")
    }

    /// The end on the disk; saturates.
    pub(super) fn end_bytes(&self) -> u64 {
        self.summary.offset_bytes.saturating_add(self.summary.size_bytes)
    }
}

impl Parent {
    /// A disk of which no more is known than this.
    #[must_use]
    pub fn new(disk: DiskSummary) -> Self {
        Self { disk, partitions: Vec::new(), data: Vec::new(), linear_checksum: None, name: String::new(), paths: Vec::new(), notes: Vec::new() }
    }

    /// The disk's size.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.disk.size_bytes
    }

    /// The time of its own making: that of its root, else of its first ext4 filesystem; `None` where no filesystem tells it.
    #[must_use]
    pub fn epoch(&self) -> Option<Timestamp> {
        let known = || self.partitions.iter().filter(|partition| partition.ext4.is_some());
        let partition = known().find(|partition| partition.is_root()).or_else(|| known().next())?;
        let epoch = partition.ext4.as_ref()?.epoch;
        (0..=TIME_MAX_SECONDS).contains(&epoch.seconds).then_some(epoch)
    }

    /// The bytes of a disk of `size_bytes` that this one had data in and `allocation` does not use: whole blocks, ascending, disjoint.
    pub(super) fn vacated(&self, allocation: &AllocationMap, size_bytes: u64) -> Vec<Range<u64>> {
        let blocks = size_bytes.div_ceil(BLOCK_BYTES);
        let mut used = allocation.runs().iter().map(|run| run.first.0..run.first.0 + run.count).peekable();
        let mut vacated = Vec::new();
        for data in &self.data {
            let (mut at, end) = (data.start, data.end.min(blocks));
            while at < end {
                while used.next_if(|used| used.end <= at).is_some() {}
                let next = used.peek().cloned().unwrap_or(u64::MAX..u64::MAX);
                if at < next.start {
                    let until = end.min(next.start);
                    vacated.push(at * BLOCK_BYTES..(until * BLOCK_BYTES).min(size_bytes));
                }
                at = next.end.min(end).max(at.saturating_add(1));
            }
        }
        vacated
    }

    /// The bytes of a `.layout` file: the same for the same layout.
    ///
    /// # Errors
    /// None but a lack of memory.
    pub fn to_layout(&self) -> Result<Vec<u8>> {
        write::write(self)
    }

    /// Reads what [`Parent::to_layout`] gives, or its text.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] with the number of the line for what is no layout or cannot be of one disk;
    /// [`crate::ErrorKind::LimitExceeded`] over [`LAYOUT_MAX_BYTES`], [`LAYOUT_ENTRIES_MAX`] or [`LAYOUT_RUNS_MAX`], or for a gzip bomb.
    pub fn from_layout(bytes: &[u8]) -> Result<Self> {
        file::read(bytes, crate::units::u64_of(bytes.len()))
    }
}

#[cfg(test)]
mod tests;
