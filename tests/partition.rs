//! Partition tables judged by others: sgdisk, sfdisk, and the crate gpt reading back.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]

mod common;

use common::judge;
use rootvol::Guid;
use rootvol::layout::{Layout as _, segments};
use rootvol::partition::{self, ATTRIBUTE_LEGACY_BOOT, Partition, PartitionType, Table, TableKind};
use rootvol::units::{GIB, MIB, TIB};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

fn guid(role: &str) -> Guid {
    Guid::derive(Guid::from_name("partition tests"), role)
}

fn table(kind: TableKind, sector_bytes: u32, disk_bytes: u64, partitions: &[(u32, &str, &str, u64, u64)]) -> Table {
    let partitions = partitions.iter().map(|(number, partition_type, name, offset_bytes, size_bytes)| Partition {
        number: *number,
        partition_type: PartitionType::parse(partition_type, kind, Some("x86_64")).unwrap(),
        guid: if kind == TableKind::Gpt { guid(&number.to_string()) } else { Guid::from_bytes([0; 16]) },
        name: (*name).to_owned(),
        attributes: 0,
        offset_bytes: *offset_bytes,
        size_bytes: *size_bytes,
    });
    let partitions = partitions.collect();
    Table { kind, disk_guid: guid("disk"), signature: 0xdead_beef, sector_bytes, disk_bytes, partitions, boot_code: None }
}

/// The usual disk for the cloud: BIOS boot and ESP with the numbers 14 and 15, the root last.
fn cloud(sector_bytes: u32, disk_bytes: u64) -> Table {
    let root = 132 * MIB;
    let mut table = table(
        TableKind::Gpt,
        sector_bytes,
        disk_bytes,
        &[(1, "root", "root", root, disk_bytes - root - MIB), (14, "bios-boot", "", MIB, 3 * MIB), (15, "esp", "EFI system ünï", 4 * MIB, 128 * MIB)],
    );
    table.partitions[1].attributes = ATTRIBUTE_LEGACY_BOOT;
    table
}

fn write_image(table: &Table, path: &Path) {
    let layout = partition::plan(table).unwrap();
    let mut file = File::create(path).unwrap();
    file.set_len(layout.size_bytes()).unwrap();
    for segment in segments(&layout, 0..layout.size_bytes()) {
        let mut bytes = vec![0; usize::try_from(segment.range.end - segment.range.start).unwrap()];
        layout.render(segment.range.start, &mut bytes);
        file.seek(SeekFrom::Start(segment.range.start)).unwrap();
        file.write_all(&bytes).unwrap();
    }
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn read(path: &Path) -> partition::Found {
    read_with_sectors(path, 512)
}

fn read_with_sectors(path: &Path, mbr_sector_bytes: u32) -> partition::Found {
    let file = std::cell::RefCell::new(File::open(path).unwrap());
    let size = file.borrow().metadata().unwrap().len();
    let read_at = |offset: u64, out: &mut [u8]| {
        let mut file = file.borrow_mut();
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(out)).map_err(|error| rootvol::Error::io("cannot read", error))
    };
    partition::read_with_sectors(&read_at, size, mbr_sector_bytes).unwrap().expect("a table")
}

/// sgdisk and sfdisk exit with 0 whatever they find: their text counts. Both take a file's sectors to have 512 bytes.
fn verify(image: &Path, kind: TableKind) {
    if let Some(mut sgdisk) = judge("sgdisk").filter(|_| kind == TableKind::Gpt) {
        let text = text(sgdisk.arg("-v").arg(image));
        assert!(text.contains("No problems found"), "sgdisk: {text}");
        for complaint in ["Warning", "Caution", "Problem", "corrupt", "invalid", "not aligned"] {
            assert!(!text.contains(complaint), "sgdisk: {text}");
        }
    }
    if let Some(mut sfdisk) = judge("sfdisk") {
        let text = text(sfdisk.arg("--verify").arg(image));
        assert!(text.contains("No errors detected"), "sfdisk: {text}");
        assert!(!text.to_lowercase().contains("warn"), "sfdisk: {text}");
    }
}

