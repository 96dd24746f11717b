//! `rootvol boot-order` and `rootvol first-boot`.

use super::args::InputArgs;
use super::show;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::output;
use crate::source::DiskImage;
use crate::trace::{self, FirstBoot, ImageMap, Learnt, Trace, TracedDisk};
use crate::units::Size;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct BootOrderArgs {
    /// The image that was booted.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// What it read: QEMU's log of `-trace blk_co_preadv`, or lines of an offset and a length in bytes. Of several the first says the
    /// order, and the others add what it does not have.
    #[arg(value_name = "TRACE", required = true)]
    traces: Vec<PathBuf>,
    /// The file to write [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing FILE.
    #[arg(long)]
    force: bool,
    /// Which disk of the traces, from 1, in the order of their first reads [default: the one whose reads fit the image].
    #[arg(long, value_name = "N")]
    disk: Option<usize>,
    #[command(flatten)]
    input: InputArgs,
    /// Print nothing but errors and the order.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct FirstBootArgs {
    /// The image that was booted.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// What it read: QEMU's log of `-trace blk_co_preadv`, or lines of an offset and a length in bytes.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Which disk of the trace, from 1, in the order of their first reads [default: the one whose reads fit the image].
    #[arg(long, value_name = "N")]
    disk: Option<usize>,
    #[command(flatten)]
    input: InputArgs,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// What `first-boot --json` prints.
#[derive(Serialize)]
struct Said<'a> {
    image: String,
    trace: String,
    /// Which disk of the trace, from 1.
    disk: usize,
    skipped_lines: u64,
    #[serde(flatten)]
    first_boot: &'a FirstBoot,
}

pub(super) fn boot_order(args: &BootOrderArgs) -> Result<()> {
    if let Some(path) = &args.output {
        refuse_output(args, path)?;
    }
    let traces = args.traces.iter().map(Trace::open).collect::<Result<Vec<_>>>()?;
    let map = open(&args.image, &args.input)?;
    let mut disks = Vec::with_capacity(traces.len());
    let mut notes = map.notes().to_vec();
    for (trace, path) in traces.iter().zip(&args.traces) {
        let disk = choose(&map, trace, path, args.disk)?;
        notes.extend(notes_of(trace, disk).into_iter().map(|note| format!("{}: {note}", shown(path))));
        disks.push(disk);
    }
    let learnt = trace::boot_order(&map, &disks)?;
    let text = order_text(args, &learnt)?;
    match &args.output {
        Some(path) => output::write_atomic(path, &text, args.force)?,
        // Paths may be any bytes, but are escaped.
        None => show::text(&String::from_utf8_lossy(&text))?,
    }
    if !args.quiet {
        let Learnt { order, with_contents, inodes_alone, unordered_bytes, .. } = &learnt;
        notes.iter().chain(&learnt.notes).for_each(|note| show::say(&format!("rootvol: note: {}", escape(note.as_bytes()))));
        show::say(&format!(
            "{} entries: {with_contents} with contents, {inodes_alone} for their inode; {} more belong to no entry (inode tables, bitmaps, the journal, …)",
            order.entries().len(),
            Size::bytes(*unordered_bytes)
        ));
    }
    Ok(())
}

/// The file: where it comes from, then the entries.
fn order_text(args: &BootOrderArgs, learnt: &Learnt) -> Result<Vec<u8>> {
    let name = |path: &PathBuf| shown(Path::new(path.file_name().unwrap_or(path.as_os_str())));
    let traces: Vec<String> = args.traces.iter().map(name).collect();
    let mut text = format!("# What {} reads when it boots, first read first; learnt from {}.\n", name(&args.image), traces.join(", ")).into_bytes();
    learnt.order.write(&mut text).map_err(|error| Error::io("cannot write the boot order", error))?;
    Ok(text)
}

pub(super) fn first_boot(args: &FirstBootArgs) -> Result<()> {
    let trace = Trace::open(&args.trace)?;
    let map = open(&args.image, &args.input)?;
    let disk = choose(&map, &trace, &args.trace, args.disk)?;
    let mut first_boot = trace::first_boot(&map, disk);
    first_boot.notes.splice(..0, map.notes().iter().cloned().chain(notes_of(&trace, disk)));
    if args.json {
        let said = Said {
            image: shown(&args.image),
            trace: shown(&args.trace),
            disk: number_of(&trace, disk),
            skipped_lines: trace.skipped(),
            first_boot: &first_boot,
        };
        return show::json(&said);
    }
    show::text(&format!("{}, {}: {first_boot}", shown(&args.image), shown(&args.trace)))
}

fn open(image: &Path, input: &InputArgs) -> Result<ImageMap> {
    let image = DiskImage::open(image, &input.open_options())?;
    let map = ImageMap::of(&image)?;
    image.disk().check_unchanged()?;
    Ok(map)
}

/// The disk of the trace that is the image.
fn choose<'t>(map: &ImageMap, trace: &'t Trace, path: &Path, disk: Option<usize>) -> Result<&'t TracedDisk> {
    map.disk(trace, disk).map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))
}

fn notes_of(trace: &Trace, disk: &TracedDisk) -> Vec<String> {
    let all = trace.disks().len();
    let chosen = (all > 1).then(|| format!("disk {} of {all} in the trace is the image's (--disk says another one)", number_of(trace, disk)));
    trace.skipped_note().into_iter().chain(chosen).collect()
}

fn number_of(trace: &Trace, disk: &TracedDisk) -> usize {
    trace.disks().iter().position(|one| std::ptr::eq(one, disk)).map_or(0, |at| at + 1)
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// What stands in the way is said before the work.
fn refuse_output(args: &BootOrderArgs, path: &Path) -> Result<()> {
    let refused = |message: &str| Err(Error::new(ErrorKind::Exists, message).at_path(path.as_os_str().as_encoded_bytes()));
    if args.traces.iter().chain([&args.image]).any(|input| output::same_file(input, path)) {
        return refused("the output is one of the inputs");
    }
    if !args.force && path.symlink_metadata().is_ok() {
        return refused("the file exists already (--force replaces it)");
    }
    Ok(())
}
