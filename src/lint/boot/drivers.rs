//! The drivers without which Nitro has no disk, no root and no network: in the kernel, or where they are needed.
//!
//! Nitro shows EBS volumes as NVMe devices and its network as ENA; the drivers of other clouds (virtio, Xen) are no substitute. The
//! disk and the root filesystem are needed before there is a root, so their drivers are in the kernel or in the initramfs; the
//! network comes later. Looked at is the entry that starts if nobody chooses, its initramfs from end to end.

use super::entries::{Blob, Entry};
use super::image::InitramfsImage;
use super::modules::{Driver, Modules, versions};
use crate::boot::files::{Files, position_of};
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use byteorder::{ByteOrder as _, LittleEndian};

const NITRO: &str = "EC2 user guide, \"Nitro-based instances\": NVMe and ENA drivers; VM Import/Export user guide, \"Requirements\"";

pub(super) static NVME: Rule = Rule {
    id: "nvme-driver-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "Nitro shows EBS volumes as NVMe devices: without this driver the kernel finds no disk, and the instance stops in the initramfs or with \"VFS: Unable to mount root fs\"",
    mend: "put nvme into the initramfs: Debian, Ubuntu: MODULES=most in /etc/initramfs-tools/initramfs.conf, update-initramfs -u -k all; Fedora, RHEL, Amazon Linux, SUSE: dracut --force --no-hostonly --add-drivers \"nvme\" (in a chroot the default is what the build machine has); Arch: nvme in MODULES of /etc/mkinitcpio.conf, mkinitcpio -P; Alpine: nvme in features of /etc/mkinitfs/mkinitfs.conf, mkinitfs",
    source: NITRO,
};

pub(super) static ENA: Rule = Rule {
    id: "ena-driver-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "Nitro's network is ENA alone: without this driver the instance has no network and fails its status check (\"Instance reachability check failed\")",
    mend: "install a kernel that has it: Debian: linux-image-cloud-amd64; Ubuntu: linux-image-aws or linux-modules-extra; Fedora, RHEL: kernel-core and kernel-modules; Alpine: linux-lts (linux-virt has it from 3.16 on); own kernels: CONFIG_ENA_ETHERNET",
    source: NITRO,
};

pub(super) static ROOT_DRIVER: Rule = Rule {
    id: "root-filesystem-driver-missing",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the kernel cannot mount its root: \"VFS: Cannot open root device\" or \"unknown filesystem type\", then a panic or the initramfs' shell",
    mend: "put the filesystem's module into the initramfs: Debian, Ubuntu: a line with its name in /etc/initramfs-tools/modules, update-initramfs -u -k all; dracut: --force --no-hostonly --filesystems NAME; Arch: MODULES of /etc/mkinitcpio.conf",
    source: "Linux, Documentation/admin-guide/initrd.rst",
};

pub(super) static UNREADABLE: Rule = Rule {
    id: "initramfs-unreadable",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "the kernel says \"Initramfs unpacking failed\" and finds no root; ImportImage says \"ClientError: We were unable to read your import's initramfs/initrd\"",
    mend: "make it anew: Debian, Ubuntu: update-initramfs -u -k all; Fedora, RHEL, Amazon Linux, SUSE: dracut --force --regenerate-all; Arch: mkinitcpio -P; Alpine: mkinitfs VERSION",
    source: "VM Import/Export user guide, troubleshooting; Linux, Documentation/driver-api/early-userspace/buffer-format.rst",
};

pub(super) static NO_INIT: Rule = Rule {
    id: "initramfs-without-init",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "without /init in it the kernel passes the initramfs over, loads none of its drivers, and looks for the root by itself",
    mend: "make it anew with the distribution's own tool (update-initramfs, dracut, mkinitcpio, mkinitfs)",
    source: "Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst",
};

