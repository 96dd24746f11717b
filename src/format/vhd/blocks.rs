//! Dynamic and differencing VHDs: blocks that are in the file or not, each with a bitmap of its sectors.
//!
//! What is not in a dynamic disk is zero; what is not in a differencing disk is what the disk below has. Checked: block size (a power
//! of two from 512), the BAT's place and length, and that no block lies outside the file or over the header, the BAT or another block.

use super::format::{BAT_UNUSED, DYNAMIC_HEADER_BYTES, DynamicHeader, Footer};
use super::{DYNAMIC_HEADER_SIZE, FOOTER_SIZE, SECTOR_BYTES, bitmap_bytes};
use crate::content::{ReadAt, check_range};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::format::read::{DiskReader, ImageFile, Wrapping};
use crate::units::{u64_of, usize_of};
use byteorder::{BigEndian, ByteOrder as _};
use std::ops::Range;

/// The largest block that is read: the largest power of two that the field can hold.
const BLOCK_SIZE_MAX: u32 = 1 << 31;
/// The longest BAT that is read: 2,040 GiB in blocks of 256 KiB. Writers use 512 KiB and 2 MiB; a table of 4 GiB for
/// blocks of one sector would only be an attack on memory.
const BAT_ENTRIES_MAX: u64 = 1 << 23;

/// A dynamic disk, or a differencing one with what lies below it.
pub(super) struct DynamicDisk {
    image: ImageFile,
    size_bytes: u64,
    block_size: u64,
    bitmap_bytes: u64,
    /// First sector of each block's bitmap in the file, or [`BAT_UNUSED`].
    bat: Vec<u32>,
    /// What a differencing disk changes.
    below: Option<Box<dyn DiskReader>>,
    notes: Vec<String>,
}

/// Reads the dynamic header that a footer leads to, with where it lies.
pub(super) fn header(image: &ImageFile, footer: &Footer, footer_at: u64) -> Result<(DynamicHeader, Range<u64>)> {
    let range = inside(footer.data_offset, DYNAMIC_HEADER_SIZE, footer_at, "the dynamic disk header")?;
    let mut bytes = [0; DYNAMIC_HEADER_BYTES];
    image.read_exact_at(range.start, &mut bytes)?;
    let header = DynamicHeader::decode(&bytes).map_err(|error| error.at_offset(range.start))?;
    Ok((header, range))
}

impl DynamicDisk {
    pub(super) fn open(image: ImageFile, footer: &Footer, footer_at: u64, below: Option<Box<dyn DiskReader>>, mut notes: Vec<String>) -> Result<Self> {
        let (header, header_range) = header(&image, footer, footer_at)?;
        if !header.block_size.is_power_of_two() || u64::from(header.block_size) < SECTOR_BYTES || header.block_size > BLOCK_SIZE_MAX {
            let message = format!("the VHD's block size is {}: a power of two from 512 was expected", header.block_size);
            return Err(Error::corrupt(message).at_offset(header_range.start + 32));
        }
        let block_size = u64::from(header.block_size);
        let entries = footer.current_size.div_ceil(block_size);
        if entries > u64::from(header.max_table_entries) {
            let message = format!("the VHD's BAT has {} entries where its size needs {entries}", header.max_table_entries);
            return Err(Error::corrupt(message).at_offset(header_range.start + 28));
        }
        if entries > BAT_ENTRIES_MAX {
            let message = format!("the VHD's BAT needs {entries} entries, over the limit of {BAT_ENTRIES_MAX}: its blocks have only {block_size} bytes");
            return Err(Error::limit(message).at_offset(header_range.start + 32));
        }
        let table = inside(header.table_offset, entries * 4, footer_at, "the block allocation table")?;
        if table.start < header_range.end && header_range.start < table.end {
            return Err(Error::corrupt("the VHD's BAT and dynamic header overlap").at_offset(table.start));
        }
        let bat = read_bat(&image, &table)?;
        notes.extend(below.iter().flat_map(|below| below.notes()).cloned());
        let disk = Self { image, size_bytes: footer.current_size, block_size, bitmap_bytes: bitmap_bytes(header.block_size), bat, below, notes };
        disk.check_blocks(&[0..FOOTER_SIZE, header_range, table, footer_at..u64::MAX])?;
        Ok(disk)
    }

    /// No block may share bytes with `reserved` ranges or another block.
    fn check_blocks(&self, reserved: &[Range<u64>]) -> Result<()> {
        let len = self.bitmap_bytes + self.block_size;
        let mut starts: Vec<u64> = self.bat.iter().filter(|entry| **entry != BAT_UNUSED).map(|entry| u64::from(*entry) * SECTOR_BYTES).collect();
        starts.sort_unstable();
        if let Some(pair) = starts.windows(2).find(|pair| pair[1] - pair[0] < len) {
            return Err(Error::corrupt("two blocks of the VHD overlap").at_offset(pair[1]));
        }
        match starts.iter().find(|start| reserved.iter().any(|range| range.start < **start + len && **start < range.end)) {
            Some(start) => Err(Error::corrupt("a block of the VHD lies over its header, its BAT or its footer, or ends behind the file").at_offset(*start)),
            None => Ok(()),
        }
    }

