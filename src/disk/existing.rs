//! A disk that is there already, opened from an image: written again in another format, larger if that is asked for.
//!
//! Its bytes stay what they are, but for the partition table where the disk grows: a GPT's backup moves to the new end. A block is
//! data where it holds a byte that is not zero. A block of zeros is unused only where a filesystem that was read and checked
//! without a finding says that all of it is free; else it is zero, as somebody may trust it to be.

use super::parent::ext4_of_read;
use super::{Disk, Inner, Known, Part};
use crate::content::{ContentStore, Contents, ReadAt};
use crate::error::{Error, ErrorKind, Result};
use crate::format::DiskReader;
use crate::fs::{ReadOptions, fat};
use crate::guid::Guid;
use crate::layout::{AllocationMap, Layout, Segment, SegmentSource};
use crate::partition::{self, Table, TableKind};
use crate::report::DiskSummary;
use crate::source::DiskImage;
use crate::stream::{self, Cancel};
use crate::tree::Timestamp;
use crate::units::{BLOCK_BYTES, ContentId, Size, align_up, u64_of, usize_of};
use std::ops::Range;
use std::sync::Arc;

/// How an opened image becomes a [`Disk`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ImageOptions {
    /// The disk's new size, where it is to grow.
    pub size: Option<Size>,
    /// Name of the image, for reports and documents; the disk's identifiers stay.
    pub name: Option<String>,
    /// Version of the image.
    pub version: Option<String>,
    /// The time of the new container.
    pub epoch: Option<Timestamp>,
    /// A wish to stop, from anywhere: what is there is scanned first.
    pub cancel: Cancel,
}

impl Disk {
    /// The disk in `image`, as it is or larger. What the image stores is looked through for blocks of zeros; its filesystems are read
    /// and checked, to tell which of these are free.
    ///
    /// # Errors
    /// A size that is smaller, or no whole number of sectors; a GPT that cannot be written again as it is; those of reading.
    pub fn of_image(image: &DiskImage, options: &ImageOptions) -> Result<Self> {
        let old_bytes = image.summary().size_bytes;
        let size_bytes = options.size.map_or(old_bytes, Size::as_bytes);
        check_size(image, size_bytes)?;
        let mut notes = image.notes().to_vec();
        let table = if size_bytes > old_bytes { moved_table(image, size_bytes)? } else { Vec::new() };
        let reader = Arc::clone(image.disk());
        let mut known = Vec::new();
        let free = free_ranges(image, &mut notes, &mut known);
        let data = stream::blocks_with_data(&*reader, &options.cancel)?;
        let layout = ImageLayout::new(size_bytes, old_bytes, &data, &free, table);
        let mut contents = ContentStore::new();
        contents.add(Arc::new(ImageContents(reader)), 1)?;
        let summary = DiskSummary { size_bytes, ..image.summary().clone() };
        let none = Table {
            kind: TableKind::None,
            disk_guid: Guid::from_bytes([0; 16]),
            signature: 0,
            sector_bytes: summary.sector_bytes,
            disk_bytes: size_bytes,
            partitions: Vec::new(),
            boot_code: None,
        };
        let seed = seed_of(image);
        let mut inner = Inner {
            table: partition::plan(&none)?,
            allocation: AllocationMap::of(&layout),
            parts: vec![Part { offset_bytes: 0, layout: Arc::new(layout) }],
            vacated: Vec::new(),
            known,
            contents,
            summary,
            partitions: image.partitions().to_vec(),
            boot: None,
            name: options.name.clone(),
            version: options.version.clone(),
            sources: vec![format!("{} ({})", shown_name(image), image.disk().format())],
            notes,
            removed: Vec::new(),
            inputs: vec![image.path().to_path_buf()],
            image_id: Guid::derive(seed, "image"),
            epoch: options.epoch.unwrap_or(super::DEFAULT_EPOCH),
        };
        inner.partitions.retain(|partition| partition.number > 0 || partition.filesystem.is_some());
        Ok(Self(Arc::new(inner)))
    }
}

fn shown_name(image: &DiskImage) -> String {
    crate::error::escape(image.path().file_name().unwrap_or(image.path().as_os_str()).as_encoded_bytes())
}

fn check_size(image: &DiskImage, size_bytes: u64) -> Result<()> {
    let (old, sector_bytes) = (image.summary().size_bytes, u64::from(image.summary().sector_bytes));
    if size_bytes < old {
        let kind = ErrorKind::TooSmall { needed: old, available: size_bytes };
        return Err(Error::new(kind, format!("the disk has {} ({old} bytes) and can grow only; {} were asked for", Size::bytes(old), Size::bytes(size_bytes))));
    }
    if size_bytes > old && !size_bytes.is_multiple_of(sector_bytes) {
        return Err(Error::invalid(format!("a disk of {size_bytes} bytes, which is no whole number of sectors of {sector_bytes}")));
    }
    Ok(())
}

