//! The boot order: what a system reads first when it boots, as a file that people and programs write.
//!
//! ```text
//! # Lines are in the order of first reading; these two are comments.
//! # What stands behind a tab says which bytes: offset+length, or - for the inode alone.
//! /usr/lib/systemd/systemd
//! /usr/lib/x86_64-linux-gnu/libc.so.6⇥0+65536,1310720+4096
//! /lib⇥-
//! /boot/efi/EFI/BOOT/BOOTX64.EFI
//! ```
//!
//! Paths are those of the running system, of any bytes; those that are not printable, and the backslash, can be written `\xNN`, as
//! [`crate::error::escape`] writes them. A path that comes twice keeps its first place, and its ranges are joined. What nobody names is not
//! read at boot, as far as the order knows.
//!
//! Refused, with the number of the line: paths that are not absolute or have `..`, backslashes that begin no `\xNN`, ranges that are empty or
//! end behind 2^64, lines of over [`LINE_MAX_BYTES`], over [`ENTRIES_MAX`] entries.

use crate::error::{Error, Result, escape, unescape};
use crate::fs::OrderedPath;
use crate::tree;
use crate::units::u64_of;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::ops::Range;
use std::path::Path;

/// The longest line: a path of 4 KiB with all bytes escaped takes a sixtieth.
pub const LINE_MAX_BYTES: usize = 1 << 20;
/// The most entries: as many names as a filesystem is read with.
pub const ENTRIES_MAX: usize = 8 << 20;
/// Ranges in one line that is written; the rest of a file's follow in lines of their own, which are joined again when they are read.
const RANGES_A_LINE: usize = 1000;

/// What is read first at boot, in order. Paths are absolute, in their plain form (`/usr/bin/env`), and each stands once; ranges ascend and
/// are disjoint, as [`OrderedPath`] has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootOrder {
    entries: Vec<OrderedPath>,
}

impl BootOrder {
    /// An order of these entries, in any form: paths are made plain, of those that come twice the first counts and gets all ranges.
    ///
    /// # Errors
    /// Paths with `..`, NUL bytes, too long names.
    pub fn new(entries: impl IntoIterator<Item = OrderedPath>) -> Result<Self> {
        let plain = |entry: OrderedPath| Ok(OrderedPath { path: plain(&entry.path)?, ..entry });
        Ok(Self { entries: joined(entries.into_iter().map(plain).collect::<Result<_>>()?) })
    }

    /// The entries, first read first.
    #[must_use]
    pub fn entries(&self) -> &[OrderedPath] {
        &self.entries
    }

