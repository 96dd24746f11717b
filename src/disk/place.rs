//! Sizes and places: where each partition begins, how large its filesystem is, how large the disk.

use super::plan::{Draft, Drafted};
use super::spec::{DEFAULT_FREE, DiskSize, ESP_MIN_BYTES, Ext4Settings, FatSettings, Filesystem, PARTITION_ALIGN_BYTES, PartitionSize, PartitionSpec};
use super::{Disk, Known, Part, Placement, keep};
use crate::boot::{self, Architecture};
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{self, Planned, ext4, fat};
use crate::guid::Guid;
use crate::partition::{self, Partition, PartitionType, Table, TableKind};
use crate::report::PartitionSummary;
use crate::tree::{Tree, TreeBuilder};
use crate::units::{GIB, MIB, Size, align_down, align_up};
use std::sync::Arc;

/// Identifiers that boot files name, known before anything has a place.
pub(super) fn identities(drafted: &Drafted, root: usize, esp: usize) -> boot::Identities {
    let (root, esp) = (&drafted.drafts[root], &drafted.drafts[esp]);
    let (root_uuid, root_label) = match &root.filesystem {
        Filesystem::Ext4(settings) => (ext4_uuid(drafted, root, settings).to_string(), ext4_label(root, settings)),
        Filesystem::Fat(_) | Filesystem::None => (String::new(), String::new()),
    };
    boot::Identities {
        root_partuuid: partuuid(drafted, root),
        root_uuid,
        root_label,
        root_filesystem: "ext4".into(),
        esp_uuid: filesystem_uuid(drafted, esp),
        mounts: drafted.drafts.iter().filter_map(|draft| mount(drafted, draft)).collect(),
        epoch: drafted.spec.epoch,
    }
}

/// As the kernel writes it in `root=PARTUUID=`: the GUID, or the MBR's signature and the number.
fn partuuid(drafted: &Drafted, draft: &Draft) -> String {
    if drafted.spec.table == TableKind::Mbr { format!("{:08x}-{:02x}", signature(drafted), draft.number) } else { draft.guid.to_string() }
}

fn signature(drafted: &Drafted) -> u32 {
    drafted.spec.signature.unwrap_or_else(|| Guid::derive(drafted.seed, "disk signature").to_u32())
}

/// What `blkid` shows as the UUID of a partition's filesystem.
fn filesystem_uuid(drafted: &Drafted, draft: &Draft) -> String {
    match &draft.filesystem {
        Filesystem::Ext4(settings) => ext4_uuid(drafted, draft, settings).to_string(),
        Filesystem::Fat(settings) => fat_volume_id(drafted, draft, settings).to_string(),
        Filesystem::None => String::new(),
    }
}

/// The line of fstab for a partition with a mount point of its own; root and ESP have theirs from [`boot`].
fn mount(drafted: &Drafted, draft: &Draft) -> Option<boot::Mount> {
    let mount_point = draft.spec.mount_point.clone().filter(|_| !draft.spec.is_root() && !draft.spec.is_esp())?;
    let filesystem = match &draft.filesystem {
        Filesystem::Ext4(_) => "ext4",
        Filesystem::Fat(_) => "vfat",
        Filesystem::None => return None,
    };
    Some(boot::Mount {
        what: format!("UUID={}", filesystem_uuid(drafted, draft)),
        mount_point,
        filesystem: filesystem.into(),
        options: "defaults".into(),
        pass: 2,
    })
}

fn ext4_uuid(drafted: &Drafted, draft: &Draft, settings: &Ext4Settings) -> Guid {
    settings.uuid.unwrap_or_else(|| drafted.derive(draft.number, "ext4"))
}

fn ext4_label(draft: &Draft, settings: &Ext4Settings) -> String {
    let default = || if draft.spec.is_root() { "root".to_string() } else { String::new() };
    settings.label.clone().unwrap_or_else(default)
}

fn fat_volume_id(drafted: &Drafted, draft: &Draft, settings: &FatSettings) -> fat::VolumeId {
    settings.volume_id.unwrap_or_else(|| fat::VolumeId(drafted.derive(draft.number, "fat").to_u32()))
}

