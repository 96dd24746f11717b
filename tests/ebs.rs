//! Snapshots by the EBS direct API: the plan of an image that was built is executed, with boto3 as the client, against a
//! strict server (tests/tools/ebs_server.py), and what the snapshot holds is compared with the disk, byte for byte.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, run, text};
use rootvol::manifest::EbsSnapshotPlan;
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// The server, until it is dropped.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Option<Self> {
        judge("python3")?;
        let mut child = common::tool("ebs_server.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Some(Self { child, endpoint: format!("http://127.0.0.1:{}", port.trim()) })
    }

    fn execute(&self, plan: &Path, image: &Path) -> Option<Command> {
        let mut command = client()?;
        command.args(["execute", &self.endpoint]).arg(plan).arg(image).arg(beside(image, "blocks.jsonl"));
        Some(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client, in the Python environment of the lab.
fn client() -> Option<Command> {
    let mut command = Command::new(lab("venv/bin/python")?);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/ebs_client.py"));
    Some(command)
}

fn beside(image: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", image.display()))
}

/// Bytes that no other file has, in blocks of their own.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Three versions of a tree: the second has one file changed, one deleted and one added; the third is small again.
fn versions(folder: &Path) -> [PathBuf; 3] {
    [1, 2, 3].map(|version| {
        let tree = folder.join(format!("v{version}"));
        fs::create_dir_all(tree.join("opt")).unwrap();
        let file = |name: &str, seed: u32, len: usize| fs::write(tree.join(name), noise(seed, len)).unwrap();
        file("opt/a-kept", 1, 3_000_000);
        file("opt/b-changed", 1 + version, 1_500_000);
        if version == 1 {
            file("opt/c-deleted", 7, 4_000_000);
        }
        if version == 2 {
            file("opt/d-added", 8, 2_000_000);
            fs::write(tree.join("opt/e-zeros"), vec![0; 2_000_000]).unwrap();
        }
        tree
    })
}

/// A disk of `size` from the tree, in the format that the name says.
fn build(tree: &Path, image: &Path, size: &str) {
    run(rootvol().arg("build").arg(tree).args(["--boot", "none", "--owner", "0:0", "--name", "data", "--size", size, "--quiet", "-o"]).arg(image));
}

/// The plan, written into a file; and what was said on standard error.
fn plan(image: &Path, options: &[&str]) -> (PathBuf, String) {
    let output = run(rootvol().args(["manifest", "ebs-snapshot"]).arg(beside(image, "report.json")).args(options));
    let path = beside(image, "ebs-snapshot.json");
    fs::write(&path, &output.stdout).unwrap();
    (path, String::from_utf8(output.stderr).unwrap())
}

/// Executes; gives the snapshot, how many blocks were put, and how many it holds.
fn executed(command: &mut Command) -> (String, u64, u64) {
    let said: Value = serde_json::from_str(&text(command)).unwrap();
    (said["SnapshotId"].as_str().unwrap().to_owned(), said["put"].as_u64().unwrap(), said["held"].as_u64().unwrap())
}

fn fails(command: &mut Command, code: i32, says: &str) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(said.contains(says), "{command:?} did not say {says:?}: {said}");
    output
}

#[test]
fn a_snapshot_by_the_plan_is_the_disk_byte_for_byte() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [tree, ..] = versions(folder.path());
    // A short last block; a volume of two GiB.
    // One disk in another container is one request, and so the same snapshot, unless the attempt is another one.
    for (name, size, attempt) in [("raw.img", "37.25 MiB", "1"), ("dynamic.vhd", "37.25 MiB", "2"), ("large.vhd", "1025 MiB", "1")] {
        let image = folder.path().join(name);
        build(&tree, &image, size);
        let (path, said) = plan(&image, &["--tag", "team=web", "--attempt", attempt]);
        assert_eq!(said, "");
        let Some(mut execute) = server.execute(&path, &image) else { return };
        let (_, put, held) = executed(&mut execute);
        let report: Value = serde_json::from_slice(&fs::read(beside(&image, "report.json")).unwrap()).unwrap();
        assert_eq!(put, report["blocks"]["data"].as_u64().unwrap() + report["blocks"]["zero"].as_u64().unwrap());
        assert_eq!(held, put);
        let plan: EbsSnapshotPlan = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(plan.complete_snapshot.checksum, report["blocks"]["linear_checksum"], "the full plan's aggregate is the report's");
        assert_eq!(plan.start_snapshot.volume_size, if name.starts_with("large") { 2 } else { 1 });
    }
}

