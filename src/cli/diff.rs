//! `rootvol diff`.

use super::args::{DiffArgs, check_threads};
use super::exit::Exit;
use super::show;
use super::signals::Signals;
use super::source::{open, options, report_damage};
use crate::checksum::BlockChecksums;
use crate::content::ReadAt;
use crate::diff::{Diff, Owners, causes, diff_blocks, diff_entries};
use crate::disk::Parent;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::manifest::Relation;
use crate::report::Report;
use crate::source::{self, DiskImage, Source};
use crate::stream::{ChecksumOptions, StreamOptions, all_blocks, checksum_blocks};
use crate::verify::Expected;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What there is to compare of one side.
struct Side {
    source: Option<Source>,
    blocks: Option<BlockChecksums>,
    damaged: bool,
    report: Option<Box<Report>>,
    image: Option<DiskImage>,
    /// The layout that lies beside a report or a block list.
    layout: Option<Parent>,
}

impl Side {
    fn owners(&self) -> Option<Owners> {
        let of_layout = || self.layout.as_ref().map(Owners::of_layout);
        self.image.as_ref().map(Owners::of_image).or_else(of_layout)
    }
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
    if let Some(blocks) = diff.blocks.as_ref().filter(|blocks| blocks.differing > 0)
        && let (Some(of_old), Some(of_new)) = (old.owners(), new.owners())
    {
        let disk = |side: &Side| side.image.as_ref().map(|image| Arc::clone(image.disk()));
        let disks = disk(&old).zip(disk(&new));
        diff.causes = Some(causes(&of_old, &of_new, &blocks.runs, disks.as_ref().map(|(old, new)| -> (&dyn ReadAt, &dyn ReadAt) { (old, new) }))?);
        if disks.is_none() {
            diff.notes.push("one side is a record without its image: of each differing block all files are named that lie in it".into());
        }
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
        let layout = layout_beside(path, expected.blocks.as_ref(), notes);
        return Ok(Side { source: None, blocks: expected.blocks, damaged: false, report: expected.report, image: None, layout });
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
    Ok(Side { source, blocks, damaged, report: None, image, layout: None })
}

/// The layout that a build has put beside its report and block list, if it is of the same image.
fn layout_beside(record: &Path, blocks: Option<&BlockChecksums>, notes: &mut Vec<String>) -> Option<Parent> {
    let name = record.to_str()?;
    let stem = [".report.json", ".blocks.jsonl"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let path = PathBuf::from(format!("{stem}.layout"));
    if !path.is_file() {
        return None;
    }
    match Parent::open(&path) {
        Ok(layout) if layout.linear_checksum == blocks.map(BlockChecksums::linear_checksum) => Some(layout),
        Ok(_) => {
            notes.push(format!("{} is of another image than {}", escape(path.as_os_str().as_encoded_bytes()), escape(name.as_bytes())));
            None
        }
        Err(error) => {
            notes.push(error.to_string());
            None
        }
    }
}

/// Whether this is a report or a block list: text that begins as JSON does, which no source and no image is.
fn is_record(path: &Path) -> bool {
    use std::io::Read as _;
    let mut first = [0; 2];
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && matches!(&first, b"{\"" | b"{\n")
}
