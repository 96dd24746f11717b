//! What a caller decides of an ext4 filesystem; everything else follows from the tree.

use super::features::{Feature, Features};
use crate::error::{Error, Result};
use crate::fs::OrderedPath;
use crate::guid::Guid;
use crate::text::text_form;
use crate::tree::Timestamp;
use crate::units::Size;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The longest label: `s_volume_name` in the superblock.
pub const LABEL_MAX_BYTES: usize = 16;
/// Share of blocks that only root may use, unless asked otherwise: what mke2fs takes.
pub const RESERVED_DEFAULT: Percent = Percent::whole(5);
/// The largest share of reserved blocks: mke2fs takes no more either.
pub const RESERVED_MAX: Percent = Percent::whole(50);
/// The smallest journal that the kernel takes (`JBD2_MIN_JOURNAL_BLOCKS`), in blocks.
pub const JOURNAL_MIN_BLOCKS: u64 = 1024;
/// The largest journal that mke2fs makes, in blocks.
pub const JOURNAL_MAX_BLOCKS: u64 = 10_240_000;
/// The smallest `bytes_per_inode`, in sizes of an inode: tables never take over a quarter. For inodes of 256 bytes this is mke2fs's
/// limit of 1,024 bytes.
pub const BYTES_PER_INODE_MIN_INODES: u32 = 4;
/// The largest `bytes_per_inode`: mke2fs's limit.
pub const BYTES_PER_INODE_MAX: u32 = 64 << 20;

/// How an ext4 filesystem is to be made. [`Options::new`] gives what `mke2fs -t ext4` would choose; change its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Bytes in a block: 4096 (the default), 2048 or 1024.
    pub block_bytes: u32,
    /// Bytes in an inode: 256 (the default), 512 or 1024; what is over 160 holds xattrs. With 128 bytes, for old readers, times are to the
    /// second and end in 2038.
    pub inode_bytes: u16,
    /// The features.
    pub features: Features,
    /// Blocks in a group, a multiple of 8, from [`super::geometry::BLOCKS_PER_GROUP_MIN`] to eight times the bytes of a block, which is
    /// also the default.
    pub blocks_per_group: Option<u32>,
    /// The size of the filesystem. The default is the smallest with no free space asked for.
    pub size: SizeRequest,
    /// The journal. The default is [`Journal::Auto`].
    pub journal: Journal,
    /// The share of blocks that only root and the reserved owner may use.
    pub reserved: Percent,
    /// User and group who may take the reserved blocks.
    pub reserved_owner: (u16, u16),
    /// The label, at most [`LABEL_MAX_BYTES`] bytes; empty for none.
    pub label: Vec<u8>,
    /// The filesystem's UUID. All metadata checksums start from it.
    pub uuid: Guid,
    /// The seed of directory hashes.
    pub hash_seed: Guid,
    /// At least this many inodes in all, in place of what `bytes_per_inode` would give.
    pub inodes: Option<u64>,
    /// One inode for so many bytes of the filesystem, at least four times its own size; `None` for mke2fs's 16,384 (32,768 from 4 TiB, 65,536 from 16 TiB).
    /// There are never fewer inodes than the tree needs and a headroom (see [`super::geometry`]).
    pub bytes_per_inode: Option<u32>,
    /// The build's own time: of the making, the last write and check, and of what the writer adds (`lost+found`).
    pub epoch: Timestamp,
    /// Leave the inode tables of unused groups to the kernel: it zeroes them in the background after the first mount.
    /// `false` (the default) declares them as zeros: no work at first boot, but blocks that an upload must carry.
    pub lazy_inode_tables: bool,
    /// Paths of files whose holes are allocated, as unwritten extents: they read as zero and are not uploaded, and writing into them
    /// later neither needs space nor parts the file (swap files, databases).
    pub preallocate: Vec<Vec<u8>>,
    /// What is read first at boot, in this order.
    pub order: Vec<OrderedPath>,
}

