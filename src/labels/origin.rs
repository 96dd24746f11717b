//! Where a policy's files are read: from the host or from the tree that is labelled.

use super::FILE_MAX_BYTES;
use crate::content::Contents;
use crate::error::{Error, Result};
use crate::tree::{NodeKind, Tree};
use crate::units::{u64_of, usize_of};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What lies beside a file of contexts, in the order of reading; the empty suffix is the file itself. Specifications of a later file
/// come behind those of an earlier one.
const SUFFIXES: [&str; 5] = ["", ".homedirs", ".local", ".subs", ".subs_dist"];
/// In front of a path in the tree.
const TREE: &str = "tree:";

/// Where a file of contexts is. The text form is a path of the host, or `tree:` and a path of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file of the host.
    Host(PathBuf),
    /// A file of the tree that is labelled.
    Tree(String),
}

impl From<PathBuf> for Origin {
    fn from(path: PathBuf) -> Self {
        match path.to_str().and_then(|path| path.strip_prefix(TREE)) {
            Some(path) => Self::Tree(path.to_owned()),
            None => Self::Host(path),
        }
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PathBuf::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Host(path) => path.serialize(serializer),
            Self::Tree(path) => serializer.collect_str(&format_args!("{TREE}{path}")),
        }
    }
}

/// The files beside the file of contexts `path` that are read with it where they are there.
#[must_use]
pub fn companions(path: &Path) -> [PathBuf; 4] {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    [beside(SUFFIXES[1]), beside(SUFFIXES[2]), beside(SUFFIXES[3]), beside(SUFFIXES[4])]
}

/// A file of a policy that was read.
pub(super) struct PolicyFile {
    /// For messages.
    pub(super) name: Vec<u8>,
    /// One of [`SUFFIXES`].
    pub(super) suffix: &'static str,
    pub(super) text: Vec<u8>,
}

/// Reads a policy's files from the host.
pub(super) fn from_host(path: &Path) -> Result<Vec<PolicyFile>> {
    let mut files = Vec::new();
    let paths = std::iter::once(path.to_owned()).chain(companions(path));
    for (path, suffix) in paths.zip(SUFFIXES) {
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        match read(&path) {
            Ok(text) => files.push(PolicyFile { name, suffix, text }),
            Err(None) if !suffix.is_empty() => {}
            Err(None) => return Err(Error::io("the file contexts cannot be read", std::io::ErrorKind::NotFound.into()).at_path(name)),
            Err(Some(error)) => return Err(error.at_path(name)),
        }
    }
    Ok(files)
}

/// The text of a regular file; `Err(None)` where there is none.
fn read(path: &Path) -> Result<Vec<u8>, Option<Error>> {
    let cannot = |error: std::io::Error| (error.kind() != std::io::ErrorKind::NotFound).then(|| Error::io("the file contexts cannot be read", error));
    // Nothing else is opened: a named pipe would wait for ever.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Some(not_regular()));
    }
    let mut text = Vec::new();
    fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut text)).map_err(cannot)?;
    check_length(u64_of(text.len())).map_err(Some)?;
    Ok(text)
}

/// Reads a policy's files from a tree.
pub(super) fn from_tree(tree: &Tree, contents: &dyn Contents, path: &[u8]) -> Result<Vec<PolicyFile>> {
    let mut files = Vec::new();
    for suffix in SUFFIXES {
        let path = [path, suffix.as_bytes()].concat();
        let name = [TREE.as_bytes(), &path].concat();
        let file = match tree.resolve(&path).map(|id| tree.node(id).kind) {
            None if !suffix.is_empty() => continue,
            None => return Err(Error::invalid("the tree has no such file contexts").at_path(name)),
            Some(NodeKind::File(file)) => file,
            Some(_) => return Err(not_regular().at_path(name)),
        };
        check_length(file.length).map_err(|error| error.at_path(&name))?;
        let mut text = vec![0; usize_of(file.length)];
        for (offset, length) in tree.data_ranges(&file) {
            let out = &mut text[usize_of(offset)..usize_of(offset + length)];
            contents.read_exact_at(file.content, offset, out).map_err(|error| error.at_path(&name))?;
        }
        files.push(PolicyFile { name, suffix, text });
    }
    Ok(files)
}

fn not_regular() -> Error {
    Error::invalid("no regular file; a policy's file contexts were expected")
}

fn check_length(bytes: u64) -> Result<()> {
    if bytes > FILE_MAX_BYTES {
        return Err(Error::limit(format!("over {FILE_MAX_BYTES} bytes; file contexts have under a tenth of that")));
    }
    Ok(())
}
