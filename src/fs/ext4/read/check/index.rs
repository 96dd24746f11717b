//! Hash indexes of directories: every leaf is pointed to once, and has the names whose hashes belong there.

use super::super::directory::{Kind, Listing};
use super::super::inode::Record;
use super::super::map::Map;
use super::super::volume::Volume;
use super::super::{cache::Cache, directory::Form};
use super::hash::Hash;
use crate::error::{Error, Result};
use crate::tree::attribute;
use crate::units::{index_of, u64_of};
use std::collections::HashMap;

const ENTRY_BYTES: usize = 8;
/// `s_flags`: hashes take names as unsigned bytes.
const FLAGS_UNSIGNED_HASH: u32 = 2;
/// Levels below the root, with large_dir.
const LEVELS_MAX: u8 = 2;

/// A block of the index, or a leaf, that is still to be looked at: where, how far above the leaves, and its hashes.
#[derive(Debug, Clone, Copy)]
struct Below {
    block: u32,
    level: u8,
    from: u32,
    to: Option<u32>,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Checks the index of a directory whose entries were read.
pub(in super::super) fn check(volume: &Volume, cache: &mut Cache, record: &Record, form: &Form, map: &Map, listing: &Listing) -> Vec<Error> {
    let mut wrong = Vec::new();
    if let Err(error) = (Index { volume, cache, form, map, ino: record.ino }).check(record, listing, &mut wrong) {
        wrong.push(error);
    }
    wrong
}

struct Index<'a> {
    volume: &'a Volume,
    cache: &'a mut Cache,
    form: &'a Form,
    map: &'a Map,
    ino: u32,
}

impl Index<'_> {
    fn wrong(&self, what: String) -> Error {
        Error::corrupt(format!("the index of directory inode {}: {what}", self.ino))
    }

    fn block(&mut self, logical: u32) -> Result<Vec<u8>> {
        let block = self.map.block(u64::from(logical)).ok_or_else(|| self.wrong(format!("it has no block {logical}")))?;
        Ok(self.cache.bytes(self.volume.offset(block), self.volume.block_len())?.to_vec())
    }

    fn check(&mut self, record: &Record, listing: &Listing, wrong: &mut Vec<Error>) -> Result<()> {
        let root = self.block(0)?;
        if self.form.kind(&root, 0) == Kind::Entries {
            return Err(self.wrong("the first block has no root".to_owned()));
        }
        let (version, levels) = (root[28], root[30]);
        let unsigned = self.volume.superblock.s_flags & FLAGS_UNSIGNED_HASH != 0;
        // Casefolded names are hashed as Unicode folds them.
        let hash = Hash::new(version, unsigned);
        if hash.is_none() && !record.has_flag(attribute::CASEFOLDED) {
            return Err(self.wrong(format!("it has hashes of version {version}")));
        }
        if levels > LEVELS_MAX {
            return Err(self.wrong(format!("it has {levels} levels")));
        }
        let mut leaves: HashMap<u32, (u32, Option<u32>)> = HashMap::new();
        let mut met = vec![0];
        let mut pending = self.children(&root, 32, Below { block: 0, level: levels, from: 0, to: None })?;
        let blocks = self.map.logical_end();
        while let Some(below) = pending.pop() {
            met.push(below.block);
            if u64::from(below.block) >= blocks || u64_of(met.len()) > blocks {
                return Err(self.wrong(format!("it points to block {} of {blocks}", below.block)));
            }
            let bytes = self.block(below.block)?;
            // Leaves are told from nodes by their level alone, for the last block of a level has no mark.
            if below.level == 0 {
                leaves.insert(below.block, (below.from, below.to));
                continue;
            }
            let level = below.level - 1;
            let is_node = bytes[..4] == [0; 4];
            if !is_node {
                return Err(self.wrong(format!("block {} is no node", below.block)));
            }
            pending.extend(self.children(&bytes, 8, Below { level, ..below })?);
        }
        met.sort_unstable();
        if let Some(pair) = met.windows(2).find(|pair| pair[0] == pair[1]) {
            wrong.push(self.wrong(format!("block {} is pointed to twice", pair[0])));
        }
        met.dedup();
        if u64_of(met.len()) != blocks {
            wrong.push(self.wrong(format!("{} of its {blocks} blocks are pointed to", met.len())));
        }
        let seed = &self.volume.superblock.s_hash_seed;
        let Some(hash) = hash.filter(|_| !record.has_flag(attribute::CASEFOLDED)) else { return Ok(()) };
        for found in &listing.found {
            let Some((from, to)) = leaves.get(&found.block) else { continue };
            let name = listing.name(found);
            let of_name = hash.of(name, seed);
            // A leaf that goes on with the hash that the one before ends with has the lowest bit set.
            let below_end = to.is_none_or(|to| if to & 1 == 1 { of_name <= to & !1 } else { of_name < to });
            if of_name < from & !1 || !below_end {
                let to = to.unwrap_or(u32::MAX);
                let what = format!(
                    "\"{}\" has the hash {of_name:#010x} and stands in block {}, which is for {from:#010x} to {to:#010x}",
                    crate::error::escape(name),
                    found.block
                );
                wrong.push(self.wrong(what));
                break;
            }
        }
        Ok(())
    }

    /// The children of a block of the index.
    fn children(&self, bytes: &[u8], at: usize, own: Below) -> Result<Vec<Below>> {
        let (limit, count) = (u16_at(bytes, at), u16_at(bytes, at + 2));
        let tail = if self.form.csum.is_on() { ENTRY_BYTES } else { 0 };
        let room = (bytes.len() - at - tail) / ENTRY_BYTES;
        if limit != room || count == 0 || count > limit {
            return Err(self.wrong(format!("a block with {count} entries of {limit}; there is room for {room}")));
        }
        let hash_at = |number: usize| u32_at(bytes, at + number * ENTRY_BYTES);
        let mut children = Vec::with_capacity(count);
        for number in 0..count {
            let from = if number == 0 { own.from } else { hash_at(number) };
            let to = if number + 1 < count { Some(hash_at(number + 1)) } else { own.to };
            if to.is_some_and(|to| to < from) || from < own.from {
                return Err(self.wrong(format!("the hashes {from:#010x} and {:#010x} are out of order", to.unwrap_or(0))));
            }
            // The highest bits are kept for later.
            let block = u32_at(bytes, at + number * ENTRY_BYTES + 4) & 0x0fff_ffff;
            children.push(Below { block, level: own.level, from, to });
        }
        debug_assert!(index_of(own.block) < usize::MAX);
        Ok(children)
    }
}
