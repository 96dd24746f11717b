//! Looking at a volume: what kind it is, its label, how much of it is free. The input is not trusted.

use super::super::format::{
    ATTR_LONG_NAME, ATTR_VOLUME_ID, BOOT_SECTOR_BYTES, BOOT_SIG_EXTENDED, Bpb, DirectoryEntry, ENTRY_BYTES, ExtendedBoot, Fat32Bpb, SIGNATURE, copy,
};
use super::super::{FatKind, VolumeId};
use crate::error::{Error, Result};
use crate::report::{FilesystemSummary, SizePart};
use crate::units::{u64_of, usize_of};
use std::ops::Range;

/// Bytes of the FAT that are read at once: a multiple of 3, so that FAT12's pairs stay together.
const CHUNK_BYTES: u64 = 3 << 16;

/// How much of the root directory is searched for the label.
const LABEL_SEARCH_BYTES: u64 = 16 << 10;
/// `DIR_Name[0]` of an entry that was deleted.
const ENTRY_DELETED: u8 = 0xe5;

/// Looks for a FAT volume in the `size_bytes` that `read_at` reads (offset, buffer to fill): `None` if the first sector is not
/// that of one. Free space is counted in the FAT, whatever FSInfo says; the work is bounded by the size.
///
/// # Errors
/// A boot sector that is FAT's but contradicts itself or the size, and those of `read_at`.
pub fn probe(read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>, size_bytes: u64) -> Result<Option<FilesystemSummary>> {
    if size_bytes < u64_of(BOOT_SECTOR_BYTES) {
        return Ok(None);
    }
    let mut sector = [0; BOOT_SECTOR_BYTES];
    read_at(0, &mut sector)?;
    let bpb = Bpb::decode(&copy(&sector[..Bpb::BYTES]));
    if sector[510..] != SIGNATURE || !looks_like_fat(&bpb) {
        return Ok(None);
    }
    let fat32 = bpb.bpb_fat_sz16 == 0;
    let bpb32 = Fat32Bpb::decode(&copy(&sector[Fat32Bpb::OFFSET..][..Fat32Bpb::BYTES]));
    let volume_offset = if fat32 { ExtendedBoot::OFFSET_32 } else { ExtendedBoot::OFFSET_16 };
    let volume = ExtendedBoot::decode(&copy(&sector[volume_offset..][..ExtendedBoot::BYTES]));

    let sector_bytes = u64::from(bpb.bpb_byts_per_sec);
    let cluster_bytes = u32::from(bpb.bpb_byts_per_sec) * u32::from(bpb.bpb_sec_per_clus);
    let fat_sectors = if fat32 { u64::from(bpb32.bpb_fat_sz32) } else { u64::from(bpb.bpb_fat_sz16) };
    let total_sectors = if bpb.bpb_tot_sec16 == 0 { u64::from(bpb.bpb_tot_sec32) } else { u64::from(bpb.bpb_tot_sec16) };
    let root_sectors = (u64::from(bpb.bpb_root_ent_cnt) * u64_of(ENTRY_BYTES)).div_ceil(sector_bytes);
    let data_start = u64::from(bpb.bpb_rsvd_sec_cnt) + u64::from(bpb.bpb_num_fats) * fat_sectors + root_sectors;
    if total_sectors * sector_bytes > size_bytes {
        return Err(Error::corrupt(format!("the FAT volume says it has {total_sectors} sectors of {sector_bytes} bytes, and there are {size_bytes} bytes")));
    }
    let clusters = total_sectors.saturating_sub(data_start) / u64::from(bpb.bpb_sec_per_clus);
    let kind = [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32].into_iter().find(|kind| clusters <= kind.clusters().1);
    let Some(kind) = kind.filter(|kind| clusters > 0 && (*kind == FatKind::Fat32) == fat32) else {
        return Err(Error::corrupt(format!("the FAT volume has {clusters} clusters, which does not go with its kind")));
    };
    let fat_bytes = ((clusters + 2) * kind.bits()).div_ceil(8);
    if fat_bytes > fat_sectors * sector_bytes {
        return Err(Error::corrupt(format!("the FAT has {fat_sectors} sectors, too few for {clusters} clusters")));
    }
    let fat_offset = u64::from(bpb.bpb_rsvd_sec_cnt) * sector_bytes;
    let free_bytes = count_free(read_at, kind, fat_offset, clusters)? * u64::from(cluster_bytes);
    let part = |what: &str, bytes| SizePart { what: what.to_owned(), bytes };
    let mut parts = vec![
        part("clusters in use", clusters * u64::from(cluster_bytes) - free_bytes),
        part("boot sectors, allocation tables, root directory", data_start * sector_bytes),
    ];
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let root = if fat32 {
        let cluster = u64::from(bpb32.bpb_root_clus).saturating_sub(2).min(clusters - 1);
        data_start * sector_bytes + cluster * u64::from(cluster_bytes)..data_start * sector_bytes + (cluster + 1) * u64::from(cluster_bytes)
    } else {
        (data_start - root_sectors) * sector_bytes..data_start * sector_bytes
    };
    let entry = root_label(read_at, root)?;
    let extended = volume.bs_boot_sig == BOOT_SIG_EXTENDED;
    Ok(Some(FilesystemSummary {
        kind: kind.name().to_owned(),
        // Tools that change a label later often change the entry alone.
        label: entry.or(extended.then_some(volume.bs_vol_lab)).map_or_else(String::new, |label| label_text(&label)),
        uuid: if extended { VolumeId(volume.bs_vol_id).to_string() } else { String::new() },
        block_bytes: cluster_bytes,
        size_bytes,
        used_bytes: size_bytes - free_bytes,
        free_bytes,
        reserved_bytes: 0,
        features: None,
        inodes: None,
        free_inodes: None,
        parts,
    }))
}

