//! Opening images: VHDs of other makers, differencing VHDs, compressed raw images, what is refused by its magic.
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails panics, and a skip is said")]

#[path = "common/synthetic.rs"]
mod synthetic;

#[path = "common/mod.rs"]
mod common;

use common::{judge, run as succeed};
use rootvol::format::{self, DiskReader, Format, Identity, OpenOptions};
use rootvol::output::AtomicFile;
use rootvol::stream::{Cancel, StreamOptions, run};
use rootvol::units::{KIB, MIB, u64_of, usize_of};
use rootvol::{ErrorKind, Guid};
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use synthetic::{Patterns, Synthetic, mixed};

fn write(disk: &Synthetic, format: Format, path: &Path, id: &str) {
    let contents = Patterns::default();
    let image = format::plan(format, &disk.map, &Identity { id: Guid::from_name(id), created: 1_700_000_000 }).unwrap();
    let mut file = AtomicFile::create(path, true).unwrap();
    let options = StreamOptions { threads: 2, file_sha256: false };
    run(disk.blocks(&contents), image, &mut file, &options, &mut |_| ControlFlow::Continue(()), &Cancel::new()).unwrap();
    file.commit().unwrap();
}

fn all(disk: &dyn DiskReader) -> Vec<u8> {
    let mut bytes = vec![0xee; usize_of(disk.size_bytes())];
    disk.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

#[track_caller]
fn refusal(path: &Path, options: &OpenOptions) -> rootvol::Error {
    format::open_with(path, options).err().expect("it was opened")
}

/// Sets the checksum of the structure of `len` bytes at `start`, which stands at `sum_at` in it.
fn seal(bytes: &mut [u8], start: usize, len: usize, sum_at: usize) {
    let part = &mut bytes[start..start + len];
    part[sum_at..sum_at + 4].fill(0);
    let sum: u32 = part.iter().map(|byte| u32::from(*byte)).sum();
    part[sum_at..sum_at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// Changes fields of the footer, and of its copy where there is one.
fn set_footer(bytes: &mut [u8], fields: &[(usize, &[u8])]) {
    let end = bytes.len() - 512;
    let starts = if bytes[..8] == *b"conectix" { vec![0, end] } else { vec![end] };
    for start in starts {
        for (at, value) in fields {
            bytes[start + at..start + at + value.len()].copy_from_slice(value);
        }
        seal(bytes, start, 512, 64);
    }
}

fn vhd_parents(parents: &[&PathBuf]) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.vhd_parents = parents.iter().map(|path| (*path).clone()).collect();
    options
}

mod vhd {
    use super::*;

    #[test]
    fn the_size_is_the_footers_whoever_made_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vhd");
        // No whole number of cylinders: by the geometry the disk would be shorter.
        let disk = Synthetic::new(37 * MIB + 512, 1);
        for format in [Format::Vhd, Format::VhdFixed] {
            for creator in [b"vpc ", b"vs  ", b"win ", b"d2v ", b"wa\0\0", b"vbox", b"qemu", b"qem2", b"CTXS", b"tap\0", b"\xff\0\x1b["] {
                write(&disk, format, &path, "a");
                let mut bytes = fs::read(&path).unwrap();
                // A geometry of one cylinder, as some writers leave one behind that resize.
                set_footer(&mut bytes, &[(28, creator), (56, &[0, 1, 4, 17])]);
                fs::write(&path, &bytes).unwrap();
                let opened = format::open(&path, None).unwrap();
                assert_eq!((opened.format(), opened.size_bytes()), (format, 37 * MIB + 512));
                assert!(all(&*opened) == disk.bytes() && opened.notes().is_empty());
            }
        }
    }

    #[test]
    fn what_qemu_makes_is_read_to_the_byte() {
        let Some(_) = judge("qemu-img") else { return };
        let folder = tempfile::tempdir().unwrap();
        let [raw, vhd, back] = ["raw", "vhd", "back"].map(|name| folder.path().join(name));
        let disk = Synthetic::new(20 * MIB + 1024, 4);
        write(&disk, Format::Raw, &raw, "a");
        for subformat in ["dynamic", "fixed"] {
            for force in ["on", "off"] {
                let options = format!("subformat={subformat},force_size={force}");
                succeed(judge("qemu-img").unwrap().args(["convert", "-f", "raw", "-O", "vpc", "-o", &options]).args([&raw, &vhd]));
                let opened = format::open(&vhd, None).unwrap();
                let bytes = all(&*opened);
                assert!(bytes[..usize_of(disk.size_bytes)] == disk.bytes()[..], "{options}");
                fs::write(&back, &bytes).unwrap();
                succeed(judge("qemu-img").unwrap().args(["compare", "-f", "raw", "-F", "vpc"]).args([&back, &vhd]));
            }
        }
    }

    #[test]
    fn one_damaged_footer_is_said_and_two_that_differ_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vhd");
        let disk = Synthetic::new(9 * MIB, 1);
        write(&disk, Format::Vhd, &path, "a");
        let whole = fs::read(&path).unwrap();
        let end = whole.len() - 512;
        // In the copy all bytes may be wrong; of the footer the cookie and the type have to be there.
        for at in [0, 7, 20, 48, 60, 64, 70, 200, end + 20, end + 48, end + 64, end + 200] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            let opened = format::open(&path, None).unwrap();
            assert!(all(&*opened) == disk.bytes(), "byte {at}");
            assert!(opened.notes().len() == 1 && opened.notes()[0].contains("damaged"), "byte {at}: {:?}", opened.notes());
        }
        for at in [end, end + 7, end + 60, end + 63] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(refusal(&path, &OpenOptions::default()).kind(), ErrorKind::Corrupt, "byte {at}");
        }
        let mut both = whole.clone();
        (both[20], both[end + 20]) = (1, 1);
        fs::write(&path, &both).unwrap();
        assert!(refusal(&path, &OpenOptions::default()).to_string().contains("checksum"));
        let mut differ = whole.clone();
        differ[48..56].copy_from_slice(&(8 * MIB).to_be_bytes());
        seal(&mut differ, 0, 512, 64);
        fs::write(&path, &differ).unwrap();
        assert!(refusal(&path, &OpenOptions::default()).to_string().contains("differ"));
        // Without its end it is not all there, whatever the copy says.
        for len in [end, end - 1, end / 2, 2048, 513] {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(refusal(&path, &OpenOptions::default()).to_string().contains("not all of one"), "{len} bytes");
        }
        // Of a fixed disk the guest's first sector is not asked, even if it looks like a footer.
        write(&disk, Format::VhdFixed, &path, "a");
        let mut fixed = fs::read(&path).unwrap();
        fixed[..512].copy_from_slice(&whole[..512]);
        let end = fixed.len() - 512;
        fixed[end + 100] = 1;
        fs::write(&path, &fixed).unwrap();
        assert!(refusal(&path, &OpenOptions::default()).to_string().contains("checksum"));
    }

    /// Makes a differencing disk of what `changes` holds: of its blocks only the sectors for which `has` is true.
    fn differencing(changes: &Synthetic, path: &Path, own_id: &str, parent: &Path, has: impl Fn(u64) -> bool) {
        write(changes, Format::Vhd, path, own_id);
        let mut bytes = fs::read(path).unwrap();
        let parent_bytes = fs::read(parent).unwrap();
        let parent_id = parent_bytes[parent_bytes.len() - 512 + 68..][..16].to_vec();
        set_footer(&mut bytes, &[(60, &4_u32.to_be_bytes())]);
        bytes[512 + 40..512 + 56].copy_from_slice(&parent_id);
        for (pair, unit) in bytes[512 + 64..512 + 576].chunks_exact_mut(2).zip("../../etc/shadow".encode_utf16()) {
            pair.copy_from_slice(&unit.to_be_bytes());
        }
        seal(&mut bytes, 512, 1024, 36);
        let entries = usize_of(changes.size_bytes.div_ceil(2 * MIB));
        for block in 0..entries {
            let entry = u32::from_be_bytes(bytes[1536 + 4 * block..1540 + 4 * block].try_into().unwrap());
            if entry == u32::MAX {
                continue;
            }
            for sector in 0..4096_u64 {
                if !has(u64_of(block) * 4096 + sector) {
                    bytes[usize_of(u64::from(entry) * 512 + sector / 8)] &= !(0x80 >> (sector % 8));
                }
            }
        }
        fs::write(path, bytes).unwrap();
    }

    /// What the chain should read as: sectors of `changes` in blocks that the child has, where `has`, else those of `below`.
    fn over(below: &[u8], changes: &Synthetic, has: impl Fn(u64) -> bool) -> Vec<u8> {
        let mut bytes = below.to_vec();
        let own = changes.bytes();
        for sector in 0..u64_of(own.len()) / 512 {
            let block = sector / 4096;
            let present = changes.map.meets(rootvol::BlockIndex(block * 4), 4) == Some(rootvol::layout::RunKind::Filled);
            if present && has(sector) {
                let at = usize_of(sector * 512);
                bytes[at..at + 512].copy_from_slice(&own[at..at + 512]);
            }
        }
        bytes
    }

    struct Chain {
        _folder: tempfile::TempDir,
        /// From the bottom up.
        files: Vec<PathBuf>,
        expected: Vec<Vec<u8>>,
    }

    /// A disk with `levels` differencing disks above it, which have single sectors.
    fn chain(base_format: Format, levels: u64) -> Chain {
        chain_of(base_format, levels, 1)
    }

    /// The same, with runs of `grain` sectors.
    fn chain_of(base_format: Format, levels: u64, grain: u64) -> Chain {
        let folder = tempfile::tempdir().unwrap();
        let size = 11 * MIB + 512;
        let base = Synthetic::new(size, 1);
        let mut files = vec![folder.path().join("0")];
        write(&base, base_format, &files[0], "base");
        let mut expected = vec![base.bytes()];
        for level in 1..=levels {
            let path = folder.path().join(level.to_string());
            let changes = Synthetic::new(size, level + 10);
            let has = |sector: u64| mixed(sector / grain * 3 + level).is_multiple_of(3) || sector / 200 % 7 == level % 7;
            differencing(&changes, &path, &format!("child {level}"), files.last().unwrap(), has);
            expected.push(over(expected.last().unwrap(), &changes, has));
            files.push(path);
        }
        Chain { _folder: folder, files, expected }
    }

    #[test]
    fn r20_r24_differencing_disks_read_through_the_parents_that_are_given() {
        for (base, levels) in [(Format::Vhd, 1), (Format::VhdFixed, 1), (Format::Vhd, 3), (Format::VhdFixed, 8)] {
            let chain = chain(base, levels);
            let (parents, child) = chain.files.split_at(usize_of(levels));
            // In any order.
            let mut shuffled: Vec<&PathBuf> = parents.iter().collect();
            shuffled.rotate_left(1);
            let opened = format::open_with(&child[0], &vhd_parents(&shuffled)).unwrap();
            assert_eq!(opened.wrapping(), format::Wrapping::Differencing);
            let image = rootvol::source::DiskImage::open(&child[0], &vhd_parents(&shuffled)).unwrap();
            let linted = rootvol::lint::lint_image(&image, &rootvol::lint::LintOptions::default()).unwrap();
            assert!(linted.findings.iter().any(|finding| finding.rule.id == "differencing-vhd"), "{linted}");
            let expected = chain.expected.last().unwrap();
            assert!(all(&*opened) == *expected, "{base} with {levels} above it");
            assert!(expected != &chain.expected[0]);
            for number in 0..200 {
                let from = mixed(number) % (opened.size_bytes() - 5000);
                let mut out = vec![0; usize_of(mixed(number + 1000) % 5000)];
                opened.read_exact_at(from, &mut out).unwrap();
                assert!(out == expected[usize_of(from)..][..out.len()], "{} bytes at {from}", out.len());
            }
            // What is not said to be stored is zero.
            let mut at = 0;
            while at < opened.size_bytes() {
                let next = opened.stored_after(at).unwrap();
                let end = next.as_ref().map_or(opened.size_bytes(), |range| range.start);
                assert!(expected[usize_of(at)..usize_of(end)].iter().all(|byte| *byte == 0), "{at}..{end}");
                at = next.map_or(u64::MAX, |range| range.end);
            }
        }
    }

    /// libvhdi, which reads differencing disks, unlike qemu-img, to which their parents are zeros.
    const LIBVHDI: &str = "
