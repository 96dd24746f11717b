//! Reading VHDs. Every field is checked before it is used; a damaged or shortened file never reads as zeros.
//!
//! Checked here: footer (also where it has 511 bytes, as before Virtual PC 2004) and its copy, their checksums and agreement; of
//! differencing disks that each parent's identifier is the one that the child names, and the sizes. Not checked: the time that a
//! child remembers of its parent, which a copy of the file changes. The size is "Current Size", never the geometry, whoever made it:
//! Virtual PC, Hyper-V, disk2vhd, Azure, VirtualBox, QEMU.

use super::blocks::{self, DynamicDisk};
use super::format::{DISK_TYPE_DIFFERENCING, DISK_TYPE_DYNAMIC, DISK_TYPE_FIXED, FOOTER_BYTES, FOOTER_COOKIE, Footer};
use super::{FOOTER_SIZE, SECTOR_BYTES, VHD_MAX_BYTES};
use crate::content::{ReadAt, check_range};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::format::Format;
use crate::format::read::{DiskReader, ImageFile, open_readable};
use crate::units::{Size, u64_of, usize_of};
use byteorder::{BigEndian, ByteOrder as _};
use std::ops::Range;
use std::path::PathBuf;

/// Where "Disk Type" stands in a footer.
const DISK_TYPE_AT: usize = 60;
/// Parents above each other that are read: each read of what none of them has goes through all.
const DEPTH_MAX: usize = 8;

/// Whether the file's magic, at its begin or in its last sector, is a VHD's.
pub(in crate::format) fn is_vhd(image: &ImageFile) -> Result<bool> {
    Ok(has_cookie(image, Some(0))? || footer_offset(image)?.is_some())
}

fn has_cookie(image: &ImageFile, offset_bytes: Option<u64>) -> Result<bool> {
    let mut cookie = [0; FOOTER_COOKIE.len()];
    match offset_bytes {
        Some(offset) if offset + u64_of(cookie.len()) <= image.len_bytes => image.read_exact_at(offset, &mut cookie)?,
        _ => return Ok(false),
    }
    Ok(cookie == FOOTER_COOKIE)
}

/// Where the footer at the end begins.
fn footer_offset(image: &ImageFile) -> Result<Option<u64>> {
    for footer_bytes in [FOOTER_SIZE, FOOTER_SIZE - 1] {
        let offset = image.len_bytes.checked_sub(footer_bytes);
        if has_cookie(image, offset)? {
            return Ok(offset);
        }
    }
    Ok(None)
}

/// Opens a VHD; a differencing one with those of the files at `parents` that it and its parents name by their identifiers.
pub(in crate::format) fn open(image: ImageFile, parents: &[PathBuf]) -> Result<Box<dyn DiskReader>> {
    let mut chain = vec![Found::of(image)?];
    let mut given = given(parents, &chain[0])?;
    while let Some(child) = chain.last().filter(|found| found.footer.disk_type == DISK_TYPE_DIFFERENCING) {
        let parent = parent_of(child, &mut given)?;
        if chain.len() > DEPTH_MAX {
            return Err(Error::limit(format!("a differencing VHD on a chain of over {DEPTH_MAX} parents")));
        }
        chain.push(parent);
    }
    if let Some((path, _)) = given.first() {
        return Err(Error::invalid(format!("{} is not one of its parents", escape(path.as_os_str().as_encoded_bytes()))));
    }
    let mut below = None;
    while let Some(found) = chain.pop() {
        below = Some(found.disk(below)?);
    }
    Ok(below.expect("the chain holds the image at least"))
}

/// The files that are given as parents. Two of one identifier could be taken for each other.
fn given(parents: &[PathBuf], image: &Found) -> Result<Vec<(PathBuf, Found)>> {
    let mut given: Vec<(PathBuf, Found)> = Vec::with_capacity(parents.len());
    for path in parents {
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let found = open_readable(path).and_then(ImageFile::new).and_then(Found::of).map_err(named)?;
        let others = given.iter().map(|(_, found)| found).chain([image]);
        if others.map(|other| other.footer.unique_id).any(|id| id == found.footer.unique_id) {
            return Err(named(Error::invalid(format!("two of the VHDs that were given have the identifier {}", shown(&found.footer.unique_id)))));
        }
        given.push((path.clone(), found));
    }
    Ok(given)
}

/// Takes the parent of a differencing disk from what was given. What its header names as a path is only said.
fn parent_of(child: &Found, given: &mut Vec<(PathBuf, Found)>) -> Result<Found> {
    let (header, at) = blocks::header(&child.image, &child.footer, child.footer_at)?;
    let Some(index) = given.iter().position(|(_, found)| found.footer.unique_id == header.parent_unique_id) else {
        let (name, id) = (parent_name(&header.parent_unicode_name), shown(&header.parent_unique_id));
        return Err(Error::unsupported(format!(
            "a differencing VHD, which holds only the changes to its parent \"{}\" with the identifier {id}: give that with --vhd-parent",
            escape(name.as_bytes())
        )));
    };
    let (path, parent) = given.remove(index);
    let (size, own) = (parent.footer.current_size, child.footer.current_size);
    if size != own {
        let message = format!("a differencing VHD of {own} bytes, and its parent {} has {size}", escape(path.as_os_str().as_encoded_bytes()));
        return Err(Error::corrupt(message).at_offset(at.start));
    }
    Ok(parent)
}

