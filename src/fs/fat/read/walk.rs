//! The directories from the root down, then the chains of all files: who owns which cluster.
//!
//! Every cluster is taken at most once, and a chain ends where it meets one that is taken: so the work is bounded by the clusters
//! and the entries, and loops of directories end. Whose a cluster is that two want is looked up afterwards. A directory keeps
//! what it was read from, since what it says has been followed; of two files neither can be relied on.

use super::super::format::{ATTR_DIRECTORY, DirectoryEntry, ENTRY_BYTES};
use super::contents::Extent;
use super::directory::{self, Item};
use super::table::{Claims, Link, Table};
use super::volume::Volume;
use crate::content::ReadAt;
use crate::error::{Error, Result, escape};
use crate::fs::existing::ReadOptions;
use crate::units::{index_of, u64_of, usize_of};
use std::ops::Range;

/// Entries in a directory (fatgen103, "FAT Directory Structure": a directory has at most 2 MiB).
const DIRECTORY_MAX_BYTES: u64 = 65_536 * 32;
/// The longest path that is read: Linux's PATH_MAX. It bounds how deep directories nest.
const PATH_MAX_BYTES: u32 = 4096;
/// Runs of clusters in all chains together, 48 MiB of them: a file in pieces of one cluster has as many runs as clusters.
const EXTENTS_MAX: usize = 4 << 20;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// The directory that it stands in.
    pub(super) parent: u32,
    name: (u32, u32),
    /// What it names, if that is a directory.
    pub(super) directory: Option<u32>,
    pub(super) attributes: u8,
    pub(super) date: u16,
    pub(super) time: u16,
    pub(super) size: u32,
    first_cluster: u32,
    /// Its runs of clusters.
    pub(super) extents: (u32, u32),
    /// It cannot be given.
    pub(super) is_damaged: bool,
}

/// A directory.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    /// The name that leads to it; none for the root.
    pub(super) record: Option<u32>,
    pub(super) records: Range<u32>,
    path_len: u32,
}

/// Whose a run of clusters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Root,
    Record(u32),
}

/// Errors up to a number; of more only how many.
#[derive(Debug, Default)]
pub(super) struct Log {
    kept: Vec<Error>,
    max: usize,
    more: u64,
}

impl Log {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    pub(super) fn add(&mut self, error: impl FnOnce() -> Error) {
        if self.is_full() { self.more += 1 } else { self.kept.push(error()) }
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.max
    }

    pub(super) fn finish(mut self) -> Vec<Error> {
        if self.more > 0 {
            self.kept.push(Error::corrupt(format!("{} more, of which none is said", self.more)));
        }
        self.kept
    }
}

/// Why a chain ends where it should not.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Somebody has the cluster; this one itself, or another.
    Taken(u32),
    /// The entry of the cluster (0 for the directory entry) leads to no cluster.
    Leads(u32, Link),
}

/// What was found, before it becomes a tree.
pub(super) struct Walk<'a> {
    disk: &'a dyn ReadAt,
    volume: &'a Volume,
    options: &'a ReadOptions,
    table: Table<'a>,
    claims: Claims,
    pub(super) names: Vec<u8>,
    pub(super) records: Vec<Record>,
    pub(super) directories: Vec<Directory>,
    pub(super) extents: Vec<Extent>,
    root_extents: (u32, u32),
    /// Clusters that were taken already, and who wanted them.
    conflicts: Vec<(u32, Owner)>,
    pub(super) label: Option<[u8; 11]>,
    pub(super) damage: Log,
    pub(super) findings: Log,
}

impl<'a> Walk<'a> {
    /// Reads all directories and follows all chains.
    pub(super) fn of(disk: &'a dyn ReadAt, volume: &'a Volume, options: &'a ReadOptions) -> Result<Self> {
        let mut walk = Self {
            disk,
            volume,
            options,
            table: Table::new(disk, volume),
            claims: Claims::new(volume),
            names: Vec::new(),
            records: Vec::new(),
            directories: vec![Directory { record: None, records: 0..0, path_len: 0 }],
            extents: Vec::new(),
            root_extents: (0, 0),
            conflicts: Vec::new(),
            label: None,
            damage: Log::new(options.findings),
            findings: Log::new(options.findings),
        };
        let mut next = 0;
        while index_of(next) < walk.directories.len() {
            walk.directory(next)?;
            next += 1;
        }
        for record in 0..walk.records.len() {
            if walk.records[record].directory.is_none() {
                walk.file(u32::try_from(record).expect("records are counted in 32 bits"))?;
            }
        }
        Ok(walk)
    }

