//! What AWS demands of names, keys and numbers, each rule with its source. Most of it stands in prose only: the service
//! model has plain strings there.

use super::time::UtcTime;
use super::values::{LicenseType, Partition, VolumeType};
use crate::checksum::base64_decode;
use crate::error::{Error, Result, escape};
use crate::units::{GIB, Size};
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest description of an AMI, in characters (RegisterImage, ImageDescriptionRequest).
pub(super) const DESCRIPTION_MAX_CHARS: usize = 255;
/// Longest UEFI variable store in base64 (EC2 API, ImageUefiDataRequest).
pub(super) const UEFI_DATA_MAX_CHARS: usize = 64_000;
/// How long after now a private AMI is deprecated at the latest, and after its making a public one (EC2 API, EnableImageDeprecation).
const DEPRECATION_YEARS: (i64, i64) = (10, 2);
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

/// [`volume`] and [`no_root_volume`].
pub(super) fn root_volume(kind: VolumeType, iops: Option<u32>, throughput: Option<u32>) -> Result<()> {
    no_root_volume(kind)?;
    volume(kind, iops, throughput)
}

/// EBS user guide, "EBS volume types": HDD volumes boot nothing.
pub(super) fn no_root_volume(kind: VolumeType) -> Result<()> {
    if matches!(kind, VolumeType::St1 | VolumeType::Sc1) {
        return Err(Error::invalid(format!("a {} volume cannot be a root volume (EBS user guide, volume types)", word(&kind))));
    }
    Ok(())
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

/// EBS user guide, "Amazon EBS volume types": how much performance a size can have.
pub(super) fn volume_ratios(kind: VolumeType, gib: u64, iops: Option<u32>, throughput: Option<u32>) -> Result<()> {
    const SOURCE: &str = "EBS user guide, volume types";
    let per_gib = match kind {
        VolumeType::Gp3 => 500,
        VolumeType::Io1 => 50,
        VolumeType::Io2 => 1_000,
        _ => return Ok(()),
    };
    let name = word(&kind);
    // What every gp3 volume has, whatever its size.
    let baseline = if kind == VolumeType::Gp3 { 3_000 } else { 100 };
    let most = gib.saturating_mul(per_gib).max(baseline);
    if let Some(iops) = iops.filter(|iops| u64::from(*iops) > most) {
        return Err(Error::invalid(format!("a {name} volume of {gib} GiB has at most {most} IOPS, {per_gib} a GiB, not {iops} ({SOURCE})")));
    }
    let iops = iops.unwrap_or(3_000);
    match throughput {
        Some(throughput) if throughput > iops / 4 => {
            Err(Error::invalid(format!("a gp3 volume with {iops} IOPS has a throughput of at most {} MiB/s, a quarter, not {throughput} ({SOURCE})", iops / 4)))
        }
        _ => Ok(()),
    }
}

/// EBS volumes have whole GiB (EC2 API, EbsBlockDevice, VolumeSize).
pub(super) fn whole_gib(size: Size) -> Result<u64> {
    let bytes = size.as_bytes();
    if bytes == 0 || !bytes.is_multiple_of(GIB) {
        return Err(Error::invalid(format!("EBS volumes have whole GiB, not {} (EC2 API, EbsBlockDevice, VolumeSize)", size.exact())));
    }
    Ok(bytes / GIB)
}

/// EC2 API, EbsBlockDevice, Encrypted.
pub(super) fn snapshots_keep_their_encryption() -> Error {
    Error::invalid("the encryption of a volume made from a snapshot is the snapshot's (EC2 API, EbsBlockDevice, Encrypted)")
}

/// EC2 user guide, "Shared AMIs": what is public is not encrypted.
pub(super) fn public_is_not_encrypted() -> Error {
    Error::invalid("a public AMI has no encrypted volumes: launch permission for all needs `encrypted = false` (EC2 user guide, shared AMIs)")
}

/// EC2 user guide, "Shared AMIs": others cannot use the key that AWS made.
pub(super) fn shared_needs_own_key() -> Error {
    Error::invalid(
        "an encrypted AMI is shared with a customer managed key only: others cannot use the account's own key of EBS, so `kms_key_id` is missing \
         (EC2 user guide, shared AMIs)",
    )
}

/// EC2 user guide, "Block device mapping concepts": `ephemeral0` to `ephemeral23`.
pub(super) fn virtual_name(name: &str) -> Result<()> {
    let number = name.strip_prefix("ephemeral").filter(|digits| *digits == "0" || !digits.starts_with(['0', '+']));
    if number.and_then(|digits| digits.parse().ok()).is_some_and(|number: u8| number <= 23) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no instance store volume: ephemeral0 to ephemeral23 are (EC2 user guide, block device mappings)", shown(name))))
}

/// EC2 API, ImageDiskContainer and SnapshotDiskContainer, Url.
pub(super) fn object_url(url: &str) -> Result<()> {
    let rest = url.strip_prefix("s3://").or_else(|| url.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && url.len() <= URL_MAX_BYTES && url.bytes().all(|b| b.is_ascii_graphic()) => Ok(()),
        // A presigned URL is a secret, so it is not repeated.
        _ => Err(Error::invalid("a disk container's Url begins with s3:// or https:// and has no blanks in it (EC2 API, ImageDiskContainer)")),
    }
}

/// Longest URL: S3 takes request lines of 8 KiB.
const URL_MAX_BYTES: usize = 8_192;

/// A URL of https, such as a presigned one, which is not repeated in messages.
pub(super) fn https_url(url: &str) -> Result<()> {
    if url.starts_with("https://") { object_url(url) } else { Err(Error::invalid("a presigned URL begins with https://")) }
}

/// EC2 API, RegisterImage, UefiData: base64 of what begins with `AMZNUEFI`.
pub(super) fn uefi_data(text: &str) -> Result<()> {
    if text.len() > UEFI_DATA_MAX_CHARS {
        return Err(Error::invalid(format!("UefiData has at most {UEFI_DATA_MAX_CHARS} characters, not {} (EC2 API, ImageUefiDataRequest)", text.len())));
    }
    match base64_decode(text) {
        Some(bytes) if bytes.starts_with(b"AMZNUEFI") => Ok(()),
        Some(_) => Err(Error::invalid("UefiData is no UEFI variable store: it does not begin with AMZNUEFI (EC2 user guide, UEFI variables)")),
        None => Err(Error::invalid("UefiData is no base64 (EC2 API, RegisterImage, UefiData)")),
    }
}

/// EC2 API, EnableImageDeprecation, DeprecateAt.
pub(super) fn deprecation(time: UtcTime, now: UtcTime, public: bool) -> Result<()> {
    const SOURCE: &str = "EC2 API, EnableImageDeprecation, DeprecateAt";
    if time < now {
        return Err(Error::invalid(format!("the AMI would be deprecated at {time}, which has passed ({SOURCE})")));
    }
    let years = if public { DEPRECATION_YEARS.1 } else { DEPRECATION_YEARS.0 };
    if time > now.plus_years(years) {
        let which = if public { "a public AMI" } else { "an AMI" };
        return Err(Error::invalid(format!("{which} is deprecated after {years} years at the latest, not at {time} ({SOURCE})")));
    }
    Ok(())
}

/// An account: twelve digits (EC2 API, LaunchPermission, UserId).
pub(super) fn account(id: &str) -> Result<()> {
    if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no account: twelve digits were expected (EC2 API, LaunchPermission, UserId)", shown(id))))
}

/// The ARN of an organization: `arn:aws:organizations::123456789012:organization/o-…` (AWS Organizations API).
pub(super) fn organization_arn(arn: &str) -> Result<()> {
    let rest = organizations_arn(arn).and_then(|rest| rest.strip_prefix("organization/"));
    if rest.is_some_and(|id| id_of("o-", 10, id)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no organization: its whole ARN was expected, such as arn:aws:organizations::123456789012:organization/o-abcdefghij (EC2 user guide, sharing AMIs \
         with organizations)",
        shown(arn)
    )))
}

