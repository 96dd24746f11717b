use super::*;
use crate::layout::{Layout, Segment, SegmentSource};
use crate::units::{BLOCK_BYTES, MIB, u64_of};

struct Disk(u64, Vec<Segment>);

impl Layout for Disk {
    fn size_bytes(&self) -> u64 {
        self.0
    }
    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        self.1.iter().find(|segment| segment.range.end > offset_bytes).cloned()
    }
    fn render(&self, _offset_bytes: u64, _out: &mut [u8]) {}
}

fn map(size_bytes: u64, filled: &[std::ops::Range<u64>]) -> AllocationMap {
    AllocationMap::of(&Disk(size_bytes, filled.iter().map(|range| Segment { range: range.clone(), source: SegmentSource::Metadata }).collect()))
}

const IDENTITY: Identity = Identity { id: Guid::from_bytes([7; 16]), created: 0 };

/// The file's pieces, as text.
fn pieces(format: Format, map: &AllocationMap) -> Vec<String> {
    let mut plan = plan(format, map, &IDENTITY).unwrap();
    let mut all = Vec::new();
    let mut len = 0;
    let mut emit = |piece: Piece<'_>| {
        let (text, bytes) = match piece {
            Piece::Bytes(bytes) => (format!("bytes {}", bytes.len()), u64_of(bytes.len())),
            Piece::Zeros(bytes) => (format!("zeros {bytes}"), bytes),
            Piece::Unused(bytes) => (format!("unused {bytes}"), bytes),
        };
        all.push(text);
        len += bytes;
        Ok(())
    };
    let writer = &mut plan.writer;
    writer.begin(&mut emit).unwrap();
    let mut done = 0;
    for run in map.runs() {
        writer.unused(BlockIndex(done), run.first.0 - done, &mut emit).unwrap();
        for index in (run.first.0..run.first.0 + run.count).map(BlockIndex) {
            let bytes = run_bytes(index, 1, map.size_bytes());
            writer.data(index, &vec![1; crate::units::usize_of(bytes)], &mut emit).unwrap();
        }
        done = run.first.0 + run.count;
    }
    writer.unused(BlockIndex(done), map.block_count() - done, &mut emit).unwrap();
    writer.finish(&mut emit).unwrap();
    assert_eq!(plan.size_bytes, Some(len), "{format}");
    all.retain(|piece| !piece.ends_with(" 0"));
    all
}

#[test]
fn names_and_extensions_are_read() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    for text in ["", "VHD", "vhdx", "vpc"] {
        assert!(text.parse::<Format>().is_err(), "{text:?}");
    }
    for (name, format) in [
        ("a.vhd", Some(Format::Vhd)),
        ("A.VHD", Some(Format::Vhd)),
        ("a.raw", Some(Format::Raw)),
        ("a.b.img", Some(Format::Raw)),
        ("vhd", None),
        ("a.qcow2", None),
    ] {
        assert_eq!(Format::from_extension(Path::new(name)), format, "{name}");
    }
}

#[test]
fn pieces_follow_the_file_of_each_format() {
    // Blocks 1 and 9 of 10, the last one short: VHD blocks 0 and 2 of 3.
    let size_bytes = 9 * BLOCK_BYTES + 512;
    let map = map(size_bytes, &[BLOCK_BYTES..BLOCK_BYTES + 1, 9 * BLOCK_BYTES..size_bytes]);
    let raw = ["unused 524288", "bytes 524288", "unused 3670016", "bytes 512"];
    assert_eq!(pieces(Format::Raw, &map), raw);
    assert_eq!(pieces(Format::VhdFixed, &map), [raw.as_slice(), &["bytes 512"]].concat());
    let vhd = [
        "bytes 512",
        "bytes 1024",
        "bytes 512", // footer, header, BAT
        "bytes 512",
        "unused 524288",
        "bytes 524288",
        "unused 1048576", // block 0 behind its bitmap
        "bytes 512",
        "unused 524288",
        "bytes 512",
        "zeros 523776",
        "zeros 1048576", // block 2, whole
        "bytes 512",
    ];
    assert_eq!(pieces(Format::Vhd, &map), vhd);
}

#[test]
fn a_vhd_holds_whole_sectors_up_to_2040_gib() {
    for format in [Format::Vhd, Format::VhdFixed] {
        for size_bytes in [0, 1, 513, MIB + 1] {
            assert_eq!(plan(format, &map(size_bytes, &[]), &IDENTITY).unwrap_err().kind(), crate::ErrorKind::InvalidInput, "{size_bytes}");
        }
        assert!(plan(format, &map(VHD_MAX_BYTES, &[]), &IDENTITY).is_ok());
        let error = plan(format, &map(VHD_MAX_BYTES + 512, &[]), &IDENTITY).unwrap_err();
        assert!(error.kind() == crate::ErrorKind::LimitExceeded && error.to_string().contains("use the format raw"), "{error}");
    }
    assert!(plan(Format::Raw, &map(u64::MAX, &[]), &IDENTITY).is_ok());
}

/// Every block of the largest disk: the BAT's last entry is still a sector number.
#[test]
fn the_largest_dynamic_vhd_can_be_full() {
    let full = map(VHD_MAX_BYTES, &[0..BLOCK_BYTES, BLOCK_BYTES..VHD_MAX_BYTES]);
    let size_bytes = plan(Format::Vhd, &full, &IDENTITY).unwrap().size_bytes.unwrap();
    assert!(size_bytes / 512 < u64::from(u32::MAX));
}

#[test]
fn time_stamps_are_clamped_to_the_formats_range() {
    for (created, stamp) in [(i64::MIN, 0_u32), (0, 0), (946_684_799, 0), (946_684_801, 1), (i64::MAX, u32::MAX)] {
        let mut plan = plan(Format::VhdFixed, &map(512, &[]), &Identity { created, ..IDENTITY }).unwrap();
        let mut footer = Vec::new();
        let mut emit = |piece: Piece<'_>| {
            if let Piece::Bytes(bytes) = piece {
                footer = bytes.to_vec();
            }
            Ok(())
        };
        plan.writer.finish(&mut emit).unwrap();
        assert_eq!(footer[24..28], stamp.to_be_bytes(), "{created}");
        assert_eq!((&footer[28..32], &footer[36..40], &footer[68..84]), (b"win ".as_slice(), b"Wi2k".as_slice(), [7; 16].as_slice()));
    }
}
