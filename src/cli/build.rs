//! `rootvol build` and `rootvol plan`.

use super::args::{BuildArgs, ImageArgs, PlanArgs, WritingArgs, check_threads};
use super::exit::Exit;
use super::progress::Bar;
use super::show::{self, as_usage};
use super::signals::Signals;
use super::source::SPOOL_FOLDER;
use crate::build::{self, Built, Companions, Target};
use crate::disk::{Disk, WriteOptions};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::Format;
use crate::manifest;
use crate::recipe::{Given, LoadOptions, Recipe};
use crate::report::Report;
use crate::source::{self, Source};
use crate::stream::Progress;
use crate::units::{BLOCK_BYTES, Size};
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) fn plan(args: &PlanArgs) -> Result<Exit> {
    let recipe = describe(&args.image)?;
    let format = format_of(&args.image, &recipe);
    let (disk, exit) = plan_disk(&recipe, &args.image, None, Path::new(SPOOL_FOLDER))?;
    if let Some(format) = format {
        disk.check_format(format)?;
    }
    if args.json {
        show::json(&disk.outline())?
    } else {
        show::text(&disk.to_string())?
    }
    Ok(exit)
}

pub(super) fn build(args: &BuildArgs, signals: &Signals) -> Result<Exit> {
    let start = Instant::now();
    let to = Destination::new(&args.output, &args.writing)?;
    let recipe = describe(&args.image)?;
    // What depends on the day stops no build: the image is the same on any.
    if let Some(Err(error)) = recipe.ami.as_ref().map(|ami| ami.check_at(super::manifest::now())) {
        show::say(&format!("warning: {error}"));
    }
    let format = to.format(args.image.format, format_of(&args.image, &recipe))?;
    let (disk, exit) = plan_disk(&recipe, &args.image, args.writing.threads, to.folder())?;
    if recipe.ami.is_some() && !args.no_lint {
        super::lint::before_writing(&disk, &recipe, signals, args.writing.quiet)?;
    }
    write(&disk, &to, format, &recipe.ami.unwrap_or_default(), signals, start)?;
    Ok(exit)
}

/// Where an image goes, and how.
pub(super) struct Destination<'a> {
    output: &'a OsStr,
    writing: &'a WritingArgs,
    to_stdout: bool,
}

impl<'a> Destination<'a> {
    /// Checks what stands in the way, before the long work.
    pub(super) fn new(output: &'a OsStr, writing: &'a WritingArgs) -> Result<Self> {
        check_threads(writing.threads)?;
        let to_stdout = output == OsStr::new("-");
        if to_stdout && io::stdout().is_terminal() {
            return Err(Error::new(ErrorKind::Usage, "an image is not for a terminal; send standard output to a file or a pipe"));
        }
        if to_stdout && writing.device {
            return Err(Error::new(ErrorKind::Usage, "standard output is no block device: --device goes with -o /dev/…"));
        }
        Ok(Self { output, writing, to_stdout })
    }

    fn path(&self) -> &'a Path {
        Path::new(self.output)
    }

    /// The format: `asked` by the command line, else the one that `known` has, else the one that the output's extension stands for.
    pub(super) fn format(&self, asked: Option<Format>, known: Option<Format>) -> Result<Format> {
        let format = match known.or(asked) {
            Some(format) if self.writing.device && asked.is_some() && format != Format::Raw => {
                return Err(Error::new(ErrorKind::Usage, format!("a block device holds the disk itself, format raw; {format} was asked for")));
            }
            _ if self.writing.device => Format::Raw,
            format => format.or_else(|| Format::from_extension(self.path())).unwrap_or(Format::Raw),
        };
        if !self.to_stdout && !self.writing.device {
            refuse_early(self.path(), self.writing.force)?;
        }
        Ok(format)
    }

    /// The folder that has room for the output, and so for a spool file.
    pub(super) fn folder(&self) -> &'a Path {
        let is_file = !self.to_stdout && !self.writing.device;
        let beside = self.path().parent().filter(|folder| is_file && !folder.as_os_str().is_empty());
        beside.unwrap_or(Path::new(if is_file { "." } else { SPOOL_FOLDER }))
    }
}

