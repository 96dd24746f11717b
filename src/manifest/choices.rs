//! What a person chooses about an AMI: the table `[ami]` of a recipe, or the command's flags. Plain data; what is wrong with
//! it by itself is found in `check.rs`.

use super::devices::{Device, ImportDisk};
use super::import_volume::ImportVolumeChoices;
use super::launch_permission::LaunchPermissions;
use super::rules;
use super::time::UtcTime;
use super::values::{BootMode, DeregistrationProtection, ImdsSupport, LicenseType, Platform, Route, SriovNetSupport, TpmSupport, VolumeType};
use super::vmimport_role::RoleChoices;
use crate::error::{Error, Result, escape};
use crate::report::{Architecture, BootSummary, Report};
use crate::units::Size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a person chooses about an AMI; everything else comes from the report. `AmiChoices::default()` chooses nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AmiChoices {
    /// Must agree with the kernel and loader in the image; needed only where the report knows neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Default: what the image boots by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// The S3 bucket that the image is uploaded to, in the Region of the import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The image's key in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The uploaded image by its URL (`s3://` or `https://`), in place of bucket and key. A presigned one is a secret for as long as it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The snapshot of this image, once it is there. Default: [`SNAPSHOT_PLACEHOLDER`](super::SNAPSHOT_PLACEHOLDER).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The AMI, once it is there. Default: [`IMAGE_PLACEHOLDER`](super::IMAGE_PLACEHOLDER).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The AMI's name. Default: the image's name, and `-` and its version where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description of the AMI and of the import tasks, at most 255 characters. Default: name and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service role of VM Import/Export. AWS's default: `vmimport`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_name: Option<String>,
    /// ImportImage only; excludes `usage_operation`. AWS's default for Linux: `BYOL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license_type: Option<LicenseType>,
    /// ImportImage only; excludes `license_type`. Such as `RunInstances:0010`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_operation: Option<String>,
    /// ImportImage only. Default: `Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Whether the import encrypts the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// Key id, alias or ARN; needs `encrypted = true`. Default: the account's key for EBS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// From 1; enters the ClientToken, so that the same request can be sent again after an import has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// `/dev/xvda` (the default) or `/dev/sda1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_name: Option<String>,
    /// Type of the root volume. Default: `gp3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<VolumeType>,
    /// Size of the root volume, in whole GiB and at least the image's. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<Size>,
    /// IOPS of the root volume: gp3 (3,000 to 80,000), io1 (100 to 64,000), io2 (100 to 256,000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// Throughput of the root volume in MiB/s: gp3 only, 125 to 2,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Whether the root volume goes with its instance. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_on_termination: Option<bool>,
    /// Enhanced networking (ENA), without which no Nitro instance starts. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ena_support: Option<bool>,
    /// Default: `v2.0`, instances require IMDSv2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_support: Option<ImdsSupport>,
    /// NitroTPM; needs boot mode `uefi`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_support: Option<TpmSupport>,
    /// Enhanced networking of instance types older than Nitro. Default: not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov_net_support: Option<SriovNetSupport>,
    /// The UEFI variable store, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uefi_data: Option<String>,
    /// The file that `uefi_data` stands in, relative to the recipe; [`Recipe::load`](crate::recipe::Recipe::load) puts its text into `uefi_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uefi_data_file: Option<PathBuf>,
    /// When the AMI is deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecate_at: Option<UtcTime>,
    /// Whether the AMI is kept from being deregistered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deregistration_protection: Option<DeregistrationProtection>,
    /// Asks for the plan of a snapshot by the EBS direct API.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ebs_snapshot: bool,
    /// The routes that a script is written for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Route>,
    /// Who may launch instances of the AMI besides its owner.
    #[serde(skip_serializing_if = "LaunchPermissions::is_empty")]
    pub launch_permission: LaunchPermissions,
    /// Who may no longer.
    #[serde(skip_serializing_if = "LaunchPermissions::is_empty")]
    pub remove_launch_permission: LaunchPermissions,
    /// Asks for the legacy manifest of ImportVolume and its request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_volume: Option<ImportVolumeChoices>,
    /// Asks for the policies of the service role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmimport_role: Option<RoleChoices>,
    /// Tags of the import task and of the AMI. A tag `Name` is added where the image has a name and none is given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Data volumes that ImportImage imports with the image.
    #[serde(rename = "disk", skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<ImportDisk>,
    /// Devices of the AMI besides its root.
    #[serde(rename = "device", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
}

/// What the image and the choices agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) architecture: Architecture,
    pub(super) boot_mode: BootMode,
}

