//! Reading a file at a position, without moving anybody's cursor: what lets many threads share one handle.

use crate::units::u64_of;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};

/// Fills `out` from `offset_bytes` of `file`.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] where the file ends before that; what the system reports.
pub(crate) fn read_exact_at(file: &File, mut offset_bytes: u64, mut out: &mut [u8]) -> Result<()> {
    while !out.is_empty() {
        match read_at(file, offset_bytes, out) {
            Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(count) => {
                offset_bytes += u64_of(count);
                out = &mut out[count..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what there is at `offset_bytes`, once; 0 at the end of the file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset_bytes)
}

/// Reads what there is at `offset_bytes`, once; 0 at the end of the file. Moves the cursor, which nobody here uses.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset_bytes)
}
