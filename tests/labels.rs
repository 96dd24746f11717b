//! SELinux labels judged by libselinux: matchpathcon and setfiles, with the real policy of Debian on a real tree, and with policies
//! that try every rule.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]

mod common;

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
    let (Some(policy), Some(root)) = (policy(folder.path()), lab("tree")) else { return };
    let Some(mut setfiles) = judge("setfiles") else { return };
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

fn write(folder: &Path, suffix: &str, lines: &[&str]) -> PathBuf {
    let policy = folder.join("fc");
    fs::write(folder.join(format!("fc{suffix}")), lines.join("\n")).unwrap();
    policy
}

/// One specification a pattern, with a context of its own.
fn numbered(patterns: &[&str]) -> Vec<String> {
    patterns.iter().enumerate().map(|(number, line)| format!("{line}\tu:r:t{number}:s0")).collect()
}

/// A pattern for each rule of the syntax, with a type where one follows a tab; each gets a context of its own.
const PATTERNS: &[&str] = &[
    "/.*",
    r"/foo\-bar/x",
    r"/foo\.bar/x",
    "/nl",
    "/alt/a|/alt/b",
    r"/lit\d",
    "/z/one",
    "/z/o.e",
    "/z/dup",
    "/z/dup",
    "/z/kind\t--",
    "/z/kind",
    "/z/kind\t-d",
    "/s/p",
    "/q/b/c",
    "/y/b",
    "/dst/(.*)?",
    "/dst/a",
    "/x[[:digit:]]",
    r"/brace\{",
    "/b{,}",
    "rel/x",
    r"/w/\x41",
    "/only/base",
    "/u/.*/",
    "/c1/x|/c2/x",
    "/p/.+|foo",
    "^/hat/x",
    "/d$",
    r"/cls/[]a]",
    "/cls2/[[a]",
    "/amp/[a&&b]",
    r"/lt/\<",
    "/cb/}",
    "/cb/]",
    "/zz/a{2}",
    "/zz/b{2",
    "/zz/c{2,1",
    "/zz/d{x}",
    "/zz/e{2,}",
    "/em2/(|a)",
    r"/neg/[^a-c]",
    r"/min/[a-]",
    r"/ran/[a-b-c]",
    r"/lazy/.*?x+?",
    r"/us/a\_b\,c\-d",
    "/none/x",
];

/// Paths for [`PATTERNS`].
const PATHS: &[&str] = &[
    "/",
    "/foo-bar/x",
    r"/foo\-bar/x",
    "/foo.bar/x",
    "/nl\n",
    "/nl\n\n",
    "/nl\nx",
    "/alt/a",
    "/alt/aXX",
    "/alt/b",
    "/alt/Q/alt/b",
    "/lit5",
    "/z/one",
    "/z/oxe",
    "/z/dup",
    "/z/kind",
    "/none/x",
    "/none/y",
    "/q/b/c",
    "/q/b/p",
    "/q/b",
    "/q",
    "/q/",
    "/qq",
    "/l/b/c",
    "/l/b",
    "/k/none",
    "/k/dup",
    "/root2",
    "/root2/z/one",
    "/root2/",
    "/sl/x",
    "/sl/a",
    "/sl",
    "/sl2/one",
    "/sl2",
    "/later/one",
    "/q2/one",
    "/x5",
    "/xx",
    "/four",
    "/brace{",
    "/b{,}",
    "/bb",
    "rel/x",
    "/w/A",
    "/only/base",
    "/only/basX",
    "/homedirs/a",
    "/homedirs/l",
    "/u/q//",
    "/u/q/r//",
    "//z//one",
    "///z/one",
    "/c1/x",
    "/c2/x",
    "/c1/q/c2/x",
    "/p/foo",
    "/foo",
    "/p/xfoo",
    "/hat/x",
    "/d",
    "/d\n",
    "/cls/]",
    "/cls/a",
    "/cls2/[",
    "/amp/&",
    "/amp/a",
    "/lt/<",
    "/cb/}",
    "/cb/]",
    "/zz/aa",
    "/zz/b{2",
    "/zz/c{2,1",
    "/zz/d{x}",
    "/zz/ee",
    "/zz/eeee",
    "/zz/e",
    "/em2/a",
    "/neg/d",
    "/neg/a",
    "/neg/\n",
    "/min/-",
    "/ran/-",
    "/ran/c",
    "/lazy/abxx",
    "/us/a_b,c-d",
    "/x/\u{e4}",
];