/// Writes a planned disk with its companions and says what was done.
pub(super) fn write(disk: &Disk, to: &Destination<'_>, format: Format, ami: &manifest::AmiChoices, signals: &Signals, start: Instant) -> Result<()> {
    let Destination { writing, to_stdout, .. } = *to;
    let path = to.path();
    let bar = Bar::new(writing.quiet);
    // A pipe has nothing to clean up, and its reader may never let a write return.
    if to_stdout {
        refuse_open_input(disk, "/dev/stdout")?;
    } else {
        signals.hold();
    }
    let mut options = WriteOptions { force: writing.force, ..WriteOptions::default() };
    options.stream.file_sha256 = writing.file_sha256;
    if let Some(threads) = writing.threads {
        options.stream.threads = threads;
    }
    options.progress = Box::new(|progress: &Progress| {
        bar.show(progress);
        if signals.received().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let companions =
        Companions { report: writing.report.clone(), blocks: writing.blocks.clone(), layout: writing.layout.clone(), manifests: writing.manifests.clone() };
    let target = match (to_stdout, writing.device) {
        (true, _) => Target::Stream(io::stdout().lock()),
        (false, true) => Target::Device(path),
        (false, false) => Target::File(path),
    };
    let built = build::build(disk, target, format, ami, &companions, options);
    bar.clear();
    let built = built?;
    if writing.json {
        let json = built.report.to_json();
        return if to_stdout {
            show::say(json.trim_end());
            Ok(())
        } else {
            show::text(&json)
        };
    }
    if writing.quiet {
        return Ok(());
    }
    let image = if to_stdout { PathBuf::from("image") } else { path.to_path_buf() };
    let mut said = summary(&built, &image, start.elapsed());
    said.push_str(&next(&built.report, &image, ami));
    if to_stdout {
        show::say(said.trim_end());
        Ok(())
    } else {
        show::text(&said)
    }
}

/// The recipe that the command line stands for: the file's, with the options laid over it.
fn describe(args: &ImageArgs) -> Result<Recipe> {
    let mut recipe = match &args.recipe {
        Some(path) => Recipe::load(path, &LoadOptions { allow_source: args.allow_source.clone() })?,
        None => Recipe::default(),
    };
    args.lay_over(&mut recipe);
    recipe.check().map_err(as_usage)?;
    Ok(recipe)
}

/// Opens the sources and plans; says what of them is damaged and left out.
fn plan_disk(recipe: &Recipe, args: &ImageArgs, threads: Option<usize>, spool_folder: &Path) -> Result<(Disk, Exit)> {
    let spool_folder = args.reading.input.spool_dir.clone().unwrap_or_else(|| spool_folder.to_path_buf());
    let mut options = args.source_options().map_err(as_usage)?;
    options.spool_folder = Some(spool_folder.clone());
    options.threads = threads.unwrap_or(options.threads);
    if args.sources.iter().filter(|source| is_stdin(source)).count() > 1 {
        return Err(Error::new(ErrorKind::Usage, "standard input (-) is named twice as a source; it can be read once"));
    }
    let sources = args.sources.iter().map(|source| open(source, &options)).collect::<Result<Vec<_>>>()?;
    let left_out = sources.iter().flat_map(|source| source.damage.iter().chain(&source.unreadable));
    let exit = if left_out.inspect(|error| show::error(error)).count() > 0 { Exit::Partly } else { Exit::Done };
    let root = if sources.is_empty() { None } else { Some(source::layered(sources)?) };
    let given = Given { spool_folder: Some(spool_folder), root, epoch: source_date_epoch()? };
    let mut spec = recipe.disk_spec(given)?;
    spec.inputs.extend(args.recipe.clone());
    if args.sources.iter().any(|source| is_stdin(source)) {
        spec.inputs.push(PathBuf::from("/dev/stdin"));
    }
    spec.packing = args.packing.unwrap_or(spec.packing);
    if let Some(free) = args.free {
        spec.free = Some(free);
        for partition in spec.partitions.iter_mut().filter(|partition| partition.is_root()) {
            partition.free = Some(free);
        }
    }
    Ok((spec.plan()?, exit))
}

fn is_stdin(source: &OsStr) -> bool {
    source == OsStr::new("-")
}

/// Refuses to write to `standard`, where the shell has opened a source as it; one that it emptied is past help.
fn refuse_open_input(disk: &Disk, standard: &str) -> Result<()> {
    match std::fs::metadata(standard) {
        Ok(metadata) if metadata.is_file() => disk.refuse_inputs(Path::new(standard)),
        _ => Ok(()),
    }
}

fn open(source: &OsStr, options: &source::Options) -> Result<Source> {
    if is_stdin(source) { source::from_reader("standard input", io::stdin(), options) } else { source::open_with(Path::new(source), options) }
}

/// The build's own time, by the convention of reproducible-builds.org.
pub(super) fn source_date_epoch() -> Result<Option<i64>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok());
    let bad = || Error::invalid(format!("SOURCE_DATE_EPOCH is {}; seconds since 1970 were expected", escape(text.as_encoded_bytes())));
    seconds.map(Some).ok_or_else(bad)
}

