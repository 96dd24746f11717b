//! `/etc/fstab` (fstab(5)): made where it is missing or has no entries, kept where it has some.

use super::Identities;
use super::cmdline::foreign_root;
use super::files::{Files, show, trim};
use crate::error::{Result, escape};

/// Debian's base files come with this line alone; beside real entries it would be a lie.
const UNCONFIGURED: &[u8] = b"# UNCONFIGURED FSTAB";

/// What becomes of fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fstab {
    /// The new text; `None` keeps what is there.
    pub(super) text: Option<Vec<u8>>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// The fields of the entries: what, where, type.
fn entries(text: &[u8]) -> impl Iterator<Item = [&[u8]; 3]> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii();
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        (!line.starts_with(b"#")).then(|| Some([fields.next()?, fields.next()?, fields.next().unwrap_or_default()])).flatten()
    })
}

/// The mount point that an existing fstab gives to a FAT that can be the ESP.
pub(super) fn esp_mount_point(files: &Files<'_>) -> Result<Option<Vec<u8>>> {
    let text = files.text("etc/fstab")?.unwrap_or_default();
    let found = entries(&text).find(|[_, place, kind]| *kind == b"vfat" && [&b"/boot/efi"[..], b"/efi", b"/boot"].contains(place));
    Ok(found.map(|[_, place, _]| place.to_vec()))
}

/// Decides what becomes of fstab.
///
/// # Errors
/// Those of reading.
pub(super) fn decide(files: &Files<'_>, ids: &Identities, esp_mount_point: &[u8]) -> Result<Fstab> {
    let old = files.text("etc/fstab")?.unwrap_or_default();
    if entries(&old).next().is_some() {
        return Ok(Fstab { text: None, notes: differences(&old, ids, esp_mount_point) });
    }
    let mut text: Vec<u8> = Vec::new();
    for line in old.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(UNCONFIGURED)) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let mut line = |what: &str, place: String, kind: &str, options: &str, pass: u8| {
        text.extend_from_slice(format!("{what}\t{place}\t{kind}\t{options}\t0\t{pass}\n").as_bytes());
    };
    let errors = if ids.root_filesystem.starts_with("ext") { "rw,errors=remount-ro" } else { "rw" };
    line(&format!("UUID={}", ids.root_uuid), "/".to_owned(), &ids.root_filesystem, errors, 1);
    // Without nofail, a kernel without FAT would end in the emergency shell for a partition that it does not need.
    line(&format!("UUID={}", ids.esp_uuid), octal(esp_mount_point), "vfat", "umask=0077,nofail", 2);
    for mount in &ids.mounts {
        line(&mount.what, octal(mount.mount_point.as_bytes()), &mount.filesystem, &mount.options, mount.pass);
    }
    Ok(Fstab { text: Some(text), notes: Vec::new() })
}

/// A mount point as fstab writes it: what would part fields or lines as `\\ooo`.
fn octal(path: &[u8]) -> String {
    let escaped = |byte: u8| if byte.is_ascii_graphic() && byte != b'\\' && byte != b'#' { char::from(byte).to_string() } else { format!("\\{byte:03o}") };
    std::iter::once("/".to_owned()).chain(trim(path).iter().map(|byte| escaped(*byte))).collect()
}

/// Where an fstab that is kept does not fit the disk.
fn differences(text: &[u8], ids: &Identities, esp_mount_point: &[u8]) -> Vec<String> {
    let mut notes = Vec::new();
    let at = |place: &[u8]| entries(text).find(|[_, where_, _]| trim(where_) == trim(place) && where_.starts_with(b"/"));
    match at(b"/") {
        Some([what, ..]) => notes.extend(foreign_root("/etc/fstab, which is kept,", &String::from_utf8_lossy(what), ids)),
        None => notes.push("/etc/fstab is kept; it has no line for /".to_owned()),
    }
    let esp = show(esp_mount_point);
    match at(esp_mount_point) {
        Some([what, ..]) if what.strip_prefix(b"UUID=").is_some_and(|value| !value.eq_ignore_ascii_case(ids.esp_uuid.as_bytes())) => {
            notes.push(format!("/etc/fstab, which is kept, mounts {} at {esp}; the ESP is UUID={}", escape(what), ids.esp_uuid));
        }
        Some(_) => {}
        None => notes.push(format!("/etc/fstab is kept; it has no line for the ESP (UUID={} {esp} vfat umask=0077,nofail 0 2)", ids.esp_uuid)),
    }
    notes
}
