//! Reports and choices, and the documents that they make.

use rootvol::manifest::AmiChoices;
use rootvol::report::Report;
use rootvol::units::{GIB, TIB};
use serde_json::{Value, json};

/// The report of a Debian image, with the members of `changes` in place of its own.
pub fn report(changes: &Value) -> Report {
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

pub fn merge(value: &mut Value, changes: &Value) {
    match (value, changes) {
        (Value::Object(members), Value::Object(changes)) => changes.iter().for_each(|(name, change)| match members.get_mut(name) {
            Some(member) => merge(member, change),
            None => panic!("a report has no {name}"),
        }),
        (value, change) => *value = change.clone(),
    }
}

/// Choices from JSON; with a bucket and key.
pub fn ami(changes: &Value) -> AmiChoices {
    let mut value = json!({ "bucket": "my-bucket", "key": "images/web.vhd" });
    let members = value.as_object_mut().unwrap();
    for (name, change) in changes.as_object().unwrap() {
        members.insert(name.clone(), change.clone());
    }
    serde_json::from_value(value).unwrap()
}

/// Images and choices, and the suffixes of the documents that are written for them.
pub fn cases() -> Vec<(&'static str, Report, AmiChoices, &'static [&'static str])> {
    const ALL: &[&str] = &["import-image.json", "containers.json", "import-snapshot.json", "container.json", "register-image.json"];
    const SNAPSHOT: &[&str] = &["import-snapshot.json", "container.json", "register-image.json"];
    const ONLY_SNAPSHOT: &[&str] = &["import-snapshot.json", "container.json"];
    let none = json!({});
    let every_choice = json!({
        "architecture": "x86_64", "boot_mode": "uefi", "name": "Web (it's [new]) 1.0/a_b@c", "description": "grün\u{1F600} \"quoted\" \\",
        "role_name": "my+role=x,y.z@w-v", "license_type": "BYOL", "platform": "Linux", "encrypted": true,
        "kms_key_id": "arn:aws:kms:us-east-1:012345678910:key/abcd1234-a123-456a-a12b-a123b4cd56ef", "attempt": 2,
        "root_device_name": "/dev/sda1", "volume_type": "gp3", "volume_size": "20 GiB", "iops": 4000, "throughput": 250, "sriov_net_support": "simple", "uefi_data": uefi_data(64_000), "delete_on_termination": false,
        "ena_support": false, "imds_support": "none", "tpm_support": "v2.0", "tags": { "team": "größe", "empty": "" },
        "key": "bilder/größe & <x> 'y' \"z\".vhd"
    });
    let mut cases = vec![
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
        ("data disk", report(&json!({ "boot": null, "version": null })), ami(&none), ONLY_SNAPSHOT),
        ("boots in a way of its own", report(&json!({ "boot": null })), ami(&json!({ "architecture": "x86_64", "boot_mode": "legacy-bios" })), SNAPSHOT),
        ("data disk without a name", report(&json!({ "boot": null, "name": null, "version": null })), ami(&none), ONLY_SNAPSHOT),
        ("no bucket", report(&none), serde_json::from_value(json!({ "architecture": "x86_64" })).unwrap(), &["register-image.json"]),
        ("no AMI asked for", report(&none), serde_json::from_value(none.clone()).unwrap(), &[]),
    ];
    cases.extend(cases_of_sharing());
    cases
}

/// Who gets an AMI, what is on it besides its root, where else it comes from, and the way to it.
fn cases_of_sharing() -> Vec<(&'static str, Report, AmiChoices, &'static [&'static str])> {
    let organization = "arn:aws:organizations::123456789012:organization/o-abcdefghij";
    let unit = "arn:aws-us-gov:organizations::123456789012:ou/o-abcdefghij/ou-ab12-abcdefgh";
    let sharing = json!({
        "bucket": null, "key": null, "image_id": "ami-0abc", "snapshot_id": "snap-0abc", "deprecate_at": "2030-01-01T00:00:00Z",
        "launch_permission": { "users": ["123456789012", "210987654321"], "organizations": [organization], "organizational_units": [unit] },
        "remove_launch_permission": { "public": true }, "deregistration_protection": "enabled-with-cooldown"
    });
    let devices = json!({
        "bucket": null, "key": null, "root_device_name": "/dev/sda1", "device": [
            { "name": "/dev/sdf", "volume_size": "20 GiB" },
            { "name": "/dev/xvdg", "snapshot_id": "snap-0def", "volume_type": "io2", "iops": 100, "delete_on_termination": true },
            { "name": "/dev/sdh", "volume_size": "125 GiB", "volume_type": "st1", "encrypted": true },
            { "name": "/dev/sdi", "snapshot_id": "snap-0def", "volume_size": "8 GiB", "iops": 4000, "throughput": 1000 },
            { "name": "/dev/sdb", "virtual_name": "ephemeral0" },
            { "name": "/dev/xvdca", "no_device": true }
        ]
    });
    let disks = json!({ "disk": [
        { "format": "RAW", "key": "data.raw", "description": "data" },
        { "format": "VHD", "bucket": "other-bucket", "key": "more.vhd", "device_name": "/dev/sdg" },
        { "snapshot_id": "snap-0abc" },
        { "format": "VHD", "url": "https://my-bucket.s3.amazonaws.com/x.vhd?X-Amz-Signature=0" }
    ] });
    let volume = json!({ "vmimport_role": { "partition": "aws-cn", "source_account": "123456789012" }, "import_volume": {
        "part_size": "500 MiB", "head_url": "https://h/{part}?a=1&b=<2>", "get_url": "https://g/{part}", "delete_url": "https://d/{part}",
        "self_destruct_url": "https://s?a&b'\"", "manifest_url": "https://m?X-Amz-Signature=0", "availability_zone": "us-east-1a"
    } });
    let scripts = json!({ "script": ["ebs", "import-snapshot", "import-image"], "launch_permission": { "public": true } });
    vec![
        (
            "sharing",
            report(&json!({})),
            ami(&sharing),
            &["register-image.json", "launch-permission.json", "deprecation.json", "deregistration-protection.json"],
        ),
        ("devices", report(&json!({})), ami(&devices), &["register-image.json"]),
        (
            "several disks",
            report(&json!({})),
            ami(&disks),
            &["import-image.json", "containers.json", "import-snapshot.json", "container.json", "register-image.json"],
        ),
        (
            "a URL",
            report(&json!({})),
            ami(&json!({ "bucket": null, "key": null, "url": "s3://my-bucket/k.vhd" })),
            &["import-image.json", "containers.json", "import-snapshot.json", "container.json", "register-image.json"],
        ),
        (
            "legacy import and role",
            report(&json!({ "boot": null })),
            ami(&volume),
            &[
                "import-snapshot.json",
                "container.json",
                "import-volume.xml",
                "import-volume.json",
                "vmimport-trust-policy.json",
                "vmimport-role-policy.json",
                "bucket-policy.json",
            ],
        ),
        (
            "scripts",
            report(&json!({})),
            ami(&scripts),
            &[
                "import-image.json",
                "containers.json",
                "import-snapshot.json",
                "container.json",
                "register-image.json",
                "launch-permission.json",
                "import-image.sh",
                "import-snapshot.sh",
                "ebs.sh",
            ],
        ),
    ]
}

/// A UEFI variable store of so many characters, by its beginning.
pub fn uefi_data(chars: usize) -> String {
    format!("QU1aTlVFRkkA{}", "A".repeat(chars - 12))
}
