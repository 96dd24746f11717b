//! Headers into entries: what a header, the headers before it and the global ones say together.
//!
//! Strict where readers differ, because whoever made the archive saw it read by another one. Refused: a bad checksum,
//! an unknown typeflag, a body on something that is no file, extensions before nothing or twice, pax records beside
//! GNU long names, a zero block between entries, an end without any zero block (a truncated archive looks the same).
//! The end is two zero blocks, or one and the end of the file; only zeros may follow.

use super::acl;
use super::format::{self, BLOCK, Dialect, Header, typeflag};
use super::input::Input;
use super::pax::Records;
use super::sparse::{self, SparseMap};
use crate::error::{Error, Result, escape};
use crate::source::assembly::{Notes, RawMetadata};
use crate::source::options::Limits;
use crate::tree::{Device, Metadata, Timestamp};
use crate::units::{u64_of, usize_of};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// Stored whole.
    File,
    Sparse(SparseMap),
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

/// An entry; its body is next in the input.
#[derive(Debug)]
pub(super) struct Member {
    /// Of its header.
    pub(super) offset: u64,
    pub(super) path: Vec<u8>,
    pub(super) raw: RawMetadata,
    pub(super) kind: Kind,
    /// Bytes of the body that are in the input, without padding.
    pub(super) body: u64,
}

/// What the headers before an entry's own say.
#[derive(Default)]
struct Extensions {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    fn is_any(&self) -> bool {
        self.records.is_some() || self.long_name.is_some() || self.long_link.is_some()
    }
}

