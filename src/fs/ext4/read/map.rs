//! Where the blocks of an inode lie: by its extent tree, or by the block map of ext2 and ext3.

use super::super::format::{Csum, EXTENT_BLOCKS_MAX, EXTENT_BYTES, EXTENT_MAGIC, EXTENTS_FL, Extent, ExtentHeader, ExtentIndex, I_BLOCK_BYTES, ROOT_ENTRIES};
use super::cache::Cache;
use super::claims::BlockSet;
use super::inode::{I_BLOCK_AT, Record};
use super::volume::Volume;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};

/// Levels below the root: what 2^32 blocks need in blocks of 1 KiB (Linux, `EXT4_MAX_EXTENT_DEPTH`).
const DEPTH_MAX: u16 = 5;
/// Pointers of `i_block` to data; then one to each level of indirection.
const DIRECT: usize = 12;
/// Logical blocks have numbers of 32 bits, and the last one stands for the end.
const LOGICAL_END: u64 = 0xffff_ffff;

/// Blocks of a file that follow each other on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first one's number in the file.
    pub(super) logical: u64,
    /// The first one's place.
    pub(super) start: u64,
    pub(super) blocks: u64,
    /// Never written: they read as zero.
    pub(super) unwritten: bool,
}

impl Run {
    pub(super) fn logical_end(&self) -> u64 {
        self.logical + self.blocks
    }
}

/// All of an inode's blocks.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// Ascending by their numbers in the file.
    pub(super) runs: Vec<Run>,
    /// Blocks of the tree or the map.
    pub(super) nodes: Vec<u64>,
    /// What is odd and changes nothing: for the check.
    pub(super) odd: Vec<Error>,
}

impl Map {
    /// The end of the last block, in blocks.
    pub(super) fn logical_end(&self) -> u64 {
        self.runs.last().map_or(0, Run::logical_end)
    }

    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.logical_end() == run.logical && last.start + last.blocks == run.start && last.unwritten == run.unwritten => {
                last.blocks += run.blocks;
            }
            _ => self.runs.push(run),
        }
    }

    /// The place of a block of the file; `None` for holes.
    pub(super) fn block(&self, logical: u64) -> Option<u64> {
        let run = self.runs.get(self.runs.partition_point(|run| run.logical_end() <= logical))?;
        (run.logical <= logical && !run.unwritten).then(|| run.start + (logical - run.logical))
    }
}

/// Follows what maps an inode's blocks. `met` are the nodes of all trees and maps so far: each is met once.
///
/// # Errors
/// What leads nowhere, with the offset of what says so; those of the disk.
pub(super) fn read(volume: &Volume, cache: &mut Cache, met: &mut BlockSet, record: &Record) -> Result<Map> {
    let mut reader = Reader { volume, cache, met, csum: record.csum(volume), ino: record.ino, map: Map::default() };
    let offset = record.offset + I_BLOCK_AT;
    let done = if record.has_flag(EXTENTS_FL) { reader.tree(&record.inode.i_block, offset) } else { reader.block_map(&record.inode.i_block, offset) };
    let map = reader.map;
    done.map(|()| map).map_err(|error| error.at_offset(offset))
}

struct Reader<'a> {
    volume: &'a Volume,
    cache: &'a mut Cache,
    met: &'a mut BlockSet,
    csum: Csum,
    ino: u32,
    map: Map,
}

/// A node of a tree that is still to be read.
#[derive(Debug, Clone, Copy)]
struct Child {
    block: u64,
    depth: u16,
    /// The logical blocks that may be below it.
    first: u64,
    end: u64,
}

