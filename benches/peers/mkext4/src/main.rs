//! An ext4 filesystem from a directory by the crate mkext4: `peer-mkext4 DIRECTORY IMAGE SIZE-IN-BYTES`.
//!
//! What the crate can hold is given to it: owners, modes, times, links, devices, xattrs, holes. What it cannot is an error,
//! which the bench shows. Reading is done the fast way: names relative to open directories, one stat an entry, files opened
//! when they are written.

use mkext4::sink::FileSink;
use mkext4::{FsBuilder, InodeHandle, Meta, Options, ROOT, SparseSeg, SpecialKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Holes are whole blocks.
const BLOCK: u64 = 4096;
/// 2023-11-14: what the crate adds of its own.
const EPOCH: i64 = 1_700_000_000;

/// A file whose contents are to follow.
struct Fill {
    handle: InodeHandle,
    path: Vec<u8>,
    /// The parts that are data; `None` for all of it.
    data: Option<Vec<(u64, u64)>>,
}

struct Walk {
    builder: FsBuilder,
    links: HashMap<(u64, u64), InodeHandle>,
    fills: Vec<Fill>,
    buffer: Vec<u8>,
}

fn meta(stat: &Stat) -> Result<Meta> {
    let mode = u16::try_from(stat.st_mode & 0o7777)?;
    let nanoseconds = u32::try_from(stat.st_mtime_nsec)?;
    Ok(Meta::new(mode, stat.st_uid, stat.st_gid, (stat.st_mtime, nanoseconds)))
}

impl Walk {
    fn xattrs(&mut self, handle: InodeHandle, directory: BorrowedFd<'_>, name: &str) -> Result<()> {
        const MOST: usize = 65_536;
        self.buffer.resize(2 * MOST, 0);
        let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
        let (names, value) = self.buffer.split_at_mut(MOST);
        let length = rustix::fs::llistxattr(path.as_str(), &mut *names)?;
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let length = rustix::fs::lgetxattr(path.as_str(), name, &mut *value)?;
            let name = std::str::from_utf8(name)?;
            match name {
                "system.posix_acl_access" | "system.posix_acl_default" => self.builder.set_xattr(handle, name, &acl_on_disk(&value[..length]))?,
                _ => self.builder.set_xattr(handle, name, &value[..length])?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, parent: InodeHandle, fd: &OwnedFd, path: &[u8]) -> Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_str().map_err(|_| "a name that is not UTF-8: the crate takes none")?;
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        for name in names {
            let below = [path, b"/", name.as_bytes()].concat();
            self.entry(parent, fd.as_fd(), &name, below)?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: InodeHandle, fd: BorrowedFd<'_>, name: &str, path: Vec<u8>) -> Result<()> {
        let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let identity = (stat.st_dev, stat.st_ino);
        let linked = kind != FileType::Directory && stat.st_nlink > 1;
        if let Some(known) = self.links.get(&identity).filter(|_| linked) {
            return Ok(self.builder.hardlink(parent, name, *known)?);
        }
        let meta = meta(&stat)?;
        let device = |stat: &Stat| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let handle = match kind {
            FileType::Directory => self.builder.mkdir(parent, name, meta)?,
            FileType::RegularFile => self.file(parent, fd, name, meta, &stat, &path)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(fd, name, Vec::new())?;
                self.builder.symlink(parent, name, target.to_str()?, meta)?
            }
            FileType::CharacterDevice => {
                let (major, minor) = device(&stat);
                self.builder.mknod(parent, name, meta, SpecialKind::Char { major, minor })?
            }
            FileType::BlockDevice => {
                let (major, minor) = device(&stat);
                self.builder.mknod(parent, name, meta, SpecialKind::Block { major, minor })?
            }
            FileType::Fifo => self.builder.mknod(parent, name, meta, SpecialKind::Fifo)?,
            FileType::Socket => self.builder.mknod(parent, name, meta, SpecialKind::Socket)?,
            FileType::Unknown => return Err("of a kind that is not known".into()),
        };
        if linked {
            self.links.insert(identity, handle);
        }
        self.xattrs(handle, fd, name)?;
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(fd, name, flags, Mode::empty())?;
            self.directory(handle, &below, &path)?;
        }
        Ok(())
    }

    fn file(&mut self, parent: InodeHandle, fd: BorrowedFd<'_>, name: &str, meta: Meta, stat: &Stat, path: &[u8]) -> Result<InodeHandle> {
        let size = u64::try_from(stat.st_size)?;
        let holes = u64::try_from(stat.st_blocks)? * 512 < size;
        let data = if holes { Some(data_ranges(&rustix::fs::openat(fd, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, size)?) } else { None };
        let handle = match &data {
            None => self.builder.file(parent, name, meta, size)?,
            Some(data) => {
                let mut segments = Vec::new();
                let mut at = 0;
                for (start, length) in data {
                    if *start > at {
                        segments.push(SparseSeg::Hole(start - at));
                    }
                    segments.push(SparseSeg::Data(*length));
                    at = start + length;
                }
                if size > at {
                    segments.push(SparseSeg::Hole(size - at));
                }
                self.builder.file_sparse(parent, name, meta, &segments)?
            }
        };
        if size > 0 {
            self.fills.push(Fill { handle, path: path.to_vec(), data });
        }
        Ok(handle)
    }
}

/// A POSIX ACL in ext4's form, which the crate leaves to its caller: version 1, and ids only where there are any.
fn acl_on_disk(value: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 0, 0, 0];
    for entry in value.get(4..).unwrap_or_default().chunks_exact(8) {
        let named = matches!(entry[0], 0x02 | 0x08);
        out.extend_from_slice(&entry[..if named { 8 } else { 4 }]);
    }
    out
}

