//! Hash-indexed directories: which leaf has a name is found by its hash, through a root and up to two levels of nodes.
//!
//! ```text
//! block 0: . | .. | root info | limit, count, block | hash, block | …          (root)
//! next:    empty entry        | limit, count, block | hash, block | …          (nodes, if the root does not suffice)
//! then:    entries in order of their hashes                                    (leaves)
//! ```
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.4.2 "Hash Tree Directories"; the hash is
//! MD4 (RFC 1320) cut to half of its input words, over names taken as signed bytes.

use super::format::{Csum, DIRENT_HEADER_BYTES, DirEntryHeader, dirent_bytes, file_type};
use crate::units::{u64_of, usize_of};

/// Bytes of an index entry: hash and block.
const ENTRY_BYTES: usize = 8;
/// Where the root's entries begin: behind `.`, `..` and 8 bytes about the index.
const ROOT_ENTRIES_AT: usize = 32;
/// Where a node's entries begin.
const NODE_ENTRIES_AT: usize = DIRENT_HEADER_BYTES;
/// Bytes of the checksum behind the entries, with 4 that are not in use; none without checksums.
const TAIL_BYTES: usize = 8;
/// The most levels between root and leaves (feature large_dir; 1 without it).
pub(super) const LEVELS_MAX: usize = 2;
/// Levels without the feature large_dir.
pub(super) const LEVELS_WITHOUT_LARGE_DIR: usize = 1;

/// The hash of a name (`DX_HASH_HALF_MD4`), with its lowest bit clear. Zeros as the seed mean MD4's own start.
pub(super) fn half_md4(name: &[u8], seed: &[u8; 16]) -> u32 {
    /// The hash that stands for the end of a directory; a name that has it gets the one before.
    const END: u32 = 0xffff_fffe;
    const MD4_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut state = MD4_START;
    if *seed != [0; 16] {
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = rest.get(32..).unwrap_or(&[]);
    }
    let hash = state[1] & !1;
    if hash == END { END - 2 } else { hash }
}

/// The first 32 bytes of `name` as words, first byte highest, each byte signed; padded with the length.
fn words(name: &[u8]) -> [u32; 8] {
    let len = u32::try_from(name.len()).expect("names have at most 255 bytes");
    let pad = len | len << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(name.chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add_signed(i32::from(i8::from_le_bytes([*byte])));
        }
    }
    words
}

/// MD4's three rounds (RFC 1320, section 3.4), each over 8 words instead of 16.
pub(super) fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Round = (fn(u32, u32, u32) -> u32, u32, [usize; 8], [u32; 4]);
    const ROUNDS: [Round; 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, at) in order.into_iter().enumerate() {
            let mixed = a.wrapping_add(mix(b, c, d)).wrapping_add(input[at]).wrapping_add(constant).rotate_left(shifts[step % 4]);
            (a, b, c, d) = (d, mixed, b, c);
        }
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(value);
    }
}

/// How an index with so many leaves is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    block_bytes: usize,
    /// Bytes for entries in the root and in a node, with what is before them.
    room_bytes: usize,
    /// Nodes of each level, from below the root down.
    levels: Vec<u64>,
    leaves: u64,
}

/// What a block of an indexed directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The root, or node `number` of a level (0 is below the root): children `first..first + count` of what is below.
    Index { level: Option<usize>, first: u64, count: u64 },
    /// A leaf.
    Leaf(u64),
}

impl Shape {
    /// The index over so many leaves, whose blocks end with checksums or not.
    pub(super) fn new(leaves: u64, block_bytes: usize, checksums: bool) -> Self {
        let room_bytes = if checksums { block_bytes - TAIL_BYTES } else { block_bytes };
        let mut shape = Self { block_bytes, room_bytes, levels: Vec::new(), leaves };
        let mut below = leaves;
        while below > shape.root_limit() {
            below = below.div_ceil(shape.node_limit());
            shape.levels.insert(0, below);
        }
        shape
    }

