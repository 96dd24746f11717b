//! Inode records: each is made when its block is rendered, from the tree and the placement.

use super::features::Feature;
use super::format::{
    EA_INODE_FL, EXTENTS_FL, EXTRA_ISIZE, I_BLOCK_BYTES, IMMUTABLE_FL, INDEX_FL, INLINE_DATA_FL, INODE_FIELDS_BYTES, Inode, encode_time, mode,
    set_inode_checksum,
};
use super::groups::{high16, high32, low16, low32};
use super::inline::Inline;
use super::layout::Ext4Layout;
use super::mapping::Mapping;
use super::numbers::Owner;
use super::quota::Kind;
use super::survey::{Target, directory_links};
use crate::tree::{Device, Node, NodeId, NodeKind, Timestamp, attribute};
use crate::units::{index_of, u64_of};

/// Sectors of `i_blocks`.
const SECTOR_BYTES: u64 = 512;
/// `i_block`: where the double indirect block stands.
const DOUBLE_INDIRECT_AT: usize = 13 * 4;
/// Direct pointers of `i_block`.
const DIRECT_BLOCKS: u64 = 12;

impl Ext4Layout {
    /// Fills a whole record.
    pub(super) fn fill_inode(&self, ino: u32, record: &mut [u8]) {
        record.fill(0);
        let inode = match self.survey.numbers.owner(ino) {
            Owner::Reserved => return,
            Owner::Journal if !self.has_journal() => return,
            Owner::Resize if !self.geometry.resize_inode() => return,
            Owner::Resize => self.resize_inode(),
            Owner::Orphans => {
                Inode { i_links_count: 1, ..self.with_blocks(ino, self.own_inode(mode::FILE | 0o600, self.geometry.orphan_blocks * self.geometry.block_bytes)) }
            }
            Owner::Journal => Inode {
                i_links_count: 1,
                ..self.with_blocks(ino, self.own_inode(mode::FILE | 0o600, self.geometry.journal_blocks * self.geometry.block_bytes))
            },
            Owner::Quota(kind) => self.quota_inode(ino, kind),
            Owner::LostFound => Inode { i_links_count: 2, ..self.with_blocks(ino, self.own_inode(mode::DIRECTORY | 0o700, self.directory_bytes(None))) },
            Owner::Node(node) => {
                let inline = self.inline(node);
                if let Some(region) = record.get_mut(INODE_FIELDS_BYTES..) {
                    let value = inline.as_ref().map(|inline| &inline.value[..]);
                    self.survey.xattrs.fill_inode(&self.tree, &self.survey.numbers, self.tree.node(node).metadata.xattrs, value, region);
                }
                self.node_inode(ino, node, inline)
            }
            Owner::Value(value) => self.value_inode(ino, value),
        };
        let fields = record.len().min(INODE_FIELDS_BYTES);
        record[..fields].copy_from_slice(&inode.encode()[..fields]);
        set_inode_checksum(self.csum, ino, record);
    }

    fn node_inode(&self, ino: u32, id: NodeId, inline: Option<Inline>) -> Inode {
        let node = self.tree.node(id);
        let metadata = &node.metadata;
        let mut inode = Inode {
            i_mode: type_bits(node) | metadata.mode,
            i_uid: low16(metadata.uid),
            l_i_uid_high: high16(metadata.uid),
            i_gid: low16(metadata.gid),
            l_i_gid_high: high16(metadata.gid),
            i_links_count: self.links(id, node),
            i_flags: metadata.attributes & attribute::SETTABLE,
            i_projid: if self.options.features.has(Feature::Project) { metadata.project } else { 0 },
            ..timed(metadata.mtime)
        };
        if let Some(inline) = inline {
            set_size(&mut inode, inline.len());
            inode.i_flags |= INLINE_DATA_FL;
            inode.i_block = inline.i_block;
            return self.with_xattrs(id, inode);
        }
        match node.kind {
            NodeKind::Directory => {
                set_size(&mut inode, self.directory_bytes(Some(id)));
                inode = self.with_blocks(ino, inode);
                if self.survey.directories.is_indexed(id) {
                    inode.i_flags |= INDEX_FL;
                }
            }
            NodeKind::File(file) => {
                set_size(&mut inode, file.length);
                inode = self.with_blocks(ino, inode);
            }
            NodeKind::Symlink(_) => {
                let target = self.tree.target(id);
                set_size(&mut inode, u64_of(target.len()));
                if self.survey.target(&self.tree, id) == Target::Fast {
                    inode.i_block[..target.len()].copy_from_slice(target);
                } else {
                    inode = self.with_blocks(ino, inode);
                }
            }
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => inode.i_block = encode_device(device),
            NodeKind::Fifo | NodeKind::Socket => {}
        }
        self.with_xattrs(id, inode)
    }

