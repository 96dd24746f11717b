//! Whether an image is what its report or its block list says, and whether its filesystems are sound.
//!
//! Every block is computed again and compared; for the first ones that differ it is said which partition, structure or file they
//! belong to. Blocks that the list calls unused are not compared: nobody reads them. A zero block is the same whether the image stores
//! zeros or nothing.

use crate::checksum::{BlockChecksum, BlockChecksums, BlockState, ZERO_BLOCK_DIGEST};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::fs::{PlaceOwner, ReadFilesystem, ReadOptions};
use crate::listing::hex;
use crate::report::{PartitionSummary, Report};
use crate::source::DiskImage;
use crate::stream::{ChecksumOptions, all_blocks, checksum_blocks};
use crate::units::{BLOCK_BYTES, BlockIndex};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

/// Differing blocks that are told one by one, with their owners.
const TOLD_MAX: usize = 16;
/// Owners that are named of one block: as many as pieces of 4 KiB lie in it.
const OWNERS_MAX: usize = 128;
/// Of these people are shown so many.
const OWNERS_SHOWN: usize = 8;
/// The longest report that is read.
const REPORT_MAX_BYTES: u64 = 16 << 20;

/// What an image is compared with.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// State and digest of every block.
    pub blocks: Option<BlockChecksums>,
    /// What was made.
    pub report: Option<Box<Report>>,
}

impl Expected {
    /// Reads a report (`….report.json`, with the block list that lies beside it) or a block list (`….blocks.jsonl`), told by what is in it.
    ///
    /// # Errors
    /// What is neither; I/O.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let file = open_regular(path).map_err(named)?;
        let mut input = std::io::BufReader::new(file);
        if is_block_list(&mut input).map_err(named)? {
            return Ok(Self { blocks: Some(BlockChecksums::read_jsonl(&mut input).map_err(named)?), report: None });
        }
        let mut text = Vec::new();
        input.take(REPORT_MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| named(Error::io("cannot read", error)))?;
        if crate::units::u64_of(text.len()) > REPORT_MAX_BYTES {
            return Err(named(Error::limit(format!("a report of over {REPORT_MAX_BYTES} bytes"))));
        }
        let report: Report =
            serde_json::from_slice(&text).map_err(|error| named(Error::corrupt("neither a report nor a block list of rootvol").caused_by(error)))?;
        let beside = path.to_str().and_then(|path| path.strip_suffix("report.json")).map(|stem| format!("{stem}blocks.jsonl"));
        let blocks = match beside.filter(|path| Path::new(path).is_file()) {
            Some(beside) => Self::open(beside)?.blocks,
            None => None,
        };
        Ok(Self { blocks, report: Some(Box::new(report)) })
    }
}

fn open_regular(path: &Path) -> Result<std::fs::File> {
    let cannot = |error| Error::io("cannot open", error);
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::invalid("no regular file"));
    }
    std::fs::File::open(path).map_err(cannot)
}

/// A block list begins with the line of block 0; a report is an object with other keys.
fn is_block_list(input: &mut impl std::io::BufRead) -> Result<bool> {
    let head = input.fill_buf().map_err(|error| Error::io("cannot read", error))?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(head.is_empty() || line.trim_ascii_start().starts_with(b"{\"index\":"))
}

/// How an image is verified.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyOptions<'a> {
    /// Read and check its filesystems too.
    pub filesystems: bool,
    /// How blocks are computed.
    pub checksums: ChecksumOptions<'a>,
}

/// A block that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DifferingBlock {
    /// Which block of 512 KiB.
    pub index: u64,
    /// SHA-256 that was expected, in hex; of zeros for a zero block.
    pub expected: String,
    /// SHA-256 of what is there.
    pub found: String,
    /// Whose bytes lie in it, the greatest share first.
    pub belongs_to: Vec<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The partition, where it is in one; 0 for a disk without a table.
    pub partition: Option<u32>,
    /// The path in its filesystem, where there is one.
    pub path: Option<String>,
    /// The byte in its partition, or on the disk.
    pub offset: Option<u64>,
    /// What is wrong: what was expected and what there is.
    pub message: String,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// Blocks that were compared.
    pub compared_blocks: u64,
    /// How many of them differ.
    pub differing_blocks: u64,
    /// The first of them.
    pub first_differing: Vec<DifferingBlock>,
    /// What else is wrong.
    pub findings: Vec<Finding>,
    /// What a person should know, and what could not be compared.
    pub notes: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differing_blocks == 0 && self.findings.is_empty()
    }
}

