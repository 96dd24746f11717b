//! The command: exit codes, companions, what it refuses, what it leaves behind when something goes wrong.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, root, run, text};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// A folder with a small tar in it.
fn folder_with_tar() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(3_000_000);
    tar.append_data(&mut header, "etc/noise", &(0_u32..3_000_000).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<u8>>()[..]).unwrap();
    let path = folder.path().join("rootfs.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    (folder, path)
}

/// Runs a command that has to fail with this code, say this, and leave the folder as it was.
#[track_caller]
fn fails(command: &mut Command, folder: &Path, code: i32, says: &str) -> Output {
    let list = || {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = list();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(says), "{command:?} did not say {says:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(list(), before, "{command:?} left something behind");
    output
}

#[test]
fn a_build_writes_its_companions_and_says_what_comes_next() {
    let (folder, tar) = folder_with_tar();
    let out = folder.path().join("data.vhd");
    let said = text(rootvol().arg("build").arg(&tar).arg("-o").arg(&out).args(["--bucket", "my-bucket", "--key", "images/data.vhd"]));
    assert!(said.contains("data disk"), "a tree without a kernel makes a data disk, visibly:\n{said}");
    assert!(said.contains("Next:"), "{said}");
    let blocks = fs::read_to_string(folder.path().join("data.vhd.blocks.jsonl")).unwrap();
    assert!(blocks.lines().next().unwrap().starts_with(r#"{"index":0,"state":"data","checksum":""#), "{blocks}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("data.vhd.report.json")).unwrap()).unwrap();
    assert_eq!(report["file"]["format"], "vhd");
    assert_eq!(report["disk"]["size_bytes"].as_u64().unwrap() % (1 << 30), 0, "EBS volumes are whole GiB");
    assert_eq!(report["file"]["size_bytes"].as_u64().unwrap(), fs::metadata(&out).unwrap().len());
    let states = ["data", "zero", "unused"].map(|state| report["blocks"][state].as_u64().unwrap());
    assert_eq!(states.iter().sum::<u64>(), report["blocks"]["total"].as_u64().unwrap());
    assert!(folder.path().join("data.vhd.import-snapshot.json").exists());

    let shown = text(rootvol().arg("inspect").arg(&out));
    assert!(shown.contains("ext4") && shown.contains("gpt"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&text(rootvol().arg("inspect").arg(&out).arg("--json"))).unwrap();
    assert_eq!(json["partitions"][0]["filesystem"]["kind"], "ext4");
}

#[test]
fn plan_prints_what_build_makes_and_writes_nothing() {
    let (folder, tar) = folder_with_tar();
    let planned = text(rootvol().arg("plan").arg(&tar).args(["--boot", "none", "--name", "x"]));
    assert!(planned.contains("ext4") && planned.contains("journal"), "{planned}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text(rootvol().arg("plan").arg(&tar).args(["--boot", "none", "--name", "x", "--json"]))).unwrap();
    let out = folder.path().join("x.raw");
    run(rootvol().arg("build").arg(&tar).arg("-o").arg(&out).args(["--boot", "none", "--name", "x"]));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("x.raw.report.json")).unwrap()).unwrap();
    assert_eq!(json["partitions"], report["partitions"]);
    assert_eq!(json["disk"], report["disk"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    fails(rootvol().args(["build"]), at, 2, "Usage");
    fails(rootvol().args(["build", "--no-such-option"]), at, 2, "--no-such-option");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--format", "qcow2"]), at, 2, "vhd-fixed");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--size", "8"]), at, 2, "8 GiB");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--threads", "0"]), at, 2, "threads");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--owner", "root"]), at, 2, "0:0");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--exclude", "["]), at, 2, "[");
    fails(rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("x")).args(["--owner", "0:0", "--map-ids", "0:0:9"]), at, 2, "one owner");
    fails(rootvol().args(["build", "-", "-", "-o"]).arg(at.join("x")), at, 2, "twice");
    let output = fails(rootvol().arg("build").arg(&tar).args(["-o", "-", "--device"]), at, 2, "--device");
    assert!(output.stdout.is_empty(), "an image went to standard output");
    fails(rootvol().arg("build").arg(&tar).args(["-o", "/dev/null", "--device", "--format", "vhd"]), at, 2, "raw");
}

