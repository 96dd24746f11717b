//! Tar archives: ustar, pax, GNU and version 7, read once by their headers.
//!
//! POSIX.1-2017, pax utility, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Tar Internals".
//! A file that can be read at any position is only indexed, its bodies stay where they are; a stream leaves the
//! contents of its files, and nothing else, in a spool.

mod acl;
mod format;
mod input;
#[cfg(test)]
pub(super) mod make;
mod pax;
mod scan;
mod sparse;

use super::Source;
use super::assembly::Assembly;
use super::options::Options;
use super::packed::{Backing, Index, Packed};
use super::regular::RegularFile;
use crate::content::{Spool, SpoolOptions};
use crate::error::{Error, Result};
use crate::tree::NewNode;
use input::{From, Input};
use scan::{Kind, Member, Scanner};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// Reads the tar in `file` in place.
pub(super) fn open(file: RegularFile, description: String, options: &Options) -> Result<Source> {
    let path = file.path().to_path_buf();
    let mut assembly = Assembly::new(options)?;
    let mut index = Index::default();
    let scanner = Scanner::new(Input::new(From::File(&file)), options.limits);
    index_members(scanner, &mut assembly, &mut index, None)?;
    file.check_unchanged()?;
    finish(assembly, index, Backing::File(file), description, vec![path])
}

/// Reads a tar from a stream to its end.
pub(super) fn read(reader: &mut dyn Read, description: String, paths: Vec<PathBuf>, options: &Options) -> Result<Source> {
    let mut assembly = Assembly::new(options)?;
    let mut index = Index::default();
    let mut spool = Spool::new(SpoolOptions { memory_bytes: options.spool_memory_bytes, folder: options.spool_folder.clone() });
    let scanner = Scanner::new(Input::new(From::Stream(reader)), options.limits);
    index_members(scanner, &mut assembly, &mut index, Some(&mut spool))?;
    finish(assembly, index, Backing::Spool(spool.finish()?), description, paths)
}

fn finish(assembly: Assembly<'_>, index: Index, backing: Backing, description: String, paths: Vec<PathBuf>) -> Result<Source> {
    let count = index.count();
    assembly.finish(description, paths, Arc::new(Packed { backing, index }), count)
}

fn index_members(mut scanner: Scanner<'_>, assembly: &mut Assembly<'_>, index: &mut Index, mut spool: Option<&mut Spool>) -> Result<()> {
    let mut any = false;
    while let Some(mut member) = scanner.next(&mut assembly.notes)? {
        any = true;
        let placed = index_member(&mut scanner, &mut member, assembly, index, spool.as_deref_mut());
        placed.map_err(|error| error.at_path(&member.path).at_offset(member.offset))?;
    }
    if !any {
        assembly.notes.add("the archive holds no entries", b"");
    }
    Ok(())
}

fn index_member(scanner: &mut Scanner<'_>, member: &mut Member, assembly: &mut Assembly<'_>, index: &mut Index, spool: Option<&mut Spool>) -> Result<()> {
    let (path, raw, body) = (&member.path, std::mem::take(&mut member.raw), member.body);
    // Where the body will be read: in the archive, or in the spool.
    let start = spool.as_deref().map_or(scanner.input.position(), Spool::length);
    let pass_body = |scanner: &mut Scanner<'_>| -> Result<()> {
        let padding = format::padded(body)? - body;
        match spool {
            None => scanner.input.skip(body + padding, "a file"),
            Some(spool) => {
                scanner.input.copy_to(spool, body, "a file")?;
                scanner.input.skip(padding, "the padding of a file")
            }
        }
    };
    let node = match &member.kind {
        Kind::File => {
            let content = index.push(start, body)?;
            pass_body(scanner)?;
            NewNode::File { content, length: body, data: None }
        }
        Kind::Sparse(map) => {
            let content = index.push_sparse(start, map.length, &map.data)?;
            pass_body(scanner)?;
            NewNode::File { content, length: map.length, data: Some(&map.data) }
        }
        Kind::HardLink(target) => return assembly.link(path, target).map(drop),
        Kind::Directory => NewNode::Directory,
        Kind::Symlink(target) => NewNode::Symlink(target),
        Kind::CharDevice(device) => NewNode::CharDevice(*device),
        Kind::BlockDevice(device) => NewNode::BlockDevice(*device),
        Kind::Fifo => NewNode::Fifo,
        Kind::Socket => NewNode::Socket,
    };
    assembly.add(path, raw, node).map(drop)
}

/// Whether `head`, the first bytes of a file, begins with a tar's header.
pub(super) fn is_header(head: &[u8]) -> bool {
    head.first_chunk::<{ format::BLOCK }>().is_some_and(|block| format::checksum_matches(block) && block.iter().any(|byte| *byte != 0))
}

/// Refuses other archives by name.
pub(super) fn check_magic(head: &[u8]) -> Result<()> {
    let known: [(&[u8], &str); 12] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"070701", "a cpio archive"),
        (b"070702", "a cpio archive"),
        (b"070707", "a cpio archive"),
        (b"!<arch>\n", "an ar archive (a .deb package?)"),
        (b"hsqs", "a squashfs image"),
        (b"QFI\xfb", "a qcow2 disk image"),
        (b"KDMV", "a VMDK disk image"),
        (b"vhdxfile", "a VHDX disk image"),
        (b"conectix", "a VHD disk image"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\xed\xab\xee\xdb", "an RPM package"),
    ];
    match known.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, what)) => {
            Err(Error::unsupported(format!("this is {what}; a source is a directory, a tar (plain, gzip, zstd, xz) or a disk image (raw, VHD)")))
        }
        None => Ok(()),
    }
}
