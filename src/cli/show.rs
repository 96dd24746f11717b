//! What the command prints: text and JSON to standard output, everything about the work to standard error.

use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use std::io::{self, Write as _};

/// Prints text on standard output. A reader that has read enough and went away is no error for text.
pub(super) fn text(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to standard output", error)),
        _ => Ok(()),
    }
}

/// Prints a value as JSON on standard output.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let mut out = serde_json::to_string_pretty(value).map_err(|error| Error::new(ErrorKind::Io, "cannot write JSON").caused_by(error))?;
    out.push('\n');
    text(&out)
}

/// Says something about the work on standard error.
pub(super) fn say(line: &str) {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says what went wrong.
pub(super) fn error(error: &Error) {
    say(&format!("rootvol: {error}"));
}

/// A mistake in the value of an option is a mistake of the command line.
pub(super) fn as_usage(error: Error) -> Error {
    Error::new(ErrorKind::Usage, error.to_string())
}
