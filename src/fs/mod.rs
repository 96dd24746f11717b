//! Filesystems: one enum, one match; each member plans a tree into a layout.
//!
//! A filesystem does not know that there are partitions, containers or hashes. To add one: a folder here with
//! `plan` and `probe`, a variant of [`Options`], and an arm in [`plan`] and [`probe`].

mod existing;
pub mod ext4;
pub mod fat;

pub use existing::{Place, PlaceOwner, ReadFilesystem, ReadOptions};

use crate::content::ReadAt;
use crate::error::Result;
use crate::layout::Layout;
use crate::report::FilesystemSummary;
use crate::tree::Tree;
use std::ops::Range;
use std::sync::Arc;

/// Which filesystem, and how.
#[derive(Debug, Clone)]
pub enum Options {
    /// ext4.
    Ext4(ext4::Options),
    /// FAT12, FAT16 or FAT32.
    Fat(fat::Options),
}

/// One entry of a boot order, of one filesystem: what is read, once all entries before it have been.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderedPath {
    /// The path in the filesystem, as [`Tree::lookup`] takes it.
    pub path: Vec<u8>,
    /// The byte ranges that are read, ascending and disjoint; empty for all of the contents, one empty range (`0..0`) for none of them:
    /// the inode alone.
    pub ranges: Vec<Range<u64>>,
}

/// A planned filesystem.
#[derive(Clone)]
pub struct Planned {
    /// Where everything lies.
    pub layout: Arc<dyn Layout>,
    /// What was planned.
    pub summary: FilesystemSummary,
    /// What the filesystem does not keep of the tree.
    pub notes: Vec<String>,
    /// The same layout as what it is, where it is ext4: a later version can stay close to it ([`ext4::Ext4Layout::as_parent`]).
    pub ext4: Option<Arc<ext4::Ext4Layout>>,
    /// The same layout as what it is, where it is FAT ([`fat::FatLayout::as_parent`]).
    pub fat: Option<Arc<fat::FatLayout>>,
}

/// Plans `tree` into a filesystem. Does no I/O.
///
/// # Errors
/// What the filesystem cannot hold, by path; [`crate::ErrorKind::TooSmall`] where the size does not do.
pub fn plan(tree: &Arc<Tree>, options: &Options) -> Result<Planned> {
    Ok(match options {
        Options::Ext4(options) => {
            let layout = Arc::new(ext4::plan(Arc::clone(tree), options)?);
            Planned { summary: layout.summary(), notes: layout.notes(), ext4: Some(Arc::clone(&layout)), fat: None, layout }
        }
        Options::Fat(options) => {
            let layout = Arc::new(fat::plan(Arc::clone(tree), options)?);
            Planned { summary: layout.summary(), notes: layout.notes().to_vec(), ext4: None, fat: Some(Arc::clone(&layout)), layout }
        }
    })
}

/// Says which filesystem lies in what `read` reads, if one of ours does.
///
/// # Errors
/// Those of `read`; a filesystem whose superblock or boot sector is damaged.
pub fn probe(read: &dyn Fn(u64, &mut [u8]) -> Result<()>, size_bytes: u64) -> Result<Option<FilesystemSummary>> {
    match ext4::probe(read)? {
        Some(summary) => Ok(Some(summary)),
        None => fat::probe(read, size_bytes),
    }
}

/// Reads the filesystem on `disk`, if it is one of ours: its tree, its contents, where they lie. The disk is not trusted. What
/// is damaged stands in [`ReadFilesystem::damage`]; all else is given.
///
/// # Errors
/// What keeps all of it from being read, the superblock or boot sector above all, features that are not known among it; what is over
/// a limit of `options`; those of `disk`.
pub fn read(disk: &Arc<dyn ReadAt>, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
    match ext4::read(disk, options)? {
        Some(read) => Ok(Some(read)),
        None => fat::read(disk, options),
    }
}
