//! What makes a tree bootable.
