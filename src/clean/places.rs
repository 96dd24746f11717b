//! What a golden image must not carry, by path.

use super::Group;

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes.
    Remove,
    /// It stays, with its owner and mode, and nothing in it.
    Empty,
}

/// The path in a home (`root`, `home/NAME`), without the home.
pub(crate) fn in_home(path: &[u8]) -> Option<&[u8]> {
    // Systems whose root is read-only have homes in /var.
    let in_var = path.strip_prefix(b"var/").filter(|path| path.starts_with(b"roothome/") || path.starts_with(b"home/"));
    let path = in_var.unwrap_or(path);
    if let Some(rest) = path.strip_prefix(b"root/").or_else(|| path.strip_prefix(b"roothome/")) {
        return Some(rest);
    }
    let rest = path.strip_prefix(b"home/")?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    Some(&rest[slash + 1..])
}

/// Whether a file in a home, by its path there, is a history of what was typed, searched or visited.
pub(crate) fn is_history(in_home: &[u8]) -> bool {
    let file = in_home.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let named = file.ends_with(b"history") || file.ends_with(b"_hist");
    in_home.starts_with(b".") && (named || matches!(file, b".zhistory" | b".histfile" | b".lesshst" | b".viminfo" | b"viminfo" | b".wget-hsts"))
}

/// Single files, of the clean-up script of EC2 Image Builder (user guide, "Security best practices for Image Builder") but for those marked.
const FILES: &[(Group, &str)] = &[
    (Group::CloudInit, "etc/sudoers.d/90-cloud-init-users"),
    (Group::CloudInit, "etc/locale.conf"),
    (Group::CloudInit, "var/log/cloud-init.log"),
    (Group::CloudInit, "var/log/cloud-init-output.log"),
    (Group::Instance, "etc/.updated"),
    (Group::Instance, "etc/aliases.db"),
    (Group::Instance, "etc/hostname"),
    (Group::Instance, "var/lib/misc/postfix.aliasesdb-stamp"),
    (Group::Instance, "var/lib/postfix/master.lock"),
    (Group::Instance, "var/spool/postfix/pid/master.pid"),
    (Group::Instance, "var/.updated"),
    (Group::Instance, "var/cache/yum/x86_64/2/.gpgkeyschecked.yum"),
    (Group::Logs, "var/lib/rsyslog/imjournal.state"),
    // Not in the script: what every instance would share.
    (Group::Seeds, "var/lib/systemd/random-seed"),
    (Group::Seeds, "var/lib/systemd/credential.secret"),
    (Group::Seeds, "var/lib/random-seed"),
    (Group::Seeds, "var/lib/urandom/random-seed"),
    (Group::Seeds, "var/lib/misc/random-seed"),
    (Group::Seeds, "boot/loader/random-seed"),
    (Group::Seeds, "efi/loader/random-seed"),
    (Group::Seeds, "boot/efi/loader/random-seed"),
    (Group::Instance, ".dockerenv"),
    (Group::Instance, ".dockerinit"),
    (Group::Instance, "root/anaconda-ks.cfg"),
    (Group::Instance, "root/original-ks.cfg"),
    (Group::Instance, "root/initial-setup-ks.cfg"),
    (Group::Instance, "root/.ssh/known_hosts"),
];

/// Folders of which all goes, the folders in them too; they stay. Of the script but for those marked.
const FOLDERS: &[(Group, &str)] = &[
    (Group::CloudInit, "var/lib/cloud/"),
    (Group::Temporary, "var/tmp/"),
    (Group::Logs, "var/log/journal/"),
    // Not in the script.
    (Group::Temporary, "tmp/"),
    (Group::Seeds, "var/lib/seedrng/"),
    (Group::PackageCaches, "var/cache/dnf/"),
    (Group::PackageCaches, "var/cache/libdnf5/"),
    (Group::PackageCaches, "var/cache/yum/"),
    (Group::PackageCaches, "var/cache/apk/"),
    (Group::PackageCaches, "var/cache/zypp/"),
    (Group::PackageCaches, "root/.cache/"),
];

