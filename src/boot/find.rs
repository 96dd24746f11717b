//! What the tree has that boots, which of it is taken, and what to say where nothing is.

use super::distro::Distro;
use super::files::{Files, show};
use super::kernel::{self, Kernel};
use super::loader::{self, Grub, Loaders, SystemdBoot, Uki};
use super::{Architecture, LoaderChoice, Options};
use crate::content::Contents;
use crate::error::{Error, ErrorKind, Result};
use crate::tree::Tree;

/// Loaders for BIOS alone, by what packages leave in the tree.
const BIOS_ONLY: [(&str, &str); 6] = [
    ("usr/lib/grub/i386-pc", "grub-pc"),
    ("boot/grub/i386-pc", "grub-pc"),
    ("boot/grub2/i386-pc", "grub2-pc"),
    ("usr/lib/EXTLINUX", "extlinux"),
    ("boot/extlinux", "extlinux"),
    ("etc/lilo.conf", "lilo"),
];

/// What was found in a tree.
#[derive(Debug, Clone)]
pub struct Found {
    /// Kernels, the newest (or the named one) first.
    pub kernels: Vec<Kernel>,
    /// Whatever else says how the tree was meant to boot: loaders for BIOS alone, broken images.
    pub seen: Vec<String>,
    pub(crate) loaders: Loaders,
    pub(super) distro: Distro,
}

/// A boot loader of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLoader {
    /// `grub`, `uki` or `systemd-boot`.
    pub kind: &'static str,
    /// Its path in the tree.
    pub path: String,
    /// The processor it runs on.
    pub architecture: Architecture,
}

impl Found {
    /// The operating system by its own name (os-release(5), `PRETTY_NAME`, else `NAME`); `None` where it does not say.
    #[must_use]
    pub fn system(&self) -> Option<&str> {
        let distro = &self.distro;
        (*distro != Distro::default() && !distro.id.is_empty()).then_some(&distro.pretty_name)
    }

    /// The boot loaders, GRUB first.
    #[must_use]
    pub fn boot_loaders(&self) -> Vec<FoundLoader> {
        let loader = |kind, image: &super::TreeFile, architecture| FoundLoader { kind, path: image.shown(), architecture };
        let Loaders { grubs, ukis, systemd_boots, .. } = &self.loaders;
        let grubs = grubs.iter().map(|grub| loader("grub", &grub.image, grub.architecture));
        let ukis = ukis.iter().map(|uki| loader("uki", &uki.image, uki.architecture));
        grubs.chain(ukis).chain(systemd_boots.iter().map(|boot| loader("systemd-boot", &boot.image, boot.architecture))).collect()
    }
}

/// The loader that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken<'f> {
    Grub(&'f Grub),
    /// With systemd-boot before it, if the tree has it.
    Uki(&'f Uki, Option<&'f SystemdBoot>),
    SystemdBoot(&'f SystemdBoot),
}

/// What the disk boots with.
#[derive(Debug, Clone)]
pub(crate) struct Selection<'f> {
    pub(crate) architecture: Architecture,
    pub(crate) taken: Taken<'f>,
    /// The kernels for the loader's menu; empty for a UKI.
    pub(crate) kernels: Vec<&'f Kernel>,
}

/// Looks for kernels and loaders. Nothing found is no error here: see [`Found::not_bootable`].
///
/// # Errors
/// A named kernel, initramfs, loader or UKI that is not there or is none; those of reading.
pub fn find(tree: &Tree, contents: &dyn Contents, options: &Options) -> Result<Found> {
    let files = Files::new(tree, contents);
    let distro = Distro::read(&files)?;
    let kernel::Kernels { kernels, odd } = kernel::find(&files, options.kernel.as_deref(), &options.initramfs)?;
    let mut loaders = loader::find(&files, options.esp_mount_point.as_deref())?;
    if let Some(path) = &options.uki {
        loader::take_named(&files, &mut loaders, path, LoaderChoice::Uki)?;
    }
    if let Some(path) = &options.loader_path {
        let kind = loader::take_named(&files, &mut loaders, path, options.loader)?;
        // With `auto`, naming a loader chooses it.
        if kind != LoaderChoice::Grub {
            loaders.grubs.clear();
        }
        if kind != LoaderChoice::Uki && options.uki.is_none() {
            loaders.ukis.clear();
        }
    }
    let mut seen: Vec<String> = Vec::new();
    for (path, name) in BIOS_ONLY {
        if tree.resolve(path).is_some() {
            seen.push(format!("{name}: BIOS only ({})", show(path.as_bytes())));
        }
    }
    for architecture in Architecture::ALL {
        let modules = format!("usr/lib/grub/{}", architecture.grub_platform());
        if files.is_directory(&modules) && !loaders.grubs.iter().any(|grub| grub.architecture == architecture) {
            seen.push(format!("{}: GRUB's modules, but no EFI image made of them", show(modules.as_bytes())));
        }
    }
    seen.extend(odd);
    seen.extend(loaders.odd.iter().cloned());
    Ok(Found { kernels, seen, loaders, distro })
}

