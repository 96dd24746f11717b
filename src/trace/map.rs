//! Whose every byte of an image's disk is: its table, its partitions, and what lies in their filesystems.

use super::read::{Trace, TracedDisk};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::fs::ext4::format::{INODE_BYTES_MIN, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET_BYTES, Superblock};
use crate::fs::{Place, PlaceOwner, ReadFilesystem, ReadOptions};
use crate::partition::{self, TableKind};
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::tree::{NodeId, Tree};
use crate::units::{Size, index_of, u64_of};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the readers of ext4 call the inode tables.
pub(super) const INODE_TABLE: &str = "inode table";
/// Of fewer files than this it is not judged whether their inodes were read too.
const FILES_TO_JUDGE: u64 = 8;

/// An image with all its filesystems read: it names whose the bytes are that a trace reads.
pub struct ImageMap {
    size_bytes: u64,
    /// By offset, disjoint.
    pub(super) areas: Vec<Area>,
    /// The places of the partition table.
    table: Vec<Range<u64>>,
    notes: Vec<String>,
}

impl std::fmt::Debug for ImageMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageMap").field("size_bytes", &self.size_bytes).field("areas", &self.areas.len()).finish_non_exhaustive()
    }
}

/// A partition, or a disk that is none.
pub(super) struct Area {
    pub(super) number: u32,
    range: Range<u64>,
    kind: String,
    /// Where the running system has it, without slashes at the ends; `None` where it is mounted nowhere.
    pub(super) mount: Option<Vec<u8>>,
    pub(super) volume: Option<Volume>,
}

/// A filesystem that was read.
pub(super) struct Volume {
    pub(super) tree: Tree,
    places: Vec<Place>,
    /// For each node its first directory and its first entry there.
    parents: Vec<(NodeId, u32)>,
    pub(super) inodes: Option<Inodes>,
}

/// Where the inodes of a filesystem lie.
pub(super) struct Inodes {
    per_group: u64,
    bytes: u64,
    /// The begin of each group's table in the filesystem.
    tables: BTreeMap<u32, u64>,
    /// Numbers and nodes, by number.
    nodes: Vec<(u32, NodeId)>,
}

/// Whose a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// Contents of a file, entries of a directory, the target of a link.
    Data {
        area: usize,
        node: NodeId,
    },
    /// What a node needs beside.
    About {
        area: usize,
        node: NodeId,
        what: &'static str,
    },
    Structure {
        area: usize,
        what: &'static str,
        group: Option<u32>,
    },
    /// A partition without a filesystem that is known here.
    Unknown {
        area: usize,
    },
    Table,
    /// On the disk, and nobody's.
    Free,
    /// Behind the end of the disk.
    Outside,
}

impl Owner {
    /// Whether somebody has the bytes.
    pub(super) fn is_used(self) -> bool {
        !matches!(self, Self::Free | Self::Outside)
    }
}

/// How the different bytes that were read fall on the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) used: u64,
    pub(super) free: u64,
    pub(super) outside: u64,
}

