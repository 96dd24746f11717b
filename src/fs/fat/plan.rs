//! Planning: the smallest or the asked shape, a run of clusters for each item, and the directories' bytes.

use super::format::{self, Bpb, DirectoryEntry, ENTRY_BYTES, ExtendedBoot, Fat32Bpb, FsInfo, LONG_NAME_UNITS, LongNameEntry};
use super::geometry::{CLUSTER_MAX_BYTES, FAT_COPIES, Geometry};
use super::inventory::{Inventory, Item, ItemKind};
use super::layout::{DirectoryBytes, FatLayout};
use super::time::DosTime;
use super::{FatKind, Options, SizeRequest, names};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Segment, SegmentSource};
use crate::report::{FilesystemSummary, SizePart};
use crate::tree::{FileData, Tree};
use crate::units::{Size, index_of, u64_of, usize_of};
use std::sync::Arc;

/// The number of the first cluster.
const FIRST_CLUSTER: u32 = 2;
/// `BPB_BkBootSec` (fatgen103 recommends no other value).
const BACKUP_BOOT_SECTOR: u16 = 6;
/// `FSI_Nxt_Free`: not known.
const NEXT_FREE_UNKNOWN: u32 = u32::MAX;

/// Plans `tree` into a FAT volume. No I/O; the same tree and options give the same bytes.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what FAT cannot hold, naming the path; [`ErrorKind::TooSmall`] where an exact size is below
/// what the tree needs; [`ErrorKind::InvalidInput`] for options that no volume can have.
pub fn plan(tree: Arc<Tree>, options: &Options) -> Result<FatLayout> {
    let label = names::label(&options.label)?;
    check(options)?;
    let inventory = Inventory::of(&tree, !options.label.is_empty())?;
    let (size_bytes, shape) = match options.size {
        SizeRequest::Exact(size_bytes) => (size_bytes, exact(&inventory, options, size_bytes)?),
        SizeRequest::Minimum { free_bytes } => smallest(&inventory, options, 0, free_bytes)?,
    };
    Ok(Planner { tree: &tree, options, label, inventory: &inventory, shape }.layout(size_bytes))
}

fn check(options: &Options) -> Result<()> {
    if !matches!(options.sector_bytes, 512 | 4096) {
        return Err(Error::invalid(format!("sectors of {} bytes; 512 and 4096 are possible", options.sector_bytes)));
    }
    if let Some(bytes) = options.cluster_bytes
        && (!bytes.is_power_of_two() || bytes < options.sector_bytes || u64::from(bytes) > CLUSTER_MAX_BYTES)
    {
        return Err(Error::invalid(format!("clusters of {bytes} bytes; powers of two from {} to {CLUSTER_MAX_BYTES} are possible", options.sector_bytes)));
    }
    Ok(())
}

/// The most bytes that a volume can have: its sectors are counted in 32 bits.
fn most_bytes(options: &Options) -> u64 {
    u64::from(u32::MAX) * u64::from(options.sector_bytes)
}

fn exact(inventory: &Inventory, options: &Options, size_bytes: u64) -> Result<Geometry> {
    if size_bytes / u64::from(options.sector_bytes) > u64::from(u32::MAX) {
        return Err(Error::invalid(format!(
            "a FAT volume of {size_bytes} bytes; with sectors of {} it has at most {}",
            options.sector_bytes,
            most_bytes(options)
        )));
    }
    let shape = Geometry::choose(options, size_bytes, inventory.root_slots())?;
    let clusters = inventory.clusters(&shape);
    if clusters > shape.clusters {
        let (needed, _) = smallest(inventory, options, size_bytes, 0)?;
        return Err(Error::new(
            ErrorKind::TooSmall { needed, available: size_bytes },
            format!(
                "the FAT volume has {size_bytes} bytes and needs {needed}: its contents take {clusters} clusters of {}, and it has {}",
                Size::bytes(shape.cluster_bytes),
                shape.clusters
            ),
        ));
    }
    Ok(shape)
}