pub(super) static OTHER_VERSION: Rule = Rule {
    id: "initramfs-of-other-kernel",
    family: Family::Boot,
    severity: Severity::Error,
    concerns: EVERY,
    why: "a kernel loads modules of its own version alone: with those of another one it has no drivers but the ones built in",
    mend: "make the initramfs for the kernel that starts: update-initramfs -u -k VERSION; dracut --force --no-hostonly --kver VERSION; mkinitcpio -P; and let the loader's entry name both",
    source: "Linux, Documentation/kbuild/modules.rst, \"Module versioning\"",
};

pub(super) static NO_MODULES: Rule = Rule {
    id: "kernel-modules-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "what the kernel has as modules cannot be loaded after the initramfs: network, FAT for the ESP, firewall",
    mend: "install the modules of the kernel that starts in /usr/lib/modules/VERSION (Debian: linux-image-VERSION; Fedora: kernel-modules; else make modules_install), or start a kernel whose modules are there",
    source: "kmod, modules.dep(5)",
};

pub(super) const RULES: &[&Rule] = &[&NVME, &ENA, &ROOT_DRIVER, &UNREADABLE, &NO_INIT, &OTHER_VERSION, &NO_MODULES];
/// Modules whose needs are looked up.
pub(super) const ASKED_FOR: [&str; 5] = ["nvme", "ena", "ext4", "xfs", "btrfs"];

/// Looks at the entry that starts. What its kernel and its initramfs say of themselves goes to the other rules.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, entry: &Entry, findings: &mut Findings<'_>) -> Result<Started> {
    let version = version_of(subject, entry)?;
    let modules = Modules::read(subject, &version)?;
    let mut initramfs = InitramfsImage::default();
    let mut readable = true;
    for blob in &entry.initrds {
        readable &= read_initramfs(subject, blob, &version, &modules, &mut initramfs, findings)?;
    }
    if readable && !entry.initrds.is_empty() {
        judge_initramfs(entry, &version, &initramfs, findings);
    }
    let judged = Judged { entry, version: &version, modules: &modules, initramfs: (readable && !entry.initrds.is_empty()).then_some(&initramfs), readable };
    judged.early(&NVME, "nvme", "CONFIG_BLK_DEV_NVME", findings);
    let filesystem = root_filesystem(subject)?;
    if let Some((module, setting)) = filesystem.as_deref().and_then(driver_of_filesystem) {
        judged.early(&ROOT_DRIVER, module, setting, findings);
    }
    judged.network(findings);
    let shown = escape(&version);
    if !version.is_empty() && !versions(&subject.files).contains(&&version[..]) && modules.setting("CONFIG_MODULES") != Some('n') && entry.kernel.is_some() {
        let others: Vec<String> = versions(&subject.files).iter().map(|version| escape(version)).collect();
        let others = if others.is_empty() { "there are none at all".to_owned() } else { format!("there are those of {}", others.join(", ")) };
        findings.add(&NO_MODULES, entry.place.clone(), format!("the kernel {shown} starts, and /usr/lib/modules has nothing of it; {others}"));
    }
    Ok(Started { modules, initramfs_machine: initramfs.machine })
}

/// What is known of what starts.
pub(super) struct Started {
    pub(super) modules: Modules,
    /// `e_machine` of the first program in the initramfs.
    pub(super) initramfs_machine: Option<u16>,
}

/// Reads one initramfs; `false` where it cannot be read to its end.
fn read_initramfs(
    subject: &Subject<'_>,
    blob: &Blob,
    version: &[u8],
    modules: &Modules,
    image: &mut InitramfsImage,
    findings: &mut Findings<'_>,
) -> Result<bool> {
    let place = Place::path(&blob.file.path);
    match image.add(subject, blob, version) {
        Ok(summary) => {
            for segment in &summary.segments {
                let Some(setting) = segment.packing.kernel_setting() else { continue };
                if modules.setting(setting) == Some('n') {
                    let message = format!("packed with {} at offset {}, and the kernel has no {setting}", segment.packing, segment.offset_bytes);
                    findings.add(&UNREADABLE, place.clone(), message);
                }
            }
            Ok(true)
        }
        Err(error) => {
            match error.kind() {
                crate::ErrorKind::Corrupt => findings.add(&UNREADABLE, place, error.to_string()),
                crate::ErrorKind::Unsupported | crate::ErrorKind::LimitExceeded => {
                    findings.cannot_check(format!("{}: its drivers ({error})", blob.file.shown()));
                }
                _ => return Err(error),
            }
            Ok(false)
        }
    }
}

