//! Extended attributes of what lies in an open directory.

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::error::Error;
use crate::error::Result;
use crate::tree::Xattr;
use rustix::fd::BorrowedFd;
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Reads the attributes of what is in one folder after the other; keeps its buffers.
#[derive(Debug, Clone)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "only Linux's attributes are read"))]
pub(super) struct XattrReader {
    buffer: Vec<u8>,
    way: Way,
    /// The path of an entry of the folder, from where calls find it, and how much of it is the folder's.
    path: Vec<u8>,
    beginning: usize,
}

/// How an entry of an open directory is named to calls that take paths alone: there is no llistxattrat before Linux 6.13.
#[derive(Debug, Clone)]
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
        Self { buffer: Vec::new(), way, path: Vec::new(), beginning: 0 }
    }

    /// Goes on with `directory`, which is at `path` below the root and stays open.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn enter(&mut self, directory: BorrowedFd<'_>, path: &[u8]) {
        use rustix::fd::AsRawFd as _;
        use std::os::unix::ffi::OsStrExt as _;
        self.path = match &self.way {
            Way::OpenFiles(files) => format!("{files}/{}/", directory.as_raw_fd()).into_bytes(),
            Way::Source(source) => [source.as_os_str().as_bytes(), b"/", path, b"/"].concat(),
        };
        self.beginning = self.path.len();
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn enter(&mut self, _directory: BorrowedFd<'_>, _path: &[u8]) {}

    /// The attributes of `name` in the folder; of the folder itself where it is empty.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn read(&mut self, name: &[u8]) -> Result<Vec<Xattr>> {
        self.path.truncate(self.beginning);
        self.path.extend_from_slice(if name.is_empty() { b"." } else { name });
        let path = self.path.as_slice();
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
    pub(super) fn read(&mut self, _name: &[u8]) -> Result<Vec<Xattr>> {
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
