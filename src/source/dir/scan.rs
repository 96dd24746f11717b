//! The scan of a directory: an explicit stack of folders, each opened below the root and read once.

use super::beneath::open_beneath;
use super::files::Files;
use super::xattrs::XattrReader;
use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;
use crate::source::assembly::{Assembly, RawMetadata};
use crate::source::options::{Holes, Options};
use crate::source::regular::Stamp;
use crate::tree::{Device, Metadata, NewNode, NodeId, Timestamp};
use crate::units::{MIB, u64_of};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags, SeekFrom};
use rustix::io::Errno;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A file shorter than this is asked for holes only where it has fewer blocks than its length needs.
const ASK_FOR_HOLES_BYTES: u64 = MIB;

/// What `lstat` says, in types that are the same on every system.
#[derive(Debug, Clone, Copy)]
struct Stat {
    device: u64,
    inode: u64,
    kind: FileType,
    mode: u16,
    links: u64,
    uid: u32,
    gid: u32,
    special: Device,
    size: u64,
    blocks: u64,
    seconds: i64,
    nanoseconds: u32,
}

impl Stat {
    /// `name` in `directory`, not following it; the directory itself where it is empty.
    fn of(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Self> {
        let stat = if name.is_empty() { rustix::fs::fstat(directory) } else { rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) };
        let stat = stat.map_err(|errno| gone_or(errno, "cannot look at"))?;
        // The fields have other types on other systems; i128 takes all of them.
        let odd = |_| Error::unsupported("the system gives a number that is out of every range for it");
        let positive = |value: i128| u64::try_from(value).map_err(odd);
        let mode = u32::try_from(i128::from(stat.st_mode)).map_err(odd)?;
        Ok(Self {
            device: positive(i128::from(stat.st_dev) & i128::from(u64::MAX))?,
            inode: positive(i128::from(stat.st_ino))?,
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: u16::try_from(mode & 0o7777).map_err(odd)?,
            links: positive(i128::from(stat.st_nlink))?,
            uid: stat.st_uid,
            gid: stat.st_gid,
            special: Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) },
            size: positive(i128::from(stat.st_size))?,
            blocks: positive(i128::from(stat.st_blocks))?,
            seconds: i64::try_from(i128::from(stat.st_mtime)).map_err(odd)?,
            nanoseconds: u32::try_from(i128::from(stat.st_mtime_nsec)).map_err(odd)?,
        })
    }

    fn metadata(&self) -> Metadata {
        let mtime = Timestamp { seconds: self.seconds, nanoseconds: self.nanoseconds };
        Metadata { mode: self.mode, uid: self.uid, gid: self.gid, mtime, ..Metadata::default() }
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.size, (self.seconds, i64::from(self.nanoseconds)), self.inode)
    }
}

/// A folder that is still to be read.
struct Pending {
    path: Vec<u8>,
    /// Device and inode, so that no other folder is read in its place.
    identity: (u64, u64),
}

struct Scan<'a> {
    assembly: Assembly<'a>,
    files: Files,
    xattrs: XattrReader,
    /// First path of what has more names, and how many are still to come. Only looked up in, never walked.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    pending: Vec<Pending>,
    root_device: u64,
    /// Root reads everything; anybody else learns now, and not while the image is written, what he cannot read.
    check_readable: bool,
}

/// Reads the tree in the directory `path`, which may be a link to one.
pub(super) fn open(path: &Path, options: &Options) -> Result<Source> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| named(Error::io("cannot open", errno.into())));
    let (root, files) = (open()?, Files::new(open()?));
    let mut assembly = Assembly::new(options)?;
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        assembly.notes.add("extended attributes are not read on this system", b"");
    }
    let description = format!("{} (directory)", crate::source::shown_name(path));
    let in_root = |error: Error| crate::source::in_source(error, path.as_os_str().as_encoded_bytes());
    let stat = Stat::of(root.as_fd(), b"").map_err(named)?;
    let mut scan = Scan {
        assembly,
        files,
        xattrs: XattrReader::new(path),
        links: HashMap::new(),
        pending: vec![Pending { path: Vec::new(), identity: (stat.device, stat.inode) }],
        root_device: stat.device,
        check_readable: !rustix::process::geteuid().is_root(),
    };
    let xattrs = scan.xattrs.read(root.as_fd(), b"", b"").map_err(named)?;
    scan.assembly.add(b"", RawMetadata { metadata: stat.metadata(), xattrs }, NewNode::Directory)?;
    while let Some(folder) = scan.pending.pop() {
        scan.read_folder(&root, &folder).map_err(|error| if folder.path.is_empty() { error } else { error.at_path(&folder.path) }).map_err(in_root)?;
    }
    let Scan { assembly, files, .. } = scan;
    let count = files.count();
    assembly.finish(description, vec![path.to_path_buf()], Arc::new(files), count)
}

