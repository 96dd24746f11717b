//! Recipes end to end: every key of the example and more, judged by others.

mod common;

use common::{judge, run, text};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn rootvol(at: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    command.current_dir(at);
    command
}

const EVERYTHING: &str = r#"
name = "web"
version = "2026.11.1"
epoch = 1700000000
[disk]
format = "raw"
table = "gpt"
size = "auto"
align_size = "1 MiB"
uuid = "11111111-2222-3333-4444-555555555555"
[[partition]]
number = 14
type = "bios-boot"
size = "4 MiB"
[[partition]]
number = 15
type = "esp"
size = "64 MiB"
label = "EFI system"
[partition.fat]
kind = "fat32"
label = "EFIV"
volume_id = "1234-ABCD"
cluster_size = 512
[[partition]]
number = 1
type = "root-x86-64"
filesystem = "ext4"
source = ["rootfs", "over"]
free = "10 MiB"
uuid = "aaaaaaaa-2222-3333-4444-555555555555"
exclude = ["cache/*"]
owner = "0:0"
[partition.ext4]
block_size = 4096
inode_size = 256
journal = "none"
features = "default"
reserved_percent = 1.25
label = "rootfs"
uuid = "bbbbbbbb-2222-3333-4444-555555555555"
[[partition]]
type = "swap"
size = "8 MiB"
[[partition]]
type = "xbootldr"
size = "40 MiB"
[[partition]]
type = "linux"
mount_point = "/srv"
free = "2 MiB"
[[partition]]
type = "var"
mount_point = "/var/log"
[boot]
mode = "none"
[[file]]
path = "/etc/motd"
content = "hello\n"
mode = "0640"
[[file]]
path = "/etc/systemd/system/multi-user.target.wants/web.service"
symlink = "../web.service"
[[file]]
path = "/usr/local/bin/tool"
source = "tool.bin"
mode = "4755"
owner = "12:34"
mtime = 1234567890
[file.xattrs]
"user.text" = "hello"
[[file]]
path = "/opt/shared"
directory = true
mode = "1777"
[[file]]
path = "/old"
remove = true
"#;

