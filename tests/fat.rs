//! FAT volumes judged by others: fsck.fat, mtools, blkid, file, and the crate fatfs reading back.

mod common;

use common::judge;
use rootvol::content::{Contents, MemoryContents};
use rootvol::fs::fat::{self, FatKind, FatLayout, Options, SizeRequest};
use rootvol::layout::{Layout, SegmentSource, assert_well_formed, fill, segments};
use rootvol::tree::{Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder, Xattr};
use rootvol::units::{GIB, KIB, MIB, TIB};
use rootvol::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A tree with its contents in memory.
#[derive(Default)]
struct Fixture {
    builder: TreeBuilder,
    contents: MemoryContents,
}

impl Fixture {
    fn directory(&mut self, path: &str, seconds: i64) -> &mut Self {
        self.builder.add(path, metadata(seconds), NewNode::Directory).unwrap();
        self
    }

    fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.file_at(path, bytes, 1_700_000_000)
    }

    fn file_at(&mut self, path: &str, bytes: impl Into<Vec<u8>>, seconds: i64) -> &mut Self {
        let bytes = bytes.into();
        let length = u64::try_from(bytes.len()).unwrap();
        let content = self.contents.push(bytes).unwrap();
        self.builder.add(path, metadata(seconds), NewNode::File { content, length, data: None }).unwrap();
        self
    }

    fn freeze(self) -> (Arc<Tree>, MemoryContents) {
        (Arc::new(self.builder.freeze().unwrap()), self.contents)
    }
}

fn metadata(seconds: i64) -> Metadata {
    Metadata { mode: 0o755, mtime: Timestamp::from_seconds(seconds), ..Metadata::default() }
}

fn options(size: SizeRequest) -> Options {
    let mut options = Options::new();
    options.size = size;
    options.volume_id = 0x1234_abcd;
    options
}

/// Writes the used bytes of a layout into a sparse file; what is unused gets `filler` where the volume is small.
fn write_image(layout: &FatLayout, contents: &dyn Contents, path: &Path, filler: u8) {
    assert_well_formed(layout);
    let mut file = File::create(path).unwrap();
    if filler != 0 {
        file.write_all(&vec![filler; usize::try_from(layout.size_bytes()).unwrap()]).unwrap();
    }
    file.set_len(layout.size_bytes()).unwrap();
    let mut chunk = vec![0; 1 << 20];
    for segment in segments(layout, 0..layout.size_bytes()) {
        if filler == 0 && segment.source == SegmentSource::Zeros {
            continue;
        }
        let mut at = segment.range.start;
        while at < segment.range.end {
            let len = usize::try_from((segment.range.end - at).min(1 << 20)).unwrap();
            fill(layout, contents, at, &mut chunk[..len]).unwrap();
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&chunk[..len]).unwrap();
            at += u64::try_from(len).unwrap();
        }
    }
}

fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// fsck.fat ends with 0 and says nothing but its version and a line of statistics.
fn fsck(image: &Path) {
    let Some(mut command) = judge("fsck.fat") else { return };
    let (ok, text) = output(command.arg("-n").arg(image));
    let complaints: Vec<&str> = text.lines().filter(|line| !line.starts_with("fsck.fat ") && !line.contains(" clusters")).collect();
    assert!(ok && complaints.is_empty(), "fsck.fat: {text}");
}

/// Path to (time of the last change, contents); directories end in a slash.
type Listing = BTreeMap<String, (String, Vec<u8>)>;

fn read_back(image: &Path) -> Listing {
    let mut options = fatfs::FsOptions::new();
    options = options.update_accessed_date(false);
    let volume = fatfs::FileSystem::new(File::options().read(true).write(true).open(image).unwrap(), options).unwrap();
    let mut listing = Listing::new();
    let mut pending = vec![(String::new(), volume.root_dir())];
    while let Some((path, directory)) = pending.pop() {
        for entry in directory.iter() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let time = entry.modified();
            let time = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                time.date.year, time.date.month, time.date.day, time.time.hour, time.time.min, time.time.sec
            );
            if entry.is_dir() {
                listing.insert(format!("{path}{name}/"), (time, Vec::new()));
                pending.push((format!("{path}{name}/"), entry.to_dir()));
            } else {
                let mut bytes = Vec::new();
                entry.to_file().read_to_end(&mut bytes).unwrap();
                listing.insert(format!("{path}{name}"), (time, bytes));
            }
        }
    }
    listing
}

/// What a reader should find, from the tree alone.
fn expected(tree: &Tree, contents: &dyn Contents) -> Listing {
    let mut listing = Listing::new();
    tree.walk(|path, id| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        let node = tree.node(id);
        let seconds = if node.implied { 0 } else { node.metadata.mtime.seconds };
        let time = date(seconds.clamp(315_532_800, 4_354_819_199) / 2 * 2);
        match node.kind {
            NodeKind::Directory if path.is_empty() => {}
            NodeKind::Directory => {
                listing.insert(format!("{path}/"), (time, Vec::new()));
            }
            NodeKind::File(file) => {
                let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
                for (offset, len) in tree.data_ranges(&file) {
                    let range = usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap();
                    contents.read_exact_at(file.content, offset, &mut bytes[range])?;
                }
                listing.insert(path, (time, bytes));
            }
            _ => panic!("{path} cannot be on FAT"),
        }
        Ok(())
    })
    .unwrap();
    listing
}

