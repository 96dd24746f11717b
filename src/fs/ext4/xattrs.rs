//! Extended attributes: their form on disk, and which of them lie in the inode and which in a block.
//!
//! Attributes go into the inode as far as they fit; the rest go into one block, which inodes with the same set share (at most
//! 1,024 of them, as the kernel does). Which go into the inode: those that the kernel asks for most first (labels, ACLs,
//! capabilities); where the rest would not fit into a block then, the choice that fills the inode best.
//!
//! POSIX ACLs come in the form of the system calls (version 2, 8 bytes an entry) and go to disk in ext4's own (version 1, 4
//! bytes an entry that names no user or group).
//!
//! With the feature ea_inode a set that does not fit moves its largest values, one after the other, into inodes of their own (see
//! `values`) until it does.
//!
//! Refused: prefixes that ext4 has no number for, ACLs that are none, a set that does not fit.

use super::format::{Csum, XATTR_BLOCK_HEADER_BYTES, XATTR_ENTRY_BYTES, XATTR_MAGIC, XattrBlockHeader, XattrEntry, entry_hash, name_index};
use super::numbers::Numbers;
use super::values::{Collector, Values};
use crate::error::{Error, Result, escape};
use crate::tree::{NodeId, NodeKind, Tree, Xattr, XattrSetId};
use crate::units::{index_of, u64_of, usize_of};
use std::borrow::Cow;

/// Inodes that share one block at most (`EXT4_XATTR_REFCOUNT_MAX`).
pub const XATTR_SHARERS_MAX: u32 = 1024;
/// Bytes of zeros behind the last entry.
const TERMINATOR_BYTES: usize = 4;
/// Bytes of the header inside an inode: the magic number.
const INODE_HEADER_BYTES: usize = 4;

/// Bytes for entries and values in an inode whose free part has `region` bytes.
fn inode_room(region: usize) -> usize {
    // Inodes of 128 bytes have no such part.
    region.saturating_sub(INODE_HEADER_BYTES + TERMINATOR_BYTES)
}

/// Bytes for entries and values in a block.
fn block_room(block_bytes: usize) -> usize {
    block_bytes - XATTR_BLOCK_HEADER_BYTES - TERMINATOR_BYTES
}

/// An attribute in its form on disk.
#[derive(Debug, PartialEq, Eq)]
struct OnDisk<'a> {
    index: u8,
    name: &'a [u8],
    value: Cow<'a, [u8]>,
    /// Whether the value has an inode of its own, and which.
    moved: Option<Moved>,
}

/// The inode that a value has of its own; zeros before it has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moved {
    ino: u32,
    hash: u32,
    /// The entry lies in the block if it fits there.
    outside: bool,
}

impl OnDisk<'_> {
    /// Bytes that the attribute takes, wherever it lies.
    fn bytes(&self) -> usize {
        self.entry_bytes() + if self.moved.is_some() { 0 } else { self.value.len().next_multiple_of(4) }
    }

    fn entry_bytes(&self) -> usize {
        (XATTR_ENTRY_BYTES + self.name.len()).next_multiple_of(4)
    }

    /// Lower comes into the inode first.
    fn rank(&self) -> u8 {
        match (self.index, self.name) {
            (name_index::SECURITY, b"selinux") => 0,
            (name_index::POSIX_ACL_ACCESS | name_index::POSIX_ACL_DEFAULT, _) => 1,
            (name_index::SECURITY, _) => 2,
            _ => 3,
        }
    }
}

/// What stands for the beginning of a name, and the rest of it.
fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    const WHOLE: [(&[u8], u8); 3] = [
        (b"system.posix_acl_access", name_index::POSIX_ACL_ACCESS),
        (b"system.posix_acl_default", name_index::POSIX_ACL_DEFAULT),
        (b"system.richacl", name_index::RICHACL),
    ];
    const PREFIXES: [(&[u8], u8); 4] =
        [(b"user.", name_index::USER), (b"trusted.", name_index::TRUSTED), (b"security.", name_index::SECURITY), (b"gnu.", name_index::HURD)];
    if let Some((_, index)) = WHOLE.iter().find(|(whole, _)| *whole == name) {
        return Some((*index, b""));
    }
    PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?))).filter(|(_, rest)| !rest.is_empty())
}

