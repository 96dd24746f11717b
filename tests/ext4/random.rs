//! Arbitrary trees and sizes: e2fsck is content, and the kernel reads back what the tree says.

use crate::image::{Image, options};
use crate::kernel::{Mounted, compare_with, judge_by_kernel};
use crate::sample::{Maker, Sample, access_acl, capability, metadata, without};
use proptest::prelude::*;
use rootvol::fs::ext4::{Feature, Features, Journal, Options, Percent, SizeRequest};
use rootvol::tree::{Device, Metadata, NewNode, Timestamp};

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(u64, Option<Vec<(u64, u64)>>),
    Symlink(usize),
    Device(bool, u32, u32),
    Fifo,
    Socket,
    Link(prop::sample::Index),
    /// So many files of so many bytes.
    Many(u16, u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    parent: prop::sample::Index,
    name: Vec<u8>,
    kind: Kind,
    mode: u16,
    uid: u32,
    gid: u32,
    time: (i64, u32),
    xattrs: u8,
}

impl Item {
    /// A file with another length; anything else as it is.
    pub(crate) fn with_length(&self, change: impl FnOnce(u64) -> u64) -> Self {
        let kind = match &self.kind {
            Kind::File(length, None) => Kind::File(change(*length), None),
            kind => kind.clone(),
        };
        Self { kind, ..self.clone() }
    }
}

fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..20_000_u64, 1..20_000_u64), 0..30).prop_map(|parts| {
        let mut at = 0;
        parts
            .into_iter()
            .map(|(gap, len)| {
                let range = (at + gap, len);
                at += gap + len;
                range
            })
            .collect()
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Directory),
        4 => (0..50_000_u64).prop_map(|length| Kind::File(length, None)),
        1 => (0..5_000_000_u64).prop_map(|length| Kind::File(length, None)),
        2 => (ranges(), 0..30_000_u64).prop_map(|(data, more)| {
            let end = data.last().map_or(0, |(start, len)| start + len);
            Kind::File(end + more, Some(data))
        }),
        2 => (1..1000_usize).prop_map(Kind::Symlink),
        1 => (any::<bool>(), 0..4096_u32, 0..1_048_576_u32).prop_map(|(character, major, minor)| Kind::Device(character, major, minor)),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
        1 => any::<prop::sample::Index>().prop_map(Kind::Link),
        1 => (1..600_u16, 0..10_000_u64).prop_map(|(count, length)| Kind::Many(count, length)),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>().prop_filter("no separator", |byte| *byte != 0 && *byte != b'/'), 1..20),
        1 => prop::collection::vec(any::<u8>().prop_filter("no separator", |byte| *byte != 0 && *byte != b'/'), 200..=255),
    ]
    .prop_filter("no dots", |name| name != b"." && name != b"..")
}

/// All seconds that ext4 holds but those of 2310-04-04 to 2378-04-22, which e2fsck takes for times before 1970 written by old kernels.
fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![-(1_i64 << 31)..(1_i64 << 31) + (2 << 32), 3_i64 << 32..(1 << 31) + (3 << 32)]
}

prop_compose! {
    pub(crate) fn item()(
        parent in any::<prop::sample::Index>(),
        name in name(),
        kind in kind(),
        mode in 0..=0o7777_u16,
        uid in any::<u32>(),
        gid in any::<u32>(),
        time in (seconds(), 0..1_000_000_000_u32),
        xattrs in 0..12_u8,
    ) -> Item {
        Item { parent, name, kind, mode, uid, gid, time, xattrs }
    }
}

