//! From a [`DiskSpec`] to a [`Disk`]: trees, identifiers, filesystems, places.
//!
//! ```text
//! sources ─► one content store, trees ─► mended, boot files laid in, mount points taken out     gather, boot
//!                                    ─► labelled                                               label
//! the boot order ─► its part of each filesystem                                                order
//!         ─► each filesystem planned ─► sizes ─► places ─► partition table ─► Disk               place
//! ```
//! Pure but for the heads of kernels and loaders, which say for which architecture the disk is.

use super::parent::ParentPartition;
use super::place::{identities, place};
use super::spec::{BootMode, DEFAULT_FREE, DiskSize, DiskSpec, Filesystem, FilesystemKind, PartitionSize, PartitionSpec};
use super::{Disk, keep, label, order};
use crate::boot::{self, Architecture};
use crate::content::ContentStore;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::OrderedPath;
use crate::fs::ext4::{self, Feature};
use crate::guid::Guid;
use crate::labels::FileContexts;
use crate::partition::TableKind;
use crate::report::{BootSummary, PartitionSummary};
use crate::source::{self, Source, SourceDisk};
use crate::tree::{Metadata, NewNode, Timestamp, Tree, TreeBuilder};
use std::path::PathBuf;
use std::sync::Arc;

/// A partition on its way to a place.
pub(super) struct Draft {
    pub(super) spec: PartitionSpec,
    pub(super) number: u32,
    pub(super) guid: Guid,
    pub(super) filesystem: Filesystem,
    pub(super) tree: Option<Tree>,
    /// The parent's partition that this one is.
    pub(super) parent: Option<ParentPartition>,
    /// What of it is read first at boot.
    pub(super) order: Vec<OrderedPath>,
}

/// Everything that is decided before sizes.
pub(super) struct Drafted {
    pub(super) spec: DiskSpec,
    pub(super) seed: Guid,
    pub(super) drafts: Vec<Draft>,
    /// SELinux policies, for each draft that has one.
    pub(super) labels: Vec<Option<Arc<FileContexts>>>,
    pub(super) store: ContentStore,
    pub(super) sources: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) boot: Option<BootSummary>,
    /// Files and directories that were read, which no output may overwrite.
    pub(super) inputs: Vec<PathBuf>,
    /// Of the kernel, else as asked for.
    pub(super) architecture: Option<Architecture>,
    bootable: bool,
}

impl Drafted {
    /// An identifier of partition `number`.
    pub(super) fn derive(&self, number: u32, role: &str) -> Guid {
        Guid::derive(self.seed, &format!("partition {number} {role}"))
    }
}

/// Plans a disk.
pub(super) fn plan(spec: DiskSpec) -> Result<Disk> {
    check(&spec)?;
    let mut drafted = draft(spec)?;
    if drafted.bootable {
        make_bootable(&mut drafted)?;
    }
    label::complete(&mut drafted)?;
    take_mount_points(&mut drafted)?;
    label::apply(&mut drafted)?;
    order::split(&mut drafted)?;
    place(drafted)
}

/// What can be refused before anything is looked at.
fn check(spec: &DiskSpec) -> Result<()> {
    if !matches!(spec.sector_bytes, 512 | 4096) {
        return Err(Error::invalid(format!("a sector size of {}; 512 and 4096 are possible", spec.sector_bytes)));
    }
    if spec.align_size.as_bytes() == 0 || !spec.align_size.as_bytes().is_multiple_of(u64::from(spec.sector_bytes)) {
        return Err(Error::invalid(format!("the disk's size cannot be aligned to {}; a multiple of the sector size was expected", spec.align_size)));
    }
    if let DiskSize::Exact(size) = spec.size
        && !size.as_bytes().is_multiple_of(u64::from(spec.sector_bytes))
    {
        return Err(Error::invalid(format!("a disk of {} bytes; a multiple of the sector size of {} was expected", size.as_bytes(), spec.sector_bytes)));
    }
    if spec.table == TableKind::None && spec.partitions.len() > 1 {
        return Err(Error::invalid(format!("{} partitions on a disk without a partition table; it is one filesystem", spec.partitions.len())));
    }
    if spec.partitions.iter().filter(|partition| partition.size == PartitionSize::Fill).count() > 1 {
        return Err(Error::invalid("two partitions fill the disk; one can"));
    }
    if spec.partitions.iter().filter(|partition| partition.is_root()).count() > 1 {
        return Err(Error::invalid("two root partitions; a disk has one"));
    }
    if spec.root.is_none() && spec.partitions.is_empty() {
        return Err(Error::invalid("nothing to make a disk of: a source or partitions were expected"));
    }
    Ok(())
}

