//! Traces and boot orders: what a trace reads is mapped back to files, directories and inodes; what it costs is counted; hostile and foreign
//! traces are told. Judges: debugfs, for where inodes and blocks lie; a second count by brute force.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, run, text};
use proptest::prelude::*;
use rootvol::format::OpenOptions;
use rootvol::fs::{OrderedPath, PlaceOwner, ReadFilesystem, ReadOptions};
use rootvol::order::BootOrder;
use rootvol::source::DiskImage;
use rootvol::trace::{ImageMap, Trace, boot_order};
use rootvol::units::u64_of;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

const MIB: u64 = 1 << 20;

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

fn bytes(seed: u32, len: u32) -> Vec<u8> {
    (0..len).map(|at| (at + seed).wrapping_mul(2_654_435_761).to_be_bytes()[0] | 1).collect()
}

/// The folder of a recipe: an ESP and a root that looks like a system's.
fn sources(folder: &Path) {
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("esp/EFI/BOOT/BOOTX64.EFI", &bytes(1, 100_000));
    write("rootfs/usr/bin/big", &bytes(2, 3_000_000));
    write("rootfs/usr/bin/sh", &bytes(3, 10_000));
    write("rootfs/usr/lib/libc.so", &bytes(4, 200_000));
    write("rootfs/etc/hostname", b"trace\n");
    write("rootfs/etc/empty", b"");
    for number in 0..50 {
        write(&format!("rootfs/usr/share/doc/{number}"), &bytes(number, 5000));
    }
    std::os::unix::fs::symlink("usr/lib", folder.join("rootfs/lib")).unwrap();
    fs::create_dir_all(folder.join("rootfs/boot/efi")).unwrap();
    write(
        "image.toml",
        b"name = \"trace\"\n[disk]\nalign_size = \"1 MiB\"\n[boot]\nmode = \"none\"\n\
          [[partition]]\ntype = \"esp\"\nsize = \"40 MiB\"\nsource = \"esp\"\nmount_point = \"/boot/efi\"\nowner = \"0:0\"\n\
          [[partition]]\ntype = \"linux\"\nsize = \"64 MiB\"\nsource = \"rootfs\"\nmount_point = \"/\"\nowner = \"0:0\"\n",
    );
}

/// The image that most tests read, built once by the command.
fn image() -> &'static Path {
    static IMAGE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = IMAGE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        sources(folder.path());
        let path = folder.path().join("image.raw");
        run(rootvol().arg("build").arg("--recipe").arg(folder.path().join("image.toml")).arg("-o").arg(&path).arg("--quiet"));
        (folder, path)
    });
    path
}

/// An opened image and its filesystems.
struct Opened {
    image: DiskImage,
    read: Vec<(u32, u64, ReadFilesystem)>,
}

impl Opened {
    fn new() -> Self {
        let image = DiskImage::open(image(), &OpenOptions::default()).unwrap();
        let read = image.partitions().iter().map(|partition| {
            (partition.number, partition.offset_bytes, image.read(partition.number, &ReadOptions::default()).unwrap().expect("both have filesystems"))
        });
        let read = read.collect();
        Self { image, read }
    }

    fn partition(&self, number: u32) -> &(u32, u64, ReadFilesystem) {
        self.read.iter().find(|(one, ..)| *one == number).unwrap()
    }