impl Options {
    /// The defaults, with these identifiers and this time.
    #[must_use]
    pub fn new(uuid: Guid, hash_seed: Guid, epoch: Timestamp) -> Self {
        Self {
            block_bytes: 4096,
            inode_bytes: 256,
            features: Features::default(),
            blocks_per_group: None,
            size: SizeRequest::Minimum { free_bytes: 0 },
            journal: Journal::Auto,
            reserved: RESERVED_DEFAULT,
            reserved_owner: (0, 0),
            label: Vec::new(),
            uuid,
            hash_seed,
            inodes: None,
            bytes_per_inode: None,
            epoch,
            lazy_inode_tables: false,
            preallocate: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Checks the features against each other and against what else was asked for.
    fn check_features(&self) -> Result<()> {
        let features = self.features;
        features.check()?;
        let refused = |message: String| Err(Error::invalid(message));
        if let Some(feature) = [Feature::InlineData, Feature::Project].into_iter().find(|feature| features.has(*feature) && self.inode_bytes == 128) {
            return refused(format!("the ext4 feature {feature} needs inodes of at least 256 bytes"));
        }
        if !features.has(Feature::HasJournal) && matches!(self.journal, Journal::Bytes(_)) {
            return refused("a journal of a given size, and the feature has_journal left out".to_owned());
        }
        if self.lazy_inode_tables && !features.has_group_checksums() {
            return refused("inode tables left to the kernel need checksums of group descriptors: metadata_csum or uninit_bg".to_owned());
        }
        if !self.preallocate.is_empty() && !features.has(Feature::Extent) {
            return refused("blocks allocated beforehand need the feature extent".to_owned());
        }
        let most = self.block_bytes * 8;
        if let Some(blocks) = self.blocks_per_group
            && (!(super::geometry::BLOCKS_PER_GROUP_MIN..=most).contains(&blocks) || blocks % 8 != 0)
        {
            return refused(format!("block groups of {blocks} blocks; multiples of 8 from {} to {most} are possible", super::geometry::BLOCKS_PER_GROUP_MIN));
        }
        Ok(())
    }

    /// Checks what does not depend on a tree.
    ///
    /// # Errors
    /// A value outside of what is documented at its field.
    pub(super) fn check(&self) -> Result<()> {
        if !matches!(self.block_bytes, 1024 | 2048 | 4096) {
            return Err(Error::invalid(format!("an ext4 block size of {} bytes; 1024, 2048 and 4096 are possible", self.block_bytes)));
        }
        if !matches!(self.inode_bytes, 128 | 256 | 512 | 1024) {
            return Err(Error::invalid(format!("an ext4 inode size of {} bytes; 128, 256, 512 and 1024 are possible", self.inode_bytes)));
        }
        self.check_features()?;
        if self.label.len() > LABEL_MAX_BYTES || self.label.contains(&0) {
            return Err(Error::invalid(format!(
                "an ext4 label of {} bytes ({}); at most {LABEL_MAX_BYTES}, none of them NUL, are possible",
                self.label.len(),
                crate::error::escape(&self.label)
            )));
        }
        if self.reserved > RESERVED_MAX {
            return Err(Error::invalid(format!("{} % of the blocks reserved; at most {RESERVED_MAX} % are possible", self.reserved)));
        }
        let least_ratio = BYTES_PER_INODE_MIN_INODES * u32::from(self.inode_bytes);
        if let Some(ratio) = self.bytes_per_inode
            && !(least_ratio..=BYTES_PER_INODE_MAX).contains(&ratio)
        {
            let inode_bytes = self.inode_bytes;
            return Err(Error::invalid(format!("an inode of {inode_bytes} bytes for {ratio} bytes; {least_ratio} to {BYTES_PER_INODE_MAX} are possible")));
        }
        if self.inodes.is_some_and(|inodes| inodes > super::geometry::INODES_MAX) {
            return Err(Error::invalid(format!("over {} inodes; their numbers have 32 bits", super::geometry::INODES_MAX)));
        }
        if let Journal::Bytes(bytes) = self.journal {
            let blocks = bytes / u64::from(self.block_bytes);
            if !(JOURNAL_MIN_BLOCKS..=JOURNAL_MAX_BLOCKS).contains(&blocks) {
                return Err(Error::invalid(format!(
                    "a journal of {bytes} bytes is {blocks} blocks of {}; {JOURNAL_MIN_BLOCKS} to {JOURNAL_MAX_BLOCKS} are possible",
                    self.block_bytes
                )));
            }
        }
        // Superblock times are unsigned, of 40 bits; inode times end in 2446. The smaller range holds for both.
        if self.epoch.seconds < 0 || self.epoch.seconds > super::format::TIME_MAX_SECONDS || self.epoch.nanoseconds > 999_999_999 {
            return Err(Error::invalid(format!(
                "a build time of {} seconds; 0 (1970) to {} (2446) are possible",
                self.epoch.seconds,
                super::format::TIME_MAX_SECONDS
            )));
        }
        Ok(())
    }
}

/// How large the filesystem is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeRequest {
    /// Exactly so many bytes; what is no whole block, or too little for a last group, stays unused at the end.
    Exact(u64),
    /// As [`SizeRequest::Exact`], with this much available besides what the tree takes, counted as for the minimum. It can be met
    /// for every size from that of the minimum with the same `free_bytes` on.
    ExactWithFree {
        /// Bytes of the filesystem.
        size_bytes: u64,
        /// Bytes available to ordinary users in the finished filesystem.
        free_bytes: u64,
    },
    /// The smallest filesystem that holds the tree and has this much available, as `df` shows it: free blocks less the
    /// reserved ones, at least 0. (The running kernel keeps up to 16 MiB of these for its own emergencies.)
    /// It is the filesystem that [`SizeRequest::Exact`] of its size gives.
    Minimum {
        /// Bytes available to ordinary users in the finished filesystem.
        free_bytes: u64,
    },
}

/// The journal. Its text form is `auto`, `none` or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journal {
    #[default]
    /// As large as mke2fs makes it for this number of blocks: none under 2,048 blocks, then 1,024 to 262,144. In a filesystem of
    /// exact size that would be too small then, the next smaller one of these that lets everything fit.
    Auto,
    /// No journal.
    None,
    /// Of so many bytes, rounded down to blocks.
    Bytes(u64),
}

