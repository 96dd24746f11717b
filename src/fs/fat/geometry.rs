//! Where the parts of a volume lie, and which kind and cluster size it has.
//!
//! ```text
//!             FAT12, FAT16                                    FAT32
//! sector 0    boot sector                                     boot sector, FSInfo (1), their backups (6, 7)
//!             FAT, FAT                                        from sector 32 or one cluster on: FAT, FAT
//!             root directory (fixed)
//!             clusters 2, 3, …                                clusters 2, 3, …; the root directory begins in 2
//! ```
//!
//! Readers tell the kinds apart by nothing but the number of clusters (fatgen103, "FAT Type Determination"), so the
//! number is exact here: where rounding would let a reader count a cluster that the FAT has no entry for, the volume ends
//! a few sectors earlier. What we choose ourselves stays 16 clusters away from the two borders, as fatgen103 advises.

use super::format::ENTRY_BYTES;
use super::{FatKind, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::units::{GIB, KIB, Size, align_down, u64_of};

/// FATs on a volume.
pub(super) const FAT_COPIES: u64 = 2;
/// Entries in the root directory of FAT12 and FAT16, unless the tree needs more (fatgen103, `BPB_RootEntCnt`).
const ROOT_ENTRIES: u64 = 512;
/// Reserved sectors of FAT32 (fatgen103, `BPB_RsvdSecCnt`).
const FAT32_RESERVED_SECTORS: u64 = 32;
/// The largest cluster that every reader takes (fatgen103, `BPB_SecPerClus`).
pub(super) const CLUSTER_MAX_BYTES: u64 = 32 * KIB;
/// How far from the borders between kinds our own choice stays.
const BORDER_CLUSTERS: u64 = 16;

impl FatKind {
    /// Bits in an entry of the FAT.
    pub(super) const fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// The clusters that a volume of this kind can have (fatgen103, "FAT Type Determination"; the last numbers of FAT32 are marks).
    pub(super) const fn clusters(self) -> (u64, u64) {
        match self {
            Self::Fat12 => (1, 4_084),
            Self::Fat16 => (4_085, 65_524),
            Self::Fat32 => (65_525, 0x0fff_fff5),
        }
    }
}

/// The shape of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: FatKind,
    pub(super) sector_bytes: u64,
    pub(super) cluster_bytes: u64,
    pub(super) reserved_sectors: u64,
    pub(super) fat_sectors: u64,
    /// 0 in FAT32.
    pub(super) root_entries: u64,
    pub(super) total_sectors: u64,
    /// Clusters, the first of which has number 2.
    pub(super) clusters: u64,
}

impl Geometry {
    /// The offset of a copy of the FAT.
    pub(super) fn fat_offset(&self, copy: u64) -> u64 {
        (self.reserved_sectors + copy * self.fat_sectors) * self.sector_bytes
    }

    pub(super) fn fat_bytes(&self) -> u64 {
        self.fat_sectors * self.sector_bytes
    }

    /// The offset of the fixed root directory; in FAT32 that of the first cluster.
    pub(super) fn root_offset(&self) -> u64 {
        self.fat_offset(FAT_COPIES)
    }

    pub(super) fn root_bytes(&self) -> u64 {
        self.root_entries * u64_of(ENTRY_BYTES)
    }

