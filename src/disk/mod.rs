//! The disk: what is wanted of it ([`DiskSpec`]), and what was decided ([`Disk`]).
//!
//! A disk is a layout of layouts: a partition table and the filesystems in its partitions, each at its offset. It
//! knows the size and the place of everything before the first byte is read; writing it is one walk upwards.
//!
//! ```text
//! 0      1 MiB                                                       size
//! ├ GPT ─┼─ ESP (FAT) ──┼─ root (ext4), last so that it can grow ──┼─ GPT ┤
//! ```

mod existing;
mod keep;
mod label;
mod order;
mod parent;
mod place;
mod plan;
mod reader;
mod show;
mod spec;
mod write;

pub use crate::stream::OnProgress;
pub use existing::ImageOptions;
pub use parent::{LAYOUT_ENTRIES_MAX, LAYOUT_MAX_BYTES, LAYOUT_RUNS_MAX, Parent, ParentPartition};
pub use spec::{
    BootMode, DEFAULT_ALIGN_SIZE, DEFAULT_EPOCH, DEFAULT_FREE, DiskSize, DiskSpec, ESP_MIN_BYTES, Ext4Settings, FatSettings, Filesystem, FilesystemKind,
    PARTITION_ALIGN_BYTES, PartitionSize, PartitionSpec,
};
pub use write::{Unnamed, WriteOptions, Written};

use crate::checksum::{BlockChecksums, BlockState};
use crate::content::ContentStore;
use crate::error::{Result, escape};
use crate::fs::{ext4, fat};
use crate::guid::Guid;
use crate::layout::{AllocationMap, Layout, Segment, SegmentSource, Visitor};
use crate::partition::{self, Table, TableKind, TableLayout};
use crate::report::{BootSummary, DiskSummary, PartitionSummary};
use crate::stream;
use crate::tree::Timestamp;
use crate::units::{BLOCK_BYTES, BLOCK_LEN, BlockIndex};
use plan::Drafted;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

/// A plan as plain data; see [`Disk::outline`].
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Outline<'a> {
    /// The image's name.
    pub name: Option<&'a str>,
    /// The image's version.
    pub version: Option<&'a str>,
    /// The disk as a guest sees it.
    pub disk: &'a DiskSummary,
    /// The partitions, by number.
    pub partitions: &'a [PartitionSummary],
    /// How it boots.
    pub boot: Option<&'a BootSummary>,
    /// What it is made from.
    pub sources: &'a [String],
    /// What a person should know.
    pub notes: &'a [String],
    /// What `[clean]` took out of the tree.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub removed: &'a [String],
}

/// A layout at its place on the disk.
#[derive(Clone)]
struct Part {
    offset_bytes: u64,
    layout: Arc<dyn Layout>,
}

/// A filesystem of which is known where its files lie.
#[derive(Clone)]
enum Known {
    /// Planned here.
    PlannedExt4(Arc<ext4::Ext4Layout>),
    /// Planned here.
    PlannedFat(Arc<fat::FatLayout>),
    /// Read from an image.
    Ext4(Arc<ext4::Parent>),
    /// Read from an image.
    Fat(Arc<fat::Parent>),
}

/// What lies in the partitions.
struct Placement {
    parts: Vec<Part>,
    /// By the number of the partition.
    known: Vec<(u32, Known)>,
}

/// A planned disk. Cheap to clone; any part of it can be made at any time, from any thread.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    table: TableLayout,
    /// By offset.
    parts: Vec<Part>,
    /// Blocks that a parent held and nothing here uses; ascending, disjoint, and of no other segment.
    vacated: Vec<Range<u64>>,
    known: Vec<(u32, Known)>,
    contents: ContentStore,
    allocation: AllocationMap,
    summary: DiskSummary,
    partitions: Vec<PartitionSummary>,
    boot: Option<BootSummary>,
    name: Option<String>,
    version: Option<String>,
    sources: Vec<String>,
    notes: Vec<String>,
    removed: Vec<String>,
    inputs: Vec<PathBuf>,
    /// The image file's own identifier.
    image_id: Guid,
    epoch: Timestamp,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("summary", &self.0.summary).field("partitions", &self.0.partitions).finish_non_exhaustive()
    }
}

