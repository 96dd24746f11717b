//! Planning: the smallest or the asked shape, a run of clusters for each item, and the directories' bytes.

use super::format::{self, Bpb, DirectoryEntry, ENTRY_BYTES, ExtendedBoot, Fat32Bpb, FsInfo, LONG_NAME_UNITS, LongNameEntry};
use super::geometry::{CLUSTER_MAX_BYTES, FAT_COPIES, Geometry};
use super::inventory::{Inventory, Item, ItemKind};
use super::layout::{DirectoryBytes, FatLayout, Run};
use super::place::{self, Chain, FIRST_CLUSTER, Placed};
use super::time::DosTime;
use super::{FatKind, Options, SizeRequest, names};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Segment, SegmentSource};
use crate::report::{FilesystemSummary, SizePart};
use crate::tree::{FileData, Tree};
use crate::units::{Size, index_of, usize_of};
use std::ops::Range;
use std::sync::Arc;

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
    let mut inventory = Inventory::of(&tree, !options.label.is_empty())?;
    let (size_bytes, shape) = match options.size {
        SizeRequest::Exact(size_bytes) => (size_bytes, exact(&inventory, options, size_bytes)?),
        SizeRequest::Minimum { free_bytes } => smallest(&inventory, options, 0, free_bytes)?,
    };
    let Placed { chains, notes } = place::place(&tree, &inventory, options, &shape);
    inventory.notes.extend(notes);
    let planner = Planner { tree: &tree, options, label, inventory: &inventory, chains: &chains, runs: runs_of(&chains), shape };
    let (summary, segments, boot, directories) = (planner.summary(size_bytes), planner.segments(), planner.boot_sectors(), planner.directories());
    let (runs, notes) = (planner.runs, std::mem::take(&mut inventory.notes));
    Ok(FatLayout { size_bytes, summary, notes, segments, shape, boot, runs, directories, tree, inventory, chains })
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
    /// By item.
    chains: &'a [Chain],
    /// The same by cluster.
    runs: Vec<Run>,
    shape: Geometry,
}

/// The runs of all chains, ascending, each with what follows on it.
fn runs_of(chains: &[Chain]) -> Vec<Run> {
    let mut runs = Vec::with_capacity(chains.len());
    for chain in chains {
        let nexts = chain.iter().skip(1).map(|run| run.start).chain([0]);
        runs.extend(chain.iter().zip(nexts).map(|(run, next)| Run { first: run.start, last: run.end - 1, next }));
    }
    runs.sort_unstable_by_key(|run| run.first);
    assert!(runs.windows(2).all(|pair| pair[0].last < pair[1].first), "two items have a cluster");
    runs
}

