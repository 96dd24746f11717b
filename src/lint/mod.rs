//! Lint: whether AWS will take an image, whether it will boot on Nitro, whether it is safe to share, whether it is well made; told offline,
//! before anything is uploaded.
//!
//! ```text
//!  directory, tar ──► Source ─────────────────┐
//!  image ───────────► DiskImage ─► its root ──┼─► Subject ─► a family of rules a file ─► Findings ─► Linted
//!  recipe ─► Disk ──► DiskImage ─► its root ──┘
//! ```
//! A planned [`Disk`] is read as an image is, so that what `build` is about to write is judged before it is written, through
//! the readers that judge any other image. A directory or a tar has no disk yet; what `build` brings (table, loader, fstab) is not missed in one.
//!
//! A [`Rule`] has a name that never changes, a severity, the purposes that it concerns, why it matters with the message of AWS that it prevents,
//! how it is mended, and its source. To add one: a `static` in the file of its family, its check there, an entry in that file's `RULES`, and a tree
//! that triggers it beside one that does not in `tests/lint`.
//!
//! Reading is bounded: configuration files to 1 MiB, folders by the entries that the tree has, what is packed by what it may unpack to. No secret is
//! ever shown whole.

mod boot;
mod finding;
mod import;
mod made;
mod rule;
mod share;
mod subject;

pub use finding::{Allowed, Finding, LISTED_PER_RULE, Place};
pub use rule::{Family, Purpose, Rule, Severity};

use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::Wrapping;
use crate::source::{self, DiskImage, Source};
use crate::stream::{Cancel, StreamOptions};
use finding::Findings;
use rule::EVERY;
use serde::Serialize;
use std::fmt;
use subject::Subject;

/// What is asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LintOptions {
    /// What the image is for: only rules that concern it, at their full severity. Empty: all rules, and what not every image must hold to
    /// is a warning at most.
    pub purposes: Vec<Purpose>,
    /// What is accepted.
    pub allow: Vec<Allowance>,
    /// Threads that read files.
    pub threads: usize,
    /// A wish to stop, from anywhere.
    pub cancel: Cancel,
}

impl Default for LintOptions {
    /// Every purpose, nothing allowed.
    fn default() -> Self {
        Self { purposes: Vec::new(), allow: Vec::new(), threads: StreamOptions::default().threads, cancel: Cancel::new() }
    }
}

/// Findings that somebody accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The rule.
    pub rule: &'static Rule,
    /// Only in what lies at or beneath this path; everywhere, if none is named.
    pub path: Option<Vec<u8>>,
    /// Why.
    pub reason: String,
}

impl Allowance {
    fn covers(&self, finding: &Finding) -> bool {
        let inside = |path: &[u8], folder: &[u8]| path.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.is_empty() || rest.starts_with(b"/"));
        let here = match (&self.path, &finding.place) {
            (None, _) => true,
            (Some(folder), Place::Path { path, .. }) => inside(path, crate::boot::files::trim(folder)),
            (Some(_), _) => false,
        };
        here && self.rule.id == finding.rule.id
    }
}

/// What lint says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Linted {
    /// What was looked at.
    pub subject: String,
    /// The purposes that were asked for; empty for all.
    pub purposes: Vec<Purpose>,
    /// What the rules object to: the worst first, then by rule and place.
    pub findings: Vec<Finding>,
    /// What they object to and somebody accepts.
    pub allowed: Vec<Allowed>,
    /// What could not be judged, and why.
    pub not_checked: Vec<String>,
}

static DAMAGED: Rule = Rule {
    id: "filesystem-damaged",
    family: Family::Made,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the kernel mounts a damaged filesystem read-only or not at all, and what is damaged is lost",
    mend: "repair a copy with e2fsck or fsck.fat, or build the image anew",
    source: "verify --fs of this tool",
};

