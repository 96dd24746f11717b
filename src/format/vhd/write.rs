//! Writing VHDs, upwards.

use super::format::{
    BAT_UNUSED, DISK_TYPE_DYNAMIC, DISK_TYPE_FIXED, DYNAMIC_HEADER_BYTES, DiskGeometry, DynamicHeader, FEATURES_RESERVED, FOOTER_BYTES, Footer, NO_DATA_OFFSET,
    VERSION_1_0,
};
use super::{
    BLOCK_SIZE, CREATOR_APPLICATION, CREATOR_HOST_OS, CREATOR_VERSION, DYNAMIC_HEADER_SIZE, FOOTER_SIZE, SECTOR_BYTES, TIME_STAMP_EPOCH, VHD_MAX_BYTES,
    bitmap_bytes,
};
use crate::error::{Error, Result};
use crate::format::raw::RawWriter;
use crate::format::{Emit, Format, Identity, ImagePlan, ImageWriter, Piece, Verbatim};
use crate::layout::{AllocationMap, RunKind};
use crate::units::{BLOCK_BYTES, BlockIndex, Size, u64_of, usize_of};
use byteorder::{BigEndian, ByteOrder as _};

/// [`BLOCK_SIZE`] in offsets.
const BLOCK_SIZE_BYTES: u64 = 2 * 1024 * 1024;
/// Blocks of the stream in a block of the VHD.
const BLOCKS_EACH: u64 = BLOCK_SIZE_BYTES / BLOCK_BYTES;
/// Where the BAT begins.
const TABLE_OFFSET: u64 = FOOTER_SIZE + DYNAMIC_HEADER_SIZE;

/// Plans a fixed VHD.
pub(crate) fn plan_fixed(map: &AllocationMap, identity: &Identity) -> Result<ImagePlan> {
    let size_bytes = check_size(map)?;
    let writer = FixedWriter { blocks: RawWriter { size_bytes }, footer: footer(size_bytes, DISK_TYPE_FIXED, identity) };
    Ok(ImagePlan { format: Format::VhdFixed, size_bytes: Some(size_bytes + FOOTER_SIZE), encoder: Box::new(Verbatim), writer: Box::new(writer) })
}

/// Plans a dynamic VHD.
pub(crate) fn plan_dynamic(map: &AllocationMap, identity: &Identity) -> Result<ImagePlan> {
    let size_bytes = check_size(map)?;
    let (bat, file_end) = bat(map);
    let header = DynamicHeader {
        data_offset: NO_DATA_OFFSET,
        table_offset: TABLE_OFFSET,
        header_version: VERSION_1_0,
        max_table_entries: u32::try_from(bat.len()).expect("2,040 GiB are fewer than 2^20 blocks of 2 MiB"),
        block_size: BLOCK_SIZE,
        parent_unique_id: [0; 16],
        parent_time_stamp: 0,
        parent_unicode_name: [0; 512],
        parent_locator_entries: [0; 192],
    };
    let footer = footer(size_bytes, DISK_TYPE_DYNAMIC, identity);
    let writer = DynamicWriter { footer, header: header.encode(), bat, block_count: map.block_count(), next: 0 };
    Ok(ImagePlan { format: Format::Vhd, size_bytes: Some(file_end + FOOTER_SIZE), encoder: Box::new(Verbatim), writer: Box::new(writer) })
}

/// The disk's size, if a VHD can hold it.
fn check_size(map: &AllocationMap) -> Result<u64> {
    let size_bytes = map.size_bytes();
    if size_bytes > VHD_MAX_BYTES {
        return Err(Error::limit(format!(
            "a VHD holds at most 2040 GiB ({VHD_MAX_BYTES} bytes) and the disk has {} ({size_bytes} bytes): use the format raw",
            Size::bytes(size_bytes)
        )));
    }
    if size_bytes == 0 || !size_bytes.is_multiple_of(SECTOR_BYTES) {
        return Err(Error::invalid(format!("a VHD holds whole sectors of 512 bytes and the disk has {size_bytes} bytes")));
    }
    Ok(size_bytes)
}

fn footer(size_bytes: u64, disk_type: u32, identity: &Identity) -> [u8; FOOTER_BYTES] {
    let since_epoch = identity.created.saturating_sub(TIME_STAMP_EPOCH).clamp(0, i64::from(u32::MAX));
    let footer = Footer {
        features: FEATURES_RESERVED,
        file_format_version: VERSION_1_0,
        data_offset: if disk_type == DISK_TYPE_DYNAMIC { FOOTER_SIZE } else { NO_DATA_OFFSET },
        time_stamp: u32::try_from(since_epoch).expect("clamped"),
        creator_application: CREATOR_APPLICATION,
        creator_version: CREATOR_VERSION,
        creator_host_os: CREATOR_HOST_OS,
        original_size: size_bytes,
        current_size: size_bytes,
        disk_geometry: DiskGeometry::of(size_bytes / SECTOR_BYTES),
        disk_type,
        unique_id: *identity.id.as_bytes(),
        saved_state: 0,
    };
    footer.encode()
}

