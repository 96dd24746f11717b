//! Opening an earlier version: a report with its layout, a layout, or an image.

use super::file;
use super::{Parent, ParentPartition};
use crate::content::{Part, ReadAt};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::DiskReader;
use crate::fs::{ReadOptions, ext4, fat};
use crate::report::{PartitionSummary, Report};
use crate::source::{self, DiskImage};
use crate::stream::{self, Cancel};
use crate::units::{BLOCK_BYTES, u64_of};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest report that is read: one of ours has some kilobytes.
const REPORT_MAX_BYTES: u64 = 16 << 20;
const REPORT_SUFFIX: &str = ".report.json";
const LAYOUT_SUFFIX: &str = ".layout";

impl Parent {
    /// Opens what lies at `path`, told by what is in it: a report (`X.report.json`, with `X.layout` beside it), a layout, or a disk image.
    ///
    /// # Errors
    /// None of these; a report without its layout, or with that of another image; a layout or an image that is damaged; I/O.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let metadata = std::fs::metadata(path).map_err(|error| named(Error::io("the parent cannot be opened", error)))?;
        let mut parent = if metadata.is_file() && is_report(path) {
            of_report(path)?
        } else if metadata.is_file() && file::is_layout(File::open(path).map_err(|error| named(Error::io("the parent cannot be opened", error)))?) {
            of_layout(path)?
        } else {
            let none = || Error::invalid("the parent is no report, no layout and no disk image").at_path(path.as_os_str().as_encoded_bytes());
            let image = if metadata.is_dir() { None } else { source::open_whole_image(path, &source::Options::default())? };
            Self::of_image(&image.ok_or_else(none)?, &Cancel::new())?
        };
        parent.name = escape(path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes());
        if !parent.paths.iter().any(|known| known == path) {
            parent.paths.push(path.to_path_buf());
        }
        Ok(parent)
    }

    /// What is known of an opened image. It is looked through for blocks with data, and its ext4 filesystems are read; what of these is
    /// damaged is noted, and not known.
    ///
    /// # Errors
    /// Those of reading the image; [`ErrorKind::Cancelled`].
    pub fn of_image(image: &DiskImage, cancel: &Cancel) -> Result<Self> {
        let mut notes = Vec::new();
        let mut partitions = Vec::new();
        for summary in image.partitions() {
            let ext4 = ext4_of(image, summary, &mut notes)?.map(Arc::new);
            let fat = fat_of(image, summary, &mut notes)?.map(Arc::new);
            partitions.push(ParentPartition { summary: summary.clone(), ext4, fat });
        }
        let data = stream::blocks_with_data(&**image.disk(), cancel)?;
        Ok(Self {
            disk: image.summary().clone(),
            partitions,
            data: data.iter().map(|range| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)).collect(),
            linear_checksum: None,
            name: escape(image.path().file_name().unwrap_or(image.path().as_os_str()).as_encoded_bytes()),
            paths: vec![image.path().to_path_buf()],
            notes,
        })
    }
}

/// Where the files of a partition's filesystem lie, if it is one of ours.
fn ext4_of(image: &DiskImage, summary: &PartitionSummary, notes: &mut Vec<String>) -> Result<Option<ext4::Parent>> {
    let Some(found) = summary.filesystem.as_ref().filter(|filesystem| filesystem.kind.starts_with("ext")) else { return Ok(None) };
    let mut not_known = |why: &dyn std::fmt::Display| notes.push(format!("partition {}: nothing is known of its {} ({why})", summary.number, found.kind));
    let read = match image.read(summary.number, &ReadOptions::default()) {
        Ok(Some(read)) => read,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Io => return Err(error),
        Err(error) => {
            not_known(&error);
            return Ok(None);
        }
    };
    let known = ext4_of_read(image, summary, &read)?;
    if let Err(error) = known.check() {
        not_known(&error);
        return Ok(None);
    }
    if let Some(first) = read.damage.first() {
        notes.push(format!("partition {}: of what is damaged nothing is known: {first} ({} in all)", summary.number, read.damage.len()));
    }
    Ok(Some(known))
}

