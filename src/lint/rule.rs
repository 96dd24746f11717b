//! What a rule is: its name, what it is about, why it matters, how it is mended, and who says so.

use crate::text::words;
use serde::Serialize;

/// What an image is for; each demands other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// ImportImage, which looks into the guest and rewrites it.
    ImportImage,
    /// ImportSnapshot and RegisterImage, which look at nothing.
    ImportSnapshot,
    /// A snapshot by the EBS direct API, and RegisterImage.
    Ebs,
    /// An AMI that others may launch.
    Public,
    /// A product of AWS Marketplace.
    Marketplace,
}

words!(Purpose, "a purpose", [ImportImage = "import-image", ImportSnapshot = "import-snapshot", Ebs = "ebs", Public = "public", Marketplace = "marketplace"]);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Likely a mistake, or only one for some purposes.
    Warning,
    /// AWS refuses the image, it does not boot, or it gives a secret away.
    Error,
}

words!(Severity, "a severity", [Note = "note", Warning = "warning", Error = "error"]);

/// The question that a rule helps to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Will it import?
    Import,
    /// Will it boot on Nitro?
    Boot,
    /// Is it safe to share?
    Share,
    /// Is it well made?
    Made,
}

words!(Family, "a family of rules", [Import = "import", Boot = "boot", Share = "share", Made = "made"]);

/// All ways to an AMI of one's own.
pub(super) const EVERY: &[Purpose] = &Purpose::ALL;
/// ImportImage alone.
pub(super) const IMPORT_IMAGE: &[Purpose] = &[Purpose::ImportImage];
/// Imports of an uploaded file.
pub(super) const IMPORTS: &[Purpose] = &[Purpose::ImportImage, Purpose::ImportSnapshot];
/// Where AWS looks into the guest.
pub(super) const SEEN_BY_AWS: &[Purpose] = &[Purpose::ImportImage, Purpose::Marketplace];
/// AMIs that others launch.
pub(super) const SHARED: &[Purpose] = &[Purpose::Public, Purpose::Marketplace];
/// Products.
pub(super) const MARKETPLACE: &[Purpose] = &[Purpose::Marketplace];

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, which never changes.
    pub id: &'static str,
    /// What it is about.
    pub family: Family,
    /// How bad it is for the purposes that it concerns.
    pub severity: Severity,
    /// For which purposes it matters.
    pub concerns: &'static [Purpose],
    /// What happens, with the message of AWS that it prevents.
    pub why: &'static str,
    /// How it is mended.
    pub mend: &'static str,
    /// Who says so: document and section.
    pub source: &'static str,
}

impl Rule {
    /// How bad a finding is for these purposes; `None` where the rule concerns none of them. Without purposes, what not every image must
    /// hold to is a warning at most.
    #[must_use]
    pub fn severity_for(&self, purposes: &[Purpose]) -> Option<Severity> {
        if purposes.is_empty() {
            let concerns_all = Purpose::ALL.iter().all(|purpose| self.concerns.contains(purpose));
            return Some(if concerns_all { self.severity } else { self.severity.min(Severity::Warning) });
        }
        purposes.iter().any(|purpose| self.concerns.contains(purpose)).then_some(self.severity)
    }
}
