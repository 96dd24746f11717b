//! `register-image.json`: the request of RegisterImage, which makes an AMI of a snapshot (EC2 API reference,
//! RegisterImage).
//!
//! Architecture and VirtualizationType are always written: AWS takes `i386` and `paravirtual` where they are missing.
//! The snapshot is known only once it is made; until then [`SNAPSHOT_PLACEHOLDER`] stands for it.

use super::choices::{AmiChoices, BootMode, ImdsSupport, TpmSupport, VolumeType};
use super::import_image::check_disk;
use super::rules;
use super::shapes::{self, BlockDeviceMapping, EbsBlockDevice, TagSpecification};
use crate::error::{Error, Result, escape};
use crate::report::{Architecture, Report};
use crate::units::GIB;
use serde::{Deserialize, Serialize};

/// Stands for the snapshot in a document: a valid id that no snapshot has, so a request sent with it fails and makes
/// nothing. `sed "s/snap-00000000000000000/$snapshot/"` puts the real one in.
pub const SNAPSHOT_PLACEHOLDER: &str = "snap-00000000000000000";
/// Longest UEFI variable store in base64 (EC2 API, ImageUefiDataRequest).
const UEFI_DATA_MAX_CHARS: usize = 64_000;
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
    pub sriov_net_support: Option<String>,
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
    /// The RegisterImage request for this image, with [`SNAPSHOT_PLACEHOLDER`] for its snapshot.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a data disk, or a disk that instances cannot read;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a name, and for choices that contradict the image or each
    /// other.
    pub fn register_image(&self, ami: &AmiChoices) -> Result<RegisterImageRequest> {
        ami.check()?;
        check_disk(self)?;
        let machine = ami.machine_of(self)?;
        let Some(name) = ami.ami_name(self.name.as_deref(), self.version.as_deref()) else {
            return Err(Error::invalid("an AMI needs a name, and the image has none (EC2 API, RegisterImage, Name)"));
        };
        let root_device_name = ami.root_device_name.clone().unwrap_or_else(|| "/dev/xvda".to_owned());
        let ebs = EbsBlockDevice {
            snapshot_id: Some(SNAPSHOT_PLACEHOLDER.to_owned()),
            volume_size: Some(self.disk.size_bytes.div_ceil(GIB).max(1)),
            volume_type: Some(ami.volume_type()),
            iops: ami.iops,
            throughput: ami.throughput,
            delete_on_termination: Some(ami.delete_on_termination.unwrap_or(true)),
            encrypted: None,
        };
        let request = RegisterImageRequest {
            description: Some(ami.description.clone().unwrap_or_else(|| name.clone())),
            architecture: Some(machine.architecture),
            virtualization_type: Some("hvm".to_owned()),
            block_device_mappings: vec![BlockDeviceMapping { device_name: root_device_name.clone(), ebs: Some(ebs), ..BlockDeviceMapping::default() }],
            root_device_name: Some(root_device_name),
            boot_mode: Some(machine.boot_mode),
            ena_support: Some(ami.ena_support.unwrap_or(true)),
            sriov_net_support: None,
            imds_support: Some(ami.imds_support.unwrap_or(ImdsSupport::V2)).filter(|support| *support == ImdsSupport::V2),
            tpm_support: ami.tpm_support,
            uefi_data: None,
            tag_specifications: shapes::tag_specifications(RESOURCE_TYPE, &ami.tags_with_name(Some(&name))),
            name,
        };
        request.check()?;
        Ok(request)
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
        for (index, mapping) in self.block_device_mappings.iter().enumerate() {
            if self.block_device_mappings[..index].iter().any(|other| other.device_name == mapping.device_name) {
                let name = escape(mapping.device_name.as_bytes());
                return Err(Error::invalid(format!("the device {name} is mapped twice (EC2 API, BlockDeviceMapping)")));
            }
            mapping.ebs.as_ref().map_or(Ok(()), check_volume)?;
        }
        let root = self.root_device_name.as_deref().ok_or_else(|| Error::invalid("the root device is named (EC2 API, RegisterImage, RootDeviceName)"))?;
        rules::root_device_name(root)?;
        if !self.block_device_mappings.iter().any(|mapping| mapping.device_name == root) {
            return Err(Error::invalid(format!("the root device {root} is not mapped (EC2 API, RegisterImage, BlockDeviceMappings)")));
        }
        if self.tpm_support.is_some() && self.boot_mode != Some(BootMode::Uefi) {
            return Err(rules::tpm_needs_uefi());
        }
        if self.imds_support == Some(ImdsSupport::Unset) {
            return Err(Error::invalid("ImdsSupport is v2.0 or left out (EC2 API, RegisterImage, ImdsSupport)"));
        }
        if self.sriov_net_support.as_deref().is_some_and(|value| value != "simple") {
            return Err(Error::invalid("SriovNetSupport is simple or left out (EC2 API, RegisterImage, SriovNetSupport)"));
        }
        if let Some(length) = self.uefi_data.as_ref().map(String::len).filter(|length| *length > UEFI_DATA_MAX_CHARS) {
            return Err(Error::invalid(format!("UefiData has at most {UEFI_DATA_MAX_CHARS} characters, not {length} (EC2 API, ImageUefiDataRequest)")));
        }
        shapes::check_tags(&self.tag_specifications, RESOURCE_TYPE)
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}

/// EC2 API, EbsBlockDevice.
fn check_volume(volume: &EbsBlockDevice) -> Result<()> {
    let kind = volume.volume_type.unwrap_or(VolumeType::Gp2);
    rules::volume(kind, volume.iops, volume.throughput)?;
    volume.volume_size.map_or(Ok(()), |gib| rules::volume_size(kind, gib))?;
    volume.snapshot_id.as_deref().map_or(Ok(()), rules::snapshot_id)?;
    if volume.snapshot_id.is_some() && volume.encrypted.is_some() {
        return Err(Error::invalid("the encryption of a volume made from a snapshot is the snapshot's (EC2 API, EbsBlockDevice, Encrypted)"));
    }
    if volume.snapshot_id.is_none() && volume.volume_size.is_none() {
        return Err(Error::invalid("a volume has a snapshot or a size (EC2 API, EbsBlockDevice, VolumeSize)"));
    }
    Ok(())
}
