//! Any bytes as a tar (compressed ones are the target compressed's).
//!
//! Invariants:
//! - No panic, bounded memory and time.
//! - What is accepted is whole: every file's contents can be read to its length, and what is read twice is the same.
//! - What is accepted can be planned, or is refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::compressed::Compression;
use rootvol::content::Contents as _;
use rootvol::tree::NodeKind;

fuzz_target!(|data: &[u8]| {
    if !matches!(Compression::of(data), Ok(None)) {
        return;
    }
    let mut options = rootvol::source::Options::default();
    options.spool_memory_bytes = 1 << 20;
    let Ok(source) = rootvol::source::from_reader("fuzz", data, &options) else { return };
    for (_, node) in source.tree.nodes() {
        if let NodeKind::File(file) = node.kind {
            for (offset, len) in source.tree.data_ranges(&file) {
                let mut first = vec![0; usize::try_from(len.min(4096)).unwrap()];
                let mut again = first.clone();
                source.contents.read_exact_at(file.content, offset, &mut first).unwrap();
                source.contents.read_exact_at(file.content, offset, &mut again).unwrap();
                assert_eq!(first, again);
            }
        }
    }
    let _ = rootvol::DiskSpec::data(source).plan();
});
