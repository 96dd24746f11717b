//! A file that appears under its name only when it is whole.
//!
//! A temporary file in the same folder takes the bytes; committing renames it. Whatever fails before leaves what stood
//! under the name as it was, and nothing beside it.

use super::{Output, cannot_write};
use crate::error::{Error, ErrorKind, Result};
use crate::units::u64_of;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many names of temporary files are tried. Names are taken only by processes of the same number that were killed.
const TEMPORARY_NAMES_MAX: u32 = 10_000;

/// Numbers the temporary files of this process; no byte of an image depends on it.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// A file that replaces what stands under its name at once, when it is whole. Zeros become holes.
///
/// The file is made when this is: a folder that cannot be written to is an error before the long work. Dropping it
/// without [`AtomicFile::commit`] leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    force: bool,
    /// `None` once it has the target's name.
    temporary: Option<PathBuf>,
    file: File,
    /// Bytes written and passed over.
    position: u64,
    /// Bytes passed over since the last written one.
    hole_bytes: u64,
    /// Whether the disk has all that was written.
    is_finished: bool,
}

impl AtomicFile {
    /// A file that will stand at `path`. Its mode is what the process's umask leaves of 0666, or that of the regular
    /// file that it replaces. A symlink is replaced, not followed.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] where something is there and `force` is not given; [`ErrorKind::InvalidInput`] where that is no
    /// regular file or symlink; I/O.
    pub fn create(path: impl AsRef<Path>, force: bool) -> Result<Self> {
        let target = path.as_ref();
        Self::create_beside(target, force).map_err(|error| error.at_path(target.as_os_str().as_encoded_bytes()))
    }

    fn create_beside(target: &Path, force: bool) -> Result<Self> {
        let replaced = check_target(target, force)?;
        if target.file_name().is_none() {
            return Err(Error::invalid("this names no file"));
        }
        let (temporary, file) = create_temporary(folder(target))?;
        let this = Self { target: target.to_owned(), force, temporary: Some(temporary), file, position: 0, hole_bytes: 0, is_finished: false };
        if let Some(permissions) = replaced {
            this.file.set_permissions(permissions).map_err(|error| Error::io("cannot give the new file the old one's mode", error))?;
        }
        Ok(this)
    }

    fn skip(&mut self, len_bytes: u64) -> Result<()> {
        self.is_finished = false;
        self.hole_bytes += len_bytes;
        self.position = self.position.checked_add(len_bytes).ok_or_else(|| Error::limit("a file over 2^64 bytes"))?;
        Ok(())
    }

    /// Gives the file its name and waits until the folder has it; finishes it first, if that was not done.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] where something came under the name meanwhile and `force` was not given; I/O.
    pub fn commit(mut self) -> Result<()> {
        self.rename().map_err(|error| error.at_path(self.target.as_os_str().as_encoded_bytes()))
    }

    fn rename(&mut self) -> Result<()> {
        if !self.is_finished {
            self.finish()?;
        }
        let Some(temporary) = &self.temporary else { return Ok(()) };
        if self.force {
            fs::rename(temporary, &self.target).map_err(|error| Error::io("cannot give the output its name", error))?;
        } else {
            rename_to_new(temporary, &self.target)?;
        }
        self.temporary = None;
        sync_folder(folder(&self.target))
    }
}

impl Output for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.is_finished = false;
        if bytes.is_empty() {
            return Ok(());
        }
        if self.hole_bytes > 0 {
            self.file.seek(SeekFrom::Start(self.position)).map_err(cannot_write)?;
            self.hole_bytes = 0;
        }
        self.file.write_all(bytes).map_err(cannot_write)?;
        self.position += u64_of(bytes.len());
        Ok(())
    }

    fn zeros(&mut self, len_bytes: u64) -> Result<()> {
        self.skip(len_bytes)
    }

    fn unused(&mut self, len_bytes: u64) -> Result<()> {
        self.skip(len_bytes)
    }

    fn finish(&mut self) -> Result<()> {
        if self.hole_bytes > 0 {
            self.file.set_len(self.position).map_err(cannot_write)?;
        }
        self.file.sync_all().map_err(cannot_write)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // There is nobody to tell: the error that led here is the one that counts.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The folder that `target` stands in.
fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses what must not be replaced; gives the mode of a regular file that may be.
fn check_target(target: &Path, force: bool) -> Result<Option<fs::Permissions>> {
    let metadata = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot look at the output's place", error)),
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Error::invalid("the output is a folder; a file name was expected"));
    }
    if !kind.is_file() && !kind.is_symlink() {
        return Err(Error::invalid("the output is a device, pipe or socket and would be replaced by a file; to write to a block device, say so"));
    }
    if !force {
        return Err(exists());
    }
    // Elsewhere permissions are a read-only mark, which would stand in the way of removing a half-written file.
    Ok((cfg!(unix) && kind.is_file()).then(|| metadata.permissions()))
}

fn exists() -> Error {
    Error::new(ErrorKind::Exists, "the output exists already, and replacing it was not asked for")
}

/// Makes a file in `folder` that was not there.
fn create_temporary(folder: &Path) -> Result<(PathBuf, File)> {
    for _ in 0..TEMPORARY_NAMES_MAX {
        let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
        // Not made of the target's name, which may be as long as names can be.
        let name = OsString::from(format!(".rootvol-{}-{number}.tmp", std::process::id()));
        let path = folder.join(name);
        // The kernel takes the umask and the folder's default ACL off the mode; so no umask has to be asked for.
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("cannot make a file in the output's folder", error)),
        }
    }
    Err(Error::new(ErrorKind::Exists, "the output's folder is full of temporary files (.rootvol-*.tmp) of processes that were killed: remove them"))
}

/// Renames and never replaces.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_to_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(exists()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_after_look(from, to),
        Err(error) => Err(Error::io("cannot give the output its name", error.into())),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_to_new(from: &Path, to: &Path) -> Result<()> {
    rename_after_look(from, to)
}

/// For filesystems and systems that cannot refuse by themselves.
fn rename_after_look(from: &Path, to: &Path) -> Result<()> {
    check_target(to, false)?;
    fs::rename(from, to).map_err(|error| Error::io("cannot give the output its name", error))
}

/// Waits until `folder` itself is on the disk, where a folder can be opened for that.
fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::io("cannot sync the output's folder", error))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
