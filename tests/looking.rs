//! The commands that look into sources and images: ls, cat, extract, diff, verify, convert, and building an image of an image.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, run, skip, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// A folder with a tar of everything that a tree keeps (`tree.tar`), and a partitioned image of it with an ESP beside the root
/// (`disk.img`).
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(lab.path("tree.tar"), archive()).unwrap();
        fs::write(
            lab.path("image.toml"),
            "name = \"looking\"\n[boot]\nmode = \"none\"\n[disk]\nsize = \"96 MiB\"\n[[partition]]\ntype = \"esp\"\nlabel = \"boot things\"\nsize = \"34 MiB\"\nsource = \"esp.tar\"\n\
             [[partition]]\ntype = \"linux\"\nlabel = \"the root\"\nmount_point = \"/\"\nsource = \"tree.tar\"\n[partition.ext4]\nfeatures = [\"default\", \"project\"]\n",
        )
        .unwrap();
        let mut esp = tar::Builder::new(Vec::new());
        add(&mut esp, "EFI/BOOT/STUB.TXT", tar::EntryType::Regular, b"not a loader\n", &[]);
        fs::write(lab.path("esp.tar"), esp.into_inner().unwrap()).unwrap();
        run(rootvol().arg("build").args(["--recipe"]).arg(lab.path("image.toml")).arg("-o").arg(lab.path("disk.img")).arg("--quiet"));
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, body: &[u8], pax: &[(&str, &[u8])]) {
    tar.append_pax_extensions(pax.iter().copied()).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(match kind {
        tar::EntryType::Directory => 0o755,
        tar::EntryType::Symlink => 0o777,
        _ => 0o640,
    });
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_700_000_001);
    match kind {
        tar::EntryType::Symlink | tar::EntryType::Link => header.set_link_name(std::str::from_utf8(body).unwrap()).unwrap(),
        tar::EntryType::Char => {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        _ => {}
    }
    let body = if kind == tar::EntryType::Regular { body } else { b"" };
    header.set_size(body.len().try_into().unwrap());
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, body).unwrap();
}

fn archive() -> Vec<u8> {
    use tar::EntryType as T;
    let mut tar = tar::Builder::new(Vec::new());
    let noise: Vec<u8> = (0_u32..300_000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    add(&mut tar, "etc/", T::Directory, b"", &[("SCHILY.fflags", b"nodump,noatime")]);
    add(&mut tar, "etc/os-release", T::Regular, b"ID=looking\nPRETTY_NAME=\"A system to look at\"\n", &[]);
    add(
        &mut tar,
        "etc/motd",
        T::Regular,
        b"hello\n",
        &[("mtime", b"1700000000.123456789"), ("SCHILY.xattr.user.note", b"\x00\xffbytes"), ("ROOTVOL.project", b"42")],
    );
    add(&mut tar, "etc/again", T::Link, b"etc/motd", &[]);
    add(&mut tar, "etc/localtime", T::Symlink, b"../usr/share/zone", &[]);
    add(&mut tar, "usr/noise", T::Regular, &noise, &[("SCHILY.fflags", b"schg")]);
    add(&mut tar, "usr/empty", T::Regular, b"", &[]);
    add(&mut tar, "usr/odd\x1b[31m\nname\\", T::Regular, b"x", &[]);
    add(&mut tar, "usr-local", T::Directory, b"", &[("SCHILY.xattr.user.name=with%signs", b"v")]);
    add(&mut tar, "dev/null", T::Char, b"", &[]);
    add(&mut tar, "run/pipe", T::Fifo, b"", &[]);
    add(&mut tar, "run/socket", T::Regular, b"", &[("SCHILY.filetype", b"socket")]);
    let long = "deep/".repeat(40) + "file";
    add(&mut tar, "d", T::Regular, b"at the end of a long path", &[("path", long.as_bytes())]);
    let mut map = b"2\n1048576\n5\n9000000\n0\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"data!");
    let sparse: [(&str, &[u8]); 4] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"usr/sparse"), ("GNU.sparse.realsize", b"9000000")];
    add(&mut tar, "usr/sparse", T::Regular, &map, &sparse);
    tar.into_inner().unwrap()
}

