//! Reading FAT volumes.

mod probe;

pub use probe::probe;

use crate::content::ReadAt;
use crate::error::Result;
use crate::fs::existing::{ReadFilesystem, ReadOptions};
use std::sync::Arc;

/// Reads a FAT volume; `None` if `disk` holds none.
///
/// # Errors
/// As [`crate::fs::read`].
pub fn read(disk: &Arc<dyn ReadAt>, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
    let _ = (disk, options);
    Ok(None)
}
