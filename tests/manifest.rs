//! The documents for AWS, from a table of images and choices, judged by the service model of botocore, by the rules that
//! AWS states in prose (tests/tools/validate_aws.py) and by the aws command. What AWS would refuse is refused here.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use rootvol::ErrorKind;
use rootvol::manifest::{AmiChoices, Documents, ImportImageRequest, ImportSnapshotRequest, RegisterImageRequest, SNAPSHOT_PLACEHOLDER, documents, next_steps};
use rootvol::report::Report;
use rootvol::units::{GIB, TIB};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The report of a Debian image, with the members of `changes` in place of its own.
fn report(changes: &Value) -> Report {
    let mut value = json!({
        "report_version": 1,
        "rootvol_version": "0.1.0",
        "name": "web",
        "version": "2026.11.1",
        "file": { "format": "vhd", "size_bytes": 1_300_000_000_u64, "sha256": null },
        "disk": { "size_bytes": 2 * GIB, "sector_bytes": 512, "table": "gpt", "guid": "2f6f1ff5-4d4c-8d1f-9a52-0f9ad9e0a0c1", "signature": null },
        "partitions": [],
        "blocks": { "block_bytes": 524_288, "total": 4096, "data": 1200, "zero": 40, "unused": 2856, "linear_checksum": "B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=" },
        "boot": { "mode": "uefi", "architecture": "x86_64", "loader": "grub", "loader_path": "/usr/lib/shim/shimx64.efi.signed", "kernel": "/boot/vmlinuz-6.1.0", "initramfs": null, "cmdline": null, "grub_packages": [] },
        "sources": ["rootfs.tar.zst"],
        "notes": []
    });
    merge(&mut value, changes);
    serde_json::from_value(value).unwrap()
}

fn merge(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(members), Value::Object(changes)) => changes.iter().for_each(|(name, change)| match members.get_mut(name) {
            Some(member) => merge(member, change),
            None => panic!("a report has no {name}"),
        }),
        (value, change) => *value = change.clone(),
    }
}

/// Choices from JSON; with a bucket and key.
fn ami(changes: &Value) -> AmiChoices {
    let mut value = json!({ "bucket": "my-bucket", "key": "images/web.vhd" });
    let members = value.as_object_mut().unwrap();
    for (name, change) in changes.as_object().unwrap() {
        members.insert(name.clone(), change.clone());
    }
    serde_json::from_value(value).unwrap()
}

