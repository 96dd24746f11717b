//! Tables of recipes: what is read, what is refused and where.

use super::*;
use crate::ErrorKind;
use crate::boot::LoaderChoice;
use crate::disk::{BootMode, FilesystemKind, PartitionSize};
use crate::format::Format;
use crate::fs::ext4::{Journal, Percent};
use crate::source::{Holes, IdMap};
use crate::units::Size;
use std::fs;
use std::path::{Path, PathBuf};

/// The recipe that the keys were agreed on with, word for word.
const AGREED: &str = r#"
name = "web"                  # identifiers derive from it, or from seed = "…uuid…"
version = "2026.11.1"
[disk]
format = "vhd"                # raw | vhd (dynamic) | vhd-fixed
table = "gpt"                 # gpt | mbr | none (the single partition is the disk)
size = "auto"                 # what is needed plus free, rounded up to align_size; or "8 GiB"
align_size = "1 GiB"
[[partition]]
type = "esp"                  # filesystem defaults to FAT
size = "auto"                 # or "96 MiB"
[[partition]]
type = "root"                 # by architecture: root-x86-64, root-arm64
filesystem = "ext4"
source = "rootfs.tar.zst"     # or a list, laid over each other
free = "256 MiB"
[partition.ext4]
block_size = 4096             # inode_size, journal = "64 MiB" | "none", features, reserved_percent, label, …
[boot]
mode = "uefi"                 # uefi | none
loader = "auto"               # auto | grub | uki | systemd-boot
cmdline = "rw console=ttyS0"
[[file]]                      # one of content, source, symlink, directory = true, remove = true; mode, owner, xattrs
path = "/etc/motd"
content = "hello\n"
mode = "0644"
[[file]]
path = "/etc/systemd/system/multi-user.target.wants/web.service"
symlink = "../web.service"
[ami]
architecture = "x86_64"
bucket = "my-bucket"
key = "images/web.vhd"
"#;

const EXAMPLE: &str = include_str!("example.toml");

fn parse(text: &str) -> Result<Recipe> {
    Recipe::parse(text, "image.toml")
}

#[test]
fn the_agreed_recipe_is_read() {
    let recipe = parse(AGREED).unwrap();
    assert_eq!((recipe.name.as_deref(), recipe.version.as_deref()), (Some("web"), Some("2026.11.1")));
    assert_eq!(recipe.disk, DiskSection { format: Some(Format::Vhd), align_size: Some(Size::gib(1)), ..DiskSection::default() });
    let [esp, root] = &recipe.partitions[..] else { panic!("two partitions") };
    assert_eq!(*esp, PartitionSection { partition_type: Some("esp".into()), ..PartitionSection::default() });
    assert_eq!((esp.filesystem_or_usual(), root.filesystem_or_usual()), (FilesystemKind::Fat, FilesystemKind::Ext4));
    assert_eq!((&root.source[..], root.free), (&[PathBuf::from("rootfs.tar.zst")][..], Some(Size::mib(256))));
    assert_eq!(root.ext4.as_ref().unwrap().block_bytes, Some(4096));
    let boot = recipe.boot.as_ref().unwrap();
    assert_eq!((boot.mode, boot.loader, boot.cmdline.as_deref()), (BootMode::Uefi, LoaderChoice::Auto, Some("rw console=ttyS0")));
    assert_eq!(recipe.files[0].kind(), Some(FileKind::Content("hello\n")));
    assert_eq!(recipe.files[0].mode, Some(FileMode::new(0o644)));
    assert_eq!(recipe.files[1].kind(), Some(FileKind::Symlink("../web.service")));
    assert_eq!(recipe.ami.as_ref().unwrap().key.as_deref(), Some("images/web.vhd"));
}

