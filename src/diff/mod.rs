//! What differs between two sources, entry by entry, and between two disks, block by block.
//!
//! Entries are compared by path: what they are, metadata, contents. Blocks are compared by their digests;
//! a block that is zero and one that is unused or not stored are the same. Where it is known what lies where, the files that make
//! blocks differ are told.

mod blocks;
mod causes;
mod entries;

pub use blocks::{BlockDiff, diff_blocks};
pub use causes::{Cause, Owners, causes};
pub use entries::{Change, EntryDiff, diff_entries};

use serde::Serialize;
use std::fmt;

/// How many causes people are shown.
const CAUSES_SHOWN: usize = 20;

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// Entries that were added, removed or changed, by path; `None` where a side has no files to compare.
    pub entries: Option<Vec<EntryDiff>>,
    /// Blocks that differ; `None` where a side has no blocks to compare.
    pub blocks: Option<BlockDiff>,
    /// Whose bytes lie in the blocks that differ, the most blocks first; `None` where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causes: Option<Vec<Cause>>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.as_ref().is_none_or(Vec::is_empty) && self.blocks.as_ref().is_none_or(|blocks| blocks.differing == 0)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {}", crate::error::escape(note.as_bytes()))?;
        }
        if let Some(entries) = &self.entries {
            for entry in entries {
                writeln!(f, "{entry}")?;
            }
            let count = |change: Change| entries.iter().filter(|entry| entry.change == change).count();
            writeln!(f, "{} added, {} removed, {} changed", count(Change::Added), count(Change::Removed), count(Change::Changed))?;
        }
        if let Some(blocks) = &self.blocks {
            writeln!(f, "{blocks}")?;
        }
        let causes = self.causes.as_deref().unwrap_or_default();
        for cause in causes.iter().take(CAUSES_SHOWN) {
            writeln!(f, "{cause}")?;
        }
        match causes.len().saturating_sub(CAUSES_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "       and {more} more (--json lists all)"),
        }
    }
}
