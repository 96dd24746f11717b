#![allow(clippy::unwrap_used, reason = "tests")]

use super::origin::PolicyFile;
use super::*;
use crate::content::MemoryContents;
use crate::error::ErrorKind;
use crate::tree::{Metadata, NewNode, TreeBuilder, Xattr};
use proptest::prelude::*;
use std::fs;
use std::time::Instant;

fn policy(files: &[(&'static str, &[u8])]) -> Result<FileContexts> {
    FileContexts::new(files.iter().map(|(suffix, text)| PolicyFile { name: format!("fc{suffix}").into_bytes(), suffix, text: text.to_vec() }).collect())
}

fn contexts(text: &str) -> FileContexts {
    policy(&[("", text.as_bytes())]).unwrap()
}

/// The type of the context, or nothing.
fn of<'a>(contexts: &'a FileContexts, path: &str, kind: FileType) -> &'a str {
    let found = contexts.context(path.as_bytes(), kind).unwrap();
    found.map_or("", |context| std::str::from_utf8(context).unwrap().split(':').nth(2).unwrap())
}

#[track_caller]
fn check(contexts: &FileContexts, expected: &[(&str, &str)]) {
    for (path, name) in expected {
        assert_eq!(of(contexts, path, FileType::File), *name, "{path:?}");
    }
}

#[test]
fn the_last_that_matches_wins_and_those_that_name_one_path_come_last() {
    let policy = contexts("/a/b u:r:exact\n/.* u:r:any\n/a/.* u:r:a\n/a/.*\tu:r:later\n/a/c u:r:c1\n/a/c u:r:c2\n/e\\.d u:r:dot\n/e.. u:r:meta\n");
    check(&policy, &[("/", "any"), ("/a/b", "exact"), ("/a/x", "later"), ("/a/c", "c2"), ("/e.d", "dot"), ("/exd", "meta"), ("x", "")]);
}

#[test]
fn files_follow_each_other_and_substitutions_come_first() {
    let policy = policy(&[
        ("", b"/.* u:r:base\n/one u:r:base\n/v/.* u:r:v\n"),
        (".homedirs", b"/on. u:r:homes\n/home/.* u:r:homes\n/one u:r:homes"),
        (".local", b"/home/x.* u:r:local"),
        (".subs", b"/w /v\n/w /home # the last line holds\n"),
        (".subs_dist", b"# comment\n\n /q /w\n/x /v\n/home/y /x\n/r /\n"),
    ])
    .unwrap();
    check(
        &policy,
        &[
            ("/one", "homes"),
            ("/home/a", "homes"),
            ("/home/xy", "local"),
            ("/w/a", "homes"),
            ("/w/y/a", "base"), // .subs makes /home/y/a of it, .subs_dist /x/a, and no third time
            ("/q/a", "base"),   // not /w, which only .subs knows
            ("/x/a", "v"),
            ("/xx/a", "base"),
            ("/r/one", "homes"),
            ("/r", "base"),
            ("/v//a/", "v"),
            ("//one", "homes"),
        ],
    );
    assert_eq!(policy.specifications(), 7);
}

#[test]
fn types_are_told_apart_and_none_is_none() {
    let policy = contexts("/.* u:r:any\n/a -d u:r:dir\n/a -- u:r:file\n/b/.* <<none>>\n/b/l -l u:r:link\n/c -c u:r:c\n/c -b u:r:b\n/c -p u:r:p\n/c -s u:r:s");
    let table = [
        ("/a", FileType::Directory, "dir"),
        ("/a", FileType::File, "file"),
        ("/a", FileType::Symlink, "any"),
        ("/b/x", FileType::File, ""),
        ("/b/l", FileType::Symlink, "link"),
        ("/b/l", FileType::Socket, ""),
        ("/c", FileType::CharDevice, "c"),
        ("/c", FileType::BlockDevice, "b"),
        ("/c", FileType::Fifo, "p"),
        ("/c", FileType::Socket, "s"),
    ];
    for (path, kind, name) in table {
        assert_eq!(of(&policy, path, kind), name, "{path} {kind:?}");
    }
}

