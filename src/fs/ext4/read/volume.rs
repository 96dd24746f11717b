//! The superblock, checked before anything is taken from it, and what follows from it: where groups and descriptors lie.

use super::super::format::{
    Csum, DESCRIPTOR_BYTES, DESCRIPTOR_BYTES_SMALL, FIRST_INO, INODE_BYTES_MIN, SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC, SUPERBLOCK_OFFSET_BYTES, Superblock,
    compat, incompat, ro_compat,
};
use super::super::geometry::has_super;
use super::names::{self, SPARSE_SUPER2, ro_compat_read};
use crate::content::ReadAt;
use crate::error::{Error, ErrorKind, Result};
use crate::units::{KIB, index_of, u64_of, usize_of};
use std::ops::Range;
use std::sync::Arc;

/// The most groups that are read: 64 TiB in blocks of 4 KiB has a quarter of that.
const GROUPS_MAX: u64 = 1 << 21;
/// The largest descriptor (`EXT4_MAX_DESC_SIZE`).
const DESCRIPTOR_BYTES_MAX: u64 = 1024;

/// A filesystem whose superblock has been checked.
pub(super) struct Volume {
    /// What is read, with what the journal holds laid over it.
    pub(super) disk: Arc<dyn ReadAt>,
    pub(super) superblock: Superblock,
    pub(super) block_bytes: u64,
    /// Blocks of a cluster; 1 without bigalloc.
    pub(super) cluster_blocks: u64,
    pub(super) blocks: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) groups: u32,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: usize,
    /// Blocks of one inode table.
    pub(super) table_blocks: u64,
    /// The first inode that is not reserved.
    pub(super) first_ino: u32,
    pub(super) descriptor_bytes: usize,
    /// Blocks of all descriptors.
    pub(super) descriptor_blocks: u64,
    /// Checksums of metadata.
    pub(super) csum: Csum,
    /// Hashes of values that have inodes of their own.
    pub(super) value_hashes: Csum,
}

/// The superblock, if there is one.
///
/// # Errors
/// Those of `disk`.
pub(super) fn superblock(disk: &dyn ReadAt) -> Result<Option<[u8; SUPERBLOCK_BYTES]>> {
    if disk.size_bytes() < SUPERBLOCK_OFFSET_BYTES + u64_of(SUPERBLOCK_BYTES) {
        return Ok(None);
    }
    let mut bytes = [0; SUPERBLOCK_BYTES];
    disk.read_exact_at(SUPERBLOCK_OFFSET_BYTES, &mut bytes)?;
    Ok((Superblock::decode(&bytes).s_magic == SUPERBLOCK_MAGIC).then_some(bytes))
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("the ext4 superblock {what}")).at_offset(SUPERBLOCK_OFFSET_BYTES)
}

/// Whether a superblock has the checksum that it should have, if it has one.
pub(super) fn checksum_is_right(bytes: &[u8; SUPERBLOCK_BYTES]) -> bool {
    let superblock = Superblock::decode(bytes);
    superblock.s_feature_ro_compat & ro_compat::METADATA_CSUM == 0 || superblock.s_checksum == Superblock::checksum(bytes)
}

/// Says where a copy of a superblock that is damaged lies, if one is found where mke2fs puts the first.
fn where_a_backup_lies(disk: &dyn ReadAt) -> String {
    for log in 0..=6_u32 {
        let block_bytes = KIB << log;
        let offset = (u64::from(log == 0) + 8 * block_bytes) * block_bytes;
        let mut bytes = [0; SUPERBLOCK_BYTES];
        if disk.read_exact_at(offset, &mut bytes).is_err() {
            break;
        }
        let copy = Superblock::decode(&bytes);
        if copy.s_magic == SUPERBLOCK_MAGIC && copy.s_log_block_size == log && checksum_is_right(&bytes) {
            let block = offset / block_bytes;
            return format!("; a copy that looks right lies at byte {offset} (e2fsck -b {block} -B {block_bytes})");
        }
    }
    "; no copy was found where the first one should be".to_owned()
}

