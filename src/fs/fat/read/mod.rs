//! Reading FAT12, FAT16 and FAT32 volumes that are not trusted: tree, contents, places.
//!
//! Our own, on the writer's structures: the crate fatfs 0.3.6 does not say where a file lies, is tied to one thread and one position,
//! and checks neither loops nor shared clusters. It is the second reader in the tests.
//!
//! ```text
//! volume      boot sector, checked: kind, where FATs, root and clusters lie
//! table       an entry of the FAT through a cache of 4 MiB; a scan of what of it is stored
//! directory   32-byte entries → names, dots, label
//! walk        directories from the root down, then the chain of each file; every cluster is taken once
//! mod         records → tree, in its order; runs of clusters → places
//! check       what reading does not need: copies, counts, marks
//! ```
//!
//! **What is shown**, as Linux's vfat shows it with `tz=UTC,shortname=mixed,iocharset=utf8`: mode 0755 for directories and files, 0555 for files
//! that are read-only, owner 0:0; times of the last change to two seconds, a date of 0 as 1980-01-01; the root, which has no entry,
//! with time 0. Attributes beside read-only are not kept. Unlike Linux, which reads on, a directory ends at its end mark.
//!
//! **What is refused as a whole**: a boot sector that contradicts itself or the disk, versions of FAT32 that are not known, a root
//! directory that begins nowhere. **Damage**, and not in the tree: entries whose chain is broken, loops, meets that of another (then
//! both), or is shorter than the file; names that no tree can hold, two of one name; paths of over 4,096 bytes. **Findings**: what does
//! not touch the tree. exFAT and NTFS are not FAT.

mod check;
mod contents;
mod directory;
mod names;
mod probe;
mod table;
mod volume;
mod walk;

pub use probe::probe;

use super::format::ATTR_READ_ONLY;
use super::time;
use crate::content::ReadAt;
use crate::error::{Error, Result};
use crate::fs::existing::{Place, PlaceOwner, ReadFilesystem, ReadOptions};
use crate::tree::{Metadata, NewNode, NodeId, Tree, TreeBuilder};
use crate::units::{ContentId, index_of, u64_of};
use check::Stray;
use contents::{Extent, FatContents, FileRuns};
use std::sync::Arc;
use volume::Volume;
use walk::{Owner, Walk};

/// Runs of clusters without an owner that are told apart: a FAT of nothing but such would have one for each two clusters.
const STRAY_MAX: usize = 4 << 20;

/// Reads a FAT volume; `None` if `disk` holds none.
///
/// # Errors
/// As [`crate::fs::read`].
pub fn read(disk: &Arc<dyn ReadAt>, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
    let read_at = |offset: u64, out: &mut [u8]| disk.read_exact_at(offset, out);
    let Some(volume) = Volume::decode(&read_at, disk.size_bytes())? else { return Ok(None) };
    let mut walk = Walk::of(disk, &volume, options)?;
    let owned = walk.owned();
    let mut taken = 0;
    let mut stray = Stray::default();
    table::scan(disk, &volume, |cluster, link| {
        taken += 1;
        if !walk.is_taken(cluster) && stray.runs.len() <= STRAY_MAX {
            stray.add(cluster, link);
        }
    })?;
    if stray.runs.len() > STRAY_MAX {
        return Err(Error::limit(format!("over {STRAY_MAX} runs of clusters that no entry leads to")));
    }
    let free = volume.clusters - taken;
    let Grown { tree, files, nodes } = grow(&mut walk)?;
    if options.check {
        check::check(disk, &volume, free, walk.label, &mut walk.findings)?;
        if stray.lost > 0 {
            walk.findings.add(|| Error::corrupt(format!("{} clusters are taken in the FAT, and no entry leads to them", stray.lost)));
        }
    }
    let Walk { extents, label, damage, findings, .. } = walk;
    Ok(Some(ReadFilesystem {
        tree,
        contents_count: u32::try_from(files.len()).map_err(|_| Error::limit("over 2^32 files"))?,
        places: places(&volume, &owned, &nodes, &stray),
        contents: Arc::new(FatContents { disk: Arc::clone(disk), volume: volume.clone(), extents, files }),
        inodes: Vec::new(),
        summary: probe::summary(&volume, free, label),
        notes: Vec::new(),
        damage: damage.finish(),
        findings: findings.finish(),
        unreadable: Vec::new(),
    }))
}

/// The tree with what belongs to it.
struct Grown {
    tree: Tree,
    /// By content number.
    files: Vec<FileRuns>,
    /// The node of each record; none where it is not in the tree.
    nodes: Vec<Option<NodeId>>,
}

