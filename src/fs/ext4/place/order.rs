//! What is read first at boot: together, in the order of reading, in 512-KiB blocks that hold nothing else.
//!
//! Of a file of which parts are read, these parts lie there and the rest elsewhere. Neighbouring parts are taken together until the
//! file's extents fit into its inode, unless that would take much more along: then the block that maps the file lies there too.

use super::items::{Context, Item, Items};
use super::ledger::{Cursor, Holder, Ledger};
use crate::error::Result;
use crate::fs::ext4::mapping::Piece;
use crate::tree::{NodeId, NodeKind};
use crate::units::{index_of, u64_of};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes between two parts of a file that are not worth an extent.
const GAP_BYTES: u64 = 64 << 10;
/// A rest of a file of fewer bytes stays with what is read.
const REST_MIN_BYTES: u64 = 128 << 10;
/// Extents that fit into an inode.
const EXTENTS_MAX: usize = 4;
/// Extents that a file may come to have, all of which one block maps.
const EXTENTS_MAPPED_MAX: usize = 64;
/// Bytes that more extents than an inode holds have to save.
const SAVING_MIN_BYTES: u64 = 256 << 10;
/// Not named.
const UNNAMED: u32 = u32::MAX;

/// What of one node is read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    node: NodeId,
    /// Bytes; empty for all of it.
    ranges: Vec<Range<u64>>,
}

/// The nodes that are named, in the order of their first naming.
#[derive(Debug, Default)]
pub(super) struct Order {
    named: Vec<Named>,
    /// By node: its place in `named`, or [`UNNAMED`]; empty if there is no order.
    rank: Vec<u32>,
}

impl Order {
    /// Looks up what the options name; what is not there is left out (whoever reads the order has said so).
    pub(super) fn of(context: &Context<'_>) -> Self {
        let Context { tree, options, .. } = *context;
        let mut order = Self::default();
        if options.order.is_empty() {
            return order;
        }
        order.rank = vec![UNNAMED; tree.node_count()];
        for entry in &options.order {
            let Some(node) = tree.lookup(&entry.path).or_else(|| tree.resolve(&entry.path)) else { continue };
            let rank = order.rank[node.index()];
            match order.named.get_mut(index_of(rank)) {
                None => {
                    order.rank[node.index()] = u32::try_from(order.named.len()).expect("a tree has under 2^32 nodes");
                    order.named.push(Named { node, ranges: entry.ranges.clone() });
                }
                Some(named) if entry.ranges.is_empty() => named.ranges.clear(),
                Some(named) if named.ranges.is_empty() => {}
                Some(named) => named.ranges.extend_from_slice(&entry.ranges),
            }
        }
        order
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The nodes, in their order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.named.iter().map(|named| named.node)
    }

    /// Takes what is named out of `items`, and of files of which parts are named these parts: in the order of reading.
    pub(super) fn take(&self, context: &Context<'_>, items: &Items) -> Result<(Items, Items)> {
        let (mut first, mut rest) = (Items::default(), items.clone());
        if self.is_empty() {
            return Ok((first, rest));
        }
        let rank = |item: &Item| item.node.map_or(UNNAMED, |node| self.rank[node.index()]);
        let mut named: Vec<Item> = items.list.iter().filter(|item| rank(item) != UNNAMED).copied().collect();
        named.sort_by_key(rank);
        rest.list.retain(|item| rank(item) == UNNAMED);
        for item in named {
            let pieces = items.pieces(context, &item);
            match self.named[index_of(rank(&item))].parts(context, &item, &pieces) {
                Parts::All => first.list.push(item),
                Parts::None => rest.list.push(item),
                Parts::Some { read, left } => {
                    first.push_part(&item, read)?;
                    rest.push_part(&item, left)?;
                }
            }
        }
        Ok((first, rest))
    }
}

/// What of an item is read.
enum Parts {
    All,
    None,
    Some { read: Vec<Piece>, left: Vec<Piece> },
}

impl Named {
    fn parts(&self, context: &Context<'_>, item: &Item, pieces: &[Piece]) -> Parts {
        let is_file = matches!(context.tree.node(self.node).kind, NodeKind::File(_));
        if self.ranges.is_empty() || !is_file || !item.is_file {
            let inode_alone = !self.ranges.is_empty() && self.ranges.iter().all(Range::is_empty);
            return if inode_alone { Parts::None } else { Parts::All };
        }
        let block_bytes = context.geometry.block_bytes;
        let ranges = self.ranges.iter().filter(|range| !range.is_empty()).map(|range| range.start / block_bytes..range.end.div_ceil(block_bytes));
        let ranges = joined(ranges.collect(), GAP_BYTES / block_bytes);
        let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.blocks).sum::<u64>() * block_bytes;
        let (many, few) = (apart(pieces, ranges.clone(), EXTENTS_MAPPED_MAX), apart(pieces, ranges, EXTENTS_MAX.max(pieces.len() + 1)));
        let (read, left) = if bytes(&many.0) + SAVING_MIN_BYTES <= bytes(&few.0) { many } else { few };
        if read.is_empty() {
            Parts::None
        } else if bytes(&left) < REST_MIN_BYTES {
            Parts::All
        } else {
            Parts::Some { read, left }
        }
    }
}

