//! Entries into a directory, beneath which everything stays.

use super::{ExtractOptions, Extracted, PIECE_BYTES, Privileges, wanted};
use crate::content::Contents as _;
use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;
use crate::tree::{Device, FileData, Metadata, NodeId, NodeKind, Timestamp};
use crate::units::{u64_of, usize_of};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Folders that are kept open at a time; deeper ones are opened again when they are needed.
const OPEN_MAX: usize = 64;
/// Bits of a mode that are given without being asked for: to files, and to directories.
const FILE_BITS: u16 = 0o777;
const DIRECTORY_BITS: u16 = 0o3777;

/// Takes entries of `source` out into `directory`, which is made, or is empty (unless `options.force`).
///
/// # Errors
/// A directory that is not empty; contents that cannot be read (without `options.keep_going`); I/O, by path. What was made by then
/// stays; it lies beneath `directory`.
pub fn extract_to_dir(source: &Source, directory: impl AsRef<Path>, options: &ExtractOptions) -> Result<Extracted> {
    let directory = directory.as_ref();
    let named = |error: Error| error.at_path(directory.as_os_str().as_encoded_bytes());
    let entries = wanted(source, &options.paths)?;
    let root = open_target(directory, options.force).map_err(named)?;
    let mut maker = Maker {
        source,
        options,
        folders: vec![Folder { name: Vec::new(), node: NodeId::ROOT, fd: Some(root.try_clone().map_err(|error| named(Error::io("cannot open", error)))?) }],
        root,
        linked: HashMap::new(),
        buffer: vec![0; usize_of(PIECE_BYTES)],
        done: Extracted::default(),
    };
    for (path, id) in &entries {
        options.cancel.check()?;
        maker.entry(path, *id).map_err(|error| error.at_path(path))?;
    }
    maker.leave_to(0)?;
    maker.finish_folder(&[])?;
    Ok(maker.done)
}

fn open_target(directory: &Path, force: bool) -> Result<OwnedFd> {
    match std::fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mut entries = std::fs::read_dir(directory).map_err(|error| Error::io("cannot look into the directory", error))?;
            if !force && entries.next().is_some() {
                return Err(Error::new(ErrorKind::Exists, "the directory is not empty (--force extracts into it, and replaces what has the same name)"));
            }
        }
        Err(error) => return Err(Error::io("cannot make the directory", error)),
    }
    rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|error| os("cannot open the directory", error))
}

fn os(doing: &str, error: Errno) -> Error {
    Error::io(doing, error.into())
}

/// A folder that is being filled.
struct Folder {
    name: Vec<u8>,
    node: NodeId,
    fd: Option<OwnedFd>,
}

struct Maker<'a> {
    source: &'a Source,
    options: &'a ExtractOptions,
    root: OwnedFd,
    /// From the root to the folder that is being filled.
    folders: Vec<Folder>,
    /// Where the first name of a node with several was made.
    linked: HashMap<NodeId, Vec<u8>>,
    buffer: Vec<u8>,
    done: Extracted,
}

