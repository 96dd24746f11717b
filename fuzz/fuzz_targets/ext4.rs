//! Any disk as an ext2, ext3 or ext4 filesystem, read with all checks.
//!
//! Invariants:
//! - No panic; memory and time follow what is stored, not the sizes that are said.
//! - What is in the tree can be read as a whole, or each try is refused alike; places are disjoint and lie on the disk
//!   (`shared/filesystem.rs`).
#![no_main]

#[path = "shared/disk.rs"]
mod disk;
#[path = "shared/filesystem.rs"]
mod filesystem;

use libfuzzer_sys::fuzz_target;
use rootvol::content::ReadAt;
use rootvol::fs::ext4;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some(disk) = disk::Disk::of(data) else { return };
    let disk: Arc<dyn ReadAt> = Arc::new(disk);
    let _ = ext4::probe(&|offset, out: &mut [u8]| disk.read_exact_at(offset, out));
    if let Ok(Some(read)) = ext4::read(&disk, &filesystem::options()) {
        filesystem::check(&read, disk.size_bytes());
    }
});
