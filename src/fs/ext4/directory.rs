//! Directories: packing entries into blocks, and rendering a block from its own entries alone.
//!
//! A directory that fits into one block is linear: `.` and `..`, then the entries in the tree's order. A larger one is indexed
//! by hash (see `htree`): its entries lie in leaves in the order of their hashes. Without the feature dir_index it stays linear, in more
//! blocks. Each block ends with its checksum, where there are checksums. What the planner keeps is which entry each block begins with, and of an indexed directory the order of entries; hashes are computed again.

use super::features::Feature;
use super::format::{Csum, DIRENT_HEADER_BYTES, DIRENT_TAIL_BYTES, DirEntryHeader, FIRST_INO, dirent_bytes, file_type};
use super::htree::{LEVELS_MAX, LEVELS_WITHOUT_LARGE_DIR, Place, Shape, half_md4};
use super::inline::directory_fits;
use super::numbers::{LOST_FOUND, Numbers};
use super::options::Options;
use crate::error::{Error, Result};
use crate::tree::{Node, NodeId, NodeKind, Tree};
use crate::units::{index_of, u64_of, usize_of};

/// Bytes of the lost+found that the writer adds: room for what e2fsck finds, as mke2fs makes it.
pub(super) const LOST_FOUND_BYTES: u64 = 16 * 1024;

/// Where in `Directories::order` a linear directory has its order: nowhere, it has the tree's.
const TREE_ORDER: u32 = u32::MAX;
/// The same of a directory that lies in its inode: it has no blocks.
const INLINE: u32 = u32::MAX - 1;

#[derive(Debug, Clone, Copy)]
struct Directory {
    node: NodeId,
    /// The directory that it is in; the root is in itself.
    parent: NodeId,
    /// Where in `leaves` the directory's blocks of entries begin.
    first_leaf: u32,
    /// Where in `order` the order of its entries begins, if it is indexed; else [`TREE_ORDER`].
    first_order: u32,
    /// How many entries the order has.
    order_len: u32,
}

/// What decides how directories are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Form {
    pub(super) block_bytes: usize,
    pub(super) hash_seed: [u8; 16],
    /// Directories of over one block are indexed.
    pub(super) indexed: bool,
    /// Blocks end with checksums.
    pub(super) checksums: bool,
}

impl Form {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            block_bytes: index_of(options.block_bytes),
            hash_seed: *options.hash_seed.as_bytes(),
            indexed: options.features.has(Feature::DirIndex),
            checksums: options.features.has(Feature::MetadataCsum),
        }
    }

    /// Bytes for entries in a block of entries.
    fn room(self) -> usize {
        if self.checksums { self.block_bytes - DIRENT_TAIL_BYTES } else { self.block_bytes }
    }
}

/// All directories of a tree, packed.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// By node.
    directories: Vec<Directory>,
    /// For each block of entries the position of its first entry, in the directory's order.
    leaves: Vec<u32>,
    /// The orders of indexed directories: numbers of entries.
    order: Vec<u32>,
    form: Form,
    /// Some index has more levels than filesystems without the feature large_dir may have.
    pub(super) large_dir: bool,
}

impl Directories {
    /// Packs every directory. `inline_room` says how many bytes a directory may have in its inode besides `i_block`, if it may lie there.
    pub(super) fn pack(tree: &Tree, numbers: &Numbers, form: Form, inline_room: impl Fn(NodeId) -> Option<usize>) -> Result<Self> {
        let of_node = |node: NodeId| Directory { node, parent: NodeId::ROOT, first_leaf: 0, first_order: TREE_ORDER, order_len: 0 };
        let directories = tree.nodes().filter(|(_, node)| node.is_directory()).map(|(id, _)| of_node(id)).collect();
        let mut all = Self { directories, leaves: Vec::new(), order: Vec::new(), form, large_dir: false };
        for at in 0..all.directories.len() {
            let node = all.directories[at].node;
            all.directories[at].first_leaf = u32::try_from(all.leaves.len()).map_err(|_| too_many_blocks())?;
            if inline_room(node).is_some_and(|room| directory_fits(tree, node, room)) {
                all.directories[at].first_order = INLINE;
            } else if !all.pack_linear(tree, numbers, node) {
                (all.directories[at].first_order, all.directories[at].order_len) = all.pack_leaves(tree, numbers, node)?;
                let levels = all.shape(at).levels();
                all.large_dir |= levels > LEVELS_WITHOUT_LARGE_DIR;
                if levels > LEVELS_MAX {
                    let entries = tree.entries(node).len();
                    return Err(Error::limit(format!("a directory of {entries} entries; its index would have {levels} levels, and ext4 has {LEVELS_MAX}")))
                        .map_err(|error| error.at_path(tree.path_of(node)));
                }
            }
            // A directory's subdirectories come after it in tree order.
            for entry in tree.entries(node).iter().filter(|entry| tree.node(entry.node).is_directory()) {
                if let Some(child) = all.position(entry.node) {
                    all.directories[child].parent = node;
                }
            }
        }
        Ok(all)
    }