impl FromStr for Journal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ => text.parse::<Size>().map(|size| Self::Bytes(size.as_bytes())),
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::None => f.pad("none"),
            Self::Bytes(bytes) => f.pad(&Size::bytes(*bytes).exact()),
        }
    }
}

text_form!(Journal, "\"auto\", \"none\" or a size with its unit, such as \"64 MiB\"");

/// A percentage with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    hundredths: u16,
}

impl Percent {
    /// `percent` per cent; saturates over 655.
    #[must_use]
    pub const fn whole(percent: u16) -> Self {
        Self { hundredths: percent.saturating_mul(100) }
    }

    /// Hundredths of a per cent: 50 is 0.5 %.
    #[must_use]
    pub const fn hundredths(hundredths: u16) -> Self {
        Self { hundredths }
    }

    /// This share of `count`, rounded down.
    #[must_use]
    pub fn of(self, count: u64) -> u64 {
        let share = u128::from(count) * u128::from(self.hundredths) / 10_000;
        // At most 655.36 times a u64; callers have checked for 50 %.
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Percent {
    /// `5`, `0.5`, `2.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.hundredths / 100, self.hundredths % 100);
        let text = match rest {
            0 => format!("{whole}"),
            _ if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
            _ => format!("{whole}.{rest:02}"),
        };
        f.pad(&text)
    }
}

impl FromStr for Percent {
    type Err = Error;

    /// Reads `5`, `0.5`, `2.25`, with at most two decimals and without a sign.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is no percentage: a number from 0 to 100 with at most two decimals was expected"));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
            return Err(bad());
        }
        let whole: u16 = whole.parse().map_err(|_| bad())?;
        let scale = if decimals.len() == 1 { 10 } else { 1 };
        let decimals: u16 = decimals.parse().map_err(|_| bad())?;
        let hundredths = whole.checked_mul(100).and_then(|hundredths| hundredths.checked_add(decimals * scale)).filter(|hundredths| *hundredths <= 10_000);
        hundredths.map(Self::hundredths).ok_or_else(bad)
    }
}

/// A number in recipes: an integer, or a float of at most two decimals.
impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.hundredths.is_multiple_of(100) {
            serializer.serialize_u16(self.hundredths / 100)
        } else {
            serializer.serialize_f64(f64::from(self.hundredths) / 100.0)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage from 0 to 100 with at most two decimals")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Percent, E> {
                value.to_string().parse().map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Percent, E> {
                value.to_string().parse().map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Percent, E> {
                // A float prints as the shortest decimal that reads back as itself, so 0.29 is "0.29" here.
                value.to_string().parse().map_err(|_| E::invalid_value(de::Unexpected::Float(value), &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new(Guid::from_name("test"), Guid::from_name("hash"), Timestamp::from_seconds(946_684_800))
    }

    #[test]
    fn percentages_read_print_and_round_down() {
        for (text, hundredths, printed) in
            [("5", 500, "5"), ("0.5", 50, "0.5"), ("2.25", 225, "2.25"), ("0", 0, "0"), ("100", 10_000, "100"), ("1.05", 105, "1.05")]
        {
            let percent: Percent = text.parse().unwrap();
            assert_eq!((percent, percent.to_string().as_str()), (Percent::hundredths(hundredths), printed));
        }
        for text in ["", "-1", "5%", "1.", ".5", "1.234", "101", "100.01", "1e1", "٣"] {
            assert!(text.parse::<Percent>().is_err(), "{text:?}");
        }
        assert_eq!(Percent::whole(5).of(262_144), 13_107);
        assert_eq!(Percent::whole(50).of(u64::MAX), u64::MAX / 2);
    }

    #[test]
    fn options_outside_the_limits_are_refused() {
        options().check().unwrap();
        let changes: [fn(&mut Options); 14] = [
            |o| o.block_bytes = 8192,
            |o| o.block_bytes = 0,
            |o| o.inode_bytes = 64,
            |o| o.label = vec![b'x'; 17],
            |o| o.label = b"a\0b".to_vec(),
            |o| o.reserved = Percent::hundredths(5001),
            |o| o.bytes_per_inode = Some(1023),
            |o| o.journal = Journal::Bytes(4096 * 1023),
            |o| o.journal = Journal::Bytes(u64::MAX),
            |o| o.epoch = Timestamp::from_seconds(-1),
            |o| o.epoch.nanoseconds = 1_000_000_000,
            |o| o.blocks_per_group = Some(248),
            |o| o.blocks_per_group = Some(32_776),
            |o| o.features = o.features.without(Feature::ExtAttr),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut options = options();
            change(&mut options);
            assert!(options.check().is_err(), "change {at} was accepted");
        }
    }
}
