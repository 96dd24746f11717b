//! The AMI as a whole: everything that an AMI is, in one value, from which every document about it is made.
//!
//! ```text
//!  Report ──┐                       ┌─► RegisterImageRequest
//!           ├─► Report::ami ─► Ami ─┼─► ModifyImageAttributeRequest (launch permissions)
//!  Choices ─┘                       ├─► EnableImageDeprecationRequest
//!                                   └─► EnableImageDeregistrationProtectionRequest
//! ```
//!
//! Members have the names that EC2 gives them where it describes an AMI (EC2 API reference, `Image` of DescribeImages), or
//! takes them (RegisterImage); those of our own say where the AMI comes from.
//!
//! # Versions of one recipe
//! An AMI's name carries the version: `web-2026.11.1` is the image `web` of the version `2026.11.1`, unless a name was chosen.
//! Names of AMIs are unique in an account and Region, so two versions live side by side. What makes them relatives is
//! `image_name`, from which the identifiers in the image derive too: the version enters none of them. [`Ami::relation`] says
//! how two are related; the reports of the two say, with `rootvol diff OLD.report.json NEW.report.json`, how many blocks differ.

use super::choices::AmiChoices;
use super::import_image::check_disk;
use super::launch_permission::LaunchPermission;
use super::shapes::{self, BlockDeviceMapping, EbsBlockDevice, Tag};
use super::time::UtcTime;
use super::values::{BootMode, DeregistrationProtection, ImdsSupport, SriovNetSupport, TpmSupport};
use super::{SNAPSHOT_PLACEHOLDER, rules};
use crate::error::{Error, Result};
use crate::report::{Architecture, Report};
use crate::units::GIB;
use serde::{Deserialize, Serialize};

/// Stands for the AMI in a document: a valid id that no AMI has, so a request sent with it fails and changes nothing.
/// `sed "s/ami-00000000000000000/$ami/"` puts the real one in.
pub const IMAGE_PLACEHOLDER: &str = "ami-00000000000000000";

/// What an AMI is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Ami {
    /// The AMI's id, [`IMAGE_PLACEHOLDER`] until there is one.
    pub image_id: String,
    /// The AMI's name, which carries the version.
    pub name: String,
    /// The image's name, which all versions of one recipe share; it enters the identifiers in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// The image's version; it enters no identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it is, at most 255 characters.
    pub description: String,
    /// The processor.
    pub architecture: Architecture,
    /// How instances boot.
    pub boot_mode: BootMode,
    /// Which of the mapped devices is the root.
    pub root_device_name: String,
    /// All devices, the root first: its snapshot is [`SNAPSHOT_PLACEHOLDER`] until there is one.
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    /// Size of the disk that the root's snapshot holds, in bytes.
    pub disk_bytes: u64,
    /// The LINEAR checksum of that disk: what the root's snapshot holds.
    pub linear_checksum: String,
    /// Enhanced networking (ENA).
    pub ena_support: bool,
    /// Enhanced networking of older instance types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov_net_support: Option<SriovNetSupport>,
    /// The instance metadata service; `None` leaves it to the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_support: Option<ImdsSupport>,
    /// NitroTPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_support: Option<TpmSupport>,
    /// The UEFI variable store, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uefi_data: Option<String>,
    /// Whether an import encrypts the root's snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// Who may launch instances besides the owner.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub launch_permissions: Vec<LaunchPermission>,
    /// Who may no longer.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub remove_launch_permissions: Vec<LaunchPermission>,
    /// From when on it is deprecated.
    #[serde(rename = "DeprecationTime", skip_serializing_if = "Option::is_none")]
    pub deprecate_at: Option<UtcTime>,
    /// Whether it is kept from being deregistered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deregistration_protection: Option<DeregistrationProtection>,
    /// Its tags, by key.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tags: Vec<Tag>,
}

/// How two AMIs are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Of different images, or of images without a name.
    None,
    /// The same image of the same version, with the same bytes.
    Same,
    /// The same image of the same version, with other bytes.
    Rebuilt,
    /// Two versions of one image.
    Versions,
}

impl Relation {
    /// How two images are related, by their names and versions and what they hold.
    #[must_use]
    pub fn of_reports(old: &Report, new: &Report) -> Self {
        let checksums = (&old.blocks.linear_checksum, &new.blocks.linear_checksum);
        Self::of((old.name.as_deref(), old.version.as_deref()), (new.name.as_deref(), new.version.as_deref()), checksums.0 == checksums.1)
    }

    fn of(old: (Option<&str>, Option<&str>), new: (Option<&str>, Option<&str>), same_bytes: bool) -> Self {
        match (old, new) {
            ((None, _), _) | (_, (None, _)) => Self::None,
            ((old, _), (new, _)) if old != new => Self::None,
            ((_, old), (_, new)) if old != new => Self::Versions,
            _ if same_bytes => Self::Same,
            _ => Self::Rebuilt,
        }
    }
}

