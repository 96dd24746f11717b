//! Inode records: read, checked, and taken apart.

use super::super::format::{
    Csum, EXTENTS_FL, I_BLOCK_BYTES, INLINE_DATA_FL, INODE_BYTES_MIN, INODE_FIELDS_BYTES, Inode, TIME_MIN_SECONDS, decode_time, incompat, mode, ro_compat,
};
use super::cache::Cache;
use super::groups::Group;
use super::volume::Volume;
use crate::error::{Error, Result};
use crate::tree::{Device, Metadata, Timestamp, XattrSetId, attribute};
use crate::units::{index_of, u64_of, usize_of};

/// `i_flags`: `i_blocks` counts blocks, not sectors.
pub(super) const HUGE_FILE_FL: u32 = 0x4_0000;
/// Where `i_block` stands in a record.
pub(super) const I_BLOCK_AT: u64 = 0x28;
/// `i_mode`: its type.
const TYPE_MASK: u16 = 0xf000;
const SECTOR_BYTES: u64 = 512;

/// An inode as it was read.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) ino: u32,
    /// Where the record begins.
    pub(super) offset: u64,
    pub(super) inode: Inode,
    /// The whole record.
    pub(super) bytes: Box<[u8]>,
}

/// Where the record of an inode begins.
///
/// # Errors
/// A number that there is not, or whose inode table is nowhere.
pub(super) fn place(volume: &Volume, groups: &[Group], ino: u32) -> Result<u64> {
    let (group, at) = volume.place_of(ino).ok_or_else(|| Error::corrupt(format!("inode {ino} of a filesystem that has {}", volume.inodes)))?;
    let found = groups[index_of(group)];
    if !found.has_table {
        return Err(Error::corrupt(format!("inode {ino}: the inode table of block group {group} cannot be found")));
    }
    Ok(volume.offset(found.table) + u64::from(at) * u64_of(volume.inode_bytes))
}

/// Reads an inode, whatever it holds.
///
/// # Errors
/// As [`place`], and those of the disk.
pub(super) fn read(volume: &Volume, groups: &[Group], cache: &mut Cache, ino: u32) -> Result<Record> {
    let offset = place(volume, groups, ino)?;
    let bytes: Box<[u8]> = cache.bytes(offset, volume.inode_bytes)?.into();
    Ok(Record { ino, offset, inode: decode(&bytes), bytes })
}

pub(super) fn decode(bytes: &[u8]) -> Inode {
    let mut fields = [0; INODE_FIELDS_BYTES];
    let len = bytes.len().min(INODE_FIELDS_BYTES);
    fields[..len].copy_from_slice(&bytes[..len]);
    Inode::decode(&fields)
}

impl Record {
    /// Bytes of the record that are fields.
    fn fields_end(&self) -> usize {
        if self.bytes.len() > INODE_BYTES_MIN { INODE_BYTES_MIN + usize::from(self.inode.i_extra_isize) } else { INODE_BYTES_MIN }
    }

    /// Whether the field that ends at `end` of the record is there.
    pub(super) fn has_field(&self, end: usize) -> bool {
        end <= self.fields_end()
    }

    /// What is in the record behind the fields, and its offset in it: the place of attributes.
    pub(super) fn region(&self) -> Option<(&[u8], usize)> {
        // Without a size of the fields nothing was ever put behind them.
        if self.bytes.len() <= INODE_BYTES_MIN || self.inode.i_extra_isize == 0 {
            return None;
        }
        let at = self.fields_end();
        self.bytes.get(at..).map(|region| (region, at))
    }

