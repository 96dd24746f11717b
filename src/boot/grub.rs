//! GRUB: the images and a stub on the ESP, one configuration in the root.
//!
//! ```text
//! ESP   \EFI\BOOT\BOOTX64.EFI   shim (or GRUB itself)
//!       \EFI\BOOT\grubx64.efi   the GRUB that the shim starts
//!       \EFI\BOOT\mmx64.efi     shim's key manager
//!       \EFI\BOOT\grub.cfg      the stub, and the same in the folder that is built into the signed GRUB
//!       \EFI\debian\grub.cfg
//! root  /boot/grub/grub.cfg     the one configuration: the tree's, or made here
//! ```
//! The stub only finds the root by UUID and goes on there: ImportImage refuses a disk with several configurations
//! that differ.

use super::changes::Changes;
use super::cmdline::{self, Cmdline};
use super::distro::Family;
use super::files::{Files, position_of, show};
use super::find::Found;
use super::kernel::Kernel;
use super::loader::Grub;
use super::{Identities, Options, entries};
use crate::error::{Result, escape};
use std::collections::BTreeSet;

/// Folders of `\EFI` that are taken from the strings of one image.
const VENDORS_MAX: usize = 4;
/// How long the menu waits: long enough for a key on the serial console.
const TIMEOUT_SECONDS: u32 = 1;
/// The length of GRUB's environment block (GRUB manual, "The GRUB environment block").
const ENVIRONMENT_BYTES: usize = 1024;

/// What the image's own strings say.
struct Strings {
    /// Folders under `\EFI` in which it looks for its configuration.
    vendors: BTreeSet<String>,
    /// Whether it has the command `blscfg` (Fedora and its relatives).
    blscfg: bool,
}

/// Places the loader, sets up its configuration. Returns the command line, if one was set.
///
/// # Errors
/// Those of [`cmdline::decide`] and of reading.
pub(super) fn prepare(
    files: &Files<'_>,
    found: &Found,
    grub: &Grub,
    kernels: &[&Kernel],
    options: &Options,
    ids: &Identities,
    changes: &mut Changes,
) -> Result<Option<String>> {
    let strings = strings_of(files, grub)?;
    let fallback = format!("EFI/BOOT/{}", grub.architecture.fallback_name());
    match &grub.shim {
        Some(shim) => {
            changes.copy(fallback, shim);
            changes.copy(format!("EFI/BOOT/{}", grub.name), &grub.image);
            changes.notes.push(format!("the shim {} starts GRUB", shim.shown()));
        }
        None => {
            changes.copy(fallback, &grub.image);
            changes.notes.push(format!("GRUB {} starts without a shim: Secure Boot will not take it unless its key is enrolled", grub.image.shown()));
        }
    }
    if let Some((file, name)) = &grub.mok_manager {
        changes.copy(format!("EFI/BOOT/{name}"), file);
    }
    let folder = configuration_folder(files, found, changes);
    let stub = stub(&ids.root_uuid, folder);
    let mut places = BTreeSet::from(["BOOT".to_owned()]);
    places.extend(strings.vendors.iter().cloned());
    places.extend(grub.vendor.clone());
    if places.len() == 1 {
        places.extend(found.distro.vendor_folder());
    }
    for place in places {
        changes.place(format!("EFI/{place}/grub.cfg"), stub.clone());
    }
    let path = format!("{folder}/grub.cfg");
    if let Some(kept) = files.file(&path).filter(|file| file.data.length > 0) {
        note_kept(files, &kept.path, options, ids, changes)?;
        if options.cmdline.is_some() {
            let cmdline = decide(files, kernels, options, ids)?;
            set_for_updates(files, found, &cmdline.text, strings.blscfg, changes)?;
        }
        return Ok(None);
    }
    let Cmdline { text, notes } = decide(files, kernels, options, ids)?;
    changes.notes.extend(notes);
    let mut config = header(&ids.root_uuid);
    if strings.blscfg {
        config.push_str(&bls(files, found, kernels, &text, folder, changes)?);
    }
    for kernel in kernels {
        config.push_str(&menuentry(&found.distro.pretty_name, kernel, &text));
    }
    changes.write(files, &path, config.into_bytes());
    set_for_updates(files, found, &text, strings.blscfg, changes)?;
    Ok(Some(text))
}

fn decide(files: &Files<'_>, kernels: &[&Kernel], options: &Options, ids: &Identities) -> Result<Cmdline> {
    let first = kernels.first().copied();
    let architecture = first.map_or(super::Architecture::X86_64, |kernel| kernel.architecture);
    cmdline::decide(files, options.cmdline.as_deref(), options.root, ids, architecture, first.is_some_and(|kernel| kernel.initramfs.is_some()))
}