/// The label in the root directory that lies in `range`, in its first [`LABEL_SEARCH_BYTES`]: writers put it first.
fn root_label(read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>, range: Range<u64>) -> Result<Option<[u8; 11]>> {
    let mut bytes = vec![0; usize_of((range.end - range.start).min(LABEL_SEARCH_BYTES))];
    read_at(range.start, &mut bytes)?;
    let entries = bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(DirectoryEntry::decode).take_while(|entry| entry.dir_name[0] != 0);
    let mut labels = entries.filter(|entry| entry.dir_name[0] != ENTRY_DELETED && entry.dir_attr & ATTR_LONG_NAME == ATTR_VOLUME_ID);
    Ok(labels.next().map(|entry| entry.dir_name))
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

fn count_free(read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>, kind: FatKind, fat_offset: u64, clusters: u64) -> Result<u64> {
    let total = ((clusters + 2) * kind.bits()).div_ceil(8);
    let mut chunk = vec![0; usize_of(CHUNK_BYTES.min(total))];
    let (mut offset, mut free, mut left) = (0, 0_u64, clusters + 2);
    while left > 0 {
        let bytes = &mut chunk[..usize_of(CHUNK_BYTES.min(total - offset))];
        read_at(fat_offset + offset, bytes)?;
        offset += u64_of(bytes.len());
        // The first two entries are no clusters, and never zero on a sound volume.
        let mut count = |is_free: bool| {
            if left > 0 {
                free += u64::from(is_free && left <= clusters);
                left -= 1;
            }
        };
        match kind {
            FatKind::Fat12 => bytes.chunks(3).for_each(|pair| {
                count(pair[0] == 0 && pair.get(1).is_none_or(|b| b & 0x0f == 0));
                if let [_, middle, high] = pair {
                    count(middle & 0xf0 == 0 && *high == 0);
                }
            }),
            FatKind::Fat16 => bytes.chunks(2).for_each(|entry| count(entry == [0, 0])),
            FatKind::Fat32 => bytes.chunks(4).for_each(|entry| count(matches!(entry, [0, 0, 0, high] if high & 0x0f == 0))),
        }
    }
    Ok(free)
}

/// A label without its padding; what is not ASCII depends on a code page and is shown as `_`.
fn label_text(label: &[u8; 11]) -> String {
    let text: String = label.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '_' }).collect();
    if text == "NO NAME    " { String::new() } else { text.trim_end().to_owned() }
}
