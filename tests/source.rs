//! One tree with everything, read as a directory, from the tars that GNU tar and bsdtar make of it, from a pipe and
//! compressed: all must be one. And what a directory can do while it is read.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, root, skip};
use rootvol::content::Contents as _;
use rootvol::error::ErrorKind;
use rootvol::source::{self, Holes, Options, Source};
use rootvol::tree::{FileData, NodeKind};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a tree for a test holds beside names, modes, links and holes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Richness {
    /// Everything that pax holds.
    Everything,
    /// What GNU's own format holds: no xattrs, whole seconds.
    Gnu,
    /// What ustar holds: small ids, short paths, times from 1970 on.
    Ustar,
}

/// Makes a tree; `None` (a visible skip) where this user or filesystem cannot.
fn make_tree(richness: Richness) -> Option<TempDir> {
    if !root() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(root.join(name), bytes).unwrap();
    std::fs::create_dir_all(root.join("etc/empty")).unwrap();
    write("etc/hello", b"hello");
    write("etc/none", b"");
    write("fraction-before-1970", b"");
    write("etc/block", &[b'b'; 512]);
    write("etc/more", &[b'm'; 513]);
    write("big", &(0..5_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    std::fs::write(root.join(OsStr::from_bytes(b"not utf-8 \xff\xfe\n\x1b[31m")), "x").unwrap();
    write(&"n".repeat(if richness == Richness::Ustar { 99 } else { 255 }), b"long");
    symlink("../nowhere", root.join("etc/link")).unwrap();
    symlink("t".repeat(if richness == Richness::Ustar { 100 } else { 4000 }), root.join("long-link")).unwrap();
    std::fs::hard_link(root.join("etc/hello"), root.join("hard")).unwrap();
    std::fs::hard_link(root.join("etc/hello"), root.join("etc/empty/harder")).unwrap();
    std::fs::hard_link(root.join("etc/link"), root.join("link-link")).unwrap();
    if richness != Richness::Ustar {
        let deep = root.join(["d".repeat(100), "e".repeat(100), "f".repeat(100)].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("deep"), "deep").unwrap();
        make_sparse_files(root);
    }
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("char", FileType::CharacterDevice, rustix::fs::makedev(5, 1)),
        ("block", FileType::BlockDevice, rustix::fs::makedev(259, 65_537)),
    ] {
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
    }
    for (name, mode) in [("etc/block", 0o6755), ("etc/empty", 0o1777), ("etc/none", 0), ("etc/more", 0o2070)] {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let large = if richness == Richness::Ustar { 2_097_151 } else { 4_294_967_294 };
    std::os::unix::fs::lchown(root.join("etc/hello"), Some(large), Some(large - 1)).unwrap();
    std::os::unix::fs::lchown(root.join("etc/link"), Some(1000), Some(1000)).unwrap();
    std::os::unix::fs::lchown(root.join("char"), Some(0), Some(5)).unwrap();
    if richness == Richness::Everything {
        set_xattrs(root)?;
    }
    set_times(root, richness);
    Some(folder)
}

fn make_sparse_files(root: &Path) {
    for (name, length, data) in [
        ("sparse-all", 10_000_000, &[][..]),
        ("sparse-front", 1 << 20, &[(1_000_000, 48_576)]),
        ("sparse-end", 1 << 20, &[(0, 5000)]),
        ("sparse-large", 9 << 30, &[(0, 1), (1 << 20, 100_000), (8 << 30, 4096), ((9 << 30) - 7, 7)]),
        ("sparse-many", 4 << 20, &[(0, 4096), (8192, 4096), (65_536, 4096), (131_072, 1), (1 << 20, 1), (2 << 20, 1), (3 << 20, 12_288)]),
    ] {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(length).unwrap();
        for (offset, count) in data {
            file.write_all_at(&vec![b's'; *count], *offset).unwrap();
        }
        // Where the holes are is known once the blocks are.
        file.sync_all().unwrap();
    }
}

/// Sets one attribute of each kind; `None` where the filesystem has none.
fn set_xattrs(root: &Path) -> Option<()> {
    let set = |path: &str, name: &str, value: &[u8]| rustix::fs::lsetxattr(root.join(path), name, value, XattrFlags::empty());
    if set("etc/hello", "user.a", b"b").is_err() {
        skip(&format!("{} holds no xattrs", root.display()));
        return None;
    }
    set("etc/hello", "user.empty", b"").unwrap();
    set("etc/hello", "user.binary", b"\0\n=\xff").unwrap();
    set("etc/block", "security.capability", &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    set("etc/link", "trusted.on-a-link", b"t").unwrap();
    set("etc", "user.on-a-directory", &[b'v'; 2000]).unwrap();
    set("sparse-end", "user.beside-holes", b"x").unwrap();
    set("", "trusted.on-the-root", b"r").unwrap();
    let acl = |entries: &[(u16, u16, u32)]| {
        let entry = |(tag, permissions, id): &(u16, u16, u32)| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat();
        [vec![2, 0, 0, 0], entries.iter().flat_map(entry).collect()].concat()
    };
    let none = u32::MAX;
    let entries = [(1, 6, none), (2, 4, 0), (2, 6, 54_321), (4, 4, none), (8, 7, 54_322), (16, 6, none), (32, 0, none)];
    set("etc/none", "system.posix_acl_access", &acl(&entries)).unwrap();
    set("etc/empty", "system.posix_acl_default", &acl(&[(1, 7, none), (4, 5, none), (32, 5, none)])).unwrap();
    Some(())
}

fn set_times(root: &Path, richness: Richness) {
    let set = |path: &Path, seconds: i64, nanoseconds: i64| {
        let time = Timespec { tv_sec: seconds, tv_nsec: if richness == Richness::Everything { nanoseconds } else { 0 } };
        rustix::fs::utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let before_1970 = if richness == Richness::Ustar { 1 } else { -1_000_000_000 };
    let mut folders = vec![root.to_path_buf()];
    let mut all: Vec<PathBuf> = folders.clone();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path.clone());
            }
            all.push(path);
        }
    }
    for (nth, path) in (0..).zip(all) {
        set(&path, 1_700_000_000 + nth, 123_456_789 + nth);
    }
    set(&root.join("etc/hello"), before_1970, 0);
    set(&root.join("fraction-before-1970"), before_1970, 1);
    set(&root.join("etc/link"), 4_102_444_800, 999_999_999);
}