    /// Whether nothing is ordered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Those of [`BootOrder::read`]; what is no regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let cannot = |error| named(Error::io("cannot open the boot order", error));
        if !std::fs::metadata(path).map_err(cannot)?.is_file() {
            return Err(named(Error::invalid("the boot order is no regular file")));
        }
        Self::read(BufReader::new(std::fs::File::open(path).map_err(cannot)?)).map_err(named)
    }

    /// Reads the text of a boot order. Memory grows with its entries.
    ///
    /// # Errors
    /// With the number of the line, counted from 1, what the head of this module says is refused; those of `input`.
    pub fn read(mut input: impl BufRead) -> Result<Self> {
        let mut entries = Vec::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            let in_line = |error: Error| error.within(format_args!("line {number}"));
            line.clear();
            let most = u64_of(LINE_MAX_BYTES) + 1;
            if input.by_ref().take(most).read_until(b'\n', &mut line).map_err(|error| Error::io("cannot read", error))? == 0 {
                break;
            }
            if line.len() > LINE_MAX_BYTES {
                return Err(in_line(Error::limit(format!("a line of over {LINE_MAX_BYTES} bytes"))));
            }
            if let Some(entry) = entry(&line).map_err(in_line)? {
                if entries.len() == ENTRIES_MAX {
                    return Err(in_line(Error::limit(format!("over {ENTRIES_MAX} entries"))));
                }
                entries.push(entry);
            }
        }
        Ok(Self { entries: joined(entries) })
    }

    /// Writes the entries as lines; reading them gives this order again.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        for OrderedPath { path, ranges } in &self.entries {
            let path = escape(path);
            if ranges.is_empty() {
                writeln!(out, "{path}")?;
            }
            for ranges in ranges.chunks(RANGES_A_LINE) {
                write!(out, "{path}\t")?;
                for (at, range) in ranges.iter().enumerate() {
                    match (range.is_empty(), at) {
                        (true, _) => write!(out, "-")?,
                        (false, 0) => write!(out, "{}+{}", range.start, range.end - range.start)?,
                        (false, _) => write!(out, ",{}+{}", range.start, range.end - range.start)?,
                    }
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// What a line says; `None` for blank ones and comments.
fn entry(line: &[u8]) -> Result<Option<OrderedPath>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.trim_ascii().is_empty() || line.first() == Some(&b'#') {
        return Ok(None);
    }
    let mut fields = line.split(|byte| *byte == b'\t');
    let (path, rest) = (fields.next().unwrap_or_default(), fields.next());
    if fields.next().is_some() {
        return Err(Error::corrupt("more than one tab; a path, a tab and ranges were expected (a tab in a path is written \\x09)"));
    }
    if path.first() != Some(&b'/') {
        return Err(Error::corrupt(format!("the path \"{}\" is not absolute", shown(path))));
    }
    let path =
        plain(&unescape(path).ok_or_else(|| Error::corrupt(format!("a backslash that begins no \\xNN in \"{}\"; a backslash itself is \\x5C", shown(path))))?)?;
    let ranges = rest.map_or(Ok(Vec::new()), ranges)?;
    Ok(Some(OrderedPath { path, ranges }))
}

/// As much of `bytes` as fits into a message.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    if bytes.len() > MOST { format!("{}…", escape(&bytes[..MOST])) } else { escape(bytes) }
}

