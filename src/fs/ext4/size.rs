//! Choosing the size: the exact one that was asked for, or the smallest that has the asked-for space available.
//!
//! The smallest size is found by arithmetic, without placing anything: a filesystem of some size lacks so many blocks, so it
//! must be at least that much larger, again and again until nothing is lacking. No step leaves out a size that would do,
//! but where rounding of inode tables makes a larger filesystem's metadata smaller; those are found by going back.

use super::features::Feature;
use super::geometry::{Geometry, JOURNAL_STEPS, Misfit, SIZE_MAX_BYTES};
use super::mapping::Mapping;
use super::options::{Journal, Options};
use super::survey::Demand;
use crate::error::{Error, ErrorKind, Result};
use crate::report::SizePart;
use crate::units::Size;
use std::iter::once;

/// Steps back from the size that the search gives, to one that rounding may allow.
const STEPS_BACK_MAX: u32 = 256;

/// Blocks that everything takes in a filesystem of this shape, with as few extents as can be.
pub(super) fn used_blocks(geometry: &Geometry, demand: &Demand) -> u64 {
    let own = geometry.journal_blocks + geometry.orphan_blocks + own_tree_blocks(geometry);
    geometry.fixed_blocks() + demand.blocks() + own + u64::from(geometry.resize_inode())
}

/// Nodes of the trees that map the journal and the file of orphans.
pub(super) fn own_tree_blocks(geometry: &Geometry) -> u64 {
    let mapping = Mapping::new(geometry.features, geometry.block_bytes);
    [geometry.journal_blocks, geometry.orphan_blocks].into_iter().filter(|blocks| *blocks > 0).map(|blocks| mapping.least_nodes(once((0, blocks)))).sum()
}

/// Blocks that a filesystem of this shape lacks to hold everything with `available` blocks for ordinary users besides.
fn lacking(geometry: &Geometry, demand: &Demand, available: u64) -> u64 {
    let used = used_blocks(geometry, demand);
    let free_needed = if available > 0 { available + geometry.root_blocks } else { 0 };
    (used + free_needed).saturating_sub(geometry.blocks)
}

/// The shape of a filesystem of exactly `size_bytes` with `free_bytes` available.
///
/// Where it lacks something as mke2fs would make it, smaller journals are tried, and leaving some blocks at the end unused: one more
/// block of inode tables in every group may cost more than what a slightly larger size gives.
pub(super) fn exact(size_bytes: u64, free_bytes: u64, demand: &Demand, options: &Options) -> Result<Geometry> {
    if size_bytes > SIZE_MAX_BYTES {
        return Err(Error::limit(format!("a filesystem of {}; at most {} are made", Size::bytes(size_bytes), Size::bytes(SIZE_MAX_BYTES))));
    }
    let block_bytes = u64::from(options.block_bytes);
    let available = free_bytes.div_ceil(block_bytes);
    let wanted = match Geometry::new(size_bytes / block_bytes, demand.inodes, options) {
        Ok(geometry) => geometry,
        Err(Misfit::NeedsBlocks { .. }) => return Err(too_small(size_bytes, free_bytes, demand, options)),
        Err(misfit) => return Err(refused(misfit, demand, options)),
    };
    let steps = JOURNAL_STEPS.iter().map(|(_, journal)| *journal).chain([0]);
    let smaller = steps.filter(|journal| options.journal == Journal::Auto && *journal < wanted.journal_blocks);
    for journal_blocks in std::iter::once(wanted.journal_blocks).chain(smaller) {
        let lacks = lacking(&with_journal(wanted.clone(), journal_blocks), demand, available);
        if lacks > wanted.groups {
            continue;
        }
        let most_unused = if lacks == 0 { 0 } else { wanted.groups };
        for unused in 0..=most_unused {
            if let Ok(geometry) = Geometry::new(wanted.blocks - unused, demand.inodes, options) {
                let journal_blocks = journal_blocks.min(geometry.journal_blocks);
                let geometry = with_journal(geometry, journal_blocks);
                if lacking(&geometry, demand, available) == 0 {
                    return Ok(geometry);
                }
            }
        }
    }
    Err(too_small(size_bytes, free_bytes, demand, options))
}

fn with_journal(mut geometry: Geometry, journal_blocks: u64) -> Geometry {
    geometry.set_journal(journal_blocks);
    geometry
}

