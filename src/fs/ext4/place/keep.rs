//! Staying where an earlier version was.
//!
//! A path that was there keeps its blocks as far as its length still needs them, whatever it holds now: contents are not looked at. What
//! a file gained lies behind it if that is free, else with what is new in few 512-KiB blocks ([`super::room`]). Files that so come to lie
//! in several pieces may be [`IN_PIECES_MAX`] of all; beyond that the cheapest are moved whole.
//!
//! Nothing of the earlier version is believed: what overlaps fixed metadata or something else, or lies outside, is not kept.

use super::items::{Context, Items};
use super::ledger::{Cursor, Holder, Ledger, complement, piece_of};
use super::matching::Matching;
use super::order::blocks_of;
use super::room::Room;
use super::{Run, RunKind};
use crate::error::Result;
use crate::fs::ext4::mapping::Piece;
use crate::fs::ext4::parent::{Parent, ParentRun, ParentRunKind};
use crate::units::u64_of;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Files in several pieces that could lie in one, in thousandths of all files. The promise is 20; what is below leaves room for the next version.
const IN_PIECES_MAX: usize = 15;
/// The 512-KiB blocks that contents may lie in, in hundredths of those of a fresh build. The promise is 105.
const SPREAD_MAX: u64 = 104;
/// Of the used blocks of a 512-KiB block so many hundredths are read first at boot: then it is one of those that an order has made.
const TOGETHER: u64 = 92;

/// A stretch that an item had and may keep.
#[derive(Debug, Clone, Copy)]
struct Stay {
    item: usize,
    start: u64,
    logical: u64,
    count: u64,
    kind: RunKind,
    /// Of what maps the item, not its data.
    is_map: bool,
}

/// Finds a place for pieces of what a holder lacks.
type Place<'a> = dyn FnMut(&[Piece], &mut Ledger, Holder) -> Result<()> + 'a;

/// What is kept, and what is to be placed anew.
struct Keeping<'a> {
    context: &'a Context<'a>,
    matching: &'a Matching,
    items: &'a Items,
    /// By item, then by logical block.
    stays: Vec<Stay>,
    /// By item: the range of its stays.
    of_item: Vec<Range<usize>>,
}

/// Places all items: `first` are those that an order names, `rest` the others. Says what a person should know.
pub(super) fn place(
    context: &Context<'_>,
    (first, rest): (&Items, &Items),
    ledger: &Ledger,
    occupied: &[Range<u64>],
    matching: &Matching,
    notes: &mut Vec<String>,
) -> Result<Ledger> {
    let mut ledger = Ledger { runs: ledger.runs.clone(), ..*ledger };
    let end = context.geometry.blocks;
    let unit = context.unit();
    // What is read first keeps its place only where an earlier order has put it.
    let mut blocked = occupied.to_vec();
    blocked.extend(ledger.runs.iter().map(|run| run.start..run.end()));
    let at_home = at_home(context, first, matching);
    let mut of_first = Keeping::new(context, matching, first, true);
    of_first.stays.retain(|stay| at_home[stay.item]);
    of_first.accept(&mut blocked, end);
    let mut of_rest = Keeping::new(context, matching, rest, false);
    of_rest.accept(&mut blocked, end);
    of_rest.grow(&mut blocked, end);
    of_rest.move_pieces(&mut blocked, notes);
    of_rest.thin_out(&mut blocked, notes);

    let free = complement(blocked, end);
    let mut dirty = Vec::new();
    mark_left(&matching.parent, &free, unit, &mut dirty);
    of_first.mark_changed(unit, &mut dirty);
    of_rest.mark_changed(unit, &mut dirty);
    let mut room = Room::new(&free, dirty, unit);
    // A new order's blocks lie in whole 512-KiB blocks.
    let anew = blocks_of(first) - of_first.stays.iter().map(|stay| stay.count).sum::<u64>().min(blocks_of(first));
    let apart = if anew > 0 { room.take_whole(anew) } else { Vec::new() };
    let mut cursor = Cursor::new(&apart, end);
    of_first.put(&mut ledger, &mut |pieces, ledger, holder| {
        let needed: u64 = pieces.iter().map(|piece| piece.blocks).sum();
        if cursor.left() >= needed {
            return ledger.put_pieces(holder, pieces.iter().copied(), &mut cursor);
        }
        put_in_room(&mut room, pieces, ledger, holder, end)
    })?;
    of_rest.put(&mut ledger, &mut |pieces, ledger, holder| put_in_room(&mut room, pieces, ledger, holder, end))?;
    ledger.in_parts = true;
    ledger.sort();
    let maps = of_first.maps().into_iter().chain(of_rest.maps()).collect();
    complete_maps(&mut ledger, &maps, &mut room, end)?;
    Ok(ledger)
}

