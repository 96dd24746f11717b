//! Taking entries out of a source: into a directory, or into a tar.
//!
//! Into a directory: everything stays beneath it. Folders are opened one name at a time and never through a link; what is made is
//! new, and is never followed. Devices, setuid bits, owners and xattrs need to be asked for ([`Privileges`]); what was left out is
//! counted in [`Extracted`]. Into a tar everything goes that a tree keeps.

#[cfg(target_os = "linux")]
mod dir;
mod tar;

#[cfg(target_os = "linux")]
pub use dir::extract_to_dir;
pub use tar::{TarCompression, extract_to_tar, write_tar};

use crate::content::Contents as _;
use crate::error::{Error, Result};
use crate::listing::find;
use crate::source::Source;
use crate::stream::Cancel;
use crate::tree::{NodeId, NodeKind, Tree};
use crate::units::{u64_of, usize_of};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;

/// Bytes of a file that are copied at once.
const PIECE_BYTES: u64 = 512 * 1024;

/// What of the metadata is given to what is made in a directory, beside permissions and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Privileges {
    /// Owners and groups.
    pub owners: bool,
    /// setuid and setgid bits of files. (Of directories they, and sticky bits, say nothing that could harm.)
    pub setuid: bool,
    /// Devices.
    pub devices: bool,
    /// Extended attributes, ACLs and capabilities among them.
    pub xattrs: bool,
}

impl Privileges {
    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self { owners: true, setuid: true, devices: true, xattrs: true }
    }
}

/// How entries are taken out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// The paths to take, each with all that is beneath it; all of the source without any.
    pub paths: Vec<Vec<u8>>,
    /// What is given to files in a directory.
    pub privileges: Privileges,
    /// Go on where the contents of a file cannot be read; [`Extracted::failed`] has them.
    pub keep_going: bool,
    /// Use a directory that is not empty, or replace a file.
    pub force: bool,
    /// A wish to stop, from anywhere.
    pub cancel: Cancel,
}

/// What was taken out.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Extracted {
    /// Entries that were made.
    pub entries: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// Devices that were not made, as that was not asked for.
    pub devices_left_out: u64,
    /// Files without their setuid or setgid bit.
    pub setuid_left_out: u64,
    /// Entries without all of their xattrs.
    pub xattrs_left_out: u64,
    /// Entries that belong to somebody else here than in the source.
    pub owners_left_out: u64,
    /// Entries without their chattr attributes or project, which are kept in tars only.
    pub attributes_left_out: u64,
    /// What could not be read, with `keep_going`.
    #[serde(skip)]
    pub failed: Vec<Error>,
}

/// Writes the contents of the file at `path` of `source`, links followed inside it; gives how many bytes there were.
///
/// # Errors
/// Nothing there, or no file; contents that cannot be read; those of `to`.
pub fn cat(source: &Source, path: &[u8], to: &mut dyn Write, cancel: &Cancel) -> Result<u64> {
    let named = |error: Error| error.at_path(path);
    let id = source.tree.resolve(path).ok_or_else(|| named(Error::invalid("no such file in the source")))?;
    let NodeKind::File(file) = source.tree.node(id).kind else { return Err(named(Error::invalid("this is no regular file"))) };
    let mut buffer = vec![0; usize_of(file.length.min(PIECE_BYTES))];
    let mut at = 0;
    while at < file.length {
        cancel.check()?;
        let piece = &mut buffer[..usize_of((file.length - at).min(PIECE_BYTES))];
        source.contents.read_exact_at(file.content, at, piece).map_err(named)?;
        to.write_all(piece).map_err(|error| Error::io("cannot write the contents", error))?;
        at += u64_of(piece.len());
    }
    to.flush().map_err(|error| Error::io("cannot write the contents", error))?;
    Ok(file.length)
}

/// Into a directory on Linux only: elsewhere nothing tells how to stay beneath it. A tar can be made everywhere.
///
/// # Errors
/// Always, [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
#[cfg(not(target_os = "linux"))]
pub fn extract_to_dir(_source: &Source, directory: impl AsRef<std::path::Path>, _options: &ExtractOptions) -> Result<Extracted> {
    let unsupported = Error::unsupported("extraction into a directory works on Linux only; a tar can be made here (-o FILE.tar)");
    Err(unsupported.at_path(directory.as_ref().as_os_str().as_encoded_bytes()))
}

/// The entries to take, in tree order: directories before what is in them, each path once. Directories on the way to a path that
/// was asked for are taken too.
fn wanted(source: &Source, paths: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, NodeId)>> {
    let tree: &Tree = &source.tree;
    let mut entries = Vec::new();
    if paths.is_empty() {
        tree.walk(|path, id| {
            entries.push((path.to_vec(), id));
            Ok(())
        })?;
        return Ok(entries);
    }
    let mut taken: BTreeSet<Vec<Vec<u8>>> = BTreeSet::new();
    let parts = |path: &[u8]| -> Vec<Vec<u8>> { path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect() };
    for path in paths {
        let (path, id) = find(tree, path)?;
        let top = parts(&path);
        for depth in 0..=top.len() {
            taken.insert(top[..depth].to_vec());
        }
        tree.walk_beneath(id, |beneath, _| {
            taken.insert(top.iter().cloned().chain(parts(beneath)).collect());
            Ok(())
        })?;
    }
    // By parts, which is the order of the tree.
    for path in taken.iter().map(|parts| parts.join(&b'/')) {
        let id = tree.lookup(&path).ok_or_else(|| Error::invalid("no such file or directory in the source").at_path(&path))?;
        entries.push((path, id));
    }
    Ok(entries)
}