fn xattrs(maker: &mut Maker, choice: u8, metadata: Metadata) -> Metadata {
    let label = ("security.selinux", b"system_u:object_r:bin_t:s0\0".to_vec());
    match choice {
        0 => maker.with_xattrs(metadata, &[label]),
        1 => maker.with_xattrs(metadata, &[label, ("security.capability", capability()), ("trusted.x", vec![1; 40])]),
        2 => maker.with_xattrs(metadata, &[("trusted.block", vec![2; 900])]),
        3 => maker.with_xattrs(metadata, &[("trusted.a", vec![2; 44]), ("trusted.bc", vec![]), ("security.z", vec![3; 3])]),
        // Only with the feature ea_inode: see `what_it_holds`.
        5 => {
            let large = vec![4; 1000 + usize::try_from(metadata.uid % 64_000).unwrap()];
            maker.with_xattrs(metadata, &[label, ("trusted.large", large.clone()), ("trusted.equal", large), ("trusted.other", vec![5; 700])])
        }
        _ => metadata,
    }
}

pub(crate) fn sample(items: &[Item]) -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    let mut directories = vec![Vec::new()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    for item in items {
        let parent = item.parent.get(&directories).clone();
        let path = if parent.is_empty() { item.name.clone() } else { [&parent[..], b"/", &item.name].concat() };
        if path.len() > 3000 || maker.builder.get(&path).is_some() {
            continue;
        }
        let base =
            Metadata { mode: item.mode, uid: item.uid, gid: item.gid, mtime: Timestamp { seconds: item.time.0, nanoseconds: item.time.1 }, ..metadata(0) };
        let with = xattrs(&mut maker, item.xattrs, base);
        match &item.kind {
            Kind::Directory => {
                maker.add(&path, with, NewNode::Directory);
                directories.push(path);
            }
            Kind::File(length, data) => {
                let with = if item.xattrs == 4 { maker.with_xattrs(base, &[("system.posix_acl_access", access_acl()), ("user.u", vec![1; 9])]) } else { with };
                maker.file_with(&path, with, *length, data.clone());
                files.push(path);
            }
            Kind::Symlink(len) => maker.add(&path, with, NewNode::Symlink(&vec![b't'; *len])),
            Kind::Device(true, major, minor) => maker.add(&path, with, NewNode::CharDevice(Device { major: *major, minor: *minor })),
            Kind::Device(false, major, minor) => maker.add(&path, with, NewNode::BlockDevice(Device { major: *major, minor: *minor })),
            Kind::Fifo => maker.add(&path, with, NewNode::Fifo),
            Kind::Socket => maker.add(&path, with, NewNode::Socket),
            Kind::Link(target) if !files.is_empty() => {
                maker.builder.link(&path, target.get(&files)).unwrap();
            }
            Kind::Link(_) => {}
            Kind::Many(count, length) => {
                for n in 0..*count {
                    maker.file([&path[..], format!("/{n}").as_bytes()].concat(), base, *length);
                }
            }
        }
    }
    maker.finish()
}

/// A set and a few features changed, as far as they go together.
fn features() -> impl Strategy<Value = Features> {
    let change = prop::sample::select(vec![
        "",
        "",
        "meta_bg",
        "^resize_inode",
        "^flex_bg",
        "uninit_bg",
        "^metadata_csum",
        "^dir_index",
        "^64bit",
        "^has_journal",
        "verity",
        "^huge_file",
        "^dir_nlink",
        "metadata_csum_seed",
        "orphan_file",
        "large_dir",
        "ea_inode",
        "inline_data",
        "quota",
        "project",
    ]);
    let set = prop::sample::select(vec!["default", "default", "default", "modern", "ext2", "ext3"]);
    (set, prop::collection::vec(change, 0..4)).prop_map(|(set, changes)| {
        let words: Vec<&str> = std::iter::once(set).chain(changes.into_iter().filter(|word| !word.is_empty())).collect();
        Features::parse(words).unwrap_or_else(|_| Features::parse([set]).unwrap())
    })
}

