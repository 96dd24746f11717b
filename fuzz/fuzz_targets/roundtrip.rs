//! Any small tree through a filesystem and back: planned, written into memory, read.
//!
//! ```text
//! u8 which filesystem │ entries, each with 0xff behind it: u8 kind │ u8 mode, size │ u8 time │ path
//! ```
//!
//! Invariants:
//! - What is planned is read back without damage or finding, by the reader and by the checks.
//! - The tree is equal to the first (of FAT: as far as FAT keeps it), and so is every byte of every file.
#![no_main]

#[path = "shared/filesystem.rs"]
mod filesystem;

use libfuzzer_sys::fuzz_target;
use rootvol::Guid;
use rootvol::content::{Contents, MemoryContents, ReadAt};
use rootvol::fs::{self, Planned, ReadFilesystem, ext4, fat};
use rootvol::layout::fill;
use rootvol::tree::{Device, Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder, Xattr};
use std::sync::Arc;

const IMAGE_MAX: u64 = 8 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((which, entries)) = data.split_first() else { return };
    let is_fat = which.is_multiple_of(2);
    let Some((tree, contents)) = tree(entries, is_fat) else { return };
    let tree = Arc::new(tree);
    let options = if is_fat {
        let mut options = fat::Options::new();
        options.kind = [None, Some(fat::FatKind::Fat12), Some(fat::FatKind::Fat16)][usize::from(which / 2 % 3)];
        fs::Options::Fat(options)
    } else {
        let mut options = ext4::Options::new(Guid::from_name("a"), Guid::from_name("b"), Timestamp::default());
        options.size = ext4::SizeRequest::Minimum { free_bytes: 0 };
        fs::Options::Ext4(options)
    };
    let Ok(Planned { layout, .. }) = fs::plan(&tree, &options) else { return };
    if layout.size_bytes() > IMAGE_MAX {
        return;
    }
    let mut image = vec![0; layout.size_bytes() as usize];
    fill(&*layout, &contents, 0, &mut image).unwrap();
    let disk: Arc<dyn ReadAt> = Arc::new(image);
    let read = fs::read(&disk, &filesystem::options()).expect("what is written can be read").expect("what is written is recognised");
    assert!(read.is_sound() && read.unreadable.is_empty(), "{read:?} {:?}", read.unreadable);
    filesystem::check(&read, disk.size_bytes());
    same(&tree, &contents, read);
});

/// The tree of an input; for FAT with nothing that it does not keep.
fn tree(entries: &[u8], is_fat: bool) -> Option<(Tree, MemoryContents)> {
    // FAT has no time before 1980.
    let implied = Timestamp::from_seconds(if is_fat { 315_532_800 } else { 0 });
    let (mut tree, mut contents) = (TreeBuilder::new().with_implied_time(implied), MemoryContents::new());
    let root = Metadata { mode: 0o755, ..Metadata::default() };
    tree.add("", root, NewNode::Directory).ok()?;
    for (number, entry) in entries.split(|byte| *byte == 0xff).take(100).enumerate() {
        let [kind, bits, time, path @ ..] = entry else { continue };
        let mut metadata = Metadata { mode: 0o755, mtime: Timestamp::from_seconds(315_532_800 + i64::from(*time) * 15_000_000), ..Metadata::default() };
        if !is_fat {
            metadata.mode = u16::from(*bits) << 4 | 0o7;
            (metadata.uid, metadata.gid) = (u32::from(*bits) << 12, number as u32);
            metadata.mtime = Timestamp { seconds: i64::from(*time) * 40_000_000 - 2_000_000_000, nanoseconds: u32::from(*bits) * 3_000_000 };
            if kind & 0x80 != 0 {
                let value = vec![*bits; usize::from(*bits) * usize::from(*time) / 20];
                metadata.xattrs = tree.intern_xattrs(vec![Xattr { name: b"user.fuzz"[..].into(), value: value.into() }]).ok()?;
            }
        }
        let bytes = vec![*kind; usize::from(*bits) * usize::from(*bits) + usize::from(*time)];
        let target = vec![b't'; usize::from(*bits).max(1)];
        let node = match kind % 8 {
            0 | 1 => NewNode::Directory,
            2..=4 => {
                let length = bytes.len() as u64;
                NewNode::File { content: contents.push(bytes).ok()?, length, data: None }
            }
            _ if is_fat => continue,
            5 => NewNode::Symlink(&target),
            6 => NewNode::CharDevice(Device { major: u32::from(*bits), minor: u32::from(*time) << 8 }),
            _ => NewNode::Fifo,
        };
        let _ = tree.add(path, metadata, node);
    }
    // The writer's own lost+found does not count.
    let _ = tree.remove("lost+found");
    if is_fat {
        // The root has no entry of its own in FAT.
        tree.add("", root, NewNode::Directory).ok()?;
    }
    Some((tree.freeze().ok()?, contents))
}

fn same(tree: &Tree, contents: &MemoryContents, read: ReadFilesystem) {
    let mut builder = TreeBuilder::from_tree(read.tree);
    let _ = builder.remove("lost+found");
    let found = builder.freeze().unwrap();
    if found != *tree {
        let shown = |tree: &Tree| {
            let mut out = String::new();
            tree.walk(|path, id| {
                out += &format!("{} {:?}\n", path.escape_ascii(), tree.node(id));
                Ok(())
            })
            .unwrap();
            out
        };
        panic!("wanted\n{}\nfound\n{}", shown(tree), shown(&found));
    }
    tree.walk(|path, id| {
        let (NodeKind::File(wanted), NodeKind::File(file)) = (tree.node(id).kind, found.node(id).kind) else { return Ok(()) };
        let (mut a, mut b) = (vec![0; wanted.length as usize], vec![1; wanted.length as usize]);
        contents.read_exact_at(wanted.content, 0, &mut a)?;
        read.contents.read_exact_at(file.content, 0, &mut b)?;
        assert!(a == b, "{}", path.escape_ascii());
        Ok(())
    })
    .unwrap();
}