#[test]
fn every_rule_of_the_syntax_is_that_of_libselinux() {
    let folder = tempfile::tempdir().unwrap();
    let specs = numbered(PATTERNS);
    let mut specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    specs.push("/none/.*\t<<none>>");
    specs.push("/four\t--\tu:r:four:s0 # a comment");
    let policy = write(folder.path(), "", &specs);
    write(folder.path(), ".homedirs", &["/only/base\tu:r:homedirs:s0", "/homedirs/.*\tu:r:homedirs:s0"]);
    write(folder.path(), ".local", &["/only/bas.\tu:r:local:s0", "/homedirs/l.*\tu:r:local:s0"]);
    write(folder.path(), ".subs_dist", &["# comment", "/q /y", "/q/b /s", "/m /n", "  /root2\t/", "/sl /dst/", "/later /z", "/sl2 /z/"]);
    write(folder.path(), ".subs", &["/l /q", "/k /z", "/k/none /z/one", "/q2 /later", ""]);
    let paths: Vec<Vec<u8>> =
        PATHS.iter().map(|path| path.as_bytes().to_vec()).chain([b"/any/\xff\xfe".to_vec(), b"/neg/\xff".to_vec(), b"/lazy/\x80x".to_vec()]).collect();
    for (kind, ..) in TYPES {
        if !compare(&policy, kind, &paths) {
            return;
        }
    }
}

/// A name with several contexts: the first name that has one gives it, and that is said; setfiles does the same in the order in which
/// it meets them.
#[test]
fn of_the_names_of_a_file_the_first_with_a_context_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let policy = write(folder.path(), "", &["/.*\tu:r:any:s0", "/d/a\t<<none>>", "/d/b\tu:r:b:s0", "/d/c\tu:r:c:s0", "/d/e\t-l\tu:r:e:s0"]);
    let mut builder = TreeBuilder::new();
    for first in ["/d/a", "/d/x"] {
        builder.add(first, Metadata { mode: 0o644, ..Metadata::default() }, NewNode::Fifo).unwrap();
    }
    for (name, target) in [("/d/b", "/d/a"), ("/d/c", "/d/a"), ("/d/y", "/d/x")] {
        builder.link(name, target).unwrap();
    }
    builder.add("/d/e", Metadata::default(), NewNode::Symlink(b"a")).unwrap();
    let contexts = FileContexts::load(&policy).unwrap();
    let labels::Labelled { tree, labelled, notes } = labels::apply(builder.freeze().unwrap(), &contexts, "").unwrap();
    let of = |path: &str| label(&tree, tree.node(tree.lookup(path).unwrap()).metadata.xattrs).map(bytes);
    assert_eq!(labelled, 5);
    assert_eq!(of("/d/a").as_deref(), Some(r"u:r:b:s0\x00"));
    assert_eq!(of("/d/y").as_deref(), Some(r"u:r:any:s0\x00"));
    assert_eq!(of("/d/e").as_deref(), Some(r"u:r:e:s0\x00"));
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("/d/c would have u:r:c:s0, and has u:r:b:s0"), "{}", notes[0]);

    let root = folder.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("d/a"), "").unwrap();
    fs::hard_link(root.join("d/a"), root.join("d/b")).unwrap();
    let Some(mut setfiles) = judge("setfiles") else { return };
    let output = run(setfiles.args(["-d", "-n", "-r"]).arg(&root).arg(&policy).arg(&root));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("/d/b matched by u:r:b:s0") && !said.contains("/d/a matched"), "{said}");
}

/// Pieces of patterns; what they make together need not be one.
const PIECES: &[&str] = &[
    "/",
    "a",
    "b",
    "ab",
    "/a",
    "/b",
    ".",
    ".*",
    ".+",
    "?",
    "*",
    "+",
    "(",
    ")",
    "(/.*)?",
    "(a|b)",
    "|",
    "[ab]",
    "[^/]*",
    "[^/]+",
    "[a-b]",
    "[[:alpha:]]",
    "{2}",
    "{1,2}",
    "{0,1}",
    "{",
    "}",
    "]",
    "\\.",
    "\\-",
    "\\+",
    "^",
    "$",
    "\\d",
    "\\w",
    "\\S",
    "-",
    "(?:",
    "\\\\",
    "[",
    "[]",
    "[^]",
    "\\",
    "\\x61",
    "\\_",
    "\n",
];

