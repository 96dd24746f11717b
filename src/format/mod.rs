//! Containers of disk images: each is planned from what is allocated, written upwards without a seek, and opened.
//!
//! A format neither reads nor writes files while it encodes: blocks go in, [`Piece`]s of the file come out, in the
//! file's order. So every format goes to every output, a pipe too. It knows nothing of filesystems, tables or hashes.
//!
//! | name | file | opened |
//! |---|---|---|
//! | `raw` | the disk's bytes | yes; also in gzip, zstd or xz, unpacked once |
//! | `vhd` | dynamic VHD, blocks of 2 MiB: only allocated ones are in the file | dynamic and fixed; differencing where its parents are given |
//! | `vhd-fixed` | the disk's bytes and a footer | yes |
//!
//! What is opened is told by its magic or by whoever opens it, never by looking into the guest's data: a file that looks like a container
//! that is not read is refused by name, unless it is said to be raw. Nothing that an image names is opened.
//!
//! A new format is a file here, a variant of [`Format`] and an arm in [`plan`] (and in [`open_file`], if it is read).

mod foreign;
mod holes;
mod raw;
mod read;
mod unpacked;
mod vhd;

pub use foreign::{MAGIC_BYTES, not_raw};
pub use read::{DiskReader, OpenOptions, Wrapping, open, open_file, open_reader, open_with};
pub use vhd::VHD_MAX_BYTES;

use crate::error::Result;
use crate::guid::Guid;
use crate::layout::AllocationMap;
use crate::text::words;
use crate::units::BlockIndex;
use std::fmt;
use std::path::Path;

/// The container of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// VHD, dynamic: what one uploads.
    Vhd,
    /// VHD, fixed.
    VhdFixed,
}

impl Format {
    /// The format that a file name's extension stands for: `.vhd`, `.raw` and `.img`, in any case.
    #[must_use]
    pub fn from_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "vhd" => Some(Self::Vhd),
            "raw" | "img" => Some(Self::Raw),
            _ => None,
        }
    }
}

words!(Format, "a format", [Raw = "raw", Vhd = "vhd", VhdFixed = "vhd-fixed"]);

/// What makes two images of the same disk differ: nothing here is taken from a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The container's own identifier, where it has one.
    pub id: Guid,
    /// When the image was made, seconds since 1970-01-01T00:00:00Z; clamped to what the format can say.
    pub created: i64,
}

/// A part of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes that read as zero.
    Zeros(u64),
    /// So many bytes that nobody reads: zero in a new file, whatever there is on a device.
    Unused(u64),
}

/// Where pieces of the file go, in the file's order.
pub type Emit<'a> = dyn FnMut(Piece<'_>) -> Result<()> + 'a;

/// How a block was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// The block's own bytes are what the file holds.
    Verbatim,
    /// The encoded bytes lie in the buffer that came with it.
    InBuffer,
}

/// The part of a format that needs one block only, and so runs on many threads.
pub trait BlockEncoder: Send + Sync {
    /// Encodes the block `index`, into `out` (empty, reused) if not verbatim.
    fn encode(&self, index: BlockIndex, block: &[u8], out: &mut Vec<u8>) -> Encoded;

    /// Whether equal blocks are encoded alike wherever they lie, so that one can stand for the others.
    fn is_alike_everywhere(&self) -> bool {
        false
    }
}

/// The encoder of formats that store blocks as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verbatim;

impl BlockEncoder for Verbatim {
    fn encode(&self, _index: BlockIndex, _block: &[u8], _out: &mut Vec<u8>) -> Encoded {
        Encoded::Verbatim
    }

    fn is_alike_everywhere(&self) -> bool {
        true
    }
}

/// The part of a format that needs the order. All blocks of the disk come once, ascending, from 0 to the end:
/// one by one with their bytes, or as runs without.
///
/// # Errors
/// Every call gives those of `emit`.
pub trait ImageWriter: Send {
    /// What precedes the first block.
    fn begin(&mut self, emit: &mut Emit<'_>) -> Result<()>;
    /// A block with its bytes (the last one may be short), encoded by the format's [`BlockEncoder`].
    fn data(&mut self, index: BlockIndex, encoded: &[u8], emit: &mut Emit<'_>) -> Result<()>;
    /// `count` blocks that read as zero.
    fn zeros(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()>;
    /// `count` blocks that nobody reads.
    fn unused(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()>;
    /// What follows the last block.
    fn finish(&mut self, emit: &mut Emit<'_>) -> Result<()>;
}

/// An image file, planned.
pub struct ImagePlan {
    /// Its format.
    pub format: Format,
    /// Length of the file, where it is known before the contents are.
    pub size_bytes: Option<u64>,
    /// Runs on many threads.
    pub encoder: Box<dyn BlockEncoder>,
    /// Runs in order.
    pub writer: Box<dyn ImageWriter>,
}

impl fmt::Debug for ImagePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImagePlan").field("format", &self.format).field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

/// Plans the file that holds the disk of `map`.
///
/// # Errors
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) where the disk is larger than the format can hold,
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) where its size is no whole number of the format's sectors.
pub fn plan(format: Format, map: &AllocationMap, identity: &Identity) -> Result<ImagePlan> {
    match format {
        Format::Raw => Ok(raw::plan(map)),
        Format::Vhd => vhd::plan_dynamic(map, identity),
        Format::VhdFixed => vhd::plan_fixed(map, identity),
    }
}

/// The bytes of `count` blocks from `first` of a disk of `size_bytes`, of which the last block may be short.
fn run_bytes(first: BlockIndex, count: u64, size_bytes: u64) -> u64 {
    let end = BlockIndex(first.0 + count).offset_bytes().min(size_bytes);
    end.saturating_sub(first.offset_bytes())
}

#[cfg(test)]
mod tests;
