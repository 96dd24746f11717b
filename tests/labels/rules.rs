//! Every rule by which libselinux matches paths, and any policy at all.

use super::*;

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
