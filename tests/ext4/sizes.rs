//! Sizes: exact ones, minimal ones, large ones, and what the superblock says of them.

use crate::common::judge;
use crate::image::{Image, dumpe2fs, e2fsck, options, refusal};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, empty, everything, metadata, one_file};
use rootvol::content::Contents;
use rootvol::fs::ext4::{Journal, Percent, SizeRequest, plan, probe};
use rootvol::layout::{AllocationMap, Layout, SegmentSource, fill, segments};
use rootvol::{ContentId, ErrorKind};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

#[test]
fn exact_sizes_with_and_without_partial_last_groups_pass_e2fsck() {
    let sample = one_file(100_000);
    let group = 128 * MIB;
    for size in [
        4 * MIB,
        8 * MIB,
        64 * MIB,
        group,
        group + 4096,
        group + MIB,
        group + 20 * MIB,
        3 * group - 4096,
        GIB - 1,
        GIB,
        16 * group,
        16 * group + 4 * MIB,
        17 * group,
        17 * group + 30 * MIB,
    ] {
        let mut options = options(SizeRequest::Exact(size));
        if size < 8 * MIB {
            options.journal = Journal::None;
        }
        let image = Image::make_metadata(&sample, &options);
        assert_eq!(image.layout.size_bytes(), size);
        image.check();
    }
}

#[test]
fn large_filesystems_pass_e2fsck() {
    let sample = one_file(300 * MIB);
    for size in [10 * GIB, 200 * GIB, 2 * TIB] {
        let mut options = options(SizeRequest::Exact(size));
        // e2fsck reads every table that is in use; few inodes keep the test short.
        options.bytes_per_inode = Some(1 << 20);
        let image = Image::make_metadata(&sample, &options);
        image.check();
    }
}

/// What mke2fs says of the same size, less what is its own.
fn mke2fs(size: u64, arguments: &[&str]) -> Option<BTreeMap<String, String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    let output = judge("mke2fs")?
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-i", "16384", "-E", "lazy_itable_init=1"])
        .args(arguments)
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    Some(dumpe2fs(file.path())?.into_iter().collect())
}

#[test]
fn the_superblock_says_what_mke2fs_s_says() {
    let sample = empty();
    for size in [4 * MIB, 64 * MIB, 200 * MIB, GIB, 10 * GIB, 100 * GIB, TIB] {
        let image = Image::make_metadata(&sample, &options(SizeRequest::Exact(size)));
        let (Some(ours), Some(theirs)) = (image.dumpe2fs(), mke2fs(size, &[])) else { return };
        let ours: BTreeMap<String, String> = ours.into_iter().collect();
        // What is not compared: what names, dates or counts the making itself, and free blocks, since the bitmaps of a last
        // flexible group lie closer here.
        let own = [
            "Filesystem volume name",
            "Filesystem UUID",
            "Filesystem created",
            "Last write time",
            "Last checked",
            "Directory Hash Seed",
            "Lifetime writes",
            "Checksum",
            "Journal checksum",
            "Free blocks",
            "Overhead clusters",
        ];
        for (name, value) in theirs.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            if size < 64 * MIB && ["Inode count", "Free inodes", "Inodes per group", "Inode blocks per group"].contains(&name.as_str()) {
                continue;
            }
            assert_eq!(ours.get(name), Some(value), "{name} of {size} bytes");
        }
        if size >= 64 * MIB {
            // The journal lies behind the first groups' metadata, so that of 512 MiB is parted by backups and needs a node of extents.
            let tree = u64::from(size == 100 * GIB);
            let free = |fields: &BTreeMap<String, String>| fields["Free blocks"].parse::<u64>().unwrap();
            assert_eq!(free(&ours) + tree, free(&theirs), "{size}");
            assert_eq!(ours["Overhead clusters"], theirs["Overhead clusters"], "{size}");
        }
    }
}

#[test]
fn the_summary_says_what_dumpe2fs_and_the_probe_say() {
    let image = Image::make(&everything(), &options(SizeRequest::Exact(64 * MIB + 5000)));
    let summary = image.layout.summary();
    let probed = probe(|at, out| {
        image.file.as_file().read_exact_at(out, at).unwrap();
        Ok(())
    })
    .unwrap()
    .unwrap();
    assert_eq!((&probed.kind, &probed.label, &probed.uuid), (&summary.kind, &summary.label, &summary.uuid));
    assert_eq!((probed.size_bytes, probed.used_bytes, probed.free_bytes), (summary.size_bytes, summary.used_bytes, summary.free_bytes));
    assert_eq!((probed.inodes, probed.free_inodes), (summary.inodes, summary.free_inodes));
    assert_eq!(summary.parts.iter().map(|part| part.bytes).sum::<u64>(), summary.used_bytes, "{summary:?}");
    if let Some(fields) = image.dumpe2fs() {
        let fields: BTreeMap<String, String> = fields.into_iter().collect();
        assert_eq!(fields["Free blocks"], (summary.free_bytes / 4096).to_string());
        assert_eq!(fields["Block count"], (summary.size_bytes / 4096).to_string());
        assert_eq!(fields["Free inodes"], summary.free_inodes.unwrap().to_string());
    }
    // A flipped bit, and something else altogether.
    let damaged = probe(|at, out| {
        image.file.as_file().read_exact_at(out, at).unwrap();
        out[100] ^= 1;
        Ok(())
    });
    assert_eq!(damaged.unwrap_err().kind(), ErrorKind::Corrupt);
    let nothing = probe(|_, out| {
        out.fill(0);
        Ok(())
    });
    assert_eq!(nothing.unwrap(), None);
}

