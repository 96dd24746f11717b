//! What a first boot costs: a volume made from a snapshot fetches each block of 512 KiB when it is first touched.
//!
//! The **bound** is what nobody can get below by placing alone: all that was read, in pieces of 4 KiB, packed into blocks. What is over it is
//! told by owners: the blocks in which something of an owner was read, and those that it caused *alone*, because nothing else in them was.

use super::map::{Fit, ImageMap, Owner};
use super::picture::Picture;
use super::read::TracedDisk;
use crate::error::escape;
use crate::units::{BLOCK_BYTES, Size, align_down};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::ops::Range;

/// What is counted for the bound.
const PIECE_BYTES: u64 = 4096;
/// Owners that people are shown.
const OWNERS_SHOWN: usize = 24;
/// Lines of the list of blocks that people are shown.
const LINES_SHOWN: usize = 24;

/// What a boot read of an image.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FirstBoot {
    /// Reads of the disk.
    pub reads: u64,
    /// Different bytes that were read.
    pub bytes_read: u64,
    /// Pieces of 4 KiB that were read.
    pub pieces: u64,
    /// Different blocks of 512 KiB that were touched.
    pub blocks: u64,
    /// Blocks that what was read would fill.
    pub bound: u64,
    /// Blocks over the bound.
    pub over: u64,
    /// Bytes that were read and that nobody has: read ahead, or with others.
    pub unused_bytes: u64,
    /// Bytes that were read behind the image's end.
    pub outside_bytes: u64,
    /// The blocks that were touched, as first and count, ascending.
    pub touched: Vec<(u64, u64)>,
    /// What was read, by kind.
    pub kinds: Vec<Share>,
    /// What was read, by file and structure: first what caused most blocks alone.
    pub owners: Vec<Share>,
    /// The disk in characters.
    pub picture: Picture,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What of the reads one owner has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Share {
    /// A path in the running system, a structure, a kind.
    pub what: String,
    /// Blocks of 512 KiB in which something of it was read.
    pub blocks: u64,
    /// Of these the ones in which nothing else was read.
    pub alone: u64,
    /// Different bytes of it that were read.
    pub bytes: u64,
}

/// Says what reading `disk` cost.
#[must_use]
pub fn first_boot(map: &ImageMap, disk: &TracedDisk) -> FirstBoot {
    let (mut owners, mut kinds) = (Shares::default(), Shares::default());
    let mut touched: Vec<(u64, u64)> = Vec::new();
    let inside = |range: &Range<u64>| range.start.min(map.size_bytes())..range.end.min(map.size_bytes());
    for range in disk.read().iter().map(|range| inside(&range)).filter(|range| !range.is_empty()) {
        map.each(&range, &mut |piece, owner, _| {
            owners.add(&piece, owner, owner.is_used());
            kinds.add(&piece, kind(map, owner), owner.is_used());
        });
        let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
        match touched.last_mut() {
            Some((start, count)) if first <= *start + *count => *count = (*count).max(last + 1 - *start),
            _ => touched.push((first, last + 1 - first)),
        }
    }
    let Fit { free, outside, .. } = map.fit(disk);
    // A read that the end of the disk cuts counts as far as it is there.
    let pieces = {
        let mut all = super::ranges::RangeSet::default();
        for range in disk.read().iter() {
            all.insert(inside(&range), |_| {});
        }
        all.bytes_in_units(PIECE_BYTES) / PIECE_BYTES
    };
    let blocks: u64 = touched.iter().map(|(_, count)| count).sum();
    let bound = (pieces * PIECE_BYTES).div_ceil(BLOCK_BYTES).min(blocks);
    FirstBoot {
        reads: disk.reads(),
        bytes_read: disk.bytes(),
        pieces,
        blocks,
        bound,
        over: blocks - bound,
        unused_bytes: free,
        outside_bytes: outside,
        touched,
        kinds: kinds.finish(|kind| kind.to_owned()),
        owners: owners.finish(|owner| map.name(owner)),
        picture: Picture::of(map, disk),
        notes: map.doubts(disk),
    }
}

/// The kind of what is read.
fn kind(map: &ImageMap, owner: Owner) -> &'static str {
    use crate::tree::NodeKind;
    match owner {
        Owner::Data { area, node } => match map.areas[area].volume.as_ref().map(|volume| volume.tree.node(node).kind) {
            Some(NodeKind::Directory) => "directories",
            Some(NodeKind::Symlink(_)) => "targets of links",
            _ => "contents of files",
        },
        Owner::About { what, .. } | Owner::Structure { what, .. } => what,
        Owner::Unknown { .. } => "partitions without a filesystem that is known here",
        Owner::Table => "partition table",
        Owner::Free | Owner::Outside => "nothing: free space",
    }
}

/// Counts by owner, fed upwards.
struct Shares<K> {
    numbers: HashMap<K, usize>,
    /// Owner, blocks, alone, bytes, the first block that is not counted yet.
    list: Vec<Count<K>>,
    /// The block that is being looked at, and who has something in it.
    block: u64,
    only: Only,
}

struct Count<K> {
    owner: K,
    blocks: u64,
    alone: u64,
    bytes: u64,
    next: u64,
}

