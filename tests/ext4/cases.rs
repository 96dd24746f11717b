use crate::common::judge;
use crate::image::{EPOCH, Image, dumpe2fs, e2fsck, options, refusal};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, Sample, everything, metadata};
use rootvol::content::Contents;
use rootvol::fs::ext4::{Journal, Options, Percent, SizeRequest, plan, probe};
use rootvol::layout::{AllocationMap, Layout, SegmentSource, fill, segments};
use rootvol::tree::{Metadata, NewNode, Timestamp};
use rootvol::{ContentId, ErrorKind};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

fn empty() -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    maker.finish()
}

fn one_file(length: u64) -> Sample {
    let mut maker = Maker::default();
    maker.file("file", metadata(0o644), length);
    maker.finish()
}

#[test]
fn a_tree_of_everything_passes_e2fsck_in_every_block_and_inode_size() {
    let sample = everything();
    for (block_bytes, inode_bytes) in [(4096, 256), (4096, 512), (4096, 1024)] {
        for size in [SizeRequest::Minimum { free_bytes: 0 }, SizeRequest::Exact(64 * MIB), SizeRequest::Exact(300 * MIB + 12_345)] {
            let mut options = options(size);
            options.block_bytes = block_bytes;
            options.inode_bytes = inode_bytes;
            let image = Image::make(&sample, &options);
            image.check();
        }
    }
}

#[test]
fn small_blocks_pass_e2fsck_and_the_kernel() {
    // What only blocks of 4 KiB hold is left out.
    let sample = crate::sample::without(&everything(), |path| {
        [&b"xattrs/block-full"[..], b"xattrs/both-full", b"links/symbolic-4095", b"holes/largest"].contains(&path)
    });
    for block_bytes in [1024, 2048] {
        for size in [SizeRequest::Minimum { free_bytes: 0 }, SizeRequest::Exact(100 * MIB)] {
            let mut options = options(size);
            options.block_bytes = block_bytes;
            let image = Image::make(&sample, &options);
            image.check();
            if let Some(mounted) = Mounted::new(image.path(), "ro") {
                compare(mounted.path(), &sample);
            }
        }
    }
}

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
        let image = Image::make_sparse(&sample, &options);
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
        let image = Image::make_sparse(&sample, &options);
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
        let image = Image::make_sparse(&sample, &options(SizeRequest::Exact(size)));
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
            let image = Image::make_sparse(&sample, &options);
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

fn refused(make: impl FnOnce(&mut Maker), change: impl FnOnce(&mut Options), words: &[&str]) {
    let mut maker = Maker::default();
    make(&mut maker);
    let mut options = options(SizeRequest::Minimum { free_bytes: 0 });
    change(&mut options);
    let (kind, text) = refusal(&maker.finish(), &options);
    assert!(matches!(kind, ErrorKind::LimitExceeded | ErrorKind::Unsupported | ErrorKind::Corrupt), "{kind:?}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn what_ext4_cannot_hold_is_refused_with_path_and_limit() {
    let long = vec![b'x'; 4096];
    refused(|maker| maker.add("d/link", metadata(0o777), NewNode::Symlink(&long)), |_| (), &["d/link", "4096", "4095"]);
    refused(|maker| maker.add("link", metadata(0o777), NewNode::Symlink(&long[..1024])), |options| options.block_bytes = 1024, &["link", "1023"]);
    refused(|maker| maker.file_with("huge", metadata(0o644), (1 << 44) - 4095, Some(vec![])), |_| (), &["huge", "17592186040320"]);
    for seconds in [-(1_i64 << 31) - 1, (1_i64 << 31) + (3 << 32), i64::MAX, i64::MIN] {
        let time = Metadata { mtime: Timestamp::from_seconds(seconds), ..metadata(0o644) };
        refused(|maker| maker.file("when", time, 1), |_| (), &["when", "1901", "2446"]);
    }
    let xattr = |name: &'static str, value: Vec<u8>| {
        move |maker: &mut Maker| {
            let with = maker.with_xattrs(metadata(0o644), &[(name, value)]);
            maker.file("dir/with", with, 1);
        }
    };
    refused(xattr("user.large", vec![1; 5000]), |_| (), &["dir/with", "user.large", "4060"]);
    refused(xattr("lustre.x", vec![1]), |_| (), &["dir/with", "lustre.x"]);
    refused(xattr("system.posix_acl_access", vec![1]), |_| (), &["dir/with", "system.posix_acl_access"]);
    refused(|maker| maker.file("a", metadata(0o644), 1), |options| options.inodes = Some(11), &["12", "11"]);
}

