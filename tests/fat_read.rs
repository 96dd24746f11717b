//! Reading FAT: what mkfs.fat and mtools made, what our own writer made, what is damaged; judged by mtools, fsck.fat and the crate fatfs.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test that fails stops; what is skipped is said")]

mod common;

use common::{judge, run};
use rootvol::content::{MemoryContents, ReadAt};
use rootvol::fs::fat::{self, FatKind, Options, SizeRequest};
use rootvol::fs::{PlaceOwner, ReadFilesystem, ReadOptions};
use rootvol::layout::{Layout as _, SegmentSource, fill};
use rootvol::tree::{Metadata, NewNode, NodeKind, Timestamp, Tree, TreeBuilder};
use rootvol::units::{ContentId, KIB, MIB, TIB};
use rootvol::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A file as it lies on disk; images with holes are not read into memory.
struct OnDisk(File);

impl ReadAt for OnDisk {
    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.0.read_exact_at(out, offset_bytes).map_err(|error| Error::io("cannot read", error))
    }
}

fn checked() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.check = true;
    options
}

fn read_file(image: &Path) -> ReadFilesystem {
    let disk: Arc<dyn ReadAt> = Arc::new(OnDisk(File::open(image).unwrap()));
    fat::read(&disk, &checked()).unwrap().expect("a FAT volume")
}

fn read_bytes(bytes: &[u8]) -> Result<Option<ReadFilesystem>> {
    let disk: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
    fat::read(&disk, &checked())
}

/// Path to (mode, seconds, contents); directories end in a slash and have none.
type Listing = BTreeMap<String, (u16, i64, Vec<u8>)>;

fn listing(read: &ReadFilesystem) -> Listing {
    let mut listing = Listing::new();
    read.tree
        .walk(|path, id| {
            let node = read.tree.node(id);
            let path = String::from_utf8(path.to_vec()).unwrap();
            let Metadata { mode, mtime, uid: 0, gid: 0, .. } = node.metadata else { panic!("owner of {path}") };
            match node.kind {
                NodeKind::Directory if path.is_empty() => {}
                NodeKind::Directory => {
                    listing.insert(format!("{path}/"), (mode, mtime.seconds, Vec::new()));
                }
                NodeKind::File(file) => {
                    let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
                    read.contents.read_exact_at(file.content, 0, &mut bytes)?;
                    listing.insert(path, (mode, mtime.seconds, bytes));
                }
                _ => panic!("{path} cannot be on FAT"),
            }
            Ok(())
        })
        .unwrap();
    listing
}

/// The same by the crate fatfs; it does not know of lower-case short names.
fn second_reader(image: &Path) -> Listing {
    let options = fatfs::FsOptions::new().update_accessed_date(false);
    let volume = fatfs::FileSystem::new(File::options().read(true).write(true).open(image).unwrap(), options).unwrap();
    let mut listing = Listing::new();
    let mut pending = vec![(String::new(), volume.root_dir())];
    while let Some((path, directory)) = pending.pop() {
        for entry in directory.iter().map(|entry| entry.unwrap()).filter(|entry| !matches!(entry.file_name().as_str(), "." | "..")) {
            let name = entry.file_name();
            let mode = if entry.is_file() && entry.attributes().contains(fatfs::FileAttributes::READ_ONLY) { 0o555 } else { 0o755 };
            let time = entry.modified();
            let day = days(i64::from(time.date.year), i64::from(time.date.month), i64::from(time.date.day));
            let seconds = day * 86_400 + i64::from(time.time.hour) * 3600 + i64::from(time.time.min) * 60 + i64::from(time.time.sec);
            if entry.is_dir() {
                listing.insert(format!("{path}{name}/"), (mode, seconds, Vec::new()));
                pending.push((format!("{path}{name}/"), entry.to_dir()));
            } else {
                let mut bytes = Vec::new();
                entry.to_file().read_to_end(&mut bytes).unwrap();
                listing.insert(format!("{path}{name}"), (mode, seconds, bytes));
            }
        }
    }
    listing
}

/// Days from 1970-01-01, counted year by year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months: i64 = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30].iter().take(usize::try_from(month - 1).unwrap()).sum();
    years + months + day - 1
}

#[track_caller]
fn assert_same(found: &Listing, wanted: &Listing) {
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, entry) in wanted {
        let of = &found[path];
        assert!(of == entry, "{path}: mode {:o} time {} {} bytes; wanted {:o} {} {}", of.0, of.1, of.2.len(), entry.0, entry.1, entry.2.len());
    }
}

