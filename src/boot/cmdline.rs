//! The kernel command line: where it comes from, what is added, how others must quote it.
//!
//! The caller's, else the tree's (`/etc/kernel/cmdline`, `/usr/lib/kernel/cmdline`, `/etc/default/grub` with
//! `/etc/default/grub.d`), else a default. `root=` is added unless it is there.

use super::distro::assignments;
use super::files::{Files, TEXT_MAX_BYTES};
use super::{Architecture, Identities, RootBy};
use crate::error::{Error, Result, escape};
use crate::units::u64_of;

/// The kernel's COMMAND_LINE_SIZE on x86_64 and arm64, with the NUL at its end.
const CMDLINE_MAX_BYTES: usize = 2048 - 1;

/// A command line and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cmdline {
    pub(super) text: String,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// EC2's serial console is ttyS0 on both architectures (on Graviton a 16550 behind ACPI); QEMU's arm64 machine has
/// ttyAMA0. A console that is not there does no harm, and the last one that is becomes /dev/console.
fn default_for(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "rw console=ttyS0",
        Architecture::Arm64 => "rw console=ttyAMA0 console=ttyS0",
    }
}

/// Decides the command line.
///
/// # Errors
/// Control characters, over 2,047 bytes; `root=UUID=` or `root=LABEL=` for a kernel without initramfs, which cannot
/// find it; those of reading.
pub(super) fn decide(
    files: &Files<'_>,
    given: Option<&str>,
    root: RootBy,
    ids: &Identities,
    architecture: Architecture,
    has_initramfs: bool,
) -> Result<Cmdline> {
    let mut notes = Vec::new();
    let text = match given {
        Some(text) => text.trim().to_owned(),
        None => match of_tree(files, &mut notes)? {
            Some((text, source)) => {
                let mut text = text;
                // EC2 shows what goes to the serial console, and nothing else.
                if !has(&text, "console=") {
                    text = format!("{text} console=ttyS0").trim_start().to_owned();
                    notes.push(format!("the kernel command line is that of {source}, with console=ttyS0 added for EC2's serial console"));
                } else {
                    notes.push(format!("the kernel command line is that of {source}"));
                }
                text
            }
            None => default_for(architecture).to_owned(),
        },
    };
    if let Some(root) = value(&text, "root=") {
        notes.extend(foreign_root("the kernel command line", root, ids));
    }
    let (root_argument, needs_initramfs) = match root {
        _ if has(&text, "root=") => (None, false),
        RootBy::PartUuid => (Some(format!("root=PARTUUID={}", ids.root_partuuid)), false),
        RootBy::Uuid => (Some(format!("root=UUID={}", ids.root_uuid)), true),
        RootBy::Label => (Some(format!("root=LABEL={}", ids.root_label)), true),
        RootBy::None => (None, false),
    };
    if needs_initramfs && !has_initramfs {
        return Err(Error::invalid("the kernel alone finds its root by PARTUUID only; UUID and LABEL need an initramfs, and there is none for it"));
    }
    let text = match root_argument {
        Some(root) => format!("{root} {text}").trim_end().to_owned(),
        None => text,
    };
    check(&text)?;
    Ok(Cmdline { text, notes })
}

fn check(text: &str) -> Result<()> {
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("the kernel command line has the control character {}", escape(bad.to_string().as_bytes()))));
    }
    if text.len() > CMDLINE_MAX_BYTES {
        return Err(Error::limit(format!("a kernel command line of {} bytes; the kernel takes at most {CMDLINE_MAX_BYTES}", text.len())));
    }
    Ok(())
}

