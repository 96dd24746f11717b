//! Tables of what the rules take and refuse, and of how names are quoted.

use super::values::VolumeType;
use super::{rules, shell};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::Path;

fn assert_rule(rule: fn(&str) -> Result<()>, good: &[&str], bad: &[(&str, &str)]) {
    for text in good {
        assert!(rule(text).is_ok(), "{text:?} was refused: {}", rule(text).unwrap_err());
    }
    for (text, why) in bad {
        let message = rule(text).expect_err(&format!("{text:?} was accepted")).to_string();
        assert!(message.contains(why), "{text:?}: {message:?} does not say {why:?}");
    }
}

#[test]
fn bucket_names_follow_the_rules_of_s3() {
    assert_rule(
        rules::bucket,
        &["abc", "my-bucket", "my.bucket.2", "0a0", "my-s3aliases", &"a".repeat(63)],
        &[
            ("ab", "3 to 63"),
            (&"a".repeat(64), "has 64"),
            ("My-bucket", "has \"M\""),
            ("my_bucket", "has \"_\""),
            ("bückets", "has \"ü\""),
            ("-bucket", "begin and end"),
            ("bucket.", "begin and end"),
            ("my..bucket", "side by side"),
            ("192.168.5.4", "IP address"),
            ("xn--bucket", "begin with xn--"),
            ("sthree-x", "reserved"),
            ("bucket-s3alias", "reserved"),
            ("bucket--ol-s3", "reserved"),
            ("bucket.mrap", "reserved"),
            ("bucket--use1-az4--x-s3", "reserved"),
        ],
    );
}

#[test]
fn keys_names_and_ids_follow_their_rules() {
    assert_rule(
        rules::key,
        &["a", "images/wéb 1.vhd", &"k".repeat(1024)],
        &[("", "1,024"), (&"é".repeat(513), "1,024"), ("a\nb", "control"), ("a/", "folder")],
    );
    assert_rule(
        rules::ami_name,
        &["web", "web-2026.11.1 (a) [b] c/d 'e' @f_g", &"n".repeat(128)],
        &[("ab", "has 2"), (&"n".repeat(129), "has 129"), ("web+1", "has \"+\""), ("wéb", "has \"é\""), ("a\tb", "\\x09")],
    );
    assert_rule(rules::description, &["", &"é".repeat(255)], &[(&"d".repeat(256), "256"), ("a\nb", "control")]);
    assert_rule(rules::role_name, &["vmimport", "a_b+c=d,e.f@g-h"], &[("", "role"), ("a b", "role"), (&"r".repeat(65), "role")]);
    assert_rule(
        rules::usage_operation,
        &["RunInstances", "RunInstances:0010", "RunInstances:000g"],
        &[("", "RunInstances:0010"), ("RunInstances:", "usage"), ("RunInstances:00", "usage"), ("Run:0010", "usage")],
    );
    let arn = "arn:aws:kms:us-east-1:012345678910:key/abcd1234-a123-456a-a12b-a123b4cd56ef";
    assert_rule(rules::kms_key_id, &[arn, "alias/mine", "abcd1234-a123"], &[("", "KMS"), ("a b", "KMS")]);
    assert_rule(rules::root_device_name, &["/dev/xvda", "/dev/sda1"], &[("/dev/sda", "root device"), ("xvda", "root device"), ("/dev/nvme0n1", "root device")]);
    assert_rule(
        rules::snapshot_id,
        &["snap-0", super::SNAPSHOT_PLACEHOLDER],
        &[("snap-", "snapshot"), ("snap-0G", "snapshot"), ("0123", "snapshot"), (&format!("snap-{}", "0".repeat(60)), "snapshot")],
    );
}

#[test]
fn tags_follow_their_limits() {
    let tag = |key: &str, value: &str| rules::tags(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
    assert!(tag("k", "").is_ok() && tag(&"ö".repeat(127), &"ö".repeat(256)).is_ok() && tag("aws", "x").is_ok() && tag("awö", "x").is_ok());
    for (key, value) in [("", "v"), (&*"k".repeat(128), "v"), ("aws:x", "v"), ("AWS:x", "v"), ("k", &*"v".repeat(257)), ("a\nb", "v"), ("k", "\u{7}")] {
        assert!(tag(key, value).is_err(), "{key:?} = {value:?} was accepted");
    }
    let many = |count: u32| (0..count).map(|n| (n.to_string(), String::new())).collect();
    assert!(rules::tags(&many(50)).is_ok());
    assert!(rules::tags(&many(51)).is_err());
}

#[test]
fn volumes_follow_the_limits_of_their_type() {
    use VolumeType::{Gp2, Gp3, Io1, Io2, Sc1, St1, Standard};
    for (kind, iops, throughput, good) in [
        (Gp3, None, None, true),
        (Gp3, Some(3_000), Some(125), true),
        (Gp3, Some(80_000), Some(2_000), true),
        (Gp3, Some(2_999), None, false),
        (Gp3, Some(80_001), None, false),
        (Gp3, None, Some(124), false),
        (Gp3, None, Some(2_001), false),
        (Gp2, None, None, true),
        (Gp2, Some(3_000), None, false),
        (Gp2, None, Some(125), false),
        (Io1, Some(100), None, true),
        (Io1, None, None, false),
        (Io1, Some(64_001), None, false),
        (Io2, Some(256_000), None, true),
        (Io2, Some(256_000), Some(125), false),
        (Standard, None, None, true),
        (St1, None, None, false),
        (Sc1, None, None, false),
    ] {
        assert_eq!(rules::root_volume(kind, iops, throughput).is_ok(), good, "{kind:?} {iops:?} {throughput:?}");
    }
    for (kind, least, most) in [(Gp2, 1, 16_384), (Gp3, 1, 65_536), (Io1, 4, 16_384), (Io2, 4, 65_536), (St1, 125, 16_384), (Standard, 1, 1_024)] {
        for (gib, good) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            assert_eq!(rules::volume_size(kind, gib).is_ok(), good, "{kind:?} {gib}");
        }
    }
}

