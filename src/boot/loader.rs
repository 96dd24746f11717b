//! Finding loaders: where distributions put shim, GRUB, UKIs and systemd-boot.
//!
//! | loader | places |
//! |---|---|
//! | shim + signed GRUB | Debian, Ubuntu: `/usr/lib/shim`, `/usr/lib/grub/x86_64-efi-signed`; Fedora, RHEL, Amazon: `EFI/VENDOR` beneath the ESP's mount point, `/usr/lib/efi`, `/usr/lib/bootupd/updates`; SUSE: `/usr/share/efi/x86_64` |
//! | GRUB alone | `/usr/lib/grub/x86_64-efi/monolithic`, `/usr/share/grub2/x86_64-efi` |
//! | UKI | `EFI/Linux/*.efi` beneath the ESP's mount point, `/usr/lib/modules/*/*.efi`, `/usr/lib/linux/*.efi` |
//! | systemd-boot | `/usr/lib/systemd/boot/efi`, `EFI/systemd` beneath the ESP's mount point |

use super::files::{Files, TreeFile, position_of};
use super::pe::Pe;
use super::{Architecture, version};
use crate::error::{Error, Result};

/// Where systems mount the ESP, in the order of preference for looking.
pub(crate) const ESP_MOUNT_POINTS: [&str; 3] = ["boot/efi", "efi", "boot"];

/// GRUB's EFI image, with the shim that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grub {
    pub(crate) image: TreeFile,
    /// The name under which the shim looks for it, beside itself.
    pub(crate) name: String,
    pub(crate) shim: Option<TreeFile>,
    /// shim's key manager and its name on the ESP.
    pub(crate) mok_manager: Option<(TreeFile, String)>,
    pub(crate) architecture: Architecture,
    /// The vendor's folder, if the image lies in one.
    pub(crate) vendor: Option<String>,
}

/// A unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uki {
    pub(crate) image: TreeFile,
    pub(crate) architecture: Architecture,
    /// The command line inside.
    pub(crate) cmdline: Option<String>,
}

/// systemd-boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemdBoot {
    pub(crate) image: TreeFile,
    pub(crate) architecture: Architecture,
}

/// Every loader of the tree, for both architectures; in each list the one to prefer first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loaders {
    pub(crate) grubs: Vec<Grub>,
    pub(crate) ukis: Vec<Uki>,
    pub(crate) systemd_boots: Vec<SystemdBoot>,
    /// What looked like a loader but is none.
    pub(crate) odd: Vec<String>,
}

/// Finds the loaders.
///
/// # Errors
/// Those of reading.
pub(super) fn find(files: &Files<'_>, esp_mount_point: Option<&[u8]>) -> Result<Loaders> {
    let given = esp_mount_point.map(|path| String::from_utf8_lossy(super::files::trim(path)).into_owned());
    let mut mounts: Vec<String> = given.into_iter().collect();
    mounts.extend(ESP_MOUNT_POINTS.iter().map(|mount| (*mount).to_owned()));
    mounts.dedup();
    let mut loaders = Loaders::default();
    for architecture in Architecture::ALL {
        find_grub(files, &mounts, architecture, &mut loaders)?;
        find_systemd_boot(files, &mounts, architecture, &mut loaders)?;
    }
    find_ukis(files, &mounts, &mut loaders)?;
    loaders.odd.sort();
    loaders.odd.dedup();
    Ok(loaders)
}

/// Whether `file` is an EFI image for `architecture`; if not, `odd` gets why.
fn is_image(files: &Files<'_>, file: &TreeFile, architecture: Architecture, odd: &mut Vec<String>) -> Result<bool> {
    let why = match Pe::read(files, file)? {
        Some(pe) if pe.architecture == Some(architecture) => return Ok(true),
        Some(pe) => format!("an EFI image for machine 0x{:04x}, where {architecture} was expected", pe.machine),
        None => "no EFI image".to_owned(),
    };
    odd.push(format!("{}: {why}", file.shown()));
    Ok(false)
}

fn first(files: &Files<'_>, paths: impl IntoIterator<Item = String>) -> Option<TreeFile> {
    paths.into_iter().find_map(|path| files.expand(&path, false).into_iter().next_back().filter(|file| file.data.length > 0))
}

