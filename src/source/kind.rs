//! Whether a file is a disk image or an archive.
//!
//! A container of ours has a magic. A raw disk has none of its own; it is taken for one where it begins as a disk does: with a
//! boot sector (signature 0x55 0xaa at byte 510: MBR, GPT's protective MBR, FAT), or with the zeros before an ext4 superblock,
//! and that. A tar begins with a header whose checksum is right. Where both are true nobody guesses.

use super::options::Options;
use super::regular::RegularFile;
use super::tar;
use crate::compressed::{Compression, Decompressed};
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};
use std::io::Read as _;
use std::path::Path;

/// Bytes that tell: up to and with the magic of an ext4 superblock.
const HEAD_BYTES: usize = 2048;
const BOOT_SIGNATURE_AT: usize = 510;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
const EXT_MAGIC_AT: usize = 1024 + 0x38;
const EXT_MAGIC: [u8; 2] = [0x53, 0xef];
/// A VHD's cookie, at the begin (dynamic) or in the last sector.
const VHD_COOKIE: &[u8] = b"conectix";

/// Whether the file at `path` is a disk image: as it is, or once it is unpacked.
///
/// # Errors
/// What could be both; I/O.
pub(super) fn is_image(path: &Path, options: &Options) -> Result<bool> {
    let file = RegularFile::open(path)?;
    let mut head = vec![0; usize_of(file.size().min(u64_of(HEAD_BYTES)))];
    file.read_exact_at(0, &mut head)?;
    let mut ends_as_vhd = false;
    match Compression::of(&head) {
        Ok(Some(compression)) => head = unpacked_head(&file, compression, options),
        // Other compressions and archives are refused by name, as archives.
        _ if tar::check_magic(&head).is_err() && !head.starts_with(VHD_COOKIE) => return Ok(false),
        _ => {
            let footers = [512, 511].into_iter().filter_map(|back| file.size().checked_sub(back));
            for at in footers.filter(|at| *at > 0) {
                let mut cookie = [0; VHD_COOKIE.len()];
                file.read_exact_at(at, &mut cookie)?;
                ends_as_vhd |= cookie == VHD_COOKIE;
            }
        }
    }
    let has = |at: usize, what: &[u8]| head.get(at..at + what.len()) == Some(what);
    let boots = has(BOOT_SIGNATURE_AT, &BOOT_SIGNATURE);
    let is_vhd = has(0, VHD_COOKIE) || ends_as_vhd;
    if tar::is_header(&head) {
        return if boots || is_vhd {
            let message = "this could be a tar and a disk image; if it is an image, say so with --input-format";
            Err(Error::invalid(message).at_path(path.as_os_str().as_encoded_bytes()))
        } else {
            Ok(false)
        };
    }
    Ok(is_vhd || boots || has(EXT_MAGIC_AT, &EXT_MAGIC))
}

/// What a compressed file begins with, as far as it can be unpacked: whoever reads all of it says what is wrong.
fn unpacked_head(file: &RegularFile, compression: Compression, options: &Options) -> Vec<u8> {
    let mut head = Vec::new();
    let mut reader = &file.file;
    if let Ok(unpacked) = Decompressed::new(&mut reader, compression, options.limits.compressed()) {
        let _ = unpacked.take(u64_of(HEAD_BYTES)).read_to_end(&mut head);
    }
    head
}