impl Volume {
    /// Checks a superblock.
    ///
    /// # Errors
    /// What contradicts itself or the disk, features that are not known, by name.
    pub(super) fn new(disk: Arc<dyn ReadAt>, bytes: &[u8; SUPERBLOCK_BYTES]) -> Result<Self> {
        let s = Superblock::decode(bytes);
        if !checksum_is_right(bytes) {
            return Err(corrupt(format_args!("has a wrong checksum{}", where_a_backup_lies(&*disk))));
        }
        if s.s_rev_level > 1 {
            return Err(Error::unsupported(format!("ext4 of revision {}; revisions 0 and 1 are known", s.s_rev_level)));
        }
        names::refuse(&s)?;
        let block_bytes = s.block_bytes().ok_or_else(|| corrupt(format_args!("says a block size of 2^{} KiB; 1 to 64 are possible", s.s_log_block_size)))?;
        let blocks = s.blocks_count();
        let needed =
            blocks.checked_mul(block_bytes).filter(|bytes| *bytes <= i64::MAX.unsigned_abs()).ok_or_else(|| corrupt(format_args!("says {blocks} blocks")))?;
        let available = disk.size_bytes();
        if needed > available {
            let what = format!("the ext4 filesystem is cut off: {needed} bytes are needed, {available} are there");
            return Err(Error::new(ErrorKind::TooSmall { needed, available }, what));
        }
        let bigalloc = s.s_feature_ro_compat & ro_compat_read::BIGALLOC != 0;
        let cluster_blocks = cluster_blocks(&s, bigalloc)?;
        let first_data_block = u64::from(s.s_first_data_block);
        let expected = u64::from(block_bytes == KIB && !bigalloc);
        if first_data_block != expected {
            return Err(corrupt(format_args!("says that the first group begins at block {first_data_block}; it must be {expected}")));
        }
        if blocks <= first_data_block {
            return Err(corrupt(format_args!("says {blocks} blocks")));
        }
        let blocks_per_group = u64::from(s.s_blocks_per_group);
        if blocks_per_group < 8 || blocks_per_group > 8 * block_bytes * cluster_blocks {
            return Err(corrupt(format_args!("says {blocks_per_group} blocks a group; 8 to {} are possible", 8 * block_bytes * cluster_blocks)));
        }
        let groups = (blocks - first_data_block).div_ceil(blocks_per_group);
        if groups > GROUPS_MAX {
            return Err(Error::limit(format!("an ext4 filesystem of {groups} block groups; at most {GROUPS_MAX} are read")).at_offset(SUPERBLOCK_OFFSET_BYTES));
        }
        let groups = u32::try_from(groups).expect("at most GROUPS_MAX");
        let (descriptor_bytes, first_ino, inode_bytes) = (descriptor_bytes(&s)?, first_ino(&s)?, inode_bytes(&s, block_bytes)?);
        let table_blocks = table_blocks(&s, groups, inode_bytes, block_bytes, blocks)?;
        let mut volume = Self {
            disk,
            block_bytes,
            cluster_blocks,
            blocks,
            first_data_block,
            blocks_per_group,
            groups,
            inodes: s.s_inodes_count,
            inodes_per_group: s.s_inodes_per_group,
            inode_bytes: usize_of(inode_bytes),
            table_blocks,
            first_ino,
            descriptor_bytes: usize_of(descriptor_bytes),
            descriptor_blocks: (u64::from(groups) * descriptor_bytes).div_ceil(block_bytes),
            csum: Csum::OFF,
            value_hashes: seed(&s),
            superblock: s,
        };
        volume.check_rest()?;
        Ok(volume)
    }

    fn check_rest(&mut self) -> Result<()> {
        let s = &self.superblock;
        if u64::from(s.s_reserved_gdt_blocks) > self.block_bytes / 4 {
            return Err(corrupt(format_args!("says {} reserved descriptor blocks; at most {} are possible", s.s_reserved_gdt_blocks, self.block_bytes / 4)));
        }
        if self.has_ro_compat(ro_compat::METADATA_CSUM) {
            if s.s_checksum_type != 1 {
                return Err(Error::unsupported(format!("ext4 with metadata checksums of type {}; 1 (CRC-32C) is known", s.s_checksum_type)));
            }
            self.csum = seed(s);
        }
        let last = self.descriptors_at(self.descriptor_blocks - 1);
        if last >= self.blocks {
            return Err(corrupt(format_args!("asks for {} blocks of group descriptors, which do not fit into {} blocks", self.descriptor_blocks, self.blocks)));
        }
        Ok(())
    }

    pub(super) fn has_compat(&self, bit: u32) -> bool {
        self.superblock.s_feature_compat & bit != 0
    }