/// A path in its plain form: `/`, or names with one slash before each.
fn plain(path: &[u8]) -> Result<Vec<u8>> {
    let parts = tree::split_path(path)?;
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

/// `-`, or ranges with commas between.
fn ranges(text: &[u8]) -> Result<Vec<Range<u64>>> {
    if text == b"-" {
        return Ok(inode_alone());
    }
    let wrong = |part: &[u8]| Error::corrupt(format!("\"{}\" is no range: offset+length in bytes was expected, or - for the inode alone", shown(part)));
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    let range = |part: &[u8]| {
        let (offset, length) = std::str::from_utf8(part).ok()?.split_once('+')?;
        let (offset, length) = (number(offset)?, number(length)?);
        (length > 0).then_some(offset..offset.checked_add(length)?)
    };
    text.split(|byte| *byte == b',').map(|part| range(part).ok_or_else(|| wrong(part))).collect()
}

/// Each path once, where it comes first, with the ranges of all its entries.
fn joined(mut entries: Vec<OrderedPath>) -> Vec<OrderedPath> {
    let mut by_path: Vec<usize> = (0..entries.len()).collect();
    // Stable, so that of equal paths the first stays the first.
    by_path.sort_by(|a, b| entries[*a].path.cmp(&entries[*b].path));
    let mut again = vec![false; entries.len()];
    let mut at = 0;
    while let Some(first) = by_path.get(at).copied() {
        let mut ranges = std::mem::take(&mut entries[first].ranges);
        at += 1;
        while let Some(other) = by_path.get(at).copied().filter(|other| entries[*other].path == entries[first].path) {
            again[other] = true;
            ranges = join(ranges, std::mem::take(&mut entries[other].ranges));
            at += 1;
        }
        entries[first].ranges = ascending(ranges);
    }
    let mut again = again.into_iter();
    entries.retain(|_| !again.next().unwrap_or(false));
    entries
}

/// What two entries want of one file: all of it if one of them does.
pub(crate) fn join(mut ranges: Vec<Range<u64>>, mut more: Vec<Range<u64>>) -> Vec<Range<u64>> {
    if ranges.is_empty() || more.is_empty() {
        return Vec::new();
    }
    ranges.append(&mut more);
    ranges
}

/// Ranges in any order as [`OrderedPath`] has them: none for all, an empty one for the inode alone.
pub(crate) fn ascending(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    if ranges.is_empty() {
        return ranges;
    }
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    if out.is_empty() {
        return inode_alone();
    }
    out.shrink_to_fit();
    out
}

/// The ranges of an entry of which no contents are read.
pub(crate) fn inode_alone() -> Vec<Range<u64>> {
    std::iter::once(0..0).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]

    use super::*;

    fn entry(path: &str, ranges: &[Range<u64>]) -> OrderedPath {
        OrderedPath { path: path.as_bytes().to_vec(), ranges: ranges.to_vec() }
    }

    #[test]
    fn lines_are_read() {
        let text = b"# first\n\n  \n/a/b\n/c d \t0+4096,8192+1\r\n/link\t-\n//e/./f/\n/\\x09\\x5c\\xFF\n/\xfe\n/";
        let order = BootOrder::read(&text[..]).unwrap();
        let expected = [
            entry("/a/b", &[]),
            entry("/c d ", &[0..4096, 8192..8193]),
            entry("/link", &[0..0]),
            entry("/e/f", &[]),
            OrderedPath { path: b"/\t\\\xff".to_vec(), ranges: vec![] },
            OrderedPath { path: b"/\xfe".to_vec(), ranges: vec![] },
            entry("/", &[]),
        ];
        assert_eq!(order.entries(), expected);
    }

    #[test]
    fn a_path_that_comes_twice_keeps_its_first_place_and_gets_all_ranges() {
        let text = "/a\t10+5\n/b\t-\n/a\t0+10,20+5\n/c\t0+1\n/b\t7+1\n//c\n/a\t-\n";
        let order = BootOrder::read(text.as_bytes()).unwrap();
        assert_eq!(order.entries(), [entry("/a", &[0..15, 20..25]), entry("/b", &[7..8]), entry("/c", &[])]);
    }

    #[test]
    fn what_is_no_entry_is_refused_with_its_line() {
        for (line, says) in [
            ("a", "not absolute"),
            (" /a", "not absolute"),
            ("/a/../b", "\"..\""),
            ("/a\\n", "backslash"),
            ("/a\\x0", "backslash"),
            ("/a\\x0g", "backslash"),
            ("/a\\x00", "NUL"),
            ("/a\t", "no range"),
            ("/a\t0+0", "no range"),
            ("/a\t1", "no range"),
            ("/a\t+1+2", "no range"),
            ("/a\t-1+2", "no range"),
            ("/a\t1+2,", "no range"),
            ("/a\t1+2,-", "no range"),
            ("/a\t18446744073709551615+1", "no range"),
            ("/a\t18446744073709551616+1", "no range"),
            ("/a\t1+2\t3", "more than one tab"),
        ] {
            let error = BootOrder::read(format!("/ok\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(says), "{line:?}: {error}");
        }
        let long = [&b"/ok\n/"[..], &vec![b'a'; LINE_MAX_BYTES]].concat();
        assert!(BootOrder::read(&long[..]).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let many: Vec<Range<u64>> = (0..2500).map(|at| at * 10..at * 10 + 5).collect();
        let entries = [
            entry("/", &[]),
            entry("/many", &many),
            entry("/none", &[0..0]),
            OrderedPath { path: b"/x\n\t\r \xff#".to_vec(), ranges: vec![3..9] },
            entry("/#", &[]),
        ];
        let order = BootOrder::new(entries.clone()).unwrap();
        assert_eq!(order.entries(), entries);
        let mut text = Vec::new();
        order.write(&mut text).unwrap();
        assert_eq!(BootOrder::read(&text[..]).unwrap(), order);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 7);
    }
}
