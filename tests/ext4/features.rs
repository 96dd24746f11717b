//! Feature sets and shapes: each is made, checked, read and written by the kernel, and read by GRUB where GRUB is said to read it.

use crate::common::judge;
use crate::image::{Image, options, refusal};
use crate::kernel::{Mounted, compare_with, judge_by_kernel};
use crate::sample::{Maker, Sample, everything, expected, metadata, without};
use rootvol::ErrorKind;
use rootvol::content::Contents;
use rootvol::fs::ext4::{Feature, Features, Options, SizeRequest, plan};
use rootvol::layout::{Layout, SegmentSource, fill, segments};
use rootvol::tree::NodeKind;
use rootvol::{ContentId, Error, Result};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn with_features(words: &str, block_bytes: u32, inode_bytes: u16) -> Options {
    let mut options = options(SizeRequest::Exact(100 * MIB));
    options.features = Features::parse([words]).unwrap();
    options.block_bytes = block_bytes;
    options.inode_bytes = inode_bytes;
    options
}

/// Everything that a filesystem with these options holds.
fn held(options: &Options) -> Sample {
    let sample = everything();
    let small_blocks: &[&[u8]] = &[b"xattrs/block-full", b"xattrs/both-full", b"links/symbolic-4095", b"holes/largest", b"holes/far"];
    let late: &[&[u8]] = &[b"times/2038-after", b"times/2106", b"times/2446"];
    without(&sample, |path| {
        (options.block_bytes < 4096 && small_blocks.contains(&path))
            || (options.inode_bytes == 128 && (late.contains(&path) || path == b"xattrs/both-full"))
            || (!options.features.has(Feature::HugeFile) && path == b"holes/largest")
    })
}

/// Every set and every feature: words, block size, inode size, whether GRUB 2.06 reads it.
const SHAPES: [(&str, u32, u16, bool); 26] = [
    ("default", 4096, 256, true),
    ("ext2", 4096, 256, true),
    ("ext2", 1024, 128, true),
    ("ext2,^dir_index", 2048, 128, true),
    ("ext3", 4096, 256, true),
    ("ext3", 4096, 128, true),
    ("ext3", 1024, 256, true),
    ("ext3,meta_bg", 4096, 256, true),
    ("modern", 4096, 256, true),
    ("modern", 1024, 256, true),
    ("modern,meta_bg", 4096, 512, true),
    ("verity", 4096, 256, true),
    ("modern,project", 4096, 256, true),
    ("ext3,quota", 1024, 256, true),
    ("meta_bg", 4096, 256, true),
    ("meta_bg", 1024, 256, true),
    ("^flex_bg", 4096, 256, true),
    ("^resize_inode", 4096, 256, true),
    ("^64bit", 4096, 256, true),
    ("^metadata_csum", 4096, 256, true),
    ("uninit_bg", 4096, 256, true),
    ("uninit_bg,^64bit", 1024, 256, true),
    ("^dir_index,large_dir", 4096, 256, true),
    ("^huge_file,^dir_nlink,^extra_isize", 4096, 128, true),
    ("^has_journal", 4096, 256, true),
    ("ext3,extent,64bit,flex_bg", 2048, 256, true),
];

#[test]
fn every_feature_set_is_checked_read_and_written_by_the_kernel_and_read_by_grub() {
    for (words, block_bytes, inode_bytes, grub) in SHAPES {
        let options = with_features(words, block_bytes, inode_bytes);
        let sample = held(&options);
        let image = Image::make(&sample, &options);
        image.agrees_with_dumpe2fs();
        if let Some(fields) = image.dumpe2fs() {
            let shown = &fields.iter().find(|(name, _)| name == "Filesystem features").unwrap().1;
            let expected: Vec<&str> = options.features.iter().map(Feature::name).collect();
            let mut found: Vec<&str> = shown.split_whitespace().collect();
            found.sort_by_key(|name| expected.iter().position(|feature| feature == name));
            assert_eq!(found, expected, "{words}");
        }
        if grub {
            for path in ["files/1000000", "files/4097", "holes/comb", "links/b"] {
                grub_reads(&image, &sample, path);
            }
        }
        judge_by_kernel(&image, &sample, &options);
    }
}

