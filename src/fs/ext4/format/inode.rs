//! The inode: the first 160 bytes of a record in an inode table.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.3 "Inode Table".

use super::{Csum, bytes};
use crate::tree::Timestamp;
use byteorder::{ByteOrder as _, LE};

/// Bytes of the fields; `i_extra_isize` is what of them is behind the first 128.
pub const INODE_FIELDS_BYTES: usize = 160;
/// Bytes of the smallest inode: ext2's and ext3's, with times to the second until 2038 and no room for xattrs.
pub const INODE_BYTES_MIN: usize = 128;
/// `i_extra_isize`.
pub const EXTRA_ISIZE: u16 = 32;
/// Bytes of `i_block`.
pub const I_BLOCK_BYTES: usize = 60;
/// `i_flags`: `i_block` is the root of an extent tree.
pub const EXTENTS_FL: u32 = 0x8_0000;
/// `i_flags`: nobody may change the file.
pub const IMMUTABLE_FL: u32 = 0x10;
/// `i_flags`: nobody may change what is there, only append to it.
pub const APPEND_FL: u32 = 0x20;
/// `i_flags`: the directory has a hash index.
pub const INDEX_FL: u32 = 0x1000;
/// `i_flags`: the inode holds the value of an xattr.
pub const EA_INODE_FL: u32 = 0x20_0000;
/// `i_flags`: the contents, or some of them, lie in the inode.
pub const INLINE_DATA_FL: u32 = 0x1000_0000;
/// The most hard links of a file, and of subdirectories that are counted (`EXT4_LINK_MAX`).
pub const LINK_MAX: u32 = 65_000;
/// The first second that an inode can hold: 1901-12-13T20:45:52Z.
pub const TIME_MIN_SECONDS: i64 = -(1 << 31);
/// The last second that an inode of 128 bytes can hold: 2038-01-19T03:14:07Z.
pub const TIME_MAX_SECONDS_SMALL: i64 = (1 << 31) - 1;
/// The last second that an inode can hold: 2446-05-10T22:38:55Z (32 bits signed, and two bits of epoch).
pub const TIME_MAX_SECONDS: i64 = (1 << 31) - 1 + (3 << 32);

/// `i_mode`: the type.
pub mod mode {
    /// Named pipe.
    pub const FIFO: u16 = 0x1000;
    /// Character device.
    pub const CHAR: u16 = 0x2000;
    /// Directory.
    pub const DIRECTORY: u16 = 0x4000;
    /// Block device.
    pub const BLOCK: u16 = 0x6000;
    /// Regular file.
    pub const FILE: u16 = 0x8000;
    /// Symbolic link.
    pub const SYMLINK: u16 = 0xa000;
    /// Socket.
    pub const SOCKET: u16 = 0xc000;
}

/// `struct ext4_inode` up to and with `i_projid`; what is behind it in the record holds xattrs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Type and permissions.
    pub i_mode: u16,
    /// Owner, low half.
    pub i_uid: u16,
    /// Bytes, low half.
    pub i_size_lo: u32,
    /// Time of the last access.
    pub i_atime: u32,
    /// Time of the last change of the inode.
    pub i_ctime: u32,
    /// Time of the last change of contents.
    pub i_mtime: u32,
    /// Time of deletion.
    pub i_dtime: u32,
    /// Group, low half.
    pub i_gid: u16,
    /// Hard links.
    pub i_links_count: u16,
    /// Sectors of 512 bytes, low half.
    pub i_blocks_lo: u32,
    /// [`EXTENTS_FL`] and others.
    pub i_flags: u32,
    /// Version, low half.
    pub l_i_version: u32,
    /// Extents, a short link's target or a device's number.
    pub i_block: [u8; 60],
    /// Generation, for NFS.
    pub i_generation: u32,
    /// Block of xattrs, low half.
    pub i_file_acl_lo: u32,
    /// Bytes, high half.
    pub i_size_high: u32,
    /// Not in use.
    pub i_obso_faddr: u32,
    /// Sectors, high half.
    pub l_i_blocks_high: u16,
    /// Block of xattrs, high half.
    pub l_i_file_acl_high: u16,
    /// Owner, high half.
    pub l_i_uid_high: u16,
    /// Group, high half.
    pub l_i_gid_high: u16,
    /// Checksum, low half.
    pub l_i_checksum_lo: u16,
    /// Bytes in use after the first 128.
    pub i_extra_isize: u16,
    /// Checksum, high half.
    pub i_checksum_hi: u16,
    /// Nanoseconds and epoch of `i_ctime`.
    pub i_ctime_extra: u32,
    /// Nanoseconds and epoch of `i_mtime`.
    pub i_mtime_extra: u32,
    /// Nanoseconds and epoch of `i_atime`.
    pub i_atime_extra: u32,
    /// Time of creation.
    pub i_crtime: u32,
    /// Nanoseconds and epoch of `i_crtime`.
    pub i_crtime_extra: u32,
    /// Version, high half.
    pub i_version_hi: u32,
    /// Project.
    pub i_projid: u32,
}

