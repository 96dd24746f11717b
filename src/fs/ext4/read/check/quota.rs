//! Quota files: what they say that owners have, against what they have.

use super::super::super::format::{
    QUOTA_BLOCK_BYTES, QUOTA_ENTRY_BYTES, QUOTA_LEAF_HEADER_BYTES, QUOTA_MAGICS, QUOTA_TREE_DEPTH, QUOTA_TREE_ROOT, QuotaEntry, mode, ro_compat,
};
use super::super::claims::BlockSet;
use super::super::inode::Record;
use super::super::map::{self, Map};
use super::super::scan::Scan;
use super::super::volume::Volume;
use crate::error::{Error, Result};
use crate::units::{index_of, u64_of, usize_of};
use std::collections::{BTreeMap, HashSet};

/// Bytes and inodes by owner: of users, groups and projects.
#[derive(Debug, Default)]
pub(in super::super) struct Usage {
    by_kind: [BTreeMap<u32, (u64, u64)>; 3],
}

impl Usage {
    /// Counts an inode.
    pub(super) fn add(&mut self, volume: &Volume, record: &Record) {
        if !volume.has_ro_compat(ro_compat::QUOTA) || is_own(volume, record.ino) || record.inode.i_flags & super::super::super::format::EA_INODE_FL != 0 {
            return;
        }
        let Ok(metadata) = record.metadata(volume) else { return };
        let bytes = record.allocated(volume).unwrap_or(0);
        for (map, id) in self.by_kind.iter_mut().zip([metadata.uid, metadata.gid, metadata.project]) {
            let entry = map.entry(id).or_default();
            entry.0 = entry.0.saturating_add(bytes);
            entry.1 += 1;
        }
    }
}

fn is_own(volume: &Volume, ino: u32) -> bool {
    let s = &volume.superblock;
    [s.s_usr_quota_inum, s.s_grp_quota_inum, s.s_prj_quota_inum, s.s_orphan_file_inum].contains(&ino)
}

impl Scan<'_> {
    /// Judges all quota files. Values of attributes with inodes of their own are charged by rules of their own: with such nothing is judged.
    pub(in super::super) fn check_quotas(&mut self, usage: &Usage) {
        let s = &self.volume.superblock;
        if !self.volume.has_ro_compat(ro_compat::QUOTA) || !self.xattrs.values.is_empty() {
            return;
        }
        let files = [("users", s.s_usr_quota_inum), ("groups", s.s_grp_quota_inum), ("projects", s.s_prj_quota_inum)];
        for (((what, ino), magic), usage) in files.into_iter().zip(QUOTA_MAGICS).zip(&usage.by_kind) {
            if ino == 0 {
                continue;
            }
            match self.quota_entries(ino, magic) {
                Ok(entries) => {
                    for (id, (bytes, inodes)) in usage {
                        let says = entries.get(id).copied().unwrap_or((0, 0));
                        if says != (*bytes, *inodes) {
                            let message = format!("the quota file of {what} says {} bytes and {} inodes of {id}; it has {bytes} and {inodes}", says.0, says.1);
                            self.findings.push(Error::corrupt(message));
                        }
                    }
                    for (id, says) in entries.iter().filter(|(id, says)| !usage.contains_key(id) && **says != (0, 0)) {
                        let message = format!("the quota file of {what} says {} bytes and {} inodes of {id}; it has none", says.0, says.1);
                        self.findings.push(Error::corrupt(message));
                    }
                }
                Err(error) => self.findings.push(error.within(format_args!("the quota file of {what}"))),
            }
        }
    }

    fn quota_entries(&mut self, ino: u32, magic: u32) -> Result<BTreeMap<u32, (u64, u64)>> {
        let record = self.read(ino)?;
        let map = map::read(self.volume, &mut self.cache, &mut BlockSet::default(), &record)?;
        let blocks = record.size(self.volume) / u64_of(QUOTA_BLOCK_BYTES);
        let head = self.quota_block(&map, 0)?;
        let found = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if found != magic || record.kind() != mode::FILE {
            return Err(Error::corrupt(format!("it begins with {found:#010x}, not with {magic:#010x}")).at_offset(record.offset));
        }
        let mut entries = BTreeMap::new();
        let mut met = HashSet::new();
        let mut pending = vec![(QUOTA_TREE_ROOT, 0)];
        while let Some((number, depth)) = pending.pop() {
            if u64::from(number) >= blocks {
                return Err(Error::corrupt(format!("it points to its block {number} of {blocks}")));
            }
            let leaf = depth == QUOTA_TREE_DEPTH;
            if !met.insert(number) {
                // Entries of several ids share a block.
                if leaf {
                    continue;
                }
                return Err(Error::corrupt(format!("it points to its block {number} twice")));
            }
            let bytes = self.quota_block(&map, u64::from(number))?;
            if leaf {
                for raw in bytes[QUOTA_LEAF_HEADER_BYTES..].chunks_exact(QUOTA_ENTRY_BYTES).filter(|raw| raw.iter().any(|byte| *byte != 0)) {
                    let entry = QuotaEntry::decode(raw.first_chunk().expect("a chunk of 72 bytes"));
                    entries.insert(entry.dqb_id, (entry.dqb_curspace, entry.dqb_curinodes));
                }
                continue;
            }
            let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            pending.extend(words.filter(|number| *number != 0).map(|number| (number, depth + 1)));
        }
        Ok(entries)
    }

    fn quota_block(&mut self, map: &Map, number: u64) -> Result<Vec<u8>> {
        let at = number * u64_of(QUOTA_BLOCK_BYTES);
        let block = map.block(at / self.volume.block_bytes).ok_or_else(|| Error::corrupt(format!("its block {number} is a hole")))?;
        let within = usize_of(at % self.volume.block_bytes);
        let bytes = self.cache.bytes(self.volume.offset(block), self.volume.block_len())?;
        debug_assert!(within + QUOTA_BLOCK_BYTES <= bytes.len() && index_of(0) == 0);
        Ok(bytes[within..within + QUOTA_BLOCK_BYTES].to_vec())
    }
}
