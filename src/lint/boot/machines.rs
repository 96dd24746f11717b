//! What there is to boot, and whether its parts are for one processor: loader, kernel, modules, init.

use super::drivers::Started;
use super::entries::{self, Entries, Entry};
use super::image::head;
use crate::boot::files::TreeFile;
use crate::boot::pe::{self, Pe};
use crate::boot::{self, Architecture};
use crate::compressed::{Compression, Decompressed, Limits};
use crate::error::Result;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use crate::tree::NodeKind;
use byteorder::{ByteOrder as _, LittleEndian};
use std::io::Read as _;

pub(super) static NO_KERNEL: Rule = Rule {
    id: "kernel-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "there is nothing to start: the loader stops with \"file not found\"; ImportImage says \"Unable to determine kernel version\"",
    mend: "install a kernel: Debian: linux-image-cloud-amd64 (arm64: linux-image-arm64); Ubuntu: linux-image-aws; Fedora, RHEL, Amazon Linux: kernel-core; SUSE: kernel-default; Arch: linux; Alpine: linux-virt. Trees of containers have none",
    source: "VM Import/Export user guide, troubleshooting; EC2 user guide, \"Boot modes\"",
};

pub(super) static NO_LOADER: Rule = Rule {
    id: "loader-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "an instance has no boot entries in its firmware yet: UEFI starts \\EFI\\BOOT\\BOOTX64.EFI (arm64: BOOTAA64.EFI) of the EFI system partition, or nothing",
    mend: "install a UEFI loader in the tree and let `rootvol build` place it: Debian, Ubuntu: shim-signed grub-efi-amd64-signed (arm64: shim-signed grub-efi-arm64-signed); Fedora, RHEL: shim-x64 grub2-efi-x64; SUSE: shim grub2-x86_64-efi; in a running system: grub-install --removable, bootctl install",
    source: "UEFI specification 2.10, section 3.5.1.1; VM Import/Export user guide, \"UEFI boot mode\"",
};

