//! Compressed input: recognised by its magic, read as one stream, held to limits.
//!
//! RFC 1952 (gzip), RFC 8878 (zstd), "The .xz File Format" 1.2.1. Several members, frames or streams one after the
//! other are one input, as their own tools have it. Whatever else follows is an error, and so is an end before the
//! end. The checksums that the format has are checked; a limit on the ratio and on the total ends a bomb.

mod xz;
#[cfg(feature = "zstd")]
mod zstd;

use crate::error::{Error, ErrorKind, Result};
use crate::units::{MIB, Size, TIB, u64_of};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// Windows and dictionaries up to this are part of what this library promises to need; larger ones are noted.
const WINDOW_UNNOTED_BYTES: u64 = 8 * MIB;
/// The ratio is looked at from here on: small inputs of zeros reach any ratio.
const RATIO_FROM_BYTES: u64 = 64 * MIB;
/// Compressed bytes that are read at once.
const INPUT_BYTES: usize = 128 * 1024;

/// Limits on what compressed input may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes that an input may expand to: 4 TiB.
    pub decompressed_bytes: u64,
    /// How many times its compressed size an input may expand to (looked at from 64 MiB on): 1,000.
    pub decompression_ratio: u64,
    /// The largest window of a zstd frame: 128 MiB, what `zstd` itself accepts unasked. Over 8 MiB is noted.
    pub zstd_window_bytes: u64,
    /// The largest dictionary of an xz block: 128 MiB; `xz -9` has 64. Over 8 MiB is noted.
    pub xz_dictionary_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { decompressed_bytes: 4 * TIB, decompression_ratio: 1000, zstd_window_bytes: 128 * MIB, xz_dictionary_bytes: 128 * MIB }
    }
}

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz File Format.
    Xz,
}

impl Compression {
    /// What `head`, the first bytes of an input, is compressed with.
    ///
    /// # Errors
    /// A compression that is known but not read.
    pub fn of(head: &[u8]) -> Result<Option<Self>> {
        let others: [(&[u8], &str, &str); 5] = [
            (b"BZh", "bzip2", "bzcat"),
            (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
            (b"LZIP", "lzip", "lzip -dc"),
            (b"\x5d\x00\x00", "lzma", "xz --format=lzma -dc"),
            (b"\x1f\x9d", "compress", "zcat"),
        ];
        if let Some((_, name, tool)) = others.iter().find(|(magic, _, _)| head.starts_with(magic)) {
            return Err(Error::unsupported(format!("compressed with {name}, which is not read here; unpack it first: `{tool} FILE`")));
        }
        Ok(match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // A zstd frame, or one of the sixteen kinds of skippable frames.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        })
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }
}

/// A decompressor over a reader, within limits: it reads as what was compressed. Its errors carry ours inside, which [`unwrap_io`] takes out.
pub struct Decompressed<'a> {
    inner: Box<dyn Read + 'a>,
    compression: Compression,
    limits: Limits,
    compressed: Rc<Cell<u64>>,
    window: Rc<Cell<u64>>,
    produced: u64,
}

impl<'a> Decompressed<'a> {
    /// Unpacks what `reader` gives.
    ///
    /// # Errors
    /// A compression that this build leaves out.
    pub fn new(reader: impl Read + 'a, compression: Compression, limits: Limits) -> Result<Self> {
        let compressed = Rc::new(Cell::new(0));
        let window = Rc::new(Cell::new(0));
        let input = Compressed { reader, buffer: vec![0; INPUT_BYTES], start: 0, end: 0, count: Rc::clone(&compressed) };
        let inner: Box<dyn Read + 'a> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Xz => Box::new(xz::Reader::new(input, limits.xz_dictionary_bytes, Rc::clone(&window))),
            #[cfg(feature = "zstd")]
            Compression::Zstd => Box::new(zstd::Reader::new(input, limits.zstd_window_bytes, Rc::clone(&window))?),
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => return Err(Error::unsupported("compressed with zstd, which this build leaves out (feature `zstd`)")),
        };
        Ok(Self { inner, compression, limits, compressed, window, produced: 0 })
    }

    /// What to say about the memory that this took, where it was more than usual.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let window = self.window.get();
        (window > WINDOW_UNNOTED_BYTES).then(|| format!("the {} stream needs {} of memory to unpack", self.compression.name(), Size::bytes(window)))
    }

    fn check_limits(&self) -> Result<()> {
        if self.produced > self.limits.decompressed_bytes {
            return Err(Error::limit(format!("the {} stream unpacks to over {}", self.compression.name(), Size::bytes(self.limits.decompressed_bytes))));
        }
        let most = self.compressed.get().saturating_mul(self.limits.decompression_ratio);
        if self.produced > RATIO_FROM_BYTES && self.produced > most {
            return Err(Error::limit(format!(
                "the {} stream unpacks to over {} times its size; if it is meant, unpack it first",
                self.compression.name(),
                self.limits.decompression_ratio
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Decompressed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressed").field("compression", &self.compression).field("produced", &self.produced).finish_non_exhaustive()
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let count = loop {
            match self.inner.read(out) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Errors of the input carry our own error inside; all others are the decompressor's.
                Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => return Err(error),
                Err(error) => {
                    let at = self.compressed.get();
                    let message = match error.kind() {
                        io::ErrorKind::UnexpectedEof => format!("the {} stream is truncated after {at} compressed bytes", self.compression.name()),
                        _ => format!("the {} stream is damaged before its compressed byte {at}", self.compression.name()),
                    };
                    return Err(io::Error::other(Error::corrupt(message).caused_by(error)));
                }
            }
        };
        self.produced += u64_of(count);
        self.check_limits().map_err(io::Error::other)?;
        Ok(count)
    }
}

/// An I/O error as ours: the one that [`Decompressed`] put inside it, or one of kind Io.
pub fn unwrap_io(doing: &str, error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
        return inner.map_or_else(|| Error::new(ErrorKind::Io, doing), |inner| *inner);
    }
    Error::io(doing, error)
}

/// The compressed bytes, buffered and counted.
struct Compressed<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Compressed<R> {
    /// Reads on until `wanted` bytes are buffered or the input ends; returns what is buffered.
    #[cfg(feature = "zstd")]
    fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        debug_assert!(wanted <= INPUT_BYTES);
        if self.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted && self.read_more()? > 0 {}
        Ok(&self.buffer[self.start..self.end])
    }

    fn read_more(&mut self) -> io::Result<usize> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(unwrap_io("cannot read the compressed input", error))),
            }
        }
    }
}

impl<R: Read> Read for Compressed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Compressed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.count.set(self.count.get() + u64_of(count));
    }
}

#[cfg(test)]
mod tests;