pub(crate) fn choices() -> impl Strategy<Value = Options> {
    let size = prop_oneof![
        3 => (0..100_000_000_u64).prop_map(|free_bytes| SizeRequest::Minimum { free_bytes }),
        1 => Just(SizeRequest::Minimum { free_bytes: 0 }),
        2 => (30_000_000..1_000_000_000_u64).prop_map(SizeRequest::Exact),
    ];
    (
        size,
        prop::sample::select(vec![1024_u32, 2048, 4096, 4096, 4096]),
        prop::sample::select(vec![256_u16, 256, 512, 1024]),
        prop_oneof![Just(Journal::Auto), Just(Journal::None), (4_194_304..9_000_000_u64).prop_map(Journal::Bytes)],
        0..5000_u16,
        prop::option::of(1024..100_000_u32),
        any::<bool>(),
        features(),
        // So many steps of eight blocks over the smallest group.
        prop_oneof![3 => Just(None), 1 => (0..4064_u32).prop_map(Some)],
        any::<bool>(),
    )
        .prop_map(|(size, block_bytes, inode_bytes, journal, reserved, bytes_per_inode, lazy, features, group, all_inodes_small)| {
            let mut options = options(size);
            options.block_bytes = block_bytes;
            options.inode_bytes = inode_bytes;
            options.journal = journal;
            options.reserved = Percent::hundredths(reserved);
            options.bytes_per_inode = bytes_per_inode.map(|bytes| bytes.max(4 * u32::from(inode_bytes)));
            options.features = features;
            options.lazy_inode_tables = lazy && (features.has(Feature::MetadataCsum) || features.has(Feature::UninitBg));
            if !features.has(Feature::HasJournal) {
                options.journal = Journal::Auto;
            }
            options.blocks_per_group = group.map(|steps| (256 + steps * 8).min(block_bytes * 8));
            if all_inodes_small && !features.has(Feature::Project) && !features.has(Feature::InlineData) && !features.has(Feature::HugeFile) {
                options.inode_bytes = 128;
            }
            options
        })
}

/// The tree without what a filesystem with these options refuses.
pub(crate) fn what_it_holds(sample: &Sample, options: &Options) -> Sample {
    let tree = &sample.tree;
    let held = |metadata: &Metadata| {
        let values: usize = tree.xattrs(metadata.xattrs).iter().map(|xattr| xattr.value.len()).sum();
        (options.inode_bytes > 128 || metadata.mtime.seconds < 1 << 31) && (options.features.has(Feature::EaInode) || values < 960)
    };
    without(sample, |path| tree.lookup(path).is_some_and(|id| !held(&tree.node(id).metadata)))
}

pub(crate) fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_trees_are_read_back_as_they_were(items in prop::collection::vec(item(), 0..60), options in choices(), heavy in any::<bool>()) {
        let sample = what_it_holds(&sample(&items), &options);
        let image = match Image::try_make(&sample, &options, false) {
            Ok(image) => image,
            // Exact sizes may be too small; a minimum never is, but where groups of few blocks cannot hold their inodes.
            Err(error) => {
                let too_small = matches!(error.kind(), rootvol::ErrorKind::TooSmall { .. });
                let of_exact = too_small && matches!(options.size, SizeRequest::Exact(_));
                prop_assert!(of_exact || options.blocks_per_group.is_some(), "{}", error);
                return Ok(());
            }
        };
        if let SizeRequest::Minimum { free_bytes } = options.size {
            prop_assert!(image.layout.available_bytes() >= free_bytes);
        }
        image.agrees_with_dumpe2fs();
        if options.inode_bytes > 128 || sample.tree.nodes().all(|(_, node)| node.metadata.mtime.nanoseconds == 0) {
            crate::reading::assert_same(&crate::reading::read_sound(image.path()), &sample.tree, &*sample.contents);
        }
        if heavy {
            judge_by_kernel(&image, &sample, &options);
            return Ok(());
        }
        image.check();
        if let Some(mounted) = Mounted::new(image.path(), "ro") {
            compare_with(mounted.path(), &sample, &options);
        }
    }
}