#[test]
fn the_example_says_everything_it_means_to() {
    let recipe = parse(EXAMPLE).unwrap();
    let root = &recipe.partitions[1];
    assert_eq!(root.source, [PathBuf::from("rootfs.tar.zst"), PathBuf::from("overlay")]);
    assert_eq!((root.size, root.owner, root.holes), (PartitionSize::Fill, Some(Owner { uid: 0, gid: 0 }), Some(Holes::Keep)));
    assert_eq!(root.map_ids, [IdMap { image: 0, host: 100_000, count: 65_536 }]);
    assert_eq!(root.attributes[0].bit(), 59);
    let ext4 = root.ext4.as_ref().unwrap();
    assert_eq!((ext4.journal, ext4.reserved), (Journal::Bytes(Size::mib(64).as_bytes()), Some(Percent::hundredths(50))));
    assert_eq!(recipe.files[0].xattrs["user.raw"], XattrValue(vec![0, 1, 2]));
    assert_eq!(recipe.files[2].kind(), Some(FileKind::Remove));
    assert_eq!(recipe.ami.as_ref().unwrap().tags["team"], "web");
}

/// Every key at least once.
const EVERYTHING: &str = r#"
name = "näme"
version = "1"
seed = "6f3c9a52-0d4e-4b57-9c1e-2f8a6f0e7d11"
epoch = 1767225600
[disk]
format = "vhd-fixed"
table = "mbr"
size = "1536 MiB"
align_size = "513024 B"
sector_size = 512
signature = 0xdeadbeef
[[partition]]
type = "0xef"
number = 2
attributes = ["legacy-bios-bootable"]
size = "96.5 MiB"
mount_point = "/boot/efi"
[partition.fat]
label = "EFI"
volume_id = "00ab-CDEF"
cluster_size = 512
kind = "fat32"
[[partition]]
filesystem = "ext4"
source = "rootfs"
one_file_system = false
holes = "none"
[partition.ext4]
inode_size = 512
journal = "none"
file_contexts = "tree:/etc/selinux/targeted/contexts/files/file_contexts"
features = ["^huge_file", "quota"]
inodes = 70000
reserved_percent = 0.29
uuid = "6f3c9a52-0d4e-4b57-9c1e-2f8a6f0e7d12"
hash_seed = "6f3c9a52-0d4e-4b57-9c1e-2f8a6f0e7d13"
lazy_inode_tables = true
[[partition]]
type = "swap"
size = "1 GiB"
[boot]
loader = "systemd-boot"
root = "none"
kernel = "/boot/vmlinuz"
initramfs = "/boot/initrd"
loader_path = "/usr/lib/x.efi"
[[file]]
path = "/"
directory = true
mode = "1777"
[[file]]
path = "/a"
remove = true
directory = false
[[file]]
path = "/a"
source = "a.bin"
owner = "4294967295:7"
mtime = 0
xattrs."security.capability" = { base64 = "AQAAAgAEAAAAAAAAAAAAAAAAAAA=" }
[ami]
boot_mode = "uefi-preferred"
volume_type = "io2"
iops = 100
imds_support = "none"
tags = { a = "", "b c" = "d" }
"#;

#[test]
fn what_is_written_is_what_was_read() {
    for text in [AGREED, EXAMPLE, EVERYTHING, ""] {
        let recipe = parse(text).unwrap();
        let written = recipe.to_toml().unwrap();
        assert_eq!(parse(&written).unwrap_or_else(|error| panic!("{error}\n{written}")), recipe, "{written}");
        assert_eq!(parse(&written).unwrap().to_toml().unwrap(), written);
    }
    assert_eq!(Recipe::default().to_toml().unwrap(), "");
}