/// Places pieces in one stretch if there is one, else in few.
fn put_in_room(room: &mut Room, pieces: &[Piece], ledger: &mut Ledger, holder: Holder, end: u64) -> Result<()> {
    let needed: u64 = pieces.iter().map(|piece| piece.blocks).sum();
    let places = match room.take(needed) {
        Some(place) => vec![place],
        None => room.take_pieces(needed),
    };
    ledger.put_pieces(holder, pieces.iter().copied(), &mut Cursor::new(&places, end))
}

/// Marks the 512-KiB blocks that something left: they differ from the earlier version whatever is placed in them.
fn mark_left(parent: &Parent, free: &[Range<u64>], unit: u64, dirty: &mut Vec<Range<u64>>) {
    for run in &parent.runs {
        let from = free.partition_point(|range| range.end <= run.start);
        for range in free[from..].iter().take_while(|range| range.start < run.end()) {
            let (start, end) = (range.start.max(run.start), range.end.min(run.end()));
            dirty.push(start / unit..end.div_ceil(unit));
        }
    }
}

/// Which items of an order lie together already: nearly all of what they had is in 512-KiB blocks that hold hardly anything else.
fn at_home(context: &Context<'_>, first: &Items, matching: &Matching) -> Vec<bool> {
    let unit = context.unit();
    let keeping = Keeping::new(context, matching, first, true);
    let mut pages: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for stay in &keeping.stays {
        for (page, blocks) in ends(stay, unit) {
            pages.entry(page).or_default().0 += blocks;
        }
    }
    let runs = if pages.is_empty() { &[][..] } else { &matching.parent.runs[..] };
    for run in runs {
        let (first, last) = (run.start / unit, run.end() / unit);
        for (page, (_, used)) in pages.range_mut(first..=last) {
            *used += run.end().min((page + 1) * unit).saturating_sub(run.start.max(page * unit));
        }
    }
    let together = |page: u64| pages.get(&page).is_some_and(|(named, used)| named * 100 >= used * TOGETHER);
    let mut blocks = vec![(0_u64, 0_u64); first.list.len()];
    for stay in &keeping.stays {
        let (there, all) = &mut blocks[stay.item];
        *all += stay.count;
        // What lies between its ends has its blocks for itself.
        let apart: u64 = ends(stay, unit).into_iter().filter(|(page, _)| !together(*page)).map(|(_, blocks)| blocks).sum();
        *there += stay.count - apart;
    }
    blocks.into_iter().map(|(there, all)| all > 0 && there * 10 >= all * 9).collect()
}

/// The 512-KiB blocks in which a stretch begins and ends, if it does not fill them, with how many of its blocks lie in each.
fn ends(stay: &Stay, unit: u64) -> Vec<(u64, u64)> {
    let end = stay.start + stay.count;
    let (first, last) = (stay.start / unit, (end - 1) / unit);
    if first == last {
        return vec![(first, stay.count)];
    }
    let ends = [(first, (first + 1) * unit - stay.start), (last, end - last * unit)];
    ends.into_iter().filter(|(_, blocks)| *blocks < unit).collect()
}

