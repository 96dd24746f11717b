//! Blocks into an image file: the format's pieces go to the output, counted and, where asked, hashed.

use super::Consumer;
use super::batch::Slot;
use crate::checksum::{BlockState, is_zero};
use crate::error::Result;
use crate::format::{Format, ImageWriter, Piece};
use crate::output::Output;
use crate::report::FileSummary;
use crate::units::{BlockIndex, u64_of, usize_of};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

pub(super) struct ImageFile<'a> {
    format: Format,
    planned_bytes: Option<u64>,
    writer: Box<dyn ImageWriter>,
    target: Target<'a>,
}

/// Zeros of this length and place inside a block are told to the output as such, so that a file has a hole there: a block
/// bitmap alone in its block is 4 KiB of 512. Shorter ones would cost more in seeks and extents than they spare.
const ZEROS_BYTES: usize = 64 * 1024;

/// The output, with what is known of all that went there.
struct Target<'a> {
    output: &'a mut dyn Output,
    len_bytes: u64,
    sha256: Option<Sha256>,
}

impl<'a> ImageFile<'a> {
    pub(super) fn new(format: Format, planned_bytes: Option<u64>, writer: Box<dyn ImageWriter>, output: &'a mut dyn Output, file_sha256: bool) -> Self {
        Self { format, planned_bytes, writer, target: Target { output, len_bytes: 0, sha256: file_sha256.then(Sha256::new) } }
    }

    pub(super) fn summary(self) -> FileSummary {
        let hex = |digest: &[u8]| {
            digest.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let sha256 = self.target.sha256.map(|sha256| hex(&sha256.finalize()));
        FileSummary { format: self.format.name().to_owned(), size_bytes: self.target.len_bytes, sha256 }
    }
}

impl Target<'_> {
    fn put(&mut self, piece: Piece<'_>) -> Result<()> {
        match piece {
            Piece::Bytes(bytes) => self.put_bytes(bytes, bytes.len())?,
            Piece::Zeros(len_bytes) => {
                self.output.zeros(len_bytes)?;
                self.count_zeros(len_bytes);
            }
            Piece::Unused(len_bytes) => {
                self.output.unused(len_bytes)?;
                self.count_zeros(len_bytes);
            }
        }
        Ok(())
    }

    /// Puts bytes of which only the first `dirty` may be other than zero.
    fn put_bytes(&mut self, bytes: &[u8], dirty: usize) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (zeros, count) = leading_run(rest, dirty.saturating_sub(bytes.len() - rest.len()));
            let (now, behind) = rest.split_at(count);
            if zeros {
                self.output.zeros(u64_of(count))?
            } else {
                self.output.write(now)?
            }
            rest = behind;
        }
        self.len_bytes += u64_of(bytes.len());
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        Ok(())
    }

    fn count_zeros(&mut self, len_bytes: u64) {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        self.len_bytes += len_bytes;
        if let Some(sha256) = &mut self.sha256 {
            let mut left = len_bytes;
            while left > 0 {
                let now = left.min(u64_of(ZEROS.len()));
                sha256.update(&ZEROS[..usize_of(now)]);
                left -= now;
            }
        }
    }
}

/// Whether `bytes` begin with whole pieces of zeros, and how long the run of pieces of this kind is. What is shorter than a
/// piece counts as data. Only the first `dirty` bytes are looked at; the others are zero.
fn leading_run(bytes: &[u8], dirty: usize) -> (bool, usize) {
    let looked_at = |at: usize, piece: &[u8]| is_zero(&piece[..dirty.saturating_sub(at).min(piece.len())]);
    let starts = (0..bytes.len()).step_by(ZEROS_BYTES);
    let mut kinds = starts.zip(bytes.chunks(ZEROS_BYTES)).map(|(at, piece)| (piece.len() == ZEROS_BYTES && looked_at(at, piece), piece.len()));
    let Some((first, len)) = kinds.next() else { return (false, 0) };
    (first, len + kinds.take_while(|(kind, _)| *kind == first).map(|(_, len)| len).sum::<usize>())
}

impl Consumer for ImageFile<'_> {
    fn begin(&mut self) -> Result<()> {
        self.writer.begin(&mut |piece| self.target.put(piece))
    }

    fn filled(&mut self, slot: &Slot) -> Result<()> {
        match slot.state {
            BlockState::Data => {
                let encoded = slot.encoded();
                self.writer.data(slot.index, encoded, &mut |piece| match piece {
                    Piece::Bytes(bytes) if std::ptr::eq(bytes, encoded) => self.target.put_bytes(bytes, slot.encoded_dirty()),
                    piece => self.target.put(piece),
                })
            }
            _ => self.writer.zeros(slot.index, 1, &mut |piece| self.target.put(piece)),
        }
    }

    fn run(&mut self, first: BlockIndex, count: u64, state: BlockState) -> Result<()> {
        match state {
            BlockState::Zero => self.writer.zeros(first, count, &mut |piece| self.target.put(piece)),
            _ => self.writer.unused(first, count, &mut |piece| self.target.put(piece)),
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.finish(&mut |piece| self.target.put(piece))?;
        if let Some(planned) = self.planned_bytes {
            assert_eq!(self.target.len_bytes, planned, "the file is as long as planned");
        }
        self.target.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_part_into_runs_of_data_and_of_zeros() {
        let zeros = [0; 2 * ZEROS_BYTES];
        let data = [1; ZEROS_BYTES];
        for (bytes, expected) in [
            (&[][..], vec![]),
            (&zeros[..100], vec![(false, 100)]),
            (&[&data[..], &zeros, &data].concat(), vec![(false, ZEROS_BYTES), (true, 2 * ZEROS_BYTES), (false, ZEROS_BYTES)]),
            (&[&zeros[1..], &data].concat(), vec![(true, ZEROS_BYTES), (false, 2 * ZEROS_BYTES - 1)]),
            (&[&data[..10], &zeros].concat(), vec![(false, ZEROS_BYTES), (true, ZEROS_BYTES), (false, 10)]),
        ] {
            let (mut rest, mut runs) = (bytes, Vec::new());
            while !rest.is_empty() {
                let run = leading_run(rest, rest.len());
                rest = &rest[run.1..];
                runs.push(run);
            }
            assert_eq!(runs, expected);
        }
    }
}
