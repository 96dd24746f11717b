//! The stream as a whole: whatever the threads, the output and what fails, the image is right or there is an error.
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails panics, and a skip is said")]

#[path = "common/synthetic.rs"]
mod synthetic;

#[path = "common/mod.rs"]
mod common;

use rootvol::checksum::{BlockChecksums, BlockState, ZERO_BLOCK_DIGEST, is_zero};
use rootvol::format::{self, Format, Identity};
use rootvol::layout::segments;
use rootvol::output::{AtomicFile, Output, Pipe};
use rootvol::stream::{Block, BlockSink, Cancel, StreamOptions, StreamSummary, read_block, run, run_to_sink};
use rootvol::units::{BLOCK_BYTES, BLOCK_LEN, BlockIndex, u64_of, usize_of};
use rootvol::{Error, ErrorKind, Guid, Result};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use synthetic::{Empty, Fault, Patterns, Synthetic, mixed};

/// No whole number of blocks, nor of blocks of a VHD.
const SIZE_BYTES: u64 = 41 * BLOCK_BYTES + 300 * 512;
const SEEDS: std::ops::Range<u64> = 0..3;

fn identity() -> Identity {
    Identity { id: Guid::from_name("stream"), created: 1_700_000_000 }
}

fn options(threads: usize) -> StreamOptions {
    StreamOptions { threads, file_sha256: false }
}

fn write(disk: &Synthetic, contents: &Patterns, format: Format, output: &mut dyn Output, threads: usize) -> Result<StreamSummary> {
    let image = format::plan(format, &disk.map, &identity())?;
    run(disk.blocks(contents), image, output, &options(threads), &mut |_| ControlFlow::Continue(()), &Cancel::new())
}

fn write_file(disk: &Synthetic, contents: &Patterns, format: Format, path: &Path, threads: usize) -> Result<StreamSummary> {
    let mut file = AtomicFile::create(path, true)?;
    let summary = write(disk, contents, format, &mut file, threads)?;
    file.commit()?;
    Ok(summary)
}

fn write_pipe(disk: &Synthetic, format: Format, threads: usize) -> (Vec<u8>, StreamSummary) {
    let mut pipe = Pipe::new(Vec::new());
    let summary = write(disk, &Patterns::default(), format, &mut pipe, threads).unwrap();
    (pipe.into_inner(), summary)
}

/// State and digest of every block, worked out from the whole disk in memory.
fn expected_checksums(disk: &Synthetic, bytes: &[u8]) -> BlockChecksums {
    let mut checksums = BlockChecksums::new(disk.size_bytes.div_ceil(BLOCK_BYTES));
    for (index, block) in (0..).map(BlockIndex).zip(bytes.chunks(BLOCK_LEN)) {
        let range = index.offset_bytes()..index.offset_bytes() + u64_of(block.len());
        if segments(disk, range).next().is_none() {
            continue;
        }
        if block.iter().all(|byte| *byte == 0) {
            checksums.push_zeros(index, 1);
        } else {
            let mut padded = block.to_vec();
            padded.resize(BLOCK_LEN, 0);
            checksums.push_data(index, Sha256::digest(&padded).into());
        }
    }
    checksums
}

#[test]
fn threads_and_output_do_not_show_in_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for seed in SEEDS {
        let disk = Synthetic::new(SIZE_BYTES, seed);
        let bytes = disk.bytes();
        let checksums = expected_checksums(&disk, &bytes);
        assert!(checksums.data_blocks() > 5 && checksums.zero_blocks() > 2 && checksums.unused_blocks() > 2, "a mix of blocks");
        for format in Format::ALL {
            let (image, summary) = write_pipe(&disk, format, 1);
            assert_eq!(summary.checksums, checksums, "{format}, seed {seed}");
            assert_eq!(Some(u64_of(image.len())), format::plan(format, &disk.map, &identity()).unwrap().size_bytes);
            assert_eq!((summary.file.size_bytes, &summary.file.sha256), (u64_of(image.len()), &None));
            for threads in [1, 2, 3, 9] {
                assert!(write_pipe(&disk, format, threads) == (image.clone(), summary.clone()), "{format}, {threads} threads, pipe");
                assert_eq!(write_file(&disk, &Patterns::default(), format, &path, threads).unwrap(), summary);
                assert!(fs::read(&path).unwrap() == image, "{format}, {threads} threads, file");
            }
            if format != Format::Vhd {
                assert!(image[..bytes.len()] == bytes, "{format}, seed {seed}");
            }
        }
    }
}

