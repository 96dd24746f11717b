//! A disk with the blocks of a journal laid over it.

use crate::content::{ReadAt, check_range};
use crate::error::Result;
use crate::units::{u64_of, usize_of};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Where the new version of a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Logged {
    /// The block of the filesystem that is the journal's.
    pub(super) block: u64,
    /// Its first four bytes are the journal's magic number, which stands as zeros there.
    pub(super) escaped: bool,
}

/// A disk on which some blocks are read elsewhere.
pub(super) struct Overlay {
    disk: Arc<dyn ReadAt>,
    block_bytes: u64,
    logged: BTreeMap<u64, Logged>,
    /// What escaped blocks begin with.
    magic: [u8; 4],
}

impl Overlay {
    pub(super) fn new(disk: Arc<dyn ReadAt>, block_bytes: u64, logged: BTreeMap<u64, Logged>, magic: [u8; 4]) -> Self {
        Self { disk, block_bytes, logged, magic }
    }

    /// How many blocks are read elsewhere.
    pub(super) fn blocks(&self) -> usize {
        self.logged.len()
    }

    /// Reads a part of one block that was logged.
    fn read_logged(&self, logged: Logged, from: u64, out: &mut [u8]) -> Result<()> {
        self.disk.read_exact_at(logged.block * self.block_bytes + from, out)?;
        if logged.escaped {
            for (byte, magic) in out.iter_mut().zip(self.magic.get(usize_of(from.min(4))..).unwrap_or(&[])) {
                *byte = *magic;
            }
        }
        Ok(())
    }
}

impl ReadAt for Overlay {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes())?;
        let end = offset_bytes + u64_of(out.len());
        let (mut at, mut rest) = (offset_bytes, out);
        let blocks = offset_bytes / self.block_bytes..end.div_ceil(self.block_bytes);
        for (block, logged) in self.logged.range(blocks) {
            let start = (block * self.block_bytes).max(at);
            let stop = ((block + 1) * self.block_bytes).min(end);
            if stop <= start {
                continue;
            }
            let (before, behind) = std::mem::take(&mut rest).split_at_mut(usize_of(start - at));
            if !before.is_empty() {
                self.disk.read_exact_at(at, before)?;
            }
            let (here, behind) = behind.split_at_mut(usize_of(stop - start));
            self.read_logged(*logged, start - block * self.block_bytes, here)?;
            (at, rest) = (stop, behind);
        }
        if rest.is_empty() { Ok(()) } else { self.disk.read_exact_at(at, rest) }
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        // Blocks of the journal may lie over holes: all is said to be stored.
        Ok((offset_bytes < self.size_bytes()).then_some(offset_bytes..self.size_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_blocks_are_read_in_place_of_the_old_ones() {
        let disk: Vec<u8> = (0..10).flat_map(|block| [block; 8]).collect();
        let logged =
            BTreeMap::from([(2, Logged { block: 7, escaped: false }), (3, Logged { block: 8, escaped: true }), (9, Logged { block: 6, escaped: false })]);
        let overlay = Overlay::new(Arc::new(disk.clone()), 8, logged, [0xc0, 0x3b, 0x39, 0x98]);
        let mut expected = disk;
        expected[16..24].fill(7);
        expected[24..32].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98, 8, 8, 8, 8]);
        expected[72..].fill(6);
        for start in 0..=80_u64 {
            for end in start..=80 {
                let mut out = vec![0xee; usize_of(end - start)];
                overlay.read_exact_at(start, &mut out).unwrap();
                assert_eq!(out, expected[usize_of(start)..usize_of(end)], "{start}..{end}");
            }
        }
        assert!(overlay.read_exact_at(80, &mut [0]).is_err());
        assert_eq!(overlay.blocks(), 3);
    }
}
