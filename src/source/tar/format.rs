//! The tar header block and its numbers, as they are on disk.
//!
//! POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (`struct oldgnu_header`,
//! `struct sparse_header`) and "Extensions to the tar archive format". Every field is text or octal digits, so there
//! is no byte order; GNU stores numbers that do not fit as big-endian two's complement ("base-256").
//!
//! ```text
//!   0 name 100 │ 100 mode 8 │ 108 uid 8 │ 116 gid 8 │ 124 size 12 │ 136 mtime 12 │ 148 chksum 8 │ 156 typeflag 1
//! 157 linkname 100 │ 257 magic 6 │ 263 version 2 │ 265 uname 32 │ 297 gname 32 │ 329 devmajor 8 │ 337 devminor 8
//! 345 prefix 155 (ustar), or in GNU's: 345 atime 12 │ 357 ctime 12 │ 369 offset 12 │ 381 longnames 4 │ 385 unused 1
//!                                      386 sp 4 × 24 │ 482 isextended 1 │ 483 realsize 12 │ 495 padding 17
//! ```

use crate::error::{Error, Result};
use crate::units::u64_of;

/// Bytes in a header, and the unit to which bodies are padded.
pub(super) const BLOCK: usize = 512;
/// Entries of a sparse map in a GNU header, and in each block behind it.
pub(super) const SPARSES_IN_OLDGNU_HEADER: usize = 4;
pub(super) const SPARSES_IN_SPARSE_HEADER: usize = 21;
/// The type flags of GNU's and Sun's that are refused or skipped by name stand in `scan.rs`.
pub(super) mod typeflag {
    pub(in super::super) const AREGTYPE: u8 = 0;
    pub(in super::super) const REGTYPE: u8 = b'0';
    pub(in super::super) const LNKTYPE: u8 = b'1';
    pub(in super::super) const SYMTYPE: u8 = b'2';
    pub(in super::super) const CHRTYPE: u8 = b'3';
    pub(in super::super) const BLKTYPE: u8 = b'4';
    pub(in super::super) const DIRTYPE: u8 = b'5';
    pub(in super::super) const FIFOTYPE: u8 = b'6';
    pub(in super::super) const CONTTYPE: u8 = b'7';
    pub(in super::super) const XHDTYPE: u8 = b'x';
    pub(in super::super) const XGLTYPE: u8 = b'g';
    pub(in super::super) const GNUTYPE_LONGLINK: u8 = b'K';
    pub(in super::super) const GNUTYPE_LONGNAME: u8 = b'L';
    pub(in super::super) const GNUTYPE_SPARSE: u8 = b'S';
    pub(in super::super) const GNUTYPE_VOLHDR: u8 = b'V';
}

/// Which tar wrote a header, as its magic says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// No magic: Unix version 7.
    V7,
    /// `ustar` NUL: POSIX, also under pax.
    Ustar,
    /// `ustar` and blanks: GNU.
    Gnu,
}

/// A header block, with the fields' own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Header {
    pub(in crate::source) name: [u8; 100],
    pub(in crate::source) mode: [u8; 8],
    pub(in crate::source) uid: [u8; 8],
    pub(in crate::source) gid: [u8; 8],
    pub(in crate::source) size: [u8; 12],
    pub(in crate::source) mtime: [u8; 12],
    pub(in crate::source) chksum: [u8; 8],
    pub(in crate::source) typeflag: u8,
    pub(in crate::source) linkname: [u8; 100],
    pub(in crate::source) magic: [u8; 6],
    pub(in crate::source) version: [u8; 2],
    pub(in crate::source) uname: [u8; 32],
    pub(in crate::source) gname: [u8; 32],
    pub(in crate::source) devmajor: [u8; 8],
    pub(in crate::source) devminor: [u8; 8],
    /// `prefix` and what follows it, which GNU uses otherwise.
    pub(in crate::source) rest: [u8; 167],
}

impl Header {
    pub(super) fn decode(block: &[u8; BLOCK]) -> Self {
        Self {
            name: part(block, 0),
            mode: part(block, 100),
            uid: part(block, 108),
            gid: part(block, 116),
            size: part(block, 124),
            mtime: part(block, 136),
            chksum: part(block, 148),
            typeflag: block[156],
            linkname: part(block, 157),
            magic: part(block, 257),
            version: part(block, 263),
            uname: part(block, 265),
            gname: part(block, 297),
            devmajor: part(block, 329),
            devminor: part(block, 337),
            rest: part(block, 345),
        }
    }

