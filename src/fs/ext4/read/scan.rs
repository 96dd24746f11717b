//! The walk from the root: every directory is read once, every inode that a name leads to as well, and what they have is claimed.

use super::super::format::{INLINE_DATA_FL, ROOT_INO, incompat, mode};
use super::cache::Cache;
use super::claims::{About, BlockSet, Claims, Owner};
use super::contents::Collector;
use super::directory::{Found, Listing};
use super::findings::{Findings, Spot};
use super::groups::Group;
use super::inode::{self, I_BLOCK_AT, Record};
use super::map::{self, Map};
use super::volume::Volume;
use super::xattrs::{Attributes, Context, Xattrs};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::fs::existing::ReadOptions;
use crate::tree::{Metadata, NewNode, NodeId, TreeBuilder, XattrSetId, attribute};
use crate::units::{index_of, u64_of, usize_of};
use std::collections::HashMap;

/// The number of what is not in the tree, in lists that run along with it.
const NOBODY: u32 = 0;

/// What is known of an inode that a name led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Node(NodeId),
    /// Below an encrypted directory, or an encrypted link: its blocks are known, and it is not in the tree.
    Hidden,
    /// Damaged.
    Bad,
}

/// What the check wants to know of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeFacts {
    pub(super) ino: u32,
    pub(super) links: u16,
}

/// A directory whose entries are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Its node, or that of the encrypted directory above it.
    pub(super) node: NodeId,
    pub(super) ino: u32,
    pub(super) parent: u32,
    pub(super) hidden: bool,
}

/// The walk, and all that it finds.
pub(super) struct Scan<'a> {
    pub(super) volume: &'a Volume,
    pub(super) groups: &'a [Group],
    pub(super) cache: Cache,
    pub(super) options: &'a ReadOptions,
    pub(super) builder: TreeBuilder,
    /// By the builder's number of the node.
    pub(super) nodes: Vec<NodeFacts>,
    pub(super) met: HashMap<u32, Met>,
    pub(super) contents: Collector,
    pub(super) claims: Claims,
    /// Nodes of trees and maps, and blocks of directories.
    pub(super) blocks: BlockSet,
    pub(super) xattrs: Xattrs,
    pub(super) damage: Findings,
    pub(super) findings: Findings,
    pub(super) unreadable: Findings,
    /// Whether something could not be looked into, so that inodes may seem to have no names.
    pub(super) is_whole: bool,
    /// What was said of inodes, before it is known which are being cut off.
    pub(super) late: Vec<(u32, Spot, Error)>,
    entries: u64,
    xattr_bytes: u64,
    last_set: XattrSetId,
    pending: Vec<Pending>,
}

/// Errors that concern one thing and leave the rest alone.
fn is_local(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Cancelled | ErrorKind::Internal)
}

impl<'a> Scan<'a> {
    pub(super) fn new(volume: &'a Volume, groups: &'a [Group], options: &'a ReadOptions, cache: Cache, claims: Claims, damage: Findings) -> Self {
        Self {
            volume,
            groups,
            cache,
            options,
            builder: TreeBuilder::new(),
            nodes: Vec::new(),
            met: HashMap::new(),
            contents: Collector::default(),
            claims,
            blocks: BlockSet::default(),
            xattrs: Xattrs::default(),
            damage,
            findings: Findings::new(options.findings),
            unreadable: Findings::new(options.findings),
            is_whole: true,
            late: Vec::new(),
            entries: 0,
            xattr_bytes: 0,
            last_set: XattrSetId::NONE,
            pending: Vec::new(),
        }
    }

