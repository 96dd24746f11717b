//! Names: what FAT can hold, and the short name that every entry has beside its long one.
//!
//! A name that is upper case and fits 8.3 is its own short name. Every other has a long name in UTF-16 and a short
//! name made from it (fatgen103, section "FAT Long Directory Entries", "The Basis-Name Generation Algorithm"). Names that
//! differ from 8.3 only by their case take it as it is; the rest end in `~N`. Those names are given out in the order of
//! the entries, so that they are a function of the directory alone, and in linear time: a number that was tried for a
//! prefix is never tried again.
//!
//! Short names are ASCII: what a byte above 127 means depends on a code page that the volume does not name.

use super::format::LONG_NAME_UNITS;
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// The longest name in UTF-16 units (fatgen103, "Name Limits and Character Sets").
pub(super) const NAME_MAX_UNITS: usize = 255;
/// What a long name cannot hold, beside control characters.
const FORBIDDEN: &[char] = &['"', '*', '/', ':', '<', '>', '?', '\\', '|'];
/// What a short name can hold beside letters and digits.
const SHORT_SPECIALS: &[u8] = b"$%'-_@~`!(){}^#&";
/// Digits that a numeric tail can have: `~` and the digits leave one character of the name.
const TAIL_DIGITS_MAX: usize = 6;

/// An entry's short name, eight and three characters padded with spaces, and the number of parts of its long name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryName {
    pub(super) short: [u8; 11],
    /// Directory entries that the long name takes; 0 where the short name is the name.
    pub(super) long_entries: u8,
}

/// The name as text, if FAT can hold it.
///
/// # Errors
/// Not UTF-8; a character that FAT forbids; over [`NAME_MAX_UNITS`]; a dot or space at the end, which readers drop.
pub(super) fn check(name: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(name).map_err(|_| Error::unsupported("the name is not UTF-8; FAT stores names in UTF-16"))?;
    if let Some(bad) = text.chars().find(|c| u32::from(*c) < 0x20 || FORBIDDEN.contains(c)) {
        return Err(Error::unsupported(format!("the name has the character {bad:?}, which FAT cannot hold")));
    }
    if text.ends_with(['.', ' ']) {
        return Err(Error::unsupported("the name ends in a dot or a space, which readers of FAT drop"));
    }
    let units = text.encode_utf16().count();
    if units > NAME_MAX_UNITS {
        return Err(Error::unsupported(format!("the name has {units} UTF-16 units; FAT holds at most {NAME_MAX_UNITS}")));
    }
    Ok(text)
}

