//! Placing by packing, by an earlier version and by a boot order: every filesystem is sound and holds its tree, and what stays, stays.

use crate::image::{Image, options};
use crate::random::{Item, cases, choices, item, sample, what_it_holds};
use crate::sample::{Maker, Sample, metadata};
use proptest::prelude::*;
use rootvol::Guid;
use rootvol::fs::OrderedPath;
use rootvol::fs::ext4::{Options, Packing, Parent, ParentRunKind, SizeRequest, plan};
use rootvol::layout::fill;
use rootvol::tree::{NewNode, NodeKind};
use std::collections::BTreeMap;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// What a snapshot stores as one.
const BLOCK: usize = 512 << 10;

/// The next version of a list of items: some are gone, some have another length.
fn changed(items: &[Item], choices: &[u8], added: &[Item]) -> Vec<Item> {
    let mut next = Vec::new();
    for (item, choice) in items.iter().zip(choices.iter().cycle()) {
        match choice {
            0 => {}
            1 | 2 => next.push(item.with_length(|length| length.saturating_mul(u64::from(*choice)).saturating_sub(5000))),
            _ => next.push(item.clone()),
        }
    }
    next.extend_from_slice(added);
    next
}

/// An order that names some of a tree's paths, and some that are not there.
fn order(sample: &Sample, picks: &[(prop::sample::Index, u8)]) -> Vec<OrderedPath> {
    let ids: Vec<_> = sample.tree.nodes().map(|(id, _)| id).collect();
    let entry = |(pick, what): &(prop::sample::Index, u8)| {
        let id = *pick.get(&ids);
        let ranges = match what % 5 {
            0 | 1 => Vec::new(),
            2 => std::iter::once(0..0).collect(),
            3 => vec![100..5000, 300_000..400_000],
            _ => std::iter::once(u64::from(*what) * 1000..u64::MAX).collect(),
        };
        let path = if *what == 7 { b"not/there".to_vec() } else { sample.tree.path_of(id) };
        OrderedPath { path, ranges }
    };
    picks.iter().map(entry).collect()
}

fn picks() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..25)
}

/// Judges one version and gives what the next one is to stay close to; `None` where the tree does not fit the size.
fn judged(sample: &Sample, options: &Options) -> Result<Option<Arc<Parent>>, TestCaseError> {
    let image = match Image::try_make(sample, options, false) {
        Ok(image) => image,
        Err(error) => {
            let too_small = matches!(error.kind(), rootvol::ErrorKind::TooSmall { .. });
            let of_exact = too_small && matches!(options.size, SizeRequest::Exact(_));
            prop_assert!(of_exact || options.blocks_per_group.is_some(), "{}", error);
            return Ok(None);
        }
    };
    if let SizeRequest::Minimum { free_bytes } = options.size {
        prop_assert!(image.layout.available_bytes() >= free_bytes);
    }
    image.check();
    image.agrees_with_dumpe2fs();
    if options.inode_bytes > 128 || sample.tree.nodes().all(|(_, node)| node.metadata.mtime.nanoseconds == 0) {
        crate::reading::assert_same(&crate::reading::read_sound(image.path()), &sample.tree, &*sample.contents);
    }
    let parent = image.layout.as_parent().unwrap();
    parent.check().unwrap();
    // The same inputs give the same places.
    prop_assert_eq!(&plan(Arc::clone(&sample.tree), options).unwrap().as_parent().unwrap(), &parent);
    Ok(Some(Arc::new(parent)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_version_of_a_chain_is_sound(
        items in prop::collection::vec(item(), 0..60),
        changes in prop::collection::vec((prop::collection::vec(0..12_u8, 1..40), prop::collection::vec(item(), 0..12)), 1..4),
        options in choices(),
        dense in any::<bool>(),
        picks in prop::collection::vec(picks(), 4),
    ) {
        let mut options = options;
        options.packing = if dense { Packing::Dense } else { Packing::Stable };
        let mut items = items;
        for (version, picks) in picks.iter().enumerate() {
            let held = what_it_holds(&sample(&items), &options);
            options.order = order(&held, picks);
            match judged(&held, &options)? {
                Some(parent) => options.parent = Some(parent),
                None => return Ok(()),
            }
            let Some((choices, added)) = changes.get(version) else { break };
            items = changed(&items, choices, added);
        }
    }

    #[test]
    fn a_parent_that_lies_is_not_believed(
        items in prop::collection::vec(item(), 1..40),
        options in choices(),
        lies in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u64>()), 1..20),
    ) {
        let mut options = options;
        let held = what_it_holds(&sample(&items), &options);
        let Ok(layout) = plan(Arc::clone(&held.tree), &options) else { return Ok(()) };
        let mut parent = layout.as_parent().unwrap();
        for (at, what, value) in lies {
            let small = value % 100_000;
            if what % 4 == 3 || parent.runs.is_empty() {
                let at = at.index(parent.inodes.len());
                parent.inodes[at] = u32::try_from(if what % 8 == 3 { value % (1 << 32) } else { value % 40 }).unwrap();
                continue;
            }
            let at = at.index(parent.runs.len());
            let run = &mut parent.runs[at];
            match what % 4 {
                0 => run.start = if what > 128 { value } else { small },
                1 => run.count = if what > 128 { value } else { small },
                _ => run.logical = if what > 128 { value } else { small },
            }
        }
        options.parent = Some(Arc::new(parent));
        judged(&held, &options)?;
    }
}