    /// Reads everything that names lead to.
    ///
    /// # Errors
    /// A root that cannot be read; limits.
    pub(super) fn run(&mut self) -> Result<()> {
        let root = self.read(ROOT_INO).map_err(|error| error.at_path("/"))?;
        if !root.is_directory() || root.inode.i_links_count == 0 {
            return Err(Error::corrupt(format!("the root is no directory: mode {:o}", root.inode.i_mode)).at_path("/").at_offset(root.offset));
        }
        let (metadata, attributes) = self.described(&Spot::node(NodeId::ROOT), &root)?;
        self.builder.set_metadata(NodeId::ROOT, metadata)?;
        self.nodes.push(NodeFacts { ino: ROOT_INO, links: root.inode.i_links_count });
        self.met.insert(ROOT_INO, Met::Node(NodeId::ROOT));
        self.claim_attributes(NodeId::ROOT, &attributes);
        self.pending.push(Pending { node: NodeId::ROOT, ino: ROOT_INO, parent: ROOT_INO, hidden: false });
        let mut listing = Listing::default();
        while let Some(directory) = self.pending.pop() {
            self.directory(directory, &mut listing)?;
        }
        Ok(())
    }

    /// A record with its checksum checked.
    pub(super) fn read(&mut self, ino: u32) -> Result<Record> {
        let record = inode::read(self.volume, self.groups, &mut self.cache, ino)?;
        record.check(self.volume)?;
        Ok(record)
    }

    pub(super) fn map(&mut self, record: &Record) -> Result<Map> {
        map::read(self.volume, &mut self.cache, &mut self.blocks, record)
    }

    fn damaged(&mut self, spot: Spot, error: Error) -> Result<()> {
        if !is_local(&error) {
            return Err(error);
        }
        self.damage.push_at(Some(spot), error);
        Ok(())
    }

    /// Says that something is odd, where that is asked for.
    pub(super) fn odd(&mut self, spot: Spot, error: Error) {
        if self.options.check {
            self.findings.push_at(Some(spot), error);
        }
    }

    fn directory(&mut self, directory: Pending, listing: &mut Listing) -> Result<()> {
        listing.clear();
        let spot = Spot::node(directory.node);
        let listed = self.list(&directory, listing);
        for error in std::mem::take(&mut listing.wrong) {
            self.is_whole = false;
            self.damaged(spot.clone(), error)?;
        }
        if let Err(error) = listed {
            self.is_whole = false;
            self.damaged(spot, error)?;
        }
        // Inodes in their order, for they lie in it.
        listing.found.sort_by_key(|found| found.ino);
        let first = self.pending.len();
        let found = std::mem::take(&mut listing.found);
        for one in &found {
            self.entries += 1;
            if self.entries > self.options.entries {
                return Err(Error::limit(format!("over {} names in one filesystem", self.options.entries)));
            }
            self.entry(&directory, listing.name(one), one)?;
        }
        listing.found = found;
        // The first directory is the next one.
        self.pending[first..].reverse();
        Ok(())
    }

    fn entry(&mut self, directory: &Pending, name: &[u8], found: &Found) -> Result<()> {
        let ino = found.ino;
        let spot = if directory.hidden { Spot::node(directory.node) } else { Spot::name(directory.node, name) };
        let at = |error: Error| error;
        if ino < self.volume.first_ino && ino != ROOT_INO {
            return self.damaged(spot, at(Error::corrupt(format!("the name leads to inode {ino}, which is reserved"))));
        }
        if !directory.hidden && self.builder.has(directory.node, name) {
            self.damaged(spot, Error::corrupt("the directory has this name twice"))?;
            if !self.met.contains_key(&ino) {
                self.hide_second(directory, ino);
            }
            return Ok(());
        }
        match self.met.get(&ino) {
            Some(Met::Bad) => self.damaged(spot, Error::corrupt(format!("the name leads to inode {ino}, which is damaged"))),
            Some(Met::Hidden) => Ok(()),
            Some(Met::Node(_)) if directory.hidden => Ok(()),
            Some(Met::Node(node)) => {
                let node = *node;
                if self.builder.is_directory(node) {
                    return self.damaged(spot, Error::corrupt(format!("the name leads to directory inode {ino}, which has a name elsewhere")));
                }
                self.builder.link_in(directory.node, name, node)?;
                Ok(())
            }
            None => {
                let met = match self.node(directory, name, found) {
                    Ok(met) => met,
                    Err(error) => {
                        self.damaged(spot, error)?;
                        self.is_whole = false;
                        Met::Bad
                    }
                };
                self.met.insert(ino, met);
                Ok(())
            }
        }
    }