fn judge_initramfs(entry: &Entry, version: &[u8], initramfs: &InitramfsImage, findings: &mut Findings<'_>) {
    let first = entry.initrds.last().map_or_else(|| entry.place.clone(), |blob| Place::path(&blob.file.path));
    let own_init = entry.cmdline.as_deref().is_some_and(|cmdline| crate::boot::cmdline::has(cmdline, "rdinit="));
    if !initramfs.has_init && !own_init {
        findings.add(&NO_INIT, first.clone(), format!("none of its {} entries is /init", initramfs.entries));
    }
    if !version.is_empty() && initramfs.modules.is_empty() && !initramfs.other_versions.is_empty() {
        let others: Vec<String> = initramfs.other_versions.iter().map(|version| escape(version)).collect();
        findings.add(&OTHER_VERSION, first, format!("it has modules of {}, and the kernel {} starts", others.join(", "), escape(version)));
    }
}

/// What drivers are judged by.
struct Judged<'a> {
    entry: &'a Entry,
    version: &'a [u8],
    modules: &'a Modules,
    /// None without one, and where it could not be read.
    initramfs: Option<&'a InitramfsImage>,
    readable: bool,
}

impl Judged<'_> {
    fn kernel(&self) -> String {
        if self.version.is_empty() { "the kernel".to_owned() } else { format!("the kernel {}", escape(self.version)) }
    }

    /// A driver that is needed before there is a root.
    fn early(&self, rule: &'static Rule, module: &str, setting: &str, findings: &mut Findings<'_>) {
        let driver = self.modules.driver(module, setting);
        if driver == Driver::BuiltIn {
            return;
        }
        let has = |name: &String| self.initramfs.is_some_and(|initramfs| initramfs.modules.contains(name));
        if has(&module.to_owned()) {
            let missing: Vec<String> = self.modules.with_needs(module).into_iter().filter(|name| !has(name)).collect();
            if !missing.is_empty() {
                findings.add(rule, self.initramfs_place(), format!("{module} is there, and what it needs is not: {}", missing.join(", ")));
            }
            return;
        }
        let kernel = self.kernel();
        let message = match driver {
            _ if !self.readable => return,
            // Modules in an image within the image cannot be seen.
            _ if self.initramfs.is_some_and(|initramfs| initramfs.nested) => {
                findings.cannot_check(format!("{module} in the initramfs of {kernel}: it has an image with a filesystem within"));
                return;
            }
            Driver::Unknown => {
                findings.cannot_check(format!("{module} in {kernel}: neither its settings (/boot/config-VERSION) nor modules.builtin are there"));
                return;
            }
            Driver::Absent => format!("{kernel} has no driver {module}: neither built in nor as a module"),
            Driver::Module if self.initramfs.is_none() => format!("{kernel} has {module} as a module, and starts without initramfs"),
            _ => format!("{kernel} has {module} as a module, and its initramfs does not have it"),
        };
        let place = if self.initramfs.is_some() && driver == Driver::Module { self.initramfs_place() } else { self.entry.place.clone() };
        findings.add(rule, place, message);
    }

    fn initramfs_place(&self) -> Place {
        self.entry.initrds.last().map_or_else(|| self.entry.place.clone(), |blob| Place::path(&blob.file.path))
    }

    /// The network may come later.
    fn network(&self, findings: &mut Findings<'_>) {
        let early = self.initramfs.is_some_and(|initramfs| initramfs.modules.contains("ena"));
        match self.modules.driver("ena", "CONFIG_ENA_ETHERNET") {
            Driver::BuiltIn | Driver::Module => {}
            _ if early => {}
            Driver::Absent => findings.add(&ENA, self.entry.place.clone(), format!("{} has no driver ena: neither built in nor as a module", self.kernel())),
            Driver::Unknown => {
                findings.cannot_check(format!("ena in {}: neither its settings (/boot/config-VERSION) nor modules.builtin are there", self.kernel()));
            }
        }
    }
}

