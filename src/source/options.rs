//! What a caller may ask of a source, and the limits on what a hostile one may ask of us.

use crate::compressed;
use crate::error::{Error, Result};
use crate::format::{Format, OpenOptions};
use crate::text::{self, text_form, words};
use crate::units::{GIB, KIB, MIB};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Threads beyond this wait for each other in the kernel.
const THREADS_MOST: usize = 8;

/// How sources are read. The default takes everything as it is.
///
/// ```
/// let mut options = rootvol::source::Options::default();
/// options.exclude.push("var/cache/*".into());
/// options.owner = Some((0, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Patterns of what is left out, matched against the bytes of the path from the root (a leading slash does not
    /// count). `*` and `?` stop at slashes, `**` does not: `var/cache/*` empties a folder, `**/*.pyc` takes a name
    /// anywhere. What matches is left out with all that is in it.
    pub exclude: Vec<String>,
    /// Directories only: leave out what is mounted below (the mount points stay, empty).
    pub one_file_system: bool,
    /// Give everything this owner and group.
    pub owner: Option<(u32, u32)>,
    /// Translate owners and groups, such as of a tree unpacked in a user namespace. An id in none of the ranges is an
    /// error. Translates the ids in POSIX ACLs and in `security.capability` too.
    pub map_ids: Vec<IdMap>,
    /// Whether holes are kept.
    pub holes: Holes,
    /// Where piped and compressed input is kept that does not fit in [`Self::spool_memory_bytes`]; the folder must
    /// have room for the file contents. Without one, a compressed file is kept beside itself (in a file without a
    /// name), and more from a pipe is an error.
    pub spool_folder: Option<PathBuf>,
    /// Bytes of piped or compressed input that are kept in memory before a file is made.
    pub spool_memory_bytes: u64,
    /// Directories only: threads that look at what is in them, the caller's among them (0 and 1 are the same). What is read
    /// does not depend on it. By default as many as the machine runs at once, 8 at most.
    pub threads: usize,
    /// Images: their container; without it the magic tells.
    pub input_format: Option<Format>,
    /// Images: the parents of a differencing VHD. Nothing that an image names is opened.
    pub vhd_parents: Vec<PathBuf>,
    /// Images: which partition, by number, by name in the GPT or by the filesystem's label. Without it the root.
    pub partition: Option<String>,
    /// Images: whether the other filesystems of the disk are taken in where the root's fstab has them, and the ESP: all of the
    /// system as one tree. Else the one filesystem alone.
    pub mounts: bool,
    /// Images: take what can be read of one that is damaged or encrypted in part; [`Source::damage`](super::Source::damage) and
    /// [`Source::unreadable`](super::Source::unreadable) say what could not. Else that is an error.
    pub keep_going: bool,
    /// Limits on hostile input.
    pub limits: Limits,
}

impl Options {
    /// Checks the options themselves; opening a source does it too.
    ///
    /// # Errors
    /// Patterns that cannot be read, id maps that overlap, owners said in two ways.
    pub fn check(&self) -> crate::Result<()> {
        super::filter::Filter::new(self).map(drop)
    }

    /// How images are opened under these options.
    pub(super) fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions::of(self.input_format);
        options.vhd_parents.clone_from(&self.vhd_parents);
        options.spool.memory_bytes = self.spool_memory_bytes;
        options.spool.folder.clone_from(&self.spool_folder);
        options.limits = self.limits.compressed();
        options
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            one_file_system: false,
            owner: None,
            map_ids: Vec::new(),
            holes: Holes::Keep,
            spool_folder: None,
            spool_memory_bytes: crate::content::SpoolOptions::default().memory_bytes,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MOST),
            input_format: None,
            vhd_parents: Vec::new(),
            partition: None,
            mounts: false,
            keep_going: false,
            limits: Limits::default(),
        }
    }
}

/// A range of ids: `host + n` in the source becomes `image + n` in the tree, for n below `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id in the image.
    pub image: u32,
    /// First id in the source.
    pub host: u32,
    /// Ids in the range, at least 1.
    pub count: u32,
}

