//! What lies in an initramfs, read as the kernel unpacks it.
//!
//! Linux, Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c: cpio archives one after the other, each
//! as it is or packed, with zeros between them. CPUs' microcode stands first, as it is, so that the kernel finds it before it can
//! unpack anything.
//!
//! ```text
//! initramfs := { zeros | archive | packed(zeros | archive …) }        an archive as it is begins at a multiple of 4
//! archive   := { header | name NUL | pad to 4 | data | pad to 4 } … TRAILER!!!
//! ```
//! Read: cpio "newc" (070701) and "crc" (070702); gzip, zstd, xz, lzma and lz4's legacy frames, each stream by itself, as the kernel
//! has it: junk behind one is an error. bzip2 and lzo, which no initramfs tool takes unasked, are recognised and not unpacked.
//! Refused as the kernel refuses it: lz4's present-day frames, xz with another checksum than CRC32, cpio of the old kinds.
//!
//! Nothing is believed and nothing kept: entries are given to a visitor one by one, what they unpack to is bounded.

mod cpio;
mod format;
#[cfg(test)]
pub(crate) mod tests;
mod unpack;

use crate::error::{Error, Result};
use crate::units::MIB;
use std::io::{BufRead as _, Read};
use std::ops::ControlFlow;

use crate::text::words;
use cpio::Archives;
use unpack::Input;

/// The bytes of a file's beginning that [`Entry::head`] has: enough for the header of an ELF file.
pub const HEAD_MAX_BYTES: usize = 64;
/// Archives and packed streams that a [`Summary`] lists; there are two or three.
const SEGMENTS_MAX: usize = 1024;

/// Limits on what an initramfs may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of all archives: 1 GiB. An instance of the smallest kind has 512 MiB of memory for them.
    pub unpacked_bytes: u64,
    /// Entries of all archives: 500,000.
    pub entries: u64,
    /// The window of a zstd frame and the dictionary of an xz or lzma stream: 128 MiB, which is the kernel's limit for zstd.
    pub window_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 1024 * MIB, entries: 500_000, window_bytes: 128 * MIB }
    }
}

/// How archives are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz File Format.
    Xz,
    /// The .lzma format of the LZMA SDK.
    Lzma,
    /// lz4's legacy frame.
    Lz4,
    /// bzip2, which is not unpacked here.
    Bzip2,
    /// lzop, which is not unpacked here.
    Lzo,
}

words!(Packing, "a packing", [Plain = "cpio", Gzip = "gzip", Zstd = "zstd", Xz = "xz", Lzma = "lzma", Lz4 = "lz4", Bzip2 = "bzip2", Lzo = "lzo"]);

impl Packing {
    /// What begins with these bytes (lib/decompress.c, `compressed_formats`).
    fn of(head: &[u8]) -> Option<Self> {
        Some(match head {
            [0x1f, 0x8b | 0x9e, ..] => Self::Gzip,
            [0x28, 0xb5, ..] => Self::Zstd,
            [0xfd, 0x37, ..] => Self::Xz,
            [0x5d, 0x00, ..] => Self::Lzma,
            [0x02, 0x21, ..] => Self::Lz4,
            [b'B', b'Z', ..] => Self::Bzip2,
            [0x89, 0x4c, ..] => Self::Lzo,
            _ => return None,
        })
    }

    /// The kernel's setting without which it cannot unpack this; none for plain archives.
    #[must_use]
    pub const fn kernel_setting(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Gzip => "CONFIG_RD_GZIP",
            Self::Zstd => "CONFIG_RD_ZSTD",
            Self::Xz => "CONFIG_RD_XZ",
            Self::Lzma => "CONFIG_RD_LZMA",
            Self::Lz4 => "CONFIG_RD_LZ4",
            Self::Bzip2 => "CONFIG_RD_BZIP2",
            Self::Lzo => "CONFIG_RD_LZO",
        })
    }
}

/// An entry of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// Its name, as it stands there.
    pub name: &'a [u8],
    /// Type and permissions (`st_mode`).
    pub mode: u32,
    /// The length of its data.
    pub size_bytes: u64,
    /// The first bytes of its data, at most [`HEAD_MAX_BYTES`].
    pub head: &'a [u8],
}