    /// The offset of a cluster, which is numbered from 2.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.root_offset() + self.root_bytes() + (u64::from(cluster) - 2) * self.cluster_bytes
    }

    /// A volume of at most `size_bytes` with clusters of `cluster_bytes`, whatever number of them there comes to be;
    /// `None` where not one fits or a field cannot hold the numbers.
    fn fit(kind: FatKind, size_bytes: u64, sector_bytes: u64, cluster_bytes: u64, root_slots: u64) -> Option<Self> {
        let per_cluster = cluster_bytes / sector_bytes;
        let (reserved_sectors, root_entries, fat_unit) = match kind {
            // Both rounded to clusters, so that clusters are aligned as the volume is.
            FatKind::Fat32 => (FAT32_RESERVED_SECTORS.next_multiple_of(per_cluster), 0, per_cluster),
            _ => (1, root_slots.max(ROOT_ENTRIES).next_multiple_of(sector_bytes / u64_of(ENTRY_BYTES)), 1),
        };
        let total_sectors = (size_bytes / sector_bytes).min(u64::from(u32::MAX));
        let fixed_sectors = reserved_sectors + root_entries * u64_of(ENTRY_BYTES) / sector_bytes;
        let fat_sectors = |clusters: u64| ((clusters + 2) * kind.bits()).div_ceil(8 * sector_bytes).next_multiple_of(fat_unit);
        let sectors = |clusters: u64| fixed_sectors + FAT_COPIES * fat_sectors(clusters) + clusters * per_cluster;
        let (mut clusters, mut too_many) = (0, total_sectors / per_cluster + 1);
        while too_many - clusters > 1 {
            let middle = clusters.midpoint(too_many);
            if sectors(middle) <= total_sectors { clusters = middle } else { too_many = middle }
        }
        if clusters == 0 {
            return None;
        }
        let fat_sectors = fat_sectors(clusters);
        let last_sector = fixed_sectors + FAT_COPIES * fat_sectors + clusters * per_cluster + per_cluster - 1;
        Some(Self { kind, sector_bytes, cluster_bytes, reserved_sectors, fat_sectors, root_entries, total_sectors: total_sectors.min(last_sector), clusters })
    }

    /// The shape that `options` ask for, or the one that suits a volume of `size_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::TooSmall`] or [`ErrorKind::InvalidInput`] where the kind and cluster size asked for do not go with the size.
    pub(super) fn choose(options: &Options, size_bytes: u64, root_slots: u64) -> Result<Self> {
        let sector_bytes = u64::from(options.sector_bytes);
        let mut kinds = options.kind.map_or_else(|| vec![FatKind::Fat32, FatKind::Fat16, FatKind::Fat12], |kind| vec![kind]);
        let root_entries_max = align_down(u64::from(u16::MAX), sector_bytes / u64_of(ENTRY_BYTES));
        kinds.retain(|kind| *kind == FatKind::Fat32 || root_slots <= root_entries_max);
        if kinds.is_empty() {
            return Err(Error::limit(format!(
                "the root directory takes {root_slots} entries of 32 bytes; FAT12 and FAT16 have at most {root_entries_max} there"
            )));
        }
        for kind in kinds.iter().copied() {
            let (least, most) = clusters_to_choose(kind, options);
            let sizes = options.cluster_bytes.map_or_else(|| cluster_sizes(kind, size_bytes, sector_bytes), |bytes| vec![u64::from(bytes)]);
            let fits = sizes.into_iter().filter_map(|bytes| Self::fit(kind, size_bytes, sector_bytes, bytes, root_slots));
            if let Some(found) = fits.into_iter().find(|shape| (least..=most).contains(&shape.clusters)) {
                return Ok(found);
            }
        }
        Err(no_shape(options, &kinds, size_bytes, root_slots))
    }
}

/// The clusters that a volume of this kind may come to have: away from the borders, unless the size of a cluster is given.
fn clusters_to_choose(kind: FatKind, options: &Options) -> (u64, u64) {
    let (least, most) = kind.clusters();
    let margin = if options.cluster_bytes.is_some() { 0 } else { BORDER_CLUSTERS };
    match kind {
        FatKind::Fat12 => (least, most - margin),
        FatKind::Fat16 => (least + margin, most - margin),
        FatKind::Fat32 => (least + margin, most),
    }
}

/// Cluster sizes for a kind, the best first.
fn cluster_sizes(kind: FatKind, size_bytes: u64, sector_bytes: u64) -> Vec<u64> {
    let ascending = std::iter::successors(Some(sector_bytes), |bytes| Some(bytes * 2)).take_while(|bytes| *bytes <= CLUSTER_MAX_BYTES);
    match kind {
        // The table of fatgen103 (`DskTableFAT32`), and smaller ones where those give too few clusters.
        FatKind::Fat32 => {
            let best = match size_bytes {
                to_8 if to_8 <= 8 * GIB => 4 * KIB,
                to_16 if to_16 <= 16 * GIB => 8 * KIB,
                to_32 if to_32 <= 32 * GIB => 16 * KIB,
                _ => 32 * KIB,
            };
            let mut sizes: Vec<u64> = ascending.filter(|bytes| *bytes <= best).collect();
            sizes.reverse();
            sizes
        }
        // 2 KiB, smaller ones for small volumes, larger ones for large volumes.
        FatKind::Fat16 => {
            let (mut small, large): (Vec<u64>, Vec<u64>) = ascending.partition(|bytes| *bytes <= 2 * KIB);
            small.reverse();
            small.extend(large);
            small
        }
        FatKind::Fat12 => ascending.collect(),
    }
}

