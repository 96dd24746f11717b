//! What is kept of a disk, written and read again; and what is refused.

use super::*;
use crate::content::{ContentStore, MemoryContents};
use crate::error::ErrorKind;
use crate::fs::ext4::{ParentRun, ParentRunKind};
use crate::guid::Guid;
use crate::source::Source;
use crate::tree::{Metadata, NewNode, NodeId, Tree, TreeBuilder};
use crate::units::{BlockIndex, MIB, u64_of, usize_of};
use crate::{Disk, DiskSpec};
use proptest::prelude::*;

fn source(files: &[(&str, usize)]) -> Source {
    let (mut tree, mut contents) = (TreeBuilder::new(), MemoryContents::new());
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    for (path, len) in files {
        // Nobody reads what is only planned.
        let content = contents.push(vec![7; (*len).min(64 << 20)]).unwrap();
        tree.add(path, metadata, NewNode::File { content, length: u64_of(*len), data: None }).unwrap();
    }
    tree.link("hard", files[0].0).unwrap();
    tree.add("link \\ with a\nname", metadata, NewNode::Symlink(&[b'x'; 200])).unwrap();
    let large = tree.intern_xattrs(vec![crate::tree::Xattr::new("user.large", vec![7; 900])]).unwrap();
    tree.add("fifo", Metadata { xattrs: large, ..metadata }, NewNode::Fifo).unwrap();
    let count = contents.count();
    let mut store = ContentStore::new();
    store.add(Arc::new(contents), count).unwrap();
    Source::new(tree.freeze().unwrap(), store, "made in memory")
}

fn disk(files: &[(&str, usize)]) -> Disk {
    DiskSpec::data(source(files)).name("kept").plan().unwrap()
}

fn layout_of(disk: &Disk) -> Parent {
    let sink = &mut Discard;
    let written = disk.send_to(sink, crate::disk::WriteOptions::default()).unwrap();
    disk.as_parent(&written.checksums).unwrap()
}

struct Discard;

impl crate::stream::BlockSink for Discard {
    fn block(&mut self, _: crate::stream::Block<'_>) -> Result<()> {
        Ok(())
    }
}

fn text_of(parent: &Parent) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&*parent.to_layout().unwrap()), &mut text).unwrap();
    text
}

#[test]
fn what_was_planned_is_what_is_read_from_the_image() {
    let disk = disk(&[("etc/hosts", 70), ("usr/lib/a", 5 << 20), ("usr/lib/b", 0), ("z", 4097)]);
    let planned = layout_of(&disk);
    let image = disk.as_image("the plan").unwrap();
    let read = Parent::of_image(&image, &crate::stream::Cancel::new()).unwrap();
    assert_eq!(read.notes, [""; 0]);
    assert_eq!((&read.disk, &read.data), (&planned.disk, &planned.data));
    let [of_plan, of_image] = [&planned, &read].map(|parent| parent.partitions[0].ext4.clone().unwrap());
    of_plan.check().unwrap();
    assert_eq!(of_plan.runs, of_image.runs);
    assert_eq!(of_plan, of_image);
    assert_eq!(of_plan.epoch, crate::disk::DEFAULT_EPOCH);
    assert!(of_plan.runs.iter().any(|run| run.what == ParentRunKind::Xattrs));
    assert!(of_plan.tree.lookup("lost+found").is_some_and(|node| of_plan.inodes[node.index()] == 11));
}

#[test]
fn a_layout_is_read_as_it_was_written_and_is_the_same_each_time() {
    let parent = Parent { name: String::new(), ..layout_of(&disk(&[("etc/hosts", 70), ("usr/lib/a", 5 << 20), ("\u{1b}[0m", 1)])) };
    let bytes = parent.to_layout().unwrap();
    assert_eq!(parent.to_layout().unwrap(), bytes);
    assert_eq!(Parent::from_layout(&bytes).unwrap(), parent);
    assert_eq!(Parent::from_layout(text_of(&parent).as_bytes()).unwrap(), parent, "its text does as well");
    assert!(file::is_layout(&*bytes) && file::is_layout(text_of(&parent).as_bytes()));
    assert!(!file::is_layout(&b"\x1f\x8b\x08"[..]) && !file::is_layout(&b""[..]) && !file::is_layout(&[0; 512][..]));
}

/// A change of the text, and what is said of it.
type Case = (&'static str, fn(&str) -> String, &'static str);

