//! What is looked at: a tree with its contents, and the disk around it where there is one.

use crate::boot::files::{Files, TEXT_MAX_BYTES};
use crate::boot::{self, Found};
use crate::content::Contents;
use crate::error::{Error, Result};
use crate::source::{DiskImage, Source};
use crate::stream::Cancel;
use crate::tree::Tree;
use crate::units::u64_of;

/// What the rules are held against.
pub(super) struct Subject<'a> {
    /// The root filesystem, with what its fstab mounts and the ESP.
    pub(super) source: &'a Source,
    /// Reading files of it by path.
    pub(super) files: Files<'a>,
    /// The disk that it lies on; none for a directory or a tar, which `build` would give one.
    pub(super) image: Option<&'a DiskImage>,
    /// Kernels and loaders in the tree.
    pub(super) found: Found,
    /// Threads for what is read as a whole.
    pub(super) threads: usize,
    /// A wish to stop.
    pub(super) cancel: &'a Cancel,
}

impl<'a> Subject<'a> {
    /// # Errors
    /// Those of reading what boots.
    pub(super) fn new(source: &'a Source, image: Option<&'a DiskImage>, threads: usize, cancel: &'a Cancel) -> Result<Self> {
        let mut options = boot::Options::default();
        options.esp_mount_point = boot::esp_mount_point(&source.tree, &source.contents, &options).ok();
        let found = boot::find(&source.tree, &source.contents, &options)?;
        Ok(Self { files: Files::new(&source.tree, &source.contents), source, image, found, threads, cancel })
    }

    pub(super) fn tree(&self) -> &'a Tree {
        &self.source.tree
    }

    pub(super) fn contents(&self) -> &'a dyn Contents {
        &self.source.contents
    }

    /// Whether the tree is that of a system, which is to boot, and not of a volume of data.
    pub(super) fn is_system(&self) -> bool {
        let marks = ["sbin/init", "usr/sbin/init", "etc/os-release", "usr/lib/os-release", "usr/lib/systemd/systemd"];
        self.found.has_kernel() || marks.iter().any(|path| self.tree().lookup(path).is_some())
    }

    /// A configuration file by lines; none where there is no such file.
    ///
    /// # Errors
    /// Those of reading, and a file too long to be configuration.
    pub(super) fn text(&self, path: impl AsRef<[u8]>) -> Result<Option<Text>> {
        let Some(file) = self.files.file(path.as_ref()) else { return Ok(None) };
        if file.data.length > TEXT_MAX_BYTES {
            let message = format!("a configuration file of {} bytes; at most {TEXT_MAX_BYTES} are read", file.data.length);
            return Err(Error::limit(message).at_path(&file.path));
        }
        let bytes = self.files.read_prefix(&file, TEXT_MAX_BYTES)?;
        Ok(Some(Text { path: file.path, bytes }))
    }
}

/// A configuration file.
pub(super) struct Text {
    /// Its path without links on the way.
    pub(super) path: Vec<u8>,
    bytes: Vec<u8>,
}

impl Text {
    /// The lines that say something, from 1, without spaces at their ends and without comments that begin with `#`.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let numbered = self.bytes.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (u64_of(at) + 1, line.trim_ascii()));
        numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A line of fstab (fstab(5)).
pub(super) struct Entry {
    /// From 1.
    pub(super) line: u64,
    /// What is mounted.
    pub(super) device: Vec<u8>,
    /// Where.
    pub(super) mount_point: Vec<u8>,
    /// The filesystem's type.
    pub(super) kind: Vec<u8>,
    /// Options, parted by commas.
    pub(super) options: Vec<u8>,
}

impl Entry {
    /// Whether it is mounted with this option.
    pub(super) fn has_option(&self, option: &[u8]) -> bool {
        self.options.split(|byte| *byte == b',').any(|given| given == option)
    }
}

/// The entries of fstab; lines with less than three fields are none.
pub(super) fn fstab_entries(text: &Text) -> Vec<Entry> {
    let entry = |(line, bytes): (u64, &[u8])| {
        let mut fields = bytes.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).map(<[u8]>::to_vec);
        Some(Entry { line, device: fields.next()?, mount_point: fields.next()?, kind: fields.next()?, options: fields.next().unwrap_or_default() })
    };
    text.lines().filter_map(entry).collect()
}
