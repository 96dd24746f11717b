//! What lay where in an earlier version of a filesystem, as far as a planner wants to stay close to it.
//!
//! ```text
//! image ─► read ─► Parent::of ─┐                          ┌─► Options::parent ─► plan
//!                              ├─► Parent (paths, inodes, runs)
//! plan ─► Ext4Layout::as_parent┘                          └─► OUT.layout ─► the next version
//! ```
//! Both ways give the same of the same filesystem. Of a node there are its path, its kind, its inode and its blocks; metadata are
//! defaults, lengths are 0, links lead to `-`: contents and times are always the new version's. The filesystem's own structures are
//! not in it, but for a `lost+found`, which stands in the tree as any directory: they follow from the geometry.
//!
//! A parent comes from an image or a file that anybody may have made: [`Parent::check`] says whether it can be true.

use super::format::{FIRST_INO, ROOT_INO};
use super::layout::Ext4Layout;
use super::numbers::LOST_FOUND;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::tree::{Device, Metadata, NewNode, NodeId, NodeKind, Timestamp, Tree, TreeBuilder};
use crate::units::ContentId;
use std::fmt;

/// What lay where in an earlier version of a filesystem.
#[derive(PartialEq)]
pub struct Parent {
    /// The filesystem's UUID.
    pub uuid: Guid,
    /// The seed of its directory hashes.
    pub hash_seed: Guid,
    /// The time of its making (`s_mkfs_time` with its high byte).
    pub epoch: Timestamp,
    /// Bytes in a block.
    pub block_bytes: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Paths and kinds; metadata are defaults, lengths are 0, contents are never asked for.
    pub tree: Tree,
    /// By node of `tree`; 0 where nothing is known of it.
    pub inodes: Vec<u32>,
    /// By node, then what, then logical.
    pub runs: Vec<ParentRun>,
}

// Trees are equal to themselves.
impl Eq for Parent {}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent")
            .field("uuid", &self.uuid)
            .field("block_bytes", &self.block_bytes)
            .field("blocks", &self.blocks)
            .field("nodes", &self.tree.node_count())
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

/// Neighbouring blocks of one node in an earlier version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParentRun {
    /// Whose.
    pub node: NodeId,
    /// What they hold of it.
    pub what: ParentRunKind,
    /// The first block's number in the node's data; of what maps it, and of xattrs, how many blocks lie before it. In blocks.
    pub logical: u64,
    /// Where they begin, in blocks of the filesystem.
    pub start: u64,
    /// How many blocks.
    pub count: u64,
}

impl ParentRun {
    /// The block behind the last; saturates.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.count)
    }
}

/// What the blocks of a node hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParentRunKind {
    /// Contents, entries of a directory, a link's target; holes that are allocated too.
    Data,
    /// Nodes of the extent tree or of the block map.
    Map,
    /// Attributes. Of several nodes that share a block it is one's.
    Xattrs,
}

