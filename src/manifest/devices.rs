//! Devices besides the root: data volumes of an import (`[[ami.disk]]`), devices of an AMI (`[[ami.device]]`), and the rules
//! of device names (EC2 user guide, "Device names for volumes on Amazon EC2 instances": HVM).

use super::check::{Wrong, at, each};
use super::rules;
use super::shapes::{self, BlockDeviceMapping, DiskFormat, EbsBlockDevice, ImageDiskContainer, UserBucket};
use super::values::VolumeType;
use crate::error::{Error, Result, escape};
use crate::report::Report;
use crate::units::Size;
use serde::{Deserialize, Serialize};

/// A data volume that ImportImage imports with the image: an object in S3 or a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportDisk {
    /// Default: the next of `/dev/sdf` and on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// What is on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `VHD` or `RAW`; not with a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// The S3 bucket. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The key in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A URL (`s3://` or `https://`) in place of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A snapshot in place of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
}

impl ImportDisk {
    /// The image of `report`, uploaded to `key` in the bucket of the root's image.
    ///
    /// # Errors
    /// A format that imports do not take.
    pub fn of_report(report: &Report, key: &str) -> Result<Self> {
        let format = Some(shapes::disk_format(report)?);
        Ok(Self { description: Some(shapes::disk_description(report)), format, key: Some(key.to_owned()), ..Self::default() })
    }

    pub(super) fn find_wrong(&self) -> Result<(), Wrong> {
        each("device_name", self.device_name.as_deref(), data_device_name)?;
        each("description", self.description.as_deref(), rules::description)?;
        each("bucket", self.bucket.as_deref(), rules::bucket)?;
        each("key", self.key.as_deref(), rules::key)?;
        each("url", self.url.as_deref(), rules::object_url)?;
        each("snapshot_id", self.snapshot_id.as_deref(), rules::snapshot_id)?;
        let sources = [self.key.is_some(), self.url.is_some(), self.snapshot_id.is_some()].into_iter().filter(|said| *said).count();
        if sources != 1 {
            let message = format!("a data volume is one of `key`, `url` and `snapshot_id`, not {sources} of them (EC2 API, ImageDiskContainer)");
            return Err((Vec::new(), Error::invalid(message)));
        }
        match (self.format, &self.snapshot_id) {
            (None, None) => Err((Vec::new(), Error::invalid("a data volume names its `format`, VHD or RAW (EC2 API, ImageDiskContainer)"))),
            (Some(_), Some(_)) => at("format", Err(Error::invalid("a snapshot has no format: one of `format` and `snapshot_id` is to go"))),
            _ => Ok(()),
        }
    }

    /// The disk of the request.
    pub(super) fn container(&self, device_name: String, root_bucket: Option<&str>) -> Result<ImageDiskContainer> {
        let user_bucket = match &self.key {
            Some(key) => {
                let bucket = self.bucket.as_deref().or(root_bucket);
                let bucket = bucket.ok_or_else(|| Error::invalid("a data volume with a `key` needs a `bucket`: neither it nor the image names one"))?;
                Some(UserBucket { s3_bucket: bucket.to_owned(), s3_key: key.clone() })
            }
            None => None,
        };
        let (description, format, snapshot_id, url) = (self.description.clone(), self.format, self.snapshot_id.clone(), self.url.clone());
        Ok(ImageDiskContainer { description, device_name: Some(device_name), format, snapshot_id, url, user_bucket })
    }
}

/// A device of an AMI besides its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Such as `/dev/sdf`.
    pub name: String,
    /// The snapshot that the volume is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Size in whole GiB; without a snapshot the volume is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<Size>,
    /// Default: `gp3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<VolumeType>,
    /// IOPS, for gp3, io1 and io2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// MiB/s, for gp3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Whether the volume goes with its instance. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_on_termination: Option<bool>,
    /// Whether an empty volume is encrypted; a snapshot's encryption is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// An instance store volume, `ephemeral0` to `ephemeral23`, in place of an EBS volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_name: Option<String>,
    /// `true`: no device of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_device: Option<bool>,
}

impl Device {
    fn is_ebs(&self) -> bool {
        self.snapshot_id.is_some() || self.volume_size.is_some()
    }