/// Places ascend, do not overlap, lie inside, and what they hold of a file is its contents.
fn assert_places(read: &ReadFilesystem, disk: &dyn ReadAt) {
    let mut end = 0;
    for place in &read.places {
        assert!(place.range.start >= end && place.range.end > place.range.start && place.range.end <= disk.size_bytes(), "{place:?} after {end}");
        end = place.range.end;
        assert_eq!(read.at(place.range.start), Some(place));
        let PlaceOwner::Data { node, offset_bytes } = place.owner else { continue };
        let NodeKind::File(file) = read.tree.node(node).kind else { continue };
        let len = usize::try_from(file.length.saturating_sub(offset_bytes).min(place.range.end - place.range.start).min(4096)).unwrap();
        let (mut there, mut read_back) = (vec![0; len], vec![0; len]);
        disk.read_exact_at(place.range.start, &mut there).unwrap();
        read.contents.read_exact_at(file.content, offset_bytes, &mut read_back).unwrap();
        assert_eq!(there, read_back);
    }
    let used: u64 = read.places.iter().map(|place| place.range.end - place.range.start).sum();
    let padding = read.summary.size_bytes - read.summary.free_bytes - used;
    // What does not make a cluster; mkfs.fat also leaves out what does not make a track.
    assert!(padding < u64::from(read.summary.block_bytes) + 64 * 4096, "{padding} bytes are neither used nor free");
}

#[track_caller]
fn assert_sound(read: &ReadFilesystem) {
    assert!(read.is_sound(), "{:?} {:?}", read.damage, read.findings);
}

/// Numbers that look random and are the same in each run (Knuth's multiplier).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut seeded = Seeded(seed);
    (0..len).map(|_| u8::try_from(seeded.next(256)).unwrap()).collect()
}

mod made_by_others {
    use super::*;

    /// What is copied onto the volumes: path and contents.
    fn source(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let long = format!("sub/{}", "n".repeat(251));
        let mut files: Vec<(String, Vec<u8>)> = [("EMPTY", 0), ("ONE.TXT", 1), ("lower.txt", 512), ("Mixed.Txt", 513), ("sub/deeper/still/x.bin", 40_000)]
            .into_iter()
            .chain([("sub/a long name with spaces.conf", 4097), ("sub/ünïcödé 日本語.txt", 99), (long.as_str(), 3), ("LOWBASE.ext", 5), ("lowname.EXT", 6)])
            .map(|(path, len)| (path.to_owned(), noise(len, u64::try_from(len).unwrap())))
            .collect();
        files.extend((0..120).map(|n| (format!("many/file number {n:03}"), noise(n * 7, 1))));
        for (path, bytes) in &files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        fs::create_dir(folder.join("none")).unwrap();
        files
    }

    fn mtools(name: &str, image: &Path) -> Option<Command> {
        let mut command = judge(name)?;
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(image);
        Some(command)
    }

    #[test]
    fn volumes_of_mkfs_fat_filled_by_mtools_are_read_as_they_were_filled() {
        let (Some(_), Some(_), Some(_)) = (judge("mkfs.fat"), judge("mcopy"), judge("fsck.fat")) else { return };
        let folder = tempfile::tempdir().unwrap();
        let source_folder = folder.path().join("source");
        let files = source(&source_folder);
        for (path, _) in &files {
            let seconds = 315_532_800 + u64::try_from(path.bytes().map(usize::from).sum::<usize>() % 3000).unwrap() * 999_999;
            File::options()
                .write(true)
                .open(source_folder.join(path))
                .unwrap()
                .set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)))
                .unwrap();
        }
        for (kib, arguments) in [
            (720, "-F 12"),
            (1440, "-F 12 -f 1 -n FLOPPY"),
            (4096, "-F 12 -s 4 -r 16"),
            (16_384, "-F 16 -s 4"),
            (9000, "-F 16 -s 2 -r 512 -i 1234abcd"),
            (32_768, "-F 16 -s 8 -R 7 -f 1"),
            (70_000, "-F 16 -S 4096 -s 1"),
            (40_960, "-F 32 -s 1 -n LABEL"),
            (300_000, "-F 32 -s 8"),
            (300_000, "-F 32 -S 4096 -s 1"),
            (80_000, "-F 32 -S 1024 -s 1"),
            (262_144, "-F 32 -S 2048 -s 1 -f 1"),
            (2_000_000, "-F 32"),
        ] {
            let image = folder.path().join("fat.img");
            let _ = fs::remove_file(&image);
            run(judge("mkfs.fat").unwrap().args(["-C"]).args(arguments.split(' ')).arg(&image).arg(kib.to_string()));
            // A file that goes again before the last one comes leaves a gap, so that the last is in pieces.
            let gap = folder.path().join("gap");
            fs::write(&gap, noise(20_000, 7)).unwrap();
            run(mtools("mcopy", &image).unwrap().arg(&gap).arg("::GAP"));
            let mut entries: Vec<_> = fs::read_dir(&source_folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            run(mtools("mcopy", &image).unwrap().args(["-s", "-m", "-Q"]).args(&entries).arg("::"));
            run(mtools("mdel", &image).unwrap().arg("::GAP"));
            run(mtools("mcopy", &image).unwrap().arg("-m").arg(source_folder.join("sub/deeper/still/x.bin")).arg("::in pieces.bin"));
            run(mtools("mattrib", &image).unwrap().args(["+r", "+h"]).arg("::ONE.TXT"));

            let read = read_file(&image);
            assert!(read.damage.is_empty() && read.findings.is_empty(), "{arguments}: {:?} {:?}", read.damage, read.findings);
            assert_places(&read, &OnDisk(File::open(&image).unwrap()));
            let found = listing(&read);
            let mut wanted = Listing::new();
            for (path, bytes) in &files {
                let modified = fs::metadata(source_folder.join(path)).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
                wanted.insert(path.clone(), (if path == "ONE.TXT" { 0o555 } else { 0o755 }, i64::try_from(modified / 2 * 2).unwrap(), bytes.clone()));
            }
            wanted.insert("in pieces.bin".to_owned(), wanted["sub/deeper/still/x.bin"].clone());
            let without_directories: Listing =
                found.iter().filter(|(path, _)| !path.ends_with('/')).map(|(path, entry)| (path.clone(), entry.clone())).collect();
            assert_same(&without_directories, &wanted);
            let directories: Vec<&String> = found.keys().filter(|path| path.ends_with('/')).collect();
            assert_eq!(directories, ["many/", "none/", "sub/", "sub/deeper/", "sub/deeper/still/"]);
            // The crate reads sectors of 512 bytes only where the volume's are.
            let mut second = second_reader(&image);
            for (upper, shown) in [("LOWER.TXT", "lower.txt"), ("LOWBASE.EXT", "LOWBASE.ext"), ("LOWNAME.EXT", "lowname.EXT"), ("SUB/", "sub/")] {
                if let Some(entry) = second.remove(upper).filter(|_| !second.contains_key(shown)) {
                    second.insert(shown.to_owned(), entry);
                }
            }
            assert_eq!(second.len(), found.len(), "{arguments}");
            for (path, entry) in second.iter().filter(|(path, _)| found.contains_key(*path)) {
                assert!(found[path] == *entry, "{arguments}: {path}");
            }
        }
    }
}

