//! `import-image.json`: the request of ImportImage, which makes an AMI of an image in S3 (EC2 API reference, ImportImage;
//! VM Import/Export user guide, "Importing a VM as an image").
//!
//! ImportImage mounts the disk, looks for a Linux that it knows with GRUB, and rewrites it. It refuses, and so does this
//! file: arm64, `uefi-preferred`, any loader but GRUB, disks of 8 TiB and more, disks without a partition table.

use super::choices::AmiChoices;
use super::devices::import_names;
use super::shapes::{self, ImageDiskContainer, TagSpecification};
use super::values::{BootMode, LicenseType, Platform};
use super::{rules, token};
use crate::error::{Error, Result, escape};
use crate::report::{Architecture, Report};
use crate::units::{GIB, TIB};
use serde::{Deserialize, Serialize};

/// Disks of this size and more are refused (VM Import/Export user guide, Limitations).
const DISK_LIMIT_BYTES: u64 = 8 * TIB;
/// More volumes make the import fail (VM Import/Export user guide, Limitations).
const DISKS_MAX: usize = 21;
/// The largest disk with an MBR that boots (EC2 user guide, volume constraints: 2 TiB less 1 GiB).
const MBR_BOOT_MAX_BYTES: u64 = 2047 * GIB;
/// What its tags are on.
const RESOURCE_TYPE: &str = "import-image-task";
/// What to do where ImportImage refuses an image that is otherwise right.
pub(super) const OTHER_ROUTE: &str = "import-snapshot and then register-image make the AMI";

/// The whole request: `aws ec2 import-image --cli-input-json file://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImportImageRequest {
    /// Always `x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// `uefi` or `legacy-bios`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// Equal requests of one attempt have one token, and start one task. [`ImportImageRequest::set_attempt`] renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    /// What is imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The disks, the bootable one first.
    pub disk_containers: Vec<ImageDiskContainer>,
    /// Whether the AMI's snapshots are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// With which key; needs `Encrypted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Excludes `UsageOperation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_type: Option<LicenseType>,
    /// Always `Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The service role, where it is not `vmimport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_name: Option<String>,
    /// Tags of the import task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_specifications: Vec<TagSpecification>,
    /// Excludes `LicenseType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_operation: Option<String>,
}

impl Report {
    /// The ImportImage request for this image, uploaded to `key` in `bucket`.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where ImportImage refuses such an image (the message names the rule
    /// and the route that works), [`InvalidInput`](crate::ErrorKind::InvalidInput) for a bucket or key that is none.
    pub fn import_image(&self, bucket: &str, key: &str) -> Result<ImportImageRequest> {
        self.import_image_with(&AmiChoices { bucket: Some(bucket.to_owned()), key: Some(key.to_owned()), ..AmiChoices::default() })
    }

    /// The ImportImage request for this image, with all choices.
    ///
    /// # Errors
    /// Those of [`Report::import_image`]; choices that contradict the image or each other.
    pub fn import_image_with(&self, ami: &AmiChoices) -> Result<ImportImageRequest> {
        ami.check()?;
        let machine = importable(self, ami)?;
        let (user_bucket, url) = shapes::uploaded(ami)?;
        let root = ImageDiskContainer {
            description: Some(shapes::disk_description(self)),
            // A single disk needs no name; of several the root is the first.
            device_name: (!ami.disks.is_empty()).then(|| "/dev/sda1".to_owned()),
            format: Some(shapes::disk_format(self)?),
            user_bucket,
            url,
            snapshot_id: None,
        };
        let names = import_names(&ami.disks).map_err(|(_, error)| error)?;
        let data = ami.disks.iter().zip(names).map(|(disk, name)| disk.container(name, ami.bucket.as_deref()));
        let disk_containers = std::iter::once(Ok(root)).chain(data).collect::<Result<_>>()?;
        let name = ami.ami_name(self.name.as_deref(), self.version.as_deref());
        let mut request = ImportImageRequest {
            architecture: Some(machine.0),
            boot_mode: Some(machine.1),
            client_token: None,
            description: ami.description.clone().or_else(|| name.clone()),
            disk_containers,
            encrypted: ami.encrypted,
            kms_key_id: ami.kms_key_id.clone(),
            license_type: ami.license_type,
            platform: Some(ami.platform.unwrap_or(Platform::Linux)),
            role_name: ami.role_name.clone(),
            tag_specifications: shapes::tag_specifications(RESOURCE_TYPE, &ami.tags_with_name(name.as_deref())),
            usage_operation: ami.usage_operation.clone(),
        };
        request.set_attempt(ami.attempt());
        request.check()?;
        Ok(request)
    }
}

