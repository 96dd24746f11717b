//! What AWS demands of names, keys and numbers, each rule with its source. Most of it stands in prose only: the service
//! model has plain strings there.

use super::choices::{LicenseType, VolumeType};
use crate::error::{Error, Result, escape};
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest description of an AMI, in characters (RegisterImage, ImageDescriptionRequest).
pub(super) const DESCRIPTION_MAX_CHARS: usize = 255;
/// Most tags on a resource (Amazon EC2 user guide, tag restrictions; the EBS direct API's model says the same).
const TAGS_MAX: usize = 50;

/// How a value is written in documents, for messages.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        other => format!("{other:?}"),
    }
}

/// An input in a message.
fn shown(text: &str) -> String {
    format!("\"{}\"", escape(text.as_bytes()))
}

/// Amazon S3 user guide, "General purpose bucket naming rules".
pub(super) fn bucket(name: &str) -> Result<()> {
    const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let wrong = |rule: String| Err(Error::invalid(format!("{} is no bucket name: {rule} (Amazon S3 user guide, bucket naming rules)", shown(name))));
    if !(3..=63).contains(&name.len()) {
        return wrong(format!("3 to 63 characters are allowed, it has {}", name.len()));
    }
    if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-')) {
        return wrong(format!("only a-z, 0-9, '.' and '-' are allowed, it has {}", shown(&c.to_string())));
    }
    if name.starts_with(['.', '-']) || name.ends_with(['.', '-']) {
        return wrong("it must begin and end with a letter or digit".to_owned());
    }
    if name.contains("..") {
        return wrong("two dots side by side are not allowed".to_owned());
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return wrong("it must not look like an IP address".to_owned());
    }
    if let Some(prefix) = PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
        return wrong(format!("names that begin with {prefix} are reserved"));
    }
    if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        return wrong(format!("names that end with {suffix} are reserved"));
    }
    Ok(())
}

/// Amazon S3 user guide, "Naming Amazon S3 objects".
pub(super) fn key(key: &str) -> Result<()> {
    let wrong = |rule: &str| Err(Error::invalid(format!("{} is no key for the image: {rule}", shown(key))));
    if !(1..=1024).contains(&key.len()) {
        return wrong("1 to 1,024 bytes are allowed (Amazon S3 user guide, naming objects)");
    }
    if key.chars().any(char::is_control) {
        return wrong("control characters are to be avoided (Amazon S3 user guide, naming objects)");
    }
    if key.ends_with('/') {
        return wrong("`aws s3 cp` takes a key that ends with '/' for a folder and adds the file's name");
    }
    Ok(())
}

/// EC2 API, RegisterImage, Name.
pub(super) fn ami_name(name: &str) -> Result<()> {
    let wrong = |rule: String| Err(Error::invalid(format!("{} is no AMI name: {rule} (EC2 API, RegisterImage, Name)", shown(name))));
    let chars = name.chars().count();
    if !(3..=128).contains(&chars) {
        return wrong(format!("3 to 128 characters are allowed, it has {chars}"));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(*c))) {
        Some(c) => wrong(format!("only A-Z, a-z, 0-9, space and ()[]./-'@_ are allowed, it has {}", shown(&c.to_string()))),
        None => Ok(()),
    }
}

/// EC2 API, RegisterImage, ImageDescriptionRequest.
pub(super) fn description(text: &str) -> Result<()> {
    let chars = text.chars().count();
    if chars > DESCRIPTION_MAX_CHARS {
        return Err(Error::invalid(format!("a description has at most {DESCRIPTION_MAX_CHARS} characters, not {chars} (EC2 API, RegisterImage, Description)")));
    }
    no_control("a description", text)
}

fn no_control(what: &str, text: &str) -> Result<()> {
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} has no control characters, but {} was given", shown(text))));
    }
    Ok(())
}

/// IAM API, roleNameType.
pub(super) fn role_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(good) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no role name: 1 to 64 of A-Z, a-z, 0-9 and _+=,.@- are allowed (IAM API, roleNameType)", shown(name))))
}

/// VM Import/Export user guide, "Licensing options": `RunInstances`, or that and a colon and four letters or digits.
pub(super) fn usage_operation(text: &str) -> Result<()> {
    let code = text.strip_prefix("RunInstances:");
    if text == "RunInstances" || code.is_some_and(|code| code.len() == 4 && code.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no usage operation: RunInstances or a form like RunInstances:0010 was expected (VM Import/Export user guide, licensing options)",
        shown(text)
    )))
}

/// EC2 API, ImportImage, KmsKeyId: a key id, an alias, or the ARN of either.
pub(super) fn kms_key_id(text: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || ":/_-".contains(c);
    if (1..=2048).contains(&text.len()) && text.chars().all(good) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no KMS key: a key id, an alias, or the ARN of either was expected (EC2 API, ImportImage, KmsKeyId)", shown(text))))
}

/// EC2 user guide, "Device names for volumes": the root of an HVM image.
pub(super) fn root_device_name(name: &str) -> Result<()> {
    match name {
        "/dev/xvda" | "/dev/sda1" => Ok(()),
        _ => Err(Error::invalid(format!("{} is no root device: /dev/xvda or /dev/sda1 was expected (EC2 user guide, device names)", shown(name)))),
    }
}