impl Maker<'_> {
    fn entry(&mut self, path: &[u8], id: NodeId) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let Some((name, parents)) = parts.split_last() else { return Ok(()) };
        // Entries come in tree order: leaving what is no parent of this one is leaving it for good.
        let shared = parents.iter().zip(&self.folders[1..]).take_while(|(part, folder)| **part == folder.name).count();
        self.leave_to(shared)?;
        if shared != parents.len() {
            return Err(Error::new(ErrorKind::Internal, "an entry came before its directory"));
        }
        self.done.entries += 1;
        let node = *self.source.tree.node(id);
        if node.is_directory() {
            return self.make_folder(name, id);
        }
        let fd = self.current()?;
        if node.links > 1
            && let Some(first) = self.linked.get(&id)
        {
            return self.make_link(first, fd.as_fd(), name);
        }
        if self.options.force {
            remove_old(fd.as_fd(), name)?;
        }
        let made = match node.kind {
            NodeKind::Directory => true,
            NodeKind::File(file) => {
                self.make_file(fd.as_fd(), name, &node.metadata, &file, path)?;
                true
            }
            NodeKind::Symlink(_) => {
                rustix::fs::symlinkat(self.source.tree.target(id), fd.as_fd(), *name).map_err(|error| os("cannot make the link", error))?;
                self.finish_special(fd.as_fd(), name, &node.metadata, false)?;
                true
            }
            NodeKind::CharDevice(device) => self.make_device(fd.as_fd(), name, &node.metadata, FileType::CharacterDevice, device)?,
            NodeKind::BlockDevice(device) => self.make_device(fd.as_fd(), name, &node.metadata, FileType::BlockDevice, device)?,
            NodeKind::Fifo => self.make_node(fd.as_fd(), name, &node.metadata, FileType::Fifo, 0)?,
            NodeKind::Socket => self.make_node(fd.as_fd(), name, &node.metadata, FileType::Socket, 0)?,
        };
        if made && node.links > 1 {
            self.linked.insert(id, path.to_vec());
        }
        Ok(())
    }

    /// The folder that is being filled, open.
    fn current(&mut self) -> Result<OwnedFd> {
        let last = self.folders.len() - 1;
        if self.folders[last].fd.is_none() {
            let names: Vec<&[u8]> = self.folders[1..].iter().map(|folder| &folder.name[..]).collect();
            self.folders[last].fd = Some(open_beneath(self.root.as_fd(), &names)?);
        }
        let fd = self.folders[last].fd.as_ref().expect("opened above");
        fd.try_clone().map_err(|error| Error::io("cannot hold the directory open", error))
    }

    fn make_folder(&mut self, name: &[u8], id: NodeId) -> Result<()> {
        let parent = self.current()?;
        match rustix::fs::mkdirat(parent.as_fd(), name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) if self.options.force => {}
            Err(error) => return Err(os("cannot make the directory", error)),
        }
        // What is no directory, or a link to one, is not entered.
        let fd = open_folder(parent.as_fd(), name)?;
        self.folders.push(Folder { name: name.to_vec(), node: id, fd: Some(fd) });
        if let Some(far) = self.folders.len().checked_sub(OPEN_MAX).filter(|far| *far > 0) {
            self.folders[far].fd = None;
        }
        Ok(())
    }

    /// Leaves folders until `depth` of them are left, and gives each its mode and times: what is made in them changes both.
    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.folders.len() > depth + 1 {
            let fd = self.current()?;
            let folder = self.folders.pop().expect("there are more than one");
            let path = || self.folders[1..].iter().map(|folder| &folder.name[..]).chain([&folder.name[..]]).collect::<Vec<_>>().join(&b'/');
            let metadata = self.source.tree.node(folder.node).metadata;
            finish(fd.as_fd(), self.source, &metadata, DIRECTORY_BITS, self.options.privileges, &mut self.done).map_err(|error| error.at_path(path()))?;
        }
        Ok(())
    }

    /// The top: the directory that was named.
    fn finish_folder(&mut self, path: &[u8]) -> Result<()> {
        let fd = self.current()?;
        let node = self.source.tree.node(NodeId::ROOT);
        if node.implied {
            return Ok(());
        }
        finish(fd.as_fd(), self.source, &node.metadata, DIRECTORY_BITS, self.options.privileges, &mut self.done).map_err(|error| error.at_path(path))
    }

    fn make_link(&self, first: &[u8], folder: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if self.options.force {
            remove_old(folder, name)?;
        }
        let parts: Vec<&[u8]> = first.split(|byte| *byte == b'/').collect();
        let Some((old, parents)) = parts.split_last() else { return Ok(()) };
        let from = open_beneath(self.root.as_fd(), parents)?;
        rustix::fs::linkat(from.as_fd(), *old, folder, name, AtFlags::empty()).map_err(|error| os("cannot make the hard link", error))
    }

    fn make_file(&mut self, folder: BorrowedFd<'_>, name: &[u8], metadata: &Metadata, file: &FileData, path: &[u8]) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| os("cannot make the file", error))?;
        let mut made = File::from(fd);
        if let Err(error) = self.copy(&mut made, file) {
            if !self.options.keep_going || error.kind() == ErrorKind::Cancelled {
                return Err(error);
            }
            // Half a file is none.
            drop(made);
            rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(|error| os("cannot remove the half-written file", error))?;
            self.done.failed.push(error.at_path(path));
            return Ok(());
        }
        finish(made.as_fd(), self.source, metadata, FILE_BITS, self.options.privileges, &mut self.done)
    }

    /// Writes the data of a file, and leaves its holes.
    fn copy(&mut self, made: &mut File, file: &FileData) -> Result<()> {
        let cannot = |error| Error::io("cannot write the file", error);
        let mut written = 0;
        for (offset, len) in self.source.tree.data_ranges(file) {
            if offset != written {
                made.seek(SeekFrom::Start(offset)).map_err(cannot)?;
            }
            let mut at = offset;
            while at < offset + len {
                self.options.cancel.check()?;
                let piece = &mut self.buffer[..usize_of((offset + len - at).min(PIECE_BYTES))];
                self.source.contents.read_exact_at(file.content, at, piece)?;
                made.write_all(piece).map_err(cannot)?;
                at += u64_of(piece.len());
            }
            written = at;
            self.done.bytes += len;
        }
        if written < file.length {
            made.set_len(file.length).map_err(cannot)?;
        }
        Ok(())
    }

    fn make_device(&mut self, folder: BorrowedFd<'_>, name: &[u8], metadata: &Metadata, kind: FileType, device: Device) -> Result<bool> {
        if !self.options.privileges.devices {
            self.done.devices_left_out += 1;
            self.done.entries -= 1;
            return Ok(false);
        }
        self.make_node(folder, name, metadata, kind, rustix::fs::makedev(device.major, device.minor))
    }

    fn make_node(&mut self, folder: BorrowedFd<'_>, name: &[u8], metadata: &Metadata, kind: FileType, device: u64) -> Result<bool> {
        rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device).map_err(|error| os("cannot make the device, pipe or socket", error))?;
        self.finish_special(folder, name, metadata, true)?;
        Ok(true)
    }

    /// Gives what cannot be opened its metadata, by name and without following it.
    fn finish_special(&mut self, folder: BorrowedFd<'_>, name: &[u8], metadata: &Metadata, has_mode: bool) -> Result<()> {
        let cannot = |error| os("cannot set the metadata", error);
        if self.options.privileges.owners {
            rustix::fs::chownat(folder, name, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(cannot)?;
        } else {
            self.done.owners_left_out += u64::from((metadata.uid, metadata.gid) != own_ids());
        }
        if has_mode {
            // What was made a moment ago has no other name, and is no link.
            rustix::fs::chmodat(folder, name, Mode::from_raw_mode(u32::from(metadata.mode & FILE_BITS)), AtFlags::empty()).map_err(cannot)?;
        }
        self.done.xattrs_left_out += u64::from(!self.source.tree.xattrs(metadata.xattrs).is_empty());
        rustix::fs::utimensat(folder, name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(cannot)
    }
}

/// Opens the folder `name` in `parent`, which is no link.
fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|error| os("cannot enter the directory", error))
}

