//! Opening input files without waiting on them, and noticing when they change.
//!
//! A path may lead to a named pipe or a terminal, where plain opening waits for ever, or to `/dev/zero`, where reading
//! does. Only regular files are taken; a pipe comes in as a reader (`-` on the command line).

use crate::content::Waits;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, Metadata};
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

/// What must stay the same from scan to stream: size, time of the last change, and which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { size: metadata.len(), modified: (seconds, i64::from(since.subsec_nanos())), inode: 0 }
    }

    #[cfg(unix)]
    pub(super) fn new(size: u64, modified: (i64, i64), inode: u64) -> Self {
        Self { size, modified, inode }
    }

    /// The file's length.
    #[cfg(unix)]
    pub(super) fn size(self) -> u64 {
        self.size
    }

    /// What differs, in words; `None` where nothing does.
    pub(super) fn difference(self, now: Self) -> Option<String> {
        if self.inode != now.inode {
            Some("is another file now than when it was scanned".to_string())
        } else if self.size != now.size {
            Some(format!("had {} bytes when it was scanned and has {} now", self.size, now.size))
        } else if self.modified != now.modified {
            Some("was written to since it was scanned".to_string())
        } else {
            None
        }
    }
}

/// A regular file that is read by position and must not change.
#[derive(Debug)]
pub(super) struct RegularFile {
    pub(super) file: File,
    path: PathBuf,
    stamp: Stamp,
    waits: Waits,
}

impl RegularFile {
    /// Opens `path`.
    ///
    /// # Errors
    /// Anything but a regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let cannot = |error| named(Error::io("cannot open", error));
        let check = |metadata: &Metadata| {
            if metadata.is_file() {
                return Ok(());
            }
            Err(named(Error::unsupported("neither a directory nor a regular file; a pipe is read as `-` (standard input)")))
        };
        // Looked at before opening, because opening a device can do things; and after, because names can change.
        check(&std::fs::metadata(path).map_err(cannot)?)?;
        let file = open_without_waiting(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        check(&metadata)?;
        Ok(Self { file, path: path.to_path_buf(), stamp: Stamp::of(&metadata), waits: Waits::default() })
    }

    /// Size in bytes when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// The path that was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `out` from `offset_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::SourceChanged`] if the file is not as it was when it was opened.
    pub(super) fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.read_unchecked(offset_bytes, out)?;
        self.check_unchanged()
    }

    /// As [`Self::read_exact_at`], for many reads after which [`Self::check_unchanged`] looks once.
    pub(super) fn read_unchecked(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.waits.read_exact_at(&self.file, offset_bytes, out).map_err(|error| self.read_error(offset_bytes, error))
    }

    /// Fills every piece from its offset, with one look for changes behind them.
    ///
    /// # Errors
    /// As [`Self::read_exact_at`].
    pub(super) fn read_pieces(&self, pieces: &mut [(u64, &mut [u8])]) -> Result<()> {
        self.waits.read_pieces(&self.file, pieces).map_err(|(offset_bytes, error)| self.read_error(offset_bytes, error))?;
        self.check_unchanged()
    }

    /// Whether the last reads had to wait for a disk.
    pub(super) fn is_cold(&self) -> bool {
        self.waits.is_cold()
    }

    /// Asks the system to read this part in, and waits for none of it.
    pub(super) fn read_ahead(&self, offset_bytes: u64, len_bytes: u64) {
        self.waits.read_ahead(&self.file, offset_bytes, len_bytes);
    }

    fn read_error(&self, offset_bytes: u64, error: std::io::Error) -> Error {
        let named = |error: Error| error.at_path(self.path.as_os_str().as_encoded_bytes());
        match (error.kind(), self.check_unchanged()) {
            (IoKind::UnexpectedEof, Err(changed)) => changed,
            (IoKind::UnexpectedEof, Ok(())) => named(Error::corrupt("ends before the bytes that are needed").at_offset(offset_bytes)),
            _ => named(Error::io("cannot read", error).at_offset(offset_bytes)),
        }
    }

    /// One look after reading finds every change since the scan.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let named = |error: Error| error.at_path(self.path.as_os_str().as_encoded_bytes());
        let now = self.file.metadata().map_err(|error| named(Error::io("cannot look at", error)))?;
        match self.stamp.difference(Stamp::of(&now)) {
            Some(difference) => Err(named(Error::new(ErrorKind::SourceChanged, difference))),
            None => Ok(()),
        }
    }
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    File::open(path)
}
