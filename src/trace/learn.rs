//! From reads to a boot order: which files, directories and inodes were read, in the order of first reading.
//!
//! | what is read | the entry |
//! |---|---|
//! | contents of a file | its path with the ranges, in whole pieces of 4 KiB; without ranges where all data was read |
//! | entries of a directory, target of a link | its path |
//! | nodes of an extent tree, xattr blocks | the path of their owner, for its inode alone where nothing else of it is read |
//! | inode tables | see below |
//! | superblock, descriptors, bitmaps, journal, tables | none: they lie where they must |
//!
//! **Inodes.** A read of an inode table does not say which inode was wanted: a block of 4 KiB has 16, and Linux reads 32 blocks around it.
//! Whose contents or entries are read has its path in the order by these, and needs no more. Of the others, of which the inode is all there
//! is (links with their target in it, empty files, devices), those are listed whose directory is read too: they are what lookups of a boot
//! meet most, and cost 256 bytes each. Files that have contents which nobody read are listed only where nothing else explains a read of the
//! table: then all in it whose directory is read, as one of them was wanted. All these stand where their part of the table is first read, or
//! behind their directory if that comes later.

use super::map::{INODE_TABLE, ImageMap, Owner};
use super::read::TracedDisk;
use crate::error::{Error, Result};
use crate::fs::OrderedPath;
use crate::order::{BootOrder, ascending, inode_alone};
use crate::tree::{NodeId, NodeKind};
use std::ops::Range;

/// Ranges are widened to whole pieces of this.
const PIECE_BYTES: u64 = 4096;
/// No entry yet.
const NONE: u32 = u32::MAX;

/// What was learnt from traces.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Learnt {
    /// What to read first, in order.
    pub order: BootOrder,
    /// Entries that have contents: files, directories, links.
    pub with_contents: usize,
    /// Entries that are listed for their inode alone.
    pub inodes_alone: usize,
    /// Bytes that were read and belong to no entry: of the filesystems' own structures, and of what is mounted nowhere.
    pub unordered_bytes: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What is known of a node that was read.
struct Met {
    area: usize,
    node: NodeId,
    /// In the order of reading; only of files.
    ranges: Vec<Range<u64>>,
    /// Whether data was read, not only what is about it.
    data: bool,
}

/// A piece of an inode table that was read.
struct TableRead {
    area: usize,
    group: u32,
    piece: Range<u64>,
    /// How many nodes had been met before.
    before: usize,
}

struct Learner<'a> {
    map: &'a ImageMap,
    met: Vec<Met>,
    /// For each area and node its number in `met`.
    numbers: Vec<Vec<u32>>,
    tables: Vec<TableRead>,
    unordered_bytes: u64,
}

/// Maps what was read of each disk, one a trace, to a boot order: that of the first trace, then what the others add.
///
/// # Errors
/// Nothing that was read has a path in the running system.
pub fn boot_order(map: &ImageMap, disks: &[&TracedDisk]) -> Result<Learnt> {
    let numbers = map.areas.iter().map(|area| vec![NONE; area.volume.as_ref().map_or(0, |volume| volume.tree.node_count())]).collect();
    let mut learner = Learner { map, met: Vec::new(), numbers, tables: Vec::new(), unordered_bytes: 0 };
    for range in disks.iter().flat_map(|disk| disk.first_reads()) {
        map.each(range, &mut |piece, owner, offset| learner.piece(piece, owner, offset));
    }
    let mut learnt = learner.finish()?;
    for (number, disk) in (1..).zip(disks) {
        let of = if disks.len() > 1 { format!("trace {number}: ") } else { String::new() };
        learnt.notes.extend(map.doubts(disk).into_iter().map(|doubt| format!("{of}{doubt}")));
    }
    Ok(learnt)
}

