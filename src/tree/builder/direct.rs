//! For sources that know directories by their nodes and not by paths: filesystems. Nothing is followed and nothing replaced.

use super::super::{Metadata, NAME_MAX_BYTES, Node, NodeId, Tree};
use super::{NewNode, TreeBuilder, check_metadata};
use crate::error::{Error, Result};

impl TreeBuilder {
    /// Adds an entry to a directory that was made here. `None`, with nothing done, if the directory has the name already.
    ///
    /// # Errors
    /// Names that are none, metadata that no filesystem holds, more than a tree holds.
    pub(crate) fn add_in(&mut self, directory: NodeId, name: &[u8], metadata: Metadata, node: NewNode<'_>) -> Result<Option<NodeId>> {
        check_name(name)?;
        check_metadata(&metadata)?;
        let place = self.place(directory, name);
        if place.entry.is_some() {
            return Ok(None);
        }
        let kind = self.store_kind(node)?;
        let id = self.push_node(Node { metadata, kind, links: 1, implied: false })?;
        self.set_place(place, directory, name, id)?;
        Ok(Some(id))
    }

    /// Adds one more name of a node that is no directory. False, with nothing done, if the directory has the name already.
    ///
    /// # Errors
    /// As [`TreeBuilder::add_in`].
    pub(crate) fn link_in(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<bool> {
        check_name(name)?;
        debug_assert!(!self.nodes[node.index()].is_directory());
        let place = self.place(directory, name);
        if place.entry.is_some() {
            return Ok(false);
        }
        self.set_place(place, directory, name, node)?;
        Ok(true)
    }

    /// Whether a directory has this name.
    pub(crate) fn has(&self, directory: NodeId, name: &[u8]) -> bool {
        self.find(directory, name).is_some()
    }

    /// Whether a node that was made here is a directory.
    pub(crate) fn is_directory(&self, node: NodeId) -> bool {
        self.nodes[node.index()].is_directory()
    }

    /// As [`TreeBuilder::freeze`]; also gives, by the number that a node had here, the number that it has in the tree. A node that
    /// nothing names has none there: `u32::MAX`.
    ///
    /// # Errors
    /// As [`TreeBuilder::freeze`].
    pub(crate) fn freeze_numbered(self) -> Result<(Tree, Vec<NodeId>)> {
        self.freeze_all()
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(Error::corrupt(format!("{} is no name of an entry", crate::error::escape(name))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_added_by_directory_and_numbers_can_be_followed() {
        let mut builder = TreeBuilder::new();
        let metadata = Metadata { mode: 0o755, ..Metadata::default() };
        let z = builder.add_in(NodeId::ROOT, b"z", metadata, NewNode::Directory).unwrap().unwrap();
        let a = builder.add_in(NodeId::ROOT, b"a", metadata, NewNode::Fifo).unwrap().unwrap();
        assert!(builder.link_in(z, b"b", a).unwrap());
        assert!(!builder.link_in(z, b"b", a).unwrap());
        assert!(builder.has(z, b"b") && !builder.has(z, b"a"));
        assert_eq!(builder.add_in(NodeId::ROOT, b"a", metadata, NewNode::Directory).unwrap(), None);
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
            assert!(builder.add_in(NodeId::ROOT, name, metadata, NewNode::Fifo).is_err());
        }
        let (tree, numbers) = builder.freeze_numbered().unwrap();
        assert_eq!(numbers, [NodeId::ROOT, NodeId(2), NodeId(1)]);
        assert_eq!((tree.lookup("z/b"), tree.node(NodeId(1)).links), (Some(NodeId(1)), 2));
    }
}