/// Verifies `image` against `expected`.
///
/// # Errors
/// Those of reading; [`ErrorKind::Cancelled`]. What is wrong with the image is no error.
pub fn verify(image: &DiskImage, expected: &Expected, options: VerifyOptions<'_>) -> Result<Verified> {
    let mut verified = Verified::default();
    verified.notes.extend(image.notes().iter().cloned());
    let read_options = ReadOptions { check: options.filesystems, ..ReadOptions::default() };
    let mut filesystems = Filesystems { image, options: read_options, read: BTreeMap::new() };
    if options.filesystems {
        filesystems.check(&mut verified)?;
    }
    if let Some(report) = &expected.report {
        compare_report(image, report, &mut verified);
    }
    if expected.blocks.is_some() || expected.report.is_some() {
        let disk = &**image.disk();
        let found = checksum_blocks(disk, all_blocks(disk), options.checksums)?;
        match (&expected.blocks, &expected.report) {
            (Some(blocks), _) => compare_blocks(blocks, &found, &mut filesystems, &mut verified)?,
            (None, Some(report)) => compare_aggregate(report, &found, &mut verified),
            (None, None) => {}
        }
        if let Some(report) = &expected.report {
            compare_file(image, report, &mut verified)?;
        }
    }
    Ok(verified)
}

/// The filesystems of an image, each read when it is first asked for.
struct Filesystems<'a> {
    image: &'a DiskImage,
    options: ReadOptions,
    read: BTreeMap<u32, Option<ReadFilesystem>>,
}

