//! Reading a report that anybody may have written, before documents are made of it.
//!
//! **Refused**: what is no regular file, over [`REPORT_MAX_BYTES`], no JSON; a report of another version of the form; members that
//! a report has not, by name; a checksum that is none; numbers that contradict each other; and a report that is not the one of the
//! image or of the block list beside it.

use super::rules::{self, UEFI_DATA_MAX_CHARS};
use crate::checksum::{BlockChecksums, base64_decode};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::report::{REPORT_VERSION, Report};
use crate::units::{BLOCK_BYTES, u64_of};
use serde_json::Value;
use std::fs;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

/// The longest report that is read: one of ours has some kilobytes.
pub const REPORT_MAX_BYTES: u64 = 16 << 20;

/// Blocks of the largest EBS volume, 64 TiB.
const HASHED_BLOCKS_MAX: u64 = 1 << 27;

/// Reads the report at `path`, and holds it against its image: the one at `image`, else the one that lies beside it, where there
/// is one (`web.vhd` beside `web.vhd.report.json`), and against the block list that lies beside it.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) for what is no report, or contradicts itself or the image; [`Unsupported`](ErrorKind::Unsupported) for a report of a later
/// version; [`LimitExceeded`](ErrorKind::LimitExceeded) over [`REPORT_MAX_BYTES`]; I/O.
pub fn read_report(path: &Path, image: Option<&Path>) -> Result<Report> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let text = read_bounded(path, "report", REPORT_MAX_BYTES).map_err(named)?;
    let report = parse(&text).map_err(named)?;
    check(&report).map_err(named)?;
    let beside = image_of(path);
    if let Some(image) = image.or(beside.as_deref().filter(|image| image.is_file())) {
        check_image(&report, image)?;
    }
    if let Some(list) = beside.map(|image| with_suffix(&image, "blocks.jsonl")).filter(|list| list.is_file()) {
        check_blocks(&report, &list).map_err(|error| error.at_path(list.as_os_str().as_encoded_bytes()))?;
    }
    Ok(report)
}

/// The image that a report lies beside, by its name.
pub(crate) fn image_of(report: &Path) -> Option<PathBuf> {
    let name = report.file_name()?.to_str()?.strip_suffix(".report.json")?;
    Some(report.with_file_name(name))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The UEFI variable store of a file: base64 in one line.
///
/// # Errors
/// What is no regular file, too long, or no variable store; I/O.
pub fn read_uefi_data(path: &Path) -> Result<String> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    // The limit is that of the text: a newline ends it.
    let text = read_bounded(path, "UEFI variable store", u64_of(UEFI_DATA_MAX_CHARS) + 2).map_err(named)?;
    let text = String::from_utf8(text).map_err(|_| named(Error::invalid("UefiData is no base64 (EC2 API, RegisterImage, UefiData)")))?;
    let text = text.trim_end();
    rules::uefi_data(text).map_err(named)?;
    Ok(text.to_owned())
}

/// The bytes of a regular file that is not too long; `what` it is, for messages.
pub(crate) fn read_bounded(path: &Path, what: &str, max_bytes: u64) -> Result<Vec<u8>> {
    let cannot = |error| Error::io(format!("the {what} cannot be read"), error);
    // A named pipe would wait for ever.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::invalid(format!("a {what} was expected, and this is no regular file")));
    }
    let mut text = Vec::new();
    fs::File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut text)).map_err(cannot)?;
    if u64_of(text.len()) > max_bytes {
        return Err(Error::limit(format!("a {what} has at most {max_bytes} bytes")));
    }
    Ok(text)
}

fn parse(text: &[u8]) -> Result<Report> {
    let none = |error: serde_json::Error| Error::corrupt("this is no report of rootvol").caused_by(error);
    let value: Value = serde_json::from_slice(text).map_err(none)?;
    let Some(version) = value.get("report_version") else {
        return Err(Error::corrupt("this is no report of rootvol: it has no report_version"));
    };
    if version.as_u64() != Some(u64::from(REPORT_VERSION)) {
        let version = escape(version.to_string().as_bytes());
        return Err(Error::unsupported(format!("the report has version {version}, and this rootvol knows version {REPORT_VERSION}")));
    }
    // From the text, not the value: a member that is there twice is an error here.
    let report: Report = serde_json::from_slice(text).map_err(none)?;
    let known = serde_json::to_value(&report).map_err(none)?;
    match unknown_member(&value, &known, "") {
        Some(name) => Err(Error::corrupt(format!("a report has no member {name}; it was written by another program or a later rootvol"))),
        None => Ok(report),
    }
}

