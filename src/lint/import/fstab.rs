//! `/etc/fstab`: readable, by names that outlive a change of hypervisor, and of things that the disk has.

use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, IMPORT_IMAGE, Rule, Severity};
use crate::lint::subject::{Entry, Subject, fstab_entries};
use crate::source::DiskImage;
use crate::tree::NodeKind;

static UNREADABLE: Rule = Rule {
    id: "fstab-unreadable",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: Invalid configuration - Could not read fstab\"",
    mend: "make /etc/fstab a text file with a line for /",
    source: "VM Import/Export user guide, troubleshooting",
};

static DEVICE_NAMES: Rule = Rule {
    id: "fstab-device-names",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "disks are named otherwise on every hypervisor and instance type (/dev/nvme0n1 on Nitro): what is not found stops the boot in the emergency shell",
    mend: "name filesystems by UUID= or LABEL=",
    source: "VM Import/Export user guide, requirements (fstab by UUID); EC2 user guide, device names on Linux instances",
};

static UNKNOWN_DEVICE: Rule = Rule {
    id: "fstab-unknown-device",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "systemd waits 90 seconds for a filesystem that the disk does not have and then goes to the emergency shell",
    mend: "name one of this disk's filesystems, or give the line the option nofail",
    source: "systemd.mount(5), fstab; VM Import/Export user guide, requirements",
};

static NO_ROOT: Rule = Rule {
    id: "fstab-no-root",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "without a line for / the root stays as the kernel mounted it, often read-only, and is never checked",
    mend: "add a line such as `UUID=… / ext4 defaults 0 1`",
    source: "fstab(5)",
};

static REMOVABLE: Rule = Rule {
    id: "fstab-removable",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "CD-ROM and floppy drives are to be removed before an import; EC2 has none",
    mend: "remove the line",
    source: "VM Import/Export user guide, prepare the virtual machine",
};

pub(super) const RULES: &[&Rule] = &[&UNREADABLE, &DEVICE_NAMES, &UNKNOWN_DEVICE, &NO_ROOT, &REMOVABLE];

/// Devices whose names the kernel gives in the order of finding them.
const UNSTABLE: [&str; 7] = ["/dev/sd", "/dev/hd", "/dev/xvd", "/dev/vd", "/dev/nvme", "/dev/mmcblk", "/dev/disk/by-path/"];
/// Drives that a virtual machine had and an instance has not.
const DRIVES: [&str; 5] = ["/dev/cdrom", "/dev/sr", "/dev/scd", "/dev/fd", "/dev/dvd"];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let path = "etc/fstab";
    let text = match subject.tree().resolve(path).map(|id| &subject.tree().node(id).kind) {
        None if subject.image.is_none() => return Ok(()), // `build` makes one
        None => {
            findings.add(&UNREADABLE, Place::path(path), "there is none");
            return Ok(());
        }
        Some(NodeKind::File(_)) => subject.text(path)?,
        Some(_) => None,
    };
    let Some(text) = text else {
        findings.add(&UNREADABLE, Place::path(path), "it is no file");
        return Ok(());
    };
    if text.bytes().contains(&0) {
        findings.add(&UNREADABLE, Place::path(&text.path), "it has NUL bytes in it");
        return Ok(());
    }
    let entries = fstab_entries(&text);
    for (line, bytes) in text.lines().filter(|(_, bytes)| bytes.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).count() < 3) {
        findings.add(&UNREADABLE, Place::line(&text.path, line), format!("{:?} is no entry: device, mount point and type were expected", escape(bytes)));
    }
    // An fstab without entries is replaced by `build`.
    if entries.is_empty() && subject.image.is_none() {
        return Ok(());
    }
    if !entries.iter().any(|entry| entry.mount_point == b"/") {
        findings.add(&NO_ROOT, Place::path(&text.path), "it has no line for /");
    }
    for entry in &entries {
        let place = || Place::line(&text.path, entry.line);
        let device = String::from_utf8_lossy(&entry.device);
        let shown = escape(&entry.device);
        if DRIVES.iter().any(|drive| device.starts_with(drive)) {
            findings.add(&REMOVABLE, place(), format!("{shown} is a drive that no instance has"));
        } else if UNSTABLE.iter().any(|name| device.starts_with(name)) {
            findings.add(&DEVICE_NAMES, place(), format!("{} is mounted from {shown}", escape(&entry.mount_point)));
        } else if let Some(image) = subject.image
            && !entry.is_optional()
            && let Some(what) = missing(image, &device)
        {
            findings.add(&UNKNOWN_DEVICE, place(), format!("{} is mounted from {shown}, and the disk has no {what}", escape(&entry.mount_point)));
        }
    }
    Ok(())
}

/// What of the disk `device` names and is not there.
fn missing(image: &DiskImage, device: &str) -> Option<&'static str> {
    let (tag, value) = device.split_once('=').or_else(|| device.strip_prefix("/dev/disk/by-")?.split_once('/'))?;
    let tag = tag.to_ascii_uppercase();
    let what = match tag.as_str() {
        "UUID" => "filesystem of this UUID",
        "LABEL" => "filesystem of this label",
        "PARTUUID" => "partition of this PARTUUID",
        "PARTLABEL" => "partition of this name",
        _ => return None,
    };
    // What is not read here (XFS, swap, …) may have the name.
    let unread = !tag.starts_with("PART") && image.partitions().iter().any(|partition| partition.filesystem.is_none());
    (!unread && image.named(&format!("{tag}={value}")).is_none()).then_some(what)
}

impl Entry {
    /// Whether the boot goes on without it.
    fn is_optional(&self) -> bool {
        // Without its swap a system comes up all the same.
        self.kind == b"swap" || [&b"nofail"[..], b"noauto", b"_netdev"].iter().any(|option| self.has_option(option))
    }
}
