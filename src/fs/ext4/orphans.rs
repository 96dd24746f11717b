//! The file of orphans (feature orphan_file): deleted files that are still open are noted here, by many processors at once.
//!
//! ```text
//! | inode, inode, … (0 where free) | magic | checksum |        a block
//! ```
//!
//! Specification: Linux, "ext4 Data Structures and Algorithms", section "Orphan file"; the structure is `ext4_orphan_block_tail`.

use super::format::Csum;
use byteorder::{ByteOrder as _, LE};

/// `ob_magic`.
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;
/// `struct ext4_orphan_block_tail`.
const TAIL_BYTES: usize = 8;

/// Makes a block of the file without any orphans. `place` is the block's number on disk, `csum` are the checksums of the file's inode.
pub(super) fn render(place: u64, csum: Csum, block: &mut [u8]) {
    block.fill(0);
    let tail = block.len() - TAIL_BYTES;
    let checksum = csum.over(&[&place.to_le_bytes(), &block[..tail]]);
    LE::write_u32(&mut block[tail..], ORPHAN_MAGIC);
    LE::write_u32(&mut block[tail + 4..], checksum);
}