    /// Reads an inode that is met for the first time, and puts it into the tree.
    fn node(&mut self, directory: &Pending, name: &[u8], found: &Found) -> Result<Met> {
        let record = self.read(found.ino)?;
        if record.inode.i_links_count == 0 || record.inode.i_mode == 0 {
            let (ino, links) = (record.ino, record.inode.i_links_count);
            return Err(Error::corrupt(format!("the name leads to inode {ino}, which is not in use: mode {:o}, {links} links", record.inode.i_mode))
                .at_offset(record.offset));
        }
        if record.has_flag(INLINE_DATA_FL) && !record.is_inline(self.volume) {
            let message = format!("inode {} has inline data, for which the filesystem has no feature", record.ino);
            return Err(Error::corrupt(message).at_offset(record.offset));
        }
        let encrypted = record.is_encrypted(self.volume);
        if directory.hidden || (encrypted && record.kind() == mode::SYMLINK) {
            return self.hide(directory, name, &record);
        }
        let spot = Spot::name(directory.node, name);
        let map = if record.has_map(self.volume) && !record.is_directory() { self.map(&record)? } else { Map::default() };
        let (metadata, attributes) = self.described(&spot, &record)?;
        let node = self.add(directory, name, &record, &map, metadata, &attributes)?;
        self.nodes.push(NodeFacts { ino: record.ino, links: record.inode.i_links_count });
        debug_assert_eq!(self.nodes.len(), node.index() + 1);
        if metadata.attributes & attribute::ENCRYPTED != 0 && encrypted {
            let what = if record.is_directory() { "the directory's entries are" } else { "the file is" };
            self.unreadable.push_at(Some(Spot::node(node)), Error::unsupported(format!("{what} encrypted (fscrypt), and there is no key")));
        }
        for error in &map.odd {
            self.odd(Spot::node(node), Error::corrupt(error.to_string()));
        }
        self.judge_type(node, &record, found);
        if self.options.check && (!record.is_directory() || record.is_inline(self.volume)) {
            let charged = self.xattrs.charged;
            self.check_record(Spot::node(node), &record, &map, charged);
        }
        self.claim_map(node, false, &map);
        self.claim_attributes(node, &attributes);
        if record.is_directory() {
            self.pending.push(Pending { node, ino: record.ino, parent: directory.ino, hidden: encrypted });
        }
        Ok(Met::Node(node))
    }

    /// What the second of two equal names leads to is not in the tree; its blocks are its own all the same.
    fn hide_second(&mut self, directory: &Pending, ino: u32) {
        self.is_whole = false;
        let hidden = Pending { hidden: true, ..*directory };
        // If it is damaged as well, that is not news.
        let met = self.read(ino).and_then(|record| self.hide(&hidden, b"", &record)).unwrap_or(Met::Bad);
        self.met.insert(ino, met);
    }

    /// What is below an encrypted directory stays out of the tree, and its blocks are known all the same.
    fn hide(&mut self, directory: &Pending, name: &[u8], record: &Record) -> Result<Met> {
        if !directory.hidden {
            let error = Error::unsupported("the target of the symbolic link is encrypted (fscrypt), and there is no key; it is not in the tree");
            self.unreadable.push_at(Some(Spot::name(directory.node, name)), error);
        }
        let attributes = self.attributes(record)?;
        self.claim_attributes(directory.node, &attributes);
        if record.is_directory() {
            self.pending.push(Pending { node: directory.node, ino: record.ino, parent: directory.ino, hidden: true });
        } else if record.has_map(self.volume) {
            let map = self.map(record)?;
            self.claim_map(directory.node, true, &map);
        }
        Ok(Met::Hidden)
    }

