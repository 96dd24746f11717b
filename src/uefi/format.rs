//! The store's bytes; the drawing is at the head of the module.

use super::attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS;
use super::deflate::{adler32, deflate};
use super::{Authentication, INFLATED_MAX_BYTES, TEXT_MAX_CHARS, UefiData, Variable};
use crate::checksum::{base64_decode, base64_encode};
use crate::crc::crc32c;
use crate::error::{Error, Result, escape};
use crate::guid::Guid;
use crate::units::{u64_of, usize_of};
use byteorder::{BigEndian, ByteOrder as _, LittleEndian};
use flate2::{Decompress, FlushDecompress, Status};
use std::collections::BTreeSet;

/// The dictionary of version 0.
pub(super) const DICTIONARY: &[u8; 11_381] = include_bytes!("aws_v0_dict.bin");
const MAGIC: &[u8; 8] = b"AMZNUEFI";
const VERSION: u32 = 0;
/// Magic, checksum and version.
const HEADER_BYTES: usize = 16;
/// A window of 32 KiB, with a dictionary, compressed as well as it can be, and the check bits (RFC 1950, section 2.2).
const ZLIB_HEADER: [u8; 2] = [0x78, 0xf9];
/// The shortest variable: an empty name, no data.
const VARIABLE_MIN_BYTES: usize = 8 + 8 + 16 + 4;

/// The header of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    magic: [u8; 8],
    crc32c: u32,
    version: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.magic);
        LittleEndian::write_u32(&mut bytes[8..12], self.crc32c);
        LittleEndian::write_u32(&mut bytes[12..16], self.version);
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut magic = [0; 8];
        magic.copy_from_slice(&bytes[0..8]);
        Self { magic, crc32c: LittleEndian::read_u32(&bytes[8..12]), version: LittleEndian::read_u32(&bytes[12..16]) }
    }
}

pub(super) fn read(text: &str) -> Result<UefiData> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).take(TEXT_MAX_CHARS + 1).collect();
    if text.len() > TEXT_MAX_CHARS {
        return Err(too_long("over 64000"));
    }
    let bytes = base64_decode(&text).ok_or_else(|| Error::corrupt("UEFI data is base64, and this is not"))?;
    let Some((header, stream)) = bytes.split_first_chunk() else {
        return Err(Error::corrupt(format!("UEFI data has a header of {HEADER_BYTES} bytes, and here are {}", bytes.len())));
    };
    let header = Header::decode(header);
    if header.magic != *MAGIC {
        return Err(Error::corrupt(format!("UEFI data begins with AMZNUEFI, this with {}", escape(&header.magic))).at_offset(0));
    }
    let sum = !crc32c(!0, &bytes[12..]);
    if header.crc32c != sum {
        return Err(Error::corrupt(format!("the checksum of the UEFI data is {:#010x}, and {sum:#010x} was computed: not all of it is here", header.crc32c))
            .at_offset(8));
    }
    if header.version != VERSION {
        return Err(Error::unsupported(format!("version {} of UEFI data; version {VERSION} is known", header.version)).at_offset(12));
    }
    let inflated = inflate(stream).map_err(|error| error.within("the zlib stream of the UEFI data"))?;
    variables(&inflated).map_err(|error| error.within("the inflated UEFI data"))
}

fn too_long(there: &str) -> Error {
    Error::limit(format!("UEFI data has at most {TEXT_MAX_CHARS} characters of base64, not {there} (EC2 API, RegisterImage, UefiData)"))
}

fn inflate(stream: &[u8]) -> Result<Vec<u8>> {
    let cut_off = || Error::corrupt("it is cut off").at_offset(u64_of(HEADER_BYTES + stream.len()));
    let (head, rest) = stream.split_first_chunk::<6>().ok_or_else(cut_off)?;
    let id = BigEndian::read_u32(&head[2..]);
    if head[0] & 0x0f != 8 || !BigEndian::read_u16(&head[..2]).is_multiple_of(31) || head[1] & 0x20 == 0 {
        return Err(Error::corrupt("it has no header of a deflate stream with a dictionary (RFC 1950)").at_offset(u64_of(HEADER_BYTES)));
    }
    if id != adler32(DICTIONARY) {
        return Err(Error::corrupt(format!("its dictionary is another one: {id:#010x}")).at_offset(u64_of(HEADER_BYTES + 2)));
    }
    let too_much = || Error::limit(format!("it inflates to more than {INFLATED_MAX_BYTES} bytes"));
    let broken = |error| Error::corrupt("it is damaged").caused_by(error);
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(DICTIONARY).map_err(broken)?;
    let mut out = Vec::with_capacity(1 << 14);
    let used = loop {
        let (read, made) = (inflate.total_in(), out.len());
        let status = inflate.decompress_vec(&rest[usize_of(read)..], &mut out, FlushDecompress::None).map_err(broken)?;
        if status == Status::StreamEnd {
            break usize_of(inflate.total_in());
        }
        if out.len() > INFLATED_MAX_BYTES {
            return Err(too_much());
        }
        if out.len() == out.capacity() {
            out.reserve_exact(out.len());
        } else if (inflate.total_in(), out.len()) == (read, made) {
            return Err(cut_off());
        }
    };
    if out.len() > INFLATED_MAX_BYTES {
        return Err(too_much());
    }
    match rest[used..].split_first_chunk::<4>() {
        None => Err(cut_off()),
        Some((_, more)) if !more.is_empty() => {
            Err(Error::corrupt(format!("{} bytes follow it", more.len())).at_offset(u64_of(HEADER_BYTES + stream.len() - more.len())))
        }
        Some((sum, _)) if u32::from_be_bytes(*sum) != adler32(&out) => {
            Err(Error::corrupt("its checksum (Adler-32) is wrong").at_offset(u64_of(HEADER_BYTES + 6 + used)))
        }
        Some(_) => Ok(out),
    }
}

