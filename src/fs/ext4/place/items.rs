//! What is to be placed besides the filesystem's own: one item for each directory, xattr block, value, long link target and file.

use super::early;
use super::ledger::Holder;
use crate::error::Result;
use crate::fs::ext4::geometry::Geometry;
use crate::fs::ext4::mapping::Piece;
use crate::fs::ext4::numbers::Numbers;
use crate::fs::ext4::options::Options;
use crate::fs::ext4::survey::{Survey, Target};
use crate::tree::{NodeId, NodeKind, Tree};
use crate::units::{BLOCK_BYTES, index_of};
use std::iter::once;

/// What placing looks at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) tree: &'a Tree,
    pub(super) survey: &'a Survey,
    pub(super) geometry: &'a Geometry,
    pub(super) options: &'a Options,
}

impl Context<'_> {
    /// Blocks of the filesystem in a block of the disk: what a snapshot stores and fetches as one. Filesystems begin at one.
    pub(super) fn unit(&self) -> u64 {
        BLOCK_BYTES / self.geometry.block_bytes
    }
}

/// Which blocks an item has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// So many from the first on.
    Dense(u64),
    /// Those of a file that are no holes.
    File(NodeId),
    /// Those in `Items::listed`.
    Listed(u32),
}

/// Something that is to be placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) holder: Holder,
    /// The node; for xattrs the first that has them, `None` for a value.
    pub(super) node: Option<NodeId>,
    blocks: Blocks,
    /// Blocks with the nodes that map them, if they find a place in one piece.
    pub(super) count: u64,
    /// Stands for the path.
    pub(super) key: u64,
    /// A file's contents.
    pub(super) is_file: bool,
    /// A file that is likely to be read while the system boots.
    pub(super) is_early: bool,
    /// Not all blocks of the inode.
    pub(super) is_part: bool,
}

/// All items, in the order in which they lie where nothing else decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    pub(super) list: Vec<Item>,
    listed: Vec<Vec<Piece>>,
}

impl Items {
    /// Directories in tree order, xattrs, targets of links, files in tree order.
    pub(super) fn of(context: &Context<'_>, numbers: &Numbers) -> Self {
        let Context { tree, survey, geometry, .. } = *context;
        let keys = keys(tree);
        let nodes_of = |pieces: &mut dyn Iterator<Item = Piece>| survey.mapping.nodes(pieces).iter().map(|(_, _, count)| count).sum::<u64>();
        let dense = |holder: Holder, node: Option<NodeId>, key: u64, blocks: u64| {
            let map = if matches!(holder, Holder::Inode(_)) { nodes_of(&mut once(Piece::data(0, blocks))) } else { 0 };
            Item { holder, node, blocks: Blocks::Dense(blocks), count: blocks + map, key, is_file: false, is_early: false, is_part: false }
        };
        let mut list = Vec::with_capacity(tree.node_count());
        let of_node = |id: NodeId, blocks: u64| dense(Holder::Inode(numbers.of(id)), Some(id), keys[id.index()], blocks);
        list.extend(survey.directories.iter().filter(|(_, blocks)| *blocks > 0).map(|(id, blocks)| of_node(id, blocks)));
        for (number, node) in (0..).zip(survey.xattrs.first_holders()) {
            list.push(dense(Holder::Xattrs(number), Some(node), mix(keys[node.index()]), 1));
        }
        for (number, value) in (0..).zip(survey.xattrs.values.iter()) {
            list.push(dense(Holder::Inode(numbers.of_value(number)), None, mix(u64::from(number)), value.blocks(geometry.block_bytes)));
        }
        let links = tree.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::Symlink(_)));
        list.extend(links.filter(|(id, _)| survey.target(tree, *id) == Target::Block).map(|(id, _)| of_node(id, 1)));
        let early = early::files(tree);
        for (id, node) in tree.nodes() {
            let NodeKind::File(file) = node.kind else { continue };
            let pieces = || survey.pieces(tree, id, &file, geometry.block_bytes);
            let count = pieces().map(|piece| piece.blocks).sum::<u64>();
            if count > 0 {
                let (holder, key) = (Holder::Inode(numbers.of(id)), keys[id.index()]);
                let count = count + nodes_of(&mut pieces());
                list.push(Item { holder, node: Some(id), blocks: Blocks::File(id), count, key, is_file: true, is_early: early[id.index()], is_part: false });
            }
        }
        Self { list, listed: Vec::new() }
    }

    /// Calls `each` with the pieces of an item, ascending.
    pub(super) fn pieces(&self, context: &Context<'_>, item: &Item) -> Vec<Piece> {
        match item.blocks {
            Blocks::Dense(blocks) => vec![Piece::data(0, blocks)],
            Blocks::Listed(at) => self.listed[index_of(at)].clone(),
            Blocks::File(id) => match context.tree.node(id).kind {
                NodeKind::File(file) => context.survey.pieces(context.tree, id, &file, context.geometry.block_bytes).collect(),
                _ => Vec::new(),
            },
        }
    }

    /// Adds some of the blocks of `item` as an item of its own.
    pub(super) fn push_part(&mut self, item: &Item, pieces: Vec<Piece>) -> Result<()> {
        let count = pieces.iter().map(|piece| piece.blocks).sum();
        let number = u32::try_from(self.listed.len()).map_err(|_| crate::error::Error::limit("over 2^32 files in parts"))?;
        self.listed.push(pieces);
        self.list.push(Item { blocks: Blocks::Listed(number), count, is_part: true, ..*item });
        Ok(())
    }
}

/// A number for each node that stands for its path: for that of a file with several, for the one that is met first.
pub(super) fn keys(tree: &Tree) -> Vec<u64> {
    const NONE: u64 = 0;
    let mut keys = vec![NONE; tree.node_count()];
    keys[NodeId::ROOT.index()] = mix(1);
    for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
        let above = keys[directory.index()];
        for entry in tree.entries(directory) {
            let key = &mut keys[entry.node.index()];
            if *key == NONE {
                *key = hash(above, tree.name(entry));
            }
        }
    }
    keys
}

/// FNV-1a of a name, begun with the number of what is above it, mixed. It is part of the format of no file, only of where things lie.
fn hash(above: u64, name: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    mix(name.iter().fold(above, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))).max(1)
}

/// Spreads every bit of a number over all (the finalizer of splitmix64).
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
