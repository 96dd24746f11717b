//! Quota files, judged by e2fsck, which counts everything again, by debugfs, which reads them, and by the running kernel.

use crate::common::judge;
use crate::image::{Image, options};
use crate::kernel::{Mounted, compare};
use crate::sample::{Maker, Sample, empty, everything, metadata};
use proptest::prelude::*;
use rootvol::ErrorKind;
use rootvol::fs::ext4::{Feature, Features, Journal, Options, SizeRequest, plan};
use rootvol::layout::Layout;
use rootvol::tree::{Metadata, NewNode, Tree};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// Ids where the tree of a quota file turns to another node.
const EDGES: [u32; 14] = [0, 1, 14, 255, 256, 65_534, 65_535, 65_536, (1 << 24) - 1, 1 << 24, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX];

/// Bytes and inodes by id.
type Usage = BTreeMap<u32, (u64, u64)>;

fn with_features(words: &str, size: SizeRequest) -> Options {
    let mut options = options(size);
    options.features = Features::parse([words]).unwrap();
    options
}

fn minimum(free_bytes: u64) -> SizeRequest {
    SizeRequest::Minimum { free_bytes }
}

/// What debugfs finds in a quota file.
fn listed(image: &Image, kind: &str) -> Option<Usage> {
    let text = image.debugfs(&format!("list_quota {kind}"))?;
    let mut usage = Usage::new();
    for line in text.lines() {
        let words: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if let [id, space, 0, 0, inodes, 0, 0] = words[..] {
            assert!(usage.insert(u32::try_from(id).unwrap(), (space, inodes)).is_none(), "{id} is there twice");
        } else {
            assert!(line.contains("debugfs") || line.contains("inodes"), "{line}");
        }
    }
    Some(usage)
}

fn add(usage: &mut Usage, id: u32, space: u64, inodes: u64) {
    let entry = usage.entry(id).or_default();
    *entry = (entry.0 + space, entry.1 + inodes);
}

/// What each user, group and project has, counted from what the kernel says of every inode.
fn counted(root: &Path, tree: &Tree) -> [Usage; 3] {
    let mut usage = [Usage::from([(0, (0, 0))]), Usage::from([(0, (0, 0))]), Usage::new()];
    let mut seen = std::collections::BTreeSet::new();
    let mut charge = |path: &Path, uid: u32, gid: u32| {
        let found = fs::symlink_metadata(path).unwrap();
        if seen.insert(found.ino()) {
            for (usage, id) in usage.iter_mut().zip([uid, gid, 0]) {
                add(usage, id, found.blocks() * 512, 1);
            }
        }
    };
    tree.walk(|path, id| {
        // The owners from the tree: the kernel shows 2^32 − 1 as another one.
        let owner = &tree.node(id).metadata;
        charge(&crate::kernel::join(root, path), owner.uid, owner.gid);
        Ok(())
    })
    .unwrap();
    if tree.lookup("lost+found").is_none() {
        charge(&root.join("lost+found"), 0, 0);
    }
    usage
}

/// e2fsck counts the same, and so does who asks the kernel for every inode.
fn judge_image(sample: &Sample, options: &Options) -> Image {
    let image = Image::make(sample, options);
    image.check();
    if let Some(mounted) = Mounted::new(image.path(), "ro") {
        compare(mounted.path(), sample);
        let kinds = if options.features.has(Feature::Project) { 3 } else { 2 };
        for (kind, counted) in ["user", "group", "project"].into_iter().zip(counted(mounted.path(), &sample.tree)).take(kinds) {
            if let Some(listed) = listed(&image, kind) {
                assert_eq!(listed, counted, "{kind}");
            }
        }
    }
    image
}

/// A file of a block for each id, as user, and with the next id as group.
fn owned_by(ids: &[u32]) -> Sample {
    let mut maker = Maker::default();
    for (n, id) in ids.iter().enumerate() {
        maker.file(format!("{}/{n}", n / 500), Metadata { uid: *id, gid: id.wrapping_add(1), ..metadata(0o644) }, 1);
    }
    maker.finish()
}

