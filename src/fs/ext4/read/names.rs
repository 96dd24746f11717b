//! Features by the names that e2fsprogs prints, and which of them reading understands.

use super::super::format::{Superblock, compat, incompat, ro_compat};
use crate::error::{Error, Result};

/// `s_feature_incompat` beyond what is ever written here.
pub(super) mod incompat_read {
    /// Multiple mount protection: a block that says who has the filesystem mounted.
    pub(in super::super) const MMP: u32 = 0x100;
    /// Directories and files may be encrypted.
    pub(in super::super) const ENCRYPT: u32 = 0x1_0000;
    /// Directories may take upper and lower case for one.
    pub(in super::super) const CASEFOLD: u32 = 0x2_0000;
}

/// `s_feature_compat` beyond what is ever written here.
pub(super) const SPARSE_SUPER2: u32 = 0x200;

/// `s_feature_ro_compat` beyond what is ever written here.
pub(super) mod ro_compat_read {
    /// Blocks are allocated in clusters.
    pub(in super::super) const BIGALLOC: u32 = 0x200;
    /// Nobody may write, and files may share blocks.
    pub(in super::super) const SHARED_BLOCKS: u32 = 0x4000;
    /// The file of orphans has entries.
    pub(in super::super) const ORPHAN_PRESENT: u32 = 0x1_0000;
}

/// What is understood of `s_feature_incompat`.
const KNOWN_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGE_DIR
    | incompat::INLINE_DATA
    | incompat_read::MMP
    | incompat_read::ENCRYPT
    | incompat_read::CASEFOLD;

/// What is understood of `s_feature_ro_compat`.
const KNOWN_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::QUOTA
    | ro_compat::METADATA_CSUM
    | ro_compat::PROJECT
    | ro_compat::VERITY
    | ro_compat_read::BIGALLOC
    | ro_compat_read::SHARED_BLOCKS
    | ro_compat_read::ORPHAN_PRESENT
    | READONLY;

/// Nobody may write: of no concern to one who reads.
const READONLY: u32 = 0x1000;

/// e2fsprogs, lib/e2p/feature.c.
const INCOMPAT_NAMES: [(u32, &str); 16] = [
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];

const RO_COMPAT_NAMES: [(u32, &str); 17] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x4, "FEATURE_R2"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

const COMPAT_NAMES: [(u32, &str); 13] = [
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x80, "FEATURE_C7"),
    (0x100, "snapshot_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];

/// The names of the bits of one word, `letter` and a number for those that have none, as dumpe2fs shows them.
fn names(word: u32, known: &[(u32, &'static str)], letter: char) -> Vec<String> {
    let bits = (0..32).map(|bit| 1_u32 << bit).filter(|bit| word & bit != 0);
    let name = |bit: u32| known.iter().find(|(known, _)| *known == bit).map(|(_, name)| (*name).to_owned());
    bits.map(|bit| name(bit).unwrap_or_else(|| format!("FEATURE_{letter}{}", bit.trailing_zeros()))).collect()
}

/// All features of a superblock, by name.
pub(super) fn all(superblock: &Superblock) -> String {
    let mut all = names(superblock.s_feature_compat, &COMPAT_NAMES, 'C');
    all.extend(names(superblock.s_feature_incompat, &INCOMPAT_NAMES, 'I'));
    all.extend(names(superblock.s_feature_ro_compat, &RO_COMPAT_NAMES, 'R'));
    all.join(" ")
}

/// Refuses what cannot be read.
///
/// # Errors
/// Features by name.
pub(super) fn refuse(superblock: &Superblock) -> Result<()> {
    if superblock.s_feature_incompat & incompat::JOURNAL_DEV != 0 {
        return Err(Error::unsupported("this is the external journal of a filesystem (the ext4 feature journal_dev): it holds no files"));
    }
    let unknown = names(superblock.s_feature_incompat & !KNOWN_INCOMPAT, &INCOMPAT_NAMES, 'I');
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(format!("reading ext4 with {}", list(&unknown))))
}

/// What has to be said of features that only concern who writes.
pub(super) fn note(superblock: &Superblock) -> Option<String> {
    let mut unknown = names(superblock.s_feature_ro_compat & !KNOWN_RO_COMPAT, &RO_COMPAT_NAMES, 'R');
    let known_compat = compat::HAS_JOURNAL | compat::EXT_ATTR | compat::RESIZE_INODE | compat::DIR_INDEX | compat::ORPHAN_FILE | 0x1 | SPARSE_SUPER2 | 0xc00;
    unknown.extend(names(superblock.s_feature_compat & !known_compat, &COMPAT_NAMES, 'C'));
    (!unknown.is_empty()).then(|| format!("the filesystem has {}, which reading does not need to understand", list(&unknown)))
}

fn list(names: &[String]) -> String {
    let (plural, names) = (if names.len() == 1 { "feature" } else { "features" }, names.join(", "));
    format!("the {plural} {names}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_features_are_refused_or_noted_by_the_names_of_e2fsprogs() {
        let with = |s_feature_incompat, s_feature_ro_compat| Superblock { s_feature_incompat, s_feature_ro_compat, ..Superblock::default() };
        for (bits, expected) in [(0x1, "feature compression"), (0x1000, "dirdata"), (0x8000_0020, "features FEATURE_I5, FEATURE_I31"), (0x8, "journal_dev")] {
            let error = refuse(&with(bits | incompat::EXTENTS, 0)).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
            assert!(error.to_string().contains(expected), "{error}");
        }
        refuse(&with(KNOWN_INCOMPAT, !0)).unwrap();
        assert_eq!(note(&with(0, KNOWN_RO_COMPAT)), None);
        assert!(note(&with(0, 0x800_0800)).unwrap().contains("replica, FEATURE_R27"));
        assert_eq!(all(&with(0x42, 0x1)), "filetype extent sparse_super");
    }
}
