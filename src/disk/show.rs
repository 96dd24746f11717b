//! The plan of a disk as text: the map, the sizes, what boots.

use super::Disk;
use crate::error::escape;
use crate::fs::ext4;
use crate::report::{BootSummary, FilesystemSummary, PartitionSummary};
use crate::units::Size;
use std::fmt;

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary();
        write!(f, "disk {} ({} bytes), {}", Size::bytes(summary.size_bytes), summary.size_bytes, summary.table)?;
        if summary.sector_bytes != 512 {
            write!(f, ", sectors of {} bytes", summary.sector_bytes)?;
        }
        match (summary.guid, summary.signature) {
            (Some(guid), _) => writeln!(f, ", {guid}")?,
            (None, Some(signature)) => writeln!(f, ", signature {signature:08x}")?,
            (None, None) => writeln!(f)?,
        }
        for partition in self.partitions() {
            show_partition(f, partition)?;
        }
        let used = self.allocation().used_blocks();
        let total = self.allocation().block_count();
        writeln!(f, "  blocks of 512 KiB: {total}, at most {used} of them used")?;
        if let Some(boot) = self.boot() {
            show_boot(f, boot)?;
        }
        for removed in self.removed() {
            // Escaped where it was made.
            writeln!(f, "  cleaned: {removed}")?;
        }
        for note in self.notes() {
            writeln!(f, "  note: {}", escape(note.as_bytes()))?;
        }
        Ok(())
    }
}

fn show_partition(f: &mut fmt::Formatter<'_>, partition: &PartitionSummary) -> fmt::Result {
    let PartitionSummary { number, partition_type, offset_bytes, size_bytes, mount_point, filesystem, .. } = partition;
    write!(f, "  {number:>3}  {partition_type:<14} at {:>9}  {:>9}", Size::bytes(*offset_bytes).to_string(), Size::bytes(*size_bytes).to_string())?;
    if let Some(FilesystemSummary { kind, label, uuid, used_bytes, free_bytes, reserved_bytes, .. }) = filesystem {
        write!(f, "  {kind} {:?} {uuid}, {} used, {} free", escape(label.as_bytes()), Size::bytes(*used_bytes), Size::bytes(*free_bytes))?;
        if *reserved_bytes > 0 {
            write!(f, " ({} of it for root)", Size::bytes(*reserved_bytes))?;
        }
    }
    if let Some(mount_point) = mount_point {
        write!(f, ", {}", escape(mount_point.as_bytes()))?;
    }
    writeln!(f)?;
    let usual = ext4::Features::default().to_string();
    if let Some(features) = filesystem.as_ref().and_then(|filesystem| filesystem.features.as_ref()).filter(|features| **features != usual) {
        writeln!(f, "         features: {features}")?;
    }
    for part in filesystem.iter().flat_map(|filesystem| &filesystem.parts) {
        writeln!(f, "         {:>9}  {}", Size::bytes(part.bytes).to_string(), part.what)?;
    }
    Ok(())
}

fn show_boot(f: &mut fmt::Formatter<'_>, boot: &BootSummary) -> fmt::Result {
    let BootSummary { mode, architecture, loader, loader_path, kernel, initramfs, cmdline, .. } = boot;
    writeln!(f, "  boot: {mode}, {architecture}, {loader} from {}", escape(loader_path.as_bytes()))?;
    for (what, value) in [("kernel", kernel), ("initramfs", initramfs), ("command line", cmdline)] {
        if let Some(value) = value {
            writeln!(f, "    {what}: {}", escape(value.as_bytes()))?;
        }
    }
    Ok(())
}
