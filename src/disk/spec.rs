//! What is wanted of a disk.

use super::{Disk, Parent};
use crate::boot;
use crate::error::{Error, Result};
use crate::fs::{ext4, fat};
use crate::guid::Guid;
use crate::labels;
use crate::order::BootOrder;
use crate::partition::{PartitionType, TableKind};
use crate::source::Source;
use crate::text::{text_form, words};
use crate::tree::Timestamp;
use crate::units::{GIB, MIB, Size};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// The build's own time where nobody gives one: 2000-01-01T00:00:00Z, which FAT and VHD can hold.
pub const DEFAULT_EPOCH: Timestamp = Timestamp::from_seconds(946_684_800);
/// Free space in a root filesystem whose size nobody gives.
pub const DEFAULT_FREE: Size = Size::mib(256);
/// EBS volumes are whole GiB.
pub const DEFAULT_ALIGN_SIZE: Size = Size::bytes(GIB);
/// Partitions begin at multiples of this.
pub const PARTITION_ALIGN_BYTES: u64 = MIB;
/// The smallest ESP that is made without being told its size.
pub const ESP_MIN_BYTES: u64 = 128 * MIB;

/// Whether the disk boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootMode {
    /// By UEFI where the tree has a kernel; a data disk else.
    #[default]
    Auto,
    /// By UEFI, or not at all.
    Uefi,
    /// A data disk.
    None,
}

words!(BootMode, "a boot mode", [Auto = "auto", Uefi = "uefi", None = "none"]);

/// How large a partition is. The text form is `auto`, `fill` or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionSize {
    /// What its contents need.
    #[default]
    Auto,
    /// What the disk has left.
    Fill,
    /// This.
    Exact(Size),
}

impl FromStr for PartitionSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "fill" => Ok(Self::Fill),
            _ => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for PartitionSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fill => f.pad("fill"),
            Self::Exact(size) => f.pad(&size.exact()),
        }
    }
}

text_form!(PartitionSize, "\"auto\", \"fill\" or a size with its unit, such as \"96 MiB\"");

/// Lets `skip_serializing_if` leave out what says nothing.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Settings of an ext4 filesystem; the rest derives from the disk. In a recipe: `[partition.ext4]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Ext4Settings {
    /// Bytes in a block.
    #[serde(rename = "block_size", skip_serializing_if = "Option::is_none")]
    pub block_bytes: Option<u32>,
    /// Bytes in an inode.
    #[serde(rename = "inode_size", skip_serializing_if = "Option::is_none")]
    pub inode_bytes: Option<u16>,
    /// The journal.
    #[serde(skip_serializing_if = "is_default")]
    pub journal: ext4::Journal,
    /// Features: the name of a set, or a list of a set and features by mke2fs's names, with `^` to leave one out.
    #[serde(skip_serializing_if = "is_default")]
    pub features: ext4::Features,
    /// Blocks in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks_per_group: Option<u32>,
    /// At least this many inodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// One inode for so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_inode: Option<u32>,
    /// The share of blocks kept for root.
    #[serde(rename = "reserved_percent", skip_serializing_if = "Option::is_none")]
    pub reserved: Option<ext4::Percent>,
    /// User and group, besides root, who may take the reserved blocks: `[uid, gid]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_owner: Option<(u16, u16)>,
    /// Volume label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Identifier, in place of the derived one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Guid>,
    /// Seed of directory hashes, in place of the derived one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_seed: Option<Guid>,
    /// SELinux labels by this policy's file contexts, for the paths of the running system: those beneath the mount point, which is
    /// `/` where there is none. The root's also hold for ext4 partitions with a mount point and no contents of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_contexts: Option<labels::Origin>,
    /// Leave empty inode tables to the kernel's background work after the first mount.
    #[serde(skip_serializing_if = "is_default")]
    #[serde(alias = "lazy_itable")]
    pub lazy_inode_tables: bool,
    /// How contents lie where neither a parent nor a boot order decides: `stable` or `dense`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packing: Option<ext4::Packing>,
    /// Files whose holes are allocated as unwritten extents: paths in the filesystem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preallocate: Vec<String>,
}

/// Settings of a FAT filesystem. In a recipe: `[partition.fat]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FatSettings {
    /// Volume label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Volume id, in place of the derived one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<fat::VolumeId>,
    /// Bytes in a cluster.
    #[serde(rename = "cluster_size", skip_serializing_if = "Option::is_none")]
    pub cluster_bytes: Option<u32>,
    /// FAT12, FAT16 or FAT32, in place of what the size asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<fat::FatKind>,
}

