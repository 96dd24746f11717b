//! The structures of a VHD: "Virtual Hard Disk Image Format Specification", version 1.0 (Microsoft, 2006), sections
//! "Hard Disk Footer Format" and "Dynamic Disk Header Format". All numbers are big-endian.

use crate::error::{Error, Result};
use byteorder::{BigEndian, ByteOrder as _};

/// Bytes in the footer.
pub(super) const FOOTER_BYTES: usize = 512;
/// Bytes in the header of dynamic and differencing disks.
pub(super) const DYNAMIC_HEADER_BYTES: usize = 1024;
/// The footer's cookie.
pub(in crate::format) const FOOTER_COOKIE: [u8; 8] = *b"conectix";
/// The dynamic header's cookie.
pub(super) const DYNAMIC_HEADER_COOKIE: [u8; 8] = *b"cxsparse";
/// "Features": the bit that is always set.
pub(super) const FEATURES_RESERVED: u32 = 0x0000_0002;
/// "File Format Version" and "Header Version": 1.0. Only the upper half, the major version, breaks readers.
pub(super) const VERSION_1_0: u32 = 0x0001_0000;
/// A "Data Offset" of nothing.
pub(super) const NO_DATA_OFFSET: u64 = u64::MAX;
/// A BAT entry of a block that is not in the file.
pub(super) const BAT_UNUSED: u32 = u32::MAX;
/// "Disk Type": fixed.
pub(super) const DISK_TYPE_FIXED: u32 = 2;
/// "Disk Type": dynamic.
pub(super) const DISK_TYPE_DYNAMIC: u32 = 3;
/// "Disk Type": differencing.
pub(super) const DISK_TYPE_DIFFERENCING: u32 = 4;

const FOOTER_CHECKSUM_AT: usize = 64;
const DYNAMIC_HEADER_CHECKSUM_AT: usize = 36;

/// "Disk Geometry".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiskGeometry {
    pub(super) cylinders: u16,
    pub(super) heads: u8,
    pub(super) sectors_per_track: u8,
}

impl DiskGeometry {
    /// The algorithm of the specification's appendix "CHS Calculation".
    pub(super) fn of(total_sectors: u64) -> Self {
        let total_sectors = total_sectors.min(65_535 * 16 * 255);
        let (sectors_per_track, heads, cylinder_times_heads) = if total_sectors >= 65_535 * 16 * 63 {
            (255, 16, total_sectors / 255)
        } else {
            let cylinder_times_heads = total_sectors / 17;
            let heads = cylinder_times_heads.div_ceil(1024).max(4);
            if cylinder_times_heads < heads * 1024 && heads <= 16 {
                (17, heads, cylinder_times_heads)
            } else if total_sectors / 31 < 16 * 1024 {
                (31, 16, total_sectors / 31)
            } else {
                (63, 16, total_sectors / 63)
            }
        };
        Self { cylinders: u16::try_from(cylinder_times_heads / heads).unwrap_or(u16::MAX), heads: u8::try_from(heads).unwrap_or(16), sectors_per_track }
    }
}

/// "Hard Disk Footer".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) features: u32,
    pub(super) file_format_version: u32,
    pub(super) data_offset: u64,
    pub(super) time_stamp: u32,
    pub(super) creator_application: [u8; 4],
    pub(super) creator_version: u32,
    pub(super) creator_host_os: [u8; 4],
    pub(super) original_size: u64,
    pub(super) current_size: u64,
    pub(super) disk_geometry: DiskGeometry,
    pub(super) disk_type: u32,
    pub(super) unique_id: [u8; 16],
    pub(super) saved_state: u8,
}

impl Footer {
    /// The bytes, with their checksum.
    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[0..8].copy_from_slice(&FOOTER_COOKIE);
        BigEndian::write_u32(&mut bytes[8..12], self.features);
        BigEndian::write_u32(&mut bytes[12..16], self.file_format_version);
        BigEndian::write_u64(&mut bytes[16..24], self.data_offset);
        BigEndian::write_u32(&mut bytes[24..28], self.time_stamp);
        bytes[28..32].copy_from_slice(&self.creator_application);
        BigEndian::write_u32(&mut bytes[32..36], self.creator_version);
        bytes[36..40].copy_from_slice(&self.creator_host_os);
        BigEndian::write_u64(&mut bytes[40..48], self.original_size);
        BigEndian::write_u64(&mut bytes[48..56], self.current_size);
        BigEndian::write_u16(&mut bytes[56..58], self.disk_geometry.cylinders);
        bytes[58] = self.disk_geometry.heads;
        bytes[59] = self.disk_geometry.sectors_per_track;
        BigEndian::write_u32(&mut bytes[60..64], self.disk_type);
        bytes[68..84].copy_from_slice(&self.unique_id);
        bytes[84] = self.saved_state;
        let sum = checksum(&bytes, FOOTER_CHECKSUM_AT);
        BigEndian::write_u32(&mut bytes[64..68], sum);
        bytes
    }

    /// Reads what [`Footer::encode`] gives, whatever the reserved bytes hold.
    ///
    /// # Errors
    /// Cookie, checksum or major version wrong.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Self> {
        check(bytes, FOOTER_COOKIE, FOOTER_CHECKSUM_AT, "footer")?;
        let footer = Self {
            features: BigEndian::read_u32(&bytes[8..12]),
            file_format_version: BigEndian::read_u32(&bytes[12..16]),
            data_offset: BigEndian::read_u64(&bytes[16..24]),
            time_stamp: BigEndian::read_u32(&bytes[24..28]),
            creator_application: array(&bytes[28..32]),
            creator_version: BigEndian::read_u32(&bytes[32..36]),
            creator_host_os: array(&bytes[36..40]),
            original_size: BigEndian::read_u64(&bytes[40..48]),
            current_size: BigEndian::read_u64(&bytes[48..56]),
            disk_geometry: DiskGeometry { cylinders: BigEndian::read_u16(&bytes[56..58]), heads: bytes[58], sectors_per_track: bytes[59] },
            disk_type: BigEndian::read_u32(&bytes[60..64]),
            unique_id: array(&bytes[68..84]),
            saved_state: bytes[84],
        };
        check_version(footer.file_format_version, "footer")?;
        Ok(footer)
    }
}

