//! Reading files of the tree: by path, by pattern, by position; nothing outside the tree is ever looked at.

use crate::content::Contents;
use crate::error::{Error, Result, escape};
use crate::tree::{FileData, NodeId, NodeKind, Tree};
use crate::units::{u64_of, usize_of};

/// The longest configuration file that is read as text. fstab, os-release and the like have a few KiB.
pub(crate) const TEXT_MAX_BYTES: u64 = 1 << 20;
/// How much of a loader is searched for strings: signed GRUB images have about 4 MiB.
const SEARCH_MAX_BYTES: u64 = 32 << 20;

/// Names that one pattern, or one folder of kernels, is followed for: far over what systems have, so that a hostile
/// tree costs no more than its entries.
pub(crate) const MATCHES_MAX: usize = 256;

/// A regular file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Its path without leading slash and without links on the way.
    pub path: Vec<u8>,
    /// Its node.
    pub node: NodeId,
    /// Its contents.
    pub data: FileData,
}

impl TreeFile {
    /// The absolute path, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        show(&self.path)
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The path without its last part.
    pub(crate) fn folder(&self) -> &[u8] {
        self.path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &self.path[..at])
    }
}

/// A path of the tree as people read it: absolute and escaped.
pub(crate) fn show(path: &[u8]) -> String {
    format!("/{}", escape(trim(path)))
}

/// A path without slashes at its ends.
pub(crate) fn trim(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(start, |at| at + 1);
    &path[start..end]
}

/// Two parts of a path.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    [folder, slash, name].concat()
}

/// A tree with its contents.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) tree: &'a Tree,
    contents: &'a dyn Contents,
}

impl<'a> Files<'a> {
    pub(crate) fn new(tree: &'a Tree, contents: &'a dyn Contents) -> Self {
        Self { tree, contents }
    }

    /// The regular file at `path`, links followed inside the tree.
    pub(crate) fn file(&self, path: impl AsRef<[u8]>) -> Option<TreeFile> {
        let path = trim(path.as_ref());
        let node = self.tree.resolve(path)?;
        let NodeKind::File(data) = self.tree.node(node).kind else { return None };
        // Searching the tree for the path costs a walk; it is needed only where a link was followed.
        let plain = self.tree.lookup(path) == Some(node) && !path.split(|byte| *byte == b'/').any(|part| part.is_empty() || part == b"." || part == b"..");
        Some(TreeFile { path: if plain { path.to_vec() } else { self.tree.path_of(node) }, node, data })
    }

    /// Whether there is a directory at `path`, links followed inside the tree.
    pub(crate) fn is_directory(&self, path: impl AsRef<[u8]>) -> bool {
        self.tree.resolve(path).is_some_and(|node| self.tree.node(node).is_directory())
    }

    /// The names in the directory at `path`, sorted by bytes; none if there is no directory.
    pub(crate) fn names(&self, path: impl AsRef<[u8]>) -> impl Iterator<Item = &'a [u8]> {
        let tree = self.tree;
        tree.resolve(path).map(|node| tree.entries(node)).unwrap_or_default().iter().map(|entry| tree.name(entry))
    }

    /// The regular files that a pattern such as `usr/lib/modules/*/vmlinuz` names, in the order of their paths.
    ///
    /// `*` stands for any bytes in one part. With `fold`, letters of either case are the same, as on FAT.
    pub(crate) fn expand(&self, pattern: &str, fold: bool) -> Vec<TreeFile> {
        let mut paths = vec![Vec::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            paths = if fold || part.contains('*') {
                let matching = paths.iter().flat_map(|base| self.names(base).filter(|name| matches(part, name, fold)).map(|name| join(base, name)));
                matching.take(MATCHES_MAX).collect()
            } else {
                paths.iter().map(|base| join(base, part.as_bytes())).collect()
            };
        }
        paths.iter().filter_map(|path| self.file(path)).collect()
    }

    /// Fills `out` from `offset_bytes`, holes as zeros. `false` if the file has no such bytes.
    pub(crate) fn read(&self, file: &TreeFile, offset_bytes: u64, out: &mut [u8]) -> Result<bool> {
        let Some(end) = offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= file.data.length) else { return Ok(false) };
        out.fill(0);
        for (start, length) in self.tree.data_ranges(&file.data) {
            let (from, to) = (start.max(offset_bytes), start.saturating_add(length).min(end));
            if from < to {
                let part = &mut out[usize_of(from - offset_bytes)..usize_of(to - offset_bytes)];
                self.contents.read_exact_at(file.data.content, from, part).map_err(|error| error.at_path(&file.path))?;
            }
        }
        Ok(true)
    }

    /// The `N` bytes from `offset_bytes`; `None` if the file has no such bytes.
    pub(crate) fn read_array<const N: usize>(&self, file: &TreeFile, offset_bytes: u64) -> Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok(self.read(file, offset_bytes, &mut bytes)?.then_some(bytes))
    }

    /// The first bytes of the file, at most `max_bytes`.
    pub(crate) fn read_prefix(&self, file: &TreeFile, max_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize_of(file.data.length.min(max_bytes))];
        self.read(file, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// The whole configuration file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// Over [`TEXT_MAX_BYTES`]: no such file is a configuration file.
    pub(crate) fn text(&self, path: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(path) else { return Ok(None) };
        if file.data.length > TEXT_MAX_BYTES {
            return Err(Error::limit(format!("a configuration file of {} bytes; at most {TEXT_MAX_BYTES} are read", file.data.length)).at_path(&file.path));
        }
        self.read_prefix(&file, TEXT_MAX_BYTES).map(Some)
    }

    /// Searches the first 32 MiB of a file: `look` gets windows that overlap by `overlap` bytes, so that nothing
    /// shorter than that is missed at a seam, and says whether to go on.
    pub(crate) fn search(&self, file: &TreeFile, overlap: u64, mut look: impl FnMut(&[u8]) -> bool) -> Result<()> {
        const WINDOW_BYTES: u64 = 1 << 20;
        let end = file.data.length.min(SEARCH_MAX_BYTES);
        let mut window = Vec::new();
        let mut at = 0;
        while at < end {
            window.resize(usize_of((end - at).min(WINDOW_BYTES + overlap)), 0);
            self.read(file, at, &mut window)?;
            if !look(&window) {
                break;
            }
            at += WINDOW_BYTES;
        }
        Ok(())
    }
}

/// Whether `name` fits a pattern of one part with at most one `*`.
fn matches(pattern: &str, name: &[u8], fold: bool) -> bool {
    let same = |a: &[u8], b: &[u8]| if fold { a.eq_ignore_ascii_case(b) } else { a == b };
    match pattern.split_once('*') {
        None => same(pattern.as_bytes(), name),
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && same(head.as_bytes(), &name[..head.len()]) && same(tail.as_bytes(), &name[name.len() - tail.len()..])
        }
    }
}

/// Where `needle` first is in `bytes`.
pub(crate) fn position_of(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len().max(1)).position(|window| window == needle)
}