/// Which filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemKind {
    /// ext4.
    Ext4,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// None: an empty partition.
    None,
}

words!(FilesystemKind, "a filesystem", [Ext4 = "ext4", Fat = "fat", None = "none"]);

impl FilesystemKind {
    /// What a partition of a type (name, GUID or MBR byte) has where nobody says it: FAT on an ESP and its extension, none on those that
    /// hold none (BIOS boot, swap, the hashes of dm-verity), else ext4.
    #[must_use]
    pub fn usual_for(partition_type: &str) -> Self {
        match type_name(partition_type) {
            "esp" | "xbootldr" => Self::Fat,
            "swap" | "bios-boot" => Self::None,
            name if name.contains("verity") => Self::None,
            _ => Self::Ext4,
        }
    }
}

/// The name of a partition type that may be given as a GUID or an MBR byte, where it has one.
fn type_name(partition_type: &str) -> &str {
    let parsed = [TableKind::Gpt, TableKind::Mbr].into_iter().find_map(|table| PartitionType::parse(partition_type, table, None).ok());
    parsed.as_ref().and_then(PartitionType::name).unwrap_or(partition_type)
}

/// The filesystem of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Filesystem {
    /// None: an empty partition.
    None,
    /// ext4.
    Ext4(Ext4Settings),
    /// FAT.
    Fat(FatSettings),
}

impl From<FilesystemKind> for Filesystem {
    /// With the usual settings.
    fn from(kind: FilesystemKind) -> Self {
        match kind {
            FilesystemKind::None => Self::None,
            FilesystemKind::Ext4 => Self::Ext4(Ext4Settings::default()),
            FilesystemKind::Fat => Self::Fat(FatSettings::default()),
        }
    }
}

/// A partition that is wanted.
#[derive(Debug)]
#[non_exhaustive]
pub struct PartitionSpec {
    /// Number in the table; the next free one without it.
    pub number: Option<u32>,
    /// Type by name, or a GUID or MBR byte as text. `root` is the root type of the architecture.
    pub partition_type: String,
    /// Name in the GPT.
    pub label: Option<String>,
    /// The partition's GUID, in place of the derived one.
    pub guid: Option<Guid>,
    /// GPT attributes.
    pub attributes: u64,
    /// Size.
    pub size: PartitionSize,
    /// Filesystem; [`FilesystemKind::usual_for`] the type without it.
    pub filesystem: Option<Filesystem>,
    /// What goes into it.
    pub source: Option<Source>,
    /// Where the root's tree has its contents.
    pub mount_point: Option<String>,
    /// Free space, at least.
    pub free: Option<Size>,
}

impl PartitionSpec {
    /// A partition of this type with nothing in it.
    #[must_use]
    pub fn new(partition_type: impl Into<String>) -> Self {
        Self {
            number: None,
            partition_type: partition_type.into(),
            label: None,
            guid: None,
            attributes: 0,
            size: PartitionSize::Auto,
            filesystem: None,
            source: None,
            mount_point: None,
            free: None,
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        // `root` alone is a type only once the architecture is known.
        let name = type_name(&self.partition_type);
        self.partition_type == "root" || (name.starts_with("root-") && !name.contains("verity")) || self.mount_point.as_deref() == Some("/")
    }

    pub(crate) fn is_esp(&self) -> bool {
        type_name(&self.partition_type) == "esp"
    }
}

/// How large the disk is. The text form is `auto` or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSize {
    /// What is needed, rounded up to a multiple of [`DiskSpec::align_size`].
    #[default]
    Auto,
    /// This.
    Exact(Size),
}

impl FromStr for DiskSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Exact) }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Exact(size) => f.pad(&size.exact()),
        }
    }
}

text_form!(DiskSize, "\"auto\" or a size with its unit, such as \"8 GiB\"");

