//! `rootvol manifest ebs-snapshot`.

use super::show;
use crate::checksum::BlockChecksums;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::manifest::{AmiChoices, EbsSnapshotPlan};
use crate::report::Report;
use crate::verify::Expected;
use clap::Args;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The plan of a snapshot by the EBS direct API: StartSnapshot, every PutSnapshotBlock, CompleteSnapshot, as one JSON object with a
/// line a block.
#[derive(Debug, Args)]
pub(super) struct EbsSnapshotArgs {
    /// The build's report, with the block list beside it.
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    /// The block list, where it is not beside the report.
    #[arg(long, value_name = "FILE")]
    blocks: Option<PathBuf>,
    /// Leave zero blocks out. Unsafe where the snapshot is encrypted, also by the account's default: what a snapshot does not hold reads
    /// as random bytes then.
    #[arg(long)]
    omit_zero: bool,
    /// The report or block list of an earlier version: only what differs from it is written.
    #[arg(long, value_name = "REPORT|BLOCKS", requires = "parent_snapshot")]
    parent: Option<PathBuf>,
    /// The snapshot that holds this earlier version.
    #[arg(long, value_name = "SNAPSHOT", requires = "parent")]
    parent_snapshot: Option<String>,
    /// The parent was written with --omit-zero: write the zeros that it does not hold.
    #[arg(long, requires = "parent")]
    parent_omitted_zero: bool,
    /// The tag Name, in place of the image's name and version.
    #[arg(long)]
    name: Option<String>,
    /// What the description begins with, in place of the name; the LINEAR checksum follows.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A tag of the snapshot.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = key_and_value)]
    tags: Vec<(String, String)>,
    /// Encrypt the snapshot.
    #[arg(long, conflicts_with = "parent")]
    encrypted: bool,
    /// The ARN of the KMS key to encrypt with.
    #[arg(long, value_name = "ARN", requires = "encrypted", conflicts_with = "parent")]
    kms_key_arn: Option<String>,
    /// The volume's size, where the parent's snapshot is larger than its image because its own parent was.
    #[arg(long, value_name = "GIB")]
    volume_size: Option<u64>,
    /// Minutes without a block after which AWS gives the snapshot up: 10 to 4320.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    timeout: u32,
    /// Raised after a failure: AWS answers a request that it knows with the snapshot that it knows, a failed one too.
    #[arg(long, value_name = "N", default_value_t = 1)]
    attempt: u32,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a form like team=web was expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn ebs_snapshot(args: &EbsSnapshotArgs) -> Result<()> {
    let (report, blocks) = read(&args.report, args.blocks.as_deref())?;
    let report = report.ok_or_else(|| at(&args.report, Error::invalid("a block list alone: the report of the build was expected")))?;
    let parent = args.parent.as_ref().map(|path| read(path, None)).transpose()?;
    let mut choices = AmiChoices::default();
    choices.name.clone_from(&args.name);
    choices.description.clone_from(&args.description);
    choices.tags = args.tags.iter().cloned().collect();
    choices.encrypted = args.encrypted.then_some(true);
    choices.kms_key_id.clone_from(&args.kms_key_arn);
    choices.attempt = Some(args.attempt);
    let mut plan = report.ebs_snapshot(&blocks).ami(&choices).omit_zero(args.omit_zero).timeout_minutes(args.timeout);
    if let Some(gib) = args.volume_size {
        plan = plan.volume_gib(gib);
    }
    if let (Some((old, blocks)), Some(snapshot)) = (&parent, &args.parent_snapshot) {
        if let Some(old) = old {
            old.check_blocks(blocks).map_err(|error| error.within("the parent"))?;
        }
        plan = plan.parent(snapshot, blocks).parent_omitted_zero(args.parent_omitted_zero);
    }
    let plan = plan.plan()?;
    for note in &plan.notes {
        show::say(&format!("rootvol: note: {}", escape(note.as_bytes())));
    }
    write(&plan)
}

/// A report, where it is one, and the block list.
fn read(path: &Path, blocks: Option<&Path>) -> Result<(Option<Box<Report>>, BlockChecksums)> {
    let Expected { report, blocks: beside, .. } = Expected::open(path)?;
    let blocks = match blocks {
        Some(path) => Expected::open(path)?.blocks.ok_or_else(|| at(path, Error::invalid("no block list")))?,
        None => beside.ok_or_else(|| {
            at(
                path,
                Error::new(
                    ErrorKind::Usage,
                    "the block list is not beside the report (OUT.blocks.jsonl beside OUT.report.json): say where it is with --blocks",
                ),
            )
        })?,
    };
    Ok((report, blocks))
}

fn at(path: &Path, error: Error) -> Error {
    error.at_path(path.as_os_str().as_encoded_bytes())
}

/// Writes as it goes: the plan of a large disk is larger than what anybody wants in memory.
fn write(plan: &EbsSnapshotPlan) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match plan.write_json(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to standard output", error)),
        _ => Ok(()),
    }
}