/// What differs between two sources, holes and contents included.
fn assert_same(a: &Source, b: &Source, what: &str) {
    let describe = |source: &Source| {
        let mut lines = Vec::new();
        source
            .tree
            .walk(|path, id| {
                let node = source.tree.node(id);
                let metadata = node.metadata;
                let xattrs = source.tree.xattrs(metadata.xattrs);
                let kind = match node.kind {
                    NodeKind::File(file) => format!("file of {} with {:?}", file.length, source.tree.data_ranges(&file).collect::<Vec<_>>()),
                    NodeKind::Symlink(_) => format!("link to {}", rootvol::error::escape(source.tree.target(id))),
                    kind => format!("{kind:?}"),
                };
                let (mode, uid, gid, mtime) = (metadata.mode, metadata.uid, metadata.gid, metadata.mtime);
                lines.push(format!("{} {kind} {mode:o} {uid}:{gid} {mtime:?} links {} {xattrs:?}", rootvol::error::escape(path), node.links));
                Ok(())
            })
            .unwrap();
        lines
    };
    let (one, two) = (describe(a), describe(b));
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one, two, "{what}");
    }
    assert_eq!(one.len(), two.len(), "{what}");
    assert_eq!(a.tree, b.tree, "{what}");
    for ((_, one), (_, two)) in a.tree.nodes().zip(b.tree.nodes()) {
        if let (NodeKind::File(one), NodeKind::File(two)) = (one.kind, two.kind) {
            for (offset, length) in a.tree.data_ranges(&one) {
                assert_eq!(read(a, &one, offset, length), read(b, &two, offset, length), "{what}");
            }
        }
    }
}

fn read(source: &Source, file: &FileData, offset: u64, length: u64) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(length).unwrap()];
    source.contents.read_exact_at(file.content, offset, &mut out).unwrap();
    out
}

