//! SELinux labels judged by libselinux: matchpathcon and setfiles, with the real policy of Debian on a real tree, and with policies
//! that try every rule.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]

#[path = "../common/mod.rs"]
mod common;
mod image;
mod rules;

use common::{judge, lab, run, skip};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rootvol::Format;
use rootvol::labels::{self, FileContexts, FileType};
use rootvol::recipe::{Given, LoadOptions, Recipe};
use rootvol::tree::{Metadata, NewNode, Tree, TreeBuilder, XattrSetId};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Debian's policy.
const POLICY: &str = "/etc/selinux/default/contexts/files/file_contexts";
const TYPES: [(FileType, &str, &str); 7] = [
    (FileType::File, "f", "--"),
    (FileType::Directory, "d", "-d"),
    (FileType::Symlink, "l", "-l"),
    (FileType::CharDevice, "c", "-c"),
    (FileType::BlockDevice, "b", "-b"),
    (FileType::Fifo, "p", "-p"),
    (FileType::Socket, "s", "-s"),
];

/// Debian's policy copied to a folder, without its compiled form, which libselinux would read in place of the text.
fn policy(folder: &Path) -> Option<PathBuf> {
    if !Path::new(POLICY).is_file() {
        skip("the package selinux-policy-default is not installed");
        return None;
    }
    let copy = folder.join("file_contexts");
    for suffix in ["", ".homedirs", ".local", ".subs", ".subs_dist"] {
        if let Ok(text) = fs::read(format!("{POLICY}{suffix}")) {
            fs::write(format!("{}{suffix}", copy.display()), text).unwrap();
        }
    }
    Some(copy)
}

/// What matchpathcon says of each path; `<<none>>` where there is no context.
fn matchpathcon(policy: &Path, kind: FileType, paths: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let letter = TYPES.iter().find(|(of, ..)| *of == kind).unwrap().1;
    let mut answers = Vec::new();
    for some in paths.chunks(2_000) {
        let mut command = judge("matchpathcon")?;
        command.args(["-N", "-n", "-m", letter, "-f"]).arg(policy).args(some.iter().map(|path| OsStr::from_bytes(path)));
        let output = run(&mut command);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let before = answers.len();
        answers.extend(output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        assert_eq!(answers.len() - before, some.len());
    }
    Some(answers)
}

/// Ours, in the same form.
fn ours(contexts: &FileContexts, path: &[u8], kind: FileType) -> Vec<u8> {
    contexts.context(path, kind).unwrap().unwrap_or(b"<<none>>").to_vec()
}

/// Compares every path with matchpathcon, or gives back false where that is not there.
#[track_caller]
fn compare(policy: &Path, kind: FileType, paths: &[Vec<u8>]) -> bool {
    let Some(theirs) = matchpathcon(policy, kind, paths) else { return false };
    let contexts = FileContexts::load(policy).unwrap();
    let wrong: Vec<String> = paths
        .iter()
        .zip(&theirs)
        .filter(|(path, theirs)| ours(&contexts, path, kind) != **theirs)
        .map(|(path, theirs)| {
            let ours = ours(&contexts, path, kind);
            format!("{:?}: ours {:?}, libselinux's {:?}", bytes(path), bytes(&ours), bytes(theirs))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), paths.len(), wrong.join("\n"));
    true
}

fn bytes(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The absolute paths of a tree by type.
fn paths(tree: &Tree) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    tree.walk(|path, id| {
        let kind = FileType::from(&tree.node(id).kind);
        let letter = TYPES.iter().find(|(of, ..)| *of == kind).unwrap().1;
        found.entry(letter).or_default().push([b"/", path].concat());
        Ok(())
    })
    .unwrap();
    found
}

fn kind_of(letter: &str) -> FileType {
    TYPES.iter().find(|(_, of, _)| *of == letter).unwrap().0
}

fn label(tree: &Tree, set: XattrSetId) -> Option<&[u8]> {
    tree.xattrs(set).iter().find(|xattr| *xattr.name == *b"security.selinux").map(|xattr| &*xattr.value)
}

#[test]
fn a_debian_tree_has_the_labels_that_libselinux_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(policy), Some(tar)) = (policy(folder.path()), lab("debian.tar")) else { return };
    let tree = rootvol::source::open(&tar).unwrap().tree;
    let mut count = 0;
    for (letter, paths) in paths(&tree) {
        if !compare(&policy, kind_of(letter), &paths) {
            return;
        }
        count += paths.len();
        // As any other type, too: policies tell types apart at the same path.
        for (other, of, _) in TYPES.iter().filter(|(_, of, _)| *of != letter) {
            let some: Vec<Vec<u8>> = paths.iter().skip(of.len()).step_by(13).cloned().collect();
            assert!(compare(&policy, *other, &some));
        }
    }
    assert!(count > 5_000, "only {count} paths");
    let before: Vec<_> = tree.nodes().map(|(_, node)| (node.metadata.mode, node.metadata.mtime, node.links)).collect();
    let contexts = FileContexts::load(&policy).unwrap();
    let labels::Labelled { tree, labelled, .. } = labels::apply(tree, &contexts, "/").unwrap();
    assert!(labelled > 5_000);
    assert_eq!(before, tree.nodes().map(|(_, node)| (node.metadata.mode, node.metadata.mtime, node.links)).collect::<Vec<_>>());
    let id = tree.lookup("/etc/shadow").unwrap();
    assert_eq!(label(&tree, tree.node(id).metadata.xattrs), Some(&b"system_u:object_r:shadow_t:s0\0"[..]));
    // What was there beside stays: the lab's tree has a file with a capability.
    let id = tree.lookup("/opt/rootvol/capable").unwrap();
    let names: Vec<&[u8]> = tree.xattrs(tree.node(id).metadata.xattrs).iter().map(|xattr| &*xattr.name).collect();
    assert_eq!(names, [&b"security.capability"[..], b"security.selinux"]);
}

