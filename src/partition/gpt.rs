//! GUID partition table (UEFI specification 2.10, section 5.3), by the crate gpt.
//!
//! ```text
//! LBA 0     protective MBR
//! LBA 1     primary header
//! LBA 2…    128 entries of 128 bytes: 32 sectors of 512 bytes, 4 of 4,096
//!           partitions
//! LBA −33…  the entries again (−5 with sectors of 4,096 bytes)
//! LBA −1    backup header
//! ```
//!
//! Of the crate its lower half is used, over devices that are a few KiB of memory. Its `GptDisk` would number the partitions
//! anew, take overlaps, and draw random GUIDs (as does its `HeaderBuilder::new`; so headers are written out here). When reading
//! it asserts the size of an entry and allocates what a header says: everything is checked before it is asked.

use super::format::{BOOT_CODE_BYTES, MBR_BYTES, Mbr, PartitionRecord, SIGNATURE, TYPE_PROTECTIVE};
use super::{Found, Partition, PartitionType, ReadAt, Table, TableKind, checked};
use crate::error::{Error, ErrorKind, Result};
use crate::guid::Guid;
use crate::units::{index_of, u64_of, usize_of};
use byteorder::{ByteOrder as _, LittleEndian};
use gpt::disk::LogicalBlockSize;
use gpt::header::Header;
use gpt::partition_types::{OperatingSystem, Type};
use std::collections::HashSet;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// Entries that are written: the least that the specification allows, and what all tools write.
pub(super) const ENTRIES: u32 = 128;
/// Bytes in an entry.
const ENTRY_BYTES: u32 = 128;
/// UTF-16 units in a partition's name (UEFI specification 2.10, table 5-6).
pub const NAME_MAX_UNITS: usize = 36;
/// `Signature`.
const HEADER_SIGNATURE: &[u8] = b"EFI PART";
/// `HeaderSize` of the revision 1.0, which is the only one.
const HEADER_BYTES: u32 = 92;
/// The largest array of entries that is read: 64 times what all tools write.
const READ_ARRAY_MAX_BYTES: u64 = 1 << 20;
/// The largest entry that the specification's rule (128 times a power of two) is followed to.
const READ_ENTRY_MAX_BYTES: u32 = 4096;

/// Sectors of one array of entries.
fn array_sectors(sector_bytes: u64) -> u64 {
    (u64::from(ENTRIES) * u64::from(ENTRY_BYTES)).div_ceil(sector_bytes)
}

pub(super) fn usable_bytes(sector_bytes: u32, disk_bytes: u64) -> Result<Range<u64>> {
    let sector_bytes = u64::from(sector_bytes);
    let head_bytes = (2 + array_sectors(sector_bytes)) * sector_bytes;
    let tail_bytes = (1 + array_sectors(sector_bytes)) * sector_bytes;
    let needed = head_bytes + tail_bytes + sector_bytes;
    if disk_bytes < needed {
        let message = format!("the disk has {disk_bytes} bytes; a GPT and one sector take {needed}");
        return Err(Error::new(ErrorKind::TooSmall { needed, available: disk_bytes }, message));
    }
    Ok(head_bytes..disk_bytes - tail_bytes)
}

/// Both copies of the table as (offset, bytes).
pub(super) fn pieces(table: &Table) -> Result<Vec<(u64, Vec<u8>)>> {
    let partitions = checked(table)?;
    let sector_bytes = u64::from(table.sector_bytes);
    let block_size = LogicalBlockSize::try_from(sector_bytes).map_err(|error| Error::invalid("sectors of this size").caused_by(error))?;
    let entries = partitions.iter().map(|partition| entry(partition, sector_bytes)).collect::<Result<Vec<_>>>()?;
    let mut guids = HashSet::from([table.disk_guid]);
    if let Some(twice) = partitions.iter().find(|partition| !guids.insert(partition.guid)) {
        return Err(Error::invalid(format!("partition {} has the GUID {}, which another partition or the disk has", twice.number, twice.guid)));
    }
    if guids.contains(&Guid::from_bytes([0; 16])) {
        return Err(Error::invalid("the GUID of the disk and of each partition must not be zero"));
    }

    let usable = super::usable_bytes(table.kind, table.sector_bytes, table.disk_bytes)?;
    let last_lba = table.disk_bytes / sector_bytes - 1;
    let primary = Header {
        signature: "EFI PART".to_owned(),
        revision: (1, 0),
        header_size_le: HEADER_BYTES,
        crc32: 0,
        reserved: 0,
        current_lba: 1,
        backup_lba: last_lba,
        first_usable: usable.start / sector_bytes,
        last_usable: usable.end / sector_bytes - 1,
        disk_guid: uuid::Uuid::from_bytes(*table.disk_guid.as_bytes()),
        part_start: 2,
        num_parts: ENTRIES,
        part_size: ENTRY_BYTES,
        crc32_parts: 0,
    };
    let backup = Header { current_lba: last_lba, backup_lba: 1, part_start: usable.end / sector_bytes, ..primary.clone() };
    let mut head = Window::new(0..usable.start);
    let mut tail = Window::new(usable.end..table.disk_bytes);
    head.bytes[..MBR_BYTES].copy_from_slice(&protective_mbr(last_lba, table.boot_code).encode());
    let covered = "the window covers the header and its entries";
    for (mut header, window) in [(primary, &mut head), (backup, &mut tail)] {
        for (partition, entry) in partitions.iter().zip(&entries) {
            entry.write_to_device(window, u64::from(partition.number - 1), header.part_start, block_size, ENTRY_BYTES).expect(covered);
        }
        if header.current_lba == 1 { header.write_primary(window, block_size) } else { header.write_backup(window, block_size) }.expect(covered);
    }
    Ok(vec![(head.start, head.bytes), (tail.start, tail.bytes)])
}