/// What `build` refuses for the format, `plan` does too.
#[test]
fn plan_refuses_what_a_format_cannot_hold() {
    let (folder, tar) = folder_with_tar();
    let plan = |arguments: &[&str], says: &str| {
        fails(rootvol().arg("plan").arg(&tar).args(["--boot", "none", "--format", "vhd"]).args(arguments), folder.path(), 1, says);
    };
    plan(&["--size", "2041 GiB"], "raw");
    plan(&["--sector-size", "4096"], "512");
}

/// Nothing that a build writes takes the place of what it is made from, by whatever name it is reached.
#[test]
fn r29_no_output_replaces_an_input() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    let (hard, soft, source) = (at.join("hard.tar"), at.join("soft.tar"), at.join("source"));
    fs::hard_link(&tar, &hard).unwrap();
    std::os::unix::fs::symlink(&tar, &soft).unwrap();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("old.raw"), "the last image").unwrap();
    fs::write(at.join("image.toml"), "[[partition]]\ntype = \"linux\"\nsource = \"rootfs.tar\"\n").unwrap();
    let before = fs::read(&tar).unwrap();
    let build = |arguments: &[&str]| {
        let mut command = rootvol();
        command.current_dir(at).arg("build").args(arguments).arg("--force");
        command
    };
    for output in ["rootfs.tar", "hard.tar", "soft.tar"] {
        fails(&mut build(&["rootfs.tar", "-o", output]), at, 1, "inputs");
        fails(&mut build(&["rootfs.tar", "-o", "x.raw", "--report", output]), at, 1, "inputs");
        fails(&mut build(&["rootfs.tar", "-o", "x.raw", "--blocks", output]), at, 1, "inputs");
        fails(build(&["-", "-o", output]).stdin(fs::File::open(&tar).unwrap()), at, 1, "inputs");
        let recipe = ["--recipe", "image.toml", "-o", output];
        fails(&mut build(&recipe), at, 1, "inputs");
    }
    fails(&mut build(&["--recipe", "image.toml", "-o", "image.toml"]), at, 1, "inputs");
    fails(&mut build(&["source", "-o", "source/old.raw"]), at, 1, "source directory");
    let appended = fs::File::options().append(true).open(&tar).unwrap();
    fails(build(&["rootfs.tar", "-o", "-"]).stdout(appended), at, 1, "inputs");
    fails(&mut build(&["rootfs.tar", "-o", "x.raw", "--report", "./x.raw"]), at, 1, "two outputs");
    fails(&mut build(&["rootfs.tar", "-o", "x.raw", "--report", "r", "--blocks", "r"]), at, 1, "two outputs");
    assert!(fs::read(&tar).unwrap() == before, "the source was changed");
    run(&mut build(&["source", "-o", "source/old.raw", "--exclude", "old.raw"]));
}

/// Documents are for those who ask for an AMI; a name that is taken is said before the work.
#[test]
fn documents_are_made_where_they_are_asked_for() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    let build = |output: &str| {
        let mut command = rootvol();
        command.arg("build").arg(&tar).arg("-o").arg(at.join(output)).args(["--boot", "none"]);
        command
    };
    let said = text(&mut build("plain.raw"));
    assert!(!said.contains("withheld") && !said.contains("import"), "{said}");
    fs::write(at.join("x.raw.import-snapshot.json"), "taken").unwrap();
    fails(build("x.raw").args(["--bucket", "my-bucket", "--key", "x.raw"]), at, 1, "import-snapshot.json");
}

#[test]
fn an_inspected_file_that_is_no_image_is_an_error() {
    let (folder, tar) = folder_with_tar();
    fails(rootvol().arg("inspect").arg(&tar), folder.path(), 1, "looks like a tar");
}

