//! Listing one directory: by its blocks, or in its inode.

use super::super::format::{INDEX_FL, incompat};
use super::check;
use super::directory::{Form, Listing};
use super::findings::Spot;
use super::inode::{I_BLOCK_AT, Record};
use super::map::Map;
use super::scan::{Pending, Scan};
use super::xattrs::Xattrs;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};

/// What is wrong with one directory before it is given up: blocks on end that were never written can be many.
const WRONG_MAX: usize = 256;

impl Scan<'_> {
    /// Reads the entries of a directory.
    pub(super) fn list(&mut self, directory: &Pending, listing: &mut Listing) -> Result<()> {
        let record = self.read(directory.ino)?;
        let form = Form {
            csum: record.csum(self.volume),
            indexed: record.has_flag(INDEX_FL),
            encrypted: directory.hidden || record.is_encrypted(self.volume),
            file_types: self.volume.has_incompat(incompat::FILETYPE),
            inodes: self.volume.inodes,
            ino: directory.ino,
        };
        if record.is_inline(self.volume) {
            return self.list_inline(directory, &record, &form, listing);
        }
        let map = self.map(&record)?;
        self.claim_map(directory.node, directory.hidden, &map);
        for error in &map.odd {
            self.odd(Spot::node(directory.node), Error::corrupt(error.to_string()));
        }
        if self.options.check {
            self.check_directory(directory, &record, &map)?;
        }
        let size_blocks = record.size(self.volume).div_ceil(self.volume.block_bytes);
        if record.size(self.volume) % self.volume.block_bytes != 0 || map.block(0).is_none() {
            let message = format!("directory inode {} of {} bytes: whole blocks from the first one are needed", record.ino, record.size(self.volume));
            listing.wrong.push(Error::corrupt(message).at_offset(record.offset));
        }
        let mut next = 0;
        for run in &map.runs {
            let end = run.logical_end().min(size_blocks);
            if run.logical >= end {
                break;
            }
            let first = if run.unwritten { end } else { run.logical };
            if first != next {
                let message = format!("directory inode {} has no blocks {next} to {}", record.ino, first - 1);
                listing.wrong.push(Error::corrupt(message).at_offset(record.offset));
            }
            next = end;
            for logical in first..end {
                if listing.wrong.len() > WRONG_MAX {
                    let message = format!("directory inode {} is read no further than to its block {logical} of {size_blocks}", record.ino);
                    return Err(Error::corrupt(message).at_offset(record.offset));
                }
                self.list_block(&form, run.start + (logical - run.logical), logical, listing)?;
            }
        }
        if next < size_blocks {
            listing.wrong.push(Error::corrupt(format!("directory inode {} has {next} blocks of {size_blocks}", record.ino)).at_offset(record.offset));
        }
        let offset = map.block(0).map_or(record.offset, |block| self.volume.offset(block));
        listing.check_dots(&form, directory.parent, offset);
        if self.options.check && form.indexed && listing.wrong.is_empty() && !form.encrypted {
            for error in check::index(self.volume, &mut self.cache, &record, &form, &map, listing) {
                self.findings.push_at(Some(Spot::node(directory.node)), error.at_offset(offset));
            }
        }
        Ok(())
    }

    /// The check of what a directory's inode says; its attributes are looked at once more, for what they are charged.
    fn check_directory(&mut self, directory: &Pending, record: &Record, map: &Map) -> Result<()> {
        let charged = self.xattrs.charge(self.volume, record)?;
        self.check_record(Spot::node(directory.node), record, map, charged);
        Ok(())
    }

    fn list_block(&mut self, form: &Form, block: u64, logical: u64, listing: &mut Listing) -> Result<()> {
        let offset = self.volume.offset(block);
        if !self.blocks.insert(block) {
            listing.wrong.push(Error::corrupt(format!("block {block} of directory inode {}, which something else has as well", form.ino)).at_offset(offset));
            return Ok(());
        }
        match self.cache.bytes(offset, self.volume.block_len()) {
            Ok(bytes) => listing.add_block(form, bytes, logical, offset),
            Err(error) => listing.wrong.push(error),
        }
        Ok(())
    }

    fn list_inline(&mut self, directory: &Pending, record: &Record, form: &Form, listing: &mut Listing) -> Result<()> {
        const PARENT_BYTES: usize = 4;
        let value = Xattrs::inline(record)?.ok_or_else(|| Error::corrupt("inline data without its attribute system.data").at_offset(record.offset))?;
        let size = usize_of(record.size(self.volume));
        let block = &record.inode.i_block;
        let i_block_at = record.offset + I_BLOCK_AT;
        if size < block.len() || size - block.len() > value.len() {
            let (fits, ino) = (block.len() + value.len(), record.ino);
            return Err(Error::corrupt(format!("directory inode {ino} with {size} bytes of inline data, of which {fits} are there")).at_offset(record.offset));
        }
        let parent = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        listing.add_inline(form, &block[PARENT_BYTES..], i_block_at + u64_of(PARENT_BYTES));
        let rest = &record.bytes[value.start..value.start + (size - block.len())];
        if !rest.is_empty() {
            listing.add_inline(form, rest, record.offset + u64_of(value.start));
        }
        listing.dot_dot = Some(parent);
        listing.check_dots(form, directory.parent, i_block_at);
        Ok(())
    }
}
