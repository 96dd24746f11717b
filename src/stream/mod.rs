//! The one loop: blocks are filled, hashed and encoded on threads, and leave in order on the caller's thread.
//!
//! ```text
//!             ┌► take a batch ► fill ► zero? ► hash ► encode ─┐          caller's thread
//!   free  ────┼► …                                            ├─► done ─► in order ► image ► output
//!  batches    └► … (one loop a thread)                        ┘            │        or a sink
//!     ▲────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The layout's runs say what there is to do; nothing is kept for blocks that nobody reads. A thread first takes a free
//! batch of buffers, then the next blocks: so whoever holds the earliest blocks can always go on, and nothing waits in a
//! circle. The number of batches is fixed, and with it the memory. What leaves does not depend on the number of threads:
//! neither the bytes nor, where several things fail, the error.
//!
//! Where reading has to wait for a disk, one more thread makes ready what comes next; in the page cache it sleeps.
//!
//! With one thread there is none: the same steps one after the other on the caller's.

mod batch;
mod crew;
mod existing;
mod feed;
mod files;
mod image;
mod whole;

pub use existing::{ChecksumOptions, ReadThrough, all_blocks, blocks_with_data, checksum_blocks, checksum_reader, look_at_ranges};
pub use files::{HEAD_BYTES, LookAt, WholeContents, hash_files, look_at_files};

use crate::checksum::{BlockChecksums, BlockState, Digest, ZERO_BLOCK_DIGEST};
use crate::content::{Ahead, Contents};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BlockEncoder, ImagePlan};
use crate::layout::{AllocationMap, Layout, RunKind, SegmentSource, fill, fill_dirty, segments};
use crate::output::Output;
use crate::report::FileSummary;
use crate::units::{BLOCK_BYTES, BLOCK_LEN, BlockIndex, usize_of};
use batch::Slot;
use feed::{Feed, with_feed};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use whole::WholeFile;

/// The most threads that are started: more than any machine that builds images has, and few enough for their buffers.
pub const THREADS_MAX: usize = 256;
/// Progress is told at most ten times a second, and a cancellation noticed as often.
const TICK: Duration = Duration::from_millis(100);
/// Long runs without data are passed on in parts, so that a cancellation is noticed where zeros have to be written.
const RUN_BLOCKS_MAX: u64 = 128;

/// How to stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Threads that fill, hash and encode: 1 to [`THREADS_MAX`].
    pub threads: usize,
    /// Whether to hash the whole file too: one serial stream over every byte, holes included.
    pub file_sha256: bool,
}

impl Default for StreamOptions {
    /// As many threads as the machine runs at once, no hash of the file.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads: threads.min(THREADS_MAX), file_sha256: false }
    }
}

/// Told how far a stream is; `Break` cancels it.
pub type OnProgress<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// How far the stream is. Both numbers count used blocks only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the disk that have left.
    pub done_bytes: u64,
    /// Bytes of the disk that will; `u64::MAX` where nobody knows.
    pub total_bytes: u64,
}

/// A wish to stop, made from anywhere. Clones are one wish.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    wished: Arc<AtomicBool>,
    /// Others that mean the same, such as flags that signals set.
    also: Arc<[Arc<AtomicBool>]>,
}

impl Cancel {
    /// No wish yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No wish yet; any of `flags` makes it too.
    #[must_use]
    pub fn when(flags: impl IntoIterator<Item = Arc<AtomicBool>>) -> Self {
        Self { also: flags.into_iter().collect(), ..Self::default() }
    }

    /// Wishes to stop.
    pub fn cancel(&self) {
        self.wished.store(true, Ordering::Relaxed);
    }

    /// Whether it was wished to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.wished.load(Ordering::Relaxed) || self.also.iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    /// Stops here if it was wished.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled")
}

/// What is streamed: a disk, its contents, and its used blocks.
#[derive(Clone, Copy)]
pub struct Blocks<'a> {
    /// The disk.
    pub layout: &'a dyn Layout,
    /// What its content segments refer to.
    pub contents: &'a dyn Contents,
    /// The used blocks of `layout`.
    pub map: &'a AllocationMap,
}

/// What makes the bytes of blocks, from many threads.
trait Fill: Sync {
    /// Fills a block of which only the first `dirty` bytes may be other than zero; all that is behind what was filled is zero
    /// then.
    fn fill(&self, index: BlockIndex, block: &mut [u8; BLOCK_LEN], dirty: usize) -> Result<Filled>;

    /// Makes ready what filling the block will read. A hint, from another thread.
    fn prefetch(&self, index: BlockIndex) {
        let _ = index;
    }

    /// Whether filling had to wait for a disk lately.
    fn is_cold(&self) -> bool {
        false
    }

    /// Whether blocks can be filled in ascending order only, one at a time.
    fn in_order(&self) -> bool {
        false
    }
}