fn entry(partition: &Partition, sector_bytes: u64) -> Result<gpt::partition::Partition> {
    let Partition { number, partition_type, guid, name, attributes, offset_bytes, size_bytes } = partition;
    let PartitionType::Gpt(type_guid) = partition_type else {
        return Err(Error::invalid(format!("partition {number} has a byte as its type; a GPT has GUIDs")));
    };
    if *type_guid.as_bytes() == [0; 16] {
        return Err(Error::invalid(format!("partition {number} has the type of an unused entry")));
    }
    let units = name.encode_utf16().count();
    if units > NAME_MAX_UNITS || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "partition {number} has the name {name:?} of {units} UTF-16 units; up to {NAME_MAX_UNITS} without control characters fit"
        )));
    }
    let first_lba = offset_bytes / sector_bytes;
    Ok(gpt::partition::Partition {
        part_type_guid: Type { guid: uuid::Uuid::from_bytes(*type_guid.as_bytes()), os: OperatingSystem::None },
        part_guid: uuid::Uuid::from_bytes(*guid.as_bytes()),
        first_lba,
        last_lba: first_lba + size_bytes / sector_bytes - 1,
        flags: *attributes,
        name: name.clone(),
    })
}

/// One partition over the whole disk, so that tools which know nothing of a GPT find no room (section 5.2.3). What 32 bits cannot
/// count is left out, as the specification says.
fn protective_mbr(last_lba: u64, boot_code: Option<[u8; BOOT_CODE_BYTES]>) -> Mbr {
    let record = PartitionRecord {
        boot_indicator: 0,
        starting_chs: [0, 2, 0],
        os_type: TYPE_PROTECTIVE,
        ending_chs: [0xff, 0xff, 0xff],
        starting_lba: 1,
        size_in_lba: u32::try_from(last_lba).unwrap_or(u32::MAX),
    };
    let empty = PartitionRecord::default();
    Mbr {
        boot_code: boot_code.unwrap_or([0; BOOT_CODE_BYTES]),
        unique_mbr_disk_signature: 0,
        unknown: 0,
        partition_record: [record, empty, empty, empty],
        signature: SIGNATURE,
    }
}

/// A range of a disk in memory, as a device that the crate writes to by absolute offsets.
#[derive(Debug)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
    position: u64,
}

impl Window {
    fn new(range: Range<u64>) -> Self {
        Self { start: range.start, bytes: vec![0; usize_of(range.end - range.start)], position: 0 }
    }

    fn cursor(&mut self) -> std::io::Result<Cursor<&mut [u8]>> {
        let position = self.position.checked_sub(self.start).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        let mut cursor = Cursor::new(&mut self.bytes[..]);
        cursor.set_position(position);
        Ok(cursor)
    }
}

impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.cursor()?.read(out)?;
        self.position += u64_of(len);
        Ok(len)
    }
}

impl Write for Window {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let len = self.cursor()?.write(data)?;
        self.position += u64_of(len);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let end = self.start + u64_of(self.bytes.len());
        self.position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => end.checked_add_signed(by),
        }
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// One of the two copies of a table.
enum Copy {
    /// No header is there.
    Absent,
    /// A header is there, and cannot be used.
    Bad(Error),
    Good(Header, Vec<Partition>),
}