    /// Adds the node of an inode to the tree.
    fn add(&mut self, directory: &Pending, name: &[u8], record: &Record, map: &Map, metadata: Metadata, attributes: &Attributes) -> Result<NodeId> {
        let target;
        let ranges: Vec<(u64, u64)>;
        let new = match record.kind() {
            mode::DIRECTORY => NewNode::Directory,
            mode::FILE => {
                let length = record.size(self.volume);
                let encrypted = record.is_encrypted(self.volume);
                let content = self.contents.file(length, encrypted)?;
                if record.is_inline(self.volume) {
                    self.inline_file(record, attributes, length)?;
                    NewNode::File { content, length, data: None }
                } else {
                    self.contents.runs(&map.runs, self.volume.block_bytes);
                    ranges = data_ranges(map, length, self.volume.block_bytes);
                    NewNode::File { content, length, data: Some(&ranges) }
                }
            }
            mode::SYMLINK => {
                target = self.target(record, map, attributes)?;
                NewNode::Symlink(&target)
            }
            mode::CHAR => NewNode::CharDevice(record.device()),
            mode::BLOCK => NewNode::BlockDevice(record.device()),
            mode::FIFO => NewNode::Fifo,
            mode::SOCKET => NewNode::Socket,
            _ => return Err(Error::corrupt(format!("inode {} has the mode {:o}, which is no type", record.ino, record.inode.i_mode)).at_offset(record.offset)),
        };
        let added = self.builder.add_in(directory.node, name, metadata, new).map_err(|error| error.at_offset(record.offset))?;
        added.ok_or_else(|| Error::corrupt("the directory has this name twice"))
    }

    /// The parts of a file that lies in its inode.
    fn inline_file(&mut self, record: &Record, attributes: &Attributes, length: u64) -> Result<()> {
        let first = u64_of(record.short(length).len());
        self.contents.part(0, record.offset + I_BLOCK_AT, first);
        let value = attributes.inline.clone().unwrap_or(0..0);
        if length - first > u64_of(value.len()) {
            let message = format!("inode {} has {length} bytes of inline data, of which {} are there", record.ino, first + u64_of(value.len()));
            return Err(Error::corrupt(message).at_offset(record.offset));
        }
        self.contents.part(first, record.offset + u64_of(value.start), length - first);
        Ok(())
    }

    fn target(&mut self, record: &Record, map: &Map, attributes: &Attributes) -> Result<Vec<u8>> {
        let len = record.size(self.volume);
        let wrong = |what: &str| Error::corrupt(format!("symbolic link inode {}: {what}", record.ino)).at_offset(record.offset);
        let target = if record.is_fast_symlink(self.volume) {
            record.short(len).to_vec()
        } else if record.is_inline(self.volume) {
            let mut target = record.short(len).to_vec();
            let rest = usize_of(len) - target.len();
            let value = attributes.inline.clone().unwrap_or(0..0);
            if rest > value.len() {
                return Err(wrong("its target is cut off"));
            }
            target.extend_from_slice(&record.bytes[value.start..value.start + rest]);
            target
        } else {
            if len >= self.volume.block_bytes {
                return Err(wrong(&format!("a target of {len} bytes, which no block holds")));
            }
            let block = map.block(0).ok_or_else(|| wrong("its target has no block"))?;
            self.cache.bytes(self.volume.offset(block), usize_of(len))?.to_vec()
        };
        if target.is_empty() || target.contains(&0) {
            return Err(wrong(&format!("its target \"{}\" is empty or has NUL bytes", escape(&target))));
        }
        Ok(target)
    }

    pub(super) fn attributes(&mut self, record: &Record) -> Result<Attributes> {
        let mut context = Context { volume: self.volume, groups: self.groups, cache: &mut self.cache, met: &mut self.blocks };
        self.xattrs.of(&mut context, record)
    }

