//! `rootvol lint`, and what lint says of a build with `[ami]`.

use super::args::{ReadingArgs, check_threads};
use super::build::source_date_epoch;
use super::exit::Exit;
use super::show;
use super::signals::Signals;
use super::source::{self, SPOOL_FOLDER};
use crate::disk::Disk;
use crate::error::{Result, escape};
use crate::lint::{self, LintOptions, Linted, Purpose, Severity};
use crate::recipe::{Given, LoadOptions, Recipe};
use crate::source as sources;
use clap::Args;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// An image, a partition of one, a directory, a tar, or a recipe (a file that ends in .toml): what it would build.
    #[arg(value_name = "IMAGE|SOURCE|RECIPE", required_unless_present = "rules")]
    what: Option<OsString>,
    /// What the image is for: import-image, import-snapshot, ebs, public, marketplace; several with commas. Without it all rules, and what
    /// not every image must hold to is a warning at most.
    #[arg(long = "for", value_name = "PURPOSE", value_delimiter = ',')]
    purposes: Vec<Purpose>,
    /// Accept what the `[lint]` of this recipe accepts.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Let a recipe take sources from this folder as well as its own.
    #[arg(long, value_name = "DIR")]
    allow_source: Vec<PathBuf>,
    /// List all rules, with why they are and who says so.
    #[arg(long)]
    rules: bool,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Threads that read files [default: what there is].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Exit code 1 where something must be mended.
pub(super) fn lint(args: &LintArgs, signals: &Signals) -> Result<Exit> {
    check_threads(args.threads)?;
    if args.rules {
        return rules(args.json);
    }
    let what = args.what.clone().unwrap_or_default();
    let load = LoadOptions { allow_source: args.allow_source.clone() };
    let mut options = match &args.recipe {
        Some(path) => Recipe::load(path, &load)?.lint.options(),
        None => LintOptions::default(),
    };
    options.cancel = signals.cancel();
    options.threads = args.threads.unwrap_or(options.threads);
    let linted = if Path::new(&what).extension().is_some_and(|extension| extension == "toml") && Path::new(&what).is_file() {
        let recipe = Recipe::load(Path::new(&what), &load)?;
        let of_recipe = recipe.lint.options();
        options.purposes = if recipe.lint.purposes.is_empty() { purposes_of(&recipe) } else { of_recipe.purposes };
        options.allow.extend(of_recipe.allow);
        override_purposes(&mut options, &args.purposes);
        let spool_folder = args.reading.input.spool_dir.clone().unwrap_or_else(|| SPOOL_FOLDER.into());
        let disk = recipe.disk_spec(Given { spool_folder: Some(spool_folder), root: None, epoch: source_date_epoch()? })?.plan()?;
        lint::lint_disk(&disk, &options)?
    } else {
        override_purposes(&mut options, &args.purposes);
        let reading = sources::Options { keep_going: true, mounts: true, ..source::options(&args.reading) };
        match sources::open_whole_image(Path::new(&what), &reading).transpose() {
            Some(image) if what != "-" => lint::lint_image(&image?, &options)?,
            _ => lint::lint_source(&source::open(&what, &reading)?, &options)?,
        }
    };
    if args.json {
        show::json(&linted)?
    } else {
        show::text(&linted.to_string())?
    }
    Ok(if linted.errors().next().is_some() { Exit::Found } else { Exit::Done })
}

fn override_purposes(options: &mut LintOptions, purposes: &[Purpose]) {
    if !purposes.is_empty() {
        options.purposes = purposes.to_vec();
    }
}

/// What the image of a recipe is for: the EBS direct API, with a bucket imports, with a public launch permission everybody. ImportImage is
/// left to its document, which is withheld where it would be refused: the other routes still work.
fn purposes_of(recipe: &Recipe) -> Vec<Purpose> {
    let Some(ami) = &recipe.ami else { return Vec::new() };
    let wanted = [(true, Purpose::Ebs), (ami.bucket.is_some() || ami.url.is_some(), Purpose::ImportSnapshot), (ami.launch_permission.public, Purpose::Public)];
    wanted.into_iter().filter_map(|(wanted, purpose)| wanted.then_some(purpose)).collect()
}

/// Judges the disk that is about to be written for an AMI: stops where something must be mended, says what else there is.
pub(super) fn before_writing(disk: &Disk, recipe: &Recipe, signals: &Signals, quiet: bool) -> Result<()> {
    let mut options = recipe.lint.options();
    options.cancel = signals.cancel();
    if options.purposes.is_empty() {
        options.purposes = purposes_of(recipe);
    }
    let linted = lint::lint_disk(disk, &options)?;
    if linted.errors().next().is_some() {
        show::say(linted.to_string().trim_end());
        show::say("rootvol: nothing was written; --no-lint writes it as it is, and [lint] in the recipe can accept a finding with a reason");
        return linted.refuse_errors();
    }
    if !quiet {
        say_counts(&linted);
    }
    Ok(())
}

fn say_counts(linted: &Linted) {
    let (warnings, notes) = (linted.count(Severity::Warning), linted.count(Severity::Note));
    if warnings + notes > 0 {
        show::say(&format!("rootvol: lint: {warnings} warnings and {notes} notes, no error (rootvol lint IMAGE shows them)"));
    }
}

fn rules(json: bool) -> Result<Exit> {
    let rules = lint::rules();
    if json {
        show::json(&rules)?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for rule in rules {
        let concerns = rule.concerns.iter().map(|purpose| purpose.name()).collect::<Vec<_>>().join(", ");
        text += &format!(
            "{} ({}, {}; {concerns})\n    why: {}\n    mend: {}\n    source: {}\n",
            rule.id,
            rule.family,
            rule.severity,
            escape(rule.why.as_bytes()),
            rule.mend,
            rule.source
        );
    }
    show::text(&text)?;
    Ok(Exit::Done)
}