#[test]
fn any_policy_that_is_taken_says_what_libselinux_says() {
    if judge("matchpathcon").is_none() {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let pattern = prop::collection::vec(prop::sample::select(PIECES), 1..7).prop_map(|pieces| pieces.concat().replace('\n', ""));
    let spec = (pattern, prop::option::weighted(0.2, prop::sample::select(vec!["--", "-d"])));
    let part = prop::sample::select(vec!["a", "b", "ab", "aa", "/", "/a", "/b", ".", "-", "\n", "1", "{2}", "+", "\\", "[", "]", "|"]);
    let path = prop::collection::vec(part, 1..7).prop_map(|parts| parts.concat());
    let subs = prop::collection::vec(prop::sample::select(vec!["/a /b", "/b /a/b", "/a/b /", "/a /a/a", "/aa /b/", "/ab /b"]), 0..4);
    let strategy = (prop::collection::vec(spec, 1..40), prop::collection::vec(path, 200), subs.clone(), subs);
    let mut patterns = (0, 0);
    let counts = std::cell::RefCell::new(&mut patterns);
    TestRunner::new(config)
        .run(&strategy, |(specs, paths, subs, dist)| {
            let folder = tempfile::tempdir().unwrap();
            let mut taken: Vec<String> = Vec::new();
            for (number, (pattern, kind)) in specs.iter().enumerate() {
                let line = format!("/{pattern}\t{}\tu:r:t{number}:s0", kind.unwrap_or_default());
                let one = write(folder.path(), "", &[&line]);
                counts.borrow_mut().0 += 1;
                if FileContexts::load(&one).is_ok() {
                    counts.borrow_mut().1 += 1;
                    taken.push(line);
                }
            }
            taken.push("/never\tu:r:never:s0".into());
            let policy = write(folder.path(), "", &taken.iter().map(String::as_str).collect::<Vec<_>>());
            write(folder.path(), ".subs", &subs);
            write(folder.path(), ".subs_dist", &dist);
            let paths: Vec<Vec<u8>> = paths.iter().map(|path| format!("/{path}").into_bytes()).filter(|path| path.len() > 1 && !path.ends_with(b"/")).collect();
            assert!(compare(&policy, FileType::File, &paths));
            assert!(compare(&policy, FileType::Directory, &paths));
            Ok(())
        })
        .unwrap();
    assert!(patterns.1 * 3 > patterns.0, "{} of {} patterns were taken", patterns.1, patterns.0);
}

/// What a build is told by this recipe, beside which `files` lie.
fn planned(folder: &Path, recipe: &str, files: &[(&str, &str)]) -> rootvol::Result<rootvol::Disk> {
    for (path, text) in files {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), text).unwrap();
    }
    fs::write(folder.join("image.toml"), recipe).unwrap();
    Recipe::load(&folder.join("image.toml"), &LoadOptions::default())?.disk_spec(Given::default())?.plan()
}

const FILES: &[(&str, &str)] = &[
    ("rootfs/etc/passwd", "root"),
    ("rootfs/etc/selinux/fc", "/.* u:r:tree:s0\n/var/log/.* u:r:log:s0\n"),
    ("rootfs/etc/selinux/fc.local", "/etc/passwd -- u:r:passwd:s0\n"),
    ("rootfs/var/log/messages", "hello"),
    ("rootfs/var/lib/x", ""),
    ("srv/index.html", "<p>"),
    ("policy/fc", "/.* u:r:host:s0\n/srv/.* u:r:srv:s0\n/srv/index\\.html u:r:index:s0\n"),
    ("policy/fc.subs", "/www /srv\n"),
];

/// The labels of a partition of an image, as debugfs reads them; `None` where the judge is not there.
fn labels_of(image: &Path, offset_bytes: u64, path: &str) -> Option<String> {
    let mut debugfs = judge("debugfs")?;
    let of = format!("{}?offset={offset_bytes}", image.display());
    Some(common::text(debugfs.arg("-R").arg(format!("ea_get -x {path} security.selinux")).arg(of)))
}

/// As `ea_get -x` prints it.
fn shown(context: &str) -> String {
    let bytes: Vec<String> = context.bytes().chain([0]).map(|byte| format!("{byte:02x}")).collect();
    format!("security.selinux ({}) = {}", context.len() + 1, bytes.join(" "))
}