fn shown(id: &[u8; 16]) -> String {
    let hex: Vec<String> = id.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(|part| part.concat()).join("-")
}

fn parent_name(utf16: &[u8; 512]) -> String {
    let units = utf16.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// A VHD whose footer was read.
struct Found {
    image: ImageFile,
    footer: Footer,
    /// Where the footer at the end begins, which ends what there is for all else.
    footer_at: u64,
    notes: Vec<String>,
}

impl Found {
    /// Looks for the footer at the end, which every VHD has, and for the copy that all but fixed ones have at the begin. Where both can
    /// be read they have to agree. Where one of them is damaged, the other is used and that is said: the two cannot disagree then. Where
    /// there is no footer at the end at all, the file is cut, and the copy, which could tell the size of what is missing, is not asked.
    fn of(image: ImageFile) -> Result<Self> {
        let footer_at = footer_offset(&image)?.ok_or_else(|| Error::corrupt("no VHD footer at the end: no VHD, or not all of one"))?;
        let mut bytes = [0; FOOTER_BYTES];
        // A footer of 511 bytes lacks the last reserved one.
        image.read_exact_at(footer_at, &mut bytes[..usize_of(image.len_bytes - footer_at)])?;
        let footer = Footer::decode(&bytes).map_err(|error| error.at_offset(footer_at));
        let mut notes = Vec::new();
        let footer = match footer {
            Ok(footer) if footer.disk_type == DISK_TYPE_FIXED => footer,
            Ok(footer) => {
                match copy(&image) {
                    Ok(copy) if essence(&copy) != essence(&footer) => return Err(Error::corrupt("the VHD's footer and its copy at the begin differ")),
                    Ok(_) => {}
                    Err(error) => notes.push(format!("the copy of the VHD's footer is damaged, and the footer is used: {error}")),
                }
                footer
            }
            Err(error) => {
                // A fixed disk has the guest's bytes at its begin: they are not asked what the disk is.
                let stored_type = BigEndian::read_u32(&bytes[DISK_TYPE_AT..DISK_TYPE_AT + 4]);
                let is_copy = |copy: &Footer| copy.disk_type == stored_type && stored_type != DISK_TYPE_FIXED && error.kind() == ErrorKind::Corrupt;
                let copy = copy(&image).ok().filter(is_copy);
                let Some(copy) = copy else { return Err(error) };
                notes.push(format!("the VHD's footer is damaged, and its copy at the begin is used: {error}"));
                copy
            }
        };
        if footer.current_size > VHD_MAX_BYTES || footer.current_size % SECTOR_BYTES != 0 {
            let message = format!("the VHD's current size is {} bytes: whole sectors up to {} were expected", footer.current_size, Size::bytes(VHD_MAX_BYTES));
            return Err(Error::corrupt(message).at_offset(footer_at + 48));
        }
        Ok(Self { image, footer, footer_at, notes })
    }

    /// The disk in it, over the one `below` where it is a differencing one.
    fn disk(self, below: Option<Box<dyn DiskReader>>) -> Result<Box<dyn DiskReader>> {
        let Self { image, footer, footer_at, notes } = self;
        match footer.disk_type {
            DISK_TYPE_FIXED if footer.current_size <= footer_at => Ok(Box::new(FixedDisk { image, size_bytes: footer.current_size })),
            DISK_TYPE_FIXED => Err(Error::corrupt(format!("a fixed VHD of {} bytes, of which {footer_at} are in the file", footer.current_size))),
            DISK_TYPE_DYNAMIC | DISK_TYPE_DIFFERENCING => Ok(Box::new(DynamicDisk::open(image, &footer, footer_at, below, notes)?)),
            other => Err(Error::unsupported(format!("a VHD of type {other}: fixed (2), dynamic (3) and differencing (4) are known")).at_offset(footer_at + 60)),
        }
    }
}

/// The copy of the footer at the file's begin.
fn copy(image: &ImageFile) -> Result<Footer> {
    let mut bytes = [0; FOOTER_BYTES];
    image.read_exact_at(0, &mut bytes)?;
    Footer::decode(&bytes).map_err(|error| error.at_offset(0))
}

/// What readers go by: where footer and copy differ in it, readers do too.
fn essence(footer: &Footer) -> (u32, u64, u64, [u8; 16]) {
    (footer.disk_type, footer.current_size, footer.data_offset, footer.unique_id)
}

struct FixedDisk {
    image: ImageFile,
    size_bytes: u64,
}

impl DiskReader for FixedDisk {
    fn format(&self) -> Format {
        Format::VhdFixed
    }

    fn check_unchanged(&self) -> Result<()> {
        self.image.check_unchanged()
    }
}

impl ReadAt for FixedDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset_bytes, out.len(), self.size_bytes)?;
        self.image.read_exact_at(offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        self.image.stored_after(offset_bytes, self.size_bytes)
    }
}