/// More than any filesystem or table here holds, and sums of which do not overflow.
const DISK_MAX_BYTES: u64 = 1 << 62;
/// How often a size is raised for free space. Each time what still lacks is a small share of what was added, but for the
/// few sizes at which the journal doubles.
const GROWTH_STEPS_MAX: u32 = 64;

/// How large a filesystem is asked to be.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// This size, with so much free in it.
    Exact { size_bytes: u64, free_bytes: u64 },
    /// The smallest size with so much free in it.
    Minimum { free_bytes: u64 },
}

/// A partition with its place and the filesystem that was planned for it, where it has one.
pub(super) struct Placed {
    pub(super) draft: usize,
    pub(super) offset_bytes: u64,
    pub(super) size_bytes: u64,
    pub(super) planned: Option<Planned>,
}

/// Gives every partition its place and plans every filesystem for it.
pub(super) fn place(mut drafted: Drafted) -> Result<Disk> {
    let trees: Vec<Arc<Tree>> =
        drafted.drafts.iter_mut().map(|draft| Ok(Arc::new(draft.tree.take().map_or_else(|| TreeBuilder::new().freeze(), Ok)?))).collect::<Result<_>>()?;
    let mut notes = Vec::new();
    let (places, disk_bytes) = keep::chosen_places(&drafted, &trees, &mut notes)?;
    drafted.notes.extend(notes);
    let mut known = Vec::new();
    let mut parts = Vec::with_capacity(places.len());
    let mut entries = Vec::with_capacity(places.len());
    let mut summaries = Vec::with_capacity(places.len());
    for Placed { draft: at, offset_bytes, size_bytes, planned } in places {
        let draft = &drafted.drafts[at];
        let partition_type = PartitionType::parse(&draft.spec.partition_type, drafted.spec.table, drafted.architecture.map(Architecture::name))?;
        let label = draft.spec.label.clone().unwrap_or_else(|| default_label(draft));
        summaries.push(PartitionSummary {
            number: draft.number,
            partition_type: partition_type.to_string(),
            guid: (drafted.spec.table == TableKind::Gpt).then_some(draft.guid),
            label: (drafted.spec.table == TableKind::Gpt).then(|| label.clone()),
            offset_bytes,
            size_bytes,
            mount_point: draft.spec.mount_point.clone().or_else(|| draft.spec.is_root().then(|| "/".to_string())),
            filesystem: planned.as_ref().map(|planned| planned.summary.clone()),
        });
        entries.push(Partition {
            number: draft.number,
            partition_type,
            guid: draft.guid,
            name: label,
            attributes: draft.spec.attributes,
            offset_bytes,
            size_bytes,
        });
        let other = keep::other_geometry(draft, planned.as_ref().map(|planned| &planned.summary));
        let number = draft.number;
        drafted.notes.extend(other);
        if let Some(Planned { layout, notes, ext4, fat, .. }) = planned {
            drafted.notes.extend(notes);
            known.extend(ext4.map(|layout| (number, Known::PlannedExt4(layout))));
            known.extend(fat.map(|layout| (number, Known::PlannedFat(layout))));
            parts.push(Part { offset_bytes, layout });
        }
    }
    summaries.sort_by_key(|summary| summary.number);
    let table = Table {
        kind: drafted.spec.table,
        disk_guid: drafted.spec.disk_guid.unwrap_or_else(|| Guid::derive(drafted.seed, "disk")),
        signature: signature(&drafted),
        sector_bytes: drafted.spec.sector_bytes,
        disk_bytes,
        partitions: entries,
        boot_code: None,
    };
    Disk::assemble(drafted, &table, Placement { parts, known }, summaries)
}

fn default_label(draft: &Draft) -> String {
    let name = draft.spec.partition_type.as_str();
    if draft.spec.is_root() { "root".into() } else { name.chars().take(partition::NAME_MAX_UNITS).collect() }
}

