//! The contents of files, read where they lie. Holes, blocks that were never written and what is between are zeros.

use super::map::Run;
use crate::content::{Contents, ReadAt, Wanted};
use crate::error::{Error, Result};
use crate::units::{ContentId, index_of, u64_of, usize_of};
use std::sync::Arc;

/// Bytes between two parts that are read with them and thrown away.
const GAP_MAX: u64 = 4096;
/// Parts that are read at once have at most so many bytes together.
const TOGETHER_MAX: u64 = 256 * 1024;

/// Bytes of a file that follow each other on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// The offset in the file.
    at: u64,
    /// The offset on disk.
    disk: u64,
    len: u64,
}

#[derive(Debug, Clone, Copy)]
struct File {
    /// The first of its parts; they end where the next file's begin.
    first: usize,
    length: u64,
    encrypted: bool,
}

/// The contents of all files of a filesystem.
pub(super) struct FileContents {
    disk: Arc<dyn ReadAt>,
    parts: Vec<Part>,
    files: Vec<File>,
}

/// Contents in the making.
#[derive(Default)]
pub(super) struct Collector {
    parts: Vec<Part>,
    files: Vec<File>,
}

impl Collector {
    /// Begins a file.
    ///
    /// # Errors
    /// Over 2^32 files.
    pub(super) fn file(&mut self, length: u64, encrypted: bool) -> Result<ContentId> {
        let id = u32::try_from(self.files.len()).map_err(|_| Error::limit("over 2^32 files"))?;
        self.files.push(File { first: self.parts.len(), length, encrypted });
        Ok(ContentId(id))
    }

    /// Adds a part of the file that was begun last, clipped to its length. Parts ascend.
    pub(super) fn part(&mut self, at: u64, disk: u64, len: u64) {
        let Some(file) = self.files.last() else { return };
        let len = len.min(file.length.saturating_sub(at));
        if len == 0 {
            return;
        }
        let own = self.parts.len() > file.first;
        match self.parts.last_mut().filter(|_| own) {
            Some(last) if last.at + last.len == at && last.disk + last.len == disk => last.len += len,
            _ => self.parts.push(Part { at, disk, len }),
        }
    }

    /// Adds blocks.
    pub(super) fn runs(&mut self, runs: &[Run], block_bytes: u64) {
        for run in runs.iter().filter(|run| !run.unwritten) {
            self.part(run.logical * block_bytes, run.start * block_bytes, run.blocks * block_bytes);
        }
    }

    pub(super) fn finish(mut self, disk: Arc<dyn ReadAt>) -> (Arc<dyn Contents>, u32) {
        self.parts.shrink_to_fit();
        let count = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        (Arc::new(FileContents { disk, parts: self.parts, files: self.files }), count)
    }
}

impl FileContents {
    /// A file and its parts.
    fn file(&self, id: ContentId) -> Result<(&File, &[Part])> {
        let at = index_of(id.0);
        let file = self.files.get(at).ok_or_else(|| Error::invalid(format!("contents {} of a filesystem that has {}", id.0, self.files.len())))?;
        let end = self.files.get(at + 1).map_or(self.parts.len(), |next| next.first);
        if file.encrypted {
            return Err(Error::unsupported("the file is encrypted (fscrypt), and there is no key"));
        }
        Ok((file, &self.parts[file.first..end]))
    }

    /// Where these bytes lie on disk, if they lie in one piece.
    fn in_one_piece(&self, wanted: &Wanted<'_>) -> Option<u64> {
        let (_, parts) = self.file(wanted.id).ok()?;
        let part = parts.get(parts.partition_point(|part| part.at + part.len <= wanted.offset_bytes))?;
        let skipped = wanted.offset_bytes.checked_sub(part.at)?;
        (skipped + u64_of(wanted.out.len()) <= part.len).then_some(part.disk + skipped)
    }
}

