//! The order of placing: the first way that finds a place for everything.

use super::items::{Context, Item, Items};
use super::keep;
use super::ledger::{Cursor, Holder, Ledger};
use super::matching::Matching;
use super::order::{self, Order};
use super::room::Room;
use super::{Placement, RunKind, inodes, stable};
use crate::error::Result;
use crate::fs::ext4::directory::LOST_FOUND_BYTES;
use crate::fs::ext4::fixed::Fixed;
use crate::fs::ext4::format::{FIRST_INO, JOURNAL_INO, RESIZE_INO};
use crate::fs::ext4::geometry::Geometry;
use crate::fs::ext4::mapping::Piece;
use crate::fs::ext4::numbers::{Numbers, Owner};
use crate::fs::ext4::options::{Options, Packing};
use crate::fs::ext4::survey::Survey;
use crate::tree::Tree;
use std::iter::once;
use std::ops::Range;

/// Where everything lies, and under which number.
#[derive(Debug)]
pub(in crate::fs::ext4) struct Placed {
    pub(in crate::fs::ext4) placement: Placement,
    pub(in crate::fs::ext4) numbers: Numbers,
    /// What a person should know.
    pub(in crate::fs::ext4) notes: Vec<String>,
}

/// Places everything that is no fixed metadata.
pub(in crate::fs::ext4) fn place(
    tree: &Tree,
    survey: &Survey,
    geometry: &Geometry,
    fixed: &Fixed,
    options: &Options,
    matching: Option<&Matching>,
) -> Result<Placed> {
    let context = Context { tree, survey, geometry, options };
    let order = Order::of(&context);
    let numbers = inodes::assign(&context, &order, matching);
    let own = place_own(&context, &numbers, fixed)?;
    let (first, rest) = order.take(&context, &Items::of(&context, &numbers))?;
    let mut notes = Vec::new();
    let finish = |ledger: Ledger, notes: Vec<String>| Placed { placement: ledger.finish(numbers.last(), geometry.blocks), numbers: numbers.clone(), notes };
    let fits = |ledger: &Ledger| ledger.runs.iter().all(|run| run.start < geometry.blocks);
    if let Some(matching) = matching {
        let ledger = keep::place(&context, (&first, &rest), &own, &fixed.occupied, matching, &mut notes)?;
        if fits(&ledger) {
            return Ok(finish(ledger, notes));
        }
        notes = vec!["the filesystem is too full to keep the places of the earlier version".to_owned()];
    }
    for packing in [options.packing, Packing::Dense] {
        if let Some(ledger) = anew(&context, (&first, &rest), &own, &fixed.occupied, packing)?.filter(fits) {
            return Ok(finish(ledger, notes));
        }
    }
    // The fullest filesystem is one without gaps, whose files are in as few pieces as can be: the sizes are counted for it.
    if !order.is_empty() {
        notes.push("the filesystem is too full for the boot order".to_owned());
    }
    let all = Items::of(&context, &numbers);
    let ledger = anew(&context, (&Items::default(), &all), &own, &fixed.occupied, Packing::Dense)?;
    Ok(finish(ledger.unwrap_or(own), notes))
}

/// Places items without regard to an earlier version: what is read first in blocks of its own, then the rest. `None` if the filesystem
/// is too full for that.
fn anew(context: &Context<'_>, (first, rest): (&Items, &Items), own: &Ledger, occupied: &[Range<u64>], packing: Packing) -> Result<Option<Ledger>> {
    let end = context.geometry.blocks;
    let mut ledger = Ledger { runs: own.runs.clone(), ..*own };
    let beside = order::place(context, first, &mut ledger, &own.free(occupied, end))?;
    let mut occupied = occupied.to_vec();
    occupied.extend(beside.maps.values().flatten().cloned().chain(Some(beside.empty).filter(|empty| !empty.is_empty())));
    let free = ledger.free(&occupied, end);
    let mut ledger = match packing {
        Packing::Stable => match stable::place(context, rest, &ledger, &free)? {
            Some(ledger) => ledger,
            None => return Ok(None),
        },
        Packing::Dense => {
            let mut cursor = Cursor::new(&free, end);
            for item in &rest.list {
                put_item(context, rest, item, &mut ledger, &mut cursor)?;
            }
            ledger
        }
    };
    if ledger.in_parts {
        ledger.sort();
        let free = ledger.free(&occupied, end);
        keep::complete_maps(&mut ledger, &beside.maps, &mut Room::new(&free, Vec::new(), context.unit()), end)?;
    }
    Ok(Some(ledger))
}

/// Places an item: with what maps it, if it is all of its inode.
pub(super) fn put_item(context: &Context<'_>, items: &Items, item: &Item, ledger: &mut Ledger, cursor: &mut Cursor<'_>) -> Result<()> {
    let pieces = items.pieces(context, item).into_iter();
    if item.is_part {
        ledger.in_parts = true;
        return ledger.put_pieces(item.holder, pieces, cursor);
    }
    ledger.put(item.holder, pieces, cursor)
}

/// Places the filesystem's own inodes.
fn place_own(context: &Context<'_>, numbers: &Numbers, fixed: &Fixed) -> Result<Ledger> {
    let Context { geometry, survey, .. } = *context;
    let mut ledger = Ledger::new(survey.mapping);
    let free = ledger.free(&fixed.occupied, geometry.blocks);
    let mut cursor = Cursor::new(&free, geometry.blocks);
    if geometry.resize_inode() {
        ledger.put_run(RunKind::ResizeIndex, RESIZE_INO, 0, 1, &mut cursor)?;
    }
    let mut put = |ino: u32, blocks: u64| {
        if blocks > 0 { ledger.put(Holder::Inode(ino), once(Piece::data(0, blocks)), &mut cursor) } else { Ok(()) }
    };
    put(JOURNAL_INO, geometry.journal_blocks)?;
    put(numbers.of_own(Owner::Orphans), geometry.orphan_blocks)?;
    for file in survey.quotas.iter() {
        put(numbers.of_own(Owner::Quota(file.kind)), file.blocks(geometry.block_bytes))?;
    }
    if numbers.adds_lost_found() {
        put(FIRST_INO, LOST_FOUND_BYTES / geometry.block_bytes)?;
    }
    Ok(ledger)
}
