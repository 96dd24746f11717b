//! Writing a `.layout`; its form stands in [`super::file`].

use super::Parent;
use super::file::{DEPTH_MAX, MAGIC, RUNS_PER_LINE};
use crate::error::{Error, Result, escape};
use crate::fs::ext4::{self, ParentRun, ParentRunKind};
use crate::tree::{NodeId, NodeKind, Tree};
use flate2::{Compression as Level, GzBuilder};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// zlib's default: what takes longer saves little.
const LEVEL: u32 = 6;

/// The bytes of a layout.
pub(super) fn write(parent: &Parent) -> Result<Vec<u8>> {
    let mut text = format!("{MAGIC}\ndisk {}\n", json(&parent.disk)?);
    if let Some(linear) = &parent.linear_checksum {
        let _ = writeln!(text, "linear {linear}");
    }
    for partition in &parent.partitions {
        let _ = writeln!(text, "partition {}", json(&partition.summary)?);
    }
    for runs in parent.data.chunks(RUNS_PER_LINE) {
        text.push_str("data");
        for run in runs {
            let _ = write!(text, " {}+{}", run.start, run.end - run.start);
        }
        text.push('\n');
    }
    for partition in &parent.partitions {
        if let Some(filesystem) = &partition.ext4 {
            write_filesystem(&mut text, partition.summary.number, filesystem);
        }
        if let Some(volume) = &partition.fat {
            super::chains::write(&mut text, partition.summary.number, volume);
        }
    }
    text.push_str("end\n");
    // Neither a name nor a time: the same bytes each time.
    let mut packed = GzBuilder::new().write(Vec::new(), Level::new(LEVEL));
    let cannot = |error| Error::io("cannot compress the layout", error);
    packed.write_all(text.as_bytes()).map_err(cannot)?;
    packed.finish().map_err(cannot)
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid("what is known of the disk cannot be written").caused_by(error))
}

fn write_filesystem(text: &mut String, number: u32, filesystem: &ext4::Parent) {
    let ext4::Parent { uuid, hash_seed, epoch, block_bytes, blocks, tree, inodes, runs } = filesystem;
    let _ = writeln!(text, "ext4 {number} {uuid} {hash_seed} {} {block_bytes} {blocks}", epoch.seconds);
    // Where the runs of each node begin: they are sorted by node.
    let runs_of = |node: NodeId| {
        let first = runs.partition_point(|run| run.node < node);
        &runs[first..first + runs[first..].partition_point(|run| run.node == node)]
    };
    let mut met = vec![false; tree.node_count()];
    walk(tree, |depth, name, node| {
        let ino = inodes.get(node.index()).copied().unwrap_or(0);
        if std::mem::replace(&mut met[node.index()], true) {
            if ino > 0 {
                let _ = writeln!(text, "{depth} h {ino} - {}", escape(name));
            }
            return;
        }
        let _ = write!(text, "{depth} {} {ino} ", letter(&tree.node(node).kind));
        write_runs(text, runs_of(node), &escape(name));
    });
}

fn write_runs(text: &mut String, runs: &[ParentRun], name: &str) {
    if runs.is_empty() {
        let _ = writeln!(text, "- {name}");
        return;
    }
    let mut next = 0;
    for (line, part) in runs.chunks(RUNS_PER_LINE).enumerate() {
        if line > 0 {
            text.push_str("+ ");
        }
        for (at, run) in part.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            match run.what {
                ParentRunKind::Data if run.logical != next => {
                    let _ = write!(text, "{}:", run.logical);
                }
                ParentRunKind::Data => {}
                ParentRunKind::Map => text.push('m'),
                ParentRunKind::Xattrs => text.push('x'),
            }
            let _ = write!(text, "{}+{}", run.start, run.count);
            next = run.logical.saturating_add(run.count);
        }
        if line == 0 {
            text.push(' ');
            text.push_str(name);
        }
        text.push('\n');
    }
}

/// Gives depth, name and node of every entry down to [`DEPTH_MAX`], in tree order; the root is `/`.
fn walk(tree: &Tree, mut each: impl FnMut(usize, &[u8], NodeId)) {
    each(0, b"/", NodeId::ROOT);
    let mut stack = vec![tree.entries(NodeId::ROOT).iter()];
    while let Some(entries) = stack.last_mut() {
        let Some(entry) = entries.next() else {
            stack.pop();
            continue;
        };
        each(stack.len(), tree.name(entry), entry.node);
        if tree.node(entry.node).is_directory() && stack.len() < DEPTH_MAX {
            stack.push(tree.entries(entry.node).iter());
        }
    }
}

fn letter(kind: &NodeKind) -> char {
    match kind {
        NodeKind::Directory => 'd',
        NodeKind::File(_) => 'f',
        NodeKind::Symlink(_) => 'l',
        NodeKind::CharDevice(_) => 'c',
        NodeKind::BlockDevice(_) => 'b',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
    }
}
