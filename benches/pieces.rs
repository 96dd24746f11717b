//! The pieces of a build, each by itself: `cargo bench --bench pieces`; `-- million` gives the planning of 1,000,000 entries alone.
//!
//! Hashing is given for every kernel that this processor has; `Portable` is the crate sha2. The pipeline fills, hashes and
//! delivers to a sink that looks at nothing, from contents that cost a copy.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench: it prints")]

use criterion::{BenchmarkId, Criterion, Throughput};
use rootvol::checksum::is_zero;
use rootvol::checksum::sha256::{Kernel, MESSAGES_MAX, hash_blocks_with};
use rootvol::content::Contents;
use rootvol::fs::ext4;
use rootvol::layout::AllocationMap;
use rootvol::stream::{Block, BlockSink, Blocks, Cancel, StreamOptions, run_to_sink};
use rootvol::tree::{Metadata, NewNode, Timestamp, Tree, TreeBuilder};
use rootvol::units::{BLOCK_LEN, u64_of, usize_of};
use rootvol::{ContentId, Guid, Result};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if filter.is_none_or(|filter| filter == "million") {
        a_million_entries();
    }
    hashing(&mut criterion);
    zero_scan(&mut criterion);
    planning(&mut criterion);
    pipeline(&mut criterion);
    criterion.final_summary();
}

/// 16 blocks: one pass of the widest kernel.
fn hashing(criterion: &mut Criterion) {
    let blocks: Vec<Vec<u8>> = (1..=MESSAGES_MAX).map(|n| noise(n, BLOCK_LEN)).collect();
    let messages: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    let mut digests = [[0; 32]; MESSAGES_MAX];
    let mut group = criterion.benchmark_group("sha256 of blocks");
    group.throughput(Throughput::Bytes(u64_of(MESSAGES_MAX * BLOCK_LEN)));
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
        let name = BenchmarkId::from_parameter(format!("{kernel:?}"));
        group.bench_with_input(name, &kernel, |bencher, kernel| bencher.iter(|| hash_blocks_with(*kernel, black_box(&messages), &mut digests)));
    }
    group.finish();
}

fn zero_scan(criterion: &mut Criterion) {
    let block = vec![0; BLOCK_LEN];
    let mut group = criterion.benchmark_group("zero scan");
    group.throughput(Throughput::Bytes(u64_of(BLOCK_LEN)));
    group.bench_function("a block of zeros", |bencher| bencher.iter(|| is_zero(black_box(&block))));
    group.finish();
}

fn planning(criterion: &mut Criterion) {
    const ENTRIES: u32 = 100_000;
    let mut group = criterion.benchmark_group("100,000 entries");
    group.throughput(Throughput::Elements(u64::from(ENTRIES)));
    group.bench_function("tree", |bencher| bencher.iter(|| tree(ENTRIES, 4000)));
    let tree = Arc::new(tree(ENTRIES, 4000));
    group.bench_function("ext4 plan", |bencher| bencher.iter(|| plan(&tree)));
    let planned = plan(&tree);
    group.bench_function("allocation map", |bencher| bencher.iter(|| AllocationMap::of(black_box(&planned))));
    group.finish();
}

const MILLION: u32 = 1_000_000;
const MILLION_LEN: usize = 1_000_000;