#[test]
fn the_hash_of_the_file_is_there_where_asked() {
    let disk = Synthetic::new(SIZE_BYTES, 0);
    for format in Format::ALL {
        let image = format::plan(format, &disk.map, &identity()).unwrap();
        let mut pipe = Pipe::new(Vec::new());
        let options = StreamOptions { threads: 2, file_sha256: true };
        let contents = Patterns::default();
        let summary = run(disk.blocks(&contents), image, &mut pipe, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
        let digest: String = Sha256::digest(pipe.into_inner()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(summary.file.sha256, Some(digest), "{format}");
    }
}

#[test]
fn an_image_opens_and_any_range_of_it_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for seed in SEEDS {
        let disk = Synthetic::new(SIZE_BYTES, seed);
        let bytes = disk.bytes();
        for format in Format::ALL {
            write_file(&disk, &Patterns::default(), format, &path, 2).unwrap();
            let opened = format::open(&path, None).unwrap();
            assert_eq!((opened.format(), opened.size_bytes()), (format, SIZE_BYTES));
            for number in 0..200 {
                let from = mixed(number) % SIZE_BYTES;
                let len = mixed(number + 1000) % (3 << (number % 22)) % (SIZE_BYTES - from + 1);
                let mut out = vec![0xee; usize_of(len)];
                opened.read_exact_at(from, &mut out).unwrap();
                assert!(out == bytes[usize_of(from)..usize_of(from + len)], "{format}, seed {seed}, {len} bytes at {from}");
            }
            assert!(opened.read_exact_at(SIZE_BYTES - 1, &mut [0; 2]).is_err() && opened.read_exact_at(u64::MAX, &mut [0; 2]).is_err());
        }
    }
}

#[test]
fn disks_of_nothing_and_of_one_byte_stream() {
    for (size_bytes, source) in [(0, None), (1, None), (512, Some(rootvol::layout::SegmentSource::Metadata)), (BLOCK_BYTES * 3, None)] {
        let segments = source.map(|source| rootvol::layout::Segment { range: 0..size_bytes, source });
        let disk = Synthetic::of(size_bytes, segments.into_iter().collect());
        for format in Format::ALL.into_iter().filter(|format| *format == Format::Raw || size_bytes > 1) {
            let (image, _) = write_pipe(&disk, format, 2);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&image).unwrap();
            let opened = format::open_file(file, Some(format)).unwrap();
            let mut bytes = vec![0xee; usize_of(size_bytes)];
            opened.read_exact_at(0, &mut bytes).unwrap();
            assert_eq!((opened.size_bytes(), bytes), (size_bytes, disk.bytes()), "{format}");
        }
    }
}

/// python3's hashlib over the raw image, for the digests and the aggregate.
#[test]
fn checksums_are_those_that_python_computes() {
    let Some(mut python) = common::judge("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let disk = Synthetic::new(SIZE_BYTES, 1);
    let summary = write_file(&disk, &Patterns::default(), Format::Raw, &path, 2).unwrap();
    let mut lines = Vec::new();
    summary.checksums.write_jsonl(&mut lines).unwrap();
    fs::write(folder.path().join("blocks"), lines).unwrap();
    let script = r#"
import base64, hashlib, json, sys
image, at, linear = open(sys.argv[1], "rb").read(), 0, hashlib.sha256()
for line in open(sys.argv[2]):
    line = json.loads(line)
    count = line.get("count", 1)
    assert line["index"] == at, line
    for index in range(at, at + count):
        block = image[index << 19:index + 1 << 19].ljust(1 << 19, b"\0")
        digest = hashlib.sha256(block).digest()
        if line["state"] == "data":
            assert base64.b64decode(line["checksum"]) == digest and any(block), line
        else:
            assert not any(block), line
        if line["state"] != "unused":
            linear.update(digest)
    at += count
assert at == (len(image) + (1 << 19) - 1) >> 19
print(base64.b64encode(linear.digest()).decode())
"#;
    let output = python.args(["-c", script]).arg(&path).arg(folder.path().join("blocks")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), summary.checksums.linear_checksum());
}

