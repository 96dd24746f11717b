//! Master boot record: four primary partitions (UEFI specification 2.10, section 5.2.1). Extended partitions are read, not
//! made.

use super::format::{BOOT_ACTIVE, BOOT_CODE_BYTES, MBR_BYTES, Mbr, PartitionRecord, SIGNATURE, TYPES_EXTENDED};
use super::{ATTRIBUTE_LEGACY_BOOT, Found, Partition, PartitionType, ReadAt, Table, TableKind, checked};
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::units::{index_of, usize_of};
use std::collections::HashSet;
use std::ops::Range;

/// Partitions in the record.
pub(super) const NUMBER_MAX: u32 = 4;
/// Sectors that 32 bits can count. One more could be addressed; other tools draw the line here.
const SECTORS_MAX: u64 = (1 << 32) - 1;
/// Logical partitions that are read; Linux gives device numbers to 60 at most.
const LOGICAL_MAX: u32 = 128;

/// Heads and sectors a track of the translation that BIOSes use for disks over 8 GB.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
/// Cylinder 1023, head 254, sector 63: what lies beyond the reach of CHS.
const CHS_BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];

pub(super) fn usable_bytes(sector_bytes: u32, disk_bytes: u64) -> Result<Range<u64>> {
    let sector_bytes = u64::from(sector_bytes);
    if disk_bytes > SECTORS_MAX * sector_bytes {
        return Err(Error::unsupported(format!(
            "the disk has {disk_bytes} bytes; an MBR reaches {} with sectors of {sector_bytes} bytes, a GPT reaches all of it",
            SECTORS_MAX * sector_bytes
        )));
    }
    if disk_bytes <= sector_bytes {
        return Err(Error::invalid(format!("a disk of {disk_bytes} bytes has no room for an MBR and a partition")));
    }
    Ok(sector_bytes..disk_bytes)
}

/// The record as (offset, bytes).
pub(super) fn pieces(table: &Table) -> Result<Vec<(u64, Vec<u8>)>> {
    let partitions = checked(table)?;
    if partitions.iter().filter(|partition| partition.attributes == ATTRIBUTE_LEGACY_BOOT).count() > 1 {
        return Err(Error::invalid("an MBR has one active partition at most"));
    }
    let mut partition_record = [PartitionRecord::default(); 4];
    for partition in partitions {
        partition_record[index_of(partition.number - 1)] = record(partition, u64::from(table.sector_bytes))?;
    }
    let mbr = Mbr {
        boot_code: table.boot_code.unwrap_or([0; BOOT_CODE_BYTES]),
        unique_mbr_disk_signature: table.signature,
        unknown: 0,
        partition_record,
        signature: SIGNATURE,
    };
    let mut sector = vec![0; index_of(table.sector_bytes)];
    sector[..MBR_BYTES].copy_from_slice(&mbr.encode());
    Ok(vec![(0, sector)])
}

fn record(partition: &Partition, sector_bytes: u64) -> Result<PartitionRecord> {
    let number = partition.number;
    let PartitionType::Mbr(os_type) = partition.partition_type else {
        return Err(Error::invalid(format!("partition {number} has a GUID as its type; an MBR has bytes")));
    };
    if os_type == 0 || TYPES_EXTENDED.contains(&os_type) || os_type == super::format::TYPE_PROTECTIVE {
        return Err(Error::invalid(format!("partition {number} has the type 0x{os_type:02x}, which is none of a primary partition")));
    }
    if partition.attributes & !ATTRIBUTE_LEGACY_BOOT != 0 {
        return Err(Error::invalid(format!(
            "partition {number} has the attributes {:#x}; an MBR has none but {ATTRIBUTE_LEGACY_BOOT:#x}",
            partition.attributes
        )));
    }
    let (first, count) = (partition.offset_bytes / sector_bytes, partition.size_bytes / sector_bytes);
    let fits = "the disk has at most 2^32 - 1 sectors";
    Ok(PartitionRecord {
        boot_indicator: if partition.attributes == 0 { 0 } else { BOOT_ACTIVE },
        starting_chs: chs(first),
        os_type,
        ending_chs: chs(first + count - 1),
        starting_lba: u32::try_from(first).expect(fits),
        size_in_lba: u32::try_from(count).expect(fits),
    })
}

/// An LBA as head, sector with the cylinder's upper bits, cylinder.
fn chs(lba: u64) -> [u8; 3] {
    let (cylinder, head, sector) = (lba / (HEADS * SECTORS_PER_TRACK), lba / SECTORS_PER_TRACK % HEADS, lba % SECTORS_PER_TRACK + 1);
    if cylinder > 1023 {
        return CHS_BEYOND;
    }
    let byte = |value: u64| u8::try_from(value).expect("each field was cut to a byte");
    [byte(head), byte(sector | (cylinder >> 8) << 6), byte(cylinder & 0xff)]
}