/// The first member of `value` that is not in `known`. Members that say nothing are left out when a report is written.
fn unknown_member(value: &Value, known: &Value, path: &str) -> Option<String> {
    match (value, known) {
        (Value::Object(members), Value::Object(known)) => members.iter().find_map(|(name, member)| {
            let path = format!("{path}.{}", escape(name.as_bytes()));
            match known.get(name) {
                Some(known) => unknown_member(member, known, &path),
                None if member.is_null() || member.as_array().is_some_and(Vec::is_empty) => None,
                None => Some(path.trim_start_matches('.').to_owned()),
            }
        }),
        (Value::Array(items), Value::Array(known)) => {
            items.iter().zip(known).enumerate().find_map(|(index, (item, known))| unknown_member(item, known, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

/// What a report of ours cannot say.
fn check(report: &Report) -> Result<()> {
    let wrong = |message: String| Err(Error::corrupt(format!("the report contradicts itself: {message}")));
    let blocks = &report.blocks;
    if base64_decode(&blocks.linear_checksum).is_none_or(|digest| digest.len() != 32) {
        let text = escape(blocks.linear_checksum.as_bytes());
        return wrong(format!("blocks.linear_checksum \"{text}\" is no SHA-256 in base64"));
    }
    if blocks.block_bytes != BLOCK_BYTES {
        return wrong(format!("blocks have {BLOCK_BYTES} bytes, not {}", blocks.block_bytes));
    }
    let counted = blocks.data.checked_add(blocks.zero).and_then(|sum| sum.checked_add(blocks.unused));
    if counted != Some(blocks.total) || blocks.total != report.disk.size_bytes.div_ceil(BLOCK_BYTES) {
        return wrong(format!(
            "a disk of {} bytes has other blocks than {} data, {} zero and {} unused",
            report.disk.size_bytes, blocks.data, blocks.zero, blocks.unused
        ));
    }
    if report.disk.size_bytes == 0 || report.file.size_bytes == 0 {
        return wrong("disk or file have no bytes".to_owned());
    }
    if report.file.format == "raw" && report.file.size_bytes != report.disk.size_bytes {
        return wrong(format!("a raw file of {} bytes holds a disk of {}", report.file.size_bytes, report.disk.size_bytes));
    }
    let is_hex = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if report.file.sha256.as_ref().is_some_and(|text| !is_hex(text)) {
        return wrong("file.sha256 is no SHA-256 in hexadecimal digits".to_owned());
    }
    Ok(())
}

/// An image of another length is another image.
fn check_image(report: &Report, image: &Path) -> Result<()> {
    let named = |error: Error| error.at_path(image.as_os_str().as_encoded_bytes());
    let metadata = fs::metadata(image).map_err(|error| named(Error::io("the image cannot be looked at", error)))?;
    if metadata.is_file() && metadata.len() != report.file.size_bytes {
        let message = format!("the image has {} bytes, and the report is of one of {}: it is another image's", metadata.len(), report.file.size_bytes);
        return Err(named(Error::corrupt(message)));
    }
    Ok(())
}

fn check_blocks(report: &Report, list: &Path) -> Result<()> {
    let file = fs::File::open(list).map_err(|error| Error::new(ErrorKind::Io, "the block list beside the report cannot be read").caused_by(error))?;
    let blocks = BlockChecksums::read_jsonl(&mut BufReader::new(file))?;
    let counts = (blocks.data_blocks(), blocks.zero_blocks(), blocks.unused_blocks());
    if counts != (report.blocks.data, report.blocks.zero, report.blocks.unused) {
        return Err(Error::corrupt("the block list has other numbers of data, zero and unused blocks than the report: they are of two images"));
    }
    // A line stands for any number of zero blocks, and each is hashed: of more than EBS can hold nothing is.
    if blocks.data_blocks().saturating_add(blocks.zero_blocks()) > HASHED_BLOCKS_MAX {
        return Ok(());
    }
    if blocks.linear_checksum() != report.blocks.linear_checksum {
        return Err(Error::corrupt("the block list has another LINEAR checksum than the report: they are of two images"));
    }
    Ok(())
}
