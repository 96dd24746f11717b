//! The plan as a document.
//!
//! One JSON object, written as a stream. Every block, and every run of zeros, has a line of its own, so that the document of
//! a disk of any size can be read line by line as well as at once:
//!
//! ```text
//! {
//! "StartSnapshot": {"VolumeSize":8,"Timeout":60,"Description":"web-1.0, LINEAR SHA-256 …","Tags":[…],"ClientToken":"…"},
//! "PutSnapshotBlock": [
//! {"BlockIndex":0,"DataLength":524288,"Checksum":"qg3…=","ChecksumAlgorithm":"SHA256","State":"data"},
//! {"BlockIndex":1,"Count":3,"DataLength":524288,"Checksum":"B4VN…=","ChecksumAlgorithm":"SHA256","State":"zero"}
//! ],
//! "CompleteSnapshot": {"ChangedBlocksCount":4,"Checksum":"…","ChecksumAlgorithm":"SHA256","ChecksumAggregationMethod":"LINEAR"},
//! "Notes": []
//! }
//! ```
//!
//! All members of a line but `Count` and `State` are those of the request. `Count` stands in runs of zeros: so many requests, for
//! the blocks from `BlockIndex` on, with the same checksum. What StartSnapshot answers with, the `SnapshotId`, is added to every
//! request, and to each PutSnapshotBlock its data: 512 KiB of the disk from `BlockIndex` times 524,288 on, padded with zeros
//! where the disk ends; 512 KiB of zeros where `State` is zero.
//!
//! A line has some 135 bytes: a full disk of 8 GiB has a document of 2 MB, zeros cost nothing by size.

use super::{BLOCKS_MAX, BLOCKS_PER_GIB, CompleteSnapshotRequest, EbsSnapshotPlan, StartSnapshotRequest};
use crate::checksum::{BlockChecksum, BlockChecksums, BlockState, ZERO_BLOCK_DIGEST, base64_decode, base64_encode};
use crate::units::{BLOCK_BYTES, BlockIndex};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io::{self, Write};

/// The request of PutSnapshotBlock; the snapshot and the data are added to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PutSnapshotBlockRequest {
    /// The block's offset on the disk, divided by 524,288.
    pub block_index: u64,
    /// Always 524,288.
    pub data_length: u64,
    /// SHA-256 of the data in base64.
    pub checksum: String,
    /// `SHA256`.
    pub checksum_algorithm: String,
}

impl PutSnapshotBlockRequest {
    pub(super) fn new(block: &BlockChecksum) -> Self {
        Self { block_index: block.index.0, data_length: BLOCK_BYTES, checksum: base64_encode(&block.digest), checksum_algorithm: "SHA256".to_owned() }
    }
}

/// A line of the document.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Line {
    block_index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    data_length: u64,
    checksum: String,
    checksum_algorithm: String,
    state: State,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Data,
    Zero,
}

impl Line {
    fn new(block: &BlockChecksum, count: Option<u64>, state: State) -> Self {
        let PutSnapshotBlockRequest { block_index, data_length, checksum, checksum_algorithm } = PutSnapshotBlockRequest::new(block);
        Self { block_index, count, data_length, checksum, checksum_algorithm, state }
    }

    fn add_to(&self, listed: &mut BlockChecksums, next: &mut u64) -> Result<(), String> {
        let (first, count) = (self.block_index, self.count.unwrap_or(1));
        if self.data_length != BLOCK_BYTES || self.checksum_algorithm != "SHA256" {
            return Err(format!("block {first}: DataLength {BLOCK_BYTES} and ChecksumAlgorithm SHA256 were expected"));
        }
        let end = first.checked_add(count).filter(|end| count > 0 && first >= *next && *end <= BLOCKS_MAX);
        *next = end.ok_or_else(|| format!("{count} blocks from {first} on do not lie between block {next} and the end of the largest volume, {BLOCKS_MAX}"))?;
        let digest = base64_decode(&self.checksum).and_then(|bytes| bytes.try_into().ok());
        let digest: [u8; 32] = digest.ok_or_else(|| format!("block {first}: the checksum is not 32 bytes in base64"))?;
        match self.state {
            State::Data if count == 1 => listed.push_data(BlockIndex(first), digest),
            State::Zero if digest == ZERO_BLOCK_DIGEST => listed.push_zeros(BlockIndex(first), count),
            State::Data => return Err(format!("block {first}: a line of data is one block, not {count}")),
            State::Zero => return Err(format!("block {first}: this is not the checksum of zeros")),
        }
        Ok(())
    }
}