/// What the ESP holds: find the root, go on there.
fn stub(root_uuid: &str, folder: &str) -> Vec<u8> {
    format!("search --no-floppy --fs-uuid --set=root {root_uuid}\nset prefix=($root)/{folder}\nconfigfile $prefix/grub.cfg\n").into_bytes()
}

fn header(root_uuid: &str) -> String {
    format!(
        "# Made with the disk. update-grub or grub2-mkconfig make it anew.\nset default=0\nset timeout={TIMEOUT_SECONDS}\n\
         search --no-floppy --fs-uuid --set=root {root_uuid}\n"
    )
}

fn menuentry(system: &str, kernel: &Kernel, cmdline: &str) -> String {
    let version = escape(&kernel.version);
    let title = if version.is_empty() { system.to_owned() } else { format!("{system}, with Linux {version}") };
    let mut entry = format!("menuentry '{}' {{\n\tlinux {} {}\n", title.replace(['\'', '\\'], ""), quote(&kernel.file.path), cmdline::for_grub(cmdline));
    if let Some(initramfs) = &kernel.initramfs {
        entry.push_str(&format!("\tinitrd {}\n", quote(&initramfs.path)));
    }
    entry.push_str("}\n");
    entry
}

/// A path as one word of GRUB's script. Kernels were taken only with names that are text.
fn quote(path: &[u8]) -> String {
    cmdline::grub_word(&format!("/{}", String::from_utf8_lossy(path)))
}