#[test]
fn plans_on_top_of_each_other_put_what_differs_and_leave_nothing_behind() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let trees = versions(folder.path());
    // The second disk is larger and the third smaller than its parent, by whole GiB.
    let sizes = ["40 MiB", "1100 MiB", "36.5 MiB"];
    let mut parent: Option<(PathBuf, String)> = None;
    for (number, (tree, size)) in trees.iter().zip(sizes).enumerate() {
        let image = folder.path().join(format!("v{}.{}", number + 1, if number == 1 { "img" } else { "vhd" }));
        build(tree, &image, size);
        let report = parent.as_ref().map(|(image, snapshot)| (beside(image, "report.json").display().to_string(), snapshot.clone()));
        let options = report.as_ref().map_or(vec![], |(report, snapshot)| vec!["--parent", report, "--parent-snapshot", snapshot]);
        let (path, said) = plan(&image, &options);
        assert_eq!(said.contains("never smaller than its parent"), number == 2, "{said}");
        let Some(mut execute) = server.execute(&path, &image) else { return };
        let (snapshot, put, held) = executed(&mut execute);
        assert!(number == 0 || put < held, "version {}: {put} of {held} blocks", number + 1);
        let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(number == 0 || document["StartSnapshot"]["ParentSnapshotId"] == snapshot_of(&parent));
        if number == 2 {
            assert_eq!(document["StartSnapshot"]["VolumeSize"], 2, "as large as its parent");
        }
        parent = Some((image, snapshot));
    }
    // The same image again: nothing differs. Its snapshot is larger than it is, which no report says.
    let (image, snapshot) = parent.unwrap();
    let list = beside(&image, "blocks.jsonl").display().to_string();
    let (path, _) = plan(&image, &["--parent", &list, "--parent-snapshot", &snapshot, "--volume-size", "2"]);
    let Some(mut execute) = server.execute(&path, &image) else { return };
    assert_eq!(executed(&mut execute).1, 0);
}

fn snapshot_of(parent: &Option<(PathBuf, String)>) -> &str {
    parent.as_ref().map_or("", |(_, snapshot)| snapshot)
}

#[test]
fn zeros_can_be_left_out_only_where_nothing_is_encrypted() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [v1, v2, _] = versions(folder.path());
    let (old, new) = (folder.path().join("old.vhd"), folder.path().join("new.vhd"));
    build(&v1, &old, "40 MiB");
    build(&v2, &new, "40 MiB");
    let (sparse, said) = plan(&old, &["--omit-zero"]);
    assert!(said.contains("random bytes") && said.contains("get-ebs-encryption-by-default"), "{said}");
    let document: Value = serde_json::from_slice(&fs::read(&sparse).unwrap()).unwrap();
    assert!(document["Notes"][0].as_str().unwrap().contains("random bytes"), "the document says so as well");
    assert!(document["PutSnapshotBlock"].as_array().unwrap().iter().all(|line| line["State"] == "data"));
    let Some(mut execute) = server.execute(&sparse, &old) else { return };
    let (parent, ..) = executed(&mut execute);
    // On top of it: blocks that held data and are zero now have to be put, left out or not.
    let report = beside(&old, "report.json").display().to_string();
    for options in [&["--parent-omitted-zero"][..], &["--omit-zero", "--parent-omitted-zero"]] {
        let (path, _) = plan(&new, &[&["--parent", &report, "--parent-snapshot", &parent], options].concat());
        executed(&mut server.execute(&path, &new).unwrap());
    }
    // Where the account encrypts, the full plan is right, and one without zeros is not.
    let Some(server) = Server::start() else { return };
    let (full, _) = plan(&old, &[]);
    executed(server.execute(&full, &old).unwrap().arg("--encrypted"));
    let (sparse, _) = plan(&old, &["--omit-zero"]);
    fails(server.execute(&sparse, &old).unwrap().arg("--encrypted"), 1, "of the volume is not that of the image");
}

