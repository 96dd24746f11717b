//! Two block lists side by side.

use crate::checksum::{BlockChecksums, BlockState};
use std::ops::Range;

/// The blocks of two disks, in runs in which each has one state; the shorter one is unused behind its end.
pub(super) struct Overlaps<A, B> {
    ours: A,
    theirs: B,
    heads: [Option<(u64, BlockState)>; 2],
    at: u64,
}

fn ends(blocks: &BlockChecksums, end: u64) -> impl Iterator<Item = (u64, BlockState)> {
    let behind = (blocks.slice().end.0 < end).then_some((end, BlockState::Unused));
    blocks.runs().map(|run| (run.first.0 + run.count, run.state)).chain(behind)
}

impl Overlaps<(), ()> {
    #[expect(clippy::new_ret_no_self, reason = "the iterators' types have no names")]
    pub(super) fn new(ours: &BlockChecksums, theirs: &BlockChecksums) -> impl Iterator<Item = (Range<u64>, BlockState, BlockState)> {
        let end = ours.slice().end.0.max(theirs.slice().end.0);
        let (mut ours, mut theirs) = (ends(ours, end), ends(theirs, end));
        let heads = [ours.next(), theirs.next()];
        Overlaps { ours, theirs, heads, at: 0 }
    }
}

impl<A: Iterator<Item = (u64, BlockState)>, B: Iterator<Item = (u64, BlockState)>> Iterator for Overlaps<A, B> {
    type Item = (Range<u64>, BlockState, BlockState);

    fn next(&mut self) -> Option<Self::Item> {
        let [Some((our_end, ours)), Some((their_end, theirs))] = self.heads else { return None };
        let range = self.at..our_end.min(their_end);
        self.at = range.end;
        if our_end == range.end {
            self.heads[0] = self.ours.next();
        }
        if their_end == range.end {
            self.heads[1] = self.theirs.next();
        }
        Some((range, ours, theirs))
    }
}
