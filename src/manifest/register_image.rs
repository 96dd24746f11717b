//! `register-image.json`: the request of RegisterImage, which makes an AMI of a snapshot (EC2 API reference,
//! RegisterImage).
//!
//! Architecture and VirtualizationType are always written: AWS takes `i386` and `paravirtual` where they are missing.
//! The snapshot is known only once it is made; until then [`SNAPSHOT_PLACEHOLDER`] stands for it.

use super::ami::Ami;
use super::choices::AmiChoices;
use super::devices::{check_new_name, data_device_name};
use super::rules;
use super::shapes::{self, BlockDeviceMapping, EbsBlockDevice, TagSpecification};
use super::values::{BootMode, ImdsSupport, SriovNetSupport, TpmSupport, VolumeType};
use crate::error::{Error, Result, escape};
use crate::report::{Architecture, Report};
use serde::{Deserialize, Serialize};

/// Stands for the snapshot in a document: a valid id that no snapshot has, so a request sent with it fails and makes
/// nothing. `sed "s/snap-00000000000000000/$snapshot/"` puts the real one in.
pub const SNAPSHOT_PLACEHOLDER: &str = "snap-00000000000000000";
/// What its tags are on.
const RESOURCE_TYPE: &str = "image";

/// The whole request: `aws ec2 register-image --cli-input-json file://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RegisterImageRequest {
    /// Name of the AMI.
    pub name: String,
    /// What it is, at most 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Always written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Always `hvm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtualization_type: Option<String>,
    /// Which of the mapped devices is the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_device_name: Option<String>,
    /// The devices.
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    /// How it boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
    /// Enhanced networking (ENA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ena_support: Option<bool>,
    /// `simple`: enhanced networking of older instance types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sriov_net_support: Option<SriovNetSupport>,
    /// `v2.0`, or left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_support: Option<ImdsSupport>,
    /// `v2.0`, or left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_support: Option<TpmSupport>,
    /// The UEFI variable store, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uefi_data: Option<String>,
    /// Tags of the AMI.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag_specifications: Vec<TagSpecification>,
}

impl Report {
    /// The RegisterImage request for this image: [`Report::ami`] and [`Ami::register_image`] in one.
    ///
    /// # Errors
    /// Those of [`Report::ami`].
    pub fn register_image(&self, choices: &AmiChoices) -> Result<RegisterImageRequest> {
        self.ami(choices)?.register_image()
    }
}

impl Ami {
    /// The RegisterImage request, with [`SNAPSHOT_PLACEHOLDER`] for a snapshot that is not known.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for what [`Ami::check`] finds.
    pub fn register_image(&self) -> Result<RegisterImageRequest> {
        self.check()?;
        Ok(self.request())
    }

    /// The request, unchecked.
    pub(super) fn request(&self) -> RegisterImageRequest {
        let tags = if self.tags.is_empty() { Vec::new() } else { vec![TagSpecification { resource_type: RESOURCE_TYPE.to_owned(), tags: self.tags.clone() }] };
        RegisterImageRequest {
            name: self.name.clone(),
            description: Some(self.description.clone()),
            architecture: Some(self.architecture),
            virtualization_type: Some("hvm".to_owned()),
            root_device_name: Some(self.root_device_name.clone()),
            block_device_mappings: self.block_device_mappings.clone(),
            boot_mode: Some(self.boot_mode),
            ena_support: Some(self.ena_support),
            sriov_net_support: self.sriov_net_support,
            imds_support: self.imds_support,
            tpm_support: self.tpm_support,
            uefi_data: self.uefi_data.clone(),
            tag_specifications: tags,
        }
    }
}

impl RegisterImageRequest {
    /// Puts `snapshot_id` in place of [`SNAPSHOT_PLACEHOLDER`].
    ///
    /// # Errors
    /// An id that is none.
    pub fn set_snapshot(&mut self, snapshot_id: &str) -> Result<()> {
        rules::snapshot_id(snapshot_id)?;
        let volumes = self.block_device_mappings.iter_mut().filter_map(|mapping| mapping.ebs.as_mut());
        for volume in volumes.filter(|volume| volume.snapshot_id.as_deref() == Some(SNAPSHOT_PLACEHOLDER)) {
            volume.snapshot_id = Some(snapshot_id.to_owned());
        }
        Ok(())
    }

