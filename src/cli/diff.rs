//! `rootvol diff`.

use super::args::{DiffArgs, check_threads};
use super::exit::Exit;
use super::show;
use super::signals::Signals;
use super::source::{open, options, report_damage};
use crate::checksum::BlockChecksums;
use crate::diff::{Diff, diff_blocks, diff_entries};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Relation;
use crate::report::Report;
use crate::source::{self, Source};
use crate::stream::{ChecksumOptions, StreamOptions, all_blocks, checksum_blocks};
use crate::verify::Expected;
use std::ffi::OsStr;
use std::path::Path;

/// What there is to compare of one side.
struct Side {
    source: Option<Source>,
    blocks: Option<BlockChecksums>,
    damaged: bool,
    report: Option<Box<Report>>,
}

pub(super) fn diff(args: &DiffArgs, signals: &Signals) -> Result<Exit> {
    check_threads(args.threads)?;
    let threads = args.threads.unwrap_or(StreamOptions::default().threads);
    let mut diff = Diff::default();
    let old = side(&args.old, args, threads, signals, &mut diff.notes)?;
    let new = side(&args.new, args, threads, signals, &mut diff.notes)?;
    if let (Some(old), Some(new)) = (&old.report, &new.report) {
        diff.notes.extend(relation(old, new));
    }
    if let (Some(old), Some(new)) = (&old.source, &new.source) {
        diff.entries = Some(diff_entries(old, new, threads, &signals.cancel())?);
    }
    if let (Some(old), Some(new)) = (&old.blocks, &new.blocks) {
        diff.blocks = Some(diff_blocks(old, new));
    }
    if diff.entries.is_none() && diff.blocks.is_none() {
        return Err(Error::invalid("one side has no blocks and the other no files: there is nothing to compare"));
    }
    if args.json {
        show::json(&diff)?
    } else {
        show::text(&diff.to_string())?
    }
    Ok(match () {
        () if old.damaged || new.damaged => Exit::Partly,
        () if diff.is_empty() => Exit::Done,
        () => Exit::Found,
    })
}

/// How the images of two reports are related, in a line.
fn relation(old: &Report, new: &Report) -> Option<String> {
    fn version(report: &Report) -> &str {
        report.version.as_deref().unwrap_or("without a version")
    }
    let name = old.name.as_deref()?;
    match Relation::of_reports(old, new) {
        Relation::None => None,
        Relation::Same => Some(format!("{name} {}: the same version, the same bytes", version(new))),
        Relation::Rebuilt => Some(format!("{name} {}: the same version, built again with other bytes", version(new))),
        Relation::Versions => Some(format!("two versions of {name}: {} and {}", version(old), version(new))),
    }
}

fn side(side: &OsStr, args: &DiffArgs, threads: usize, signals: &Signals, notes: &mut Vec<String>) -> Result<Side> {
    let path = Path::new(side);
    if is_record(path) {
        let expected = Expected::open(path)?;
        return Ok(Side { source: None, blocks: expected.blocks, damaged: false, report: expected.report });
    }
    let mut options = options(&args.reading);
    options.keep_going = true;
    let is_stdin = side == OsStr::new("-");
    let image = if is_stdin { None } else { source::open_whole_image(path, &options)? };
    let mut blocks = None;
    if let Some(image) = &image {
        let mut checksums = ChecksumOptions { threads, ..ChecksumOptions::default() };
        checksums.cancel = signals.cancel();
        blocks = Some(checksum_blocks(&**image.disk(), all_blocks(&**image.disk()), checksums)?);
    }
    let opened = match &image {
        Some(image) => source::open_image(image, &options),
        None => open(side, &options),
    };
    let source = match opened {
        // Blocks can be compared whatever lies in them.
        Err(error) if blocks.is_some() && matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::Corrupt) => {
            notes.push(format!("{error}; blocks alone are compared"));
            None
        }
        opened => Some(opened?),
    };
    let damaged = match &source {
        Some(source) => report_damage(source, args.reading.keep_going)?,
        None => false,
    };
    Ok(Side { source, blocks, damaged, report: None })
}

/// Whether this is a report or a block list: text that begins as JSON does, which no source and no image is.
fn is_record(path: &Path) -> bool {
    use std::io::Read as _;
    let mut first = [0; 2];
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && matches!(&first, b"{\"" | b"{\n")
}