/// Why no shape was found: too small for the kind, or too large for it.
fn no_shape(options: &Options, kinds: &[FatKind], size_bytes: u64, root_slots: u64) -> Error {
    let sector_bytes = u64::from(options.sector_bytes);
    // The kind with the fewest clusters is the last.
    let kind = kinds[kinds.len() - 1];
    let cluster_bytes = options.cluster_bytes.map_or(sector_bytes, u64::from);
    let (least, _) = clusters_to_choose(kind, options);
    let clusters = Geometry::fit(kind, size_bytes, sector_bytes, cluster_bytes, root_slots).map_or(0, |shape| shape.clusters);
    if clusters >= least {
        let (kind, (_, most)) = (kinds[0], clusters_to_choose(kinds[0], options));
        let largest = options.cluster_bytes.map_or(CLUSTER_MAX_BYTES, u64::from);
        return Error::invalid(format!(
            "{} has at most {most} clusters here, and {} are more than that with clusters of {}",
            kind.title(),
            Size::bytes(size_bytes),
            Size::bytes(largest)
        ));
    }
    // Each cluster costs its bytes and its FAT entries; the search ends at the first size that gives enough.
    let (mut too_small, mut enough) = (size_bytes / sector_bytes, size_bytes / sector_bytes + least * (cluster_bytes / sector_bytes + 2) + 65_536);
    while enough - too_small > 1 {
        let middle = too_small.midpoint(enough);
        let clusters = Geometry::fit(kind, middle * sector_bytes, sector_bytes, cluster_bytes, root_slots).map_or(0, |shape| shape.clusters);
        if clusters >= least { enough = middle } else { too_small = middle }
    }
    let needed = enough * sector_bytes;
    Error::new(
        ErrorKind::TooSmall { needed, available: size_bytes },
        format!(
            "{} has at least {least} clusters: with clusters of {} that takes {needed} bytes, and there are {size_bytes}",
            kind.title(),
            Size::bytes(cluster_bytes)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{MIB, TIB};

    fn options(kind: Option<FatKind>, cluster_bytes: Option<u32>, sector_bytes: u32) -> Options {
        Options { kind, cluster_bytes, sector_bytes, ..Options::new() }
    }

    /// What a reader counts (fatgen103, "FAT Type Determination").
    fn counted(shape: &Geometry) -> u64 {
        let root_sectors = (shape.root_entries * 32).div_ceil(shape.sector_bytes);
        let data = shape.total_sectors - shape.reserved_sectors - 2 * shape.fat_sectors - root_sectors;
        data / (shape.cluster_bytes / shape.sector_bytes)
    }

    #[test]
    fn kind_and_cluster_size_follow_the_size() {
        for (size, sector, kind, cluster) in [
            (MIB, 512, FatKind::Fat12, 512),
            (2 * MIB, 512, FatKind::Fat12, 512),
            (3 * MIB, 512, FatKind::Fat16, 512),
            (16 * MIB, 512, FatKind::Fat16, 2048),
            (32 * MIB, 512, FatKind::Fat16, 2048),
            (34 * MIB, 512, FatKind::Fat32, 512),
            (128 * MIB, 512, FatKind::Fat32, 1024),
            (512 * MIB, 512, FatKind::Fat32, 4096),
            (8 * GIB, 512, FatKind::Fat32, 4096),
            (33 * GIB, 512, FatKind::Fat32, 32_768),
            (TIB, 512, FatKind::Fat32, 32_768),
            (128 * MIB, 4096, FatKind::Fat16, 4096),
            (512 * MIB, 4096, FatKind::Fat32, 4096),
        ] {
            let shape = Geometry::choose(&options(None, None, sector), size, 0).unwrap();
            assert_eq!((shape.kind, shape.cluster_bytes), (kind, cluster), "{size}");
        }
    }

    #[test]
    fn readers_count_the_clusters_that_the_fat_has_entries_for() {
        for kind in [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32] {
            for cluster in [512, 1024, 4096, 32_768] {
                for sectors in (200..2_000).chain(33_000..33_400).chain(131_000..132_400).chain([1 << 22, (1 << 22) + 1, u64::from(u32::MAX) + 9]) {
                    let Some(shape) = Geometry::fit(kind, sectors * 512, 512, cluster, 0) else { continue };
                    assert_eq!(counted(&shape), shape.clusters, "{kind:?} {cluster} {sectors}");
                    assert!((shape.clusters + 2) * kind.bits() <= shape.fat_bytes() * 8);
                    assert!(shape.total_sectors <= sectors);
                    assert!(shape.total_sectors + 3 * cluster / 512 + 2 >= sectors.min(u64::from(u32::MAX)), "{kind:?} {cluster} {sectors}");
                }
            }
        }
    }

    #[test]
    fn a_kind_that_does_not_go_with_the_size_is_refused() {
        let error = Geometry::choose(&options(Some(FatKind::Fat32), None, 512), 20 * MIB, 0).unwrap_err();
        let ErrorKind::TooSmall { needed, available } = error.kind() else { panic!("{error}") };
        assert_eq!(available, 20 * MIB);
        assert!(Geometry::choose(&options(Some(FatKind::Fat32), None, 512), needed, 0).is_ok());
        assert!(Geometry::choose(&options(Some(FatKind::Fat32), None, 512), needed - 512, 0).is_err());
        let error = Geometry::choose(&options(Some(FatKind::Fat12), None, 512), GIB, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(Geometry::choose(&options(None, None, 512), 0, 0).is_err());
        assert!(Geometry::choose(&options(None, None, 512), 4096, 0).is_err());
    }
}