/// What `ls --json` says, by path.
fn listing(source: impl AsRef<std::ffi::OsStr>) -> BTreeMap<String, Value> {
    let said = text(rootvol().arg("ls").arg(source).args(["--recursive", "--hash", "--json"]));
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    let paths: Vec<&str> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert!(paths.is_sorted_by(|a, b| *a == "." || (*b != "." && a.as_bytes() < b.as_bytes())), "sorted by bytes: {paths:?}");
    lines.iter().map(|line| (line["path"].as_str().unwrap().to_owned(), line.clone())).collect()
}

/// The same without what only a filesystem has.
fn kept(mut listing: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    listing.remove("lost+found");
    listing.remove(".");
    for entry in listing.values_mut() {
        entry["ino"] = Value::Null;
    }
    listing
}

#[track_caller]
fn exits(command: &mut Command, code: i32, says: &str) -> Output {
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(says) && !said.contains("panicked"), "{command:?} did not say {says:?}: {said}");
    output
}

#[test]
fn a_tar_its_image_and_what_is_extracted_of_both_are_listed_alike() {
    let lab = Lab::new();
    let tar = listing(lab.path("tree.tar"));
    let motd = &tar["etc/motd"];
    assert_eq!((motd["type"].as_str(), motd["mode"].as_str(), motd["nlink"].as_u64()), (Some("file"), Some("0640"), Some(2)));
    assert_eq!((motd["uid"].as_u64(), motd["mtime"].as_str(), motd["size"].as_u64()), (Some(7), Some("1700000000.123456789"), Some(6)));
    assert_eq!(motd["sha256"], "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    assert_eq!(motd["xattrs"]["user.note"], "AP9ieXRlcw==");
    assert_eq!(tar["dev/null"]["rdev"], serde_json::json!([1, 3]));
    assert_eq!(tar["etc/localtime"]["target"], "../usr/share/zone");
    assert_eq!(tar["usr/sparse"]["holes"], serde_json::json!([[0, 1_048_576], [1_048_581, 7_951_419]]));
    assert!(tar.contains_key("usr/odd\\x1B[31m\\x0Aname\\x5C"), "names cannot control a terminal: {:?}", tar.keys());

    let image = listing(lab.path("disk.img"));
    assert!(image["etc/motd"]["ino"].as_u64().is_some());
    let mut expected = kept(tar.clone());
    // Holes are rounded inwards to the filesystem's blocks.
    expected.get_mut("usr/sparse").unwrap()["holes"] = serde_json::json!([[0, 1_048_576], [1_052_672, 7_947_328]]);
    assert_eq!(kept(image), expected);

    // Out of the image into a tar, plain and compressed: everything is in it, chattr's attributes and the project too.
    for name in ["again.tar", "again.tar.gz", "again.tar.zst"] {
        run(rootvol().arg("extract").arg(lab.path("disk.img")).arg("-o").arg(lab.path(name)));
        assert_eq!(kept(listing(lab.path(name))), expected, "{name}");
        exits(rootvol().arg("diff").arg(lab.path("disk.img")).arg(lab.path(name)), 0, "0 added, 0 removed, 0 changed");
    }
    exits(rootvol().arg("extract").arg(lab.path("disk.img")).arg("-o").arg(lab.path("again.tar")), 1, "exists");
    exits(rootvol().arg("extract").arg(lab.path("tree.tar")).arg("-o").arg(lab.path("tree.tar")).arg("--force"), 1, "one of the inputs");
    if let Some(mut judge) = judge("tar") {
        let names = text(judge.arg("tf").arg(lab.path("again.tar")));
        assert_eq!(names.lines().count(), expected.len() + 2, "the root, lost+found and the rest:\n{names}");
    }
    let piped = run(rootvol().arg("extract").arg(lab.path("disk.img")).args(["etc/motd", "-o", "-"])).stdout;
    let mut piped = tar::Archive::new(&piped[..]);
    let names: Vec<String> = piped.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, [".", "etc/", "etc/motd"].map(|name| if name == "." { "./".to_owned() } else { name.to_owned() }));
}

