//! What an inode says of its blocks and its length, against what maps its blocks.

use super::super::super::format::{EXTENTS_FL, incompat, mode, ro_compat};
use super::super::inode::Record;
use super::super::map::Map;
use super::super::volume::Volume;
use crate::error::Error;
use crate::tree::attribute;
use crate::units::u64_of;

/// Special files cannot be changed anyway.
const IMMUTABLE_OR_APPEND: u32 = 0x30;

/// Bytes that an inode's blocks take: of its data and of what maps it, in whole clusters.
pub(super) fn allocated(volume: &Volume, map: &Map) -> u64 {
    let per = volume.cluster_blocks;
    let mut clusters = u64_of(map.nodes.len());
    let mut last = None;
    for run in &map.runs {
        let (first, end) = (run.start / per, (run.start + run.blocks).div_ceil(per));
        clusters += end - first - u64::from(last == Some(first));
        last = Some(end - 1);
    }
    clusters * per * volume.block_bytes
}

/// What is wrong with an inode. `charged` are the bytes of attributes outside of it.
pub(in super::super) fn check(volume: &Volume, record: &Record, map: &Map, charged: u64) -> Vec<Error> {
    let mut wrong = Vec::new();
    let mut say = |what: String| wrong.push(Error::corrupt(format!("inode {} {what}", record.ino)).at_offset(record.offset));
    let expected = allocated(volume, map) + charged;
    match record.allocated(volume) {
        Some(says) if says == expected => {}
        says => say(format!("says that it takes {} bytes; it takes {expected}", says.unwrap_or(u64::MAX))),
    }
    if record.inode.i_dtime != 0 && record.inode.i_links_count > 0 {
        say(format!("is in use and says that it was deleted at {}", record.inode.i_dtime));
    }
    let is_file = record.kind() == mode::FILE;
    if is_file && record.has_map(volume) && !record.has_flag(attribute::VERITY) {
        // Blocks that were never written may lie behind the end.
        let end = map.runs.iter().rev().find(|run| !run.unwritten).map_or(0, |run| run.logical_end());
        let cluster = volume.cluster_blocks;
        let size = record.size(volume);
        let least = end.saturating_sub(1) / cluster * cluster * volume.block_bytes;
        if end > 0 && size < least {
            say(format!("has {size} bytes and blocks to {}", end * volume.block_bytes));
        }
    }
    let inode = &record.inode;
    let zeros = [
        ("i_faddr", inode.i_obso_faddr != 0),
        ("i_blocks_hi", inode.l_i_blocks_high != 0 && !volume.has_ro_compat(ro_compat::HUGE_FILE)),
        ("i_file_acl_hi", inode.l_i_file_acl_high != 0 && !volume.has_incompat(incompat::BIT64)),
        ("i_size_high", inode.i_size_high != 0 && !is_file && !(record.is_directory() && volume.has_incompat(incompat::LARGE_DIR))),
        ("i_size", record.size(volume) != 0 && matches!(record.kind(), mode::CHAR | mode::BLOCK | mode::FIFO | mode::SOCKET)),
    ];
    for (field, _) in zeros.into_iter().filter(|(_, wrong)| *wrong) {
        say(format!("has something in {field}, which must be zero"));
    }
    if !is_file && !record.is_directory() && record.has_flag(IMMUTABLE_OR_APPEND) {
        say("is a special file or link, and immutable or append-only".to_owned());
    }
    if record.has_flag(EXTENTS_FL) && !volume.has_incompat(incompat::EXTENTS) {
        say("has extents, for which the filesystem has no feature".to_owned());
    }
    wrong
}
