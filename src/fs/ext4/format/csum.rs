//! Metadata checksums: CRC-32C without the final inversion, each from a start that says whose it is.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 2.6 "Checksums".

use crate::crc::crc32c;

/// Where checksums start: the filesystem's UUID, then an inode's number and generation. Without the feature metadata_csum all
/// checksums are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Csum(Option<u32>);

impl Csum {
    /// No checksums.
    pub const OFF: Self = Self(None);

    /// The checksums of the filesystem with this UUID.
    #[must_use]
    pub fn of_uuid(uuid: &[u8; 16]) -> Self {
        Self(Some(crc32c(!0, uuid)))
    }

    /// The checksums of a filesystem that keeps their start apart (feature metadata_csum_seed).
    #[must_use]
    pub const fn of_seed(seed: u32) -> Self {
        Self(Some(seed))
    }

    /// `s_checksum_seed`; 0 without checksums.
    #[must_use]
    pub fn seed(self) -> u32 {
        self.0.unwrap_or(0)
    }

    /// Whether there are checksums.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.0.is_some()
    }

    /// The checksums of an inode and of the directory and extent blocks that belong to it.
    #[must_use]
    pub fn of_inode(self, ino: u32, generation: u32) -> Self {
        Self(self.0.map(|seed| crc32c(crc32c(seed, &ino.to_le_bytes()), &generation.to_le_bytes())))
    }

    /// The checksum of these bytes, one behind the other; 0 without checksums.
    #[must_use]
    pub fn over(self, parts: &[&[u8]]) -> u32 {
        self.0.map_or(0, |seed| parts.iter().fold(seed, |state, part| crc32c(state, part)))
    }
}