impl Scan<'_> {
    fn read_folder(&mut self, root: &OwnedFd, folder: &Pending) -> Result<()> {
        let fd = open_beneath(root.as_fd(), &folder.path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| gone_or(errno, "cannot open the folder"))?;
        let now = Stat::of(fd.as_fd(), b"")?;
        if (now.device, now.inode) != folder.identity {
            return Err(Error::new(ErrorKind::SourceChanged, "is another folder now than when it was scanned"));
        }
        let mut names = Vec::new();
        let cannot_read = |errno: Errno| Error::io("cannot read the folder", errno.into());
        let mut entries = rustix::fs::Dir::new(fd).map_err(cannot_read)?;
        for entry in entries.by_ref() {
            let entry = entry.map_err(cannot_read)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        // What is numbered and reported first does not depend on the order on the disk.
        names.sort_unstable();
        let fd = entries.fd().map_err(cannot_read)?;
        let before = self.pending.len();
        let mut path = folder.path.clone();
        for name in names {
            path.truncate(folder.path.len());
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if !self.assembly.filter.excludes(&path) {
                self.read_entry(fd, &name, &path).map_err(|error| error.at_path(&path))?;
            }
        }
        self.pending[before..].reverse();
        Ok(())
    }

    fn read_entry(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<()> {
        let stat = Stat::of(directory, name)?;
        let has_links = stat.kind != FileType::Directory && stat.links > 1;
        if has_links && self.link(path, &stat)? {
            return Ok(());
        }
        let raw = RawMetadata { metadata: stat.metadata(), xattrs: self.xattrs.read(directory, name, path)? };
        match stat.kind {
            FileType::Directory => {
                self.assembly.add(path, raw, NewNode::Directory)?;
                if !self.assembly.options.one_file_system || stat.device == self.root_device {
                    self.pending.push(Pending { path: path.to_vec(), identity: (stat.device, stat.inode) });
                }
            }
            FileType::RegularFile => {
                self.add_file(directory, name, path, raw, &stat)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(|errno| gone_or(errno, "cannot read the link"))?;
                self.assembly.add(path, raw, NewNode::Symlink(target.as_bytes()))?;
            }
            FileType::CharacterDevice => drop(self.assembly.add(path, raw, NewNode::CharDevice(stat.special))?),
            FileType::BlockDevice => drop(self.assembly.add(path, raw, NewNode::BlockDevice(stat.special))?),
            FileType::Fifo => drop(self.assembly.add(path, raw, NewNode::Fifo)?),
            FileType::Socket => drop(self.assembly.add(path, raw, NewNode::Socket)?),
            FileType::Unknown => return Err(Error::unsupported("is of a kind that is not known")),
        }
        if has_links {
            self.links.insert((stat.device, stat.inode), (path.to_vec(), stat.links - 1));
        }
        Ok(())
    }

    /// Adds `path` as another name of something that was met before; false if it was not.
    fn link(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        let identity = (stat.device, stat.inode);
        let Some((first, more)) = self.links.get_mut(&identity) else { return Ok(false) };
        self.assembly.link(path, first)?;
        *more -= 1;
        if *more == 0 {
            self.links.remove(&identity);
        }
        Ok(true)
    }

    fn add_file(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &[u8], raw: RawMetadata, stat: &Stat) -> Result<NodeId> {
        if self.check_readable && stat.size > 0 {
            rustix::fs::accessat(directory, name, rustix::fs::Access::READ_OK, AtFlags::empty()).map_err(|errno| gone_or(errno, "cannot be read"))?;
        }
        let content = self.files.push(path, stat.stamp())?;
        let few_blocks = stat.blocks.saturating_mul(512) < stat.size;
        let many = stat.size >= ASK_FOR_HOLES_BYTES || (!raw.xattrs.is_empty() && stat.size > 4096);
        let data = if self.assembly.options.holes == Holes::Keep && (few_blocks || many) {
            data_ranges(directory, name, stat, self.assembly.options.limits.sparse_ranges)?
        } else {
            None
        };
        self.assembly.add(path, raw, NewNode::File { content, length: stat.size, data: data.as_deref() })
    }
}

/// The parts of a file that are data; `None` where the system cannot tell.
fn data_ranges(directory: BorrowedFd<'_>, name: &[u8], stat: &Stat, most: u64) -> Result<Option<Vec<(u64, u64)>>> {
    let fd = open_beneath(directory, name, OFlags::RDONLY).map_err(|errno| gone_or(errno, "cannot open"))?;
    if Stat::of(fd.as_fd(), b"")?.stamp() != stat.stamp() {
        return Err(Error::new(ErrorKind::SourceChanged, "was written to while it was scanned"));
    }
    let mut data = Vec::new();
    let mut at = 0;
    while at < stat.size {
        let start = match rustix::fs::seek(&fd, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(Error::io("cannot look for holes", errno.into())),
        };
        let end = rustix::fs::seek(&fd, SeekFrom::Hole(start)).map_err(|errno| Error::io("cannot look for holes", errno.into()))?;
        let end = end.min(stat.size);
        if start < at || end <= start {
            return Err(Error::new(ErrorKind::SourceChanged, "its holes changed while it was scanned"));
        }
        data.push((start, end - start));
        if u64_of(data.len()) > most {
            return Err(Error::limit(format!("over {most} data ranges in one file")));
        }
        at = end;
    }
    Ok(Some(data))
}

/// An entry that was listed and is gone has changed; anything else is as the system says.
fn gone_or(errno: Errno, doing: &str) -> Error {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::new(ErrorKind::SourceChanged, "was there when its folder was read and is not now"),
        errno => Error::io(doing, errno.into()),
    }
}
