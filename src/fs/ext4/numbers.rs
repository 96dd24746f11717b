//! Inode numbers: 1 to 10 are reserved, 11 is lost+found, then come the file of orphans and the quota file of projects, where there
//! are such, then the nodes in tree order, then the values of xattrs that have inodes of their own. Of the reserved ones, 3 and 4 are the
//! quota files of users and groups.
//!
//! Nodes and values may have other numbers behind the filesystem's own: those of an earlier version, or ones with gaps between
//! directories (see [`super::place`], which assigns them once the number of inodes is known).
//!
//! A tree's own lost+found gets 11 too, so that an image that was read and is built again keeps its numbers. Only where the
//! tree has something else under that name there is none, and what follows begins at 11.

use super::features::{Feature, Features};
use super::format::{FIRST_INO, GRP_QUOTA_INO, JOURNAL_INO, RESIZE_INO, ROOT_INO, USR_QUOTA_INO};
use super::quota::Kind;
use crate::error::{Error, Result};
use crate::tree::{NodeId, Tree};
use crate::units::index_of;

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
    /// The file of orphans.
    Orphans,
    /// A quota file.
    Quota(Kind),
    /// The lost+found that the tree does not have.
    LostFound,
    /// A node of the tree.
    Node(NodeId),
    /// The value of an xattr, by its number.
    Value(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LostFound {
    Added,
    Own(NodeId),
    Obstructed,
}

/// The numbers of all inodes of one tree.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    lost_found: LostFound,
    /// The filesystem's own inodes between lost+found and the nodes.
    own: Own,
    nodes: u32,
    /// Values of xattrs, behind the last node.
    values: u32,
    /// Numbers of nodes and values, where they do not follow from the order of the tree.
    assigned: Option<Assigned>,
}

/// Numbers that were assigned one by one.
#[derive(Debug, Clone)]
struct Assigned {
    /// By node.
    of: Vec<u32>,
    /// By value.
    of_value: Vec<u32>,
    /// By number: the node, or behind the nodes the value; [`FREE`] for none.
    owners: Vec<u32>,
}

/// In `Assigned::owners`: no node and no value.
const FREE: u32 = u32::MAX;

/// Which inodes of its own a filesystem has that not every one has. All but the quota files of users and groups lie behind lost+found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Own {
    pub(super) orphans: bool,
    /// The quota files of users and groups.
    pub(super) quota: bool,
    /// The quota file of projects.
    pub(super) project: bool,
}

impl Own {
    pub(super) fn new(features: Features) -> Self {
        Self { orphans: features.has(Feature::OrphanFile), quota: features.has(Feature::Quota), project: features.has(Feature::Project) }
    }

    /// Those behind lost+found, in the order of their numbers.
    fn list(self) -> impl Iterator<Item = Owner> {
        [(self.orphans, Owner::Orphans), (self.project, Owner::Quota(Kind::Project))].into_iter().filter_map(|(there, owner)| there.then_some(owner))
    }

    fn count(self) -> u32 {
        u32::from(self.orphans) + u32::from(self.project)
    }
}

impl Numbers {
    pub(super) fn new(tree: &Tree, own: Own) -> Result<Self> {
        let lost_found = match tree.child(NodeId::ROOT, LOST_FOUND) {
            None => LostFound::Added,
            Some(node) if tree.node(node).is_directory() => LostFound::Own(node),
            Some(_) => LostFound::Obstructed,
        };
        let nodes = u32::try_from(tree.node_count()).ok().filter(|nodes| *nodes < u32::MAX - 32);
        let nodes = nodes.ok_or_else(|| Error::limit(format!("{} inodes; ext4 numbers them with 32 bits", tree.node_count())))?;
        Ok(Self { lost_found, own, nodes, values: 0, assigned: None })
    }

    /// These, with so many values of xattrs behind the last node.
    pub(super) fn with_values(self, values: usize) -> Result<Self> {
        let numbered = u32::try_from(values).ok().filter(|values| self.last_node().checked_add(*values).is_some_and(|last| last < u32::MAX));
        let values =
            numbered.ok_or_else(|| Error::limit(format!("{} inodes and {values} for values of xattrs; ext4 numbers them with 32 bits", self.nodes)))?;
        Ok(Self { values, ..self })
    }

    /// Whether the filesystem gets a lost+found that the tree does not have.
    pub(super) fn adds_lost_found(&self) -> bool {
        self.lost_found == LostFound::Added
    }

    /// Whether a node is the tree's own lost+found.
    pub(super) fn is_lost_found(&self, node: NodeId) -> bool {
        self.lost_found == LostFound::Own(node)
    }

