//! The form of `OUT.layout`, and reading it: text in gzip, a line a thing, in one order. Fields stand between single spaces; a name is the rest of
//! its line, escaped as [`crate::error::escape`] does.
//!
//! ```text
//! rootvol layout 1
//! disk {"size_bytes":1073741824,"sector_bytes":512,"table":"gpt","guid":"…","signature":null}
//! linear QpU4…=                                 the LINEAR aggregate, as in the report
//! partition {"number":1,"partition_type":"esp",…}    as in the report, by number
//! data 2+1 5+12                                 512-KiB blocks that hold data: first+count
//! ext4 2 UUID HASH_SEED EPOCH 4096 229120       partition, identifiers, seconds, bytes in a block, blocks
//! 0 d 2 9252+1 /                                depth, kind, inode, runs, name
//! 1 d 12 9260+1 etc
//! 2 f 13 12000+3,40:12003+2,m12100+1,x9300+1 hosts
//! + 13000+1                                     more runs of the same entry
//! 2 h 13 - hosts.again                          one more name of an inode that was met
//! fat 1 fat32 4096 1064960                      partition, kind, bytes in a cluster, where the first cluster begins in the volume
//! d 2+1 /                                       directory or file, clusters, path
//! f 5+3,9+1 /EFI/BOOT/BOOTX64.EFI
//! end
//! ```
//! Runs are `start+count` in blocks of the filesystem and go on where the one before ended in the file, unless `logical:` stands before
//! them; `m` are the blocks that map the file, `x` those of its attributes. Kinds are those of `find -type`, and `h`.
//!
//! **Refused**, with the line: whatever is out of this order or over a limit, names that are none, numbers outside of the disk or the
//! filesystem, an inode of two entries, blocks of two runs. Work and memory follow the text, and the text the file: at most
//! [`RATIO_MAX`] times as long.

use super::{Parent, ParentPartition, chains};
use crate::compressed::{Compression, Decompressed, Limits, unwrap_io};
use crate::error::{Error, Result, escape, unescape};
use crate::fs::ext4::{self, ParentRun, ParentRunKind};
use crate::fs::fat;
use crate::guid::Guid;
use crate::report::{DiskSummary, PartitionSummary};
use crate::tree::{Device, Metadata, NewNode, NodeId, Timestamp, TreeBuilder};
use crate::units::{BLOCK_BYTES, ContentId, GIB, MIB, TIB};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

/// The longest `.layout` that is read: one of 6,000 files has some 100 KB, one of a million 20 MB.
pub const LAYOUT_MAX_BYTES: u64 = 256 * MIB;
/// Names in one layout that are read, as many as of any filesystem.
pub const LAYOUT_ENTRIES_MAX: u64 = 8 << 20;
/// Runs in one layout that are read.
pub const LAYOUT_RUNS_MAX: u64 = 16 << 20;

pub(super) const MAGIC: &str = "rootvol layout 1";
/// How many times its compressed size the text may have, besides [`RATIO_FROM_BYTES`]: ours is 4 to 20 times as long.
const RATIO_MAX: u64 = 100;
const RATIO_FROM_BYTES: u64 = MIB;
/// All of the text.
const TEXT_MAX_BYTES: u64 = 4 * GIB;
/// The longest line; one of ours has at most [`RUNS_PER_LINE`] runs, or a partition's JSON.
const LINE_MAX_BYTES: u64 = 64 * 1024;
pub(super) const RUNS_PER_LINE: usize = 256;
/// Directories in each other. What lies deeper is not kept in a layout, so that a new version places it anew.
pub(super) const DEPTH_MAX: usize = 4096;
/// Data blocks of a disk: those of the largest EBS volume, 64 TiB.
const DATA_BLOCKS_MAX: u64 = 64 * TIB / BLOCK_BYTES;
/// The largest disk here, so that no sum wraps around.
const DISK_MAX_BYTES: u64 = 1 << 62;
/// The most partitions: a GPT's usual 128, and more than any disk here has.
const PARTITIONS_MAX: usize = 128;
/// Blocks in a file: ext4 numbers them with 32 bits.
const LOGICAL_MAX: u64 = 1 << 32;

