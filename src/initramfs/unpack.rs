//! The packed streams of an initramfs: each is read to its own end and no further, so that what stands behind it is found.

use super::{Limits, Packing};
use crate::compressed::unwrap_io;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};
use lzma_rust2::{Action, LzmaStream, Status, StreamResult, XzStream};
use std::io::{self, BufRead, ErrorKind, Read};

/// Bytes that are read at once.
const INPUT_BYTES: usize = 128 * 1024;
/// What a block of lz4's legacy frame unpacks to at most (lz4_Frame_format.md, "Legacy frame").
const LZ4_BLOCK_BYTES: usize = 8 << 20;
/// The most that lz4 makes of such a block (lz4.h, LZ4_COMPRESSBOUND).
const LZ4_PACKED_MAX: u64 = (8 << 20) + (8 << 20) / 255 + 16;
/// The magic of lz4's legacy frame.
const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// What a decoder takes beside its dictionary, in KiB.
const OVERHEAD_KIB: u64 = 64;

/// The initramfs, buffered and counted.
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; INPUT_BYTES], start: 0, end: 0, at: 0 }
    }

    /// Where the next byte stands.
    pub(super) fn offset_bytes(&self) -> u64 {
        self.at
    }

    /// The next bytes, `wanted` of them if there are as many.
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8]> {
        debug_assert!(wanted <= INPUT_BYTES, "that many are buffered");
        if self.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < wanted && self.more().map_err(|error| unwrap_io("cannot read the initramfs", error))? > 0 {}
        Ok(&self.buffer[self.start..self.end.min(self.start + wanted)])
    }

    fn more(&mut self) -> io::Result<usize> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(unwrap_io("cannot read the initramfs", error))),
            }
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.at += u64_of(count);
    }
}

/// What the stream at the position of `input` unpacks to.
///
/// # Errors
/// A packing that is not unpacked here, or that the kernel refuses.
pub(super) fn stream<'a, R: Read>(input: &'a mut Input<R>, packing: Packing, limits: &Limits) -> Result<Named<Box<dyn Read + 'a>>> {
    let offset_bytes = input.offset_bytes();
    let memory_kib = u32::try_from(limits.window_bytes / 1024 + OVERHEAD_KIB).unwrap_or(u32::MAX);
    let inner: Box<dyn Read + 'a> = match packing {
        Packing::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        Packing::Xz => {
            check_xz(input)?;
            Box::new(Lzma { input, decoder: XzStream::new_mem_limit(false, memory_kib), done: false })
        }
        Packing::Lzma => Box::new(Lzma { input, decoder: LzmaStream::new_mem_limit(memory_kib, None), done: false }),
        Packing::Lz4 => Box::new(Lz4 { input, packed: Vec::new(), block: Vec::new(), at: 0, end: 0 }),
        #[cfg(feature = "zstd")]
        Packing::Zstd => Box::new(zstandard::Frame::new(input, limits.window_bytes)?),
        _ => return Err(Error::unsupported(format!("packed with {packing}, which is not unpacked here")).at_offset(offset_bytes)),
    };
    Ok(Named { inner, packing, offset_bytes })
}

/// xz's stream header (The .xz File Format 1.2.1, section 2.1.1): the kernel's decoder checks CRC32 alone.
fn check_xz<R: Read>(input: &mut Input<R>) -> Result<()> {
    let offset_bytes = input.offset_bytes();
    let check = match input.peek(8)? {
        [0xfd, b'7', b'z', b'X', b'Z', 0, 0, flags] => flags & 0xf,
        _ => return Ok(()),
    };
    let name = match check {
        0 | 1 => return Ok(()),
        4 => "CRC64, xz's default",
        10 => "SHA-256",
        _ => "a checksum that is not known",
    };
    Err(Error::corrupt(format!("xz with {name}; the kernel takes CRC32 alone (`xz --check=crc32`)")).at_offset(offset_bytes))
}

/// A decoder whose errors say of what they are.
pub(super) struct Named<R> {
    inner: R,
    packing: Packing,
    offset_bytes: u64,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(out) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if !error.get_ref().is_some_and(|inner| inner.is::<Error>()) => {
                    let packing = self.packing;
                    let ours = match error.kind() {
                        ErrorKind::UnexpectedEof => Error::corrupt(format!("a {packing} stream that is cut off")),
                        ErrorKind::OutOfMemory => Error::limit(format!("a {packing} stream that needs too much memory to unpack")),
                        _ => Error::corrupt(format!("a {packing} stream that is damaged")),
                    };
                    return Err(io::Error::other(ours.at_offset(self.offset_bytes).caused_by(error)));
                }
                result => return result,
            }
        }
    }
}

/// The two decoders of lzma_rust2, which are alike.
trait Decode {
    fn process(&mut self, input: &[u8], out: &mut [u8], action: Action) -> io::Result<StreamResult>;
}

