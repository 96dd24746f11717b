//! Which number each inode gets.
//!
//! What an order names comes first, in its order, so that few blocks of the inode tables are read at boot. What was there in an earlier
//! version keeps its number; what is new gets the next free one behind its directory's and those of its siblings. Without an earlier
//! version directories that are neighbours in the tree are cut into chunks as their contents are ([`super::stable`]), and each chunk
//! begins at a multiple of [`CHUNK`]: so a file more or less changes the numbers of few others.

use super::items::{Context, keys};
use super::matching::Matching;
use super::order::Order;
use super::stable::cut;
use crate::fs::ext4::numbers::Numbers;
use crate::fs::ext4::options::Packing;
use crate::tree::NodeId;
use crate::units::{index_of, u64_of};

/// Inodes between the beginnings of two chunks.
const CHUNK: u32 = 512;
/// Between how many inodes a chunk ends. The first one shares its place with those of the filesystem.
const LEAST: u64 = 460;
const MOST: u64 = 496;
/// Numbers that are kept in memory, or four times as many as there are nodes: what had a higher one, far behind, gets another.
const LIST_MAX: u32 = 1 << 24;
/// No number yet.
const NONE: u32 = 0;

/// The numbers of all nodes and values.
pub(super) fn assign(context: &Context<'_>, order: &Order, matching: Option<&Matching>) -> Numbers {
    let base = context.survey.numbers.clone();
    let limit = u32::try_from(context.geometry.inodes()).unwrap_or(u32::MAX - 1);
    if let Some(matching) = matching {
        return Given::new(context, order, &base, matching, limit).assign(context, base);
    }
    let Some((of, last)) = spread(context, order, &base) else { return base };
    if last.checked_add(base.values()).is_none_or(|last| last > limit) {
        return base;
    }
    let values = (0..base.values()).map(|value| last + 1 + value).collect();
    base.assigned(of, values)
}

/// Numbers without an earlier version, and the last of them; `None` where the order of the tree gives them.
fn spread(context: &Context<'_>, order: &Order, base: &Numbers) -> Option<(Vec<u32>, u32)> {
    let tree = context.tree;
    let stable = context.options.packing == Packing::Stable && tree.node_count() > index_of(CHUNK);
    if order.is_empty() && !stable {
        return None;
    }
    let mut of = vec![NONE; tree.node_count()];
    let mut next = base.first_free();
    for node in order.nodes().filter(|node| !base.has_place(*node)) {
        of[node.index()] = next;
        next = next.checked_add(1)?;
    }
    let others: Vec<NodeId> = tree.nodes().map(|(id, _)| id).filter(|id| of[id.index()] == NONE && !base.has_place(*id)).collect();
    if !stable {
        for node in &others {
            of[node.index()] = next;
            next = next.checked_add(1)?;
        }
        return Some((of, next - 1));
    }
    let keys = keys(tree);
    let sizes: Vec<(u64, u64)> = others.iter().map(|node| (1, keys[node.index()])).collect();
    let mut last = next - 1;
    for (number, chunk) in (0_u32..).zip(cut(&sizes, LEAST, MOST)) {
        // Inode 1 stands at the beginning of a table.
        let first = if number == 0 { next } else { (next - 1).checked_next_multiple_of(CHUNK)? + 1 };
        for (ino, node) in (first..).zip(&others[chunk]) {
            of[node.index()] = ino;
            last = ino;
        }
        next = last.checked_add(1)?;
    }
    Some((of, last))
}

/// Numbers of an earlier version.
struct Given {
    /// By node; [`NONE`] where there is none yet.
    of: Vec<u32>,
    /// By number: itself if it is free, else where to look on.
    next_free: Vec<u32>,
}

impl Given {
    fn new(context: &Context<'_>, order: &Order, base: &Numbers, matching: &Matching, limit: u32) -> Self {
        let tree = context.tree;
        let mut of = vec![NONE; tree.node_count()];
        // Enough for all: what is new finds a number among so many at the latest.
        let highest = tree.nodes().filter_map(|(id, _)| matching.inode(id)).max().unwrap_or(0).max(base.count());
        let size = highest.saturating_add(base.count()).min(limit).min(base.count().saturating_mul(4).max(LIST_MAX));
        let mut given = Self { of: Vec::new(), next_free: (0..=size.saturating_add(1)).collect() };
        for ino in 0..base.first_free() {
            given.take(ino);
        }
        let named: Vec<NodeId> = order.nodes().filter(|node| !base.has_place(*node)).collect();
        if !is_in_front(&named, base, matching) {
            for (ino, node) in (base.first_free()..=limit).zip(&named) {
                of[node.index()] = ino;
                given.take(ino);
            }
        }
        for (id, _) in tree.nodes().filter(|(id, _)| !base.has_place(*id)) {
            let had = matching.inode(id).filter(|ino| *ino <= size && given.is_free(*ino));
            if let Some(ino) = had.filter(|_| of[id.index()] == NONE) {
                of[id.index()] = ino;
                given.take(ino);
            }
        }
        given.of = of;
        given
    }

    /// Numbers what has none.
    fn assign(mut self, context: &Context<'_>, base: Numbers) -> Numbers {
        let tree = context.tree;
        for (directory, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
            let own = if base.has_place(directory) { base.in_order(directory) } else { self.of[directory.index()] };
            let mut behind = own;
            for node in tree.entries(directory).iter().map(|entry| entry.node).filter(|node| !base.has_place(*node)) {
                if self.of[node.index()] == NONE {
                    self.of[node.index()] = self.take_behind(behind);
                    behind = self.of[node.index()];
                }
            }
        }
        let values = (0..base.values()).map(|_| self.take_behind(0)).collect();
        base.assigned(std::mem::take(&mut self.of), values)
    }

    fn is_free(&self, ino: u32) -> bool {
        self.next_free.get(index_of(ino)).is_some_and(|next| *next == ino)
    }

    fn take(&mut self, ino: u32) {
        if let Some(next) = self.next_free.get_mut(index_of(ino)) {
            *next = ino + 1;
        }
    }

    /// Takes the first free number from `from` on, or from the start. There is one: at most as many are taken as the filesystem has.
    fn take_behind(&mut self, from: u32) -> u32 {
        let last = self.next_free.len() - 1;
        let found = [from, 0].map(|from| self.find(from)).into_iter().find(|ino| index_of(*ino) < last);
        let ino = found.expect("a filesystem has an inode for every node");
        self.take(ino);
        ino
    }

    /// The first free number from `from` on; the last one of the list, which is nobody's, if there is none.
    fn find(&mut self, from: u32) -> u32 {
        let last = u32::try_from(self.next_free.len() - 1).expect("numbers have 32 bits");
        let mut at = from.min(last);
        while at < last && self.next_free[index_of(at)] != at {
            let next = self.next_free[index_of(at)].min(last);
            // Whoever comes next takes the shorter way.
            self.next_free[index_of(at)] = self.next_free[index_of(next)].max(next);
            at = next;
        }
        at
    }
}

/// Whether what is named has the first numbers in the earlier version already: an order decides once.
fn is_in_front(named: &[NodeId], base: &Numbers, matching: &Matching) -> bool {
    let most = u64::from(base.first_free()) + 2 * u64_of(named.len());
    let had: Vec<u32> = named.iter().filter_map(|node| matching.inode(*node)).collect();
    let in_front = had.iter().filter(|ino| u64::from(**ino) < most).count();
    in_front * 10 >= had.len() * 9
}
