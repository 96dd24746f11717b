//! What a person chooses about an AMI: the table `[ami]` of a recipe, or the command's flags. Plain data.

use super::rules;
use crate::error::{Error, Result, escape};
use crate::report::{Architecture, BootSummary, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Tags of the import task and of the AMI. A tag `Name` is added where the image has a name and none is given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How instances boot the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// BIOS.
    LegacyBios,
    /// UEFI.
    Uefi,
    /// UEFI where the instance type has it, else BIOS. Not for imports.
    UefiPreferred,
}

/// The operating system, as VM Import/Export names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Platform {
    /// The only one that this crate makes images of.
    Linux,
}

/// Whose licence the operating system has after an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LicenseType {
    /// A licence from AWS.
    Aws,
    /// The licence it came with.
    Byol,
}

/// The instance metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImdsSupport {
    /// Instances require IMDSv2.
    #[serde(rename = "v2.0")]
    V2,
    /// The account's setting decides; the member is left out of the document.
    #[serde(rename = "none")]
    Unset,
}

/// The trusted platform module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TpmSupport {
    /// NitroTPM.
    #[serde(rename = "v2.0")]
    V2,
}

/// The type of an EBS volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// General purpose SSD, performance chosen apart from size.
    Gp3,
    /// General purpose SSD, performance by size.
    Gp2,
    /// Provisioned IOPS SSD.
    Io1,
    /// Provisioned IOPS SSD, durable.
    Io2,
    /// Throughput optimised HDD; no root volume.
    St1,
    /// Cold HDD; no root volume.
    Sc1,
    /// Magnetic, previous generation.
    Standard,
}

/// What the image and the choices agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) architecture: Architecture,
    pub(super) boot_mode: BootMode,
}

impl AmiChoices {
    /// Checks the choices by themselves, without an image.
    ///
    /// # Errors
    /// The first choice that AWS would refuse, with the rule's source.
    pub fn check(&self) -> Result<()> {
        self.first_wrong().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// The field that [`AmiChoices::check`] objects to, and why.
    pub(crate) fn first_wrong(&self) -> Option<(&'static str, Error)> {
        fn text(field: &'static str, value: Option<&String>, rule: fn(&str) -> Result<()>) -> Option<(&'static str, Error)> {
            value.and_then(|value| rule(value).err()).map(|error| (field, error))
        }
        text("bucket", self.bucket.as_ref(), rules::bucket)
            .or_else(|| text("key", self.key.as_ref(), rules::key))
            .or_else(|| text("name", self.name.as_ref(), rules::ami_name))
            .or_else(|| text("description", self.description.as_ref(), rules::description))
            .or_else(|| text("role_name", self.role_name.as_ref(), rules::role_name))
            .or_else(|| text("usage_operation", self.usage_operation.as_ref(), rules::usage_operation))
            .or_else(|| text("kms_key_id", self.kms_key_id.as_ref(), rules::kms_key_id))
            .or_else(|| text("root_device_name", self.root_device_name.as_ref(), rules::root_device_name))
            .or_else(|| self.first_contradiction())
    }

    fn first_contradiction(&self) -> Option<(&'static str, Error)> {
        let both_or_neither = || match (&self.bucket, &self.key) {
            (Some(_), None) => Some(("bucket", Error::invalid("`bucket` needs `key`: an import names both"))),
            (None, Some(_)) => Some(("key", Error::invalid("`key` needs `bucket`: an import names both"))),
            _ => None,
        };
        let attempt = || (self.attempt == Some(0)).then(|| ("attempt", Error::invalid("attempts are counted from 1")));
        let volume = || rules::root_volume(self.volume_type(), self.iops, self.throughput).err().map(|error| ("volume_type", error));
        let tpm = || match (self.tpm_support, self.boot_mode) {
            (Some(_), Some(BootMode::Uefi) | None) | (None, _) => None,
            (Some(_), Some(_)) => Some(("tpm_support", rules::tpm_needs_uefi())),
        };
        both_or_neither()
            .or_else(|| rules::encryption(self.encrypted, self.kms_key_id.as_deref()).err().map(|error| ("kms_key_id", error)))
            .or_else(|| rules::license(self.license_type, self.usage_operation.as_deref()).err().map(|error| ("license_type", error)))
            .or_else(attempt)
            .or_else(volume)
            .or_else(tpm)
            .or_else(|| rules::tags(&self.tags).err().map(|error| ("tags", error)))
    }

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
            Some(boot) => self.machine(boot).map(|_| ()),
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

    pub(super) fn attempt(&self) -> u32 {
        self.attempt.unwrap_or(1)
    }

    /// Whether the documents of an import are asked for.
    pub(super) fn names_an_object(&self) -> bool {
        self.bucket.is_some() || self.key.is_some()
    }
}