/// A disk that is wanted: sources, partitions, sizes, how it boots. [`DiskSpec::plan`] decides where everything lies.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiskSpec {
    /// Name of the image; identifiers derive from it.
    pub name: Option<String>,
    /// Version of the image, for documents; it enters no identifier.
    pub version: Option<String>,
    /// Seed of the identifiers, in place of the name.
    pub seed: Option<Guid>,
    /// The build's own time.
    pub epoch: Timestamp,
    /// GPT, MBR or none.
    pub table: TableKind,
    /// 512 or 4096.
    pub sector_bytes: u32,
    /// The disk's GUID, in place of the derived one.
    pub disk_guid: Option<Guid>,
    /// The MBR's signature, in place of the derived one.
    pub signature: Option<u32>,
    /// Size.
    pub size: DiskSize,
    /// The size is rounded up to a multiple of this where it is not given.
    pub align_size: Size,
    /// The partitions; without any: an ESP and the root for a bootable disk, one `linux` partition else.
    pub partitions: Vec<PartitionSpec>,
    /// The root filesystem, for a disk without given partitions.
    pub root: Option<Source>,
    /// Free space, at least, in the partition that fills the disk; [`DEFAULT_FREE`] where neither this nor the size is given.
    pub free: Option<Size>,
    /// Whether it boots.
    pub boot_mode: BootMode,
    /// How it boots.
    pub boot: boot::Options,
    /// What is read first at boot, by the paths of the running system: it lies together, in this order.
    pub boot_order: BootOrder,
    /// Files beside those of the sources that no output may replace, such as a recipe.
    pub inputs: Vec<PathBuf>,
    /// What was taken out of the tree before ([`crate::clean`]), for the report.
    pub removed: Vec<String>,
    /// The earlier version to stay close to: identifiers, times, sizes and places are its, where nobody asks for others.
    pub parent: Option<Arc<Parent>>,
    /// Place files as if there were no parent; all else stays its.
    pub repack: bool,
    /// How contents of ext4 filesystems lie whose settings do not say it.
    pub packing: ext4::Packing,
}

impl DiskSpec {
    /// A disk from one root filesystem: bootable where it has a kernel, a data disk else.
    #[must_use]
    pub fn new(root: impl Into<Option<Source>>) -> Self {
        Self {
            name: None,
            version: None,
            seed: None,
            epoch: DEFAULT_EPOCH,
            table: TableKind::Gpt,
            sector_bytes: 512,
            disk_guid: None,
            signature: None,
            size: DiskSize::Auto,
            align_size: DEFAULT_ALIGN_SIZE,
            partitions: Vec::new(),
            root: root.into(),
            free: None,
            boot_mode: BootMode::Auto,
            boot: boot::Options::default(),
            boot_order: BootOrder::default(),
            inputs: Vec::new(),
            removed: Vec::new(),
            parent: None,
            repack: false,
            packing: ext4::Packing::default(),
        }
    }

    /// A disk that boots by UEFI, or an error that says what is missing.
    #[must_use]
    pub fn bootable(root: Source) -> Self {
        Self { boot_mode: BootMode::Uefi, ..Self::new(root) }
    }

    /// A data disk.
    #[must_use]
    pub fn data(root: Source) -> Self {
        Self { boot_mode: BootMode::None, ..Self::new(root) }
    }

    /// Names the image.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Asks for free space in the root filesystem, at least; a size that is given must have it too.
    #[must_use]
    pub fn free(mut self, free: Size) -> Self {
        self.free = Some(free);
        self
    }

    /// Sets the size of the disk.
    #[must_use]
    pub fn size(mut self, size: Size) -> Self {
        self.size = DiskSize::Exact(size);
        self
    }

    /// Sets the build's own time.
    #[must_use]
    pub fn epoch(mut self, epoch: Timestamp) -> Self {
        self.epoch = epoch;
        self
    }

    /// Stays close to an earlier version.
    ///
    /// ```no_run
    /// use rootvol::disk::Parent;
    /// let tree = rootvol::source::open("rootfs.tar")?;
    /// let next = rootvol::DiskSpec::bootable(tree).name("web").parent(Parent::open("web-1.vhd.report.json")?).plan()?;
    /// # Ok::<(), rootvol::Error>(())
    /// ```
    #[must_use]
    pub fn parent(mut self, parent: impl Into<Arc<Parent>>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Places files afresh although there is a parent.
    #[must_use]
    pub fn repack(mut self, repack: bool) -> Self {
        self.repack = repack;
        self
    }

    /// The build's own time: the parent's where there is one that tells it.
    pub(crate) fn own_time(&self) -> Timestamp {
        self.parent.as_ref().and_then(|parent| parent.epoch()).unwrap_or(self.epoch)
    }

    /// Decides where everything lies. Reads the heads of kernels and loaders; writes nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotBootable`], [`crate::ErrorKind::TooSmall`], what a filesystem cannot hold, settings
    /// that contradict each other.
    pub fn plan(self) -> Result<Disk> {
        super::plan::plan(self)
    }
}
