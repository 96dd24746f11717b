//! A tree without what a golden image must not carry: `[clean]` in a recipe.
//!
//! What goes is what the clean-up script of EC2 Image Builder removes (EC2 Image Builder user guide, "Security best practices for Image
//! Builder", "Required post-build clean up"), and what AWS's pages on shared AMIs ask for besides: host keys of any kind, `authorized_keys`
//! of everybody, histories, leases, logs, random seeds. `/etc/machine-id` is emptied and not removed, as machine-id(5) wants it. The script's
//! folders stay, as it leaves them.
//!
//! Everything is told by path, in the tree alone: no link is followed, nothing is read. The same tree gives the same tree.
//!
//! ```
//! use rootvol::clean::{CleanOptions, clean};
//! # use rootvol::tree::{Metadata, NewNode, TreeBuilder};
//! # let mut builder = TreeBuilder::new();
//! # builder.add("etc/ssh/ssh_host_rsa_key", Metadata::default(), NewNode::Symlink(b"x"))?;
//! # let tree = builder.freeze()?;
//! let cleaned = clean(tree, &CleanOptions::default())?;
//! assert_eq!(cleaned.removed[0].to_string(), "/etc/ssh/ssh_host_rsa_key");
//! # Ok::<(), rootvol::Error>(())
//! ```

mod places;
#[cfg(test)]
mod tests;

pub(crate) use places::{in_home, is_history};

use crate::error::{Error, Result, escape};
use crate::tree::{NewNode, NodeKind, Tree, TreeBuilder};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use places::Action;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What goes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// State and logs of cloud-init, the sudo rule of its user, the locale that it set.
    CloudInit,
    /// What belongs to one machine: host name, marks of updates and containers, locks, kickstart files, known hosts.
    Instance,
    /// SSH host keys and `authorized_keys`.
    Ssh,
    /// Logs and journals.
    Logs,
    /// DHCP leases.
    Leases,
    /// Temporary files.
    Temporary,
    /// Histories of shells and other programs.
    History,
    /// The machine id, which is emptied.
    MachineId,
    /// Random seeds and systemd's credential secret.
    Seeds,
    /// Caches of package managers.
    PackageCaches,
    /// What the caller names.
    Also,
}

/// What is cleaned. `CleanOptions::default()` is all groups but [`Group::PackageCaches`]. In a recipe: `clean = true` or `[clean]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CleanOptions {
    /// [`Group::CloudInit`].
    pub cloud_init: bool,
    /// [`Group::Instance`].
    pub instance: bool,
    /// [`Group::Ssh`].
    pub ssh: bool,
    /// [`Group::Logs`].
    pub logs: bool,
    /// [`Group::Leases`].
    pub leases: bool,
    /// [`Group::Temporary`].
    pub temporary: bool,
    /// [`Group::History`].
    pub history: bool,
    /// [`Group::MachineId`].
    pub machine_id: bool,
    /// [`Group::Seeds`].
    pub seeds: bool,
    /// [`Group::PackageCaches`]; off by default, as the script leaves them.
    pub package_caches: bool,
    /// Patterns of what stays, such as `var/log/app` or `home/*/.bash_history`; of a folder, all that is in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// Patterns of what goes too; of a folder, all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self {
            cloud_init: true,
            instance: true,
            ssh: true,
            logs: true,
            leases: true,
            temporary: true,
            history: true,
            machine_id: true,
            seeds: true,
            package_caches: false,
            keep: Vec::new(),
            also: Vec::new(),
        }
    }
}

impl CleanOptions {
    /// Whether a group is asked for.
    #[must_use]
    pub fn has(&self, group: Group) -> bool {
        match group {
            Group::CloudInit => self.cloud_init,
            Group::Instance => self.instance,
            Group::Ssh => self.ssh,
            Group::Logs => self.logs,
            Group::Leases => self.leases,
            Group::Temporary => self.temporary,
            Group::History => self.history,
            Group::MachineId => self.machine_id,
            Group::Seeds => self.seeds,
            Group::PackageCaches => self.package_caches,
            Group::Also => true,
        }
    }

    /// The first pattern that cannot be used: the list that it is in (`keep` or `also`), its place there, why.
    #[must_use]
    pub fn first_wrong(&self) -> Option<(&'static str, usize, Error)> {
        let lists = [("keep", &self.keep), ("also", &self.also)];
        let wrong = |list: &'static str, patterns: &[String]| {
            patterns.iter().enumerate().find_map(|(at, pattern)| globs(std::slice::from_ref(pattern)).err().map(|error| (list, at, error)))
        };
        lists.into_iter().find_map(|(list, patterns)| wrong(list, patterns))
    }
}

