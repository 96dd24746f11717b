use super::*;

fn sample() -> BlockChecksums {
    let mut blocks = BlockChecksums::new(100);
    blocks.push_data(BlockIndex(0), [1; 32]);
    blocks.push_data(BlockIndex(1), [2; 32]);
    blocks.push_zeros(BlockIndex(2), 1);
    blocks.push_zeros(BlockIndex(3), 5);
    blocks.push_data(BlockIndex(20), [3; 32]);
    blocks.push_data(BlockIndex(99), [4; 32]);
    blocks
}

#[test]
fn the_constant_is_the_digest_of_a_block_of_zeros() {
    let digest: Digest = Sha256::digest(vec![0; crate::units::BLOCK_LEN]).into();
    assert_eq!(digest, ZERO_BLOCK_DIGEST);
    assert_eq!(base64_encode(&digest), "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=");
}

#[test]
fn runs_cover_the_disk_without_gap() {
    let blocks = sample();
    let runs: Vec<_> = blocks.runs().map(|run| (run.first.0, run.count, run.state)).collect();
    use BlockState::{Data, Unused, Zero};
    assert_eq!(runs, [(0, 2, Data), (2, 6, Zero), (8, 12, Unused), (20, 1, Data), (21, 78, Unused), (99, 1, Data)]);
    assert_eq!((blocks.data_blocks(), blocks.zero_blocks(), blocks.unused_blocks()), (4, 6, 90));
    assert_eq!(BlockChecksums::new(3).runs().count(), 1);
    assert_eq!(BlockChecksums::new(0).runs().count(), 0);
}

#[test]
fn blocks_are_found_by_index_and_in_order() {
    let blocks = sample();
    assert_eq!(blocks.get(BlockIndex(1)).unwrap().digest, [2; 32]);
    assert_eq!(blocks.get(BlockIndex(7)).unwrap(), BlockChecksum { index: BlockIndex(7), state: BlockState::Zero, digest: ZERO_BLOCK_DIGEST });
    assert_eq!(blocks.get(BlockIndex(8)), None);
    assert_eq!(blocks.get(BlockIndex(20)).unwrap().digest, [3; 32]);
    assert_eq!(blocks.get(BlockIndex(100)), None);
    assert_eq!(blocks.iter().map(|block| block.index.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 20, 99]);
}

#[test]
fn the_aggregate_is_over_digests_of_data_and_zero_blocks() {
    let mut bytes = [[1; 32], [2; 32]].concat();
    bytes.extend([ZERO_BLOCK_DIGEST; 6].concat());
    bytes.extend([[3; 32], [4; 32]].concat());
    let expected: Digest = Sha256::digest(&bytes).into();
    assert_eq!(sample().linear(), expected);

    let mut zeros = BlockChecksums::new(1000);
    zeros.push_zeros(BlockIndex(0), 1000);
    let expected: Digest = Sha256::digest([ZERO_BLOCK_DIGEST; 1000].concat()).into();
    assert_eq!(zeros.linear(), expected, "more zeros than one buffer of them");
}

#[test]
fn json_lines_are_as_documented_and_read_back() {
    let blocks = sample();
    let mut text = Vec::new();
    blocks.write_jsonl(&mut text).unwrap();
    let lines: Vec<_> = std::str::from_utf8(&text).unwrap().lines().collect();
    assert_eq!(lines[0], r#"{"index":0,"state":"data","checksum":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#);
    assert_eq!(lines[2], r#"{"index":2,"count":6,"state":"zero"}"#);
    assert_eq!(lines[3], r#"{"index":8,"count":12,"state":"unused"}"#);
    assert_eq!(lines.len(), 7);
    assert_eq!(BlockChecksums::read_jsonl(&mut text.as_slice()).unwrap(), blocks);
}

/// Every way to cut a disk in two, empty slices too; the parts go through their lines of JSON, as between machines.
#[test]
fn slices_join_to_the_whole_and_neither_overlap_nor_leave_a_gap() {
    let whole = sample();
    let part = |blocks: std::ops::Range<u64>| {
        let mut part = BlockChecksums::of_slice(BlockIndex(blocks.start)..BlockIndex(blocks.end));
        for block in whole.iter().filter(|block| blocks.contains(&block.index.0)) {
            match block.state {
                BlockState::Data => part.push_data(block.index, block.digest),
                _ => part.push_zeros(block.index, 1),
            }
        }
        assert_eq!(part.block_count(), blocks.end - blocks.start);
        let mut lines = Vec::new();
        part.write_jsonl(&mut lines).unwrap();
        if lines.is_empty() {
            return part;
        }
        let read = BlockChecksums::read_slice_jsonl(&mut lines.as_slice()).unwrap();
        assert_eq!(read, part);
        read
    };
    for cut in 0..=100 {
        let joined = BlockChecksums::merge([part(0..cut), part(cut..100)]).unwrap();
        assert_eq!(joined, whole, "cut at {cut}");
        assert_eq!(joined.linear(), whole.linear());
    }
    assert_eq!(BlockChecksums::merge((0..100).map(|block| part(block..block + 1))).unwrap(), whole);
    for (first, second) in [(0..50, 51..100), (0..50, 49..100), (50..100, 0..50)] {
        assert!(BlockChecksums::merge([part(first), part(second)]).is_err());
    }
    assert!(BlockChecksums::merge([]).is_err());
}

#[test]
fn unused_blocks_can_be_taken_for_zero() {
    let all = sample().unused_as_zeros();
    assert_eq!((all.data_blocks(), all.unused_blocks(), all.block_count()), (sample().data_blocks(), 0, 100));
    let digests: Vec<Digest> = (0..100).map(|index| sample().get(BlockIndex(index)).map_or(ZERO_BLOCK_DIGEST, |block| block.digest)).collect();
    assert_eq!(all.linear(), <Digest>::from(Sha256::digest(digests.as_flattened())));
}

#[test]
fn broken_json_lines_are_refused_with_their_number() {
    let huge = format!("{{\"index\":0,\"state\":\"{}\"}}", "x".repeat(1 << 20));
    for text in [
        "x",
        "{}",
        r#"{"index":1,"count":1,"state":"zero"}"#,
        r#"{"index":0,"count":0,"state":"zero"}"#,
        r#"{"index":0,"count":1,"state":"dust"}"#,
        r#"{"index":0,"state":"data"}"#,
        r#"{"index":0,"state":"data","checksum":"AQE="}"#,
        r#"{"index":0,"count":2,"state":"data","checksum":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#,
        r#"{"index":0,"count":1,"state":"zero","checksum":"AQE="}"#,
        &huge,
    ] {
        let error = BlockChecksums::read_jsonl(&mut text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
    let two = "{\"index\":0,\"count\":18446744073709551615,\"state\":\"zero\"}\n{\"index\":18446744073709551615,\"count\":1,\"state\":\"zero\"}\n";
    assert!(BlockChecksums::read_jsonl(&mut two.as_bytes()).unwrap_err().to_string().contains("line 2"));
}

#[test]
fn one_set_byte_anywhere_is_seen() {
    let mut bytes = vec![0; 1000];
    assert!(is_zero(&bytes) && is_zero(&[]));
    for at in 0..bytes.len() {
        bytes[at] = 1;
        assert!(!is_zero(&bytes), "byte {at}");
        bytes[at] = 0;
    }
}