/// Opens a folder beneath `root`, one name at a time: no link is followed.
fn open_beneath(root: BorrowedFd<'_>, names: &[&[u8]]) -> Result<OwnedFd> {
    let mut at = root.try_clone_to_owned().map_err(|error| Error::io("cannot hold the directory open", error))?;
    for name in names {
        at = open_folder(at.as_fd(), name)?;
    }
    Ok(at)
}

/// Makes room for what is new: links and files of that name go, directories stay in the way.
fn remove_old(folder: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(os("cannot replace what has this name", error)),
    }
}

/// Gives an open file or directory its metadata, times last.
fn finish(fd: BorrowedFd<'_>, source: &Source, metadata: &Metadata, bits: u16, privileges: Privileges, done: &mut Extracted) -> Result<()> {
    let cannot = |error| os("cannot set the metadata", error);
    if privileges.owners {
        rustix::fs::fchown(fd, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid))).map_err(cannot)?;
    } else {
        done.owners_left_out += u64::from((metadata.uid, metadata.gid) != own_ids());
    }
    let xattrs = source.tree.xattrs(metadata.xattrs);
    if privileges.xattrs {
        for xattr in xattrs {
            rustix::fs::fsetxattr(fd, &*xattr.name, &xattr.value, XattrFlags::empty())
                .map_err(|error| os(&format!("cannot set the xattr {}", crate::error::escape(&xattr.name)), error))?;
        }
    } else {
        done.xattrs_left_out += u64::from(!xattrs.is_empty());
    }
    // Behind the owner, whose change takes setuid bits away.
    let given = if privileges.setuid { metadata.mode } else { metadata.mode & bits };
    done.setuid_left_out += u64::from(given != metadata.mode);
    done.attributes_left_out += u64::from((metadata.attributes, metadata.project) != (0, 0));
    rustix::fs::fchmod(fd, Mode::from_raw_mode(u32::from(given))).map_err(cannot)?;
    rustix::fs::futimens(fd, &times(metadata.mtime)).map_err(cannot)
}

/// Who makes files here.
fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
