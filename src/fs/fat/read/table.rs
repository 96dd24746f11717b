//! The file allocation table: single entries through a small cache, so that it is never in memory as a whole; and a scan of what of
//! it is stored.

use super::super::FatKind;
use super::volume::{ReadBytes, Volume};
use crate::content::ReadAt;
use crate::error::Result;
use crate::units::{index_of, u64_of, usize_of};
use byteorder::{ByteOrder as _, LittleEndian};

/// Bytes of the FAT that a scan reads at once: a multiple of 3, so that FAT12's pairs stay together.
const CHUNK_BYTES: u64 = 3 << 16;
/// Bytes that are cached together.
const PAGE_BYTES: u64 = 4096;
/// How many pages are cached: 4 MiB, the chains of a million clusters. FAT12 and FAT16 fit as a whole.
const PAGES: u64 = 1024;

/// What the FAT has for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The cluster is free.
    Free,
    /// Another follows.
    Next(u32),
    /// It is the last.
    End,
    /// It cannot be used.
    Bad,
    /// No cluster has this number.
    Outside(u32),
}

impl Link {
    fn of(value: u32, volume: &Volume) -> Self {
        let marks: u32 = match volume.kind {
            FatKind::Fat12 => 0xff0,
            FatKind::Fat16 => 0xfff0,
            FatKind::Fat32 => 0x0fff_fff0,
        };
        match value {
            0 => Self::Free,
            next if volume.is_cluster(next) => Self::Next(next),
            bad if bad == marks | 7 => Self::Bad,
            end if end >= marks | 8 => Self::End,
            other => Self::Outside(other),
        }
    }
}

/// The FAT that is read, entry by entry.
pub(super) struct Table<'a> {
    disk: &'a dyn ReadAt,
    volume: &'a Volume,
    /// Which page each place of the cache holds.
    pages: Vec<Option<u64>>,
    bytes: Vec<u8>,
}

impl<'a> Table<'a> {
    pub(super) fn new(disk: &'a dyn ReadAt, volume: &'a Volume) -> Self {
        let pages = volume.fat_bytes().div_ceil(PAGE_BYTES).min(PAGES);
        Self { disk, volume, pages: vec![None; usize_of(pages)], bytes: vec![0; usize_of(pages * PAGE_BYTES)] }
    }

    /// What follows a cluster that is there.
    pub(super) fn link(&mut self, cluster: u32) -> Result<Link> {
        let at = u64::from(cluster);
        let value = match self.volume.kind {
            FatKind::Fat12 => {
                // Two entries share three bytes, so an entry can lie in two pages.
                let offset = at + at / 2;
                let pair = u32::from(self.byte(offset)?) | u32::from(self.byte(offset + 1)?) << 8;
                if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
            }
            FatKind::Fat16 => u32::from(LittleEndian::read_u16(self.at(at * 2)?)),
            FatKind::Fat32 => LittleEndian::read_u32(self.at(at * 4)?) & 0x0fff_ffff,
        };
        Ok(Link::of(value, self.volume))
    }

    fn byte(&mut self, offset: u64) -> Result<u8> {
        Ok(self.at(offset)?[0])
    }

    /// The bytes from `offset` of the FAT to the end of their page.
    fn at(&mut self, offset: u64) -> Result<&[u8]> {
        let page = offset / PAGE_BYTES;
        let place = usize_of(page % u64_of(self.pages.len()));
        let page_len = usize_of(PAGE_BYTES);
        let bytes = &mut self.bytes[place * page_len..][..page_len];
        if self.pages[place] != Some(page) {
            self.pages[place] = None;
            let start = page * PAGE_BYTES;
            let len = usize_of((self.volume.fat_bytes() - start).min(PAGE_BYTES));
            self.disk.read_exact_at(self.volume.fat_offset(self.volume.active_fat) + start, &mut bytes[..len])?;
            self.pages[place] = Some(page);
        }
        Ok(&bytes[usize_of(offset % PAGE_BYTES)..])
    }
}