/// The places of all partitions in disk order, and the size of the disk that is wanted as large as `size` says.
pub(super) fn places(drafted: &Drafted, trees: &[Arc<Tree>], size: DiskSize) -> Result<(Vec<Placed>, u64)> {
    let spec = &drafted.spec;
    let start = if spec.table == TableKind::None { 0 } else { PARTITION_ALIGN_BYTES };
    let filler = filler(drafted);
    // The root last, so that it can grow; a partition that fills the disk after even that.
    let mut order: Vec<usize> = (0..drafted.drafts.len()).filter(|at| Some(*at) != filler).collect();
    order.sort_by_key(|at| drafted.drafts[*at].spec.is_root());

    let mut placed = Vec::with_capacity(order.len() + 1);
    let mut at = start;
    for index in order {
        let draft = &drafted.drafts[index];
        let (size_bytes, planned) = match draft.spec.size {
            PartitionSize::Exact(size) => exact_size(drafted, draft, &trees[index], size, at)?,
            PartitionSize::Auto | PartitionSize::Fill => auto_size(drafted, draft, &trees[index], at)?,
        };
        placed.push(Placed { draft: index, offset_bytes: at, size_bytes, planned });
        let end = at.checked_add(size_bytes).filter(|end| *end <= DISK_MAX_BYTES);
        at = align_up(end.ok_or_else(|| Error::limit(format!("partitions of over {} together", Size::bytes(DISK_MAX_BYTES))))?, PARTITION_ALIGN_BYTES);
    }
    let rest = Rest { drafted, trees, placed: &placed, before: at, filler, tail: tail_bytes(drafted)? };
    let (last, disk_bytes) = match size {
        DiskSize::Exact(size) => (rest.of_exact_disk(size.as_bytes())?, size.as_bytes()),
        DiskSize::Auto => rest.of_smallest_disk()?,
    };
    placed.extend(last);
    Ok((placed, disk_bytes))
}

/// The partition that takes what the others leave: the one that says so, else a root without a size, else the only
/// one of a disk without a table, which is the disk.
pub(super) fn filler(drafted: &Drafted) -> Option<usize> {
    let position = |wanted: &dyn Fn(&PartitionSpec) -> bool| drafted.drafts.iter().position(|draft| wanted(&draft.spec));
    position(&|spec| spec.size == PartitionSize::Fill)
        .or_else(|| position(&|spec| spec.is_root() && spec.size == PartitionSize::Auto))
        .or_else(|| position(&|spec| drafted.spec.table == TableKind::None && spec.size == PartitionSize::Auto))
}

/// What the table takes at the end of a disk, which does not depend on the disk's size.
pub(super) fn tail_bytes(drafted: &Drafted) -> Result<u64> {
    Ok(GIB - partition::usable_bytes(drafted.spec.table, drafted.spec.sector_bytes, GIB)?.end)
}

/// Free space that somebody asked for in a partition; what is asked of the disk is meant for the one that fills it.
pub(super) fn free_asked_of(drafted: &Drafted, at: usize) -> Option<u64> {
    let of_disk = drafted.spec.free.filter(|_| filler(drafted) == Some(at));
    drafted.drafts[at].spec.free.or(of_disk).map(Size::as_bytes)
}

/// What is left of a disk behind the partitions whose sizes are known.
struct Rest<'a> {
    drafted: &'a Drafted,
    trees: &'a [Arc<Tree>],
    placed: &'a [Placed],
    /// Where it begins.
    before: u64,
    filler: Option<usize>,
    /// What the table takes at the end.
    tail: u64,
}

