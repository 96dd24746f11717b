//! Entries into a tar, in the form of POSIX.1-2001 (pax), with everything that a tree keeps.
//!
//! POSIX.1-2017, pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files", format 1.0; star(5) for `SCHILY.*`: xattrs, chattr
//! attributes and sockets have no other form. The same tree gives the same bytes: extended headers have no times of their own, and a
//! record is written only where the header cannot say it.

use super::{ExtractOptions, Extracted, PIECE_BYTES, wanted};
use crate::content::Contents as _;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{AtomicFile, Output};
use crate::source::Source;
use crate::tree::{FileData, HolesId, Metadata, NodeId, NodeKind, attribute};
use crate::units::{u64_of, usize_of};
use ::tar::{EntryType, Header};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

const BLOCK: usize = 512;
/// What a header's fields hold: names of 100 bytes, ids of 7 octal digits, sizes and times of 11.
const NAME_MAX_BYTES: usize = 100;
const ID_MAX: u32 = 0o7_777_777;
const SIZE_MAX: u64 = 0o77_777_777_777;
/// The level of zstd's own command.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

/// How a tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarCompression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl TarCompression {
    /// What a file name's end stands for: `.tar`, `.tar.gz` and `.tgz`, `.tar.zst` and `.tzst`; `None` for anything else.
    #[must_use]
    pub fn from_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        match () {
            () if ends(&[".tar"]) => Some(Self::None),
            () if ends(&[".tar.gz", ".tgz"]) => Some(Self::Gzip),
            () if ends(&[".tar.zst", ".tzst"]) => Some(Self::Zstd),
            () => None,
        }
    }
}

/// Takes entries of `source` out into a tar at `path`, which appears when it is whole.
///
/// # Errors
/// [`ErrorKind::Exists`] (without `options.force`), also where it is the source; contents that cannot be read: a tar has no room for half
/// of one, so `options.keep_going` leaves such files out; I/O.
pub fn extract_to_tar(source: &Source, path: impl AsRef<Path>, compression: TarCompression, options: &ExtractOptions) -> Result<Extracted> {
    let path = path.as_ref();
    if source.paths.iter().any(|input| crate::output::same_file(input, path)) {
        return Err(Error::new(ErrorKind::Exists, "the output is one of the inputs").at_path(path.as_os_str().as_encoded_bytes()));
    }
    let mut file = AtomicFile::create(path, options.force)?;
    let done = write_tar(source, ToFile(&mut file), compression, options)?;
    file.finish().map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))?;
    file.commit()?;
    Ok(done)
}

/// Writes entries of `source` as a tar to anything that takes bytes.
///
/// # Errors
/// As [`extract_to_tar`].
pub fn write_tar(source: &Source, to: impl Write, compression: TarCompression, options: &ExtractOptions) -> Result<Extracted> {
    let cannot = |error| Error::io("cannot write the tar", error);
    match compression {
        TarCompression::None => write_entries(source, to, options).map(|(done, _)| done),
        TarCompression::Gzip => {
            let (done, encoder) = write_entries(source, flate2::write::GzEncoder::new(to, flate2::Compression::default()), options)?;
            encoder.finish().map_err(cannot)?.flush().map_err(cannot)?;
            Ok(done)
        }
        #[cfg(feature = "zstd")]
        TarCompression::Zstd => {
            let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL).map_err(cannot)?;
            encoder.include_checksum(true).map_err(cannot)?;
            let (done, encoder) = write_entries(source, encoder, options)?;
            encoder.finish().map_err(cannot)?.flush().map_err(cannot)?;
            Ok(done)
        }
        #[cfg(not(feature = "zstd"))]
        TarCompression::Zstd => Err(Error::unsupported("zstd, which this build leaves out (feature `zstd`)")),
    }
}

/// An [`AtomicFile`] as a [`Write`].
struct ToFile<'a>(&'a mut AtomicFile);

impl Write for ToFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_entries<W: Write>(source: &Source, to: W, options: &ExtractOptions) -> Result<(Extracted, W)> {
    let mut writer = Writer { source, options, to, written: 0, linked: HashMap::new(), buffer: vec![0; usize_of(PIECE_BYTES)], done: Extracted::default() };
    for (path, id) in wanted(source, &options.paths)? {
        options.cancel.check()?;
        if path.is_empty() && source.tree.node(id).implied {
            continue;
        }
        writer.entry(&path, id).map_err(|error| error.at_path(&path))?;
    }
    // Two blocks of zeros end an archive.
    writer.put(&[0; 2 * BLOCK])?;
    writer.to.flush().map_err(|error| Error::io("cannot write the tar", error))?;
    Ok((writer.done, writer.to))
}

