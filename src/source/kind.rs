//! Whether a file is a disk image or an archive.
//!
//! A container of ours has a magic. A raw disk has none of its own; it is taken for one where it begins as a disk does: with a
//! boot sector (signature 0x55 0xaa at byte 510: MBR, GPT's protective MBR, FAT), or with the zeros before an ext4 superblock,
//! and that. A tar begins with a header whose checksum is right. Where both are true nobody guesses.

use super::regular::RegularFile;
use super::tar;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};
use std::path::Path;

/// Bytes that tell: up to and with the magic of an ext4 superblock.
const HEAD_BYTES: usize = 2048;
const BOOT_SIGNATURE_AT: usize = 510;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
const EXT_MAGIC_AT: usize = 1024 + 0x38;
const EXT_MAGIC: [u8; 2] = [0x53, 0xef];
/// A VHD's cookie, at the begin (dynamic) or in the last sector.
const VHD_COOKIE: &[u8] = b"conectix";

/// Whether the file at `path` is a disk image.
///
/// # Errors
/// What could be both; I/O.
pub(super) fn is_image(path: &Path) -> Result<bool> {
    let file = RegularFile::open(path)?;
    let count = usize_of(file.size().min(u64_of(HEAD_BYTES)));
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(0, &mut head[..count])?;
    let head = &head[..count];
    let ends_as_vhd = [512, 511].into_iter().filter_map(|back| file.size().checked_sub(back)).any(|at| {
        let mut cookie = [0; VHD_COOKIE.len()];
        file.read_exact_at(at, &mut cookie).is_ok() && cookie == VHD_COOKIE
    });
    let has = |at: usize, what: &[u8]| head.get(at..at + what.len()) == Some(what);
    let boots = has(BOOT_SIGNATURE_AT, &BOOT_SIGNATURE);
    let is_vhd = has(0, VHD_COOKIE) || ends_as_vhd;
    let is_ext = has(EXT_MAGIC_AT, &EXT_MAGIC) && head[..512].iter().all(|byte| *byte == 0);
    if tar::is_header(head) {
        return if boots || is_vhd {
            Err(Error::invalid("this could be a tar and a disk image; if it is an image, say so with --input-format")
                .at_path(path.as_os_str().as_encoded_bytes()))
        } else {
            Ok(false)
        };
    }
    Ok(is_vhd || boots || is_ext || has(EXT_MAGIC_AT, &EXT_MAGIC) && !looks_packed(head))
}

/// Whether a magic says that this is something compressed or another archive, whose bytes mean nothing here.
fn looks_packed(head: &[u8]) -> bool {
    tar::check_magic(head).is_err() || !matches!(super::Compression::of(head), Ok(None))
}