impl FromStr for IdMap {
    type Err = Error;

    /// Reads `IMAGE:HOST:COUNT`, such as `0:100000:65536`.
    ///
    /// # Errors
    /// Anything else, a count of 0, a range past 2^32 - 1.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is no range of ids: IMAGE:HOST:COUNT was expected, such as \"0:100000:65536\", with all ids below 2^32"));
        let [image, host, count] = text::numbers(text).ok_or_else(bad)?;
        let last = count.checked_sub(1).ok_or_else(bad)?;
        if image.checked_add(last).is_none() || host.checked_add(last).is_none() {
            return Err(bad());
        }
        Ok(Self { image, host, count })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.image, self.host, self.count)
    }
}

text_form!(IdMap, "a range of ids, such as \"0:100000:65536\" (IMAGE:HOST:COUNT)");

/// What becomes of holes in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holes {
    /// They stay holes.
    #[default]
    Keep,
    /// They become zeros that are stored.
    None,
}

words!(Holes, "a way to treat holes", [Keep = "keep", None = "none"]);

/// Limits on what one source may hold. Each is far above what root filesystems hold and low enough that no input
/// makes a program run for long or out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Entries, with the directories that are only implied: 8 Mi, about 1 GiB of memory.
    pub entries: u64,
    /// Bytes in one path or link target: 64 KiB, 16 times Linux's PATH_MAX.
    pub path_bytes: u64,
    /// Bytes in one pax header or GNU long name: 1 MiB; the kernel's xattrs of one file end at 64 KiB a value.
    pub pax_bytes: u64,
    /// Bytes in all different xattr sets together: 256 MiB.
    pub xattr_bytes: u64,
    /// Data ranges in all sparse files together: 4 Mi.
    pub sparse_ranges: u64,
    /// Bytes that a compressed source may expand to: 4 TiB.
    pub decompressed_bytes: u64,
    /// How many times its compressed size a source may expand to (looked at from 64 MiB on): 1,000.
    pub decompression_ratio: u64,
    /// The largest window of a zstd frame: 128 MiB, what `zstd` itself accepts unasked. Over 8 MiB is noted.
    pub zstd_window_bytes: u64,
    /// The largest dictionary of an xz block: 128 MiB; `xz -9` has 64. Over 8 MiB is noted.
    pub xz_dictionary_bytes: u64,
    /// Zeros behind the end of an archive: 1 GiB. GNU tar's records end at 1 MiB or so.
    pub padding_bytes: u64,
}

impl Limits {
    /// Those that are about compression.
    pub(super) fn compressed(&self) -> compressed::Limits {
        compressed::Limits {
            decompressed_bytes: self.decompressed_bytes,
            decompression_ratio: self.decompression_ratio,
            zstd_window_bytes: self.zstd_window_bytes,
            xz_dictionary_bytes: self.xz_dictionary_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let compressed = compressed::Limits::default();
        Self {
            entries: 8 << 20,
            path_bytes: 64 * KIB,
            pax_bytes: MIB,
            xattr_bytes: 256 * MIB,
            sparse_ranges: 4 << 20,
            decompressed_bytes: compressed.decompressed_bytes,
            decompression_ratio: compressed.decompression_ratio,
            zstd_window_bytes: compressed.zstd_window_bytes,
            xz_dictionary_bytes: compressed.xz_dictionary_bytes,
            padding_bytes: GIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_maps_read_and_bad_ones_are_refused() {
        assert_eq!("0:100000:65536".parse::<IdMap>().unwrap(), IdMap { image: 0, host: 100_000, count: 65_536 });
        assert!("0:0:4294967295".parse::<IdMap>().is_ok());
        for text in ["", "0:1", "0:1:0", "+0:1:1", "0:1:2:3", "-1:0:1", "4294967295:0:2", "0:4294967295:2", "a:b:c", "0:4294967296:1"] {
            assert!(text.parse::<IdMap>().is_err(), "{text}");
        }
    }
}