#[test]
fn patterns_mean_what_they_mean_to_pcre() {
    let policy = contexts(
        "/a|/b u:r:alt\n/nl u:r:nl\n/set/[a&&b] u:r:set\n/s/[]x-] u:r:s\n/brace{ u:r:brace\n/n{2,3} u:r:n\n/x/\\x41\\-\\_ u:r:x\n/p/[^[:alpha:]] u:r:p\n/q/(?:r|s)+?t u:r:q",
    );
    check(
        &policy,
        &[
            ("/axx", "alt"),
            ("/xx/b", "alt"),
            ("/bx", ""),
            ("/nl\n", "nl"),
            ("/nl\n\n", ""),
            ("/set/&", "set"),
            ("/s/]", "s"),
            ("/s/-", "s"),
            ("/brace{", "brace"),
            ("/nnn", "n"),
            ("/nnnn", ""),
            ("/x/A-_", "x"),
            ("/p/\n", "p"),
            ("/p/a", ""),
            ("/q/rst", "q"),
        ],
    );
    assert_eq!(policy.context(b"/p/\xff", FileType::File).unwrap(), Some(&b"u:r:p"[..]));
}

/// As libselinux before 3.8: the stem is the pattern's very text.
#[test]
fn a_stem_with_a_backslash_matches_nothing() {
    check(
        &contexts("/a\\-b/x u:r:stem\n/a\\.b/x u:r:dot\n/c/x|/d/x u:r:c"),
        &[("/a-b/x", ""), ("/a.b/x", "dot"), ("/c/x", "c"), ("/d/x", ""), ("/c/d/x", "c")],
    );
    for (pattern, stem, meta) in [
        ("/usr/bin", Some(4), false),
        ("/usr", None, false),
        ("/u.r/bin", None, true),
        ("/a\\+/b", None, false),
        ("/a\\-/b", Some(4), false),
        ("a/b", Some(1), false),
        ("/a/b\\\\.", Some(2), true),
    ] {
        assert_eq!((parse::stem_length(pattern.as_bytes()), parse::has_meta_characters(pattern.as_bytes())), (stem, meta), "{pattern}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_file_and_line() {
    let long = format!("/{} u:r:t", "a".repeat(9_000));
    let pattern = format!("/{} u:r:t", "a".repeat(4_095));
    let context = format!("/a u:r:{}", "t".repeat(4_092));
    let table: &[(&str, ErrorKind, &str)] = &[
        ("/a", ErrorKind::Corrupt, "1 word(s); a pattern, a type or none"),
        ("/a -- u:r:t and more", ErrorKind::Corrupt, "5 word(s)"),
        ("/a -x u:r:t", ErrorKind::Corrupt, "-x is no file type"),
        ("/a u:r:t # no comment without a type", ErrorKind::Corrupt, "word(s)"),
        ("/a context", ErrorKind::Corrupt, "context is no context; user:role:type"),
        ("/a u::t", ErrorKind::Corrupt, "is no context"),
        ("/a u:r:t:", ErrorKind::Corrupt, "is no context"),
        ("/a u:r:t\u{1}", ErrorKind::Corrupt, "is no context"),
        ("/\u{e4} u:r:t", ErrorKind::Corrupt, "is not ASCII"),
        ("/a\0 u:r:t", ErrorKind::Corrupt, "a NUL byte"),
        (&long, ErrorKind::LimitExceeded, "at most 8192"),
        (&pattern, ErrorKind::LimitExceeded, "at most 4095"),
        (&context, ErrorKind::LimitExceeded, "at most 4095"),
        ("/( u:r:t", ErrorKind::Unsupported, "the pattern /(: a group is not closed"),
        ("/) u:r:t", ErrorKind::Unsupported, "\")\" without"),
        ("/(?=a) u:r:t", ErrorKind::Unsupported, "only \"(?:\""),
        ("/(?i)a u:r:t", ErrorKind::Unsupported, "only \"(?:\""),
        ("/(*FAIL) u:r:t", ErrorKind::Unsupported, "only \"(?:\""),
        ("* u:r:t", ErrorKind::Unsupported, "nothing that \"*\" could repeat"),
        ("/a** u:r:t", ErrorKind::Unsupported, "nothing that"),
        ("/a*+ u:r:t", ErrorKind::Unsupported, "possessive"),
        ("/a{2}{3} u:r:t", ErrorKind::Unsupported, "nothing that"),
        ("/a{3,2} u:r:t", ErrorKind::Unsupported, "ends before it begins"),
        ("/a{,2} u:r:t", ErrorKind::Unsupported, "versions of PCRE2"),
        ("/a{20000} u:r:t", ErrorKind::Unsupported, "over 10000"),
        ("/(a{200}){200} u:r:t", ErrorKind::Unsupported, "over 10000"),
        ("/a$b u:r:t", ErrorKind::Unsupported, "a \"$\" before the end"),
        ("/(a$) u:r:t", ErrorKind::Unsupported, "a \"$\" before the end"),
        ("/a\\ u:r:t", ErrorKind::Unsupported, "ends in a \"\\\""),
        ("/\\1 u:r:t", ErrorKind::Unsupported, "\"\\1\" is not supported"),
        ("/\\Qa\\E u:r:t", ErrorKind::Unsupported, "\"\\Q\" is not supported"),
        ("/\\x4 u:r:t", ErrorKind::Unsupported, "two hexadecimal digits"),
        ("/[a u:r:t", ErrorKind::Unsupported, "a class is not closed"),
        ("/[] u:r:t", ErrorKind::Unsupported, "a class is not closed"),
        ("/[b-a] u:r:t", ErrorKind::Unsupported, "ends before it begins"),
        ("/[a-\\d] u:r:t", ErrorKind::Unsupported, "a class at one of its ends"),
        ("/[[:alpha:]-z] u:r:t", ErrorKind::Unsupported, "a class at one of its ends"),
        ("/[[:abc:]] u:r:t", ErrorKind::Unsupported, "unknown class"),
        ("/[:alpha:] u:r:t", ErrorKind::Unsupported, "stand in classes only"),
        ("/[[.a.]] u:r:t", ErrorKind::Unsupported, "collating"),
        ("/[^\\d\\D] u:r:t", ErrorKind::Unsupported, "no byte is in"),
    ];
    for (line, kind, said) in table {
        for suffix in ["", ".homedirs", ".local"] {
            let text = format!("# first\n\n{line}\n");
            let error = policy(&[("", b""), (suffix, text.as_bytes())]).unwrap_err();
            let message = error.to_string();
            assert!(
                error.kind() == *kind && message.starts_with(&format!("fc{suffix}: in line 3: ")) && message.contains(said),
                "{line}: {:?} {message}",
                error.kind()
            );
        }
    }
    for (line, kind, said) in [
        ("/a".to_owned(), ErrorKind::Corrupt, "1 word(s); a path and the path"),
        ("/a /b /c".to_owned(), ErrorKind::Corrupt, "3 word(s)"),
        (format!("/a /{}", "b".repeat(1_100)), ErrorKind::LimitExceeded, "at most 1022"),
        ("/a /b\n".repeat(SUBSTITUTIONS_MAX + 1), ErrorKind::LimitExceeded, "over 4096 substitutions"),
    ] {
        let error = policy(&[("", b""), (".subs", line.as_bytes())]).unwrap_err();
        assert!(error.kind() == kind && error.to_string().starts_with("fc.subs: in line ") && error.to_string().contains(said), "{error}");
    }
}

#[test]
fn policies_without_end_and_compiled_ones_are_refused() {
    let many = "/a u:r:t\n".repeat(SPECIFICATIONS_MAX + 1);
    assert_eq!(policy(&[("", many.as_bytes())]).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let large = "/a{9000} u:r:t\n".repeat(500);
    let error = policy(&[("", large.as_bytes())]).unwrap_err();
    assert!(error.kind() == ErrorKind::LimitExceeded && error.to_string().contains("line 445"), "{error}");
    for magic in [b"\x8a\xff\x7c\xf9\x05", b"\xf9\x7c\xff\x8a\x06"] {
        let error = policy(&[("", magic)]).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("compiled"), "{error}");
    }
    check(&contexts(""), &[("/", ""), ("", "")]);
}

/// Patterns that take engines with backtracking past the end of the world.
#[test]
fn hostile_patterns_take_linear_time() {
    let policy = contexts("/(a*)*b u:r:t\n/(a|a)*c u:r:t\n/(a?){60}a{60} u:r:t\n/(.*a){20}d u:r:t\n/((a{1,9}){1,9}){1,9} u:r:t");
    let path = [b"/".as_slice(), &[b'a'; 4_000]].concat();
    let before = Instant::now();
    assert_eq!(policy.context(&path, FileType::File).unwrap(), None);
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
}

#[test]
fn files_are_read_from_the_host_with_their_companions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fc");
    assert_eq!(FileContexts::load(&path).unwrap_err().kind(), ErrorKind::Io);
    fs::write(&path, "/.* u:r:base\n").unwrap();
    let alone = FileContexts::load(&path).unwrap();
    check(&alone, &[("/a", "base")]);
    fs::write(folder.path().join("fc.local"), "/a u:r:local\n").unwrap();
    fs::write(folder.path().join("fc.subs_dist"), "/b /a").unwrap();
    let both = FileContexts::load(&path).unwrap();
    check(&both, &[("/a", "local"), ("/b", "local"), ("/c", "base")]);
    assert_ne!(alone.digest(), both.digest());
    assert_eq!(companions(&path).iter().filter(|path| path.exists()).count(), 2);
    fs::create_dir(folder.path().join("fc.subs")).unwrap();
    let error = FileContexts::load(&path).unwrap_err();
    assert!(error.to_string().contains("fc.subs: no regular file"), "{error}");
    fs::remove_dir(folder.path().join("fc.subs")).unwrap();
    fs::write(folder.path().join("fc.homedirs"), vec![b'#'; usize::try_from(FILE_MAX_BYTES).unwrap() + 1]).unwrap();
    assert_eq!(FileContexts::load(&path).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn files_are_read_from_the_tree_with_links_inside_it_followed() {
    let mut contents = MemoryContents::new();
    let mut builder = TreeBuilder::new();
    let mut add = |path: &str, text: &str| {
        let content = contents.push(text.as_bytes()).unwrap();
        let length = u64::try_from(text.len()).unwrap();
        builder.add(path, Metadata::default(), NewNode::File { content, length, data: None }).unwrap();
    };
    add("etc/selinux/real/fc", "/.* u:r:base\n");
    add("etc/selinux/real/fc.local", "/a u:r:local\n");
    builder.add("etc/selinux/default", Metadata::default(), NewNode::Symlink(b"/etc/selinux/real")).unwrap();
    let tree = builder.freeze().unwrap();
    let policy = FileContexts::from_tree(&tree, &contents, "/etc/selinux/default/fc").unwrap();
    check(&policy, &[("/a", "local"), ("/b", "base")]);
    assert_eq!(policy.name(), "tree:/etc/selinux/default/fc");
    for path in ["/etc/none", "/etc/selinux"] {
        let error = FileContexts::from_tree(&tree, &contents, path).unwrap_err();
        assert!(error.to_string().starts_with(&format!("tree:{path}: ")), "{error}");
    }
}

#[test]
fn every_node_gets_its_label_and_keeps_everything_else() {
    let mut builder = TreeBuilder::new();
    let old = vec![Xattr::new("security.selinux", "u:r:old\0"), Xattr::new("user.a", "1"), Xattr::new("trusted.z", "2")];
    let xattrs = builder.intern_xattrs(old).unwrap();
    builder.add("", Metadata { mode: 0o755, ..Metadata::default() }, NewNode::Directory).unwrap();
    builder.add("keep/file", Metadata { mode: 0o600, uid: 7, xattrs, ..Metadata::default() }, NewNode::Fifo).unwrap();
    builder.add("new/file", Metadata { mode: 0o600, uid: 7, xattrs, ..Metadata::default() }, NewNode::Fifo).unwrap();
    builder.add("new/\u{fc}\n", Metadata::default(), NewNode::Symlink(b"file")).unwrap();
    let policy = contexts("/.* u:r:any\n/srv/www/keep/.* <<none>>\n/srv/www -d u:r:top\n/srv/www/new/file -p u:r:fifo");
    let Labelled { tree, labelled, notes } = apply(builder.freeze().unwrap(), &policy, "/srv//www/").unwrap();
    let shown = |path: &str| {
        let set = tree.xattrs(tree.node(tree.lookup(path).unwrap()).metadata.xattrs);
        set.iter().map(|xattr| format!("{}={}", xattr.name.escape_ascii(), xattr.value.escape_ascii())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown("/"), r"security.selinux=u:r:top\x00");
    assert_eq!(shown("/keep"), r"security.selinux=u:r:any\x00");
    assert_eq!(shown("/keep/file"), r"security.selinux=u:r:old\x00 trusted.z=2 user.a=1");
    assert_eq!(shown("/new/file"), r"security.selinux=u:r:fifo\x00 trusted.z=2 user.a=1");
    assert_eq!(shown("/new/\u{fc}\n"), r"security.selinux=u:r:any\x00");
    assert_eq!(tree.node(tree.lookup("/new/file").unwrap()).metadata.uid, 7);
    assert_eq!((labelled, notes), (5, Vec::new()));
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "/",
            "a",
            ".*",
            "(",
            ")",
            "|",
            "[",
            "]",
            "^",
            "{2,3}",
            "{",
            "}",
            "?",
            "+",
            "*",
            "\\",
            "$",
            "[:alpha:]",
            "-",
            " -- ",
            " ",
            "u:r:t",
            "\n",
            "<<none>>",
            "#",
            "\\x",
            "4"
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn arbitrary_policies_and_paths_never_panic(files in prop::collection::vec(prop::collection::vec(piece(), 0..60), 5), paths in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 8)) {
        let texts: Vec<String> = files.iter().map(|pieces| pieces.concat()).collect();
        let suffixes = ["", ".homedirs", ".local", ".subs", ".subs_dist"];
        let all: Vec<(&'static str, &[u8])> = suffixes.iter().copied().zip(texts.iter().map(|text| text.as_bytes())).collect();
        for files in [&all[..], &all[..1], &all[3..]] {
            if let Ok(policy) = policy(files) {
                for path in &paths {
                    let _ = policy.context(path, FileType::File).unwrap();
                    let _ = policy.context(&[b"/a", &path[..]].concat(), FileType::Directory).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_single_line_that_is_taken_can_be_looked_up(pattern in prop::collection::vec(piece(), 1..12), path in prop::collection::vec(any::<u8>(), 0..40)) {
        let line = format!("/{} u:r:t", pattern.concat());
        if let Ok(policy) = policy(&[("", line.as_bytes())]) {
            let _ = policy.context(&[b"/", &path[..]].concat(), FileType::File).unwrap();
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        for suffix in ["", ".subs"] {
            let _ = policy(&[(suffix, &text)]);
        }
        let _ = pattern::translate(&text);
    }
}