impl Found {
    /// Whether the tree has a kernel, alone or in a UKI: then it is meant to boot.
    #[must_use]
    pub fn has_kernel(&self) -> bool {
        !self.kernels.is_empty() || !self.loaders.ukis.is_empty()
    }

    /// Whether kernel and loader are there.
    #[must_use]
    pub fn is_bootable(&self, options: &Options) -> bool {
        self.select(options).is_ok()
    }

    /// The architecture that the tree boots on, as far as `options` and the kernels decide it.
    ///
    /// # Errors
    /// Kernels for both and no word which, or a word that the kernels contradict.
    pub fn architecture(&self, options: &Options) -> Result<Option<Architecture>> {
        let of_kernels = self.kernels.iter().map(|kernel| (kernel.architecture, kernel.file.shown()));
        let of_ukis = self.loaders.ukis.iter().map(|uki| (uki.architecture, uki.image.shown()));
        // A UKI carries its kernel; it decides only where there is no other, or where it is named.
        let only_ukis = self.kernels.is_empty() || options.loader == LoaderChoice::Uki || options.uki.is_some();
        let all: Vec<(Architecture, String)> = if only_ukis { of_ukis.collect() } else { of_kernels.collect() };
        let Some((first, shown)) = all.first() else { return Ok(options.architecture) };
        match options.architecture {
            Some(asked) if all.iter().any(|(architecture, _)| *architecture == asked) => Ok(Some(asked)),
            Some(asked) => Err(Error::invalid(format!("the architecture {asked} was asked for, but the kernel {shown} is for {first}"))),
            None => match all.iter().find(|(architecture, _)| architecture != first) {
                Some((other, other_shown)) => Err(Error::invalid(format!(
                    "kernels for two architectures: {shown} ({first}) and {other_shown} ({other}); name the kernel or the architecture"
                ))),
                None => Ok(Some(*first)),
            },
        }
    }