/// Images and choices, and the suffixes of the documents that are written for them.
fn cases() -> Vec<(&'static str, Report, AmiChoices, &'static [&'static str])> {
    const ALL: &[&str] = &["import-image.json", "containers.json", "import-snapshot.json", "register-image.json"];
    const SNAPSHOT: &[&str] = &["import-snapshot.json", "register-image.json"];
    let none = json!({});
    let every_choice = json!({
        "architecture": "x86_64", "boot_mode": "uefi", "name": "Web (it's [new]) 1.0/a_b@c", "description": "grün\u{1F600} \"quoted\" \\",
        "role_name": "my+role=x,y.z@w-v", "license_type": "BYOL", "platform": "Linux", "encrypted": true,
        "kms_key_id": "arn:aws:kms:us-east-1:012345678910:key/abcd1234-a123-456a-a12b-a123b4cd56ef", "attempt": 2,
        "root_device_name": "/dev/sda1", "volume_type": "gp3", "iops": 4000, "throughput": 250, "delete_on_termination": false,
        "ena_support": false, "imds_support": "none", "tpm_support": "v2.0", "tags": { "team": "größe", "empty": "" },
        "key": "bilder/größe & <x> 'y' \"z\".vhd"
    });
    vec![
        ("dynamic VHD with GRUB", report(&none), ami(&none), ALL),
        ("raw", report(&json!({ "file": { "format": "raw" } })), ami(&json!({ "key": "web.raw" })), ALL),
        ("fixed VHD", report(&json!({ "file": { "format": "vhd-fixed" } })), ami(&none), ALL),
        ("every choice", report(&none), ami(&every_choice), ALL),
        ("usage operation", report(&none), ami(&json!({ "usage_operation": "RunInstances:0010", "encrypted": true })), ALL),
        ("odd size", report(&json!({ "disk": { "size_bytes": 3 * GIB + 512 } })), ami(&json!({ "volume_type": "io2", "iops": 100 })), ALL),
        ("MBR", report(&json!({ "disk": { "table": "mbr", "guid": null, "signature": 7 } })), ami(&none), ALL),
        ("arm64", report(&json!({ "boot": { "architecture": "arm64" } })), ami(&json!({ "architecture": "arm64" })), SNAPSHOT),
        ("systemd-boot", report(&json!({ "boot": { "loader": "systemd-boot" } })), ami(&none), SNAPSHOT),
        ("UKI", report(&json!({ "boot": { "loader": "uki" } })), ami(&none), SNAPSHOT),
        ("uefi-preferred", report(&none), ami(&json!({ "boot_mode": "uefi-preferred" })), SNAPSHOT),
        ("8 TiB", report(&json!({ "disk": { "size_bytes": 8 * TIB }, "file": { "format": "raw" } })), ami(&none), SNAPSHOT),
        ("data disk", report(&json!({ "boot": null, "version": null })), ami(&none), &["import-snapshot.json"]),
        ("boots in a way of its own", report(&json!({ "boot": null })), ami(&json!({ "architecture": "x86_64", "boot_mode": "legacy-bios" })), SNAPSHOT),
        ("data disk without a name", report(&json!({ "boot": null, "name": null, "version": null })), ami(&none), &["import-snapshot.json"]),
        ("no bucket", report(&none), serde_json::from_value(json!({ "architecture": "x86_64" })).unwrap(), &["register-image.json"]),
        ("no AMI asked for", report(&none), serde_json::from_value(none.clone()).unwrap(), &[]),
    ]
}

fn suffixes(documents: &Documents) -> Vec<&str> {
    documents.written.iter().map(|document| document.suffix).collect()
}

#[test]
fn each_image_gets_the_documents_that_aws_takes() {
    for (what, report, ami, expected) in cases() {
        let made = documents(&report, &ami);
        assert_eq!(suffixes(&made), expected, "{what}: {:?}", made.withheld);
        assert_eq!(made, documents(&report, &ami), "{what}: the same input gives the same documents");
        for document in &made.written {
            assert!(document.json.ends_with('\n') && !document.json.ends_with("\n\n"), "{what}");
        }
        for withheld in &made.withheld {
            assert!(!withheld.to_string().contains('\n') && withheld.reason.len() > 20, "{what}: {withheld}");
        }
    }
}

#[test]
fn import_image_has_every_member() {
    let request = report(&json!({})).import_image("my-bucket", "images/web.vhd").unwrap();
    let value: Value = serde_json::from_str(&request.to_json()).unwrap();
    let disk = json!({
        "Description": "web 2026.11.1, LINEAR SHA-256 B4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=",
        "Format": "VHD",
        "UserBucket": { "S3Bucket": "my-bucket", "S3Key": "images/web.vhd" }
    });
    assert_eq!(
        value,
        json!({
            "Architecture": "x86_64",
            "BootMode": "uefi",
            "ClientToken": request.client_token,
            "Description": "web-2026.11.1",
            "DiskContainers": [disk],
            "Platform": "Linux",
            "TagSpecifications": [{ "ResourceType": "import-image-task", "Tags": [{ "Key": "Name", "Value": "web-2026.11.1" }] }]
        })
    );
    assert_eq!(serde_json::from_str::<Value>(&request.containers_json()).unwrap(), json!([disk]));
    assert_eq!(serde_json::from_str::<ImportImageRequest>(&request.to_json()).unwrap(), request);
}

#[test]
fn register_image_rounds_the_volume_up_and_writes_what_aws_would_guess_wrongly() {
    let mut request = report(&json!({ "disk": { "size_bytes": 2 * GIB + 1 } })).register_image(&ami(&json!({}))).unwrap();
    let value: Value = serde_json::from_str(&request.to_json()).unwrap();
    let expected = json!({
        "Name": "web-2026.11.1",
        "Description": "web-2026.11.1",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [{
            "DeviceName": "/dev/xvda",
            "Ebs": { "SnapshotId": SNAPSHOT_PLACEHOLDER, "VolumeSize": 3, "VolumeType": "gp3", "DeleteOnTermination": true }
        }],
        "BootMode": "uefi",
        "EnaSupport": true,
        "ImdsSupport": "v2.0",
        "TagSpecifications": [{ "ResourceType": "image", "Tags": [{ "Key": "Name", "Value": "web-2026.11.1" }] }]
    });
    assert_eq!(value, expected);
    assert!(request.set_snapshot("snap-xyz").is_err());
    request.set_snapshot("snap-0123456789abcdef0").unwrap();
    assert_eq!(
        request.to_json(),
        report(&json!({ "disk": { "size_bytes": 2 * GIB + 1 } }))
            .register_image(&ami(&json!({})))
            .unwrap()
            .to_json()
            .replace(SNAPSHOT_PLACEHOLDER, "snap-0123456789abcdef0")
    );
    assert_eq!(serde_json::from_str::<RegisterImageRequest>(&request.to_json()).unwrap(), request);
}

#[test]
fn what_import_image_refuses_is_refused_with_the_rule_and_the_route() {
    let cases = [
        (json!({ "boot": { "architecture": "arm64" } }), json!({}), "takes no arm64", true),
        (json!({}), json!({ "boot_mode": "uefi-preferred" }), "uefi-preferred", true),
        (json!({ "boot": { "loader": "systemd-boot" } }), json!({}), "demands GRUB, the image boots by systemd-boot", true),
        (json!({ "boot": { "loader": "uki" } }), json!({}), "demands GRUB", true),
        (
            json!({ "boot": { "loader": "uki", "grub_packages": ["Debian: shim-signed"] } }),
            json!({}),
            "register-image make the AMI, or install GRUB in the tree: Debian: shim-signed",
            true,
        ),
        (json!({ "disk": { "size_bytes": 8 * TIB } }), json!({}), "below 8 TiB, not 8 TiB", true),
        (json!({ "disk": { "table": "none" } }), json!({}), "No valid partitions", true),
        (json!({ "boot": null }), json!({}), "data disk", false),
        (json!({ "disk": { "sector_bytes": 4096 } }), json!({}), "sectors of 512 bytes", false),
        (json!({ "disk": { "table": "mbr", "size_bytes": 2048 * GIB } }), json!({}), "2047 GiB", false),
        (json!({ "file": { "format": "qcow2" } }), json!({}), "not qcow2", false),
        (json!({ "boot": { "mode": "openfirmware" } }), json!({}), "boot mode openfirmware", false),
        (json!({ "boot": { "architecture": "riscv64" } }), json!({}), "riscv64", false),
    ];
    for (changes, choices, why, other_route) in cases {
        let error = report(&changes).import_image_with(&ami(&choices)).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let message = error.to_string();
        assert!(message.contains(why), "{message:?} does not say {why:?}");
        assert_eq!(message.contains("import-snapshot and then register-image"), other_route, "{message}");
    }
    assert!(report(&json!({ "disk": { "size_bytes": 8 * TIB - 512 } })).import_image("my-bucket", "k").is_ok());
    assert!(report(&json!({ "disk": { "table": "mbr", "size_bytes": 2047 * GIB } })).import_image("my-bucket", "k").is_ok());
}

#[test]
fn choices_that_contradict_the_image_or_each_other_are_refused() {
    let cases = [
        (json!({ "architecture": "arm64" }), "is to be arm64, but kernel and loader in the image are x86_64"),
        (json!({ "boot_mode": "legacy-bios" }), "is to boot by legacy-bios, but the image boots by uefi"),
        (json!({ "kms_key_id": "alias/x" }), "encrypted = true"),
        (json!({ "kms_key_id": "alias/x", "encrypted": false }), "encrypted = true"),
        (json!({ "license_type": "AWS", "usage_operation": "RunInstances" }), "exclude each other"),
        (json!({ "bucket": "My_Bucket" }), "bucket"),
        (json!({ "bucket": null }), "`key` needs `bucket`"),
        (json!({ "key": null }), "`bucket` needs `key`"),
        (json!({ "key": "" }), "1,024"),
        (json!({ "name": "a+b" }), "AMI name"),
        (json!({ "description": "x".repeat(256) }), "255"),
        (json!({ "role_name": "a b" }), "role name"),
        (json!({ "attempt": 0 }), "from 1"),
        (json!({ "tags": { "aws:x": "" } }), "reserved"),
        (json!({ "root_device_name": "/dev/sdb" }), "root device"),
        (json!({ "volume_type": "io1" }), "need `iops`"),
        (json!({ "volume_type": "gp2", "throughput": 125 }), "gp3"),
        (json!({ "tpm_support": "v2.0", "boot_mode": "uefi-preferred" }), "needs boot mode uefi"),
    ];
    for (choices, why) in cases {
        for (what, result) in [
            ("import-image", report(&json!({})).import_image_with(&ami(&choices)).map(|_| ())),
            ("check", ami(&choices).check_against(Some("web"), None, report(&json!({})).boot.as_ref())),
        ] {
            let error = result.expect_err(why);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
            assert!(error.to_string().contains(why), "{what}: {error} does not say {why:?}");
        }
    }
    let too_small = report(&json!({ "disk": { "size_bytes": 1025 * GIB } })).register_image(&ami(&json!({ "volume_type": "standard" }))).unwrap_err();
    assert!(too_small.to_string().contains("1 to 1024 GiB, but 1025 GiB are needed"), "{too_small}");
    let nameless = report(&json!({ "name": null })).register_image(&ami(&json!({}))).unwrap_err();
    assert!(nameless.to_string().contains("needs a name"), "{nameless}");
    assert!(ami(&json!({})).check_against(Some("a+b"), None, None).is_err());
    let huge = report(&json!({ "disk": { "size_bytes": 16 * TIB }, "file": { "format": "raw" } })).import_snapshot(&ami(&json!({}))).unwrap_err();
    assert!(huge.to_string().contains("below 16 TiB"), "{huge}");
}

#[test]
fn requests_changed_by_hand_are_held_to_the_rules() {
    let good = report(&json!({})).import_image("my-bucket", "k").unwrap();
    let broken = |change: &dyn Fn(&mut ImportImageRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request.check().unwrap_err().to_string()
    };
    assert!(broken(&|request| request.disk_containers.clear()).contains("1 to 21 disks, not 0"));
    assert!(broken(&|request| request.disk_containers = vec![request.disk_containers[0].clone(); 22]).contains("not 22"));
    assert!(broken(&|request| request.disk_containers[0].url = Some("s3://b/k".to_owned())).contains("not 2"));
    assert!(broken(&|request| request.disk_containers[0].user_bucket = None).contains("not 0"));
    assert!(broken(&|request| request.disk_containers[0].format = None).contains("format"));
    assert!(broken(&|request| request.tag_specifications[0].resource_type = "image".to_owned()).contains("import-image-task"));
    let register = report(&json!({})).register_image(&ami(&json!({}))).unwrap();
    let broken = |change: &dyn Fn(&mut RegisterImageRequest)| {
        let mut request = register.clone();
        change(&mut request);
        request.check().unwrap_err().to_string()
    };
    assert!(broken(&|request| request.architecture = None).contains("i386"));
    assert!(broken(&|request| request.virtualization_type = None).contains("paravirtual"));
    assert!(broken(&|request| request.root_device_name = Some("/dev/sda1".to_owned())).contains("not mapped"));
    assert!(broken(&|request| request.block_device_mappings.push(request.block_device_mappings[0].clone())).contains("twice"));
    assert!(broken(&|request| request.uefi_data = Some("A".repeat(64_001))).contains("64000"));
    assert!(broken(&|request| request.block_device_mappings[0].ebs.as_mut().unwrap().encrypted = Some(true)).contains("snapshot"));
    assert!(serde_json::from_str::<ImportSnapshotRequest>("{\"Unknown\":1}").is_err());
}

#[test]
fn client_tokens_follow_the_request_the_image_and_the_attempt() {
    let token = |changes: &Value, choices: &Value| report(changes).import_image_with(&ami(choices)).unwrap().client_token.unwrap();
    let first = token(&json!({}), &json!({}));
    assert_eq!(first.len(), 64);
    assert_eq!(first, token(&json!({}), &json!({ "attempt": 1 })));
    let others = [
        token(&json!({}), &json!({ "attempt": 2 })),
        token(&json!({}), &json!({ "key": "other" })),
        token(&json!({ "blocks": { "linear_checksum": "other" } }), &json!({})),
        report(&json!({})).import_snapshot(&ami(&json!({}))).unwrap().client_token.unwrap(),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != first && !others[..index].contains(other), "token {index} is not its own");
    }
}

