//! What is found wrong, collected up to a limit. Paths are known once the tree is frozen.

use crate::error::{Error, ErrorKind};
use crate::tree::{NodeId, Tree};

/// One list of what was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    most: usize,
    /// How many more there were.
    more: u64,
}

/// Where something was found: a node, or a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// The node by the builder's number.
    pub(super) node: NodeId,
    /// The name in it of what is not in the tree.
    pub(super) name: Option<Vec<u8>>,
}

impl Spot {
    pub(super) fn node(node: NodeId) -> Self {
        Self { node, name: None }
    }

    pub(super) fn name(directory: NodeId, name: &[u8]) -> Self {
        Self { node: directory, name: Some(name.to_vec()) }
    }
}

#[derive(Debug)]
struct Finding {
    error: Error,
    spot: Option<Spot>,
}

impl Findings {
    pub(super) fn new(most: usize) -> Self {
        Self { list: Vec::new(), most, more: 0 }
    }

    pub(super) fn push(&mut self, error: Error) {
        self.push_at(None, error);
    }

    pub(super) fn push_at(&mut self, spot: Option<Spot>, error: Error) {
        if self.list.len() < self.most {
            self.list.push(Finding { error, spot });
        } else {
            self.more += 1;
        }
    }

    /// Whether one more would be kept: what costs time to say need not be said then.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= self.most
    }

    /// One more that is not kept.
    pub(super) fn count(&mut self) {
        self.more += 1;
    }

    /// All with their paths, and at the end how many there were beyond the limit.
    pub(super) fn finish(self, paths: &Paths<'_>) -> Vec<Error> {
        let mut errors: Vec<Error> = self
            .list
            .into_iter()
            .map(|finding| match finding.spot {
                Some(spot) => finding.error.at_path(paths.of(&spot)),
                None => finding.error,
            })
            .collect();
        if self.more > 0 {
            errors.push(Error::new(ErrorKind::LimitExceeded, format!("and {} more", self.more)));
        }
        errors
    }
}

/// The paths of all nodes of a frozen tree.
pub(super) struct Paths<'a> {
    tree: &'a Tree,
    /// By the builder's number the tree's.
    numbers: &'a [NodeId],
    /// For each node of the tree its directory and its first entry there.
    parents: Vec<(NodeId, u32)>,
}

impl<'a> Paths<'a> {
    pub(super) fn new(tree: &'a Tree, numbers: &'a [NodeId]) -> Self {
        const NONE: (NodeId, u32) = (NodeId::ROOT, u32::MAX);
        let mut parents = vec![NONE; tree.node_count()];
        for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
            for (number, entry) in (0..).zip(tree.entries(directory)) {
                let parent = &mut parents[entry.node.index()];
                if parent.1 == u32::MAX {
                    *parent = (directory, number);
                }
            }
        }
        Self { tree, numbers, parents }
    }

    /// The number in the tree of what has this number in the builder.
    pub(super) fn in_tree(&self, node: NodeId) -> NodeId {
        self.numbers[node.index()]
    }

    /// The path of a node by its number in the tree; the root's is `/`.
    pub(super) fn of_node(&self, node: NodeId) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            let (parent, number) = self.parents[at.index()];
            let Some(entry) = self.tree.entries(parent).get(crate::units::index_of(number)) else { break };
            parts.push(self.tree.name(entry));
            at = parent;
        }
        if parts.is_empty() {
            return b"/".to_vec();
        }
        parts.reverse();
        parts.join(&b'/')
    }

    fn of(&self, spot: &Spot) -> Vec<u8> {
        let node = self.in_tree(spot.node);
        match &spot.name {
            None => self.of_node(node),
            Some(name) if node == NodeId::ROOT => name.clone(),
            Some(name) => [&self.of_node(node)[..], b"/", name].concat(),
        }
    }
}
