//! What to do with an image: the `aws` commands of the route that fits, and the QEMU line that boots it here.

use super::choices::AmiChoices;
use super::documents::{Documents, IMPORT_IMAGE, IMPORT_SNAPSHOT, REGISTER_IMAGE, documents};
use super::register_image::SNAPSHOT_PLACEHOLDER;
use super::shell::{file_argument, quote};
use crate::report::Report;
use std::path::Path;

/// The lines of a shell that upload, import and register the image at `image` by the route that fits, with the documents
/// that lie beside it ([`documents`]), and last the line that boots it in QEMU, where it boots.
///
/// Without a bucket and key there is nothing to upload to, and without a bootable disk nothing to boot: those lines are
/// missing then. File names are quoted for a POSIX shell.
#[must_use]
pub fn next_steps(report: &Report, image: &Path, ami: &AmiChoices) -> Vec<String> {
    let mut lines = aws_lines(&documents(report, ami, image), image, ami);
    lines.extend(qemu_line(report, image));
    lines
}

fn aws_lines(documents: &Documents, image: &Path, ami: &AmiChoices) -> Vec<String> {
    let (Some(bucket), Some(key)) = (&ami.bucket, &ami.key) else { return Vec::new() };
    let (import, snapshot) = (documents.has(IMPORT_IMAGE), documents.has(IMPORT_SNAPSHOT));
    if !import && !snapshot {
        return Vec::new();
    }
    let mut lines = vec![format!("aws s3 cp {} {}", quote(&file_argument(image)), quote(format!("s3://{bucket}/{key}").as_bytes()))];
    if import {
        lines.push(format!("task=$(aws ec2 import-image --cli-input-json {} --query ImportTaskId --output text)", document(image, IMPORT_IMAGE)));
        lines
            .push("aws ec2 describe-import-image-tasks --import-task-ids \"$task\"  # again until its Status is completed: it has the ImageId then".to_owned());
        return lines;
    }
    lines.push(format!("task=$(aws ec2 import-snapshot --cli-input-json {} --query ImportTaskId --output text)", document(image, IMPORT_SNAPSHOT)));
    lines.push("aws ec2 wait snapshot-imported --import-task-ids \"$task\"  # gives up after 10 minutes: then wait again".to_owned());
    lines.push(
        "snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids \"$task\" \
         --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text)"
            .to_owned(),
    );
    if documents.has(REGISTER_IMAGE) {
        let file = quote(&beside(image, REGISTER_IMAGE));
        lines.push(format!("aws ec2 register-image --cli-input-json \"$(sed \"s/{SNAPSHOT_PLACEHOLDER}/$snapshot/\" {file})\""));
    }
    lines
}

/// The name of a document beside the image.
fn beside(image: &Path, suffix: &str) -> Vec<u8> {
    [&file_argument(image), ".".as_bytes(), suffix.as_bytes()].concat()
}

/// A document as the aws command takes it. It expands `$` in the name after `file://`, so such a file is read by the shell.
fn document(image: &Path, suffix: &str) -> String {
    let file = beside(image, suffix);
    if file.contains(&b'$') { format!("\"$(cat {})\"", quote(&file)) } else { quote(&[b"file://", file.as_slice()].concat()) }
}

/// Boots the image as EC2 does, from NVMe with the console on the first serial port, and leaves the file as it is. The
/// firmware's place is Debian's (packages ovmf and qemu-efi-aarch64).
fn qemu_line(report: &Report, image: &Path) -> Option<String> {
    let boot = report.boot.as_ref()?;
    let (program, machine, cpu, firmware) = match (boot.architecture.as_str(), boot.mode.as_str()) {
        ("x86_64", "legacy-bios") => ("qemu-system-x86_64", "q35", "max", None),
        ("x86_64", _) => ("qemu-system-x86_64", "q35", "max", Some("/usr/share/ovmf/OVMF.fd")),
        // The architected pointer authentication of `max` is very slow to emulate.
        ("arm64", _) => ("qemu-system-aarch64", "virt", "max,pauth-impdef=on", Some("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")),
        _ => return None,
    };
    // A VHD's size is the footer's current size; by its geometry the disk would be shorter.
    let format = if report.file.format == "raw" { "raw" } else { "vpc,force_size_calc=current_size" };
    // QEMU ends a value at a comma; two stand for one.
    let file: Vec<u8> = file_argument(image).iter().flat_map(|b| std::iter::repeat_n(*b, if *b == b',' { 2 } else { 1 })).collect();
    let drive = quote(&[b"if=none,id=disk,snapshot=on,format=", format.as_bytes(), b",file=", &file].concat());
    let sectors = match report.disk.sector_bytes {
        512 => String::new(),
        bytes => format!(",logical_block_size={bytes},physical_block_size={bytes}"),
    };
    let firmware = firmware.map(|file| format!(" -bios {file}")).unwrap_or_default();
    Some(format!("{program} -machine {machine} -cpu {cpu} -m 1G{firmware} -drive {drive} -device nvme,drive=disk,serial=rootvol{sectors} -nographic"))
}
