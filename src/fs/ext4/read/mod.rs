//! Reading ext2, ext3 and ext4: the tree, the contents where they lie, and whose every block is. Nothing is trusted.
//!
//! ```text
//! superblock ─► journal (in memory) ─► descriptors ─► walk from the root ─► own inodes ─► claims settled ─► [check]
//! ```
//!
//! - The superblock is checked field by field against the disk ([`volume`]); what it claims is nowhere trusted for memory or time.
//! - A journal that has to be replayed is laid over the disk in memory ([`journal`]); nothing is written.
//! - Directories are read in turn, never recursively, and each one once ([`scan`]); inodes of one directory in their order, so that
//!   inode tables are read forwards. Names of directories that are indexed are found in their blocks, without the index.
//! - Everything that is met claims its blocks ([`claims`]); what two claim is found at the end, by sorting.
//! - Memory grows with names, extents and descriptors that are there. Nodes of extent trees, block maps and blocks of directories are
//!   each taken once, whatever points to them.
//!
//! What is damaged concerns its path alone. Files whose blocks two claim stay in the tree, both of them: which one is right nobody knows,
//! and the damage names both. A directory's block with a wrong checksum is read as far as it makes sense.
//!
//! What is encrypted (fscrypt) stands in the tree without entries or contents; encrypted links are left out. Attributes that Linux shows to
//! nobody (of no known kind) are left out, and noted.
//!
//! Refused by name: features that are not known, external journals where they are needed, fast commits that are to be replayed, journals of
//! other filesystems.
//!
//! Specification: the Linux kernel's documentation, "ext4 Data Structures and Algorithms"; for what it leaves open, the kernel and e2fsck.

mod cache;
mod check;
mod claims;
mod contents;
mod directory;
mod findings;
mod groups;
mod inode;
mod journal;
mod list;
mod map;
mod names;
mod overlay;
mod parent;
mod scan;
mod system;
mod volume;
mod xattrs;

use super::format::{Superblock, incompat};
use super::summary;
use crate::content::ReadAt;
use crate::error::Result;
use crate::fs::existing::{ReadFilesystem, ReadOptions};
use cache::Cache;
use claims::{Claims, What};
use findings::{Findings, Paths};
use names::ro_compat_read;
use scan::Scan;
use std::sync::Arc;
use volume::Volume;

/// Reads an ext2, ext3 or ext4 filesystem; `None` if `disk` holds none.
///
/// # Errors
/// As [`crate::fs::read`].
pub fn read(disk: &Arc<dyn ReadAt>, options: &ReadOptions) -> Result<Option<ReadFilesystem>> {
    let Some(bytes) = volume::superblock(&**disk)? else { return Ok(None) };
    let mut notes = Vec::new();
    let volume = opened(disk, &bytes, &mut notes)?;
    let mut claims = Claims::default();
    if volume.first_data_block > 0 {
        claims.structure(What::BootBlock, None, 0, volume.first_data_block);
    }
    let mut cache = Cache::new(Arc::clone(&volume.disk));
    let mut damage = Findings::new(options.findings);
    let groups = groups::read(&volume, &mut cache, &mut claims, &mut damage)?;
    let mut scan = Scan::new(&volume, &groups, options, cache, claims, damage);
    scan.run()?;
    scan.own_inodes()?;
    let orphans = scan.orphans();
    notes.extend(orphans.note());
    if scan.xattrs.hidden > 0 {
        notes.push(format!("{} extended attributes of kinds that Linux shows to nobody are left out", scan.xattrs.hidden));
    }
    let totals = if options.check { Some(scan.check(&orphans)?) } else { None };
    finish(scan, notes, totals.as_ref()).map(Some)
}

/// The checked superblock, with the journal replayed in memory if that is needed.
fn opened(disk: &Arc<dyn ReadAt>, bytes: &[u8; super::format::SUPERBLOCK_BYTES], notes: &mut Vec<String>) -> Result<Volume> {
    let volume = Volume::new(Arc::clone(disk), bytes)?;
    notes.extend(names::note(&volume.superblock));
    if !volume.has_incompat(incompat::RECOVER) {
        return Ok(volume);
    }
    let Some(overlay) = journal::replay(&volume)? else {
        notes.push("the filesystem was not unmounted; its journal is empty".to_owned());
        return Ok(volume);
    };
    notes.push(format!("the filesystem was not unmounted: {} blocks were taken from its journal", overlay.blocks()));
    let disk: Arc<dyn ReadAt> = Arc::new(overlay);
    let bytes = volume::superblock(&*disk)?.ok_or_else(|| crate::error::Error::corrupt("the journal holds a superblock that is none"))?;
    Volume::new(disk, &bytes)
}

/// Freezes the tree, settles what two claim, and gives paths to what was found.
fn finish(scan: Scan<'_>, notes: Vec<String>, totals: Option<&check::Totals>) -> Result<ReadFilesystem> {
    let Scan { volume, groups, mut cache, builder, nodes, contents, claims, mut damage, mut findings, unreadable, .. } = scan;
    let (tree, numbers) = builder.freeze_numbered()?;
    let (contents, contents_count) = contents.finish(Arc::clone(&volume.disk));
    let paths = Paths::new(&tree, &numbers);
    let may_share = volume.has_ro_compat(ro_compat_read::SHARED_BLOCKS);
    let claims = claims.settle(volume, &paths, may_share, &mut damage);
    if let Some(totals) = totals {
        check::links(volume, &tree, &paths, &nodes, &mut findings);
        let free_clusters = check::blocks(volume, groups, &claims, &mut cache, &mut findings)?;
        if !volume.has_incompat(incompat::RECOVER) {
            check::totals(volume, free_clusters, totals.free_inodes, &mut findings);
        }
    }
    let places = claims::places(&claims, volume, &paths);
    let inodes = scan::along_tree(&nodes, &numbers, tree.node_count());
    let (damage, findings, unreadable) = (damage.finish(&paths), findings.finish(&paths), unreadable.finish(&paths));
    let summary = summarized(&volume.superblock)?;
    Ok(ReadFilesystem { contents, contents_count, inodes, summary, notes, damage, findings, unreadable, places, tree })
}

/// What the superblock says, with all features by name.
fn summarized(superblock: &Superblock) -> Result<crate::report::FilesystemSummary> {
    let mut superblock = superblock.clone();
    // Counts that cannot be are for the check to tell.
    superblock.s_free_inodes_count = superblock.s_free_inodes_count.min(superblock.s_inodes_count);
    if superblock.free_blocks_count() > superblock.blocks_count() {
        (superblock.s_free_blocks_count_lo, superblock.s_free_blocks_count_hi) = (0, 0);
    }
    let superblock = &superblock;
    let mut summary = summary::summarize(superblock)?;
    summary.features = Some(names::all(superblock));
    Ok(summary)
}