    /// Packs a directory in the tree's order. False, with nothing done, if it would take over one block and can be indexed.
    fn pack_linear(&mut self, tree: &Tree, numbers: &Numbers, node: NodeId) -> bool {
        let names = tree.entries(node).iter().map(|entry| tree.name(entry)).chain(added_name(numbers, node));
        let mut used = 2 * dirent_bytes(1);
        let first = self.leaves.len();
        self.leaves.push(0);
        for (position, name) in (0..).zip(names) {
            used += dirent_bytes(name.len());
            if used > self.form.room() {
                if self.form.indexed {
                    self.leaves.truncate(first);
                    return false;
                }
                self.leaves.push(position);
                used = dirent_bytes(name.len());
            }
        }
        true
    }

    /// Packs a directory into leaves in the order of hashes, and returns where its order begins and its length.
    fn pack_leaves(&mut self, tree: &Tree, numbers: &Numbers, node: NodeId) -> Result<(u32, u32)> {
        let first_order = u32::try_from(self.order.len()).ok().filter(|first| *first < INLINE).ok_or_else(too_many_blocks)?;
        let count = u32::try_from(tree.entries(node).len()).map_err(|_| too_many_blocks())?;
        // The entry behind the last one of the tree is the added lost+found.
        let last = count + u32::from(added_name(numbers, node).is_some());
        let mut hashed: Vec<(u32, u32)> = (0..last).map(|number| (half_md4(entry_name(tree, node, number), &self.form.hash_seed), number)).collect();
        hashed.sort_unstable();
        let mut used = self.form.room();
        for (position, (_, number)) in (0..).zip(hashed) {
            let bytes = dirent_bytes(entry_name(tree, node, number).len());
            if used + bytes > self.form.room() {
                self.leaves.push(position);
                used = 0;
            }
            used += bytes;
            self.order.push(number);
        }
        Ok((first_order, last))
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.directories.binary_search_by_key(&node, |directory| directory.node).ok()
    }

    /// All directories in tree order, with their number of blocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.directories.iter().enumerate().map(|(at, directory)| (directory.node, self.blocks_at(at)))
    }

    /// The blocks of a directory.
    pub(super) fn block_count(&self, node: NodeId) -> u64 {
        self.position(node).map_or(0, |at| self.blocks_at(at))
    }

    /// Whether a directory has an index.
    pub(super) fn is_indexed(&self, node: NodeId) -> bool {
        self.position(node).is_some_and(|at| self.directories[at].first_order < INLINE)
    }

    /// Whether a directory lies in its inode.
    pub(super) fn is_inline(&self, node: NodeId) -> bool {
        self.position(node).is_some_and(|at| self.directories[at].first_order == INLINE)
    }

    /// The directory that a directory is in; the root is in itself.
    pub(super) fn parent(&self, node: NodeId) -> NodeId {
        self.position(node).map_or(NodeId::ROOT, |at| self.directories[at].parent)
    }

    fn blocks_at(&self, at: usize) -> u64 {
        match self.directories[at].first_order {
            INLINE => 0,
            TREE_ORDER => u64_of(self.leaves_at(at).len()),
            _ => self.shape(at).blocks(),
        }
    }

    fn leaves_at(&self, at: usize) -> &[u32] {
        let first = index_of(self.directories[at].first_leaf);
        // While the directories are packed, the ones behind have no leaves yet.
        let end = self.directories.get(at + 1).map(|next| index_of(next.first_leaf)).filter(|end| *end > first);
        &self.leaves[first..end.unwrap_or(self.leaves.len())]
    }

    fn shape(&self, at: usize) -> Shape {
        Shape::new(u64_of(self.leaves_at(at).len()), self.form.block_bytes, self.form.checksums)
    }

    /// Renders block number `number` of a directory. `csum` are the checksums of its inode.
    pub(super) fn render(&self, tree: &Tree, numbers: &Numbers, node: NodeId, number: u64, csum: Csum, block: &mut [u8]) {
        let at = self.position(node).expect("only directories have blocks of entries");
        let (own, parent) = (numbers.of(node), numbers.of(self.directories[at].parent));
        if self.directories[at].first_order != TREE_ORDER {
            match self.shape(at).place(number) {
                Place::Index { level, first, count } => {
                    let key = |leaf| self.leaf_key(tree, at, usize_of(leaf));
                    self.shape(at).fill_index((level, first, count), (own, parent), key, csum, block);
                }
                Place::Leaf(leaf) => {
                    let mut writer = BlockWriter::new(block);
                    for number in self.leaf_entries(at, usize_of(leaf)) {
                        push_entry(&mut writer, tree, numbers, node, *number);
                    }
                    writer.finish(csum);
                }
            }
            return;
        }
        let mut writer = BlockWriter::new(block);
        if number == 0 {
            writer.push(own, b".", file_type::DIRECTORY);
            writer.push(parent, b"..", file_type::DIRECTORY);
        }
        let leaves = self.leaves_at(at);
        let count = u32::try_from(tree.entries(node).len()).expect("a tree has under 2^32 entries") + u32::from(added_name(numbers, node).is_some());
        let end = leaves.get(usize_of(number) + 1).copied().unwrap_or(count);
        for number in leaves[usize_of(number)]..end {
            push_entry(&mut writer, tree, numbers, node, number);
        }
        writer.finish(csum);
    }

    /// The entries of a leaf of an indexed directory, in their order.
    fn leaf_entries(&self, at: usize, leaf: usize) -> &[u32] {
        let leaves = self.leaves_at(at);
        let Directory { first_order, order_len, .. } = self.directories[at];
        let end = leaves.get(leaf + 1).copied().unwrap_or(order_len);
        &self.order[index_of(first_order)..][index_of(leaves[leaf])..index_of(end)]
    }

    /// The hash that stands for a leaf in the index: its first entry's, with the lowest bit set if the leaf before ends with the same.
    fn leaf_key(&self, tree: &Tree, at: usize, leaf: usize) -> u32 {
        let node = self.directories[at].node;
        let hash = |number: Option<&u32>| number.map_or(0, |number| half_md4(entry_name(tree, node, *number), &self.form.hash_seed));
        let first = hash(self.leaf_entries(at, leaf).first());
        let goes_on = leaf > 0 && hash(self.leaf_entries(at, leaf - 1).last()) == first;
        first | u32::from(goes_on)
    }
}