/// Compares every block with the disk's bytes.
struct Collector<'a> {
    bytes: &'a [u8],
    blocks: Vec<(BlockIndex, BlockState, [u8; 32])>,
    fail_at: Option<usize>,
}

impl<'a> Collector<'a> {
    fn new(bytes: &'a [u8], fail_at: Option<usize>) -> Self {
        Self { bytes, blocks: Vec::new(), fail_at }
    }
}

impl BlockSink for Collector<'_> {
    fn block(&mut self, block: Block<'_>) -> Result<()> {
        if self.fail_at == Some(self.blocks.len()) {
            return Err(Error::new(ErrorKind::Io, "the sink is full"));
        }
        let from = usize_of(block.index.offset_bytes());
        let expected = &self.bytes[from..self.bytes.len().min(from + BLOCK_LEN)];
        let (inside, behind) = block.data.split_at(expected.len());
        assert!(inside == expected && is_zero(behind), "block {}", block.index.0);
        self.blocks.push((block.index, block.state, *block.checksum));
        Ok(())
    }
}

#[test]
fn a_sink_gets_every_used_block_and_any_block_can_be_made_again() {
    let disk = Synthetic::new(SIZE_BYTES, 2);
    let bytes = disk.bytes();
    let expected = expected_checksums(&disk, &bytes);
    for threads in [1, 2, 3] {
        let mut sink = Collector::new(&bytes, None);
        let contents = Patterns::default();
        let checksums = run_to_sink(disk.blocks(&contents), &mut sink, &options(threads), &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
        assert_eq!(checksums, expected);
        assert_eq!(sink.blocks, expected.iter().map(|block| (block.index, block.state, block.digest)).collect::<Vec<_>>());
    }
    let mut block = Box::new([0xee; BLOCK_LEN]);
    for index in 0..expected.block_count() {
        read_block(&disk, &Patterns::default(), BlockIndex(index), &mut block).unwrap();
        let digest = expected.get(BlockIndex(index)).map_or(ZERO_BLOCK_DIGEST, |block| block.digest);
        assert_eq!(<[u8; 32]>::from(Sha256::digest(*block)), digest, "block {index}");
    }
    assert!(read_block(&disk, &Patterns::default(), BlockIndex(expected.block_count()), &mut block).is_err());
}

#[test]
fn a_sink_that_fails_at_any_block_ends_the_stream() {
    let disk = Synthetic::new(6 * BLOCK_BYTES + 512, 3);
    let bytes = disk.bytes();
    for fail_at in 0..usize_of(disk.map.used_blocks()) {
        for threads in [1, 2, 3] {
            let mut sink = Collector::new(&bytes, Some(fail_at));
            let result = run_to_sink(disk.blocks(&Patterns::default()), &mut sink, &options(threads), &mut |_| ControlFlow::Continue(()), &Cancel::new());
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Io, "block {fail_at}");
        }
    }
}

