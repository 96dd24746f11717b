//! Will it import? What ImportImage looks for in a guest and refuses, each rule with the message that it answers 15 to 60 minutes after the
//! upload, and what every route demands of a disk.
//!
//! ImportSnapshot and the EBS direct API look at nothing: what they carry is judged by whether it boots (the family `boot`).

mod disk;
pub(super) use disk::{Contents, contents_of};
mod fstab;
mod grub;
mod system;

use super::finding::Findings;
use super::rule::Rule;
use super::subject::Subject;
use crate::error::Result;
use crate::source::DiskImage;

pub(super) const RULES: &[&[&Rule]] = &[disk::RULES, fstab::RULES, grub::RULES, system::RULES];

/// Looks at the disk alone.
pub(super) fn check_disk(image: &DiskImage, findings: &mut Findings<'_>) -> Result<()> {
    disk::check(image, findings)
}

/// Looks at the tree on it; a volume of data is told nothing of booting.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    if !subject.is_system() {
        return Ok(());
    }
    if let Some(image) = subject.image {
        disk::check_boot(image, findings)?;
    }
    fstab::check(subject, findings)?;
    grub::check(subject, findings)?;
    system::check(subject, findings)
}
