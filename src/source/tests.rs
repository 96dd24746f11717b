//! Archives that are right, odd, damaged and hostile; the numbers are those of the robustness requirements.

use super::tar::make::{Make, header, length_field, record};
use super::*;
use crate::content::Contents as _;
use crate::error::ErrorKind;
use crate::tree::{Device, Node, NodeKind, Timestamp};
use crate::units::{ContentId, u64_of, usize_of};
use std::io::Write as _;

fn piped(bytes: &[u8]) -> Result<Source> {
    from_reader("pipe", bytes, &Options::default())
}

/// Reads an archive from a pipe and in place, which must agree on everything.
fn both(bytes: &[u8]) -> Result<Source> {
    both_with(bytes, &Options::default())
}

fn both_with(bytes: &[u8], options: &Options) -> Result<Source> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let stream = from_reader("pipe", bytes, options);
    let placed = open_with(file.path(), options);
    match (stream, placed) {
        (Ok(stream), Ok(placed)) => {
            assert_same(&stream, &placed);
            Ok(placed)
        }
        (Err(stream), Err(placed)) => {
            assert_eq!(stream.kind(), placed.kind(), "{stream} / {placed}");
            Err(placed)
        }
        (stream, placed) => panic!("from a pipe {stream:?}, in place {placed:?}"),
    }
}

fn assert_same(a: &Source, b: &Source) {
    assert_eq!(a.tree, b.tree);
    a.tree
        .walk(|path, id| {
            let other = b.tree.lookup(path).unwrap();
            if let (NodeKind::File(one), NodeKind::File(two)) = (a.tree.node(id).kind, b.tree.node(other).kind) {
                assert!(a.tree.data_ranges(&one).eq(b.tree.data_ranges(&two)), "holes of {}", escape(path));
                let read = |source: &Source, file: &crate::tree::FileData| {
                    let mut out = vec![0; usize_of(file.length.min(1 << 20))];
                    source.contents.read_exact_at(file.content, 0, &mut out).map(|()| out)
                };
                assert_eq!(read(a, &one)?, read(b, &two)?, "contents of {}", escape(path));
            }
            Ok(())
        })
        .unwrap();
}

fn node<'a>(source: &'a Source, path: &str) -> &'a Node {
    source.tree.node(source.tree.lookup(path).unwrap_or_else(|| panic!("{path} is missing")))
}

fn contents(source: &Source, path: &str) -> Vec<u8> {
    let NodeKind::File(file) = node(source, path).kind else { panic!("{path} is no file") };
    let mut out = vec![0; usize_of(file.length)];
    source.contents.read_exact_at(file.content, 0, &mut out).unwrap();
    out
}

fn ranges(source: &Source, path: &str) -> Vec<(u64, u64)> {
    let NodeKind::File(file) = node(source, path).kind else { panic!("{path} is no file") };
    source.tree.data_ranges(&file).collect()
}

#[track_caller]
fn refused(bytes: &[u8], with: &str) -> Error {
    let error = both(bytes).err().unwrap_or_else(|| panic!("accepted; wanted: {with}"));
    assert!(error.to_string().contains(with), "{error}\nwanted: {with}");
    error
}