/// `count` ids all over the 32 bits.
fn scattered(count: u32) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..count).map(|n| n.wrapping_mul(0x9e37_79b1)).chain(EDGES).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn a_tree_of_everything_is_accounted_for_in_every_shape() {
    let sample = everything();
    for (words, block_bytes, inode_bytes) in [
        ("default,quota", 4096, 256),
        ("default,project", 4096, 256),
        ("modern,project", 4096, 512),
        ("ext3,quota", 4096, 256),
        ("ext2,quota", 2048, 128),
        ("ext3,quota", 1024, 256),
        ("default,project", 1024, 256),
        ("meta_bg,project", 2048, 1024),
    ] {
        let sample = crate::sample::without(&sample, |path| {
            let large: &[&[u8]] = &[b"xattrs/block-full", b"xattrs/both-full", b"links/symbolic-4095"];
            let far: &[&[u8]] = &[b"holes/largest", b"holes/far"];
            (block_bytes < 4096 && large.contains(&path))
                || ((words.starts_with("ext") || block_bytes < 4096) && far.contains(&path))
                || (inode_bytes == 128 && path.starts_with(b"times/"))
        });
        for size in [minimum(0), SizeRequest::Exact(90 * MIB)] {
            let mut options = with_features(words, size);
            options.block_bytes = block_bytes;
            options.inode_bytes = inode_bytes;
            judge_image(&sample, &options);
        }
    }
}

#[test]
fn every_id_has_its_entry() {
    let ids = scattered(3000);
    let sample = owned_by(&ids);
    for (words, block_bytes) in [("default,project", 4096), ("ext3,quota", 1024)] {
        let mut options = with_features(words, minimum(0));
        options.block_bytes = block_bytes;
        let image = judge_image(&sample, &options);
        let block = u64::from(block_bytes);
        if let Some(users) = listed(&image, "user") {
            assert_eq!(users.len(), ids.len());
            for id in &ids[1..] {
                assert_eq!(users[id], (block, 1), "{id}");
            }
        }
        for id in EDGES {
            // debugfs takes ids as signed numbers, so only the lower half can be asked for.
            if id < 1 << 31
                && id > 0
                && let Some(text) = image.debugfs(&format!("get_quota user {id}"))
            {
                let expected = [id.to_string().as_str(), block.to_string().as_str(), "0", "0", "1", "0", "0"].join(" ");
                let found: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
                assert!(found.contains(&expected), "{expected:?} is not in {text}");
            }
        }
    }
}

#[test]
fn hard_links_count_once_and_shared_xattr_blocks_and_preallocated_blocks_for_each() {
    let mut maker = Maker::default();
    let own = |uid| Metadata { uid, gid: 100, ..metadata(0o644) };
    maker.add("", metadata(0o755), NewNode::Directory);
    maker.file("linked", own(1), 5000);
    for n in 0..50 {
        maker.builder.link(format!("link {n}"), "linked").unwrap();
    }
    for n in 0..5 {
        let with = maker.with_xattrs(own(2), &[("user.shared", vec![1; 900])]);
        maker.file(format!("shared {n}"), with, 0);
    }
    maker.file_with("holes", own(3), 40 * 4096, Some(vec![(0, 1), (20 * 4096, 1)]));
    maker.file_with("allocated", own(4), 40 * 4096, Some(vec![(0, 1), (20 * 4096, 1)]));
    // 1,000 extents need three nodes.
    maker.file_with("comb", own(5), 1000 * 8192, Some((0..1000).map(|n| (n * 8192, 1)).collect()));
    maker.add("symlink", own(6), NewNode::Symlink(&[b'x'; 200]));
    maker.add("fifo", own(7), NewNode::Fifo);
    let sample = maker.finish();
    let mut options = with_features("project", minimum(MIB));
    options.preallocate = vec![b"allocated".to_vec()];
    let image = judge_image(&sample, &options);
    let Some(users) = listed(&image, "user") else { return };
    let expected = [(0, 5 * 4096, 2), (1, 2 * 4096, 1), (2, 5 * 4096, 5), (3, 2 * 4096, 1), (4, 40 * 4096, 1), (5, 1003 * 4096, 1), (6, 4096, 1), (7, 0, 1)];
    let expected = Usage::from(expected.map(|(id, space, inodes)| (id, (space, inodes))));
    assert_eq!(users.iter().map(|(id, usage)| (*id, *usage)).collect::<Usage>(), expected);
    let all: (u64, u64) = users.values().fold((0, 0), |all, usage| (all.0 + usage.0, all.1 + usage.1));
    assert_eq!(listed(&image, "project").unwrap(), Usage::from([(0, all)]));
    assert_eq!(listed(&image, "group").unwrap(), Usage::from([(0, users[&0]), (100, (all.0 - users[&0].0, all.1 - users[&0].1))]));
}

