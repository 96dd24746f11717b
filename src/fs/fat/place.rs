//! Which clusters each directory and file gets: from the tree alone, in a boot order, close to an earlier version.
//!
//! ```text
//! cluster 2                          the next 512-KiB block of the disk
//! ▼                                  ▼
//! root │ in the order of reading │   │ all else in tree order │ free
//! └────────────── zone ──────────────┘
//! ```
//! 1. **Neither order nor parent**: tree order, one run each, without gaps.
//! 2. **Order**: what it names, each directory that leads there before it, lies together from the first cluster on, in that order. The
//!    block that this begins in is read anyway: the root directory is in it, and the FATs end in it. All else begins with the next
//!    block behind, if the volume has room; the rest of the zone stays free. FAT has no inodes, so what is not read itself is not
//!    moved, and files are not split: of an order's ranges only `0..0` counts, which reads a file's entry but not the file.
//! 3. **Parent**: a path that is still there, as what it was, keeps its clusters as far as it needs them. What it needs more, and what
//!    is new, goes where it is free: behind the end if that is free, else in one run where there is one, the lowest that does. A file that
//!    this would leave in over [`PIECES_MAX`] pieces moves as a whole. A parent whose clusters lie elsewhere, or have another size, is not
//!    followed, and that is noted.
//! 4. **Both**: the zone is for what the order names. If a file that it names lies elsewhere, all that it names is placed anew, once: then the
//!    parent has them in the zone, where they stay. Whatever else the parent has in the zone is moved out.
//!
//! A parent may hold anything: a chain is followed to the first run that is outside, empty or taken.

use super::free::Free;
use super::geometry::Geometry;
use super::inventory::{Inventory, Item};
use super::parent::{Parent, ParentChain, append};
use super::{FatKind, Options};
use crate::tree::Tree;
use crate::units::{BLOCK_BYTES, Size, index_of};
use std::collections::HashMap;
use std::ops::Range;

/// The number of the first cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// Pieces that a file which grows is left in. More cost nothing but a seek each, but would add up over versions.
const PIECES_MAX: usize = 4;
/// How much larger than needed a zone may have been made by an earlier version: what it holds shrinks and grows, and is not to be placed anew each time.
const ZONE_SLACK_BYTES: u64 = 2 * BLOCK_BYTES;

/// The clusters of one item, in the order of its contents.
pub(super) type Chain = Vec<Range<u32>>;

/// Where all items lie.
#[derive(Debug)]
pub(super) struct Placed {
    /// By item; empty where an item has no clusters.
    pub(super) chains: Vec<Chain>,
    /// Why the parent was not followed.
    pub(super) notes: Vec<String>,
}

/// Gives every item its clusters. The items' clusters were counted against the volume's.
pub(super) fn place(tree: &Tree, inventory: &Inventory, options: &Options, shape: &Geometry) -> Placed {
    let end = u32::try_from(u64::from(FIRST_CLUSTER) + shape.clusters).expect("clusters are counted in 28 bits");
    let counts: Vec<u32> = inventory.items.iter().map(|item| clusters_of(item, shape)).collect();
    let mut placer = Placer { all: FIRST_CLUSTER..end, free: Free::new(FIRST_CLUSTER..end), chains: vec![Chain::new(); counts.len()], counts };
    let mut notes = Vec::new();
    let parent = options.parent.as_deref().filter(|parent| {
        let mismatch = mismatch(parent, shape);
        let fits = mismatch.is_none();
        notes.extend(mismatch);
        fits
    });
    let paths = if parent.is_some() || !options.order.is_empty() { inventory.paths(tree) } else { Vec::new() };
    let kept = parent.map_or_else(Vec::new, |parent| known(parent, &paths, inventory));
    let ordered = in_order(options, &paths, inventory);
    let slack = u32::try_from(ZONE_SLACK_BYTES / shape.cluster_bytes).expect("clusters have at least 512 bytes");
    placer.place(&ordered, &kept, slack, &|cluster| boundary(options, shape, cluster).min(end));
    Placed { chains: placer.chains, notes }
}

/// The clusters that an item takes: the root directory of FAT12 and FAT16 has none.
fn clusters_of(item: &Item, shape: &Geometry) -> u32 {
    let fixed_root = item.entry.is_none() && shape.kind != FatKind::Fat32;
    let count = if fixed_root { 0 } else { item.clusters(shape.cluster_bytes) };
    u32::try_from(count).expect("the items' clusters were counted against the volume's")
}

