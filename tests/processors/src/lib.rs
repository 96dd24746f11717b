//! The module `checksum::sha256` of rootvol by itself, with its tests.
#![allow(dead_code, reason = "the tests use some of it")]

#[path = "../../../src/checksum/sha256/mod.rs"]
pub mod sha256;

/// A SHA-256.
pub type Digest = [u8; 32];

/// Where rootvol has the module.
pub mod checksum {
    pub use crate::{Digest, sha256};
}

/// What the module takes from `units`.
pub mod units {
    /// `Bytes in a block of the disk`.
    pub const BLOCK_LEN: usize = 512 * 1024;

    /// A length as it is written into files.
    #[must_use]
    pub fn u64_of(len: usize) -> u64 {
        u64::try_from(len).expect("no processor has wider addresses")
    }
}
