//! FAT volumes judged by others: fsck.fat, mtools, blkid, file, and the crate fatfs reading back.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]

mod common;

use common::judge;
use rootvol::content::{Contents, MemoryContents};
use rootvol::fs::fat::{self, FatKind, FatLayout, Options, SizeRequest};
use rootvol::layout::{Layout, SegmentSource, assert_well_formed, fill, segments};
use rootvol::tree::{Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder, Xattr};
use rootvol::units::{GIB, KIB, MIB, TIB};
use rootvol::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
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
            let time =
                format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", time.date.year, time.date.month, time.date.day, time.time.hour, time.time.min, time.time.sec);
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
    let noise: Vec<u8> = (0..700_001_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
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
        let layout = check_with(&tree, &contents, &{
            let mut options = options(size);
            options.kind = Some(kind);
            options.sector_bytes = sector;
            options
        });
        assert_eq!(layout.kind(), kind);
    }
}

#[test]
fn volumes_at_the_borders_between_the_kinds_are_what_they_are_meant_to_be() {
    let mut fixture = Fixture::default();
    fixture.file("EFI/BOOT/BOOTX64.EFI", vec![7; 5_000]);
    let (tree, contents) = fixture.freeze();
    for (kind, sector, cluster, clusters) in [
        (FatKind::Fat12, 512, 512, 4_084),
        (FatKind::Fat16, 512, 512, 4_085),
        (FatKind::Fat16, 512, 512, 65_524),
        (FatKind::Fat32, 512, 512, 65_525),
        (FatKind::Fat12, 4096, 4096, 4_084),
        (FatKind::Fat16, 4096, 4096, 4_085),
        (FatKind::Fat16, 512, 2048, 65_524),
        (FatKind::Fat32, 512, 2048, 65_525),
        (FatKind::Fat32, 4096, 4096, 65_525),
    ] {
        let plan = |size| {
            let mut options = options(SizeRequest::Exact(size));
            options.kind = Some(kind);
            options.sector_bytes = sector;
            options.cluster_bytes = Some(cluster);
            (fat::plan(Arc::clone(&tree), &options), options)
        };
        // The first size that gives the number.
        let (mut low, mut high) = (0, 2 * clusters * u64::from(cluster));
        while high - low > 1 {
            let middle = low.midpoint(high);
            let enough = match plan(middle).0 {
                Ok(layout) => layout.cluster_count() >= clusters,
                Err(error) => !matches!(error.kind(), ErrorKind::TooSmall { .. }),
            };
            if enough { high = middle } else { low = middle }
        }
        let (layout, options) = plan(high);
        assert_eq!(layout.unwrap().cluster_count(), clusters, "{kind:?}");
        assert_eq!(check_with(&tree, &contents, &options).kind(), kind);
    }
}

