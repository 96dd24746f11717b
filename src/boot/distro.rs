//! Which distribution the tree is (os-release(5)), and what that decides: the folder of its signed GRUB, the names of
//! the packages that make it boot.

use super::Architecture;
use super::files::Files;
use crate::error::Result;

/// Distributions that name their packages alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Debian,
    Fedora,
    Suse,
    Arch,
    Alpine,
    Other,
}

/// What os-release says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Distro {
    /// `ID`, or empty.
    pub(super) id: String,
    /// `ID_LIKE`.
    pub(super) id_like: Vec<String>,
    /// `IMAGE_ID`, or empty.
    pub(super) image_id: String,
    /// `PRETTY_NAME`, else `NAME`, else `Linux`.
    pub(super) pretty_name: String,
}

impl Distro {
    /// Reads `/etc/os-release`, else `/usr/lib/os-release`.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read(files: &Files<'_>) -> Result<Self> {
        let text = match files.text("etc/os-release")? {
            Some(text) => text,
            None => files.text("usr/lib/os-release")?.unwrap_or_default(),
        };
        let value = |key: &str| assignments(&text).filter(|(name, _)| *name == key).last().map(|(_, value)| printable(&value)).unwrap_or_default();
        let pretty_name = [value("PRETTY_NAME"), value("NAME"), "Linux".to_owned()].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        Ok(Self { id: value("ID"), id_like: value("ID_LIKE").split_whitespace().map(str::to_owned).collect(), image_id: value("IMAGE_ID"), pretty_name })
    }

    /// The family, by `ID` first, then by `ID_LIKE`.
    pub(super) fn family(&self) -> Family {
        let known = |id: &str| match id {
            "debian" | "ubuntu" | "raspbian" | "kali" | "linuxmint" => Some(Family::Debian),
            "fedora" | "rhel" | "centos" | "amzn" | "rocky" | "almalinux" | "ol" => Some(Family::Fedora),
            "suse" | "opensuse" | "sles" | "opensuse-leap" | "opensuse-tumbleweed" | "opensuse-microos" | "sle-micro" => Some(Family::Suse),
            "arch" | "archarm" | "manjaro" => Some(Family::Arch),
            "alpine" | "postmarketos" => Some(Family::Alpine),
            _ => None,
        };
        std::iter::once(&self.id).chain(&self.id_like).find_map(|id| known(id)).unwrap_or(Family::Other)
    }

    /// The folder under `\EFI` in which the distribution's GRUB looks, where the image itself does not say it.
    pub(super) fn vendor_folder(&self) -> Option<String> {
        Some(
            match self.id.as_str() {
                "" => return None,
                "rhel" | "ol" => "redhat",
                id if id.starts_with("opensuse") => "opensuse",
                id if id.starts_with("sle") => "sles",
                id => id,
            }
            .to_owned(),
        )
    }

    /// The name under which kernel-install files entries: `IMAGE_ID`, else `ID` (kernel-install(8), entry token), as
    /// far as a file name holds it.
    pub(super) fn entry_token(&self) -> String {
        let fits = |text: &str| {
            !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) && !text.starts_with('.')
        };
        // `EFI` and `loader` are folders of the ESP with a meaning of their own.
        let free = |text: &str| fits(text) && !text.eq_ignore_ascii_case("EFI") && !text.eq_ignore_ascii_case("loader");
        [&self.image_id, &self.id].into_iter().find(|text| free(text)).map_or_else(|| "linux".to_owned(), Clone::clone)
    }

    /// What to install so that the tree boots by GRUB and ImportImage takes it, a line a way; none on arm64, which it refuses, and where no
    /// package brings an EFI image of GRUB.
    pub(super) fn grub_packages(&self, architecture: Architecture) -> Vec<String> {
        if architecture == Architecture::Arm64 {
            return Vec::new();
        }
        let debian = "Debian, Ubuntu: shim-signed grub-efi-amd64-signed".to_owned();
        let fedora = "Fedora, RHEL: shim-x64 grub2-efi-x64 (Amazon Linux 2023: grub2-efi-x64-ec2)".to_owned();
        let suse = "SUSE: shim grub2-x86_64-efi".to_owned();
        match self.family() {
            Family::Debian => vec![debian],
            Family::Fedora => vec![fedora],
            Family::Suse => vec![suse],
            Family::Arch | Family::Alpine => Vec::new(),
            Family::Other => vec![debian, fedora, suse],
        }
    }

    /// What to install so that the tree boots, a line a way.
    pub(super) fn packages(&self, architecture: Option<Architecture>) -> Vec<String> {
        let arm = architecture == Some(Architecture::Arm64);
        let debian = |arch: &str| format!("shim-signed grub-efi-{arch}-signed linux-image-{arch} (Ubuntu: linux-image-aws)");
        let fedora = |suffix: &str| format!("kernel-core shim-{suffix} grub2-efi-{suffix} (Amazon Linux 2023: kernel grub2-efi-{suffix}-ec2, or systemd-boot)");
        let debian = format!("Debian, Ubuntu: {}; or systemd-boot-efi instead of shim and GRUB", debian(if arm { "arm64" } else { "amd64" }));
        let fedora = format!("Fedora, RHEL, Amazon Linux: {}; or systemd-boot-unsigned", fedora(if arm { "aa64" } else { "x64" }));
        let suse = format!("SUSE: kernel-default shim grub2-{}-efi; or systemd-boot", if arm { "arm64" } else { "x86_64" });
        let arch = "Arch: linux systemd (it brings systemd-boot)".to_owned();
        let alpine = "Alpine: linux-virt systemd-boot".to_owned();
        match self.family() {
            Family::Debian => vec![debian],
            Family::Fedora => vec![fedora],
            Family::Suse => vec![suse],
            Family::Arch => vec![arch],
            Family::Alpine => vec![alpine],
            Family::Other => vec![debian, fedora, suse, arch, alpine],
        }
    }
}

