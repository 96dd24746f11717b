//! Which features a filesystem has: sets by name, and single flags by mke2fs's names, `^` in front to leave one out.
//!
//! | set | what it is |
//! |---|---|
//! | `default` | `mke2fs -t ext4` 1.47: what GRUB 2.06, Debian 12, Ubuntu 22.04 and Amazon Linux 2023 read |
//! | `ext2` | `mke2fs -t ext2`: block maps, no journal, no checksums |
//! | `ext3` | `ext2` with a journal |
//! | `modern` | `default` with metadata_csum_seed (the UUID may change while mounted) and orphan_file (parallel deletes): Linux 5.15, e2fsprogs 1.47 |
//! | `verity` | `default` with verity, so that fs-verity can be enabled on files: Linux 5.4 |
//!
//! What follows from the size stays automatic: no resize_inode over 2^32 blocks or with meta_bg, meta_bg where descriptors would fill
//! three quarters of a group, large_dir where a directory's index needs another level, no orphan_file without a journal.

use super::format::{Superblock, compat, incompat, ro_compat};
use crate::error::{Error, Result};
use crate::text::words;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// One feature, by mke2fs's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// A journal.
    HasJournal,
    /// Extended attributes; always on.
    ExtAttr,
    /// Descriptor blocks reserved for growth.
    ResizeInode,
    /// Hash indexes of directories over one block.
    DirIndex,
    /// A file that lists deleted files still open, in place of a list through their inodes.
    OrphanFile,
    /// Directory entries carry the file's type; always on.
    Filetype,
    /// Files are mapped by extents, else by block maps.
    Extent,
    /// Block numbers of 64 bits, descriptors of 64 bytes.
    Bit64,
    /// Bitmaps and inode tables of 16 groups lie together.
    FlexBg,
    /// Descriptors lie in their own groups, not all behind the superblock.
    MetaBg,
    /// Large xattr values lie in inodes of their own: those of a set that does not fit into an inode and one block, the largest first,
    /// until the rest does. GRUB 2.06 refuses it.
    EaInode,
    /// Metadata checksums start from a number of their own.
    MetadataCsumSeed,
    /// Directories of over 2 GiB, or 3 levels of index.
    LargeDir,
    /// Directories of a few entries, and targets of symbolic links of 60 bytes and more, lie in their inodes: in `i_block` and in the
    /// room that xattrs leave. The root and lost+found do not, nor do links that have a block of xattrs or where there are quota files, and contents of files never do: planning does not know them, and the
    /// inode's checksum covers `i_block`. The kernel moves small files into their inodes when it writes them. GRUB 2.06 refuses it.
    InlineData,
    /// Backups only in groups 1 and the powers of 3, 5 and 7; always on.
    SparseSuper,
    /// Files of over 2 GiB; always on.
    LargeFile,
    /// Files of over 2 TiB.
    HugeFile,
    /// Checksums of group descriptors alone.
    UninitBg,
    /// Over 65,000 subdirectories.
    DirNlink,
    /// Inodes have fields after their first 128 bytes.
    ExtraIsize,
    /// Checksums of all metadata.
    MetadataCsum,
    /// Accounts of blocks and inodes by user and group, kept in the filesystem. Linux mounts it for writing only with its quota format
    /// "vfsv1" (`CONFIG_QFMT_V2`). Where that is a module, quota_v2, as in Debian, a root filesystem has to be mounted read-only first
    /// (`ro` in the command line), unless the initramfs has the module.
    Quota,
    /// The same by project; brings `quota` along. Without it inodes are of no project.
    Project,
    /// fs-verity may be enabled on files.
    Verity,
}

words!(
    Feature,
    "a feature of ext4",
    [
        HasJournal = "has_journal",
        ExtAttr = "ext_attr",
        ResizeInode = "resize_inode",
        DirIndex = "dir_index",
        OrphanFile = "orphan_file",
        Filetype = "filetype",
        Extent = "extent",
        Bit64 = "64bit",
        FlexBg = "flex_bg",
        MetaBg = "meta_bg",
        EaInode = "ea_inode",
        MetadataCsumSeed = "metadata_csum_seed",
        LargeDir = "large_dir",
        InlineData = "inline_data",
        SparseSuper = "sparse_super",
        LargeFile = "large_file",
        HugeFile = "huge_file",
        UninitBg = "uninit_bg",
        DirNlink = "dir_nlink",
        ExtraIsize = "extra_isize",
        MetadataCsum = "metadata_csum",
        Quota = "quota",
        Project = "project",
        Verity = "verity"
    ]
);

/// Which word of the superblock a feature's bit stands in.
enum Bit {
    Compat(u32),
    Incompat(u32),
    RoCompat(u32),
}

