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

#[test]
fn fast_commits_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let (image, copy) = (folder.path().join("image"), folder.path().join("copy"));
    if mke2fs("-t ext4 -O fast_commit", None, &image, "64M").is_none() {
        return;
    }
    let Some(mounted) = Mounted::new(&image, "rw") else { return };
    fs::write(mounted.path().join("file"), b"some").unwrap();
    rustix::fs::sync();
    // What a fast commit can say: bytes that are appended, a name that is made.
    let mut file = fs::File::options().append(true).open(mounted.path().join("file")).unwrap();
    for _ in 0..5 {
        file.write_all(&[1; 5000]).unwrap();
        file.sync_all().unwrap();
    }
    let size = fs::read_to_string(format!("/proc/fs/ext4/{}/fc_info", loop_device(&image))).unwrap_or_default();
    fs::copy(&image, &copy).unwrap();
    drop(file);
    drop(mounted);
    match read(&copy) {
        Err(error) => assert!(error.kind() == rootvol::ErrorKind::Unsupported && error.to_string().contains("fast_commit"), "{error}"),
        Ok(read) => assert!(read.is_sound() && !size.contains("fast commits: 5"), "{read:#?} {size}"),
    }
}

/// The loop device of an image.
fn loop_device(image: &std::path::Path) -> String {
    let Some(mut command) = crate::common::judge("losetup") else { return String::new() };
    let output = command.args(["-n", "-O", "NAME", "-j"]).arg(image).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("/dev/").to_owned()
}

#[test]
fn a_damaged_journal_never_panics() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    if mke2fs("-t ext4 -b 1024 -N 512 -J size=1", None, &image, "6M").is_none() {
        return;
    }
    let Some(mounted) = Mounted::new(&image, "rw,data=journal") else { return };
    for n in 0..20 {
        fs::write(mounted.path().join(format!("file{n}")), vec![n; 3000]).unwrap();
    }
    rustix::fs::fsync(fs::File::open(mounted.path()).unwrap()).unwrap();
    let bytes = fs::read(&image).unwrap();
    drop(mounted);
    let sound = crate::damage::read_bytes(&bytes).unwrap().unwrap();
    assert!(sound.is_sound() && sound.tree.lookup("file19").is_some(), "{sound:#?}");
    // The journal's blocks are those that begin with its magic number.
    let starts: Vec<usize> = (0..bytes.len()).step_by(1024).filter(|at| bytes[*at..*at + 4] == [0xc0, 0x3b, 0x39, 0x98]).collect();
    let mut numbers = crate::damage::Numbers(5);
    for _ in 0..150 {
        let mut changed = bytes.clone();
        let at = starts[numbers.below(starts.len())] + numbers.below(64);
        changed[at] = numbers.below(256).to_le_bytes()[0];
        let _ = crate::damage::read_bytes(&changed);
    }
}