/// The `NAME=value` lines of a file in the shell's syntax, as far as values are plain: quotes and backslashes are
/// taken away; nothing is expanded.
pub(crate) fn assignments(text: &[u8]) -> impl Iterator<Item = (&str, Vec<u8>)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"export ").unwrap_or(line).trim_ascii_start();
        let at = line.iter().position(|byte| *byte == b'=')?;
        let name = std::str::from_utf8(&line[..at]).ok()?;
        let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        good.then(|| (name, unquote(&line[at + 1..])))
    })
}

/// The value of a word of the shell, up to the first space outside quotes.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if byte == open => quote = None,
            (b'\\', None | Some(b'"')) => value.extend(bytes.next()),
            (b' ' | b'\t' | b';', None) => break,
            _ => value.push(byte),
        }
    }
    value
}

/// Text for titles: one line, nothing that controls a terminal.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_shell_reads_them() {
        let text = b"# c\nA=1\nB=\"two words\" # c\n C='x\"y' \nexport D=a\\ b\nE=\"a\\\"b\"\nbad-name=1\n=x\nF\nA=2\n";
        let read: Vec<(&str, String)> = assignments(text).map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect();
        let expected = [("A", "1"), ("B", "two words"), ("C", "x\"y"), ("D", "a b"), ("E", "a\"b"), ("A", "2")];
        assert_eq!(read, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn folders_tokens_and_packages_follow_the_distribution() {
        let distro = |id: &str, like: &str| Distro { id: id.into(), id_like: like.split_whitespace().map(str::to_owned).collect(), ..Distro::default() };
        for (id, like, family, folder) in [
            ("debian", "", Family::Debian, "debian"),
            ("pop", "ubuntu debian", Family::Debian, "pop"),
            ("amzn", "fedora", Family::Fedora, "amzn"),
            ("rhel", "fedora", Family::Fedora, "redhat"),
            ("opensuse-leap", "suse opensuse", Family::Suse, "opensuse"),
            ("void", "", Family::Other, "void"),
        ] {
            let distro = distro(id, like);
            assert_eq!(distro.family(), family, "{id}");
            assert_eq!(distro.vendor_folder().as_deref(), Some(folder), "{id}");
        }
        assert_eq!(distro("", "").entry_token(), "linux");
        assert_eq!(distro("efi", "").entry_token(), "linux");
        assert_eq!(distro("../x", "").entry_token(), "linux");
        assert_eq!(distro("debian", "").entry_token(), "debian");
        assert!(distro("debian", "").packages(Some(Architecture::Arm64))[0].contains("grub-efi-arm64-signed"));
    }
}
