//! The documents for AWS, from a table of images and choices, judged by the service model of botocore, by the rules that
//! AWS states in prose (tests/tools/validate_aws.py) and by the aws command. What AWS would refuse is refused here. Scripts run
//! against a stand-in for the aws command (tests/tools/fake_aws.py).

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod cases;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod judges;
mod legacy;
mod recipe;
mod refusals;
mod reports;
mod scripts;
mod steps;

use cases::{ami, cases, report};
use rootvol::manifest::{Documents, ImportImageRequest, RegisterImageRequest, Relation, SNAPSHOT_PLACEHOLDER, documents};
use rootvol::units::GIB;
use serde_json::{Value, json};
use std::path::Path;

fn suffixes(documents: &Documents) -> Vec<&str> {
    documents.written.iter().map(|document| document.suffix).collect()
}

#[test]
fn each_image_gets_the_documents_that_aws_takes() {
    for (what, report, ami, expected) in cases() {
        let made = documents(&report, &ami, Path::new("web.vhd"));
        assert_eq!(suffixes(&made), expected, "{what}: {:?}", made.withheld);
        assert_eq!(made, documents(&report, &ami, Path::new("web.vhd")), "{what}: the same input gives the same documents");
        for document in &made.written {
            assert!(document.text.ends_with('\n') && !document.text.ends_with("\n\n"), "{what}");
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
fn client_tokens_follow_the_request_the_image_and_the_attempt() {
    let token = |changes: &Value, choices: &Value| report(changes).import_image_with(&ami(choices)).unwrap().client_token.unwrap();
    let first = token(&json!({}), &json!({}));
    assert_eq!(first.len(), 64);
    assert_eq!(first, token(&json!({}), &json!({ "attempt": 1 })));
    let others = [
        token(&json!({}), &json!({ "attempt": 2 })),
        token(&json!({}), &json!({ "key": "other" })),
        token(&json!({ "blocks": { "linear_checksum": "q4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=" } }), &json!({})),
        report(&json!({})).import_snapshot(&ami(&json!({}))).unwrap().client_token.unwrap(),
    ];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != first && !others[..index].contains(other), "token {index} is not its own");
    }
}

#[test]
fn the_ami_as_a_whole_is_what_its_documents_say() {
    let choices = ami(&json!({
        "device": [{ "name": "/dev/sdf", "volume_size": "20 GiB" }], "launch_permission": { "users": ["123456789012"] },
        "deprecate_at": "2030-01-01", "deregistration_protection": "enabled-without-cooldown", "tags": { "team": "web" }
    }));
    let whole = report(&json!({})).ami(&choices).unwrap();
    assert_eq!((whole.name.as_str(), whole.image_name.as_deref(), whole.version.as_deref()), ("web-2026.11.1", Some("web"), Some("2026.11.1")));
    assert_eq!((whole.root_snapshot(), whole.block_device_mappings.len(), whole.disk_bytes), (Some(SNAPSHOT_PLACEHOLDER), 2, 2 * GIB));
    assert_eq!(whole.register_image().unwrap(), report(&json!({})).register_image(&choices).unwrap());
    assert_eq!(whole.launch_permission().unwrap().launch_permission.add, whole.launch_permissions);
    assert_eq!(
        serde_json::to_value(whole.deprecation().unwrap()).unwrap(),
        json!({ "ImageId": "ami-00000000000000000", "DeprecateAt": "2030-01-01T00:00:00Z" })
    );
    assert!(!whole.deregistration_protection().unwrap().with_cooldown);
    assert_eq!(serde_json::from_str::<rootvol::manifest::Ami>(&whole.to_json()).unwrap(), whole);
}

#[test]
fn two_versions_of_one_recipe_are_related() {
    let base = json!({});
    for (changes, relation) in [
        (json!({}), Relation::Same),
        (json!({ "version": "2" }), Relation::Versions),
        (json!({ "blocks": { "linear_checksum": "q4VNL+8pega6gWheZgwzLeNtXRjVRpJ9MNqtbX/aFUE=" } }), Relation::Rebuilt),
        (json!({ "name": "other" }), Relation::None),
        (json!({ "name": null }), Relation::None),
    ] {
        let (old, new) = (report(&base), report(&changes));
        assert_eq!(Relation::of_reports(&old, &new), relation, "{changes}");
        let choices = ami(&json!({ "name": "a name of its own" }));
        assert_eq!(old.ami(&choices).unwrap().relation(&new.ami(&choices).unwrap()), relation, "{changes}");
    }
}
