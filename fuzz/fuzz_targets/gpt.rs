//! Any disk as one with a GPT. Checksums of headers and entries are set right first, so that the fields behind them are reached too.
//!
//! Invariants:
//! - No panic; no memory or time from a field that was not checked.
//! - Partitions that are given lie on the disk, do not overlap and have numbers of their own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::partition;

fuzz_target!(|data: &[u8]| {
    let mut disk = data.to_vec();
    for sector in [512, 4096] {
        seal(&mut disk, sector, sector);
        let last = (disk.len() / sector).saturating_sub(1) * sector;
        seal(&mut disk, last, sector);
    }
    let size = disk.len() as u64;
    let read = |offset: u64, out: &mut [u8]| {
        let range = offset.checked_add(out.len() as u64).filter(|end| *end <= size).map(|end| offset as usize..end as usize);
        out.copy_from_slice(&disk[range.ok_or_else(|| rootvol::Error::corrupt("past the end"))?]);
        Ok(())
    };
    let Ok(Some(found)) = partition::read(&read, size) else { return };
    let mut partitions = found.table.partitions;
    partitions.sort_by_key(|partition| partition.offset_bytes);
    for partition in &partitions {
        assert!(partition.range().end <= size && partition.range().start < partition.range().end, "{partition:?} on a disk of {size}");
    }
    for pair in partitions.windows(2) {
        assert!(pair[0].range().end <= pair[1].range().start, "{pair:?} overlap");
    }
    partitions.sort_by_key(|partition| partition.number);
    assert!(partitions.windows(2).all(|pair| pair[0].number < pair[1].number), "two of one number");
});

/// Sets the checksums of the header at `at`.
fn seal(disk: &mut [u8], at: usize, sector: usize) {
    let Some(header) = disk.get(at..at + 92).filter(|header| header.starts_with(b"EFI PART")) else { return };
    let u32_at = |offset: usize| u32::from_le_bytes(header[offset..offset + 4].try_into().unwrap()) as usize;
    let entries_at = u64::from_le_bytes(header[72..80].try_into().unwrap()).checked_mul(sector as u64).and_then(|at| usize::try_from(at).ok());
    let (size, len) = (u32_at(12), u32_at(80).checked_mul(u32_at(84)));
    let entries = entries_at.zip(len).and_then(|(at, len)| disk.get(at..at.checked_add(len)?));
    if let Some(sum) = entries.map(crc32) {
        disk[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    disk[at + 16..at + 20].fill(0);
    if let Some(sum) = disk.get(at..at.saturating_add(size)).map(crc32) {
        disk[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut sum, byte| {
        sum ^= u32::from(*byte);
        (0..8).for_each(|_| sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 });
        sum
    })
}
