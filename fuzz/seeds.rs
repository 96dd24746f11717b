//! Makes the seed corpora of the fuzz targets with this library's own writers: the same bytes each time, so none of them is kept in
//! the repository. `cargo run --example seeds -- FOLDER` makes `FOLDER/TARGET/NAME`.
#![allow(clippy::unwrap_used, clippy::as_conversions, reason = "a tool of the tests: it stops at what it cannot do")]

use rootvol::content::MemoryContents;
use rootvol::format::{self, Format, Identity};
use rootvol::fs::{ext4, fat};
use rootvol::layout::{Layout, fill};
use rootvol::partition::{Partition, PartitionType, Table, TableKind};
use rootvol::tree::{Metadata, NewNode, Timestamp, Tree, TreeBuilder, Xattr};
use rootvol::units::{KIB, MIB};
use rootvol::{DiskSpec, Guid, Size};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("the folder to make the seeds in"));
    let save = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(folder.join(target)).unwrap();
        fs::write(folder.join(target).join(name), bytes).unwrap();
    };
    filesystems(&save);
    tables(&save);
    images(&save);
    archives(&save, &folder);
    initramfs(&save);
    texts(&save);
    trees(&save);
    stores(&save);
}

type Save<'a> = dyn Fn(&str, &str, &[u8]) + 'a;

fn metadata(mode: u16) -> Metadata {
    Metadata { mode, mtime: Timestamp::from_seconds(1_700_000_000), ..Metadata::default() }
}

/// A few files of each kind; FAT gets directories and files alone.
fn sample(is_fat: bool) -> (Arc<Tree>, MemoryContents) {
    let (mut tree, mut contents) = (TreeBuilder::new(), MemoryContents::new());
    tree.add("", metadata(0o755), NewNode::Directory).unwrap();
    for (path, len) in [("EFI/BOOT/BOOTX64.EFI", 3000_usize), ("EFI/BOOT/grub.cfg", 70), ("empty", 0), ("a long name, and ünïcödé.conf", 700)] {
        let content = contents.push((0..len).map(|n| (n * 7) as u8).collect::<Vec<_>>()).unwrap();
        tree.add(path, metadata(0o644), NewNode::File { content, length: len as u64, data: None }).unwrap();
    }
    for n in 0..20 {
        let content = contents.push(format!("{n}").into_bytes()).unwrap();
        tree.add(format!("many/entry-number-{n}"), metadata(0o600), NewNode::File { content, length: if n < 10 { 1 } else { 2 }, data: None }).unwrap();
    }
    if !is_fat {
        let xattrs = tree.intern_xattrs(vec![Xattr { name: b"user.a"[..].into(), value: b"value"[..].into() }]).unwrap();
        let large = tree.intern_xattrs(vec![Xattr { name: b"user.large"[..].into(), value: vec![7; 600].into() }]).unwrap();
        tree.add("link", metadata(0o777), NewNode::Symlink(b"EFI/BOOT")).unwrap();
        tree.add("long-link", metadata(0o777), NewNode::Symlink(&[b'x'; 200])).unwrap();
        tree.add("fifo", Metadata { xattrs, ..metadata(0o600) }, NewNode::Fifo).unwrap();
        tree.add("large", Metadata { xattrs: large, ..metadata(0o700) }, NewNode::Directory).unwrap();
        tree.link("hard", "empty").unwrap();
        let content = contents.push(vec![1; 100_000]).unwrap();
        tree.add("holes", metadata(0o644), NewNode::File { content, length: 100_000, data: Some(&[(8192, 100), (60_000, 5000)]) }).unwrap();
    }
    (Arc::new(tree.freeze().unwrap()), contents)
}

