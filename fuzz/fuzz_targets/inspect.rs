//! Any bytes as a disk image of any kind: container, partition table, filesystems, together.
//!
//! Invariants:
//! - No panic, bounded memory and time; nothing that the image names is opened.
//! - What is said can be printed, and is text without control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("rootvol-fuzz-inspect-{}", std::process::id()));
    std::fs::write(&path, data).unwrap();
    let said = match rootvol::inspect::inspect(&path, None) {
        Ok(inspection) => inspection.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
});