impl Filesystems<'_> {
    /// Checks all of them; what is wrong goes to the findings.
    fn check(&mut self, verified: &mut Verified) -> Result<()> {
        for partition in self.image.partitions() {
            let number = partition.number;
            let finding =
                |error: &Error| Finding { partition: Some(number), path: error.path().map(escape), offset: error.offset(), message: error.to_string() };
            match self.image.read(number, &self.options) {
                Ok(Some(read)) => {
                    verified.findings.extend(read.damage.iter().chain(&read.findings).map(finding));
                    let noted = read.notes.iter().cloned().chain(read.unreadable.iter().map(ToString::to_string));
                    verified.notes.extend(noted.map(|note| format!("partition {number}: {note}")));
                    self.read.insert(number, Some(read));
                }
                Ok(None) => verified.notes.push(format!("partition {number} ({}) has no filesystem that is known here", partition.partition_type)),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::LimitExceeded) => {
                    // Its path is the image's.
                    verified.findings.push(Finding { path: None, ..finding(&error) });
                    self.read.insert(number, None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whose bytes lie in `range` of the disk, the greatest share first.
    fn owners(&mut self, range: &Range<u64>) -> Vec<String> {
        let image = self.image;
        let meets =
            |partition: &&PartitionSummary| partition.offset_bytes < range.end && range.start < partition.offset_bytes.saturating_add(partition.size_bytes);
        let mut shares: BTreeMap<String, u64> = BTreeMap::new();
        let mut covered = 0;
        for partition in image.partitions().iter().filter(meets) {
            let number = partition.number;
            let base = partition.offset_bytes;
            let inside = range.start.max(base) - base..range.end.min(base.saturating_add(partition.size_bytes)) - base;
            covered += inside.end - inside.start;
            let read = self.read.entry(number).or_insert_with(|| image.read(number, &self.options).ok().flatten());
            let own = match read {
                Some(read) => places(read, &inside),
                None => BTreeMap::from([(format!("({})", partition.partition_type), inside.end - inside.start)]),
            };
            for (place, bytes) in own {
                *shares.entry(if number == 0 { place } else { format!("partition {number}: {place}") }).or_default() += bytes;
            }
        }
        let all = range.end.min(image.summary().size_bytes).saturating_sub(range.start);
        if covered < all {
            let is_end = range.start == 0 || range.end >= image.summary().size_bytes;
            shares.insert(if is_end { "the partition table" } else { "no partition" }.to_owned(), all - covered);
        }
        let mut owners: Vec<(String, u64)> = shares.into_iter().collect();
        owners.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        owners.into_iter().take(OWNERS_MAX).map(|(owner, _)| owner).collect()
    }
}

/// What lies in `range` of a filesystem, in words, and how many bytes of it.
fn places(read: &ReadFilesystem, range: &Range<u64>) -> BTreeMap<String, u64> {
    let from = read.places.partition_point(|place| place.range.end <= range.start);
    let mut places = BTreeMap::new();
    let mut free = range.end - range.start;
    for place in read.places[from..].iter().take_while(|place| place.range.start < range.end) {
        let bytes = place.range.end.min(range.end) - place.range.start.max(range.start);
        free = free.saturating_sub(bytes);
        *places.entry(owner(read, &place.owner)).or_default() += bytes;
    }
    if free > 0 {
        places.insert("free space".to_owned(), free);
    }
    places
}

fn owner(read: &ReadFilesystem, owner: &PlaceOwner) -> String {
    let path = |node| {
        let path = read.tree.path_of(node);
        format!("/{}", escape(&path))
    };
    match owner {
        PlaceOwner::Data { node, .. } => path(*node),
        PlaceOwner::About { node, what } => format!("{what} of {}", path(*node)),
        PlaceOwner::Structure { what, group: Some(group) } => format!("{what} of block group {group}"),
        PlaceOwner::Structure { what, group: None } => (*what).to_owned(),
    }
}

fn on_disk(message: String) -> Finding {
    Finding { partition: None, path: None, offset: None, message }
}

fn compare_blocks(expected: &BlockChecksums, found: &BlockChecksums, filesystems: &mut Filesystems<'_>, verified: &mut Verified) -> Result<()> {
    if expected.block_count() != found.block_count() {
        verified.findings.push(on_disk(format!("the disk has {} blocks of 512 KiB, and {} were expected", found.block_count(), expected.block_count())));
    }
    let mut unused_with_data = 0_u64;
    for run in expected.runs() {
        let blocks = run.first.0..(run.first.0 + run.count).min(found.block_count());
        if run.state == BlockState::Unused {
            unused_with_data += data_in(found, blocks);
            continue;
        }
        verified.compared_blocks += blocks.end.saturating_sub(blocks.start);
        for index in blocks.clone().filter(|index| digest(expected, *index) != digest(found, *index)) {
            verified.differing_blocks += 1;
            if verified.first_differing.len() < TOLD_MAX {
                let range = BlockIndex(index).offset_bytes()..BlockIndex(index).offset_bytes() + BLOCK_BYTES;
                verified.first_differing.push(DifferingBlock {
                    index,
                    expected: hex(&digest(expected, index)),
                    found: hex(&digest(found, index)),
                    belongs_to: filesystems.owners(&range),
                });
            }
        }
    }
    if unused_with_data > 0 {
        verified.notes.push(format!("{unused_with_data} blocks that nobody reads hold data, as on a device that was written in place"));
    }
    Ok(())
}

/// How many of `blocks` hold data.
fn data_in(found: &BlockChecksums, blocks: Range<u64>) -> u64 {
    let data = found.runs().filter(|run| run.state == BlockState::Data);
    data.map(|run| (run.first.0 + run.count).min(blocks.end).saturating_sub(run.first.0.max(blocks.start))).sum()
}

fn digest(checksums: &BlockChecksums, index: u64) -> crate::checksum::Digest {
    checksums.get(BlockIndex(index)).map_or(ZERO_BLOCK_DIGEST, |BlockChecksum { digest, .. }| digest)
}

/// Without the block list there are counts, and the aggregate where it does not depend on which blocks are unused.
fn compare_aggregate(report: &Report, found: &BlockChecksums, verified: &mut Verified) {
    let expected = &report.blocks;
    verified.compared_blocks = found.block_count();
    if expected.data != found.data_blocks() {
        verified.findings.push(on_disk(format!("{} blocks hold data, and {} were expected", found.data_blocks(), expected.data)));
    }
    let candidates = [found.clone(), found.unused_as_zeros()];
    let comparable = candidates.iter().find(|candidate| candidate.zero_blocks() == expected.zero);
    match comparable {
        Some(candidate) if candidate.linear_checksum() == expected.linear_checksum => {}
        // Which blocks are zero and which unused the bytes do not say; equal counts need not mean equal blocks.
        Some(candidate) if candidate.unused_blocks() == 0 => {
            verified.findings.push(on_disk(format!("the LINEAR checksum is {}, and {} was expected", candidate.linear_checksum(), expected.linear_checksum)));
        }
        _ => verified.notes.push(
            "the block list (….blocks.jsonl) does not lie beside the report: sizes, partitions and the number of data blocks were compared, no contents"
                .to_owned(),
        ),
    }
}

fn compare_report(image: &DiskImage, report: &Report, verified: &mut Verified) {
    let summary = image.summary();
    let mut differs = |what: &str, found: String, expected: String| {
        if found != expected {
            verified.findings.push(on_disk(format!("{what} is {found}, and {expected} was expected")));
        }
    };
    differs("the disk's size", summary.size_bytes.to_string(), report.disk.size_bytes.to_string());
    differs("the partition table", summary.table.clone(), report.disk.table.clone());
    let guid = |guid: Option<crate::Guid>| guid.map_or_else(|| "none".to_owned(), |guid| guid.to_string());
    differs("the disk's GUID", guid(summary.guid), guid(report.disk.guid));
    let shown = |partition: &PartitionSummary| {
        let PartitionSummary { number, partition_type, offset_bytes, size_bytes, .. } = partition;
        let filesystem = partition.filesystem.as_ref().map_or_else(String::new, |filesystem| format!(", {} {}", filesystem.kind, filesystem.uuid));
        format!("{number} ({partition_type}, {size_bytes} bytes at {offset_bytes}, {}{filesystem})", guid(partition.guid))
    };
    let all = |partitions: &[PartitionSummary]| partitions.iter().map(shown).collect::<Vec<_>>();
    let (found, expected) = (all(image.partitions()), all(&report.partitions));
    for missing in expected.iter().filter(|partition| !found.contains(partition)) {
        verified.findings.push(on_disk(format!("partition {missing} was expected, and is not there")));
    }
    for new in found.iter().filter(|partition| !expected.contains(partition) && report.disk.table != "none") {
        verified.findings.push(on_disk(format!("partition {new} is there, and was not expected")));
    }
}

/// The file itself, where the report has its digest and the image is in the same format.
fn compare_file(image: &DiskImage, report: &Report, verified: &mut Verified) -> Result<()> {
    let Some(expected) = report.file.sha256.as_ref().filter(|_| report.file.format == image.disk().format().to_string()) else { return Ok(()) };
    let named = |error: std::io::Error| Error::io("cannot read the image", error).at_path(image.path().as_os_str().as_encoded_bytes());
    let mut file = open_regular(image.path())?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(named(error)),
        }
    }
    let found = hex(&hasher.finalize());
    if found != *expected {
        verified.findings.push(on_disk(format!("the file's SHA-256 is {found}, and {expected} was expected")));
    }
    Ok(())
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {}", escape(note.as_bytes()))?;
        }
        for DifferingBlock { index, belongs_to, .. } in &self.first_differing {
            write!(f, "block {index} (byte {}) differs: {}", BlockIndex(*index).offset_bytes(), belongs_to[..belongs_to.len().min(OWNERS_SHOWN)].join(", "))?;
            match belongs_to.len().saturating_sub(OWNERS_SHOWN) {
                0 => writeln!(f)?,
                more => writeln!(f, " and {more} more")?,
            }
        }
        let told = crate::units::u64_of(self.first_differing.len());
        if self.differing_blocks > told {
            writeln!(f, "and {} more blocks", self.differing_blocks - told)?;
        }
        for finding in &self.findings {
            match finding.partition {
                Some(number) if number > 0 => writeln!(f, "partition {number}: {}", finding.message)?,
                _ => writeln!(f, "{}", finding.message)?,
            }
        }
        if self.compared_blocks > 0 {
            writeln!(f, "{} blocks compared, {} differ", self.compared_blocks, self.differing_blocks)?;
        }
        match self.findings.len() {
            0 if self.is_clean() => writeln!(f, "nothing is wrong"),
            0 => Ok(()),
            count => writeln!(f, "{count} findings"),
        }
    }
}
