use super::*;
use crate::error::escape;
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn xz(bytes: &[u8], preset: u32) -> Vec<u8> {
    let mut out = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(preset)).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[cfg(feature = "zstd")]
fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut out = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    out.include_checksum(true).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A reader that gives a few bytes at a time and is interrupted now and then.
struct Halting<'a>(&'a [u8], usize);

impl Read for Halting<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let count = self.0.len().min(out.len()).min(self.1 % 7 + 1);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn unpack(bytes: &[u8], limits: Limits) -> Result<(Vec<u8>, Option<String>)> {
    let compression = Compression::of(bytes).unwrap().unwrap();
    let mut reader = Decompressed::new(Halting(bytes, 0), compression, limits)?;
    let mut out = Vec::new();
    reader.read_to_end(&mut out).map_err(|error| unwrap_io("cannot read", error))?;
    Ok((out, reader.note()))
}

/// The same plain bytes in every compression, small ones whose parts can be repeated.
fn samples() -> Vec<(Vec<u8>, Vec<u8>)> {
    let plain: Vec<u8> = (0..30_000_u32).flat_map(|at| (at * at / 7).to_le_bytes()).collect();
    let mut all = vec![(plain.clone(), gzip(&plain)), (plain.clone(), xz(&plain, 1))];
    #[cfg(feature = "zstd")]
    all.push((plain.clone(), zstandard(&plain)));
    all
}

#[test]
fn r19_streams_one_after_the_other_are_one_and_what_else_follows_is_an_error() {
    for (plain, packed) in samples() {
        assert_eq!(unpack(&packed, Limits::default()).unwrap().0, plain);
        let twice = [&packed[..], &packed[..]].concat();
        assert_eq!(unpack(&twice, Limits::default()).unwrap().0, [&plain[..], &plain[..]].concat());
        for garbage in [&b"x"[..], b"garbage behind the end", &packed[..7]] {
            let error = unpack(&[&packed[..], garbage].concat(), Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}

#[test]
fn r19_truncation_and_damage_are_errors() {
    for (plain, packed) in samples() {
        for length in [packed.len() - 1, packed.len() - 4, packed.len() - 9, packed.len() / 2, 100, 20, 12, 7, 6] {
            let error = unpack(&packed[..length], Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} of {}: {error}", packed.len());
            assert!(error.to_string().contains("truncated") || error.to_string().contains("damaged"), "{error}");
        }
        let mut state = 1_u64;
        for _ in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bit = crate::units::usize_of((state >> 20) % u64_of(packed.len() * 8));
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if !matches!(Compression::of(&damaged), Ok(Some(_))) {
                continue;
            }
            // Bits that say nothing about the contents (a time, a name) may change; the contents may not.
            if let Ok((unpacked, _)) = unpack(&damaged, Limits::default()) {
                assert_eq!(unpacked, plain, "bit {bit} of {}", escape(&packed[..6]));
            }
        }
    }
}

#[test]
fn r5_bombs_end_at_the_ratio_or_at_the_total() {
    let zeros = vec![0; 70 << 20];
    let mut packed = vec![gzip(&zeros)];
    #[cfg(feature = "zstd")]
    packed.push(zstandard(&zeros));
    for bytes in packed {
        let mut limits = Limits { decompression_ratio: 100, ..Limits::default() };
        let error = unpack(&bytes, limits).unwrap_err();
        assert!(error.kind() == ErrorKind::LimitExceeded && error.to_string().contains("100 times"), "{error}");
        limits = Limits { decompressed_bytes: 1 << 20, ..Limits::default() };
        assert_eq!(unpack(&bytes, limits).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
}

#[test]
fn r3_windows_are_limited_before_memory_is_taken_and_large_ones_noted() {
    let (plain, packed) = (b"small".repeat(10), xz(&b"small".repeat(10), 9));
    let (unpacked, note) = unpack(&packed, Limits::default()).unwrap();
    assert_eq!(unpacked, plain);
    assert_eq!(note.unwrap(), "the xz stream needs 64 MiB of memory to unpack");
    let error = unpack(&packed, Limits { xz_dictionary_bytes: 8 << 20, ..Limits::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert_eq!(unpack(&xz(b"x", 6), Limits::default()).unwrap().1, None);
    #[cfg(feature = "zstd")]
    {
        let mut out = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(26).unwrap();
        out.write_all(&plain).unwrap();
        let packed = out.finish().unwrap();
        assert_eq!(unpack(&packed, Limits::default()).unwrap().1.unwrap(), "the zstd stream needs 64 MiB of memory to unpack");
        let error = unpack(&packed, Limits { zstd_window_bytes: 8 << 20, ..Limits::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn skippable_zstd_frames_are_passed_over() {
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let bytes = [&skippable[..], &zstandard(b"one"), &skippable, &zstandard(b""), &zstandard(b"two"), &skippable].concat();
    assert_eq!(unpack(&bytes, Limits::default()).unwrap().0, b"onetwo");
    assert!(unpack(&bytes[..bytes.len() - 1], Limits::default()).is_err());
}

#[test]
fn errors_of_the_input_stay_errors_of_the_input() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    for (_, packed) in samples() {
        let compression = Compression::of(&packed).unwrap().unwrap();
        let mut reader = Decompressed::new((&packed[..packed.len() / 2]).chain(Broken), compression, Limits::default()).unwrap();
        let error = unwrap_io("cannot read", reader.read_to_end(&mut Vec::new()).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("disk on fire"), "{error}");
    }
}
