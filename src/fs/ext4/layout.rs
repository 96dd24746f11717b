//! The planned filesystem: what lies in every block, and how each block is made.
//!
//! Blocks of the fixed metadata are *roles*, blocks of inodes are *runs*; both are sorted, and both are found by binary search.
//! What is in neither is unused: free blocks, holes, bitmaps and tables that the descriptors declare as never written, the
//! backups' blocks reserved for growth (the kernel writes them before it reads them).

use super::blockmap::BlockMap;
use super::directory::{LOST_FOUND_BYTES, render_lost_found};
use super::extents::Tree as ExtentTree;
use super::features::Feature;
use super::format::{
    Csum, GroupChecksum, I_BLOCK_BYTES, JOURNAL_INO, JOURNAL_MAGIC, JOURNAL_SUPERBLOCK_V2, JournalSuperblock, ROOT_INO, SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET_BYTES,
};
use super::geometry::{Geometry, backup_groups, has_super};
use super::groups::{Groups, low32};
use super::mapping::Mapping;
use super::numbers::Owner;
use super::options::Options;
use super::orphans;
use super::place::{Placement, Run, RunKind};
use super::quota::UsageTables;
use super::survey::Survey;
use crate::layout::{Layout, Segment, SegmentSource, Visitor};
use crate::tree::{FileData, NodeId, NodeKind, Tree};
use crate::units::{u64_of, usize_of};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// What a stretch of fixed metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleKind {
    /// The block before the first group, where blocks have 1 KiB.
    Boot,
    /// A superblock.
    Superblock,
    /// Descriptors.
    Descriptors,
    /// The primary blocks reserved for growth: they list the backups'.
    ReservedDescriptors,
    BlockBitmap,
    InodeBitmap,
    /// An inode table that is in use.
    InodeTable,
    /// Inode tables that are not in use and read as zero.
    EmptyTables,
}

/// A stretch of fixed metadata that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    start: u64,
    count: u64,
    group: u64,
    kind: RoleKind,
}

/// A planned ext4 filesystem.
#[derive(Debug)]
pub struct Ext4Layout {
    pub(super) tree: Arc<Tree>,
    pub(super) options: Options,
    pub(super) geometry: Geometry,
    pub(super) survey: Survey,
    pub(super) placement: Placement,
    pub(super) groups: Groups,
    /// What the quota files say.
    pub(super) usage: UsageTables,
    /// Ascending, disjoint.
    pub(super) roles: Vec<Role>,
    pub(super) csum: Csum,
    /// What was asked for; the filesystem may end before it.
    pub(super) size_bytes: u64,
    /// What a person should know of the placing.
    pub(super) notes: Vec<String>,
}

/// The roles of a filesystem's fixed metadata.
pub(super) fn roles(geometry: &Geometry, groups: &Groups) -> Vec<Role> {
    let mut roles = Vec::new();
    if geometry.first_data_block > 0 {
        roles.push(Role { start: 0, count: geometry.first_data_block, group: 0, kind: RoleKind::Boot });
    }
    for group in geometry.groups_with_copies() {
        let start = geometry.group_start(group);
        let superblocks = u64::from(has_super(group));
        if superblocks > 0 {
            roles.push(Role { start, count: superblocks, group, kind: RoleKind::Superblock });
        }
        let (_, count) = geometry.descriptors_in(group);
        if count > 0 {
            roles.push(Role { start: start + superblocks, count, group, kind: RoleKind::Descriptors });
        }
    }
    if geometry.reserved_descriptor_blocks > 0 {
        let start = geometry.group_start(0) + 1 + geometry.descriptor_blocks;
        roles.push(Role { start, count: geometry.reserved_descriptor_blocks, group: 0, kind: RoleKind::ReservedDescriptors });
    }
    for (number, group) in (0..).zip(&groups.list) {
        if group.has_block_bitmap() {
            roles.push(Role { start: group.block_bitmap, count: 1, group: number, kind: RoleKind::BlockBitmap });
        }
        if group.has_inode_bitmap() {
            roles.push(Role { start: group.inode_bitmap, count: 1, group: number, kind: RoleKind::InodeBitmap });
        }
        let table = Role { start: group.inode_table, count: geometry.table_blocks, group: number, kind: RoleKind::InodeTable };
        if group.used_inodes > 0 {
            roles.push(table);
        } else if groups.table_reads_as_zero(group) {
            match roles.iter_mut().rev().find(|role| role.kind == RoleKind::EmptyTables) {
                Some(last) if last.start + last.count == table.start => last.count += table.count,
                _ => roles.push(Role { kind: RoleKind::EmptyTables, ..table }),
            }
        }
    }
    roles.sort_unstable_by_key(|role| role.start);
    roles
}

