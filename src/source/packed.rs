//! Contents that lie in one long file one after the other: an archive that is read in place, or a spool.

use super::regular::RegularFile;
use crate::content::{Ahead, Contents, Spooled, Wanted};
use crate::error::{Error, Result};
use crate::units::{ContentId, index_of, u64_of, usize_of};
use arrayvec::ArrayVec;

/// Parts of an archive between which no more lies than this are read ahead as one: headers, mostly.
const NEAR_BYTES: u64 = 64 * 1024;

/// Where packed contents lie.
#[derive(Debug)]
pub(super) enum Backing {
    /// In an archive that is read in place and must not change.
    File(RegularFile),
    /// In a spool.
    Spool(Spooled),
}

/// Where the bytes of one file are.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In one piece.
    Whole { start: u64, length: u64 },
    /// In pieces with holes between them: an index of [`Index::sparse`].
    Sparse(u32),
}

/// A file with holes.
#[derive(Debug)]
struct SparseFile {
    /// Ascending and disjoint.
    pieces: Vec<Piece>,
    length: u64,
}

/// `length` bytes of a file at `offset` are at `start` of the backing.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    length: u64,
    start: u64,
}

/// Where all contents are, by their number.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: Vec<Place>,
    sparse: Vec<SparseFile>,
}

impl Index {
    /// The number of contents.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.places.len()).expect("push bounds it")
    }

    /// Adds a file of `length` bytes at `start`.
    pub(super) fn push(&mut self, start: u64, length: u64) -> Result<ContentId> {
        self.push_place(Place::Whole { start, length })
    }

    /// Adds a file of `length` bytes whose `data` ranges lie one after the other from `start`. The ranges were checked
    /// to be ascending, disjoint and within `length`.
    pub(super) fn push_sparse(&mut self, start: u64, length: u64, data: &[(u64, u64)]) -> Result<ContentId> {
        let mut next = start;
        let mut pieces = Vec::with_capacity(data.len());
        for (offset, length) in data.iter().copied() {
            pieces.push(Piece { offset, length, start: next });
            next += length;
        }
        let number = u32::try_from(self.sparse.len()).map_err(|_| Error::limit("over 2^32 sparse files"))?;
        self.sparse.push(SparseFile { pieces, length });
        self.push_place(Place::Sparse(number))
    }

    fn push_place(&mut self, place: Place) -> Result<ContentId> {
        let number = u32::try_from(self.places.len()).ok().filter(|number| *number < u32::MAX).ok_or_else(|| Error::limit("over 2^32 files"))?;
        self.places.push(place);
        Ok(ContentId(number))
    }
}

/// Packed contents.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) backing: Backing,
    pub(super) index: Index,
}

impl Packed {
    fn read(&self, start: u64, out: &mut [u8]) -> Result<()> {
        match &self.backing {
            Backing::File(file) => file.read_exact_at(start, out),
            Backing::Spool(spool) => spool.read_exact_at(start, out),
        }
    }

    fn read_sparse(&self, file: &SparseFile, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset + u64_of(out.len());
        let mut filled = offset;
        let mut rest = out;
        let first = file.pieces.partition_point(|piece| piece.offset + piece.length <= offset);
        for piece in &file.pieces[first..] {
            if piece.offset >= end {
                break;
            }
            if piece.offset > filled {
                let (hole, after) = rest.split_at_mut(usize_of(piece.offset - filled));
                hole.fill(0);
                rest = after;
                filled = piece.offset;
            }
            let within = filled - piece.offset;
            let count = (piece.length - within).min(end - filled);
            let (data, after) = rest.split_at_mut(usize_of(count));
            self.read(piece.start + within, data)?;
            rest = after;
            filled += count;
        }
        rest.fill(0);
        Ok(())
    }
}

impl Packed {
    /// Where a file is, if it has `len` bytes at `offset_bytes`.
    fn place(&self, id: ContentId, offset_bytes: u64, len: usize) -> Result<Place> {
        let past = || Error::invalid(format!("{len} bytes at {offset_bytes} of contents {}: not there", id.0));
        let place = *self.index.places.get(index_of(id.0)).ok_or_else(past)?;
        let length = match place {
            Place::Whole { length, .. } => length,
            Place::Sparse(number) => self.index.sparse[index_of(number)].length,
        };
        offset_bytes.checked_add(u64_of(len)).filter(|end| *end <= length).ok_or_else(past)?;
        Ok(place)
    }

