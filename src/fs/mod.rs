//! Filesystems: one enum, one match; each member plans a tree into a layout.

pub mod ext4;
pub mod fat;
