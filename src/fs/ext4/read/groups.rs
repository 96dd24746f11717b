//! Group descriptors: where bitmaps and inode tables lie, and what should be free.

use super::super::format::{BLOCK_UNINIT, DESCRIPTOR_BYTES, GroupDescriptor, INODE_UNINIT, ro_compat};
use super::cache::Cache;
use super::claims::{Claims, What};
use super::findings::Findings;
use super::volume::Volume;
use crate::crc::crc16;
use crate::error::{Error, Result};
use crate::units::{index_of, u64_of};

/// Where `bg_checksum` stands.
const CHECKSUM_AT: usize = 0x1e;

/// A block group by its descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) table: u64,
    pub(super) free_clusters: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Inodes at the table's end that were never in use.
    pub(super) unused: u32,
    pub(super) block_bitmap_csum: u32,
    pub(super) inode_bitmap_csum: u32,
    flags: u16,
    /// Whether something is said never to have been used.
    pub(super) says_unused: bool,
    /// Whether the table is where a table can be.
    pub(super) has_table: bool,
}

impl Group {
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn joined16(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// Where a descriptor has its bitmaps and its inode table.
pub(super) fn places(raw: &[u8]) -> [u64; 3] {
    let mut bytes = [0; DESCRIPTOR_BYTES];
    let len = raw.len().min(DESCRIPTOR_BYTES);
    bytes[..len].copy_from_slice(&raw[..len]);
    let d = GroupDescriptor::decode(&bytes);
    [joined(d.bg_block_bitmap_lo, d.bg_block_bitmap_hi), joined(d.bg_inode_bitmap_lo, d.bg_inode_bitmap_hi), joined(d.bg_inode_table_lo, d.bg_inode_table_hi)]
}

/// What `bg_checksum` must be; `None` where there are no checksums.
pub(super) fn checksum(volume: &Volume, group: u32, raw: &[u8]) -> Option<u16> {
    let number = group.to_le_bytes();
    if volume.csum.is_on() {
        let [low, high, ..] = volume.csum.over(&[&number, &raw[..CHECKSUM_AT], &[0; 2], &raw[CHECKSUM_AT + 2..]]).to_le_bytes();
        return Some(u16::from_le_bytes([low, high]));
    }
    let parts = [&volume.superblock.s_uuid[..], &number, &raw[..CHECKSUM_AT], &raw[CHECKSUM_AT + 2..]];
    volume.has_ro_compat(ro_compat::GDT_CSUM).then(|| parts.into_iter().fold(!0, crc16))
}

impl Volume {
    fn group(&self, raw: &[u8]) -> Group {
        let mut bytes = [0; DESCRIPTOR_BYTES];
        let len = raw.len().min(DESCRIPTOR_BYTES);
        bytes[..len].copy_from_slice(&raw[..len]);
        let d = GroupDescriptor::decode(&bytes);
        let [block_bitmap, inode_bitmap, table] = places(raw);
        // Without checksums nothing may be said to be not in use.
        let trusted = self.has_group_checksums();
        Group {
            block_bitmap,
            inode_bitmap,
            table,
            free_clusters: joined16(d.bg_free_blocks_count_lo, d.bg_free_blocks_count_hi),
            free_inodes: joined16(d.bg_free_inodes_count_lo, d.bg_free_inodes_count_hi),
            directories: joined16(d.bg_used_dirs_count_lo, d.bg_used_dirs_count_hi),
            unused: if trusted { joined16(d.bg_itable_unused_lo, d.bg_itable_unused_hi) } else { 0 },
            block_bitmap_csum: joined16(d.bg_block_bitmap_csum_lo, d.bg_block_bitmap_csum_hi),
            inode_bitmap_csum: joined16(d.bg_inode_bitmap_csum_lo, d.bg_inode_bitmap_csum_hi),
            flags: if trusted { d.bg_flags } else { d.bg_flags & !(BLOCK_UNINIT | INODE_UNINIT) },
            says_unused: d.bg_flags & (BLOCK_UNINIT | INODE_UNINIT) != 0 || d.bg_itable_unused_lo != 0,
            has_table: self.holds(table, self.table_blocks),
        }
    }
}

/// Reads all descriptors and claims what they point to.
///
/// # Errors
/// Those of the disk.
pub(super) fn read(volume: &Volume, cache: &mut Cache, claims: &mut Claims, damage: &mut Findings) -> Result<Vec<Group>> {
    let mut groups = Vec::with_capacity(index_of(volume.groups));
    let mut number = 0;
    for block in 0..volume.descriptor_blocks {
        let offset = volume.offset(volume.descriptors_at(block));
        let bytes = cache.bytes(offset, volume.block_len())?;
        for (raw, at) in bytes.chunks_exact(volume.descriptor_bytes).zip(0_u64..) {
            if number == volume.groups {
                break;
            }
            let group = volume.group(raw);
            let place = offset + at * u64_of(volume.descriptor_bytes);
            judge(volume, number, raw, &group, place, damage);
            claim(volume, number, &group, claims);
            groups.push(group);
            number += 1;
        }
    }
    Ok(groups)
}

fn judge(volume: &Volume, number: u32, raw: &[u8], group: &Group, place: u64, damage: &mut Findings) {
    let found = u16::from_le_bytes([raw[CHECKSUM_AT], raw[CHECKSUM_AT + 1]]);
    if let Some(expected) = checksum(volume, number, raw).filter(|expected| *expected != found) {
        damage.push(
            Error::corrupt(format!("the descriptor of block group {number} has the checksum {found:#06x}; it should be {expected:#06x}")).at_offset(place),
        );
    }
    for (what, block, blocks) in
        [("block bitmap", group.block_bitmap, 1), ("inode bitmap", group.inode_bitmap, 1), ("inode table", group.table, volume.table_blocks)]
    {
        if !volume.holds(block, blocks) {
            let last = volume.blocks - 1;
            damage.push(
                Error::corrupt(format!(
                    "block group {number} has its {what} at block {block}; the filesystem has blocks {} to {last}",
                    volume.first_data_block
                ))
                .at_offset(place),
            );
        }
    }
}

fn claim(volume: &Volume, number: u32, group: &Group, claims: &mut Claims) {
    if volume.has_super(number) {
        claims.structure(What::Superblock, Some(number), volume.super_block(number), 1);
    }
    let (descriptors, at) = volume.descriptors_in(number);
    let count = descriptors.end - descriptors.start;
    // The last group may be too small for copies.
    let fits = |start: u64, count: u64| count.min(volume.blocks.saturating_sub(start));
    claims.structure(What::Descriptors, Some(number), at, fits(at, count));
    claims.structure(What::ReservedDescriptors, Some(number), at + count, fits(at + count, volume.reserved_in(number)));
    if volume.holds(group.block_bitmap, 1) {
        claims.structure(What::BlockBitmap, Some(number), group.block_bitmap, 1);
    }
    if volume.holds(group.inode_bitmap, 1) {
        claims.structure(What::InodeBitmap, Some(number), group.inode_bitmap, 1);
    }
    if group.has_table {
        claims.structure(What::InodeTable, Some(number), group.table, volume.table_blocks);
    }
}
