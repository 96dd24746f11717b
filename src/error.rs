//! The one error type: a kind that programs match on, and a sentence that people read.
//!
//! An error names what was needed and what there was, and where: a path, an entry, an offset. Names that come
//! from input are escaped when printed (see [`escape`]), so nothing in an archive can inject into a terminal.

use std::fmt;

/// What the library's calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A command line that cannot be meant; exit code 2 of the command.
    Usage,
    /// An option, recipe or argument that cannot be meant.
    InvalidInput,
    /// The disk, partition or filesystem is too small. Sizes in bytes.
    TooSmall {
        /// Bytes that the contents need.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// Nothing to boot was found where a bootable disk was asked for.
    NotBootable,
    /// An image that lint finds unfit for what it is for.
    Unfit,
    /// A source changed while it was read.
    SourceChanged,
    /// Input that breaks its own format.
    Corrupt,
    /// Input or a request that is valid but not supported here.
    Unsupported,
    /// Input beyond a documented limit.
    LimitExceeded,
    /// Cancelled by the caller.
    Cancelled,
    /// Output that exists already, or is the same file as an input.
    Exists,
    /// The operating system reported an error.
    Io,
    /// A mistake in this crate or in a caller's implementation of its traits: something panicked.
    Internal,
}

/// An error with its kind, its place and its cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<Vec<u8>>,
    offset: Option<u64>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with one sentence that says what was needed and what there was.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), path: None, offset: None, source: None }))
    }

    /// [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// [`ErrorKind::LimitExceeded`].
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, message)
    }

    /// [`ErrorKind::Io`], with what was being done.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, doing).caused_by(source)
    }

    /// Names the file or entry; bytes, escaped when printed. The first (innermost) name wins.
    #[must_use]
    pub fn at_path(mut self, path: impl AsRef<[u8]>) -> Self {
        self.0.path.get_or_insert_with(|| path.as_ref().to_vec());
        self
    }

    /// Names the byte offset in the file. The first (innermost) offset wins.
    #[must_use]
    pub fn at_offset(mut self, offset_bytes: u64) -> Self {
        self.0.offset.get_or_insert(offset_bytes);
        self
    }

    /// Says in which part of the input it is, in front of the message; keeps kind, path and offset.
    #[must_use]
    pub fn within(mut self, part: impl fmt::Display) -> Self {
        self.0.message = format!("in {part}: {}", self.0.message);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or entry, as bytes.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        self.0.path.as_deref()
    }

    /// The byte offset.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", escape(path))?;
        }
        f.write_str(&self.0.message)?;
        if let Some(offset) = self.0.offset {
            write!(f, " (at byte {offset})")?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| -> &(dyn std::error::Error + 'static) { source })
    }
}

/// `bytes` as text in which nothing can control a terminal, reversibly: what is not printable UTF-8, and the
/// backslash, is written `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() || is_unprintable(c) {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\x{byte:02X}");
                }
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

/// The bytes that [`escape`] wrote as `text`; `None` where a backslash begins no `\xNN`.
#[must_use]
pub fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'\\', [b'x', high, low, behind @ ..]) => (digit(*high)? << 4 | digit(*low)?, behind),
            (b'\\', _) => return None,
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    Some(bytes)
}

/// Line separators, invisible marks and the overrides that reorder what a terminal shows.
fn is_unprintable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_path_offset_and_cause() {
        let error = Error::io("cannot read", std::io::Error::other("disk on fire")).at_path("a\nb").at_offset(512);
        assert_eq!(error.to_string(), "a\\x0Ab: cannot read (at byte 512): disk on fire");
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn escape_is_reversible_and_keeps_printable_text() {
        assert_eq!(escape("päth \\ \u{1b}[0m".as_bytes()), "päth \\x5C \\x1B[0m");
        assert_eq!(escape(b"\xff\xfe"), "\\xFF\\xFE");
        assert_eq!(escape("\u{202e}".as_bytes()), "\\xE2\\x80\\xAE");
    }
}
