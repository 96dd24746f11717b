//! The journal (jbd2), replayed in memory: which blocks of the filesystem have a newer version in it.
//!
//! ```text
//! | superblock | descriptor: tag, tag, … | block | block … | commit | revoke: block, block … | descriptor … |
//! ```
//!
//! As the kernel does: transactions are followed from the first that is expected until one is missing or broken; blocks that a later
//! transaction revoked are left alone; of several versions the last one counts.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 3.6 "Journal (jbd2)"; Linux, fs/jbd2/recovery.c.

use super::super::format::{JOURNAL_MAGIC, JOURNAL_SUPERBLOCK_BYTES, JOURNAL_SUPERBLOCK_V2, JournalSuperblock, incompat};
use super::cache::Cache;
use super::claims::{BlockSet, Claims};
use super::findings::Findings;
use super::map::{self, Map};
use super::overlay::{Logged, Overlay};
use super::scan::Scan;
use super::volume::Volume;
use super::{groups, inode};
use crate::crc::crc32c;
use crate::error::{Error, Result};
use crate::units::usize_of;
use byteorder::{BE, ByteOrder as _, LE};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const HEADER_BYTES: usize = 12;
/// `h_blocktype`.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const REVOKE: u32 = 5;

/// `s_feature_compat`: commits have a checksum of all their blocks.
const COMPAT_CHECKSUM: u32 = 0x1;
/// `s_feature_incompat`.
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Revocations, 64 bits, commits without waiting, checksums of version 2 and 3, fast commits.
const INCOMPAT_KNOWN: u32 = 0x3f;
/// Names of these bits, for messages.
const INCOMPAT_NAMES: [&str; 6] =
    ["journal_incompat_revoke", "journal_64bit", "journal_async_commit", "journal_checksum_v2", "journal_checksum_v3", "fast_commit"];

/// `t_flags`.
const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

/// Where the superblock has its number of blocks for fast commits, and its checksum.
const FAST_BLOCKS_AT: usize = 0x54;
const CHECKSUM_AT: usize = 0xfc;
const SUPERBLOCK_BYTES: usize = 1024;
/// Blocks for fast commits where the superblock does not say (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const FAST_BLOCKS_DEFAULT: u32 = 256;
/// `EXT4_FC_TAG_HEAD`.
const FAST_TAG_HEAD: u16 = 0x9;

/// What the journal holds of the filesystem; `None` if it is empty.
///
/// # Errors
/// A journal that cannot be read, or that holds what is not understood.
pub(super) fn replay(volume: &Volume) -> Result<Option<Overlay>> {
    let Some(ino) = volume.journal_ino() else {
        return Err(Error::unsupported("the filesystem has to be recovered from an external journal (a device of the feature journal_dev)"));
    };
    let mut cache = Cache::new(Arc::clone(&volume.disk));
    let within = |error: Error| error.within("the journal");
    let groups = groups::read(volume, &mut cache, &mut Claims::default(), &mut Findings::new(0))?;
    let record = inode::read(volume, &groups, &mut cache, ino).map_err(within)?;
    record.check(volume).map_err(within)?;
    let map = map::read(volume, &mut cache, &mut BlockSet::default(), &record).map_err(within)?;
    let Some(mut journal) = Journal::open(volume, map, record.size(volume))? else { return Ok(None) };
    journal.scan().map_err(within)?;
    journal.refuse_fast_commits()?;
    let magic = JOURNAL_MAGIC.to_be_bytes();
    Ok(Some(Overlay::new(Arc::clone(&volume.disk), volume.block_bytes, journal.logged(), magic)))
}

/// Says what is wrong with a journal that need not be replayed.
pub(super) fn check(scan: &mut Scan<'_>) {
    let volume = scan.volume;
    if volume.has_incompat(incompat::RECOVER) {
        return;
    }
    let Some(ino) = volume.journal_ino() else { return };
    let opened = scan.read(ino).and_then(|record| {
        let map = map::read(volume, &mut scan.cache, &mut BlockSet::default(), &record)?;
        Journal::open(volume, map, record.size(volume))
    });
    match opened {
        Ok(None) => {}
        Ok(Some(journal)) => {
            let start = journal.superblock.s_start;
            scan.findings.push(Error::corrupt(format!("the journal begins at its block {start}, and the superblock says that it is empty")));
        }
        Err(error) => scan.findings.push(error),
    }
}

