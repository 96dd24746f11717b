//! Any disk as a FAT volume, read with all checks.
//!
//! Invariants:
//! - No panic; memory and time follow what is stored, not the sizes that are said.
//! - What is in the tree can be read as a whole; places are disjoint and lie on the disk (`shared/filesystem.rs`).
//! - What is sound and that FAT can hold again is planned, written and read as the same tree.
#![no_main]

#[path = "shared/disk.rs"]
mod disk;
#[path = "shared/filesystem.rs"]
mod filesystem;

use libfuzzer_sys::fuzz_target;
use rootvol::content::ReadAt;
use rootvol::fs::fat;
use rootvol::layout::{Layout as _, fill};
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some(disk) = disk::Disk::of(data) else { return };
    let disk: Arc<dyn ReadAt> = Arc::new(disk);
    let probed = fat::probe(&|offset, out: &mut [u8]| disk.read_exact_at(offset, out), disk.size_bytes());
    let read = fat::read(&disk, &filesystem::options());
    let Ok(Some(read)) = read else { return };
    // Both count by themselves.
    let probed = probed.expect("what is read is recognised").expect("what is read is recognised");
    assert_eq!((probed.kind, probed.free_bytes, probed.uuid), (read.summary.kind.clone(), read.summary.free_bytes, read.summary.uuid.clone()));
    filesystem::check(&read, disk.size_bytes());
    if !read.is_sound() || read.tree.node_count() > 500 {
        return;
    }
    let tree = Arc::new(read.tree);
    let Ok(layout) = fat::plan(Arc::clone(&tree), &fat::Options::new()) else { return };
    if layout.size_bytes() > 4 << 20 {
        return;
    }
    let mut image = vec![0; layout.size_bytes() as usize];
    fill(&layout, &*read.contents, 0, &mut image).expect("what is in the tree can be read");
    let image: Arc<dyn ReadAt> = Arc::new(image);
    let again = fat::read(&image, &filesystem::options()).expect("what is written can be read").expect("it is FAT");
    assert!(again.is_sound(), "{again:?}");
    // Read-only is not kept, nor are times past 2107.
    assert_eq!(again.tree.node_count(), tree.node_count());
});
