//! Container, table and partitions: what can be told without reading a filesystem.

use crate::error::Result;
use crate::format::Wrapping;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, IMPORT_IMAGE, IMPORTS, Rule, Severity};
use crate::report::PartitionSummary;
use crate::source::DiskImage;
use crate::units::{GIB, Size, TIB};

/// VM Import/Export user guide, limitations.
const IMPORT_IMAGE_MAX_BYTES: u64 = 8 * TIB;
/// EBS user guide, volume constraints; EBS direct API, VolumeSize.
const VOLUME_MAX_BYTES: u64 = 64 * TIB;
/// EC2 user guide, volume constraints: 2 TiB less 1 GiB.
const MBR_BOOT_MAX_BYTES: u64 = 2047 * GIB;

static IMPORT_SIZE: Rule = Rule {
    id: "import-size",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage takes disks below 8 TiB",
    mend: "make the disk smaller (volumes can grow later), or go by import-snapshot or the EBS direct API",
    source: "VM Import/Export user guide, limitations",
};

static VOLUME_SIZE: Rule = Rule {
    id: "volume-size",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "an EBS volume has at most 65,536 GiB",
    mend: "make the disk smaller",
    source: "EC2 API, EbsBlockDevice, VolumeSize",
};

static WHOLE_GIB: Rule = Rule {
    id: "whole-gib",
    family: Family::Import,
    severity: Severity::Note,
    concerns: EVERY,
    why: "volumes are whole GiB: the volume will be larger than the disk, and the backup GPT will not stand at its end until the guest moves it",
    mend: "`rootvol convert --resize` to the next GiB",
    source: "EC2 API, EbsBlockDevice, VolumeSize",
};

static SECTOR_SIZE: Rule = Rule {
    id: "sector-size",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "EBS volumes have sectors of 512 bytes: a table for others is not found (\"No valid partitions. Not a valid volume.\")",
    mend: "build with `sector_size = 512`",
    source: "EC2 user guide, EBS volume constraints",
};

static MBR_SIZE: Rule = Rule {
    id: "mbr-size",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "a boot volume with an MBR has at most 2047 GiB",
    mend: "use a GPT",
    source: "EC2 user guide, EBS volume constraints",
};

static NO_TABLE: Rule = Rule {
    id: "no-partition-table",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: No valid partitions. Not a valid volume.\"",
    mend: "build with a table (`table = \"gpt\"`)",
    source: "VM Import/Export user guide, limitations",
};

static FILESYSTEM_TYPE: Rule = Rule {
    id: "filesystem-type",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage mounts ext2, ext3, ext4, Btrfs without subvolumes, JFS and XFS; others end as \"No valid partitions\" or \"Unknown OS / Missing OS files\"",
    mend: "put the system on one of these, or go by import-snapshot",
    source: "VM Import/Export user guide, prerequisites, file systems",
};

static ENCRYPTED: Rule = Rule {
    id: "encrypted-volume",
    family: Family::Import,
    severity: Severity::Error,
    concerns: crate::lint::rule::SEEN_BY_AWS,
    why: "imports take no disk that is encrypted inside, and Marketplace no encrypted filesystem; nobody would type the passphrase either",
    mend: "leave the filesystem plain and have EBS encrypt the volume (`encrypted = true`)",
    source: "VM Import/Export user guide, limitations; AWS Marketplace, AMI-based product policies",
};

static LVM: Rule = Rule {
    id: "lvm",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "a volume group that does not come up ends an import (\"Unsupported configuration - Logical volume group activation failed\"), and cannot be judged here",
    mend: "put the root on a partition: EBS volumes grow, which is what LVM would be for",
    source: "VM Import/Export user guide, troubleshooting",
};

static COMPRESSED: Rule = Rule {
    id: "compressed-container",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORTS,
    why: "imports take raw, VHD, VHDX and VMDK as they are: a compressed file is no disk (\"Parameter disk-image-size=0 has an invalid format\")",
    mend: "`rootvol convert IMAGE OUT.vhd`: a dynamic VHD leaves out what is not used",
    source: "VM Import/Export user guide, image formats",
};

