//! Trees for tests, with contents that differ at every position.

use rootvol::content::Contents;
use rootvol::tree::{Device, Metadata, NewNode, Timestamp, Tree, TreeBuilder, Xattr};
use rootvol::{ContentId, Result};
use std::sync::Arc;

/// The files' contents: a function of file and position; zeros in holes.
#[derive(Default)]
pub(crate) struct Patterns {
    files: Vec<(u64, Option<Ranges>)>,
}

/// Parts of a file that are data: (offset, length).
pub(crate) type Ranges = Vec<(u64, u64)>;
/// Names and values of xattrs.
type Attributes<'a> = Vec<(&'a str, Vec<u8>)>;

impl Patterns {
    pub(crate) fn byte(id: u32, at: u64) -> u8 {
        let mixed = ((at / 7) ^ (u64::from(id) << 20)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        u8::try_from((mixed ^ at) & 0xff).unwrap() | 0x10
    }
}

impl Contents for Patterns {
    fn read_exact_at(&self, id: ContentId, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        let (length, data) = &self.files[usize::try_from(id.0).unwrap()];
        let end = offset_bytes + u64::try_from(out.len()).unwrap();
        assert!(end <= *length, "{end} bytes of a file of {length} were asked for");
        out.fill(0);
        let whole = vec![(0, *length)];
        for (start, len) in data.as_ref().unwrap_or(&whole) {
            for at in (*start).max(offset_bytes)..(start + len).min(end) {
                out[usize::try_from(at - offset_bytes).unwrap()] = Self::byte(id.0, at);
            }
        }
        Ok(())
    }
}

pub(crate) struct Sample {
    pub(crate) tree: Arc<Tree>,
    pub(crate) contents: Arc<Patterns>,
}

/// A tree in the making.
#[derive(Default)]
pub(crate) struct Maker {
    pub(crate) builder: TreeBuilder,
    contents: Patterns,
}

pub(crate) fn metadata(mode: u16) -> Metadata {
    Metadata { mode, mtime: Timestamp::from_seconds(1_600_000_000), ..Metadata::default() }
}

impl Maker {
    pub(crate) fn file(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, length: u64) {
        self.file_with(path, metadata, length, None);
    }

    pub(crate) fn file_with(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, length: u64, data: Option<Ranges>) {
        let content = ContentId(u32::try_from(self.contents.files.len()).unwrap());
        self.builder.add(path, metadata, NewNode::File { content, length, data: data.as_deref() }).unwrap();
        self.contents.files.push((length, data));
    }

    pub(crate) fn add(&mut self, path: impl AsRef<[u8]>, metadata: Metadata, node: NewNode<'_>) {
        self.builder.add(path, metadata, node).unwrap();
    }

    pub(crate) fn with_xattrs(&mut self, metadata: Metadata, xattrs: &[(&str, Vec<u8>)]) -> Metadata {
        let set = xattrs.iter().map(|(name, value)| Xattr::new(name, value)).collect();
        Metadata { xattrs: self.builder.intern_xattrs(set).unwrap(), ..metadata }
    }

