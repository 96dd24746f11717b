//! What debugfs can make: encrypted, sealed and casefolded entries, projects, features that nobody knows.

use crate::common::judge;
use crate::made::mke2fs;
use crate::reading::read;
use rootvol::ErrorKind;
use rootvol::fs::ReadFilesystem;
use rootvol::tree::{NodeKind, attribute};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tempfile::TempDir;

struct Image {
    folder: TempDir,
}

impl Image {
    fn make(form: &str, populate: impl Fn(&Path)) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        populate(&source);
        mke2fs(form, Some(&source), &folder.path().join("image"), "16M")?;
        Some(Self { folder })
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("image")
    }

    fn debugfs(&self, requests: &[&str]) -> Option<()> {
        for request in requests {
            let output = judge("debugfs")?.args(["-w", "-R", request]).arg(self.path()).output().unwrap();
            assert!(output.status.success(), "{request}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Some(())
    }

    fn read(&self) -> ReadFilesystem {
        read(&self.path()).unwrap()
    }
}

fn some(root: &Path) {
    fs::create_dir_all(root.join("folder/inner")).unwrap();
    fs::write(root.join("folder/file"), vec![1; 10_000]).unwrap();
    fs::write(root.join("folder/inner/other"), vec![2; 50_000]).unwrap();
    fs::write(root.join("plain"), vec![3; 20_000]).unwrap();
    std::os::unix::fs::symlink("somewhere", root.join("link")).unwrap();
}

#[test]
fn encrypted_entries_are_shown_and_not_mangled() {
    let Some(image) = Image::make("-t ext4 -O encrypt", some) else { return };
    let set = |path: &str, flags: u32| format!("set_inode_field {path} flags {flags:#x}");
    let requests = [set("/folder", 0x8_0800), set("/plain", 0x8_0800), set("/link", 0x800)];
    if image.debugfs(&requests.each_ref().map(String::as_str)).is_none() {
        return;
    }
    let read = image.read();
    assert!(read.is_sound(), "{read:#?}");
    let told: Vec<String> = read.unreadable.iter().map(ToString::to_string).collect();
    assert_eq!(read.unreadable.len(), 3, "{told:?}");
    assert!(read.unreadable.iter().all(|error| error.kind() == ErrorKind::Unsupported && error.path().is_some()));
    let folder = read.tree.lookup("folder").unwrap();
    assert!(read.tree.entries(folder).is_empty() && read.tree.node(folder).metadata.attributes & attribute::ENCRYPTED != 0);
    assert_eq!(read.tree.lookup("link"), None);
    let NodeKind::File(file) = read.tree.node(read.tree.lookup("plain").unwrap()).kind else { panic!() };
    assert_eq!(file.length, 20_000);
    assert_eq!(read.contents.read_exact_at(file.content, 0, &mut [0; 10]).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn attributes_and_projects_are_kept() {
    let Some(image) = Image::make("-t ext4 -O project,verity,casefold", some) else { return };
    if image.debugfs(&["set_inode_field /plain projid 77", "set_inode_field /plain flags 0x180000"]).is_none() {
        return;
    }
    let read = image.read();
    // debugfs writes no quota file.
    assert!(read.damage.is_empty(), "{:?}", read.damage);
    let node = read.tree.node(read.tree.lookup("plain").unwrap());
    assert_eq!((node.metadata.project, node.metadata.attributes), (77, attribute::VERITY));
}

#[test]
fn features_that_are_not_known_are_refused_by_name() {
    let Some(image) = Image::make("-t ext2 -b 1024", some) else { return };
    let bytes = fs::read(image.path()).unwrap();
    for (bits, name) in [(0x1_u32, "compression"), (0x8, "journal_dev"), (0x1000, "dirdata"), (0x80_0000, "FEATURE_I23")] {
        let mut changed = bytes.clone();
        let word = u32::from_le_bytes(changed[1024 + 0x60..][..4].try_into().unwrap()) | bits;
        changed[1024 + 0x60..][..4].copy_from_slice(&word.to_le_bytes());
        let error = crate::damage::read_bytes(&changed).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(name), "{error}");
    }
    let mut changed = bytes;
    changed[1024 + 0x64 + 3] |= 0x40;
    let read = crate::damage::read_bytes(&changed).unwrap().unwrap();
    assert!(read.notes.iter().any(|note| note.contains("FEATURE_R30")), "{:?}", read.notes);
}

#[test]
fn what_two_files_have_names_both() {
    let Some(image) = Image::make("-t ext2 -b 1024", some) else { return };
    let Some(mut debugfs) = judge("debugfs") else { return };
    let output = debugfs.args(["-R", "blocks /plain"]).arg(image.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let block = text.split_whitespace().nth(3).unwrap();
    image.debugfs(&[&format!("set_inode_field /folder/file block[2] {block}")]).unwrap();
    let read = image.read();
    let told: Vec<String> = read.damage.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|error| error.contains("claimed twice") && error.contains("block 2 of folder/file") && error.contains("of plain")), "{told:?}");
    assert!(read.tree.lookup("plain").is_some() && read.tree.lookup("folder/file").is_some());
}

#[test]
fn damage_in_one_place_leaves_the_rest() {
    let Some(image) = Image::make("-t ext4", some) else { return };
    let Some(mut debugfs) = judge("debugfs") else { return };
    let output = debugfs.args(["-R", "imap /folder/file"]).arg(image.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // "located at block 42, offset 0x0c00"
    let block: u64 = text.split("at block ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    let offset = u64::from_str_radix(text.split("offset 0x").nth(1).unwrap().get(..4).unwrap(), 16).unwrap();
    let file = fs::File::options().read(true).write(true).open(image.path()).unwrap();
    let block_bytes = u64::from(image.read().summary.block_bytes);
    file.write_all_at(&[0x77], block * block_bytes + offset + 0x64).unwrap();
    let read = image.read();
    assert_eq!(read.tree.lookup("folder/file"), None);
    assert!(read.tree.lookup("folder/inner/other").is_some() && read.tree.lookup("plain").is_some());
    let error = read.damage.iter().find(|error| error.path() == Some(b"folder/file")).unwrap();
    assert!(error.offset() == Some(block * block_bytes + offset) && error.to_string().contains("checksum"), "{error}");
}