/// The ARN of an organizational unit: `arn:aws:organizations::123456789012:ou/o-…/ou-…-…` (AWS Organizations API).
pub(super) fn organizational_unit_arn(arn: &str) -> Result<()> {
    let good = organizations_arn(arn).and_then(|rest| rest.strip_prefix("ou/")).and_then(|rest| rest.split_once('/')).is_some_and(|(organization, unit)| {
        let unit = unit.strip_prefix("ou-").and_then(|unit| unit.split_once('-'));
        id_of("o-", 10, organization) && unit.is_some_and(|(root, unit)| id_of("", 4, root) && id_of("", 8, unit))
    });
    if good {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no organizational unit: its whole ARN was expected, such as arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-abcd-abcdefgh (EC2 user \
         guide, sharing AMIs with organizations)",
        shown(arn)
    )))
}

/// What follows the account in an ARN of AWS Organizations.
fn organizations_arn(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(":organizations::")?;
    let (owner, rest) = rest.split_once(':')?;
    let known = partition.starts_with("aws") && partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    (known && account(owner).is_ok()).then_some(rest)
}

/// Lower-case letters and digits, `least` to 32, behind a prefix.
fn id_of(prefix: &str, least: usize, id: &str) -> bool {
    let rest = id.strip_prefix(prefix).unwrap_or("");
    (least..=32).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The ARN of a KMS key, which policies name: no alias and no bare id (AWS KMS developer guide, "Key identifiers"). Gives its partition.
pub(super) fn kms_key_arn(arn: &str) -> Result<Partition> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let partition = [Partition::Aws, Partition::China, Partition::GovCloud].into_iter().find(|known| parts.get(1) == Some(&known.name()));
    let good = matches!(parts.as_slice(), ["arn", _, "kms", region, owner, key]
        if !region.is_empty() && account(owner).is_ok() && key.len() > 4 && key.starts_with("key/"));
    match partition {
        Some(partition) if good && kms_key_id(arn).is_ok() => Ok(partition),
        _ => Err(Error::invalid(format!(
            "{} is no ARN of a KMS key: policies and coldsnap take a form like arn:aws:kms:us-east-1:123456789012:key/…, no alias and no bare id \
             (AWS KMS developer guide, key identifiers)",
            shown(arn)
        ))),
    }
}

/// EC2 API: ids of AMIs.
pub(super) fn image_id(id: &str) -> Result<()> {
    if resource_id("ami-", id) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no AMI: a form like ami-0123456789abcdef0 was expected (EC2 API, ImageId)", shown(id))))
}

/// A prefix and hexadecimal digits, as EC2's ids are.
fn resource_id(prefix: &str, id: &str) -> bool {
    let digits = id.strip_prefix(prefix).unwrap_or("");
    (1..=59).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// EC2 API: ids of snapshots.
pub(super) fn snapshot_id(id: &str) -> Result<()> {
    if resource_id("snap-", id) {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no snapshot: a form like snap-0123456789abcdef0 was expected (EBS direct API, SnapshotId)", shown(id))))
}
