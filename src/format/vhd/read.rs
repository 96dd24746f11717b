//! Reading VHDs. Every field is checked before it is used; a damaged or shortened file never reads as zeros.
//!
//! Checked: footer (also where it has 511 bytes, as before Virtual PC 2004) and its copy, their checksums and agreement;
//! of dynamic disks the header, block size (a power of two from 512), the BAT's place and length, and that no block
//! lies outside the file or over the header, the BAT or another block. The size is "Current Size", never the geometry.

use super::format::{
    BAT_UNUSED, DISK_TYPE_DIFFERENCING, DISK_TYPE_DYNAMIC, DISK_TYPE_FIXED, DYNAMIC_HEADER_BYTES, DynamicHeader, FOOTER_BYTES, FOOTER_COOKIE, Footer,
};
use super::{DYNAMIC_HEADER_SIZE, FOOTER_SIZE, SECTOR_BYTES, VHD_MAX_BYTES, bitmap_bytes};
use crate::content::{ReadAt, check_range};
use crate::error::{Error, Result, escape};
use crate::format::Format;
use crate::format::read::{DiskReader, ImageFile};
use crate::units::{Size, u64_of, usize_of};
use byteorder::{BigEndian, ByteOrder as _};
use std::ops::Range;

/// The largest block that is read: the largest power of two that the field can hold.
const BLOCK_SIZE_MAX: u32 = 1 << 31;
/// The longest BAT that is read: 2,040 GiB in blocks of 256 KiB. Writers use 512 KiB and 2 MiB; a table of 4 GiB for
/// blocks of one sector would only be an attack on memory.
const BAT_ENTRIES_MAX: u64 = 1 << 23;

/// Whether the file's magic, at its begin or in its last sector, is a VHD's.
pub(in crate::format) fn is_vhd(image: &ImageFile) -> Result<bool> {
    Ok(has_cookie(image, Some(0))? || footer_offset(image)?.is_some())
}

fn has_cookie(image: &ImageFile, offset_bytes: Option<u64>) -> Result<bool> {
    let mut cookie = [0; FOOTER_COOKIE.len()];
    match offset_bytes {
        Some(offset) if offset + u64_of(cookie.len()) <= image.len_bytes => image.read_exact_at(offset, &mut cookie)?,
        _ => return Ok(false),
    }
    Ok(cookie == FOOTER_COOKIE)
}

/// Where the footer at the end begins.
fn footer_offset(image: &ImageFile) -> Result<Option<u64>> {
    for footer_bytes in [FOOTER_SIZE, FOOTER_SIZE - 1] {
        let offset = image.len_bytes.checked_sub(footer_bytes);
        if has_cookie(image, offset)? {
            return Ok(offset);
        }
    }
    Ok(None)
}

/// Opens a fixed or dynamic VHD.
pub(in crate::format) fn open(image: ImageFile) -> Result<Box<dyn DiskReader>> {
    let footer_at = footer_offset(&image)?.ok_or_else(|| Error::corrupt("no VHD footer at the end: no VHD, or not all of one"))?;
    let mut bytes = [0; FOOTER_BYTES];
    // A footer of 511 bytes lacks the last reserved one.
    image.read_exact_at(footer_at, &mut bytes[..usize_of(image.len_bytes - footer_at)])?;
    let footer = Footer::decode(&bytes).map_err(|error| error.at_offset(footer_at))?;
    if footer.current_size > VHD_MAX_BYTES || footer.current_size % SECTOR_BYTES != 0 {
        let message = format!("the VHD's current size is {} bytes: whole sectors up to {} were expected", footer.current_size, Size::bytes(VHD_MAX_BYTES));
        return Err(Error::corrupt(message).at_offset(footer_at + 48));
    }
    match footer.disk_type {
        DISK_TYPE_FIXED if footer.current_size <= footer_at => Ok(Box::new(FixedDisk { image, size_bytes: footer.current_size })),
        DISK_TYPE_FIXED => Err(Error::corrupt(format!("a fixed VHD of {} bytes, of which {footer_at} are in the file", footer.current_size))),
        DISK_TYPE_DYNAMIC => Ok(Box::new(DynamicDisk::open(image, &footer, footer_at)?)),
        DISK_TYPE_DIFFERENCING => Err(refuse_differencing(&image, &footer)),
        other => Err(Error::unsupported(format!("a VHD of type {other}: fixed (2) and dynamic (3) are known")).at_offset(footer_at + 60)),
    }
}