impl Layout for Ext4Layout {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        self.segments_from(offset_bytes).next()
    }

    fn visit(&self, offset_bytes: u64, each: &mut Visitor<'_>) -> ControlFlow<()> {
        self.segments_from(offset_bytes).try_for_each(each)
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        let block_bytes = self.geometry.block_bytes;
        let mut done = 0;
        while done < out.len() {
            let at = offset_bytes + u64_of(done);
            let (block, skip) = (at / block_bytes, usize_of(at % block_bytes));
            let count = (usize_of(block_bytes) - skip).min(out.len() - done);
            let target = &mut out[done..done + count];
            if count == usize_of(block_bytes) {
                self.render_block(block, target);
            } else {
                let mut whole = vec![0; usize_of(block_bytes)];
                self.render_block(block, &mut whole);
                target.copy_from_slice(&whole[skip..skip + count]);
            }
            done += count;
        }
    }
}

/// A segment of blocks and bytes, if it is not empty.
fn segment(range: Range<u64>, source: SegmentSource) -> Option<Segment> {
    (range.start < range.end).then_some(Segment { range, source })
}

impl Ext4Layout {
    /// The segments that end after `offset_bytes`.
    fn segments_from(&self, offset_bytes: u64) -> impl Iterator<Item = Segment> + '_ {
        let block = offset_bytes / self.geometry.block_bytes;
        let role = self.roles.partition_point(|role| role.start + role.count <= block);
        // The last part of a role or run may end before the offset; then the next one counts.
        let is_behind = move |segment: &Segment| segment.range.end > offset_bytes;
        let mut of_roles = self.roles[role..].iter().flat_map(|role| self.role_segments(role)).flatten().filter(is_behind).peekable();
        let mut of_runs = self.placement.runs_from(block).flat_map(|run| self.run_segments(run)).flatten().filter(is_behind).peekable();
        std::iter::from_fn(move || match (of_roles.peek(), of_runs.peek()) {
            (Some(a), Some(b)) if a.range.start < b.range.start => of_roles.next(),
            (Some(_), None) => of_roles.next(),
            _ => of_runs.next(),
        })
    }

    /// The at most two segments of a role, ascending.
    fn role_segments(&self, role: &Role) -> [Option<Segment>; 2] {
        let block_bytes = self.geometry.block_bytes;
        let (start, end) = (role.start * block_bytes, (role.start + role.count) * block_bytes);
        match role.kind {
            RoleKind::Boot | RoleKind::EmptyTables => [segment(start..end, SegmentSource::Zeros), None],
            RoleKind::InodeTable => {
                let used = u64::from(self.groups.list[usize_of(role.group)].table_inodes) * self.geometry.inode_bytes;
                [segment(start..start + used, SegmentSource::Metadata), segment(start + used..end, SegmentSource::Zeros)]
            }
            _ => [segment(start..end, SegmentSource::Metadata), None],
        }
    }

    /// The at most two segments of a run, ascending.
    fn run_segments(&self, run: &Run) -> [Option<Segment>; 2] {
        let block_bytes = self.geometry.block_bytes;
        let (start, end) = (run.start * block_bytes, run.end() * block_bytes);
        let metadata = [segment(start..end, SegmentSource::Metadata), None];
        match run.kind {
            RunKind::Data => {}
            RunKind::Unwritten => return [None, None],
            _ => return metadata,
        }
        match self.survey.numbers.owner(run.owner) {
            Owner::Node(node) => match self.tree.node(node).kind {
                NodeKind::File(FileData { content, length, .. }) => {
                    let offset_bytes = u64::from(run.logical) * block_bytes;
                    let bytes = (length - offset_bytes).min(end - start);
                    let contents = SegmentSource::Content { id: content, offset_bytes };
                    // Behind the end of a file its last block must read as zero: whoever extends it may see it.
                    [segment(start..start + bytes, contents), segment(start + bytes..end, SegmentSource::Zeros)]
                }
                _ => metadata,
            },
            Owner::Journal => {
                let head = if run.logical == 0 { block_bytes } else { 0 };
                [segment(start..start + head, SegmentSource::Metadata), segment(start + head..end, SegmentSource::Zeros)]
            }
            _ => metadata,
        }
    }

    /// Makes one block of metadata.
    fn render_block(&self, block: u64, out: &mut [u8]) {
        let role = self.roles.get(self.roles.partition_point(|role| role.start + role.count <= block));
        if let Some(role) = role.filter(|role| role.start <= block) {
            return self.render_role(role, block - role.start, out);
        }
        match self.placement.at_or_after(block).filter(|run| run.start <= block) {
            Some(run) => self.render_run(run, block - run.start, out),
            None => out.fill(0),
        }
    }

    fn render_role(&self, role: &Role, number: u64, out: &mut [u8]) {
        out.fill(0);
        match role.kind {
            RoleKind::Boot | RoleKind::EmptyTables => {}
            RoleKind::Superblock => {
                // In group 0 behind the boot sectors, if both share the block.
                let at = if role.group == 0 { usize_of(SUPERBLOCK_OFFSET_BYTES - self.geometry.first_data_block * self.geometry.block_bytes) } else { 0 };
                out[at..at + SUPERBLOCK_BYTES].copy_from_slice(&self.superblock(role.group).encode_with_checksum());
            }
            RoleKind::Descriptors => self.render_descriptors(role.group, number, out),
            RoleKind::ReservedDescriptors => {
                // The primary copy of each reserved block lists the blocks of its backups, as an indirect block would.
                let block = role.start + number;
                for (slot, group) in out.chunks_exact_mut(4).zip(backup_groups(self.geometry.groups)) {
                    slot.copy_from_slice(&low32(block + group * self.geometry.blocks_per_group).to_le_bytes());
                }
            }
            RoleKind::BlockBitmap => self.groups.fill_block_bitmap(&self.geometry, &self.placement, role.group, out),
            RoleKind::InodeBitmap => self.groups.fill_inode_bitmap(&self.geometry, &self.survey.numbers, role.group, out),
            RoleKind::InodeTable => self.render_inodes(role.group, number, out),
        }
    }

    /// Block number `number` of the descriptors that lie in group `home`.
    fn render_descriptors(&self, home: u64, number: u64, out: &mut [u8]) {
        let primary = self.geometry.has_primary_descriptors(home);
        let first = (self.geometry.descriptors_in(home).0 + number) * self.geometry.descriptors_per_block();
        let checksum = match (self.csum.is_on(), self.geometry.features.has(Feature::UninitBg)) {
            (true, _) => GroupChecksum::Crc32c(self.csum),
            (false, true) => GroupChecksum::Crc16(self.options.uuid.as_bytes()),
            (false, false) => GroupChecksum::None,
        };
        for (slot, group) in out.chunks_exact_mut(usize_of(self.geometry.descriptor_bytes)).zip(first..self.geometry.groups) {
            let descriptor = if primary { self.groups.descriptor(&self.geometry, group) } else { self.groups.backup_descriptor(&self.geometry, group) };
            descriptor.write(checksum, low32(group), slot);
        }
    }

    fn render_inodes(&self, group: u64, number: u64, out: &mut [u8]) {
        let inode_bytes = usize_of(self.geometry.inode_bytes);
        let first = number * self.geometry.block_bytes / self.geometry.inode_bytes;
        let used = u64::from(self.groups.list[usize_of(group)].table_inodes);
        for (record, at) in out.chunks_exact_mut(inode_bytes).zip(first..used) {
            let ino = low32(group * self.geometry.inodes_per_group + at + 1);
            self.fill_inode(ino, record);
        }
    }

    fn render_run(&self, run: &Run, number: u64, out: &mut [u8]) {
        match run.kind {
            RunKind::Tree => self.extent_tree(run.owner).fill_block(u64::from(run.logical) + number, self.csum.of_inode(run.owner, 0), out),
            RunKind::Map(level) => self.block_map(run.owner).fill_block(level, u64::from(run.logical) + number, out),
            RunKind::Unwritten => out.fill(0),
            RunKind::Xattr => {
                let block = self.survey.xattrs.blocks[usize_of(u64::from(run.owner))];
                self.survey.xattrs.fill_block(&self.tree, &self.survey.numbers, block, run.start, self.csum, out);
            }
            RunKind::ResizeIndex => {
                out.fill(0);
                // The double indirect block: entry d stands for descriptor block d, whether in use yet or not.
                let (first, count) = (self.geometry.descriptor_blocks, self.geometry.reserved_descriptor_blocks);
                let slots = self.geometry.block_bytes / 4;
                for descriptor in first..first + count {
                    let slot = usize_of(descriptor % slots) * 4;
                    let block = self.geometry.first_data_block + 1 + descriptor;
                    out[slot..slot + 4].copy_from_slice(&low32(block).to_le_bytes());
                }
            }
            RunKind::Data => self.render_data(run.owner, u64::from(run.logical) + number, out),
        }
    }

    /// Block number `number` of an inode whose contents are the filesystem's own.
    fn render_data(&self, ino: u32, number: u64, out: &mut [u8]) {
        let csum = self.csum.of_inode(ino, 0);
        match self.survey.numbers.owner(ino) {
            Owner::Node(node) => match self.tree.node(node).kind {
                NodeKind::Directory => self.survey.directories.render(&self.tree, &self.survey.numbers, node, number, csum, out),
                _ => {
                    out.fill(0);
                    let target = self.tree.target(node);
                    out[..target.len()].copy_from_slice(target);
                }
            },
            Owner::LostFound => render_lost_found(number, ROOT_INO, csum, out),
            Owner::Journal => {
                out.fill(0);
                if number == 0 {
                    let superblock = self.journal_superblock().encode();
                    out[..superblock.len()].copy_from_slice(&superblock);
                }
            }
            Owner::Value(value) => self.survey.xattrs.render_value(&self.tree, value, number, out),
            Owner::Orphans => orphans::render(self.placement.block_of(ino, number), csum, out),
            Owner::Quota(kind) => self.survey.quotas.render(&self.usage, kind, number, out),
            Owner::Reserved | Owner::Resize => out.fill(0),
        }
    }

    fn journal_superblock(&self) -> JournalSuperblock {
        JournalSuperblock {
            h_magic: JOURNAL_MAGIC,
            h_blocktype: JOURNAL_SUPERBLOCK_V2,
            s_blocksize: self.options.block_bytes,
            s_maxlen: low32(self.geometry.journal_blocks),
            s_first: 1,
            s_sequence: 1,
            s_uuid: *self.options.uuid.as_bytes(),
            s_nr_users: 1,
            ..JournalSuperblock::default()
        }
    }

    /// The root of what maps an inode's blocks: `i_block`.
    pub(super) fn mapping_root(&self, ino: u32) -> [u8; I_BLOCK_BYTES] {
        match self.survey.mapping {
            Mapping::Extents { .. } => self.extent_tree(ino).root(),
            Mapping::BlockMap { .. } => self.block_map(ino).root(),
        }
    }

    fn block_map(&self, ino: u32) -> BlockMap<'_> {
        BlockMap { extents: self.placement.extents(ino), nodes: self.placement.tree(ino), pointers_per_block: self.geometry.block_bytes / 4 }
    }

    /// The extent tree of an inode.
    fn extent_tree(&self, ino: u32) -> ExtentTree<'_> {
        ExtentTree {
            extents: self.placement.extents(ino),
            nodes: self.placement.tree(ino),
            entries_per_node: super::extents::entries_per_node(self.geometry.block_bytes),
        }
    }

    /// Blocks of a directory of the tree or of the added lost+found.
    pub(super) fn directory_bytes(&self, directory: Option<NodeId>) -> u64 {
        match directory {
            Some(node) => self.survey.directories.block_count(node) * self.geometry.block_bytes,
            None => LOST_FOUND_BYTES,
        }
    }

    /// Whether there is a journal.
    pub(super) fn has_journal(&self) -> bool {
        self.geometry.journal_blocks > 0 && !self.placement.extents(JOURNAL_INO).is_empty()
    }
}