/// The name that the writer adds to a directory: lost+found to the root.
fn added_name(numbers: &Numbers, node: NodeId) -> Option<&'static [u8]> {
    (node == NodeId::ROOT && numbers.adds_lost_found()).then_some(LOST_FOUND)
}

/// The name of entry `number` of a directory; behind the tree's own comes the added one.
fn entry_name(tree: &Tree, node: NodeId, number: u32) -> &[u8] {
    tree.entries(node).get(index_of(number)).map_or(LOST_FOUND, |entry| tree.name(entry))
}

pub(super) fn push_entry(writer: &mut BlockWriter<'_>, tree: &Tree, numbers: &Numbers, node: NodeId, number: u32) {
    match tree.entries(node).get(index_of(number)) {
        Some(entry) => writer.push(numbers.of(entry.node), tree.name(entry), type_of(tree.node(entry.node))),
        None => writer.push(FIRST_INO, LOST_FOUND, file_type::DIRECTORY),
    }
}

fn too_many_blocks() -> Error {
    Error::limit("over 2^32 blocks or entries of directories")
}

/// Renders block number `number` of the lost+found that the writer adds.
pub(super) fn render_lost_found(number: u64, root_ino: u32, csum: Csum, block: &mut [u8]) {
    let mut writer = BlockWriter::new(block);
    if number == 0 {
        writer.push(FIRST_INO, b".", file_type::DIRECTORY);
        writer.push(root_ino, b"..", file_type::DIRECTORY);
    }
    writer.finish(csum);
}

fn type_of(node: &Node) -> u8 {
    match node.kind {
        NodeKind::Directory => file_type::DIRECTORY,
        NodeKind::File(_) => file_type::FILE,
        NodeKind::Symlink(_) => file_type::SYMLINK,
        NodeKind::CharDevice(_) => file_type::CHAR,
        NodeKind::BlockDevice(_) => file_type::BLOCK,
        NodeKind::Fifo => file_type::FIFO,
        NodeKind::Socket => file_type::SOCKET,
    }
}

