//! The boot order, parted: each filesystem gets its own part, by its own paths.
//!
//! ```text
//! /usr/lib/systemd/systemd          ─► the root: /usr/lib/systemd/systemd
//! /boot/efi/EFI/BOOT/BOOTX64.EFI    ─► the ESP:  /EFI/BOOT/BOOTX64.EFI
//! ```
//! A path goes to the partition with the longest mount point above it. An ESP without one is taken to be at `/boot/efi` and `/efi`; the only
//! filesystem of a disk without a root has all paths. Links in front of the last part are followed inside of the filesystem, so that
//! `/lib/modules` finds `/usr/lib/modules`. What names nothing is told and left out.

use super::plan::{Draft, Drafted};
use super::spec::Filesystem;
use crate::error::{Result, escape};
use crate::fs::OrderedPath;
use crate::order::{ascending, join};
use crate::tree::{NodeId, NodeKind, SYMLINKS_MAX, Tree};
use std::collections::HashMap;
use std::ops::Range;

/// Where an ESP is mounted that has no mount point.
const ESP_MOUNT_POINTS: [&str; 2] = ["boot/efi", "efi"];
/// Paths that are told of those that name nothing.
const TOLD_MAX: usize = 3;

/// Gives each filesystem its part of the order. Trees must be what they will be.
pub(super) fn split(drafted: &mut Drafted) -> Result<()> {
    let order = std::mem::take(&mut drafted.spec.boot_order);
    if order.is_empty() {
        return Ok(());
    }
    let points = mount_points(&drafted.drafts);
    let mut parts: Vec<Part> = drafted.drafts.iter().map(|_| Part::default()).collect();
    let mut missing: Vec<&[u8]> = Vec::new();
    for OrderedPath { path, ranges } in order.entries() {
        let owner = points.iter().find_map(|(at, point)| beneath(path, point.as_bytes()).map(|inside| (*at, inside)));
        let found = owner.and_then(|(at, inside)| {
            let tree = drafted.drafts[at].tree.as_ref()?;
            canonical(tree, inside).map(|(node, path)| (at, node, path, fitting(tree, node, ranges)))
        });
        match found {
            Some((at, node, path, ranges)) => parts[at].add(node, path, ranges),
            None => missing.push(path),
        }
    }
    if let Some(note) = missing_note(&missing, order.entries().len()) {
        drafted.notes.push(note);
    }
    for (draft, part) in drafted.drafts.iter_mut().zip(parts) {
        draft.order = part.entries.into_iter().map(|entry| OrderedPath { ranges: ascending(entry.ranges), ..entry }).collect();
    }
    Ok(())
}

/// Drafts with what the running system has them at, without slashes at the ends; the longest first.
fn mount_points(drafts: &[Draft]) -> Vec<(usize, String)> {
    let filesystems = || drafts.iter().enumerate().filter(|(_, draft)| draft.filesystem != Filesystem::None);
    let has_root = drafts.iter().any(|draft| draft.spec.is_root());
    let only = filesystems().count() == 1;
    let mut points = Vec::new();
    for (at, draft) in filesystems() {
        match draft.spec.mount_point.as_deref() {
            _ if draft.spec.is_root() => points.push((at, String::new())),
            Some(point) => points.push((at, point.trim_matches('/').to_owned())),
            None if draft.spec.is_esp() => points.extend(ESP_MOUNT_POINTS.map(|point| (at, point.to_owned()))),
            None if !has_root && only => points.push((at, String::new())),
            None => {}
        }
    }
    points.sort_by_key(|(_, point)| std::cmp::Reverse(point.len()));
    points
}

/// What of a plain absolute path lies beneath a mount point.
fn beneath<'a>(path: &'a [u8], point: &[u8]) -> Option<&'a [u8]> {
    if point.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(b"/")?.strip_prefix(point)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// The node at a path and its path without links: those in front of the last part are followed.
