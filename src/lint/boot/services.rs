//! Which services start by themselves: systemd's units (systemd.unit(5), systemd.preset(5)), OpenRC's runlevels, System V's links,
//! runit's and BusyBox' folders.

use crate::boot::files::{Files, join};
use crate::error::Result;
use crate::tree::NodeKind;

/// Where systemd looks for units, the strongest first.
const UNITS: [&str; 4] = ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// Folders whose entries start by themselves, with the name of the service as it is.
const RUN_FOLDERS: [&str; 3] = ["etc/service", "var/service", "etc/runit/runsvdir/default"];
/// Units that are looked through for `.wants`: far more than systems have.
const FOLDERS_MAX: usize = 4096;

/// Whether the system makes its `/etc` when it boots: what it will do cannot be seen before.
pub(super) fn is_nixos(files: &Files<'_>) -> bool {
    files.is_directory("nix/store") && (files.is_directory("nix/var/nix/profiles") || files.file("etc/NIXOS").is_some())
}

/// Whether the tree has a unit or script of one of these names (`sshd.service`, `sshd.socket`).
pub(super) fn exists(files: &Files<'_>, units: &[&str]) -> bool {
    units.iter().any(|unit| {
        let script = unit.split('.').next().unwrap_or_default();
        UNITS.iter().any(|folder| files.file(format!("{folder}/{unit}")).is_some()) || files.file(format!("etc/init.d/{script}")).is_some()
    })
}

/// Whether one of these units starts by itself.
///
/// # Errors
/// Those of reading presets.
pub(super) fn enabled(files: &Files<'_>, units: &[&str]) -> Result<bool> {
    for unit in units {
        if masked(files, unit) {
            continue;
        }
        if wanted(files, unit) || by_script(files, unit.split('.').next().unwrap_or_default()) || by_preset(files, unit)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A link to /dev/null, or an empty file.
fn masked(files: &Files<'_>, unit: &str) -> bool {
    let Some(node) = files.tree.lookup(format!("etc/systemd/system/{unit}")) else { return false };
    match files.tree.node(node).kind {
        NodeKind::Symlink(_) => files.tree.target(node) == b"/dev/null",
        NodeKind::File(data) => data.length == 0,
        _ => false,
    }
}

/// Whether another unit wants it: an entry of a folder `.wants`, `.requires` or `.upholds`.
fn wanted(files: &Files<'_>, unit: &str) -> bool {
    UNITS.iter().any(|folder| {
        let pulls = |name: &&[u8]| [&b".wants"[..], b".requires", b".upholds"].iter().any(|end| name.ends_with(end));
        let mut folders = files.names(folder).filter(pulls).take(FOLDERS_MAX);
        // Links lead outside of the tree as often as not; the name alone counts.
        folders.any(|wants| files.tree.resolve(join(folder.as_bytes(), wants)).is_some_and(|id| files.tree.child(id, unit.as_bytes()).is_some()))
    })
}

/// OpenRC, System V, BusyBox, runit.
fn by_script(files: &Files<'_>, name: &str) -> bool {
    let openrc = files.names("etc/runlevels").any(|level| files.tree.lookup([b"etc/runlevels/", level, b"/", name.as_bytes()].concat()).is_some());
    let started = |entry: &[u8]| entry.first() == Some(&b'S') && entry.get(3..) == Some(name.as_bytes());
    let folders = ["etc/rc2.d", "etc/rc3.d", "etc/rc5.d", "etc/rcS.d", "etc/rc.d/rc3.d", "etc/init.d"];
    let system_v = !has_systemd_unit(files, name) && folders.iter().any(|folder| files.names(folder).any(started));
    openrc || system_v || RUN_FOLDERS.iter().any(|folder| files.tree.lookup(format!("{folder}/{name}")).is_some())
}

/// systemd passes over a script where there is a unit of its name.
fn has_systemd_unit(files: &Files<'_>, name: &str) -> bool {
    UNITS.iter().any(|folder| files.file(format!("{folder}/{name}.service")).is_some())
}

/// At the first boot of a machine systemd enables what presets say (machine-id(5), "First boot semantics").
fn by_preset(files: &Files<'_>, unit: &str) -> Result<bool> {
    let first_boot = match files.text("etc/machine-id")? {
        None => true,
        Some(text) => text.trim_ascii() == b"uninitialized",
    };
    if !first_boot || !exists(files, &[unit]) || !files.is_directory("usr/lib/systemd") {
        return Ok(false);
    }
    let mut names: Vec<(&[u8], &str)> = Vec::new();
    for folder in ["etc/systemd/system-preset", "usr/lib/systemd/system-preset"] {
        for name in files.names(folder).filter(|name| name.ends_with(b".preset")) {
            if !names.iter().any(|(other, _)| *other == name) {
                names.push((name, folder));
            }
        }
    }
    names.sort_unstable();
    for (name, folder) in names {
        let text = files.text(join(folder.as_bytes(), name))?.unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some(word @ ("enable" | "disable")), Some(pattern)) = (words.next(), words.next())
                && fits(pattern, unit)
            {
                return Ok(word == "enable");
            }
        }
    }
    // Without a word about it systemd enables a unit.
    Ok(true)
}

/// Whether a name fits a pattern with at most one `*`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}

/// Whether the tree has one of these programs.
pub(super) fn program(files: &Files<'_>, names: &[&str]) -> bool {
    let folders = ["usr/sbin", "usr/bin", "sbin", "bin", "usr/local/sbin", "usr/local/bin", "usr/lib/systemd", "lib/systemd", "usr/libexec"];
    names.iter().any(|name| folders.iter().any(|folder| files.file(format!("{folder}/{name}")).is_some()))
}
