//! Whole trees, each with a reviewed list of what is found in it: no false alarm, and nothing of what is true of it missing.

use crate::common::lab;
use crate::{found, source_of};
use rootvol::lint::{LintOptions, Linted, lint_source};
use rootvol::source;
use std::collections::BTreeMap;

/// How often each rule objects.
fn counts(linted: &Linted) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for finding in &linted.findings {
        *counts.entry(finding.rule.id).or_default() += 1;
    }
    counts
}

fn lint_tar(name: &str) -> Option<Linted> {
    let tree = source::open(lab(name)?).unwrap();
    let linted = lint_source(&tree, &LintOptions::default()).unwrap();
    eprintln!("{linted}");
    Some(linted)
}

/// Holds the findings of a tree to the reviewed list: each rule that objects, and why that is true of the tree.
fn reviewed(linted: &Linted, expected: &[(&str, &str)]) {
    let counts = counts(linted);
    for (rule, why) in expected {
        assert!(counts.contains_key(rule), "{rule} is expected ({why}) and not found:\n{linted}");
    }
    for rule in counts.keys() {
        assert!(expected.iter().any(|(expected, _)| expected == rule), "{rule} is not in the reviewed list:\n{linted}");
    }
}
