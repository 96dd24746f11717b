//! Is it well made? What works and costs: in money, in speed, or in some years.

use super::finding::{Findings, Place};
use super::import::{Contents, contents_of};
use super::rule::{EVERY, Family, Rule, Severity};
use super::subject::{Subject, fstab_entries};
use crate::error::{Result, escape};
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::units::{MIB, Size};

static SWAP: Rule = Rule {
    id: "swap-on-ebs",
    family: Family::Made,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "swap on an EBS volume is paid by size and eats the volume's IOPS; in a snapshot it is what another machine had in memory",
    mend: "leave it out; where an instance needs swap, make it at its first boot, on instance store or in zram",
    source: "EC2 user guide, instance store swap volumes",
};

static NO_TRIM: Rule = Rule {
    id: "no-trim",
    family: Family::Made,
    severity: Severity::Note,
    concerns: EVERY,
    why: "EBS snapshots hold each block that was ever written; what a guest trims need not be kept and read again",
    mend: "systemctl enable fstrim.timer, or the mount option discard",
    source: "EBS user guide, snapshots; fstrim(8)",
};

static ALIGNMENT: Rule = Rule {
    id: "partition-alignment",
    family: Family::Made,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "an operation on a block of the filesystem that straddles two of the disk's counts and costs twice",
    mend: "begin partitions at multiples of 1 MiB, as `rootvol build` does",
    source: "EBS user guide, I/O characteristics",
};

static ATIME: Rule = Rule {
    id: "atime",
    family: Family::Made,
    severity: Severity::Note,
    concerns: EVERY,
    why: "every reading becomes a writing, and every block with an inode table a changed block of the next snapshot",
    mend: "remove atime and strictatime: the default, relatime, writes once a day",
    source: "mount(8)",
};

static JOURNAL: Rule = Rule {
    id: "journal-size",
    family: Family::Made,
    severity: Severity::Note,
    concerns: EVERY,
    why: "without a journal an instance that is stopped hard needs a whole check of its root; a journal over a tenth of the filesystem is space that is only written",
    mend: "build with `journal = \"auto\"`",
    source: "mke2fs(8); ext4(5)",
};

static YEAR_2038: Rule = Rule {
    id: "year-2038",
    family: Family::Made,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "inodes of 128 bytes hold times to 2038-01-19, and the kernel says so at each mount",
    mend: "build with `inode_size = 256`",
    source: "Linux, Documentation/filesystems/ext4, inode timestamps",
};

static SAME_IDENTIFIER: Rule = Rule {
    id: "same-identifier",
    family: Family::Made,
    severity: Severity::Error,
    concerns: EVERY,
    why: "two filesystems or partitions of one identifier: which of them is mounted is chance",
    mend: "give one of them another (tune2fs -U random, sgdisk -u), or build the image anew",
    source: "mount(8), UUID=; UEFI specification, 5.3.3 (unique partition GUID)",
};

pub(super) const RULES: &[&Rule] = &[&SWAP, &NO_TRIM, &ALIGNMENT, &ATIME, &JOURNAL, &YEAR_2038, &SAME_IDENTIFIER];

/// Where `s_inode_size` stands: the superblock is at 1,024, the field at 0x58 (Linux, Documentation/filesystems/ext4, super block).
const INODE_SIZE_AT: u64 = 1024 + 0x58;

pub(super) fn check_disk(image: &DiskImage, findings: &mut Findings<'_>) -> Result<()> {
    let partitions = image.partitions();
    for partition in partitions {
        let place = Place::Partition { number: partition.number, offset_bytes: Some(0) };
        if !partition.offset_bytes.is_multiple_of(4096) {
            findings.add(&ALIGNMENT, place.clone(), format!("it begins at byte {} of the disk, which is no multiple of 4 KiB", partition.offset_bytes));
        }
        if contents_of(image, partition)? == Contents::Swap || partition.partition_type == "swap" {
            findings.add(&SWAP, place.clone(), format!("a swap partition of {}", Size::bytes(partition.size_bytes)));
        }
        if partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.kind.starts_with("ext")) {
            check_ext(image, partition, findings)?;
        }
    }
    for (at, partition) in partitions.iter().enumerate() {
        let same = |other: &&PartitionSummary| {
            let uuid = |partition: &PartitionSummary| partition.filesystem.as_ref().map(|filesystem| filesystem.uuid.clone()).filter(|uuid| !uuid.is_empty());
            (other.guid.is_some() && other.guid == partition.guid) || (uuid(partition).is_some() && uuid(partition) == uuid(other))
        };
        if let Some(other) = partitions[..at].iter().find(same) {
            let place = Place::Partition { number: partition.number, offset_bytes: None };
            findings.add(&SAME_IDENTIFIER, place, format!("it has the identifier of partition {}", other.number));
        }
    }
    Ok(())
}

fn check_ext(image: &DiskImage, partition: &PartitionSummary, findings: &mut Findings<'_>) -> Result<()> {
    let place = Place::Partition { number: partition.number, offset_bytes: Some(1024) };
    let mut inode_size = [0; 2];
    if let Some(at) = partition.offset_bytes.checked_add(INODE_SIZE_AT).filter(|_| partition.size_bytes > 2048) {
        image.disk().read_exact_at(at, &mut inode_size)?;
    }
    if u16::from_le_bytes(inode_size) == 128 {
        findings.add(&YEAR_2038, place.clone(), "the filesystem's inodes have 128 bytes");
    }
    let Some(filesystem) = &partition.filesystem else { return Ok(()) };
    let features = filesystem.features.as_deref().unwrap_or_default();
    if !features.split_whitespace().any(|feature| feature == "has_journal") {
        findings.add(&JOURNAL, place, "the filesystem has no journal");
        return Ok(());
    }
    let journal = filesystem.parts.iter().find(|part| part.what == "journal").map_or(0, |part| part.bytes);
    if journal > (filesystem.size_bytes / 10).max(16 * MIB) {
        let (journal, all) = (Size::bytes(journal), Size::bytes(filesystem.size_bytes));
        findings.add(&JOURNAL, place, format!("the journal has {journal} of a filesystem of {all}"));
    }
    Ok(())
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let Some(fstab) = subject.text("etc/fstab")? else { return Ok(()) };
    let entries = fstab_entries(&fstab);
    for entry in &entries {
        let place = || Place::line(&fstab.path, entry.line);
        if entry.kind == b"swap" {
            findings.add(&SWAP, place(), format!("{} is swap", escape(&entry.device)));
        }
        if entry.has_option(b"atime") || entry.has_option(b"strictatime") {
            findings.add(&ATIME, place(), format!("{} is mounted with access times", escape(&entry.mount_point)));
        }
    }
    let trims = entries.iter().any(|entry| entry.mount_point == b"/" && entry.has_option(b"discard"));
    let timer = ["etc/systemd/system/timers.target.wants/fstrim.timer", "usr/lib/systemd/system/timers.target.wants/fstrim.timer"];
    let cron = ["etc/cron.weekly/fstrim", "etc/periodic/weekly/fstrim"];
    let runs = timer.iter().any(|path| subject.tree().lookup(path).is_some()) || cron.iter().any(|path| subject.files.file(path).is_some());
    if !trims && !runs && !entries.is_empty() {
        findings.add(&NO_TRIM, Place::path(&fstab.path), "/ is mounted without discard, and nothing runs fstrim");
    }
    Ok(())
}