    /// Metadata with attributes. Attributes that cannot be read are damage, and left out.
    fn described(&mut self, spot: &Spot, record: &Record) -> Result<(Metadata, Attributes)> {
        let mut metadata = record.metadata(self.volume)?;
        let mut attributes = match self.attributes(record) {
            Ok(attributes) => attributes,
            // Nothing but what lies there says where inline data is.
            Err(error) if record.is_inline(self.volume) => return Err(error),
            Err(error) => {
                self.damaged(spot.clone(), error)?;
                Attributes::default()
            }
        };
        let set = std::mem::take(&mut attributes.set);
        if !set.is_empty() {
            let bytes: u64 = set.iter().map(|xattr| u64_of(xattr.name.len() + xattr.value.len())).sum();
            match self.builder.intern_xattrs(set) {
                Ok(id) => {
                    // Numbers ascend, so a higher one than ever is a new set.
                    if id > self.last_set {
                        self.last_set = id;
                        self.xattr_bytes += bytes;
                    }
                    metadata.xattrs = id;
                }
                Err(error) => self.damaged(spot.clone(), Error::corrupt(error.to_string()).at_offset(record.offset))?,
            }
            if self.xattr_bytes > self.options.xattr_bytes {
                return Err(Error::limit(format!("over {} bytes of extended attributes in one filesystem", self.options.xattr_bytes)));
            }
        }
        Ok((metadata, attributes))
    }

    fn judge_type(&mut self, node: NodeId, record: &Record, found: &Found) {
        if self.options.check && self.volume.has_incompat(incompat::FILETYPE) {
            let expected = file_type(record.kind());
            if found.file_type != expected {
                let message = format!("the directory says type {}; inode {} is of type {expected}", found.file_type, record.ino);
                self.findings.push_at(Some(Spot::node(node)), Error::corrupt(message));
            }
        }
    }

    pub(super) fn claim_map(&mut self, node: NodeId, hidden: bool, map: &Map) {
        for run in &map.runs {
            let logical = u32::try_from(run.logical).unwrap_or(u32::MAX);
            let owner = if hidden { Owner::About(node, About::Hidden) } else { Owner::Data(node, logical) };
            self.claims.add(run.start, run.blocks, owner);
        }
        for block in &map.nodes {
            self.claims.add(*block, 1, Owner::About(node, About::Map));
        }
    }

    fn claim_attributes(&mut self, node: NodeId, attributes: &Attributes) {
        let owner = Owner::About(node, About::Xattrs);
        if let Some(block) = attributes.new_block {
            self.claims.add(block, 1, owner);
        }
        for ino in &attributes.new_values {
            let Some(value) = self.xattrs.values.get(ino) else { continue };
            for run in &value.map.runs {
                self.claims.add(run.start, run.blocks, owner);
            }
            for block in &value.map.nodes {
                self.claims.add(*block, 1, owner);
            }
        }
    }
}

/// The type of an entry that names an inode with this type.
pub(super) fn file_type(kind: u16) -> u8 {
    use super::super::format::file_type as ft;
    match kind {
        mode::FILE => ft::FILE,
        mode::DIRECTORY => ft::DIRECTORY,
        mode::CHAR => ft::CHAR,
        mode::BLOCK => ft::BLOCK,
        mode::FIFO => ft::FIFO,
        mode::SOCKET => ft::SOCKET,
        mode::SYMLINK => ft::SYMLINK,
        _ => 0,
    }
}

/// The parts of a file that were written.
fn data_ranges(map: &Map, length: u64, block_bytes: u64) -> Vec<(u64, u64)> {
    let written = map.runs.iter().filter(|run| !run.unwritten);
    let bytes = written.map(|run| (run.logical * block_bytes, (run.logical_end() * block_bytes).min(length)));
    bytes.filter(|(start, end)| start < end).map(|(start, end)| (start, end - start)).collect()
}

/// The number of what is a node's in lists along the tree.
pub(super) fn along_tree(scan_inos: &[NodeFacts], numbers: &[NodeId], nodes: usize) -> Vec<u32> {
    let mut inodes = vec![NOBODY; nodes];
    for (facts, number) in scan_inos.iter().zip(numbers) {
        if let Some(slot) = inodes.get_mut(index_of(number.0)) {
            *slot = facts.ino;
        }
    }
    inodes
}