/// A folder with the recipe and its sources.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for path in ["rootfs/srv/www", "rootfs/var/log", "rootfs/cache", "over"] {
        fs::create_dir_all(at.join(path)).unwrap();
    }
    for (path, content) in [
        ("rootfs/srv/www/index", "web"),
        ("rootfs/var/log/log", "log"),
        ("rootfs/cache/x", "x"),
        ("rootfs/old", "old"),
        ("rootfs/both", "lower"),
        ("over/both", "upper"),
        ("tool.bin", "tool"),
    ] {
        fs::write(at.join(path), content).unwrap();
        fs::set_permissions(at.join(path), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::write(at.join("image.toml"), EVERYTHING).unwrap();
    folder
}

/// Where a partition lies, from the report.
fn place(report: &serde_json::Value, number: u64) -> (u64, u64) {
    let partition = report["partitions"].as_array().unwrap().iter().find(|partition| partition["number"] == number).unwrap();
    (partition["offset_bytes"].as_u64().unwrap(), partition["size_bytes"].as_u64().unwrap())
}

#[test]
fn every_key_does_what_it_says() {
    let folder = folder();
    let at = folder.path();
    let planned: serde_json::Value = serde_json::from_str(&text(rootvol(at).args(["plan", "--recipe", "image.toml", "--json"]))).unwrap();
    run(rootvol(at).args(["build", "--recipe", "image.toml", "-o", "image"]));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(at.join("image.report.json")).unwrap()).unwrap();
    assert_eq!((&planned["partitions"], &planned["disk"]), (&report["partitions"], &report["disk"]), "plan prints what build makes");
    let numbers: Vec<u64> = report["partitions"].as_array().unwrap().iter().map(|partition| partition["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 14, 15]);
    let image = fs::read(at.join("image")).unwrap();
    assert_eq!(u64::try_from(image.len()).unwrap(), place(&report, 1).0 + place(&report, 1).1 + (1 << 20), "the root is last");
    for number in numbers {
        let (offset, size) = place(&report, number);
        let bytes = &image[usize::try_from(offset).unwrap()..][..usize::try_from(size).unwrap()];
        fs::write(at.join(format!("part{number}")), bytes).unwrap();
    }
    for (judge_name, flags, number) in [("e2fsck", "-fn", 1), ("e2fsck", "-fn", 4), ("e2fsck", "-fn", 5), ("fsck.fat", "-n", 15), ("fsck.fat", "-n", 3)] {
        let Some(mut checked) = judge(judge_name) else { return };
        run(checked.arg(flags).arg(at.join(format!("part{number}"))));
    }
    let Some(mut sgdisk) = judge("sgdisk") else { return };
    let said = text(sgdisk.arg("-v").arg(at.join("image")));
    assert!(said.contains("No problems found"), "{said}");
    let Some(mut sgdisk) = judge("sgdisk") else { return };
    let said = text(sgdisk.arg("-p").arg("-i=1").arg(at.join("image"))).to_lowercase();
    assert!(said.contains("11111111-2222-3333-4444-555555555555") && said.contains("aaaaaaaa-2222-3333-4444-555555555555"), "{said}");

    let debugfs = |number: u64, request: &str| {
        let mut debugfs = judge("debugfs")?;
        Some(text(debugfs.args(["-R", request]).arg(at.join(format!("part{number}")))))
    };
    for (number, request, says) in [
        (1, "cat etc/motd", "hello\n"),
        (1, "cat both", "upper"),
        (1, "cat usr/local/bin/tool", "tool"),
        (1, "stat usr/local/bin/tool", "Mode:  04755"),
        (1, "stat usr/local/bin/tool", "User:    12   Group:    34"),
        (1, "ea_list usr/local/bin/tool", "user.text (5) = \"hello\""),
        (1, "stat opt/shared", "Mode:  01777"),
        (1, "stat etc/motd", "Mode:  0640"),
        (1, "stat etc/systemd/system/multi-user.target.wants/web.service", "../web.service"),
        (1, "show_super_stats -h", "Filesystem volume name:   rootfs"),
        (1, "show_super_stats -h", "bbbbbbbb-2222-3333-4444-555555555555"),
        (4, "cat www/index", "web"),
        (5, "cat log", "log"),
    ] {
        let Some(said) = debugfs(number, request) else { return };
        assert!(said.contains(says), "{request} on partition {number} did not say {says:?}: {said}");
    }
    let Some(listed) = debugfs(1, "ls -p / ") else { return };
    assert!(!listed.contains("/old/"), "{listed}");
    for taken in ["cache", "srv", "var/log"] {
        let Some(listed) = debugfs(1, &format!("ls -p {taken}")) else { return };
        assert_eq!(listed.lines().filter(|line| !line.trim().is_empty()).count(), 2, "{taken} holds nothing of its own: {listed}");
    }
}

#[test]
fn tables_and_sectors_of_every_kind_pass_their_checks() {
    for (disk, more, kind) in [
        ("table = \"none\"\nsize = \"16 MiB\"", "", "none"),
        ("table = \"mbr\"\nsignature = 305419896", "[[partition]]\ntype = \"swap\"\nsize = \"1 MiB\"\n", "mbr"),
        ("sector_size = 4096", "[[partition]]\ntype = \"esp\"\nsize = \"300 MiB\"\n", "gpt"),
    ] {
        let folder = folder();
        let at = folder.path();
        fs::write(
            at.join("image.toml"),
            format!("[disk]\nalign_size = \"1 MiB\"\n{disk}\n[[partition]]\ntype = \"linux\"\nsize = \"fill\"\nsource = \"rootfs\"\n{more}"),
        )
        .unwrap();
        run(rootvol(at).args(["build", "--recipe", "image.toml", "-o", "image.raw"]));
        let report: serde_json::Value = serde_json::from_slice(&fs::read(at.join("image.raw.report.json")).unwrap()).unwrap();
        assert_eq!(report["disk"]["table"], kind);
        let (offset, size) = place(&report, u64::from(kind != "none"));
        let image = fs::read(at.join("image.raw")).unwrap();
        if kind == "none" {
            assert_eq!((offset, size), (0, 16 << 20), "the single partition is the disk");
        }
        fs::write(at.join("part"), &image[usize::try_from(offset).unwrap()..][..usize::try_from(size).unwrap()]).unwrap();
        let Some(mut e2fsck) = judge("e2fsck") else { return };
        run(e2fsck.arg("-fn").arg(at.join("part")));
    }
}

#[test]
fn mistakes_name_line_and_column_and_write_nothing() {
    let source = "[[partition]]\ntype = \"linux\"\nsource = \"rootfs\"\n";
    for (recipe, says) in [
        ("nme = \"x\"".to_string(), "line 1, column 1"),
        ("name = \"a\"\nname = \"b\"".to_string(), "line 2, column 1"),
        (format!("[disk]\nsize = 8\n{source}"), "line 2, column 8"),
        (format!("[disk]\nsize = \"8\"\n{source}"), "line 2, column 8"),
        ("[[partition]]\nsource = \"../x\"".to_string(), "line 2, column 10"),
        ("[[partition]]\nsource = \"/etc\"".to_string(), "--allow-source"),
        (format!("{source}[[file]]\npath = \"/x\"\nsource = \"leads-out\""), "outside of the recipe's folder"),
        (format!("{source}[[file]]\npath = \"/x\"\ncontent = \"a\"\nsymlink = \"b\""), "exactly one"),
        (format!("{source}[[file]]\npath = \"../x\"\ncontent = \"a\""), "line 5, column 8"),
        (format!("{source}free = \"1 GiB\"\nsize = \"fill\"\n[disk]\nsize = \"20 MiB\""), "free space 1 GiB"),
    ] {
        let folder = folder();
        let at = folder.path();
        std::os::unix::fs::symlink("/etc/passwd", at.join("leads-out")).unwrap();
        fs::write(at.join("image.toml"), &recipe).unwrap();
        let output = rootvol(at).args(["build", "--recipe", "image.toml", "-o", "image.raw"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{recipe}: {said}");
        assert!(said.contains(says) && !said.contains("panicked"), "{recipe} did not say {says:?}: {said}");
        assert!(!at.join("image.raw").exists());
    }
}
