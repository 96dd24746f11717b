//! What the caller chooses, and the identifiers that the planner has given.

use super::Architecture;
use crate::error::{Error, Result};
use crate::text::{Text, words};
use crate::tree::Timestamp;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};
use std::str::FromStr;

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

words!(LoaderChoice, "a loader", [Auto = "auto", Grub = "grub", Uki = "uki", SystemdBoot = "systemd-boot"]);

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

words!(RootBy, "a way to name the root", [PartUuid = "partuuid", Uuid = "uuid", Label = "label", None = "none"]);

/// UEFI's, GRUB's and the kernel's names of an architecture.
impl Architecture {
    /// UEFI's suffix in file names, lower case (UEFI specification, section 3.5.1.1).
    pub(crate) const fn efi_suffix(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Arm64 => "aa64",
        }
    }

    /// The file that firmware starts from a disk it knows nothing of (UEFI specification, section 3.5.1.1).
    pub(crate) const fn fallback_name(self) -> &'static str {
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

impl FromStr for InitramfsChoice {
    type Err = Error;

    /// Reads `auto`, `none` or a path.
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "none" => Self::None,
            path => Self::Path(path.as_bytes().to_vec()),
        })
    }
}

impl<'de> Deserialize<'de> for InitramfsChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::new("\"auto\", \"none\" or a path in the tree"))
    }
}

impl Serialize for InitramfsChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Path(path) => serializer.serialize_str(std::str::from_utf8(path).map_err(|_| S::Error::custom("a path that is not UTF-8"))?),
        }
    }
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
