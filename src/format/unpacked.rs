//! Raw disks in gzip, zstd or xz, or from a pipe. They are read once, into a spool that keeps what is not zero: a disk is read by
//! position, and a stream cannot be.

use super::read::{DiskReader, ImageFile, Wrapping};
use super::{Format, OpenOptions, foreign, vhd};
use crate::compressed::{Compression, Decompressed, unwrap_io};
use crate::content::{ReadAt, Spool, Spooled, check_range};
use crate::error::{Error, Result};
use crate::units::{KIB, u64_of, usize_of};
use std::io::{self, Read};
use std::ops::Range;

/// Zeros are left out in pieces of this size.
const PIECE_BYTES: u64 = 64 * KIB;

/// A raw disk that was unpacked.
pub(super) struct UnpackedDisk {
    spooled: Spooled,
    /// What is stored of the disk, ascending: where it begins, and where in the spool. Each ends where the next begins in the spool.
    runs: Vec<Run>,
    size_bytes: u64,
    notes: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    start: u64,
    spooled_at: u64,
}

impl UnpackedDisk {
    /// Unpacks all of `image`.
    ///
    /// # Errors
    /// A damaged or truncated stream, what is over a limit, a container inside; those of the spool.
    pub(super) fn open(image: &ImageFile, compression: Compression, options: &OpenOptions) -> Result<Self> {
        let mut file = FromBegin { image, offset: 0 };
        let unpacked = unpack(&mut file, compression, options);
        // A change explains damage better than the damage does.
        image.check_unchanged()?;
        unpacked
    }

    /// Reads a raw disk from a stream to its end, unpacked where its magic says that it is compressed.
    ///
    /// # Errors
    /// As [`UnpackedDisk::open`]; what the stream's first bytes say is no raw disk, unless the options say that it is.
    pub(super) fn read(mut stream: impl Read, options: &OpenOptions) -> Result<Self> {
        if options.format == Some(Format::Raw) {
            return spool(&mut stream, options, Vec::new());
        }
        let mut head = Vec::new();
        (&mut stream).take(foreign::MAGIC_BYTES).read_to_end(&mut head).map_err(|error| Error::io("cannot read", error))?;
        if let Some(name) = foreign::named(&head) {
            return Err(foreign::refused(name));
        }
        let compression = Compression::of(&head)?;
        let mut whole = head.as_slice().chain(stream);
        match compression {
            Some(compression) => unpack(&mut whole, compression, options),
            None => spool(&mut whole, options, Vec::new()),
        }
    }

    /// The part of the disk that a run stores.
    fn range(&self, index: usize) -> Range<u64> {
        let Run { start, spooled_at } = self.runs[index];
        let end = self.runs.get(index + 1).map_or(self.spooled.length(), |next| next.spooled_at);
        start..start + (end - spooled_at)
    }

    /// The first run that ends behind `offset_bytes`.
    fn run_after(&self, offset_bytes: u64) -> usize {
        let after = self.runs.partition_point(|run| run.start <= offset_bytes);
        after.checked_sub(1).filter(|before| self.range(*before).end > offset_bytes).unwrap_or(after)
    }
}

fn unpack(file: &mut dyn Read, compression: Compression, options: &OpenOptions) -> Result<UnpackedDisk> {
    let mut reader = Decompressed::new(file, compression, options.limits)?;
    let mut first = Vec::new();
    (&mut reader).take(foreign::MAGIC_BYTES).read_to_end(&mut first).map_err(|error| unwrap_io("cannot read the compressed image", error))?;
    if let Some(name) = foreign::named(&first) {
        return Err(nested(name, compression));
    }
    let mut disk = spool(&mut first.as_slice().chain(&mut reader), options, Vec::new())?;
    disk.notes = std::iter::once(format!("compressed with {}: unpacked to be read", compression.name())).chain(reader.note()).collect();
    // A fixed VHD shows at its end what it is.
    if let Some(footer_at) = disk.size_bytes.checked_sub(vhd::FOOTER_SIZE) {
        let mut cookie = [0; vhd::COOKIE.len()];
        disk.read_exact_at(footer_at, &mut cookie)?;
        if cookie == vhd::COOKIE {
            return Err(nested("a VHD", compression));
        }
    }
    Ok(disk)
}

/// Keeps what is not zero of a stream.
fn spool(reader: &mut dyn Read, options: &OpenOptions, notes: Vec<String>) -> Result<UnpackedDisk> {
    let mut spool = Spool::new(options.spool.clone());
    let mut runs: Vec<Run> = Vec::new();
    let mut piece = vec![0; usize_of(PIECE_BYTES)];
    let mut size_bytes = 0;
    loop {
        let len = fill(reader, &mut piece)?;
        let piece = &piece[..len];
        if piece.iter().any(|byte| *byte != 0) {
            let spooled_at = spool.length();
            let goes_on = runs.last().is_some_and(|run| run.start + (spooled_at - run.spooled_at) == size_bytes);
            if !goes_on {
                runs.push(Run { start: size_bytes, spooled_at });
            }
            spool.append(piece)?;
        }
        size_bytes += u64_of(len);
        if len < usize_of(PIECE_BYTES) {
            break;
        }
    }
    Ok(UnpackedDisk { spooled: spool.finish()?, runs, size_bytes, notes })
}

/// Formats are told once, of the file that was given: what lies in another is not guessed at.
fn nested(name: &str, compression: Compression) -> Error {
    Error::unsupported(format!("{name} compressed with {}: only raw disks are unpacked on the way; unpack it first", compression.name()))
}

/// Fills `piece`, less of it only at the end.
fn fill(reader: &mut dyn Read, piece: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < piece.len() {
        match reader.read(&mut piece[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unwrap_io("cannot read the image", error)),
        }
    }
    Ok(done)
}

/// The file's bytes in order.
struct FromBegin<'a> {
    image: &'a ImageFile,
    offset: u64,
}

impl Read for FromBegin<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = usize_of(u64_of(out.len()).min(self.image.len_bytes - self.offset));
        self.image.read_exact_at(self.offset, &mut out[..len]).map_err(io::Error::other)?;
        self.offset += u64_of(len);
        Ok(len)
    }
}

impl DiskReader for UnpackedDisk {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn wrapping(&self) -> Wrapping {
        Wrapping::Compressed
    }
}

impl ReadAt for UnpackedDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes)?;
        let end = offset_bytes + u64_of(out.len());
        let (mut offset, mut rest) = (offset_bytes, out);
        let mut index = self.run_after(offset);
        while !rest.is_empty() {
            let stored = if index < self.runs.len() { self.range(index) } else { end..end };
            let zeros = stored.start.clamp(offset, end) - offset;
            let (hole, after) = rest.split_at_mut(usize_of(zeros));
            hole.fill(0);
            offset += zeros;
            let len = stored.end.clamp(offset, end) - offset;
            let (data, after) = after.split_at_mut(usize_of(len));
            if len > 0 {
                self.spooled.read_exact_at(self.runs[index].spooled_at + (offset - stored.start), data)?;
            }
            offset += len;
            rest = after;
            index += 1;
        }
        Ok(())
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        let index = self.run_after(offset_bytes);
        Ok((index < self.runs.len()).then(|| self.range(index)).map(|range| range.start.max(offset_bytes)..range.end))
    }
}
