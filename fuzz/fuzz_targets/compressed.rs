//! Any bytes as a compressed stream: gzip, zstd, xz.
//!
//! Invariants:
//! - No panic; no more comes out than the limits allow, and memory stays below the limits on windows and dictionaries.
//! - It does not matter in which pieces the stream is read: the same bytes, then the same end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::compressed::{Compression, Decompressed, Limits, unwrap_io};
use std::io::Read;

const OUT_MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(compression)) = Compression::of(data) else { return };
    let mut limits = Limits::default();
    (limits.decompressed_bytes, limits.zstd_window_bytes, limits.xz_dictionary_bytes) = (OUT_MAX, 8 << 20, 8 << 20);
    let unpack = |pieces: usize| {
        let mut reader = Decompressed::new(data, compression, limits).unwrap();
        let (mut out, mut piece) = (Vec::new(), vec![0; pieces]);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return (out, true),
                Ok(read) => out.extend_from_slice(&piece[..read]),
                Err(error) => {
                    let _ = unwrap_io("cannot read", error).to_string();
                    return (out, false);
                }
            }
            assert!(out.len() as u64 <= OUT_MAX, "more than the limit");
        }
    };
    let ((whole, ended), (again, ended_again)) = (unpack(1 << 16), unpack(977));
    assert_eq!(ended, ended_again);
    // What comes before an error depends on the pieces; what comes before the end does not.
    let common = whole.len().min(again.len());
    assert!(whole[..common] == again[..common] && (!ended || whole.len() == again.len()));
});