impl Disk {
    fn assemble(drafted: Drafted, table: &Table, placement: Placement, partitions: Vec<PartitionSummary>) -> Result<Self> {
        let Placement { mut parts, known } = placement;
        parts.sort_by_key(|part| part.offset_bytes);
        let gpt = table.kind == TableKind::Gpt;
        let mbr = table.kind == TableKind::Mbr;
        let summary = DiskSummary {
            size_bytes: table.disk_bytes,
            sector_bytes: table.sector_bytes,
            table: table.kind.to_string(),
            guid: gpt.then_some(table.disk_guid),
            signature: mbr.then_some(table.signature),
        };
        let table = partition::plan(table)?;
        let mut inner = Inner {
            allocation: AllocationMap::of(&table),
            table,
            parts,
            vacated: Vec::new(),
            known,
            contents: drafted.store,
            summary,
            partitions,
            boot: drafted.boot,
            name: drafted.spec.name,
            version: drafted.spec.version,
            sources: drafted.sources,
            notes: drafted.notes,
            removed: drafted.spec.removed,
            inputs: drafted.inputs,
            image_id: Guid::derive(drafted.seed, "image"),
            epoch: drafted.spec.epoch,
        };
        inner.allocation = AllocationMap::of(&inner);
        if let Some(parent) = &drafted.spec.parent {
            inner.vacated = parent.vacated(&inner.allocation, inner.summary.size_bytes);
            inner.notes.extend(keep::vacated_note(&inner.vacated));
            inner.allocation = AllocationMap::of(&inner);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Blocks of 512 KiB that the parent held and nothing uses any more: they are zero, and sent as such.
    #[must_use]
    pub fn vacated_blocks(&self) -> u64 {
        self.0.vacated.iter().map(|range| (range.end - range.start).div_ceil(BLOCK_BYTES)).sum()
    }

    /// What a later version of this disk can stay close to, once it is written: `checksums` say which of its blocks hold data.
    ///
    /// # Errors
    /// None for a disk that was planned here.
    pub fn as_parent(&self, checksums: &BlockChecksums) -> Result<Parent> {
        let mut parent = Parent::new(self.0.summary.clone());
        parent.linear_checksum = Some(checksums.linear_checksum());
        parent.name = self.0.name.as_deref().map_or_else(|| "image".into(), |name| escape(name.as_bytes()));
        for summary in &self.0.partitions {
            let mut partition = ParentPartition::new(summary.clone());
            match self.0.known.iter().find(|(number, _)| *number == summary.number) {
                Some((_, Known::PlannedExt4(layout))) => partition.ext4 = Some(Arc::new(layout.as_parent()?)),
                Some((_, Known::PlannedFat(layout))) => partition.fat = Some(Arc::new(layout.as_parent())),
                Some((_, Known::Ext4(read))) => partition.ext4 = Some(Arc::clone(read)),
                Some((_, Known::Fat(read))) => partition.fat = Some(Arc::clone(read)),
                None => {}
            }
            parent.partitions.push(partition);
        }
        parent.partitions.sort_by_key(|partition| partition.summary.number);
        let data = checksums.runs().filter(|run| run.state == BlockState::Data);
        parent.data = data.map(|run| run.first.0..run.first.0 + run.count).collect();
        Ok(parent)
    }

    /// Size of the disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.summary.size_bytes
    }

    /// The disk as a guest sees it.
    #[must_use]
    pub fn summary(&self) -> &DiskSummary {
        &self.0.summary
    }

    /// The partitions, by number.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionSummary] {
        &self.0.partitions
    }

    /// How it boots; `None` for a data disk.
    #[must_use]
    pub fn boot(&self) -> Option<&BootSummary> {
        self.0.boot.as_ref()
    }

