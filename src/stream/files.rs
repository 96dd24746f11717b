//! Many files, on threads, each by itself: their digests, as `sha256sum` gives them, or what is looked for in them.
//!
//! Files are taken in windows, in the order given, which is that of the tree and so mostly of the disk. The short ones of a
//! window are read at once and hashed together, many messages at a time; a long one is read in pieces and hashed by itself.

use super::Cancel;
use super::crew::on_threads;
use crate::checksum::Digest;
use crate::checksum::sha256::hash_messages;
use crate::content::{Contents, Wanted};
use crate::error::{ErrorKind, Result};
use crate::units::{ContentId, u64_of, usize_of};
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// Files up to this are hashed together.
const SHORT_MAX_BYTES: u64 = 256 * 1024;
/// Bytes and files in a window.
const WINDOW_BYTES: u64 = 4 << 20;
const WINDOW_FILES: usize = 1024;
/// Bytes of a long file that are read at once.
const PIECE_BYTES: u64 = 512 * 1024;
/// By so many bytes a [`LookAt`] decides whether it wants the rest of a file; shorter ones are read whole.
pub const HEAD_BYTES: u64 = 16 * 1024;

/// Contents and how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeContents {
    /// Which contents.
    pub id: ContentId,
    /// Their length in bytes.
    pub length: u64,
}

/// The SHA-256 of each of `files`, on `threads` threads (1 to [`THREADS_MAX`](super::THREADS_MAX)). What cannot be read is an error in
/// its place.
///
/// # Errors
/// [`ErrorKind::Cancelled`], [`ErrorKind::Internal`] where the contents' implementation panics, a number of threads that cannot be.
pub fn hash_files(contents: &dyn Contents, files: &[WholeContents], threads: usize, cancel: &Cancel) -> Result<Vec<Result<Digest>>> {
    let windows = windows(files);
    let done = on_threads(windows.len(), threads, cancel, "hashes files", |at, buffer| hash_window(contents, &files[windows[at].clone()], buffer, cancel))?;
    Ok(done.into_iter().flatten().collect())
}

/// What is looked for in files.
pub trait LookAt: Sync {
    /// What is found in one file.
    type Found: Send;

    /// Whether the rest of the file with this position in the list is to be read, by its first [`HEAD_BYTES`] or fewer.
    fn wants(&self, at: usize, head: &[u8]) -> bool;

    /// Looks at the file with this position in the list: at all of it.
    fn look(&self, at: usize, bytes: &[u8]) -> Option<Self::Found>;
}

/// Looks at each of `files`, on `threads` threads (1 to [`THREADS_MAX`](super::THREADS_MAX)): at as many first bytes as
/// [`WholeContents::length`] says, which are held in memory. What was found, and what could not be read, by position in the list.
///
/// # Errors
/// As [`hash_files`].
pub fn look_at_files<L: LookAt>(
    contents: &dyn Contents,
    files: &[WholeContents],
    threads: usize,
    cancel: &Cancel,
    look: &L,
) -> Result<Vec<(usize, Result<L::Found>)>> {
    let windows = windows(files);
    let done = on_threads(windows.len(), threads, cancel, "looks at files", |at, buffer| {
        let window = windows[at].clone();
        look_at_window(contents, &files[window.clone()], window.start, buffer, cancel, look)
    })?;
    Ok(done.into_iter().flatten().collect())
}

fn look_at_window<L: LookAt>(
    contents: &dyn Contents,
    files: &[WholeContents],
    first: usize,
    buffer: &mut Vec<u8>,
    cancel: &Cancel,
    look: &L,
) -> Result<Vec<(usize, Result<L::Found>)>> {
    let mut failed: Vec<Result<()>> = files.iter().map(|_| Ok(())).collect();
    let short: Vec<usize> = (0..files.len()).filter(|at| files[*at].length <= HEAD_BYTES).collect();
    let total = short.iter().map(|at| usize_of(files[*at].length)).sum();
    if buffer.len() < total {
        buffer.resize(total, 0);
    }
    read_short(contents, files, &short, &mut buffer[..total], &mut failed);
    let mut found = Vec::new();
    let mut rest = &buffer[..total];
    for at in short {
        let (bytes, behind) = rest.split_at(usize_of(files[at].length));
        rest = behind;
        match std::mem::replace(&mut failed[at], Ok(())) {
            Err(error) => found.push((first + at, Err(error))),
            Ok(()) if look.wants(first + at, bytes) => found.extend(look.look(first + at, bytes).map(|found| (first + at, Ok(found)))),
            Ok(()) => {}
        }
    }
    for (at, file) in files.iter().enumerate().filter(|(_, file)| file.length > HEAD_BYTES) {
        cancel.check()?;
        match look_at_long(contents, *file, first + at, buffer, look) {
            Ok(Some(looked)) => found.push((first + at, Ok(looked))),
            Ok(None) => {}
            Err(error) => found.push((first + at, Err(error))),
        }
    }
    found.sort_by_key(|(at, _)| *at);
    Ok(found)
}

fn look_at_long<L: LookAt>(contents: &dyn Contents, file: WholeContents, at: usize, buffer: &mut Vec<u8>, look: &L) -> Result<Option<L::Found>> {
    let (head, len) = (usize_of(HEAD_BYTES), usize_of(file.length));
    buffer.resize(buffer.len().max(head), 0);
    contents.read_exact_at(file.id, 0, &mut buffer[..head])?;
    if !look.wants(at, &buffer[..head]) {
        return Ok(None);
    }
    buffer.resize(buffer.len().max(len), 0);
    contents.read_exact_at(file.id, HEAD_BYTES, &mut buffer[head..len])?;
    Ok(look.look(at, &buffer[..len]))
}

/// The windows of `files`.
fn windows(files: &[WholeContents]) -> Vec<Range<usize>> {
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
fn read_short<T>(contents: &dyn Contents, files: &[WholeContents], short: &[usize], out: &mut [u8], results: &mut [Result<T>]) {
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
            results[*at] = Err(error);
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

    /// Finds how many bytes of a file that begins with 1 are 1.
    struct Ones;

    impl LookAt for Ones {
        type Found = usize;

        fn wants(&self, _at: usize, head: &[u8]) -> bool {
            head.first() == Some(&1)
        }

        fn look(&self, _at: usize, bytes: &[u8]) -> Option<usize> {
            Some(bytes.iter().filter(|byte| **byte == 1).count())
        }
    }

    #[test]
    fn files_are_looked_at_whole_and_in_order_and_what_fails_fails_alone() {
        let mut contents = MemoryContents::new();
        let mut files = Vec::new();
        let mut expected = Vec::new();
        for (at, len) in [1, 0, 16_384, 16_385, 700_000, 5, 2_000_000, 3].into_iter().cycle().take(403).enumerate() {
            let byte = u8::from(at % 3 != 0);
            files.push(WholeContents { length: u64_of(len), id: contents.push(vec![byte; len]).unwrap() });
            if byte == 1 && len > 0 {
                expected.push((at, Some(len)));
            }
        }
        files[100].length += 1;
        expected.retain(|(at, _)| *at != 100);
        expected.push((100, None));
        expected.sort();
        for threads in [1, 3] {
            let found = look_at_files(&contents, &files, threads, &Cancel::new(), &Ones).unwrap();
            let found: Vec<(usize, Option<usize>)> = found.into_iter().map(|(at, found)| (at, found.ok())).collect();
            assert!(found == expected, "{threads} threads");
        }
    }

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