/// The form of `fuzz_targets/shared/disk.rs`.
fn sparse(layout: &dyn Layout, contents: &MemoryContents) -> Vec<u8> {
    let mut image = vec![0; layout.size_bytes() as usize];
    fill(layout, contents, 0, &mut image).unwrap();
    let mut out = ((image.len() / 512) as u32).to_le_bytes().to_vec();
    let stored: Vec<usize> = (0..image.len() / 512).filter(|sector| image[sector * 512..][..512].iter().any(|byte| *byte != 0)).collect();
    for run in stored.chunk_by(|a, b| a + 1 == *b) {
        for part in run.chunks(255) {
            out.extend_from_slice(&(part[0] as u32).to_le_bytes()[..3]);
            out.push(part.len() as u8);
            out.extend_from_slice(&image[part[0] * 512..][..part.len() * 512]);
        }
    }
    out
}

fn filesystems(save: &Save<'_>) {
    let (tree, contents) = sample(true);
    for (kind, sector, size) in [
        (fat::FatKind::Fat12, 512, fat::SizeRequest::Minimum { free_bytes: 0 }),
        (fat::FatKind::Fat12, 4096, fat::SizeRequest::Minimum { free_bytes: 9000 }),
        (fat::FatKind::Fat16, 512, fat::SizeRequest::Exact(4 * MIB)),
        (fat::FatKind::Fat32, 512, fat::SizeRequest::Exact(34 * MIB)),
    ] {
        let mut options = fat::Options::new();
        (options.size, options.kind, options.sector_bytes) = (size, Some(kind), sector);
        save("fat", &format!("{}-{sector}", kind.name()), &sparse(&fat::plan(Arc::clone(&tree), &options).unwrap(), &contents));
    }
    let (tree, contents) = sample(false);
    for features in ["default", "ext2", "ext3", "^64bit,^metadata_csum", "inline_data", "meta_bg,^resize_inode", "ea_inode", "^flex_bg", "modern"] {
        let mut options = ext4::Options::new(Guid::from_name("a"), Guid::from_name("b"), Timestamp::from_seconds(1_700_000_000));
        options.size = ext4::SizeRequest::Minimum { free_bytes: 64 * KIB };
        options.features = ext4::Features::parse([features]).unwrap();
        let layout = ext4::plan(Arc::clone(&tree), &options).unwrap();
        save("ext4", &features.replace(['^', ','], "-"), &sparse(&layout, &contents));
    }
}

fn table(kind: TableKind, sector_bytes: u32) -> Table {
    let types: [&str; 2] = ["esp", "linux"];
    let partition = |number: u32, offset: u64| Partition {
        number,
        partition_type: PartitionType::parse(types[number as usize % 2], kind, None).unwrap(),
        guid: Guid::from_name(&format!("partition {number}")),
        name: format!("name {number}"),
        attributes: 0,
        offset_bytes: offset,
        size_bytes: 8 * KIB,
    };
    Table {
        kind,
        disk_bytes: 128 * KIB,
        sector_bytes,
        disk_guid: Guid::from_name("disk"),
        signature: 0x1234_5678,
        boot_code: None,
        partitions: vec![partition(1, 64 * KIB), partition(2, 80 * KIB)],
    }
}

