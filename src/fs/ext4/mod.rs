//! ext4: a tree is planned into a layout, and any block of the filesystem is then made on its own.
//!
//! Specification: the Linux kernel's documentation, "ext4 Data Structures and Algorithms"; for what it leaves open,
//! e2fsprogs 1.47 (mke2fs's choices, e2fsck's checks) and the kernel.
//!
//! ```text
//! | block 0: superblock | descriptors | reserved | bitmaps, inode tables of 16 groups | journal | read first | chunks of directories, files … | free |
//! ```
//!
//! The features are those of a set by name ([`features`]); without one, those that `mke2fs -t ext4` 1.47 gives. Every directory of over
//! one block has a hash index, which mke2fs -d does not make.
//!
//! What is promised:
//! - The bytes are a function of the tree and the options alone; an earlier version and a boot order are options.
//! - Where contents lie and which number an inode has is a policy ([`Packing`], [`Options::parent`], [`Options::order`]), each file in one piece
//!   unless fixed metadata, 32,768 blocks, an order or an earlier version part it.
//! - atime, ctime and crtime are the tree's mtime; generations are 0.
//! - Backups of superblock and descriptors depend on the size alone: they have the counts of a filesystem without files.
//! - Quota files (features quota and project) have what every owner has, to the byte, and no limits.
//! - Everything that somebody trusts to be zero is a `Zeros` segment: inode tables, the journal, the ends of files' last blocks.
//!
//! - Times are right to the kernel from 1901 to 2446. e2fsck takes those from 2310-04-04 to 2378-04-22 for times before 1970 that old
//!   kernels wrote wrongly, and offers to change them.
//!
//! Refused in planning, with path and limit: symbolic links of over block size − 1 bytes, over 65,000 hard links, files of over 2^32 − 1
//! blocks (with block maps or without huge_file: what these hold), xattrs that do not fit into an inode and one block (their names alone,
//! with the feature ea_inode) or have no number in ext4, times outside of 1901 to 2446 (2038 with inodes of 128 bytes), filesystems of
//! over 64 TiB, entries that are encrypted, sealed by fs-verity or casefolded.

mod blockmap;
mod directory;
mod extents;
pub mod features;
mod fixed;
pub mod format;
pub mod geometry;
mod groups;
mod htree;
mod inline;
mod inode;
mod layout;
mod mapping;
mod numbers;
mod options;
mod orphans;
mod parent;
mod place;
mod quota;
mod read;
mod size;
mod summary;
mod survey;
mod values;
mod xattrs;

pub use features::{Feature, FeatureSet, Features};
pub use layout::Ext4Layout;
pub use options::{
    BYTES_PER_INODE_MAX, BYTES_PER_INODE_MIN_INODES, JOURNAL_MAX_BLOCKS, JOURNAL_MIN_BLOCKS, Journal, LABEL_MAX_BYTES, Options, Packing, Percent,
    RESERVED_DEFAULT, RESERVED_MAX, SizeRequest,
};
pub use parent::{Parent, ParentRun, ParentRunKind};
pub use read::read;
pub use summary::probe;
pub use survey::SYMLINK_MAX_BYTES;
pub use xattrs::XATTR_SHARERS_MAX;

use crate::error::{Error, Result};
use crate::tree::Tree;
use fixed::Fixed;
use format::{Csum, FIRST_INO};
use geometry::Geometry;
use groups::Groups;
use place::{Matching, Placed};
use quota::UsageTables;
use std::sync::Arc;
use survey::Survey;

/// Rounds of choosing a size and placing: each one counts some more nodes of extent trees. Two are common.
const ROUNDS_MAX: u32 = 64;

/// Plans an ext4 filesystem that holds `tree`. No I/O; memory and time grow with the entries and the block groups, not the bytes.
///
/// # Errors
/// [`crate::ErrorKind::TooSmall`] where an exact size does not hold the tree; [`crate::ErrorKind::InvalidInput`] for options that cannot be
/// meant; else what ext4 cannot hold (see the head of this module), with its path.
pub fn plan(tree: Arc<Tree>, options: &Options) -> Result<Ext4Layout> {
    options.check()?;
    let layout = plan_with(&tree, options)?;
    if options.features.has(Feature::OrphanFile) && layout.geometry.orphan_blocks == 0 {
        // No journal had room, and without one there is no file of orphans.
        return plan_with(&tree, &Options { features: options.features.without(Feature::OrphanFile), ..options.clone() });
    }
    Ok(layout)
}