import pyvhdi, sys
below = None
for path in sys.argv[1:]:
    file = pyvhdi.file()
    file.open(path)
    if below is not None:
        file.set_parent(below)
    below = file
sys.stdout.buffer.write(file.read_buffer_at_offset(file.get_media_size(), 0))
";

    #[test]
    fn libvhdi_reads_the_same_through_the_same_parents() {
        let Some(python) = common::lab("venv/bin/python") else { return };
        if !Command::new(&python).args(["-c", "import pyvhdi"]).output().unwrap().status.success() {
            return common::skip("pyvhdi (libvhdi-python) is not installed");
        }
        for (base, levels) in [(Format::Vhd, 0), (Format::VhdFixed, 0), (Format::Vhd, 1), (Format::VhdFixed, 3)] {
            // libvhdi 20260901 takes the sectors behind the first one in a byte of the bitmap for present whatever their bits say; so
            // each byte is all ones or all zeros here, as Hyper-V writes them.
            let chain = chain_of(base, levels, 8);
            let theirs = succeed(Command::new(&python).args(["-c", LIBVHDI]).args(&chain.files)).stdout;
            assert!(theirs == *chain.expected.last().unwrap(), "{base} with {levels} above it");
        }
    }

    #[test]
    fn r20_parents_that_are_missing_wrong_or_too_many_are_refused_and_nothing_is_guessed() {
        let chain = chain(Format::Vhd, 2);
        let [base, middle, top] = [0, 1, 2].map(|level| &chain.files[level]);
        let other = chain.files[0].with_file_name("other");
        write(&Synthetic::new(11 * MIB + 512, 9), Format::Vhd, &other, "other");
        let short = chain.files[0].with_file_name("short");
        fs::copy(base, &short).unwrap();
        let mut bytes = fs::read(&short).unwrap();
        set_footer(&mut bytes, &[(48, &(10 * MIB).to_be_bytes())]);
        fs::write(&short, bytes).unwrap();
        let copy = chain.files[0].with_file_name("copy");
        fs::copy(base, &copy).unwrap();
        let raw = chain.files[0].with_file_name("raw");
        fs::write(&raw, vec![0; 4096]).unwrap();
        let loops = chain.files[0].with_file_name("loops");
        let mut bytes = fs::read(top).unwrap();
        let own = bytes[68..84].to_vec();
        bytes[512 + 40..512 + 56].copy_from_slice(&own);
        seal(&mut bytes, 512, 1024, 36);
        fs::write(&loops, bytes).unwrap();
        for (image, parents, wanted) in [
            (top, vec![], "../../etc/shadow"),
            (top, vec![middle], "give that with --vhd-parent"),
            (top, vec![base], "give that with --vhd-parent"),
            (top, vec![middle, &other], "give that with --vhd-parent"),
            (top, vec![middle, base, &other], "is not one of its parents"),
            (top, vec![middle, base, &copy], "have the identifier"),
            (top, vec![middle, base, top], "have the identifier"),
            (middle, vec![&short], "of 11534848 bytes, and its parent"),
            (middle, vec![&raw], "no VHD footer"),
            (&loops, vec![], "give that with --vhd-parent"),
            (&loops, vec![&loops], "have the identifier"),
            (base, vec![middle], "is not one of its parents"),
            (&raw, vec![base], "the parent of a VHD was given, and this is none"),
            (top, vec![&PathBuf::from("/nonexistent/parent")], "cannot open"),
        ] {
            let error = refusal(image, &vhd_parents(&parents)).to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        let nine = super::vhd::chain(Format::Vhd, 9);
        let parents: Vec<&PathBuf> = nine.files[..9].iter().collect();
        assert_eq!(refusal(&nine.files[9], &vhd_parents(&parents)).kind(), ErrorKind::LimitExceeded);
        // A parent that shrinks is noticed as the image itself would be.
        let opened = format::open_with(middle, &vhd_parents(&[base])).unwrap();
        opened.check_unchanged().unwrap();
        File::options().write(true).open(base).unwrap().set_len(100_000).unwrap();
        assert_eq!(opened.check_unchanged().unwrap_err().kind(), ErrorKind::SourceChanged);
    }

    #[test]
    fn r1_r23_cut_and_changed_differencing_disks_never_panic() {
        let chain = chain(Format::Vhd, 1);
        let path = chain.files[1].with_file_name("damaged");
        let whole = fs::read(&chain.files[1]).unwrap();
        let n = whole.len();
        for len in [0, 1, 511, 512, 513, n / 4, n / 2, n - 512] {
            fs::write(&path, &whole[..len]).unwrap();
            let error = format::open_with(&path, &vhd_parents(&[&chain.files[0]])).err();
            assert!(error.is_some(), "cut at {len}");
        }
        for number in 0..200 {
            let mut damaged = whole.clone();
            let at = usize_of(mixed(number) % 2600);
            damaged[at] ^= 1 << (mixed(number + 500) & 7);
            fs::write(&path, &damaged).unwrap();
            if let Ok(opened) = format::open_with(&path, &vhd_parents(&[&chain.files[0]])) {
                let _ = opened.read_exact_at(0, &mut vec![0; usize_of(opened.size_bytes().min(64 * MIB))]);
            }
        }
    }
}