/// The first cluster from `cluster` on that begins a 512-KiB block of the disk, or is the first in one.
fn boundary(options: &Options, shape: &Geometry, cluster: u32) -> u32 {
    let before = u64::from(options.hidden_sectors) * u64::from(options.sector_bytes);
    let first = before + shape.cluster_offset(FIRST_CLUSTER);
    let block = (before + shape.cluster_offset(cluster)).next_multiple_of(BLOCK_BYTES);
    let clusters = (block - first).div_ceil(shape.cluster_bytes);
    u32::try_from(u64::from(FIRST_CLUSTER) + clusters).unwrap_or(u32::MAX)
}

/// Why a parent's clusters say nothing of this volume's.
fn mismatch(parent: &Parent, shape: &Geometry) -> Option<String> {
    let (theirs, ours) = ((parent.kind, u64::from(parent.cluster_bytes), parent.data_offset_bytes), (shape.kind, shape.cluster_bytes, shape.cluster_offset(2)));
    let told = |(kind, bytes, offset): (FatKind, u64, u64)| format!("{} with clusters of {} from byte {offset} on", kind.title(), Size::bytes(bytes));
    (theirs != ours).then(|| format!("the earlier version of the FAT volume is not followed: it was {}, this one is {}", told(theirs), told(ours)))
}

/// The parent's chain of each item.
fn known<'a>(parent: &'a Parent, paths: &[Vec<u8>], inventory: &Inventory) -> Vec<Option<&'a ParentChain>> {
    let mut by_path: HashMap<&[u8], &ParentChain> = HashMap::with_capacity(parent.chains.len());
    for chain in &parent.chains {
        by_path.entry(&chain.path).or_insert(chain);
    }
    let items = inventory.items.iter().zip(paths);
    items.map(|(item, path)| by_path.get(path.as_slice()).copied().filter(|chain| chain.is_directory == item.is_directory())).collect()
}

/// The items that the order names and that lead to them, as they are read.
fn in_order(options: &Options, paths: &[Vec<u8>], inventory: &Inventory) -> Vec<u32> {
    if options.order.is_empty() {
        return Vec::new();
    }
    let numbers = (0_u32..).zip(paths).map(|(number, path)| (path.as_slice(), number));
    let by_path: HashMap<&[u8], u32> = numbers.collect();
    let mut seen = vec![false; paths.len()];
    let mut found = Vec::new();
    for entry in &options.order {
        let parts: Vec<&[u8]> = entry.path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        let Some(number) = by_path.get(parts.join(&b'/').as_slice()) else { continue };
        let contents_read = !entry.ranges.iter().all(Range::is_empty) || entry.ranges.is_empty();
        let mut trail = if contents_read { vec![*number] } else { Vec::new() };
        let mut at = *number;
        while inventory.items[index_of(at)].entry.is_some() {
            at = inventory.items[index_of(at)].parent;
            trail.push(at);
        }
        let new = trail.into_iter().rev().filter(|number| !std::mem::replace(&mut seen[index_of(*number)], true));
        found.extend(new);
    }
    found
}

struct Placer {
    all: Range<u32>,
    /// Clusters that each item takes.
    counts: Vec<u32>,
    chains: Vec<Chain>,
    free: Free,
}

impl Placer {
    /// `boundary` gives the cluster from which on a 512-KiB block of the disk begins, at or behind another; `slack` is in clusters.
    fn place(&mut self, ordered: &[u32], kept: &[Option<&ParentChain>], slack: u32, boundary: &dyn Fn(u32) -> u32) {
        let mut is_ordered = vec![false; self.counts.len()];
        for number in ordered {
            is_ordered[index_of(*number)] = true;
        }
        let (zone, order_lies) = self.zone(&is_ordered, kept, slack, boundary);
        for (item, chain) in kept.iter().enumerate() {
            let Some(chain) = chain else { continue };
            let in_zone = chain.runs.iter().any(|run| run.start < zone.end);
            if if is_ordered[item] { order_lies } else { !in_zone } {
                self.keep(item, chain);
            }
        }
        let mut next = zone.start;
        for number in ordered {
            self.complete_in(&zone, &mut next, index_of(*number));
        }
        let mut next = zone.end;
        for item in 0..self.counts.len() {
            self.complete(&mut next, item);
        }
    }

