//! What the superblock and the descriptors say that reading does not go by.

use super::super::super::format::{INODE_BYTES_MIN, SUPERBLOCK_OFFSET_BYTES, compat};
use super::super::findings::Findings;
use super::super::groups::Group;
use super::super::names::ro_compat_read;
use super::super::volume::Volume;
use crate::error::Error;

/// Fields that contradict others (e2fsprogs, `check_super_block`).
pub(super) fn fields(volume: &Volume, findings: &mut Findings) {
    let s = &volume.superblock;
    let mut say = |what: String| findings.push(Error::corrupt(format!("the superblock {what}")).at_offset(SUPERBLOCK_OFFSET_BYTES));
    if !volume.has_ro_compat(ro_compat_read::BIGALLOC) {
        if s.s_log_cluster_size != s.s_log_block_size {
            say(format!("says clusters of 2^{} KiB and blocks of 2^{}, without bigalloc", s.s_log_cluster_size, s.s_log_block_size));
        }
        if s.s_clusters_per_group != s.s_blocks_per_group {
            say(format!("says {} clusters and {} blocks a group, without bigalloc", s.s_clusters_per_group, s.s_blocks_per_group));
        }
    }
    if s.reserved_blocks_count() > volume.blocks / 2 {
        say(format!("reserves {} of {} blocks; at most half of them can be", s.reserved_blocks_count(), volume.blocks));
    }
    let external = s.s_journal_uuid != [0; 16];
    if external && (!volume.has_compat(compat::HAS_JOURNAL) || s.s_journal_inum != 0) {
        say("names an external journal, which it has no use for".to_owned());
    }
    if !volume.has_compat(compat::HAS_JOURNAL) && s.s_journal_inum != 0 {
        say(format!("names the journal inode {}, without the feature has_journal", s.s_journal_inum));
    }
    let room = volume.inode_bytes - INODE_BYTES_MIN;
    for (what, bytes) in [("required", s.s_min_extra_isize), ("desired", s.s_want_extra_isize)] {
        if room > 0 && (usize::from(bytes) > room || bytes % 4 != 0) {
            say(format!("says {bytes} {what} bytes of fields behind the first {INODE_BYTES_MIN} of an inode; there are {room}"));
        }
    }
    if volume.has_compat(compat::HAS_JOURNAL) && s.s_journal_inum == 0 && !external {
        say("has the feature has_journal, and names none".to_owned());
    }
}

/// Without checksums of descriptors nothing may be said never to have been used.
pub(super) fn descriptors(volume: &Volume, groups: &[Group], findings: &mut Findings) {
    if volume.has_group_checksums() {
        return;
    }
    for (number, _) in (0..volume.groups).zip(groups).filter(|(_, group)| group.says_unused) {
        findings.push(Error::corrupt(format!("block group {number} is said to be in part never used, without the features for that")));
    }
}

/// What was found to be free, against what the superblock says.
pub(in super::super) fn totals(volume: &Volume, free_clusters: u64, free_inodes: u64, findings: &mut Findings) {
    let s = &volume.superblock;
    // Blocks, in whole clusters.
    let free_blocks = free_clusters * volume.cluster_blocks;
    for (what, says, counted) in [("blocks", s.free_blocks_count(), free_blocks), ("inodes", u64::from(s.s_free_inodes_count), free_inodes)] {
        if says != counted {
            findings.push(Error::corrupt(format!("the superblock says {says} free {what}; {counted} are free")).at_offset(SUPERBLOCK_OFFSET_BYTES));
        }
    }
}