impl Learner<'_> {
    fn piece(&mut self, piece: Range<u64>, owner: Owner, offset: u64) {
        let bytes = piece.end - piece.start;
        match owner {
            Owner::Data { area, node } => {
                let is_file = self.map.areas[area].volume.as_ref().is_some_and(|volume| matches!(volume.tree.node(node).kind, NodeKind::File(_)));
                let met = self.meet(area, node);
                met.data = true;
                if is_file {
                    met.ranges.push(offset..offset.saturating_add(bytes));
                }
            }
            Owner::About { area, node, .. } => {
                self.meet(area, node);
            }
            Owner::Structure { area, what: INODE_TABLE, group: Some(group) } => {
                let before = self.met.len();
                self.tables.push(TableRead { area, group, piece, before });
                self.unordered_bytes += bytes;
            }
            _ => self.unordered_bytes += bytes,
        }
    }

    fn meet(&mut self, area: usize, node: NodeId) -> &mut Met {
        let number = &mut self.numbers[area][node.index()];
        if *number == NONE {
            // As many as there are nodes, whose numbers have 32 bits.
            *number = u32::try_from(self.met.len()).unwrap_or(NONE);
            self.met.push(Met { area, node, ranges: Vec::new(), data: false });
        }
        let at = crate::units::index_of(*number);
        &mut self.met[at]
    }

    /// The inodes that are listed for themselves: each with the number of entries before it.
    fn alone(&self) -> Vec<(usize, usize, NodeId)> {
        let mut listed: Vec<Vec<bool>> = self.numbers.iter().map(|numbers| numbers.iter().map(|number| *number != NONE).collect()).collect();
        let with_data: Vec<Vec<bool>> = self.map.areas.iter().map(|area| area.volume.as_ref().map(|volume| volume.with_data()).unwrap_or_default()).collect();
        // Directories without blocks of their own are read with their inodes.
        let mut looked_into = listed.clone();
        for TableRead { area, group, piece, .. } in &self.tables {
            let Some(volume) = &self.map.areas[*area].volume else { continue };
            for (_, node) in self.map.inodes_in(*area, *group, piece) {
                looked_into[*area][node.index()] |= volume.tree.node(*node).is_directory() && !with_data[*area][node.index()];
            }
        }
        let mut alone = Vec::new();
        for TableRead { area, group, piece, before } in &self.tables {
            let Some(volume) = &self.map.areas[*area].volume else { continue };
            let candidates = self.map.inodes_in(*area, *group, piece);
            let mut explained = candidates.iter().any(|(_, node)| listed[*area][node.index()]);
            for only_small in [true, false] {
                for (_, node) in candidates {
                    let small = !with_data[*area][node.index()];
                    let parent = volume.parent(*node);
                    if listed[*area][node.index()] || small != only_small || !looked_into[*area][parent.index()] {
                        continue;
                    }
                    let number = self.numbers[*area][parent.index()];
                    let behind = if number == NONE { 0 } else { crate::units::index_of(number) + 1 };
                    alone.push((behind.max(*before), *area, *node));
                    listed[*area][node.index()] = true;
                }
                explained |= candidates.iter().any(|(_, node)| listed[*area][node.index()]);
                if explained {
                    break;
                }
            }
        }
        // Stable: of those at one place the first stays the first.
        alone.sort_by_key(|(before, ..)| *before);
        alone
    }

    fn finish(self) -> Result<Learnt> {
        let mut learnt = Learnt { unordered_bytes: self.unordered_bytes, ..Learnt::default() };
        let alone = self.alone();
        let mut alone = alone.into_iter().peekable();
        let mut entries = Vec::with_capacity(self.met.len() + alone.len());
        let mut unmounted = vec![0_u64; self.map.areas.len()];
        let mut list = |area: usize, node: NodeId, ranges: Vec<Range<u64>>| match self.map.path(area, node) {
            Some(path) => {
                entries.push(OrderedPath { path, ranges });
                true
            }
            None => {
                // The directory that another filesystem is mounted on is no news.
                unmounted[area] += u64::from(self.map.areas[area].mount.is_none());
                false
            }
        };
        let met_count = self.met.len();
        for (at, met) in self.met.into_iter().enumerate() {
            while let Some((_, area, node)) = alone.next_if(|(before, ..)| *before <= at) {
                learnt.inodes_alone += usize::from(list(area, node, inode_alone()));
            }
            let data = met.data;
            let is_listed = list(met.area, met.node, ranges_of(self.map, met));
            let count = if data { &mut learnt.with_contents } else { &mut learnt.inodes_alone };
            *count += usize::from(is_listed);
        }
        debug_assert!(alone.clone().all(|(before, ..)| before <= met_count), "nothing comes behind what there is");
        for (_, area, node) in alone {
            learnt.inodes_alone += usize::from(list(area, node, inode_alone()));
        }
        for (area, count) in self.map.areas.iter().zip(unmounted).filter(|(_, count)| *count > 0) {
            learnt.notes.push(format!("{count} files and directories of partition {} are in no entry: the running system mounts it nowhere", area.number));
        }
        if entries.is_empty() {
            return Err(Error::invalid("no file or directory that has a path in the running system was read: there is nothing to order"));
        }
        learnt.order = BootOrder::new(entries)?;
        Ok(learnt)
    }
}

/// The ranges of an entry.
fn ranges_of(map: &ImageMap, met: Met) -> Vec<Range<u64>> {
    let volume = map.areas[met.area].volume.as_ref();
    let file = volume.and_then(|volume| match &volume.tree.node(met.node).kind {
        NodeKind::File(file) => Some((&volume.tree, file)),
        _ => None,
    });
    let Some((tree, file)) = file else { return if met.data { Vec::new() } else { inode_alone() } };
    let whole = met.ranges.into_iter().map(|range| {
        let start = crate::units::align_down(range.start, PIECE_BYTES).min(file.length);
        start..crate::units::align_up(range.end, PIECE_BYTES).min(file.length)
    });
    // A list that is empty stands for all; of a file whose blocks lie behind its end nothing is wanted.
    let ranges = ascending(whole.chain(inode_alone()).collect());
    let mut at = 0;
    let all = tree.data_ranges(file).all(|(start, length)| {
        let end = start.saturating_add(length);
        while ranges.get(at).is_some_and(|range| range.end < end) {
            at += 1;
        }
        ranges.get(at).is_some_and(|range| range.start <= start && end <= range.end)
    });
    if all && file.length > 0 && met.data { Vec::new() } else { ranges }
}
