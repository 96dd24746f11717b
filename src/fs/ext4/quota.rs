//! Quota files: how many bytes and inodes each user, group and project has (features quota and project).
//!
//! Specification: see [`super::format::QuotaHeader`]. What counts is what e2fsck counts (e2fsprogs, `quota_compute_usage`): the root and all
//! inodes from 11 on, but neither the file of orphans nor the quota file of projects; an xattr block counts for every inode
//! that has it, a large value with its inode for every entry of every inode that refers to it.
//!
//! ```text
//! | header | root | nodes: 1 byte of the id | 2 bytes | 3 bytes | entries, 14 a block |      quota blocks of 1 KiB
//!              └─ block by first byte ─┘ └─ by second ─┘ └─ by third ─┘ └─ by last ─┘
//! ```
//!
//! Nodes of a level stand in the order of their ids, as do the entries, so the ids alone give a file's shape and size, before anything
//! is placed. Every id that owns something has an entry, and 0 always has one. There are no limits; times over a limit are the usual
//! seven days.
//!
//! 2^32 − 1 is an id like others here, as e2fsck counts it; the kernel takes it for "nobody" and leaves its entry alone.
//!
//! Refused: so many ids that a file would be over 2 GiB, which e2fsck takes for damage.

use super::features::{Feature, Features};
use super::format::{
    FIRST_INO, QUOTA_BLOCK_BYTES, QUOTA_ENTRIES_PER_LEAF, QUOTA_ENTRY_BYTES, QUOTA_FILE_MAX_BYTES, QUOTA_GRACE_SECONDS, QUOTA_HEADER_BYTES,
    QUOTA_LEAF_HEADER_BYTES, QUOTA_MAGICS, QUOTA_TREE_DEPTH, QUOTA_TREE_ROOT, QUOTA_VERSION, QuotaEntry, QuotaHeader, QuotaLeafHeader,
};
use super::groups::low32;
use super::place::Placement;
use super::survey::Survey;
use crate::error::{Error, Result};
use crate::tree::{Metadata, NodeId, Tree};
use crate::units::{u64_of, usize_of};
use std::ops::Range;

/// Bits of an id that one level of the tree looks at.
const LEVEL_BITS: usize = 8;
/// Bytes of a block's number in a node.
const POINTER_BYTES: usize = 4;
/// Where an id's entry stands in [`QuotaFile::prefixes`].
const IDS: usize = QUOTA_TREE_DEPTH - 1;

/// Whose usage a quota file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
    Project,
}

impl Kind {
    /// The kinds that a filesystem with these features has a file of.
    fn of(features: Features) -> impl Iterator<Item = Self> {
        let quota = features.has(Feature::Quota);
        let all = [(quota, Self::User), (quota, Self::Group), (features.has(Feature::Project), Self::Project)];
        all.into_iter().filter_map(|(there, kind)| there.then_some(kind))
    }

    /// Who of this kind owns a node.
    fn id(self, metadata: &Metadata) -> u32 {
        match self {
            Self::User => metadata.uid,
            Self::Group => metadata.gid,
            Self::Project => metadata.project,
        }
    }

    fn magic(self) -> u32 {
        match self {
            Self::User => QUOTA_MAGICS[0],
            Self::Group => QUOTA_MAGICS[1],
            Self::Project => QUOTA_MAGICS[2],
        }
    }
}

/// What one id has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    space_bytes: u64,
    inodes: u64,
}

impl Usage {
    fn add(&mut self, other: Self) {
        self.space_bytes += other.space_bytes;
        self.inodes += other.inodes;
    }
}

/// The shape of one quota file.
#[derive(Debug)]
pub(super) struct QuotaFile {
    pub(super) kind: Kind,
    /// The ids' first byte, their first two, three and all four bytes, each once, ascending: a node for each of the first three, an
    /// entry for each of the last.
    prefixes: [Vec<u32>; QUOTA_TREE_DEPTH],
}