/// Reads the table whose first sector is `mbr`; `None` where the sector is no MBR. Nothing in it says how large its sectors are.
pub(super) fn read(read_at: ReadAt<'_>, disk_bytes: u64, mbr: &Mbr, sector_bytes: u32) -> Result<Option<Found>> {
    let used: Vec<(u32, &PartitionRecord)> = (1..).zip(&mbr.partition_record).filter(|(_, record)| record.os_type != 0).collect();
    // A volume's boot sector ends in the same signature and has code where an MBR has partitions; or nothing there, and a jump
    // and a name at its start.
    let boot_sector = matches!(mbr.boot_code[..3], [0xeb, _, 0x90] | [0xe9, ..]) && used.is_empty();
    if mbr.signature != SIGNATURE || boot_sector || mbr.partition_record.iter().any(|record| !matches!(record.boot_indicator, 0 | BOOT_ACTIVE)) {
        return Ok(None);
    }
    let mut notes = Vec::new();
    let mut partitions = Vec::new();
    let mut extended = None;
    for (number, record) in used {
        let found = partition(number, record, 0, disk_bytes, sector_bytes)?;
        if TYPES_EXTENDED.contains(&record.os_type) && extended.replace(found.range()).is_some() {
            return Err(Error::corrupt("the MBR has two extended partitions"));
        }
        partitions.push(found);
    }
    if let Some((first, second)) = super::overlap(&partitions) {
        return Err(Error::corrupt(format!("the partitions {first} and {second} overlap")));
    }
    if let Some(extended) = extended {
        logical(read_at, &extended, disk_bytes, sector_bytes, &mut partitions)?;
    }
    if mbr.unique_mbr_disk_signature == 0 {
        notes.push("the MBR has no disk signature, so its partitions have no PARTUUID".to_owned());
    }
    let table = Table {
        kind: TableKind::Mbr,
        disk_guid: Guid::from_bytes([0; 16]),
        signature: mbr.unique_mbr_disk_signature,
        sector_bytes,
        disk_bytes,
        partitions,
        boot_code: mbr.boot_code.iter().any(|byte| *byte != 0).then_some(mbr.boot_code),
    };
    Ok(Some(Found { table, notes }))
}

/// Follows the chain of extended boot records: each has a logical partition, counted from the record, and the next record, counted
/// from the start of the extended partition.
fn logical(read_at: ReadAt<'_>, extended: &Range<u64>, disk_bytes: u64, sector_bytes: u32, partitions: &mut Vec<Partition>) -> Result<()> {
    let mut visited = HashSet::new();
    let mut at = extended.start;
    let mut number = NUMBER_MAX + 1;
    let primary_count = partitions.len();
    loop {
        if !visited.insert(at) {
            return Err(Error::corrupt("the chain of extended boot records comes back to one of its own").at_offset(at));
        }
        if visited.len() > usize_of(u64::from(LOGICAL_MAX)) {
            return Err(Error::limit(format!("over {LOGICAL_MAX} logical partitions")));
        }
        if at + u64::from(sector_bytes) > extended.end {
            return Err(Error::corrupt("an extended boot record lies outside the extended partition").at_offset(at));
        }
        let mut sector = [0; MBR_BYTES];
        read_at(at, &mut sector)?;
        let record = Mbr::decode(&sector);
        if record.signature != SIGNATURE {
            return Err(Error::corrupt("an extended boot record has no signature").at_offset(at));
        }
        let [data, next, ..] = record.partition_record;
        if data.os_type != 0 {
            let found = partition(number, &data, at, disk_bytes, sector_bytes)?;
            if found.range().end > extended.end {
                return Err(Error::corrupt(format!("the logical partition {number} ends outside the extended partition")).at_offset(at));
            }
            partitions.push(found);
            number += 1;
        }
        if next.os_type == 0 {
            break;
        }
        at = extended.start + u64::from(next.starting_lba) * u64::from(sector_bytes);
    }
    match super::overlap(&partitions[primary_count..]) {
        Some((first, second)) => Err(Error::corrupt(format!("the logical partitions {first} and {second} overlap"))),
        None => Ok(()),
    }
}

/// A record whose sectors count from `base_bytes`.
fn partition(number: u32, record: &PartitionRecord, base_bytes: u64, disk_bytes: u64, sector_bytes: u32) -> Result<Partition> {
    let sector_bytes = u64::from(sector_bytes);
    let offset_bytes = base_bytes + u64::from(record.starting_lba) * sector_bytes;
    let size_bytes = u64::from(record.size_in_lba) * sector_bytes;
    if size_bytes == 0 || offset_bytes < sector_bytes || offset_bytes + size_bytes > disk_bytes {
        return Err(Error::corrupt(format!("partition {number} has {size_bytes} bytes at {offset_bytes}, and the disk has {disk_bytes}")));
    }
    Ok(Partition {
        number,
        partition_type: PartitionType::Mbr(record.os_type),
        guid: Guid::from_bytes([0; 16]),
        name: String::new(),
        attributes: if record.boot_indicator == BOOT_ACTIVE { ATTRIBUTE_LEGACY_BOOT } else { 0 },
        offset_bytes,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chs_fields_follow_the_convention() {
        for (lba, fields) in [
            (0, [0, 1, 0]),
            (62, [0, 63, 0]),
            (63, [1, 1, 0]),
            (2048, [32, 33, 0]),
            (255 * 63, [0, 1, 1]),
            (255 * 63 * 300, [0, 0x41, 44]),
            (255 * 63 * 1024 - 1, CHS_BEYOND),
            (255 * 63 * 1024, CHS_BEYOND),
            (u64::from(u32::MAX), CHS_BEYOND),
        ] {
            assert_eq!(chs(lba), fields, "{lba}");
        }
    }
}