/// fdisk can be told of sectors of 4,096 bytes: what it shows of the table, whatever it thinks of it.
fn fdisk_agrees(table: &Table, image: &Path) {
    let Some(mut fdisk) = judge("fdisk") else { return };
    let columns = if table.kind == TableKind::Gpt { "Device,Start,Sectors,Type-UUID,UUID,Name,Attrs" } else { "Device,Boot,Start,Sectors,Id" };
    let text = text(fdisk.args(["--sector-size", &table.sector_bytes.to_string(), "--list", "--output", columns]).arg(image));
    for complaint in ["corrupt", "mismatch", "backup", "does not", "overlap"] {
        assert!(!text.contains(complaint), "fdisk: {text}");
    }
    assert!(text.contains(if table.kind == TableKind::Gpt { "Disklabel type: gpt" } else { "Disklabel type: dos" }), "{text}");
    let sector_bytes = u64::from(table.sector_bytes);
    for partition in &table.partitions {
        let node = format!("{}{}", image.display(), partition.number);
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(&node)).unwrap_or_else(|| panic!("{node} is not in {text}"));
        let mut wanted = vec![node, (partition.offset_bytes / sector_bytes).to_string(), (partition.size_bytes / sector_bytes).to_string()];
        match partition.partition_type {
            PartitionType::Gpt(guid) => {
                wanted.extend([guid.to_string().to_uppercase(), partition.guid.to_string().to_uppercase()]);
                wanted.extend(partition.name.split_whitespace().map(str::to_owned));
            }
            PartitionType::Mbr(byte) => wanted.push(format!("{byte:x}")),
        }
        if partition.attributes == ATTRIBUTE_LEGACY_BOOT {
            let at = if table.kind == TableKind::Gpt { wanted.len() } else { 1 };
            wanted.insert(at, if table.kind == TableKind::Gpt { "LegacyBIOSBootable" } else { "*" }.to_owned());
        }
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_gpt_is_sound_to_sgdisk_sfdisk_and_the_crate_gpt() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("gpt.img");
    for (sector_bytes, disk_bytes) in [(512, GIB), (512, 2 * TIB + GIB), (512, 8 * TIB), (4096, GIB), (4096, 8 * TIB)] {
        let table = cloud(sector_bytes, disk_bytes);
        write_image(&table, &image);
        if sector_bytes == 512 {
            verify(&image, table.kind);
            sfdisk_agrees(&table, &image);
        }
        fdisk_agrees(&table, &image);
        crate_gpt_agrees(&table, &image);
        let found = read(&image);
        let mut wanted = Table { signature: 0, ..table };
        wanted.partitions.sort_by_key(|partition| partition.number);
        assert_eq!((found.table, found.notes), (wanted, Vec::new()));
    }
}

fn sfdisk_agrees(table: &Table, image: &Path) {
    let Some(mut sfdisk) = judge("sfdisk") else { return };
    let text = text(sfdisk.arg("-J").arg(image));
    let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found = &found["partitiontable"];
    let sector_bytes = u64::from(table.sector_bytes);
    let usable = partition::usable_bytes(table.kind, table.sector_bytes, table.disk_bytes).unwrap();
    let label = if table.kind == TableKind::Gpt { "gpt" } else { "dos" };
    assert_eq!((&found["label"], &found["sectorsize"]), (&label.into(), &table.sector_bytes.into()), "{text}");
    if table.kind == TableKind::Gpt {
        assert_eq!(found["id"], table.disk_guid.to_string().to_uppercase());
        assert_eq!((&found["firstlba"], &found["lastlba"]), (&(usable.start / sector_bytes).into(), &(usable.end / sector_bytes - 1).into()));
    } else {
        assert_eq!(found["id"], format!("0x{:08x}", table.signature));
    }
    let found = found["partitions"].as_array().unwrap();
    assert_eq!(found.len(), table.partitions.len(), "{text}");
    for partition in &table.partitions {
        let node = format!("{}{}", image.display(), partition.number);
        let other = found.iter().find(|other| other["node"] == node).unwrap_or_else(|| panic!("{node} is not in {text}"));
        assert_eq!(other["start"], partition.offset_bytes / sector_bytes);
        assert_eq!(other["size"], partition.size_bytes / sector_bytes);
        match partition.partition_type {
            PartitionType::Gpt(guid) => {
                assert_eq!(other["type"], guid.to_string().to_uppercase());
                assert_eq!(other["uuid"], partition.guid.to_string().to_uppercase());
                assert_eq!(other["name"].as_str().unwrap_or_default(), partition.name);
                let attributes = if partition.attributes == ATTRIBUTE_LEGACY_BOOT { "LegacyBIOSBootable" } else { "" };
                assert_eq!(other["attrs"].as_str().unwrap_or_default(), attributes);
            }
            PartitionType::Mbr(byte) => {
                assert_eq!(other["type"], format!("{byte:x}"));
                assert_eq!(other["bootable"].as_bool().unwrap_or_default(), partition.attributes == ATTRIBUTE_LEGACY_BOOT);
            }
        }
    }
}

