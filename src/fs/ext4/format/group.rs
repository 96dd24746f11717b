//! The descriptor of a block group: 64 bytes each (32 without the feature 64bit), in the blocks behind every copy of the superblock.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.2 "Block Group Descriptors".

use super::Csum;
use crate::crc::crc16;
use byteorder::{ByteOrder as _, LE};

/// Bytes in a descriptor with the feature 64bit.
pub const DESCRIPTOR_BYTES: usize = 64;
/// Bytes in a descriptor without it: the first half of the fields.
pub const DESCRIPTOR_BYTES_SMALL: usize = 32;
/// `bg_flags`: the inode table and inode bitmap were never written.
pub const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was never written; it follows from the descriptors.
pub const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the unused part of the inode table reads as zero.
pub const INODE_ZEROED: u16 = 4;

/// `struct ext4_group_desc` in its form of 64 bytes (feature 64bit); the names are the specification's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupDescriptor {
    /// Block of the block bitmap, low half.
    pub bg_block_bitmap_lo: u32,
    /// Block of the inode bitmap, low half.
    pub bg_inode_bitmap_lo: u32,
    /// First block of the inode table, low half.
    pub bg_inode_table_lo: u32,
    /// Free blocks, low half.
    pub bg_free_blocks_count_lo: u16,
    /// Free inodes, low half.
    pub bg_free_inodes_count_lo: u16,
    /// Directories, low half.
    pub bg_used_dirs_count_lo: u16,
    /// [`INODE_UNINIT`], [`BLOCK_UNINIT`], [`INODE_ZEROED`].
    pub bg_flags: u16,
    /// Not in use.
    pub bg_exclude_bitmap_lo: u32,
    /// Checksum of the block bitmap, low half.
    pub bg_block_bitmap_csum_lo: u16,
    /// Checksum of the inode bitmap, low half.
    pub bg_inode_bitmap_csum_lo: u16,
    /// Inodes at the table's end that were never in use, low half.
    pub bg_itable_unused_lo: u16,
    /// Checksum of this descriptor.
    pub bg_checksum: u16,
    /// Block of the block bitmap, high half.
    pub bg_block_bitmap_hi: u32,
    /// Block of the inode bitmap, high half.
    pub bg_inode_bitmap_hi: u32,
    /// First block of the inode table, high half.
    pub bg_inode_table_hi: u32,
    /// Free blocks, high half.
    pub bg_free_blocks_count_hi: u16,
    /// Free inodes, high half.
    pub bg_free_inodes_count_hi: u16,
    /// Directories, high half.
    pub bg_used_dirs_count_hi: u16,
    /// Inodes at the table's end that were never in use, high half.
    pub bg_itable_unused_hi: u16,
    /// Not in use.
    pub bg_exclude_bitmap_hi: u32,
    /// Checksum of the block bitmap, high half.
    pub bg_block_bitmap_csum_hi: u16,
    /// Checksum of the inode bitmap, high half.
    pub bg_inode_bitmap_csum_hi: u16,
}

/// How `bg_checksum` is made.
#[derive(Debug, Clone, Copy)]
pub enum GroupChecksum<'a> {
    /// It is 0.
    None,
    /// Feature metadata_csum.
    Crc32c(Csum),
    /// Feature uninit_bg: CRC-16 that starts with this UUID.
    Crc16(&'a [u8; 16]),
}

impl GroupDescriptor {
    /// The bytes on disk. `bg_checksum` is written as it is; see [`GroupDescriptor::write`].
    #[must_use]
    pub fn encode(&self) -> [u8; DESCRIPTOR_BYTES] {
        let mut b = [0; DESCRIPTOR_BYTES];
        LE::write_u32(&mut b[0x0..], self.bg_block_bitmap_lo);
        LE::write_u32(&mut b[0x4..], self.bg_inode_bitmap_lo);
        LE::write_u32(&mut b[0x8..], self.bg_inode_table_lo);
        LE::write_u16(&mut b[0xc..], self.bg_free_blocks_count_lo);
        LE::write_u16(&mut b[0xe..], self.bg_free_inodes_count_lo);
        LE::write_u16(&mut b[0x10..], self.bg_used_dirs_count_lo);
        LE::write_u16(&mut b[0x12..], self.bg_flags);
        LE::write_u32(&mut b[0x14..], self.bg_exclude_bitmap_lo);
        LE::write_u16(&mut b[0x18..], self.bg_block_bitmap_csum_lo);
        LE::write_u16(&mut b[0x1a..], self.bg_inode_bitmap_csum_lo);
        LE::write_u16(&mut b[0x1c..], self.bg_itable_unused_lo);
        LE::write_u16(&mut b[0x1e..], self.bg_checksum);
        LE::write_u32(&mut b[0x20..], self.bg_block_bitmap_hi);
        LE::write_u32(&mut b[0x24..], self.bg_inode_bitmap_hi);
        LE::write_u32(&mut b[0x28..], self.bg_inode_table_hi);
        LE::write_u16(&mut b[0x2c..], self.bg_free_blocks_count_hi);
        LE::write_u16(&mut b[0x2e..], self.bg_free_inodes_count_hi);
        LE::write_u16(&mut b[0x30..], self.bg_used_dirs_count_hi);
        LE::write_u16(&mut b[0x32..], self.bg_itable_unused_hi);
        LE::write_u32(&mut b[0x34..], self.bg_exclude_bitmap_hi);
        LE::write_u16(&mut b[0x38..], self.bg_block_bitmap_csum_hi);
        LE::write_u16(&mut b[0x3a..], self.bg_inode_bitmap_csum_hi);
        b
    }

