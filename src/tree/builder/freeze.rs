//! Freezing: nodes are numbered in tree order, entries sorted by directory and name.

use super::super::{ByteRange, Entry, Node, NodeId, Tree};
use super::TreeBuilder;
use crate::error::{Error, Result};
use crate::units::index_of;

impl TreeBuilder {
    /// Ends the making: drops what no entry reaches, sorts, and numbers the nodes in tree order.
    ///
    /// # Errors
    /// More entries than a tree holds.
    pub fn freeze(self) -> Result<Tree> {
        self.freeze_all().map(|(tree, _)| tree)
    }

    /// The tree, and by the number that a node had here the number that it has there.
    pub(super) fn freeze_all(self) -> Result<(Tree, Vec<NodeId>)> {
        let Self { nodes, entries, bytes, holes, xattrs, index, .. } = self;
        drop(index);
        let (entries, first_of) = by_directory(entries, nodes.len(), &bytes);
        let entries_of = |directory: NodeId| &entries[index_of(first_of[directory.index()])..index_of(first_of[directory.index() + 1])];

        // Depth first, without recursion: a directory's entries are pushed in reverse, so that the first pops first.
        const NOT_YET: NodeId = NodeId(u32::MAX);
        let mut new_number = vec![NOT_YET; nodes.len()];
        let mut frozen: Vec<Node> = Vec::with_capacity(nodes.len());
        let mut directories = Vec::new();
        let mut pending = vec![NodeId::ROOT];
        while let Some(old) = pending.pop() {
            let number = &mut new_number[old.index()];
            if *number != NOT_YET {
                frozen[number.index()].links += 1;
                continue;
            }
            *number = NodeId(u32::try_from(frozen.len()).map_err(|_| Error::limit("over 2^32 entries"))?);
            let node = nodes[old.index()];
            frozen.push(Node { links: 1, ..node });
            if node.is_directory() {
                directories.push(old);
                pending.extend(entries_of(old).iter().rev().map(|entry| entry.node));
            }
        }
        drop(nodes);
        // Directories came in the order of their new numbers; what none of them leads to is left behind.
        let mut first_entry = vec![0_u32; frozen.len() + 1];
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for directory in directories {
            let parent = new_number[directory.index()];
            let own = entries_of(directory);
            kept.extend(own.iter().map(|entry| Entry { parent, node: new_number[entry.node.index()], name: entry.name }));
            first_entry[parent.index() + 1] = u32::try_from(own.len()).map_err(|_| Error::limit("over 2^32 entries"))?;
        }
        for at in 1..first_entry.len() {
            first_entry[at] += first_entry[at - 1];
        }
        let mut xattrs = xattrs.sets;
        xattrs.renumber(frozen.iter_mut().map(|node| &mut node.metadata.xattrs));
        Ok((Tree { nodes: frozen, entries: kept, first_entry, bytes, holes, xattrs }, new_number))
    }
}

/// The live entries of each directory together, sorted by their names; and where those of each of `nodes` begin, with the end
/// behind the last.
fn by_directory(entries: Vec<Entry>, nodes: usize, bytes: &[u8]) -> (Vec<Entry>, Vec<u32>) {
    let live = || entries.iter().filter(|entry| entry.node != NodeId::ROOT);
    // Counted, then dealt out: first_of[n] is where n's begin, and then, while they are dealt, where the next one goes.
    let mut first_of = vec![0_u32; nodes + 2];
    for entry in live() {
        first_of[entry.parent.index() + 2] += 1;
    }
    for at in 2..first_of.len() {
        first_of[at] += first_of[at - 1];
    }
    let count = first_of.last().map_or(0, |count| index_of(*count));
    let nothing = Entry { parent: NodeId::ROOT, node: NodeId::ROOT, name: ByteRange { start: 0, len: 0 } };
    let mut sorted = vec![nothing; count];
    for entry in live() {
        let next = &mut first_of[entry.parent.index() + 1];
        sorted[index_of(*next)] = *entry;
        *next += 1;
    }
    first_of.pop();
    let name = |entry: &Entry| &bytes[index_of(entry.name.start)..][..index_of(entry.name.len)];
    for pair in first_of.windows(2) {
        // Most come sorted, which is found at once.
        sorted[index_of(pair[0])..index_of(pair[1])].sort_unstable_by(|a, b| name(a).cmp(name(b)));
    }
    (sorted, first_of)
}