/// "Dynamic Disk Header". Of the parent's fields only the identifier is followed, and only among the files that somebody gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DynamicHeader {
    pub(super) data_offset: u64,
    pub(super) table_offset: u64,
    pub(super) header_version: u32,
    pub(super) max_table_entries: u32,
    pub(super) block_size: u32,
    pub(super) parent_unique_id: [u8; 16],
    pub(super) parent_time_stamp: u32,
    /// UTF-16, big-endian.
    pub(super) parent_unicode_name: [u8; 512],
    /// Eight entries of 24 bytes.
    pub(super) parent_locator_entries: [u8; 192],
}

impl DynamicHeader {
    /// The bytes, with their checksum.
    pub(super) fn encode(&self) -> [u8; DYNAMIC_HEADER_BYTES] {
        let mut bytes = [0; DYNAMIC_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&DYNAMIC_HEADER_COOKIE);
        BigEndian::write_u64(&mut bytes[8..16], self.data_offset);
        BigEndian::write_u64(&mut bytes[16..24], self.table_offset);
        BigEndian::write_u32(&mut bytes[24..28], self.header_version);
        BigEndian::write_u32(&mut bytes[28..32], self.max_table_entries);
        BigEndian::write_u32(&mut bytes[32..36], self.block_size);
        bytes[40..56].copy_from_slice(&self.parent_unique_id);
        BigEndian::write_u32(&mut bytes[56..60], self.parent_time_stamp);
        bytes[64..576].copy_from_slice(&self.parent_unicode_name);
        bytes[576..768].copy_from_slice(&self.parent_locator_entries);
        let sum = checksum(&bytes, DYNAMIC_HEADER_CHECKSUM_AT);
        BigEndian::write_u32(&mut bytes[36..40], sum);
        bytes
    }

    /// Reads what [`DynamicHeader::encode`] gives, whatever the reserved bytes hold.
    ///
    /// # Errors
    /// Cookie, checksum or major version wrong.
    pub(super) fn decode(bytes: &[u8; DYNAMIC_HEADER_BYTES]) -> Result<Self> {
        check(bytes, DYNAMIC_HEADER_COOKIE, DYNAMIC_HEADER_CHECKSUM_AT, "dynamic disk header")?;
        let header = Self {
            data_offset: BigEndian::read_u64(&bytes[8..16]),
            table_offset: BigEndian::read_u64(&bytes[16..24]),
            header_version: BigEndian::read_u32(&bytes[24..28]),
            max_table_entries: BigEndian::read_u32(&bytes[28..32]),
            block_size: BigEndian::read_u32(&bytes[32..36]),
            parent_unique_id: array(&bytes[40..56]),
            parent_time_stamp: BigEndian::read_u32(&bytes[56..60]),
            parent_unicode_name: array(&bytes[64..576]),
            parent_locator_entries: array(&bytes[576..768]),
        };
        check_version(header.header_version, "dynamic disk header")?;
        Ok(header)
    }
}

/// "Checksum": the one's complement of the sum of all bytes without the checksum's own.
fn checksum(bytes: &[u8], checksum_at: usize) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    !(sum(&bytes[..checksum_at]) + sum(&bytes[checksum_at + 4..]))
}

fn check(bytes: &[u8], cookie: [u8; 8], checksum_at: usize, what: &str) -> Result<()> {
    if bytes[..8] != cookie {
        return Err(Error::corrupt(format!("VHD {what}: the cookie {:?} is missing", crate::error::escape(&cookie))));
    }
    let stored = BigEndian::read_u32(&bytes[checksum_at..checksum_at + 4]);
    let computed = checksum(bytes, checksum_at);
    if stored != computed {
        return Err(Error::corrupt(format!("VHD {what}: its checksum is {stored:#010x}, its bytes give {computed:#010x}")));
    }
    Ok(())
}