struct Journal<'a> {
    volume: &'a Volume,
    map: Map,
    superblock: JournalSuperblock,
    /// The log's blocks are `s_first..end`, round and round.
    end: u32,
    fast_blocks: u32,
    /// Checksums start here.
    seed: u32,
    /// The sequence number behind the last complete transaction.
    end_sequence: u32,
    /// (block, transaction, place), in the order of the log.
    written: Vec<(u64, u32, Logged)>,
    /// Blocks and the last transaction that revoked them.
    revoked: HashMap<u64, u32>,
}

/// What a tag says of the next block of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

/// What a transaction that is not complete yet brings.
#[derive(Default)]
struct Pending {
    written: Vec<(u64, Logged)>,
    revoked: Vec<u64>,
    /// The checksum of everything in it, as commits have it in old journals.
    crc: u32,
    /// The first block whose checksum is wrong.
    broken: Option<u64>,
}

impl Pending {
    fn new() -> Self {
        Self { crc: !0, ..Self::default() }
    }
}

impl<'a> Journal<'a> {
    fn open(volume: &'a Volume, map: Map, size: u64) -> Result<Option<Self>> {
        let corrupt = |what: String| Error::corrupt(format!("the journal {what}"));
        let first = map.block(0).ok_or_else(|| corrupt("has no first block".to_owned()))?;
        let offset = volume.offset(first);
        let mut bytes = [0; SUPERBLOCK_BYTES];
        volume.disk.read_exact_at(offset, &mut bytes)?;
        let superblock = JournalSuperblock::decode(bytes.first_chunk::<JOURNAL_SUPERBLOCK_BYTES>().expect("1,024 bytes are more"));
        let at = |error: Error| error.at_offset(offset);
        let s = &superblock;
        let v2 = s.h_blocktype == JOURNAL_SUPERBLOCK_V2;
        if s.h_magic != JOURNAL_MAGIC || !(v2 || s.h_blocktype == SUPERBLOCK_V1) {
            return Err(at(corrupt(format!("begins with {:#010x} of type {}", s.h_magic, s.h_blocktype))));
        }
        let incompat = if v2 { s.s_feature_incompat } else { 0 };
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(at(Error::unsupported(format!("a journal with the features {:#x}, which are not known", incompat & !INCOMPAT_KNOWN))));
        }
        let checked = incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0;
        let expected = [&bytes[..CHECKSUM_AT], &[0; 4], &bytes[CHECKSUM_AT + 4..]].into_iter().fold(!0, crc32c);
        if checked && BE::read_u32(&bytes[CHECKSUM_AT..]) != expected {
            let found = BE::read_u32(&bytes[CHECKSUM_AT..]);
            return Err(at(corrupt(format!("has a superblock with the checksum {found:#010x}; it should be {expected:#010x}"))));
        }
        let fast = incompat & INCOMPAT_FAST_COMMIT != 0;
        let fast_blocks = match (fast, BE::read_u32(&bytes[FAST_BLOCKS_AT..])) {
            (false, _) => 0,
            (true, 0) => FAST_BLOCKS_DEFAULT,
            (true, blocks) => blocks,
        };
        let blocks = size / volume.block_bytes;
        let end = s.s_maxlen.saturating_sub(fast_blocks);
        let fits = u64::from(s.s_maxlen) <= blocks && s.s_first >= 1 && s.s_first < end && (s.s_start == 0 || (s.s_first..end).contains(&s.s_start));
        if u64::from(s.s_blocksize) != volume.block_bytes || !fits {
            let JournalSuperblock { s_blocksize, s_maxlen, s_first, s_start, .. } = superblock;
            return Err(at(corrupt(format!(
                "says {s_maxlen} blocks of {s_blocksize} with the log from {s_first} on, begun at {s_start}; it has {blocks} of {}",
                volume.block_bytes
            ))));
        }
        if s.s_start == 0 {
            return Ok(None);
        }
        let (seed, end_sequence) = (crc32c(!0, &s.s_uuid), s.s_sequence);
        let superblock = JournalSuperblock { s_feature_incompat: incompat, s_feature_compat: if v2 { s.s_feature_compat } else { 0 }, ..superblock };
        Ok(Some(Self { volume, map, superblock, end, fast_blocks, seed, end_sequence, written: Vec::new(), revoked: HashMap::new() }))
    }

    fn has(&self, incompat: u32) -> bool {
        self.superblock.s_feature_incompat & incompat != 0
    }

    fn has_checksums(&self) -> bool {
        self.has(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)
    }

    /// Where a block of the journal lies.
    fn place(&self, number: u32) -> Result<u64> {
        self.map.block(u64::from(number)).ok_or_else(|| Error::corrupt(format!("its block {number} is a hole")))
    }

    fn read(&self, number: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.volume.block_len()];
        self.volume.disk.read_exact_at(self.volume.offset(self.place(number)?), &mut bytes)?;
        Ok(bytes)
    }

    fn next(&self, number: u32) -> u32 {
        if number + 1 >= self.end { self.superblock.s_first } else { number + 1 }
    }

    /// Follows the log, and keeps what complete transactions bring.
    fn scan(&mut self) -> Result<()> {
        let mut sequence = self.superblock.s_sequence;
        let mut at = self.superblock.s_start;
        // Once around at most, whatever the log says.
        let mut left = self.end - self.superblock.s_first;
        let mut pending = Pending::new();
        while left > 0 {
            let bytes = self.read(at)?;
            let (magic, kind, found) = (BE::read_u32(&bytes), BE::read_u32(&bytes[4..]), BE::read_u32(&bytes[8..]));
            if magic != JOURNAL_MAGIC || found != sequence {
                break;
            }
            (at, left) = (self.next(at), left - 1);
            match kind {
                DESCRIPTOR => {
                    if !self.tail_is_right(&bytes) {
                        break;
                    }
                    pending.crc = crc32_be(pending.crc, &bytes);
                    for tag in self.tags(&bytes) {
                        if left == 0 {
                            return Ok(());
                        }
                        self.logged_block(tag, at, sequence, &mut pending)?;
                        (at, left) = (self.next(at), left - 1);
                    }
                }
                COMMIT => {
                    if !self.commit_is_right(&bytes, pending.crc) {
                        break;
                    }
                    if let Some(block) = pending.broken {
                        return Err(Error::corrupt(format!("transaction {sequence} has a wrong checksum of block {block}")));
                    }
                    self.take(std::mem::replace(&mut pending, Pending::new()), sequence);
                    sequence = sequence.wrapping_add(1);
                    self.end_sequence = sequence;
                }
                REVOKE if self.tail_is_right(&bytes) => self.revocations(&bytes, &mut pending),
                _ => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, pending: Pending, sequence: u32) {
        self.written.extend(pending.written.into_iter().map(|(block, logged)| (block, sequence, logged)));
        for block in pending.revoked {
            self.revoked.insert(block, sequence);
        }
    }

    fn logged_block(&self, tag: Tag, at: u32, sequence: u32, pending: &mut Pending) -> Result<()> {
        if tag.block >= self.volume.blocks {
            return Err(Error::corrupt(format!("transaction {sequence} writes block {} of a filesystem that has {}", tag.block, self.volume.blocks)));
        }
        let block = self.place(at)?;
        if self.has_checksums() || self.superblock.s_feature_compat & COMPAT_CHECKSUM != 0 {
            let bytes = self.read(at)?;
            pending.crc = crc32_be(pending.crc, &bytes);
            let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &bytes);
            let sum = if self.has(INCOMPAT_CSUM_V3) { sum } else { sum & 0xffff };
            if self.has_checksums() && sum != tag.checksum {
                pending.broken.get_or_insert(tag.block);
            }
        }
        pending.written.push((tag.block, Logged { block, escaped: tag.flags & TAG_ESCAPED != 0 }));
        Ok(())
    }

    /// Bytes of a block of tags or revocations in front of its checksum.
    fn room(&self, bytes: &[u8]) -> usize {
        bytes.len() - if self.has_checksums() { 4 } else { 0 }
    }

    fn tail_is_right(&self, bytes: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let (head, tail) = bytes.split_at(bytes.len() - 4);
        BE::read_u32(tail) == crc32c(crc32c(self.seed, head), &[0; 4])
    }

    fn tags(&self, bytes: &[u8]) -> Vec<Tag> {
        let (v3, wide) = (self.has(INCOMPAT_CSUM_V3), self.has(INCOMPAT_64BIT));
        // `journal_tag_bytes`: three words, and with checksums of version 2 half a word more that nobody uses.
        let tag_bytes = if v3 { 16 } else { 8 + if self.has(INCOMPAT_CSUM_V2) { 2 } else { 0 } + if wide { 4 } else { 0 } };
        let room = self.room(bytes);
        let mut tags = Vec::new();
        let mut at = HEADER_BYTES;
        while at + tag_bytes <= room {
            let tag = &bytes[at..];
            let (flags, checksum) =
                if v3 { (BE::read_u32(&tag[4..]), BE::read_u32(&tag[12..])) } else { (u32::from(BE::read_u16(&tag[6..])), u32::from(BE::read_u16(&tag[4..]))) };
            let high = if wide { u64::from(BE::read_u32(&tag[8..])) } else { 0 };
            tags.push(Tag { block: u64::from(BE::read_u32(tag)) | high << 32, flags, checksum });
            at += tag_bytes + if flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    fn revocations(&self, bytes: &[u8], pending: &mut Pending) {
        let record = if self.has(INCOMPAT_64BIT) { 8 } else { 4 };
        // `r_count`: bytes in use, the header included.
        let used = usize_of(u64::from(BE::read_u32(&bytes[HEADER_BYTES..]))).min(self.room(bytes));
        let records = bytes.get(HEADER_BYTES + 4..used).unwrap_or(&[]).chunks_exact(record);
        pending.revoked.extend(records.map(|bytes| if record == 8 { BE::read_u64(bytes) } else { u64::from(BE::read_u32(bytes)) }));
    }

    /// Checks a commit block: its own checksum, or that of everything in its transaction.
    fn commit_is_right(&self, bytes: &[u8], crc: u32) -> bool {
        const SUM_AT: usize = 0x10;
        let found = BE::read_u32(&bytes[SUM_AT..]);
        if self.has_checksums() {
            return found == [&bytes[..SUM_AT], &[0; 4], &bytes[SUM_AT + 4..]].into_iter().fold(self.seed, crc32c);
        }
        let (kind, size) = (bytes[0xc], bytes[0xd]);
        self.superblock.s_feature_compat & COMPAT_CHECKSUM == 0 || (kind, size, found) == (1, 4, crc) || (kind, size, found) == (0, 0, 0)
    }

    /// The last version of every block that was not revoked since.
    fn logged(self) -> BTreeMap<u64, Logged> {
        let mut logged = BTreeMap::new();
        for (block, sequence, place) in self.written {
            // Sequence numbers wrap around.
            let revoked = self.revoked.get(&block).is_some_and(|by| sequence.wrapping_sub(*by).wrapping_sub(1) >= 1 << 31);
            if !revoked {
                logged.insert(block, place);
            }
        }
        logged
    }

    /// Fast commits that belong behind the last transaction would have to be replayed.
    fn refuse_fast_commits(&self) -> Result<()> {
        if self.fast_blocks == 0 || u64::from(self.end) >= self.map.logical_end() {
            return Ok(());
        }
        let bytes = self.read(self.end)?;
        let (tag, transaction) = (LE::read_u16(&bytes), LE::read_u32(&bytes[8..]));
        if tag == FAST_TAG_HEAD && transaction == self.end_sequence {
            return Err(Error::unsupported(format!(
                "the journal's fast commits (the ext4 feature {}) have to be replayed: mount the filesystem once, or run e2fsck",
                INCOMPAT_NAMES[5]
            ))
            .at_offset(self.volume.offset(self.place(self.end)?)));
        }
        Ok(())
    }
}

/// Continues a CRC-32 (polynomial 0x04c11db7, not reflected) as the kernel's `crc32_be` does.
fn crc32_be(state: u32, data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        let mut top: u32 = 0;
        while at < 256 {
            let mut value = top;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 0x8000_0000 != 0 { value << 1 ^ 0x04c1_1db7 } else { value << 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
            top = top.wrapping_add(1 << 24);
        }
        table
    };
    data.iter().fold(state, |state, byte| {
        let [top, ..] = state.to_be_bytes();
        state << 8 ^ TABLE[usize::from(top ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_checksum_matches_its_check_value() {
        // CRC-32/MPEG-2 of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_e6e7);
    }
}
