//! Opening disk images: the disk's bytes, by position.

use super::unpacked::UnpackedDisk;
use super::{Format, foreign, holes, vhd};
use crate::compressed;
use crate::content::{ReadAt, SpoolOptions, check_range};
use crate::error::{Error, ErrorKind, Result};
use crate::units::u64_of;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A disk in an image file, read by position from any thread.
pub trait DiskReader: ReadAt {
    /// The container that it lies in.
    fn format(&self) -> Format;

    /// What a person should know about the image: what it was unpacked from, a copy that is damaged.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// What keeps the file from being what it is read as: it was unpacked, or joined with others.
    fn wrapping(&self) -> Wrapping {
        Wrapping::None
    }

    /// Stops where the image is not as it was when it was opened, as far as its file's size and time tell.
    ///
    /// # Errors
    /// [`ErrorKind::SourceChanged`].
    fn check_unchanged(&self) -> Result<()> {
        Ok(())
    }
}

/// Whether a file is the disk by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrapping {
    /// It is.
    None,
    /// It is compressed, and the disk is what it unpacks to.
    Compressed,
    /// It is a differencing VHD, and the disk is what it and its parents make.
    Differencing,
}

/// How a disk image is opened. The default goes by the file's magic.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The container; `None`: as the magic tells. [`Format::Vhd`] and [`Format::VhdFixed`] both mean "a VHD": its footer says which.
    /// [`Format::Raw`] takes the bytes as they are, whatever they look like.
    pub format: Option<Format>,
    /// The parents of a differencing VHD, in any order: for each the one is taken whose identifier it names.
    pub vhd_parents: Vec<PathBuf>,
    /// Where a compressed image is kept that does not fit in memory. Without a folder [`open_with`] takes the image's own.
    pub spool: SpoolOptions,
    /// Limits on what a compressed image may ask for.
    pub limits: compressed::Limits,
}

impl OpenOptions {
    /// The default, with a format.
    #[must_use]
    pub fn of(format: Option<Format>) -> Self {
        Self { format, ..Self::default() }
    }
}

/// Opens the disk image at `path`. Without `format` its magic tells: a VHD, compressed, or raw. What looks like another container is
/// refused by name; with [`Format::Raw`] it is a raw disk.
///
/// [`Format::Vhd`] and [`Format::VhdFixed`] both mean "a VHD": its footer says which. Nothing that an image names is
/// ever opened.
///
/// # Errors
/// What is no regular file or block device, and what breaks its format.
pub fn open(path: impl AsRef<Path>, format: Option<Format>) -> Result<Box<dyn DiskReader>> {
    open_with(path, &OpenOptions::of(format))
}

/// [`open`] with parents of differencing VHDs and a place for what has to be unpacked.
///
/// # Errors
/// As [`open`]; parents that are missing, not wanted or not those that are named.
pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Box<dyn DiskReader>> {
    let path = path.as_ref();
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let file = open_readable(path).map_err(named)?;
    let mut options = options.clone();
    options.spool.folder.get_or_insert_with(|| {
        // The folder that has room for the compressed image is the best guess where none is named.
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
    });
    open_image(ImageFile::new(file).map_err(named)?, &options).map_err(named)
}

/// [`open`] for a file that is open already. What is compressed has to fit in the memory of a spool.
///
/// # Errors
/// What breaks its format, I/O.
pub fn open_file(file: File, format: Option<Format>) -> Result<Box<dyn DiskReader>> {
    open_image(ImageFile::new(file)?, &OpenOptions::of(format))
}

/// Reads a raw disk (also in gzip, zstd or xz) from a stream to its end, such as standard input. It is kept where
/// [`OpenOptions::spool`] says, without its zeros.
///
/// # Errors
/// A stream of another container; a format other than raw; what the stream reports; those of the spool.
pub fn open_reader(reader: &mut dyn io::Read, options: &OpenOptions) -> Result<Box<dyn DiskReader>> {
    if !matches!(options.format, None | Some(Format::Raw)) || !options.vhd_parents.is_empty() {
        return Err(Error::unsupported("a VHD is read by position and cannot come through a pipe; give the file"));
    }
    Ok(Box::new(UnpackedDisk::read(reader, options)?))
}

