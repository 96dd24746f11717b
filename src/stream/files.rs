//! The digests of many files, on threads: as `sha256sum` gives them, each file by itself.
//!
//! Files are taken in windows, in the order given, which is that of the tree and so mostly of the disk. The short ones of a
//! window are read at once and hashed together, many messages at a time; a long one is read in pieces and hashed by itself.

use super::{Cancel, THREADS_MAX};
use crate::checksum::Digest;
use crate::checksum::sha256::hash_messages;
use crate::content::{Contents, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::units::{ContentId, u64_of, usize_of};
use sha2::{Digest as _, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files up to this are hashed together.
const SHORT_MAX_BYTES: u64 = 256 * 1024;
/// Bytes and files in a window.
const WINDOW_BYTES: u64 = 4 << 20;
const WINDOW_FILES: usize = 1024;
/// Bytes of a long file that are read at once.
const PIECE_BYTES: u64 = 512 * 1024;

/// Contents and how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeContents {
    /// Which contents.
    pub id: ContentId,
    /// Their length in bytes.
    pub length: u64,
}

/// The SHA-256 of each of `files`, on `threads` threads (1 to [`THREADS_MAX`]). What cannot be read is an error in its place.
///
/// # Errors
/// [`ErrorKind::Cancelled`], [`ErrorKind::Internal`] where the contents' implementation panics, a number of threads that cannot be.
pub fn hash_files(contents: &dyn Contents, files: &[WholeContents], threads: usize, cancel: &Cancel) -> Result<Vec<Result<Digest>>> {
    if threads == 0 || threads > THREADS_MAX {
        return Err(Error::invalid(format!("{threads} threads: 1 to {THREADS_MAX} can be had")));
    }
    let windows = windows(files);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done: Vec<(usize, Vec<Result<Digest>>)> = Vec::new();
        let mut buffer = Vec::new();
        while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
            cancel.check()?;
            done.push((window.start, hash_window(contents, &files[window.clone()], &mut buffer, cancel)?));
        }
        Ok(done)
    };
    let caught = || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a thread that hashes files panicked")));
    let helpers = threads.min(windows.len().max(1)) - 1;
    let mut done = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..helpers).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, caught).ok()).collect();
        let mut all = caught();
        for helper in spawned {
            let more = helper.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a thread that hashes files panicked")));
            match (&mut all, more) {
                (Ok(all), Ok(more)) => all.extend(more),
                (Ok(_), Err(error)) => all = Err(error),
                (Err(_), _) => {}
            }
        }
        all
    })?;
    done.sort_unstable_by_key(|(start, _)| *start);
    Ok(done.into_iter().flat_map(|(_, digests)| digests).collect())
}