impl Feature {
    const fn bit(self) -> Bit {
        match self {
            Self::HasJournal => Bit::Compat(compat::HAS_JOURNAL),
            Self::ExtAttr => Bit::Compat(compat::EXT_ATTR),
            Self::ResizeInode => Bit::Compat(compat::RESIZE_INODE),
            Self::DirIndex => Bit::Compat(compat::DIR_INDEX),
            Self::OrphanFile => Bit::Compat(compat::ORPHAN_FILE),
            Self::Filetype => Bit::Incompat(incompat::FILETYPE),
            Self::Extent => Bit::Incompat(incompat::EXTENTS),
            Self::Bit64 => Bit::Incompat(incompat::BIT64),
            Self::FlexBg => Bit::Incompat(incompat::FLEX_BG),
            Self::MetaBg => Bit::Incompat(incompat::META_BG),
            Self::EaInode => Bit::Incompat(incompat::EA_INODE),
            Self::MetadataCsumSeed => Bit::Incompat(incompat::CSUM_SEED),
            Self::LargeDir => Bit::Incompat(incompat::LARGE_DIR),
            Self::InlineData => Bit::Incompat(incompat::INLINE_DATA),
            Self::SparseSuper => Bit::RoCompat(ro_compat::SPARSE_SUPER),
            Self::LargeFile => Bit::RoCompat(ro_compat::LARGE_FILE),
            Self::HugeFile => Bit::RoCompat(ro_compat::HUGE_FILE),
            Self::UninitBg => Bit::RoCompat(ro_compat::GDT_CSUM),
            Self::DirNlink => Bit::RoCompat(ro_compat::DIR_NLINK),
            Self::ExtraIsize => Bit::RoCompat(ro_compat::EXTRA_ISIZE),
            Self::MetadataCsum => Bit::RoCompat(ro_compat::METADATA_CSUM),
            Self::Quota => Bit::RoCompat(ro_compat::QUOTA),
            Self::Project => Bit::RoCompat(ro_compat::PROJECT),
            Self::Verity => Bit::RoCompat(ro_compat::VERITY),
        }
    }

    const fn mask(self) -> u32 {
        // The position among all features; there are fewer than 32.
        let mut at = 0;
        let mut mask = 1;
        while !self.same(Self::ALL[at]) {
            at += 1;
            mask <<= 1;
        }
        mask
    }

    const fn same(self, other: Self) -> bool {
        matches!((self.bit(), other.bit()), (Bit::Compat(a), Bit::Compat(b)) | (Bit::Incompat(a), Bit::Incompat(b)) | (Bit::RoCompat(a), Bit::RoCompat(b)) if a == b)
    }
}

/// Sets of features by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSet {
    /// `mke2fs -t ext4`.
    Default,
    /// `mke2fs -t ext2`.
    Ext2,
    /// `mke2fs -t ext3`.
    Ext3,
    /// `default`, metadata_csum_seed, orphan_file.
    Modern,
    /// `default`, verity.
    Verity,
}

/// Reads the name of a set. `verity` is a feature's name as well; in front it is the set.
fn set_of(word: &str) -> Option<FeatureSet> {
    match word {
        "default" | "ext4" => Some(FeatureSet::Default),
        "ext2" => Some(FeatureSet::Ext2),
        "ext3" => Some(FeatureSet::Ext3),
        "modern" => Some(FeatureSet::Modern),
        "verity" => Some(FeatureSet::Verity),
        _ => None,
    }
}

/// Features that others' filesystems have and that are not made here, with the reason.
const NOT_MADE: [(&str, &str); 8] = [
    ("casefold", "names would be compared by Unicode's rules, which the tree does not follow"),
    ("encrypt", "contents and names would need keys"),
    ("bigalloc", "clusters of several blocks are not planned"),
    ("sparse_super2", "the kernel refuses to grow such filesystems"),
    ("mmp", "no volume of one machine needs it"),
    ("fast_commit", "the kernel makes no use of it on a volume that is not told to"),
    ("journal_dev", "a root volume has its journal inside"),
    ("stable_inodes", "only encrypted files need it"),
];

/// The features of a filesystem.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features {
    mask: u32,
}

impl Default for Features {
    fn default() -> Self {
        Self::of(FeatureSet::Default)
    }
}

impl From<FeatureSet> for Features {
    fn from(set: FeatureSet) -> Self {
        Self::of(set)
    }
}

impl Features {
    /// What every set has.
    const ALWAYS: [Feature; 4] = [Feature::ExtAttr, Feature::Filetype, Feature::SparseSuper, Feature::LargeFile];

