//! What lies where: the one notion that filesystems, partition tables and disks share.
//!
//! A layout knows which byte ranges hold what. Bytes in no segment are unused: nobody reads them, nobody trusts them
//! to be zero. Bytes in a `Zeros` segment must read as zero.

use crate::content::{Contents, Wanted};
use crate::error::Result;
use crate::units::{BLOCK_BYTES, BlockIndex, ContentId, u64_of, usize_of};
use arrayvec::ArrayVec;
use std::ops::{ControlFlow, Range};

/// What fills a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentSource {
    /// Structures of a filesystem or a partition table: [`Layout::render`] makes them.
    Metadata,
    /// Bytes of a file, from `offset_bytes` in it.
    Content {
        /// Which contents.
        id: ContentId,
        /// The file's offset of the segment's first byte.
        offset_bytes: u64,
    },
    /// Zeros that somebody trusts.
    Zeros,
}

/// A used range of the layout, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Bytes from the layout's start.
    pub range: Range<u64>,
    /// What fills them.
    pub source: SegmentSource,
}

impl Segment {
    /// The part of this segment inside `range`, if any.
    #[must_use]
    pub fn clip(&self, range: &Range<u64>) -> Option<Self> {
        let start = self.range.start.max(range.start);
        let end = self.range.end.min(range.end);
        let source = match self.source {
            SegmentSource::Content { id, offset_bytes } => SegmentSource::Content { id, offset_bytes: offset_bytes + (start.checked_sub(self.range.start)?) },
            other => other,
        };
        (start < end).then_some(Self { range: start..end, source })
    }
}

/// Looks at segments; a break ends the visit.
pub type Visitor<'a> = dyn FnMut(Segment) -> ControlFlow<()> + 'a;

/// A planned filesystem, table or disk. Immutable; any part of it can be made at any time, in any order.
pub trait Layout: Send + Sync {
    /// The size of the whole.
    fn size_bytes(&self) -> u64;

    /// The first segment that ends after `offset_bytes` (it may begin before it), or `None` past the last one.
    ///
    /// Segments are disjoint, ascending and inside the layout. Neighbours may touch and be of one kind. The cost of a
    /// call does not grow with the size of the layout.
    fn segment_after(&self, offset_bytes: u64) -> Option<Segment>;

    /// Gives the segments from there on one by one, until `each` breaks: what [`Layout::segment_after`] would find, for those
    /// who look at many neighbours.
    ///
    /// # Errors
    /// The break is passed on.
    fn visit(&self, offset_bytes: u64, each: &mut Visitor<'_>) -> ControlFlow<()> {
        let mut at = offset_bytes;
        while let Some(segment) = self.segment_after(at) {
            at = segment.range.end;
            each(segment)?;
        }
        ControlFlow::Continue(())
    }

    /// Fills `out` with the metadata from `offset_bytes`. Pure: no I/O, no state. Asked only for ranges inside one
    /// `Metadata` segment.
    fn render(&self, offset_bytes: u64, out: &mut [u8]);
}

/// The segments of `layout` that meet `range`, clipped to it, ascending.
pub fn segments<'a>(layout: &'a (impl Layout + ?Sized), range: Range<u64>) -> impl Iterator<Item = Segment> + 'a {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let segment = layout.segment_after(at).filter(|segment| segment.range.start < range.end)?;
        at = segment.range.end;
        segment.clip(&range)
    })
}

/// A run of neighbouring 512-KiB blocks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRun {
    /// The first block.
    pub first: BlockIndex,
    /// How many.
    pub count: u64,
    /// Whether contents or metadata lie in them, or only `Zeros` segments.
    pub kind: RunKind,
}

/// What the layout alone says of a block. Where several segments meet one, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKind {
    /// Only `Zeros` segments meet the blocks: they need be neither read, scanned nor hashed.
    Zeros,
    /// Metadata or contents meet each block's first [`BEGINNING_BYTES`] and no more of it. On large disks most used blocks are
    /// of this kind, and equal: each holds the bitmap of a block group without files.
    Beginning,
    /// Metadata or contents meet each block.
    Filled,
}

/// How many pieces of contents are asked for at once: a block has 128 pieces of 4 KiB. The list lies on the stack, so that
/// nothing is allocated a block.
const WANTED_MAX: usize = 128;

/// How much of a block is its beginning: a block or two of a filesystem.
pub const BEGINNING_BYTES: u64 = 8192;

/// Which 512-KiB blocks of a layout are used. Blocks in no run are unused. Memory: a few bytes a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationMap {
    runs: Vec<BlockRun>,
    size_bytes: u64,
}

impl AllocationMap {
    /// Walks the segments of `layout` once.
    #[must_use]
    pub fn of(layout: &(impl Layout + ?Sized)) -> Self {
        let mut map = Self { runs: Vec::new(), size_bytes: layout.size_bytes() };
        let _ = layout.visit(0, &mut |segment| {
            let first = segment.range.start / BLOCK_BYTES;
            let end = segment.range.end.div_ceil(BLOCK_BYTES);
            let kind = match segment.source {
                SegmentSource::Zeros => RunKind::Zeros,
                _ if segment.range.end <= first * BLOCK_BYTES + BEGINNING_BYTES => RunKind::Beginning,
                _ => RunKind::Filled,
            };
            map.mark(first, end, kind);
            ControlFlow::Continue(())
        });
        map
    }

