use super::*;
use crate::error::ErrorKind;

/// All quota blocks, in blocks of the filesystem of `block_bytes`.
fn rendered(file: &QuotaFile, usage: &[Usage], block_bytes: usize) -> Vec<u8> {
    let mut out = vec![0xff; usize_of(file.blocks(u64_of(block_bytes))) * block_bytes];
    for (block, number) in out.chunks_exact_mut(block_bytes).zip(0..) {
        file.render(usage, number, block);
    }
    out
}

/// Looks an id up as the kernel does.
fn look_up(bytes: &[u8], id: u32) -> Option<QuotaEntry> {
    let block = |number: u32| &bytes[usize_of(u64::from(number)) * QUOTA_BLOCK_BYTES..][..QUOTA_BLOCK_BYTES];
    let mut at = QUOTA_TREE_ROOT;
    for byte in id.to_be_bytes() {
        let slot = usize::from(byte) * POINTER_BYTES;
        at = u32::from_le_bytes(block(at)[slot..slot + POINTER_BYTES].try_into().unwrap());
        if at == 0 {
            return None;
        }
    }
    let entries = block(at)[QUOTA_LEAF_HEADER_BYTES..].chunks_exact(QUOTA_ENTRY_BYTES);
    let entry = entries.filter(|b| b.iter().any(|byte| *byte != 0)).map(|b| QuotaEntry::decode(b.try_into().unwrap())).find(|entry| entry.dqb_id == id);
    Some(entry.expect("a referenced entry is there"))
}

fn header(bytes: &[u8]) -> QuotaHeader {
    QuotaHeader::decode(bytes[..QUOTA_HEADER_BYTES].try_into().unwrap())
}

#[test]
fn every_id_is_found_and_no_other() {
    let edges = vec![0, 1, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, u32::MAX - 1, u32::MAX];
    let many = (0..5000_u32).map(|n| n.wrapping_mul(0x9e37_79b1)).collect();
    let dense = (0..3000).collect();
    for ids in [vec![0], edges, many, dense] {
        for block_bytes in [1024, 2048, 4096] {
            let file = QuotaFile::new(Kind::Group, ids.iter().rev().copied().collect()).unwrap();
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            let usage: Vec<Usage> = sorted.iter().map(|id| Usage { space_bytes: u64::from(*id) * 512, inodes: u64::from(*id) + 1 }).collect();
            let bytes = rendered(&file, &usage, block_bytes);
            for id in &ids {
                let expected = QuotaEntry { dqb_id: *id, dqb_curspace: u64::from(*id) * 512, dqb_curinodes: u64::from(*id) + 1, ..QuotaEntry::default() };
                assert_eq!(look_up(&bytes, *id), Some(expected));
                let next = id.wrapping_add(1);
                assert_eq!(look_up(&bytes, next).is_some(), sorted.binary_search(&next).is_ok(), "{next}");
            }
            assert_eq!(u64::from(header(&bytes).dqi_blocks), file.quota_blocks());
            assert!(bytes[usize_of(file.quota_blocks()) * QUOTA_BLOCK_BYTES..].iter().all(|byte| *byte == 0), "behind the last quota block is nothing");
        }
    }
}

#[test]
fn a_full_block_of_entries_is_not_offered_for_new_ones() {
    for (count, quota_blocks, free_entry, in_last) in [(1, 6, 5, 1), (13, 6, 5, 13), (14, 6, 0, 14), (15, 7, 6, 1), (28, 7, 0, 14)] {
        let file = QuotaFile::new(Kind::User, (0..count).collect()).unwrap();
        let usage = vec![Usage { space_bytes: 0, inodes: 1 }; file.prefixes[IDS].len()];
        let bytes = rendered(&file, &usage, 1024);
        let header = header(&bytes);
        assert_eq!((header.dqi_blocks, header.dqi_free_blk, header.dqi_free_entry), (quota_blocks, 0, free_entry), "{count} ids");
        let last = &bytes[bytes.len() - QUOTA_BLOCK_BYTES..][..QUOTA_LEAF_HEADER_BYTES];
        let expected = QuotaLeafHeader { dqdh_entries: in_last, ..QuotaLeafHeader::default() };
        assert_eq!(QuotaLeafHeader::decode(last.try_into().unwrap()), expected, "{count} ids");
    }
}

#[test]
fn an_id_that_has_nothing_is_not_taken_for_a_free_entry() {
    let file = QuotaFile::new(Kind::Project, vec![0]).unwrap();
    let bytes = rendered(&file, &[Usage::default()], 4096);
    assert_eq!(look_up(&bytes, 0), Some(QuotaEntry { dqb_itime: 1, ..QuotaEntry::default() }));
    assert_eq!(header(&bytes).dqh_magic, 0xd9c0_3f14);
}

#[test]
fn files_that_e2fsck_would_take_for_damage_are_refused() {
    // 65,536 nodes for two bytes, one for three bytes and an entry for each id.
    let ids = |count: u32| (0..count).map(|n| n << 11).collect();
    let file = QuotaFile::new(Kind::User, ids(1 << 20)).unwrap();
    assert_eq!(file.quota_blocks(), 2 + 128 + 32_768 + (1 << 20) + (1_u64 << 20).div_ceil(14));
    let error = QuotaFile::new(Kind::User, ids(1 << 21)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("2097152 owners"), "{error}");
}
