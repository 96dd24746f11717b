//! The boot sector, checked: what kind of volume it is and where its parts lie. The input is not trusted.
//!
//! The kind follows from the number of clusters, with the one exception that every reader makes (Linux, Windows, EDK II, dosfstools,
//! mtools): a volume without `BPB_FATSz16` is FAT32, however few its clusters; `mkfs.fat -F 32` makes such volumes below 33 MiB.

use super::super::FatKind;
use super::super::format::{BOOT_SECTOR_BYTES, BOOT_SIG_EXTENDED, Bpb, ENTRY_BYTES, EXT_FLAGS_ONE_FAT, ExtendedBoot, Fat32Bpb, SIGNATURE, copy};
use crate::error::{Error, Result};
use crate::units::u64_of;
use std::ops::Range;

/// Reads bytes by their offset.
pub(super) type ReadBytes<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// The first cluster's number.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// A volume whose boot sector does not contradict itself or the size of what it lies on.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) kind: FatKind,
    /// The boot sector's first 512 bytes.
    pub(super) sector: [u8; BOOT_SECTOR_BYTES],
    pub(super) sector_bytes: u64,
    pub(super) cluster_bytes: u64,
    /// What the volume lies on, which can be larger.
    pub(super) size_bytes: u64,
    pub(super) reserved_sectors: u64,
    pub(super) fats: u64,
    pub(super) fat_sectors: u64,
    /// The copy that is read.
    pub(super) active_fat: u64,
    /// All copies should be equal.
    pub(super) mirrored: bool,
    /// Sectors of the fixed root directory; 0 in FAT32.
    pub(super) root_sectors: u64,
    /// Entries in it.
    pub(super) root_entries: u64,
    /// Clusters, the first of which has number 2.
    pub(super) clusters: u32,
    pub(super) media: u8,
    /// Volume id and label, where the boot sector has them.
    pub(super) extended: Option<ExtendedBoot>,
    /// `BS_Reserved1`, whether or not there is a volume id.
    pub(super) state: u8,
    /// What only FAT32 has.
    pub(super) fat32: Option<Fat32Bpb>,
}

impl Volume {
    /// The volume in the `size_bytes` that `read_at` reads; `None` if the first sector is not that of one.
    ///
    /// # Errors
    /// A boot sector that is FAT's but contradicts itself or the size; a version that is not known.
    pub(super) fn decode(read_at: &ReadBytes<'_>, size_bytes: u64) -> Result<Option<Self>> {
        if size_bytes < u64_of(BOOT_SECTOR_BYTES) {
            return Ok(None);
        }
        let mut sector = [0; BOOT_SECTOR_BYTES];
        read_at(0, &mut sector)?;
        let bpb = Bpb::decode(&copy(&sector[..Bpb::BYTES]));
        if sector[510..] != SIGNATURE || !looks_like_fat(&bpb) {
            return Ok(None);
        }
        let fat32 = (bpb.bpb_fat_sz16 == 0).then(|| Fat32Bpb::decode(&copy(&sector[Fat32Bpb::OFFSET..][..Fat32Bpb::BYTES])));
        let volume_offset = if fat32.is_some() { ExtendedBoot::OFFSET_32 } else { ExtendedBoot::OFFSET_16 };
        let extended = ExtendedBoot::decode(&copy(&sector[volume_offset..][..ExtendedBoot::BYTES]));

        let sector_bytes = u64::from(bpb.bpb_byts_per_sec);
        let fat_sectors = fat32.map_or(u64::from(bpb.bpb_fat_sz16), |fat32| u64::from(fat32.bpb_fat_sz32));
        let total_sectors = if bpb.bpb_tot_sec16 == 0 { u64::from(bpb.bpb_tot_sec32) } else { u64::from(bpb.bpb_tot_sec16) };
        let root_entries = u64::from(bpb.bpb_root_ent_cnt);
        let root_sectors = (root_entries * u64_of(ENTRY_BYTES)).div_ceil(sector_bytes);
        let fats = u64::from(bpb.bpb_num_fats);
        let data_start = u64::from(bpb.bpb_rsvd_sec_cnt) + fats * fat_sectors + root_sectors;
        if total_sectors * sector_bytes > size_bytes {
            return Err(Error::corrupt(format!(
                "the FAT volume says it has {total_sectors} sectors of {sector_bytes} bytes, and there are {size_bytes} bytes"
            )));
        }
        let clusters = total_sectors.saturating_sub(data_start) / u64::from(bpb.bpb_sec_per_clus);
        let kinds = if fat32.is_some() { &[FatKind::Fat32][..] } else { &[FatKind::Fat12, FatKind::Fat16] };
        let kind = kinds.iter().copied().find(|kind| (1..=kind.clusters().1).contains(&clusters));
        let (Some(kind), Ok(clusters)) = (kind, u32::try_from(clusters)) else {
            return Err(Error::corrupt(format!("the FAT volume has {clusters} clusters, which does not go with its kind")));
        };
        if ((u64::from(clusters) + 2) * kind.bits()).div_ceil(8) > fat_sectors * sector_bytes {
            return Err(Error::corrupt(format!("the FAT has {fat_sectors} sectors, too few for {clusters} clusters")));
        }
        let one_fat = fat32.filter(|fat32| fat32.bpb_ext_flags & EXT_FLAGS_ONE_FAT != 0);
        let active_fat = one_fat.map_or(0, |fat32| u64::from(fat32.bpb_ext_flags & 0xf));
        if active_fat >= fats {
            return Err(Error::corrupt(format!("FAT number {active_fat} is said to be the one in use, and there are {fats}")));
        }
        if let Some(version) = fat32.map(|fat32| fat32.bpb_fs_ver).filter(|version| *version != 0) {
            return Err(Error::unsupported(format!("FAT32 version {}.{}; 0.0 is the only one known", version >> 8, version & 0xff)));
        }
        let volume = Self {
            kind,
            sector,
            sector_bytes,
            cluster_bytes: sector_bytes * u64::from(bpb.bpb_sec_per_clus),
            size_bytes,
            reserved_sectors: u64::from(bpb.bpb_rsvd_sec_cnt),
            fats,
            fat_sectors,
            active_fat,
            mirrored: one_fat.is_none(),
            root_sectors,
            root_entries,
            clusters,
            media: bpb.bpb_media,
            extended: (extended.bs_boot_sig == BOOT_SIG_EXTENDED).then_some(extended),
            state: extended.bs_reserved1,
            fat32,
        };
        if let Some(root) = volume.fat32.map(|fat32| fat32.bpb_root_clus).filter(|root| !volume.is_cluster(*root)) {
            return Err(Error::corrupt(format!("the root directory is said to begin in cluster {root}; clusters 2 to {} are there", clusters + 1)));
        }
        Ok(Some(volume))
    }

