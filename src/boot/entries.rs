//! systemd-boot and UKIs, and the entries of the Boot Loader Specification (UAPI group, "Type #1").
//!
//! ```text
//! ESP   \EFI\BOOT\BOOTX64.EFI             systemd-boot, or the UKI where there is none
//!       \EFI\systemd\systemd-bootx64.efi  as bootctl leaves it, so that bootctl can update it
//!       \EFI\Linux\NAME.efi               the UKI
//!       \loader\loader.conf
//!       \loader\entries.srel              says "type1": kernel-install goes on in this layout
//!       \loader\entries\TOKEN-VERSION.conf
//!       \TOKEN\VERSION\linux              and the initramfs beside it, named as kernel-install names them
//! ```

use super::changes::Changes;
use super::cmdline::{self, Cmdline};
use super::distro::{Distro, Family};
use super::files::{Files, TreeFile};
use super::find::Found;
use super::kernel::Kernel;
use super::loader::{SystemdBoot, Uki};
use super::{Identities, Options};
use crate::error::Result;

/// Places systemd-boot, kernels and entries. Returns the command line.
///
/// # Errors
/// Those of [`cmdline::decide`] and of reading.
pub(super) fn prepare(
    files: &Files<'_>,
    found: &Found,
    loader: &SystemdBoot,
    kernels: &[&Kernel],
    options: &Options,
    ids: &Identities,
    changes: &mut Changes,
) -> Result<String> {
    let has_initramfs = kernels.first().is_some_and(|kernel| kernel.initramfs.is_some());
    let Cmdline { text, notes } = cmdline::decide(files, options.cmdline.as_deref(), options.root, ids, loader.architecture, has_initramfs)?;
    changes.notes.extend(notes);
    place_systemd_boot(loader, changes);
    changes.place("loader/entries.srel", b"type1\n".to_vec());
    let given = files.text("etc/kernel/entry-token")?.map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned());
    let token = match given.filter(|token| !token.is_empty() && *token == file_name_part(token.as_bytes())) {
        Some(token) => token,
        None => {
            let token = found.distro.entry_token();
            changes.write(files, "etc/kernel/entry-token", cmdline::line(&token));
            token
        }
    };
    for kernel in kernels {
        let version = file_name_part(&kernel.version);
        let folder = format!("{token}/{version}");
        let linux = format!("{folder}/linux");
        changes.copy(linux.clone(), &kernel.file);
        let initramfs = kernel.initramfs.as_ref().map(|file| {
            let path = format!("{folder}/{}", file_name_part(file.name()));
            changes.copy(path.clone(), file);
            format!("/{path}")
        });
        let entry = entry(&found.distro, &kernel.version, &format!("/{linux}"), initramfs.as_deref(), &text);
        changes.place(format!("loader/entries/{token}-{version}.conf"), entry);
    }
    changes.write(files, "etc/kernel/cmdline", cmdline::line(&text));
    if found.distro.family() == Family::Debian && files.tree.resolve("etc/kernel/postinst.d/zz-systemd-boot").is_none() {
        changes.notes.push("later kernels reach the ESP only with Debian's package systemd-boot, which the tree does not have".to_owned());
    }
    Ok(text)
}

fn place_systemd_boot(loader: &SystemdBoot, changes: &mut Changes) {
    changes.copy(format!("EFI/BOOT/{}", loader.architecture.fallback_name()), &loader.image);
    changes.copy(format!("EFI/systemd/systemd-boot{}.efi", loader.architecture.efi_suffix()), &loader.image);
    // The newest entry starts at once; a key that is held brings the menu.
    changes.place_if_missing("loader/loader.conf", b"timeout 0\n".to_vec());
}

/// Places a UKI, and systemd-boot before it if the tree has it.
///
/// # Errors
/// Those of reading.
pub(super) fn prepare_uki(
    files: &Files<'_>,
    uki: &Uki,
    loader: Option<&SystemdBoot>,
    options: &Options,
    ids: &Identities,
    mount_point: &[u8],
    changes: &mut Changes,
) -> Result<()> {
    let shown = uki.image.shown();
    let fallback = format!("EFI/BOOT/{}", uki.architecture.fallback_name());
    let beneath = uki.image.path.strip_prefix(mount_point).and_then(|rest| rest.strip_prefix(b"/"));
    let is_fallback = beneath.is_some_and(|path| path.eq_ignore_ascii_case(fallback.as_bytes()));
    if !is_fallback {
        changes.copy(format!("EFI/Linux/{}", uki_name(&uki.image)), &uki.image);
        match loader {
            Some(loader) => place_systemd_boot(loader, changes),
            None => {
                changes.copy(fallback, &uki.image);
                changes.notes.push("without systemd-boot the firmware starts this UKI also after an update; \\EFI\\BOOT must be updated with it".to_owned());
            }
        }
    }
    let inside = uki.cmdline.as_deref().unwrap_or_default();
    if options.cmdline.is_some() {
        changes.notes.push(format!("the command line that was asked for cannot apply: a UKI carries its own ({shown}: {inside:?})"));
    } else if !cmdline::has(inside, "root=") && options.root != super::RootBy::None {
        changes.notes.push(format!("the command line inside {shown} names no root; its initramfs must find it by the partition's type"));
    }
    if let Some(root) = cmdline::value(inside, "root=") {
        changes.notes.extend(cmdline::foreign_root(&format!("the command line inside {shown}"), root, ids));
    }
    // ukify and kernel-install build the next UKI with it.
    if !inside.is_empty() && files.file("etc/kernel/cmdline").is_none() && !inside.chars().any(char::is_control) {
        changes.write(files, "etc/kernel/cmdline", cmdline::line(inside));
    }
    Ok(())
}

/// The name of a UKI in `\EFI\Linux`: its own; with its modules' version if that says nothing.
fn uki_name(image: &TreeFile) -> String {
    let name = file_name_part(image.name());
    let folder = image.folder();
    let version = [&b"usr/lib/modules/"[..], b"lib/modules/"].iter().find_map(|modules| folder.strip_prefix(*modules));
    match version {
        Some(version) if crate::boot::files::position_of(name.as_bytes(), version).is_none() => format!("linux-{}.efi", file_name_part(version)),
        _ => name,
    }
}

/// The text of an entry. `linux` and `initrd` are paths on the entry's own partition.
pub(super) fn entry(distro: &Distro, version: &[u8], linux: &str, initrd: Option<&str>, cmdline: &str) -> Vec<u8> {
    let mut text = format!("title {}\n", distro.pretty_name);
    if !version.is_empty() {
        text.push_str(&format!("version {}\n", file_name_part(version)));
    }
    // The key that kernel-install gives its entries: the newest version is on top, whoever made it.
    text.push_str(&format!("sort-key {}\nlinux {linux}\n", distro.entry_token()));
    if let Some(initrd) = initrd {
        text.push_str(&format!("initrd {initrd}\n"));
    }
    text.push_str(&format!("options {cmdline}\n"));
    text.into_bytes()
}

/// Bytes as a part of a file name on FAT and a word of an entry: what either cannot hold becomes `_`.
pub(super) fn file_name_part(bytes: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(bytes).chars().map(|c| if c.is_ascii_graphic() && !"\"*/:<>?\\|".contains(c) { c } else { '_' }).take(120).collect();
    if text.is_empty() || text.bytes().all(|byte| byte == b'.') { "linux".to_owned() } else { text }
}
