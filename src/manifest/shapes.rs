//! Shapes that several requests share, with the members' names as the EC2 API has them.

use super::choices::AmiChoices;
use super::rules;
use super::values::VolumeType;
use crate::error::{Error, Result, escape};
use crate::report::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A disk format that an import takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum DiskFormat {
    /// The bytes of the disk.
    Raw,
    /// VHD, fixed or dynamic.
    Vhd,
}

/// An object in S3.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UserBucket {
    /// The bucket, in the Region of the import.
    pub s3_bucket: String,
    /// The key in it.
    pub s3_key: String,
}

/// A disk of an ImportImage request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImageDiskContainer {
    /// What the disk is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The device that the disk becomes: `/dev/sda1` and so on, where there are several disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Format of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// A snapshot in place of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// A URL (`s3://` or `https://`) in place of bucket and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Bucket and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_bucket: Option<UserBucket>,
}

/// The disk of an ImportSnapshot request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SnapshotDiskContainer {
    /// What the disk is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Format of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// A URL (`s3://` or `https://`) in place of bucket and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Bucket and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_bucket: Option<UserBucket>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    /// Name.
    pub key: String,
    /// Value, which may be empty.
    pub value: String,
}

/// Tags for what a request makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagSpecification {
    /// What is tagged: one kind for each request, any other makes it fail.
    pub resource_type: String,
    /// The tags, by key.
    pub tags: Vec<Tag>,
}

/// A device of an AMI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BlockDeviceMapping {
    /// Such as `/dev/xvda`.
    pub device_name: String,
    /// An EBS volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebs: Option<EbsBlockDevice>,
    /// An instance store volume, `ephemeral0` and on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_name: Option<String>,
    /// The empty string: no device of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_device: Option<String>,
}

/// An EBS volume of an AMI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EbsBlockDevice {
    /// The snapshot that it is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Size in GiB, at least the snapshot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<u64>,
    /// Type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<VolumeType>,
    /// IOPS, for gp3, io1 and io2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// MiB/s, for gp3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Whether it goes with its instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_on_termination: Option<bool>,
    /// Not together with a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
}

/// The format that imports know the image file by.
pub(super) fn disk_format(report: &Report) -> Result<DiskFormat> {
    match report.file.format.as_str() {
        "raw" => Ok(DiskFormat::Raw),
        "vhd" | "vhd-fixed" => Ok(DiskFormat::Vhd),
        other => Err(Error::unsupported(format!("imports take raw and VHD images from here, not {}", escape(other.as_bytes())))),
    }
}

/// The description of the disk: what it is, and its checksum. The checksum makes the request, and so its ClientToken,
/// another one when the image under the same key is another one.
pub(super) fn disk_description(report: &Report) -> String {
    let name = [report.name.as_deref(), report.version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { "disk".to_owned() } else { name };
    format!("{}, LINEAR SHA-256 {}", escape(name.as_bytes()), escape(report.blocks.linear_checksum.as_bytes()))
}

/// Where the choices say that the image lies: in a bucket, or at a URL.
pub(super) fn uploaded(choices: &AmiChoices) -> Result<(Option<UserBucket>, Option<String>)> {
    match (&choices.bucket, &choices.key, &choices.url) {
        (_, None, Some(url)) => Ok((None, Some(url.clone()))),
        (Some(bucket), Some(key), None) => Ok((Some(UserBucket { s3_bucket: bucket.clone(), s3_key: key.clone() }), None)),
        _ => Err(Error::invalid("an import needs the bucket and the key of the uploaded image, or its URL")),
    }
}

/// Checks that a container has one source, and that source.
pub(super) fn check_source(user_bucket: Option<&UserBucket>, url: Option<&str>, snapshot_id: Option<&str>) -> Result<()> {
    let sources = usize::from(user_bucket.is_some()) + usize::from(url.is_some()) + usize::from(snapshot_id.is_some());
    if sources != 1 {
        return Err(Error::invalid(format!("a disk container has one of Url, UserBucket and SnapshotId, not {sources} (EC2 API, ImageDiskContainer)")));
    }
    if let Some(object) = user_bucket {
        rules::bucket(&object.s3_bucket)?;
        rules::key(&object.s3_key)?;
    }
    url.map_or(Ok(()), rules::object_url)?;
    snapshot_id.map_or(Ok(()), rules::snapshot_id)
}

/// Checks what every import task is told besides its disks.
pub(super) fn check_task(description: Option<&str>, role_name: Option<&str>, encrypted: Option<bool>, kms_key_id: Option<&str>) -> Result<()> {
    description.map_or(Ok(()), rules::description)?;
    role_name.map_or(Ok(()), rules::role_name)?;
    kms_key_id.map_or(Ok(()), rules::kms_key_id)?;
    rules::encryption(encrypted, kms_key_id)
}

/// Tags as the API has them.
pub(super) fn tag_list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// The tags of a request; none where there are none.
pub(super) fn tag_specifications(resource_type: &str, tags: &BTreeMap<String, String>) -> Vec<TagSpecification> {
    let tags = tag_list(tags);
    if tags.is_empty() { Vec::new() } else { vec![TagSpecification { resource_type: resource_type.to_owned(), tags }] }
}

/// Checks the tags of a request that makes a `resource_type`.
pub(super) fn check_tags(specifications: &[TagSpecification], resource_type: &str) -> Result<()> {
    let mut all = BTreeMap::new();
    for specification in specifications {
        if specification.resource_type != resource_type {
            let actual = escape(specification.resource_type.as_bytes());
            return Err(Error::invalid(format!("this request tags a {resource_type}, not \"{actual}\" (EC2 API, TagSpecifications: any other value fails)")));
        }
        for tag in &specification.tags {
            if all.insert(tag.key.clone(), tag.value.clone()).is_some() {
                return Err(Error::invalid(format!("the tag \"{}\" is given twice", escape(tag.key.as_bytes()))));
            }
        }
    }
    rules::tags(&all)
}

/// A document: pretty JSON in the order of the API's reference, with a final newline. Equal values give equal bytes.
pub(super) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a request has only named members and strings, numbers and lists in them");
    text.push('\n');
    text
}