    fn root_limit(&self) -> u64 {
        u64_of((self.room_bytes - ROOT_ENTRIES_AT) / ENTRY_BYTES)
    }

    fn node_limit(&self) -> u64 {
        u64_of((self.room_bytes - NODE_ENTRIES_AT) / ENTRY_BYTES)
    }

    /// Levels between root and leaves.
    pub(super) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Blocks in all.
    pub(super) fn blocks(&self) -> u64 {
        self.first_block(self.levels.len()) + self.leaves
    }

    /// The first block of a level; the leaves are the level behind the last.
    fn first_block(&self, level: usize) -> u64 {
        1 + self.levels[..level].iter().sum::<u64>()
    }

    /// Nodes of a level, or leaves.
    fn width(&self, level: usize) -> u64 {
        self.levels.get(level).copied().unwrap_or(self.leaves)
    }

    /// What block `block` is.
    pub(super) fn place(&self, block: u64) -> Place {
        if block == 0 {
            return Place::Index { level: None, first: 0, count: self.width(0) };
        }
        for level in 0..self.levels.len() {
            if block < self.first_block(level + 1) {
                let first = (block - self.first_block(level)) * self.node_limit();
                return Place::Index { level: Some(level), first, count: self.node_limit().min(self.width(level + 1) - first) };
            }
        }
        Place::Leaf(block - self.first_block(self.levels.len()))
    }

    /// The block and the first leaf of child `child` of an index on `level`.
    fn child(&self, level: Option<usize>, child: u64) -> (u64, u64) {
        let below = level.map_or(0, |level| level + 1);
        let leaf = (below..self.levels.len()).fold(child, |leaf, _| leaf * self.node_limit());
        (self.first_block(below) + child, leaf)
    }

    /// Fills the root or a node. `inodes` are the directory's and its parent's; `key` gives the hash that a leaf begins with.
    pub(super) fn fill_index(&self, place: (Option<usize>, u64, u64), inodes: (u32, u32), key: impl Fn(u64) -> u32, csum: Csum, block: &mut [u8]) {
        let (level, first, count) = place;
        block.fill(0);
        let (entries_at, limit) = match level {
            None => {
                self.fill_root_head(inodes, block);
                (ROOT_ENTRIES_AT, self.root_limit())
            }
            Some(_) => {
                let header = DirEntryHeader { inode: 0, rec_len: small(u64_of(self.block_bytes)), name_len: 0, file_type: 0 };
                block[..DIRENT_HEADER_BYTES].copy_from_slice(&header.encode());
                (NODE_ENTRIES_AT, self.node_limit())
            }
        };
        for (slot, child) in block[entries_at..].chunks_exact_mut(ENTRY_BYTES).zip(first..first + count) {
            let (child_block, leaf) = self.child(level, child);
            let child_block = u32::try_from(child_block).expect("a directory has under 2^32 blocks");
            // The first entry has limit and count where the others have their hash: it has everything below the second's.
            let head = if child == first { [small(limit).to_le_bytes(), small(count).to_le_bytes()].concat() } else { key(leaf).to_le_bytes().to_vec() };
            slot[..4].copy_from_slice(&head);
            slot[4..].copy_from_slice(&child_block.to_le_bytes());
        }
        let used = entries_at + usize_of(count) * ENTRY_BYTES;
        let tail = entries_at + usize_of(limit) * ENTRY_BYTES;
        if csum.is_on() {
            let checksum = csum.over(&[&block[..used], &[0; TAIL_BYTES]]);
            block[tail + 4..tail + TAIL_BYTES].copy_from_slice(&checksum.to_le_bytes());
        }
    }

