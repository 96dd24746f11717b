//! Places that stay when little changes, without knowing what was there before.
//!
//! Neighbours in the tree (of one class: directories; small, middling and large files, those of early userspace apart) are cut into chunks that fill most of a
//! 512-KiB block, large ones of several. Where a chunk ends, its own paths say: among the last files that it could hold, before the one
//! whose path has the smallest hash. So chunks that lost or gained a file end where they did before, and the rest is cut as it was.
//! Each chunk then lies where the smallest hash of its paths says, in a region of half to three times of what is needed; who comes to a
//! taken place goes on upwards, those with the smaller hash first. So a chunk that comes, goes or grows moves few others.
//!
//! What it costs: the ends of chunks stay free (about a tenth), and free space near the front is in pieces.

use super::items::{Context, Item, Items, mix};
use super::ledger::{Cursor, Ledger, total};
use crate::error::Result;
use crate::fs::ext4::options::Packing;
use crate::units::{index_of, u64_of, usize_of};
use std::ops::Range;

/// A class of items: the most blocks of one (in bytes), and between which sizes a chunk ends (in hundredths of a 512-KiB block).
struct Class {
    most_bytes: u64,
    least: u64,
    most: u64,
}

/// Small files have their own blocks, because of these a change hits the fewest then.
const CLASSES: [Class; 3] = [
    Class { most_bytes: 8 << 10, least: 85, most: 100 },
    Class { most_bytes: 512 << 10, least: 85, most: 100 },
    Class { most_bytes: u64::MAX, least: 400, most: 800 },
];
/// Directories and what goes with inodes.
const DIRECTORIES: Class = Class { most_bytes: u64::MAX, least: 85, most: 100 };
/// How full the region may be, in hundredths.
const REGION_LOAD: u64 = 65;
/// How full the whole filesystem may be, in hundredths; fuller ones are packed without gaps.
const LOAD_MAX: u64 = 90;
/// 512-KiB blocks of contents over which all are packed without gaps: each of the region takes memory (these are 2 TiB).
const NEEDED_MAX: u64 = 1 << 22;
/// Salts of the three hashes that are made of one.
const CUT: u64 = 0x6375_7400;
const HOME: u64 = 0x686f_6d65;
const RANK: u64 = 0x7261_6e6b;

/// Neighbours that lie together: positions in the list of items.
struct Chunk {
    items: Vec<u32>,
    /// 512-KiB blocks that it needs.
    pages: u64,
    /// The smallest hash of its paths.
    key: u64,
}

/// Places all items; `None` if the filesystem is too full for it.
pub(super) fn place(context: &Context<'_>, items: &Items, ledger: &Ledger, free: &[Range<u64>]) -> Result<Option<Ledger>> {
    let unit = context.unit();
    let whole: Vec<Range<u64>> = free.iter().map(|range| range.start.div_ceil(unit)..range.end / unit).filter(|pages| !pages.is_empty()).collect();
    let chunks = chunks(context, items);
    let (needed, available) = (chunks.iter().map(|chunk| chunk.pages).sum::<u64>(), total(&whole));
    if needed * 100 > available * LOAD_MAX || needed > NEEDED_MAX {
        return Ok(None);
    }
    let region = (needed * 100).div_ceil(REGION_LOAD).next_power_of_two().min(available);
    let mut slots = Slots::new(&whole, region);
    let mut ledger = Ledger { runs: ledger.runs.clone(), ..*ledger };
    let mut left_over = Vec::new();
    for chunk in by_rank(chunks) {
        let Some(page) = slots.take(chunk.key, chunk.pages) else {
            left_over.push(chunk);
            continue;
        };
        let place = page * unit..(page + chunk.pages) * unit;
        put(context, items, &chunk, &mut ledger, &mut Cursor::new(std::slice::from_ref(&place), context.geometry.blocks))?;
    }
    if !left_over.is_empty() {
        // What no stretch of the region holds lies behind it, and only then in what is left of it.
        let rest = ledger.free(&complement_of(free, context.geometry.blocks), context.geometry.blocks);
        let (before, behind): (Vec<_>, Vec<_>) = rest.into_iter().partition(|range| range.start < slots.end() * unit);
        let rest: Vec<Range<u64>> = behind.into_iter().chain(before).collect();
        let mut cursor = Cursor::new(&rest, context.geometry.blocks);
        left_over.sort_by_key(|chunk| chunk.items.first().copied());
        for chunk in &left_over {
            put(context, items, chunk, &mut ledger, &mut cursor)?;
        }
    }
    Ok(Some(ledger))
}

