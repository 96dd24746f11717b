//! Quota files: who uses how many bytes and inodes, in the format that the kernel calls vfsv1 (version 1 of "quota format 2").
//!
//! Specification: quota-tools, doc/quotadoc.sgml, "Quota file formats", with the Linux kernel's fs/quota/quotaio_v2.h and quota_tree.h.
//! A quota file has blocks of its own, of [`QUOTA_BLOCK_BYTES`] whatever the filesystem's block size.

use byteorder::{ByteOrder as _, LE};

/// Bytes of a quota block (`QT_BLKSIZE`).
pub const QUOTA_BLOCK_BYTES: usize = 1024;
/// Levels of the tree from its root to what points to entries (`QT_TREEDEPTH`).
pub const QUOTA_TREE_DEPTH: usize = 4;
/// The quota block of the tree's root (`QT_TREEOFF`).
pub const QUOTA_TREE_ROOT: u32 = 1;
/// `dqh_version` of files with entries of 72 bytes.
pub const QUOTA_VERSION: u32 = 1;
/// `dqh_magic` by what the file accounts for: users, groups, projects.
pub const QUOTA_MAGICS: [u32; 3] = [0xd9c0_1f11, 0xd9c0_1927, 0xd9c0_3f14];
/// Seconds in which one may stay over a soft limit (`MAX_DQ_TIME`, `MAX_IQ_TIME`): 7 days.
pub const QUOTA_GRACE_SECONDS: u32 = 7 * 24 * 60 * 60;
/// The largest quota file: e2fsck takes a larger one for damage.
pub const QUOTA_FILE_MAX_BYTES: u64 = 1 << 31;

/// Bytes of [`QuotaHeader`].
pub const QUOTA_HEADER_BYTES: usize = 32;
/// Bytes of [`QuotaLeafHeader`].
pub const QUOTA_LEAF_HEADER_BYTES: usize = 16;
/// Bytes of [`QuotaEntry`].
pub const QUOTA_ENTRY_BYTES: usize = 72;
/// Entries in a quota block of entries.
pub const QUOTA_ENTRIES_PER_LEAF: usize = (QUOTA_BLOCK_BYTES - QUOTA_LEAF_HEADER_BYTES) / QUOTA_ENTRY_BYTES;

/// `struct v2_disk_dqheader` and behind it `struct v2_disk_dqinfo`: the beginning of quota block 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaHeader {
    /// One of [`QUOTA_MAGICS`].
    pub dqh_magic: u32,
    /// [`QUOTA_VERSION`].
    pub dqh_version: u32,
    /// Seconds over the soft limit of blocks.
    pub dqi_bgrace: u32,
    /// Seconds over the soft limit of inodes.
    pub dqi_igrace: u32,
    /// Flags; none are in use.
    pub dqi_flags: u32,
    /// Quota blocks in the file.
    pub dqi_blocks: u32,
    /// First quota block that is not in use; 0 for none.
    pub dqi_free_blk: u32,
    /// First quota block of entries that has room; 0 for none.
    pub dqi_free_entry: u32,
}

impl QuotaHeader {
    /// The bytes on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; QUOTA_HEADER_BYTES] {
        let mut b = [0; QUOTA_HEADER_BYTES];
        LE::write_u32(&mut b[0x0..], self.dqh_magic);
        LE::write_u32(&mut b[0x4..], self.dqh_version);
        LE::write_u32(&mut b[0x8..], self.dqi_bgrace);
        LE::write_u32(&mut b[0xc..], self.dqi_igrace);
        LE::write_u32(&mut b[0x10..], self.dqi_flags);
        LE::write_u32(&mut b[0x14..], self.dqi_blocks);
        LE::write_u32(&mut b[0x18..], self.dqi_free_blk);
        LE::write_u32(&mut b[0x1c..], self.dqi_free_entry);
        b
    }

    /// Reads what [`QuotaHeader::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; QUOTA_HEADER_BYTES]) -> Self {
        Self {
            dqh_magic: LE::read_u32(&b[0x0..]),
            dqh_version: LE::read_u32(&b[0x4..]),
            dqi_bgrace: LE::read_u32(&b[0x8..]),
            dqi_igrace: LE::read_u32(&b[0xc..]),
            dqi_flags: LE::read_u32(&b[0x10..]),
            dqi_blocks: LE::read_u32(&b[0x14..]),
            dqi_free_blk: LE::read_u32(&b[0x18..]),
            dqi_free_entry: LE::read_u32(&b[0x1c..]),
        }
    }
}

/// `struct qt_disk_dqdbheader`: the beginning of a quota block of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLeafHeader {
    /// Next quota block with room; 0 for none.
    pub dqdh_next_free: u32,
    /// Previous quota block with room; 0 for none.
    pub dqdh_prev_free: u32,
    /// Entries in use.
    pub dqdh_entries: u16,
}

impl QuotaLeafHeader {
    /// The bytes on disk; the last six are padding.
    #[must_use]
    pub fn encode(&self) -> [u8; QUOTA_LEAF_HEADER_BYTES] {
        let mut b = [0; QUOTA_LEAF_HEADER_BYTES];
        LE::write_u32(&mut b[0x0..], self.dqdh_next_free);
        LE::write_u32(&mut b[0x4..], self.dqdh_prev_free);
        LE::write_u16(&mut b[0x8..], self.dqdh_entries);
        b
    }

