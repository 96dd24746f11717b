//! A batch of blocks: the unit that a thread works on. It has as many blocks as the hash wants at a time.

use super::Fill;
use crate::checksum::sha256::{MESSAGES_MAX, hash_blocks};
use crate::checksum::{BlockState, Digest, is_zero};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BlockEncoder, Encoded};
use crate::layout::{AllocationMap, RunKind};
use crate::units::{BLOCK_LEN, BlockIndex};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One block on its way, with its buffers. Buffers are allocated once and used again.
pub(super) struct Slot {
    pub(super) index: BlockIndex,
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

/// A beginning of this length is worth comparing before hashing: a block or two of a filesystem.
const BEGINNING_MAX: usize = 8192;

/// Blocks begin with a cache line: a vector load then never touches two.
const ALIGN: usize = 64;

impl Slot {
    fn new() -> Self {
        let bytes = vec![0; BLOCK_LEN + ALIGN];
        let from = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self {
            index: BlockIndex(0),
            state: BlockState::Unused,
            digest: [0; 32],
            len: 0,
            encoded: Encoded::Verbatim,
            bytes,
            from,
            dirty: 0,
            scratch: Vec::new(),
        }
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
        self.index = index;
        self.len = filled.len;
        Ok(filled.len > 0)
    }

    /// What is not zero of a block that has no more than a short beginning.
    fn beginning(&self) -> Option<&[u8]> {
        (self.dirty <= BEGINNING_MAX).then(|| &self.block()[..BEGINNING_MAX])
    }

    fn encode(&mut self, encoder: &dyn BlockEncoder) {
        self.scratch.clear();
        self.encoded = encoder.encode(self.index, &self.bytes[self.from..self.from + self.len], &mut self.scratch);
    }
}

/// Some blocks, ascending, not always neighbours.
pub(super) struct Batch {
    /// As many as there ever were to do at a time.
    slots: Vec<Slot>,
    /// The blocks to do.
    indices: Vec<BlockIndex>,
    /// The beginning of a block that is zero behind it, and the block's digest. On large disks most data blocks are of this
    /// kind and equal: each holds the bitmap of a block group without files.
    known: Option<(Vec<u8>, Digest)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), indices: Vec::new(), known: None }
    }

    /// Takes the next blocks to do, `count` at most; `false` if there are none left.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, count: usize) -> bool {
        self.indices.clear();
        self.indices.extend(cursor.take(count));
        !self.indices.is_empty()
    }

    /// The blocks that were done.
    pub(super) fn done(&self) -> &[Slot] {
        &self.slots[..self.indices.len()]
    }

    /// Fills the blocks; those behind the disk's end are left out.
    pub(super) fn fill(&mut self, disk: &dyn Fill, is_stopped: &dyn Fn() -> bool) -> Result<()> {
        no_panic(|| {
            while self.slots.len() < self.indices.len() {
                self.slots.push(Slot::new());
            }
            for (at, (slot, index)) in self.slots.iter_mut().zip(&self.indices).enumerate() {
                if is_stopped() {
                    return Err(super::cancelled());
                }
                if !slot.fill(disk, *index)? {
                    self.indices.truncate(at);
                    break;
                }
            }
            Ok(())
        })
    }

    /// Hashes and encodes the blocks.
    pub(super) fn finish(&mut self, encoder: &dyn BlockEncoder) -> Result<()> {
        no_panic(|| {
            let digests = self.digests();
            let slots = self.slots[..self.indices.len()].iter_mut().filter(|slot| slot.state == BlockState::Data);
            for (slot, digest) in slots.zip(digests) {
                slot.digest = digest;
                slot.encode(encoder);
            }
            Ok(())
        })
    }

    /// The digests of the data blocks, in order.
    fn digests(&mut self) -> [Digest; MESSAGES_MAX] {
        let mut messages: [&[u8]; MESSAGES_MAX] = [&[]; MESSAGES_MAX];
        let mut count = 0;
        // By data block: which message has its digest, if it is not the known one.
        let mut message_of = [None; MESSAGES_MAX];
        let mut newest: Option<(&[u8], usize)> = None;
        let data = self.slots[..self.indices.len()].iter().filter(|slot| slot.state == BlockState::Data);
        for (slot, message) in data.zip(&mut message_of) {
            if let Some(beginning) = slot.beginning() {
                if self.known.as_ref().is_some_and(|known| known.0 == beginning) {
                    continue;
                }
                *message = newest.filter(|newest| newest.0 == beginning).map(|newest| newest.1);
                newest = Some((beginning, message.unwrap_or(count)));
            }
            if message.is_none() {
                *message = Some(count);
                messages[count] = slot.block();
                count += 1;
            }
        }
        let mut digests = [[0; 32]; MESSAGES_MAX];
        hash_blocks(&messages[..count], &mut digests[..count]);
        let known = self.known.as_ref().map_or([0; 32], |known| known.1);
        if let Some((beginning, message)) = newest {
            self.known = Some((beginning.to_vec(), digests[message]));
        }
        message_of.map(|message| message.map_or(known, |message| digests[message]))
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

    fn take(&mut self, count: usize) -> impl Iterator<Item = BlockIndex> + '_ {
        std::iter::from_fn(|| self.next()).take(count)
    }

    fn next(&mut self) -> Option<BlockIndex> {
        loop {
            let run = self.map.runs().get(self.run)?;
            if run.kind == RunKind::Filled && self.within < run.count {
                self.within += 1;
                return Some(BlockIndex(run.first.0 + self.within - 1));
            }
            self.run += 1;
            self.within = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn blocks_that_begin_alike_and_are_zero_behind_have_their_own_digests() {
        let mut batch = Batch::new();
        // Beginning, byte near the end, state; rounds show the digest that is known from before.
        let blocks = [(1, 0), (1, 0), (2, 0), (1, 0), (2, 5), (2, 0), (2, 0), (3, 0)];
        for round in 0..3_u8 {
            batch.slots.clear();
            batch.indices.clear();
            for (at, (first, late)) in (0..).zip(blocks) {
                let mut slot = Slot::new();
                let from = slot.from;
                slot.bytes[from + 4000] = first + round % 2;
                slot.bytes[from + BLOCK_LEN - 600] = late;
                slot.dirty = if late == 0 { 4001 } else { BLOCK_LEN };
                slot.state = if at == 3 { BlockState::Zero } else { BlockState::Data };
                batch.slots.push(slot);
                batch.indices.push(BlockIndex(at));
            }
            let digests = batch.digests();
            let data: Vec<&Slot> = batch.slots.iter().filter(|slot| slot.state == BlockState::Data).collect();
            for (slot, digest) in data.iter().zip(&digests) {
                assert_eq!(*digest, <Digest>::from(Sha256::digest(slot.block())));
            }
        }
    }
}
