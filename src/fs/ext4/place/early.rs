//! Files that any Linux system is likely to read while it boots, where nobody has watched it: they lie apart from the rest, so that a
//! first boot touches fewer 512-KiB blocks. A boot order, which knows, is far better.
//!
//! Kernels and what lies beside them, the settings in /etc, systemd and udev, shared libraries, and those commands that units, udev rules
//! and shell scripts of early userspace call (systemd's bootup(7) names the steps; file-hierarchy(7) the places).

use crate::tree::{NodeKind, Tree};

/// Commands of early userspace, beside those that begin with `systemd`.
const COMMANDS: [&[u8]; 64] = [
    b"agetty",
    b"awk",
    b"basename",
    b"bash",
    b"blkid",
    b"busybox",
    b"cat",
    b"chmod",
    b"chown",
    b"cp",
    b"cut",
    b"dash",
    b"date",
    b"dbus-broker",
    b"dbus-daemon",
    b"dirname",
    b"dmesg",
    b"e2fsck",
    b"env",
    b"expr",
    b"find",
    b"findmnt",
    b"fsck",
    b"fsck.ext4",
    b"fsck.fat",
    b"gawk",
    b"grep",
    b"head",
    b"hostname",
    b"id",
    b"init",
    b"ip",
    b"journalctl",
    b"kmod",
    b"ln",
    b"login",
    b"loginctl",
    b"ls",
    b"mawk",
    b"mkdir",
    b"mktemp",
    b"mount",
    b"mv",
    b"networkctl",
    b"od",
    b"readlink",
    b"rm",
    b"run-parts",
    b"sed",
    b"sh",
    b"sleep",
    b"sort",
    b"stat",
    b"stty",
    b"swapon",
    b"sync",
    b"tail",
    b"touch",
    b"tr",
    b"udevadm",
    b"umount",
    b"uname",
    b"wc",
    b"xargs",
];

/// What a directory's place says of the files in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// The root, or usr: with or without merged directories.
    Top,
    /// Directories of commands.
    Commands,
    /// lib, lib64, and lib's directory of an architecture.
    Libraries,
    /// Everything in it, at any depth.
    All,
    Other,
}

impl Zone {
    /// The zone of a directory in this one.
    fn directory(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::All, _) | (Self::Top, b"boot" | b"etc") | (Self::Libraries, b"systemd" | b"udev") => Self::All,
            (Self::Top, b"usr") => Self::Top,
            (Self::Top, b"bin" | b"sbin") => Self::Commands,
            (Self::Top, b"lib" | b"lib64") => Self::Libraries,
            (Self::Libraries, name) if name.ends_with(b"-linux-gnu") || name.ends_with(b"-linux-musl") => Self::Libraries,
            _ => Self::Other,
        }
    }

    /// Whether a file in this zone is likely to be read.
    fn reads(self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Commands => name.starts_with(b"systemd") || COMMANDS.binary_search(&name).is_ok(),
            Self::Libraries => name.windows(3).any(|part| part == b".so"),
            Self::Top | Self::Other => false,
        }
    }
}

/// By node: whether it is a file that is likely to be read while the system boots.
pub(super) fn files(tree: &Tree) -> Vec<bool> {
    let mut zones = vec![Zone::Other; tree.node_count()];
    let mut early = vec![false; tree.node_count()];
    zones[crate::tree::NodeId::ROOT.index()] = Zone::Top;
    for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
        let zone = zones[directory.index()];
        for entry in tree.entries(directory) {
            match tree.node(entry.node).kind {
                NodeKind::Directory => zones[entry.node.index()] = zone.directory(tree.name(entry)),
                NodeKind::File(_) => early[entry.node.index()] |= zone.reads(tree.name(entry)),
                _ => {}
            }
        }
    }
    early
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};
    use crate::units::ContentId;

    #[test]
    fn early_userspace_is_known_by_its_places() {
        assert!(COMMANDS.is_sorted());
        let cases = [
            ("boot/vmlinuz", true),
            ("etc/a/b/c", true),
            ("usr/lib/systemd/system/x.service", true),
            ("lib/udev/rules.d/1.rules", true),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", true),
            ("lib64/ld.so", true),
            ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", true),
            ("usr/sbin/fsck.ext4", true),
            ("bin/systemd-tmpfiles", true),
            ("usr/bin/perl", false),
            ("usr/lib/x86_64-linux-gnu/gconv/IBM850.so", false),
            ("usr/share/doc/etc/x", false),
            ("usr/lib/python3/x.so", false),
            ("vmlinuz", false),
        ];
        let mut builder = TreeBuilder::new();
        for (path, _) in cases {
            builder.add(path, Metadata::default(), NewNode::File { content: ContentId(0), length: 1, data: None }).unwrap();
        }
        let tree = builder.freeze().unwrap();
        let early = files(&tree);
        for (path, expected) in cases {
            assert_eq!(early[tree.lookup(path).unwrap().index()], expected, "{path}");
        }
    }
}
