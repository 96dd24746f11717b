//! The extent tree: a header of 12 bytes, then entries of 12 bytes: extents in leaves, indexes above them. The root lies in
//! `i_block` (60 bytes: 4 entries), all other nodes fill a block and end with a checksum.
//!
//! ```text
//! | header | entry 0 | entry 1 | … | entry eh_max - 1 | et_checksum |
//! ```
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.3.2.3 "Extent Tree".

use byteorder::{ByteOrder as _, LE};

/// Bytes of a header and of any entry.
pub const EXTENT_BYTES: usize = 12;
/// `eh_magic`.
pub const EXTENT_MAGIC: u16 = 0xf30a;
/// Entries in the root, in `i_block`.
pub const ROOT_ENTRIES: usize = 4;
/// The most blocks of an initialised extent (`EXT_INIT_MAX_LEN`).
pub const EXTENT_BLOCKS_MAX: u16 = 32_768;
/// The most blocks of an unwritten extent.
pub const UNWRITTEN_BLOCKS_MAX: u16 = EXTENT_BLOCKS_MAX - 1;

/// `struct ext4_extent_header`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtentHeader {
    /// [`EXTENT_MAGIC`].
    pub eh_magic: u16,
    /// Entries in use.
    pub eh_entries: u16,
    /// Entries that there is room for.
    pub eh_max: u16,
    /// Levels below this node: 0 in a leaf.
    pub eh_depth: u16,
    /// Not in use.
    pub eh_generation: u32,
}

impl ExtentHeader {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; EXTENT_BYTES] {
        let mut b = [0; EXTENT_BYTES];
        LE::write_u16(&mut b[0x0..], self.eh_magic);
        LE::write_u16(&mut b[0x2..], self.eh_entries);
        LE::write_u16(&mut b[0x4..], self.eh_max);
        LE::write_u16(&mut b[0x6..], self.eh_depth);
        LE::write_u32(&mut b[0x8..], self.eh_generation);
        b
    }

    /// Reads what [`ExtentHeader::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; EXTENT_BYTES]) -> Self {
        Self {
            eh_magic: LE::read_u16(&b[0x0..]),
            eh_entries: LE::read_u16(&b[0x2..]),
            eh_max: LE::read_u16(&b[0x4..]),
            eh_depth: LE::read_u16(&b[0x6..]),
            eh_generation: LE::read_u32(&b[0x8..]),
        }
    }
}

/// `struct ext4_extent_idx`: a child node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtentIndex {
    /// The first logical block below this child.
    pub ei_block: u32,
    /// The child's block, low half.
    pub ei_leaf_lo: u32,
    /// The child's block, high half.
    pub ei_leaf_hi: u16,
}

impl ExtentIndex {
    /// The bytes on disk; the last two are not in use.
    #[must_use]
    pub fn encode(&self) -> [u8; EXTENT_BYTES] {
        let mut b = [0; EXTENT_BYTES];
        LE::write_u32(&mut b[0x0..], self.ei_block);
        LE::write_u32(&mut b[0x4..], self.ei_leaf_lo);
        LE::write_u16(&mut b[0x8..], self.ei_leaf_hi);
        b
    }

    /// Reads what [`ExtentIndex::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; EXTENT_BYTES]) -> Self {
        Self { ei_block: LE::read_u32(&b[0x0..]), ei_leaf_lo: LE::read_u32(&b[0x4..]), ei_leaf_hi: LE::read_u16(&b[0x8..]) }
    }
}

/// `struct ext4_extent`: a run of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// The first logical block.
    pub ee_block: u32,
    /// How many blocks; over [`EXTENT_BLOCKS_MAX`] means unwritten, less 32,768.
    pub ee_len: u16,
    /// The first block on disk, high half.
    pub ee_start_hi: u16,
    /// The first block on disk, low half.
    pub ee_start_lo: u32,
}

impl Extent {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; EXTENT_BYTES] {
        let mut b = [0; EXTENT_BYTES];
        LE::write_u32(&mut b[0x0..], self.ee_block);
        LE::write_u16(&mut b[0x4..], self.ee_len);
        LE::write_u16(&mut b[0x6..], self.ee_start_hi);
        LE::write_u32(&mut b[0x8..], self.ee_start_lo);
        b
    }

    /// Reads what [`Extent::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; EXTENT_BYTES]) -> Self {
        Self { ee_block: LE::read_u32(&b[0x0..]), ee_len: LE::read_u16(&b[0x4..]), ee_start_hi: LE::read_u16(&b[0x6..]), ee_start_lo: LE::read_u32(&b[0x8..]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let b = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let header = ExtentHeader::decode(&b);
        assert_eq!((header.eh_entries, header.eh_max, header.eh_depth, header.eh_generation), (0x0403, 0x0605, 0x0807, 0x0c0b_0a09));
        assert_eq!(header.encode(), b);
        let extent = Extent::decode(&b);
        assert_eq!((extent.ee_block, extent.ee_len, extent.ee_start_hi, extent.ee_start_lo), (0x0403_0201, 0x0605, 0x0807, 0x0c0b_0a09));
        assert_eq!(extent.encode(), b);
        let index = ExtentIndex::decode(&b);
        assert_eq!((index.ei_block, index.ei_leaf_lo, index.ei_leaf_hi), (0x0403_0201, 0x0807_0605, 0x0a09));
        assert_eq!(index.encode()[..10], b[..10]);
    }
}