    /// The block as bytes; used to make archives in tests.
    #[cfg(test)]
    pub(super) fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[0..100].copy_from_slice(&self.name);
        block[100..108].copy_from_slice(&self.mode);
        block[108..116].copy_from_slice(&self.uid);
        block[116..124].copy_from_slice(&self.gid);
        block[124..136].copy_from_slice(&self.size);
        block[136..148].copy_from_slice(&self.mtime);
        block[148..156].copy_from_slice(&self.chksum);
        block[156] = self.typeflag;
        block[157..257].copy_from_slice(&self.linkname);
        block[257..263].copy_from_slice(&self.magic);
        block[263..265].copy_from_slice(&self.version);
        block[265..297].copy_from_slice(&self.uname);
        block[297..329].copy_from_slice(&self.gname);
        block[329..337].copy_from_slice(&self.devmajor);
        block[337..345].copy_from_slice(&self.devminor);
        block[345..512].copy_from_slice(&self.rest);
        block
    }

    /// Which tar wrote this.
    pub(super) fn dialect(&self) -> Result<Dialect> {
        match (&self.magic, &self.version) {
            (b"ustar\0", _) => Ok(Dialect::Ustar),
            (b"ustar ", b" \0" | b"  " | b"\0\0") => Ok(Dialect::Gnu),
            ([0, 0, 0, 0, 0, 0], [0, 0]) => Ok(Dialect::V7),
            (magic, _) => {
                Err(Error::unsupported(format!("the magic \"{}\" of a header is none of ustar's, GNU's or version 7's", crate::error::escape(magic))))
            }
        }
    }

    /// `prefix`, where this header has one: 155 bytes, 131 in star's form, which ends in `tar` NUL.
    pub(super) fn prefix(&self) -> &[u8] {
        let longest = if &self.rest[163..] == b"tar\0" { 131 } else { 155 };
        text(&self.rest[..longest])
    }

    /// GNU's `sp`: offset and length as they stand.
    pub(super) fn sparse_entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        entries(&self.rest[41..41 + SPARSES_IN_OLDGNU_HEADER * 24])
    }

    /// GNU's `isextended`: whether blocks with more of the sparse map follow.
    pub(super) fn is_extended(&self) -> bool {
        self.rest[137] != 0
    }

    /// GNU's `realsize`: the length of a sparse file.
    pub(super) fn real_size(&self) -> &[u8] {
        &self.rest[138..150]
    }
}

/// The sparse map entries of `struct sparse_header`, a block behind a GNU sparse header, and whether one more follows.
pub(super) fn decode_sparse_header(block: &[u8; BLOCK]) -> (impl Iterator<Item = (&[u8], &[u8])>, bool) {
    (entries(&block[..SPARSES_IN_SPARSE_HEADER * 24]), block[504] != 0)
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.chunks_exact(24).map(|entry| entry.split_at(12))
}

fn part<const N: usize>(block: &[u8; BLOCK], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&block[at..at + N]);
    out
}

/// A text field: up to the first NUL, or all of it.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// Whether `chksum` is the sum of the block's bytes with itself as blanks: unsigned, or signed as some old tars had it.
pub(super) fn checksum_matches(block: &[u8; BLOCK]) -> bool {
    let Ok(Some(stored)) = octal(&block[148..156]) else { return false };
    let stored = i64::try_from(stored).unwrap_or(-1);
    let own: i64 = block[148..156].iter().map(|byte| i64::from(*byte)).sum();
    let unsigned = sum(block) - own + 8 * i64::from(b' ');
    if stored == unsigned {
        return true;
    }
    let negative = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte >> 7)).sum::<i64>();
    stored == unsigned - 256 * (negative(block) - negative(&block[148..156]))
}

/// The sum of a block's bytes. It runs over every header, so it is written to become vector instructions.
fn sum(block: &[u8; BLOCK]) -> i64 {
    // Each lane takes 16 bytes, at most 16 · 255; a check for overflow would keep the loop from becoming vectors.
    let mut lanes = [0_u16; 32];
    for chunk in block.as_chunks::<32>().0 {
        for (lane, byte) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(u16::from(*byte));
        }
    }
    i64::from(lanes.iter().fold(0_u32, |sum, lane| sum.wrapping_add(u32::from(*lane))))
}