/// Numbers that look random and are the same every time.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Files by path, with their length and the number of their contents.
type Files = BTreeMap<String, (u64, u32)>;

fn files(count: u64) -> Files {
    let mut state = 7;
    let length = |state: &mut u64| match random(state) % 100 {
        0..45 => 1 + random(state) % 4000,
        45..80 => random(state) % 32_000,
        80..97 => random(state) % 120_000,
        _ => random(state) % 1_500_000,
    };
    (0..count).map(|n| (format!("d{}/s{}/f{n}", n % 17, n % 71), (length(&mut state), 0))).collect()
}

/// A tree of the files; a file of another version has another time.
fn tree(files: &Files) -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    for (path, (length, version)) in files {
        let mut with = metadata(0o644);
        with.mtime.seconds += i64::from(*version);
        maker.file(path, with, *length);
    }
    maker.finish()
}

/// One in a hundred changes, one in five hundred goes, and as many come.
fn next(files: &Files, version: u32, state: &mut u64) -> Files {
    let mut next = files.clone();
    let paths: Vec<&String> = files.keys().collect();
    let pick = |state: &mut u64| paths[usize::try_from(random(state)).unwrap() % paths.len()].clone();
    for _ in 0..paths.len() / 100 {
        let (length, of) = next.get_mut(&pick(state)).unwrap();
        (*length, *of) = (*length * (80 + random(state) % 41) / 100, version);
    }
    for number in 0..paths.len() / 500 {
        next.remove(&pick(state));
        let (beside, length) = (pick(state), files[&pick(state)].0);
        next.insert(format!("{beside}.v{version}n{number}"), (length, version));
    }
    next
}

fn of_size(bytes: u64) -> Options {
    options(SizeRequest::Exact(bytes))
}

/// By path: the inode and the stretches of data (logical, start, count).
type Places = BTreeMap<Vec<u8>, (u32, Vec<(u64, u64, u64)>)>;

fn places(parent: &Parent) -> Places {
    let nodes = parent.tree.nodes().map(|(id, _)| (parent.tree.path_of(id), (parent.inodes[id.index()], Vec::new())));
    let mut places: Places = nodes.collect();
    for run in parent.runs.iter().filter(|run| run.what == ParentRunKind::Data) {
        places.get_mut(&parent.tree.path_of(run.node)).unwrap().1.push((run.logical, run.start, run.count));
    }
    places
}

/// Files in several pieces.
fn in_pieces(parent: &Parent) -> usize {
    let is_file = |path: &[u8]| matches!(parent.tree.node(parent.tree.lookup(path).unwrap()).kind, NodeKind::File(_));
    places(parent).iter().filter(|(path, (_, runs))| runs.len() > 1 && is_file(path)).count()
}

/// The blocks of 512 KiB that hold anything.
fn pages(parent: &Parent) -> usize {
    let per_page = 128;
    let pages = parent.runs.iter().flat_map(|run| run.start / per_page..=(run.end() - 1) / per_page);
    pages.collect::<std::collections::BTreeSet<_>>().len()
}

/// How many blocks of 512 KiB of two filesystems of one size differ.
fn differing(old: (&Sample, &Options), new: (&Sample, &Options)) -> usize {
    let layouts = [old, new].map(|(sample, options)| (plan(Arc::clone(&sample.tree), options).unwrap(), sample));
    let SizeRequest::Exact(bytes) = old.1.size else { panic!("of one size") };
    let read = |at: u64| {
        let blocks = layouts.each_ref().map(|(layout, sample)| {
            let mut block = vec![0; BLOCK];
            fill(layout, &*sample.contents, at, &mut block).unwrap();
            block
        });
        blocks[0] != blocks[1]
    };
    (0..bytes).step_by(BLOCK).filter(|at| read(*at)).count()
}

