//! Extent trees: the shape of a tree with so many extents, its root in the inode, its other nodes in blocks.
//!
//! Nodes are filled to the last entry, level by level from the leaves: the smallest tree that there is.

use super::format::{Csum, EXTENT_BLOCKS_MAX, EXTENT_BYTES, EXTENT_MAGIC, Extent, ExtentHeader, ExtentIndex, I_BLOCK_BYTES, ROOT_ENTRIES};
use super::place::{Run, RunKind};
use crate::units::{u64_of, usize_of};

/// Entries of a node that fills a block: 12 bytes each behind the header, and 4 bytes at the end for the checksum.
pub(super) fn entries_per_node(block_bytes: u64) -> u64 {
    (block_bytes - 4) / u64_of(EXTENT_BYTES) - 1
}

/// Nodes of each level of a tree with so many extents, leaves first, without the root; empty if they fit into the root.
pub(super) fn tree_levels(extents: u64, entries_per_node: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = extents;
    while below > u64_of(ROOT_ENTRIES) {
        below = below.div_ceil(entries_per_node);
        levels.push(below);
    }
    levels
}

/// An inode's extent tree: its extents, and the runs that hold its nodes.
pub(super) struct Tree<'a> {
    pub(super) extents: &'a [Run],
    pub(super) nodes: &'a [Run],
    pub(super) entries_per_node: u64,
}

impl Tree<'_> {
    /// `i_block`: the root.
    pub(super) fn root(&self) -> [u8; I_BLOCK_BYTES] {
        let mut b = [0; I_BLOCK_BYTES];
        let levels = self.levels();
        let entries = levels.last().copied().unwrap_or(u64_of(self.extents.len()));
        self.fill_node(&mut b, levels.len(), 0, entries, u64_of(ROOT_ENTRIES));
        b
    }

    /// Node number `node` (leaves first) into a block, with its checksum.
    pub(super) fn fill_block(&self, node: u64, csum: Csum, block: &mut [u8]) {
        block.fill(0);
        let mut first_of_level = 0;
        for (level, count) in self.levels().into_iter().enumerate() {
            if node < first_of_level + count {
                let at = node - first_of_level;
                let below = if level == 0 { u64_of(self.extents.len()) } else { self.levels()[level - 1] };
                let first = at * self.entries_per_node;
                let entries = (below - first).min(self.entries_per_node);
                self.fill_node(block, level, first, entries, self.entries_per_node);
                let tail = EXTENT_BYTES * (1 + usize_of(self.entries_per_node));
                let checksum = csum.over(&[&block[..tail]]);
                block[tail..tail + 4].copy_from_slice(&checksum.to_le_bytes());
                return;
            }
            first_of_level += count;
        }
        unreachable!("node {node} of a tree with {first_of_level}: the placement counted them");
    }

    /// A header and `entries` entries from number `first` of the level below.
    fn fill_node(&self, b: &mut [u8], level: usize, first: u64, entries: u64, room: u64) {
        let small = |value: u64| u16::try_from(value).expect("a block holds under 65,536 entries");
        let depth = u16::try_from(level).expect("a tree of 2^32 extents has a depth of 4");
        let header = ExtentHeader { eh_magic: EXTENT_MAGIC, eh_entries: small(entries), eh_max: small(room), eh_depth: depth, eh_generation: 0 };
        b[..EXTENT_BYTES].copy_from_slice(&header.encode());
        for (slot, number) in b[EXTENT_BYTES..].chunks_exact_mut(EXTENT_BYTES).zip(first..first + entries) {
            slot.copy_from_slice(&if level == 0 { encode_extent(&self.extents[usize_of(number)]) } else { self.encode_index(level - 1, number) });
        }
    }

    /// The entry for node `number` of `level`.
    fn encode_index(&self, level: usize, number: u64) -> [u8; EXTENT_BYTES] {
        let levels = self.levels();
        let node = levels[..level].iter().sum::<u64>() + number;
        let first_extent = (0..=level).fold(number, |first, _| first * self.entries_per_node);
        let (low, high) = split_block(self.node_block(node));
        ExtentIndex { ei_block: self.extents[usize_of(first_extent)].logical, ei_leaf_lo: low, ei_leaf_hi: high }.encode()
    }

    /// The block of node `node`.
    fn node_block(&self, node: u64) -> u64 {
        let at = self.nodes.partition_point(|run| u64::from(run.logical) + u64::from(run.count) <= node);
        self.nodes[at].start + (node - u64::from(self.nodes[at].logical))
    }

    fn levels(&self) -> Vec<u64> {
        tree_levels(u64_of(self.extents.len()), self.entries_per_node)
    }
}

