//! Extended attributes: behind an inode's fields, in a block that inodes share, and large values in inodes of their own.

use super::super::format::{EA_INODE_FL, XATTR_BLOCK_HEADER_BYTES, XATTR_ENTRY_BYTES, XATTR_MAGIC, XattrBlockHeader, XattrEntry, entry_hash, name_index};
use super::cache::Cache;
use super::claims::BlockSet;
use super::groups::Group;
use super::inode::{self, Record};
use super::map::{self, Map};
use super::volume::Volume;
use crate::error::{Error, Result, escape};
use crate::tree::{XATTR_VALUE_MAX_BYTES, Xattr};
use crate::units::{index_of, u64_of, usize_of};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of the magic number in front of an inode's attributes.
const MAGIC_BYTES: usize = 4;
/// `struct posix_acl_xattr_header`, version 2.
const ACL_SYSCALL_VERSION: [u8; 4] = [2, 0, 0, 0];
/// `ext4_acl_header`, version 1.
const ACL_DISK_VERSION: [u8; 4] = [1, 0, 0, 0];

/// What an inode has besides its fields.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) set: Vec<Xattr>,
    /// Where the record has the value of system.data.
    pub(super) inline: Option<Range<usize>>,
    /// The block, where it is met here for the first time.
    pub(super) new_block: Option<u64>,
    /// Inodes of values, where they are met for the first time.
    pub(super) new_values: Vec<u32>,
}

/// An entry as it lies on disk.
struct Raw<'a> {
    entry: XattrEntry,
    name: &'a [u8],
    /// Where in the area the value lies; `None` if it has an inode of its own.
    value: Option<Range<usize>>,
}

/// A block of attributes.
struct Block {
    set: Arc<[Xattr]>,
    header: XattrBlockHeader,
    /// Inodes that have it.
    users: u32,
    /// Space of values outside of it that every user is charged for.
    values: u64,
}

/// A value with an inode of its own.
pub(super) struct Value {
    bytes: Arc<[u8]>,
    hash: u32,
    pub(super) map: Map,
    /// Bytes that each inode is charged that refers to it.
    charged: u64,
    /// Entries that refer to it.
    pub(super) references: u64,
    pub(super) record: Record,
}

/// What was read of attributes so far: blocks and values are read once.
#[derive(Default)]
pub(super) struct Xattrs {
    blocks: HashMap<u64, Result<Block, String>>,
    pub(super) values: HashMap<u32, Value>,
    /// Attributes that Linux shows to nobody, by index.
    pub(super) hidden: u64,
    /// For the check: what is wrong with hashes and counts.
    pub(super) odd: Vec<Error>,
    /// Bytes outside of the inode that was read last, for which it is charged.
    pub(super) charged: u64,
}

/// The entries from `first` on; values lie behind them.
fn entries(area: &[u8], first: usize) -> Result<Vec<Raw<'_>>> {
    let wrong = || Error::corrupt("the list of extended attributes goes beyond its end");
    let mut found = Vec::new();
    let mut at = first;
    loop {
        let end: [u8; 4] = *area.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).ok_or_else(wrong)?;
        if end == [0; 4] {
            break;
        }
        let entry = area.get(at..).and_then(|bytes| bytes.first_chunk()).map(XattrEntry::decode).ok_or_else(wrong)?;
        let name = area.get(at + XATTR_ENTRY_BYTES..).and_then(|bytes| bytes.get(..usize::from(entry.e_name_len))).ok_or_else(wrong)?;
        at += (XATTR_ENTRY_BYTES + name.len()).next_multiple_of(4);
        found.push(Raw { entry, name, value: None });
    }
    let values_from = at + 4;
    for raw in &mut found {
        let XattrEntry { e_value_size, e_value_inum, e_value_offs, .. } = raw.entry;
        if index_of(e_value_size) > XATTR_VALUE_MAX_BYTES {
            return Err(Error::corrupt(format!("an extended attribute of {e_value_size} bytes; at most {XATTR_VALUE_MAX_BYTES} are possible")));
        }
        if e_value_inum != 0 {
            continue;
        }
        let start = if e_value_size == 0 { values_from.min(area.len()) } else { usize::from(e_value_offs) };
        let end = start + index_of(e_value_size);
        if e_value_size > 0 && (start < values_from || end > area.len()) {
            return Err(Error::corrupt(format!("the extended attribute {} has its value at {start} to {end} of {}", escape(raw.name), area.len())));
        }
        raw.value = Some(start..end);
    }
    Ok(found)
}

