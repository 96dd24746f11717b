//! The scripts of whole routes, read by bash and shellcheck, and run against a stand-in for the aws command that holds every call to
//! the service model and plays success and failure.

use crate::cases::{ami, report};
use crate::common::{self, judge};
use crate::judges::{botocore, python_tool};
use rootvol::manifest::{AmiChoices, Route, Script};
use rootvol::report::Report;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const IMAGE: &str = "it's $HOME, a \"web\".vhd";
const BYTES: u64 = 4096;

fn image_report() -> Report {
    report(&json!({ "file": { "format": "raw", "size_bytes": BYTES } }))
}

/// Everything that a script can do after an import.
fn choices() -> AmiChoices {
    ami(&json!({
        "key": "a b/it's $(x).vhd", "description": "REQUEST\\ $(x) 'y'", "tags": { "team's": "a, b=$HOME" }, "deprecate_at": "2030-01-01",
        "launch_permission": { "users": ["123456789012"] }, "deregistration_protection": "enabled-without-cooldown"
    }))
}

fn script(route: Route) -> Script {
    image_report().script(&choices(), route, Path::new(IMAGE)).unwrap()
}

/// A folder with the image, the script, and the stand-ins in `bin`.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    /// `None` where the tools are missing, which is said.
    fn new(script: &str, play: &Value) -> Option<Self> {
        botocore()?;
        judge("bash")?;
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        let path = stage.folder.path();
        fs::create_dir(path.join("bin")).unwrap();
        fs::create_dir(path.join("fake")).unwrap();
        let python = python_tool("python3")?;
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/fake_aws.py");
        for (name, option) in [("aws", ""), ("coldsnap", "--coldsnap ")] {
            let file = path.join("bin").join(name);
            fs::write(&file, format!("#!/bin/sh\nexec '{}' '{}' {option}\"$@\"\n", python.get_program().to_str().unwrap(), tool.display())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rootvol"), path.join("bin/rootvol")).unwrap();
        fs::write(path.join(IMAGE), [0; 4096]).unwrap();
        fs::write(path.join("run.sh"), script).unwrap();
        fs::write(path.join("fake/play.json"), play.to_string()).unwrap();
        Some(stage)
    }

    fn command(&self) -> Command {
        let path = format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.arg("run.sh").current_dir(self.folder.path()).env("PATH", path).env("FAKE_AWS", self.folder.path().join("fake")).env("POLL", "0");
        bash.env_remove("KEEP").env_remove("REPLACE").env_remove("HOURS");
        bash
    }

    fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    /// What AWS holds now.
    fn state(&self) -> Value {
        fs::read_to_string(self.folder.path().join("fake/state.json")).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// The calls in order, each once where it was repeated.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("fake/calls")).unwrap_or_default();
        let mut calls: Vec<String> = text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
        calls.dedup();
        calls
    }

    /// The request of the last such call.
    fn request(&self, operation: &str) -> Value {
        let text = fs::read_to_string(self.folder.path().join("fake/calls")).unwrap();
        let line = text.lines().rev().find_map(|line| line.strip_prefix(&format!("{operation}\t"))).unwrap();
        serde_json::from_str(line).unwrap()
    }
}

const ROUTES: [Route; 3] = [Route::ImportImage, Route::ImportSnapshot, Route::Ebs];

#[test]
fn scripts_are_read_by_bash_and_shellcheck() {
    let folder = tempfile::tempdir().unwrap();
    for route in ROUTES {
        let data = report(&json!({ "boot": null, "file": { "format": "vhd", "size_bytes": BYTES } }));
        let bare = ami(&json!({ "disk": if route == Route::ImportImage { json!([{ "format": "VHD", "key": "d" }]) } else { json!([]) } }));
        let scripts = [Some(script(route)), (route != Route::ImportImage).then(|| data.script(&bare, route, Path::new(IMAGE)).unwrap())];
        for made in scripts.into_iter().flatten() {
            assert_eq!(serde_json::from_value::<Script>(serde_json::to_value(&made).unwrap()).unwrap(), made);
            let text = made.to_text();
            assert!(text.len() < 20_000 && !text.contains("Signature"), "{text}");
            let file = folder.path().join(format!("{}.sh", route.name()));
            fs::write(&file, text).unwrap();
            // What stands in single quotes is meant as it is.
            for (tool, options) in [("bash", &["-n"][..]), ("shellcheck", &["--norc", "--exclude=SC2016"])] {
                let Some(mut tool) = judge(tool) else { continue };
                common::run(tool.args(options).arg(&file));
            }
        }
    }
}

/// Each route from the image to the AMI: the calls in order, and what is there in the end.
#[test]
fn each_route_makes_the_ami() {
    let upload = ["s3api head-object", "s3 cp"];
    let share = ["enable-image-deprecation", "modify-image-attribute", "enable-image-deregistration-protection"];
    let routes: [(Route, &[&str]); 3] = [
        (Route::ImportImage, &["import-image", "describe-import-image-tasks", "describe-images", "create-tags", "modify-image-attribute"]),
        (Route::ImportSnapshot, &["import-snapshot", "describe-import-snapshot-tasks", "register-image", "describe-images"]),
        (Route::Ebs, &["coldsnap", "describe-snapshots", "register-image", "describe-images"]),
    ];
    for (route, calls) in routes {
        let Some(stage) = Stage::new(&script(route).to_text(), &json!({})) else { return };
        let output = stage.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", route.name());
        let id = if route == Route::ImportImage { "ami-0a1\n" } else { "ami-0b1\n" };
        assert!(String::from_utf8_lossy(&output.stdout).ends_with(id), "{:?}", output.stdout);
        assert_eq!(output.stdout.len(), id.len(), "the id is all that stands on standard output: {said}");
        let uploaded = if route == Route::Ebs { &[][..] } else { &upload[..] };
        assert_eq!(stage.calls(), [uploaded, calls, &share[..]].concat(), "{}: {said}", route.name());
        assert_eq!(stage.state()["kept"], json!([id.trim()]));
        assert_eq!(stage.request("modify-image-attribute")["LaunchPermission"], json!({ "Add": [{ "UserId": "123456789012" }] }));
        assert_eq!(stage.request("enable-image-deprecation"), json!({ "ImageId": id.trim(), "DeprecateAt": "2030-01-01T00:00:00Z" }));
        if route == Route::ImportImage {
            assert_eq!(stage.request("create-tags")["Tags"], json!([{ "Key": "Name", "Value": "web-2026.11.1" }, { "Key": "team's", "Value": "a, b=$HOME" }]));
            assert_eq!(stage.request("import-image"), serde_json::to_value(image_report().import_image_with(&choices()).unwrap()).unwrap());
        } else {
            let mut request = image_report().register_image(&choices()).unwrap();
            request.set_snapshot(if route == Route::Ebs { "snap-0c1" } else { "snap-0a1" }).unwrap();
            assert_eq!(stage.request("register-image"), serde_json::to_value(request).unwrap());
        }
        // A second run finds the image in the bucket.
        if route == Route::ImportSnapshot {
            fs::remove_file(stage.folder.path().join("fake/calls")).unwrap();
            let again = stage.run();
            assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{}", String::from_utf8_lossy(&again.stderr));
            assert!(!stage.calls().contains(&"s3 cp".to_owned()));
        }
    }
}

/// Whatever step fails, AWS holds in the end what it held before, and it is said why.
#[test]
fn a_failure_takes_back_what_was_made() {
    let fail = |what: &str| json!({ "fail": { what: 1 } });
    let cases: Vec<(Route, Value, &str)> = vec![
        (Route::ImportImage, fail("s3 cp"), "Injected"),
        (Route::ImportImage, fail("import-image"), "Injected"),
        (Route::ImportImage, json!({ "import": "deleted" }), "the import failed: ClientError: Unknown OS / Missing OS files."),
        (Route::ImportImage, json!({ "fail": { "describe-import-image-tasks": "all" } }), "refused five times in a row"),
        (Route::ImportImage, json!({ "image": "failed" }), "the AMI is failed: Client.SnapshotError"),
        (Route::ImportImage, fail("create-tags"), "Injected"),
        (Route::ImportImage, fail("modify-image-attribute"), "Injected"),
        (Route::ImportImage, fail("enable-image-deregistration-protection"), "Injected"),
        (Route::ImportSnapshot, fail("import-snapshot"), "Injected"),
        (Route::ImportSnapshot, json!({ "import": "deleted" }), "the import failed: ClientError"),
        (Route::ImportSnapshot, fail("register-image"), "Injected"),
        (Route::ImportSnapshot, fail("enable-image-deprecation"), "Injected"),
        (Route::Ebs, fail("coldsnap"), "Injected"),
        (Route::Ebs, json!({ "snapshot": "error" }), "the snapshot failed: Given key ID is not accessible"),
        (Route::Ebs, fail("register-image"), "Injected"),
        (Route::Ebs, fail("modify-image-attribute"), "Injected"),
    ];
    let run = |(route, play, why): &(Route, Value, &str)| {
        let Some(stage) = Stage::new(&script(*route).to_text(), play) else { return };
        let output = stage.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let what = format!("{} {play}: {said}", route.name());
        assert!(!output.status.success() && output.stdout.is_empty(), "{what}");
        assert!(said.contains(why) && said.contains("taking back"), "{what}");
        let state = stage.state();
        for held in ["made", "running", "kept"] {
            assert_eq!(state[held], json!([]), "{what}");
        }
        assert_eq!(state["objects"], json!({}), "{what}");
        assert!(!said.contains("left behind"), "{what}");
    };
    // Most of it is waiting for Python: two at a time.
    let (first, second) = cases.split_at(cases.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| first.iter().for_each(run));
        second.iter().for_each(run);
    });
}