impl<'a> Keeping<'a> {
    /// All that items had, as far as they still need it.
    fn new(context: &'a Context<'a>, matching: &'a Matching, items: &'a Items, of_order: bool) -> Self {
        let mut stays = Vec::new();
        let inside = |run: &&ParentRun| {
            let ends = [run.start.checked_add(run.count), run.logical.checked_add(run.count)];
            run.count > 0 && run.start < context.geometry.blocks && ends.iter().all(Option::is_some)
        };
        for (at, item) in items.list.iter().enumerate() {
            let Some(node) = item.node else { continue };
            if matches!(item.holder, Holder::Xattrs(_)) {
                let had = matching.runs(context.tree, node, ParentRunKind::Xattrs).first().filter(inside);
                stays.extend(had.map(|run| Stay { item: at, start: run.start, logical: 0, count: 1, kind: RunKind::Xattr, is_map: false }));
                continue;
            }
            let had = matching.runs(context.tree, node, ParentRunKind::Data);
            for piece in items.pieces(context, item).iter().filter(|_| !had.is_empty()) {
                let end = piece.first + piece.blocks;
                let from = had.partition_point(|run| run.logical.saturating_add(run.count) <= piece.first);
                for run in had[from..].iter().take_while(|run| run.logical < end).filter(inside) {
                    let (first, stop) = (run.logical.max(piece.first), run.logical.saturating_add(run.count).min(end));
                    if first < stop {
                        stays.push(Stay {
                            item: at,
                            start: run.start + (first - run.logical),
                            logical: first,
                            count: stop - first,
                            kind: piece.kind,
                            is_map: false,
                        });
                    }
                }
            }
            // Of a file in parts, what maps it goes with the part that is read first.
            if !item.is_part || of_order {
                let maps = matching.runs(context.tree, node, ParentRunKind::Map).iter().filter(inside);
                stays.extend(maps.map(|run| {
                    let count = run.count.min(context.geometry.blocks - run.start);
                    Stay { item: at, start: run.start, logical: run.logical, count, kind: RunKind::Tree, is_map: true }
                }));
            }
        }
        stays.sort_by_key(|stay| (stay.item, stay.is_map, stay.logical));
        let stays = without_repeats(stays);
        Self { context, matching, items, stays, of_item: Vec::new() }
    }

    /// Keeps what is not blocked, and blocks it.
    fn accept(&mut self, blocked: &mut Vec<Range<u64>>, end: u64) {
        let free = complement(std::mem::take(blocked), end);
        self.stays.sort_unstable_by_key(|stay| (stay.start, stay.item, stay.logical));
        let mut accepted = Vec::with_capacity(self.stays.len());
        let mut at = 0;
        for stay in &self.stays {
            let from = free.partition_point(|range| range.end <= stay.start);
            let stop = stay.start.saturating_add(stay.count);
            for range in free[from..].iter().take_while(|range| range.start < stop) {
                let (start, end) = (stay.start.max(range.start).max(at), stop.min(range.end));
                if start < end {
                    accepted.push(Stay { start, logical: stay.logical + (start - stay.start), count: end - start, ..*stay });
                    at = end;
                }
            }
        }
        *blocked = complement(free, end);
        blocked.extend(accepted.iter().map(|stay| stay.start..stay.start + stay.count));
        self.stays = accepted;
        self.index();
    }

    /// Sorts by item and logical block.
    fn index(&mut self) {
        self.stays.sort_unstable_by_key(|stay| (stay.item, stay.is_map, stay.logical));
        self.of_item = Vec::with_capacity(self.items.list.len());
        let mut at = 0;
        for item in 0..self.items.list.len() {
            let count = self.stays[at..].partition_point(|stay| stay.item <= item);
            self.of_item.push(at..at + count);
            at += count;
        }
    }

    /// The data that an item keeps.
    fn data(&self, item: usize) -> &[Stay] {
        let all = &self.stays[self.of_item[item].clone()];
        &all[..all.partition_point(|stay| !stay.is_map)]
    }