static DISK_ODD: Rule = Rule {
    id: "disk-structure",
    family: Family::Import,
    severity: Severity::Error,
    concerns: EVERY,
    why: "what is wrong with container or partition table is refused by imports (\"ClientError: Footers not identical\", \"No valid partitions. Not a valid volume.\") or mended by the guest at its first boot",
    mend: "`rootvol convert` writes container and table anew",
    source: "VM Import/Export user guide, troubleshooting",
};

const RULES: &[&Rule] = &[&DAMAGED, &DISK_ODD];

/// All rules, by family.
#[must_use]
pub fn rules() -> Vec<&'static Rule> {
    let mut all: Vec<&Rule> = [RULES, &import::RULES.concat(), boot::RULES, share::RULES, made::RULES].concat();
    all.sort_by_key(|rule| (rule.family, rule.id));
    all
}

/// The rule with this name.
///
/// # Errors
/// There is none.
pub fn rule(id: &str) -> Result<&'static Rule> {
    let found = rules().into_iter().find(|rule| rule.id == id);
    found.ok_or_else(|| Error::invalid(format!("there is no rule {:?}; `rootvol lint --rules` lists them", escape(id.as_bytes()))))
}

/// Looks at a source: a directory or a tar, from which `build` makes a disk.
///
/// # Errors
/// [`ErrorKind::Cancelled`]; what cannot be read at all. What can be read in part is a finding.
pub fn lint_source(source: &Source, options: &LintOptions) -> Result<Linted> {
    lint(source, None, source.description.clone(), options)
}

/// Looks at a disk image: its container, its table, the tree on its root with what that mounts.
///
/// # Errors
/// As [`lint_source`]; an image without a root.
pub fn lint_image(image: &DiskImage, options: &LintOptions) -> Result<Linted> {
    let reading = source::Options { keep_going: true, mounts: true, ..source::Options::default() };
    match source::open_image(image, &reading) {
        Ok(source) => lint(&source, Some(image), source.description.clone(), options),
        // No root, or one that is not read here: the disk is judged all the same.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::Corrupt) => {
            let mut findings = Findings::new(&options.purposes);
            let mut not_checked = vec![format!("what is on the disk: {error}")];
            check_disk(image, &mut findings, &mut not_checked);
            let path = escape(image.path().as_os_str().as_encoded_bytes());
            Ok(Linted::of(path, findings, not_checked, options))
        }
        Err(error) => Err(error),
    }
}

/// Looks at a planned disk as at the image that it will be, before it is written.
///
/// # Errors
/// As [`lint_image`].
pub fn lint_disk(disk: &Disk, options: &LintOptions) -> Result<Linted> {
    lint_image(&disk.as_image(disk.name().unwrap_or("the planned disk"))?, options)
}

/// Holds the rules of a family against a subject.
type Check = fn(&Subject<'_>, &mut Findings<'_>) -> Result<()>;

fn lint(source: &Source, image: Option<&DiskImage>, subject: String, options: &LintOptions) -> Result<Linted> {
    let mut findings = Findings::new(&options.purposes);
    let mut not_checked = Vec::new();
    for damage in &source.damage {
        findings.add(&DAMAGED, Place::Image, damage.to_string());
    }
    for unreadable in &source.unreadable {
        not_checked.push(unreadable.to_string());
    }
    if let Some(image) = image {
        check_disk(image, &mut findings, &mut not_checked);
    }
    if image.is_none() {
        not_checked.push("container, partition table, filesystem: a tree has none yet".to_owned());
    }
    let families: [(&str, Check); 4] = [("import", import::check), ("boot", boot::check), ("share", share::check), ("made", made::check)];
    let subject_of_rules = Subject::new(source, image, options.threads, &options.cancel)?;
    if !subject_of_rules.is_system() {
        not_checked.push("how it imports and boots: there is neither a kernel nor an init, it is a volume of data".to_owned());
    }
    for (family, check) in families {
        options.cancel.check()?;
        if family == "boot" && !subject_of_rules.is_system() {
            continue;
        }
        match check(&subject_of_rules, &mut findings) {
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Internal | ErrorKind::SourceChanged) => return Err(error),
            Err(error) => not_checked.push(format!("rules of the family {family}, not all of them: {error}")),
            Ok(()) => {}
        }
    }
    Ok(Linted::of(subject, findings, not_checked, options))
}

