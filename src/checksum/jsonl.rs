//! The form of `OUT.blocks.jsonl`: a line a data block, a line a run of the others, without gap: from block 0
//! to the end of a disk, or over a slice of its blocks.
//!
//! ```text
//! {"index":0,"state":"data","checksum":"qg3…="}
//! {"index":1,"count":3,"state":"zero"}
//! {"index":4,"count":12,"state":"unused"}
//! ```

use super::{BlockChecksums, BlockState, base64_decode, base64_encode};
use crate::error::{Error, Result};
use crate::units::BlockIndex;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read as _, Write};

/// The longest line that is read; a written one has at most 110 bytes.
const LINE_MAX_BYTES: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl BlockChecksums {
    /// Writes the blocks as JSON lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_jsonl(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for run in self.runs() {
            let name = match run.state {
                BlockState::Data => {
                    for index in run.first.0..run.first.0 + run.count {
                        let block = self.get(BlockIndex(index)).map(|block| base64_encode(&block.digest));
                        write_line(out, &Line { index, count: None, state: "data", checksum: block })?;
                    }
                    continue;
                }
                BlockState::Zero => "zero",
                BlockState::Unused => "unused",
            };
            write_line(out, &Line { index: run.first.0, count: Some(run.count), state: name, checksum: None })?;
        }
        Ok(())
    }

    /// Reads what [`BlockChecksums::write_jsonl`] writes of a disk, from block 0 on.
    ///
    /// # Errors
    /// A line that is none of the forms, or does not begin where the line before it ended; the line's number is named.
    pub fn read_jsonl(input: &mut dyn BufRead) -> Result<Self> {
        read(input, Some(Self::new(0)))
    }

    /// Reads what [`BlockChecksums::write_jsonl`] writes of a slice of a disk's blocks; it begins where its first line says.
    ///
    /// # Errors
    /// Those of [`BlockChecksums::read_jsonl`].
    pub fn read_slice_jsonl(input: &mut dyn BufRead) -> Result<Self> {
        read(input, None)
    }

    fn read_line(&mut self, line: Line<'_>) -> Result<(), String> {
        let count = line.count.unwrap_or(1);
        if line.index != self.range.end || count == 0 {
            return Err(format!("blocks from {} were expected, {count} from {} are there", self.range.end, line.index));
        }
        self.range.end = self.range.end.checked_add(count).ok_or("over 2^64 blocks")?;
        match (line.state, line.checksum) {
            ("data", Some(checksum)) if count == 1 => {
                let digest = base64_decode(&checksum).and_then(|bytes| bytes.try_into().ok());
                self.push_data(BlockIndex(line.index), digest.ok_or("the checksum is not 32 bytes in base64")?);
            }
            ("zero", None) => self.push_zeros(BlockIndex(line.index), count),
            ("unused", None) => {}
            (state, _) => return Err(format!("{state:?} with its count and checksum is not one of data (1, checksum), zero and unused (no checksum)")),
        }
        Ok(())
    }
}

fn read(input: &mut dyn BufRead, mut blocks: Option<BlockChecksums>) -> Result<BlockChecksums> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.take(LINE_MAX_BYTES).read_until(b'\n', &mut line).map_err(|error| Error::io(format!("cannot read line {number}"), error))?;
        if read == 0 {
            break;
        }
        let read = serde_json::from_slice(&line).map_err(|error| error.to_string()).and_then(|line: Line<'_>| {
            let from = BlockIndex(line.index);
            blocks.get_or_insert_with(|| BlockChecksums::of_slice(from..from)).read_line(line)
        });
        read.map_err(|what| Error::corrupt(format!("line {number} of the block checksums: {what}")))?;
    }
    Ok(blocks.unwrap_or_else(|| BlockChecksums::new(0)))
}

fn write_line(out: &mut dyn Write, line: &Line<'_>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