#[test]
fn the_superblock_names_the_files_and_the_plan_says_what_they_take() {
    for (words, user, project) in
        [("default", None, None), ("quota", Some("3"), None), ("project", Some("3"), Some("12")), ("modern,project", Some("3"), Some("13"))]
    {
        let image = Image::make(&empty(), &with_features(words, SizeRequest::Exact(20 * MIB)));
        image.check();
        if let Some(fields) = image.dumpe2fs() {
            let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
            assert_eq!((field("User quota inode"), field("Project quota inode")), (user, project), "{words}");
            assert_eq!(field("Group quota inode").is_some(), user.is_some(), "{words}");
        }
        let files = u64::from(user.is_some()) * 2 + u64::from(project.is_some());
        let part = image.layout.summary().parts.iter().find(|part| part.what == "quota").map_or(0, |part| part.bytes);
        // Header, root, three nodes, entries: 6 KiB.
        assert_eq!(part, files * 8192, "{words}");
        for ino in [user, project].into_iter().flatten() {
            if let Some(text) = image.debugfs(&format!("stat <{ino}>")) {
                for word in ["Type: regular", "Mode:  0600", "Flags: 0x80010", "Links: 1", "Size: 8192"] {
                    assert!(text.contains(word), "{word:?} is not in {text}");
                }
            }
        }
    }
}

/// What stands in the quota file is compared: e2fsck is content because it is right, not because it does not look.
#[test]
fn e2fsck_sees_a_wrong_number() {
    let image = Image::make(&owned_by(&[1, 2, 3]), &with_features("quota", SizeRequest::Exact(20 * MIB)));
    let (Some(text), Some(mut command)) = (image.debugfs("blocks <3>"), judge("e2fsck")) else { return };
    let second: u64 = text.split_whitespace().filter_map(|word| word.parse().ok()).nth(1).unwrap();
    // The entry of id 1, the second in the block of entries, which is quota block 5: its bytes in use.
    image.file.as_file().write_all_at(&[9], second * 4096 + 1024 + 16 + 72 + 0x30).unwrap();
    let output = command.args(["-f", "-n"]).arg(image.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Usage inconsistent for ID 1"), "{said}");
}

#[test]
fn a_lost_found_of_another_owner_leaves_root_with_nothing() {
    let mut maker = Maker::default();
    let own = |mode| Metadata { uid: 1000, gid: 1000, ..metadata(mode) };
    maker.add("", own(0o755), NewNode::Directory);
    maker.add("lost+found", own(0o700), NewNode::Directory);
    let image = judge_image(&maker.finish(), &with_features("project", SizeRequest::Exact(20 * MIB)));
    if let Some(users) = listed(&image, "user") {
        assert_eq!((users[&0], users[&1000].1), ((0, 0), 2));
    }
}

#[test]
fn many_owners_fill_files_of_many_blocks_and_sizes_stay_exact() {
    let ids = scattered(40_000);
    let sample = owned_by(&ids);
    for words in ["project", "ext3,quota"] {
        let sized = |size| {
            // A journal that could be smaller would make room.
            let mut options = with_features(words, size);
            options.journal = Journal::Bytes(8 * MIB);
            options
        };
        let smallest = Image::make_sparse(&sample, &sized(minimum(0)));
        smallest.check();
        let size = smallest.layout.size_bytes();
        let exact = Image::make_sparse(&sample, &sized(SizeRequest::Exact(size)));
        exact.check();
        let Err(error) = plan(Arc::clone(&sample.tree), &sized(SizeRequest::Exact(size - 4096))) else { panic!("a smaller one does as well") };
        assert!(matches!(error.kind(), ErrorKind::TooSmall { needed, .. } if needed == size), "{error}");
        assert!(error.to_string().contains("quota"), "{error}");
        if let Some(users) = listed(&exact, "user") {
            assert_eq!(users.into_keys().collect::<Vec<_>>(), ids);
        }
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_owners_are_accounted_for(
        owners in prop::collection::vec((any::<u32>(), 0..3000_u32, 0..200_000_u64, any::<bool>()), 0..400),
        words in prop::sample::select(vec!["quota", "project", "modern,project", "ext2,quota", "ext3,quota"]),
        block_bytes in prop::sample::select(vec![1024_u32, 2048, 4096]),
        free in 0..30_000_000_u64,
    ) {
        let mut maker = Maker::default();
        for (n, (uid, gid, length, xattr)) in owners.iter().enumerate() {
            let own = Metadata { uid: *uid, gid: *gid, ..metadata(0o644) };
            let own = if *xattr { maker.with_xattrs(own, &[("user.x", vec![u8::try_from(n % 7).unwrap(); 500])]) } else { own };
            maker.file(format!("{}/{n}", n % 13), own, *length);
        }
        let sample = maker.finish();
        let mut options = with_features(words, minimum(free));
        options.block_bytes = block_bytes;
        Image::make_sparse(&sample, &options).check();
    }
}