#[test]
fn the_server_refuses_every_spoiled_plan() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [tree, ..] = versions(folder.path());
    let image = folder.path().join("data.vhd");
    build(&tree, &image, "40 MiB");
    let (path, _) = plan(&image, &[]);
    let Some(mut client) = client() else { return };
    let said = text(client.args(["refusals", &server.endpoint]).arg(&path).arg(&image));
    assert!(said.lines().count() > 50, "{said}");
}

#[test]
fn moto_takes_the_requests_too() {
    let folder = tempfile::tempdir().unwrap();
    let [tree, ..] = versions(folder.path());
    let image = folder.path().join("data.img");
    build(&tree, &image, "40 MiB");
    let (path, _) = plan(&image, &["--encrypted", "--kms-key-arn", "arn:aws:kms:us-east-1:012345678910:key/abcd", "--description", "größe"]);
    let Some(mut client) = client() else { return };
    run(client.arg("moto").arg(&path).arg(&image));
}

#[test]
fn block_lists_that_do_not_fit_and_wrong_options_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [v1, v2, _] = versions(folder.path());
    let (old, new) = (folder.path().join("old.img"), folder.path().join("new.img"));
    build(&v1, &old, "40 MiB");
    build(&v2, &new, "40 MiB");
    let [report, blocks] = ["report.json", "blocks.jsonl"].map(|suffix| beside(&old, suffix));
    let [other, others] = ["report.json", "blocks.jsonl"].map(|suffix| beside(&new, suffix));
    let manifest = |report: &Path| {
        let mut command = rootvol();
        command.args(["manifest", "ebs-snapshot"]).arg(report);
        command
    };
    fails(manifest(&report).arg("--blocks").arg(&others), 1, "not that of the image in the report");
    fails(&mut manifest(&blocks), 1, "a block list alone");
    fails(manifest(&report).arg("--blocks").arg(folder.path().join("none")), 1, "cannot open");
    fails(manifest(&report).arg("--parent").arg(&other), 2, "--parent-snapshot");
    fails(manifest(&report).args(["--parent-snapshot", "snap-0a"]), 2, "--parent");
    fails(manifest(&report).arg("--parent").arg(&other).args(["--parent-snapshot", "ami-0a"]), 1, "form like snap-");
    fails(manifest(&report).arg("--parent").arg(&other).args(["--parent-snapshot", "snap-0a", "--encrypted"]), 2, "cannot be used with");
    fails(manifest(&report).args(["--tag", "x"]), 2, "team=web");
    fails(manifest(&report).args(["--timeout", "5"]), 1, "10 to 4320");
    fs::rename(&others, folder.path().join("elsewhere.jsonl")).unwrap();
    fails(&mut manifest(&other), 2, "--blocks");
    fs::rename(&blocks, &others).unwrap();
    fails(
        manifest(&report).arg("--blocks").arg(folder.path().join("elsewhere.jsonl")).arg("--parent").arg(&other).args(["--parent-snapshot", "snap-0a"]),
        1,
        "not that of the image",
    );
    fs::write(&blocks, "{\"index\":0,\"count\":99,\"state\":\"unused\"}\n").unwrap();
    fails(&mut manifest(&report), 1, "not that of the image");
}
