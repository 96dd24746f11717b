//! `rootvol checksum`.

use super::args::{ChecksumArgs, HolesAs, check_threads};
use super::progress::Bar;
use super::show;
use super::signals::Signals;
use crate::checksum::{BlockChecksums, BlockState};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{self, Format};
use crate::output;
use crate::report::BlockSummary;
use crate::stream::{ChecksumOptions, Progress, all_blocks, checksum_blocks, checksum_reader};
use crate::units::Size;
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

/// What the command says, as JSON too.
#[derive(Serialize)]
struct Checksums {
    format: Format,
    size_bytes: u64,
    blocks: BlockSummary,
    /// Blocks that the image does not store, whatever they count as.
    holes: Vec<Hole>,
}

#[derive(Serialize)]
struct Hole {
    index: u64,
    count: u64,
}

pub(super) fn checksum(args: &ChecksumArgs, signals: &Signals) -> Result<()> {
    check_threads(args.threads)?;
    if let Some(path) = &args.blocks {
        refuse_blocks(args, path)?;
    }
    let bar = Bar::new(args.quiet);
    let progress = Box::new(|progress: &Progress| {
        bar.show(progress);
        if signals.received().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let mut options = ChecksumOptions { progress, ..ChecksumOptions::default() };
    options.threads = args.threads.unwrap_or(options.threads);
    let computed = if is_stdin(args) { of_stdin(args, options) } else { of_image(args, options) };
    bar.clear();
    let (format, size_bytes, stored) = computed?;
    let holes = stored.runs().filter(|run| run.state == BlockState::Unused).map(|run| Hole { index: run.first.0, count: run.count }).collect();
    let checksums = match args.holes {
        HolesAs::Zero => stored.unused_as_zeros(),
        HolesAs::Unused => stored,
    };
    if let Some(path) = &args.blocks {
        let mut lines = Vec::new();
        checksums.write_jsonl(&mut lines).map_err(|error| Error::io("cannot write the block checksums", error))?;
        output::write_atomic(path, &lines, args.force)?;
    }
    let said = Checksums { format, size_bytes, blocks: checksums.summary(), holes };
    match (args.json, args.quiet) {
        (true, _) => show::json(&said),
        (false, true) => show::text(&format!("{}\n", said.blocks.linear_checksum)),
        (false, false) => show::text(&text(args, &said)),
    }
}

fn is_stdin(args: &ChecksumArgs) -> bool {
    args.image.as_os_str() == OsStr::new("-")
}

/// Long work that ends at a name that is taken helps nobody, and the image is not to be replaced by its checksums.
fn refuse_blocks(args: &ChecksumArgs, path: &Path) -> Result<()> {
    let refused = |message: &str| Err(Error::new(ErrorKind::Exists, message).at_path(path.as_os_str().as_encoded_bytes()));
    let image = if is_stdin(args) { Path::new("/dev/stdin") } else { &args.image };
    if output::same_file(image, path) {
        return refused("the block checksums would replace the image");
    }
    if !args.force && path.symlink_metadata().is_ok() {
        return refused("the file exists already, and replacing it was not asked for");
    }
    Ok(())
}

fn of_image(args: &ChecksumArgs, options: ChecksumOptions<'_>) -> Result<(Format, u64, BlockChecksums)> {
    let disk = format::open_with(&args.image, &args.input.open_options())?;
    let checksums = checksum_blocks(&*disk, all_blocks(&*disk), options).map_err(|error| error.at_path(args.image.as_os_str().as_encoded_bytes()))?;
    Ok((disk.format(), disk.size_bytes(), checksums))
}

/// Standard input is read as it comes, so it is the disk itself: a VHD is read by position.
fn of_stdin(args: &ChecksumArgs, options: ChecksumOptions<'_>) -> Result<(Format, u64, BlockChecksums)> {
    let format = args.input.input_format;
    if format.is_some_and(|format| format != Format::Raw) || !args.input.vhd_parent.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "a VHD is read by position and cannot come through standard input; give the file"));
    }
    let mut input = io::stdin().lock();
    let mut head = Vec::new();
    if format.is_none() {
        let read = (&mut input).take(format::MAGIC_BYTES).read_to_end(&mut head);
        read.map_err(|error| Error::io("cannot read standard input", error))?;
        if let Some(what) = format::not_raw(&head)? {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("standard input begins like {what}, and is read as a raw disk: give the file, or say --input-format raw"),
            ));
        }
    }
    drop(input);
    let read = checksum_reader(head.as_slice().chain(io::stdin()), options).map_err(|error| error.at_path("standard input"))?;
    Ok((Format::Raw, read.size_bytes, read.checksums))
}

fn text(args: &ChecksumArgs, said: &Checksums) -> String {
    let BlockSummary { total, data, zero, unused, linear_checksum, .. } = &said.blocks;
    let name = if is_stdin(args) { "standard input".into() } else { crate::error::escape(args.image.as_os_str().as_encoded_bytes()) };
    let holes: u64 = said.holes.iter().map(|hole| hole.count).sum();
    let mut text = format!("{name}: {}, {}\n{total} blocks of 512 KiB: {data} data, {zero} zero, {unused} unused", said.format, Size::bytes(said.size_bytes));
    if holes > 0 {
        text.push_str(&format!("; {holes} are holes, "));
        text.push_str(match args.holes {
            HolesAs::Zero => "which count as zero (--holes unused leaves them out)",
            HolesAs::Unused => "which count as unused: an upload may leave them out where nobody trusts them to be zero",
        });
    }
    text.push_str(&format!("\nLINEAR {linear_checksum}\n"));
    text
}
