//! The tree: what a filesystem holds, as metadata and the length of every file, before any byte is placed.
//!
//! A [`Tree`] is frozen: its nodes are numbered in tree order (depth first, entries by the bytes of their names,
//! a hard link where it is first met), so that everything planned from it is a function of the tree alone. It is
//! made by a [`TreeBuilder`], which is also the one home of the rules by which trees are laid over each other.
//!
//! The tree is an arena made for a million entries: names in one byte buffer, nodes of 64 bytes in one `Vec`,
//! entries sorted by directory and name, xattr sets interned.

mod builder;
mod xattr;

pub use builder::{NewNode, TreeBuilder};
pub use xattr::{XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES, Xattr, XattrSet, XattrSetId};

use crate::error::{Error, Result};
use crate::units::{ContentId, index_of};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use xattr::XattrSets;

/// The longest name of one entry: ext4's and POSIX's limit.
pub const NAME_MAX_BYTES: usize = 255;
/// The longest path that a source may name: Linux's PATH_MAX counts 4,096, archives nest deeper; the limit only
/// bounds the work on a hostile name.
pub const PATH_MAX_BYTES: usize = 1 << 20;
/// Links that the lookup of one path follows: Linux's MAXSYMLINKS.
pub const SYMLINKS_MAX: usize = 40;
/// Entries in one tree: node numbers are 32 bits, and ext4 has no more inodes.
pub const ENTRIES_MAX: u32 = u32::MAX - 2;

/// The number of a node in its tree. In a frozen tree numbers follow tree order and the root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// The position in arrays that run parallel to the nodes.
    #[must_use]
    pub const fn index(self) -> usize {
        index_of(self.0)
    }
}

/// A time: seconds since 1970-01-01T00:00:00Z, negative before, and nanoseconds (0 to 999,999,999) after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// `seconds` after the epoch, to the second.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// What every node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of contents.
    pub mtime: Timestamp,
    /// Extended attributes, interned in the tree.
    pub xattrs: XattrSetId,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory; its entries are [`Tree::entries`].
    Directory,
    /// A regular file.
    File(FileData),
    /// A symbolic link; its target is [`Tree::target`].
    Symlink(ByteRange),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Numbers of a device, as Linux has them: 12 bits of major, 20 of minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number, 0 to 4,095.
    pub major: u32,
    /// Minor number, 0 to 1,048,575.
    pub minor: u32,
}

/// The contents of a regular file: where they are read, how long they are, which parts are data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileData {
    /// Where the contents are read.
    pub content: ContentId,
    /// Length in bytes.
    pub length: u64,
    /// Which parts are data, where the file has holes; see [`Tree::data_ranges`].
    pub holes: HolesId,
}

/// A reference to a list of data ranges; [`HolesId::NONE`] for a file without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolesId(u32);

impl HolesId {
    /// The whole file is data.
    pub const NONE: Self = Self(u32::MAX);
}

/// A range of the tree's byte buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    start: u32,
    len: u32,
}

/// A node: its metadata, its kind, and how many entries name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Mode, owner, time, xattrs.
    pub metadata: Metadata,
    /// Directory, file, link, device, …
    pub kind: NodeKind,
    /// Entries that name this node: more than 1 for hard links. 1 for directories.
    pub links: u32,
    /// True for a directory that no source named: the parent of something that was named. Its metadata is a default.
    pub implied: bool,
}

impl Node {
    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }
}

/// A name in a directory and the node that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The directory.
    pub parent: NodeId,
    /// The node.
    pub node: NodeId,
    name: ByteRange,
}

/// A frozen tree. Cheap to share behind an `Arc`; nothing in it changes.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Sorted by (parent, name).
    entries: Vec<Entry>,
    /// Per node the index of its first entry; one more at the end. Only directories have any.
    first_entry: Vec<u32>,
    bytes: Vec<u8>,
    holes: Vec<Vec<(u64, u64)>>,
    xattrs: XattrSets,
}

impl Tree {
    /// The number of nodes: inodes that a filesystem needs for this tree.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of names, without the root's.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The node with this number.
    ///
    /// # Panics
    /// If `id` is of another tree.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All nodes in tree order, with their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The entries of a directory, sorted by the bytes of their names; empty for anything else.
    #[must_use]
    pub fn entries(&self, directory: NodeId) -> &[Entry] {
        let first = index_of(self.first_entry[directory.index()]);
        let end = index_of(self.first_entry[directory.index() + 1]);
        &self.entries[first..end]
    }