impl ImageMap {
    /// Reads all filesystems of `image`. What cannot be read of them is a note, and its bytes belong to its partition.
    ///
    /// # Errors
    /// I/O.
    pub fn of(image: &DiskImage) -> Result<Self> {
        let options = ReadOptions::default();
        let mut notes = image.notes().to_vec();
        let mut mounts: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut root = match image.root(&options) {
            Ok((number, read)) => Some((number, read)),
            Err(error) => {
                local(&error).then(|| notes.push(format!("no paths of the running system are known: {error}"))).ok_or(error)?;
                None
            }
        };
        let mut areas = Vec::new();
        for partition in by_offset(image.partitions()) {
            let number = partition.number;
            let read = match &mut root {
                Some((of_root, read @ Some(_))) if *of_root == number => Ok(read.take()),
                _ if partition.filesystem.is_some() => image.read(number, &options),
                _ => Ok(None),
            };
            let read = read.or_else(|error| local(&error).then(|| notes.push(format!("partition {number}: {error}"))).map(|()| None).ok_or(error))?;
            if let Some(read) = &read {
                if root.as_ref().is_some_and(|(root, _)| *root == number) {
                    mounts.insert(number, Vec::new());
                    mounts.extend(image.mount_points(number, &read.tree, &*read.contents)?);
                }
                if let Some(first) = read.damage.first() {
                    notes.push(format!("partition {number} is damaged, so that not all is known that lies there: {first}"));
                }
            }
            let volume = read.map(|read| Volume::of(image, partition, read)).transpose()?;
            let range = partition.offset_bytes..partition.offset_bytes.saturating_add(partition.size_bytes).min(image.summary().size_bytes);
            areas.push(Area { number, range, kind: partition.partition_type.clone(), mount: None, volume });
        }
        // A partition that lies inside another one is no news here.
        let mut end = 0;
        areas.retain_mut(|area| {
            area.range.start = area.range.start.max(end);
            end = end.max(area.range.end);
            area.mount = mounts.remove(&area.number);
            !area.range.is_empty()
        });
        Ok(Self { size_bytes: image.summary().size_bytes, areas, table: table_ranges(image), notes })
    }