/// EC2 API, ImportImage and ImportSnapshot, KmsKeyId.
pub(super) fn encryption(encrypted: Option<bool>, kms_key_id: Option<&str>) -> Result<()> {
    if kms_key_id.is_some() && encrypted != Some(true) {
        return Err(Error::invalid("a KMS key needs `encrypted = true` (EC2 API, ImportImage: if KmsKeyId is specified, Encrypted must also be set)"));
    }
    Ok(())
}

/// VM Import/Export user guide, licensing: the two exclude each other.
pub(super) fn license(license: Option<LicenseType>, usage_operation: Option<&str>) -> Result<()> {
    if license.is_some() && usage_operation.is_some() {
        return Err(Error::invalid("licence type and usage operation exclude each other (VM Import/Export user guide, licensing)"));
    }
    Ok(())
}

/// EC2 API, Tag: keys of at most 127 characters, not `aws:…`, values of at most 256.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid(format!("a resource has at most {TAGS_MAX} tags, not {} (EC2 user guide, tag restrictions)", tags.len())));
    }
    for (key, value) in tags {
        tag(key, value)?;
    }
    Ok(())
}

/// One tag; see [`tags`].
pub(super) fn tag(key: &str, value: &str) -> Result<()> {
    let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
    if !(1..=127).contains(&key_chars) {
        return Err(Error::invalid(format!("a tag's key has 1 to 127 characters, {} has {key_chars} (EC2 API, Tag)", shown(key))));
    }
    // AWS says "aws:" in any case is reserved.
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return Err(Error::invalid(format!("the tag {} begins with aws:, which is reserved (EC2 API, Tag)", shown(key))));
    }
    if value_chars > 256 {
        return Err(Error::invalid(format!("a tag's value has at most 256 characters, that of {} has {value_chars} (EC2 API, Tag)", shown(key))));
    }
    no_control("a tag's key", key)?;
    no_control("a tag's value", value)
}

/// NitroTPM's demand of the boot mode.
pub(super) fn tpm_needs_uefi() -> Error {
    Error::invalid("NitroTPM needs boot mode uefi (EC2 user guide, NitroTPM prerequisites)")
}

/// EC2 API, EbsBlockDevice, Iops and Throughput.
pub(super) fn volume(kind: VolumeType, iops: Option<u32>, throughput: Option<u32>) -> Result<()> {
    const SOURCE: &str = "EC2 API, EbsBlockDevice";
    let name = word(&kind);
    let range = match kind {
        VolumeType::Gp3 => Some(3_000..=80_000),
        VolumeType::Io1 => Some(100..=64_000),
        VolumeType::Io2 => Some(100..=256_000),
        _ => None,
    };
    match (range, iops) {
        (Some(range), Some(iops)) if !range.contains(&iops) => {
            return Err(Error::invalid(format!("{name} volumes have {} to {} IOPS, not {iops} ({SOURCE}, Iops)", range.start(), range.end())));
        }
        (Some(_), None) if kind != VolumeType::Gp3 => return Err(Error::invalid(format!("{name} volumes need `iops` ({SOURCE}, Iops)"))),
        (None, Some(_)) => return Err(Error::invalid(format!("IOPS are provisioned for gp3, io1 and io2 volumes, not for {name} ({SOURCE}, Iops)"))),
        _ => {}
    }
    match throughput {
        Some(_) if kind != VolumeType::Gp3 => Err(Error::invalid(format!("throughput is chosen for gp3 volumes only, not for {name} ({SOURCE}, Throughput)"))),
        Some(throughput) if !(125..=2_000).contains(&throughput) => {
            Err(Error::invalid(format!("gp3 volumes have a throughput of 125 to 2000 MiB/s, not {throughput} ({SOURCE}, Throughput)")))
        }
        _ => Ok(()),
    }
}

/// [`volume`], and EBS user guide, "EBS volume types": HDD volumes boot nothing.
pub(super) fn root_volume(kind: VolumeType, iops: Option<u32>, throughput: Option<u32>) -> Result<()> {
    if matches!(kind, VolumeType::St1 | VolumeType::Sc1) {
        return Err(Error::invalid(format!("a {} volume cannot be a root volume (EBS user guide, volume types)", word(&kind))));
    }
    volume(kind, iops, throughput)
}

/// EC2 API, EbsBlockDevice, VolumeSize, in GiB.
pub(super) fn volume_size(kind: VolumeType, gib: u64) -> Result<()> {
    let range = match kind {
        VolumeType::Gp2 => 1..=16_384,
        VolumeType::Gp3 => 1..=65_536,
        VolumeType::Io1 => 4..=16_384,
        VolumeType::Io2 => 4..=65_536,
        VolumeType::St1 | VolumeType::Sc1 => 125..=16_384,
        VolumeType::Standard => 1..=1_024,
    };
    if range.contains(&gib) {
        return Ok(());
    }
    let (name, start, end) = (word(&kind), range.start(), range.end());
    Err(Error::invalid(format!("{name} volumes have {start} to {end} GiB, but {gib} GiB are needed (EC2 API, EbsBlockDevice, VolumeSize)")))
}

/// EC2 API: ids of snapshots.
pub(super) fn snapshot_id(id: &str) -> Result<()> {
    let digits = id.strip_prefix("snap-").unwrap_or("");
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if (1..=59).contains(&digits.len()) && digits.bytes().all(hex) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no snapshot: a form like snap-0123456789abcdef0 was expected (EBS direct API, SnapshotId)", shown(id))))
}
