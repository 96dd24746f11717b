//! The family "share" of lint, and `[clean]`: trees that a rule objects to beside trees that it does not, a real Debian tree, free space
//! of images that others made.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::lab;
use rootvol::lint::{LintOptions, Linted, lint_source};

/// What a rule says of a tree: its id and place.
fn said(linted: &Linted) -> Vec<String> {
    linted
        .findings
        .iter()
        .filter(|finding| finding.rule.family == rootvol::lint::Family::Share)
        .map(|finding| format!("{} {}: {}", finding.rule.id, finding.place, finding.message))
        .collect()
}

#[test]
fn a_debian_tree_gives_no_false_alarm() {
    let Some(tar) = lab("debian.tar") else { return };
    let source = rootvol::source::open(tar).unwrap();
    let start = std::time::Instant::now();
    let linted = lint_source(&source, &LintOptions::default()).unwrap();
    eprintln!("{:?}", start.elapsed());
    eprintln!("{:#?}\n{:?}", said(&linted), linted.not_checked);
}
