//! The entries of one directory, told apart: names, dots, the label; long names put together from their parts.
//!
//! A long name belongs to the short entry behind it if its parts count down to 1 and all have that entry's checksum. Any other part
//! is an orphan, as programs that know no long names leave them; readers pass over it, and so does this one.

use super::super::format::{
    ATTR_DIRECTORY, ATTR_LONG_NAME, ATTR_LONG_NAME_MASK, ATTR_VOLUME_ID, DirectoryEntry, ENTRY_BYTES, ENTRY_DELETED, LAST_LONG_ENTRY, LONG_NAME_UNITS,
    LongNameEntry,
};
use super::super::names::checksum;
use super::names;
use crate::error::Result;

/// Parts that a long name can have: 255 units in pieces of 13.
const LONG_ENTRIES_MAX: u8 = 20;

/// What stands at one place of a directory.
pub(super) enum Item {
    /// A file or directory with its name. The error is of a name that cannot be given.
    Named { name: Result<String>, entry: DirectoryEntry },
    /// `.`: the directory itself.
    Dot(DirectoryEntry),
    /// `..`: its parent.
    DotDot(DirectoryEntry),
    /// The label of the volume.
    Label(DirectoryEntry),
    /// Something that readers pass over.
    Odd(&'static str),
}

const DOT: &[u8; 11] = b".          ";
const DOT_DOT: &[u8; 11] = b"..         ";

/// The parts of a long name that were met so far.
struct Parts {
    /// The units of all parts, in place.
    units: Vec<u16>,
    checksum: u8,
    /// The number of the part before the one that comes next.
    left: u8,
    /// Where the first of them stands.
    slot: usize,
}

/// Gives what stands in the entries `bytes` to `each`, with the number of the entry where it begins, to the end mark.
pub(super) fn parse(bytes: &[u8], each: &mut dyn FnMut(usize, Item)) {
    let slots = bytes.as_chunks::<ENTRY_BYTES>().0;
    let mut parts: Option<Parts> = None;
    let orphan = |parts: &mut Option<Parts>, each: &mut dyn FnMut(usize, Item)| {
        if let Some(parts) = parts.take() {
            each(parts.slot, Item::Odd("part of a long name that belongs to no entry"));
        }
    };
    let mut end = slots.len();
    for (slot, bytes) in slots.iter().enumerate() {
        let entry = DirectoryEntry::decode(bytes);
        if entry.dir_name[0] == 0 {
            end = slot;
            break;
        }
        if entry.dir_name[0] == ENTRY_DELETED {
            orphan(&mut parts, each);
        } else if entry.dir_attr & ATTR_LONG_NAME_MASK == ATTR_LONG_NAME {
            let part = LongNameEntry::decode(bytes);
            if part.ldir_type != 0 || part.ldir_fst_clus_lo != 0 {
                each(slot, Item::Odd("part of a long name with fields that are not zero"));
            }
            let before = parts.take();
            parts = extended(before, &part, slot, each);
        } else {
            let long = take_long(&mut parts, &entry);
            orphan(&mut parts, each);
            named(slot, entry, long, each);
        }
    }
    orphan(&mut parts, each);
    if let Some(behind) = slots[end..].iter().position(|slot| !matches!(slot[0], 0 | ENTRY_DELETED)) {
        each(end + behind, Item::Odd("entry behind the end of the directory, which Linux shows and others do not"));
    }
}

/// The parts with one more; those that it does not belong to are orphans.
fn extended(before: Option<Parts>, part: &LongNameEntry, slot: usize, each: &mut dyn FnMut(usize, Item)) -> Option<Parts> {
    let number = part.ldir_ord & !LAST_LONG_ENTRY;
    let is_first = part.ldir_ord & LAST_LONG_ENTRY != 0;
    let mut parts = match before {
        Some(parts) if !is_first && parts.left > 1 && number == parts.left - 1 && part.ldir_chksum == parts.checksum => parts,
        before => {
            if let Some(parts) = before {
                each(parts.slot, Item::Odd("part of a long name that belongs to no entry"));
            }
            if !is_first || number == 0 || number > LONG_ENTRIES_MAX {
                each(slot, Item::Odd("part of a long name out of its order"));
                return None;
            }
            Parts { units: vec![0; usize::from(number) * LONG_NAME_UNITS], checksum: part.ldir_chksum, left: number, slot }
        }
    };
    parts.left = number;
    parts.units[usize::from(number - 1) * LONG_NAME_UNITS..][..LONG_NAME_UNITS].copy_from_slice(&part.ldir_name);
    Some(parts)
}

/// The long name of an entry, if the parts before it are whole and its own.
fn take_long(parts: &mut Option<Parts>, entry: &DirectoryEntry) -> Option<Vec<u16>> {
    let is_own = parts.as_ref().is_some_and(|parts| parts.left == 1 && parts.checksum == checksum(&entry.dir_name));
    if is_own { parts.take().map(|parts| parts.units) } else { None }
}

fn named(slot: usize, entry: DirectoryEntry, long: Option<Vec<u16>>, each: &mut dyn FnMut(usize, Item)) {
    if entry.dir_attr & ATTR_VOLUME_ID != 0 {
        let is_label = entry.dir_attr & ATTR_DIRECTORY == 0;
        return each(slot, if is_label { Item::Label(entry) } else { Item::Odd("entry that is a label and a directory") });
    }
    match &entry.dir_name {
        DOT => return each(slot, Item::Dot(entry)),
        DOT_DOT => return each(slot, Item::DotDot(entry)),
        _ => {}
    }
    if !names::is_proper_short(&entry.dir_name) {
        each(slot, Item::Odd("short name with characters that none can have"));
    }
    let name = match &long {
        Some(units) => names::long(units),
        None => Ok(names::short(&entry)),
    };
    if long.as_ref().is_some_and(|units| !names::is_padded(units)) {
        each(slot, Item::Odd("long name with something behind its end"));
    }
    if name.as_ref().is_ok_and(|name| long.is_some() && !names::is_proper(name)) {
        each(slot, Item::Odd("long name with characters that none can have"));
    }
    let name = name.and_then(|name| names::check(&name).map(|()| name));
    each(slot, Item::Named { name, entry });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(name: &[u8; 11], dir_attr: u8) -> [u8; 32] {
        let mut entry = DirectoryEntry::decode(&[0; 32]);
        (entry.dir_name, entry.dir_attr) = (*name, dir_attr);
        entry.encode()
    }

    fn part(ldir_ord: u8, text: &str, ldir_chksum: u8) -> [u8; 32] {
        let mut ldir_name = [0xffff; LONG_NAME_UNITS];
        let units: Vec<u16> = text.encode_utf16().chain([0]).take(LONG_NAME_UNITS).collect();
        ldir_name[..units.len()].copy_from_slice(&units);
        LongNameEntry { ldir_ord, ldir_name, ldir_attr: ATTR_LONG_NAME, ldir_type: 0, ldir_chksum, ldir_fst_clus_lo: 0 }.encode()
    }

    fn shown(slots: &[[u8; 32]]) -> Vec<String> {
        let mut out = Vec::new();
        parse(&slots.concat(), &mut |slot, item| {
            out.push(match item {
                Item::Named { name, .. } => format!("{slot} {}", name.unwrap_or_else(|error| error.to_string())),
                Item::Dot(_) => format!("{slot} dot"),
                Item::DotDot(_) => format!("{slot} dotdot"),
                Item::Label(_) => format!("{slot} label"),
                Item::Odd(what) => format!("{slot} ({})", what.split(' ').take(3).collect::<Vec<_>>().join(" ")),
            });
        });
        out
    }

    #[test]
    fn r26_long_names_are_their_entrys_own_or_orphans() {
        let name = b"LONGNA~1TXT";
        let sum = checksum(name);
        let (first, second) = (part(0x42, "t", sum), part(1, "long name.tx.", sum));
        let entry = short(name, 0x20);
        let deleted = short(b"\xe5ONGNA~1TXT", 0x20);
        for (slots, wanted) in [
            (vec![first, second, entry], vec!["2 long name.tx.t"]),
            (vec![second, entry], vec!["0 (part of a)", "1 LONGNA~1.TXT"]),
            (vec![first, entry], vec!["0 (part of a)", "1 LONGNA~1.TXT"]),
            (vec![first, second, deleted, entry], vec!["0 (part of a)", "3 LONGNA~1.TXT"]),
            (vec![first, second, short(b"OTHER      ", 0)], vec!["0 (part of a)", "2 OTHER"]),
            (vec![first, part(1, "long name.tx.", sum ^ 1), entry], vec!["0 (part of a)", "1 (part of a)", "2 LONGNA~1.TXT"]),
            (vec![first, first, second, entry], vec!["0 (part of a)", "3 long name.tx.t"]),
            (vec![first, second], vec!["0 (part of a)"]),
            (vec![first, second, second, entry], vec!["0 (part of a)", "2 (part of a)", "3 LONGNA~1.TXT"]),
            (vec![part(0x40, "", sum), entry], vec!["0 (part of a)", "1 LONGNA~1.TXT"]),
            (vec![part(0x7f, "", sum), entry], vec!["0 (part of a)", "1 LONGNA~1.TXT"]),
            (vec![short(DOT, 0x10), short(DOT_DOT, 0x10), short(b"VOLUME     ", 8)], vec!["0 dot", "1 dotdot", "2 label"]),
            (vec![entry, [0; 32], entry], vec!["0 LONGNA~1.TXT", "2 (entry behind the)"]),
        ] {
            assert_eq!(shown(&slots), wanted);
        }
    }
}
