//! FAT volumes in a boot order and close to an earlier version, judged by fsck.fat, mtools and our own reader.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]
#![allow(clippy::single_range_in_vec_init, reason = "chains of one run")]

mod common;

use common::judge;
use proptest::prelude::*;
use rootvol::content::{MemoryContents, ReadAt};
use rootvol::fs::fat::{self, FatKind, FatLayout, Options, Parent, ParentChain, SizeRequest};
use rootvol::fs::{OrderedPath, ReadFilesystem, ReadOptions};
use rootvol::layout::{Layout as _, SegmentSource, assert_well_formed, fill};
use rootvol::tree::{Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder};
use rootvol::units::{BLOCK_BYTES, ContentId, KIB, MIB};
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::sync::Arc;

/// Path to contents; directories are implied.
type Files = BTreeMap<String, Vec<u8>>;

const KINDS: [(FatKind, u64); 3] = [(FatKind::Fat12, 1990 * KIB), (FatKind::Fat16, 6 * MIB), (FatKind::Fat32, 36 * MIB)];

fn noise(len: usize, seed: u32) -> Vec<u8> {
    (0_u32..).take(len).map(|n| (n ^ seed.wrapping_mul(77_777)).wrapping_mul(2_654_435_761).to_le_bytes()[3] | 1).collect()
}

fn tree_of(files: &Files) -> (Arc<Tree>, MemoryContents) {
    let (mut builder, mut contents) = (TreeBuilder::new(), MemoryContents::default());
    for (path, bytes) in files {
        let content = contents.push(bytes.clone()).unwrap();
        let metadata = Metadata { mode: 0o755, mtime: Timestamp::from_seconds(1_700_000_000), ..Metadata::default() };
        builder.add(path, metadata, NewNode::File { content, length: u64::try_from(bytes.len()).unwrap(), data: None }).unwrap();
    }
    (Arc::new(builder.freeze().unwrap()), contents)
}

fn sample() -> Files {
    let mut files = Files::new();
    for (path, len) in [
        ("EFI/BOOT/BOOTX64.EFI", 70_001),
        ("EFI/BOOT/grubx64.efi", 150_000),
        ("EFI/debian/a file that nobody reads.txt", 200_000),
        ("EFI/debian/grub.cfg", 120),
        ("loader/entries/one.conf", 77),
        ("loader/entries/two.conf", 78),
        ("loader/loader.conf", 20),
        ("vmlinuz", 300_000),
        ("zzz", 0),
    ] {
        files.insert(path.to_owned(), noise(len, u32::try_from(len).unwrap()));
    }
    files
}

fn options(kind: FatKind, size: u64) -> Options {
    let mut options = Options::new();
    options.size = SizeRequest::Exact(size);
    options.kind = Some(kind);
    options.hidden_sectors = 2048;
    options
}

fn ordered(paths: &[&str]) -> Vec<OrderedPath> {
    paths.iter().map(|path| OrderedPath { path: path.as_bytes().to_vec(), ranges: Vec::new() }).collect()
}

fn image_of(layout: &FatLayout, contents: &MemoryContents) -> Vec<u8> {
    assert_well_formed(layout);
    let mut image = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
    fill(layout, contents, 0, &mut image).unwrap();
    image
}

fn read_bytes(image: &[u8]) -> ReadFilesystem {
    let disk: Arc<dyn ReadAt> = Arc::new(image.to_vec());
    let mut options = ReadOptions::default();
    options.check = true;
    fat::read(&disk, &options).unwrap().expect("a FAT volume")
}

fn found(read: &ReadFilesystem) -> Files {
    let mut files = Files::new();
    let add = |path: &[u8], id| {
        if let NodeKind::File(file) = read.tree.node(id).kind {
            let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
            read.contents.read_exact_at(file.content, 0, &mut bytes)?;
            files.insert(String::from_utf8(path.to_vec()).unwrap(), bytes);
        }
        Ok(())
    };
    read.tree.walk(add).unwrap();
    files
}

fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Plans, and has the volume judged: clean, with every file in it; what is unused may hold anything.
fn plan(files: &Files, options: &Options) -> FatLayout {
    let (tree, contents) = tree_of(files);
    let layout = fat::plan(tree, options).unwrap();
    let image = image_of(&layout, &contents);
    let read = read_bytes(&image);
    assert!(read.is_sound(), "{:?} {:?}", read.damage, read.findings);
    assert!(found(&read) == *files, "files differ");
    assert_eq!(Parent::of(&read).unwrap().unwrap(), layout.as_parent());
    let (probed, summary) = (read.summary, layout.summary());
    assert_eq!((probed.free_bytes, probed.used_bytes), (summary.free_bytes, summary.used_bytes));
    if let Some(mut fsck) = judge("fsck.fat") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fat.img");
        let mut filled = vec![0xa5; image.len()];
        for segment in rootvol::layout::segments(&layout, 0..layout.size_bytes()) {
            let range = usize::try_from(segment.range.start).unwrap()..usize::try_from(segment.range.end).unwrap();
            filled[range.clone()].copy_from_slice(&image[range]);
        }
        std::fs::write(&path, filled).unwrap();
        let (ok, text) = output(fsck.arg("-n").arg(&path));
        let complaints: Vec<&str> = text.lines().filter(|line| !line.starts_with("fsck.fat ") && !line.contains(" clusters")).collect();
        assert!(ok && complaints.is_empty(), "fsck.fat: {text}");
    }
    layout
}

fn with_parent(options: &Options, parent: Parent) -> Options {
    let mut options = options.clone();
    options.parent = Some(Arc::new(parent));
    options
}

/// The clusters of a path.
fn chain(layout: &FatLayout, path: &str) -> Vec<Range<u32>> {
    layout.as_parent().chains.into_iter().find(|chain| chain.path == path.as_bytes()).map_or_else(Vec::new, |chain| chain.runs)
}

/// The numbers of the 512-KiB blocks of the disk that hold contents of a file.
fn blocks_of(layout: &FatLayout, options: &Options, path: &str) -> Vec<u64> {
    let parent = layout.as_parent();
    let start = u64::from(options.hidden_sectors) * 512 + parent.data_offset_bytes;
    let offset = |cluster: u32| start + u64::from(cluster - 2) * u64::from(parent.cluster_bytes);
    let runs = chain(layout, path);
    let mut blocks: Vec<u64> = runs.iter().flat_map(|run| offset(run.start) / BLOCK_BYTES..=(offset(run.end) - 1) / BLOCK_BYTES).collect();
    blocks.dedup();
    blocks
}

#[test]
fn the_same_tree_with_itself_as_parent_is_the_same_volume() {
    for (kind, size) in KINDS {
        for order in [vec![], ordered(&["vmlinuz", "EFI/BOOT/grubx64.efi"])] {
            let mut options = options(kind, size);
            options.order = order;
            let first = plan(&sample(), &options);
            let again = plan(&sample(), &with_parent(&options, first.as_parent()));
            let (_, contents) = tree_of(&sample());
            assert!(image_of(&first, &contents) == image_of(&again, &contents), "{kind}");
            assert!(again.notes().is_empty());
        }
    }
}

#[test]
fn what_stays_keeps_its_clusters_and_what_grows_goes_where_it_is_free() {
    for (kind, size) in KINDS {
        let options = options(kind, size);
        let first = plan(&sample(), &options);
        let mut files = sample();
        files.get_mut("EFI/BOOT/BOOTX64.EFI").unwrap().extend(noise(90_000, 5));
        files.get_mut("vmlinuz").unwrap().truncate(10_000);
        files.remove("EFI/debian/a file that nobody reads.txt");
        files.insert("loader/new.conf".to_owned(), noise(500, 6));
        let second = plan(&files, &with_parent(&options, first.as_parent()));
        for path in ["", "EFI", "EFI/BOOT", "EFI/BOOT/grubx64.efi", "EFI/debian/grub.cfg", "loader/entries/two.conf", "loader"] {
            assert_eq!(chain(&second, path), chain(&first, path), "{kind} {path}");
        }
        let (old, new) = (chain(&first, "EFI/BOOT/BOOTX64.EFI"), chain(&second, "EFI/BOOT/BOOTX64.EFI"));
        assert_eq!((new.len(), &new[0]), (2, &old[0]), "{kind}: kept, and the rest in one run");
        let (old, new) = (chain(&first, "vmlinuz"), chain(&second, "vmlinuz"));
        assert!(new.len() == 1 && new[0].start == old[0].start && new[0].end < old[0].end, "{kind}");
        // A third version in which the place behind is free again grows in place.
        files.get_mut("vmlinuz").unwrap().extend(noise(20_000, 7));
        let third = plan(&files, &with_parent(&options, second.as_parent()));
        assert_eq!(chain(&third, "vmlinuz").len(), 1, "{kind}");
        assert_eq!(chain(&third, "vmlinuz")[0].start, old[0].start, "{kind}");
    }
}

