//! The superblock: 1,024 bytes at byte 1,024 of the filesystem, with copies in groups 1 and the powers of 3, 5 and 7
//! (sparse_super).
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.1 "Super Block".

use super::{bytes, incompat, ro_compat};
use crate::crc::crc32c;
use byteorder::{ByteOrder as _, LE};

/// Bytes in a superblock.
pub const SUPERBLOCK_BYTES: usize = 1024;
/// Where the primary superblock begins.
pub const SUPERBLOCK_OFFSET_BYTES: u64 = 1024;
/// `s_magic`.
pub const SUPERBLOCK_MAGIC: u16 = 0xef53;
/// `s_state`: unmounted cleanly.
pub const STATE_VALID: u16 = 1;
/// `s_def_hash_version`: half MD4.
pub const HASH_HALF_MD4: u8 = 1;
/// `s_flags`: directory hashes take names as signed bytes, whatever the host.
pub const FLAGS_SIGNED_HASH: u32 = 1;

/// `struct ext4_super_block`; the names are the specification's. A `_lo` is the low half, a `_hi` the high one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Inodes in all.
    pub s_inodes_count: u32,
    /// Blocks in all, low half.
    pub s_blocks_count_lo: u32,
    /// Blocks that only the reserving user may take, low half.
    pub s_r_blocks_count_lo: u32,
    /// Free blocks, low half.
    pub s_free_blocks_count_lo: u32,
    /// Free inodes.
    pub s_free_inodes_count: u32,
    /// The block that group 0 begins with: 1 with blocks of 1 KiB, else 0.
    pub s_first_data_block: u32,
    /// Block size as a power of two over 1 KiB.
    pub s_log_block_size: u32,
    /// The same without bigalloc.
    pub s_log_cluster_size: u32,
    /// Blocks in a group.
    pub s_blocks_per_group: u32,
    /// The same without bigalloc.
    pub s_clusters_per_group: u32,
    /// Inodes in a group.
    pub s_inodes_per_group: u32,
    /// Time of the last mount.
    pub s_mtime: u32,
    /// Time of the last write.
    pub s_wtime: u32,
    /// Mounts since the last check.
    pub s_mnt_count: u16,
    /// Mounts before a check; 0xffff for never.
    pub s_max_mnt_count: u16,
    /// [`SUPERBLOCK_MAGIC`].
    pub s_magic: u16,
    /// [`STATE_VALID`] once unmounted cleanly.
    pub s_state: u16,
    /// What to do on errors: 1 goes on.
    pub s_errors: u16,
    /// Minor revision.
    pub s_minor_rev_level: u16,
    /// Time of the last check.
    pub s_lastcheck: u32,
    /// Seconds between checks; 0 for never.
    pub s_checkinterval: u32,
    /// 0 is Linux.
    pub s_creator_os: u32,
    /// 1: inodes of variable size.
    pub s_rev_level: u32,
    /// User who may take reserved blocks.
    pub s_def_resuid: u16,
    /// Group that may take reserved blocks.
    pub s_def_resgid: u16,
    /// First inode that is not reserved.
    pub s_first_ino: u32,
    /// Bytes in an inode.
    pub s_inode_size: u16,
    /// The group that this copy lies in.
    pub s_block_group_nr: u16,
    /// Compatible features.
    pub s_feature_compat: u32,
    /// Features without which nobody may mount.
    pub s_feature_incompat: u32,
    /// Features without which nobody may write.
    pub s_feature_ro_compat: u32,
    /// UUID.
    pub s_uuid: [u8; 16],
    /// Label, padded with NUL.
    pub s_volume_name: [u8; 16],
    /// Where it was last mounted.
    pub s_last_mounted: [u8; 64],
    /// Not in use.
    pub s_algorithm_usage_bitmap: u32,
    /// Not in use.
    pub s_prealloc_blocks: u8,
    /// Not in use.
    pub s_prealloc_dir_blocks: u8,
    /// Blocks kept behind the descriptors for growth.
    pub s_reserved_gdt_blocks: u16,
    /// UUID of an external journal.
    pub s_journal_uuid: [u8; 16],
    /// Inode of the journal.
    pub s_journal_inum: u32,
    /// Device of an external journal.
    pub s_journal_dev: u32,
    /// Head of the list of inodes to delete.
    pub s_last_orphan: u32,
    /// Seed of directory hashes.
    pub s_hash_seed: [u8; 16],
    /// [`HASH_HALF_MD4`].
    pub s_def_hash_version: u8,
    /// 1: `s_jnl_blocks` is a copy of the journal inode's `i_block` and size.
    pub s_jnl_backup_type: u8,
    /// Bytes in a group descriptor.
    pub s_desc_size: u16,
    /// Mount options to begin with.
    pub s_default_mount_opts: u32,
    /// First group with its descriptors in itself.
    pub s_first_meta_bg: u32,
    /// Time of the making.
    pub s_mkfs_time: u32,
    /// Copy of the journal inode's `i_block`, `i_size_high` and `i_size_lo`.
    pub s_jnl_blocks: [u32; 17],
    /// Blocks in all, high half.
    pub s_blocks_count_hi: u32,
    /// Reserved blocks, high half.
    pub s_r_blocks_count_hi: u32,
    /// Free blocks, high half.
    pub s_free_blocks_count_hi: u32,
    /// Bytes that every inode has after its first 128.
    pub s_min_extra_isize: u16,
    /// Bytes that new inodes should have there.
    pub s_want_extra_isize: u16,
    /// [`FLAGS_SIGNED_HASH`].
    pub s_flags: u32,
    /// RAID stride.
    pub s_raid_stride: u16,
    /// Multiple mount protection: seconds.
    pub s_mmp_interval: u16,
    /// Multiple mount protection: block.
    pub s_mmp_block: u64,
    /// RAID stripe.
    pub s_raid_stripe_width: u32,
    /// Groups in a flexible group as a power of two.
    pub s_log_groups_per_flex: u8,
    /// 1: CRC-32C.
    pub s_checksum_type: u8,
    /// Not in use.
    pub s_encryption_level: u8,
    /// KiB written in the filesystem's life.
    pub s_kbytes_written: u64,
    /// Not in use.
    pub s_snapshot_inum: u32,
    /// Not in use.
    pub s_snapshot_id: u32,
    /// Not in use.
    pub s_snapshot_r_blocks_count: u64,
    /// Not in use.
    pub s_snapshot_list: u32,
    /// Errors seen by the kernel; the details that follow are kept as bytes.
    pub s_error_count: u32,
    /// `s_first_error_time` to `s_last_error_func`.
    pub s_error_details: [u8; 104],
    /// Mount options as text.
    pub s_mount_opts: [u8; 64],
    /// Inode of user quota.
    pub s_usr_quota_inum: u32,
    /// Inode of group quota.
    pub s_grp_quota_inum: u32,
    /// Blocks that are no file's: what `df` leaves out of the size.
    pub s_overhead_clusters: u32,
    /// Groups with backups under sparse_super2.
    pub s_backup_bgs: [u8; 8],
    /// Encryption.
    pub s_encrypt_algos: [u8; 4],
    /// Encryption.
    pub s_encrypt_pw_salt: [u8; 16],
    /// Inode of lost+found; 0 for by name.
    pub s_lpf_ino: u32,
    /// Inode of project quota.
    pub s_prj_quota_inum: u32,
    /// Start of metadata checksums under metadata_csum_seed.
    pub s_checksum_seed: u32,
    /// High byte of `s_wtime`.
    pub s_wtime_hi: u8,
    /// High byte of `s_mtime`.
    pub s_mtime_hi: u8,
    /// High byte of `s_mkfs_time`.
    pub s_mkfs_time_hi: u8,
    /// High byte of `s_lastcheck`.
    pub s_lastcheck_hi: u8,
    /// High byte of the first error's time.
    pub s_first_error_time_hi: u8,
    /// High byte of the last error's time.
    pub s_last_error_time_hi: u8,
    /// Code of the first error.
    pub s_first_error_errcode: u8,
    /// Code of the last error.
    pub s_last_error_errcode: u8,
    /// Casefold: encoding.
    pub s_encoding: u16,
    /// Casefold: flags.
    pub s_encoding_flags: u16,
    /// Inode of the orphan file.
    pub s_orphan_file_inum: u32,
    /// CRC-32C of all bytes before it.
    pub s_checksum: u32,
}

