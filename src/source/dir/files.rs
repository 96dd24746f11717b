//! The contents of the files of a directory, opened when they are read.

use super::beneath::open_beneath;
use super::look::Stat;
use crate::content::{Ahead, Contents, Waits};
use crate::error::{Error, ErrorKind, Result};
use crate::source::regular::Stamp;
use crate::units::{ContentId, index_of, u64_of};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that are kept open, because they are read in more than one piece.
const OPEN_FILES: usize = 16;
/// Folders that are kept open, because files are read folder by folder: about as many as threads read at once.
const OPEN_FOLDERS: usize = 16;

/// Files that were opened ahead of their reading.
const READY_FILES: usize = 64;

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
    ready_files: Recent<ContentId, File>,
    waits: Waits,
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

    fn take(&self, wanted: K) -> Option<Arc<V>> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(key, _)| *key == wanted)?;
        Some(recent.remove(at).1)
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
        Self {
            root,
            folders: Vec::new(),
            names: Vec::new(),
            scanned: Vec::new(),
            open_files: Recent::new(),
            open_folders: Recent::new(),
            ready_files: Recent::new(),
            waits: Waits::default(),
        }
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
        let is_whole = u64_of(out.len()) == scanned.stamp.size();
        let mut kept = if is_whole { None } else { self.open_files.get(id) };
        if kept.is_none() {
            kept = self.waits.is_cold().then(|| self.ready_files.take(id)).flatten();
            if !is_whole {
                let file = kept.map_or_else(|| self.open_file(scanned).map(Arc::new), Ok)?;
                self.open_files.keep(OPEN_FILES, id, &file);
                kept = Some(file);
            }
        }
        let opened;
        let file = match &kept {
            Some(file) => file,
            None => {
                opened = self.open_file(scanned)?;
                &opened
            }
        };
        let read = self.waits.read_exact_at(file, offset_bytes, out);
        // One look behind the reading finds every change since the scan; and says more of why something could not be read.
        let now = Stat::of(file.as_fd(), b"")?;
        if now.kind != FileType::RegularFile {
            return Err(changed("is no file any more"));
        }
        if let Some(difference) = scanned.stamp.difference(now.stamp()) {
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

    fn prefetch(&self, wanted: &[Ahead]) {
        for ahead in wanted.iter().filter(|ahead| ahead.len_bytes > 0) {
            let Some(scanned) = self.scanned.get(index_of(ahead.id.0)) else { continue };
            let file = match self.open_files.get(ahead.id).or_else(|| self.ready_files.get(ahead.id)) {
                Some(file) => file,
                None => {
                    let Ok(file) = self.open_file(scanned).map(Arc::new) else { continue };
                    self.ready_files.keep(READY_FILES, ahead.id, &file);
                    file
                }
            };
            self.waits.read_ahead(&file, ahead.offset_bytes, ahead.len_bytes);
        }
    }

    fn is_cold(&self) -> bool {
        self.waits.is_cold()
    }
}

fn changed(how: &str) -> Error {
    Error::new(ErrorKind::SourceChanged, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_ready_is_opened_once_and_the_oldest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(File::open(folder.path()).unwrap().into());
        for number in 0..100_u8 {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, [number; 10]).unwrap();
            files.push(number.to_string().as_bytes(), Stamp::of(&path.metadata().unwrap())).unwrap();
        }
        let ahead: Vec<Ahead> = (0..101).map(|id| Ahead { id: ContentId(id), offset_bytes: 0, len_bytes: 10 }).collect();
        files.prefetch(&ahead);
        assert_eq!(files.ready_files.0.lock().unwrap().len(), READY_FILES);
        // Gone by name, read all the same, because they are open.
        for number in 0..100_u8 {
            std::fs::remove_file(folder.path().join(number.to_string())).unwrap();
        }
        files.waits.pretend_cold();
        let mut out = [0; 10];
        files.read_exact_at(ContentId(99), 0, &mut out).unwrap();
        assert_eq!(out, [99; 10]);
        files.read_exact_at(ContentId(98), 0, &mut out[..5]).unwrap();
        files.read_exact_at(ContentId(98), 5, &mut out[..5]).unwrap();
        assert_eq!(out[..5], [98; 5]);
        for gone in [99, 35] {
            assert_eq!(files.read_exact_at(ContentId(gone), 0, &mut out).unwrap_err().kind(), ErrorKind::SourceChanged);
        }
    }
}