/// Takes fields off the front of the inflated bytes.
struct Fields<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8]> {
        let left = &self.all[self.at..];
        let end = usize::try_from(len).ok().filter(|len| *len <= left.len());
        let end = end.ok_or_else(|| Error::corrupt(format!("{what} of {len} bytes, where {} are left", left.len())).at_offset(u64_of(self.at)))?;
        self.at += end;
        Ok(&left[..end])
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(LittleEndian::read_u64(self.take(8, what)?))
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(u64_of(N), what)?);
        Ok(array)
    }

    fn data(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u64(&format!("the length of {what}"))?;
        self.take(len, what)
    }
}

fn variables(bytes: &[u8]) -> Result<UefiData> {
    let mut fields = Fields { all: bytes, at: 0 };
    let count = fields.u64("the number of variables")?;
    let most = u64_of((bytes.len() - fields.at) / VARIABLE_MIN_BYTES);
    if count > most {
        return Err(Error::corrupt(format!("{count} variables, where there is room for {most} at most")).at_offset(0));
    }
    let mut data = UefiData::new();
    for number in 0..count {
        data.variables.push(variable(&mut fields).map_err(|error| error.within(format!("variable {number}")))?);
    }
    match bytes.len() - fields.at {
        0 => Ok(data),
        more => Err(Error::corrupt(format!("{more} bytes follow the last variable")).at_offset(u64_of(fields.at))),
    }
}

fn variable(fields: &mut Fields<'_>) -> Result<Variable> {
    let at = fields.at;
    let name = fields.data("a name")?;
    let name =
        std::str::from_utf8(name).map_err(|_| Error::corrupt(format!("a name that is no UTF-8: {}", escape(name))).at_offset(u64_of(at + 8)))?.to_owned();
    let data = fields.data("data")?.to_vec();
    let vendor = Guid::from_bytes_le(fields.array("a GUID")?);
    let attributes = u32::from_le_bytes(fields.array("attributes")?);
    let authentication = match attributes & TIME_BASED_AUTHENTICATED_WRITE_ACCESS {
        0 => None,
        _ => Some(Authentication { timestamp: fields.array("a time")?, digest: fields.data("a digest")?.to_vec() }),
    };
    Ok(Variable { name, vendor, attributes, authentication, data })
}

pub(super) fn write(data: &UefiData) -> Result<String> {
    let mut inflated = u64_of(data.variables.len()).to_le_bytes().to_vec();
    let mut known = BTreeSet::new();
    for Variable { name, vendor, attributes, authentication, data } in &data.variables {
        let shown = escape(name.as_bytes());
        if name.is_empty() || !known.insert((name, vendor)) {
            return Err(Error::invalid(format!("a variable has a name, and one of the vendor {vendor} alone: \"{shown}\"")));
        }
        if authentication.is_some() != (attributes & TIME_BASED_AUTHENTICATED_WRITE_ACCESS != 0) {
            return Err(Error::invalid(format!(
                "the attributes of \"{shown}\", {attributes:#x}, do not say whether it has a time (UEFI specification, section 8.2)"
            )));
        }
        push_data(&mut inflated, name.as_bytes());
        push_data(&mut inflated, data);
        inflated.extend_from_slice(&vendor.to_bytes_le());
        inflated.extend_from_slice(&attributes.to_le_bytes());
        if let Some(Authentication { timestamp, digest }) = authentication {
            inflated.extend_from_slice(timestamp);
            push_data(&mut inflated, digest);
        }
    }
    if inflated.len() > INFLATED_MAX_BYTES {
        return Err(Error::limit(format!("variables of {} bytes in all; {INFLATED_MAX_BYTES} are taken", inflated.len())));
    }
    let mut rest = VERSION.to_le_bytes().to_vec();
    rest.extend_from_slice(&ZLIB_HEADER);
    rest.extend_from_slice(&adler32(DICTIONARY).to_be_bytes());
    rest.extend(deflate(DICTIONARY, &inflated));
    rest.extend_from_slice(&adler32(&inflated).to_be_bytes());
    let header = Header { magic: *MAGIC, crc32c: !crc32c(!0, &rest), version: VERSION };
    let text = base64_encode(&[&header.encode()[..], &rest[4..]].concat());
    if text.len() > TEXT_MAX_CHARS { Err(too_long(&text.len().to_string())) } else { Ok(text) }
}

fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&u64_of(data.len()).to_le_bytes());
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_its_fields_at_their_places() {
        let header = Header { magic: *MAGIC, crc32c: 0x0403_0201, version: 0x0807_0605 };
        assert_eq!(header.encode(), *b"AMZNUEFI\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(Header::decode(&header.encode()), header);
    }
}
