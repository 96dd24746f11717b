//! What a tree asks of the filesystem: every node is checked against ext4's limits, and its blocks are counted.

use super::directory::{Directories, Form, LOST_FOUND_BYTES};
use super::features::Feature;
use super::format::{Csum, I_BLOCK_BYTES, INODE_BYTES_MIN, INODE_FIELDS_BYTES, LINK_MAX, TIME_MAX_SECONDS, TIME_MAX_SECONDS_SMALL, encode_time};
use super::mapping::{Mapping, Piece};
use super::numbers::{Numbers, Own};
use super::options::Options;
use super::place::block_ranges;
use super::quota::Quotas;
use super::xattrs::{Room, XattrBlocks};
use crate::error::{Error, Result};
use crate::tree::{FileData, NAME_MAX_BYTES, Node, NodeId, NodeKind, Tree};
use crate::units::{index_of, u64_of, usize_of};

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
    /// Blocks of the quota files.
    pub(super) quota_blocks: u64,
    /// Nodes of extent trees, as many as there are at least: more where fixed metadata parts files.
    pub(super) tree_blocks: u64,
}

impl Demand {
    pub(super) fn blocks(&self) -> u64 {
        self.directory_blocks + self.file_blocks + self.symlink_blocks + self.xattr_blocks + self.quota_blocks + self.tree_blocks
    }
}

/// What was found out about a tree before a size is chosen.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) numbers: Numbers,
    pub(super) directories: Directories,
    pub(super) xattrs: XattrBlocks,
    pub(super) quotas: Quotas,
    /// Files whose holes are allocated; ascending.
    preallocated: Vec<NodeId>,
    pub(super) mapping: Mapping,
    pub(super) demand: Demand,
}

