//! Partition tables: GPT, MBR, or none. Planned into a layout that holds the table alone; read from images that are not
//! trusted.
//!
//! ```text
//! GPT   protective MBR │ header │ 128 entries │ … partitions … │ 128 entries │ header
//! MBR   MBR │ … partitions …
//! ```
//!
//! What is planned is small, 33 KiB at most with sectors of 512 bytes, and kept in memory whatever the size of the disk.
//! Refused: partitions that overlap, lie outside what the table can address or inside the table itself, share a number
//! or an identifier; names that do not fit.

mod format;
mod gpt;
mod mbr;
mod types;

pub use gpt::NAME_MAX_UNITS;
pub use types::{PartitionType, root_type};

use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::layout::{Layout, Segment, SegmentSource};
use crate::text::words;
use crate::units::{u64_of, usize_of};
use format::{BOOT_CODE_BYTES, MBR_BYTES, Mbr, SIGNATURE, TYPE_PROTECTIVE};
use std::ops::Range;

/// Bit of [`Partition::attributes`]: a BIOS boots this partition (GPT: "Legacy BIOS Bootable"; MBR: the active partition).
pub const ATTRIBUTE_LEGACY_BOOT: u64 = 1 << 2;

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableKind {
    /// GUID partition table.
    #[default]
    Gpt,
    /// Master boot record with up to four primary partitions.
    Mbr,
    /// No table: the one partition is the disk.
    None,
}

words!(TableKind, "a kind of partition table", [Gpt = "gpt", Mbr = "mbr", None = "none"]);

impl TableKind {
    /// The most partitions that a disk with such a table has, and the highest number of one.
    #[must_use]
    pub const fn partitions_max(self) -> u32 {
        match self {
            Self::Gpt => gpt::ENTRIES,
            Self::Mbr => mbr::NUMBER_MAX,
            Self::None => 1,
        }
    }
}

/// A partition table as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which table.
    pub kind: TableKind,
    /// GPT: the disk's GUID.
    pub disk_guid: Guid,
    /// MBR: the disk's signature, which PARTUUIDs are made of.
    pub signature: u32,
    /// 512 or 4,096.
    pub sector_bytes: u32,
    /// The size of the disk.
    pub disk_bytes: u64,
    /// The partitions in any order.
    pub partitions: Vec<Partition>,
    /// What stands in the first 440 bytes of the disk, for a BIOS.
    pub boot_code: Option<[u8; BOOT_CODE_BYTES]>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1: to 128 in a GPT, to 4 in an MBR. Numbers may be left out.
    pub number: u32,
    /// The type.
    pub partition_type: PartitionType,
    /// GPT: the partition's own GUID. An MBR does not store it.
    pub guid: Guid,
    /// GPT: the name, up to 36 UTF-16 units. An MBR does not store it.
    pub name: String,
    /// Attribute bits of the GPT; in an MBR [`ATTRIBUTE_LEGACY_BOOT`] alone.
    pub attributes: u64,
    /// Offset of the first byte on the disk.
    pub offset_bytes: u64,
    /// Size.
    pub size_bytes: u64,
}

impl Partition {
    /// The bytes of the disk that are the partition's; saturates.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.offset_bytes..self.offset_bytes.saturating_add(self.size_bytes)
    }
}

/// The planned table on its disk: no bytes of any partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLayout {
    disk_bytes: u64,
    /// (offset, bytes), ascending.
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Layout for TableLayout {
    fn size_bytes(&self) -> u64 {
        self.disk_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        let ranges = self.pieces.iter().map(|(start, bytes)| *start..*start + u64_of(bytes.len()));
        let range = ranges.into_iter().find(|range| range.end > offset_bytes)?;
        Some(Segment { range, source: SegmentSource::Metadata })
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        let (start, bytes) = self.pieces.iter().rfind(|(start, _)| *start <= offset_bytes).expect("only ranges inside segments are rendered");
        out.copy_from_slice(&bytes[usize_of(offset_bytes - start)..][..out.len()]);
    }
}

/// Plans a table. The same table gives the same bytes.
///
/// # Errors
/// See the head of this module.
pub fn plan(table: &Table) -> Result<TableLayout> {
    let pieces = match table.kind {
        TableKind::Gpt => gpt::pieces(table)?,
        TableKind::Mbr => mbr::pieces(table)?,
        TableKind::None => Vec::new(),
    };
    Ok(TableLayout { disk_bytes: table.disk_bytes, pieces })
}

/// The bytes of a disk that a table leaves to partitions.
///
/// # Errors
/// Sectors of other than 512 or 4,096 bytes, a disk that is no whole number of them, a disk too small for the table or
/// larger than it can address.
pub fn usable_bytes(kind: TableKind, sector_bytes: u32, disk_bytes: u64) -> Result<Range<u64>> {
    check_sector_bytes(sector_bytes)?;
    if !disk_bytes.is_multiple_of(u64::from(sector_bytes)) {
        return Err(Error::invalid(format!("the disk has {disk_bytes} bytes, which is no whole number of sectors of {sector_bytes}")));
    }
    match kind {
        TableKind::Gpt => gpt::usable_bytes(sector_bytes, disk_bytes),
        TableKind::Mbr => mbr::usable_bytes(sector_bytes, disk_bytes),
        TableKind::None => Ok(0..disk_bytes),
    }
}

