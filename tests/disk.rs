//! Sizes: what is asked for is kept, what does not fit is refused before anything is written, with what takes the room.

#![allow(clippy::unwrap_used, reason = "tests")]

use rootvol::content::{ContentStore, MemoryContents};
use rootvol::disk::{DiskSize, PartitionSize, PartitionSpec};
use rootvol::partition::TableKind;
use rootvol::source::Source;
use rootvol::tree::{Metadata, NewNode, TreeBuilder};
use rootvol::units::{GIB, MIB};
use rootvol::{Disk, DiskSpec, ErrorKind, Size};
use std::fs;
use std::sync::Arc;

/// A tree with one file of `bytes` zeros.
fn source(bytes: usize) -> Source {
    let mut files = MemoryContents::new();
    let content = files.push(vec![0; bytes]).unwrap();
    let mut tree = TreeBuilder::new();
    let length = u64::try_from(bytes).unwrap();
    tree.add("file", Metadata { mode: 0o644, ..Metadata::default() }, NewNode::File { content, length, data: None }).unwrap();
    let mut contents = ContentStore::new();
    contents.add(Arc::new(files), 1).unwrap();
    Source::new(tree.freeze().unwrap(), contents, "made in memory")
}

fn data(bytes: usize) -> DiskSpec {
    DiskSpec::data(source(bytes)).name("test")
}

fn free_bytes(disk: &Disk) -> u64 {
    disk.partitions()[0].filesystem.as_ref().unwrap().free_bytes
}

/// The journal doubles at certain sizes: a disk that is rounded up over one of them has less room than the smallest.
#[test]
fn free_space_that_is_asked_for_is_there_at_every_size() {
    for align in [Size::bytes(512), Size::mib(1), Size::mib(3)] {
        for free in (0..40).chain([63, 64, 120, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 4096]) {
            let mut spec = data(100).free(Size::mib(free));
            spec.align_size = align;
            let disk = spec.plan().unwrap();
            assert!(free_bytes(&disk) >= free * MIB, "{free} MiB asked for, {} there, aligned to {align}", free_bytes(&disk));
            assert!(disk.size_bytes().is_multiple_of(align.as_bytes()));
        }
    }
}

#[test]
fn an_exact_size_without_the_free_space_that_is_asked_for_is_too_small() {
    let error = data(100).free(Size::gib(1)).size(Size::mib(512)).plan().unwrap_err();
    let ErrorKind::TooSmall { needed, available } = error.kind() else { panic!("{error}") };
    assert_eq!(available, 512 * MIB);
    assert!(error.to_string().contains("free space 1 GiB"), "{error}");
    let disk = data(100).free(Size::gib(1)).size(Size::bytes(needed)).plan().unwrap();
    assert!(free_bytes(&disk) >= GIB);
    // Without the wish the size alone counts.
    data(100).size(Size::mib(512)).plan().unwrap();

    let mut partition = PartitionSpec::new("linux");
    partition.source = Some(source(100));
    partition.size = PartitionSize::Exact(Size::mib(10));
    partition.free = Some(Size::mib(20));
    let mut spec = DiskSpec::new(None);
    spec.partitions.push(partition);
    let error = spec.plan().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooSmall { .. }) && error.to_string().contains("partition 1"), "{error}");
}

/// The size that an error names is enough, and a sector less is not; every error says what takes the room.
#[test]
fn a_disk_that_is_too_small_is_refused_with_what_is_needed() {
    for table in [TableKind::Gpt, TableKind::Mbr, TableKind::None] {
        for bytes in [100, 5 << 20] {
            let plan = |size: u64| {
                let mut spec = data(bytes).size(Size::bytes(size));
                spec.table = table;
                spec.plan()
            };
            let error = plan(32 * 1024).unwrap_err();
            let ErrorKind::TooSmall { needed, available } = error.kind() else { panic!("{table:?}: {error}") };
            assert_eq!(available, 32 * 1024);
            let said = error.to_string();
            assert!(said.contains("file contents") && said.contains(&needed.to_string()), "{said}");
            assert_eq!(said.contains("partition"), table != TableKind::None, "{said}");
            assert_eq!(plan(needed).unwrap().size_bytes(), needed);
            for less in [512, 4096, 65_536, MIB] {
                let Some(size) = needed.checked_sub(less).filter(|size| *size > 0) else { continue };
                let error = plan(size).unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::TooSmall { needed, available } if available == size && needed > size), "{table:?} {less}: {error}");
                assert!(error.to_string().starts_with("the disk has"), "{error}");
            }
        }
    }
}