/// Collects sources, decides whether the disk boots, and gives partitions their numbers and identifiers.
fn draft(mut spec: DiskSpec) -> Result<Drafted> {
    let mut partitions = std::mem::take(&mut spec.partitions);
    let mut notes = Vec::new();
    keep::inherit(&mut spec, &mut notes)?;
    let mut gathered = Gathered { inputs: std::mem::take(&mut spec.inputs), notes, ..Gathered::default() };
    let root_source = partitions.iter().find(|partition| partition.is_root()).and_then(|partition| partition.source.as_ref()).or(spec.root.as_ref());
    let kept = root_source.and_then(|source| source.disk.clone());
    let mut root = spec.root.take().map(|source| gathered.add(source)).transpose()?;
    let mut trees = Vec::with_capacity(partitions.len());
    for partition in &mut partitions {
        let tree = partition.source.take().map(|source| gathered.add(source)).transpose()?;
        if partition.is_root() {
            root = tree.or(root);
            trees.push(None);
        } else {
            trees.push(tree);
        }
    }
    let given = !partitions.is_empty();
    let architecture = architecture_of(&spec, root.as_ref(), &partitions, &mut gathered)?;
    if !given {
        partitions = default_partitions(architecture.is_some(), spec.table);
        trees = partitions.iter().map(|_| None).collect();
    }
    let parents = keep::matched(&spec, &mut partitions, architecture.or(spec.boot.architecture));
    keep::keep_identifiers(&mut spec, &mut partitions, &parents);
    if let Some(kept) = kept.filter(|_| spec.seed.is_none()) {
        keep_identifiers(&mut spec, &mut partitions, &kept);
    }
    if let Some(mut tree) = root {
        let at = partitions.iter().position(PartitionSpec::is_root).or_else(|| (partitions.len() == 1).then_some(0));
        let at = at.ok_or_else(|| Error::invalid("a source for the root, but no partition of type root or with the mount point /"))?;
        if architecture.is_some() {
            let mut builder = TreeBuilder::from_tree(tree);
            gathered.notes.extend(boot::mend(&mut builder, spec.epoch)?);
            tree = builder.freeze()?;
        }
        trees[at] = Some(tree);
    }
    let labels = label::load(&partitions, &mut gathered.inputs)?;
    let seed = seed(&spec, &partitions, &labels, &trees);
    let drafts = number(partitions.into_iter().zip(parents), trees, spec.table, seed);
    let Gathered { store, sources, notes, inputs } = gathered;
    let architecture_asked = spec.boot.architecture;
    Ok(Drafted {
        spec,
        seed,
        drafts,
        labels,
        store,
        sources,
        notes,
        inputs,
        boot: None,
        bootable: architecture.is_some(),
        architecture: architecture.or(architecture_asked),
    })
}

