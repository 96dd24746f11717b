//! What a tree asks of the filesystem: every node is checked against ext4's limits, and its blocks are counted.

use super::directory::{Directories, Form, LOST_FOUND_BYTES};
use super::features::Feature;
use super::format::{
    APPEND_FL, Csum, I_BLOCK_BYTES, IMMUTABLE_FL, INODE_BYTES_MIN, INODE_FIELDS_BYTES, LINK_MAX, TIME_MAX_SECONDS, TIME_MAX_SECONDS_SMALL, encode_time,
};
use super::inline::target_fits;
use super::mapping::{Mapping, Piece};
use super::numbers::{Numbers, Own};
use super::options::Options;
use super::place::block_ranges;
use super::quota::Quotas;
use super::xattrs::{Room, XattrBlocks};
use crate::error::{Error, Result};
use crate::tree::{FileData, NAME_MAX_BYTES, Node, NodeId, NodeKind, Tree, attribute};
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
    /// Small directories and link targets lie in their inodes.
    inline: bool,
}

/// Where a link's target lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// In `i_block`, with a NUL byte.
    Fast,
    /// In the inode as inline data.
    Inline,
    Block,
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
            if let NodeKind::File(file) = node.kind {
                count(tree, &file, preallocated.binary_search(&id).is_ok(), &limits, &mut demand);
            }
        }
        let region_bytes = usize::from(options.inode_bytes).saturating_sub(INODE_FIELDS_BYTES);
        let room = Room { region_bytes, block_bytes: usize_of(block_bytes) };
        let xattrs = XattrBlocks::plan(tree, room, options.features.has(Feature::EaInode).then(|| Csum::of_uuid(options.uuid.as_bytes())))?;
        let numbers = numbers.with_values(xattrs.values.iter().len())?;
        let quotas = Quotas::new(tree, options.features)?;
        let inline = options.features.has(Feature::InlineData);
        let mut survey = Self { numbers, directories: Directories::default(), xattrs, quotas, preallocated, mapping: limits.mapping, demand, inline };
        let directories = Directories::pack(tree, &survey.numbers, Form::new(options), |id| survey.inline_room(tree, id))?;
        survey.directories = directories;
        survey.count_metadata(tree, block_bytes);
        Ok(survey)
    }

    /// Counts what is neither a file's contents nor a node of what maps them.
    fn count_metadata(&mut self, tree: &Tree, block_bytes: u64) {
        let mut demand = Demand { inodes: u64::from(self.numbers.count()), ..self.demand };
        let mut map = |blocks: u64| {
            demand.tree_blocks += self.mapping.least_nodes(std::iter::once((0, blocks)).filter(|(_, blocks)| *blocks > 0));
            blocks
        };
        demand.directory_blocks = self.directories.iter().map(|(_, blocks)| map(blocks)).sum();
        demand.xattr_blocks = u64_of(self.xattrs.blocks.len()) + self.xattrs.values.iter().map(|value| map(value.blocks(block_bytes))).sum::<u64>();
        demand.quota_blocks = self.quotas.iter().map(|file| map(file.blocks(block_bytes))).sum();
        if self.numbers.adds_lost_found() {
            demand.directory_blocks += LOST_FOUND_BYTES / block_bytes;
        }
        let in_blocks = |(id, node): &(NodeId, &Node)| matches!(node.kind, NodeKind::Symlink(_)) && self.target(tree, *id) == Target::Block;
        demand.symlink_blocks = u64_of(tree.nodes().filter(in_blocks).count());
        self.demand = demand;
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
    check_attributes(node)?;
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

/// Checks the attributes that chattr and the kernel set.
fn check_attributes(node: &Node) -> Result<()> {
    let has = |bits: u32| node.metadata.attributes & bits != 0;
    for (bit, what) in [(attribute::ENCRYPTED, "encrypted (fscrypt)"), (attribute::VERITY, "sealed by fs-verity"), (attribute::CASEFOLDED, "casefolded")] {
        if has(bit) {
            return Err(Error::unsupported(format!("the entry is {what}; ext4 filesystems are made without such entries")));
        }
    }
    let other = node.metadata.attributes & !attribute::KEPT;
    if other != 0 {
        return Err(Error::invalid(format!("the attributes {other:#x}, which say nothing of an entry")));
    }
    if has(IMMUTABLE_FL | APPEND_FL) && !matches!(node.kind, NodeKind::File(_) | NodeKind::Directory) {
        return Err(Error::unsupported("an entry that is immutable or append-only; ext4 has such files and directories alone"));
    }
    Ok(())
}

/// Counts the blocks of a file that was checked.
fn count(tree: &Tree, file: &FileData, preallocated: bool, limits: &Limits, demand: &mut Demand) {
    let pieces = || file_pieces(tree, file, preallocated, limits.block_bytes);
    demand.file_blocks += pieces().map(|piece| piece.blocks).sum::<u64>();
    demand.tree_blocks += limits.mapping.nodes(pieces()).iter().map(|(_, _, count)| count).sum::<u64>();
}

impl Survey {
    /// Bytes that a directory or a link may have in its inode besides `i_block`, if it may lie there.
    pub(super) fn inline_room(&self, tree: &Tree, id: NodeId) -> Option<usize> {
        if !self.inline || id == NodeId::ROOT || self.numbers.is_lost_found(id) {
            return None;
        }
        self.xattrs.inline_room(tree, &self.numbers, tree.node(id).metadata.xattrs)
    }

    /// Where the target of a link lies. e2fsck 1.47 looks at no block of attributes of an inline link, and accounts for none in quotas.
    pub(super) fn target(&self, tree: &Tree, id: NodeId) -> Target {
        let len = tree.target(id).len();
        if len < I_BLOCK_BYTES {
            Target::Fast
        } else if !self.quotas.any() && self.xattrs.of(id).is_none() && self.inline_room(tree, id).is_some_and(|room| target_fits(len, room)) {
            Target::Inline
        } else {
            Target::Block
        }
    }

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
