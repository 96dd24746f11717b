//! The master boot record with the names of the UEFI specification (2.10, section 5.2.1, "Legacy Master Boot Record").

use byteorder::{ByteOrder as _, LittleEndian};

/// Bytes of the record, whatever the size of a sector.
pub(super) const MBR_BYTES: usize = 512;
/// Bytes for boot code.
pub(super) const BOOT_CODE_BYTES: usize = 440;
/// `Signature`.
pub(super) const SIGNATURE: u16 = 0xaa55;
/// `OSType` of the record that protects a GPT.
pub(super) const TYPE_PROTECTIVE: u8 = 0xee;
/// `OSType`s of an extended partition: CHS, LBA, Linux.
pub(super) const TYPES_EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// `BootIndicator` of the partition that a BIOS boots.
pub(super) const BOOT_ACTIVE: u8 = 0x80;

/// The first sector of a disk with an MBR or a protective one; also the form of an extended boot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mbr {
    pub(super) boot_code: [u8; BOOT_CODE_BYTES],
    pub(super) unique_mbr_disk_signature: u32,
    pub(super) unknown: u16,
    pub(super) partition_record: [PartitionRecord; 4],
    pub(super) signature: u16,
}

impl Mbr {
    pub(super) fn encode(&self) -> [u8; MBR_BYTES] {
        let mut out = [0; MBR_BYTES];
        out[0..440].copy_from_slice(&self.boot_code);
        LittleEndian::write_u32(&mut out[440..444], self.unique_mbr_disk_signature);
        LittleEndian::write_u16(&mut out[444..446], self.unknown);
        for (record, bytes) in self.partition_record.iter().zip(out[446..510].chunks_exact_mut(PartitionRecord::BYTES)) {
            bytes.copy_from_slice(&record.encode());
        }
        LittleEndian::write_u16(&mut out[510..512], self.signature);
        out
    }

    pub(super) fn decode(bytes: &[u8; MBR_BYTES]) -> Self {
        let mut partition_record = [PartitionRecord::default(); 4];
        for (record, bytes) in partition_record.iter_mut().zip(bytes[446..510].chunks_exact(PartitionRecord::BYTES)) {
            *record = PartitionRecord::decode(&copy(bytes));
        }
        Self {
            boot_code: copy(&bytes[0..440]),
            unique_mbr_disk_signature: LittleEndian::read_u32(&bytes[440..444]),
            unknown: LittleEndian::read_u16(&bytes[444..446]),
            partition_record,
            signature: LittleEndian::read_u16(&bytes[510..512]),
        }
    }
}

/// One of the four partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PartitionRecord {
    pub(super) boot_indicator: u8,
    pub(super) starting_chs: [u8; 3],
    pub(super) os_type: u8,
    pub(super) ending_chs: [u8; 3],
    pub(super) starting_lba: u32,
    pub(super) size_in_lba: u32,
}

impl PartitionRecord {
    pub(super) const BYTES: usize = 16;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = self.boot_indicator;
        out[1..4].copy_from_slice(&self.starting_chs);
        out[4] = self.os_type;
        out[5..8].copy_from_slice(&self.ending_chs);
        LittleEndian::write_u32(&mut out[8..12], self.starting_lba);
        LittleEndian::write_u32(&mut out[12..16], self.size_in_lba);
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            boot_indicator: bytes[0],
            starting_chs: copy(&bytes[1..4]),
            os_type: bytes[4],
            ending_chs: copy(&bytes[5..8]),
            starting_lba: LittleEndian::read_u32(&bytes[8..12]),
            size_in_lba: LittleEndian::read_u32(&bytes[12..16]),
        }
    }
}

/// `N` bytes as an array; the callers slice exactly that many.
fn copy<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice has the length of the field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them() {
        let record = PartitionRecord {
            boot_indicator: 0x80,
            starting_chs: [1, 2, 3],
            os_type: 4,
            ending_chs: [5, 6, 7],
            starting_lba: 0x0809_0a0b,
            size_in_lba: 0x0c0d_0e0f,
        };
        assert_eq!(record.encode(), [0x80, 1, 2, 3, 4, 5, 6, 7, 0x0b, 0x0a, 9, 8, 0x0f, 0x0e, 0x0d, 0x0c]);
        assert_eq!(PartitionRecord::decode(&record.encode()), record);
        let empty = PartitionRecord::default();
        let mbr = Mbr {
            boot_code: [7; BOOT_CODE_BYTES],
            unique_mbr_disk_signature: 0x1122_3344,
            unknown: 0x5566,
            partition_record: [empty, record, empty, empty],
            signature: SIGNATURE,
        };
        let bytes = mbr.encode();
        assert_eq!(Mbr::decode(&bytes), mbr);
        for (offset, value) in [(0, 7), (439, 7), (440, 0x44), (444, 0x66), (446, 0), (462, 0x80), (466, 4), (510, 0x55), (511, 0xaa)] {
            assert_eq!(bytes[offset], value, "at {offset}");
        }
    }
}
