//! Small questions about bytes, all of them bounded.

use std::ops::Range;

/// The longest token that is followed.
const TOKEN_MAX: usize = 4096;

/// Letters and digits.
pub(super) fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Letters, digits, `_`.
pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The alphabet of base64url (RFC 4648, section 5).
pub(super) fn base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The alphabet of base64 (RFC 4648, section 4), without padding.
pub(super) fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The bytes from `at` on that are of one alphabet.
pub(super) fn run(bytes: &[u8], at: usize, of: fn(u8) -> bool) -> &[u8] {
    run_of(bytes, at, of, TOKEN_MAX)
}

/// As [`run`], at most `most` bytes.
pub(super) fn run_of(bytes: &[u8], at: usize, of: fn(u8) -> bool, most: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = &rest[..rest.len().min(most)];
    &rest[..rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len())]
}

/// Whether what stands before `at` ends a word.
pub(super) fn begins(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|byte| !word(*byte))
}

/// Whether a token is random enough to be one: no placeholder, no example, and the entropy of its bytes (Shannon's) at least `bits`.
pub(super) fn random(token: &[u8], bits: f64) -> bool {
    const PLACEHOLDERS: [&[u8]; 9] = [b"example", b"xxxx", b"0000000", b"1234567", b"abcdefg", b"placeholder", b"your_", b"changeme", b"redacted"];
    let lower = token.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|placeholder| memchr::memmem::find(&lower, placeholder).is_some()) {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in token {
        counts[usize::from(*byte)] += 1;
    }
    let all = f64::from(u32::try_from(token.len()).unwrap_or(u32::MAX));
    let entropy: f64 = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / all).map(|share| -share * share.log2()).sum();
    entropy >= bits
}

/// Whether there are upper case, lower case and digits in it.
pub(super) fn mixed(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_uppercase) && token.iter().any(u8::is_ascii_lowercase) && token.iter().any(u8::is_ascii_digit)
}

/// Whether the last six characters of a token are the CRC-32 of those before it in base 62, as GitHub and npm make them.
pub(super) fn checksum_62(token: &[u8]) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((body, sum)) = token.split_last_chunk::<6>() else { return false };
    let mut crc = flate2::Crc::new();
    crc.update(body);
    let mut rest = u64::from(crc.sum());
    for digit in sum.iter().rev() {
        if DIGITS[usize::try_from(rest % 62).unwrap_or_default()] != *digit {
            return false;
        }
        rest /= 62;
    }
    rest == 0
}

/// The value behind a key that ends at `at`: over the rest of the name, quotes, blanks and one `=` or `:`; quotes around it are not part
/// of it.
pub(super) fn value(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    const NAME_MAX: usize = 40;
    let mut at = at + run(bytes, at, |byte| base64url(byte) || byte == b'.').len().min(NAME_MAX);
    let skip = |at: &mut usize, of: fn(u8) -> bool| *at += run(bytes, *at, of).len().min(8);
    skip(&mut at, |byte| matches!(byte, b'"' | b'\'' | b' ' | b'\t' | b'\\'));
    if !matches!(bytes.get(at), Some(b'=' | b':')) {
        return None;
    }
    at += 1;
    // `=>` and `:=` are assignments too.
    skip(&mut at, |byte| matches!(byte, b'=' | b'>' | b'"' | b'\'' | b' ' | b'\t' | b'\\'));
    let value = run(bytes, at, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b',' | b';' | b'\\' | 0));
    (!value.is_empty()).then(|| at..at + value.len())
}

/// The number of the line, from 1, that byte `at` lies in.
pub(in crate::lint::share) fn line_of(bytes: &[u8], at: usize) -> u64 {
    crate::units::u64_of(memchr::memchr_iter(b'\n', &bytes[..at.min(bytes.len())]).count()) + 1
}