/// Counts what is allocated, so that memory is told to the byte.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// What is promised of 1,000,000 entries: planning of as many a second and core, and the memory of each. In seconds of this
/// thread's processor time, so that a busy machine tells the same; the fastest of five.
fn a_million_entries() {
    /// Seconds that this thread has run, of Linux (its documentation, "Scheduler statistics").
    fn seconds() -> Option<f64> {
        let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse::<u64>().ok()?;
        Some(std::time::Duration::from_nanos(nanoseconds).as_secs_f64())
    }
    /// Calls `make` and tells its result, its seconds, and the bytes an entry that it keeps and that it has at its peak.
    fn measured<T>(make: impl FnOnce() -> T) -> (T, f64, [usize; 2]) {
        let base = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = seconds().unwrap_or_default();
        let made = make();
        let took = seconds().unwrap_or_default() - start;
        let by_entry = |bytes: usize| bytes.saturating_sub(base) / MILLION_LEN;
        (made, took, [by_entry(MEMORY.current_usage()), by_entry(MEMORY.peak_usage())])
    }
    if seconds().is_none() {
        eprintln!("SKIPPED: 1,000,000 entries, as only Linux tells a thread's time");
        return;
    }
    let mut best = [f64::INFINITY; 4];
    let mut bytes = [[0; 2]; 3];
    for _ in 0..5 {
        let (builder, add, of_builder) = measured(|| builder(MILLION, 4000));
        let before = MEMORY.current_usage();
        let (tree, freeze, _) = measured(|| Arc::new(builder.freeze().expect("fewer entries than a tree holds")));
        // Of the whole tree, which takes the builder's place.
        let without = before.saturating_sub(of_builder[0] * MILLION_LEN);
        let of_tree = [MEMORY.current_usage(), MEMORY.peak_usage()].map(|bytes| bytes.saturating_sub(without) / MILLION_LEN);
        let (_planned, planning, of_plan) = measured(|| plan(&tree));
        bytes = [of_builder, of_tree, of_plan];
        for (best, seconds) in best.iter_mut().zip([add, freeze, planning, freeze + planning]) {
            *best = best.min(seconds);
        }
    }
    println!("1,000,000 entries, by seconds of one core; bytes an entry when done (at the peak)");
    let names = ["add to a tree", "freeze the tree", "plan ext4", "freeze and plan"];
    for (at, (name, seconds)) in names.into_iter().zip(best).enumerate() {
        let memory = bytes.get(at).map(|[kept, peak]| format!("{kept} ({peak})")).unwrap_or_default();
        println!("  {name:16} {seconds:.3} s, {:.2} million a second  {memory}", 1.0 / seconds);
    }
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline to nowhere");
    for (files, length) in [(64, 2 << 20), (16_384, 4000)] {
        let layout = plan(&Arc::new(tree(files, length)));
        let map = AllocationMap::of(&layout);
        group.throughput(Throughput::Bytes(u64::from(files) * length));
        for threads in [1, 2] {
            let options = StreamOptions { threads, ..StreamOptions::default() };
            let contents = Noise(noise(1, usize_of(length)));
            let disk = Blocks { layout: &layout, contents: &contents, map: &map };
            group.bench_function(BenchmarkId::new(format!("{files} files of {length} bytes"), format!("{threads} threads")), |bencher| {
                bencher.iter(|| run_to_sink(disk, &mut Nowhere, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).expect("nothing here fails"));
            });
        }
    }
    group.finish();
}

/// `entries` files of `length` bytes, a thousand in a directory.
fn tree(entries: u32, length: u64) -> Tree {
    builder(entries, length).freeze().expect("fewer entries than a tree holds")
}

fn builder(entries: u32, length: u64) -> TreeBuilder {
    let metadata = Metadata { mode: 0o644, mtime: Timestamp::from_seconds(1_700_000_000), ..Metadata::default() };
    let mut builder = TreeBuilder::new();
    for number in 0..entries {
        let file = NewNode::File { content: ContentId(number), length, data: None };
        builder.add(format!("d{:04}/file-{number:07}", number / 1000), metadata, file).expect("a path and metadata that every tree takes");
    }
    builder
}

fn plan(tree: &Arc<Tree>) -> ext4::Ext4Layout {
    let mut options = ext4::Options::new(Guid::from_name("bench"), Guid::from_name("hash seed"), Timestamp::from_seconds(1_700_000_000));
    options.size = ext4::SizeRequest::Minimum { free_bytes: 64 << 20 };
    ext4::plan(Arc::clone(tree), &options).expect("the size is as large as needed")
}

/// Bytes that do not repeat within a block.
fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = u64_of(seed);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

/// Every file has these bytes.
struct Noise(Vec<u8>);

impl Contents for Noise {
    fn read_exact_at(&self, _id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let start = usize_of(offset_bytes);
        out.copy_from_slice(&self.0[start..start + out.len()]);
        Ok(())
    }
}

struct Nowhere;

impl BlockSink for Nowhere {
    fn block(&mut self, block: Block<'_>) -> Result<()> {
        black_box(block);
        Ok(())
    }
}
