use super::*;
use crate::units::{GIB, MIB, TIB};

/// A disk in memory that is zero where nothing was put.
struct Disk {
    bytes: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    fn of(table: &Table) -> Self {
        Self { bytes: table.disk_bytes, pieces: plan(table).unwrap().pieces }
    }

    fn read(&self) -> Result<Option<Found>> {
        let read_at = |offset: u64, out: &mut [u8]| {
            let end = offset + u64_of(out.len());
            assert!(end <= self.bytes, "a read of {offset} to {end} is outside the disk of {}", self.bytes);
            out.fill(0);
            for (start, bytes) in &self.pieces {
                let (from, to) = (offset.max(*start), end.min(start + u64_of(bytes.len())));
                if from < to {
                    out[usize_of(from - offset)..usize_of(to - offset)].copy_from_slice(&bytes[usize_of(from - start)..usize_of(to - start)]);
                }
            }
            Ok(())
        };
        super::read(&read_at, self.bytes)
    }

    fn at(&mut self, offset: u64) -> &mut [u8] {
        let (start, bytes) = self.pieces.iter_mut().rfind(|(start, _)| *start <= offset).unwrap();
        &mut bytes[usize_of(offset - *start)..]
    }

    /// Makes the primary GPT's checksums right again.
    fn seal(&mut self, sector_bytes: u64) {
        let crc = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            crc.sum().to_le_bytes()
        };
        let array = crc(&self.at(2 * sector_bytes)[..128 * 128]);
        let header = self.at(sector_bytes);
        header[88..92].copy_from_slice(&array);
        header[16..20].fill(0);
        let sum = crc(&header[..92]);
        header[16..20].copy_from_slice(&sum);
    }
}

fn guid(n: u8) -> Guid {
    Guid::derive(Guid::from_name("test"), &format!("{n}"))
}

fn partition(number: u32, offset_bytes: u64, size_bytes: u64) -> Partition {
    let partition_type = PartitionType::parse("linux", TableKind::Gpt, None).unwrap();
    let name = format!("partition {number}");
    Partition { number, partition_type, guid: guid(u8::try_from(number % 256).unwrap()), name, attributes: 0, offset_bytes, size_bytes }
}

fn gpt(partitions: Vec<Partition>) -> Table {
    Table { kind: TableKind::Gpt, disk_guid: guid(0), signature: 0, sector_bytes: 512, disk_bytes: GIB, partitions, boot_code: None }
}

fn mbr(partitions: Vec<Partition>) -> Table {
    let partitions = partitions.into_iter().map(|partition| Partition {
        partition_type: PartitionType::Mbr(0x83),
        guid: Guid::from_bytes([0; 16]),
        name: String::new(),
        ..partition
    });
    Table { kind: TableKind::Mbr, signature: 0x1234_5678, disk_guid: Guid::from_bytes([0; 16]), ..gpt(partitions.collect()) }
}

#[test]
fn a_gpt_reads_back_as_it_was_planned() {
    for sector_bytes in [512, 4096] {
        for disk_bytes in [GIB, 3 * TIB, 64 * TIB] {
            let mut table = gpt(vec![partition(1, 8 * MIB, 64 * MIB), partition(14, MIB, 4 * MIB), partition(128, 100 * MIB, disk_bytes - 101 * MIB)]);
            table.sector_bytes = sector_bytes;
            table.disk_bytes = disk_bytes;
            table.partitions[0].attributes = ATTRIBUTE_LEGACY_BOOT | 1 << 60;
            table.partitions[1].name = "ünï 😀".to_owned();
            table.boot_code = Some([0x90; 440]);
            let disk = Disk::of(&table);
            crate::layout::assert_well_formed(&plan(&table).unwrap());
            let found = disk.read().unwrap().unwrap();
            assert_eq!(found, Found { table, notes: Vec::new() });
        }
    }
}

#[test]
fn an_mbr_reads_back_as_it_was_planned() {
    let mut table = mbr(vec![partition(1, MIB, 64 * MIB), partition(4, 100 * MIB, 100 * MIB)]);
    table.partitions[1].attributes = ATTRIBUTE_LEGACY_BOOT;
    assert_eq!(Disk::of(&table).read().unwrap(), Some(Found { table: table.clone(), notes: Vec::new() }));
    table.partitions[0].attributes = ATTRIBUTE_LEGACY_BOOT;
    assert!(plan(&table).is_err(), "two active partitions");
}