    /// What a person should know: what of the image could not be read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The size of the image's disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The disk of the trace that is this image: number `number` (from 1), or the one whose reads fit best.
    ///
    /// # Errors
    /// No such disk; a trace of another image: most of what was read is used by nothing on this one.
    pub fn disk<'t>(&self, trace: &'t Trace, number: Option<usize>) -> Result<&'t TracedDisk> {
        let disks = trace.disks();
        let best = |disk: &&TracedDisk| {
            let Fit { used, free, outside } = self.fit(disk);
            // What does not fit says more than what does: small offsets fit every disk.
            i128::from(used) - 2 * i128::from(free) - 2 * i128::from(outside)
        };
        let chosen = match number {
            Some(number) => number.checked_sub(1).and_then(|at| disks.get(at)).ok_or_else(|| {
                let shown: Vec<String> = disks.iter().zip(1..).map(|(disk, number)| format!("{number} ({} reads)", disk.reads())).take(8).collect();
                Error::new(ErrorKind::Usage, format!("there is no disk {number} in the trace; there are {}: {}", disks.len(), shown.join(", ")))
            })?,
            // Of equals the first.
            None => disks.iter().rev().max_by_key(best).ok_or_else(|| Error::corrupt("a trace without a read"))?,
        };
        let fit = self.fit(chosen);
        if u128::from(fit.free) + u128::from(fit.outside) > u128::from(fit.used) {
            let size = Size::bytes;
            return Err(Error::invalid(format!(
                "this is no trace of the image: of the {} that were read, {} fall on what nothing uses there, and {} behind its end (the image has {})",
                size(chosen.bytes()),
                size(fit.free),
                size(fit.outside),
                size(self.size_bytes)
            )));
        }
        Ok(chosen)
    }

    /// How what was read of a disk falls on the image.
    pub(super) fn fit(&self, disk: &TracedDisk) -> Fit {
        let mut fit = Fit::default();
        for range in disk.read().iter() {
            self.each(&range, &mut |piece, owner, _| {
                let bytes = match owner {
                    Owner::Outside => &mut fit.outside,
                    Owner::Free => &mut fit.free,
                    _ => &mut fit.used,
                };
                *bytes += piece.end - piece.start;
            });
        }
        fit
    }

    /// What should make one doubt that the reads are of this image, although they fall on what is used there: reads outside of it, and
    /// contents that were read of files whose inodes were not, or not their directories before them.
    pub(super) fn doubts(&self, disk: &TracedDisk) -> Vec<String> {
        let mut doubts = Vec::new();
        let fit = self.fit(disk);
        if fit.outside > 0 {
            doubts.push(format!("{} that were read lie outside of the image, which has {}", Size::bytes(fit.outside), Size::bytes(self.size_bytes)));
        }
        for (at, area) in self.areas.iter().enumerate() {
            let Some(volume @ Volume { inodes: Some(inodes), .. }) = &area.volume else { continue };
            // When data of each node was read first, and whether its inode was.
            let mut read = vec![(None, false); volume.tree.node_count()];
            for (time, range) in disk.first_reads().iter().enumerate() {
                self.each(range, &mut |piece, owner, _| match owner {
                    Owner::Data { area, node } if area == at => {
                        read[node.index()].0.get_or_insert(time);
                    }
                    Owner::Structure { area: of, what: INODE_TABLE, group: Some(group) } if of == at => {
                        for (_, node) in inodes.at(group, &area.inside(&piece)) {
                            read[node.index()].1 = true;
                        }
                    }
                    _ => {}
                });
            }
            let with_data = volume.with_data();
            let mut files = 0_u64;
            let mut known = 0_u64;
            for (node, _) in volume.tree.nodes() {
                let ((Some(time), inode), parent) = (read[node.index()], volume.parent(node)) else { continue };
                let looked_up = read[parent.index()].0.is_some_and(|before| before <= time) || !with_data[parent.index()];
                files += 1;
                known += u64::from(inode && looked_up);
            }
            if files >= FILES_TO_JUDGE && known < files / 4 * 3 {
                doubts.push(format!(
                    "the trace may be of another image: {files} files and directories of partition {} were read, and of {known} the inode and, before, the directory",
                    area.number
                ));
            }
        }
        doubts
    }

    /// Takes `range` of the disk apart, upwards: each piece with its owner, and its offset in that one's data.
    pub(super) fn each(&self, range: &Range<u64>, told: &mut dyn FnMut(Range<u64>, Owner, u64)) {
        let mut at = range.start;
        let inside = range.end.min(self.size_bytes);
        let from = self.areas.partition_point(|area| area.range.end <= at);
        for (number, area) in self.areas.iter().enumerate().skip(from).take_while(|(_, area)| area.range.start < inside) {
            if at < area.range.start {
                self.between(at..area.range.start, told);
                at = area.range.start;
            }
            let end = area.range.end.min(inside);
            if at < end {
                area.each(number, at..end, told);
                at = end;
            }
        }
        if at < inside {
            self.between(at..inside, told);
            at = inside;
        }
        if at < range.end {
            told(at..range.end, Owner::Outside, 0);
        }
    }

    /// Outside of all partitions.
    fn between(&self, range: Range<u64>, told: &mut dyn FnMut(Range<u64>, Owner, u64)) {
        let mut at = range.start;
        for table in &self.table {
            let piece = table.start.max(at)..table.end.min(range.end);
            if piece.is_empty() {
                continue;
            }
            if at < piece.start {
                told(at..piece.start, Owner::Free, 0);
            }
            at = piece.end;
            told(piece, Owner::Table, 0);
        }
        if at < range.end {
            told(at..range.end, Owner::Free, 0);
        }
    }

    /// Inodes in a piece of the inode table of `group`, as nodes, by number.
    pub(super) fn inodes_in(&self, area: usize, group: u32, piece: &Range<u64>) -> &[(u32, NodeId)] {
        let area = &self.areas[area];
        let inodes = area.volume.as_ref().and_then(|volume| volume.inodes.as_ref());
        inodes.map_or(&[], |inodes| inodes.at(group, &area.inside(piece)))
    }

    /// What an owner is called; files by their path in the running system, or with their partition where they are mounted nowhere.
    pub(super) fn name(&self, owner: Owner) -> String {
        let in_area = |area: usize, what: &str| match self.areas[area].number {
            0 => what.to_owned(),
            number => format!("partition {number}: {what}"),
        };
        match owner {
            Owner::Data { area, node } => self.shown_path(area, node),
            Owner::About { area, node, what } => format!("{what} of {}", self.shown_path(area, node)),
            Owner::Structure { area, what, group: Some(group) } => in_area(area, &format!("{what} of block group {group}")),
            Owner::Structure { area, what, group: None } => in_area(area, what),
            Owner::Unknown { area } => in_area(area, &format!("no filesystem that is known here ({})", self.areas[area].kind)),
            Owner::Table => "partition table".to_owned(),
            Owner::Free => "nothing: free space".to_owned(),
            Owner::Outside => "outside of the image".to_owned(),
        }
    }

    fn shown_path(&self, area: usize, node: NodeId) -> String {
        match self.path(area, node) {
            Some(path) => escape(&path),
            None => {
                let path = self.areas[area].volume.as_ref().map(|volume| volume.path(node)).unwrap_or_default();
                format!("partition {}: {}", self.areas[area].number, escape(&path))
            }
        }
    }

    /// The path of a node in the running system, absolute; `None` where its filesystem is mounted nowhere, or another one over it.
    pub(super) fn path(&self, area: usize, node: NodeId) -> Option<Vec<u8>> {
        let Area { mount, volume, .. } = &self.areas[area];
        let (mount, path) = (mount.as_ref()?, volume.as_ref()?.path(node));
        let path = match (mount.is_empty(), path == b"/") {
            (true, _) => path,
            (false, true) => [b"/", &mount[..]].concat(),
            (false, false) => [b"/", &mount[..], &path].concat(),
        };
        let beneath = |other: &[u8]| path[1..].strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let hidden = self.areas.iter().filter_map(|area| area.mount.as_ref()).any(|other| other.len() > mount.len() && beneath(other));
        (!hidden).then_some(path)
    }
}

