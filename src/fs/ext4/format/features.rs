//! The features of a filesystem: three words of bits in the superblock, by what somebody who does not know a bit may still do.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.1 "Super Block", tables of
//! `s_feature_compat`, `s_feature_incompat` and `s_feature_ro_compat`.

/// `s_feature_compat`.
pub mod compat {
    /// A journal.
    pub const HAS_JOURNAL: u32 = 0x4;
    /// Extended attributes.
    pub const EXT_ATTR: u32 = 0x8;
    /// Descriptor blocks reserved for growth, held by inode 7.
    pub const RESIZE_INODE: u32 = 0x10;
    /// Directories may be hash-indexed.
    pub const DIR_INDEX: u32 = 0x20;
    /// Deleted files that are still open are listed in a file of their own.
    pub const ORPHAN_FILE: u32 = 0x1000;
}

/// `s_feature_incompat`.
pub mod incompat {
    /// Directory entries carry the file's type.
    pub const FILETYPE: u32 = 0x2;
    /// The journal must be replayed.
    pub const RECOVER: u32 = 0x4;
    /// This is an external journal.
    pub const JOURNAL_DEV: u32 = 0x8;
    /// Descriptors lie in their own groups.
    pub const META_BG: u32 = 0x10;
    /// Files are mapped by extents.
    pub const EXTENTS: u32 = 0x40;
    /// Block numbers of 64 bits, descriptors of 64 bytes.
    pub const BIT64: u32 = 0x80;
    /// Bitmaps and inode tables may lie in other groups.
    pub const FLEX_BG: u32 = 0x200;
    /// Large xattr values lie in inodes of their own.
    pub const EA_INODE: u32 = 0x400;
    /// Metadata checksums start from `s_checksum_seed`.
    pub const CSUM_SEED: u32 = 0x2000;
    /// Directories over 2 GiB, and hash indexes with one level more.
    pub const LARGE_DIR: u32 = 0x4000;
    /// Small files and directories lie in their inodes.
    pub const INLINE_DATA: u32 = 0x8000;
}

/// `s_feature_ro_compat`.
pub mod ro_compat {
    /// Backups only in groups 1 and the powers of 3, 5 and 7.
    pub const SPARSE_SUPER: u32 = 0x1;
    /// Files over 2 GiB.
    pub const LARGE_FILE: u32 = 0x2;
    /// `i_blocks` may count blocks instead of sectors.
    pub const HUGE_FILE: u32 = 0x8;
    /// Group descriptors have checksums (CRC-16).
    pub const GDT_CSUM: u32 = 0x10;
    /// Directories may have over 65,000 subdirectories.
    pub const DIR_NLINK: u32 = 0x20;
    /// Inodes have fields after their first 128 bytes.
    pub const EXTRA_ISIZE: u32 = 0x40;
    /// Accounts of users and groups lie in inodes of the filesystem.
    pub const QUOTA: u32 = 0x100;
    /// All metadata has checksums.
    pub const METADATA_CSUM: u32 = 0x400;
    /// Inodes have project ids.
    pub const PROJECT: u32 = 0x2000;
    /// Files may be sealed by fs-verity.
    pub const VERITY: u32 = 0x8000;
}