impl Default for Inode {
    /// All zeros: an inode that is not in use.
    fn default() -> Self {
        Self::decode(&[0; INODE_FIELDS_BYTES])
    }
}

impl Inode {
    /// The bytes on disk. The checksum's halves are written as they are: the checksum is over the whole record.
    #[must_use]
    pub fn encode(&self) -> [u8; INODE_FIELDS_BYTES] {
        let mut b = [0; INODE_FIELDS_BYTES];
        LE::write_u16(&mut b[0x0..], self.i_mode);
        LE::write_u16(&mut b[0x2..], self.i_uid);
        LE::write_u32(&mut b[0x4..], self.i_size_lo);
        LE::write_u32(&mut b[0x8..], self.i_atime);
        LE::write_u32(&mut b[0xc..], self.i_ctime);
        LE::write_u32(&mut b[0x10..], self.i_mtime);
        LE::write_u32(&mut b[0x14..], self.i_dtime);
        LE::write_u16(&mut b[0x18..], self.i_gid);
        LE::write_u16(&mut b[0x1a..], self.i_links_count);
        LE::write_u32(&mut b[0x1c..], self.i_blocks_lo);
        LE::write_u32(&mut b[0x20..], self.i_flags);
        LE::write_u32(&mut b[0x24..], self.l_i_version);
        b[0x28..0x64].copy_from_slice(&self.i_block);
        LE::write_u32(&mut b[0x64..], self.i_generation);
        LE::write_u32(&mut b[0x68..], self.i_file_acl_lo);
        LE::write_u32(&mut b[0x6c..], self.i_size_high);
        LE::write_u32(&mut b[0x70..], self.i_obso_faddr);
        LE::write_u16(&mut b[0x74..], self.l_i_blocks_high);
        LE::write_u16(&mut b[0x76..], self.l_i_file_acl_high);
        LE::write_u16(&mut b[0x78..], self.l_i_uid_high);
        LE::write_u16(&mut b[0x7a..], self.l_i_gid_high);
        LE::write_u16(&mut b[0x7c..], self.l_i_checksum_lo);
        LE::write_u16(&mut b[0x80..], self.i_extra_isize);
        LE::write_u16(&mut b[0x82..], self.i_checksum_hi);
        LE::write_u32(&mut b[0x84..], self.i_ctime_extra);
        LE::write_u32(&mut b[0x88..], self.i_mtime_extra);
        LE::write_u32(&mut b[0x8c..], self.i_atime_extra);
        LE::write_u32(&mut b[0x90..], self.i_crtime);
        LE::write_u32(&mut b[0x94..], self.i_crtime_extra);
        LE::write_u32(&mut b[0x98..], self.i_version_hi);
        LE::write_u32(&mut b[0x9c..], self.i_projid);
        b
    }

    /// Reads what [`Inode::encode`] gives; no field is judged.
    #[must_use]
    pub fn decode(b: &[u8; INODE_FIELDS_BYTES]) -> Self {
        Self {
            i_mode: LE::read_u16(&b[0x0..]),
            i_uid: LE::read_u16(&b[0x2..]),
            i_size_lo: LE::read_u32(&b[0x4..]),
            i_atime: LE::read_u32(&b[0x8..]),
            i_ctime: LE::read_u32(&b[0xc..]),
            i_mtime: LE::read_u32(&b[0x10..]),
            i_dtime: LE::read_u32(&b[0x14..]),
            i_gid: LE::read_u16(&b[0x18..]),
            i_links_count: LE::read_u16(&b[0x1a..]),
            i_blocks_lo: LE::read_u32(&b[0x1c..]),
            i_flags: LE::read_u32(&b[0x20..]),
            l_i_version: LE::read_u32(&b[0x24..]),
            i_block: bytes(b, 0x28),
            i_generation: LE::read_u32(&b[0x64..]),
            i_file_acl_lo: LE::read_u32(&b[0x68..]),
            i_size_high: LE::read_u32(&b[0x6c..]),
            i_obso_faddr: LE::read_u32(&b[0x70..]),
            l_i_blocks_high: LE::read_u16(&b[0x74..]),
            l_i_file_acl_high: LE::read_u16(&b[0x76..]),
            l_i_uid_high: LE::read_u16(&b[0x78..]),
            l_i_gid_high: LE::read_u16(&b[0x7a..]),
            l_i_checksum_lo: LE::read_u16(&b[0x7c..]),
            i_extra_isize: LE::read_u16(&b[0x80..]),
            i_checksum_hi: LE::read_u16(&b[0x82..]),
            i_ctime_extra: LE::read_u32(&b[0x84..]),
            i_mtime_extra: LE::read_u32(&b[0x88..]),
            i_atime_extra: LE::read_u32(&b[0x8c..]),
            i_crtime: LE::read_u32(&b[0x90..]),
            i_crtime_extra: LE::read_u32(&b[0x94..]),
            i_version_hi: LE::read_u32(&b[0x98..]),
            i_projid: LE::read_u32(&b[0x9c..]),
        }
    }
}

