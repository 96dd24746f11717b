//! Random access: the one way in which disks, partitions and filesystems that exist are read.

use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are read by position, in any order, from any thread: a disk in its container, a partition of it, a buffer.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn size_bytes(&self) -> u64;

    /// Fills `out` with the bytes from `offset_bytes`.
    ///
    /// # Errors
    /// A range that is not inside, what is shorter than it was, I/O.
    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()>;

    /// The first range from `offset_bytes` on that is stored, never empty; `None` behind the last one. All else reads as zero:
    /// holes of a file, blocks that a dynamic VHD does not have. One range of all that is left, unless an implementation knows
    /// more. It is for speed alone: no byte may depend on it.
    ///
    /// # Errors
    /// I/O.
    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        let size_bytes = self.size_bytes();
        Ok((offset_bytes < size_bytes).then_some(offset_bytes..size_bytes))
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        (**self).read_exact_at(offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        (**self).stored_after(offset_bytes)
    }
}

impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        u64_of(self.len())
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes())?;
        out.copy_from_slice(&self[usize_of(offset_bytes)..][..out.len()]);
        Ok(())
    }
}

/// Refuses a range that is not inside `size_bytes`.
pub(crate) fn check_range(offset_bytes: u64, len: usize, size_bytes: u64) -> Result<()> {
    match offset_bytes.checked_add(u64_of(len)) {
        Some(end) if end <= size_bytes => Ok(()),
        _ => Err(Error::invalid(format!("{len} bytes of a disk that has {size_bytes}")).at_offset(offset_bytes)),
    }
}

/// A part of something that is read by position, such as a partition; offsets count from its begin.
#[derive(Clone)]
pub struct Part {
    whole: Arc<dyn ReadAt>,
    range: Range<u64>,
}

impl Part {
    /// The bytes `range` of `whole`.
    ///
    /// # Errors
    /// A range that is not inside.
    pub fn new(whole: Arc<dyn ReadAt>, range: Range<u64>) -> Result<Self> {
        if range.start > range.end || range.end > whole.size_bytes() {
            return Err(Error::invalid(format!("the bytes {} to {} of a disk that has {}", range.start, range.end, whole.size_bytes())));
        }
        Ok(Self { whole, range })
    }
}

impl ReadAt for Part {
    fn size_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes())?;
        self.whole.read_exact_at(self.range.start + offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        if offset_bytes >= self.size_bytes() {
            return Ok(None);
        }
        let found = self.whole.stored_after(self.range.start + offset_bytes)?.filter(|found| found.start < self.range.end);
        Ok(found.map(|found| found.start.max(self.range.start) - self.range.start..found.end.min(self.range.end) - self.range.start))
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({:?})", self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_what_lies_in_it_and_nothing_else() {
        let whole: Arc<dyn ReadAt> = Arc::new((0..100).collect::<Vec<u8>>());
        let part = Part::new(Arc::clone(&whole), 10..20).unwrap();
        let mut out = [0; 3];
        part.read_exact_at(7, &mut out).unwrap();
        assert_eq!((out, part.size_bytes()), ([17, 18, 19], 10));
        assert!(part.read_exact_at(8, &mut out).is_err());
        assert!(part.read_exact_at(u64::MAX, &mut out).is_err());
        assert_eq!(part.stored_after(4).unwrap(), Some(4..10));
        assert_eq!(part.stored_after(10).unwrap(), None);
        assert!(Part::new(Arc::clone(&whole), 90..101).is_err());
        assert_eq!(Part::new(whole, 100..100).unwrap().size_bytes(), 0);
    }
}