/// A run of archives that is packed in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Where it begins.
    pub offset_bytes: u64,
    /// How it is packed.
    pub packing: Packing,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The runs of archives in their order.
    pub segments: Vec<Segment>,
    /// Entries of all archives, without their ends (`TRAILER!!!`).
    pub entries: u64,
    /// Bytes of all archives.
    pub unpacked_bytes: u64,
}

/// Reads an initramfs to its end and gives each entry to `visit`, which may stop it.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt): what the kernel would not unpack, with the offset; [`Unsupported`](crate::ErrorKind::Unsupported):
/// a packing that is not unpacked here; [`LimitExceeded`](crate::ErrorKind::LimitExceeded); those of `input` and of `visit`.
pub fn read(input: impl Read, limits: &Limits, mut visit: impl FnMut(&Entry<'_>) -> Result<ControlFlow<()>>) -> Result<Summary> {
    let mut input = Input::new(input);
    let mut summary = Summary::default();
    while let Some(first) = input.skip_zeros()? {
        let offset_bytes = input.offset_bytes();
        let packing = if first == b'0' { Some(Packing::Plain) } else { Packing::of(input.peek(6)?) };
        let Some(packing) = packing else { return Err(unknown(input.peek(6)?).at_offset(offset_bytes)) };
        if summary.segments.len() == SEGMENTS_MAX {
            return Err(Error::limit(format!("an initramfs of over {SEGMENTS_MAX} archives")).at_offset(offset_bytes));
        }
        let after_plain = summary.segments.last().is_some_and(|segment| segment.packing == Packing::Plain);
        if (packing == Packing::Plain || after_plain) && !offset_bytes.is_multiple_of(4) {
            return Err(Error::corrupt("an archive that does not begin at a multiple of 4 (the kernel: \"broken padding\")").at_offset(offset_bytes));
        }
        summary.segments.push(Segment { offset_bytes, packing });
        let flow = if packing == Packing::Plain {
            let mut archives = Archives::new(&mut input, offset_bytes, limits, &mut summary, &mut visit);
            archives.one(true)
        } else {
            let mut unpacked = std::io::BufReader::with_capacity(64 << 10, unpack::stream(&mut input, packing, limits)?);
            let flow = Archives::new(&mut unpacked, 0, limits, &mut summary, &mut visit).all();
            flow.map_err(|error| in_segment(error, packing, offset_bytes))
        };
        // How far behind its end an lzma stream was read is the decoder's own affair: what lies there is not looked at.
        if flow?.is_break() || packing == Packing::Lzma {
            return Ok(summary);
        }
    }
    if summary.segments.is_empty() {
        return Err(Error::corrupt("no archive in it: it is empty").at_offset(0));
    }
    Ok(summary)
}

/// An error in unpacked data: the offset there says little, the one in the file tells where to look.
fn in_segment(error: Error, packing: Packing, offset_bytes: u64) -> Error {
    let own = matches!(error.kind(), crate::ErrorKind::Corrupt | crate::ErrorKind::LimitExceeded);
    if own { error.within(format!("the {packing} stream at offset {offset_bytes}, unpacked")) } else { error }
}

/// The error for bytes that begin nothing that the kernel knows.
fn unknown(head: &[u8]) -> Error {
    match head {
        [0x04, 0x22, 0x4d, 0x18, ..] => Error::corrupt("an lz4 frame of the present-day kind; the kernel takes legacy frames alone (`lz4 -l`)"),
        [0xc7, 0x71, ..] | [0x71, 0xc7, ..] => Error::corrupt("a cpio archive of the old binary kind; the kernel takes newc alone (`cpio -H newc`)"),
        _ => Error::corrupt("neither a cpio archive nor packed in a way that the kernel knows (the kernel: \"invalid magic at start of compressed archive\")"),
    }
}

impl<R: Read> Input<R> {
    /// Passes over zeros and gives the byte behind them; none at the end.
    fn skip_zeros(&mut self) -> Result<Option<u8>> {
        loop {
            let bytes = self.fill_buf().map_err(|error| crate::compressed::unwrap_io("cannot read the initramfs", error))?;
            match bytes.iter().position(|byte| *byte != 0) {
                _ if bytes.is_empty() => return Ok(None),
                Some(at) => {
                    let byte = bytes[at];
                    self.consume(at);
                    return Ok(Some(byte));
                }
                None => {
                    let count = bytes.len();
                    self.consume(count);
                }
            }
        }
    }
}
