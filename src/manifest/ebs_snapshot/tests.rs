//! The plan of a snapshot: what is listed, what is refused, the document.

use super::*;
use crate::ErrorKind;
use crate::checksum::{ZERO_BLOCK_DIGEST, base64_encode};
use crate::report::{BlockSummary, DiskSummary, FileSummary, REPORT_VERSION};
use crate::stream::{Block, BlockSink};
use crate::units::{BLOCK_LEN, TIB};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Blocks from letters: `.` unused, `0` zero, anything else data with that letter's digest.
fn blocks(letters: &str) -> BlockChecksums {
    let mut blocks = BlockChecksums::new(letters.len().try_into().unwrap());
    for (index, letter) in (0..).map(BlockIndex).zip(letters.bytes()) {
        match letter {
            b'.' => {}
            b'0' => blocks.push_zeros(index, 1),
            letter => blocks.push_data(index, [letter; 32]),
        }
    }
    blocks
}

fn report(blocks: &BlockChecksums) -> Report {
    Report {
        report_version: REPORT_VERSION,
        rootvol_version: "0.1.0".into(),
        name: Some("web".into()),
        version: Some("1.0".into()),
        file: FileSummary { format: "vhd".into(), size_bytes: 1, sha256: None },
        disk: DiskSummary { size_bytes: blocks.block_count() * BLOCK_BYTES, sector_bytes: 512, table: "gpt".into(), guid: None, signature: None },
        partitions: Vec::new(),
        blocks: blocks.summary(),
        boot: None,
        sources: Vec::new(),
        notes: Vec::new(),
        removed: Vec::new(),
    }
}

/// The listed blocks as letters again; what is not listed is `.`.
fn letters(plan: &EbsSnapshotPlan, len: usize) -> String {
    let mut letters = vec![b'.'; len];
    for block in plan.blocks() {
        letters[usize::try_from(block.index.0).unwrap()] = if block.digest == ZERO_BLOCK_DIGEST { b'0' } else { block.digest[0] };
    }
    String::from_utf8(letters).unwrap()
}

#[test]
fn what_is_listed_follows_the_table_of_the_module() {
    // All pairs of (parent, image), and the image shorter or longer than its parent.
    let parent = "aaa000...a0.";
    let image = "a0.a0.a0.";
    let cases = [
        (None, false, false, "a0.a0.a0...."),
        (None, true, false, "a..a..a....."),
        (Some(parent), false, false, ".00a.0a0.00."),
        (Some(parent), false, true, ".00a00a0.00."),
        (Some(parent), true, false, ".00a..a..0.."),
        (Some(parent), true, true, ".00a..a..0.."),
    ];
    for (parent, omit_zero, parent_omitted, expected) in cases {
        let (image, parent) = (blocks(image), parent.map(blocks));
        let report = report(&image);
        let mut plan = report.ebs_snapshot(&image).omit_zero(omit_zero).parent_omitted_zero(parent_omitted);
        if let Some(parent) = &parent {
            plan = plan.parent("snap-0a", parent);
        }
        let plan = plan.plan().unwrap();
        assert_eq!(letters(&plan, 12), expected, "{parent:?} {omit_zero} {parent_omitted}");
        let digests: Vec<u8> = plan.blocks().flat_map(|block| block.digest).collect();
        assert_eq!(plan.complete_snapshot.checksum, base64_encode(&Sha256::digest(&digests)), "LINEAR over exactly the listed blocks");
        assert_eq!(plan.complete_snapshot.changed_blocks_count, u64::try_from(digests.len() / 32).unwrap());
        assert_eq!(plan.notes.iter().any(|note| note.contains("random bytes") && note.contains("by default")), omit_zero);
    }
    let (longer, shorter) = (blocks("a0.b"), blocks("a"));
    let report = report(&longer);
    let plan = report.ebs_snapshot(&longer).parent("snap-0a", &shorter).plan().unwrap();
    assert_eq!(letters(&plan, 4), ".0.b");
}

