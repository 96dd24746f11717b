//! Whether the root grows with its volume: an instance may have a larger one than its snapshot.

use super::services;
use crate::error::Result;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::units::Size;

pub(super) static BACKUP: Rule = Rule {
    id: "backup-gpt-misplaced",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "the backup table belongs into the disk's last sectors: here the disk was made longer by hand; firmware and kernel complain, some tools take the table for damaged, and the space behind it is not usable",
    mend: "sgdisk -e IMAGE, or `rootvol convert IMAGE -o NEW`, which writes the table anew",
    source: "UEFI specification 2.10, section 5.3.2",
};

pub(super) static NOT_LAST: Rule = Rule {
    id: "root-not-last",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "a partition grows into what lies behind it: with another partition there, a larger volume gives the root nothing",
    mend: "place the root last on the disk; numbers and order on the disk are two things, and `rootvol build` places it so",
    source: "growpart (cloud-utils); EC2 user guide, \"Extend the file system after resizing an EBS volume\"",
};

pub(super) static NO_TOOL: Rule = Rule {
    id: "growth-tool-missing",
    family: Family::Boot,
    severity: Severity::Note,
    concerns: EVERY,
    why: "on a volume larger than the image the root stays as small as it was made, until somebody grows it by hand",
    mend: "cloud-init with growpart: Debian: cloud-guest-utils; Fedora, RHEL: cloud-utils-growpart; Alpine: cloud-utils-growpart; or systemd-repart with x-systemd.growfs in fstab",
    source: "cloud-init, module growpart; systemd-repart(8), systemd-growfs(8)",
};

pub(super) static NOT_ONLINE: Rule = Rule {
    id: "root-not-growable",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "the kernel does not grow this filesystem while it is mounted, and a root is always mounted: resize2fs fails at the first boot",
    mend: "ext4 without sparse_super2, xfs or btrfs; `rootvol build` makes ext4 that grows",
    source: "Linux, fs/ext4/resize.c; resize2fs(8)",
};

pub(super) const RULES: &[&Rule] = &[&BACKUP, &NOT_LAST, &NO_TOOL, &NOT_ONLINE];
/// `s_feature_compat`, in the superblock at byte 1,024 (ext4 documentation, "Super Block").
const EXT4_FEATURE_COMPAT_AT: u64 = 1024 + 0x5c;
/// COMPAT_SPARSE_SUPER2.
const SPARSE_SUPER2: u32 = 0x200;
/// What `partition` says of a backup that is not where it belongs.
const BACKUP_NOTE: &str = "the backup GPT is in sector ";

/// Whether the rule `backup-gpt-misplaced` says what this note of a disk says.
pub(in crate::lint) fn tells(note: &str) -> bool {
    note.starts_with(BACKUP_NOTE)
}

/// Looks at the disk, where there is one, and for what grows the root.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    if let Some(image) = subject.image {
        for note in image.notes().iter().filter(|note| tells(note)) {
            let last = image.summary().size_bytes - u64::from(image.summary().sector_bytes).min(image.summary().size_bytes);
            findings.add(&BACKUP, Place::Disk { offset_bytes: last }, crate::error::escape(note.as_bytes()));
        }
        if let Some(disk) = &subject.source.disk {
            check_root(image, &disk.root, findings)?;
        }
    }
    if !has_tool(subject)? {
        findings.add(
            &NO_TOOL,
            Place::Image,
            "nothing that grows the root at the first boot was found: growpart, cloud-initramfs-growroot, systemd-repart, x-systemd.growfs",
        );
    }
    Ok(())
}

/// Whether the root has room to grow into, and grows.
fn check_root(image: &DiskImage, root: &PartitionSummary, findings: &mut Findings<'_>) -> Result<()> {
    let place = Place::Partition { number: root.number, offset_bytes: None };
    let end = root.offset_bytes.saturating_add(root.size_bytes);
    let behind = image.partitions().iter().filter(|other| other.number != root.number && other.offset_bytes >= end);
    if let Some(next) = behind.min_by_key(|other| other.offset_bytes) {
        let message = format!("the root ends at {}, and partition {} lies behind it", Size::bytes(end), next.number);
        findings.add(&NOT_LAST, place.clone(), message);
    }
    let Some(filesystem) = &root.filesystem else { return Ok(()) };
    let mut features = [0; 4];
    if filesystem.kind.starts_with("ext") {
        image.disk().read_exact_at(root.offset_bytes.saturating_add(EXT4_FEATURE_COMPAT_AT), &mut features)?;
    }
    if u32::from_le_bytes(features) & SPARSE_SUPER2 != 0 {
        findings.add(&NOT_ONLINE, place, "the root is ext4 with the feature sparse_super2");
    } else if filesystem.kind.starts_with("fat") {
        findings.add(&NOT_ONLINE, place, format!("the root is {}", filesystem.kind));
    }
    Ok(())
}

fn has_tool(subject: &Subject<'_>) -> Result<bool> {
    let files = &subject.files;
    const PATHS: [&str; 9] = [
        "usr/bin/growpart",
        "usr/sbin/growpart",
        "sbin/growpart",
        "usr/share/initramfs-tools/scripts/local-bottom/growroot",
        "usr/lib/dracut/modules.d/50growroot",
        "usr/bin/tiny-cloud",
        "usr/lib/tiny-cloud",
        "usr/lib/bootc",
        "usr/libexec/coreos-growpart",
    ];
    if PATHS.iter().any(|path| subject.tree().resolve(path).is_some()) || services::is_nixos(files) {
        return Ok(true);
    }
    // repart does nothing without definitions, and there may be some of ours for the first boot.
    let repart = ["etc/repart.d", "usr/lib/repart.d"].iter().any(|folder| files.names(folder).any(|name| name.ends_with(b".conf")));
    let fstab = subject.text("etc/fstab")?;
    let growfs = fstab.is_some_and(|fstab| fstab.lines().any(|(_, line)| crate::boot::files::position_of(line, b"x-systemd.growfs").is_some()));
    Ok(repart || growfs)
}
