//! The contents of files: read by position, in any order, from any thread.

mod positional;
mod read_at;
mod spool;
mod waits;

pub(crate) use positional::{read_exact_at, read_pieces};
pub(crate) use read_at::check_range;
pub use read_at::{Part, ReadAt};
pub use spool::{Spool, SpoolOptions, Spooled};
pub(crate) use waits::Waits;

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

/// A part of one file that will be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Which contents.
    pub id: ContentId,
    /// The offset in them.
    pub offset_bytes: u64,
    /// How many bytes.
    pub len_bytes: u64,
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

    /// Makes ready what will be read next, in this order, from one thread beside those that read. It may take its time, but it
    /// must not hold up the readers. What goes wrong here is left for the reader to find.
    fn prefetch(&self, wanted: &[Ahead]) {
        let _ = wanted;
    }

    /// Whether reading had to wait for a disk lately, so that [`Contents::prefetch`] is worth its time. Cheap: it is asked
    /// between blocks.
    fn is_cold(&self) -> bool {
        false
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

    fn prefetch(&self, wanted: &[Ahead]) {
        let base_of = |ahead: &Ahead| self.part(ahead.id).map(|part| part.0);
        for run in wanted.chunk_by(|a, b| base_of(a) == base_of(b)) {
            let part = self.part(run[0].id).filter(|(_, contents)| contents.is_cold());
            if let Some((base, contents)) = part {
                let own: Vec<Ahead> = run.iter().map(|ahead| Ahead { id: ContentId(ahead.id.0 - base), ..*ahead }).collect();
                contents.prefetch(&own);
            }
        }
    }

    fn is_cold(&self) -> bool {
        self.parts.iter().any(|(_, contents)| contents.is_cold())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Remembers what it was told.
    #[derive(Default)]
    struct Told {
        is_cold: bool,
        ahead: Mutex<Vec<Ahead>>,
    }

    impl Contents for Told {
        fn read_exact_at(&self, _id: ContentId, _offset_bytes: u64, _out: &mut [u8]) -> Result<()> {
            Ok(())
        }

        fn prefetch(&self, wanted: &[Ahead]) {
            self.ahead.lock().unwrap().extend_from_slice(wanted);
        }

        fn is_cold(&self) -> bool {
            self.is_cold
        }
    }

    #[test]
    fn what_is_wanted_ahead_goes_to_the_cold_sources_with_their_own_numbers() {
        let (warm, cold) = (Arc::new(Told::default()), Arc::new(Told { is_cold: true, ..Told::default() }));
        let mut inner = ContentStore::new();
        inner.add(warm.clone(), 3).unwrap();
        let mut store = ContentStore::new();
        store.add_store(&inner).unwrap();
        assert!(!store.is_cold());
        inner.add(cold.clone(), 2).unwrap();
        store.add_store(&inner).unwrap();
        assert!(store.is_cold());
        let ahead = |id, offset_bytes| Ahead { id: ContentId(id), offset_bytes, len_bytes: 5 };
        store.prefetch(&[ahead(1, 0), ahead(5, 1), ahead(6, 2), ahead(7, 3), ahead(2, 4)]);
        assert_eq!(*cold.ahead.lock().unwrap(), [ahead(0, 2), ahead(1, 3)]);
        assert_eq!(*warm.ahead.lock().unwrap(), []);
    }
}