    /// Whether somebody owns the cluster.
    pub(super) fn is_taken(&self, cluster: u32) -> bool {
        self.claims.has(cluster)
    }

    pub(super) fn name(&self, record: u32) -> &[u8] {
        let (start, end) = self.records[index_of(record)].name;
        &self.names[index_of(start)..index_of(end)]
    }

    /// The path of an entry, for messages.
    fn path(&self, owner: Owner) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = owner;
        while let Owner::Record(record) = at {
            parts.push(self.name(record));
            at = self.owner(self.records[index_of(record)].parent);
        }
        parts.reverse();
        parts.join(&b'/')
    }

    fn owner(&self, directory: u32) -> Owner {
        self.directories[index_of(directory)].record.map_or(Owner::Root, Owner::Record)
    }

    /// An error at an entry; the root has no path and is named.
    fn at(&self, owner: Owner, error: Error) -> Error {
        match owner {
            Owner::Root => error.within("the root directory"),
            Owner::Record(_) => error.at_path(self.path(owner)),
        }
    }

    /// Records what is wrong with an entry and that it cannot be given.
    fn damaged(&mut self, owner: Owner, error: Error) {
        if let Owner::Record(record) = owner {
            self.records[index_of(record)].is_damaged = true;
        }
        self.partly_damaged(owner, error);
    }

    fn partly_damaged(&mut self, owner: Owner, error: Error) {
        let error = if self.damage.is_full() { error } else { self.at(owner, error) };
        self.damage.add(|| error);
    }

    fn find(&mut self, owner: Owner, offset: Option<u64>, what: impl FnOnce() -> String) {
        if !self.options.check {
            return;
        }
        let mut error = Error::corrupt(String::new());
        if !self.findings.is_full() {
            error = self.at(owner, Error::corrupt(what()));
            error = if let Some(offset) = offset { error.at_offset(offset) } else { error };
        }
        self.findings.add(|| error);
    }

    /// Takes the clusters of a chain, to its end or to where it should not go on.
    fn follow(&mut self, first: u32) -> Result<((u32, u32), u32, Option<Fault>)> {
        let start = self.extents.len();
        let (mut count, mut from) = (0_u32, 0);
        let mut link = if self.volume.is_cluster(first) { Link::Next(first) } else { Link::Outside(first) };
        let fault = loop {
            let cluster = match link {
                Link::Next(cluster) => cluster,
                Link::End => break None,
                other => break Some(Fault::Leads(from, other)),
            };
            if !self.claims.take(cluster) {
                break Some(Fault::Taken(cluster));
            }
            match self.extents[start..].last_mut() {
                Some(last) if last.cluster + last.count == cluster => last.count += 1,
                _ => self.extents.push(Extent { at: count, cluster, count: 1 }),
            }
            if self.extents.len() > EXTENTS_MAX {
                return Err(Error::limit(format!("files and directories in over {EXTENTS_MAX} pieces; no more are read")));
            }
            count += 1;
            from = cluster;
            link = self.table.link(cluster)?;
        };
        let range = |at: usize| u32::try_from(at).expect("extents are limited");
        Ok(((range(start), range(self.extents.len())), count, fault))
    }

    /// What a chain's fault is called; `None` for a cluster of somebody else's, which is looked up later.
    fn fault(&mut self, owner: Owner, extents: (u32, u32), fault: Fault) -> Option<Error> {
        Some(match fault {
            Fault::Taken(cluster) => {
                let own = &self.extents[index_of(extents.0)..index_of(extents.1)];
                if !own.iter().any(|extent| (extent.cluster..extent.cluster + extent.count).contains(&cluster)) {
                    self.conflicts.push((cluster, owner));
                    return None;
                }
                Error::corrupt(format!("the chain of clusters comes back to its cluster {cluster}"))
            }
            Fault::Leads(0, Link::Outside(first)) => {
                Error::corrupt(format!("it begins in cluster {first}; clusters 2 to {} are there", self.volume.clusters + 1))
            }
            Fault::Leads(from, link) => {
                let why = match link {
                    Link::Free | Link::Next(_) | Link::End => format!("cluster {from} is free in the FAT"),
                    Link::Bad => format!("cluster {from} is marked as bad in the FAT"),
                    Link::Outside(to) => format!("cluster {from} is followed by {to:#x} in the FAT, which is no cluster"),
                };
                Error::corrupt(format!("the chain of clusters breaks off: {why}")).at_offset(self.volume.entry_offset(from))
            }
        })
    }

    /// Reads one directory: its entries become records, those that are directories are read later.
    fn directory(&mut self, number: u32) -> Result<()> {
        let owner = self.owner(number);
        let first = match owner {
            Owner::Root => self.volume.root_cluster(),
            Owner::Record(record) => Some(self.records[index_of(record)].first_cluster),
        };
        let (mut pieces, mut is_whole) = (Vec::new(), true);
        if let Some(first) = first {
            let (extents, count, fault) = self.follow(first)?;
            match owner {
                Owner::Root => self.root_extents = extents,
                Owner::Record(record) => self.records[index_of(record)].extents = extents,
            }
            if let Some(fault) = fault {
                is_whole = false;
                let error = self.fault(owner, extents, fault);
                match (error, count) {
                    (Some(error), 0) => self.damaged(owner, error),
                    (Some(error), _) => self.partly_damaged(owner, error),
                    (None, 0) => self.mark(owner),
                    (None, _) => {}
                }
            }
            let bytes = |extent: &Extent| {
                self.volume.cluster_offset(extent.cluster)..self.volume.cluster_offset(extent.cluster) + u64::from(extent.count) * self.volume.cluster_bytes
            };
            pieces.extend(self.extents[index_of(extents.0)..index_of(extents.1)].iter().map(bytes));
        } else {
            let range = self.volume.root_range();
            pieces.push(range.start..range.start + self.volume.root_entries * u64_of(ENTRY_BYTES));
        }
        let bytes = self.read_directory(owner, &pieces)?;
        let begin = u32::try_from(self.records.len()).expect("records are counted in 32 bits");
        self.entries(number, owner, &bytes, &pieces, is_whole)?;
        let end = u32::try_from(self.records.len()).expect("records are counted in 32 bits");
        self.directories[index_of(number)].records = begin..end;
        Ok(())
    }

    fn mark(&mut self, owner: Owner) {
        if let Owner::Record(record) = owner {
            self.records[index_of(record)].is_damaged = true;
        }
    }

    /// Says of an entry that another of its directory has its name; it and what is beneath it are not given.
    pub(super) fn second_of_its_name(&mut self, record: u32) {
        self.damaged(Owner::Record(record), Error::corrupt("a second entry of this name; the first is given"));
    }

    /// The bytes of a directory, as many as it may have.
    fn read_directory(&mut self, owner: Owner, pieces: &[Range<u64>]) -> Result<Vec<u8>> {
        let total: u64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
        let mut bytes = vec![0; usize_of(total.min(DIRECTORY_MAX_BYTES))];
        let mut at = 0;
        for piece in pieces {
            let len = usize_of(piece.end - piece.start).min(bytes.len() - at);
            self.disk.read_exact_at(piece.start, &mut bytes[at..at + len])?;
            at += len;
        }
        if total > DIRECTORY_MAX_BYTES && bytes.as_chunks::<ENTRY_BYTES>().0.iter().all(|entry| entry[0] != 0) {
            self.partly_damaged(owner, Error::corrupt("the directory has over 65,536 entries, which is its limit"));
        }
        Ok(bytes)
    }

    fn entries(&mut self, number: u32, owner: Owner, bytes: &[u8], pieces: &[Range<u64>], is_whole: bool) -> Result<()> {
        let offset = |slot: usize| {
            let mut left = u64_of(slot * ENTRY_BYTES);
            for piece in pieces {
                if left < piece.end - piece.start {
                    return piece.start + left;
                }
                left -= piece.end - piece.start;
            }
            left
        };
        let mut dots = [false; 2];
        let mut outcome = Ok(());
        directory::parse(bytes, &mut |slot, item| {
            if outcome.is_err() {
                return;
            }
            match item {
                Item::Named { name, entry } => outcome = self.named(number, offset(slot), name, &entry),
                Item::Dot(entry) if slot == 0 && owner != Owner::Root => {
                    dots[0] = true;
                    self.dot(owner, ".", first_cluster(&entry, self.volume), &entry, offset(slot));
                }
                Item::DotDot(entry) if slot == 1 && owner != Owner::Root => {
                    dots[1] = true;
                    self.dot(owner, "..", first_cluster(&entry, self.volume), &entry, offset(slot));
                }
                Item::Dot(_) | Item::DotDot(_) => self.find(owner, Some(offset(slot)), || "\".\" or \"..\" where none belongs".to_owned()),
                Item::Label(entry) if owner == Owner::Root && self.label.is_none() => {
                    self.label = Some(entry.dir_name);
                    if entry.dir_file_size != 0 || first_cluster(&entry, self.volume) != 0 {
                        self.find(owner, Some(offset(slot)), || "a volume label with a size or a cluster".to_owned());
                    }
                }
                Item::Label(_) => self.find(owner, Some(offset(slot)), || "a volume label where none belongs".to_owned()),
                Item::Odd(what) => self.find(owner, Some(offset(slot)), || format!("a {what}")),
            }
        });
        outcome?;
        if owner != Owner::Root && !bytes.is_empty() {
            match dots {
                [true, true] => {}
                // Whatever this is, nobody made it as a directory.
                [false, false] => {
                    self.drop_records_of(number);
                    let error = Error::corrupt("there is no directory in its clusters: \".\" and \"..\" are missing");
                    self.damaged(owner, if is_whole { error.at_offset(offset(0)) } else { error });
                }
                _ => self.find(owner, Some(offset(0)), || "\".\" or \"..\" is missing".to_owned()),
            }
        }
        Ok(())
    }

    /// Takes back what was read of a directory that is none; nothing has been read beneath it yet.
    fn drop_records_of(&mut self, number: u32) {
        while self.records.last().is_some_and(|record| record.parent == number) {
            let dropped = self.records.pop().expect("there is a last one");
            if dropped.directory.is_some() {
                self.directories.pop();
            }
            self.names.truncate(index_of(dropped.name.0));
        }
    }

    /// Judges `.` or `..`.
    fn dot(&mut self, owner: Owner, name: &str, found: u32, entry: &DirectoryEntry, offset: u64) {
        let Owner::Record(record) = owner else { return };
        let parent = self.owner(self.records[index_of(record)].parent);
        let wanted = match (name, parent) {
            (".", _) => self.records[index_of(record)].first_cluster,
            (_, Owner::Root) => 0,
            (_, Owner::Record(parent)) => self.records[index_of(parent)].first_cluster,
        };
        if found != wanted {
            self.find(owner, Some(offset), || format!("{name:?} leads to cluster {found}; it should lead to {wanted}"));
        }
        if entry.dir_attr & ATTR_DIRECTORY == 0 {
            self.find(owner, Some(offset), || format!("{name:?} is not marked as a directory"));
        }
    }

    fn named(&mut self, parent: u32, offset: u64, name: Result<String>, entry: &DirectoryEntry) -> Result<()> {
        if u64_of(self.records.len()) >= self.options.entries {
            return Err(Error::limit(format!("over {} names; the limit is an option", self.options.entries)));
        }
        let owner = self.owner(parent);
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                self.partly_damaged(owner, error.within(format!("the entry {}", escape(&entry.dir_name))).at_offset(offset));
                return Ok(());
            }
        };
        let too_many = |_| Error::limit("over 4 GiB of names");
        let start = u32::try_from(self.names.len()).map_err(too_many)?;
        self.names.extend_from_slice(name.as_bytes());
        let end = u32::try_from(self.names.len()).map_err(too_many)?;
        let number = u32::try_from(self.records.len()).map_err(too_many)?;
        let mut record = Record {
            parent,
            name: (start, end),
            directory: None,
            attributes: entry.dir_attr,
            date: entry.dir_wrt_date,
            time: entry.dir_wrt_time,
            size: entry.dir_file_size,
            first_cluster: first_cluster(entry, self.volume),
            extents: (0, 0),
            is_damaged: false,
        };
        let path_len = self.directories[index_of(parent)].path_len + (end - start) + 1;
        if path_len > PATH_MAX_BYTES {
            record.is_damaged = true;
        } else if entry.dir_attr & ATTR_DIRECTORY != 0 {
            record.directory = Some(u32::try_from(self.directories.len()).map_err(too_many)?);
            self.directories.push(Directory { record: Some(number), records: 0..0, path_len });
        }
        self.records.push(record);
        if path_len > PATH_MAX_BYTES {
            self.damaged(Owner::Record(number), Error::limit(format!("a path of over {PATH_MAX_BYTES} bytes; none is read")));
        } else if entry.dir_attr & ATTR_DIRECTORY != 0 && entry.dir_file_size != 0 {
            self.find(Owner::Record(number), Some(offset), || format!("a directory with a size of {}; it should be 0", entry.dir_file_size));
        }
        Ok(())
    }

    /// Follows the chain of a file and holds it against the size.
    fn file(&mut self, number: u32) -> Result<()> {
        let Record { size, first_cluster, is_damaged, .. } = self.records[index_of(number)];
        let owner = Owner::Record(number);
        if is_damaged {
            return Ok(());
        }
        if first_cluster == 0 {
            if size > 0 {
                self.damaged(owner, Error::corrupt(format!("the file has {size} bytes and no cluster")));
            }
            return Ok(());
        }
        let (extents, count, fault) = self.follow(first_cluster)?;
        self.records[index_of(number)].extents = extents;
        if let Some(fault) = fault {
            match self.fault(owner, extents, fault) {
                Some(error) => self.damaged(owner, error),
                None => self.mark(owner),
            }
            return Ok(());
        }
        let needed = u64::from(size).div_ceil(self.volume.cluster_bytes);
        if u64::from(count) < needed {
            let there = u64::from(count) * self.volume.cluster_bytes;
            self.damaged(owner, Error::corrupt(format!("the file has {size} bytes, and its chain of clusters ends after {there}")));
        } else if u64::from(count) > needed {
            self.find(owner, None, || format!("the file has {size} bytes, for which {needed} clusters do, and {count} clusters"));
        }
        Ok(())
    }

    /// All runs of clusters with their owners, upwards; settles whose a cluster is that two want.
    pub(super) fn owned(&mut self) -> Vec<(Extent, Owner)> {
        let of = |range: (u32, u32)| index_of(range.0)..index_of(range.1);
        let mut owned: Vec<(Extent, Owner)> = self.extents[of(self.root_extents)].iter().map(|extent| (*extent, Owner::Root)).collect();
        for (number, record) in (0..).zip(&self.records) {
            owned.extend(self.extents[of(record.extents)].iter().map(|extent| (*extent, Owner::Record(number))));
        }
        owned.sort_unstable_by_key(|(extent, _)| extent.cluster);
        for (cluster, second) in std::mem::take(&mut self.conflicts) {
            let at = owned.partition_point(|(extent, _)| extent.cluster <= cluster);
            // What was read of a directory that is none is nobody's any more.
            let Some(first) = at.checked_sub(1).map(|at| owned[at].1) else { continue };
            self.shared(cluster, first, second);
        }
        owned
    }

    fn shared(&mut self, cluster: u32, first: Owner, second: Owner) {
        let shown = |walk: &Self, owner| match owner {
            Owner::Root => "the root directory".to_owned(),
            Owner::Record(_) => escape(&walk.path(owner)),
        };
        let message = |other: &str| Error::corrupt(format!("cluster {cluster} is also that of {other}"));
        let is_file = |walk: &Self, owner| matches!(owner, Owner::Record(record) if walk.records[index_of(record)].directory.is_none());
        let error = message(&shown(self, first));
        self.partly_damaged(second, error);
        if is_file(self, first) {
            let error = message(&shown(self, second));
            self.damaged(first, error);
        }
    }
}

/// The cluster in which what an entry names begins.
fn first_cluster(entry: &DirectoryEntry, volume: &Volume) -> u32 {
    let high = if volume.root_cluster().is_some() { u32::from(entry.dir_fst_clus_hi) << 16 } else { 0 };
    high | u32::from(entry.dir_fst_clus_lo)
}
