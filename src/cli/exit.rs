//! Exit codes.

use super::signals::Signals;
use crate::error::{Error, ErrorKind};
use std::process::ExitCode;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done: 0.
    Done,
    /// Failed: 1.
    Failed,
    /// Used wrongly: 2.
    Usage,
    /// Ended by a signal: 128 + its number.
    Signal(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Signal(number) => 128 + number,
        })
    }
}

/// The exit code of an error.
pub(super) fn of(error: &Error, signals: &Signals) -> Exit {
    match (error.kind(), signals.received()) {
        (ErrorKind::Cancelled, Some(number)) => Exit::Signal(number),
        (ErrorKind::Usage, _) => Exit::Usage,
        _ => Exit::Failed,
    }
}