    /// The image's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The image's version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.0.version.as_deref()
    }

    /// The plan as plain data, with the names that the report of a build has.
    #[must_use]
    pub fn outline(&self) -> Outline<'_> {
        let Inner { summary, partitions, boot, name, version, sources, notes, removed, .. } = &*self.0;
        Outline { name: name.as_deref(), version: version.as_deref(), disk: summary, partitions, boot: boot.as_ref(), sources, notes, removed }
    }

    /// What a person should know: what was mended, dropped, found odd.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// What `[clean]` took out of the tree: absolute paths, with `(emptied)` behind what is there still.
    #[must_use]
    pub fn removed(&self) -> &[String] {
        &self.0.removed
    }

    /// Which 512-KiB blocks are used.
    #[must_use]
    pub fn allocation(&self) -> &AllocationMap {
        &self.0.allocation
    }

    /// The files and directories that the disk is made from, which no output may overwrite.
    #[must_use]
    pub fn inputs(&self) -> &[PathBuf] {
        &self.0.inputs
    }

    /// Makes block `index` again, from any thread; what is unused and what is behind a short last block is zero.
    ///
    /// # Errors
    /// A block past the end of the disk; those of the sources.
    pub fn read_block(&self, index: BlockIndex, out: &mut [u8; BLOCK_LEN]) -> Result<()> {
        stream::read_block(&*self.0, &self.0.contents, index, out)
    }
}

impl Inner {
    /// The first vacated range that ends behind `offset_bytes`.
    fn vacated_after(&self, offset_bytes: u64) -> &[Range<u64>] {
        &self.vacated[self.vacated.partition_point(|range| range.end <= offset_bytes)..]
    }

    /// [`Layout::visit`] of table and parts.
    fn visit_parts(&self, offset_bytes: u64, each: &mut Visitor<'_>) -> ControlFlow<()> {
        let from = self.parts.partition_point(|part| part.offset_bytes + part.layout.size_bytes() <= offset_bytes);
        // The table lies before, between and behind the parts.
        let mut at = offset_bytes;
        let mut table_until = |end: u64, each: &mut Visitor<'_>| {
            while let Some(segment) = self.table.segment_after(at).filter(|segment| segment.range.start < end) {
                at = segment.range.end;
                each(segment)?;
            }
            ControlFlow::Continue(())
        };
        for part in &self.parts[from..] {
            table_until(part.offset_bytes, each)?;
            part.layout.visit(offset_bytes.saturating_sub(part.offset_bytes), &mut |Segment { range, source }| {
                each(Segment { range: range.start + part.offset_bytes..range.end + part.offset_bytes, source })
            })?;
        }
        table_until(u64::MAX, each)
    }
}

fn zeros(range: &Range<u64>) -> Segment {
    Segment { range: range.clone(), source: SegmentSource::Zeros }
}

impl Layout for Inner {
    fn size_bytes(&self) -> u64 {
        self.summary.size_bytes
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        let from = self.parts.partition_point(|part| part.offset_bytes + part.layout.size_bytes() <= offset_bytes);
        let part = self.parts[from..].iter().find_map(|part| {
            let segment = part.layout.segment_after(offset_bytes.saturating_sub(part.offset_bytes))?;
            Some(Segment { range: segment.range.start + part.offset_bytes..segment.range.end + part.offset_bytes, source: segment.source })
        });
        let found = [part, self.table.segment_after(offset_bytes), self.vacated_after(offset_bytes).first().map(zeros)];
        found.into_iter().flatten().min_by_key(|segment| segment.range.start)
    }

    fn visit(&self, offset_bytes: u64, each: &mut Visitor<'_>) -> ControlFlow<()> {
        let mut vacated = self.vacated_after(offset_bytes);
        // No vacated range meets another segment, so each lies between two.
        self.visit_parts(offset_bytes, &mut |segment| {
            while let Some((first, rest)) = vacated.split_first().filter(|(first, _)| first.start < segment.range.start) {
                vacated = rest;
                each(zeros(first))?;
            }
            each(segment)
        })?;
        vacated.iter().map(zeros).try_for_each(each)
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        let after = self.parts.partition_point(|part| part.offset_bytes <= offset_bytes);
        match after.checked_sub(1).map(|at| &self.parts[at]) {
            Some(part) if offset_bytes < part.offset_bytes + part.layout.size_bytes() => part.layout.render(offset_bytes - part.offset_bytes, out),
            _ => self.table.render(offset_bytes, out),
        }
    }
}

impl Layout for Disk {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn segment_after(&self, offset_bytes: u64) -> Option<Segment> {
        self.0.segment_after(offset_bytes)
    }

    fn visit(&self, offset_bytes: u64, each: &mut Visitor<'_>) -> ControlFlow<()> {
        self.0.visit(offset_bytes, each)
    }

    fn render(&self, offset_bytes: u64, out: &mut [u8]) {
        self.0.render(offset_bytes, out);
    }
}