#[test]
fn paths_are_found_as_in_the_system_and_only_inside_it() {
    let lab = Lab::new();
    let disk = lab.path("disk.img");
    for path in ["/etc/motd", "etc/again", "usr/../etc/./motd", "../../etc/motd"] {
        assert_eq!(text(rootvol().arg("cat").arg(&disk).arg(path)), "hello\n", "{path}");
    }
    let names = |path: &str| text(rootvol().arg("ls").arg(&disk).arg(path)).lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names("/run"), ["run/pipe", "run/socket"]);
    assert_eq!(names("etc/motd"), ["etc/motd"]);
    for (command, path, says) in
        [("ls", "nothing", "no such"), ("cat", "etc", "no regular file"), ("cat", "dev/null", "no regular file"), ("cat", "x\x1b", "x\\x1B")]
    {
        exits(rootvol().arg(command).arg(&disk).arg(path), 1, says);
    }
}

#[test]
fn partitions_are_named_by_number_name_and_label_and_a_path_that_exists_wins() {
    let lab = Lab::new();
    let disk = lab.path("disk.img").display().to_string();
    for selector in ["1", "boot things", "ESP"] {
        let said = text(rootvol().arg("ls").arg(format!("{disk}:{selector}")).arg("-R"));
        assert!(said.contains("EFI/BOOT/STUB.TXT"), "{selector}: {said}");
        assert_eq!(text(rootvol().arg("ls").arg(&disk).args(["-R", "--partition", selector])), said);
    }
    assert_eq!(text(rootvol().arg("ls").arg(format!("{disk}:the root"))), text(rootvol().arg("ls").arg(&disk)));
    for (selector, says) in [("3", "there are 1 \"boot things\" (esp, fat"), ("nobody", "no partition has the label"), ("99999999999", "no partition")] {
        exits(rootvol().arg("ls").arg(format!("{disk}:{selector}")), 1, says);
    }
    fs::copy(lab.path("tree.tar"), lab.path("disk.img:1")).unwrap();
    assert!(text(rootvol().arg("ls").arg(format!("{disk}:1"))).contains("usr-local"));
    exits(rootvol().arg("ls").arg(format!("{}:1", lab.path("tree.tar").display())), 1, "this is a tar");
}