impl Parent {
    /// Whether all of it can be true of one filesystem.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`]: lists that do not go with the tree, an inode that is reserved or that two nodes have, runs that overlap, are out of
    /// order or lie outside of the filesystem.
    pub fn check(&self) -> Result<()> {
        if self.inodes.len() != self.tree.node_count() {
            return Err(Error::corrupt(format!("{} inodes for {} entries of the earlier version", self.inodes.len(), self.tree.node_count())));
        }
        if let Some(ino) = self.inodes.iter().enumerate().find_map(|(node, ino)| (!may_have(node, *ino)).then_some(*ino)) {
            return Err(Error::corrupt(format!("an entry of the earlier version has inode {ino}, which is reserved")));
        }
        let mut inodes: Vec<u32> = self.inodes.iter().copied().filter(|ino| *ino > 0).collect();
        inodes.sort_unstable();
        if let Some(twice) = inodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::corrupt(format!("two entries of the earlier version have inode {}", twice[0])));
        }
        let order = |run: &ParentRun| (run.node, run.what, run.logical);
        if let Some(pair) = self.runs.windows(2).find(|pair| order(&pair[0]) > order(&pair[1])) {
            return Err(Error::corrupt(format!("runs of the earlier version are out of order at block {}", pair[1].start)));
        }
        let outside = |run: &&ParentRun| {
            let ends = [run.start.checked_add(run.count), run.logical.checked_add(run.count)];
            run.count == 0 || run.node.index() >= self.tree.node_count() || ends[1].is_none() || ends[0].is_none_or(|end| end > self.blocks)
        };
        if let Some(run) = self.runs.iter().find(outside) {
            let ParentRun { start, count, .. } = run;
            return Err(Error::corrupt(format!("{count} blocks from {start} on in an earlier version of {} blocks", self.blocks)));
        }
        let mut places: Vec<(u64, u64)> = self.runs.iter().map(|run| (run.start, run.end())).collect();
        places.sort_unstable();
        match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            Some(pair) => Err(Error::corrupt(format!("two runs of the earlier version have block {}", pair[1].0))),
            None => Ok(()),
        }
    }
}

/// Whether the node at this place of a tree may have this inode; 0 is none.
pub(super) fn may_have(node: usize, ino: u32) -> bool {
    if node == NodeId::ROOT.index() { matches!(ino, 0 | ROOT_INO) } else { ino == 0 || ino >= FIRST_INO }
}

/// A tree of the paths and kinds of another, with the numbers that the other's nodes have there.
#[derive(Debug)]
pub(super) struct Paths {
    builder: TreeBuilder,
    /// By node of the other tree: its number in the builder.
    numbers: Vec<NodeId>,
}

/// No number yet.
const NOT_YET: NodeId = NodeId(u32::MAX);

impl Paths {
    pub(super) fn of(tree: &Tree) -> Result<Self> {
        let mut builder = TreeBuilder::new();
        let mut numbers = vec![NOT_YET; tree.node_count()];
        numbers[NodeId::ROOT.index()] = NodeId::ROOT;
        // A directory comes before what is in it.
        for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
            for entry in tree.entries(directory) {
                let (parent, name) = (numbers[directory.index()], tree.name(entry));
                let number = numbers[entry.node.index()];
                if number == NOT_YET {
                    let added = builder.add_in(parent, name, Metadata::default(), bare(&tree.node(entry.node).kind))?;
                    numbers[entry.node.index()] = added.unwrap_or(NOT_YET);
                } else {
                    builder.link_in(parent, name, number)?;
                }
            }
        }
        Ok(Self { builder, numbers })
    }

    /// Adds a directory to the root; its number in the builder, or none if the name is taken.
    fn add_directory(&mut self, name: &[u8]) -> Result<Option<NodeId>> {
        self.builder.add_in(NodeId::ROOT, name, Metadata::default(), NewNode::Directory)
    }

    /// The tree, and by node of the other tree its number in this one; behind these the numbers of `added`.
    pub(super) fn freeze(self, added: Option<NodeId>) -> Result<(Tree, Vec<NodeId>)> {
        let (tree, frozen) = self.builder.freeze_numbered()?;
        let follow = |number: NodeId| frozen.get(number.index()).copied().unwrap_or(NOT_YET);
        let numbers = self.numbers.into_iter().chain(added).map(follow).collect();
        Ok((tree, numbers))
    }
}

/// A node of this kind and nothing more.
fn bare(kind: &NodeKind) -> NewNode<'static> {
    const NOTHING: Device = Device { major: 0, minor: 0 };
    match kind {
        NodeKind::Directory => NewNode::Directory,
        NodeKind::File(_) => NewNode::File { content: ContentId(0), length: 0, data: None },
        NodeKind::Symlink(_) => NewNode::Symlink(b"-"),
        NodeKind::CharDevice(_) => NewNode::CharDevice(NOTHING),
        NodeKind::BlockDevice(_) => NewNode::BlockDevice(NOTHING),
        NodeKind::Fifo => NewNode::Fifo,
        NodeKind::Socket => NewNode::Socket,
    }
}

