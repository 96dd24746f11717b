//! Any bytes as a `.layout`, packed or as text.
//!
//! Invariants:
//! - No panic; work and memory follow the input, whatever a gzip stream or a number in it promises.
//! - What is accepted can be true of one disk, is written, and reads back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::disk::Parent;

fuzz_target!(|data: &[u8]| {
    let Ok(parent) = Parent::from_layout(data) else { return };
    for filesystem in parent.partitions.iter().filter_map(|partition| partition.ext4.as_ref()) {
        filesystem.check().expect("what is accepted can be true");
    }
    let written = parent.to_layout().expect("what was read can be written");
    assert_eq!(Parent::from_layout(&written).expect("what is written can be read"), parent);
});
