//! Inodes that no name leads to: the journal, quota files, the resize inode, the file of orphans; and what was deleted while it was open.

use super::super::format::{FIRST_INO, RESIZE_INO, ROOT_INO, USR_QUOTA_INO, compat, mode, ro_compat};
use super::claims::What;
use super::inode::Record;
use super::map::Map;
use super::names::{incompat_read, ro_compat_read};
use super::scan::{Met, Scan};
use crate::error::{Error, Result};
use crate::units::u64_of;

/// `ob_magic`, at the end of each block of the file of orphans, and behind it the checksum.
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;
const ORPHAN_TAIL_BYTES: usize = 8;

/// Inodes on the lists of what is to be deleted, or cut off, at the next mount.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// Without names: deleted while open.
    pub(super) deleted: Vec<u32>,
    /// With names: they were being truncated.
    pub(super) truncated: Vec<u32>,
}

impl Orphans {
    /// What has to be said of them.
    pub(super) fn note(&self) -> Option<String> {
        let files = |count: usize| if count == 1 { "1 file was".to_owned() } else { format!("{count} files were") };
        match (self.deleted.len(), self.truncated.len()) {
            (0, 0) => None,
            (deleted, 0) => Some(format!("{} deleted while still open; not in the tree", files(deleted))),
            (0, truncated) => Some(format!("{} being cut off; the tree has the new length", files(truncated))),
            (deleted, truncated) => {
                Some(format!("{} deleted while still open (not in the tree), {} being cut off (the tree has the new length)", files(deleted), files(truncated)))
            }
        }
    }
}

