//! SHA-256 of blocks of 512 KiB by every kernel of rootvol and by other libraries, as a Markdown table.
//!
//! All take turns, so that what slows the machine slows each of them, and medians are given. The time is the threads' own,
//! so that a thread that has to wait for its core loses nothing; of several threads the longest counts. In cache: 16 blocks
//! a thread that were just written. In memory: 256 MiB, divided among the threads, read from one end to the other, 16 blocks
//! at a time.
//!
//! Arguments: rounds (15 without).

use rootvol::checksum::sha256::{Kernel, hash_blocks_with};
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

const BLOCK_LEN: usize = 512 * 1024;
const IN_CACHE: usize = 16;
const IN_MEMORY: usize = 512;

type Digest = [u8; 32];

/// A way to hash blocks.
struct Way {
    name: String,
    /// One stream, and not ours: what the others are compared with.
    is_single_stream_library: bool,
    /// Blocks it is given at a time.
    at_a_time: usize,
    hash: Box<dyn Fn(&[&[u8]], &mut [Digest]) + Sync>,
}

fn library(name: &str, hash: impl Fn(&[u8]) -> Digest + Sync + 'static) -> Way {
    let each = move |blocks: &[&[u8]], digests: &mut [Digest]| {
        for (block, digest) in blocks.iter().zip(digests) {
            *digest = hash(block);
        }
    };
    Way { name: name.into(), is_single_stream_library: true, at_a_time: IN_CACHE, hash: Box::new(each) }
}

fn ways() -> Vec<Way> {
    let mut ways = vec![library("sha2", |block| <sha2::Sha256 as sha2::Digest>::digest(block).into())];
    #[cfg(feature = "ring")]
    ways.push(library("ring", |block| ring::digest::digest(&ring::digest::SHA256, block).as_ref().try_into().expect("32 bytes")));
    #[cfg(feature = "aws-lc")]
    ways.push(library("aws-lc-rs", |block| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, block).as_ref().try_into().expect("32 bytes")));
    #[cfg(feature = "openssl")]
    ways.push(library("openssl", openssl::sha::sha256));
    let tape = format!("tape-sha256 ({})", tape_sha256::backend());
    ways.push(Way { name: tape, is_single_stream_library: false, at_a_time: IN_CACHE, hash: Box::new(tape_sha256::hash_many) });
    // The portable kernel is sha2.
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available() && *kernel != Kernel::Portable) {
        ways.push(Way {
            name: format!("rootvol {kernel:?}{}", if kernel == Kernel::best() { ", chosen here" } else { "" }),
            is_single_stream_library: false,
            at_a_time: IN_CACHE,
            hash: Box::new(move |blocks, digests| hash_blocks_with(kernel, blocks, digests)),
        });
    }
    ways
}

/// How long this thread has run.
fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread that ran for no less than nothing")
}

/// Seconds that `way` takes for `blocks` on as many threads as there are parts, each with its own.
fn seconds(way: &Way, parts: &mut [Vec<Vec<u8>>], refresh: bool, expected: Option<&[Vec<Digest>]>) -> f64 {
    let barrier = Barrier::new(parts.len());
    let took = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, part) in parts.iter_mut().enumerate() {
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                if refresh {
                    for block in part.iter_mut() {
                        block.iter_mut().step_by(64).for_each(|byte| *byte = black_box(*byte));
                    }
                }
                let blocks: Vec<&[u8]> = part.iter().map(Vec::as_slice).collect();
                let mut digests = vec![[0; 32]; blocks.len()];
                barrier.wait();
                let before = clock();
                for (blocks, digests) in blocks.chunks(way.at_a_time).zip(digests.chunks_mut(way.at_a_time)) {
                    (way.hash)(black_box(blocks), digests);
                }
                let took = clock() - before;
                if let Some(expected) = expected {
                    assert!(digests == expected[number], "{}: wrong digests", way.name);
                }
                took
            }));
        }
        threads.into_iter().map(|thread| thread.join().expect("a thread that hashes")).max()
    });
    took.expect("a thread at least").as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Blocks that do not repeat.
fn blocks(count: usize) -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut block = || {
        let mut bytes = vec![0; BLOCK_LEN];
        for word in bytes.as_chunks_mut::<8>().0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *word = state.to_le_bytes();
        }
        bytes
    };
    (0..count).map(|_| block()).collect()
}

/// GB/s of every way.
fn measure(ways: &[Way], threads: usize, in_memory: bool, rounds: usize) -> Vec<f64> {
    let count = if in_memory { IN_MEMORY / threads } else { IN_CACHE };
    let mut parts: Vec<_> = (0..threads).map(|_| blocks(count)).collect();
    let each = |block: &Vec<u8>| <sha2::Sha256 as sha2::Digest>::digest(block).into();
    let expected: Vec<Vec<Digest>> = parts.iter().map(|part| part.iter().map(each).collect()).collect();
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..rounds + 1 {
        for (way, times) in ways.iter().zip(&mut times) {
            let check = (round == 0).then_some(expected.as_slice());
            times.push(seconds(way, &mut parts, !in_memory, check));
        }
    }
    let bytes = u32::try_from(threads * count * BLOCK_LEN >> 10).map(f64::from).expect("some hundred MiB") * 1024.0;
    times.into_iter().map(|times| bytes / median(times) / 1e9).collect()
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(15, |rounds| rounds.parse().expect("a number of rounds"));
    let ways = ways();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cases: Vec<(usize, bool)> = [(1, false), (1, true), (cores, false), (cores, true)].into_iter().take(if cores == 1 { 2 } else { 4 }).collect();
    let columns: Vec<Vec<f64>> = cases.iter().map(|(threads, in_memory)| measure(&ways, *threads, *in_memory, rounds)).collect();
    let heads = cases
        .iter()
        .map(|(threads, in_memory)| format!(" {threads} thread{}, in {} |", if *threads == 1 { "" } else { "s" }, if *in_memory { "memory" } else { "cache" }));
    println!("GB/s (times the best single-stream library); medians of {rounds} rounds\n\n| |{}", heads.collect::<String>());
    println!("|---|{}", "---|".repeat(cases.len()));
    for (at, way) in ways.iter().enumerate() {
        let cells = columns.iter().map(|column| {
            let best = ways.iter().zip(column).filter(|(way, _)| way.is_single_stream_library).map(|(_, rate)| *rate).fold(0.0, f64::max);
            format!(" {:.2} ({:.2}) |", column[at], column[at] / best)
        });
        println!("| {} |{}", way.name, cells.collect::<String>());
    }
}