/// The smallest volume, from `size_bytes` up, that holds the items and has `free_bytes` in free clusters: what is missing is
/// added until nothing is. Larger volumes can need larger clusters, so this cannot be computed at once.
fn smallest(inventory: &Inventory, options: &Options, size_bytes: u64, free_bytes: u64) -> Result<(u64, Geometry)> {
    let sector_bytes = u64::from(options.sector_bytes);
    let too_large =
        || Error::limit(format!("a FAT volume for these contents and {free_bytes} bytes free has more than its limit of {} bytes", most_bytes(options)));
    let mut size_bytes = inventory.bytes().checked_add(free_bytes).ok_or_else(too_large)?.max(size_bytes);
    loop {
        if size_bytes > most_bytes(options) {
            return Err(too_large());
        }
        size_bytes = size_bytes.next_multiple_of(sector_bytes);
        let missing_bytes = match Geometry::choose(options, size_bytes, inventory.root_slots()) {
            Ok(shape) => {
                let wanted = inventory.clusters(&shape) + free_bytes.div_ceil(shape.cluster_bytes);
                if wanted <= shape.clusters {
                    return Ok((size_bytes, shape));
                }
                (wanted - shape.clusters) * shape.cluster_bytes
            }
            Err(error) => match error.kind() {
                ErrorKind::TooSmall { needed, .. } => needed - size_bytes,
                _ => return Err(error),
            },
        };
        size_bytes += missing_bytes.max(sector_bytes);
    }
}

struct Planner<'a> {
    tree: &'a Tree,
    options: &'a Options,
    label: [u8; 11],
    inventory: &'a Inventory,
    shape: Geometry,
}

