//! The checksums of disks that exist already: opened images, by position and on all threads, and anything that can be read
//! from begin to end, such as a pipe.
//!
//! An opened image is a disk like any other here: what it stores is one piece of contents, its holes are unused. Any slice of
//! its blocks can be done by itself, by many processes or machines at once; [`BlockChecksums::merge`] joins the slices.

use super::crew::on_threads;
use super::{Blocks, Cancel, Consumer, Fill, Filled, OnProgress, StreamOptions, stream};
use crate::checksum::{BlockChecksums, BlockState, is_zero};
use crate::content::{Contents, ReadAt};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskReader, Verbatim};
use crate::layout::{AllocationMap, Layout, Segment, SegmentSource};
use crate::units::{BLOCK_BYTES, BLOCK_LEN, BlockIndex, ContentId, u64_of, usize_of};
use std::fmt;
use std::io::Read;
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, PoisonError};

/// How checksums are computed.
pub struct ChecksumOptions<'a> {
    /// Threads that read and hash: 1 to [`THREADS_MAX`](super::THREADS_MAX).
    pub threads: usize,
    /// Told how far it is, on the caller's thread, at most ten times a second; `Break` cancels. The total is `u64::MAX` where
    /// nobody knows it.
    pub progress: Box<OnProgress<'a>>,
    /// A wish to stop, from anywhere.
    pub cancel: Cancel,
}

impl Default for ChecksumOptions<'_> {
    /// All threads, no progress.
    fn default() -> Self {
        Self { threads: StreamOptions::default().threads, progress: Box::new(|_| ControlFlow::Continue(())), cancel: Cancel::new() }
    }
}

impl fmt::Debug for ChecksumOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChecksumOptions").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// What was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadThrough {
    /// How many bytes there were.
    pub size_bytes: u64,
    /// State and digest of every block.
    pub checksums: BlockChecksums,
}

/// All blocks of `disk`, a short last one included.
#[must_use]
pub fn all_blocks(disk: &dyn DiskReader) -> Range<BlockIndex> {
    BlockIndex(0)..BlockIndex(disk.size_bytes().div_ceil(BLOCK_BYTES))
}

/// The state and digest of each of `blocks`, a slice of the blocks of `disk`. Blocks that the image does not store at all are
/// unused: they read as zero, and whoever trusts them to can take them for zeros
/// ([`BlockChecksums::unused_as_zeros`]).
///
/// # Errors
/// A slice that is not inside the disk; those of `disk`, [`ErrorKind::SourceChanged`] among them; [`ErrorKind::Cancelled`].
pub fn checksum_blocks(disk: &dyn DiskReader, blocks: Range<BlockIndex>, options: ChecksumOptions<'_>) -> Result<BlockChecksums> {
    let all = all_blocks(disk);
    if blocks.start > blocks.end || blocks.end > all.end {
        return Err(Error::invalid(format!("blocks {} to {} of a disk that has {}", blocks.start.0, blocks.end.0, all.end.0)));
    }
    let bytes = blocks.start.offset_bytes()..blocks.end.offset_bytes().min(disk.size_bytes());
    let existing = Existing { disk, stored: stored(disk, bytes, &options.cancel)? };
    let map = AllocationMap::of(&existing);
    let mut checksums = run(&Blocks { layout: &existing, contents: &existing, map: &map }, &map, options)?;
    disk.check_unchanged()?;
    checksums.narrow(blocks);
    Ok(checksums)
}

/// The state and digest of each block of what `reader` gives until its end: a pipe, a decompressor, a socket. It is read in
/// order, by one thread at a time, while others hash.
///
/// # Errors
/// What `reader` reports, with the offset; [`ErrorKind::Cancelled`], which is noticed between two reads.
pub fn checksum_reader(reader: impl Read + Send, options: ChecksumOptions<'_>) -> Result<ReadThrough> {
    let reader = InOrder(Mutex::new(Reading { reader, done_bytes: 0 }));
    let checksums = run(&reader, &AllocationMap::endless(), options)?;
    let size_bytes = reader.0.into_inner().unwrap_or_else(PoisonError::into_inner).done_bytes;
    Ok(ReadThrough { size_bytes, checksums })
}

/// Which blocks of `disk` hold a byte that is not zero, as ascending ranges of bytes that begin and end with blocks. What the image
/// does not store is passed over, and of a block with data no more is read than its first bytes; so it costs what zeros are stored.
///
/// # Errors
/// Those of `disk`, [`ErrorKind::Cancelled`].
pub fn blocks_with_data(disk: &dyn ReadAt, cancel: &Cancel) -> Result<Vec<Range<u64>>> {
    let size_bytes = disk.size_bytes();
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; BLOCK_LEN];
    let mut at = 0;
    while let Some(stored) = disk.stored_after(at)?.filter(|stored| stored.start < size_bytes) {
        at = stored.start.max(at);
        let end = stored.end.min(size_bytes);
        if at >= end {
            return Err(Error::new(ErrorKind::Internal, "an empty range of what an image stores").at_offset(at));
        }
        while at < end {
            cancel.check()?;
            let block = at / BLOCK_BYTES * BLOCK_BYTES;
            let block = block..(block + BLOCK_BYTES).min(size_bytes);
            let part = at..block.end.min(end);
            at = part.end;
            if has_data(disk, part, &mut buffer)? {
                // The rest of the block needs no looking.
                at = at.max(block.end);
                match found.last_mut() {
                    Some(last) if last.end == block.start => last.end = block.end,
                    _ => found.push(block),
                }
            }
        }
    }
    Ok(found)
}