struct Writer<'a, W> {
    source: &'a Source,
    options: &'a ExtractOptions,
    to: W,
    written: u64,
    /// The first name of a node with several.
    linked: HashMap<NodeId, Vec<u8>>,
    buffer: Vec<u8>,
    done: Extracted,
}

impl<W: Write> Writer<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += u64_of(bytes.len());
        self.to.write_all(bytes).map_err(|error| {
            // An error of the output, inside the one that a compressor passes on.
            let own = error.get_ref().is_some_and(|inner| inner.is::<Error>());
            let inner =
                if own { error.into_inner().and_then(|inner| inner.downcast::<Error>().ok()) } else { return Error::io("cannot write the tar", error) };
            inner.map_or_else(|| Error::new(ErrorKind::Io, "cannot write the tar"), |inner| *inner)
        })
    }

    fn pad(&mut self) -> Result<()> {
        let behind = usize_of(self.written % u64_of(BLOCK));
        if behind > 0 { self.put(&[0; BLOCK][behind..]) } else { Ok(()) }
    }

    fn entry(&mut self, path: &[u8], id: NodeId) -> Result<()> {
        let tree = &self.source.tree;
        let node = tree.node(id);
        let mut name = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        records.metadata(&mut header, self.source, &node.metadata);
        header.set_size(0);
        if node.links > 1 && !node.is_directory() {
            if let Some(first) = self.linked.get(&id) {
                let first = first.clone();
                header.set_entry_type(EntryType::Link);
                records.link(&mut header, &first);
                return self.header(header, records, &name);
            }
            self.linked.insert(id, name.clone());
        }
        match node.kind {
            NodeKind::File(file) => {
                if let Err(error) = self.file(header, records, &name, &file) {
                    if !self.options.keep_going || !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) {
                        return Err(error);
                    }
                    self.linked.remove(&id);
                    self.done.failed.push(error.at_path(path));
                }
                return Ok(());
            }
            NodeKind::Directory => {
                header.set_entry_type(EntryType::Directory);
                name.push(b'/');
            }
            NodeKind::Symlink(_) => {
                header.set_entry_type(EntryType::Symlink);
                let target = tree.target(id).to_vec();
                records.link(&mut header, &target);
            }
            NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
                header.set_entry_type(if matches!(node.kind, NodeKind::CharDevice(_)) { EntryType::Char } else { EntryType::Block });
                set_device(&mut header, device.major, device.minor)?;
            }
            NodeKind::Fifo => header.set_entry_type(EntryType::Fifo),
            NodeKind::Socket => {
                header.set_entry_type(EntryType::Regular);
                records.add(b"SCHILY.filetype", b"socket");
            }
        }
        self.header(header, records, &name)
    }

    /// A regular file, with its holes.
    fn file(&mut self, mut header: Header, mut records: Records, name: &[u8], file: &FileData) -> Result<()> {
        header.set_entry_type(EntryType::Regular);
        // What cannot be read is to be known before the header is written: a long file may still fail, and then all does.
        let first = usize_of(file.length.min(PIECE_BYTES));
        self.source.contents.read_exact_at(file.content, 0, &mut self.buffer[..first])?;
        if file.holes == HolesId::NONE {
            records.size(&mut header, file.length);
            self.header(header, records, name)?;
            return self.body(file, &[(0, file.length)]);
        }
        let data: Vec<(u64, u64)> = self.source.tree.data_ranges(file).collect();
        // The last entry says how long the file is.
        let ends = data.last().is_none_or(|(offset, len)| offset + len < file.length).then_some((file.length, 0));
        let map: Vec<(u64, u64)> = data.iter().copied().chain(ends).collect();
        let mut text = format!("{}\n", map.len());
        for (offset, len) in &map {
            text.push_str(&format!("{offset}\n{len}\n"));
        }
        let mut text = text.into_bytes();
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        for (keyword, value) in [(&b"GNU.sparse.major"[..], &b"1"[..]), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", name)] {
            records.add(keyword, value);
        }
        records.add(b"GNU.sparse.realsize", file.length.to_string().as_bytes());
        records.size(&mut header, u64_of(text.len()) + data.iter().map(|(_, len)| len).sum::<u64>());
        self.header(header, records, name)?;
        self.put(&text)?;
        self.body(file, &data)
    }

    fn body(&mut self, file: &FileData, ranges: &[(u64, u64)]) -> Result<()> {
        for (offset, len) in ranges {
            let mut at = *offset;
            while at < offset + len {
                self.options.cancel.check()?;
                let count = usize_of((offset + len - at).min(PIECE_BYTES));
                let mut buffer = std::mem::take(&mut self.buffer);
                let copied = self.source.contents.read_exact_at(file.content, at, &mut buffer[..count]).and_then(|()| self.put(&buffer[..count]));
                self.buffer = buffer;
                // Behind a header there is no way back.
                copied.map_err(|error| if error.kind() == ErrorKind::Cancelled { error } else { Error::new(ErrorKind::Io, format!("{error}")) })?;
                at += u64_of(count);
            }
            self.done.bytes += len;
        }
        self.pad()
    }

    /// Writes the header of an entry, behind the extended one that it needs.
    fn header(&mut self, mut header: Header, mut records: Records, name: &[u8]) -> Result<()> {
        if name.len() > NAME_MAX_BYTES {
            records.add(b"path", name);
        }
        copy_name(&mut header.as_old_mut().name, name);
        if !records.bytes.is_empty() {
            if std::str::from_utf8(&records.bytes).is_err() {
                let mut all = Records::default();
                all.add(b"hdrcharset", b"BINARY");
                all.bytes.extend_from_slice(&records.bytes);
                records = all;
            }
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            extended.set_mode(0o644);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_size(u64_of(records.bytes.len()));
            copy_name(&mut extended.as_old_mut().name, b"PaxHeaders/entry");
            extended.set_cksum();
            self.put(extended.as_bytes())?;
            self.put(&records.bytes)?;
            self.pad()?;
        }
        header.set_cksum();
        self.done.entries += 1;
        self.put(header.as_bytes())
    }
}