#[test]
fn mtools_blkid_and_file_see_the_same() {
    let (tree, contents) = rich_tree();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("fat.img");
    for (kind, size) in [(FatKind::Fat16, 32 * MIB), (FatKind::Fat32, 64 * MIB)] {
        let mut options = options(SizeRequest::Exact(size));
        options.kind = Some(kind);
        options.label = "EFI SYSTEM".to_owned();
        options.hidden_sectors = 2048;
        let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
        write_image(&layout, &contents, &image, 0);
        if let Some(mut blkid) = judge("blkid") {
            let (ok, text) = output(blkid.args(["--probe", "--output", "export"]).arg(&image));
            for line in ["LABEL=EFI SYSTEM", "LABEL_FATBOOT=EFI SYSTEM", "UUID=1234-ABCD", "TYPE=vfat"] {
                assert!(ok && text.replace('\\', "").contains(line), "{line} is not in {text}");
            }
        }
        if let Some(mut file) = judge("file") {
            let (ok, text) = output(file.arg("--brief").arg(&image));
            for part in ["0x1234abcd", "EFI SYSTEM", "hidden sectors 2048", "OEM-ID \"rootvol \""] {
                assert!(ok && text.contains(part), "{part} is not in {text}");
            }
        }
        if let Some(mut minfo) = judge("minfo") {
            let (ok, text) = output(minfo.args(["-i"]).arg(&image).arg("::"));
            for part in ["serial number: 1234ABCD", "disk label=\"EFI SYSTEM \"", "hidden sectors: 2048"] {
                assert!(ok && text.contains(part), "{part} is not in {text}");
            }
        }
        if let Some(mut mdir) = judge("mdir") {
            let (ok, text) = output(mdir.env("TZ", "UTC").arg("-i").arg(&image).arg("::/EFI/BOOT"));
            for part in ["BOOTX64  EFI    700001 2023-11-14  22:13", "grub.cfg", "grubx64-with-a-long-name.efi"] {
                assert!(ok && text.contains(part), "{part} is not in {text}");
            }
        }
        if let Some(mut mcopy) = judge("mcopy") {
            let out = folder.path().join(kind.name());
            std::fs::create_dir(&out).unwrap();
            let (ok, text) = output(mcopy.env("LC_ALL", "C.UTF-8").args(["-s", "-n", "-i"]).arg(&image).arg("::/EFI").arg("::/holes.bin").arg(&out));
            assert!(ok, "{text}");
            for (path, (_, bytes)) in expected(&tree, &contents) {
                if (path.starts_with("EFI/") || path == "holes.bin") && !path.ends_with('/') {
                    assert!(std::fs::read(out.join(&path)).unwrap() == bytes, "{path}");
                }
            }
        }
    }
}

#[test]
fn large_directories_are_planned_in_linear_time() {
    let mut fixture = Fixture::default();
    for n in 0..12_000 {
        fixture.file(&format!("many/a-name-that-needs-numbers-{n}.conf"), if n % 100 == 0 { "x" } else { "" });
    }
    for n in 0..600 {
        fixture.file(&format!("in the root {n}"), "");
    }
    let (tree, contents) = fixture.freeze();
    for kind in [FatKind::Fat16, FatKind::Fat32] {
        let mut options = options(SizeRequest::Exact(64 * MIB));
        options.kind = Some(kind);
        let start = std::time::Instant::now();
        fat::plan(Arc::clone(&tree), &options).unwrap();
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        check_with(&tree, &contents, &options);
    }
    let mut fixture = Fixture::default();
    for n in 0..40_000 {
        fixture.file(&format!("full/{n} with a long name"), "");
    }
    let error = fat::plan(fixture.freeze().0, &options(SizeRequest::Minimum { free_bytes: 0 })).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::LimitExceeded, Some(&b"full"[..])), "{error}");
}

#[test]
fn large_volumes_cost_no_more_than_small_ones() {
    let (tree, contents) = rich_tree();
    let start = std::time::Instant::now();
    let count = |size| {
        let layout = fat::plan(Arc::clone(&tree), &options(SizeRequest::Exact(size))).unwrap();
        assert_well_formed(&layout);
        segments(&layout, 0..size).count()
    };
    let small = count(GIB);
    for size in [33 * GIB, 100 * GIB + 512, TIB, 2 * TIB - 512] {
        assert_eq!(count(size), small);
    }
    assert!(start.elapsed().as_millis() < 2_000, "{:?}", start.elapsed());
    assert!(fat::plan(Arc::clone(&tree), &options(SizeRequest::Exact(2 * TIB))).is_err());
    // The file is sparse; fsck.fat reads the FAT alone.
    check_with(&tree, &contents, &options(SizeRequest::Exact(33 * GIB)));
}

