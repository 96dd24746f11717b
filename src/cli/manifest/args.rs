//! The options of `rootvol manifest`, a struct a document; what several share is a struct of its own.

use crate::manifest::{BootMode, Device, ImdsSupport, LicenseType, Partition, Route, SriovNetSupport, TpmSupport, UtcTime, VolumeType};
use crate::report::Architecture;
use crate::units::Size;
use clap::Args;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// What every document is made of.
#[derive(Debug, Args)]
pub(super) struct Subject {
    /// The build's report: OUT.report.json.
    #[arg(value_name = "REPORT")]
    pub(super) report: PathBuf,
    /// The image, held against the report [default: the one beside the report, where there is one].
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// Take `[ami]` of this recipe; other options override it.
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: Option<PathBuf>,
    /// Let the recipe take sources from this folder as well as its own.
    #[arg(long, value_name = "DIR")]
    pub(super) allow_source: Vec<PathBuf>,
    /// Name of the AMI [default: the image's name and version].
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Description of the AMI and of the import tasks.
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// Tag of the AMI and of the import tasks.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) tag: Vec<String>,
    /// Architecture, where the report knows none: x86_64 or arm64.
    #[arg(long)]
    pub(super) architecture: Option<Architecture>,
    /// How instances boot [default: what the image boots by]: legacy-bios, uefi or uefi-preferred.
    #[arg(long, value_name = "MODE", value_parser = word::<BootMode>)]
    pub(super) boot_mode: Option<BootMode>,
}

/// Where the uploaded image lies, and how it is imported.
#[derive(Debug, Args)]
pub(super) struct ObjectArgs {
    /// S3 bucket that the image is uploaded to.
    #[arg(long)]
    pub(super) bucket: Option<String>,
    /// S3 key that the image has.
    #[arg(long)]
    pub(super) key: Option<String>,
    /// URL of the image (s3:// or https://), in place of bucket and key.
    #[arg(long)]
    pub(super) url: Option<String>,
    /// Service role [default: vmimport].
    #[arg(long, value_name = "ROLE")]
    pub(super) role_name: Option<String>,
    /// Encrypt the snapshots.
    #[arg(long)]
    pub(super) encrypted: bool,
    /// Key to encrypt with: id, alias or ARN.
    #[arg(long, value_name = "KEY")]
    pub(super) kms_key_id: Option<String>,
    /// Number of the attempt: 2 after a failure, so that AWS does not answer with the task that failed.
    #[arg(long, value_name = "N")]
    pub(super) attempt: Option<u32>,
}

/// What RegisterImage is told.
#[derive(Debug, Args)]
pub(super) struct VolumeArgs {
    /// The image's snapshot.
    #[arg(long, value_name = "SNAPSHOT")]
    pub(super) snapshot: Option<String>,
    /// /dev/xvda or /dev/sda1 [default: /dev/xvda].
    #[arg(long, value_name = "DEVICE")]
    pub(super) root_device_name: Option<String>,
    /// Size of the root volume in whole GiB, such as "20 GiB" [default: the image's].
    #[arg(long, value_name = "SIZE")]
    pub(super) volume_size: Option<Size>,
    /// Type of the root volume [default: gp3].
    #[arg(long, value_name = "TYPE", value_parser = word::<VolumeType>)]
    pub(super) volume_type: Option<VolumeType>,
    /// IOPS of the root volume.
    #[arg(long)]
    pub(super) iops: Option<u32>,
    /// MiB/s of the root volume.
    #[arg(long, value_name = "MIB")]
    pub(super) throughput: Option<u32>,
    /// Whether the root volume goes with its instance [default: true].
    #[arg(long, value_name = "BOOL")]
    pub(super) delete_on_termination: Option<bool>,
    /// A further device, as in a recipe: 'name = "/dev/sdf", volume_size = "20 GiB"'.
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub(super) device: Vec<Device>,
    /// Enhanced networking [default: true].
    #[arg(long, value_name = "BOOL")]
    pub(super) ena_support: Option<bool>,
    /// Enhanced networking of older instance types: simple.
    #[arg(long, value_name = "WORD", value_parser = word::<SriovNetSupport>)]
    pub(super) sriov_net_support: Option<SriovNetSupport>,
    /// v2.0 (instances require IMDSv2) or none (the account decides) [default: v2.0].
    #[arg(long, value_name = "VERSION", value_parser = word::<ImdsSupport>)]
    pub(super) imds_support: Option<ImdsSupport>,
    /// NitroTPM: v2.0; needs boot mode uefi.
    #[arg(long, value_name = "VERSION", value_parser = word::<TpmSupport>)]
    pub(super) tpm_support: Option<TpmSupport>,
    /// File with the UEFI variable store in base64.
    #[arg(long, value_name = "FILE")]
    pub(super) uefi_data: Option<PathBuf>,
}

/// Who gets the AMI.
#[derive(Debug, Args)]
pub(super) struct SharingArgs {
    /// Account that may launch instances.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) user: Vec<String>,
    /// Everybody may.
    #[arg(long)]
    pub(super) public: bool,
    /// Organization that may, by its ARN.
    #[arg(long, value_name = "ARN")]
    pub(super) organization_arn: Vec<String>,
    /// Organizational unit that may, by its ARN.
    #[arg(long, value_name = "ARN")]
    pub(super) organizational_unit_arn: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ImportImageArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    #[command(flatten)]
    pub(super) object: ObjectArgs,
    /// Data volume to import with it: the report of its image, and the image's key in the bucket.
    #[arg(long, value_name = "REPORT=KEY")]
    pub(super) data_disk: Vec<String>,
    /// Licence: AWS or BYOL.
    #[arg(long, value_name = "TYPE", value_parser = word::<LicenseType>)]
    pub(super) license_type: Option<LicenseType>,
    /// Such as RunInstances:0010, in place of the licence.
    #[arg(long, value_name = "OPERATION")]
    pub(super) usage_operation: Option<String>,
    /// Print the list of disks alone, for `aws ec2 import-image --disk-containers`.
    #[arg(long)]
    pub(super) disk_containers: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportSnapshotArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    #[command(flatten)]
    pub(super) object: ObjectArgs,
    /// Print the disk alone, for `aws ec2 import-snapshot --disk-container`.
    #[arg(long)]
    pub(super) disk_container: bool,
}