/// A differencing disk is only the changes to its parent, which is named and not opened.
fn refuse_differencing(image: &ImageFile, footer: &Footer) -> Error {
    let mut bytes = [0; DYNAMIC_HEADER_BYTES];
    let header = image.read_exact_at(footer.data_offset, &mut bytes).and_then(|()| DynamicHeader::decode(&bytes));
    let parent = header.map_or_else(|_| String::new(), |header| parent_name(&header.parent_unicode_name));
    Error::unsupported(format!("a differencing VHD, which holds only the changes to its parent \"{}\": merge the two first", escape(parent.as_bytes())))
}

fn parent_name(utf16: &[u8; 512]) -> String {
    let units = utf16.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

struct FixedDisk {
    image: ImageFile,
    size_bytes: u64,
}

impl DiskReader for FixedDisk {
    fn format(&self) -> Format {
        Format::VhdFixed
    }

    fn check_unchanged(&self) -> Result<()> {
        self.image.check_unchanged()
    }
}

impl ReadAt for FixedDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes)?;
        self.image.read_exact_at(offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        self.image.stored_after(offset_bytes, self.size_bytes)
    }
}

struct DynamicDisk {
    image: ImageFile,
    size_bytes: u64,
    block_size: u64,
    bitmap_bytes: u64,
    /// First sector of each block's bitmap in the file, or [`BAT_UNUSED`].
    bat: Vec<u32>,
}

impl DynamicDisk {
    fn open(image: ImageFile, footer: &Footer, footer_at: u64) -> Result<Self> {
        check_copy(&image, footer)?;
        let header_range = inside(footer.data_offset, DYNAMIC_HEADER_SIZE, footer_at, "the dynamic disk header")?;
        let mut bytes = [0; DYNAMIC_HEADER_BYTES];
        image.read_exact_at(header_range.start, &mut bytes)?;
        let header = DynamicHeader::decode(&bytes).map_err(|error| error.at_offset(header_range.start))?;
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
        let disk = Self { image, size_bytes: footer.current_size, block_size, bitmap_bytes: bitmap_bytes(header.block_size), bat };
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

    /// Fills `out`, which lies inside one block at `start` in the file, from `within` the block.
    fn read_block(&self, start: u64, within: u64, out: &mut [u8]) -> Result<()> {
        let first = within / SECTOR_BYTES;
        let end = (within + u64_of(out.len())).div_ceil(SECTOR_BYTES);
        self.image.read_exact_at(start + self.bitmap_bytes + within, out)?;
        // A sector whose bit is not set was never written and is zero. One bit a sector, the most significant first.
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
                    let zero_from = (sector * SECTOR_BYTES).max(within) - within;
                    let zero_to = ((sector + 1) * SECTOR_BYTES - within).min(u64_of(out.len()));
                    out[usize_of(zero_from)..usize_of(zero_to)].fill(0);
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

    fn check_unchanged(&self) -> Result<()> {
        self.image.check_unchanged()
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
                BAT_UNUSED => part.fill(0),
                sector => self.read_block(u64::from(sector) * SECTOR_BYTES, within, part)?,
            }
            rest = after;
            offset += len;
        }
        Ok(())
    }

    /// Runs of allocated blocks; holes of the file inside them are not looked for.
    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        let first = usize::try_from(offset_bytes / self.block_size).unwrap_or(usize::MAX);
        let Some(behind) = self.bat.get(first..) else { return Ok(None) };
        let Some(gap) = behind.iter().position(|entry| *entry != BAT_UNUSED) else { return Ok(None) };
        let count = behind[gap..].iter().take_while(|entry| **entry != BAT_UNUSED).count();
        let start = (u64_of(first + gap) * self.block_size).max(offset_bytes);
        let end = (u64_of(first + gap + count) * self.block_size).min(self.size_bytes);
        Ok((start < end).then_some(start..end))
    }
}

/// The copy of the footer at the file's begin has to say the same: where the two differ, readers do too.
fn check_copy(image: &ImageFile, footer: &Footer) -> Result<()> {
    let mut bytes = [0; FOOTER_BYTES];
    image.read_exact_at(0, &mut bytes)?;
    let copy = Footer::decode(&bytes).map_err(|error| error.at_offset(0))?;
    let essence = |footer: &Footer| (footer.disk_type, footer.current_size, footer.data_offset, footer.unique_id);
    if essence(&copy) == essence(footer) { Ok(()) } else { Err(Error::corrupt("the VHD's footer and its copy at the begin differ")) }
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
