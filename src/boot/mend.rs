//! What a container's filesystem lacks for a boot, and what it has that a machine must not have.

use crate::error::Result;
use crate::tree::{Metadata, NewNode, Timestamp, TreeBuilder};

/// Mount points that the kernel and init need, and their modes (Filesystem Hierarchy Standard 3.0, chapters 3 and 6).
const FOLDERS: [(&str, u16); 5] = [("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("run", 0o755), ("tmp", 0o1777)];
/// Docker's mark: programs that see it believe that they run in a container.
const DOCKER_MARK: &str = ".dockerenv";

/// Makes the folders that are missing and drops `/.dockerenv`. Returns what was done, a sentence each.
///
/// # Errors
/// Those of [`TreeBuilder`].
pub fn mend(tree: &mut TreeBuilder, epoch: Timestamp) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for (path, mode) in FOLDERS {
        if tree.get(path).is_none() {
            tree.add(path, Metadata { mode, mtime: epoch, ..Metadata::default() }, NewNode::Directory)?;
            made.push(format!("/{path}"));
        }
    }
    let mut notes = Vec::new();
    if !made.is_empty() {
        notes.push(format!("made {}, which the tree lacked", made.join(", ")));
    }
    if tree.remove(DOCKER_MARK)? {
        notes.push("dropped /.dockerenv: a machine is no container".to_owned());
    }
    Ok(notes)
}
