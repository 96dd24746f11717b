//! Which files make blocks differ.
//!
//! A block of 512 KiB holds up to 128 files, and one that changes makes all of it differ. Where both disks can be read, their blocks are
//! compared in pieces of 4 KiB, and a piece is its owner's on the new disk; what nothing there owns was the old owner's, who has gone or
//! moved. Where there are layouts alone, everything that lies in a block is named.

use crate::content::ReadAt;
use crate::disk::Parent;
use crate::error::{Result, escape};
use crate::fs::ext4::ParentRunKind;
use crate::fs::{PlaceOwner, ReadFilesystem, ReadOptions, fat};
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::tree::{NodeId, Tree};
use crate::units::{BLOCK_BYTES, BLOCK_LEN, u64_of, usize_of};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

/// How finely blocks are compared: the block of nearly every filesystem.
const PIECE_LEN: usize = 4096;

/// What lies in differing blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The partition; 0 for a disk without a table, `None` for what lies in none.
    pub partition: Option<u32>,
    /// The path in its filesystem, escaped, with a leading slash; `None` for structures.
    pub path: Option<String>,
    /// `contents`, `directory`, `xattrs`, `inode table`, `free space`, `partition table`, …
    pub what: String,
    /// Whether it lay there on the old disk and nothing does on the new one.
    pub removed: bool,
    /// Differing blocks of 512 KiB that it lies in.
    pub blocks: u64,
    /// Its bytes in them that differ; all of them where that is not known.
    pub bytes: u64,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} {}  ", self.blocks, if self.blocks == 1 { "block " } else { "blocks" })?;
        if let Some(number) = self.partition.filter(|number| *number > 0) {
            write!(f, "partition {number}: ")?;
        }
        match (&self.path, self.what.as_str()) {
            (Some(path), "contents") => f.write_str(path)?,
            (Some(path), what) => write!(f, "{path} ({what})")?,
            (None, what) => f.write_str(what)?,
        }
        f.write_str(if self.removed { " (no longer there)" } else { "" })
    }
}

/// Who is told as the cause of a difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Owner {
    partition: Option<u32>,
    path: Option<String>,
    what: String,
}

/// Whose bytes lie where on a disk.
#[derive(Debug, Default)]
pub struct Owners {
    owners: Vec<Owner>,
    /// Ascending, disjoint.
    spans: Vec<(Range<u64>, usize)>,
    /// The partitions by offset, for what lies in no span.
    partitions: Vec<(Range<u64>, u32)>,
    /// Whether all that lies on the disk is known, and not files alone.
    whole: bool,
}

impl Owners {
    /// Of an image: its filesystems are read. One that cannot be read is told as a whole.
    #[must_use]
    pub fn of_image(image: &DiskImage) -> Self {
        let mut owners = Self { whole: true, ..Self::default() };
        for partition in image.partitions() {
            match image.read(partition.number, &ReadOptions::default()) {
                Ok(Some(read)) => owners.add_read(partition, &read),
                Ok(None) | Err(_) => owners.add_unknown(partition),
            }
        }
        owners.finish()
    }

    /// Of an earlier version, or of what was kept of any: files alone.
    #[must_use]
    pub fn of_layout(layout: &Parent) -> Self {
        let mut owners = Self::default();
        for partition in &layout.partitions {
            if let Some(known) = &partition.fat {
                owners.add_chains(&partition.summary, known);
                continue;
            }
            let Some(known) = &partition.ext4 else {
                owners.add_unknown(&partition.summary);
                continue;
            };
            let (number, base) = (partition.summary.number, partition.summary.offset_bytes);
            owners.add_partition(&partition.summary);
            let paths = paths(&known.tree);
            let block_bytes = u64::from(known.block_bytes);
            let mut numbers = HashMap::new();
            for run in &known.runs {
                let what = match run.what {
                    ParentRunKind::Data => data_of(&known.tree, run.node),
                    ParentRunKind::Map => "extent tree or block map",
                    ParentRunKind::Xattrs => "xattrs",
                };
                let owner = owners.number(&mut numbers, number, Some(run.node), &paths, what);
                let place = |block: u64| base.saturating_add(block.saturating_mul(block_bytes));
                owners.spans.push((place(run.start)..place(run.end()), owner));
            }
        }
        owners.finish()
    }

