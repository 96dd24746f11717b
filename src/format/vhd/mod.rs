//! VHD, fixed and dynamic: "Virtual Hard Disk Image Format Specification", version 1.0 (Microsoft, 2006).
//!
//! ```text
//! fixed     | the disk's bytes                                                      | footer |
//! dynamic   | footer | dynamic header | BAT     | bitmap, block | bitmap, block | … | footer |
//!           0        512              1536      sector aligned; blocks of 2 MiB behind bitmaps of 512 bytes
//! ```
//!
//! A dynamic disk's block is in the file where metadata or contents meet it, also if the contents prove zero, so the
//! BAT is known before the first byte is read. What only has to be zero is left out: a block that is not in the file
//! reads as zero. The bitmap says of each sector whether it is in the block; all are, so it is all ones.
//!
//! Refused: disks over 2,040 GiB (the field's limit: 2^32 sectors less what the tables need), sizes that are no whole
//! number of 512-byte sectors; when opened, differencing disks whose parents are not given, and everything that [`read`] and [`blocks`]
//! check.

mod blocks;
mod format;
pub(super) mod read;
mod write;

pub(super) use format::FOOTER_COOKIE as COOKIE;
pub(super) use write::{plan_dynamic, plan_fixed};

use crate::units::GIB;

/// The largest disk in a VHD: 2,040 GiB, which all readers hold to.
pub const VHD_MAX_BYTES: u64 = 2040 * GIB;
/// The specification's sector.
const SECTOR_BYTES: u64 = 512;
/// [`format::FOOTER_BYTES`] in offsets.
pub(super) const FOOTER_SIZE: u64 = 512;
/// [`format::DYNAMIC_HEADER_BYTES`] in offsets.
const DYNAMIC_HEADER_SIZE: u64 = 1024;
/// "Creator Application". It is Hyper-V's, because QEMU before 10.0 (`block/vpc.c`) takes the disk's size from the
/// geometry, which rounds down, unless the creator is one of a list. QEMU 7.2 shortens a disk of 1 GiB by 262,144 bytes
/// where the creator is unknown, and with them goes the backup GPT.
const CREATOR_APPLICATION: [u8; 4] = *b"win ";
/// "Creator Version": 10.0, a Hyper-V of today.
const CREATOR_VERSION: u32 = 0x000a_0000;
/// "Creator Host OS": Windows, the one value that every reader knows.
const CREATOR_HOST_OS: [u8; 4] = *b"Wi2k";
/// The epoch of "Time Stamp", 2000-01-01T00:00:00Z, in seconds since 1970.
const TIME_STAMP_EPOCH: i64 = 946_684_800;
/// "Block Size" of the dynamic disks that are written: the specification's default.
const BLOCK_SIZE: u32 = 2 * 1024 * 1024;

/// Bytes of the sector bitmap before a block of `block_size`, whole sectors.
fn bitmap_bytes(block_size: u32) -> u64 {
    (u64::from(block_size) / SECTOR_BYTES).div_ceil(8).next_multiple_of(SECTOR_BYTES)
}