/// The whole name; `None` for what Linux shows to nobody.
fn whole_name(index: u8, name: &[u8]) -> Option<Vec<u8>> {
    let prefix: &[u8] = match index {
        name_index::USER => b"user.",
        name_index::POSIX_ACL_ACCESS => return name.is_empty().then(|| b"system.posix_acl_access".to_vec()),
        name_index::POSIX_ACL_DEFAULT => return name.is_empty().then(|| b"system.posix_acl_default".to_vec()),
        name_index::TRUSTED => b"trusted.",
        name_index::SECURITY => b"security.",
        name_index::RICHACL => return name.is_empty().then(|| b"system.richacl".to_vec()),
        name_index::HURD => b"gnu.",
        _ => return None,
    };
    (!name.is_empty()).then(|| [prefix, name].concat())
}

/// `ext4_acl_header` and entries to `struct posix_acl_xattr_header` and entries. `None` for what is no ACL.
fn acl_from_disk(value: &[u8]) -> Option<Vec<u8>> {
    const NO_ID: [u8; 4] = [0xff; 4];
    let mut rest = value.strip_prefix(&ACL_DISK_VERSION)?;
    let mut out = ACL_SYSCALL_VERSION.to_vec();
    while !rest.is_empty() {
        let tag = rest.first_chunk::<2>().map(|tag| u16::from_le_bytes(*tag))?;
        let len = match tag {
            0x02 | 0x08 => 8,
            0x01 | 0x04 | 0x10 | 0x20 => 4,
            _ => return None,
        };
        out.extend_from_slice(rest.get(..len)?);
        if len == 4 {
            out.extend_from_slice(&NO_ID);
        }
        rest = &rest[len..];
    }
    (out.len() > ACL_SYSCALL_VERSION.len()).then_some(out)
}

/// What reading attributes needs.
pub(super) struct Context<'a> {
    pub(super) volume: &'a Volume,
    pub(super) groups: &'a [Group],
    pub(super) cache: &'a mut Cache,
    pub(super) met: &'a mut BlockSet,
}

impl Xattrs {
    /// The attributes of an inode.
    ///
    /// # Errors
    /// What cannot be read of them, with its offset.
    pub(super) fn of(&mut self, context: &mut Context<'_>, record: &Record) -> Result<Attributes> {
        let mut attributes = Attributes::default();
        self.charged = 0;
        if let Some((region, at)) = record.region()
            && region.get(..MAGIC_BYTES) == Some(&XATTR_MAGIC.to_le_bytes())
        {
            let area = &region[MAGIC_BYTES..];
            let offset = record.offset + u64_of(at + MAGIC_BYTES);
            let at_offset = |error: Error| error.at_offset(offset);
            for raw in entries(area, 0).map_err(at_offset)? {
                if raw.entry.e_name_index == name_index::SYSTEM && raw.name == b"data" {
                    attributes.inline = raw.value.map(|value| at + MAGIC_BYTES + value.start..at + MAGIC_BYTES + value.end);
                    continue;
                }
                let xattr = self.attribute(context, area, &raw, offset, &mut attributes.new_values).map_err(at_offset)?;
                attributes.set.extend(xattr);
            }
        }
        let block = record.xattr_block(context.volume);
        if block != 0 {
            self.block(context, block, &mut attributes)?;
        }
        Ok(attributes)
    }