#[derive(Debug, Args)]
pub(super) struct RegisterArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    #[command(flatten)]
    pub(super) volume: VolumeArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShareArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    pub(super) image_id: Option<String>,
    #[command(flatten)]
    pub(super) sharing: SharingArgs,
    /// Take the permissions away in place of giving them.
    #[arg(long)]
    pub(super) remove: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeprecationArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    pub(super) image_id: Option<String>,
    /// From when on, in UTC, such as 2028-11-21T00:00:00Z; at most 10 years from now, 2 for a public AMI.
    #[arg(long, value_name = "TIME")]
    pub(super) deprecate_at: Option<UtcTime>,
    /// The AMI is public.
    #[arg(long)]
    pub(super) public: bool,
}

#[derive(Debug, Args)]
pub(super) struct ProtectionArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    pub(super) image_id: Option<String>,
    /// Protected for 24 hours after the protection was taken away.
    #[arg(long)]
    pub(super) with_cooldown: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportVolumeArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// Key of a part; {part} is its number from 0 [default: the image's, with .part{part} where there are several].
    #[arg(long, value_name = "KEY")]
    pub(super) part_key: Option<String>,
    /// Size of a part, such as "10 MiB" [default: the image is one part].
    #[arg(long, value_name = "SIZE")]
    pub(super) part_size: Option<Size>,
    /// Presigned URL for HEAD of a part, with {part}.
    #[arg(long, value_name = "URL")]
    pub(super) head_url: Option<String>,
    /// Presigned URL for GET of a part, with {part}.
    #[arg(long, value_name = "URL")]
    pub(super) get_url: Option<String>,
    /// Presigned URL for DELETE of a part, with {part}.
    #[arg(long, value_name = "URL")]
    pub(super) delete_url: Option<String>,
    /// File with the URLs of each part, as JSON: [{"head_url": "…", "get_url": "…", "delete_url": "…"}].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["head_url", "get_url", "delete_url"])]
    pub(super) part_urls: Option<PathBuf>,
    /// Presigned URL for DELETE of the manifest.
    #[arg(long, value_name = "URL")]
    pub(super) self_destruct_url: Option<String>,
    /// Print the request in place of the manifest; with --manifest-url and --availability-zone.
    #[arg(long)]
    pub(super) request: bool,
    /// Presigned URL for GET of the manifest.
    #[arg(long, value_name = "URL")]
    pub(super) manifest_url: Option<String>,
    /// Where the volume is made.
    #[arg(long, value_name = "ZONE")]
    pub(super) availability_zone: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RoleArgs {
    /// The build's report; the policies do not depend on it.
    #[arg(value_name = "REPORT")]
    pub(super) report: Option<PathBuf>,
    /// Take `[ami]` of this recipe; other options override it.
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: Option<PathBuf>,
    /// S3 bucket that images are uploaded to.
    #[arg(long)]
    pub(super) bucket: Option<String>,
    /// ARN of the key that snapshots are encrypted with.
    #[arg(long, value_name = "ARN")]
    pub(super) kms_key_id: Option<String>,
    /// Name of the role [default: vmimport].
    #[arg(long, value_name = "ROLE")]
    pub(super) role_name: Option<String>,
    /// aws, aws-cn or aws-us-gov [default: aws].
    #[arg(long, value_parser = word::<Partition>)]
    pub(super) partition: Option<Partition>,
    /// Account of the role, which then serves imports of this account only.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) source_account: Option<String>,
    /// Print the trust policy alone.
    #[arg(long, conflicts_with = "permissions")]
    pub(super) trust: bool,
    /// Print the role policy alone.
    #[arg(long)]
    pub(super) permissions: bool,
}

#[derive(Debug, Args)]
pub(super) struct ScriptArgs {
    #[command(flatten)]
    pub(super) subject: Subject,
    /// import-image, import-snapshot or ebs.
    #[arg(long, value_parser = word::<Route>)]
    pub(super) route: Route,
    #[command(flatten)]
    pub(super) object: ObjectArgs,
    #[command(flatten)]
    pub(super) volume: VolumeArgs,
    #[command(flatten)]
    pub(super) sharing: SharingArgs,
    /// When the AMI is deprecated, in UTC.
    #[arg(long, value_name = "TIME")]
    pub(super) deprecate_at: Option<UtcTime>,
    /// Keep the AMI from being deregistered.
    #[arg(long)]
    pub(super) protect: bool,
}

/// A word of the EC2 API, as recipes have it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|error| error.to_string().replacen("unknown variant", "unknown value", 1))
}

/// A device in the words of a recipe.
fn device(text: &str) -> Result<Device, String> {
    #[derive(serde::Deserialize)]
    struct Line {
        device: Device,
    }
    toml::from_str::<Line>(&format!("device = {{ {text} }}")).map(|line| line.device).map_err(|error| error.message().to_owned())
}
