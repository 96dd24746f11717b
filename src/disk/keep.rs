//! Staying close to an earlier version of the disk: its identifiers, its times, its sizes and places.
//!
//! A partition is the one of the parent that has its number and its type, else the only one of its type. It keeps identifiers and label
//! unless others are given, its size and place where nobody asks for another and everything fits; where one cannot stay, all are placed
//! anew, on a disk of the parent's size if that does. The reason stands in the notes. The disk is never smaller than the parent: what that
//! one held behind the end could not be cleared.

use super::parent::{Parent, ParentPartition};
use super::place::{Asked, Placed, filler, free_asked_of, places, plan_filesystem, shortage, tail_bytes};
use super::plan::{Draft, Drafted, keep_partition};
use super::spec::{DEFAULT_EPOCH, DEFAULT_FREE, DiskSize, DiskSpec, PARTITION_ALIGN_BYTES, PartitionSize, PartitionSpec};
use crate::boot::Architecture;
use crate::error::{Error, ErrorKind, Result, escape};
use crate::guid::Guid;
use crate::partition::{self, PartitionType, TableKind};
use crate::report::{FilesystemSummary, PartitionSummary};
use crate::tree::Tree;
use crate::units::{BLOCK_BYTES, Size, align_down};
use std::ops::Range;
use std::sync::Arc;

/// No seed: the kernel takes one of its own then.
const NO_SEED: Guid = Guid::from_bytes([0; 16]);

/// Takes over what the parent decides before anything else: the build's own time, and that the disk is at least as large.
pub(super) fn inherit(spec: &mut DiskSpec, notes: &mut Vec<String>) -> Result<()> {
    let Some(parent) = spec.parent.clone() else {
        return if spec.repack { Err(Error::invalid("the placement is to be started afresh (repack), and there is no parent")) } else { Ok(()) };
    };
    spec.inputs.extend(parent.paths.iter().cloned());
    notes.extend(parent.notes.iter().map(|note| format!("parent {}: {note}", parent.name)));
    if let DiskSize::Exact(size) = spec.size
        && size.as_bytes() < parent.size_bytes()
    {
        let (needed, available) = (parent.size_bytes(), size.as_bytes());
        let message = format!(
            "the parent {} is a disk of {} ({needed} bytes), and one of {size} ({available} bytes) was asked for: a new version cannot be smaller; leave out the size, or the parent",
            parent.name,
            Size::bytes(needed)
        );
        return Err(Error::new(ErrorKind::TooSmall { needed, available }, message));
    }
    let own = spec.own_time();
    if own != spec.epoch && spec.epoch != DEFAULT_EPOCH {
        notes.push(format!("the build's own time is the parent's, {} seconds since 1970, and not {}", own.seconds, spec.epoch.seconds));
    }
    spec.epoch = own;
    Ok(())
}

/// The partition of the parent that each of `partitions` is; those without a number get the parent's.
pub(super) fn matched(spec: &DiskSpec, partitions: &mut [PartitionSpec], architecture: Option<Architecture>) -> Vec<Option<ParentPartition>> {
    let Some(parent) = &spec.parent else { return partitions.iter().map(|_| None).collect() };
    if let ([_], [only]) = (&partitions, &parent.partitions[..])
        && spec.table == TableKind::None
    {
        return vec![Some(only.clone())];
    }
    let numbers = numbers(partitions, spec.table);
    let is_one = |partition: &PartitionSpec, of: &ParentPartition| {
        let parsed = PartitionType::parse(&partition.partition_type, spec.table, architecture.map(Architecture::name));
        let name = parsed.map_or_else(|_| partition.partition_type.clone(), |parsed| parsed.to_string());
        name == of.summary.partition_type || (partition.is_root() && of.is_root())
    };
    // Each is taken once: first those of the same number, then those that are the only ones of their type.
    let mut taken = vec![false; parent.partitions.len()];
    let mut found: Vec<Option<usize>> = vec![None; partitions.len()];
    for ((at, partition), number) in partitions.iter().enumerate().zip(&numbers) {
        let same = parent.partitions.iter().position(|of| of.summary.number == *number && is_one(partition, of));
        if let Some(of) = same.filter(|of| !std::mem::replace(&mut taken[*of], true)) {
            found[at] = Some(of);
        }
    }
    for at in 0..partitions.len() {
        let alike = || (0..parent.partitions.len()).filter(|of| !taken[*of] && is_one(&partitions[at], &parent.partitions[*of]));
        let others = (0..partitions.len()).filter(|other| found[*other].is_none() && *other != at);
        if found[at].is_none()
            && let Some(of) = alike().next().filter(|_| alike().nth(1).is_none())
            && !others.into_iter().any(|other| is_one(&partitions[other], &parent.partitions[of]))
        {
            taken[of] = true;
            found[at] = Some(of);
        }
    }
    keep_numbers(spec, partitions, &found, parent);
    found.into_iter().map(|of| of.map(|of| parent.partitions[of].clone())).collect()
}

