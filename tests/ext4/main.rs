//! ext4 filesystems, judged by others: e2fsck, debugfs, dumpe2fs, the running kernel, and independent crates that read them.
//!
//! Random trees: 12 cases, or as many as the environment variable `PROPTEST_CASES` says.
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test fails by panicking and says what it skips")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod features;
mod image;
mod inline;
mod kernel;
mod quotas;
mod random;
mod readers;
#[path = "../ext4_read/reading.rs"]
mod reading;
mod sample;
mod sizes;
mod values;
mod versions;