impl Reader<'_> {
    /// The bytes of a node at `block`, which nothing may have pointed to before.
    fn node(&mut self, block: u64, what: &str) -> Result<Vec<u8>> {
        if !self.volume.holds(block, 1) {
            return Err(Error::corrupt(format!("inode {}: {what} at block {block}; the filesystem has {}", self.ino, self.volume.blocks)));
        }
        if !self.met.insert(block) {
            return Err(Error::corrupt(format!("inode {}: {what} at block {block}, which something else has as well", self.ino)));
        }
        self.map.nodes.push(block);
        Ok(self.cache.bytes(self.volume.offset(block), self.volume.block_len())?.to_vec())
    }

    fn data(&mut self, logical: u64, start: u64, blocks: u64, unwritten: bool) -> Result<()> {
        if !self.volume.holds(start, blocks) {
            let what = format!("inode {}: blocks {start} to {} of a filesystem that has {}", self.ino, start + blocks.max(1) - 1, self.volume.blocks);
            return Err(Error::corrupt(what));
        }
        self.map.push(Run { logical, start, blocks, unwritten });
        Ok(())
    }

    fn tree(&mut self, root: &[u8; I_BLOCK_BYTES], offset: u64) -> Result<()> {
        // Depth first, so that blocks ascend.
        let whole = Child { block: 0, depth: DEPTH_MAX + 1, first: 0, end: LOGICAL_END };
        let mut pending = self.tree_node(root, offset, whole, true)?;
        pending.reverse();
        while let Some(child) = pending.pop() {
            let bytes = self.node(child.block, "a node of its extent tree")?;
            let offset = self.volume.offset(child.block);
            let mut children = self.tree_node(&bytes, offset, child, false).map_err(|error| error.at_offset(offset))?;
            children.reverse();
            pending.append(&mut children);
        }
        Ok(())
    }

    /// Takes what is in a node, and gives its children.
    fn tree_node(&mut self, bytes: &[u8], offset: u64, own: Child, is_root: bool) -> Result<Vec<Child>> {
        let ino = self.ino;
        let entry = |at: usize| -> [u8; EXTENT_BYTES] { bytes[at * EXTENT_BYTES..][..EXTENT_BYTES].try_into().expect("a slice of 12 bytes") };
        let header = ExtentHeader::decode(&entry(0));
        let room = if is_root { ROOT_ENTRIES } else { bytes.len() / EXTENT_BYTES - 1 };
        if header.eh_magic != EXTENT_MAGIC {
            let found = header.eh_magic;
            return Err(Error::corrupt(format!("inode {ino}: a node of its extent tree begins with {found:#06x}, not with {EXTENT_MAGIC:#06x}")));
        }
        let depth_is_right = if is_root { header.eh_depth <= DEPTH_MAX } else { header.eh_depth + 1 == own.depth };
        if !depth_is_right || usize::from(header.eh_max) > room || header.eh_max == 0 || header.eh_entries > header.eh_max {
            let ExtentHeader { eh_entries, eh_max, eh_depth, .. } = header;
            return Err(Error::corrupt(format!(
                "inode {ino}: a node of its extent tree with {eh_entries} of {eh_max} entries ({room} fit) and depth {eh_depth}"
            )));
        }
        if !is_root && self.csum.is_on() {
            let tail = EXTENT_BYTES * (1 + usize::from(header.eh_max));
            let found = bytes.get(tail..tail + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let expected = self.csum.over(&[&bytes[..tail]]);
            if found != Some(expected) {
                let found = found.unwrap_or(0);
                return Err(Error::corrupt(format!("inode {ino}: a node of its extent tree has the checksum {found:#010x}; it should be {expected:#010x}")));
            }
        }
        let count = usize::from(header.eh_entries);
        if header.eh_depth == 0 {
            self.leaf((1..=count).map(|at| Extent::decode(&entry(at))), own, offset, is_root)?;
            return Ok(Vec::new());
        }
        if count == 0 {
            return Err(Error::corrupt(format!("inode {ino}: a node of its extent tree of depth {} without entries", header.eh_depth)));
        }
        let indexes: Vec<ExtentIndex> = (1..=count).map(|at| ExtentIndex::decode(&entry(at))).collect();
        let mut children = Vec::with_capacity(count);
        for (at, index) in indexes.iter().enumerate() {
            let first = u64::from(index.ei_block);
            let end = indexes.get(at + 1).map_or(own.end, |next| u64::from(next.ei_block));
            if first < own.first || first >= end || end > own.end {
                return Err(Error::corrupt(format!("inode {ino}: the extent tree's nodes are out of order at logical block {first}")));
            }
            if at == 0 && !is_root && first != own.first {
                self.map.odd.push(Error::corrupt(format!("inode {ino}: an extent tree's node for {} begins at {first}", own.first)).at_offset(offset));
            }
            let block = u64::from(index.ei_leaf_lo) | u64::from(index.ei_leaf_hi) << 32;
            children.push(Child { block, depth: header.eh_depth, first, end });
        }
        Ok(children)
    }

    fn leaf(&mut self, extents: impl Iterator<Item = Extent>, own: Child, offset: u64, is_root: bool) -> Result<()> {
        let ino = self.ino;
        let mut next = own.first;
        for (extent, number) in extents.zip(0..) {
            let unwritten = extent.ee_len > EXTENT_BLOCKS_MAX;
            let blocks = u64::from(if unwritten { extent.ee_len - EXTENT_BLOCKS_MAX } else { extent.ee_len });
            let first = u64::from(extent.ee_block);
            if blocks == 0 || first < next || first + blocks > own.end {
                return Err(Error::corrupt(format!(
                    "inode {ino}: an extent of {blocks} blocks at logical block {first} is empty, overlaps or is out of order"
                )));
            }
            if number == 0 && !is_root && first != own.first {
                self.map.odd.push(Error::corrupt(format!("inode {ino}: an extent tree's leaf for {} begins at {first}", own.first)).at_offset(offset));
            }
            next = first + blocks;
            let start = u64::from(extent.ee_start_lo) | u64::from(extent.ee_start_hi) << 32;
            self.data(first, start, blocks, unwritten)?;
        }
        Ok(())
    }

    fn block_map(&mut self, i_block: &[u8; I_BLOCK_BYTES], _offset: u64) -> Result<()> {
        let pointers_per_block = self.volume.block_bytes / 4;
        let pointer = |bytes: &[u8], at: usize| u32::from_le_bytes([bytes[at * 4], bytes[at * 4 + 1], bytes[at * 4 + 2], bytes[at * 4 + 3]]);
        for at in 0..DIRECT {
            let start = u64::from(pointer(i_block, at));
            if start != 0 {
                self.data(u64_of(at), start, 1, false)?;
            }
        }
        // (block, level, first logical block below it): a stack, so that blocks ascend.
        let mut first = u64_of(DIRECT);
        let mut span = pointers_per_block;
        for level in 1..=3_u32 {
            let mut pending = vec![(u64::from(pointer(i_block, DIRECT + usize_of(u64::from(level)) - 1)), level, first)];
            while let Some((block, level, first)) = pending.pop() {
                if block == 0 {
                    continue;
                }
                let bytes = self.node(block, "an indirect block")?;
                let below = pointers_per_block.pow(level - 1);
                let entries = (0..bytes.len() / 4).map(|at| (u64::from(pointer(&bytes, at)), first + u64_of(at) * below)).filter(|(block, _)| *block != 0);
                if level > 1 {
                    let from = pending.len();
                    pending.extend(entries.map(|(block, first)| (block, level - 1, first)));
                    pending[from..].reverse();
                    continue;
                }
                for (start, logical) in entries {
                    if logical >= LOGICAL_END {
                        return Err(Error::corrupt(format!("inode {}: logical block {logical}; files end before 2^32 − 1", self.ino)));
                    }
                    self.data(logical, start, 1, false).map_err(|error| error.at_offset(self.volume.offset(block)))?;
                }
            }
            first += span;
            span *= pointers_per_block;
        }
        Ok(())
    }
}
