//! DEFLATE (RFC 1951) of small data with a preset dictionary, with the very choices that zlib makes at level 9.
//!
//! Any deflater makes a stream that any inflater reads. But the stores that AWS and python-uefivars write are zlib's, and whoever
//! compares two of them compares text: equal variables are to give equal bytes. zlib-rs, which everything else here uses, follows
//! zlib-ng and finds other matches (the published store: as long, other bytes from its first block on). So the choices are made here:
//!
//! - matches ([`Matcher`]): chains of positions with the same first three bytes, newest first, at most 4,096 (a quarter where the
//!   match before has 32 bytes); the longest wins, the nearest of equal ones; a match waits for a longer one that begins a byte
//!   later; three bytes from farther than 4,096 are not worth a match;
//! - blocks (`blocks.rs`): 16,383 symbols each, stored, with fixed or with dynamic codes, whichever is shortest;
//! - code lengths (`huffman.rs`): ties go to the shallower tree.
//!
//! The first byte of the dictionary is never matched: zlib's position 0 means "none".
//!
//! It is written for the some 50 KB that fit in an AMI: positions are kept for all of the data, not for a window.

mod blocks;
mod huffman;

use crate::units::index_of;
use blocks::{BlockWriter, Symbol};

/// The farthest a match reaches back: the window of 32 KiB without the longest match and what zlib looks ahead.
const DISTANCE_MAX: usize = 32_768 - 262;
/// The shortest and the longest match.
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 258;
/// Candidates that are looked at, and so many where the match before is at least [`MATCH_GOOD`].
const CHAIN_MAX: usize = 4096;
const MATCH_GOOD: usize = 32;
/// Matches of three bytes from farther than this cost more than three literals.
const TOO_FAR: usize = 4096;
/// No position.
const NONE: usize = 0;

/// `data` as a raw DEFLATE stream, for an inflater that has `dictionary` (at most 32 KiB) in its window.
pub(super) fn deflate(dictionary: &[u8], data: &[u8]) -> Vec<u8> {
    assert!(dictionary.len() <= DISTANCE_MAX, "a dictionary of {} bytes", dictionary.len());
    let mut matcher = Matcher::new(dictionary, data);
    let mut writer = BlockWriter::new();
    let start = dictionary.len();
    let mut at = start;
    let mut block_start = start;
    // The match that begins one byte before `at`, and whether that byte still waits for its symbol.
    let (mut length, mut from, mut waiting) = (MATCH_MIN - 1, NONE, false);
    while at < matcher.bytes.len() {
        let head = matcher.insert(at);
        let before = (length, from);
        length = MATCH_MIN - 1;
        if head != NONE && before.0 < MATCH_MAX && at - head <= DISTANCE_MAX {
            (length, from) = matcher.longest(at, head, before);
            if length == MATCH_MIN && at - from > TOO_FAR {
                length = MATCH_MIN - 1;
            }
        }
        let mut full = false;
        if before.0 >= MATCH_MIN && length <= before.0 {
            full = writer.push(Symbol::Match { length: before.0, distance: at - 1 - before.1 });
            let end = at - 1 + before.0;
            for position in at + 1..end {
                matcher.insert(position);
            }
            at = end;
            (length, waiting) = (MATCH_MIN - 1, false);
        } else {
            if waiting {
                full = writer.push(Symbol::Literal(matcher.bytes[at - 1]));
            }
            waiting = true;
            at += 1;
        }
        if full {
            // The byte that waits belongs to the next block.
            let end = at - usize::from(waiting);
            writer.flush(&matcher.bytes[block_start..end], false);
            block_start = end;
        }
    }
    if waiting {
        writer.push(Symbol::Literal(matcher.bytes[at - 1]));
    }
    writer.flush(&matcher.bytes[block_start..], true);
    writer.finish()
}

/// What was seen, by its first three bytes.
struct Matcher {
    /// The dictionary and the data behind it.
    bytes: Vec<u8>,
    /// The newest position of each hash, and the one before each position.
    heads: Vec<usize>,
    before: Vec<usize>,
}

impl Matcher {
    fn new(dictionary: &[u8], data: &[u8]) -> Self {
        let bytes = [dictionary, data].concat();
        let mut matcher = Self { before: vec![NONE; bytes.len()], bytes, heads: vec![NONE; 1 << 15] };
        for position in 0..dictionary.len() {
            matcher.insert(position);
        }
        matcher
    }

    /// Enters the position; gives the newest one before it with the same three bytes.
    fn insert(&mut self, position: usize) -> usize {
        let Some([a, b, c]) = self.bytes.get(position..position + MATCH_MIN) else { return NONE };
        let hash = (u32::from(*a) << 10 ^ u32::from(*b) << 5 ^ u32::from(*c)) & 0x7fff;
        let head = &mut self.heads[index_of(hash)];
        let previous = *head;
        self.before[position] = previous;
        *head = position;
        previous
    }

    /// The longest match at `at` among `head` and those before it that is longer than `before`, which is given back where there is none.
    fn longest(&self, at: usize, head: usize, before: (usize, usize)) -> (usize, usize) {
        let ahead = &self.bytes[at..];
        let (mut best, mut from) = before;
        let enough = ahead.len().min(MATCH_MAX);
        if best >= enough {
            return (enough, from);
        }
        let limit = at.saturating_sub(DISTANCE_MAX);
        let mut chain = if best >= MATCH_GOOD { CHAIN_MAX / 4 } else { CHAIN_MAX };
        let mut candidate = head;
        loop {
            let there = &self.bytes[candidate..];
            // Few candidates are longer: those are told by the bytes at their end.
            if there[best] == ahead[best] && there[best - 1] == ahead[best - 1] {
                let length = there.iter().zip(&ahead[..enough]).take_while(|(a, b)| a == b).count();
                if length > best {
                    (best, from) = (length, candidate);
                    if length >= enough {
                        break;
                    }
                }
            }
            candidate = self.before[candidate];
            chain -= 1;
            if candidate <= limit || chain == 0 {
                break;
            }
        }
        (best, from)
    }
}

/// The checksum of a zlib stream (RFC 1950, section 8.2).
pub(super) fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

/// Bits, the first in the lowest place.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.pending |= u64::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            let [low, ..] = self.pending.to_le_bytes();
            self.bytes.push(low);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Goes on at a whole byte.
    fn align(&mut self) {
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler_is_that_of_the_rfc() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn what_is_deflated_is_inflated() {
        let dictionary = b"abcdefghijklmnop, and what is often said";
        let noise: Vec<u8> = (0..60_000_u32).map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 13).to_be_bytes()[0]).collect();
        for data in [&b""[..], b"a", b"ab", b"what is often said, and abcdefg", &[7; 40_000], &noise, &[&noise[..], &[0; 70_000], &noise[..40_000]].concat()] {
            let stream = deflate(dictionary, data);
            let mut inflate = flate2::Decompress::new(false);
            inflate.set_dictionary(dictionary).unwrap();
            let mut out = Vec::with_capacity(data.len() + 1);
            let status = inflate.decompress_vec(&stream, &mut out, flate2::FlushDecompress::Finish).unwrap();
            assert_eq!(status, flate2::Status::StreamEnd);
            assert!(out == data, "{} bytes", data.len());
        }
    }
}