    /// These, with other numbers: `of` by node and `of_value` by value. What has its number from the filesystem (the root, lost+found) keeps it.
    pub(super) fn assigned(self, mut of: Vec<u32>, of_value: Vec<u32>) -> Self {
        let last = of.iter().chain(&of_value).copied().max().unwrap_or(0).max(self.first_free() - 1);
        let mut owners = vec![FREE; index_of(last) + 1];
        let nodes = self.nodes;
        for (node, ino) in (0..nodes).zip(&mut of) {
            if self.has_place(NodeId(node)) {
                *ino = self.in_order(NodeId(node));
            }
            debug_assert!(*ino < FIRST_INO || owners[index_of(*ino)] == FREE, "two nodes have inode {ino}");
            owners[index_of(*ino)] = node;
        }
        for (value, ino) in (0..).zip(&of_value) {
            owners[index_of(*ino)] = nodes + value;
        }
        Self { assigned: Some(Assigned { of, of_value, owners }), ..self }
    }

    /// Whether a node's number is the filesystem's to give: the root's, lost+found's.
    pub(super) fn has_place(&self, node: NodeId) -> bool {
        node == NodeId::ROOT || self.is_lost_found(node)
    }

    /// The first number that any node may have.
    pub(super) fn first_free(&self) -> u32 {
        self.first_own() + self.own.count()
    }

    /// The highest number in use.
    pub(super) fn last(&self) -> u32 {
        match &self.assigned {
            Some(assigned) => u32::try_from(assigned.owners.len() - 1).expect("inodes are numbered with 32 bits"),
            None => self.count(),
        }
    }

    /// How many numbers are in use or reserved.
    pub(super) fn count(&self) -> u32 {
        self.last_node() + self.values
    }

    /// Whether a number is in use or reserved.
    pub(super) fn is_used(&self, ino: u32) -> bool {
        match &self.assigned {
            Some(assigned) => ino < self.first_free() || assigned.owners.get(index_of(ino)).is_some_and(|owner| *owner != FREE),
            None => ino <= self.count(),
        }
    }

    fn last_node(&self) -> u32 {
        // The root is not among those behind lost+found, and a lost+found of the tree's own is one of them.
        match self.lost_found {
            LostFound::Added => FIRST_INO + self.own.count() + self.nodes - 1,
            LostFound::Own(_) | LostFound::Obstructed => FIRST_INO + self.own.count() + self.nodes - 2,
        }
        .max(FIRST_INO - 1)
    }

    /// The number of one of the filesystem's own inodes; 0 if there is none.
    pub(super) fn of_own(&self, owner: Owner) -> u32 {
        match (owner, self.own.list().position(|own| own == owner)) {
            (Owner::Journal, _) => JOURNAL_INO,
            (Owner::Resize, _) => RESIZE_INO,
            (Owner::Quota(Kind::User), _) if self.own.quota => USR_QUOTA_INO,
            (Owner::Quota(Kind::Group), _) if self.own.quota => GRP_QUOTA_INO,
            (_, Some(at)) => self.first_own() + u32::try_from(at).expect("there are few"),
            _ => 0,
        }
    }

    fn first_own(&self) -> u32 {
        FIRST_INO + u32::from(self.lost_found != LostFound::Obstructed)
    }

    /// The number of a node.
    pub(super) fn of(&self, node: NodeId) -> u32 {
        self.assigned.as_ref().map_or_else(|| self.in_order(node), |assigned| assigned.of[node.index()])
    }

    /// The number of a node by the order of the tree.
    pub(super) fn in_order(&self, node: NodeId) -> u32 {
        match self.lost_found {
            _ if node == NodeId::ROOT => ROOT_INO,
            LostFound::Own(own) if node == own => FIRST_INO,
            LostFound::Own(own) if node > own => FIRST_INO + self.own.count() + node.0 - 1,
            LostFound::Added | LostFound::Own(_) => FIRST_INO + self.own.count() + node.0,
            LostFound::Obstructed => FIRST_INO + self.own.count() + node.0 - 1,
        }
    }

    /// The number of the inode of a value.
    pub(super) fn of_value(&self, value: u32) -> u32 {
        self.assigned.as_ref().map_or(self.last_node() + 1 + value, |assigned| assigned.of_value[index_of(value)])
    }

    /// How many values have inodes.
    pub(super) fn values(&self) -> u32 {
        self.values
    }

    /// What the number `rank` places behind lost+found is for.
    fn owner_behind(&self, rank: u32) -> Owner {
        if let Some(own) = self.own.list().nth(index_of(rank)) {
            return own;
        }
        // The root is node 0; a lost+found of the tree's own is left out.
        let node = rank - self.own.count() + 1;
        match self.lost_found {
            LostFound::Own(own) if node >= own.0 => Owner::Node(NodeId(node + 1)),
            _ => Owner::Node(NodeId(node)),
        }
    }