fn node_of(letter: &[u8]) -> Option<NewNode<'static>> {
    const NOTHING: Device = Device { major: 0, minor: 0 };
    Some(match letter {
        b"d" => NewNode::Directory,
        b"f" => NewNode::File { content: ContentId(0), length: 0, data: None },
        b"l" => NewNode::Symlink(b"-"),
        b"c" => NewNode::CharDevice(NOTHING),
        b"b" => NewNode::BlockDevice(NOTHING),
        b"p" => NewNode::Fifo,
        b"s" => NewNode::Socket,
        _ => return None,
    })
}

/// Whether a file that begins like this may be a layout: one in gzip, or its text. A gzip file may be much else.
pub(super) fn is_layout(mut input: impl Read) -> bool {
    let mut head = Vec::new();
    if input.by_ref().take(4096).read_to_end(&mut head).is_err() {
        return false;
    }
    let mut magic = vec![0; MAGIC.len()];
    let found = match Compression::of(&head) {
        // The text may end before its end: the head is cut off.
        Ok(Some(Compression::Gzip)) => flate2::read::MultiGzDecoder::new(&head[..]).read_exact(&mut magic).is_ok(),
        _ => (&head[..]).read_exact(&mut magic).is_ok(),
    };
    found && magic == MAGIC.as_bytes()
}

/// Reads a layout of `len` bytes.
pub(super) fn read(input: impl Read, len: u64) -> Result<Parent> {
    if len > LAYOUT_MAX_BYTES {
        return Err(Error::limit(format!("a layout of {len} bytes; at most {LAYOUT_MAX_BYTES} are read")));
    }
    let mut input = BufReader::new(input.take(LAYOUT_MAX_BYTES));
    let head = input.fill_buf().map_err(|error| Error::io("cannot read", error))?;
    if Compression::of(head)? != Some(Compression::Gzip) {
        return Reader::new(input).parent();
    }
    let most = len.saturating_mul(RATIO_MAX).saturating_add(RATIO_FROM_BYTES).min(TEXT_MAX_BYTES);
    let limits = Limits { decompressed_bytes: most, ..Limits::default() };
    Reader::new(BufReader::new(Decompressed::new(input, Compression::Gzip, limits)?)).parent()
}

/// The lines of a layout.
struct Reader<R> {
    input: R,
    line: Vec<u8>,
    /// Of the line, from 1.
    number: u64,
    entries: u64,
    runs: u64,
}

