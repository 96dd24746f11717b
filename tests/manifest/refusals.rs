//! What AWS would refuse is refused here, with the rule.

use crate::cases::{ami, report, uefi_data};
use rootvol::ErrorKind;
use rootvol::manifest::{ImportImageRequest, ImportSnapshotRequest, RegisterImageRequest, UtcTime, VolumeType};
use rootvol::units::{GIB, TIB};
use serde_json::json;

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
    assert!(broken(&|request| request.uefi_data = Some("QU1aTlVFRkk".to_owned())).contains("no base64"));
    assert!(broken(&|request| request.uefi_data = Some("QUJDRA==".to_owned())).contains("AMZNUEFI"));
    assert!(broken(&|request| request.block_device_mappings[0].ebs = None).contains("one of Ebs, VirtualName and NoDevice, not 0"));
    assert!(broken(&|request| request.block_device_mappings[0].ebs.as_mut().unwrap().snapshot_id = None).contains("from a snapshot"));
    assert!(broken(&|request| request.block_device_mappings[0].ebs.as_mut().unwrap().volume_type = Some(VolumeType::Sc1)).contains("125 to 16384"));
    assert!(broken(&|request| request.block_device_mappings[0].ebs.as_mut().unwrap().encrypted = Some(true)).contains("snapshot"));
    assert!(serde_json::from_str::<ImportSnapshotRequest>("{\"Unknown\":1}").is_err());
}

