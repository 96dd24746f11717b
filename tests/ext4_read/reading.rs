//! Opening an image, and comparing what was read with a tree.

use rootvol::content::{Contents, ReadAt};
use rootvol::error::escape;
use rootvol::fs::{ReadFilesystem, ReadOptions, ext4};
use rootvol::tree::{NodeId, NodeKind, Tree};
use rootvol::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file as a disk.
pub(crate) struct FileDisk(File, u64);

impl FileDisk {
    pub(crate) fn open(path: &Path) -> Arc<dyn ReadAt> {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Arc::new(Self(file, size))
    }
}

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.1
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.0.read_exact_at(out, offset_bytes).map_err(|error| Error::io("cannot read", error).at_offset(offset_bytes))
    }
}

pub(crate) fn checking() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.check = true;
    options
}

pub(crate) fn read(path: &Path) -> Result<ReadFilesystem> {
    ext4::read(&FileDisk::open(path), &checking()).map(|read| read.expect("there is a filesystem"))
}

/// Reads a filesystem in which nothing may be wrong.
#[track_caller]
pub(crate) fn read_sound(path: &Path) -> ReadFilesystem {
    let read = read(path).unwrap();
    assert!(read.is_sound(), "{read:#?}");
    assert_places(&read);
    read
}

/// Places ascend, are disjoint and inside, and every byte of data is where the contents find it.
pub(crate) fn assert_places(read: &ReadFilesystem) {
    let mut end = 0;
    for place in &read.places {
        assert!(place.range.start >= end && place.range.start < place.range.end, "{place:?}");
        end = place.range.end;
    }
    assert!(end <= read.summary.size_bytes);
    assert_eq!(read.inodes.len(), read.tree.node_count());
}

/// What is compared of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) metadata: String,
    pub(crate) kind: String,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

fn shown(tree: &Tree, id: NodeId) -> Shown {
    let node = tree.node(id);
    let m = node.metadata;
    let kind = match node.kind {
        NodeKind::Directory => "directory".to_owned(),
        NodeKind::File(file) => format!("file of {}", file.length),
        NodeKind::Symlink(_) => format!("link to {}", escape(tree.target(id))),
        other => format!("{other:?}"),
    };
    let metadata = format!(
        "{:o} {}:{} {}.{:09} attributes {:x} project {} links {}",
        m.mode, m.uid, m.gid, m.mtime.seconds, m.mtime.nanoseconds, m.attributes, m.project, node.links
    );
    Shown { metadata, kind, xattrs: tree.xattrs(m.xattrs).iter().map(|xattr| (escape(&xattr.name), xattr.value.to_vec())).collect() }
}

pub(crate) fn all(tree: &Tree) -> BTreeMap<String, (Shown, NodeId)> {
    let mut all = BTreeMap::new();
    tree.walk(|path, id| {
        all.insert(escape(path), (shown(tree, id), id));
        Ok(())
    })
    .unwrap();
    all
}

/// Whether this is the lost+found that a writer adds.
fn is_added_lost_found(tree: &Tree) -> Option<NodeId> {
    tree.lookup("lost+found").filter(|id| tree.node(*id).is_directory() && tree.entries(*id).is_empty() && tree.node(*id).metadata.mode == 0o700)
}

/// Everything is the same but an empty lost+found that was added.
#[track_caller]
pub(crate) fn assert_same(read: &ReadFilesystem, tree: &Tree, contents: &dyn Contents) {
    let (found, expected) = (all(&read.tree), all(tree));
    let added = is_added_lost_found(&read.tree).filter(|_| tree.lookup("lost+found").is_none());
    for (path, (shown, id)) in &expected {
        let (other, there) = found.get(path).unwrap_or_else(|| panic!("{path:?} is missing; {:?} {:?}", read.damage, read.unreadable));
        assert_eq!(other, shown, "{path}");
        if let (NodeKind::File(file), NodeKind::File(other)) = (tree.node(*id).kind, read.tree.node(*there).kind) {
            compare_contents(path, (&*read.contents, other), (contents, file), &read.tree);
        }
    }
    assert_eq!(
        found.len(),
        expected.len() + usize::from(added.is_some()),
        "{:?}",
        found.keys().filter(|path| !expected.contains_key(*path)).collect::<Vec<_>>()
    );
}

fn compare_contents(path: &str, read: (&dyn Contents, rootvol::tree::FileData), expected: (&dyn Contents, rootvol::tree::FileData), tree: &Tree) {
    const MOST: u64 = 1 << 20;
    let length = read.1.length;
    let mut ranges: Vec<(u64, u64)> = vec![(0, length.min(MOST))];
    // Of long ones, around what is data.
    for (start, len) in tree.data_ranges(&read.1).take(200) {
        let from = start.saturating_sub(5000);
        ranges.push((from, (len.min(MOST) + 10_000).min(length - from)));
    }
    for (start, len) in ranges {
        let (mut one, mut other) = (vec![0xaa; usize::try_from(len).unwrap()], vec![0xbb; usize::try_from(len).unwrap()]);
        read.0.read_exact_at(read.1.content, start, &mut one).unwrap_or_else(|error| panic!("{path}: {error}"));
        expected.0.read_exact_at(expected.1.content, start, &mut other).unwrap();
        assert!(one == other, "{path}: contents from {start}");
    }
}