#[test]
fn every_kind_of_entry_is_read() {
    let mut device = header(b"dev/sda", b'4', 0);
    device.devmajor = *b"0000010\0";
    device.devminor = *b"0000021\0";
    let mut long = header(b"name", b'0', 3);
    long.rest[..6].copy_from_slice(b"prefix");
    let archive = Make::default()
        .entry("./", b'5', b"")
        .entry("./dir/", b'5', b"")
        .entry("dir/file", b'0', b"hello")
        .entry("old", 0, b"v7")
        .entry("contiguous", b'7', b"c")
        .entry("olddir/", b'0', b"")
        .link("dir/hard", b'1', "./dir/file")
        .link("soft", b'2', "../outside")
        .put(device.clone(), b"")
        .put(crate::source::tar::make::header(b"pipe", b'6', 0), b"")
        .pax(b'x', &[("SCHILY.filetype", "socket")])
        .entry("socket", b'0', b"")
        .put(long, b"abc")
        .end();
    let source = both(&archive).unwrap();
    assert_eq!(contents(&source, "dir/file"), b"hello");
    assert_eq!(node(&source, "dir/hard").links, 2);
    assert_eq!(contents(&source, "prefix/name"), b"abc");
    assert_eq!(source.tree.target(source.tree.lookup("soft").unwrap()), b"../outside");
    assert_eq!(node(&source, "dev/sda").kind, NodeKind::BlockDevice(Device { major: 8, minor: 17 }));
    assert_eq!((node(&source, "pipe").kind, node(&source, "socket").kind), (NodeKind::Fifo, NodeKind::Socket));
    assert!(node(&source, "olddir").is_directory() && !node(&source, "").implied && node(&source, "prefix").implied);
    assert!(source.notes.is_empty(), "{:?}", source.notes);
}

#[test]
fn pax_records_say_more_than_the_header() {
    let long = "d/".repeat(100) + "name";
    let attributes: &[(&str, &str)] = &[
        ("path", &long),
        ("uid", "4294967295"),
        ("gid", "3000000000"),
        ("mtime", "-1.5"),
        ("SCHILY.xattr.security.capability", "\u{1}\0\0\u{2}\0"),
        ("SCHILY.acl.access", "user::rw-,user:1000:r--,group::r--,mask::r--,other::---"),
        ("comment", "x"),
        ("uname", "somebody"),
        ("RHT.unknown", "y"),
    ];
    let archive =
        Make::default().pax(b'g', &[("comment", "a commit"), ("gid", "5")]).pax(b'x', attributes).entry("short", b'0', b"1").entry("second", b'0', b"").end();
    let source = both(&archive).unwrap();
    let file = node(&source, &long);
    assert_eq!((file.metadata.uid, file.metadata.gid), (u32::MAX, 3_000_000_000));
    assert_eq!(file.metadata.mtime, Timestamp { seconds: -2, nanoseconds: 500_000_000 });
    let names: Vec<_> = source.tree.xattrs(file.metadata.xattrs).iter().map(|xattr| &*xattr.name).collect();
    assert_eq!(names, [&b"security.capability"[..], b"system.posix_acl_access"]);
    assert_eq!(node(&source, "second").metadata.gid, 5);
    assert_eq!(source.notes.len(), 1);
    assert!(source.notes[0].contains("RHT.unknown"));
}

#[test]
fn gnu_long_names_and_base_256_numbers_are_read() {
    let (name, target) = ("n".repeat(200), "t".repeat(300));
    let mut link = header(b"cut", b'2', 0);
    (link.magic, link.version) = (*b"ustar ", *b" \0");
    link.uid = *b"\x80\0\0\0\xff\xff\xff\xfe";
    link.mtime = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe";
    let archive = Make::default()
        .entry("././@LongLink", b'K', format!("{target}\0").as_bytes())
        .entry("././@LongLink", b'L', format!("{name}\0").as_bytes())
        .put(link, b"")
        .end();
    let source = both(&archive).unwrap();
    assert_eq!(source.tree.target(source.tree.lookup(&name).unwrap()), target.as_bytes());
    assert_eq!(node(&source, &name).metadata.uid, u32::MAX - 1);
    assert_eq!(node(&source, &name).metadata.mtime, Timestamp::from_seconds(-2));
}

