//! What a source holds, entry by entry: as `ls` shows it, as JSON lines, with digests of contents.

use crate::checksum::{Digest, base64_encode};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::source::Source;
use crate::stream::{Cancel, StreamOptions, WholeContents, hash_files};
use crate::tree::{NodeId, NodeKind, Timestamp, Tree};
use crate::units::u64_of;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// What of a source is listed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListOptions {
    /// Where: a path in the source; links on the way to it are followed inside it. Empty for the root.
    pub path: Vec<u8>,
    /// All that is beneath, not only the entries of the one directory; the directory itself first.
    pub recursive: bool,
    /// The SHA-256 of every file.
    pub hash: bool,
    /// Threads that hash.
    pub threads: usize,
    /// A wish to stop, from anywhere.
    pub cancel: Cancel,
}

impl Default for ListOptions {
    /// The entries of the root, no digests.
    fn default() -> Self {
        Self { path: Vec::new(), recursive: false, hash: false, threads: StreamOptions::default().threads, cancel: Cancel::new() }
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl EntryType {
    /// What a node is.
    #[must_use]
    pub fn of(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::Directory => Self::Dir,
            NodeKind::File(_) => Self::File,
            NodeKind::Symlink(_) => Self::Symlink,
            NodeKind::CharDevice(_) => Self::Char,
            NodeKind::BlockDevice(_) => Self::Block,
            NodeKind::Fifo => Self::Fifo,
            NodeKind::Socket => Self::Socket,
        }
    }

    /// The letter that `ls -l` begins a line with.
    const fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Dir => 'd',
            Self::Symlink => 'l',
            Self::Char => 'c',
            Self::Block => 'b',
            Self::Fifo => 'p',
            Self::Socket => 's',
        }
    }
}

/// An entry, as a line of JSON has it. Names and targets are escaped as [`escape`] does: nothing in them can control a terminal,
/// and nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// From the root, without leading slash; `.` is the root.
    pub path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub entry_type: EntryType,
    /// Permission bits with setuid, setgid and sticky, as four octal digits.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file's contents or of a link's target; 0 for all else.
    pub size: u64,
    /// Time of the last change of contents: seconds since 1970, a point, nine digits of nanoseconds.
    pub mtime: String,
    /// Names of this node; of a directory 2 and one for each directory in it.
    pub nlink: u64,
    /// The inode, where the filesystem of an image was read as it is.
    pub ino: Option<u32>,
    /// A link's target.
    pub target: Option<String>,
    /// Major and minor number of a device.
    pub rdev: Option<[u32; 2]>,
    /// Extended attributes: names to values in base64.
    pub xattrs: BTreeMap<String, String>,
    /// SHA-256 of a file's contents in hex, where it was asked for.
    pub sha256: Option<String>,
    /// Holes of a file: offset and length in bytes.
    pub holes: Option<Vec<[u64; 2]>>,
}

/// Lists what `options` say, sorted by the bytes of the paths. Calls `each` with every entry; what cannot be hashed comes without
/// digest and is returned, by path.
///
/// # Errors
/// A path that is not there; [`ErrorKind::Cancelled`]; those of `each`.
pub fn list(source: &Source, options: &ListOptions, mut each: impl FnMut(&Listed) -> Result<()>) -> Result<Vec<Error>> {
    let tree = &source.tree;
    let entries = entries(tree, options)?;
    let mut hashed = if options.hash { digests(source, &entries, options)? } else { Digests::default() };
    let inodes = (source.inodes.len() == tree.node_count()).then_some(&source.inodes);
    for (path, id) in &entries {
        let sha256 = hashed.of(*id);
        each(&entry(tree, path, *id, inodes.map(|inodes| inodes[id.index()]), sha256))?;
    }
    Ok(std::mem::take(&mut hashed.failed))
}

