//! Labels for every node of a tree.

use super::{FileContexts, FileType};
use crate::error::{Result, escape};
use crate::tree::{NodeId, Tree};
use crate::units::u64_of;

/// The extended attribute that holds a file's label.
pub const XATTR_SELINUX: &[u8] = b"security.selinux";

/// A tree with labels.
#[derive(Debug)]
pub struct Labelled {
    /// The tree.
    pub tree: Tree,
    /// Nodes that got a label.
    pub labelled: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Nothing is known of the node yet, or the policy has no context for its names so far.
const NONE: u32 = u32::MAX;

/// Gives every node of `tree` the label that `contexts` has for it. The running system has the tree's root at `mount_point`.
///
/// # Errors
/// Those of [`FileContexts::context`].
pub fn apply(mut tree: Tree, contexts: &FileContexts, mount_point: impl AsRef<[u8]>) -> Result<Labelled> {
    let parts = mount_point.as_ref().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    let mut path: Vec<u8> = parts.flat_map(|part| [b"/", part].concat()).collect();
    let top = path.len();
    let mut chosen = vec![NONE; tree.node_count()];
    let mut conflicts = Conflicts::default();
    let mut scratch = Vec::new();
    tree.walk(|below, id| {
        path.truncate(top);
        if !below.is_empty() || top == 0 {
            path.push(b'/');
        }
        path.extend_from_slice(below);
        let kind = FileType::from(&tree.node(id).kind);
        let Some(found) = contexts.find(&path, kind, &mut scratch).map_err(|error| error.at_path(&path))? else { return Ok(()) };
        let of_node = &mut chosen[id.index()];
        match *of_node {
            NONE => *of_node = found,
            other if other != found => conflicts.add(contexts, id, &path, found, other),
            _ => {}
        }
        Ok(())
    })?;
    tree.set_xattr(XATTR_SELINUX, |id| Some(chosen[id.index()]).filter(|found| *found != NONE).map(|found| contexts.value(found)))?;
    let labelled = u64_of(chosen.iter().filter(|found| **found != NONE).count());
    let notes = conflicts.note(&tree, contexts).into_iter().collect();
    Ok(Labelled { tree, labelled, notes })
}

/// Names of files for which the policy has another context than for their first one.
#[derive(Default)]
struct Conflicts {
    count: u64,
    first: Option<(NodeId, String)>,
}

impl Conflicts {
    fn add(&mut self, contexts: &FileContexts, id: NodeId, path: &[u8], found: u32, taken: u32) {
        self.count += 1;
        self.first.get_or_insert_with(|| (id, format!("{} would have {}, and has {}", escape(path), shown(contexts, found), shown(contexts, taken))));
    }

    fn note(self, tree: &Tree, contexts: &FileContexts) -> Option<String> {
        let (id, first) = self.first?;
        let (name, policy) = (escape(&tree.path_of(id)), contexts.name());
        let others = if self.count > 1 { format!("; so have {} more names", self.count - 1) } else { String::new() };
        Some(format!("{policy} has several contexts for a file with several names: {first} by its first name {name}{others}"))
    }
}

/// A context for people.
fn shown(contexts: &FileContexts, number: u32) -> String {
    escape(contexts.value(number).split_last().map_or(&[], |(_, context)| context))
}