impl<R: BufRead> Reader<R> {
    fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, entries: 0, runs: 0 }
    }

    /// The next line, without its end.
    fn next(&mut self) -> Result<()> {
        self.number += 1;
        self.line.clear();
        let number = self.number;
        let cannot = |error| unwrap_io(&format!("cannot read line {number}"), error);
        self.input.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut self.line).map_err(cannot)?;
        if self.line.pop() != Some(b'\n') {
            return Err(self.wrong("it is cut off, or longer than any of a layout"));
        }
        Ok(())
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("line {} of the layout: {what}", self.number))
    }

    /// What follows `word` and a space, if the line begins with it.
    fn after(&self, word: &str) -> Option<&[u8]> {
        self.line.strip_prefix(word.as_bytes())?.strip_prefix(b" ")
    }

    fn parent(mut self) -> Result<Parent> {
        self.next().map_err(|_| Error::corrupt(format!("no layout: a file that begins with \"{MAGIC}\" was expected")))?;
        if self.line != MAGIC.as_bytes() {
            return match self.line.strip_prefix(b"rootvol layout ") {
                Some(version) => Err(Error::unsupported(format!("a layout of version {}; version 1 is read", escape(version)))),
                None => Err(Error::corrupt(format!("no layout: a file that begins with \"{MAGIC}\" was expected"))),
            };
        }
        self.next()?;
        let mut parent = Parent::new(self.disk()?);
        self.next()?;
        if let Some(linear) = self.after("linear") {
            let text = std::str::from_utf8(linear).ok().filter(|text| crate::checksum::base64_decode(text).is_some_and(|digest| digest.len() == 32));
            parent.linear_checksum = Some(text.ok_or_else(|| self.wrong("the aggregate is no SHA-256 in base64"))?.to_owned());
            self.next()?;
        }
        while let Some(json) = self.after("partition") {
            let summary: PartitionSummary = serde_json::from_slice(json).map_err(|error| self.wrong("this is no partition").caused_by(error))?;
            self.check_partition(&summary, &parent)?;
            parent.partitions.push(ParentPartition::new(summary));
            self.next()?;
        }
        while self.after("data").is_some() {
            self.data(&mut parent)?;
            self.next()?;
        }
        loop {
            if self.line.starts_with(b"ext4 ") {
                let (at, filesystem) = self.filesystem(&parent)?;
                parent.partitions[at].ext4 = Some(Arc::new(filesystem));
            } else if self.line.starts_with(b"fat ") {
                let (at, volume) = self.volume(&parent)?;
                parent.partitions[at].fat = Some(Arc::new(volume));
            } else {
                break;
            }
        }
        if self.line != b"end" {
            return Err(self.wrong("it is none of those that can stand here"));
        }
        match self.input.fill_buf() {
            Ok([]) => Ok(parent),
            Ok(_) => Err(self.wrong("something follows the end")),
            Err(error) => Err(unwrap_io("cannot read what follows the end", error)),
        }
    }

    fn disk(&self) -> Result<DiskSummary> {
        let json = self.after("disk").ok_or_else(|| self.wrong("the disk was expected"))?;
        let disk: DiskSummary = serde_json::from_slice(json).map_err(|error| self.wrong("this is no disk").caused_by(error))?;
        if !matches!(disk.sector_bytes, 512 | 4096) || disk.size_bytes == 0 || disk.size_bytes > DISK_MAX_BYTES {
            return Err(self.wrong(format!("there is no disk of {} bytes with sectors of {}", disk.size_bytes, disk.sector_bytes)));
        }
        if disk.table.parse::<crate::partition::TableKind>().is_err() {
            return Err(self.wrong(format!("{:?} is no partition table", escape(disk.table.as_bytes()))));
        }
        Ok(disk)
    }

    fn check_partition(&self, summary: &PartitionSummary, parent: &Parent) -> Result<()> {
        let PartitionSummary { number, offset_bytes, size_bytes, .. } = *summary;
        if parent.partitions.len() >= PARTITIONS_MAX {
            return Err(self.wrong(format!("over {PARTITIONS_MAX} partitions")));
        }
        if parent.partitions.last().is_some_and(|last| last.summary.number >= number) {
            return Err(self.wrong(format!("partition {number} is behind one of the same or a higher number")));
        }
        if offset_bytes.checked_add(size_bytes).is_none_or(|end| end > parent.size_bytes()) || size_bytes == 0 {
            return Err(self.wrong(format!("partition {number} has {size_bytes} bytes at {offset_bytes} of a disk of {}", parent.size_bytes())));
        }
        Ok(())
    }

    fn data(&self, parent: &mut Parent) -> Result<()> {
        let blocks = parent.size_bytes().div_ceil(BLOCK_BYTES);
        let mut held: u64 = parent.data.iter().map(|run| run.end - run.start).sum();
        for run in self.line.split(|byte| *byte == b' ').skip(1) {
            let range = pair(run).and_then(|(first, count)| Some(first..first.checked_add(count)?)).filter(|range| range.start < range.end);
            let range: Range<u64> = range.ok_or_else(|| self.wrong(format!("{} are no blocks", escape(run))))?;
            let from = parent.data.last().map_or(0, |last| last.end);
            if range.start < from || range.end > blocks {
                return Err(self.wrong(format!("blocks {} to {} of {blocks}, behind those before {from}", range.start, range.end - 1)));
            }
            held += range.end - range.start;
            if held > DATA_BLOCKS_MAX {
                return Err(Error::limit(format!("over {DATA_BLOCKS_MAX} blocks with data, which is more than 64 TiB")));
            }
            parent.data.push(range);
        }
        Ok(())
    }

    /// The FAT volume that begins at this line; the line is then the one behind it.
    fn volume(&mut self, parent: &Parent) -> Result<(usize, fat::Parent)> {
        let known = parent.partitions.iter().map(|partition| (&partition.summary, partition.fat.is_some()));
        let (at, mut volume) = chains::head(&self.line, known).map_err(|what| self.wrong(what))?;
        self.next()?;
        while self.line.starts_with(b"d ") || self.line.starts_with(b"f ") || self.line.starts_with(b"+ ") {
            self.entries += 1;
            if self.entries > LAYOUT_ENTRIES_MAX {
                return Err(Error::limit(format!("over {LAYOUT_ENTRIES_MAX} names in one layout")));
            }
            self.runs += chains::add(&mut volume, &self.line).map_err(|what| self.wrong(what))?;
            if self.runs > LAYOUT_RUNS_MAX {
                return Err(Error::limit(format!("over {LAYOUT_RUNS_MAX} runs in one layout")));
            }
            self.next()?;
        }
        Ok((at, volume))
    }

    /// The filesystem that begins at this line; the line is then the one behind it.
    fn filesystem(&mut self, parent: &Parent) -> Result<(usize, ext4::Parent)> {
        let (at, head) = self.head(parent)?;
        self.next()?;
        let mut entries = Entries::new(head);
        loop {
            if let Some(more) = self.line.strip_prefix(b"+ ") {
                let more = more.to_vec();
                self.take_runs(&mut entries, &more)?;
            } else if self.line.first().is_some_and(u8::is_ascii_digit) {
                self.entry(&mut entries)?;
            } else {
                break;
            }
            self.next()?;
        }
        self.number -= 1;
        let filesystem = entries.finish();
        let filesystem = filesystem.map_err(|(line, what)| Error::corrupt(format!("line {} of the layout: {what}", line.unwrap_or(self.number))))?;
        self.number += 1;
        Ok((at, filesystem))
    }

    /// The line that begins a filesystem.
    fn head(&self, parent: &Parent) -> Result<(usize, Head)> {
        let line = std::str::from_utf8(&self.line).map_err(|_| self.wrong("it is no UTF-8"))?;
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, number, uuid, hash_seed, epoch, block_bytes, blocks] = fields[..] else {
            return Err(self.wrong("a partition, two identifiers, a time, the size of a block and their number were expected"));
        };
        let number = u32::try_from(decimal(number.as_bytes()).unwrap_or(u64::MAX)).unwrap_or(u32::MAX);
        let at = parent.partitions.iter().position(|partition| partition.summary.number == number);
        let at = at.ok_or_else(|| self.wrong("a filesystem of a partition that there is not"))?;
        if parent.partitions[at].ext4.is_some() {
            return Err(self.wrong(format!("a second filesystem of partition {number}")));
        }
        let guid = |text: &str| text.parse::<Guid>().map_err(|error| self.wrong(error));
        let seconds = decimal(epoch.as_bytes()).and_then(|seconds| i64::try_from(seconds).ok()).filter(|seconds| *seconds < 1 << 40);
        let block_bytes = decimal(block_bytes.as_bytes()).filter(|bytes| bytes.is_power_of_two() && (1024..=65_536).contains(bytes));
        let blocks = decimal(blocks.as_bytes()).filter(|blocks| *blocks > 0);
        let (Some(seconds), Some(block_bytes), Some(blocks)) = (seconds, block_bytes, blocks) else {
            return Err(self.wrong("the time, the size of a block or their number is none that ext4 has"));
        };
        let partition = &parent.partitions[at].summary;
        if blocks.checked_mul(block_bytes).is_none_or(|bytes| bytes > partition.size_bytes) {
            return Err(self.wrong(format!("{blocks} blocks of {block_bytes} bytes in a partition of {}", partition.size_bytes)));
        }
        let uuid = guid(uuid)?;
        if partition.filesystem.as_ref().is_some_and(|filesystem| filesystem.uuid != uuid.to_string()) {
            return Err(self.wrong(format!("the filesystem {uuid} in a partition that has another")));
        }
        let inodes = partition.filesystem.as_ref().and_then(|filesystem| filesystem.inodes).unwrap_or(u64::MAX);
        let block_bytes = u32::try_from(block_bytes).map_err(|_| self.wrong("the size of a block"))?;
        Ok((at, Head { uuid, hash_seed: guid(hash_seed)?, epoch: Timestamp::from_seconds(seconds), block_bytes, blocks, inodes }))
    }

    /// An entry of a filesystem.
    fn entry(&mut self, entries: &mut Entries) -> Result<()> {
        self.entries += 1;
        if self.entries > LAYOUT_ENTRIES_MAX {
            return Err(Error::limit(format!("over {LAYOUT_ENTRIES_MAX} names in one layout")));
        }
        let line = std::mem::take(&mut self.line);
        let mut fields = line.splitn(5, |byte| *byte == b' ');
        let (Some(depth), Some(kind), Some(ino), Some(runs), Some(name)) = (fields.next(), fields.next(), fields.next(), fields.next(), fields.next()) else {
            return Err(self.wrong("depth, kind, inode, runs and name were expected"));
        };
        let depth = decimal(depth).and_then(|depth| usize::try_from(depth).ok()).ok_or_else(|| self.wrong("its depth is no number"))?;
        let ino = decimal(ino).and_then(|ino| u32::try_from(ino).ok()).ok_or_else(|| self.wrong("its inode is no number of 32 bits"))?;
        let name = unescape(name).ok_or_else(|| self.wrong("its name is not escaped as names are"))?;
        entries.add(depth, kind, ino, &name).map_err(|what| self.wrong(what))?;
        if runs != b"-" {
            self.take_runs(entries, runs)?;
        }
        self.line = line;
        Ok(())
    }

    fn take_runs(&mut self, entries: &mut Entries, runs: &[u8]) -> Result<()> {
        for run in runs.split(|byte| *byte == b',') {
            self.runs += 1;
            if self.runs > LAYOUT_RUNS_MAX {
                return Err(Error::limit(format!("over {LAYOUT_RUNS_MAX} runs in one layout")));
            }
            entries.add_run(self.number, run).map_err(|what| self.wrong(what))?;
        }
        Ok(())
    }
}