/// `/boot/grub` or `/boot/grub2`: where the configuration is, else where the distribution makes it.
fn configuration_folder(files: &Files<'_>, found: &Found, changes: &mut Changes) -> &'static str {
    let has = |folder: &str| files.file(format!("{folder}/grub.cfg")).is_some_and(|file| file.data.length > 0);
    let second =
        matches!(found.distro.family(), Family::Fedora | Family::Suse) || files.is_directory("boot/grub2") || files.file("usr/sbin/grub2-mkconfig").is_some();
    let preferred =
        if second && !files.is_directory("boot/grub") || matches!(found.distro.family(), Family::Fedora | Family::Suse) { "boot/grub2" } else { "boot/grub" };
    match (has("boot/grub"), has("boot/grub2")) {
        (true, false) => "boot/grub",
        (false, true) => "boot/grub2",
        (false, false) => preferred,
        (true, true) => {
            if files.file("boot/grub/grub.cfg").map(|file| file.node) != files.file("boot/grub2/grub.cfg").map(|file| file.node) {
                changes
                    .notes
                    .push(format!("/boot/grub/grub.cfg and /boot/grub2/grub.cfg are both there; /{preferred} is used, and ImportImage refuses several"));
            }
            preferred
        }
    }
}

/// Says what of a kept configuration does not fit the disk.
fn note_kept(files: &Files<'_>, path: &[u8], options: &Options, ids: &Identities, changes: &mut Changes) -> Result<()> {
    let shown = show(path);
    changes.notes.push(format!("{shown} is kept as the tree has it; remove it from the tree to have one made"));
    let text = files.text(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut roots: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|line| line.starts_with("linux")) {
        roots.extend(cmdline::value(line, "root="));
    }
    for line in text.lines().filter(|line| line.contains("--fs-uuid")) {
        let uuid = line.split_ascii_whitespace().next_back().unwrap_or_default();
        if !uuid.eq_ignore_ascii_case(&ids.root_uuid) && uuid.len() >= 8 && !uuid.contains('$') {
            changes.notes.push(format!("{shown} searches for a filesystem with UUID {}; the root's is {}", escape(uuid.as_bytes()), ids.root_uuid));
            break;
        }
    }
    roots.sort_unstable();
    roots.dedup();
    let foreign = roots.into_iter().filter(|root| !root.contains('$')).find_map(|root| cmdline::foreign_root(&shown, root, ids));
    changes.notes.extend(foreign);
    if options.cmdline.is_some() {
        changes.notes.push(format!("the command line that was asked for is not in {shown}; it is set for the next update-grub"));
    }
    if options.import_image && text.contains("blscfg") && files.names("boot/loader/entries").next().is_none() {
        changes.notes.push(format!("{shown} takes its entries from /boot/loader/entries, which has none: ImportImage will not find the default kernel"));
    }
    Ok(())
}

/// For a GRUB with `blscfg`: an entry a kernel in `/boot/loader/entries`, where the distribution's kernel updates put
/// theirs, and an environment block that names the default. The lines for the configuration are returned.
fn bls(files: &Files<'_>, found: &Found, kernels: &[&Kernel], cmdline: &str, folder: &str, changes: &mut Changes) -> Result<String> {
    let token = match files.text("etc/machine-id")? {
        Some(id) if id.trim_ascii().len() == 32 && id.trim_ascii().iter().all(u8::is_ascii_hexdigit) => String::from_utf8_lossy(id.trim_ascii()).into_owned(),
        _ => found.distro.entry_token(),
    };
    let mut default = None;
    for kernel in kernels {
        let version = entries::file_name_part(&kernel.version);
        let end = format!("-{version}.conf");
        // An entry that the kernel's package made while the tree was built names the build machine's root.
        let old = files.names("boot/loader/entries").find(|name| name.ends_with(end.as_bytes()));
        let name = old.map_or_else(|| format!("{token}{end}"), |name| String::from_utf8_lossy(name).into_owned());
        default.get_or_insert_with(|| name.trim_end_matches(".conf").to_owned());
        let initramfs = kernel.initramfs.as_ref().map(|file| format!("/{}", String::from_utf8_lossy(&file.path)));
        let linux = format!("/{}", String::from_utf8_lossy(&kernel.file.path));
        let text = entries::entry(&found.distro, &kernel.version, &linux, initramfs.as_deref(), cmdline);
        changes.write(files, &format!("boot/loader/entries/{name}"), text);
    }
    let environment = format!("{folder}/grubenv");
    if let Some(default) = default.filter(|_| files.file(&environment).is_none()) {
        let mut block = format!("# GRUB Environment Block\nsaved_entry={default}\n").into_bytes();
        block.resize(ENVIRONMENT_BYTES.max(block.len()), b'#');
        changes.write(files, &environment, block);
    }
    Ok("if [ -s $prefix/grubenv ]; then\n\tload_env\nfi\nif [ \"x$saved_entry\" != x ]; then\n\tset default=\"$saved_entry\"\nfi\n\
        set blsdir=/boot/loader/entries\ninsmod blscfg\nblscfg\n"
        .to_owned())
}

/// Puts the command line where the next update-grub, grub2-mkconfig or kernel-install reads it.
fn set_for_updates(files: &Files<'_>, found: &Found, cmdline: &str, blscfg: bool, changes: &mut Changes) -> Result<()> {
    let quoted = cmdline::for_shell(cmdline);
    // Emptied, because grub-mkconfig would add it behind the other.
    let lines = format!("# The kernel command line with which the disk was made.\nGRUB_CMDLINE_LINUX={quoted}\nGRUB_CMDLINE_LINUX_DEFAULT=\n");
    if reads_fragments(files, found)? {
        changes.write(files, "etc/default/grub.d/50-rootvol.cfg", lines.into_bytes());
    } else {
        // It is a script: the last assignment counts.
        let mut text = files.text("etc/default/grub")?.unwrap_or_default();
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        if text.is_empty() && blscfg {
            text.extend_from_slice(b"GRUB_ENABLE_BLSCFG=true\n");
        }
        text.extend_from_slice(lines.as_bytes());
        changes.write(files, "etc/default/grub", text);
    }
    if blscfg {
        changes.write(files, "etc/kernel/cmdline", cmdline::line(cmdline));
    }
    Ok(())
}

/// Whether grub-mkconfig reads `/etc/default/grub.d`: its script says so; without it, Debian's does.
fn reads_fragments(files: &Files<'_>, found: &Found) -> Result<bool> {
    for path in ["usr/sbin/grub-mkconfig", "usr/sbin/grub2-mkconfig", "usr/bin/grub-mkconfig", "usr/bin/grub2-mkconfig", "sbin/grub-mkconfig"] {
        if let Some(file) = files.file(path) {
            return super::loader::contains(files, &file, b"default/grub.d");
        }
    }
    Ok(found.distro.family() == Family::Debian || files.is_directory("etc/default/grub.d"))
}

/// Reads the image's strings: `/EFI/debian` as a whole C string is its built-in prefix.
fn strings_of(files: &Files<'_>, grub: &Grub) -> Result<Strings> {
    const PREFIX: &[u8] = b"/EFI/";
    const NAME_MAX_BYTES: usize = 32;
    let mut strings = Strings { vendors: BTreeSet::new(), blscfg: false };
    files.search(&grub.image, 64, |window| {
        strings.blscfg |= position_of(window, b"blscfg").is_some();
        let mut rest = window;
        while let Some(at) = position_of(rest, PREFIX) {
            let before = at.checked_sub(1).map(|at| rest[at]);
            rest = &rest[at + PREFIX.len()..];
            let name = rest.iter().take(NAME_MAX_BYTES).take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count();
            let whole = matches!(before, None | Some(0 | b')')) && rest.get(name) == Some(&0);
            let text = String::from_utf8_lossy(&rest[..name]).into_owned();
            if whole && name > 0 && !text.starts_with('.') && !text.eq_ignore_ascii_case("BOOT") && strings.vendors.len() < VENDORS_MAX {
                strings.vendors.insert(text);
            }
        }
        true
    })?;
    Ok(strings)
}