    /// Holds the request to the rules of RegisterImage, those in prose included.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        rules::ami_name(&self.name)?;
        self.description.as_deref().map_or(Ok(()), rules::description)?;
        if self.architecture.is_none() {
            return Err(Error::invalid("the architecture is written: AWS takes i386 where it is missing (EC2 API, RegisterImage, Architecture)"));
        }
        if self.virtualization_type.as_deref() != Some("hvm") {
            return Err(Error::invalid("the virtualization type is hvm: AWS takes paravirtual where it is missing (EC2 API, RegisterImage)"));
        }
        let mut names: Vec<String> = Vec::new();
        for mapping in &self.block_device_mappings {
            check_new_name(&names, &mapping.device_name)?;
            names.push(mapping.device_name.clone());
            check_mapping(mapping)?;
        }
        let root = self.root_device_name.as_deref().ok_or_else(|| Error::invalid("the root device is named (EC2 API, RegisterImage, RootDeviceName)"))?;
        rules::root_device_name(root)?;
        let Some(mapping) = self.block_device_mappings.iter().find(|mapping| mapping.device_name == root) else {
            return Err(Error::invalid(format!("the root device {root} is not mapped (EC2 API, RegisterImage, BlockDeviceMappings)")));
        };
        let others = self.block_device_mappings.iter().filter(|mapping| mapping.device_name != root);
        others.map(|mapping| mapping.device_name.as_str()).try_for_each(data_device_name)?;
        if mapping.ebs.as_ref().is_none_or(|volume| volume.snapshot_id.is_none()) {
            return Err(Error::invalid(format!("the root device {root} is a volume made from a snapshot (EC2 API, RegisterImage, BlockDeviceMappings)")));
        }
        let root_type = mapping.ebs.as_ref().and_then(|volume| volume.volume_type).unwrap_or(VolumeType::Gp2);
        rules::no_root_volume(root_type)?;
        if self.tpm_support.is_some() && self.boot_mode != Some(BootMode::Uefi) {
            return Err(rules::tpm_needs_uefi());
        }
        if self.imds_support == Some(ImdsSupport::Unset) {
            return Err(Error::invalid("ImdsSupport is v2.0 or left out (EC2 API, RegisterImage, ImdsSupport)"));
        }
        self.uefi_data.as_deref().map_or(Ok(()), rules::uefi_data)?;
        shapes::check_tags(&self.tag_specifications, RESOURCE_TYPE)
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}

/// EC2 API, BlockDeviceMapping.
fn check_mapping(mapping: &BlockDeviceMapping) -> Result<()> {
    let kinds = [mapping.ebs.is_some(), mapping.virtual_name.is_some(), mapping.no_device.is_some()].into_iter().filter(|said| *said).count();
    if kinds != 1 {
        let name = escape(mapping.device_name.as_bytes());
        return Err(Error::invalid(format!("the device {name} is one of Ebs, VirtualName and NoDevice, not {kinds} (EC2 API, BlockDeviceMapping)")));
    }
    if mapping.no_device.as_deref().is_some_and(|text| !text.is_empty()) {
        return Err(Error::invalid("NoDevice is the empty string (EC2 API, BlockDeviceMapping, NoDevice)"));
    }
    mapping.virtual_name.as_deref().map_or(Ok(()), rules::virtual_name)?;
    mapping.ebs.as_ref().map_or(Ok(()), check_volume)
}

/// EC2 API, EbsBlockDevice.
fn check_volume(volume: &EbsBlockDevice) -> Result<()> {
    let kind = volume.volume_type.unwrap_or(VolumeType::Gp2);
    rules::volume(kind, volume.iops, volume.throughput)?;
    if let Some(gib) = volume.volume_size {
        rules::volume_size(kind, gib)?;
        rules::volume_ratios(kind, gib, volume.iops, volume.throughput)?;
    }
    volume.snapshot_id.as_deref().map_or(Ok(()), rules::snapshot_id)?;
    if volume.snapshot_id.is_some() && volume.encrypted.is_some() {
        return Err(rules::snapshots_keep_their_encryption());
    }
    if volume.snapshot_id.is_none() && volume.volume_size.is_none() {
        return Err(Error::invalid("a volume has a snapshot or a size (EC2 API, EbsBlockDevice, VolumeSize)"));
    }
    Ok(())
}
