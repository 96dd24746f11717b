//! Sparse files: GNU's own form (typeflag `S`) and its pax forms 0.0, 0.1 and 1.0.
//!
//! GNU tar manual, "Storing Sparse Files" and "Sparse Formats". All of them list the parts that are data; those parts
//! lie one after the other in the body, and a map that does not fit that body exactly is refused. So is a part other
//! than the last that does not end on a block of 512 bytes: GNU tar pads such parts, libarchive does not.

use super::format::{self, BLOCK, Header};
use super::input::Input;
use super::pax::decimal;
use crate::error::{Error, Result};
use crate::units::u64_of;

/// The data of a sparse file, as `(offset, length)`, and its whole length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SparseMap {
    pub(super) length: u64,
    pub(super) data: Vec<(u64, u64)>,
}

/// What pax records say about holes.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    major: Option<u64>,
    minor: Option<u64>,
    /// The file's name; the header has one made up for readers that do not know holes.
    pub(super) name: Option<Vec<u8>>,
    real_size: Option<u64>,
    blocks: Option<u64>,
    /// Form 0.1: all numbers in one record. Form 0.0: a record each, offset and length in turn.
    map: Vec<(u64, u64)>,
    has_map: bool,
    offset: Option<u64>,
}

impl SparseRecords {
    /// The two keywords of form 0.0 that stand once for each part.
    pub(super) fn repeats(keyword: &[u8]) -> bool {
        matches!(keyword, b"GNU.sparse.offset" | b"GNU.sparse.numbytes")
    }

    /// Whether there is any.
    pub(super) fn is_given(&self) -> bool {
        self.major.is_some() || self.minor.is_some() || self.real_size.is_some() || self.has_map || self.name.is_some() || self.blocks.is_some()
    }