#[test]
fn a_small_fat32_is_fat32_as_all_readers_have_it_and_that_is_said() {
    let Some(mut mkfs) = judge("mkfs.fat") else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("fat.img");
    run(mkfs.args(["-C", "-F", "32", "-s", "1"]).arg(&image).arg("20000"));
    let read = read_file(&image);
    assert_eq!((read.summary.kind.as_str(), read.damage.len(), read.findings.len()), ("fat32", 0, 1));
    assert!(read.findings[0].to_string().contains("some readers take it for FAT16"), "{:?}", read.findings);
    // The crate fatfs refuses it; fsck.fat and mtools read it as FAT32.
    let said = common::text(judge("fsck.fat").unwrap().arg("-nv").arg(&image));
    assert!(said.contains("32 bit entries"), "{said}");
}

/// A tree of ours as a volume in memory.
fn volume(kind: FatKind, size: u64) -> (Vec<u8>, Arc<Tree>, MemoryContents) {
    let mut contents = MemoryContents::new();
    let mut builder = TreeBuilder::new();
    let metadata = |seconds| Metadata { mode: 0o755, mtime: Timestamp::from_seconds(seconds), ..Metadata::default() };
    builder.add("", metadata(0), NewNode::Directory).unwrap();
    for (path, seconds) in [("EFI", 1_600_000_000), ("EFI/BOOT", 1_500_000_000), ("loader", 1_400_000_000), ("loader/entries", 315_532_800)] {
        builder.add(path, metadata(seconds), NewNode::Directory).unwrap();
    }
    for (path, len) in
        [("EFI/BOOT/BOOTX64.EFI", 70_001), ("EFI/BOOT/grub.cfg", 77), ("EFI/BOOT/empty", 0), ("loader/a long name, and ünïcödé 😀.conf", 5_000), ("TOP", 512)]
    {
        let content = contents.push(noise(len, 3)).unwrap();
        builder.add(path, metadata(1_700_000_000), NewNode::File { content, length: u64::try_from(len).unwrap(), data: None }).unwrap();
    }
    for n in 0..40 {
        let content = contents.push(format!("options {n}").into_bytes()).unwrap();
        let length = format!("options {n}").len();
        builder
            .add(
                format!("loader/entries/entry-number-{n:02}.conf"),
                metadata(1_700_000_000),
                NewNode::File { content, length: u64::try_from(length).unwrap(), data: None },
            )
            .unwrap();
    }
    let tree = Arc::new(builder.freeze().unwrap());
    let mut options = Options::new();
    options.size = SizeRequest::Exact(size);
    options.kind = Some(kind);
    let layout = fat::plan(Arc::clone(&tree), &options).unwrap();
    let mut image = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
    fill(&layout, &contents, 0, &mut image).unwrap();
    (image, tree, contents)
}

const KINDS: [(FatKind, u64); 3] = [(FatKind::Fat12, 400 * KIB), (FatKind::Fat16, 5 * MIB), (FatKind::Fat32, 34 * MIB)];