/// R14.
#[test]
fn r14_extraction_stays_beneath_its_directory_and_gives_no_privileges_unasked() {
    let lab = Lab::new();
    let mut tar = tar::Builder::new(Vec::new());
    let outside = lab.path("outside");
    fs::create_dir(&outside).unwrap();
    add(&mut tar, "way", tar::EntryType::Symlink, outside.display().to_string().as_bytes(), &[]);
    add(&mut tar, "setuid", tar::EntryType::Regular, b"#!", &[]);
    add(&mut tar, "dir/file", tar::EntryType::Regular, b"new", &[]);
    add(&mut tar, "null", tar::EntryType::Char, b"", &[]);
    let mut bytes = tar.into_inner().unwrap();
    // The mode of the second entry, and its checksum.
    let at = bytes.windows(6).position(|name| name == b"setuid").unwrap();
    bytes[at + 100..at + 107].copy_from_slice(b"0006755");
    bytes[at + 148..at + 156].fill(b' ');
    let sum: u32 = bytes[at..at + 512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(lab.path("evil.tar"), bytes).unwrap();

    let out = lab.path("out");
    let said = text(rootvol().arg("extract").arg(lab.path("evil.tar")).arg("-o").arg(&out));
    assert!(said.contains("1 devices left out") && said.contains("1 files without their setuid"), "{said}");
    assert_eq!(fs::metadata(out.join("setuid")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(!out.join("null").exists());
    assert_eq!(fs::metadata(out.join("dir/file")).unwrap().mtime(), 1_700_000_001);
    exits(rootvol().arg("extract").arg(lab.path("evil.tar")).arg("-o").arg(&out), 1, "not empty");

    // Links that lie in wait in the target are replaced or refused, never followed.
    let trap = lab.path("trap");
    fs::create_dir(&trap).unwrap();
    std::os::unix::fs::symlink(outside.join("setuid"), trap.join("setuid")).unwrap();
    std::os::unix::fs::symlink(&outside, trap.join("dir")).unwrap();
    exits(rootvol().arg("extract").arg(lab.path("evil.tar")).arg("-o").arg(&trap).arg("--force"), 1, "cannot enter the directory");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing may be written through a link");
    fs::remove_file(trap.join("dir")).unwrap();
    run(rootvol().arg("extract").arg(lab.path("evil.tar")).arg("-o").arg(&trap).arg("--force"));
    assert!(fs::symlink_metadata(trap.join("setuid")).unwrap().is_file());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing may be written through a link");
}

#[test]
fn extraction_into_a_directory_gives_the_source_back() {
    let lab = Lab::new();
    let out = lab.path("out");
    let is_root = rustix::process::geteuid().is_root();
    let mut command = rootvol();
    command.arg("extract").arg(lab.path("disk.img")).arg("-o").arg(&out);
    if is_root {
        command.arg("--all");
    } else {
        skip("owners and devices are given by root only");
    }
    run(&mut command);
    let said = rootvol().arg("diff").arg(lab.path("disk.img")).arg(&out).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    if is_root {
        // A directory tells nothing of chattr's attributes and projects; where the host's filesystem sees holes is its own affair.
        let unexpected: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with(['+', '-', '~']) && !line.contains("attributes") && !line.contains("project") && !line.contains("holes"))
            .collect();
        assert!(unexpected.is_empty(), "{said}");
    }
    assert!(said.contains("0 added, 0 removed") || !is_root, "{said}");
    assert_eq!(fs::metadata(out.join("etc/again")).unwrap().ino(), fs::metadata(out.join("etc/motd")).unwrap().ino());
    assert!(fs::metadata(out.join("usr/sparse")).unwrap().blocks() < 9_000_000 / 512, "holes stay holes");
}

#[test]
fn diff_says_what_changed_and_which_blocks_a_snapshot_would_store() {
    let lab = Lab::new();
    fs::write(
        lab.path("next.toml"),
        "name = \"looking\"\n[boot]\nmode = \"none\"\n[disk]\nsize = \"96 MiB\"\n[[partition]]\ntype = \"esp\"\nlabel = \"boot things\"\nsize = \"34 MiB\"\nsource = \"esp.tar\"\n\
         [[partition]]\ntype = \"linux\"\nlabel = \"the root\"\nmount_point = \"/\"\nsource = \"tree.tar\"\n[partition.ext4]\nfeatures = [\"default\", \"project\"]\n\
         [[file]]\npath = \"/etc/motd\"\ncontent = \"hallo\\n\"\nmode = \"0600\"\n[[file]]\npath = \"/etc/new\"\ncontent = \"\"\n[[file]]\npath = \"/usr/empty\"\nremove = true\n",
    )
    .unwrap();
    run(rootvol().arg("build").arg("--recipe").arg(lab.path("next.toml")).arg("-o").arg(lab.path("next.vhd")).arg("--quiet"));
    let output = exits(rootvol().arg("diff").arg(lab.path("disk.img")).arg(lab.path("next.vhd")).arg("--json"), 1, "");
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
    let changes: Vec<(&str, &str)> =
        diff["entries"].as_array().unwrap().iter().map(|entry| (entry["path"].as_str().unwrap(), entry["change"].as_str().unwrap())).collect();
    assert!(
        changes.contains(&("etc/new", "added")) && changes.contains(&("usr/empty", "removed")) && changes.contains(&("etc/motd", "changed")),
        "{changes:?}"
    );
    let motd = diff["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "etc/motd").unwrap();
    let fields: Vec<&str> = motd["what"].as_array().unwrap().iter().map(|what| what["field"].as_str().unwrap()).collect();
    for field in ["mode", "mtime", "contents", "user.note", "links"] {
        assert!(fields.contains(&field), "{field} of {fields:?}");
    }
    let differing = diff["blocks"]["differing"].as_u64().unwrap();
    assert!(differing > 0 && differing < diff["blocks"]["data"].as_u64().unwrap(), "{}", diff["blocks"]);
    // The same of what was kept of the images.
    let records = exits(rootvol().arg("diff").arg(lab.path("disk.img.blocks.jsonl")).arg(lab.path("next.vhd.report.json")).arg("--json"), 1, "");
    let records: Value = serde_json::from_slice(&records.stdout).unwrap();
    assert_eq!(records["blocks"], diff["blocks"]);
    exits(rootvol().arg("diff").arg(lab.path("disk.img")).arg(lab.path("disk.img")), 0, "0 blocks of 512 KiB differ");
    exits(rootvol().arg("diff").arg(lab.path("tree.tar")).arg(lab.path("disk.img.blocks.jsonl")), 3, "nothing to compare");
    exits(rootvol().arg("diff").arg(lab.path("nothing")).arg(lab.path("disk.img")), 3, "nothing");
    exits(rootvol().args(["diff", "one"]), 2, "NEW");
}

#[test]
fn verify_names_the_file_whose_bytes_changed() {
    let lab = Lab::new();
    let (disk, report) = (lab.path("disk.img"), lab.path("disk.img.report.json"));
    exits(rootvol().arg("verify").arg(&disk).arg(&report).arg("--fs"), 0, "nothing is wrong");
    exits(rootvol().arg("verify").arg(&disk).arg(lab.path("disk.img.blocks.jsonl")), 0, "0 differ");
    let mut bytes = fs::read(&disk).unwrap();
    let noise: Vec<u8> = (0_u32..300_000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let at = bytes.windows(4096).position(|window| window == &noise[200_000 / 4096 * 4096..][..4096]).unwrap();
    bytes[at + 9] ^= 1;
    fs::write(lab.path("bent.img"), &bytes).unwrap();
    exits(rootvol().arg("verify").arg(lab.path("bent.img")).arg(&report), 1, "/usr/noise");
    // The filesystem itself is sound: contents have no checksums.
    exits(rootvol().arg("verify").arg(lab.path("bent.img")).arg("--fs"), 0, "nothing is wrong");
    // Without the block list beside it a report still tells sizes and counts.
    fs::copy(&report, lab.path("alone.report.json")).unwrap();
    exits(rootvol().arg("verify").arg(&disk).arg(lab.path("alone.report.json")), 0, "nothing is wrong");
    fs::write(lab.path("short.img"), &bytes[..bytes.len() - 512]).unwrap();
    exits(rootvol().arg("verify").arg(lab.path("short.img")).arg(&report), 1, "the disk's size");
    exits(rootvol().arg("verify").arg(&disk).arg(lab.path("image.toml")), 3, "neither a report nor a block list");
    exits(rootvol().arg("verify").arg(&disk), 2, "REPORT");
}

/// The bytes of the root's inode table entry of a path: the image with that inode's mode and checksum spoilt.
fn with_spoilt_inode(lab: &Lab, path: &str) -> PathBuf {
    let listed = listing(lab.path("disk.img"));
    let ino = listed[path]["ino"].as_u64().unwrap();
    let mut bytes = fs::read(lab.path("disk.img")).unwrap();
    let said: Value = serde_json::from_str(&text(rootvol().arg("inspect").arg(lab.path("disk.img")).arg("--json"))).unwrap();
    let base = usize::try_from(said["partitions"][1]["offset_bytes"].as_u64().unwrap()).unwrap();
    let block = usize::try_from(said["partitions"][1]["filesystem"]["block_bytes"].as_u64().unwrap()).unwrap();
    let superblock = base + 1024;
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let descriptors = base + if block == 1024 { 2048 } else { block };
    let table = usize::try_from(number(descriptors + 8)).unwrap();
    let inode_bytes = usize::from(u16::from_le_bytes(bytes[superblock + 88..superblock + 90].try_into().unwrap()));
    let at = base + table * block + (usize::try_from(ino).unwrap() - 1) * inode_bytes;
    bytes[at + 4] ^= 0x55;
    let spoilt = lab.path("spoilt.img");
    fs::write(&spoilt, bytes).unwrap();
    spoilt
}

/// R7, R27: nothing is lost silently, and what is sound is still given.
#[test]
fn r7_r27_a_damaged_file_among_good_ones_is_said_and_the_rest_is_given() {
    let lab = Lab::new();
    let spoilt = with_spoilt_inode(&lab, "usr/noise");
    exits(rootvol().arg("ls").arg(&spoilt).arg("-R"), 1, "usr/noise");
    let listed = exits(rootvol().arg("ls").arg(&spoilt).args(["-R", "--keep-going"]), 3, "usr/noise");
    let names = String::from_utf8(listed.stdout).unwrap();
    assert!(names.contains("etc/motd") && !names.contains("usr/noise"), "{names}");
    assert_eq!(text(rootvol().arg("cat").arg(&spoilt).arg("etc/motd")), "hello\n");
    exits(rootvol().arg("cat").arg(&spoilt).arg("usr/noise"), 1, "usr/noise");
    exits(rootvol().arg("verify").arg(&spoilt).arg("--fs"), 1, "usr/noise");
    exits(rootvol().arg("extract").arg(&spoilt).arg("-o").arg(lab.path("some.tar")), 1, "usr/noise");
    assert!(!lab.path("some.tar").exists());
    exits(rootvol().arg("extract").arg(&spoilt).arg("-o").arg(lab.path("some.tar")).arg("--keep-going"), 3, "usr/noise");
    assert_eq!(text(rootvol().arg("cat").arg(lab.path("some.tar")).arg("etc/motd")), "hello\n");
    exits(rootvol().arg("build").arg(&spoilt).arg("-o").arg(lab.path("new.img")), 1, "usr/noise");
    assert!(!lab.path("new.img").exists());
    exits(rootvol().arg("build").arg(&spoilt).arg("-o").arg(lab.path("new.img")).arg("--keep-going"), 3, "left out");
    exits(rootvol().arg("diff").arg(lab.path("disk.img")).arg(&spoilt).arg("--keep-going"), 3, "- usr/noise");
    let converted = text(rootvol().arg("convert").arg(&spoilt).arg(lab.path("spoilt.vhd")));
    assert!(converted.contains("not sound"), "{converted}");
}

#[test]
fn convert_keeps_every_byte_and_knows_what_nobody_reads() {
    let lab = Lab::new();
    let disk = lab.path("disk.img");
    let report = |path: &Path| -> Value { serde_json::from_slice(&fs::read(format!("{}.report.json", path.display())).unwrap()).unwrap() };
    for (name, from) in [("a.vhd", "disk.img"), ("b.img", "a.vhd"), ("c-fixed.vhd", "b.img"), ("d.raw", "c-fixed.vhd")] {
        let format: &[&str] = if name.starts_with('c') { &["--format", "vhd-fixed"] } else { &[] };
        run(rootvol().arg("convert").arg(lab.path(from)).arg(lab.path(name)).args(format).arg("--quiet"));
        run(rootvol().arg("verify").arg(lab.path(name)).arg(lab.path("disk.img.blocks.jsonl")));
        assert_eq!(report(&lab.path(name))["blocks"]["data"], report(&disk)["blocks"]["data"], "{name}");
        if let Some(mut judge) = judge("qemu-img") {
            let kind = if name.ends_with("vhd") { "vpc" } else { "raw" };
            run(judge.args(["compare", "-f", "raw", "-F", kind]).arg(&disk).arg(lab.path(name)));
        }
    }
    assert_eq!(fs::read(lab.path("d.raw")).unwrap(), fs::read(&disk).unwrap());
    // Its filesystems are sound, so blocks of zeros that are free are unused; of a disk that nobody knows they are zeros.
    assert!(report(&lab.path("a.vhd"))["blocks"]["unused"].as_u64().unwrap() > 0);
    let mut foreign = fs::read(&disk).unwrap();
    foreign[..1 << 20].fill(0);
    fs::write(lab.path("foreign.img"), &foreign).unwrap();
    run(rootvol().arg("convert").arg(lab.path("foreign.img")).arg(lab.path("foreign.vhd")).arg("--quiet"));
    assert_eq!(report(&lab.path("foreign.vhd"))["blocks"]["unused"], 0);
    // From a pipe, plain and compressed.
    for (name, compress) in [("piped.img", None), ("unpacked.img", Some("gzip"))] {
        let input = match compress {
            None => fs::read(&disk).unwrap(),
            Some(tool) => run(Command::new(tool).arg("-c").arg(&disk)).stdout,
        };
        let mut child = rootvol().args(["convert", "-"]).arg(lab.path(name)).arg("--quiet").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read(lab.path(name)).unwrap(), fs::read(&disk).unwrap(), "{name}");
    }
    exits(rootvol().arg("convert").arg(&disk).arg(&disk).arg("--force"), 1, "one of the inputs");
    exits(rootvol().arg("convert").arg(&disk).arg(lab.path("d.raw")), 1, "exists");
}

#[test]
fn a_disk_grows_and_its_backup_table_moves_to_the_end() {
    let lab = Lab::new();
    let large = lab.path("large.img");
    run(rootvol().arg("convert").arg(lab.path("disk.img")).arg(&large).args(["--resize", "256 MiB", "--quiet"]));
    assert_eq!(fs::metadata(&large).unwrap().len(), 256 << 20);
    let notes: Value = serde_json::from_str(&text(rootvol().arg("inspect").arg(&large).arg("--json"))).unwrap();
    assert_eq!((notes["disk"]["size_bytes"].as_u64(), notes["partitions"].as_array().unwrap().len()), (Some(256 << 20), 2));
    if let Some(mut judge) = judge("sgdisk") {
        let said = text(judge.arg("-v").arg(&large));
        assert!(said.contains("No problems found"), "{said}");
    }
    exits(rootvol().arg("diff").arg(lab.path("disk.img:2")).arg(format!("{}:2", large.display())), 0, "0 changed");
    let (old, new) = (fs::read(lab.path("disk.img")).unwrap(), fs::read(&large).unwrap());
    let inside = 1 << 20..old.len() - (1 << 20);
    assert_eq!(old[inside.clone()], new[inside], "partitions stay what they are");
    assert!(new[old.len() - 33 * 512..old.len() + 512].iter().all(|byte| *byte == 0), "the old backup is gone");
    exits(rootvol().arg("convert").arg(&large).arg(lab.path("small.img")).args(["--resize", "96 MiB"]), 1, "can grow only");
}

#[test]
fn an_image_of_an_image_is_the_same_and_keeps_its_identifiers() {
    let lab = Lab::new();
    let disk = lab.path("disk.img");
    run(rootvol().arg("build").arg(lab.path("tree.tar")).arg("-o").arg(lab.path("one.img")).args(["--name", "one", "--boot", "none", "--quiet"]));
    run(rootvol().arg("build").arg(lab.path("one.img")).arg("-o").arg(lab.path("two.vhd")).args(["--boot", "none", "--quiet"]));
    exits(rootvol().arg("diff").arg(lab.path("one.img:1")).arg(lab.path("two.vhd:1")), 0, "0 added, 0 removed, 0 changed");
    let inspect = |name: &str| -> Value { serde_json::from_str(&text(rootvol().arg("inspect").arg(lab.path(name)).arg("--json"))).unwrap() };
    let (one, two) = (inspect("one.img"), inspect("two.vhd"));
    assert_eq!(one["disk"]["guid"], two["disk"]["guid"]);
    assert_eq!(one["partitions"][0]["guid"], two["partitions"][0]["guid"]);
    assert_eq!(one["partitions"][0]["filesystem"]["uuid"], two["partitions"][0]["filesystem"]["uuid"]);
    assert_eq!(one["system"]["name"], "A system to look at");
    // With a seed it is another disk; with changes laid over it a changed one.
    run(rootvol().arg("build").arg(lab.path("one.img")).arg("-o").arg(lab.path("three.img")).args([
        "--boot",
        "none",
        "--quiet",
        "--seed",
        "01234567-89ab-cdef-0123-456789abcdef",
    ]));
    assert_ne!(one["partitions"][0]["filesystem"]["uuid"], inspect("three.img")["partitions"][0]["filesystem"]["uuid"]);
    fs::write(lab.path("changed.toml"), "[[partition]]\ntype = \"linux\"\nsource = \"disk.img\"\n[[file]]\npath = \"/etc/motd\"\ncontent = \"changed\\n\"\n")
        .unwrap();
    run(rootvol().arg("build").arg("--recipe").arg(lab.path("changed.toml")).arg("-o").arg(lab.path("changed.img")).arg("--quiet"));
    assert_eq!(text(rootvol().arg("cat").arg(lab.path("changed.img")).arg("etc/motd")), "changed\n");
    assert_eq!(text(rootvol().arg("cat").arg(lab.path("changed.img")).arg("etc/os-release")), text(rootvol().arg("cat").arg(&disk).arg("etc/os-release")));
    exits(rootvol().arg("build").arg(&disk).arg("-o").arg(&disk).arg("--force"), 1, "one of the inputs");
}