    /// Where a record has the value of system.data.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub(super) fn inline(record: &Record) -> Result<Option<Range<usize>>> {
        let Some((region, at)) = record.region() else { return Ok(None) };
        if region.get(..MAGIC_BYTES) != Some(&XATTR_MAGIC.to_le_bytes()) {
            return Ok(None);
        }
        let first = at + MAGIC_BYTES;
        let found = entries(&region[MAGIC_BYTES..], 0).map_err(|error| error.at_offset(record.offset + u64_of(first)))?;
        let data = found.into_iter().find(|raw| raw.entry.e_name_index == name_index::SYSTEM && raw.name == b"data");
        Ok(data.and_then(|raw| raw.value).map(|value| first + value.start..first + value.end))
    }

    /// Adds the attributes of a block.
    fn block(&mut self, context: &mut Context<'_>, number: u64, attributes: &mut Attributes) -> Result<()> {
        let offset = context.volume.offset(number.min(context.volume.blocks));
        if !self.blocks.contains_key(&number) {
            let inside = self.charged;
            self.charged = 0;
            let mut new_values = Vec::new();
            let read = self.read_block(context, number, &mut new_values);
            let values = self.charged;
            self.charged = inside;
            attributes.new_values.append(&mut new_values);
            attributes.new_block = context.volume.holds(number, 1).then_some(number);
            let kept = read.map(|(set, header)| Block { set: set.into(), header, users: 0, values }).map_err(|error| error.to_string());
            self.blocks.insert(number, kept);
        }
        match self.blocks.get_mut(&number) {
            Some(Ok(block)) => {
                block.users = block.users.saturating_add(1);
                attributes.set.extend(block.set.iter().cloned());
                self.charged += block.values + context.volume.block_bytes * context.volume.cluster_blocks;
                Ok(())
            }
            Some(Err(message)) => Err(Error::corrupt(format!("the block of extended attributes {number}: {message}")).at_offset(offset)),
            None => Ok(()),
        }
    }

    fn read_block(&mut self, context: &mut Context<'_>, number: u64, new_values: &mut Vec<u32>) -> Result<(Vec<Xattr>, XattrBlockHeader)> {
        let volume = context.volume;
        if !volume.holds(number, 1) {
            return Err(Error::corrupt(format!("the filesystem has {} blocks", volume.blocks)));
        }
        let offset = volume.offset(number);
        let bytes = context.cache.bytes(offset, volume.block_len())?.to_vec();
        let header = bytes.first_chunk::<XATTR_BLOCK_HEADER_BYTES>().map(XattrBlockHeader::decode).unwrap_or_default();
        if header.h_magic != XATTR_MAGIC || header.h_blocks != 1 {
            return Err(Error::corrupt(format!("it begins with {:#010x} and says {} blocks", header.h_magic, header.h_blocks)));
        }
        if volume.csum.is_on() {
            let expected = volume.csum.over(&[&number.to_le_bytes(), &bytes[..0x10], &[0; 4], &bytes[0x14..]]);
            if header.h_checksum != expected {
                return Err(Error::corrupt(format!("it has the checksum {:#010x}; it should be {expected:#010x}", header.h_checksum)));
            }
        }
        let mut set = Vec::new();
        for raw in entries(&bytes, XATTR_BLOCK_HEADER_BYTES)? {
            set.extend(self.attribute(context, &bytes, &raw, offset, new_values)?);
        }
        Ok((set, header))
    }

    /// An entry as an attribute; `None` if Linux shows it to nobody.
    fn attribute(&mut self, context: &mut Context<'_>, area: &[u8], raw: &Raw<'_>, offset: u64, new_values: &mut Vec<u32>) -> Result<Option<Xattr>> {
        let value = match &raw.value {
            Some(range) => {
                let value = area[range.clone()].to_vec();
                self.check_hash(raw, &value, offset);
                value
            }
            None => self.value(context, raw, offset, new_values)?.to_vec(),
        };
        let XattrEntry { e_name_index: index, .. } = raw.entry;
        let Some(name) = whole_name(index, raw.name) else {
            self.hidden += 1;
            return Ok(None);
        };
        if matches!(index, name_index::POSIX_ACL_ACCESS | name_index::POSIX_ACL_DEFAULT) {
            let acl = acl_from_disk(&value).ok_or_else(|| Error::corrupt(format!("the extended attribute {} is no POSIX ACL", escape(&name))))?;
            return Ok(Some(Xattr::new(name, acl)));
        }
        Ok(Some(Xattr::new(name, value)))
    }

    /// Hashes of entries in inodes may be left out; old kernels took names as signed bytes.
    fn check_hash(&mut self, raw: &Raw<'_>, value: &[u8], offset: u64) {
        let found = raw.entry.e_hash;
        let expected = entry_hash(raw.name, value);
        if found != 0 && found != expected && found != signed_hash(raw.name, value) {
            let message = format!("the extended attribute {} has the hash {found:#010x}; it should be {expected:#010x}", escape(raw.name));
            self.odd.push(Error::corrupt(message).at_offset(offset));
        }
    }

    /// The value that has an inode of its own.
    fn value(&mut self, context: &mut Context<'_>, raw: &Raw<'_>, offset: u64, new_values: &mut Vec<u32>) -> Result<Arc<[u8]>> {
        let XattrEntry { e_value_inum: ino, e_value_size, e_hash, .. } = raw.entry;
        let value = match self.values.entry(ino) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let value = read_value(context, ino).map_err(|error| error.within(format_args!("the value of {}", escape(raw.name))))?;
                new_values.push(ino);
                new.insert(value)
            }
        };
        value.references += 1;
        self.charged += value.charged;
        if value.bytes.len() != index_of(e_value_size) {
            return Err(Error::corrupt(format!(
                "the value of {} has {} bytes in inode {ino}; it should have {e_value_size}",
                escape(raw.name),
                value.bytes.len()
            )));
        }
        let expected = entry_hash(raw.name, &value.hash.to_le_bytes());
        if e_hash != 0 && e_hash != expected {
            let message = format!("the extended attribute {} has the hash {e_hash:#010x}; it should be {expected:#010x}", escape(raw.name));
            self.odd.push(Error::corrupt(message).at_offset(offset));
        }
        Ok(Arc::clone(&value.bytes))
    }

    /// Bytes that an inode is charged for attributes outside of it, all of which were read before.
    ///
    /// # Errors
    /// Lists that cannot be read.
    pub(super) fn charge(&self, volume: &Volume, record: &Record) -> Result<u64> {
        let mut charged = 0;
        if let Some((region, _)) = record.region()
            && region.get(..MAGIC_BYTES) == Some(&XATTR_MAGIC.to_le_bytes())
        {
            let values = entries(&region[MAGIC_BYTES..], 0)?.into_iter().filter_map(|raw| self.values.get(&raw.entry.e_value_inum).map(|value| value.charged));
            charged = values.sum();
        }
        if let Some(Ok(block)) = self.blocks.get(&record.xattr_block(volume)) {
            charged += block.values + volume.block_bytes * volume.cluster_blocks;
        }
        Ok(charged)
    }

    /// For the check: what is wrong with the numbers of users of values.
    pub(super) fn wrong_references(&self) -> Vec<Error> {
        let mut values: Vec<&Value> = self.values.values().collect();
        values.sort_unstable_by_key(|value| value.record.ino);
        let says = |value: &Value| u64::from(value.record.inode.i_ctime) << 32 | u64::from(value.record.inode.l_i_version);
        let wrong = values.into_iter().filter(|value| says(value) != value.references);
        wrong
            .map(|value| {
                let message = format!("inode {} of an extended attribute's value says {} users; it has {}", value.record.ino, says(value), value.references);
                Error::corrupt(message).at_offset(value.record.offset)
            })
            .collect()
    }

    /// For the check: blocks whose number of users is not what they say, with their places.
    pub(super) fn wrong_counts(&self) -> Vec<(u64, u32, u32)> {
        let mut wrong: Vec<(u64, u32, u32)> = self
            .blocks
            .iter()
            .filter_map(|(number, block)| block.as_ref().ok().map(|block| (*number, block.header.h_refcount, block.users)))
            .filter(|(_, says, users)| says != users)
            .collect();
        wrong.sort_unstable();
        wrong
    }
}