/// The numbers that partitions get as they stand.
fn numbers(partitions: &[PartitionSpec], table: TableKind) -> Vec<u32> {
    let mut taken: Vec<u32> = partitions.iter().filter_map(|partition| partition.number).collect();
    let mut next = || {
        let free = (1..).find(|number| !taken.contains(number)).unwrap_or(1);
        taken.push(free);
        free
    };
    partitions.iter().map(|partition| partition.number.unwrap_or_else(|| if table == TableKind::None { 0 } else { next() })).collect()
}

/// Who has no number keeps the parent's, if nobody else has it.
fn keep_numbers(spec: &DiskSpec, partitions: &mut [PartitionSpec], found: &[Option<usize>], parent: &Parent) {
    if spec.table == TableKind::None {
        return;
    }
    for at in 0..partitions.len() {
        let Some(number) = found[at].map(|of| parent.partitions[of].summary.number).filter(|number| *number > 0) else { continue };
        if partitions[at].number.is_none() && !partitions.iter().any(|other| other.number == Some(number)) {
            partitions[at].number = Some(number);
        }
    }
}

/// Gives the disk and its partitions the parent's identifiers, where they are not given others and no seed is given.
pub(super) fn keep_identifiers(spec: &mut DiskSpec, partitions: &mut [PartitionSpec], of: &[Option<ParentPartition>]) {
    let Some(parent) = spec.parent.clone().filter(|_| spec.seed.is_none()) else { return };
    if spec.table == TableKind::Gpt {
        spec.disk_guid = spec.disk_guid.or(parent.disk.guid);
    }
    if spec.table == TableKind::Mbr {
        spec.signature = spec.signature.or(parent.disk.signature);
    }
    for (partition, of) in partitions.iter_mut().zip(of) {
        if let Some(of) = of {
            keep_partition(partition, &of.summary, of.ext4.as_ref().map(|ext4| ext4.hash_seed).filter(|seed| *seed != NO_SEED));
        }
    }
}

/// The places of all partitions and the size of the disk: the parent's where there is one and all fits.
pub(super) fn chosen_places(drafted: &Drafted, trees: &[Arc<Tree>], notes: &mut Vec<String>) -> Result<(Vec<Placed>, u64)> {
    let spec = &drafted.spec;
    let Some(parent) = &spec.parent else { return places(drafted, trees, spec.size) };
    let reason = match kept_places(drafted, trees, parent)? {
        Ok(kept) => {
            notes.extend(kept.0.iter().filter_map(|placed| little_free(drafted, placed)));
            return Ok(kept);
        }
        Err(reason) => reason,
    };
    notes.push(format!("the partitions are not where the parent {} has them: {reason}", parent.name));
    if spec.size != DiskSize::Auto || !parent.size_bytes().is_multiple_of(u64::from(spec.sector_bytes)) {
        return places(drafted, trees, spec.size);
    }
    match places(drafted, trees, DiskSize::Exact(Size::bytes(parent.size_bytes()))) {
        Err(error) if matches!(error.kind(), ErrorKind::TooSmall { .. }) => {
            let placed = places(drafted, trees, DiskSize::Auto)?;
            notes.push(format!("the disk is larger than the parent: {} and {}", Size::bytes(placed.1), Size::bytes(parent.size_bytes())));
            Ok(placed)
        }
        placed => placed,
    }
}