    /// Fills `out` with what this disk does not have.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match &self.below {
            Some(below) => below.read_exact_at(offset, out)?,
            None => out.fill(0),
        }
        Ok(())
    }

    /// Fills `out`, which is the disk's from `offset` and lies inside one block, from the block at `start` in the file.
    fn read_block(&self, start: u64, offset: u64, out: &mut [u8]) -> Result<()> {
        let within = offset % self.block_size;
        let first = within / SECTOR_BYTES;
        let end = (within + u64_of(out.len())).div_ceil(SECTOR_BYTES);
        self.image.read_exact_at(start + self.bitmap_bytes + within, out)?;
        // A sector whose bit is not set was never written here. One bit a sector, the most significant first.
        let mut bitmap = [0; 512];
        for from in (first / 8..end.div_ceil(8)).step_by(bitmap.len()) {
            let bytes = (end.div_ceil(8) - from).min(u64_of(bitmap.len()));
            let bitmap = &mut bitmap[..usize_of(bytes)];
            self.image.read_exact_at(start + from, bitmap)?;
            if bitmap.iter().all(|byte| *byte == 0xff) {
                continue;
            }
            for sector in first.max(from * 8)..end.min((from + bytes) * 8) {
                if bitmap[usize_of(sector / 8 - from)] & (0x80 >> (sector % 8)) == 0 {
                    let from_byte = (sector * SECTOR_BYTES).max(within) - within;
                    let to_byte = ((sector + 1) * SECTOR_BYTES - within).min(u64_of(out.len()));
                    self.read_below(offset + from_byte, &mut out[usize_of(from_byte)..usize_of(to_byte)])?;
                }
            }
        }
        Ok(())
    }
}

impl DiskReader for DynamicDisk {
    fn format(&self) -> Format {
        Format::Vhd
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn wrapping(&self) -> Wrapping {
        if self.below.is_some() { Wrapping::Differencing } else { Wrapping::None }
    }

    fn check_unchanged(&self) -> Result<()> {
        self.image.check_unchanged()?;
        self.below.as_ref().map_or(Ok(()), |below| below.check_unchanged())
    }
}

impl ReadAt for DynamicDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes)?;
        let mut offset = offset_bytes;
        let mut rest = out;
        while !rest.is_empty() {
            let within = offset % self.block_size;
            let len = (self.block_size - within).min(u64_of(rest.len()));
            let (part, after) = rest.split_at_mut(usize_of(len));
            match self.bat[usize_of(offset / self.block_size)] {
                BAT_UNUSED => self.read_below(offset, part)?,
                sector => self.read_block(u64::from(sector) * SECTOR_BYTES, offset, part)?,
            }
            rest = after;
            offset += len;
        }
        Ok(())
    }

    /// Runs of allocated blocks; holes of the file inside them are not looked for.
    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        let own = self.allocated_after(offset_bytes);
        let below = self.below.as_ref().map_or(Ok(None), |below| below.stored_after(offset_bytes))?;
        Ok(match (own, below) {
            (Some(own), Some(below)) => Some(if below.start < own.start { below } else { own }),
            (own, below) => own.or(below),
        })
    }
}

impl DynamicDisk {
    fn allocated_after(&self, offset_bytes: u64) -> Option<Range<u64>> {
        let first = usize::try_from(offset_bytes / self.block_size).unwrap_or(usize::MAX);
        let behind = self.bat.get(first..)?;
        let gap = behind.iter().position(|entry| *entry != BAT_UNUSED)?;
        let count = behind[gap..].iter().take_while(|entry| **entry != BAT_UNUSED).count();
        let start = (u64_of(first + gap) * self.block_size).max(offset_bytes);
        let end = (u64_of(first + gap + count) * self.block_size).min(self.size_bytes);
        (start < end).then_some(start..end)
    }
}

/// A range between the footer's copy and the footer.
fn inside(start: u64, len: u64, footer_at: u64, what: &str) -> Result<Range<u64>> {
    match start.checked_add(len) {
        Some(end) if start >= FOOTER_SIZE && end <= footer_at => Ok(start..end),
        _ => Err(Error::corrupt(format!("{what} of the VHD, {len} bytes, lies outside the file")).at_offset(start)),
    }
}

/// The table lies in the file, so what it takes in memory is bounded by what the file has.
fn read_bat(image: &ImageFile, table: &Range<u64>) -> Result<Vec<u32>> {
    let mut bytes = vec![0; usize_of(table.end - table.start)];
    image.read_exact_at(table.start, &mut bytes)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|entry| BigEndian::read_u32(entry)).collect())
}
