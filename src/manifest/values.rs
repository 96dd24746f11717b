//! The words of the EC2 API that choices and documents share.

use serde::{Deserialize, Serialize};

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

/// Enhanced networking of instance types older than Nitro (Intel 82599 VF).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SriovNetSupport {
    /// On; it cannot be taken back (EC2 API, RegisterImage).
    Simple,
}

/// Whether an AMI can be deregistered: the values that EC2's DescribeImages answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeregistrationProtection {
    /// Not until the protection is taken away.
    EnabledWithoutCooldown,
    /// Not until 24 hours after the protection is taken away.
    EnabledWithCooldown,
}

/// A partition of AWS: the second part of every ARN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partition {
    /// The standard Regions.
    #[default]
    #[serde(rename = "aws")]
    Aws,
    /// China.
    #[serde(rename = "aws-cn")]
    China,
    /// GovCloud (US).
    #[serde(rename = "aws-us-gov")]
    GovCloud,
}

impl Partition {
    /// As it stands in ARNs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
        }
    }
}

/// A way from an image file to an AMI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// Upload to S3, ImportImage: looks into the guest and changes it; x86-64 and GRUB only.
    ImportImage,
    /// Upload to S3, ImportSnapshot, RegisterImage.
    ImportSnapshot,
    /// Write the snapshot through the EBS direct API, RegisterImage: nothing lies in S3.
    Ebs,
}

impl Route {
    /// The word for it in recipes and options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImportImage => "import-image",
            Self::ImportSnapshot => "import-snapshot",
            Self::Ebs => "ebs",
        }
    }
}
