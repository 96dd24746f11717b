//! The operating system: one that ImportImage knows, for x86_64, with room to work in.

use crate::boot::Architecture;
use crate::boot::distro::assignments;
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{Family, IMPORT_IMAGE, Rule, Severity};
use crate::lint::subject::Subject;
use crate::units::{MIB, Size};

static UNKNOWN: Rule = Rule {
    id: "os-unknown",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: Unknown OS / Missing OS files\"",
    mend: "install the distribution's release package (it brings /etc/os-release), or go by import-snapshot",
    source: "VM Import/Export user guide, troubleshooting",
};

static UNSUPPORTED: Rule = Rule {
    id: "os-unsupported",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "ImportImage checks distribution, release and kernel against a table (\"ClientError: Unsupported kernel version\", \"Unknown OS / Missing OS files\"); the guide's table of about 2024 does not have this one",
    mend: "look into the guide's present table, or go by import-snapshot or the EBS direct API, which look at nothing",
    source: "VM Import/Export user guide, supported operating systems (about 2024)",
};

static KERNEL_UNKNOWN: Rule = Rule {
    id: "kernel-version-unknown",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage answers \"ClientError: Unable to determine kernel version\"",
    mend: "name the kernel /boot/vmlinuz-VERSION, as packages do",
    source: "VM Import/Export user guide, troubleshooting",
};

static KERNEL_UNSUPPORTED: Rule = Rule {
    id: "kernel-unsupported",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "ImportImage supports the default kernels of a release (\"ClientError: Unsupported kernel version\")",
    mend: "install the release's default kernel, or go by import-snapshot or the EBS direct API",
    source: "VM Import/Export user guide, supported operating systems; the releases' own notes",
};

static ARCHITECTURE: Rule = Rule {
    id: "import-architecture",
    family: Family::Import,
    severity: Severity::Error,
    concerns: IMPORT_IMAGE,
    why: "ImportImage takes i386 and x86_64, no arm64",
    mend: "go by import-snapshot and register-image, or by the EBS direct API",
    source: "EC2 API, ImportImage, Architecture",
};

static ROOT_SPACE: Rule = Rule {
    id: "root-space",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "ImportImage installs drivers into a new initramfs and the SSM agent: there has to be room on the root (the guide gives no number; an initramfs and the agent take about 200 MiB)",
    mend: "build with more free space (`--free 512MiB`)",
    source: "VM Import/Export user guide, prepare the virtual machine",
};

static GUEST_TOOLS: Rule = Rule {
    id: "guest-tools",
    family: Family::Import,
    severity: Severity::Warning,
    concerns: IMPORT_IMAGE,
    why: "tools of other hypervisors are to be removed before an import: they wait for devices that no instance has",
    mend: "remove the package (open-vm-tools, virtualbox-guest-utils, hyperv-daemons)",
    source: "VM Import/Export user guide, prepare the virtual machine",
};

pub(super) const RULES: &[&Rule] = &[&UNKNOWN, &UNSUPPORTED, &KERNEL_UNKNOWN, &KERNEL_UNSUPPORTED, &ARCHITECTURE, &ROOT_SPACE, &GUEST_TOOLS];

/// Less than this is little; see the rule.
const ROOT_SPACE_BYTES: u64 = 200 * MIB;

/// A release that the guide has: `ID` of os-release, the first and last `VERSION_ID`, and the series of its default kernels as far as they are
/// known (Amazon Linux by the guide, the others by their release notes); none where several are.
struct Release {
    id: &'static str,
    from: [u32; 2],
    to: [u32; 2],
    kernels: &'static [&'static str],
}

