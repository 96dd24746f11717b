//! The planned volume: its segments, and the bytes of its structures on demand.

use super::FatKind;
use super::format::MEDIA_FIXED;
use super::geometry::{FAT_COPIES, Geometry};
use super::inventory::Inventory;
use super::place::Chain;
use crate::layout::{Layout, Segment};
use crate::report::FilesystemSummary;
use crate::tree::Tree;
use crate::units::{u64_of, usize_of};
use std::sync::Arc;

/// A planned FAT volume. Memory: its directories and some 250 bytes a file, whatever the size of the volume.
#[derive(Debug)]
pub struct FatLayout {
    pub(super) size_bytes: u64,
    pub(super) summary: FilesystemSummary,
    pub(super) notes: Vec<String>,
    /// Ascending.
    pub(super) segments: Vec<Segment>,
    pub(super) shape: Geometry,
    /// The sectors from 0 on.
    pub(super) boot: Vec<u8>,
    /// Ascending; clusters in none are free.
    pub(super) runs: Vec<Run>,
    pub(super) directories: DirectoryBytes,
    pub(super) tree: Arc<Tree>,
    pub(super) inventory: Inventory,
    /// By item.
    pub(super) chains: Vec<Chain>,
}

/// Neighbouring clusters of one directory or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) last: u32,
    /// The cluster that follows on the last; 0 where the chain ends.
    pub(super) next: u32,
}

/// The bytes of all directories without the zeros at their ends.
#[derive(Debug, Default)]
pub(super) struct DirectoryBytes {
    /// Of each piece (offset on the volume, position in `bytes`), ascending.
    pub(super) places: Vec<(u64, usize)>,
    pub(super) bytes: Vec<u8>,
}

impl FatLayout {
    /// What the volume is, for reports.
    #[must_use]
    pub fn summary(&self) -> FilesystemSummary {
        self.summary.clone()
    }

    /// What the tree has and FAT does not store, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// FAT12, FAT16 or FAT32.
    #[must_use]
    pub fn kind(&self) -> FatKind {
        self.shape.kind
    }

    /// The number of clusters, free ones included.
    #[must_use]
    pub fn cluster_count(&self) -> u64 {
        self.shape.clusters
    }

    /// The part of the FAT from `offset` in it.
    fn render_fat(&self, offset: u64, out: &mut [u8]) {
        // Two entries of FAT12 share three bytes; else an entry is a unit of its own.
        let (unit_bytes, unit_entries) = match self.shape.kind {
            FatKind::Fat12 => (3, 2),
            FatKind::Fat16 => (2, 1),
            FatKind::Fat32 => (4, 1),
        };
        let unit = offset / u64_of(unit_bytes);
        let mut skip = usize_of(offset % u64_of(unit_bytes));
        let mut cluster = u32::try_from(unit * unit_entries).expect("segments of the FAT end at the last used cluster");
        let mut run = self.runs.partition_point(|run| run.last < cluster);
        let mut done = 0;
        while done < out.len() {
            let mut value = self.entry(cluster, &mut run);
            if self.shape.kind == FatKind::Fat12 {
                value |= self.entry(cluster + 1, &mut run) << 12;
                cluster += 1;
            }
            cluster += 1;
            let bytes = &value.to_le_bytes()[skip..unit_bytes];
            let len = bytes.len().min(out.len() - done);
            out[done..done + len].copy_from_slice(&bytes[..len]);
            done += len;
            skip = 0;
        }
    }

    /// The FAT's entry for a cluster; `run` is the first run that ends at it or behind, and moves on with it.
    fn entry(&self, cluster: u32, run: &mut usize) -> u32 {
        let end_of_chain = match self.shape.kind {
            FatKind::Fat12 => 0xfff,
            FatKind::Fat16 => 0xffff,
            FatKind::Fat32 => 0x0fff_ffff,
        };
        match cluster {
            // Entry 0 has the media byte; entry 1 says that the volume was left in order (fatgen103, `ClnShutBitMask`).
            0 => end_of_chain & !0xff | u32::from(MEDIA_FIXED),
            1 => end_of_chain,
            _ => match self.runs.get(*run).filter(|run| run.first <= cluster) {
                None => 0,
                Some(Run { last, next, .. }) if *last == cluster => {
                    *run += 1;
                    if *next == 0 { end_of_chain } else { *next }
                }
                Some(_) => cluster + 1,
            },
        }
    }
}

impl Layout for FatLayout {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        let at = self.segments.partition_point(|segment| segment.range.end <= offset_bytes);
        self.segments.get(at).cloned()
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        if offset_bytes < u64_of(self.boot.len()) {
            out.copy_from_slice(&self.boot[usize_of(offset_bytes)..][..out.len()]);
        } else if offset_bytes < self.shape.fat_offset(FAT_COPIES) {
            self.render_fat((offset_bytes - self.shape.fat_offset(0)) % self.shape.fat_bytes(), out);
        } else {
            let after = self.directories.places.partition_point(|(start, _)| *start <= offset_bytes);
            let (start, position) = self.directories.places[after - 1];
            out.copy_from_slice(&self.directories.bytes[position + usize_of(offset_bytes - start)..][..out.len()]);
        }
    }
}
