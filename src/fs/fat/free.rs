//! Free clusters: taken one by one by what keeps its place, then in runs by what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Runs of clusters that nobody has. Neighbours are one run, so that whole runs are seen.
#[derive(Debug)]
pub(super) struct Free {
    /// First cluster to the one behind the last.
    runs: BTreeMap<u32, u32>,
    /// The same by length, then by first cluster.
    lengths: BTreeSet<(u32, u32)>,
}

impl Free {
    pub(super) fn new(clusters: Range<u32>) -> Self {
        let mut free = Self { runs: BTreeMap::new(), lengths: BTreeSet::new() };
        free.insert(clusters);
        free
    }

    fn insert(&mut self, run: Range<u32>) {
        if run.start < run.end {
            self.runs.insert(run.start, run.end);
            self.lengths.insert((run.end - run.start, run.start));
        }
    }

    fn remove(&mut self, run: &Range<u32>) {
        self.runs.remove(&run.start);
        self.lengths.remove(&(run.end - run.start, run.start));
    }

    /// The run that `cluster` lies in.
    fn around(&self, cluster: u32) -> Option<Range<u32>> {
        let (start, end) = self.runs.range(..=cluster).next_back()?;
        (*end > cluster).then_some(*start..*end)
    }

    /// Takes clusters; false, and nothing is taken, unless there are some and all of them are free.
    pub(super) fn take(&mut self, wanted: &Range<u32>) -> bool {
        let Some(run) = self.around(wanted.start).filter(|run| wanted.start < wanted.end && wanted.end <= run.end) else { return false };
        self.remove(&run);
        self.insert(run.start..wanted.start);
        self.insert(wanted.end..run.end);
        true
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, run: Range<u32>) {
        let mut whole = run;
        if let Some(before) = whole.start.checked_sub(1).and_then(|cluster| self.around(cluster)) {
            self.remove(&before);
            whole.start = before.start;
        }
        if let Some(behind) = self.around(whole.end) {
            self.remove(&behind);
            whole.end = behind.end;
        }
        self.insert(whole);
    }

    /// How many free clusters there are from `cluster` on, one behind the other.
    pub(super) fn behind(&self, cluster: u32) -> u32 {
        self.around(cluster).map_or(0, |run| run.end - cluster)
    }

    /// Takes `count` clusters in a row inside `zone`, the first there are.
    pub(super) fn first(&mut self, zone: Range<u32>, count: u32) -> Option<Range<u32>> {
        let begun = self.around(zone.start).map(|run| zone.start..run.end);
        let later = self.runs.range(zone.start..zone.end).map(|(start, end)| *start..*end);
        let run = begun.into_iter().chain(later).find(|run| run.end.min(zone.end).saturating_sub(run.start) >= count)?;
        let found = run.start..run.start + count;
        assert!(self.take(&found), "a run that was found free");
        Some(found)
    }

    /// Takes `count` clusters in a row where the fewest are left over.
    pub(super) fn tightest(&mut self, count: u32) -> Option<Range<u32>> {
        let (_, start) = *self.lengths.range((count, 0)..).next()?;
        let found = start..start + count;
        assert!(self.take(&found), "a run that was found free");
        Some(found)
    }

    /// Takes at most `count` clusters in a row inside `zone`, the first there are.
    pub(super) fn some_within(&mut self, zone: Range<u32>, count: u32) -> Option<Range<u32>> {
        let begun = self.around(zone.start).map(|run| zone.start..run.end);
        let run = begun.or_else(|| self.runs.range(zone.clone()).next().map(|(start, end)| *start..*end))?;
        let found = run.start..run.end.min(zone.end).min(run.start.saturating_add(count));
        self.take(&found).then_some(found)
    }

    /// Takes at most `count` clusters in a row of the longest run.
    pub(super) fn some(&mut self, count: u32) -> Option<Range<u32>> {
        let (length, start) = *self.lengths.last()?;
        let found = start..start + length.min(count);
        self.take(&found).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_what_is_given_back_joins_its_neighbours() {
        let mut free = Free::new(2..100);
        assert!(free.take(&(10..20)) && free.take(&(20..30)) && free.take(&(98..100)));
        for wanted in [5..11, 15..16, 29..31, 99..101, 0..3, 50..50] {
            assert!(!free.take(&wanted), "{wanted:?}");
        }
        assert_eq!((free.behind(2), free.behind(10), free.behind(97), free.behind(100)), (8, 0, 1, 0));
        free.give(10..20);
        assert_eq!(free.behind(2), 18);
        free.give(20..30);
        assert_eq!(free.behind(2), 96);
        assert_eq!((free.runs.len(), free.lengths.len()), (1, 1));
    }

    #[test]
    fn runs_are_found_by_place_and_by_length() {
        let mut free = Free::new(2..100);
        assert!(free.take(&(10..20)) && free.take(&(25..90)));
        assert_eq!(free.tightest(4), Some(20..24));
        assert_eq!(free.first(4..100, 5), Some(4..9));
        assert_eq!(free.first(4..95, 6), None);
        assert_eq!(free.first(4..100, 6), Some(90..96));
        assert_eq!(free.some_within(3..95, 10), Some(3..4));
        assert_eq!(free.some_within(3..95, 10), Some(9..10));
        assert_eq!(free.some_within(3..95, 10), Some(24..25));
        assert_eq!(free.some_within(3..95, 10), None);
        assert_eq!(free.some(3), Some(96..99));
        assert_eq!(free.tightest(3), None);
        assert_eq!((free.some(9), free.some(9), free.some(9)), (Some(99..100), Some(2..3), None));
    }
}