/// The parts of a file that are data, rounded outwards to blocks, disjoint.
fn data_ranges(fd: &OwnedFd, size: u64) -> Result<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(fd, SeekFrom::Data(at)) else { break };
        let end = rustix::fs::seek(fd, SeekFrom::Hole(start))?;
        let (first, last) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK).min(size));
        match ranges.last_mut() {
            Some((from, length)) if *from + *length >= first => *length = last - *from,
            _ => ranges.push((first, last - first)),
        }
        at = end;
    }
    Ok(ranges)
}

/// The data of a file with holes, one part after the other.
struct Parts<'a> {
    file: File,
    data: std::slice::Iter<'a, (u64, u64)>,
    at: u64,
    left: u64,
}

impl Read for Parts<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt;
        if self.left == 0 {
            let Some((start, length)) = self.data.next() else { return Ok(0) };
            (self.at, self.left) = (*start, *length);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read_at(&mut out[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, source, image, size] = &arguments[..] else { return Err("DIRECTORY IMAGE SIZE-IN-BYTES".into()) };
    let builder = FsBuilder::new(Options::new(size.parse()?, *b"peer of a bench.", EPOCH))?;
    let mut walk = Walk { builder, links: HashMap::new(), fills: Vec::new(), buffer: Vec::new() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, source.as_str(), flags, Mode::empty())?;
    walk.builder.set_meta(ROOT, meta(&rustix::fs::fstat(&root)?)?)?;
    walk.xattrs(ROOT, root.as_fd(), ".")?;
    walk.directory(ROOT, &root, b"")?;
    let Walk { builder, fills, .. } = walk;

    let layout = builder.seal()?;
    let mut sink = FileSink::create(image.as_ref(), layout.image_len())?;
    let mut writer = layout.writer(&mut sink)?;
    for Fill { handle, path, data } in &fills {
        let below = std::str::from_utf8(path)?.trim_start_matches('/');
        let mut file = File::from(rustix::fs::openat(&root, below, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
        match data {
            None => writer.fill(*handle, &mut file)?,
            Some(data) => writer.fill(*handle, &mut Parts { file, data: data.iter(), at: 0, left: 0 })?,
        }
    }
    writer.finish()?;
    sink.into_file().sync_all()?;
    Ok(())
}