fn open_image(image: ImageFile, options: &OpenOptions) -> Result<Box<dyn DiskReader>> {
    let is_vhd = match options.format {
        Some(Format::Vhd | Format::VhdFixed) => true,
        Some(Format::Raw) => false,
        None => vhd::read::is_vhd(&image)?,
    };
    if is_vhd {
        return vhd::read::open(image, &options.vhd_parents);
    }
    if !options.vhd_parents.is_empty() {
        return Err(Error::invalid("the parent of a VHD was given, and this is none"));
    }
    match options.format {
        None if let Some(compression) = foreign::recognise(&image)? => Ok(Box::new(UnpackedDisk::open(&image, compression, options)?)),
        _ => Ok(Box::new(RawDisk { image })),
    }
}

/// Opens what can be read by position, without ever waiting for the other end of a pipe.
pub(super) fn open_readable(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().try_into().unwrap_or(0));
    }
    let file = options.open(path).map_err(|error| Error::io("cannot open", error))?;
    let kind = file.metadata().map_err(|error| Error::io("cannot look at the file", error))?.file_type();
    #[cfg(unix)]
    let is_device = std::os::unix::fs::FileTypeExt::is_block_device(&kind);
    #[cfg(not(unix))]
    let is_device = false;
    if kind.is_file() || is_device { Ok(file) } else { Err(Error::invalid("a disk image is a regular file or a block device, and this is neither")) }
}

/// An open file of known length.
pub(super) struct ImageFile {
    file: File,
    pub(super) len_bytes: u64,
    modified: Option<SystemTime>,
}

impl ImageFile {
    pub(super) fn new(mut file: File) -> Result<Self> {
        // The end, not the metadata: a block device has no length there.
        let len_bytes = io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(|error| Error::io("cannot find the file's length", error))?;
        let modified = modified(&file)?;
        Ok(Self { file, len_bytes, modified })
    }

    /// What of the first `end_bytes` is stored, from `offset_bytes` on (see [`ReadAt::stored_after`]).
    pub(super) fn stored_after(&self, offset_bytes: u64, end_bytes: u64) -> Result<Option<Range<u64>>> {
        if offset_bytes >= end_bytes {
            return Ok(None);
        }
        let range = holes::data_after(&self.file, offset_bytes).map_err(|error| Error::io("cannot look for holes", error).at_offset(offset_bytes))?;
        // A file that grew or shrank meanwhile is found by the reads and by the look at the end.
        Ok(range.map(|range| range.start..range.end.min(end_bytes)).filter(|range| !range.is_empty()))
    }

    pub(super) fn check_unchanged(&self) -> Result<()> {
        let changed = |how: String| Err(Error::new(ErrorKind::SourceChanged, how));
        let metadata = self.file.metadata().map_err(|error| Error::io("cannot look at the image", error))?;
        match modified(&self.file)? {
            _ if metadata.is_file() && metadata.len() != self.len_bytes => {
                changed(format!("had {} bytes when it was opened and has {} now", self.len_bytes, metadata.len()))
            }
            now if now != self.modified => changed("was written to while it was read".to_string()),
            _ => Ok(()),
        }
    }

    /// Fills `out` from the file's `offset_bytes`.
    pub(super) fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let at = offset_bytes.checked_add(u64_of(done)).ok_or_else(|| Error::corrupt("an offset over 2^64 in the image"))?;
            match read_at(&self.file, at, &mut out[done..]) {
                Ok(0) => return Err(Error::corrupt(format!("the image ends where {} more bytes were expected", out.len() - done)).at_offset(at)),
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read the image", error).at_offset(at)),
            }
        }
        Ok(())
    }
}

/// When the file was last written to; `None` of a device, whose time says nothing.
fn modified(file: &File) -> Result<Option<SystemTime>> {
    let metadata = file.metadata().map_err(|error| Error::io("cannot look at the image", error))?;
    Ok(metadata.is_file().then(|| metadata.modified().ok()).flatten())
}

#[cfg(unix)]
fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset_bytes)
}

#[cfg(windows)]
fn read_at(file: &File, offset_bytes: u64, out: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset_bytes)
}

struct RawDisk {
    image: ImageFile,
}

impl DiskReader for RawDisk {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn check_unchanged(&self) -> Result<()> {
        self.image.check_unchanged()
    }
}

impl ReadAt for RawDisk {
    fn size_bytes(&self) -> u64 {
        self.image.len_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.image.len_bytes)?;
        self.image.read_exact_at(offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        self.image.stored_after(offset_bytes, self.image.len_bytes)
    }
}