impl QuotaFile {
    /// A file with an entry for each of `ids`, which come in any order.
    fn new(kind: Kind, mut ids: Vec<u32>) -> Result<Self> {
        ids.sort_unstable();
        ids.dedup();
        let level = |bytes: usize| {
            let mut prefixes: Vec<u32> = ids.iter().map(|id| id >> (LEVEL_BITS * (QUOTA_TREE_DEPTH - bytes))).collect();
            prefixes.dedup();
            prefixes
        };
        let file = Self { kind, prefixes: [level(1), level(2), level(3), ids] };
        let bytes = file.quota_blocks() * u64_of(QUOTA_BLOCK_BYTES);
        if bytes > QUOTA_FILE_MAX_BYTES {
            let count = file.prefixes[IDS].len();
            return Err(Error::limit(format!("{count} owners need a quota file of {bytes} bytes; e2fsck takes at most {QUOTA_FILE_MAX_BYTES}")));
        }
        Ok(file)
    }

    /// The first quota block of the nodes, or entries, that `prefixes[level]` stand for.
    fn first_block(&self, level: usize) -> u64 {
        u64::from(QUOTA_TREE_ROOT) + 1 + self.prefixes[..level].iter().map(|prefixes| u64_of(prefixes.len())).sum::<u64>()
    }

    /// Quota blocks of the file.
    fn quota_blocks(&self) -> u64 {
        self.first_block(IDS) + u64_of(self.prefixes[IDS].len().div_ceil(QUOTA_ENTRIES_PER_LEAF))
    }

    /// Blocks of the filesystem that the file takes.
    pub(super) fn blocks(&self, block_bytes: u64) -> u64 {
        (self.quota_blocks() * u64_of(QUOTA_BLOCK_BYTES)).div_ceil(block_bytes)
    }

    /// Makes the filesystem's block number `number` of the file; `usage` is that of each id, in their order.
    pub(super) fn render(&self, usage: &[Usage], number: u64, block: &mut [u8]) {
        let first = number * u64_of(block.len() / QUOTA_BLOCK_BYTES);
        for (out, number) in block.chunks_exact_mut(QUOTA_BLOCK_BYTES).zip(first..) {
            out.fill(0);
            self.render_quota_block(usage, number, out);
        }
    }

    fn render_quota_block(&self, usage: &[Usage], number: u64, out: &mut [u8]) {
        if number == 0 {
            out[..QUOTA_HEADER_BYTES].copy_from_slice(&self.header().encode());
            return;
        }
        if number == u64::from(QUOTA_TREE_ROOT) {
            return self.fill_node(0, 0..self.prefixes[0].len(), out);
        }
        let mut at = usize_of(number - self.first_block(0));
        for (level, prefixes) in self.prefixes[..IDS].iter().enumerate() {
            if let Some(prefix) = prefixes.get(at) {
                return self.fill_node(level + 1, self.beneath(level, *prefix), out);
            }
            at -= prefixes.len();
        }
        self.fill_leaf(usage, at, out);
    }

    fn header(&self) -> QuotaHeader {
        let blocks = low32(self.quota_blocks());
        let last_is_full = self.prefixes[IDS].len().is_multiple_of(QUOTA_ENTRIES_PER_LEAF);
        QuotaHeader {
            dqh_magic: self.kind.magic(),
            dqh_version: QUOTA_VERSION,
            dqi_bgrace: QUOTA_GRACE_SECONDS,
            dqi_igrace: QUOTA_GRACE_SECONDS,
            dqi_flags: 0,
            dqi_blocks: blocks,
            dqi_free_blk: 0,
            dqi_free_entry: if last_is_full { 0 } else { blocks - 1 },
        }
    }

    /// The positions on the next level of what is beneath `prefix`.
    fn beneath(&self, level: usize, prefix: u32) -> Range<usize> {
        let next = &self.prefixes[level + 1];
        next.partition_point(|longer| longer >> LEVEL_BITS < prefix)..next.partition_point(|longer| longer >> LEVEL_BITS <= prefix)
    }

    /// A node: for each value of the next byte the quota block that goes on with it, 0 for none. `children` are positions in
    /// `prefixes[level]`.
    fn fill_node(&self, level: usize, children: Range<usize>, out: &mut [u8]) {
        let first = self.first_block(level);
        for at in children {
            let [slot, ..] = self.prefixes[level][at].to_le_bytes();
            let block = first + u64_of(if level == IDS { at / QUOTA_ENTRIES_PER_LEAF } else { at });
            out[usize::from(slot) * POINTER_BYTES..][..POINTER_BYTES].copy_from_slice(&low32(block).to_le_bytes());
        }
    }

