//! Inline data (feature inline_data): small directories, and targets of symbolic links of 60 bytes and more, in their inodes.
//!
//! ```text
//!            i_block (60 bytes)                              the xattr system.data, behind the inode's other ones
//! directory: | parent | entry | entry … to the end |         | entry | entry … to the end |
//! link:      | the first 60 bytes of the target |            | the rest |
//! ```
//!
//! A directory has neither `.` nor `..` nor checksums there. The xattr stands in the inode even if it is empty; of a directory it is
//! empty as long as `i_block` holds all entries, else it takes all the room that is left, as when the kernel extends one. An entry lies
//! in the first of the two places that has room for it when it comes, in the tree's order.
//!
//! The root and lost+found stay in blocks, for e2fsck expects them there; so do the targets of links that have a block of xattrs, and
//! all of them where there are quota files, for e2fsck would not account for them.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 3.8 "Inline Data".

use super::directory::{BlockWriter, push_entry};
use super::format::{Csum, I_BLOCK_BYTES, dirent_bytes};
use super::layout::Ext4Layout;
use super::survey::Target;
use crate::tree::{NodeId, NodeKind, Tree};
use crate::units::u64_of;

/// Bytes of the parent's number.
const PARENT_BYTES: usize = 4;

/// What lies in an inode in place of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inline {
    pub(super) i_block: [u8; I_BLOCK_BYTES],
    /// The value of system.data.
    pub(super) value: Vec<u8>,
}

impl Inline {
    pub(super) fn len(&self) -> u64 {
        u64_of(I_BLOCK_BYTES + self.value.len())
    }
}

/// The two places for entries, with the bytes that are left.
struct Places {
    left: [usize; 2],
}

impl Places {
    /// `room` is what system.data may have.
    fn new(room: usize) -> Self {
        Self { left: [I_BLOCK_BYTES - PARENT_BYTES, room] }
    }

    /// The place of the next entry, whose name has so many bytes.
    fn next(&mut self, name_len: usize) -> Option<usize> {
        let bytes = dirent_bytes(name_len);
        let place = self.left.iter().position(|left| *left >= bytes)?;
        self.left[place] -= bytes;
        Some(place)
    }
}

/// Whether a directory's entries fit into its inode with `room` bytes for system.data.
pub(super) fn directory_fits(tree: &Tree, directory: NodeId, room: usize) -> bool {
    let mut places = Places::new(room);
    tree.entries(directory).iter().all(|entry| places.next(tree.name(entry).len()).is_some())
}

/// Whether a target of `len` bytes that is too long for `i_block` alone fits with `room` bytes for system.data.
pub(super) fn target_fits(len: usize, room: usize) -> bool {
    len >= I_BLOCK_BYTES && len - I_BLOCK_BYTES <= room
}

impl Ext4Layout {
    /// What lies in the inode of a node, if anything.
    pub(super) fn inline(&self, id: NodeId) -> Option<Inline> {
        match self.tree.node(id).kind {
            NodeKind::Directory if self.survey.directories.is_inline(id) => Some(self.inline_directory(id)),
            NodeKind::Symlink(_) if self.survey.target(&self.tree, id) == Target::Inline => {
                let (first, rest) = self.tree.target(id).split_first_chunk()?;
                Some(Inline { i_block: *first, value: rest.to_vec() })
            }
            _ => None,
        }
    }

    fn inline_directory(&self, id: NodeId) -> Inline {
        let room = self.survey.inline_room(&self.tree, id).expect("planning has found room");
        let mut places = Places::new(room);
        let (mut i_block, mut value) = ([0; I_BLOCK_BYTES], vec![0; room]);
        i_block[..PARENT_BYTES].copy_from_slice(&self.survey.numbers.of(self.survey.directories.parent(id)).to_le_bytes());
        let mut writers = [BlockWriter::new(&mut i_block[PARENT_BYTES..]), BlockWriter::new(&mut value)];
        for (number, entry) in (0..).zip(self.tree.entries(id)) {
            let place = places.next(self.tree.name(entry).len()).expect("planning has found room for every entry");
            push_entry(&mut writers[place], &self.tree, &self.survey.numbers, id, number);
        }
        let [first, second] = writers;
        let in_use = places.left[1] < room;
        first.finish(Csum::OFF);
        if in_use {
            second.finish(Csum::OFF);
        } else {
            value.clear();
        }
        Inline { i_block, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_where_there_is_room_when_they_come() {
        // (room of system.data, lengths of names, places): 56 bytes are four entries with names of up to 4 bytes, and 8 bytes more.
        for (room, names, expected) in [
            (0, vec![], Some(vec![])),
            (0, vec![48], Some(vec![0])),
            (0, vec![49], None),
            (0, vec![4, 4, 4, 4], Some(vec![0, 0, 0, 0])),
            (0, vec![4, 4, 4, 5], Some(vec![0, 0, 0, 0])),
            (0, vec![4, 4, 4, 13], None),
            (0, vec![4, 4, 4, 4, 1], None),
            (12, vec![4, 4, 4, 4, 4], Some(vec![0, 0, 0, 0, 1])),
            (12, vec![4, 4, 4, 4, 4, 4], None),
            (16, vec![40, 8, 1], None),
            (20, vec![36, 8, 1], Some(vec![0, 1, 0])),
        ] {
            let mut places = Places::new(room);
            let found: Option<Vec<usize>> = names.iter().map(|len| places.next(*len)).collect();
            assert_eq!(found, expected, "{room} {names:?}");
        }
    }

    #[test]
    fn targets_from_60_bytes_on_fit_as_far_as_there_is_room() {
        for (len, room, fits) in [(59, 100, false), (60, 0, true), (61, 0, false), (61, 4, true), (64, 4, true), (65, 4, false)] {
            assert_eq!(target_fits(len, room), fits, "{len} {room}");
        }
    }
}
