//! The manifest of ImportVolume before an XML parser, and the policies of the service role before IAM's grammar.

use crate::cases::{ami, cases, report};
use crate::common;
use crate::judges::{botocore, python_tool};
use rootvol::manifest::{ImportVolumeManifest, PolicyDocument, VmImportRole, documents};
use rootvol::units::{GIB, MIB};
use serde_json::{Value, json};
use std::path::Path;

/// The form of the manifest, as the API reference has it: elements in this order, no namespace, no other attribute.
const JUDGE: &str = r#"
import json, sys
import xml.etree.ElementTree as tree
data = sys.stdin.buffer.read()
root = tree.fromstring(data)
def names(e): return [c.tag for c in e]
def plain(e): assert not e.attrib and not len(e), e.tag; return e.text
assert root.tag == 'manifest' and not root.attrib, root
assert names(root) == ['version', 'file-format', 'importer', 'self-destruct-url', 'import'], names(root)
assert plain(root[0]) == '2010-11-15' and plain(root[1]) in ('RAW', 'VHD', 'VMDK')
assert names(root[2]) == ['name', 'version', 'release'] and all(plain(e) for e in root[2])
size, volume, parts = root[4]
assert names(root[4]) == ['size', 'volume-size', 'parts'] and list(parts.attrib) == ['count'] and int(parts.get('count')) == len(parts) > 0
next_byte, out = 0, []
for number, part in enumerate(parts):
    assert part.tag == 'part' and part.attrib == {'index': str(number)}, part.attrib
    assert names(part)[:4] == ['byte-range', 'key', 'head-url', 'get-url'] and names(part)[4:] in ([], ['delete-url']), names(part)
    assert set(part[0].attrib) == {'start', 'end'} and not part[0].text
    start, end = int(part[0].get('start')), int(part[0].get('end'))
    assert start == next_byte <= end, (start, end)
    next_byte = end + 1
    out.append([start, end] + [plain(e) for e in part[1:]])
assert next_byte == int(plain(size)), (next_byte, size.text)
print(json.dumps({'size': int(size.text), 'volume': int(plain(volume)), 'destruct': plain(root[3]), 'parts': out}))
"#;