fn crate_gpt_agrees(table: &Table, image: &Path) {
    let size = gpt::disk::LogicalBlockSize::try_from(u64::from(table.sector_bytes)).unwrap();
    let disk = gpt::GptConfig::new().logical_block_size(size).only_valid_headers(true).open(image).unwrap();
    assert_eq!(disk.guid().to_string(), table.disk_guid.to_string());
    assert_eq!(disk.primary_header().unwrap().backup_lba, disk.backup_header().unwrap().current_lba);
    assert_eq!(disk.partitions().len(), table.partitions.len());
    for partition in &table.partitions {
        let other = &disk.partitions()[&partition.number];
        assert_eq!(other.name, partition.name);
        assert_eq!(other.part_guid.to_string(), partition.guid.to_string());
        assert_eq!(other.bytes_start(size).unwrap(), partition.offset_bytes);
        assert_eq!(other.bytes_len(size).unwrap(), partition.size_bytes);
        assert_eq!(PartitionType::Gpt(other.part_type_guid.guid.to_string().parse().unwrap()), partition.partition_type);
    }
    let mut file = File::open(image).unwrap();
    let mut sector = vec![0; size.as_usize()];
    file.read_exact(&mut sector).unwrap();
    let record = gpt::mbr::ProtectiveMBR::from_bytes(&sector, size).unwrap().partition(0).unwrap();
    let sectors = table.disk_bytes / u64::from(table.sector_bytes);
    assert_eq!((record.os_type, record.lb_start), (0xee, 1));
    assert_eq!(u64::from(record.lb_size), (sectors - 1).min(u64::from(u32::MAX)));
}

#[test]
fn sgdisk_shows_partitions_as_they_were_asked_for() {
    let Some(mut sgdisk) = judge("sgdisk") else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("gpt.img");
    let table = cloud(512, 8 * GIB);
    write_image(&table, &image);
    let listing = text(sgdisk.arg("-p").arg(&image));
    assert!(listing.contains(&format!("Disk identifier (GUID): {}", table.disk_guid.to_string().to_uppercase())), "{listing}");
    let numbers: Vec<&str> = listing.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.parse::<u32>().is_ok()).collect();
    assert_eq!(numbers, ["1", "14", "15"]);
    let details = text(judge("sgdisk").expect("it was there").args(["-i", "15"]).arg(&image));
    for line in [
        "Partition GUID code: C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EFI system partition)".to_owned(),
        format!("Partition unique GUID: {}", guid("15").to_string().to_uppercase()),
        "First sector: 8192".to_owned(),
        "Last sector: 270335".to_owned(),
        "Attribute flags: 0000000000000000".to_owned(),
        "Partition name: 'EFI system ünï'".to_owned(),
    ] {
        assert!(details.contains(&line), "{line:?} is not in {details}");
    }
}

#[test]
fn an_mbr_is_sound_to_sfdisk() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("mbr.img");
    for (sector_bytes, disk_bytes) in [(512, GIB), (512, 20 * GIB), (512, 2 * TIB - 512), (4096, GIB), (4096, 4 * TIB)] {
        let root = 200 * MIB;
        let mut table = table(
            TableKind::Mbr,
            sector_bytes,
            disk_bytes,
            &[(1, "esp", "", MIB, 100 * MIB), (3, "linux", "", root, disk_bytes - root), (4, "0xa5", "", 150 * MIB, MIB)],
        );
        table.partitions[1].attributes = ATTRIBUTE_LEGACY_BOOT;
        table.disk_guid = Guid::from_bytes([0; 16]);
        write_image(&table, &image);
        if sector_bytes == 512 {
            verify(&image, table.kind);
            sfdisk_agrees(&table, &image);
        }
        fdisk_agrees(&table, &image);
        let found = read_with_sectors(&image, sector_bytes);
        assert_eq!((found.table, found.notes), (table, Vec::new()));
    }
}