/// Whether an error concerns one filesystem and leaves the rest alone.
fn local(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::LimitExceeded | ErrorKind::TooSmall { .. } | ErrorKind::InvalidInput)
}

fn by_offset(partitions: &[PartitionSummary]) -> Vec<&PartitionSummary> {
    let mut sorted: Vec<&PartitionSummary> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.offset_bytes);
    sorted
}

/// Where the partition table lies: what it leaves to nobody.
fn table_ranges(image: &DiskImage) -> Vec<Range<u64>> {
    let Some(table) = image.table().filter(|table| table.kind != TableKind::None) else { return Vec::new() };
    let size_bytes = image.summary().size_bytes;
    let usable = partition::usable_bytes(table.kind, table.sector_bytes, size_bytes);
    // An odd size has no usual places.
    usable.map_or_else(|_| Vec::new(), |usable| vec![0..usable.start.min(size_bytes), usable.end.min(size_bytes)..size_bytes])
}

impl Area {
    /// A range of the disk as a range of the filesystem.
    fn inside(&self, piece: &Range<u64>) -> Range<u64> {
        piece.start.saturating_sub(self.range.start)..piece.end.saturating_sub(self.range.start)
    }

    fn each(&self, number: usize, range: Range<u64>, told: &mut dyn FnMut(Range<u64>, Owner, u64)) {
        let Some(volume) = &self.volume else { return told(range, Owner::Unknown { area: number }, 0) };
        let base = self.range.start;
        let Range { start: mut at, end } = self.inside(&range);
        let from = volume.places.partition_point(|place| place.range.end <= at);
        for place in volume.places[from..].iter().take_while(|place| place.range.start < end) {
            let piece = place.range.start.max(at)..place.range.end.min(end);
            if at < piece.start {
                told(base + at..base + piece.start, Owner::Free, 0);
            }
            let (owner, offset) = match place.owner {
                PlaceOwner::Data { node, offset_bytes } => (Owner::Data { area: number, node }, offset_bytes.saturating_add(piece.start - place.range.start)),
                PlaceOwner::About { node, what } => (Owner::About { area: number, node, what }, 0),
                PlaceOwner::Structure { what, group } => (Owner::Structure { area: number, what, group }, 0),
            };
            at = piece.end;
            told(base + piece.start..base + piece.end, owner, offset);
        }
        if at < end {
            told(base + at..base + end, Owner::Free, 0);
        }
    }
}

