//! Finding kernels and the initramfs of each.
//!
//! Looked at: `/boot/vmlinuz-VERSION` and its relations, `/boot/vmlinuz` and its relations without version,
//! `/usr/lib/modules/VERSION/vmlinuz`. A version that lies in several places counts once, `/boot` first. Rescue
//! kernels, backups and what package managers put aside are passed over.

use super::InitramfsChoice;
use super::files::{Files, MATCHES_MAX, TreeFile, show};
use super::pe::{self, KernelImage};
use super::version;
use crate::error::{Error, Result};

/// What stands before the version in a kernel's name in `/boot`.
const PREFIXES: [&str; 6] = ["vmlinuz-", "Image-", "bzImage-", "kernel-", "vmlinux-", "linux-"];
/// Kernels without version.
const PLAIN: [&str; 4] = ["vmlinuz", "Image", "bzImage", "vmlinuz.efi"];
/// Names of an initramfs; `*` is the version.
const INITRAMFS: [&str; 8] =
    ["initrd.img-*", "initramfs-*.img", "initrd-*", "initrd-*.img", "initramfs-*", "initramfs-genkernel-*", "initrd-*.gz", "initramfs-*.img.zst"];
/// Names of an initramfs without version.
const PLAIN_INITRAMFS: [&str; 5] = ["initrd.img", "initramfs.img", "initramfs", "initrd", "initrd.gz"];

/// A kernel of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel's file.
    pub file: TreeFile,
    /// Its version, from its name; empty if the name has none.
    pub version: Vec<u8>,
    /// The processor it runs on.
    pub architecture: super::Architecture,
    /// Whether firmware can start it by itself, as systemd-boot does.
    pub efi_stub: bool,
    /// The initramfs that goes with it.
    pub initramfs: Option<TreeFile>,
}

/// All kernels, the newest first, and what looked like one but is none.
pub(super) struct Kernels {
    pub(super) kernels: Vec<Kernel>,
    pub(super) odd: Vec<String>,
}

/// Finds the kernels of the tree, or only the one that is named.
///
/// # Errors
/// A named file that is missing or no kernel; those of reading.
pub(super) fn find(files: &Files<'_>, named: Option<&[u8]>, initramfs: &InitramfsChoice) -> Result<Kernels> {
    let mut found = Kernels { kernels: Vec::new(), odd: Vec::new() };
    if let Some(path) = named {
        let file = files.file(path).ok_or_else(|| Error::invalid("no such file in the tree; it was named as the kernel").at_path(path))?;
        check_name(&file)?;
        let version = version_of(&file);
        let image = pe::inspect_kernel(files, &file)?.map_err(|why| Error::invalid(format!("named as the kernel, but it is {why}")).at_path(path))?;
        found.kernels.push(kernel(files, file, version, image));
    } else {
        for (file, version) in candidates(files) {
            if !fits_configuration(&file) {
                found.odd.push(format!("{}: a name that no loader's configuration can hold", file.shown()));
                continue;
            }
            match pe::inspect_kernel(files, &file)? {
                Ok(image) => found.kernels.push(kernel(files, file, version, image)),
                Err(why) => found.odd.push(format!("{}: {why}", file.shown())),
            }
        }
        found.kernels.sort_by(|a, b| version::compare(&b.version, &a.version));
        // Stable, so /boot stays before /usr/lib/modules; one node under two names is one kernel.
        found.kernels.dedup_by(|later, kept| later.version == kept.version && later.architecture == kept.architecture);
        let mut seen = Vec::new();
        found.kernels.retain(|kernel| {
            !seen.contains(&kernel.file.node) && {
                seen.push(kernel.file.node);
                true
            }
        });
    }
    for kernel in &mut found.kernels {
        kernel.initramfs.take_if(|file| !fits_configuration(file));
    }
    match initramfs {
        InitramfsChoice::Auto => {}
        InitramfsChoice::None => found.kernels.iter_mut().for_each(|kernel| kernel.initramfs = None),
        InitramfsChoice::Path(path) => {
            let file = files.file(path).ok_or_else(|| Error::invalid("no such file in the tree; it was named as the initramfs").at_path(path))?;
            check_name(&file)?;
            found.kernels.truncate(1);
            found.kernels.iter_mut().for_each(|kernel| kernel.initramfs = Some(file.clone()));
        }
    }
    Ok(found)
}

/// Whether a path can stand in a loader's configuration: text, and nothing that ends a line.
fn fits_configuration(file: &TreeFile) -> bool {
    std::str::from_utf8(&file.path).is_ok_and(|path| !path.chars().any(char::is_control))
}

fn check_name(file: &TreeFile) -> Result<()> {
    if fits_configuration(file) { Ok(()) } else { Err(Error::invalid("a name that no loader's configuration can hold").at_path(&file.path)) }
}