/// An archive of `root` made by `tool`.
fn archive(tool: &str, arguments: &[&str], root: &Path, to: &Path) -> Option<()> {
    let output = judge(tool)?.args(arguments).arg("-cf").arg(to).arg("-C").arg(root).arg(".").output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[test]
fn r9_a_directory_is_its_tar_is_its_pipe() {
    let Some(folder) = make_tree(Richness::Everything) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    let gnu = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--sparse"];
    for (tool, arguments, more) in [
        ("tar", &gnu[..], "--sparse-version=0.0"),
        ("tar", &gnu, "--sparse-version=0.1"),
        ("tar", &gnu, "--sparse-version=1.0"),
        ("bsdtar", &["--format=pax", "--acls", "--xattrs"], "--numeric-owner"),
    ] {
        let what = format!("{tool} {more}");
        let all = [arguments, &[more]].concat();
        if archive(tool, &all, folder.path(), &tar).is_none() {
            continue;
        }
        let mut options = Options::default();
        if tool == "bsdtar" {
            // libarchive 3.6 writes the second before and the fraction after it, which is not the number that POSIX
            // has there (GNU tar's is).
            options.exclude.push("fraction-before-1970".to_string());
        }
        let directory = source::open_with(folder.path(), &options).unwrap();
        assert!(directory.notes.is_empty(), "{:?}", directory.notes);
        let placed = source::open_with(&tar, &options).unwrap();
        assert_same(&directory, &placed, &what);
        let mut with_folder = options.clone();
        with_folder.spool_folder = Some(scratch.path().to_path_buf());
        assert_eq!(source::from_reader("pipe", File::open(&tar).unwrap(), &options).unwrap_err().kind(), ErrorKind::InvalidInput);
        let piped = source::from_reader("pipe", File::open(&tar).unwrap(), &with_folder).unwrap();
        assert_same(&directory, &piped, &what);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "the spool has no name");
    }
}

#[test]
fn gnu_and_ustar_archives_hold_what_they_can() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    for (richness, format) in [(Richness::Gnu, "gnu"), (Richness::Gnu, "oldgnu"), (Richness::Ustar, "ustar")] {
        let Some(folder) = make_tree(richness) else { return };
        let directory = source::open(folder.path()).unwrap();
        let format = format!("--format={format}");
        let mut arguments = vec![format.as_str(), "--numeric-owner"];
        if richness == Richness::Gnu {
            arguments.push("--sparse");
        }
        if archive("tar", &arguments, folder.path(), &tar).is_some() {
            assert_same(&directory, &source::open(&tar).unwrap(), &format);
        }
    }
}

#[test]
fn compressed_archives_are_told_by_their_magic_and_not_by_their_name() {
    let Some(folder) = make_tree(Richness::Ustar) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    if archive("tar", &["--format=ustar", "--numeric-owner"], folder.path(), &tar).is_none() {
        return;
    }
    let directory = source::open(folder.path()).unwrap();
    for (tool, level, name) in [("gzip", "-1", "gzip"), ("zstd", "-1", "zstd"), ("xz", "-0", "xz"), ("xz", "-9", "xz"), ("zstd", "--long=27", "zstd")] {
        let Some(mut command) = judge(tool) else { continue };
        let packed = scratch.path().join("packed.bin");
        let output = command.arg(level).arg("-c").arg(&tar).stdout(File::create(&packed).unwrap()).stderr(Stdio::null()).status().unwrap();
        assert!(output.success());
        let source = source::open(&packed).unwrap();
        assert_same(&directory, &source, tool);
        assert_eq!(source.description, format!("packed.bin (tar, {name})"));
        assert_eq!(source.notes.len(), usize::from(level == "-9" || level == "--long=27"), "{:?}", source.notes);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "the spool has no name");
        let bytes = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &bytes[..bytes.len() - 5]).unwrap();
        assert_eq!(source::open(&packed).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn acls_by_name_are_refused_and_as_xattrs_taken() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let Some(mut setfacl) = judge("setfacl") else { return };
    if !setfacl.args(["-m", "u:daemon:r"]).arg(folder.path().join("file")).status().unwrap().success() {
        skip("cannot set an ACL");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    if archive("tar", &["--format=posix", "--acls"], folder.path(), &tar).is_some() {
        let error = source::open(&tar).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("--xattrs-include='*'"), "{error}");
        archive("tar", &["--format=posix", "--xattrs", "--xattrs-include=*"], folder.path(), &tar).unwrap();
        assert_same(&source::open(folder.path()).unwrap(), &source::open(&tar).unwrap(), "ACLs as xattrs");
    }
}

#[test]
fn sockets_and_options_of_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    std::fs::create_dir_all(folder.path().join("var/cache")).unwrap();
    std::fs::write(folder.path().join("var/cache/x"), "x").unwrap();
    std::fs::hard_link(folder.path().join("var/cache/x"), folder.path().join("y")).unwrap();
    let hole = File::create(folder.path().join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    let mut options = Options::default();
    options.exclude.push("var/cache/*".into());
    options.owner = Some((7, 8));
    options.holes = Holes::None;
    let source = source::open_with(folder.path(), &options).unwrap();
    let node = |path: &str| source.tree.node(source.tree.lookup(path).unwrap());
    assert_eq!(node("socket").kind, NodeKind::Socket);
    assert!(source.tree.lookup("var/cache").is_some() && source.tree.lookup("var/cache/x").is_none());
    assert_eq!((node("y").metadata.uid, node("y").metadata.gid, node("y").links), (7, 8, 1));
    let NodeKind::File(file) = node("hole").kind else { panic!("no file") };
    assert_eq!(source.tree.data_ranges(&file).collect::<Vec<_>>(), [(0, 1 << 20)]);
    assert_eq!(read(&source, &file, 0, 1 << 20), vec![0; 1 << 20]);
    assert!(source.description.ends_with("(directory)"));
}