/// All attributes of a set on disk, sorted as the kernel searches a block: by index, length of the name, name.
fn on_disk(set: &[Xattr]) -> Result<Vec<OnDisk<'_>>> {
    let mut all = Vec::with_capacity(set.len());
    for xattr in set {
        let (index, name) =
            split_name(&xattr.name).ok_or_else(|| Error::unsupported(format!("ext4 has no place for an xattr of the name {}", escape(&xattr.name))))?;
        let value = match index {
            name_index::POSIX_ACL_ACCESS | name_index::POSIX_ACL_DEFAULT => {
                Cow::Owned(acl_to_disk(&xattr.value).ok_or_else(|| Error::corrupt(format!("the xattr {} is no POSIX ACL", escape(&xattr.name))))?)
            }
            _ => Cow::Borrowed(&xattr.value[..]),
        };
        all.push(OnDisk { index, name, value, moved: None });
    }
    all.sort_unstable_by(|a, b| (a.index, a.name.len(), a.name).cmp(&(b.index, b.name.len(), b.name)));
    Ok(all)
}

/// The attribute that holds what inline data has behind `i_block`.
fn inline_data(value: &[u8]) -> OnDisk<'_> {
    OnDisk { index: name_index::SYSTEM, name: b"data", value: Cow::Borrowed(value), moved: None }
}

/// `struct posix_acl_xattr_header` and entries to `ext4_acl_header` and entries. `None` for what is no ACL.
fn acl_to_disk(value: &[u8]) -> Option<Vec<u8>> {
    const SYSCALL_VERSION: [u8; 4] = [2, 0, 0, 0];
    const DISK_VERSION: [u8; 4] = [1, 0, 0, 0];
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&SYSCALL_VERSION)?;
    if entries.is_empty() || entries.len() % 8 != 0 {
        return None;
    }
    let mut out = DISK_VERSION.to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        match tag {
            USER | GROUP => out.extend_from_slice(entry),
            // The owner, the owning group, the mask, others.
            0x01 | 0x04 | 0x10 | 0x20 => out.extend_from_slice(&entry[..4]),
            _ => return None,
        }
    }
    Some(out)
}

/// Which attributes go into the inode, by position in `all`; `None` if no choice lets the rest fit into a block.
fn choose_for_inode(all: &[OnDisk<'_>], inode_room: usize, block_room: usize) -> Option<Vec<bool>> {
    let total: usize = all.iter().map(OnDisk::bytes).sum();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| all[*at].rank());
    let outside = |at: usize| all[at].moved.is_some_and(|moved| moved.outside);
    for all_inside in [false, true] {
        let mut chosen = vec![false; all.len()];
        let mut used = 0;
        for at in order.iter().copied().filter(|at| all_inside || !outside(*at)) {
            if used + all[at].bytes() <= inode_room {
                chosen[at] = true;
                used += all[at].bytes();
            }
        }
        if total - used <= block_room {
            return Some(chosen);
        }
    }
    let best = best_filling(all, inode_room);
    let used: usize = all.iter().zip(&best).filter(|(_, chosen)| **chosen).map(|(xattr, _)| xattr.bytes()).sum();
    (total - used <= block_room).then_some(best)
}

/// The choice that fills `room` best: a knapsack in units of 4 bytes, of which there are few.
fn best_filling(all: &[OnDisk<'_>], room: usize) -> Vec<bool> {
    const UNIT: usize = 4;
    let units = room / UNIT;
    // For each fill that can be reached: the attribute that reached it, and the fill before.
    let mut reached: Vec<Option<(usize, usize)>> = vec![None; units + 1];
    reached[0] = Some((all.len(), 0));
    for (at, xattr) in all.iter().enumerate() {
        let size = xattr.bytes() / UNIT;
        for fill in (size..=units).rev() {
            let before = fill - size;
            if reached[fill].is_none() && reached[before].is_some() {
                reached[fill] = Some((at, before));
            }
        }
    }
    let mut chosen = vec![false; all.len()];
    let mut fill = (0..=units).rev().find(|fill| reached[*fill].is_some()).unwrap_or(0);
    while let Some((at, before)) = reached[fill].filter(|(at, _)| *at < all.len()) {
        chosen[at] = true;
        fill = before;
    }
    chosen
}

/// Sizes that decide what fits where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of an inode behind its fields.
    pub(super) region_bytes: usize,
    pub(super) block_bytes: usize,
}