/// Gives the disk the identifiers of the image that its root was read from, where it is not given others: what the system knows
/// itself by, in its fstab and its boot loader's configuration, stays right.
fn keep_identifiers(spec: &mut DiskSpec, partitions: &mut [PartitionSpec], kept: &SourceDisk) {
    if spec.table == TableKind::Gpt {
        spec.disk_guid = spec.disk_guid.or(kept.summary.guid);
    }
    if spec.table == TableKind::Mbr {
        spec.signature = spec.signature.or(kept.summary.signature);
    }
    let only = partitions.len() == 1;
    for partition in partitions {
        let from = match &kept.esp {
            _ if partition.is_root() || only => &kept.root,
            Some(esp) if partition.is_esp() => esp,
            _ => continue,
        };
        keep_partition(partition, from, None);
    }
}

/// Gives a partition and its filesystem the identifiers and labels of an older one, where they are not given others.
pub(super) fn keep_partition(partition: &mut PartitionSpec, from: &PartitionSummary, hash_seed: Option<Guid>) {
    partition.guid = partition.guid.or(from.guid);
    partition.label = partition.label.take().or_else(|| from.label.clone().filter(|label| !label.is_empty()));
    let Some(old) = &from.filesystem else { return };
    let mut filesystem = partition.filesystem.take().unwrap_or_else(|| FilesystemKind::usual_for(&partition.partition_type).into());
    match &mut filesystem {
        Filesystem::Ext4(settings) => {
            settings.uuid = settings.uuid.or(old.uuid.parse().ok());
            settings.hash_seed = settings.hash_seed.or(hash_seed);
            // A label that is no text is shown escaped, which is not what it is.
            let fits = |label: &String| !label.contains('\\') && label.len() <= ext4::LABEL_MAX_BYTES;
            settings.label = settings.label.take().or_else(|| Some(old.label.clone()).filter(fits));
        }
        Filesystem::Fat(settings) => {
            settings.volume_id = settings.volume_id.or(old.uuid.parse().ok());
            settings.label = settings.label.take().or_else(|| Some(old.label.clone()).filter(|label| fits_fat(label)));
        }
        Filesystem::None => {}
    }
    partition.filesystem = Some(filesystem);
}

/// Whether a label that a FAT has is one that is written here.
fn fits_fat(label: &str) -> bool {
    !label.is_empty() && label.len() <= 11 && label.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" -_".contains(&byte))
}

/// All sources of a disk in one content store.
#[derive(Default)]
struct Gathered {
    store: ContentStore,
    sources: Vec<String>,
    notes: Vec<String>,
    inputs: Vec<PathBuf>,
}

impl Gathered {
    fn add(&mut self, source: Source) -> Result<Tree> {
        let Source { mut tree, contents, description, notes, paths, damage, unreadable, .. } = source;
        self.notes.extend(damage.iter().chain(&unreadable).map(|error| format!("left out, at least in part: {error}")));
        tree.raise_contents(self.store.add_store(&contents)?)?;
        self.sources.push(description);
        self.notes.extend(notes);
        self.inputs.extend(paths);
        Ok(tree)
    }
}

/// For which architecture the disk boots; `None` for a data disk.
fn architecture_of(spec: &DiskSpec, root: Option<&Tree>, partitions: &[PartitionSpec], gathered: &mut Gathered) -> Result<Option<Architecture>> {
    // A root-typed partition, or an architecture for the AMI, means a disk that boots.
    let meant = match spec.boot_mode {
        BootMode::None => return Ok(None),
        BootMode::Uefi => true,
        BootMode::Auto => spec.boot.architecture.is_some() || partitions.iter().any(PartitionSpec::is_root),
    };
    let Some(tree) = root else {
        let no_root = || Error::new(ErrorKind::NotBootable, "a bootable disk was asked for, but no partition holds a root filesystem");
        return if meant { Err(no_root()) } else { Ok(None) };
    };
    let found = boot::find(tree, &gathered.store, &spec.boot)?;
    if !meant && !found.has_kernel() {
        gathered.notes.push("no kernel in the tree, so this is a data disk (--boot none says that it is meant to be one)".into());
        return Ok(None);
    }
    if !found.is_bootable(&spec.boot) {
        // A contradiction of the options says more than that nothing boots.
        found.architecture(&spec.boot)?;
        return Err(found.not_bootable(&spec.boot));
    }
    source::check_owners(tree)?;
    found.architecture(&spec.boot)
}