#[test]
fn minimal_filesystems_are_tight() {
    for sample in [empty(), everything(), one_file(123 * MIB), one_file(700 * MIB)] {
        for (free_bytes, journal, reserved) in
            [(0, Journal::Auto, 5), (0, Journal::None, 0), (1, Journal::Auto, 5), (50 * MIB, Journal::Auto, 0), (300 * MIB, Journal::Auto, 5)]
        {
            let mut options = options(SizeRequest::Minimum { free_bytes });
            options.journal = journal;
            options.reserved = Percent::whole(reserved);
            let image = Image::make_metadata(&sample, &options);
            image.check();
            let summary = image.layout.summary();
            assert!(image.layout.available_bytes() >= free_bytes);
            let size = image.layout.size_bytes();
            assert_eq!(summary.size_bytes, size);
            // The exact size gives the same; one block less does not hold it.
            options.size = SizeRequest::ExactWithFree { size_bytes: size, free_bytes };
            assert_eq!(plan(Arc::clone(&sample.tree), &options).unwrap().summary(), summary);
            options.size = SizeRequest::ExactWithFree { size_bytes: size - 4096, free_bytes };
            match plan(Arc::clone(&sample.tree), &options) {
                Err(error) => {
                    let ErrorKind::TooSmall { needed, available } = error.kind() else { panic!("{error}") };
                    assert!(needed >= size && available == size - 4096, "{error}");
                }
                // Only with a journal smaller than mke2fs's.
                Ok(layout) => assert!(journal == Journal::Auto && journal_bytes(&layout.summary()) < journal_bytes(&summary), "{:?}", layout.summary()),
            }
        }
    }
}

fn journal_bytes(summary: &rootvol::report::FilesystemSummary) -> u64 {
    summary.parts.iter().find(|part| part.what == "journal").map_or(0, |part| part.bytes)
}

#[test]
fn every_size_from_the_minimum_on_holds_the_tree() {
    let sample = one_file(240 * MIB);
    let free_bytes = 3 * MIB;
    let size = plan(Arc::clone(&sample.tree), &options(SizeRequest::Minimum { free_bytes })).unwrap().size_bytes();
    let blocks = (0..4000).chain((4000..400_000).step_by(997));
    for more in blocks {
        let size_bytes = size + more * 4096;
        let layout = plan(Arc::clone(&sample.tree), &options(SizeRequest::ExactWithFree { size_bytes, free_bytes }))
            .unwrap_or_else(|error| panic!("{more} blocks more than the minimum: {error}"));
        assert!(layout.available_bytes() >= free_bytes);
    }
}

#[test]
fn too_small_a_size_says_what_takes_the_space() {
    let sample = one_file(40 * MIB);
    let (kind, text) = refusal(&sample, &options(SizeRequest::Exact(20 * MIB)));
    let ErrorKind::TooSmall { needed, available } = kind else { panic!("{kind:?}") };
    assert_eq!(available, 20 * MIB);
    assert!(text.contains("file contents 40 MiB") && text.contains("inode tables") && text.contains("journal 4 MiB"), "{text}");
    let image = Image::make(&sample, &options(SizeRequest::Exact(needed)));
    image.check();
    for size in [0, 1, 1024, 4096, 40_960] {
        assert!(matches!(refusal(&sample, &options(SizeRequest::Exact(size))).0, ErrorKind::TooSmall { .. }));
        let mut bare = options(SizeRequest::Exact(size));
        bare.journal = Journal::None;
        assert!(matches!(refusal(&empty(), &bare).0, ErrorKind::TooSmall { .. }));
    }
    assert_eq!(refusal(&sample, &options(SizeRequest::Exact(u64::MAX))).0, ErrorKind::LimitExceeded);
    assert_eq!(refusal(&sample, &options(SizeRequest::Minimum { free_bytes: u64::MAX })).0, ErrorKind::LimitExceeded);
}

#[test]
fn a_disk_of_a_tebibyte_costs_little_more_than_a_small_one() {
    let mut maker = Maker::default();
    for n in 0..20_000 {
        maker.file(format!("{}/{n}", n / 100), metadata(0o644), n % 20_000);
    }
    let sample = maker.finish();
    let time = |size: u64| {
        let start = Instant::now();
        let layout = plan(Arc::clone(&sample.tree), &options(SizeRequest::Exact(size))).unwrap();
        let runs = AllocationMap::of(&layout).runs().len();
        (start.elapsed(), runs)
    };
    let (small, _) = time(2 * GIB);
    let (large, runs) = time(TIB);
    eprintln!("plan and allocation map: 2 GiB {small:?}, 1 TiB {large:?}, {runs} runs");
    let (huge, _) = time(64 * TIB);
    eprintln!("64 TiB {huge:?}");
    assert!(large.as_millis() < 2000 && huge.as_millis() < 20_000, "{large:?} {huge:?}");
}