#[test]
fn what_other_tools_make_is_read() {
    let (Some(mut sgdisk), Some(mut sfdisk)) = (judge("sgdisk"), judge("sfdisk")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("other.img");
    File::create(&image).unwrap().set_len(GIB).unwrap();
    let made = text(sgdisk.args(["-n", "2:2048:+100M", "-t", "2:ef00", "-c", "2:ESP", "-n", "1:0:0", "-t", "1:8304", "-c", "1:the root"]).arg(&image));
    let found = read(&image);
    let shown: Vec<String> = found.table.partitions.iter().map(|p| format!("{} {} {:?} {}", p.number, p.partition_type, p.name, p.offset_bytes)).collect();
    assert_eq!(shown, [format!("1 root-x86-64 {:?} {}", "the root", 101 * MIB), format!("2 esp {:?} {MIB}", "ESP")], "{made}");
    assert_eq!(found.notes, Vec::<String>::new());

    // An extended partition with two logical ones.
    File::create(&image).unwrap().set_len(GIB).unwrap();
    let script = "label: dos\nstart=2048, size=2048, type=83, bootable\nstart=4096, size=100000, type=5\nstart=6144, size=2048, type=82\nstart=10240, size=2048, type=83\n";
    let mut child = sfdisk.arg("--quiet").arg(&image).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let found = read(&image).table;
    let shown: Vec<(u32, String, u64)> = found.partitions.iter().map(|p| (p.number, p.partition_type.to_string(), p.offset_bytes / 512)).collect();
    let wanted = [(1, "linux", 2048), (2, "0x05", 4096), (5, "swap", 6144), (6, "linux", 10_240)].map(|(number, name, first)| (number, name.to_owned(), first));
    assert_eq!(shown, wanted);
}

#[test]
fn type_guids_are_those_that_sfdisk_lists() {
    let Some(mut sfdisk) = judge("sfdisk") else { return };
    let listed = text(sfdisk.args(["--label", "gpt", "--list-types"])).to_lowercase();
    let mut names = vec!["esp", "xbootldr", "linux", "swap", "home", "srv", "var", "tmp", "user-home", "linux-lvm", "linux-raid", "bios-boot", "prep"];
    names.extend(["microsoft-reserved", "microsoft-basic-data"]);
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut shown: Vec<String> = [
        "efi system",
        "linux extended boot",
        "linux filesystem",
        "linux swap",
        "linux home",
        "linux server data",
        "linux variable data",
        "linux temporary data",
    ]
    .into_iter()
    .chain(["linux user's home", "linux lvm", "linux raid", "bios boot", "powerpc prep boot", "microsoft reserved", "microsoft basic data"])
    .map(str::to_owned)
    .collect();
    for (ours, theirs) in [("root", "linux root"), ("usr", "linux /usr")] {
        for (architecture, title) in [
            ("x86-64", "x86-64"),
            ("x86", "x86"),
            ("arm64", "arm-64"),
            ("arm", "arm"),
            ("riscv64", "risc-v-64"),
            ("loongarch64", "loongarch-64"),
            ("ppc64-le", "ppc64le"),
            ("s390x", "s390x"),
        ] {
            for (suffix, part) in [("", ""), ("-verity", " verity"), ("-verity-sig", " verity sign.")] {
                names.push(format!("{ours}-{architecture}{suffix}"));
                shown.push(format!("{theirs}{part} ({title})"));
            }
        }
    }
    for (name, title) in names.iter().zip(&shown) {
        let PartitionType::Gpt(guid) = PartitionType::parse(name, TableKind::Gpt, None).unwrap() else { panic!("{name}") };
        let line = listed
            .lines()
            .find(|line| line.split_once("  ").is_some_and(|(_, other)| other.trim() == title))
            .unwrap_or_else(|| panic!("{title} is not listed"));
        assert!(line.starts_with(&guid.to_string()), "{name} is {guid}, and sfdisk lists {line}");
    }
}

/// Whoever changes the bytes of a table changes this line, and says why.
#[test]
fn the_bytes_of_a_table_are_pinned() {
    use sha2::{Digest as _, Sha256};
    let layout = partition::plan(&cloud(512, 8 * GIB)).unwrap();
    let mut hash = Sha256::new();
    for segment in segments(&layout, 0..layout.size_bytes()) {
        let mut bytes = vec![0; usize::try_from(segment.range.end - segment.range.start).unwrap()];
        layout.render(segment.range.start, &mut bytes);
        hash.update(&bytes);
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "f9fe0b7a9693cd50a8fbfb31d7c8dedac96b092bbbf48ef563cea24f9c230c87");
}
