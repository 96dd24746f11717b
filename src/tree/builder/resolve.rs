//! From a path to a place: every part but the last is followed, links inside the tree too, and nothing leads out of it.

use super::super::{NodeId, NodeKind, SYMLINKS_MAX, split_path};
use super::{TreeBuilder, implied_directory};
use crate::error::{Error, Result};

impl TreeBuilder {
    /// The directory that `parts` lead to, through links, making what is missing.
    pub(super) fn resolve_directory(&mut self, parts: &[&[u8]]) -> Result<NodeId> {
        let mut at = NodeId::ROOT;
        for (depth, name) in parts.iter().enumerate() {
            // The common way: plain directories. The first link hands over to the slow way.
            match self.find(at, name).map(|entry| self.entries[entry].node) {
                Some(id) if self.nodes[id.index()].is_directory() => at = id,
                Some(_) => return self.resolve_through_links(parts).map(|trail| trail[trail.len() - 1]),
                None => {
                    for name in &parts[depth..] {
                        let id = self.push_node(implied_directory(self.implied_time))?;
                        self.set_entry(at, name, id)?;
                        at = id;
                    }
                    return Ok(at);
                }
            }
        }
        Ok(at)
    }

    /// As [`Self::resolve_directory`], with links followed; returns all directories on the way.
    pub(super) fn resolve_through_links(&mut self, parts: &[&[u8]]) -> Result<Vec<NodeId>> {
        let mut trail = vec![NodeId::ROOT];
        let mut pending: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut followed = 0;
        while let Some(name) = pending.pop() {
            let at = trail[trail.len() - 1];
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    trail.truncate((trail.len() - 1).max(1));
                    continue;
                }
                _ => {}
            }
            let Some(entry) = self.find(at, &name) else {
                let id = self.push_node(implied_directory(self.implied_time))?;
                self.set_entry(at, &name, id)?;
                trail.push(id);
                continue;
            };
            let id = self.entries[entry].node;
            match self.nodes[id.index()].kind {
                NodeKind::Directory => trail.push(id),
                NodeKind::Symlink(target) => {
                    followed += 1;
                    if followed > SYMLINKS_MAX {
                        return Err(Error::corrupt(format!("over {SYMLINKS_MAX} symbolic links on the way")));
                    }
                    let target = self.slice(target);
                    let absolute = target.first() == Some(&b'/');
                    pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                    if absolute {
                        trail.truncate(1);
                    }
                }
                _ => return Err(Error::corrupt(format!("{} in its path is no directory", crate::error::escape(&name)))),
            }
        }
        Ok(trail)
    }

    /// The live entry at `path`: links in the parents are followed, nothing is made.
    pub(super) fn find_path(&self, path: &[u8]) -> Result<Option<usize>> {
        let parts = split_path(path)?;
        let Some((last, parents)) = parts.split_last() else { return Ok(None) };
        let mut trail = vec![NodeId::ROOT];
        let mut pending: Vec<&[u8]> = parents.iter().rev().copied().collect();
        let mut followed = 0;
        while let Some(name) = pending.pop() {
            let at = trail[trail.len() - 1];
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                trail.truncate((trail.len() - 1).max(1));
                continue;
            }
            let Some(entry) = self.find(at, name) else { return Ok(None) };
            let id = self.entries[entry].node;
            match self.nodes[id.index()].kind {
                NodeKind::Directory => trail.push(id),
                NodeKind::Symlink(target) if followed < SYMLINKS_MAX => {
                    followed += 1;
                    let target = self.slice(target);
                    if target.first() == Some(&b'/') {
                        trail.truncate(1);
                    }
                    pending.extend(target.split(|b| *b == b'/').rev());
                }
                _ => return Ok(None),
            }
        }
        Ok(self.find(trail[trail.len() - 1], last))
    }
}