/// The hash as old kernels made it on machines whose `char` is signed.
fn signed_hash(name: &[u8], value: &[u8]) -> u32 {
    let of_name = name.iter().fold(0_u32, |hash, byte| {
        let signed = i32::from(i8::from_le_bytes([*byte]));
        hash.rotate_left(5) ^ u32::from_le_bytes(signed.to_le_bytes())
    });
    value.chunks(4).fold(of_name, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

fn read_value(context: &mut Context<'_>, ino: u32) -> Result<Value> {
    let volume = context.volume;
    let record = inode::read(volume, context.groups, context.cache, ino)?;
    record.check(volume)?;
    let size = record.size(volume);
    if !record.has_flag(EA_INODE_FL) || size > u64_of(XATTR_VALUE_MAX_BYTES) || record.inode.i_links_count == 0 {
        return Err(Error::corrupt(format!("inode {ino} with {size} bytes holds no value of an extended attribute")).at_offset(record.offset));
    }
    let map = map::read(volume, context.cache, context.met, &record)?;
    let mut bytes = Vec::with_capacity(usize_of(size));
    for logical in 0..size.div_ceil(volume.block_bytes) {
        let len = usize_of((size - logical * volume.block_bytes).min(volume.block_bytes));
        let block = map.block(logical).ok_or_else(|| Error::corrupt(format!("inode {ino} has no block {logical}")).at_offset(record.offset))?;
        bytes.extend_from_slice(context.cache.bytes(volume.offset(block), len)?);
    }
    let hash = volume.value_hashes.over(&[&bytes]);
    // The hash stands in place of the time of access; each inode is charged whole clusters.
    if record.inode.i_atime != hash {
        let message = format!("the value in inode {ino} has the hash {hash:#010x}; it should be {:#010x}", record.inode.i_atime);
        return Err(Error::corrupt(message).at_offset(record.offset));
    }
    let charged = size.div_ceil(volume.block_bytes * volume.cluster_blocks) * volume.block_bytes * volume.cluster_blocks;
    Ok(Value { bytes: bytes.into(), hash, map, charged, references: 0, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acls_come_back_in_the_form_of_the_system_calls() {
        let disk = [&[1, 0, 0, 0][..], &[1, 0, 7, 0], &[2, 0, 5, 0, 0xe8, 3, 0, 0], &[4, 0, 5, 0], &[16, 0, 7, 0], &[32, 0, 4, 0]].concat();
        let call = [
            &[2, 0, 0, 0][..],
            &[1, 0, 7, 0, 255, 255, 255, 255],
            &[2, 0, 5, 0, 0xe8, 3, 0, 0],
            &[4, 0, 5, 0, 255, 255, 255, 255],
            &[16, 0, 7, 0, 255, 255, 255, 255],
            &[32, 0, 4, 0, 255, 255, 255, 255],
        ]
        .concat();
        assert_eq!(acl_from_disk(&disk), Some(call));
        for wrong in [&disk[..3], &disk[..4], &disk[..7], &disk[..12], &[1, 0, 0, 0, 3, 0, 7, 0]] {
            assert_eq!(acl_from_disk(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn lists_of_entries_never_lead_outside() {
        let entry = XattrEntry { e_name_len: 1, e_name_index: 1, e_value_offs: 60, e_value_size: 4, ..XattrEntry::default() };
        let with = |entry: &XattrEntry| {
            let mut area = vec![0; 64];
            area[..16].copy_from_slice(&entry.encode());
            area[16] = b'x';
            area
        };
        assert_eq!(entries(&with(&entry), 0).unwrap()[0].value, Some(60..64));
        for (offs, size) in [(61, 4), (0, 4), (20, 4), (60, 65_537), (60_000, 1)] {
            assert!(entries(&with(&XattrEntry { e_value_offs: offs, e_value_size: size, ..entry.clone() }), 0).is_err(), "{offs} {size}");
        }
        assert!(entries(&with(&XattrEntry { e_name_len: 255, ..entry.clone() }), 0).is_err());
        assert!(entries(&with(&entry)[..20], 0).is_err());
        assert_eq!(whole_name(1, b"a"), Some(b"user.a".to_vec()));
        assert_eq!((whole_name(1, b""), whole_name(9, b"c"), whole_name(2, b"x")), (None, None, None));
    }
}
