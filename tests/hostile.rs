//! The commands on images that lie: every one ends, in little memory, with an exit code that it has, and never panics.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a command may take on inputs up to 64 MiB.
const TIME: Duration = Duration::from_secs(10);
/// Address space, of which memory is a part; threads' stacks and the allocator's arenas take much of it.
const ADDRESS_SPACE: &str = "1073741824";

/// A small generator (xorshift), so that every run does the same.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }
}

/// An image with a GPT, an ESP and a root, made by ourselves.
fn sample(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::create_dir_all(tree.join("boot/efi/EFI")).unwrap();
    for number in 0..300 {
        fs::write(tree.join(format!("etc/a file with a name of some length {number}")), vec![b'x'; number * 37]).unwrap();
    }
    std::os::unix::fs::symlink("etc/passwd", tree.join("link")).unwrap();
    fs::write(tree.join("etc/fstab"), "LABEL=ESP /boot/efi vfat umask=0077 0 2\n").unwrap();
    let recipe = "name = \"hostile\"\n[boot]\nmode = \"none\"\n[disk]\nsize = \"48 MiB\"\n[[partition]]\ntype = \"esp\"\nsize = \"34 MiB\"\nsource = \"tree/etc\"\n\
                  [[partition]]\ntype = \"root-x86-64\"\nsource = \"tree\"\nowner = \"0:0\"\n";
    fs::write(folder.join("image.toml"), recipe).unwrap();
    let image = folder.join("good.img");
    run(Command::new(env!("CARGO_BIN_EXE_rootvol")).arg("build").arg("--recipe").arg(folder.join("image.toml")).arg("-o").arg(&image).arg("--quiet"));
    image
}

fn survives(command: &[&str], folder: &Path, what: &str) {
    let start = Instant::now();
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--as={ADDRESS_SPACE}")).arg(env!("CARGO_BIN_EXE_rootvol")).args(command).current_dir(folder);
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let took = start.elapsed();
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{what}: {command:?}: {}: {said}", output.status);
    assert!(!said.contains("panicked") && !said.contains("memory allocation"), "{what}: {command:?}: {said}");
    assert!(output.status.code() == Some(0) || !said.is_empty() || !output.stdout.is_empty(), "{what}: {command:?} failed and said nothing");
    assert!(took < TIME, "{what}: {command:?} took {took:?}");
}

/// Every command on one damaged image.
fn survive_all(folder: &Path, what: &str) {
    for command in [
        &["inspect", "bad"][..],
        &["ls", "bad", "-R", "--hash", "--json", "--keep-going", "--threads", "2"],
        &["extract", "bad", "-o", "bad.tar", "--force", "--keep-going", "--quiet"],
        &["verify", "bad", "good.img.report.json", "--fs", "--threads", "2"],
        &["convert", "bad", "bad.vhd", "--force", "--quiet", "--threads", "2"],
        &["plan", "--recipe", "image.toml", "--parent", "bad"],
    ] {
        survives(command, folder, what);
    }
}

#[test]
fn r1_r2_r3_commands_on_cut_images_end_with_an_exit_code_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(sample(folder.path())).unwrap();
    let n = bytes.len();
    for len in [0, 1, 511, 512, 513, n / 4, n / 2, n - 512, n - 1] {
        fs::write(folder.path().join("bad"), &bytes[..len]).unwrap();
        survive_all(folder.path(), &format!("cut at {len}"));
    }
}

#[test]
fn r1_r2_r3_commands_on_changed_images_end_with_an_exit_code_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(sample(folder.path())).unwrap();
    // Where a byte matters: what is not zero.
    let used: Vec<usize> = (0..bytes.len()).step_by(64).filter(|at| bytes[*at..*at + 64].iter().any(|byte| *byte != 0)).collect();
    let mut seeded = Seeded(0x5eed_0001);
    for round in 0..40 {
        let mut bad = bytes.clone();
        for _ in 0..=round % 8 {
            let at = used[seeded.next(used.len())] + seeded.next(64);
            bad[at] ^= u8::try_from(1 + seeded.next(255)).unwrap();
        }
        fs::write(folder.path().join("bad"), &bad).unwrap();
        survive_all(folder.path(), &format!("round {round}"));
    }
}