fn find_grub(files: &Files<'_>, mounts: &[String], architecture: Architecture, loaders: &mut Loaders) -> Result<()> {
    let (suffix, platform, machine) = (architecture.efi_suffix(), architecture.grub_platform(), architecture.machine());
    // Debian and Ubuntu. Ubuntu's shim comes as .latest and .previous with a link, or none where alternatives did not run.
    let signed = [".efi.signed", ".efi.signed.latest", ".efi.dualsigned"];
    if let Some(image) = first(files, signed.map(|end| format!("usr/lib/grub/{platform}-signed/grub{suffix}{end}"))) {
        let shim = first(files, signed.map(|end| format!("usr/lib/shim/shim{suffix}{end}")));
        let mok = first(files, [".efi.signed", ".efi"].map(|end| format!("usr/lib/shim/mm{suffix}{end}")));
        add_grub(files, loaders, architecture, image, format!("grub{suffix}.efi"), shim, mok, None)?;
    }
    // Fedora and its relatives: a folder a vendor, on the ESP or where packages leave it for the ESP.
    let on_esp = mounts.iter().map(|mount| (format!("{mount}/EFI/*/grub{suffix}.efi"), true));
    let elsewhere = ["usr/lib/efi/grub2/*/EFI/*", "usr/lib/efi/*/EFI/*", "usr/lib/bootupd/updates/EFI/*", "usr/lib/ostree-boot/efi/EFI/*"];
    for (pattern, fold) in on_esp.chain(elsewhere.map(|folder| (format!("{folder}/grub{suffix}.efi"), false))) {
        // The last is the newest where a folder is a version.
        for image in files.expand(&pattern, fold).into_iter().rev().filter(|image| image.data.length > 0) {
            let folder = image.folder().to_vec();
            let vendor = String::from_utf8_lossy(super::files::trim(folder.rsplit(|byte| *byte == b'/').next().unwrap_or_default())).into_owned();
            let vendor = Some(vendor).filter(|vendor| !vendor.eq_ignore_ascii_case("BOOT"));
            let shown = String::from_utf8_lossy(&folder).into_owned();
            let vendor_name = vendor.as_deref().unwrap_or("*");
            let near = [shown, format!("usr/lib/efi/shim/*/EFI/{vendor_name}"), format!("usr/lib/efi/*/EFI/{vendor_name}")];
            let find_near =
                |names: &[String]| near.iter().find_map(|folder| names.iter().find_map(|name| files.expand(&format!("{folder}/{name}"), true).pop()));
            let mut shims = vec![format!("shim{suffix}.efi"), "shim.efi".to_owned()];
            if vendor.is_none() {
                shims.push(architecture.fallback_name().to_owned());
            }
            let (shim, mok) = (find_near(&shims), find_near(&[format!("mm{suffix}.efi")]));
            add_grub(files, loaders, architecture, image, format!("grub{suffix}.efi"), shim, mok, vendor)?;
        }
    }
    // SUSE: its shim looks for grub.efi.
    for folder in [format!("usr/share/efi/{machine}"), "usr/lib64/efi".to_owned()] {
        if let Some(image) = first(files, [format!("{folder}/grub.efi")]) {
            let shim = first(files, ["shim.efi", "shim-sles.efi", "shim-opensuse.efi"].map(|name| format!("{folder}/{name}")));
            let mok = first(files, [format!("{folder}/MokManager.efi")]);
            add_grub(files, loaders, architecture, image, "grub.efi".to_owned(), shim, mok, None)?;
        }
    }
    for path in [
        format!("usr/lib/grub/{platform}/monolithic/grub{suffix}.efi"),
        format!("usr/share/grub2/{platform}/grub.efi"),
        format!("usr/lib/grub2/{platform}/grub.efi"),
    ] {
        if let Some(image) = first(files, [path]) {
            add_grub(files, loaders, architecture, image, format!("grub{suffix}.efi"), None, None, None)?;
        }
    }
    // A signed pair before a lone GRUB, else the order of looking.
    loaders.grubs.sort_by_key(|grub| grub.shim.is_none());
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of a Grub, each found in its own way")]
fn add_grub(
    files: &Files<'_>,
    loaders: &mut Loaders,
    architecture: Architecture,
    image: TreeFile,
    name: String,
    shim: Option<TreeFile>,
    mok: Option<TreeFile>,
    vendor: Option<String>,
) -> Result<()> {
    if loaders.grubs.iter().any(|grub| grub.image.node == image.node) || !is_image(files, &image, architecture, &mut loaders.odd)? {
        return Ok(());
    }
    let shim = match shim {
        Some(shim) if is_image(files, &shim, architecture, &mut loaders.odd)? => Some(shim),
        _ => None,
    };
    let mok_manager = mok.map(|file| {
        let name = String::from_utf8_lossy(file.name()).into_owned();
        (file, name.trim_end_matches(".signed").to_owned())
    });
    loaders.grubs.push(Grub { image, name, mok_manager: mok_manager.filter(|_| shim.is_some()), shim, architecture, vendor });
    Ok(())
}

fn find_systemd_boot(files: &Files<'_>, mounts: &[String], architecture: Architecture, loaders: &mut Loaders) -> Result<()> {
    let name = format!("systemd-boot{}.efi", architecture.efi_suffix());
    let mut paths = vec![(format!("usr/lib/systemd/boot/efi/{name}.signed"), false), (format!("usr/lib/systemd/boot/efi/{name}"), false)];
    paths.extend(mounts.iter().map(|mount| (format!("{mount}/EFI/systemd/{name}"), true)));
    for image in paths.iter().flat_map(|(path, fold)| files.expand(path, *fold)).filter(|image| image.data.length > 0) {
        if is_image(files, &image, architecture, &mut loaders.odd)? {
            loaders.systemd_boots.push(SystemdBoot { image, architecture });
        }
    }
    Ok(())
}

fn find_ukis(files: &Files<'_>, mounts: &[String], loaders: &mut Loaders) -> Result<()> {
    let mut patterns: Vec<(String, bool)> = mounts.iter().map(|mount| (format!("{mount}/EFI/Linux/*.efi"), true)).collect();
    patterns.extend(["usr/lib/modules/*/*.efi", "lib/modules/*/*.efi", "usr/lib/linux/*.efi"].map(|pattern| (pattern.to_owned(), false)));
    patterns.extend(mounts.iter().flat_map(|mount| Architecture::ALL.map(|architecture| (format!("{mount}/EFI/BOOT/{}", architecture.fallback_name()), true))));
    for image in patterns.iter().flat_map(|(pattern, fold)| files.expand(pattern, *fold)) {
        let known = loaders.ukis.iter().any(|uki| uki.image.node == image.node);
        if let Some(uki) = (!known).then(|| uki(files, &image)).transpose()?.flatten() {
            loaders.ukis.push(uki);
        }
    }
    // The version is in the name, or in the folder of the modules; newest first.
    let version = |uki: &Uki| {
        let name = uki.image.name().to_vec();
        let digits = name.iter().position(u8::is_ascii_digit);
        digits.map(|at| name[at..].to_vec()).unwrap_or_else(|| uki.image.folder().rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec())
    };
    loaders.ukis.sort_by(|a, b| version::compare(&version(b), &version(a)));
    Ok(())
}

/// `image` as a UKI; `None` if it is none.
fn uki(files: &Files<'_>, image: &TreeFile) -> Result<Option<Uki>> {
    let Some(pe) = Pe::read(files, image)?.filter(Pe::is_uki) else { return Ok(None) };
    let Some(architecture) = pe.architecture else { return Ok(None) };
    let cmdline = pe.section_text(files, image, b".cmdline")?.map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned());
    Ok(Some(Uki { image: image.clone(), architecture, cmdline }))
}