/// Looks at what `disk` stores of `ranges` (ascending and disjoint), on `threads` threads: `look` gets the offset of a piece of at most 512
/// KiB, how many of its bytes are its own, and the bytes, behind which up to `overlap_bytes` of the same range follow, so that nothing that
/// is shorter is missed where two pieces meet. What it finds, in the order of the disk. What is not stored reads as zero and is passed over.
///
/// # Errors
/// Those of `disk`; [`ErrorKind::Cancelled`]; as [`super::hash_files`].
pub fn look_at_ranges<T: Send>(
    disk: &dyn DiskReader,
    ranges: &[Range<u64>],
    overlap_bytes: u64,
    threads: usize,
    cancel: &Cancel,
    look: impl Fn(u64, usize, &[u8]) -> Option<T> + Sync,
) -> Result<Vec<T>> {
    // (a piece, the end of what may be looked at with it)
    let mut pieces: Vec<(Range<u64>, u64)> = Vec::new();
    for range in ranges {
        for stored in stored(disk, range.clone(), cancel)? {
            let mut at = stored.start;
            while at < stored.end {
                let end = (at / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES).min(stored.end);
                pieces.push((at..end, (end + overlap_bytes).min(stored.end)));
                at = end;
            }
        }
    }
    let found = on_threads(pieces.len(), threads, cancel, "looks at a disk", |at, buffer| {
        let (piece, end) = &pieces[at];
        let len = usize_of(end - piece.start);
        buffer.resize(buffer.len().max(len), 0);
        disk.read_exact_at(piece.start, &mut buffer[..len])?;
        Ok(look(piece.start, usize_of(piece.end - piece.start), &buffer[..len]))
    })?;
    disk.check_unchanged()?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether a part of a block holds a byte that is not zero.
fn has_data(disk: &dyn ReadAt, part: Range<u64>, buffer: &mut [u8]) -> Result<bool> {
    const FIRST_BYTES: u64 = 4096;
    for piece in [part.start..part.end.min(part.start + FIRST_BYTES), part.end.min(part.start + FIRST_BYTES)..part.end] {
        let bytes = &mut buffer[..usize_of(piece.end - piece.start)];
        disk.read_exact_at(piece.start, bytes)?;
        if !is_zero(bytes) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn run(disk: &dyn Fill, map: &AllocationMap, mut options: ChecksumOptions<'_>) -> Result<BlockChecksums> {
    let threads = StreamOptions { threads: options.threads, file_sha256: false };
    stream(disk, map, &Verbatim, &mut Nowhere, &threads, &mut options.progress, &options.cancel)
}

/// Blocks that are only looked at.
struct Nowhere;

impl Consumer for Nowhere {
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn filled(&mut self, _index: BlockIndex, _slot: &super::Slot) -> Result<()> {
        Ok(())
    }

    fn run(&mut self, _first: BlockIndex, _count: u64, _state: BlockState) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An opened image as a layout of one piece of contents.
struct Existing<'a> {
    disk: &'a dyn DiskReader,
    /// What the image stores, ascending, never nearer to each other than a block that it does not store.
    stored: Vec<Range<u64>>,
}

/// What `disk` stores of `bytes`. Ranges that no whole block lies between are joined: a file with a hole in every page is not
/// to take more memory than its blocks do.
fn stored(disk: &dyn DiskReader, bytes: Range<u64>, cancel: &Cancel) -> Result<Vec<Range<u64>>> {
    let mut stored: Vec<Range<u64>> = Vec::new();
    let mut at = bytes.start;
    while at < bytes.end {
        cancel.check()?;
        let Some(range) = disk.stored_after(at)?.filter(|range| range.start < bytes.end) else { break };
        let range = range.start.max(at)..range.end.min(bytes.end);
        if range.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "an empty range of what an image stores").at_offset(at));
        }
        at = range.end;
        match stored.last_mut() {
            Some(last) if range.start / BLOCK_BYTES <= last.end.div_ceil(BLOCK_BYTES) => last.end = range.end,
            _ => stored.push(range),
        }
    }
    Ok(stored)
}

impl Layout for Existing<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        let range = self.stored.get(self.stored.partition_point(|range| range.end <= offset_bytes))?.clone();
        Some(Segment { source: SegmentSource::Content { id: ContentId(0), offset_bytes: range.start }, range })
    }

    fn render(&self, _offset_bytes: u64, _out: &mut [u8]) {
        unreachable!("an image that exists is all contents");
    }
}

impl Contents for Existing<'_> {
    fn read_exact_at(&self, _id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.disk.read_exact_at(offset_bytes, out)
    }
}

/// What can only be read from begin to end.
struct InOrder<R>(Mutex<Reading<R>>);

struct Reading<R> {
    reader: R,
    done_bytes: u64,
}

impl<R: Read + Send> Fill for InOrder<R> {
    fn fill(&self, index: BlockIndex, block: &mut [u8; BLOCK_LEN], dirty: usize) -> Result<Filled> {
        // Only a panic of the reader poisons it, and the stream ends then.
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Reading { reader, done_bytes } = &mut *reading;
        let mut len = 0;
        // Behind a short block nothing is asked for again: a terminal would go on.
        while len < BLOCK_LEN && *done_bytes == index.offset_bytes() + u64_of(len) {
            match reader.read(&mut block[len..]) {
                Ok(0) => break,
                Ok(read) if read > BLOCK_LEN - len => return Err(Error::new(ErrorKind::Internal, "the reader says that it read more than there was room for")),
                Ok(read) => {
                    len += read;
                    *done_bytes += u64_of(read);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", error).at_offset(*done_bytes)),
            }
        }
        if dirty > len {
            block[len..dirty].fill(0);
        }
        Ok(Filled { len, dirty: len })
    }

    fn in_order(&self) -> bool {
        true
    }
}