#[test]
fn what_our_writer_made_is_the_tree_it_was_made_from() {
    for (kind, size) in KINDS {
        let (image, tree, _) = volume(kind, size);
        let read = read_bytes(&image).unwrap().unwrap();
        assert_sound(&read);
        assert_eq!(read.tree, *tree, "{kind:?}");
        assert_places(&read, &image);
        assert_eq!((read.summary.kind.as_str(), read.summary.label.as_str()), (kind.name(), "ESP"));
        assert_eq!(read.contents_count, 45);
        // And made again from what was read: the same bytes.
        let mut options = Options::new();
        options.size = SizeRequest::Exact(size);
        options.kind = Some(kind);
        let layout = fat::plan(Arc::new(read.tree), &options).unwrap();
        let mut again = vec![0; image.len()];
        fill(&layout, &*read.contents, 0, &mut again).unwrap();
        assert!(again == image, "{kind:?}: made again it differs");
    }
}

/// The 512-byte-sector volumes of [`volume`]: where their parts lie.
struct Parts {
    reserved: usize,
    fat_bytes: usize,
    root: usize,
    data: usize,
    cluster: usize,
    bits: usize,
}

impl Parts {
    fn of(image: &[u8]) -> Self {
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
        let fat_sectors = if u16_at(22) == 0 { u16_at(36) } else { u16_at(22) };
        let root = u16_at(14) * 512 + 2 * fat_sectors * 512;
        let bits = if u16_at(22) == 0 {
            32
        } else if image[54..62] == *b"FAT12   " {
            12
        } else {
            16
        };
        Self { reserved: u16_at(14) * 512, fat_bytes: fat_sectors * 512, root, data: root + u16_at(17) * 32, cluster: usize::from(image[13]) * 512, bits }
    }

    fn link(&self, image: &[u8], cluster: usize) -> usize {
        let at = self.reserved + cluster * self.bits / 8;
        let value = usize::from(image[at]) | usize::from(image[at + 1]) << 8 | usize::from(image[at + 2]) << 16 | usize::from(image[at + 3]) << 24;
        match self.bits {
            12 => value >> (cluster % 2 * 4) & 0xfff,
            16 => value & 0xffff,
            _ => value & 0x0fff_ffff,
        }
    }

    /// Sets the entry of a cluster in both FATs.
    fn set_link(&self, image: &mut [u8], cluster: usize, value: usize) {
        for copy in 0..2 {
            let at = self.reserved + copy * self.fat_bytes + cluster * self.bits / 8;
            let byte = |value: usize| u8::try_from(value & 0xff).unwrap();
            match (self.bits, cluster % 2) {
                (12, 0) => {
                    image[at] = byte(value);
                    image[at + 1] = image[at + 1] & 0xf0 | byte(value >> 8 & 0xf);
                }
                (12, _) => {
                    image[at] = image[at] & 0x0f | byte(value << 4);
                    image[at + 1] = byte(value >> 4);
                }
                (16, _) => image[at..at + 2].copy_from_slice(&[byte(value), byte(value >> 8)]),
                _ => image[at..at + 4].copy_from_slice(&[byte(value), byte(value >> 8), byte(value >> 16), byte(value >> 24)]),
            }
        }
    }

    /// The offset of the short entry of this name, wherever it stands.
    fn entry(image: &[u8], name: &[u8; 11]) -> usize {
        (0..image.len()).step_by(32).find(|at| image[*at..*at + 11] == *name && image[*at + 11] & 8 == 0).unwrap()
    }

    fn first_cluster(image: &[u8], entry: usize) -> usize {
        usize::from(image[entry + 26]) | usize::from(image[entry + 27]) << 8
    }

    fn set_first_cluster(image: &mut [u8], entry: usize, cluster: usize) {
        image[entry + 26..entry + 28].copy_from_slice(&u16::try_from(cluster).unwrap().to_le_bytes());
    }
}

const BOOTX64: &[u8; 11] = b"BOOTX64 EFI";

/// What is said, and the paths that are not in the tree.
fn judged(image: &[u8], whole: &Tree) -> (Vec<String>, Vec<String>, Vec<String>) {
    let read = read_bytes(image).unwrap().unwrap();
    let shown = |errors: &[Error]| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut missing = Vec::new();
    whole
        .walk(|path, _| {
            if read.tree.lookup(path).is_none() {
                missing.push(String::from_utf8(path.to_vec()).unwrap());
            }
            Ok(())
        })
        .unwrap();
    (shown(&read.damage), shown(&read.findings), missing)
}