    /// An inode with its attributes outside of it.
    fn with_xattrs(&self, id: NodeId, mut inode: Inode) -> Inode {
        if let Some(number) = self.survey.xattrs.of(id) {
            let block = self.placement.xattr_blocks[index_of(number)];
            inode.i_file_acl_lo = low32(block);
            inode.l_i_file_acl_high = low16(high32(block));
            // Every inode that shares the block counts it.
            add_blocks(&mut inode, 1, self.geometry.block_bytes);
        }
        // As does every inode that refers to a value.
        let values = self.survey.xattrs.values.blocks_of(self.tree.node(id).metadata.xattrs, self.geometry.block_bytes);
        add_blocks(&mut inode, values, self.geometry.block_bytes);
        inode
    }

    /// An inode that holds the value of an xattr: the value's hash stands in place of the time of access, the number of entries that
    /// refer to it in place of the time of change (high half) and the version (Linux, `ext4_xattr_inode_set_hash`, `_set_ref`).
    fn value_inode(&self, ino: u32, number: u32) -> Inode {
        let value = self.survey.xattrs.values.get(number);
        let inode = self.with_blocks(ino, self.own_inode(mode::FILE | 0o600, value.len));
        Inode {
            i_links_count: 1,
            i_flags: inode.i_flags | EA_INODE_FL,
            i_atime: value.hash,
            i_atime_extra: 0,
            i_ctime: 0,
            i_ctime_extra: 0,
            l_i_version: value.references,
            ..inode
        }
    }

    fn links(&self, id: NodeId, node: &Node) -> u16 {
        if !node.is_directory() {
            return u16::try_from(node.links).expect("planning has refused more than 65,000 hard links");
        }
        let added = u64::from(id == NodeId::ROOT && self.survey.numbers.adds_lost_found());
        let subdirectories = self.tree.entries(id).iter().filter(|entry| self.tree.node(entry.node).is_directory()).count();
        directory_links(u64_of(subdirectories) + added)
    }

    /// An inode of the filesystem's own.
    fn own_inode(&self, i_mode: u16, size: u64) -> Inode {
        let mut inode = Inode { i_mode, ..timed(self.options.epoch) };
        set_size(&mut inode, size);
        inode
    }

    fn with_blocks(&self, ino: u32, inode: Inode) -> Inode {
        let extents = if matches!(self.survey.mapping, Mapping::Extents { .. }) { EXTENTS_FL } else { 0 };
        let mut inode = Inode { i_flags: inode.i_flags | extents, i_block: self.mapping_root(ino), ..inode };
        add_blocks(&mut inode, self.placement.blocks(ino), self.geometry.block_bytes);
        inode
    }

    fn quota_inode(&self, ino: u32, kind: Kind) -> Inode {
        let blocks = self.survey.quotas.file(kind).blocks(self.geometry.block_bytes);
        let mut inode = self.with_blocks(ino, self.own_inode(mode::FILE | 0o600, blocks * self.geometry.block_bytes));
        inode.i_links_count = 1;
        // So that nobody writes to it but the kernel itself, as mke2fs has it.
        inode.i_flags |= IMMUTABLE_FL;
        inode
    }

