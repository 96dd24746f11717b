//! ext4 filesystems, judged by others: e2fsck, debugfs, dumpe2fs, the running kernel, and independent crates that read them.

#[path = "../common/mod.rs"]
mod common;
mod cases;
mod image;
mod kernel;
mod readers;
mod sample;
