//! The family "made".

use super::finding::Findings;
use super::rule::Rule;
use super::subject::Subject;
use crate::error::Result;

pub(super) const RULES: &[&Rule] = &[];

pub(super) fn check(_subject: &Subject<'_>, _findings: &mut Findings<'_>) -> Result<()> {
    Ok(())
}