    fn add_partition(&mut self, partition: &PartitionSummary) {
        let end = partition.offset_bytes.saturating_add(partition.size_bytes);
        self.partitions.push((partition.offset_bytes..end, partition.number));
    }

    fn add_chains(&mut self, partition: &PartitionSummary, volume: &fat::Parent) {
        self.add_partition(partition);
        for chain in &volume.chains {
            let what = if chain.is_directory { "directory" } else { "contents" };
            let owner = Owner { partition: Some(partition.number), path: Some(format!("/{}", escape(&chain.path))), what: what.to_owned() };
            self.owners.push(owner);
            // The first cluster has number 2.
            let clusters = |number: u32| u64::from(number.saturating_sub(2)).saturating_mul(u64::from(volume.cluster_bytes));
            let place = |number: u32| partition.offset_bytes.saturating_add(volume.data_offset_bytes).saturating_add(clusters(number));
            let owner = self.owners.len() - 1;
            self.spans.extend(chain.runs.iter().map(|run| (place(run.start)..place(run.end), owner)));
        }
    }

    fn add_unknown(&mut self, partition: &PartitionSummary) {
        self.add_partition(partition);
        let kind = partition.filesystem.as_ref().map_or_else(|| "its bytes".to_owned(), |filesystem| format!("its {}", escape(filesystem.kind.as_bytes())));
        self.owners.push(Owner { partition: Some(partition.number), path: None, what: kind });
        self.spans.push((partition.offset_bytes..partition.offset_bytes.saturating_add(partition.size_bytes), self.owners.len() - 1));
    }

    fn add_read(&mut self, partition: &PartitionSummary, read: &ReadFilesystem) {
        self.add_partition(partition);
        let (number, base) = (partition.number, partition.offset_bytes);
        let paths = paths(&read.tree);
        let mut numbers = HashMap::new();
        for place in &read.places {
            let (node, what) = match place.owner {
                PlaceOwner::Data { node, .. } => (Some(node), data_of(&read.tree, node)),
                PlaceOwner::About { node, what } => (Some(node), what),
                PlaceOwner::Structure { what, .. } => (None, what),
            };
            let owner = self.number(&mut numbers, number, node, &paths, what);
            self.spans.push((base.saturating_add(place.range.start)..base.saturating_add(place.range.end), owner));
        }
    }

