//! A batch of blocks: the unit that a thread works on. It has as many blocks as the hash wants at a time, and between them
//! any number that are as short as a bitmap and equal to one that was done before: these share its buffer and its digest.

use super::Fill;
use crate::checksum::sha256::{MESSAGES_MAX, hash_blocks};
use crate::checksum::{BlockState, Digest, is_zero};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BlockEncoder, Encoded};
use crate::layout::{AllocationMap, BEGINNING_BYTES, RunKind};
use crate::units::{BLOCK_LEN, BlockIndex, usize_of};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The bytes of a block on its way, with its buffers. Buffers are allocated once and used again.
pub(super) struct Slot {
    pub(super) state: BlockState,
    pub(super) digest: Digest,
    /// Bytes of the block that lie on the disk.
    len: usize,
    encoded: Encoded,
    /// The block lies in it from `from` on, so that it begins with a cache line.
    bytes: Vec<u8>,
    from: usize,
    /// All bytes of the block from here on are zero.
    dirty: usize,
    scratch: Vec<u8>,
}

/// The most short blocks in a batch. Where they are not equal each takes a slot, of which it touches a few pages.
const SHORT_MAX: usize = 112;

/// How much of a block is its beginning.
const BEGINNING_LEN: usize = usize_of(BEGINNING_BYTES);

/// Blocks begin with a cache line: a vector load then never touches two.
const ALIGN: usize = 64;

impl Slot {
    fn new() -> Self {
        let bytes = vec![0; BLOCK_LEN + ALIGN];
        let from = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { state: BlockState::Unused, digest: [0; 32], len: 0, encoded: Encoded::Verbatim, bytes, from, dirty: 0, scratch: Vec::new() }
    }

    /// All 512 KiB; what is behind a short last block is zero.
    pub(super) fn block(&self) -> &[u8; BLOCK_LEN] {
        self.bytes[self.from..].first_chunk().expect("the buffer has 512 KiB behind its first cache line")
    }

    /// What the image file holds of the block.
    pub(super) fn encoded(&self) -> &[u8] {
        match self.encoded {
            Encoded::Verbatim => &self.bytes[self.from..self.from + self.len],
            Encoded::InBuffer => &self.scratch,
        }
    }

    /// How many of [`Slot::encoded`]'s bytes may be other than zero.
    pub(super) fn encoded_dirty(&self) -> usize {
        match self.encoded {
            Encoded::Verbatim => self.dirty,
            Encoded::InBuffer => self.scratch.len(),
        }
    }

    /// Fills the block; `false` where the disk ends before it.
    fn fill(&mut self, disk: &dyn Fill, index: BlockIndex) -> Result<bool> {
        // After an error any byte may be dirty.
        let dirty = std::mem::replace(&mut self.dirty, BLOCK_LEN);
        let block = self.bytes[self.from..].first_chunk_mut().expect("the buffer has 512 KiB behind its first cache line");
        let filled = disk.fill(index, block, dirty)?;
        self.dirty = filled.dirty;
        self.state = if is_zero(&block[..self.dirty]) { BlockState::Zero } else { BlockState::Data };
        self.len = filled.len;
        Ok(filled.len > 0)
    }

    /// What may be other than zero of a whole block that has no more than a short beginning.
    fn beginning(&self) -> Option<&[u8]> {
        (self.dirty <= BEGINNING_LEN && self.len == BLOCK_LEN && self.state == BlockState::Data).then(|| &self.block()[..BEGINNING_LEN])
    }

    fn encode(&mut self, index: BlockIndex, encoder: &dyn BlockEncoder) {
        self.scratch.clear();
        self.encoded = encoder.encode(index, &self.bytes[self.from..self.from + self.len], &mut self.scratch);
    }
}

/// A block that was done.
#[derive(Debug, Clone, Copy)]
struct Done {
    index: BlockIndex,
    /// The slot with its bytes, of which several blocks may share one.
    slot: usize,
}