#[test]
fn hard_links_are_held_to_the_limit_and_no_further() {
    let make = |links: u32| {
        let mut maker = Maker::default();
        maker.file("f0", metadata(0o644), 1);
        for n in 1..links {
            maker.builder.link(format!("d{}/f{n}", n % 100), "f0").unwrap();
        }
        maker.finish()
    };
    let image = Image::make(&make(65_000), &options(SizeRequest::Minimum { free_bytes: 0 }));
    image.check();
    let (kind, text) = refusal(&make(65_001), &options(SizeRequest::Minimum { free_bytes: 0 }));
    assert_eq!(kind, ErrorKind::LimitExceeded);
    assert!(text.contains("65001") && text.contains("65000"), "{text}");
}

#[test]
fn directories_of_many_entries_and_of_many_subdirectories() {
    let mut maker = Maker::default();
    for n in 0..5000 {
        maker.file(format!("wide/a name that is long enough to fill blocks {n}"), metadata(0o644), n % 3);
    }
    let sample = maker.finish();
    let image = Image::make(&sample, &options(SizeRequest::Minimum { free_bytes: 0 }));
    image.check();
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), &sample);
    }
    if let Some(text) = image.debugfs("htree_dump /wide") {
        assert!(text.contains("Number of entries (count)") && text.contains("Indirect levels: 0"), "{text}");
    }
    // 2 + subdirectories links: 64,999 and 65,000 are counted, 65,001 are too many.
    for subdirectories in [64_997, 64_998, 64_999, 65_001] {
        let mut maker = Maker::default();
        for n in 0..subdirectories {
            maker.add(format!("d/{n}"), metadata(0o755), NewNode::Directory);
        }
        let image = Image::make_sparse(&maker.finish(), &options(SizeRequest::Minimum { free_bytes: 0 }));
        image.check();
    }
}

#[test]
fn directories_have_indexes_of_every_depth() {
    // (block size, entries, length of names, levels between root and leaves): the last one needs large_dir.
    for (block_bytes, entries, name_len, levels) in
        [(1024, 1000, 20, 0), (4096, 30_000, 20, 0), (4096, 30_000, 200, 1), (1024, 40_000, 20, 1), (1024, 100_000, 150, 2)]
    {
        let mut maker = Maker::default();
        maker.add("", metadata(0o755), NewNode::Directory);
        for n in 0..entries {
            maker.add(format!("d/{n:0name_len$}"), metadata(0o600), NewNode::Fifo);
        }
        let sample = maker.finish();
        let mut options = options(SizeRequest::Minimum { free_bytes: 20 * MIB });
        options.block_bytes = block_bytes;
        options.inodes = Some(u64::try_from(entries).unwrap() + 4000);
        let image = Image::make_sparse(&sample, &options);
        image.check();
        if let Some(fields) = image.dumpe2fs() {
            let features = fields.iter().find(|(name, _)| name == "Filesystem features").unwrap();
            assert_eq!(features.1.contains("large_dir"), levels > 1);
        }
        if let Some(text) = image.debugfs("htree_dump /d") {
            assert!(text.contains(&format!("Indirect levels: {levels}")), "{}", &text[..500]);
        }
        // The kernel looks up every name, adds some and removes some.
        if let Some(mounted) = Mounted::new(image.path(), "rw") {
            compare(mounted.path(), &sample);
            let folder = mounted.path().join("d");
            for n in 0..2000 {
                std::fs::write(folder.join(format!("new {n}")), b"").unwrap();
                std::fs::remove_file(folder.join(format!("{:0name_len$}", n * (entries / 2000).max(1) % entries))).ok();
            }
        }
        e2fsck(image.path());
    }
}

#[test]
fn deep_nesting_and_more_inodes_than_blocks() {
    let mut maker = Maker::default();
    let mut path = Vec::new();
    for n in 0..1000 {
        path.extend_from_slice(format!("d{n}/").as_bytes());
    }
    maker.file([&path[..], b"file"].concat(), metadata(0o644), 5);
    let image = Image::make(&maker.finish(), &options(SizeRequest::Minimum { free_bytes: 0 }));
    image.check();

    // 100,000 inodes need more bitmaps than the groups of so small a filesystem have: groups become smaller.
    let mut maker = Maker::default();
    for n in 0..100_000 {
        maker.file(format!("{}/{n}", n / 1000), metadata(0o644), 0);
    }
    let sample = maker.finish();
    for size in [SizeRequest::Minimum { free_bytes: 0 }, SizeRequest::Minimum { free_bytes: 20 * MIB }, SizeRequest::Exact(60 * MIB)] {
        let image = Image::make(&sample, &options(size));
        assert!(image.layout.size_bytes() < 100 * MIB, "{}", image.layout.size_bytes());
        image.check();
        if let Some(mounted) = Mounted::new(image.path(), "rw") {
            compare(mounted.path(), &sample);
            std::fs::write(mounted.path().join("more"), vec![1; 100_000]).ok();
        }
        e2fsck(image.path());
    }
}