    /// The offset of a copy of the FAT.
    pub(super) fn fat_offset(&self, fat: u64) -> u64 {
        (self.reserved_sectors + fat * self.fat_sectors) * self.sector_bytes
    }

    /// Bytes of a FAT that hold entries.
    pub(super) fn fat_bytes(&self) -> u64 {
        ((u64::from(self.clusters) + 2) * self.kind.bits()).div_ceil(8)
    }

    /// Where the entry of a cluster begins in the FAT that is read.
    pub(super) fn entry_offset(&self, cluster: u32) -> u64 {
        self.fat_offset(self.active_fat) + u64::from(cluster) * self.kind.bits() / 8
    }

    /// The fixed root directory of FAT12 and FAT16.
    pub(super) fn root_range(&self) -> Range<u64> {
        let start = self.fat_offset(self.fats);
        start..start + self.root_sectors * self.sector_bytes
    }

    /// The root directory's first cluster in FAT32.
    pub(super) fn root_cluster(&self) -> Option<u32> {
        self.fat32.map(|fat32| fat32.bpb_root_clus)
    }

    /// The offset of a cluster.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        debug_assert!(self.is_cluster(cluster), "cluster {cluster} of {}", self.clusters);
        self.root_range().end + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes
    }

    /// Whether there is a cluster of this number.
    pub(super) fn is_cluster(&self, cluster: u32) -> bool {
        cluster.checked_sub(FIRST_CLUSTER).is_some_and(|index| index < self.clusters)
    }
}

/// Whether the fields have values that a FAT volume can have: other boot sectors end in the same signature.
fn looks_like_fat(bpb: &Bpb) -> bool {
    matches!(bpb.bs_jmp_boot[0], 0xeb | 0xe9)
        && matches!(bpb.bpb_byts_per_sec, 512 | 1024 | 2048 | 4096)
        && bpb.bpb_sec_per_clus.is_power_of_two()
        && bpb.bpb_rsvd_sec_cnt > 0
        && matches!(bpb.bpb_num_fats, 1 | 2)
        && matches!(bpb.bpb_media, 0xf0 | 0xf8..=0xff)
        && (bpb.bpb_fat_sz16 == 0) == (bpb.bpb_root_ent_cnt == 0)
        && (bpb.bpb_tot_sec16 != 0 || bpb.bpb_tot_sec32 != 0)
}
