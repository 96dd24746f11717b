//! Any tree through the planner of ext4 and FAT.
//!
//! Invariants:
//! - No panic; a refusal, or a layout that keeps its promises (`layout::assert_well_formed`).
//! - Rendering in pieces gives what rendering at once gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::layout::{Layout, SegmentSource, assert_well_formed, segments};
use rootvol::tree::{Metadata, NewNode, Timestamp, TreeBuilder};
use rootvol::{ContentId, Guid};
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let mut tree = TreeBuilder::new();
    for (number, entry) in data.split(|byte| *byte == 0xff).take(200).enumerate() {
        let [kind, size, at @ ..] = entry else { continue };
        let metadata =
            Metadata { mode: u16::from(*size), uid: number as u32, mtime: Timestamp::from_seconds(i64::from(*kind) * 10_000_000), ..Metadata::default() };
        let node = match kind % 4 {
            0 => NewNode::Directory,
            1 => NewNode::File { content: ContentId(0), length: 1 << (size % 30), data: None },
            2 => NewNode::Symlink(b"target"),
            _ => NewNode::Fifo,
        };
        let _ = tree.add(at, metadata, node);
    }
    let Ok(tree) = tree.freeze() else { return };
    let tree = Arc::new(tree);
    let mut ext4 = rootvol::fs::ext4::Options::new(Guid::from_name("a"), Guid::from_name("b"), Timestamp::default());
    ext4.size = rootvol::fs::ext4::SizeRequest::Minimum { free_bytes: 0 };
    if let Ok(layout) = rootvol::fs::ext4::plan(Arc::clone(&tree), &ext4) {
        check(&layout);
    }
    if let Ok(layout) = rootvol::fs::fat::plan(tree, &rootvol::fs::fat::Options::new()) {
        check(&layout);
    }
});

fn check(layout: &dyn Layout) {
    assert_well_formed(layout);
    for segment in segments(layout, 0..layout.size_bytes()).filter(|segment| segment.source == SegmentSource::Metadata).take(64) {
        let len = usize::try_from((segment.range.end - segment.range.start).min(8192)).unwrap();
        let mut whole = vec![0; len];
        layout.render(segment.range.start, &mut whole);
        let mut parts = vec![0; len];
        for (at, part) in parts.chunks_mut(1000).enumerate() {
            layout.render(segment.range.start + u64::try_from(at * 1000).unwrap(), part);
        }
        assert_eq!(whole, parts);
    }
}