static DIFFERENCING: Rule = Rule {
    id: "differencing-vhd",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORTS,
    why: "a differencing VHD is refused with \"ClientError: Footers not identical\"",
    mend: "`rootvol convert --vhd-parent PARENT IMAGE OUT.vhd` joins it with its parents",
    source: "VM Import/Export user guide, troubleshooting",
};

static NO_BOOT_PARTITION: Rule = Rule {
    id: "no-boot-partition",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "firmware finds nothing to start: UEFI needs an EFI system partition, BIOS boot code in the first sector (\"No bootable partition found\")",
    mend: "build with `rootvol build`, which makes an EFI system partition",
    source: "UEFI specification, 13.3.1; VM Import/Export user guide, troubleshooting",
};

static SEVERAL_ROOTS: Rule = Rule {
    id: "several-roots",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"Unsupported configuration - Multiple directories found\" where several filesystems have an /etc: no dual boot",
    mend: "remove the other system",
    source: "VM Import/Export user guide, troubleshooting and limitations",
};

pub(super) const RULES: &[&Rule] = &[
    &IMPORT_SIZE,
    &VOLUME_SIZE,
    &WHOLE_GIB,
    &SECTOR_SIZE,
    &MBR_SIZE,
    &NO_TABLE,
    &FILESYSTEM_TYPE,
    &ENCRYPTED,
    &LVM,
    &COMPRESSED,
    &DIFFERENCING,
    &NO_BOOT_PARTITION,
    &SEVERAL_ROOTS,
];

/// What a partition holds that is not read here, by magic: name, offset of the magic, magic.
const OTHER_CONTENTS: &[(Contents, u64, &[u8])] = &[
    (Contents::Luks, 0, b"LUKS\xba\xbe"),
    (Contents::Xfs, 0, b"XFSB"),
    (Contents::Lvm, 0x200, b"LABELONE"),
    (Contents::Swap, 0xff6, b"SWAPSPACE2"),
    (Contents::Jfs, 0x8000, b"JFS1"),
    (Contents::Btrfs, 0x1_0040, b"_BHRfS_M"),
    (Contents::Other("NTFS"), 3, b"NTFS    "),
    (Contents::Other("SquashFS"), 0, b"hsqs"),
    (Contents::Other("EROFS"), 0x400, b"\xe2\xe1\xf5\xe0"),
    (Contents::Other("F2FS"), 0x400, b"\x10\x20\xf5\xf2"),
    (Contents::Other("ISO 9660"), 0x8001, b"CD001"),
    (Contents::Other("bcachefs"), 0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
];

/// What lies in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lint) enum Contents {
    /// A filesystem that is read here.
    Known,
    /// dm-crypt with LUKS.
    Luks,
    /// XFS.
    Xfs,
    /// JFS.
    Jfs,
    /// Btrfs.
    Btrfs,
    /// A physical volume of LVM.
    Lvm,
    /// Swap space.
    Swap,
    /// A filesystem of this name.
    Other(&'static str),
    /// Nothing that has a name.
    Nothing,
}

/// What lies in `partition`, by its magic.
///
/// # Errors
/// I/O.
pub(in crate::lint) fn contents_of(image: &DiskImage, partition: &PartitionSummary) -> Result<Contents> {
    if partition.filesystem.is_some() {
        return Ok(Contents::Known);
    }
    for (contents, at, magic) in OTHER_CONTENTS {
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..magic.len()];
        if *at + 16 <= partition.size_bytes
            && let Some(offset) = partition.offset_bytes.checked_add(*at)
        {
            image.disk().read_exact_at(offset, bytes)?;
            if bytes == *magic {
                return Ok(*contents);
            }
        }
    }
    Ok(Contents::Nothing)
}