#[test]
fn one_file_system_leaves_mount_points_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mount_point = folder.path().join("mnt");
    std::fs::create_dir(&mount_point).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount_point).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        skip("cannot mount");
        return;
    }
    std::fs::write(mount_point.join("inside"), "x").unwrap();
    let mut options = Options::default();
    let whole = source::open_with(folder.path(), &options);
    options.one_file_system = true;
    let one = source::open_with(folder.path(), &options);
    assert!(Command::new("umount").arg(&mount_point).status().unwrap().success());
    assert!(whole.unwrap().tree.lookup("mnt/inside").is_some());
    let one = one.unwrap();
    assert!(one.tree.lookup("mnt").is_some() && one.tree.lookup("mnt/inside").is_none());
}

#[test]
fn r30_files_that_change_after_the_scan_are_named() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("grown", |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("shrunk", |path| File::options().write(true).open(path).unwrap().set_len(1).unwrap()),
        ("rewritten", |path| {
            let time = Timespec { tv_sec: 1, tv_nsec: 1 };
            rustix::fs::utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::empty()).unwrap();
        }),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("linked", |path| {
            std::fs::rename(path, path.with_extension("moved")).unwrap();
            symlink(path.with_extension("moved"), path).unwrap();
        }),
        ("replaced", |path| {
            std::fs::copy(path, path.with_extension("copy")).unwrap();
            std::fs::rename(path.with_extension("copy"), path).unwrap();
        }),
    ];
    for (how, change) in changes {
        for pieces in [1, 2] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("etc")).unwrap();
            std::fs::write(folder.path().join("etc/file"), "contents").unwrap();
            let source = source::open(folder.path()).unwrap();
            let NodeKind::File(file) = source.tree.node(source.tree.lookup("etc/file").unwrap()).kind else { panic!("no file") };
            if pieces == 2 {
                assert_eq!(read(&source, &file, 0, 4), b"cont");
            }
            change(&folder.path().join("etc/file"));
            let result = source.contents.read_exact_at(file.content, 4, &mut [0; 4]);
            // What is open already can still be read as it was, wherever its name leads now.
            if pieces == 2 && ["removed", "linked", "replaced"].contains(&how) {
                assert!(result.is_ok(), "{how}");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceChanged, "{how}: {error}");
            assert_eq!(error.path(), Some(&b"etc/file"[..]), "{how}: {error}");
        }
    }
}

#[test]
fn r6_pipes_and_devices_given_as_paths_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for path in [fifo.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
        let error = source::open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(source::open(folder.path().join("missing")).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn r1_directories_deeper_than_the_longest_path_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut at = rustix::fs::open(folder.path(), rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    let name = "deep-".repeat(10);
    let depth = 300;
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    }
    let bottom = rustix::fs::openat(&at, "file", rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE, Mode::RUSR).unwrap();
    File::from(bottom).write_all(b"bottom").unwrap();
    let source = source::open(folder.path()).unwrap();
    assert_eq!(source.tree.node_count(), depth + 2);
    let (_, last) = source.tree.nodes().last().unwrap();
    let NodeKind::File(file) = last.kind else { panic!("no file") };
    assert_eq!(read(&source, &file, 0, 6), b"bottom");
}

#[test]
fn unreadable_files_are_named_at_the_scan() {
    // Root reads everything, so a process that is nobody looks, through the test itself.
    const CHILD: &str = "ROOTVOL_TEST_UNREADABLE";
    if let Some(folder) = std::env::var_os(CHILD) {
        let error = source::open(folder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert_eq!(error.path(), Some(&b"etc/shadow"[..]), "{error}");
        return;
    }
    let (true, Some(mut nobody)) = (root(), judge("setpriv")) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    std::fs::write(folder.path().join("etc/shadow"), "secret").unwrap();
    std::fs::set_permissions(folder.path().join("etc/shadow"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let test = folder.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    let name = "unreadable_files_are_named_at_the_scan";
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(test).args(["--exact", name]).env(CHILD, folder.path());
    let output = nobody.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
