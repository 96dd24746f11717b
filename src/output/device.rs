//! A block device, written in place.

use super::{Output, cannot_write, write_zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::units::{Size, u64_of};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A block device, written in place: data and zeros are written, what nobody reads is left as it is.
#[derive(Debug)]
pub struct Device {
    file: File,
    position: u64,
    /// Whether the next bytes do not follow the last written ones.
    has_skipped: bool,
}

impl Device {
    /// Opens the block device at `path` for an image of `size_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it is no block device,
    /// [`ErrorKind::TooSmall`](ErrorKind::TooSmall), I/O; on Linux a device that is mounted or otherwise in use.
    pub fn open(path: impl AsRef<Path>, size_bytes: u64) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let file = open_block_device(path).map_err(named)?;
        Self::new(file, size_bytes).map_err(named)
    }

    fn new(mut file: File, size_bytes: u64) -> Result<Self> {
        let available = file.seek(SeekFrom::End(0)).map_err(|error| Error::io("cannot find the device's size", error))?;
        if available < size_bytes {
            let message = format!("the image needs {} and the device has {}", Size::bytes(size_bytes), Size::bytes(available));
            return Err(Error::new(ErrorKind::TooSmall { needed: size_bytes, available }, message));
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| Error::io("cannot go to the device's begin", error))?;
        Ok(Self { file, position: 0, has_skipped: false })
    }

    fn seek(&mut self) -> Result<()> {
        if self.has_skipped {
            self.file.seek(SeekFrom::Start(self.position)).map_err(cannot_write)?;
            self.has_skipped = false;
        }
        Ok(())
    }
}

#[cfg(unix)]
fn open_block_device(path: &Path) -> Result<File> {
    use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
    let not_one = || Error::invalid("writing in place was asked for, and this is no block device");
    let metadata = std::fs::metadata(path).map_err(|error| Error::io("cannot look at the device", error))?;
    if !metadata.file_type().is_block_device() {
        return Err(not_one());
    }
    // Exclusive: Linux refuses a block device that is mounted.
    let flags = rustix::fs::OFlags::EXCL.bits().try_into().unwrap_or(0);
    let file = File::options().write(true).custom_flags(flags).open(path).map_err(|error| Error::io("cannot open the device for writing", error))?;
    let metadata = file.metadata().map_err(|error| Error::io("cannot look at the device", error))?;
    if metadata.file_type().is_block_device() { Ok(file) } else { Err(not_one()) }
}

#[cfg(not(unix))]
fn open_block_device(_path: &Path) -> Result<File> {
    Err(Error::unsupported("writing to a block device in place works on Unix only"))
}

impl Output for Device {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.seek()?;
        self.file.write_all(bytes).map_err(cannot_write)?;
        self.position += u64_of(bytes.len());
        Ok(())
    }

    fn zeros(&mut self, len_bytes: u64) -> Result<()> {
        self.seek()?;
        write_zeros(&mut self.file, len_bytes)?;
        self.position += len_bytes;
        Ok(())
    }

    fn unused(&mut self, len_bytes: u64) -> Result<()> {
        self.position = self.position.checked_add(len_bytes).ok_or_else(|| Error::limit("a device over 2^64 bytes"))?;
        self.has_skipped = true;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.file.sync_all().map_err(cannot_write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_zeros_are_written_and_unused_bytes_stay() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100]).unwrap();
        let mut device = Device::new(file.try_clone().unwrap(), 100).unwrap();
        device.write(&[1; 10]).unwrap();
        device.unused(20).unwrap();
        device.zeros(10).unwrap();
        device.unused(5).unwrap();
        device.write(&[2; 5]).unwrap();
        device.finish().unwrap();
        let expected = [vec![1; 10], vec![7; 20], vec![0; 10], vec![7; 5], vec![2; 5], vec![7; 50]].concat();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_device_that_is_too_small_or_none_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let kind = Device::new(file, 100).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::TooSmall { needed: 100, available: 0 });
        let regular = tempfile::NamedTempFile::new().unwrap();
        for path in [regular.path(), Path::new("/dev/null"), Path::new("/nonexistent/device")] {
            assert!(Device::open(path, 0).is_err(), "{}", path.display());
        }
    }
}
