//! The superblock of the journal: the first bytes of inode 8's first block. Unlike all else in ext4 it is big-endian.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 3.6 "Journal (jbd2)", "Super Block".

use super::bytes;
use byteorder::{BE, ByteOrder as _};

/// Bytes of the fields that a fresh journal has.
pub const JOURNAL_SUPERBLOCK_BYTES: usize = 0x44;
/// `h_magic`.
pub const JOURNAL_MAGIC: u32 = 0xc03b_3998;
/// `h_blocktype` of a superblock with feature words.
pub const JOURNAL_SUPERBLOCK_V2: u32 = 4;

/// `struct journal_superblock_s` up to and with `s_nr_users`; all that is behind it is zero in a fresh journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalSuperblock {
    /// [`JOURNAL_MAGIC`].
    pub h_magic: u32,
    /// [`JOURNAL_SUPERBLOCK_V2`].
    pub h_blocktype: u32,
    /// 0 in a superblock.
    pub h_sequence: u32,
    /// Bytes in a block.
    pub s_blocksize: u32,
    /// Blocks of the journal.
    pub s_maxlen: u32,
    /// First block of the log.
    pub s_first: u32,
    /// First transaction to expect.
    pub s_sequence: u32,
    /// Where the log starts; 0 when it is empty.
    pub s_start: u32,
    /// Error of an abort.
    pub s_errno: u32,
    /// Compatible features.
    pub s_feature_compat: u32,
    /// Incompatible features.
    pub s_feature_incompat: u32,
    /// Features without which nobody may write.
    pub s_feature_ro_compat: u32,
    /// UUID of the journal.
    pub s_uuid: [u8; 16],
    /// Filesystems that share it.
    pub s_nr_users: u32,
}

impl JournalSuperblock {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; JOURNAL_SUPERBLOCK_BYTES] {
        let mut b = [0; JOURNAL_SUPERBLOCK_BYTES];
        BE::write_u32(&mut b[0x0..], self.h_magic);
        BE::write_u32(&mut b[0x4..], self.h_blocktype);
        BE::write_u32(&mut b[0x8..], self.h_sequence);
        BE::write_u32(&mut b[0xc..], self.s_blocksize);
        BE::write_u32(&mut b[0x10..], self.s_maxlen);
        BE::write_u32(&mut b[0x14..], self.s_first);
        BE::write_u32(&mut b[0x18..], self.s_sequence);
        BE::write_u32(&mut b[0x1c..], self.s_start);
        BE::write_u32(&mut b[0x20..], self.s_errno);
        BE::write_u32(&mut b[0x24..], self.s_feature_compat);
        BE::write_u32(&mut b[0x28..], self.s_feature_incompat);
        BE::write_u32(&mut b[0x2c..], self.s_feature_ro_compat);
        b[0x30..0x40].copy_from_slice(&self.s_uuid);
        BE::write_u32(&mut b[0x40..], self.s_nr_users);
        b
    }

    /// Reads what [`JournalSuperblock::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; JOURNAL_SUPERBLOCK_BYTES]) -> Self {
        Self {
            h_magic: BE::read_u32(&b[0x0..]),
            h_blocktype: BE::read_u32(&b[0x4..]),
            h_sequence: BE::read_u32(&b[0x8..]),
            s_blocksize: BE::read_u32(&b[0xc..]),
            s_maxlen: BE::read_u32(&b[0x10..]),
            s_first: BE::read_u32(&b[0x14..]),
            s_sequence: BE::read_u32(&b[0x18..]),
            s_start: BE::read_u32(&b[0x1c..]),
            s_errno: BE::read_u32(&b[0x20..]),
            s_feature_compat: BE::read_u32(&b[0x24..]),
            s_feature_incompat: BE::read_u32(&b[0x28..]),
            s_feature_ro_compat: BE::read_u32(&b[0x2c..]),
            s_uuid: bytes(b, 0x30),
            s_nr_users: BE::read_u32(&b[0x40..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let mut b = [0; JOURNAL_SUPERBLOCK_BYTES];
        for (at, byte) in b.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap();
        }
        let superblock = JournalSuperblock::decode(&b);
        assert_eq!(superblock.encode(), b);
        assert_eq!(superblock.s_maxlen, 0x1011_1213);
        assert_eq!(superblock.s_uuid[0], 0x30);
        assert_eq!(superblock.s_nr_users, 0x4041_4243);
    }
}