    /// Where the bytes of a file or directory lie on the disk.
    fn place(&self, number: u32, path: &str, range: Range<u64>) -> Range<u64> {
        let (_, base, read) = self.partition(number);
        let wanted = read.tree.lookup(path).unwrap_or_else(|| panic!("{path} is there"));
        let found = read.places.iter().find_map(|place| match place.owner {
            PlaceOwner::Data { node, offset_bytes } if node == wanted && offset_bytes <= range.start => {
                let at = base + place.range.start + range.start - offset_bytes;
                (offset_bytes + (place.range.end - place.range.start) >= range.end).then_some(at..at + range.end - range.start)
            }
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{path} has no such range in one piece"))
    }

    /// The block of 4 KiB with the inode of a path of the root, by debugfs.
    fn inode_block(&self, debugfs: &mut Command, path: &str) -> u64 {
        let base = self.partition(2).1;
        let said = text(debugfs.arg("-R").arg(format!("imap {path}")).arg(format!("{}?offset={base}", image().display())));
        let block = said.split("located at block ").nth(1).unwrap_or_else(|| panic!("{said}")).split(',').next().unwrap();
        base + block.trim().parse::<u64>().unwrap() * 4096
    }
}

fn qemu(reads: &[Range<u64>]) -> String {
    let line = |range: &Range<u64>| format!("blk_co_preadv blk 0x5555aa bs 0x5555bb offset {} bytes {} flags 0x0\n", range.start, range.end - range.start);
    reads.iter().map(line).collect()
}

/// The paths and ranges of an order, as lines.
fn lines(order: &BootOrder) -> Vec<String> {
    let mut text = Vec::new();
    order.write(&mut text).unwrap();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

fn learn(traces: &[&str]) -> Vec<String> {
    let map = ImageMap::of(&Opened::new().image).unwrap();
    let traces: Vec<Trace> = traces.iter().map(|text| Trace::read(text.as_bytes()).unwrap()).collect();
    let disks: Vec<_> = traces.iter().map(|trace| map.disk(trace, None).unwrap()).collect();
    lines(&boot_order(&map, &disks).unwrap().order)
}

#[test]
fn reads_become_entries_in_the_order_of_first_reading() {
    let opened = Opened::new();
    let root = opened.partition(2).1;
    let reads = [
        0..512,
        512..1024,
        opened.place(1, "EFI/BOOT/BOOTX64.EFI", 0..100_000),
        root + 1024..root + 2048,
        opened.place(2, "usr/lib/libc.so", 0..8192),
        opened.place(2, "usr", 0..4096),
        // The ESP's root, and the directory under it, which nobody sees.
        opened.place(1, "/", 0..512),
        opened.place(2, "boot/efi", 0..512),
        opened.place(2, "usr/bin/sh", 0..10_000),
        opened.place(2, "usr/lib/libc.so", 65_537..65_540),
        opened.place(2, "usr/lib/libc.so", 4096..12_288),
        opened.place(2, "usr/bin/big", 2_998_272..3_000_000),
    ];
    // The firmware's flash first, as QEMU has it, and lines of other events.
    let mut trace = String::from(
        "blk_co_preadv blk 0x1 bs 0x2 offset 0 bytes 3653632 flags 0x0\n77@1700000000.5:blk_co_preadv blk 0x3 bs 0x4 offset 0 bytes 540672 flags 0x0\n",
    );
    trace += "blk_co_pwritev blk 0x5555aa bs 0x5555bb offset 0 bytes 4096 flags 0x0\n";
    trace += &qemu(&reads);
    let expected = ["/boot/efi/EFI/BOOT/BOOTX64.EFI", "/usr/lib/libc.so\t0+12288,65536+4096", "/usr", "/boot/efi", "/usr/bin/sh", "/usr/bin/big\t2998272+1728"];
    assert_eq!(learn(&[&trace]), expected);

    // By the command: the same, behind a comment that says where it comes from.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.trace");
    fs::write(&file, &trace).unwrap();
    let order = folder.path().join("web.order");
    let output = run(rootvol().arg("boot-order").arg(image()).arg(&file).arg("-o").arg(&order));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("disk 3 of 3") && said.contains("1 line is no read") && said.contains("6 entries: 6 with contents"), "{said}");
    let written = fs::read_to_string(&order).unwrap();
    assert!(written.starts_with("# What image.raw reads when it boots, first read first; learnt from one.trace.\n"), "{written}");
    assert_eq!(written.lines().skip(1).collect::<Vec<_>>(), expected);
    assert_eq!(text(rootvol().arg("boot-order").arg(image()).arg(&file).arg("--quiet")), written);
    // Nothing is replaced unasked, and never an input.
    for (arguments, output, says) in [(&[][..], &order, "--force"), (&["--force"], &file, "inputs"), (&["--force"], &image().to_path_buf(), "inputs")] {
        let output = rootvol().arg("boot-order").arg(image()).arg(&file).arg("-o").arg(output).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(says), "{said}");
    }
}

/// A read of a block of inodes does not say which was wanted: see the head of `trace/learn.rs`.
#[test]
fn inodes_are_listed_where_their_directory_is_read() {
    let Some(mut debugfs) = judge("debugfs") else { return };
    let opened = Opened::new();
    let block = |path: &str, debugfs: &mut Command| opened.inode_block(debugfs, path);
    let again = || judge("debugfs").expect("it was there");
    let link = block("/lib", &mut debugfs);
    let empty = block("/etc/empty", &mut again());
    let sh = block("/usr/bin/sh", &mut again());
    let blocks: BTreeSet<u64> = [link, empty, sh, block("/etc/hostname", &mut again())].into();
    let inodes: Vec<Range<u64>> = blocks.iter().map(|at| *at..at + 4096).collect();
    let directory = |path: &str| opened.place(2, path, 0..1);
    // The root's entries and the inodes: the link is all in its inode; of /etc nothing was looked up.
    let with_root = [&inodes[..], &[directory("/")]].concat();
    let found = learn(&[&qemu(&with_root)]);
    assert!(found.contains(&"/lib\t-".to_owned()) && found.contains(&"/".to_owned()) && !found.contains(&"/etc/empty\t-".to_owned()), "{found:?}");
    assert_eq!(found.first().unwrap(), "/", "an inode stands behind its directory: {found:?}");
    // With the entries of /etc its empty file, too, but no file that has contents which nobody read.
    let with_etc = [&[directory("/"), directory("etc")], &inodes[..]].concat();
    let found = learn(&[&qemu(&with_etc)]);
    assert!(found.contains(&"/etc/empty\t-".to_owned()) && !found.iter().any(|line| line.starts_with("/etc/hostname")), "{found:?}");
    // A file whose contents are read stands there by these, once.
    let with_sh = [&with_etc[..], &[opened.place(2, "usr/bin/sh", 0..10_000)]].concat();
    let found = learn(&[&qemu(&with_sh)]);
    assert_eq!(found.iter().filter(|line| line.starts_with("/usr/bin/sh")).collect::<Vec<_>>(), ["/usr/bin/sh"], "{found:?}");
}

/// A read of inodes that nothing else explains was a read of one of those whose directory was read.
#[test]
fn a_read_of_inodes_without_another_reason_lists_those_that_may_have_been_meant() {
    let Some(mut debugfs) = judge("debugfs") else { return };
    let opened = Opened::new();
    let at = opened.inode_block(&mut debugfs, "/usr/share/doc/30");
    let reads = [opened.place(2, "usr/share/doc", 0..1), at..at + 4096];
    let found = learn(&[&qemu(&reads)]);
    assert_eq!(found[0], "/usr/share/doc");
    assert!(found.contains(&"/usr/share/doc/30\t-".to_owned()) && (2..=17).contains(&found.len()), "{found:?}");
    assert!(found[1..].iter().all(|line| line.starts_with("/usr/share/doc/") && line.ends_with("\t-")), "{found:?}");
}

#[test]
fn debugfs_sees_files_where_they_are_read() {
    let Some(mut debugfs) = judge("debugfs") else { return };
    let opened = Opened::new();
    let base = opened.partition(2).1;
    let said = text(debugfs.arg("-R").arg("blocks /usr/lib/libc.so").arg(format!("{}?offset={base}", image().display())));
    let blocks: Vec<u64> = said.split_whitespace().map(|block| block.parse().unwrap()).collect();
    assert_eq!(blocks.len(), 49);
    let reads: Vec<Range<u64>> = blocks[3..5].iter().map(|block| base + block * 4096..base + (block + 1) * 4096).collect();
    assert_eq!(learn(&[&qemu(&reads)]), ["/usr/lib/libc.so\t12288+8192"]);
}

#[test]
fn several_traces_are_merged() {
    let opened = Opened::new();
    let file = |path: &str, range: Range<u64>| opened.place(2, path, range);
    let one = qemu(&[file("usr/bin/sh", 0..10_000), file("usr/lib/libc.so", 0..4096)]);
    let doc = file("usr/share/doc/7", 0..5000);
    let other = format!("{:#x} {:#x}\n", doc.start, doc.end - doc.start) + &qemu(&[file("usr/lib/libc.so", 0..8192), file("usr/bin/sh", 0..4096)]);
    assert_eq!(learn(&[&one, &qemu(&[doc.clone(), file("usr/lib/libc.so", 4096..8192)])]), ["/usr/bin/sh", "/usr/lib/libc.so\t0+8192", "/usr/share/doc/7"]);
    // Both forms in one file are two disks; the one with a name has more that fits.
    assert_eq!(learn(&[&other]), ["/usr/lib/libc.so\t0+8192", "/usr/bin/sh\t0+4096"]);
}

fn first_boot(trace: &str, arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    fs::write(&file, trace).unwrap();
    rootvol().arg("first-boot").arg(image()).arg(&file).args(arguments).output().unwrap()
}

#[test]
fn a_trace_of_another_image_is_told() {
    let opened = Opened::new();
    let sh = opened.place(2, "usr/bin/sh", 0..4096);
    let size = opened.image.summary().size_bytes;
    let free = 100 * MIB;
    for (trace, says) in [
        (format!("{} 4096\n{free} 8192\n", sh.start), "no trace of the image"),
        (format!("{} 4096\n{size} 8192\n", sh.start), "no trace of the image"),
        (format!("0 {}\n", u64::MAX), "no trace of the image"),
        ("hello\n".to_owned(), "no read is in the trace"),
        (String::new(), "no read is in the trace"),
    ] {
        let output = first_boot(&trace, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(says) && output.stdout.is_empty(), "{trace:?}: {said}");
    }
    let output = first_boot("0 512\n", &["--disk", "2"]);
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("there are 1: 1 (1 reads)"), "{output:?}");
    // A little outside is told, and the rest counts.
    let output = first_boot(&format!("{} 4096\n{} 1024\n", sh.start, size - 512), &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["outside_bytes"].as_u64(), json["blocks"].as_u64(), json["pieces"].as_u64()), (Some(512), Some(2), Some(2)));
    assert!(json["notes"][0].as_str().unwrap().contains("outside"), "{json}");
}

