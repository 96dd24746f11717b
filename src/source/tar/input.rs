//! The bytes of an archive, forwards: from a file, where bodies are jumped over, or from a stream.

use crate::compressed::unwrap_io;
use crate::content::Spool;
use crate::error::{Error, Result};
use crate::source::regular::RegularFile;
use crate::units::{u64_of, usize_of};
use std::io::Read;

/// Read at once from a file behind a body that was jumped over: a header with its pax header, mostly. More would copy bodies,
/// which are not needed yet; and a call costs no more than copying the body of a small file.
const FILE_BUFFER: usize = 4096;
/// The same where headers follow headers (links, directories, long names): doubled with each piece up to this.
const FILE_BUFFER_MOST: usize = 64 * 1024;
/// Read at once from a stream.
const STREAM_BUFFER: usize = 128 * 1024;

/// Where the bytes come from.
pub(super) enum From<'a> {
    /// A file: any position, known size.
    File(&'a RegularFile),
    /// A stream: forwards only.
    Stream(&'a mut dyn Read),
}

/// The archive, read forwards.
pub(super) struct Input<'a> {
    from: From<'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of the next byte.
    position: u64,
    /// Of the byte behind what was read from a file last, and how much that was.
    last_read: (u64, usize),
}

impl<'a> Input<'a> {
    pub(super) fn new(from: From<'a>) -> Self {
        let size = match from {
            From::File(_) => FILE_BUFFER_MOST,
            From::Stream(_) => STREAM_BUFFER,
        };
        Self { from, buffer: vec![0; size], start: 0, end: 0, position: 0, last_read: (0, FILE_BUFFER / 2) }
    }

    /// Offset of the next byte in the (uncompressed) archive.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// At most `longest` of the next bytes; none at the end.
    fn chunk(&mut self, longest: u64) -> Result<&[u8]> {
        if self.start == self.end {
            let at = self.position;
            self.start = 0;
            self.end = match &mut self.from {
                From::File(file) => {
                    let (end, last) = self.last_read;
                    let wanted = if at == end { (2 * last).min(FILE_BUFFER_MOST) } else { FILE_BUFFER };
                    let count = usize_of(file.size().saturating_sub(at).min(u64_of(wanted)));
                    file.read_unchecked(at, &mut self.buffer[..count])?;
                    self.last_read = (at + u64_of(count), wanted);
                    count
                }
                From::Stream(reader) => loop {
                    match reader.read(&mut self.buffer) {
                        Ok(count) => break count,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(unwrap_io("cannot read the archive", error).at_offset(at)),
                    }
                },
            };
        }
        let count = usize_of(u64_of(self.end - self.start).min(longest));
        Ok(&self.buffer[self.start..self.start + count])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += u64_of(count);
    }

    /// Fills as much of `out` as there is; less only at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            let chunk = self.chunk(u64_of(out.len() - filled))?;
            let count = chunk.len();
            if count == 0 {
                break;
            }
            out[filled..filled + count].copy_from_slice(chunk);
            filled += count;
            self.consume(count);
        }
        Ok(filled)
    }

    /// Fills all of `out`.
    pub(super) fn read_exact(&mut self, out: &mut [u8], what: &str) -> Result<()> {
        let wanted = out.len();
        let count = self.read(out)?;
        if count < wanted { Err(self.truncated(what, u64_of(wanted - count))) } else { Ok(()) }
    }

    /// Passes over `count` bytes, all of which must be there.
    pub(super) fn skip(&mut self, count: u64, what: &str) -> Result<()> {
        let mut left = count;
        if let From::File(file) = self.from {
            let buffered = u64_of(self.end - self.start).min(left);
            self.consume(usize_of(buffered));
            left -= buffered;
            let there = file.size().saturating_sub(self.position);
            if left > there {
                self.position += there;
                return Err(self.truncated(what, left - there));
            }
            self.position += left;
            return Ok(());
        }
        while left > 0 {
            let passed = self.chunk(left)?.len();
            if passed == 0 {
                return Err(self.truncated(what, left));
            }
            self.consume(passed);
            left -= u64_of(passed);
        }
        Ok(())
    }

    /// Appends `count` bytes to `spool`.
    pub(super) fn copy_to(&mut self, spool: &mut Spool, count: u64, what: &str) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let chunk = self.chunk(left)?;
            let passed = chunk.len();
            if passed == 0 {
                return Err(self.truncated(what, left));
            }
            spool.append(chunk)?;
            self.consume(passed);
            left -= u64_of(passed);
        }
        Ok(())
    }

    /// Passes over zeros to the end and returns how many there were; the offset of a byte that is none is an error.
    pub(super) fn skip_zeros(&mut self, most: u64) -> Result<u64> {
        let mut count = 0;
        loop {
            let chunk = self.chunk(u64::MAX)?;
            if chunk.is_empty() {
                return Ok(count);
            }
            let zeros = chunk.iter().take_while(|byte| **byte == 0).count();
            let all = zeros == chunk.len();
            self.consume(zeros);
            count += u64_of(zeros);
            if !all {
                let message = "there is more behind the end of the archive, which readers take differently (two archives in one file?)";
                return Err(Error::corrupt(message).at_offset(self.position));
            }
            if count > most {
                return Err(Error::limit(format!("over {most} zeros behind the end of the archive")).at_offset(self.position));
            }
        }
    }

    fn truncated(&self, what: &str, missing: u64) -> Error {
        Error::corrupt(format!("the archive ends in {what}: at least {missing} bytes are missing")).at_offset(self.position)
    }
}