/// The paths and nodes to list, by the paths' bytes.
fn entries(tree: &Tree, options: &ListOptions) -> Result<Vec<(Vec<u8>, NodeId)>> {
    let (top, id) = find(tree, &options.path)?;
    let beneath = |path: &[u8]| match (top.is_empty(), path.is_empty()) {
        (_, true) => top.clone(),
        (true, false) => path.to_vec(),
        (false, false) => [&top[..], b"/", path].concat(),
    };
    if !tree.node(id).is_directory() {
        return Ok(vec![(top, id)]);
    }
    let mut entries = Vec::new();
    if options.recursive {
        tree.walk_beneath(id, |path, id| {
            entries.push((beneath(path), id));
            Ok(())
        })?;
        entries.sort_unstable();
    } else {
        entries.extend(tree.entries(id).iter().map(|entry| (beneath(tree.name(entry)), entry.node)));
    }
    Ok(entries)
}

/// The node at `path`, with the path that leads to it without links. The last part is not followed, unless a slash stands behind it.
///
/// # Errors
/// Nothing there.
pub fn find(tree: &Tree, path: &[u8]) -> Result<(Vec<u8>, NodeId)> {
    let missing = || Error::new(ErrorKind::InvalidInput, "no such file or directory in the source").at_path(path);
    let trimmed = path.trim_ascii_end();
    let parts: Vec<&[u8]> = trimmed.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    let Some((last, parents)) = parts.split_last().filter(|_| !path.ends_with(b"/") && parts.last() != Some(&&b".."[..])) else {
        let id = tree.resolve(path).ok_or_else(missing)?;
        return Ok((tree.path_of(id), id));
    };
    let folder = tree.resolve(parents.join(&b'/')).ok_or_else(missing)?;
    let id = tree.child(folder, last).ok_or_else(missing)?;
    let mut shown = tree.path_of(folder);
    if !shown.is_empty() {
        shown.push(b'/');
    }
    shown.extend_from_slice(last);
    Ok((shown, id))
}

/// Digests by node, each computed once.
#[derive(Default)]
struct Digests {
    /// Sorted by node.
    by_node: Vec<(NodeId, Option<Digest>)>,
    failed: Vec<Error>,
}

impl Digests {
    fn of(&self, id: NodeId) -> Option<Digest> {
        let at = self.by_node.binary_search_by_key(&id, |(node, _)| *node).ok()?;
        self.by_node[at].1
    }
}

fn digests(source: &Source, entries: &[(Vec<u8>, NodeId)], options: &ListOptions) -> Result<Digests> {
    let tree = &source.tree;
    // In tree order, which is how contents mostly lie; a hard link once.
    let mut by_node: Vec<(NodeId, usize)> = (0..).zip(entries).map(|(at, (_, id))| (*id, at)).collect();
    by_node.sort_unstable();
    by_node.dedup_by_key(|(id, _)| *id);
    let files = by_node.iter().filter_map(|(id, at)| match tree.node(*id).kind {
        NodeKind::File(file) => Some((*id, *at, WholeContents { id: file.content, length: file.length })),
        _ => None,
    });
    let files: Vec<_> = files.collect();
    let contents: Vec<WholeContents> = files.iter().map(|(_, _, file)| *file).collect();
    let hashed = hash_files(&source.contents, &contents, options.threads, &options.cancel)?;
    let mut digests = Digests::default();
    for ((id, at, _), digest) in files.iter().zip(hashed) {
        digests.by_node.push((*id, digest.as_ref().ok().copied()));
        digests.failed.extend(digest.err().map(|error| error.at_path(&entries[*at].0)));
    }
    Ok(digests)
}