fn check_sector_bytes(sector_bytes: u32) -> Result<()> {
    match sector_bytes {
        512 | 4096 => Ok(()),
        _ => Err(Error::invalid(format!("sectors of {sector_bytes} bytes; 512 and 4096 are possible"))),
    }
}

/// Checks what both tables ask of their partitions, and returns these by number.
fn checked(table: &Table) -> Result<Vec<&Partition>> {
    let number_max = table.kind.partitions_max();
    let usable = usable_bytes(table.kind, table.sector_bytes, table.disk_bytes)?;
    let mut by_number: Vec<&Partition> = table.partitions.iter().collect();
    by_number.sort_by_key(|partition| partition.number);
    if let Some(pair) = by_number.windows(2).find(|pair| pair[0].number == pair[1].number) {
        return Err(Error::invalid(format!("two partitions have number {}", pair[0].number)));
    }
    for partition in &by_number {
        let Partition { number, offset_bytes, size_bytes, .. } = partition;
        if !(1..=number_max).contains(number) {
            return Err(Error::invalid(format!("a partition with number {number}; a table of the kind {} has 1 to {number_max}", table.kind)));
        }
        let sector_bytes = u64::from(table.sector_bytes);
        if *size_bytes == 0 || !size_bytes.is_multiple_of(sector_bytes) || !offset_bytes.is_multiple_of(sector_bytes) {
            return Err(Error::invalid(format!(
                "partition {number} has {size_bytes} bytes at {offset_bytes}; whole sectors of {sector_bytes} bytes, and at least one, are possible"
            )));
        }
        let end = offset_bytes.checked_add(*size_bytes).unwrap_or(u64::MAX);
        if *offset_bytes < usable.start || end > usable.end {
            return Err(Error::invalid(format!(
                "partition {number} lies at bytes {offset_bytes} to {end}; a table of the kind {} leaves {} to {} of this disk",
                table.kind, usable.start, usable.end
            )));
        }
    }
    if let Some((first, second)) = overlap(&table.partitions) {
        return Err(Error::invalid(format!("the partitions {first} and {second} overlap")));
    }
    Ok(by_number)
}

/// The numbers of two partitions that overlap, if there are any.
fn overlap(partitions: &[Partition]) -> Option<(u32, u32)> {
    let mut by_offset: Vec<&Partition> = partitions.iter().collect();
    by_offset.sort_by_key(|partition| (partition.offset_bytes, partition.number));
    let pair = by_offset.windows(2).find(|pair| pair[0].range().end > pair[1].offset_bytes)?;
    Some((pair[0].number, pair[1].number))
}

/// What [`read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The table; its partitions by number.
    pub table: Table,
    /// What is wrong with it and did not keep it from being read.
    pub notes: Vec<String>,
}

/// Where the bytes of a disk are read: offset, buffer to fill.
type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> Result<()>;

/// Looks for a partition table on a disk of `disk_bytes`, which `read_at` reads (offset, buffer to fill). `None` if there is
/// none: a filesystem on the bare disk, or nothing. The disk is not trusted; the work is bounded.
///
/// A GPT, with sectors of 512 or 4,096 bytes, counts where the MBR has a protective partition, or no partition at all and the
/// primary is sound. Behind a protective partition the backup is used if the primary is damaged, which is noted. An
/// MBR is taken to have sectors of 512 bytes.
///
/// # Errors
/// A table that breaks its format or does not fit the disk, and those of `read_at`.
pub fn read(read_at: ReadAt<'_>, disk_bytes: u64) -> Result<Option<Found>> {
    read_with_sectors(read_at, disk_bytes, 512)
}

/// As [`read`], an MBR taken to have sectors of `mbr_sector_bytes`: 512, or 4,096 where partitions make no sense with 512. A
/// GPT says itself what it has.
///
/// # Errors
/// As [`read`]; other sectors than 512 and 4,096 bytes.
pub fn read_with_sectors(read_at: ReadAt<'_>, disk_bytes: u64, mbr_sector_bytes: u32) -> Result<Option<Found>> {
    check_sector_bytes(mbr_sector_bytes)?;
    if disk_bytes < u64_of(MBR_BYTES) {
        return Ok(None);
    }
    let mut sector = [0; MBR_BYTES];
    read_at(0, &mut sector)?;
    let mbr = Mbr::decode(&sector);
    let signed = mbr.signature == SIGNATURE;
    let protective = signed && mbr.partition_record.iter().any(|record| record.os_type == TYPE_PROTECTIVE);
    let plain = signed && !protective && mbr.partition_record.iter().any(|record| record.os_type != 0);
    if plain {
        return mbr::read(read_at, disk_bytes, &mbr, mbr_sector_bytes);
    }
    match gpt::read(read_at, disk_bytes, &mbr, protective)? {
        Some(mut found) => {
            if !protective {
                found.notes.push("there is no protective MBR before the GPT".to_owned());
            }
            Ok(Some(found))
        }
        None => mbr::read(read_at, disk_bytes, &mbr, mbr_sector_bytes),
    }
}

#[cfg(test)]
mod tests;
