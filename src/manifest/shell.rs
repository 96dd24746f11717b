//! Words for a POSIX shell that a person can paste: file names are bytes, and may hold anything.

use crate::error::escape;
use std::fmt::Write as _;
use std::path::Path;

/// `bytes` as one word: as they are where that is safe, else in quotes, with what is not printable written in octal.
pub(super) fn quote(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    let text = std::str::from_utf8(bytes).ok();
    match text {
        Some(text) if !text.is_empty() && bytes.iter().all(|b| plain(*b)) => text.to_owned(),
        Some(text) if text.chars().all(is_printable) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => quote_octal(bytes),
    }
}

/// The form `$'…'` (POSIX.1-2024, section 2.2.4; bash, ksh and zsh have had it for long).
fn quote_octal(bytes: &[u8]) -> String {
    let mut out = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => out.extend(['\\', c]),
                c if is_printable(c) => out.push(c),
                c => octal(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
            }
        }
        octal(chunk.invalid(), &mut out);
    }
    out.push('\'');
    out
}

fn octal(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "\\{byte:03o}");
    }
}

/// Whether a terminal shows it as itself.
fn is_printable(c: char) -> bool {
    c == '\\' || escape(c.encode_utf8(&mut [0; 4]).as_bytes()).chars().eq([c])
}

/// The bytes of a file name that no program takes for an option, a URL, a protocol or a home folder.
pub(super) fn file_argument(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let first_part = bytes.split(|b| *b == b'/').next().unwrap_or_default();
    let mistaken = bytes.starts_with(b"-") || bytes.starts_with(b"~") || (path.is_relative() && first_part.contains(&b':'));
    if mistaken { [b"./", bytes].concat() } else { bytes.to_vec() }
}
