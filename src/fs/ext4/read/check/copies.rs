//! Copies of the superblock and of the descriptors: what they say of places and sizes is what the first ones say. Counts and times of
//! copies are old by design.

use super::super::super::format::{SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC, Superblock};
use super::super::cache::Cache;
use super::super::findings::Findings;
use super::super::groups;
use super::super::volume::{Volume, checksum_is_right};
use crate::error::{Error, Result};
use crate::units::u64_of;

/// Judges all copies.
///
/// # Errors
/// Those of the disk.
pub(in super::super) fn check(volume: &Volume, cache: &mut Cache, findings: &mut Findings) -> Result<()> {
    for group in 1..volume.groups {
        if volume.has_super(group) && volume.super_block(group) < volume.blocks {
            superblock(volume, cache, group, findings)?;
        }
        let (numbers, at) = volume.descriptors_in(group);
        for (number, block) in numbers.zip(at..) {
            // Of a group of descriptors the first copy is the one that is read.
            let primary = volume.descriptors_at(number);
            if block != primary && block < volume.blocks {
                descriptors(volume, cache, number, primary, block, findings)?;
            }
        }
    }
    Ok(())
}

fn superblock(volume: &Volume, cache: &mut Cache, group: u32, findings: &mut Findings) -> Result<()> {
    let offset = volume.offset(volume.super_block(group));
    let mut bytes = [0; SUPERBLOCK_BYTES];
    bytes.copy_from_slice(cache.bytes(offset, SUPERBLOCK_BYTES)?);
    let mut say = |what: String| findings.push(Error::corrupt(format!("the superblock's copy in block group {group} {what}")).at_offset(offset));
    let copy = Superblock::decode(&bytes);
    if copy.s_magic != SUPERBLOCK_MAGIC {
        say(format!("has the magic number {:#06x}", copy.s_magic));
        return Ok(());
    }
    if !checksum_is_right(&bytes) {
        say("has a wrong checksum".to_owned());
        return Ok(());
    }
    let shape = |s: &Superblock| {
        [s.blocks_count(), u64::from(s.s_inodes_count), u64::from(s.s_log_block_size), u64::from(s.s_blocks_per_group), u64::from(s.s_inodes_per_group)]
    };
    let (says, expected) = (shape(&copy), shape(&volume.superblock));
    if says != expected {
        say(format!("says {says:?} blocks, inodes, block size (log), blocks and inodes a group; the first one says {expected:?}"));
    }
    Ok(())
}

fn descriptors(volume: &Volume, cache: &mut Cache, number: u64, primary: u64, copy: u64, findings: &mut Findings) -> Result<()> {
    let first = cache.bytes(volume.offset(primary), volume.block_len())?.to_vec();
    let offset = volume.offset(copy);
    let bytes = cache.bytes(offset, volume.block_len())?;
    let per_block = u64_of(bytes.len() / volume.descriptor_bytes);
    for ((one, other), at) in first.chunks_exact(volume.descriptor_bytes).zip(bytes.chunks_exact(volume.descriptor_bytes)).zip(0..) {
        let group = number * per_block + at;
        if group >= u64::from(volume.groups) {
            break;
        }
        if groups::places(one) != groups::places(other) {
            let message = format!(
                "the copy of block group {group}'s descriptor has its bitmaps and inode table at {:?}; they are at {:?}",
                groups::places(other),
                groups::places(one)
            );
            findings.push(Error::corrupt(message).at_offset(offset + at * u64_of(volume.descriptor_bytes)));
        }
    }
    Ok(())
}