impl Report {
    /// The AMI that this image makes with these choices.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a data disk, or a disk that instances cannot read;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a name, and for choices that contradict the image or each
    /// other.
    pub fn ami(&self, choices: &AmiChoices) -> Result<Ami> {
        choices.check()?;
        check_disk(self)?;
        if choices.uefi_data_file.is_some() {
            return Err(Error::invalid("`uefi_data_file` was not read: a recipe that is loaded from a file has its text in `uefi_data`"));
        }
        let machine = choices.machine_of(self)?;
        choices.check_machine(machine)?;
        let Some(name) = choices.ami_name(self.name.as_deref(), self.version.as_deref()) else {
            return Err(Error::invalid("an AMI needs a name, and the image has none (EC2 API, RegisterImage, Name)"));
        };
        let root_device_name = choices.root_device_name();
        let ebs = EbsBlockDevice {
            snapshot_id: Some(choices.snapshot_id.clone().unwrap_or_else(|| SNAPSHOT_PLACEHOLDER.to_owned())),
            volume_size: Some(choices.volume_size.map(rules::whole_gib).transpose()?.unwrap_or_else(|| gib_of(self.disk.size_bytes))),
            volume_type: Some(choices.volume_type()),
            iops: choices.iops,
            throughput: choices.throughput,
            delete_on_termination: Some(choices.delete_on_termination.unwrap_or(true)),
            encrypted: None,
        };
        let root = BlockDeviceMapping { device_name: root_device_name.clone(), ebs: Some(ebs), ..BlockDeviceMapping::default() };
        let others = choices.devices.iter().map(super::devices::Device::mapping);
        let ami = Ami {
            image_id: choices.image_id.clone().unwrap_or_else(|| IMAGE_PLACEHOLDER.to_owned()),
            image_name: self.name.clone(),
            version: self.version.clone(),
            description: choices.description.clone().unwrap_or_else(|| name.clone()),
            architecture: machine.architecture,
            boot_mode: machine.boot_mode,
            root_device_name,
            block_device_mappings: std::iter::once(Ok(root)).chain(others).collect::<Result<_>>()?,
            disk_bytes: self.disk.size_bytes,
            linear_checksum: self.blocks.linear_checksum.clone(),
            ena_support: choices.ena_support.unwrap_or(true),
            sriov_net_support: choices.sriov_net_support,
            imds_support: Some(choices.imds_support.unwrap_or(ImdsSupport::V2)).filter(|support| *support == ImdsSupport::V2),
            tpm_support: choices.tpm_support,
            uefi_data: choices.uefi_data.clone(),
            encrypted: choices.encrypted,
            launch_permissions: choices.launch_permission.list(),
            remove_launch_permissions: choices.remove_launch_permission.list(),
            deprecate_at: choices.deprecate_at,
            deregistration_protection: choices.deregistration_protection,
            tags: shapes::tag_list(&choices.tags_with_name(Some(&name))),
            name,
        };
        ami.check()?;
        Ok(ami)
    }
}

/// The GiB of a volume that holds so many bytes.
pub(super) fn gib_of(bytes: u64) -> u64 {
    bytes.div_ceil(GIB).max(1)
}

impl Ami {
    /// Holds the AMI to the rules of what makes it: of RegisterImage, of sharing, and that the image fits its volume.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        rules::image_id(&self.image_id)?;
        let needed = gib_of(self.disk_bytes);
        if let Some(size) = self.root_volume().and_then(|volume| volume.volume_size).filter(|size| *size < needed) {
            return Err(Error::invalid(format!(
                "the root volume has {size} GiB, but the image needs {needed} GiB: a volume is at least as large as its snapshot (EC2 API, EbsBlockDevice, \
                 VolumeSize)"
            )));
        }
        let encrypted = self.encrypted == Some(true)
            || self.block_device_mappings.iter().any(|mapping| mapping.ebs.as_ref().is_some_and(|volume| volume.encrypted == Some(true)));
        if encrypted && self.launch_permissions.iter().any(|permission| permission.group.is_some()) {
            return Err(rules::public_is_not_encrypted());
        }
        self.request().check()
    }

    /// The root's volume.
    #[must_use]
    pub fn root_volume(&self) -> Option<&EbsBlockDevice> {
        self.block_device_mappings.iter().find(|mapping| mapping.device_name == self.root_device_name)?.ebs.as_ref()
    }

    /// The root's snapshot: [`SNAPSHOT_PLACEHOLDER`] until there is one.
    #[must_use]
    pub fn root_snapshot(&self) -> Option<&str> {
        self.root_volume()?.snapshot_id.as_deref()
    }

    /// How this AMI and a later one are related.
    #[must_use]
    pub fn relation(&self, later: &Self) -> Relation {
        let of = |ami: &Self| (ami.image_name.clone(), ami.version.clone());
        let (old, new) = (of(self), of(later));
        Relation::of((old.0.as_deref(), old.1.as_deref()), (new.0.as_deref(), new.1.as_deref()), self.linear_checksum == later.linear_checksum)
    }

    /// The AMI as JSON: what it is, for people and programs; AWS takes the documents that are made of it.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}
