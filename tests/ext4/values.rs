//! Large values of xattrs, in inodes of their own (feature ea_inode).

use crate::image::{Image, e2fsck, options, refusal};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, Sample, acl, everything, metadata};
use rootvol::fs::ext4::{Feature, Features, Options, Packing, SizeRequest};
use rootvol::report::FilesystemSummary;
use rootvol::tree::NewNode;
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;
/// More inodes than share one block.
const SHARERS: usize = 1030;

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251 + seed * 97) % 256).unwrap()).collect()
}

/// Sets that need inodes for values with every block size, at every boundary.
fn large() -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    for len in [1, 68, 69, 900, 988, 989, 2012, 2013, 4040, 4041, 4096, 4097, 13_000, 65_535, 65_536] {
        let with = maker.with_xattrs(metadata(0o644), &[("user.a", bytes(1, len))]);
        maker.file(format!("one/{len}"), with, 10);
    }
    // Several large ones; equal ones in one set; many small ones that go one after the other.
    let label = ("security.selinux", b"system_u:object_r:etc_t:s0\0".to_vec());
    let with = maker.with_xattrs(metadata(0o644), &[label, ("user.a", bytes(1, 65_536)), ("user.b", bytes(2, 4000)), ("trusted.c", bytes(3, 20_000))]);
    maker.file("several", with, 5000);
    let with = maker.with_xattrs(metadata(0o644), &[("user.a", bytes(4, 9000)), ("user.b", bytes(4, 9000)), ("user.c", bytes(1, 13_000))]);
    maker.file("equal", with, 0);
    let names: Vec<String> = (0..25).map(|n| format!("user.number {n}")).collect();
    let list: Vec<(&str, Vec<u8>)> = names.iter().enumerate().map(|(n, name)| (name.as_str(), bytes(n, 150 + n * 10))).collect();
    let with = maker.with_xattrs(metadata(0o755), &list);
    maker.add("many", with, NewNode::Directory);
    let entries: Vec<(u16, u16, u32)> = [(1, 7, u32::MAX)]
        .into_iter()
        .chain((0..3000).map(|id| (2, 5, id * 3 + 1000)))
        .chain([(4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 5, u32::MAX)])
        .collect();
    let with = maker.with_xattrs(metadata(0o775), &[("system.posix_acl_access", acl(&entries)), ("system.posix_acl_default", acl(&entries))]);
    maker.add("acls", with, NewNode::Directory);
    let with = maker.with_xattrs(metadata(0o777), &[("trusted.link", bytes(5, 6000))]);
    maker.add("symlink", with, NewNode::Symlink(b"several"));
    let with = maker.with_xattrs(metadata(0o600), &[("trusted.fifo", bytes(5, 6000))]);
    maker.add("fifo", with, NewNode::Fifo);
    // Entries in inodes, and in blocks that inodes share, refer to one value.
    let inside = maker.with_xattrs(metadata(0o644), &[("user.a", bytes(6, 8000))]);
    let block = maker.with_xattrs(metadata(0o644), &[("user.a", bytes(6, 8000)), ("user.b", bytes(7, 600)), ("user.long name", bytes(8, 300))]);
    for n in 0..SHARERS {
        maker.file(format!("inside/{n}"), inside, 0);
        maker.file(format!("shared/{n}"), block, 0);
    }
    maker.finish()
}

fn with(features: &str, block_bytes: u32, inode_bytes: u16, size: SizeRequest) -> Options {
    let mut options = options(size);
    options.features = Features::parse([features]).unwrap();
    (options.block_bytes, options.inode_bytes) = (block_bytes, inode_bytes);
    options
}

/// All shapes that make a difference.
fn shapes() -> impl Iterator<Item = Options> {
    let free = SizeRequest::Minimum { free_bytes: 30 * MIB };
    [
        with("default,ea_inode", 4096, 256, free),
        with("default,ea_inode", 1024, 256, free),
        with("default,ea_inode", 2048, 512, free),
        with("default,ea_inode", 4096, 1024, SizeRequest::Exact(200 * MIB)),
        with("modern,ea_inode", 4096, 256, free),
        with("modern,ea_inode,project", 4096, 256, free),
        with("default,ea_inode,quota", 1024, 256, free),
        with("default,ea_inode,^metadata_csum", 4096, 256, free),
        with("ext2,ea_inode", 1024, 128, free),
        with("ext3,ea_inode,extra_isize", 4096, 256, free),
    ]
    .into_iter()
}

#[test]
fn the_kernel_reads_changes_and_removes_large_values() {
    let sample = large();
    for options in shapes() {
        let image = Image::make(&sample, &options);
        image.check();
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare(mounted.path(), &sample);
        }
        if let Some(mounted) = Mounted::for_writing(image.path(), &options) {
            change(mounted.path());
        }
        e2fsck(image.path());
        if let Some(fields) = image.dumpe2fs() {
            assert!(!fields.iter().any(|(name, _)| name.starts_with("FS Error count")), "the kernel has seen errors: {options:?}");
        }
    }
}

/// Sets, replaces and removes large values, and removes files that have such.
fn change(root: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    set("one/1", "user.a", &bytes(9, 60_000));
    set("one/65536", "user.a", b"short now");
    set("one/65535", "user.a", &bytes(9, 60_000));
    // The kernel finds the value that is there and shares it.
    set("one/4097", "user.a", &bytes(6, 8000));
    lremovexattr(root.join("several"), "user.a").unwrap();
    lremovexattr(root.join("symlink"), "trusted.link").unwrap();
    set("equal", "user.b", &bytes(10, 9000));
    set("many", "user.number 24", &bytes(11, 30_000));
    fs::create_dir(root.join("acls/inherits")).unwrap();
    for n in 0..SHARERS / 2 {
        fs::remove_file(root.join(format!("inside/{n}"))).unwrap();
        fs::remove_file(root.join(format!("shared/{n}"))).unwrap();
    }
    set(&format!("shared/{}", SHARERS - 1), "user.c", b"apart now");
    set(&format!("shared/{}", SHARERS - 2), "user.a", &bytes(12, 8000));
    rustix::fs::syncfs(fs::File::open(root).unwrap()).unwrap();
}

