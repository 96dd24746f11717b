//! The lines of a `.layout` that say where the files of a FAT volume lie; their form stands in [`super::file`].
//!
//! **Refused**: kinds and sizes that no FAT has, a volume outside of its partition, paths out of order, clusters that cannot be. Whether a
//! cluster is there, and whose, is for the planner to see, which believes nothing.

use super::file::{RUNS_PER_LINE, decimal, pair};
use crate::error::{escape, unescape};
use crate::fs::fat::{Parent, ParentChain};
use crate::report::PartitionSummary;
use std::fmt::Write as _;
use std::ops::Range;

/// The largest cluster that any FAT has.
const CLUSTER_MAX_BYTES: u64 = 64 * 1024;
/// The number of the first cluster.
const FIRST_CLUSTER: u64 = 2;

/// Writes the lines of a volume.
pub(super) fn write(text: &mut String, number: u32, volume: &Parent) {
    let Parent { kind, cluster_bytes, data_offset_bytes, chains } = volume;
    let _ = writeln!(text, "fat {number} {kind} {cluster_bytes} {data_offset_bytes}");
    for ParentChain { path, is_directory, runs } in chains {
        for (line, part) in runs.chunks(RUNS_PER_LINE).enumerate() {
            let kind = if line > 0 {
                '+'
            } else if *is_directory {
                'd'
            } else {
                'f'
            };
            let _ = write!(text, "{kind} ");
            for (at, run) in part.iter().enumerate() {
                let _ = write!(text, "{}{}+{}", if at > 0 { "," } else { "" }, run.start, run.end - run.start);
            }
            if line == 0 {
                let _ = write!(text, " /{}", escape(path));
            }
            text.push('\n');
        }
    }
}

/// The line that begins a volume: which of the partitions (each with whether it has one already) it is in, and the volume without entries.
pub(super) fn head<'a>(line: &[u8], partitions: impl Iterator<Item = (&'a PartitionSummary, bool)>) -> Result<(usize, Parent), String> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [_, number, kind, cluster_bytes, offset] = fields[..] else {
        return Err("a partition, a kind of FAT, the size of a cluster and the place of the first were expected".into());
    };
    let number = decimal(number);
    let found = partitions.enumerate().find(|(_, (summary, _))| Some(u64::from(summary.number)) == number);
    let (at, (summary, taken)) = found.ok_or("a volume of a partition that there is not")?;
    if taken {
        return Err(format!("a second volume of partition {}", summary.number));
    }
    let kind = std::str::from_utf8(kind).ok().and_then(|kind| kind.parse().ok()).ok_or("a kind of FAT that there is not")?;
    let cluster_bytes = decimal(cluster_bytes).filter(|bytes| bytes.is_power_of_two() && (512..=CLUSTER_MAX_BYTES).contains(bytes));
    let cluster_bytes = cluster_bytes.and_then(|bytes| u32::try_from(bytes).ok()).ok_or("a size of a cluster that no FAT has")?;
    let data_offset_bytes = decimal(offset).filter(|offset| *offset < summary.size_bytes).ok_or("a first cluster outside of its partition")?;
    Ok((at, Parent { kind, cluster_bytes, data_offset_bytes, chains: Vec::new() }))
}

/// Adds a line's entry, or its further clusters to the last one; returns how many runs it has.
pub(super) fn add(volume: &mut Parent, line: &[u8]) -> Result<u64, String> {
    let (kind, rest) = line.split_at_checked(2).ok_or("an entry was expected")?;
    let (runs, path) = match rest.iter().position(|byte| *byte == b' ') {
        Some(at) if kind != b"+ " => (&rest[..at], Some(&rest[at + 1..])),
        _ => (rest, None),
    };
    let last = volume.chains.last_mut();
    let chain = match path {
        Some(path) => {
            let path = path.strip_prefix(b"/").and_then(unescape).ok_or("its path is not escaped as paths are, or begins with no slash")?;
            if last.is_some_and(|last| last.path >= path) {
                return Err(format!("the path /{} is not behind the one before it", escape(&path)));
            }
            volume.chains.push(ParentChain { path, is_directory: kind == b"d ", runs: Vec::new() });
            volume.chains.last_mut()
        }
        None if kind == b"+ " => last,
        None => return Err("kind, clusters and path were expected".into()),
    };
    let chain = chain.ok_or("more clusters of an entry that there is not")?;
    let mut count = 0;
    for text in runs.split(|byte| *byte == b',') {
        chain.runs.push(run(text).ok_or_else(|| format!("{} are no clusters", escape(text)))?);
        count += 1;
    }
    Ok(count)
}

/// `first+count`.
fn run(text: &[u8]) -> Option<Range<u32>> {
    let (first, count) = pair(text).filter(|(first, count)| *first >= FIRST_CLUSTER && *count > 0)?;
    Some(u32::try_from(first).ok()?..u32::try_from(first.checked_add(count)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::fat::FatKind;

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_is_refused() {
        let chain = |path: &str, is_directory, runs: Vec<Range<u32>>| ParentChain { path: path.into(), is_directory, runs };
        let many = (0..600).map(|at| 100 + 3 * at..101 + 3 * at).collect();
        let one: Vec<Range<u32>> = std::iter::once(2..3).collect();
        let volume = Parent {
            kind: FatKind::Fat32,
            cluster_bytes: 4096,
            data_offset_bytes: 1_064_960,
            chains: vec![chain("", true, one), chain("EFI/A B.EFI", false, vec![5..8, 9..10]), chain("EFI/Z\n", false, many)],
        };
        let mut text = String::new();
        write(&mut text, 1, &volume);
        let mut lines = text.lines();
        let json = r#"{"number":1,"partition_type":"esp","guid":null,"label":null,"offset_bytes":1048576,"size_bytes":134217728,"mount_point":null,"filesystem":null}"#;
        let summary: PartitionSummary = serde_json::from_str(json).unwrap();
        let (at, mut read) = head(lines.next().unwrap().as_bytes(), std::iter::once((&summary, false))).unwrap();
        let runs: u64 = lines.map(|line| add(&mut read, line.as_bytes()).unwrap()).sum();
        assert_eq!((at, runs, &read), (0, 603, &volume));
        for wrong in
            ["fat 2 fat32 4096 5", "fat 1 fat33 4096 5", "fat 1 fat32 4097 5", "fat 1 fat32 4096 134217728", "fat 1 fat32 4096", "fat 1 fat32 131072 5"]
        {
            assert!(head(wrong.as_bytes(), std::iter::once((&summary, false))).is_err(), "{wrong}");
        }
        assert!(head(b"fat 1 fat32 4096 5", std::iter::once((&summary, true))).is_err());
        for wrong in ["f 2+1 EFI", "f 1+1 /X", "f 2+0 /X", "f 2+4294967295 /X", "f 2+1", "f 2+1 /A", "f  /X", "f 2+1 /X\\", "g"] {
            assert!(add(&mut read.clone(), wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(add(&mut Parent { chains: Vec::new(), ..volume }, b"+ 2+1").is_err());
    }
}
