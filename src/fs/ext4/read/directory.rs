//! Directories: the entries of a block, of one with a hash index, and of an inode with inline data.
//!
//! An index is not needed to find all names: its blocks look like empty ones to who goes through all blocks in turn. What is looked at is
//! that they have the checksums of an index, for a block of entries that was taken for one would hide its names.

use super::super::format::{Csum, DIRENT_HEADER_BYTES, DIRENT_TAIL_BYTES, DirEntryHeader, dirent_bytes, file_type};
use crate::error::{Error, Result, escape};
use crate::units::{index_of, u64_of};

/// Bytes of an index's entry, and of what holds its checksum.
const DX_ENTRY_BYTES: usize = 8;
/// Where a node of an index has its limit and count.
const DX_NODE_AT: usize = 8;
/// Where the root has them: behind `.`, `..` and what it says of the index.
const DX_ROOT_AT: usize = 32;

/// A name and what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ino: u32,
    name_at: u32,
    name_len: u8,
    pub(super) file_type: u8,
    /// The logical block that the name stands in.
    pub(super) block: u32,
}

/// The entries of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) found: Vec<Found>,
    names: Vec<u8>,
    /// What `.` and `..` name.
    pub(super) dot: Option<u32>,
    pub(super) dot_dot: Option<u32>,
    /// Types that `.` and `..` have.
    pub(super) dot_types: [u8; 2],
    /// What is wrong, with offsets.
    pub(super) wrong: Vec<Error>,
}

/// How the blocks of a directory are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) csum: Csum,
    pub(super) indexed: bool,
    /// Names are encrypted: any bytes.
    pub(super) encrypted: bool,
    /// There is a byte for the type.
    pub(super) file_types: bool,
    pub(super) inodes: u32,
    pub(super) ino: u32,
}

/// What a block of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Entries,
    /// The root or a node of the index, with limit and count at this offset.
    Index(usize),
}

fn header(bytes: &[u8], at: usize) -> Option<DirEntryHeader> {
    bytes.get(at..at + DIRENT_HEADER_BYTES)?.first_chunk().map(DirEntryHeader::decode)
}