/// The pieces of a file in `ranges` and those outside of them, ranges joined over the smallest gaps until there are at most `extents`.
fn apart(pieces: &[Piece], mut ranges: Vec<Range<u64>>, extents: usize) -> (Vec<Piece>, Vec<Piece>) {
    loop {
        let (read, left) = split(pieces, &ranges);
        if read.len() + left.len() <= extents {
            return (read, left);
        }
        // How many joins it takes at least; each leaves out two ends.
        let joins = (read.len() + left.len() - extents).div_ceil(2);
        let mut gaps: Vec<(u64, usize)> = (1..ranges.len()).map(|at| (ranges[at].start - ranges[at - 1].end, at)).collect();
        if gaps.is_empty() {
            return (pieces.to_vec(), Vec::new());
        }
        gaps.sort_unstable();
        let mut closed: Vec<usize> = gaps.into_iter().take(joins).map(|(_, at)| at).collect();
        closed.sort_unstable();
        for at in closed.into_iter().rev() {
            let end = ranges.remove(at).end;
            ranges[at - 1].end = end;
        }
    }
}

/// Sorts ranges and joins those with at most `gap` between them.
fn joined(mut ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end.saturating_add(gap) >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Pieces inside of `ranges` (ascending, disjoint), and those outside.
fn split(pieces: &[Piece], ranges: &[Range<u64>]) -> (Vec<Piece>, Vec<Piece>) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for piece in pieces {
        let (mut at, end) = (piece.first, piece.first + piece.blocks);
        let from = ranges.partition_point(|range| range.end <= at);
        for range in ranges[from..].iter().take_while(|range| range.start < end) {
            let (start, stop) = (range.start.max(at), range.end.min(end));
            if at < start {
                outside.push(Piece { first: at, blocks: start - at, ..*piece });
            }
            inside.push(Piece { first: start, blocks: stop - start, ..*piece });
            at = stop;
        }
        if at < end {
            outside.push(Piece { first: at, blocks: end - at, ..*piece });
        }
    }
    (inside, outside)
}

/// What an order leaves beside what it has placed.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// What stays empty of the last 512-KiB block.
    pub(super) empty: Range<u64>,
    /// By inode: blocks for what will map files in parts.
    pub(super) maps: BTreeMap<u32, Vec<Range<u64>>>,
}

/// Places what is read first from `free` on, in whole 512-KiB blocks.
pub(super) fn place(context: &Context<'_>, first: &Items, ledger: &mut Ledger, free: &[Range<u64>]) -> Result<Beside> {
    let unit = context.unit();
    let whole = free.iter().map(|range| range.start.next_multiple_of(unit)..range.end / unit * unit);
    let free: Vec<Range<u64>> = whole.filter(|range| range.start < range.end).collect();
    let mut cursor = Cursor::new(&free, context.geometry.blocks);
    let mut beside = Beside::default();
    let mut end = 0;
    for item in &first.list {
        super::policy::put_item(context, first, item, ledger, &mut cursor)?;
        end = ledger.runs.last().map_or(end, super::Run::end);
        // So many parts are not mapped in the inode.
        if let (Holder::Inode(ino), true) = (item.holder, item.is_part && first.pieces(context, item).len() * 2 > EXTENTS_MAX + 1) {
            let (start, count) = cursor.take(1);
            if start < context.geometry.blocks {
                beside.maps.entry(ino).or_default().push(start..start + count);
                end = start + count;
            }
        }
    }
    beside.empty = end..end.next_multiple_of(unit);
    Ok(beside)
}

/// How many blocks items have.
pub(super) fn blocks_of(items: &Items) -> u64 {
    debug_assert!(u64_of(items.list.len()) < u64::from(u32::MAX));
    items.list.iter().map(|item| item.count).sum()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges are meant")]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_split_at_the_ends_of_ranges() {
        let pieces = [Piece::data(0, 10), Piece::data(20, 10)];
        let numbers = |pieces: Vec<Piece>| pieces.iter().map(|piece| (piece.first, piece.blocks)).collect::<Vec<_>>();
        let (inside, outside) = split(&pieces, &[2..4, 8..25, 40..50]);
        assert_eq!((numbers(inside), numbers(outside)), (vec![(2, 2), (8, 2), (20, 5)], vec![(0, 2), (4, 4), (25, 5)]));
        assert_eq!(joined(vec![30..40, 0..5, 7..9, 4..6], 2), [0..9, 30..40]);
        assert_eq!(joined(vec![0..u64::MAX, 3..4], 2), [0..u64::MAX]);
    }
}