impl Volume {
    fn of(image: &DiskImage, partition: &PartitionSummary, read: ReadFilesystem) -> Result<Self> {
        let ReadFilesystem { tree, inodes, places, summary, .. } = read;
        let inodes = if inodes.is_empty() || !summary.kind.starts_with("ext") { None } else { Inodes::of(image, partition, &inodes, &places)? };
        let mut parents = vec![(NodeId::ROOT, u32::MAX); tree.node_count()];
        for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
            for (number, entry) in (0..).zip(tree.entries(directory)) {
                let parent = &mut parents[entry.node.index()];
                if parent.1 == u32::MAX {
                    *parent = (directory, number);
                }
            }
        }
        Ok(Self { tree, places, parents, inodes })
    }

    /// The first directory that names a node; of the root itself.
    pub(super) fn parent(&self, node: NodeId) -> NodeId {
        self.parents[node.index()].0
    }

    /// The first path of a node in its filesystem, absolute.
    fn path(&self, node: NodeId) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            let (parent, number) = self.parents[at.index()];
            let Some(entry) = self.tree.entries(parent).get(index_of(number)) else { break };
            parts.push(self.tree.name(entry));
            at = parent;
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// For each node whether it has data in blocks.
    pub(super) fn with_data(&self) -> Vec<bool> {
        let mut with_data = vec![false; self.tree.node_count()];
        for place in &self.places {
            if let PlaceOwner::Data { node, .. } = place.owner {
                with_data[node.index()] = true;
            }
        }
        with_data
    }
}

impl Inodes {
    /// The numbers per group and the size of an inode stand in the superblock, which was checked when the filesystem was read.
    fn of(image: &DiskImage, partition: &PartitionSummary, inodes: &[u32], places: &[Place]) -> Result<Option<Self>> {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let at = partition.offset_bytes.checked_add(SUPERBLOCK_OFFSET_BYTES).ok_or_else(|| Error::corrupt("a partition behind 2^64"))?;
        image.disk().read_exact_at(at, &mut bytes)?;
        let superblock = Superblock::decode(&bytes);
        let per_group = u64::from(superblock.s_inodes_per_group);
        let bytes = if superblock.s_rev_level == 0 { u64_of(INODE_BYTES_MIN) } else { u64::from(superblock.s_inode_size) };
        if per_group == 0 || bytes == 0 {
            return Ok(None);
        }
        let mut tables = BTreeMap::new();
        for place in places {
            if let PlaceOwner::Structure { what: INODE_TABLE, group: Some(group) } = place.owner {
                tables.entry(group).or_insert(place.range.start);
            }
        }
        let mut nodes: Vec<(u32, NodeId)> = inodes.iter().copied().zip((0..).map(NodeId)).filter(|(number, _)| *number > 0).collect();
        nodes.sort_unstable();
        Ok(Some(Self { per_group, bytes, tables, nodes }))
    }

    /// Those in a piece of a group's table.
    fn at(&self, group: u32, piece: &Range<u64>) -> &[(u32, NodeId)] {
        let Some(table) = self.tables.get(&group) else { return &[] };
        let (start, end) = (piece.start.saturating_sub(*table) / self.bytes, piece.end.saturating_sub(*table).div_ceil(self.bytes));
        let first = u64::from(group) * self.per_group + 1;
        let numbers = first + start.min(self.per_group)..first + end.min(self.per_group);
        let from = self.nodes.partition_point(|(number, _)| u64::from(*number) < numbers.start);
        let to = self.nodes.partition_point(|(number, _)| u64::from(*number) < numbers.end);
        &self.nodes[from..to.max(from)]
    }
}
