//! Small directories and link targets in their inodes (feature inline_data).

use crate::image::{Image, e2fsck, options};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, Sample, access_acl, everything, metadata, without};
use rootvol::fs::ext4::{Feature, Features, Options, SizeRequest};
use rootvol::tree::{Metadata, NewNode};
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Different names whose entries take `bytes` bytes, each at most `most` of them.
fn names(bytes: usize, most: usize) -> Vec<String> {
    let mut rest = bytes;
    let mut names = Vec::new();
    while rest >= 12 {
        let entry = rest.min(most);
        names.push(format!("{:02}{}", names.len(), "x".repeat(entry - 8 - 2)));
        rest -= entry;
    }
    names
}

fn directory(maker: &mut Maker, path: &str, with: Metadata, names: &[String]) {
    maker.add(path, with, NewNode::Directory);
    for (n, name) in names.iter().enumerate() {
        let path = format!("{path}/{name}");
        match n % 5 {
            0 => maker.add(path, metadata(0o755), NewNode::Directory),
            1 => maker.add(path, metadata(0o600), NewNode::Fifo),
            2 => maker.add(path, metadata(0o777), NewNode::Symlink(b"somewhere")),
            _ => maker.file(path, metadata(0o644), 3),
        }
    }
}

/// Directories and links at every boundary, for every size of inodes, with xattrs and without.
fn small() -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    let label = ("security.selinux", b"system_u:object_r:etc_t:s0\0".to_vec());
    let sets = [
        ("none", metadata(0o755)),
        ("label", maker.with_xattrs(metadata(0o755), std::slice::from_ref(&label))),
        ("acl", maker.with_xattrs(metadata(0o775), &[("system.posix_acl_access", access_acl())])),
        ("nearly", maker.with_xattrs(metadata(0o755), &[("trusted.a", vec![1; 48])])),
        ("full", maker.with_xattrs(metadata(0o755), &[("trusted.a", vec![1; 68])])),
        ("block", maker.with_xattrs(metadata(0o755), &[label, ("trusted.a", vec![1; 900])])),
    ];
    for (set, with) in sets {
        // 56 bytes are in i_block; behind it are 68, 324 or 836, less what the attributes take.
        for bytes in [0, 12, 44, 56, 60, 68, 72, 100, 112, 116, 120, 124, 128, 136, 200, 376, 380, 384, 500, 888, 892, 896, 1000] {
            for most in [12, 20, 48] {
                directory(&mut maker, &format!("{set}/{bytes} {most}"), with, &names(bytes, most));
            }
        }
        for len in [1, 59, 60, 61, 62, 64, 72, 84, 88, 100, 127, 128, 129, 300, 383, 384, 385, 895, 896, 897, 1000] {
            let with = Metadata { mode: 0o777, ..with };
            // Links have no ACLs.
            let with = if set == "acl" { metadata(0o777) } else { with };
            maker.add(format!("{set}/link {len}"), with, NewNode::Symlink(&vec![b'a' + u8::try_from(len % 26).unwrap(); len]));
        }
    }
    let trusted = maker.with_xattrs(metadata(0o777), &[("trusted.t", vec![7; 20])]);
    maker.add("trusted link", trusted, NewNode::Symlink(&[b'l'; 80]));
    for n in 0..300 {
        maker.add(format!("wide/{n:050}"), metadata(0o700), NewNode::Directory);
    }
    maker.add("lost+found", metadata(0o700), NewNode::Directory);
    maker.finish()
}

fn with(features: &str, block_bytes: u32, inode_bytes: u16, size: SizeRequest) -> Options {
    let mut options = options(size);
    options.features = Features::parse([features]).unwrap();
    (options.block_bytes, options.inode_bytes) = (block_bytes, inode_bytes);
    options.inodes = Some(20_000);
    options
}

fn shapes() -> impl Iterator<Item = Options> {
    let free = SizeRequest::Minimum { free_bytes: 20 * MIB };
    [
        with("default,inline_data", 4096, 256, free),
        with("default,inline_data", 4096, 512, free),
        with("default,inline_data", 4096, 1024, SizeRequest::Exact(100 * MIB)),
        with("default,inline_data", 1024, 256, free),
        with("default,inline_data", 1024, 1024, free),
        with("default,inline_data,^metadata_csum", 2048, 512, free),
        with("modern,inline_data,ea_inode,project", 4096, 256, free),
        with("modern,inline_data,ea_inode", 1024, 256, free),
        with("default,inline_data,^dir_index", 4096, 256, free),
        with("ext3,inline_data,extra_isize", 4096, 256, free),
    ]
    .into_iter()
}

fn judge(sample: &Sample, options: &Options, change: impl FnOnce(&Path)) {
    let image = Image::make(sample, options);
    image.check();
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), sample);
    }
    if let Some(mounted) = Mounted::for_writing(image.path(), options) {
        change(mounted.path());
        rustix::fs::syncfs(fs::File::open(mounted.path()).unwrap()).unwrap();
    }
    e2fsck(image.path());
    if let Some(fields) = image.dumpe2fs() {
        assert!(!fields.iter().any(|(name, _)| name.starts_with("FS Error count")), "the kernel has seen errors: {options:?}");
    }
}