#[test]
fn the_next_steps_are_those_of_the_route_that_fits() {
    let steps = |changes: &Value, choices: &Value, path: &str| next_steps(&report(changes), Path::new(path), &ami(choices)).join("\n");
    assert_eq!(
        steps(&json!({}), &json!({}), "web.vhd"),
        "aws s3 cp web.vhd s3://my-bucket/images/web.vhd\n\
         task=$(aws ec2 import-image --cli-input-json file://web.vhd.import-image.json --query ImportTaskId --output text)\n\
         aws ec2 describe-import-image-tasks --import-task-ids \"$task\"  # again until its Status is completed: it has the ImageId then\n\
         qemu-system-x86_64 -machine q35 -cpu max -m 1G -bios /usr/share/ovmf/OVMF.fd \
         -drive if=none,id=disk,snapshot=on,format=vpc,force_size_calc=current_size,file=web.vhd -device nvme,drive=disk,serial=rootvol -nographic"
    );
    assert_eq!(
        steps(&json!({ "boot": { "architecture": "arm64" }, "file": { "format": "raw" }, "disk": { "sector_bytes": 512 } }), &json!({}), "my, web.raw"),
        "aws s3 cp 'my, web.raw' s3://my-bucket/images/web.vhd\n\
         task=$(aws ec2 import-snapshot --cli-input-json 'file://my, web.raw.import-snapshot.json' --query ImportTaskId --output text)\n\
         aws ec2 wait snapshot-imported --import-task-ids \"$task\"  # gives up after 10 minutes: then wait again\n\
         snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids \"$task\" --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text)\n\
         aws ec2 register-image --cli-input-json \"$(sed \"s/snap-00000000000000000/$snapshot/\" 'my, web.raw.register-image.json')\"\n\
         qemu-system-aarch64 -machine virt -cpu max,pauth-impdef=on -m 1G -bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd \
         -drive 'if=none,id=disk,snapshot=on,format=raw,file=my,, web.raw' -device nvme,drive=disk,serial=rootvol -nographic"
    );
    let odd = steps(&json!({}), &json!({}), "-$x.vhd");
    assert!(odd.contains("aws s3 cp './-$x.vhd' ") && odd.contains("\"$(cat './-$x.vhd.import-image.json')\""), "{odd}");
    let data = steps(&json!({ "boot": null }), &json!({}), "data.vhd");
    assert!(data.contains("import-snapshot") && !data.contains("register-image") && !data.contains("qemu"), "{data}");
    let sectors = steps(&json!({ "disk": { "sector_bytes": 4096 }, "file": { "format": "raw" } }), &json!({}), "web.raw");
    assert!(!sectors.contains("aws") && sectors.contains("logical_block_size=4096,physical_block_size=4096"), "{sectors}");
    assert_eq!(next_steps(&report(&json!({ "boot": null })), Path::new("x"), &AmiChoices::default()), Vec::<String>::new());
}