    /// Block `number` of those with entries; none of them past the end of the file.
    fn fill_leaf(&self, usage: &[Usage], number: usize, out: &mut [u8]) {
        let entries = self.prefixes[IDS].iter().zip(usage).skip(number * QUOTA_ENTRIES_PER_LEAF).take(QUOTA_ENTRIES_PER_LEAF);
        let mut count = 0;
        for (slot, (id, usage)) in out[QUOTA_LEAF_HEADER_BYTES..].chunks_exact_mut(QUOTA_ENTRY_BYTES).zip(entries) {
            let mut entry = QuotaEntry { dqb_id: *id, dqb_curinodes: usage.inodes, dqb_curspace: usage.space_bytes, ..QuotaEntry::default() };
            if entry == QuotaEntry::default() {
                // An entry of zeros would be one that is free.
                entry.dqb_itime = 1;
            }
            slot.copy_from_slice(&entry.encode());
            count += 1;
        }
        let header = QuotaLeafHeader { dqdh_entries: count, ..QuotaLeafHeader::default() };
        out[..QUOTA_LEAF_HEADER_BYTES].copy_from_slice(&header.encode());
    }
}

/// All quota files of a filesystem.
#[derive(Debug)]
pub(super) struct Quotas {
    files: Vec<QuotaFile>,
}

/// By file, by id: what is used.
#[derive(Debug)]
pub(super) struct UsageTables {
    by_file: Vec<Vec<Usage>>,
}

impl Quotas {
    /// Collects the owners of a tree.
    ///
    /// # Errors
    /// Too many of them for one file.
    pub(super) fn new(tree: &Tree, features: Features) -> Result<Self> {
        let files = Kind::of(features).map(|kind| {
            // What the filesystem adds is root's.
            let mut ids = vec![0];
            for id in tree.nodes().map(|(_, node)| kind.id(&node.metadata)) {
                // Neighbours mostly have one owner.
                if ids.last() != Some(&id) {
                    ids.push(id);
                }
            }
            QuotaFile::new(kind, ids)
        });
        Ok(Self { files: files.collect::<Result<_>>()? })
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QuotaFile> {
        self.files.iter()
    }

    fn position(&self, kind: Kind) -> usize {
        self.files.iter().position(|file| file.kind == kind).expect("only files that there are have inodes")
    }

    /// The file of a kind that the filesystem has.
    pub(super) fn file(&self, kind: Kind) -> &QuotaFile {
        &self.files[self.position(kind)]
    }

    /// Makes a block of the file of a kind.
    pub(super) fn render(&self, tables: &UsageTables, kind: Kind, number: u64, block: &mut [u8]) {
        let at = self.position(kind);
        self.files[at].render(&tables.by_file[at], number, block);
    }
}

impl UsageTables {
    /// Adds up, once everything has its place.
    pub(super) fn new(tree: &Tree, survey: &Survey, placement: &Placement, block_bytes: u64) -> Self {
        let files = &survey.quotas.files;
        let mut tables = Self { by_file: files.iter().map(|file| vec![Usage::default(); file.prefixes[IDS].len()]).collect() };
        if files.is_empty() {
            return tables;
        }
        let mut charge = |metadata: &Metadata, usage: Usage| {
            for (file, table) in files.iter().zip(&mut tables.by_file) {
                let at = file.prefixes[IDS].binary_search(&file.kind.id(metadata)).expect("every owner was collected");
                table[at].add(usage);
            }
        };
        for (id, node) in tree.nodes() {
            charge(&node.metadata, charged(survey, placement, block_bytes, id, &node.metadata));
        }
        if survey.numbers.adds_lost_found() {
            let space_bytes = placement.blocks(FIRST_INO) * block_bytes;
            charge(&Metadata::default(), Usage { space_bytes, inodes: 1 });
        }
        tables
    }
}

/// What its owners are charged for a node. This is the only place that knows: whatever else comes to belong to a node adds to it.
fn charged(survey: &Survey, placement: &Placement, block_bytes: u64, id: NodeId, metadata: &Metadata) -> Usage {
    let values = &survey.xattrs.values;
    let xattr_blocks = u64::from(survey.xattrs.of(id).is_some()) + values.blocks_of(metadata.xattrs, block_bytes);
    let large_values = u64_of(values.of_set(metadata.xattrs).count());
    Usage { space_bytes: (placement.blocks(survey.numbers.of(id)) + xattr_blocks) * block_bytes, inodes: 1 + large_values }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
