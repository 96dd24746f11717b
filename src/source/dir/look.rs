//! Looking at what is in a folder: names, `lstat`, attributes, targets of links, holes. Nothing of a tree is known here, so
//! that any thread can look at any folder.

use super::beneath::open_beneath;
use super::xattrs::XattrReader;
use crate::error::{Error, ErrorKind, Result};
use crate::source::filter::Filter;
use crate::source::options::{Holes, Options};
use crate::source::regular::Stamp;
use crate::tree::{Device, Metadata, Timestamp, Xattr};
use crate::units::{MIB, index_of, u64_of};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags, SeekFrom};
use rustix::io::Errno;
use std::ops::Range;
use std::sync::Arc;

/// A file shorter than this is asked for holes only where it has fewer blocks than its length needs.
const ASK_FOR_HOLES_BYTES: u64 = MIB;
/// Names of one folder that are looked at in one go, so that one large folder keeps more than one thread busy.
const NAMES_AT_ONCE: usize = 512;

/// What `lstat` says, in types that are the same on every system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) kind: FileType,
    mode: u16,
    pub(super) links: u64,
    uid: u32,
    gid: u32,
    pub(super) special: Device,
    pub(super) size: u64,
    blocks: u64,
    seconds: i64,
    nanoseconds: u32,
}

impl Stat {
    /// `name` in `directory`, not following it; the directory itself where it is empty.
    pub(super) fn of(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Self> {
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

    pub(super) fn metadata(&self) -> Metadata {
        let mtime = Timestamp { seconds: self.seconds, nanoseconds: self.nanoseconds };
        Metadata { mode: self.mode, uid: self.uid, gid: self.gid, mtime, ..Metadata::default() }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp::new(self.size, (self.seconds, i64::from(self.nanoseconds)), self.inode)
    }

    /// What tells it from everything else.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// A folder that is to be looked at, or a part of one.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: Vec<u8>,
    /// So that no other folder is read in its place.
    identity: (u64, u64),
    /// All of its names, and which of them this part is; `None` where nobody has read them yet.
    part: Option<(Arc<Names>, Range<usize>)>,
}

impl Folder {
    /// The root of a source.
    pub(super) fn root(stat: &Stat) -> Self {
        Self { path: Vec::new(), identity: stat.identity(), part: None }
    }
}

/// The names in a folder, sorted.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each begins, and its length.
    places: Vec<(u32, u32)>,
}

impl Names {
    fn push(&mut self, name: &[u8]) -> Result<()> {
        let too_many = |_| Error::limit("names of over 4 GiB in one folder");
        self.places.push((u32::try_from(self.bytes.len()).map_err(too_many)?, u32::try_from(name.len()).map_err(too_many)?));
        self.bytes.extend_from_slice(name);
        Ok(())
    }

    fn sort(&mut self) {
        let Self { bytes, places } = self;
        places.sort_unstable_by(|a, b| name_at(bytes, *a).cmp(name_at(bytes, *b)));
    }

    /// Name number `nth`.
    pub(super) fn get(&self, nth: usize) -> &[u8] {
        name_at(&self.bytes, self.places[nth])
    }
}

fn name_at(bytes: &[u8], (start, length): (u32, u32)) -> &[u8] {
    &bytes[index_of(start)..][..index_of(length)]
}

/// An entry as it was found.
#[derive(Debug)]
pub(super) struct Entry {
    /// The number of its name in [`Looked::names`].
    pub(super) name: usize,
    pub(super) stat: Stat,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) more: More,
}

/// What an entry has beside metadata.
#[derive(Debug)]
pub(super) enum More {
    Nothing,
    /// The target of a symbolic link.
    Target(Vec<u8>),
    /// The parts of a file that are data.
    Data(Vec<(u64, u64)>),
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) names: Arc<Names>,
    /// In the order of their names; up to where something went wrong.
    pub(super) entries: Vec<Entry>,
    /// What is to be looked at next: other parts of this folder, then the folders in it.
    pub(super) next: Vec<Folder>,
    pub(super) error: Option<Error>,
}

impl Looked {
    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let of_entry = |entry: &Entry| {
            let xattrs: usize = entry.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
            let more = match &entry.more {
                More::Nothing => 0,
                More::Target(target) => target.len(),
                More::Data(ranges) => size_of_val(ranges.as_slice()),
            };
            size_of::<Entry>() + xattrs + more
        };
        let next: usize = self.next.iter().map(|folder| size_of::<Folder>() + folder.path.len()).sum();
        self.entries.iter().map(of_entry).sum::<usize>() + next + self.names.bytes.len()
    }
}