/// Gives the entries of all clusters that are not 0, upwards, as `(cluster, entry)`; what is not stored is skipped.
pub(super) fn scan(disk: &dyn ReadAt, volume: &Volume, mut each: impl FnMut(u32, Link)) -> Result<()> {
    let read_at = |offset: u64, out: &mut [u8]| disk.read_exact_at(offset, out);
    let stored_after = |offset: u64| Ok(disk.stored_after(offset)?.map(|range| range.start));
    scan_pieces(&read_at, &stored_after, volume, &mut |cluster, value| each(cluster, Link::of(value, volume)))
}

/// How many clusters are free, whatever FSInfo says.
pub(super) fn count_free(read_at: &ReadBytes<'_>, volume: &Volume) -> Result<u32> {
    let mut taken = 0;
    scan_pieces(read_at, &|offset| Ok(Some(offset)), volume, &mut |_, _| taken += 1)?;
    Ok(volume.clusters - taken)
}

fn scan_pieces(read_at: &ReadBytes<'_>, stored_after: &dyn Fn(u64) -> Result<Option<u64>>, volume: &Volume, each: &mut dyn FnMut(u32, u32)) -> Result<()> {
    let (start, total) = (volume.fat_offset(volume.active_fat), volume.fat_bytes());
    let mut chunk = vec![0; usize_of(CHUNK_BYTES.min(total))];
    let mut offset = 0;
    while offset < total {
        let Some(stored) = stored_after(start + offset)? else { break };
        offset = offset.max(stored.saturating_sub(start) / CHUNK_BYTES * CHUNK_BYTES);
        if offset >= total {
            break;
        }
        let bytes = &mut chunk[..usize_of(CHUNK_BYTES.min(total - offset))];
        read_at(start + offset, bytes)?;
        let mut cluster = u32::try_from(offset * 8 / volume.kind.bits()).expect("a FAT has fewer than 2^28 entries");
        let mut next = |value: u32| {
            if value != 0 && volume.is_cluster(cluster) {
                each(cluster, value);
            }
            cluster += 1;
        };
        match volume.kind {
            FatKind::Fat12 => bytes.chunks(3).for_each(|pair| {
                let byte = |index: usize| u32::from(pair.get(index).copied().unwrap_or(0));
                next(byte(0) | (byte(1) & 0x0f) << 8);
                next(byte(1) >> 4 | byte(2) << 4);
            }),
            FatKind::Fat16 => bytes.as_chunks::<2>().0.iter().for_each(|entry| next(u32::from(u16::from_le_bytes(*entry)))),
            FatKind::Fat32 => bytes.as_chunks::<4>().0.iter().for_each(|entry| next(u32::from_le_bytes(*entry) & 0x0fff_ffff)),
        }
        offset += u64_of(bytes.len());
    }
    Ok(())
}

/// Which clusters have an owner: bits in pieces that are made when they are first needed.
pub(super) struct Claims {
    pieces: Vec<Option<Box<[u64; Claims::PIECE_WORDS]>>>,
}

impl Claims {
    const PIECE_WORDS: usize = 4096;
    const PIECE_CLUSTERS: u32 = 4096 * 64;

    pub(super) fn new(volume: &Volume) -> Self {
        let pieces = (volume.clusters + 2).div_ceil(Self::PIECE_CLUSTERS);
        Self { pieces: (0..pieces).map(|_| None).collect() }
    }

    /// Takes a cluster; false if it is taken.
    pub(super) fn take(&mut self, cluster: u32) -> bool {
        let piece = self.pieces[index_of(cluster / Self::PIECE_CLUSTERS)].get_or_insert_with(|| Box::new([0; Self::PIECE_WORDS]));
        let word = &mut piece[index_of(cluster % Self::PIECE_CLUSTERS / 64)];
        let bit = 1 << (cluster % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn has(&self, cluster: u32) -> bool {
        let piece = self.pieces[index_of(cluster / Self::PIECE_CLUSTERS)].as_ref();
        piece.is_some_and(|piece| piece[index_of(cluster % Self::PIECE_CLUSTERS / 64)] & 1 << (cluster % 64) != 0)
    }
}