/// (recipe, line, column, what the message says).
const BAD: &[(&str, usize, usize, &str)] = &[
    // The reader of TOML.
    ("nam = \"x\"", 1, 1, "unknown key `nam`, expected one of `name`, `version`"),
    ("[disk]\nsize = \"1 GiB\"\nshape = 1", 3, 1, "unknown key `shape`"),
    ("[[partition]]\n\n  [partition.ext4]\n  blocksize = 4096", 4, 3, "unknown key `blocksize`, expected one of `block_size`"),
    ("[[file]]\npath = \"/a\"\ncontents = \"x\"", 3, 1, "unknown key `contents`"),
    ("[ami]\nbuckets = \"x\"", 2, 1, "unknown key `buckets`"),
    ("[cleaned]\n", 1, 2, "unknown key `cleaned`"),
    ("clean = 1", 1, 9, "expected true, false or a table"),
    ("clean = \"all\"", 1, 9, "expected true, false or a table"),
    ("[clean]\nshh = true", 2, 1, "unknown key `shh`, expected one of `cloud_init`"),
    ("[clean]\nssh = \"no\"", 2, 7, "expected a boolean"),
    ("[clean]\nkeep = \"a\"", 2, 8, "expected a sequence"),
    ("[clean]\nkeep = [\"a\",\n  \"../b\"]", 3, 3, "names nothing beneath the root"),
    ("[clean]\nalso = [\"[\"]", 2, 9, "cannot read the pattern"),
    ("name = \"a\"\nname = \"b\"", 2, 1, "duplicate key"),
    ("[disk]\n[disk]\n", 2, 2, "duplicate key"),
    ("[boot]\ncmdline = \"a\"\n[boot]\n", 3, 2, "duplicate key"),
    ("name = 1", 1, 8, "invalid type: integer `1`, expected a string"),
    ("name = [\"a\"]", 1, 8, "invalid type: sequence, expected a string"),
    ("disk = 1", 1, 8, "invalid type"),
    ("partition = {}", 1, 13, "invalid type: map, expected a sequence"),
    ("name = ", 1, 8, "string values must be quoted"),
    ("name = \"a", 1, 10, "invalid basic string"),
    ("= 1", 1, 1, "key"),
    ("x", 1, 2, "key with no value"),
    ("\u{0}", 1, 2, "key with no value"),
    ("\"\\u001b[0m\" = 1", 1, 1, "unknown key `\\x1B[0m`"),
    // Values.
    ("[disk]\nsize = \"8\"", 2, 8, "\"8\" is not a size: a number and one of B, KiB, MiB, GiB, TiB was expected"),
    ("[disk]\nsize = 8", 2, 8, "expected \"auto\" or a size with its unit, such as \"8 GiB\""),
    ("[disk]\nsize = \"fill\"", 2, 8, "is not a size"),
    ("[disk]\nalign_size = 1", 2, 14, "expected a size with its unit"),
    ("[disk]\nalign_size = \"1 GB\"", 2, 14, "\"1 GB\" is not a size"),
    ("[disk]\nformat = \"vmdk\"", 2, 10, "\"vmdk\" is not a format: raw, vhd or vhd-fixed was expected"),
    ("[disk]\ntable = \"GPT\"", 2, 9, "\"GPT\" is not a kind of partition table: gpt, mbr or none was expected"),
    ("[disk]\ntable = 1", 2, 9, "invalid type: integer `1`, expected one of gpt, mbr, none"),
    ("[disk]\nuuid = \"123\"", 2, 8, "is not a UUID"),
    ("[disk]\nsignature = 4294967296", 2, 13, "4294967296"),
    ("seed = \"web\"", 1, 8, "is not a UUID"),
    ("[[partition]]\nsize = 8", 2, 8, "expected \"auto\", \"fill\" or a size with its unit"),
    ("[[partition]]\nfilesystem = \"xfs\"", 2, 14, "\"xfs\" is not a filesystem: ext4, fat or none was expected"),
    ("[[partition]]\nsource = 3", 2, 10, "expected a path or a list of paths"),
    ("[[partition]]\nsource = [\"a\",\n 3]", 3, 2, "invalid type: integer `3`"),
    ("[[partition]]\nsource = { a = 1 }", 2, 10, "expected a path or a list of paths"),
    ("[[partition]]\nsource = \"a\"\nowner = 0", 3, 9, "expected an owner and a group, such as \"0:0\""),
    ("[[partition]]\nsource = \"a\"\nowner = \"root:root\"", 3, 9, "is no owner"),
    ("[[partition]]\nsource = \"a\"\nowner = \"+1:1\"", 3, 9, "is no owner"),
    ("[[partition]]\nsource = \"a\"\nmap_ids = [\"0:1:0\"]", 3, 12, "is no range of ids"),
    ("[[partition]]\nattributes = [\"hidden\"]", 2, 15, "unknown value `hidden`"),
    ("[[partition]]\next4 = { journal = 64 }", 2, 20, "expected \"auto\", \"none\" or a size"),
    ("[[partition]]\next4 = { reserved_percent = 1.234 }", 2, 29, "expected a percentage"),
    ("[[partition]]\next4 = { reserved_percent = -1 }", 2, 29, "expected a percentage"),
    ("[[partition]]\next4 = { reserved_percent = nan }", 2, 29, "expected a percentage"),
    ("[[partition]]\ntype = \"esp\"\nfat = { volume_id = \"1234\" }", 3, 21, "is no volume id"),
    ("[boot]\nmode = \"bios\"", 2, 8, "\"bios\" is not a boot mode: auto, uefi or none was expected"),
    ("[boot]\nloader = \"lilo\"", 2, 10, "\"lilo\" is not a loader: auto, grub, uki or systemd-boot was expected"),
    ("[boot]\nroot = \"UUID\"", 2, 8, "\"UUID\" is not a way to name the root: partuuid, uuid, label or none was expected"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nmode = 644", 4, 8, "expected permissions as a string of octal digits"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nmode = \"0844\"", 4, 8, "is no mode"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nmode = \"10000\"", 4, 8, "is no mode"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nxattrs = { \"user.a\" = 1 }", 4, 23, "expected text or { base64"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nxattrs = { \"user.a\" = { base64 = \"A\" } }", 4, 23, "base64"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nxattrs = { \"user.a\" = { hex = \"A\" } }", 4, 23, "unknown key `hex`"),
    ("[ami]\narchitecture = \"aarch64\"", 2, 16, "\"aarch64\" is not an architecture: x86_64 or arm64 was expected"),
    // Ranges.
    ("name = \"\"", 1, 8, "is empty"),
    ("name = \"a\\u0007\"", 1, 8, "control characters"),
    ("epoch = -1", 1, 9, "0 (1970)"),
    ("[disk]\nsector_size = 1024", 2, 15, "512 or 4096 bytes, not 1024"),
    ("[disk]\nsize = \"1000 B\"", 2, 8, "a multiple of 512"),
    ("[disk]\nsize = \"0 B\"", 2, 8, "above 0"),
    ("[disk]\nalign_size = \"0 B\"", 2, 14, "above 0"),
    ("[[partition]]\nsize = \"0 B\"", 2, 8, "above 0"),
    ("[[partition]]\nnumber = 0", 2, 10, "from 1 to 128, not 0"),
    ("[disk]\ntable = \"mbr\"\n[[partition]]\nnumber = 5", 4, 10, "from 1 to 4, not 5"),
    ("[[partition]]\ntype = \"\"", 2, 8, "type is empty"),
    ("[[partition]]\nlabel = \"0123456789012345678901234567890123456\"", 2, 9, "36 UTF-16 units"),
    ("[[partition]]\next4 = { block_size = 1000 }", 2, 23, "not 1000"),
    ("[[partition]]\next4 = { inode_size = 8192 }", 2, 23, "not 8192"),
    ("[[partition]]\next4 = { reserved_percent = 51 }", 2, 29, "50 per cent"),
    ("[[partition]]\next4 = { label = \"12345678901234567\" }", 2, 18, "at most 16 bytes"),
    ("[[partition]]\ntype = \"esp\"\nfat = { label = \"123456789012\" }", 3, 17, "at most 11"),
    ("[[partition]]\ntype = \"esp\"\nfat = { cluster_size = 3 }", 3, 24, "not 3"),
    ("[boot]\nkernel = \"boot/vmlinuz\"", 2, 10, "is not absolute"),
    ("[boot]\nkernel = \"/\"", 2, 10, "plain form"),
    ("[boot]\ninitramfs = \"any\"", 2, 13, "is not absolute"),
    ("[boot]\ncmdline = \"a\\nb\"", 2, 11, "line breaks"),
    ("[ami]\nbucket = \"My\"\nkey = \"k\"", 2, 10, "3 to 63 characters"),
    ("[ami]\nbucket = \"my-bucket\"", 2, 10, "`bucket` needs `key`"),
    ("[ami]\nkms_key_id = \"alias/x\"", 2, 14, "encrypted = true"),
    ("[ami]\ntags = { \"aws:x\" = \"\" }", 2, 8, "reserved"),
    // Keys that contradict each other.
    ("[disk]\nformat = \"vhd\"\nsector_size = 4096", 3, 15, "`format = \"raw\"` only"),
    ("[disk]\nsignature = 1", 2, 13, "needs `table = \"mbr\"`"),
    ("[disk]\ntable = \"mbr\"\nuuid = \"6f3c9a52-0d4e-4b57-9c1e-2f8a6f0e7d11\"", 3, 8, "needs `table = \"gpt\"`"),
    ("[[partition]]\nsize = \"fill\"\n[[partition]]\nsize = \"fill\"", 4, 8, "only one can fill it"),
    ("[[partition]]\nnumber = 3\n[[partition]]\nnumber = 3", 4, 10, "another partition has number 3"),
    ("[[partition]]\nmount_point = \"/a\"\n[[partition]]\nmount_point = \"/a\"", 4, 15, "another partition is mounted on /a"),
    ("[disk]\ntable = \"none\"\n[[partition]]\n[[partition]]", 4, 1, "at most 1 partitions, the recipe has 2"),
    ("[disk]\ntable = \"mbr\"\n[[partition]]\nlabel = \"x\"", 4, 9, "need `table = \"gpt\"`"),
    ("[disk]\ntable = \"mbr\"\n[[partition]]\nattributes = [\"read-only\"]", 4, 14, "one attribute"),
    ("[disk]\ntable = \"none\"\n[[partition]]\nnumber = 1", 4, 10, "no numbers"),
    ("[[partition]]\ntype = \"esp\"\n[partition.ext4]\n", 3, 1, "goes with `filesystem = \"ext4\"`"),
    ("[[partition]]\nfilesystem = \"ext4\"\nfat = {}", 3, 7, "goes with `filesystem = \"fat\"`"),
    ("[[partition]]\ntype = \"bios-boot\"", 1, 1, "needs a size"),
    ("[[partition]]\nsize = \"1 MiB\"\nfilesystem = \"none\"\nsource = \"a\"", 4, 10, "holds nothing"),
    ("[[partition]]\nholes = \"keep\"", 2, 9, "`source` is missing"),
    ("[[partition]]\next4 = { inodes = 1, bytes_per_inode = 4096 }", 2, 40, "one of them is to go"),
    ("[[partition]]\nsource = \"-\"", 2, 10, "standard input"),
    ("[[partition]]\nsource = [\"a\", \"\"]", 2, 16, "is empty"),
    ("[boot]\nmode = \"none\"\nloader = \"grub\"", 3, 10, "says that it does not"),
    ("[boot]\nloader = \"grub\"\nuki = \"/a.efi\"", 3, 7, "its own loader"),
    // [[file]].
    ("[[file]]\ncontent = \"x\"", 1, 1, "no `path`"),
    ("[[file]]\npath = \"/a\"", 1, 1, "nothing says what the file is"),
    ("[[file]]\npath = \"/a\"\ndirectory = false", 1, 1, "nothing says what the file is"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nsymlink = \"b\"", 4, 11, "content and symlink at once"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nremove = true", 4, 10, "content and remove at once"),
    ("[[file]]\npath = \"a\"\ncontent = \"\"", 2, 8, "is not absolute"),
    ("[[file]]\npath = \"/a/../b\"\ncontent = \"\"", 2, 8, "plain form"),
    ("[[file]]\npath = \"/a/\"\ncontent = \"\"", 2, 8, "plain form"),
    ("[[file]]\npath = \"/\"\ncontent = \"\"", 2, 8, "plain form"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\n[[file]]\npath = \"/a\"\ndirectory = true", 5, 8, "another [[file]]"),
    ("[[file]]\npath = \"/a\"\nsymlink = \"\"", 3, 11, "1 to 4095 bytes"),
    ("[[file]]\npath = \"/a\"\nsymlink = \"b\"\nmode = \"0644\"", 4, 8, "no mode"),
    ("[[file]]\npath = \"/a\"\nremove = true\nowner = \"0:0\"", 4, 9, "no metadata"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nmtime = 99999999999", 4, 9, "2446"),
    ("[[file]]\npath = \"/a\"\ncontent = \"\"\nxattrs = { comment = \"x\" }", 4, 22, "names begin with"),
];

#[test]
fn bad_recipes_are_refused_with_line_and_column() {
    let mut wrong = String::new();
    for (text, line, column, fragment) in BAD {
        match parse(text) {
            Ok(_) => wrong.push_str(&format!("{text:?} was accepted\n")),
            Err(error) => {
                let message = error.to_string();
                let place = format!("image.toml: line {line}, column {column}: ");
                if !message.starts_with(&place) || !message.contains(fragment) || message.contains(char::is_control) || error.kind() != ErrorKind::InvalidInput
                {
                    wrong.push_str(&format!("{text:?}\n  gave {message}\n  not  {place}…{fragment}\n"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn recipes_made_by_programs_are_checked_by_key() {
    let mut recipe = parse(AGREED).unwrap();
    recipe.check().unwrap();
    recipe.partitions[1].size = PartitionSize::Exact(Size::bytes(1));
    let message = recipe.check().unwrap_err().to_string();
    assert!(message.starts_with("`partition[1].size`: a partition cannot have 1 B"), "{message}");
}

#[test]
fn long_and_deep_recipes_are_refused_in_time() {
    let long = format!("name = \"{}\"", "a".repeat(RECIPE_MAX_BYTES));
    assert_eq!(parse(&long).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let started = std::time::Instant::now();
    for text in [
        format!("name = {}", "[".repeat(500_000)),
        format!("name = {}", "{a=".repeat(300_000)),
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("[{}a]", "a.".repeat(500_000)),
        "[[partition]]\n".repeat(70_000),
        "[[file]]\npath=\"/a\"\n".repeat(50_000),
        (0..100_000).map(|n| format!("k{n}=1\n")).collect(),
        (0..50_000).map(|n| format!("[a.b{n}]\n")).collect(),
        format!("{}\n", "\"\\u0000\"=1\n".repeat(90_000)),
        format!("name = {}", "\"".repeat(1_000_000)),
        format!("[[file]]\npath=\"/a\"\ncontent=\"\"\n[file.xattrs]\n{}", (0..40_000).map(|n| format!("\"user.{n}\"=\"\"\n")).collect::<String>()),
    ] {
        assert!(text.len() <= RECIPE_MAX_BYTES, "{}", text.len());
        match parse(&text) {
            Ok(recipe) => assert_eq!(recipe.files[0].xattrs.len(), 40_000),
            Err(error) => assert!(error.to_string().len() < 500, "{} characters", error.to_string().len()),
        }
    }
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

/// A small generator of numbers, so that a failure can be repeated.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    crate::units::usize_of(*state >> 33)
}

#[test]
fn damaged_recipes_never_panic_and_what_is_read_is_written_again() {
    let mut state = 1;
    let mut read = 0;
    for text in [AGREED, EXAMPLE, EVERYTHING] {
        for _ in 0..3_000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=next(&mut state) % 3 {
                let at = next(&mut state) % bytes.len();
                match next(&mut state) % 4 {
                    0 => bytes[at] ^= 1 << (next(&mut state) % 8),
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.insert(at, b"\"[]{}=.\n0-\\#"[next(&mut state) % 12]),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    bytes.push(b'x');
                }
            }
            match parse(&String::from_utf8_lossy(&bytes)) {
                Ok(recipe) => {
                    assert_eq!(parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
                    read += 1;
                }
                Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
            }
        }
    }
    assert!(read > 100, "only {read} damaged recipes could still be read");
    for length in 0..2_000 {
        let bytes: Vec<u8> = (0..length % 97).map(|_| u8::try_from(next(&mut state) % 256).unwrap()).collect();
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn sources_are_found_beside_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("in/sub")).unwrap();
    fs::write(at("in/rootfs.tar"), "").unwrap();
    fs::write(at("in/-"), "").unwrap();
    let recipe = |text: &str| {
        fs::write(at("in/image.toml"), text).unwrap();
        Recipe::load(&at("in/image.toml"), &LoadOptions::default())
    };
    let loaded =
        recipe("[[partition]]\nsource = [\"rootfs.tar\", \"sub\", \"sub/../rootfs.tar\", \"./-\"]\n[[file]]\npath = \"/a\"\nsource = \"rootfs.tar\"").unwrap();
    assert_eq!(loaded.partitions[0].source, [at("in/rootfs.tar"), at("in/sub"), at("in/sub/../rootfs.tar"), at("in/./-")]);
    assert_eq!(loaded.files[0].source, Some(at("in/rootfs.tar")));
    let missing = recipe("[[partition]]\nsource = [\"rootfs.tar\",\n  \"none.tar\"]").unwrap_err().to_string();
    assert!(missing.contains("image.toml: line 3, column 3: the source none.tar cannot be found"), "{missing}");
}

#[test]
fn sources_elsewhere_need_leave() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["in", "other", "third"] {
        fs::create_dir(at(path)).unwrap();
        fs::write(at(path).join("x.tar"), "").unwrap();
    }
    let load = |source: &str, allow: &[&str]| {
        fs::write(at("in/image.toml"), format!("# a recipe\n[[partition]]\nsource = {source:?}\n")).unwrap();
        let options = LoadOptions { allow_source: allow.iter().map(|path| at(path)).collect() };
        Recipe::load(&at("in/image.toml"), &options).map(|recipe| recipe.partitions[0].source[0].clone())
    };
    let absolute = at("other/x.tar").to_str().unwrap().to_owned();
    let own = at("in/x.tar").to_str().unwrap().to_owned();
    for (source, allow, good) in [
        ("x.tar", &[][..], true),
        ("../other/x.tar", &[], false),
        ("../other/none", &[], false),
        ("../in/x.tar", &[], false),
        ("a/../../in/x.tar", &[], false),
        ("..", &[], false),
        (&*absolute, &[], false),
        (&*own, &[], false),
        ("../other/x.tar", &["other"], true),
        ("../third/x.tar", &["other"], false),
        (&*absolute, &["other"], true),
        (&*own, &["other"], false),
        (&*own, &["in"], true),
        ("/dev/null", &["other"], false),
    ] {
        match load(source, allow) {
            Ok(path) => assert!(good && path == at("in").join(source), "{source} with {allow:?} was accepted as {path:?}"),
            Err(error) => {
                let message = error.to_string();
                assert!(!good, "{source} with {allow:?}: {message}");
                assert!(message.contains("image.toml: line 3, column 10: the source ") && message.contains("--allow-source"), "{message}");
            }
        }
    }
    let missing = load("x.tar", &["nowhere"]).unwrap_err().to_string();
    assert!(missing.contains("nowhere: the folder of sources cannot be found"), "{missing}");
}

#[cfg(unix)]
#[test]
fn symbolic_links_do_not_lead_out() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for path in ["in", "other"] {
        fs::create_dir(at(path)).unwrap();
        fs::write(at(path).join("x.tar"), "").unwrap();
    }
    symlink("x.tar", at("in/good")).unwrap();
    symlink("../other/x.tar", at("in/file")).unwrap();
    symlink("../other", at("in/folder")).unwrap();
    symlink("/etc", at("in/etc")).unwrap();
    // The recipe's own folder may be reached by a link.
    symlink("in", at("link")).unwrap();
    for (source, good) in [("good", true), ("file", false), ("folder", false), ("folder/x.tar", false), ("folder/../x.tar", false), ("etc/passwd", false)] {
        fs::write(at("in/image.toml"), format!("[[file]]\npath = \"/a\"\nsource = {source:?}\n")).unwrap();
        let result = Recipe::load(&at("link/image.toml"), &LoadOptions::default());
        assert_eq!(result.is_ok(), good, "{source}: {result:?}");
    }
    fs::write(at("in/image.toml"), "[[partition]]\nsource = \"folder/x.tar\"\n").unwrap();
    assert!(Recipe::load(&at("in/image.toml"), &LoadOptions { allow_source: vec![at("other")] }).is_ok());
}

#[test]
fn a_recipe_is_a_regular_file_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| Recipe::load(path, &LoadOptions::default()).unwrap_err();
    assert!(load(folder.path()).to_string().contains("no regular file"));
    assert_eq!(load(&folder.path().join("none")).kind(), ErrorKind::Io);
    let file = folder.path().join("image.toml");
    fs::write(&file, b"name = \"\xff\"").unwrap();
    assert!(load(&file).to_string().ends_with("the recipe is no UTF-8 (at byte 8)"));
    fs::write(&file, vec![b'#'; RECIPE_MAX_BYTES + 1]).unwrap();
    assert_eq!(load(&file).kind(), ErrorKind::LimitExceeded);
    if cfg!(unix) {
        assert!(load(Path::new("/dev/zero")).to_string().contains("no regular file"));
    }
}
