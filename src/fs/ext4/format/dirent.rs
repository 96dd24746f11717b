//! Directory entries: 8 bytes, then the name, padded to 4 bytes. A block of a directory is a chain of them, and ends with an
//! entry in disguise that holds the block's checksum.
//!
//! ```text
//! | inode | rec_len | name_len | type | name … | … | 0 | 12 | 0 | 0xde | checksum |
//! ```
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.4 "Directory Entries".

use byteorder::{ByteOrder as _, LE};

/// Bytes before the name.
pub const DIRENT_HEADER_BYTES: usize = 8;
/// Bytes of the entry that holds the checksum.
pub const DIRENT_TAIL_BYTES: usize = 12;

/// `file_type`.
pub mod file_type {
    /// Regular file.
    pub const FILE: u8 = 1;
    /// Directory.
    pub const DIRECTORY: u8 = 2;
    /// Character device.
    pub const CHAR: u8 = 3;
    /// Block device.
    pub const BLOCK: u8 = 4;
    /// Named pipe.
    pub const FIFO: u8 = 5;
    /// Socket.
    pub const SOCKET: u8 = 6;
    /// Symbolic link.
    pub const SYMLINK: u8 = 7;
    /// The checksum at the end of a block.
    pub const CHECKSUM: u8 = 0xde;
}

/// `struct ext4_dir_entry_2` without the name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirEntryHeader {
    /// The inode; 0 for an unused entry.
    pub inode: u32,
    /// Bytes to the next entry.
    pub rec_len: u16,
    /// Bytes of the name.
    pub name_len: u8,
    /// The inode's type.
    pub file_type: u8,
}

impl DirEntryHeader {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; DIRENT_HEADER_BYTES] {
        let mut b = [0; DIRENT_HEADER_BYTES];
        LE::write_u32(&mut b[0x0..], self.inode);
        LE::write_u16(&mut b[0x4..], self.rec_len);
        b[0x6] = self.name_len;
        b[0x7] = self.file_type;
        b
    }

    /// Reads what [`DirEntryHeader::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; DIRENT_HEADER_BYTES]) -> Self {
        Self { inode: LE::read_u32(&b[0x0..]), rec_len: LE::read_u16(&b[0x4..]), name_len: b[0x6], file_type: b[0x7] }
    }
}

/// The bytes that an entry with a name of `name_len` bytes takes at least.
#[must_use]
pub const fn dirent_bytes(name_len: usize) -> usize {
    (DIRENT_HEADER_BYTES + name_len).next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let b = [1, 2, 3, 4, 5, 6, 7, 8];
        let header = DirEntryHeader::decode(&b);
        assert_eq!(header, DirEntryHeader { inode: 0x0403_0201, rec_len: 0x0605, name_len: 7, file_type: 8 });
        assert_eq!(header.encode(), b);
    }

    #[test]
    fn entries_are_padded_to_four_bytes() {
        assert_eq!([1, 4, 5, 255].map(dirent_bytes), [12, 12, 16, 264]);
    }
}