    /// The number of an owner, which it gets when it is met first.
    fn number(
        &mut self,
        numbers: &mut HashMap<(Option<NodeId>, &'static str), usize>,
        partition: u32,
        node: Option<NodeId>,
        paths: &[String],
        what: &'static str,
    ) -> usize {
        *numbers.entry((node, what)).or_insert_with(|| {
            let path = node.map(|node| paths.get(node.index()).cloned().unwrap_or_default());
            self.owners.push(Owner { partition: Some(partition), path, what: what.to_owned() });
            self.owners.len() - 1
        })
    }

    fn finish(mut self) -> Self {
        self.spans.retain(|(range, _)| range.start < range.end);
        self.spans.sort_unstable_by_key(|(range, _)| range.start);
        // Partitions of a hostile image may overlap: the first is who is told.
        let mut end = 0;
        self.spans.retain_mut(|(range, _)| {
            range.start = range.start.max(end);
            end = end.max(range.end);
            range.start < range.end
        });
        self.partitions.sort_unstable_by_key(|(range, _)| range.start);
        self
    }

    /// Gives the pieces of `range` with who has them, or nobody.
    fn pieces(&self, range: &Range<u64>, mut each: impl FnMut(Range<u64>, Option<usize>)) {
        let mut at = range.start;
        let from = self.spans.partition_point(|(span, _)| span.end <= range.start);
        for (span, owner) in self.spans[from..].iter().take_while(|(span, _)| span.start < range.end) {
            if at < span.start {
                each(at..span.start, None);
            }
            let end = span.end.min(range.end);
            each(span.start.max(at)..end, Some(*owner));
            at = end;
        }
        if at < range.end {
            each(at..range.end, None);
        }
    }

    /// What lies where no span is.
    fn nobody(&self, at: u64) -> Owner {
        let partition = self.partitions.iter().find(|(range, _)| range.contains(&at)).map(|(_, number)| *number);
        let first = self.partitions.first().map_or(0, |(range, _)| range.start);
        let last = self.partitions.iter().map(|(range, _)| range.end).max().unwrap_or(0);
        let what = match partition {
            Some(_) if self.whole => "free space",
            Some(_) => "the filesystem's own structures",
            None if at < first || at >= last => "partition table",
            None => "no partition",
        };
        Owner { partition, path: None, what: what.to_owned() }
    }
}

fn data_of(tree: &Tree, node: NodeId) -> &'static str {
    if tree.node(node).is_directory() { "directory" } else { "contents" }
}

/// The first path of each node.
fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = vec![String::new(); tree.node_count()];
    let walked = tree.walk(|path, node| {
        let shown = &mut paths[node.index()];
        if shown.is_empty() {
            *shown = format!("/{}", escape(path));
        }
        Ok(())
    });
    debug_assert!(walked.is_ok(), "the visitor gives no error");
    paths
}

/// Whose bytes lie in the blocks of `runs` (first and count), the most blocks first. With both disks the bytes themselves are compared.
///
/// # Errors
/// Those of reading the disks.
pub fn causes(old: &Owners, new: &Owners, runs: &[[u64; 2]], disks: Option<(&dyn ReadAt, &dyn ReadAt)>) -> Result<Vec<Cause>> {
    let mut told: BTreeMap<(Owner, bool), Told> = BTreeMap::new();
    let mut buffers = (vec![0; BLOCK_LEN], vec![0; BLOCK_LEN]);
    for index in runs.iter().flat_map(|[first, count]| *first..first.saturating_add(*count)) {
        let block = index.saturating_mul(BLOCK_BYTES)..index.saturating_add(1).saturating_mul(BLOCK_BYTES);
        let ranges = match disks {
            Some((old, new)) => differing(old, new, &block, &mut buffers)?,
            None => vec![block],
        };
        // Few owners lie in one block: they are looked up by name once each.
        let mut here: BTreeMap<(Owner, bool), u64> = BTreeMap::new();
        for range in &ranges {
            new.pieces(range, |piece, owner| match owner {
                Some(owner) => *here.entry((new.owners[owner].clone(), false)).or_default() += piece.end - piece.start,
                None => old.pieces(&piece, |piece, owner| {
                    let owner = match owner {
                        Some(owner) => (old.owners[owner].clone(), true),
                        // Of whole blocks nothing says that what is free in them differs.
                        None if disks.is_none() && new.whole => return,
                        None => (new.nobody(piece.start), false),
                    };
                    *here.entry(owner).or_default() += piece.end - piece.start;
                }),
            });
        }
        // What is between files may be structures or free: it is told where nothing else can be the cause.
        if disks.is_none() && here.keys().any(|(owner, _)| owner.path.is_some()) {
            here.retain(|(owner, _), _| owner.path.is_some());
        }
        for (owner, bytes) in here {
            let told = told.entry(owner).or_default();
            told.blocks += 1;
            told.bytes += bytes;
        }
    }
    let cause = |((owner, removed), told): ((Owner, bool), Told)| {
        let Owner { partition, path, what } = owner;
        Cause { partition, path, what, removed, blocks: told.blocks, bytes: told.bytes }
    };
    let mut causes: Vec<Cause> = told.into_iter().map(cause).collect();
    // Stable: those of one number stay in the order of their names.
    causes.sort_by_key(|cause| std::cmp::Reverse((cause.blocks, cause.bytes)));
    Ok(causes)
}