/// How a block was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filled {
    /// Bytes of the block that lie on the disk: all of them, but for a short last one; none behind the end.
    len: usize,
    /// How many of the first bytes may be other than zero.
    dirty: usize,
}

impl Fill for Blocks<'_> {
    fn fill(&self, index: BlockIndex, block: &mut [u8; BLOCK_LEN], dirty: usize) -> Result<Filled> {
        let len = usize_of(self.map.size_bytes().saturating_sub(index.offset_bytes()).min(BLOCK_BYTES));
        let (inside, behind) = block.split_at_mut(len);
        behind.fill(0);
        let dirty = fill_dirty(self.layout, self.contents, index.offset_bytes(), inside, dirty.min(len))?;
        Ok(Filled { len, dirty })
    }

    fn prefetch(&self, index: BlockIndex) {
        let mut ahead = Vec::new();
        for segment in segments(self.layout, index.offset_bytes()..index.offset_bytes() + BLOCK_BYTES) {
            if let SegmentSource::Content { id, offset_bytes } = segment.source {
                ahead.push(Ahead { id, offset_bytes, len_bytes: segment.range.end - segment.range.start });
            }
        }
        self.contents.prefetch(&ahead);
    }

    fn is_cold(&self) -> bool {
        self.contents.is_cold()
    }
}

/// A used block, for uploaders in this process.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Which block.
    pub index: BlockIndex,
    /// Data or zero; unused blocks never come.
    pub state: BlockState,
    /// SHA-256 of `data`.
    pub checksum: &'a Digest,
    /// 512 KiB; a short last block is padded with zeros.
    pub data: &'a [u8; BLOCK_LEN],
}

/// Gets every used block, ascending, on the thread that streams.
pub trait BlockSink {
    /// Takes a block. Its bytes are there only during the call; [`read_block`] makes them again at any time.
    ///
    /// # Errors
    /// Whatever the sink cannot do ends the stream.
    fn block(&mut self, block: Block<'_>) -> Result<()>;
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamSummary {
    /// State and digest of every block.
    pub checksums: BlockChecksums,
    /// The file.
    pub file: FileSummary,
}

/// Streams `disk` as `image` into `output` and finishes it (see [`Output::finish`]).
///
/// `progress` is called on this thread, at most ten times a second and once at the end; its `Break` cancels.
///
/// # Errors
/// Those of the contents and the output, [`ErrorKind::Cancelled`], [`ErrorKind::Internal`] where a thread panicked.
/// All threads have ended then; what was written is to be thrown away.
pub fn run(
    disk: Blocks<'_>,
    image: ImagePlan,
    output: &mut dyn Output,
    options: &StreamOptions,
    progress: &mut OnProgress<'_>,
    cancel: &Cancel,
) -> Result<StreamSummary> {
    // Its thread ends with the file, which goes before the scope waits.
    std::thread::scope(|scope| {
        let whole = match options.file_sha256 {
            true if options.threads > 1 => Some(WholeFile::beside(scope)?),
            true => Some(WholeFile::here()),
            false => None,
        };
        let (mut file, encoder) = image::ImageFile::new(image, output, whole);
        let checksums = stream(&disk, disk.map, &*encoder, &mut file, options, progress, cancel)?;
        Ok(StreamSummary { checksums, file: file.summary()? })
    })
}

/// Streams the used blocks of `disk` into `sink`.
///
/// # Errors
/// Those of the contents and the sink, and those of [`run`].
pub fn run_to_sink(
    disk: Blocks<'_>,
    sink: &mut dyn BlockSink,
    options: &StreamOptions,
    progress: &mut OnProgress<'_>,
    cancel: &Cancel,
) -> Result<BlockChecksums> {
    stream(&disk, disk.map, &crate::format::Verbatim, &mut SinkConsumer { sink }, options, progress, cancel)
}

/// Makes one block of the disk, from any thread; what is unused and what is behind a short last block is zero.
///
/// # Errors
/// A block outside the disk; those of the contents.
pub fn read_block(layout: &dyn Layout, contents: &dyn Contents, index: BlockIndex, out: &mut [u8; BLOCK_LEN]) -> Result<()> {
    let size_bytes = layout.size_bytes();
    if index.0 >= size_bytes.div_ceil(BLOCK_BYTES) {
        return Err(Error::invalid(format!("block {} of a disk that has {}", index.0, size_bytes.div_ceil(BLOCK_BYTES))));
    }
    let (inside, behind) = out.split_at_mut(usize_of((size_bytes - index.offset_bytes()).min(BLOCK_BYTES)));
    behind.fill(0);
    fill(layout, contents, index.offset_bytes(), inside)
}

/// Where blocks leave to, in order, from 0 to the end without gap.
trait Consumer {
    /// Before the first block.
    fn begin(&mut self) -> Result<()>;
    /// A block that was filled: data, or zeros after all.
    fn filled(&mut self, index: BlockIndex, slot: &Slot) -> Result<()>;
    /// A run of zero or unused blocks.
    fn run(&mut self, first: BlockIndex, count: u64, state: BlockState) -> Result<()>;
    /// After the last block.
    fn finish(&mut self) -> Result<()>;
}

struct SinkConsumer<'a> {
    sink: &'a mut dyn BlockSink,
}

impl SinkConsumer<'_> {
    fn zero(&mut self, index: BlockIndex) -> Result<()> {
        static ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
        self.sink.block(Block { index, state: BlockState::Zero, checksum: &ZERO_BLOCK_DIGEST, data: &ZEROS })
    }
}

