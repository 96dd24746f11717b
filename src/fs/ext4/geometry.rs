//! How many blocks, groups and inodes a filesystem of some size has, and where its fixed metadata lies: arithmetic only,
//! as mke2fs does it.
//!
//! ```text
//! group 0                                                              group 1 (and powers of 3, 5, 7)
//! | super | descriptors | reserved for growth | 16 block bitmaps | 16 inode bitmaps | 16 inode tables | … | super | …
//! ```
//!
//! - Bitmaps and inode tables of 16 groups lie together at the first of them (flex_bg), else each in its own group.
//! - Where descriptors and what is reserved behind them would take over three quarters of a group, they lie in their own groups instead
//!   (meta_bg): the descriptors of as many groups as a block holds stand in the first, the second and the last of these.
//! - A last group too small for its own metadata and 50 blocks more is left out.
//! - Inodes: `Options::inodes`, else one for so many bytes; never fewer than the tree needs and a headroom of a
//!   sixteenth (at least [`INODE_HEADROOM_MIN`]). Rounded up so that inode tables fill their blocks.
//! - Where a tree has more inodes than blocks × 8 bits can map in the groups that there are, groups are made smaller.

use super::features::{Feature, Features};
use super::format::{DESCRIPTOR_BYTES, DESCRIPTOR_BYTES_SMALL, FIRST_INO};
use super::options::{Journal, Options};
use crate::units::{TIB, u64_of};

/// Groups whose bitmaps and inode tables lie together, as a power of two.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;
/// Free inodes that a filesystem has at least, whatever was asked for.
pub const INODE_HEADROOM_MIN: u64 = 128;
/// Blocks that a last group must have beyond its metadata: mke2fs's number.
const LAST_GROUP_SLACK_BLOCKS: u64 = 50;
/// The largest filesystem: the largest EBS volume. All descriptors then take an eighth of a group.
pub const SIZE_MAX_BYTES: u64 = 64 * TIB;
/// The smallest block group: mke2fs's limit.
pub const BLOCKS_PER_GROUP_MIN: u32 = 256;
/// The most inodes: their numbers have 32 bits.
pub const INODES_MAX: u64 = (1 << 32) - 1;

/// The shape of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) block_bytes: u64,
    pub(super) inode_bytes: u64,
    /// Blocks in all, a last group that was left out not counted.
    pub(super) blocks: u64,
    /// 1 with blocks of 1 KiB (block 0 is the boot block), else 0.
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) groups: u64,
    pub(super) inodes_per_group: u64,
    /// Blocks of one inode table.
    pub(super) table_blocks: u64,
    /// Blocks of the descriptors.
    pub(super) descriptor_blocks: u64,
    /// Blocks behind them, reserved for growth.
    pub(super) reserved_descriptor_blocks: u64,
    /// Blocks of the journal; 0 for none.
    pub(super) journal_blocks: u64,
    /// Blocks of the file of orphans; 0 for none.
    pub(super) orphan_blocks: u64,
    /// Blocks that only root may take.
    pub(super) root_blocks: u64,
    /// Bytes of a descriptor.
    pub(super) descriptor_bytes: u64,
    /// The features that were asked for, as far as this size can have them.
    pub(super) features: Features,
}

/// Why there is no geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Fewer blocks than the metadata alone needs; at least so many are needed.
    NeedsBlocks { needed: u64 },
    /// More inodes than 32 bits count, or than the blocks could hold.
    TooManyInodes,
    /// Block numbers of over 32 bits without the feature 64bit.
    Needs64Bit,
}