fn default_partitions(bootable: bool, table: TableKind) -> Vec<PartitionSpec> {
    let filling = |name| PartitionSpec { size: PartitionSize::Fill, ..PartitionSpec::new(name) };
    if bootable && table != TableKind::None { vec![PartitionSpec::new("esp"), filling("root")] } else { vec![filling("linux")] }
}

/// The given seed, else that of the name, else one over the trees and what shapes the disk.
fn seed(spec: &DiskSpec, partitions: &[PartitionSpec], labels: &[Option<Arc<FileContexts>>], trees: &[Option<Tree>]) -> Guid {
    use sha2::{Digest as _, Sha256};
    if let Some(seed) = spec.seed {
        return seed;
    }
    if let Some(name) = &spec.name {
        return Guid::from_name(name);
    }
    let mut hash = Sha256::new();
    // Text forms, as recipes have them: an image's identifiers must not hang on how a type prints for debugging.
    let Timestamp { seconds, nanoseconds } = spec.epoch;
    let (align, free) = (spec.align_size.exact(), spec.free.unwrap_or(DEFAULT_FREE).exact());
    hash.update(format!("rootvol disk 1 {} {} {} {align} {free} {seconds}.{nanoseconds:09}\n", spec.table, spec.sector_bytes, spec.size));
    for ((partition, policy), tree) in partitions.iter().zip(labels).zip(trees) {
        let PartitionSpec { number, partition_type, label, attributes, size, filesystem, mount_point, free, .. } = partition;
        let filesystem = label::for_seed(filesystem.as_ref(), policy.as_deref());
        let shape = serde_json::to_vec(&(number, partition_type, label, attributes, size, filesystem, mount_point, free));
        hash.update(shape.expect("numbers, strings and lists, which JSON has"));
        hash.update(tree.as_ref().map_or([0; 32], Tree::digest));
    }
    Guid::from_digest(&hash.finalize().into())
}

/// Gives every partition its number, its filesystem and its GUID.
fn number(partitions: impl Iterator<Item = (PartitionSpec, Option<ParentPartition>)>, trees: Vec<Option<Tree>>, table: TableKind, seed: Guid) -> Vec<Draft> {
    let partitions: Vec<_> = partitions.collect();
    let mut taken: Vec<u32> = partitions.iter().filter_map(|(partition, _)| partition.number).collect();
    let mut drafts = Vec::with_capacity(partitions.len());
    for ((mut spec, parent), tree) in partitions.into_iter().zip(trees) {
        let number = match spec.number {
            Some(number) => number,
            None if table == TableKind::None => 0,
            None => {
                let free = (1..).find(|number| !taken.contains(number)).unwrap_or(1);
                taken.push(free);
                free
            }
        };
        let filesystem = spec.filesystem.take().unwrap_or_else(|| FilesystemKind::usual_for(&spec.partition_type).into());
        let guid = spec.guid.unwrap_or_else(|| Guid::derive(seed, &format!("partition {number}")));
        drafts.push(Draft { spec, number, guid, filesystem, tree, parent, order: Vec::new() });
    }
    drafts
}