#[test]
fn a_moment_without_an_answer_is_no_failure() {
    let play = json!({ "fail": { "describe-import-snapshot-tasks": [1, 2, 3, 4], "describe-images": [1, 3] } });
    let Some(stage) = Stage::new(&script(Route::ImportSnapshot).to_text(), &play) else { return };
    let output = stage.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_not_the_images_own_is_left_alone() {
    let object = format!("s3://my-bucket/{}", choices().key.unwrap());
    let Some(stage) = Stage::new(&script(Route::ImportSnapshot).to_text(), &json!({ "objects": { &object: "another" } })) else { return };
    let output = stage.run();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("something else lies at") && said.contains("REPLACE=1"), "{said}");
    assert_eq!(stage.state()["objects"], json!({ &object: "another" }));
    let output = stage.command().env("REPLACE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A file of another length is another image.
    let Some(stage) = Stage::new(&script(Route::ImportSnapshot).to_text(), &json!({})) else { return };
    fs::write(stage.folder.path().join(IMAGE), "short").unwrap();
    let output = stage.run();
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 5 bytes, and the image that this was written for has 4096"));
    assert_eq!(stage.calls(), Vec::<String>::new());
}

#[test]
fn keep_leaves_what_was_made_and_time_is_bounded() {
    let Some(stage) = Stage::new(&script(Route::Ebs).to_text(), &json!({ "fail": { "modify-image-attribute": 1 } })) else { return };
    let output = stage.command().env("KEEP", "1").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("snap-0c1 ami-0b1"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stage.state()["made"], json!(["snap-0c1", "ami-0b1"]));
    let Some(stage) = Stage::new(&script(Route::Ebs).to_text(), &json!({})) else { return };
    let output = stage.command().env("HOURS", "0").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("not done after 0 hours"));
    assert_eq!(stage.state()["made"], json!([]));
}

