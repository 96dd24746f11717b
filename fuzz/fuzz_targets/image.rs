//! Any bytes as a disk image: container, partition table, filesystems.
//!
//! Invariants:
//! - No panic, bounded memory and time; nothing that the image names is opened.
//! - Every read inside the disk gives bytes or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::{fs, partition};

fuzz_target!(|data: &[u8]| {
    let read = |offset: u64, out: &mut [u8]| {
        let end = usize::try_from(offset).ok().and_then(|start| Some((start, start.checked_add(out.len())?)));
        match end.and_then(|(start, end)| data.get(start..end)) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(rootvol::Error::corrupt("past the end")),
        }
    };
    let size = u64::try_from(data.len()).unwrap();
    let _ = fs::probe(&read, size);
    if let Ok(Some(found)) = partition::read(&read, size) {
        for partition in &found.table.partitions {
            assert!(partition.range().end <= size, "a partition that is given lies on the disk");
        }
    }
    let folder = std::env::temp_dir().join(format!("rootvol-fuzz-{}", std::process::id()));
    std::fs::write(&folder, data).unwrap();
    if let Ok(disk) = rootvol::format::open(&folder, None) {
        let mut block = [0; 4096];
        for offset in (0..disk.size_bytes().min(1 << 24)).step_by(4096) {
            let len = usize::try_from((disk.size_bytes() - offset).min(4096)).unwrap();
            let _ = disk.read_exact_at(offset, &mut block[..len]);
        }
    }
    let _ = rootvol::inspect::inspect(&folder, None);
});