fn tables(save: &Save<'_>) {
    for (kind, target) in [(TableKind::Gpt, "gpt"), (TableKind::Mbr, "mbr")] {
        for sector in [512, 4096] {
            let layout = rootvol::partition::plan(&table(kind, sector)).unwrap();
            let mut bytes = vec![0; layout.size_bytes() as usize];
            fill(&layout, &MemoryContents::new(), 0, &mut bytes).unwrap();
            match kind {
                TableKind::Gpt => save(target, &sector.to_string(), &bytes),
                _ => save(target, &sector.to_string(), &[&256_u32.to_le_bytes(), &bytes[..512]].concat()),
            }
            save("inspect", &format!("{target}-{sector}"), &bytes);
        }
    }
    // A chain of extended partitions: the writer makes none.
    let entry = |kind: u8, start: u32, len: u32| {
        let mut bytes = [0; 16];
        bytes[4] = kind;
        bytes[8..12].copy_from_slice(&start.to_le_bytes());
        bytes[12..16].copy_from_slice(&len.to_le_bytes());
        bytes
    };
    let mut bytes = 64_u32.to_le_bytes().to_vec();
    bytes.resize(4 + 20 * 512, 0);
    for (sector, entries) in [(0, [entry(0x83, 4, 4), entry(5, 10, 30)]), (10, [entry(0x83, 1, 4), entry(5, 8, 10)]), (18, [entry(0x83, 1, 4), [0; 16]])] {
        let at = 4 + sector * 512;
        bytes[at + 446..at + 478].copy_from_slice(&entries.concat());
        bytes[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
    }
    save("mbr", "extended", &bytes);
}

fn small_disk(name: &str) -> rootvol::Disk {
    let (tree, files) = sample(true);
    let tree = Arc::into_inner(tree).unwrap();
    let mut contents = rootvol::content::ContentStore::new();
    let count = files.count();
    contents.add(Arc::new(files), count).unwrap();
    let mut spec = DiskSpec::data(rootvol::source::Source::new(tree, contents, "seed")).name(name).free(Size::bytes(0));
    spec.align_size = Size::mib(1);
    spec.plan().unwrap()
}

fn images(save: &Save<'_>) {
    let disk = small_disk("seed");
    let mut image = Vec::new();
    disk.write_to(&mut image, Format::Raw, Default::default()).unwrap();
    save("inspect", "disk.zst", &zstd::encode_all(&image[..], 3).unwrap());
    // The container alone, of a disk with hardly anything on it, in blocks of 4 KiB, and a child of each.
    let layout = rootvol::partition::plan(&table(TableKind::Mbr, 512)).unwrap();
    let map = rootvol::layout::AllocationMap::of(&layout);
    let with_length = |image: &[u8], parent: &[u8]| [&(image.len() as u32).to_le_bytes()[..], image, parent].concat();
    let child = in_small_blocks(&bytes_of(Format::Vhd, &map, "child"));
    for (name, image) in [("fixed", bytes_of(Format::VhdFixed, &map, "parent")), ("dynamic", in_small_blocks(&bytes_of(Format::Vhd, &map, "parent")))] {
        save("vhd", name, &with_length(&image, &[]));
        let mut child = child.clone();
        let (end, id) = (child.len() - 512, &image[image.len() - 512 + 68..][..16]);
        for footer in [0, end] {
            child[footer + 60..footer + 64].copy_from_slice(&4_u32.to_be_bytes());
        }
        child[512 + 40..512 + 56].copy_from_slice(id);
        save("vhd", &format!("child-of-{name}"), &with_length(&child, &image));
    }
}

/// A dynamic VHD with blocks of 4 KiB, of which it has two: what the writer makes has blocks of 2 MiB. Checksums are the target's affair.
fn in_small_blocks(vhd: &[u8]) -> Vec<u8> {
    let mut out = vhd[..2048].to_vec();
    out[512 + 28..512 + 36].copy_from_slice(&[0, 0, 0, 32, 0, 0, 0x10, 0]);
    out[1536..2048].fill(0xff);
    for (entry, bits) in [(0, 0xff), (7, 0x5a)] {
        let sector = (out.len() / 512) as u32;
        out[1536 + entry * 4..1540 + entry * 4].copy_from_slice(&sector.to_be_bytes());
        out.push(bits);
        out.resize(out.len() + 511, 0);
        out.resize(out.len() + 4096, bits);
    }
    out.extend_from_slice(&vhd[vhd.len() - 512..]);
    out
}

/// An image of a disk whose used blocks are zero.
fn bytes_of(format: Format, map: &rootvol::layout::AllocationMap, id: &str) -> Vec<u8> {
    use rootvol::format::Piece;
    let image = format::plan(format, map, &Identity { id: Guid::from_name(id), created: 1_700_000_000 }).unwrap();
    let (mut writer, mut out) = (image.writer, Vec::new());
    let mut emit = |piece: Piece<'_>| {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Zeros(len) | Piece::Unused(len) => out.resize(out.len() + len as usize, 0),
        }
        Ok(())
    };
    writer.begin(&mut emit).unwrap();
    for index in 0..map.block_count() {
        let len = (map.size_bytes() - index * 524_288).min(524_288);
        writer.data(rootvol::BlockIndex(index), &vec![0; len as usize], &mut emit).unwrap();
    }
    writer.finish(&mut emit).unwrap();
    out
}

