//! Extended attributes: a header, entries upwards from it, values downwards from the end, in an inode or in a block of its own.
//!
//! ```text
//! | header | entry | entry | 4 zero bytes | … free … | value | value |
//! ```
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.5 "Extended Attributes".

use super::bytes;
use byteorder::{ByteOrder as _, LE};

/// `h_magic`, which is the whole header inside an inode.
pub const XATTR_MAGIC: u32 = 0xea02_0000;
/// Bytes of a block's header.
pub const XATTR_BLOCK_HEADER_BYTES: usize = 32;
/// Bytes of an entry before its name.
pub const XATTR_ENTRY_BYTES: usize = 16;

/// `e_name_index`: what stands for the beginning of the name.
pub mod name_index {
    /// `user.`
    pub const USER: u8 = 1;
    /// `system.posix_acl_access`, the whole name.
    pub const POSIX_ACL_ACCESS: u8 = 2;
    /// `system.posix_acl_default`, the whole name.
    pub const POSIX_ACL_DEFAULT: u8 = 3;
    /// `trusted.`
    pub const TRUSTED: u8 = 4;
    /// `security.`
    pub const SECURITY: u8 = 6;
    /// `system.`: only `system.data`, which holds inline data and is shown to nobody.
    pub const SYSTEM: u8 = 7;
    /// `system.richacl`, the whole name.
    pub const RICHACL: u8 = 8;
    /// `gnu.`
    pub const HURD: u8 = 10;
}

/// `struct ext4_xattr_header`: the head of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XattrBlockHeader {
    /// [`XATTR_MAGIC`].
    pub h_magic: u32,
    /// Inodes that share the block.
    pub h_refcount: u32,
    /// Blocks: always 1.
    pub h_blocks: u32,
    /// Hash of all entries, by which the kernel finds equal blocks.
    pub h_hash: u32,
    /// CRC-32C of the block's number and the block.
    pub h_checksum: u32,
    /// Zeros.
    pub h_reserved: [u8; 12],
}

impl XattrBlockHeader {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; XATTR_BLOCK_HEADER_BYTES] {
        let mut b = [0; XATTR_BLOCK_HEADER_BYTES];
        LE::write_u32(&mut b[0x0..], self.h_magic);
        LE::write_u32(&mut b[0x4..], self.h_refcount);
        LE::write_u32(&mut b[0x8..], self.h_blocks);
        LE::write_u32(&mut b[0xc..], self.h_hash);
        LE::write_u32(&mut b[0x10..], self.h_checksum);
        b[0x14..0x20].copy_from_slice(&self.h_reserved);
        b
    }

    /// Reads what [`XattrBlockHeader::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; XATTR_BLOCK_HEADER_BYTES]) -> Self {
        Self {
            h_magic: LE::read_u32(&b[0x0..]),
            h_refcount: LE::read_u32(&b[0x4..]),
            h_blocks: LE::read_u32(&b[0x8..]),
            h_hash: LE::read_u32(&b[0xc..]),
            h_checksum: LE::read_u32(&b[0x10..]),
            h_reserved: bytes(b, 0x14),
        }
    }
}

/// `struct ext4_xattr_entry` without the name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XattrEntry {
    /// Bytes of the name without what the index stands for.
    pub e_name_len: u8,
    /// See [`name_index`].
    pub e_name_index: u8,
    /// Where the value lies: bytes from the block's start, or from the first entry in an inode.
    pub e_value_offs: u16,
    /// Inode of a large value (ea_inode).
    pub e_value_inum: u32,
    /// Bytes of the value.
    pub e_value_size: u32,
    /// Hash of name and value; 0 in an inode.
    pub e_hash: u32,
}

impl XattrEntry {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; XATTR_ENTRY_BYTES] {
        let mut b = [0; XATTR_ENTRY_BYTES];
        b[0x0] = self.e_name_len;
        b[0x1] = self.e_name_index;
        LE::write_u16(&mut b[0x2..], self.e_value_offs);
        LE::write_u32(&mut b[0x4..], self.e_value_inum);
        LE::write_u32(&mut b[0x8..], self.e_value_size);
        LE::write_u32(&mut b[0xc..], self.e_hash);
        b
    }

    /// Reads what [`XattrEntry::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; XATTR_ENTRY_BYTES]) -> Self {
        Self {
            e_name_len: b[0x0],
            e_name_index: b[0x1],
            e_value_offs: LE::read_u16(&b[0x2..]),
            e_value_inum: LE::read_u32(&b[0x4..]),
            e_value_size: LE::read_u32(&b[0x8..]),
            e_hash: LE::read_u32(&b[0xc..]),
        }
    }
}

/// `e_hash`: of the name's bytes (taken as unsigned) and of the value in little-endian words, the last one padded with zeros.
#[must_use]
pub fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    let hash = name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    value.chunks(4).fold(hash, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let mut b = [0; XATTR_BLOCK_HEADER_BYTES];
        for (at, byte) in b.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap();
        }
        let header = XattrBlockHeader::decode(&b);
        assert_eq!((header.h_refcount, header.h_checksum), (0x0706_0504, 0x1312_1110));
        assert_eq!(header.encode(), b);
        let b: [u8; XATTR_ENTRY_BYTES] = bytes(&b, 0);
        let entry = XattrEntry::decode(&b);
        assert_eq!((entry.e_name_index, entry.e_value_offs, entry.e_value_size), (1, 0x0302, 0x0b0a_0908));
        assert_eq!(entry.encode(), b);
    }
}
