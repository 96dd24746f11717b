//! Blocks (RFC 1951, section 3.2.3): which of the three kinds each is, and its bits.

use super::huffman::{self, Code};
use super::{Bits, MATCH_MAX};
use crate::units::u64_of;

/// Symbols in a block: zlib's buffer of 16,384 without the last place.
const SYMBOLS_MAX: usize = 16_383;
/// The symbol that ends a block.
const END: usize = 256;
/// Symbols of the three alphabets.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const LENGTHS: usize = 19;
/// The order in which the lengths of the third alphabet's codes are written (section 3.2.7).
const ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The shortest match of each length symbol from 257 on (section 3.2.5).
const LENGTH_BASE: [usize; 29] = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, MATCH_MAX];

/// A byte, or a copy of bytes before it.
#[derive(Clone, Copy)]
pub(super) enum Symbol {
    Literal(u8),
    Match { length: usize, distance: usize },
}

impl Symbol {
    /// Its symbol, and its extra bits: how many, and which.
    fn literal(self) -> (usize, u32, u32) {
        match self {
            Self::Literal(byte) => (usize::from(byte), 0, 0),
            Self::Match { length, .. } => {
                let at = LENGTH_BASE.partition_point(|base| *base <= length) - 1;
                (257 + at, length_extra(257 + at), small(length - LENGTH_BASE[at]))
            }
        }
    }

    /// The symbol of its distance and its extra bits.
    fn distance(self) -> Option<(usize, u32, u32)> {
        let Self::Match { distance, .. } = self else { return None };
        let at = (0..DISTANCES).rev().find(|at| distance_base(*at) <= distance).expect("distances begin at 1");
        Some((at, distance_extra(at), small(distance - distance_base(at))))
    }
}

fn small(value: usize) -> u32 {
    u32::try_from(value).expect("lengths and distances are below 2^15")
}

/// Extra bits of a symbol of the first alphabet: one more for each four lengths, none for the longest.
fn length_extra(symbol: usize) -> u32 {
    match symbol {
        265..=284 => small((symbol - 261) / 4),
        _ => 0,
    }
}

/// Extra bits of a distance.
fn distance_extra(symbol: usize) -> u32 {
    small((symbol / 2).saturating_sub(1))
}

fn distance_base(symbol: usize) -> usize {
    if symbol < 4 { symbol + 1 } else { ((2 + symbol % 2) << distance_extra(symbol)) + 1 }
}

/// Extra bits of the third alphabet.
fn run_extra(symbol: usize) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// The fixed codes (section 3.2.6).
fn fixed() -> (Vec<u8>, Vec<u8>) {
    let literals = (0..288).map(|symbol| match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    });
    (literals.collect(), vec![5; DISTANCES])
}

/// Gathers symbols and writes blocks.
pub(super) struct BlockWriter {
    bits: Bits,
    symbols: Vec<Symbol>,
}

impl BlockWriter {
    pub(super) fn new() -> Self {
        Self { bits: Bits::default(), symbols: Vec::new() }
    }

    /// Adds a symbol; says whether the block is full.
    pub(super) fn push(&mut self, symbol: Symbol) -> bool {
        self.symbols.push(symbol);
        self.symbols.len() == SYMBOLS_MAX
    }

