//! Metadata is read in chunks, for neighbours are wanted soon: inodes of one directory, blocks of directories.

use crate::content::ReadAt;
use crate::error::Result;
use crate::units::{align_down, u64_of, usize_of};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a chunk: no block and no inode crosses its bounds, for blocks are no larger.
const CHUNK_BYTES: u64 = 64 * 1024;
/// Chunks that are kept: 8 MiB.
const CHUNKS_MAX: usize = 128;

struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
    /// Read since the hand last passed.
    used: bool,
}

/// The chunks that were read last.
pub(super) struct Cache {
    disk: Arc<dyn ReadAt>,
    chunks: Vec<Chunk>,
    by_offset: HashMap<u64, usize>,
    /// The chunk that is given up next, unless it was used.
    hand: usize,
    last: usize,
}

impl Cache {
    pub(super) fn new(disk: Arc<dyn ReadAt>) -> Self {
        Self { disk, chunks: Vec::new(), by_offset: HashMap::new(), hand: 0, last: 0 }
    }

    /// `len` bytes that lie in one block.
    ///
    /// # Errors
    /// Those of the disk, with the offset.
    pub(super) fn bytes(&mut self, offset_bytes: u64, len: usize) -> Result<&[u8]> {
        let start = align_down(offset_bytes, CHUNK_BYTES);
        debug_assert!(offset_bytes + u64_of(len) <= start + CHUNK_BYTES);
        let at = match self.chunks.get(self.last) {
            Some(chunk) if chunk.offset == start => self.last,
            _ => match self.by_offset.get(&start) {
                Some(at) => *at,
                None => self.load(start).map_err(|error| error.at_offset(offset_bytes))?,
            },
        };
        self.last = at;
        self.chunks[at].used = true;
        let from = usize_of(offset_bytes - start);
        let chunk = &self.chunks[at].bytes;
        let end = from + len;
        chunk.get(from..end).ok_or_else(|| crate::error::Error::corrupt("the disk ends here").at_offset(offset_bytes))
    }

    fn load(&mut self, start: u64) -> Result<usize> {
        let len = usize_of(CHUNK_BYTES.min(self.disk.size_bytes().saturating_sub(start)));
        let at = if self.chunks.len() < CHUNKS_MAX {
            self.chunks.push(Chunk { offset: u64::MAX, bytes: Vec::new(), used: false });
            self.chunks.len() - 1
        } else {
            self.give_up()
        };
        let chunk = &mut self.chunks[at];
        self.by_offset.remove(&chunk.offset);
        // Nothing may be found here should the reading fail.
        chunk.offset = u64::MAX;
        chunk.bytes.resize(len, 0);
        self.disk.read_exact_at(start, &mut chunk.bytes)?;
        chunk.offset = start;
        self.by_offset.insert(start, at);
        Ok(at)
    }

    /// The chunk that was not used for longest, about.
    fn give_up(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.chunks.len();
            if !std::mem::take(&mut self.chunks[at].used) {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_disk_whatever_was_read_before() {
        let disk: Vec<u8> = (0..20_000_000_u64).map(|at| (at / 1024 % 251).to_le_bytes()[0]).collect();
        let mut cache = Cache::new(Arc::new(disk.clone()));
        let mut at = 1_u64;
        for _ in 0..3000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let offset = align_down((at >> 20) % 19_999_000, 1024);
            assert_eq!(cache.bytes(offset, 1000).unwrap(), &disk[usize_of(offset)..][..1000]);
        }
        assert_eq!(cache.bytes(19_999_744, 256).unwrap(), &disk[19_999_744..]);
        assert!(cache.bytes(19_999_744, 257).is_err());
    }
}