/// Contents that are read of files whose inodes are not: offsets that fit by chance.
#[test]
fn contents_without_inodes_make_one_doubt_the_trace() {
    let opened = Opened::new();
    let reads: Vec<Range<u64>> = (0..20).map(|number| opened.place(2, &format!("usr/share/doc/{number}"), 0..4096)).collect();
    let output = first_boot(&qemu(&reads), &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("may be of another image"), "{said}");
}

/// Every number of `first-boot` again, by brute force.
#[test]
fn first_boot_counts_blocks_bound_and_causes() {
    let opened = Opened::new();
    let reads = [
        0..512,
        opened.place(1, "EFI/BOOT/BOOTX64.EFI", 0..4096),
        opened.place(2, "usr/bin/big", 0..300_000),
        opened.place(2, "usr/bin/big", 2_500_000..2_500_100),
        opened.place(2, "usr/bin/sh", 0..10_000),
        opened.place(2, "usr/bin/big", 100_000..400_000),
        opened.place(2, "/", 0..4096),
    ];
    let (mut blocks, mut pieces, mut bytes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for at in reads.iter().cloned().flatten() {
        bytes.insert(at);
        pieces.insert(at / 4096);
        blocks.insert(at / (512 * 1024));
    }
    let output = first_boot(&qemu(&reads), &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |key: &str| json[key].as_u64().unwrap();
    assert_eq!(number("reads"), 7);
    assert_eq!(number("bytes_read"), u64_of(bytes.len()));
    assert_eq!(number("pieces"), u64_of(pieces.len()));
    assert_eq!(number("blocks"), u64_of(blocks.len()));
    assert_eq!(number("bound"), (u64_of(pieces.len()) * 4096).div_ceil(512 * 1024));
    assert_eq!(number("over"), number("blocks") - number("bound"));
    let touched: Vec<u64> = json["touched"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|run| {
            let (first, count) = (run[0].as_u64().unwrap(), run[1].as_u64().unwrap());
            first..first + count
        })
        .collect();
    assert_eq!(touched, blocks.iter().copied().collect::<Vec<_>>());
    let owners = json["owners"].as_array().unwrap();
    let big = owners.iter().find(|owner| owner["what"] == "/usr/bin/big").unwrap();
    assert_eq!(big["bytes"], 400_100);
    let names: Vec<&str> = owners.iter().map(|owner| owner["what"].as_str().unwrap()).collect();
    for name in ["/boot/efi/EFI/BOOT/BOOTX64.EFI", "/usr/bin/sh", "/", "partition table"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(owners.iter().map(|owner| owner["alone"].as_u64().unwrap()).sum::<u64>() <= number("blocks"));
    let rows = json["picture"]["rows"].as_array().unwrap();
    let all: String = rows.iter().map(|row| row.as_str().unwrap()).collect();
    assert_eq!(u64_of(all.len()), opened.image.summary().size_bytes.div_ceil(512 * 1024));
    for (at, character) in (0_u64..).zip(all.chars()) {
        assert_eq!(matches!(character, '#' | '+'), blocks.contains(&at), "block {at} is {character}");
    }
    let shown = String::from_utf8(first_boot(&qemu(&reads), &[]).stdout).unwrap();
    assert!(shown.contains("different blocks of 512 KiB") && shown.contains("/usr/bin/big") && shown.contains("a character is 512 KiB"), "{shown}");
}

/// A million lines, all over the disk and behind it, in one piece of memory.
#[test]
fn r2_r3_millions_of_lines_take_little_time_and_memory() {
    let size = fs::metadata(image()).unwrap().len();
    let used = Opened::new().place(2, "usr/bin/big", 0..2_000_000);
    let mut trace = String::with_capacity(40 << 20);
    let mut state = 1_u64;
    for number in 0..1_000_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = if number % 50 == 0 { (state >> 33) % size } else { used.start + (state >> 33) % 1_900_000 };
        let _ = writeln!(trace, "{at} {}", if number % 50 == 0 { 1 } else { state >> 60 });
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    fs::write(&file, &trace).unwrap();
    let start = Instant::now();
    let limited = |command: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -v 600000 && exec \"$0\" {command} \"$1\" \"$2\"")).arg(env!("CARGO_BIN_EXE_rootvol")).arg(image()).arg(&file);
        run(&mut shell)
    };
    let said = String::from_utf8(limited("first-boot").stdout).unwrap();
    assert!(said.contains("1000000 reads"), "{said}");
    let said = String::from_utf8(limited("boot-order").stdout).unwrap();
    assert!(said.contains("/usr/bin/big\t"), "{said}");
    assert!(start.elapsed().as_secs() < 300, "{:?}", start.elapsed());
}