/// A partition with a mount point takes what the root's tree has beneath it.
fn take_mount_points(drafted: &mut Drafted) -> Result<()> {
    let Some(root) = drafted.drafts.iter().position(|draft| draft.spec.is_root() && draft.tree.is_some()) else { return Ok(()) };
    // What boots has already taken the ESP's part.
    let taken = |draft: &Draft| draft.spec.is_root() || (drafted.bootable && draft.spec.is_esp());
    let mut points: Vec<(usize, String)> = Vec::new();
    for (at, draft) in drafted.drafts.iter().enumerate().filter(|(_, draft)| !taken(draft)) {
        match draft.spec.mount_point.as_deref() {
            None => {}
            Some(point) if point.starts_with('/') && point.len() > 1 => points.push((at, point.to_string())),
            Some(point) => return Err(Error::invalid(format!("the mount point {point:?} of partition {}; a path beneath / was expected", draft.number))),
        }
    }
    // The deepest first: /var/lib is taken before /var.
    points.sort_by_key(|(_, point)| std::cmp::Reverse(point.split('/').filter(|part| !part.is_empty()).count()));
    for (at, point) in points {
        let Some(tree) = drafted.drafts[root].tree.take() else { continue };
        let (rest, beneath) = tree.split_off(&point)?;
        let mut rest = TreeBuilder::from_tree(rest);
        if rest.get(&point).is_none() {
            rest.add(&point, Metadata { mode: 0o755, mtime: drafted.spec.epoch, ..Metadata::default() }, NewNode::Directory)?;
        }
        drafted.drafts[root].tree = Some(rest.freeze()?);
        let draft = &mut drafted.drafts[at];
        if beneath.is_some() && draft.tree.is_some() {
            return Err(Error::invalid(format!(
                "partition {} has a source of its own, and the root has contents beneath its mount point {point}",
                draft.number
            )));
        }
        draft.tree = beneath.or_else(|| draft.tree.take());
    }
    Ok(())
}

/// Lays the boot files into the trees of the root and the ESP.
fn make_bootable(drafted: &mut Drafted) -> Result<()> {
    let not_bootable = |message: &str| Error::new(ErrorKind::NotBootable, message);
    let esp = drafted.drafts.iter().position(|draft| draft.spec.is_esp());
    let esp = esp.ok_or_else(|| not_bootable("a disk that boots by UEFI has an EFI system partition; a partition of type esp was expected"))?;
    let root = drafted.drafts.iter().position(|draft| draft.spec.is_root() && draft.tree.is_some());
    let root = root.ok_or_else(|| not_bootable("a disk that boots has a root filesystem; a partition of type root with a source was expected"))?;
    let Some(tree) = drafted.drafts[root].tree.take() else { return Ok(()) };
    let taken = drafted.drafts[esp].tree.take();
    let mut options = drafted.spec.boot.clone();
    if let Some(point) = &drafted.drafts[esp].spec.mount_point {
        options.esp_mount_point = Some(point.clone().into_bytes());
    }
    let ids = identities(drafted, root, esp);
    let prepared = boot::prepare(tree, taken.as_ref(), &mut drafted.store, &options, &ids)?;
    // GRUB reads kernels and configuration from the root filesystem, at the paths they have there.
    let elsewhere = |draft: &Draft| draft.spec.mount_point.as_deref().is_some_and(|point| point.trim_matches('/') == "boot");
    if prepared.summary.loader == "grub" && drafted.drafts.iter().any(elsewhere) {
        return Err(Error::unsupported("/boot on a partition of its own with GRUB; keep /boot in the root filesystem, or use systemd-boot"));
    }
    drafted.drafts[root].tree = Some(prepared.root);
    drafted.drafts[esp].tree = Some(prepared.esp);
    drafted.drafts[esp].spec.mount_point = Some(format!("/{}", String::from_utf8_lossy(&prepared.esp_mount_point)));
    drafted.notes.extend(prepared.notes);
    let keeps_quotas = matches!(&drafted.drafts[root].filesystem, Filesystem::Ext4(settings) if settings.features.has(Feature::Quota));
    if keeps_quotas && prepared.summary.cmdline.as_ref().is_some_and(|line| line.split_whitespace().any(|word| word == "rw")) {
        drafted.notes.push("the root keeps quotas, and `rw` mounts it before the kernel has its quota module where that is not built in: `ro` boots".into());
    }
    drafted.boot = Some(prepared.summary);
    Ok(())
}