fn canonical(tree: &Tree, path: &[u8]) -> Option<(NodeId, Vec<u8>)> {
    let mut pending: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).rev().collect();
    // Nodes from the root down, and where the name of each ends in the path.
    let (mut trail, mut out) = (vec![(NodeId::ROOT, 0)], Vec::new());
    let mut followed = 0;
    while let Some(part) = pending.pop() {
        match part {
            b"" | b"." => continue,
            b".." => {
                if trail.len() > 1 {
                    trail.pop();
                }
                out.truncate(trail.last()?.1);
                continue;
            }
            _ => {}
        }
        let child = tree.child(trail.last()?.0, part)?;
        if matches!(tree.node(child).kind, NodeKind::Symlink(_)) && !pending.is_empty() {
            followed += 1;
            let target = tree.target(child);
            if followed > SYMLINKS_MAX {
                return None;
            }
            if target.first() == Some(&b'/') {
                trail.truncate(1);
                out.clear();
            }
            pending.extend(target.split(|byte| *byte == b'/').rev());
        } else {
            out.push(b'/');
            out.extend_from_slice(part);
            trail.push((child, out.len()));
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Some((trail.last()?.0, out))
}

/// The ranges as far as the node has them: only files have any, and may be shorter by now.
fn fitting(tree: &Tree, node: NodeId, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let length = match tree.node(node).kind {
        NodeKind::File(file) => file.length,
        _ if ranges.iter().any(|range| !range.is_empty()) => return Vec::new(),
        _ => 0,
    };
    ranges.iter().map(|range| range.start.min(length)..range.end.min(length)).collect()
}

/// The order of one filesystem: each node once, whatever names it has.
#[derive(Default)]
struct Part {
    entries: Vec<OrderedPath>,
    numbers: HashMap<NodeId, usize>,
}

impl Part {
    fn add(&mut self, node: NodeId, path: Vec<u8>, ranges: Vec<Range<u64>>) {
        let next = self.entries.len();
        let number = *self.numbers.entry(node).or_insert(next);
        if number == next {
            self.entries.push(OrderedPath { path, ranges });
        } else {
            let entry = &mut self.entries[number];
            entry.ranges = join(std::mem::take(&mut entry.ranges), ranges);
        }
    }
}

fn missing_note(missing: &[&[u8]], all: usize) -> Option<String> {
    let told: Vec<String> = missing.iter().take(TOLD_MAX).map(|path| escape(path)).collect();
    let more = match missing.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = missing.len();
    (count > 0).then(|| format!("boot order: {count} of {all} entries name nothing that there is, and are left out: {}{more}", told.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is tested")]

    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};
    use crate::units::ContentId;

    fn tree() -> Tree {
        let mut tree = TreeBuilder::new();
        let metadata = || Metadata { mode: 0o755, ..Metadata::default() };
        for path in ["usr/bin/sh", "usr/lib/x/y"] {
            tree.add(path, metadata(), NewNode::File { content: ContentId(0), length: 100, data: None }).unwrap();
        }
        for (path, target) in [("lib", "usr/lib"), ("abs", "/usr"), ("up", "usr/bin/../lib"), ("loop", "loop"), ("usr/lib/out", "../../../lib")] {
            tree.add(path, metadata(), NewNode::Symlink(target.as_bytes())).unwrap();
        }
        tree.freeze().unwrap()
    }

    #[test]
    fn links_in_front_of_the_last_part_are_followed() {
        let tree = tree();
        for (path, found) in [
            ("/usr/bin/sh", Some("/usr/bin/sh")),
            ("/lib/x/y", Some("/usr/lib/x/y")),
            ("/abs/lib/x", Some("/usr/lib/x")),
            ("/up/x/y", Some("/usr/lib/x/y")),
            ("/lib/out/x", Some("/usr/lib/x")),
            ("/lib", Some("/lib")),
            ("/", Some("/")),
            ("", Some("/")),
            ("/loop/x", None),
            ("/lib/none", None),
            ("/usr/bin/sh/x", None),
        ] {
            let canonical = canonical(&tree, path.as_bytes());
            assert_eq!(canonical.as_ref().map(|(_, path)| std::str::from_utf8(path).unwrap()), found, "{path}");
            if let Some((node, path)) = canonical {
                assert_eq!(tree.lookup(path), Some(node));
            }
        }
    }

    #[test]
    fn a_path_lies_beneath_a_mount_point_by_whole_names() {
        for (path, point, inside) in [
            ("/boot/efi/EFI/x", "boot/efi", Some("/EFI/x")),
            ("/boot/efi", "boot/efi", Some("")),
            ("/boot/efis/x", "boot/efi", None),
            ("/boot", "boot/efi", None),
            ("/a", "", Some("/a")),
        ] {
            assert_eq!(beneath(path.as_bytes(), point.as_bytes()), inside.map(str::as_bytes), "{path} {point}");
        }
    }

    #[test]
    fn ranges_end_with_the_file() {
        let tree = tree();
        let at = |path: &str| tree.lookup(path).unwrap();
        let ranges = |path: &str, ranges: &[Range<u64>]| ascending(fitting(&tree, at(path), ranges));
        assert_eq!(ranges("usr/bin/sh", &[0..10, 50..200, 300..400]), [0..10, 50..100]);
        assert_eq!(ranges("usr/bin/sh", &[]), []);
        assert_eq!(ranges("usr/bin/sh", std::slice::from_ref(&(0..0))), [0..0]);
        assert_eq!(ranges("usr/bin/sh", std::slice::from_ref(&(200..300))), [0..0]);
        assert_eq!(ranges("usr", std::slice::from_ref(&(0..4096))), []);
        assert_eq!(ranges("lib", std::slice::from_ref(&(0..0))), [0..0]);
    }

    #[test]
    fn what_names_nothing_is_told_with_the_first_paths() {
        assert_eq!(missing_note(&[], 5), None);
        let paths: [&[u8]; 5] = [b"/a", b"/b\n", b"/c", b"/d", b"/e"];
        let note = missing_note(&paths, 9).unwrap();
        assert!(note.contains("5 of 9 entries") && note.ends_with("/a, /b\\x0A, /c and 2 more"), "{note}");
    }
}