#[test]
fn what_no_disk_has_is_refused_with_its_line() {
    let text = text_of(&layout_of(&disk(&[("a", 4096), ("b", 4096)])));
    let lines: Vec<&str> = text.lines().collect();
    let line_of = |name: &str| lines.iter().position(|line| line.ends_with(&format!(" {name}"))).unwrap() + 1;
    let run = |name: &str| lines[line_of(name) - 1].split(' ').nth(3).unwrap().to_owned();
    let (a, b) = (run("a"), run("b"));
    let cases: &[Case] = &[
        ("no end", |text| text.replace("end\n", ""), "cut off"),
        ("more behind it", |text| format!("{text}end\n"), "follows the end"),
        ("another version", |text| text.replace("layout 1", "layout 2"), "version 2"),
        ("something else", |_| "hello\n".into(), "no layout"),
        ("nothing", |_| String::new(), "no layout"),
        ("an unknown line", |text| text.replace("end\n", "start\n"), "line"),
        ("a name that leads out", |text| text.replace(" - hard", " - .."), "no name"),
        ("a name with a slash", |text| text.replace(" b\n", " b/c\n"), "no name"),
        ("a name twice", |text| text.replace(" b\n", " a\n"), "twice"),
        ("an escape that is none", |text| text.replace(" b\n", " \\y\n"), "escaped"),
        ("an inode twice", |text| text.replace(" f 13 ", " f 12 "), "inode 12"),
        ("a reserved inode", |text| text.replace(" f 13 ", " f 8 "), "inode 8"),
        ("an inode that there is not", |text| text.replace(" f 13 ", " f 4000000000 "), "inode 4000000000"),
        ("a link to nothing", |text| text.replace(" h 12 ", " h 1200 "), "inode 1200"),
        ("too deep", |text| text.replace("1 f 13", "3 f 13"), "depth 3"),
        ("another root", |text| text.replace("0 d 2 ", "0 f 2 "), "root"),
        ("no kind", |text| text.replace(" f 13 ", " F 13 "), "no kind"),
        (
            "a filesystem twice",
            |text| text.replace("end\n", &format!("{}\n0 d 2 - /\nend\n", text.lines().find(|line| line.starts_with("ext4")).unwrap())),
            "second",
        ),
        ("a filesystem of no partition", |text| text.replace("ext4 1 ", "ext4 7 "), "partition that there is not"),
        ("another filesystem's identifier", |text| text.replacen("ext4 1 ", "ext4 1 00000000-0000-0000-0000-0000000000", 1), "line"),
        ("blocks in no order", |text| text.replace("data ", "data 9+1 "), "line"),
        ("blocks that wrap around", |text| text.replace("data ", "data 18446744073709551615+1 "), "no blocks"),
        ("blocks behind the disk", |text| text.replace("data ", "data 1+9999999999\ndata "), "of 2048"),
        ("no bytes", |text| text.replacen("\"size_bytes\":1073741824", "\"size_bytes\":0", 1), "0 bytes"),
        ("a disk of too many bytes", |text| text.replacen("\"size_bytes\":1073741824", "\"size_bytes\":18446744073709551615", 1), "line 2"),
        ("an aggregate that is none", |text| text.replace("linear ", "linear x"), "base64"),
    ];
    for (what, change, said) in cases {
        let changed = change(&text);
        assert_ne!(changed, text, "{what}: the case changes nothing");
        let error = Parent::from_layout(changed.as_bytes()).expect_err(what);
        assert!(error.to_string().contains(said), "{what}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{what}: {error:?}");
    }
    for (what, from, to, said) in [
        ("blocks of two", b.clone(), a.clone(), "lies in a run of line"),
        ("blocks outside", b.clone(), "262144+1".into(), "from 262144 on"),
        ("no blocks", b.clone(), "5+0".into(), "no run"),
        ("a sum that wraps", b.clone(), "18446744073709551615+2".into(), "18446744073709551615"),
        ("logical blocks backwards", b.clone(), format!("4:{b},1:9000+1"), "behind block"),
        ("signs", b.clone(), "+5+1".into(), "no run"),
    ] {
        let at = line_of("b");
        let changed: Vec<String> = lines.iter().enumerate().map(|(n, line)| if n + 1 == at { line.replace(&from, &to) } else { (*line).to_owned() }).collect();
        let error = Parent::from_layout((changed.join("\n") + "\n").as_bytes()).expect_err(what).to_string();
        assert!(error.contains(said) && error.contains(&format!("line {at} ")), "{what}: {error}");
    }
}

