//! Block groups: their counters, bitmaps and flags, from runs of blocks and the number of inodes; never block by block.

use super::fixed::Fixed;
use super::format::{BLOCK_UNINIT, Csum, GroupDescriptor, INODE_UNINIT, INODE_ZEROED};
use super::geometry::Geometry;
use super::numbers::Numbers;
use super::place::Placement;
use crate::units::{u64_of, usize_of};
use std::ops::Range;

/// What the planner knows of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    /// Blocks in use.
    pub(super) used_blocks: u32,
    /// Blocks in use by fixed metadata alone.
    pub(super) fixed_blocks: u32,
    /// Inodes in use.
    pub(super) used_inodes: u32,
    /// Inodes up to the last one in use: what is written of the table.
    pub(super) table_inodes: u32,
    pub(super) directories: u32,
    pub(super) flags: u16,
    block_bitmap_csum: u32,
    inode_bitmap_csum: u32,
}

impl Group {
    /// Whether the block bitmap is written.
    pub(super) fn has_block_bitmap(&self) -> bool {
        self.flags & BLOCK_UNINIT == 0
    }

    /// Whether the inode bitmap is written.
    pub(super) fn has_inode_bitmap(&self) -> bool {
        self.flags & INODE_UNINIT == 0
    }
}

/// All groups, and what their bitmaps are made from.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) list: Vec<Group>,
    /// The fixed metadata: ascending, disjoint.
    occupied: Vec<Range<u64>>,
    /// Descriptors have checksums, so that they may say what is not in use.
    flagged: bool,
}

impl Groups {
    /// Counts. `directory_inos` are the inodes of directories.
    pub(super) fn new(
        geometry: &Geometry,
        fixed: Fixed,
        placement: &Placement,
        numbers: &Numbers,
        directory_inos: impl Iterator<Item = u32>,
        lazy_tables: bool,
        csum: Csum,
    ) -> Self {
        let mut list = vec![Group::default(); usize_of(geometry.groups)];
        for (number, (group, tables)) in (0_u64..).zip(list.iter_mut().zip(&fixed.tables)) {
            group.block_bitmap = tables.block_bitmap;
            group.inode_bitmap = tables.inode_bitmap;
            group.inode_table = tables.inode_table;
            (group.used_inodes, group.table_inodes) = inodes_in_use(geometry, numbers, number);
        }
        for range in &fixed.occupied {
            each_group(geometry, range.clone(), |group, blocks| list[group].fixed_blocks += blocks);
        }
        for group in &mut list {
            group.used_blocks = group.fixed_blocks;
        }
        for run in placement.runs() {
            each_group(geometry, run.start..run.end(), |group, blocks| list[group].used_blocks += blocks);
        }
        for ino in directory_inos {
            list[usize_of((u64::from(ino) - 1) / geometry.inodes_per_group)].directories += 1;
        }
        let mut groups = Self { list, occupied: fixed.occupied, flagged: geometry.features.has_group_checksums() };
        groups.set_flags(geometry, lazy_tables);
        groups.set_checksums(geometry, placement, numbers, csum);
        groups
    }

    fn set_flags(&mut self, geometry: &Geometry, lazy_tables: bool) {
        if !self.flagged {
            return;
        }
        let last = self.list.len() - 1;
        for (number, group) in self.list.iter_mut().enumerate() {
            let unused_inodes = group.used_inodes == 0;
            if unused_inodes {
                group.flags |= INODE_UNINIT;
            }
            if !(unused_inodes && lazy_tables) {
                group.flags |= INODE_ZEROED;
            }
            // Whoever makes up a bitmap from the descriptors knows a group's own copies and tables, but not those of other groups that
            // lie in it: those groups need a real one. The first and the last group always have one.
            let inside = geometry.group_start(u64_of(number))..geometry.group_end(u64_of(number));
            let parts = [(group.block_bitmap, 1), (group.inode_bitmap, 1), (group.inode_table, geometry.table_blocks)];
            let of_part = |(start, count): (u64, u64)| (start + count).min(inside.end).saturating_sub(start.max(inside.start));
            let own = geometry.backup_blocks(u64_of(number)) + parts.into_iter().map(of_part).sum::<u64>();
            if number != 0 && number != last && u64::from(group.used_blocks) == own {
                group.flags |= BLOCK_UNINIT;
            }
        }
    }