#[test]
fn what_survives_keeps_its_inode_and_its_blocks() {
    let (mut files, mut state) = (files(3000), 1);
    let mut with = of_size(256 * MIB);
    let mut parent = plan(Arc::clone(&tree(&files).tree), &with).unwrap().as_parent().unwrap();
    for version in 1..4 {
        let after = next(&files, version, &mut state);
        with.parent = Some(Arc::new(parent));
        let layout = plan(Arc::clone(&tree(&after).tree), &with).unwrap();
        let moved = layout.notes();
        let new = layout.as_parent().unwrap();
        let (before, now) = (places(with.parent.as_ref().unwrap()), places(&new));
        let mut moved_files = 0;
        for (path, (ino, runs)) in before.iter().filter(|(path, _)| now.contains_key(*path)) {
            let (new_ino, new_runs) = &now[path];
            assert_eq!(ino, new_ino, "{}", String::from_utf8_lossy(path));
            // Each logical block that both have lies where it did.
            let place =
                |runs: &[(u64, u64, u64)], logical: u64| runs.iter().find(|run| (run.0..run.0 + run.2).contains(&logical)).map(|run| run.1 + logical - run.0);
            let blocks = runs.iter().flat_map(|run| run.0..run.0 + run.2).filter_map(|logical| Some((place(runs, logical)?, place(new_runs, logical)?)));
            moved_files += usize::from(blocks.into_iter().any(|(old, new)| old != new));
        }
        assert!(moved_files == 0 || moved.iter().any(|note| note.starts_with(&format!("{moved_files} files"))), "{moved_files} moved: {moved:?}");
        (files, parent) = (after, new);
    }
}

#[test]
fn a_changed_byte_changes_a_few_blocks() {
    let old = files(2000);
    let mut new = old.clone();
    new.get_mut("d5/s5/f5").unwrap().1 = 1;
    let with = of_size(128 * MIB);
    let [old, new] = [old, new].map(|files| tree(&files));
    let mut child = with.clone();
    child.parent = Some(Arc::new(plan(Arc::clone(&old.tree), &with).unwrap().as_parent().unwrap()));
    // The contents are the same here, so it is the inode alone.
    assert_eq!(differing((&old, &with), (&new, &child)), 1);
    assert_eq!(differing((&old, &with), (&new, &with)), 1);
    assert_eq!(differing((&old, &with), (&old, &child)), 0);
}

#[test]
fn small_changes_stay_small_without_a_parent() {
    let old = files(2000);
    let mut new = old.clone();
    for path in ["d3/s3/f3", "d5/s14/f1008", "d9/s9/f9"] {
        new.get_mut(path).unwrap().0 += 9000;
    }
    // The last path, so that the numbers of the others' contents stay.
    new.insert("z/new".into(), (6000, 1));
    let old_and_new = [old, new].map(|files| tree(&files));
    let [stable, dense] = [Packing::Stable, Packing::Dense].map(|packing| {
        let mut with = of_size(256 * MIB);
        with.packing = packing;
        differing((&old_and_new[0], &with), (&old_and_new[1], &with))
    });
    assert!(stable * 4 < dense, "{stable} blocks differ, {dense} without gaps");
}

#[test]
fn fifty_versions_stay_in_few_pieces() {
    let (mut files, mut state) = (files(3000), 3);
    let mut with = of_size(512 * MIB);
    let fresh_pages = |files: &Files| {
        let layout = plan(Arc::clone(&tree(files).tree), &of_size(512 * MIB)).unwrap();
        (layout.summary().used_bytes, pages(&layout.as_parent().unwrap()))
    };
    for version in 0..50 {
        let layout = plan(Arc::clone(&tree(&files).tree), &with).unwrap();
        let parent = layout.as_parent().unwrap();
        parent.check().unwrap();
        let pieces = in_pieces(&parent);
        assert!(pieces * 50 <= files.len(), "version {version}: {pieces} of {} files in pieces", files.len());
        if version % 10 == 9 {
            let (used, fresh) = fresh_pages(&files);
            assert!(layout.summary().used_bytes * 20 <= used * 21, "version {version}");
            assert!(pages(&parent) * 20 <= fresh * 21, "version {version}: {} blocks of 512 KiB hold data, {fresh} in a fresh build", pages(&parent));
        }
        with.parent = Some(Arc::new(parent));
        files = next(&files, version + 1, &mut state);
    }
}

