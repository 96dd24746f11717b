//! What is in an image: its container, its partition table, its filesystems.

use crate::error::{Error, Result, escape};
use crate::format::{DiskReader, Format, OpenOptions};
use crate::fs;
use crate::partition::{self, TableKind};
use crate::report::{DiskSummary, FilesystemSummary, PartitionSummary};
use crate::units::Size;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// What was found in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The container: `raw`, `vhd`, `vhd-fixed`.
    pub format: String,
    /// The disk in it.
    pub disk: DiskSummary,
    /// Its partitions, by number; one with number 0 for a disk without a table.
    pub partitions: Vec<PartitionSummary>,
    /// What looks wrong.
    pub notes: Vec<String>,
}

/// Looks into the image at `path`. Nothing that the image names is opened.
///
/// # Errors
/// I/O, a container or table that breaks its format, and what holds neither a table nor a filesystem that is known. A damaged filesystem is a note.
pub fn inspect(path: impl AsRef<Path>, format: Option<Format>) -> Result<Inspection> {
    inspect_with(path, &OpenOptions::of(format))
}

/// [`inspect()`] with parents of differencing VHDs and a place for what has to be unpacked.
///
/// # Errors
/// As [`inspect()`].
pub fn inspect_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Inspection> {
    let path = path.as_ref();
    let reader = crate::format::open_with(path, options)?;
    let mut inspection = inspect_disk(reader.as_ref()).map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))?;
    inspection.notes.splice(..0, reader.notes().iter().cloned());
    Ok(inspection)
}

fn inspect_disk(reader: &dyn DiskReader) -> Result<Inspection> {
    let size_bytes = reader.size_bytes();
    let read = |offset: u64, out: &mut [u8]| reader.read_exact_at(offset, out);
    let Some(found) = partition::read(&read, size_bytes)? else {
        let disk = DiskSummary { size_bytes, sector_bytes: 512, table: TableKind::None.to_string(), guid: None, signature: None };
        let inspection = look_into(reader, disk, vec![bare(size_bytes)], Vec::new());
        if inspection.notes.is_empty() && inspection.partitions.iter().all(|partition| partition.filesystem.is_none()) {
            return Err(Error::unsupported("neither a partition table nor a filesystem that is known here"));
        }
        return Ok(inspection);
    };
    let is_mbr = found.table.kind == TableKind::Mbr;
    let inspection = look_at_table(reader, found);
    // An MBR does not say how large its sectors are: where the usual 512 bytes lead to nothing, 4,096 may lead to something.
    let nothing = |inspection: &Inspection| inspection.partitions.iter().all(|partition| partition.filesystem.is_none());
    if is_mbr
        && nothing(&inspection)
        && let Ok(Some(found)) = partition::read_with_sectors(&read, size_bytes, 4096)
    {
        let other = look_at_table(reader, found);
        if !nothing(&other) {
            return Ok(other);
        }
    }
    Ok(inspection)
}

/// The disk as one partition, where it has no table.
fn bare(size_bytes: u64) -> PartitionSummary {
    PartitionSummary { number: 0, partition_type: "none".into(), guid: None, label: None, offset_bytes: 0, size_bytes, mount_point: None, filesystem: None }
}

fn look_at_table(reader: &dyn DiskReader, found: partition::Found) -> Inspection {
    let table = found.table;
    let gpt = table.kind == TableKind::Gpt;
    let disk = DiskSummary {
        size_bytes: reader.size_bytes(),
        sector_bytes: table.sector_bytes,
        table: table.kind.to_string(),
        guid: gpt.then_some(table.disk_guid),
        signature: (!gpt).then_some(table.signature),
    };
    let partitions = table.partitions.into_iter().map(|partition| PartitionSummary {
        number: partition.number,
        partition_type: partition.partition_type.to_string(),
        guid: gpt.then_some(partition.guid),
        label: gpt.then_some(partition.name),
        offset_bytes: partition.offset_bytes,
        size_bytes: partition.size_bytes,
        mount_point: None,
        filesystem: None,
    });
    look_into(reader, disk, partitions.collect(), found.notes)
}

/// Looks for the filesystem of every partition.
fn look_into(reader: &dyn DiskReader, disk: DiskSummary, mut partitions: Vec<PartitionSummary>, mut notes: Vec<String>) -> Inspection {
    for partition in &mut partitions {
        let base = partition.offset_bytes;
        match fs::probe(&|offset, out: &mut [u8]| reader.read_exact_at(base + offset, out), partition.size_bytes) {
            Ok(found) => partition.filesystem = found,
            Err(error) => notes.push(format!("partition {}: {error}", partition.number)),
        }
    }
    partitions.sort_by_key(|partition| partition.number);
    Inspection { format: reader.format().to_string(), disk, partitions, notes }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DiskSummary { size_bytes, sector_bytes, table, guid, signature } = &self.disk;
        write!(f, "{} image of a disk of {} ({size_bytes} bytes), {table}, sectors of {sector_bytes} bytes", self.format, Size::bytes(*size_bytes))?;
        match (guid, signature) {
            (Some(guid), _) => writeln!(f, ", {guid}")?,
            (None, Some(signature)) => writeln!(f, ", signature {signature:08x}")?,
            (None, None) => writeln!(f)?,
        }
        for partition in &self.partitions {
            let PartitionSummary { number, partition_type, guid, label, offset_bytes, size_bytes, filesystem, .. } = partition;
            write!(f, "  {number:>3}  {partition_type:<14} at {:>9}  {:>9}", Size::bytes(*offset_bytes).to_string(), Size::bytes(*size_bytes).to_string())?;
            if let Some(label) = label.as_ref().filter(|label| !label.is_empty()) {
                write!(f, "  {:?}", escape(label.as_bytes()))?;
            }
            if let Some(guid) = guid {
                write!(f, "  {guid}")?;
            }
            writeln!(f)?;
            if let Some(FilesystemSummary { kind, label, uuid, block_bytes, used_bytes, free_bytes, .. }) = filesystem {
                let (used, free) = (Size::bytes(*used_bytes), Size::bytes(*free_bytes));
                writeln!(f, "       {kind} {:?} {uuid}, blocks of {block_bytes} bytes, {used} used, {free} free", escape(label.as_bytes()))?;
            }
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", escape(note.as_bytes()))?;
        }
        Ok(())
    }
}
