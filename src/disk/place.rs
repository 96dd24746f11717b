//! Sizes and places: where each partition begins, how large its filesystem is, how large the disk.

use super::plan::{Draft, Drafted};
use super::spec::{DiskSize, ESP_MIN_BYTES, Ext4Settings, FatSettings, Filesystem, PARTITION_ALIGN_BYTES, PartitionSize};
use super::{Disk, Part};
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

/// UTF-16 units in the name of a GPT entry (UEFI specification 2.10, table 5-6).
const NAME_MAX_UNITS: usize = 36;

/// How large a filesystem is asked to be.
#[derive(Clone, Copy)]
enum Asked {
    /// This size, with so much free in it.
    Exact {
        size_bytes: u64,
        free_bytes: u64,
    },
    Minimum {
        free_bytes: u64,
    },
}

/// A partition with its place.
struct Placed {
    draft: usize,
    offset_bytes: u64,
    size_bytes: u64,
    /// What was promised to be free, where the size was chosen for it: rounding the size up must not make it less.
    free_bytes: u64,
}

/// Gives every partition its place and plans every filesystem for it.
pub(super) fn place(mut drafted: Drafted) -> Result<Disk> {
    let trees: Vec<Arc<Tree>> =
        drafted.drafts.iter_mut().map(|draft| Ok(Arc::new(draft.tree.take().map_or_else(|| TreeBuilder::new().freeze(), Ok)?))).collect::<Result<_>>()?;
    let (places, disk_bytes) = places(&drafted, &trees)?;
    let mut parts = Vec::with_capacity(places.len());
    let mut entries = Vec::with_capacity(places.len());
    let mut summaries = Vec::with_capacity(places.len());
    for Placed { draft: at, offset_bytes, size_bytes, free_bytes } in places {
        let draft = &drafted.drafts[at];
        let planned = plan_filesystem(&drafted, draft, &trees[at], Asked::Exact { size_bytes, free_bytes }, offset_bytes)?;
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
        if let Some(Planned { layout, notes, .. }) = planned {
            drafted.notes.extend(notes);
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
    Disk::assemble(drafted, &table, parts, summaries)
}

fn default_label(draft: &Draft) -> String {
    let name = draft.spec.partition_type.as_str();
    if draft.spec.is_root() { "root".into() } else { name.chars().take(NAME_MAX_UNITS).collect() }
}

/// The places of all partitions in disk order, and the size of the disk.
fn places(drafted: &Drafted, trees: &[Arc<Tree>]) -> Result<(Vec<Placed>, u64)> {
    let spec = &drafted.spec;
    // What the table takes at the end of a disk does not depend on the disk's size.
    let tail = GIB - partition::usable_bytes(spec.table, spec.sector_bytes, GIB)?.end;
    let start = if spec.table == TableKind::None { 0 } else { PARTITION_ALIGN_BYTES };
    // The root last, so that it can grow; a partition that fills the disk after even that.
    let fills = |draft: &Draft| draft.spec.size == PartitionSize::Fill;
    let filler = drafted
        .drafts
        .iter()
        .position(fills)
        .or_else(|| drafted.drafts.iter().position(|draft| draft.spec.is_root() && draft.spec.size == PartitionSize::Auto));
    let mut order: Vec<usize> = (0..drafted.drafts.len()).collect();
    order.sort_by_key(|at| (Some(*at) == filler, drafted.drafts[*at].spec.is_root()));

    let mut placed = Vec::with_capacity(order.len());
    let mut at = start;
    for index in order {
        let draft = &drafted.drafts[index];
        if Some(index) == filler {
            break;
        }
        let (size_bytes, free_bytes) = match draft.spec.size {
            PartitionSize::Exact(size) => (exact_size(drafted, draft, size)?, 0),
            PartitionSize::Auto | PartitionSize::Fill => (auto_size(drafted, draft, &trees[index], at)?, draft.spec.free.unwrap_or_default().as_bytes()),
        };
        placed.push(Placed { draft: index, offset_bytes: at, size_bytes, free_bytes });
        at = align_up(at + size_bytes, PARTITION_ALIGN_BYTES);
    }
    let before = at;
    let needed = |free: u64| -> Result<u64> {
        let Some(filler) = filler else { return Ok(before + tail) };
        let draft = &drafted.drafts[filler];
        let minimum = match minimum(drafted, draft, &trees[filler], before, free)? {
            Some(bytes) if spec.table == TableKind::None => bytes,
            Some(bytes) => align_up(bytes, PARTITION_ALIGN_BYTES),
            None => MIB,
        };
        Ok(before + minimum + tail)
    };
    let free_bytes = match spec.size {
        DiskSize::Exact(_) => 0,
        DiskSize::Auto => filler.map_or(0, |filler| drafted.drafts[filler].spec.free.unwrap_or(spec.free).as_bytes()),
    };
    let disk_bytes = match spec.size {
        DiskSize::Exact(size) => size.as_bytes(),
        DiskSize::Auto => align_up(needed(free_bytes)?, spec.align_size.as_bytes()),
    };
    let end = match spec.table {
        TableKind::None => disk_bytes,
        _ => align_down(disk_bytes.saturating_sub(tail), PARTITION_ALIGN_BYTES),
    };
    let too_small = || -> Error {
        match needed(0) {
            Ok(needed) => disk_too_small(drafted, needed, disk_bytes),
            Err(error) => error,
        }
    };
    if before > end || (filler.is_some() && before == end) {
        return Err(too_small());
    }
    if let Some(filler) = filler {
        if matches!(spec.size, DiskSize::Exact(_)) && needed(0)? > align_up(disk_bytes, PARTITION_ALIGN_BYTES) {
            return Err(too_small());
        }
        placed.push(Placed { draft: filler, offset_bytes: before, size_bytes: end - before, free_bytes });
    }
    Ok((placed, disk_bytes))
}

fn disk_too_small(drafted: &Drafted, needed: u64, available: u64) -> Error {
    let what: Vec<String> = drafted.drafts.iter().map(|draft| format!("partition {} ({})", draft.number, draft.spec.partition_type)).collect();
    Error::new(
        ErrorKind::TooSmall { needed, available },
        format!(
            "the disk has {} ({available} bytes), and {} ({needed} bytes) are needed for {} and the partition table",
            Size::bytes(available),
            Size::bytes(needed),
            what.join(", ")
        ),
    )
}

fn exact_size(drafted: &Drafted, draft: &Draft, size: Size) -> Result<u64> {
    let bytes = size.as_bytes();
    if bytes == 0 || !bytes.is_multiple_of(u64::from(drafted.spec.sector_bytes)) {
        return Err(Error::invalid(format!(
            "partition {} of {bytes} bytes; a multiple of the sector size of {}, not 0, was expected",
            draft.number, drafted.spec.sector_bytes
        )));
    }
    Ok(bytes)
}

/// What a partition needs: an ESP twice its contents and at least [`ESP_MIN_BYTES`], others their free space too.
fn auto_size(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, offset_bytes: u64) -> Result<u64> {
    if draft.spec.is_esp() {
        let twice = Asked::Minimum { free_bytes: 0 };
        let used = plan_filesystem(drafted, draft, tree, twice, offset_bytes)?.map_or(0, |planned| planned.summary.used_bytes);
        return Ok(align_up(used * 2, PARTITION_ALIGN_BYTES).max(ESP_MIN_BYTES));
    }
    let free = draft.spec.free.unwrap_or_default().as_bytes();
    match minimum(drafted, draft, tree, offset_bytes, free)? {
        Some(bytes) => Ok(align_up(bytes, PARTITION_ALIGN_BYTES)),
        None if draft.spec.partition_type == "bios-boot" => Ok(MIB),
        None => Err(Error::invalid(format!("partition {} ({}) has no filesystem, so its size has to be given", draft.number, draft.spec.partition_type))),
    }
}

/// The smallest filesystem for a partition; `None` where it has none.
fn minimum(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, offset_bytes: u64, free_bytes: u64) -> Result<Option<u64>> {
    Ok(plan_filesystem(drafted, draft, tree, Asked::Minimum { free_bytes }, offset_bytes)?.map(|planned| planned.summary.size_bytes))
}

fn plan_filesystem(drafted: &Drafted, draft: &Draft, tree: &Arc<Tree>, asked: Asked, offset_bytes: u64) -> Result<Option<Planned>> {
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
    options.journal = settings.journal;
    options.lazy_inode_tables = settings.lazy_inode_tables;
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
    options.cluster_bytes = settings.cluster_bytes;
    options.sector_bytes = drafted.spec.sector_bytes;
    options.hidden_sectors = u32::try_from(offset_bytes / u64::from(drafted.spec.sector_bytes)).unwrap_or(0);
    options
}