    /// The pieces of an item that have no place.
    fn missing(&self, item: usize) -> Vec<Piece> {
        let mut missing = Vec::new();
        let kept = self.data(item);
        for piece in self.items.pieces(self.context, &self.items.list[item]) {
            let (mut at, end) = (piece.first, piece.first + piece.blocks);
            let from = kept.partition_point(|stay| stay.logical + stay.count <= at);
            for stay in kept[from..].iter().take_while(|stay| stay.logical < end) {
                if at < stay.logical {
                    missing.push(Piece { first: at, blocks: stay.logical - at, ..piece });
                }
                at = stay.logical + stay.count;
            }
            if at < end {
                missing.push(Piece { first: at, blocks: end - at, ..piece });
            }
        }
        missing
    }

    /// What items gained goes behind what they keep, where that is free.
    fn grow(&mut self, blocked: &mut Vec<Range<u64>>, end: u64) {
        let mut free = complement(std::mem::take(blocked), end);
        let mut grown = Vec::new();
        for item in 0..self.items.list.len() {
            let kept = self.data(item);
            if kept.is_empty() {
                continue;
            }
            for piece in self.missing(item) {
                let before = kept.partition_point(|stay| stay.logical < piece.first).checked_sub(1).map(|at| kept[at]);
                let Some(before) = before.filter(|stay| stay.logical + stay.count == piece.first && stay.kind == piece.kind) else { continue };
                let place = before.start + before.count;
                let range = free.partition_point(|range| range.start < place);
                if let Some(range) = free.get_mut(range).filter(|range| range.start == place && range.end > place) {
                    let count = piece.blocks.min(range.end - range.start);
                    range.start += count;
                    grown.push(Stay { item, start: place, logical: piece.first, count, kind: piece.kind, is_map: false });
                }
            }
        }
        *blocked = complement(free.into_iter().filter(|range| !range.is_empty()).collect(), end);
        self.stays.extend(grown);
        self.index();
    }

    /// Extents that an item has as it is kept, and those that it would have in one stretch.
    fn extents(&self, item: usize) -> (usize, usize) {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut last_end = 0;
        for stay in self.data(item) {
            match pieces.last_mut() {
                Some(last) if last_end == stay.start && last.first + last.blocks == stay.logical && last.kind == stay.kind => last.blocks += stay.count,
                _ => pieces.push(Piece { kind: stay.kind, first: stay.logical, blocks: stay.count }),
            }
            last_end = stay.start + stay.count;
        }
        pieces.extend(self.missing(item));
        let extents = |pieces: &[Piece]| pieces.iter().map(|piece| piece.blocks.div_ceil(Piece::run_max(piece.kind))).sum::<u64>();
        let whole = self.items.pieces(self.context, &self.items.list[item]);
        (crate::units::usize_of(extents(&pieces)), crate::units::usize_of(extents(&whole)))
    }

    /// Gives up the places of small items in the emptiest 512-KiB blocks, where so much has gone over many versions that the contents
    /// lie in over [`SPREAD_MAX`] of the blocks that a fresh build would take.
    fn thin_out(&mut self, blocked: &mut Vec<Range<u64>>, notes: &mut Vec<String>) {
        let unit = self.context.unit();
        let mut pages: BTreeMap<u64, (u64, Vec<usize>)> = BTreeMap::new();
        let mut filled = 0;
        for stay in &self.stays {
            let ends = ends(stay, unit);
            filled += (stay.count - ends.iter().map(|(_, blocks)| blocks).sum::<u64>()) / unit;
            for (page, blocks) in ends {
                let (used, items) = pages.entry(page).or_default();
                *used += blocks;
                if items.last() != Some(&stay.item) {
                    items.push(stay.item);
                }
            }
        }
        let missing: u64 = (0..self.items.list.len()).flat_map(|item| self.missing(item)).map(|piece| piece.blocks).sum();
        let taken = u64_of(pages.len()) + filled + missing / unit;
        let fresh = super::stable::pages_needed(self.context, self.items);
        let Some(excess) = taken.checked_sub(fresh * SPREAD_MAX / 100).filter(|excess| *excess > 0) else { return };
        let is_small = |item: &usize| self.items.list[*item].count < unit && !self.items.list[*item].is_part;
        let mut emptiest: Vec<(u64, &Vec<usize>)> = pages.values().map(|(used, items)| (*used, items)).collect();
        emptiest.retain(|(used, items)| used * 2 <= unit && items.iter().all(is_small));
        emptiest.sort_by_key(|(used, _)| *used);
        let moved: BTreeSet<usize> = emptiest.into_iter().take(crate::units::usize_of(excess)).flat_map(|(_, items)| items.iter().copied()).collect();
        if !moved.is_empty() {
            notes.push(format!("{} small files and directories were moved out of blocks that had become nearly empty after many versions", moved.len()));
            self.give_up(&moved, blocked);
        }
    }