impl Planner<'_> {
    fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::with_capacity(2 * self.inventory.items.len() + 8);
        self.fixed_segments(&mut segments);
        let fixed = segments.len();
        for (item, chain) in self.inventory.items.iter().zip(self.chains) {
            self.item_segments(item, chain, &mut segments);
        }
        segments[fixed..].sort_unstable_by_key(|segment| segment.range.start);
        merged(segments)
    }

    /// The cluster behind the last that is used.
    fn used_end(&self) -> u32 {
        self.runs.last().map_or(FIRST_CLUSTER, |run| run.last + 1)
    }

    fn free_clusters(&self) -> u64 {
        let used: u64 = self.runs.iter().map(|run| u64::from(run.last - run.first) + 1).sum();
        self.shape.clusters - used
    }

    /// The cluster that an item begins in; 0 without one.
    fn first_cluster(&self, item: usize) -> u32 {
        self.chains[item].first().map_or(0, |run| run.start)
    }

    fn fixed_segments(&self, out: &mut Vec<Segment>) {
        let shape = &self.shape;
        let boot_bytes = self.boot_sector_count() * shape.sector_bytes;
        push(out, 0, boot_bytes, SegmentSource::Metadata);
        push(out, boot_bytes, shape.fat_offset(0), SegmentSource::Zeros);
        for copy in 0..FAT_COPIES {
            let start = shape.fat_offset(copy);
            let used = (u64::from(self.used_end()) * shape.kind.bits()).div_ceil(8);
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

    fn item_segments(&self, item: &Item, chain: &Chain, out: &mut Vec<Segment>) {
        match item.kind {
            ItemKind::Directory { .. } => self.chain_segments(chain, std::iter::once((0, item.bytes())), |_| SegmentSource::Metadata, out),
            ItemKind::File(file) => {
                let source = |offset_bytes| SegmentSource::Content { id: file.content, offset_bytes };
                self.chain_segments(chain, self.tree.data_ranges(&file), source, out);
            }
        }
    }

    /// The segments of an item's clusters: `data`, which is given as (offset, length) in the item, and zeros between and behind.
    fn chain_segments(&self, chain: &Chain, data: impl Iterator<Item = (u64, u64)>, source: impl Fn(u64) -> SegmentSource, out: &mut Vec<Segment>) {
        let mut data = data.peekable();
        let mut logical = 0;
        for run in chain {
            let (start, end) = self.bytes_of(run);
            let (mut at, logical_end) = (start, logical + (end - start));
            while let Some((offset, len)) = data.peek().copied().filter(|(offset, _)| *offset < logical_end) {
                let (from, to) = (offset.max(logical), (offset + len).min(logical_end));
                push(out, at, start + (from - logical), SegmentSource::Zeros);
                at = start + (to - logical);
                push(out, start + (from - logical), at, source(from));
                if offset + len > logical_end {
                    // The rest lies in the next run.
                    break;
                }
                data.next();
            }
            push(out, at, end, SegmentSource::Zeros);
            logical = logical_end;
        }
    }

    /// Where a run lies on the volume.
    fn bytes_of(&self, run: &Range<u32>) -> (u64, u64) {
        let start = self.shape.cluster_offset(run.start);
        (start, start + u64::from(run.end - run.start) * self.shape.cluster_bytes)
    }

    /// The bytes of all directories, and where each piece of them lies.
    fn directories(&self) -> DirectoryBytes {
        let mut all = DirectoryBytes::default();
        // Per item: where the next entry of the directory goes.
        let mut cursors = vec![0_usize; self.inventory.items.len()];
        for ((item, chain), cursor) in self.inventory.items.iter().zip(self.chains).zip(&mut cursors) {
            let ItemKind::Directory { .. } = item.kind else { continue };
            *cursor = all.bytes.len();
            if chain.is_empty() {
                all.places.push((self.shape.root_offset(), *cursor));
            }
            let mut position = *cursor;
            for run in chain {
                let (start, end) = self.bytes_of(run);
                all.places.push((start, position));
                position += usize_of(end - start);
            }
            all.bytes.resize(*cursor + usize_of(item.bytes()), 0);
        }
        all.places.sort_unstable();
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
            put(&mut all.bytes, &mut cursors[parent], &self.entry(item, item.name.short, self.first_cluster(position)).encode());
            if let ItemKind::Directory { .. } = item.kind {
                let above = &self.inventory.items[parent];
                // ".." of a directory in the root has cluster 0, also where the root has clusters.
                let above_cluster = if above.entry.is_none() { 0 } else { self.first_cluster(parent) };
                put(&mut all.bytes, &mut cursors[position], &self.entry(item, *b".          ", self.first_cluster(position)).encode());
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
    fn boot_sectors(&self) -> Vec<u8> {
        let sector = usize_of(self.shape.sector_bytes);
        let boot = self.boot_sector();
        if self.shape.kind != FatKind::Fat32 {
            let mut out = vec![0; sector];
            out[..boot.len()].copy_from_slice(&boot);
            return out;
        }
        let free = self.free_clusters();
        let info = FsInfo {
            fsi_lead_sig: FsInfo::LEAD_SIG,
            fsi_struc_sig: FsInfo::STRUC_SIG,
            fsi_free_count: u32::try_from(free).expect("clusters are counted in 28 bits"),
            fsi_nxt_free: self.next_free(),
            fsi_trail_sig: FsInfo::TRAIL_SIG,
        };
        let backup = usize::from(BACKUP_BOOT_SECTOR);
        let mut out = vec![0; usize_of(self.boot_sector_count()) * sector];
        for first in [0, backup] {
            out[first * sector..][..boot.len()].copy_from_slice(&boot);
            out[(first + 1) * sector..][..FsInfo::BYTES].copy_from_slice(&info.encode());
            // The third boot sector has no code, but readers of all three look for its signature.
            out[(first + 2) * sector + 510..][..2].copy_from_slice(&format::SIGNATURE);
        }
        out
    }

    fn boot_sector_count(&self) -> u64 {
        if self.shape.kind == FatKind::Fat32 { u64::from(BACKUP_BOOT_SECTOR) + 3 } else { 1 }
    }

    /// Where to look for free clusters: behind all that is used, else at the first gap.
    fn next_free(&self) -> u32 {
        let end = self.used_end();
        if u64::from(end - FIRST_CLUSTER) < self.shape.clusters {
            return end;
        }
        let after = self.runs.iter().fold(FIRST_CLUSTER, |after, run| if run.first == after { run.last + 1 } else { after });
        if after < end { after } else { NEXT_FREE_UNKNOWN }
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
                bpb_root_clus: self.first_cluster(0),
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

    fn summary(&self, size_bytes: u64) -> FilesystemSummary {
        let shape = &self.shape;
        let free_bytes = self.free_clusters() * shape.cluster_bytes;
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