impl Survey {
    /// Checks and counts.
    ///
    /// # Errors
    /// What ext4 cannot hold, with its path and the limit.
    pub(super) fn of(tree: &Tree, options: &Options) -> Result<Self> {
        let numbers = Numbers::new(tree, Own::new(options.features))?;
        let preallocated = preallocated(tree, options)?;
        let limits = Limits::new(options);
        check_names(tree)?;
        let block_bytes = u64::from(options.block_bytes);
        let mut demand = Demand::default();
        for (id, node) in tree.nodes() {
            check(id, node, tree, &limits).map_err(|error| error.at_path(tree.path_of(id)))?;
            count(tree, id, node, preallocated.binary_search(&id).is_ok(), &limits, &mut demand);
        }
        let directories = Directories::pack(tree, &numbers, Form::new(options))?;
        demand.directory_blocks = directories.iter().map(|(_, blocks)| blocks).sum();
        for (_, blocks) in directories.iter() {
            demand.tree_blocks += limits.mapping.least_nodes(std::iter::once((0, blocks)));
        }
        if numbers.adds_lost_found() {
            demand.directory_blocks += LOST_FOUND_BYTES / block_bytes;
        }
        let region_bytes = usize::from(options.inode_bytes).saturating_sub(INODE_FIELDS_BYTES);
        let room = Room { region_bytes, block_bytes: usize_of(block_bytes) };
        let xattrs = XattrBlocks::plan(tree, room, options.features.has(Feature::EaInode).then(|| Csum::of_uuid(options.uuid.as_bytes())))?;
        demand.xattr_blocks = u64_of(xattrs.blocks.len());
        for value in xattrs.values.iter() {
            let blocks = value.blocks(block_bytes);
            demand.xattr_blocks += blocks;
            demand.tree_blocks += limits.mapping.least_nodes(std::iter::once((0, blocks)));
        }
        let numbers = numbers.with_values(xattrs.values.iter().len())?;
        demand.inodes = u64::from(numbers.last());
        let quotas = Quotas::new(tree, options.features)?;
        for blocks in quotas.iter().map(|file| file.blocks(block_bytes)) {
            demand.quota_blocks += blocks;
            demand.tree_blocks += limits.mapping.least_nodes(std::iter::once((0, blocks)));
        }
        Ok(Self { numbers, directories, xattrs, quotas, preallocated, mapping: limits.mapping, demand })
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

/// What the options allow a node.
struct Limits {
    block_bytes: u64,
    mapping: Mapping,
    file_max_bytes: u64,
    time_max_seconds: i64,
    /// Directories may have over 65,000 subdirectories.
    many_subdirectories: bool,
}

impl Limits {
    fn new(options: &Options) -> Self {
        let block_bytes = u64::from(options.block_bytes);
        let mapping = Mapping::new(options.features, block_bytes);
        let small = usize::from(options.inode_bytes) == INODE_BYTES_MIN;
        Self {
            block_bytes,
            mapping,
            file_max_bytes: mapping.file_max_bytes(options.features, block_bytes),
            time_max_seconds: if small { TIME_MAX_SECONDS_SMALL } else { TIME_MAX_SECONDS },
            many_subdirectories: options.features.has(Feature::DirNlink),
        }
    }
}

/// The files whose holes are to be allocated.
fn preallocated(tree: &Tree, options: &Options) -> Result<Vec<NodeId>> {
    let find = |path: &Vec<u8>| {
        let node = tree.lookup(path).filter(|id| matches!(tree.node(*id).kind, NodeKind::File(_)));
        node.ok_or_else(|| Error::invalid("blocks are to be allocated beforehand, and there is no such file").at_path(path.clone()))
    };
    let mut nodes = options.preallocate.iter().map(find).collect::<Result<Vec<NodeId>>>()?;
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

/// Checks a node against ext4's limits.
fn check(id: NodeId, node: &Node, tree: &Tree, limits: &Limits) -> Result<()> {
    let block_bytes = limits.block_bytes;
    let time = node.metadata.mtime;
    if encode_time(time).is_none() || time.seconds > limits.time_max_seconds || time.nanoseconds > 999_999_999 {
        let last = if limits.time_max_seconds == TIME_MAX_SECONDS { "2446-05-10" } else { "2038-01-19 (inodes of 128 bytes)" };
        return Err(Error::limit(format!("a time of {}.{:09} seconds; this filesystem holds 1901-12-13 to {last}", time.seconds, time.nanoseconds)));
    }
    if !node.is_directory() && node.links > LINK_MAX {
        return Err(Error::limit(format!("{} hard links; ext4 holds at most {LINK_MAX}", node.links)));
    }
    match node.kind {
        NodeKind::File(file) if file.length > limits.file_max_bytes => {
            let most = limits.file_max_bytes;
            Err(Error::limit(format!("a file of {} bytes; this filesystem with blocks of {block_bytes} holds at most {most}", file.length)))
        }
        NodeKind::Symlink(_) => {
            let len = u64_of(tree.target(id).len());
            let most = SYMLINK_MAX_BYTES.min(block_bytes - 1);
            if len > most {
                return Err(Error::limit(format!("a symbolic link to a target of {len} bytes; ext4 with blocks of {block_bytes} holds at most {most}")));
            }
            Ok(())
        }
        NodeKind::Directory if !limits.many_subdirectories && tree.entries(id).len() > index_of(LINK_MAX) - 2 => {
            let subdirectories = tree.entries(id).iter().filter(|entry| tree.node(entry.node).is_directory()).count();
            if subdirectories > index_of(LINK_MAX) - 2 {
                return Err(Error::limit(format!("{subdirectories} subdirectories; without the feature dir_nlink {} are possible", LINK_MAX - 2)));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Counts the blocks of a node that was checked.
fn count(tree: &Tree, id: NodeId, node: &Node, preallocated: bool, limits: &Limits, demand: &mut Demand) {
    match node.kind {
        NodeKind::File(file) => {
            let pieces = || file_pieces(tree, &file, preallocated, limits.block_bytes);
            demand.file_blocks += pieces().map(|piece| piece.blocks).sum::<u64>();
            demand.tree_blocks += limits.mapping.nodes(pieces()).iter().map(|(_, _, count)| count).sum::<u64>();
        }
        NodeKind::Symlink(_) => demand.symlink_blocks += u64::from(!is_fast_symlink(u64_of(tree.target(id).len()))),
        _ => {}
    }
}

/// Whether a target of `len` bytes lies in the inode, with its NUL byte.
pub(super) fn is_fast_symlink(len: u64) -> bool {
    len < u64_of(I_BLOCK_BYTES)
}

impl Survey {
    /// The blocks of a file that are no holes.
    pub(super) fn pieces<'a>(&self, tree: &'a Tree, id: NodeId, file: &FileData, block_bytes: u64) -> impl Iterator<Item = Piece> + 'a {
        file_pieces(tree, file, self.preallocated.binary_search(&id).is_ok(), block_bytes)
    }
}

/// The blocks of a file that are no holes; of one that is allocated beforehand, all its blocks.
fn file_pieces<'a>(tree: &'a Tree, file: &FileData, preallocated: bool, block_bytes: u64) -> impl Iterator<Item = Piece> + 'a {
    let mut ranges = block_ranges(tree.data_ranges(file), block_bytes).peekable();
    let end = file.length.div_ceil(block_bytes);
    let mut at = 0;
    std::iter::from_fn(move || {
        let next = ranges.peek().map_or(end, |(first, _)| *first);
        if preallocated && at < next {
            let hole = Piece::unwritten(at, next - at);
            at = next;
            return Some(hole);
        }
        let (first, blocks) = ranges.next()?;
        at = first + blocks;
        Some(Piece::data(first, blocks))
    })
}

/// The link count that a directory's subdirectories give: 1 means "too many to count" (dir_nlink).
pub(super) fn directory_links(subdirectories: u64) -> u16 {
    let links = subdirectories + 2;
    if links > u64::from(LINK_MAX) { 1 } else { u16::try_from(links).unwrap_or(1) }
}