/// An entry that was taken away, or emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Without leading slash.
    pub path: Vec<u8>,
    /// What it belonged to.
    pub group: Group,
    /// It is there still, with nothing in it.
    pub emptied: bool,
}

/// The absolute path, escaped; with `(emptied)` behind it where it is there still.
impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}{}", escape(&self.path), if self.emptied { " (emptied)" } else { "" })
    }
}

/// A clean tree.
#[derive(Debug)]
#[non_exhaustive]
pub struct Cleaned {
    /// What is left.
    pub tree: Tree,
    /// What is not, in the order of the tree.
    pub removed: Vec<Removed>,
}

/// Takes out of `tree` what `options` ask for.
///
/// # Errors
/// A pattern that cannot be used.
pub fn clean(tree: Tree, options: &CleanOptions) -> Result<Cleaned> {
    let keep = globs(&options.keep)?;
    let also = globs(&options.also)?;
    let mut removed: Vec<Removed> = Vec::new();
    // Folders on the way to what is kept.
    let mut stays: BTreeSet<Vec<u8>> = BTreeSet::new();
    // A folder that is named, with its slash; what is in it is named too.
    let (mut kept_folder, mut also_folder): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    tree.walk(|path, id| {
        let node = tree.node(id);
        let is_kept = is_named(&keep, path, node.is_directory(), &mut kept_folder);
        let is_also = is_named(&also, path, node.is_directory(), &mut also_folder);
        let length = match &node.kind {
            NodeKind::File(data) => data.length,
            NodeKind::Symlink(_) | NodeKind::Directory => 0,
            _ => 1,
        };
        let chosen = places::action(path, node.is_directory(), length).filter(|(group, _)| options.has(*group));
        let chosen = if is_also { Some((Group::Also, Action::Remove)) } else { chosen };
        match chosen {
            Some(_) if is_kept => {
                stays.extend(path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| path[..at].to_vec()));
            }
            Some((group, action)) => removed.push(Removed { path: path.to_vec(), group, emptied: action == Action::Empty }),
            None => {}
        }
        Ok(())
    })?;
    removed.retain(|removed| !stays.contains(&removed.path));
    if removed.is_empty() {
        return Ok(Cleaned { tree, removed });
    }
    Ok(Cleaned { tree: without(tree, &removed)?, removed })
}

fn without(tree: Tree, removed: &[Removed]) -> Result<Tree> {
    let mut builder = TreeBuilder::from_tree(tree);
    // Backwards: what is in a folder goes before it does.
    for Removed { path, emptied, .. } in removed.iter().rev() {
        if !*emptied {
            builder.remove(path)?;
            continue;
        }
        let Some((_, node)) = builder.get(path) else { continue };
        let (metadata, kind) = (node.metadata, node.kind);
        if let NodeKind::File(data) = kind {
            builder.add(path, metadata, NewNode::File { content: data.content, length: 0, data: None })?;
        }
    }
    builder.freeze()
}

/// Whether the entry at `path` is named by a pattern, or lies in a folder that is. Entries come folder by folder.
fn is_named(globs: &GlobSet, path: &[u8], is_directory: bool, folder: &mut Option<Vec<u8>>) -> bool {
    if globs.is_empty() || path.is_empty() {
        return false;
    }
    if folder.as_ref().is_some_and(|folder| path.starts_with(folder)) {
        return true;
    }
    let named = globs.is_match_candidate(&Candidate::from_bytes(path));
    if named && is_directory {
        *folder = Some([path, b"/"].concat());
    }
    named
}

/// Patterns of paths: `*` and `?` within one part, `**` over several; slashes at the ends do not matter.
fn globs(patterns: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let shown = escape(pattern.as_bytes());
        let from_root = pattern.trim_matches('/');
        if from_root.is_empty() || from_root.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::invalid(format!("\"{shown}\" names nothing beneath the root: a path in its plain form was expected, such as \"var/log/app\"")));
        }
        let glob = GlobBuilder::new(from_root).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(|error| Error::invalid(format!("cannot read the pattern \"{shown}\"")).caused_by(error))?);
    }
    set.build().map_err(|error| Error::invalid("cannot use the patterns").caused_by(error))
}