    /// The features of a set.
    #[must_use]
    pub const fn of(set: FeatureSet) -> Self {
        use Feature as F;
        let base = Self { mask: 0 }.with_all(&Self::ALWAYS).with(F::ResizeInode).with(F::DirIndex);
        match set {
            FeatureSet::Ext2 => base,
            FeatureSet::Ext3 => base.with(F::HasJournal),
            FeatureSet::Default => base.with_all(&[F::HasJournal, F::Extent, F::Bit64, F::FlexBg, F::HugeFile, F::DirNlink, F::ExtraIsize, F::MetadataCsum]),
            FeatureSet::Modern => Self::of(FeatureSet::Default).with(F::MetadataCsumSeed).with(F::OrphanFile),
            FeatureSet::Verity => Self::of(FeatureSet::Default).with(F::Verity),
        }
    }

    const fn with_all(mut self, features: &[Feature]) -> Self {
        let mut at = 0;
        while at < features.len() {
            self = self.with(features[at]);
            at += 1;
        }
        self
    }

    /// These, and `feature`.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self { mask: self.mask | feature.mask() }
    }

    /// These without `feature`.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self { mask: self.mask & !feature.mask() }
    }

    /// These with or without `feature`.
    #[must_use]
    pub const fn set(self, feature: Feature, on: bool) -> Self {
        if on { self.with(feature) } else { self.without(feature) }
    }

    /// Whether `feature` is among them.
    #[must_use]
    pub const fn has(self, feature: Feature) -> bool {
        self.mask & feature.mask() != 0
    }

    /// Whether group descriptors have checksums, without which nothing may be said to be not in use.
    pub(super) const fn has_group_checksums(self) -> bool {
        self.has(Feature::MetadataCsum) || self.has(Feature::UninitBg)
    }

    /// All features, in the order of [`Feature::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.has(*feature))
    }

    /// Reads words: a set first (`default` without one), then features that are added, or with `^` left out. A feature brings along
    /// those without which it cannot be; a contradiction is an error.
    ///
    /// # Errors
    /// A word that is none, a feature that is not made or cannot be left out, features that exclude each other.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut features = None;
        for word in words.into_iter().flat_map(|word| word.split(',')).map(str::trim) {
            if let Some(set) = set_of(word).filter(|_| features.is_none()) {
                features = Some(Self::of(set));
                continue;
            }
            let now: Self = features.unwrap_or_default();
            let (name, on) = word.strip_prefix('^').map_or((word, true), |name| (name, false));
            if let Some((_, reason)) = NOT_MADE.iter().find(|(not_made, _)| *not_made == name && on) {
                return Err(Error::unsupported(format!("the ext4 feature {name}: {reason}")));
            }
            if NOT_MADE.iter().any(|(not_made, _)| *not_made == name) {
                features = Some(now);
                continue;
            }
            let feature: Feature = if name == "extents" { Feature::Extent } else { name.parse()? };
            features = Some(if on { now.with(feature).settled(feature) } else { now.without(feature) });
        }
        let features = features.unwrap_or_default();
        features.check()?;
        Ok(features)
    }

    /// What adding `feature` brings along or takes away.
    const fn settled(self, feature: Feature) -> Self {
        match feature {
            Feature::MetaBg => self.without(Feature::ResizeInode),
            Feature::ResizeInode => self.without(Feature::MetaBg),
            Feature::UninitBg => self.without(Feature::MetadataCsum).without(Feature::MetadataCsumSeed),
            Feature::MetadataCsum => self.without(Feature::UninitBg),
            Feature::Project => self.with(Feature::Quota),
            _ => self,
        }
    }

    /// Checks that the features go together.
    ///
    /// # Errors
    /// Those that exclude each other, by name.
    pub(super) fn check(self) -> Result<()> {
        const NEEDS: [(Feature, Feature); 5] = [
            (Feature::Bit64, Feature::Extent),
            (Feature::MetadataCsumSeed, Feature::MetadataCsum),
            (Feature::OrphanFile, Feature::HasJournal),
            (Feature::Project, Feature::Quota),
            (Feature::Project, Feature::ExtraIsize),
        ];
        const EXCLUDES: [(Feature, Feature); 2] = [(Feature::MetaBg, Feature::ResizeInode), (Feature::UninitBg, Feature::MetadataCsum)];
        if let Some(missing) = Self::ALWAYS.into_iter().find(|feature| !self.has(*feature)) {
            return Err(Error::unsupported(format!("ext4 without the feature {missing}: it is always on")));
        }
        if let Some((one, other)) = NEEDS.into_iter().find(|(one, other)| self.has(*one) && !self.has(*other)) {
            return Err(Error::invalid(format!("the ext4 feature {one} needs {other}, which is left out")));
        }
        if let Some((one, other)) = EXCLUDES.into_iter().find(|(one, other)| self.has(*one) && self.has(*other)) {
            return Err(Error::invalid(format!("the ext4 features {one} and {other} exclude each other")));
        }
        Ok(())
    }

    /// `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`.
    pub(super) fn superblock_words(self) -> [u32; 3] {
        self.iter().fold([0; 3], |[compat, incompat, ro_compat], feature| match feature.bit() {
            Bit::Compat(bit) => [compat | bit, incompat, ro_compat],
            Bit::Incompat(bit) => [compat, incompat | bit, ro_compat],
            Bit::RoCompat(bit) => [compat, incompat, ro_compat | bit],
        })
    }
}