/// Folders of which the files go that hold something, and the folders in them stay: packages ship these with their owners.
const FILES_IN: &[(Group, &str)] = &[
    // The script names dhclient's alone; others have theirs.
    (Group::Leases, "var/lib/dhclient/"),
    (Group::Leases, "var/lib/dhcp/"),
    (Group::Leases, "var/lib/dhcpcd/"),
    (Group::Leases, "var/lib/dhcpcd5/"),
    (Group::Leases, "var/lib/udhcpd/"),
    (Group::Leases, "var/lib/NetworkManager/dhclient-"),
    (Group::Leases, "var/lib/NetworkManager/internal-"),
    (Group::Leases, "run/systemd/netif/leases/"),
    (Group::Logs, "run/log/journal/"),
    // The script names audit.log, boot.log, dmesg, cron, sa and ssm; every other log is as telling.
    (Group::Logs, "var/log/"),
    (Group::PackageCaches, "var/cache/apt/"),
    (Group::PackageCaches, "var/lib/apt/lists/"),
    (Group::PackageCaches, "var/cache/pacman/pkg/"),
];

/// Logs with an owner and a mode that the programs which write them expect: these are emptied.
const EMPTIED_LOGS: [&[u8]; 5] = [b"var/log/wtmp", b"var/log/btmp", b"var/log/lastlog", b"var/log/faillog", b"var/log/tallylog"];

/// What is to become of the entry at `path`, and why.
pub(super) fn action(path: &[u8], is_directory: bool, length: u64) -> Option<(Group, Action)> {
    let starts =
        |list: &[(Group, &str)]| list.iter().find(|(_, folder)| path.len() > folder.len() && path.starts_with(folder.as_bytes())).map(|(group, _)| *group);
    if let Some(group) = starts(FOLDERS) {
        return Some((group, Action::Remove));
    }
    if is_directory {
        return None;
    }
    if path == b"etc/machine-id" {
        return (length > 0).then_some((Group::MachineId, Action::Empty));
    }
    if path == b"var/lib/dbus/machine-id" {
        return (length > 0).then_some((Group::MachineId, Action::Remove));
    }
    if let Some((group, _)) = FILES.iter().find(|(_, file)| path == file.as_bytes()) {
        return Some((*group, Action::Remove));
    }
    if is_key(path) {
        return Some((Group::Ssh, Action::Remove));
    }
    if in_home(path).is_some_and(is_history) {
        return Some((Group::History, Action::Remove));
    }
    if in_home(path) == Some(b".ssh/known_hosts") {
        return Some((Group::Instance, Action::Remove));
    }
    if length == 0 {
        return None;
    }
    if EMPTIED_LOGS.contains(&path) {
        return Some((Group::Logs, Action::Empty));
    }
    let group = starts(FILES_IN)?;
    // cloud-init's own logs are its group's.
    let group = if path.starts_with(b"var/log/cloud-init") { Group::CloudInit } else { group };
    Some((group, Action::Remove))
}

/// Host keys, and keys of those who may log in, wherever they lie.
fn is_key(path: &[u8]) -> bool {
    let in_ssh = |name: &[u8]| path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"));
    if in_ssh(b".ssh/authorized_keys") || in_ssh(b".ssh/authorized_keys2") {
        return true;
    }
    let is_key = |name: &[u8]| !name.contains(&b'/') && (name.ends_with(b"key") || name.ends_with(b"key.pub") || name.ends_with(b"key-cert.pub"));
    let of_sshd = path.strip_prefix(b"etc/ssh/ssh_host_").is_some_and(is_key);
    let of_dropbear = path.strip_prefix(b"etc/dropbear/dropbear_").is_some_and(|name| !name.contains(&b'/') && name.ends_with(b"_host_key"));
    of_sshd || of_dropbear
}
