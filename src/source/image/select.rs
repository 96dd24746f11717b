//! Which partition is meant: by number, by label, or the root.

use super::DiskImage;
use crate::error::{Error, Result, escape};
use crate::fs::{ReadFilesystem, ReadOptions};
use crate::report::PartitionSummary;
#[cfg(unix)]
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What a root filesystem has at one of these paths.
const ROOT_HAS: [&str; 4] = ["etc/os-release", "usr/lib/os-release", "etc/fstab", "sbin/init"];

/// Parts `IMAGE:2` or `IMAGE:label` into path and selector. A path that exists as it is written wins.
pub(in crate::source) fn split(path: &Path) -> (PathBuf, Option<String>) {
    let whole = || (path.to_path_buf(), None);
    if path.symlink_metadata().is_ok() {
        return whole();
    }
    match at_last_colon(path) {
        Some((image, selector)) if !selector.is_empty() && image.symlink_metadata().is_ok() => (image, Some(selector)),
        _ => whole(),
    }
}

/// What stands before and behind the last colon; the path itself may be any bytes.
#[cfg(unix)]
fn at_last_colon(path: &Path) -> Option<(PathBuf, String)> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.as_os_str().as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b':')?;
    Some((OsStr::from_bytes(&bytes[..at]).into(), std::str::from_utf8(&bytes[at + 1..]).ok()?.to_owned()))
}

#[cfg(not(unix))]
fn at_last_colon(path: &Path) -> Option<(PathBuf, String)> {
    let (image, selector) = path.to_str()?.rsplit_once(':')?;
    Some((image.into(), selector.to_owned()))
}

impl DiskImage {
    /// The number of the partition that `selector` means: a number, a name in the GPT, a filesystem's label.
    ///
    /// # Errors
    /// None or several; the message says which there are.
    pub fn select(&self, selector: &str) -> Result<u32> {
        if !selector.is_empty() && selector.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = selector.parse().map_err(|_| Error::invalid(format!("there is no partition {selector}")))?;
            return self.partition(number).map(|partition| partition.number);
        }
        let by_name = self.numbers(|partition| partition.label.as_deref() == Some(selector));
        let by_label = || self.numbers(|partition| partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.label == escape(selector.as_bytes())));
        let found = if by_name.is_empty() { by_label() } else { by_name };
        let shown = escape(selector.as_bytes());
        match found[..] {
            [number] => Ok(number),
            [] => Err(Error::invalid(format!("no partition has the label {shown:?}; there are {}", self.choices())).at_path(self.path_bytes())),
            _ => Err(Error::invalid(format!("several partitions have the label {shown:?}; there are {}", self.choices())).at_path(self.path_bytes())),
        }
    }

    fn numbers(&self, is_meant: impl Fn(&PartitionSummary) -> bool) -> Vec<u32> {
        self.partitions.iter().filter(|partition| is_meant(partition)).map(|partition| partition.number).collect()
    }

    /// The partition with the root filesystem, read already where that was needed to tell: the one of a root type, the only one
    /// with a filesystem for Linux, or the only one of these that looks like a system.
    ///
    /// # Errors
    /// None or several; those of reading.
    pub fn root(&self, options: &ReadOptions) -> Result<(u32, Option<ReadFilesystem>)> {
        if self.table().is_none() {
            return Ok((0, None));
        }
        let is_root_type = |partition: &PartitionSummary| partition.partition_type.starts_with("root-") && !partition.partition_type.contains("verity");
        if let [number] = self.numbers(|partition| is_root_type(partition) && partition.filesystem.is_some())[..] {
            return Ok((number, None));
        }
        let linux = self.numbers(|partition| partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.kind.starts_with("ext")));
        let any = || self.numbers(|partition| partition.filesystem.is_some());
        match linux[..] {
            [number] => return Ok((number, None)),
            [] => {
                return match any()[..] {
                    [number] => Ok((number, None)),
                    [] => Err(Error::unsupported(format!("no partition has a filesystem that is known here; there are {}", self.choices()))
                        .at_path(self.path_bytes())),
                    _ => Err(self.no_root()),
                };
            }
            _ => {}
        }
        let mut systems = Vec::new();
        for number in linux {
            // One that cannot be read is no candidate as long as another one is.
            if let Ok(read) = self.read_known(number, options)
                && ROOT_HAS.iter().any(|path| read.tree.resolve(path).is_some())
            {
                systems.push((number, Some(read)));
            }
        }
        match systems.len() {
            1 => Ok(systems.swap_remove(0)),
            _ => Err(self.no_root()),
        }
    }

    fn no_root(&self) -> Error {
        Error::invalid(format!("which partition is the root cannot be told: name it, such as IMAGE:1 or --partition 1; there are {}", self.choices()))
            .at_path(self.path_bytes())
    }
}