#[test]
fn large_filesystems_store_no_more_than_those_of_mke2fs() {
    let metadata = |size: u64| {
        let layout = plan(Arc::clone(&empty().tree), &options(SizeRequest::Exact(size))).unwrap();
        let stored = segments(&layout, 0..size).filter(|segment| segment.source == SegmentSource::Metadata);
        (stored.map(|segment| segment.range.end - segment.range.start).sum::<u64>(), layout.summary())
    };
    let size = 8 * TIB;
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    if let Some(mut mke2fs) = judge("mke2fs") {
        let output = mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=1,lazy_journal_init=1"]).arg(file.path()).output().unwrap();
        assert!(output.status.success());
        let theirs = std::os::unix::fs::MetadataExt::blocks(&file.as_file().metadata().unwrap()) * 512;
        let (ours, _) = metadata(size);
        eprintln!("8 TiB: {ours} bytes of metadata, mke2fs stores {theirs}");
        assert!(ours <= theirs, "{ours} {theirs}");
    }
    let (largest, summary) = metadata(64 * TIB);
    // The descriptors of 524,288 groups are 32 MiB, in 28 copies.
    assert!(largest < 28 * 33 * MIB + 300 * MIB, "{largest}");
    assert_eq!((summary.size_bytes, summary.inodes), (64 * TIB, Some(1 << 30)));
    // Over 2^32 blocks there is no resize_inode, and inodes stay under 2^32.
    assert!(!summary.features.unwrap().contains("resize_inode"));
    let mut many = options(SizeRequest::Exact(64 * TIB));
    many.bytes_per_inode = Some(1024);
    let inodes = plan(Arc::clone(&empty().tree), &many).unwrap().summary().inodes.unwrap();
    assert!((1 << 32) - (1 << 24) < inodes && inodes < 1 << 32, "{inodes}");
}

#[test]
fn tables_and_the_journal_are_zeros_and_free_blocks_are_unused() {
    struct Nothing;
    impl Contents for Nothing {
        fn read_exact_at(&self, _: ContentId, _: u64, _: &mut [u8]) -> rootvol::Result<()> {
            panic!("an empty tree has no contents");
        }
    }
    let layout = plan(Arc::clone(&empty().tree), &options(SizeRequest::Exact(GIB))).unwrap();
    let mut sums = [0_u64; 2];
    for segment in segments(&layout, 0..layout.size_bytes()) {
        sums[usize::from(segment.source == SegmentSource::Zeros)] += segment.range.end - segment.range.start;
    }
    let mut block = vec![0; 4096];
    fill(&layout, &Nothing, 0, &mut block).unwrap();
    let tables = 8 * 512 * 4096;
    let journal = 8192 * 4096;
    assert_eq!(sums[1], tables - 11 * 256 + journal - 4096);
    assert!(sums[0] < 2 * MIB, "{}", sums[0]);
    let mut lazy = options(SizeRequest::Exact(GIB));
    lazy.lazy_inode_tables = true;
    let layout = plan(Arc::clone(&empty().tree), &lazy).unwrap();
    let zeros: u64 =
        segments(&layout, 0..GIB).filter(|segment| segment.source == SegmentSource::Zeros).map(|segment| segment.range.end - segment.range.start).sum();
    assert_eq!(zeros, 512 * 4096 - 11 * 256 + journal - 4096);
}

#[test]
fn resize2fs_grows_it_and_shrinks_it_to_about_the_minimum() {
    let sample = everything();
    for grown in [GIB, 20 * GIB] {
        let image = Image::make(&sample, &options(SizeRequest::Exact(200 * MIB)));
        let Some(mut command) = judge("resize2fs") else { return };
        image.file.as_file().set_len(grown).unwrap();
        let output = command.arg(image.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        e2fsck(image.path());
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare(mounted.path(), &sample);
        }
    }
    // The smallest that resize2fs makes of a filesystem of the same contents, journal and ratio of inodes.
    for sample in [one_file(700 * MIB), everything()] {
        let minimum = plan(Arc::clone(&sample.tree), &options(SizeRequest::Minimum { free_bytes: 0 })).unwrap();
        let mut larger = options(SizeRequest::Exact(minimum.size_bytes() * 2));
        larger.journal = Journal::Bytes(journal_bytes(&minimum.summary()).max(4 * MIB));
        let image = Image::make_metadata(&sample, &larger);
        let Some(mut command) = judge("resize2fs") else { return };
        let output = command.arg("-M").arg(image.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        e2fsck(image.path());
        let fields: BTreeMap<String, String> = image.dumpe2fs().unwrap().into_iter().collect();
        let theirs = fields["Block count"].parse::<u64>().unwrap() * 4096;
        eprintln!("minimum {}, resize2fs -M {theirs}", minimum.size_bytes());
        assert!(minimum.size_bytes() <= theirs + theirs / 50, "{} {theirs}", minimum.size_bytes());
    }
}