    fn fill_root_head(&self, (own, parent): (u32, u32), block: &mut [u8]) {
        const HASH_HALF_MD4: u8 = super::format::HASH_HALF_MD4;
        const INFO_LENGTH: u8 = 8;
        let dot_bytes = dirent_bytes(1);
        for (at, inode, name, rec_len) in [(0, own, &b"."[..], dot_bytes), (dot_bytes, parent, b"..", self.block_bytes - dot_bytes)] {
            let name_len = u8::try_from(name.len()).expect("1 or 2");
            let header = DirEntryHeader { inode, rec_len: small(u64_of(rec_len)), name_len, file_type: file_type::DIRECTORY };
            block[at..at + DIRENT_HEADER_BYTES].copy_from_slice(&header.encode());
            block[at + DIRENT_HEADER_BYTES..][..name.len()].copy_from_slice(name);
        }
        let levels = u8::try_from(self.levels.len()).expect("at most LEVELS_MAX");
        // reserved_zero, hash_version, info_length, indirect_levels, unused_flags
        block[ROOT_ENTRIES_AT - 8..ROOT_ENTRIES_AT].copy_from_slice(&[0, 0, 0, 0, HASH_HALF_MD4, INFO_LENGTH, levels, 0]);
    }
}

fn small(value: u64) -> u16 {
    u16::try_from(value).expect("blocks of directories have at most 4,096 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_debugfs() {
        // `debugfs -R "dx_hash -h half_md4 [-s SEED] NAME"`, e2fsprogs 1.47.0.
        let seed = *"18d75acc-36d6-884c-8351-b669b979c4f3".parse::<crate::guid::Guid>().unwrap().as_bytes();
        let long = "n".repeat(255);
        for (name, unseeded, seeded) in [
            (&b"a"[..], 0xd5fa_7d7a, 0x958d_f3a8),
            (b"abc", 0xd196_a868, 0x98fc_470a),
            (b"abcd", 0xad75_57a8, 0x2b68_9c4a),
            (b"lost+found", 0x591d_e422, 0x0662_eee0),
            (b"0123456789012345678901234567890", 0xf304_da2c, 0xc44b_501a),
            (b"01234567890123456789012345678901", 0x6538_762a, 0x7350_f13e),
            (b"012345678901234567890123456789012", 0xb2c3_09ae, 0xad92_f554),
            (long.as_bytes(), 0xc0f8_fde8, 0x2a58_d8e4),
            (b"\xff\xfe\x80", 0x45b5_f8b0, 0x892d_e756),
            ("p\u{e4}th-\u{fc}n\u{ef}code".as_bytes(), 0x5424_6102, 0xbf84_1d60),
        ] {
            assert_eq!(half_md4(name, &[0; 16]), unseeded, "{}", crate::error::escape(name));
            assert_eq!(half_md4(name, &seed), seeded, "{}", crate::error::escape(name));
        }
    }

    #[test]
    fn every_block_has_one_place_and_every_leaf_one_parent() {
        let limits = |block_bytes, checksums| {
            let shape = Shape::new(1, block_bytes, checksums);
            (shape.root_limit(), shape.node_limit())
        };
        for (block_bytes, checksums) in [(1024, true), (1024, false), (4096, true), (4096, false)] {
            let (root, node) = limits(block_bytes, checksums);
            for leaves in [2, root, root + 1, root * node, root * node + 1] {
                let shape = Shape::new(leaves, block_bytes, checksums);
                let mut pointed = vec![0_u8; usize_of(shape.blocks())];
                pointed[0] = 1;
                let mut leaf = 0;
                for block in 0..shape.blocks() {
                    match shape.place(block) {
                        Place::Leaf(number) => {
                            assert_eq!(number, leaf);
                            leaf += 1;
                        }
                        Place::Index { level, first, count } => {
                            assert!(count > 0 && count <= if level.is_none() { root } else { node });
                            for child in first..first + count {
                                pointed[usize_of(shape.child(level, child).0)] += 1;
                            }
                        }
                    }
                }
                assert_eq!(leaf, leaves);
                assert!(pointed.iter().all(|times| *times == 1));
            }
        }
        assert_eq!((limits(4096, true), limits(1024, true), limits(4096, false)), ((507, 510), (123, 126), (508, 511)));
        assert_eq!(Shape::new(507, 4096, true).levels(), 0);
        assert_eq!(Shape::new(508, 4096, true).levels(), 1);
        assert_eq!(Shape::new(507 * 510 + 1, 4096, true).levels(), 2);
    }
}