pub(super) static ENTRY_BROKEN: Rule = Rule {
    id: "boot-entry-broken",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the loader stops at a file that is not there (\"error: file '/boot/vmlinuz' not found\"), and nobody is there to choose another entry",
    mend: "make the loader's configuration anew: Debian, Ubuntu: update-grub; Fedora, RHEL, SUSE: grub2-mkconfig -o /boot/grub2/grub.cfg; systemd-boot: kernel-install add VERSION /usr/lib/modules/VERSION/vmlinuz; or remove it from the tree, so that `rootvol build` makes it",
    source: "GRUB manual, \"linux\"; UAPI group, Boot Loader Specification, \"Type #1\"",
};

pub(super) static MISMATCH: Rule = Rule {
    id: "architecture-mismatch",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "what is for another processor does not start: firmware passes the loader over, the loader refuses the kernel, the kernel its modules (\"Exec format error\") or its init (\"Kernel panic - not syncing: No working init found\")",
    mend: "take loader, kernel, modules and programs from one architecture: x86_64, or arm64 for Graviton",
    source: "EC2 user guide, \"Boot modes\"; PE Format, \"COFF File Header\"; ELF-64 object file format, e_machine",
};

pub(super) static NO_INIT: Rule = Rule {
    id: "init-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the kernel has nothing to start: \"Kernel panic - not syncing: No working init found\"",
    mend: "install an init: Debian, Ubuntu: systemd-sysv; Fedora, RHEL, SUSE: systemd; Alpine: openrc busybox. Trees of containers have none",
    source: "Linux, Documentation/admin-guide/init.rst",
};

pub(super) const RULES: &[&Rule] = &[&NO_KERNEL, &NO_LOADER, &ENTRY_BROKEN, &MISMATCH, &NO_INIT];
/// e_machine of ELF: EM_X86_64, EM_AARCH64.
const ELF_MACHINES: [(u16, Architecture); 2] = [(62, Architecture::X86_64), (183, Architecture::Arm64)];
/// What the kernels of both run besides: EM_386, EM_ARM.
const ELF_COMPATIBLE: [(u16, Architecture); 2] = [(3, Architecture::X86_64), (40, Architecture::Arm64)];

/// e_machine, where the bytes begin an ELF file of the usual byte order.
pub(super) fn elf_machine(head: &[u8]) -> Option<u16> {
    let is_elf = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
    is_elf.then(|| head.get(18..20).map(LittleEndian::read_u16)).flatten()
}

/// Whether there is a loader and a kernel.
///
/// # Errors
/// Those of reading.
pub(super) fn check_presence(subject: &Subject<'_>, entries: &Entries, findings: &mut Findings<'_>) -> Result<()> {
    let options = boot::Options::default();
    let found = &subject.found;
    let has_kernel = found.has_kernel() || entries.all.iter().any(|entry| entry.kernel.is_some());
    if !has_kernel {
        let seen = if found.seen.is_empty() { String::new() } else { format!(" ({})", found.seen.join("; ")) };
        findings.add(&NO_KERNEL, Place::Image, format!("no kernel in /boot, /usr/lib/modules or the EFI system partition{seen}"));
    }
    match subject.image {
        None if has_kernel && !found.is_bootable(&options) => findings.add(&NO_LOADER, Place::Image, found.not_bootable(&options).to_string()),
        Some(image) if entries::fallback_loaders(subject).is_empty() && !boots_by_bios(subject) => {
            let esp = image.partitions().iter().find(|partition| partition.partition_type == "esp");
            let (place, message) = match esp {
                Some(esp) => {
                    (Place::Partition { number: esp.number, offset_bytes: None }, "the EFI system partition has no \\EFI\\BOOT\\BOOTX64.EFI or BOOTAA64.EFI")
                }
                None => (Place::Image, "neither an EFI system partition nor boot code for a BIOS"),
            };
            findings.add(&NO_LOADER, place, message);
        }
        _ => {}
    }
    if let Some(entry) = entries.chosen().filter(|entry| !entry.missing.is_empty()) {
        findings.add(&ENTRY_BROKEN, entry.place.clone(), format!("the entry that starts names what is not there: {}", entry.missing.join(", ")));
    }
    Ok(())
}

/// Whether a BIOS finds code to run: x86's other way to boot, on Nitro too.
fn boots_by_bios(subject: &Subject<'_>) -> bool {
    let code = subject.image.and_then(|image| image.table()).and_then(|table| table.boot_code);
    code.is_some_and(|code| code.iter().any(|byte| *byte != 0))
}

/// Whether all parts are for one processor.
///
/// # Errors
/// Those of reading.
pub(super) fn check_machines(subject: &Subject<'_>, entry: &Entry, started: &Started, findings: &mut Findings<'_>) -> Result<()> {
    let Some(architecture) = architecture_of(subject, entry, findings)? else { return Ok(()) };
    for (file, named) in entries::fallback_loaders(subject) {
        let place = Place::path(&file.path);
        match Pe::read(&subject.files, &file)? {
            Some(pe) if pe.architecture == Some(named) => {}
            Some(pe) => findings.add(&MISMATCH, place.clone(), format!("an EFI image for machine 0x{:04x}; its name is that of {named}", pe.machine)),
            None => findings.add(&MISMATCH, place.clone(), "no EFI image"),
        }
    }
    let fallbacks = entries::fallback_loaders(subject);
    if let [(file, named)] = &fallbacks[..]
        && *named != architecture
    {
        findings.add(&MISMATCH, Place::path(&file.path), format!("the only loader is for {named}, and the kernel is for {architecture}"));
    }
    let mut judge = |place: Place, what: &str, machine: u16| {
        if !runs_on(machine, architecture) {
            findings.add(&MISMATCH, place, format!("{what} for ELF machine {machine}{}, and the kernel is for {architecture}", name_of(machine)));
        }
    };
    if let Some(machine) = started.initramfs_machine {
        let place = entry.initrds.last().map_or_else(|| entry.place.clone(), |blob| Place::path(&blob.file.path));
        judge(place, "the initramfs has programs", machine);
    }
    if let Some((path, machine)) = module_machine(subject, started)? {
        judge(Place::path(path), "a module", machine);
    }
    match init_of(subject, entry) {
        Some(init) => {
            let file = interpreter(subject, init)?;
            let bytes = subject.files.read_prefix(&file, 64)?;
            if let Some(machine) = elf_machine(&bytes) {
                judge(Place::path(&file.path), "init is", machine);
            }
        }
        None if !subject.files.is_directory("nix/store") && !subject.files.is_directory("ostree") => {
            findings.add(&NO_INIT, Place::Image, "none of /sbin/init, /etc/init, /bin/init, /bin/sh is there");
        }
        None => {}
    }
    Ok(())
}

fn runs_on(machine: u16, architecture: Architecture) -> bool {
    ELF_MACHINES.iter().chain(&ELF_COMPATIBLE).any(|known| *known == (machine, architecture))
}

fn name_of(machine: u16) -> String {
    ELF_MACHINES.iter().find(|(known, _)| *known == machine).map_or_else(String::new, |(_, architecture)| format!(" ({architecture})"))
}

/// The architecture of the kernel that starts.
fn architecture_of(subject: &Subject<'_>, entry: &Entry, findings: &mut Findings<'_>) -> Result<Option<Architecture>> {
    let known = entries::architecture(subject, entry);
    if known.is_some() {
        return Ok(known);
    }
    let Some(kernel) = &entry.kernel else { return Ok(None) };
    match pe::inspect_kernel(&subject.files, &kernel.file)? {
        Ok(image) => Ok(Some(image.architecture)),
        Err(why) => {
            findings.add(&MISMATCH, Place::path(&kernel.file.path), format!("named as the kernel, but it is {why}"));
            Ok(None)
        }
    }
}

/// The program that the kernel starts on the root.
fn init_of(subject: &Subject<'_>, entry: &Entry) -> Option<TreeFile> {
    let named = entry.cmdline.as_deref().and_then(|cmdline| crate::boot::cmdline::value(cmdline, "init="));
    named.into_iter().chain(["sbin/init", "etc/init", "bin/init", "bin/sh"]).find_map(|path| subject.files.file(path))
}

/// A program, or what runs it if it is a script.
fn interpreter(subject: &Subject<'_>, file: TreeFile) -> Result<TreeFile> {
    let bytes = subject.files.read_prefix(&file, 256)?;
    let line = bytes.strip_prefix(b"#!").map(|rest| rest.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii());
    let program = line.and_then(|line| line.split(u8::is_ascii_whitespace).next());
    Ok(program.and_then(|program| subject.files.file(program)).unwrap_or(file))
}

/// A module of the kernel that starts: its path and machine.
fn module_machine(subject: &Subject<'_>, started: &Started) -> Result<Option<(Vec<u8>, u16)>> {
    let Some(node) = started.modules.any() else { return Ok(None) };
    let NodeKind::File(data) = subject.tree().node(node).kind else { return Ok(None) };
    let file = TreeFile { path: subject.tree().path_of(node), node, data };
    let blob = entries::Blob { range: 0..file.data.length, file };
    let bytes = head(&subject.files, &blob, 64 << 10)?;
    if let Ok(Some(compression)) = Compression::of(&bytes) {
        // The first bytes of a packed module are enough for its first bytes unpacked.
        let mut unpacked = Vec::new();
        let reader = Decompressed::new(&bytes[..], compression, Limits::default());
        let Ok(reader) = reader else { return Ok(None) };
        // What is cut off behind them is no matter.
        let _ = reader.take(64).read_to_end(&mut unpacked);
        return Ok(elf_machine(&unpacked).map(|machine| (blob.file.path.clone(), machine)));
    }
    Ok(elf_machine(&bytes).map(|machine| (blob.file.path, machine)))
}