/// Sorts runs, numbers the blocks of maps and xattrs in the order of their places, and joins what goes on in both.
pub(super) fn arrange(mut runs: Vec<ParentRun>) -> Vec<ParentRun> {
    runs.sort_unstable_by_key(|run| (run.node, run.what, if run.what == ParentRunKind::Data { run.logical } else { run.start }));
    let mut arranged: Vec<ParentRun> = Vec::with_capacity(runs.len());
    for mut run in runs {
        let before = arranged.last_mut().filter(|last| (last.node, last.what) == (run.node, run.what));
        if run.what != ParentRunKind::Data {
            run.logical = before.as_ref().map_or(0, |last| last.logical + last.count);
        }
        match before {
            Some(last) if last.end() == run.start && last.logical.saturating_add(last.count) == run.logical => last.count += run.count,
            _ => arranged.push(run),
        }
    }
    arranged
}

impl Ext4Layout {
    /// What lies where in this filesystem, for the next version of it.
    ///
    /// # Errors
    /// None for a tree that was planned.
    pub fn as_parent(&self) -> Result<Parent> {
        let numbers = &self.survey.numbers;
        let mut paths = Paths::of(&self.tree)?;
        let added = if numbers.adds_lost_found() { paths.add_directory(LOST_FOUND)? } else { None };
        let (tree, new) = paths.freeze(added)?;
        let lost_found = added.and(new.last().copied());

        let mut inodes = vec![0; tree.node_count()];
        let mut runs = Vec::with_capacity(self.placement.runs().len());
        let own = self.tree.nodes().zip(&new).map(|((id, _), node)| (*node, numbers.of(id)));
        for (node, ino) in own.chain(lost_found.map(|node| (node, FIRST_INO))) {
            inodes[node.index()] = ino;
            for (what, placed) in [(ParentRunKind::Data, self.placement.extents(ino)), (ParentRunKind::Map, self.placement.tree(ino))] {
                runs.extend(placed.iter().map(|run| {
                    let (logical, count) = (u64::from(run.logical), u64::from(run.count));
                    ParentRun { node, what, logical, start: run.start, count }
                }));
            }
        }
        self.xattr_runs(&new, &mut runs);
        let Self { options, geometry, .. } = self;
        Ok(Parent {
            uuid: options.uuid,
            hash_seed: options.hash_seed,
            epoch: Timestamp::from_seconds(options.epoch.seconds),
            block_bytes: options.block_bytes,
            blocks: geometry.blocks,
            tree,
            inodes,
            runs: arrange(runs),
        })
    }

    /// Blocks of attributes, and values that have inodes of their own, each of the first node that has it.
    fn xattr_runs(&self, new: &[NodeId], runs: &mut Vec<ParentRun>) {
        let xattrs = &self.survey.xattrs;
        let mut block_met = vec![false; xattrs.blocks.len()];
        let mut value_met = vec![false; xattrs.values.iter().len()];
        for ((id, node), number) in self.tree.nodes().zip(new) {
            let run = |start: u64, count: u64| ParentRun { node: *number, what: ParentRunKind::Xattrs, logical: 0, start, count };
            if let Some(block) = xattrs.of(id).map(crate::units::index_of)
                && !std::mem::replace(&mut block_met[block], true)
            {
                runs.push(run(self.placement.xattr_blocks[block], 1));
            }
            for reference in xattrs.values.of_set(node.metadata.xattrs) {
                if std::mem::replace(&mut value_met[crate::units::index_of(reference.value)], true) {
                    continue;
                }
                let ino = self.survey.numbers.of_value(reference.value);
                let placed = self.placement.extents(ino).iter().chain(self.placement.tree(ino));
                runs.extend(placed.map(|placed| run(placed.start, u64::from(placed.count))));
            }
        }
    }
}