/// The rules that need no tree.
fn check_disk(image: &DiskImage, findings: &mut Findings<'_>, not_checked: &mut Vec<String>) {
    // That a file had to be unpacked says nothing of the disk in it.
    let of_container = image.disk().notes().len();
    let skipped = if image.disk().wrapping() == Wrapping::Compressed { of_container } else { 0 };
    for note in image.notes().iter().skip(skipped).filter(|note| !boot::tells(note)) {
        findings.add(&DISK_ODD, Place::Image, escape(note.as_bytes()));
    }
    for check in [import::check_disk, made::check_disk] {
        if let Err(error) = check(image, findings) {
            not_checked.push(format!("container and partition table, not all of it: {error}"));
        }
    }
}

impl Linted {
    fn of(subject: String, mut findings: Findings<'_>, mut not_checked: Vec<String>, options: &LintOptions) -> Self {
        not_checked.extend(findings.take_not_checked());
        let mut linted = Self { subject, purposes: options.purposes.clone(), findings: Vec::new(), allowed: Vec::new(), not_checked };
        for finding in findings.finish() {
            match options.allow.iter().find(|allowance| allowance.covers(&finding)) {
                Some(allowance) => linted.allowed.push(Allowed { finding, reason: allowance.reason.clone() }),
                None => linted.findings.push(finding),
            }
        }
        linted
    }

    /// How many findings there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The findings that must be mended.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// Stops where something must be mended.
    ///
    /// # Errors
    /// [`ErrorKind::Unfit`] with the first finding and how many more there are.
    pub fn refuse_errors(&self) -> Result<()> {
        let Some(first) = self.errors().next() else { return Ok(()) };
        let more = self.errors().count() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        let message = format!("{}: {}: {}{more}; {}", first.rule.id, first.place, first.message, first.rule.mend);
        Err(Error::new(ErrorKind::Unfit, message))
    }
}

/// Findings rule by rule, each rule with why it matters and how it is mended; of a rule that objects to much, the first
/// [`LISTED_PER_RULE`].
impl fmt::Display for Linted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.findings.chunk_by(|a, b| a.rule.id == b.rule.id) {
            let rule = group[0].rule;
            for finding in group.iter().take(LISTED_PER_RULE) {
                writeln!(f, "{}[{}] {}: {}", finding.severity, rule.id, finding.place, finding.message)?;
            }
            if group.len() > LISTED_PER_RULE {
                writeln!(f, "{}[{}] and {} more", group[0].severity, rule.id, group.len() - LISTED_PER_RULE)?;
            }
            writeln!(f, "    why: {}\n    mend: {}\n    source: {}", rule.why, rule.mend, rule.source)?;
        }
        for Allowed { finding, reason } in &self.allowed {
            writeln!(f, "allowed[{}] {}: {} ({})", finding.rule.id, finding.place, finding.message, escape(reason.as_bytes()))?;
        }
        for why in &self.not_checked {
            writeln!(f, "not checked: {}", escape(why.as_bytes()))?;
        }
        let count = |severity: Severity, word: &str| {
            let count = self.count(severity);
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let counts = [count(Severity::Error, "error"), count(Severity::Warning, "warning"), count(Severity::Note, "note")].join(", ");
        let allowed = if self.allowed.is_empty() { String::new() } else { format!(", {} allowed", self.allowed.len()) };
        writeln!(f, "{}: {counts}{allowed}", escape(self.subject.as_bytes()))
    }
}
