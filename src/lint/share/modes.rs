//! Files that give rights to whoever runs or writes them: setuid, setgid, capabilities, writable for all.
//!
//! The list of what is known names what packages of Debian, Ubuntu, Fedora, Amazon Linux, Alpine and openSUSE bring; held against whole
//! trees it was for Debian 12 alone. It goes by path: with `/usr` taken away, since `/bin` and `/usr/bin` are one on most of them. By path alone a file that was
//! exchanged is not told apart; that is what `rootvol diff` is for.

use super::places::name;
use crate::boot::files::show;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, SHARED, Severity};
use crate::tree::{Node, NodeKind, Tree};

pub(super) const RULES: &[&Rule] = &[&SETUID, &CAPABILITIES, &WRITABLE];

static SETUID: Rule = Rule {
    id: "setuid-file",
    family: Family::Share,
    severity: Severity::Warning,
    concerns: SHARED,
    why: "whoever runs it has its owner's rights, and no distribution that is known here installs it so: a back door, or one more program that must be free of mistakes",
    mend: "`chmod u-s,g-s` the file, or silence the rule for its path with the reason",
    source: "EC2 user guide, best practices for shared Linux AMIs (check for other superusers)",
};

static CAPABILITIES: Rule = Rule {
    id: "file-capabilities",
    why: "whoever runs it has rights of root's, and no distribution that is known here gives them to it",
    mend: "`setcap -r` the file, or silence the rule for its path with the reason",
    ..SETUID
};

static WRITABLE: Rule = Rule {
    id: "world-writable",
    concerns: EVERY,
    why: "every user and every service that was broken into can change it; in a folder without the sticky bit also replace what others own",
    mend: "`chmod o-w`, or `chmod +t` for a folder",
    source: "CIS benchmarks, \"Ensure no world writable files exist\"",
    ..SETUID
};

/// Names in `bin` and `sbin`.
const PROGRAMS: &[&str] = &[
    "Xorg",
    "Xorg.wrap",
    "arping",
    "at",
    "bbsuid",
    "bsd-write",
    "chage",
    "chfn",
    "chsh",
    "clockdiff",
    "crontab",
    "doas",
    "dotlockfile",
    "dumpcap",
    "exim",
    "exim4",
    "expiry",
    "fping",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "grub2-set-bootflag",
    "kismet_capture",
    "ksu",
    "locate",
    "lockdev",
    "lockfile",
    "mail-lock",
    "mail-touchlock",
    "mail-unlock",
    "mlocate",
    "mount",
    "mount.cifs",
    "mount.ecryptfs_private",
    "mount.nfs",
    "mount.ntfs",
    "mount.ntfs-3g",
    "mtr-packet",
    "mutt_dotlock",
    "netreport",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "ntfs-3g",
    "pam_extrausers_chkpwd",
    "pam_timestamp_check",
    "passwd",
    "ping",
    "ping6",
    "pkexec",
    "plocate",
    "postdrop",
    "postlog",
    "postqueue",
    "pppd",
    "procmail",
    "screen",
    "sendmail",
    "sendmail.sendmail",
    "sg",
    "slocate",
    "ssh-agent",
    "staprun",
    "su",
    "sudo",
    "sudoedit",
    "suexec",
    "traceroute6.iputils",
    "umount",
    "unix2_chkpwd",
    "unix_chkpwd",
    "userhelper",
    "usernetctl",
    "wall",
    "write",
    "zypp-refresh-wrapper",
];

/// Names of helpers anywhere in `lib` and `libexec`.
const HELPERS: &[&str] = &[
    "Xorg.wrap",
    "apt-update",
    "chrome-sandbox",
    "cockpit-session",
    "cons.saver",
    "dbus-daemon-launch-helper",
    "dma-mbox-create",
    "dmcrypt-get-device",
    "gst-ptp-helper",
    "krb5_child",
    "ldap_child",
    "p11_child",
    "polkit-agent-helper-1",
    "proxy_child",
    "pt_chown",
    "qemu-bridge-helper",
    "selinux_child",
    "snap-confine",
    "spice-client-glib-usb-acl-helper",
    "ssh-keysign",
    "sssd_pam",
    "utempter",
];

/// Whether a file may have rights of its own, by its place.
fn is_known(path: &[u8]) -> bool {
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    let listed = |names: &[&str]| names.iter().any(|known| known.as_bytes() == name(path));
    let slashes = memchr::memchr_iter(b'/', path).count();
    match path.split(|byte| *byte == b'/').next() {
        Some(b"bin" | b"sbin") => slashes == 1 && listed(PROGRAMS),
        Some(b"lib" | b"lib64" | b"libexec") => listed(HELPERS),
        _ => false,
    }
}

/// Looks at one entry.
pub(super) fn entry(tree: &Tree, path: &[u8], node: &Node, findings: &mut Findings<'_>) {
    let metadata = node.metadata;
    let is_file = matches!(node.kind, NodeKind::File(_));
    if is_file && metadata.mode & 0o6000 != 0 && metadata.mode & 0o111 != 0 && !is_known(path) {
        let (bit, whose) =
            if metadata.mode & 0o4000 != 0 { ("setuid", format!("user {}", metadata.uid)) } else { ("setgid", format!("group {}", metadata.gid)) };
        findings.add(&SETUID, Place::path(path), format!("{bit} of {whose}, mode {:04o}", metadata.mode));
    }
    if is_file && !is_known(path) && tree.xattrs(metadata.xattrs).iter().any(|xattr| &*xattr.name == b"security.capability") {
        findings.add(&CAPABILITIES, Place::path(path), "the file has capabilities");
    }
    if metadata.mode & 0o002 == 0 || [&b"dev/"[..], b"proc/", b"sys/"].iter().any(|folder| path.starts_with(folder)) {
        return;
    }
    match node.kind {
        NodeKind::File(_) => findings.add(&WRITABLE, Place::path(path), format!("a file that everybody may write, mode {:04o}", metadata.mode)),
        NodeKind::Directory if metadata.mode & 0o1000 == 0 => {
            findings.add(
                &WRITABLE,
                Place::path(path),
                format!("a folder in which everybody may replace everything ({} has no sticky bit), mode {:04o}", show(path), metadata.mode),
            );
        }
        _ => {}
    }
}
