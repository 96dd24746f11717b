//! Archives made by hand, for tests: also those that no tar would write.

use super::format::{BLOCK, Header};
use crate::units::usize_of;

/// An archive in the making.
#[derive(Debug, Default, Clone)]
pub(in crate::source) struct Make {
    pub(in crate::source) bytes: Vec<u8>,
}

/// A length as a field: octal, or base-256 where it does not fit.
pub(in crate::source) fn length_field(length: u64) -> [u8; 12] {
    let mut field = [0; 12];
    match format!("{length:011o}\0").as_bytes() {
        octal if octal.len() == 12 => field.copy_from_slice(octal),
        _ => {
            field[0] = 0x80;
            field[4..].copy_from_slice(&length.to_be_bytes());
        }
    }
    field
}

/// A ustar header for `name`, mode 0644, owner 0:0, time 0.
pub(in crate::source) fn header(name: &[u8], flag: u8, size: u64) -> Header {
    let mut header = Header::decode(&[0; BLOCK]);
    header.name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header.mode = *b"0000644\0";
    header.uid = *b"0000000\0";
    header.gid = *b"0000000\0";
    header.size = length_field(size);
    header.mtime = *b"00000000000\0";
    header.typeflag = flag;
    header.magic = *b"ustar\0";
    header.version = *b"00";
    header.devmajor = *b"0000000\0";
    header.devminor = *b"0000000\0";
    header
}

/// `"%d %s=%s\n"`, with its length.
pub(in crate::source) fn record(keyword: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {keyword}=").as_bytes(), value, b"\n"].concat()
}

impl Make {
    /// Appends a header, with its checksum, and a body, padded.
    pub(in crate::source) fn put(mut self, mut header: Header, body: &[u8]) -> Self {
        header.chksum = *b"        ";
        let sum: u32 = header.encode().iter().map(|byte| u32::from(*byte)).sum();
        header.chksum.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(header.encode());
        self.raw(body)
    }

    /// Appends bytes, padded to a block.
    pub(in crate::source) fn raw(mut self, body: &[u8]) -> Self {
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Appends an entry with a name and a body.
    pub(in crate::source) fn entry(self, name: &str, flag: u8, body: &[u8]) -> Self {
        let size = crate::units::u64_of(body.len());
        self.put(header(name.as_bytes(), flag, size), body)
    }

    /// Appends a link.
    pub(in crate::source) fn link(self, name: &str, flag: u8, target: &str) -> Self {
        let mut header = header(name.as_bytes(), flag, 0);
        header.linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.put(header, b"")
    }

    /// Appends a pax header.
    pub(in crate::source) fn pax(self, flag: u8, records: &[(&str, &str)]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(keyword, value)| record(keyword, value)).collect();
        self.entry("PaxHeaders/x", flag, &body)
    }

    /// The archive with its end.
    pub(in crate::source) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + usize_of(1024), 0);
        self.bytes
    }
}
