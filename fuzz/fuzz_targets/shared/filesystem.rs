//! What holds of every filesystem that is read.
#![allow(dead_code)]

use rootvol::fs::{PlaceOwner, ReadFilesystem, ReadOptions};
use rootvol::tree::NodeKind;

/// Bytes of one file that are read: an extent of terabytes of zeros is sound.
const READ_MAX: u64 = 64 << 10;
const FILES_MAX: usize = 2000;

pub fn options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.check = true;
    options.entries = 100_000;
    options
}

/// Places ascend, do not overlap and lie on the disk; of what stands in the tree begin, middle and end can be read, twice the same;
/// nothing behind the end can.
pub fn check(read: &ReadFilesystem, size_bytes: u64) {
    let mut end = 0;
    for place in &read.places {
        assert!(place.range.start >= end && place.range.start < place.range.end && place.range.end <= size_bytes, "{place:?} behind {end} of {size_bytes}");
        end = place.range.end;
        if let PlaceOwner::Data { node, .. } | PlaceOwner::About { node, .. } = place.owner {
            assert!(node.index() < read.tree.node_count(), "a place of a node that is not there");
        }
    }
    assert!(read.inodes.is_empty() || read.inodes.len() == read.tree.node_count());
    for (_, node) in read.tree.nodes().filter(|(_, node)| matches!(node.kind, NodeKind::File(_))).take(FILES_MAX) {
        let NodeKind::File(file) = node.kind else { continue };
        assert!(file.content.0 < read.contents_count);
        let len = file.length.min(READ_MAX);
        for offset in [0, (file.length - len) / 2, file.length - len] {
            let (mut first, mut again) = (vec![0x55; len as usize], vec![0xaa; len as usize]);
            let ok = read.contents.read_exact_at(file.content, offset, &mut first).is_ok();
            assert_eq!(ok, read.contents.read_exact_at(file.content, offset, &mut again).is_ok());
            assert!(!ok || first == again, "read twice it differs");
        }
        assert!(read.contents.read_exact_at(file.content, file.length, &mut [0]).is_err(), "a byte behind the end");
    }
}