impl Decode for XzStream {
    fn process(&mut self, input: &[u8], out: &mut [u8], action: Action) -> io::Result<StreamResult> {
        self.process(input, out, action)
    }
}

impl Decode for LzmaStream {
    fn process(&mut self, input: &[u8], out: &mut [u8], action: Action) -> io::Result<StreamResult> {
        self.process(input, out, action)
    }
}

struct Lzma<'a, R, D> {
    input: &'a mut Input<R>,
    decoder: D,
    done: bool,
}

impl<R: Read, D: Decode> Read for Lzma<'_, R, D> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while !self.done {
            let bytes = self.input.fill_buf()?;
            let ended = bytes.is_empty();
            let result = self.decoder.process(bytes, out, if ended { Action::Finish } else { Action::Run })?;
            self.input.consume(result.bytes_consumed);
            self.done = result.status == Status::StreamEnd;
            if result.bytes_produced > 0 {
                return Ok(result.bytes_produced);
            }
            if ended && !self.done {
                return Err(io::Error::from(ErrorKind::UnexpectedEof));
            }
            if result.bytes_consumed == 0 && !self.done {
                return Err(io::Error::new(ErrorKind::InvalidData, "the decoder does not get on"));
            }
        }
        Ok(0)
    }
}

/// lz4's legacy frames: a magic, then blocks with their packed length before them, to the end of the input.
struct Lz4<'a, R> {
    input: &'a mut Input<R>,
    packed: Vec<u8>,
    block: Vec<u8>,
    at: usize,
    end: usize,
}

impl<R: Read> Lz4<'_, R> {
    /// Unpacks the next block; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let ours = |error: Error| io::Error::other(error);
        let invalid = |why: &'static str| io::Error::new(ErrorKind::InvalidData, why);
        loop {
            let length = match *self.input.peek(4).map_err(ours)? {
                // The end, or zeros to the next archive.
                [] | [0] | [0, 0] | [0, 0, 0] | [0, 0, 0, 0] => return Ok(false),
                [a, b, c, d] => [a, b, c, d],
                _ => return Err(io::Error::from(ErrorKind::UnexpectedEof)),
            };
            self.input.consume(4);
            if length == LZ4_LEGACY {
                continue;
            }
            let length = u64::from(u32::from_le_bytes(length));
            if length > LZ4_PACKED_MAX {
                return Err(invalid("a block longer than any"));
            }
            // Grows with what is there, not with what is said to be there.
            self.packed.clear();
            let got = Read::take(&mut *self.input, length).read_to_end(&mut self.packed)?;
            if u64_of(got) < length {
                return Err(io::Error::from(ErrorKind::UnexpectedEof));
            }
            self.block.resize(LZ4_BLOCK_BYTES, 0);
            self.end = lz4_flex::block::decompress_into(&self.packed, &mut self.block).map_err(|_| invalid("a block that cannot be unpacked"))?;
            self.at = 0;
            if self.end > 0 {
                return Ok(true);
            }
        }
    }
}

impl<R: Read> Read for Lz4<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || (self.at == self.end && !self.next()?) {
            return Ok(0);
        }
        let count = out.len().min(self.end - self.at);
        out[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(feature = "zstd")]
mod zstandard {
    use super::{BufRead as _, Error, ErrorKind, Input, Read, Result, io, usize_of};
    use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

    /// One frame: the kernel unpacks no second one (lib/decompress_unzstd.c).
    pub(super) struct Frame<'a, R> {
        input: &'a mut Input<R>,
        decoder: Decoder<'static>,
        done: bool,
    }

    impl<'a, R: Read> Frame<'a, R> {
        pub(super) fn new(input: &'a mut Input<R>, window_bytes: u64) -> Result<Self> {
            let cannot = |error| Error::io("cannot set up zstd", error);
            let mut decoder = Decoder::new().map_err(cannot)?;
            let log = usize_of(window_bytes.max(1)).ilog2().clamp(10, 31);
            decoder.set_parameter(DParameter::WindowLogMax(log)).map_err(cannot)?;
            Ok(Self { input, decoder, done: false })
        }
    }

    impl<R: Read> Read for Frame<'_, R> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if out.is_empty() {
                return Ok(0);
            }
            while !self.done {
                let bytes = self.input.fill_buf()?;
                let ended = bytes.is_empty();
                let (mut source, mut target) = (InBuffer::around(bytes), OutBuffer::around(&mut *out));
                let hint = self.decoder.run(&mut source, &mut target)?;
                let (consumed, produced) = (source.pos(), target.pos());
                self.input.consume(consumed);
                self.done = hint == 0;
                if produced > 0 {
                    return Ok(produced);
                }
                if !self.done && ended {
                    return Err(io::Error::from(ErrorKind::UnexpectedEof));
                }
                if !self.done && consumed == 0 {
                    return Err(io::Error::new(ErrorKind::InvalidData, "the decoder does not get on"));
                }
            }
            Ok(0)
        }
    }
}
