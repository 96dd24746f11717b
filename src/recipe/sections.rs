//! The tables of a recipe.

use super::values::{FileMode, Owner, XattrValue, one_or_more};
use crate::boot::{InitramfsChoice, LoaderChoice, RootBy};
use crate::disk::{BootMode, DiskSize, Ext4Settings, FatSettings, FilesystemKind, PartitionSize};
use crate::format::Format;
use crate::guid::Guid;
use crate::partition::TableKind;
use crate::source::{Holes, IdMap};
use crate::units::Size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lets `skip_serializing_if` leave out what says nothing.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `[disk]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct DiskSection {
    /// The container. Default: by the output's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The partition table. Default: GPT.
    #[serde(skip_serializing_if = "is_default")]
    pub table: TableKind,
    /// Default: what is needed.
    #[serde(skip_serializing_if = "is_default")]
    pub size: DiskSize,
    /// The size is rounded up to a multiple of it. Default: 1 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align_size: Option<Size>,
    /// Bytes in a sector: 512, which is the default, or, raw only, 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector_size: Option<u32>,
    /// The MBR's disk signature. Default: from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<u32>,
    /// The GPT's disk GUID. Default: from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Guid>,
}

impl DiskSection {
    /// Whether the section says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        is_default(self)
    }
}

/// `[[partition]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct PartitionSection {
    /// Type by name, GUID or MBR byte. Default: `linux`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub partition_type: Option<String>,
    /// Number in the table, from 1. Default: the next that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Name in the GPT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The partition's own GUID (PARTUUID). Default: from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Guid>,
    /// Attributes in the table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Default: what the contents need.
    #[serde(skip_serializing_if = "is_default")]
    pub size: PartitionSize,
    /// See [`PartitionSection::filesystem_or_usual`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemKind>,
    /// Directories and archives, laid over each other in order.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_more")]
    pub source: Vec<PathBuf>,
    /// The partition takes what the tree has beneath this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<String>,
    /// Space beyond what the contents need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<Size>,
    /// Patterns of what is left out of the sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Leave out what is mounted below a source directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_file_system: Option<bool>,
    /// Give everything in the sources this owner and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Translate owners and groups of the sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map_ids: Vec<IdMap>,
    /// What becomes of holes in the sources' files. Default: they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holes: Option<Holes>,
    /// `[partition.ext4]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext4: Option<Ext4Settings>,
    /// `[partition.fat]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fat: Option<FatSettings>,
}

impl PartitionSection {
    /// The filesystem: as said, else the usual one of the type.
    #[must_use]
    pub fn filesystem_or_usual(&self) -> FilesystemKind {
        self.filesystem.unwrap_or_else(|| FilesystemKind::usual_for(self.partition_type.as_deref().unwrap_or_default()))
    }
}

/// An attribute of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// The platform needs the partition (UEFI specification, table 5-8).
    Required,
    /// Firmware makes no filesystem of it.
    NoBlockIo,
    /// Legacy BIOS bootable; in an MBR, active.
    LegacyBiosBootable,
    /// Grow the filesystem when it is mounted (Discoverable Partitions Specification).
    GrowFileSystem,
    /// Mount read-only (Discoverable Partitions Specification).
    ReadOnly,
    /// Do not mount by itself (Discoverable Partitions Specification).
    NoAuto,
}

impl Attribute {
    /// The bit in the GPT entry's attributes.
    #[must_use]
    pub const fn bit(self) -> u32 {
        match self {
            Self::Required => 0,
            Self::NoBlockIo => 1,
            Self::LegacyBiosBootable => 2,
            Self::GrowFileSystem => 59,
            Self::ReadOnly => 60,
            Self::NoAuto => 63,
        }
    }
}

/// `[boot]`. All paths are paths in the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct BootSection {
    /// Default: `uefi` where the tree has a kernel.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: BootMode,
    /// Default: the first that is there.
    #[serde(skip_serializing_if = "is_default")]
    pub loader: LoaderChoice,
    /// The kernel's command line. Default: the tree's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// What `root=` says, where the command line has none.
    #[serde(skip_serializing_if = "is_default")]
    pub root: RootBy,
    /// Default: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Default: the kernel's, if there is one.
    #[serde(skip_serializing_if = "is_default")]
    pub initramfs: InitramfsChoice,
    /// The loader's EFI image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader_path: Option<String>,
    /// The unified kernel image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uki: Option<String>,
    /// The file with the boot order ([`crate::order`]): what is read first lies together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<PathBuf>,
}

/// `[[file]]`: one entry laid over the tree. What it is stands in exactly one of five keys; see [`FileSection::kind`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct FileSection {
    /// Absolute path in the tree.
    pub path: String,
    /// A file with this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A file with the contents of this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// A symbolic link to this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink: Option<String>,
    /// `true`: a directory; one that is there keeps its entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<bool>,
    /// `true`: nothing, and nothing beneath it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<bool>,
    /// Default: `0644`, for a directory `0755`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Default: `0:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Seconds since 1970. Default: the build's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// Extended attributes by their whole names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, XattrValue>,
}

/// What a `[[file]]` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind<'a> {
    /// A file with this text.
    Content(&'a str),
    /// A file with the contents of this file.
    Source(&'a Path),
    /// A symbolic link to this target.
    Symlink(&'a str),
    /// A directory.
    Directory,
    /// Nothing.
    Remove,
}

impl FileSection {
    /// What the entry is; `None` where none or several of the five keys say it, which [`Recipe::check`](super::Recipe::check)
    /// refuses. `directory = false` and `remove = false` say nothing.
    #[must_use]
    pub fn kind(&self) -> Option<FileKind<'_>> {
        let kinds = [
            self.content.as_deref().map(FileKind::Content),
            self.source.as_deref().map(FileKind::Source),
            self.symlink.as_deref().map(FileKind::Symlink),
            (self.directory == Some(true)).then_some(FileKind::Directory),
            (self.remove == Some(true)).then_some(FileKind::Remove),
        ];
        let mut said = kinds.into_iter().flatten();
        said.next().filter(|_| said.next().is_none())
    }
}
