//! The structures of ext4 as they lie on disk, with the specification's own names.
//!
//! Specification: the Linux kernel's documentation, "ext4 Data Structures and Algorithms"
//! (Documentation/filesystems/ext4/). All numbers are little-endian, but for the journal's. Every structure has
//! `encode` and `decode`, mirrored line by line. Metadata checksums are CRC-32C without the final inversion, from the
//! start that [`Csum`] gives.

mod csum;
mod dirent;
mod extent;
mod features;
mod group;
mod inode;
mod journal;
mod quota;
mod superblock;
mod xattr;

pub use csum::Csum;
pub use dirent::{DIRENT_HEADER_BYTES, DIRENT_TAIL_BYTES, DirEntryHeader, dirent_bytes, file_type};
pub use extent::{EXTENT_BLOCKS_MAX, EXTENT_BYTES, EXTENT_MAGIC, Extent, ExtentHeader, ExtentIndex, ROOT_ENTRIES, UNWRITTEN_BLOCKS_MAX};
pub use features::{compat, incompat, ro_compat};
pub use group::{BLOCK_UNINIT, DESCRIPTOR_BYTES, DESCRIPTOR_BYTES_SMALL, GroupChecksum, GroupDescriptor, INODE_UNINIT, INODE_ZEROED};
pub(super) use inode::set_inode_checksum;
pub use inode::{
    APPEND_FL, EA_INODE_FL, EXTENTS_FL, EXTRA_ISIZE, I_BLOCK_BYTES, IMMUTABLE_FL, INDEX_FL, INLINE_DATA_FL, INODE_BYTES_MIN, INODE_FIELDS_BYTES, Inode,
    LINK_MAX, TIME_MAX_SECONDS, TIME_MAX_SECONDS_SMALL, TIME_MIN_SECONDS, decode_time, encode_time, mode,
};
pub use journal::{JOURNAL_MAGIC, JOURNAL_SUPERBLOCK_BYTES, JOURNAL_SUPERBLOCK_V2, JournalSuperblock};
pub use quota::{
    QUOTA_BLOCK_BYTES, QUOTA_ENTRIES_PER_LEAF, QUOTA_ENTRY_BYTES, QUOTA_FILE_MAX_BYTES, QUOTA_GRACE_SECONDS, QUOTA_HEADER_BYTES, QUOTA_LEAF_HEADER_BYTES,
    QUOTA_MAGICS, QUOTA_TREE_DEPTH, QUOTA_TREE_ROOT, QUOTA_VERSION, QuotaEntry, QuotaHeader, QuotaLeafHeader,
};
pub use superblock::{FLAGS_SIGNED_HASH, HASH_HALF_MD4, STATE_VALID, SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC, SUPERBLOCK_OFFSET_BYTES, Superblock};
pub use xattr::{XATTR_BLOCK_HEADER_BYTES, XATTR_ENTRY_BYTES, XATTR_MAGIC, XattrBlockHeader, XattrEntry, entry_hash, name_index};

/// Reserved inodes: 1 to 10.
pub const FIRST_INO: u32 = 11;
/// The root directory.
pub const ROOT_INO: u32 = 2;
/// The quota file of users.
pub const USR_QUOTA_INO: u32 = 3;
/// The quota file of groups.
pub const GRP_QUOTA_INO: u32 = 4;
/// The inode that holds the descriptor blocks reserved for growth.
pub const RESIZE_INO: u32 = 7;
/// The journal.
pub const JOURNAL_INO: u32 = 8;

/// The `N` bytes at `offset`.
fn bytes<const N: usize>(b: &[u8], offset: usize) -> [u8; N] {
    b[offset..offset + N].try_into().expect("a slice of N bytes is an array of N bytes")
}