    /// What a number is for; [`Owner::Reserved`] past the last.
    pub(super) fn owner(&self, ino: u32) -> Owner {
        if ino > self.last() {
            return Owner::Reserved;
        }
        if let Some(assigned) = self.assigned.as_ref().filter(|_| ino >= self.first_free()) {
            return match assigned.owners[index_of(ino)] {
                FREE => Owner::Reserved,
                node if node < self.nodes => Owner::Node(NodeId(node)),
                value => Owner::Value(value - self.nodes),
            };
        }
        if ino > self.last_node() {
            return Owner::Value(ino - self.last_node() - 1);
        }
        match ino {
            ROOT_INO => Owner::Node(NodeId::ROOT),
            USR_QUOTA_INO if self.own.quota => Owner::Quota(Kind::User),
            GRP_QUOTA_INO if self.own.quota => Owner::Quota(Kind::Group),
            RESIZE_INO => Owner::Resize,
            JOURNAL_INO => Owner::Journal,
            0..FIRST_INO => Owner::Reserved,
            FIRST_INO if self.lost_found == LostFound::Added => Owner::LostFound,
            _ => match (ino - FIRST_INO, self.lost_found) {
                (0, LostFound::Own(own)) => Owner::Node(own),
                _ => self.owner_behind(ino - self.first_own()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};

    fn numbers(paths: &[(&str, NewNode<'_>)], own: Own) -> (Tree, Numbers) {
        let mut builder = TreeBuilder::new();
        for (path, node) in paths {
            builder.add(path, Metadata::default(), *node).unwrap();
        }
        let tree = builder.freeze().unwrap();
        let numbers = Numbers::new(&tree, own).unwrap();
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
            for (orphans, quota, project) in [(false, false, false), (true, false, false), (false, true, false), (false, true, true), (true, true, true)] {
                let own = Own { orphans, quota, project };
                let last = last + own.count();
                let (tree, numbers) = numbers(&paths, own);
                assert_eq!(numbers.last(), last, "{paths:?}");
                let special =
                    [(orphans, Owner::Orphans), (quota, Owner::Quota(Kind::User)), (quota, Owner::Quota(Kind::Group)), (project, Owner::Quota(Kind::Project))];
                for (there, owner) in special {
                    assert_eq!(numbers.of_own(owner) > 0, there, "{owner:?}, {paths:?}");
                    assert!(!there || numbers.owner(numbers.of_own(owner)) == owner, "{owner:?}, {paths:?}");
                }
                for (id, _) in tree.nodes() {
                    assert_eq!(numbers.owner(numbers.of(id)), Owner::Node(id), "{paths:?}");
                }
                let named = (FIRST_INO..=last).filter(|ino| matches!(numbers.owner(*ino), Owner::Node(_))).count();
                assert_eq!(named + usize::from(numbers.adds_lost_found()) + index_of(own.count()), index_of(last - FIRST_INO + 1));
                if let Some(own) = tree.lookup("lost+found").filter(|own| tree.node(*own).is_directory()) {
                    assert_eq!(numbers.of(own), FIRST_INO);
                }
                assert_eq!(numbers.owner(last + 1), Owner::Reserved);
                let reversed = (0..u32::try_from(tree.node_count()).unwrap()).map(|node| 100 - node).collect();
                let assigned = numbers.clone().with_values(1).unwrap().assigned(reversed, vec![200]);
                assert_eq!((assigned.last(), assigned.owner(200), assigned.owner(199)), (200, Owner::Value(0), Owner::Reserved));
                for (id, _) in tree.nodes() {
                    assert_eq!(assigned.owner(assigned.of(id)), Owner::Node(id), "{paths:?}");
                    assert_eq!(assigned.of(id) == 100 - id.0, !assigned.has_place(id));
                }
                let used = (1..=200).filter(|ino| assigned.is_used(*ino)).count();
                assert_eq!(u32::try_from(used).unwrap(), assigned.count(), "{paths:?}");
                let numbers = numbers.with_values(2).unwrap();
                assert_eq!([1, 2, 3].map(|more| numbers.owner(last + more)), [Owner::Value(0), Owner::Value(1), Owner::Reserved]);
                assert_eq!(
                    (numbers.of_value(1), numbers.last(), numbers.owner(last)),
                    (last + 2, last + 2, numbers.clone().with_values(0).unwrap().owner(last))
                );
            }
        }
    }
}
