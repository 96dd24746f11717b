//! Block checksums of images that exist: files, devices and pipes, whole and in slices, in-process and by the command,
//! against sha2 used one block at a time, qemu-img's containers, and every failure.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, run};
use proptest::prelude::*;
use rootvol::checksum::{BlockChecksums, BlockState, Digest, base64_encode};
use rootvol::content::ReadAt;
use rootvol::format::{self, DiskReader};
use rootvol::stream::{Cancel, ChecksumOptions, all_blocks, checksum_blocks, checksum_reader};
use rootvol::units::{BLOCK_BYTES, BLOCK_LEN};
use rootvol::{BlockIndex, Error, ErrorKind, Format, Result};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a stretch of a disk is.
#[derive(Debug, Clone, Copy)]
enum Stretch {
    Data(u8),
    Zeros,
    Hole,
}

/// Bytes that differ from block to block.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) | 1 << 32;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// A raw image and its bytes.
fn image(path: &Path, stretches: &[(Stretch, usize)]) -> Vec<u8> {
    let mut file = File::create(path).unwrap();
    let mut bytes = Vec::new();
    for (stretch, len) in stretches {
        let part = if let Stretch::Data(seed) = stretch { noise(*seed, *len) } else { vec![0; *len] };
        if !matches!(stretch, Stretch::Hole) {
            file.seek(SeekFrom::Start(bytes.len().try_into().unwrap())).unwrap();
            file.write_all(&part).unwrap();
        }
        bytes.extend(part);
    }
    file.set_len(bytes.len().try_into().unwrap()).unwrap();
    bytes
}

/// All blocks as data or zero, a block at a time.
fn expected(bytes: &[u8]) -> BlockChecksums {
    let blocks = bytes.chunks(BLOCK_LEN);
    let mut checksums = BlockChecksums::new(blocks.len().try_into().unwrap());
    for (index, chunk) in (0..).map(BlockIndex).zip(blocks) {
        let mut block = vec![0; BLOCK_LEN];
        block[..chunk.len()].copy_from_slice(chunk);
        if block.iter().all(|byte| *byte == 0) {
            checksums.push_zeros(index, 1);
        } else {
            checksums.push_data(index, Sha256::digest(&block).into());
        }
    }
    checksums
}

fn linear(checksums: &BlockChecksums) -> Digest {
    Sha256::digest(checksums.iter().map(|block| block.digest).collect::<Vec<_>>().as_flattened()).into()
}

fn threads(threads: usize) -> ChecksumOptions<'static> {
    ChecksumOptions { threads, ..ChecksumOptions::default() }
}

fn whole(disk: &dyn DiskReader, count: usize) -> Result<BlockChecksums> {
    checksum_blocks(disk, all_blocks(disk), threads(count))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A file, its bytes through a pipe, its containers and its slices all give what one block at a time gives.
    #[test]
    fn every_way_to_a_disk_gives_the_same_checksums(
        stretches in proptest::collection::vec(
            (prop_oneof![any::<u8>().prop_map(Stretch::Data), Just(Stretch::Zeros), Just(Stretch::Hole)], 1_usize..3 * BLOCK_LEN / 4096),
            0..14,
        ),
        odd in 0_usize..4096,
        cuts in proptest::collection::vec(0_u64..40, 0..4),
        count in 1_usize..6,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        let mut stretches: Vec<_> = stretches.into_iter().map(|(stretch, pages)| (stretch, pages * 4096)).collect();
        stretches.push((Stretch::Data(7), odd));
        let bytes = image(&path, &stretches);
        let expected = expected(&bytes);

        let disk = format::open(&path, Some(Format::Raw)).unwrap();
        let found = whole(&*disk, count).unwrap();
        prop_assert_eq!(found.unused_as_zeros(), expected.clone());
        prop_assert_eq!(found.unused_as_zeros().linear(), linear(&expected));
        // What is unused was a hole, all of the block.
        for run in found.runs().filter(|run| run.state == BlockState::Unused) {
            let from = usize::try_from(run.first.offset_bytes()).unwrap();
            let to = (from + usize::try_from(run.count * BLOCK_BYTES).unwrap()).min(bytes.len());
            prop_assert!(bytes[from..to].iter().all(|byte| *byte == 0));
        }

        let all = all_blocks(&*disk).end.0;
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(all)).chain([0, all]).collect();
        cuts.sort_unstable();
        let slices = cuts.windows(2).map(|cut| checksum_blocks(&*disk, BlockIndex(cut[0])..BlockIndex(cut[1]), threads(count)).unwrap());
        prop_assert_eq!(BlockChecksums::merge(slices).unwrap(), found);

        let read = checksum_reader(Dribble { bytes: &bytes, at: 0, most: 1 + odd * 37 }, threads(count)).unwrap();
        prop_assert_eq!((read.checksums, read.size_bytes), (expected.clone(), bytes.len().try_into().unwrap()));

        let Some(qemu_img) = judge("qemu-img").filter(|_| !bytes.is_empty()) else { return Ok(()) };
        let mut qemu_img = qemu_img;
        let vhd = folder.path().join("disk.vhd");
        run(qemu_img.args(["convert", "-q", "-f", "raw", "-O", "vpc", "-o", "force_size=on"]).args([&path, &vhd]));
        let disk = format::open(&vhd, None).unwrap();
        prop_assert_eq!(disk.format(), Format::Vhd);
        // The container has whole sectors.
        let mut padded = bytes.clone();
        padded.resize(usize::try_from(disk.size_bytes()).unwrap(), 0);
        prop_assert_eq!(whole(&*disk, count).unwrap().unused_as_zeros(), self::expected(&padded));
    }
}