impl Scan<'_> {
    /// Claims what the filesystem's own inodes have.
    pub(super) fn own_inodes(&mut self) -> Result<()> {
        let s = &self.volume.superblock;
        let quota = self.volume.has_ro_compat(ro_compat::QUOTA | ro_compat::PROJECT);
        let mut own = vec![];
        own.extend(self.volume.journal_ino().map(|ino| (ino, What::Journal)));
        if quota {
            own.extend([s.s_usr_quota_inum, s.s_grp_quota_inum, s.s_prj_quota_inum].map(|ino| (ino, What::Quota)));
        }
        if self.volume.has_compat(compat::ORPHAN_FILE) {
            own.push((s.s_orphan_file_inum, What::OrphanFile));
        }
        let mmp = s.s_mmp_block;
        for (ino, what) in own {
            if ino != 0 && !self.met.contains_key(&ino) {
                self.own_inode(ino, what);
            }
        }
        for ino in (1..FIRST_INO).filter(|ino| *ino != ROOT_INO) {
            if !self.met.contains_key(&ino) {
                self.reserved_inode(ino)?;
            }
        }
        if self.volume.has_incompat(incompat_read::MMP) && self.volume.holds(mmp, 1) {
            self.claims.structure(What::MultipleMountProtection, None, mmp, 1);
        }
        Ok(())
    }

    fn own_inode(&mut self, ino: u32, what: What) {
        let map = self.read(ino).and_then(|record| self.map(&record));
        self.met.insert(ino, Met::Hidden);
        match map {
            Ok(map) => self.claim_structure(what, &map),
            Err(error) => self.damage.push(error.within(format_args!("the {}", what.name()))),
        }
    }

    /// A reserved inode that may have blocks though nothing says so: 1 has the bad blocks, 7 what is kept for growth.
    fn reserved_inode(&mut self, ino: u32) -> Result<()> {
        let record = match self.read(ino) {
            Ok(record) => record,
            // What never was written has no checksum.
            Err(_) if ino != RESIZE_INO || !self.volume.has_compat(compat::RESIZE_INODE) => return Ok(()),
            Err(error) => {
                self.damage.push(error);
                return Ok(());
            }
        };
        if ino == RESIZE_INO {
            // Its double indirect block points to the blocks that are kept, which are claimed already.
            let [a, b, c, d] = [52, 53, 54, 55].map(|at| record.inode.i_block[at]);
            let block = u64::from(u32::from_le_bytes([a, b, c, d]));
            if self.volume.has_compat(compat::RESIZE_INODE) && self.volume.holds(block, 1) {
                self.claims.structure(What::ResizeInode, None, block, 1);
            }
            return Ok(());
        }
        // 3 and 4 without the feature quota, and 9 and 10, have no use.
        let used = record.inode.i_block.iter().any(|byte| *byte != 0) && (ino == 1 || (record.kind() == mode::FILE && record.inode.i_links_count > 0));
        if used && (ino < USR_QUOTA_INO || record.has_map(self.volume)) {
            match self.map(&record) {
                Ok(map) => self.claim_structure(What::ReservedInode, &map),
                Err(error) => self.damage.push(error),
            }
        }
        Ok(())
    }

    pub(super) fn claim_structure(&mut self, what: What, map: &Map) {
        for run in &map.runs {
            self.claims.structure(what, None, run.start, run.blocks);
        }
        for block in &map.nodes {
            self.claims.structure(what, None, *block, 1);
        }
    }

    /// Claims the blocks of an inode that no name leads to, those of its attributes included.
    pub(super) fn claim_nameless(&mut self, record: &Record, what: What) -> Result<()> {
        self.met.insert(record.ino, Met::Hidden);
        let attributes = self.attributes(record)?;
        if let Some(block) = attributes.new_block {
            self.claims.structure(what, None, block, 1);
        }
        for ino in &attributes.new_values {
            let Some(value) = self.xattrs.values.get(ino) else { continue };
            for (start, blocks) in value.map.runs.iter().map(|run| (run.start, run.blocks)).chain(value.map.nodes.iter().map(|block| (*block, 1))) {
                self.claims.structure(what, None, start, blocks);
            }
        }
        if record.has_map(self.volume) {
            let map = self.map(record)?;
            self.claim_structure(what, &map);
        }
        Ok(())
    }

    /// Finds the inodes that are to be deleted or cut off at the next mount.
    pub(super) fn orphans(&mut self) -> Orphans {
        let mut orphans = Orphans::default();
        let mut next = self.volume.superblock.s_last_orphan;
        let mut seen = std::collections::HashSet::new();
        while next != 0 {
            if !seen.insert(next) {
                self.damage.push(Error::corrupt(format!("the list of deleted inodes leads to inode {next} again")));
                break;
            }
            match self.orphan(next, &mut orphans) {
                Ok(dtime) => next = dtime,
                Err(error) => {
                    self.damage.push(error.within("the list of deleted inodes"));
                    break;
                }
            }
        }
        let ino = self.volume.superblock.s_orphan_file_inum;
        if self.volume.has_compat(compat::ORPHAN_FILE)
            && self.volume.has_ro_compat(ro_compat_read::ORPHAN_PRESENT)
            && let Err(error) = self.orphan_file(ino, &mut orphans)
        {
            self.damage.push(error.within("the orphan file"));
        }
        orphans
    }

    /// Takes one, and gives the next one of the list.
    fn orphan(&mut self, ino: u32, orphans: &mut Orphans) -> Result<u32> {
        let record = self.read(ino)?;
        let next = record.inode.i_dtime;
        if record.inode.i_links_count > 0 {
            orphans.truncated.push(ino);
        } else {
            orphans.deleted.push(ino);
            if !self.met.contains_key(&ino) {
                self.claim_nameless(&record, What::Deleted)?;
            }
        }
        Ok(next)
    }

    fn orphan_file(&mut self, ino: u32, orphans: &mut Orphans) -> Result<()> {
        let record = self.read(ino)?;
        // Its tree was met when its blocks were claimed; it is looked at once more.
        let map = super::map::read(self.volume, &mut self.cache, &mut super::claims::BlockSet::default(), &record)?;
        for run in &map.runs {
            for block in run.start..run.start + run.blocks {
                let offset = self.volume.offset(block);
                let bytes = self.cache.bytes(offset, self.volume.block_len())?.to_vec();
                let (inodes, tail) = bytes.split_at(bytes.len() - ORPHAN_TAIL_BYTES);
                let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                if word(tail) != ORPHAN_MAGIC {
                    return Err(Error::corrupt(format!("a block that ends with {:#010x}", word(tail))).at_offset(offset));
                }
                let expected = record.csum(self.volume).over(&[&block.to_le_bytes(), inodes]);
                if self.volume.csum.is_on() && word(&tail[4..]) != expected {
                    let found = word(&tail[4..]);
                    return Err(Error::corrupt(format!("a block with the checksum {found:#010x}; it should be {expected:#010x}")).at_offset(offset));
                }
                for (at, ino) in (0_usize..).zip(inodes.chunks_exact(4).map(word)).filter(|(_, ino)| *ino != 0) {
                    self.orphan(ino, orphans).map_err(|error| error.at_offset(offset + u64_of(at * 4)))?;
                }
            }
        }
        Ok(())
    }
}
