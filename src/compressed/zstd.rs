//! zstd frames, with the window of each frame looked at before it is taken.
//!
//! RFC 8878, section 3.1.1: a frame begins with its magic, a descriptor, and (unless the frame is a single segment,
//! whose window is its content size) a byte that gives the window.

use super::Compressed;
use crate::error::Error;
use crate::units::{Size, u64_of};
use std::cell::Cell;
use std::io::{self, BufRead as _, Read};
use std::rc::Rc;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

/// The longest frame header: magic 4, descriptor 1, window 1, dictionary id 4, content size 8.
const FRAME_HEADER_MAX: usize = 18;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) struct Reader<R> {
    input: Compressed<R>,
    decoder: Decoder<'static>,
    window_bytes: u64,
    window: Rc<Cell<u64>>,
    in_frame: bool,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: Compressed<R>, window_bytes: u64, window: Rc<Cell<u64>>) -> crate::Result<Self> {
        let cannot = |error| Error::io("cannot set up zstd", error);
        let mut decoder = Decoder::new().map_err(cannot)?;
        // The library takes powers of two; the exact limit is looked at here, frame by frame.
        let log = window_bytes.max(1).next_power_of_two().trailing_zeros().clamp(10, 31);
        decoder.set_parameter(DParameter::WindowLogMax(log)).map_err(cannot)?;
        Ok(Self { input, decoder, window_bytes, window, in_frame: false })
    }

    /// Looks at the header of the next frame; false at the end of the input.
    fn begin_frame(&mut self) -> io::Result<bool> {
        let head = self.input.peek(FRAME_HEADER_MAX)?;
        if head.is_empty() {
            return Ok(false);
        }
        if let Some(window) = window_of(head) {
            if window > self.window_bytes {
                let message = format!(
                    "a zstd frame with a window of {}; the limit is {}. Unpack it on the way: `zstd -dc --long=31 FILE | rootvol build - …`",
                    Size::bytes(window),
                    Size::bytes(self.window_bytes)
                );
                return Err(io::Error::other(Error::limit(message)));
            }
            self.window.set(self.window.get().max(window));
        }
        self.decoder.reinit()?;
        self.in_frame = true;
        Ok(true)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.begin_frame()? {
                return Ok(0);
            }
            let bytes = self.input.fill_buf()?;
            let ended = bytes.is_empty();
            let mut source = InBuffer::around(bytes);
            let mut target = OutBuffer::around(&mut *out);
            let hint = self.decoder.run(&mut source, &mut target)?;
            let (consumed, produced) = (source.pos(), target.pos());
            self.input.consume(consumed);
            self.in_frame = hint != 0;
            if produced > 0 {
                return Ok(produced);
            }
            if self.in_frame && ended {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if self.in_frame && consumed == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the decoder does not get on"));
            }
        }
    }
}

/// The window of the frame that begins with `head`, in bytes; `None` for skippable frames and what is no frame (the
/// decoder will say so).
fn window_of(head: &[u8]) -> Option<u64> {
    let descriptor = *head.strip_prefix(&MAGIC)?.first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = *head.get(5)?;
        let base = 1_u64 << (10 + u32::from(byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    let id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = head.get(5 + id_bytes..5 + id_bytes + size_bytes)?;
    let size = field.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    // A field of 2 bytes counts from 256.
    Some(if u64_of(field.len()) == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_frame_headers() {
        for (head, window) in [
            (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0][..], Some(1024)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 4, 13 << 3], Some(8 << 20)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 4, (10 << 3) | 1], Some((1 << 20) + (1 << 17))),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 7], Some(7)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0x60, 1, 0], Some(257)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0xa1, 9, 0, 0, 1, 0], Some(1 << 16)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80], Some(1 << 63)),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0], None),
            (&[0x50, 0x2a, 0x4d, 0x18, 0, 0], None),
            (&[], None),
        ] {
            assert_eq!(window_of(head), window, "{head:x?}");
        }
    }
}
