//! Versions that stay close: a build with an earlier version as its parent, named by its report, its layout or its image; what is kept,
//! what is cleared, what is refused; and which files `diff` holds to be the cause.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, run, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BLOCK: usize = 512 * 1024;

fn rootvol() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    command.env_remove("SOURCE_DATE_EPOCH");
    command
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    (0..u32::try_from(len).unwrap()).map(|i| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(seed % 31).to_be_bytes()[0]).collect()
}

/// A folder with two versions of a tree, and of a disk with an ESP and a root the recipes, and the image of the first.
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        let many = |changed: u32| (0..60).map(|n| (format!("usr/lib/file-{n:02}"), noise(30_000, if n == 7 { changed } else { n }))).collect::<Vec<_>>();
        let mut one = many(7);
        one.push(("var/large".into(), noise(6_000_000, 99)));
        one.push(("etc/version".into(), b"1 of 2026-11-01\n".to_vec()));
        let mut two = many(1000);
        two.push(("etc/version".into(), b"2 of 2026-11-21\n".to_vec()));
        two.push(("usr/new".into(), noise(10_000, 5)));
        tar(&lab.path("one.tar"), &one);
        tar(&lab.path("two.tar"), &two);
        tar(&lab.path("esp.tar"), &[("EFI/BOOT/STUB.TXT".into(), b"not a loader\n".to_vec())]);
        for (name, source) in [("one", "one.tar"), ("two", "two.tar")] {
            lab.recipe(name, source, "");
        }
        lab.build("one", "one.img", &[]);
        lab
    }

    fn recipe(&self, name: &str, source: &str, more: &str) {
        let text = format!(
            "name = \"close\"\nversion = \"{name}\"\n{more}[boot]\nmode = \"none\"\n[disk]\nalign_size = \"1 MiB\"\n[[partition]]\ntype = \"esp\"\nsize = \"34 MiB\"\nsource = \"esp.tar\"\n\
             [[partition]]\ntype = \"linux\"\nmount_point = \"/\"\nfree = \"8 MiB\"\nsource = \"{source}\"\n"
        );
        fs::write(self.path(&format!("{name}.toml")), text).unwrap();
    }

    fn command(&self, recipe: &str, output: &str) -> Command {
        let mut command = rootvol();
        command.arg("build").arg("--recipe").arg(self.path(&format!("{recipe}.toml"))).arg("-o").arg(self.path(output));
        command
    }

    fn build(&self, recipe: &str, output: &str, options: &[&str]) -> String {
        text(self.command(recipe, output).args(options).current_dir(self.folder.path()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn report(&self, image: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(&format!("{image}.report.json"))).unwrap()).unwrap()
    }

    /// The states of all blocks.
    fn states(&self, image: &str) -> Vec<String> {
        let mut states = Vec::new();
        for line in fs::read_to_string(self.path(&format!("{image}.blocks.jsonl"))).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let count = line["count"].as_u64().unwrap_or(1);
            states.extend((0..count).map(|_| line["state"].as_str().unwrap().to_owned()));
        }
        states
    }
}

fn tar(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        header.set_size(bytes.len().try_into().unwrap());
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    fs::write(path, tar.into_inner().unwrap()).unwrap();
}

#[track_caller]
fn fails(command: &mut Command, code: i32, says: &str) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(says), "{command:?} did not say {says:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    output
}

/// What a version is known by.
fn identity(report: &Value) -> Value {
    let of = |partition: &Value| {
        let filesystem = &partition["filesystem"];
        serde_json::json!([partition["number"], partition["guid"], partition["label"], partition["offset_bytes"], partition["size_bytes"], filesystem["uuid"]])
    };
    let partitions: Vec<Value> = report["partitions"].as_array().unwrap().iter().map(of).collect();
    serde_json::json!([report["disk"], partitions])
}

/// Checks table and filesystems of a raw image.
fn judged(lab: &Lab, image: &str) {
    if let Some(mut sgdisk) = judge("sgdisk") {
        let said = text(sgdisk.arg("-v").arg(lab.path(image)));
        assert!(said.contains("No problems found"), "{said}");
    }
    let bytes = fs::read(lab.path(image)).unwrap();
    for (at, name, options) in [(0, "fsck.fat", "-n"), (1, "e2fsck", "-fn")] {
        let partition = &lab.report(image)["partitions"][at];
        let [offset, size] = ["offset_bytes", "size_bytes"].map(|key| usize::try_from(partition[key].as_u64().unwrap()).unwrap());
        let file = lab.path("judged");
        fs::write(&file, &bytes[offset..offset + size]).unwrap();
        if let Some(mut judge) = judge(name) {
            run(judge.arg(options).arg(&file));
        }
    }
}

