//! Entries that differ between two sources.

use crate::error::{Error, Result, escape};
use crate::listing::EntryType;
use crate::source::Source;
use crate::stream::{Cancel, WholeContents, hash_files};
use crate::tree::{Node, NodeId, NodeKind, Tree};
use serde::Serialize;
use std::cmp::Ordering;
use std::fmt;

/// The directory that a filesystem has and a tree need not.
const LOST_FOUND: &[u8] = b"lost+found";

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The new side has it, the old one does not.
    Added,
    /// The old side has it, the new one does not.
    Removed,
    /// Both have it.
    Changed,
}

/// An entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EntryDiff {
    /// From the root, without leading slash, escaped; `.` is the root.
    pub path: String,
    /// Added, removed or changed.
    pub change: Change,
    /// What it is on the new side, or was on the old one.
    #[serde(rename = "type")]
    pub entry_type: EntryType,
    /// What changed: words such as `mode`, `mtime`, `size`, `contents`, each with old and new value where these say something.
    pub what: Vec<Changed>,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// `type`, `mode`, `uid`, `gid`, `mtime`, `size`, `target`, `rdev`, `links`, `holes`, `attributes`, `project`, `contents`, or an xattr's name.
    pub field: String,
    /// The old value; `None` where there was none, and of contents.
    pub old: Option<String>,
    /// The new value.
    pub new: Option<String>,
}

impl fmt::Display for EntryDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Change::Added => '+',
            Change::Removed => '-',
            Change::Changed => '~',
        };
        write!(f, "{sign} {}", self.path)?;
        for (at, Changed { field, old, new }) in self.what.iter().enumerate() {
            write!(f, "{} {field}", if at == 0 { ":" } else { "," })?;
            match (old, new) {
                (None, None) => {}
                (old, new) => write!(f, " {} → {}", old.as_deref().unwrap_or("none"), new.as_deref().unwrap_or("none"))?,
            }
        }
        Ok(())
    }
}

/// Compares two sources by path. An empty lost+found of root's in one of them alone is no difference: every ext4 has one.
///
/// # Errors
/// Contents that cannot be read, by path; [`crate::ErrorKind::Cancelled`].
pub fn diff_entries(old: &Source, new: &Source, threads: usize, cancel: &Cancel) -> Result<Vec<EntryDiff>> {
    let (old_paths, new_paths) = (paths(&old.tree)?, paths(&new.tree)?);
    let mut diffs = Vec::new();
    // Files of one length on both sides: where in `diffs` their contents count, and their nodes.
    let mut pairs: Vec<(Pair, NodeId, NodeId)> = Vec::new();
    let (mut left, mut right) = (old_paths.iter().peekable(), new_paths.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let a = left.next_if(|_| order.is_le());
        let b = right.next_if(|_| order.is_ge());
        match (a, b) {
            (Some((path, id)), None) => diffs.extend(alone(&old.tree, path, *id, Change::Removed)),
            (None, Some((path, id))) => diffs.extend(alone(&new.tree, path, *id, Change::Added)),
            (Some((path, a)), Some((_, b))) => {
                let what = changes(old, new, *a, *b);
                let place = Pair { path: path.clone(), diff: (!what.is_empty()).then_some(diffs.len()) };
                if !what.is_empty() {
                    diffs.push(EntryDiff { path: shown(path), change: Change::Changed, entry_type: EntryType::of(&new.tree.node(*b).kind), what });
                }
                if same_length(old.tree.node(*a), new.tree.node(*b)) {
                    pairs.push((place, *a, *b));
                }
            }
            (None, None) => break,
        }
    }
    compare_contents(old, new, pairs, &mut diffs, threads, cancel)?;
    diffs.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(diffs)
}

/// An entry on both sides whose contents are compared.
struct Pair {
    path: Vec<u8>,
    /// What else differs of it.
    diff: Option<usize>,
}

fn paths(tree: &Tree) -> Result<Vec<(Vec<u8>, NodeId)>> {
    let mut paths = Vec::with_capacity(tree.entry_count() + 1);
    tree.walk(|path, id| {
        paths.push((path.to_vec(), id));
        Ok(())
    })?;
    paths.sort_unstable();
    Ok(paths)
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { escape(path) }
}

fn alone(tree: &Tree, path: &[u8], id: NodeId, change: Change) -> Option<EntryDiff> {
    let node = tree.node(id);
    let metadata = &node.metadata;
    let is_lost_found = path == LOST_FOUND && node.is_directory() && (metadata.uid, metadata.gid) == (0, 0) && tree.entries(id).is_empty();
    (!is_lost_found).then(|| EntryDiff { path: shown(path), change, entry_type: EntryType::of(&node.kind), what: Vec::new() })
}

fn same_length(old: &Node, new: &Node) -> bool {
    matches!((old.kind, new.kind), (NodeKind::File(a), NodeKind::File(b)) if a.length == b.length && a.length > 0)
}

