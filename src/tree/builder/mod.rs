//! Making a tree, and the rules by which entries and whole trees are laid over each other.
//!
//! One set of rules for every source, archive or layer:
//! 1. Paths are virtual: the host's filesystem never resolves one. Absolute names are confined to the root, `..` is
//!    refused.
//! 2. A parent that is a symbolic link is followed inside the tree, as `chroot` would (at most
//!    [`super::SYMLINKS_MAX`] links). A parent that is missing is made (mode 0755, owner 0:0, time 0 or as asked) and marked
//!    `implied`; a later entry for it sets its metadata.
//! 3. The last part of a path is never followed: a directory over a directory keeps the entries and takes the new
//!    metadata; anything else replaces what was there, a directory with all its entries.
//! 4. A tree over a tree: the same, entry by entry; the root keeps the metadata of the lowest tree that named it, and
//!    an implied directory over a link to a directory is that directory.
//! 5. A hard link names what its target is at that moment; the target must be in the same source.

mod direct;
mod freeze;
mod resolve;

use super::xattr::Interner;
use super::{
    ByteRange, Device, ENTRIES_MAX, Entry, FileData, HolesId, Metadata, NAME_MAX_BYTES, Node, NodeId, NodeKind, PATH_MAX_BYTES, Timestamp, Tree, XattrSet,
    XattrSetId, split_path,
};
use crate::error::{Error, Result};
use crate::units::{ContentId, index_of, u64_of};
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, RandomState};