fn check_version(version: u32, what: &str) -> Result<()> {
    if version >> 16 != VERSION_1_0 >> 16 {
        return Err(Error::unsupported(format!("VHD {what}: version {}.{}; 1.0 is known", version >> 16, version & 0xffff)));
    }
    Ok(())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            features: FEATURES_RESERVED,
            file_format_version: VERSION_1_0,
            data_offset: 0x0102_0304_0506_0708,
            time_stamp: 0x1112_1314,
            creator_application: *b"abcd",
            creator_version: 0x2122_2324,
            creator_host_os: *b"efgh",
            original_size: 0x3132_3334_3536_3738,
            current_size: 0x4142_4344_4546_4748,
            disk_geometry: DiskGeometry { cylinders: 0x5152, heads: 0x53, sectors_per_track: 0x54 },
            disk_type: 0x6162_6364,
            unique_id: *b"0123456789abcdef",
            saved_state: 0x71,
        }
    }

    fn header() -> DynamicHeader {
        DynamicHeader {
            data_offset: NO_DATA_OFFSET,
            table_offset: 0x0102_0304_0506_0708,
            header_version: VERSION_1_0,
            max_table_entries: 0x1112_1314,
            block_size: 0x2122_2324,
            parent_unique_id: *b"0123456789abcdef",
            parent_time_stamp: 0x3132_3334,
            parent_unicode_name: [0x41; 512],
            parent_locator_entries: [0x51; 192],
        }
    }

    /// Specification, tables of "Hard Disk Footer Format" and "Dynamic Disk Header Format".
    #[test]
    fn fields_lie_at_the_offsets_of_the_specification() {
        let bytes = footer().encode();
        for (offset, expected) in [
            (0, b"conectix".as_slice()),
            (8, &[0, 0, 0, 2]),
            (12, &[0, 1, 0, 0]),
            (16, &[1, 2, 3, 4, 5, 6, 7, 8]),
            (24, &[0x11, 0x12, 0x13, 0x14]),
            (28, b"abcd"),
            (32, &[0x21, 0x22, 0x23, 0x24]),
            (36, b"efgh"),
            (40, &[0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38]),
            (48, &[0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]),
            (56, &[0x51, 0x52, 0x53, 0x54]),
            (60, &[0x61, 0x62, 0x63, 0x64]),
            (68, b"0123456789abcdef"),
            (84, &[0x71]),
            (85, &[0; 427]),
        ] {
            assert_eq!(&bytes[offset..offset + expected.len()], expected, "footer, offset {offset}");
        }
        let bytes = header().encode();
        for (offset, expected) in [
            (0, b"cxsparse".as_slice()),
            (8, &[0xff; 8]),
            (16, &[1, 2, 3, 4, 5, 6, 7, 8]),
            (24, &[0, 1, 0, 0]),
            (28, &[0x11, 0x12, 0x13, 0x14]),
            (32, &[0x21, 0x22, 0x23, 0x24]),
            (40, b"0123456789abcdef"),
            (56, &[0x31, 0x32, 0x33, 0x34]),
            (60, &[0; 4]),
            (64, &[0x41; 512]),
            (576, &[0x51; 192]),
            (768, &[0; 256]),
        ] {
            assert_eq!(&bytes[offset..offset + expected.len()], expected, "dynamic header, offset {offset}");
        }
    }

    #[test]
    fn structures_read_back() {
        assert_eq!(Footer::decode(&footer().encode()).unwrap(), footer());
        assert_eq!(DynamicHeader::decode(&header().encode()).unwrap(), header());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (footer, header) = (footer().encode(), header().encode());
        for at in 0..footer.len() {
            let mut bytes = footer;
            bytes[at] ^= 0x10;
            assert!(Footer::decode(&bytes).is_err(), "footer, byte {at}");
        }
        for at in 0..header.len() {
            let mut bytes = header;
            bytes[at] ^= 0x10;
            assert!(DynamicHeader::decode(&bytes).is_err(), "header, byte {at}");
        }
    }

    /// Values of a second transcription of the appendix; tests/stream.rs compares with what qemu-img writes.
    #[test]
    fn geometry_follows_the_appendix() {
        const MIB: u64 = 2048;
        for (sectors, cylinders, heads, sectors_per_track) in [
            (0, 0, 4, 17),
            (MIB, 30, 4, 17),
            (40 * MIB, 963, 5, 17),
            (64 * MIB, 963, 8, 17),
            (127 * MIB, 1019, 15, 17),
            (128 * MIB, 963, 16, 17),
            (137 * MIB, 565, 16, 31),
            (512 * MIB, 1040, 16, 63),
            (1024 * MIB, 2080, 16, 63),
            (8 * 1024 * MIB, 16_644, 16, 63),
            (31 * 1024 * MIB, 64_495, 16, 63),
            (32 * 1024 * MIB, 16_448, 16, 255),
            (127 * 1024 * MIB, 65_278, 16, 255),
            (2040 * 1024 * MIB, 65_535, 16, 255),
        ] {
            let expected = DiskGeometry { cylinders, heads, sectors_per_track };
            assert_eq!(DiskGeometry::of(sectors), expected, "{sectors} sectors");
        }
    }
}