fn kernel(files: &Files<'_>, file: TreeFile, version: Vec<u8>, image: KernelImage) -> Kernel {
    let initramfs = initramfs_of(files, &file, &version);
    Kernel { file, version, architecture: image.architecture, efi_stub: image.efi_stub, initramfs }
}

/// Files that are kernels by their names, with their versions.
fn candidates(files: &Files<'_>) -> Vec<(TreeFile, Vec<u8>)> {
    let mut all = Vec::new();
    for name in files.names("boot") {
        let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes())) || PLAIN.iter().any(|plain| name == plain.as_bytes());
        if !known || put_aside(name) {
            continue;
        }
        if let Some(file) = files.file([b"boot/", name].concat()) {
            // /boot/vmlinuz is often a link to the newest; the version is in the name that it leads to.
            let version = version_of(&file);
            all.push((file, version));
        }
    }
    for modules in ["usr/lib/modules", "lib/modules"] {
        for version in files.names(modules) {
            let folder = [modules.as_bytes(), b"/", version].concat();
            if let Some(file) = files.file([&folder[..], b"/vmlinuz"].concat()) {
                all.push((stable_name(files, &folder).unwrap_or(file), version.to_vec()));
            }
        }
    }
    all.retain(|(file, _)| file.data.length > 0);
    all.sort_by(|a, b| version::compare(&b.1, &a.1));
    all.truncate(MATCHES_MAX);
    all
}

/// Arch keeps `/boot/vmlinuz-PKGBASE` in step with the kernel of the modules; that name outlives updates.
fn stable_name(files: &Files<'_>, modules: &[u8]) -> Option<TreeFile> {
    let pkgbase = pkgbase(files, modules)?;
    files.file([b"boot/vmlinuz-", &pkgbase[..]].concat())
}

fn pkgbase(files: &Files<'_>, modules: &[u8]) -> Option<Vec<u8>> {
    let text = files.text([modules, b"/pkgbase"].concat()).ok()??;
    let name = text.trim_ascii().to_vec();
    (!name.is_empty() && !name.contains(&b'/')).then_some(name)
}

fn put_aside(name: &[u8]) -> bool {
    let ends = [".old", ".bak", ".rpmsave", ".rpmnew", ".dpkg-tmp", ".dpkg-new", ".dpkg-old", ".dpkg-bak", ".sig", ".hmac", ".efi.signed"];
    ends.iter().any(|end| name.ends_with(end.as_bytes())) || super::files::position_of(name, b"rescue").is_some()
}

/// The version in a kernel's path: behind the prefix of its name, or the folder of its modules.
fn version_of(file: &TreeFile) -> Vec<u8> {
    let name = file.name();
    if let Some(version) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix.as_bytes())) {
        return version.to_vec();
    }
    let folder = file.folder();
    let modules = [&b"usr/lib/modules/"[..], b"lib/modules/"].iter().find_map(|modules| folder.strip_prefix(*modules));
    modules.map(<[u8]>::to_vec).unwrap_or_default()
}

/// The initramfs that goes with a kernel: beside it, in `/boot`, or with its modules.
fn initramfs_of(files: &Files<'_>, kernel: &TreeFile, version: &[u8]) -> Option<TreeFile> {
    let folders: &[&[u8]] = if kernel.folder() == b"boot" { &[b"boot"] } else { &[kernel.folder(), b"boot"] };
    let modules = [&b"usr/lib/modules/"[..], version].concat();
    let mut versions = vec![version.to_vec()];
    versions.extend(pkgbase(files, &modules).filter(|_| !version.is_empty()));
    // Debian's links, and Arch's kernel by its stable name.
    versions.push(version_of(kernel));
    for folder in folders {
        for version in versions.iter().filter(|version| !version.is_empty()) {
            for pattern in INITRAMFS {
                let (head, tail) = pattern.split_once('*').unwrap_or((pattern, ""));
                let path = [*folder, b"/", head.as_bytes(), version, tail.as_bytes()].concat();
                if let Some(file) = files.file(path).filter(|file| file.data.length > 0) {
                    return Some(file);
                }
            }
        }
    }
    let beside_modules =
        ["initramfs.img", "initrd"].iter().filter(|_| !version.is_empty()).find_map(|name| files.file([&modules[..], b"/", name.as_bytes()].concat()));
    let plain = || PLAIN_INITRAMFS.iter().filter(|_| version.is_empty()).find_map(|name| files.file([kernel.folder(), b"/", name.as_bytes()].concat()));
    beside_modules.or_else(plain).filter(|file| file.data.length > 0)
}

/// What to say of a kernel that has no initramfs.
pub(super) fn without_initramfs(kernel: &Kernel) -> Option<String> {
    let note = || format!("{} starts without initramfs: the drivers of its disk must be built in", show(&kernel.file.path));
    kernel.initramfs.is_none().then(note)
}
