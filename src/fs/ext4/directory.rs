//! Directories: packing entries into blocks, and rendering a block from its own entries alone.
//!
//! Directories are linear: `.` and `..`, then the entries in the tree's order. Each block ends with its checksum. What the
//! planner keeps of a directory is which entry each block begins with; a hash index would keep its order of entries beside it.

use super::format::{DIRENT_HEADER_BYTES, DIRENT_TAIL_BYTES, DirEntryHeader, FIRST_INO, dirent_bytes, file_type};
use super::numbers::{LOST_FOUND, Numbers};
use crate::crc::crc32c;
use crate::error::{Error, Result};
use crate::tree::{Node, NodeId, NodeKind, Tree};
use crate::units::{index_of, u64_of, usize_of};

/// Bytes of the lost+found that the writer adds: room for what e2fsck finds, as mke2fs makes it.
pub(super) const LOST_FOUND_BYTES: u64 = 16 * 1024;

#[derive(Debug, Clone, Copy)]
struct Directory {
    node: NodeId,
    /// The parent's inode.
    parent: u32,
    /// Where in `blocks` the directory's blocks begin.
    first_block: u32,
}

/// All directories of a tree, packed.
#[derive(Debug)]
pub(super) struct Directories {
    /// By node.
    directories: Vec<Directory>,
    /// For each block the number of its first entry in the directory.
    blocks: Vec<u32>,
}

impl Directories {
    /// Packs every directory into blocks of `block_bytes`.
    pub(super) fn pack(tree: &Tree, numbers: &Numbers, block_bytes: usize) -> Result<Self> {
        let of_node = |node: NodeId| Directory { node, parent: numbers.of(NodeId::ROOT), first_block: 0 };
        let mut all = Self { directories: tree.nodes().filter(|(_, node)| node.is_directory()).map(|(id, _)| of_node(id)).collect(), blocks: Vec::new() };
        for at in 0..all.directories.len() {
            let node = all.directories[at].node;
            all.directories[at].first_block = u32::try_from(all.blocks.len()).map_err(|_| Error::limit("over 2^32 blocks of directories"))?;
            all.pack_one(tree, numbers, node, block_bytes);
            let own = numbers.of(node);
            // A directory's subdirectories come after it in tree order.
            for entry in tree.entries(node).iter().filter(|entry| tree.node(entry.node).is_directory()) {
                if let Some(child) = all.position(entry.node) {
                    all.directories[child].parent = own;
                }
            }
        }
        Ok(all)
    }

    fn pack_one(&mut self, tree: &Tree, numbers: &Numbers, node: NodeId, block_bytes: usize) {
        let room = block_bytes - DIRENT_TAIL_BYTES;
        let mut used = 2 * dirent_bytes(1);
        if node == NodeId::ROOT && numbers.adds_lost_found() {
            used += dirent_bytes(LOST_FOUND.len());
        }
        self.blocks.push(0);
        for (number, entry) in (0..).zip(tree.entries(node)) {
            let bytes = dirent_bytes(tree.name(entry).len());
            if used + bytes > room {
                self.blocks.push(number);
                used = 0;
            }
            used += bytes;
        }
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.directories.binary_search_by_key(&node, |directory| directory.node).ok()
    }

    /// All directories in tree order, with their number of blocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.directories.iter().enumerate().map(|(at, directory)| (directory.node, u64_of(self.blocks_at(at).len())))
    }

    /// The blocks of a directory.
    pub(super) fn block_count(&self, node: NodeId) -> u64 {
        self.position(node).map_or(0, |at| u64_of(self.blocks_at(at).len()))
    }

    fn blocks_at(&self, at: usize) -> &[u32] {
        let first = index_of(self.directories[at].first_block);
        let end = self.directories.get(at + 1).map_or(self.blocks.len(), |next| index_of(next.first_block));
        &self.blocks[first..end]
    }

    /// Renders block number `number` of a directory. `inode_seed` starts its checksum.
    pub(super) fn render(&self, tree: &Tree, numbers: &Numbers, node: NodeId, number: u64, inode_seed: u32, block: &mut [u8]) {
        let at = self.position(node).expect("only directories have blocks of entries");
        let (blocks, number) = (self.blocks_at(at), usize_of(number));
        let entries = tree.entries(node);
        let end = blocks.get(number + 1).map_or(entries.len(), |end| index_of(*end));
        let mut writer = BlockWriter::new(block);
        if number == 0 {
            writer.push(numbers.of(node), b".", file_type::DIRECTORY);
            writer.push(self.directories[at].parent, b"..", file_type::DIRECTORY);
            if node == NodeId::ROOT && numbers.adds_lost_found() {
                writer.push(FIRST_INO, LOST_FOUND, file_type::DIRECTORY);
            }
        }
        for entry in &entries[index_of(blocks[number])..end] {
            writer.push(numbers.of(entry.node), tree.name(entry), type_of(tree.node(entry.node)));
        }
        writer.finish(inode_seed);
    }
}

