//! Threads that look at folders ahead of the one that puts the tree together.
//!
//! Looking is waiting for the kernel, entry by entry, which as many threads as there are do at once; putting together is
//! done by one, in an order that does not depend on them, so that neither do tree, numbers and the error that is reported.
//! Without a thread beside it the caller's looks by itself.

use super::look::{Folder, Looked, Looker, Place};
use super::xattrs::XattrReader;
use crate::error::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What may have been found and not yet been put into the tree: some 40,000 entries.
const AHEAD_BYTES: usize = 8 << 20;

/// A folder on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) folder: Folder,
    is_taken: AtomicBool,
    found: Mutex<Option<Found>>,
}

impl Job {
    pub(super) fn new(folder: Folder) -> Arc<Self> {
        Arc::new(Self { folder, is_taken: AtomicBool::new(false), found: Mutex::default() })
    }

    /// Whether it is the caller's now.
    fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
    }
}

/// What was found in a folder, and what is to be looked at next.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) looked: Looked,
    pub(super) next: Vec<Arc<Job>>,
    bytes: usize,
}

/// What the threads share.
pub(super) struct Crew<'a> {
    place: &'a Place<'a>,
    xattrs: XattrReader,
    state: Mutex<State>,
    /// There is more to look at, or room for what is found, or all is to stop.
    wake: Condvar,
    /// A folder has been looked at.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// To be looked at, those that are wanted first at the end; some are taken already.
    waiting: Vec<Arc<Job>>,
    /// Of what was found and not yet asked for.
    ahead_bytes: usize,
    /// Threads that sleep, and whether the one that puts together does: waking nobody would be a system call too.
    asleep: usize,
    is_awaited: bool,
    is_stopped: bool,
}

impl<'a> Crew<'a> {
    pub(super) fn new(place: &'a Place<'a>, xattrs: XattrReader) -> Self {
        Self { place, xattrs, state: Mutex::default(), wake: Condvar::new(), done: Condvar::new() }
    }

    pub(super) fn looker(&self) -> Looker<'a> {
        Looker::new(self.place, self.xattrs.clone())
    }

    /// Nothing that can panic runs with the lock held, so a poisoned one has whole contents.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until all is to stop.
    pub(super) fn work(&self) {
        let mut looker = self.looker();
        while let Some(job) = self.next_job() {
            self.look(&job, &mut looker);
        }
    }

    fn next_job(&self) -> Option<Arc<Job>> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(job) = state.pop() {
                return Some(job);
            }
            state.asleep += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
    }

    /// Looks at a folder that was taken.
    fn look(&self, job: &Job, looker: &mut Looker<'_>) {
        let looked = catch_unwind(AssertUnwindSafe(|| looker.look(&job.folder)));
        let mut looked = looked.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Internal, "looking at a folder panicked").at_path(&job.folder.path);
            Looked { error: Some(error), ..Looked::default() }
        });
        let bytes = looked.bytes();
        let next: Vec<Arc<Job>> = std::mem::take(&mut looked.next).into_iter().map(Job::new).collect();
        let mut state = self.lock();
        state.ahead_bytes += bytes;
        while state.waiting.last().is_some_and(|job| job.is_taken.load(Ordering::Relaxed)) {
            state.waiting.pop();
        }
        state.waiting.extend(next.iter().rev().map(Arc::clone));
        *job.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Found { looked, next, bytes });
        let wakes = state.asleep > 0 && !state.waiting.is_empty();
        if state.is_awaited {
            self.done.notify_one();
        }
        drop(state);
        if wakes {
            self.wake.notify_all();
        }
    }

    /// What is in `job`'s folder: looked at here where nobody has begun, waited for where somebody has, looking at others in
    /// the meantime.
    pub(super) fn found(&self, job: &Job, looker: &mut Looker<'_>) -> Found {
        if job.take() {
            self.look(job, looker);
        }
        let mut state = self.lock();
        loop {
            if let Some(found) = job.found.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let was_full = state.ahead_bytes >= AHEAD_BYTES;
                state.ahead_bytes -= found.bytes;
                let wakes = was_full && state.asleep > 0;
                drop(state);
                if wakes {
                    self.wake.notify_all();
                }
                return found;
            }
            state = match state.pop() {
                Some(other) => {
                    drop(state);
                    self.look(&other, looker);
                    self.lock()
                }
                None => {
                    state.is_awaited = true;
                    let mut state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.is_awaited = false;
                    state
                }
            };
        }
    }

    /// Ends [`Crew::work`] on all threads when it is dropped.
    pub(super) fn stop_when_dropped(&self) -> Stop<'_> {
        Stop { state: &self.state, wake: &self.wake }
    }
}

impl State {
    /// A folder that nobody has begun, if there is room for what is in it.
    fn pop(&mut self) -> Option<Arc<Job>> {
        while self.ahead_bytes < AHEAD_BYTES {
            let job = self.waiting.pop()?;
            if job.take() {
                return Some(job);
            }
        }
        None
    }
}

/// See [`Crew::stop_when_dropped`].
pub(super) struct Stop<'a> {
    state: &'a Mutex<State>,
    wake: &'a Condvar,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_stopped = true;
        self.wake.notify_all();
    }
}
