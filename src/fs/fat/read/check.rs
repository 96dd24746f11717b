//! What reading does not need and a check looks at: copies, counts, marks. As far as it goes, this is what `fsck.fat` judges.

use super::super::FatKind;
use super::super::format::{BOOT_SECTOR_BYTES, BOOT_STATE_DIRTY, FsInfo};
use super::table::Link;
use super::volume::Volume;
use super::walk::Log;
use crate::content::ReadAt;
use crate::error::{Error, Result, escape};
use crate::units::{u64_of, usize_of};

/// Bytes of two FATs that are compared at once.
const COMPARED_BYTES: u64 = 256 << 10;

/// Judges boot sector, FSInfo and FATs; `free` is the number of clusters that are free in the FAT, `label` that of the root
/// directory.
pub(super) fn check(disk: &dyn ReadAt, volume: &Volume, free: u32, label: Option<[u8; 11]>, findings: &mut Log) -> Result<()> {
    let label = label.unwrap_or(*b"NO NAME    ");
    if let Some(extended) = volume.extended.filter(|extended| extended.bs_vol_lab != label) {
        let shown = |label: &[u8]| escape(label.trim_ascii_end());
        findings
            .add(|| Error::corrupt(format!("the label in the boot sector is {}, that in the root directory {}", shown(&extended.bs_vol_lab), shown(&label))));
    }
    if volume.state & BOOT_STATE_DIRTY != 0 {
        findings.add(|| Error::corrupt("the volume is marked as in use: it was not unmounted"));
    }
    if u64::from(volume.clusters) < volume.kind.clusters().0 {
        let (clusters, least) = (volume.clusters, volume.kind.clusters().0);
        findings.add(|| {
            Error::corrupt(format!("the volume has the form of FAT32 and {clusters} clusters; with fewer than {least} some readers take it for FAT16"))
        });
    }
    marks(disk, volume, findings)?;
    if let Some(fat32) = volume.fat32 {
        fs_info(disk, volume, u64::from(fat32.bpb_fs_info), free, findings)?;
        backup(disk, volume, u64::from(fat32.bpb_bk_boot_sec), findings)?;
    }
    if volume.mirrored {
        for fat in 1..volume.fats {
            copies(disk, volume, fat, findings)?;
        }
    }
    Ok(())
}

/// The first two entries of the FAT: the medium, and how the volume was left (fatgen103, "FAT Data Structure").
fn marks(disk: &dyn ReadAt, volume: &Volume, findings: &mut Log) -> Result<()> {
    let offset = volume.fat_offset(volume.active_fat);
    let mut bytes = [0; 8];
    let len = if volume.kind == FatKind::Fat32 { 8 } else { 4 };
    disk.read_exact_at(offset, &mut bytes[..len.min(usize_of(volume.fat_bytes()))])?;
    if bytes[0] != volume.media {
        findings.add(|| Error::corrupt(format!("the FAT begins with {:#x}, and the boot sector says {:#x}", bytes[0], volume.media)).at_offset(offset));
    }
    let (clean, sound) = match volume.kind {
        FatKind::Fat12 => (true, true),
        FatKind::Fat16 => (bytes[3] & 0x80 != 0, bytes[3] & 0x40 != 0),
        FatKind::Fat32 => (bytes[7] & 0x08 != 0, bytes[7] & 0x04 != 0),
    };
    if !clean {
        findings.add(|| Error::corrupt("the FAT is marked as in use: the volume was not unmounted").at_offset(offset));
    }
    if !sound {
        findings.add(|| Error::corrupt("the FAT is marked: there were errors of the disk").at_offset(offset));
    }
    Ok(())
}