    /// Gives up the places of the cheapest files in pieces, until few enough are.
    fn move_pieces(&mut self, blocked: &mut Vec<Range<u64>>, notes: &mut Vec<String>) {
        let files = self.items.list.iter().filter(|item| item.is_file && !item.is_part).count();
        let mut in_pieces = Vec::new();
        for (at, item) in self.items.list.iter().enumerate() {
            let kept = self.data(at);
            // One stretch that lacks nothing is in one piece.
            if !item.is_file || item.is_part || kept.is_empty() {
                continue;
            }
            let (extents, least) = self.extents(at);
            if extents > least {
                // A file that changed dirties its blocks anyway; another one those that it leaves too.
                let left = if self.missing(at).is_empty() { self.context.unit() * u64_of(kept.len()) } else { 0 };
                in_pieces.push((item.count + left, at));
            }
        }
        let most = files * IN_PIECES_MAX / 1000;
        let Some(moved) = in_pieces.len().checked_sub(most).filter(|moved| *moved > 0) else { return };
        in_pieces.sort_unstable();
        in_pieces.truncate(moved);
        let blocks: u64 = in_pieces.iter().map(|(_, at)| self.items.list[*at].count).sum();
        notes.push(format!(
            "{moved} files ({}) were moved whole, so that not over {}.{} % of the files lie in pieces after many versions",
            crate::units::Size::bytes(blocks * self.context.geometry.block_bytes),
            IN_PIECES_MAX / 10,
            IN_PIECES_MAX % 10
        ));
        let moved: BTreeSet<usize> = in_pieces.iter().map(|(_, at)| *at).collect();
        self.give_up(&moved, blocked);
    }

    /// Gives up the places of items.
    fn give_up(&mut self, moved: &BTreeSet<usize>, blocked: &mut Vec<Range<u64>>) {
        let given_up = self.stays.iter().filter(|stay| moved.contains(&stay.item)).map(|stay| stay.start..stay.start + stay.count);
        let end = self.context.geometry.blocks;
        let free: Vec<Range<u64>> = complement(std::mem::take(blocked), end).into_iter().chain(given_up).collect();
        *blocked = complement(free, end);
        self.stays.retain(|stay| !moved.contains(&stay.item));
        self.index();
    }

    /// Marks the 512-KiB blocks of what gained blocks, and of directories with other names.
    fn mark_changed(&self, unit: u64, dirty: &mut Vec<Range<u64>>) {
        let mut mark = |range: Range<u64>| dirty.push(range.start / unit..range.end.div_ceil(unit));
        for (at, item) in self.items.list.iter().enumerate() {
            let changed = item.node.is_some_and(|node| self.matching.changed.binary_search(&node).is_ok());
            if changed || (!self.data(at).is_empty() && !self.missing(at).is_empty()) {
                self.data(at).iter().for_each(|stay| mark(stay.start..stay.start + stay.count));
            }
        }
    }