    pub(super) fn has_incompat(&self, bit: u32) -> bool {
        self.superblock.s_feature_incompat & bit != 0
    }

    pub(super) fn has_ro_compat(&self, bit: u32) -> bool {
        self.superblock.s_feature_ro_compat & bit != 0
    }

    /// Whether group descriptors have checksums, so that parts of a group may be marked as never written.
    pub(super) fn has_group_checksums(&self) -> bool {
        self.has_ro_compat(ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM)
    }

    /// The size of a block for slices.
    pub(super) fn block_len(&self) -> usize {
        usize_of(self.block_bytes)
    }

    /// The offset of a block.
    pub(super) fn offset(&self, block: u64) -> u64 {
        block * self.block_bytes
    }

    /// The first block of `group`.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }

    /// The end of `group`: the block after its last.
    pub(super) fn group_end(&self, group: u32) -> u64 {
        (self.group_start(group) + self.blocks_per_group).min(self.blocks)
    }

    /// Whether all of these blocks are inside of the filesystem.
    pub(super) fn holds(&self, start: u64, blocks: u64) -> bool {
        start >= self.first_data_block && start.checked_add(blocks).is_some_and(|end| end <= self.blocks)
    }

    /// Whether `group` has a copy of the superblock.
    pub(super) fn has_super(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.has_compat(SPARSE_SUPER2) {
            return self.superblock.s_backup_bgs.chunks_exact(4).any(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) == group);
        }
        !self.has_ro_compat(ro_compat::SPARSE_SUPER) || has_super(u64::from(group))
    }

    /// The block of the superblock in `group`. With blocks of 1 KiB in clusters group 0 begins with block 0, and its superblock is in 1.
    pub(super) fn super_block(&self, group: u32) -> u64 {
        let start = self.group_start(group);
        if start == 0 && self.block_bytes == KIB { 1 } else { start }
    }

    fn descriptors_per_block(&self) -> u64 {
        self.block_bytes / u64_of(self.descriptor_bytes)
    }

    /// From which block of descriptors on they lie in their own groups.
    fn first_meta_bg(&self) -> u64 {
        if self.has_incompat(incompat::META_BG) { u64::from(self.superblock.s_first_meta_bg) } else { u64::MAX }
    }

    /// Where the primary copy of block number `number` of the descriptors lies.
    pub(super) fn descriptors_at(&self, number: u64) -> u64 {
        if number < self.first_meta_bg() {
            return self.super_block(0) + 1 + number;
        }
        let group = u32::try_from(number * self.descriptors_per_block()).unwrap_or(u32::MAX);
        self.super_block(group) + u64::from(self.has_super(group))
    }

    /// The descriptors in `group`: which ones, by number of their block, and where.
    pub(super) fn descriptors_in(&self, group: u32) -> (Range<u64>, u64) {
        let per_block = self.descriptors_per_block();
        let (number, place) = (u64::from(group) / per_block, u64::from(group) % per_block);
        let has_super = self.has_super(group);
        if number < self.first_meta_bg() {
            let count = if has_super { self.descriptor_blocks.min(self.first_meta_bg()) } else { 0 };
            return (0..count, self.super_block(group) + 1);
        }
        let there = place <= 1 || place == per_block - 1;
        (number..number + u64::from(there), self.super_block(group) + u64::from(has_super))
    }

    /// Blocks behind the descriptors in `group` that are kept for growth.
    pub(super) fn reserved_in(&self, group: u32) -> u64 {
        let old = u64::from(group) / self.descriptors_per_block() < self.first_meta_bg();
        if old && self.has_super(group) && !self.has_incompat(incompat::META_BG) { u64::from(self.superblock.s_reserved_gdt_blocks) } else { 0 }
    }

    /// The group of an inode and its place there; `None` for a number that there is not.
    pub(super) fn place_of(&self, ino: u32) -> Option<(u32, u32)> {
        let at = ino.checked_sub(1).filter(|at| *at < self.inodes)?;
        Some((at / self.inodes_per_group, at % self.inodes_per_group))
    }

    /// The journal's inode, if there is one.
    pub(super) fn journal_ino(&self) -> Option<u32> {
        Some(self.superblock.s_journal_inum).filter(|ino| *ino != 0 && self.has_compat(compat::HAS_JOURNAL))
    }

    /// Bits of the bitmaps of a group: clusters and inodes.
    pub(super) fn clusters_per_group(&self) -> u64 {
        self.blocks_per_group / self.cluster_blocks
    }

    /// Entries of a bitmap of blocks in `group`.
    pub(super) fn clusters_in(&self, group: u32) -> u64 {
        (self.group_end(group) - self.group_start(group)).div_ceil(self.cluster_blocks)
    }

    /// The size of an inode's number space in a group, for slices.
    pub(super) fn inodes_per_group_len(&self) -> usize {
        index_of(self.inodes_per_group)
    }
}