#[test]
fn an_image_has_labels_for_the_paths_of_the_running_system() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = r#"
[[partition]]
type = "linux"
mount_point = "/"
source = "rootfs"
owner = "0:0"
ext4 = { file_contexts = "tree:/etc/selinux/fc" }
[[partition]]
mount_point = "/var"
[[partition]]
mount_point = "/www"
source = "srv"
ext4 = { file_contexts = "policy/fc" }
[[partition]]
mount_point = "/opt"
source = "srv"
[[partition]]
mount_point = "/home"
size = "8 MiB"
[boot]
mode = "none"
"#;
    let disk = planned(folder.path(), recipe, FILES).unwrap();
    let notes: Vec<&String> = disk.notes().iter().filter(|note| note.contains("SELinux")).collect();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[0].contains("partition 1: SELinux labels for 11 of 11 entries, by tree:/etc/selinux/fc with 3 specifications"), "{notes:?}");
    assert!(disk.inputs().contains(&folder.path().join("policy/fc.subs")) && !disk.inputs().contains(&folder.path().join("policy/fc.local")));
    let image = folder.path().join("image.raw");
    disk.write_file(&image, Format::Raw).unwrap();
    let cases: &[(u32, &str, Option<&str>)] = &[
        (1, "/", Some("u:r:tree:s0")),
        (1, "/etc/passwd", Some("u:r:passwd:s0")),
        (1, "/lost+found", Some("u:r:tree:s0")),
        (1, "/var", Some("u:r:tree:s0")),
        (1, "/home", Some("u:r:tree:s0")),
        (2, "/", Some("u:r:tree:s0")),
        (2, "/log/messages", Some("u:r:log:s0")),
        (2, "/lib/x", Some("u:r:tree:s0")),
        (3, "/", Some("u:r:host:s0")),
        (3, "/index.html", Some("u:r:index:s0")),
        (4, "/index.html", None),
        (5, "/", Some("u:r:tree:s0")),
        (5, "/lost+found", Some("u:r:tree:s0")),
    ];
    for (number, path, context) in cases {
        let partition = disk.partitions().iter().find(|partition| partition.number == *number).unwrap();
        let Some(found) = labels_of(&image, partition.offset_bytes, path) else { return };
        assert_eq!(found.trim(), context.map(shown).unwrap_or_default(), "{path} of partition {number}");
    }
}

/// What a policy is named, and where it lies, says nothing; what it says does.
#[test]
fn identifiers_follow_what_a_policy_says_and_not_where_it_lies() {
    let image = |policy: &str, files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let recipe = format!("[[partition]]\nsource = \"srv\"\nowner = \"0:0\"\next4 = {{ file_contexts = {policy:?} }}\n[boot]\nmode = \"none\"");
        for (path, _) in files.iter().chain(FILES) {
            // The tree's times come from the folder.
            fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        }
        let all: Vec<(&str, &str)> = FILES.iter().chain(files).copied().collect();
        let disk = {
            planned(folder.path(), "", &all).ok();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
            for path in ["srv", "srv/index.html"] {
                fs::File::open(folder.path().join(path)).unwrap().set_modified(time).unwrap();
            }
            planned(folder.path(), &recipe, &[]).unwrap()
        };
        disk.partitions()[0].guid.unwrap()
    };
    let first = image("policy/fc", &[]);
    assert_eq!(image("other/name", &[("other/name", FILES[6].1), ("other/name.subs", FILES[7].1)]), first);
    assert_ne!(image("policy/fc", &[("policy/fc.local", "/a u:r:t:s0")]), first);
}

#[test]
fn policies_that_a_recipe_cannot_have_are_refused() {
    let load = |policy: &str, files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<(&str, &str)> = FILES.iter().chain(files).copied().collect();
        let recipe = format!("[[partition]]\nsource = \"rootfs\"\next4 = {{ file_contexts = {policy:?} }}\n[boot]\nmode = \"none\"");
        planned(folder.path(), &recipe, &all).unwrap_err().to_string()
    };
    for (policy, said) in [
        ("/etc/passwd", "line 3, column 26: the source /etc/passwd is an absolute path"),
        ("../fc", "line 3, column 26: the source ../fc is outside"),
        ("none", "line 3, column 26: the source none cannot be found"),
        ("", "line 3, column 26: a file was expected"),
        ("tree:etc/fc", "line 3, column 26: \"etc/fc\" is not absolute"),
        ("tree:/etc/../fc", "line 3, column 26: \"/etc/../fc\" is not in its plain form"),
        ("tree:/etc/none", "tree:/etc/none: the tree has no such file contexts"),
        ("rootfs", "rootfs: no regular file"),
    ] {
        let error = load(policy, &[]);
        assert!(error.contains(said), "{policy}: {error}");
    }
    let error = load("bad", &[("bad", "/.* u:r:t\n/a(\tu:r:t\n")]);
    assert!(error.contains("bad: in line 2: the pattern /a(: a group is not closed"), "{error}");
    // A companion that is a link to elsewhere.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("secret"), "").unwrap();
    std::os::unix::fs::symlink("../secret", folder.path().join("in/fc.local")).unwrap();
    let recipe = "[[partition]]\next4 = { file_contexts = \"fc\" }";
    let error = planned(&folder.path().join("in"), recipe, &[("fc", "")]).unwrap_err().to_string();
    assert!(error.contains("fc.local is ") && error.contains("outside of the recipe's folder"), "{error}");
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
