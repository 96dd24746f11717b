//! A disk that no filesystem planned: every kind of segment, at odd places, with bytes that are a function of their
//! position.
#![allow(dead_code, reason = "each test uses its part")]

use rootvol::content::Contents;
use rootvol::layout::{AllocationMap, Layout, Segment, SegmentSource, fill};
use rootvol::stream::Blocks;
use rootvol::units::{BLOCK_BYTES, ContentId, usize_of};
use rootvol::{ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Contents that are zeros.
pub const ZERO_CONTENTS: ContentId = ContentId(1);

/// A well-mixed number for each number (splitmix64).
pub fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Byte `at` of a pattern is a byte of the mixed number of the eight bytes that it is in.
fn pattern(seed: u64, offset_bytes: u64, out: &mut [u8]) {
    let word = |number: u64| mixed(number ^ seed << 48).to_le_bytes();
    let lead = usize_of(offset_bytes.next_multiple_of(8) - offset_bytes).min(out.len());
    let (lead, words) = out.split_at_mut(lead);
    let first = word(offset_bytes / 8);
    let from = usize_of(offset_bytes % 8);
    lead.copy_from_slice(&first[from..from + lead.len()]);
    for (bytes, number) in words.chunks_mut(8).zip(offset_bytes.div_ceil(8)..) {
        bytes.copy_from_slice(&word(number)[..bytes.len()]);
    }
}

pub struct Synthetic {
    pub size_bytes: u64,
    pub segments: Vec<Segment>,
    pub map: AllocationMap,
}

impl Synthetic {
    /// A disk of `size_bytes` with segments of all kinds that depend on `seed`.
    pub fn new(size_bytes: u64, seed: u64) -> Self {
        let mut segments = Vec::new();
        let (mut at, mut number) = (0, seed << 32);
        let mut next = || {
            number += 1;
            mixed(number)
        };
        while at < size_bytes {
            let lengths = [1, 512, 4096, 100_000, BLOCK_BYTES, 3 * BLOCK_BYTES + 77];
            let len = (lengths[usize_of(next() % 6)] + next() % 3 * 512).min(size_bytes - at);
            let source = match next() % 5 {
                0 => Some(SegmentSource::Metadata),
                1 => Some(SegmentSource::Content { id: ContentId(0), offset_bytes: next() % 10_000 }),
                2 => Some(SegmentSource::Content { id: ZERO_CONTENTS, offset_bytes: 0 }),
                3 => Some(SegmentSource::Zeros),
                _ => None,
            };
            // Gaps that leave whole blocks unused.
            let len = if source.is_none() { (4 * len).min(size_bytes - at) } else { len };
            segments.extend(source.map(|source| Segment { range: at..at + len, source }));
            at += len;
        }
        Self::of(size_bytes, segments)
    }

    pub fn of(size_bytes: u64, segments: Vec<Segment>) -> Self {
        let mut this = Self { size_bytes, segments, map: AllocationMap::of(&Empty(0)) };
        rootvol::layout::assert_well_formed(&this);
        this.map = AllocationMap::of(&this);
        this
    }

    pub fn blocks<'a>(&'a self, contents: &'a dyn Contents) -> Blocks<'a> {
        Blocks { layout: self, contents, map: &self.map }
    }

    /// The disk's bytes, made in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xee; usize_of(self.size_bytes)];
        fill(self, &Patterns::default(), 0, &mut bytes).unwrap();
        bytes
    }
}

impl Layout for Synthetic {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        self.segments.get(self.segments.partition_point(|segment| segment.range.end <= offset_bytes)).cloned()
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        pattern(7, offset_bytes, out);
    }
}

/// A disk of so many bytes with nothing on it.
pub struct Empty(pub u64);

impl Layout for Empty {
    fn size_bytes(&self) -> u64 {
        self.0
    }

    fn segment_after(&self, _offset_bytes: u64) -> Option<Segment> {
        None
    }

    fn render(&self, _offset_bytes: u64, _out: &mut [u8]) {
        unreachable!("there is no metadata");
    }
}

/// What happens at a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fail,
    Panic,
}

/// Contents as functions of id and offset, which can fail at one read.
#[derive(Default)]
pub struct Patterns {
    pub fault: Option<(usize, Fault)>,
    pub reads: AtomicUsize,
}

impl Contents for Patterns {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some((at, Fault::Fail)) if at == number => return Err(rootvol::Error::new(ErrorKind::SourceChanged, format!("read {number} failed"))),
            Some((at, Fault::Panic)) if at == number => panic!("read {number} panicked"),
            _ => {}
        }
        match id {
            ZERO_CONTENTS => out.fill(0),
            ContentId(seed) => pattern(u64::from(seed) + 1000, offset_bytes, out),
        }
        Ok(())
    }
}
