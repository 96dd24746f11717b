//! Real boots: a Debian tree, through the command, under UEFI in QEMU, to a marker that a unit of the guest prints on
//! the serial console when it has looked at itself.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, root, run, text, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

const MARKER: &str = "ROOTVOL-BOOT-OK";

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// Boots an image, waits for `marker` and for the guest to power itself off, and gives what it printed.
fn boot(image: &Path, format: &str, marker: &str, settings: &[(&str, &str)]) -> String {
    let log = image.with_extension("serial.log");
    let mut command = tool("boot_image.sh");
    command.arg(image).args([format, "uefi", marker]).env("SERIAL_LOG", &log).env("WAIT_POWEROFF", "1").env("TIMEOUT", "400").envs(settings.iter().copied());
    run(&mut command);
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    // findmnt pads its columns.
    said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

/// What the guest says of itself: units that failed, complaints of the kernel, how the root is mounted.
fn assert_healthy(serial: &str, secure_boot: &str) {
    for line in ["rootvol: failed 0", "ext4 rw,", &format!("rootvol: secureboot {secure_boot}"), "rootvol: efi /dev/nvme0n1p1 vfat"] {
        assert!(serial.contains(line), "the guest did not print {line:?}:\n{serial}");
    }
    assert!(!serial.contains("rootvol: klog"), "the guest's kernel complained:\n{serial}");
}

#[test]
fn shim_and_grub_boot_from_a_dynamic_vhd_with_secure_boot() {
    let (Some(tar), Some(_)) = (lab("debian.tar"), judge("qemu-system-x86_64")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("web.vhd");
    let said = text(rootvol().arg("build").arg(tar).arg("-o").arg(&image).args(["--name", "web"]));
    assert!(said.contains("grub"), "GRUB is what auto takes:\n{said}");
    let serial = boot(&image, "vpc", MARKER, &[("SECURE_BOOT", "1")]);
    assert_healthy(&serial, "1");
    assert!(serial.contains("root=PARTUUID="), "{serial}");
}

#[test]
fn systemd_boot_boots_from_a_fixed_vhd() {
    let (Some(tar), Some(_)) = (lab("debian.tar"), judge("qemu-system-x86_64")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("web.vhd");
    run(rootvol().arg("build").arg(tar).arg("-o").arg(&image).args(["--name", "web", "--format", "vhd-fixed", "--loader", "systemd-boot"]));
    assert_healthy(&boot(&image, "vpc", MARKER, &[]), "0");
}

#[test]
fn arm64_boots_with_grub_and_with_systemd_boot() {
    let (Some(tar), Some(_)) = (lab("debian-arm64.tar"), judge("qemu-system-aarch64")) else { return };
    let folder = tempfile::tempdir().unwrap();
    for loader in ["grub", "systemd-boot"] {
        let image = folder.path().join(format!("{loader}.raw"));
        run(rootvol().arg("build").arg(&tar).arg("-o").arg(&image).args(["--loader", loader, "--cmdline", "rw console=ttyAMA0"]));
        let serial = boot(&image, "raw", MARKER, &[("ARCH", "aarch64")]);
        assert!(serial.contains("ext4 rw,"), "{serial}");
        fs::remove_file(image).unwrap();
    }
}

/// The proof that unused means unused: what is in those blocks matters to nobody, before, during and after use.
#[test]
fn a_disk_whose_unused_blocks_hold_random_bytes_boots_and_survives_heavy_writes() {
    let (Some(tar), Some(_), Some(_)) = (lab("debian.tar"), judge("qemu-system-x86_64"), judge("e2fsck")) else { return };
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("web.raw");
    run(rootvol().arg("build").arg(tar).arg("-o").arg(&image).args(["--name", "web", "--cmdline", "rw console=ttyS0 rootvol.heavy"]));
    run(tool("fill_unused.py").arg(&image).arg(folder.path().join("web.raw.blocks.jsonl")));
    run(tool("kernel_mount_check.sh").arg(&image).env("RW", "1"));
    let serial = boot(&image, "raw", "ROOTVOL-HEAVY-OK", &[("WRITE", "1")]);
    assert_healthy(&serial, "0");
    run(tool("kernel_mount_check.sh").arg(&image));
}
