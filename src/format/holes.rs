//! Holes of files: what the filesystem knows of a sparse file without reading it.

use std::fs::File;
use std::io::Result;
use std::ops::Range;

/// The first range from `offset_bytes` on that is no hole; `None` where only a hole is left. Where holes cannot be looked for
/// (on devices, on some filesystems) all that is left may be data. Moves the file's cursor, which nobody here uses.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn data_after(file: &File, offset_bytes: u64) -> Result<Option<Range<u64>>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let start = match seek(file, SeekFrom::Data(offset_bytes)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY | Errno::SPIPE) => return Ok(Some(offset_bytes..u64::MAX)),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok(Some(start..end))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn data_after(_file: &File, offset_bytes: u64) -> Result<Option<Range<u64>>> {
    Ok(Some(offset_bytes..u64::MAX))
}