/// Reads an archive forwards, entry by entry.
pub(super) struct Scanner<'a> {
    pub(super) input: Input<'a>,
    limits: Limits,
    globals: Records,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(input: Input<'a>, limits: Limits) -> Self {
        Self { input, limits, globals: Records::default() }
    }

    /// The next entry; `None` at the end of the archive, which has then been read to its last byte.
    pub(super) fn next(&mut self, notes: &mut Notes) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let offset = self.input.position();
            let Some(block) = self.read_header(extensions.is_any()).map_err(|error| error.at_offset(offset))? else { return Ok(None) };
            let header = Header::decode(&block);
            let read = self.read_entry(offset, &header, &mut extensions, notes);
            let shown = || extended_name(&header);
            if let Some(member) = read.map_err(|error| error.at_path(shown()).at_offset(offset))? {
                return Ok(Some(member));
            }
        }
    }

    /// The next header block; `None` at a good end.
    fn read_header(&mut self, pending: bool) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        match self.input.read(&mut block)? {
            0 if self.input.position() == 0 => return Err(Error::corrupt("an empty file; a tar was expected")),
            0 => return Err(Error::corrupt("the archive ends without the zero blocks of its end; it is truncated")),
            BLOCK => {}
            count => return Err(Error::corrupt(format!("the archive ends within a header: {} bytes are missing", BLOCK - count))),
        }
        if block == [0; BLOCK] {
            if pending {
                return Err(Error::corrupt("the archive ends where the entry of an extension header was expected"));
            }
            self.read_end()?;
            return Ok(None);
        }
        if !format::checksum_matches(&block) {
            let message = if self.input.position() == u64_of(BLOCK) { "neither a directory nor a tar" } else { "the checksum of a header does not match" };
            return Err(Error::corrupt(message));
        }
        Ok(Some(block))
    }

    /// Behind the first zero block.
    fn read_end(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        let at = self.input.position();
        let count = self.input.read(&mut block)?;
        if block[..count].iter().any(|byte| *byte != 0) {
            return Err(Error::corrupt("a single zero block between entries, where some readers end and others go on").at_offset(at));
        }
        self.input.skip_zeros(self.limits.padding_bytes)?;
        Ok(())
    }

    /// Takes in a header: an extension (`None`), or an entry.
    fn read_entry(&mut self, offset: u64, header: &Header, extensions: &mut Extensions, notes: &mut Notes) -> Result<Option<Member>> {
        let dialect = header.dialect()?;
        let flag = header.typeflag;
        if dialect == Dialect::V7 && !matches!(flag, typeflag::AREGTYPE | typeflag::REGTYPE | typeflag::LNKTYPE | typeflag::SYMTYPE | typeflag::DIRTYPE) {
            return Err(Error::unsupported(format!("typeflag \"{}\" without a magic", escape(&[flag]))));
        }
        // R10: an extension's length is its own header's, whatever a pax record before it says.
        let size = unsigned(&header.size, "size")?;
        match flag {
            typeflag::XHDTYPE => {
                if extensions.is_any() {
                    let before = if extensions.records.is_some() { "two pax headers" } else { "a GNU long name and a pax header" };
                    return Err(Error::corrupt(format!("{before} for one entry, which readers take differently")));
                }
                let body = self.read_extension(size)?;
                extensions.records = Some(Records::parse(&body, notes, format::text(&header.name))?);
            }
            typeflag::XGLTYPE => {
                if extensions.is_any() {
                    return Err(Error::corrupt("a global header between an extension and its entry"));
                }
                let body = self.read_extension(size)?;
                let records = Records::parse(&body, notes, b"")?;
                records.check_global()?;
                self.globals = records.over(&self.globals);
            }
            typeflag::GNUTYPE_LONGNAME | typeflag::GNUTYPE_LONGLINK => {
                let body = self.read_extension(size)?;
                // Ends in NUL; more than one would be an ambiguous name.
                let name = body.strip_suffix(b"\0").unwrap_or(&body).to_vec();
                if name.is_empty() || name.contains(&0) {
                    return Err(Error::corrupt("a GNU long name that is empty or has a NUL byte"));
                }
                let slot = if flag == typeflag::GNUTYPE_LONGNAME { &mut extensions.long_name } else { &mut extensions.long_link };
                if slot.replace(name).is_some() {
                    return Err(Error::corrupt("two GNU long names for one entry, which readers take differently"));
                }
                if extensions.records.is_some() {
                    return Err(Error::corrupt("a pax header and a GNU long name for one entry, which readers take differently"));
                }
            }
            typeflag::GNUTYPE_VOLHDR => {
                if extensions.is_any() || size != 0 {
                    return Err(Error::corrupt("a volume label with a body or an extension"));
                }
                notes.add(&format!("the volume label \"{}\" of the archive is not kept", escape(format::text(&header.name))), b"");
            }
            _ => return self.read_member(offset, header, std::mem::take(extensions)).map(Some),
        }
        Ok(None)
    }

    /// The body of an extension header.
    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > self.limits.pax_bytes {
            return Err(Error::limit(format!("an extension header of {size} bytes; the limit is {}", self.limits.pax_bytes)));
        }
        let mut body = vec![0; usize_of(size)];
        self.input.read_exact(&mut body, "an extension header")?;
        self.input.skip(format::padded(size)? - size, "an extension header")?;
        Ok(body)
    }

    fn read_member(&mut self, offset: u64, header: &Header, extensions: Extensions) -> Result<Member> {
        let dialect = header.dialect()?;
        let mut records = extensions.records.unwrap_or_default().over(&self.globals);
        let path = match records.sparse.name.take().or(records.path.take()).or(extensions.long_name) {
            Some(path) => path,
            None => header_path(header, dialect),
        };
        let read = self.read_kind(header, records, extensions.long_link, &path);
        let (raw, kind, body) = read.map_err(|error| error.at_path(&path))?;
        if path.is_empty() {
            return Err(Error::corrupt("an entry without a name"));
        }
        Ok(Member { offset, path, raw, kind, body })
    }

    /// What the entry at `path` is: its metadata, its kind, and the bytes of its body that are left in the input.
    fn read_kind(&mut self, header: &Header, mut records: Records, long_link: Option<Vec<u8>>, path: &[u8]) -> Result<(RawMetadata, Kind, u64)> {
        let mut metadata = metadata(header, &records)?;
        let mut body = match records.size {
            Some(size) => checked_size(i128::from(size), "pax size")?,
            None => unsigned(&header.size, "size")?,
        };
        let xattrs = records.take_xattrs()?;
        if let Some(permissions) = acl::permissions(&xattrs) {
            metadata.mode = (metadata.mode & !0o777) | permissions;
        }
        let devices = |records: &Records| device(header, records);
        let linkpath = records.linkpath.take();
        let target = || -> Result<Vec<u8>> {
            let target = linkpath.or(long_link).unwrap_or_else(|| format::text(&header.linkname).to_vec());
            if target.is_empty() { Err(Error::corrupt("a link without a target")) } else { Ok(target) }
        };
        let is_directory_name = path.ends_with(b"/");
        let kind = match header.typeflag {
            typeflag::REGTYPE | typeflag::AREGTYPE if is_directory_name && body == 0 && !records.sparse.is_given() => Kind::Directory,
            typeflag::REGTYPE | typeflag::AREGTYPE | typeflag::CONTTYPE if is_directory_name => {
                return Err(Error::corrupt("a file whose name ends in a slash"));
            }
            typeflag::REGTYPE | typeflag::AREGTYPE if records.is_socket => Kind::Socket,
            typeflag::REGTYPE | typeflag::AREGTYPE | typeflag::CONTTYPE => {
                match std::mem::take(&mut records.sparse).resolve(&mut self.input, body, self.limits.sparse_ranges)? {
                    Some((map, left)) => {
                        body = left;
                        Kind::Sparse(map)
                    }
                    None => Kind::File,
                }
            }
            typeflag::GNUTYPE_SPARSE if header.dialect()? == Dialect::Gnu && !records.sparse.is_given() => {
                Kind::Sparse(sparse::read_gnu(&mut self.input, header, body, self.limits.sparse_ranges)?)
            }
            typeflag::LNKTYPE => Kind::HardLink(target()?),
            typeflag::SYMTYPE => Kind::Symlink(target()?),
            typeflag::CHRTYPE => Kind::CharDevice(devices(&records)?),
            typeflag::BLKTYPE => Kind::BlockDevice(devices(&records)?),
            typeflag::DIRTYPE => Kind::Directory,
            typeflag::FIFOTYPE => Kind::Fifo,
            other => return Err(unknown(other)),
        };
        let has_body = matches!(kind, Kind::File | Kind::Sparse(_));
        if !has_body && (body != 0 || records.sparse.is_given()) {
            return Err(Error::corrupt(format!("a body of {body} bytes on an entry that is no file, which readers take differently")));
        }
        format::padded(body)?;
        Ok((RawMetadata { metadata, xattrs }, kind, body))
    }
}

