//! Quota files in use: a guest (QEMU) whose root filesystem has users', groups' and projects', and another filesystem those of ext3
//! with blocks of 1 KiB. Its kernel reads, extends and shrinks them ([`tools/quota_in_guest.pl`]); e2fsck counts again afterwards.
//! The kernel of the machine that tests may be made without quotas, and then mounts such filesystems read-only alone.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, run, text, tool};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Owners of the files that are built, in both filesystems.
fn owners() -> impl Iterator<Item = (u32, u32)> {
    let edges = [1, 255, 256, 65_535, 65_536, 1 << 24, 1 << 31, u32::MAX - 1];
    (1..150_u32).map(|n| n.wrapping_mul(0x9e37_79b1)).chain(edges).map(|id| (id, id / 2))
}

fn recipe(debian: &Path) -> String {
    let mut text = format!(
        r#"
name = "quota"
[disk]
format = "raw"
size = "1 GiB"
[[partition]]
type = "esp"
size = "64 MiB"
[[partition]]
type = "root"
size = "fill"
source = "{}"
exclude = ["usr/lib/modules/*/kernel/drivers/**", "usr/lib/modules/*/kernel/net/**", "usr/lib/grub/**", "usr/lib/shim/**", "usr/share/**", "boot/initrd*"]
[partition.ext4]
features = ["modern", "project"]
[[partition]]
type = "linux"
size = "64 MiB"
mount_point = "/srv"
[partition.ext4]
features = ["ext3", "quota"]
block_size = 1024
[boot]
loader = "systemd-boot"
initramfs = "none"
cmdline = "ro console=ttyS0 init=/quota_in_guest.pl"
[[file]]
path = "/quota_in_guest.pl"
source = "quota_in_guest.pl"
mode = "0755"
"#,
        debian.display()
    );
    for (n, (uid, gid)) in owners().enumerate() {
        for folder in ["", "/srv"] {
            let content = "x".repeat(n * 40);
            write!(text, "[[file]]\npath = \"{folder}/owned/{n}\"\nowner = \"{uid}:{gid}\"\ncontent = \"{content}\"\n").unwrap();
        }
    }
    text
}

/// The filesystem of a partition, as e2fsprogs name one that lies in a disk.
fn filesystem(image: &Path, partition: usize) -> String {
    let table: serde_json::Value = serde_json::from_str(&text(judge("sfdisk").unwrap().arg("--json").arg(image))).unwrap();
    let start = table["partitiontable"]["partitions"][partition - 1]["start"].as_u64().unwrap();
    format!("{}?offset={}", image.display(), start * 512)
}

fn check(image: &Path) {
    for partition in [2, 3] {
        let checked = judge("e2fsck").unwrap().arg("-fn").arg(filesystem(image, partition)).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("ix? no") && !said.contains("QUOTA WARNING"), "partition {partition}: {said}");
    }
}

fn users(image: &Path, partition: usize) -> usize {
    let listed = text(judge("debugfs").unwrap().args(["-R", "list_quota user"]).arg(filesystem(image, partition)));
    listed.lines().count() - 1
}

#[test]
fn the_kernel_of_a_guest_goes_on_with_the_quota_files() {
    let Some(debian) = lab("debian.tar").map(|tar| tar.canonicalize().unwrap()) else { return };
    if ["qemu-system-x86_64", "sfdisk", "e2fsck", "debugfs"].into_iter().filter(|name| judge(name).is_none()).count() > 0 {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (recipe_path, image) = (folder.path().join("quota.toml"), folder.path().join("quota.raw"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/quota_in_guest.pl"), folder.path().join("quota_in_guest.pl")).unwrap();
    fs::write(&recipe_path, recipe(&debian)).unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    run(build.arg("build").arg("--recipe").arg(&recipe_path).arg("-o").arg(&image).arg("--allow-source").arg(debian.parent().unwrap()));
    check(&image);
    assert_eq!(users(&image, 3), owners().count() + 1);

    let log = folder.path().join("serial.log");
    let mut boot = tool("boot_image.sh");
    boot.arg(&image).args(["raw", "uefi", "ROOTVOL-QUOTA-OK"]).env("SERIAL_LOG", &log);
    let output = boot.envs([("WRITE", "1"), ("WAIT_POWEROFF", "1"), ("TIMEOUT", "300")]).output().unwrap();
    let serial = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    assert!(output.status.success(), "{}\n--- the whole serial log:\n{serial}", String::from_utf8_lossy(&output.stderr));
    // Three comparisons of five quota files.
    let compared = serial.lines().filter(|line| line.contains("have what they have")).count();
    assert_eq!(compared, 15, "{serial}");
    check(&image);
    // Of 157 owners about half are gone, 1,000 have come.
    assert!(users(&image, 3) > 1000, "{}", users(&image, 3));
}
