//! FAT12, FAT16 and FAT32: a tree is planned into a volume, as the EFI system partition needs one.
//!
//! Follows "Microsoft Extensible Firmware Initiative FAT32 File System Specification", version 1.03 (fatgen103), which the
//! UEFI specification (2.10, section 13.3) refers to. Long names (VFAT), two FATs, FSInfo and backup boot sector in FAT32,
//! the label in the boot sector and in the root directory.
//!
//! ```text
//! boot sector, … │ FAT │ FAT │ root directory │ what is read at boot │ directories and files in tree order │ free
//!                                (in FAT32 the first of the clusters)
//! ```
//!
//! Every directory and file lies in one run of clusters, in the order of the tree, from the first cluster on, unless an order or
//! an earlier version of the volume says otherwise (`place`). So the FAT is a function of where the runs lie, and what lies in
//! none is unused: the cost of a plan grows with the entries, not with the size of the volume.
//!
//! **What FAT cannot hold.** Refused, naming the path: names that are not UTF-8, have characters that FAT forbids, end in a
//! dot or space, or differ from another only by case; symbolic links, devices, fifos, sockets; files of 4 GiB and more.
//! Not stored, and said in [`FatLayout::notes`]: extended attributes; that two names were one file (each gets a copy); times
//! outside 1980 to 2107. Not stored, as on every EFI system partition: owner and mode. Times are UTC, to 2 seconds. Holes
//! are filled with zeros.

mod format;
mod free;
mod geometry;
mod inventory;
mod layout;
mod names;
mod parent;
mod place;
mod plan;
mod read;
mod time;

pub use layout::FatLayout;
pub use parent::{Parent, ParentChain};
pub use plan::plan;
pub use read::{probe, read};

use crate::error::{Error, Result};
use crate::fs::OrderedPath;
use crate::text::{text_form, words};
use crate::tree::Timestamp;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Which FAT. Readers tell them apart by the number of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatKind {
    /// Up to 4,084 clusters.
    Fat12,
    /// 4,085 to 65,524 clusters.
    Fat16,
    /// From 65,525 clusters on.
    Fat32,
}

impl FatKind {
    /// The name as people write it.
    const fn title(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }
}

words!(FatKind, "a kind of FAT", [Fat12 = "fat12", Fat16 = "fat16", Fat32 = "fat32"]);

/// A volume id in its text form, as blkid shows it: `1234-ABCD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeId(pub u32);

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.split_once('-').filter(|(high, low)| high.len() == 4 && low.len() == 4 && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()));
        let id = digits.and_then(|(high, low)| u32::from_str_radix(&[high, low].concat(), 16).ok());
        id.map(Self).ok_or_else(|| Error::invalid(format!("{text:?} is no volume id: four and four hex digits were expected, such as \"1234-ABCD\"")))
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}-{:04X}", self.0 >> 16, self.0 & 0xffff)
    }
}

text_form!(VolumeId, "a FAT volume id, such as \"1234-ABCD\"");

/// How large a volume is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeRequest {
    /// This many bytes; a part of a sector at the end stays unused.
    Exact(u64),
    /// What the contents need, and at least this many bytes in free clusters.
    Minimum {
        /// Bytes.
        free_bytes: u64,
    },
}

/// How a volume is made. `Options::new()` gives the usual; set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The size. Usual: the minimum with nothing free.
    pub size: SizeRequest,
    /// The label: up to 11 upper-case ASCII letters, digits, spaces and a few marks; empty for none. Usual: `ESP`.
    pub label: String,
    /// The volume id, which blkid and `/dev/disk/by-uuid` show as `XXXX-XXXX`. Usual: 0.
    pub volume_id: u32,
    /// FAT12, 16 or 32. `None`, which is usual: FAT32, which the UEFI specification asks of a fixed disk, wherever the volume is
    /// large enough for it (33 MiB; 257 MiB with sectors of 4,096 bytes), else FAT16, else FAT12.
    pub kind: Option<FatKind>,
    /// Bytes in a cluster: a power of two from the sector's size to 32,768. `None`, which is usual: by the size.
    pub cluster_bytes: Option<u32>,
    /// Bytes in a sector of the disk: 512, which is usual, or 4,096.
    pub sector_bytes: u32,
    /// Sectors before the volume on its disk: the partition's start. Usual: 0, no partition.
    pub hidden_sectors: u32,
    /// The time of what no source has a time for: the label, and directories that no source named. Usual: 1980-01-01, the first that FAT has.
    pub epoch: Timestamp,
    /// What is read first at boot, in this order.
    pub order: Vec<OrderedPath>,
    /// An earlier version of the volume, to stay close to: paths that it has keep their clusters. Usual: none.
    pub parent: Option<Arc<Parent>>,
}

impl Options {
    /// The usual.
    #[must_use]
    pub fn new() -> Self {
        Self {
            size: SizeRequest::Minimum { free_bytes: 0 },
            label: "ESP".to_owned(),
            volume_id: 0,
            kind: None,
            cluster_bytes: None,
            sector_bytes: 512,
            hidden_sectors: 0,
            epoch: Timestamp::default(),
            order: Vec::new(),
            parent: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
