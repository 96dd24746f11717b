//! Inode numbers: 1 to 10 are reserved, 11 is lost+found, from 12 on the nodes follow in tree order.
//!
//! A tree's own lost+found gets 11 too, so that an image that was read and is built again keeps its numbers. Only where the
//! tree has something else under that name there is none, and the nodes begin at 11.

use super::format::{FIRST_INO, JOURNAL_INO, RESIZE_INO, ROOT_INO};
use crate::error::{Error, Result};
use crate::tree::{NodeId, Tree};

/// The name of the directory that e2fsck puts files into.
pub(super) const LOST_FOUND: &[u8] = b"lost+found";

/// What an inode is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Reserved and empty.
    Reserved,
    /// The resize inode.
    Resize,
    /// The journal.
    Journal,
    /// The lost+found that the tree does not have.
    LostFound,
    /// A node of the tree.
    Node(NodeId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LostFound {
    Added,
    Own(NodeId),
    Obstructed,
}

/// The numbers of all inodes of one tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    lost_found: LostFound,
    nodes: u32,
}

impl Numbers {
    pub(super) fn new(tree: &Tree) -> Result<Self> {
        let lost_found = match tree.child(NodeId::ROOT, LOST_FOUND) {
            None => LostFound::Added,
            Some(node) if tree.node(node).is_directory() => LostFound::Own(node),
            Some(_) => LostFound::Obstructed,
        };
        let nodes = u32::try_from(tree.node_count()).ok().filter(|nodes| *nodes < u32::MAX - 16);
        let nodes = nodes.ok_or_else(|| Error::limit(format!("{} inodes; ext4 numbers them with 32 bits", tree.node_count())))?;
        Ok(Self { lost_found, nodes })
    }

    /// Whether the filesystem gets a lost+found that the tree does not have.
    pub(super) fn adds_lost_found(&self) -> bool {
        self.lost_found == LostFound::Added
    }

    /// The highest number in use; all below it are in use or reserved.
    pub(super) fn last(&self) -> u32 {
        match self.lost_found {
            LostFound::Added => FIRST_INO + self.nodes - 1,
            LostFound::Own(_) | LostFound::Obstructed => FIRST_INO + self.nodes - 2,
        }
        .max(FIRST_INO - 1)
    }

    /// The number of a node.
    pub(super) fn of(&self, node: NodeId) -> u32 {
        match self.lost_found {
            _ if node == NodeId::ROOT => ROOT_INO,
            LostFound::Added => FIRST_INO + node.0,
            LostFound::Own(own) if node == own => FIRST_INO,
            LostFound::Own(own) if node < own => FIRST_INO + node.0,
            LostFound::Own(_) | LostFound::Obstructed => FIRST_INO + node.0 - 1,
        }
    }

    /// What a number is for; [`Owner::Reserved`] past the last.
    pub(super) fn owner(&self, ino: u32) -> Owner {
        if ino > self.last() {
            return Owner::Reserved;
        }
        match ino {
            ROOT_INO => Owner::Node(NodeId::ROOT),
            RESIZE_INO => Owner::Resize,
            JOURNAL_INO => Owner::Journal,
            0..FIRST_INO => Owner::Reserved,
            _ => {
                let rank = ino - FIRST_INO;
                match self.lost_found {
                    LostFound::Added if rank == 0 => Owner::LostFound,
                    LostFound::Added => Owner::Node(NodeId(rank)),
                    LostFound::Own(own) if rank == 0 => Owner::Node(own),
                    LostFound::Own(own) if rank < own.0 => Owner::Node(NodeId(rank)),
                    LostFound::Own(_) | LostFound::Obstructed => Owner::Node(NodeId(rank + 1)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};

    fn numbers(paths: &[(&str, NewNode<'_>)]) -> (Tree, Numbers) {
        let mut builder = TreeBuilder::new();
        for (path, node) in paths {
            builder.add(path, Metadata::default(), *node).unwrap();
        }
        let tree = builder.freeze().unwrap();
        let numbers = Numbers::new(&tree).unwrap();
        (tree, numbers)
    }

    #[test]
    fn every_node_has_one_number_and_lost_found_has_eleven() {
        let fifo = NewNode::Fifo;
        for (paths, last) in [
            (vec![], 11),
            (vec![("a", fifo), ("z", fifo)], 13),
            (vec![("a", fifo), ("lost+found", NewNode::Directory), ("z", fifo)], 13),
            (vec![("lost+found", NewNode::Directory)], 11),
            (vec![("lost+found", fifo)], 11),
            (vec![("a", fifo), ("lost+found", fifo), ("z", fifo)], 13),
        ] {
            let (tree, numbers) = numbers(&paths);
            assert_eq!(numbers.last(), last, "{paths:?}");
            for (id, _) in tree.nodes() {
                assert_eq!(numbers.owner(numbers.of(id)), Owner::Node(id), "{paths:?}");
            }
            let named = (FIRST_INO..=last).filter(|ino| matches!(numbers.owner(*ino), Owner::Node(_))).count();
            assert_eq!(named + usize::from(numbers.adds_lost_found()), usize::try_from(last - FIRST_INO + 1).unwrap());
            if let Some(own) = tree.lookup("lost+found").filter(|own| tree.node(*own).is_directory()) {
                assert_eq!(numbers.of(own), FIRST_INO);
            }
            assert_eq!(numbers.owner(last + 1), Owner::Reserved);
        }
    }
}