/// What an XML parser reads of a manifest.
fn judged(xml: &str) -> Option<Value> {
    use std::io::Write as _;
    let mut python = common::judge("python3")?;
    let mut child = python.args(["-c", JUDGE]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{xml}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn the_legacy_manifest_is_what_an_xml_parser_reads() {
    let bytes = 25 * MIB + 1;
    let file = json!({ "file": { "format": "raw", "size_bytes": bytes }, "disk": { "size_bytes": 2 * GIB + 512 } });
    let urls = json!({
        "part_size": "10 MiB", "head_url": "https://h/{part}?a=1&b=<2>", "get_url": "https://g/{part}?x='\"", "delete_url": "https://d/{part}",
        "self_destruct_url": "https://s?a=1&b=2"
    });
    let manifest = report(&file).import_volume_manifest(&ami(&json!({ "import_volume": urls, "key": "a & b" }))).unwrap();
    assert_eq!(serde_json::from_value::<ImportVolumeManifest>(serde_json::to_value(&manifest).unwrap()).unwrap(), manifest);
    let part = |n: u64, start: u64, end: u64| {
        json!([start, end, format!("a & b.part{n}"), format!("https://h/{n}?a=1&b=<2>"), format!("https://g/{n}?x='\""), format!("https://d/{n}")])
    };
    let expected = [part(0, 0, 10 * MIB - 1), part(1, 10 * MIB, 20 * MIB - 1), part(2, 20 * MIB, bytes - 1)];
    if let Some(read) = judged(&manifest.to_xml()) {
        assert_eq!(read, json!({ "size": bytes, "volume": 3, "destruct": "https://s?a=1&b=2", "parts": expected }));
    }
    // One part is the image's object; given URLs are taken as they are.
    let one = json!({ "parts": [{ "head_url": "https://h", "get_url": "https://g" }], "self_destruct_url": "https://s" });
    let manifest = report(&json!({})).import_volume_manifest(&ami(&json!({ "import_volume": one }))).unwrap();
    if let Some(read) = judged(&manifest.to_xml()) {
        assert_eq!(read["parts"], json!([[0, 1_299_999_999_u64, "images/web.vhd", "https://h", "https://g"]]));
    }
}

#[test]
fn manifests_that_do_not_fit_the_image_are_refused() {
    let base = json!({ "head_url": "https://h", "get_url": "https://g", "self_destruct_url": "https://s" });
    let with = |changes: Value| {
        let mut import = base.clone();
        for (name, change) in changes.as_object().unwrap() {
            import.as_object_mut().unwrap().insert(name.clone(), change.clone());
        }
        report(&json!({})).import_volume_manifest(&ami(&json!({ "import_volume": import })))
    };
    assert!(with(json!({})).is_ok());
    for (changes, why) in [
        (json!({ "part_size": "1 GiB" }), "one URL for 2 parts"),
        (json!({ "head_url": null }), "needs `head_url`"),
        (json!({ "self_destruct_url": null }), "needs `self_destruct_url`"),
        (json!({ "parts": [{ "head_url": "https://h", "get_url": "https://g" }] }), "not both"),
        (json!({ "head_url": null, "get_url": null, "part_size": "1 GiB", "parts": [{ "head_url": "https://h", "get_url": "https://g" }] }), "for 1 parts"),
    ] {
        let error = with(changes).expect_err(why);
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    }
    let mut manifest = with(json!({})).unwrap();
    manifest.import.parts[0].end += 1;
    assert!(manifest.check().unwrap_err().to_string().contains("follow each other"));
    let huge = report(&json!({ "disk": { "size_bytes": 16 * 1024 * GIB } })).import_volume_manifest(&ami(&json!({ "import_volume": base }))).unwrap_err();
    assert!(huge.to_string().contains("below 16 TiB"), "{huge}");
    assert!(report(&json!({})).import_volume(&ami(&json!({}))).unwrap_err().to_string().contains("availability_zone"));
}

/// The grammar of the IAM user guide, as far as policies here use it.
fn assert_policy(policy: &Value) {
    assert_eq!(policy["Version"], "2012-10-17");
    let members = policy.as_object().unwrap();
    assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), ["Statement", "Version"]);
    for statement in policy["Statement"].as_array().unwrap() {
        for (name, value) in statement.as_object().unwrap() {
            match name.as_str() {
                "Sid" => assert!(value.as_str().unwrap().bytes().all(|b| b.is_ascii_alphanumeric())),
                "Effect" => assert!(["Allow", "Deny"].contains(&value.as_str().unwrap())),
                "Principal" => assert!(value.as_object().unwrap().keys().all(|kind| kind == "AWS" || kind == "Service")),
                "Action" => assert!(value.as_array().unwrap().iter().all(|action| action.as_str().unwrap().split(':').count() == 2)),
                "Resource" => assert!(value.as_array().unwrap().iter().all(|arn| arn == "*" || arn.as_str().unwrap().split(':').count() >= 6)),
                "Condition" => {
                    assert!(value.as_object().unwrap().keys().all(|operator| ["StringEquals", "ArnLike", "Bool"].contains(&operator.as_str())));
                }
                other => panic!("a statement has no {other}"),
            }
        }
    }
}