#[test]
fn a_debian_tree_has_the_labels_that_setfiles_would_write() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(policy), Some(tar), Some(mut setfiles)) = (policy(folder.path()), lab("debian.tar"), judge("setfiles")) else { return };
    // The tar has device nodes.
    if !common::root() {
        return;
    }
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    run(std::process::Command::new("tar").arg("-xpf").arg(tar).arg("-C").arg(&root));
    let tree = rootvol::source::open(&root).unwrap().tree;
    let contexts = FileContexts::load(&policy).unwrap();
    let labels::Labelled { tree, labelled, .. } = labels::apply(tree, &contexts, "/").unwrap();
    let output = run(setfiles.args(["-d", "-n", "-r"]).arg(&root).arg(&policy).arg(&root));
    let prefix = root.as_os_str().as_bytes();
    let mut found = 0;
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Some(at) = line.windows(12).position(|window| window == b" matched by ") else { continue };
        let path = line[..at].strip_prefix(prefix).unwrap();
        let node = tree.node(tree.lookup(path).unwrap());
        assert_eq!(label(&tree, node.metadata.xattrs), Some([&line[at + 12..], b"\0"].concat().as_slice()), "{}", bytes(path));
        found += 1;
    }
    assert_eq!(found, labelled, "files that setfiles has a label for, and files that we have one for");
}

#[test]
fn debians_patterns_match_what_libselinux_matches_at_paths_made_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some(policy) = policy(folder.path()) else { return };
    // Every pattern of the policy with its special characters taken for themselves, left out, or replaced by a name.
    let mut found = Vec::new();
    for suffix in ["", ".homedirs"] {
        for line in fs::read_to_string(format!("{}{suffix}", policy.display())).unwrap().lines() {
            let Some(pattern) = line.split_whitespace().next().filter(|word| word.starts_with('/')) else { continue };
            found.push(pattern.replace('\\', "").into_bytes());
            found.push(pattern.chars().filter(|c| !"\\.^$?*+|[](){}".contains(*c)).collect::<String>().into_bytes());
            found.push(pattern.replace(".*", "x/y").replace("[^/]*", "name").replace("[^/]+", "n").replace(['(', ')', '?', '\\'], "").into_bytes());
            found.push(format!("{}\n", pattern.replace('\\', "")).into_bytes());
        }
    }
    // No slashes at the end, which matchpathcon takes away, and no empty paths.
    found.retain(|path| path.len() > 1 && !path.ends_with(b"/"));
    for (kind, ..) in TYPES {
        if !compare(&policy, kind, &found) {
            return;
        }
    }
}

/// 100,000 nodes with the names of a real system against a real policy.
#[test]
fn a_large_tree_is_labelled_in_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(policy), Some(tar)) = (policy(folder.path()), lab("debian.tar")) else { return };
    let small = rootvol::source::open(&tar).unwrap().tree;
    let mut builder = TreeBuilder::new();
    small
        .walk(|path, id| {
            let node = small.node(id);
            for copy in 0..14 {
                // The same directories, other names in them.
                let new = if node.is_directory() { NewNode::Directory } else { NewNode::Fifo };
                let path = if copy == 0 || node.is_directory() { path.to_vec() } else { [path, format!(".{copy}").as_bytes()].concat() };
                builder.add(path, Metadata { mode: 0o644, ..Metadata::default() }, new)?;
            }
            Ok(())
        })
        .unwrap();
    let mut tree = builder.freeze().unwrap();
    let before = std::time::Instant::now();
    let contexts = FileContexts::load(&policy).unwrap();
    let loaded = before.elapsed();
    for round in ["first", "second"] {
        let before = std::time::Instant::now();
        let done = labels::apply(tree, &contexts, "/").unwrap();
        eprintln!("{} nodes, {} specifications: load {loaded:?}, {round} labels {:?}", done.labelled, contexts.specifications(), before.elapsed());
        tree = done.tree;
    }
}
