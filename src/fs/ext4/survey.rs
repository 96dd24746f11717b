//! What a tree asks of the filesystem: every node is checked against ext4's limits, and its blocks are counted.

use super::directory::{Directories, LOST_FOUND_BYTES};
use super::extents::{entries_per_node, tree_levels};
use super::format::{EXTENT_BLOCKS_MAX, I_BLOCK_BYTES, INODE_FIELDS_BYTES, LINK_MAX, encode_time};
use super::numbers::Numbers;
use super::options::Options;
use super::place::block_ranges;
use super::xattrs::{Room, XattrBlocks};
use crate::error::{Error, Result};
use crate::tree::{FileData, NAME_MAX_BYTES, Node, NodeId, NodeKind, Tree};
use crate::units::{u64_of, usize_of};

/// The longest target of a symbolic link where blocks are larger: Linux's PATH_MAX with its NUL byte.
pub const SYMLINK_MAX_BYTES: u64 = 4095;

/// Blocks of a tree by what they hold, whatever the size of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Demand {
    /// Inodes in use, the reserved ones included.
    pub(super) inodes: u64,
    pub(super) directory_blocks: u64,
    pub(super) file_blocks: u64,
    pub(super) symlink_blocks: u64,
    pub(super) xattr_blocks: u64,
    /// Nodes of extent trees, as many as there are at least: more where fixed metadata parts files.
    pub(super) tree_blocks: u64,
}

impl Demand {
    pub(super) fn blocks(&self) -> u64 {
        self.directory_blocks + self.file_blocks + self.symlink_blocks + self.xattr_blocks + self.tree_blocks
    }
}

/// What was found out about a tree before a size is chosen.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) numbers: Numbers,
    pub(super) directories: Directories,
    pub(super) xattrs: XattrBlocks,
    pub(super) demand: Demand,
}

impl Survey {
    /// Checks and counts.
    ///
    /// # Errors
    /// What ext4 cannot hold, with its path and the limit.
    pub(super) fn of(tree: &Tree, options: &Options) -> Result<Self> {
        let numbers = Numbers::new(tree)?;
        check_names(tree)?;
        let block_bytes = u64::from(options.block_bytes);
        let mut demand = Demand { inodes: u64::from(numbers.last()), ..Demand::default() };
        for (id, node) in tree.nodes() {
            count(tree, id, node, block_bytes, &mut demand).map_err(|error| error.at_path(tree.path_of(id)))?;
        }
        let directories = Directories::pack(tree, &numbers, usize_of(block_bytes), *options.hash_seed.as_bytes())?;
        demand.directory_blocks = directories.iter().map(|(_, blocks)| blocks).sum();
        for (_, blocks) in directories.iter() {
            demand.tree_blocks += least_tree_blocks(std::iter::once((0, blocks)), block_bytes);
        }
        if numbers.adds_lost_found() {
            demand.directory_blocks += LOST_FOUND_BYTES / block_bytes;
        }
        let room = Room { region_bytes: usize::from(options.inode_bytes) - INODE_FIELDS_BYTES, block_bytes: usize_of(block_bytes) };
        let xattrs = XattrBlocks::plan(tree, room)?;
        demand.xattr_blocks = u64_of(xattrs.blocks.len());
        Ok(Self { numbers, directories, xattrs, demand })
    }
}

/// Names are at most 255 bytes in a tree already; this holds the promise where it matters.
fn check_names(tree: &Tree) -> Result<()> {
    let too_long = |id: NodeId| tree.entries(id).iter().find(|entry| tree.name(entry).len() > NAME_MAX_BYTES).map(|entry| entry.node);
    match tree.nodes().filter(|(_, node)| node.is_directory()).find_map(|(id, _)| too_long(id)) {
        Some(id) => Err(Error::limit(format!("a name of over {NAME_MAX_BYTES} bytes; ext4 holds no longer ones")).at_path(tree.path_of(id))),
        None => Ok(()),
    }
}

fn count(tree: &Tree, id: NodeId, node: &Node, block_bytes: u64, demand: &mut Demand) -> Result<()> {
    let time = node.metadata.mtime;
    if encode_time(time).is_none() || time.nanoseconds > 999_999_999 {
        return Err(Error::limit(format!("a time of {}.{:09} seconds; ext4 holds 1901-12-13 to 2446-05-10", time.seconds, time.nanoseconds)));
    }
    if !node.is_directory() && node.links > LINK_MAX {
        return Err(Error::limit(format!("{} hard links; ext4 holds at most {LINK_MAX}", node.links)));
    }
    match node.kind {
        NodeKind::File(file) => {
            let most = u64::from(u32::MAX) * block_bytes;
            if file.length > most {
                return Err(Error::limit(format!("a file of {} bytes; ext4 with blocks of {block_bytes} holds at most {most}", file.length)));
            }
            demand.file_blocks += file_ranges(tree, &file, block_bytes).map(|(_, blocks)| blocks).sum::<u64>();
            demand.tree_blocks += least_tree_blocks(file_ranges(tree, &file, block_bytes), block_bytes);
        }
        NodeKind::Symlink(_) => {
            let len = u64_of(tree.target(id).len());
            let most = SYMLINK_MAX_BYTES.min(block_bytes - 1);
            if len > most {
                return Err(Error::limit(format!("a symbolic link to a target of {len} bytes; ext4 with blocks of {block_bytes} holds at most {most}")));
            }
            demand.symlink_blocks += u64::from(!is_fast_symlink(len));
        }
        _ => {}
    }
    Ok(())
}

/// Whether a target of `len` bytes lies in the inode, with its NUL byte.
pub(super) fn is_fast_symlink(len: u64) -> bool {
    len < u64_of(I_BLOCK_BYTES)
}

/// The blocks of a file that are no holes: `(first, count)`.
pub(super) fn file_ranges<'a>(tree: &'a Tree, file: &FileData, block_bytes: u64) -> impl Iterator<Item = (u64, u64)> + 'a {
    block_ranges(tree.data_ranges(file), block_bytes)
}

/// Nodes of the extent tree of a file with these ranges of blocks, if each range finds its place in one piece.
pub(super) fn least_tree_blocks(ranges: impl Iterator<Item = (u64, u64)>, block_bytes: u64) -> u64 {
    let extents = ranges.map(|(_, blocks)| blocks.div_ceil(u64::from(EXTENT_BLOCKS_MAX))).sum();
    tree_levels(extents, entries_per_node(block_bytes)).iter().sum()
}

/// The link count that a directory's subdirectories give: 1 means "too many to count" (dir_nlink).
pub(super) fn directory_links(subdirectories: u64) -> u16 {
    let links = subdirectories + 2;
    if links > u64::from(LINK_MAX) { 1 } else { u16::try_from(links).unwrap_or(1) }
}