fn seed(s: &Superblock) -> Csum {
    if s.s_feature_incompat & incompat::CSUM_SEED != 0 { Csum::of_seed(s.s_checksum_seed) } else { Csum::of_uuid(&s.s_uuid) }
}

fn cluster_blocks(s: &Superblock, bigalloc: bool) -> Result<u64> {
    if !bigalloc {
        return Ok(1);
    }
    // 512 MiB is the largest cluster that mke2fs makes.
    let ratio = s.s_log_cluster_size.checked_sub(s.s_log_block_size).filter(|_| s.s_log_cluster_size <= 19);
    let ratio = ratio.ok_or_else(|| corrupt(format_args!("says clusters of 2^{} KiB and blocks of 2^{}", s.s_log_cluster_size, s.s_log_block_size)))?;
    if u64::from(s.s_blocks_per_group) != u64::from(s.s_clusters_per_group) << ratio {
        return Err(corrupt(format_args!("says {} clusters of 2^{ratio} blocks and {} blocks a group", s.s_clusters_per_group, s.s_blocks_per_group)));
    }
    Ok(1 << ratio)
}

fn descriptor_bytes(s: &Superblock) -> Result<u64> {
    if s.s_feature_incompat & incompat::BIT64 == 0 {
        return Ok(u64_of(DESCRIPTOR_BYTES_SMALL));
    }
    let bytes = u64::from(s.s_desc_size);
    if bytes < u64_of(DESCRIPTOR_BYTES) || bytes > DESCRIPTOR_BYTES_MAX || !bytes.is_power_of_two() {
        return Err(corrupt(format_args!("says descriptors of {bytes} bytes; a power of two from 64 to {DESCRIPTOR_BYTES_MAX} is possible")));
    }
    Ok(bytes)
}

fn first_ino(s: &Superblock) -> Result<u32> {
    if s.s_rev_level == 0 {
        return Ok(FIRST_INO);
    }
    if s.s_first_ino < FIRST_INO || s.s_first_ino > s.s_inodes_count {
        return Err(corrupt(format_args!("says that inodes below {} of {} are reserved; {FIRST_INO} is the least", s.s_first_ino, s.s_inodes_count)));
    }
    Ok(s.s_first_ino)
}

fn inode_bytes(s: &Superblock, block_bytes: u64) -> Result<u64> {
    let bytes = if s.s_rev_level == 0 { u64_of(INODE_BYTES_MIN) } else { u64::from(s.s_inode_size) };
    if bytes < u64_of(INODE_BYTES_MIN) || bytes > block_bytes || !bytes.is_power_of_two() {
        return Err(corrupt(format_args!("says inodes of {bytes} bytes; a power of two from {INODE_BYTES_MIN} to {block_bytes} is possible")));
    }
    Ok(bytes)
}

/// Blocks of one inode table.
fn table_blocks(s: &Superblock, groups: u32, inode_bytes: u64, block_bytes: u64, blocks: u64) -> Result<u64> {
    let per_group = u64::from(s.s_inodes_per_group);
    if per_group == 0 || per_group > 8 * block_bytes {
        return Err(corrupt(format_args!("says {per_group} inodes a group; 1 to {} are possible", 8 * block_bytes)));
    }
    if per_group * u64::from(groups) != u64::from(s.s_inodes_count) {
        return Err(corrupt(format_args!("says {} inodes; {groups} groups with {per_group} each have {}", s.s_inodes_count, per_group * u64::from(groups))));
    }
    let table_blocks = (per_group * inode_bytes).div_ceil(block_bytes);
    if table_blocks * u64::from(groups) >= blocks {
        return Err(corrupt(format_args!("says {} inodes, whose tables do not fit into {blocks} blocks", s.s_inodes_count)));
    }
    Ok(table_blocks)
}
