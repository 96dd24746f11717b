//! `[lint]`: what an image is for, and what is accepted of what lint finds in it.

use super::problem::Problem;
use crate::lint::{self, Allowance, LintOptions, Purpose};
use serde::{Deserialize, Serialize};

/// `[lint]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct LintSection {
    /// What the image is for. Default: in a build with `[ami]` the ways that are asked for there; else all, at most as warnings.
    #[serde(rename = "for", skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<Purpose>,
    /// What is accepted, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowSection>,
}

/// One of `allow`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct AllowSection {
    /// The rule, by its name.
    pub rule: String,
    /// Only at or beneath this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it is accepted.
    pub reason: String,
}

impl LintSection {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The options of the library; rules that do not exist have been refused by [`Recipe::check`](super::Recipe::check).
    #[must_use]
    pub fn options(&self) -> LintOptions {
        let mut options = LintOptions { purposes: self.purposes.clone(), ..LintOptions::default() };
        options.allow.extend(self.allow.iter().filter_map(AllowSection::allowance));
        options
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        for (nth, allowed) in self.allow.iter().enumerate() {
            lint::rule(&allowed.rule).map_err(|error| Problem::at(&[&"lint", &"allow", &nth, &"rule"], error.to_string()))?;
            if allowed.reason.trim().is_empty() {
                return Err(Problem::at(&[&"lint", &"allow", &nth, &"reason"], "what is accepted needs a reason"));
            }
        }
        Ok(())
    }
}

impl AllowSection {
    fn allowance(&self) -> Option<Allowance> {
        let rule = lint::rule(&self.rule).ok()?;
        Some(Allowance { rule, path: self.path.as_ref().map(|path| path.clone().into_bytes()), reason: self.reason.clone() })
    }
}