/// A cpio archive (newc) with a few entries; with sums (crc) where asked for.
fn cpio(sums: bool) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, data) in [
        ("init", 0o100_755, &b"\x7fELF\x02\x01\x01"[..]),
        ("lib", 0o120_777, b"usr/lib"),
        ("usr/lib/modules/6.1/nvme.ko", 0o100_644, &[7; 300]),
        ("TRAILER!!!", 0, b""),
    ] {
        let sum: u32 = if sums && mode & 0o170_000 == 0o100_000 { data.iter().map(|byte| u32::from(*byte)).sum() } else { 0 };
        archive.extend_from_slice(if sums { b"070702" } else { b"070701" });
        for number in [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, sum] {
            archive.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        for part in [&[name.as_bytes(), b"\0"].concat()[..], data] {
            archive.extend_from_slice(part);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
    }
    archive
}

fn initramfs(save: &Save<'_>) {
    let plain = cpio(false);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    xz.write_all(&plain).unwrap();
    let mut lzma = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &lzma_rust2::LzmaOptions::with_preset(1), None).unwrap();
    lzma.write_all(&plain).unwrap();
    // A block of literals alone: token, length, bytes.
    let mut block = vec![0xf0];
    let mut left = plain.len() - 15;
    while left >= 255 {
        block.push(255);
        left -= 255;
    }
    block.push(left as u8);
    block.extend_from_slice(&plain);
    let lz4 = [&[0x02, 0x21, 0x4c, 0x18][..], &(block.len() as u32).to_le_bytes(), &block].concat();
    save("initramfs", "crc", &cpio(true));
    for (name, packed) in [
        ("gzip", gzip.clone()),
        ("xz", xz.finish().unwrap()),
        ("lzma", lzma.finish().unwrap()),
        ("lz4", lz4),
        ("zstd", zstd::encode_all(&plain[..], 3).unwrap()),
    ] {
        save("initramfs", name, &packed);
        save("initramfs", &format!("microcode-{name}"), &[&plain[..], &[0; 8], &packed].concat());
    }
    save("initramfs", "two", &[&gzip[..], &[0; 3], &gzip].concat());
}

fn archives(save: &Save<'_>, folder: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, len) in [
        ("./", tar::EntryType::Directory, 0),
        ("./etc/motd", tar::EntryType::Regular, 700),
        ("./link", tar::EntryType::Symlink, 0),
        ("./fifo", tar::EntryType::Fifo, 0),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(len);
        header.set_mode(0o755);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("etc/motd").unwrap();
        }
        tar.append_pax_extensions([("SCHILY.xattr.user.a", &b"value"[..]), ("mtime", b"1700000000.5")]).unwrap();
        header.set_path(path).unwrap();
        header.set_cksum();
        tar.append(&header, &vec![b'x'; len as usize][..]).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "n".repeat(150), &b"abc"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    save("tar", "pax", &tar);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    save("compressed", "gzip", &gzip.finish().unwrap());
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    xz.write_all(&tar).unwrap();
    save("compressed", "xz", &xz.finish().unwrap());
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(&tar).unwrap();
    save("compressed", "zstd", &zstd.finish().unwrap());
    save("compressed", "zstd-skippable", &[&b"\x50\x2a\x4d\x18\x02\0\0\0ab"[..], &zstd::encode_all(&b"abc"[..], 3).unwrap()].concat());
    assert!(folder.join("tar").is_dir());
}