#[test]
fn the_kernel_reads_inline_directories_and_links_and_lets_them_grow() {
    let sample = small();
    for options in shapes() {
        judge(&sample, &options, |root| change(root, !options.features.has(Feature::EaInode)));
    }
}

/// Lets directories grow until they need blocks, empties some, and moves some. Xattrs are not set with the feature ea_inode: the kernel
/// (6.18) loses count of references to values from inodes with inline data, in filesystems of mke2fs's as well.
fn change(root: &Path, set_xattrs: bool) {
    for set in ["none", "label", "acl", "nearly", "full", "block"] {
        let folder = root.join(set);
        for bytes in [0, 12, 56, 60, 116, 124, 380, 888] {
            let folder = folder.join(format!("{bytes} 20"));
            for n in 0..60 {
                fs::write(folder.join(format!("new {n}")), b"small").unwrap();
            }
            for n in (0..60).step_by(2) {
                fs::remove_file(folder.join(format!("new {n}"))).unwrap();
            }
            let folder = root.join(set).join(format!("{bytes} 12"));
            fs::create_dir(folder.join("sub")).unwrap();
            fs::write(folder.join("sub/file"), b"small").unwrap();
        }
        fs::rename(folder.join("0 20"), folder.join("12 20/moved")).unwrap();
        fs::remove_dir_all(folder.join("56 12")).unwrap();
        for bytes in [0, 12, 60, 124, 500, 1000].into_iter().filter(|_| set_xattrs) {
            let folder = folder.join(format!("{bytes} 48"));
            let value = [5; 40];
            rustix::fs::lsetxattr(&folder, "user.later", &value, rustix::fs::XattrFlags::empty()).unwrap();
            rustix::fs::lsetxattr(&folder, "security.selinux", b"system_u:object_r:bin_t:s0\0", rustix::fs::XattrFlags::empty()).unwrap();
        }
        for len in [60, 61, 128] {
            fs::remove_file(folder.join(format!("link {len}"))).unwrap();
        }
    }
}

#[test]
fn the_sample_of_everything_passes_with_inline_data_in_every_size() {
    let everything = everything();
    let only_in_large_blocks = [&b"xattrs/block-full"[..], b"xattrs/both-full", b"links/symbolic-4095", b"holes/largest"];
    for (block_bytes, inode_bytes) in [(4096, 256), (4096, 1024), (1024, 256), (1024, 512)] {
        let sample = without(&everything, |path| block_bytes == 1024 && only_in_large_blocks.contains(&path));
        for size in [SizeRequest::Minimum { free_bytes: 0 }, SizeRequest::Exact(100 * MIB)] {
            let image = Image::make(&sample, &with("default,inline_data,ea_inode", block_bytes, inode_bytes, size));
            image.check();
            if let Some(mounted) = Mounted::new(image.path(), "ro") {
                compare(mounted.path(), &sample);
            }
        }
    }
}

#[test]
fn small_directories_cost_no_blocks() {
    let mut maker = Maker::default();
    for n in 0..500 {
        maker.file(format!("d/{n}/file"), metadata(0o644), 0);
    }
    let sample = maker.finish();
    let plain = Image::make(&sample, &options(SizeRequest::Minimum { free_bytes: 0 }));
    let mut options = options(SizeRequest::Minimum { free_bytes: 0 });
    options.features = options.features.with(Feature::InlineData);
    let image = Image::make(&sample, &options);
    image.check();
    let directories = |image: &Image| image.layout.summary().parts.iter().find(|part| part.what == "directories").unwrap().bytes / 4096;
    assert_eq!(directories(&plain) - directories(&image), 500);
    let summary = image.layout.summary();
    assert_eq!(summary.parts.iter().map(|part| part.bytes).sum::<u64>(), summary.used_bytes);
    options.size = SizeRequest::Exact(summary.size_bytes);
    assert_eq!(rootvol::fs::ext4::plan(std::sync::Arc::clone(&sample.tree), &options).unwrap().summary(), summary);
}

#[test]
fn debugfs_shows_inline_directories_and_links() {
    let image = Image::make(&small(), &with("default,inline_data", 4096, 256, SizeRequest::Exact(64 * MIB)));
    for (request, expected) in [
        ("stat <2>", vec!["Flags: 0x80000", "Size: 4096"]),
        ("stat \"/none/0 12\"", vec!["Flags: 0x10000000", "Size: 60", "Links: 2"]),
        ("stat \"/none/56 20\"", vec!["Flags: 0x10000000", "Size: 60"]),
        ("stat \"/none/100 20\"", vec!["Flags: 0x10000000", "Size: 128"]),
        ("stat \"/none/500 20\"", vec!["Flags: 0x80000"]),
        ("ls -l \"/none/100 20\"", vec!["00xxxxxxxxxx"]),
        ("stat \"/none/link 59\"", vec!["Fast link dest"]),
        ("stat \"/none/link 60\"", vec!["Flags: 0x10000000", "Size: 60"]),
        ("stat \"/none/link 128\"", vec!["Flags: 0x10000000", "Size: 128"]),
        ("stat \"/none/link 129\"", vec!["Flags: 0x80000"]),
        ("stat /lost+found", vec!["Flags: 0x80000", "Size: 4096"]),
    ] {
        let Some(text) = image.debugfs(request) else { return };
        for word in expected {
            assert!(text.contains(word), "{request}: {word:?} is not in {text}");
        }
    }
}
