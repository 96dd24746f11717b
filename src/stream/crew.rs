//! Threads that take numbered pieces of work until none is left.

use super::{Cancel, THREADS_MAX};
use crate::error::{Error, ErrorKind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `count` pieces of work on `threads` threads (1 to [`THREADS_MAX`]) and gives what they made, in their order. Each thread keeps one
/// buffer from piece to piece. `doing` says in an error what the threads do.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Cancelled`], [`ErrorKind::Internal`] where `work` panics, a number of threads that cannot be.
pub(super) fn on_threads<T: Send>(
    count: usize,
    threads: usize,
    cancel: &Cancel,
    doing: &str,
    work: impl Fn(usize, &mut Vec<u8>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if threads == 0 || threads > THREADS_MAX {
        return Err(Error::invalid(format!("{threads} threads: 1 to {THREADS_MAX} can be had")));
    }
    let next = AtomicUsize::new(0);
    let panicked = || Error::new(ErrorKind::Internal, format!("a thread that {doing} panicked"));
    let take = || {
        let mut done: Vec<(usize, T)> = Vec::new();
        let mut buffer = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return Ok(done);
            }
            cancel.check()?;
            done.push((at, work(at, &mut buffer)?));
        }
    };
    let caught = || catch_unwind(AssertUnwindSafe(take)).unwrap_or_else(|_| Err(panicked()));
    let helpers = threads.min(count.max(1)) - 1;
    let mut done = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..helpers).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, caught).ok()).collect();
        let mut all = caught();
        for helper in spawned {
            match (&mut all, helper.join().unwrap_or_else(|_| Err(panicked()))) {
                (Ok(all), Ok(more)) => all.extend(more),
                (Ok(_), Err(error)) => all = Err(error),
                (Err(_), _) => {}
            }
        }
        all
    })?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