impl Geometry {
    /// The shape of a filesystem of at most `blocks` blocks with at least `inodes_needed` inodes in use.
    pub(super) fn new(blocks: u64, inodes_needed: u64, options: &Options) -> Result<Self, Misfit> {
        let block_bytes = u64::from(options.block_bytes);
        let mut shape = Self {
            block_bytes,
            inode_bytes: u64::from(options.inode_bytes),
            blocks,
            first_data_block: u64::from(options.block_bytes == 1024),
            blocks_per_group: options.blocks_per_group.map_or(block_bytes * 8, u64::from),
            groups: 0,
            inodes_per_group: 0,
            table_blocks: 0,
            descriptor_blocks: 0,
            reserved_descriptor_blocks: 0,
            journal_blocks: 0,
            orphan_blocks: 0,
            root_blocks: 0,
            descriptor_bytes: u64_of(if options.features.has(Feature::Bit64) { DESCRIPTOR_BYTES } else { DESCRIPTOR_BYTES_SMALL }),
            features: options.features,
        };
        if blocks > u64::from(u32::MAX) && !options.features.has(Feature::Bit64) {
            return Err(Misfit::Needs64Bit);
        }
        // Each round leaves out a last group, makes groups smaller or turns to meta_bg; all end.
        while !shape.settle(inodes_needed, options)? {}
        shape.set_journal(journal_blocks(shape.blocks, options));
        shape.root_blocks = options.reserved.of(shape.blocks);
        Ok(shape)
    }

    /// Computes everything from `blocks` and `blocks_per_group`. False if one of them had to change.
    fn settle(&mut self, inodes_needed: u64, options: &Options) -> Result<bool, Misfit> {
        let usable = self.blocks.saturating_sub(self.first_data_block);
        self.groups = usable.div_ceil(self.blocks_per_group);
        // A superblock, a descriptor, two bitmaps, a table and one block for the root.
        let least = self.first_data_block + 6;
        if usable == 0 || self.blocks < least {
            return Err(Misfit::NeedsBlocks { needed: least });
        }
        let inodes = inode_count(self.blocks * self.block_bytes, inodes_needed, options);
        if inodes > INODES_MAX {
            return Err(Misfit::TooManyInodes);
        }
        let most_per_group = (self.block_bytes * 8).min(u64::from(u16::MAX) - 7);
        if inodes.div_ceil(self.groups) > most_per_group {
            return self.shrink_groups(usable, inodes.div_ceil(most_per_group));
        }
        let inodes_per_block = self.block_bytes / self.inode_bytes;
        // A multiple of 8, so that bitmaps are whole bytes, in whole blocks. 2^32 inodes are never reached by rounding.
        let unit = inodes_per_block.max(8);
        let most_in_all = INODES_MAX / self.groups / unit * unit;
        self.inodes_per_group = (inodes.div_ceil(self.groups).next_multiple_of(unit)).min(most_per_group / unit * unit).min(most_in_all);
        if self.inodes_per_group * self.groups < inodes_needed {
            return Err(Misfit::TooManyInodes);
        }
        self.table_blocks = self.inodes_per_group / inodes_per_block;
        self.descriptor_blocks = (self.groups * self.descriptor_bytes).div_ceil(self.block_bytes);
        if self.blocks > u64::from(u32::MAX) {
            self.features = self.features.without(Feature::ResizeInode);
        }
        self.reserved_descriptor_blocks = if self.resize_inode() { self.reserved_for_growth() } else { 0 };
        // mke2fs's bound (e2fsprogs, `ext2fs_initialize`).
        if !self.meta_bg() && self.descriptor_blocks + self.reserved_descriptor_blocks > self.blocks_per_group * 3 / 4 {
            self.features = self.features.with(Feature::MetaBg).without(Feature::ResizeInode);
            return Ok(false);
        }

        // What a group with copies of superblock and descriptors holds at most of metadata.
        let largest = 2 + self.table_blocks + self.backup_blocks(0);
        if self.groups > 1 && self.blocks_per_group < largest {
            let needed = self.first_data_block + self.groups * (largest + LAST_GROUP_SLACK_BLOCKS);
            return Err(Misfit::NeedsBlocks { needed });
        }
        let last = self.groups - 1;
        let rest = usable % self.blocks_per_group;
        let overhead = 2 + self.table_blocks + self.backup_blocks(last);
        let in_last = if rest == 0 { self.blocks_per_group } else { rest };
        if last == 0 {
            return if in_last > overhead { Ok(true) } else { Err(Misfit::NeedsBlocks { needed: self.first_data_block + overhead + 1 }) };
        }
        if rest > 0 && rest < overhead + LAST_GROUP_SLACK_BLOCKS {
            self.blocks -= rest;
            return Ok(false);
        }
        Ok(true)
    }