#[test]
fn sizes_are_as_asked_and_too_small_ones_say_what_is_needed() {
    let (tree, contents) = rich_tree();
    for free_bytes in [0, 1, 700 * KIB, 40 * MIB, 600 * MIB] {
        let layout = check_with(&tree, &contents, &options(SizeRequest::Minimum { free_bytes }));
        let summary = layout.summary();
        assert!(summary.free_bytes >= free_bytes && summary.free_bytes <= free_bytes + 64 * KIB, "{free_bytes}: {summary:?}");
    }
    for kind in [None, Some(FatKind::Fat16), Some(FatKind::Fat32)] {
        for size in [0, 511, 40 * KIB, 500 * KIB, MIB] {
            let plan = |size| {
                let mut options = options(SizeRequest::Exact(size));
                options.kind = kind;
                fat::plan(Arc::clone(&tree), &options)
            };
            let error = plan(size).unwrap_err();
            let ErrorKind::TooSmall { needed, available } = error.kind() else { panic!("{error}") };
            assert_eq!(available, size);
            // With the kind fixed by its clusters the contents can need more than the kind does.
            match plan(needed) {
                Ok(_) => {}
                Err(error) => {
                    let ErrorKind::TooSmall { needed: more, .. } = error.kind() else { panic!("{error}") };
                    assert!(more > needed && plan(more).is_ok(), "{needed} {more}");
                }
            }
        }
    }
    assert!(fat::plan(Arc::clone(&tree), &options(SizeRequest::Minimum { free_bytes: u64::MAX })).is_err());
    let mut bad = options(SizeRequest::Exact(MIB));
    for (sector_bytes, cluster_bytes, label) in
        [(1024, None, "A"), (512, Some(700), "A"), (512, Some(65_536), "A"), (4096, Some(512), "A"), (512, None, "lower")]
    {
        (bad.sector_bytes, bad.cluster_bytes, bad.label) = (sector_bytes, cluster_bytes, label.to_owned());
        assert_eq!(fat::plan(Arc::clone(&tree), &bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn what_fat_cannot_hold_is_refused_with_its_path() {
    type Add = fn(&mut TreeBuilder) -> Result<()>;
    let cases: [(&[u8], Add); 9] = [
        (b"d/link", |tree| tree.add("d/link", metadata(0), NewNode::Symlink(b"x")).map(drop)),
        (b"d/fifo", |tree| tree.add("d/fifo", metadata(0), NewNode::Fifo).map(drop)),
        (b"d/socket", |tree| tree.add("d/socket", metadata(0), NewNode::Socket).map(drop)),
        (b"d/null", |tree| tree.add("d/null", metadata(0), NewNode::CharDevice(rootvol::tree::Device { major: 1, minor: 3 })).map(drop)),
        (b"d/\xff", |tree| tree.add(b"d/\xff", metadata(0), NewNode::Directory).map(drop)),
        (b"d/a:b", |tree| tree.add("d/a:b", metadata(0), NewNode::Directory).map(drop)),
        (b"d/dot.", |tree| tree.add("d/dot.", metadata(0), NewNode::Directory).map(drop)),
        (b"d/name", |tree| {
            tree.add("d/NAME", metadata(0), NewNode::Directory)?;
            tree.add("d/name", metadata(0), NewNode::Directory).map(drop)
        }),
        (b"d/huge", |tree| {
            let file = NewNode::File { content: rootvol::ContentId(0), length: 1 << 32, data: None };
            tree.add("d/huge", metadata(0), file).map(drop)
        }),
    ];
    for (path, add) in cases {
        let mut builder = TreeBuilder::new();
        add(&mut builder).unwrap();
        let error = fat::plan(Arc::new(builder.freeze().unwrap()), &options(SizeRequest::Exact(64 * MIB))).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Unsupported, Some(path)), "{error}");
    }
    // The largest file there is.
    let mut builder = TreeBuilder::new();
    builder.add("large", metadata(0), NewNode::File { content: rootvol::ContentId(0), length: u64::from(u32::MAX), data: None }).unwrap();
    assert!(fat::plan(Arc::new(builder.freeze().unwrap()), &options(SizeRequest::Minimum { free_bytes: 0 })).is_ok());
}

#[test]
fn what_is_not_stored_is_noted() {
    let (tree, _) = rich_tree();
    let notes = |tree: &Arc<Tree>| fat::plan(Arc::clone(tree), &options(SizeRequest::Exact(64 * MIB))).unwrap().notes().to_vec();
    let found = notes(&tree);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("2 names") && found[0].contains("EFI/BOOT/BOOTX64.EFI"), "{found:?}");
    assert!(found[1].contains("2 entries") && found[1].contains("EFI/BOOT"), "{found:?}");
    let mut builder = TreeBuilder::new();
    let xattrs = builder.intern_xattrs(vec![Xattr::new("security.selinux", "x"), Xattr::new("user.a", "y")]).unwrap();
    builder.add("a", Metadata { xattrs, ..metadata(1_000_000_000) }, NewNode::Directory).unwrap();
    builder.add("b", Metadata { xattrs, ..metadata(1_000_000_000) }, NewNode::Directory).unwrap();
    let found = notes(&Arc::new(builder.freeze().unwrap()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("security.selinux of 2 entries") && found[0].ends_with("first of a"), "{found:?}");
}

#[test]
fn empty_volumes_are_clean_with_a_label_and_without() {
    for kind in [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32] {
        for label in ["", "A B"] {
            let mut options = options(SizeRequest::Minimum { free_bytes: 0 });
            options.kind = Some(kind);
            options.label = label.to_owned();
            let (tree, contents) = Fixture::default().freeze();
            assert_eq!(check_with(&tree, &contents, &options).summary().label, label);
        }
    }
}

#[test]
fn a_label_that_was_changed_in_the_root_directory_alone_is_the_label() {
    for kind in [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32] {
        let mut options = options(SizeRequest::Minimum { free_bytes: 0 });
        options.kind = Some(kind);
        options.label = "OLD".to_owned();
        let (tree, contents) = rich_tree();
        let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("fat.img");
        write_image(&layout, &contents, &image, 0);
        let mut bytes = fs::read(&image).unwrap();
        let entry = bytes.windows(12).position(|bytes| bytes == b"OLD        \x08").unwrap();
        bytes[entry..entry + 3].copy_from_slice(b"NEW");
        fs::write(&image, &bytes).unwrap();
        assert_eq!(probe(&image).unwrap().unwrap().label, "NEW", "{kind}");
        // Deleted: the boot sector's is left.
        bytes[entry] = 0xe5;
        fs::write(&image, &bytes).unwrap();
        assert_eq!(probe(&image).unwrap().unwrap().label, "OLD", "{kind}");
    }
}

/// Whoever changes the bytes of a volume changes these lines, and says why.
#[test]
fn the_bytes_of_volumes_are_pinned() {
    use sha2::{Digest as _, Sha256};
    let (tree, contents) = rich_tree();
    for (kind, size, pinned) in [
        (FatKind::Fat12, 2 * MIB, "444fa4593642b058995e3888b213488c894f4d6ed33749140975dc8072666b93"),
        (FatKind::Fat16, 4 * MIB, "7a40bfe4e19ba4078c58a6a8d3db981230d2c8146aa0ef6f4cdec6f67713ca06"),
        (FatKind::Fat32, 36 * MIB, "cba2973e86b80ae8e698b15651e58304a633f023e84a2fb760fb379699fbbb95"),
    ] {
        let mut options = options(SizeRequest::Exact(size));
        options.kind = Some(kind);
        options.hidden_sectors = 2048;
        options.epoch = Timestamp::from_seconds(946_684_800);
        let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
        let mut whole = vec![0; usize::try_from(size).unwrap()];
        fill(&layout, &contents, 0, &mut whole).unwrap();
        let digest: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, pinned, "{kind:?}");
    }
}

#[test]
fn any_part_is_rendered_as_the_whole_is() {
    let (tree, contents) = rich_tree();
    for (kind, size) in [(FatKind::Fat12, 2 * MIB), (FatKind::Fat16, 4 * MIB), (FatKind::Fat32, 36 * MIB)] {
        let mut options = options(SizeRequest::Exact(size));
        options.kind = Some(kind);
        let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
        let mut whole = vec![0; usize::try_from(size).unwrap()];
        fill(&layout, &contents, 0, &mut whole).unwrap();
        for step in [1_000_003, 4_099, 7] {
            let mut at = 0;
            for _ in 0..40_000 {
                let len = step.min(whole.len() - at);
                let mut part = vec![0xee; len];
                fill(&layout, &contents, u64::try_from(at).unwrap(), &mut part).unwrap();
                assert!(part == whole[at..at + len], "{kind:?} at {at}");
                at += len;
                if at == whole.len() {
                    break;
                }
            }
        }
    }
}

#[test]
fn damaged_boot_sectors_are_not_believed() {
    let (tree, contents) = rich_tree();
    for (kind, size) in [(FatKind::Fat12, 2 * MIB), (FatKind::Fat16, 4 * MIB), (FatKind::Fat32, 36 * MIB)] {
        let mut options = options(SizeRequest::Exact(size));
        options.kind = Some(kind);
        let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        fill(&layout, &contents, 0, &mut bytes).unwrap();
        let look = |bytes: &[u8], size: u64| {
            let read_at = |offset: u64, out: &mut [u8]| {
                let start = usize::try_from(offset).unwrap();
                assert!(start + out.len() <= usize::try_from(size).unwrap(), "a read outside the volume");
                out.copy_from_slice(&bytes[start..start + out.len()]);
                Ok(())
            };
            fat::probe(&read_at, size)
        };
        assert!(look(&bytes, size).unwrap().is_some());
        for size in [0, 511, 512, 100_000] {
            assert!(!matches!(look(&bytes, size), Ok(Some(_))));
        }
        for bit in 0..512 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = look(&bytes, size);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for value in [0, 0xff] {
            for at in 0..512 {
                let kept = std::mem::replace(&mut bytes[at], value);
                let _ = look(&bytes, size);
                bytes[at] = kept;
            }
        }
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Names that FAT can hold, many of them alike.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[A-Z0-9]{1,8}(\\.[A-Z]{1,3})?", "[a-zA-Z0-9 .+_~]{0,30}[a-zA-Z0-9]", "(long-name-|LONG-N~)[0-9]{1,3}", "[a-zäöéя日本😀=;,\\[\\]]{1,40}",]
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"))
    }

    /// None of two names in one directory that differ by case alone, or that stand in for `.` and `..`.
    fn add(fixture: &mut Fixture, seen: &mut BTreeMap<String, String>, path: &str, bytes: Option<Vec<u8>>, seconds: i64) {
        let mut at = String::new();
        let parts: Vec<&str> = path.split('/').collect();
        for part in &parts {
            at = if at.is_empty() { (*part).to_owned() } else { format!("{at}/{part}") };
            let kept = seen.entry(at.to_uppercase().to_lowercase()).or_insert_with(|| at.clone());
            let below_a_file = at != path && fixture.builder.get(&at).is_some_and(|(_, node)| !node.is_directory());
            if *kept != at || *part == "." || *part == ".." || below_a_file {
                return;
            }
        }
        match bytes {
            Some(bytes) => fixture.file_at(path, bytes, seconds),
            None => fixture.directory(path, seconds),
        };
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn arbitrary_trees_are_clean_and_read_back(
            entries in prop::collection::vec((path(), prop::option::of(prop::collection::vec(any::<u8>(), 0..6_000)), -10_000_000_000..10_000_000_000_i64), 0..60),
            kind in prop::sample::select(vec![None, Some(FatKind::Fat12), Some(FatKind::Fat16), Some(FatKind::Fat32)]),
            sector_bytes in prop::sample::select(vec![512, 512, 512, 4096]),
            free_bytes in 0..3_000_000_u64,
        ) {
            let mut fixture = Fixture::default();
            let mut seen = BTreeMap::new();
            for (path, bytes, seconds) in entries {
                add(&mut fixture, &mut seen, &path, bytes, seconds);
            }
            let (tree, contents) = fixture.freeze();
            let mut options = options(SizeRequest::Minimum { free_bytes });
            options.kind = kind;
            options.sector_bytes = sector_bytes;
            check_with(&tree, &contents, &options);
        }
    }
}
