//! Block bitmaps and counts of free blocks, against claims.

use super::super::super::format::BLOCK_UNINIT;
use super::super::cache::Cache;
use super::super::claims::Claim;
use super::super::findings::Findings;
use super::super::groups::Group;
use super::super::volume::Volume;
use super::inodes::{bit, differences, first_difference};
use crate::error::{Error, Result};
use crate::units::{index_of, usize_of};

/// Judges the bitmaps of all groups, and returns how many clusters are free.
///
/// # Errors
/// Those of the disk.
pub(in super::super) fn check(volume: &Volume, groups: &[Group], claims: &[Claim], cache: &mut Cache, findings: &mut Findings) -> Result<u64> {
    let mut free = 0;
    let per_group = volume.clusters_per_group();
    let mut bitmap = vec![0_u8; usize_of(per_group.div_ceil(8))];
    // Claims ascend by their beginnings; of those before `next` some may reach on.
    let mut next = 0;
    let mut reaching: Vec<Claim> = Vec::new();
    for (number, group) in (0..volume.groups).zip(groups) {
        let (start, end) = (volume.group_start(number), volume.group_end(number));
        bitmap.fill(0);
        while let Some(claim) = claims.get(next).filter(|claim| claim.start < end) {
            reaching.push(*claim);
            next += 1;
        }
        for claim in &reaching {
            let (from, to) = (claim.start.max(start), claim.end().min(end));
            if from < to {
                let first = (from - start) / volume.cluster_blocks;
                set(&mut bitmap, first, (to - start).div_ceil(volume.cluster_blocks));
            }
        }
        reaching.retain(|claim| claim.end() > end);
        let clusters = volume.clusters_in(number);
        let bits = u32::try_from(clusters).unwrap_or(u32::MAX);
        let used: u64 = bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum();
        let counted = clusters.saturating_sub(used);
        free += counted;
        if counted != u64::from(group.free_clusters) {
            findings
                .push(Error::corrupt(format!("block group {number}: {} free blocks are said; {counted} are free", clusters_text(volume, group.free_clusters))));
        }
        judge(volume, number, group, &bitmap, bits, cache, findings)?;
    }
    Ok(free)
}

/// With bigalloc counts are of clusters.
fn clusters_text(volume: &Volume, count: u32) -> String {
    if volume.cluster_blocks > 1 { format!("{count} clusters of") } else { count.to_string() }
}

fn set(bitmap: &mut [u8], first: u64, end: u64) {
    let (first, end) = (usize_of(first), usize_of(end));
    let (from, to) = (first / 8, end / 8);
    let low = 0xff_u8 << (first % 8);
    let high = !(0xff_u8 << (end % 8));
    if from == to {
        bitmap[from] |= low & high;
        return;
    }
    bitmap[from] |= low;
    bitmap[from + 1..to].fill(0xff);
    if high != 0 {
        bitmap[to] |= high;
    }
}

fn judge(volume: &Volume, number: u32, group: &Group, expected: &[u8], bits: u32, cache: &mut Cache, findings: &mut Findings) -> Result<()> {
    // What was never written follows from the descriptors, as do the claims of structures.
    if group.has(BLOCK_UNINIT) || !volume.holds(group.block_bitmap, 1) {
        return Ok(());
    }
    let offset = volume.offset(group.block_bitmap);
    let bytes = cache.bytes(offset, volume.block_len())?;
    let bitmap = &bytes[..expected.len().min(bytes.len())];
    let sum = volume.csum.over(&[bitmap]);
    let wide = volume.descriptor_bytes >= 64;
    let (says, sum) = if wide { (group.block_bitmap_csum, sum) } else { (group.block_bitmap_csum & 0xffff, sum & 0xffff) };
    if volume.csum.is_on() && says != sum {
        let message = format!("the block bitmap of block group {number} has the checksum {sum:#010x}; its descriptor says {says:#010x}");
        findings.push(Error::corrupt(message).at_offset(offset));
    }
    if let Some(at) = first_difference(expected, bitmap, bits) {
        let block = volume.group_start(number) + u64::from(at) * volume.cluster_blocks;
        let (says, is) = if bit(bitmap, at) { ("in use", "free") } else { ("free", "in use") };
        let count = differences(expected, bitmap, bits);
        let unit = if volume.cluster_blocks > 1 { "clusters" } else { "blocks" };
        let message = format!("the block bitmap of block group {number} is wrong for {count} {unit}: block {block}, the first, is marked {says} and is {is}");
        findings.push(Error::corrupt(message).at_offset(offset));
    }
    let all = u32::try_from(bitmap.len() * 8).unwrap_or(u32::MAX).min(u32::try_from(volume.clusters_per_group()).unwrap_or(u32::MAX));
    if let Some(at) = (bits..all).find(|at| !bit(bitmap, *at)) {
        let message = format!("the block bitmap of block group {number} has bit {at} free, behind the group's end");
        findings.push(Error::corrupt(message).at_offset(offset));
    }
    if bytes[bitmap.len()..].iter().any(|byte| *byte != 0xff) {
        findings.push(Error::corrupt(format!("the block bitmap of block group {number} is not full behind its end")).at_offset(offset));
    }
    debug_assert!(index_of(bits) <= expected.len() * 8);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bits_are_set() {
        for first in 0..40_u64 {
            for end in first..40 {
                let mut bitmap = [0_u8; 5];
                if first < end {
                    set(&mut bitmap, first, end);
                }
                assert!((0..40).all(|at| bit(&bitmap, at) == (first..end).contains(&u64::from(at))), "{first}..{end}");
            }
        }
    }
}