impl Features {
    /// The features that a superblock has, as far as they have a name here.
    pub(super) fn of_superblock(superblock: &Superblock) -> Self {
        let has = |feature: &Feature| match feature.bit() {
            Bit::Compat(bit) => superblock.s_feature_compat & bit != 0,
            Bit::Incompat(bit) => superblock.s_feature_incompat & bit != 0,
            Bit::RoCompat(bit) => superblock.s_feature_ro_compat & bit != 0,
        };
        Feature::ALL.into_iter().filter(has).fold(Self { mask: 0 }, Self::with)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Feature::name)).finish()
    }
}

impl fmt::Display for Features {
    /// Names with spaces between, as `dumpe2fs` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Feature::name).collect();
        f.pad(&names.join(" "))
    }
}

impl Serialize for Features {
    /// A set's name where it is one; else `default` with what is added and left out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        for (name, set) in [("default", FeatureSet::Default), ("ext2", FeatureSet::Ext2), ("ext3", FeatureSet::Ext3), ("modern", FeatureSet::Modern)] {
            if Self::of(set) == *self {
                return serializer.serialize_str(name);
            }
        }
        let default = Self::default();
        let added = Feature::ALL.into_iter().filter(|feature| self.has(*feature) && !default.has(*feature)).map(|feature| feature.name().to_owned());
        let left_out = Feature::ALL.into_iter().filter(|feature| !self.has(*feature) && default.has(*feature)).map(|feature| format!("^{feature}"));
        // What is left out first: what is added may exclude it.
        serializer.collect_seq(std::iter::once("default".to_owned()).chain(left_out).chain(added))
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Features;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a set of ext4 features (default, ext2, ext3, modern, verity), or a list of a set and features")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Features, E> {
                Features::parse([text]).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Features, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Features::parse(words.iter().map(String::as_str)).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_the_words_that_mke2fs_writes() {
        // dumpe2fs -h of mke2fs 1.47.0 -t ext4, ext3, ext2: s_feature_compat, incompat, ro_compat.
        assert_eq!(Features::default().superblock_words(), [0x3c, 0x2c2, 0x46b]);
        assert_eq!(Features::of(FeatureSet::Ext3).superblock_words(), [0x3c, 0x2, 0x3]);
        assert_eq!(Features::of(FeatureSet::Ext2).superblock_words(), [0x38, 0x2, 0x3]);
        assert_eq!(Features::of(FeatureSet::Modern).superblock_words(), [0x103c, 0x22c2, 0x46b]);
    }

    #[test]
    fn words_are_read_printed_and_refused() {
        let read = |words: &[&str]| Features::parse(words.iter().copied());
        assert_eq!(read(&[]).unwrap(), Features::default());
        assert_eq!(read(&["verity"]).unwrap(), Features::of(FeatureSet::Verity));
        assert_eq!(read(&["default", "verity"]).unwrap(), Features::of(FeatureSet::Verity));
        assert_eq!(read(&["modern,^orphan_file"]).unwrap(), Features::default().with(Feature::MetadataCsumSeed));
        assert_eq!(read(&["meta_bg"]).unwrap(), Features::default().with(Feature::MetaBg).without(Feature::ResizeInode));
        assert!(read(&["project"]).unwrap().has(Feature::Quota));
        assert_eq!(read(&["^casefold"]).unwrap(), Features::default());
        for (words, expected) in [
            (&["casefold"][..], "Unicode"),
            (&["encrypt"], "keys"),
            (&["^extent"], "64bit needs extent"),
            (&["^filetype"], "always on"),
            (&["nonsense"], "not a feature"),
            (&["modern", "ext2"], "not a feature"),
            (&["^metadata_csum", "metadata_csum_seed"], "needs metadata_csum"),
            (&["^has_journal", "orphan_file"], "needs has_journal"),
        ] {
            let error = read(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
        for features in ["default", "ext2", "ext3", "modern", "verity", "default,meta_bg", "ext3,extent,64bit", "uninit_bg", "inline_data,project"] {
            let features = Features::parse([features]).unwrap();
            let text = serde_json::to_string(&features).unwrap();
            assert_eq!(serde_json::from_str::<Features>(&text).unwrap(), features, "{text}");
        }
    }
}