/// Puts a loader that the caller names in the place of all others of its kind, and says which kind that is.
///
/// # Errors
/// A file that is missing or no EFI image; those of reading.
pub(super) fn take_named(files: &Files<'_>, loaders: &mut Loaders, path: &[u8], what: super::LoaderChoice) -> Result<super::LoaderChoice> {
    use super::LoaderChoice;
    let image = files.file(path).ok_or_else(|| Error::invalid("no such file in the tree; it was named as the loader").at_path(path))?;
    let bad = |why: String| Error::invalid(why).at_path(path);
    let pe = Pe::read(files, &image)?.ok_or_else(|| bad("named as the loader, but it is no EFI image".to_owned()))?;
    let architecture = pe.architecture.ok_or_else(|| bad(format!("an EFI image for machine 0x{:04x}; x86_64 and arm64 boot", pe.machine)))?;
    let kind = if pe.is_uki() {
        LoaderChoice::Uki
    } else if contains(files, &image, b"LoaderInfo: systemd-boot")? {
        LoaderChoice::SystemdBoot
    } else {
        LoaderChoice::Grub
    };
    if what != LoaderChoice::Auto && what != kind {
        return Err(bad(format!("named as the loader {}, but it looks like {}", what.name(), kind.name())));
    }
    match kind {
        LoaderChoice::Uki => loaders.ukis = uki(files, &image)?.into_iter().collect(),
        LoaderChoice::SystemdBoot => loaders.systemd_boots = vec![SystemdBoot { image, architecture }],
        _ => {
            // A GRUB that was found with its shim keeps it; any other is started by the firmware itself.
            let known =
                loaders.grubs.iter().find(|grub| grub.image.node == image.node || grub.shim.as_ref().is_some_and(|shim| shim.node == image.node)).cloned();
            let name = format!("grub{}.efi", architecture.efi_suffix());
            loaders.grubs = vec![known.unwrap_or(Grub { image, name, shim: None, mok_manager: None, architecture, vendor: None })];
        }
    }
    Ok(kind)
}

/// Whether a file has these bytes.
pub(crate) fn contains(files: &Files<'_>, file: &TreeFile, needle: &[u8]) -> Result<bool> {
    let mut found = false;
    files.search(file, crate::units::u64_of(needle.len()), |window| {
        found = position_of(window, needle).is_some();
        !found
    })?;
    Ok(found)
}
