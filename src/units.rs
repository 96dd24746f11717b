//! Sizes, block and sector numbers, and the rounding between them.

use crate::error::{Error, Result};
use crate::text::Text;
use std::fmt;
use std::str::FromStr;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("rootvol plans disks of many TiB and needs a 64-bit target");

/// Bytes in a block of the EBS direct API: the unit of streaming, hashing and comparing.
pub const BLOCK_BYTES: u64 = 512 * 1024;
/// [`BLOCK_BYTES`] for slices.
pub const BLOCK_LEN: usize = 512 * 1024;
/// Bytes in a KiB.
pub const KIB: u64 = 1024;
/// Bytes in a MiB.
pub const MIB: u64 = 1024 * KIB;
/// Bytes in a GiB.
pub const GIB: u64 = 1024 * MIB;
/// Bytes in a TiB.
pub const TIB: u64 = 1024 * GIB;

/// A `usize` as `u64`.
#[must_use]
#[expect(clippy::as_conversions, reason = "targets are 64-bit (see the compile_error above), so nothing is lost")]
pub const fn u64_of(value: usize) -> u64 {
    value as u64
}

/// A `u64` as `usize`.
#[must_use]
#[expect(clippy::as_conversions, reason = "targets are 64-bit (see the compile_error above), so nothing is lost")]
pub const fn usize_of(value: u64) -> usize {
    value as usize
}

/// A `u32` as `usize`.
#[must_use]
#[expect(clippy::as_conversions, reason = "targets are 64-bit (see the compile_error above), so nothing is lost")]
pub const fn index_of(value: u32) -> usize {
    value as usize
}

/// The smallest multiple of `unit` that is not below `value`. Saturates at the largest multiple in a `u64`.
#[must_use]
pub const fn align_up(value: u64, unit: u64) -> u64 {
    match value.checked_next_multiple_of(unit) {
        Some(aligned) => aligned,
        None => align_down(u64::MAX, unit),
    }
}

/// The largest multiple of `unit` that is not above `value`.
#[must_use]
pub const fn align_down(value: u64, unit: u64) -> u64 {
    value - value % unit
}

/// The number of a 512-KiB block of the disk: its byte offset divided by [`BLOCK_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex(pub u64);

impl BlockIndex {
    /// The offset of the block's first byte on the disk.
    #[must_use]
    pub const fn offset_bytes(self) -> u64 {
        self.0 * BLOCK_BYTES
    }
}

/// A logical block address: the number of a sector of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lba(pub u64);

/// The number of a file's contents in the content store of one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub u32);

/// A size in bytes that reads and prints with binary units: `"8 GiB"`, `"512 B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

impl Size {
    /// A size of `bytes`.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `count` MiB; saturates.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(MIB))
    }

    /// A size of `count` GiB; saturates.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count.saturating_mul(GIB))
    }

    /// The size in bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// The size in the largest unit that leaves no fraction: unlike `Display`, which people are shown, it rounds nothing.
    #[must_use]
    pub fn exact(self) -> String {
        let (name, factor) = UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)).unwrap_or(&UNITS[4]);
        format!("{} {name}", self.0 / factor)
    }
}

impl serde::Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact())
    }
}

impl<'de> serde::Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::new("a size with its unit, such as \"8 GiB\""))
    }
}

/// Units in which sizes are read, largest first. Decimal units are refused: disks are made of powers of two.
const UNITS: [(&str, u64); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

impl FromStr for Size {
    type Err = Error;

    /// Reads `"8 GiB"`, `"8GiB"`, `"1.5 GiB"`, `"512 B"`.
    ///
    /// # Errors
    /// A size without unit, with a decimal unit, that is no whole number of bytes, or over 2^64 bytes.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is not a size: a number and one of B, KiB, MiB, GiB, TiB was expected, such as \"8 GiB\""));
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim_start();
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let mut bytes = whole.checked_mul(factor).ok_or_else(bad)?;
        if number.contains('.') {
            let digits = u32::try_from(fraction.len()).map_err(|_| bad())?;
            let scale = 10_u64.checked_pow(digits).filter(|_| digits > 0).ok_or_else(bad)?;
            let part = u128::from(fraction.parse::<u64>().map_err(|_| bad())?) * u128::from(factor);
            if part % u128::from(scale) != 0 {
                return Err(bad());
            }
            let part = u64::try_from(part / u128::from(scale)).map_err(|_| bad())?;
            bytes = bytes.checked_add(part).ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Size {
    /// The largest unit that gives at least 1, with one decimal where it is not whole (`"1.5 GiB"`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = UNITS.iter().find(|(_, factor)| self.0 >= *factor).unwrap_or(&UNITS[4]);
        let tenths = (u128::from(self.0) * 10 + u128::from(*factor) / 2) / u128::from(*factor);
        let text = if tenths % 10 == 0 { format!("{} {name}", tenths / 10) } else { format!("{}.{} {name}", tenths / 10, tenths % 10) };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("8 GiB", 8 * GIB, "8 GiB"),
            ("8GiB", 8 * GIB, "8 GiB"),
            ("1.5 GiB", GIB + GIB / 2, "1.5 GiB"),
            ("512 B", 512, "512 B"),
            ("0 B", 0, "0 B"),
            ("64 TiB", 64 * TIB, "64 TiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.as_bytes(), bytes, "{text}");
            assert_eq!(size.to_string(), printed);
        }
    }

    #[test]
    fn exact_sizes_are_read_back() {
        for (bytes, text) in
            [(0, "0 B"), (1, "1 B"), (1025, "1025 B"), (3 * KIB, "3 KiB"), (GIB + MIB, "1025 MiB"), (TIB, "1 TiB"), (u64::MAX, "18446744073709551615 B")]
        {
            assert_eq!(Size::bytes(bytes).exact(), text);
            assert_eq!(text.parse::<Size>().unwrap(), Size::bytes(bytes));
        }
    }

    #[test]
    fn sizes_without_unit_or_beyond_u64_are_refused() {
        for text in ["8", "", "GiB", "8 GB", "8 gib", "-1 GiB", "1.2.3 GiB", "1. GiB", "0.3 B", "17179869184 GiB", "1e3 MiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn alignment_rounds_and_saturates() {
        assert_eq!((align_up(0, 512), align_up(1, 512), align_up(512, 512)), (0, 512, 512));
        assert_eq!(align_down(1023, 512), 512);
        assert_eq!(align_up(u64::MAX, 512), align_down(u64::MAX, 512));
    }
}