/// The name in an extension's own header, for messages about it.
fn extended_name(header: &Header) -> Vec<u8> {
    header_path(header, Dialect::Gnu)
}

/// `prefix`, a slash and `name` in ustar; `name` alone in the others.
fn header_path(header: &Header, dialect: Dialect) -> Vec<u8> {
    let name = format::text(&header.name);
    match (dialect, header.prefix()) {
        (Dialect::Ustar, prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

fn metadata(header: &Header, records: &Records) -> Result<Metadata> {
    let mode = format::number(&header.mode, "mode")?;
    // Some writers put the type into the mode too; the typeflag is what counts.
    let mode = u16::try_from(mode).map_err(|_| Error::corrupt(format!("the field mode is {mode:o} in octal")))? & 0o7777;
    let uid = records.uid.map_or_else(|| id(&header.uid, "uid"), Ok)?;
    let gid = records.gid.map_or_else(|| id(&header.gid, "gid"), Ok)?;
    let mtime = match records.mtime {
        Some(mtime) => mtime,
        None => {
            let seconds = format::number(&header.mtime, "mtime")?;
            Timestamp::from_seconds(i64::try_from(seconds).map_err(|_| Error::corrupt(format!("the field mtime is {seconds}")))?)
        }
    };
    let (attributes, project) = (records.attributes.unwrap_or(0), records.project.unwrap_or(0));
    Ok(Metadata { mode, uid, gid, mtime, attributes, project, ..Metadata::default() })
}

fn device(header: &Header, records: &Records) -> Result<Device> {
    let major = records.devmajor.map_or_else(|| id(&header.devmajor, "devmajor"), Ok)?;
    let minor = records.devminor.map_or_else(|| id(&header.devminor, "devminor"), Ok)?;
    Ok(Device { major, minor })
}

fn id(field: &[u8], what: &str) -> Result<u32> {
    let value = format::number(field, what)?;
    u32::try_from(value).map_err(|_| Error::corrupt(format!("the field {what} is {value}; 0 to 2^32 - 1 is possible")))
}

fn unsigned(field: &[u8], what: &str) -> Result<u64> {
    checked_size(format::number(field, what)?, what)
}

/// A length that a file can have: R12.
fn checked_size(value: i128, what: &str) -> Result<u64> {
    // The padding must fit as well.
    let most = i64::MAX.unsigned_abs() - u64_of(BLOCK);
    let size = u64::try_from(value).ok().filter(|size| *size <= most);
    size.ok_or_else(|| Error::corrupt(format!("the field {what} is {value}; 0 to 2^63 - 513 is possible")))
}

/// The error for a typeflag that is not read, by its name where it has one.
fn unknown(flag: u8) -> Error {
    let name = match flag {
        b'D' => "a directory of an incremental archive (GNU)",
        b'M' => "the rest of a file from another volume (GNU multi-volume archive)",
        b'N' => "a table of long names (GNU tar before 1.12)",
        b'S' => "a sparse file of star's or without GNU's magic",
        b'A' => "a Solaris ACL",
        b'E' | b'X' => "a Solaris extended header",
        b'I' => "an inode without contents (star)",
        _ => "not known",
    };
    Error::unsupported(format!("the typeflag \"{}\" of the entry is {name}", escape(&[flag])))
}