#[test]
fn a_chain_of_snapshots_holds_what_each_list_says() {
    // What a snapshot holds after its plan, over what its parent holds: data as in the list, zero held, unused never old data.
    let chain = ["a0.bc0.d", "a0eb..00", "..0b.a0.0.", "0f", "a0.bc0.d"];
    let mut held: Vec<char> = vec!['.'; 2048];
    let mut parent: Option<BlockChecksums> = None;
    for image in chain {
        let image = blocks(image);
        let report = report(&image);
        let mut plan = report.ebs_snapshot(&image);
        if let Some(parent) = &parent {
            plan = plan.parent("snap-0a", parent);
        }
        let plan = plan.plan().unwrap();
        for (index, letter) in letters(&plan, 2048).chars().enumerate().filter(|(_, letter)| *letter != '.') {
            held[index] = letter;
        }
        for (index, held) in (0..2048).map(BlockIndex).zip(&held) {
            let wanted = image.get(index).map(|block| if block.digest == ZERO_BLOCK_DIGEST { '0' } else { block.digest[0].into() });
            assert!(wanted.map_or(matches!(held, '.' | '0'), |wanted| wanted == *held), "block {}: {held} for {wanted:?}", index.0);
        }
        parent = Some(image);
    }
}

#[test]
fn the_requests_have_the_members_of_the_api() {
    let image = blocks("a00.");
    let report = report(&image);
    let plan = report.ebs_snapshot(&image).tag("team", "größe").plan().unwrap();
    let linear = &report.blocks.linear_checksum;
    let value: Value = serde_json::from_str(&plan.to_json()).unwrap();
    let zero = base64_encode(&ZERO_BLOCK_DIGEST);
    assert_eq!(
        value,
        json!({
            "StartSnapshot": {
                "VolumeSize": 1, "Timeout": 60, "Description": format!("web-1.0, LINEAR SHA-256 {linear}"),
                "Tags": [{ "Key": "Name", "Value": "web-1.0" }, { "Key": "team", "Value": "größe" }],
                "ClientToken": plan.start_snapshot.client_token
            },
            "PutSnapshotBlock": [
                { "BlockIndex": 0, "DataLength": 524_288, "Checksum": base64_encode(&[b'a'; 32]), "ChecksumAlgorithm": "SHA256", "State": "data" },
                { "BlockIndex": 1, "Count": 2, "DataLength": 524_288, "Checksum": zero, "ChecksumAlgorithm": "SHA256", "State": "zero" }
            ],
            "CompleteSnapshot": { "ChangedBlocksCount": 3, "Checksum": linear, "ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR" },
            "Notes": []
        })
    );
    assert_eq!(serde_json::to_value(&plan).unwrap(), value, "serde and the stream write the same");
    assert_eq!(serde_json::from_value::<EbsSnapshotPlan>(value).unwrap(), plan);
    assert_eq!(plan.to_json().lines().count(), 9, "a line a block or run");
    let put = serde_json::to_value(plan.put_snapshot_block(&plan.blocks().next().unwrap())).unwrap();
    assert_eq!(put.as_object().unwrap().len(), 4);
}

#[test]
fn client_tokens_follow_request_image_parent_and_attempt() {
    let image = blocks("ab0.");
    let other = blocks("abc.");
    let (report_one, report_two) = (report(&image), report(&other));
    let base = report_one.ebs_snapshot(&image);
    let token = |builder: EbsSnapshotBuilder<'_>| builder.plan().unwrap().start_snapshot.client_token.unwrap();
    let first = token(base.clone());
    assert!(first.len() == 64 && first.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(first, token(base.clone().attempt(1)));
    // `{ jq -cS 'del(.ClientToken)'; printf 1; } | sha256sum` of the request.
    let mut request = serde_json::to_value(&base.plan().unwrap().start_snapshot).unwrap();
    request.as_object_mut().unwrap().remove("ClientToken");
    assert_eq!(first, crate::listing::hex(&Sha256::digest(format!("{request}\n1"))));
    let others = [
        token(base.clone().attempt(2)),
        token(base.clone().omit_zero(true)),
        token(base.clone().parent("snap-0a", &other)),
        token(base.clone().description("other")),
        token(base.clone().encrypted(true)),
        token(report_two.ebs_snapshot(&other)),
        token(report_two.ebs_snapshot(&other).description("other")),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != first && !others[..index].contains(other), "token {index} is not its own");
    }
}