impl Consumer for SinkConsumer<'_> {
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn filled(&mut self, index: BlockIndex, slot: &Slot) -> Result<()> {
        match slot.state {
            BlockState::Data => self.sink.block(Block { index, state: slot.state, checksum: &slot.digest, data: slot.block() }),
            _ => self.zero(index),
        }
    }

    fn run(&mut self, first: BlockIndex, count: u64, state: BlockState) -> Result<()> {
        match state {
            BlockState::Zero => (first.0..first.0 + count).try_for_each(|index| self.zero(BlockIndex(index))),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

fn stream(
    disk: &dyn Fill,
    map: &AllocationMap,
    encoder: &dyn BlockEncoder,
    consumer: &mut dyn Consumer,
    options: &StreamOptions,
    progress: &mut OnProgress<'_>,
    cancel: &Cancel,
) -> Result<BlockChecksums> {
    if options.threads == 0 || options.threads > THREADS_MAX {
        return Err(Error::invalid(format!("{} threads: 1 to {THREADS_MAX} can be had", options.threads)));
    }
    let mut clock =
        Clock { progress, cancel, told: Instant::now(), state: Progress { done_bytes: 0, total_bytes: map.used_blocks().saturating_mul(BLOCK_BYTES) } };
    with_feed(disk, map, encoder, options.threads, |feed| {
        let checksums = deliver(map, feed, consumer, &mut clock)?;
        clock.tell()?;
        Ok(checksums)
    })
}

/// Walks all blocks of the disk in order.
fn deliver(map: &AllocationMap, feed: &mut Feed<'_>, consumer: &mut dyn Consumer, clock: &mut Clock<'_>) -> Result<BlockChecksums> {
    let mut checksums = BlockChecksums::new(map.block_count());
    let mut done = 0;
    clock.cancel.check()?;
    consumer.begin()?;
    for run in map.runs() {
        pass(consumer, BlockIndex(done), run.first.0 - done, BlockState::Unused, clock)?;
        match run.kind {
            RunKind::Zeros => {
                checksums.push_zeros(run.first, run.count);
                pass(consumer, run.first, run.count, BlockState::Zero, clock)?;
            }
            RunKind::Beginning | RunKind::Filled => {
                for index in run.first.0..run.first.0 + run.count {
                    let Some((block, slot)) = feed.next(clock)? else {
                        // Only what was read from begin to end has an end that nobody knew.
                        checksums.narrow(BlockIndex(0)..BlockIndex(index));
                        consumer.finish()?;
                        return Ok(checksums);
                    };
                    assert_eq!(block.0, index, "blocks come in the order of the runs");
                    match slot.state {
                        BlockState::Data => checksums.push_data(block, slot.digest),
                        _ => checksums.push_zeros(block, 1),
                    }
                    consumer.filled(block, slot)?;
                    clock.advance(1)?;
                }
            }
        }
        done = run.first.0 + run.count;
    }
    pass(consumer, BlockIndex(done), map.block_count() - done, BlockState::Unused, clock)?;
    consumer.finish()?;
    Ok(checksums)
}

/// Passes a run on that has no data.
fn pass(consumer: &mut dyn Consumer, first: BlockIndex, count: u64, state: BlockState, clock: &mut Clock<'_>) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let now = left.min(RUN_BLOCKS_MAX);
        consumer.run(BlockIndex(first.0 + count - left), now, state)?;
        left -= now;
        clock.advance(if state == BlockState::Zero { now } else { 0 })?;
    }
    Ok(())
}

/// Progress and cancellation.
struct Clock<'a> {
    progress: &'a mut OnProgress<'a>,
    cancel: &'a Cancel,
    told: Instant,
    state: Progress,
}

impl Clock<'_> {
    /// So many used blocks have left.
    fn advance(&mut self, blocks: u64) -> Result<()> {
        self.state.done_bytes += blocks * BLOCK_BYTES;
        self.tick()
    }

    /// Called often, also while nothing leaves.
    fn tick(&mut self) -> Result<()> {
        self.cancel.check()?;
        if self.told.elapsed() >= TICK { self.tell() } else { Ok(()) }
    }

    fn tell(&mut self) -> Result<()> {
        self.told = Instant::now();
        match (self.progress)(&self.state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(cancelled()),
        }
    }
}
