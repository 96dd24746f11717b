//! Where the metadata lies that follows from the size alone: copies of superblock and descriptors, bitmaps, inode tables.
//!
//! Of each 16 groups the bitmaps, then the inode tables lie one after the other from the first group's start (flex_bg; else each
//! group has its own). A table goes round a backup that stands in its way.

use super::geometry::Geometry;
use crate::units::usize_of;
use std::ops::Range;

/// Where a group has its bitmaps and its inode table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

/// All blocks that are taken before any inode is placed.
#[derive(Debug)]
pub(super) struct Fixed {
    /// By group.
    pub(super) tables: Vec<Tables>,
    /// Ascending, disjoint, not touching.
    pub(super) occupied: Vec<Range<u64>>,
}

impl Fixed {
    /// Lays out the fixed metadata; `None` if it does not fit (a last group that is almost nothing but metadata).
    pub(super) fn place(geometry: &Geometry) -> Option<Self> {
        let nowhere = Tables { block_bitmap: 0, inode_bitmap: 0, inode_table: 0 };
        let mut tables = vec![nowhere; usize_of(geometry.groups)];
        let mut occupied: Vec<Range<u64>> = Vec::new();
        if geometry.first_data_block > 0 {
            occupied.push(0..geometry.first_data_block);
        }
        for group in geometry.groups_with_copies() {
            let start = geometry.group_start(group);
            occupied.push(start..start + geometry.backup_blocks(group));
        }
        let mut cursor = 0;
        let per_flex = geometry.groups_per_flex();
        for first in (0..geometry.groups).step_by(usize_of(per_flex)) {
            let end = (first + per_flex).min(geometry.groups);
            let members = &mut tables[usize_of(first)..usize_of(end)];
            cursor = cursor.max(geometry.group_start(first));
            let mut take = |count: u64| {
                let start = clear_of_backups(geometry, cursor, count)?;
                cursor = start + count;
                occupied.push(start..cursor);
                Some(start)
            };
            for member in members.iter_mut() {
                member.block_bitmap = take(1)?;
            }
            for member in members.iter_mut() {
                member.inode_bitmap = take(1)?;
            }
            for member in members.iter_mut() {
                member.inode_table = take(geometry.table_blocks)?;
            }
        }
        Some(Self { tables, occupied: merge(occupied) })
    }
}

/// The first `count` neighbouring blocks from `from` that meet no copy of the superblock.
fn clear_of_backups(geometry: &Geometry, from: u64, count: u64) -> Option<u64> {
    let mut start = from;
    loop {
        if start + count > geometry.blocks {
            return None;
        }
        let groups = geometry.group_of(start)..=geometry.group_of(start + count - 1);
        let in_the_way = groups.filter(|group| geometry.backup_blocks(*group) > 0).map(|group| geometry.group_start(group) + geometry.backup_blocks(group));
        match in_the_way.filter(|end| *end > start).max() {
            Some(end) => start = end,
            None => return Some(start),
        }
    }
}

/// Sorts ranges and joins those that touch.
fn merge(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            last => {
                assert!(last.is_none_or(|last| last.end < range.start), "fixed metadata overlaps at block {}", range.start);
                merged.push(range);
            }
        }
    }
    merged
}