#[test]
fn what_an_order_names_lies_first_and_shares_no_block_with_the_rest() {
    let (kind, size) = KINDS[2];
    let mut options = options(kind, size);
    let order = ["EFI/BOOT/BOOTX64.EFI", "/EFI/debian/grub.cfg", "vmlinuz", "not/there"];
    options.order = ordered(&order);
    options.order.push(OrderedPath { path: b"loader/loader.conf".to_vec(), ranges: vec![0..0] });
    let layout = plan(&sample(), &options);
    let mut next = 2;
    for path in ["", "EFI", "EFI/BOOT", "EFI/BOOT/BOOTX64.EFI", "EFI/debian", "EFI/debian/grub.cfg", "vmlinuz", "loader"] {
        let runs = chain(&layout, path);
        assert_eq!((runs.len(), runs[0].start), (1, next), "{path}");
        next = runs[0].end;
    }
    let last = *blocks_of(&layout, &options, "vmlinuz").last().unwrap();
    for path in ["EFI/BOOT/grubx64.efi", "EFI/debian/a file that nobody reads.txt", "loader/loader.conf", "loader/entries/one.conf"] {
        assert!(blocks_of(&layout, &options, path)[0] > last, "{path}");
    }
    let rest: Vec<u32> = layout.as_parent().chains.iter().map(|chain| chain.runs[0].start).filter(|start| *start >= next).collect();
    let offset = 2048 * 512 + layout.as_parent().data_offset_bytes + (u64::from(*rest.iter().min().unwrap()) - 2) * u64::from(layout.as_parent().cluster_bytes);
    assert!(offset % BLOCK_BYTES < u64::from(layout.as_parent().cluster_bytes), "the rest begins with a block: {offset}");
}

#[test]
fn an_order_wins_over_the_parent_once_and_then_the_parent_keeps_it() {
    for (kind, size) in KINDS {
        let plain = options(kind, size);
        // Too much lies between what is ordered for it to be in place already.
        let mut files = sample();
        files.insert("EFI/debian/large".to_owned(), noise(700_000, 4));
        let first = plan(&files, &plain);
        let mut options = plain.clone();
        options.order = ordered(&["vmlinuz", "EFI/BOOT/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"]);
        let second = plan(&files, &with_parent(&options, first.as_parent()));
        let without = plan(&files, &options);
        for path in ["", "vmlinuz", "EFI", "EFI/BOOT", "EFI/BOOT/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"] {
            assert_eq!(chain(&second, path), chain(&without, path), "{kind} {path}");
        }
        // What an order names in another order is there already; and a file that grows a little stays in the zone.
        options.order.reverse();
        let third = plan(&files, &with_parent(&options, second.as_parent()));
        assert_eq!(third.as_parent(), second.as_parent(), "{kind}");
        files.get_mut("vmlinuz").unwrap().extend(noise(3_000, 5));
        let fourth = plan(&files, &with_parent(&options, third.as_parent()));
        for path in ["EFI/BOOT/grubx64.efi", "EFI/BOOT/BOOTX64.EFI", "EFI/debian/grub.cfg"] {
            assert_eq!(chain(&fourth, path), chain(&third, path), "{kind} {path}");
        }
        assert_eq!(chain(&fourth, "vmlinuz")[0], chain(&third, "vmlinuz")[0], "{kind}");
    }
}

#[test]
fn a_parent_of_another_shape_is_not_followed_and_that_is_said() {
    let (kind, size) = KINDS[1];
    let options = options(kind, size);
    let first = plan(&sample(), &options);
    let changes: [fn(&mut Parent); 3] = [|parent| parent.kind = FatKind::Fat32, |parent| parent.cluster_bytes *= 2, |parent| parent.data_offset_bytes += 512];
    for change in changes {
        let mut parent = first.as_parent();
        change(&mut parent);
        let second = plan(&sample(), &with_parent(&options, parent));
        assert_eq!(second.as_parent(), first.as_parent());
        assert!(second.notes().len() == 1 && second.notes()[0].contains("not followed"), "{:?}", second.notes());
    }
}