impl Room {
    /// Which attributes go into the inode, by position; `None` if no choice lets the rest fit into a block.
    fn choose(self, all: &[OnDisk<'_>]) -> Option<Vec<bool>> {
        choose_for_inode(all, inode_room(self.region_bytes), block_room(self.block_bytes))
    }

    /// Marks values to be moved into inodes of their own, the largest first (of equal ones the last), until the rest fits or none is left.
    fn move_values(self, all: &mut [OnDisk<'_>], outside: bool) {
        let entries: usize = all.iter().map(OnDisk::entry_bytes).sum();
        if entries > inode_room(self.region_bytes) + block_room(self.block_bytes) {
            return;
        }
        while self.choose(all).is_none() {
            let left = all.iter_mut().filter(|xattr| xattr.moved.is_none() && !xattr.value.is_empty());
            let Some(largest) = left.max_by_key(|xattr| xattr.value.len()) else { return };
            largest.moved = Some(Moved { outside, ..Moved::default() });
        }
    }

    /// The attributes in the inode and those in a block; `None` if they do not fit.
    fn split(self, all: Vec<OnDisk<'_>>) -> Option<(Vec<OnDisk<'_>>, Vec<OnDisk<'_>>)> {
        let chosen = self.choose(&all)?;
        let (inside, outside) = all.into_iter().zip(chosen).partition::<Vec<_>, _>(|(_, chosen)| *chosen);
        let strip = |list: Vec<(_, bool)>| list.into_iter().map(|(xattr, _)| xattr).collect();
        Some((strip(inside), strip(outside)))
    }

    /// The error for a set that does not fit.
    fn too_small(self, set: &[Xattr], may_move: bool) -> Error {
        let all = on_disk(set).unwrap_or_default();
        let (inode_room, block_room) = (inode_room(self.region_bytes), block_room(self.block_bytes));
        let holds = format!("an inode of this filesystem holds {inode_room} and one block {block_room}");
        if may_move {
            let names: usize = all.iter().map(OnDisk::entry_bytes).sum();
            return Error::limit(format!("{} xattrs, of which the names alone take {names} bytes; {holds}", all.len()));
        }
        let needed: usize = all.iter().map(OnDisk::bytes).sum();
        let largest = all.iter().map(OnDisk::bytes).max().unwrap_or(0);
        let name = set.iter().max_by_key(|xattr| xattr.value.len()).map_or_else(String::new, |xattr| escape(&xattr.name));
        Error::limit(format!("xattrs of {needed} bytes (the largest, {name}, {largest}); {holds} (the feature ea_inode gives large values room of their own)"))
    }

    /// Bytes that a value of inline data may have behind the attributes in the inode; `None` if there is no room for its entry.
    fn inline_room(self, all: Vec<OnDisk<'_>>) -> Option<usize> {
        let (inside, _) = self.split(all)?;
        let used = inside.iter().map(OnDisk::bytes).sum::<usize>() + inline_data(&[]).bytes();
        inode_room(self.region_bytes).checked_sub(used)
    }

    /// Fills the part of an inode behind its fields; `inline` is the value of inline data.
    fn fill_inode(self, all: Vec<OnDisk<'_>>, inline: Option<&[u8]>, region: &mut [u8]) {
        region.fill(0);
        let (mut inside, _) = self.split(all).expect("planning has checked every set");
        inside.extend(inline.map(inline_data));
        if !inside.is_empty() {
            region[..INODE_HEADER_BYTES].copy_from_slice(&XATTR_MAGIC.to_le_bytes());
            fill_entries(&mut region[INODE_HEADER_BYTES..], 0, &inside, false);
        }
    }

    /// Fills the block number `block_number` that `sharers` inodes with this set share.
    fn fill_block(self, all: Vec<OnDisk<'_>>, sharers: u32, block_number: u64, csum: Csum, block: &mut [u8]) {
        block.fill(0);
        let (_, outside) = self.split(all).expect("planning has checked every set");
        let h_hash = fill_entries(block, XATTR_BLOCK_HEADER_BYTES, &outside, true);
        let mut header = XattrBlockHeader { h_magic: XATTR_MAGIC, h_refcount: sharers, h_blocks: 1, h_hash, ..XattrBlockHeader::default() };
        block[..XATTR_BLOCK_HEADER_BYTES].copy_from_slice(&header.encode());
        header.h_checksum = csum.over(&[&block_number.to_le_bytes(), block]);
        block[..XATTR_BLOCK_HEADER_BYTES].copy_from_slice(&header.encode());
    }
}

/// Writes entries from `first` upwards and values from the end downwards, offsets counted from the start of `area`. Returns the
/// hash over all entries' hashes.
fn fill_entries(area: &mut [u8], first: usize, xattrs: &[OnDisk<'_>], hashed: bool) -> u32 {
    let small = |value: usize| u16::try_from(value).expect("an inode or block has under 64 KiB");
    let (mut at, mut end, mut all_hash) = (first, area.len(), 0_u32);
    for xattr in xattrs {
        let entry = XattrEntry {
            e_name_len: u8::try_from(xattr.name.len()).expect("names have at most 255 bytes"),
            e_name_index: xattr.index,
            e_value_size: u32::try_from(xattr.value.len()).expect("values have at most 64 KiB"),
            ..XattrEntry::default()
        };
        let entry = if let Some(moved) = xattr.moved {
            // The value's hash stands for the value.
            XattrEntry { e_value_inum: moved.ino, e_hash: entry_hash(xattr.name, &moved.hash.to_le_bytes()), ..entry }
        } else {
            end -= xattr.value.len().next_multiple_of(4);
            area[end..end + xattr.value.len()].copy_from_slice(&xattr.value);
            let e_value_offs = if xattr.value.is_empty() { 0 } else { small(end) };
            XattrEntry { e_value_offs, e_hash: if hashed { entry_hash(xattr.name, &xattr.value) } else { 0 }, ..entry }
        };
        all_hash = all_hash.rotate_left(16) ^ entry.e_hash;
        area[at..at + XATTR_ENTRY_BYTES].copy_from_slice(&entry.encode());
        area[at + XATTR_ENTRY_BYTES..][..xattr.name.len()].copy_from_slice(xattr.name);
        at += xattr.entry_bytes();
    }
    assert!(at + TERMINATOR_BYTES <= end, "planning has checked that entries and values fit");
    all_hash
}

/// A block of attributes, before it has a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct XattrBlock {
    pub(super) set: XattrSetId,
    pub(super) sharers: u32,
}

/// Which nodes have which block of attributes, and which values have inodes of their own.
#[derive(Debug)]
pub(super) struct XattrBlocks {
    room: Room,
    pub(super) blocks: Vec<XattrBlock>,
    /// (node, number of its block), by node; only nodes that have one.
    of_node: Vec<(NodeId, u32)>,
    pub(super) values: Values,
}

impl XattrBlocks {
    /// Checks every set of the tree and gives blocks to the nodes that need one, in tree order. With `hashes`, by which values are
    /// hashed, large values may have inodes of their own.
    pub(super) fn plan(tree: &Tree, room: Room, hashes: Option<Csum>) -> Result<Self> {
        let mut users: Vec<(XattrSetId, NodeId)> =
            tree.nodes().filter(|(_, node)| node.metadata.xattrs != XattrSetId::NONE).map(|(id, node)| (node.metadata.xattrs, id)).collect();
        users.sort_unstable();
        let mut plan = Self { room, blocks: Vec::new(), of_node: Vec::new(), values: Values::default() };
        let mut collector = Collector::new(hashes.unwrap_or(Csum::OFF));
        for same in users.chunk_by(|a, b| a.0 == b.0) {
            let (set, first) = same[0];
            // e2fsck 1.47 takes a short symbolic link for a long one if it counts blocks and has no block of attributes.
            let outside = same.iter().any(|(_, node)| matches!(tree.node(*node).kind, NodeKind::Symlink(_)));
            let path = |error: Error| error.at_path(tree.path_of(first));
            let mut all = on_disk(tree.xattrs(set)).map_err(path)?;
            if hashes.is_some() {
                room.move_values(&mut all, outside);
            }
            let chosen = room.choose(&all).ok_or_else(|| path(room.too_small(tree.xattrs(set), hashes.is_some())))?;
            let blocks = if chosen.contains(&false) { same.len().div_ceil(index_of(XATTR_SHARERS_MAX)) } else { 0 };
            for (position, (xattr, inside)) in all.into_iter().zip(chosen).enumerate().filter(|(_, (xattr, _))| xattr.moved.is_some()) {
                collector.add((set, position, outside), xattr.value, if inside { same.len() } else { blocks })?;
            }
            if blocks == 0 {
                continue;
            }
            for sharers in same.chunks(index_of(XATTR_SHARERS_MAX)) {
                let number = u32::try_from(plan.blocks.len()).map_err(|_| Error::limit("over 2^32 blocks of xattrs"))?;
                let count = u32::try_from(sharers.len()).expect("at most XATTR_SHARERS_MAX");
                plan.blocks.push(XattrBlock { set, sharers: count });
                plan.of_node.extend(sharers.iter().map(|(_, node)| (*node, number)));
            }
        }
        plan.of_node.sort_unstable();
        plan.values = collector.finish();
        Ok(plan)
    }

    /// The number of the block of a node, if it has one.
    pub(super) fn of(&self, node: NodeId) -> Option<u32> {
        self.of_node.binary_search_by_key(&node, |(node, _)| *node).ok().map(|at| self.of_node[at].1)
    }

    /// By number of a block: the first node that has it.
    pub(super) fn first_holders(&self) -> Vec<NodeId> {
        let mut holders: Vec<Option<NodeId>> = vec![None; self.blocks.len()];
        for (node, number) in &self.of_node {
            holders[index_of(*number)].get_or_insert(*node);
        }
        holders.into_iter().map(|holder| holder.expect("every block is some node's")).collect()
    }

    /// The attributes of a set that was planned.
    fn attributes<'a>(&self, tree: &'a Tree, numbers: &Numbers, set: XattrSetId) -> Vec<OnDisk<'a>> {
        let mut all = on_disk(tree.xattrs(set)).expect("planning has checked every set");
        for reference in self.values.of_set(set) {
            let (ino, hash) = (numbers.of_value(reference.value), self.values.get(reference.value).hash);
            all[index_of(reference.position)].moved = Some(Moved { ino, hash, outside: reference.outside });
        }
        all
    }