/// A second way from seconds to a date: day by day.
fn date(seconds: i64) -> String {
    let (mut days, mut year) = (seconds / 86_400, 1970);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for len in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    let second = seconds % 86_400;
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}", days + 1, second / 3600, second / 60 % 60, second % 60)
}

fn rich_tree() -> (Arc<Tree>, MemoryContents) {
    let mut fixture = Fixture::default();
    let noise: Vec<u8> = (0..700_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fixture.directory("EFI", 1_600_000_001).directory("EFI/BOOT", 0).directory("EFI/empty", 5_000_000_000);
    fixture.file("EFI/BOOT/BOOTX64.EFI", noise.clone()).file("EFI/BOOT/grub.cfg", "configfile /boot/grub/grub.cfg\n");
    fixture.file("EFI/BOOT/grubx64-with-a-long-name.efi", &noise[..123_456]).file("EFI/BOOT/none", "");
    fixture.file_at("loader/entries/a long name with spaces, ünïcödé and 日本語 😀.conf", "x", 951_782_399);
    fixture.file(&format!("loader/{}", "n".repeat(255)), "long").file("loader/.hidden", "h").file("loader/a+b=c.x;y", "p");
    fixture.file("loader/thirteen.long", "13").file(&format!("loader/{}", "t".repeat(26)), "26");
    let length = 90_000;
    let content = fixture.contents.push(vec![0x5a; 90_000]).unwrap();
    let data = [(4_096, 10_000), (50_000, 5)];
    fixture.builder.add("holes.bin", metadata(1_700_000_000), NewNode::File { content, length, data: Some(&data) }).unwrap();
    fixture.builder.link("EFI/copy.efi", "EFI/BOOT/BOOTX64.EFI").unwrap();
    fixture.freeze()
}

fn check_with(tree: &Arc<Tree>, contents: &MemoryContents, options: &Options) -> FatLayout {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("fat.img");
    let layout = fat::plan(Arc::clone(tree), options).unwrap();
    // Unused bytes are anything at all, where the volume is not too large to fill.
    write_image(&layout, contents, &image, if layout.size_bytes() <= 80 * MIB { 0xa5 } else { 0 });
    fsck(&image);
    let (found, wanted) = (read_back(&image), expected(tree, contents));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, entry) in &wanted {
        assert!(found[path] == *entry, "{path} differs: {} and {}", found[path].0, entry.0);
    }
    let probed = probe(&image).unwrap().expect("a FAT volume");
    let summary = layout.summary();
    assert_eq!((&probed.kind, &probed.label, &probed.uuid), (&summary.kind, &summary.label, &summary.uuid));
    assert_eq!((probed.free_bytes, probed.used_bytes, probed.block_bytes), (summary.free_bytes, summary.used_bytes, summary.block_bytes));
    layout
}

fn probe(image: &Path) -> Result<Option<rootvol::report::FilesystemSummary>> {
    let file = std::cell::RefCell::new(File::open(image).unwrap());
    let size = file.borrow().metadata().unwrap().len();
    let read_at = |offset: u64, out: &mut [u8]| {
        let mut file = file.borrow_mut();
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(out)).map_err(|error| rootvol::Error::io("cannot read", error))
    };
    fat::probe(&read_at, size)
}

#[test]
fn volumes_of_all_kinds_and_sizes_are_clean_and_read_back() {
    let (tree, contents) = rich_tree();
    for (kind, sector, size) in [
        (FatKind::Fat12, 512, SizeRequest::Exact(4 * MIB)),
        (FatKind::Fat16, 512, SizeRequest::Exact(16 * MIB)),
        (FatKind::Fat16, 512, SizeRequest::Exact(GIB)),
        (FatKind::Fat32, 512, SizeRequest::Exact(40 * MIB)),
        (FatKind::Fat32, 512, SizeRequest::Exact(128 * MIB + 512 * 7)),
        (FatKind::Fat32, 512, SizeRequest::Exact(2 * GIB)),
        (FatKind::Fat12, 4096, SizeRequest::Exact(8 * MIB)),
        (FatKind::Fat16, 4096, SizeRequest::Exact(64 * MIB)),
        (FatKind::Fat32, 4096, SizeRequest::Exact(300 * MIB)),
        (FatKind::Fat12, 512, SizeRequest::Minimum { free_bytes: 0 }),
        (FatKind::Fat16, 512, SizeRequest::Minimum { free_bytes: 0 }),
        (FatKind::Fat32, 512, SizeRequest::Minimum { free_bytes: 12_345 }),
    ] {
        let layout = check_with(&tree, &contents, &{ let mut options = options(size); options.kind = Some(kind); options.sector_bytes = sector; options });
        assert_eq!(layout.kind(), kind);
    }
}
