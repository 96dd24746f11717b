//! VHDs as others see them: qemu-img reads ours, and we read qemu-img's; damage is an error.
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails panics, and a skip is said")]

#[path = "common/synthetic.rs"]
mod synthetic;

#[path = "common/mod.rs"]
mod common;

use rootvol::format::{self, Format, Identity};
use rootvol::output::AtomicFile;
use rootvol::stream::{Cancel, StreamOptions, run};
use rootvol::units::{BLOCK_BYTES, GIB, KIB, MIB, u64_of, usize_of};
use rootvol::{ErrorKind, Guid};
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use synthetic::{Patterns, Synthetic, mixed};

fn write(disk: &Synthetic, format: Format, path: &Path) {
    let contents = Patterns::default();
    let image = format::plan(format, &disk.map, &Identity { id: Guid::from_name("vhd"), created: 1_700_000_000 }).unwrap();
    let mut file = AtomicFile::create(path, true).unwrap();
    let options = StreamOptions { threads: 2, file_sha256: false };
    run(disk.blocks(&contents), image, &mut file, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
    file.commit().unwrap();
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The number behind `key` in JSON that qemu-img printed.
fn number(json: &str, key: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[key].as_u64().unwrap()
}

#[test]
fn qemu_reads_the_same_bytes_size_and_allocation() {
    let Some(_) = common::judge("qemu-img") else { return };
    let qemu = || common::judge("qemu-img").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (raw, vhd) = (folder.path().join("raw"), folder.path().join("vhd"));
    for (seed, size_bytes) in [(0, 41 * BLOCK_BYTES + 300 * 512), (1, 64 * MIB), (2, 512), (3, 37 * MIB + 512), (4, 127 * MIB)] {
        let disk = Synthetic::new(size_bytes, seed);
        write(&disk, Format::Raw, &raw);
        for format in [Format::Vhd, Format::VhdFixed] {
            write(&disk, format, &vhd);
            succeed(qemu().args(["compare", "-f", "raw", "-F", "vpc"]).args([&raw, &vhd]));
            let info = succeed(qemu().args(["info", "--output=json", "-f", "vpc"]).arg(&vhd));
            assert_eq!(number(&info, "virtual-size"), size_bytes, "{format}");
        }
        write(&disk, Format::Vhd, &vhd);
        let map: serde_json::Value = serde_json::from_str(&succeed(qemu().args(["map", "--output=json", "-f", "vpc"]).arg(&vhd))).unwrap();
        let present: Vec<_> = map.as_array().unwrap().iter().filter(|extent| extent["offset"].is_u64()).collect();
        for block in 0..size_bytes.div_ceil(2 * MIB) {
            let is_filled = disk.map.meets(rootvol::BlockIndex(block * 4), 4) == Some(rootvol::layout::RunKind::Filled);
            let at = block * 2 * MIB;
            let is_present = present.iter().any(|extent| {
                let start = extent["start"].as_u64().unwrap();
                start <= at && at < start + extent["length"].as_u64().unwrap()
            });
            assert_eq!(is_present, is_filled, "block {block} of seed {seed}: {map:#}");
        }
    }
}

/// A whole GiB is no whole number of cylinders: a reader that goes by the geometry would shorten the disk.
#[test]
fn qemu_sees_disks_of_whole_gib_at_their_exact_size() {
    let Some(_) = common::judge("qemu-img") else { return };
    let folder = tempfile::tempdir().unwrap();
    let vhd = folder.path().join("vhd");
    for gib in [1, 8, 10, 100, 2040] {
        let end = rootvol::layout::Segment { range: gib * GIB - 33 * 512..gib * GIB, source: rootvol::layout::SegmentSource::Metadata };
        write(&Synthetic::of(gib * GIB, vec![end]), Format::Vhd, &vhd);
        let info = succeed(common::judge("qemu-img").unwrap().args(["info", "--output=json", "-f", "vpc"]).arg(&vhd));
        assert_eq!(number(&info, "virtual-size"), gib * GIB);
    }
}

#[test]
fn the_geometry_is_the_one_that_qemu_writes() {
    let Some(_) = common::judge("qemu-img") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    for mib in [1, 5, 40, 120, 137, 300, 504, 1024, 8192, 30_000, 40_000, 130_048] {
        succeed(common::judge("qemu-img").unwrap().args(["create", "-q", "-f", "vpc"]).arg(&theirs).arg(format!("{mib}M")));
        let theirs = fs::read(&theirs).unwrap();
        // qemu-img rounds the size up to whole cylinders.
        let size_bytes = u64::from_be_bytes(theirs[48..56].try_into().unwrap());
        write(&Synthetic::of(size_bytes, Vec::new()), Format::Vhd, &ours);
        assert_eq!(fs::read(&ours).unwrap()[56..60], theirs[56..60], "{mib} MiB");
    }
}

#[test]
fn what_qemu_writes_reads_back() {
    let Some(_) = common::judge("qemu-img") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (raw, vhd) = (folder.path().join("raw"), folder.path().join("vhd"));
    for (seed, size_bytes) in [(0, 9 * MIB + 512), (1, 64 * MIB), (2, 5 * MIB)] {
        let disk = Synthetic::new(size_bytes, seed);
        write(&disk, Format::Raw, &raw);
        for (options, format) in [
            ("subformat=dynamic", Format::Vhd),
            ("subformat=fixed", Format::VhdFixed),
            ("subformat=dynamic,force_size=on", Format::Vhd),
            ("subformat=fixed,force_size=on", Format::VhdFixed),
        ] {
            succeed(common::judge("qemu-img").unwrap().args(["convert", "-f", "raw", "-O", "vpc", "-o", options]).args([&raw, &vhd]));
            for asked in [None, Some(Format::Vhd)] {
                let opened = format::open(&vhd, asked).unwrap();
                assert_eq!(opened.format(), format, "{options}");
                // Without force_size qemu-img rounds the size up to whole cylinders.
                assert!(opened.size_bytes() >= size_bytes && (!options.contains("force_size") || opened.size_bytes() == size_bytes), "{options}");
                let mut bytes = vec![0xee; usize_of(opened.size_bytes())];
                opened.read_exact_at(0, &mut bytes).unwrap();
                let (disk_bytes, behind) = bytes.split_at(usize_of(size_bytes));
                assert!(disk_bytes == disk.bytes() && behind.iter().all(|byte| *byte == 0), "{options}, seed {seed}");
            }
        }
    }
}

/// Opens a damaged copy and reads all of it, however it goes: no panic, and where it reads, the size that is claimed.
fn survives(bytes: &[u8], what: &str) -> bool {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let Ok(opened) = format::open_file(file, Some(Format::Vhd)) else { return false };
    assert!(opened.size_bytes() <= 2040 * GIB, "{what}");
    let mut out = vec![0; usize_of(BLOCK_BYTES)];
    for offset in (0..opened.size_bytes()).step_by(out.len()).take(64) {
        let len = usize_of(BLOCK_BYTES.min(opened.size_bytes() - offset));
        if opened.read_exact_at(offset, &mut out[..len]).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn damaged_and_shortened_files_are_errors_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vhd");
    let disk = Synthetic::new(5 * MIB, 1);
    for format in [Format::Vhd, Format::VhdFixed] {
        write(&disk, format, &path);
        let whole = fs::read(&path).unwrap();
        assert!(survives(&whole, "the whole"));
        for number in 0..64 {
            let len = if number < 32 { usize_of(mixed(number)) % whole.len() } else { whole.len() - usize_of(number - 31) };
            // A footer of 511 bytes is as good as one of 512.
            assert!(!survives(&whole[..len], "shortened") || len == whole.len() - 1, "{format}, {len} bytes of {}", whole.len());
        }
        let footer = whole.len() - 512;
        for number in 0..600 {
            let bit = mixed(number);
            // Footers, the header and the BAT: a bit there is either caught or moves a block.
            let at = if bit.is_multiple_of(3) { footer + usize_of(bit >> 8) % 512 } else { usize_of(bit >> 8) % 2048 };
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (bit >> 60 & 7);
            let reads = survives(&damaged, "damaged");
            // Of a dynamic disk's footers one may be damaged: the other says the same, and tests/containers.rs looks at what is read.
            let is_checked = if format == Format::Vhd { (512..1536).contains(&at) } else { at >= footer };
            assert!(!(reads && is_checked), "{format}: bit {bit:x} of byte {at} went unnoticed");
        }
    }
}

/// Rewrites big-endian fields of the footer (both copies) or the dynamic header, with their checksums.
fn patched(whole: &[u8], is_header: bool, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let (starts, len, sum_at) = if is_header { (vec![512], 1024, 36) } else { (vec![0, whole.len() - 512], 512, 64) };
    for start in starts {
        let part = &mut bytes[start..start + len];
        for (at, value) in fields {
            part[*at..*at + value.len()].copy_from_slice(value);
        }
        part[sum_at..sum_at + 4].fill(0);
        let sum: u32 = part.iter().map(|byte| u32::from(*byte)).sum();
        part[sum_at..sum_at + 4].copy_from_slice(&(!sum).to_be_bytes());
    }
    bytes
}

#[track_caller]
fn refusal(bytes: &[u8], format: Option<Format>) -> rootvol::Error {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    format::open_file(file, format).err().expect("it was opened")
}

#[test]
fn r4_r22_fields_that_cannot_be_are_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vhd");
    let all = rootvol::layout::Segment { range: 0..9 * MIB, source: rootvol::layout::SegmentSource::Metadata };
    write(&Synthetic::of(9 * MIB, vec![all]), Format::Vhd, &path);
    let whole = fs::read(&path).unwrap();
    assert!(survives(&patched(&whole, false, &[(24, &[9; 4])]), "another time stamp"));

    let mut parent = [0; 512];
    for (pair, unit) in parent.chunks_exact_mut(2).zip("C:\\base\u{1b}.vhd".encode_utf16()) {
        pair.copy_from_slice(&unit.to_be_bytes());
    }
    let differencing = patched(&patched(&whole, false, &[(60, &4_u32.to_be_bytes())]), true, &[(64, &parent)]);
    for (bytes, kind, needle) in [
        (differencing, ErrorKind::Unsupported, "C:\\x5Cbase\\x1B.vhd"),
        (patched(&whole, false, &[(60, &7_u32.to_be_bytes())]), ErrorKind::Unsupported, "type 7"),
        (patched(&whole, false, &[(12, &[0, 2, 0, 0])]), ErrorKind::Unsupported, "version 2.0"),
        (patched(&whole, false, &[(48, &(9 * MIB + 1).to_be_bytes())]), ErrorKind::Corrupt, "whole sectors"),
        (patched(&whole, false, &[(48, &u64::MAX.to_be_bytes())]), ErrorKind::Corrupt, "current size"),
        (patched(&whole, false, &[(48, &(11 * MIB).to_be_bytes())]), ErrorKind::Corrupt, "5 entries"),
        (patched(&whole, false, &[(48, &(64 * GIB).to_be_bytes())]), ErrorKind::Corrupt, "needs 32768"),
        (patched(&whole, false, &[(16, &0_u64.to_be_bytes())]), ErrorKind::Corrupt, "outside the file"),
        (patched(&whole, false, &[(16, &u64::MAX.to_be_bytes())]), ErrorKind::Corrupt, "outside the file"),
        (patched(&whole, true, &[(16, &600_u64.to_be_bytes())]), ErrorKind::Corrupt, "overlap"),
        (patched(&whole, true, &[(16, &u64_of(whole.len()).to_be_bytes())]), ErrorKind::Corrupt, "outside the file"),
        (patched(&whole, true, &[(32, &0_u32.to_be_bytes())]), ErrorKind::Corrupt, "block size is 0"),
        (patched(&whole, true, &[(32, &256_u32.to_be_bytes())]), ErrorKind::Corrupt, "power of two"),
        (patched(&whole, true, &[(32, &0x0030_0000_u32.to_be_bytes())]), ErrorKind::Corrupt, "power of two"),
        (patched(&whole, true, &[(28, &4_u32.to_be_bytes())]), ErrorKind::Corrupt, "needs 5"),
    ] {
        let error = refusal(&bytes, None);
        assert!(error.kind() == kind && error.to_string().contains(needle), "{needle}: {error}");
    }

    for (entry, sector, needle) in [(1, 4_u32, "overlap"), (0, 3, "lies over"), (0, 0, "lies over"), (4, 0xffff_fffe, "lies over"), (0, 4105, "overlap")] {
        let mut bytes = whole.clone();
        bytes[1536 + 4 * entry..1540 + 4 * entry].copy_from_slice(&sector.to_be_bytes());
        let error = refusal(&bytes, None);
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(needle), "entry {entry} = {sector}: {error}");
    }
}

#[test]
fn a_sector_that_the_bitmap_leaves_out_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vhd");
    let all = rootvol::layout::Segment { range: 0..3 * MIB, source: rootvol::layout::SegmentSource::Metadata };
    let disk = Synthetic::of(3 * MIB, vec![all]);
    write(&disk, Format::Vhd, &path);
    let mut bytes = fs::read(&path).unwrap();
    // The bitmap of block 0 lies behind footer, header and a BAT of one sector: sectors 9 and 4095 are left out.
    assert_eq!(bytes[2048..2560], [0xff; 512]);
    bytes[2049] &= !0x40;
    bytes[2048 + 511] &= !0x01;
    fs::write(&path, bytes).unwrap();
    let mut expected = disk.bytes();
    expected[9 * 512..10 * 512].fill(0);
    expected[4095 * 512..4096 * 512].fill(0);
    let opened = format::open(&path, None).unwrap();
    for (from, len) in [(0, 3 * MIB), (9 * 512 + 100, 100), (8 * 512 + 100, 1024), (4095 * 512 - 7, 4 * KIB), (10 * 512, 512)] {
        let mut out = vec![0xee; usize_of(len)];
        opened.read_exact_at(from, &mut out).unwrap();
        assert!(out == expected[usize_of(from)..usize_of(from + len)], "{len} bytes at {from}");
    }
}

#[test]
fn the_magic_tells_the_format_and_an_explicit_choice_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let disk = Synthetic::new(3 * MIB, 0);
    for format in Format::ALL {
        write(&disk, format, &path);
        assert_eq!(format::open(&path, None).unwrap().format(), format);
        let as_raw = format::open(&path, Some(Format::Raw)).unwrap();
        assert_eq!((as_raw.format(), as_raw.size_bytes()), (Format::Raw, fs::metadata(&path).unwrap().len()));
    }
    write(&disk, Format::Raw, &path);
    assert_eq!(format::open(&path, Some(Format::Vhd)).err().unwrap().kind(), ErrorKind::Corrupt);
    // Half a dynamic VHD has its magic at the begin and is no raw disk.
    write(&disk, Format::Vhd, &path);
    File::options().write(true).open(&path).unwrap().set_len(MIB).unwrap();
    assert!(format::open(&path, None).err().unwrap().to_string().contains("not all of one"));
    for path in [folder.path(), Path::new("/dev/zero"), Path::new("/nonexistent")] {
        assert!(format::open(path, None).is_err(), "{}", path.display());
    }
}