/// Reads the GPT of a disk. Where the MBR does not say that there is one, the backup does not count, for it may be left over from
/// an earlier use of the disk, and `None` says that there is no sound primary.
///
/// # Errors
/// No table that can be used where there should be one, and those of `read_at`.
pub(super) fn read(read_at: ReadAt<'_>, disk_bytes: u64, mbr: &Mbr, protected: bool) -> Result<Option<Found>> {
    let mut primary_error = None;
    for sector_bytes in [512, 4096] {
        match copy(read_at, disk_bytes, sector_bytes, 1)? {
            Copy::Absent => {}
            Copy::Bad(error) => primary_error = primary_error.or(Some(error)),
            Copy::Good(header, partitions) => {
                let mut notes = Vec::new();
                check_backup(read_at, disk_bytes, sector_bytes, &header, &partitions, &mut notes)?;
                return Ok(Some(Found { table: table(disk_bytes, sector_bytes, &header, partitions, mbr), notes }));
            }
        }
    }
    if !protected {
        return Ok(None);
    }
    for sector_bytes in [512, 4096] {
        let last_lba = (disk_bytes / sector_bytes).saturating_sub(1);
        if let Copy::Good(header, partitions) = copy(read_at, disk_bytes, sector_bytes, last_lba)? {
            let why = primary_error.map_or_else(|| "it is not there".to_owned(), |error| error.to_string());
            let notes = vec![format!("the primary GPT cannot be used: {why}; the backup was read")];
            return Ok(Some(Found { table: table(disk_bytes, sector_bytes, &header, partitions, mbr), notes }));
        }
    }
    Err(primary_error.unwrap_or_else(|| Error::corrupt("there is neither a primary nor a backup GPT header")))
}

/// Notes what is wrong with the backup of a sound primary.
fn check_backup(read_at: ReadAt<'_>, disk_bytes: u64, sector_bytes: u64, header: &Header, partitions: &[Partition], notes: &mut Vec<String>) -> Result<()> {
    let last_lba = disk_bytes / sector_bytes - 1;
    if header.backup_lba != last_lba {
        notes.push(format!("the backup GPT is in sector {}, and the last sector of the disk is {last_lba}", header.backup_lba));
    }
    match copy(read_at, disk_bytes, sector_bytes, header.backup_lba)? {
        Copy::Absent => notes.push("the backup GPT is not there".to_owned()),
        Copy::Bad(error) => notes.push(format!("the backup GPT cannot be used: {error}")),
        Copy::Good(_, others) if others != partitions => notes.push("the backup GPT has other partitions than the primary".to_owned()),
        Copy::Good(..) => {}
    }
    Ok(())
}

/// Reads the copy whose header is in sector `lba`. Nothing that the header says is believed before it is checked.
fn copy(read_at: ReadAt<'_>, disk_bytes: u64, sector_bytes: u64, lba: u64) -> Result<Copy> {
    if lba == 0 || lba >= disk_bytes / sector_bytes {
        return Ok(Copy::Absent);
    }
    // The crate reads a header from sector 1 of a device: so this one is put there.
    let mut sectors = vec![0; usize_of(2 * sector_bytes)];
    let sector = &mut sectors[usize_of(sector_bytes)..];
    read_at(lba * sector_bytes, sector)?;
    if !sector.starts_with(HEADER_SIGNATURE) {
        return Ok(Copy::Absent);
    }
    let offset = lba * sector_bytes;
    let header_bytes = LittleEndian::read_u32(&sector[12..16]);
    if header_bytes != HEADER_BYTES {
        let message = format!("the GPT header says it has {header_bytes} bytes; {HEADER_BYTES} are read");
        let possible = (u64::from(HEADER_BYTES)..=sector_bytes).contains(&u64::from(header_bytes));
        return Ok(Copy::Bad(if possible { Error::unsupported(message) } else { Error::corrupt(message) }.at_offset(offset)));
    }
    let block_size = LogicalBlockSize::try_from(sector_bytes).expect("the callers give 512 or 4096");
    let header = match gpt::header::read_header_from_arbitrary_device(&mut Cursor::new(sectors), block_size) {
        Ok(header) => header,
        Err(error) => return Ok(Copy::Bad(Error::corrupt("the GPT header").at_offset(offset).caused_by(error))),
    };
    if let Err(error) = check_header(&header, disk_bytes / sector_bytes, sector_bytes, lba) {
        return Ok(Copy::Bad(error.at_offset(offset)));
    }
    let mut array = vec![0; index_of(header.num_parts) * index_of(header.part_size)];
    read_at(header.part_start * sector_bytes, &mut array)?;
    let at_start = Header { part_start: 0, ..header.clone() };
    let entries = match gpt::partition::file_read_partitions(&mut Cursor::new(array), &at_start, block_size) {
        Ok(entries) => entries,
        Err(error) => return Ok(Copy::Bad(Error::corrupt("the GPT's entries").at_offset(header.part_start * sector_bytes).caused_by(error))),
    };
    let used = entries.into_iter().filter(|(_, entry)| entry.is_used());
    let partitions: Result<Vec<Partition>> = used.map(|(number, entry)| partition(number, entry, &header, sector_bytes)).collect();
    Ok(match partitions {
        Ok(partitions) => match super::overlap(&partitions) {
            Some((first, second)) => Copy::Bad(Error::corrupt(format!("the partitions {first} and {second} overlap")).at_offset(offset)),
            None => Copy::Good(header, partitions),
        },
        Err(error) => Copy::Bad(error.at_offset(offset)),
    })
}