/// A GNU sparse header: `map` in the header and in blocks behind it.
fn gnu_sparse(map: &[(u64, u64)], length: u64, stored: u64) -> Make {
    let mut first = header(b"sparse", b'S', stored);
    (first.magic, first.version) = (*b"ustar ", *b" \0");
    let put = |to: &mut [u8], (offset, bytes): (u64, u64)| {
        to[..12].copy_from_slice(&length_field(offset));
        to[12..24].copy_from_slice(&length_field(bytes));
    };
    for (nth, part) in map.iter().take(4).enumerate() {
        put(&mut first.rest[41 + nth * 24..], *part);
    }
    let more: Vec<_> = map.iter().skip(4).copied().collect();
    first.rest[137] = u8::from(!more.is_empty());
    first.rest[138..150].copy_from_slice(&length_field(length));
    let mut archive = Make::default().put(first, b"");
    let blocks = more.chunks(21).count();
    for (nth, parts) in more.chunks(21).enumerate() {
        let mut block = [0; 512];
        for (at, part) in parts.iter().enumerate() {
            put(&mut block[at * 24..], *part);
        }
        block[504] = u8::from(nth + 1 < blocks);
        archive = archive.raw(&block);
    }
    archive
}

#[test]
fn all_four_forms_of_sparse_files_are_one() {
    let body: Vec<u8> = (0..1536).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
    let map = [(512, 512), (4096, 1024), (1 << 33, 0)];
    let sized = [("GNU.sparse.size", "8589934592"), ("GNU.sparse.name", "sparse")];
    let gnu = gnu_sparse(&map, 1 << 33, 1536).raw(&body);
    let records: Vec<u8> = [
        record("GNU.sparse.size", "8589934592"),
        record("GNU.sparse.numblocks", "3"),
        record("GNU.sparse.offset", "512"),
        record("GNU.sparse.numbytes", "512"),
        record("GNU.sparse.offset", "4096"),
        record("GNU.sparse.numbytes", "1024"),
        record("GNU.sparse.offset", "8589934592"),
        record("GNU.sparse.numbytes", "0"),
    ]
    .concat();
    let zero = Make::default().entry("x", b'x', &records).entry("sparse", b'0', &body);
    let one = Make::default().pax(b'x', &[sized[0], sized[1], ("GNU.sparse.map", "512,512,4096,1024,8589934592,0")]).entry("y", b'0', &body);
    let mut with_map = b"3\n512\n512\n4096\n1024\n8589934592\n0\n".to_vec();
    with_map.resize(512, 0);
    with_map.extend(&body);
    let version = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "sparse"), ("GNU.sparse.realsize", "8589934592")];
    let ten = Make::default().pax(b'x', &version).entry("GNUSparseFile.0/z", b'0', &with_map);
    for archive in [gnu, zero, one, ten] {
        let source = both(&archive.entry("after", b'0', b"!").end()).unwrap();
        assert_eq!(ranges(&source, "sparse"), [(512, 512), (4096, 1024)]);
        let NodeKind::File(file) = node(&source, "sparse").kind else { panic!() };
        assert_eq!(file.length, 1 << 33);
        let mut out = vec![9; 2048];
        source.contents.read_exact_at(file.content, 3584, &mut out).unwrap();
        assert!(out[..512].iter().all(|byte| *byte == 0));
        assert_eq!(out[512..1536], body[512..]);
        assert_eq!(contents(&source, "after"), b"!");
    }
}

#[test]
fn r12_sparse_maps_are_checked_and_terabytes_of_holes_cost_nothing() {
    let many: Vec<(u64, u64)> = (0..100).map(|nth| (nth * 10_240, 512)).chain([(1 << 40, 0)]).collect();
    let archive = gnu_sparse(&many, 1 << 40, 51_200).raw(&[7; 51_200]).end();
    let started = std::time::Instant::now();
    let source = both(&archive).unwrap();
    assert_eq!(ranges(&source, "sparse").len(), 100);
    assert!(started.elapsed().as_secs() < 1);
    refused(&gnu_sparse(&[(1024, 512), (0, 512)], 4096, 1024).raw(&[7; 1024]).end(), "overlaps");
    refused(&gnu_sparse(&[(0, 512), (256, 512)], 4096, 1024).raw(&[7; 1024]).end(), "overlaps");
    refused(&gnu_sparse(&[(0, 512)], 256, 512).raw(&[7; 512]).end(), "past the length");
    refused(&gnu_sparse(&[(0, 512)], 4096, 1024).raw(&[7; 1024]).end(), "with a body of 1024");
    refused(&gnu_sparse(&[(0, 100), (512, 100)], 4096, 200).raw(&[7; 200]).end(), "readers take differently");
    let pax = |map: &str| {
        let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "8192")];
        Make::default().pax(b'x', &records).entry("z", b'0', map.as_bytes()).end()
    };
    refused(&pax(&format!("99999999999\n{}", " ".repeat(500))), "the limit is");
    refused(&pax("1000\n0\n"), "longer than the body");
    refused(&pax(&format!("1\n+0\n0\n{}", " ".repeat(505))), "no number");
    refused(&pax(&"1".repeat(600)), "20 digits");
}