#[test]
fn what_cannot_be_done_is_exit_code_1_with_a_reason_and_no_output() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    let build = |out: &Path| {
        let mut command = rootvol();
        command.arg("build").arg(&tar).arg("-o").arg(out);
        command
    };
    let out = at.join("x.raw");
    fails(rootvol().arg("build").arg(at.join("missing.tar")).arg("-o").arg(&out), at, 1, "missing.tar");
    fails(build(&at.join("no/such/folder/x.raw")).args(["--boot", "none"]), at, 1, "no/such/folder");
    fails(build(&out).args(["--boot", "none", "--size", "4 MiB"]), at, 1, "needed");
    fails(build(&out).args(["--boot", "uefi"]), at, 1, "kernel");
    fails(build(&tar).args(["--boot", "none", "--force"]), at, 1, "input");
    fails(build(&out).args(["--boot", "none", "--format", "vhd", "--size", "3 TiB"]), at, 1, "raw");
    fails(build(Path::new("/dev/null")).args(["--boot", "none"]), at, 1, "device");
    fs::write(at.join("truncated.tar"), &fs::read(&tar).unwrap()[..100_000]).unwrap();
    fails(rootvol().arg("build").arg(at.join("truncated.tar")).arg("-o").arg(&out), at, 1, "etc/noise");
    fs::write(at.join("garbage.tar"), vec![0x55; 100_000]).unwrap();
    fails(rootvol().arg("build").arg(at.join("garbage.tar")).arg("-o").arg(&out), at, 1, "garbage.tar");
}

#[test]
fn an_existing_output_needs_force_and_survives_a_failure() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    let out = at.join("x.raw");
    fs::write(&out, "precious").unwrap();
    let build = || {
        let mut command = rootvol();
        command.arg("build").arg(&tar).arg("-o").arg(&out).args(["--boot", "none"]);
        command
    };
    fails(&mut build(), at, 1, "--force");
    fails(build().args(["--force", "--size", "2 MiB"]), at, 1, "needed");
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    run(build().arg("--force"));
    assert!(fs::metadata(&out).unwrap().len() > 1 << 20);
    // A link is not written through.
    #[cfg(unix)]
    {
        let target = at.join("target");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, at.join("link.raw")).unwrap();
        let _ = rootvol().arg("build").arg(&tar).arg("-o").arg(at.join("link.raw")).args(["--boot", "none", "--force"]).output().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    if !root() {
        return;
    }
    let (folder, tar) = folder_with_tar();
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small));
    let output = rootvol().arg("build").arg(&tar).arg("-o").arg(small.join("x.raw")).args(["--boot", "none"]).output().unwrap();
    let left = fs::read_dir(&small).unwrap().count();
    run(Command::new("umount").arg(&small));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && said.contains("x.raw"), "{said}");
    assert_eq!(left, 0, "something was left on the full disk");
    let output = rootvol().arg("build").arg(&tar).args(["-o", "-", "--boot", "none"]).stdout(fs::File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The Nth call of each kind fails, for every N until a run in which it is not reached: an error every time, and never a
/// file under the final name that is not whole.
#[test]
fn r7_r29_every_failing_system_call_is_an_error_or_harmless() {
    let (folder, tar) = folder_with_tar();
    let at = folder.path();
    let out = at.join("x.raw");
    let build = |command: &mut Command| {
        command.arg(env!("CARGO_BIN_EXE_rootvol")).arg("build").arg(&tar).arg("-o").arg(&out).args(["--boot", "none", "--threads", "1", "--quiet"]);
    };
    let mut whole = Command::new("env");
    build(&mut whole);
    run(&mut whole);
    let expected = fs::read(&out).unwrap();
    fs::remove_file(&out).unwrap();
    for (call, error) in [
        ("write", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("fsync", "EIO"),
        ("rename", "EACCES"),
        ("renameat", "EACCES"),
        ("renameat2", "EACCES"),
        ("ftruncate", "EFBIG"),
        ("pread64", "EIO"),
    ] {
        let mut n = 1;
        loop {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path != tar {
                    fs::remove_file(path).unwrap();
                }
            }
            let Some(mut strace) = judge("strace") else { return };
            strace.args(["-qq", "-f", "-e", &format!("trace={call}"), "-o", "/dev/null", "-e", &format!("inject={call}:error={error}:when={n}")]);
            build(&mut strace);
            let output = strace.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                assert!(fs::read(&out).unwrap() == expected, "{call} failed as number {n}, and the image is wrong without a word");
                break;
            }
            if said.contains("error while loading shared libraries") {
                // The call belonged to the dynamic linker: the command had not begun.
                n += 1;
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{call} {n}: {said}");
            assert!(!said.contains("panicked"), "{call} {n}: {said}");
            // Once it has its name it is whole; what may fail after that is the folder's own fsync.
            assert!(!out.exists() || fs::read(&out).unwrap() == expected, "{call} failed as number {n}, and half an output has the name: {said}");
            let left: Vec<_> = fs::read_dir(at)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| ![".json", ".jsonl", ".layout"].iter().any(|companion| name.to_string_lossy().ends_with(companion)))
                .collect();
            assert_eq!(left.len(), if out.exists() { 2 } else { 1 }, "{call} {n} left {left:?}");
            n += if n < 12 { 1 } else { 7 };
        }
    }
}

