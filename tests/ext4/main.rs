//! ext4 filesystems, judged by others: e2fsck, debugfs, dumpe2fs, the running kernel, and independent crates that read them.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod image;
mod kernel;
mod random;
mod readers;
mod sample;
