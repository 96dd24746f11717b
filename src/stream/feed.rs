//! Batches from free to done and back: on threads, or one after the other.

use super::batch::{Batch, Cursor, Slot};
use super::{Clock, Fill, TICK};
use crate::checksum::sha256::{MESSAGES_MAX, preferred_messages};
use crate::error::{Error, Result};
use crate::format::BlockEncoder;
use crate::layout::{AllocationMap, RunKind};
use crate::units::{BlockIndex, u64_of, usize_of};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Batches beyond one a thread: one leaves while the threads fill theirs, one waits for a slow neighbour.
const SPARE_BATCHES: usize = 2;

/// How far reading ahead goes beyond what is being read: 32 MiB of the disk, some thousand small files.
const AHEAD_BLOCKS: u64 = 64;

/// Done blocks, in order.
pub(super) struct Feed<'a> {
    source: Source<'a>,
    /// The batch that is leaving, and how many of its blocks have left.
    leaving: Option<(Batch, usize)>,
}

enum Source<'a> {
    /// Made when they are asked for.
    Here { disk: &'a dyn Fill, encoder: &'a dyn BlockEncoder, cursor: Cursor<'a>, count: usize },
    /// Made on threads.
    Threads(&'a Pool<'a>),
}

impl Feed<'_> {
    /// The next filled block; `None` where the disk ends before it.
    ///
    /// # Errors
    /// What went wrong with it; those of `clock`.
    pub(super) fn next(&mut self, clock: &mut Clock<'_>) -> Result<Option<(BlockIndex, &Slot)>> {
        if self.leaving.as_ref().is_none_or(|(batch, left)| batch.done(*left).is_none()) {
            let left = self.leaving.take().map(|(batch, _)| batch);
            self.leaving = Some((self.source.next(left, clock)?, 0));
        }
        let (batch, left) = self.leaving.as_mut().expect("a batch was just taken, or one has blocks left");
        *left += 1;
        Ok(batch.done(*left - 1))
    }
}

impl Source<'_> {
    /// The next batch, empty only behind the disk's end; `left` is one whose blocks have left.
    fn next(&mut self, left: Option<Batch>, clock: &mut Clock<'_>) -> Result<Batch> {
        match self {
            Self::Here { disk, encoder, cursor, count } => {
                let mut batch = left.unwrap_or_else(Batch::new);
                assert!(batch.take(cursor, *count), "more blocks were asked for than the runs have");
                batch.fill(*disk, encoder.is_alike_everywhere(), &|| clock.cancel.is_cancelled())?;
                batch.finish(*encoder)?;
                Ok(batch)
            }
            Self::Threads(pool) => pool.next(left, clock),
        }
    }
}

/// Calls `consume` with the blocks of `disk` that `map` says are filled, made by `threads` threads. All have ended when it
/// returns.
///
/// # Errors
/// Those of `consume`; a thread that cannot be started.
pub(super) fn with_feed<T>(
    disk: &dyn Fill,
    map: &AllocationMap,
    encoder: &dyn BlockEncoder,
    threads: usize,
    consume: impl FnOnce(&mut Feed<'_>) -> Result<T>,
) -> Result<T> {
    let cursor = Cursor::new(map);
    let filled: u64 = map.runs().iter().filter(|run| run.kind != RunKind::Zeros).map(|run| run.count).sum();
    // Few blocks are spread over all threads rather than given to the first.
    let fair = usize_of(filled.div_ceil(u64_of(threads))).max(1);
    let count = preferred_messages().min(fair).min(MESSAGES_MAX);
    let batches = usize_of(filled.div_ceil(u64_of(count)).min(u64_of(threads)));
    if threads == 1 || batches <= 1 {
        return consume(&mut Feed { source: Source::Here { disk, encoder, cursor, count }, leaving: None });
    }
    let ahead = Cursor::new(map);
    let pool = Pool::new(cursor, count, batches + SPARE_BATCHES, disk.in_order());
    std::thread::scope(|scope| {
        // Dropped before the scope waits, also where `consume` fails or panics: no thread goes on then.
        let _stop = Stop(&pool);
        for number in 0..batches {
            let thread = std::thread::Builder::new().name(format!("rootvol-{number}"));
            thread.spawn_scoped(scope, || pool.work(disk, encoder)).map_err(|error| Error::io("cannot start a thread", error))?;
        }
        if !disk.in_order() {
            let thread = std::thread::Builder::new().name("rootvol-ahead".into());
            thread.spawn_scoped(scope, || pool.read_ahead(disk, ahead)).map_err(|error| Error::io("cannot start a thread", error))?;
        }
        consume(&mut Feed { source: Source::Threads(&pool), leaving: None })
    })
}

/// What the threads share.
struct Pool<'a> {
    state: Mutex<PoolState<'a>>,
    /// A batch became free, or all is to stop.
    freed: Condvar,
    /// A batch was done.
    done: Condvar,
    /// A batch was taken whose contents may have to be waited for, or all is to stop.
    taken: Condvar,
    is_stopped: AtomicBool,
    count: usize,
    /// Held while a batch is taken and filled, where blocks can be filled in order only.
    in_order: Option<Mutex<()>>,
}

