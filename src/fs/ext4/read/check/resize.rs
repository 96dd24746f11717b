//! The resize inode: a file whose double indirect block points to the blocks that are kept for descriptors, and each of these to its
//! copies in other groups (e2fsprogs, `ext2fs_create_resize_inode`).

use super::super::super::format::{RESIZE_INO, compat, mode};
use super::super::inode::{self, Record};
use super::super::scan::Scan;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};

/// Pointers of `i_block`, and which of them is the double indirect one.
const POINTERS: usize = 15;
const DOUBLE_INDIRECT: usize = 13;

fn pointer(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at * 4..at * 4 + 4).map_or(0, |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
}

impl Scan<'_> {
    /// Says what is wrong with it.
    pub(super) fn check_resize_inode(&mut self) {
        // Where it has no use it need not ever have been written.
        let read = if self.volume.has_compat(compat::RESIZE_INODE) {
            self.read(RESIZE_INO)
        } else {
            inode::read(self.volume, self.groups, &mut self.cache, RESIZE_INO)
        };
        if let Err(error) = read.and_then(|record| self.judge_resize_inode(&record)) {
            // Damage of the record has been said.
            self.findings.push(error.within("the resize inode"));
        }
    }

    fn judge_resize_inode(&mut self, record: &Record) -> Result<()> {
        let volume = self.volume;
        let reserved = u64::from(volume.superblock.s_reserved_gdt_blocks);
        let wrong = |what: String| Err(Error::corrupt(what).at_offset(record.offset));
        let used = |at: usize| pointer(&record.inode.i_block, at) != 0;
        if !volume.has_compat(compat::RESIZE_INODE) {
            if reserved != 0 {
                return wrong(format!("{reserved} descriptor blocks are reserved, without the feature resize_inode"));
            }
            return if (0..POINTERS).any(used) { wrong("it has blocks, without the feature resize_inode".to_owned()) } else { Ok(()) };
        }
        if record.kind() != mode::FILE || record.inode.i_links_count == 0 || (0..POINTERS).any(|at| used(at) != (at == DOUBLE_INDIRECT)) {
            return wrong("it has other blocks than its double indirect one, or is no file".to_owned());
        }
        let double = pointer(&record.inode.i_block, DOUBLE_INDIRECT);
        if !volume.holds(double, 1) {
            return wrong(format!("its double indirect block is {double}"));
        }
        let table = self.cache.bytes(volume.offset(double), volume.block_len())?.to_vec();
        let slots = volume.block_bytes / 4;
        let first = volume.super_block(0) + 1 + volume.descriptor_blocks;
        for number in 0..reserved {
            let block = first + number;
            let slot = usize_of((volume.descriptor_blocks + number) % slots);
            let found = pointer(&table, slot);
            if found != block {
                return wrong(format!("it points to block {found} in place of the reserved block {block}"));
            }
            let copies = self.cache.bytes(volume.offset(block), volume.block_len())?;
            let groups = (1..volume.groups).filter(|group| volume.has_super(*group)).take(usize_of(slots));
            for (at, group) in (0..).zip(groups) {
                let copy = block + u64::from(group) * volume.blocks_per_group;
                if pointer(copies, at) != copy {
                    return wrong(format!("it points to block {} in place of the copy of the reserved block {block} at {copy}", pointer(copies, at)));
                }
            }
        }
        debug_assert!(u64_of(table.len()) == volume.block_bytes);
        Ok(())
    }
}