/// The parent's places, or why they do not do.
fn kept_places(drafted: &Drafted, trees: &[Arc<Tree>], parent: &Parent) -> Result<Result<(Vec<Placed>, u64), String>> {
    let spec = &drafted.spec;
    let old = &parent.disk;
    if old.table != spec.table.to_string() {
        return Ok(Err(format!("its table is {} and this one {}", escape(old.table.as_bytes()), spec.table)));
    }
    if old.sector_bytes != spec.sector_bytes {
        return Ok(Err(format!("its sectors have {} bytes and these {}", old.sector_bytes, spec.sector_bytes)));
    }
    let disk_bytes = match spec.size {
        DiskSize::Auto => old.size_bytes,
        DiskSize::Exact(size) => size.as_bytes(),
    };
    let usable = match partition::usable_bytes(spec.table, spec.sector_bytes, disk_bytes) {
        Ok(usable) => usable,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let filler = filler(drafted);
    let last_bytes = parent.partitions.iter().map(ParentPartition::end_bytes).max().unwrap_or(0);
    let mut ranges = Vec::with_capacity(drafted.drafts.len());
    for (at, draft) in drafted.drafts.iter().enumerate() {
        let grows = Some(at) == filler && disk_bytes > old.size_bytes && draft.parent.as_ref().is_some_and(|of| of.end_bytes() == last_bytes);
        let end = if spec.table == TableKind::None { disk_bytes } else { align_down(disk_bytes.saturating_sub(tail_bytes(drafted)?), PARTITION_ALIGN_BYTES) };
        match place_of(draft, grows.then_some(end)) {
            Ok(range) => ranges.push(range),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    if let Some(reason) = impossible(&ranges, &usable, u64::from(spec.sector_bytes)) {
        return Ok(Err(reason));
    }
    let mut placed = Vec::with_capacity(ranges.len());
    for (at, range) in ranges.into_iter().enumerate() {
        match planned(drafted, at, &trees[at], &range)? {
            Ok(one) => placed.push(one),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    placed.sort_by_key(|placed| placed.offset_bytes);
    Ok(Ok((placed, disk_bytes)))
}

/// Where the parent has a partition; to `end` where it is to grow to there.
fn place_of(draft: &Draft, end: Option<u64>) -> Result<Range<u64>, String> {
    let name = || format!("partition {} ({})", draft.number, draft.spec.partition_type);
    let Some(of) = &draft.parent else { return Err(format!("it has no {}", name())) };
    let PartitionSummary { offset_bytes, size_bytes, .. } = of.summary;
    match draft.spec.size {
        PartitionSize::Exact(size) if size.as_bytes() != size_bytes => Err(format!("{} is to have {size}, and has {} there", name(), Size::bytes(size_bytes))),
        PartitionSize::Exact(_) => Ok(offset_bytes..of.end_bytes()),
        PartitionSize::Auto | PartitionSize::Fill => Ok(offset_bytes..end.unwrap_or(0).max(of.end_bytes())),
    }
}

/// Why partitions cannot lie at these places, if so.
fn impossible(ranges: &[Range<u64>], usable: &Range<u64>, sector_bytes: u64) -> Option<String> {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    let wrong = |range: &&&Range<u64>| {
        range.is_empty() || range.start < usable.start || range.end > usable.end || ![range.start, range.end].iter().all(|at| at.is_multiple_of(sector_bytes))
    };
    if let Some(range) = sorted.iter().find(wrong) {
        return Some(format!("the bytes {} to {} of it cannot be a partition of this disk", range.start, range.end));
    }
    let overlap = sorted.windows(2).find(|pair| pair[0].end > pair[1].start)?;
    Some(format!("two of its partitions have the byte {}", overlap[1].start))
}

/// A partition with its filesystem at a place, or why it does not fit.
fn planned(drafted: &Drafted, at: usize, tree: &Arc<Tree>, range: &Range<u64>) -> Result<Result<Placed, String>> {
    let draft = &drafted.drafts[at];
    let size_bytes = range.end - range.start;
    let name = || format!("partition {} ({})", draft.number, draft.spec.partition_type);
    let free_bytes = free_asked_of(drafted, at).unwrap_or(0);
    let asked = Asked::Exact { size_bytes, free_bytes };
    match plan_filesystem(drafted, draft, tree, asked, range.start) {
        Ok(planned) => Ok(match shortage(planned.as_ref(), free_bytes) {
            None => Ok(Placed { draft: at, offset_bytes: range.start, size_bytes, planned }),
            Some(short) => Err(format!("{} has {} less free there than was asked for", name(), Size::bytes(short))),
        }),
        Err(error) if matches!(error.kind(), ErrorKind::TooSmall { .. }) => Ok(Err(format!("{} does not fit there any more: {error}", name()))),
        Err(error) => Err(error),
    }
}

/// Says where a root has come to have less free space than a new disk would give it.
fn little_free(drafted: &Drafted, placed: &Placed) -> Option<String> {
    let draft = &drafted.drafts[placed.draft];
    let free = placed.planned.as_ref()?.summary.free_bytes;
    let asked = free_asked_of(drafted, placed.draft).is_some() || drafted.spec.size != DiskSize::Auto || matches!(draft.spec.size, PartitionSize::Exact(_));
    let told = filler(drafted) == Some(placed.draft) && !asked && free < DEFAULT_FREE.as_bytes();
    told.then(|| format!("partition {} has {} free in the parent's size; --free or --size asks for more", draft.number, Size::bytes(free)))
}

/// In what the parent's filesystem is of another geometry than the new one, if it is.
pub(super) fn other_geometry(draft: &Draft, new: Option<&FilesystemSummary>) -> Option<String> {
    let (old, new) = (draft.parent.as_ref()?.summary.filesystem.as_ref()?, new?);
    let mut differs = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            differs.push(format!("{what} {} there, {new} here", escape(old.as_bytes())));
        }
    };
    if !(old.kind.starts_with("ext") && new.kind.starts_with("ext")) {
        compare("the filesystem is", old.kind.clone(), new.kind.clone());
    } else {
        compare("blocks have bytes:", old.block_bytes.to_string(), new.block_bytes.to_string());
        compare("the size in bytes is", old.size_bytes.to_string(), new.size_bytes.to_string());
        compare("inodes:", old.inodes.unwrap_or(0).to_string(), new.inodes.unwrap_or(0).to_string());
        if let (Some(old), Some(new)) = (&old.features, &new.features) {
            compare("features:", old.clone(), new.clone());
        }
    }
    (!differs.is_empty()).then(|| {
        let list = differs.join("; ");
        format!("partition {}: the parent's filesystem is made differently, so that less of it can stay where it is: {list}", draft.number)
    })
}

/// How many blocks of the parent are sent as zeros, in words.
pub(super) fn vacated_note(vacated: &[Range<u64>]) -> Option<String> {
    let blocks: u64 = vacated.iter().map(|range| (range.end - range.start).div_ceil(BLOCK_BYTES)).sum();
    match blocks {
        0 => None,
        1 => Some("a block of 512 KiB that the parent held is not in use any more, and is sent as zeros".to_owned()),
        _ => Some(format!("{blocks} blocks of 512 KiB that the parent held are not in use any more, and are sent as zeros")),
    }
}