    pub(crate) fn finish(self) -> Sample {
        Sample { tree: Arc::new(self.builder.freeze().unwrap()), contents: Arc::new(self.contents) }
    }
}

/// A POSIX ACL in the form of the system calls.
pub(crate) fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

const NONE: u32 = u32::MAX;

pub(crate) fn access_acl() -> Vec<u8> {
    acl(&[(1, 6, NONE), (2, 4, 1000), (4, 4, NONE), (8, 5, 2000), (0x10, 5, NONE), (0x20, 4, NONE)])
}

pub(crate) fn default_acl() -> Vec<u8> {
    acl(&[(1, 7, NONE), (2, 7, 3_000_000_000), (4, 5, NONE), (0x10, 7, NONE), (0x20, 5, NONE)])
}

/// `cap_net_bind_service=ep`, revision 2.
pub(crate) fn capability() -> Vec<u8> {
    let mut value = vec![1, 0, 0, 2];
    value.extend([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    value
}

/// A tree that has every kind of everything.
pub(crate) fn everything() -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    kinds(&mut maker);
    attributes(&mut maker);
    files(&mut maker);
    links(&mut maker);
    maker.finish()
}

fn kinds(maker: &mut Maker) {
    for (name, mode) in [("plain", 0o644), ("suid", 0o4755), ("sgid", 0o2711), ("sticky", 0o1777), ("none", 0), ("all", 0o7777)] {
        maker.file(format!("modes/{name}"), metadata(mode), 10);
    }
    maker.add("modes/sgid-dir", metadata(0o2775), NewNode::Directory);
    for (name, device) in [("null", (1, 3)), ("edge", (255, 255)), ("minor", (8, 256)), ("major", (256, 1)), ("max", (4095, 1_048_575))] {
        let device = Device { major: device.0, minor: device.1 };
        maker.add(format!("dev/c-{name}"), metadata(0o666), NewNode::CharDevice(device));
        maker.add(format!("dev/b-{name}"), metadata(0o660), NewNode::BlockDevice(device));
    }
    maker.add("dev/fifo", metadata(0o600), NewNode::Fifo);
    maker.add("dev/socket", metadata(0o755), NewNode::Socket);
    for (name, id) in [("small", 1000), ("u16", 65_535), ("u17", 65_536), ("big", 3_000_000_000), ("largest", u32::MAX - 1), ("all-ones", u32::MAX)] {
        maker.file(format!("owners/{name}"), Metadata { uid: id, gid: id ^ 1, ..metadata(0o644) }, 1);
    }
    for (name, seconds, nanoseconds) in [
        ("1901", -(1 << 31), 0),
        ("1969", -1, 999_999_999),
        ("epoch", 0, 0),
        ("2038", (1_i64 << 31) - 1, 1),
        ("2038-after", 1 << 31, 123_456_789),
        ("2106", 1 << 32, 5),
        ("2446", (1_i64 << 31) - 1 + (3 << 32), 999_999_999),
    ] {
        maker.file(format!("times/{name}"), Metadata { mtime: Timestamp { seconds, nanoseconds }, ..metadata(0o644) }, 1);
    }
    for name in
        [&b"names/\xff\xfe\x80"[..], b"names/sp ace", b"names/new\nline", b"names/\xc3\xa4", &[b"names/".to_vec(), vec![b'n'; 255]].concat(), b"names/a"]
    {
        maker.file(name, metadata(0o644), 5);
    }
}

fn attributes(maker: &mut Maker) {
    let label = ("security.selinux", b"system_u:object_r:etc_t:s0\0".to_vec());
    let sets: Vec<(&str, Attributes<'_>)> = vec![
        ("one", vec![("user.one", b"1".to_vec())]),
        ("empty-value", vec![("user.empty", Vec::new())]),
        ("capability", vec![("security.capability", capability())]),
        ("label", vec![label.clone()]),
        ("acl", vec![("system.posix_acl_access", access_acl())]),
        (
            "many",
            vec![
                label.clone(),
                ("security.capability", capability()),
                ("trusted.t", vec![9; 33]),
                ("user.u", vec![1; 100]),
                ("system.posix_acl_access", access_acl()),
            ],
        ),
        ("inode-full", vec![("user.a", vec![3; 68])]),
        ("inode-over", vec![("user.a", vec![3; 69])]),
        ("block-full", vec![("user.a", vec![4; 4040])]),
        ("both-full", vec![("user.a", vec![4; 4040]), ("user.b", vec![5; 68])]),
        ("high-name", vec![("user.\u{e4}\u{f6}", vec![200; 300])]),
        ("long-name", vec![(LONG_NAME, vec![6; 7])]),
    ];
    for (name, list) in &sets {
        let with = maker.with_xattrs(metadata(0o644), list);
        maker.file(format!("xattrs/{name}"), with, 100);
    }
    let with = maker.with_xattrs(metadata(0o2775), &[("system.posix_acl_default", default_acl()), ("system.posix_acl_access", access_acl())]);
    maker.add("xattrs/directory", with, NewNode::Directory);
    let with = maker.with_xattrs(metadata(0o777), &[("trusted.link", vec![1; 200])]);
    maker.add("xattrs/symlink", with, NewNode::Symlink(b"one"));
    let with = maker.with_xattrs(metadata(0o600), &[label]);
    maker.add("xattrs/fifo", with, NewNode::Fifo);
    // Over 1,024 inodes with one set that needs a block: two blocks.
    let with = maker.with_xattrs(metadata(0o644), &[("user.shared", vec![8; 500])]);
    for n in 0..1030 {
        maker.file(format!("xattrs/shared/{n}"), with, 0);
    }
}

const LONG_NAME: &str = "user.0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

fn files(maker: &mut Maker) {
    for length in [0, 1, 4095, 4096, 4097, 100_000, 1_000_000] {
        maker.file(format!("files/{length}"), metadata(0o644), length);
    }
    let mib = 1 << 20;
    for (name, length, data) in [
        ("all-hole", 10 * mib, vec![]),
        ("begin", 3 * mib, vec![(0, 5000)]),
        ("end", 3 * mib, vec![(3 * mib - 10, 10)]),
        ("middle", 3 * mib, vec![(mib, 4096), (2 * mib + 100, 8192)]),
        ("touching", 20_000, vec![(0, 10), (20, 10), (4100, 1), (16_384, 100)]),
        ("far", 1 << 40, vec![(0, 1), ((1 << 40) - 1, 1)]),
        ("largest", (u64::from(u32::MAX)) * 4096, vec![(u64::from(u32::MAX) * 4096 - 1, 1)]),
    ] {
        maker.file_with(format!("holes/{name}"), metadata(0o644), length, Some(data));
    }
    // 3,000 extents: a tree of depth 2.
    maker.file_with("holes/comb", metadata(0o644), 3000 * 8192, Some((0..3000).map(|n| (n * 8192, 4096)).collect()));
    maker.file_with("holes/five", metadata(0o644), 5 * 8192, Some((0..5).map(|n| (n * 8192, 100)).collect()));
}

fn links(maker: &mut Maker) {
    for length in [1, 59, 60, 61, 1000, 4095_usize] {
        let target: Vec<u8> = (0..length).map(|n| if n % 100 == 99 { b'/' } else { b'a' + u8::try_from(n % 26).unwrap() }).collect();
        maker.add(format!("links/symbolic-{length}"), metadata(0o777), NewNode::Symlink(&target));
    }
    maker.add("links/bytes", metadata(0o777), NewNode::Symlink(b"\xff\xfe"));
    maker.file("links/a", metadata(0o644), 777);
    maker.builder.link("links/b", "links/a").unwrap();
    maker.builder.link("modes/zz", "links/a").unwrap();
    maker.builder.link("links/fifo", "dev/fifo").unwrap();
    for n in 0..40 {
        maker.add(format!("links/subdirectories/{n}"), metadata(0o700), NewNode::Directory);
    }
}

/// The sample without the entries whose paths `drop` picks.
pub(crate) fn without(sample: &Sample, drop: impl Fn(&[u8]) -> bool) -> Sample {
    let mut builder = TreeBuilder::new();
    builder.overlay(&sample.tree, 0).unwrap();
    sample
        .tree
        .walk(|path, _| {
            // What lay beneath something dropped is gone already.
            if drop(path) && builder.get(path).is_some() {
                builder.remove(path)?;
            }
            Ok(())
        })
        .unwrap();
    Sample { tree: Arc::new(builder.freeze().unwrap()), contents: Arc::clone(&sample.contents) }
}

/// What a file with these ranges of data has from `start`.
pub(crate) fn expected(tree: &Tree, file: &rootvol::tree::FileData, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    for (from, count) in tree.data_ranges(file) {
        for position in from.max(start)..(from + count).min(start + len) {
            bytes[usize::try_from(position - start).unwrap()] = Patterns::byte(file.content.0, position);
        }
    }
    bytes
}

pub(crate) fn empty() -> Sample {
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    maker.finish()
}

pub(crate) fn one_file(length: u64) -> Sample {
    let mut maker = Maker::default();
    maker.file("file", metadata(0o644), length);
    maker.finish()
}
