//! What lay where in an earlier version of a volume, for a version that stays close to it.
//!
//! ```text
//! image ─► read ─► Parent::of ──┐
//!                               ├─► Parent (paths, chains) ─► Options::parent ─► plan
//! plan ─► FatLayout::as_parent ─┘
//! ```
//! Both ways give the same of the same volume. Of an entry there are its path, whether it is a directory, and its chain; contents,
//! lengths and times are always the new version's. A parent comes from an image or a file that anybody may have made, so a planner
//! takes of it only what can be: a chain is followed to the first cluster that is not on the volume or that another has already.

use super::FatKind;
use super::layout::FatLayout;
use crate::error::{Error, Result};
use crate::fs::existing::{PlaceOwner, ReadFilesystem};
use std::ops::Range;

/// What lay where in an earlier version of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// FAT12, FAT16 or FAT32.
    pub kind: FatKind,
    /// Bytes in a cluster.
    pub cluster_bytes: u32,
    /// Where the first cluster, which has number 2, begins: bytes from the volume's begin.
    pub data_offset_bytes: u64,
    /// By path; entries without clusters are not in it, nor is a root directory that has a place of its own.
    pub chains: Vec<ParentChain>,
}

/// The clusters of one directory or file of an earlier version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentChain {
    /// The path in the volume, no slash in front; the root's is empty.
    pub path: Vec<u8>,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its clusters in the order of its contents; neighbours are one run.
    pub runs: Vec<Range<u32>>,
}

/// The number of the first cluster.
const FIRST_CLUSTER: u64 = 2;

impl Parent {
    /// What lies where in a volume that was read; `None` if it is not FAT.
    ///
    /// # Errors
    /// None for what our own reader gives: places that contradict each other.
    pub fn of(read: &ReadFilesystem) -> Result<Option<Self>> {
        let Ok(kind) = read.summary.kind.parse::<FatKind>() else { return Ok(None) };
        let contradiction = |what: &str| Error::corrupt(format!("what is known of the FAT volume contradicts itself: {what}"));
        let structure = |owner: &PlaceOwner| matches!(owner, PlaceOwner::Structure { what: "reserved sectors" | "file allocation table", .. });
        let fats_end = read.places.iter().take_while(|place| structure(&place.owner)).last().map_or(0, |place| place.range.end);
        let fixed_root = read.places.iter().find(|place| place.range.start == fats_end && kind != FatKind::Fat32);
        let data_offset_bytes = fixed_root.map_or(fats_end, |place| place.range.end);
        let cluster_bytes = u64::from(read.summary.block_bytes);
        let cluster = |offset: u64| {
            let inside = offset.checked_sub(data_offset_bytes).filter(|inside| inside.checked_rem(cluster_bytes) == Some(0));
            inside.and_then(|inside| u32::try_from(inside / cluster_bytes + FIRST_CLUSTER).ok()).ok_or_else(|| contradiction("a place lies between clusters"))
        };
        let mut pieces = Vec::new();
        for place in &read.places {
            if let PlaceOwner::Data { node, offset_bytes } = place.owner
                && place.range.start >= data_offset_bytes
            {
                pieces.push((node, offset_bytes, cluster(place.range.start)?..cluster(place.range.end)?));
            }
        }
        pieces.sort_unstable_by_key(|(node, offset_bytes, _)| (*node, *offset_bytes));
        let mut chains = Vec::new();
        read.tree.walk(|path, id| {
            let first = pieces.partition_point(|(node, ..)| *node < id);
            let mut runs = Vec::new();
            for (_, _, run) in pieces[first..].iter().take_while(|(node, ..)| *node == id) {
                append(&mut runs, run.clone());
            }
            if !runs.is_empty() {
                chains.push(ParentChain { path: path.to_vec(), is_directory: read.tree.node(id).is_directory(), runs });
            }
            Ok(())
        })?;
        chains.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Some(Self { kind, cluster_bytes: read.summary.block_bytes, data_offset_bytes, chains }))
    }
}

/// Adds a run to a chain, joined with its neighbour.
pub(super) fn append(chain: &mut Vec<Range<u32>>, run: Range<u32>) {
    match chain.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => chain.push(run),
    }
}

impl FatLayout {
    /// What lies where in this volume, for the next version of it.
    #[must_use]
    pub fn as_parent(&self) -> Parent {
        let paths = self.inventory.paths(&self.tree);
        let with_clusters = self.inventory.items.iter().zip(&self.chains).zip(paths).filter(|((_, chain), _)| !chain.is_empty());
        let mut chains: Vec<ParentChain> =
            with_clusters.map(|((item, chain), path)| ParentChain { path, is_directory: item.is_directory(), runs: chain.clone() }).collect();
        chains.sort_by(|a, b| a.path.cmp(&b.path));
        let cluster_bytes = u32::try_from(self.shape.cluster_bytes).expect("clusters have at most 32 KiB");
        Parent { kind: self.shape.kind, cluster_bytes, data_offset_bytes: self.shape.cluster_offset(2), chains }
    }
}
