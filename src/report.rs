//! What was made, as plain data: the report of a build, from which every import document is written.
//!
//! Nothing in a report depends on the day, the machine or the number of threads.

use crate::guid::Guid;
use crate::text::words;
use serde::{Deserialize, Serialize};

/// The version of the report's form. Fields are only ever added.
pub const REPORT_VERSION: u32 = 1;

/// The report of one disk image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub report_version: u32,
    /// The version of this crate.
    pub rootvol_version: String,
    /// The image's name, from the recipe or `--name`.
    pub name: Option<String>,
    /// The image's version, from the recipe.
    pub version: Option<String>,
    /// The file that was written.
    pub file: FileSummary,
    /// The disk inside it.
    pub disk: DiskSummary,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionSummary>,
    /// Its 512-KiB blocks.
    pub blocks: BlockSummary,
    /// How it boots; `None` for a data disk.
    pub boot: Option<BootSummary>,
    /// What it was made from, in the order of laying over.
    pub sources: Vec<String>,
    /// What a person should know: what was mended, dropped, found odd.
    pub notes: Vec<String>,
    /// What `[clean]` took out of the tree: absolute paths, with `(emptied)` behind what is there still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl Report {
    /// The report as JSON, with a newline at its end; the same report gives the same text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is strings and numbers, which JSON has");
        text.push('\n');
        text
    }
}

/// A written image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileSummary {
    /// `raw`, `vhd` (dynamic) or `vhd-fixed`.
    pub format: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file in hex, where it was asked for.
    pub sha256: Option<String>,
}

/// The disk as a guest sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskSummary {
    /// Size of the disk.
    pub size_bytes: u64,
    /// 512 or 4096.
    pub sector_bytes: u32,
    /// `gpt`, `mbr` or `none`.
    pub table: String,
    /// The GPT's disk GUID.
    pub guid: Option<Guid>,
    /// The MBR's disk signature.
    pub signature: Option<u32>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionSummary {
    /// Number in the table, from 1; 0 where there is no table.
    pub number: u32,
    /// Type by name (`esp`, `root-x86-64`, …), else the GUID or MBR byte.
    pub partition_type: String,
    /// The partition's own GUID (PARTUUID).
    pub guid: Option<Guid>,
    /// Name in the GPT.
    pub label: Option<String>,
    /// Offset on the disk.
    pub offset_bytes: u64,
    /// Size.
    pub size_bytes: u64,
    /// Where the tree had its contents.
    pub mount_point: Option<String>,
    /// The filesystem in it.
    pub filesystem: Option<FilesystemSummary>,
}

/// A filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilesystemSummary {
    /// `ext2`, `ext3`, `ext4`, `fat12`, `fat16`, `fat32`.
    pub kind: String,
    /// Volume label.
    pub label: String,
    /// UUID, or a FAT volume id as `XXXX-XXXX`.
    pub uuid: String,
    /// Bytes in a block or cluster.
    pub block_bytes: u32,
    /// Size.
    pub size_bytes: u64,
    /// Bytes taken by contents and metadata.
    pub used_bytes: u64,
    /// Bytes that can still be allocated, reserved blocks included.
    pub free_bytes: u64,
    /// Bytes of these that only root may take.
    #[serde(default)]
    pub reserved_bytes: u64,
    /// Features by name, with spaces between, where the filesystem has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Inodes, where the filesystem has a fixed number.
    pub inodes: Option<u64>,
    /// Inodes not in use.
    pub free_inodes: Option<u64>,
    /// What takes the used bytes, largest first.
    pub parts: Vec<SizePart>,
}

/// One line of what takes the space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizePart {
    /// Such as `file contents`, `journal`, `inode tables`.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

/// The blocks of the disk by state (README, "Block states").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockSummary {
    /// Always 524,288.
    pub block_bytes: u64,
    /// All blocks, a short last one included.
    pub total: u64,
    /// Blocks with a byte that is not zero.
    pub data: u64,
    /// Blocks that are zero and must read so.
    pub zero: u64,
    /// Blocks that nobody reads.
    pub unused: u64,
    /// The LINEAR aggregate in base64: SHA-256 over the digests of data and zero blocks, ascending (EBS direct API,
    /// CompleteSnapshot).
    pub linear_checksum: String,
}

/// The processor that an image boots on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 64-bit Arm, such as AWS Graviton.
    Arm64,
}

// EC2's names.
words!(Architecture, "an architecture", [X86_64 = "x86_64", Arm64 = "arm64"]);

/// How an image boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BootSummary {
    /// `uefi`.
    pub mode: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// `grub`, `uki` or `systemd-boot`.
    pub loader: String,
    /// Where the loader was taken from in the tree.
    pub loader_path: String,
    /// The kernel in the tree, where the loader needs one by name.
    pub kernel: Option<String>,
    /// The initramfs in the tree.
    pub initramfs: Option<String>,
    /// The kernel command line that was set, where we set one.
    pub cmdline: Option<String>,
    /// What to install in the tree so that ImportImage, which demands GRUB, takes the image: a line a distribution. Empty where it boots
    /// by GRUB, and where no package would help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grub_packages: Vec<String>,
}