/// What identifiers of the new container derive from: the disk's own.
fn seed_of(image: &DiskImage) -> Guid {
    let summary = image.summary();
    let filesystem = image.partitions().iter().find_map(|partition| partition.filesystem.as_ref());
    let text = format!("{:?} {:?} {:?}", summary.guid, summary.signature, filesystem.map(|filesystem| &filesystem.uuid));
    Guid::derive(summary.guid.unwrap_or(Guid::from_bytes([0; 16])), &text)
}

/// The GPT of a larger disk, as (offset, bytes); its old backup is part of it, as zeros. Other tables do not tell the disk's size.
fn moved_table(image: &DiskImage, size_bytes: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let Some(table) = image.table().filter(|table| table.kind == TableKind::Gpt) else { return Ok(Vec::new()) };
    let grown = Table { disk_bytes: size_bytes, ..table.clone() };
    let layout = partition::plan(&grown).map_err(|error| error.within("the GPT of the larger disk"))?;
    let mut pieces = Vec::new();
    let old_bytes = image.summary().size_bytes;
    let backup = partition::usable_bytes(TableKind::Gpt, table.sector_bytes, old_bytes)?.end;
    // A table of more than 128 entries, or one that lies elsewhere, may have a partition there.
    if table.partitions.iter().any(|partition| partition.range().end > backup) {
        return Err(Error::unsupported("the GPT's backup does not lie where it is usual, so that it cannot be moved"));
    }
    let mut at = 0;
    while let Some(segment) = layout.segment_after(at) {
        let mut bytes = vec![0; usize_of(segment.range.end - segment.range.start)];
        layout.render(segment.range.start, &mut bytes);
        at = segment.range.end;
        pieces.push((segment.range.start, bytes));
    }
    let cleared_end = pieces.iter().map(|(start, _)| *start).find(|start| *start > backup).unwrap_or(size_bytes).min(old_bytes);
    if backup < cleared_end {
        pieces.push((backup, vec![0; usize_of(cleared_end - backup)]));
    }
    pieces.sort_by_key(|(start, _)| *start);
    Ok(pieces)
}

/// What the disk's filesystems have free, ascending: those that were read without a finding. Also where their files lie.
fn free_ranges(image: &DiskImage, notes: &mut Vec<String>, known: &mut Vec<(u32, Known)>) -> Vec<Range<u64>> {
    let options = ReadOptions { check: true, ..ReadOptions::default() };
    let mut free = Vec::new();
    for partition in image.partitions().iter().filter(|partition| partition.filesystem.is_some()) {
        match image.read(partition.number, &options) {
            Ok(Some(read)) if read.is_sound() => {
                if read.summary.kind.starts_with("ext") {
                    let parent = ext4_of_read(image, partition, &read).ok().filter(|parent| parent.check().is_ok());
                    known.extend(parent.map(|parent| (partition.number, Known::Ext4(Arc::new(parent)))));
                } else if let Ok(Some(parent)) = fat::Parent::of(&read) {
                    known.push((partition.number, Known::Fat(Arc::new(parent))));
                }
                let base = partition.offset_bytes;
                let end = read.summary.size_bytes.min(partition.size_bytes);
                let mut at = 0;
                for place in &read.places {
                    if place.range.start.min(end) > at {
                        free.push(base + at..base + place.range.start.min(end));
                    }
                    at = at.max(place.range.end);
                }
                if at < end {
                    free.push(base + at..base + end);
                }
            }
            Ok(Some(read)) => {
                let first = read.damage.iter().chain(&read.findings).next().map_or_else(String::new, |finding| format!(": {finding}"));
                notes.push(format!("partition {}: its filesystem is not sound, so none of its zeros count as unused{first}", partition.number));
            }
            Ok(None) => {}
            Err(error) => notes.push(format!("partition {}: its filesystem cannot be read, so none of its zeros count as unused: {error}", partition.number)),
        }
    }
    free.sort_by_key(|range| range.start);
    free
}

/// What a range of the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The image's bytes.
    Data,
    /// Zeros that somebody may trust.
    Zeros,
    /// The piece of the table with this number.
    Table(usize),
}

/// An image's disk as a layout: one piece of contents, zeros, and the table of a larger disk.
struct ImageLayout {
    size_bytes: u64,
    /// Ascending and disjoint.
    ranges: Vec<(Range<u64>, Kind)>,
    table: Vec<(u64, Vec<u8>)>,
}

impl ImageLayout {
    fn new(size_bytes: u64, old_bytes: u64, data: &[Range<u64>], free: &[Range<u64>], table: Vec<(u64, Vec<u8>)>) -> Self {
        let mut layout = Self { size_bytes, ranges: Vec::new(), table: Vec::new() };
        let mut at = 0;
        for range in data {
            layout.push_zeros(at..range.start, free);
            layout.push(range.clone(), Kind::Data);
            at = range.end;
        }
        layout.push_zeros(at..old_bytes, free);
        if !table.is_empty() {
            layout.lay_table(table);
        }
        layout
    }

