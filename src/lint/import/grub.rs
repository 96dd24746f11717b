//! GRUB: one configuration, with a default that can be told.

use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{Family, IMPORT_IMAGE, Rule, Severity};
use crate::lint::subject::{Subject, Text};

static NO_GRUB: Rule = Rule {
    id: "grub-missing",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage demands GRUB: what boots by a UKI or systemd-boot ends as \"No bootable partition found\" or \"Unknown OS / Missing OS files\"",
    mend: "install GRUB (Debian, Ubuntu: shim-signed grub-efi-amd64-signed; Fedora, RHEL: shim-x64 grub2-efi-x64), or go by import-snapshot or the EBS direct API",
    source: "VM Import/Export user guide, prerequisites",
};

static SEVERAL: Rule = Rule {
    id: "grub-several-configurations",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: Multiple different grub/menu.lst files found\"",
    mend: "keep one configuration with menu entries; others may only lead to it (search, set prefix, configfile)",
    source: "VM Import/Export user guide, troubleshooting",
};

static BLS_DEFAULT: Rule = Rule {
    id: "bls-default",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: BLSC-style GRUB found, but unable to detect default kernel\"",
    mend: "grub2-set-default ENTRY, with an entry of /boot/loader/entries: it writes saved_entry to grubenv",
    source: "VM Import/Export user guide, troubleshooting",
};

static BLS_EMPTY: Rule = Rule {
    id: "bls-no-entries",
    family: Family::Import,
    severity: Severity::Error,
    concerns: crate::lint::rule::EVERY,
    why: "GRUB takes its menu from /boot/loader/entries (blscfg): without entries it shows a prompt, and nothing boots",
    mend: "kernel-install add VERSION /usr/lib/modules/VERSION/vmlinuz",
    source: "Boot Loader Specification, type #1; GRUB of Fedora, blscfg",
};

pub(super) const RULES: &[&Rule] = &[&NO_GRUB, &SEVERAL, &BLS_DEFAULT, &BLS_EMPTY];

/// Where configurations of GRUB 2 and of GRUB legacy lie.
const FOLDERS: [&str; 4] = ["boot/grub", "boot/grub2", "grub", "grub2"];
const NAMES: [&str; 3] = ["grub.cfg", "grub.conf", "menu.lst"];
/// Where the EFI system partition is mounted.
const ESPS: [&str; 3] = ["boot/efi", "efi", "boot"];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let configurations = configurations(subject)?;
    let mut menus: Vec<&Text> = configurations.iter().filter(|text| has_menu(text)).collect();
    menus.dedup_by(|a, b| a.bytes() == b.bytes());
    if let [first, others @ ..] = menus.as_slice() {
        for other in others.iter().filter(|other| other.bytes() != first.bytes()) {
            findings.add(&SEVERAL, Place::path(&other.path), format!("it has another menu than /{}", escape(&first.path)));
        }
    }
    // A tree without a disk gets its configuration from `build`, if it has GRUB.
    let has_grub = subject.found.boot_loaders().iter().any(|loader| loader.kind == "grub");
    let missing = if subject.image.is_some() { configurations.is_empty() } else { !has_grub && subject.found.has_kernel() };
    if missing {
        findings.add(&NO_GRUB, Place::Image, "there is no configuration of GRUB and no GRUB that `build` could make one for");
    }
    for text in configurations.iter().filter(|text| text.lines().any(|(_, line)| first_word(line) == b"blscfg")) {
        check_bls(subject, text, findings)?;
    }
    Ok(())
}

/// All configurations, each once.
fn configurations(subject: &Subject<'_>) -> Result<Vec<Text>> {
    let mut all: Vec<Text> = Vec::new();
    let mut take = |path: Vec<u8>| -> Result<()> {
        if let Some(text) = subject.text(path)?
            && all.iter().all(|other| other.path != text.path)
        {
            all.push(text);
        }
        Ok(())
    };
    for folder in FOLDERS {
        for name in NAMES {
            take(format!("{folder}/{name}").into_bytes())?;
        }
    }
    for esp in ESPS {
        let efi = subject.files.names(esp).find(|name| name.eq_ignore_ascii_case(b"EFI"));
        let Some(efi) = efi.map(|name| [esp.as_bytes(), b"/", name].concat()) else { continue };
        let vendors: Vec<&[u8]> = subject.files.names(&efi).take(crate::boot::files::MATCHES_MAX).collect();
        for vendor in vendors {
            for name in NAMES {
                take([&efi[..], b"/", vendor, b"/", name.as_bytes()].concat())?;
            }
        }
    }
    Ok(all)
}

/// Whether it starts a system itself, and does not only lead to another configuration.
fn has_menu(text: &Text) -> bool {
    text.lines().any(|(_, line)| matches!(first_word(line), b"menuentry" | b"linux" | b"linuxefi" | b"linux16" | b"blscfg" | b"kernel"))
}

fn first_word(line: &[u8]) -> &[u8] {
    line.split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// The entries of the Boot Loader Specification, and which of them is the default.
fn check_bls(subject: &Subject<'_>, configuration: &Text, findings: &mut Findings<'_>) -> Result<()> {
    const ENTRIES: &str = "boot/loader/entries";
    let entries: Vec<&[u8]> = subject.files.names(ENTRIES).filter_map(|name| name.strip_suffix(b".conf")).collect();
    if entries.is_empty() {
        // `build` makes entries for a tree that has none.
        if subject.image.is_some() {
            findings.add(&BLS_EMPTY, Place::path(&configuration.path), "it takes its menu from /boot/loader/entries, and there are none");
        }
        return Ok(());
    }
    for path in ["boot/grub2/grubenv", "boot/grub/grubenv", "boot/efi/EFI/fedora/grubenv", "boot/efi/EFI/redhat/grubenv"] {
        let Some(environment) = subject.text(path)? else { continue };
        let saved = environment.lines().find_map(|(line, bytes)| Some((line, bytes.strip_prefix(b"saved_entry=")?)));
        match saved {
            None => findings.add(&BLS_DEFAULT, Place::path(&environment.path), "it has no saved_entry"),
            Some((line, saved)) if !entries.contains(&saved) && !saved.iter().all(u8::is_ascii_digit) => {
                findings.add(&BLS_DEFAULT, Place::line(&environment.path, line), format!("saved_entry is {:?}, and there is no such entry", escape(saved)));
            }
            Some(_) => {}
        }
        return Ok(());
    }
    if subject.image.is_some() {
        findings.add(&BLS_DEFAULT, Place::path(&configuration.path), "there is no grubenv that says which entry is the default");
    }
    Ok(())
}
