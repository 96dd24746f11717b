//! The superblocks of a planned filesystem, its summary, and the summary of a filesystem that is there already.

use super::features::{Feature, Features};
use super::format::{
    EXTRA_ISIZE, FIRST_INO, FLAGS_SIGNED_HASH, HASH_HALF_MD4, INODE_BYTES_MIN, JOURNAL_INO, STATE_VALID, SUPERBLOCK_BYTES, SUPERBLOCK_MAGIC,
    SUPERBLOCK_OFFSET_BYTES, Superblock, compat, incompat, ro_compat,
};
use super::geometry::LOG_GROUPS_PER_FLEX;
use super::groups::{high32, low16, low32};
use super::layout::Ext4Layout;
use super::numbers::Owner;
use super::options::{LABEL_MAX_BYTES, Options};
use super::quota::Kind;
use super::size;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::report::FilesystemSummary;

/// `s_default_mount_opts`: user xattrs and POSIX ACLs, as mke2fs.conf has it.
const MOUNT_XATTR_USER_AND_ACL: u32 = 0x4 | 0x8;
/// `s_errors`: go on.
const ERRORS_CONTINUE: u16 = 1;
/// `s_max_mnt_count`: never check because of mounts.
const NO_MOUNT_LIMIT: u16 = 0xffff;
/// `s_checksum_type`.
const CHECKSUM_CRC32C: u8 = 1;
/// `s_jnl_backup_type`.
const JOURNAL_BACKUP_BLOCKS: u8 = 1;

impl Ext4Layout {
    /// The superblock of `group`: the primary one for 0, else a backup, which has the counts of a filesystem without any files
    /// and is not marked clean, so that whoever uses it checks.
    pub(super) fn superblock(&self, group: u64) -> Superblock {
        let geometry = &self.geometry;
        let inodes = geometry.inodes();
        let (free_blocks, free_inodes) = match group {
            0 => (self.groups.free_blocks(geometry), inodes - u64::from(self.survey.numbers.count())),
            _ => (geometry.blocks - geometry.fixed_blocks(), inodes - u64::from(FIRST_INO - 1)),
        };
        let features = self.features();
        let journal = if self.has_journal() { JOURNAL_INO } else { 0 };
        let extra_isize = if usize::from(self.options.inode_bytes) > INODE_BYTES_MIN { EXTRA_ISIZE } else { 0 };
        Superblock {
            s_inodes_count: low32(inodes),
            s_blocks_count_lo: low32(geometry.blocks),
            s_blocks_count_hi: high32(geometry.blocks),
            s_r_blocks_count_lo: low32(geometry.root_blocks),
            s_r_blocks_count_hi: high32(geometry.root_blocks),
            s_free_blocks_count_lo: low32(free_blocks),
            s_free_blocks_count_hi: high32(free_blocks),
            s_free_inodes_count: low32(free_inodes),
            s_first_data_block: low32(geometry.first_data_block),
            s_log_block_size: self.options.block_bytes.trailing_zeros() - 10,
            s_log_cluster_size: self.options.block_bytes.trailing_zeros() - 10,
            s_blocks_per_group: low32(geometry.blocks_per_group),
            s_clusters_per_group: low32(geometry.blocks_per_group),
            s_inodes_per_group: low32(geometry.inodes_per_group),
            s_max_mnt_count: NO_MOUNT_LIMIT,
            s_magic: SUPERBLOCK_MAGIC,
            s_state: if group == 0 { STATE_VALID } else { 0 },
            s_errors: ERRORS_CONTINUE,
            s_rev_level: 1,
            s_first_ino: FIRST_INO,
            s_inode_size: self.options.inode_bytes,
            s_block_group_nr: low16(low32(group)),
            s_uuid: *self.options.uuid.as_bytes(),
            s_volume_name: label(&self.options),
            s_reserved_gdt_blocks: low16(low32(geometry.reserved_descriptor_blocks)),
            s_journal_inum: journal,
            s_hash_seed: *self.options.hash_seed.as_bytes(),
            s_def_hash_version: HASH_HALF_MD4,
            s_jnl_backup_type: if journal > 0 { JOURNAL_BACKUP_BLOCKS } else { 0 },
            s_jnl_blocks: self.journal_backup(),
            s_desc_size: if features.has(Feature::Bit64) { low16(low32(geometry.descriptor_bytes)) } else { 0 },
            s_default_mount_opts: MOUNT_XATTR_USER_AND_ACL,
            s_min_extra_isize: extra_isize,
            s_want_extra_isize: extra_isize,
            s_flags: FLAGS_SIGNED_HASH,
            s_log_groups_per_flex: if features.has(Feature::FlexBg) { LOG_GROUPS_PER_FLEX } else { 0 },
            s_checksum_type: if self.csum.is_on() { CHECKSUM_CRC32C } else { 0 },
            s_checksum_seed: if features.has(Feature::MetadataCsumSeed) { self.csum.seed() } else { 0 },
            s_orphan_file_inum: if geometry.orphan_blocks > 0 { self.survey.numbers.of_own(Owner::Orphans) } else { 0 },
            s_usr_quota_inum: self.survey.numbers.of_own(Owner::Quota(Kind::User)),
            s_grp_quota_inum: self.survey.numbers.of_own(Owner::Quota(Kind::Group)),
            s_prj_quota_inum: self.survey.numbers.of_own(Owner::Quota(Kind::Project)),
            s_def_resuid: self.options.reserved_owner.0,
            s_def_resgid: self.options.reserved_owner.1,
            s_overhead_clusters: low32(geometry.fixed_blocks() + geometry.journal_blocks),
            ..self.features_and_times()
        }
    }