#[test]
fn of_a_parent_that_lies_only_what_can_be_is_taken() {
    type Lie = fn(&mut Vec<ParentChain>);
    let lies: [Lie; 9] = [
        |chains| chains.iter_mut().for_each(|chain| chain.runs = vec![2..4_000_000]),
        |chains| chains.iter_mut().for_each(|chain| chain.runs = vec![u32::MAX - 1..u32::MAX, 0..u32::MAX]),
        |chains| chains.iter_mut().for_each(|chain| chain.runs.insert(0, 0..2)),
        |chains| chains.iter_mut().for_each(|chain| chain.runs = vec![Range { start: 9, end: 3 }, 5..5, 7..8]),
        |chains| chains.iter_mut().for_each(|chain| chain.runs = (3..1_000).rev().map(|cluster| cluster..cluster + 1).collect()),
        |chains| chains.iter_mut().for_each(|chain| chain.is_directory = !chain.is_directory),
        |chains| chains.extend(chains.clone()),
        |chains| chains.iter_mut().for_each(|chain| chain.path = b"EFI".to_vec()),
        |chains| {
            let all: Vec<_> = chains.iter().map(|chain| chain.runs.clone()).collect();
            chains.iter_mut().zip(all.into_iter().rev()).for_each(|(chain, runs)| chain.runs = runs);
        },
    ];
    for (kind, size) in KINDS {
        for (number, lie) in lies.iter().enumerate() {
            for order in [vec![], ordered(&["vmlinuz", "EFI/debian/grub.cfg"])] {
                let mut options = options(kind, size);
                options.order = order;
                let mut parent = plan(&sample(), &options).as_parent();
                lie(&mut parent.chains);
                eprintln!("{kind}, lie {number}");
                plan(&sample(), &with_parent(&options, parent));
            }
        }
    }
}

#[test]
fn a_volume_without_a_cluster_to_spare_follows_order_and_parent_as_far_as_it_goes() {
    for (kind, _) in KINDS {
        let (tree, _) = tree_of(&sample());
        let mut options = options(kind, 0);
        options.size = SizeRequest::Minimum { free_bytes: 0 };
        if kind != FatKind::Fat12 {
            // These kinds have so many clusters at least that there is room; then a file fills it.
            let room = fat::plan(tree, &options).unwrap().summary().free_bytes;
            let mut files = sample();
            files.insert("fill".to_owned(), noise(usize::try_from(room).unwrap(), 9));
            full(&files, &options);
        } else {
            full(&sample(), &options);
        }
    }
}

fn full(files: &Files, options: &Options) {
    let first = plan(files, options);
    assert_eq!(first.summary().free_bytes, 0);
    let mut options = options.clone();
    options.size = SizeRequest::Exact(first.size_bytes());
    options.order = ordered(&["vmlinuz", "loader/loader.conf", "EFI/BOOT/BOOTX64.EFI"]);
    let second = plan(files, &with_parent(&options, first.as_parent()));
    assert_eq!(chain(&second, "vmlinuz").len(), 1);
    let mut files = files.clone();
    let moved = files["vmlinuz"][200_000..].to_vec();
    files.get_mut("vmlinuz").unwrap().truncate(200_000);
    files.get_mut("EFI/debian/grub.cfg").unwrap().extend(moved);
    let clusters = |files: &Files| files.values().map(|bytes| bytes.len().div_ceil(512)).sum::<usize>();
    if clusters(&files) > clusters(&sample()) {
        files.get_mut("EFI/BOOT/BOOTX64.EFI").unwrap().truncate(60_000);
    }
    plan(&files, &with_parent(&options, second.as_parent()));
}

#[test]
fn over_many_versions_files_stay_in_few_pieces() {
    let (kind, size) = KINDS[2];
    let options = options(kind, size);
    let mut files = Files::new();
    for number in 0..60 {
        files.insert(format!("d{}/file-{number}", number % 7), noise(40_000 + 900 * number, 1));
    }
    let mut layout = plan(&files, &options);
    for version in 0..40_usize {
        for (number, bytes) in files.values_mut().enumerate() {
            if (number * 7 + version) % 10 == 0 {
                let len = bytes.len();
                *bytes = noise(if (number + version) % 3 == 0 { len * 4 / 5 } else { len + len / 6 }, u32::try_from(version).unwrap());
            }
        }
        if version % 5 == 0 {
            files.pop_first();
            files.insert(format!("new/{version}"), noise(50_000, 3));
        }
        layout = plan(&files, &with_parent(&options, layout.as_parent()));
        let most = layout.as_parent().chains.iter().map(|chain| chain.runs.len()).max().unwrap();
        assert!(most <= 5, "{most} pieces in version {version}");
    }
}

