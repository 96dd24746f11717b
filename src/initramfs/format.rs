//! The header of cpio's "newc" and "crc" archives (Linux, buffer-format.rst; cpio(5), "New ASCII Format"): ASCII, each number as
//! eight hexadecimal digits.
//!
//! | offset | field |
//! |---|---|
//! | 0 | c_magic, six bytes: `070701`, or `070702` with c_chksum in use |
//! | 6 | c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum |

/// The header's length.
pub(super) const HEADER_BYTES: usize = 110;
/// Without checksum.
pub(super) const MAGIC_NEWC: &[u8; 6] = b"070701";
/// With the sum of the data's bytes.
pub(super) const MAGIC_CRC: &[u8; 6] = b"070702";
/// The numbers of the header.
const FIELDS: usize = 13;

/// A header; only what is read here has names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) has_checksum: bool,
    fields: [u32; FIELDS],
}

impl Header {
    /// Reads the numbers behind a magic that was looked at; `None` where one is none.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut fields = [0; FIELDS];
        for (field, digits) in fields.iter_mut().zip(bytes[MAGIC_NEWC.len()..].chunks_exact(8)) {
            *field = hexadecimal(digits)?;
        }
        Some(Self { has_checksum: bytes.starts_with(MAGIC_CRC), fields })
    }

    #[cfg(test)]
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut text = String::from_utf8(if self.has_checksum { MAGIC_CRC } else { MAGIC_NEWC }.to_vec()).unwrap();
        for field in self.fields {
            text.push_str(&format!("{field:08X}"));
        }
        text.into_bytes().try_into().unwrap()
    }

    #[cfg(test)]
    pub(super) fn new(has_checksum: bool, mode: u32, size: u32, name_size: u32, checksum: u32) -> Self {
        Self { has_checksum, fields: [1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, checksum] }
    }

    pub(super) fn c_mode(&self) -> u32 {
        self.fields[1]
    }

    pub(super) fn c_filesize(&self) -> u32 {
        self.fields[6]
    }

    pub(super) fn c_namesize(&self) -> u32 {
        self.fields[11]
    }

    pub(super) fn c_chksum(&self) -> u32 {
        self.fields[12]
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |value, digit| char::from(*digit).to_digit(16).map(|digit| (value << 4) | digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_says() {
        let header = Header { has_checksum: true, fields: [1, 0o100_644, 3, 4, 5, 6, 0xabc, 8, 9, 10, 11, 12, 0xffff_ffff] };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for (offset, text) in [(0, "070702"), (6, "00000001"), (14, "000081A4"), (54, "00000ABC"), (94, "0000000C"), (102, "FFFFFFFF")] {
            assert_eq!(&bytes[offset..offset + text.len()], text.as_bytes(), "at {offset}");
        }
        assert_eq!((header.c_mode(), header.c_filesize(), header.c_namesize(), header.c_chksum()), (0o100_644, 0xabc, 12, u32::MAX));
        for at in [6, 61, 109] {
            let mut bad = bytes;
            bad[at] = b'g';
            assert_eq!(Header::decode(&bad), None);
            bad[at] = b'a';
            assert!(Header::decode(&bad).is_some(), "small letters are digits too");
        }
    }
}