fn texts(save: &Save<'_>) {
    save("recipe", "example", include_bytes!("../src/recipe/example.toml"));
    save("recipe", "small", b"name = \"web\"\n[disk]\nsize = \"8 GiB\"\n[[source]]\npath = \"rootfs.tar\"\n");
    let folder = tempfile::tempdir().unwrap();
    let (written, _) = small_disk("seed").write_unnamed(folder.path().join("image.raw"), Format::Raw, Default::default()).unwrap();
    save("report", "report", written.report.to_json().as_bytes());
    save("report", "plan", written.report.ebs_snapshot(&written.checksums).plan().unwrap().to_json().as_bytes());
    let layout = small_disk("seed").as_parent(&written.checksums).unwrap().to_layout().unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*layout), &mut text).unwrap();
    save("layout", "packed", &layout);
    save("layout", "text", &text);
    save("report", "blocks", b"{\"index\":0,\"state\":\"data\",\"checksum\":\"B4VNL+8peroGuoFoXmYMMy2VN+3YXV0YXVRqkn0w2q0=\"}\n{\"index\":1,\"count\":3,\"state\":\"zero\"}\n{\"index\":4,\"count\":12,\"state\":\"unused\"}\n");
    save("trace", "order", b"# first\n/bin/sh\t0+4096,65536+4464\n/lib\t-\n/usr/lib/libc.so\n/\\x09\n");
    save("trace", "plain", b"1048576 4096\n0x102000 0x1000\n0 512\n");
    save(
        "trace",
        "qemu",
        b"blk_co_preadv blk 0xa1 bs 0xb1 offset 0 bytes 3653632 flags 0x0\n9@1.5:blk_co_preadv blk 0xa2 bs 0xb2 offset 1048576 bytes 4096 flags 0x0\n",
    );
    save("report", "slice", b"{\"index\":7,\"count\":3,\"state\":\"zero\"}\n");
}

/// The forms of the targets plan and roundtrip.
fn trees(save: &Save<'_>) {
    let entries = [
        &[0, 1, 2][..],
        b"dir",
        &[0xff, 2, 40, 3],
        b"dir/file.conf",
        &[0xff, 3, 0, 0],
        b"EMPTY",
        &[0xff, 5, 60, 9],
        b"link",
        &[0xff, 0x82, 200, 50],
        b"with-xattr",
    ]
    .concat();
    for which in 0..4_u8 {
        save("roundtrip", &which.to_string(), &[&[which], &entries[..]].concat());
    }
    save("plan", "few", b"\0\0dir\xff\x01\x10dir/file\xff\x02\x00link\xff\x03\x00pipe");
    save("sha256", "few", &[&[17, 3, 5][..], &[0xa5; 3000]].concat());
}

/// UEFI variable stores, and signature lists.
fn stores(save: &Save<'_>) {
    use rootvol::uefi::{Key, SignatureList, UefiData};
    let published = include_str!("../tests/uefi/t02.aws");
    let lists = [SignatureList::certificate(Guid::from_name("seed"), b"\x30\x09\x30\x01\x05\x30\x00\x03\x02\x00\x01".to_vec())];
    let mut small = UefiData::new();
    small.enroll(Key::Pk, &lists, [0; 16]).unwrap();
    small.enroll(Key::Db, &lists, [1; 16]).unwrap();
    for (name, text) in [("published", published.trim()), ("small", &small.to_base64().unwrap())] {
        save("uefi", name, &[&[0], &rootvol::checksum::base64_decode(text).unwrap()[..]].concat());
        save("uefi", &format!("{name}-text"), &[&[1], text.as_bytes()].concat());
    }
    save("uefi", "list", &[vec![2], lists[0].encode()].concat());
    save("uefi", "pem", b"\x02-----BEGIN CERTIFICATE-----\nMAkwAQUwAAMCAAE=\n-----END CERTIFICATE-----\n");
}