/// Writes the checksum of inode number `ino` into its whole record, whose checksum fields are 0. `i_generation` is part of it, and stands
/// in the record. A record of [`INODE_BYTES_MIN`] has room for the low half only.
pub(in super::super) fn set_inode_checksum(csum: Csum, ino: u32, record: &mut [u8]) {
    let [a, b, c, d] = csum.of_inode(ino, LE::read_u32(&record[0x64..])).over(&[record]).to_le_bytes();
    record[0x7c..0x7e].copy_from_slice(&[a, b]);
    if record.len() > INODE_BYTES_MIN {
        record[0x82..0x84].copy_from_slice(&[c, d]);
    }
}

/// A time as an inode has it: `(seconds, extra)`, the extra word with two bits of epoch and 30 of nanoseconds.
///
/// `None` outside of [`TIME_MIN_SECONDS`] to [`TIME_MAX_SECONDS`].
#[must_use]
pub fn encode_time(time: Timestamp) -> Option<(u32, u32)> {
    if !(TIME_MIN_SECONDS..=TIME_MAX_SECONDS).contains(&time.seconds) {
        return None;
    }
    // The low word is signed, so each epoch begins 2^31 seconds before its multiple of 2^32.
    let [a, b, c, d, ..] = time.seconds.to_le_bytes();
    let epoch = u32::try_from((time.seconds - TIME_MIN_SECONDS) >> 32).ok()?;
    Some((u32::from_le_bytes([a, b, c, d]), epoch | time.nanoseconds << 2))
}

/// Reads what [`encode_time`] gives.
#[must_use]
pub fn decode_time(seconds: u32, extra: u32) -> Timestamp {
    let low = i64::from(i32::from_le_bytes(seconds.to_le_bytes()));
    Timestamp { seconds: low + (i64::from(extra & 3) << 32), nanoseconds: extra >> 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_has_them_and_come_back() {
        let mut b = [0; INODE_FIELDS_BYTES];
        for (at, byte) in b.iter_mut().enumerate() {
            *byte = u8::try_from(at).unwrap();
        }
        b[0x7e..0x80].fill(0); // l_i_reserved
        let inode = Inode::decode(&b);
        assert_eq!(inode.encode(), b);
        assert_eq!(inode.i_links_count, LE::read_u16(&b[0x1a..]));
        assert_eq!(inode.i_flags, LE::read_u32(&b[0x20..]));
        assert_eq!(inode.i_block[0], 0x28);
        assert_eq!(inode.i_size_high, LE::read_u32(&b[0x6c..]));
        assert_eq!(inode.i_extra_isize, LE::read_u16(&b[0x80..]));
        assert_eq!(inode.i_crtime_extra, LE::read_u32(&b[0x94..]));
    }

    #[test]
    fn times_follow_the_table_of_the_specification() {
        // Kernel documentation, "Inode Timestamps": the table of extra epoch bits.
        for (seconds, low, epoch) in [
            (-(1_i64 << 31), 0x8000_0000, 0),
            (-1, 0xffff_ffff, 0),
            (0, 0, 0),
            (0x7fff_ffff, 0x7fff_ffff, 0),
            (0x8000_0000, 0x8000_0000, 1),
            (0x1_0000_0000, 0, 1),
            (0x1_7fff_ffff, 0x7fff_ffff, 1),
            (0x1_8000_0000, 0x8000_0000, 2),
            (0x3_7fff_ffff, 0x7fff_ffff, 3),
        ] {
            let time = Timestamp { seconds, nanoseconds: 999_999_999 };
            assert_eq!(encode_time(time), Some((low, epoch | 999_999_999 << 2)), "{seconds:#x}");
            assert_eq!(decode_time(low, epoch | 999_999_999 << 2), time);
        }
        assert_eq!(encode_time(Timestamp::from_seconds(TIME_MAX_SECONDS + 1)), None);
        assert_eq!(encode_time(Timestamp::from_seconds(TIME_MIN_SECONDS - 1)), None);
    }
}