/// Gives at most so many bytes at a time, and is interrupted before each.
struct Dribble<'a> {
    bytes: &'a [u8],
    at: usize,
    most: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.at += 1;
        if self.at % 2 == 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.most.min(out.len()).min(self.bytes.len());
        out[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

/// Fails, panics or lies at the `at`th read.
struct Failing<'a> {
    bytes: &'a [u8],
    left: usize,
    how: fn() -> io::Result<usize>,
}

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return (self.how)();
        }
        self.left -= 1;
        let count = out.len().min(100_000);
        self.bytes.read(&mut out[..count])
    }
}

#[test]
fn a_reader_that_fails_panics_or_lies_at_any_read_is_an_error_and_all_threads_end() {
    let bytes = noise(3, 3 * BLOCK_LEN + 5);
    // Six reads a block, one of the last, and one that finds the end.
    let reads = 3 * 6 + 1;
    type How = (fn() -> io::Result<usize>, fn(&ErrorKind) -> bool);
    let hows: [How; 3] = [
        (|| Err(io::Error::other("broken")), |kind| *kind == ErrorKind::Io),
        (|| panic!("a broken reader"), |kind| *kind == ErrorKind::Internal),
        (|| Ok(usize::MAX), |kind| *kind == ErrorKind::Internal),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    for (how, is_right) in hows {
        for count in [1, 2, 5] {
            for left in 0..=reads {
                let error = checksum_reader(Failing { bytes: &bytes, left, how }, threads(count)).unwrap_err();
                assert!(is_right(&error.kind()), "{error}");
            }
        }
    }
    let _ = std::panic::take_hook();
    let would_block = checksum_reader(Failing { bytes: &bytes, left: 1, how: || Err(io::ErrorKind::WouldBlock.into()) }, threads(2));
    assert_eq!(would_block.unwrap_err().kind(), ErrorKind::Io);
}

/// A disk whose `at`th read fails.
struct Breaking {
    size_bytes: u64,
    reads: std::sync::atomic::AtomicUsize,
    at: usize,
}

impl DiskReader for Breaking {
    fn format(&self) -> Format {
        Format::Raw
    }
}

impl ReadAt for Breaking {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, _offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let nth = self.reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        out.fill(1);
        if nth == self.at { Err(Error::corrupt("worn out")) } else { Ok(()) }
    }
}

