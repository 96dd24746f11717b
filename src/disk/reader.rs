//! A planned disk, read as the image that it will be: whoever looks into images can look into this one before it is written.

use super::Disk;
use crate::content::ReadAt;
use crate::error::{Error, Result};
use crate::format::{DiskReader, Format};
use crate::layout::{Layout as _, fill};
use crate::source::DiskImage;
use crate::units::u64_of;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

impl Disk {
    /// The disk as an opened raw image, of which any byte is made when it is asked for; `name` stands in messages.
    ///
    /// ```
    /// # use rootvol::{DiskSpec, source::Source, content::ContentStore, tree::TreeBuilder};
    /// let tree = TreeBuilder::new().freeze()?;
    /// let disk = DiskSpec::data(Source::new(tree, ContentStore::new(), "nothing")).name("empty").plan()?;
    /// let image = disk.as_image("the plan")?;
    /// assert_eq!(image.partitions()[0].filesystem.as_ref().map(|filesystem| filesystem.kind.as_str()), Some("ext4"));
    /// # Ok::<(), rootvol::Error>(())
    /// ```
    ///
    /// # Errors
    /// None for a disk that was planned here, unless a source cannot be read.
    pub fn as_image(&self, name: impl Into<PathBuf>) -> Result<DiskImage> {
        DiskImage::of(Arc::new(Planned(self.clone())), name.into())
    }
}

struct Planned(Disk);

impl ReadAt for Planned {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let end = offset_bytes.checked_add(u64_of(out.len()));
        if end.is_none_or(|end| end > self.size_bytes()) {
            return Err(Error::corrupt(format!("{} bytes of a disk of {}", out.len(), self.size_bytes())).at_offset(offset_bytes));
        }
        fill(&*self.0.0, &self.0.0.contents, offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<Range<u64>>> {
        Ok(self.0.segment_after(offset_bytes).map(|segment| segment.range.start.max(offset_bytes)..segment.range.end))
    }
}

impl DiskReader for Planned {
    fn format(&self) -> Format {
        Format::Raw
    }
}