/// Some blocks, ascending, not always neighbours.
pub(super) struct Batch {
    /// The first ones are in use.
    slots: Vec<Slot>,
    /// How many are.
    used: usize,
    /// Whether the first is left from before: a short block that others are likely to equal.
    has_known: bool,
    /// The blocks to do.
    indices: Vec<BlockIndex>,
    /// Those that were done.
    done: Vec<Done>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), used: 0, has_known: false, indices: Vec::new(), done: Vec::new() }
    }

    /// The last of the blocks to do.
    pub(super) fn last(&self) -> Option<BlockIndex> {
        self.indices.last().copied()
    }

    /// Takes the next blocks to do, `count` at most and short ones besides; `false` if there are none left.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, count: usize) -> bool {
        self.indices.clear();
        cursor.take(count, &mut self.indices);
        !self.indices.is_empty()
    }

    /// The block that was done as number `at`.
    pub(super) fn done(&self, at: usize) -> Option<(BlockIndex, &Slot)> {
        let done = self.done.get(at)?;
        Some((done.index, &self.slots[done.slot]))
    }

    /// Fills the blocks; those behind the disk's end are left out. `share` where equal blocks may share a slot.
    pub(super) fn fill(&mut self, disk: &dyn Fill, share: bool, is_stopped: &dyn Fn() -> bool) -> Result<()> {
        no_panic(|| {
            self.keep_known(share);
            self.done.clear();
            self.used = usize::from(self.has_known);
            for index in &self.indices {
                if is_stopped() {
                    return Err(super::cancelled());
                }
                if self.slots.len() == self.used {
                    self.slots.push(Slot::new());
                }
                if !self.slots[self.used].fill(disk, *index)? {
                    break;
                }
                let same = if share { self.same_as_newest() } else { None };
                self.done.push(Done { index: *index, slot: same.unwrap_or(self.used) });
                self.used += usize::from(same.is_none());
            }
            Ok(())
        })
    }

    /// The newest short block of the last time becomes the first slot.
    fn keep_known(&mut self, share: bool) {
        let own = usize::from(self.has_known);
        let newest = (own..self.used).rev().find(|slot| share && self.slots[*slot].beginning().is_some());
        if let Some(newest) = newest {
            self.slots.swap(0, newest);
            self.has_known = true;
        }
    }

    /// A slot in use that is equal to the one that was just filled, where that is short.
    fn same_as_newest(&self) -> Option<usize> {
        let beginning = self.slots[self.used].beginning()?;
        self.slots[..self.used].iter().position(|slot| slot.beginning() == Some(beginning))
    }

    /// Hashes and encodes the blocks.
    pub(super) fn finish(&mut self, encoder: &dyn BlockEncoder) -> Result<()> {
        no_panic(|| {
            let new = usize::from(self.has_known)..self.used;
            for slots in self.slots[new].chunks_mut(MESSAGES_MAX) {
                hash(slots);
            }
            // What blocks share is encoded once, for the first of them; the known slot was before.
            let mut next = usize::from(self.has_known);
            for done in &self.done {
                if done.slot == next {
                    if self.slots[next].state == BlockState::Data {
                        self.slots[next].encode(done.index, encoder);
                    }
                    next += 1;
                }
            }
            Ok(())
        })
    }
}

/// Hashes the data blocks among `slots`, [`MESSAGES_MAX`] at most.
fn hash(slots: &mut [Slot]) {
    let mut messages: [&[u8]; MESSAGES_MAX] = [&[]; MESSAGES_MAX];
    let mut count = 0;
    for slot in slots.iter().filter(|slot| slot.state == BlockState::Data) {
        messages[count] = slot.block();
        count += 1;
    }
    let mut digests = [[0; 32]; MESSAGES_MAX];
    hash_blocks(&messages[..count], &mut digests[..count]);
    let data = slots.iter_mut().filter(|slot| slot.state == BlockState::Data);
    for (slot, digest) in data.zip(digests) {
        slot.digest = digest;
    }
}