    /// Takes loader and kernels.
    ///
    /// # Errors
    /// [`ErrorKind::NotBootable`] with what was looked for, what was found and what to install; those of
    /// [`Found::architecture`].
    pub(crate) fn select(&self, options: &Options) -> Result<Selection<'_>> {
        let choice = if options.uki.is_some() && options.loader == LoaderChoice::Auto { LoaderChoice::Uki } else { options.loader };
        if options.uki.is_some() && choice != LoaderChoice::Uki {
            return Err(Error::invalid("a UKI is named, but another loader is asked for"));
        }
        let Some(architecture) = self.architecture(options)? else { return Err(self.not_bootable(options)) };
        let kernels: Vec<&Kernel> = self.kernels.iter().filter(|kernel| kernel.architecture == architecture).collect();
        let stubs: Vec<&Kernel> = kernels.iter().copied().filter(|kernel| kernel.efi_stub).collect();
        let systemd_boot = self.loaders.systemd_boots.iter().find(|loader| loader.architecture == architecture);
        let grub = || {
            let grub = self.loaders.grubs.iter().find(|grub| grub.architecture == architecture).filter(|_| !kernels.is_empty())?;
            Some(Selection { architecture, taken: Taken::Grub(grub), kernels: kernels.clone() })
        };
        let uki = || {
            let uki = self.loaders.ukis.iter().find(|uki| uki.architecture == architecture)?;
            Some(Selection { architecture, taken: Taken::Uki(uki, systemd_boot), kernels: Vec::new() })
        };
        let systemd = || {
            let loader = systemd_boot.filter(|_| !stubs.is_empty())?;
            Some(Selection { architecture, taken: Taken::SystemdBoot(loader), kernels: stubs.clone() })
        };
        let taken = match choice {
            LoaderChoice::Auto => grub().or_else(uki).or_else(systemd),
            LoaderChoice::Grub => grub(),
            LoaderChoice::Uki => uki(),
            LoaderChoice::SystemdBoot => systemd(),
        };
        taken.ok_or_else(|| self.not_bootable(options))
    }

    /// The error for a tree that cannot boot as asked: what was looked for, what was found, what mends it.
    #[must_use]
    pub fn not_bootable(&self, options: &Options) -> Error {
        let architecture = options.architecture.or_else(|| self.kernels.first().map(|kernel| kernel.architecture));
        let mut message = String::from("nothing that boots with UEFI");
        match options.loader {
            LoaderChoice::Auto => {}
            LoaderChoice::Grub => message.push_str(" and GRUB"),
            LoaderChoice::Uki => message.push_str(" and a UKI"),
            LoaderChoice::SystemdBoot => message.push_str(" and systemd-boot"),
        }
        message.push_str(" is in the tree. Looked for: ");
        message.push_str(&looked_for(options.loader, architecture).join("; "));
        message.push_str(". Found: ");
        let found = self.found();
        message.push_str(&if found.is_empty() { "neither kernel nor loader".to_owned() } else { found.join("; ") });
        message.push_str(". Install: ");
        message.push_str(&self.distro.packages(architecture).join(" | "));
        Error::new(ErrorKind::NotBootable, message)
    }

    /// What there is, a line a thing.
    fn found(&self) -> Vec<String> {
        let Loaders { grubs, ukis, systemd_boots, .. } = &self.loaders;
        let loaders = grubs.iter().map(|grub| (&grub.image, grub.architecture, "GRUB"));
        let loaders = loaders.chain(systemd_boots.iter().map(|loader| (&loader.image, loader.architecture, "systemd-boot")));
        let loaders: Vec<String> = loaders.map(|(image, architecture, what)| format!("{what} for {architecture} ({})", image.shown())).collect();
        let mut found: Vec<String> = self
            .kernels
            .first()
            .map(|kernel| {
                let stub = if kernel.efi_stub { "" } else { ", which systemd-boot cannot start (no EFI stub)" };
                format!("kernel {} for {}{stub}", kernel.file.shown(), kernel.architecture)
            })
            .into_iter()
            .collect();
        found.extend(ukis.iter().map(|uki| format!("UKI {} for {}", uki.image.shown(), uki.architecture)));
        if found.is_empty() && !loaders.is_empty() {
            found.push("no kernel".to_owned());
        }
        if !found.is_empty() && loaders.is_empty() && ukis.is_empty() {
            found.push("no UEFI loader".to_owned());
        }
        found.extend(loaders);
        found.extend(self.seen.iter().cloned());
        found
    }
}

/// The places, in a line a kind.
fn looked_for(choice: LoaderChoice, architecture: Option<Architecture>) -> Vec<String> {
    let architectures = architecture.map_or(Architecture::ALL.to_vec(), |architecture| vec![architecture]);
    let names = |name: &dyn Fn(&str) -> String| architectures.iter().map(|architecture| name(architecture.efi_suffix())).collect::<Vec<_>>().join(" or ");
    let kernels = "a kernel (/boot/vmlinuz-*, /boot/Image-*, /usr/lib/modules/*/vmlinuz)".to_owned();
    let platforms = architectures.iter().map(|architecture| architecture.grub_platform()).collect::<Vec<_>>().join(" or ");
    let grub =
        format!("GRUB ({} in /usr/lib/grub/{platforms}-signed, /boot/efi/EFI/*, /usr/lib/efi, /usr/share/efi)", names(&|suffix| format!("grub{suffix}.efi")));
    let uki = "a UKI (/boot/efi/EFI/Linux/*.efi, /efi/EFI/Linux/*.efi, /usr/lib/modules/*/*.efi)".to_owned();
    let systemd_boot = format!("systemd-boot ({} in /usr/lib/systemd/boot/efi)", names(&|suffix| format!("systemd-boot{suffix}.efi")));
    match choice {
        LoaderChoice::Auto => vec![kernels, grub, uki, systemd_boot],
        LoaderChoice::Grub => vec![kernels, grub],
        LoaderChoice::Uki => vec![uki],
        LoaderChoice::SystemdBoot => vec![kernels, systemd_boot],
    }
}
