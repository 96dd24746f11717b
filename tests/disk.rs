//! Sizes and places of a disk: what was promised to be free is free, and what was made is found again.

#![allow(clippy::unwrap_used, reason = "a test: it may panic")]

use rootvol::disk::{DiskSpec, Ext4Settings, Filesystem, PartitionSize, PartitionSpec};
use rootvol::format::Format;
use rootvol::fs::ext4::Percent;
use rootvol::inspect::inspect;
use rootvol::partition::TableKind;
use rootvol::source::{self, Source};
use rootvol::units::{KIB, MIB, Size};
use std::fs;
use std::path::Path;

/// A folder with a file of `bytes`.
fn folder(bytes: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), vec![7; bytes]).unwrap();
    folder
}

fn open(folder: &Path) -> Source {
    source::open(folder).unwrap()
}

/// A disk of one partition with all that is free for everybody.
fn spec(source: Source) -> DiskSpec {
    let mut settings = Ext4Settings::default();
    settings.reserved = Some(Percent::whole(0));
    let mut partition = PartitionSpec::new("linux");
    partition.filesystem = Some(Filesystem::Ext4(settings));
    partition.source = Some(source);
    let mut spec = DiskSpec::new(None);
    spec.align_size = Size::mib(1);
    spec.partitions.push(partition);
    spec
}

#[test]
fn what_is_asked_to_be_free_is_free_after_all_rounding() {
    let folder = folder(300_000);
    // Around the sizes where a journal grows, a group begins, and in between.
    let asked = (0..24).map(|n| n * 5 * MIB / 2 + n * 4 * KIB).chain((120..136).map(|mib| mib * MIB)).chain([0, 1, 900 * MIB]);
    for free in asked {
        for fills in [false, true] {
            let mut spec = spec(open(folder.path()));
            spec.partitions[0].free = Some(Size::bytes(free));
            spec.partitions[0].size = if fills { PartitionSize::Fill } else { PartitionSize::Auto };
            let disk = spec.plan().unwrap_or_else(|error| panic!("{free} bytes free (fills: {fills}): {error}"));
            let found = disk.partitions()[0].filesystem.as_ref().unwrap().free_bytes;
            assert!(found >= free, "{free} bytes were asked to be free, {found} are (fills: {fills})");
        }
    }
}

#[test]
fn every_table_and_sector_size_is_found_again() {
    let folder = folder(100_000);
    for (table, sector_bytes) in [(TableKind::Gpt, 512), (TableKind::Gpt, 4096), (TableKind::Mbr, 512), (TableKind::Mbr, 4096), (TableKind::None, 512)] {
        let mut spec = spec(open(folder.path()));
        (spec.table, spec.sector_bytes) = (table, sector_bytes);
        let disk = spec.plan().unwrap();
        let image = folder.path().with_extension("raw");
        let report = disk.write_file(&image, Format::Raw).unwrap();
        let found = inspect(&image, None).unwrap();
        fs::remove_file(&image).unwrap();
        let what = format!("{table} with sectors of {sector_bytes}: {found:?}");
        assert_eq!(found.disk, report.disk, "{what}");
        assert_eq!(found.notes, Vec::<String>::new(), "{what}");
        let (found, made) = (&found.partitions[0], &report.partitions[0]);
        assert_eq!((found.offset_bytes, found.size_bytes), (made.offset_bytes, made.size_bytes), "{what}");
        assert_eq!(found.filesystem.as_ref().unwrap().uuid, made.filesystem.as_ref().unwrap().uuid, "{what}");
    }
}
