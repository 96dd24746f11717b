//! Any bytes as an initramfs: archives, as they are and packed, one after the other.
//!
//! Invariants:
//! - No panic; no more is unpacked and no more entries are shown than the limits allow.
//! - It does not matter in which pieces it is read: the same entries, the same end.
//! - What is said of it can be printed, and the archives begin where the summary says, in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::initramfs::{self, Limits, Summary};
use std::io::Read;
use std::ops::ControlFlow;

/// Gives a few bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(out.len()).min(self.1);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// The end: a summary, or an error as it is printed.
fn read(data: &[u8], piece: usize) -> (Vec<(Vec<u8>, u32, u64, Vec<u8>)>, Result<Summary, String>) {
    let mut limits = Limits::default();
    (limits.unpacked_bytes, limits.entries, limits.window_bytes) = (1 << 20, 1000, 1 << 20);
    let mut entries = Vec::new();
    let summary = initramfs::read(Pieces(data, piece), &limits, |entry| {
        entries.push((entry.name.to_vec(), entry.mode, entry.size_bytes, entry.head.to_vec()));
        assert!(entry.head.len() as u64 <= entry.size_bytes.min(initramfs::HEAD_MAX_BYTES as u64));
        Ok(ControlFlow::Continue(()))
    });
    assert!(entries.len() <= 1000);
    if let Ok(summary) = &summary {
        assert!(summary.unpacked_bytes <= 1 << 20);
        assert_eq!(summary.entries, entries.len() as u64);
        assert!(summary.segments.windows(2).all(|pair| pair[0].offset_bytes < pair[1].offset_bytes));
    }
    (entries, summary.map_err(|error| error.to_string()))
}

fuzz_target!(|data: &[u8]| {
    let (whole, end) = read(data, usize::MAX);
    let (pieces, end_of_pieces) = read(data, 61);
    assert_eq!(end.is_ok(), end_of_pieces.is_ok(), "{end:?} {end_of_pieces:?}");
    if end.is_ok() {
        assert_eq!((&whole, &end), (&pieces, &end_of_pieces));
    }
    // A damaged stream ends where its decoder notices, which depends on the pieces.
    let common = whole.len().min(pieces.len());
    assert_eq!(whole[..common], pieces[..common]);
    if let Err(said) = end {
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
});
