//! Rules of containers, tables and filesystems.

use crate::{disk, found, image, in_image, options, source};
use rootvol::disk::{DiskSize, Filesystem, PartitionSpec};
use rootvol::format::{Format, OpenOptions};
use rootvol::lint::{LintOptions, Purpose, Severity, lint_disk, lint_image};
use rootvol::partition::TableKind;
use rootvol::source::DiskImage;
use rootvol::units::{GIB, MIB, Size, TIB};
use rootvol::{DiskSpec, ErrorKind};
use std::path::Path;

const FILES: &[(&str, &str)] = &[("etc/fstab", "LABEL=x / ext4 rw,nofail 0 1\n")];

fn with(change: impl FnOnce(&mut DiskSpec)) -> DiskSpec {
    let mut spec = disk(FILES);
    change(&mut spec);
    spec
}

/// The bytes of a disk with a table and one filesystem.
fn bytes(spec: DiskSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    spec.plan().unwrap().write_to(&mut bytes, Format::Raw, rootvol::disk::WriteOptions::default()).unwrap();
    bytes
}

fn open(folder: &Path, bytes: &[u8]) -> DiskImage {
    let path = folder.join("disk.raw");
    std::fs::write(&path, bytes).unwrap();
    DiskImage::open(&path, &OpenOptions::default()).unwrap()
}

#[test]
fn sizes_are_those_that_volumes_and_imports_have() {
    // The filesystem stays small: it is the disk that counts.
    let small = || {
        let mut partition = PartitionSpec::new("linux");
        partition.source = Some(source(FILES));
        partition.size = rootvol::disk::PartitionSize::Exact(Size::bytes(16 * MIB));
        vec![partition]
    };
    let of = |size: u64| image(with(|spec| (spec.size, spec.root, spec.partitions) = (DiskSize::Exact(Size::bytes(size)), None, small())));
    for (rule, size, hit) in [
        ("import-size", 8 * TIB, true),
        ("import-size", 8 * TIB - GIB, false),
        ("volume-size", 64 * TIB + GIB, true),
        ("volume-size", 64 * TIB, false),
        ("whole-gib", 64 * MIB, true),
        ("whole-gib", 2 * GIB, false),
    ] {
        assert_eq!(in_image(&of(size), rule).len(), usize::from(hit), "{rule} of {size}");
    }
    let mbr = |size: u64| image(with(|spec| (spec.size, spec.table) = (DiskSize::Exact(Size::bytes(size)), TableKind::Mbr)));
    assert_eq!(in_image(&mbr(2047 * GIB), "mbr-size"), Vec::<String>::new());
    assert_eq!(in_image(&mbr(2047 * GIB + MIB), "mbr-size").len(), 1);
    let sectors = |sector_bytes: u32| image(with(|spec| spec.sector_bytes = sector_bytes));
    assert_eq!(in_image(&sectors(4096), "sector-size").len(), 1);
    assert_eq!(in_image(&sectors(512), "sector-size"), Vec::<String>::new());
}

#[test]
fn a_table_with_something_to_start_is_needed() {
    let bare = image(with(|spec| spec.table = TableKind::None));
    assert_eq!(in_image(&bare, "no-partition-table").len(), 1);
    let data = image(disk(FILES));
    assert_eq!(in_image(&data, "no-partition-table"), Vec::<String>::new());
    assert_eq!(in_image(&data, "no-boot-partition"), ["disk, offset 0: there is neither an EFI system partition nor boot code in the first sector"]);
    let volume = image(DiskSpec::data(source(&[("srv/file", "x")])).name("data").size(Size::bytes(64 << 20)));
    for rule in ["no-boot-partition", "kernel-missing", "loader-missing"] {
        assert_eq!(in_image(&volume, rule), Vec::<String>::new(), "nothing boots from a volume of data");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut with_code = bytes(disk(FILES));
    with_code[..4].copy_from_slice(b"\xeb\x63\x90\x10");
    assert_eq!(in_image(&open(folder.path(), &with_code), "no-boot-partition"), Vec::<String>::new());
}

#[test]
fn what_lies_in_partitions_is_told_by_its_magic() {
    let folder = tempfile::tempdir().unwrap();
    let clean = bytes(disk(FILES));
    for (rule, at, magic) in
        [("encrypted-volume", 0, &b"LUKS\xba\xbe"[..]), ("lvm", 0x200, b"LABELONE"), ("filesystem-type", 0, b"hsqs"), ("swap-on-ebs", 0xff6, b"SWAPSPACE2")]
    {
        let mut changed = clean.clone();
        // The superblock goes, and another's magic comes.
        let start = usize::try_from(MIB).unwrap();
        changed[start..start + 0x1_0000].fill(0);
        changed[start + at..start + at + magic.len()].copy_from_slice(magic);
        let changed = open(folder.path(), &changed);
        let findings = in_image(&changed, rule);
        assert!(findings.len() == 1 && findings[0].starts_with("partition 1, offset 0: "), "{rule}: {findings:?}");
        let linted = lint_image(&changed, &LintOptions::default()).unwrap();
        assert!(linted.not_checked.iter().any(|why| why.starts_with("what is on the disk: ")), "{:?}", linted.not_checked);
        assert_eq!(in_image(&open(folder.path(), &clean), rule), Vec::<String>::new(), "{rule}");
    }
}

#[test]
fn containers_that_no_import_takes_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let raw = bytes(disk(FILES));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &raw).unwrap();
    let compressed = open(folder.path(), &gzip.finish().unwrap());
    assert_eq!(in_image(&compressed, "compressed-container"), ["image: the file is compressed"]);
    assert_eq!(in_image(&compressed, "disk-structure"), Vec::<String>::new(), "the disk in it is sound");
    let plain = open(folder.path(), &raw);
    assert_eq!(in_image(&plain, "compressed-container"), Vec::<String>::new());
    assert_eq!(in_image(&plain, "differencing-vhd"), Vec::<String>::new());

    let path = folder.path().join("disk.vhd");
    disk(FILES).plan().unwrap().write_file(&path, Format::Vhd).unwrap();
    let mut vhd = std::fs::read(&path).unwrap();
    assert_eq!(in_image(&DiskImage::open(&path, &OpenOptions::default()).unwrap(), "disk-structure"), Vec::<String>::new());
    vhd[100] ^= 1; // in the copy of the footer at the begin
    std::fs::write(&path, vhd).unwrap();
    assert_eq!(in_image(&DiskImage::open(&path, &OpenOptions::default()).unwrap(), "disk-structure").len(), 1, "Footers not identical");
}