    /// Bytes that a value of inline data may have in an inode with this set; `None` if there is no room for its entry.
    pub(super) fn inline_room(&self, tree: &Tree, numbers: &Numbers, set: XattrSetId) -> Option<usize> {
        self.room.inline_room(self.attributes(tree, numbers, set))
    }

    /// Fills the part of an inode with this set behind its fields; `inline` is the value of its inline data, if it has such.
    pub(super) fn fill_inode(&self, tree: &Tree, numbers: &Numbers, set: XattrSetId, inline: Option<&[u8]>, region: &mut [u8]) {
        self.room.fill_inode(self.attributes(tree, numbers, set), inline, region);
    }

    /// Fills a block of attributes that lies at `block_number`.
    pub(super) fn fill_block(&self, tree: &Tree, numbers: &Numbers, block: XattrBlock, block_number: u64, csum: Csum, out: &mut [u8]) {
        self.room.fill_block(self.attributes(tree, numbers, block.set), block.sharers, block_number, csum, out);
    }

    /// Fills block `number` of the inode of a value.
    pub(super) fn render_value(&self, tree: &Tree, value: u32, number: u64, out: &mut [u8]) {
        out.fill(0);
        let (set, position) = self.values.get(value).place();
        let all = on_disk(tree.xattrs(set)).expect("planning has checked every set");
        let rest = &all[position].value[usize_of(number * u64_of(out.len()))..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
    }
}

#[cfg(test)]
#[path = "xattrs_tests.rs"]
mod tests;
