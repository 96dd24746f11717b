//! Reading a trace: which bytes were read first, by disk, in order.

use super::ranges::RangeSet;
use crate::error::{Error, Result, escape};
use crate::units::u64_of;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::Range;
use std::path::Path;

/// The longest line that is looked at; a longer one is skipped.
const LINE_MAX_BYTES: usize = 4096;
/// The most disks in one trace.
const DISKS_MAX: usize = 1024;
/// The longest name of a disk: a pointer in hex.
const NAME_MAX_BYTES: usize = 32;
/// The event of QEMU's block layer for a read by a guest's device.
const EVENT: &[u8] = b"blk_co_preadv";
/// How much of the first skipped line is shown.
const SHOWN_BYTES: usize = 60;

/// The reads of one disk.
#[derive(Debug, Clone, Default)]
pub struct TracedDisk {
    name: String,
    reads: u64,
    /// What of each read had not been read before, in order; never empty.
    first: Vec<Range<u64>>,
    all: RangeSet,
}

impl TracedDisk {
    /// What the trace calls it: QEMU's pointer (`0x5556…`); empty in a trace of one disk that has no names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// How many different bytes were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all.bytes()
    }

    /// What was read, each byte once, in the order of first reading.
    #[must_use]
    pub fn first_reads(&self) -> &[Range<u64>] {
        &self.first
    }

    /// What was read, ascending.
    pub(super) fn read(&self) -> &RangeSet {
        &self.all
    }

    fn add(&mut self, range: Range<u64>) {
        self.reads += 1;
        let first = &mut self.first;
        self.all.insert(range, |new| match first.last_mut() {
            // One stream in many reads is one piece.
            Some(last) if last.end == new.start => last.end = new.end,
            _ => first.push(new),
        });
    }
}

/// A trace of block reads. Two forms, which may be mixed:
///
/// - QEMU's log of the event `blk_co_preadv` (`-trace blk_co_preadv -D FILE`), with or without process and time before it:
///   `blk_co_preadv blk 0x5556… bs 0x5556… offset 1048576 bytes 4096 flags 0x0`. Every `blk` is a disk, the firmware's flash among them.
/// - `OFFSET LENGTH`, in bytes, decimal or 0x and hex: what any other tracer's output becomes by a line of awk.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    disks: Vec<TracedDisk>,
    skipped: u64,
    first_skipped: Option<(u64, String)>,
}

impl Trace {
    /// Reads the trace in the file at `path`.
    ///
    /// # Errors
    /// Those of [`Trace::read`]; what is no regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let cannot = |error| named(Error::io("cannot open the trace", error));
        if !std::fs::metadata(path).map_err(cannot)?.is_file() {
            return Err(named(Error::invalid("the trace is no regular file")));
        }
        Self::read(BufReader::with_capacity(1 << 18, std::fs::File::open(path).map_err(cannot)?)).map_err(named)
    }

    /// Reads a trace to its end. Lines that are no reads are skipped and counted. Memory grows with the different bytes that were
    /// read, at most by some dozens of bytes a line.
    ///
    /// # Errors
    /// Not one read in it; over 1,024 disks; those of `input`.
    pub fn read(mut input: impl BufRead) -> Result<Self> {
        let mut trace = Self::default();
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut latest: (Vec<u8>, usize) = (Vec::new(), usize::MAX);
        let mut line = Vec::new();
        for number in 1_u64.. {
            let Some(is_whole) = next_line(&mut input, &mut line)? else { break };
            let text = line.trim_ascii();
            let found = if is_whole { read_of(text) } else { None };
            let Some((disk, range)) = found else {
                if !is_whole || !(text.is_empty() || text.starts_with(b"#")) {
                    trace.skip(number, text);
                }
                continue;
            };
            if latest.1 == usize::MAX || latest.0 != disk {
                let next = trace.disks.len();
                let at = *numbers.entry(disk.to_vec()).or_insert(next);
                if at == next {
                    if next == DISKS_MAX {
                        return Err(Error::limit(format!("line {number}: reads of over {DISKS_MAX} disks in one trace")));
                    }
                    trace.disks.push(TracedDisk { name: escape(disk), ..TracedDisk::default() });
                }
                latest = (disk.to_vec(), at);
            }
            trace.disks[latest.1].add(range);
        }
        if trace.disks.is_empty() {
            let lines = trace.skipped_note().map_or_else(String::new, |note| format!(" ({note})"));
            return Err(Error::corrupt(format!(
                "no read is in the trace: lines of QEMU's blk_co_preadv, or of an offset and a length in bytes, were expected{lines}"
            )));
        }
        Ok(trace)
    }

    fn skip(&mut self, number: u64, text: &[u8]) {
        self.skipped += 1;
        self.first_skipped.get_or_insert_with(|| (number, escape(&text[..text.len().min(SHOWN_BYTES)])));
    }

    /// The disks, in the order of their first reads.
    #[must_use]
    pub fn disks(&self) -> &[TracedDisk] {
        &self.disks
    }

    /// How many lines were no reads; blank ones and comments (`#`) are not counted.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What has to be said of lines that were no reads.
    #[must_use]
    pub fn skipped_note(&self) -> Option<String> {
        let (number, text) = self.first_skipped.as_ref()?;
        let lines = if self.skipped == 1 { "1 line is no read and was".to_owned() } else { format!("{} lines are no reads and were", self.skipped) };
        Some(format!("{lines} skipped, the first is line {number}: \"{text}\""))
    }
}

