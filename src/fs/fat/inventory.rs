//! What the tree puts on the volume: its entries in the order of their clusters, checked against what FAT can hold.

use super::format::ENTRY_BYTES;
use super::geometry::Geometry;
use super::names::{self, EntryName};
use super::{FatKind, time};
use crate::error::{Error, Result, escape};
use crate::tree::{Entry, FileData, NodeId, NodeKind, Tree};
use crate::units::{index_of, u64_of};
use std::collections::{BTreeMap, HashMap};

/// Entries in a directory (fatgen103, "FAT Directory Structure": a directory's size is at most 2 MiB).
const DIRECTORY_MAX_SLOTS: u64 = 65_536;

/// A directory or file of the volume. A hard link is an item for each of its names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// The directory's position among the items; the root is its own.
    pub(super) parent: u32,
    /// `None` for the root.
    pub(super) entry: Option<Entry>,
    pub(super) name: EntryName,
    pub(super) node: NodeId,
    pub(super) kind: ItemKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ItemKind {
    /// A directory of this many 32-byte entries, `.`, `..` and the label among them.
    Directory {
        slots: u32,
    },
    File(FileData),
}

impl Item {
    /// Bytes in the item's clusters.
    pub(super) fn bytes(&self) -> u64 {
        match self.kind {
            ItemKind::Directory { slots } => u64::from(slots) * u64_of(ENTRY_BYTES),
            ItemKind::File(file) => file.length,
        }
    }

    /// Clusters that the item takes. A directory has one even if it is empty.
    pub(super) fn clusters(&self, cluster_bytes: u64) -> u64 {
        match self.kind {
            ItemKind::Directory { .. } => self.bytes().div_ceil(cluster_bytes).max(1),
            ItemKind::File(file) => file.length.div_ceil(cluster_bytes),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, ItemKind::Directory { .. })
    }

    /// Entries that the item takes in its directory.
    fn slots(&self) -> u64 {
        u64::from(self.name.long_entries) + 1
    }
}

/// All items, the root first, each directory before what is in it.
#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) items: Vec<Item>,
    pub(super) notes: Vec<String>,
}

impl Inventory {
    /// Takes stock of `tree`.
    ///
    /// # Errors
    /// What FAT cannot hold (see the head of [`super`]), with its path.
    pub(super) fn of(tree: &Tree, labelled: bool) -> Result<Self> {
        let root_name = EntryName { short: [b' '; 11], long_entries: 0 };
        let root = Item { parent: 0, entry: None, name: root_name, node: NodeId::ROOT, kind: ItemKind::Directory { slots: u32::from(labelled) } };
        let mut taker = Taker { tree, items: Vec::with_capacity(tree.entry_count() + 1), notes: Notes::default() };
        let mut pending = vec![root];
        while let Some(item) = pending.pop() {
            let position = u32::try_from(taker.items.len()).map_err(|_| Error::limit("over 2^32 entries on a FAT volume"))?;
            taker.notes.take(tree, &item, || taker_path(tree, &taker.items, &item));
            taker.items.push(item);
            if let ItemKind::Directory { .. } = item.kind {
                let start = pending.len();
                taker.children(position, &mut pending)?;
                pending[start..].reverse();
            }
        }
        Ok(Self { items: taker.items, notes: taker.notes.lines() })
    }

    /// Entries in the root directory.
    pub(super) fn root_slots(&self) -> u64 {
        self.items[0].bytes() / u64_of(ENTRY_BYTES)
    }

    /// Clusters that all items take; the root has clusters in FAT32 alone.
    pub(super) fn clusters(&self, shape: &Geometry) -> u64 {
        let first = usize::from(shape.kind != FatKind::Fat32);
        self.items[first..].iter().map(|item| item.clusters(shape.cluster_bytes)).sum()
    }

    /// The path of each item, no slash in front.
    pub(super) fn paths(&self, tree: &Tree) -> Vec<Vec<u8>> {
        let mut paths: Vec<Vec<u8>> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            // A directory comes before what is in it.
            paths.push(item.entry.map_or_else(Vec::new, |entry| join(paths[index_of(item.parent)].clone(), tree.name(&entry))));
        }
        paths
    }

    /// Bytes of all items without any rounding.
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().map(Item::bytes).sum()
    }
}

struct Taker<'a> {
    tree: &'a Tree,
    items: Vec<Item>,
    notes: Notes,
}

