//! Bootable, importable disk images for Amazon Machine Images from a root filesystem, in one process and one pass: no root, no loop
//! device, no virtual machine.
//!
//! ```no_run
//! use rootvol::{DiskSpec, Format, Size};
//!
//! let tree = rootvol::source::open("rootfs.tar.zst")?;
//! let disk = DiskSpec::bootable(tree).name("web").free(Size::gib(1)).plan()?; // nothing is written yet
//! println!("{disk}"); // map, sizes, loader, kernel
//! let report = disk.write_file("web.vhd", Format::Vhd)?; // atomic, hashed
//! let request = report.import_image("my-bucket", "images/web.vhd")?;
//! std::fs::write("import-image.json", request.to_json())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A tree of metadata with the length of every file decides where every byte of the disk lies. So planning is a pure function, the size is
//! known before the first byte, any 512-KiB block can be made at any time ([`Disk::read_block`]), and equal inputs give equal images.
//!
//! # Where things are
//! From what goes in to what comes out; each module's head says what it makes, by which specification, and what it refuses.
//!
//! | module | what it is |
//! |---|---|
//! | [`source`] | directories and tars, read into a tree and its contents |
//! | [`tree`], [`content`] | what a filesystem holds: [`tree::TreeBuilder`] makes one in memory; where its bytes are read |
//! | [`compressed`] | gzip, zstd and xz, unpacked within limits |
//! | [`boot`] | what a tree needs to boot: loader, configuration, fstab, the EFI system partition |
//! | [`clean`] | a tree without what a golden image must not carry |
//! | [`labels`] | SELinux labels by a policy's `file_contexts` |
//! | [`disk`] | [`DiskSpec`], what is wanted, and [`Disk`], what was decided; writing it |
//! | [`fs`], [`partition`] | the planners of ext4, FAT, GPT and MBR, and what recognises them |
//! | [`layout`] | what lies where: the interface between planners and the stream |
//! | [`stream`], [`checksum`] | the one loop that makes, hashes and writes blocks; the checksums of the EBS direct API |
//! | [`format`](mod@format), [`output`] | raw and VHD images; files that appear when they are whole, pipes, devices |
//! | [`report`], [`manifest`] | what was made, as plain data; the documents that AWS takes, each made of a report |
//! | [`inspect`] | what is in an image |
//! | [`order`], [`trace`] | what is read first at boot, and how that is learnt from traces of block reads |
//! | [`initramfs`] | what lies in an initramfs, read as the kernel unpacks it |
//! | [`uefi`] | the UEFI variables of an AMI: Secure Boot's keys |
//! | [`recipe`], [`build`] | `image.toml`; an image with its companions |
//! | [`error`], [`units`], [`guid`] | the one error type; sizes; identifiers |
//!
//! # Features
//! - `cli` (default): the command `rootvol`. A program that links the library leaves it out.
//! - `zstd` (default): sources compressed with zstd; builds the C library libzstd.

pub mod boot;
pub mod build;
pub mod checksum;
pub mod clean;
pub mod compressed;
pub mod content;
pub mod diff;
pub mod disk;
pub mod error;
pub mod extract;
pub mod format;
pub mod fs;
pub mod guid;
pub mod initramfs;
pub mod inspect;
pub mod labels;
pub mod layout;
pub mod lint;
pub mod listing;
pub mod manifest;
pub mod order;
pub mod output;
pub mod partition;
pub mod recipe;
pub mod report;
pub mod source;
pub mod stream;
pub mod trace;
pub mod tree;
pub mod uefi;
pub mod units;
pub mod verify;

mod crc;
mod text;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use disk::{Disk, DiskSpec};
pub use error::{Error, ErrorKind, Result};
pub use format::Format;
pub use guid::Guid;
pub use units::{BlockIndex, ContentId, Size};
