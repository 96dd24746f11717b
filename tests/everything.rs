//! A tree that has everything comes through a whole disk image without loss, judged by the running kernel, the
//! checkers of each layer, and readers that are not ours.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, root, run, text, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// Where partition `number` lies: (offset, size) in bytes, as the report says.
fn partition(image: &Path, number: u64) -> (u64, u64) {
    let report: serde_json::Value = serde_json::from_slice(&fs::read(format!("{}.report.json", image.display())).unwrap()).unwrap();
    let found = report["partitions"].as_array().unwrap().iter().find(|partition| partition["number"] == number).unwrap().clone();
    (found["offset_bytes"].as_u64().unwrap(), found["size_bytes"].as_u64().unwrap())
}

/// A partition of an image, mounted by the kernel until it is dropped.
struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    fn new(image: &Path, number: u64, folder: PathBuf) -> Self {
        let (offset, size) = partition(image, number);
        fs::create_dir(&folder).unwrap();
        run(Command::new("mount").args(["-t", "ext4", "-o", &format!("ro,loop,offset={offset},sizelimit={size}")]).arg(image).arg(&folder));
        Self { folder }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

fn everything(folder: &Path) -> PathBuf {
    let source = folder.join("everything");
    run(tool("make_everything.py").arg(&source));
    source
}

#[test]
fn the_kernel_shows_every_entry_and_attribute_as_it_was() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = everything(folder.path());
    let image = folder.path().join("disk.raw");
    run(rootvol().arg("build").arg(&source).arg("-o").arg(&image).args(["--boot", "none"]));
    run(tool("kernel_mount_check.sh").arg(&image).env("RW", "1"));
    let mounted = Mounted::new(&image, 1, folder.path().join("mnt"));
    run(tool("compare_trees.py").arg(&source).arg(&mounted.folder).args(["--ignore", "lost+found"]));
    // Holes are still holes: a sparse TiB takes no more than its data.
    let blocks = text(Command::new("stat").args(["-c", "%b"]).arg(mounted.folder.join("holes/huge")));
    assert!(blocks.trim().parse::<u64>().unwrap() <= 64, "holes/huge takes {blocks} sectors");
}

#[test]
fn a_tar_of_it_gives_the_same_image_as_the_directory() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = everything(folder.path());
    let build = |from: &Path, name: &str| {
        let image = folder.path().join(name);
        run(rootvol().arg("build").arg(from).arg("-o").arg(&image).args(["--boot", "none", "--name", "x"]));
        fs::read(format!("{}.blocks.jsonl", image.display())).unwrap()
    };
    // GNU tar holds no sockets, and makes two of one device with two names.
    for name in ["special/socket", "special/null-again"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    let touched = 1_500_000_000;
    run(Command::new("touch").arg("-d").arg(format!("@{touched}")).arg(source.join("special")));
    let expected = build(&source, "directory.raw");
    let tar = folder.path().join("everything.tar");
    run(Command::new("tar").arg("-C").arg(&source).args(["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "-cf"]).arg(&tar).arg("."));
    assert!(build(&tar, "tar.raw") == expected, "the tar's image differs from the directory's");
}

#[test]
fn tables_containers_and_filesystems_satisfy_their_own_checkers() {
    let Some(tar) = lab("debian.tar") else { return };
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("disk.raw");
    run(rootvol().arg("build").arg(&tar).arg("-o").arg(&raw).args(["--name", "web"]));
    if let Some(mut sgdisk) = judge("sgdisk") {
        let said = text(sgdisk.arg("-v").arg("-p").arg(&raw));
        assert!(said.contains("No problems found") && said.contains("EF00") && said.contains("8304"), "{said}");
    }
    if let Some(mut sfdisk) = judge("sfdisk") {
        let output = run(sfdisk.arg("--verify").arg(&raw));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains("No errors detected"), "{said}");
    }
    let part = |number, name: &str| {
        let (offset, size) = partition(&raw, number);
        let file = folder.path().join(name);
        run(Command::new("dd").arg(format!("if={}", raw.display())).arg(format!("of={}", file.display())).args([
            "bs=1M",
            "conv=sparse",
            &format!("skip={}", offset >> 20),
            &format!("count={}", size >> 20),
        ]));
        file
    };
    let (esp, root_fs) = (part(1, "esp"), part(2, "root"));
    if let Some(mut fsck) = judge("fsck.fat") {
        run(fsck.arg("-n").arg(&esp));
    }
    if let Some(mut mdir) = judge("mdir") {
        let listed = text(mdir.args(["-/", "-b", "-i"]).arg(&esp).arg("::"));
        assert!(listed.contains("BOOTX64.EFI"), "{listed}");
    }
    if let Some(mut e2fsck) = judge("e2fsck") {
        run(e2fsck.arg("-fn").arg(&root_fs));
    }
    if let Some(mut debugfs) = judge("debugfs") {
        let said = text(debugfs.args(["-R", "stat /etc/fstab"]).arg(&root_fs));
        assert!(said.contains("Type: regular"), "{said}");
    }
    if let Some(mut grub) = judge("grub-fstest") {
        run(grub.arg(&root_fs).args(["cat", "/boot/grub/grub.cfg"]));
    }
    for (format, name) in [("vhd", "dynamic.vhd"), ("vhd-fixed", "fixed.vhd")] {
        let vhd = folder.path().join(name);
        run(rootvol().arg("build").arg(&tar).arg("-o").arg(&vhd).args(["--name", "web", "--format", format]));
        if let Some(mut qemu) = judge("qemu-img") {
            run(qemu.args(["compare", "-f", "vpc", "-F", "raw"]).arg(&vhd).arg(&raw));
        }
        assert_eq!(fs::read(format!("{}.blocks.jsonl", vhd.display())).unwrap(), fs::read(format!("{}.blocks.jsonl", raw.display())).unwrap());
    }
}

#[test]
fn a_debian_tree_comes_through_whole() {
    let Some(tar) = lab("debian.tar") else { return };
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    run(Command::new("tar").arg("-C").arg(&tree).args(["--xattrs", "--xattrs-include=*", "-xpf"]).arg(&tar));
    let image = folder.path().join("disk.raw");
    run(rootvol().arg("build").arg(&tar).arg("-o").arg(&image).args(["--boot", "none"]));
    let mounted = Mounted::new(&image, 1, folder.path().join("mnt"));
    run(tool("compare_trees.py").arg(&tree).arg(&mounted.folder).args(["--ignore", "lost+found"]));
}