/// Makes the tree, in its own order, so that nodes are numbered as they are added.
fn grow(walk: &mut Walk<'_>) -> Result<Grown> {
    let mut builder = TreeBuilder::new();
    builder.add("", Metadata { mode: 0o755, ..Metadata::default() }, NewNode::Directory)?;
    let mut files = Vec::new();
    let mut nodes = vec![None; walk.records.len()];
    let mut path: Vec<u8> = Vec::new();
    // What is left of each open directory, last name first, and the length of its path.
    let mut stack = vec![(in_order(walk, 0), 0)];
    while let Some((left, len)) = stack.last_mut() {
        let Some(number) = left.pop() else {
            stack.pop();
            continue;
        };
        path.truncate(*len);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(walk.name(number));
        let record = walk.records[index_of(number)];
        let read_only = record.directory.is_none() && record.attributes & ATTR_READ_ONLY != 0;
        let metadata = Metadata { mode: if read_only { 0o555 } else { 0o755 }, mtime: time::moment(record.date, record.time), ..Metadata::default() };
        let new = if record.directory.is_some() {
            NewNode::Directory
        } else {
            let content = ContentId(u32::try_from(files.len()).map_err(|_| Error::limit("over 2^32 files"))?);
            files.push(FileRuns { first: record.extents.0, end: record.extents.1, length: record.size });
            NewNode::File { content, length: u64::from(record.size), data: None }
        };
        nodes[index_of(number)] = Some(builder.add(&path, metadata, new)?);
        if let Some(directory) = record.directory {
            let entries = in_order(walk, directory);
            stack.push((entries, path.len()));
        }
    }
    let tree = builder.freeze()?;
    debug_assert_eq!(tree.node_count(), 1 + nodes.iter().flatten().count(), "every node has one name");
    Ok(Grown { tree, files, nodes })
}

/// The records of a directory that can be given, by name from the last to the first; of two of one name the one that stands first.
fn in_order(walk: &mut Walk<'_>, directory: u32) -> Vec<u32> {
    let records = walk.directories[index_of(directory)].records.clone();
    let mut sorted: Vec<u32> = records.filter(|number| !walk.records[index_of(*number)].is_damaged).collect();
    sorted.sort_by(|a, b| walk.name(*a).cmp(walk.name(*b)));
    let mut twice = Vec::new();
    sorted.dedup_by(|second, first| {
        let same = walk.name(*second) == walk.name(*first);
        if same {
            twice.push(*second);
        }
        same
    });
    for number in twice {
        walk.second_of_its_name(number);
    }
    sorted.reverse();
    sorted
}

/// Where everything lies.
fn places(volume: &Volume, owned: &[(Extent, Owner)], nodes: &[Option<NodeId>], stray: &Stray) -> Vec<Place> {
    let structure = |what| PlaceOwner::Structure { what, group: None };
    let mut places = vec![Place { range: 0..volume.fat_offset(0), owner: structure("reserved sectors") }];
    for fat in 0..volume.fats {
        places.push(Place { range: volume.fat_offset(fat)..volume.fat_offset(fat + 1), owner: structure("file allocation table") });
    }
    let root = volume.root_range();
    if !root.is_empty() {
        places.push(Place { range: root, owner: PlaceOwner::Data { node: NodeId::ROOT, offset_bytes: 0 } });
    }
    let range = |cluster: u32, count: u32| volume.cluster_offset(cluster)..volume.cluster_offset(cluster) + u64::from(count) * volume.cluster_bytes;
    places.reserve_exact(owned.len() + stray.runs.len());
    let mut strays = stray.runs.iter().copied().peekable();
    let stray_place =
        |(cluster, count, is_bad)| Place { range: range(cluster, count), owner: structure(if is_bad { "bad clusters" } else { "lost clusters" }) };
    for (extent, owner) in owned {
        while let Some(run) = strays.next_if(|run| run.0 < extent.cluster) {
            places.push(stray_place(run));
        }
        let node = match owner {
            Owner::Root => Some(NodeId::ROOT),
            Owner::Record(record) => nodes[index_of(*record)],
        };
        let data = |node| PlaceOwner::Data { node, offset_bytes: u64::from(extent.at) * volume.cluster_bytes };
        places.push(Place { range: range(extent.cluster, extent.count), owner: node.map_or(structure("damaged entries"), data) });
    }
    places.extend(strays.map(stray_place));
    debug_assert!(places.is_sorted_by(|a, b| a.range.end <= b.range.start) && u64_of(places.len()) > 0, "places overlap");
    places
}
