//! Which node of an earlier version is which of a tree: the one with its path.

use crate::fs::ext4::parent::{Parent, ParentRun, ParentRunKind};
use crate::tree::{NodeId, NodeKind, Tree};
use std::sync::Arc;

/// No node of the earlier version.
const NONE: u32 = u32::MAX;

/// Which node of an earlier version each node of a tree is: the one with its path.
#[derive(Debug)]
pub(in crate::fs::ext4) struct Matching {
    pub(super) parent: Arc<Parent>,
    /// By node of the new tree.
    of: Vec<u32>,
    /// Directories whose names are others than before.
    pub(super) changed: Vec<NodeId>,
    /// By node of the earlier version: its first run; one more at the end.
    first_run: Vec<usize>,
}

impl Matching {
    pub(in crate::fs::ext4) fn new(tree: &Tree, parent: &Arc<Parent>) -> Self {
        let old = &parent.tree;
        let mut first_run = Vec::with_capacity(old.node_count() + 1);
        for (at, run) in parent.runs.iter().enumerate() {
            // Who is out of order, or is no node, has none.
            let nodes = run.node.index().min(old.node_count()) + 1;
            first_run.resize(first_run.len().max(nodes), at);
        }
        first_run.resize(old.node_count() + 1, parent.runs.len());
        let mut matching = Self { parent: Arc::clone(parent), of: vec![NONE; tree.node_count()], changed: Vec::new(), first_run };
        let mut used = vec![false; old.node_count()];
        matching.of[NodeId::ROOT.index()] = NodeId::ROOT.0;
        for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
            let before = matching.of(directory).map_or(&[][..], |node| old.entries(node));
            let mut before = before.iter().peekable();
            let mut same = true;
            for entry in tree.entries(directory) {
                let name = tree.name(entry);
                while before.next_if(|other| old.name(other) < name).is_some() {
                    same = false;
                }
                let Some(other) = before.next_if(|other| old.name(other) == name) else {
                    same = false;
                    continue;
                };
                let of = &mut matching.of[entry.node.index()];
                if *of == NONE && !std::mem::replace(&mut used[other.node.index()], true) {
                    *of = other.node.0;
                }
            }
            if !same || before.next().is_some() {
                matching.changed.push(directory);
            }
        }
        matching
    }

    /// The node of the earlier version that has the path of `node`.
    pub(super) fn of(&self, node: NodeId) -> Option<NodeId> {
        Some(self.of[node.index()]).filter(|of| *of != NONE).map(NodeId)
    }

    /// Its inode there.
    pub(super) fn inode(&self, node: NodeId) -> Option<u32> {
        self.of(node).and_then(|node| self.parent.inodes.get(node.index())).copied().filter(|ino| *ino > 0)
    }

    /// What lay where, of one kind, of the node that has the path of `node` and is of its sort.
    pub(super) fn runs(&self, tree: &Tree, node: NodeId, what: ParentRunKind) -> &[ParentRun] {
        let Some(old) = self.of(node) else { return &[] };
        let sort = |kind: &NodeKind| match kind {
            NodeKind::Directory => 0,
            NodeKind::File(_) => 1,
            NodeKind::Symlink(_) => 2,
            _ => 3,
        };
        if what == ParentRunKind::Data && sort(&tree.node(node).kind) != sort(&self.parent.tree.node(old).kind) {
            return &[];
        }
        let runs = &self.parent.runs[self.first_run[old.index()]..self.first_run[old.index() + 1]];
        let rest = &runs[runs.partition_point(|run| run.what < what)..];
        &rest[..rest.partition_point(|run| run.node == old && run.what == what)]
    }
}