    /// The name of an entry.
    #[must_use]
    pub fn name(&self, entry: &Entry) -> &[u8] {
        self.slice(entry.name)
    }

    /// The target of a symbolic link, empty for anything else.
    #[must_use]
    pub fn target(&self, id: NodeId) -> &[u8] {
        match self.node(id).kind {
            NodeKind::Symlink(target) => self.slice(target),
            _ => &[],
        }
    }

    /// The xattrs of a set, sorted by name.
    #[must_use]
    pub fn xattrs(&self, set: XattrSetId) -> &[Xattr] {
        self.xattrs.get(set)
    }

    /// The parts of a file that are data, as ascending, disjoint `(offset, length)` in bytes; the rest is holes.
    /// A file without holes gives one range, an empty one none.
    pub fn data_ranges(&self, file: &FileData) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (listed, dense) = if file.holes == HolesId::NONE {
            (&[][..], (file.length > 0).then_some((0, file.length)))
        } else {
            (&self.holes[index_of(file.holes.0)][..], None)
        };
        listed.iter().copied().chain(dense)
    }

    /// The entry `name` of a directory.
    #[must_use]
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let entries = self.entries(directory);
        let at = entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()?;
        Some(entries[at].node)
    }

    /// The node at `path` (leading and repeated slashes do not count), not following links.
    #[must_use]
    pub fn lookup(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        path.as_ref().split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").try_fold(NodeId::ROOT, |at, part| self.child(at, part))
    }

    /// The node at `path`, following symbolic links inside the tree (at most [`SYMLINKS_MAX`]); never outside it.
    #[must_use]
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        let mut pending: Vec<&[u8]> = path.as_ref().split(|b| *b == b'/').rev().collect();
        let mut trail = vec![NodeId::ROOT];
        let mut followed = 0;
        while let Some(part) = pending.pop() {
            match part {
                b"" | b"." => {}
                b".." => {
                    if trail.len() > 1 {
                        trail.pop();
                    }
                }
                name => {
                    let child = self.child(*trail.last()?, name)?;
                    if let NodeKind::Symlink(_) = self.node(child).kind {
                        followed += 1;
                        let target = self.target(child);
                        if followed > SYMLINKS_MAX || target.len() > PATH_MAX_BYTES {
                            return None;
                        }
                        if target.first() == Some(&b'/') {
                            trail.truncate(1);
                        }
                        pending.extend(target.split(|b| *b == b'/').rev());
                    } else {
                        trail.push(child);
                    }
                }
            }
        }
        trail.last().copied()
    }

    /// The first path of a node, without a leading slash; for messages (it searches the whole tree).
    #[must_use]
    pub fn path_of(&self, id: NodeId) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let Some(entry) = self.entries.iter().find(|entry| entry.node == at) else { break };
            parts.push(self.name(entry));
            at = entry.parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// Calls `visit` with the path (no leading slash; empty for the root) and the node of every entry, in tree order:
    /// a directory before its entries, hard links once for each name.
    ///
    /// # Errors
    /// Stops at the first error that `visit` gives.
    pub fn walk(&self, visit: impl FnMut(&[u8], NodeId) -> Result<()>) -> Result<()> {
        self.walk_beneath(NodeId::ROOT, visit)
    }

    /// As [`Tree::walk`], from `directory` down; paths begin there.
    ///
    /// # Errors
    /// Stops at the first error that `visit` gives.
    pub fn walk_beneath(&self, directory: NodeId, mut visit: impl FnMut(&[u8], NodeId) -> Result<()>) -> Result<()> {
        visit(b"", directory)?;
        let top = directory.index();
        let mut path = Vec::new();
        // (next entry, end of the directory's entries, length of the directory's path)
        let mut stack = vec![(self.first_entry[top], self.first_entry[top + 1], 0)];
        while let Some((next, end, len)) = stack.last_mut() {
            if next == end {
                stack.pop();
                continue;
            }
            let entry = self.entries[index_of(*next)];
            *next += 1;
            path.truncate(*len);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(self.name(&entry));
            visit(&path, entry.node)?;
            if self.node(entry.node).is_directory() {
                let at = entry.node.index();
                stack.push((self.first_entry[at], self.first_entry[at + 1], path.len()));
            }
        }
        Ok(())
    }

    /// Takes what lies beneath the directory at `path` out of this tree, as a tree of its own whose root is that
    /// directory; the directory stays, empty. Without such a directory, or with nothing in it, there is no second tree.
    ///
    /// # Errors
    /// A hard link between what is beneath the directory and what is not: two filesystems cannot share a file.
    pub fn split_off(self, path: impl AsRef<[u8]>) -> Result<(Self, Option<Self>)> {
        let path = path.as_ref();
        let Some(directory) = self.resolve(path).filter(|id| *id != NodeId::ROOT && !self.entries(*id).is_empty()) else {
            return Ok((self, None));
        };
        let mut names_beneath: HashMap<NodeId, u32> = HashMap::new();
        self.walk_beneath(directory, |_, id| {
            if self.node(id).links > 1 {
                *names_beneath.entry(id).or_default() += 1;
            }
            Ok(())
        })?;
        let shared = |id: &NodeId| names_beneath.get(id).is_some_and(|names| *names != self.node(*id).links);
        if let Some(id) = self.nodes().map(|(id, _)| id).find(shared) {
            return Err(Error::invalid("a hard link leads out of the mount point; two filesystems cannot share a file").at_path(self.path_of(id)));
        }
        let mut beneath = TreeBuilder::new();
        beneath.overlay_beneath(&self, directory, 0)?;
        let beneath = beneath.freeze()?;
        let place = self.path_of(directory);
        let metadata = self.node(directory).metadata;
        let mut rest = TreeBuilder::from_tree(self);
        rest.remove(&place)?;
        rest.add(&place, metadata, NewNode::Directory)?;
        Ok((rest.freeze()?, Some(beneath)))
    }

    /// Raises the number of every file's contents by `base`, as [`crate::content::ContentStore::add_store`] did with the
    /// contents themselves.
    ///
    /// # Errors
    /// Over 2^32 contents.
    pub fn raise_contents(&mut self, base: u32) -> Result<()> {
        if base == 0 {
            return Ok(());
        }
        for node in &mut self.nodes {
            if let NodeKind::File(file) = &mut node.kind {
                file.content = file.content.0.checked_add(base).map(ContentId).ok_or_else(|| Error::limit("over 2^32 files"))?;
            }
        }
        Ok(())
    }

    /// SHA-256 over paths, metadata and lengths: equal for a directory, its tar and its pipe. The seed of a disk
    /// that has no name.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"rootvol tree 1\0");
        let number = |hash: &mut Sha256, value: u64| hash.update(value.to_le_bytes());
        let bytes = |hash: &mut Sha256, value: &[u8]| {
            hash.update(crate::units::u64_of(value.len()).to_le_bytes());
            hash.update(value);
        };
        let visited = self.walk(|path, id| {
            let Node { metadata, kind, .. } = self.node(id);
            bytes(&mut hash, path);
            number(&mut hash, u64::from(id.0));
            number(&mut hash, u64::from(metadata.mode));
            number(&mut hash, u64::from(metadata.uid));
            number(&mut hash, u64::from(metadata.gid));
            hash.update(metadata.mtime.seconds.to_le_bytes());
            number(&mut hash, u64::from(metadata.mtime.nanoseconds));
            for xattr in self.xattrs(metadata.xattrs) {
                bytes(&mut hash, &xattr.name);
                bytes(&mut hash, &xattr.value);
            }
            match kind {
                NodeKind::Directory => hash.update(b"d"),
                NodeKind::File(file) => {
                    hash.update(b"f");
                    number(&mut hash, file.length);
                }
                NodeKind::Symlink(_) => {
                    hash.update(b"l");
                    bytes(&mut hash, self.target(id));
                }
                NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                    hash.update(if matches!(kind, NodeKind::CharDevice(_)) { b"c" } else { b"b" });
                    number(&mut hash, u64::from(device.major));
                    number(&mut hash, u64::from(device.minor));
                }
                NodeKind::Fifo => hash.update(b"p"),
                NodeKind::Socket => hash.update(b"s"),
            }
            Ok(())
        });
        debug_assert!(visited.is_ok(), "the visitor gives no error");
        hash.finalize().into()
    }

    fn slice(&self, range: ByteRange) -> &[u8] {
        &self.bytes[index_of(range.start)..][..index_of(range.len)]
    }
}