    /// Makes groups so small that there are at least `groups`.
    fn shrink_groups(&mut self, usable: u64, groups: u64) -> Result<bool, Misfit> {
        let blocks_per_group = (usable / groups / 8 * 8).min(self.blocks_per_group - 8);
        if blocks_per_group < u64::from(BLOCKS_PER_GROUP_MIN) {
            let needed = self.first_data_block + groups * u64::from(BLOCKS_PER_GROUP_MIN);
            return Err(if needed > self.blocks { Misfit::NeedsBlocks { needed } } else { Misfit::TooManyInodes });
        }
        self.blocks_per_group = blocks_per_group;
        Ok(false)
    }

    /// Descriptor blocks for growth to 1,024 times the size or 2^32 blocks, as many as the resize inode can hold
    /// (e2fsprogs, `calc_reserved_gdt_blocks`).
    fn reserved_for_growth(&self) -> u64 {
        let largest = (self.blocks * 1024).min(u64::from(u32::MAX));
        let groups = (largest - self.first_data_block).div_ceil(self.blocks_per_group);
        let descriptor_blocks = (groups * self.descriptor_bytes).div_ceil(self.block_bytes);
        descriptor_blocks.saturating_sub(self.descriptor_blocks).min(self.block_bytes / 4)
    }

    /// Whether descriptor blocks are reserved for growth.
    pub(super) fn resize_inode(&self) -> bool {
        self.features.has(Feature::ResizeInode)
    }

    /// Whether descriptors lie in their own groups.
    pub(super) fn meta_bg(&self) -> bool {
        self.features.has(Feature::MetaBg)
    }

    /// Sets the journal, and the file of orphans that goes with one.
    pub(super) fn set_journal(&mut self, journal_blocks: u64) {
        self.journal_blocks = journal_blocks;
        self.orphan_blocks = if journal_blocks > 0 && self.features.has(Feature::OrphanFile) { orphan_blocks(self.blocks) } else { 0 };
    }

    /// Groups whose bitmaps and inode tables lie together.
    pub(super) fn groups_per_flex(&self) -> u64 {
        if self.features.has(Feature::FlexBg) { 1 << LOG_GROUPS_PER_FLEX } else { 1 }
    }

    /// Groups whose descriptors fill a block.
    pub(super) fn descriptors_per_block(&self) -> u64 {
        self.block_bytes / self.descriptor_bytes
    }

    /// Which descriptor blocks lie in `group`, by number: `(first, count)`; none of them for a count of 0.
    pub(super) fn descriptors_in(&self, group: u64) -> (u64, u64) {
        if self.meta_bg() {
            let (number, place) = (group / self.descriptors_per_block(), group % self.descriptors_per_block());
            (number, u64::from(place <= 1 || place == self.descriptors_per_block() - 1))
        } else {
            (0, if has_super(group) { self.descriptor_blocks } else { 0 })
        }
    }

    /// Whether the descriptors in `group` are the primary ones.
    pub(super) fn has_primary_descriptors(&self, group: u64) -> bool {
        if self.meta_bg() { group.is_multiple_of(self.descriptors_per_block()) } else { group == 0 }
    }

    /// Blocks of superblock and descriptors in `group`, with those reserved; 0 where there is no copy.
    pub(super) fn backup_blocks(&self, group: u64) -> u64 {
        let superblocks = u64::from(has_super(group));
        superblocks + self.descriptors_in(group).1 + superblocks * self.reserved_descriptor_blocks
    }

    /// The groups with copies of superblock or descriptors, ascending, group 0 among them.
    pub(super) fn groups_with_copies(&self) -> Vec<u64> {
        if self.meta_bg() {
            (0..self.groups).filter(|group| self.backup_blocks(*group) > 0).collect()
        } else {
            std::iter::once(0).chain(backup_groups(self.groups)).collect()
        }
    }