    /// From where to where the bytes of `ahead` lie in the backing, with what lies between them; `None` where there are none.
    fn range(&self, ahead: &Ahead) -> Option<(u64, u64)> {
        let end = ahead.offset_bytes.checked_add(ahead.len_bytes)?;
        match *self.index.places.get(index_of(ahead.id.0))? {
            Place::Whole { start, length } => Some((start + ahead.offset_bytes.min(length), start + end.min(length))),
            Place::Sparse(number) => {
                let pieces = &self.index.sparse[index_of(number)].pieces;
                let first = pieces.partition_point(|piece| piece.offset + piece.length <= ahead.offset_bytes);
                let behind = pieces.partition_point(|piece| piece.offset < end);
                let (first, last) = (pieces[..behind].get(first)?, pieces[..behind].last()?);
                let start = first.start + ahead.offset_bytes.saturating_sub(first.offset);
                Some((start, last.start + last.length.min(end - last.offset)))
            }
        }
    }
}

/// The most pieces that are read at once.
const PIECES_MAX: usize = 128;

impl Contents for Packed {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        match self.place(id, offset_bytes, out.len())? {
            Place::Whole { start, .. } => self.read(start + offset_bytes, out),
            Place::Sparse(number) => self.read_sparse(&self.index.sparse[index_of(number)], offset_bytes, out),
        }
    }

    fn read_many(&self, wanted: &mut [Wanted<'_>]) -> Result<()> {
        // On the stack: nothing is allocated a block.
        let mut pieces = ArrayVec::<_, PIECES_MAX>::new();
        for wanted in wanted.chunks_mut(PIECES_MAX) {
            for Wanted { id, offset_bytes, out } in wanted {
                match self.place(*id, *offset_bytes, out.len())? {
                    Place::Whole { start, .. } => pieces.push((start + *offset_bytes, &mut **out)),
                    Place::Sparse(number) => self.read_sparse(&self.index.sparse[index_of(number)], *offset_bytes, out)?,
                }
            }
            match &self.backing {
                Backing::File(file) => file.read_pieces(&mut pieces),
                Backing::Spool(spool) => spool.read_pieces(&mut pieces),
            }?;
            pieces.clear();
        }
        Ok(())
    }

    fn prefetch(&self, wanted: &[Ahead]) {
        // What is in a spool was written just now.
        let Backing::File(file) = &self.backing else { return };
        let mut together: Option<(u64, u64)> = None;
        for (start, end) in wanted.iter().filter_map(|ahead| self.range(ahead)) {
            together = match together {
                Some((first, last)) if start >= first && start <= last.saturating_add(NEAR_BYTES) => Some((first, last.max(end))),
                before => {
                    before.inspect(|(first, last)| file.read_ahead(*first, last - first));
                    Some((start, end))
                }
            };
        }
        together.inspect(|(first, last)| file.read_ahead(*first, last - first));
    }

    fn is_cold(&self) -> bool {
        matches!(&self.backing, Backing::File(file) if file.is_cold())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Spool;

    #[test]
    fn sparse_contents_read_with_zeros_between_their_pieces() {
        let mut spool = Spool::new(crate::content::SpoolOptions::default());
        spool.append(b"headABCDEFGtail").unwrap();
        let mut index = Index::default();
        index.push(0, 4).unwrap();
        index.push_sparse(4, 20, &[(2, 3), (5, 1), (10, 3)]).unwrap();
        index.push(11, 4).unwrap();
        assert_eq!(index.count(), 3);
        let packed = Packed { backing: Backing::Spool(spool.finish().unwrap()), index };
        let whole = b"\0\0ABCD\0\0\0\0EFG\0\0\0\0\0\0\0";
        for from in 0..=20 {
            for to in from..=20 {
                let mut out = vec![0xee; to - from];
                packed.read_exact_at(ContentId(1), u64_of(from), &mut out).unwrap();
                assert_eq!(out, whole[from..to], "{from}..{to}");
            }
        }
        let mut out = [0; 4];
        packed.read_exact_at(ContentId(2), 0, &mut out).unwrap();
        assert_eq!(&out, b"tail");
        let range = |id, offset_bytes, len_bytes| packed.range(&Ahead { id: ContentId(id), offset_bytes, len_bytes });
        assert_eq!(range(0, 1, 9), Some((1, 4)));
        // The pieces are 4..7 at 2, 7..8 at 5, 8..11 at 10.
        for (offset, len, expected) in [(0, 20, Some((4, 11))), (3, 2, Some((5, 7))), (3, 8, Some((5, 9))), (6, 4, None), (14, 6, None), (5, u64::MAX, None)] {
            assert_eq!(range(1, offset, len), expected, "{len} at {offset}");
        }
        for (id, offset) in [(0, 1), (1, 17), (3, 0), (0, u64::MAX)] {
            assert!(packed.read_exact_at(ContentId(id), offset, &mut out).is_err());
        }
    }
}