/// Many more blocks than there are buffers for.
#[test]
fn buffers_are_used_again_and_blocks_stay_in_order() {
    let disk = Synthetic::new(400 * BLOCK_BYTES, 5);
    let bytes = disk.bytes();
    let expected = expected_checksums(&disk, &bytes);
    let (image, _) = write_pipe(&disk, Format::Vhd, 1);
    for threads in [1, 2, 5] {
        let contents = Patterns::default();
        let mut sink = Collector::new(&bytes, None);
        let checksums = run_to_sink(disk.blocks(&contents), &mut sink, &options(threads), &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
        assert_eq!(checksums, expected, "{threads} threads");
        assert!(write_pipe(&disk, Format::Vhd, threads).0 == image, "{threads} threads");
    }
}

/// Runs `attempt` over an old file: it has to fail, leave the old file and nothing else.
#[track_caller]
fn assert_leaves_the_old_file(what: &str, attempt: impl FnOnce(&Path) -> Result<StreamSummary>) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, "old").unwrap();
    let error = attempt(&path).expect_err(what);
    assert_eq!(fs::read(&path).unwrap(), b"old", "{what}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{what}: a temporary file was left");
    error
}

#[test]
fn contents_that_fail_or_panic_at_any_read_end_the_stream() {
    let disk = Synthetic::new(6 * BLOCK_BYTES + 512, 3);
    let reads = Patterns::default();
    write(&disk, &reads, Format::Vhd, &mut Pipe::new(io::sink()), 1).unwrap();
    let reads = reads.reads.into_inner();
    assert!(reads > 5);
    for at in 0..reads {
        for threads in [1, 2, 3] {
            for (fault, kind) in [(Fault::Fail, ErrorKind::SourceChanged), (Fault::Panic, ErrorKind::Internal)] {
                let contents = Patterns { fault: Some((at, fault)), ..Patterns::default() };
                let error = assert_leaves_the_old_file("a read failed", |path| write_file(&disk, &contents, Format::Vhd, path, threads));
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.to_string().contains(&format!("read {at} ")), "{error}");
            }
        }
    }
}

#[test]
fn the_first_of_several_errors_is_reported_whatever_the_threads() {
    struct AllFail;
    impl rootvol::content::Contents for AllFail {
        fn read_exact_at(&self, id: rootvol::ContentId, offset_bytes: u64, _out: &mut [u8]) -> Result<()> {
            std::thread::sleep(std::time::Duration::from_micros(mixed(offset_bytes) % 500));
            Err(Error::corrupt(format!("contents {}", id.0)).at_offset(offset_bytes))
        }
    }
    let disk = Synthetic::new(SIZE_BYTES, 3);
    let errors: Vec<String> = [1, 2, 3, 9]
        .into_iter()
        .map(|threads| {
            let image = format::plan(Format::Raw, &disk.map, &identity()).unwrap();
            let result = run(disk.blocks(&AllFail), image, &mut Pipe::new(io::sink()), &options(threads), &mut |_| ControlFlow::Continue(()), &Cancel::new());
            result.unwrap_err().to_string()
        })
        .collect();
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
}

/// What a writer does at call `at`.
#[derive(Clone, Copy, Debug)]
enum WriteFault {
    Error,
    Nothing,
}

/// Takes at most `most` bytes a call, is interrupted now and then, and fails at one call.
struct Awkward {
    bytes: Vec<u8>,
    most: usize,
    calls: usize,
    fault: Option<(usize, WriteFault)>,
}

impl Awkward {
    fn new(most: usize, fault: Option<(usize, WriteFault)>) -> Self {
        Self { bytes: Vec::new(), most, calls: 0, fault }
    }
}