impl Taker<'_> {
    /// Appends the items of a directory in the order of its entries, and counts its slots.
    fn children(&mut self, directory: u32, out: &mut Vec<Item>) -> Result<()> {
        let tree = self.tree;
        let item = self.items[index_of(directory)];
        let entries = tree.entries(item.node);
        let path = |name: &[u8]| join(taker_path(tree, &self.items, &item), name);
        let mut texts = Vec::with_capacity(entries.len());
        let mut folded: HashMap<String, &str> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let name = tree.name(entry);
            let text = names::check(name).map_err(|error| error.at_path(path(name)))?;
            if let Some(other) = folded.insert(names::fold(text), text) {
                let other = escape(other.as_bytes());
                return Err(
                    Error::unsupported(format!("the name differs from {other} beside it only by case, which FAT does not tell apart")).at_path(path(name))
                );
            }
            texts.push(text);
        }
        let mut slots = item.bytes() / u64_of(ENTRY_BYTES);
        for (entry, name) in entries.iter().zip(names::entry_names(&texts)?) {
            let kind = item_kind(tree, entry.node).map_err(|error| error.at_path(path(tree.name(entry))))?;
            let child = Item { parent: directory, entry: Some(*entry), name, node: entry.node, kind };
            slots += child.slots();
            out.push(child);
        }
        let slots = u32::try_from(slots).ok().filter(|slots| u64::from(*slots) <= DIRECTORY_MAX_SLOTS).ok_or_else(|| {
            Error::limit(format!("the directory takes {slots} entries of 32 bytes; FAT holds {DIRECTORY_MAX_SLOTS} in one")).at_path(path(b""))
        })?;
        self.items[index_of(directory)].kind = ItemKind::Directory { slots };
        Ok(())
    }
}

/// What a node becomes: a directory begins with its `.` and `..`.
fn item_kind(tree: &Tree, node: NodeId) -> Result<ItemKind> {
    let what = match tree.node(node).kind {
        NodeKind::Directory => return Ok(ItemKind::Directory { slots: 2 }),
        NodeKind::File(file) if file.length > u64::from(u32::MAX) => {
            return Err(Error::unsupported(format!("a file of {} bytes; FAT holds files up to {}", file.length, u32::MAX)));
        }
        NodeKind::File(file) => return Ok(ItemKind::File(file)),
        NodeKind::Symlink(_) => "a symbolic link",
        NodeKind::CharDevice(_) => "a character device",
        NodeKind::BlockDevice(_) => "a block device",
        NodeKind::Fifo => "a named pipe",
        NodeKind::Socket => "a socket",
    };
    Err(Error::unsupported(format!("{what}; FAT holds nothing but directories and files")))
}

/// The path of an item, no slash in front.
fn taker_path(tree: &Tree, items: &[Item], item: &Item) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at = item;
    while let Some(entry) = &at.entry {
        parts.push(tree.name(entry));
        at = &items[index_of(at.parent)];
    }
    parts.reverse();
    parts.join(&b'/')
}

fn join(mut path: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if !path.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// What FAT does not store: how many entries it concerns, and the first of them.
#[derive(Debug, Default)]
struct Notes {
    /// By the attribute's name.
    xattrs: BTreeMap<Box<[u8]>, (u64, Vec<u8>)>,
    links: Option<(u64, Vec<u8>)>,
    times: Option<(u64, Vec<u8>)>,
}

impl Notes {
    fn take(&mut self, tree: &Tree, item: &Item, path: impl Fn() -> Vec<u8>) {
        let node = tree.node(item.node);
        for xattr in tree.xattrs(node.metadata.xattrs) {
            self.xattrs.entry(xattr.name.clone()).or_insert_with(|| (0, path())).0 += 1;
        }
        if node.links > 1 {
            self.links.get_or_insert_with(|| (0, path())).0 += 1;
        }
        // A directory that no source named has no time of its own, and the root's is not stored.
        if !time::in_range(node.metadata.mtime) && !node.implied && item.entry.is_some() {
            self.times.get_or_insert_with(|| (0, path())).0 += 1;
        }
    }

    fn lines(&self) -> Vec<String> {
        let first = |path: &Vec<u8>| if path.is_empty() { "the root".to_owned() } else { escape(path) };
        let mut lines = Vec::new();
        for (name, (count, path)) in &self.xattrs {
            lines.push(format!("FAT stores no extended attributes: {} of {count} entries is dropped, first of {}", escape(name), first(path)));
        }
        if let Some((count, path)) = &self.links {
            lines.push(format!("FAT has no hard links: {count} names have a copy each of what they share, first {}", first(path)));
        }
        if let Some((count, path)) = &self.times {
            lines.push(format!("FAT has times from 1980 to 2107: {count} entries outside get its first or last, first {}", first(path)));
        }
        lines
    }
}