    pub(super) fn find_wrong(&self) -> Result<(), Wrong> {
        at("name", data_device_name(&self.name))?;
        each("snapshot_id", self.snapshot_id.as_deref(), rules::snapshot_id)?;
        each("virtual_name", self.virtual_name.as_deref(), rules::virtual_name)?;
        let kinds = [self.is_ebs(), self.virtual_name.is_some(), self.no_device == Some(true)].into_iter().filter(|said| *said).count();
        if kinds != 1 {
            let message = "a device is one of an EBS volume (`snapshot_id`, `volume_size` or both), an instance store volume (`virtual_name`) \
                           and `no_device = true` (EC2 API, BlockDeviceMapping)";
            return Err((Vec::new(), Error::invalid(message)));
        }
        if !self.is_ebs() {
            let of_ebs = [
                ("volume_type", self.volume_type.is_some()),
                ("iops", self.iops.is_some()),
                ("throughput", self.throughput.is_some()),
                ("delete_on_termination", self.delete_on_termination.is_some()),
                ("encrypted", self.encrypted.is_some()),
            ];
            return match of_ebs.into_iter().find(|(_, said)| *said) {
                Some((key, _)) => at(key, Err(Error::invalid("this is for EBS volumes, and the device is none (EC2 API, BlockDeviceMapping)"))),
                None => Ok(()),
            };
        }
        if self.snapshot_id.is_some() && self.encrypted.is_some() {
            return at("encrypted", Err(rules::snapshots_keep_their_encryption()));
        }
        let kind = self.volume_type.unwrap_or(VolumeType::Gp3);
        at("volume_type", rules::volume(kind, self.iops, self.throughput))?;
        let Some(size) = self.volume_size else { return Ok(()) };
        let gib = rules::whole_gib(size).map_err(|error| (vec!["volume_size".to_owned()], error))?;
        at("volume_size", rules::volume_size(kind, gib))?;
        at("iops", rules::volume_ratios(kind, gib, self.iops, self.throughput))
    }

    /// The device as requests have it.
    pub(super) fn mapping(&self) -> Result<BlockDeviceMapping> {
        let mut mapping = BlockDeviceMapping { device_name: self.name.clone(), virtual_name: self.virtual_name.clone(), ..BlockDeviceMapping::default() };
        if self.no_device == Some(true) {
            mapping.no_device = Some(String::new());
        }
        if self.is_ebs() {
            mapping.ebs = Some(EbsBlockDevice {
                snapshot_id: self.snapshot_id.clone(),
                volume_size: self.volume_size.map(rules::whole_gib).transpose()?,
                volume_type: Some(self.volume_type.unwrap_or(VolumeType::Gp3)),
                iops: self.iops,
                throughput: self.throughput,
                delete_on_termination: Some(self.delete_on_termination.unwrap_or(false)),
                encrypted: self.encrypted,
            });
        }
        Ok(mapping)
    }
}

/// The names of data volumes of an import, by need the free ones of `/dev/sdf` to `/dev/sdz`; or the disk that is wrong.
pub(super) fn import_names(disks: &[ImportDisk]) -> Result<Vec<String>, (usize, Error)> {
    // The root of an import with several disks is /dev/sda1.
    let mut taken = vec!["/dev/sda1".to_owned()];
    for (index, name) in disks.iter().enumerate().filter_map(|(index, disk)| disk.device_name.as_ref().map(|name| (index, name))) {
        check_new_name(&taken, name).map_err(|error| (index, error))?;
        taken.push(name.clone());
    }
    let free: Vec<String> = ('f'..='z').map(|letter| format!("/dev/sd{letter}")).filter(|name| check_new_name(&taken, name).is_ok()).collect();
    let mut free = free.into_iter();
    let name = |(index, disk): (usize, &ImportDisk)| {
        let none_left = || (index, Error::invalid("no device name is left for this data volume (EC2 user guide, device names)"));
        disk.device_name.clone().or_else(|| free.next()).ok_or_else(none_left)
    };
    disks.iter().enumerate().map(name).collect()
}

/// EC2 user guide, "Device names for volumes": what an HVM instance takes for a device that is not the root.
pub(super) fn data_device_name(name: &str) -> Result<()> {
    let letters = |rest: &str| matches!(rest.as_bytes(), [b'b'..=b'z']);
    let good = name.strip_prefix("/dev/sd").is_some_and(letters)
        || name.strip_prefix("/dev/xvd").is_some_and(|rest| letters(rest) || matches!(rest.as_bytes(), [b'b' | b'c', b'a'..=b'z']));
    if good {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "\"{}\" is no device name: /dev/sdb to /dev/sdz (for EBS volumes /dev/sdf to /dev/sdp are advised), /dev/xvdb to /dev/xvdz and /dev/xvdba to /dev/xvdcz \
         are possible besides the root (EC2 user guide, device names)",
        escape(name.as_bytes())
    )))
}

/// Whether `name` is another device than those of `taken`. A guest's kernel may call `/dev/sdf` `/dev/xvdf`, so these two are one.
pub(super) fn check_new_name(taken: &[String], name: &str) -> Result<()> {
    fn letters(name: &str) -> &str {
        name.strip_prefix("/dev/sd").or_else(|| name.strip_prefix("/dev/xvd")).unwrap_or(name).trim_end_matches(|c: char| c.is_ascii_digit())
    }
    match taken.iter().find(|other| letters(other) == letters(name)) {
        Some(other) if other == name => Err(Error::invalid(format!("the device {} is mapped twice (EC2 API, BlockDeviceMapping)", escape(name.as_bytes())))),
        Some(other) => Err(Error::invalid(format!(
            "the devices {} and {} are one: guests may show /dev/sdX as /dev/xvdX (EC2 user guide, device names)",
            escape(other.as_bytes()),
            escape(name.as_bytes())
        ))),
        None => Ok(()),
    }
}