/// The option's format, else the recipe's; without either the output's extension tells.
fn format_of(args: &ImageArgs, recipe: &Recipe) -> Option<Format> {
    args.format.or(recipe.disk.format)
}

/// What stands in the way of the output is said before the long work.
fn refuse_early(path: &Path, force: bool) -> Result<()> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() || metadata.is_symlink() => {
            if force {
                Ok(())
            } else {
                Err(named(Error::new(ErrorKind::Exists, "the output exists already (--force replaces it)")))
            }
        }
        Ok(metadata) if metadata.is_dir() => Err(named(Error::invalid("the output is a folder; a file name was expected"))),
        Ok(_) => Err(named(Error::invalid("the output is no regular file; --device writes to a block device, in place"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named(Error::io("cannot look at the output's place", error))),
    }
}

/// The last lines of a build: what boots, what is in it, what there is to upload.
fn summary(built: &Built, image: &Path, took: Duration) -> String {
    let Report { file, disk, partitions, blocks, boot, notes, .. } = &built.report;
    let mut lines = Vec::new();
    for note in notes {
        lines.push(format!("note: {}", escape(note.as_bytes())));
    }
    for withheld in &built.withheld {
        lines.push(format!("note: {}", escape(withheld.to_string().as_bytes())));
    }
    if let Some(boot) = boot {
        let kernel = boot.kernel.as_deref().unwrap_or("in the UKI");
        let initramfs = boot.initramfs.as_deref().unwrap_or("none");
        let shown = |text: &str| escape(text.as_bytes());
        lines.push(format!(
            "boot: {} {}, {} ({}), kernel {}, initramfs {}",
            boot.mode,
            boot.architecture,
            boot.loader,
            shown(&boot.loader_path),
            shown(kernel),
            shown(initramfs)
        ));
    }
    for partition in partitions {
        let mut line = format!("partition {}: {}, {}", partition.number, partition.partition_type, Size::bytes(partition.size_bytes));
        if let Some(filesystem) = &partition.filesystem {
            line += &format!(", {} with {} used, {} free", filesystem.kind, Size::bytes(filesystem.used_bytes), Size::bytes(filesystem.free_bytes));
        }
        lines.push(line);
    }
    let upload = Size::bytes((blocks.data + blocks.zero) * BLOCK_BYTES);
    lines.push(format!(
        "blocks: {} data, {} zero, {} unused; {upload} to upload as blocks, {} as a file",
        blocks.data,
        blocks.zero,
        blocks.unused,
        Size::bytes(file.size_bytes)
    ));
    let size = Size::bytes(disk.size_bytes);
    let name = escape(image.as_os_str().as_encoded_bytes());
    lines.push(format!("{name}: {} of a disk of {size}, in {:.2} s", file.format, took.as_secs_f64()));
    lines.join("\n") + "\n"
}

fn next(report: &Report, image: &Path, ami: &manifest::AmiChoices) -> String {
    let mut lines = manifest::next_steps(report, image, ami);
    if lines.is_empty() {
        lines.push(format!("rootvol inspect {}", escape(image.as_os_str().as_encoded_bytes())));
    }
    let mut text = String::from("Next:\n");
    for line in lines {
        text += &format!("  {line}\n");
    }
    text
}