#[test]
fn mtools_reads_files_in_pieces() {
    let Some(mut mcopy) = judge("mcopy") else { return };
    for (kind, size) in KINDS {
        let options = options(kind, size);
        let mut files = sample();
        let mut layout = plan(&files, &options);
        for _ in 0..3 {
            for bytes in files.values_mut() {
                bytes.extend(noise(7_000, 4));
            }
            layout = plan(&files, &with_parent(&options, layout.as_parent()));
        }
        assert!(chain(&layout, "EFI/BOOT/BOOTX64.EFI").len() > 2, "{kind}");
        let folder = tempfile::tempdir().unwrap();
        let (image, out) = (folder.path().join("fat.img"), folder.path().join("out"));
        std::fs::write(&image, image_of(&layout, &tree_of(&files).1)).unwrap();
        std::fs::create_dir(&out).unwrap();
        let (ok, text) =
            output(mcopy.env("LC_ALL", "C.UTF-8").args(["-s", "-n", "-i"]).arg(&image).args(["::/EFI", "::/loader", "::/vmlinuz", "::/zzz"]).arg(&out));
        assert!(ok, "{text}");
        for (path, bytes) in &files {
            assert!(std::fs::read(out.join(path)).unwrap() == *bytes, "{kind} {path}");
        }
        mcopy = judge("mcopy").unwrap();
    }
}

#[test]
fn contents_in_pieces_and_with_holes_are_where_they_belong() {
    let (kind, size) = KINDS[1];
    let options = options(kind, size);
    let mut first = sample();
    first.insert("holes".to_owned(), noise(30_000, 1));
    let parent = plan(&first, &options).as_parent();
    let (mut builder, mut contents) = (TreeBuilder::new(), MemoryContents::default());
    let bytes = noise(200_000, 2);
    let content: ContentId = contents.push(bytes.clone()).unwrap();
    let data = [(100, 20_000), (29_000, 60_000), (150_000, 1)];
    builder.add("holes", Metadata::default(), NewNode::File { content, length: 200_000, data: Some(&data) }).unwrap();
    let keep = contents.push(noise(300_000, 300_000)).unwrap();
    builder.add("vmlinuz", Metadata::default(), NewNode::File { content: keep, length: 300_000, data: None }).unwrap();
    let layout = fat::plan(Arc::new(builder.freeze().unwrap()), &with_parent(&options, parent)).unwrap();
    assert!(chain(&layout, "holes").len() > 1);
    let read = read_bytes(&image_of(&layout, &contents));
    assert!(read.is_sound());
    let mut wanted = vec![0; 200_000];
    for (offset, len) in data {
        let range = usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap();
        wanted[range.clone()].copy_from_slice(&bytes[range]);
    }
    assert!(found(&read)["holes"] == wanted);
    assert!(rootvol::layout::segments(&layout, 0..layout.size_bytes()).any(|segment| segment.source == SegmentSource::Zeros));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn chains_of_random_versions_orders_and_lies_are_clean(
        kind in prop::sample::select(KINDS[..2].to_vec()),
        cluster_bytes in prop::sample::select(vec![None, Some(2048)]),
        versions in prop::collection::vec((
            prop::collection::vec((0..40_usize, 0..60_000_usize), 1..20),
            prop::collection::vec((0..40_usize, any::<bool>()), 0..8),
            prop::collection::vec((0..40_usize, 0..3_000_u32, 0..40_u32), 0..4),
        ), 2..7),
    ) {
        let mut files = Files::new();
        let mut parent: Option<Parent> = None;
        let path = |number: usize| format!("{}file-with-a-long-name-{number}", ["", "a/", "a/b/", "c/"][number % 4]);
        for (number, (changes, order, lies)) in versions.into_iter().enumerate() {
            for (file, len) in changes {
                if len % 9 == 0 { files.remove(&path(file)); } else { files.insert(path(file), noise(len % 30_000, u32::try_from(number + len).unwrap())); }
            }
            let mut options = options(kind.0, kind.1);
            options.cluster_bytes = cluster_bytes.filter(|_| kind.0 == FatKind::Fat12);
            let entry = |(file, alone): (usize, bool)| OrderedPath { path: path(file).into_bytes(), ranges: if alone { vec![Range { start: 0, end: 0 }] } else { Vec::new() } };
            options.order = order.into_iter().map(entry).collect();
            if let Some(parent) = &mut parent {
                for (chain, start, len) in lies {
                    let count = parent.chains.len().max(1);
                    if let Some(chain) = parent.chains.get_mut(chain % count) {
                        chain.runs.push(start..start + len);
                        chain.runs.rotate_right(1);
                    }
                }
            }
            options.parent = parent.take().map(Arc::new);
            parent = Some(plan(&files, &options).as_parent());
        }
    }
}