/// The 512-KiB blocks that all items take in a filesystem made afresh.
pub(super) fn pages_needed(context: &Context<'_>, items: &Items) -> u64 {
    match context.options.packing {
        Packing::Stable => chunks(context, items).iter().map(|chunk| chunk.pages).sum(),
        Packing::Dense => items.list.iter().map(|item| item.count).sum::<u64>().div_ceil(context.unit()),
    }
}

fn complement_of(free: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    super::ledger::complement(free.to_vec(), end)
}

fn put(context: &Context<'_>, items: &Items, chunk: &Chunk, ledger: &mut Ledger, cursor: &mut Cursor<'_>) -> Result<()> {
    for item in chunk.items.iter().map(|at| &items.list[index_of(*at)]) {
        super::policy::put_item(context, items, item, ledger, cursor)?;
    }
    Ok(())
}

/// Larger chunks first, as they find a place less easily; then by hash.
fn by_rank(mut chunks: Vec<Chunk>) -> Vec<Chunk> {
    chunks.sort_by_key(|chunk| (std::cmp::Reverse(chunk.pages), mix(chunk.key ^ RANK), chunk.items.first().copied()));
    chunks
}

/// Cuts the items of each class into chunks.
fn chunks(context: &Context<'_>, items: &Items) -> Vec<Chunk> {
    let block_bytes = context.geometry.block_bytes;
    let size_of = |item: &Item| CLASSES.iter().position(|class| item.count * block_bytes <= class.most_bytes).map(|size| (size, item.is_early));
    let class_of = |item: &Item| if item.is_file { size_of(item) } else { None };
    let of_files = [true, false].into_iter().flat_map(|early| CLASSES.iter().zip(0..).map(move |(class, size)| (class, Some((size, early)))));
    let mut chunks = Vec::new();
    for (class, number) in std::iter::once((&DIRECTORIES, None)).chain(of_files) {
        let members: Vec<(u32, &Item)> = (0..).zip(&items.list).filter(|(_, item)| class_of(item) == number).collect();
        let sizes: Vec<(u64, u64)> = members.iter().map(|(_, item)| (item.count, mix(item.key ^ CUT))).collect();
        let bounds = (class.least * context.unit() / 100, class.most * context.unit() / 100);
        for range in cut(&sizes, bounds.0, bounds.1) {
            let blocks: u64 = sizes[range.clone()].iter().map(|(blocks, _)| blocks).sum();
            let key = sizes[range.clone()].iter().map(|(_, hash)| *hash).min().unwrap_or(0);
            let items = members[range].iter().map(|(at, _)| *at).collect();
            chunks.push(Chunk { items, pages: blocks.div_ceil(context.unit()), key });
        }
    }
    chunks
}

/// Cuts a list of `(size, hash)` into stretches of `least` to `most`, each before the entry with the smallest hash that allows it. What
/// is larger than `most` is alone.
pub(super) fn cut(list: &[(u64, u64)], least: u64, most: u64) -> Vec<Range<usize>> {
    let mut stretches = Vec::new();
    let mut first = 0;
    while first < list.len() {
        let (mut size, mut at, mut best) = (0, first, None);
        while let Some((next, hash)) = list.get(at) {
            if at > first && size >= least && best.is_none_or(|(smallest, _)| *hash < smallest) {
                best = Some((*hash, at));
            }
            if at > first && size + next > most {
                break;
            }
            size += next;
            at += 1;
        }
        let all = at == list.len() && size <= most;
        let end = if all { at } else { best.map_or(at, |(_, at)| at).max(first + 1) };
        stretches.push(first..end);
        first = end;
    }
    stretches
}

