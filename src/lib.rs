//! Bootable, importable disk images for Amazon Machine Images from a root filesystem, in one process and one pass.

pub mod boot;
pub mod build;
pub mod checksum;
pub mod content;
pub mod disk;
pub mod error;
pub mod format;
pub mod fs;
pub mod guid;
pub mod inspect;
pub mod layout;
pub mod manifest;
pub mod output;
pub mod partition;
pub mod recipe;
pub mod report;
pub mod source;
pub mod stream;
pub mod tree;
pub mod units;

mod crc;
mod text;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use disk::{Disk, DiskSpec};
pub use error::{Error, ErrorKind, Result};
pub use guid::Guid;
pub use units::{BlockIndex, ContentId, Size};