fn fs_info(disk: &dyn ReadAt, volume: &Volume, sector: u64, free: u32, findings: &mut Log) -> Result<()> {
    // Both mean that there is none.
    if sector == 0 || sector == 0xffff {
        return Ok(());
    }
    let offset = sector * volume.sector_bytes;
    if sector >= volume.reserved_sectors {
        findings.add(|| Error::corrupt(format!("FSInfo is said to be in sector {sector}, which is not reserved")));
        return Ok(());
    }
    let mut bytes = [0; FsInfo::BYTES];
    disk.read_exact_at(offset, &mut bytes)?;
    let info = FsInfo::decode(&bytes);
    if (info.fsi_lead_sig, info.fsi_struc_sig, info.fsi_trail_sig) != (FsInfo::LEAD_SIG, FsInfo::STRUC_SIG, FsInfo::TRAIL_SIG) {
        findings.add(|| Error::corrupt("FSInfo has not the signatures that it should have").at_offset(offset));
    } else if info.fsi_free_count != u32::MAX && info.fsi_free_count != free {
        findings.add(|| Error::corrupt(format!("FSInfo counts {} free clusters, and there are {free}", info.fsi_free_count)).at_offset(offset));
    }
    Ok(())
}

fn backup(disk: &dyn ReadAt, volume: &Volume, sector: u64, findings: &mut Log) -> Result<()> {
    if sector == 0 || sector == 0xffff {
        return Ok(());
    }
    let offset = sector * volume.sector_bytes;
    if sector >= volume.reserved_sectors {
        findings.add(|| Error::corrupt(format!("the copy of the boot sector is said to be in sector {sector}, which is not reserved")));
        return Ok(());
    }
    let mut bytes = [0; BOOT_SECTOR_BYTES];
    disk.read_exact_at(offset, &mut bytes)?;
    // The byte that says whether the volume is mounted is not kept in the copy.
    bytes[65] = volume.sector[65];
    if let Some(at) = bytes.iter().zip(&volume.sector).position(|(a, b)| a != b) {
        findings.add(|| Error::corrupt("the copy of the boot sector differs from it").at_offset(offset + u64_of(at)));
    }
    Ok(())
}

/// Holds a copy of the FAT against the one that is read.
fn copies(disk: &dyn ReadAt, volume: &Volume, fat: u64, findings: &mut Log) -> Result<()> {
    let (first, second) = (volume.fat_offset(volume.active_fat), volume.fat_offset(fat));
    let total = volume.fat_bytes();
    let mut buffers = [vec![0; usize_of(COMPARED_BYTES.min(total))], vec![0; usize_of(COMPARED_BYTES.min(total))]];
    let mut offset = 0;
    while offset < total {
        // What neither has stored is zero in both.
        let stored = |start: u64| Ok::<_, Error>(disk.stored_after(start + offset)?.map_or(u64::MAX, |range| range.start.saturating_sub(start)));
        offset = offset.max(stored(first)?.min(stored(second)?));
        if offset >= total {
            break;
        }
        let len = usize_of(COMPARED_BYTES.min(total - offset));
        let [a, b] = &mut buffers;
        disk.read_exact_at(first + offset, &mut a[..len])?;
        disk.read_exact_at(second + offset, &mut b[..len])?;
        if a[..len] != b[..len] {
            let at = a.iter().zip(&*b).position(|(a, b)| a != b).unwrap_or(0);
            findings.add(|| Error::corrupt(format!("FAT {} differs from FAT {}", fat + 1, volume.active_fat + 1)).at_offset(second + offset + u64_of(at)));
            return Ok(());
        }
        offset += u64_of(len);
    }
    Ok(())
}

/// Runs of clusters that no entry leads to.
#[derive(Debug, Default)]
pub(super) struct Stray {
    /// (first cluster, how many, marked as bad), upwards.
    pub(super) runs: Vec<(u32, u32, bool)>,
    pub(super) lost: u64,
}

impl Stray {
    pub(super) fn add(&mut self, cluster: u32, link: Link) {
        let is_bad = link == Link::Bad;
        self.lost += u64::from(!is_bad);
        match self.runs.last_mut() {
            Some((first, count, bad)) if *first + *count == cluster && *bad == is_bad => *count += 1,
            _ => self.runs.push((cluster, 1, is_bad)),
        }
    }
}