    /// Reads what [`QuotaLeafHeader::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; QUOTA_LEAF_HEADER_BYTES]) -> Self {
        Self { dqdh_next_free: LE::read_u32(&b[0x0..]), dqdh_prev_free: LE::read_u32(&b[0x4..]), dqdh_entries: LE::read_u16(&b[0x8..]) }
    }
}

/// `struct v2r1_disk_dqblk`: what one id uses, and what it may use at most (0 for no limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaEntry {
    /// User, group or project.
    pub dqb_id: u32,
    /// Inodes, hard limit.
    pub dqb_ihardlimit: u64,
    /// Inodes, soft limit.
    pub dqb_isoftlimit: u64,
    /// Inodes in use.
    pub dqb_curinodes: u64,
    /// Blocks of 1 KiB, hard limit.
    pub dqb_bhardlimit: u64,
    /// Blocks of 1 KiB, soft limit.
    pub dqb_bsoftlimit: u64,
    /// Bytes in use.
    pub dqb_curspace: u64,
    /// When the soft limit of blocks becomes a hard one.
    pub dqb_btime: u64,
    /// When the soft limit of inodes becomes a hard one.
    pub dqb_itime: u64,
}

impl QuotaEntry {
    /// The bytes on disk; there are four of padding behind the id.
    #[must_use]
    pub fn encode(&self) -> [u8; QUOTA_ENTRY_BYTES] {
        let mut b = [0; QUOTA_ENTRY_BYTES];
        LE::write_u32(&mut b[0x0..], self.dqb_id);
        LE::write_u64(&mut b[0x8..], self.dqb_ihardlimit);
        LE::write_u64(&mut b[0x10..], self.dqb_isoftlimit);
        LE::write_u64(&mut b[0x18..], self.dqb_curinodes);
        LE::write_u64(&mut b[0x20..], self.dqb_bhardlimit);
        LE::write_u64(&mut b[0x28..], self.dqb_bsoftlimit);
        LE::write_u64(&mut b[0x30..], self.dqb_curspace);
        LE::write_u64(&mut b[0x38..], self.dqb_btime);
        LE::write_u64(&mut b[0x40..], self.dqb_itime);
        b
    }

    /// Reads what [`QuotaEntry::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; QUOTA_ENTRY_BYTES]) -> Self {
        Self {
            dqb_id: LE::read_u32(&b[0x0..]),
            dqb_ihardlimit: LE::read_u64(&b[0x8..]),
            dqb_isoftlimit: LE::read_u64(&b[0x10..]),
            dqb_curinodes: LE::read_u64(&b[0x18..]),
            dqb_bhardlimit: LE::read_u64(&b[0x20..]),
            dqb_bsoftlimit: LE::read_u64(&b[0x28..]),
            dqb_curspace: LE::read_u64(&b[0x30..]),
            dqb_btime: LE::read_u64(&b[0x38..]),
            dqb_itime: LE::read_u64(&b[0x40..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are their own offsets.
    fn counting<const N: usize>() -> [u8; N] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let b = counting();
        let header = QuotaHeader::decode(&b);
        assert_eq!(header.encode(), b);
        assert_eq!((header.dqh_version, header.dqi_bgrace, header.dqi_flags), (0x0706_0504, 0x0b0a_0908, 0x1312_1110));
        assert_eq!((header.dqi_blocks, header.dqi_free_blk, header.dqi_free_entry), (0x1716_1514, 0x1b1a_1918, 0x1f1e_1d1c));

        let mut b: [u8; QUOTA_LEAF_HEADER_BYTES] = counting();
        b[10..].fill(0);
        let header = QuotaLeafHeader::decode(&b);
        assert_eq!(header.encode(), b);
        assert_eq!((header.dqdh_next_free, header.dqdh_prev_free, header.dqdh_entries), (0x0302_0100, 0x0706_0504, 0x0908));

        let mut b: [u8; QUOTA_ENTRY_BYTES] = counting();
        b[4..8].fill(0);
        let entry = QuotaEntry::decode(&b);
        assert_eq!(entry.encode(), b);
        let offsets = [
            (entry.dqb_ihardlimit, 0x08),
            (entry.dqb_isoftlimit, 0x10),
            (entry.dqb_curinodes, 0x18),
            (entry.dqb_bhardlimit, 0x20),
            (entry.dqb_bsoftlimit, 0x28),
            (entry.dqb_curspace, 0x30),
            (entry.dqb_btime, 0x38),
            (entry.dqb_itime, 0x40),
        ];
        for (field, offset) in offsets {
            assert_eq!(field & 0xff, offset);
        }
    }

    #[test]
    fn fourteen_entries_fill_a_quota_block() {
        assert_eq!(QUOTA_ENTRIES_PER_LEAF, 14);
        assert_eq!(QUOTA_LEAF_HEADER_BYTES + QUOTA_ENTRIES_PER_LEAF * QUOTA_ENTRY_BYTES, QUOTA_BLOCK_BYTES);
    }
}