    /// The clusters for what the order names, none without one; and whether all of it that the parent has lies there already.
    fn zone(&self, is_ordered: &[bool], kept: &[Option<&ParentChain>], slack: u32, boundary: &dyn Fn(u32) -> u32) -> (Range<u32>, bool) {
        let start = self.all.start;
        let count: u64 = self.counts.iter().zip(is_ordered).filter(|(_, ordered)| **ordered).map(|(count, _)| u64::from(*count)).sum();
        if count == 0 {
            return (start..start, true);
        }
        let end = boundary(u32::try_from(u64::from(start) + count).expect("the items' clusters were counted against the volume's"));
        let runs = |which: bool| {
            let chains = kept.iter().zip(is_ordered).filter(move |(_, ordered)| **ordered == which).filter_map(|(chain, _)| *chain);
            chains.flat_map(|chain| &chain.runs)
        };
        let last = runs(true).map(|run| run.end).max().unwrap_or(start);
        if last <= end {
            return (start..end, true);
        }
        // A zone that an earlier version made, and that would be smaller now.
        let had = boundary(last.min(self.all.end));
        let stays = last <= self.all.end && had - end <= slack && runs(false).all(|run| run.start >= had);
        (start..if stays { had } else { end }, stays)
    }

    /// Takes what an item had, as far as it needs it and it is to be had.
    fn keep(&mut self, item: usize, chain: &ParentChain) {
        let mut left = self.counts[item];
        for run in &chain.runs {
            let part = run.start..run.end.min(run.start.saturating_add(left));
            if left == 0 || !self.free.take(&part) {
                break;
            }
            left -= part.end - part.start;
            append(&mut self.chains[item], part);
        }
    }

    /// How many clusters an item still needs.
    fn missing(&self, item: usize) -> u32 {
        let has: u32 = self.chains[item].iter().map(|run| run.end - run.start).sum();
        self.counts[item] - has
    }

    /// What is free behind an item's end, inside `zone`.
    fn extend(&mut self, zone: &Range<u32>, item: usize) {
        let missing = self.missing(item);
        let Some(end) = self.chains[item].last().map(|run| run.end).filter(|end| *end < zone.end && missing > 0) else { return };
        let part = end..end + self.free.behind(end).min(missing).min(zone.end - end);
        if self.free.take(&part) {
            append(&mut self.chains[item], part);
        }
    }

    /// Gives an item what it needs inside the zone: in one run, else in pieces, which cost no more blocks there.
    fn complete_in(&mut self, zone: &Range<u32>, next: &mut u32, item: usize) {
        self.extend(zone, item);
        let missing = self.missing(item);
        if missing == 0 {
            return;
        }
        if let Some(run) = self.free.first(*next..zone.end, missing) {
            *next = run.end;
            return append(&mut self.chains[item], run);
        }
        *next = zone.end;
        while let Some(run) = self.free.some_within(zone.clone(), self.missing(item)) {
            append(&mut self.chains[item], run);
        }
    }

    /// Gives an item what it needs, from `next` on.
    fn complete(&mut self, next: &mut u32, item: usize) {
        self.extend(&self.all.clone(), item);
        let missing = self.missing(item);
        if missing == 0 {
            return;
        }
        if self.chains[item].len() >= PIECES_MAX
            && let Some(run) = self.run(next, self.counts[item])
        {
            for old in std::mem::replace(&mut self.chains[item], vec![run]) {
                self.free.give(old);
            }
            return;
        }
        if let Some(run) = self.run(next, missing) {
            return append(&mut self.chains[item], run);
        }
        while self.missing(item) > 0 {
            let run = self.free.some(self.missing(item)).expect("the items' clusters were counted against the volume's");
            append(&mut self.chains[item], run);
        }
    }

    /// Clusters in a row: the first from `next` on, else the tightest anywhere. `next` never goes back, so that the gaps are looked through once.
    fn run(&mut self, next: &mut u32, count: u32) -> Option<Range<u32>> {
        let ahead = self.free.first(*next..self.all.end, count);
        *next = ahead.as_ref().map_or(self.all.end, |run| run.end);
        ahead.or_else(|| self.free.tightest(count))
    }
}
