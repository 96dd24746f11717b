//! Filesystems that mke2fs makes of a folder, in every form that it knows.

use crate::common::judge;
use crate::reading::read_sound;
use crate::view::{assert_shown, view};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use tempfile::TempDir;

/// mke2fs's arguments, and whether a file of several MiB fits.
pub(crate) const FORMS: &[&str] = &[
    "-t ext4",
    "-t ext4 -b 1024",
    "-t ext4 -b 2048 -O metadata_csum_seed",
    "-t ext4 -b 65536 -m 0",
    "-t ext3 -b 4096",
    "-t ext3 -b 1024",
    "-t ext2 -b 1024",
    "-t ext2 -r 0 -b 1024 -O none",
    "-t ext2 -O ^filetype,^dir_index -b 2048 -I 128",
    "-t ext4 -O ^extent,^64bit",
    "-t ext4 -O bigalloc",
    "-t ext4 -O bigalloc,^has_journal -b 1024 -C 4096",
    "-t ext4 -O meta_bg,^resize_inode -g 1024 -b 1024",
    "-t ext4 -O inline_data -I 512",
    "-t ext4 -O inline_data,bigalloc -b 1024",
    "-t ext4 -O ea_inode",
    "-t ext4 -O ^metadata_csum",
    "-t ext4 -O ^metadata_csum,uninit_bg,^flex_bg",
    "-t ext4 -I 128",
    "-t ext4 -O casefold",
    "-t ext4 -O encrypt,verity",
    "-t ext4 -O sparse_super2,^resize_inode",
    "-t ext4 -O orphan_file",
    "-t ext4 -O large_dir",
    "-t ext4 -O mmp",
    "-t ext4 -O ^sparse_super,^resize_inode -b 1024 -g 2048",
];

/// Makes a folder with some of everything.
pub(crate) fn populate(root: &Path) {
    fs::create_dir_all(root.join("folder/deep/er")).unwrap();
    for n in 0..500 {
        fs::write(root.join(format!("folder/a_name_that_takes_some_room_in_a_block_{n}")), format!("contents {n}\n")).unwrap();
    }
    symlink("target", root.join("short")).unwrap();
    symlink("x".repeat(100), root.join("long")).unwrap();
    symlink("y".repeat(900), root.join("folder/longer")).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    fs::write(root.join("big"), &bytes).unwrap();
    fs::write(root.join("inline"), b"some bytes").unwrap();
    fs::write(root.join("inline-more"), vec![7; 150]).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    let hole = fs::File::create(root.join("hole")).unwrap();
    hole.set_len(6_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"in the middle", 4_000_001).unwrap();
    fs::hard_link(root.join("big"), root.join("folder/deep/big too")).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o4711)).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        // Some filesystems have no such attributes.
        let _ = rustix::fs::lsetxattr(root.join(path), OsStr::new(name), value, rustix::fs::XattrFlags::empty());
    };
    set("big", "user.small", b"value");
    set("folder", "user.empty", b"");
    set("folder/deep", "user.large", &[b'l'; 400]);
    // Whole seconds: inodes of 128 bytes have no more.
    let mut pending = vec![root.to_owned()];
    let mut all = Vec::new();
    while let Some(path) = pending.pop() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.push(path);
    }
    for (path, seconds) in all.iter().zip(1_500_000_000..) {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// Runs mke2fs; `None` where it is not installed.
pub(crate) fn mke2fs(form: &str, source: Option<&Path>, image: &Path, size: &str) -> Option<()> {
    let mut command = judge("mke2fs")?;
    command.args(["-q", "-F"]).args(form.split(' '));
    if let Some(source) = source {
        command.arg("-d").arg(source);
    }
    let output = command.arg(image).arg(size).output().unwrap();
    assert!(output.status.success(), "mke2fs {form}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[test]
fn what_mke2fs_makes_of_a_folder_is_that_folder() {
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("source");
    populate(&source);
    for form in FORMS {
        let mut expected = view(&source, false);
        let image = folder.path().join("image");
        let _ = fs::remove_file(&image);
        println!("{form}");
        if mke2fs(form, Some(&source), &image, "64M").is_none() {
            return;
        }
        let read = read_sound(&image);
        // mke2fs gives the root its own time.
        // Revision 0 has no attributes.
        if form.contains("-r 0") {
            expected.values_mut().for_each(|(shown, _)| shown.xattrs.clear());
        }
        // mke2fs 1.47 cuts holes at the end of files off with inline_data.
        if form.contains("inline_data") {
            expected.remove("hole");
        }
        assert_shown(&read, &expected, &["", "lost+found", "hole"]);
        assert!(read.notes.is_empty() && read.unreadable.is_empty(), "{:?} {:?}", read.notes, read.unreadable);
    }
}
