//! How an inode's blocks are found: by an extent tree, or by a block map in filesystems without the feature extent.
//!
//! Both have a root in the inode and nodes in blocks of their own; how many nodes there are is known before anything is placed, but
//! for files that fixed metadata parts into more extents.

use super::blockmap;
use super::extents::{entries_per_node, tree_levels};
use super::features::{Feature, Features};
use super::format::{EXTENT_BLOCKS_MAX, UNWRITTEN_BLOCKS_MAX};
use super::place::RunKind;

/// A stretch of an inode's logical blocks that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// [`RunKind::Data`] or [`RunKind::Unwritten`].
    pub(super) kind: RunKind,
    pub(super) first: u64,
    pub(super) blocks: u64,
}

impl Piece {
    pub(super) const fn data(first: u64, blocks: u64) -> Self {
        Self { kind: RunKind::Data, first, blocks }
    }

    pub(super) const fn unwritten(first: u64, blocks: u64) -> Self {
        Self { kind: RunKind::Unwritten, first, blocks }
    }

    /// The most blocks in one run of this kind.
    pub(super) fn run_max(kind: RunKind) -> u64 {
        u64::from(if kind == RunKind::Unwritten { UNWRITTEN_BLOCKS_MAX } else { EXTENT_BLOCKS_MAX })
    }
}

/// How inodes are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    Extents { entries_per_node: u64 },
    BlockMap { pointers_per_block: u64 },
}

impl Mapping {
    pub(super) fn new(features: Features, block_bytes: u64) -> Self {
        if features.has(Feature::Extent) {
            Self::Extents { entries_per_node: entries_per_node(block_bytes) }
        } else {
            Self::BlockMap { pointers_per_block: block_bytes / 4 }
        }
    }

    /// Nodes that map these pieces, if each finds its place in one stretch: `(kind, first number, count)`.
    pub(super) fn nodes(self, pieces: impl Iterator<Item = Piece>) -> Vec<(RunKind, u64, u64)> {
        match self {
            Self::Extents { entries_per_node } => {
                let extents = pieces.map(|piece| piece.blocks.div_ceil(Piece::run_max(piece.kind))).sum();
                vec![(RunKind::Tree, 0, tree_levels(extents, entries_per_node).iter().sum())]
            }
            Self::BlockMap { pointers_per_block } => blockmap::nodes(pieces.map(|piece| (piece.first, piece.blocks)), pointers_per_block)
                .into_iter()
                .map(|(level, first, count)| (RunKind::Map(level), first, count))
                .collect(),
        }
    }

    /// How many these are.
    pub(super) fn least_nodes(self, pieces: impl Iterator<Item = (u64, u64)>) -> u64 {
        self.nodes(pieces.map(|(first, blocks)| Piece::data(first, blocks))).iter().map(|(_, _, count)| count).sum()
    }

    /// The most bytes of a file: what is mapped, and what `i_blocks` counts (Linux, `ext4_max_size` and `ext4_max_bitmap_size`).
    pub(super) fn file_max_bytes(self, features: Features, block_bytes: u64) -> u64 {
        const SECTOR_BYTES: u64 = 512;
        let counted = if features.has(Feature::HugeFile) { u64::MAX } else { u64::from(u32::MAX) * SECTOR_BYTES / block_bytes };
        let blocks = match self {
            // 32 bits of logical blocks, and the last number stands for the end.
            Self::Extents { .. } => u64::from(u32::MAX).min(counted),
            Self::BlockMap { pointers_per_block: p } => {
                let mapped = blockmap::blocks_max(p);
                let nodes = 1 + (1 + p) + (1 + p + p * p);
                mapped.min(counted.saturating_sub(nodes)).min(u64::from(u32::MAX))
            }
        };
        blocks * block_bytes
    }
}