/// A panic of the layout, the contents or the encoder becomes an error. Nothing is looked at after it: the stream ends.
fn no_panic(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::new(ErrorKind::Internal, format!("making a block panicked: {}", text.unwrap_or("no reason given"))))
    })
}

/// Where in the runs the next block to fill is.
pub(super) struct Cursor<'a> {
    map: &'a AllocationMap,
    run: usize,
    within: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(map: &'a AllocationMap) -> Self {
        Self { map, run: 0, within: 0 }
    }

    /// Takes the next blocks: `count` of them at most that are more than a beginning, and some of those besides.
    fn take(&mut self, count: usize, indices: &mut Vec<BlockIndex>) {
        let (mut filled, mut short) = (0, 0);
        while let Some((index, kind)) = self.peek() {
            let (counted, most) = if kind == RunKind::Filled { (&mut filled, count) } else { (&mut short, SHORT_MAX) };
            if *counted == most {
                return;
            }
            *counted += 1;
            indices.push(index);
            self.advance();
        }
    }

    /// The next block to fill and of which kind it is.
    pub(super) fn peek(&mut self) -> Option<(BlockIndex, RunKind)> {
        loop {
            let run = self.map.runs().get(self.run)?;
            if run.kind != RunKind::Zeros && self.within < run.count {
                return Some((BlockIndex(run.first.0 + self.within), run.kind));
            }
            self.run += 1;
            self.within = 0;
        }
    }

    /// Goes on behind the block that [`Cursor::peek`] gave.
    pub(super) fn advance(&mut self) {
        self.within += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    /// Blocks of a first byte, and of a byte near the end.
    struct Made(Vec<(u8, u8)>);

    impl Fill for Made {
        fn fill(&self, index: BlockIndex, block: &mut [u8; BLOCK_LEN], _dirty: usize) -> Result<super::super::Filled> {
            let (first, late) = self.0[usize::try_from(index.0).unwrap()];
            block.fill(0);
            (block[4000], block[BLOCK_LEN - 600]) = (first, late);
            let dirty = if late == 0 { 4001 } else { BLOCK_LEN };
            Ok(super::super::Filled { len: BLOCK_LEN, dirty })
        }
    }

    #[test]
    fn blocks_that_begin_alike_and_are_zero_behind_share_a_slot_and_no_others_do() {
        let mut batch = Batch::new();
        let blocks = [(1, 0), (1, 0), (2, 0), (0, 0), (1, 0), (2, 5), (2, 0), (2, 0), (3, 0), (0, 0)];
        // Rounds show what is known from before; the last shares nothing.
        for (round, slots) in [(0, 6), (0, 6), (5, 6), (5, 6)].into_iter().chain([(5, 10)]) {
            let made = Made(blocks.iter().map(|(first, late)| (if *first == 0 { 0 } else { first + round }, *late)).collect());
            batch.indices = (0..10).map(BlockIndex).collect();
            batch.fill(&made, slots == 6, &|| false).unwrap();
            batch.finish(&crate::format::Verbatim).unwrap();
            let mut different = std::collections::BTreeSet::new();
            for (at, (first, late)) in made.0.iter().enumerate() {
                let (index, slot) = batch.done(at).unwrap();
                let mut expected = vec![0; BLOCK_LEN];
                (expected[4000], expected[BLOCK_LEN - 600]) = (*first, *late);
                assert!(*slot.block() == *expected && index == BlockIndex(at.try_into().unwrap()));
                if slot.state == BlockState::Data {
                    assert_eq!(slot.digest, <Digest>::from(Sha256::digest(&expected)));
                }
                different.insert(std::ptr::from_ref(slot));
            }
            assert!(batch.done(10).is_none());
            assert_eq!(different.len(), slots, "round {round}");
        }
    }
}