    /// The features that the filesystem has: those asked for, as far as its size and contents have use for them.
    pub(super) fn features(&self) -> Features {
        let features = self.geometry.features.set(Feature::HasJournal, self.has_journal());
        let features = features.set(Feature::OrphanFile, self.geometry.orphan_blocks > 0);
        if self.survey.directories.large_dir { features.with(Feature::LargeDir) } else { features }
    }

    fn features_and_times(&self) -> Superblock {
        let [s_feature_compat, s_feature_incompat, s_feature_ro_compat] = self.features().superblock_words();
        let seconds = self.options.epoch.seconds.unsigned_abs();
        let (low, [high, ..]) = (low32(seconds), high32(seconds).to_le_bytes());
        Superblock {
            s_feature_compat,
            s_feature_incompat,
            s_feature_ro_compat,
            s_wtime: low,
            s_wtime_hi: high,
            s_mkfs_time: low,
            s_mkfs_time_hi: high,
            s_lastcheck: low,
            s_lastcheck_hi: high,
            ..Superblock::default()
        }
    }

    /// `s_jnl_blocks`: `i_block`, then the high and the low half of the size.
    fn journal_backup(&self) -> [u32; 17] {
        let mut words = [0; 17];
        if self.has_journal() {
            let root = self.mapping_root(JOURNAL_INO);
            for (word, bytes) in words.iter_mut().zip(root.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            let size = self.geometry.journal_blocks * self.geometry.block_bytes;
            words[15] = high32(size);
            words[16] = low32(size);
        }
        words
    }

    /// What was planned, and what takes the space.
    #[must_use]
    pub fn summary(&self) -> FilesystemSummary {
        let geometry = &self.geometry;
        let free_bytes = self.groups.free_blocks(geometry) * geometry.block_bytes;
        let mut demand = self.survey.demand;
        // The trees as they came out; the journal's are counted apart.
        demand.tree_blocks = self.placement.tree_blocks - size::own_tree_blocks(geometry).min(self.placement.tree_blocks);
        FilesystemSummary {
            kind: kind(&self.features_and_times()).to_owned(),
            label: crate::error::escape(&self.options.label),
            uuid: self.options.uuid.to_string(),
            block_bytes: self.options.block_bytes,
            size_bytes: geometry.size_bytes(),
            used_bytes: geometry.size_bytes() - free_bytes,
            free_bytes,
            reserved_bytes: geometry.root_blocks * geometry.block_bytes,
            features: Some(self.features().to_string()),
            inodes: Some(geometry.inodes()),
            free_inodes: Some(geometry.inodes() - u64::from(self.survey.numbers.count())),
            parts: size::parts(geometry, &demand),
        }
    }

    /// What the filesystem does not keep of the tree, and what was done about an earlier version's places.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let projects = self.tree.nodes().filter(|(_, node)| node.metadata.project != 0).count();
        if projects > 0 && !self.options.features.has(Feature::Project) {
            notes.push(format!("without the ext4 feature project {projects} entries lose their project"));
        }
        let nanoseconds = self.tree.nodes().filter(|(_, node)| node.metadata.mtime.nanoseconds != 0).count();
        if usize::from(self.options.inode_bytes) == INODE_BYTES_MIN && nanoseconds > 0 {
            notes.push(format!(
                "ext4 inodes of 128 bytes keep times to the second: {nanoseconds} entries lose their nanoseconds (and none can be later than 2038-01-19)"
            ));
        }
        notes
    }

