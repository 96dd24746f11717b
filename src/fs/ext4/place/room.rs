//! Free space beside what an earlier version left in place: where new blocks dirty the fewest 512-KiB blocks.
//!
//! First comes free space in blocks that differ from the earlier version anyway, the smallest that suffices; then blocks that are free
//! as a whole, from the first on, whose rest counts as the former from then on; then gaps in blocks that would stay as they are.

use super::ledger::complement;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Free ranges.
#[derive(Debug)]
pub(super) struct Room {
    unit: u64,
    /// In 512-KiB blocks that differ: (length, start).
    dirty: BTreeSet<(u64, u64)>,
    /// Whole 512-KiB blocks: start and end.
    fresh: BTreeMap<u64, u64>,
    /// Gaps in blocks that stay: (length, start).
    gaps: BTreeSet<(u64, u64)>,
}

impl Room {
    /// `free` is ascending and disjoint; `dirty` are 512-KiB blocks of `unit` blocks by number, in any order.
    pub(super) fn new(free: &[Range<u64>], dirty: Vec<Range<u64>>, unit: u64) -> Self {
        let mut room = Self { unit, dirty: BTreeSet::new(), fresh: BTreeMap::new(), gaps: BTreeSet::new() };
        // The blocks between those that differ.
        let clean = complement(dirty, u64::MAX / unit);
        for range in free {
            let mut at = range.start;
            let from = clean.partition_point(|pages| pages.end * unit <= at);
            for pages in clean[from..].iter().take_while(|pages| pages.start * unit < range.end) {
                let (start, end) = ((pages.start * unit).max(at), (pages.end * unit).min(range.end));
                room.add(at..start, true);
                room.add(start..end, false);
                at = end;
            }
            room.add(at..range.end, true);
        }
        room
    }

    fn add(&mut self, range: Range<u64>, is_dirty: bool) {
        let keep = |set: &mut BTreeSet<(u64, u64)>, range: Range<u64>| {
            if !range.is_empty() {
                set.insert((range.end - range.start, range.start));
            }
        };
        if is_dirty {
            return keep(&mut self.dirty, range);
        }
        let whole = range.start.next_multiple_of(self.unit)..range.end / self.unit * self.unit;
        if whole.start >= whole.end {
            return keep(&mut self.gaps, range);
        }
        keep(&mut self.gaps, range.start..whole.start);
        keep(&mut self.gaps, whole.end..range.end);
        self.fresh.insert(whole.start, whole.end);
    }

    /// `count` neighbouring blocks; `None` if there are none.
    pub(super) fn take(&mut self, count: u64) -> Option<Range<u64>> {
        if let Some((length, start)) = self.dirty.range((count, 0)..).next().copied() {
            self.dirty.remove(&(length, start));
            self.add(start + count..start + length, true);
            return Some(start..start + count);
        }
        if let Some((start, end)) = self.fresh.iter().find(|(start, end)| *end - *start >= count).map(|(start, end)| (*start, *end)) {
            self.fresh.remove(&start);
            let touched = (start + count).next_multiple_of(self.unit).min(end);
            self.add(start + count..touched, true);
            self.add(touched..end, false);
            return Some(start..start + count);
        }
        let (length, start) = self.gaps.range((count, 0)..).next().copied()?;
        self.gaps.remove(&(length, start));
        self.add(start + count..start + length, true);
        Some(start..start + count)
    }

    /// At least `count` blocks in few pieces, or all that there are.
    pub(super) fn take_pieces(&mut self, count: u64) -> Vec<Range<u64>> {
        let mut pieces = Vec::new();
        let mut left = count;
        while left > 0 {
            if let Some(piece) = self.take(left) {
                pieces.push(piece);
                break;
            }
            let fresh = self.fresh.iter().map(|(start, end)| (end - start, *start)).max_by_key(|(length, start)| (*length, std::cmp::Reverse(*start)));
            let Some((length, _)) = [fresh, self.dirty.last().copied(), self.gaps.last().copied()].into_iter().flatten().max_by_key(|(length, _)| *length)
            else {
                break;
            };
            let Some(piece) = self.take(length) else { break };
            left -= length;
            pieces.push(piece);
        }
        pieces
    }

    /// Whole 512-KiB blocks for `count` blocks, in one piece if there is one; all that there are, if they do not suffice. What is left
    /// of the last is not free any more.
    pub(super) fn take_whole(&mut self, count: u64) -> Vec<Range<u64>> {
        let needed = count.next_multiple_of(self.unit);
        let one = self.fresh.iter().find(|(start, end)| *end - *start >= needed).map(|(start, _)| *start);
        let mut taken = Vec::new();
        let mut left = needed;
        while left > 0 {
            let Some((start, end)) = one.or_else(|| self.fresh.keys().next().copied()).and_then(|start| self.fresh.remove_entry(&start)) else { break };
            let stop = end.min(start + left);
            self.add(stop..end, false);
            taken.push(start..stop);
            left -= stop - start;
        }
        taken
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges are meant")]
mod tests {
    use super::*;

    #[test]
    fn what_differs_anyway_is_filled_first_then_whole_blocks_then_gaps() {
        // Blocks of 10: 0 stays with a gap, 1 differs, 2 and 3 are free, 4 stays with a gap.
        let free = [7..10, 12..16, 18..40, 45..50];
        let mut room = Room::new(&free, vec![1..2], 10);
        assert_eq!(room.dirty, BTreeSet::from([(4, 12), (2, 18)]));
        assert_eq!((room.fresh.clone(), room.gaps.clone()), (BTreeMap::from([(20, 40)]), BTreeSet::from([(3, 7), (5, 45)])));
        assert_eq!(room.take(2), Some(18..20));
        assert_eq!(room.take(3), Some(12..15));
        assert_eq!(room.take(3), Some(20..23));
        assert_eq!(room.take(6), Some(23..29));
        assert_eq!(room.take(11), None);
        assert_eq!(room.take_pieces(11), [30..40, 15..16]);
        assert_eq!(room.take(5), Some(45..50));
        assert_eq!(room.take_pieces(100), [7..10, 29..30]);
        assert_eq!(room.take_pieces(1), []);
    }

    #[test]
    fn whole_blocks_are_for_one_purpose() {
        let mut room = Room::new(&[3..20, 30..60], Vec::new(), 10);
        assert_eq!(room.take_whole(21), [30..60]);
        let mut room = Room::new(&[3..20, 30..60], Vec::new(), 10);
        assert_eq!(room.take_whole(5), [10..20]);
        assert_eq!(room.take_whole(40), [30..60]);
        assert_eq!(room.take_whole(1), []);
    }
}
