//! What is in an image: its container, its partition table, its filesystems.

use crate::error::{Error, Result, escape};
use crate::format::{DiskReader, Format};
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
    let path = path.as_ref();
    let reader = crate::format::open(path, format)?;
    inspect_disk(reader.as_ref()).map_err(|error| error.at_path(path.as_os_str().as_encoded_bytes()))
}

fn inspect_disk(reader: &dyn DiskReader) -> Result<Inspection> {
    let size_bytes = reader.size_bytes();
    let read = |offset: u64, out: &mut [u8]| reader.read_exact_at(offset, out);
    let mut notes = Vec::new();
    let table = partition::read(&read, size_bytes)?;
    let (disk, mut partitions) = match table {
        Some(found) => {
            notes.extend(found.notes);
            let table = found.table;
            let gpt = table.kind == TableKind::Gpt;
            let disk = DiskSummary {
                size_bytes,
                sector_bytes: table.sector_bytes,
                table: table.kind.to_string(),
                guid: gpt.then_some(table.disk_guid),
                signature: (!gpt).then_some(table.signature),
            };
            let partitions = table.partitions.iter().map(|partition| PartitionSummary {
                number: partition.number,
                partition_type: partition.partition_type.to_string(),
                guid: gpt.then_some(partition.guid),
                label: gpt.then(|| partition.name.clone()),
                offset_bytes: partition.offset_bytes,
                size_bytes: partition.size_bytes,
                mount_point: None,
                filesystem: None,
            });
            (disk, partitions.collect::<Vec<_>>())
        }
        None => {
            let disk = DiskSummary { size_bytes, sector_bytes: 512, table: TableKind::None.to_string(), guid: None, signature: None };
            let whole = PartitionSummary {
                number: 0,
                partition_type: "none".into(),
                guid: None,
                label: None,
                offset_bytes: 0,
                size_bytes,
                mount_point: None,
                filesystem: None,
            };
            (disk, vec![whole])
        }
    };
    for partition in &mut partitions {
        let base = partition.offset_bytes;
        match fs::probe(&|offset, out: &mut [u8]| reader.read_exact_at(base + offset, out), partition.size_bytes) {
            Ok(found) => partition.filesystem = found,
            Err(error) => notes.push(format!("partition {}: {error}", partition.number)),
        }
    }
    partitions.sort_by_key(|partition| partition.number);
    if disk.table == TableKind::None.to_string() && notes.is_empty() && partitions.iter().all(|partition| partition.filesystem.is_none()) {
        return Err(Error::unsupported("neither a partition table nor a filesystem that is known here"));
    }
    Ok(Inspection { format: reader.format().to_string(), disk, partitions, notes })
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