#[test]
fn r26_broken_chains_are_damage_of_their_path_and_of_nothing_else() {
    for (kind, size) in KINDS {
        let (image, tree, _) = volume(kind, size);
        let parts = Parts::of(&image);
        let entry = Parts::entry(&image, BOOTX64);
        let first = Parts::first_cluster(&image, entry);
        let second = parts.link(&image, first);
        let end = match parts.bits {
            12 => 0xfff,
            16 => 0xffff,
            _ => 0x0fff_ffff,
        };
        let bad = end - 8;
        for (value, wanted) in [
            (0, "breaks off: cluster"),
            (1, "is followed by 0x1 in the FAT, which is no cluster"),
            (bad, "breaks off: cluster"),
            (bad - 1, "which is no cluster"),
            (end, "its chain of clusters ends after"),
            (first, "comes back to its cluster"),
        ] {
            let mut damaged = image.clone();
            parts.set_link(&mut damaged, second, value);
            let (damage, _, missing) = judged(&damaged, &tree);
            assert_eq!(missing, ["EFI/BOOT/BOOTX64.EFI"], "{kind:?} {value:#x} {damage:?}");
            assert!(damage.len() == 1 && damage[0].starts_with("EFI/BOOT/BOOTX64.EFI: ") && damage[0].contains(wanted), "{wanted}: {damage:?}");
        }
        // Too long: the file is whole, and that is said.
        let grub = Parts::entry(&image, b"GRUB    CFG");
        let mut longer = image.clone();
        let last = Parts::first_cluster(&image, grub);
        let free = (2..).find(|cluster| parts.link(&image, *cluster) == 0).unwrap();
        parts.set_link(&mut longer, last, free);
        parts.set_link(&mut longer, free, end);
        let (damage, findings, missing) = judged(&longer, &tree);
        assert!(damage.is_empty() && missing.is_empty() && findings.iter().any(|finding| finding.contains("for which 1 clusters do, and 2")), "{findings:?}");
        // No cluster at all, and a cluster that is none.
        for cluster in [0, 1, 0xffff] {
            let mut nowhere = image.clone();
            Parts::set_first_cluster(&mut nowhere, entry, cluster);
            assert_eq!(judged(&nowhere, &tree).2, ["EFI/BOOT/BOOTX64.EFI"]);
        }
    }
}