/// The kernel's version: what its header says, else its entry, else its name, else the only one that has modules.
fn version_of(subject: &Subject<'_>, entry: &Entry) -> Result<Vec<u8>> {
    let files = &subject.files;
    let Some(kernel) = &entry.kernel else { return Ok(entry.version.clone().unwrap_or_default()) };
    if let Some(version) = version_in_header(files, kernel)? {
        return Ok(version);
    }
    let by_modules = versions(files);
    let known = subject.found.kernels.iter().find(|known| known.file.node == kernel.file.node).map(|known| known.version.clone());
    let named = [entry.version.clone(), known].into_iter().flatten().filter(|version| !version.is_empty());
    let named: Vec<Vec<u8>> = named.collect();
    if let Some(version) = named.iter().find(|version| by_modules.contains(&&version[..])) {
        return Ok(version.clone());
    }
    let path = &kernel.file.path;
    let in_path = by_modules.iter().filter(|version| position_of(path, version).is_some()).max_by_key(|version| version.len());
    Ok(match (in_path, named.first(), &by_modules[..]) {
        (Some(version), ..) => version.to_vec(),
        // A stable name (Arch's `linux`) is no version; one that begins with a digit is.
        (None, Some(named), _) if named.first().is_some_and(u8::is_ascii_digit) => named.clone(),
        (None, _, [only]) => only.to_vec(),
        _ => Vec::new(),
    })
}

/// x86's boot protocol: `kernel_version` at 0x20e points to a text, from 0x200 on.
fn version_in_header(files: &Files<'_>, kernel: &Blob) -> Result<Option<Vec<u8>>> {
    let mut head = [0; 0x210];
    if kernel.range.end - kernel.range.start < 0x400 || !files.read(&kernel.file, kernel.range.start, &mut head)? || &head[0x202..0x206] != b"HdrS" {
        return Ok(None);
    }
    let at = u64::from(LittleEndian::read_u16(&head[0x20e..]));
    let mut text = [0; 128];
    if at == 0 || !files.read(&kernel.file, kernel.range.start + 0x200 + at, &mut text)? {
        return Ok(None);
    }
    let word = text.split(|byte| *byte == b' ' || *byte == 0).next().unwrap_or_default();
    Ok((word.first().is_some_and(u8::is_ascii_digit) && word.iter().all(u8::is_ascii_graphic)).then(|| word.to_vec()))
}

/// The type of the root filesystem: what lies on the disk, else what fstab says, else ext4, which `build` makes.
fn root_filesystem(subject: &Subject<'_>) -> Result<Option<String>> {
    let on_disk = subject.image.and(subject.source.disk.as_ref()).and_then(|disk| disk.root.filesystem.as_ref());
    if let Some(filesystem) = on_disk {
        return Ok(Some(filesystem.kind.clone()));
    }
    let fstab = subject.text("etc/fstab")?;
    let of_root = fstab.iter().flat_map(|fstab| fstab.lines()).find_map(|(_, line)| {
        let fields: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).collect();
        (fields.get(1) == Some(&&b"/"[..])).then(|| fields.get(2).map(|kind| String::from_utf8_lossy(kind).into_owned())).flatten()
    });
    Ok(of_root.or_else(|| subject.image.is_none().then(|| "ext4".to_owned())))
}

/// Module and setting; the driver of ext4 mounts ext2 and ext3 too.
fn driver_of_filesystem(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "ext2" | "ext3" | "ext4" => Some(("ext4", "CONFIG_EXT4_FS")),
        "xfs" => Some(("xfs", "CONFIG_XFS_FS")),
        "btrfs" => Some(("btrfs", "CONFIG_BTRFS_FS")),
        _ => None,
    }
}