mod unpacked {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut out = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ::zstd::encode_all(bytes, 1).unwrap()
    }

    type Packer = fn(&[u8]) -> Vec<u8>;
    const PACKERS: [(&str, Packer); 3] = [("gzip", gzip), ("zstd", zstd), ("xz", xz)];

    #[test]
    fn compressed_raw_images_read_by_position_and_zeros_take_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.packed");
        for size in [20 * MIB + 512, 64 * KIB, 64 * KIB + 1, 5, 0] {
            let mut disk = Synthetic::new(20 * MIB + 512, 3).bytes();
            disk.resize(usize_of(size), 0);
            for (name, pack) in PACKERS {
                fs::write(&path, pack(&disk)).unwrap();
                let opened = format::open(&path, None).unwrap();
                assert_eq!((opened.format(), opened.size_bytes()), (Format::Raw, size), "{name}");
                assert!(all(&*opened) == disk, "{name}, {size} bytes");
                assert!(opened.notes()[0].contains(name), "{:?}", opened.notes());
                for number in 0..100 {
                    let from = mixed(number) % (size + 1);
                    let mut out = vec![0xee; usize_of((mixed(number + 1000) % 300_000).min(size - from))];
                    opened.read_exact_at(from, &mut out).unwrap();
                    assert!(out == disk[usize_of(from)..][..out.len()], "{} bytes at {from}", out.len());
                }
                let (mut at, mut stored) = (0, 0);
                while let Some(range) = opened.stored_after(at).unwrap() {
                    assert!(range.start >= at && range.end > range.start && range.end <= size);
                    assert!(disk[usize_of(at)..usize_of(range.start)].iter().all(|byte| *byte == 0), "{name}");
                    stored += range.end - range.start;
                    at = range.end;
                }
                assert!(disk[usize_of(at)..].iter().all(|byte| *byte == 0));
                assert!(size < MIB || stored < size, "{name}: nothing was left out");
                assert!(opened.read_exact_at(size, &mut [0]).is_err());
                // As it is, where it is said to be the disk.
                assert_eq!(format::open(&path, Some(Format::Raw)).unwrap().size_bytes(), fs::metadata(&path).unwrap().len());
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a spool file was left");
    }

    #[test]
    fn r19_cut_and_damaged_streams_are_errors_and_never_shorter_disks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packed");
        let disk = Synthetic::new(300 * KIB, 3).bytes();
        for (name, pack) in PACKERS {
            let packed = pack(&disk);
            let n = packed.len();
            for len in [3, 17, 511, 512, 513, n / 4, n / 2, n - 512, n - 1] {
                // The first bytes still tell what it is.
                if len < 6 {
                    continue;
                }
                fs::write(&path, &packed[..len]).unwrap();
                let error = refusal(&path, &OpenOptions::default());
                assert!(error.kind() == ErrorKind::Corrupt, "{name} cut at {len}: {error}");
            }
            for number in 0..200 {
                let mut damaged = packed.clone();
                let at = 6 + usize_of(mixed(number)) % (n - 6);
                damaged[at] ^= 1 << (mixed(number + 7) & 7);
                fs::write(&path, &damaged).unwrap();
                // zstd without a checksum notices less; what is read has its size.
                if let Ok(opened) = format::open(&path, None) {
                    let _ = opened.read_exact_at(0, &mut vec![0; usize_of(opened.size_bytes().min(64 * MIB))]);
                    assert!(name == "zstd" || all(&*opened) == disk, "{name}: bit {number} went unnoticed");
                }
            }
            fs::write(&path, [&packed[..], b"garbage"].concat()).unwrap();
            assert_eq!(refusal(&path, &OpenOptions::default()).kind(), ErrorKind::Corrupt, "{name} with something behind it");
        }
    }

    #[test]
    fn r5_bombs_end_at_a_limit_and_containers_inside_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packed");
        fs::write(&path, zstd(&vec![0; usize_of(100 * MIB)])).unwrap();
        let error = refusal(&path, &OpenOptions::default());
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        fs::write(&path, gzip(&vec![1; usize_of(2 * MIB)])).unwrap();
        let mut options = OpenOptions::default();
        options.limits.decompressed_bytes = MIB;
        assert_eq!(refusal(&path, &options).kind(), ErrorKind::LimitExceeded);
        let vhd = folder.path().join("vhd");
        for format in [Format::Vhd, Format::VhdFixed] {
            write(&Synthetic::new(3 * MIB, 1), format, &vhd, "a");
            fs::write(&path, gzip(&fs::read(&vhd).unwrap())).unwrap();
            let error = refusal(&path, &OpenOptions::default()).to_string();
            assert!(error.contains("a VHD compressed with gzip"), "{error}");
        }
        fs::write(&path, gzip(&zstd(b"twice"))).unwrap();
        assert_eq!(all(&*format::open(&path, None).unwrap()), zstd(b"twice"), "unpacked once: what is inside is the disk");
    }

    #[test]
    fn the_command_takes_compressed_images_and_parents() {
        let folder = tempfile::tempdir().unwrap();
        let [raw, packed, spool] = ["image.raw", "image.raw.zst", "spool"].map(|name| folder.path().join(name));
        let disk = Synthetic::new(9 * MIB, 1);
        write(&disk, Format::Raw, &raw, "a");
        fs::write(&packed, zstd(&fs::read(&raw).unwrap())).unwrap();
        fs::create_dir(&spool).unwrap();
        let command = || Command::new(env!("CARGO_BIN_EXE_rootvol"));
        let of = |image: &Path| succeed(command().args(["checksum", "--quiet", "--spool-dir"]).arg(&spool).arg(image)).stdout;
        assert_eq!(of(&raw), of(&packed));
        let failed = command().args(["checksum", "--vhd-parent"]).args([&raw, &packed]).output().unwrap();
        assert!(String::from_utf8_lossy(&failed.stderr).contains("the parent of a VHD was given"), "{failed:?}");
        let piped = command().args(["checksum", "-"]).stdin(File::open(&packed).unwrap()).output().unwrap();
        assert_eq!(piped.status.code(), Some(2), "{piped:?}");
        assert!(String::from_utf8_lossy(&piped.stderr).contains("begins like zstd"), "{piped:?}");
    }
}