#[test]
fn a_signal_cancels_with_its_exit_code_and_leaves_nothing() {
    let (folder, _) = folder_with_tar();
    let at = folder.path();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // A source that never ends: the signal comes while it is read.
        let mut child =
            rootvol().args(["build", "-", "--boot", "none", "-o"]).arg(at.join("x.raw")).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&[0; 100]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal} while reading");
        drop(stdin);

        // A large disk: the signal comes while it is written.
        let big = at.join("big");
        fs::create_dir_all(&big).unwrap();
        let noise: Vec<u8> = (0_u32..8 << 20).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[1] | 1).collect();
        for i in 0..60 {
            fs::write(big.join(format!("{i}")), &noise).unwrap();
        }
        let mut child = rootvol()
            .arg("build")
            .arg(&big)
            .args(["--boot", "none", "--threads", "1", "-o"])
            .arg(at.join("x.raw"))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let temporary = || fs::read_dir(at).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".tmp"));
        while !temporary() && start.elapsed() < Duration::from_secs(20) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        run(Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
        let code_found = child.wait().unwrap().code();
        fs::remove_dir_all(&big).unwrap();
        assert_eq!(code_found, Some(code), "{signal} while writing");
        let left: Vec<_> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["rootfs.tar"], "{signal}");
    }
}

/// A reader that stopped reading holds no signal up: on a pipe there is nothing to clean.
#[test]
fn a_signal_ends_a_build_into_a_pipe_that_nobody_reads() {
    let (_folder, tar) = folder_with_tar();
    let mut child = rootvol().arg("build").arg(&tar).args(["-o", "-", "--boot", "none"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    run(Command::new("kill").arg("-TERM").arg(child.id().to_string()));
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "the signal was held up by the pipe");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_closed_pipe_is_an_error_for_an_image() {
    let (_folder, tar) = folder_with_tar();
    let mut child = rootvol().arg("build").arg(&tar).args(["-o", "-", "--boot", "none"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && said.contains("pipe"), "{said}");
}

#[test]
fn companions_go_where_they_are_sent() {
    let (folder, tar) = folder_with_tar();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("documents")).unwrap();
    let output = run(rootvol()
        .arg("build")
        .arg(&tar)
        .args(["-o", "-", "--boot", "none", "--bucket", "my-bucket", "--key", "x.raw"])
        .arg("--report")
        .arg(at("r.json"))
        .arg("--blocks")
        .arg(at("b.jsonl"))
        .arg("--manifests")
        .arg(at("documents")));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(at("r.json")).unwrap()).unwrap();
    assert_eq!(report["file"]["size_bytes"].as_u64().unwrap(), u64::try_from(output.stdout.len()).unwrap());
    assert!(at("b.jsonl").exists());
    assert!(fs::read_dir(at("documents")).unwrap().count() >= 1);
}