#[test]
fn what_is_read_first_lies_together_and_stays_there() {
    let files = files(2000);
    let sample = tree(&files);
    let mut with = of_size(256 * MIB);
    let named: Vec<&String> = files.keys().filter(|path| path.ends_with('7')).collect();
    let whole = |path: &str| OrderedPath { path: path.as_bytes().to_vec(), ranges: Vec::new() };
    with.order = named.iter().map(|path| whole(path)).collect();
    let large = files.iter().max_by_key(|(_, (length, _))| *length).unwrap().0;
    with.order.retain(|entry| entry.path != large.as_bytes());
    with.order.insert(0, OrderedPath { path: large.as_bytes().to_vec(), ranges: vec![0..10_000, 400_000..500_000] });
    let image = Image::make(&sample, &with);
    image.check();
    let parent = image.layout.as_parent().unwrap();
    let placed = places(&parent);
    let of_named = |parent: &Parent| {
        let placed = places(parent);
        let mut pages = std::collections::BTreeSet::new();
        for path in named.iter().filter(|path| **path != large) {
            pages.extend(placed[path.as_bytes()].1.iter().flat_map(|run| run.1 / 128..=(run.1 + run.2 - 1) / 128));
        }
        pages
    };
    let pages = of_named(&parent);
    let blocks: u64 = named.iter().filter(|path| **path != large).map(|path| files[*path].0.div_ceil(4096)).sum();
    assert!(u64::try_from(pages.len()).unwrap() <= (blocks + 3 + 25).div_ceil(128) + 1, "{} blocks of 512 KiB for {blocks} of 4 KiB", pages.len());
    // Nobody else is there.
    for (path, (_, runs)) in placed.iter().filter(|(path, _)| !with.order.iter().any(|entry| entry.path == **path)) {
        assert!(!runs.iter().any(|run| pages.contains(&(run.1 / 128))), "{}", String::from_utf8_lossy(path));
    }
    // In the order of reading, and with the first inodes.
    let starts: Vec<u64> = with.order.iter().map(|entry| placed[&entry.path].1.first().map_or(0, |run| run.1)).filter(|start| *start > 0).collect();
    assert!(starts.is_sorted());
    let inodes: Vec<u32> = with.order.iter().map(|entry| placed[&entry.path].0).collect();
    assert!(inodes.windows(2).all(|pair| pair[1] == pair[0] + 1) && inodes[0] == 12, "{inodes:?}");
    // The large file is in two places: what is read first, and the rest.
    let large = &placed[large.as_bytes()].1;
    assert!((2..=4).contains(&large.len()) && pages.contains(&(large[0].1 / 128)), "{large:?}");

    // From then on the parent keeps them there, with the order and without.
    let mut child = with.clone();
    child.parent = Some(Arc::new(parent));
    assert_eq!(differing((&sample, &with), (&sample, &child)), 0);
    child.order.clear();
    assert_eq!(differing((&sample, &with), (&sample, &child)), 0);

    // A parent that had no order: what is named moves there once.
    let plain = of_size(256 * MIB);
    let mut later = with.clone();
    later.parent = Some(Arc::new(plan(Arc::clone(&sample.tree), &plain).unwrap().as_parent().unwrap()));
    let moved = plan(Arc::clone(&sample.tree), &later).unwrap().as_parent().unwrap();
    assert!(of_named(&moved).len() <= pages.len() + 1);
    Image::make(&sample, &later).check();
    let mut again = with.clone();
    again.parent = Some(Arc::new(moved));
    assert_eq!(differing((&sample, &later), (&sample, &again)), 0);
}

#[test]
fn a_parent_of_another_geometry_is_used_as_far_as_it_fits() {
    let files = files(800);
    let sample = tree(&files);
    let parent = Arc::new(plan(Arc::clone(&sample.tree), &of_size(128 * MIB)).unwrap().as_parent().unwrap());
    for (bytes, block_bytes, inode_bytes) in [(256 * MIB, 4096, 256), (100 * MIB, 4096, 256), (128 * MIB, 4096, 512), (128 * MIB, 1024, 256)] {
        let mut with = of_size(bytes);
        (with.block_bytes, with.inode_bytes) = (block_bytes, inode_bytes);
        with.parent = Some(Arc::clone(&parent));
        let image = Image::make(&sample, &with);
        image.check();
        let new = image.layout.as_parent().unwrap();
        let (before, now) = (places(&parent), places(&new));
        let same = before.iter().filter(|(path, place)| now.get(*path) == Some(place)).count();
        if block_bytes == 4096 {
            assert!(same * 10 > before.len() * 5, "{bytes}: {same} of {}", before.len());
        } else {
            assert!(image.layout.notes().iter().any(|note| note.contains("blocks of 4096 bytes")));
        }
    }
}

#[test]
fn identifiers_do_not_move_anything() {
    let sample = tree(&files(500));
    let mut other = of_size(64 * MIB);
    other.uuid = Guid::from_name("another");
    let [a, b] = [of_size(64 * MIB), other].map(|options| plan(Arc::clone(&sample.tree), &options).unwrap().as_parent().unwrap());
    assert_eq!((a.inodes, a.runs), (b.inodes, b.runs));
}
