//! Boot: what a root tree needs so that firmware, loader, kernel and init find each other, and what goes on the EFI
//! system partition (UEFI specification, section 13.3).
//!
//! A pure function of tree and contents. [`find`] says what the tree has; [`prepare`] takes the loader and makes two
//! trees of one: the root, with fstab, loader configuration and command line, and the ESP.
//!
//! ```text
//!            find                    prepare
//!  Tree ───► kernels, initramfs ───► root:  /etc/fstab  /boot/grub/grub.cfg  /etc/default/grub.d  /etc/kernel/cmdline
//!            loaders                 ESP:   \EFI\BOOT\BOOTX64.EFI …
//! ```
//!
//! Refused, as [`ErrorKind::NotBootable`](crate::ErrorKind::NotBootable): a tree without kernel or without UEFI
//! loader; loaders for BIOS alone. Kernels and loaders of a different architecture never go together.

mod changes;
pub(crate) mod cmdline;
pub(crate) mod distro;
mod entries;
mod esp;
pub(crate) mod files;
pub(crate) mod find;
mod fstab;
mod grub;
mod kernel;
pub(crate) mod loader;
mod mend;
mod options;
pub(crate) mod pe;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod version;

pub use crate::report::Architecture;
pub use files::TreeFile;
pub use find::{Found, FoundLoader, find};
pub use kernel::Kernel;
pub use mend::mend;
pub use options::{Identities, InitramfsChoice, LoaderChoice, Mount, Options, RootBy};

use crate::content::{ContentStore, Contents};
use crate::error::{Error, Result};
use crate::report::BootSummary;
use crate::tree::Tree;
use changes::Changes;
use files::{Files, show, trim};
use find::Taken;

/// A tree that boots.
#[derive(Debug)]
pub struct Prepared {
    /// The root filesystem.
    pub root: Tree,
    /// The EFI system partition.
    pub esp: Tree,
    /// Where the running system mounts the ESP: a path in `root`, without leading slash.
    pub esp_mount_point: Vec<u8>,
    /// The processor that it boots on.
    pub architecture: Architecture,
    /// How it boots.
    pub summary: BootSummary,
    /// What a person should know: what was taken, made, kept, found odd.
    pub notes: Vec<String>,
}

/// Where the running system mounts the ESP: the options' word, else fstab's, else the tree's `/boot/efi` or `/efi`,
/// else `/boot/efi`. Without leading slash, links followed.
///
/// # Errors
/// A path that is no directory, or the root; those of reading.
pub fn esp_mount_point(tree: &Tree, contents: &dyn Contents, options: &Options) -> Result<Vec<u8>> {
    let files = Files::new(tree, contents);
    let of_fstab = || fstab::esp_mount_point(&files);
    let given = match &options.esp_mount_point {
        Some(path) => Some(path.clone()),
        None => of_fstab()?,
    };
    let path = given.unwrap_or_else(|| if !files.is_directory("boot/efi") && files.is_directory("efi") { b"efi".to_vec() } else { b"boot/efi".to_vec() });
    let parts = crate::tree::split_path(&path)?;
    if parts.is_empty() {
        return Err(Error::invalid("the EFI system partition cannot be mounted at /"));
    }
    match tree.resolve(&path) {
        Some(node) if tree.node(node).is_directory() => Ok(tree.path_of(node)),
        Some(_) => Err(Error::invalid("the mount point of the EFI system partition is no directory").at_path(path)),
        None => Ok(parts.join(&b'/')),
    }
}

/// Makes a tree bootable: takes a loader, writes what it needs, parts the ESP from the root.
///
/// `tree` is the whole system; what it has beneath the ESP's mount point goes to the ESP. A caller who has taken that
/// out already passes it as `taken_esp`. Contents that are made are added to `contents`; kernels and loaders on the ESP
/// share the [`ContentId`](crate::ContentId) of their files.
///
/// # Errors
/// [`NotBootable`](crate::ErrorKind::NotBootable) with what was looked for, what was found and what to install;
/// options that contradict the tree or each other; those of reading.
pub fn prepare(tree: Tree, taken_esp: Option<&Tree>, contents: &mut ContentStore, options: &Options, ids: &Identities) -> Result<Prepared> {
    let mount_point = esp_mount_point(&tree, contents, options)?;
    let tree = match taken_esp {
        Some(esp) => esp::graft(tree, esp, &mount_point)?,
        None => tree,
    };
    let options = &Options { esp_mount_point: Some(mount_point.clone()), ..options.clone() };
    let found = find(&tree, contents, options)?;
    let selection = found.select(options)?;
    let files = Files::new(&tree, contents);
    let mut changes = Changes::default();
    let (loader, loader_path, cmdline) = match selection.taken {
        Taken::Grub(grub) => {
            let beneath = |path: &[u8]| path.strip_prefix(&mount_point[..]).is_some_and(|rest| rest.starts_with(b"/"));
            if mount_point == b"boot" || selection.kernels.iter().any(|kernel| beneath(&kernel.file.path)) {
                return Err(Error::unsupported(format!(
                    "GRUB with the ESP at {}: its kernels and configuration must lie in the root; mount the ESP at /boot/efi",
                    show(&mount_point)
                )));
            }
            let cmdline = grub::prepare(&files, &found, grub, &selection.kernels, options, ids, &mut changes)?;
            ("grub", grub.image.shown(), cmdline)
        }
        Taken::Uki(uki, loader) => {
            entries::prepare_uki(&files, uki, loader, options, ids, &mount_point, &mut changes)?;
            ("uki", uki.image.shown(), None)
        }
        Taken::SystemdBoot(loader) => {
            let cmdline = entries::prepare(&files, &found, loader, &selection.kernels, options, ids, &mut changes)?;
            ("systemd-boot", loader.image.shown(), Some(cmdline))
        }
    };
    let fstab = fstab::decide(&files, ids, &mount_point)?;
    changes.notes.extend(fstab.notes);
    if let Some(text) = fstab.text {
        changes.write(&files, "etc/fstab", text);
    }
    note_init(&tree, cmdline.as_deref(), &mut changes);
    let kernel = selection.kernels.first();
    changes.notes.extend(kernel.and_then(|kernel| kernel::without_initramfs(kernel)));
    let summary = BootSummary {
        mode: "uefi".to_owned(),
        architecture: selection.architecture.name().to_owned(),
        loader: loader.to_owned(),
        loader_path,
        kernel: kernel.map(|kernel| kernel.file.shown()),
        initramfs: kernel.and_then(|kernel| kernel.initramfs.as_ref()).map(TreeFile::shown),
        cmdline,
        grub_packages: if loader == "grub" { Vec::new() } else { found.distro.grub_packages(selection.architecture) },
    };
    let architecture = selection.architecture;
    let (root, esp, notes) = changes.apply(tree, trim(&mount_point), contents, ids.epoch)?;
    Ok(Prepared { root, esp, esp_mount_point: mount_point, architecture, summary, notes })
}

/// Containers' trees often have no init; the kernel would stop with a panic.
fn note_init(tree: &Tree, cmdline: Option<&str>, changes: &mut Changes) {
    let named = cmdline.is_some_and(|cmdline| cmdline::has(cmdline, "init="));
    if !named && ["sbin/init", "etc/init", "bin/init", "usr/lib/systemd/systemd"].iter().all(|path| tree.resolve(path).is_none()) {
        changes.notes.push("the tree has no /sbin/init: the kernel will have nothing to start (install systemd-sysv or another init)".to_owned());
    }
}
