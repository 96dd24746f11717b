//! What the command line says: where the root is, where the console is; and the other names of filesystems that a boot needs, in
//! GRUB's `search`.

use super::entries::{self, Entries, Entry};
use super::script::Searched;
use crate::boot::cmdline::{has, value};
use crate::boot::distro::assignments;
use crate::boot::{Architecture, files::TEXT_MAX_BYTES};
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use std::collections::BTreeSet;

const NVME_NAMES: &str = "EC2 user guide, \"Device names\" and \"EBS and NVMe\": device names are not kept, filesystems are found by UUID or LABEL";

pub(super) static NOT_FOUND: Rule = Rule {
    id: "root-not-found",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the root that the kernel is told is on no disk: \"VFS: Unable to mount root fs\", or the initramfs waits and ends in a shell (\"ALERT! UUID=… does not exist\")",
    mend: "name this disk's root: root=PARTUUID=… as `rootvol inspect` shows it, or make the configuration anew on this disk (update-grub; grub2-mkconfig; /etc/kernel/cmdline); or remove grub.cfg from the tree, so that `rootvol build` makes it",
    source: "Linux, Documentation/admin-guide/kernel-parameters.txt, \"root=\"",
};

pub(super) static DEVICE: Rule = Rule {
    id: "root-device-name",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "Nitro has NVMe devices alone: there is no /dev/sda, /dev/xvda or /dev/vda, and the kernel stops with \"VFS: Unable to mount root fs\" or waits for the device",
    mend: "root=PARTUUID=… or root=UUID=… in its place: GRUB: remove GRUB_DISABLE_LINUX_UUID and GRUB_DEVICE from /etc/default/grub, then update-grub; others: /etc/kernel/cmdline",
    source: NVME_NAMES,
};

pub(super) static NVME_DEVICE: Rule = Rule {
    id: "root-nvme-name",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "NVMe devices are numbered in the order in which they answer: with a second volume /dev/nvme0n1 may be the other one",
    mend: "root=PARTUUID=… or root=UUID=… in its place",
    source: NVME_NAMES,
};

pub(super) static NO_ROOT: Rule = Rule {
    id: "root-argument-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "without root= the initramfs must find the root by its partition's type, which only systemd's does",
    mend: "root=PARTUUID=… on the command line (/etc/kernel/cmdline, GRUB_CMDLINE_LINUX), or the partition type of the root for this architecture",
    source: "UAPI group, Discoverable Partitions Specification; systemd-gpt-auto-generator(8)",
};

pub(super) static NEEDS_INITRAMFS: Rule = Rule {
    id: "root-needs-initramfs",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the kernel alone knows PARTUUID and device names; UUID and LABEL are read from filesystems, by an initramfs: \"VFS: Cannot open root device \\\"UUID=…\\\"\"",
    mend: "root=PARTUUID=…, or an initramfs in the loader's entry",
    source: "Linux, block/early-lookup.c (early_lookup_bdev)",
};

pub(super) static SEARCH: Rule = Rule {
    id: "grub-search-not-found",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "GRUB finds neither its configuration nor the kernel: \"error: no such device: UUID\", and stops at its prompt",
    mend: "make the configuration on the ESP and in /boot anew on this disk (grub-install and update-grub; grub2-mkconfig), or let `rootvol build` make both",
    source: "GRUB manual, \"search\"",
};

pub(super) static CONSOLE: Rule = Rule {
    id: "serial-console-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "what EC2 shows of a boot (get-console-output, EC2 Serial Console) is the serial port; without console=ttyS0 it stays empty, above all when something fails",
    mend: "console=tty0 console=ttyS0,115200n8 on the command line: Debian, Ubuntu: GRUB_CMDLINE_LINUX in /etc/default/grub, update-grub; Fedora, RHEL: grubby --update-kernel=ALL --args=…; systemd-boot: /etc/kernel/cmdline",
    source: "EC2 user guide, \"EC2 Serial Console\": Linux prerequisites",
};