#[test]
fn a_build_takes_an_order_and_tells_what_it_does_not_find() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    sources(at);
    let order = at.join("web.order");
    fs::write(&order, "# order\n/boot/efi/EFI/BOOT/BOOTX64.EFI\n/lib/libc.so\t0+4096\n/usr/bin/sh\n/nope\n/boot/efi/none\t-\n").unwrap();
    let plan = |arguments: &[&str]| text(rootvol().current_dir(at).args(["plan", "--recipe", "image.toml"]).args(arguments));
    let said = plan(&["--boot-order", "web.order"]);
    assert!(said.contains("2 of 5 entries name nothing that there is") && said.contains("/nope, /boot/efi/none"), "{said}");
    // The same from the recipe.
    let recipe = fs::read_to_string(at.join("image.toml")).unwrap();
    fs::write(at.join("ordered.toml"), recipe.replace("[boot]\n", "[boot]\norder = \"web.order\"\n")).unwrap();
    assert_eq!(text(rootvol().current_dir(at).args(["plan", "--recipe", "ordered.toml"])), said);
    // It is an input, which no output replaces.
    for arguments in [&["--recipe", "ordered.toml"][..], &["--recipe", "image.toml", "--boot-order", "web.order"]] {
        let output = rootvol().current_dir(at).arg("build").args(arguments).args(["-o", "web.order", "--force"]).output().unwrap();
        assert!(output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("inputs"), "{output:?}");
    }
    // A recipe does not reach out of its folder, and what is no order is told with its line.
    let outside = tempfile::NamedTempFile::new().unwrap();
    for (key, says) in [
        ("../web.order".to_owned(), "outside"),
        (outside.path().display().to_string(), "absolute"),
        ("none.order".into(), "cannot be found"),
        (String::new(), "path of a file"),
    ] {
        fs::write(at.join("bad.toml"), recipe.replace("[boot]\n", &format!("[boot]\norder = \"{key}\"\n"))).unwrap();
        let output = rootvol().current_dir(at).args(["plan", "--recipe", "bad.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) || output.status.code() == Some(2), "{said}");
        assert!(said.contains(says) && said.contains("line 5"), "{key}: {said}");
    }
    fs::write(&order, "/usr/bin/sh\nusr/bin/sh\n").unwrap();
    let output = rootvol().current_dir(at).args(["plan", "--recipe", "ordered.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("web.order") && said.contains("line 2"), "{said}");
}

/// What is learnt is taken by the next build without a word.
#[test]
fn what_is_learnt_names_what_is_there() {
    let opened = Opened::new();
    let reads = [
        opened.place(1, "EFI/BOOT/BOOTX64.EFI", 0..4096),
        opened.place(2, "usr/bin/big", 0..4096),
        opened.place(2, "/", 0..1),
        opened.place(2, "usr/lib", 0..1),
    ];
    let folder = tempfile::tempdir().unwrap();
    let order = folder.path().join("order");
    fs::write(&order, learn(&[&qemu(&reads)]).join("\n")).unwrap();
    let recipe = image().parent().unwrap().join("image.toml");
    let said = text(rootvol().args(["plan", "--recipe"]).arg(recipe).arg("--boot-order").arg(&order));
    assert!(!said.contains("boot order:"), "{said}");
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::collection::vec(any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'a' } else { byte }), 1..12);
    let name = name.prop_map(|name| if name == b"." || name == b".." { b"dots".to_vec() } else { name });
    prop::collection::vec(name, 0..5).prop_map(|parts| parts.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any entries, in any form, are an order that is written and read again as it is; and each path stands once, where it came first.
    #[test]
    fn an_order_is_read_as_it_was_written(entries in prop::collection::vec((path(), prop::collection::vec((0_u64..1000, 0_u64..50), 0..6)), 0..40)) {
        let entry = |(path, ranges): &(Vec<u8>, Vec<(u64, u64)>)| OrderedPath {
            path: path.clone(),
            ranges: ranges.iter().map(|(start, len)| *start..start + len).collect(),
        };
        let order = BootOrder::new(entries.iter().map(entry)).unwrap();
        let mut text = Vec::new();
        order.write(&mut text).unwrap();
        prop_assert_eq!(&BootOrder::read(&text[..]).unwrap(), &order);
        let mut firsts: Vec<Vec<u8>> = Vec::new();
        for (path, _) in &entries {
            let path = [b"/", &path[..]].concat();
            if !firsts.contains(&path) {
                firsts.push(path);
            }
        }
        prop_assert_eq!(order.entries().iter().map(|entry| entry.path.clone()).collect::<Vec<_>>(), firsts);
        for found in order.entries() {
            let wanted: Vec<_> = entries.iter().filter(|(path, _)| [b"/", &path[..]].concat() == found.path).collect();
            if wanted.iter().any(|(_, ranges)| ranges.is_empty()) {
                prop_assert!(found.ranges.is_empty());
                continue;
            }
            let all: BTreeSet<u64> = wanted.iter().flat_map(|(_, ranges)| ranges).flat_map(|(start, len)| *start..start + len).collect();
            prop_assert_eq!(found.ranges.iter().cloned().flatten().collect::<Vec<_>>(), all.into_iter().collect::<Vec<_>>());
            prop_assert!(found.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    /// Any bytes: no panic, and what is accepted is written and read again.
    #[test]
    fn r1_any_bytes_are_an_order_or_an_error(text in prop::collection::vec(prop_oneof![prop::sample::select(&b"/\n\t\\x+,-1# "[..]), any::<u8>()], 0..200)) {
        if let Ok(order) = BootOrder::read(&text[..]) {
            let mut again = Vec::new();
            order.write(&mut again).unwrap();
            prop_assert_eq!(BootOrder::read(&again[..]).unwrap(), order);
        }
        let _ = Trace::read(&text[..]);
    }
}
