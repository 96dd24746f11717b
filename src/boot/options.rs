//! What the caller chooses, and the identifiers that the planner has given.

use crate::error::{Error, Result};
use crate::tree::Timestamp;
use std::fmt;
use std::str::FromStr;

/// Whether a disk is made to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// UEFI, from an EFI system partition.
    Uefi,
    /// A data disk.
    None,
}

/// Which loader starts the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoaderChoice {
    /// GRUB, else a UKI, else systemd-boot: the first that the tree has.
    #[default]
    Auto,
    /// GRUB, behind the shim where the tree has a signed pair.
    Grub,
    /// A unified kernel image.
    Uki,
    /// systemd-boot with one entry a kernel.
    SystemdBoot,
}

impl LoaderChoice {
    /// The word in recipes: `auto`, `grub`, `uki` or `systemd-boot`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Grub => "grub",
            Self::Uki => "uki",
            Self::SystemdBoot => "systemd-boot",
        }
    }
}

/// How the command line names the root filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootBy {
    /// `root=PARTUUID=…`: the kernel finds it alone.
    #[default]
    PartUuid,
    /// `root=UUID=…`: an initramfs must find it.
    Uuid,
    /// `root=LABEL=…`: an initramfs must find it.
    Label,
    /// Nothing is added.
    None,
}

/// The processor that a disk boots on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// Both, in the order in which they are looked for.
    pub(super) const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// EC2's name: `x86_64` or `arm64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// UEFI's suffix in file names, lower case (UEFI specification, section 3.5.1.1).
    pub(super) const fn efi_suffix(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Arm64 => "aa64",
        }
    }

    /// The file that firmware starts from a disk it knows nothing of (UEFI specification, section 3.5.1.1).
    pub(super) const fn fallback_name(self) -> &'static str {
        match self {
            Self::X86_64 => "BOOTX64.EFI",
            Self::Arm64 => "BOOTAA64.EFI",
        }
    }

    /// GRUB's name of the platform.
    pub(super) const fn grub_platform(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-efi",
            Self::Arm64 => "arm64-efi",
        }
    }

    /// The kernel's name, as `uname -m` and SUSE's folders have it.
    pub(super) const fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads one of a few words.
fn one_of<T: Copy>(what: &str, text: &str, words: &[(&str, T)]) -> Result<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Error::invalid(format!("{text:?} is not a {what}: one of {} was expected", known.join(", ")))
    })
}

impl FromStr for Mode {
    type Err = Error;

    /// Reads `uefi` or `none`.
    fn from_str(text: &str) -> Result<Self> {
        one_of("boot mode", text, &[("uefi", Self::Uefi), ("none", Self::None)])
    }
}

impl FromStr for LoaderChoice {
    type Err = Error;

    /// Reads `auto`, `grub`, `uki` or `systemd-boot`.
    fn from_str(text: &str) -> Result<Self> {
        one_of("loader", text, &[("auto", Self::Auto), ("grub", Self::Grub), ("uki", Self::Uki), ("systemd-boot", Self::SystemdBoot)])
    }
}

impl FromStr for RootBy {
    type Err = Error;

    /// Reads `partuuid`, `uuid`, `label` or `none`.
    fn from_str(text: &str) -> Result<Self> {
        one_of("way to name the root", text, &[("partuuid", Self::PartUuid), ("uuid", Self::Uuid), ("label", Self::Label), ("none", Self::None)])
    }
}

impl FromStr for Architecture {
    type Err = Error;

    /// Reads `x86_64` or `arm64`.
    fn from_str(text: &str) -> Result<Self> {
        one_of("architecture", text, &[("x86_64", Self::X86_64), ("arm64", Self::Arm64)])
    }
}

/// Which initramfs goes with the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InitramfsChoice {
    /// The one whose name has the kernel's version, if the tree has it.
    #[default]
    Auto,
    /// None, even if the tree has one.
    None,
    /// This file of the tree.
    Path(Vec<u8>),
}

/// How the disk is to boot. All paths are paths in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Which loader.
    pub loader: LoaderChoice,
    /// The kernel command line; `None` takes the tree's, else a default.
    pub cmdline: Option<String>,
    /// What is added to a command line without `root=`.
    pub root: RootBy,
    /// The kernel; `None` takes the newest.
    pub kernel: Option<Vec<u8>>,
    /// The initramfs.
    pub initramfs: InitramfsChoice,
    /// The loader's EFI image: GRUB, systemd-boot or a UKI.
    pub loader_path: Option<Vec<u8>>,
    /// The UKI.
    pub uki: Option<Vec<u8>>,
    /// The architecture that the disk is registered with; a kernel or loader that contradicts it is an error.
    pub architecture: Option<Architecture>,
    /// Where the running system mounts the ESP; `None` takes the tree's place, else `/boot/efi`.
    pub esp_mount_point: Option<Vec<u8>>,
    /// Whether an ImportImage document is wanted, which GRUB alone satisfies.
    pub import_image: bool,
}

/// The identifiers of the disk that its own files must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    /// The root partition's own identifier as the kernel writes it: a GUID, or `xxxxxxxx-nn` under an MBR.
    pub root_partuuid: String,
    /// UUID of the root filesystem.
    pub root_uuid: String,
    /// Label of the root filesystem.
    pub root_label: String,
    /// Type of the root filesystem, as fstab has it: `ext4`.
    pub root_filesystem: String,
    /// Volume id of the ESP as `XXXX-XXXX`.
    pub esp_uuid: String,
    /// Further filesystems for fstab.
    pub mounts: Vec<Mount>,
    /// The time of files that are made here.
    pub epoch: Timestamp,
}

/// A line of fstab (fstab(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: `UUID=…`.
    pub what: String,
    /// Where.
    pub mount_point: String,
    /// The filesystem's type.
    pub filesystem: String,
    /// Mount options.
    pub options: String,
    /// When fsck checks it: 0 never, 1 first, 2 after that.
    pub pass: u8,
}