/// A script that is ended while it waits takes back what it has made, and says by its exit code what ended it.
#[test]
fn a_signal_takes_back_what_was_made() {
    let Some(stage) = Stage::new(&script(Route::ImportSnapshot).to_text(), &json!({})) else { return };
    let child: Child = stage.command().env("POLL", "1").stderr(Stdio::piped()).spawn().unwrap();
    let started = std::time::Instant::now();
    while !stage.calls().contains(&"describe-import-snapshot-tasks".to_owned()) {
        assert!(started.elapsed().as_secs() < 120, "the script does not begin to wait");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert_eq!((&stage.state()["made"], &stage.state()["running"], &stage.state()["objects"]), (&json!([]), &json!([]), &json!({})), "{said}");
    assert!(stage.calls().contains(&"cancel-import-task".to_owned()), "{said}");
}

#[test]
fn what_a_route_cannot_do_is_refused() {
    for (changes, route, why) in [
        (json!({ "tpm_support": "v2.0" }), Route::ImportImage, "takes no `tpm_support`"),
        (json!({ "device": [{ "name": "/dev/sdf", "volume_size": "1 GiB" }] }), Route::ImportImage, "takes no `device`"),
        (json!({ "bucket": null, "key": null, "url": "s3://b/k" }), Route::ImportSnapshot, "needs `bucket` and `key`"),
        (json!({ "encrypted": true }), Route::Ebs, "by its ARN only"),
        (json!({ "encrypted": true, "kms_key_id": "alias/x" }), Route::Ebs, "no ARN"),
    ] {
        let error = image_report().script(&ami(&changes), route, Path::new("web.raw")).expect_err(why);
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    }
}

/// The calls of the scripts as the aws command itself takes them.
#[test]
fn the_aws_command_takes_every_call_of_the_scripts() {
    if python_tool("aws").is_none() {
        return;
    }
    let mut seen = Vec::new();
    for route in ROUTES {
        let Some(stage) = Stage::new(&script(route).to_text(), &json!({})) else { return };
        assert!(stage.run().status.success());
        let text = fs::read_to_string(stage.folder.path().join("fake/argv")).unwrap();
        for line in text.lines() {
            let words: Vec<String> = serde_json::from_str(line).unwrap();
            if words[0] != "ec2" || seen.contains(&words[1]) {
                continue;
            }
            seen.push(words[1].clone());
            let asked = words.iter().position(|word| word == "--query").map(|at| at + 1);
            let words = words.iter().enumerate().filter(|(at, word)| Some(*at) != asked && Some(*at + 1) != asked && *word != "--output" && *word != "text");
            let output = python_tool("aws").unwrap().args(words.map(|(_, word)| word)).args(["--generate-cli-skeleton", "output"]).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}
