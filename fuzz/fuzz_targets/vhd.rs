//! Any bytes as a VHD, with what is behind them as its parent.
//!
//! ```text
//! u32 length of the image, little-endian │ image │ parent, if anything is left
//! ```
//! Checksums of footers and headers are set right first, so that the fields behind them are reached too.
//!
//! Invariants:
//! - No panic, bounded memory and time; nothing that the image names is opened.
//! - Every read inside the disk gives bytes or an error, twice the same; what is not said to be stored is zero.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::format::{self, Format, OpenOptions};
use std::path::PathBuf;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk::<4>() else { return };
    let (image, parent) = rest.split_at(rest.len().min(u32::from_le_bytes(*len) as usize));
    let path = |name: &str| std::env::temp_dir().join(format!("rootvol-fuzz-vhd-{}-{name}", std::process::id()));
    let files: [PathBuf; 2] = [path("image"), path("parent")];
    std::fs::write(&files[0], sealed(image)).unwrap();
    let mut options = OpenOptions::default();
    options.format = Some(Format::Vhd);
    if !parent.is_empty() {
        std::fs::write(&files[1], sealed(parent)).unwrap();
        options.vhd_parents.push(files[1].clone());
    }
    let Ok(disk) = format::open_with(&files[0], &options) else { return };
    let (mut block, mut again) = (vec![0x55; 8192], vec![0xaa; 8192]);
    let mut at = 0;
    while at < disk.size_bytes().min(1 << 24) {
        let stored = disk.stored_after(at).unwrap();
        let len = (disk.size_bytes() - at).min(8192);
        let (block, again) = (&mut block[..len as usize], &mut again[..len as usize]);
        let ok = disk.read_exact_at(at, block).is_ok();
        assert_eq!(ok, disk.read_exact_at(at, again).is_ok());
        assert!(!ok || block == again);
        let zeros = stored.map_or(len, |range| range.start.saturating_sub(at).min(len));
        assert!(!ok || block[..zeros as usize].iter().all(|byte| *byte == 0), "not stored and not zero");
        at += len;
    }
    assert!(disk.read_exact_at(disk.size_bytes(), &mut [0]).is_err());
});

fn sealed(image: &[u8]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    let mut seal = |start: usize, len: usize, sum_at: usize, cookie: &[u8]| {
        if let Some(part) = bytes.get_mut(start..start + len).filter(|part| part.starts_with(cookie)) {
            part[sum_at..sum_at + 4].fill(0);
            let sum: u32 = part.iter().map(|byte| u32::from(*byte)).sum();
            part[sum_at..sum_at + 4].copy_from_slice(&(!sum).to_be_bytes());
        }
    };
    seal(0, 512, 64, b"conectix");
    seal(512, 1024, 36, b"cxsparse");
    if let Some(end) = image.len().checked_sub(512) {
        seal(end, 512, 64, b"conectix");
    }
    bytes
}