/// `rec_len`: blocks of 64 KiB have lengths that 16 bits do not hold (Linux, `ext4_rec_len_from_disk`).
fn rec_len(stored: u16, block_len: usize) -> usize {
    let stored = usize::from(stored);
    if block_len < 65_536 {
        stored
    } else if stored == 0 || stored == 65_535 {
        block_len
    } else {
        stored & 65_532 | (stored & 3) << 16
    }
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

impl Form {
    /// Whether a block belongs to the index (Linux, `get_dx_countlimit`).
    pub(super) fn kind(&self, bytes: &[u8], logical: u64) -> Kind {
        let Some(first) = header(bytes, 0).filter(|_| self.indexed) else { return Kind::Entries };
        let len = rec_len(first.rec_len, bytes.len());
        if logical == 0 {
            let second = header(bytes, 12).map_or(0, |second| rec_len(second.rec_len, bytes.len()));
            let is_root = len == 12 && second == bytes.len() - 12 && u32_at(bytes, 24) == 0 && bytes.get(29) == Some(&8);
            return if is_root { Kind::Index(DX_ROOT_AT) } else { Kind::Entries };
        }
        if first.inode == 0 && first.name_len == 0 && len == bytes.len() { Kind::Index(DX_NODE_AT) } else { Kind::Entries }
    }

    /// Checks the checksum of a block of the index.
    fn check_index(&self, bytes: &[u8], at: usize) -> Result<()> {
        let (limit, count) = (u16_at(bytes, at), u16_at(bytes, at + 2));
        let tail = at + limit * DX_ENTRY_BYTES;
        let room = bytes.len() - if self.csum.is_on() { DX_ENTRY_BYTES } else { 0 };
        if tail > room || count > limit || count == 0 {
            return Err(Error::corrupt(format!("a block of a directory's index with {count} entries of {limit}")));
        }
        if !self.csum.is_on() {
            return Ok(());
        }
        let used = at + count * DX_ENTRY_BYTES;
        let (found, expected) = (u32_at(bytes, tail + 4), self.csum.over(&[&bytes[..used], &bytes[tail..tail + 4], &[0; 4]]));
        if found != expected {
            return Err(Error::corrupt(format!("a block of a directory's index has the checksum {found:#010x}; it should be {expected:#010x}")));
        }
        Ok(())
    }

    /// Checks the checksum at the end of a block of entries, and returns where its entries end.
    fn check_entries(&self, bytes: &[u8]) -> (usize, Result<()>) {
        if !self.csum.is_on() {
            return (bytes.len(), Ok(()));
        }
        let at = bytes.len() - DIRENT_TAIL_BYTES;
        let tail = header(bytes, at).unwrap_or_default();
        if tail.inode != 0 || tail.rec_len != 12 || tail.name_len != 0 || tail.file_type != file_type::CHECKSUM {
            return (bytes.len(), Err(Error::corrupt("a block of a directory has no checksum at its end")));
        }
        let (found, expected) = (u32_at(bytes, at + 8), self.csum.over(&[&bytes[..at]]));
        let check = if found == expected {
            Ok(())
        } else {
            Err(Error::corrupt(format!("a block of a directory has the checksum {found:#010x}; it should be {expected:#010x}")))
        };
        (at, check)
    }
}

impl Listing {
    pub(super) fn name(&self, found: &Found) -> &[u8] {
        &self.names[index_of(found.name_at)..][..usize::from(found.name_len)]
    }

    /// Empties it, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.found.clear();
        self.names.clear();
        self.wrong.clear();
        (self.dot, self.dot_dot, self.dot_types) = (None, None, [0; 2]);
    }

    /// Adds the entries of a block.
    pub(super) fn add_block(&mut self, form: &Form, bytes: &[u8], logical: u64, offset: u64) {
        let at_offset = |error: Error| error.at_offset(offset);
        let end = match form.kind(bytes, logical) {
            Kind::Index(at) => {
                self.wrong.extend(form.check_index(bytes, at).err().map(at_offset));
                if at == DX_NODE_AT {
                    return;
                }
                bytes.len()
            }
            Kind::Entries => {
                let (end, check) = form.check_entries(bytes);
                self.wrong.extend(check.err().map(at_offset));
                end
            }
        };
        let block = u32::try_from(logical).unwrap_or(u32::MAX);
        self.add_chain(form, &bytes[..end], bytes.len(), block, logical == 0, offset);
    }

    /// Adds the entries in a part of an inode.
    pub(super) fn add_inline(&mut self, form: &Form, bytes: &[u8], offset: u64) {
        self.add_chain(form, bytes, 1024, 0, false, offset);
    }

    fn add_chain(&mut self, form: &Form, bytes: &[u8], block_len: usize, block: u32, is_first: bool, offset: u64) {
        let mut at = 0;
        let mut number = 0_u32;
        while at < bytes.len() {
            let here = offset + u64_of(at);
            let header = header(bytes, at).unwrap_or_default();
            let len = rec_len(header.rec_len, block_len);
            // Without the feature filetype the byte of the type is the high byte of the name's length.
            let long_name = !form.file_types && header.file_type != 0;
            let least = if header.inode == 0 { DIRENT_HEADER_BYTES } else { dirent_bytes(usize::from(header.name_len)) };
            // The root of an index has an entry that reaches to the block's end, over what would be a checksum.
            let fits = at + len <= bytes.len() || at + len == block_len;
            if len < least.max(DIRENT_HEADER_BYTES) || !len.is_multiple_of(4) || !fits || long_name {
                let message = format!(
                    "an entry of {len} bytes with a name of {} in the {} bytes that are left of a directory's block",
                    header.name_len,
                    bytes.len() - at
                );
                self.wrong.push(Error::corrupt(message).at_offset(here));
                return;
            }
            if is_first && number < 2 {
                self.take_dot(number, &header, &bytes[at + DIRENT_HEADER_BYTES..], here);
            } else if header.inode != 0 {
                let name = &bytes[at + DIRENT_HEADER_BYTES..][..usize::from(header.name_len)];
                self.take(form, &header, name, block, here);
            }
            at += len;
            number += 1;
        }
        if is_first && number < 2 {
            self.wrong.push(Error::corrupt("the directory's first block does not begin with \".\" and \"..\"").at_offset(offset));
        }
    }

    fn take_dot(&mut self, number: u32, header: &DirEntryHeader, rest: &[u8], offset: u64) {
        let (name, slot) = if number == 0 { (&b"."[..], &mut self.dot) } else { (&b".."[..], &mut self.dot_dot) };
        if rest.get(..usize::from(header.name_len)) == Some(name) && header.inode != 0 {
            *slot = Some(header.inode);
            self.dot_types[index_of(number)] = header.file_type;
            return;
        }
        let message = format!("the directory's entry {number} should be \"{}\"", escape(name));
        self.wrong.push(Error::corrupt(message).at_offset(offset));
    }

    fn take(&mut self, form: &Form, header: &DirEntryHeader, name: &[u8], block: u32, offset: u64) {
        let is_name = !name.is_empty() && (form.encrypted || (name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'/'))));
        if !is_name || header.inode > form.inodes {
            let message = format!("an entry of the name \"{}\" for inode {}; there are {}", escape(name), header.inode, form.inodes);
            self.wrong.push(Error::corrupt(message).at_offset(offset));
            return;
        }
        let Ok(name_at) = u32::try_from(self.names.len()) else {
            self.wrong.push(Error::limit("over 4 GiB of names in one directory").at_offset(offset));
            return;
        };
        self.names.extend_from_slice(name);
        let file_type = if form.file_types { header.file_type } else { 0 };
        self.found.push(Found { ino: header.inode, name_at, name_len: header.name_len, file_type, block });
    }

    /// Adds what says that `.` or `..` names something else than it should.
    pub(super) fn check_dots(&mut self, form: &Form, parent: u32, offset: u64) {
        for (name, found, expected) in [(".", self.dot, form.ino), ("..", self.dot_dot, parent)] {
            if let Some(found) = found.filter(|found| *found != expected) {
                let message = format!("\"{name}\" names inode {found}; it should name {expected}");
                self.wrong.push(Error::corrupt(message).at_offset(offset));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { csum: Csum::OFF, indexed: false, encrypted: false, file_types: true, inodes: 100, ino: 2 };

    fn block(entries: &[(u32, u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (inode, rec_len, name) in entries {
            let at = bytes.len();
            let name_len = u8::try_from(name.len()).unwrap();
            bytes.extend(DirEntryHeader { inode: *inode, rec_len: *rec_len, name_len, file_type: 1 }.encode());
            bytes.extend_from_slice(name);
            bytes.resize((at + usize::from(*rec_len)).min(1024), 0);
        }
        bytes.resize(1024, 0);
        bytes
    }

    fn listed(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let mut listing = Listing::default();
        listing.add_block(&FORM, bytes, 0, 0);
        (listing.found.iter().map(|found| listing.name(found).to_vec()).collect(), listing.wrong.len())
    }

    #[test]
    fn chains_are_followed_as_far_as_they_make_sense() {
        let dots = [(2, 12, &b"."[..]), (2, 12, b"..")];
        let with = |rest: &[(u32, u16, &'static [u8])]| listed(&block(&[&dots[..], rest].concat()));
        assert_eq!(with(&[(11, 1000, b"a")]), (vec![b"a".to_vec()], 0));
        assert_eq!(with(&[(11, 16, b"a"), (0, 20, b"gone"), (12, 964, b"b")]), (vec![b"a".to_vec(), b"b".to_vec()], 0));
        // Too short for the name, no multiple of 4, past the end, to nowhere.
        assert_eq!(with(&[(11, 12, b"a"), (12, 12, b"longer")]), (vec![b"a".to_vec()], 1));
        assert_eq!(with(&[(11, 14, b"a")]).1, 1);
        assert_eq!(with(&[(11, 1004, b"a")]).1, 1);
        assert_eq!(with(&[(11, 0, b"a")]).1, 1);
        // Names that are none, and an inode that there is not: the rest goes on.
        assert_eq!(with(&[(11, 12, b"a/b"), (101, 12, b"c"), (13, 12, b".."), (13, 964, b"d")]), (vec![b"d".to_vec()], 3));
        assert_eq!(listed(&block(&[(2, 12, b"."), (2, 1012, b"x")])).1, 1);
        assert_eq!(listed(&block(&[(2, 1024, b".")])).1, 1);
    }

    #[test]
    fn lengths_in_blocks_of_64_kib_are_decoded() {
        assert_eq!(
            [rec_len(0, 65_536), rec_len(65_535, 65_536), rec_len(12, 65_536), rec_len(0, 4096), rec_len(65_532, 65_536)],
            [65_536, 65_536, 12, 0, 65_532]
        );
    }
}