fn plan_with(tree: &Arc<Tree>, options: &Options) -> Result<Ext4Layout> {
    let mut survey = Survey::of(tree, options)?;
    if let Some(inodes) = options.inodes
        && inodes < survey.demand.inodes
    {
        return Err(Error::limit(format!("{} inodes are needed, the reserved ones included, and {inodes} were asked for", survey.demand.inodes)));
    }
    let (geometry, fixed, Placed { placement, numbers, notes }) = choose(tree, &survey, options)?;
    survey.numbers = numbers;
    let csum = if options.features.has(Feature::MetadataCsum) { Csum::of_uuid(options.uuid.as_bytes()) } else { Csum::OFF };
    let added = survey.numbers.adds_lost_found().then_some(FIRST_INO);
    let directories = survey.directories.iter().map(|(node, _)| survey.numbers.of(node)).chain(added);
    let groups = Groups::new(&geometry, fixed, &placement, &survey.numbers, directories, options.lazy_inode_tables, csum);
    let usage = UsageTables::new(tree, &survey, &placement, geometry.block_bytes);
    let roles = layout::roles(&geometry, &groups);
    let size_bytes = match options.size {
        SizeRequest::Exact(size_bytes) | SizeRequest::ExactWithFree { size_bytes, .. } => size_bytes,
        SizeRequest::Minimum { .. } => geometry.size_bytes(),
    };
    // What the earlier version was is not needed any more, and may be large.
    let options = Options { parent: None, order: Vec::new(), ..options.clone() };
    Ok(Ext4Layout { tree: Arc::clone(tree), options, geometry, survey, placement, groups, usage, roles, csum, size_bytes, notes })
}

/// Chooses the size and places everything. Fixed metadata can part files into more extents than the arithmetic of sizes knows; then it
/// is told, and chooses again.
fn choose(tree: &Tree, survey: &Survey, options: &Options) -> Result<(Geometry, Fixed, Placed)> {
    let mut demand = survey.demand;
    let mut least_blocks = 0;
    let of_other_blocks = options.parent.as_ref().filter(|parent| parent.block_bytes != options.block_bytes);
    let parent = options.parent.as_ref().filter(|parent| parent.block_bytes == options.block_bytes);
    let matching = parent.map(|parent| Matching::new(tree, parent));
    for _ in 0..ROUNDS_MAX {
        let geometry = match options.size {
            SizeRequest::Exact(size_bytes) => size::exact(size_bytes, 0, &demand, options)?,
            SizeRequest::ExactWithFree { size_bytes, free_bytes } => size::exact(size_bytes, free_bytes, &demand, options)?,
            SizeRequest::Minimum { free_bytes } => size::smallest(least_blocks, free_bytes, &demand, options)?,
        };
        let Some(fixed) = Fixed::place(&geometry) else {
            match options.size {
                SizeRequest::Minimum { .. } => least_blocks = geometry.blocks + geometry.table_blocks,
                SizeRequest::Exact(size_bytes) => return Err(size::too_small(size_bytes, 0, &demand, options)),
                SizeRequest::ExactWithFree { size_bytes, free_bytes } => return Err(size::too_small(size_bytes, free_bytes, &demand, options)),
            }
            continue;
        };
        let mut placed = place::place(tree, survey, &geometry, &fixed, options, matching.as_ref())?;
        if let Some(parent) = of_other_blocks {
            let (old, new) = (parent.block_bytes, options.block_bytes);
            placed.notes.push(format!("the earlier version has blocks of {old} bytes and this one of {new}: its places are not kept"));
        }
        let (tree_blocks, missing_blocks) = (placed.placement.tree_blocks, placed.placement.missing_blocks);
        let counted = demand.tree_blocks + size::own_tree_blocks(&geometry);
        if tree_blocks <= counted {
            assert_eq!(missing_blocks, 0, "the arithmetic of sizes and the placement disagree");
            return Ok((geometry, fixed, placed));
        }
        if missing_blocks == 0 && matches!(options.size, SizeRequest::Exact(_)) {
            return Ok((geometry, fixed, placed));
        }
        demand.tree_blocks += tree_blocks - counted;
    }
    Err(Error::limit(format!("no size was found in {ROUNDS_MAX} rounds: files are parted into ever more extents")))
}