/// Gives every line to `each`.
fn each_line<E>(blocks: &BlockChecksums, mut each: impl FnMut(&Line) -> Result<(), E>) -> Result<(), E> {
    for run in blocks.runs() {
        match run.state {
            BlockState::Unused => {}
            BlockState::Zero => {
                let zero = BlockChecksum { index: run.first, state: run.state, digest: ZERO_BLOCK_DIGEST };
                each(&Line::new(&zero, Some(run.count), State::Zero))?;
            }
            BlockState::Data => {
                for index in run.first.0..run.first.0 + run.count {
                    let block = blocks.get(BlockIndex(index)).expect("a block in a run of data has a digest");
                    each(&Line::new(&block, None, State::Data))?;
                }
            }
        }
    }
    Ok(())
}

impl EbsSnapshotPlan {
    /// Writes the document, a line a block; memory does not grow with it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{{\n\"StartSnapshot\": {},", serde_json::to_string(&self.start_snapshot)?)?;
        write!(out, "\"PutSnapshotBlock\": [")?;
        let mut between = "\n";
        each_line(&self.listed, |line| {
            out.write_all(between.as_bytes())?;
            between = ",\n";
            serde_json::to_writer(&mut *out, line).map_err(io::Error::from)
        })?;
        writeln!(out, "\n],\n\"CompleteSnapshot\": {},", serde_json::to_string(&self.complete_snapshot)?)?;
        writeln!(out, "\"Notes\": {}\n}}", serde_json::to_string(&self.notes)?)
    }

    /// The document; [`EbsSnapshotPlan::write_json`] needs no memory for it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out).expect("memory takes what is written");
        String::from_utf8(out).expect("JSON is written as UTF-8")
    }
}

/// The list alone, for serde.
struct Listed<T>(T);

impl Serialize for Listed<&BlockChecksums> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lines = serializer.serialize_seq(None)?;
        each_line(self.0, |line| lines.serialize_element(line))?;
        lines.end()
    }
}

impl<'de> Deserialize<'de> for Listed<BlockChecksums> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Listed<BlockChecksums>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of blocks to put")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Self::Value, A::Error> {
                let (mut listed, mut next) = (BlockChecksums::new(BLOCKS_MAX), 0);
                while let Some(line) = lines.next_element::<Line>()? {
                    line.add_to(&mut listed, &mut next).map_err(de::Error::custom)?;
                }
                Ok(Listed(listed))
            }
        }
        deserializer.deserialize_seq(Lines)
    }
}

impl Serialize for EbsSnapshotPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("EbsSnapshotPlan", 4)?;
        plan.serialize_field("StartSnapshot", &self.start_snapshot)?;
        plan.serialize_field("PutSnapshotBlock", &Listed(&self.listed))?;
        plan.serialize_field("CompleteSnapshot", &self.complete_snapshot)?;
        plan.serialize_field("Notes", &self.notes)?;
        plan.end()
    }
}

/// What is read is checked: a plan whose parts contradict each other is none.
impl<'de> Deserialize<'de> for EbsSnapshotPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Document {
            start_snapshot: StartSnapshotRequest,
            put_snapshot_block: Listed<BlockChecksums>,
            complete_snapshot: CompleteSnapshotRequest,
            #[serde(default)]
            notes: Vec<String>,
        }
        let Document { start_snapshot, put_snapshot_block: Listed(mut listed), complete_snapshot, notes } = Document::deserialize(deserializer)?;
        start_snapshot.check().map_err(de::Error::custom)?;
        let blocks = start_snapshot.volume_size * BLOCKS_PER_GIB;
        let last = listed.runs().filter(|run| run.state != BlockState::Unused).last();
        if let Some(run) = last.filter(|run| run.first.0 + run.count > blocks) {
            return Err(de::Error::custom(format!("block {} of a volume that has {blocks}", run.first.0 + run.count - 1)));
        }
        listed.narrow(BlockIndex(0)..BlockIndex(blocks));
        let plan = Self { start_snapshot, complete_snapshot, notes, listed };
        plan.check().map_err(de::Error::custom)?;
        Ok(plan)
    }
}