impl Contents for FileContents {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let (file, parts) = self.file(id)?;
        let end = offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= file.length);
        let end = end.ok_or_else(|| Error::invalid(format!("{} bytes at {offset_bytes} of a file that has {}", out.len(), file.length)))?;
        let (mut rest, mut at) = (out, offset_bytes);
        for part in &parts[parts.partition_point(|part| part.at + part.len <= offset_bytes)..] {
            if part.at >= end {
                break;
            }
            let start = part.at.max(at);
            let stop = (part.at + part.len).min(end);
            let (hole, behind) = std::mem::take(&mut rest).split_at_mut(usize_of(start - at));
            hole.fill(0);
            let (here, behind) = behind.split_at_mut(usize_of(stop - start));
            self.disk.read_exact_at(part.disk + (start - part.at), here)?;
            (rest, at) = (behind, stop);
        }
        rest.fill(0);
        Ok(())
    }

    fn read_many(&self, wanted: &mut [Wanted<'_>]) -> Result<()> {
        let mut rest = wanted;
        let mut buffer = Vec::new();
        while !rest.is_empty() {
            // Small files that lie behind each other are read at once.
            let Some(start) = self.in_one_piece(&rest[0]) else {
                let (one, behind) = rest.split_first_mut().expect("it is not empty");
                self.read_exact_at(one.id, one.offset_bytes, one.out)?;
                rest = behind;
                continue;
            };
            let mut end = start + u64_of(rest[0].out.len());
            let mut count = 1;
            while let Some(next) = rest.get(count) {
                let Some(at) = self.in_one_piece(next).filter(|at| *at >= end && at - end <= GAP_MAX) else { break };
                let next_end = at + u64_of(next.out.len());
                if next_end - start > TOGETHER_MAX {
                    break;
                }
                end = next_end;
                count += 1;
            }
            let (run, behind) = rest.split_at_mut(count);
            rest = behind;
            if count == 1 {
                self.disk.read_exact_at(start, run[0].out)?;
                continue;
            }
            buffer.resize(usize_of(end - start), 0);
            self.disk.read_exact_at(start, &mut buffer)?;
            for one in run {
                let at = self.in_one_piece(one).expect("it was in one piece just now");
                one.out.copy_from_slice(&buffer[usize_of(at - start)..][..one.out.len()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Arc<dyn Contents> {
        let disk: Vec<u8> = (0..=255).collect();
        let mut collector = Collector::default();
        for (length, parts) in [(20, &[(5, 100, 5), (10, 105, 2), (15, 50, 9)][..]), (0, &[]), (4, &[(0, 112, 4)]), (4, &[(0, 120, 8)]), (3, &[(0, 118, 8)])] {
            collector.file(length, false).unwrap();
            for (at, disk, len) in parts {
                collector.part(*at, *disk, *len);
            }
        }
        collector.file(9, true).unwrap();
        collector.finish(Arc::new(disk)).0
    }

    #[test]
    fn parts_are_read_where_they_lie_and_all_else_is_zero() {
        let contents = contents();
        let whole = [0, 0, 0, 0, 0, 100, 101, 102, 103, 104, 105, 106, 0, 0, 0, 50, 51, 52, 53, 54];
        for start in 0..=20_u8 {
            for end in start..=20 {
                let mut out = vec![0xee; usize::from(end - start)];
                contents.read_exact_at(ContentId(0), u64::from(start), &mut out).unwrap();
                assert_eq!(out, whole[usize::from(start)..usize::from(end)]);
            }
        }
        assert!(contents.read_exact_at(ContentId(0), 20, &mut [0]).is_err());
        assert!(contents.read_exact_at(ContentId(9), 0, &mut []).is_err());
        assert_eq!(contents.read_exact_at(ContentId(5), 0, &mut [0]).unwrap_err().kind(), crate::ErrorKind::Unsupported);
    }

    #[test]
    fn many_are_read_as_one_by_one() {
        let contents = contents();
        let places = [(0, 5, 7), (2, 0, 4), (3, 0, 4), (4, 0, 3), (0, 0, 20), (2, 1, 2), (1, 0, 0)];
        let mut out: Vec<Vec<u8>> = places.iter().map(|(_, _, len)| vec![0xee; *len]).collect();
        let mut wanted: Vec<Wanted<'_>> =
            places.iter().zip(&mut out).map(|((id, offset_bytes, _), out)| Wanted { id: ContentId(*id), offset_bytes: *offset_bytes, out }).collect();
        contents.read_many(&mut wanted).unwrap();
        for ((id, offset, len), out) in places.iter().zip(&out) {
            let mut expected = vec![0; *len];
            contents.read_exact_at(ContentId(*id), *offset, &mut expected).unwrap();
            assert_eq!(out, &expected);
        }
    }
}