    /// Checks the checksum and the size of the fields.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, volume: &Volume) -> Result<()> {
        if let Some((found, expected)) = self.checksums(volume.csum).filter(|(found, expected)| found != expected) {
            let message = format!("inode {} has the checksum {found:#010x}; it should be {expected:#010x}", self.ino);
            return Err(Error::corrupt(message).at_offset(self.offset));
        }
        if self.bytes.len() > INODE_BYTES_MIN {
            let (extra, room) = (usize::from(self.inode.i_extra_isize), self.bytes.len() - INODE_BYTES_MIN);
            if extra > room || extra % 4 != 0 {
                let message = format!("inode {} says {extra} bytes of fields behind the first {INODE_BYTES_MIN}; there are {room}", self.ino);
                return Err(Error::corrupt(message).at_offset(self.offset));
            }
        }
        Ok(())
    }

    /// The checksum that it has and the one that it should have, if there are checksums.
    fn checksums(&self, csum: Csum) -> Option<(u32, u32)> {
        if !csum.is_on() {
            return None;
        }
        let seeded = csum.of_inode(self.ino, self.inode.i_generation);
        let (head, tail) = self.bytes.split_at(INODE_BYTES_MIN);
        let low = u32::from(self.inode.l_i_checksum_lo);
        if tail.len() >= 4 && self.inode.i_extra_isize >= 4 {
            let expected = seeded.over(&[&head[..0x7c], &[0; 2], &head[0x7e..], &tail[..2], &[0; 2], &tail[4..]]);
            return Some((low | u32::from(self.inode.i_checksum_hi) << 16, expected));
        }
        Some((low, seeded.over(&[&head[..0x7c], &[0; 2], &head[0x7e..], tail]) & 0xffff))
    }

    /// The checksums of its directory blocks and extents.
    pub(super) fn csum(&self, volume: &Volume) -> Csum {
        volume.csum.of_inode(self.ino, self.inode.i_generation)
    }

    /// The type's bits of its mode.
    pub(super) fn kind(&self) -> u16 {
        self.inode.i_mode & TYPE_MASK
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == mode::DIRECTORY
    }

    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.inode.i_flags & flag != 0
    }

    pub(super) fn is_encrypted(&self, volume: &Volume) -> bool {
        volume.has_incompat(super::names::incompat_read::ENCRYPT) && self.has_flag(attribute::ENCRYPTED)
    }

    pub(super) fn is_inline(&self, volume: &Volume) -> bool {
        volume.has_incompat(incompat::INLINE_DATA) && self.has_flag(INLINE_DATA_FL)
    }

    /// Bytes of contents.
    pub(super) fn size(&self, volume: &Volume) -> u64 {
        let high = self.kind() == mode::FILE || (self.is_directory() && volume.has_incompat(incompat::LARGE_DIR));
        u64::from(self.inode.i_size_lo) | if high { u64::from(self.inode.i_size_high) << 32 } else { 0 }
    }

    /// The block of xattrs; 0 for none.
    pub(super) fn xattr_block(&self, volume: &Volume) -> u64 {
        let high = if volume.has_incompat(incompat::BIT64) { u64::from(self.inode.l_i_file_acl_high) } else { 0 };
        u64::from(self.inode.i_file_acl_lo) | high << 32
    }

    /// `i_blocks` in bytes; `None` where that is over 2^64.
    pub(super) fn allocated(&self, volume: &Volume) -> Option<u64> {
        let low = u64::from(self.inode.i_blocks_lo);
        if !volume.has_ro_compat(ro_compat::HUGE_FILE) {
            return Some(low * SECTOR_BYTES);
        }
        let count = low | u64::from(self.inode.l_i_blocks_high) << 32;
        count.checked_mul(if self.has_flag(HUGE_FILE_FL) { volume.block_bytes } else { SECTOR_BYTES })
    }

    /// Whether the target of a symbolic link lies in `i_block` (Linux, `ext4_inode_is_fast_symlink`).
    pub(super) fn is_fast_symlink(&self, volume: &Volume) -> bool {
        if self.kind() != mode::SYMLINK || self.is_inline(volume) || self.has_flag(EXTENTS_FL) || self.inode.i_size_lo >= 60 {
            return false;
        }
        let cluster_bytes = volume.cluster_blocks * volume.block_bytes;
        let attributes = if self.xattr_block(volume) == 0 { 0 } else { cluster_bytes };
        // Blocks of large values count too; only old filesystems have short targets in blocks.
        volume.has_incompat(incompat::EA_INODE) || self.allocated(volume).is_none_or(|bytes| bytes <= attributes)
    }

    /// Whether there is anything that maps blocks.
    pub(super) fn has_map(&self, volume: &Volume) -> bool {
        match self.kind() {
            mode::FILE | mode::DIRECTORY => !self.is_inline(volume),
            mode::SYMLINK => !self.is_inline(volume) && !self.is_fast_symlink(volume),
            _ => false,
        }
    }

    /// A time by its word and the end of its field of nanoseconds.
    fn time(&self, seconds: u32, extra: u32, end: usize) -> Timestamp {
        decode_time(seconds, if self.has_field(end) { extra } else { 0 })
    }

    /// Mode, owner, time, attributes, project; without xattrs.
    ///
    /// # Errors
    /// Nanoseconds of over a second.
    pub(super) fn metadata(&self, volume: &Volume) -> Result<Metadata> {
        let inode = &self.inode;
        let mtime = self.time(inode.i_mtime, inode.i_mtime_extra, 0x8c);
        debug_assert!(mtime.seconds >= TIME_MIN_SECONDS);
        if mtime.nanoseconds > 999_999_999 {
            let message = format!("inode {} has a time with {} nanoseconds; at most 999999999 are possible", self.ino, mtime.nanoseconds);
            return Err(Error::corrupt(message).at_offset(self.offset));
        }
        let project = if volume.has_ro_compat(ro_compat::PROJECT) && self.has_field(0xa0) { inode.i_projid } else { 0 };
        Ok(Metadata {
            mode: inode.i_mode & 0o7777,
            uid: u32::from(inode.i_uid) | u32::from(inode.l_i_uid_high) << 16,
            gid: u32::from(inode.i_gid) | u32::from(inode.l_i_gid_high) << 16,
            mtime,
            xattrs: XattrSetId::NONE,
            attributes: inode.i_flags & attribute::KEPT,
            project,
        })
    }

    /// The numbers of a device (Linux, `old_decode_dev` and `new_decode_dev`).
    pub(super) fn device(&self) -> Device {
        let word = |at: usize| {
            let b = &self.inode.i_block[at..at + 4];
            u32::from_le_bytes([b[0], b[1], b[2], b[3]])
        };
        let (old, new) = (word(0), word(4));
        if old != 0 {
            return Device { major: old >> 8 & 0xff, minor: old & 0xff };
        }
        Device { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    }

    /// The bytes of `i_block` that a short target or inline data has.
    pub(super) fn short(&self, len: u64) -> &[u8] {
        &self.inode.i_block[..usize_of(len.min(u64_of(I_BLOCK_BYTES)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_in_both_forms() {
        for (words, major, minor) in [([0x103_u32, 0], 1, 3), ([0, 0x0010_0800], 8, 256), ([0, 0x1_0001], 256, 1), ([0, !0], 4095, 1_048_575)] {
            let mut inode = Inode::default();
            inode.i_block[..4].copy_from_slice(&words[0].to_le_bytes());
            inode.i_block[4..8].copy_from_slice(&words[1].to_le_bytes());
            let record = Record { ino: 12, offset: 0, inode, bytes: Box::new([0; 256]) };
            assert_eq!(record.device(), Device { major, minor });
        }
    }
}