/// Checks a header whose checksum is right against the disk.
fn check_header(header: &Header, disk_sectors: u64, sector_bytes: u64, lba: u64) -> Result<()> {
    if header.current_lba != lba {
        return Err(Error::corrupt(format!("the GPT header in sector {lba} says it is in sector {}", header.current_lba)));
    }
    if header.part_size != ENTRY_BYTES {
        let message = format!("the GPT has entries of {} bytes; {ENTRY_BYTES} are read", header.part_size);
        let possible = header.part_size.is_power_of_two() && (ENTRY_BYTES..=READ_ENTRY_MAX_BYTES).contains(&header.part_size);
        return Err(if possible { Error::unsupported(message) } else { Error::corrupt(message) });
    }
    let array_bytes = u64::from(header.num_parts) * u64::from(header.part_size);
    if array_bytes == 0 || array_bytes > READ_ARRAY_MAX_BYTES {
        return Err(Error::limit(format!("the GPT says it has {} entries; 1 to {} are read", header.num_parts, READ_ARRAY_MAX_BYTES / u64::from(ENTRY_BYTES))));
    }
    let array_end = header.part_start.checked_add(array_bytes.div_ceil(sector_bytes));
    let Some(array_end) = array_end.filter(|end| header.part_start >= 2 && *end <= disk_sectors) else {
        return Err(Error::corrupt(format!("the GPT's entries begin in sector {}, and the disk has {disk_sectors} sectors", header.part_start)));
    };
    if header.first_usable > header.last_usable || header.last_usable >= disk_sectors {
        return Err(Error::corrupt(format!(
            "the GPT leaves the sectors {} to {} to partitions, and the disk has {disk_sectors}",
            header.first_usable, header.last_usable
        )));
    }
    if header.part_start <= header.last_usable && array_end > header.first_usable {
        return Err(Error::corrupt("the GPT's entries lie where partitions can lie"));
    }
    Ok(())
}

fn partition(number: u32, entry: gpt::partition::Partition, header: &Header, sector_bytes: u64) -> Result<Partition> {
    let gpt::partition::Partition { part_type_guid, part_guid, first_lba, last_lba, flags, name } = entry;
    if first_lba > last_lba || first_lba < header.first_usable || last_lba > header.last_usable {
        return Err(Error::corrupt(format!(
            "partition {number} has the sectors {first_lba} to {last_lba}; the GPT leaves {} to {} to partitions",
            header.first_usable, header.last_usable
        )));
    }
    Ok(Partition {
        number,
        partition_type: PartitionType::Gpt(Guid::from_bytes(*part_type_guid.guid.as_bytes())),
        guid: Guid::from_bytes(*part_guid.as_bytes()),
        name,
        attributes: flags,
        offset_bytes: first_lba * sector_bytes,
        size_bytes: (last_lba - first_lba + 1) * sector_bytes,
    })
}

fn table(disk_bytes: u64, sector_bytes: u64, header: &Header, partitions: Vec<Partition>, mbr: &Mbr) -> Table {
    Table {
        kind: TableKind::Gpt,
        disk_guid: Guid::from_bytes(*header.disk_guid.as_bytes()),
        signature: mbr.unique_mbr_disk_signature,
        sector_bytes: u32::try_from(sector_bytes).expect("512 or 4096"),
        disk_bytes,
        partitions,
        boot_code: (mbr.signature == SIGNATURE && mbr.boot_code.iter().any(|byte| *byte != 0)).then_some(mbr.boot_code),
    }
}
