//! xz streams, with the memory of each block looked at before it is taken.

use super::Compressed;
use crate::error::Error;
use crate::units::Size;
use lzma_rust2::{Action, Status, XzStream};
use std::cell::Cell;
use std::io::{self, BufRead as _, Read};
use std::rc::Rc;

/// What the decoder takes beside the dictionary, in KiB: its own estimate is 40.
const OVERHEAD_KIB: u64 = 64;

pub(super) struct Reader<R> {
    input: Compressed<R>,
    stream: XzStream,
    dictionary_bytes: u64,
    window: Rc<Cell<u64>>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: Compressed<R>, dictionary_bytes: u64, window: Rc<Cell<u64>>) -> Self {
        let limit_kib = u32::try_from(dictionary_bytes / 1024 + OVERHEAD_KIB).unwrap_or(u32::MAX);
        Self { input, stream: XzStream::new_mem_limit(true, limit_kib), dictionary_bytes, window }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let bytes = self.input.fill_buf()?;
            let action = if bytes.is_empty() { Action::Finish } else { Action::Run };
            let result = self.stream.process(bytes, out, action).map_err(|error| match error.kind() {
                io::ErrorKind::OutOfMemory => {
                    io::Error::other(Error::limit(format!("an xz block with a dictionary of over {}", Size::bytes(self.dictionary_bytes))))
                }
                _ => error,
            })?;
            let ended = bytes.is_empty();
            self.input.consume(result.bytes_consumed);
            let needed_kib = u64::from(self.stream.memory_usage().unwrap_or(0)).saturating_sub(OVERHEAD_KIB);
            self.window.set(self.window.get().max(needed_kib * 1024));
            if result.bytes_produced > 0 || result.status == Status::StreamEnd {
                return Ok(result.bytes_produced);
            }
            if ended {
                // Nothing more comes in, nothing came out, and it is not the end.
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if result.bytes_consumed == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the decoder does not get on"));
            }
        }
    }
}