impl Default for Superblock {
    /// All zeros.
    fn default() -> Self {
        Self::decode(&[0; SUPERBLOCK_BYTES])
    }
}

impl Superblock {
    /// The bytes on disk. `s_checksum` is written as it is; see [`Superblock::encode_with_checksum`].
    #[must_use]
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut b = [0; SUPERBLOCK_BYTES];
        self.encode_first_part(&mut b);
        self.encode_second_part(&mut b);
        b
    }

    /// To `s_desc_size`.
    fn encode_first_part(&self, b: &mut [u8; SUPERBLOCK_BYTES]) {
        LE::write_u32(&mut b[0x0..], self.s_inodes_count);
        LE::write_u32(&mut b[0x4..], self.s_blocks_count_lo);
        LE::write_u32(&mut b[0x8..], self.s_r_blocks_count_lo);
        LE::write_u32(&mut b[0xc..], self.s_free_blocks_count_lo);
        LE::write_u32(&mut b[0x10..], self.s_free_inodes_count);
        LE::write_u32(&mut b[0x14..], self.s_first_data_block);
        LE::write_u32(&mut b[0x18..], self.s_log_block_size);
        LE::write_u32(&mut b[0x1c..], self.s_log_cluster_size);
        LE::write_u32(&mut b[0x20..], self.s_blocks_per_group);
        LE::write_u32(&mut b[0x24..], self.s_clusters_per_group);
        LE::write_u32(&mut b[0x28..], self.s_inodes_per_group);
        LE::write_u32(&mut b[0x2c..], self.s_mtime);
        LE::write_u32(&mut b[0x30..], self.s_wtime);
        LE::write_u16(&mut b[0x34..], self.s_mnt_count);
        LE::write_u16(&mut b[0x36..], self.s_max_mnt_count);
        LE::write_u16(&mut b[0x38..], self.s_magic);
        LE::write_u16(&mut b[0x3a..], self.s_state);
        LE::write_u16(&mut b[0x3c..], self.s_errors);
        LE::write_u16(&mut b[0x3e..], self.s_minor_rev_level);
        LE::write_u32(&mut b[0x40..], self.s_lastcheck);
        LE::write_u32(&mut b[0x44..], self.s_checkinterval);
        LE::write_u32(&mut b[0x48..], self.s_creator_os);
        LE::write_u32(&mut b[0x4c..], self.s_rev_level);
        LE::write_u16(&mut b[0x50..], self.s_def_resuid);
        LE::write_u16(&mut b[0x52..], self.s_def_resgid);
        LE::write_u32(&mut b[0x54..], self.s_first_ino);
        LE::write_u16(&mut b[0x58..], self.s_inode_size);
        LE::write_u16(&mut b[0x5a..], self.s_block_group_nr);
        LE::write_u32(&mut b[0x5c..], self.s_feature_compat);
        LE::write_u32(&mut b[0x60..], self.s_feature_incompat);
        LE::write_u32(&mut b[0x64..], self.s_feature_ro_compat);
        b[0x68..0x78].copy_from_slice(&self.s_uuid);
        b[0x78..0x88].copy_from_slice(&self.s_volume_name);
        b[0x88..0xc8].copy_from_slice(&self.s_last_mounted);
        LE::write_u32(&mut b[0xc8..], self.s_algorithm_usage_bitmap);
        b[0xcc] = self.s_prealloc_blocks;
        b[0xcd] = self.s_prealloc_dir_blocks;
        LE::write_u16(&mut b[0xce..], self.s_reserved_gdt_blocks);
        b[0xd0..0xe0].copy_from_slice(&self.s_journal_uuid);
        LE::write_u32(&mut b[0xe0..], self.s_journal_inum);
        LE::write_u32(&mut b[0xe4..], self.s_journal_dev);
        LE::write_u32(&mut b[0xe8..], self.s_last_orphan);
        b[0xec..0xfc].copy_from_slice(&self.s_hash_seed);
        b[0xfc] = self.s_def_hash_version;
        b[0xfd] = self.s_jnl_backup_type;
        LE::write_u16(&mut b[0xfe..], self.s_desc_size);
    }

    /// From `s_default_mount_opts`.
    fn encode_second_part(&self, b: &mut [u8; SUPERBLOCK_BYTES]) {
        LE::write_u32(&mut b[0x100..], self.s_default_mount_opts);
        LE::write_u32(&mut b[0x104..], self.s_first_meta_bg);
        LE::write_u32(&mut b[0x108..], self.s_mkfs_time);
        LE::write_u32_into(&self.s_jnl_blocks, &mut b[0x10c..0x150]);
        LE::write_u32(&mut b[0x150..], self.s_blocks_count_hi);
        LE::write_u32(&mut b[0x154..], self.s_r_blocks_count_hi);
        LE::write_u32(&mut b[0x158..], self.s_free_blocks_count_hi);
        LE::write_u16(&mut b[0x15c..], self.s_min_extra_isize);
        LE::write_u16(&mut b[0x15e..], self.s_want_extra_isize);
        LE::write_u32(&mut b[0x160..], self.s_flags);
        LE::write_u16(&mut b[0x164..], self.s_raid_stride);
        LE::write_u16(&mut b[0x166..], self.s_mmp_interval);
        LE::write_u64(&mut b[0x168..], self.s_mmp_block);
        LE::write_u32(&mut b[0x170..], self.s_raid_stripe_width);
        b[0x174] = self.s_log_groups_per_flex;
        b[0x175] = self.s_checksum_type;
        b[0x176] = self.s_encryption_level;
        LE::write_u64(&mut b[0x178..], self.s_kbytes_written);
        LE::write_u32(&mut b[0x180..], self.s_snapshot_inum);
        LE::write_u32(&mut b[0x184..], self.s_snapshot_id);
        LE::write_u64(&mut b[0x188..], self.s_snapshot_r_blocks_count);
        LE::write_u32(&mut b[0x190..], self.s_snapshot_list);
        LE::write_u32(&mut b[0x194..], self.s_error_count);
        b[0x198..0x200].copy_from_slice(&self.s_error_details);
        b[0x200..0x240].copy_from_slice(&self.s_mount_opts);
        LE::write_u32(&mut b[0x240..], self.s_usr_quota_inum);
        LE::write_u32(&mut b[0x244..], self.s_grp_quota_inum);
        LE::write_u32(&mut b[0x248..], self.s_overhead_clusters);
        b[0x24c..0x254].copy_from_slice(&self.s_backup_bgs);
        b[0x254..0x258].copy_from_slice(&self.s_encrypt_algos);
        b[0x258..0x268].copy_from_slice(&self.s_encrypt_pw_salt);
        LE::write_u32(&mut b[0x268..], self.s_lpf_ino);
        LE::write_u32(&mut b[0x26c..], self.s_prj_quota_inum);
        LE::write_u32(&mut b[0x270..], self.s_checksum_seed);
        b[0x274] = self.s_wtime_hi;
        b[0x275] = self.s_mtime_hi;
        b[0x276] = self.s_mkfs_time_hi;
        b[0x277] = self.s_lastcheck_hi;
        b[0x278] = self.s_first_error_time_hi;
        b[0x279] = self.s_last_error_time_hi;
        b[0x27a] = self.s_first_error_errcode;
        b[0x27b] = self.s_last_error_errcode;
        LE::write_u16(&mut b[0x27c..], self.s_encoding);
        LE::write_u16(&mut b[0x27e..], self.s_encoding_flags);
        LE::write_u32(&mut b[0x280..], self.s_orphan_file_inum);
        LE::write_u32(&mut b[0x3fc..], self.s_checksum);
    }

    /// Reads what [`Superblock::encode`] gives; no field is judged.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line a field, in the order of encode")]
    pub fn decode(b: &[u8; SUPERBLOCK_BYTES]) -> Self {
        Self {
            s_inodes_count: LE::read_u32(&b[0x0..]),
            s_blocks_count_lo: LE::read_u32(&b[0x4..]),
            s_r_blocks_count_lo: LE::read_u32(&b[0x8..]),
            s_free_blocks_count_lo: LE::read_u32(&b[0xc..]),
            s_free_inodes_count: LE::read_u32(&b[0x10..]),
            s_first_data_block: LE::read_u32(&b[0x14..]),
            s_log_block_size: LE::read_u32(&b[0x18..]),
            s_log_cluster_size: LE::read_u32(&b[0x1c..]),
            s_blocks_per_group: LE::read_u32(&b[0x20..]),
            s_clusters_per_group: LE::read_u32(&b[0x24..]),
            s_inodes_per_group: LE::read_u32(&b[0x28..]),
            s_mtime: LE::read_u32(&b[0x2c..]),
            s_wtime: LE::read_u32(&b[0x30..]),
            s_mnt_count: LE::read_u16(&b[0x34..]),
            s_max_mnt_count: LE::read_u16(&b[0x36..]),
            s_magic: LE::read_u16(&b[0x38..]),
            s_state: LE::read_u16(&b[0x3a..]),
            s_errors: LE::read_u16(&b[0x3c..]),
            s_minor_rev_level: LE::read_u16(&b[0x3e..]),
            s_lastcheck: LE::read_u32(&b[0x40..]),
            s_checkinterval: LE::read_u32(&b[0x44..]),
            s_creator_os: LE::read_u32(&b[0x48..]),
            s_rev_level: LE::read_u32(&b[0x4c..]),
            s_def_resuid: LE::read_u16(&b[0x50..]),
            s_def_resgid: LE::read_u16(&b[0x52..]),
            s_first_ino: LE::read_u32(&b[0x54..]),
            s_inode_size: LE::read_u16(&b[0x58..]),
            s_block_group_nr: LE::read_u16(&b[0x5a..]),
            s_feature_compat: LE::read_u32(&b[0x5c..]),
            s_feature_incompat: LE::read_u32(&b[0x60..]),
            s_feature_ro_compat: LE::read_u32(&b[0x64..]),
            s_uuid: bytes(b, 0x68),
            s_volume_name: bytes(b, 0x78),
            s_last_mounted: bytes(b, 0x88),
            s_algorithm_usage_bitmap: LE::read_u32(&b[0xc8..]),
            s_prealloc_blocks: b[0xcc],
            s_prealloc_dir_blocks: b[0xcd],
            s_reserved_gdt_blocks: LE::read_u16(&b[0xce..]),
            s_journal_uuid: bytes(b, 0xd0),
            s_journal_inum: LE::read_u32(&b[0xe0..]),
            s_journal_dev: LE::read_u32(&b[0xe4..]),
            s_last_orphan: LE::read_u32(&b[0xe8..]),
            s_hash_seed: bytes(b, 0xec),
            s_def_hash_version: b[0xfc],
            s_jnl_backup_type: b[0xfd],
            s_desc_size: LE::read_u16(&b[0xfe..]),
            s_default_mount_opts: LE::read_u32(&b[0x100..]),
            s_first_meta_bg: LE::read_u32(&b[0x104..]),
            s_mkfs_time: LE::read_u32(&b[0x108..]),
            s_jnl_blocks: {
                let mut words = [0; 17];
                LE::read_u32_into(&b[0x10c..0x150], &mut words);
                words
            },
            s_blocks_count_hi: LE::read_u32(&b[0x150..]),
            s_r_blocks_count_hi: LE::read_u32(&b[0x154..]),
            s_free_blocks_count_hi: LE::read_u32(&b[0x158..]),
            s_min_extra_isize: LE::read_u16(&b[0x15c..]),
            s_want_extra_isize: LE::read_u16(&b[0x15e..]),
            s_flags: LE::read_u32(&b[0x160..]),
            s_raid_stride: LE::read_u16(&b[0x164..]),
            s_mmp_interval: LE::read_u16(&b[0x166..]),
            s_mmp_block: LE::read_u64(&b[0x168..]),
            s_raid_stripe_width: LE::read_u32(&b[0x170..]),
            s_log_groups_per_flex: b[0x174],
            s_checksum_type: b[0x175],
            s_encryption_level: b[0x176],
            s_kbytes_written: LE::read_u64(&b[0x178..]),
            s_snapshot_inum: LE::read_u32(&b[0x180..]),
            s_snapshot_id: LE::read_u32(&b[0x184..]),
            s_snapshot_r_blocks_count: LE::read_u64(&b[0x188..]),
            s_snapshot_list: LE::read_u32(&b[0x190..]),
            s_error_count: LE::read_u32(&b[0x194..]),
            s_error_details: bytes(b, 0x198),
            s_mount_opts: bytes(b, 0x200),
            s_usr_quota_inum: LE::read_u32(&b[0x240..]),
            s_grp_quota_inum: LE::read_u32(&b[0x244..]),
            s_overhead_clusters: LE::read_u32(&b[0x248..]),
            s_backup_bgs: bytes(b, 0x24c),
            s_encrypt_algos: bytes(b, 0x254),
            s_encrypt_pw_salt: bytes(b, 0x258),
            s_lpf_ino: LE::read_u32(&b[0x268..]),
            s_prj_quota_inum: LE::read_u32(&b[0x26c..]),
            s_checksum_seed: LE::read_u32(&b[0x270..]),
            s_wtime_hi: b[0x274],
            s_mtime_hi: b[0x275],
            s_mkfs_time_hi: b[0x276],
            s_lastcheck_hi: b[0x277],
            s_first_error_time_hi: b[0x278],
            s_last_error_time_hi: b[0x279],
            s_first_error_errcode: b[0x27a],
            s_last_error_errcode: b[0x27b],
            s_encoding: LE::read_u16(&b[0x27c..]),
            s_encoding_flags: LE::read_u16(&b[0x27e..]),
            s_orphan_file_inum: LE::read_u32(&b[0x280..]),
            s_checksum: LE::read_u32(&b[0x3fc..]),
        }
    }

    /// The bytes on disk with the right `s_checksum`.
    #[must_use]
    pub fn encode_with_checksum(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut b = self.encode();
        if self.s_feature_ro_compat & ro_compat::METADATA_CSUM == 0 {
            return b;
        }
        let checksum = Self::checksum(&b);
        LE::write_u32(&mut b[0x3fc..], checksum);
        b
    }

    /// What `s_checksum` must be for these bytes.
    #[must_use]
    pub fn checksum(b: &[u8; SUPERBLOCK_BYTES]) -> u32 {
        crc32c(!0, &b[..0x3fc])
    }

    /// Bytes in a block, if the field makes sense (1 to 64 KiB).
    #[must_use]
    pub fn block_bytes(&self) -> Option<u64> {
        (self.s_log_block_size <= 6).then(|| 1024 << self.s_log_block_size)
    }

    /// Blocks in all.
    #[must_use]
    pub fn blocks_count(&self) -> u64 {
        self.joined(self.s_blocks_count_lo, self.s_blocks_count_hi)
    }

    /// Free blocks.
    #[must_use]
    pub fn free_blocks_count(&self) -> u64 {
        self.joined(self.s_free_blocks_count_lo, self.s_free_blocks_count_hi)
    }

    /// Blocks that only the reserved owner may take.
    #[must_use]
    pub fn reserved_blocks_count(&self) -> u64 {
        self.joined(self.s_r_blocks_count_lo, self.s_r_blocks_count_hi)
    }

    /// The high halves count only under the feature 64bit.
    fn joined(&self, low: u32, high: u32) -> u64 {
        let high = if self.s_feature_incompat & incompat::BIT64 == 0 { 0 } else { high };
        u64::from(low) | u64::from(high) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that all differ from their neighbours, so that a field read at a wrong offset shows.
    fn pattern() -> [u8; SUPERBLOCK_BYTES] {
        let mut b = [0; SUPERBLOCK_BYTES];
        for (at, byte) in b.iter_mut().enumerate() {
            *byte = u8::try_from((at * 7 + at / 251) % 256).unwrap();
        }
        b
    }

    #[test]
    fn encode_is_the_inverse_of_decode() {
        let superblock = Superblock::decode(&pattern());
        assert_eq!(Superblock::decode(&superblock.encode()), superblock);
    }

    #[test]
    fn fields_lie_where_the_specification_has_them() {
        let b = pattern();
        let superblock = Superblock::decode(&b);
        let at = |offset: usize| LE::read_u32(&b[offset..]);
        let at16 = |offset: usize| LE::read_u16(&b[offset..]);
        for (name, value, expected) in [
            ("s_inodes_count", superblock.s_inodes_count, at(0x0)),
            ("s_wtime", superblock.s_wtime, at(0x30)),
            ("s_magic", superblock.s_magic.into(), at16(0x38).into()),
            ("s_lastcheck", superblock.s_lastcheck, at(0x40)),
            ("s_first_ino", superblock.s_first_ino, at(0x54)),
            ("s_feature_ro_compat", superblock.s_feature_ro_compat, at(0x64)),
            ("s_reserved_gdt_blocks", superblock.s_reserved_gdt_blocks.into(), at16(0xce).into()),
            ("s_journal_inum", superblock.s_journal_inum, at(0xe0)),
            ("s_desc_size", superblock.s_desc_size.into(), at16(0xfe).into()),
            ("s_mkfs_time", superblock.s_mkfs_time, at(0x108)),
            ("s_jnl_blocks[16]", superblock.s_jnl_blocks[16], at(0x14c)),
            ("s_blocks_count_hi", superblock.s_blocks_count_hi, at(0x150)),
            ("s_flags", superblock.s_flags, at(0x160)),
            ("s_log_groups_per_flex", superblock.s_log_groups_per_flex.into(), b[0x174].into()),
            ("s_checksum_type", superblock.s_checksum_type.into(), b[0x175].into()),
            ("s_overhead_clusters", superblock.s_overhead_clusters, at(0x248)),
            ("s_checksum_seed", superblock.s_checksum_seed, at(0x270)),
            ("s_orphan_file_inum", superblock.s_orphan_file_inum, at(0x280)),
            ("s_checksum", superblock.s_checksum, at(0x3fc)),
        ] {
            assert_eq!(value, expected, "{name}");
        }
        assert_eq!(superblock.s_uuid, b[0x68..0x78]);
        assert_eq!(superblock.s_hash_seed, b[0xec..0xfc]);
    }

    #[test]
    fn high_halves_count_only_with_64bit() {
        let mut superblock = Superblock { s_blocks_count_lo: 5, s_blocks_count_hi: 1, ..Superblock::default() };
        assert_eq!(superblock.blocks_count(), 5);
        superblock.s_feature_incompat = incompat::BIT64;
        assert_eq!(superblock.blocks_count(), 5 + (1 << 32));
    }
}