fn grub_reads(image: &Image, sample: &Sample, path: &str) {
    let Some(mut grub) = judge("grub-fstest") else { return };
    let NodeKind::File(file) = sample.tree.node(sample.tree.lookup(path).unwrap()).kind else { panic!("{path} is no file") };
    let copy = tempfile::NamedTempFile::new().unwrap();
    copy.as_file().write_all_at(&expected(&sample.tree, &file, 0, file.length), 0).unwrap();
    let output = grub.arg(image.path()).args(["cmp", &format!("(loop0)/{path}")]).arg(copy.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{path} of {}: {output:?}", image.layout.summary().features.unwrap_or_default());
}

#[test]
fn small_groups_part_files_into_extents_and_maps_of_many_nodes() {
    for (words, block_bytes, blocks_per_group) in [
        ("default", 1024, 256),
        ("^flex_bg", 1024, 256),
        ("ext2", 1024, 256),
        ("ext3", 1024, 264),
        ("default", 4096, 512),
        ("modern,^flex_bg", 4096, 1024),
        ("^flex_bg,^resize_inode,uninit_bg", 2048, 2000),
    ] {
        let mut options = with_features(words, block_bytes, 256);
        options.size = SizeRequest::Minimum { free_bytes: 30 * MIB };
        options.blocks_per_group = Some(blocks_per_group);
        options.bytes_per_inode = Some(4 * block_bytes);
        let sample = held(&options);
        let image = Image::make(&sample, &options);
        image.agrees_with_dumpe2fs();
        judge_by_kernel(&image, &sample, &options);
    }
}

#[test]
fn descriptors_that_would_fill_a_group_lie_in_their_own() {
    // 1-KiB blocks: the descriptors of 1 TiB are 8,192 blocks, as large as a group.
    let mut options = with_features("default", 1024, 256);
    options.size = SizeRequest::Exact(1 << 40);
    options.bytes_per_inode = Some(16 << 20);
    let layout = plan(Arc::clone(&held(&options).tree), &options).unwrap();
    let features = layout.summary().features.unwrap();
    assert!(features.contains("meta_bg") && !features.contains("resize_inode"), "{features}");
    // Small enough for e2fsck to read in a moment, by small groups.
    options.size = SizeRequest::Exact(2 * GIB);
    options.blocks_per_group = Some(512);
    let sample = held(&options);
    let image = Image::make_sparse(&sample, &options);
    assert!(image.layout.summary().features.unwrap().contains("meta_bg"));
    judge_by_kernel(&image, &sample, &options);
}

#[test]
fn every_boundary_of_extent_trees_and_block_maps() {
    // (features, block size, numbers of blocks with a hole behind each): the last that fit into a node, and one more.
    let p = 1024 / 4;
    for (words, block_bytes, counts) in [
        ("default", 4096_u64, vec![3, 4, 5, 340, 341, 1360, 1361]),
        ("default", 1024, vec![84, 85, 336, 337, 28_224, 28_225]),
        ("ext2", 1024, vec![12, 13, 12 + p, 13 + p, 12 + p + p * p, 13 + p + p * p]),
    ] {
        let mut maker = Maker::default();
        maker.add("", metadata(0o755), rootvol::tree::NewNode::Directory);
        for count in counts {
            let extents = words == "default";
            let step = if extents { 2 * block_bytes } else { block_bytes };
            let data = if extents { (0..count).map(|n| (n * step, block_bytes)).collect() } else { vec![(0, count * block_bytes)] };
            maker.file_with(format!("dense-{count}"), metadata(0o644), count * step, Some(data));
            maker.file_with(format!("last-{count}"), metadata(0o644), count * block_bytes, Some(vec![((count - 1) * block_bytes, block_bytes)]));
        }
        let sample = maker.finish();
        let mut options = with_features(words, u32::try_from(block_bytes).unwrap(), 256);
        options.size = SizeRequest::Minimum { free_bytes: 50 * MIB };
        let image = Image::make(&sample, &options);
        judge_by_kernel(&image, &sample, &options);
    }
}

#[test]
fn a_sparse_file_of_100_gib_is_read_back_from_end_to_end() {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), rootvol::tree::NewNode::Directory);
    // Data in every 16 MiB: 6,400 extents, 19 leaves, two levels of nodes.
    let data = (0..6400).map(|n| (n * 16 * MIB + 12_288, 4096)).collect();
    maker.file_with("sparse", metadata(0o644), 100 * GIB, Some(data));
    let sample = maker.finish();
    for (words, size) in [("default", SizeRequest::Minimum { free_bytes: 0 }), ("ext3", SizeRequest::Exact(GIB))] {
        let mut options = with_features(words, 4096, 256);
        options.size = size;
        let image = Image::make_sparse(&sample, &options);
        image.check();
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare_with(mounted.path(), &sample, &options);
        }
    }
}