#[test]
fn tables_that_the_guest_would_mend_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let raw = bytes(disk(FILES));
    assert_eq!(in_image(&open(folder.path(), &raw), "disk-structure"), Vec::<String>::new());
    let mut grown = raw.clone();
    grown.resize(raw.len() + (1 << 20), 0);
    assert_eq!(in_image(&open(folder.path(), &grown), "backup-gpt-misplaced").len(), 1, "the backup GPT is not at the end");
    let mut damaged = raw;
    damaged[512 + 16] ^= 1;
    assert_eq!(in_image(&open(folder.path(), &damaged), "disk-structure").len(), 1, "the primary GPT is damaged");
}

#[test]
fn a_damaged_filesystem_is_an_error_and_a_sound_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = bytes(disk(&[("etc/fstab", "# x\n"), ("a", "a"), ("b", "b")]));
    assert_eq!(in_image(&open(folder.path(), &raw), "filesystem-damaged"), Vec::<String>::new());
    // The first inode table's checksums do not fit any more.
    let needle = raw.windows(5).position(|window| window == [2, 0, 0, 0, 12]).unwrap();
    raw[needle] = 0xff;
    assert!(!in_image(&open(folder.path(), &raw), "filesystem-damaged").is_empty());
}

#[test]
fn filesystems_are_judged_for_the_years_to_come() {
    let of = |change: &dyn Fn(&mut rootvol::disk::Ext4Settings)| {
        let mut settings = rootvol::disk::Ext4Settings::default();
        change(&mut settings);
        let mut partition = PartitionSpec::new("linux");
        partition.source = Some(source(FILES));
        partition.size = rootvol::disk::PartitionSize::Exact(Size::bytes(48 * MIB));
        partition.filesystem = Some(Filesystem::Ext4(settings));
        image(with(|spec| (spec.partitions, spec.root) = (vec![partition], None)))
    };
    let plain = of(&|_| {});
    for rule in ["year-2038", "journal-size", "partition-alignment", "same-identifier", "several-roots"] {
        assert_eq!(in_image(&plain, rule), Vec::<String>::new(), "{rule}");
    }
    let old = of(&|settings| {
        settings.inode_bytes = Some(128);
        settings.journal = rootvol::fs::ext4::Journal::None;
    });
    assert_eq!(in_image(&old, "year-2038").len(), 1);
    assert_eq!(in_image(&old, "journal-size").len(), 1);
}

#[test]
fn two_of_one_identifier_and_two_systems_are_seen() {
    let part = || {
        let mut partition = PartitionSpec::new("linux");
        partition.source = Some(source(&[("etc/fstab", "# x\n")]));
        partition.size = rootvol::disk::PartitionSize::Exact(Size::bytes(16 << 20));
        partition
    };
    let spec = with(|spec| (spec.partitions, spec.root) = (vec![part(), part()], None));
    let two = image(spec);
    assert_eq!(in_image(&two, "same-identifier"), Vec::<String>::new(), "identifiers derive from the number");
    let linted = lint_image(&two, &options(&[Purpose::ImportImage])).unwrap();
    assert_eq!(found(&linted, "several-roots"), ["image: partitions 1, 2 each have an /etc"]);

    let folder = tempfile::tempdir().unwrap();
    let mut raw = bytes(with(|spec| (spec.partitions, spec.root) = (vec![part(), part()], None)));
    let uuid_at = |image: &DiskImage, nth: usize| usize::try_from(image.partitions()[nth].offset_bytes).unwrap() + 1024 + 0x68;
    let (first, second) = (uuid_at(&two, 0), uuid_at(&two, 1));
    let uuid = raw[first..first + 16].to_vec();
    raw[second..second + 16].copy_from_slice(&uuid);
    let seen = in_image(&open(folder.path(), &raw), "same-identifier");
    // The superblock's checksum does not fit any more: then the partition has no filesystem, and that is said.
    assert!(seen.len() == 1 || !in_image(&open(folder.path(), &raw), "disk-structure").is_empty(), "{seen:?}");
}

#[test]
fn a_planned_disk_is_judged_as_the_image_that_it_becomes() {
    let spec = || disk(&[("etc/fstab", "/dev/sda1 / ext4 rw 0 1\n"), ("srv/data", "x")]);
    let planned = lint_disk(&spec().plan().unwrap(), &LintOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = lint_image(&open(folder.path(), &bytes(spec())), &LintOptions::default()).unwrap();
    assert_eq!(planned.findings, written.findings);
    assert!(planned.count(Severity::Error) > 0);
    let error = planned.refuse_errors().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unfit);
}

#[test]
fn a_root_with_little_room_is_seen() {
    let of = |size: u64| image(with(|spec| spec.size = DiskSize::Exact(Size::bytes(size))));
    assert_eq!(in_image(&of(64 * MIB), "root-space").len(), 1);
    assert_eq!(in_image(&of(GIB), "root-space"), Vec::<String>::new());
}
