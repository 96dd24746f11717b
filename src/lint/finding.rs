//! What was found, and where.

use super::rule::{Purpose, Rule, Severity};
use crate::error::escape;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Findings of one rule that are listed; more are counted. A tree has a million paths, and nobody reads as many lines.
pub const LISTED_PER_RULE: usize = 25;
/// Findings of one rule that are kept, the first in the order of looking: a hostile tree has a million. Those behind them are counted.
const KEPT_PER_RULE: usize = 4096;

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The image as a whole.
    Image,
    /// A byte of the disk.
    Disk {
        /// From the begin of the disk.
        offset_bytes: u64,
    },
    /// A partition, and a byte of it where one is meant.
    Partition {
        /// Its number; 0 without a table.
        number: u32,
        /// From the begin of the partition.
        offset_bytes: Option<u64>,
    },
    /// An entry of the tree, and a line of it where one is meant.
    Path {
        /// Without leading slash.
        path: Vec<u8>,
        /// From 1.
        line: Option<u64>,
    },
}

impl Place {
    /// An entry of the tree; slashes at the begin of `path` do not matter.
    #[must_use]
    pub fn path(path: impl AsRef<[u8]>) -> Self {
        Self::at(path, None)
    }

    /// A line of a file, from 1.
    #[must_use]
    pub fn line(path: impl AsRef<[u8]>, line: u64) -> Self {
        Self::at(path, Some(line))
    }

    fn at(path: impl AsRef<[u8]>, line: Option<u64>) -> Self {
        let path = path.as_ref();
        let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        Self::Path { path: path[start..].to_vec(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Disk { offset_bytes } => write!(f, "disk, offset {offset_bytes}"),
            Self::Partition { number, offset_bytes: None } => write!(f, "partition {number}"),
            Self::Partition { number, offset_bytes: Some(offset) } => write!(f, "partition {number}, offset {offset}"),
            Self::Path { path, line: None } => write!(f, "/{}", escape(path)),
            Self::Path { path, line: Some(line) } => write!(f, "/{}:{line}", escape(path)),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Image => {}
            Self::Disk { offset_bytes } => map.serialize_entry("offset_bytes", offset_bytes)?,
            Self::Partition { number, offset_bytes } => {
                map.serialize_entry("partition", number)?;
                if let Some(offset) = offset_bytes {
                    map.serialize_entry("offset_bytes", offset)?;
                }
            }
            Self::Path { path, line } => {
                map.serialize_entry("path", &format!("/{}", escape(path)))?;
                if let Some(line) = line {
                    map.serialize_entry("line", line)?;
                }
            }
        }
        map.end()
    }
}

/// Something that a rule objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is for the purposes that were asked for.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What, on one line without control characters.
    pub message: String,
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rule", self.rule.id)?;
        map.serialize_entry("severity", &self.severity)?;
        map.serialize_entry("place", &self.place)?;
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("why", self.rule.why)?;
        map.serialize_entry("mend", self.rule.mend)?;
        map.serialize_entry("source", self.rule.source)?;
        map.end()
    }
}

/// A finding that somebody accepts, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Allowed {
    /// The finding.
    pub finding: Finding,
    /// Why it is accepted.
    pub reason: String,
}

/// Takes what the rules object to.
pub(super) struct Findings<'a> {
    purposes: &'a [Purpose],
    all: Vec<Finding>,
    counts: BTreeMap<&'static str, usize>,
    not_checked: Vec<String>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(purposes: &'a [Purpose]) -> Self {
        Self { purposes, all: Vec::new(), counts: BTreeMap::new(), not_checked: Vec::new() }
    }

    /// Whether any of these rules is asked for: what only they need is not looked at otherwise.
    pub(super) fn want(&self, rules: &[&Rule]) -> bool {
        rules.iter().any(|rule| rule.severity_for(self.purposes).is_some())
    }

    /// Takes a finding. `message` says what is there, escaped where it quotes the image.
    pub(super) fn add(&mut self, rule: &'static Rule, place: Place, message: impl Into<String>) {
        let Some(severity) = rule.severity_for(self.purposes) else { return };
        let count = self.counts.entry(rule.id).or_default();
        *count += 1;
        if *count > KEPT_PER_RULE {
            return;
        }
        self.all.push(Finding { rule, severity, place, message: message.into() });
    }

    /// Takes what could not be judged, and why; escaped where it quotes the image.
    pub(super) fn cannot_check(&mut self, why: impl Into<String>) {
        self.not_checked.push(why.into());
    }

    /// What could not be judged, and what there is more than is kept: a line each.
    pub(super) fn take_not_checked(&mut self) -> Vec<String> {
        let not_kept = self.not_kept();
        self.not_checked.extend(not_kept);
        std::mem::take(&mut self.not_checked)
    }

    fn not_kept(&self) -> Vec<String> {
        let over = self.counts.iter().filter_map(|(rule, count)| count.checked_sub(KEPT_PER_RULE).filter(|more| *more > 0).map(|more| (rule, more)));
        over.map(|(rule, more)| format!("{more} more findings of {rule}: only the first {KEPT_PER_RULE} are kept")).collect()
    }

    /// All findings: the worst first, then by family, rule and place.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.all.sort_by(|a, b| {
            let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.rule.family, finding.rule.id);
            key(a).cmp(&key(b)).then_with(|| a.place.cmp(&b.place)).then_with(|| a.message.cmp(&b.message))
        });
        self.all.dedup();
        self.all
    }
}
