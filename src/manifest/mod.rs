//! The documents that AWS takes, each written from a [`Report`](crate::report::Report) alone; one file a document.
//!
//! A document is a type with the API's own member names (Amazon EC2 API reference; the service model of botocore 1.44),
//! `Serialize` and `Deserialize`, with a `check()` that holds it to the rules of the model *and* to those that AWS states
//! in prose only: EC2 takes most members as plain strings and reports a mistake long after the upload. What a person
//! chooses is in [`Ami`]: the table `[ami]` of a recipe, or the command's flags.
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
//! To add a document: a file here with its request type and `check()`, an arm in [`documents`], and its row in
//! tests/manifest.rs.

mod ami;
mod documents;
mod ebs_snapshot;
mod import_image;
mod import_snapshot;
mod next_steps;
mod register_image;
mod rules;
mod shapes;
mod shell;
mod token;

pub use crate::report::Architecture;
pub use ami::{Ami, BootMode, ImdsSupport, LicenseType, Platform, TpmSupport, VolumeType};
pub use documents::{Document, Documents, Withheld, document_suffixes, documents};
pub use ebs_snapshot::{
    BlockSource, CompleteSnapshotRequest, EbsSnapshotBuilder, EbsSnapshotPlan, PutSnapshotBlockRequest, StartSnapshotRequest, VOLUME_MAX_GIB,
};
pub use import_image::ImportImageRequest;
pub use import_snapshot::ImportSnapshotRequest;
pub use next_steps::next_steps;
pub use register_image::{RegisterImageRequest, SNAPSHOT_PLACEHOLDER};
pub use shapes::{BlockDeviceMapping, DiskFormat, EbsBlockDevice, ImageDiskContainer, SnapshotDiskContainer, Tag, TagSpecification, UserBucket};

#[cfg(test)]
mod tests;
