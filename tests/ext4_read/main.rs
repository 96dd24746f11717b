//! Reading ext2, ext3 and ext4: filesystems of our own, of mke2fs, of the running kernel; sound, aged, cut off and damaged. What is read is
//! compared with what the kernel shows, or with what they were made of; what the check says, with e2fsck.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a test fails by panicking and says what it skips"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../ext4/image.rs"]
mod image;
#[path = "../ext4/sample.rs"]
mod sample;

mod aged;
mod agreement;
mod damage;
mod dirty;
mod made;
mod oddities;
mod reading;
mod roundtrip;
mod view;