pub(super) static DEFAULTS: Rule = Rule {
    id: "grub-defaults-device",
    family: Family::Boot,
    severity: Severity::Note,
    concerns: EVERY,
    why: "the next update of a kernel writes this name into the configuration that boots",
    mend: "take root=/dev/… out of GRUB_CMDLINE_LINUX; update-grub and grub2-mkconfig add the UUID by themselves",
    source: NVME_NAMES,
};

pub(super) const RULES: &[&Rule] = &[&NOT_FOUND, &DEVICE, &NVME_DEVICE, &NO_ROOT, &NEEDS_INITRAMFS, &SEARCH, &CONSOLE, &DEFAULTS];
/// Names of disks that Nitro does not have.
const FOREIGN_DISKS: [&str; 7] = ["sd", "xvd", "vd", "hd", "mmcblk", "disk/by-path/", "disk/by-id/"];

/// Looks at every entry's command line.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, entries: &Entries, findings: &mut Findings<'_>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for entry in &entries.all {
        let Some(cmdline) = entry.cmdline.as_deref() else { continue };
        // Many entries say the same; one finding for each saying is enough.
        if let Some(root) = value(cmdline, "root=")
            && seen.insert((root.to_owned(), entry.initrds.is_empty()))
        {
            judge_root(subject, entry, root, findings);
        }
    }
    if let Some(entry) = entries.chosen() {
        check_default(subject, entry, findings);
    }
    for (place, searched) in &entries.searched {
        let (tag, value) = match searched {
            Searched::Uuid(value) => ("UUID", value),
            Searched::Label(value) => ("LABEL", value),
        };
        if let (Some(image), true) = (subject.image, seen.insert((format!("search {tag}={value}"), false)))
            && let Meant::Nothing(there) = meant(image, tag, value)
        {
            findings.add(&SEARCH, place.clone(), format!("{tag}={} is searched, and the disk has {there}", escape(value.as_bytes())));
        }
    }
    check_defaults(subject, findings)
}

fn check_default(subject: &Subject<'_>, entry: &Entry, findings: &mut Findings<'_>) {
    let Some(cmdline) = entry.cmdline.as_deref() else { return };
    let unknown = cmdline.contains('$');
    if value(cmdline, "root=").is_none()
        && !unknown
        && subject.image.is_some()
        && !["ostree=", "systemd.verity_root", "roothash="].iter().any(|key| has(cmdline, key))
    {
        findings.add(&NO_ROOT, entry.place.clone(), "the entry that starts has no root= on its command line");
    }
    let arm = entries::architecture(subject, entry) == Some(Architecture::Arm64);
    let consoles = cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix("console=")).map(|name| name.split(',').next().unwrap_or_default());
    let serial = consoles.into_iter().any(|name| name == "ttyS0" || (name == "ttyAMA0" && arm));
    if !serial && !unknown {
        findings.add(&CONSOLE, entry.place.clone(), "the entry that starts has no console=ttyS0 on its command line");
    }
}

fn judge_root(subject: &Subject<'_>, entry: &Entry, root: &str, findings: &mut Findings<'_>) {
    let root = root.trim_matches('"');
    let shown = escape(root.as_bytes());
    if root.contains('$') {
        return;
    }
    let (tag, value) = match (root.strip_prefix("/dev/"), root.split_once('=')) {
        (Some(device), _) => {
            let by = [("disk/by-uuid/", "UUID"), ("disk/by-label/", "LABEL"), ("disk/by-partuuid/", "PARTUUID"), ("disk/by-partlabel/", "PARTLABEL")];
            match by.iter().find_map(|(folder, tag)| device.strip_prefix(folder).map(|value| (*tag, value))) {
                Some(named) => named,
                None if FOREIGN_DISKS.iter().any(|disk| device.starts_with(disk)) => {
                    return findings.add(&DEVICE, entry.place.clone(), format!("root={shown}"));
                }
                None if device.starts_with("nvme") => return findings.add(&NVME_DEVICE, entry.place.clone(), format!("root={shown}")),
                None => return,
            }
        }
        (None, Some((tag @ ("UUID" | "LABEL" | "PARTUUID" | "PARTLABEL"), value))) => (tag, value),
        _ => return,
    };
    // The kernel alone knows PARTUUID, and PARTLABEL from 5.x on.
    let kernel_alone = entry.kernel.is_some() && entry.initrds.is_empty() && entry.missing.is_empty();
    if kernel_alone && (matches!(tag, "UUID" | "LABEL") || root.starts_with("/dev/disk/")) {
        findings.add(&NEEDS_INITRAMFS, entry.place.clone(), format!("root={shown}, and the entry has no initramfs"));
    }
    let Some(image) = subject.image else { return };
    match meant(image, tag, value) {
        Meant::Nothing(there) => findings.add(&NOT_FOUND, entry.place.clone(), format!("root={shown}, and the disk has {there}")),
        Meant::Partition(partition) => {
            let fat = partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.kind.starts_with("fat"));
            if fat {
                findings.add(&NOT_FOUND, entry.place.clone(), format!("root={shown} is partition {}, which is FAT", partition.number));
            }
        }
        Meant::Unknown => {}
    }
}

