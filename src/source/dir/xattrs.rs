//! Extended attributes of what lies in an open directory.

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::error::Error;
use crate::error::Result;
use crate::tree::Xattr;
use rustix::fd::BorrowedFd;
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Reads attributes; keeps its buffers from one entry to the next.
#[derive(Debug)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "only Linux's attributes are read"))]
pub(super) struct XattrReader {
    buffer: Vec<u8>,
    way: Way,
}

/// How an entry of an open directory is named to calls that take paths alone: there is no llistxattrat before Linux 6.13.
#[derive(Debug)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "only Linux's attributes are read"))]
enum Way {
    /// By this directory of this process's open files in /proc; as safe as a handle: it leads to the directory that is open,
    /// whatever its path has become.
    OpenFiles(String),
    /// By the path of the source, where there is no /proc.
    Source(PathBuf),
}

impl XattrReader {
    /// For the source at `root`.
    pub(super) fn new(root: &Path) -> Self {
        // /proc/self is a link that would be followed anew for every entry.
        let own = std::fs::read_link("/proc/self").ok().and_then(|number| Some(format!("/proc/{}/fd", number.to_str()?)));
        let way = own.filter(|own| Path::new(own).is_dir()).map_or_else(|| Way::Source(root.to_path_buf()), Way::OpenFiles);
        Self { buffer: Vec::new(), way }
    }

    /// The attributes of `name` in `directory` (of `directory` itself where it is empty), which is at `path` below the
    /// root.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn read(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Vec<Xattr>> {
        use rustix::fd::AsRawFd as _;
        use std::os::unix::ffi::OsStrExt as _;
        let (mut full, name) = match &self.way {
            Way::OpenFiles(files) => (format!("{files}/{}/", directory.as_raw_fd()).into_bytes(), name),
            Way::Source(source) => ([source.as_os_str().as_bytes(), b"/"].concat(), path),
        };
        full.extend_from_slice(if name.is_empty() { b"." } else { name });
        let path = full.as_slice();
        let names = match filled(&mut self.buffer, |buffer| rustix::fs::llistxattr(path, buffer)) {
            Ok([]) => return Ok(Vec::new()),
            Ok(names) => names.to_vec(),
            // The filesystem has none.
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot list its extended attributes", error.into())),
        };
        let mut xattrs = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match filled(&mut self.buffer, |buffer| rustix::fs::lgetxattr(path, name, buffer)) {
                Ok(value) => xattrs.push(Xattr::new(name, value)),
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

/// What `read` puts into the buffer, which is made larger where it has to be. It begins small, because the kernel takes memory
/// for the whole of it at each call.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn filled(buffer: &mut Vec<u8>, read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<&[u8]> {
    const USUAL_BYTES: usize = 1024;
    // Linux's XATTR_LIST_MAX and XATTR_SIZE_MAX.
    const MOST_BYTES: usize = 65_536;
    buffer.resize(MOST_BYTES, 0);
    let length = match read(&mut buffer[..USUAL_BYTES]) {
        Err(Errno::RANGE) => read(&mut buffer[..])?,
        result => result?,
    };
    Ok(&buffer[..length])
}
