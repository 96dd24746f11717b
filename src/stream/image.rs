//! Blocks into an image file: the format's pieces go to the output, counted and, where asked, hashed.

use super::Consumer;
use super::batch::Slot;
use super::whole::WholeFile;
use crate::checksum::{BlockState, is_zero};
use crate::error::Result;
use crate::format::{BlockEncoder, Format, ImagePlan, ImageWriter, Piece};
use crate::output::Output;
use crate::report::FileSummary;
use crate::units::{BlockIndex, u64_of};
use std::fmt::Write as _;

pub(super) struct ImageFile<'a, 'scope> {
    format: Format,
    planned_bytes: Option<u64>,
    writer: Box<dyn ImageWriter>,
    target: Target<'a, 'scope>,
}

/// Zeros of this length and place inside a block are told to the output as such, so that a file has a hole there. Shorter
/// ones would cost more in looking, seeks and extents than they spare.
const ZEROS_BYTES: usize = 64 * 1024;

/// What is known to be zero up to the block's end needs no looking, and is a hole from the next page on: a bitmap alone in
/// its block is 4 KiB of 512.
const PAGE_BYTES: usize = 4096;

/// The output, with what is known of all that went there.
struct Target<'a, 'scope> {
    output: &'a mut dyn Output,
    len_bytes: u64,
    whole: Option<WholeFile<'scope>>,
}

impl<'a, 'scope> ImageFile<'a, 'scope> {
    /// An image that goes to `output`, and to `whole` where all of it is hashed.
    pub(super) fn new(image: ImagePlan, output: &'a mut dyn Output, whole: Option<WholeFile<'scope>>) -> (Self, Box<dyn BlockEncoder>) {
        let ImagePlan { format, size_bytes, encoder, writer } = image;
        (Self { format, planned_bytes: size_bytes, writer, target: Target { output, len_bytes: 0, whole } }, encoder)
    }

    pub(super) fn summary(self) -> Result<FileSummary> {
        let digest = self.target.whole.map(WholeFile::finish).transpose()?;
        let sha256 = digest.map(|digest| {
            digest.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        });
        Ok(FileSummary { format: self.format.name().to_owned(), size_bytes: self.target.len_bytes, sha256 })
    }
}

impl Target<'_, '_> {
    fn put(&mut self, piece: Piece<'_>) -> Result<()> {
        match piece {
            Piece::Bytes(bytes) => self.put_bytes(bytes, bytes.len())?,
            Piece::Zeros(len_bytes) => {
                self.output.zeros(len_bytes)?;
                self.count_zeros(len_bytes)?;
            }
            Piece::Unused(len_bytes) => {
                self.output.unused(len_bytes)?;
                self.count_zeros(len_bytes)?;
            }
        }
        Ok(())
    }

    /// Puts bytes of which only the first `dirty` may be other than zero.
    fn put_bytes(&mut self, bytes: &[u8], dirty: usize) -> Result<()> {
        let mut rest = &bytes[..dirty.next_multiple_of(PAGE_BYTES).min(bytes.len())];
        let zeros_behind = bytes.len() - rest.len();
        while !rest.is_empty() {
            let (zeros, count) = leading_run(rest);
            let (now, behind) = rest.split_at(count);
            if zeros {
                self.output.zeros(u64_of(count))?
            } else {
                self.output.write(now)?
            }
            rest = behind;
        }
        if zeros_behind > 0 {
            self.output.zeros(u64_of(zeros_behind))?;
        }
        self.len_bytes += u64_of(bytes.len());
        self.whole.as_mut().map_or(Ok(()), |whole| whole.bytes(bytes))
    }

    fn count_zeros(&mut self, len_bytes: u64) -> Result<()> {
        self.len_bytes += len_bytes;
        self.whole.as_mut().map_or(Ok(()), |whole| whole.zeros(len_bytes))
    }
}

/// Whether `bytes` begin with whole pieces of zeros, and how long the run of pieces of this kind is. What is shorter than a
/// piece counts as data.
fn leading_run(bytes: &[u8]) -> (bool, usize) {
    let mut kinds = bytes.chunks(ZEROS_BYTES).map(|piece| (piece.len() == ZEROS_BYTES && is_zero(piece), piece.len()));
    let Some((first, len)) = kinds.next() else { return (false, 0) };
    (first, len + kinds.take_while(|(kind, _)| *kind == first).map(|(_, len)| len).sum::<usize>())
}

impl Consumer for ImageFile<'_, '_> {
    fn begin(&mut self) -> Result<()> {
        self.writer.begin(&mut |piece| self.target.put(piece))
    }

    fn filled(&mut self, index: BlockIndex, slot: &Slot) -> Result<()> {
        match slot.state {
            BlockState::Data => {
                let encoded = slot.encoded();
                self.writer.data(index, encoded, &mut |piece| match piece {
                    Piece::Bytes(bytes) if std::ptr::eq(bytes, encoded) => self.target.put_bytes(bytes, slot.encoded_dirty()),
                    piece => self.target.put(piece),
                })
            }
            _ => self.writer.zeros(index, 1, &mut |piece| self.target.put(piece)),
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
                let run = leading_run(rest);
                rest = &rest[run.1..];
                runs.push(run);
            }
            assert_eq!(runs, expected);
        }
    }
}
