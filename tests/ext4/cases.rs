//! Trees and what a filesystem makes of them.

use crate::common::judge;
use crate::image::{EPOCH, Image, e2fsck, options, refusal};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, empty, everything, metadata};
use rootvol::ErrorKind;
use rootvol::fs::ext4::{Options, Packing, SizeRequest, plan};
use rootvol::layout::{Layout, fill};
use rootvol::tree::{Metadata, NewNode, Timestamp};
use sha2::{Digest, Sha256};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// What blocks of 1 and 2 KiB do not hold.
const ONLY_IN_LARGE_BLOCKS: [&[u8]; 4] = [b"xattrs/block-full", b"xattrs/both-full", b"links/symbolic-4095", b"holes/largest"];

#[test]
fn r28_a_tree_of_everything_passes_e2fsck_in_every_block_and_inode_size() {
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
    let sample = crate::sample::without(&everything(), |path| ONLY_IN_LARGE_BLOCKS.contains(&path));
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
        [(1024, 1000, 20, 0), (4096, 20_000, 20, 0), (4096, 30_000, 200, 1), (1024, 40_000, 20, 1), (1024, 100_000, 150, 2)]
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

/// Names of ten bytes in blocks of 1 KiB need an index with one level more than filesystems without large_dir have.
#[test]
fn a_million_entries_in_one_directory_are_all_found() {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    for n in 0..1_000_000 {
        maker.add(format!("d/{n:010}"), metadata(0o600), NewNode::Fifo);
    }
    let sample = maker.finish();
    for (block_bytes, levels) in [(4096, 1), (1024, 2)] {
        let mut options = options(SizeRequest::Minimum { free_bytes: 20 * MIB });
        options.block_bytes = block_bytes;
        let image = Image::make_sparse(&sample, &options);
        image.check();
        if let Some(text) = image.debugfs("htree_dump /d") {
            assert!(text.contains(&format!("Indirect levels: {levels}")), "{}", &text[..500]);
        }
        if let Some(mounted) = Mounted::new(image.path(), "rw") {
            let folder = mounted.path().join("d");
            for n in 0..1_000_000 {
                let name = format!("{n:010}");
                assert!(rustix::fs::lstat(folder.join(&name)).is_ok_and(|found| found.st_nlink == 1), "{name}");
            }
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1_000_000);
            std::fs::write(folder.join("one more"), b"").unwrap();
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

/// Renewing a digest is a decision: old images are no longer made the same. Say why in the commit.
#[test]
fn r9_the_same_tree_gives_the_same_bytes_on_every_machine() {
    let sample = everything();
    for (block_bytes, packing, pinned) in [
        (4096, Packing::Stable, "927881b6d5a99765f84503a412064a5ae0f0ee4dfa4730b559665fc91425b612"),
        (1024, Packing::Stable, "f2f81849bee5caaf0d161b600d5c6f3b7b222e19fc2669f64fec74d92d08809f"),
        (4096, Packing::Dense, "9d5a313973612cf096f5e74134d54478d61f7d3e719d2a75770b4eb4a4b71ead"),
        (1024, Packing::Dense, "1c4a7ffe8ddd423d1db865b139b4aabbe09642c69ed6e7d13cdb830c6495b1ff"),
    ] {
        let sample = crate::sample::without(&sample, |path| block_bytes == 1024 && ONLY_IN_LARGE_BLOCKS.contains(&path));
        let mut options = options(SizeRequest::Exact(64 * MIB));
        (options.block_bytes, options.packing) = (block_bytes, packing);
        let layout = plan(Arc::clone(&sample.tree), &options).unwrap();
        let mut whole = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
        fill(&layout, &*sample.contents, 0, &mut whole).unwrap();
        let digest: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, pinned, "blocks of {block_bytes}: {:#?}", layout.summary());
    }
}
