//! Documents before the service model, the rules in prose and the aws command.

use crate::cases::{cases, report};
use crate::common;
use rootvol::manifest::documents;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of the Python environment that has botocore and the aws command: `$ROOTVOL_LAB/venv`, `target/lab/venv`, PATH.
pub fn python_tool(name: &str) -> Option<Command> {
    let lab = std::env::var_os("ROOTVOL_LAB").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"), PathBuf::from);
    let file = lab.join("venv/bin").join(name);
    let mut tool = if file.is_file() { Command::new(file) } else { common::judge(name)? };
    tool.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true");
    Some(tool)
}

/// python3 with botocore, or a visible skip.
pub fn botocore() -> Option<Command> {
    let found = python_tool("python3")?.args(["-c", "import botocore"]).output().is_ok_and(|output| output.status.success());
    if !found {
        common::skip("python3 has no botocore");
        return None;
    }
    python_tool("python3")
}

/// Writes all documents of all cases into `folder`: (what, operation, member, file).
fn write_all(folder: &Path) -> Vec<(String, &'static str, Option<&'static str>, PathBuf)> {
    let mut files = Vec::new();
    for (number, (what, report, ami, _)) in cases().into_iter().enumerate() {
        for document in documents(&report, &ami, Path::new("web.vhd")).written {
            let (operation, member) = match document.suffix {
                "import-image.json" => ("import-image", None),
                "containers.json" => ("import-image", Some("DiskContainers")),
                "import-snapshot.json" => ("import-snapshot", None),
                "container.json" => ("import-snapshot", Some("DiskContainer")),
                "register-image.json" => ("register-image", None),
                "launch-permission.json" => ("modify-image-attribute", None),
                "deprecation.json" => ("enable-image-deprecation", None),
                "deregistration-protection.json" => ("enable-image-deregistration-protection", None),
                "import-volume.json" => ("import-volume", None),
                // Judged in legacy.rs and scripts.rs.
                "import-volume.xml" | "vmimport-trust-policy.json" | "vmimport-role-policy.json" | "bucket-policy.json" => continue,
                script if script.ends_with(".sh") => continue,
                other => panic!("no judge for {other}"),
            };
            let file = folder.join(format!("{number}.{}", document.suffix));
            std::fs::write(&file, document.text).unwrap();
            files.push((what.to_owned(), operation, member, file));
        }
    }
    files
}

#[test]
fn every_document_passes_the_service_model_and_the_rules_in_prose() {
    let Some(mut python) = botocore() else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = write_all(folder.path());
    assert!(files.len() > 40, "{} documents", files.len());
    // One process for all: the model of EC2 takes a second to load, so it is kept.
    let program = "import functools, sys; sys.path.insert(0, sys.argv.pop(1)); sys.dont_write_bytecode = True\n\
                   import validate_aws\n\
                   validate_aws.load = functools.lru_cache(None)(validate_aws.load)\n\
                   bad = 0\n\
                   for line in sys.stdin.read().splitlines():\n    sys.argv[1:] = line.split('\\t'); bad |= validate_aws.main()\n\
                   sys.exit(bad)";
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let list: String = files
        .iter()
        .map(|(_, operation, member, file)| {
            let member = member.map(|member| format!("\t--member\t{member}")).unwrap_or_default();
            format!("{operation}\t{}{member}\n", file.display())
        })
        .collect();
    let list_file = folder.path().join("list");
    std::fs::write(&list_file, list).unwrap();
    let output = python.args(["-c", program]).arg(tools).stdin(std::fs::File::open(list_file).unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches(": valid (botocore").count(), files.len(), "{said}");
}

#[test]
fn the_validator_refuses_what_is_wrong() {
    let Some(mut python) = botocore() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.json");
    let good = report(&json!({})).import_image("my-bucket", "k").unwrap().to_json();
    std::fs::write(&file, good.replace("\"x86_64\"", "\"arm64\"")).unwrap();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/validate_aws.py");
    let output = python.arg(tool).arg("import-image").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Architecture: 'arm64'"));
}

#[test]
fn client_tokens_are_what_another_program_computes() {
    if botocore().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (what, operation, member, file) in write_all(folder.path()) {
        if !["import-image", "import-snapshot"].contains(&operation) || member.is_some() {
            continue;
        }
        let attempt = if what == "every choice" { "2" } else { "1" };
        let program = "import hashlib, json, sys\n\
                       request = json.load(open(sys.argv[1], encoding='utf-8')); token = request.pop('ClientToken')\n\
                       text = json.dumps(request, sort_keys=True, separators=(',', ':'), ensure_ascii=False) + '\\n' + sys.argv[2]\n\
                       sys.exit(token != hashlib.sha256(text.encode()).hexdigest())";
        let status = python_tool("python3").unwrap().args(["-c", program]).arg(file).arg(attempt).status().unwrap();
        assert!(status.success(), "{what}: {operation}");
    }
}

#[test]
fn the_aws_command_takes_the_documents() {
    if python_tool("aws").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (what, operation, member, file) in write_all(folder.path()) {
        if !["dynamic VHD with GRUB", "every choice", "sharing", "devices", "several disks"].contains(&what.as_str()) {
            continue;
        }
        let mut aws = python_tool("aws").unwrap();
        let option = match member {
            Some("DiskContainers") => "--disk-containers",
            Some(_) => "--disk-container",
            None => "--cli-input-json",
        };
        let output = aws.args(["ec2", operation, option, &format!("file://{}", file.display()), "--generate-cli-skeleton", "output"]).output().unwrap();
        assert!(output.status.success(), "{what}, {operation}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let made = ["ImportTaskId", "ImageId", "Return"].iter().any(|name| said.contains(name));
        assert!(made || operation == "modify-image-attribute", "{what}, {operation}: {said}");
    }
}