    /// Zeros, but for whole blocks that are free.
    fn push_zeros(&mut self, range: Range<u64>, free: &[Range<u64>]) {
        let mut at = range.start;
        let from = free.partition_point(|free| free.end <= range.start);
        for free in free[from..].iter().take_while(|free| free.start < range.end) {
            let start = align_up(free.start.max(range.start), BLOCK_BYTES);
            let end = if free.end >= range.end { range.end } else { free.end / BLOCK_BYTES * BLOCK_BYTES };
            if start < end {
                self.push(at..start, Kind::Zeros);
                at = end;
            }
        }
        self.push(at..range.end, Kind::Zeros);
    }

    fn push(&mut self, range: Range<u64>, kind: Kind) {
        match self.ranges.last_mut() {
            _ if range.is_empty() => {}
            Some((last, last_kind)) if last.end == range.start && *last_kind == kind => last.end = range.end,
            _ => self.ranges.push((range, kind)),
        }
    }

    /// Puts the pieces of the new table in place of what was there.
    fn lay_table(&mut self, table: Vec<(u64, Vec<u8>)>) {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 2 * table.len());
        for (range, kind) in std::mem::take(&mut self.ranges) {
            let mut rest = range;
            for (start, bytes) in &table {
                let piece = *start..start + u64_of(bytes.len());
                if piece.end <= rest.start || piece.start >= rest.end {
                    continue;
                }
                if rest.start < piece.start {
                    ranges.push((rest.start..piece.start, kind));
                }
                rest.start = piece.end.min(rest.end);
            }
            if !rest.is_empty() {
                ranges.push((rest, kind));
            }
        }
        ranges.extend(table.iter().enumerate().map(|(at, (start, bytes))| (*start..start + u64_of(bytes.len()), Kind::Table(at))));
        ranges.sort_by_key(|(range, _)| range.start);
        (self.ranges, self.table) = (ranges, table);
    }
}

impl Layout for ImageLayout {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        let (range, kind) = self.ranges.get(self.ranges.partition_point(|(range, _)| range.end <= offset_bytes))?;
        let source = match kind {
            Kind::Data => SegmentSource::Content { id: ContentId(0), offset_bytes: range.start },
            Kind::Zeros => SegmentSource::Zeros,
            Kind::Table(_) => SegmentSource::Metadata,
        };
        Some(Segment { range: range.clone(), source })
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        let found = self.ranges.get(self.ranges.partition_point(|(range, _)| range.end <= offset_bytes));
        let Some((range, Kind::Table(piece))) = found else { unreachable!("only metadata is rendered") };
        out.copy_from_slice(&self.table[*piece].1[usize_of(offset_bytes - range.start)..][..out.len()]);
    }
}

/// The image's disk as contents.
struct ImageContents(Arc<dyn DiskReader>);

impl Contents for ImageContents {
    fn read_exact_at(&self, _id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.0.read_exact_at(offset_bytes, out)?;
        self.0.check_unchanged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::assert_well_formed;

    fn ranges(layout: &ImageLayout) -> Vec<(Range<u64>, Kind)> {
        assert_well_formed(layout);
        layout.ranges.iter().map(|(range, kind)| (range.start / BLOCK_BYTES..range.end / BLOCK_BYTES, *kind)).collect()
    }

    #[test]
    fn zeros_are_unused_where_whole_blocks_are_free() {
        let blocks = |range: Range<u64>| range.start * BLOCK_BYTES..range.end * BLOCK_BYTES;
        let free = [blocks(1..3), 4 * BLOCK_BYTES + 1..8 * BLOCK_BYTES - 1, blocks(9..10)];
        let layout = ImageLayout::new(10 * BLOCK_BYTES, 10 * BLOCK_BYTES, &[blocks(0..1), blocks(5..6)], &free, Vec::new());
        assert_eq!(ranges(&layout), [(0..1, Kind::Data), (3..5, Kind::Zeros), (5..6, Kind::Data), (7..9, Kind::Zeros)]);
    }

    #[test]
    fn a_table_takes_the_place_of_what_was_there() {
        let old = 4 * BLOCK_BYTES;
        let table = vec![(0, vec![1; 512]), (old - 512, vec![2; 512]), (2 * old - 512, vec![3; 512])];
        let layout = ImageLayout::new(2 * old, old, std::slice::from_ref(&(0..old)), &[], table);
        assert_well_formed(&layout);
        let kinds: Vec<Kind> = layout.ranges.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [Kind::Table(0), Kind::Data, Kind::Table(1), Kind::Table(2)]);
        let mut out = [0; 10];
        layout.render(2 * old - 100, &mut out);
        assert_eq!(out, [3; 10]);
    }
}