#[test]
fn performance_follows_the_size() {
    use VolumeType::{Gp2, Gp3, Io1, Io2};
    for (kind, gib, iops, throughput, good) in [
        (Gp3, 1, Some(3_000), None, true),
        (Gp3, 6, Some(3_001), None, false),
        (Gp3, 8, Some(4_000), Some(1_000), true),
        (Gp3, 8, Some(4_000), Some(1_001), false),
        (Gp3, 8, None, Some(750), true),
        (Gp3, 8, None, Some(751), false),
        (Gp3, u64::MAX, Some(80_000), Some(2_000), true),
        (Io1, 4, Some(200), None, true),
        (Io1, 4, Some(201), None, false),
        (Io2, 4, Some(4_000), None, true),
        (Io2, 4, Some(4_001), None, false),
        (Gp2, 1, None, None, true),
    ] {
        assert_eq!(rules::volume_ratios(kind, gib, iops, throughput).is_ok(), good, "{kind:?} {gib} {iops:?} {throughput:?}");
    }
}

#[test]
fn accounts_arns_and_urls_follow_their_forms() {
    assert_rule(rules::account, &["012345678901"], &[("12345678901", "twelve"), ("1234567890123", "twelve"), ("12345678901x", "twelve"), ("", "twelve")]);
    let organization = "arn:aws-cn:organizations::123456789012:organization/o-abcdefghij";
    assert_rule(
        rules::organization_arn,
        &[organization],
        &[
            ("o-abcdefghij", "ARN"),
            (&organization[..organization.len() - 1], "ARN"),
            (&organization.to_uppercase(), "ARN"),
            ("arn:aws:organizations::1:x", "ARN"),
        ],
    );
    let unit = "arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-abcd-abcdefgh";
    assert_rule(rules::organizational_unit_arn, &[unit], &[(organization, "ARN"), ("ou-abcd-abcdefgh", "ARN"), (&unit[..unit.len() - 1], "ARN")]);
    let key = "arn:aws:kms:us-east-1:123456789012:key/abcd1234-a123-456a-a12b-a123b4cd56ef";
    assert_rule(
        |arn| rules::kms_key_arn(arn).map(|_| ()),
        &[key],
        &[("alias/x", "ARN"), (&key.replace("key/", "alias/"), "ARN"), (&key.replace(":aws:", ":mars:"), "ARN")],
    );
    assert_rule(rules::image_id, &["ami-0", super::IMAGE_PLACEHOLDER], &[("ami-", "AMI"), ("ami-0G", "AMI"), ("i-0", "AMI")]);
    assert_rule(
        rules::object_url,
        &["s3://b/k", "https://b/k?x=%20"],
        &[("http://b", "s3://"), ("https://", "s3://"), ("https://a b", "blanks"), ("https://ü", "blanks")],
    );
    assert_rule(rules::https_url, &["https://b"], &[("s3://b/k", "https://")]);
    // A presigned URL is a secret.
    assert!(!rules::object_url("https://b?X-Amz-Signature=secret and more").unwrap_err().to_string().contains("secret"));
    assert_rule(
        rules::virtual_name,
        &["ephemeral0", "ephemeral23"],
        &[("ephemeral24", "store"), ("ephemeral", "store"), ("ephemeral01", "store"), ("ephemeral+1", "store")],
    );
    assert_rule(
        super::devices::data_device_name,
        &["/dev/sdb", "/dev/sdz", "/dev/xvdb", "/dev/xvdba", "/dev/xvdcz"],
        &[
            ("/dev/sda", "no device"),
            ("/dev/sda1", "no device"),
            ("/dev/sdb1", "no device"),
            ("/dev/xvdda", "no device"),
            ("/dev/sdaa", "no device"),
            ("sdb", "no device"),
        ],
    );
}

#[test]
fn names_are_quoted_for_a_shell() {
    for (bytes, quoted) in [
        (&b"web.vhd"[..], "web.vhd"),
        (b"", "''"),
        (b"my image.vhd", "'my image.vhd'"),
        (b"it's", "'it'\\''s'"),
        (b"$HOME;`x`", "'$HOME;`x`'"),
        ("wéb".as_bytes(), "'wéb'"),
        (b"a\nb", "$'a\\012b'"),
        (b"\xff'\\1", "$'\\377\\'\\\\1'"),
        ("\u{202e}x".as_bytes(), "$'\\342\\200\\256x'"),
        (b"a\\b", "'a\\b'"),
    ] {
        assert_eq!(shell::quote(bytes), quoted);
    }
}

#[test]
fn file_arguments_are_never_options_or_protocols() {
    for (path, argument) in [("-rf", "./-rf"), ("~x", "./~x"), ("nbd:x", "./nbd:x"), ("a/b:c", "a/b:c"), ("/a:b", "/a:b"), ("web.vhd", "web.vhd")] {
        assert_eq!(shell::file_argument(Path::new(path)), argument.as_bytes());
    }
}