#[test]
fn choices_that_the_api_does_not_take_are_refused_with_the_rule() {
    let image = blocks("ab0.");
    let report_of_it = report(&image);
    let plan = || report_of_it.ebs_snapshot(&image);
    const ARN: &str = "arn:aws:kms:us-east-1:012345678910:key/abcd1234-a123-456a-a12b-a123b4cd56ef";
    let many = (0..60).fold(plan(), |plan, number| plan.tag(number.to_string(), ""));
    for (what, builder, why) in [
        ("timeout", plan().timeout_minutes(9), "10 to 4320 minutes, not 9"),
        ("timeout", plan().timeout_minutes(4321), "not 4321"),
        ("attempt", plan().attempt(0), "from 1"),
        ("key alone", plan().kms_key_arn(ARN), "KmsKeyArn needs Encrypted"),
        ("key id", plan().encrypted(true).kms_key_arn("alias/x"), "ARN was expected"),
        ("alias", plan().encrypted(true).kms_key_arn("arn:aws:kms:us-east-1:012345678910:alias/x"), "ARN was expected"),
        ("parent", plan().parent("vol-1", &image), "form like snap-"),
        ("description", plan().description("x".repeat(195)), "at most 194 are left"),
        ("volume", plan().volume_gib(0), "needs 1 GiB, so a volume of 0"),
        ("control", plan().description("a\nb"), "control characters"),
        ("tag", plan().tag("aws:x", ""), "reserved"),
        ("tag value", plan().tag("x", "y".repeat(256)), "at most 255"),
        ("tags", many, "50 tags"),
    ] {
        let error = builder.plan().expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
        assert!(error.to_string().contains(why), "{what}: {error} does not say {why:?}");
    }
    plan().encrypted(true).kms_key_arn(ARN).description("x".repeat(194)).timeout_minutes(4320).tag("x", "y".repeat(255)).plan().unwrap();
    let mut choices = AmiChoices::default();
    (choices.encrypted, choices.kms_key_id) = (Some(true), Some(ARN.into()));
    let child = plan().ami(&choices).parent("snap-0a", &image).plan().unwrap();
    assert_eq!((child.start_snapshot.encrypted, &child.start_snapshot.kms_key_arn), (None, &None));
    assert!(child.notes[0].contains("encrypted as its parent"), "{:?}", child.notes);
    assert_eq!((child.complete_snapshot.changed_blocks_count, child.blocks().count()), (0, 0), "nothing differs");
    let mut both = child.start_snapshot;
    both.encrypted = Some(false);
    assert!(both.check().unwrap_err().to_string().contains("excludes"));
}

#[test]
fn block_lists_of_other_images_are_refused() {
    let image = blocks("ab0.");
    let wrong = |change: &dyn Fn(&mut BlockSummary, &mut DiskSummary), why: &str| {
        let mut report = report(&image);
        change(&mut report.blocks, &mut report.disk);
        let error = report.ebs_snapshot(&image).plan().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    };
    wrong(&|blocks, _| blocks.data = 1, "1 data blocks were expected, 2 are there");
    wrong(&|blocks, _| blocks.zero = 0, "0 zero blocks");
    wrong(&|blocks, _| blocks.unused = 7, "7 unused blocks");
    wrong(&|blocks, _| blocks.block_bytes = 4096, "bytes in a block");
    wrong(&|blocks, _| blocks.linear_checksum = "\u{1b}[2J".into(), "\\x1B[2J was expected");
    wrong(&|_, disk| disk.size_bytes += 1, "has 5 blocks, and it counts 4");
    wrong(&|blocks, disk| (blocks.total, disk.size_bytes) = (5, 5 * BLOCK_BYTES), "5 blocks were expected, 4 are there");
    let slice = BlockChecksums::of_slice(BlockIndex(3)..BlockIndex(7));
    assert!(report(&blocks("....")).check_blocks(&slice).is_err());
    assert!(report(&image).ebs_snapshot(&image).parent("snap-0a", &slice).plan().is_err());
}

