//! The same input gives the same bytes: from a directory, a tar, a pipe; with one thread and with more; into a file and
//! into a pipe. The digests stand here: changing one is a decision, explained in the CHANGELOG.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, root, run};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn rootvol() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    command.env_remove("SOURCE_DATE_EPOCH");
    command
}

/// A small root filesystem as a tar: a file larger than a block, one with a hole's worth of zeros, names of all kinds.
fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, target: Option<&str>, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len().try_into().unwrap());
        match target {
            Some(target) => tar.append_link(&mut header, path, target).unwrap(),
            None => tar.append_data(&mut header, path, data).unwrap(),
        }
    };
    use tar::EntryType;
    let noise: Vec<u8> = (0_u32..3_000_000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for folder in ["./", "./etc/", "./usr/", "./usr/share/", "./empty/"] {
        add(folder, EntryType::Directory, 0o755, None, &[]);
    }
    add("./etc/hostname", EntryType::Regular, 0o644, None, b"web\n");
    add("./usr/share/noise", EntryType::Regular, 0o600, None, &noise);
    add("./usr/share/zeros", EntryType::Regular, 0o600, None, &vec![0; 2 << 20]);
    add("./usr/share/again", EntryType::Link, 0o600, Some("./usr/share/noise"), &[]);
    add("./etc/link", EntryType::Symlink, 0o777, Some("hostname"), &[]);
    for i in 0..300 {
        add(&format!("./usr/share/file-with-a-name-{i:04}"), EntryType::Regular, 0o644, None, format!("{i}\n").as_bytes());
    }
    tar.into_inner().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn build(source: &Path, out: &Path, more: &[&str]) -> String {
    run(rootvol().arg("build").arg(source).arg("-o").arg(out).args(["--boot", "none", "--quiet", "--force"]).args(more));
    digest(&fs::read(out).unwrap())
}

/// (format, options, SHA-256 of the file)
const PINNED: &[(&str, &[&str], &str)] = &[
    ("raw", &["--size", "64 MiB"], "c40f21d657bcec55ef100d740a88f8215bd022d09346621c9d85329560baba5f"),
    ("vhd", &["--size", "64 MiB"], "de444215c19fd73b9135c4003dfd8454f15fd2c747d87cb106616a6683a9d950"),
    ("vhd-fixed", &["--size", "64 MiB"], "6303baccda09312a371cb37b1c5dfb7450c4063eab208df1228efcd28e79bc50"),
    ("raw", &["--size", "64 MiB", "--name", "web"], "46fd5d960407a35046b561cf3894650f14aab5a52131380839d6eaca56137917"),
    ("raw", &["--size", "64 MiB", "--table", "mbr", "--name", "web"], "f6cd20e91ea054f3fc3032b5293d165d159619a89688889fba789835a72c02d0"),
    ("raw", &["--size", "64 MiB", "--table", "none", "--name", "web"], "e54cbb541844a9e619e59f26c3280771f37d3209763706d1993417af1b8a6f1e"),
    ("raw", &["--size", "64 MiB", "--sector-size", "4096", "--name", "web"], "f3e31826a4ac8012bdd86c1a656392aefbf4898ee190593fa85608b8c3f46e9f"),
    // As every version since 0.1 has laid them.
    ("raw", &["--size", "64 MiB", "--packing", "dense"], "620e928a9ccd1aa437279da11bdb71f2107b4c2e28e298c2ed11cc3f90e0e9ba"),
    ("vhd", &["--size", "64 MiB", "--packing", "dense"], "43ea6f649304dc80bfa5eec1a712dadf4c0d4b00b0dc714c90c3a133353c2591"),
    ("raw", &["--size", "64 MiB", "--packing", "dense", "--table", "mbr", "--name", "web"], "bce6e07e3f374bb80a42335d23d5a2aadb3890537cd89172c4d87e30903c67b3"),
];

#[test]
fn digests_of_whole_images_are_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("rootfs.tar");
    fs::write(&source, tar()).unwrap();
    let mut wrong = Vec::new();
    for (format, options, expected) in PINNED {
        let found = build(&source, &folder.path().join("disk"), &[&["--format", format], *options].concat());
        if found != *expected {
            wrong.push(format!("{format} {options:?}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "digests differ from the pinned ones:\n{}", wrong.join("\n"));
}

#[test]
fn every_way_to_the_same_image_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("rootfs.tar"), tar()).unwrap();
    for format in ["raw", "vhd", "vhd-fixed"] {
        let options: &[&str] = &["--format", format, "--size", "64 MiB"];
        let expected = build(&path("rootfs.tar"), &path("disk"), options);
        let threads = build(&path("rootfs.tar"), &path("disk"), &[options, &["--threads", "1"]].concat());
        assert_eq!(threads, expected, "{format}: one thread");
        let threads = build(&path("rootfs.tar"), &path("disk"), &[options, &["--threads", "3"]].concat());
        assert_eq!(threads, expected, "{format}: three threads");

        // From a pipe, into a pipe.
        let mut child = rootvol()
            .args(["build", "-", "-o", "-", "--boot", "none", "--quiet", "--size", "64 MiB", "--format", format])
            .env("TZ", "Asia/Tokyo")
            .env("LC_ALL", "tr_TR.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || stdin.write_all(&tar()).unwrap());
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        assert!(output.status.success());
        assert_eq!(digest(&output.stdout), expected, "{format}: pipe to pipe");
    }
    let expected = build(&path("rootfs.tar"), &path("disk"), &["--size", "64 MiB"]);
    for (packer, options) in [("gzip", "-9"), ("zstd", "-19"), ("xz", "-6")] {
        let Some(mut packer_command) = judge(packer) else { continue };
        let packed = path("rootfs.packed");
        fs::write(&packed, run(packer_command.args([options, "-c"]).arg(path("rootfs.tar"))).stdout).unwrap();
        assert_eq!(build(&packed, &path("disk"), &["--size", "64 MiB"]), expected, "{packer}");
    }
    if root() {
        fs::create_dir(path("tree")).unwrap();
        run(Command::new("tar").arg("-C").arg(path("tree")).arg("-xpf").arg(path("rootfs.tar")));
        // GNU tar makes some links after it has set the times of their folders.
        run(Command::new("find").arg(path("tree")).args(["-type", "d", "-exec", "touch", "-d", "@1700000000", "{}", "+"]));
        assert_eq!(build(&path("tree"), &path("disk"), &["--size", "64 MiB"]), expected, "directory");
    }
}