    /// Checksums of the bitmaps that are written; the others have none, as mke2fs leaves them.
    fn set_checksums(&mut self, geometry: &Geometry, placement: &Placement, numbers: &Numbers, csum: Csum) {
        if !csum.is_on() {
            return;
        }
        let mut bitmap = vec![0; usize_of(geometry.block_bytes)];
        for number in 0..self.list.len() {
            let group = self.list[number];
            if group.has_block_bitmap() {
                self.fill_block_bitmap(geometry, placement, u64_of(number), &mut bitmap);
                self.list[number].block_bitmap_csum = csum.over(&[&bitmap[..usize_of(geometry.blocks_per_group / 8)]]);
            }
            if group.has_inode_bitmap() {
                self.fill_inode_bitmap(geometry, numbers, u64_of(number), &mut bitmap);
                self.list[number].inode_bitmap_csum = csum.over(&[&bitmap[..usize_of(geometry.inodes_per_group / 8)]]);
            }
        }
    }

    /// Fills the block bitmap of a group; bits past the group's end are set.
    pub(super) fn fill_block_bitmap(&self, geometry: &Geometry, placement: &Placement, number: u64, bitmap: &mut [u8]) {
        bitmap.fill(0);
        let (start, end) = (geometry.group_start(number), geometry.group_end(number));
        let mut set = |range: Range<u64>| set_bits(bitmap, range.start.max(start) - start..range.end.min(end) - start);
        let first = self.occupied.partition_point(|range| range.end <= start);
        self.occupied[first..].iter().take_while(|range| range.start < end).for_each(|range| set(range.clone()));
        placement.meeting(start..end).for_each(|run| set(run.start..run.end()));
        let bits = u64_of(bitmap.len()) * 8;
        set_bits(bitmap, end - start..bits);
    }

    /// Fills the inode bitmap of a group; bits past the group's inodes are set.
    pub(super) fn fill_inode_bitmap(&self, geometry: &Geometry, numbers: &Numbers, number: u64, bitmap: &mut [u8]) {
        bitmap.fill(0);
        let group = &self.list[usize_of(number)];
        if group.used_inodes == group.table_inodes {
            set_bits(bitmap, 0..u64::from(group.used_inodes));
        } else {
            let first = number * geometry.inodes_per_group + 1;
            let used = (0..u64::from(group.table_inodes)).filter(|at| numbers.is_used(low32(first + at)));
            used.for_each(|at| set_bits(bitmap, at..at + 1));
        }
        let bits = u64_of(bitmap.len()) * 8;
        set_bits(bitmap, geometry.inodes_per_group..bits);
    }

    /// The descriptor of a group.
    pub(super) fn descriptor(&self, geometry: &Geometry, number: u64) -> GroupDescriptor {
        let group = &self.list[usize_of(number)];
        let blocks = geometry.group_end(number) - geometry.group_start(number);
        let free_inodes = geometry.inodes_per_group - u64::from(group.used_inodes);
        let unused_inodes = if self.flagged { geometry.inodes_per_group - u64::from(group.table_inodes) } else { 0 };
        GroupDescriptor {
            bg_flags: group.flags,
            bg_block_bitmap_csum_lo: low16(group.block_bitmap_csum),
            bg_block_bitmap_csum_hi: high16(group.block_bitmap_csum),
            bg_inode_bitmap_csum_lo: low16(group.inode_bitmap_csum),
            bg_inode_bitmap_csum_hi: high16(group.inode_bitmap_csum),
            ..counts(group, blocks - u64::from(group.used_blocks), free_inodes, group.directories, unused_inodes)
        }
    }

    /// The descriptor of a group as the backups have it: of a filesystem without any files. It depends on the size alone, so an image
    /// built again with other contents has the same backups. Who uses a backup counts anew: nothing is said to be unused.
    pub(super) fn backup_descriptor(&self, geometry: &Geometry, number: u64) -> GroupDescriptor {
        let group = &self.list[usize_of(number)];
        let blocks = geometry.group_end(number) - geometry.group_start(number);
        let reserved_inodes = u64::from(super::format::FIRST_INO - 1).saturating_sub(number * geometry.inodes_per_group).min(geometry.inodes_per_group);
        let flags = if group.flags & INODE_ZEROED == 0 { 0 } else { INODE_ZEROED };
        GroupDescriptor { bg_flags: flags, ..counts(group, blocks - u64::from(group.fixed_blocks), geometry.inodes_per_group - reserved_inodes, 0, 0) }
    }

    /// Whether somebody trusts the unused part of a group's inode table to be zero: always, unless its descriptor says otherwise.
    pub(super) fn table_reads_as_zero(&self, group: &Group) -> bool {
        !self.flagged || group.flags & INODE_ZEROED != 0
    }

