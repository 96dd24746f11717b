//! What every source does on the way to its tree: owners, limits, holes, notes.

use super::Source;
use super::filter::{self, Filter};
use super::options::{Holes, Options};
use crate::content::{ContentStore, Contents};
use crate::error::{Error, Result};
use crate::tree::{Metadata, NewNode, NodeId, TreeBuilder, Xattr, XattrSetId};
use crate::units::u64_of;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Things to note that the entries of one source may give; more are counted together.
const NOTES_MAX: usize = 32;

/// Things that a person should know, each with the number of times it was met and the first place.
#[derive(Debug, Default)]
pub(super) struct Notes {
    seen: BTreeMap<String, (u64, Vec<u8>)>,
    others: u64,
}

impl Notes {
    /// Notes `what` about the entry at `path` (empty where it is about none).
    pub(super) fn add(&mut self, what: &str, path: &[u8]) {
        if let Some((count, _)) = self.seen.get_mut(what) {
            *count += 1;
        } else if self.seen.len() < NOTES_MAX {
            self.seen.insert(what.to_string(), (1, path.to_vec()));
        } else {
            self.others += 1;
        }
    }

    fn into_lines(self) -> Vec<String> {
        let others = (self.others > 0).then(|| format!("and {} more of other kinds", self.others));
        let line = |(what, (count, path)): (String, (u64, Vec<u8>))| match (count, path.is_empty()) {
            (_, true) => what,
            (1, false) => format!("{}: {what}", crate::error::escape(&path)),
            (_, false) => format!("{} and {} more: {what}", crate::error::escape(&path), count - 1),
        };
        self.seen.into_iter().map(line).chain(others).collect()
    }
}

/// A tree in the making, with what the options ask for.
#[derive(Debug)]
pub(super) struct Assembly<'a> {
    pub(super) options: &'a Options,
    pub(super) filter: Arc<Filter>,
    pub(super) notes: Notes,
    builder: TreeBuilder,
    newest_set: XattrSetId,
    xattr_bytes: u64,
    sparse_ranges: u64,
}

/// The metadata of one entry, before owners are translated and xattrs interned.
#[derive(Debug, Clone, Default)]
pub(super) struct RawMetadata {
    pub(super) metadata: Metadata,
    pub(super) xattrs: Vec<Xattr>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(options: &'a Options) -> Result<Self> {
        Ok(Self {
            options,
            filter: Arc::new(Filter::new(options)?),
            notes: Notes::default(),
            builder: TreeBuilder::new(),
            newest_set: XattrSetId::NONE,
            xattr_bytes: 0,
            sparse_ranges: 0,
        })
    }

    /// Adds an entry; the rules are the tree's.
    pub(super) fn add(&mut self, path: &[u8], raw: RawMetadata, node: NewNode<'_>) -> Result<NodeId> {
        self.add_entry(path, raw, node).map_err(|error| error.at_path(path))
    }

    fn add_entry(&mut self, path: &[u8], raw: RawMetadata, node: NewNode<'_>) -> Result<NodeId> {
        let limits = &self.options.limits;
        let longest = match node {
            NewNode::Symlink(target) => target.len().max(path.len()),
            _ => path.len(),
        };
        if u64_of(longest) > limits.path_bytes {
            return Err(Error::limit(format!("a path or link target of {longest} bytes; the limit is {}", limits.path_bytes)));
        }
        let (uid, gid) = self.filter.owner(raw.metadata.uid, raw.metadata.gid)?;
        let xattrs = self.intern(raw.xattrs)?;
        let node = match node {
            NewNode::File { content, length, data: Some(data) } => {
                self.sparse_ranges += u64_of(data.len());
                if self.sparse_ranges > limits.sparse_ranges {
                    return Err(Error::limit(format!("over {} data ranges in the sparse files of one source", limits.sparse_ranges)));
                }
                let data = (self.options.holes == Holes::Keep).then_some(data);
                NewNode::File { content, length, data }
            }
            other => other,
        };
        let id = self.builder.add(path, Metadata { uid, gid, xattrs, ..raw.metadata }, node)?;
        if u64_of(self.builder.node_count()) > limits.entries {
            return Err(Error::limit(format!("over {} entries in one source", limits.entries)));
        }
        Ok(id)
    }

    /// Adds a second name.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<NodeId> {
        let longest = u64_of(path.len().max(target.len()));
        if longest > self.options.limits.path_bytes {
            return Err(Error::limit(format!("a path or link target of {longest} bytes; the limit is {}", self.options.limits.path_bytes)).at_path(path));
        }
        self.builder.link(path, target)
    }

    fn intern(&mut self, xattrs: Vec<Xattr>) -> Result<XattrSetId> {
        if xattrs.is_empty() {
            return Ok(XattrSetId::NONE);
        }
        let xattrs: Vec<Xattr> = xattrs.into_iter().map(|xattr| self.filter.xattr(xattr)).collect::<Result<_>>()?;
        let bytes: u64 = xattrs.iter().map(|xattr| u64_of(xattr.name.len() + xattr.value.len())).sum();
        let id = self.builder.intern_xattrs(xattrs)?;
        if id > self.newest_set {
            // Only sets that were not there before take memory.
            self.newest_set = id;
            self.xattr_bytes += bytes;
            if self.xattr_bytes > self.options.limits.xattr_bytes {
                return Err(Error::limit(format!("over {} bytes of xattrs in one source", self.options.limits.xattr_bytes)));
            }
        }
        Ok(id)
    }

    /// Ends the making: leaves out what is excluded, and refuses what is no root filesystem.
    pub(super) fn finish(self, description: String, paths: Vec<PathBuf>, contents: Arc<dyn Contents>, count: u32) -> Result<Source> {
        let tree = self.filter.prune(self.builder.freeze()?)?;
        super::oci::check(&tree)?;
        filter::check_whiteouts(&tree)?;
        let mut store = ContentStore::new();
        store.add(contents, count)?;
        Ok(Source { notes: self.notes.into_lines(), paths, ..Source::new(tree, store, description) })
    }
}