#[test]
fn a_version_keeps_what_its_parent_is_known_by_and_clears_what_it_leaves() {
    let lab = Lab::new();
    let by_report = lab.build("two", "two.img", &["--parent", "one.img.report.json", "--name", "renamed"]);
    lab.build("two", "by-image.img", &["--parent", "one.img", "--name", "renamed"]);
    lab.build("two", "by-layout.img", &["--parent", "one.img.layout", "--name", "renamed"]);
    let bytes = fs::read(lab.path("two.img")).unwrap();
    assert!(bytes == fs::read(lab.path("by-image.img")).unwrap(), "from the image the same is known as from its layout");
    assert!(bytes == fs::read(lab.path("by-layout.img")).unwrap());
    assert_eq!(identity(&lab.report("two.img")), identity(&lab.report("one.img")));
    judged(&lab, "two.img");

    let (old, new) = (lab.states("one.img"), lab.states("two.img"));
    assert_eq!(old.len(), new.len());
    let left: Vec<usize> = (0..old.len()).filter(|at| old[*at] == "data" && new[*at] == "unused").collect();
    assert_eq!(left, [0; 0], "nothing that the parent held may be left out");
    let cleared: Vec<usize> = (0..old.len()).filter(|at| old[*at] == "data" && new[*at] == "zero").collect();
    assert!(cleared.len() >= 8, "{cleared:?}");
    assert!(cleared.iter().all(|at| bytes[at * BLOCK..].iter().take(BLOCK).all(|byte| *byte == 0)));
    assert!(by_report.contains("that the parent held are not in use any more, and are sent as zeros"), "{by_report}");

    // Without a parent it has identifiers of its own.
    lab.build("two", "alone.img", &["--name", "renamed"]);
    assert_ne!(identity(&lab.report("alone.img")), identity(&lab.report("one.img")));
    // A seed is somebody's wish for others.
    lab.build("two", "seeded.img", &["--parent", "one.img.report.json", "--seed", "6f3c9a52-0d4e-4b57-9c1e-2f8a6f0e7d11"]);
    assert_ne!(lab.report("seeded.img")["disk"]["guid"], lab.report("one.img")["disk"]["guid"]);
    // Placed afresh, it is known by the same.
    lab.build("two", "afresh.img", &["--parent", "one.img", "--repack", "--name", "renamed"]);
    assert_eq!(identity(&lab.report("afresh.img")), identity(&lab.report("one.img")));
    judged(&lab, "afresh.img");
}

#[test]
fn nothing_changed_is_nothing_differing_whatever_the_day() {
    let lab = Lab::new();
    run(lab
        .command("one", "again.img")
        .arg("--parent")
        .arg(lab.path("one.img.report.json"))
        .args(["--name", "renamed"])
        .env("SOURCE_DATE_EPOCH", "1763700000"));
    let notes = lab.report("again.img")["notes"].to_string();
    assert!(notes.contains("the build's own time is the parent's"), "{notes}");
    assert!(fs::read(lab.path("again.img")).unwrap() == fs::read(lab.path("one.img")).unwrap());
    run(rootvol().arg("diff").arg(lab.path("one.img")).arg(lab.path("again.img")));
    // The layout of a chain's second version is that of the first.
    let layouts = ["one.img.layout", "again.img.layout"].map(|name| fs::read(lab.path(name)).unwrap());
    assert!(layouts[0] == layouts[1]);
    // A VHD of it is a parent too, and so is what convert writes of it.
    run(rootvol().arg("convert").arg(lab.path("one.img")).arg(lab.path("one.vhd")).arg("--quiet"));
    for (parent, output) in [("one.vhd", "a.img"), ("one.vhd.layout", "b.img"), ("one.vhd.report.json", "c.img")] {
        lab.build("one", output, &["--parent", parent, "--name", "renamed"]);
        assert!(fs::read(lab.path(output)).unwrap() == fs::read(lab.path("one.img")).unwrap(), "{parent}");
    }
}

#[test]
fn a_recipe_names_its_parent() {
    let lab = Lab::new();
    lab.recipe("next", "two.tar", "parent = \"one.img.report.json\"\n");
    lab.build("next", "next.img", &["--name", "other"]);
    assert_eq!(identity(&lab.report("next.img")), identity(&lab.report("one.img")));
    let planned: Value = serde_json::from_str(&text(rootvol().args(["plan", "--json", "--name", "other", "--recipe"]).arg(lab.path("next.toml")))).unwrap();
    assert_eq!(identity(&planned), identity(&lab.report("one.img")));
    lab.recipe("afresh", "two.tar", "repack = true\n");
    fails(&mut lab.command("afresh", "x.img"), 1, "repack");
    lab.recipe("outside", "two.tar", "parent = \"../one.img\"\n");
    fails(&mut lab.command("outside", "x.img"), 1, "outside of the recipe's folder");
    fails(lab.command("two", "x.img").arg("--repack"), 2, "--parent");
}

