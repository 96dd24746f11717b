//! What preparing a disk does to the two trees: gathered while the tree is read, made in one go afterwards.

use super::esp::{self, Source};
use super::files::{Files, TreeFile, trim};
use crate::content::{ContentStore, MemoryContents};
use crate::error::{Error, Result};
use crate::tree::{Metadata, NewNode, Timestamp, Tree};
use crate::units::{ContentId, u64_of};
use std::sync::Arc;

/// Files to make.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files of the root: path, metadata, contents.
    root: Vec<(Vec<u8>, Option<Metadata>, Vec<u8>)>,
    /// Files of the ESP.
    esp: Vec<(String, Source)>,
    /// Files of the ESP that are placed only if nothing has their name.
    esp_if_missing: Vec<(String, Source)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Changes {
    /// Writes a file of the root. One that is there keeps owner, mode and xattrs; links to it are followed.
    pub(super) fn write(&mut self, files: &Files<'_>, path: &str, contents: Vec<u8>) {
        let (path, metadata) = match files.file(path) {
            Some(file) => (file.path, Some(files.tree.node(file.node).metadata)),
            None => (path.as_bytes().to_vec(), None),
        };
        self.root.retain(|(other, ..)| *other != path);
        self.root.push((path, metadata, contents));
    }

    /// Places a new file on the ESP.
    pub(super) fn place(&mut self, path: impl Into<String>, contents: Vec<u8>) {
        self.esp.push((path.into(), Source::New(contents)));
    }

    /// Places a new file on the ESP unless the tree has one there.
    pub(super) fn place_if_missing(&mut self, path: impl Into<String>, contents: Vec<u8>) {
        self.esp_if_missing.push((path.into(), Source::New(contents)));
    }

    /// Places a file of the tree on the ESP.
    pub(super) fn copy(&mut self, path: impl Into<String>, file: &TreeFile) {
        self.esp.push((path.into(), Source::Copy(file.clone())));
    }

    /// Makes the two trees. New contents go to the end of `contents`.
    ///
    /// # Errors
    /// Those of the tree and the store.
    pub(super) fn apply(self, tree: Tree, mount_point: &[u8], contents: &mut ContentStore, epoch: Timestamp) -> Result<(Tree, Tree, Vec<String>)> {
        let Self { root: files, esp: placed, esp_if_missing, mut notes } = self;
        let mut memory = MemoryContents::new();
        let base = contents.count();
        // Copies need the holes of their files, which the tree has only until it is taken apart.
        let mut copies: Vec<(ContentId, Vec<(u64, u64)>)> = Vec::new();
        for (_, source) in &placed {
            if let Source::Copy(file) = source {
                copies.push((file.data.content, tree.data_ranges(&file.data).collect()));
            }
        }
        let ranges = |file: &TreeFile| copies.iter().find(|(content, _)| *content == file.data.content).map(|(_, ranges)| ranges.clone()).unwrap_or_default();
        let (mut root, mut esp) = esp::split(tree, mount_point, epoch)?;
        let mut push = |bytes: &[u8]| memory.push(bytes).map(|id| ContentId(base + id.0));
        for (path, metadata, bytes) in files {
            let path = trim(&path);
            let folder = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &path[..at]);
            esp::add_directory(&mut root, folder, epoch)?;
            if root.get(path).is_some_and(|(_, node)| node.is_directory()) {
                return Err(Error::invalid("a folder in the tree, where a file of the boot set-up must go").at_path(path));
            }
            let metadata = Metadata { mtime: epoch, ..metadata.unwrap_or(Metadata { mode: 0o644, ..Metadata::default() }) };
            root.add(path, metadata, NewNode::File { content: push(&bytes)?, length: u64_of(bytes.len()), data: None })?;
        }
        let missing: Vec<(String, Source)> = esp_if_missing.into_iter().filter(|(path, _)| !esp.has(path)).collect();
        for (path, source) in placed.into_iter().chain(missing) {
            let content = match &source {
                Source::New(bytes) => push(bytes)?,
                Source::Copy(file) => file.data.content,
            };
            notes.extend(esp.place(&path, &source, &ranges, content)?);
        }
        let count = memory.count();
        let added = contents.add(Arc::new(memory), count)?;
        assert_eq!(added, base, "nothing else was added in between");
        Ok((root.freeze()?, esp.freeze()?, notes))
    }
}
