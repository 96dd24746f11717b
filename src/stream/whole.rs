//! The SHA-256 of the whole image file: one serial stream over every byte, holes included. It runs on a thread of its own
//! beside the lanes and the writing, from copies: the blocks' own buffers are on their way back by then.

use crate::checksum::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::units::{BLOCK_LEN, u64_of, usize_of};
use sha2::{Digest as _, Sha256};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Copies on their way. One is hashed, one is filled, the others even out the difference.
const COPIES: usize = 8;

/// The next part of the file.
enum Part {
    Bytes(Vec<u8>),
    Zeros(u64),
}

/// Hashes what it is given, in order.
pub(super) enum WholeFile<'scope> {
    /// On the caller's thread: where one thread is all that was asked for.
    Here(Box<Sha256>),
    /// On its own.
    Beside(Beside<'scope>),
}

pub(super) struct Beside<'scope> {
    parts: SyncSender<Part>,
    /// Copies that were hashed, to be filled again.
    free: Receiver<Vec<u8>>,
    hashing: ScopedJoinHandle<'scope, Digest>,
}

impl<'scope> WholeFile<'scope> {
    pub(super) fn here() -> Self {
        Self::Here(Box::default())
    }

    /// Starts the thread.
    pub(super) fn beside<'env>(scope: &'scope Scope<'scope, 'env>) -> Result<Self> {
        let (parts, coming) = sync_channel(COPIES);
        let (back, free) = channel();
        let thread = std::thread::Builder::new().name("rootvol-file".into());
        let hashing = thread.spawn_scoped(scope, move || hash(&coming, &back)).map_err(|error| Error::io("cannot start a thread", error))?;
        Ok(Self::Beside(Beside { parts, free, hashing }))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Here(sha256) => sha256.update(bytes),
            Self::Beside(beside) => {
                for bytes in bytes.chunks(BLOCK_LEN) {
                    let mut copy = beside.free.try_recv().unwrap_or_default();
                    copy.clear();
                    copy.extend_from_slice(bytes);
                    beside.send(Part::Bytes(copy))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn zeros(&mut self, len_bytes: u64) -> Result<()> {
        match self {
            Self::Here(sha256) => update_zeros(sha256, len_bytes),
            Self::Beside(beside) => beside.send(Part::Zeros(len_bytes))?,
        }
        Ok(())
    }

    /// The digest of all that was given.
    pub(super) fn finish(self) -> Result<Digest> {
        match self {
            Self::Here(sha256) => Ok(sha256.finalize().into()),
            Self::Beside(Beside { parts, hashing, .. }) => {
                drop(parts);
                hashing.join().map_err(|_| ended())
            }
        }
    }
}

impl Beside<'_> {
    fn send(&self, part: Part) -> Result<()> {
        self.parts.send(part).map_err(|_| ended())
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Internal, "the thread that hashes the file has ended")
}

/// What the thread does until there is no more to come, or nobody to tell.
fn hash(coming: &Receiver<Part>, back: &Sender<Vec<u8>>) -> Digest {
    let mut sha256 = Sha256::new();
    while let Ok(part) = coming.recv() {
        match part {
            Part::Bytes(copy) => {
                sha256.update(&copy);
                // Where nobody fills it again it goes.
                let _ = back.send(copy);
            }
            Part::Zeros(len_bytes) => update_zeros(&mut sha256, len_bytes),
        }
    }
    sha256.finalize().into()
}

fn update_zeros(sha256: &mut Sha256, len_bytes: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = len_bytes;
    while left > 0 {
        let now = left.min(u64_of(ZEROS.len()));
        sha256.update(&ZEROS[..usize_of(now)]);
        left -= now;
    }
}