/// Writes entries one behind the other into a block.
pub(super) struct BlockWriter<'a> {
    block: &'a mut [u8],
    /// Where the last entry begins; its `rec_len` is not final before the next one comes.
    last: usize,
    used: usize,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(block: &'a mut [u8]) -> Self {
        block.fill(0);
        Self { block, last: 0, used: 0 }
    }

    fn push(&mut self, inode: u32, name: &[u8], file_type: u8) {
        let bytes = dirent_bytes(name.len());
        let header = DirEntryHeader {
            inode,
            rec_len: u16::try_from(bytes).expect("names have at most 255 bytes"),
            name_len: u8::try_from(name.len()).expect("names have at most 255 bytes"),
            file_type,
        };
        self.block[self.used..self.used + DIRENT_HEADER_BYTES].copy_from_slice(&header.encode());
        self.block[self.used + DIRENT_HEADER_BYTES..][..name.len()].copy_from_slice(name);
        self.last = self.used;
        self.used += bytes;
    }

    /// Gives the last entry the rest of the block (an empty block one unused entry), and writes the checksum.
    pub(super) fn finish(self, csum: Csum) {
        let tail = if csum.is_on() { self.block.len() - DIRENT_TAIL_BYTES } else { self.block.len() };
        let rec_len = u16::try_from(tail - self.last).expect("blocks of directories have at most 4,096 bytes");
        self.block[self.last + 4..self.last + 6].copy_from_slice(&rec_len.to_le_bytes());
        if !csum.is_on() {
            return;
        }
        let checksum = csum.over(&[&self.block[..tail]]);
        let tail_bytes = u16::try_from(DIRENT_TAIL_BYTES).expect("12");
        let header = DirEntryHeader { inode: 0, rec_len: tail_bytes, name_len: 0, file_type: file_type::CHECKSUM };
        self.block[tail..tail + DIRENT_HEADER_BYTES].copy_from_slice(&header.encode());
        self.block[tail + DIRENT_HEADER_BYTES..].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Own;
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};

    fn form(block_bytes: usize, hash_seed: [u8; 16]) -> Form {
        Form { block_bytes, hash_seed, indexed: true, checksums: true }
    }

    /// The (inode, name) pairs of a block, checking that entries lead exactly to the checksum.
    fn read(block: &[u8], seed: u32) -> Vec<(u32, Vec<u8>)> {
        let tail = block.len() - DIRENT_TAIL_BYTES;
        let mut found = Vec::new();
        let mut at = 0;
        while at < tail {
            let header = DirEntryHeader::decode(&block[at..at + 8].try_into().unwrap());
            assert!(usize::from(header.rec_len) >= dirent_bytes(usize::from(header.name_len)) && header.rec_len.is_multiple_of(4));
            if header.inode != 0 {
                found.push((header.inode, block[at + 8..][..usize::from(header.name_len)].to_vec()));
            }
            at += usize::from(header.rec_len);
        }
        assert_eq!(at, tail);
        assert_eq!(block[tail..tail + 8], [0, 0, 0, 0, 12, 0, 0, 0xde]);
        assert_eq!(block[tail + 8..], crate::crc::crc32c(seed, &block[..tail]).to_le_bytes());
        found
    }

    #[test]
    fn every_entry_is_in_exactly_one_leaf_in_the_order_of_hashes() {
        const SEED: [u8; 16] = [3; 16];
        let mut builder = TreeBuilder::new();
        let mut names: Vec<Vec<u8>> =
            (0..700_u32).map(|n| format!("{n:0width$}", width = usize::try_from(n % 250 + 4).unwrap()).into_bytes()).chain([b"lost+found".to_vec()]).collect();
        for name in &names[..700] {
            builder.add(name, Metadata::default(), NewNode::Fifo).unwrap();
        }
        let tree = builder.freeze().unwrap();
        let numbers = Numbers::new(&tree, Own::default()).unwrap();
        names.sort();
        for block_bytes in [1024, 2048, 4096] {
            let directories = Directories::pack(&tree, &numbers, form(block_bytes, SEED), |_| None).unwrap();
            assert!(directories.is_indexed(NodeId::ROOT));
            let mut found = Vec::new();
            for number in 0..directories.block_count(NodeId::ROOT) {
                let mut block = vec![0xff; block_bytes];
                directories.render(&tree, &numbers, NodeId::ROOT, number, Csum::of_seed(5), &mut block);
                if let Place::Leaf(_) = directories.shape(0).place(number) {
                    found.extend(read(&block, 5).into_iter().map(|(_, name)| name));
                }
            }
            assert!(found.is_sorted_by_key(|name| half_md4(name, &SEED)));
            found.sort();
            assert_eq!(found, names);
        }
    }

    #[test]
    fn the_added_lost_found_is_in_the_root_and_has_empty_blocks() {
        let tree = TreeBuilder::new().freeze().unwrap();
        let numbers = Numbers::new(&tree, Own::default()).unwrap();
        let directories = Directories::pack(&tree, &numbers, form(4096, [0; 16]), |_| None).unwrap();
        let mut block = vec![0; 4096];
        directories.render(&tree, &numbers, NodeId::ROOT, 0, Csum::of_seed(1), &mut block);
        assert_eq!(read(&block, 1), [(2, b".".to_vec()), (2, b"..".to_vec()), (11, b"lost+found".to_vec())]);
        render_lost_found(1, 2, Csum::of_seed(1), &mut block);
        assert_eq!(read(&block, 1), []);
    }
}