#[test]
fn partitions_that_no_table_can_have_are_refused() {
    let end = GIB - 33 * 512;
    for (what, partitions) in [
        ("overlap", vec![partition(1, MIB, MIB), partition(2, 2 * MIB - 512, MIB)]),
        ("one inside another", vec![partition(1, MIB, 10 * MIB), partition(2, 2 * MIB, MIB)]),
        ("over the header", vec![partition(1, 33 * 512, MIB)]),
        ("over the backup", vec![partition(1, MIB, end - MIB + 512)]),
        ("past the end", vec![partition(1, GIB, MIB)]),
        ("past 2^64", vec![partition(1, u64::MAX - 511, 1024)]),
        ("one number twice", vec![partition(1, MIB, MIB), partition(1, 2 * MIB, MIB)]),
        ("number 0", vec![partition(0, MIB, MIB)]),
        ("number 129", vec![partition(129, MIB, MIB)]),
        ("no bytes", vec![partition(1, MIB, 0)]),
        ("half a sector", vec![partition(1, MIB, 700)]),
        ("begins in a sector", vec![partition(1, MIB + 1, 512)]),
        ("a long name", vec![Partition { name: "n".repeat(37), ..partition(1, MIB, MIB) }]),
        ("a long name in UTF-16", vec![Partition { name: "😀".repeat(19), ..partition(1, MIB, MIB) }]),
        ("NUL in the name", vec![Partition { name: "a\0b".into(), ..partition(1, MIB, MIB) }]),
        ("one GUID twice", vec![partition(1, MIB, MIB), Partition { guid: guid(1), ..partition(2, 2 * MIB, MIB) }]),
        ("the disk's GUID", vec![Partition { guid: guid(0), ..partition(1, MIB, MIB) }]),
        ("no GUID", vec![Partition { guid: Guid::from_bytes([0; 16]), ..partition(1, MIB, MIB) }]),
        ("an MBR type", vec![Partition { partition_type: PartitionType::Mbr(0x83), ..partition(1, MIB, MIB) }]),
    ] {
        assert!(plan(&gpt(partitions)).is_err(), "{what}");
    }
    let fits = vec![Partition { name: "n".repeat(36), ..partition(128, 34 * 512, 512) }, partition(1, MIB, end - MIB)];
    assert!(plan(&gpt(fits)).is_ok());
    for (what, table) in [
        ("number 5", mbr(vec![partition(5, MIB, MIB)])),
        ("over the record", mbr(vec![partition(1, 0, MIB)])),
        ("an attribute", mbr(vec![Partition { attributes: 1, ..partition(1, MIB, MIB) }])),
        ("a GPT type", Table { partitions: vec![partition(1, MIB, MIB)], ..mbr(Vec::new()) }),
        ("over 2 TiB", Table { disk_bytes: 2 * TIB, ..mbr(Vec::new()) }),
        ("sectors of 520", Table { sector_bytes: 520, ..gpt(Vec::new()) }),
        ("part of a sector", Table { disk_bytes: GIB + 512, sector_bytes: 4096, ..gpt(Vec::new()) }),
        ("tiny", Table { disk_bytes: 67 * 512, ..gpt(Vec::new()) }),
        ("empty", Table { disk_bytes: 0, ..gpt(Vec::new()) }),
    ] {
        assert!(plan(&table).is_err(), "{what}");
    }
    assert!(plan(&Table { disk_bytes: 68 * 512, ..gpt(Vec::new()) }).is_ok());
    let disk_bytes = 2 * TIB - 512;
    assert!(plan(&Table { disk_bytes, ..mbr(vec![partition(1, MIB, disk_bytes - MIB)]) }).is_ok());
}

