//! The contents of files: read by position, in any order, from any thread.

mod positional;
mod spool;

pub(crate) use positional::{read_exact_at, read_pieces};
pub use spool::{Spool, SpoolOptions, Spooled};

use crate::error::{Error, ErrorKind, Result};
use crate::units::{ContentId, u64_of, usize_of};
use std::fmt;
use std::sync::Arc;

/// A part of one file and the place for it.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Which contents.
    pub id: ContentId,
    /// The offset in them.
    pub offset_bytes: u64,
    /// What is filled.
    pub out: &'a mut [u8],
}

/// Where the bytes of files are read. Caches and open files are the implementation's own affair.
pub trait Contents: Send + Sync {
    /// Fills `out` with the bytes of `id` from `offset_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::SourceChanged`] where the bytes are no longer what was scanned, [`ErrorKind::Io`].
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()>;

    /// Whether one of the host's files that are read is this one, as far as its metadata tell: no output may replace it.
    fn reads(&self, file: &std::fs::Metadata) -> bool {
        let _ = file;
        false
    }

    /// Fills several places: as many calls of [`Contents::read_exact_at`], in order. Where contents lie near each other, an
    /// implementation can read them at once.
    ///
    /// # Errors
    /// Those of [`Contents::read_exact_at`]; what the places hold then is not said.
    fn read_many(&self, wanted: &mut [Wanted<'_>]) -> Result<()> {
        wanted.iter_mut().try_for_each(|wanted| self.read_exact_at(wanted.id, wanted.offset_bytes, wanted.out))
    }

    /// Says which contents will be read next, in order. A hint.
    fn prefetch(&self, ids: &[ContentId]) {
        let _ = ids;
    }
}

/// All contents of one disk: each source has its own numbers, raised by the base that it got here.
#[derive(Clone, Default)]
pub struct ContentStore {
    /// (first number, contents), ascending.
    parts: Vec<(u32, Arc<dyn Contents>)>,
    next: u32,
}

impl ContentStore {
    /// A store with no contents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source with numbers from 0 to `count - 1` and returns the base that raises them to this store's.
    ///
    /// # Errors
    /// Over 2^32 contents.
    pub fn add(&mut self, contents: Arc<dyn Contents>, count: u32) -> Result<u32> {
        let base = self.next;
        self.next = base.checked_add(count).ok_or_else(|| Error::limit("over 2^32 files"))?;
        if count > 0 {
            self.parts.push((base, contents));
        }
        Ok(base)
    }

    /// Adds all of another store.
    ///
    /// # Errors
    /// Over 2^32 contents.
    pub fn add_store(&mut self, other: &Self) -> Result<u32> {
        self.add(Arc::new(other.clone()), other.next)
    }

    /// The number of contents.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.next
    }

    fn part(&self, id: ContentId) -> Option<&(u32, Arc<dyn Contents>)> {
        let after = self.parts.partition_point(|(base, _)| *base <= id.0);
        self.parts.get(after.checked_sub(1)?)
    }

    fn none(&self, id: ContentId) -> Error {
        Error::invalid(format!("contents {} of a store that has {}", id.0, self.next))
    }
}

impl Contents for ContentStore {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let (base, contents) = self.part(id).ok_or_else(|| self.none(id))?;
        contents.read_exact_at(ContentId(id.0 - base), offset_bytes, out)
    }

    fn reads(&self, file: &std::fs::Metadata) -> bool {
        self.parts.iter().any(|(_, contents)| contents.reads(file))
    }

    fn read_many(&self, wanted: &mut [Wanted<'_>]) -> Result<()> {
        let base_of = |wanted: &Wanted<'_>| self.part(wanted.id).map(|part| part.0);
        for run in wanted.chunk_by_mut(|a, b| base_of(a) == base_of(b)) {
            let id = run[0].id;
            let (base, contents) = self.part(id).ok_or_else(|| self.none(id))?;
            for wanted in &mut *run {
                wanted.id.0 -= base;
            }
            contents.read_many(run)?;
        }
        Ok(())
    }

    fn prefetch(&self, ids: &[ContentId]) {
        for run in ids.chunk_by(|a, b| self.part(*a).map(|part| part.0) == self.part(*b).map(|part| part.0)) {
            if let Some((base, contents)) = run.first().and_then(|first| self.part(*first)) {
                let own: Vec<ContentId> = run.iter().map(|id| ContentId(id.0 - base)).collect();
                contents.prefetch(&own);
            }
        }
    }
}

impl fmt::Debug for ContentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentStore({} contents in {} sources)", self.next, self.parts.len())
    }
}

/// Contents in memory: files that a recipe or the boot set-up makes.
#[derive(Debug, Default, Clone)]
pub struct MemoryContents {
    files: Vec<Arc<[u8]>>,
}

impl MemoryContents {
    /// No contents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file's bytes and returns their number.
    ///
    /// # Errors
    /// Over 2^32 files.
    pub fn push(&mut self, bytes: impl Into<Arc<[u8]>>) -> Result<ContentId> {
        let id = u32::try_from(self.files.len()).map_err(|_| Error::limit("over 2^32 files"))?;
        self.files.push(bytes.into());
        Ok(ContentId(id))
    }

    /// The number of files.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }
}

impl Contents for MemoryContents {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let short = || Error::new(ErrorKind::InvalidInput, format!("{} bytes at {offset_bytes} of contents {} in memory: not there", out.len(), id.0));
        let file = self.files.get(crate::units::index_of(id.0)).ok_or_else(short)?;
        let end = offset_bytes.checked_add(u64_of(out.len())).filter(|end| *end <= u64_of(file.len())).ok_or_else(short)?;
        out.copy_from_slice(&file[usize_of(offset_bytes)..usize_of(end)]);
        Ok(())
    }
}
