//! Images that were copied while they were mounted: the journal holds what is missing, deleted files are still there.

use crate::aged::age;
use crate::made::mke2fs;
use crate::reading::{assert_places, read};
use crate::view::{Mounted, assert_shown, view};
use std::fs;
use std::io::Write as _;
use tempfile::TempDir;

const FORMS: &[(&str, &str)] = &[
    ("-t ext4", "rw"),
    ("-t ext4 -b 1024", "rw,data=journal"),
    ("-t ext4 -O ^metadata_csum", "rw"),
    ("-t ext4 -O ^metadata_csum,^64bit", "rw,journal_checksum"),
    ("-t ext3 -b 1024", "rw,data=journal"),
    ("-t ext4 -O orphan_file", "rw,journal_async_commit"),
    ("-t ext4 -O bigalloc -J size=4", "rw"),
];

#[test]
fn the_journal_is_replayed_as_the_kernel_replays_it() {
    let folder = TempDir::new().unwrap();
    for (form, options) in FORMS {
        let (image, copy) = (folder.path().join("image"), folder.path().join("copy"));
        let _ = fs::remove_file(&image);
        println!("{form} {options}");
        if mke2fs(form, None, &image, "96M").is_none() {
            return;
        }
        let Some(mounted) = Mounted::new(&image, options) else { continue };
        let root = mounted.path();
        age(root);
        // What begins with the journal's magic number is escaped in it.
        let escaped = [&[0xc0, 0x3b, 0x39, 0x98][..], &[7; 5000]].concat();
        fs::write(root.join("escaped"), &escaped).unwrap();
        rustix::fs::sync();
        // Directories go, and their blocks become data: they are revoked.
        for n in 0..90 {
            fs::remove_dir(root.join(format!("many/{n}"))).ok();
        }
        fs::remove_dir_all(root.join("made")).unwrap();
        let mut open = fs::File::create(root.join("deleted while open")).unwrap();
        open.write_all(&[9; 100_000]).unwrap();
        fs::write(root.join("late"), vec![3; 2_000_000]).unwrap();
        open.sync_all().unwrap();
        fs::remove_file(root.join("deleted while open")).unwrap();
        fs::File::open(root.join("late")).unwrap().sync_all().unwrap();
        rustix::fs::fsync(fs::File::open(root).unwrap()).unwrap();
        fs::copy(&image, &copy).unwrap();
        drop(open);
        drop(mounted);

        let read = read(&copy).unwrap();
        assert!(read.is_sound(), "{read:#?}");
        assert_places(&read);
        let told = read.notes.join("\n");
        assert!(told.contains("journal") && told.contains("deleted while still open"), "{told}");
        // The kernel replays it on mounting, and then deletes.
        let Some(mounted) = Mounted::new(&copy, "ro") else { continue };
        assert_shown(&read, &view(mounted.path(), true), &[]);
    }
}