#[test]
fn r25_a_damaged_primary_gives_way_to_the_backup_and_is_noted() {
    let table = gpt(vec![partition(1, MIB, MIB), partition(15, 4 * MIB, MIB)]);
    for offset in [512, 512 + 20, 512 + 60, 1024, 1024 + 32, 512 + 16] {
        let mut disk = Disk::of(&table);
        disk.at(offset)[0] ^= 1;
        let found = disk.read().unwrap().unwrap();
        assert_eq!(found.table, table, "at {offset}");
        assert!(found.notes[0].contains("backup was read"), "{:?}", found.notes);
    }
    let mut disk = Disk::of(&table);
    disk.at(GIB - 512)[60] ^= 1;
    assert!(disk.read().unwrap().unwrap().notes[0].contains("backup GPT cannot be used"));
    disk.at(512)[60] ^= 1;
    assert!(disk.read().is_err(), "both damaged");
    disk.at(512 - 66)[4] = 0;
    assert!(disk.read().unwrap().is_none_or(|found| found.table.kind == TableKind::Mbr), "not protected, so no GPT");
}

#[test]
fn a_cut_or_grown_disk_is_noted_or_refused() {
    let table = gpt(vec![partition(1, MIB, MIB)]);
    let mut disk = Disk::of(&table);
    disk.bytes = GIB + MIB;
    assert!(disk.read().unwrap().unwrap().notes[0].contains("last sector"));
    disk.bytes = GIB / 2;
    assert!(disk.read().is_err());
    for bytes in [0, 1, 511, 512, 513, 1023, 1024, 1535, 1536, 17_408, 17_920] {
        disk.bytes = bytes;
        let _ = disk.read();
    }
}

#[test]
fn r4_r25_header_fields_are_checked_before_they_are_believed() {
    let table = gpt(vec![partition(1, MIB, MIB), partition(2, 4 * MIB, MIB)]);
    // (offset on the disk, bytes, what): each with right checksums, the backup gone.
    let cases: [(usize, &[u8], &str); 15] = [
        (512 + 12, &[91, 0, 0, 0], "header size"),
        (512 + 12, &[0, 4, 0, 0], "header size over the sector"),
        (512 + 24, &[2], "the header's own place"),
        (512 + 40, &[0xff; 8], "first usable"),
        (512 + 48, &[0xff; 8], "last usable"),
        (512 + 48, &[0, 0, 0x20, 0, 0, 0, 0, 0], "last usable past the end"),
        (512 + 72, &[0xff; 8], "entries past 2^64"),
        (512 + 72, &[0, 0, 0x20, 0], "entries past the end"),
        (512 + 72, &[0, 8], "entries where partitions lie"),
        (512 + 80, &[0xff; 4], "2^32 entries"),
        (512 + 80, &[0, 0, 0, 0], "no entries"),
        (512 + 84, &[0xff; 4], "entry size"),
        (512 + 84, &[0, 1, 0, 0], "entries of 256"),
        (512 + 84, &[0, 0, 0, 0], "entries of 0"),
        (1024 + 32, &[0xff; 8], "a partition that begins past the end"),
    ];
    for (offset, bytes, what) in cases {
        let mut disk = Disk::of(&table);
        disk.at(GIB - 512)[..8].fill(0);
        disk.at(u64_of(offset))[..bytes.len()].copy_from_slice(bytes);
        disk.seal(512);
        let error = disk.read().expect_err(what);
        assert!(!error.to_string().is_empty());
    }
    let mut disk = Disk::of(&table);
    disk.at(GIB - 512)[..8].fill(0);
    let first = disk.at(1024)[32..48].to_vec();
    disk.at(1024 + 128)[32..48].copy_from_slice(&first);
    disk.seal(512);
    assert!(disk.read().unwrap_err().to_string().contains("overlap"));
    disk.at(1024 + 128)[..16].fill(0);
    disk.seal(512);
    assert_eq!(disk.read().unwrap().unwrap().table.partitions.len(), 1, "an entry of the unused type counts as none");
}