/// What a filesystem's first line says.
struct Head {
    uuid: Guid,
    hash_seed: Guid,
    epoch: Timestamp,
    block_bytes: u32,
    blocks: u64,
    /// How many inodes it has.
    inodes: u64,
}

/// The entries of a filesystem, as they are read.
struct Entries {
    head: Head,
    builder: TreeBuilder,
    /// The directories that the last entry lies in, and it itself if it is one.
    stack: Vec<NodeId>,
    /// By the builder's numbers.
    inodes: Vec<u32>,
    of_inode: HashMap<u32, NodeId>,
    /// By the builder's numbers, each with its line.
    runs: Vec<(ParentRun, u64)>,
    /// The last entry, if runs may follow, and where its next runs go on.
    open: Option<(NodeId, [u64; 3])>,
}

impl Entries {
    fn new(head: Head) -> Self {
        let stack = Vec::new();
        Self { head, builder: TreeBuilder::new(), stack, inodes: Vec::new(), of_inode: HashMap::new(), runs: Vec::new(), open: None }
    }

    fn add(&mut self, depth: usize, kind: &[u8], ino: u32, name: &[u8]) -> Result<(), String> {
        if self.inodes.is_empty() {
            // The root is in every tree.
            if depth != 0 || kind != b"d" || name != b"/" || !matches!(ino, 0 | ext4::format::ROOT_INO) {
                return Err("the root was expected: 0 d 2 … /".into());
            }
            self.stack.push(NodeId::ROOT);
            return self.number(NodeId::ROOT, ino);
        }
        if depth == 0 || depth > self.stack.len() || depth > DEPTH_MAX {
            return Err(format!("an entry at depth {depth}, where 1 to {} are possible", self.stack.len().min(DEPTH_MAX)));
        }
        self.stack.truncate(depth);
        let directory = *self.stack.last().ok_or("an entry of no directory")?;
        if ino != 0 && (ino < ext4::format::FIRST_INO || u64::from(ino) > self.head.inodes) {
            return Err(format!("inode {ino}, which is reserved or not there"));
        }
        let twice = || format!("the directory has the name {} twice", escape(name));
        if kind == b"h" {
            self.open = None;
            let node = *self.of_inode.get(&ino).ok_or_else(|| format!("a second name of inode {ino}, which has no first"))?;
            if self.builder.is_directory(node) {
                return Err(format!("a second name of inode {ino}, which is a directory"));
            }
            return if self.builder.link_in(directory, name, node).map_err(|error| error.to_string())? { Ok(()) } else { Err(twice()) };
        }
        let new = node_of(kind).ok_or_else(|| format!("{} is no kind of entry", escape(kind)))?;
        let added = self.builder.add_in(directory, name, Metadata::default(), new).map_err(|error| error.to_string())?;
        let node = added.ok_or_else(twice)?;
        if matches!(new, NewNode::Directory) {
            self.stack.push(node);
        }
        self.number(node, ino)
    }