    /// The first block of `group`.
    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// The end of `group`: the block after its last.
    pub(super) fn group_end(&self, group: u64) -> u64 {
        self.group_start(group + 1).min(self.blocks)
    }

    /// The group of `block`.
    pub(super) fn group_of(&self, block: u64) -> u64 {
        (block - self.first_data_block) / self.blocks_per_group
    }

    /// Inodes in all.
    pub(super) fn inodes(&self) -> u64 {
        self.groups * self.inodes_per_group
    }

    /// The filesystem's bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.blocks * self.block_bytes
    }

    /// Copies of the superblock, the primary one included.
    pub(super) fn copies(&self) -> u64 {
        1 + u64_of(backup_groups(self.groups).count())
    }

    /// Blocks of descriptors in all copies.
    pub(super) fn descriptor_copies(&self) -> u64 {
        if !self.meta_bg() {
            return self.copies() * self.descriptor_blocks;
        }
        let per_block = self.descriptors_per_block();
        let (full, rest) = (self.groups / per_block, self.groups % per_block);
        // Of a descriptor block for fewer groups than it could hold, the copy in the last is missing.
        full * per_block.min(3) + rest.min(2)
    }

    /// Blocks of superblocks, descriptors, bitmaps and inode tables, and of the boot block.
    pub(super) fn fixed_blocks(&self) -> u64 {
        self.first_data_block + self.copies() * (1 + self.reserved_descriptor_blocks) + self.descriptor_copies() + self.groups * (2 + self.table_blocks)
    }
}

/// Whether `group` has a copy of superblock and descriptors: 0, 1 and the powers of 3, 5 and 7 (sparse_super).
pub(super) fn has_super(group: u64) -> bool {
    let is_power = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power)
}

/// The groups under `groups` that have a backup, ascending.
pub(super) fn backup_groups(groups: u64) -> impl Iterator<Item = u64> {
    let mut next = [1_u64, 5, 7];
    std::iter::from_fn(move || {
        // 1, 3, 9, …; 5, 25, …; 7, 49, …: disjoint, so the smallest is the next.
        let at = (0..3).min_by_key(|at| next[*at])?;
        let group = next[at];
        next[at] *= [3, 5, 7][at];
        Some(group)
    })
    .take_while(move |group| *group < groups)
}

/// Inodes to make, before rounding.
fn inode_count(size_bytes: u64, needed: u64, options: &Options) -> u64 {
    let ratio = options.bytes_per_inode.map_or_else(|| default_bytes_per_inode(size_bytes), u64::from);
    let wanted = options.inodes.unwrap_or(size_bytes / ratio).min(INODES_MAX);
    let headroom = (needed / 16).max(INODE_HEADROOM_MIN);
    let least = match options.inodes {
        Some(_) => needed,
        None => needed + headroom,
    };
    wanted.max(least).max(u64::from(FIRST_INO) + 1)
}

/// mke2fs.conf: `inode_ratio` of the types default, big and huge.
fn default_bytes_per_inode(size_bytes: u64) -> u64 {
    match size_bytes {
        0..FOUR_TIB => 16_384,
        FOUR_TIB..SIXTEEN_TIB => 32_768,
        _ => 65_536,
    }
}

const FOUR_TIB: u64 = 4 * TIB;
const SIXTEEN_TIB: u64 = 16 * TIB;

/// Blocks of the file of orphans (e2fsprogs, `ext2fs_default_orphan_file_blocks`).
fn orphan_blocks(blocks: u64) -> u64 {
    match blocks {
        0..131_072 => 32,
        131_072..2_097_152 => blocks / 4096,
        _ => 512,
    }
}

