//! Names as they are shown: long ones from UTF-16, short ones as Linux shows them (`shortname=mixed`, code page 437): the NT bits for
//! lower case are followed.

use super::super::format::{DirectoryEntry, ENTRY_DELETED, ENTRY_KANJI_E5, NT_LOWER_BASE, NT_LOWER_EXTENSION};
use crate::error::{Error, Result};
use crate::tree::NAME_MAX_BYTES;

/// The characters of code page 437 from byte 0x80 on, as Unicode's table CP437.TXT has them.
const CODE_PAGE_437: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧',
    'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜',
    '╛', '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄',
    '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√',
    'ⁿ', '²', '■', '\u{a0}',
];

/// What neither name can have, beside control characters.
const FORBIDDEN: &[char] = &['"', '*', ':', '<', '>', '?', '\\', '|'];
/// What a short name cannot have either.
const FORBIDDEN_SHORT: &[u8] = b"+,.;=[]";

/// The name that the long entries before an entry hold, without what pads it.
///
/// # Errors
/// Half of a surrogate pair.
pub(super) fn long(units: &[u16]) -> Result<String> {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16(&units[..end]).map_err(|_| Error::corrupt("the long name is not UTF-16: half of a surrogate pair stands alone"))
}

/// Whether what stands behind a long name's end is what writers put there.
pub(super) fn is_padded(units: &[u16]) -> bool {
    units.iter().position(|unit| *unit == 0).is_none_or(|end| units[end + 1..].iter().all(|unit| *unit == 0xffff))
}

/// The short name as it is shown.
pub(super) fn short(entry: &DirectoryEntry) -> String {
    let mut name = entry.dir_name;
    if name[0] == ENTRY_KANJI_E5 {
        name[0] = ENTRY_DELETED;
    }
    let (base, extension) = name.split_at(8);
    let mut shown: String = trimmed(base).iter().map(|b| character(*b, entry.dir_nt_res & NT_LOWER_BASE != 0)).collect();
    let extension = trimmed(extension);
    if !extension.is_empty() {
        shown.push('.');
        shown.extend(extension.iter().map(|b| character(*b, entry.dir_nt_res & NT_LOWER_EXTENSION != 0)));
    }
    shown
}

fn trimmed(part: &[u8]) -> &[u8] {
    let end = part.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
    &part[..end]
}

fn character(byte: u8, is_lower: bool) -> char {
    let c = match byte.checked_sub(0x80) {
        Some(high) => CODE_PAGE_437[usize::from(high)],
        None => char::from(byte),
    };
    if !is_lower {
        return c;
    }
    // Only what the code page has in lower case too.
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(lower), None) if lower.is_ascii() || CODE_PAGE_437.contains(&lower) => lower,
        _ => c,
    }
}

/// Whether a short name has nothing that the specification forbids.
pub(super) fn is_proper_short(name: &[u8; 11]) -> bool {
    let is_proper = |(at, byte): (usize, &u8)| match *byte {
        ENTRY_KANJI_E5 => at == 0,
        b' ' => at != 0,
        byte => byte > 0x20 && !byte.is_ascii_lowercase() && !FORBIDDEN_SHORT.contains(&byte) && !FORBIDDEN.contains(&char::from(byte)) && byte != 0x7f,
    };
    name.iter().enumerate().all(is_proper)
}

/// Whether a name that is shown has nothing that the specification forbids.
pub(super) fn is_proper(name: &str) -> bool {
    !name.chars().any(|c| u32::from(c) < 0x20 || FORBIDDEN.contains(&c)) && !name.ends_with(['.', ' '])
}

/// Refuses a name that no tree can hold.
pub(super) fn check(name: &str) -> Result<()> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(Error::corrupt(format!("the name {name:?}, which no entry can have")));
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(Error::limit(format!("a name of {} bytes; a tree holds at most {NAME_MAX_BYTES}", name.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &[u8; 11], dir_nt_res: u8) -> String {
        let mut entry = DirectoryEntry::decode(&[0; 32]);
        (entry.dir_name, entry.dir_nt_res) = (*name, dir_nt_res);
        short(&entry)
    }

    #[test]
    fn short_names_are_shown_as_linux_shows_them() {
        for (name, bits, wanted) in [
            (b"README  TXT", 0, "README.TXT"),
            (b"README  TXT", 0x08, "readme.TXT"),
            (b"README  TXT", 0x10, "README.txt"),
            (b"README  TXT", 0x18, "readme.txt"),
            (b"EFI        ", 0x10, "EFI"),
            (b"A B     C  ", 0, "A B.C"),
            (b"\x05X      Y  ", 0, "σX.Y"),
            (b"\x8e\x9a\xe1\xe2\xe4   \xa5  ", 0, "ÄÜßΓΣ.Ñ"),
            (b"\x8e\x9a\xe1\xe2\xe4   \xa5  ", 0x18, "äüßΓσ.ñ"),
        ] {
            assert_eq!(shown(name, bits), wanted);
        }
    }

    #[test]
    fn names_that_no_tree_can_hold_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0b", &"n".repeat(256)] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert!(check(&"n".repeat(255)).is_ok());
        assert!(long(&[0x61, 0xd800, 0x62]).is_err());
        assert_eq!(long(&[0x61, 0xd83d, 0xde00, 0, 0xffff]).unwrap(), "a😀");
        assert!(is_padded(&[0x61, 0, 0xffff]) && is_padded(&[0x61]) && !is_padded(&[0x61, 0, 0x62]));
        assert!(is_proper_short(b"A~1     B  ") && !is_proper_short(b"a          ") && !is_proper_short(b" A         "));
    }
}
