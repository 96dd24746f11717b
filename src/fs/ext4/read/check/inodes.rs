//! The inode tables: which inodes are in use, against bitmaps, counts and names.

use super::super::super::format::{EA_INODE_FL, INODE_BYTES_MIN, INODE_UNINIT, mode};
use super::super::claims::What;
use super::super::directory::{Form, Listing};
use super::super::inode::{self, Record};
use super::super::map;
use super::super::scan::{Met, Scan};
use super::super::system::Orphans;
use super::quota::Usage;
use super::record;
use crate::content::ReadAt as _;
use crate::error::{Error, Result};
use crate::units::{index_of, u64_of, usize_of};
use std::collections::HashSet;

/// Inodes of a table that are read at once take so many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What was counted.
#[derive(Debug, Default)]
pub(in super::super) struct Totals {
    pub(in super::super) free_inodes: u64,
    pub(in super::super) usage: Usage,
}

impl Scan<'_> {
    /// Goes through the inode tables, and claims what no name leads to.
    ///
    /// # Errors
    /// Those of the disk, limits.
    pub(in super::super) fn check_inodes(&mut self, orphans: &Orphans) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut nameless = Vec::new();
        let values: Vec<u32> = self.xattrs.values.keys().copied().collect();
        for ino in values {
            self.met.entry(ino).or_insert(Met::Hidden);
        }
        let deleted: HashSet<u32> = orphans.deleted.iter().copied().collect();
        let mut listed: Vec<&u32> = self.met.keys().collect();
        listed.sort_unstable();
        // Inodes with names, by group, so that those are found which a table is said not to have.
        let per_group = self.volume.inodes_per_group;
        let named: Vec<u32> = listed.into_iter().copied().collect();
        let mut next_named = 0;
        for group in 0..self.volume.groups {
            let first = u64::from(group) * u64::from(per_group) + 1;
            let from = next_named;
            while named.get(next_named).is_some_and(|ino| u64::from(*ino) < first + u64::from(per_group)) {
                next_named += 1;
            }
            let last_named = named[from..next_named].last().map_or(0, |ino| u64::from(*ino) - first + 1);
            self.check_group(group, u32::try_from(last_named).unwrap_or(per_group), &deleted, &mut nameless, &mut totals)?;
        }
        self.unconnected(nameless)?;
        Ok(totals)
    }

    /// Goes through the table of a group. `last_named` is how many of its inodes names lead to, up to the last one.
    fn check_group(&mut self, group: u32, last_named: u32, deleted: &HashSet<u32>, nameless: &mut Vec<u32>, totals: &mut Totals) -> Result<()> {
        let volume = self.volume;
        let found = self.groups[index_of(group)];
        let per_group = volume.inodes_per_group;
        let first = group * per_group + 1;
        let uninit = found.has(INODE_UNINIT);
        let initialised = if uninit { 0 } else { per_group - found.unused.min(per_group) };
        let say = |what: String| Error::corrupt(format!("block group {group}: {what}"));
        if found.unused > per_group {
            self.findings.push(say(format!("{} of its {per_group} inodes are said never to have been used", found.unused)));
        }
        if last_named > initialised {
            let ino = first + last_named - 1;
            self.findings.push(say(format!("inode {ino} is in use, and lies in the part of its table that is said never to have been used")));
        }
        if !found.has_table {
            return Ok(());
        }
        let mut bitmap = vec![0_u8; volume.inodes_per_group_len().div_ceil(8)];
        let (mut used, mut directories) = (0_u32, 0_u32);
        let mut at = 0;
        let end = initialised.max(last_named);
        let piece = u32::try_from((PIECE_BYTES / volume.inode_bytes).max(1)).unwrap_or(1);
        let mut bytes = Vec::new();
        while at < end {
            let count = piece.min(end - at);
            let offset = volume.offset(found.table) + u64::from(at) * u64_of(volume.inode_bytes);
            let len = index_of(count) * volume.inode_bytes;
            let stored = volume.disk.stored_after(offset)?.is_some_and(|range| range.start < offset + u64_of(len));
            bytes.clear();
            bytes.resize(len, 0);
            if stored {
                volume.disk.read_exact_at(offset, &mut bytes)?;
            }
            for (number, raw) in (at..).zip(bytes.chunks_exact(volume.inode_bytes)) {
                let ino = first + number;
                let links = u16::from_le_bytes([raw[0x1a], raw[0x1b]]);
                let reserved = ino < volume.first_ino;
                if links == 0 && !reserved && !deleted.contains(&ino) {
                    self.judge_unused(ino, raw, offset + u64::from(number - at) * u64_of(volume.inode_bytes));
                    continue;
                }
                used += 1;
                bitmap[index_of(number / 8)] |= 1 << (number % 8);
                if links == 0 && !deleted.contains(&ino) {
                    continue;
                }
                let record = Record { ino, offset, inode: inode::decode(raw), bytes: raw.into() };
                directories += u32::from(record.is_directory() && links > 0);
                if !reserved || ino == super::super::super::format::ROOT_INO {
                    totals.usage.add(volume, &record);
                    if links > 0 && !self.met.contains_key(&ino) {
                        nameless.push(ino);
                    }
                }
            }
            at += count;
        }
        totals.free_inodes += u64::from(per_group - used);
        if per_group - used != found.free_inodes {
            self.findings.push(say(format!("{} free inodes are said; {} are free", found.free_inodes, per_group - used)));
        }
        if directories != found.directories {
            self.findings.push(say(format!("{} directories are said; {directories} were found", found.directories)));
        }
        self.check_inode_bitmap(group, &bitmap)
    }

    /// An inode that is not in use has a time of deletion, if it ever was in use.
    fn judge_unused(&mut self, ino: u32, raw: &[u8], offset: u64) {
        if raw[..INODE_BYTES_MIN].iter().all(|byte| *byte == 0) {
            return;
        }
        let inode = inode::decode(raw);
        if inode.i_mode != 0 && inode.i_dtime == 0 {
            self.findings.push(Error::corrupt(format!("inode {ino} has no links, and no time of deletion")).at_offset(offset));
        }
    }

    fn check_inode_bitmap(&mut self, group: u32, expected: &[u8]) -> Result<()> {
        let volume = self.volume;
        let found = self.groups[index_of(group)];
        if found.has(INODE_UNINIT) {
            if let Some(at) = first_difference(expected, &vec![0; expected.len()], volume.inodes_per_group) {
                let ino = group * volume.inodes_per_group + 1 + at;
                self.findings.push(Error::corrupt(format!("block group {group} is said to have no inodes in use; inode {ino} is")));
            }
            return Ok(());
        }
        if !volume.holds(found.inode_bitmap, 1) {
            return Ok(());
        }
        let offset = volume.offset(found.inode_bitmap);
        let bytes = self.cache.bytes(offset, volume.block_len())?.to_vec();
        let bitmap = &bytes[..expected.len()];
        let sum = volume.csum.over(&[bitmap]);
        let wide = volume.descriptor_bytes >= 64;
        let (says, sum) = if wide { (found.inode_bitmap_csum, sum) } else { (found.inode_bitmap_csum & 0xffff, sum & 0xffff) };
        if volume.csum.is_on() && says != sum {
            let message = format!("the inode bitmap of block group {group} has the checksum {sum:#010x}; its descriptor says {says:#010x}");
            self.findings.push(Error::corrupt(message).at_offset(offset));
        }
        if bytes[usize_of(u64::from(volume.inodes_per_group / 8))..]
            .iter()
            .skip(usize::from(!volume.inodes_per_group.is_multiple_of(8)))
            .any(|byte| *byte != 0xff)
        {
            self.findings.push(Error::corrupt(format!("the inode bitmap of block group {group} is not full behind its end")).at_offset(offset));
        }
        if let Some(at) = first_difference(expected, bitmap, volume.inodes_per_group) {
            let ino = group * volume.inodes_per_group + 1 + at;
            let (says, is) = if bit(bitmap, at) { ("in use", "not") } else { ("free", "in use") };
            let count = differences(expected, bitmap, volume.inodes_per_group);
            let message = format!("the inode bitmap of block group {group} is wrong for {count} inodes: inode {ino}, the first, is marked {says} and is {is}");
            self.findings.push(Error::corrupt(message).at_offset(offset));
        }
        Ok(())
    }

    /// Claims what no name leads to, and says so, but for what lies in a directory that is not connected.
    fn unconnected(&mut self, nameless: Vec<u32>) -> Result<()> {
        let mut below = HashSet::new();
        let mut said = Vec::new();
        for ino in nameless {
            let record = match self.read(ino) {
                Ok(record) => record,
                Err(error) => {
                    self.findings.push(error.within("an inode that no name leads to"));
                    continue;
                }
            };
            if record.is_directory() {
                self.names_below(&record, &mut below);
            }
            if let Err(error) = self.claim_nameless(&record, What::Unconnected) {
                self.findings.push(error.within("an inode that no name leads to"));
            }
            said.push((ino, record.offset, record.has_flag(EA_INODE_FL)));
        }
        let all_below = said.iter().all(|(ino, ..)| below.contains(ino));
        for (ino, offset, is_value) in said {
            if !below.contains(&ino) || all_below {
                let what = if is_value { "holds the value of no extended attribute" } else { "is in use, and no directory has it: it is not connected" };
                self.findings.push(Error::corrupt(format!("inode {ino} {what}")).at_offset(offset));
            }
        }
        Ok(())
    }

    /// The inodes that the names of a directory lead to that is not connected itself.
    fn names_below(&mut self, record: &Record, below: &mut HashSet<u32>) {
        let Ok(map) = map::read(self.volume, &mut self.cache, &mut super::super::claims::BlockSet::default(), record) else { return };
        let form = Form { csum: record.csum(self.volume), indexed: false, encrypted: true, file_types: true, inodes: self.volume.inodes, ino: record.ino };
        let mut listing = Listing::default();
        let size_blocks = record.size(self.volume).div_ceil(self.volume.block_bytes);
        for run in map.runs.iter().filter(|run| !run.unwritten && record.kind() == mode::DIRECTORY) {
            for logical in run.logical..run.logical_end().min(size_blocks) {
                let offset = self.volume.offset(run.start + (logical - run.logical));
                if let Ok(bytes) = self.cache.bytes(offset, self.volume.block_len()) {
                    listing.add_block(&form, bytes, logical, offset);
                }
            }
            if listing.found.len() > index_of(self.volume.inodes) {
                break;
            }
        }
        below.extend(listing.found.iter().map(|found| found.ino).filter(|ino| *ino != record.ino));
    }

    /// What an inode says of itself, where the check is asked for.
    pub(in super::super) fn check_record(&mut self, spot: super::super::findings::Spot, record: &Record, map: &super::super::map::Map, charged: u64) {
        for error in record::check(self.volume, record, map, charged) {
            self.late.push((record.ino, spot.clone(), error));
        }
    }

    /// Keeps what was said of inodes that are not being cut off: those have blocks behind their end, and a link in place of a time.
    pub(in super::super) fn settle_late(&mut self, orphans: &Orphans) {
        for (ino, spot, error) in std::mem::take(&mut self.late) {
            if !orphans.truncated.contains(&ino) {
                self.findings.push_at(Some(spot), error);
            }
        }
    }
}

pub(super) fn bit(bytes: &[u8], at: u32) -> bool {
    bytes[index_of(at / 8)] >> (at % 8) & 1 == 1
}

/// The first of so many bits that differs.
pub(super) fn first_difference(one: &[u8], other: &[u8], bits: u32) -> Option<u32> {
    let at = one.iter().zip(other).position(|(a, b)| a != b)?;
    let byte = u32::try_from(at * 8).ok()?;
    (byte..bits).find(|at| bit(one, *at) != bit(other, *at))
}

/// How many of so many bits differ.
pub(super) fn differences(one: &[u8], other: &[u8], bits: u32) -> u32 {
    let whole = usize_of(u64::from(bits / 8));
    let in_bytes: u32 = one[..whole].iter().zip(&other[..whole]).map(|(a, b)| (a ^ b).count_ones()).sum();
    in_bytes + u32::try_from((bits / 8 * 8..bits).filter(|at| bit(one, *at) != bit(other, *at)).count()).unwrap_or(0)
}
