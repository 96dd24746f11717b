//! What the tests that ask other programs share.
#![allow(dead_code, unreachable_pub, clippy::print_stderr, clippy::unwrap_used, reason = "each test uses its part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The judge `name`, or a visible skip; in CI a missing judge is a failure.
pub fn judge(name: &str) -> Option<Command> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').chain(["/usr/sbin", "/sbin"]).map(|folder| Path::new(folder).join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found.map(Command::new)
}

/// Says visibly that something is not tested; in CI that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and in CI nothing may be skipped");
    // Written past the test harness, which shows what a passing test prints to nobody.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Whether this runs as root, or a visible skip.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("this needs root");
    }
    root
}

/// A file of the lab (the scripts `make-*.sh` of `tests/tools` make them), or a visible skip.
pub fn lab(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ROOTVOL_LAB").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"), PathBuf::from);
    let file = folder.join(name);
    if file.exists() {
        return Some(file);
    }
    let script = if name.starts_with("growth") { "make-growth-tools.sh" } else { "make-debian-tree.sh" };
    skip(&format!("{} is not there; tests/tools/{script} makes it", file.display()));
    None
}

/// A script of `tests/tools`.
pub fn tool(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name))
}

/// Runs a command that has to succeed.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a command that has to succeed and gives what it printed.
#[track_caller]
pub fn text(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("text was expected")
}