/// The next line, or as much of it as is looked at; whether that is all of it. `None` at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<Option<bool>> {
    let cannot = |error| Error::io("cannot read", error);
    line.clear();
    if input.by_ref().take(u64_of(LINE_MAX_BYTES)).read_until(b'\n', line).map_err(cannot)? == 0 {
        return Ok(None);
    }
    if line.len() < LINE_MAX_BYTES || line.ends_with(b"\n") {
        return Ok(Some(true));
    }
    // The rest is passed over without being kept.
    loop {
        let held = match input.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            held => held.map_err(cannot)?,
        };
        let end = held.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(held.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() || used == 0 {
            return Ok(Some(false));
        }
    }
}

/// The disk and the range of a line that is a read.
fn read_of(line: &[u8]) -> Option<(&[u8], Range<u64>)> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = words.next()?;
    let (disk, offset, length) = match first.strip_suffix(EVENT) {
        // What stands before is the process and the time: 1234@1700000000.123456:
        Some(before) if before.is_empty() || before.ends_with(b":") => event(words)?,
        _ => {
            let length = words.next()?;
            if words.next().is_some() {
                return None;
            }
            (&b""[..], number(first)?, number(length)?)
        }
    };
    Some((disk, offset..offset.checked_add(length)?))
}

/// Disk, offset and length of the words of an event: names, each with its value behind it.
fn event<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<(&'a [u8], u64, u64)> {
    let (mut disk, mut offset, mut length) = (None, None, None);
    while let Some(name) = words.next() {
        let value = words.next()?;
        match name {
            b"blk" => disk = Some(value).filter(|value| value.len() <= NAME_MAX_BYTES),
            b"offset" => offset = number(value),
            b"bytes" => length = number(value),
            _ => {}
        }
    }
    Some((disk?, offset?, length?))
}

/// A number, decimal or with 0x.
fn number(word: &[u8]) -> Option<u64> {
    let (digits, radix) = match word.strip_prefix(b"0x") {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]

    use super::*;

    fn first(text: &str) -> Vec<(String, u64, Vec<Range<u64>>)> {
        let trace = Trace::read(text.as_bytes()).unwrap();
        trace.disks().iter().map(|disk| (disk.name().to_owned(), disk.reads(), disk.first_reads().to_vec())).collect()
    }

    #[test]
    fn qemus_lines_are_read_with_and_without_their_prefix() {
        let text = "blk_co_preadv blk 0xa1 bs 0xb1 offset 0 bytes 512 flags 0x0\n\
                    4711@1700000000.123456:blk_co_preadv blk 0xa2 bs 0xb2 offset 1048576 bytes 4096 flags 0x0\n\
                    blk_co_pwritev blk 0xa2 bs 0xb2 offset 0 bytes 4096 flags 0x0\r\n\
                    blk_co_preadv blk 0xa1 bs 0xb1 offset 512 bytes 512 flags 0x0\r\n\
                    blk_co_preadv blk 0xa2 bs 0xb2 offset 1046528 bytes 0x1000 flags 0x0\n\
                    blk_co_preadv blk 0xa2 bs 0xb2 offset -1 bytes 4096 flags 0x0\n\
                    xblk_co_preadv blk 0xa2 bs 0xb2 offset 9 bytes 9\n\
                    blk_co_preadv blk 0xa2 bs 0xb2 offset 99 byt";
        let trace = Trace::read(text.as_bytes()).unwrap();
        assert_eq!(trace.skipped(), 4);
        assert!(trace.skipped_note().unwrap().contains("line 3: \"blk_co_pwritev"));
        let expected = [("0xa1".to_owned(), 2, vec![0..1024]), ("0xa2".to_owned(), 2, vec![1_048_576..1_052_672, 1_046_528..1_048_576])];
        assert_eq!(first(text), expected);
    }

    #[test]
    fn plain_lines_are_read() {
        assert_eq!(first("# offset length\n\n 4096 512\n0x2000\t0x200\n4096 100\n"), [(String::new(), 3, vec![4096..4608, 8192..8704])]);
        for text in ["", "hello\n", "1 2 3\n", "1\n", "-1 5\n", "+1 5\n", "1.5 5\n", "ff 1\n", "0x 1\n", "18446744073709551616 1\n", "18446744073709551615 2\n"]
        {
            let error = Trace::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("no read is in the trace"), "{text:?}: {error}");
        }
    }

    #[test]
    fn long_lines_are_passed_over_without_being_kept() {
        let mut text = vec![b'x'; 3 << 20];
        text.extend_from_slice(b"\n0 512\n");
        text.extend_from_slice(&[b'5'; LINE_MAX_BYTES]);
        let trace = Trace::read(BufReader::with_capacity(100, &text[..])).unwrap();
        assert_eq!((trace.skipped(), trace.disks()[0].reads()), (2, 1));
        let exact = [&[b' '; LINE_MAX_BYTES - 4][..], b"1 2\n0 1\n"].concat();
        assert_eq!(Trace::read(&exact[..]).unwrap().disks()[0].reads(), 2);
    }

    #[test]
    fn disks_without_number_are_refused() {
        let text: String = (0..=DISKS_MAX).map(|disk| format!("blk_co_preadv blk {disk:#x} bs 0 offset 0 bytes 1\n")).collect();
        assert!(Trace::read(text.as_bytes()).unwrap_err().to_string().contains("line 1025"));
    }
}