    /// A layout whose end nobody knows: every block there can be is filled.
    pub(crate) fn endless() -> Self {
        let count = u64::MAX / BLOCK_BYTES;
        Self { runs: vec![BlockRun { first: BlockIndex(0), count, kind: RunKind::Filled }], size_bytes: u64::MAX }
    }

    /// Segments ascend, so only the last block of the last run can be met again.
    fn mark(&mut self, first: u64, end: u64, kind: RunKind) {
        let mut first = first;
        if let Some(last) = self.runs.last_mut() {
            let last_end = last.first.0 + last.count;
            if first < last_end {
                // The shared block: the greater kind wins.
                if kind > last.kind {
                    last.count -= 1;
                    if last.count == 0 {
                        self.runs.pop();
                    }
                    self.push(first, 1, kind);
                }
                first += 1;
            }
        }
        if first < end {
            self.push(first, end - first, kind);
        }
    }

    fn push(&mut self, first: u64, count: u64, kind: RunKind) {
        match self.runs.last_mut() {
            Some(last) if last.kind == kind && last.first.0 + last.count == first => last.count += count,
            _ => self.runs.push(BlockRun { first: BlockIndex(first), count, kind }),
        }
    }

    /// The runs of used blocks, ascending.
    #[must_use]
    pub fn runs(&self) -> &[BlockRun] {
        &self.runs
    }

    /// The number of used blocks.
    #[must_use]
    pub fn used_blocks(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// The number of blocks of the whole layout, a short last one included.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.size_bytes.div_ceil(BLOCK_BYTES)
    }

    /// The size of the layout.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether a used block meets the range of `count` blocks from `first`, and the greatest kind of them.
    #[must_use]
    pub fn meets(&self, first: BlockIndex, count: u64) -> Option<RunKind> {
        let from = self.runs.partition_point(|run| run.first.0 + run.count <= first.0);
        let met = self.runs[from..].iter().take_while(|run| run.first.0 < first.0 + count);
        met.map(|run| run.kind).max()
    }
}

/// Fills `out`, which is the bytes of the layout from `offset_bytes`, from its segments; what is unused is zero.
///
/// # Errors
/// Those of `contents`.
pub fn fill(layout: &(impl Layout + ?Sized), contents: &dyn Contents, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
    let dirty = out.len();
    fill_dirty(layout, contents, offset_bytes, out, dirty).map(drop)
}

/// [`fill`] for a buffer that is used again: only its first `dirty` bytes may be other than zero. Returns how many may be
/// then, so that a block with little in it is neither cleared nor scanned as a whole. After an error any may be.
///
/// # Errors
/// Those of `contents`.
pub(crate) fn fill_dirty(layout: &(impl Layout + ?Sized), contents: &dyn Contents, offset_bytes: u64, out: &mut [u8], dirty: usize) -> Result<usize> {
    let all = offset_bytes..offset_bytes + u64_of(out.len());
    let mut done = 0;
    let mut dirty_then = 0;
    let mut rest = out;
    let clear = |at: usize, bytes: &mut [u8]| {
        let count = bytes.len().min(dirty.saturating_sub(at));
        bytes[..count].fill(0);
    };
    // Contents come last and together, so that neighbours can be read at once.
    let mut wanted = ArrayVec::<Wanted<'_>, WANTED_MAX>::new();
    let mut read = Ok(());
    let _ = layout.visit(offset_bytes, &mut |segment| {
        let Some(Segment { range, source }) = segment.clip(&all) else { return ControlFlow::Break(()) };
        let (start, end) = (usize_of(range.start - offset_bytes), usize_of(range.end - offset_bytes));
        let (unused, behind) = std::mem::take(&mut rest).split_at_mut(start - done);
        clear(done, unused);
        let (target, behind) = behind.split_at_mut(end - start);
        (rest, done) = (behind, end);
        if source != SegmentSource::Zeros {
            dirty_then = end;
        }
        match source {
            SegmentSource::Metadata => layout.render(range.start, target),
            SegmentSource::Zeros => clear(start, target),
            SegmentSource::Content { id, offset_bytes } => {
                wanted.push(Wanted { id, offset_bytes, out: target });
                if wanted.is_full() {
                    read = contents.read_many(&mut wanted);
                    wanted.clear();
                }
            }
        }
        if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read?;
    clear(done, rest);
    contents.read_many(&mut wanted)?;
    Ok(dirty_then)
}

/// Checks what every layout promises: segments inside it, ascending, disjoint, never empty.
///
/// # Panics
/// Where a promise is broken: that is a mistake of the planner, never of its input.
pub fn assert_well_formed(layout: &(impl Layout + ?Sized)) {
    let mut end = 0;
    while let Some(segment) = layout.segment_after(end) {
        assert!(segment.range.start >= end, "a segment at {:?} begins before the end of the one before it, {end}", segment.range);
        assert!(segment.range.start < segment.range.end, "an empty segment at {:?}", segment.range);
        assert!(segment.range.end <= layout.size_bytes(), "a segment at {:?} ends past the layout's {} bytes", segment.range, layout.size_bytes());
        end = segment.range.end;
    }
}