fn encode_extent(run: &Run) -> [u8; EXTENT_BYTES] {
    let (low, high) = split_block(run.start);
    let ee_len = if run.kind == RunKind::Unwritten { EXTENT_BLOCKS_MAX + run.count } else { run.count };
    Extent { ee_block: run.logical, ee_len, ee_start_hi: high, ee_start_lo: low }.encode()
}

/// The halves of a block number of 48 bits.
fn split_block(block: u64) -> (u32, u16) {
    let [a, b, c, d, e, f, g, h] = block.to_le_bytes();
    debug_assert!(g == 0 && h == 0, "a filesystem has under 2^48 blocks");
    (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_grow_at_each_full_node() {
        for (extents, expected) in [
            (0, vec![]),
            (4, vec![]),
            (5, vec![1]),
            (340, vec![1]),
            (341, vec![2]),
            (1360, vec![4]),
            (1361, vec![5, 1]),
            (340 * 340 * 4, vec![1360, 4]),
            (340 * 340 * 4 + 1, vec![1361, 5, 1]),
        ] {
            assert_eq!(tree_levels(extents, 340), expected, "{extents}");
        }
        assert_eq!([1024, 2048, 4096].map(entries_per_node), [84, 169, 340]);
    }

    /// Reads a tree back by the specification and returns the extents in order.
    fn read(node: &[u8], blocks: &[Vec<u8>], depth: u16, out: &mut Vec<Extent>) {
        let at = |n: usize| -> [u8; EXTENT_BYTES] { node[n * EXTENT_BYTES..][..EXTENT_BYTES].try_into().unwrap() };
        let header = ExtentHeader::decode(&at(0));
        assert_eq!((header.eh_magic, header.eh_depth), (EXTENT_MAGIC, depth));
        for entry in 1..=usize::from(header.eh_entries) {
            if depth == 0 {
                out.push(Extent::decode(&at(entry)));
            } else {
                let index = ExtentIndex::decode(&at(entry));
                let before = out.len();
                let child = usize_of(u64::from(index.ei_leaf_lo) - 1_000_000);
                read(&blocks[child], blocks, depth - 1, out);
                assert_eq!(out[before].ee_block, index.ei_block);
            }
        }
    }

    #[test]
    fn trees_of_any_depth_lead_to_every_extent_in_order() {
        // Nodes of 4 entries, so that few extents make deep trees.
        let entries_per_node = 4;
        for count in (1..=70_u32).chain([256, 257, 1024, 1025, 5000]) {
            let extents: Vec<Run> =
                (0..count).map(|n| Run { start: u64::from(n) * 10 + (1 << 40), logical: n * 3, owner: 12, count: 2, kind: RunKind::Data }).collect();
            let nodes: u64 = tree_levels(u64::from(count), entries_per_node).iter().sum();
            // The nodes in pieces of 3 blocks.
            let node_runs: Vec<Run> = (0..u32::try_from(nodes).unwrap())
                .step_by(3)
                .map(|n| Run { start: 1_000_000 + u64::from(n), logical: n, owner: 12, count: 3, kind: RunKind::Tree })
                .collect();
            let tree = Tree { extents: &extents, nodes: &node_runs, entries_per_node };
            let blocks: Vec<Vec<u8>> = (0..nodes)
                .map(|node| {
                    let mut block = vec![0xff; 64];
                    tree.fill_block(node, Csum::of_seed(7), &mut block);
                    assert_eq!(crate::crc::crc32c(7, &block[..60]).to_le_bytes(), block[60..]);
                    block
                })
                .collect();
            let mut found = Vec::new();
            let depth = tree_levels(u64::from(count), entries_per_node).len();
            read(&tree.root(), &blocks, u16::try_from(depth).unwrap(), &mut found);
            assert_eq!(found.len(), extents.len());
            for (extent, run) in found.iter().zip(&extents) {
                assert_eq!(extent.encode(), encode_extent(run));
                assert_eq!(extent.ee_start_hi, 1 << 8);
            }
        }
    }
}