/// Blocks of the journal (e2fsprogs, `ext2fs_default_journal_size`).
fn journal_blocks(blocks: u64, options: &Options) -> u64 {
    match options.journal {
        _ if !options.features.has(Feature::HasJournal) => 0,
        Journal::None => 0,
        Journal::Bytes(bytes) => bytes / u64::from(options.block_bytes),
        Journal::Auto => JOURNAL_STEPS.iter().find(|(least, _)| blocks >= *least).map_or(0, |(_, journal)| *journal),
    }
}

/// From so many blocks of the filesystem on, so many of journal: largest first.
pub(super) const JOURNAL_STEPS: [(u64, u64); 8] = [
    (33_554_432, 262_144),
    (16_777_216, 131_072),
    (8_388_608, 65_536),
    (4_194_304, 32_768),
    (524_288, 16_384),
    (262_144, 8_192),
    (32_768, 4_096),
    (2_048, 1_024),
];

#[cfg(test)]
mod tests {
    use super::super::fixed::Fixed;
    use super::super::options::SizeRequest;
    use super::*;
    use crate::guid::Guid;
    use crate::tree::Timestamp;
    use crate::units::{GIB, MIB};

    fn options() -> Options {
        let id = Guid::from_name("x");
        Options { size: SizeRequest::Exact(0), ..Options::new(id, id, Timestamp::default()) }
    }

    #[test]
    fn shapes_are_those_of_mke2fs() {
        // (size, groups, inodes a group, reserved descriptor blocks, journal blocks): mke2fs 1.47.0 -t ext4 -b 4096 -i 16384.
        for (size, groups, inodes, reserved, journal) in
            [(64 * MIB, 1, 4096, 7, 1024), (GIB, 8, 8192, 127, 8192), (10 * GIB, 80, 8192, 1024, 16_384), (200 * GIB, 1600, 8192, 1024, 262_144)]
        {
            let shape = Geometry::new(size / 4096, 12, &options()).unwrap();
            let found = (shape.groups, shape.inodes_per_group, shape.reserved_descriptor_blocks, shape.journal_blocks);
            assert_eq!(found, (groups, inodes, reserved, journal), "{size}");
        }
    }

    #[test]
    fn copies_lie_in_group_1_and_the_powers_of_3_5_and_7() {
        let with: Vec<u64> = (0..350).filter(|group| has_super(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343]);
        assert_eq!(backup_groups(350).collect::<Vec<_>>(), with[1..]);
    }

    #[test]
    fn over_two_to_the_32_blocks_there_is_no_resize_inode() {
        let shape = |size| Geometry::new(size / 4096, 12, &options()).unwrap();
        let (below, above) = (shape(16 * TIB - 4096), shape(64 * TIB));
        assert!(below.resize_inode() && !above.resize_inode());
        assert_eq!((above.reserved_descriptor_blocks, above.descriptor_blocks, above.inodes()), (0, 8192, 1 << 30));
    }

    #[test]
    fn fixed_metadata_fits_and_counts_as_the_arithmetic_says() {
        for (size, inodes) in [(MIB, 12), (5 * MIB, 12), (130 * MIB, 12), (3 * GIB + 12_345, 12), (60 * MIB, 100_000), (200 * MIB, 700_000), (900 * GIB, 12)] {
            let sets = ["default", "ext2", "meta_bg", "^flex_bg", "ext3,meta_bg"].map(|words| Features::parse([words]).unwrap());
            for (block_bytes, features) in [1024, 2048, 4096].into_iter().flat_map(|bytes| sets.map(|features| (bytes, features))) {
                let options = Options { block_bytes, features, ..options() };
                let Ok(shape) = Geometry::new(size / u64::from(block_bytes), inodes, &options) else { continue };
                assert!(shape.inodes() >= inodes);
                let Some(fixed) = Fixed::place(&shape) else { continue };
                let blocks: u64 = fixed.occupied.iter().map(|range| range.end - range.start).sum();
                assert_eq!(blocks, shape.fixed_blocks(), "{size} in blocks of {block_bytes}, {features}");
                assert!(fixed.occupied.last().is_some_and(|range| range.end <= shape.blocks));
            }
        }
    }
}
