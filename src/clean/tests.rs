//! What goes, what stays, and what a person has to say in it.

use super::*;
use crate::tree::{Metadata, Timestamp};
use crate::units::ContentId;

/// A tree of files of one byte each, of links (`a -> b`), folders (`a/`) and empty files (`a =`).
fn tree(entries: &[&str]) -> Tree {
    let mut builder = TreeBuilder::new();
    let metadata = Metadata { mode: 0o640, uid: 7, mtime: Timestamp::from_seconds(9), ..Metadata::default() };
    for entry in entries {
        if let Some((path, target)) = entry.split_once(" -> ") {
            builder.add(path, metadata, NewNode::Symlink(target.as_bytes())).unwrap();
        } else if let Some(path) = entry.strip_suffix('/') {
            builder.add(path, metadata, NewNode::Directory).unwrap();
        } else {
            let (path, length) = entry.strip_suffix(" =").map_or((*entry, 1), |path| (path, 0));
            builder.add(path, metadata, NewNode::File { content: ContentId(0), length, data: None }).unwrap();
        }
    }
    builder.freeze().unwrap()
}

fn gone(entries: &[&str], options: &CleanOptions) -> Vec<String> {
    let before = tree(entries);
    let paths = |tree: &Tree| {
        let mut paths = BTreeSet::new();
        tree.walk(|path, _| {
            paths.insert(path.to_vec());
            Ok(())
        })
        .unwrap();
        paths
    };
    let all = paths(&before);
    let cleaned = clean(before, options).unwrap();
    let left = paths(&cleaned.tree);
    // What is said to be gone is gone, and nothing else.
    let said: BTreeSet<Vec<u8>> = cleaned.removed.iter().filter(|removed| !removed.emptied).map(|removed| removed.path.clone()).collect();
    assert_eq!(all.difference(&left).cloned().collect::<BTreeSet<_>>(), said);
    for removed in cleaned.removed.iter().filter(|removed| removed.emptied) {
        let node = cleaned.tree.node(cleaned.tree.lookup(&removed.path).unwrap());
        assert!(matches!(node.kind, NodeKind::File(data) if data.length == 0));
        assert_eq!((node.metadata.mode, node.metadata.uid), (0o640, 7), "its owner and mode stay");
    }
    cleaned.removed.iter().map(ToString::to_string).collect()
}

const SYSTEM: &[&str] = &[
    ".dockerenv =",
    "boot/vmlinuz",
    "etc/hostname",
    "etc/locale.conf",
    "etc/machine-id",
    "etc/passwd",
    "etc/ssh/moduli",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/sshd_config",
    "etc/sudoers.d/90-cloud-init-users",
    "home/jo/.bash_history",
    "home/jo/.profile",
    "home/jo/.ssh/authorized_keys",
    "home/jo/.ssh/known_hosts",
    "home/jo/history",
    "root/.python_history",
    "root/.ssh/",
    "tmp/",
    "tmp/x/y",
    "usr/share/doc/.bash_history",
    "var/cache/apt/pkgcache.bin",
    "var/lib/cloud/",
    "var/lib/cloud/instance -> instances/i-1",
    "var/lib/cloud/instances/i-1/user-data.txt",
    "var/lib/dbus/machine-id -> /etc/machine-id",
    "var/lib/dhcp/dhclient.eth0.leases",
    "var/lib/systemd/random-seed",
    "var/log/README -> ../x",
    "var/log/btmp =",
    "var/log/cloud-init.log",
    "var/log/journal/",
    "var/log/journal/0a/system.journal",
    "var/log/nginx/access.log",
    "var/log/wtmp",
    "var/tmp/z",
];