/// The longest target of a symbolic link that any source may give; filesystems have smaller limits of their own.
const TARGET_MAX_BYTES: usize = 65_535;
/// Majors and minors as Linux packs them (`new_encode_dev`).
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// What a new node is, with its variable parts borrowed.
#[derive(Debug, Clone, Copy)]
pub enum NewNode<'a> {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Where the contents are read.
        content: ContentId,
        /// Length in bytes.
        length: u64,
        /// The parts that are data, ascending and disjoint `(offset, length)`; `None` if all of it is.
        data: Option<&'a [(u64, u64)]>,
    },
    /// A symbolic link to these bytes.
    Symlink(&'a [u8]),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A tree in the making.
#[derive(Debug)]
pub struct TreeBuilder {
    nodes: Vec<Node>,
    /// In the order of making; a removed entry has the root as its node, which no live entry names.
    entries: Vec<Entry>,
    /// (directory, name) to its live entry. Only looked up in, never walked.
    index: HashTable<Indexed>,
    hasher: RandomState,
    bytes: Vec<u8>,
    holes: Vec<Vec<(u64, u64)>>,
    xattrs: Interner,
    /// The time of directories that are only implied.
    implied_time: Timestamp,
    /// The directory part of the last path that was looked up, and its directory: entries come folder by folder. Empty
    /// where there was none, and after a change of what is there, which may lead the path elsewhere.
    last_folder: (Vec<u8>, NodeId),
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeBuilder {
    /// A tree of nothing but an implied root.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: vec![implied_directory(Timestamp::default())],
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            bytes: Vec::new(),
            holes: Vec::new(),
            xattrs: Interner::default(),
            implied_time: Timestamp::default(),
            last_folder: (Vec::new(), NodeId::ROOT),
        }
    }

    /// Goes on from a frozen tree.
    #[must_use]
    pub fn from_tree(tree: Tree) -> Self {
        let Tree { nodes, entries, bytes, holes, xattrs, .. } = tree;
        let mut builder = Self { nodes, entries, bytes, holes, xattrs: Interner::from_sets(xattrs), ..Self::new() };
        builder.index.reserve(builder.entries.len(), |indexed| indexed.hash.spread());
        for at in 0..builder.entries.len() {
            let hash = builder.hash(builder.entries[at].parent, builder.slice(builder.entries[at].name));
            // Freeze made every name unique in its directory.
            let position = u32::try_from(at).expect("entries are bounded by ENTRIES_MAX");
            builder.index.insert_unique(hash.spread(), Indexed { position, hash }, |indexed| indexed.hash.spread());
        }
        builder
    }

    /// Gives directories that are only implied from here on this time, in place of 0: where what is added is made, not
    /// read from a source.
    #[must_use]
    pub fn with_implied_time(mut self, time: Timestamp) -> Self {
        self.implied_time = time;
        self
    }

    /// Gives a set of xattrs its number in this tree.
    ///
    /// # Errors
    /// A name given twice, empty or too long, a value over 64 KiB.
    pub fn intern_xattrs(&mut self, set: XattrSet) -> Result<XattrSetId> {
        self.xattrs.intern(set)
    }

    /// Adds an entry by the rules at the head of this module and returns its node. The empty path is the root.
    ///
    /// # Errors
    /// `..`, names or paths beyond the limits, a parent that is neither a directory nor a link to one, metadata that
    /// no filesystem holds, a root that is no directory.
    pub fn add(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, node: NewNode<'_>) -> Result<NodeId> {
        let path = path.as_ref();
        self.add_at(path, metadata, node).map_err(|error| error.at_path(path))
    }

    fn add_at(&mut self, path: &[u8], metadata: Metadata, node: NewNode<'_>) -> Result<NodeId> {
        check_metadata(&metadata)?;
        let Some((directory, name)) = self.folder_and_name(path)? else {
            if !matches!(node, NewNode::Directory) {
                return Err(Error::corrupt("the root must be a directory"));
            }
            self.set_directory(NodeId::ROOT, metadata);
            return Ok(NodeId::ROOT);
        };
        let place = self.place(directory, name);
        if let (NewNode::Directory, Some(entry)) = (node, place.entry) {
            let existing = self.entries[entry].node;
            if self.nodes[existing.index()].is_directory() {
                self.set_directory(existing, metadata);
                return Ok(existing);
            }
        }
        let kind = self.store_kind(node)?;
        let id = self.push_node(Node { metadata, kind, links: 1, implied: false })?;
        self.set_place(place, directory, name, id)?;
        Ok(id)
    }

    /// The directory that an entry at `path` belongs into, made where it is missing, and the entry's name there; `None` for
    /// the root.
    fn folder_and_name<'a>(&mut self, path: &'a [u8]) -> Result<Option<(NodeId, &'a [u8])>> {
        let (folder, last) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        let is_known = *folder == *self.last_folder.0 && path.len() <= PATH_MAX_BYTES;
        if is_known && !matches!(last, b"" | b"." | b"..") && last.len() <= NAME_MAX_BYTES && !last.contains(&0) {
            return Ok(Some((self.last_folder.1, last)));
        }
        let parts = split_path(path)?;
        let Some((name, parents)) = parts.split_last() else { return Ok(None) };
        let directory = self.resolve_directory(parents)?;
        if *name == last {
            self.last_folder.0.clear();
            self.last_folder.0.extend_from_slice(folder);
            self.last_folder.1 = directory;
        }
        Ok(Some((directory, name)))
    }

    /// What was there may have led paths elsewhere.
    fn forget_last_folder(&mut self) {
        self.last_folder = (Vec::new(), NodeId::ROOT);
    }

    /// Adds another name for an existing node that is no directory.
    ///
    /// # Errors
    /// As [`TreeBuilder::add`]; a target that does not exist, is a directory, or is the new name itself.
    pub fn link(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<NodeId> {
        let (path, target) = (path.as_ref(), target.as_ref());
        self.link_at(path, target).map_err(|error| error.at_path(path))
    }

    fn link_at(&mut self, path: &[u8], target: &[u8]) -> Result<NodeId> {
        let shown = || crate::error::escape(target);
        if split_path(path)?.is_empty() {
            return Err(Error::corrupt("the root cannot be a hard link"));
        }
        let target_entry =
            self.find_path(target)?.ok_or_else(|| Error::corrupt(format!("a hard link to {}, which is not in the archive before it", shown())))?;
        let id = self.entries[target_entry].node;
        if self.nodes[id.index()].is_directory() {
            return Err(Error::corrupt(format!("a hard link to the directory {}", shown())));
        }
        let (directory, name) = self.folder_and_name(path)?.expect("the path is not the root's");
        let place = self.place(directory, name);
        if place.entry == Some(target_entry) {
            return Err(Error::corrupt("a hard link to itself"));
        }
        self.set_place(place, directory, name, id)?;
        Ok(id)
    }

    /// Removes the entry at `path` (a directory with all that is in it), following links in its parents but not the
    /// last part. Returns whether there was one.
    ///
    /// # Errors
    /// As for paths in [`TreeBuilder::add`]; the root cannot be removed.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> Result<bool> {
        let Some(entry) = self.find_path(path.as_ref())? else { return Ok(false) };
        self.remove_entry(entry);
        Ok(true)
    }

    fn remove_entry(&mut self, entry: usize) {
        let Entry { parent, name, .. } = self.entries[entry];
        let hash = self.hash(parent, self.slice(name));
        if let Ok(found) = self.index.find_entry(hash.spread(), |indexed| index_of(indexed.position) == entry) {
            found.remove();
        }
        self.forget_last_folder();
        self.entries[entry].node = NodeId::ROOT;
    }

    /// The node at `path`, following links in its parents but not the last part.
    #[must_use]
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<(NodeId, &Node)> {
        let path = path.as_ref();
        let id = match self.find_path(path) {
            Ok(Some(entry)) => self.entries[entry].node,
            Ok(None) if split_path(path).is_ok_and(|parts| parts.is_empty()) => NodeId::ROOT,
            _ => return None,
        };
        Some((id, &self.nodes[id.index()]))
    }

    /// The number of nodes made so far, with implied directories and with those that nothing names any more: what a
    /// limit on memory counts.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Changes the metadata of a node.
    ///
    /// # Errors
    /// Metadata that no filesystem holds.
    ///
    /// # Panics
    /// If `id` is of another tree.
    pub fn set_metadata(&mut self, id: NodeId, metadata: Metadata) -> Result<()> {
        check_metadata(&metadata)?;
        self.nodes[id.index()].metadata = metadata;
        self.nodes[id.index()].implied = false;
        Ok(())
    }

    /// Makes all of a file data; nothing for anything else.
    ///
    /// # Panics
    /// If `id` is of another tree.
    pub fn fill_holes(&mut self, id: NodeId) {
        if let NodeKind::File(file) = &mut self.nodes[id.index()].kind {
            file.holes = HolesId::NONE;
        }
    }

    /// Lays `upper` over this tree. `content_base` is what its content numbers are raised by.
    ///
    /// # Errors
    /// As [`TreeBuilder::add`].
    pub fn overlay(&mut self, upper: &Tree, content_base: u32) -> Result<()> {
        self.overlay_beneath(upper, NodeId::ROOT, content_base)
    }

    /// Lays what is beneath `directory` of `upper` over this tree, with `directory` as the root.
    ///
    /// # Errors
    /// As [`TreeBuilder::add`].
    pub fn overlay_beneath(&mut self, upper: &Tree, directory: NodeId, content_base: u32) -> Result<()> {
        self.lay(upper, directory, b"", content_base)
    }

    /// Lays `upper` over this tree with its root at `place`, which is made where it is missing and keeps its metadata. Gives
    /// whether something was there, which is gone then: a mounted filesystem hides what is beneath its mount point.
    ///
    /// # Errors
    /// As [`TreeBuilder::add`]; a place that is no directory.
    pub fn mount(&mut self, upper: &Tree, place: impl AsRef<[u8]>, content_base: u32) -> Result<bool> {
        let place = place.as_ref();
        let directory = self.resolve_directory(&split_path(place)?).map_err(|error| error.at_path(place))?;
        let hidden: Vec<usize> = (0..self.entries.len()).filter(|at| self.entries[*at].parent == directory && self.entries[*at].node != NodeId::ROOT).collect();
        for entry in &hidden {
            self.remove_entry(*entry);
        }
        self.lay(upper, NodeId::ROOT, place, content_base)?;
        Ok(!hidden.is_empty())
    }

    /// Lays what is beneath `directory` of `upper` over what is beneath `into`.
    fn lay(&mut self, upper: &Tree, directory: NodeId, into: &[u8], content_base: u32) -> Result<()> {
        const NOT_YET: NodeId = NodeId(u32::MAX);
        let mut numbers = vec![NOT_YET; upper.node_count()];
        let mut whole = into.to_vec();
        upper.walk_beneath(directory, |path, id| {
            let path = if into.is_empty() {
                path
            } else {
                whole.truncate(into.len());
                whole.push(b'/');
                whole.extend_from_slice(path);
                &whole
            };
            let is_top = path.len() <= into.len() + 1 && id == directory;
            let node = upper.node(id);
            if node.is_directory() && (node.implied || (is_top && !(into.is_empty() && self.nodes[0].implied))) {
                // Resolving makes what is missing and leaves what is there.
                self.resolve_directory(&split_path(path)?).map_err(|error| error.at_path(path))?;
                return Ok(());
            }
            let known = numbers[id.index()];
            if known != NOT_YET {
                let parts = split_path(path)?;
                let (name, parents) = parts.split_last().expect("the root has no second name");
                let directory = self.resolve_directory(parents)?;
                return self.set_entry(directory, name, known);
            }
            let mut metadata = node.metadata;
            metadata.xattrs = self.xattrs.intern(upper.xattrs(metadata.xattrs).to_vec())?;
            let data: Vec<(u64, u64)>;
            let new = match node.kind {
                NodeKind::Directory => NewNode::Directory,
                NodeKind::File(file) => {
                    let content = file.content.0.checked_add(content_base).map(ContentId).ok_or_else(|| Error::limit("over 2^32 files"))?;
                    data = upper.data_ranges(&file).collect();
                    NewNode::File { content, length: file.length, data: (file.holes != HolesId::NONE).then_some(&data) }
                }
                NodeKind::Symlink(_) => NewNode::Symlink(upper.target(id)),
                NodeKind::CharDevice(device) => NewNode::CharDevice(device),
                NodeKind::BlockDevice(device) => NewNode::BlockDevice(device),
                NodeKind::Fifo => NewNode::Fifo,
                NodeKind::Socket => NewNode::Socket,
            };
            numbers[id.index()] = self.add(path, metadata, new)?;
            Ok(())
        })
    }

    fn set_directory(&mut self, id: NodeId, metadata: Metadata) {
        let node = &mut self.nodes[id.index()];
        node.metadata = metadata;
        node.implied = false;
    }

    fn store_kind(&mut self, node: NewNode<'_>) -> Result<NodeKind> {
        Ok(match node {
            NewNode::Directory => NodeKind::Directory,
            NewNode::File { content, length, data } => NodeKind::File(FileData { content, length, holes: self.store_holes(length, data)? }),
            NewNode::Symlink(target) => {
                if target.is_empty() || target.contains(&0) || target.len() > TARGET_MAX_BYTES {
                    return Err(Error::corrupt(format!(
                        "the target of the symbolic link has {} bytes; 1 to {TARGET_MAX_BYTES}, none of them NUL, are possible",
                        target.len()
                    )));
                }
                NodeKind::Symlink(self.store_bytes(target)?)
            }
            NewNode::CharDevice(device) => NodeKind::CharDevice(check_device(device)?),
            NewNode::BlockDevice(device) => NodeKind::BlockDevice(check_device(device)?),
            NewNode::Fifo => NodeKind::Fifo,
            NewNode::Socket => NodeKind::Socket,
        })
    }

    fn store_holes(&mut self, length: u64, data: Option<&[(u64, u64)]>) -> Result<HolesId> {
        if length > i64::MAX.unsigned_abs() {
            return Err(Error::limit(format!("a length of {length} bytes; no filesystem holds over 2^63 − 1")));
        }
        let Some(data) = data else { return Ok(HolesId::NONE) };
        let mut end = 0;
        for (offset, len) in data {
            let after = offset.checked_add(*len).filter(|after| *offset >= end && *after <= length);
            end = after.ok_or_else(|| {
                Error::corrupt(format!("a data range of {len} bytes at {offset} overlaps the one before it or ends past the length of {length}"))
            })?;
        }
        let merged = merge_ranges(data);
        if merged == [(0, length)] || (length == 0 && merged.is_empty()) {
            return Ok(HolesId::NONE);
        }
        let id = u32::try_from(self.holes.len()).ok().filter(|id| *id < u32::MAX).ok_or_else(|| Error::limit("over 2^32 files with holes"))?;
        self.holes.push(merged);
        Ok(HolesId(id))
    }

    fn store_bytes(&mut self, bytes: &[u8]) -> Result<ByteRange> {
        let too_many = || Error::limit("names and link targets of over 4 GiB in one tree");
        let start = u32::try_from(self.bytes.len()).map_err(|_| too_many())?;
        let len = u32::try_from(bytes.len()).map_err(|_| too_many())?;
        start.checked_add(len).ok_or_else(too_many)?;
        self.bytes.extend_from_slice(bytes);
        Ok(ByteRange { start, len })
    }

    fn push_node(&mut self, node: Node) -> Result<NodeId> {
        let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id < ENTRIES_MAX).ok_or_else(|| Error::limit(format!("over {ENTRIES_MAX} entries")))?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    /// Makes `name` in `directory` name `node`, in place of what it named.
    fn set_entry(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<()> {
        self.set_place(self.place(directory, name), directory, name, node)
    }

    /// As [`Self::set_entry`], for a place that was looked up and has not changed since.
    fn set_place(&mut self, place: Place, directory: NodeId, name: &[u8], node: NodeId) -> Result<()> {
        if let Some(entry) = place.entry {
            self.forget_last_folder();
            self.entries[entry].node = node;
            return Ok(());
        }
        let position =
            u32::try_from(self.entries.len()).ok().filter(|at| *at < ENTRIES_MAX).ok_or_else(|| Error::limit(format!("over {ENTRIES_MAX} entries")))?;
        let name = self.store_bytes(name)?;
        self.entries.push(Entry { parent: directory, node, name });
        self.index.insert_unique(place.hash.spread(), Indexed { position, hash: place.hash }, |indexed| indexed.hash.spread());
        Ok(())
    }

    /// Where `name` is in `directory`, or would be.
    fn place(&self, directory: NodeId, name: &[u8]) -> Place {
        let hash = self.hash(directory, name);
        let found = self.index.find(hash.spread(), |indexed| {
            let entry = &self.entries[index_of(indexed.position)];
            indexed.hash == hash && entry.parent == directory && self.slice(entry.name) == name
        });
        Place { hash, entry: found.map(|indexed| index_of(indexed.position)) }
    }

    /// The live entry `name` of `directory`.
    fn find(&self, directory: NodeId, name: &[u8]) -> Option<usize> {
        self.place(directory, name).entry
    }

    fn hash(&self, directory: NodeId, name: &[u8]) -> NameHash {
        let [a, b, c, d, ..] = self.hasher.hash_one((directory, name)).to_le_bytes();
        NameHash(u32::from_le_bytes([a, b, c, d]))
    }

    fn slice(&self, range: ByteRange) -> &[u8] {
        &self.bytes[index_of(range.start)..][..index_of(range.len)]
    }
}

