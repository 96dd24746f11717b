//! One file of the host as contents: what a recipe's `[[file]]` with a `source` takes.

use super::regular::RegularFile;
use crate::content::{Ahead, Contents};
use crate::error::{Error, Result};
use crate::units::ContentId;
use std::path::Path;

/// A regular file of the host, read when it is needed and checked to be as it was when it was opened.
#[derive(Debug)]
pub struct HostFile(RegularFile);

impl HostFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// Anything but a regular file, by its path.
    pub fn open(path: &Path) -> Result<Self> {
        RegularFile::open(path).map(Self)
    }

    /// Length in bytes when it was opened.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.size()
    }
}

impl Contents for HostFile {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        if id != ContentId(0) {
            return Err(Error::invalid(format!("contents {} of a single file", id.0)));
        }
        self.0.check_unchanged()?;
        self.0.read_exact_at(offset_bytes, out)?;
        self.0.check_unchanged()
    }

    fn prefetch(&self, wanted: &[Ahead]) {
        for ahead in wanted {
            self.0.read_ahead(ahead.offset_bytes, ahead.len_bytes);
        }
    }

    fn is_cold(&self) -> bool {
        self.0.is_cold()
    }
}
