//! What the stream does besides blocks: it reads ahead where reading waits, and allocates nothing a block.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test: it may panic")]

#[path = "common/synthetic.rs"]
mod synthetic;

use rootvol::content::{Ahead, Contents};
use rootvol::layout::{Segment, SegmentSource};
use rootvol::stream::{Block, BlockSink, Cancel, StreamOptions, run_to_sink};
use rootvol::units::{BLOCK_BYTES, u64_of};
use rootvol::{ContentId, Format, Result, Size};
use std::fs;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use synthetic::Synthetic;

/// Looks at nothing.
struct Nothing;

impl BlockSink for Nothing {
    fn block(&mut self, _block: Block<'_>) -> Result<()> {
        Ok(())
    }
}

/// Contents behind a slow disk: they remember what was made ready, and how often a reader came first.
#[derive(Default)]
struct Slow {
    ready: Mutex<Vec<Ahead>>,
    reads: AtomicU64,
    late: AtomicU64,
    panics: bool,
}

impl Contents for Slow {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let wanted = Ahead { id, offset_bytes, len_bytes: u64_of(out.len()) };
        if !self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&wanted) {
            self.late.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
        out.fill(id.0.to_le_bytes()[0] | 1);
        Ok(())
    }

    fn prefetch(&self, wanted: &[Ahead]) {
        assert!(!self.panics, "a source whose reading ahead is broken");
        self.ready.lock().unwrap().extend_from_slice(wanted);
    }

    fn is_cold(&self) -> bool {
        true
    }
}

fn files(blocks: u64) -> Synthetic {
    // Two files a block, and a block between that is unused.
    let segments = (0..blocks).flat_map(|block| {
        let id = |nth| ContentId(u32::try_from(2 * block + nth).unwrap());
        let start = 2 * block * BLOCK_BYTES;
        let file = |start: u64, id| Segment { range: start..start + 100_000, source: SegmentSource::Content { id, offset_bytes: 0 } };
        [file(start, id(0)), file(start + 200_000, id(1))]
    });
    Synthetic::of(2 * blocks * BLOCK_BYTES, segments.collect())
}

fn stream(disk: &Synthetic, contents: &dyn Contents, threads: usize) -> rootvol::checksum::BlockChecksums {
    let options = StreamOptions { threads, file_sha256: false };
    run_to_sink(disk.blocks(contents), &mut Nothing, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap()
}

#[test]
fn what_comes_next_is_made_ready_once_in_order_and_changes_nothing() {
    let disk = files(300);
    let contents = Slow::default();
    let checksums = stream(&disk, &contents, 3);
    let ready = contents.ready.lock().unwrap();
    assert!(ready.is_sorted_by(|a, b| a.id < b.id), "out of order, or twice");
    assert!(ready.iter().all(|ahead| ahead.offset_bytes == 0 && ahead.len_bytes == 100_000));
    // What was being read when it began is the readers' own.
    assert!(ready.len() > 300, "only {} of 600 files were made ready", ready.len());
    let (reads, late) = (contents.reads.load(Ordering::Relaxed), contents.late.load(Ordering::Relaxed));
    assert!(reads == 600 && late < 400, "{late} of {reads} reads came first");
    // One thread reads nothing ahead; a broken source is read all the same.
    let alone = Slow::default();
    assert_eq!(stream(&files(20), &alone, 1), stream(&files(20), &Slow { panics: true, ..Slow::default() }, 4));
    assert!(alone.ready.lock().unwrap().is_empty());
    assert_eq!(checksums.data_blocks(), 300);
}

/// A disk of so many files of 20 KiB from a tar, streamed on the caller's thread: what the counter sees.
fn allocations(files: u32) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("files.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    for number in 0..files {
        let bytes = vec![u8::try_from(number % 255).unwrap() + 1; 20_000];
        let mut header = tar::Header::new_ustar();
        header.set_size(20_000);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("file-{number:06}"), bytes.as_slice()).unwrap();
    }
    tar.finish().unwrap();
    let tree = rootvol::source::open(&path).unwrap();
    let disk = rootvol::DiskSpec::data(tree).size(Size::mib(256)).plan().unwrap();
    let image = folder.path().join("image.vhd");
    let mut options = rootvol::disk::WriteOptions::default();
    options.stream.threads = 1;
    let mut blocks = 0;
    let counted = allocation_counter::measure(|| {
        let (written, image) = disk.write_unnamed(&image, Format::Vhd, options).unwrap();
        blocks = written.checksums.data_blocks();
        image.commit().unwrap();
    });
    (blocks, counted.count_total)
}

#[test]
fn nothing_is_allocated_a_block() {
    let (few_blocks, few) = allocations(1000);
    let (many_blocks, many) = allocations(4000);
    assert!(many_blocks > few_blocks + 100, "{few_blocks} and {many_blocks} blocks");
    // A list of digests that grows is copied a few times, whatever the blocks.
    assert!(many < few + 30, "{few} allocations for {few_blocks} blocks, {many} for {many_blocks}");
}
