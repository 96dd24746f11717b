//! What looks like a container that is not read here. Such a file is refused by name: taken for a raw disk it would be a wrong disk,
//! and what it names (a backing file, extents) is nobody's to open.

use super::read::ImageFile;
use crate::compressed::Compression;
use crate::error::{Error, Result};
use crate::units::{u64_of, usize_of};

/// Bytes at the front that tell what a file is.
pub const MAGIC_BYTES: u64 = 512;

/// A container with the place and bytes of its magic.
const CONTAINERS: &[(u64, &[u8], &str)] = &[
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"QED\0", "a QED image"),
    (0, b"KDMV", "a VMDK image"),
    (0, b"COWD", "a VMDK image"),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor"),
    (0, b"vhdxfile", "a VHDX image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"Bochs Virtual HD Image", "a Bochs image"),
    (0, b"conectix", "a VHD"),
    (257, b"ustar", "a tar, as an OVA is one"),
    (0, b"PK\x03\x04", "a zip archive"),
];

/// Apple's disk images end in a block of 512 bytes that begins so.
const KOLY: &[u8] = b"koly";

/// What the bytes at a file's front belong to.
pub(super) fn named(head: &[u8]) -> Option<&'static str> {
    let found = CONTAINERS.iter().find(|(offset, magic, _)| head.get(usize_of(*offset)..).is_some_and(|rest| rest.starts_with(magic)));
    found.map(|(_, _, name)| *name)
}

/// What `head`, the first [`MAGIC_BYTES`] of an input that can be read in order only, begins like, if it is no raw disk.
///
/// # Errors
/// A compression that is known but not read.
pub fn not_raw(head: &[u8]) -> Result<Option<&'static str>> {
    if let Some(name) = named(head) {
        return Ok(Some(name));
    }
    Ok(Compression::of(head)?.map(Compression::name))
}

/// The first bytes of the file.
fn head(image: &ImageFile) -> Result<Vec<u8>> {
    let mut head = vec![0; usize_of(image.len_bytes.min(MAGIC_BYTES))];
    image.read_exact_at(0, &mut head)?;
    Ok(head)
}

/// What the file is compressed with; refuses what looks like a container, which a raw disk is not said to be.
pub(super) fn recognise(image: &ImageFile) -> Result<Option<Compression>> {
    let head = head(image)?;
    let name = match named(&head) {
        Some(name) => Some(name),
        None => is_dmg(image)?.then_some("an Apple disk image"),
    };
    if let Some(name) = name {
        return Err(refused(name));
    }
    Compression::of(&head).map_err(|error| error.within("what may be a raw disk (then say --input-format raw)"))
}

pub(super) fn refused(name: &str) -> Error {
    Error::unsupported(format!("looks like {name}, which is not read here; convert it, or --input-format raw if these bytes really are the disk's"))
}

fn is_dmg(image: &ImageFile) -> Result<bool> {
    let mut magic = [0; KOLY.len()];
    let Some(offset) = image.len_bytes.checked_sub(512) else { return Ok(false) };
    image.read_exact_at(offset, &mut magic)?;
    debug_assert!(u64_of(magic.len()) <= 512);
    Ok(magic == KOLY)
}