#[test]
fn debugfs_reads_large_values_and_their_inodes() {
    for mut options in shapes() {
        // Without gaps in numbers, so that the values have the last ones.
        options.packing = Packing::Dense;
        let image = Image::make(&large(), &options);
        for (path, name, value) in [
            ("/one/65536", "user.a", bytes(1, 65_536)),
            ("/equal", "user.b", bytes(4, 9000)),
            ("/several", "trusted.c", bytes(3, 20_000)),
            ("/shared/7", "user.a", bytes(6, 8000)),
        ] {
            let copy = tempfile::NamedTempFile::new().unwrap();
            let Some(text) = image.debugfs(&format!("ea_get -f {} {path} {name}", copy.path().display())) else { return };
            assert!(fs::read(copy.path()).unwrap() == value, "{path} {name}: {text}");
        }
        // One inode has the value that all entries in inodes refer to; where inodes have no room for entries, those in two blocks each.
        let summary = image.layout.summary();
        let last = summary.inodes.unwrap() - summary.free_inodes.unwrap();
        let references = if options.inode_bytes == 128 { 4 } else { 2 * SHARERS };
        let found = (0..60).filter_map(|back| image.debugfs(&format!("stat <{}>", last - back))).find(|text| text.contains("Size: 8000\n"));
        let text = found.unwrap();
        assert!(text.lines().any(|line| line.starts_with("Generation") && line.ends_with(&format!("{references:08x}"))), "{references}: {text}");
        assert!(text.contains("Flags: 0x280000") || text.contains("Flags: 0x200000"), "{text}");
    }
}

#[test]
fn sets_that_fit_stay_as_they_are() {
    let sample = everything();
    let plain = Image::make(&sample, &options(SizeRequest::Exact(64 * MIB)));
    let mut options = options(SizeRequest::Exact(64 * MIB));
    options.features = options.features.with(Feature::EaInode);
    let image = Image::make(&sample, &options);
    image.check();
    assert_eq!(image.layout.summary().parts, plain.layout.summary().parts);
    let [mut ours, theirs] = [&image, &plain].map(|image| fs::read(image.path()).unwrap());
    // But for the superblock's word of features and its checksum.
    for at in [0x460..0x464, 0x7fc..0x800] {
        assert!(ours[at.clone()] != theirs[at.clone()]);
        ours[at.clone()].copy_from_slice(&theirs[at]);
    }
    let differing = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 0);
}

#[test]
fn a_minimum_holds_large_values_and_no_byte_less_does() {
    let sample = large();
    for (features, block_bytes) in [("default,ea_inode", 4096), ("default,ea_inode", 1024), ("ext2,ea_inode", 1024)] {
        let mut options = with(features, block_bytes, 256, SizeRequest::Minimum { free_bytes: 0 });
        let image = Image::make(&sample, &options);
        image.check();
        let summary = image.layout.summary();
        assert_eq!(summary.parts.iter().map(|part| part.bytes).sum::<u64>(), summary.used_bytes);
        assert!(xattr_bytes(&summary) > 200_000, "{summary:?}");
        options.size = SizeRequest::Exact(summary.size_bytes - u64::from(block_bytes));
        options.journal = rootvol::fs::ext4::Journal::Auto;
        let smaller = rootvol::fs::ext4::plan(std::sync::Arc::clone(&sample.tree), &options);
        if let Ok(smaller) = smaller {
            assert!(smaller.summary().used_bytes < summary.used_bytes, "{features}: {:?}", smaller.summary());
        }
    }
}

fn xattr_bytes(summary: &FilesystemSummary) -> u64 {
    summary.parts.iter().find(|part| part.what == "xattrs").map_or(0, |part| part.bytes)
}

#[test]
fn what_does_not_fit_is_refused_with_path_and_attribute() {
    let mut maker = Maker::default();
    let with_large = maker.with_xattrs(metadata(0o644), &[("user.large", vec![1; 5000]), ("user.b", vec![2; 4])]);
    maker.file("dir/with", with_large, 1);
    let (_, text) = refusal(&maker.finish(), &options(SizeRequest::Minimum { free_bytes: 0 }));
    assert!(["dir/with", "user.large", "4060", "ea_inode"].iter().all(|word| text.contains(word)), "{text}");
    let mut maker = Maker::default();
    let names: Vec<String> = (0..300).map(|n| format!("user.{n:0200}")).collect();
    let list: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), vec![1])).collect();
    let with_names = maker.with_xattrs(metadata(0o644), &list);
    maker.file("dir/with", with_names, 1);
    let (_, text) = refusal(&maker.finish(), &with("default,ea_inode", 4096, 256, SizeRequest::Minimum { free_bytes: 0 }));
    assert!(["dir/with", "300 xattrs", "names", "64800"].iter().all(|word| text.contains(word)), "{text}");
}

/// e2fsck counts: each inode that refers to a value is charged for its blocks and its inode, also where a block of attributes is shared.
#[test]
fn quotas_charge_values_to_every_inode_that_refers_to_them() {
    for features in ["ea_inode,quota", "ea_inode,project,^flex_bg", "ext3,ea_inode,quota"] {
        let mut options = options(SizeRequest::Exact(200 * MIB));
        options.features = Features::parse([features]).unwrap();
        Image::make(&large(), &options).check();
    }
}