impl Rest<'_> {
    /// Free space that somebody asked for, which an exact size must have too.
    fn free_asked(&self) -> Option<u64> {
        free_asked_of(self.drafted, self.filler?)
    }

    /// The end of the last partition on a disk of `disk_bytes`.
    fn end(&self, disk_bytes: u64) -> u64 {
        if self.drafted.spec.table == TableKind::None { disk_bytes } else { align_down(disk_bytes.saturating_sub(self.tail), PARTITION_ALIGN_BYTES) }
    }

    /// The size of the smallest disk, and its last filesystem.
    fn needed(&self, free_bytes: u64) -> Result<(u64, Option<Planned>)> {
        let Some(filler) = self.filler else { return Ok((self.before + self.tail, None)) };
        let planned = plan_filesystem(self.drafted, &self.drafted.drafts[filler], &self.trees[filler], Asked::Minimum { free_bytes }, self.before)?;
        let minimum = planned.as_ref().map_or(MIB, |planned| planned.summary.size_bytes);
        let minimum = if self.drafted.spec.table == TableKind::None { minimum } else { align_up(minimum, PARTITION_ALIGN_BYTES) };
        Ok((self.before + minimum + self.tail, planned))
    }

    /// The smallest disk with the free space that is wanted, and what fills its rest.
    fn of_smallest_disk(&self) -> Result<(Option<Placed>, u64)> {
        let step = self.drafted.spec.align_size.as_bytes();
        let free = self.free_asked().unwrap_or(DEFAULT_FREE.as_bytes());
        let disk_bytes = align_up(self.needed(free)?.0, step);
        let Some(filler) = self.filler else { return Ok((None, disk_bytes)) };
        let plan = |disk_bytes: u64| self.plan_rest(filler, disk_bytes, free);
        let (disk_bytes, planned) = grow_until_free(disk_bytes, step, free, plan)?;
        Ok((Some(self.placed(filler, disk_bytes, planned)), disk_bytes))
    }

    /// What fills the rest of a disk of `disk_bytes`.
    fn of_exact_disk(&self, disk_bytes: u64) -> Result<Option<Placed>> {
        let end = self.end(disk_bytes);
        if self.before > end || (self.filler.is_some() && self.before == end) {
            return Err(self.too_small(disk_bytes));
        }
        let Some(filler) = self.filler else { return Ok(None) };
        let planned = self.plan_rest(filler, disk_bytes, self.free_asked().unwrap_or(0)).map_err(|error| match error.kind() {
            ErrorKind::TooSmall { .. } => self.too_small(disk_bytes),
            _ => error,
        })?;
        if shortage(planned.as_ref(), self.free_asked().unwrap_or(0)).is_some() {
            return Err(self.too_small(disk_bytes));
        }
        Ok(Some(self.placed(filler, disk_bytes, planned)))
    }

    fn plan_rest(&self, filler: usize, disk_bytes: u64, free_bytes: u64) -> Result<Option<Planned>> {
        let size = Asked::Exact { size_bytes: self.end(disk_bytes) - self.before, free_bytes };
        plan_filesystem(self.drafted, &self.drafted.drafts[filler], &self.trees[filler], size, self.before)
    }

    fn placed(&self, filler: usize, disk_bytes: u64, planned: Option<Planned>) -> Placed {
        Placed { draft: filler, offset_bytes: self.before, size_bytes: self.end(disk_bytes) - self.before, planned }
    }

    /// What is needed, what there is, and what takes it.
    fn too_small(&self, available: u64) -> Error {
        let free = self.free_asked().unwrap_or(0);
        let (needed, last) = match self.needed(free) {
            Ok(needed) => needed,
            Err(error) => return error,
        };
        // The journal grows in steps, so that the smallest size may lie above one that was tried.
        let needed = needed.max(available + u64::from(self.drafted.spec.sector_bytes));
        let sized = |at: usize, bytes: u64| {
            let draft = &self.drafted.drafts[at];
            format!("partition {} ({}) {}", draft.number, draft.spec.partition_type, Size::bytes(bytes))
        };
        let mut takes: Vec<String> = self.placed.iter().map(|placed| sized(placed.draft, placed.size_bytes)).collect();
        if let Some(filler) = self.filler {
            let parts = last.iter().flat_map(|planned| &planned.summary.parts).map(|part| format!("{} {}", part.what, Size::bytes(part.bytes)));
            let parts: Vec<String> = parts.chain((free > 0).then(|| format!("free space {}", Size::bytes(free)))).collect();
            let bytes = needed - self.before - self.tail;
            let name = if self.drafted.spec.table == TableKind::None { format!("the filesystem {}", Size::bytes(bytes)) } else { sized(filler, bytes) };
            takes.push(if parts.is_empty() { name } else { format!("{name} ({})", parts.join(", ")) });
        }
        if self.drafted.spec.table != TableKind::None {
            takes.push(format!("the partition table {}", Size::bytes(PARTITION_ALIGN_BYTES + self.tail)));
        }
        let message = format!(
            "the disk has {} ({available} bytes) and {} ({needed} bytes) are needed: {}",
            Size::bytes(available),
            Size::bytes(needed),
            takes.join(", ")
        );
        Error::new(ErrorKind::TooSmall { needed, available }, message)
    }
}

