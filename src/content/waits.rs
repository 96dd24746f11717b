//! Whether reading waits for a disk: what tells when reading ahead is worth its time.
//!
//! Linux reads "now or not at all" (`RWF_NOWAIT`): what does not lie in memory is not read, and is then asked for again in
//! the usual way. Where a filesystem does not know that question, as on other systems, nothing ever waits, as far as
//! anybody can tell.

use super::positional;
use std::fs::File;
use std::io::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Reads from memory after which one that waited counts no more.
const REMEMBERED_READS: u32 = 64;

/// Whether the last reads had to wait.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Reads from memory that are still to come before it is warm again.
    score: AtomicU32,
    cannot_tell: AtomicBool,
}

impl Waits {
    /// Whether one of the last reads had to wait.
    pub(crate) fn is_cold(&self) -> bool {
        self.score.load(Ordering::Relaxed) > 0
    }

    /// As after a read that waited.
    #[cfg(test)]
    pub(crate) fn pretend_cold(&self) {
        self.note(true);
    }

    /// Notes how a read went. Two threads at once may lose a count, which does not matter.
    fn note(&self, has_waited: bool) {
        if has_waited {
            self.score.store(REMEMBERED_READS, Ordering::Relaxed);
        } else {
            let score = self.score.load(Ordering::Relaxed);
            if score > 0 {
                self.score.store(score - 1, Ordering::Relaxed);
            }
        }
    }

    /// As [`positional::read_exact_at`].
    pub(crate) fn read_exact_at(&self, file: &File, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let done = self.read_now(file, offset_bytes, out).unwrap_or(0);
        positional::read_exact_at(file, offset_bytes + crate::units::u64_of(done), &mut out[done..])
    }

    /// As [`positional::read_pieces`].
    pub(crate) fn read_pieces(&self, file: &File, pieces: &mut [(u64, &mut [u8])]) -> std::result::Result<(), (u64, Error)> {
        // The first bytes tell of all, mostly: what is read at once was written at once.
        if let Some((offset_bytes, out)) = pieces.first_mut().filter(|(_, out)| !out.is_empty()) {
            self.read_now(file, *offset_bytes, &mut out[..1]);
        }
        positional::read_pieces(file, pieces)
    }

    /// Asks the system to read a part of a file in, unless it lies in memory, and waits for none of it.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_ahead(&self, file: &File, offset_bytes: u64, len_bytes: u64) {
        // Linux takes no more in one call than its read-ahead of the disk, which is this where nobody changed it.
        const AT_ONCE_BYTES: u64 = 128 * 1024;
        let end = offset_bytes.saturating_add(len_bytes);
        let is_there = |at| self.read_now(file, at, &mut [0]).is_none_or(|count| count > 0);
        if len_bytes == 0 || (is_there(offset_bytes) && is_there(end - 1)) {
            return;
        }
        let mut at = offset_bytes;
        while at < end {
            let len = std::num::NonZeroU64::new((end - at).min(AT_ONCE_BYTES));
            // A hint: nothing is lost where it is not taken.
            if rustix::fs::fadvise(file, at, len, rustix::fs::Advice::WillNeed).is_err() {
                return;
            }
            at = at.saturating_add(AT_ONCE_BYTES);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read_ahead(&self, _file: &File, _offset_bytes: u64, _len_bytes: u64) {}

    /// Reads what lies in memory; `None` where nobody can tell.
    #[cfg(target_os = "linux")]
    fn read_now(&self, file: &File, offset_bytes: u64, out: &mut [u8]) -> Option<usize> {
        use rustix::io::{Errno, ReadWriteFlags};
        if out.is_empty() || self.cannot_tell.load(Ordering::Relaxed) {
            return None;
        }
        let wanted = out.len();
        match rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(out)], offset_bytes, ReadWriteFlags::NOWAIT) {
            Ok(count) => {
                self.note(count < wanted);
                Some(count)
            }
            Err(Errno::AGAIN) => {
                self.note(true);
                Some(0)
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.cannot_tell.store(true, Ordering::Relaxed);
                None
            }
            // The usual way finds the right words.
            Err(_) => None,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn read_now(&self, _file: &File, _offset_bytes: u64, _out: &mut [u8]) -> Option<usize> {
        let _ = (&self.cannot_tell, Self::note);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn one_read_that_waited_makes_it_cold_and_many_that_did_not_make_it_warm_again() {
        let waits = Waits::default();
        assert!(!waits.is_cold());
        waits.note(true);
        for _ in 0..REMEMBERED_READS {
            assert!(waits.is_cold());
            waits.note(false);
        }
        assert!(!waits.is_cold());
        waits.note(false);
        assert!(!waits.is_cold());
    }

    #[test]
    fn all_bytes_are_read_whatever_lies_in_memory() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        let waits = Waits::default();
        let mut out = vec![0; 90_000];
        waits.read_exact_at(&file, 10_000, &mut out).unwrap();
        assert!(out.iter().all(|byte| *byte == 7) && !waits.is_cold());
        assert_eq!(waits.read_exact_at(&file, 10_001, &mut out).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        let (mut a, mut b) = ([0; 10], [0; 10]);
        waits.read_pieces(&file, &mut [(5, &mut a[..]), (99_990, &mut b)]).unwrap();
        assert_eq!((a, b), ([7; 10], [7; 10]));
        for (at, len) in [(0, 100_000), (0, 0), (50, u64::MAX), (u64::MAX, 1)] {
            waits.read_ahead(&file, at, len);
        }
    }
}