/// The windows of `files`.
fn windows(files: &[WholeContents]) -> Vec<std::ops::Range<usize>> {
    let mut windows = Vec::new();
    let (mut start, mut bytes) = (0, 0_u64);
    for (at, file) in files.iter().enumerate() {
        bytes = bytes.saturating_add(file.length);
        if bytes >= WINDOW_BYTES || at + 1 - start >= WINDOW_FILES {
            windows.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    if start < files.len() {
        windows.push(start..files.len());
    }
    windows
}

fn hash_window(contents: &dyn Contents, files: &[WholeContents], buffer: &mut Vec<u8>, cancel: &Cancel) -> Result<Vec<Result<Digest>>> {
    let mut digests: Vec<Result<Digest>> = files.iter().map(|_| Ok([0; 32])).collect();
    let short: Vec<usize> = (0..files.len()).filter(|at| files[*at].length <= SHORT_MAX_BYTES).collect();
    let total = short.iter().map(|at| usize_of(files[*at].length)).sum();
    if buffer.len() < total {
        buffer.resize(total, 0);
    }
    read_short(contents, files, &short, &mut buffer[..total], &mut digests);
    let mut rest = &buffer[..total];
    let messages: Vec<&[u8]> = short
        .iter()
        .map(|at| {
            let (message, behind) = rest.split_at(usize_of(files[*at].length));
            rest = behind;
            message
        })
        .collect();
    let mut hashed = vec![[0; 32]; short.len()];
    hash_messages(&messages, &mut hashed);
    for (at, digest) in short.iter().zip(hashed) {
        if digests[*at].is_ok() {
            digests[*at] = Ok(digest);
        }
    }
    for (file, digest) in files.iter().zip(&mut digests).filter(|(file, _)| file.length > SHORT_MAX_BYTES) {
        *digest = match hash_long(contents, *file, buffer, cancel) {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            hashed => hashed,
        };
    }
    Ok(digests)
}

/// Reads all short files into `out`, one behind the other; what cannot be read is an error in its place.
fn read_short(contents: &dyn Contents, files: &[WholeContents], short: &[usize], out: &mut [u8], digests: &mut [Result<Digest>]) {
    let read_all = |out: &mut [u8]| {
        let mut wanted = Vec::with_capacity(short.len());
        let mut rest = out;
        for file in short.iter().map(|at| files[*at]) {
            let (own, behind) = std::mem::take(&mut rest).split_at_mut(usize_of(file.length));
            rest = behind;
            wanted.push(Wanted { id: file.id, offset_bytes: 0, out: own });
        }
        contents.read_many(&mut wanted)
    };
    if read_all(out).is_ok() {
        return;
    }
    // One by one, to tell whose it is.
    let mut rest = out;
    for at in short {
        let (own, behind) = std::mem::take(&mut rest).split_at_mut(usize_of(files[*at].length));
        rest = behind;
        if let Err(error) = contents.read_exact_at(files[*at].id, 0, own) {
            digests[*at] = Err(error);
        }
    }
}

fn hash_long(contents: &dyn Contents, file: WholeContents, buffer: &mut Vec<u8>, cancel: &Cancel) -> Result<Digest> {
    buffer.resize(buffer.len().max(usize_of(PIECE_BYTES)), 0);
    let mut hasher = Sha256::new();
    let mut offset_bytes = 0;
    while offset_bytes < file.length {
        cancel.check()?;
        let piece = &mut buffer[..usize_of((file.length - offset_bytes).min(PIECE_BYTES))];
        contents.read_exact_at(file.id, offset_bytes, piece)?;
        hasher.update(&*piece);
        offset_bytes += u64_of(piece.len());
    }
    Ok(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::MemoryContents;

    #[test]
    fn files_of_all_lengths_have_their_own_digests_and_what_fails_fails_alone() {
        let mut contents = MemoryContents::new();
        let lengths = [0, 1, 55, 64, 1000, 262_144, 262_145, 1_500_000, 7, 4096, 300_000];
        let mut files = Vec::new();
        let mut expected = Vec::new();
        for round in 0..300_u32 {
            let len = lengths[usize::try_from(round).unwrap() % lengths.len()] / if round < 22 { 1 } else { 100 };
            let bytes: Vec<u8> = (0..len).map(|at: u32| at.wrapping_mul(round + 1).to_le_bytes()[1]).collect();
            expected.push(Some(Sha256::digest(&bytes).into()));
            files.push(WholeContents { length: u64_of(bytes.len()), id: contents.push(bytes).unwrap() });
        }
        // One that has less than is said.
        files[30].length += 5;
        expected[30] = None;
        for threads in [1, 2, 5] {
            let digests = hash_files(&contents, &files, threads, &Cancel::new()).unwrap();
            let digests: Vec<Option<Digest>> = digests.into_iter().map(Result::ok).collect();
            assert!(digests == expected, "{threads} threads");
        }
        assert!(hash_files(&contents, &files, 0, &Cancel::new()).is_err());
        assert!(hash_files(&contents, &[], 3, &Cancel::new()).unwrap().is_empty());
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(hash_files(&contents, &files, 2, &cancel).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
