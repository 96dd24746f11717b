//! Free space: what deleted files left behind goes out with a snapshot, and anybody who launches the image can read it.
//!
//! ```text
//!  disk ├ table ┼ gap ┼ partition ─ filesystem ▓▓░░▓░ ─ behind it ┼ gap ┼ table ┤
//!                 ░░░                 free ░░     ░     ░░░░░░      ░░░
//! ```
//! Free (░) is what the filesystem says is nobody's, what lies behind a filesystem that is smaller than its partition, and what lies between
//! partitions. There everything should be zero, as it is in images that are made here. What is stored there is read once, in parallel: bytes
//! of blocks that are not zero are counted, and the shapes of keys and tokens looked for. Of what is found only the place, the kind and the
//! first four characters are told.
//!
//! Not looked at: partitions whose filesystem is not known here, filesystems that are damaged (what they say is free may be anybody's), the
//! first MiB of the disk, where boot loaders for BIOS lie, and the journal, which is in use.
//!
//! Source: the EC2 user guide on shared AMIs warns that deleted files can be brought back from snapshots.

use super::secrets::{Sort, find};
use crate::checksum::is_zero;
use crate::error::{Error, Result, escape};
use crate::fs::ReadOptions;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{Family, Rule, SHARED, Severity};
use crate::lint::subject::Subject;
use crate::partition;
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::stream::look_at_ranges;
use crate::units::{MIB, Size, u64_of};
use std::ops::Range;

pub(super) const RULES: &[&Rule] = &[&DATA, &SECRET];

static DATA: Rule = Rule {
    id: "free-space-data",
    family: Family::Share,
    severity: Severity::Warning,
    concerns: SHARED,
    why: "a snapshot publishes the bytes of deleted files, and whoever launches the image can read them; removing or even shredding a file leaves copies in journals and snapshots",
    mend: "build the image anew from it (`rootvol build IMAGE -o NEW`): only files that are there are written. Or `zerofree`, or `fstrim` before the snapshot",
    source: "EC2 user guide, recommendations for creating shared Linux AMIs",
};

static SECRET: Rule =
    Rule { id: "free-space-secret", severity: Severity::Error, why: "a deleted key or token is still in the image, and a snapshot publishes it", ..DATA };

/// Unit in which what is not zero is counted: the usual block of ext4.
const PIECE_BYTES: usize = 4096;
/// Longer than any secret that is looked for needs to be recognised.
const OVERLAP_BYTES: u64 = 4096;
/// Secrets that are looked for in one 512-KiB piece, and that are told of all.
const FOUND_PER_PIECE: usize = 16;
const TOLD_MAX: usize = 4096;

