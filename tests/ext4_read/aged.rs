//! Filesystems that the running kernel has written to, deleted from and written to again.

use crate::image::e2fsck;
use crate::made::{mke2fs, populate};
use crate::reading::read_sound;
use crate::view::{Mounted, assert_shown, view};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tempfile::TempDir;

const FORMS: &[&str] = &[
    "-t ext4",
    "-t ext4 -b 1024",
    "-t ext3 -b 1024",
    "-t ext2 -b 4096",
    "-t ext2 -r 0 -b 1024 -O none",
    "-t ext2 -O ^filetype,^dir_index -b 2048 -I 128",
    "-t ext4 -O bigalloc",
    "-t ext4 -O inline_data -I 512",
    "-t ext4 -O inline_data,bigalloc -b 1024",
    "-t ext4 -O ea_inode",
    "-t ext4 -O ^metadata_csum,uninit_bg",
    "-t ext4 -O orphan_file,metadata_csum_seed",
    "-t ext4 -O meta_bg,^resize_inode",
    "-t ext4 -O quota,project",
    "-t ext4 -O casefold",
];

/// Directories that grow and shrink, files in pieces, preallocated and with holes, attributes of all kinds.
pub(crate) fn age(root: &Path) {
    populate(&root.join("made"));
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    let name = |n: u32| many.join(format!("another_name_of_some_length_{n}"));
    for n in 0..1200 {
        fs::write(name(n), n.to_string()).unwrap();
    }
    for n in (0..1200).step_by(3) {
        fs::remove_file(name(n)).unwrap();
    }
    for n in 0..16 {
        fs::write(root.join(format!("part{n}")), vec![n; 30_000 * usize::from(n + 1)]).unwrap();
    }
    for n in (0..16).step_by(2) {
        fs::remove_file(root.join(format!("part{n}"))).unwrap();
    }
    fs::write(root.join("in pieces"), vec![0x55; 2_500_000]).unwrap();
    let comb = fs::File::create(root.join("comb")).unwrap();
    for n in 0..400 {
        comb.write_all_at(b"tooth", n * 9000).unwrap();
    }
    let pre = fs::File::create(root.join("preallocated")).unwrap();
    if rustix::fs::fallocate(&pre, rustix::fs::FallocateFlags::empty(), 0, 3_000_000).is_ok() {
        pre.write_all_at(b"written", 1_000_000).unwrap();
    }
    let beyond = fs::File::create(root.join("preallocated beyond its end")).unwrap();
    let _ = rustix::fs::fallocate(&beyond, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1_000_000);
    let acl = [&[2, 0, 0, 0][..], &[1, 0, 6, 0, 255, 255, 255, 255], &[2, 0, 4, 0, 0xe8, 3, 0, 0], &[4, 0, 4, 0, 255, 255, 255, 255]];
    let acl = [&acl.concat()[..], &[0x10, 0, 4, 0, 255, 255, 255, 255], &[0x20, 0, 0, 0, 255, 255, 255, 255]].concat();
    let large = vec![b'v'; 3000];
    for (path, attribute, value) in [
        ("part1", "user.one", &b"1"[..]),
        ("part1", "system.posix_acl_access", &acl),
        ("many", "system.posix_acl_default", &acl),
        ("part3", "trusted.bytes", &[0, 255, 10]),
        ("part3", "user.medium", &[b'm'; 600]),
        ("part5", "user.large", &large),
        ("made/short", "trusted.of a link", b"x"),
    ] {
        // Not every form has room for each.
        let _ = rustix::fs::lsetxattr(root.join(path), attribute, value, rustix::fs::XattrFlags::empty());
    }
    for n in 0..200 {
        fs::create_dir(many.join(n.to_string())).unwrap();
    }
    fs::rename(root.join("made/folder"), many.join("7/moved")).unwrap();
    for n in (100..200).step_by(2) {
        fs::remove_dir(many.join(n.to_string())).unwrap();
    }
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let device = rustix::fs::makedev(300, 70_000);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("device"), rustix::fs::FileType::BlockDevice, mode, device).unwrap();
    std::os::unix::fs::chown(root.join("part7"), Some(70_000), Some(80_000)).unwrap();
    for (path, flags) in [("part9", rustix::fs::IFlags::APPEND | rustix::fs::IFlags::NODUMP), ("many/3", rustix::fs::IFlags::NOATIME)] {
        let file = fs::File::open(root.join(path)).unwrap();
        let _ = rustix::fs::ioctl_setflags(&file, rustix::fs::ioctl_getflags(&file).unwrap() | flags);
    }
}

#[test]
fn what_the_kernel_wrote_is_what_it_shows() {
    let folder = TempDir::new().unwrap();
    for form in FORMS {
        let image = folder.path().join("image");
        let _ = fs::remove_file(&image);
        println!("{form}");
        if mke2fs(form, None, &image, "64M").is_none() {
            return;
        }
        let Some(mounted) = Mounted::new(&image, "rw") else { continue };
        age(mounted.path());
        drop(mounted);
        e2fsck(&image);
        let read = read_sound(&image);
        let Some(mounted) = Mounted::new(&image, "ro") else { continue };
        assert_shown(&read, &view(mounted.path(), true), &[]);
    }
}
