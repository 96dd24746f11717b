//! Disk images as sources: container, table, partitions and filesystems are opened, and a filesystem read as a tree.
//!
//! ```text
//! file ─► format: the disk's bytes ─► partition: ranges ─► fs: tree, contents, places
//! ```
//!
//! Nothing is mounted, nothing runs, and nothing that an image names is opened. What a partition holds is told by its magic
//! alone; which partition is the root, by the table's types and else by what its tree has.

mod mounts;
mod select;

pub(super) use select::split as split_selector;

use super::filter::Filter;
use super::options::Options;
use super::{Source, SourceDisk};
use crate::content::{ContentStore, Part, ReadAt};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::{DiskReader, OpenOptions};
use crate::fs::{self, ReadFilesystem, ReadOptions};
use crate::partition::{self, TableKind};
use crate::report::{DiskSummary, PartitionSummary};
use crate::tree::{Metadata, TreeBuilder, XattrSetId};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk image that is open: its container, its partition table, and what lies in its partitions.
pub struct DiskImage {
    disk: Arc<dyn DiskReader>,
    summary: DiskSummary,
    table: Option<partition::Table>,
    partitions: Vec<PartitionSummary>,
    notes: Vec<String>,
    path: PathBuf,
}

impl fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskImage").field("path", &self.path).field("disk", &self.summary).field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl DiskImage {
    /// Opens the image at `path`.
    ///
    /// # Errors
    /// I/O, and a container or table that breaks its format. A damaged filesystem is a note.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let disk = crate::format::open_with(path, options)?;
        Self::of(Arc::from(disk), path.to_path_buf()).map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))
    }

    /// The image that `disk` reads; `path` stands in messages, and no output may overwrite it.
    ///
    /// # Errors
    /// As [`DiskImage::open`].
    pub fn of(disk: Arc<dyn DiskReader>, path: PathBuf) -> Result<Self> {
        let size_bytes = disk.size_bytes();
        let read = |offset: u64, out: &mut [u8]| disk.read_exact_at(offset, out);
        let Some(found) = partition::read(&read, size_bytes)? else {
            let summary = DiskSummary { size_bytes, sector_bytes: 512, table: TableKind::None.to_string(), guid: None, signature: None };
            return Ok(Self::look_into(disk, summary, None, vec![bare(size_bytes)], Vec::new(), path));
        };
        let is_mbr = found.table.kind == TableKind::Mbr;
        let image = Self::of_table(Arc::clone(&disk), found, path);
        // An MBR does not say how large its sectors are: where the usual 512 bytes lead to nothing, 4,096 may lead to something.
        if is_mbr
            && image.has_nothing()
            && let Ok(Some(found)) = partition::read_with_sectors(&read, size_bytes, 4096)
        {
            let other = Self::of_table(disk, found, image.path.clone());
            if !other.has_nothing() {
                return Ok(other);
            }
        }
        Ok(image)
    }

    fn of_table(disk: Arc<dyn DiskReader>, found: partition::Found, path: PathBuf) -> Self {
        let partition::Found { table, notes } = found;
        let gpt = table.kind == TableKind::Gpt;
        let summary = DiskSummary {
            size_bytes: disk.size_bytes(),
            sector_bytes: table.sector_bytes,
            table: table.kind.to_string(),
            guid: gpt.then_some(table.disk_guid),
            signature: (!gpt).then_some(table.signature),
        };
        let partitions = table.partitions.iter().map(|partition| PartitionSummary {
            number: partition.number,
            partition_type: partition.partition_type.to_string(),
            guid: gpt.then_some(partition.guid),
            label: gpt.then(|| partition.name.clone()),
            offset_bytes: partition.offset_bytes,
            size_bytes: partition.size_bytes,
            mount_point: None,
            filesystem: None,
        });
        let partitions = partitions.collect();
        Self::look_into(disk, summary, Some(table), partitions, notes, path)
    }

    /// Looks for the filesystem of every partition.
    fn look_into(
        disk: Arc<dyn DiskReader>,
        summary: DiskSummary,
        table: Option<partition::Table>,
        mut partitions: Vec<PartitionSummary>,
        mut notes: Vec<String>,
        path: PathBuf,
    ) -> Self {
        for partition in &mut partitions {
            let base = partition.offset_bytes;
            match fs::probe(&|offset, out: &mut [u8]| read_inside(&*disk, base, offset, out), partition.size_bytes) {
                Ok(found) => partition.filesystem = found,
                Err(error) => notes.push(format!("partition {}: {error}", partition.number)),
            }
        }
        partitions.sort_by_key(|partition| partition.number);
        notes.splice(..0, disk.notes().iter().cloned());
        Self { disk, summary, table, partitions, notes, path }
    }

    fn has_nothing(&self) -> bool {
        self.partitions.iter().all(|partition| partition.filesystem.is_none())
    }

    /// The disk's bytes.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn DiskReader> {
        &self.disk
    }

    /// The disk.
    #[must_use]
    pub fn summary(&self) -> &DiskSummary {
        &self.summary
    }

    /// The partition table, where there is one.
    #[must_use]
    pub fn table(&self) -> Option<&partition::Table> {
        self.table.as_ref()
    }

    /// The partitions by number, with what their filesystems say of themselves; without a table the disk as one with number 0.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionSummary] {
        &self.partitions
    }

    /// What looks wrong.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The file that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The partition with this number.
    ///
    /// # Errors
    /// There is none; the message says which there are.
    pub fn partition(&self, number: u32) -> Result<&PartitionSummary> {
        let found = self.partitions.iter().find(|partition| partition.number == number);
        found.ok_or_else(|| Error::invalid(format!("there is no partition {number}; there are {}", self.choices())).at_path(self.path_bytes()))
    }

    /// The partition that `UUID=…`, `LABEL=…`, `PARTUUID=…` or `PARTLABEL=…` means, as fstab and kernels name one.
    #[must_use]
    pub fn named(&self, tag_and_value: &str) -> Option<&PartitionSummary> {
        self.partitions.iter().find(|partition| mounts::is_named(self, partition, tag_and_value.as_bytes()))
    }

    /// Reads the filesystem in the partition with this number (0 without a table); `None` if it is none that is known.
    ///
    /// # Errors
    /// No such partition; those of [`fs::read`].
    pub fn read(&self, number: u32, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
        let partition = self.partition(number)?;
        fs::read(&self.part(partition)?, options)
            .map_err(|error| if number == 0 { error } else { error.within(format!("partition {number}")) })
            .map_err(|error| error.at_path(self.path_bytes()))
    }

    /// Reads as [`DiskImage::read`] a filesystem that has to be there.
    ///
    /// # Errors
    /// As [`DiskImage::read`]; [`ErrorKind::Unsupported`] where nothing is known.
    pub fn read_known(&self, number: u32, options: &ReadOptions) -> Result<ReadFilesystem> {
        let what = if number == 0 {
            "the disk has neither a partition table nor a filesystem that is known here".to_owned()
        } else {
            format!("partition {number} has no filesystem that is known here (ext2, ext3, ext4, FAT)")
        };
        self.read(number, options)?.ok_or_else(|| Error::unsupported(what).at_path(self.path_bytes()))
    }

    /// The bytes of a partition.
    fn part(&self, partition: &PartitionSummary) -> Result<Arc<dyn ReadAt>> {
        let disk: Arc<dyn ReadAt> = Arc::<dyn DiskReader>::clone(&self.disk);
        Ok(Arc::new(Part::new(disk, self.range(partition))?))
    }

    fn range(&self, partition: &PartitionSummary) -> Range<u64> {
        partition.offset_bytes..partition.offset_bytes.saturating_add(partition.size_bytes)
    }

    fn path_bytes(&self) -> &[u8] {
        self.path.as_os_str().as_encoded_bytes()
    }

    /// The partitions in words.
    fn choices(&self) -> String {
        let shown = |partition: &PartitionSummary| {
            let filesystem = partition.filesystem.as_ref();
            let label = partition.label.as_deref().filter(|label| !label.is_empty()).or(filesystem.map(|filesystem| filesystem.label.as_str()));
            let label = label.filter(|label| !label.is_empty()).map_or_else(String::new, |label| format!(" {:?}", escape(label.as_bytes())));
            format!("{}{label} ({}, {})", partition.number, partition.partition_type, filesystem.map_or("no filesystem", |filesystem| &filesystem.kind))
        };
        self.partitions.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

/// Reads from `offset` of what begins at `base`, which no sum may wrap around.
fn read_inside(disk: &dyn DiskReader, base: u64, offset: u64, out: &mut [u8]) -> Result<()> {
    let at = base.checked_add(offset).ok_or_else(|| Error::corrupt("an offset over 2^64").at_offset(offset))?;
    disk.read_exact_at(at, out)
}

/// The disk as one partition, where it has no table.
fn bare(size_bytes: u64) -> PartitionSummary {
    PartitionSummary { number: 0, partition_type: "none".into(), guid: None, label: None, offset_bytes: 0, size_bytes, mount_point: None, filesystem: None }
}

/// Reads the partition that `selector` means, or the root, as a source.
pub(super) fn open(image: &DiskImage, selector: Option<&str>, options: &Options) -> Result<Source> {
    let read_options = read_options(options);
    let selector = selector.or(options.partition.as_deref());
    let (number, root) = match selector {
        Some(selector) => (image.select(selector)?, None),
        None => image.root(&read_options)?,
    };
    let read = match root {
        Some(read) => read,
        None => image.read_known(number, &read_options)?,
    };
    let mut source = of_filesystem(image, number, read)?;
    if options.mounts && selector.is_none() {
        source = without_lost_found(source)?;
        source = mounts::lay_over(image, number, source, options)?;
    }
    refuse_damage(&source, options)?;
    filter(source, options)
}

/// How filesystems are read under these options.
pub(super) fn read_options(options: &Options) -> ReadOptions {
    ReadOptions { entries: options.limits.entries, xattr_bytes: options.limits.xattr_bytes, ..ReadOptions::default() }
}

fn of_filesystem(image: &DiskImage, number: u32, read: ReadFilesystem) -> Result<Source> {
    let ReadFilesystem { tree, contents, contents_count, inodes, summary, notes, damage, unreadable, .. } = read;
    let mut store = ContentStore::new();
    store.add(Arc::new(Watched { image: Arc::clone(&image.disk), contents }), contents_count)?;
    let place = if number == 0 { String::new() } else { format!(" partition {number}") };
    let description = format!("{}{place} ({}, {})", super::shown_name(&image.path), image.disk.format(), summary.kind);
    let notes = image.notes.iter().cloned().chain(notes).collect();
    let esp = image.partitions.iter().find(|partition| partition.partition_type == "esp" && partition.filesystem.is_some());
    let disk = SourceDisk { summary: image.summary.clone(), root: image.partition(number)?.clone(), esp: esp.cloned() };
    Ok(Source { tree, contents: store, description, notes, paths: vec![image.path.clone()], damage, unreadable, inodes, disk: Some(Box::new(disk)) })
}

/// An empty lost+found as every mkfs makes it is the filesystem's own, and the next filesystem makes its own again.
fn without_lost_found(source: Source) -> Result<Source> {
    const LOST_FOUND: &str = "lost+found";
    let tree = &source.tree;
    let is_usual = |id| {
        let node = tree.node(id);
        let Metadata { mode, uid, gid, xattrs, attributes, project, .. } = node.metadata;
        node.is_directory() && tree.entries(id).is_empty() && (mode, uid, gid, xattrs, attributes, project) == (0o700, 0, 0, XattrSetId::NONE, 0, 0)
    };
    if !tree.lookup(LOST_FOUND).is_some_and(is_usual) {
        return Ok(source);
    }
    let mut builder = TreeBuilder::from_tree(source.tree);
    builder.remove(LOST_FOUND)?;
    Ok(Source { tree: builder.freeze()?, inodes: Vec::new(), ..source })
}

/// Contents of an image that must not change while they are read.
struct Watched {
    image: Arc<dyn DiskReader>,
    contents: Arc<dyn crate::content::Contents>,
}

impl crate::content::Contents for Watched {
    fn read_exact_at(&self, id: crate::ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.contents.read_exact_at(id, offset_bytes, out)?;
        self.image.check_unchanged()
    }

    fn read_many(&self, wanted: &mut [crate::content::Wanted<'_>]) -> Result<()> {
        self.contents.read_many(wanted)?;
        self.image.check_unchanged()
    }
}

/// What is not whole is refused, unless it was asked for as it is.
fn refuse_damage(source: &Source, options: &Options) -> Result<()> {
    if options.keep_going {
        return Ok(());
    }
    let all = source.damage.len() + source.unreadable.len();
    let Some(first) = source.damage.first().or(source.unreadable.first()) else { return Ok(()) };
    let more =
        if all > 1 { format!(" (and {} more; --keep-going takes what can be read)", all - 1) } else { " (--keep-going takes what can be read)".to_owned() };
    let kind = if source.damage.is_empty() { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
    Err(Error::new(kind, format!("{first}{more}")))
}

/// Applies what the options change.
fn filter(mut source: Source, options: &Options) -> Result<Source> {
    let filter = Filter::new(options)?;
    if filter.changes_metadata() || options.holes == super::Holes::None {
        source.tree = filter.apply(&source.tree, options.holes)?;
        source.inodes = Vec::new();
    }
    let nodes = source.tree.node_count();
    source.tree = filter.prune(source.tree)?;
    if source.tree.node_count() != nodes {
        source.inodes = Vec::new();
    }
    Ok(source)
}