/// What a name means on a disk.
enum Meant<'a> {
    Partition(&'a PartitionSummary),
    /// Nothing; what there is.
    Nothing(String),
    /// A filesystem that is not read here may have the name.
    Unknown,
}

fn meant<'a>(image: &'a DiskImage, tag: &str, value: &str) -> Meant<'a> {
    // `PARTUUID=…/PARTNROFF=1` counts from there.
    let value = value.trim_matches('"').split('/').next().unwrap_or_default();
    let signature = image.summary().signature;
    let names = |partition: &PartitionSummary| -> Option<String> {
        let filesystem = partition.filesystem.as_ref();
        match tag {
            "UUID" => filesystem.map(|filesystem| filesystem.uuid.clone()),
            "LABEL" => filesystem.map(|filesystem| filesystem.label.clone()),
            "PARTLABEL" => partition.label.clone(),
            // Of an MBR: signature and number.
            _ => partition.guid.map(|guid| guid.to_string()).or_else(|| signature.map(|signature| format!("{signature:08x}-{:02x}", partition.number))),
        }
    };
    let same = |name: &String| if matches!(tag, "UUID" | "PARTUUID") { name.eq_ignore_ascii_case(value) } else { name == value };
    let partitions = image.partitions();
    if let Some(partition) = partitions.iter().find(|partition| names(partition).as_ref().is_some_and(same)) {
        return Meant::Partition(partition);
    }
    let boots_by_name = |partition: &&PartitionSummary| partition.filesystem.is_none() && partition.partition_type != "bios-boot";
    if matches!(tag, "UUID" | "LABEL") && partitions.iter().any(|partition| boots_by_name(&partition)) {
        return Meant::Unknown;
    }
    let there: Vec<String> =
        partitions.iter().filter_map(names).filter(|name| !name.is_empty()).map(|name| format!("{tag}={}", escape(name.as_bytes()))).collect();
    Meant::Nothing(if there.is_empty() { format!("no {tag} at all") } else { there.join(", ") })
}

/// What the next configuration will be made of.
fn check_defaults(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let mut paths = vec![b"etc/default/grub".to_vec()];
    paths.extend(subject.files.names("etc/default/grub.d").filter(|name| name.ends_with(b".cfg")).map(|name| [b"etc/default/grub.d/", name].concat()));
    for path in paths.into_iter().filter(|path| subject.files.file(path).is_some_and(|file| file.data.length <= TEXT_MAX_BYTES)) {
        let Some(text) = subject.text(&path)? else { continue };
        for (line, bytes) in text.lines() {
            for (name, words) in assignments(bytes).filter(|(name, _)| name.starts_with("GRUB_CMDLINE_LINUX")) {
                let words = String::from_utf8_lossy(&words).into_owned();
                let device = value(&words, "root=").and_then(|root| root.strip_prefix("/dev/"));
                if let Some(device) = device.filter(|device| !device.starts_with("disk/by-") && !device.starts_with("mapper/")) {
                    findings.add(&DEFAULTS, Place::line(&text.path, line), format!("{name} has root=/dev/{}", escape(device.as_bytes())));
                }
            }
        }
    }
    Ok(())
}