/// Architecture and boot mode, where ImportImage takes the image at all.
fn importable(report: &Report, ami: &AmiChoices) -> Result<(Architecture, BootMode)> {
    let disk_bytes = report.disk.size_bytes;
    let Some(boot) = &report.boot else {
        return Err(Error::unsupported(
            "ImportImage looks for an operating system with GRUB in the image and this is a data disk (VM Import/Export user guide, prerequisites); \
             import-snapshot takes it",
        ));
    };
    check_disk(report)?;
    let machine = ami.machine_of(report)?;
    if report.disk.table == "none" {
        return Err(Error::unsupported(format!(
            "ImportImage answers a disk without partition table with \"No valid partitions. Not a valid volume.\"; {OTHER_ROUTE}"
        )));
    }
    if disk_bytes >= DISK_LIMIT_BYTES {
        let size = crate::Size::bytes(disk_bytes);
        return Err(Error::unsupported(format!("ImportImage takes disks below 8 TiB, not {size} (VM Import/Export user guide, limitations); {OTHER_ROUTE}")));
    }
    check_machine(machine.architecture, machine.boot_mode)?;
    if boot.loader != "grub" {
        let loader = escape(boot.loader.as_bytes());
        let packages = boot.grub_packages.iter().map(|line| escape(line.as_bytes())).collect::<Vec<_>>().join(" | ");
        let install = if packages.is_empty() { String::new() } else { format!(", or install GRUB in the tree: {packages}") };
        return Err(Error::unsupported(format!(
            "ImportImage demands GRUB, the image boots by {loader} (VM Import/Export user guide, prerequisites); {OTHER_ROUTE}{install}"
        )));
    }
    Ok((machine.architecture, machine.boot_mode))
}

/// What ImportImage refuses, whatever the image.
fn check_machine(architecture: Architecture, boot_mode: BootMode) -> Result<()> {
    if architecture == Architecture::Arm64 {
        return Err(Error::unsupported(format!("ImportImage takes no arm64 (EC2 API, ImportImage, Architecture: i386 | x86_64); {OTHER_ROUTE}")));
    }
    if boot_mode == BootMode::UefiPreferred {
        return Err(Error::unsupported(format!("ImportImage does not take boot mode uefi-preferred (EC2 API, ImportImage, BootMode); {OTHER_ROUTE}")));
    }
    Ok(())
}

/// What no route takes: a disk that EC2 instances cannot read or boot.
pub(super) fn check_disk(report: &Report) -> Result<()> {
    if report.disk.sector_bytes != 512 && report.disk.table != "none" {
        return Err(Error::unsupported(format!(
            "EBS volumes have sectors of 512 bytes, so instances would not find a partition table made for sectors of {} (EC2 user guide, volume constraints); \
             build with `sector_size = 512`",
            report.disk.sector_bytes
        )));
    }
    if report.boot.is_some() && report.disk.table == "mbr" && report.disk.size_bytes > MBR_BOOT_MAX_BYTES {
        let size = crate::Size::bytes(report.disk.size_bytes);
        return Err(Error::unsupported(format!(
            "boot volumes with an MBR have at most 2047 GiB, not {size} (EC2 user guide, volume constraints); use `table = \"gpt\"`"
        )));
    }
    Ok(())
}

impl ImportImageRequest {
    /// Holds the request to the rules of ImportImage, those in prose included.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        check_machine(self.architecture.unwrap_or(Architecture::X86_64), self.boot_mode.unwrap_or(BootMode::LegacyBios))?;
        let disks = self.disk_containers.len();
        if !(1..=DISKS_MAX).contains(&disks) {
            return Err(Error::invalid(format!("an import has 1 to {DISKS_MAX} disks, not {disks} (VM Import/Export user guide, limitations)")));
        }
        for (index, disk) in self.disk_containers.iter().enumerate() {
            shapes::check_source(disk.user_bucket.as_ref(), disk.url.as_deref(), disk.snapshot_id.as_deref())?;
            if disk.device_name.is_some() && self.disk_containers[..index].iter().any(|other| other.device_name == disk.device_name) {
                return Err(Error::invalid("two disks have one device name"));
            }
            if disk.format.is_none() && disk.snapshot_id.is_none() {
                return Err(Error::invalid("a disk container names its format (EC2 API, ImageDiskContainer)"));
            }
        }
        let from_snapshot = self.disk_containers.iter().any(|disk| disk.snapshot_id.is_some());
        if from_snapshot && self.boot_mode == Some(BootMode::Uefi) && self.platform.is_none() {
            return Err(Error::invalid("a snapshot that boots by uefi is imported with its platform (EC2 API, ImportImage, Platform)"));
        }
        shapes::check_task(self.description.as_deref(), self.role_name.as_deref(), self.encrypted, self.kms_key_id.as_deref())?;
        self.usage_operation.as_deref().map_or(Ok(()), rules::usage_operation)?;
        rules::license(self.license_type, self.usage_operation.as_deref())?;
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

    /// The document for `--disk-containers`: the list of disks alone.
    #[must_use]
    pub fn containers_json(&self) -> String {
        shapes::to_json(&self.disk_containers)
    }
}