/// Renders block number `number` of the lost+found that the writer adds.
pub(super) fn render_lost_found(number: u64, root_ino: u32, inode_seed: u32, block: &mut [u8]) {
    let mut writer = BlockWriter::new(block);
    if number == 0 {
        writer.push(FIRST_INO, b".", file_type::DIRECTORY);
        writer.push(root_ino, b"..", file_type::DIRECTORY);
    }
    writer.finish(inode_seed);
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
struct BlockWriter<'a> {
    block: &'a mut [u8],
    /// Where the last entry begins; its `rec_len` is not final before the next one comes.
    last: usize,
    used: usize,
}

impl<'a> BlockWriter<'a> {
    fn new(block: &'a mut [u8]) -> Self {
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
    fn finish(self, inode_seed: u32) {
        let tail = self.block.len() - DIRENT_TAIL_BYTES;
        let rec_len = u16::try_from(tail - self.last).expect("blocks of directories have at most 4,096 bytes");
        self.block[self.last + 4..self.last + 6].copy_from_slice(&rec_len.to_le_bytes());
        let checksum = crc32c(inode_seed, &self.block[..tail]);
        let tail_bytes = u16::try_from(DIRENT_TAIL_BYTES).expect("12");
        let header = DirEntryHeader { inode: 0, rec_len: tail_bytes, name_len: 0, file_type: file_type::CHECKSUM };
        self.block[tail..tail + DIRENT_HEADER_BYTES].copy_from_slice(&header.encode());
        self.block[tail + DIRENT_HEADER_BYTES..].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};

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
        assert_eq!(block[tail + 8..], crc32c(seed, &block[..tail]).to_le_bytes());
        found
    }

    #[test]
    fn every_entry_is_in_exactly_one_block() {
        let mut builder = TreeBuilder::new();
        let mut names: Vec<Vec<u8>> = (0..700_u32).map(|n| format!("{n:0width$}", width = usize::try_from(n % 250 + 4).unwrap()).into_bytes()).collect();
        for name in &names {
            builder.add([b"d/".as_slice(), name].concat(), Metadata::default(), NewNode::Fifo).unwrap();
        }
        let tree = builder.freeze().unwrap();
        let numbers = Numbers::new(&tree).unwrap();
        let node = tree.lookup("d").unwrap();
        for block_bytes in [1024, 2048, 4096] {
            let directories = Directories::pack(&tree, &numbers, block_bytes).unwrap();
            let mut found = Vec::new();
            for number in 0..directories.block_count(node) {
                let mut block = vec![0xff; block_bytes];
                directories.render(&tree, &numbers, node, number, 5, &mut block);
                found.extend(read(&block, 5));
            }
            assert_eq!(found[..2], [(numbers.of(node), b".".to_vec()), (2, b"..".to_vec())]);
            let found: Vec<Vec<u8>> = found.into_iter().skip(2).map(|(_, name)| name).collect();
            names.sort();
            assert_eq!(found, names);
        }
    }

    #[test]
    fn the_added_lost_found_is_in_the_root_and_has_empty_blocks() {
        let tree = TreeBuilder::new().freeze().unwrap();
        let numbers = Numbers::new(&tree).unwrap();
        let directories = Directories::pack(&tree, &numbers, 4096).unwrap();
        let mut block = vec![0; 4096];
        directories.render(&tree, &numbers, NodeId::ROOT, 0, 1, &mut block);
        assert_eq!(read(&block, 1), [(2, b".".to_vec()), (2, b"..".to_vec()), (11, b"lost+found".to_vec())]);
        render_lost_found(1, 2, 1, &mut block);
        assert_eq!(read(&block, 1), []);
    }
}
