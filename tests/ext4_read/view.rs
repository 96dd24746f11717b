//! What the running kernel shows of a folder, in the form in which trees are compared.

use crate::common::{judge, skip};
use crate::reading::Shown;
use rootvol::error::escape;
use rootvol::fs::ReadFilesystem;
use rootvol::tree::{Device, NodeKind, attribute};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A mounted image; unmounted when dropped.
pub(crate) struct Mounted {
    folder: TempDir,
}

impl Mounted {
    /// Mounts, or says visibly that it cannot. `None` too where the kernel does not know the features.
    pub(crate) fn new(image: &Path, options: &str) -> Option<Self> {
        let mut command = judge("mount")?;
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            skip("mounting needs root and loop devices");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let output = command.arg("-o").arg(format!("loop,{options}")).arg(image).arg(folder.path()).output().unwrap();
        if !output.status.success() {
            // What features a kernel has is nothing that CI could promise.
            eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Another test that forks at this moment holds our open files for an instant.
        let unmounted = (0..20).any(|attempt| {
            std::thread::sleep(std::time::Duration::from_millis(attempt * 50));
            Command::new("umount").arg(self.folder.path()).status().unwrap().success()
        });
        assert!(unmounted || std::thread::panicking());
    }
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut found: Vec<(String, Vec<u8>)> = names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(len);
            (escape(name), value)
        })
        .collect();
    found.sort();
    found
}

/// `FS_IOC_GETFLAGS`, of files and directories.
fn attributes(path: &Path) -> u32 {
    let file = fs::File::open(path).unwrap();
    rustix::fs::ioctl_getflags(&file).map_or(0, |flags| flags.bits()) & attribute::KEPT
}

/// All paths of a folder with what the kernel shows of them. `is_ext4`: chattr's attributes count.
pub(crate) fn view(root: &Path, is_ext4: bool) -> BTreeMap<String, (Shown, PathBuf)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![(Vec::new(), root.to_owned())];
    while let Some((name, path)) = pending.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        let device = || Device { major: rustix::fs::major(found.rdev()), minor: rustix::fs::minor(found.rdev()) };
        let mut flags = 0;
        let mut links = found.nlink();
        let shown = if kind.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                let entry = entry.unwrap();
                let separator = if name.is_empty() { &b""[..] } else { b"/" };
                pending.push(([&name[..], separator, entry.file_name().as_bytes()].concat(), entry.path()));
            }
            links = 1;
            flags = attributes(&path);
            "directory".to_owned()
        } else if kind.is_file() {
            flags = attributes(&path);
            format!("file of {}", found.len())
        } else if kind.is_symlink() {
            format!("link to {}", escape(fs::read_link(&path).unwrap().as_os_str().as_bytes()))
        } else if kind.is_char_device() {
            format!("{:?}", NodeKind::CharDevice(device()))
        } else if kind.is_block_device() {
            format!("{:?}", NodeKind::BlockDevice(device()))
        } else {
            let other = if kind.is_fifo() { NodeKind::Fifo } else { NodeKind::Socket };
            format!("{other:?}")
        };
        let flags = if is_ext4 { flags } else { 0 };
        let metadata = format!(
            "{:o} {}:{} {}.{:09} attributes {flags:x} project 0 links {links}",
            found.mode() & 0o7777,
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec()
        );
        all.insert(escape(&name), (Shown { metadata, kind: shown, xattrs: xattrs(&path) }, path));
    }
    all
}

/// What was read is what the kernel shows: every path, attribute and byte.
#[track_caller]
pub(crate) fn assert_shown(read: &ReadFilesystem, view: &BTreeMap<String, (Shown, PathBuf)>, but: &[&str]) {
    let found = crate::reading::all(&read.tree);
    for (path, (expected, at)) in view {
        let (shown, id) = found.get(path).unwrap_or_else(|| panic!("{path:?} is missing; {:?}", read.damage));
        if !but.contains(&path.as_str()) {
            assert_eq!(shown, expected, "{path}");
        }
        if let NodeKind::File(file) = read.tree.node(*id).kind {
            let mut bytes = Vec::new();
            fs::File::open(at).unwrap().read_to_end(&mut bytes).unwrap();
            let mut own = vec![0xaa; usize::try_from(file.length).unwrap()];
            read.contents.read_exact_at(file.content, 0, &mut own).unwrap();
            assert!(own == bytes, "contents of {path}");
        }
    }
    let more: Vec<&String> = found.keys().filter(|path| !view.contains_key(*path) && !but.contains(&path.as_str())).collect();
    assert!(more.is_empty(), "{more:?}");
}