/// Where the files of a partition's FAT volume lie, if it is one.
fn fat_of(image: &DiskImage, summary: &PartitionSummary, notes: &mut Vec<String>) -> Result<Option<fat::Parent>> {
    let Some(found) = summary.filesystem.as_ref().filter(|filesystem| filesystem.kind.starts_with("fat")) else { return Ok(None) };
    let known = match image.read(summary.number, &ReadOptions::default()) {
        Ok(Some(read)) => fat::Parent::of(&read),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    known.or_else(|error| {
        if error.kind() == ErrorKind::Io {
            return Err(error);
        }
        notes.push(format!("partition {}: nothing is known of its {} ({error})", summary.number, found.kind));
        Ok(None)
    })
}

/// Where the files of a partition of an image lie that was read.
pub(in crate::disk) fn ext4_of_read(image: &DiskImage, summary: &PartitionSummary, read: &crate::fs::ReadFilesystem) -> Result<ext4::Parent> {
    let disk: Arc<dyn ReadAt> = Arc::<dyn DiskReader>::clone(image.disk());
    let range = summary.offset_bytes..summary.offset_bytes.saturating_add(summary.size_bytes);
    ext4::Parent::of(read, &Part::new(disk, range)?)
}

/// Whether this is a report: text that begins as JSON does, which no image and no layout is.
fn is_report(path: &Path) -> bool {
    let mut first = [0; 2];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && matches!(&first, b"{\"" | b"{\n" | b"{\r" | b"{ ")
}

fn of_layout(path: &Path) -> Result<Parent> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let cannot = |error| named(Error::io("the layout cannot be read", error));
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    // A named pipe would wait for ever.
    if !metadata.is_file() {
        return Err(named(Error::invalid("a layout was expected, and this is no regular file")));
    }
    let mut parent = file::read(File::open(path).map_err(cannot)?, metadata.len()).map_err(named)?;
    parent.paths = beside(path, LAYOUT_SUFFIX);
    Ok(parent)
}

/// A report says what disk it is of; where its files lie says the layout beside it.
fn of_report(path: &Path) -> Result<Parent> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let cannot = |error| named(Error::io("the report cannot be read", error));
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(REPORT_MAX_BYTES + 1).read_to_end(&mut text)).map_err(cannot)?;
    if u64_of(text.len()) > REPORT_MAX_BYTES {
        return Err(named(Error::limit(format!("a report has at most {REPORT_MAX_BYTES} bytes"))));
    }
    let report: Report = serde_json::from_slice(&text).map_err(|error| named(Error::corrupt("this is no report of rootvol").caused_by(error)))?;
    let Some(layout) = sibling(path, REPORT_SUFFIX, LAYOUT_SUFFIX) else {
        let message = format!("a report's layout lies beside it, at X{LAYOUT_SUFFIX} beside X{REPORT_SUFFIX}; name the layout itself where it lies elsewhere");
        return Err(named(Error::invalid(message)));
    };
    if !layout.is_file() {
        let message = "the layout of the report is not there: builds write it beside their report; without it, name the image itself as the parent";
        return Err(Error::invalid(message).at_path(layout.as_os_str().as_encoded_bytes()));
    }
    let parent = of_layout(&layout)?;
    let another = |what: &str, of_layout: &str, of_report: &str| {
        let message = format!("the layout is of another image than the report: its {what} is {of_layout}, the report's {of_report}");
        Err(Error::corrupt(message).at_path(layout.as_os_str().as_encoded_bytes()))
    };
    if parent.disk != report.disk {
        return another("disk", &shown(&parent.disk), &shown(&report.disk));
    }
    let linear = parent.linear_checksum.as_deref().unwrap_or("none");
    if linear != report.blocks.linear_checksum {
        return another("LINEAR checksum", linear, &escape(report.blocks.linear_checksum.as_bytes()));
    }
    Ok(parent)
}

fn shown(disk: &crate::report::DiskSummary) -> String {
    let id = disk.guid.map(|guid| format!(", {guid}")).or_else(|| disk.signature.map(|signature| format!(", {signature:08x}")));
    format!("{} bytes, {}{}", disk.size_bytes, escape(disk.table.as_bytes()), id.unwrap_or_default())
}

/// `X` + `suffix` beside a path that ends in `known`.
fn sibling(path: &Path, known: &str, suffix: &str) -> Option<PathBuf> {
    let name = path.file_name()?.as_encoded_bytes();
    let stem = name.strip_suffix(known.as_bytes())?;
    let stem = path.to_str().and_then(|text| text.strip_suffix(known)).filter(|_| !stem.is_empty())?;
    let mut name = OsString::from(stem);
    name.push(suffix);
    Some(PathBuf::from(name))
}

/// What a build has put beside each other: a parent is to stay what it is.
fn beside(path: &Path, known: &str) -> Vec<PathBuf> {
    let all = ["", REPORT_SUFFIX, LAYOUT_SUFFIX, ".blocks.jsonl"].map(|suffix| sibling(path, known, suffix));
    let there = all.into_iter().flatten().filter(|sibling| sibling.is_file());
    there.chain(std::iter::once(path.to_path_buf())).collect()
}
