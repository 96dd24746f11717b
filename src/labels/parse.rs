//! The lines of a policy's files: `file_contexts` and what lies beside it.
//!
//! Words are what stands between white space (space, tab, vertical tab, form feed, carriage return), as for `isspace` in the C
//! locale. Lines that are empty or begin with `#` say nothing.

use super::FileType;
use crate::error::{Error, Result, escape};

/// The longest line: nobody writes one of them by hand, and no generator has reason to.
pub(super) const LINE_MAX_BYTES: usize = 8_192;
/// Longest line of a file of substitutions: libselinux reads them into 1,024 bytes and would take the rest for another line.
pub(super) const SUBSTITUTION_LINE_MAX_BYTES: usize = 1_022;
/// The longest pattern: as long as a path can be.
pub(super) const PATTERN_MAX_BYTES: usize = 4_095;
/// The longest context with its NUL: the kernel takes and gives contexts a page at a time.
pub(super) const CONTEXT_MAX_BYTES: usize = 4_096;

/// A line of `file_contexts`: `PATTERN [TYPE] CONTEXT`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) number: u32,
    pub(super) pattern: &'a [u8],
    /// Any type without it.
    pub(super) kind: Option<FileType>,
    /// `None` for `<<none>>`.
    pub(super) context: Option<&'a [u8]>,
}

/// A line of a file of substitutions: what begins with `from` is looked up as if it began with `to`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Substitution {
    pub(super) from: Box<[u8]>,
    pub(super) to: Box<[u8]>,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// The lines that say something, by number, in words.
fn lines(text: &[u8], most: usize) -> impl Iterator<Item = Result<(u32, Vec<&[u8]>)>> {
    (1_u32..).zip(text.split(|byte| *byte == b'\n')).filter_map(move |(number, line)| {
        let mut words = line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()).peekable();
        if words.peek().is_none_or(|word| word.starts_with(b"#")) {
            return None;
        }
        if line.len() > most {
            return Some(Err(at(number, Error::limit(format!("{} bytes; at most {most} are read", line.len())))));
        }
        if line.contains(&0) {
            return Some(Err(at(number, Error::corrupt("a NUL byte; text was expected"))));
        }
        Some(Ok((number, words.collect())))
    })
}

/// Says in which line it is.
pub(super) fn at(number: u32, error: Error) -> Error {
    error.within(format_args!("line {number}"))
}

/// All lines of a file of contexts.
pub(super) fn contexts(text: &[u8]) -> impl Iterator<Item = Result<Line<'_>>> {
    lines(text, LINE_MAX_BYTES).map(|line| {
        let (number, words) = line?;
        self::context(number, &words).map_err(|error| at(number, error))
    })
}

fn context<'a>(number: u32, words: &[&'a [u8]]) -> Result<Line<'a>> {
    const EXPECTED: &str = "a pattern, a type or none (--, -d, -l, -c, -b, -s, -p) and a context were expected";
    let (pattern, kind, context) = match words {
        [pattern, context] => (*pattern, None, *context),
        [pattern, kind, context, rest @ ..] if rest.first().is_none_or(|word| word.starts_with(b"#")) => {
            let kind = file_type(kind).ok_or_else(|| Error::corrupt(format!("{} is no file type; {EXPECTED}", escape(kind))))?;
            (*pattern, Some(kind), *context)
        }
        words => return Err(Error::corrupt(format!("{} word(s); {EXPECTED}", words.len()))),
    };
    // libselinux refuses them too: its patterns are bytes, and policies have none.
    if let Some(word) = [pattern, context].into_iter().find(|word| !word.is_ascii()) {
        return Err(Error::corrupt(format!("{} is not ASCII", escape(word))));
    }
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(Error::limit(format!("a pattern of {} bytes; at most {PATTERN_MAX_BYTES} are possible", pattern.len())));
    }
    Ok(Line { number, pattern, kind, context: if context == b"<<none>>" { None } else { Some(check_context(context)?) } })
}

/// `user:role:type`, mostly with `:range` behind; whether a policy knows them is not asked.
fn check_context(context: &[u8]) -> Result<&[u8]> {
    if context.len() >= CONTEXT_MAX_BYTES {
        return Err(Error::limit(format!("a context of {} bytes; at most {} are possible", context.len(), CONTEXT_MAX_BYTES - 1)));
    }
    let mut parts = context.splitn(4, |byte| *byte == b':');
    let three = parts.by_ref().take(3).filter(|part| !part.is_empty()).count() == 3;
    if !three || parts.next() == Some(&[]) || context.iter().any(u8::is_ascii_control) {
        return Err(Error::corrupt(format!("{} is no context; user:role:type, user:role:type:range or <<none>> was expected", escape(context))));
    }
    Ok(context)
}

fn file_type(word: &[u8]) -> Option<FileType> {
    Some(match word {
        b"--" => FileType::File,
        b"-d" => FileType::Directory,
        b"-l" => FileType::Symlink,
        b"-c" => FileType::CharDevice,
        b"-b" => FileType::BlockDevice,
        b"-s" => FileType::Socket,
        b"-p" => FileType::Fifo,
        _ => return None,
    })
}

/// All lines of a file of substitutions, in the order in which they are tried: from the last to the first.
pub(super) fn substitutions(text: &[u8], most: usize) -> Result<Vec<Substitution>> {
    let mut found = Vec::new();
    for line in lines(text, SUBSTITUTION_LINE_MAX_BYTES) {
        let (number, words) = line?;
        match words[..] {
            [from, to, ref rest @ ..] if rest.first().is_none_or(|word| word.starts_with(b"#")) => {
                found.push(Substitution { from: from.into(), to: to.into() });
            }
            _ => return Err(at(number, Error::corrupt(format!("{} word(s); a path and the path that it is looked up as were expected", words.len())))),
        }
        if found.len() > most {
            return Err(at(number, Error::limit(format!("over {most} substitutions"))));
        }
    }
    found.reverse();
    Ok(found)
}

/// `path` as the first substitution that holds for it has it.
pub(super) fn substitute(substitutions: &[Substitution], path: &[u8]) -> Option<Vec<u8>> {
    substitutions.iter().find_map(|Substitution { from, to }| {
        let rest = path.strip_prefix(&**from).filter(|rest| matches!(rest.first(), None | Some(b'/')))?;
        // The root needs no second slash.
        let rest = if **to == *b"/" { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest };
        Some([to, rest].concat())
    })
}

/// Whether libselinux sorts the pattern before those that name one path: whether one of `.^$?*+|[({` stands in it without a
/// backslash.
pub(super) fn has_meta_characters(pattern: &[u8]) -> bool {
    let mut escaped = false;
    pattern.iter().any(|byte| {
        let meta = !escaped && b".^$?*+|[({".contains(byte);
        escaped = !escaped && *byte == b'\\';
        meta
    })
}

/// The length of the pattern's stem, which only paths with the same first part are compared with: what stands before the second
/// slash, if that has none of `.^$?*+|[({`. A backslash counts as itself, so that such patterns match nothing in libselinux either
/// (before version 3.8).
pub(super) fn stem_length(pattern: &[u8]) -> Option<usize> {
    let end = pattern.iter().skip(1).position(|byte| *byte == b'/')? + 1;
    (!pattern[..end].iter().any(|byte| b".^$?*+|[({".contains(byte))).then_some(end)
}