    fn number(&mut self, node: NodeId, ino: u32) -> Result<(), String> {
        self.open = Some((node, [0; 3]));
        self.inodes.push(ino);
        if ino > 0 && self.of_inode.insert(ino, node).is_some() {
            return Err(format!("two entries have inode {ino}"));
        }
        Ok(())
    }

    fn add_run(&mut self, line: u64, text: &[u8]) -> Result<(), String> {
        let (node, next) = self.open.as_mut().ok_or("runs of an entry that has none of its own")?;
        let none = || format!("{} is no run of blocks", escape(text));
        let (what, rest) = match text.split_first() {
            Some((b'm', rest)) => (ParentRunKind::Map, rest),
            Some((b'x', rest)) => (ParentRunKind::Xattrs, rest),
            _ => (ParentRunKind::Data, text),
        };
        let (logical, rest) = match rest.iter().position(|byte| *byte == b':') {
            Some(at) if what == ParentRunKind::Data => (Some(decimal(&rest[..at]).ok_or_else(none)?), &rest[at + 1..]),
            _ => (None, rest),
        };
        let (start, count) = pair(rest).filter(|(_, count)| *count > 0).ok_or_else(none)?;
        let next = &mut next[match what {
            ParentRunKind::Data => 0,
            ParentRunKind::Map => 1,
            ParentRunKind::Xattrs => 2,
        }];
        let logical = logical.unwrap_or(*next);
        if logical < *next {
            return Err(format!("block {logical} of an entry behind block {next}"));
        }
        if start.checked_add(count).is_none_or(|end| end > self.head.blocks) {
            return Err(format!("{count} blocks from {start} on in a filesystem of {}", self.head.blocks));
        }
        *next = logical.checked_add(count).filter(|end| *end <= LOGICAL_MAX).ok_or("an entry of over 2^32 blocks")?;
        self.runs.push((ParentRun { node: *node, what, logical, start, count }, line));
        Ok(())
    }