impl Planner<'_> {
    fn layout(&self, size_bytes: u64) -> FatLayout {
        let (first_clusters, run_ends, next_free) = self.allocate();
        let mut segments = Vec::with_capacity(2 * self.inventory.items.len() + 8);
        let boot = self.boot_sectors(next_free);
        self.fixed_segments(u64_of(boot.len()), next_free, &mut segments);
        let directories = self.directories(&first_clusters);
        for (item, first) in self.inventory.items.iter().zip(&first_clusters) {
            self.item_segments(item, *first, &mut segments);
        }
        FatLayout {
            size_bytes,
            summary: self.summary(size_bytes, next_free),
            notes: self.inventory.notes.clone(),
            segments: merged(segments),
            shape: self.shape,
            boot,
            run_ends,
            next_free,
            directories,
        }
    }

    /// Gives every item its run: the first cluster of each (0 for none), the last cluster of all runs, the first free cluster.
    fn allocate(&self) -> (Vec<u32>, Vec<u32>, u32) {
        let mut next = FIRST_CLUSTER;
        let mut first_clusters = Vec::with_capacity(self.inventory.items.len());
        let mut run_ends = Vec::with_capacity(self.inventory.items.len());
        for item in &self.inventory.items {
            let fixed_root = item.entry.is_none() && self.shape.kind != FatKind::Fat32;
            let count = if fixed_root { 0 } else { item.clusters(self.shape.cluster_bytes) };
            if count == 0 {
                first_clusters.push(0);
                continue;
            }
            first_clusters.push(next);
            next = u32::try_from(u64::from(next) + count).expect("the items' clusters were counted against the volume's");
            run_ends.push(next - 1);
        }
        assert!(u64::from(next - FIRST_CLUSTER) <= self.shape.clusters, "more clusters are given out than there are");
        (first_clusters, run_ends, next)
    }

    fn fixed_segments(&self, boot_bytes: u64, next_free: u32, out: &mut Vec<Segment>) {
        let shape = &self.shape;
        push(out, 0, boot_bytes, SegmentSource::Metadata);
        push(out, boot_bytes, shape.fat_offset(0), SegmentSource::Zeros);
        for copy in 0..FAT_COPIES {
            let start = shape.fat_offset(copy);
            let used = (u64::from(next_free) * shape.kind.bits()).div_ceil(8);
            push(out, start, start + used, SegmentSource::Metadata);
            push(out, start + used, start + shape.fat_bytes(), SegmentSource::Zeros);
        }
        if shape.kind != FatKind::Fat32 {
            let start = shape.root_offset();
            let used = self.inventory.items[0].bytes();
            push(out, start, start + used, SegmentSource::Metadata);
            push(out, start + used, start + shape.root_bytes(), SegmentSource::Zeros);
        }
    }

    fn item_segments(&self, item: &Item, first_cluster: u32, out: &mut Vec<Segment>) {
        if first_cluster == 0 {
            return;
        }
        let start = self.shape.cluster_offset(first_cluster);
        let end = start + item.clusters(self.shape.cluster_bytes) * self.shape.cluster_bytes;
        let mut at = start;
        match item.kind {
            ItemKind::Directory { .. } => {
                push(out, at, at + item.bytes(), SegmentSource::Metadata);
                at += item.bytes();
            }
            ItemKind::File(file) => {
                for (offset_bytes, len) in self.tree.data_ranges(&file) {
                    push(out, at, start + offset_bytes, SegmentSource::Zeros);
                    at = start + offset_bytes + len;
                    push(out, start + offset_bytes, at, SegmentSource::Content { id: file.content, offset_bytes });
                }
            }
        }
        push(out, at, end, SegmentSource::Zeros);
    }

    /// The bytes of all directories, and where each lies.
    fn directories(&self, first_clusters: &[u32]) -> DirectoryBytes {
        let mut all = DirectoryBytes::default();
        // Per item: where the next entry of the directory goes.
        let mut cursors = vec![0_usize; self.inventory.items.len()];
        for ((item, first), cursor) in self.inventory.items.iter().zip(first_clusters).zip(&mut cursors) {
            let ItemKind::Directory { .. } = item.kind else { continue };
            let offset = if *first == 0 { self.shape.root_offset() } else { self.shape.cluster_offset(*first) };
            *cursor = all.bytes.len();
            if item.bytes() > 0 {
                all.places.push((offset, *cursor));
                all.bytes.resize(*cursor + usize_of(item.bytes()), 0);
            }
        }
        for (position, item) in self.inventory.items.iter().enumerate() {
            let Some(entry) = &item.entry else {
                if !self.options.label.is_empty() {
                    put(&mut all.bytes, &mut cursors[0], &self.label_entry().encode());
                }
                continue;
            };
            let parent = index_of(item.parent);
            let name = std::str::from_utf8(self.tree.name(entry)).expect("the inventory takes UTF-8 names only");
            self.put_long_name(name, item, &mut all.bytes, &mut cursors[parent]);
            put(&mut all.bytes, &mut cursors[parent], &self.entry(item, item.name.short, first_clusters[position]).encode());
            if let ItemKind::Directory { .. } = item.kind {
                let above = &self.inventory.items[parent];
                // ".." of a directory in the root has cluster 0, also where the root has clusters.
                let above_cluster = if above.entry.is_none() { 0 } else { first_clusters[parent] };
                put(&mut all.bytes, &mut cursors[position], &self.entry(item, *b".          ", first_clusters[position]).encode());
                put(&mut all.bytes, &mut cursors[position], &self.entry(above, *b"..         ", above_cluster).encode());
            }
        }
        all
    }

    fn put_long_name(&self, name: &str, item: &Item, bytes: &mut [u8], cursor: &mut usize) {
        if item.name.long_entries == 0 {
            return;
        }
        let units: Vec<u16> = name.encode_utf16().collect();
        let ldir_chksum = names::checksum(&item.name.short);
        for (ordinal, part) in (1..=item.name.long_entries).zip(units.chunks(LONG_NAME_UNITS)).collect::<Vec<_>>().into_iter().rev() {
            // A NUL ends the name if there is room for one; all ones fill the rest.
            let mut ldir_name = [0xffff; LONG_NAME_UNITS];
            ldir_name[..part.len()].copy_from_slice(part);
            if part.len() < LONG_NAME_UNITS {
                ldir_name[part.len()] = 0;
            }
            let last = if ordinal == item.name.long_entries { format::LAST_LONG_ENTRY } else { 0 };
            let entry =
                LongNameEntry { ldir_ord: ordinal | last, ldir_name, ldir_attr: format::ATTR_LONG_NAME, ldir_type: 0, ldir_chksum, ldir_fst_clus_lo: 0 };
            put(bytes, cursor, &entry.encode());
        }
    }

    fn entry(&self, item: &Item, dir_name: [u8; 11], cluster: u32) -> DirectoryEntry {
        let node = self.tree.node(item.node);
        let time = DosTime::from(if node.implied { self.options.epoch } else { node.metadata.mtime });
        let (dir_attr, dir_file_size) = match item.kind {
            ItemKind::Directory { .. } => (format::ATTR_DIRECTORY, 0),
            ItemKind::File(FileData { length, .. }) => (format::ATTR_ARCHIVE, u32::try_from(length).expect("the inventory takes files below 4 GiB only")),
        };
        DirectoryEntry {
            dir_name,
            dir_attr,
            dir_nt_res: 0,
            dir_crt_time_tenth: time.hundredths,
            dir_crt_time: time.time,
            dir_crt_date: time.date,
            dir_lst_acc_date: time.date,
            dir_fst_clus_hi: half(cluster >> 16),
            dir_wrt_time: time.time,
            dir_wrt_date: time.date,
            dir_fst_clus_lo: half(cluster & 0xffff),
            dir_file_size,
        }
    }

    fn label_entry(&self) -> DirectoryEntry {
        let time = DosTime::from(self.options.epoch);
        DirectoryEntry {
            dir_name: self.label,
            dir_attr: format::ATTR_VOLUME_ID,
            dir_nt_res: 0,
            dir_crt_time_tenth: 0,
            dir_crt_time: 0,
            dir_crt_date: 0,
            dir_lst_acc_date: 0,
            dir_fst_clus_hi: 0,
            dir_wrt_time: time.time,
            dir_wrt_date: time.date,
            dir_fst_clus_lo: 0,
            dir_file_size: 0,
        }
    }

    /// The sectors from 0 to the last that holds anything: one, or in FAT32 boot sector, FSInfo and a third, and their backups.
    fn boot_sectors(&self, next_free: u32) -> Vec<u8> {
        let sector = usize_of(self.shape.sector_bytes);
        let boot = self.boot_sector();
        if self.shape.kind != FatKind::Fat32 {
            let mut out = vec![0; sector];
            out[..boot.len()].copy_from_slice(&boot);
            return out;
        }
        let free = self.shape.clusters - u64::from(next_free - FIRST_CLUSTER);
        let info = FsInfo {
            fsi_lead_sig: FsInfo::LEAD_SIG,
            fsi_struc_sig: FsInfo::STRUC_SIG,
            fsi_free_count: u32::try_from(free).expect("clusters are counted in 28 bits"),
            fsi_nxt_free: if free == 0 { NEXT_FREE_UNKNOWN } else { next_free },
            fsi_trail_sig: FsInfo::TRAIL_SIG,
        };
        let backup = usize::from(BACKUP_BOOT_SECTOR);
        let mut out = vec![0; (backup + 3) * sector];
        for first in [0, backup] {
            out[first * sector..][..boot.len()].copy_from_slice(&boot);
            out[(first + 1) * sector..][..FsInfo::BYTES].copy_from_slice(&info.encode());
            // The third boot sector has no code, but readers of all three look for its signature.
            out[(first + 2) * sector + 510..][..2].copy_from_slice(&format::SIGNATURE);
        }
        out
    }

    fn boot_sector(&self) -> [u8; format::BOOT_SECTOR_BYTES] {
        /// INT 18h: the BIOS goes on to the next boot device; if it comes back, halt for ever.
        const BOOT_CODE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];
        let shape = &self.shape;
        let fits = "the geometry was chosen within the fields";
        let fat32 = shape.kind == FatKind::Fat32;
        let total_short = u16::try_from(shape.total_sectors).ok().filter(|_| !fat32);
        let volume_offset = if fat32 { ExtendedBoot::OFFSET_32 } else { ExtendedBoot::OFFSET_16 };
        let code_offset = volume_offset + ExtendedBoot::BYTES;
        let bpb = Bpb {
            // A short jump to the code, which counts from its own end.
            bs_jmp_boot: [0xeb, u8::try_from(code_offset - 2).expect(fits), 0x90],
            bs_oem_name: *b"rootvol ",
            bpb_byts_per_sec: u16::try_from(shape.sector_bytes).expect(fits),
            bpb_sec_per_clus: u8::try_from(shape.cluster_bytes / shape.sector_bytes).expect(fits),
            bpb_rsvd_sec_cnt: u16::try_from(shape.reserved_sectors).expect(fits),
            bpb_num_fats: u8::try_from(FAT_COPIES).expect(fits),
            bpb_root_ent_cnt: u16::try_from(shape.root_entries).expect(fits),
            bpb_tot_sec16: total_short.unwrap_or(0),
            bpb_media: format::MEDIA_FIXED,
            bpb_fat_sz16: if fat32 { 0 } else { u16::try_from(shape.fat_sectors).expect(fits) },
            // The translation that BIOSes use for disks over 8 GB; nobody addresses by it any more.
            bpb_sec_per_trk: 63,
            bpb_num_heads: 255,
            bpb_hidd_sec: self.options.hidden_sectors,
            bpb_tot_sec32: if total_short.is_some() { 0 } else { u32::try_from(shape.total_sectors).expect(fits) },
        };
        let volume = ExtendedBoot {
            bs_drv_num: 0x80,
            bs_reserved1: 0,
            bs_boot_sig: format::BOOT_SIG_EXTENDED,
            bs_vol_id: self.options.volume_id,
            bs_vol_lab: self.label,
            bs_fil_sys_type: match shape.kind {
                FatKind::Fat12 => *b"FAT12   ",
                FatKind::Fat16 => *b"FAT16   ",
                FatKind::Fat32 => *b"FAT32   ",
            },
        };
        let mut out = [0; format::BOOT_SECTOR_BYTES];
        out[..Bpb::BYTES].copy_from_slice(&bpb.encode());
        if fat32 {
            let bpb32 = Fat32Bpb {
                bpb_fat_sz32: u32::try_from(shape.fat_sectors).expect(fits),
                bpb_ext_flags: 0,
                bpb_fs_ver: 0,
                bpb_root_clus: FIRST_CLUSTER,
                bpb_fs_info: 1,
                bpb_bk_boot_sec: BACKUP_BOOT_SECTOR,
            };
            out[Fat32Bpb::OFFSET..][..Fat32Bpb::BYTES].copy_from_slice(&bpb32.encode());
        }
        out[volume_offset..code_offset].copy_from_slice(&volume.encode());
        out[code_offset..][..BOOT_CODE.len()].copy_from_slice(&BOOT_CODE);
        out[510..].copy_from_slice(&format::SIGNATURE);
        out
    }

    fn summary(&self, size_bytes: u64, next_free: u32) -> FilesystemSummary {
        let shape = &self.shape;
        let free_bytes = (shape.clusters - u64::from(next_free - FIRST_CLUSTER)) * shape.cluster_bytes;
        let taken = |wanted_directory: bool| -> u64 {
            let items = self.inventory.items.iter().skip(usize::from(shape.kind != FatKind::Fat32));
            let items = items.filter(|item| matches!(item.kind, ItemKind::Directory { .. }) == wanted_directory);
            items.map(|item| item.clusters(shape.cluster_bytes) * shape.cluster_bytes).sum()
        };
        let part = |what: &str, bytes| SizePart { what: what.to_owned(), bytes };
        let mut parts = vec![
            part("file contents", taken(false)),
            part("directories", taken(true) + shape.root_bytes()),
            part("allocation tables", FAT_COPIES * shape.fat_bytes()),
            part("boot sectors", shape.fat_offset(0)),
        ];
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        FilesystemSummary {
            kind: shape.kind.name().to_owned(),
            label: self.options.label.clone(),
            uuid: super::VolumeId(self.options.volume_id).to_string(),
            block_bytes: u32::try_from(shape.cluster_bytes).expect("clusters have at most 32 KiB"),
            size_bytes,
            used_bytes: size_bytes - free_bytes,
            free_bytes,
            reserved_bytes: 0,
            features: None,
            inodes: None,
            free_inodes: None,
            parts,
        }
    }
}

fn half(value: u32) -> u16 {
    u16::try_from(value).expect("the caller gives 16 bits")
}

/// Copies one directory entry to the cursor and moves it on.
fn put(bytes: &mut [u8], cursor: &mut usize, entry: &[u8; ENTRY_BYTES]) {
    bytes[*cursor..][..ENTRY_BYTES].copy_from_slice(entry);
    *cursor += ENTRY_BYTES;
}

fn push(out: &mut Vec<Segment>, start: u64, end: u64, source: SegmentSource) {
    assert!(start <= end, "a segment from {start} to {end}");
    if start < end {
        out.push(Segment { range: start..end, source });
    }
}

/// Joins neighbours that are one piece of metadata or zeros.
fn merged(segments: Vec<Segment>) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        match out.last_mut() {
            Some(last) if last.source == SegmentSource::Zeros && segment.source == SegmentSource::Zeros && last.range.end == segment.range.start => {
                last.range.end = segment.range.end;
            }
            _ => out.push(segment),
        }
    }
    out
}