/// How much of `free_bytes` a filesystem lacks; `None` where it has them.
pub(super) fn shortage(planned: Option<&Planned>, free_bytes: u64) -> Option<u64> {
    free_bytes.checked_sub(planned?.summary.free_bytes).filter(|short| *short > 0)
}

/// Grows `size_bytes` in multiples of `step` until what `plan` makes of it has `free_bytes` free. A size that was rounded
/// up may have less than the smallest one, because the journal grows in steps with the filesystem.
fn grow_until_free(mut size_bytes: u64, step: u64, free_bytes: u64, plan: impl Fn(u64) -> Result<Option<Planned>>) -> Result<(u64, Option<Planned>)> {
    for _ in 0..GROWTH_STEPS_MAX {
        let planned = plan(size_bytes)?;
        let Some(short) = shortage(planned.as_ref(), free_bytes) else { return Ok((size_bytes, planned)) };
        size_bytes = size_bytes.checked_add(align_up(short, step)).ok_or_else(|| Error::limit("a disk of over 2^64 bytes"))?;
    }
    Err(Error::limit(format!("no size was found that leaves {} free", Size::bytes(free_bytes))))
}

/// The size that was asked for, which must have the free space that was asked for.
fn exact_size(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, size: Size, offset_bytes: u64) -> Result<(u64, Option<Planned>)> {
    let bytes = size.as_bytes();
    if bytes == 0 || !bytes.is_multiple_of(u64::from(drafted.spec.sector_bytes)) {
        return Err(Error::invalid(format!(
            "partition {} of {bytes} bytes; a multiple of the sector size of {}, not 0, was expected",
            draft.number, drafted.spec.sector_bytes
        )));
    }
    let named = |error: Error| error.within(format_args!("partition {} ({})", draft.number, draft.spec.partition_type));
    let free = draft.spec.free.unwrap_or_default();
    let planned = plan_filesystem(drafted, draft, tree, Asked::Exact { size_bytes: bytes, free_bytes: free.as_bytes() }, offset_bytes).map_err(named)?;
    if let Some(short) = shortage(planned.as_ref(), free.as_bytes()) {
        let kind = ErrorKind::TooSmall { needed: bytes.saturating_add(short), available: bytes };
        return Err(named(Error::new(kind, format!("{size} ({bytes} bytes) leave {} free, and {free} were asked for", Size::bytes(free.as_bytes() - short)))));
    }
    Ok((bytes, planned))
}

/// What a partition needs: an ESP twice its contents and at least [`ESP_MIN_BYTES`], others their free space too.
fn auto_size(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, offset_bytes: u64) -> Result<(u64, Option<Planned>)> {
    let plan = |asked: Asked| plan_filesystem(drafted, draft, tree, asked, offset_bytes);
    let free = draft.spec.free.unwrap_or_default().as_bytes();
    let first = match plan(Asked::Minimum { free_bytes: free })? {
        Some(smallest) if draft.spec.is_esp() => {
            let twice = smallest.summary.used_bytes.saturating_mul(2).max(ESP_MIN_BYTES);
            align_up(twice.max(smallest.summary.size_bytes), PARTITION_ALIGN_BYTES)
        }
        Some(smallest) => align_up(smallest.summary.size_bytes, PARTITION_ALIGN_BYTES),
        None if draft.spec.partition_type == "bios-boot" => return Ok((MIB, None)),
        None => {
            return Err(Error::invalid(format!("partition {} ({}) has no filesystem, so its size has to be given", draft.number, draft.spec.partition_type)));
        }
    };
    grow_until_free(first, PARTITION_ALIGN_BYTES, free, |size_bytes| plan(Asked::Exact { size_bytes, free_bytes: free }))
}

