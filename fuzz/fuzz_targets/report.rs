//! Any bytes as a report, as a list of block checksums, and as the plan of a snapshot.
//!
//! Invariants:
//! - No panic; memory follows the input, not the numbers in it.
//! - What is accepted is written, and reads back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::checksum::BlockChecksums;
use rootvol::manifest::EbsSnapshotPlan;
use rootvol::report::Report;

fuzz_target!(|data: &[u8]| {
    if let Ok(report) = serde_json::from_slice::<Report>(data) {
        let again: Report = serde_json::from_str(&report.to_json()).expect("what is written can be read");
        assert_eq!(again, report);
    }
    if let Ok(plan) = serde_json::from_slice::<EbsSnapshotPlan>(data) {
        let again: EbsSnapshotPlan = serde_json::from_str(&plan.to_json()).expect("what is written can be read");
        assert_eq!(again, plan);
    }
    let written = |blocks: &BlockChecksums| {
        let mut out = Vec::new();
        blocks.write_jsonl(&mut out).unwrap();
        out
    };
    if let Ok(blocks) = BlockChecksums::read_jsonl(&mut &*data) {
        let _ = blocks.summary();
        assert_eq!(BlockChecksums::read_jsonl(&mut &*written(&blocks)).expect("what is written can be read"), blocks);
    }
    if let Ok(slice) = BlockChecksums::read_slice_jsonl(&mut &*data) {
        let out = written(&slice);
        let again = BlockChecksums::read_slice_jsonl(&mut &*out).expect("what is written can be read");
        assert_eq!(written(&again), out);
    }
});