impl Write for Awkward {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some((at, WriteFault::Error)) if at == call => return Err(io::ErrorKind::BrokenPipe.into()),
            Some((at, WriteFault::Nothing)) if at == call => return Ok(0),
            _ if call % 7 == 3 => return Err(io::ErrorKind::Interrupted.into()),
            _ => {}
        }
        let taken = &bytes[..bytes.len().min(self.most)];
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some((at, _)) if at == call => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_writer_that_fails_at_any_call_ends_the_stream_and_short_writes_do_not() {
    let disk = Synthetic::new(6 * BLOCK_BYTES + 512, 3);
    for format in Format::ALL {
        let (expected, _) = write_pipe(&disk, format, 1);
        for threads in [1, 2] {
            let mut pipe = Pipe::new(Awkward::new(400_009, None));
            write(&disk, &Patterns::default(), format, &mut pipe, threads).unwrap();
            let whole = pipe.into_inner();
            assert!(whole.bytes == expected, "{format}, short writes");
            for at in 0..whole.calls {
                for fault in [WriteFault::Error, WriteFault::Nothing] {
                    let mut pipe = Pipe::new(Awkward::new(400_009, Some((at, fault))));
                    let error = write(&disk, &Patterns::default(), format, &mut pipe, threads).expect_err("a failed write");
                    assert_eq!(error.kind(), ErrorKind::Io, "{format}, call {at}, {fault:?}: {error}");
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let disk = Synthetic::new(SIZE_BYTES, 0);
    for format in Format::ALL {
        for threads in [1, 2] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let error = write(&disk, &Patterns::default(), format, &mut Pipe::new(full), threads).expect_err("/dev/full took it");
            assert!(error.kind() == ErrorKind::Io && error.to_string().to_lowercase().contains("no space"), "{error}");
        }
    }
}

/// A loop device over a file of noise: used blocks are the disk's, unused ones are still noise.
#[cfg(target_os = "linux")]
#[test]
fn a_block_device_is_written_in_place_and_unused_blocks_stay() {
    use rootvol::output::Device;
    let Some(mut losetup) = common::judge("losetup") else { return };
    let disk = Synthetic::new(SIZE_BYTES, 0);
    let mut noise = tempfile::NamedTempFile::new().unwrap();
    noise.write_all(&vec![0xa5; usize_of(SIZE_BYTES)]).unwrap();
    let output = losetup.args(["--find", "--show"]).arg(noise.path()).output().unwrap();
    if !output.status.success() {
        common::skip(&format!("no loop device can be had here: {}", String::from_utf8_lossy(&output.stderr)));
        return;
    }
    let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let too_small = Device::open(&device, SIZE_BYTES + 1).unwrap_err().kind();
    let refused = AtomicFile::create(&device, true).unwrap_err().kind();
    let result = Device::open(&device, SIZE_BYTES).and_then(|mut output| write(&disk, &Patterns::default(), Format::Raw, &mut output, 2));
    let opened = format::open(&device, None).map(|opened| opened.size_bytes());
    assert!(common::judge("losetup").unwrap().args(["--detach", &device]).status().unwrap().success());
    assert_eq!((too_small, refused), (ErrorKind::TooSmall { needed: SIZE_BYTES + 1, available: SIZE_BYTES }, ErrorKind::InvalidInput));
    assert_eq!(opened.unwrap(), SIZE_BYTES);
    let checksums = result.unwrap().checksums;
    let (written, expected) = (fs::read(noise.path()).unwrap(), disk.bytes());
    for (index, (written, expected)) in (0..).zip(written.chunks(BLOCK_LEN).zip(expected.chunks(BLOCK_LEN))) {
        match checksums.get(BlockIndex(index)) {
            Some(_) => assert!(written == expected, "block {index}"),
            None => assert!(written.iter().all(|byte| *byte == 0xa5), "block {index}"),
        }
    }
}

/// Cancels when the contents are read for the `at`th time.
struct Cancelling {
    patterns: Patterns,
    cancel: Cancel,
    at: usize,
}

impl rootvol::content::Contents for Cancelling {
    fn read_exact_at(&self, id: rootvol::ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.patterns.read_exact_at(id, offset_bytes, out)?;
        if self.patterns.reads.load(std::sync::atomic::Ordering::SeqCst) > self.at {
            self.cancel.cancel();
        }
        Ok(())
    }
}

#[test]
fn cancelling_at_any_block_leaves_nothing() {
    let disk = Synthetic::new(6 * BLOCK_BYTES + 512, 3);
    for at in 0..8 {
        for threads in [1, 2, 3] {
            let cancel = Cancel::new();
            let contents = Cancelling { patterns: Patterns::default(), cancel: cancel.clone(), at };
            let error = assert_leaves_the_old_file("cancelled", |path| {
                let mut file = AtomicFile::create(path, true)?;
                let image = format::plan(Format::Vhd, &disk.map, &identity())?;
                run(disk.blocks(&contents), image, &mut file, &options(threads), &mut |_| ControlFlow::Continue(()), &cancel)
            });
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
    }
}

#[test]
fn progress_rises_to_the_end_and_its_break_cancels() {
    let disk = Synthetic::new(SIZE_BYTES, 1);
    let contents = Patterns::default();
    let plan = || format::plan(Format::Raw, &disk.map, &identity()).unwrap();
    let mut told = Vec::new();
    let mut keep = |progress: &rootvol::stream::Progress| {
        told.push(*progress);
        ControlFlow::Continue(())
    };
    run(disk.blocks(&contents), plan(), &mut Pipe::new(io::sink()), &options(2), &mut keep, &Cancel::new()).unwrap();
    assert!(told.is_sorted_by_key(|progress| progress.done_bytes));
    let last = told.last().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (disk.map.used_blocks() * BLOCK_BYTES, disk.map.used_blocks() * BLOCK_BYTES));
    let result = run(disk.blocks(&contents), plan(), &mut Pipe::new(io::sink()), &options(2), &mut |_| ControlFlow::Break(()), &Cancel::new());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_panicking_sink_ends_all_threads() {
    struct Panicking(usize);
    impl BlockSink for Panicking {
        fn block(&mut self, _block: Block<'_>) -> Result<()> {
            assert!(self.0 > 0, "the sink panicked");
            self.0 -= 1;
            Ok(())
        }
    }
    let disk = Synthetic::new(SIZE_BYTES, 1);
    for blocks in [0, 3, 10] {
        let result = std::panic::catch_unwind(|| {
            let contents = Patterns::default();
            run_to_sink(disk.blocks(&contents), &mut Panicking(blocks), &options(3), &mut |_| ControlFlow::Continue(()), &Cancel::new()).map(|_| ())
        });
        assert!(result.is_err());
    }
}

#[test]
fn no_threads_or_too_many_are_refused() {
    let disk = Synthetic::new(BLOCK_BYTES, 1);
    for threads in [0, 257, usize::MAX] {
        let error = write(&disk, &Patterns::default(), Format::Raw, &mut Pipe::new(io::sink()), threads).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A disk of 2^46 bytes with next to nothing on it takes no longer than that.
#[test]
fn unused_and_zero_blocks_cost_next_to_nothing() {
    use rootvol::layout::{AllocationMap, Segment, SegmentSource};
    let size_bytes = 64 << 40;
    let far = Segment { range: size_bytes - 512..size_bytes, source: SegmentSource::Metadata };
    let zeros = Segment { range: 1 << 40..2 << 40, source: SegmentSource::Zeros };
    let disk = Synthetic::of(size_bytes, vec![zeros, far]);
    struct Nowhere(u64);
    impl Output for Nowhere {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            self.zeros(u64_of(bytes.len()))
        }
        fn zeros(&mut self, len_bytes: u64) -> Result<()> {
            self.0 += len_bytes;
            Ok(())
        }
        fn unused(&mut self, len_bytes: u64) -> Result<()> {
            self.zeros(len_bytes)
        }
        fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }
    let started = std::time::Instant::now();
    let contents = Patterns::default();
    let image = format::plan(Format::Raw, &disk.map, &identity()).unwrap();
    let mut output = Nowhere(0);
    let options = StreamOptions { threads: 2, file_sha256: false };
    let summary = run(disk.blocks(&contents), image, &mut output, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!((output.0, summary.checksums.data_blocks(), summary.checksums.zero_blocks()), (size_bytes, 1, 1 << 21));
    let error = format::plan(Format::Vhd, &AllocationMap::of(&Empty(size_bytes)), &identity()).unwrap_err();
    assert!(error.kind() == ErrorKind::LimitExceeded && error.to_string().contains("raw"), "{error}");
    assert!(is_zero(&[0; 3]));
}