#[test]
fn a_bomb_is_ended_early() {
    let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::new(9));
    std::io::Write::write_all(&mut packed, b"rootvol layout 1\n").unwrap();
    std::io::Write::write_all(&mut packed, &vec![b'x'; 64 << 20]).unwrap();
    let bytes = packed.finish().unwrap();
    assert!(file::is_layout(&*bytes));
    let error = Parent::from_layout(&bytes).unwrap_err();
    assert!(error.to_string().contains("line 2"), "no line is that long: {error}");
    let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::new(9));
    let text = text_of(&layout_of(&disk(&[("a", 1)])));
    let cut = text.find("1 d").unwrap();
    std::io::Write::write_all(&mut packed, &text.as_bytes()[..cut]).unwrap();
    for _ in 0..40 {
        std::io::Write::write_all(&mut packed, "+ 1+1\n".repeat(100_000).as_bytes()).unwrap();
    }
    let error = Parent::from_layout(&packed.finish().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
}

#[test]
fn vacated_blocks_are_those_that_nothing_uses() {
    let mut parent = layout_of(&disk(&[("a", 1)]));
    parent.data = vec![0..3, 5..6, 8..20];
    struct Runs;
    impl crate::layout::Layout for Runs {
        fn size_bytes(&self) -> u64 {
            12 * BLOCK_BYTES + 512
        }
        fn segment_after(&self, offset_bytes: u64) -> Option<crate::layout::Segment> {
            let all = [(1, 2), (5, 6), (9, 10)].map(|(start, end)| start * BLOCK_BYTES..end * BLOCK_BYTES);
            let range = all.into_iter().find(|range| range.end > offset_bytes)?;
            Some(crate::layout::Segment { range, source: crate::layout::SegmentSource::Zeros })
        }
        fn render(&self, _: u64, _: &mut [u8]) {}
    }
    let allocation = AllocationMap::of(&Runs);
    let blocks = |range: &Range<u64>| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
    let vacated = parent.vacated(&allocation, 12 * BLOCK_BYTES + 512);
    assert_eq!(vacated.iter().map(blocks).collect::<Vec<_>>(), [0..1, 2..3, 8..9, 10..13]);
    assert_eq!(vacated.last().unwrap().end, 12 * BLOCK_BYTES + 512);
    parent.data.clear();
    assert!(parent.vacated(&allocation, 12 * BLOCK_BYTES).is_empty());
}

#[test]
fn a_version_with_a_parent_keeps_what_it_is_known_by_and_clears_what_it_leaves() {
    let old = DiskSpec::data(source(&[("a", 20 << 20), ("b", 30 << 20)])).name("one").free(crate::Size::mib(10)).plan().unwrap();
    let parent = layout_of(&old);
    let epoch = Timestamp::from_seconds(1_700_000_000);
    let new = DiskSpec::data(source(&[("b", 30 << 20)])).name("another").epoch(epoch).parent(parent.clone()).plan().unwrap();
    assert_eq!(new.summary(), old.summary());
    let [was, is] = [&old, &new].map(|disk| &disk.partitions()[0]);
    assert_eq!((was.guid, was.offset_bytes, was.size_bytes, &was.label), (is.guid, is.offset_bytes, is.size_bytes, &is.label));
    let [was, is] = [was, is].map(|partition| partition.filesystem.as_ref().unwrap());
    assert_eq!((&was.uuid, was.size_bytes), (&is.uuid, is.size_bytes));
    let kept = layout_of(&new).partitions[0].ext4.clone().unwrap();
    let before = parent.partitions[0].ext4.as_ref().unwrap();
    assert_eq!((kept.hash_seed, kept.epoch), (before.hash_seed, before.epoch));
    assert!(new.notes().iter().any(|note| note.contains("own time is the parent's")), "{:?}", new.notes());
    crate::layout::assert_well_formed(&new);
    assert!(new.vacated_blocks() >= 20, "{}", new.vacated_blocks());
    // Whatever held data before is data or zero now.
    let now = layout_of(&new);
    let mut out = Box::new([1; crate::units::BLOCK_LEN]);
    for index in parent.data.iter().cloned().flatten() {
        assert!(new.allocation().meets(BlockIndex(index), 1).is_some(), "block {index} is not sent");
        if !now.data.iter().any(|range| range.contains(&index)) {
            new.read_block(BlockIndex(index), &mut out).unwrap();
            assert!(crate::checksum::is_zero(&*out), "block {index}");
        }
    }
    // Both ways to walk the segments agree.
    let mut visited = Vec::new();
    let _ = crate::layout::Layout::visit(&new, 0, &mut |segment| {
        visited.push(segment);
        std::ops::ControlFlow::Continue(())
    });
    let mut at = 0;
    for segment in visited {
        assert_eq!(crate::layout::Layout::segment_after(&new, at), Some(segment.clone()));
        at = segment.range.end;
    }
    assert_eq!(crate::layout::Layout::segment_after(&new, at), None);
}