/// What differs but for contents of one length.
fn changes(old: &Source, new: &Source, a: NodeId, b: NodeId) -> Vec<Changed> {
    let (old_tree, new_tree) = (&old.tree, &new.tree);
    let (x, y) = (old_tree.node(a), new_tree.node(b));
    let mut what = Vec::new();
    let mut differ = |field: &str, old: String, new: String| {
        if old != new {
            what.push(Changed { field: field.to_owned(), old: Some(old), new: Some(new) });
        }
    };
    let kind = |node: &Node| format!("{:?}", EntryType::of(&node.kind)).to_lowercase();
    differ("type", kind(x), kind(y));
    let (m, n) = (&x.metadata, &y.metadata);
    if !(x.implied || y.implied) {
        differ("mode", format!("{:04o}", m.mode), format!("{:04o}", n.mode));
        differ("uid", m.uid.to_string(), n.uid.to_string());
        differ("gid", m.gid.to_string(), n.gid.to_string());
        let time = crate::listing::seconds_and_nanoseconds;
        differ("mtime", time(m.mtime), time(n.mtime));
        differ("attributes", names(m.attributes), names(n.attributes));
        differ("project", m.project.to_string(), n.project.to_string());
    }
    match (x.kind, y.kind) {
        (NodeKind::File(f), NodeKind::File(g)) => {
            differ("size", f.length.to_string(), g.length.to_string());
            differ("links", x.links.to_string(), y.links.to_string());
            if f.length == g.length && !old_tree.data_ranges(&f).eq(new_tree.data_ranges(&g)) {
                what.push(Changed { field: "holes".to_owned(), old: None, new: None });
            }
            if f.length != g.length {
                what.push(Changed { field: "contents".to_owned(), old: None, new: None });
            }
        }
        (NodeKind::Symlink(_), NodeKind::Symlink(_)) => differ("target", escape(old_tree.target(a)), escape(new_tree.target(b))),
        (NodeKind::CharDevice(d), NodeKind::CharDevice(e)) | (NodeKind::BlockDevice(d), NodeKind::BlockDevice(e)) => {
            differ("rdev", format!("{}:{}", d.major, d.minor), format!("{}:{}", e.major, e.minor));
        }
        _ => {}
    }
    xattrs(old_tree, new_tree, m.xattrs, n.xattrs, &mut what);
    what
}

fn names(attributes: u32) -> String {
    let names = crate::tree::attribute::names(attributes);
    if names.is_empty() { "none".to_owned() } else { names.join("+") }
}

fn xattrs(old: &Tree, new: &Tree, a: crate::tree::XattrSetId, b: crate::tree::XattrSetId, what: &mut Vec<Changed>) {
    let (old, new) = (old.xattrs(a), new.xattrs(b));
    let value = |set: &[crate::tree::Xattr], name: &[u8]| set.iter().find(|xattr| *xattr.name == *name).map(|xattr| escape(&xattr.value));
    let mut names: Vec<&[u8]> = old.iter().chain(new).map(|xattr| &*xattr.name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (old, new) = (value(old, name), value(new, name));
        if old != new {
            what.push(Changed { field: escape(name), old, new });
        }
    }
}

/// Compares contents of one length by their digests.
fn compare_contents(old: &Source, new: &Source, pairs: Vec<(Pair, NodeId, NodeId)>, diffs: &mut Vec<EntryDiff>, threads: usize, cancel: &Cancel) -> Result<()> {
    let whole = |tree: &Tree, id: NodeId| match tree.node(id).kind {
        NodeKind::File(file) => WholeContents { id: file.content, length: file.length },
        _ => unreachable!("only files have contents"),
    };
    let files = |source: &Source, ids: &mut dyn Iterator<Item = NodeId>| {
        let files: Vec<WholeContents> = ids.map(|id| whole(&source.tree, id)).collect();
        hash_files(&source.contents, &files, threads, cancel)
    };
    let old_digests = files(old, &mut pairs.iter().map(|(_, a, _)| *a))?;
    let new_digests = files(new, &mut pairs.iter().map(|(_, _, b)| *b))?;
    for (((pair, _, b), old), digest) in pairs.into_iter().zip(old_digests).zip(new_digests) {
        let named = |error: Error| error.at_path(&pair.path);
        if old.map_err(named)? == digest.map_err(named)? {
            continue;
        }
        let contents = Changed { field: "contents".to_owned(), old: None, new: None };
        match pair.diff {
            Some(at) => diffs[at].what.push(contents),
            None => {
                let entry_type = EntryType::of(&new.tree.node(b).kind);
                diffs.push(EntryDiff { path: shown(&pair.path), change: Change::Changed, entry_type, what: vec![contents] });
            }
        }
    }
    Ok(())
}
