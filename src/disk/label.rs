//! SELinux labels for the trees of partitions: which policy is for which, and what the running system calls their files.
//!
//! ```text
//!  the root's policy      ─► the root; ext4 partitions with a mount point and neither contents nor a policy of their own
//!  a partition's policy   ─► that partition
//! ```
//! Files are named as the running system names them: beneath the mount point, which is `/` where there is none.

use super::plan::{Draft, Drafted};
use super::spec::{Filesystem, PartitionSpec};
use crate::error::{Error, Result};
use crate::labels::{self, FileContexts, Origin};
use crate::tree::{Metadata, NewNode, Timestamp, Tree, TreeBuilder};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the file contexts of a filesystem are.
fn origin(filesystem: Option<&Filesystem>) -> Option<&Origin> {
    match filesystem {
        Some(Filesystem::Ext4(settings)) => settings.file_contexts.as_ref(),
        _ => None,
    }
}

/// Reads the policies that are files of the host, one for each partition that names one. They become inputs.
pub(super) fn load(partitions: &[PartitionSpec], inputs: &mut Vec<PathBuf>) -> Result<Vec<Option<Arc<FileContexts>>>> {
    let policy = |partition: &PartitionSpec| {
        let Some(Origin::Host(path)) = origin(partition.filesystem.as_ref()) else { return Ok(None) };
        inputs.push(path.clone());
        inputs.extend(labels::companions(path).into_iter().filter(|path| path.exists()));
        FileContexts::load(path).map(|policy| Some(Arc::new(policy)))
    };
    partitions.iter().map(policy).collect()
}

/// The filesystem as it enters the seed: with what the policy says in place of where it lies, which differs from host to host.
pub(super) fn for_seed(filesystem: Option<&Filesystem>, policy: Option<&FileContexts>) -> Option<Filesystem> {
    let mut filesystem = filesystem?.clone();
    if let (Filesystem::Ext4(settings), Some(policy)) = (&mut filesystem, policy) {
        let digest: String = policy.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        settings.file_contexts = Some(Origin::Host(digest.into()));
    }
    Some(filesystem)
}

/// Completes the policies while the root's tree is whole: those that lie in a tree are read, and partitions without contents of their
/// own, which take theirs of the root's tree or are mounted empty, follow the root's.
pub(super) fn complete(drafted: &mut Drafted) -> Result<()> {
    let root = drafted.drafts.iter().position(|draft| draft.spec.is_root());
    for (at, draft) in drafted.drafts.iter().enumerate() {
        let Some(Origin::Tree(path)) = origin(Some(&draft.filesystem)) else { continue };
        let tree = draft.tree.as_ref().or_else(|| drafted.drafts[root?].tree.as_ref());
        let none = || Error::invalid("file contexts in a tree, and there is no tree: the partition has no source").at_path(path);
        drafted.labels[at] = Some(Arc::new(FileContexts::from_tree(tree.ok_or_else(none)?, &drafted.store, path)?));
    }
    let Some(of_root) = root.and_then(|root| drafted.labels[root].clone()) else { return Ok(()) };
    for (draft, policy) in drafted.drafts.iter().zip(&mut drafted.labels) {
        if policy.is_none() && draft.tree.is_none() && draft.spec.mount_point.is_some() && matches!(draft.filesystem, Filesystem::Ext4(_)) {
            *policy = Some(Arc::clone(&of_root));
        }
    }
    Ok(())
}

/// Labels the trees of all partitions, once they have what they will have.
pub(super) fn apply(drafted: &mut Drafted) -> Result<()> {
    let epoch = drafted.spec.epoch;
    for (Draft { spec, number, tree, .. }, policy) in drafted.drafts.iter_mut().zip(&drafted.labels) {
        let Some(policy) = policy else { continue };
        let bare = with_lost_found(tree.take(), epoch)?;
        let nodes = bare.node_count();
        let done = labels::apply(bare, policy, spec.mount_point.as_deref().unwrap_or("/"))?;
        *tree = Some(done.tree);
        let (labelled, name, specifications) = (done.labelled, policy.name(), policy.specifications());
        drafted.notes.push(format!("partition {number}: SELinux labels for {labelled} of {nodes} entries, by {name} with {specifications} specifications"));
        drafted.notes.extend(done.notes);
    }
    Ok(())
}

/// The tree with the directory lost+found, which the writer would add without a label. An empty filesystem has a root all the same.
fn with_lost_found(tree: Option<Tree>, epoch: Timestamp) -> Result<Tree> {
    const LOST_FOUND: &str = "lost+found";
    let mut builder = tree.map_or_else(TreeBuilder::new, TreeBuilder::from_tree);
    if builder.get(LOST_FOUND).is_none() {
        builder.add(LOST_FOUND, Metadata { mode: 0o700, mtime: epoch, ..Metadata::default() }, NewNode::Directory)?;
    }
    builder.freeze()
}