#[test]
fn what_does_not_fit_is_placed_anew_and_what_cannot_be_is_refused() {
    let old = DiskSpec::data(source(&[("a", 1 << 20)])).name("one").free(crate::Size::mib(10)).plan().unwrap();
    let parent = Arc::new(layout_of(&old));
    let spec = |len: usize| DiskSpec::data(source(&[("a", len)])).parent(Arc::clone(&parent));
    let error = spec(1).size(crate::Size::mib(512)).plan().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooSmall { needed: 1_073_741_824, available: 536_870_912 }), "{error}");
    let grown = spec(usize_of(1100 * MIB)).plan().unwrap();
    assert_eq!(grown.size_bytes(), 2 << 30);
    assert!(grown.notes().iter().any(|note| note.contains("does not fit there any more")), "{:?}", grown.notes());
    assert!(grown.notes().iter().any(|note| note.contains("larger than the parent")), "{:?}", grown.notes());
    let larger = spec(1).size(crate::Size::gib(3)).plan().unwrap();
    assert_eq!((larger.size_bytes(), larger.partitions()[0].offset_bytes), (3 << 30, old.partitions()[0].offset_bytes));
    assert!(larger.notes().iter().any(|note| note.contains("made differently")), "{:?}", larger.notes());
    let seeded = DiskSpec { seed: Some(Guid::from_name("x")), ..spec(1) }.plan().unwrap();
    assert_ne!(seeded.summary().guid, old.summary().guid);
    let error = DiskSpec::data(source(&[("a", 1)])).repack(true).plan().unwrap_err();
    assert!(error.to_string().contains("no parent"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_layout_is_read_as_it_was_written(parent in parents()) {
        let bytes = parent.to_layout().unwrap();
        prop_assert_eq!(&Parent::from_layout(&bytes).unwrap(), &parent);
    }

    #[test]
    fn no_change_of_a_layout_makes_a_panic_or_an_impossible_parent(parent in parents(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = text_of(&parent).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(read) = Parent::from_layout(&text) {
            for filesystem in read.partitions.iter().filter_map(|partition| partition.ext4.as_ref()) {
                filesystem.check().unwrap();
            }
        }
    }
}

/// A parent with a filesystem of random names, inodes and runs.
fn parents() -> impl Strategy<Value = Parent> {
    let entry = (prop::collection::vec(any::<u8>(), 1..6), 0..3_usize, any::<bool>(), prop::collection::vec((0..3_u8, 1..5_u64, 0..3_u64), 0..4));
    prop::collection::vec(entry, 0..40).prop_map(|entries| {
        let mut parent = layout_of_nothing();
        let (mut builder, mut directories, mut runs, mut at) = (TreeBuilder::new(), vec![NodeId::ROOT], Vec::new(), 10);
        for (name, within, is_directory, pieces) in entries {
            let directory = directories[within % directories.len()];
            let new = if is_directory { NewNode::Directory } else { NewNode::File { content: crate::ContentId(0), length: 0, data: None } };
            let Ok(Some(node)) = builder.add_in(directory, &name, Metadata::default(), new) else { continue };
            if is_directory {
                directories.push(node);
            }
            for (what, count, gap) in pieces {
                let what = [ParentRunKind::Data, ParentRunKind::Map, ParentRunKind::Xattrs][usize::from(what)];
                runs.push((node, what, at, count, gap));
                at += count + gap;
            }
        }
        let (tree, numbers): (Tree, Vec<NodeId>) = builder.freeze_numbered().unwrap();
        let mut inodes: Vec<u32> = (0..tree.node_count()).map(|node| u32::try_from(node).unwrap() * 3 + 11).collect();
        inodes[0] = 2;
        let mut logical = std::collections::HashMap::new();
        let mut runs: Vec<ParentRun> = runs
            .into_iter()
            .map(|(node, what, start, count, gap)| {
                let next: &mut u64 = logical.entry((node, what)).or_default();
                // Data may have holes; of the others blocks are counted.
                *next += if what == ParentRunKind::Data { gap } else { 0 };
                let run = ParentRun { node: numbers[node.index()], what, logical: *next, start, count };
                *next += count;
                run
            })
            .collect();
        runs.sort_unstable_by_key(|run| (run.node, run.what, run.logical));
        let known = &parent.partitions[0].ext4.clone().unwrap();
        let known = ext4::Parent { tree, inodes, runs, uuid: known.uuid, hash_seed: known.hash_seed, ..**known };
        known.check().unwrap();
        parent.partitions[0].ext4 = Some(Arc::new(known));
        parent
    })
}

/// A disk whose filesystem has nothing in it, made once.
fn layout_of_nothing() -> Parent {
    static NOTHING: std::sync::OnceLock<Parent> = std::sync::OnceLock::new();
    NOTHING.get_or_init(|| Parent { name: String::new(), ..layout_of(&disk(&[("a", 1)])) }).clone()
}