fn copy_name(field: &mut [u8; NAME_MAX_BYTES], name: &[u8]) {
    let len = name.len().min(NAME_MAX_BYTES);
    field[..len].copy_from_slice(&name[..len]);
}

fn set_device(header: &mut Header, major: u32, minor: u32) -> Result<()> {
    let cannot = |error| Error::io("a device number that a tar does not hold", error);
    header.set_device_major(major).map_err(cannot)?;
    header.set_device_minor(minor).map_err(cannot)
}

/// The records of an extended header: what the header itself has no room for.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// `"%d %s=%s\n"`, the number counting all of the record.
    fn add(&mut self, keyword: &[u8], value: &[u8]) {
        let rest = keyword.len() + value.len() + 3;
        let mut len = rest;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.bytes.extend_from_slice(format!("{len} ").as_bytes());
        self.bytes.extend_from_slice(keyword);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    fn size(&mut self, header: &mut Header, size: u64) {
        if size > SIZE_MAX {
            self.add(b"size", size.to_string().as_bytes());
        }
        header.set_size(size.min(SIZE_MAX));
    }

    fn link(&mut self, header: &mut Header, target: &[u8]) {
        if target.len() > NAME_MAX_BYTES {
            self.add(b"linkpath", target);
        }
        copy_name(&mut header.as_old_mut().linkname, target);
    }

    fn metadata(&mut self, header: &mut Header, source: &Source, metadata: &Metadata) {
        header.set_mode(u32::from(metadata.mode));
        for (id, keyword) in [(metadata.uid, &b"uid"[..]), (metadata.gid, b"gid")] {
            if id > ID_MAX {
                self.add(keyword, id.to_string().as_bytes());
            }
        }
        header.set_uid(u64::from(metadata.uid.min(ID_MAX)));
        header.set_gid(u64::from(metadata.gid.min(ID_MAX)));
        let seconds = u64::try_from(metadata.mtime.seconds).ok().filter(|seconds| *seconds <= SIZE_MAX);
        header.set_mtime(seconds.unwrap_or(0));
        if seconds.is_none() || metadata.mtime.nanoseconds > 0 {
            let text = crate::listing::seconds_and_nanoseconds(metadata.mtime);
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            self.add(b"mtime", text.as_bytes());
        }
        for xattr in source.tree.xattrs(metadata.xattrs) {
            self.add(&[b"SCHILY.xattr.".to_vec(), encoded(&xattr.name)].concat(), &xattr.value);
        }
        let names = attribute::names(metadata.attributes);
        if !names.is_empty() {
            self.add(b"SCHILY.fflags", names.join(",").as_bytes());
        }
        if metadata.project != 0 {
            self.add(b"ROOTVOL.project", metadata.project.to_string().as_bytes());
        }
    }
}

/// An attribute's name as libarchive and GNU tar write it in a keyword, which ends at the first `=`.
fn encoded(name: &[u8]) -> Vec<u8> {
    let each = name.iter().map(|byte| match byte {
        b'=' => &b"%3D"[..],
        b'%' => b"%25",
        byte => std::slice::from_ref(byte),
    });
    each.collect::<Vec<_>>().concat()
}
