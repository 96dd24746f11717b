//! Any disk as one with an MBR, of sectors of 512 and of 4,096 bytes.
//!
//! ```text
//! u32 sectors of the disk, little-endian │ its first sectors; the rest is zero
//! ```
//!
//! Invariants:
//! - No panic; chains of extended partitions end.
//! - Partitions that are given lie on the disk and have numbers of their own; but for extended ones, which hold others, they do not overlap.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::partition::{self, Partition, PartitionType};

fuzz_target!(|data: &[u8]| {
    let Some((sectors, stored)) = data.split_first_chunk::<4>() else { return };
    let mut stored = stored.to_vec();
    // What has a GPT is the target gpt's.
    for at in [512, 4096] {
        if let Some(signature) = stored.get_mut(at..at + 8).filter(|bytes| *bytes == b"EFI PART") {
            signature.fill(0);
        }
    }
    let size = u64::from(u32::from_le_bytes(*sectors)) * 512;
    let read = |offset: u64, out: &mut [u8]| {
        offset.checked_add(out.len() as u64).filter(|end| *end <= size).ok_or_else(|| rootvol::Error::corrupt("past the end"))?;
        let rest = usize::try_from(offset).ok().and_then(|offset| stored.get(offset..)).unwrap_or(&[]);
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        out[len..].fill(0);
        Ok(())
    };
    for sector in [512, 4096] {
        let Ok(Some(found)) = partition::read_with_sectors(&read, size, sector) else { continue };
        let mut partitions = found.table.partitions;
        partitions.sort_by_key(|partition| partition.offset_bytes);
        for partition in &partitions {
            assert!(partition.range().end <= size && partition.range().start < partition.range().end, "{partition:?} on a disk of {size}");
        }
        let is_extended = |partition: &Partition| matches!(partition.partition_type, PartitionType::Mbr(0x05 | 0x0f | 0x85));
        let others: Vec<&Partition> = partitions.iter().filter(|partition| !is_extended(partition)).collect();
        for pair in others.windows(2) {
            assert!(pair[0].range().end <= pair[1].range().start, "{pair:?} overlap");
        }
        partitions.sort_by_key(|partition| partition.number);
        assert!(partitions.windows(2).all(|pair| pair[0].number < pair[1].number), "two of one number");
    }
});
