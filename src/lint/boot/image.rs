//! What an initramfs says of itself: modules, programs, whether it has an init.

use super::entries::Blob;
use super::modules::module_name;
use crate::boot::files::{Files, position_of};
use crate::compressed::unwrap_io;
use crate::error::{Error, Result};
use crate::initramfs::{self, Limits, Summary};
use crate::lint::subject::Subject;
use crate::units::u64_of;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::ControlFlow;

/// Versions of modules that are remembered; an initramfs has one.
const VERSIONS_MAX: usize = 8;
/// Modules that are remembered; kernels have some 6,000.
const MODULES_MAX: usize = 50_000;
/// Entries between two looks at the wish to stop.
const CANCEL_EVERY: u64 = 256;
/// The bits of `st_mode` that are the type.
const S_IFMT: u32 = 0o170_000;
/// A regular file.
const S_IFREG: u32 = 0o100_000;

/// What the archives of an entry hold, together.
#[derive(Debug, Default)]
pub(super) struct InitramfsImage {
    pub(super) entries: u64,
    pub(super) has_init: bool,
    /// Modules of the kernel's version, by their names; of any version where that is not known.
    pub(super) modules: BTreeSet<String>,
    /// Other versions that it has modules of.
    pub(super) other_versions: BTreeSet<Vec<u8>>,
    /// Whether it has an image of a filesystem, in which there may be more.
    pub(super) nested: bool,
    /// `e_machine` of the first program.
    pub(super) machine: Option<u16>,
}

impl InitramfsImage {
    /// Reads an initramfs.
    ///
    /// # Errors
    /// Those of [`initramfs::read`].
    pub(super) fn add(&mut self, subject: &Subject<'_>, blob: &Blob, version: &[u8]) -> Result<Summary> {
        let mut seen = 0_u64;
        initramfs::read(BlobReader::new(&subject.files, blob), &Limits::default(), |entry| {
            seen += 1;
            if seen.is_multiple_of(CANCEL_EVERY) {
                subject.cancel.check()?;
            }
            self.take(entry, version);
            Ok(ControlFlow::Continue(()))
        })
    }

    fn take(&mut self, entry: &initramfs::Entry<'_>, version: &[u8]) {
        self.entries += 1;
        let name = entry.name.strip_prefix(b"./").unwrap_or(entry.name);
        let name = name.strip_prefix(b"/").unwrap_or(name);
        self.has_init |= name == b"init";
        let is_file = entry.mode & S_IFMT == S_IFREG;
        self.nested |= is_file && [&b".img"[..], b".squashfs", b".erofs", b".sqfs"].iter().any(|end| name.ends_with(end));
        if is_file && self.machine.is_none() && entry.mode & 0o111 != 0 && module_name(name).is_none() {
            self.machine = super::machines::elf_machine(entry.head);
        }
        let Some(module) = module_name(name) else { return };
        match version_in(name) {
            Some(own) if !version.is_empty() && own != version => {
                let first_few = self.other_versions.len() < VERSIONS_MAX;
                self.other_versions.extend(first_few.then(|| own.to_vec()));
            }
            _ if self.modules.len() < MODULES_MAX => {
                self.modules.insert(module);
            }
            _ => {}
        }
    }
}

/// The version in a path `…lib/modules/VERSION/…`.
fn version_in(path: &[u8]) -> Option<&[u8]> {
    const FOLDER: &[u8] = b"lib/modules/";
    let at = position_of(path, FOLDER).filter(|at| *at == 0 || path[*at - 1] == b'/')?;
    path[at + FOLDER.len()..].split(|byte| *byte == b'/').next()
}

/// A part of a file of the tree, from its begin to its end.
pub(super) struct BlobReader<'a> {
    files: &'a Files<'a>,
    blob: &'a Blob,
    at: u64,
}

impl<'a> BlobReader<'a> {
    pub(super) fn new(files: &'a Files<'a>, blob: &'a Blob) -> Self {
        Self { files, blob, at: blob.range.start }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.range.end - self.at;
        let count = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let there = self.files.read(&self.blob.file, self.at, &mut out[..count]).map_err(io::Error::other)?;
        if !there {
            let error = Error::corrupt("a part of the file that is not there").at_path(&self.blob.file.path);
            return Err(io::Error::other(error));
        }
        self.at += u64_of(count);
        Ok(count)
    }
}

/// The first bytes of a part of a file.
///
/// # Errors
/// Those of reading.
pub(super) fn head(files: &Files<'_>, blob: &Blob, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    BlobReader::new(files, blob).take(length).read_to_end(&mut bytes).map_err(|error| unwrap_io("cannot read", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_found_in_paths_of_modules() {
        for (path, version) in [
            ("lib/modules/6.1/kernel/x.ko", Some("6.1")),
            ("usr/lib/modules/6.1/kernel/x.ko", Some("6.1")),
            ("nix/store/abc-linux/lib/modules/6.2/x.ko.xz", Some("6.2")),
            ("mylib/modules/6.1/x.ko", None),
            ("x.ko", None),
        ] {
            assert_eq!(version_in(path.as_bytes()), version.map(str::as_bytes), "{path}");
        }
    }
}
