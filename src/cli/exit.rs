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
    /// Something was found by a command that compares or judges: 1.
    Found,
    /// Used wrongly: 2.
    Usage,
    /// Not all could be done: 3.
    Partly,
    /// Ended by a signal: 128 + its number.
    Signal(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed | Exit::Found => 1,
            Exit::Usage => 2,
            Exit::Partly => 3,
            Exit::Signal(number) => 128 + number,
        })
    }
}

/// The exit code of an error: of a command that judges, 1 is for what it finds, so that not being able to is 3.
pub(super) fn of(error: &Error, signals: &Signals, judges: bool) -> Exit {
    match (error.kind(), signals.received()) {
        (ErrorKind::Cancelled, Some(number)) => Exit::Signal(number),
        (ErrorKind::Usage, _) => Exit::Usage,
        _ if judges => Exit::Partly,
        _ => Exit::Failed,
    }
}