    /// Inode 7: a file without extents whose double indirect block stands for all descriptor blocks reserved for growth; their
    /// backups are its data (e2fsprogs, `ext2fs_create_resize_inode`).
    fn resize_inode(&self) -> Inode {
        let geometry = &self.geometry;
        let slots = geometry.block_bytes / 4;
        let mut inode = self.own_inode(mode::FILE | 0o600, (slots * slots + slots + DIRECT_BLOCKS) * geometry.block_bytes);
        inode.i_links_count = 1;
        inode.i_block[DOUBLE_INDIRECT_AT..DOUBLE_INDIRECT_AT + 4].copy_from_slice(&low32(self.placement.resize_index).to_le_bytes());
        add_blocks(&mut inode, 1 + geometry.reserved_descriptor_blocks * geometry.copies(), geometry.block_bytes);
        inode
    }
}

/// An inode with all its times, and the length of the fields.
fn timed(time: Timestamp) -> Inode {
    let (seconds, extra) = encode_time(time).expect("planning has checked every time");
    Inode {
        i_atime: seconds,
        i_atime_extra: extra,
        i_ctime: seconds,
        i_ctime_extra: extra,
        i_mtime: seconds,
        i_mtime_extra: extra,
        i_crtime: seconds,
        i_crtime_extra: extra,
        i_extra_isize: EXTRA_ISIZE,
        ..Inode::default()
    }
}

fn set_size(inode: &mut Inode, size: u64) {
    inode.i_size_lo = low32(size);
    inode.i_size_high = high32(size);
}

/// Adds to `i_blocks`, in sectors. 48 bits of sectors hold 128 PiB, more than any file here, so the feature huge_file's flag for
/// counting in blocks is never needed.
fn add_blocks(inode: &mut Inode, blocks: u64, block_bytes: u64) {
    let before = u64::from(inode.i_blocks_lo) | u64::from(inode.l_i_blocks_high) << 32;
    let sectors = before + blocks * (block_bytes / SECTOR_BYTES);
    inode.i_blocks_lo = low32(sectors);
    inode.l_i_blocks_high = low16(high32(sectors));
}

fn type_bits(node: &Node) -> u16 {
    match node.kind {
        NodeKind::Directory => mode::DIRECTORY,
        NodeKind::File(_) => mode::FILE,
        NodeKind::Symlink(_) => mode::SYMLINK,
        NodeKind::CharDevice(_) => mode::CHAR,
        NodeKind::BlockDevice(_) => mode::BLOCK,
        NodeKind::Fifo => mode::FIFO,
        NodeKind::Socket => mode::SOCKET,
    }
}

/// `i_block` of a device: the first word in the old form (8 bits of major and minor) if the numbers fit, else the second in the new
/// one (Linux, `old_encode_dev` and `new_encode_dev`).
fn encode_device(device: Device) -> [u8; I_BLOCK_BYTES] {
    let Device { major, minor } = device;
    let mut words = [0_u32; 2];
    if major < 256 && minor < 256 {
        words[0] = major << 8 | minor;
    } else {
        words[1] = (minor & 0xff) | major << 8 | (minor & !0xff) << 12;
    }
    let mut b = [0; I_BLOCK_BYTES];
    b[..4].copy_from_slice(&words[0].to_le_bytes());
    b[4..8].copy_from_slice(&words[1].to_le_bytes());
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_old_form_where_it_suffices() {
        for (major, minor, expected) in
            [(1, 3, [0x103_u32, 0]), (255, 255, [0xffff, 0]), (8, 256, [0, 0x0010_0800]), (256, 1, [0, 0x1_0001]), (4095, 1_048_575, [0, 0xffff_ffff])]
        {
            let b = encode_device(Device { major, minor });
            assert_eq!(b[..8], [expected[0].to_le_bytes(), expected[1].to_le_bytes()].concat(), "{major}:{minor}");
        }
    }

    #[test]
    fn blocks_are_counted_in_sectors_of_48_bits() {
        let mut inode = Inode::default();
        add_blocks(&mut inode, 1, 4096);
        add_blocks(&mut inode, 1 << 32, 4096);
        assert_eq!((inode.i_blocks_lo, inode.l_i_blocks_high), (8, 8));
    }
}