#[test]
fn a_disk_without_a_table_is_its_filesystem() {
    let mut partition = PartitionSpec::new("linux");
    partition.source = Some(source(100));
    let mut spec = DiskSpec::new(None);
    spec.partitions.push(partition);
    spec.table = TableKind::None;
    spec.size = DiskSize::Exact(Size::mib(10));
    let disk = spec.plan().unwrap();
    assert_eq!(disk.partitions()[0].size_bytes, 10 * MIB);
    assert_eq!(disk.partitions()[0].filesystem.as_ref().unwrap().size_bytes, 10 * MIB);
}

#[test]
fn sizes_beyond_all_disks_are_errors() {
    let huge = || {
        let mut partition = PartitionSpec::new("swap");
        partition.size = PartitionSize::Exact(Size::bytes(u64::MAX - 1023));
        partition
    };
    let mut spec = DiskSpec::new(None);
    spec.partitions.extend([huge(), huge()]);
    assert_eq!(spec.plan().unwrap_err().kind(), ErrorKind::LimitExceeded);
    for spec in [data(1).size(Size::bytes(u64::MAX - 511)), data(1).free(Size::bytes(u64::MAX))] {
        assert!(spec.plan().is_err());
    }
    let mut aligned = data(1);
    aligned.align_size = Size::bytes(1 << 63);
    assert!(aligned.plan().is_err());
}

#[test]
fn every_table_and_sector_size_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    for (table, sector_bytes) in [(TableKind::Gpt, 512), (TableKind::Gpt, 4096), (TableKind::Mbr, 512), (TableKind::Mbr, 4096), (TableKind::None, 512)] {
        let mut spec = data(100_000);
        spec.align_size = Size::mib(1);
        (spec.table, spec.sector_bytes) = (table, sector_bytes);
        let disk = spec.plan().unwrap();
        let image = folder.path().join("disk.raw");
        let report = disk.write_file(&image, rootvol::format::Format::Raw).unwrap();
        let found = rootvol::inspect::inspect(&image, None).unwrap();
        fs::remove_file(&image).unwrap();
        let what = format!("{table} with sectors of {sector_bytes}: {found:?}");
        assert_eq!(found.disk, report.disk, "{what}");
        assert_eq!(found.notes, Vec::<String>::new(), "{what}");
        let (found, made) = (&found.partitions[0], &report.partitions[0]);
        assert_eq!((found.offset_bytes, found.size_bytes), (made.offset_bytes, made.size_bytes), "{what}");
        assert_eq!(found.filesystem.as_ref().unwrap().uuid, made.filesystem.as_ref().unwrap().uuid, "{what}");
    }
}

/// A type says the same by its name, its GUID and its MBR byte.
#[test]
fn an_esp_by_guid_is_an_esp() {
    for kind in ["esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"] {
        let mut spec = data(100);
        spec.partitions = vec![PartitionSpec::new(kind), PartitionSpec::new("linux")];
        spec.partitions[1].mount_point = Some("/".into());
        let disk = spec.plan().unwrap();
        let esp = &disk.partitions()[0];
        assert_eq!((esp.partition_type.as_str(), esp.filesystem.as_ref().unwrap().kind.as_str()), ("esp", "fat32"), "{kind}");
        assert_eq!(esp.size_bytes, 128 * MIB, "{kind}");
    }
}
