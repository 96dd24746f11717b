//! The contents of a volume's files, by position: each file's clusters as runs.

use super::volume::Volume;
use crate::content::{Contents, ReadAt};
use crate::error::{Error, Result};
use crate::units::{ContentId, index_of, u64_of, usize_of};
use std::sync::Arc;

/// A run of clusters that hold a run of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The number in the file of its first cluster, from 0.
    pub(super) at: u32,
    /// The first cluster.
    pub(super) cluster: u32,
    pub(super) count: u32,
}

/// A file: its runs among all, and its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileRuns {
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) length: u32,
}

pub(super) struct FatContents {
    pub(super) disk: Arc<dyn ReadAt>,
    pub(super) volume: Volume,
    pub(super) extents: Vec<Extent>,
    /// By content number.
    pub(super) files: Vec<FileRuns>,
}

impl Contents for FatContents {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, mut out: &mut [u8]) -> Result<()> {
        let outside = || Error::invalid(format!("{} bytes at {offset_bytes} of contents {}: not there", out.len(), id.0));
        let file = self.files.get(index_of(id.0)).ok_or_else(outside)?;
        offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= u64::from(file.length)).ok_or_else(outside)?;
        let extents = &self.extents[index_of(file.first)..index_of(file.end)];
        let cluster_bytes = self.volume.cluster_bytes;
        let mut offset = offset_bytes;
        let mut at = extents.partition_point(|extent| u64::from(extent.at + extent.count) * cluster_bytes <= offset);
        while !out.is_empty() {
            let extent = extents[at];
            let inside = offset - u64::from(extent.at) * cluster_bytes;
            let len = usize_of((u64::from(extent.count) * cluster_bytes - inside).min(u64_of(out.len())));
            let (part, rest) = out.split_at_mut(len);
            self.disk.read_exact_at(self.volume.cluster_offset(extent.cluster) + inside, part)?;
            offset += u64_of(len);
            out = rest;
            at += 1;
        }
        Ok(())
    }
}