#[test]
fn a_disk_that_fails_at_any_read_is_an_error() {
    for count in [1, 2, 4] {
        for at in 0..20 {
            let disk = Breaking { size_bytes: 20 * BLOCK_BYTES, reads: 0.into(), at };
            assert_eq!(whole(&disk, count).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let disk = Breaking { size_bytes: 20 * BLOCK_BYTES, reads: 0.into(), at: 20 };
        assert_eq!(whole(&disk, count).unwrap().data_blocks(), 20);
        let disk = Breaking { at: usize::MAX, ..disk };
        let cancel = Cancel::new();
        cancel.cancel();
        let mut options = threads(count);
        options.cancel = cancel;
        assert_eq!(checksum_blocks(&disk, all_blocks(&disk), options).unwrap_err().kind(), ErrorKind::Cancelled);
        let mut options = threads(count);
        options.progress = Box::new(|_| ControlFlow::Break(()));
        assert_eq!(checksum_blocks(&disk, all_blocks(&disk), options).unwrap_err().kind(), ErrorKind::Cancelled);
    }
    let disk = Breaking { size_bytes: 20 * BLOCK_BYTES, reads: 0.into(), at: 99 };
    for (from, to) in [(0, 21), (5, 4), (21, 21)] {
        assert_eq!(checksum_blocks(&disk, BlockIndex(from)..BlockIndex(to), threads(2)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for count in [0, usize::MAX] {
        assert_eq!(whole(&disk, count).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(checksum_reader(io::empty(), threads(count)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// 64 TiB of nothing is walked hole by hole; a file that changes, shrinks or was cut off is an error that names it.
#[test]
fn holes_cost_nothing_and_changes_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let file = File::create(&path).unwrap();
    let size_bytes = 8 << 40;
    if file.set_len(size_bytes).is_err() {
        common::skip("the filesystem of the temporary folder holds no file of 8 TiB");
        return;
    }
    let disk = format::open(&path, Some(Format::Raw)).unwrap();
    let start = Instant::now();
    assert_eq!(whole(&*disk, 2).unwrap().unused_blocks(), size_bytes / BLOCK_BYTES);
    assert!(start.elapsed() < Duration::from_secs(10), "a hole was read");

    image(&path, &[(Stretch::Data(1), 4 * BLOCK_LEN)]);
    let disk = format::open(&path, None).unwrap();
    File::options().write(true).open(&path).unwrap().write_all(b"other").unwrap();
    // The clock of files is coarse: a change within one of its ticks does not show, so the time is set.
    File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(whole(&*disk, 2).unwrap_err().kind(), ErrorKind::SourceChanged);
    let disk = format::open(&path, None).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(BLOCK_BYTES).unwrap();
    assert!(matches!(whole(&*disk, 2).unwrap_err().kind(), ErrorKind::SourceChanged | ErrorKind::Corrupt));
}

fn rootvol() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    command.arg("checksum");
    command
}

fn fails(command: &mut Command, code: i32, words: &str) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(words) && !said.contains("panicked"), "{command:?}: {said}");
}

#[test]
fn the_command_says_lists_and_prints_json() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let stretches = [(Stretch::Data(1), 2 * BLOCK_LEN), (Stretch::Hole, 5 * BLOCK_LEN), (Stretch::Zeros, BLOCK_LEN), (Stretch::Data(2), BLOCK_LEN + 100)];
    let bytes = image(&at.join("disk.raw"), &stretches);
    let expected = expected(&bytes);
    let aggregate = base64_encode(&linear(&expected));

    let json = run(rootvol().args(["disk.raw", "--json", "--blocks", "out.jsonl", "--threads", "3"]).current_dir(at)).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["blocks"]["linear_checksum"], aggregate.as_str());
    assert_eq!((&json["format"], &json["size_bytes"]), (&"raw".into(), &bytes.len().into()));
    assert_eq!(json["holes"], serde_json::json!([{"index": 2, "count": 5}]));
    let listed = BlockChecksums::read_jsonl(&mut io::BufReader::new(File::open(at.join("out.jsonl")).unwrap())).unwrap();
    assert_eq!(listed, expected);

    let said = String::from_utf8(run(rootvol().arg("disk.raw").current_dir(at)).stdout).unwrap();
    assert!(said.contains("4 data, 6 zero, 0 unused; 5 are holes") && said.ends_with(&format!("LINEAR {aggregate}\n")), "{said}");
    let unused = run(rootvol().args(["disk.raw", "--holes", "unused", "--json"]).current_dir(at)).stdout;
    let unused: serde_json::Value = serde_json::from_slice(&unused).unwrap();
    assert_eq!((&unused["blocks"]["unused"], &unused["blocks"]["zero"]), (&5.into(), &1.into()));

    // Standard input: a file, a pipe.
    let quiet = |stdin: Stdio| String::from_utf8(run(rootvol().args(["-", "-q"]).stdin(stdin)).stdout).unwrap();
    assert_eq!(quiet(File::open(at.join("disk.raw")).unwrap().into()), format!("{aggregate}\n"));
    let mut cat = Command::new("cat").arg(at.join("disk.raw")).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(quiet(cat.stdout.take().unwrap().into()), format!("{aggregate}\n"));
    cat.wait().unwrap();

    // A reader that has gone away is no error for text.
    run(Command::new("bash")
        .args(["-c", "set -o pipefail; \"$0\" checksum disk.raw --json | true; [ ${PIPESTATUS[0]} = 0 ]"])
        .arg(env!("CARGO_BIN_EXE_rootvol"))
        .current_dir(at));
}

#[test]
fn the_command_refuses_what_it_cannot_do_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    image(&at.join("disk.raw"), &[(Stretch::Data(1), BLOCK_LEN)]);
    fs::write(at.join("there"), "old").unwrap();
    let fixed = [noise(1, BLOCK_LEN), b"conectix".to_vec(), vec![0; 504]].concat();
    fs::write(at.join("bad.vhd"), fixed).unwrap();
    run(Command::new("mkfifo").arg(at.join("pipe")));
    let command = |args: &[&str]| {
        let mut command = rootvol();
        command.args(args).current_dir(at).stdin(Stdio::null());
        command
    };
    fails(&mut command(&["disk.raw", "--threads", "0"]), 2, "0 threads");
    fails(&mut command(&["disk.raw", "--threads", "9999"]), 1, "9999 threads");
    fails(&mut command(&["disk.raw", "--holes", "none"]), 2, "none");
    fails(&mut command(&["-", "--input-format", "vhd"]), 2, "by position");
    fails(&mut command(&["nothing"]), 1, "nothing");
    fails(&mut command(&["."]), 1, "neither");
    // Neither waits for the other end nor reads for ever.
    fails(&mut command(&["pipe"]), 1, "pipe");
    fails(&mut command(&["/dev/zero"]), 1, "neither");
    fails(&mut command(&["bad.vhd"]), 1, "bad.vhd");
    fails(&mut command(&["disk.raw", "--input-format", "vhd"]), 1, "no VHD footer");
    fails(&mut command(&["disk.raw", "--blocks", "there"]), 1, "exists already");
    fails(&mut command(&["disk.raw", "--blocks", "disk.raw", "--force"]), 1, "replace the image");
    fails(&mut command(&["disk.raw", "--blocks", "no/such/folder"]), 1, "no/such/folder");
    fails(command(&["-"]).stdin(File::open(at).unwrap()), 1, "standard input");
    let begins_like_a_vhd = at.join("cookie");
    fs::write(&begins_like_a_vhd, "conectix").unwrap();
    fails(command(&["-"]).stdin(File::open(&begins_like_a_vhd).unwrap()), 2, "--input-format raw");
    run(command(&["-", "--input-format", "raw"]).stdin(File::open(&begins_like_a_vhd).unwrap()));
    assert_eq!(fs::read(at.join("there")).unwrap(), b"old");
    fails(command(&["disk.raw", "--json"]).stdout(File::options().write(true).open("/dev/full").unwrap()), 1, "standard output");
    // A signal while a pipe says nothing.
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = rootvol().arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![1; 100_000]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        drop(stdin);
    }
}

/// Every read, seek, open and write of the command fails once.
#[test]
fn a_system_call_that_fails_is_an_error_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let bytes = image(&at.join("disk.raw"), &[(Stretch::Data(1), 20 * BLOCK_LEN), (Stretch::Hole, 9 * BLOCK_LEN), (Stretch::Data(2), 300)]);
    let expected = format!("{}\n", base64_encode(&linear(&expected(&bytes))));
    for (call, error) in
        [("pread64", "EIO"), ("lseek", "EIO"), ("openat", "EACCES"), ("fsync", "EIO"), ("write", "ENOSPC"), ("renameat2", "EIO"), ("clone3", "EAGAIN")]
    {
        for n in 1..60 {
            let Some(mut strace) = judge("strace") else { return };
            let _ = fs::remove_file(at.join("out"));
            strace.args(["-qq", "-f", "-e", &format!("trace={call}"), "-o", "/dev/null", "-e", &format!("inject={call}:error={error}:when={n}")]);
            let command = strace.arg(env!("CARGO_BIN_EXE_rootvol")).args(["checksum", "disk.raw", "-q", "--threads", "2", "--blocks", "out"]).current_dir(at);
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{call} {n}: {said}");
            if output.status.success() {
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{call} {n}: wrong without a word");
                break;
            }
            assert!(!at.join("out").exists() || call == "fsync" || call == "write", "{call} {n} left the listing: {said}");
            let left = fs::read_dir(at).unwrap().count();
            assert!(left <= 2, "{call} {n} left {left} files");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_block_device_is_read_like_a_file() {
    let Some(mut losetup) = judge("losetup") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let bytes = image(&path, &[(Stretch::Data(9), 3 * BLOCK_LEN), (Stretch::Hole, 4 * BLOCK_LEN), (Stretch::Data(1), 512)]);
    let output = losetup.args(["--find", "--show", "--read-only"]).arg(&path).output().unwrap();
    if !output.status.success() {
        common::skip(&format!("no loop device can be had here: {}", String::from_utf8_lossy(&output.stderr)));
        return;
    }
    let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let said = rootvol().args([&device, "-q"]).output();
    run(judge("losetup").unwrap().args(["--detach", &device]));
    let said = said.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("{}\n", base64_encode(&linear(&expected(&bytes)))));
}