#[test]
fn preallocated_files_have_unwritten_extents_and_read_as_zeros() {
    let sample = everything();
    let mut options = options(SizeRequest::Exact(200 * MIB));
    options.preallocate = ["holes/comb", "/holes/all-hole", "holes/begin", "holes/end"].map(|path| path.as_bytes().to_vec()).to_vec();
    // The noise in unused blocks would show if anybody read them.
    let image = Image::make(&sample, &options);
    for (path, extent) in [("holes/all-hole", "(0-2559[u])"), ("holes/begin", "(2-767[u])"), ("holes/end", "(0-766[u])")] {
        if let Some(text) = image.debugfs(&format!("stat /{path}")) {
            assert!(text.contains(extent), "{path}: {text}");
        }
    }
    judge_by_kernel(&image, &sample, &options);
    for path in ["holes", "no/such/file"] {
        options.preallocate = vec![path.as_bytes().to_vec()];
        let (kind, text) = refusal(&sample, &options);
        assert!(kind == ErrorKind::InvalidInput && text.contains(path), "{text}");
    }
}

#[test]
fn what_a_feature_set_cannot_hold_is_refused_with_path_and_limit() {
    let refused = |words: &str, block_bytes: u32, inode_bytes: u16, make: &dyn Fn(&mut Maker), expected: &[&str]| {
        let mut maker = Maker::default();
        make(&mut maker);
        let mut options = with_features(words, block_bytes, inode_bytes);
        options.size = SizeRequest::Minimum { free_bytes: 0 };
        let (kind, text) = refusal(&maker.finish(), &options);
        assert_eq!(kind, ErrorKind::LimitExceeded, "{text}");
        assert!(expected.iter().all(|word| text.contains(word)), "{text}");
    };
    let hole = |length: u64| move |maker: &mut Maker| maker.file_with("dir/huge", metadata(0o644), length, Some(vec![]));
    refused("ext3", 1024, 256, &hole(17 * GIB), &["dir/huge", "17247252480"]);
    refused("ext2", 4096, 256, &hole(2 << 40), &["dir/huge"]);
    refused("^huge_file", 4096, 256, &hole(2 << 40), &["dir/huge", "2199023251456"]);
    let late = rootvol::tree::Metadata { mtime: rootvol::tree::Timestamp::from_seconds(1 << 31), ..metadata(0o644) };
    refused("ext3", 4096, 128, &|maker| maker.file("when", late, 1), &["when", "2038"]);
    let many = |maker: &mut Maker| (0..64_999).for_each(|n| maker.add(format!("d/{n}"), metadata(0o755), rootvol::tree::NewNode::Directory));
    refused("^dir_nlink", 4096, 256, &many, &["d", "64999", "64998"]);
    refused(
        "default",
        4096,
        128,
        &|maker| {
            let with = maker.with_xattrs(metadata(0o644), &[("user.large", vec![1; 4060])]);
            maker.file("with", with, 1);
        },
        &["with", "user.large"],
    );
}

/// Contents whose read number `fails` fails.
struct Failing<'a> {
    contents: &'a dyn Contents,
    reads: AtomicU64,
    fails: u64,
}

impl Contents for Failing<'_> {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.fails {
            return Err(Error::corrupt("this read fails"));
        }
        self.contents.read_exact_at(id, offset_bytes, out)
    }
}

#[test]
fn every_read_that_fails_is_an_error_and_planning_reads_nothing() {
    let sample = everything();
    let layout = plan(Arc::clone(&sample.tree), &options(SizeRequest::Exact(64 * MIB))).unwrap();
    let data: Vec<_> = segments(&layout, 0..layout.size_bytes()).filter(|segment| matches!(segment.source, SegmentSource::Content { .. })).collect();
    let count = |fails: u64| {
        let failing = Failing { contents: &*sample.contents, reads: AtomicU64::new(0), fails };
        let mut bytes = vec![0; 1 << 20];
        let failed = data.iter().any(|segment| {
            let len = usize::try_from(segment.range.end - segment.range.start).unwrap().min(bytes.len());
            fill(&layout, &failing, segment.range.start, &mut bytes[..len]).is_err()
        });
        (failed, failing.reads.into_inner())
    };
    let (failed, reads) = count(u64::MAX);
    assert!(!failed && reads > 1000, "{reads} reads");
    // Each reads all up to the one that fails: the later ones by steps.
    for fails in (0..reads).filter(|n| *n < 300 || n % 97 == 0 || *n + 1 == reads) {
        assert_eq!(count(fails), (true, fails + 1));
    }
}