/// The 512-KiB blocks of a region, and which are taken.
struct Slots {
    /// Their numbers, ascending.
    pages: Vec<u64>,
    taken: Vec<bool>,
}

impl Slots {
    /// The first `count` of the blocks in `whole`.
    fn new(whole: &[Range<u64>], count: u64) -> Self {
        let pages: Vec<u64> = whole.iter().flat_map(Clone::clone).take(usize_of(count)).collect();
        Self { taken: vec![false; pages.len()], pages }
    }

    /// The block behind the last.
    fn end(&self) -> u64 {
        self.pages.last().map_or(0, |last| last + 1)
    }

    /// Takes `count` neighbours, the first free ones from the place on that `key` says, or from the start; the first of them.
    fn take(&mut self, key: u64, count: u64) -> Option<u64> {
        let len = u64_of(self.pages.len());
        let room = len.checked_sub(count)? + 1;
        let home = usize_of(mix(key ^ HOME) % room);
        let start = self.find(home, usize_of(count)).or_else(|| self.find(0, usize_of(count)))?;
        self.taken[start..start + usize_of(count)].fill(true);
        Some(self.pages[start])
    }

    /// The first `count` free neighbours from position `from` on.
    fn find(&self, from: usize, count: usize) -> Option<usize> {
        let mut start = from;
        loop {
            let end = start.checked_add(count).filter(|end| *end <= self.pages.len())?;
            // Neighbours in the list may have fixed metadata between them.
            let obstacle = (start..end).rev().find(|at| self.taken[*at] || (*at + 1 < end && self.pages[at + 1] != self.pages[*at] + 1));
            match obstacle {
                None => return Some(start),
                Some(at) => start = at + 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_hold_what_they_may_and_end_where_they_did() {
        let list: Vec<(u64, u64)> = (0..4000).map(|n| (1 + mix(n) % 9, mix(n + 1_000_000))).collect();
        let sizes = |list: &[(u64, u64)], range: &Range<usize>| list[range.clone()].iter().map(|(size, _)| size).sum::<u64>();
        let whole = cut(&list, 85, 100);
        assert_eq!(whole.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..4000).collect::<Vec<_>>());
        assert!(whole[..whole.len() - 1].iter().all(|range| (85..=100).contains(&sizes(&list, range))));
        // One entry less: nearly all stretches are cut as before.
        let less: Vec<(u64, u64)> = list[..700].iter().chain(&list[701..]).copied().collect();
        let ends = |list: &[(u64, u64)], ranges: &[Range<usize>]| ranges.iter().map(|range| list[range.start].1).collect::<std::collections::HashSet<_>>();
        let (before, after) = (ends(&list, &whole), ends(&less, &cut(&less, 85, 100)));
        assert!(after.difference(&before).count() <= 8, "{} of {} cuts are new", after.difference(&before).count(), after.len());
        assert_eq!(cut(&[(500, 1), (3, 2), (500, 3)], 85, 100), [0..1, 1..2, 2..3]);
        assert!(cut(&[], 85, 100).is_empty());
    }

    #[test]
    fn neighbours_are_taken_from_their_place_on_and_never_over_a_gap() {
        let mut slots = Slots::new(&[3..6, 10..20], 8);
        assert_eq!((slots.pages.clone(), slots.end()), (vec![3, 4, 5, 10, 11, 12, 13, 14], 15));
        assert_eq!(slots.take(1, 5), Some(10));
        assert_eq!(slots.take(1, 4), None);
        assert_eq!(slots.take(1, 3), Some(3));
        assert_eq!(slots.take(1, 1), None);
        assert_eq!(slots.take(1, 9), None);
    }
}