#[test]
fn r26_a_cluster_with_two_owners_is_damage_of_both_files_and_both_are_named() {
    for (kind, size) in KINDS {
        let (image, tree, _) = volume(kind, size);
        let parts = Parts::of(&image);
        let (boot, grub) = (Parts::entry(&image, BOOTX64), Parts::entry(&image, b"GRUB    CFG"));
        let mut shared = image.clone();
        let second = parts.link(&image, Parts::first_cluster(&image, boot));
        Parts::set_first_cluster(&mut shared, grub, second);
        let (damage, findings, missing) = judged(&shared, &tree);
        assert_eq!(missing, ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg"]);
        assert_eq!(damage.len(), 2, "{damage:?}");
        assert!(damage.iter().any(|line| line == &format!("EFI/BOOT/BOOTX64.EFI: cluster {second} is also that of EFI/BOOT/grub.cfg")), "{damage:?}");
        assert!(damage.iter().any(|line| line == &format!("EFI/BOOT/grub.cfg: cluster {second} is also that of EFI/BOOT/BOOTX64.EFI")), "{damage:?}");
        assert!(findings.iter().any(|finding| finding.contains("no entry leads to them")), "{findings:?}");

        // A file that leads into a directory: the directory stays.
        let mut into = image.clone();
        let loader = Parts::first_cluster(&image, Parts::entry(&image, b"LOADER     "));
        Parts::set_first_cluster(&mut into, grub, loader);
        let (damage, _, missing) = judged(&into, &tree);
        assert_eq!((missing, damage), (vec!["EFI/BOOT/grub.cfg".to_owned()], vec![format!("EFI/BOOT/grub.cfg: cluster {loader} is also that of loader")]));
    }
}

#[test]
fn r26_directories_that_loop_end_and_so_do_those_that_are_none() {
    for (kind, size) in KINDS {
        let (image, tree, _) = volume(kind, size);
        let (efi, boot, entries) = (Parts::entry(&image, b"EFI        "), Parts::entry(&image, b"BOOT       "), Parts::entry(&image, b"ENTRIES    "));
        // A directory that holds itself, above and below.
        let mut looped = image.clone();
        Parts::set_first_cluster(&mut looped, boot, Parts::first_cluster(&image, efi));
        let (damage, _, missing) = judged(&looped, &tree);
        assert_eq!(missing, ["EFI/BOOT", "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/empty", "EFI/BOOT/grub.cfg"]);
        assert!(damage.len() == 1 && damage[0].starts_with("EFI/BOOT: cluster") && damage[0].ends_with("is also that of EFI"), "{damage:?}");
        // A directory whose clusters hold a file: nothing of it is listed.
        let mut none = image.clone();
        Parts::set_first_cluster(&mut none, entries, Parts::first_cluster(&image, Parts::entry(&image, BOOTX64)));
        let (damage, _, missing) = judged(&none, &tree);
        assert_eq!(missing.len(), 42, "{missing:?}");
        assert!(missing.contains(&"EFI/BOOT/BOOTX64.EFI".to_owned()) || damage.iter().any(|line| line.contains("there is no directory")), "{damage:?}");
        // `..` that leads elsewhere changes nothing that is read.
        let mut up = image.clone();
        let dotdot = Parts::entry(&image, b"..         ");
        Parts::set_first_cluster(&mut up, dotdot, 7);
        let (damage, findings, missing) = judged(&up, &tree);
        assert!(damage.is_empty() && missing.is_empty() && findings.iter().any(|line| line.contains("\"..\" leads to cluster 7")), "{findings:?}");
    }
}

#[test]
fn what_a_check_looks_at_is_found_and_touches_nothing() {
    let (image, tree, _) = volume(FatKind::Fat32, 34 * MIB);
    let parts = Parts::of(&image);
    let change = |at: usize, value: u8| {
        let mut changed = image.clone();
        changed[at] = value;
        changed
    };
    let mut lost = image.clone();
    let free = (2..).find(|cluster| parts.link(&image, *cluster) == 0).unwrap();
    parts.set_link(&mut lost, free + 5, 0x0fff_ffff);
    for (changed, wanted) in [
        (change(parts.reserved + parts.fat_bytes + 9, 1), "FAT 2 differs from FAT 1"),
        (change(512 + 488, 1), "FSInfo counts"),
        (change(512, 0), "FSInfo has not the signatures"),
        (change(6 * 512 + 3, b'x'), "the copy of the boot sector differs from it"),
        (change(65, 1), "it was not unmounted"),
        (change(parts.reserved + 7, 0x07), "the FAT is marked as in use"),
        (change(parts.reserved, 0xf0), "the FAT begins with 0xf0"),
        (lost, "1 clusters are taken in the FAT, and no entry leads to them"),
    ] {
        let (damage, findings, missing) = judged(&changed, &tree);
        assert!(damage.is_empty() && missing.is_empty(), "{wanted}: {damage:?} {missing:?}");
        assert!(findings.iter().any(|finding| finding.contains(wanted)), "{wanted}: {findings:?}");
        let disk: Arc<dyn ReadAt> = Arc::new(changed);
        assert!(fat::read(&disk, &ReadOptions::default()).unwrap().unwrap().findings.is_empty(), "nobody asked for a check");
    }
}

#[test]
fn what_is_not_fat_is_nobodys_and_what_contradicts_itself_is_refused() {
    let mut exfat = vec![0; 4096];
    exfat[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
    exfat[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut ntfs = exfat.clone();
    ntfs[3..11].copy_from_slice(b"NTFS    ");
    ntfs[11..14].copy_from_slice(&[0, 2, 8]);
    ntfs[21] = 0xf8;
    for bytes in [exfat, ntfs, vec![0; 4096], Vec::new()] {
        assert!(read_bytes(&bytes).unwrap().is_none());
    }
    let (image, ..) = volume(FatKind::Fat32, 34 * MIB);
    for (at, value, wanted) in
        [(44, 0xff, "the root directory is said to begin in cluster"), (42, 1, "FAT32 version"), (40, 0x83, "FAT number 3"), (36, 1, "too few for")]
    {
        let mut changed = image.clone();
        changed[at..at + 4].copy_from_slice(&[value, 0, if at == 44 { 0xff } else { 0 }, 0]);
        let error = read_bytes(&changed).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    // The root's chain is broken at its first cluster: an empty tree, and that is said.
    let mut rootless = image.clone();
    let parts = Parts::of(&image);
    parts.set_link(&mut rootless, 2, 0);
    let read = read_bytes(&rootless).unwrap().unwrap();
    assert!(read.damage[0].to_string().contains("in the root directory: the chain of clusters breaks off"), "{:?}", read.damage);
}

#[test]
fn r1_r2_cuts_and_changed_bytes_end_at_once_and_without_a_panic() {
    let start = Instant::now();
    for (kind, size) in KINDS {
        let (image, ..) = volume(kind, size);
        let n = image.len();
        for len in [0, 1, 511, 512, 513, n / 4, n / 2, n - 512, n - 1] {
            // What is cut off never reads as zeros.
            assert!(!matches!(read_bytes(&image[..len]), Ok(Some(_))), "{kind:?} cut at {len}");
        }
        let parts = Parts::of(&image);
        let used = (2..).find(|cluster| parts.link(&image, *cluster) == 0).unwrap() * parts.cluster + parts.data;
        let mut seeded = Seeded(size);
        let disk = Arc::new(image.clone());
        for round in 0..200 {
            // Half of the changes hit the structures before the clusters, half anything that is in use.
            let below = if round % 2 == 0 { parts.data + 4 * parts.cluster } else { used };
            let at = if round % 10 == 0 { seeded.next(512) } else { seeded.next(below) };
            let disk: Arc<dyn ReadAt> =
                Arc::new(Changed { image: Arc::clone(&disk), at: u64::try_from(at).unwrap(), value: u8::try_from(seeded.next(256)).unwrap() });
            if let Ok(Some(read)) = fat::read(&disk, &checked()) {
                let _ = listing(&read);
                assert_places_are_disjoint(&read);
            }
        }
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

fn assert_places_are_disjoint(read: &ReadFilesystem) {
    assert!(read.places.is_sorted_by(|a, b| a.range.end <= b.range.start));
}

/// A volume of which one byte is another.
struct Changed {
    image: Arc<Vec<u8>>,
    at: u64,
    value: u8,
}

impl ReadAt for Changed {
    fn size_bytes(&self) -> u64 {
        self.image.size_bytes()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        self.image.read_exact_at(offset_bytes, out)?;
        if let Some(byte) = self.at.checked_sub(offset_bytes).and_then(|at| out.get_mut(usize::try_from(at).unwrap())) {
            *byte = self.value;
        }
        Ok(())
    }
}

/// What our check finds and fsck.fat does not fail for, and why ours does.
const STRICTER: &[&str] = &[
    // It shows these and ends with 0.
    "the copy of the boot sector differs from it",
    "a part of a long name that belongs to no entry",
    // It does not look at these: the padding of long names, the marks in the first entries of the FAT, FSInfo's place.
    "a long name with something behind its end",
    "a long name with characters that none can have",
    "the FAT begins with",
    "the FAT is marked",
    "is said to be in sector",
];

/// fsck.fat and our check on changed bits of what is in use: nothing that it fails for is clean to us, and the other way round only
/// what [`STRICTER`] lists.
#[test]
fn fsck_fat_agrees_on_what_is_clean() {
    let Some(_) = judge("fsck.fat") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fat.img");
    let (mut clean, mut unclean) = (0, 0);
    for (kind, size, rounds) in [(FatKind::Fat12, 400 * KIB, 120), (FatKind::Fat16, 5 * MIB, 120), (FatKind::Fat32, 34 * MIB, 40)] {
        let (image, ..) = volume(kind, size);
        let parts = Parts::of(&image);
        let mut seeded = Seeded(size);
        fs::write(&path, &image).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let structures =
            [11..parts.reserved.min(1024), parts.reserved..parts.reserved + 300, parts.root..parts.root + 600, parts.data..parts.data + 3 * parts.cluster];
        let shared: Arc<Vec<u8>> = Arc::new(image);
        for round in 0..rounds {
            let range = &structures[if round % 8 == 0 { 0 } else { 1 + round % 3 }];
            let at = range.start + seeded.next(range.end - range.start);
            let value = shared[at] ^ 1 << seeded.next(8);
            file.write_all_at(&[value], u64::try_from(at).unwrap()).unwrap();
            let output = judge("fsck.fat").unwrap().arg("-n").arg(&path).output().unwrap();
            file.write_all_at(&shared[at..=at], u64::try_from(at).unwrap()).unwrap();
            let disk: Arc<dyn ReadAt> = Arc::new(Changed { image: Arc::clone(&shared), at: u64::try_from(at).unwrap(), value });
            let (damage, findings) = match fat::read(&disk, &checked()) {
                Ok(Some(read)) => (read.damage, read.findings),
                Ok(None) => (vec![Error::corrupt("not a FAT volume")], Vec::new()),
                Err(error) => (vec![error], Vec::new()),
            };
            let theirs = output.status.success();
            let is_stricter = |error: &Error| STRICTER.iter().any(|what| error.to_string().contains(what));
            let agree = if theirs { damage.is_empty() && findings.iter().all(is_stricter) } else { !damage.is_empty() || !findings.is_empty() };
            assert!(agree, "{kind:?} {at} {value:#x}: {damage:?} {findings:?}, and fsck.fat: {}", String::from_utf8_lossy(&output.stdout));
            if theirs { clean += 1 } else { unclean += 1 }
        }
    }
    assert!(clean > 50 && unclean > 50, "{clean} clean, {unclean} not");
}

/// A planned volume, read where it is planned; all else is not stored.
struct Planned(fat::FatLayout);

impl ReadAt for Planned {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_exact_at(&self, offset_bytes: u64, out: &mut [u8]) -> Result<()> {
        fill(&self.0, &MemoryContents::new(), offset_bytes, out)
    }

    fn stored_after(&self, offset_bytes: u64) -> Result<Option<std::ops::Range<u64>>> {
        let mut at = offset_bytes;
        while let Some(segment) = self.0.segment_after(at) {
            if segment.source != SegmentSource::Zeros {
                return Ok(Some(segment.range.start.max(offset_bytes)..segment.range.end));
            }
            at = segment.range.end;
        }
        Ok(None)
    }
}

#[test]
fn r2_r3_the_work_follows_what_is_stored_and_not_the_sizes_that_are_said() {
    let metadata = Metadata { mode: 0o755, mtime: Timestamp::from_seconds(1_700_000_000), ..Metadata::default() };
    let plan = |builder: TreeBuilder, size| {
        let mut options = Options::new();
        options.size = size;
        Arc::new(Planned(fat::plan(Arc::new(builder.freeze().unwrap()), &options).unwrap()))
    };
    // 2 TiB with nothing in it: FATs of 256 MiB each, none of which is stored but the first bytes.
    let disk: Arc<dyn ReadAt> = plan(TreeBuilder::new(), SizeRequest::Exact(2 * TIB - 512));
    let start = Instant::now();
    let read = fat::read(&disk, &checked()).unwrap().unwrap();
    assert_sound(&read);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());

    let mut builder = TreeBuilder::new();
    builder.add("", Metadata { mode: 0o755, ..Metadata::default() }, NewNode::Directory).unwrap();
    for n in 0..100_000_u32 {
        if n % 1000 == 0 {
            builder.add(format!("directory {n:05}"), metadata, NewNode::Directory).unwrap();
        }
        let file = NewNode::File { content: ContentId(0), length: 0, data: None };
        builder.add(format!("directory {:05}/a file with a long name {n}", n / 1000 * 1000), metadata, file).unwrap();
    }
    let planned = plan(builder, SizeRequest::Minimum { free_bytes: 0 });
    let mut image = vec![0; usize::try_from(planned.size_bytes()).unwrap()];
    planned.read_exact_at(0, &mut image).unwrap();
    let start = Instant::now();
    let read = read_bytes(&image).unwrap().unwrap();
    assert_sound(&read);
    assert_eq!(read.tree.entry_count(), 100_100);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let mut options = ReadOptions::default();
    options.entries = 5000;
    let disk: Arc<dyn ReadAt> = Arc::new(image);
    assert_eq!(fat::read(&disk, &options).unwrap_err().kind(), rootvol::ErrorKind::LimitExceeded);
}

#[test]
fn names_that_no_tree_can_hold_are_damage_and_the_rest_is_read() {
    let (image, tree, _) = volume(FatKind::Fat16, 5 * MIB);
    // The first part of the long name, which stands before the short entry: its first unit becomes half of a pair.
    let conf = Parts::entry(&image, b"ENTRY-~1CON");
    let mut pair = image.clone();
    pair[conf - 32 + 1..conf - 32 + 3].copy_from_slice(&0xd800_u16.to_le_bytes());
    let (damage, _, missing) = judged(&pair, &tree);
    assert_eq!(missing, ["loader/entries/entry-number-00.conf"]);
    assert!(damage[0].contains("half of a surrogate pair"), "{damage:?}");
    let mut slash = image.clone();
    slash[conf - 32 + 1] = b'/';
    assert_eq!(judged(&slash, &tree).2, missing);
    // The second entry gets the first one's name: all its parts and its short name.
    let mut twice = image.clone();
    let second = Parts::entry(&image, b"ENTRY-~2CON");
    twice.copy_within(conf - 64..conf + 11, second - 64);
    let (damage, _, missing) = judged(&twice, &tree);
    assert_eq!(missing, ["loader/entries/entry-number-01.conf"]);
    assert_eq!(damage, ["loader/entries/entry-number-00.conf: a second entry of this name; the first is given"]);
    // 0x05 stands for 0xe5, and code page 437 has a sigma there.
    let mut kanji = image;
    let top = Parts::entry(&kanji, b"TOP        ");
    kanji[top] = 0x05;
    assert!(read_bytes(&kanji).unwrap().unwrap().tree.lookup("σOP").is_some());
}

#[test]
fn r26_directories_end_at_their_limit_and_paths_at_theirs() {
    let (image, tree, _) = volume(FatKind::Fat16, 5 * MIB);
    let parts = Parts::of(&image);
    // The directory EFI goes on through deleted entries, without an end mark, for one cluster more than it may.
    let mut long = image.clone();
    let mut last = Parts::first_cluster(&image, Parts::entry(&image, b"EFI        "));
    let at = parts.data + (last - 2) * parts.cluster;
    for entry in long[at..at + parts.cluster].chunks_mut(32).filter(|entry| entry[0] == 0) {
        entry[0] = 0xe5;
    }
    let free: Vec<usize> = (2..5000).filter(|cluster| parts.link(&image, *cluster) == 0).collect();
    for cluster in free.into_iter().take(2 * 1024 * 1024 / parts.cluster) {
        parts.set_link(&mut long, last, cluster);
        parts.set_link(&mut long, cluster, 0xffff);
        let at = parts.data + (cluster - 2) * parts.cluster;
        long[at..at + parts.cluster].fill(0xe5);
        last = cluster;
    }
    let (damage, findings, missing) = judged(&long, &tree);
    assert_eq!(damage, ["EFI: the directory has over 65,536 entries, which is its limit"]);
    assert!(missing.is_empty() && findings.is_empty(), "{missing:?} {findings:?}");

    let metadata = Metadata { mode: 0o755, mtime: Timestamp::from_seconds(1_700_000_000), ..Metadata::default() };
    let mut builder = TreeBuilder::new();
    let path = vec!["n".repeat(200); 25].join("/");
    builder.add(&path, metadata, NewNode::Directory).unwrap();
    let layout = fat::plan(Arc::new(builder.freeze().unwrap()), &Options::new()).unwrap();
    let mut image = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
    fill(&layout, &MemoryContents::new(), 0, &mut image).unwrap();
    let read = read_bytes(&image).unwrap().unwrap();
    assert!(read.damage.len() == 1 && read.damage[0].to_string().ends_with("a path of over 4096 bytes; none is read"), "{:?}", read.damage);
    assert_eq!(read.tree.entry_count(), 20);
}