    /// Takes a record; false if its keyword is none of ours.
    pub(super) fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<bool> {
        match keyword {
            b"GNU.sparse.major" => self.major = Some(decimal(value)?),
            b"GNU.sparse.minor" => self.minor = Some(decimal(value)?),
            b"GNU.sparse.name" if value.is_empty() || value.contains(&0) => return Err(Error::corrupt("a name that is empty or has a NUL byte")),
            b"GNU.sparse.name" => self.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                let size = decimal(value)?;
                if self.real_size.replace(size).is_some_and(|before| before != size) {
                    return Err(Error::corrupt("two different lengths of one sparse file"));
                }
            }
            b"GNU.sparse.numblocks" => self.blocks = Some(decimal(value)?),
            b"GNU.sparse.offset" => {
                if self.offset.replace(decimal(value)?).is_some() {
                    return Err(Error::corrupt("two offsets without a length between them"));
                }
                self.has_map = true;
            }
            b"GNU.sparse.numbytes" => {
                let offset = self.offset.take().ok_or_else(|| Error::corrupt("a length without an offset before it"))?;
                self.map.push((offset, decimal(value)?));
            }
            b"GNU.sparse.map" => {
                if std::mem::replace(&mut self.has_map, true) {
                    return Err(Error::corrupt("two maps of one sparse file"));
                }
                let numbers: Vec<u64> = value.split(|byte| *byte == b',').filter(|_| !value.is_empty()).map(decimal).collect::<Result<_>>()?;
                if !numbers.len().is_multiple_of(2) {
                    return Err(Error::corrupt("an offset without a length at the end of a sparse map"));
                }
                self.map = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The map, read from the body where it stands there, and the bytes of the body that are left.
    /// `None` where the records say nothing about holes.
    pub(super) fn resolve(self, input: &mut Input<'_>, body: u64, most: u64) -> Result<Option<(SparseMap, u64)>> {
        if !self.is_given() {
            return Ok(None);
        }
        let length = self.real_size.ok_or_else(|| Error::corrupt("a sparse file without its length"))?;
        let (map, body) = match (self.major, self.minor) {
            (Some(1), Some(0)) if !self.has_map => read_map(input, body, most)?,
            (None, None) | (Some(0), Some(0 | 1)) if self.offset.is_none() => {
                if self.blocks.is_some_and(|blocks| blocks != u64_of(self.map.len())) {
                    return Err(Error::corrupt("the sparse map has another number of parts than it says"));
                }
                (self.map, body)
            }
            _ => return Err(Error::unsupported("a sparse file in a form that is none of 0.0, 0.1 and 1.0")),
        };
        check(length, map, body).map(|map| Some((map, body)))
    }
}

/// Form 1.0: the body begins with decimal numbers, a line each: how many parts, then offset and length of each;
/// padded to a block.
fn read_map(input: &mut Input<'_>, body: u64, most: u64) -> Result<(Vec<(u64, u64)>, u64)> {
    let mut left = body;
    let mut line = Vec::new();
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut next = |left: &mut u64| -> Result<u64> {
        line.clear();
        loop {
            if at == BLOCK {
                *left = left.checked_sub(u64_of(BLOCK)).ok_or_else(|| Error::corrupt("the sparse map is longer than the body it stands in"))?;
                input.read_exact(&mut block, "a sparse map")?;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => return decimal(&line),
                // 20 digits are more than any number here.
                _ if line.len() == 20 => return Err(Error::corrupt("a number of over 20 digits in a sparse map")),
                _ => line.push(byte),
            }
        }
    };
    let count = next(&mut left)?;
    if count > most {
        return Err(Error::limit(format!("{count} parts in a sparse map; the limit is {most}")));
    }
    let mut map = Vec::new();
    for _ in 0..count {
        map.push((next(&mut left)?, next(&mut left)?));
    }
    Ok((map, left))
}

/// GNU's own form: the map begins in the header and goes on in blocks behind it.
pub(super) fn read_gnu(input: &mut Input<'_>, header: &Header, body: u64, most: u64) -> Result<SparseMap> {
    let length = size(header.real_size(), "realsize")?;
    let mut map = Vec::new();
    let mut ended = take(header.sparse_entries(), &mut map)?;
    let mut more = header.is_extended();
    let mut block = [0; BLOCK];
    while more {
        if ended {
            return Err(Error::corrupt("a sparse map that goes on behind its end"));
        }
        input.read_exact(&mut block, "a sparse map")?;
        let (entries, again) = format::decode_sparse_header(&block);
        ended = take(entries, &mut map)?;
        more = again;
        if u64_of(map.len()) > most {
            return Err(Error::limit(format!("over {most} parts in a sparse map")));
        }
    }
    check(length, map, body)
}

/// Takes entries up to the first that is blank; whether there was one.
fn take<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>, map: &mut Vec<(u64, u64)>) -> Result<bool> {
    for (offset, length) in entries {
        if offset[0] == 0 && length[0] == 0 {
            return Ok(true);
        }
        map.push((size(offset, "sparse offset")?, size(length, "sparse numbytes")?));
    }
    Ok(false)
}

fn size(field: &[u8], what: &str) -> Result<u64> {
    let value = format::number(field, what)?;
    u64::try_from(value).map_err(|_| Error::corrupt(format!("the field {what} is {value}")))
}

/// A map that is ascending, disjoint, within `length`, and that `body` bytes fill exactly; without empty parts.
fn check(length: u64, map: Vec<(u64, u64)>, body: u64) -> Result<SparseMap> {
    let (mut end, mut stored) = (0_u64, 0_u64);
    let mut data: Vec<(u64, u64)> = Vec::with_capacity(map.len());
    for (offset, bytes) in map {
        let after = offset.checked_add(bytes).filter(|after| offset >= end && *after <= length);
        end = after.ok_or_else(|| {
            Error::corrupt(format!("a sparse map with {bytes} bytes at {offset}, which overlaps the part before it or ends past the length of {length}"))
        })?;
        if bytes > 0 {
            if !stored.is_multiple_of(u64_of(BLOCK)) {
                return Err(Error::corrupt("a part of a sparse file other than the last that is no multiple of 512 bytes, which readers take differently"));
            }
            stored += bytes;
            data.push((offset, bytes));
        }
    }
    if stored != body {
        return Err(Error::corrupt(format!("a sparse map of {stored} bytes of data with a body of {body}")));
    }
    Ok(SparseMap { length, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_maps_that_overlap_or_do_not_fit_are_refused() {
        let map = check(1 << 40, vec![(0, 512), (1 << 30, 1024), (1 << 40, 0)], 1536).unwrap();
        assert_eq!(map.data, [(0, 512), (1 << 30, 1024)]);
        assert!(check(10, vec![], 0).is_ok());
        for (length, map, body) in [
            (100, vec![(0, 50), (40, 10)], 60),
            (100, vec![(50, 10), (0, 10)], 20),
            (100, vec![(0, 101)], 101),
            (100, vec![(0, 100)], 101),
            (100, vec![(0, 100)], 99),
            (u64::MAX, vec![(u64::MAX, 2)], 2),
            (1000, vec![(0, 100), (512, 100)], 200),
        ] {
            assert!(check(length, map.clone(), body).is_err(), "{length} {map:?} {body}");
        }
    }

    #[test]
    fn records_of_the_pax_forms_are_read_and_odd_ones_refused() {
        let set = |pairs: &[(&str, &str)]| {
            let mut records = SparseRecords::default();
            for (keyword, value) in pairs {
                assert!(records.set(format!("GNU.sparse.{keyword}").as_bytes(), value.as_bytes())?);
            }
            let mut nothing = std::io::empty();
            let mut input = Input::new(super::super::input::From::Stream(&mut nothing));
            records.resolve(&mut input, 3, 10)
        };
        let expected = SparseMap { length: 9, data: vec![(4, 3)] };
        let zero = [("size", "9"), ("numblocks", "2"), ("offset", "4"), ("numbytes", "3"), ("offset", "9"), ("numbytes", "0")];
        assert_eq!(set(&zero).unwrap(), Some((expected.clone(), 3)));
        assert_eq!(set(&[("size", "9"), ("map", "4,3,9,0"), ("name", "x")]).unwrap(), Some((expected, 3)));
        for bad in [
            &[("map", "4,3")][..],
            &[("size", "9"), ("map", "4,3,9")],
            &[("size", "9"), ("map", "4,,3")],
            &[("size", "9"), ("numblocks", "2"), ("map", "4,3")],
            &[("size", "9"), ("offset", "4")],
            &[("size", "9"), ("offset", "4"), ("offset", "5")],
            &[("size", "9"), ("numbytes", "4")],
            &[("size", "9"), ("realsize", "8"), ("map", "4,3")],
            &[("size", "9"), ("map", "4,3"), ("major", "2"), ("minor", "0")],
            &[("size", "9"), ("major", "1")],
            &[("size", "9"), ("major", "1"), ("minor", "0")],
        ] {
            assert!(set(bad).is_err(), "{bad:?}");
        }
        assert_eq!(set(&[]).unwrap(), None);
    }
}
