//! The bytes of a plan, for an uploader in the same process.

use super::EbsSnapshotPlan;
use crate::checksum::{BlockChecksum, BlockState};
use crate::content::ReadAt;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::{Block, BlockSink};
use crate::units::{BLOCK_BYTES, BLOCK_LEN, BlockIndex, usize_of};
use sha2::{Digest as _, Sha256};

/// A disk that gives its blocks of 512 KiB: a [`Disk`] that was planned, or an image that was opened
/// ([`format::open`](crate::format::open)), whatever its container.
pub trait BlockSource: Send + Sync {
    /// Fills `out` with block `index`; what is behind the end of the disk is zero.
    ///
    /// # Errors
    /// Those of reading.
    fn read_block(&self, index: BlockIndex, out: &mut [u8; BLOCK_LEN]) -> Result<()>;
}

impl BlockSource for Disk {
    fn read_block(&self, index: BlockIndex, out: &mut [u8; BLOCK_LEN]) -> Result<()> {
        if index.0 >= self.size_bytes().div_ceil(BLOCK_BYTES) {
            out.fill(0);
            return Ok(());
        }
        Self::read_block(self, index, out)
    }
}

impl<T: ReadAt + ?Sized> BlockSource for T {
    fn read_block(&self, index: BlockIndex, out: &mut [u8; BLOCK_LEN]) -> Result<()> {
        let left = index.0.checked_mul(BLOCK_BYTES).and_then(|start| self.size_bytes().checked_sub(start)).unwrap_or(0);
        let (inside, behind) = out.split_at_mut(usize_of(left.min(BLOCK_BYTES)));
        behind.fill(0);
        if inside.is_empty() { Ok(()) } else { self.read_exact_at(index.offset_bytes(), inside) }
    }
}

impl EbsSnapshotPlan {
    /// Fills `out` with the bytes of a listed block, from any thread, as often as it takes: with
    /// [`blocks`](EbsSnapshotPlan::blocks) this is a parallel uploader, where each thread takes the next block of an iterator
    /// that all share.
    ///
    /// # Errors
    /// Those of `source`; [`ErrorKind::SourceChanged`] where its bytes are not those that were planned.
    pub fn read_block(&self, source: &(impl BlockSource + ?Sized), block: &BlockChecksum, out: &mut [u8; BLOCK_LEN]) -> Result<()> {
        if block.state != BlockState::Data {
            out.fill(0);
            return Ok(());
        }
        source.read_block(block.index, out)?;
        if Sha256::digest(&out[..])[..] != block.digest {
            return Err(Error::new(
                ErrorKind::SourceChanged,
                format!("block {} is not what the plan was made of: another image, or it was changed since", block.index.0),
            )
            .at_offset(block.index.offset_bytes()));
        }
        Ok(())
    }

    /// Gives every listed block to `sink`, ascending, on this thread.
    ///
    /// # Errors
    /// Those of [`EbsSnapshotPlan::read_block`] and of the sink.
    pub fn send_to(&self, source: &(impl BlockSource + ?Sized), sink: &mut dyn BlockSink) -> Result<()> {
        let mut data: Box<[u8; BLOCK_LEN]> = vec![0; BLOCK_LEN].try_into().expect("the buffer has the length of a block");
        for block in self.blocks() {
            self.read_block(source, &block, &mut data)?;
            sink.block(Block { index: block.index, state: block.state, checksum: &block.digest, data: &data })?;
        }
        Ok(())
    }
}