/// Whether `a` and `b` are the same on what a filesystem keeps: for tests of lossless ways.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// Splits a path into its parts: `.` and empty parts are dropped, so absolute names are confined to the root.
///
/// # Errors
/// `..` anywhere, a name over [`NAME_MAX_BYTES`], a NUL byte, a path over [`PATH_MAX_BYTES`].
pub(crate) fn split_path(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() > PATH_MAX_BYTES {
        return Err(Error::limit(format!("a path of {} bytes; at most {PATH_MAX_BYTES} are read", path.len())));
    }
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    for part in &parts {
        if *part == b".." {
            return Err(Error::corrupt("the name has a part \"..\", which could leave the root").at_path(path));
        }
        if part.len() > NAME_MAX_BYTES {
            return Err(Error::limit(format!("a name of {} bytes; a filesystem holds at most {NAME_MAX_BYTES}", part.len())).at_path(path));
        }
        if part.contains(&0) {
            return Err(Error::corrupt("the name has a NUL byte").at_path(path));
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(paths: &[&str]) -> TreeBuilder {
        let mut builder = TreeBuilder::new();
        for path in paths {
            let (node, path) = match path.split_once("->") {
                Some((path, target)) => (NewNode::Symlink(target.as_bytes()), path),
                None if path.ends_with('/') => (NewNode::Directory, *path),
                None => (NewNode::File { content: ContentId(0), length: 3, data: None }, *path),
            };
            builder.add(path, Metadata { mode: 0o644, ..Metadata::default() }, node).unwrap();
        }
        builder
    }

    fn paths(tree: &Tree) -> Vec<String> {
        let mut all = Vec::new();
        tree.walk(|path, _| {
            all.push(String::from_utf8(path.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn freezing_numbers_in_tree_order_whatever_the_order_of_making() {
        let a = builder(&["b/", "b/z", "b/a", "a/", "a/q", "b.c"]).freeze().unwrap();
        let b = builder(&["b.c", "a/", "a/q", "b/", "b/a", "b/z"]).freeze().unwrap();
        assert_eq!(paths(&a), ["", "a", "a/q", "b", "b/a", "b/z", "b.c"]);
        assert_eq!(a, b);
        assert_eq!(a.lookup("b/z"), Some(NodeId(5)));
        assert_eq!(a.path_of(NodeId(5)), b"b/z");
    }

    #[test]
    fn parents_that_are_links_are_followed_inside_the_tree() {
        let mut tree = builder(&["usr/lib/", "lib->usr/lib", "abs->/usr", "up->../../usr", "loop->loop"]);
        for path in ["lib/x", "abs/lib/y", "up/lib/z"] {
            tree.add(path, Metadata::default(), NewNode::Fifo).unwrap();
        }
        assert!(tree.add("loop/x", Metadata::default(), NewNode::Fifo).is_err());
        let tree = tree.freeze().unwrap();
        assert_eq!(tree.entries(tree.lookup("usr/lib").unwrap()).len(), 3);
        assert_eq!(tree.resolve("lib/x"), tree.lookup("usr/lib/x"));
        assert_eq!(tree.resolve("loop/x"), None);
    }

    #[test]
    fn names_that_leave_the_root_are_refused_and_absolute_ones_confined() {
        let mut tree = TreeBuilder::new();
        assert!(tree.add("a/../b", Metadata::default(), NewNode::Fifo).is_err());
        assert!(tree.add([b'x'; 256], Metadata::default(), NewNode::Fifo).is_err());
        assert!(tree.add("a\0b", Metadata::default(), NewNode::Fifo).is_err());
        tree.add("//./abs", Metadata::default(), NewNode::Fifo).unwrap();
        assert_eq!(paths(&tree.freeze().unwrap()), ["", "abs"]);
    }

    #[test]
    fn hard_links_share_a_node_and_bad_ones_are_refused() {
        let mut tree = builder(&["d/", "f", "s->nowhere"]);
        tree.link("d/g", "f").unwrap();
        tree.link("t", "s").unwrap();
        for (path, target) in [("x", "missing"), ("x", "d"), ("f", "f"), ("", "f")] {
            assert!(tree.link(path, target).is_err(), "{path} => {target}");
        }
        let tree = tree.freeze().unwrap();
        let id = tree.lookup("f").unwrap();
        assert_eq!(tree.lookup("d/g"), Some(id));
        assert_eq!(tree.node(id).links, 2);
        assert_eq!(tree.target(tree.lookup("t").unwrap()), b"nowhere");
    }

    #[test]
    fn later_entries_replace_earlier_ones_without_stale_children() {
        let mut tree = builder(&["d/", "d/old", "f"]);
        tree.add("d", Metadata::default(), NewNode::Fifo).unwrap();
        tree.add("d", Metadata::default(), NewNode::Directory).unwrap();
        tree.add("f", Metadata::default(), NewNode::Directory).unwrap();
        assert!(tree.remove("f").unwrap());
        assert!(!tree.remove("f").unwrap());
        assert_eq!(paths(&tree.freeze().unwrap()), ["", "d"]);
    }

    #[test]
    fn overlays_keep_links_and_implied_directories_give_way() {
        let lower = builder(&["usr/lib/", "lib->usr/lib", "etc/", "etc/a"]).freeze().unwrap();
        let mut upper = builder(&["lib/new", "etc/a"]);
        upper.link("etc/b", "etc/a").unwrap();
        let upper = upper.freeze().unwrap();
        let mut tree = TreeBuilder::from_tree(lower);
        tree.overlay(&upper, 10).unwrap();
        let tree = tree.freeze().unwrap();
        assert!(tree.lookup("usr/lib/new").is_some());
        assert_eq!(tree.lookup("etc/a"), tree.lookup("etc/b"));
        let NodeKind::File(file) = tree.node(tree.lookup("etc/a").unwrap()).kind else { panic!("no file") };
        assert_eq!(file.content, ContentId(10));
    }

    #[test]
    fn splitting_takes_what_is_beneath_and_leaves_the_mount_point() {
        let mut tree = builder(&["boot/", "boot/efi/", "boot/efi/EFI/", "boot/efi/EFI/a", "etc/", "f"]);
        tree.link("boot/efi/b", "boot/efi/EFI/a").unwrap();
        let (rest, beneath) = tree.freeze().unwrap().split_off("/boot/efi").unwrap();
        assert_eq!(paths(&rest), ["", "boot", "boot/efi", "etc", "f"]);
        let beneath = beneath.unwrap();
        assert_eq!(paths(&beneath), ["", "EFI", "EFI/a", "b"]);
        assert_eq!(beneath.lookup("b"), beneath.lookup("EFI/a"));
        assert!(rest.split_off("none").unwrap().1.is_none());

        let mut tree = builder(&["boot/", "f"]);
        tree.link("boot/g", "f").unwrap();
        assert!(tree.freeze().unwrap().split_off("boot").is_err());
    }

    #[test]
    fn xattr_sets_are_numbered_in_tree_order_whatever_the_order_of_making() {
        let tree = |order: [&str; 3]| {
            let mut tree = TreeBuilder::new();
            tree.intern_xattrs(vec![Xattr::new("user.unused", "x")]).unwrap();
            for name in order {
                let xattrs = tree.intern_xattrs(vec![Xattr::new("user.name", name.trim_end_matches('2'))]).unwrap();
                tree.add(name, Metadata { xattrs, ..Metadata::default() }, NewNode::Fifo).unwrap();
            }
            tree.freeze().unwrap()
        };
        let (a, b) = (tree(["a", "b", "a2"]), tree(["b", "a2", "a"]));
        for name in ["a", "a2", "b"] {
            let set = |tree: &Tree| tree.node(tree.lookup(name).unwrap()).metadata.xattrs;
            assert_eq!(set(&a), set(&b), "{name}");
            assert_eq!(a.xattrs(set(&a)), b.xattrs(set(&b)), "{name}");
        }
    }

    #[test]
    fn holes_are_checked_and_merged() {
        let mut tree = TreeBuilder::new();
        let mut file =
            |name: &str, length, data: &[(u64, u64)]| tree.add(name, Metadata::default(), NewNode::File { content: ContentId(0), length, data: Some(data) });
        assert!(file("x", 10, &[(5, 6)]).is_err());
        assert!(file("x", 10, &[(5, 2), (6, 1)]).is_err());
        assert!(file("x", u64::MAX, &[]).is_err());
        assert!(file("x", 10, &[(u64::MAX, 2)]).is_err());
        file("dense", 10, &[(0, 4), (4, 6)]).unwrap();
        file("holes", 100, &[(10, 5), (15, 0), (15, 5)]).unwrap();
        let tree = tree.freeze().unwrap();
        let ranges = |name: &str| match tree.node(tree.lookup(name).unwrap()).kind {
            NodeKind::File(file) => tree.data_ranges(&file).collect::<Vec<_>>(),
            _ => panic!("no file"),
        };
        assert_eq!(ranges("dense"), [(0, 10)]);
        assert_eq!(ranges("holes"), [(10, 10)]);
    }

    #[test]
    fn nodes_are_small() {
        assert!(size_of::<Node>() <= 96, "{}", size_of::<Node>());
        assert!(size_of::<Entry>() <= 16, "{}", size_of::<Entry>());
    }
}
