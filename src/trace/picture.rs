//! The disk in characters: what was read of it, and what is there besides.

use super::map::ImageMap;
use super::read::TracedDisk;
use crate::units::{BLOCK_BYTES, Size, u64_of, usize_of};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Characters in a row: a row of blocks is 32 MiB.
const COLUMNS: u64 = 64;
/// Rows, at most.
const ROWS_MAX: u64 = 64;

/// A row of 64 characters for each stretch of the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Picture {
    /// Blocks of 512 KiB that a character stands for: a power of two, so that there are at most 64 rows.
    pub blocks_per_character: u64,
    /// `#` all that is used was read, `+` a part of it, `o` used and not read, `.` unused.
    pub rows: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    used: u64,
    used_read: u64,
    read: u64,
}

impl Cell {
    fn character(self) -> char {
        match self {
            Self { used: 1.., used_read, .. } if used_read == self.used => '#',
            Self { read: 1.., .. } => '+',
            Self { used: 1.., .. } => 'o',
            Self { .. } => '.',
        }
    }
}

impl Picture {
    pub(super) fn of(map: &ImageMap, disk: &TracedDisk) -> Self {
        let blocks = map.size_bytes().div_ceil(BLOCK_BYTES).max(1);
        let blocks_per_character = blocks.div_ceil(COLUMNS * ROWS_MAX).next_power_of_two();
        let cell_bytes = blocks_per_character * BLOCK_BYTES;
        let mut cells = vec![Cell::default(); usize_of(blocks.div_ceil(blocks_per_character))];
        map.each(&(0..map.size_bytes()), &mut |piece, owner, _| {
            if owner.is_used() {
                spread(&mut cells, cell_bytes, &piece, |cell, bytes| cell.used += bytes);
            }
        });
        for range in disk.read().iter() {
            let range = range.start..range.end.min(map.size_bytes());
            map.each(&range, &mut |piece, owner, _| {
                spread(&mut cells, cell_bytes, &piece, |cell, bytes| {
                    cell.read += bytes;
                    cell.used_read += if owner.is_used() { bytes } else { 0 };
                });
            });
        }
        let rows = cells.chunks(usize_of(COLUMNS)).map(|row| row.iter().map(|cell| cell.character()).collect()).collect();
        Self { blocks_per_character, rows }
    }
}

/// Gives each cell its part of a piece.
fn spread(cells: &mut [Cell], cell_bytes: u64, piece: &Range<u64>, mut add: impl FnMut(&mut Cell, u64)) {
    let mut at = piece.start;
    while at < piece.end {
        let number = at / cell_bytes;
        let end = piece.end.min((number + 1).saturating_mul(cell_bytes));
        if let Some(cell) = cells.get_mut(usize_of(number)) {
            add(cell, end - at);
        }
        at = end;
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let character = Size::bytes(self.blocks_per_character * BLOCK_BYTES);
        writeln!(f, "a character is {character}: # all that is used was read, + a part of it, o used and not read, . unused")?;
        let row_bytes = self.blocks_per_character * BLOCK_BYTES * COLUMNS;
        let mut empty = 0;
        for (number, row) in (0_u64..).zip(&self.rows) {
            empty = if row.bytes().all(|byte| byte == b'.') { empty + 1 } else { 0 };
            let is_last = number + 1 == u64_of(self.rows.len());
            match empty {
                // As hexdump shows what goes on as before.
                2 if !is_last => writeln!(f, "{:>10}", "*")?,
                2.. if !is_last => {}
                _ => writeln!(f, "{:>10}  {row}", Size::bytes(number * row_bytes).exact())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_say_what_was_read() {
        for (used, used_read, read, shown) in [(0, 0, 0, '.'), (9, 0, 0, 'o'), (9, 3, 3, '+'), (9, 9, 9, '#'), (9, 9, 12, '#'), (0, 0, 5, '+'), (9, 0, 5, '+')]
        {
            assert_eq!(Cell { used, used_read, read }.character(), shown);
        }
    }

    #[test]
    fn pieces_are_spread_over_cells() {
        let mut cells = vec![Cell::default(); 3];
        spread(&mut cells, 10, &(5..25), |cell, bytes| cell.used += bytes);
        spread(&mut cells, 10, &(29..40), |cell, bytes| cell.used += bytes);
        assert_eq!(cells.iter().map(|cell| cell.used).collect::<Vec<_>>(), [5, 10, 6]);
    }

    #[test]
    fn unused_rows_are_told_once() {
        let row = |character: &str| character.repeat(64);
        let rows = ["o", ".", ".", ".", "+", ".", ".", "."].map(row).to_vec();
        let picture = Picture { blocks_per_character: 2, rows };
        let text = picture.to_string();
        let lines: Vec<&str> = text.lines().map(|line| line.trim_start().split(' ').next().unwrap()).collect();
        assert_eq!(lines, ["a", "0", "64", "*", "256", "320", "*", "448"]);
    }
}