/// A part of the disk that is nobody's.
struct Unused {
    range: Range<u64>,
    /// Number and offset of the partition that it lies in.
    partition: Option<(u32, u64)>,
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let Some(image) = subject.image.filter(|_| findings.want(RULES)) else { return Ok(()) };
    let mut first_error = Ok(());
    let mut unused = gaps(image);
    for partition in image.partitions().iter().filter(|partition| partition.filesystem.is_some()) {
        match in_partition(image, partition) {
            Ok(free) => unused.extend(free),
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    unused.sort_by_key(|unused| unused.range.start);
    // Partitions that overlap would have a place looked at twice.
    let mut end = 0;
    for unused in &mut unused {
        unused.range.start = unused.range.start.max(end);
        end = end.max(unused.range.end);
    }
    unused.retain(|unused| !unused.range.is_empty());
    look(subject, image, &unused, findings)?;
    first_error
}

/// What the filesystem of a partition leaves free, and what lies behind it.
fn in_partition(image: &DiskImage, partition: &PartitionSummary) -> Result<Vec<Unused>> {
    let read = image.read_known(partition.number, &ReadOptions::default())?;
    if let Some(damage) = read.damage.first() {
        let what = format!("partition {}: its filesystem is damaged, so nobody knows what of it is free: {damage}", partition.number);
        return Err(Error::corrupt(what));
    }
    let base = partition.offset_bytes;
    let mut free = Vec::new();
    let mut push = |from: u64, to: u64| {
        if from < to {
            free.push(Unused { range: base + from..base + to, partition: Some((partition.number, base)) });
        }
    };
    let mut at = 0;
    for place in &read.places {
        push(at, place.range.start.min(partition.size_bytes));
        at = at.max(place.range.end);
    }
    push(at, partition.size_bytes);
    Ok(free)
}

/// What lies between partitions.
fn gaps(image: &DiskImage) -> Vec<Unused> {
    let Some(table) = image.table() else { return Vec::new() };
    let Ok(usable) = partition::usable_bytes(table.kind, table.sector_bytes, table.disk_bytes / u64::from(table.sector_bytes) * u64::from(table.sector_bytes))
    else {
        return Vec::new();
    };
    let mut taken: Vec<Range<u64>> =
        image.partitions().iter().map(|partition| partition.offset_bytes..partition.offset_bytes.saturating_add(partition.size_bytes)).collect();
    taken.sort_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut at = usable.start.max(MIB);
    for range in taken.into_iter().chain(std::iter::once(usable.end..usable.end)) {
        if at < range.start.min(usable.end) {
            gaps.push(Unused { range: at..range.start.min(usable.end), partition: None });
        }
        at = at.max(range.end);
    }
    gaps
}

/// What was found in a piece of the disk.
struct Found {
    /// Bytes of blocks that are not zero, and where the first one lies.
    bytes: u64,
    first: u64,
    /// (offset, kind, first characters)
    secrets: Vec<(u64, &'static str, [u8; 4])>,
}

/// What is not zero in the free space of a partition, or between partitions.
struct Total {
    partition: Option<(u32, u64)>,
    first: u64,
    bytes: u64,
}

fn look(subject: &Subject<'_>, image: &DiskImage, unused: &[Unused], findings: &mut Findings<'_>) -> Result<()> {
    let ranges: Vec<Range<u64>> = unused.iter().map(|unused| unused.range.clone()).collect();
    let found = look_at_ranges(&**image.disk(), &ranges, OVERLAP_BYTES, subject.threads, subject.cancel, look_at_piece)?;
    // By what they lie in: the first place and how many bytes; partitions do not lie in each other.
    let mut totals: Vec<Total> = Vec::new();
    let mut told = 0;
    for piece in found {
        let at = unused.partition_point(|unused| unused.range.end <= piece.first);
        let partition = unused.get(at).and_then(|unused| unused.partition);
        if piece.bytes > 0 {
            match totals.iter_mut().find(|total| total.partition == partition) {
                Some(total) => total.bytes = total.bytes.saturating_add(piece.bytes),
                None => totals.push(Total { partition, first: piece.first, bytes: piece.bytes }),
            }
        }
        for (offset, kind, first) in piece.secrets {
            if told < TOLD_MAX {
                findings.add(&SECRET, place(partition, offset), format!("{kind} ({}…), in free space", escape(&first)));
            }
            told += 1;
        }
    }
    for Total { partition, first, bytes } in totals {
        let what = if partition.is_some() { "in free space" } else { "between partitions" };
        findings.add(&DATA, place(partition, first), format!("{} {what} are not zero, the first ones here", Size::bytes(bytes)));
    }
    Ok(())
}

fn place(partition: Option<(u32, u64)>, offset_bytes: u64) -> Place {
    match partition {
        Some((number, base)) => Place::Partition { number, offset_bytes: Some(offset_bytes - base) },
        None => Place::Disk { offset_bytes },
    }
}

/// Looks at the first `own` of `bytes`, which lie at `offset`.
fn look_at_piece(offset: u64, own: usize, bytes: &[u8]) -> Option<Found> {
    if is_zero(&bytes[..own]) {
        return None;
    }
    let mut found = Found { bytes: 0, first: u64::MAX, secrets: Vec::new() };
    for (at, block) in bytes[..own].chunks(PIECE_BYTES).enumerate().filter(|(_, block)| !is_zero(block)) {
        found.bytes += u64_of(block.len());
        if found.first == u64::MAX {
            let skip = block.iter().position(|byte| *byte != 0).unwrap_or_default();
            found.first = offset + u64_of(at * PIECE_BYTES + skip);
        }
    }
    let wants = |sort| matches!(sort, Sort::PrivateKey | Sort::AwsKey | Sort::Token);
    let secrets = find(bytes, own, FOUND_PER_PIECE, wants).into_iter();
    found.secrets = secrets.map(|secret| (offset + u64_of(secret.at), secret.kind, secret.first)).collect();
    Some(found)
}
