//! Values of xattrs that have inodes of their own (feature ea_inode).
//!
//! ```text
//! entry: | name | e_value_inum ──┼──► inode: EA_INODE_FL | size | hash of the value | entries that refer to it ──► blocks: the value
//!        | e_value_size | e_hash |
//! ```
//!
//! Equal values share one inode. An entry in a block that several inodes share refers to its value once, as one in an inode does.
//! Every inode whose attributes refer to a value counts the value's blocks among its own, as the kernel does for quotas.
//!
//! Specification: Linux kernel documentation, "ext4 Data Structures and Algorithms", section 4.5 "Extended Attributes"; for the
//! fields of the inode, Linux, `fs/ext4/xattr.c`.

use super::format::Csum;
use crate::error::{Error, Result};
use crate::tree::XattrSetId;
use crate::units::{index_of, u64_of};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value with an inode of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    /// A set that has it, and its place among the set's attributes in their form on disk.
    set: XattrSetId,
    position: u32,
    pub(super) len: u64,
    /// CRC-32C of the value, from where metadata checksums start, whether there are such or not.
    pub(super) hash: u32,
    /// Entries that refer to it.
    pub(super) references: u32,
}

impl Value {
    pub(super) fn blocks(&self, block_bytes: u64) -> u64 {
        self.len.div_ceil(block_bytes)
    }

    /// The set whose attribute at the returned position has this value.
    pub(super) fn place(&self) -> (XattrSetId, usize) {
        (self.set, index_of(self.position))
    }
}

/// All values that have inodes of their own, numbered in the order in which the tree's sets have them.
#[derive(Debug, Default)]
pub(super) struct Values {
    list: Vec<Value>,
    /// Ascending by set and position.
    references: Vec<Reference>,
}

/// An attribute whose value has an inode of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    set: XattrSetId,
    /// The attribute's place among the set's in their form on disk.
    pub(super) position: u32,
    pub(super) value: u32,
    /// The entry lies in the block of the set if it fits there.
    pub(super) outside: bool,
}

impl Values {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.list.iter()
    }

    pub(super) fn get(&self, number: u32) -> &Value {
        &self.list[index_of(number)]
    }

    /// The attributes of a set whose values have inodes of their own.
    pub(super) fn of_set(&self, set: XattrSetId) -> impl Iterator<Item = &Reference> {
        let first = self.references.partition_point(|reference| reference.set < set);
        self.references[first..].iter().take_while(move |reference| reference.set == set)
    }

    /// The blocks of all values of a set; one that the set has twice counts twice.
    pub(super) fn blocks_of(&self, set: XattrSetId, block_bytes: u64) -> u64 {
        self.of_set(set).map(|reference| self.get(reference.value).blocks(block_bytes)).sum()
    }
}

/// Gives equal values one number.
pub(super) struct Collector<'a> {
    values: Values,
    /// By hash first, so that values are seldom compared.
    numbers: BTreeMap<(u32, Cow<'a, [u8]>), u32>,
    hashes: Csum,
}

impl<'a> Collector<'a> {
    /// `hashes` is how values are hashed.
    pub(super) fn new(hashes: Csum) -> Self {
        Self { values: Values::default(), numbers: BTreeMap::new(), hashes }
    }

    /// Adds the value at a position of a set, to which so many entries refer. Sets and positions come in ascending order.
    pub(super) fn add(&mut self, (set, position, outside): (XattrSetId, usize, bool), value: Cow<'a, [u8]>, references: usize) -> Result<()> {
        let too_many = || Error::limit("over 2^32 large values of xattrs, or references to one of them");
        let (position, references) = (u32::try_from(position).map_err(|_| too_many())?, u32::try_from(references).map_err(|_| too_many())?);
        let (hash, len) = (self.hashes.over(&[&value]), u64_of(value.len()));
        let next = u32::try_from(self.values.list.len()).map_err(|_| too_many())?;
        let number = *self.numbers.entry((hash, value)).or_insert(next);
        if number == next {
            self.values.list.push(Value { set, position, len, hash, references });
        } else {
            let known = &mut self.values.list[index_of(number)];
            known.references = known.references.checked_add(references).ok_or_else(too_many)?;
        }
        self.values.references.push(Reference { set, position, value: number, outside });
        Ok(())
    }

    pub(super) fn finish(self) -> Values {
        debug_assert!(self.values.references.is_sorted_by_key(|reference| (reference.set, reference.position)));
        self.values
    }
}
