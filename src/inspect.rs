//! What is in an image: its container, its partition table, its filesystems, the system on its root and how that boots.

use crate::boot;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::{Format, OpenOptions};
use crate::report::{DiskSummary, FilesystemSummary, PartitionSummary};
use crate::source::{self, DiskImage};
use crate::units::Size;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// What was found in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The container: `raw`, `vhd`, `vhd-fixed`.
    pub format: String,
    /// The disk in it.
    pub disk: DiskSummary,
    /// Its partitions, by number; one with number 0 for a disk without a table.
    pub partitions: Vec<PartitionSummary>,
    /// What is on its root.
    pub system: Option<System>,
    /// What looks wrong.
    pub notes: Vec<String>,
}

/// The system on the root filesystem, with what its fstab mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct System {
    /// The partition with the root; 0 without a table.
    pub root_partition: u32,
    /// The operating system by its own name.
    pub name: Option<String>,
    /// Kernels, the newest first.
    pub kernels: Vec<SystemKernel>,
    /// Boot loaders.
    pub loaders: Vec<SystemLoader>,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SystemKernel {
    /// Its path.
    pub path: String,
    /// Its version, from its name.
    pub version: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The initramfs that goes with it.
    pub initramfs: Option<String>,
}

/// A boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SystemLoader {
    /// `grub`, `uki` or `systemd-boot`.
    pub kind: String,
    /// Its path.
    pub path: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
}

/// Looks into the image at `path`. Nothing that the image names is opened.
///
/// # Errors
/// I/O, a container or table that breaks its format, and what holds neither a table nor a filesystem that is known. A damaged filesystem is a note.
pub fn inspect(path: impl AsRef<Path>, format: Option<Format>) -> Result<Inspection> {
    inspect_with(path, &OpenOptions::of(format))
}

/// [`inspect()`] with parents of differencing VHDs and a place for what has to be unpacked.
///
/// # Errors
/// As [`inspect()`].
pub fn inspect_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Inspection> {
    inspect_image(&DiskImage::open(path, options)?)
}

/// [`inspect()`] for an image that is open.
///
/// # Errors
/// What holds neither a table nor a filesystem that is known.
pub fn inspect_image(image: &DiskImage) -> Result<Inspection> {
    let mut notes = image.notes().to_vec();
    let has_filesystem = image.partitions().iter().any(|partition| partition.filesystem.is_some());
    if image.table().is_none() && !has_filesystem && notes.is_empty() {
        let unknown = Error::unsupported("neither a partition table nor a filesystem that is known here");
        return Err(unknown.at_path(image.path().as_os_str().as_encoded_bytes()));
    }
    let system = if has_filesystem { system(image, &mut notes) } else { None };
    Ok(Inspection { format: image.disk().format().to_string(), disk: image.summary().clone(), partitions: image.partitions().to_vec(), system, notes })
}

/// Looks at the root; what cannot be read of it is a note.
fn system(image: &DiskImage, notes: &mut Vec<String>) -> Option<System> {
    let options = source::Options { keep_going: true, mounts: true, ..source::Options::default() };
    let source = match source::open_image(image, &options) {
        Ok(source) => source,
        // Several filesystems of which none is a root: a disk of data.
        Err(error) if error.kind() == ErrorKind::InvalidInput => return None,
        Err(error) => {
            notes.push(error.to_string());
            return None;
        }
    };
    notes.extend(source.notes.iter().filter(|note| !image.notes().contains(note)).cloned());
    notes.extend(source.damage.iter().chain(&source.unreadable).map(ToString::to_string));
    let mut options = boot::Options::default();
    options.esp_mount_point = boot::esp_mount_point(&source.tree, &source.contents, &options).ok();
    let found = match boot::find(&source.tree, &source.contents, &options) {
        Ok(found) => found,
        Err(error) => {
            notes.push(error.to_string());
            return None;
        }
    };
    let root_partition = source.disk.as_ref().map_or(0, |disk| disk.root.number);
    let kernels = found.kernels.iter().map(|kernel| SystemKernel {
        path: kernel.file.shown(),
        version: escape(&kernel.version),
        architecture: kernel.architecture.name().to_owned(),
        initramfs: kernel.initramfs.as_ref().map(boot::TreeFile::shown),
    });
    let loaders = found.boot_loaders().into_iter().map(|loader| SystemLoader {
        kind: loader.kind.to_owned(),
        path: loader.path,
        architecture: loader.architecture.name().to_owned(),
    });
    let system = System { root_partition, name: found.system().map(|name| escape(name.as_bytes())), kernels: kernels.collect(), loaders: loaders.collect() };
    (system.name.is_some() || !system.kernels.is_empty() || !system.loaders.is_empty()).then_some(system)
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DiskSummary { size_bytes, sector_bytes, table, guid, signature } = &self.disk;
        write!(f, "{} image of a disk of {} ({size_bytes} bytes), {table}, sectors of {sector_bytes} bytes", self.format, Size::bytes(*size_bytes))?;
        match (guid, signature) {
            (Some(guid), _) => writeln!(f, ", {guid}")?,
            (None, Some(signature)) => writeln!(f, ", signature {signature:08x}")?,
            (None, None) => writeln!(f)?,
        }
        for partition in &self.partitions {
            let PartitionSummary { number, partition_type, guid, label, offset_bytes, size_bytes, filesystem, .. } = partition;
            write!(f, "  {number:>3}  {partition_type:<14} at {:>9}  {:>9}", Size::bytes(*offset_bytes).to_string(), Size::bytes(*size_bytes).to_string())?;
            if let Some(label) = label.as_ref().filter(|label| !label.is_empty()) {
                write!(f, "  {:?}", escape(label.as_bytes()))?;
            }
            if let Some(guid) = guid {
                write!(f, "  {guid}")?;
            }
            writeln!(f)?;
            if let Some(FilesystemSummary { kind, label, uuid, block_bytes, used_bytes, free_bytes, .. }) = filesystem {
                let (used, free) = (Size::bytes(*used_bytes), Size::bytes(*free_bytes));
                writeln!(f, "       {kind} {:?} {uuid}, blocks of {block_bytes} bytes, {used} used, {free} free", escape(label.as_bytes()))?;
            }
        }
        if let Some(System { root_partition, name, kernels, loaders }) = &self.system {
            writeln!(f, "system on partition {root_partition}: {}", name.as_deref().unwrap_or("not named"))?;
            for SystemKernel { path, architecture, initramfs, .. } in kernels {
                writeln!(f, "  kernel {path} ({architecture}), initramfs {}", initramfs.as_deref().unwrap_or("none"))?;
            }
            for SystemLoader { kind, path, architecture } in loaders {
                writeln!(f, "  loader {kind} {path} ({architecture})")?;
            }
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", escape(note.as_bytes()))?;
        }
        Ok(())
    }
}
