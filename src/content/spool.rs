//! The spool: bytes that come once (from a pipe, out of a decompressor) and are read many times.
//!
//! Up to a limit they stay in memory; beyond it they go to a temporary file in a folder that the caller names, never
//! to one that this library would have to guess (a `/tmp` is often a small one in memory). The file has no name from
//! the start, or loses it at once, so that nothing is left behind however the process ends.

use super::{read_exact_at, read_pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::units::{MIB, Size, u64_of, usize_of};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What a spool keeps in memory before it makes a file, unless told otherwise.
pub(crate) const SPOOL_MEMORY_BYTES: u64 = 8 * MIB;
/// Bytes that are gathered for one write once there is a file.
const WRITE_BYTES: usize = 1 << 20;

/// Where a spool may keep its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Bytes that stay in memory before a file is made.
    pub memory_bytes: u64,
    /// The folder of the temporary file; without one, more than `memory_bytes` is an error.
    pub folder: Option<PathBuf>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { memory_bytes: SPOOL_MEMORY_BYTES, folder: None }
    }
}

/// A spool that is being filled.
#[derive(Debug)]
pub struct Spool {
    options: SpoolOptions,
    /// All bytes, or those that are not yet in the file.
    pending: Vec<u8>,
    file: Option<File>,
    length: u64,
}

impl Spool {
    /// An empty spool.
    #[must_use]
    pub fn new(options: SpoolOptions) -> Self {
        Self { options, pending: Vec::new(), file: None, length: 0 }
    }

    /// Bytes appended so far: where the next ones will be.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// More than fits in memory where no folder was named; what the system reports about the file.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        self.length += u64_of(bytes.len());
        match self.file {
            None if u64_of(self.pending.len()) > self.options.memory_bytes => {
                let folder = self.options.folder.as_deref().ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        format!(
                            "piped or compressed input holds over {}: a folder for the spool file is needed (--spool-dir)",
                            Size::bytes(self.options.memory_bytes)
                        ),
                    )
                })?;
                self.file = Some(unnamed_file(folder)?);
                self.write_pending()
            }
            Some(_) if self.pending.len() >= WRITE_BYTES => self.write_pending(),
            _ => Ok(()),
        }
    }

    /// Ends the filling.
    ///
    /// # Errors
    /// What the system reports about the file.
    pub fn finish(mut self) -> Result<Spooled> {
        let store = if self.file.is_some() {
            self.write_pending()?;
            Store::File(self.file.expect("looked at above"))
        } else {
            self.pending.shrink_to_fit();
            Store::Memory(self.pending)
        };
        Ok(Spooled { store, length: self.length })
    }

    fn write_pending(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(&self.pending).map_err(|error| {
            let folder = self.options.folder.as_deref().unwrap_or(Path::new(""));
            Error::io(format!("cannot write the spool file ({} so far) in {}", Size::bytes(self.length), shown(folder)), error)
        })?;
        self.pending.clear();
        self.pending.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }
}

/// A filled spool.
#[derive(Debug)]
pub struct Spooled {
    store: Store,
    length: u64,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File(File),
}

impl Spooled {
    /// Bytes in it.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the bytes are in a file.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        matches!(self.store, Store::File(_))
    }

    /// Fills `out` from `offset_bytes`.
    ///
    /// # Errors
    /// A range past the end; what the system reports about the file.
    pub fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let end = offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| Error::invalid(format!("{} bytes at {offset_bytes} of a spool of {}", out.len(), self.length)))?;
        match &self.store {
            Store::Memory(bytes) => out.copy_from_slice(&bytes[usize_of(offset_bytes)..usize_of(end)]),
            Store::File(file) => {
                read_exact_at(file, offset_bytes, out).map_err(|error| Error::io("cannot read the spool file", error).at_offset(offset_bytes))?
            }
        }
        Ok(())
    }
}

impl Spooled {
    /// Fills every piece from its offset.
    ///
    /// # Errors
    /// Those of [`Spooled::read_exact_at`].
    pub(crate) fn read_pieces(&self, pieces: &mut [(u64, &mut [u8])]) -> Result<()> {
        match &self.store {
            Store::Memory(_) => pieces.iter_mut().try_for_each(|(offset_bytes, out)| self.read_exact_at(*offset_bytes, out)),
            Store::File(file) => {
                read_pieces(file, pieces).map_err(|(offset_bytes, error)| Error::io("cannot read the spool file", error).at_offset(offset_bytes))
            }
        }
    }
}

fn shown(path: &Path) -> String {
    crate::error::escape(path.as_os_str().as_encoded_bytes())
}

/// A file in `folder` that nobody else can open and that is gone when it is closed.
fn unnamed_file(folder: &Path) -> Result<File> {
    let cannot = |error| Error::io(format!("cannot make a spool file in {}", shown(folder)), error);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{CWD, Mode, OFlags};
        // Some filesystems have no O_TMPFILE; there a name is made and removed.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::EXCL;
        if let Ok(fd) = rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(File::from(fd));
        }
    }
    for attempt in 0..1000_u32 {
        // The name must be free, not secret: create_new never opens what is there.
        let path = folder.join(format!(".rootvol-spool-{}-{attempt}", std::process::id()));
        match named_file(&path) {
            Ok(file) => {
                #[cfg(unix)]
                std::fs::remove_file(&path).map_err(cannot)?;
                return Ok(file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(error)),
        }
    }
    Err(cannot(std::io::Error::from(std::io::ErrorKind::AlreadyExists)))
}

#[cfg(unix)]
fn named_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(windows)]
fn named_file(path: &Path) -> std::io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
    File::options().read(true).write(true).create_new(true).share_mode(0).custom_flags(FILE_FLAG_DELETE_ON_CLOSE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(options: SpoolOptions) -> Spooled {
        let mut spool = Spool::new(options);
        for byte in 0..100_u8 {
            assert_eq!(spool.length(), u64::from(byte) * 1000);
            spool.append(&[byte; 1000]).unwrap();
        }
        spool.finish().unwrap()
    }

    #[test]
    fn a_spool_reads_the_same_from_memory_and_from_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder_option = Some(folder.path().to_path_buf());
        for (memory_bytes, in_file) in [(100_000, false), (99_999, true), (0, true)] {
            let spooled = filled(SpoolOptions { memory_bytes, folder: folder_option.clone() });
            assert_eq!(spooled.is_in_file(), in_file);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            let mut out = [0; 2000];
            spooled.read_exact_at(41_500, &mut out).unwrap();
            assert_eq!((out[0], out[499], out[500], out[1999]), (41, 41, 42, 43));
            assert!(spooled.read_exact_at(98_001, &mut out).is_err());
            assert!(spooled.read_exact_at(u64::MAX, &mut out).is_err());
        }
    }

    #[test]
    fn a_spool_that_outgrows_memory_without_a_folder_says_what_is_missing() {
        let mut spool = Spool::new(SpoolOptions { memory_bytes: 10, folder: None });
        spool.append(&[0; 10]).unwrap();
        let error = spool.append(&[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("--spool-dir"), "{error}");
    }

    #[test]
    fn a_spool_in_a_folder_that_is_not_there_names_it() {
        let mut spool = Spool::new(SpoolOptions { memory_bytes: 0, folder: Some("/nonexistent/spool".into()) });
        let error = spool.append(&[0]).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/spool"), "{error}");
    }
}
