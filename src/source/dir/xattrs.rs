//! Extended attributes of what lies in an open directory.

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::error::Error;
use crate::error::Result;
use crate::tree::Xattr;
use rustix::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Reads attributes; keeps its buffers from one entry to the next.
#[derive(Debug)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "only Linux's attributes are read"))]
pub(super) struct XattrReader {
    buffer: Vec<u8>,
    /// The path of the source, where there is no /proc to reach open directories through.
    base: Option<PathBuf>,
}

impl XattrReader {
    /// For the source at `root`.
    pub(super) fn new(root: &Path) -> Self {
        let has_proc = Path::new("/proc/self/fd").is_dir();
        Self { buffer: Vec::new(), base: (!has_proc).then(|| root.to_path_buf()) }
    }

    /// The attributes of `name` in `directory` (of `directory` itself where it is empty), which is at `path` below the
    /// root.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn read(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Vec<Xattr>> {
        use rustix::fd::AsRawFd as _;
        use rustix::io::Errno;
        use std::os::unix::ffi::OsStrExt as _;
        // Linux's XATTR_LIST_MAX and XATTR_SIZE_MAX.
        const MOST_BYTES: usize = 65_536;
        self.buffer.resize(2 * MOST_BYTES, 0);
        let (names, value) = self.buffer.split_at_mut(MOST_BYTES);
        // There is no llistxattrat before Linux 6.13; the handle's own link in /proc is as safe: it leads to the
        // directory that is open, whatever its path has become.
        let (mut way, name) = match &self.base {
            None => (format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes(), name),
            Some(base) => ([base.as_os_str().as_bytes(), b"/"].concat(), path),
        };
        way.extend_from_slice(if name.is_empty() { b"." } else { name });
        let path = way;
        let length = match rustix::fs::llistxattr(path.as_slice(), &mut *names) {
            Ok(length) => length,
            // The filesystem has none.
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot list its extended attributes", error.into())),
        };
        let mut xattrs = Vec::new();
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match rustix::fs::lgetxattr(path.as_slice(), name, &mut *value) {
                Ok(length) => xattrs.push(Xattr::new(name, &value[..length])),
                // Some are listed that are not there, such as labels where no security module is loaded.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(error) => {
                    return Err(Error::io(format!("cannot read its extended attribute {}", crate::error::escape(name)), error.into()));
                }
            }
        }
        Ok(xattrs)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn read(&mut self, _directory: BorrowedFd<'_>, _name: &[u8], _path: &[u8]) -> Result<Vec<Xattr>> {
        Ok(Vec::new())
    }
}