/// A number: octal digits between blanks, ended by a blank or NUL, or base-256 where the first bit is set.
pub(super) fn number(field: &[u8], what: &str) -> Result<i128> {
    let bad = || Error::corrupt(format!("the field {what} is no number: \"{}\"", crate::error::escape(field)));
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            // Two's complement without the first bit, so the second one is the sign; at most 12 bytes.
            let top = i128::from(first & 0x7f) - if first & 0x40 != 0 { 0x80 } else { 0 };
            Ok(field[1..].iter().fold(top, |value, byte| (value << 8) | i128::from(*byte)))
        }
        // Writers that leave a field out leave NULs; GNU tar, bsdtar and the crate tar read 0. On blanks they differ.
        Some(0) if field.iter().all(|byte| *byte == 0) => Ok(0),
        _ => octal(field).map_err(|()| bad())?.map(i128::from).ok_or_else(bad),
    }
}

/// Octal digits; `None` where there are only blanks and NULs.
fn octal(field: &[u8]) -> std::result::Result<Option<u64>, ()> {
    let mut rest = field;
    while let [b' ', behind @ ..] = rest {
        rest = behind;
    }
    // At most 12 digits of 3 bits.
    debug_assert!(rest.len() <= 12);
    let from = rest.len();
    let mut value = 0;
    while let [digit @ b'0'..=b'7', behind @ ..] = rest {
        value = (value << 3) | u64::from(digit & 7);
        rest = behind;
    }
    let any = rest.len() < from;
    if rest.iter().all(|byte| matches!(byte, b' ' | 0)) { Ok(any.then_some(value)) } else { Err(()) }
}

/// Body and padding of `size` bytes.
pub(super) fn padded(size: u64) -> Result<u64> {
    size.checked_next_multiple_of(u64_of(BLOCK)).ok_or_else(|| Error::corrupt(format!("a body of {size} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_where_the_specification_has_them() {
        let mut block = [0_u8; BLOCK];
        for (nth, byte) in block.iter_mut().enumerate() {
            *byte = u8::try_from(nth % 251).unwrap();
        }
        let header = Header::decode(&block);
        assert_eq!(header.encode(), block);
        for (offset, field) in [
            (0, &header.name[..]),
            (100, &header.mode),
            (108, &header.uid),
            (116, &header.gid),
            (124, &header.size),
            (136, &header.mtime),
            (148, &header.chksum),
            (157, &header.linkname),
            (257, &header.magic),
            (263, &header.version),
            (265, &header.uname),
            (297, &header.gname),
            (329, &header.devmajor),
            (337, &header.devminor),
            (483, header.real_size()),
        ] {
            assert_eq!(field, &block[offset..offset + field.len()], "offset {offset}");
        }
        let map: Vec<_> = header.sparse_entries().collect();
        assert_eq!(map[0], (&block[386..398], &block[398..410]));
        assert_eq!(map.len(), 4);
        block[482] = 1;
        assert!(Header::decode(&block).is_extended());
        let (map, more) = decode_sparse_header(&block);
        assert_eq!(map.collect::<Vec<_>>()[20].1, &block[492..504]);
        assert!(more);
    }

    #[test]
    fn numbers_are_octal_or_base_256_and_nothing_else() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"  644 \0\0", 0o644),
            (b"77777777", 0o77_777_777),
            (b"\x80\0\0\0\x20\0\0\0", 0x2000_0000),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", i128::from(u64::MAX)),
            (b"777777777777", (1 << 36) - 1),
            (b"\0\0\0\0", 0),
        ] {
            assert_eq!(number(field, "x").unwrap(), value, "{field:?}");
        }
        for field in [&b"    "[..], b"\0\x007", b"12a4", b"8", b"-1", b"+1", b"1 2", b"0x10", b"1\t", b""] {
            assert!(number(field, "x").is_err(), "{field:?}");
        }
    }

    #[test]
    fn checksums_are_unsigned_or_signed_sums() {
        let mut block = [0_u8; BLOCK];
        block[0] = 0xff;
        let unsigned = 8 * 32 + 255;
        block[148..155].copy_from_slice(format!("{unsigned:06o}\0").as_bytes());
        assert!(checksum_matches(&block));
        block[148..155].copy_from_slice(format!("{:06o}\0", unsigned - 256).as_bytes());
        assert!(checksum_matches(&block));
        block[148..155].copy_from_slice(format!("{:06o}\0", unsigned - 1).as_bytes());
        assert!(!checksum_matches(&block));
        block[148..156].fill(0);
        assert!(!checksum_matches(&block));
    }
}