#[test]
fn what_is_no_parent_is_refused_and_nothing_of_a_parent_is_overwritten() {
    let lab = Lab::new();
    lab.build("two", "two.img", &[]);
    let with = |parent: &str| {
        let mut command = lab.command("two", "x.img");
        command.arg("--parent").arg(lab.path(parent));
        command
    };
    fs::copy(lab.path("one.img.report.json"), lab.path("alone.report.json")).unwrap();
    fails(&mut with("alone.report.json"), 1, "alone.layout: the layout of the report is not there");
    fs::copy(lab.path("two.img.layout"), lab.path("alone.layout")).unwrap();
    fails(&mut with("alone.report.json"), 1, "another image than the report");
    fs::copy(lab.path("one.img.report.json"), lab.path("renamed.json")).unwrap();
    fails(&mut with("renamed.json"), 1, "name the layout itself");
    fails(&mut with("one.tar"), 1, "no report, no layout and no disk image");
    fails(&mut with("nothing"), 1, "cannot be opened");
    fails(with("one.img").args(["--size", "40 MiB"]), 1, "a new version cannot be smaller");

    let layout = fs::read(lab.path("one.img.layout")).unwrap();
    fs::write(lab.path("cut.layout"), &layout[..layout.len() / 2]).unwrap();
    fails(&mut with("cut.layout"), 1, "truncated");
    let text = text(Command::new("gzip").arg("-dc").stdin(fs::File::open(lab.path("one.img.layout")).unwrap()));
    for (from, to, says) in
        [(" etc\n", " ../etc\n", "no name"), ("0 d 2 ", "0 d 99 ", "the root was expected"), ("ext4 2 ", "ext4 1 ", "in a partition that has another")]
    {
        assert!(text.contains(from));
        fs::write(lab.path("bent.layout"), text.replacen(from, to, 1)).unwrap();
        fails(&mut with("bent.layout"), 1, says);
        fails(&mut with("bent.layout"), 1, "line ");
    }
    for victim in ["one.img", "one.img.report.json", "one.img.layout", "one.img.blocks.jsonl"] {
        let before = fs::read(lab.path(victim)).unwrap();
        let mut command = lab.command("two", victim);
        fails(command.arg("--force").arg("--parent").arg(lab.path("one.img.report.json")), 1, "the output is one of the inputs");
        assert!(fs::read(lab.path(victim)).unwrap() == before, "{victim}");
    }
    assert!(!lab.path("x.img").exists());
}

#[test]
fn of_a_damaged_parent_the_sound_part_is_known() {
    let lab = Lab::new();
    let mut bytes = fs::read(lab.path("one.img")).unwrap();
    let partition = lab.report("one.img")["partitions"][1].clone();
    let root = usize::try_from(partition["offset_bytes"].as_u64().unwrap()).unwrap();
    // The blocks of directories are found by a name in them.
    let at = root + bytes[root..].windows(7).position(|window| window == b"file-07").unwrap() / 4096 * 4096;
    bytes[at..at + 4096].fill(0xff);
    fs::write(lab.path("bent.img"), &bytes).unwrap();
    let said = lab.build("two", "two.img", &["--parent", "bent.img"]);
    assert!(said.contains("of what is damaged nothing is known"), "{said}");
    assert_eq!(identity(&lab.report("two.img")), identity(&lab.report("one.img")));
    judged(&lab, "two.img");
    // Without a superblock nothing of the filesystem is known.
    bytes[root..root + 4096].fill(0);
    fs::write(lab.path("bent.img"), &bytes).unwrap();
    lab.build("two", "other.img", &["--parent", "bent.img"]);
    judged(&lab, "other.img");
}

#[test]
fn diff_names_the_files_that_make_blocks_differ() {
    let lab = Lab::new();
    lab.build("two", "two.img", &["--parent", "one.img"]);
    let json = |old: &str, new: &str| -> Value {
        let output = rootvol().arg("diff").arg(lab.path(old)).arg(lab.path(new)).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let names = |diff: &Value| -> Vec<(String, bool)> {
        let name = |cause: &Value| cause["path"].as_str().or(cause["what"].as_str()).unwrap().to_owned();
        diff["causes"].as_array().unwrap().iter().map(|cause| (name(cause), cause["removed"].as_bool().unwrap())).collect()
    };
    let diff = json("one.img", "two.img");
    assert!(diff["blocks"]["zeroed"].as_u64().unwrap() > 0, "{}", diff["blocks"]);
    let found = names(&diff);
    for cause in [("/etc/version", false), ("/usr/lib/file-07", false), ("/usr/new", false), ("/var/large", true), ("inode table", false)] {
        assert!(found.contains(&(cause.0.to_owned(), cause.1)), "{cause:?} in {found:?}");
    }
    let blocks: Vec<u64> = diff["causes"].as_array().unwrap().iter().map(|cause| cause["blocks"].as_u64().unwrap()).collect();
    assert!(blocks.is_sorted_by(|a, b| a >= b), "{blocks:?}");
    // Of the records alone as well, less exactly.
    let records = json("one.img.report.json", "two.img.blocks.jsonl");
    assert_eq!(records["blocks"], diff["blocks"]);
    let found = names(&records);
    for cause in [("/etc/version", false), ("/usr/lib/file-07", false), ("/var/large", true)] {
        assert!(found.contains(&(cause.0.to_owned(), cause.1)), "{cause:?} in {found:?}");
    }
    assert!(records["notes"].to_string().contains("all files are named that lie in it"), "{}", records["notes"]);
    let shown = rootvol().arg("diff").arg(lab.path("one.img")).arg(lab.path("two.img")).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("blocks  partition 2: /var/large (no longer there)"), "{shown}");
    assert!(shown.contains("a new snapshot would store them"), "{shown}");
}