/// The shape of the smallest filesystem, from `least_blocks` on, that holds everything and has `free_bytes` available.
pub(super) fn smallest(least_blocks: u64, free_bytes: u64, demand: &Demand, options: &Options) -> Result<Geometry> {
    let block_bytes = u64::from(options.block_bytes);
    let available = free_bytes.div_ceil(block_bytes);
    let fits = |geometry: &Geometry| lacking(geometry, demand, available) == 0;
    let mut blocks = demand.blocks().saturating_add(available).max(least_blocks).max(1);
    let mut found = loop {
        if blocks > SIZE_MAX_BYTES / block_bytes {
            return Err(Error::limit(format!(
                "the contents ({}) and {} of free space need a filesystem of over {}",
                Size::bytes(demand.blocks().saturating_mul(block_bytes)),
                Size::bytes(free_bytes),
                Size::bytes(SIZE_MAX_BYTES)
            )));
        }
        match Geometry::new(blocks, demand.inodes, options) {
            Ok(geometry) if fits(&geometry) => break geometry,
            // A last group that is left out makes the filesystem smaller than `blocks`: then one block more, until it stays.
            Ok(geometry) => blocks = (geometry.blocks + lacking(&geometry, demand, available)).max(blocks + 1),
            Err(Misfit::NeedsBlocks { needed }) => blocks = needed.max(blocks + 1),
            Err(misfit) => return Err(refused(misfit, demand, options)),
        }
    };
    for _ in 0..STEPS_BACK_MAX {
        match Geometry::new(found.blocks - 1, demand.inodes, options) {
            Ok(geometry) if fits(&geometry) && geometry.blocks >= least_blocks => found = geometry,
            _ => break,
        }
    }
    Ok(found)
}

/// Why there is no filesystem of any such size.
fn refused(misfit: Misfit, demand: &Demand, options: &Options) -> Error {
    match misfit {
        Misfit::Needs64Bit => {
            Error::limit(format!("a filesystem of over 2^32 blocks of {} bytes without the feature 64bit (it or larger blocks would do)", options.block_bytes))
        }
        _ => Error::limit(format!(
            "{} inodes are needed; ext4 numbers them with 32 bits, and a group of at least 256 blocks has at most 8 for each byte of a block",
            demand.inodes
        )),
    }
}

/// The error for `size_bytes`, which are not enough, with what takes the space in the next larger filesystem that would do.
pub(super) fn too_small(size_bytes: u64, free_bytes: u64, demand: &Demand, options: &Options) -> Error {
    let geometry = match smallest(size_bytes / u64::from(options.block_bytes) + 1, free_bytes, demand, options) {
        Ok(geometry) => geometry,
        Err(error) => return error,
    };
    let mut parts: Vec<String> = parts(&geometry, demand).iter().map(|part| format!("{} {}", part.what, Size::bytes(part.bytes))).collect();
    if free_bytes > 0 {
        parts.push(format!("free {}", Size::bytes(free_bytes)));
    }
    let needed = geometry.size_bytes();
    let (needed_text, size_text) = (Size::bytes(needed), Size::bytes(size_bytes));
    Error::new(
        ErrorKind::TooSmall { needed, available: size_bytes },
        format!("the ext4 filesystem needs {needed_text} ({needed} bytes) and has {size_text} ({size_bytes} bytes): {}", parts.join(", ")),
    )
}

/// What takes the space, largest first; the sum is the space in use.
pub(super) fn parts(geometry: &Geometry, demand: &Demand) -> Vec<SizePart> {
    let copies = geometry.copies();
    let resize = copies * geometry.reserved_descriptor_blocks + u64::from(geometry.resize_inode());
    let tables = geometry.groups * geometry.table_blocks;
    let maps = geometry.first_data_block + copies + geometry.descriptor_copies() + 2 * geometry.groups;
    let mut parts: Vec<SizePart> = [
        ("file contents", demand.file_blocks),
        ("directories", demand.directory_blocks),
        ("symbolic links", demand.symlink_blocks),
        ("xattrs", demand.xattr_blocks),
        ("quota", demand.quota_blocks),
        (if geometry.features.has(Feature::Extent) { "extent trees" } else { "block maps" }, demand.tree_blocks + own_tree_blocks(geometry)),
        ("journal", geometry.journal_blocks),
        ("file of orphans", geometry.orphan_blocks),
        ("inode tables", tables),
        ("superblocks, descriptors and bitmaps", maps),
        ("descriptors reserved for growth", resize),
    ]
    .into_iter()
    .filter(|(_, blocks)| *blocks > 0)
    .map(|(what, blocks)| SizePart { what: what.to_owned(), bytes: blocks * geometry.block_bytes })
    .collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    parts
}