    /// Enters what is kept, and has `place` place what is missing.
    fn put(&self, ledger: &mut Ledger, place: &mut Place<'_>) -> Result<()> {
        for (at, item) in self.items.list.iter().enumerate() {
            for stay in self.data(at) {
                let there = stay.start..stay.start + stay.count;
                let piece = Piece { kind: stay.kind, first: stay.logical, blocks: stay.count };
                ledger.put_pieces(item.holder, std::iter::once(piece), &mut Cursor::new(std::slice::from_ref(&there), 0))?;
            }
            let missing = self.missing(at);
            if self.data(at).is_empty() && !missing.is_empty() {
                // In one stretch with what will map it, so that both lie together.
                place(&missing, ledger, item.holder)?;
                continue;
            }
            for piece in missing {
                place(&[piece], ledger, item.holder)?;
            }
        }
        Ok(())
    }

    /// By inode: the blocks that its map may keep.
    fn maps(&self) -> BTreeMap<u32, Vec<Range<u64>>> {
        let mut maps: BTreeMap<u32, Vec<Range<u64>>> = BTreeMap::new();
        for stay in self.stays.iter().filter(|stay| stay.is_map) {
            if let Holder::Inode(ino) = self.items.list[stay.item].holder {
                maps.entry(ino).or_default().push(stay.start..stay.start + stay.count);
            }
        }
        maps
    }
}

/// Leaves out what says of a logical block of an item a second time where it is: only one can be true.
fn without_repeats(stays: Vec<Stay>) -> Vec<Stay> {
    let mut kept: Vec<Stay> = Vec::with_capacity(stays.len());
    for stay in stays {
        let before = kept.last().filter(|last| (last.item, last.is_map) == (stay.item, stay.is_map));
        let skip = before.map_or(0, |last| (last.logical + last.count).saturating_sub(stay.logical));
        if skip < stay.count {
            kept.push(Stay { start: stay.start + skip, logical: stay.logical + skip, count: stay.count - skip, ..stay });
        }
    }
    kept
}

/// Places what maps the inodes whose data has its place and that have no map: where it was, else where there is room.
pub(super) fn complete_maps(ledger: &mut Ledger, kept: &BTreeMap<u32, Vec<Range<u64>>>, room: &mut Room, end: u64) -> Result<()> {
    let mut at = 0;
    let mut missing = Vec::new();
    while at < ledger.runs.len() {
        let owner = ledger.runs[at].owner;
        let is_data = |run: &Run| matches!(run.kind, RunKind::Data | RunKind::Unwritten) && run.owner == owner;
        let is_map = |run: &Run| matches!(run.kind, RunKind::Tree | RunKind::Map(_)) && run.owner == owner;
        let data = ledger.runs[at..].iter().take_while(|run| is_data(run)).count();
        let maps = ledger.runs[at + data..].iter().take_while(|run| is_map(run)).count();
        if data > 0 && maps == 0 {
            let nodes = ledger.mapping.nodes(ledger.runs[at..at + data].iter().map(piece_of));
            missing.extend(nodes.into_iter().filter(|(_, _, count)| *count > 0).map(|node| (owner, node)));
        }
        at += (data + maps).max(1);
    }
    let mut kept: BTreeMap<u32, Vec<Range<u64>>> = kept.clone();
    for (owner, (kind, number, count)) in missing {
        let own = kept.entry(owner).or_default();
        let mut places: Vec<Range<u64>> = Vec::new();
        let mut left = count;
        while let Some(first) = own.first_mut().filter(|_| left > 0) {
            let taken = left.min(first.end - first.start);
            places.push(first.start..first.start + taken);
            first.start += taken;
            left -= taken;
            if first.is_empty() {
                own.remove(0);
            }
        }
        if left > 0 {
            places.extend(room.take_pieces(left));
        }
        ledger.put_run(kind, owner, number, count, &mut Cursor::new(&places, end))?;
        ledger.in_parts = true;
    }
    ledger.sort();
    Ok(())
}