/// The block allocation table, and where the last block ends in the file.
fn bat(map: &AllocationMap) -> (Vec<u32>, u64) {
    let entries = map.size_bytes().div_ceil(BLOCK_SIZE_BYTES);
    let mut end = TABLE_OFFSET + (entries * 4).next_multiple_of(SECTOR_BYTES);
    let mut bat = vec![BAT_UNUSED; usize_of(entries)];
    for run in map.runs().iter().filter(|run| run.kind != RunKind::Zeros) {
        let first = run.first.0 / BLOCKS_EACH;
        let last = (run.first.0 + run.count - 1) / BLOCKS_EACH;
        for entry in &mut bat[usize_of(first)..=usize_of(last)] {
            // Two runs can share a block.
            if *entry == BAT_UNUSED {
                *entry = u32::try_from(end / SECTOR_BYTES).expect("2,040 GiB, their bitmaps and the BAT are fewer than 2^32 sectors");
                end += bitmap_bytes(BLOCK_SIZE) + BLOCK_SIZE_BYTES;
            }
        }
    }
    (bat, end)
}

struct FixedWriter {
    blocks: RawWriter,
    footer: [u8; FOOTER_BYTES],
}

impl ImageWriter for FixedWriter {
    fn begin(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        self.blocks.begin(emit)
    }

    fn data(&mut self, index: BlockIndex, encoded: &[u8], emit: &mut Emit<'_>) -> Result<()> {
        self.blocks.data(index, encoded, emit)
    }

    fn zeros(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.blocks.zeros(first, count, emit)
    }

    fn unused(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.blocks.unused(first, count, emit)
    }

    fn finish(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        self.blocks.finish(emit)?;
        emit(Piece::Bytes(&self.footer))
    }
}

struct DynamicWriter {
    footer: [u8; FOOTER_BYTES],
    header: [u8; DYNAMIC_HEADER_BYTES],
    bat: Vec<u32>,
    block_count: u64,
    /// The next block of the stream.
    next: u64,
}

impl DynamicWriter {
    /// Passes over `count` blocks of the stream: bitmaps where blocks of the VHD begin, and `piece` of the length of
    /// what lies in the file.
    fn pass(&mut self, first: BlockIndex, count: u64, piece: fn(u64) -> Piece<'static>, emit: &mut Emit<'_>) -> Result<()> {
        assert_eq!(first.0, self.next, "blocks come ascending and without gap");
        let end = first.0 + count;
        while self.next < end {
            let block = self.next / BLOCKS_EACH;
            let stop = end.min((block + 1) * BLOCKS_EACH);
            if self.bat[usize_of(block)] != BAT_UNUSED {
                self.begin_block(emit)?;
                emit(piece((stop - self.next) * BLOCK_BYTES))?;
            }
            self.next = stop;
        }
        Ok(())
    }

    /// Gives the sector bitmap, if a block of the VHD begins here.
    fn begin_block(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        if self.next.is_multiple_of(BLOCKS_EACH) {
            emit(Piece::Bytes(&[0xff; usize_of(bitmap_bytes_written())]))?;
        }
        Ok(())
    }
}

/// [`bitmap_bytes`] of [`BLOCK_SIZE`], for arrays.
const fn bitmap_bytes_written() -> u64 {
    BLOCK_SIZE_BYTES / SECTOR_BYTES / 8
}

impl ImageWriter for DynamicWriter {
    fn begin(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        emit(Piece::Bytes(&self.footer))?;
        emit(Piece::Bytes(&self.header))?;
        // What fills the table's last sector is no entry of a block either.
        let mut table = vec![0xff; usize_of((u64_of(self.bat.len()) * 4).next_multiple_of(SECTOR_BYTES))];
        for (entry, bytes) in self.bat.iter().zip(table.as_chunks_mut::<4>().0) {
            BigEndian::write_u32(bytes, *entry);
        }
        emit(Piece::Bytes(&table))
    }

    fn data(&mut self, index: BlockIndex, encoded: &[u8], emit: &mut Emit<'_>) -> Result<()> {
        assert_eq!(index.0, self.next, "blocks come ascending and without gap");
        assert_ne!(self.bat[usize_of(self.next / BLOCKS_EACH)], BAT_UNUSED, "data in a block that was not planned");
        self.begin_block(emit)?;
        self.next += 1;
        emit(Piece::Bytes(encoded))?;
        // The last block of the disk may be short, a block of the VHD never is.
        match BLOCK_BYTES - u64_of(encoded.len()) {
            0 => Ok(()),
            missing => emit(Piece::Zeros(missing)),
        }
    }

    fn zeros(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.pass(first, count, Piece::Zeros, emit)
    }

    fn unused(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.pass(first, count, Piece::Unused, emit)
    }

    fn finish(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        assert_eq!(self.next, self.block_count, "all blocks came");
        let missing = self.next.next_multiple_of(BLOCKS_EACH) - self.next;
        if missing > 0 && self.bat.last().is_some_and(|entry| *entry != BAT_UNUSED) {
            emit(Piece::Zeros(missing * BLOCK_BYTES))?;
        }
        emit(Piece::Bytes(&self.footer))
    }
}