#[derive(Default)]
struct Told {
    blocks: u64,
    bytes: u64,
}

/// The pieces of a block in which two disks differ; what is behind the end of one is zero.
fn differing(old: &dyn ReadAt, new: &dyn ReadAt, block: &Range<u64>, (a, b): &mut (Vec<u8>, Vec<u8>)) -> Result<Vec<Range<u64>>> {
    for (disk, buffer) in [(old, &mut *a), (new, &mut *b)] {
        let there = usize_of(disk.size_bytes().min(block.end).saturating_sub(block.start));
        buffer[there..].fill(0);
        if there > 0 {
            disk.read_exact_at(block.start, &mut buffer[..there])?;
        }
    }
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (at, _) in a.chunks(PIECE_LEN).zip(b.chunks(PIECE_LEN)).enumerate().filter(|(_, (a, b))| a != b) {
        let start = block.start + u64_of(at * PIECE_LEN);
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end += u64_of(PIECE_LEN),
            _ => ranges.push(start..start + u64_of(PIECE_LEN)),
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(spans: &[(Range<u64>, &str)]) -> Owners {
        let mut owners = Owners { whole: true, ..Owners::default() };
        owners.partitions.push((0..4 * BLOCK_BYTES, 1));
        for (range, path) in spans {
            owners.owners.push(Owner { partition: Some(1), path: Some((*path).to_owned()), what: "contents".to_owned() });
            owners.spans.push((range.clone(), owners.owners.len() - 1));
        }
        owners.finish()
    }

    fn told(causes: &[Cause]) -> Vec<(String, u64, u64)> {
        let name = |cause: &Cause| format!("{}{}", if cause.removed { "-" } else { "" }, cause.path.as_deref().unwrap_or(&cause.what));
        causes.iter().map(|cause| (name(cause), cause.blocks, cause.bytes)).collect()
    }

    #[test]
    fn a_piece_is_its_owners_and_else_who_had_it() {
        let (k, block) = (4096, BLOCK_BYTES);
        let old = owners(&[(0..2 * k, "/a"), (2 * k..4 * k, "/gone"), (block..2 * block, "/large")]);
        let new = owners(&[(0..2 * k, "/a"), (block..2 * block, "/large")]);
        let mut bytes = [vec![0_u8; usize_of(4 * block)], vec![0_u8; usize_of(4 * block)]];
        bytes[0][usize_of(3 * k)] = 1;
        bytes[1][usize_of(block)] = 1;
        bytes[1][usize_of(3 * block + k)] = 1;
        let [a, b] = bytes;
        let causes_of = |disks: Option<(&dyn ReadAt, &dyn ReadAt)>| told(&causes(&old, &new, &[[0, 2], [3, 1]], disks).unwrap());
        let exact = [("-/gone".to_owned(), 1, k), ("/large".to_owned(), 1, k), ("free space".to_owned(), 1, k)];
        let mut found = causes_of(Some((&a, &b)));
        found.sort();
        assert_eq!(found, exact);
        let whole = causes_of(None);
        assert_eq!(whole, [("/large".to_owned(), 1, block), ("/a".to_owned(), 1, 2 * k), ("-/gone".to_owned(), 1, 2 * k)]);
    }

    #[test]
    fn what_overlaps_is_told_once() {
        let overlapping = owners(&[(0..BLOCK_BYTES, "/a"), (10..20, "/b"), (5..BLOCK_BYTES + 7, "/c")]);
        let found = told(&causes(&Owners::default(), &overlapping, &[[0, 1]], None).unwrap());
        assert_eq!(found, [("/a".to_owned(), 1, BLOCK_BYTES)]);
    }
}
