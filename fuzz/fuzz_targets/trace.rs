//! Any bytes as a boot order, and as a trace that is read of a small image.
//!
//! Invariants:
//! - No panic; memory follows the input, not the numbers in it.
//! - An order that is accepted is written, and reads back equal.
//! - The first reads of a disk are disjoint, and as many bytes as were read; mapping and counting them ends, and no more blocks are
//!   touched than the image has, nor fewer than the bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::content::{ContentStore, MemoryContents};
use rootvol::format::OpenOptions;
use rootvol::order::BootOrder;
use rootvol::source::{DiskImage, Source};
use rootvol::trace::{ImageMap, Trace, boot_order, first_boot};
use rootvol::tree::{Metadata, NewNode, TreeBuilder};
use rootvol::{DiskSpec, Size};
use std::sync::{Arc, OnceLock};

/// An image of 4 MiB with a few files, links and directories.
fn map() -> &'static ImageMap {
    static MAP: OnceLock<ImageMap> = OnceLock::new();
    MAP.get_or_init(|| {
        let (mut tree, mut contents) = (TreeBuilder::new(), MemoryContents::new());
        for (path, length) in [("bin/sh", 70_000_u32), ("etc/fstab", 0), ("etc/motd", 5), ("usr/lib/libc.so", 300_000)] {
            let content = contents.push(vec![7; length as usize]).unwrap();
            tree.add(path, Metadata { mode: 0o644, ..Metadata::default() }, NewNode::File { content, length: length.into(), data: None }).unwrap();
        }
        tree.add("lib", Metadata { mode: 0o777, ..Metadata::default() }, NewNode::Symlink(b"usr/lib")).unwrap();
        let mut store = ContentStore::new();
        let count = contents.count();
        store.add(Arc::new(contents), count).unwrap();
        let mut spec = DiskSpec::data(Source::new(tree.freeze().unwrap(), store, "fuzz")).name("fuzz").free(Size::bytes(0));
        spec.align_size = Size::mib(1);
        let path = std::env::temp_dir().join(format!("rootvol-fuzz-trace-{}.raw", std::process::id()));
        let _ = std::fs::remove_file(&path);
        spec.plan().unwrap().write_file(&path, rootvol::Format::Raw).unwrap();
        let map = ImageMap::of(&DiskImage::open(&path, &OpenOptions::default()).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        map
    })
}

fuzz_target!(|data: &[u8]| {
    if let Ok(order) = BootOrder::read(data) {
        let mut text = Vec::new();
        order.write(&mut text).unwrap();
        assert_eq!(BootOrder::read(&text[..]).expect("what is written can be read"), order);
    }
    let Ok(trace) = Trace::read(data) else { return };
    for disk in trace.disks() {
        let mut first = disk.first_reads().to_vec();
        first.sort_by_key(|range| range.start);
        assert!(first.windows(2).all(|pair| pair[0].end <= pair[1].start), "a byte is read first twice");
        assert_eq!(first.iter().map(|range| range.end - range.start).sum::<u64>(), disk.bytes());
    }
    let map = map();
    for number in 1..=trace.disks().len().min(3) {
        if let Ok(disk) = map.disk(&trace, Some(number)) {
            let boot = first_boot(map, disk);
            assert!(boot.bound <= boot.blocks && boot.blocks <= map.size_bytes().div_ceil(512 * 1024));
            let _ = boot.to_string();
            if let Ok(learnt) = boot_order(map, &[disk]) {
                assert!(!learnt.order.is_empty());
            }
        }
    }
    let _ = map.disk(&trace, None);
});