/// Who was read in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Nobody,
    /// This one; `false` if that is nothing that anybody has.
    One(usize, bool),
    Several,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), list: Vec::new(), block: 0, only: Only::Nobody }
    }
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// Reads of `piece`, which lies behind all that were added. `is_used` is false for what counts only where nothing else was read.
    fn add(&mut self, piece: &Range<u64>, owner: K, is_used: bool) {
        let next = self.list.len();
        let number = *self.numbers.entry(owner).or_insert(next);
        if number == next {
            self.list.push(Count { owner, blocks: 0, alone: 0, bytes: 0, next: 0 });
        }
        let (first, last) = (align_down(piece.start, BLOCK_BYTES) / BLOCK_BYTES, (piece.end - 1) / BLOCK_BYTES);
        let count = &mut self.list[number];
        count.bytes += piece.end - piece.start;
        count.blocks += (last + 1).saturating_sub(first.max(count.next));
        count.next = last + 1;
        if first != self.block || self.only == Only::Nobody {
            self.leave();
            self.block = first;
        }
        self.only = match self.only {
            Only::Nobody => Only::One(number, is_used),
            Only::One(other, _) if other == number => self.only,
            Only::One(_, false) => Only::One(number, is_used),
            Only::One(_, true) if is_used => Only::Several,
            only => only,
        };
        if last > first {
            // Those between are all its own.
            self.leave();
            self.list[number].alone += last - first - 1;
            (self.block, self.only) = (last, Only::One(number, is_used));
        }
    }

    /// The block that was looked at is done.
    fn leave(&mut self) {
        if let Only::One(number, _) = self.only {
            self.list[number].alone += 1;
        }
        self.only = Only::Nobody;
    }

    fn finish(mut self, name: impl Fn(K) -> String) -> Vec<Share> {
        self.leave();
        let share = |count: Count<K>| Share { what: name(count.owner), blocks: count.blocks, alone: count.alone, bytes: count.bytes };
        let mut shares: Vec<Share> = self.list.into_iter().map(share).collect();
        shares.sort_by(|a, b| (b.alone, b.blocks, b.bytes, &a.what).cmp(&(a.alone, a.blocks, a.bytes, &b.what)));
        shares
    }
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

impl fmt::Display for FirstBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {}", escape(note.as_bytes()))?;
        }
        writeln!(f, "{} reads of {} different bytes ({})", self.reads, self.bytes_read, Size::bytes(self.bytes_read))?;
        writeln!(f, "{} different blocks of 512 KiB; what was read would fill {}; {} more are touched\n", self.blocks, self.bound, self.over)?;
        writeln!(f, "  blocks   alone        KiB  what was read")?;
        let line = |f: &mut fmt::Formatter<'_>, share: &Share| {
            writeln!(f, "{:>8}{:>8}{:>11}  {}", share.blocks, share.alone, kib(share.bytes), escape(share.what.as_bytes()))
        };
        self.kinds.iter().try_for_each(|share| line(f, share))?;
        let alone: u64 = self.owners.iter().map(|share| share.alone).sum();
        writeln!(f, "\n{alone} blocks were touched for one file or structure alone, {} for several:", self.blocks.saturating_sub(alone))?;
        writeln!(f, "  blocks   alone        KiB  file or structure")?;
        self.owners.iter().take(OWNERS_SHOWN).try_for_each(|share| line(f, share))?;
        if let Some(rest) = self.owners.get(OWNERS_SHOWN..).filter(|rest| !rest.is_empty()) {
            let alone: u64 = rest.iter().map(|share| share.alone).sum();
            let bytes: u64 = rest.iter().map(|share| share.bytes).sum();
            writeln!(f, "{:>8}{alone:>8}{:>11}  {} more files and structures (--json has all)", "", kib(bytes), rest.len())?;
        }
        writeln!(f, "\n{}", self.picture)?;
        write_touched(f, &self.touched)
    }
}

/// The blocks that were touched, in lines of some width.
fn write_touched(f: &mut fmt::Formatter<'_>, touched: &[(u64, u64)]) -> fmt::Result {
    const WIDTH: usize = 100;
    let mut lines = Vec::new();
    let mut line = String::from("blocks:");
    for (first, count) in touched {
        let run = if *count == 1 { format!(" {first}") } else { format!(" {first}-{}", first + count - 1) };
        if line.len() + run.len() > WIDTH {
            if lines.len() == LINES_SHOWN {
                line = "        … (--json has all)".to_owned();
                break;
            }
            lines.push(std::mem::replace(&mut line, String::from("       ")));
        }
        line += &run;
    }
    lines.push(line);
    writeln!(f, "{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_by_owner() {
        let mut shares = Shares::default();
        let kib = |from: u64, to: u64| from * 1024..to * 1024;
        for (piece, owner) in [
            (kib(0, 4), 'a'),
            (kib(8, 12), 'a'),
            (kib(100, 104), '-'),
            (kib(512, 516), 'a'),
            (kib(520, 524), 'b'),
            (kib(600, 604), '-'),
            (kib(1020, 1028), 'c'),
            (kib(2048, 2052), '-'),
            (kib(2100, 5000), 'd'),
            (kib(5000, 5004), 'a'),
        ] {
            shares.add(&piece, owner, owner != '-');
        }
        let shares = shares.finish(|owner| owner.to_string());
        let found: Vec<(&str, u64, u64, u64)> = shares.iter().map(|share| (share.what.as_str(), share.blocks, share.alone, share.bytes / 1024)).collect();
        assert_eq!(found, [("d", 6, 5, 2900), ("a", 3, 1, 16), ("c", 2, 1, 8), ("-", 3, 0, 12), ("b", 1, 0, 4)]);
    }

    #[test]
    fn a_block_where_nothing_is_anybodys_is_nobodys_alone() {
        let mut shares = Shares::default();
        shares.add(&(0..4096), '-', false);
        let shares = shares.finish(|owner| owner.to_string());
        assert_eq!((shares[0].blocks, shares[0].alone), (1, 1));
    }
}