#[test]
fn what_a_golden_image_must_not_carry_goes_and_all_else_stays() {
    let expected = [
        "/.dockerenv",
        "/etc/hostname",
        "/etc/locale.conf",
        "/etc/machine-id (emptied)",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/sudoers.d/90-cloud-init-users",
        "/home/jo/.bash_history",
        "/home/jo/.ssh/authorized_keys",
        "/home/jo/.ssh/known_hosts",
        "/root/.python_history",
        "/tmp/x",
        "/tmp/x/y",
        "/var/lib/cloud/instance",
        "/var/lib/cloud/instances",
        "/var/lib/cloud/instances/i-1",
        "/var/lib/cloud/instances/i-1/user-data.txt",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/var/lib/systemd/random-seed",
        "/var/log/cloud-init.log",
        "/var/log/journal/0a",
        "/var/log/journal/0a/system.journal",
        "/var/log/nginx/access.log",
        "/var/log/wtmp (emptied)",
        "/var/tmp/z",
    ];
    assert_eq!(gone(SYSTEM, &CleanOptions::default()), expected);
    let caches = CleanOptions { package_caches: true, ..CleanOptions::default() };
    assert!(gone(SYSTEM, &caches).contains(&"/var/cache/apt/pkgcache.bin".to_owned()));
}

#[test]
fn a_clean_tree_is_left_as_it_is() {
    let cleaned = clean(tree(SYSTEM), &CleanOptions::default()).unwrap();
    let digest = cleaned.tree.digest();
    let again = clean(cleaned.tree, &CleanOptions::default()).unwrap();
    assert_eq!((again.removed, again.tree.digest()), (Vec::new(), digest));
}

#[test]
fn what_is_kept_stays_with_the_folders_on_its_way_and_what_is_named_goes_too() {
    let options = CleanOptions {
        keep: vec!["/var/lib/cloud/instances/i-1/user-data.txt".into(), "tmp/x".into(), "home/*/.bash_history".into(), "etc/machine-id".into()],
        also: vec!["var/cache/apt".into(), "boot/*".into()],
        ..CleanOptions::default()
    };
    let gone = gone(SYSTEM, &options);
    let has = |path: &str| gone.iter().any(|gone| gone == path);
    for stays in ["/var/lib/cloud/instances", "/var/lib/cloud/instances/i-1", "/tmp/x", "/tmp/x/y", "/home/jo/.bash_history", "/etc/machine-id (emptied)"] {
        assert!(!has(stays), "{stays}");
    }
    for goes in ["/var/lib/cloud/instance", "/var/cache/apt", "/var/cache/apt/pkgcache.bin", "/boot/vmlinuz", "/root/.python_history"] {
        assert!(has(goes), "{goes}");
    }
}

#[test]
fn each_group_can_be_left_alone() {
    let of = |options: CleanOptions| gone(SYSTEM, &options).len();
    let all = of(CleanOptions::default());
    type Switch = fn(&mut CleanOptions);
    let off: [(Switch, usize); 9] = [
        (|options| options.cloud_init = false, 7),
        (|options| options.instance = false, 3),
        (|options| options.ssh = false, 3),
        (|options| options.logs = false, 4),
        (|options| options.leases = false, 1),
        (|options| options.temporary = false, 3),
        (|options| options.history = false, 2),
        (|options| options.machine_id = false, 1),
        (|options| options.seeds = false, 1),
    ];
    for (nth, (switch, less)) in off.into_iter().enumerate() {
        let mut options = CleanOptions::default();
        switch(&mut options);
        assert_eq!(of(options), all - less, "{nth}");
    }
}

#[test]
fn no_link_is_followed() {
    let entries = ["var/tmp -> ../data", "data/precious", "home -> srv", "srv/jo/.bash_history", "tmp/link -> /etc", "etc/passwd", "var/log -> ../data"];
    assert_eq!(gone(&entries, &CleanOptions::default()), ["/tmp/link"]);
}

#[test]
fn patterns_that_name_nothing_are_refused() {
    for pattern in ["", "/", "..", "a/../b", "a//b", "[", "{a"] {
        let options = CleanOptions { keep: vec!["a".into(), pattern.into()], ..CleanOptions::default() };
        assert_eq!(options.first_wrong().map(|(list, at, _)| (list, at)), Some(("keep", 1)), "{pattern}");
        assert!(clean(tree(&["a"]), &options).is_err(), "{pattern}");
    }
}
