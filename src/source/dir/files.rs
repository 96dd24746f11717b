//! The contents of the files of a directory, opened when they are read.

use super::beneath::open_beneath;
use crate::content::{Contents, read_exact_at};
use crate::error::{Error, ErrorKind, Result};
use crate::source::regular::Stamp;
use crate::units::{ContentId, index_of, u64_of};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that are kept open, because they are read in more than one piece.
const OPEN_FILES: usize = 16;
/// Folders that are kept open, because files are read folder by folder: about as many as threads read at once.
const OPEN_FOLDERS: usize = 16;

/// A file as the scan found it.
#[derive(Debug, Clone, Copy)]
struct Scanned {
    /// Of [`Files::folders`].
    folder: u32,
    /// In [`Files::names`].
    name_start: u32,
    name_length: u32,
    stamp: Stamp,
}

/// The files of a directory, by their number.
#[derive(Debug)]
pub(super) struct Files {
    root: OwnedFd,
    /// The paths of the folders that files were found in; the root's is empty.
    folders: Vec<Box<[u8]>>,
    /// All names, one after the other.
    names: Vec<u8>,
    scanned: Vec<Scanned>,
    open_files: Recent<ContentId, File>,
    open_folders: Recent<u32, OwnedFd>,
}

/// What was used last, the newest last.
#[derive(Debug)]
struct Recent<K, V>(Mutex<Vec<(K, Arc<V>)>>);

impl<K: PartialEq, V> Recent<K, V> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn get(&self, wanted: K) -> Option<Arc<V>> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().rposition(|(key, _)| *key == wanted)?;
        recent[at..].rotate_left(1);
        recent.last().map(|(_, value)| Arc::clone(value))
    }

    fn keep(&self, most: usize, key: K, value: &Arc<V>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= most {
            recent.remove(0);
        }
        recent.push((key, Arc::clone(value)));
    }
}

impl Files {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, folders: Vec::new(), names: Vec::new(), scanned: Vec::new(), open_files: Recent::new(), open_folders: Recent::new() }
    }

    /// The number of files.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.scanned.len()).expect("push bounds it")
    }

    pub(super) fn push(&mut self, path: &[u8], stamp: Stamp) -> Result<ContentId> {
        let number = u32::try_from(self.scanned.len()).ok().filter(|number| *number < u32::MAX).ok_or_else(|| Error::limit("over 2^32 files"))?;
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        // Files come folder by folder.
        if self.folders.last().is_none_or(|last| **last != *folder) {
            self.folders.push(folder.into());
        }
        let too_many = || Error::limit("names of over 4 GiB in one directory tree");
        let folder = u32::try_from(self.folders.len() - 1).map_err(|_| too_many())?;
        let name_start = u32::try_from(self.names.len()).map_err(|_| too_many())?;
        let name_length = u32::try_from(name.len()).map_err(|_| too_many())?;
        self.scanned.push(Scanned { folder, name_start, name_length, stamp });
        self.names.extend_from_slice(name);
        Ok(ContentId(number))
    }

    fn name(&self, file: &Scanned) -> &[u8] {
        &self.names[index_of(file.name_start)..][..index_of(file.name_length)]
    }

    fn path(&self, file: &Scanned) -> Vec<u8> {
        let folder = &*self.folders[index_of(file.folder)];
        let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        [folder, slash, self.name(file)].concat()
    }

    fn open_file(&self, scanned: &Scanned) -> Result<File> {
        let opened = self.folder(scanned.folder).and_then(|folder| open_beneath(folder.as_fd(), self.name(scanned), OFlags::RDONLY));
        opened.map(File::from).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO => changed("was there when it was scanned and is not now"),
            errno => Error::io("cannot open", errno.into()),
        })
    }

    fn folder(&self, number: u32) -> rustix::io::Result<Arc<OwnedFd>> {
        if let Some(folder) = self.open_folders.get(number) {
            return Ok(folder);
        }
        let folder = Arc::new(open_beneath(self.root.as_fd(), &self.folders[index_of(number)], OFlags::RDONLY | OFlags::DIRECTORY)?);
        self.open_folders.keep(OPEN_FOLDERS, number, &folder);
        Ok(folder)
    }

    fn read(&self, id: ContentId, scanned: &Scanned, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let end = offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= scanned.stamp.size());
        end.ok_or_else(|| Error::invalid(format!("{} bytes at {offset_bytes} of a file of {}", out.len(), scanned.stamp.size())))?;
        let file = match self.open_files.get(id) {
            Some(file) => file,
            None => {
                let file = Arc::new(self.open_file(scanned)?);
                if u64_of(out.len()) < scanned.stamp.size() {
                    self.open_files.keep(OPEN_FILES, id, &file);
                }
                file
            }
        };
        let read = read_exact_at(&file, offset_bytes, out);
        // One look behind the reading finds every change since the scan; and says more of why something could not be read.
        let now = file.metadata().map_err(|error| Error::io("cannot look at", error))?;
        if !now.is_file() {
            return Err(changed("is no file any more"));
        }
        if let Some(difference) = scanned.stamp.difference(Stamp::of(&now)) {
            return Err(changed(&difference));
        }
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => changed("ends before the length that it says"),
            _ => Error::io("cannot read", error).at_offset(offset_bytes),
        })
    }
}

impl Contents for Files {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let scanned = self.scanned.get(index_of(id.0)).ok_or_else(|| Error::invalid(format!("contents {} of a directory of {}", id.0, self.scanned.len())))?;
        self.read(id, scanned, offset_bytes, out).map_err(|error| error.at_path(self.path(scanned)))
    }

    fn reads(&self, file: &std::fs::Metadata) -> bool {
        let stamp = Stamp::of(file);
        self.scanned.iter().any(|scanned| scanned.stamp == stamp)
    }
}

fn changed(how: &str) -> Error {
    Error::new(ErrorKind::SourceChanged, how)
}