#[test]
fn the_service_role_is_the_one_of_the_user_guide() {
    let role = ami(&json!({})).vmimport_role().unwrap();
    let expected = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "VMImportAssumesTheRole", "Effect": "Allow", "Principal": { "Service": "vmie.amazonaws.com" }, "Action": ["sts:AssumeRole"],
            "Condition": { "StringEquals": { "sts:Externalid": "vmimport" } }
        }]
    });
    assert_eq!(serde_json::to_value(&role.trust_policy).unwrap(), expected);
    let expected = json!([
        { "Sid": "ReadTheImages", "Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"],
          "Resource": ["arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/*"] },
        { "Sid": "MakeSnapshotsAndImages", "Effect": "Allow",
          "Action": ["ec2:ModifySnapshotAttribute", "ec2:CopySnapshot", "ec2:RegisterImage", "ec2:Describe*"], "Resource": ["*"] }
    ]);
    assert_eq!(serde_json::to_value(&role.role_policy).unwrap()["Statement"], expected);
    assert_eq!(role.bucket_policy, None);
    let key = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/abcd1234-a123-456a-a12b-a123b4cd56ef";
    let choices = json!({ "encrypted": true, "kms_key_id": key, "role_name": "importer", "vmimport_role": { "partition": "aws-us-gov", "source_account": "123456789012" } });
    let role = ami(&choices).vmimport_role().unwrap();
    assert_eq!(
        serde_json::to_value(&role.trust_policy).unwrap()["Statement"][0]["Condition"],
        json!({ "ArnLike": { "aws:SourceArn": "arn:aws-us-gov:vmie:*:123456789012:*" },
                "StringEquals": { "aws:SourceAccount": "123456789012", "sts:Externalid": "vmimport" } })
    );
    let policy = serde_json::to_value(&role.role_policy).unwrap();
    assert_eq!(policy["Statement"][0]["Resource"][1], "arn:aws-us-gov:s3:::my-bucket/*");
    let actions = json!(["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]);
    assert_eq!(policy["Statement"][2], json!({ "Sid": "UseTheKey", "Effect": "Allow", "Action": actions, "Resource": [key] }));
    let bucket = serde_json::to_value(role.bucket_policy.as_ref().unwrap()).unwrap();
    assert_eq!(bucket["Statement"][1]["Principal"], json!({ "AWS": "arn:aws-us-gov:iam::123456789012:role/importer" }));
    assert_eq!(serde_json::from_str::<VmImportRole>(&role.to_json()).unwrap(), role);
    for policy in [&role.trust_policy, &role.role_policy, role.bucket_policy.as_ref().unwrap()] {
        assert_policy(&serde_json::to_value(policy).unwrap());
    }
    let elsewhere = ami(&json!({ "encrypted": true, "kms_key_id": key })).vmimport_role().unwrap_err();
    assert!(elsewhere.to_string().contains("not in the partition aws"), "{elsewhere}");
    let broken = PolicyDocument { version: "2012-10-17".to_owned(), statement: Vec::new() };
    assert!(broken.check().unwrap_err().to_string().contains("at least one statement"));
}

#[test]
fn policies_pass_the_models_of_iam_and_s3() {
    if botocore().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, report, choices, _) = cases().into_iter().find(|(what, ..)| *what == "legacy import and role").unwrap();
    let made = documents(&report, &choices, Path::new("web.vhd")).written;
    let text = |suffix: &str| made.iter().find(|document| document.suffix == suffix).unwrap().text.clone();
    for (service, operation, request) in [
        ("iam", "CreateRole", json!({ "RoleName": "vmimport", "AssumeRolePolicyDocument": text("vmimport-trust-policy.json") })),
        ("iam", "PutRolePolicy", json!({ "RoleName": "vmimport", "PolicyName": "vmimport", "PolicyDocument": text("vmimport-role-policy.json") })),
        ("s3", "PutBucketPolicy", json!({ "Bucket": "my-bucket", "Policy": text("bucket-policy.json") })),
    ] {
        let file = folder.path().join(operation);
        std::fs::write(&file, request.to_string()).unwrap();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/validate_aws.py");
        // Its second layer knows patterns of Java only in part, and IAM's are such.
        let output = python_tool("python3").unwrap().arg(tool).args([operation, "--service", service, "--no-strict"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
