//! Looking at a volume: what kind it is, its label, how much of it is free. The input is not trusted.

use super::super::VolumeId;
use super::super::format::{ATTR_LONG_NAME, ATTR_VOLUME_ID, DirectoryEntry, ENTRY_BYTES, ENTRY_DELETED};
use super::table::count_free;
use super::volume::{ReadBytes, Volume};
use crate::error::Result;
use crate::report::{FilesystemSummary, SizePart};
use crate::units::usize_of;

/// How much of the root directory is searched for the label.
const LABEL_SEARCH_BYTES: u64 = 16 << 10;

/// Looks for a FAT volume in the `size_bytes` that `read_at` reads (offset, buffer to fill): `None` if the first sector is not
/// that of one. Free space is counted in the FAT, whatever FSInfo says; the work is bounded by the size.
///
/// # Errors
/// A boot sector that is FAT's but contradicts itself or the size, and those of `read_at`.
pub fn probe(read_at: &ReadBytes<'_>, size_bytes: u64) -> Result<Option<FilesystemSummary>> {
    let Some(volume) = Volume::decode(read_at, size_bytes)? else { return Ok(None) };
    let free = count_free(read_at, &volume)?;
    let label = root_label(read_at, &volume)?;
    Ok(Some(summary(&volume, free, label)))
}

/// What is said of a volume with `free` free clusters and this label in its root directory.
pub(super) fn summary(volume: &Volume, free: u32, label: Option<[u8; 11]>) -> FilesystemSummary {
    let free_bytes = u64::from(free) * volume.cluster_bytes;
    let part = |what: &str, bytes| SizePart { what: what.to_owned(), bytes };
    let mut parts = vec![
        part("clusters in use", u64::from(volume.clusters) * volume.cluster_bytes - free_bytes),
        part("boot sectors, allocation tables, root directory", volume.root_range().end),
    ];
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    FilesystemSummary {
        kind: volume.kind.name().to_owned(),
        // Tools that change a label later often change the entry alone.
        label: label.or(volume.extended.map(|extended| extended.bs_vol_lab)).map_or_else(String::new, |label| label_text(&label)),
        uuid: volume.extended.map_or_else(String::new, |extended| VolumeId(extended.bs_vol_id).to_string()),
        block_bytes: u32::try_from(volume.cluster_bytes).expect("a cluster has at most 128 sectors of 4,096 bytes"),
        size_bytes: volume.size_bytes,
        used_bytes: volume.size_bytes - free_bytes,
        free_bytes,
        reserved_bytes: 0,
        features: None,
        inodes: None,
        free_inodes: None,
        parts,
    }
}

/// Whether a directory entry is a volume label.
pub(super) fn is_label(entry: &DirectoryEntry) -> bool {
    entry.dir_name[0] != ENTRY_DELETED && entry.dir_attr & ATTR_LONG_NAME == ATTR_VOLUME_ID
}

/// The label in the root directory, in its first [`LABEL_SEARCH_BYTES`]: writers put it first.
fn root_label(read_at: &ReadBytes<'_>, volume: &Volume) -> Result<Option<[u8; 11]>> {
    let range = match volume.root_cluster() {
        Some(cluster) => volume.cluster_offset(cluster)..volume.cluster_offset(cluster) + volume.cluster_bytes,
        None => volume.root_range(),
    };
    let mut bytes = vec![0; usize_of((range.end - range.start).min(LABEL_SEARCH_BYTES))];
    read_at(range.start, &mut bytes)?;
    let entries = bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(DirectoryEntry::decode).take_while(|entry| entry.dir_name[0] != 0);
    Ok(entries.filter(is_label).map(|entry| entry.dir_name).next())
}

/// A label without its padding; what is not ASCII depends on a code page and is shown as `_`.
fn label_text(label: &[u8; 11]) -> String {
    let text: String = label.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '_' }).collect();
    if text == "NO NAME    " { String::new() } else { text.trim_end().to_owned() }
}