/// What is the same for all folders of a source.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) root: OwnedFd,
    pub(super) root_device: u64,
    pub(super) options: &'a Options,
    pub(super) filter: Arc<Filter>,
    /// Root reads everything; anybody else learns now, and not while the image is written, what he cannot read.
    pub(super) check_readable: bool,
}

/// Looks at folders; each thread has its own.
#[derive(Debug)]
pub(super) struct Looker<'a> {
    place: &'a Place<'a>,
    xattrs: XattrReader,
}

impl<'a> Looker<'a> {
    pub(super) fn new(place: &'a Place<'a>, xattrs: XattrReader) -> Self {
        Self { place, xattrs }
    }

    /// Looks at `folder`; what goes wrong stands in the result, behind what went well.
    pub(super) fn look(&mut self, folder: &Folder) -> Looked {
        let mut looked = Looked::default();
        let result = self.look_into(folder, &mut looked);
        looked.error = result.err().map(|error| if folder.path.is_empty() { error } else { error.at_path(&folder.path) });
        looked
    }

    fn look_into(&mut self, folder: &Folder, looked: &mut Looked) -> Result<()> {
        let opened = open_beneath(self.place.root.as_fd(), &folder.path, OFlags::RDONLY | OFlags::DIRECTORY);
        let fd = opened.map_err(|errno| gone_or(errno, "cannot open the folder"))?;
        if Stat::of(fd.as_fd(), b"")?.identity() != folder.identity {
            return Err(Error::new(ErrorKind::SourceChanged, "is another folder now than when it was scanned"));
        }
        let cannot_read = |errno: Errno| Error::io("cannot read the folder", errno.into());
        let mut directory = rustix::fs::Dir::new(fd).map_err(cannot_read)?;
        let part = match &folder.part {
            Some((names, part)) => {
                looked.names = Arc::clone(names);
                part.clone()
            }
            None => {
                let mut names = Names::default();
                for entry in directory.by_ref() {
                    let entry = entry.map_err(cannot_read)?;
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        names.push(name)?;
                    }
                }
                // What is numbered and reported first does not depend on the order on the disk.
                names.sort();
                let count = names.places.len();
                looked.names = Arc::new(names);
                for start in (NAMES_AT_ONCE..count).step_by(NAMES_AT_ONCE) {
                    let part = Some((Arc::clone(&looked.names), start..count.min(start + NAMES_AT_ONCE)));
                    looked.next.push(Folder { path: folder.path.clone(), identity: folder.identity, part });
                }
                0..count.min(NAMES_AT_ONCE)
            }
        };
        let fd = directory.fd().map_err(cannot_read)?;
        self.xattrs.enter(fd, &folder.path);
        let mut path = folder.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        let beginning = path.len();
        for nth in part {
            let name = looked.names.get(nth);
            path.truncate(beginning);
            path.extend_from_slice(name);
            if self.place.filter.excludes(&path) {
                continue;
            }
            let entry = self.entry(fd, name, nth).map_err(|error| error.at_path(&path))?;
            let is_left_out = self.place.options.one_file_system && entry.stat.device != self.place.root_device;
            if entry.stat.kind == FileType::Directory && !is_left_out {
                looked.next.push(Folder { path: path.clone(), identity: entry.stat.identity(), part: None });
            }
            looked.entries.push(entry);
        }
        Ok(())
    }

    fn entry(&mut self, directory: BorrowedFd<'_>, name: &[u8], nth: usize) -> Result<Entry> {
        let stat = Stat::of(directory, name)?;
        let xattrs = self.xattrs.read(name)?;
        let more = match stat.kind {
            FileType::RegularFile => {
                if self.place.check_readable && stat.size > 0 {
                    rustix::fs::accessat(directory, name, rustix::fs::Access::READ_OK, AtFlags::empty()).map_err(|errno| gone_or(errno, "cannot be read"))?;
                }
                let few_blocks = stat.blocks.saturating_mul(512) < stat.size;
                let many = stat.size >= ASK_FOR_HOLES_BYTES || (!xattrs.is_empty() && stat.size > 4096);
                let is_asked = self.place.options.holes == Holes::Keep && (few_blocks || many);
                let data = if is_asked { data_ranges(directory, name, &stat, self.place.options.limits.sparse_ranges)? } else { None };
                data.map_or(More::Nothing, More::Data)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(|errno| gone_or(errno, "cannot read the link"))?;
                More::Target(target.into_bytes())
            }
            FileType::Unknown => return Err(Error::unsupported("is of a kind that is not known")),
            _ => More::Nothing,
        };
        Ok(Entry { name: nth, stat, xattrs, more })
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
