//! A set of byte ranges that grows: what has been read already, and what of a new read is new.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges, never touching; memory grows with their number.
#[derive(Debug, Clone, Default)]
pub(super) struct RangeSet {
    /// End by start.
    ends: BTreeMap<u64, u64>,
    bytes: u64,
}

impl RangeSet {
    /// Adds a range, and tells what of it is new, ascending.
    pub(super) fn insert(&mut self, range: Range<u64>, mut new: impl FnMut(Range<u64>)) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut at) = (range.start, range.start);
        if let Some((before, end)) = self.ends.range(..=range.start).next_back().filter(|(_, end)| **end >= range.start) {
            if *end >= range.end {
                return;
            }
            (start, at) = (*before, *end);
        }
        let mut end = range.end;
        while at <= range.end {
            let Some((next, next_end)) = self.ends.range(at.max(start + 1)..=range.end).next().map(|(next, end)| (*next, *end)) else { break };
            self.ends.remove(&next);
            if at < next {
                self.bytes += next - at;
                new(at..next);
            }
            at = next_end;
            end = end.max(next_end);
        }
        if at < range.end {
            self.bytes += range.end - at;
            new(at..range.end);
        }
        self.ends.insert(start, end);
    }

    /// The ranges, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(start, end)| *start..*end)
    }

    /// How many bytes are in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of all pieces of `unit` bytes that it touches; at most 2^64 − 1.
    pub(super) fn bytes_in_units(&self, unit: u64) -> u64 {
        let mut units = 0_u64;
        let mut from = 0;
        for range in self.iter() {
            let (first, end) = ((range.start / unit).max(from), range.end.div_ceil(unit));
            units += end.saturating_sub(first);
            from = from.max(end);
        }
        units.saturating_mul(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_bytes(ranges in prop::collection::vec((0_u64..200, 0_u64..40), 0..60)) {
            let mut set = RangeSet::default();
            let mut bytes = [false; 256];
            for (start, len) in ranges {
                let mut told = Vec::new();
                set.insert(start..start + len, |new| told.push(new));
                let mut expected = Vec::new();
                for at in start..start + len {
                    let seen = &mut bytes[usize::try_from(at).unwrap()];
                    if !*seen {
                        expected.push(at);
                        *seen = true;
                    }
                }
                prop_assert!(told.iter().all(|range| !range.is_empty()));
                prop_assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), expected);
            }
            let all: Vec<u64> = (0..256).filter(|at| bytes[usize::try_from(*at).unwrap()]).collect();
            prop_assert_eq!(set.iter().flatten().collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(set.bytes(), crate::units::u64_of(all.len()));
            let pairs: Vec<Range<u64>> = set.iter().collect();
            prop_assert!(pairs.windows(2).all(|pair| pair[0].end < pair[1].start));
            let mut units: Vec<u64> = all.iter().map(|at| at / 16).collect();
            units.dedup();
            prop_assert_eq!(set.bytes_in_units(16), crate::units::u64_of(units.len()) * 16);
        }
    }

    #[test]
    fn the_last_bytes_of_all_are_no_trouble() {
        let mut set = RangeSet::default();
        set.insert(u64::MAX - 1..u64::MAX, |_| {});
        set.insert(0..u64::MAX, |_| {});
        assert_eq!(set.bytes(), u64::MAX);
        assert_eq!(set.bytes_in_units(4096), u64::MAX);
    }
}
