//! Files, pipes and devices that images are written to.
//!
//! | output | zeros | unused | appears |
//! |---|---|---|---|
//! | [`AtomicFile`] | a hole | a hole | under its name when whole |
//! | [`Pipe`] | written | written as zeros | at once |
//! | [`Device`] | written | left as it is | at once, in place |
//!
//! Nothing here seeks back; a hole is a seek forwards.

mod atomic;
mod device;

pub use atomic::AtomicFile;
pub use device::Device;

use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};
use std::io::Write;
use std::path::Path;

/// Where the bytes of an image go, in order.
pub trait Output {
    /// The next bytes.
    ///
    /// # Errors
    /// I/O; nothing can be written after it.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// The next `len_bytes` are zero.
    ///
    /// # Errors
    /// Those of [`Output::write`].
    fn zeros(&mut self, len_bytes: u64) -> Result<()>;

    /// The next `len_bytes` are read by nobody.
    ///
    /// # Errors
    /// Those of [`Output::write`].
    fn unused(&mut self, len_bytes: u64) -> Result<()>;

    /// All is written: flushes and, where there is a disk behind it, waits until it has everything.
    ///
    /// # Errors
    /// I/O. What was written cannot be trusted after it.
    fn finish(&mut self) -> Result<()>;
}

/// Any [`Write`]: a pipe, a socket, a compressor, a buffer in memory.
#[derive(Debug)]
pub struct Pipe<W> {
    to: W,
}

impl<W: Write> Pipe<W> {
    /// An output that writes everything to `to`.
    #[must_use]
    pub fn new(to: W) -> Self {
        Self { to }
    }

    /// Gives the writer back.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.to
    }
}

impl<W: Write> Output for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(cannot_write)
    }

    fn zeros(&mut self, len_bytes: u64) -> Result<()> {
        write_zeros(&mut self.to, len_bytes)
    }

    fn unused(&mut self, len_bytes: u64) -> Result<()> {
        write_zeros(&mut self.to, len_bytes)
    }

    fn finish(&mut self) -> Result<()> {
        self.to.flush().map_err(cannot_write)
    }
}

/// Zeros that are written where there can be no hole.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

fn write_zeros(to: &mut dyn Write, len_bytes: u64) -> Result<()> {
    let mut left = len_bytes;
    while left > 0 {
        let now = left.min(u64_of(ZEROS.len()));
        to.write_all(&ZEROS[..usize_of(now)]).map_err(cannot_write)?;
        left -= now;
    }
    Ok(())
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write the output", error)
}

/// Writes a small file under its name at once and whole: [`AtomicFile`] for `bytes`.
///
/// # Errors
/// Those of [`AtomicFile`].
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], force: bool) -> Result<()> {
    let mut file = AtomicFile::create(path, force)?;
    file.write(bytes)?;
    file.finish()?;
    file.commit()
}

/// Whether both names lead to one file, links followed. A name that leads nowhere is the same as none.
#[must_use]
pub fn same_file(a: impl AsRef<Path>, b: impl AsRef<Path>) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        identity(a.as_ref()).is_some_and(|a| identity(b.as_ref()) == Some(a))
    }
    #[cfg(not(unix))]
    {
        let identity = |path: &Path| std::fs::canonicalize(path).ok();
        identity(a.as_ref()).is_some_and(|a| identity(b.as_ref()) == Some(a))
    }
}

#[cfg(test)]
mod tests;