pub(super) fn plan_filesystem(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, asked: Asked, offset_bytes: u64) -> Result<Option<Planned>> {
    let options = match &draft.filesystem {
        Filesystem::None if tree.entry_count() > 0 => {
            return Err(Error::invalid(format!("partition {} ({}) has contents but no filesystem", draft.number, draft.spec.partition_type)));
        }
        Filesystem::None => return Ok(None),
        Filesystem::Ext4(settings) => fs::Options::Ext4(ext4_options(drafted, draft, settings, asked)),
        Filesystem::Fat(settings) => fs::Options::Fat(fat_options(drafted, draft, settings, asked, offset_bytes)),
    };
    fs::plan(tree, &options).map(Some)
}

fn ext4_options(drafted: &Drafted, draft: &Draft, settings: &Ext4Settings, asked: Asked) -> ext4::Options {
    let mut options = ext4::Options::new(
        ext4_uuid(drafted, draft, settings),
        settings.hash_seed.unwrap_or_else(|| drafted.derive(draft.number, "hash seed")),
        drafted.spec.epoch,
    );
    options.size = match asked {
        Asked::Exact { size_bytes, free_bytes: 0 } => ext4::SizeRequest::Exact(size_bytes),
        Asked::Exact { size_bytes, free_bytes } => ext4::SizeRequest::ExactWithFree { size_bytes, free_bytes },
        Asked::Minimum { free_bytes } => ext4::SizeRequest::Minimum { free_bytes },
    };
    options.label = ext4_label(draft, settings).into_bytes();
    options.parent = draft.parent.as_ref().and_then(|parent| parent.ext4.clone()).filter(|_| !drafted.spec.repack);
    options.packing = settings.packing.unwrap_or(drafted.spec.packing);
    options.journal = settings.journal;
    options.lazy_inode_tables = settings.lazy_inode_tables;
    options.features = settings.features;
    options.blocks_per_group = settings.blocks_per_group;
    options.reserved_owner = settings.reserved_owner.unwrap_or_default();
    options.order.clone_from(&draft.order);
    options.preallocate = settings.preallocate.iter().map(|path| path.as_bytes().to_vec()).collect();
    options.inodes = settings.inodes;
    options.bytes_per_inode = settings.bytes_per_inode;
    if let Some(block_bytes) = settings.block_bytes {
        options.block_bytes = block_bytes;
    }
    if let Some(inode_bytes) = settings.inode_bytes {
        options.inode_bytes = inode_bytes;
    }
    if let Some(percent) = settings.reserved {
        options.reserved = percent;
    }
    options
}

fn fat_options(drafted: &Drafted, draft: &Draft, settings: &FatSettings, asked: Asked, offset_bytes: u64) -> fat::Options {
    let mut options = fat::Options::new();
    options.volume_id = fat_volume_id(drafted, draft, settings).0;
    options.epoch = drafted.spec.epoch;
    options.size = match asked {
        Asked::Exact { size_bytes, .. } => fat::SizeRequest::Exact(size_bytes),
        Asked::Minimum { free_bytes } => fat::SizeRequest::Minimum { free_bytes },
    };
    options.label = settings.label.clone().unwrap_or_else(|| if draft.spec.is_esp() { "ESP".into() } else { String::new() });
    options.kind = settings.kind;
    options.order.clone_from(&draft.order);
    options.parent = draft.parent.as_ref().and_then(|parent| parent.fat.clone()).filter(|_| !drafted.spec.repack);
    options.cluster_bytes = settings.cluster_bytes;
    options.sector_bytes = drafted.spec.sector_bytes;
    options.hidden_sectors = u32::try_from(offset_bytes / u64::from(drafted.spec.sector_bytes)).unwrap_or(0);
    options
}