    /// Reads what [`GroupDescriptor::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; DESCRIPTOR_BYTES]) -> Self {
        Self {
            bg_block_bitmap_lo: LE::read_u32(&b[0x0..]),
            bg_inode_bitmap_lo: LE::read_u32(&b[0x4..]),
            bg_inode_table_lo: LE::read_u32(&b[0x8..]),
            bg_free_blocks_count_lo: LE::read_u16(&b[0xc..]),
            bg_free_inodes_count_lo: LE::read_u16(&b[0xe..]),
            bg_used_dirs_count_lo: LE::read_u16(&b[0x10..]),
            bg_flags: LE::read_u16(&b[0x12..]),
            bg_exclude_bitmap_lo: LE::read_u32(&b[0x14..]),
            bg_block_bitmap_csum_lo: LE::read_u16(&b[0x18..]),
            bg_inode_bitmap_csum_lo: LE::read_u16(&b[0x1a..]),
            bg_itable_unused_lo: LE::read_u16(&b[0x1c..]),
            bg_checksum: LE::read_u16(&b[0x1e..]),
            bg_block_bitmap_hi: LE::read_u32(&b[0x20..]),
            bg_inode_bitmap_hi: LE::read_u32(&b[0x24..]),
            bg_inode_table_hi: LE::read_u32(&b[0x28..]),
            bg_free_blocks_count_hi: LE::read_u16(&b[0x2c..]),
            bg_free_inodes_count_hi: LE::read_u16(&b[0x2e..]),
            bg_used_dirs_count_hi: LE::read_u16(&b[0x30..]),
            bg_itable_unused_hi: LE::read_u16(&b[0x32..]),
            bg_exclude_bitmap_hi: LE::read_u32(&b[0x34..]),
            bg_block_bitmap_csum_hi: LE::read_u16(&b[0x38..]),
            bg_inode_bitmap_csum_hi: LE::read_u16(&b[0x3a..]),
        }
    }

    /// Writes the bytes on disk, [`DESCRIPTOR_BYTES`] or [`DESCRIPTOR_BYTES_SMALL`] of them, with the right `bg_checksum` for group
    /// number `group`.
    pub fn write(&self, checksum: GroupChecksum<'_>, group: u32, out: &mut [u8]) {
        const FIELD: usize = 0x1e;
        let encoded = Self { bg_checksum: 0, ..self.clone() }.encode();
        let bytes = out.len();
        out.copy_from_slice(&encoded[..bytes]);
        let number = group.to_le_bytes();
        let sum = match checksum {
            GroupChecksum::None => 0,
            // The field holds the low half.
            GroupChecksum::Crc32c(csum) => csum.over(&[&number, out]),
            GroupChecksum::Crc16(uuid) => {
                let state = [&uuid[..], &number[..], &out[..FIELD]].into_iter().fold(!0, crc16);
                u32::from(out.get(FIELD + 2..).map_or(state, |rest| crc16(state, rest)))
            }
        };
        let [low, high, ..] = sum.to_le_bytes();
        out[FIELD..FIELD + 2].copy_from_slice(&[low, high]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let mut b = [0; DESCRIPTOR_BYTES];
        for (at, byte) in b.iter_mut().enumerate().take(0x3c) {
            *byte = u8::try_from(at + 1).unwrap();
        }
        let descriptor = GroupDescriptor::decode(&b);
        assert_eq!(descriptor.encode(), b);
        assert_eq!(descriptor.bg_inode_table_lo, LE::read_u32(&b[0x8..]));
        assert_eq!(descriptor.bg_flags, LE::read_u16(&b[0x12..]));
        assert_eq!(descriptor.bg_itable_unused_lo, LE::read_u16(&b[0x1c..]));
        assert_eq!(descriptor.bg_inode_table_hi, LE::read_u32(&b[0x28..]));
        assert_eq!(descriptor.bg_inode_bitmap_csum_hi, LE::read_u16(&b[0x3a..]));
    }
}
