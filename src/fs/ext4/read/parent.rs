//! A filesystem that was read as what a new version stays close to.

use super::super::format::Superblock;
use super::super::parent::{Parent, ParentRun, ParentRunKind, Paths, arrange, may_have};
use super::claims::About;
use super::volume;
use crate::content::ReadAt;
use crate::error::{Error, Result};
use crate::fs::existing::{PlaceOwner, ReadFilesystem};
use crate::guid::Guid;
use crate::tree::{NodeId, Timestamp};

impl Parent {
    /// What lies where in the filesystem that was `read` from `disk`. Of what is damaged nothing is known: it is not in the tree, or
    /// has no runs.
    ///
    /// # Errors
    /// A disk without an ext4 filesystem; those of `disk`.
    pub fn of(read: &ReadFilesystem, disk: &dyn ReadAt) -> Result<Self> {
        let bytes = volume::superblock(disk)?.ok_or_else(|| Error::invalid("no ext4 filesystem, of which an earlier version could be known"))?;
        let superblock = Superblock::decode(&bytes);
        let seconds = i64::from(superblock.s_mkfs_time) | i64::from(superblock.s_mkfs_time_hi) << 32;
        let block_bytes = u64::from(read.summary.block_bytes.max(1));
        let (tree, new) = Paths::of(&read.tree)?.freeze(None)?;
        let mut inodes = vec![0; tree.node_count()];
        for (node, ino) in new.iter().zip(&read.inodes) {
            if let Some(place) = inodes.get_mut(node.index()).filter(|_| may_have(node.index(), *ino)) {
                *place = *ino;
            }
        }
        let mut runs = Vec::with_capacity(read.places.len());
        for place in &read.places {
            let found = match place.owner {
                PlaceOwner::Data { node, offset_bytes } => Some((node, ParentRunKind::Data, offset_bytes / block_bytes)),
                PlaceOwner::About { node, what } if what == About::Map.name() => Some((node, ParentRunKind::Map, 0)),
                PlaceOwner::About { node, what } if what == About::Xattrs.name() => Some((node, ParentRunKind::Xattrs, 0)),
                PlaceOwner::About { .. } | PlaceOwner::Structure { .. } => None,
            };
            let Some((node, what, logical)) = found else { continue };
            let Some(node) = new.get(node.index()).copied().filter(|node| *node != NodeId(u32::MAX)) else { continue };
            let start = place.range.start / block_bytes;
            runs.push(ParentRun { node, what, logical, start, count: place.range.end.div_ceil(block_bytes) - start });
        }
        Ok(Self {
            uuid: Guid::from_bytes(superblock.s_uuid),
            hash_seed: Guid::from_bytes(superblock.s_hash_seed),
            epoch: Timestamp::from_seconds(seconds),
            block_bytes: read.summary.block_bytes,
            blocks: superblock.blocks_count(),
            tree,
            inodes,
            runs: arrange(runs),
        })
    }
}