/// The name without case, by which a reader looks it up. Only mappings of one character to one count, as in the tables
/// of those readers.
pub(super) fn fold(name: &str) -> String {
    name.chars().map(upper).collect()
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Short names for the entries of one directory, in their order. The names have passed [`check`] and differ when folded.
///
/// # Errors
/// All numeric tails are taken: not possible below the limit on a directory's entries.
pub(super) fn entry_names(names: &[&str]) -> Result<Vec<EntryName>> {
    let bases: Vec<Basis> = names.iter().map(|name| Basis::of(name)).collect();
    // Only asked, never walked: their order shows nowhere.
    let mut taken: HashSet<[u8; 11]> = bases.iter().filter(|basis| basis.exact).map(Basis::short).collect();
    let mut next: HashMap<(Vec<u8>, Vec<u8>, usize), u32> = HashMap::new();
    let mut made = Vec::with_capacity(names.len());
    for (name, basis) in names.iter().zip(&bases) {
        let short = if basis.exact { basis.short() } else { numbered(basis, &mut taken, &mut next)? };
        let same = basis.exact && !name.bytes().any(|b| b.is_ascii_lowercase());
        let long_entries = if same { 0 } else { name.encode_utf16().count().div_ceil(LONG_NAME_UNITS) };
        made.push(EntryName { short, long_entries: u8::try_from(long_entries).expect("255 units are 20 parts") });
    }
    Ok(made)
}

/// The first free `PREFIX~N.EXT`, the prefix shortened as N grows.
fn numbered(basis: &Basis, taken: &mut HashSet<[u8; 11]>, next: &mut HashMap<(Vec<u8>, Vec<u8>, usize), u32>) -> Result<[u8; 11]> {
    let mut limit = 10;
    for digits in 1..=TAIL_DIGITS_MAX {
        let prefix = &basis.base[..basis.base.len().min(7 - digits)];
        let number = next.entry((prefix.to_vec(), basis.extension.clone(), digits)).or_insert(limit / 10);
        while *number < limit {
            let base = [prefix, format!("~{number}").as_bytes()].concat();
            *number += 1;
            let short = pad(&base, &basis.extension);
            if taken.insert(short) {
                return Ok(short);
            }
        }
        limit *= 10;
    }
    Err(Error::limit("no short name is left for the name"))
}

/// What becomes of a name when it is cut to 8.3.
#[derive(Debug)]
struct Basis {
    /// Up to 8 characters.
    base: Vec<u8>,
    /// Up to 3 characters.
    extension: Vec<u8>,
    /// Nothing but case was lost.
    exact: bool,
}

impl Basis {
    fn of(name: &str) -> Self {
        let mut lost = false;
        let mut text: Vec<u8> = Vec::with_capacity(name.len());
        for c in name.chars() {
            match u8::try_from(c) {
                // Spaces and dots in front go; of the others the last dot separates the extension.
                Ok(b' ') => lost = true,
                Ok(b'.') if text.is_empty() => lost = true,
                Ok(b) if b == b'.' || b.is_ascii_alphanumeric() || SHORT_SPECIALS.contains(&b) => text.push(b.to_ascii_uppercase()),
                _ => {
                    lost = true;
                    text.push(b'_');
                }
            }
        }
        let (base, extension) = match text.iter().rposition(|b| *b == b'.') {
            Some(dot) => (&text[..dot], &text[dot + 1..]),
            None => (&text[..], &[][..]),
        };
        let mut base: Vec<u8> = base.iter().copied().filter(|b| *b != b'.').collect();
        let dots = text.iter().filter(|b| **b == b'.').count();
        lost |= dots > 1 || base.len() > 8 || extension.len() > 3;
        base.truncate(8);
        Self { base, extension: extension[..extension.len().min(3)].to_vec(), exact: !lost }
    }

    fn short(&self) -> [u8; 11] {
        pad(&self.base, &self.extension)
    }
}

fn pad(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// The checksum that ties the parts of a long name to their short name (fatgen103, `ChkSum`).
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The volume label padded with spaces; "NO NAME" where there is none.
///
/// # Errors
/// Over 11 bytes, lower case, or a character that a label cannot hold.
pub(super) fn label(label: &str) -> Result<[u8; 11]> {
    let bad = |why: &str| {
        Err(Error::invalid(format!("the label {label:?} {why}; a FAT label is up to 11 upper-case letters, digits, spaces and {}", "$%'-_@~`!(){}^#&")))
    };
    if label.is_empty() {
        return Ok(*b"NO NAME    ");
    }
    if label.len() > 11 {
        return bad(&format!("has {} bytes", label.len()));
    }
    if label.bytes().any(|b| b.is_ascii_lowercase()) {
        return bad("has lower-case letters");
    }
    if label.starts_with(' ') || label.ends_with(' ') {
        return bad("begins or ends with a space");
    }
    if label.bytes().any(|b| b != b' ' && !b.is_ascii_uppercase() && !b.is_ascii_digit() && !SHORT_SPECIALS.contains(&b)) {
        return bad("has a character that is not possible");
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        entry_names(names).unwrap().iter().map(|name| String::from_utf8(name.short.to_vec()).unwrap()).collect()
    }

    #[test]
    fn short_names_keep_what_fits_and_number_the_rest() {
        for (name, short, long_entries) in [
            ("BOOTX64.EFI", "BOOTX64 EFI", 0),
            ("grub.cfg", "GRUB    CFG", 1),
            ("EFI", "EFI        ", 0),
            ("loader.conf", "LOADER~1CON", 1),
            (".bashrc", "BASHRC~1   ", 1),
            ("a.b.c", "AB~1    C  ", 1),
            ("a b", "AB~1       ", 1),
            ("x+y=z", "X_Y_Z~1    ", 1),
            ("日本", "__~1       ", 1),
            ("NAME.TEXT", "NAME~1  TEX", 1),
            ("thirteen-char", "THIRTE~1   ", 1),
            ("fourteen-chars", "FOURTE~1   ", 2),
            (" .x", "X~1        ", 1),
        ] {
            let made = entry_names(&[name]).unwrap()[0];
            assert_eq!((made.short.escape_ascii().to_string().as_str(), made.long_entries), (short, long_entries), "{name}");
        }
    }

    #[test]
    fn short_names_never_meet_those_of_names_that_fit() {
        assert_eq!(shorts(&["longname.text", "LONGNA~1.TEX", "longna~2.tex"]), ["LONGNA~3TEX", "LONGNA~1TEX", "LONGNA~2TEX"]);
    }

    #[test]
    fn forty_thousand_names_alike_get_different_short_names_at_once() {
        let names: Vec<String> = (0..40_000).map(|n| format!("{:02}-a-long-name-{n}.conf", n % 50)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let start = std::time::Instant::now();
        let shorts = shorts(&names);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
        assert_eq!(shorts.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn names_that_fat_cannot_hold_are_refused() {
        for name in [&b"\xff"[..], b"a:b", b"a\\b", b"a\x01", b"end.", b"end ", b"...", b"q?"] {
            assert!(check(name).is_err(), "{}", name.escape_ascii());
        }
        for name in ["a", "ä ö.ü", "[x];=,+", "😀", ".hidden", " x"] {
            assert!(check(name.as_bytes()).is_ok(), "{name}");
        }
        assert_eq!(fold("Straße-é"), "STRAßE-É");
    }

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // Worked by hand from the C code of fatgen103 for a name of zeros with one letter.
        assert_eq!(checksum(&[0; 11]), 0);
        assert_eq!(checksum(b"\0\0\0\0\0\0\0\0\0\0A"), b'A');
        assert_eq!(checksum(b"\0\0\0\0\0\0\0\0\0A\0"), 0xa0);
    }

    #[test]
    fn labels_are_upper_case_and_at_most_eleven_bytes() {
        assert_eq!(label("ESP").unwrap(), *b"ESP        ");
        assert_eq!(label("").unwrap(), *b"NO NAME    ");
        assert_eq!(label("EFI SYSTEM1").unwrap(), *b"EFI SYSTEM1");
        for bad in ["esp", "TWELVE CHARS", " X", "X ", "A.B", "Ä", "A*"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