#[test]
fn r12_sizes_that_cannot_be_are_refused() {
    for (field, with) in [
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "2^63"),
        (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "2^63"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "is -1"),
        (b"\x80\0\0\0\x40\0\0\0\0\0\0\0", "bytes are missing"),
        (b"00000000x00\0", "no number"),
        (b"            ", "no number"),
    ] {
        let mut huge = header(b"huge", b'0', 0);
        huge.size = *field;
        let error = refused(&Make::default().entry("first", b'0', b"").put(huge, b"x").end(), with);
        assert_eq!(error.path(), Some(&b"huge"[..]), "{error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.offset().is_some_and(|offset| offset >= 512), "{error}");
    }
    let pax = Make::default().pax(b'x', &[("size", "9223372036854775807")]).entry("huge", b'0', b"x").end();
    refused(&pax, "2^63");
}

#[test]
fn r10_the_pax_size_decides_where_the_next_header_is() {
    let inner = Make::default().entry("smuggled", b'0', b"").bytes;
    let mut cover = header(b"cover", b'0', 0);
    cover.size = *b"00000000000\0";
    let archive = Make::default().pax(b'x', &[("size", "512")]).put(cover, &inner).entry("after", b'0', b"").end();
    let source = both(&archive).unwrap();
    assert_eq!(contents(&source, "cover"), inner);
    assert!(source.tree.lookup("smuggled").is_none() && source.tree.lookup("after").is_some());
    refused(&Make::default().pax(b'g', &[("size", "512")]).entry("a", b'0', b"").end(), "global");
    // Before a GNU long name the size would be the name's for some readers and the file's for others.
    let mixed = Make::default().pax(b'x', &[("size", "512")]).entry("l", b'L', b"long\0").entry("a", b'0', b"").end();
    refused(&mixed, "a pax header and a GNU long name");
}

#[test]
fn r11_what_readers_take_differently_is_refused() {
    let make = Make::default;
    refused(&make().entry("l", b'L', b"long\0").pax(b'x', &[("path", "p")]).entry("a", b'0', b"").end(), "a GNU long name and a pax header");
    refused(&make().pax(b'x', &[("path", "p")]).pax(b'x', &[("path", "q")]).entry("a", b'0', b"").end(), "two pax headers");
    refused(&make().entry("l", b'L', b"a\0").entry("l", b'L', b"b\0").entry("a", b'0', b"").end(), "two GNU long names");
    refused(&make().pax(b'x', &[("path", "p")]).pax(b'g', &[("comment", "c")]).entry("a", b'0', b"").end(), "global header between");
    refused(&make().entry("a", b'0', b"").pax(b'x', &[("path", "p")]).end(), "an extension header");
    refused(&make().entry("a", b'0', b"").entry("l", b'L', b"long\0").end(), "an extension header");
    refused(&make().entry("l", b'L', b"a\0b\0").entry("a", b'0', b"").end(), "NUL");
    refused(&make().entry("x", b'x', b"12 path=abc").entry("a", b'0', b"").end(), "malformed pax record");
    refused(&make().entry("x", b'x', b"12 path=abc\n\0").entry("a", b'0', b"").end(), "malformed pax record");
    refused(&make().pax(b'g', &[("path", "p")]).entry("a", b'0', b"").end(), "for all entries");
    for flag in [b'1', b'2', b'3', b'5', b'6'] {
        refused(&make().entry("a", b'0', b"").put(header(b"b", flag, 4), b"body").end(), if flag < b'3' { "without a target" } else { "no file" });
    }
    refused(&make().entry("dir/", b'0', b"body").end(), "ends in a slash");
    refused(&make().put(header(b"", b'0', 0), b"").end(), "without a name");
}