const fn release(id: &'static str, from: [u32; 2], to: [u32; 2], kernels: &'static [&'static str]) -> Release {
    Release { id, from, to, kernels }
}

const RELEASES: &[Release] = &[
    release("amzn", [2, 0], [2, 0], &["4.14", "5.4", "5.10"]),
    release("amzn", [2023, 0], [2023, u32::MAX], &["6.1"]),
    release("centos", [5, 1], [8, 2], &[]),
    release("centos", [9, 0], [9, u32::MAX], &["5.14"]),
    release("debian", [6, 0], [6, u32::MAX], &["2.6"]),
    release("debian", [7, 0], [7, u32::MAX], &["3.2"]),
    release("debian", [10, 0], [10, u32::MAX], &["4.19"]),
    release("debian", [11, 0], [11, u32::MAX], &["5.10"]),
    release("debian", [12, 0], [12, 4], &["6.1"]),
    release("fedora", [18, 0], [20, 0], &[]),
    release("fedora", [37, 0], [39, 0], &[]),
    release("ol", [5, 10], [9, 2], &[]),
    release("rhel", [5, 0], [9, 2], &[]),
    release("rocky", [9, 0], [9, 0], &["5.14"]),
    release("sles", [11, 0], [15, u32::MAX], &[]),
    release("ubuntu", [12, 4], [23, 4], &[]),
];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    check_release(subject, findings)?;
    if let Some(kernel) = subject.found.kernels.first() {
        if kernel.version.is_empty() && !in_os_path(&kernel.file.path) {
            findings.add(&KERNEL_UNKNOWN, Place::path(&kernel.file.path), "the kernel's name has no version in it");
        }
        if kernel.architecture == Architecture::Arm64 {
            findings.add(&ARCHITECTURE, Place::path(&kernel.file.path), "the kernel is for arm64");
        }
    }
    let root =
        subject.source.disk.as_ref().filter(|_| subject.image.is_some()).and_then(|disk| disk.root.filesystem.as_ref().map(|found| (disk.root.number, found)));
    if let Some((number, filesystem)) = root {
        let free = filesystem.free_bytes.saturating_sub(filesystem.reserved_bytes);
        if free < ROOT_SPACE_BYTES {
            let place = Place::Partition { number, offset_bytes: None };
            findings.add(&ROOT_SPACE, place, format!("{} of {} are free", Size::bytes(free), Size::bytes(filesystem.size_bytes)));
        }
    }
    for path in ["usr/bin/vmtoolsd", "usr/bin/vmware-toolbox-cmd", "usr/sbin/vmware-guestd", "usr/sbin/VBoxService", "usr/sbin/hv_kvp_daemon"] {
        if let Some(file) = subject.files.file(path) {
            findings.add(&GUEST_TOOLS, Place::path(&file.path), "tools of another hypervisor");
        }
    }
    Ok(())
}

fn in_os_path(path: &[u8]) -> bool {
    path.starts_with(b"usr/lib/modules/")
}

fn check_release(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let text = match subject.text("etc/os-release")? {
        Some(text) => Some(text),
        None => subject.text("usr/lib/os-release")?,
    };
    let Some(text) = text else {
        findings.add(&UNKNOWN, Place::path("etc/os-release"), "there is none, nor /usr/lib/os-release");
        return Ok(());
    };
    let value = |key: &str| assignments(text.bytes()).filter(|(name, _)| *name == key).last().map(|(_, value)| String::from_utf8_lossy(&value).into_owned());
    let Some(id) = value("ID").filter(|id| !id.is_empty()) else {
        findings.add(&UNKNOWN, Place::path(&text.path), "it names no ID");
        return Ok(());
    };
    let mut version = value("VERSION_ID").unwrap_or_default();
    // Debian's os-release has the major number alone.
    if id == "debian"
        && let Some(full) = subject.text("etc/debian_version")?
        && let Ok(full) = std::str::from_utf8(full.bytes().trim_ascii())
        && full.starts_with(|c: char| c.is_ascii_digit())
    {
        full.clone_into(&mut version);
    }
    let numbers = numbers(&version);
    let found = RELEASES.iter().find(|release| release.id == id && (release.from..=release.to).contains(&numbers));
    let shown = escape(format!("{id} {version}").trim().as_bytes());
    match found {
        None => findings.add(&UNSUPPORTED, Place::path(&text.path), format!("the system is {shown}")),
        Some(release) => {
            if let Some(kernel) = subject.found.kernels.first().filter(|kernel| !release.kernels.is_empty() && !kernel.version.is_empty()) {
                let version = String::from_utf8_lossy(&kernel.version);
                let fits = |series: &&&str| version.strip_prefix(**series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
                if release.kernels.iter().find(fits).is_none() {
                    let message = format!("the kernel is {}, the default of {shown} is {}", escape(&kernel.version), release.kernels.join(" or "));
                    findings.add(&KERNEL_UNSUPPORTED, Place::path(&kernel.file.path), message);
                }
            }
        }
    }
    Ok(())
}

/// The first two numbers of a version; 0 where there is none.
fn numbers(version: &str) -> [u32; 2] {
    let mut numbers = version.split('.').map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}
