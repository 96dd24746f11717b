//! A whole build: the image with its companions beside it, the image last.
//!
//! ```text
//! web.vhd                     the image
//! web.vhd.report.json         what was made
//! web.vhd.blocks.jsonl        state and checksum of every 512-KiB block
//! web.vhd.layout              what lies where, for the next version to stay close to
//! web.vhd.import-image.json   and the other documents that were asked for
//! ```
//! Everything is written beside its place, brought to the disk and renamed; a build that fails leaves no image.

use crate::disk::{Disk, WriteOptions, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::manifest::{self, AmiChoices, Withheld};
use crate::output;
use crate::report::Report;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where an image goes.
#[derive(Debug)]
pub enum Target<'a, W> {
    /// A file, with the companions beside it.
    File(&'a Path),
    /// Anything that takes bytes: the image alone.
    Stream(W),
    /// A block device, in place: the image alone.
    Device(&'a Path),
}

/// Where companions go, in place of beside the image.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    /// The report.
    pub report: Option<PathBuf>,
    /// The block checksums.
    pub blocks: Option<PathBuf>,
    /// What lies where, for a next version.
    pub layout: Option<PathBuf>,
    /// The folder for the documents.
    pub manifests: Option<PathBuf>,
}

/// What a build made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Built {
    /// The report.
    pub report: Report,
    /// The files that were written, the image last.
    pub files: Vec<PathBuf>,
    /// Documents that AWS would refuse, with the reason and the route that works.
    pub withheld: Vec<Withheld>,
}

/// Writes `disk` as an image with its companions.
///
/// # Errors
/// [`ErrorKind::Exists`] where something stands under one of the names and `options.force` is not given; choices of
/// `ami` that contradict the image, before anything is written; as [`Disk::write_unnamed`].
pub fn build<W: Write>(
    disk: &Disk,
    target: Target<'_, W>,
    format: Format,
    ami: &AmiChoices,
    companions: &Companions,
    options: WriteOptions<'_>,
) -> Result<Built> {
    // Nobody who says nothing of an AMI is to be stopped by its rules: documents are withheld then.
    if *ami != AmiChoices::default() {
        ami.check_against(disk.name(), disk.version(), disk.boot())?;
    }
    let force = options.force;
    let beside = match &target {
        Target::File(path) => Some(*path),
        Target::Stream(_) | Target::Device(_) => None,
    };
    let report_path = companions.report.clone().or_else(|| beside.map(|path| with_suffix(path, "report.json")));
    let blocks_path = companions.blocks.clone().or_else(|| beside.map(|path| with_suffix(path, "blocks.jsonl")));
    let layout_path = companions.layout.clone().or_else(|| beside.map(|path| with_suffix(path, "layout")));
    let image_name = beside.and_then(Path::file_name).map_or_else(|| OsString::from("image"), OsString::from);
    let document_path = |suffix: &str| match (&companions.manifests, beside) {
        (Some(folder), _) => Some(with_suffix(&folder.join(&image_name), suffix)),
        (None, Some(path)) => Some(with_suffix(path, suffix)),
        (None, None) => None,
    };
    // Long work that ends at a name that is taken helps nobody.
    let documents = manifest::document_suffixes(ami).into_iter().filter_map(document_path);
    let names: Vec<PathBuf> = [&report_path, &blocks_path, &layout_path].into_iter().flatten().cloned().chain(documents).collect();
    for (nth, path) in names.iter().enumerate() {
        refuse_existing(path, force)?;
        disk.refuse_inputs(path)?;
        if names[..nth].iter().map(PathBuf::as_path).chain(beside).any(|other| is_same_name(other, path)) {
            return Err(Error::invalid("two outputs of one build have this name").at_path(path.as_os_str().as_encoded_bytes()));
        }
    }
    disk.check_format(format)?;
    let (written, image) = match target {
        Target::File(path) => disk.write_unnamed(path, format, options).map(|(written, image)| (written, Some(image)))?,
        Target::Stream(to) => (disk.write_to(to, format, options)?, None),
        Target::Device(path) => (disk.write_device(path, options)?, None),
    };
    let Written { report, checksums, .. } = written;
    let mut files = Vec::new();
    let mut put = |path: PathBuf, bytes: &[u8]| -> Result<()> {
        output::write_atomic(&path, bytes, force)?;
        files.push(path);
        Ok(())
    };
    if let Some(path) = report_path {
        put(path, report.to_json().as_bytes())?;
    }
    if let Some(path) = blocks_path {
        let mut lines = Vec::new();
        checksums.write_jsonl(&mut lines).map_err(|error| Error::io("cannot write the block checksums", error))?;
        put(path, &lines)?;
    }
    if let Some(path) = layout_path {
        put(path, &disk.as_parent(&checksums)?.to_layout()?)?;
    }
    let mut documents = manifest::documents(&report, ami, Path::new(&image_name));
    if let Some(path) = document_path(manifest::EBS_SNAPSHOT).filter(|_| ami.ebs_snapshot) {
        match report.ebs_snapshot(&checksums).ami(ami).plan() {
            Ok(plan) => put(path, plan.to_json().as_bytes())?,
            Err(error) => documents.withheld.push(Withheld { suffix: manifest::EBS_SNAPSHOT, reason: error.to_string() }),
        }
    }
    for document in &documents.written {
        let Some(path) = document_path(document.suffix) else { continue };
        put(path, document.text.as_bytes())?;
    }
    if let (Some(image), Some(path)) = (image, beside) {
        image.commit()?;
        files.push(path.to_path_buf());
    }
    Ok(Built { report, files, withheld: documents.withheld })
}

/// `path` with a dot and `suffix` behind its whole name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether two names mean one file, also one that is not there yet.
fn is_same_name(a: &Path, b: &Path) -> bool {
    let folder = |path: &Path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    a.file_name() == b.file_name() && (folder(a) == folder(b) || output::same_file(folder(a), folder(b)))
}

fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if !force && path.symlink_metadata().is_ok() {
        let message = "the file exists already, and replacing it was not asked for";
        return Err(Error::new(ErrorKind::Exists, message).at_path(path.as_os_str().as_encoded_bytes()));
    }
    Ok(())
}