/// Where a name is looked up, so that it is hashed once: its hash, and its live entry if there is one.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: NameHash,
    entry: Option<usize>,
}

/// What the index holds of an entry. The hash stands beside the position so that a table that grows need not look at every
/// name again.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    position: u32,
    hash: NameHash,
}

/// Half of the hash of a directory and a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NameHash(u32);

impl NameHash {
    /// In the form that the table wants, which looks at the lowest bits and at the highest seven.
    fn spread(self) -> u64 {
        // An odd number near 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

fn implied_directory(mtime: Timestamp) -> Node {
    let metadata = Metadata { mode: 0o755, mtime, ..Metadata::default() };
    Node { metadata, kind: NodeKind::Directory, links: 1, implied: true }
}

fn check_metadata(metadata: &Metadata) -> Result<()> {
    if metadata.mode > 0o7777 {
        return Err(Error::corrupt(format!("mode {:o}; at most 7777 is possible", metadata.mode)));
    }
    if metadata.mtime.nanoseconds > 999_999_999 {
        return Err(Error::corrupt(format!("{} nanoseconds in a time; at most 999999999 are possible", metadata.mtime.nanoseconds)));
    }
    Ok(())
}

fn check_device(device: Device) -> Result<Device> {
    if device.major > MAJOR_MAX || device.minor > MINOR_MAX {
        return Err(Error::corrupt(format!("device {}:{}; Linux has majors to {MAJOR_MAX} and minors to {MINOR_MAX}", device.major, device.minor)));
    }
    Ok(device)
}

/// Drops empty ranges and joins those that touch.
fn merge_ranges(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (offset, len) in ranges.iter().copied().filter(|(_, len)| *len > 0) {
        match merged.last_mut() {
            Some(last) if last.0 + last.1 == offset => last.1 += len,
            _ => merged.push((offset, len)),
        }
    }
    debug_assert!(u64_of(merged.len()) <= u64_of(ranges.len()));
    merged
}
