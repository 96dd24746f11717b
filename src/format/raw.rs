//! Raw: the disk's bytes and nothing else.

use super::{Emit, Format, ImagePlan, ImageWriter, Piece, Verbatim, run_bytes};
use crate::error::Result;
use crate::layout::AllocationMap;
use crate::units::BlockIndex;

pub(super) fn plan(map: &AllocationMap) -> ImagePlan {
    let size_bytes = map.size_bytes();
    ImagePlan { format: Format::Raw, size_bytes: Some(size_bytes), encoder: Box::new(Verbatim), writer: Box::new(RawWriter { size_bytes }) }
}

/// Gives every block where it is.
pub(super) struct RawWriter {
    pub(super) size_bytes: u64,
}

impl ImageWriter for RawWriter {
    fn begin(&mut self, _emit: &mut Emit<'_>) -> Result<()> {
        Ok(())
    }

    fn data(&mut self, _index: BlockIndex, encoded: &[u8], emit: &mut Emit<'_>) -> Result<()> {
        emit(Piece::Bytes(encoded))
    }

    fn zeros(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        emit(Piece::Zeros(run_bytes(first, count, self.size_bytes)))
    }

    fn unused(&mut self, first: BlockIndex, count: u64, emit: &mut Emit<'_>) -> Result<()> {
        emit(Piece::Unused(run_bytes(first, count, self.size_bytes)))
    }

    fn finish(&mut self, _emit: &mut Emit<'_>) -> Result<()> {
        Ok(())
    }
}