pub(super) fn check(image: &DiskImage, findings: &mut Findings<'_>) -> Result<()> {
    check_size(image, findings);
    check_container(image, findings);
    let partitions = image.partitions();
    if image.table().is_none() {
        findings.add(&NO_TABLE, Place::Image, "there is no partition table");
    } else if partitions.is_empty() {
        findings.add(&NO_TABLE, Place::Image, "the partition table is empty");
    }
    for partition in partitions {
        let place = Place::Partition { number: partition.number, offset_bytes: Some(0) };
        match contents_of(image, partition)? {
            Contents::Luks => findings.add(&ENCRYPTED, place, "the partition is encrypted (LUKS)"),
            Contents::Lvm => findings.add(&LVM, place, "the partition is a physical volume of LVM"),
            Contents::Other(name) => findings.add(&FILESYSTEM_TYPE, place, format!("the filesystem is {name}")),
            _ => {}
        }
    }
    check_roots(image, findings)
}

/// Whether firmware finds something to start. Without a table a filesystem boots in a way of its own.
pub(super) fn check_boot(image: &DiskImage, findings: &mut Findings<'_>) -> Result<()> {
    if image.table().is_none() || image.partitions().iter().any(|partition| partition.partition_type == "esp") {
        return Ok(());
    }
    let mut code = [0; 446];
    image.disk().read_exact_at(0, &mut code)?;
    if code.iter().all(|byte| *byte == 0) {
        findings.add(&NO_BOOT_PARTITION, Place::Disk { offset_bytes: 0 }, "there is neither an EFI system partition nor boot code in the first sector");
    }
    Ok(())
}

fn check_size(image: &DiskImage, findings: &mut Findings<'_>) {
    let bytes = image.summary().size_bytes;
    let shown = Size::bytes(bytes);
    if bytes >= IMPORT_IMAGE_MAX_BYTES {
        findings.add(&IMPORT_SIZE, Place::Image, format!("the disk has {shown}"));
    }
    if bytes > VOLUME_MAX_BYTES {
        findings.add(&VOLUME_SIZE, Place::Image, format!("the disk has {shown}"));
    }
    if !bytes.is_multiple_of(GIB) {
        findings.add(
            &WHOLE_GIB,
            Place::Image,
            format!("the disk has {bytes} bytes, which is {} bytes short of whole GiB", bytes.next_multiple_of(GIB) - bytes),
        );
    }
    if image.table().is_some() && image.summary().sector_bytes != 512 {
        findings.add(&SECTOR_SIZE, Place::Image, format!("the table is for sectors of {} bytes", image.summary().sector_bytes));
    }
    if image.summary().table == "mbr" && bytes > MBR_BOOT_MAX_BYTES {
        findings.add(&MBR_SIZE, Place::Image, format!("the disk has {shown} and an MBR"));
    }
}

fn check_container(image: &DiskImage, findings: &mut Findings<'_>) {
    match image.disk().wrapping() {
        Wrapping::Compressed => findings.add(&COMPRESSED, Place::Image, "the file is compressed"),
        Wrapping::Differencing => findings.add(&DIFFERENCING, Place::Image, "the file is a differencing VHD"),
        _ => {}
    }
}

/// Which filesystems have a system of their own on them.
fn check_roots(image: &DiskImage, findings: &mut Findings<'_>) -> Result<()> {
    let candidates = image.partitions().iter().filter(|partition| partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.kind.starts_with("ext")));
    let candidates: Vec<u32> = candidates.map(|partition| partition.number).collect();
    if candidates.len() < 2 || !findings.want(&[&SEVERAL_ROOTS]) {
        return Ok(());
    }
    let mut roots = Vec::new();
    for number in candidates {
        // What cannot be read is no root, and a finding elsewhere.
        let Ok(Some(read)) = image.read(number, &crate::fs::ReadOptions::default()) else { continue };
        if read.tree.resolve("etc").is_some_and(|etc| read.tree.node(etc).is_directory()) {
            roots.push(number);
        }
    }
    if roots.len() > 1 {
        let all = roots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        findings.add(&SEVERAL_ROOTS, Place::Image, format!("partitions {all} each have an /etc"));
    }
    Ok(())
}
