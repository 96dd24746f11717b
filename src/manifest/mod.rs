//! The documents that AWS takes, each written from a [`Report`](crate::report::Report) alone; one file a document.
//!
//! A document is a type with the API's own member names (Amazon EC2 API reference; the service model of botocore 1.44),
//! `Serialize` and `Deserialize`, with a `check()` that holds it to the rules of the model *and* to those that AWS states
//! in prose only: EC2 takes most members as plain strings and reports a mistake long after the upload. What a person
//! chooses is in [`AmiChoices`]: the table `[ami]` of a recipe, or the command's flags.
//!
//! ```text
//!                      ┌─ import-image ───────────────────────────────────► AMI     x86_64, GRUB, < 8 TiB
//!  image ── s3 cp ─────┤
//!                      └─ import-snapshot ─► snapshot ─ register-image ───► AMI     any loader, arm64 too
//! ```
//!
//! ImportImage looks into the guest and rewrites it; ImportSnapshot does neither. What ImportImage is known to refuse is
//! refused here, with the rule's source, and [`documents`] withholds that one document and says which route works.
//!
//! [`Ami`] is the AMI as a whole, made of a report and the choices by [`Report::ami`](crate::report::Report::ami); the requests that are
//! about an AMI are made of it. [`Script`] is a route from beginning to end, as a script of `aws` commands. [`read_report`] reads a
//! report that anybody may have written.
//!
//! To add a document: a file here with its request type and `check()`, its suffix and an arm in `documents.rs`, its subcommand in
//! `src/cli/manifest.rs`, and its row in tests/manifest.rs.

mod ami;
mod check;
mod choices;
mod deprecation;
mod deregistration_protection;
mod devices;
mod documents;
mod ebs_snapshot;
mod import_image;
mod import_snapshot;
mod import_volume;
mod launch_permission;
mod next_steps;
mod read;
mod register_image;
mod rules;
mod script;
mod shapes;
mod shell;
mod time;
mod token;
mod values;
mod vmimport_role;

pub use crate::report::Architecture;
pub use ami::{Ami, IMAGE_PLACEHOLDER, Relation};
pub use choices::AmiChoices;
pub use deprecation::EnableImageDeprecationRequest;
pub use deregistration_protection::EnableImageDeregistrationProtectionRequest;
pub use devices::{Device, ImportDisk};
pub(crate) use documents::EBS_SNAPSHOT;
pub use documents::{Document, Documents, Withheld, document_suffixes, documents};
pub use ebs_snapshot::{
    BlockSource, CompleteSnapshotRequest, EbsSnapshotBuilder, EbsSnapshotPlan, PutSnapshotBlockRequest, StartSnapshotRequest, VOLUME_MAX_GIB,
};
pub use import_image::ImportImageRequest;
pub use import_snapshot::ImportSnapshotRequest;
pub use import_volume::{
    DiskImageDetail, ImportVolumeChoices, ImportVolumeManifest, ImportVolumeRequest, Importer, ManifestImport, ManifestPart, PartUrls, VolumeDetail,
};
pub use launch_permission::{LaunchPermission, LaunchPermissionModifications, LaunchPermissions, ModifyImageAttributeRequest, PermissionGroup};
pub use next_steps::next_steps;
pub use read::{REPORT_MAX_BYTES, read_report, read_uefi_data};
#[cfg(feature = "cli")]
pub(crate) use read::{image_of, read_bounded};
pub use register_image::{RegisterImageRequest, SNAPSHOT_PLACEHOLDER};
pub use script::Script;
pub use shapes::{BlockDeviceMapping, DiskFormat, EbsBlockDevice, ImageDiskContainer, SnapshotDiskContainer, Tag, TagSpecification, UserBucket};
pub use time::UtcTime;
pub use values::{BootMode, DeregistrationProtection, ImdsSupport, LicenseType, Partition, Platform, Route, SriovNetSupport, TpmSupport, VolumeType};
pub use vmimport_role::{Effect, PolicyDocument, RoleChoices, Statement, VmImportRole};

#[cfg(test)]
mod tests;