    /// Free blocks in all.
    pub(super) fn free_blocks(&self, geometry: &Geometry) -> u64 {
        let used: u64 = self.list.iter().map(|group| u64::from(group.used_blocks)).sum();
        geometry.blocks - geometry.first_data_block - used
    }
}

/// Places and counters of a descriptor.
fn counts(group: &Group, free_blocks: u64, free_inodes: u64, directories: u32, unused_inodes: u64) -> GroupDescriptor {
    let small = |value: u64| u32::try_from(value).expect("a group has under 2^17 blocks and inodes");
    let (free_blocks, free_inodes, unused_inodes) = (small(free_blocks), small(free_inodes), small(unused_inodes));
    GroupDescriptor {
        bg_block_bitmap_lo: low32(group.block_bitmap),
        bg_block_bitmap_hi: high32(group.block_bitmap),
        bg_inode_bitmap_lo: low32(group.inode_bitmap),
        bg_inode_bitmap_hi: high32(group.inode_bitmap),
        bg_inode_table_lo: low32(group.inode_table),
        bg_inode_table_hi: high32(group.inode_table),
        bg_free_blocks_count_lo: low16(free_blocks),
        bg_free_blocks_count_hi: high16(free_blocks),
        bg_free_inodes_count_lo: low16(free_inodes),
        bg_free_inodes_count_hi: high16(free_inodes),
        bg_used_dirs_count_lo: low16(directories),
        bg_used_dirs_count_hi: high16(directories),
        bg_itable_unused_lo: low16(unused_inodes),
        bg_itable_unused_hi: high16(unused_inodes),
        ..GroupDescriptor::default()
    }
}

/// How many inodes of a group are in use, and how many there are up to the last of them.
fn inodes_in_use(geometry: &Geometry, numbers: &Numbers, number: u64) -> (u32, u32) {
    let before = number * geometry.inodes_per_group;
    let last = u64::from(numbers.last()).saturating_sub(before).min(geometry.inodes_per_group);
    let of_ino = |at: u64| numbers.is_used(low32(before + at + 1));
    let last = (0..last).rev().find(|at| of_ino(*at)).map_or(0, |at| at + 1);
    let used = u64_of((0..last).filter(|at| of_ino(*at)).count());
    let small = |count: u64| u32::try_from(count).expect("a group has under 2^16 inodes");
    (small(used), small(last))
}

/// Calls `add` with each group that `range` meets, and how many of its blocks.
fn each_group(geometry: &Geometry, range: Range<u64>, mut add: impl FnMut(usize, u32)) {
    let mut at = range.start.max(geometry.first_data_block);
    while at < range.end {
        let group = geometry.group_of(at);
        let end = geometry.group_end(group).min(range.end);
        add(usize_of(group), u32::try_from(end - at).expect("a group has under 2^17 blocks"));
        at = end;
    }
}

/// Sets a range of bits, the lowest bit of a byte first.
fn set_bits(bitmap: &mut [u8], range: Range<u64>) {
    let (mut at, end) = (range.start, range.end);
    while at < end && (at % 8 != 0 || end - at < 8) {
        bitmap[usize_of(at / 8)] |= 1 << (at % 8);
        at += 1;
    }
    let whole = usize_of(at / 8)..usize_of(end.max(at) / 8);
    at = at.max(u64_of(whole.end) * 8);
    bitmap[whole].fill(0xff);
    while at < end {
        bitmap[usize_of(at / 8)] |= 1 << (at % 8);
        at += 1;
    }
}

/// The low half of 64 bits.
pub(super) fn low32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The high half of 64 bits.
pub(super) fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

/// The low half of 32 bits.
pub(super) fn low16(value: u32) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The high half of 32 bits.
pub(super) fn high16(value: u32) -> u16 {
    low16(value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_from_first_to_last() {
        for start in 0..40_u64 {
            for end in start..40_u64 {
                let mut bitmap = [0; 5];
                set_bits(&mut bitmap, start..end);
                let expected: Vec<bool> = (0..40).map(|bit| (start..end).contains(&bit)).collect();
                let found: Vec<bool> = (0..40).map(|bit| bitmap[usize_of(bit / 8)] >> (bit % 8) & 1 == 1).collect();
                assert_eq!(found, expected, "{start}..{end}");
            }
        }
    }

    #[test]
    fn halves_split_and_join() {
        assert_eq!((low32(0x1_2345_6789), high32(0x1_2345_6789)), (0x2345_6789, 1));
        assert_eq!((low16(0x1234_5678), high16(0x1234_5678)), (0x5678, 0x1234));
    }
}
