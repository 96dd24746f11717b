//! Directories: scanned once, read file by file when their contents are needed.
//!
//! Nothing is followed: every name is looked at by `lstat`, every file opened below the root without passing a
//! symbolic link, so that a tree that somebody else writes to cannot lead outside. What a file was at the scan it must
//! be when it is read: which file, size, time of the last change.
//!
//! Of Linux's attributes all are read that the caller may read: `trusted.*` shows to root alone. On other systems
//! extended attributes are not read, which is noted; on those that are not Unix directories are refused.

#[cfg(unix)]
mod beneath;
#[cfg(unix)]
mod crew;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod look;
#[cfg(unix)]
mod scan;
#[cfg(unix)]
mod xattrs;

use super::Source;
use super::options::Options;
use crate::error::Result;
use std::path::Path;

/// Reads the tree in the directory `path`.
#[cfg(unix)]
pub(super) fn open(path: &Path, options: &Options) -> Result<Source> {
    scan::open(path, options)
}

/// Says what to do where a directory has no owners and modes.
#[cfg(not(unix))]
pub(super) fn open(path: &Path, _options: &Options) -> Result<Source> {
    let message = "a directory has no owners, modes or devices on this system; give a tar instead";
    Err(crate::Error::unsupported(message).at_path(path.as_os_str().as_encoded_bytes()))
}