/// The lines do in a shell what they say: a function stands in for the aws command and shows what it is given.
#[cfg(unix)]
#[test]
fn a_shell_reads_the_next_steps_as_they_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let image = Path::new("it's $HOME, a \"web\".vhd");
    let choices = ami(&json!({ "key": "a b/it's $(x).vhd" }));
    let made = report(&json!({ "boot": { "loader": "uki" } }));
    for document in documents(&made, &choices).written {
        std::fs::write(folder.path().join(format!("{}.{}", image.display(), document.suffix)), document.json).unwrap();
    }
    let stand_in = r#"aws() { printf '[%s]' "$@" >&2; echo >&2; case $2 in import-snapshot) echo import-snap-1;; describe-*) echo snap-0abc;; esac; }"#;
    let lines = next_steps(&made, image, &choices);
    let script = [&[stand_in.to_owned()], &lines[..lines.len() - 1]].concat().join("\n");
    let output = Command::new("sh").args(["-eu", "-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let import = made.import_snapshot(&choices).unwrap().to_json();
    let register = made.register_image(&choices).unwrap().to_json().replace(SNAPSHOT_PLACEHOLDER, "snap-0abc");
    for part in [
        "[s3][cp][it's $HOME, a \"web\".vhd][s3://my-bucket/a b/it's $(x).vhd]\n".to_owned(),
        format!("[--cli-input-json][{}]", import.trim_end()),
        "[wait][snapshot-imported][--import-task-ids][import-snap-1]\n".to_owned(),
        format!("[register-image][--cli-input-json][{}]\n", register.trim_end()),
    ] {
        assert!(said.contains(&part), "{said}\nlacks\n{part}");
    }
}

/// A program of the Python environment that has botocore and the aws command: `$ROOTVOL_LAB/venv`, `target/lab/venv`, PATH.
fn python_tool(name: &str) -> Option<Command> {
    let lab = std::env::var_os("ROOTVOL_LAB").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"), PathBuf::from);
    let file = lab.join("venv/bin").join(name);
    let mut tool = if file.is_file() { Command::new(file) } else { common::judge(name)? };
    tool.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true");
    Some(tool)
}

/// python3 with botocore, or a visible skip.
fn botocore() -> Option<Command> {
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
        for document in documents(&report, &ami).written {
            let (operation, member) = match document.suffix {
                "import-image.json" => ("import-image", None),
                "containers.json" => ("import-image", Some("DiskContainers")),
                "import-snapshot.json" => ("import-snapshot", None),
                "register-image.json" => ("register-image", None),
                other => panic!("no judge for {other}"),
            };
            let file = folder.join(format!("{number}.{}", document.suffix));
            std::fs::write(&file, document.json).unwrap();
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
        if operation == "register-image" || member.is_some() {
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
        if !["dynamic VHD with GRUB", "every choice", "arm64"].contains(&what.as_str()) {
            continue;
        }
        let mut aws = python_tool("aws").unwrap();
        let option = if member.is_some() { "--disk-containers" } else { "--cli-input-json" };
        let output = aws.args(["ec2", operation, option, &format!("file://{}", file.display()), "--generate-cli-skeleton", "output"]).output().unwrap();
        assert!(output.status.success(), "{what}, {operation}: {}", String::from_utf8_lossy(&output.stderr));
        let skeleton: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(skeleton.get("ImportTaskId").or(skeleton.get("ImageId")).is_some(), "{what}, {operation}: {skeleton}");
    }
}