impl AmiChoices {
    /// Checks the choices against what is known of an image before it is written: its name and version, how it boots.
    ///
    /// # Errors
    /// What [`AmiChoices::check`] finds; an architecture or a boot mode that contradicts the image; a name that is none for an
    /// AMI.
    pub fn check_against(&self, name: Option<&str>, version: Option<&str>, boot: Option<&BootSummary>) -> Result<()> {
        self.check()?;
        if let Some(name) = self.ami_name(name, version) {
            rules::ami_name(&name)
                .map_err(|error| Error::invalid(format!("the AMI would be named after the image: {error}; say another `name` for the AMI")))?;
        }
        match boot {
            Some(boot) => {
                let machine = self.machine(boot)?;
                self.check_machine(machine)
            }
            None => Ok(()),
        }
    }

    /// The AMI's name: as chosen, else the image's name and version.
    pub(super) fn ami_name(&self, name: Option<&str>, version: Option<&str>) -> Option<String> {
        let derived = || match (name?, version) {
            (name, Some(version)) => Some(format!("{name}-{version}")),
            (name, None) => Some(name.to_owned()),
        };
        self.name.clone().or_else(derived)
    }

    /// What only some machines have.
    pub(super) fn check_machine(&self, machine: Machine) -> Result<()> {
        if self.tpm_support.is_some() && machine.boot_mode != BootMode::Uefi {
            return Err(rules::tpm_needs_uefi());
        }
        if self.uefi_data.is_some() && machine.boot_mode == BootMode::LegacyBios {
            return Err(Error::invalid("`uefi_data` is for images that boot by UEFI, and this one boots by legacy-bios (EC2 API, RegisterImage, UefiData)"));
        }
        Ok(())
    }

    /// Architecture and boot mode of a bootable image.
    fn machine(&self, boot: &BootSummary) -> Result<Machine> {
        let architecture: Architecture = boot
            .architecture
            .parse()
            .map_err(|_| Error::unsupported(format!("AWS has no instances of architecture {}", escape(boot.architecture.as_bytes()))))?;
        if let Some(chosen) = self.architecture.filter(|chosen| *chosen != architecture) {
            return Err(Error::invalid(format!("the AMI is to be {chosen}, but kernel and loader in the image are {architecture}")));
        }
        let actual = match boot.mode.as_str() {
            "uefi" => BootMode::Uefi,
            "legacy-bios" => BootMode::LegacyBios,
            "uefi-preferred" => BootMode::UefiPreferred,
            other => return Err(Error::unsupported(format!("AWS has no boot mode {}", escape(other.as_bytes())))),
        };
        let boot_mode = self.boot_mode.unwrap_or(actual);
        // uefi-preferred on an image that only knows UEFI is right for every instance type that has UEFI.
        let fits = boot_mode == actual || actual == BootMode::UefiPreferred || (boot_mode == BootMode::UefiPreferred && actual == BootMode::Uefi);
        if !fits {
            return Err(Error::invalid(format!("the AMI is to boot by {}, but the image boots by {}", rules::word(&boot_mode), rules::word(&actual))));
        }
        if boot_mode == BootMode::LegacyBios && architecture == Architecture::Arm64 {
            return Err(Error::invalid("arm64 instances boot by uefi only (EC2 user guide, boot modes)"));
        }
        Ok(Machine { architecture, boot_mode })
    }

    /// Architecture and boot mode of the AMI: the report's, or, for an image that boots in a way of its own, the chosen ones.
    pub(super) fn machine_of(&self, report: &Report) -> Result<Machine> {
        if let Some(boot) = &report.boot {
            return self.machine(boot);
        }
        match (self.architecture, self.boot_mode) {
            (Some(architecture), Some(boot_mode)) => Ok(Machine { architecture, boot_mode }),
            _ => Err(Error::unsupported("the image is a data disk: nothing is known of how it boots (if it does, say `architecture` and `boot_mode`)")),
        }
    }

    /// The tags with a `Name`.
    pub(super) fn tags_with_name(&self, name: Option<&str>) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        if let Some(name) = name {
            tags.entry("Name".to_owned()).or_insert_with(|| name.to_owned());
        }
        tags
    }

    pub(super) fn volume_type(&self) -> VolumeType {
        self.volume_type.unwrap_or(VolumeType::Gp3)
    }

    /// The root of the AMI.
    pub(super) fn root_device_name(&self) -> String {
        self.root_device_name.clone().unwrap_or_else(|| "/dev/xvda".to_owned())
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt.unwrap_or(1)
    }

    /// Whether the documents of an import are asked for.
    pub(super) fn names_an_object(&self) -> bool {
        self.key.is_some() || self.url.is_some()
    }
}