/// One entry of a tree.
#[must_use]
pub fn entry(tree: &Tree, path: &[u8], id: NodeId, ino: Option<u32>, sha256: Option<Digest>) -> Listed {
    let node = tree.node(id);
    let metadata = &node.metadata;
    let (mut size, mut target, mut rdev, mut holes) = (0, None, None, None);
    let mut nlink = u64::from(node.links);
    match node.kind {
        NodeKind::Directory => nlink = 2 + u64_of(tree.entries(id).iter().filter(|entry| tree.node(entry.node).is_directory()).count()),
        NodeKind::File(file) => {
            size = file.length;
            holes = Some(holes_between(tree.data_ranges(&file), file.length));
        }
        NodeKind::Symlink(_) => {
            size = u64_of(tree.target(id).len());
            target = Some(escape(tree.target(id)));
        }
        NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => rdev = Some([device.major, device.minor]),
        NodeKind::Fifo | NodeKind::Socket => {}
    }
    Listed {
        path: if path.is_empty() { ".".to_owned() } else { escape(path) },
        entry_type: EntryType::of(&node.kind),
        mode: format!("{:04o}", metadata.mode),
        uid: metadata.uid,
        gid: metadata.gid,
        size,
        mtime: seconds_and_nanoseconds(metadata.mtime),
        nlink,
        ino,
        target,
        rdev,
        xattrs: tree.xattrs(metadata.xattrs).iter().map(|xattr| (escape(&xattr.name), base64_encode(&xattr.value))).collect(),
        sha256: sha256.map(|digest| hex(&digest)),
        holes,
    }
}

/// What is not data.
fn holes_between(data: impl Iterator<Item = (u64, u64)>, length: u64) -> Vec<[u64; 2]> {
    let mut holes = Vec::new();
    let mut done = 0;
    for (offset, len) in data.chain([(length, 0)]) {
        if offset > done {
            holes.push([done, offset - done]);
        }
        done = offset + len;
    }
    holes
}

/// Seconds since 1970 with nine digits behind the point; before 1970 as a negative number.
pub(crate) fn seconds_and_nanoseconds(time: Timestamp) -> String {
    let Timestamp { seconds, nanoseconds } = time;
    if seconds < 0 && nanoseconds > 0 {
        // −1.25 s is second −2 and 750,000,000 ns after it.
        return format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds);
    }
    format!("{seconds}.{nanoseconds:09}")
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Listed {
    /// A line as `ls -l` has it, the time as seconds since 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u16::from_str_radix(&self.mode, 8).unwrap_or(0);
        write!(f, "{}{} {:>3} {:>5} {:>5} ", self.entry_type.letter(), permissions(bits), self.nlink, self.uid, self.gid)?;
        match self.rdev {
            Some([major, minor]) => write!(f, "{:>12}", format!("{major}, {minor}"))?,
            None => write!(f, "{:>12}", self.size)?,
        }
        write!(f, " {:>21}", self.mtime)?;
        if let Some(sha256) = &self.sha256 {
            write!(f, " {sha256}")?;
        }
        write!(f, " {}", self.path)?;
        match &self.target {
            Some(target) => write!(f, " -> {target}"),
            None => Ok(()),
        }
    }
}

/// The nine letters of a mode.
fn permissions(mode: u16) -> String {
    let mut letters = String::with_capacity(9);
    for (shift, special, both, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 == 0 { '-' } else { 'r' });
        letters.push(if bits & 2 == 0 { '-' } else { 'w' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => both,
            (true, false) => alone,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_sign() {
        let time = |seconds, nanoseconds| seconds_and_nanoseconds(Timestamp { seconds, nanoseconds });
        assert_eq!(time(5, 7), "5.000000007");
        assert_eq!(time(-2, 750_000_000), "-1.250000000");
        assert_eq!(time(-1, 999_999_999), "-0.000000001");
        assert_eq!(time(-1, 0), "-1.000000000");
    }

    #[test]
    fn holes_are_what_is_between_the_data() {
        assert_eq!(holes_between([(0, 5)].into_iter(), 5), Vec::<[u64; 2]>::new());
        assert_eq!(holes_between([(5, 5), (20, 1)].into_iter(), 30), [[0, 5], [10, 10], [21, 9]]);
        assert_eq!(holes_between([].into_iter(), 9), [[0, 9]]);
    }

    #[test]
    fn modes_are_written_as_ls_does() {
        for (mode, text) in [(0o755, "rwxr-xr-x"), (0o4711, "rws--x--x"), (0o2640, "rw-r-S---"), (0o1777, "rwxrwxrwt"), (0o1000, "--------T")] {
            assert_eq!(permissions(mode), text);
        }
    }
}