#[test]
fn r21_what_looks_like_another_container_is_refused_by_name_unless_it_is_said_to_be_raw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let check = |wanted: &str| {
        let error = refusal(&path, &OpenOptions::default());
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(wanted), "{wanted}: {error}");
        assert!(error.to_string().contains("--input-format raw"), "{error}");
        let as_raw = format::open(&path, Some(Format::Raw)).unwrap();
        assert!(all(&*as_raw) == fs::read(&path).unwrap());
    };
    if judge("qemu-img").is_some() {
        for (format, wanted) in [
            ("qcow2", "a qcow2 image"),
            ("vmdk", "a VMDK image"),
            ("vhdx", "a VHDX image"),
            ("vdi", "a VDI image"),
            ("qed", "a QED image"),
            ("parallels", "a Parallels image"),
        ] {
            let _ = fs::remove_file(&path);
            succeed(judge("qemu-img").unwrap().args(["create", "-q", "-f", format]).arg(&path).arg("4M"));
            check(wanted);
        }
        // The descriptor of a VMDK names files of the host; it is not read.
        let _ = fs::remove_file(&path);
        succeed(judge("qemu-img").unwrap().args(["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat"]).arg(&path).arg("4M"));
        check("a VMDK descriptor");
    }
    let mut dmg = vec![0; 4096];
    dmg[4096 - 512..4096 - 508].copy_from_slice(b"koly");
    let mut ova = vec![0; 4096];
    ova[257..262].copy_from_slice(b"ustar");
    for (bytes, wanted) in
        [(dmg, "an Apple disk image"), (ova, "a tar"), (b"PK\x03\x04 and so on".to_vec(), "a zip"), (b"BZh91AY".to_vec(), "bzip2"), (b"COWD".to_vec(), "VMDK")]
    {
        fs::write(&path, bytes).unwrap();
        check(wanted);
    }
    // A disk that is only like a disk stays one.
    for bytes in [vec![0; 4096], vec![0xeb, 0x63, 0x90], b"QFI".to_vec(), Vec::new()] {
        fs::write(&path, &bytes).unwrap();
        assert!(all(&*format::open(&path, None).unwrap()) == bytes);
    }
}
