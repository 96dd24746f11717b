//! Extended attributes, interned: most nodes have none, and most of the rest share a few sets.

use super::{NodeId, Tree};
use crate::error::{Error, Result};
use crate::units::index_of;
use std::collections::HashMap;
use std::sync::Arc;

/// The longest name of an attribute with its prefix: Linux's XATTR_NAME_MAX.
pub const XATTR_NAME_MAX_BYTES: usize = 255;
/// The longest value: Linux's XATTR_SIZE_MAX.
pub const XATTR_VALUE_MAX_BYTES: usize = 65_536;

/// One extended attribute, as the system calls have it: the whole name (`security.capability`), the raw value
/// (POSIX ACLs in the form of `system.posix_acl_access`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// Name with its prefix.
    pub name: Box<[u8]>,
    /// Value.
    pub value: Box<[u8]>,
}

impl Xattr {
    /// An attribute from anything that is bytes.
    pub fn new(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.as_ref().into(), value: value.as_ref().into() }
    }
}

/// The attributes of a node, sorted by name.
pub type XattrSet = Vec<Xattr>;

/// The number of an interned set; the default is the empty set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct XattrSetId(u32);

impl XattrSetId {
    /// No attributes.
    pub const NONE: Self = Self(0);
}

/// All sets of a tree; number 0 is the empty set.
#[derive(Debug, Default)]
pub(super) struct XattrSets {
    sets: Vec<Arc<[Xattr]>>,
}

impl XattrSets {
    pub(super) fn get(&self, id: XattrSetId) -> &[Xattr] {
        if id == XattrSetId::NONE { &[] } else { &self.sets[index_of(id.0) - 1] }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.sets.len()
    }
}

impl XattrSets {
    /// Numbers the sets in the order in which `used` names them, and drops those that it does not: planners go by
    /// these numbers, which must not tell in which order a source was read.
    pub(super) fn renumber<'a>(&mut self, used: impl Iterator<Item = &'a mut XattrSetId>) {
        let mut old = std::mem::take(&mut self.sets);
        let mut new_number = vec![XattrSetId::NONE; old.len()];
        for id in used.filter(|id| **id != XattrSetId::NONE) {
            let at = index_of(id.0) - 1;
            if new_number[at] == XattrSetId::NONE {
                self.sets.push(std::mem::take(&mut old[at]));
                // As many as there were before, which fitted.
                new_number[at] = XattrSetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
            }
            *id = new_number[at];
        }
    }
}

/// Gives equal sets one number.
#[derive(Debug, Default)]
pub(super) struct Interner {
    pub(super) sets: XattrSets,
    /// Only looked up in, never walked: its order shows nowhere.
    numbers: HashMap<Arc<[Xattr]>, XattrSetId>,
}

impl Interner {
    pub(super) fn from_sets(sets: XattrSets) -> Self {
        let numbers = sets.sets.iter().cloned().zip((1..).map(XattrSetId)).collect();
        Self { sets, numbers }
    }

    pub(super) fn intern(&mut self, mut set: XattrSet) -> Result<XattrSetId> {
        if set.is_empty() {
            return Ok(XattrSetId::NONE);
        }
        set.sort_unstable();
        for xattr in &set {
            if xattr.name.is_empty() || xattr.name.len() > XATTR_NAME_MAX_BYTES || xattr.name.contains(&0) {
                return Err(Error::corrupt(format!(
                    "an xattr's name has {} bytes; 1 to {XATTR_NAME_MAX_BYTES}, none of them NUL, are possible",
                    xattr.name.len()
                )));
            }
            if xattr.value.len() > XATTR_VALUE_MAX_BYTES {
                return Err(Error::limit(format!(
                    "the xattr {} has {} bytes; Linux holds at most {XATTR_VALUE_MAX_BYTES}",
                    crate::error::escape(&xattr.name),
                    xattr.value.len()
                )));
            }
        }
        if let Some(pair) = set.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Error::corrupt(format!("the xattr {} is given twice", crate::error::escape(&pair[0].name))));
        }
        let set: Arc<[Xattr]> = set.into();
        if let Some(id) = self.numbers.get(&set) {
            return Ok(*id);
        }
        self.sets.sets.push(Arc::clone(&set));
        let id = XattrSetId(u32::try_from(self.sets.sets.len()).map_err(|_| Error::limit("over 2^32 different sets of xattrs"))?);
        self.numbers.insert(set, id);
        Ok(id)
    }
}

impl Tree {
    /// Gives nodes the extended attribute `name` with the value that `value_of` has for them, in place of one that is there. Nodes
    /// that it has none for keep what they have; names, numbers and all other metadata stay.
    ///
    /// # Errors
    /// As [`super::TreeBuilder::intern_xattrs`].
    pub fn set_xattr<'a>(&mut self, name: &[u8], value_of: impl Fn(NodeId) -> Option<&'a [u8]>) -> Result<()> {
        let mut interner = Interner::from_sets(std::mem::take(&mut self.xattrs));
        // Many nodes share a set and a value; only looked up in, never walked.
        let mut made: HashMap<(XattrSetId, &'a [u8]), XattrSetId> = HashMap::new();
        let mut set_all = || {
            for (id, node) in (0..).map(NodeId).zip(&mut self.nodes) {
                let Some(value) = value_of(id) else { continue };
                let old = node.metadata.xattrs;
                node.metadata.xattrs = match made.get(&(old, value)) {
                    Some(new) => *new,
                    None => {
                        let others = interner.sets.get(old).iter().filter(|xattr| *xattr.name != *name).cloned();
                        let new = interner.intern(others.chain([Xattr::new(name, value)]).collect())?;
                        made.insert((old, value), new);
                        new
                    }
                };
            }
            Ok(())
        };
        let done = set_all();
        self.xattrs = interner.sets;
        self.xattrs.renumber(self.nodes.iter_mut().map(|node| &mut node.metadata.xattrs));
        done
    }
}