#[test]
fn extended_partitions_are_followed_within_bounds() {
    let record = |os_type, first: u32, count: u32| PartitionRecord { os_type, starting_lba: first, size_in_lba: count, ..PartitionRecord::default() };
    use super::format::PartitionRecord;
    let sector = |records: [PartitionRecord; 4]| {
        let mbr = Mbr { boot_code: [0; 440], unique_mbr_disk_signature: 7, unknown: 0, partition_record: records, signature: SIGNATURE };
        mbr.encode().to_vec()
    };
    let none = PartitionRecord::default();
    let base = 2048 * 512;
    let disk = |second: [PartitionRecord; 4]| Disk {
        bytes: GIB,
        pieces: vec![
            (0, sector([none, record(0x0f, 2048, 8192), none, none])),
            (base, sector([record(0x83, 63, 1000), record(0x05, 2000, 2000), none, none])),
            (base + 2000 * 512, sector(second)),
        ],
    };
    let found = disk([record(0x82, 63, 100), none, none, none]).read().unwrap().unwrap();
    let numbers: Vec<_> = found.table.partitions.iter().map(|partition| (partition.number, partition.offset_bytes / 512)).collect();
    assert_eq!(numbers, [(2, 2048), (5, 2048 + 63), (6, 4048 + 63)]);
    for (what, second) in [
        ("a loop", [record(0x82, 63, 100), record(0x05, 2000, 10), none, none]),
        ("a loop to the first", [none, record(0x05, 0, 10), none, none]),
        ("outside", [none, record(0x05, u32::MAX, 10), none, none]),
        ("no signature", [none, record(0x05, 3000, 10), none, none]),
        ("past the extended partition", [record(0x82, 63, 9000), none, none, none]),
        ("past the disk", [record(0x82, u32::MAX, u32::MAX), none, none, none]),
    ] {
        assert!(disk(second).read().is_err(), "{what}");
    }
}

#[test]
fn what_is_no_table_is_none() {
    let disk = |sector: Vec<u8>| Disk { bytes: MIB, pieces: vec![(0, sector)] };
    let mut boot_sector = vec![0; 512];
    assert_eq!(disk(boot_sector.clone()).read().unwrap(), None);
    boot_sector[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
    boot_sector[510..].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(disk(boot_sector.clone()).read().unwrap(), None);
    boot_sector[440..510].fill(0x42);
    assert_eq!(disk(boot_sector).read().unwrap(), None);
}

#[test]
fn r1_r25_no_flipped_bit_makes_the_reader_panic_or_read_outside() {
    for table in [gpt(vec![partition(1, MIB, MIB), partition(15, 4 * MIB, MIB)]), mbr(vec![partition(1, MIB, MIB)])] {
        let mut disk = Disk::of(&table);
        let end = u64_of(disk.pieces[0].1.len()).min(2048);
        for bit in (440 * 8)..end * 8 {
            disk.at(bit / 8)[0] ^= 1 << (bit % 8);
            if table.kind == TableKind::Gpt && bit >= 512 * 8 {
                let damaged = disk.pieces[0].1.clone();
                disk.seal(512);
                let _ = disk.read();
                disk.pieces[0].1 = damaged;
            }
            let _ = disk.read();
            disk.at(bit / 8)[0] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_a_missing_table() {
    for kind in [crate::ErrorKind::Io, crate::ErrorKind::Corrupt] {
        for bad in [0, 512, 4096, MIB - 512] {
            let table = Table { disk_bytes: MIB, ..gpt(Vec::new()) };
            let disk = Disk::of(&table);
            let read_at = |offset: u64, out: &mut [u8]| {
                out.fill(0);
                let (start, bytes) = disk.pieces.iter().rfind(|(start, _)| *start <= offset).unwrap();
                let from = usize_of(offset - start);
                if let Some(bytes) = bytes.get(from..from + out.len()) {
                    out.copy_from_slice(bytes);
                }
                // Without the protective partition, and with a primary that is not sound, all of them are looked at.
                if offset == 0 {
                    out[446..462].fill(0);
                } else if offset == 512 {
                    out.fill(0);
                }
                if offset == bad { Err(Error::new(kind, "unreadable")) } else { Ok(()) }
            };
            let found = super::read(&read_at, MIB);
            if bad == MIB - 512 {
                assert!(found.unwrap().is_some_and(|found| found.table.kind == TableKind::Mbr), "a backup that counts for nothing is not read");
            } else {
                assert_eq!(found.unwrap_err().kind(), kind);
            }
        }
    }
}