/// The tree's own command line and where it stands.
fn of_tree(files: &Files<'_>, notes: &mut Vec<String>) -> Result<Option<(String, &'static str)>> {
    for (path, source) in [("etc/kernel/cmdline", "/etc/kernel/cmdline"), ("usr/lib/kernel/cmdline", "/usr/lib/kernel/cmdline")] {
        let words = files.text(path)?.map(|text| one_line(&text)).filter(|text| !text.is_empty());
        if let Some(text) = words {
            return Ok(Some((text, source)));
        }
    }
    let mut text = files.text("etc/default/grub")?.unwrap_or_default();
    for name in files.names("etc/default/grub.d").filter(|name| name.ends_with(b".cfg")) {
        text.push(b'\n');
        text.extend(files.text([b"etc/default/grub.d/", name].concat())?.unwrap_or_default());
        if u64_of(text.len()) > TEXT_MAX_BYTES {
            return Err(Error::limit(format!("settings for GRUB of over {TEXT_MAX_BYTES} bytes")).at_path("etc/default/grub.d"));
        }
    }
    let last = |key: &str| assignments(&text).filter(|(name, _)| *name == key).last().map(|(_, value)| one_line(&value)).unwrap_or_default();
    let both = format!("{} {}", last("GRUB_CMDLINE_LINUX"), last("GRUB_CMDLINE_LINUX_DEFAULT"));
    let both = both.trim();
    if both.contains(['$', '`']) {
        notes.push("the kernel command line in /etc/default/grub needs a shell to be worked out; it is not taken".to_owned());
        return Ok(None);
    }
    Ok((!both.is_empty()).then(|| (both.to_owned(), "/etc/default/grub")))
}

/// The words of a text with one space between them; what is not text is dropped with its word.
fn one_line(text: &[u8]) -> String {
    let words = text.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether an argument begins with `key`.
pub(crate) fn has(text: &str, key: &str) -> bool {
    value(text, key).is_some()
}

/// The value of the last argument that begins with `key`, as the kernel takes it.
pub(crate) fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.split_ascii_whitespace().filter_map(|word| word.trim_matches('"').strip_prefix(key)).next_back()
}

/// A note if `root` (`UUID=…`, `/dev/…`) is not a name of this disk's root.
pub(super) fn foreign_root(place: &str, root: &str, ids: &Identities) -> Option<String> {
    let root = root.trim_matches('"');
    let same = |key: &str, own: &str| root.strip_prefix(key).is_some_and(|value| value.eq_ignore_ascii_case(own));
    if same("PARTUUID=", &ids.root_partuuid) || same("UUID=", &ids.root_uuid) || root.strip_prefix("LABEL=") == Some(&ids.root_label) {
        return None;
    }
    Some(format!(
        "{place} names the root as {}, which this disk is not known by (PARTUUID={}, UUID={}, LABEL={})",
        escape(root.as_bytes()),
        ids.root_partuuid,
        ids.root_uuid,
        escape(ids.root_label.as_bytes())
    ))
}

/// The command line as arguments of GRUB's command `linux` (GRUB manual, "Quoting"): words of plain characters as
/// they are, others in single quotes. GRUB puts a word with a space in double quotes again, as the kernel reads it.
pub(super) fn for_grub(text: &str) -> String {
    words(text).iter().map(|word| grub_word(word)).collect::<Vec<_>>().join(" ")
}

/// One word of GRUB's script.
pub(super) fn grub_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=._,:/@%+-^".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The kernel's own reading: spaces part words, double quotes keep them together.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            ' ' | '\t' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// The command line as one word of the shell.
pub(super) fn for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text file with one line.
pub(super) fn line(text: &str) -> Vec<u8> {
    debug_assert!(u64_of(text.len()) <= TEXT_MAX_BYTES, "checked when it was decided");
    format!("{text}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_by_their_beginning_and_the_last_one_counts() {
        let text = "noroot=1 root=UUID=a \"root=UUID=b\" quiet";
        assert_eq!(value(text, "root="), Some("UUID=b"));
        assert!(!has(text, "console="));
        assert!(!has("noroot=1", "root="));
    }

    #[test]
    fn words_reach_grub_as_the_kernel_reads_them() {
        for (text, expected) in [
            ("root=PARTUUID=1-2 rw console=ttyS0,115200n8", "root=PARTUUID=1-2 rw console=ttyS0,115200n8"),
            ("a=\"b c\"  d", "'a=b c' d"),
            ("x=$y;z it's", r"'x=$y;z' 'it'\''s'"),
            ("\"\" q", "'' q"),
        ] {
            assert_eq!(for_grub(text), expected, "{text}");
        }
        assert_eq!(for_shell("it's $x"), r"'it'\''s $x'");
    }

    #[test]
    fn control_characters_and_long_lines_are_refused() {
        assert!(check("rw\nroot=x").is_err());
        assert!(check(&"x".repeat(2048)).is_err());
        check(&"x".repeat(2047)).unwrap();
    }
}
