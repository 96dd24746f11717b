//! `import-snapshot.json`: the request of ImportSnapshot, which makes an EBS snapshot of an image in S3 (EC2 API
//! reference, ImportSnapshot; VM Import/Export user guide, "Importing a disk as a snapshot").
//!
//! ImportSnapshot does not look inside: any architecture, loader and filesystem, data disks too.

use super::choices::AmiChoices;
use super::import_image::check_disk;
use super::shapes::{self, SnapshotDiskContainer, TagSpecification};
use super::token;
use crate::error::{Error, Result};
use crate::report::Report;
use crate::units::TIB;
use serde::{Deserialize, Serialize};

/// Disks of this size and more are refused (VM Import/Export user guide, Limitations).
const DISK_LIMIT_BYTES: u64 = 16 * TIB;
/// What its tags are on.
const RESOURCE_TYPE: &str = "import-snapshot-task";

/// The whole request: `aws ec2 import-snapshot --cli-input-json file://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImportSnapshotRequest {
    /// Equal requests of one attempt have one token, and start one task. [`ImportSnapshotRequest::set_attempt`] renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// What is imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_container: Option<SnapshotDiskContainer>,
    /// Whether the snapshot is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// With which key; needs `Encrypted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// The service role, where it is not `vmimport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_name: Option<String>,
    /// Tags of the import task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_specifications: Vec<TagSpecification>,
}

impl Report {
    /// The ImportSnapshot request for this image.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a disk of 16 TiB or more, or with sectors that EBS has not,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for choices that contradict the image or each other.
    pub fn import_snapshot(&self, ami: &AmiChoices) -> Result<ImportSnapshotRequest> {
        ami.check()?;
        check_disk(self)?;
        check_size(self)?;
        let name = ami.ami_name(self.name.as_deref(), self.version.as_deref());
        let (user_bucket, url) = shapes::uploaded(ami)?;
        let mut request = ImportSnapshotRequest {
            client_token: None,
            description: ami.description.clone().or_else(|| name.clone()),
            disk_container: Some(SnapshotDiskContainer {
                description: Some(shapes::disk_description(self)),
                format: Some(shapes::disk_format(self)?),
                user_bucket,
                url,
            }),
            encrypted: ami.encrypted,
            kms_key_id: ami.kms_key_id.clone(),
            role_name: ami.role_name.clone(),
            tag_specifications: shapes::tag_specifications(RESOURCE_TYPE, &ami.tags_with_name(name.as_deref())),
        };
        request.set_attempt(ami.attempt());
        request.check()?;
        Ok(request)
    }
}

/// What no import takes.
pub(super) fn check_size(report: &Report) -> Result<()> {
    if report.disk.size_bytes >= DISK_LIMIT_BYTES {
        let size = crate::Size::bytes(report.disk.size_bytes);
        return Err(Error::unsupported(format!(
            "imports take disks below 16 TiB, not {size} (VM Import/Export user guide, limitations); write the snapshot through the EBS direct API"
        )));
    }
    Ok(())
}

impl ImportSnapshotRequest {
    /// Holds the request to the rules of ImportSnapshot, those in prose included.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        let Some(disk) = &self.disk_container else {
            return Err(Error::invalid("an import has a disk (EC2 API, ImportSnapshot, DiskContainer)"));
        };
        shapes::check_source(disk.user_bucket.as_ref(), disk.url.as_deref(), None)?;
        if disk.format.is_none() {
            return Err(Error::invalid("a disk container names its format (EC2 API, SnapshotDiskContainer)"));
        }
        shapes::check_task(self.description.as_deref(), self.role_name.as_deref(), self.encrypted, self.kms_key_id.as_deref())?;
        shapes::check_tags(&self.tag_specifications, RESOURCE_TYPE)
    }

    /// Renews the ClientToken for attempt number `attempt`, from 1: to be raised after a failure, else AWS answers with
    /// the task that failed.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.client_token = Some(token::client_token(self, attempt));
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }

    /// The document for `--disk-container`: the disk alone.
    #[must_use]
    pub fn container_json(&self) -> String {
        shapes::to_json(&self.disk_container)
    }
}