    /// Bytes available to ordinary users: what is free less what is reserved, at least 0.
    #[must_use]
    pub fn available_bytes(&self) -> u64 {
        self.groups.free_blocks(&self.geometry).saturating_sub(self.geometry.root_blocks) * self.geometry.block_bytes
    }
}

fn label(options: &Options) -> [u8; LABEL_MAX_BYTES] {
    let mut label = [0; LABEL_MAX_BYTES];
    label[..options.label.len()].copy_from_slice(&options.label);
    label
}

/// Looks for an ext2, ext3 or ext4 filesystem and says what its superblock says. `read` fills its buffer from an offset in the filesystem.
/// `None` if there is no such filesystem.
///
/// # Errors
/// Those of `read`; a superblock whose checksum is wrong or whose numbers contradict each other.
pub fn probe(read: impl Fn(u64, &mut [u8]) -> Result<()>) -> Result<Option<FilesystemSummary>> {
    let mut bytes = [0; SUPERBLOCK_BYTES];
    read(SUPERBLOCK_OFFSET_BYTES, &mut bytes)?;
    let superblock = Superblock::decode(&bytes);
    if superblock.s_magic != SUPERBLOCK_MAGIC {
        return Ok(None);
    }
    let corrupt = |what: &str| Error::corrupt(format!("the ext4 superblock {what}")).at_offset(SUPERBLOCK_OFFSET_BYTES);
    if superblock.s_feature_ro_compat & ro_compat::METADATA_CSUM != 0 && superblock.s_checksum != Superblock::checksum(&bytes) {
        return Err(corrupt("has a wrong checksum"));
    }
    summarize(&superblock).map(Some)
}

/// What a superblock says whose checksum is right.
///
/// # Errors
/// Numbers that contradict each other.
pub(super) fn summarize(superblock: &Superblock) -> Result<FilesystemSummary> {
    let corrupt = |what: &str| Error::corrupt(format!("the ext4 superblock {what}")).at_offset(SUPERBLOCK_OFFSET_BYTES);
    let (blocks, free) = (superblock.blocks_count(), superblock.free_blocks_count());
    let block_bytes = superblock.block_bytes().ok_or_else(|| corrupt(&format!("says a block size of 2^{} KiB", superblock.s_log_block_size)))?;
    let size_bytes = blocks.checked_mul(block_bytes).ok_or_else(|| corrupt(&format!("says {blocks} blocks")))?;
    if free > blocks || superblock.s_free_inodes_count > superblock.s_inodes_count {
        return Err(corrupt(&format!("says {free} of {blocks} blocks free, {} of {} inodes", superblock.s_free_inodes_count, superblock.s_inodes_count)));
    }
    let label_len = superblock.s_volume_name.iter().position(|byte| *byte == 0).unwrap_or(LABEL_MAX_BYTES);
    Ok(FilesystemSummary {
        kind: kind(superblock).to_owned(),
        label: crate::error::escape(&superblock.s_volume_name[..label_len]),
        uuid: Guid::from_bytes(superblock.s_uuid).to_string(),
        block_bytes: u32::try_from(block_bytes).map_err(|_| corrupt("says blocks of over 4 GiB"))?,
        size_bytes,
        used_bytes: (blocks - free) * block_bytes,
        free_bytes: free * block_bytes,
        reserved_bytes: superblock.reserved_blocks_count().saturating_mul(block_bytes),
        features: Some(Features::of_superblock(superblock).to_string()),
        inodes: Some(u64::from(superblock.s_inodes_count)),
        free_inodes: Some(u64::from(superblock.s_free_inodes_count)),
        parts: Vec::new(),
    })
}

/// What one calls a filesystem with these features.
fn kind(superblock: &Superblock) -> &'static str {
    const EXT4_INCOMPAT: u32 = !(incompat::FILETYPE | incompat::RECOVER | incompat::JOURNAL_DEV);
    const EXT4_RO_COMPAT: u32 = !(ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE);
    if superblock.s_feature_incompat & EXT4_INCOMPAT != 0 || superblock.s_feature_ro_compat & EXT4_RO_COMPAT != 0 {
        "ext4"
    } else if superblock.s_feature_compat & compat::HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    }
}
