//! A disk as a fuzzing input: its size, and the sectors that are not zero. So a volume of 34 MiB is an input of a few KiB, and what is
//! changed is what somebody reads.
//!
//! ```text
//! u32     sectors of the disk, little-endian
//! then    u24 sector │ u8 count │ count × 512 bytes, again and again; a short last one is filled with zeros
//! ```
#![allow(dead_code)]

use rootvol::Result;
use rootvol::content::ReadAt;
use std::collections::BTreeMap;
use std::ops::Range;

const SECTOR: usize = 512;
/// 512 MiB: work has to follow what is stored, but some of it may be a pass over what is said.
const SECTORS_MAX: u64 = 1 << 20;

pub struct Disk {
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    size_bytes: u64,
}

impl Disk {
    pub fn of(data: &[u8]) -> Option<Self> {
        let (size, mut rest) = data.split_first_chunk::<4>()?;
        let size = u64::from(u32::from_le_bytes(*size)).min(SECTORS_MAX);
        let mut sectors = BTreeMap::new();
        while let Some(([a, b, c, count], bytes)) = rest.split_first_chunk::<4>() {
            let first = u64::from(u32::from_le_bytes([*a, *b, *c, 0]));
            let (bytes, after) = bytes.split_at(bytes.len().min(usize::from(*count) * SECTOR));
            for (number, part) in (first..).zip(bytes.chunks(SECTOR)).filter(|(number, _)| *number < size) {
                let mut sector = [0; SECTOR];
                sector[..part.len()].copy_from_slice(part);
                sectors.insert(number, sector);
            }
            rest = after;
        }
        Some(Self { sectors, size_bytes: size * 512 })
    }
}

impl ReadAt for Disk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let end = offset_bytes.checked_add(out.len() as u64).filter(|end| *end <= self.size_bytes);
        let end = end.ok_or_else(|| rootvol::Error::invalid("outside the disk"))?;
        out.fill(0);
        for (number, sector) in self.sectors.range(offset_bytes / 512..end.div_ceil(512)) {
            let start = number * 512;
            let (from, to) = (start.max(offset_bytes), (start + 512).min(end));
            out[(from - offset_bytes) as usize..(to - offset_bytes) as usize].copy_from_slice(&sector[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        let next = self.sectors.range(offset_bytes / 512..).next();
        Ok(next.map(|(number, _)| (number * 512).max(offset_bytes)..(number + 1) * 512))
    }
}