struct PoolState<'a> {
    cursor: Cursor<'a>,
    free: Vec<Batch>,
    /// Batches from number `first` on, `None` while they are worked on.
    in_flight: VecDeque<Option<Result<Batch>>>,
    first: u64,
    /// The last block that was taken.
    last: Option<BlockIndex>,
}

struct Stop<'a>(&'a Pool<'a>);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
        // With the lock held no thread can be between its look at the flag and its sleep.
        let _state = self.0.lock();
        self.0.freed.notify_all();
        self.0.taken.notify_all();
    }
}

impl<'a> Pool<'a> {
    fn new(cursor: Cursor<'a>, count: usize, batches: usize, in_order: bool) -> Self {
        let free = std::iter::repeat_with(Batch::new).take(batches).collect();
        Self {
            state: Mutex::new(PoolState { cursor, free, in_flight: VecDeque::with_capacity(batches), first: 0, last: None }),
            freed: Condvar::new(),
            done: Condvar::new(),
            taken: Condvar::new(),
            is_stopped: AtomicBool::new(false),
            count,
            in_order: in_order.then(Mutex::default),
        }
    }

    /// Nothing that can panic runs with the lock held, so a poisoned one has whole contents.
    fn lock(&self) -> MutexGuard<'_, PoolState<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until there is no more to do.
    fn work(&self, disk: &dyn Fill, encoder: &dyn BlockEncoder) {
        loop {
            let turn = self.in_order.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            let Some((number, mut batch)) = self.take() else { return };
            if disk.is_cold() {
                self.taken.notify_one();
            }
            let filled = batch.fill(disk, encoder.is_alike_everywhere(), &|| self.is_stopped.load(Ordering::Relaxed));
            drop(turn);
            let result = filled.and_then(|()| batch.finish(encoder));
            let mut state = self.lock();
            let at = usize_of(number - state.first);
            state.in_flight[at] = Some(result.map(|()| batch));
            self.done.notify_one();
        }
    }

    /// Makes ready what the threads will read next, for as long as reading has to wait. `cursor` is at the begin.
    fn read_ahead(&self, disk: &dyn Fill, mut cursor: Cursor<'_>) {
        while let Some((next, _)) = cursor.peek() {
            let mut state = self.lock();
            let last = loop {
                if self.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                match state.last {
                    Some(last) if disk.is_cold() && next.0 <= last.0 + AHEAD_BLOCKS => break last,
                    _ => state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            // What is being read already needs no help.
            if next > last && catch_unwind(AssertUnwindSafe(|| disk.prefetch(next))).is_err() {
                return;
            }
            cursor.advance();
        }
    }

    /// Waits for a free batch and takes the next blocks into it.
    fn take(&self) -> Option<(u64, Batch)> {
        let mut state = self.lock();
        let mut batch = loop {
            if self.is_stopped.load(Ordering::Relaxed) {
                return None;
            }
            match state.free.pop() {
                Some(batch) => break batch,
                None => state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        if !batch.take(&mut state.cursor, self.count) {
            // For the other threads, which then see the end as well.
            state.free.push(batch);
            self.freed.notify_one();
            return None;
        }
        let number = state.first + u64_of(state.in_flight.len());
        state.in_flight.push_back(None);
        state.last = batch.last();
        Some((number, batch))
    }

    /// Gives `left` back and waits for the next batch in order.
    fn next(&self, left: Option<Batch>, clock: &mut Clock<'_>) -> Result<Batch> {
        let mut state = self.lock();
        if let Some(batch) = left {
            state.free.push(batch);
            self.freed.notify_one();
        }
        loop {
            if let Some(Some(_)) = state.in_flight.front() {
                state.first += 1;
                return state.in_flight.pop_front().flatten().expect("just looked at");
            }
            state = self.done.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            drop(state);
            clock.tick()?;
            state = self.lock();
        }
    }
}