#[test]
fn any_part_can_be_made_alone() {
    let sample = everything();
    let layout = plan(Arc::clone(&sample.tree), &options(SizeRequest::Exact(48 * MIB))).unwrap();
    let mut whole = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
    fill(&layout, &*sample.contents, 0, &mut whole).unwrap();
    for (start, len) in [(0, 1), (1000, 100), (1023, 2), (4095, 2), (1 << 20, 4096), (123_457, 999_999), (5 << 20, 300_001)] {
        let mut part = vec![7; len];
        fill(&layout, &*sample.contents, u64::try_from(start).unwrap(), &mut part).unwrap();
        assert!(part == whole[start..start + len], "{len} bytes from {start}");
    }
    let again = plan(Arc::clone(&sample.tree), &options(SizeRequest::Exact(48 * MIB))).unwrap();
    let mut second = vec![1; whole.len()];
    for (index, chunk) in second.chunks_mut(77_777).enumerate() {
        fill(&again, &*sample.contents, u64::try_from(index * 77_777).unwrap(), chunk).unwrap();
    }
    assert!(whole == second);
}

#[test]
fn backups_depend_on_the_size_alone_and_repair_the_filesystem() {
    let sample = everything();
    let size = SizeRequest::Exact(600 * MIB);
    let image = Image::make_sparse(&sample, &options(size));
    let other = Image::make_sparse(&empty(), &options(size));
    let backup = 32_768 * 4096;
    let (mut a, mut b) = (vec![0; 8192], vec![0; 8192]);
    image.file.as_file().read_exact_at(&mut a, backup).unwrap();
    other.file.as_file().read_exact_at(&mut b, backup).unwrap();
    assert!(a == b && a.iter().any(|byte| *byte != 0));
    let Some(mut command) = judge("e2fsck") else { return };
    // The primary superblock and descriptors are lost.
    image.file.as_file().write_all_at(&[0x55; 8192], 0).unwrap();
    let output = command.args(["-f", "-y", "-b", "32768"]).arg(image.path()).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 3), "{}", String::from_utf8_lossy(&output.stdout));
    e2fsck(image.path());
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), &sample);
    }
}

#[test]
fn times_of_the_filesystem_are_the_build_s_own() {
    let image = Image::make(&empty(), &options(SizeRequest::Exact(16 * MIB)));
    let Some(mounted) = Mounted::new(image.path(), "ro") else { return };
    let found = std::fs::metadata(mounted.path().join("lost+found")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&found), EPOCH);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&found), 0o40700);
}

#[test]
fn times_that_e2fsck_doubts_are_shown_right_by_the_kernel() {
    let mut maker = Maker::default();
    for (name, seconds) in [("2310", (1_i64 << 31) + (2 << 32)), ("2378", (3_i64 << 32) - 1)] {
        maker.file(name, Metadata { mtime: Timestamp { seconds, nanoseconds: 1 }, ..metadata(0o644) }, 1);
    }
    let sample = maker.finish();
    let image = Image::make(&sample, &options(SizeRequest::Exact(16 * MIB)));
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), &sample);
    }
}

#[test]
fn a_tree_with_its_own_lost_found_keeps_it() {
    for kind in [NewNode::Directory, NewNode::Fifo] {
        let mut maker = Maker::default();
        maker.add("a", metadata(0o700), NewNode::Directory);
        maker.add("lost+found", metadata(0o750), kind);
        if matches!(kind, NewNode::Directory) {
            maker.file("lost+found/#12", metadata(0o600), 9);
        }
        let sample = maker.finish();
        let image = Image::make(&sample, &options(SizeRequest::Exact(16 * MIB)));
        image.check();
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare(mounted.path(), &sample);
        }
    }
}

#[test]
fn debugfs_shows_inodes_extents_and_xattrs() {
    let image = Image::make(&everything(), &options(SizeRequest::Exact(64 * MIB)));
    for (request, expected) in [
        ("stat <8>", vec!["Type: regular", "Mode:  0600", "Size: 4194304", "(0-1023)"]),
        ("stat /links/symbolic-59", vec!["Fast link dest"]),
        ("stat /links/symbolic-60", vec!["(0):"]),
        ("stat /holes/comb", vec!["(ETB0)", "Size: 24576000"]),
        ("stat /times/2446", vec!["mtime: 0x7fffffff:ee6b27ff"]),
        ("ea_list /xattrs/many", vec!["security.capability", "security.selinux", "trusted.t", "user.u", "system.posix_acl_access"]),
        ("stat /dev/c-max", vec!["4095:1048575"]),
        ("stat /owners/all-ones", vec!["User:    -1", "Group:    -2"]),
        ("ls -l /lost+found", vec!["40700"]),
    ] {
        let Some(text) = image.debugfs(request) else { return };
        for word in expected {
            assert!(text.contains(word), "{request}: {word:?} is not in {text}");
        }
    }
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
        let image = Image::make_sparse(&sample, &larger);
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