    /// Writes the block whose symbols stand for `bytes`.
    pub(super) fn flush(&mut self, bytes: &[u8], last: bool) {
        let mut literals = [0; LITERALS];
        let mut distances = [0; DISTANCES];
        literals[END] = 1;
        for symbol in &self.symbols {
            literals[symbol.literal().0] += 1;
            if let Some((distance, ..)) = symbol.distance() {
                distances[distance] += 1;
            }
        }
        let cost = |(a, b): (&[u8], &[u8])| huffman::cost(&literals, a, length_extra) + huffman::cost(&distances, b, distance_extra);
        let codes = (huffman::code(&literals, 15), huffman::code(&distances, 15));
        let header = Header::new(&codes.0, &codes.1);
        let fixed = fixed();
        // Three bits for the kind.
        let dynamic_bytes = (cost((&codes.0.lengths, &codes.1.lengths)) + header.cost() + 3).div_ceil(8);
        let fixed_bytes = (cost((&fixed.0, &fixed.1)) + 3).div_ceil(8);
        let kind = |kind: u32| kind << 1 | u32::from(last);
        if let Some(length) = u16::try_from(bytes.len()).ok().filter(|_| u64_of(bytes.len()) + 4 <= dynamic_bytes.min(fixed_bytes)) {
            self.bits.push(kind(0), 3);
            self.bits.align();
            self.bits.push(u32::from(length), 16);
            self.bits.push(u32::from(!length), 16);
            bytes.iter().for_each(|byte| self.bits.push(u32::from(*byte), 8));
        } else if fixed_bytes <= dynamic_bytes {
            self.bits.push(kind(1), 3);
            self.write(&fixed.0, &fixed.1);
        } else {
            self.bits.push(kind(2), 3);
            header.write(&mut self.bits);
            self.write(&codes.0.lengths, &codes.1.lengths);
        }
        self.symbols.clear();
    }

    fn write(&mut self, literals: &[u8], distances: &[u8]) {
        let (literal_bits, distance_bits) = (huffman::bits(literals), huffman::bits(distances));
        for symbol in &self.symbols {
            let (literal, count, extra) = symbol.literal();
            self.bits.push(literal_bits[literal], u32::from(literals[literal]));
            self.bits.push(extra, count);
            if let Some((distance, count, extra)) = symbol.distance() {
                self.bits.push(distance_bits[distance], u32::from(distances[distance]));
                self.bits.push(extra, count);
            }
        }
        self.bits.push(literal_bits[END], u32::from(literals[END]));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bits.align();
        self.bits.bytes
    }
}

/// What a block with dynamic codes begins with (section 3.2.7).
struct Header {
    literals: usize,
    distances: usize,
    runs: Vec<(usize, u32, u32)>,
    code: Code,
    frequencies: [u32; LENGTHS],
    /// How many lengths of the third alphabet are written.
    written: usize,
}

impl Header {
    fn new(literals: &Code, distances: &Code) -> Self {
        let mut runs = huffman::runs(&literals.lengths[..literals.used]);
        runs.extend(huffman::runs(&distances.lengths[..distances.used]));
        let mut frequencies = [0; LENGTHS];
        runs.iter().for_each(|(symbol, ..)| frequencies[*symbol] += 1);
        let code = huffman::code(&frequencies, 7);
        let last = ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0).unwrap_or(0);
        Self { literals: literals.used, distances: distances.used, runs, code, frequencies, written: last.max(3) + 1 }
    }

    fn cost(&self) -> u64 {
        huffman::cost(&self.frequencies, &self.code.lengths, run_extra) + 3 * u64_of(self.written) + 14
    }

    fn write(&self, bits: &mut Bits) {
        bits.push(small(self.literals - 257), 5);
        bits.push(small(self.distances - 1), 5);
        bits.push(small(self.written - 4), 4);
        for symbol in &ORDER[..self.written] {
            bits.push(u32::from(self.code.lengths[*symbol]), 3);
        }
        let codes = huffman::bits(&self.code.lengths);
        for (symbol, extra, count) in &self.runs {
            bits.push(codes[*symbol], u32::from(self.code.lengths[*symbol]));
            bits.push(*extra, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951, section 3.2.5.
    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_rfc() {
        let symbols = |length, distance| {
            let symbol = Symbol::Match { length, distance };
            (symbol.literal(), symbol.distance().unwrap())
        };
        assert_eq!(symbols(3, 1), ((257, 0, 0), (0, 0, 0)));
        assert_eq!(symbols(12, 6), ((265, 1, 1), (4, 1, 1)));
        assert_eq!(symbols(257, 32_768), ((284, 5, 30), (29, 13, 8191)));
        assert_eq!(symbols(258, 24_577), ((285, 0, 0), (29, 13, 0)));
        assert_eq!(symbols(10, 4), ((264, 0, 0), (3, 0, 0)));
        assert_eq!(distance_extra(29), 13);
    }
}
