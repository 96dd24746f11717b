//! Recipes: everything that a build is told, as plain data, and the file `image.toml` that says it in TOML 1.1.
//!
//! A [`Recipe`] is a library type first; the file is one way to write it. Reading one neither builds nor opens anything but
//! the recipe. All keys, with comments:
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! ```
//! let recipe = rootvol::recipe::Recipe::parse("name = \"web\"\n[[partition]]\ntype = \"root\"\nsource = \"rootfs.tar\"\n", "image.toml")?;
//! assert_eq!(recipe.name.as_deref(), Some("web"));
//! let error = rootvol::recipe::Recipe::parse("[disk]\nsize = \"8\"\n", "image.toml").unwrap_err();
//! assert!(error.to_string().starts_with("image.toml: line 2, column 8: "), "{error}");
//! # Ok::<(), rootvol::Error>(())
//! ```
//!
//! **Refused**, with line and column: unknown and duplicate keys, wrong types, sizes without a unit, values that a key does
//! not have, keys that contradict each other, recipes over [`RECIPE_MAX_BYTES`], and sources outside of the recipe's
//! folder (see [`Recipe::load`]).

mod build;
mod check;
mod lint;
mod load;
mod problem;
mod sections;
mod values;

pub use build::Given;
pub use lint::{AllowSection, LintSection};
pub use load::{LoadOptions, RECIPE_MAX_BYTES};
pub use sections::{Attribute, BootSection, DiskSection, FileKind, FileSection, PartitionSection};
pub use values::{FileMode, Owner, XattrValue};

use crate::clean::CleanOptions;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::manifest::AmiChoices;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a build is told. `Recipe::default()` says nothing: a GPT, sizes by need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
pub struct Recipe {
    /// The image's name, from which identifiers derive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The image's version; enters no identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What identifiers derive from, in place of the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Guid>,
    /// The build's own time, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The earlier version to stay close to: its report, its layout or the image itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<PathBuf>,
    /// `true`: place files as if there were no parent; identifiers, times and sizes stay its.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repack: bool,
    /// `clean = true`, or `[clean]`: what is taken out of the root's tree before files are laid over it.
    #[serde(skip_serializing_if = "Option::is_none", with = "values::clean")]
    pub clean: Option<CleanOptions>,
    /// `[disk]`.
    #[serde(skip_serializing_if = "DiskSection::is_default")]
    pub disk: DiskSection,
    /// `[[partition]]`, in the order of the file.
    #[serde(rename = "partition", skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionSection>,
    /// `[boot]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootSection>,
    /// `[[file]]`, laid over the tree in the order of the file.
    #[serde(rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSection>,
    /// `[ami]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ami: Option<AmiChoices>,
    /// `[lint]`.
    #[serde(skip_serializing_if = "LintSection::is_default")]
    pub lint: LintSection,
}

impl Recipe {
    /// Reads the text of a recipe, which errors call `name`. Paths of sources stay as they are written.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with line and column (counted from 1, in characters),
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) over [`RECIPE_MAX_BYTES`].
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        Self::parse_named(text, name.as_bytes())
    }

    /// [`Recipe::parse`] for a name that need not be UTF-8.
    fn parse_named(text: &str, name: &[u8]) -> Result<Self> {
        load::check_length(text.len(), name)?;
        let recipe: Self = toml::from_str(text).map_err(|error| problem::from_toml(text, name, &error))?;
        match check::first_problem(&recipe) {
            Some(problem) => Err(problem.in_text(text, name)),
            None => Ok(recipe),
        }
    }

    /// Checks what does not depend on a source: values in their ranges, and keys that contradict each other.
    ///
    /// # Errors
    /// The first mistake, with the key's place in the recipe, such as `partition[0].size`.
    pub fn check(&self) -> Result<()> {
        check::first_problem(self).map_or(Ok(()), |problem| Err(problem.by_key()))
    }

    /// The recipe as a file. Reading it gives the same recipe.
    ///
    /// # Errors
    /// A path that is not UTF-8: TOML cannot hold it.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::invalid("the recipe cannot be written as TOML").caused_by(error))
    }
}

#[cfg(test)]
mod tests;
