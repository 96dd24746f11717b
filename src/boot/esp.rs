//! The EFI system partition's tree: what the tree has beneath the mount point, and what is placed over it.
//!
//! FAT knows no case, so `EFI/BOOT` and `efi/boot` are one folder here: names that are there keep their case.

use super::files::{TreeFile, join, show, trim};
use crate::error::{Error, Result};
use crate::tree::{Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder};
use crate::units::{ContentId, u64_of};
use std::collections::BTreeMap;

/// Bytes of a file to be made, or a file of the tree under another name.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// New contents.
    New(Vec<u8>),
    /// The contents of a file of the tree: the same [`ContentId`].
    Copy(TreeFile),
}

/// The ESP in the making.
pub(super) struct EspBuilder {
    tree: TreeBuilder,
    /// Path in lower case to the path as it is. Looked up in, never walked.
    names: BTreeMap<Vec<u8>, Vec<u8>>,
    epoch: Timestamp,
}

/// Copies what `from` has beneath `folder` (the empty path is all of it) into `to`, beneath `into`.
fn copy_beneath(from: &Tree, folder: &[u8], to: &mut TreeBuilder, into: &[u8], mut each: impl FnMut(&[u8])) -> Result<()> {
    from.walk(|path, id| {
        let beneath = if folder.is_empty() { Some(path) } else { path.strip_prefix(folder).and_then(|rest| rest.strip_prefix(b"/")) };
        let Some(rest) = beneath.filter(|rest| !rest.is_empty()) else { return Ok(()) };
        let node = from.node(id);
        let mut metadata = node.metadata;
        metadata.xattrs = to.intern_xattrs(from.xattrs(metadata.xattrs).to_vec())?;
        let ranges: Vec<(u64, u64)>;
        let new = match node.kind {
            NodeKind::Directory => NewNode::Directory,
            NodeKind::File(file) => {
                ranges = from.data_ranges(&file).collect();
                NewNode::File { content: file.content, length: file.length, data: Some(&ranges) }
            }
            NodeKind::Symlink(_) => NewNode::Symlink(from.target(id)),
            NodeKind::CharDevice(device) => NewNode::CharDevice(device),
            NodeKind::BlockDevice(device) => NewNode::BlockDevice(device),
            NodeKind::Fifo => NewNode::Fifo,
            NodeKind::Socket => NewNode::Socket,
        };
        to.add(join(into, rest), metadata, new)?;
        each(rest);
        Ok(())
    })
}

/// Puts a tree that was taken from the mount point back beneath it.
///
/// # Errors
/// Those of [`TreeBuilder`].
pub(super) fn graft(root: Tree, esp: &Tree, mount_point: &[u8]) -> Result<Tree> {
    let mut builder = TreeBuilder::from_tree(root);
    copy_beneath(esp, b"", &mut builder, trim(mount_point), |_| {})?;
    builder.freeze()
}

/// Takes what lies beneath the mount point out of the root's tree; the mount point stays, empty. It is made if it is
/// not there.
///
/// # Errors
/// Those of [`TreeBuilder`].
pub(super) fn split(tree: Tree, mount_point: &[u8], epoch: Timestamp) -> Result<(TreeBuilder, EspBuilder)> {
    let mut esp = EspBuilder { tree: TreeBuilder::new(), names: BTreeMap::new(), epoch };
    esp.tree.add("", Metadata { mode: 0o755, mtime: epoch, ..Metadata::default() }, NewNode::Directory)?;
    let names = &mut esp.names;
    copy_beneath(&tree, mount_point, &mut esp.tree, b"", |path| {
        names.insert(path.to_ascii_lowercase(), path.to_vec());
    })?;
    let taken = !esp.names.is_empty();
    let metadata = tree.lookup(mount_point).map(|id| (tree.node(id).metadata, tree.xattrs(tree.node(id).metadata.xattrs).to_vec()));
    let mut root = TreeBuilder::from_tree(tree);
    match metadata {
        Some((mut metadata, xattrs)) if taken => {
            root.remove(mount_point)?;
            metadata.xattrs = root.intern_xattrs(xattrs)?;
            root.add(mount_point, metadata, NewNode::Directory)?;
        }
        Some(_) => {}
        None => add_directory(&mut root, mount_point, epoch)?,
    }
    Ok((root, esp))
}

/// Makes a directory and its parents where they are missing.
///
/// # Errors
/// Those of [`TreeBuilder`].
pub(super) fn add_directory(tree: &mut TreeBuilder, path: &[u8], epoch: Timestamp) -> Result<()> {
    let path = trim(path);
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
    for end in ends.filter(|end| *end > 0) {
        if tree.get(&path[..end]).is_none() {
            tree.add(&path[..end], Metadata { mode: 0o755, mtime: epoch, ..Metadata::default() }, NewNode::Directory)?;
        }
    }
    Ok(())
}

impl EspBuilder {
    /// The path as it is on the ESP: parts that are there keep their case.
    fn actual(&self, path: &str) -> Vec<u8> {
        let mut actual = Vec::new();
        for part in path.split('/') {
            let next = join(&actual, part.as_bytes());
            actual = self.names.get(&next.to_ascii_lowercase()).cloned().unwrap_or(next);
        }
        actual
    }

    /// Whether something has this name.
    pub(super) fn has(&self, path: &str) -> bool {
        self.names.contains_key(&path.to_ascii_lowercase().into_bytes())
    }

    /// Places a file. Returns a note if it takes the place of another one of the tree.
    ///
    /// # Errors
    /// Those of [`TreeBuilder`].
    pub(super) fn place(&mut self, path: &str, source: &Source, tree: &dyn Fn(&TreeFile) -> Vec<(u64, u64)>, new: ContentId) -> Result<Option<String>> {
        let actual = self.actual(path);
        let (content, length, ranges) = match source {
            Source::New(bytes) => (new, u64_of(bytes.len()), None),
            Source::Copy(file) => (file.data.content, file.data.length, Some(tree(file))),
        };
        let before = self.tree.get(&actual).map(|(_, node)| node.kind);
        let note = match before {
            Some(NodeKind::File(old)) if old.content == content => return Ok(None),
            Some(NodeKind::Directory) => return Err(Error::invalid("a folder on the ESP, where a file must go").at_path(actual)),
            Some(_) => Some(format!("replaced {} on the ESP", show(&actual))),
            None => None,
        };
        let folder = actual.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &actual[..at]);
        add_directory(&mut self.tree, folder, self.epoch)?;
        let metadata = Metadata { mode: 0o644, mtime: self.epoch, ..Metadata::default() };
        self.tree.add(&actual, metadata, NewNode::File { content, length, data: ranges.as_deref() })?;
        for end in (0..=actual.len()).filter(|end| *end == actual.len() || actual[*end] == b'/') {
            self.names.insert(actual[..end].to_ascii_lowercase(), actual[..end].to_vec());
        }
        Ok(note)
    }

    /// Ends the making.
    ///
    /// # Errors
    /// Those of [`TreeBuilder`].
    pub(super) fn freeze(self) -> Result<Tree> {
        self.tree.freeze()
    }
}