/// What is wrong of the AMI as a whole: choices, and the message's part.
#[test]
fn an_ami_that_aws_would_refuse_is_refused_with_the_rule() {
    let device = |device: serde_json::Value| json!({ "device": [device] });
    let cases = [
        (json!({ "volume_size": "1 GiB" }), "root volume has 1 GiB, but the image needs 2 GiB"),
        (json!({ "volume_size": "1536 MiB" }), "whole GiB"),
        (json!({ "iops": 3001 }), "at most 3000 IOPS"),
        (json!({ "volume_size": "10 GiB", "iops": 5001 }), "at most 5000 IOPS"),
        (json!({ "throughput": 751 }), "at most 750 MiB/s"),
        (json!({ "volume_size": "20 GiB", "iops": 4000, "throughput": 1001 }), "at most 1000 MiB/s"),
        (json!({ "volume_size": "20 GiB", "iops": 80_001 }), "3000 to 80000"),
        (json!({ "volume_type": "io1", "volume_size": "4 GiB", "iops": 201 }), "at most 200 IOPS"),
        (json!({ "volume_type": "st1", "volume_size": "125 GiB" }), "cannot be a root volume"),
        (device(json!({ "name": "/dev/xvda", "volume_size": "1 GiB" })), "no device name"),
        (device(json!({ "name": "/dev/sda1", "volume_size": "1 GiB" })), "no device name"),
        (device(json!({ "name": "/dev/sdb1", "volume_size": "1 GiB" })), "no device name"),
        (device(json!({ "name": "/dev/nvme1n1", "volume_size": "1 GiB" })), "no device name"),
        (device(json!({ "name": "/dev/sdf" })), "one of an EBS volume"),
        (device(json!({ "name": "/dev/sdf", "virtual_name": "ephemeral0", "no_device": true })), "one of an EBS volume"),
        (device(json!({ "name": "/dev/sdf", "virtual_name": "ephemeral24" })), "ephemeral0 to ephemeral23"),
        (device(json!({ "name": "/dev/sdf", "virtual_name": "ephemeral0", "iops": 3000 })), "for EBS volumes"),
        (device(json!({ "name": "/dev/sdf", "snapshot_id": "snap-0a", "encrypted": false })), "the snapshot's"),
        (json!({ "device": [{ "name": "/dev/sdf", "volume_size": "1 GiB" }, { "name": "/dev/sdf", "no_device": true }] }), "mapped twice"),
        (json!({ "device": [{ "name": "/dev/sdf", "volume_size": "1 GiB" }, { "name": "/dev/xvdf", "no_device": true }] }), "are one"),
        (json!({ "uefi_data": uefi_data(64_004) }), "at most 64000 characters, not 64004"),
        (json!({ "uefi_data": "QUJDRA==" }), "AMZNUEFI"),
        (json!({ "uefi_data": uefi_data(64), "uefi_data_file": "x" }), "both give"),
        (json!({ "uefi_data_file": "x" }), "was not read"),
        (json!({ "tpm_support": "v2.0", "boot_mode": "uefi-preferred" }), "needs boot mode uefi"),
        (json!({ "image_id": "i-0a" }), "no AMI"),
        (json!({ "launch_permission": { "users": ["1234"] } }), "twelve digits"),
        (json!({ "launch_permission": { "users": ["123456789012", "123456789012"] } }), "named twice"),
        (json!({ "launch_permission": { "organizations": ["o-abcdefghij"] } }), "whole ARN"),
        (json!({ "launch_permission": { "organizational_units": ["arn:aws:organizations::123456789012:ou/o-abcdefghij"] } }), "whole ARN"),
        (json!({ "launch_permission": { "public": true }, "encrypted": true }), "public AMI has no encrypted volumes"),
        (json!({ "launch_permission": { "public": true }, "device": [{ "name": "/dev/sdf", "volume_size": "1 GiB", "encrypted": true }] }), "public AMI"),
        (json!({ "launch_permission": { "users": ["123456789012"] }, "encrypted": true }), "customer managed key"),
        (json!({ "launch_permission": { "public": true }, "remove_launch_permission": { "public": true } }), "at once"),
        (json!({ "url": "s3://b/k" }), "exclude each other"),
        (json!({ "bucket": null, "key": null, "url": "ftp://x" }), "s3:// or https://"),
        (json!({ "disk": [{ "key": "k" }] }), "names its `format`"),
        (json!({ "disk": [{ "format": "VHD" }] }), "not 0 of them"),
        (json!({ "disk": [{ "snapshot_id": "snap-0a", "format": "VHD" }] }), "no format"),
        (json!({ "disk": [{ "snapshot_id": "snap-0a", "device_name": "/dev/sda1" }] }), "no device name"),
        (json!({ "vmimport_role": { "source_account": "1" } }), "twelve digits"),
        (json!({ "vmimport_role": {}, "encrypted": true, "kms_key_id": "alias/x" }), "no ARN of a KMS key"),
        (json!({ "import_volume": { "part_size": "1 KiB" } }), "at least 1 MiB"),
        (json!({ "import_volume": { "get_url": "http://x" } }), "https://"),
    ];
    for (choices, why) in cases {
        let error = report(&json!({})).ami(&ami(&choices)).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(why), "{choices}: {error} does not say {why:?}");
    }
    let thousand: Vec<String> = (0..1001).map(|n| format!("{n:012}")).collect();
    let error = report(&json!({})).ami(&ami(&json!({ "launch_permission": { "users": thousand } }))).unwrap_err();
    assert!(error.to_string().contains("at most 1000"), "{error}");
    let bios = report(&json!({ "boot": { "mode": "legacy-bios" } })).ami(&ami(&json!({ "uefi_data": uefi_data(64) }))).unwrap_err();
    assert!(bios.to_string().contains("legacy-bios"), "{bios}");
    let disks: Vec<_> = (0..21).map(|_| json!({ "snapshot_id": "snap-0a" })).collect();
    let error = report(&json!({})).import_image_with(&ami(&json!({ "disk": disks }))).unwrap_err();
    assert!(error.to_string().contains("1 to 21 disks, not 22"), "{error}");
}

#[test]
fn deprecation_is_held_to_the_day() {
    let now: UtcTime = "2026-11-21T12:00:00Z".parse().unwrap();
    for (time, public, why) in [
        ("2026-11-21T11:59:59Z", false, "has passed"),
        ("2036-11-21T12:00:00Z", false, ""),
        ("2036-11-21T12:00:01Z", false, "after 10 years"),
        ("2028-11-21T12:00:00Z", true, ""),
        ("2028-11-21T12:00:01Z", true, "after 2 years"),
    ] {
        let choices = ami(&json!({ "deprecate_at": time, "launch_permission": { "public": public } }));
        let request = report(&json!({})).ami(&choices).unwrap().deprecation().unwrap();
        for result in [choices.check_at(now), request.check_at(now, public)] {
            match result {
                Ok(()) => assert_eq!(why, "", "{time} was accepted"),
                Err(error) => assert!(!why.is_empty() && error.to_string().contains(why), "{time}: {error}"),
            }
        }
    }
    assert!(report(&json!({})).ami(&ami(&json!({}))).unwrap().deprecation().is_err());
    assert!(report(&json!({})).ami(&ami(&json!({}))).unwrap().launch_permission().is_err());
    assert!(report(&json!({})).ami(&ami(&json!({}))).unwrap().deregistration_protection().is_err());
}
