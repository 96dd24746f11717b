//! Lint: for each rule a tree or an image that triggers it and one that does not; whole trees with a reviewed list of what is found in them.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

#[path = "../common/mod.rs"]
mod common;
mod disks;
mod import;
mod rules;
mod trees;

use rootvol::DiskSpec;
use rootvol::content::{ContentStore, MemoryContents};
use rootvol::lint::{LintOptions, Linted, Purpose, lint_image, lint_source};
use rootvol::source::{DiskImage, Source};
use rootvol::tree::{Metadata, NewNode, TreeBuilder};
use rootvol::units::Size;
use std::sync::Arc;

/// A tree of these files: path and text. `path -> target` is a symbolic link, a path that ends with a slash a directory.
pub fn source(files: &[(&str, &str)]) -> Source {
    source_of(&files.iter().map(|(path, text)| (*path, text.as_bytes())).collect::<Vec<_>>())
}

/// [`source`] of bytes.
pub fn source_of(files: &[(&str, &[u8])]) -> Source {
    let mut contents = MemoryContents::new();
    let mut tree = TreeBuilder::new();
    for (path, bytes) in files {
        let metadata = Metadata { mode: 0o644, ..Metadata::default() };
        if let Some((path, target)) = path.split_once(" -> ") {
            tree.add(path, metadata, NewNode::Symlink(target.as_bytes())).unwrap();
        } else if let Some(path) = path.strip_suffix('/') {
            tree.add(path, Metadata { mode: 0o755, ..metadata }, NewNode::Directory).unwrap();
        } else {
            let content = contents.push(bytes.to_vec()).unwrap();
            tree.add(path, metadata, NewNode::File { content, length: u64::try_from(bytes.len()).unwrap(), data: None }).unwrap();
        }
    }
    let mut store = ContentStore::new();
    let count = contents.count();
    store.add(Arc::new(contents), count).unwrap();
    Source::new(tree.freeze().unwrap(), store, "made in memory")
}

/// A disk of 64 MiB with a system's init and these files on its only filesystem.
pub fn disk(files: &[(&str, &str)]) -> DiskSpec {
    DiskSpec::data(source(&[&[("sbin/init", "#!/bin/sh\n")], files].concat())).name("lint").size(Size::bytes(64 << 20))
}

/// The image that is planned.
pub fn image(spec: DiskSpec) -> DiskImage {
    spec.plan().unwrap().as_image("lint").unwrap()
}

/// The default options, for these purposes.
pub fn options(purposes: &[Purpose]) -> LintOptions {
    let mut options = LintOptions::default();
    options.purposes = purposes.to_vec();
    options
}

/// Whether the rule objects, and to what.
pub fn found(linted: &Linted, rule: &str) -> Vec<String> {
    assert!(rootvol::lint::rule(rule).is_ok(), "{rule} is no rule");
    linted.findings.iter().filter(|finding| finding.rule.id == rule).map(|finding| format!("{}: {}", finding.place, finding.message)).collect()
}

/// What a rule says of a system that has these files besides its init.
pub fn in_bytes(files: &[(&str, &[u8])], rule: &str) -> Vec<String> {
    let files = [&[("sbin/init", &b"#!/bin/sh\n"[..])], files].concat();
    found(&lint_source(&source_of(&files), &LintOptions::default()).unwrap(), rule)
}

/// [`in_bytes`] of text.
pub fn in_tree(files: &[(&str, &str)], rule: &str) -> Vec<String> {
    in_bytes(&files.iter().map(|(path, text)| (*path, text.as_bytes())).collect::<Vec<_>>(), rule)
}

/// What a rule says of an image.
pub fn in_image(image: &DiskImage, rule: &str) -> Vec<String> {
    found(&lint_image(image, &LintOptions::default()).unwrap(), rule)
}