#[test]
fn volumes_are_whole_gib_never_smaller_than_the_parent_and_end_at_64_tib() {
    let sized = |bytes: u64| {
        let image = BlockChecksums::new(bytes.div_ceil(BLOCK_BYTES));
        let mut report = report(&image);
        report.disk.size_bytes = bytes;
        (image, report)
    };
    for (bytes, gib) in [(1, 1), (GIB, 1), (GIB + 1, 2), (64 * TIB, 65_536)] {
        let (image, report) = sized(bytes);
        assert_eq!(report.ebs_snapshot(&image).plan().unwrap().start_snapshot.volume_size, gib);
    }
    let (large, report_of_large) = sized(64 * TIB + 1);
    assert!(report_of_large.ebs_snapshot(&large).plan().unwrap_err().to_string().contains("65536 GiB, not 65537"));
    let image = blocks("a");
    let report_of_it = report(&image);
    let huge = BlockChecksums::new(u64::MAX);
    assert_eq!(report_of_it.ebs_snapshot(&image).parent("snap-0a", &huge).plan().unwrap_err().kind(), ErrorKind::Unsupported);
    let mut larger = BlockChecksums::new(5000);
    larger.push_zeros(BlockIndex(4998), 1);
    larger.push_data(BlockIndex(4999), [1; 32]);
    let plan = report_of_it.ebs_snapshot(&image).parent("snap-0a", &larger).plan().unwrap();
    assert_eq!(plan.start_snapshot.volume_size, 3);
    assert_eq!(plan.blocks().map(|block| block.index.0).collect::<Vec<_>>(), [0, 4998, 4999]);
    assert!(plan.notes[0].contains("VolumeSize 3 at least"), "{:?}", plan.notes);
    // A snapshot that is larger than the image it was written from, because its own parent was: only who wrote it knows.
    let builder = report_of_it.ebs_snapshot(&image).parent("snap-0a", &image);
    assert_eq!(builder.clone().volume_gib(7).plan().unwrap().listed().block_count(), 7 * 2048);
    assert_eq!(builder.volume_gib(65_537).plan().unwrap_err().kind(), ErrorKind::Unsupported);
    let mut sectors = report(&image);
    sectors.disk.sector_bytes = 4096;
    assert_eq!(sectors.ebs_snapshot(&image).plan().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn zeros_of_64_tib_cost_nothing() {
    let mut image = BlockChecksums::new(64 * TIB / BLOCK_BYTES);
    image.push_data(BlockIndex(0), [1; 32]);
    image.push_zeros(BlockIndex(1), 2_000_000);
    let report = report(&image);
    let plan = report.ebs_snapshot(&image).plan().unwrap();
    let json = plan.to_json();
    assert!(json.len() < 2000, "{} bytes", json.len());
    let read: EbsSnapshotPlan = serde_json::from_str(&json).unwrap();
    assert_eq!((read.listed().zero_blocks(), read), (2_000_000, plan));
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    let image = blocks("ab00.");
    let report = report(&image);
    let good = serde_json::to_value(report.ebs_snapshot(&image).plan().unwrap()).unwrap();
    assert!(serde_json::from_value::<EbsSnapshotPlan>(good.clone()).is_ok());
    let cases: &[(&str, Value, &str)] = &[
        ("/StartSnapshot/VolumeSize", json!(0), "1 to 65536"),
        ("/StartSnapshot/VolumeSize", json!(u64::MAX), "1 to 65536"),
        ("/StartSnapshot/Timeout", json!(1), "minutes"),
        ("/StartSnapshot/ClientToken", json!("a b"), "ClientToken"),
        ("/PutSnapshotBlock/0/BlockIndex", json!(5), "do not lie between"),
        ("/PutSnapshotBlock/2/BlockIndex", json!(1), "do not lie between"),
        ("/PutSnapshotBlock/2/BlockIndex", json!(u64::MAX), "do not lie between"),
        ("/PutSnapshotBlock/2/BlockIndex", json!(2047), "block 2048 of a volume that has 2048"),
        ("/PutSnapshotBlock/2/Count", json!(0), "do not lie between"),
        ("/PutSnapshotBlock/2/Count", json!(1), "3 blocks are listed"),
        ("/PutSnapshotBlock/2/Checksum", json!(base64_encode(&[1; 32])), "not the checksum of zeros"),
        ("/PutSnapshotBlock/0/Checksum", json!("AAAA"), "32 bytes"),
        ("/PutSnapshotBlock/0/Checksum", json!(base64_encode(&[1; 32])), "LINEAR checksum"),
        ("/PutSnapshotBlock/0/DataLength", json!(512), "DataLength"),
        ("/PutSnapshotBlock/0/ChecksumAlgorithm", json!("MD5"), "SHA256"),
        ("/CompleteSnapshot/ChangedBlocksCount", json!(3), "ChangedBlocksCount"),
        ("/CompleteSnapshot/ChecksumAggregationMethod", json!("TREE"), "LINEAR"),
    ];
    for (place, value, why) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value.clone();
        let error = serde_json::from_value::<EbsSnapshotPlan>(bad).expect_err(place).to_string();
        assert!(error.contains(why), "{place} = {value}: {error}");
    }
}

/// Every block that comes, and its bytes' digest.
#[derive(Default)]
struct Collected(Vec<(u64, bool)>);

impl BlockSink for Collected {
    fn block(&mut self, block: Block<'_>) -> Result<()> {
        assert_eq!(Sha256::digest(block.data)[..], block.checksum[..]);
        self.0.push((block.index.0, block.state == BlockState::Data));
        Ok(())
    }
}

#[test]
fn bytes_are_read_from_any_disk_padded_at_its_end_and_checked() {
    let mut disk = vec![0; 3 * BLOCK_LEN + 512];
    disk[BLOCK_LEN] = 1;
    disk[3 * BLOCK_LEN + 511] = 2;
    let mut image = BlockChecksums::new(4);
    let mut last = disk[3 * BLOCK_LEN..].to_vec();
    last.resize(BLOCK_LEN, 0);
    image.push_zeros(BlockIndex(0), 1);
    image.push_data(BlockIndex(1), Sha256::digest(&disk[BLOCK_LEN..2 * BLOCK_LEN]).into());
    image.push_data(BlockIndex(3), Sha256::digest(&last).into());
    let mut report = report(&image);
    report.disk.size_bytes = 3 * BLOCK_BYTES + 512;
    let plan = report.ebs_snapshot(&image).plan().unwrap();
    let mut collected = Collected::default();
    plan.send_to(&disk, &mut collected).unwrap();
    assert_eq!(collected.0, [(0, false), (1, true), (3, true)]);
    disk[3 * BLOCK_LEN] ^= 1;
    let error = plan.send_to(&disk, &mut Collected::default()).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::SourceChanged, Some(3 * BLOCK_BYTES)));
    disk.truncate(BLOCK_LEN);
    assert_eq!(plan.send_to(&disk, &mut Collected::default()).unwrap_err().kind(), ErrorKind::SourceChanged, "a disk that is too short");
}