    /// The filesystem; an error has the line that it is in.
    fn finish(mut self) -> Result<ext4::Parent, (Option<u64>, String)> {
        if self.inodes.is_empty() {
            return Err((None, "a filesystem without a root".into()));
        }
        self.runs.sort_unstable_by_key(|(run, line)| (run.start, *line));
        if let Some(pair) = self.runs.windows(2).find(|pair| pair[0].0.end() > pair[1].0.start) {
            let line = pair[0].1.max(pair[1].1);
            return Err((Some(line), format!("block {} lies in a run of line {} too", pair[1].0.start, pair[0].1.min(pair[1].1))));
        }
        let (tree, numbers) = self.builder.freeze_numbered().map_err(|error| (None, error.to_string()))?;
        let mut inodes = vec![0; tree.node_count()];
        for (number, ino) in numbers.iter().zip(&self.inodes) {
            inodes[number.index()] = *ino;
        }
        let mut runs: Vec<ParentRun> = self.runs.iter().map(|(run, _)| ParentRun { node: numbers[run.node.index()], ..*run }).collect();
        runs.sort_unstable_by_key(|run| (run.node, run.what, run.logical));
        let Head { uuid, hash_seed, epoch, block_bytes, blocks, .. } = self.head;
        Ok(ext4::Parent { uuid, hash_seed, epoch, block_bytes, blocks, tree, inodes, runs })
    }
}

/// A number in decimal digits alone.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// `first+count`.
pub(super) fn pair(text: &[u8]) -> Option<(u64, u64)> {
    let at = text.iter().position(|byte| *byte == b'+')?;
    Some((decimal(&text[..at])?, decimal(&text[at + 1..])?))
}
