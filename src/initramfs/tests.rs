use super::format::Header;
use super::*;
use crate::ErrorKind;
use std::io::Write as _;

const FILE: u32 = 0o100_644;

/// An entry as it stands in an archive.
pub(crate) fn entry(name: &str, mode: u32, data: &[u8], has_checksum: bool) -> Vec<u8> {
    let sum = data.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let header =
        Header::new(has_checksum, mode, u32::try_from(data.len()).unwrap(), u32::try_from(name.len() + 1).unwrap(), if has_checksum { sum } else { 0 });
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    pad(&mut bytes);
    bytes.extend_from_slice(data);
    pad(&mut bytes);
    bytes
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

pub(crate) fn archive(names: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = names.iter().flat_map(|name| entry(name, FILE, name.repeat(20).as_bytes(), false)).collect();
    bytes.extend(entry("TRAILER!!!", 0, b"", false));
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(out.len()).min(1);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn names_within(bytes: &[u8], limits: &Limits) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut take = |entry: &Entry<'_>| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        Ok(ControlFlow::Continue(()))
    };
    read(bytes, limits, &mut take)?;
    let quick = std::mem::take(&mut names);
    let mut slow = Vec::new();
    read(Slow(bytes), limits, |entry| {
        slow.push(String::from_utf8_lossy(entry.name).into_owned());
        Ok(ControlFlow::Continue(()))
    })?;
    assert_eq!(quick, slow, "the pieces in which it is read do not matter");
    Ok(quick)
}

fn names(bytes: &[u8]) -> Result<Vec<String>> {
    names_within(bytes, &Limits::default())
}

#[test]
fn archives_one_after_the_other_are_one_initramfs() {
    let (one, two) = (archive(&["a", "b/c"]), archive(&["init"]));
    for bytes in [
        [&one[..], &two].concat(),
        [&one[..], &[0; 512], &two, &[0; 8]].concat(),
        [&[0; 4], &one[..], &gzip(&two)].concat(),
        [&gzip(&one)[..], &[0; 3], &gzip(&two)].concat(),
        gzip(&[&one[..], &[0; 8], &two].concat()),
    ] {
        assert_eq!(names(&bytes).unwrap(), ["a", "b/c", "init"]);
    }
    let summary = read(&[&one[..], &gzip(&two)].concat()[..], &Limits::default(), |_| Ok(ControlFlow::Continue(()))).unwrap();
    let segment = |offset: usize, packing| Segment { offset_bytes: crate::units::u64_of(offset), packing };
    assert_eq!(summary.segments, [segment(0, Packing::Plain), segment(one.len(), Packing::Gzip)]);
    assert_eq!((summary.entries, summary.unpacked_bytes), (3, crate::units::u64_of(one.len() + two.len())));
}

#[test]
fn a_visitor_sees_what_an_entry_is_and_may_stop() {
    let bytes = [&entry("long", FILE, &[9; 1000], true)[..], &entry("link", 0o120_777, b"to", true), &archive(&["x"])].concat();
    let mut seen = Vec::new();
    let stopped = read(&bytes[..], &Limits::default(), |entry| {
        seen.push((entry.name.to_vec(), entry.mode, entry.size_bytes, entry.head.to_vec()));
        Ok(if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(stopped.unwrap().entries, 2);
    assert_eq!(seen, [(b"long".to_vec(), FILE, 1000, vec![9; HEAD_MAX_BYTES]), (b"link".to_vec(), 0o120_777, 2, b"to".to_vec())]);
    let error = read(&bytes[..], &Limits::default(), |_| Err(Error::invalid("enough"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_the_kernel_would_not_unpack_is_told_with_its_offset() {
    let good = archive(&["a", "init"]);
    let at = good.len();
    let mut bad_sum = entry("sum", FILE, b"data", true);
    *bad_sum.last_mut().unwrap() ^= 1;
    let mut no_nul = entry("abc", FILE, b"", false);
    no_nul[113] = b'd';
    let with = |offset: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[offset..offset + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (name, bytes, offset) in [
        ("empty", Vec::new(), 0),
        ("zeros", vec![0; 4096], 0),
        ("text", b"#!/bin/sh\n".to_vec(), 0),
        ("junk behind", [&good[..], b"junk"].concat(), at),
        ("unaligned", [&good[..], &[0], &good].concat(), at + 1),
        ("unaligned, packed", [&good[..], &[0; 2], &gzip(&good)].concat(), at + 2),
        ("old cpio", b"070707000000".to_vec(), 0),
        ("no number", with(60, b"x"), 0),
        ("no name", with(94, b"00000000"), 0),
        ("long name", with(94, b"00001001"), 0),
        ("name without NUL", no_nul, 0),
        ("sum", bad_sum, 0),
        ("cut off in a header", good[..50].to_vec(), 50),
        ("cut off in a name", good[..111].to_vec(), 111),
        ("cut off in data", good[..120].to_vec(), 120),
        ("huge file", with(54, b"FFFFFFFF"), at),
        ("lz4 frame", vec![0x04, 0x22, 0x4d, 0x18, 0, 0], 0),
        ("gzip cut off", gzip(&good)[..40].to_vec(), 0),
        ("gzip damaged", [&gzip(&good)[..20], &[0xff; 40]].concat(), 0),
        ("junk in gzip", gzip(&[&good[..], b"junk"].concat()), at),
        ("no end in gzip", gzip(&good[..at - 124]), at - 124),
        ("lzma alone", vec![0x5d, 0, 0], 0),
        ("lz4 alone", vec![0x02, 0x21, 0x4c, 0x18, 9, 0, 0, 0, 1], 0),
        ("xz alone", vec![0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1], 0),
    ] {
        let error = names(&bytes).expect_err(name);
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(crate::units::u64_of(offset))), "{name}: {error}");
    }
    // The kernel does not mind an archive without its end.
    assert_eq!(names(&good[..at - 124]).unwrap(), ["a", "init"]);
}

#[test]
fn r5_bombs_end_at_the_limits() {
    let zeros = gzip(&entry("zeros", FILE, &vec![0; 8 << 20], false));
    let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(names_within(&zeros, &limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let many = archive(&["x"; 200]);
    let limits = Limits { entries: 100, ..Limits::default() };
    assert_eq!(names_within(&many, &limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let archives = archive(&[]).repeat(SEGMENTS_MAX + 1);
    assert_eq!(names(&archives).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn r1_truncation_and_flipped_bits_end_in_an_error_or_in_names() {
    let bytes = [&archive(&["a", "usr/lib/modules/6.1/nvme.ko"])[..], &gzip(&archive(&["init", "bin/sh"]))].concat();
    for length in 0..bytes.len() {
        let _ = names(&bytes[..length]);
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = names_within(&damaged, &Limits { unpacked_bytes: 1 << 20, ..Limits::default() });
    }
}

#[test]
fn errors_of_the_input_stay_errors_of_the_input() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk on fire"))
        }
    }
    for bytes in [archive(&["a"]), gzip(&archive(&["a"]))] {
        let error = read(bytes[..bytes.len() / 2].chain(Broken), &Limits::default(), |_| Ok(ControlFlow::Continue(()))).unwrap_err();
        assert!(error.kind() == ErrorKind::Io && error.to_string().contains("disk on fire"), "{error}");
    }
}