#[test]
fn r11_ends_that_are_none_are_refused_and_good_ones_taken() {
    let whole = Make::default().entry("a", b'0', b"body").entry("b", b'0', b"");
    let bytes = whole.bytes.clone();
    refused(b"", "empty file");
    refused(&bytes, "without the zero blocks");
    refused(&[&bytes[..], &[0; 100]].concat(), "within a header");
    let one_block = [&bytes[..], &[0; 512]].concat();
    assert_eq!(both(&one_block).unwrap().tree.entry_count(), 2);
    assert_eq!(both(&[&bytes[..], &[0; 10_240]].concat()).unwrap().tree.entry_count(), 2);
    let error = refused(&[&one_block[..], &bytes].concat(), "single zero block");
    assert_eq!(error.offset(), Some(u64_of(one_block.len())));
    refused(&[&bytes[..], &[0; 1024], &bytes].concat(), "more behind the end");
    assert_eq!(both(&[0; 1024]).unwrap().notes, ["the archive holds no entries"]);
    let mut options = Options::default();
    options.limits.padding_bytes = 4096;
    let error = from_reader("zeros", std::io::repeat(0), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn r11_damaged_headers_name_their_offset() {
    let mut bytes = Make::default().entry("a", b'0', b"body").entry("b", b'0', b"").end();
    bytes[1024] ^= 1;
    let error = refused(&bytes, "checksum");
    assert_eq!(error.offset(), Some(1024));
    refused(&[b'x'; 2048], "neither a directory nor a tar");
    for flag in b"DMNAXIZ" {
        refused(&Make::default().entry("a", *flag, b"").end(), "typeflag");
    }
    let mut magic = header(b"a", b'0', 0);
    magic.magic = *b"foobar";
    refused(&Make::default().put(magic, b"").end(), "magic");
}

#[test]
fn r13_r15_names_and_links_stay_inside() {
    refused(&Make::default().entry("a/../../b", b'0', b"").end(), "..");
    refused(&Make::default().entry("a", b'5', b"").link("b", b'1', "a").end(), "directory");
    refused(&Make::default().link("b", b'1', "missing").end(), "not in the archive");
    refused(&Make::default().entry("a", b'0', b"").link("a", b'1', "a").end(), "itself");
    refused(&Make::default().entry("f", b'0', b"").entry("f/x", b'0', b"").end(), "no directory");
    refused(&Make::default().link("l", b'2', "l").entry("l/x", b'0', b"").end(), "symbolic links");
    let archive = Make::default()
        .entry("/etc/shadow", b'0', b"confined")
        .entry("usr/lib/", b'5', b"")
        .link("lib", b'2', "usr/lib")
        .link("out", b'2', "/../../etc")
        .entry("lib/libc", b'0', b"c")
        .entry("out/passwd", b'0', b"p")
        .link("lib2", b'1', "lib")
        .entry("lib", b'5', b"")
        .end();
    let source = both(&archive).unwrap();
    assert_eq!(contents(&source, "etc/shadow"), b"confined");
    assert_eq!(contents(&source, "etc/passwd"), b"p");
    assert_eq!(contents(&source, "usr/lib/libc"), b"c");
    assert!(node(&source, "lib").is_directory(), "a directory over a link replaces it");
    assert_eq!(source.tree.target(source.tree.lookup("lib2").unwrap()), b"usr/lib", "a hard link to a link is the link");
}

#[test]
fn r16_whiteouts_are_refused_unless_excluded() {
    for name in [".wh.", ".wh..", ".wh...", "etc/.wh..wh..opq", "etc/.wh.passwd"] {
        let error = refused(&Make::default().entry(name, b'0', b"").end(), "docker export");
        assert_eq!(error.path(), Some(name.as_bytes()));
    }
    let mut options = Options::default();
    options.exclude.push("**/.wh.*".into());
    let archive = Make::default().entry("etc/.wh.passwd", b'0', b"").entry("etc/group", b'0', b"").end();
    assert_eq!(both_with(&archive, &options).unwrap().tree.entry_count(), 2);
}

#[test]
fn r17_types_change_across_layers_without_stale_children() {
    let layer = |make: Make| piped(&make.end()).unwrap();
    let lower = Make::default().entry("d/", b'5', b"").entry("d/old", b'0', b"1").entry("f", b'0', b"2").entry("kept", b'0', b"k");
    let upper = Make::default().entry("d", b'0', b"33").entry("f/", b'5', b"").entry("f/new", b'0', b"444").link("f/hard", b'1', "f/new");
    let source = layered(vec![layer(lower), layer(upper)]).unwrap();
    assert_eq!(contents(&source, "d"), b"33");
    assert_eq!(contents(&source, "f/new"), b"444");
    assert_eq!(contents(&source, "f/hard"), b"444");
    assert_eq!(contents(&source, "kept"), b"k");
    assert_eq!(source.tree.entry_count(), 5);
    assert_eq!(source.description, "pipe (tar) + pipe (tar)");
    assert!(layered(Vec::new()).is_err());
}

#[test]
fn r18_container_images_are_refused_with_the_way_round() {
    let archive = Make::default().entry("manifest.json", b'0', b"[]").entry("0123/layer.tar", b'0', b"").end();
    assert_eq!(refused(&archive, "docker export").kind(), ErrorKind::Unsupported);
    let archive = Make::default().entry("oci-layout", b'0', b"{}").entry("index.json", b'0', b"{}").entry("blobs/sha256/aa", b'0', b"").end();
    refused(&archive, "podman export");
}

#[test]
fn other_formats_are_refused_by_name() {
    for (magic, with) in
        [(&b"PK\x03\x04"[..], "zip"), (b"BZh91AY", "bzcat"), (b"hsqs", "squashfs"), (b"QFI\xfb", "qcow2"), (b"070701", "cpio"), (b"\x04\x22\x4d\x18", "lz4")]
    {
        let mut bytes = magic.to_vec();
        bytes.resize(4096, 0);
        assert_eq!(refused(&bytes, with).kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn r5_limits_hold() {
    let archive = Make::default().pax(b'x', &[("SCHILY.xattr.user.a", "0123456789"), ("path", "a/b/c/d")]).entry("x", b'0', b"").entry("b", b'0', b"").end();
    type Change = fn(&mut Limits);
    let cases: [(Change, &str); 4] = [
        (|limits| limits.entries = 5, "entries"),
        (|limits| limits.path_bytes = 6, "path"),
        (|limits| limits.pax_bytes = 40, "extension header"),
        (|limits| limits.xattr_bytes = 15, "xattrs"),
    ];
    for (change, with) in cases {
        let mut options = Options::default();
        change(&mut options.limits);
        let error = both_with(&archive, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        assert!(error.to_string().contains(with), "{error}");
    }
    let huge = Make::default().put(header(b"x", b'x', 1 << 33), b"").end();
    assert_eq!(both(&huge).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn options_change_what_is_kept() {
    let mut file = header(b"var/cache/x", b'0', 1);
    file.uid = *b"0303240\0";
    let archive = Make::default()
        .entry("var/cache/", b'5', b"")
        .put(file, b"x")
        .link("hard", b'1', "var/cache/x")
        .pax(b'x', &[("GNU.sparse.size", "4096"), ("GNU.sparse.map", "1024,512")])
        .entry("sparse", b'0', &[1; 512])
        .end();
    let mut options = Options { exclude: vec!["/var/cache/*".into()], owner: Some((0, 0)), holes: Holes::None, ..Options::default() };
    let source = both_with(&archive, &options).unwrap();
    assert!(source.tree.lookup("var/cache/x").is_none());
    assert_eq!(contents(&source, "hard"), b"x");
    assert_eq!(node(&source, "hard").metadata.uid, 0);
    assert_eq!(ranges(&source, "sparse"), [(0, 4096)]);
    assert_eq!(contents(&source, "sparse")[1020..1028], [0, 0, 0, 0, 1, 1, 1, 1]);
    options = Options { map_ids: vec!["0:100000:1".parse().unwrap()], ..Options::default() };
    let error = both_with(&archive, &options).unwrap_err();
    assert!(error.to_string().contains("user id 0 is in none"), "{error}");
    options.map_ids.push("7:0:1".parse().unwrap());
    options.exclude.push("sparse".into());
    let error = both_with(&archive, &options).unwrap();
    assert_eq!(node(&error, "hard").metadata.uid, 0);
    assert_eq!(node(&error, "var").metadata.uid, 0);
    assert_eq!(node(&error, "var/cache").metadata.uid, 7);
}

#[test]
fn a_tree_in_which_nothing_belongs_to_root_is_told_with_the_ways_out() {
    let owned = |uid: &[u8; 8]| {
        let mut file = header(b"usr/bin/sh", b'0', 0);
        file.uid = *uid;
        piped(&Make::default().put(file, b"").end()).unwrap().tree
    };
    assert!(!nothing_belongs_to_root(&owned(b"0000000\0")));
    let tree = owned(b"0001750\0");
    assert!(nothing_belongs_to_root(&tree), "directories that are only implied belong to nobody");
    let error = check_owners(&tree).unwrap_err().to_string();
    for way in ["--owner 0:0", "--map-ids 0:1000:65536", "fakeroot", "mmdebstrap"] {
        assert!(error.contains(way), "{error}");
    }
    assert!(!nothing_belongs_to_root(&TreeBuilder::new().freeze().unwrap()));
}

/// A small archive with every construct, whose damage is tried everywhere.
fn varied() -> Vec<u8> {
    let mut sparse = gnu_sparse(&[(512, 512), (2048, 512), (4096, 512), (6144, 512), (8192, 512)], 10_000, 2560).raw(&[5; 2560]);
    let rest = Make::default()
        .entry("dir/", b'5', b"")
        .pax(b'x', &[("mtime", "1.5"), ("SCHILY.xattr.user.a", "b"), ("SCHILY.acl.default", "user::rwx,group::r-x,other::r-x")])
        .entry("dir/file", b'0', b"hello")
        .pax(b'g', &[("comment", "c")])
        .entry("././@LongLink", b'L', &[&[b'n'; 150][..], b"\0"].concat())
        .entry("n", b'0', b"x")
        .link("hard", b'1', "dir/file")
        .link("soft", b'2', "dir")
        .pax(b'x', &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "9000")])
        .entry("z", b'0', &[&b"1\n512\n3\n"[..], &[0; 504], b"abc"].concat());
    sparse.bytes.extend(rest.bytes);
    sparse.end()
}

#[test]
fn r1_truncation_anywhere_is_an_error_and_never_a_shorter_tree() {
    let whole = varied();
    let good = both(&whole).unwrap();
    for length in (0..whole.len()).step_by(512).chain((1..whole.len()).step_by(97)) {
        match both(&whole[..length]) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}"),
            Ok(source) => {
                assert!(length >= whole.len() - 512, "{length} of {} bytes were taken", whole.len());
                assert_same(&source, &good);
            }
        }
    }
}

#[test]
fn r1_two_hundred_flipped_bits_give_an_error_or_a_tree() {
    let whole = varied();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = usize_of((state >> 20) % u64_of(whole.len() * 8));
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match both(&damaged) {
            Ok(source) => {
                // Everything in the tree can be read.
                for (_, node) in source.tree.nodes() {
                    if let NodeKind::File(file) = node.kind {
                        let mut out = vec![0; usize_of(file.length)];
                        source.contents.read_exact_at(file.content, 0, &mut out).unwrap();
                    }
                }
                taken += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[test]
fn r30_an_archive_that_changes_is_noticed_when_it_is_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&Make::default().entry("a", b'0', b"body").end()).unwrap();
    let source = open(file.path()).unwrap();
    let mut out = [0; 4];
    source.contents.read_exact_at(ContentId(0), 0, &mut out).unwrap();
    file.write_all(b"more").unwrap();
    let error = source.contents.read_exact_at(ContentId(0), 0, &mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceChanged);
    assert_eq!(error.path(), Some(file.path().as_os_str().as_encoded_bytes()));
    file.as_file().set_len(600).unwrap();
    assert_eq!(source.contents.read_exact_at(ContentId(0), 0, &mut out).unwrap_err().kind(), ErrorKind::SourceChanged);
}

#[test]
fn r8_names_in_messages_cannot_control_a_terminal() {
    let error = refused(&Make::default().entry("a\u{1b}[31m/../b", b'0', b"").end(), "..");
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

/// A directory with a folder of many names, deep ones, links between folders.
#[cfg(unix)]
fn busy_directory() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for number in 0..1500 {
        std::fs::create_dir_all(at("many/inside")).unwrap();
        std::fs::write(at(&format!("many/{number}")), format!("{number}")).unwrap();
    }
    for number in 0..60 {
        std::fs::create_dir_all(at(&format!("{}/deep/{number}/er", number % 7))).unwrap();
        std::fs::hard_link(at(&format!("many/{number}")), at(&format!("{}/deep/{number}/er/link", number % 7))).unwrap();
        std::os::unix::fs::symlink("er/link", at(&format!("{}/deep/{number}/symlink", number % 7))).unwrap();
    }
    folder
}

#[cfg(unix)]
#[test]
fn a_directory_is_the_same_whatever_the_threads() {
    let folder = busy_directory();
    let with = |threads| open_with(folder.path(), &Options { threads, ..Options::default() });
    let alone = with(1).unwrap();
    assert_eq!(alone.tree.lookup("6/deep/6/er/link"), alone.tree.lookup("many/6"));
    for threads in [0, 2, 3, 8] {
        assert_same(&alone, &with(threads).unwrap());
    }
    // What is refused first does not depend on them either.
    for path in ["2/deep/9/.wh.x", "many/777\u{7}"] {
        std::fs::write(folder.path().join(path), "").unwrap();
    }
    let limits = Limits { entries: 1400, ..Limits::default() };
    let message = |threads| open_with(folder.path(), &Options { threads, limits, ..Options::default() }).unwrap_err().to_string();
    for threads in [2, 3, 8] {
        assert_eq!(message(threads), message(1));
    }
}

#[cfg(unix)]
#[test]
fn files_that_were_made_ready_are_read_as_all_others() {
    use crate::content::Ahead;
    let folder = busy_directory();
    std::fs::write(folder.path().join("large"), vec![3; 3 << 20]).unwrap();
    let source = open(folder.path()).unwrap();
    let ids: Vec<_> = (0..source.contents.count()).map(ContentId).collect();
    let ahead: Vec<Ahead> = ids.iter().map(|id| Ahead { id: *id, offset_bytes: 0, len_bytes: 1 }).collect();
    for ahead in ahead.chunks(50) {
        source.contents.prefetch(ahead);
    }
    assert_eq!(contents(&source, "many/77"), b"77");
    assert_eq!(contents(&source, "large"), vec![3; 3 << 20]);
}
