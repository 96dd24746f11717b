//! The running kernel as a judge: mounts images through a loop device, where that is allowed (root).

use crate::common::judge;
use crate::image::{Image, e2fsck, options};
use crate::sample::{Sample, everything, expected};
use rootvol::fs::ext4::{Feature, Options, SizeRequest};
use rootvol::tree::{Node, NodeId, NodeKind, Tree, Xattr};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::{NamedTempFile, TempDir};

/// A mounted image; unmounted when dropped.
pub(crate) struct Mounted {
    folder: TempDir,
}

impl Mounted {
    pub(crate) fn new(image: &Path, mode: &str) -> Option<Self> {
        let mut command = judge("mount")?;
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            crate::common::skip("mounting needs root and loop devices");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let output = command.arg("-t").arg("ext4").arg("-o").arg(format!("loop,{mode}")).arg(image).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Some(Self { folder })
    }

    /// Mounts for writing, as far as the kernel knows the features.
    pub(crate) fn for_writing(image: &Path, options: &Options) -> Option<Self> {
        // In a guest, tests/quota.rs writes to filesystems with quota files whatever this kernel can do.
        if options.features.has(Feature::Quota) && !keeps_quotas() {
            return None;
        }
        Self::new(image, "rw")
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

pub(crate) fn join(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

fn xattrs(path: &Path) -> Vec<Xattr> {
    let mut names = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut found: Vec<Xattr> = names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
            Xattr::new(name, &value[..len])
        })
        .collect();
    found.sort();
    found
}

/// What the kernel shows of an id that it cannot map.
fn shown_id(id: u32) -> u32 {
    if id == u32::MAX { 65_534 } else { id }
}

/// Compares every entry and every attribute that the kernel shows with the tree.
pub(crate) fn compare(root: &Path, sample: &Sample) {
    compare_with(root, sample, &options(SizeRequest::Minimum { free_bytes: 0 }));
}

/// The same for a filesystem with these options: inodes of 128 bytes have no nanoseconds.
pub(crate) fn compare_with(root: &Path, sample: &Sample, options: &Options) {
    let nanoseconds = options.inode_bytes > 128;
    let tree = &sample.tree;
    let mut inodes: HashMap<NodeId, u64> = HashMap::new();
    let mut seen = 0;
    tree.walk(|path, id| {
        let node = tree.node(id);
        let shown = rootvol::error::escape(path);
        let at = join(root, path);
        let found = fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let metadata = &node.metadata;
        assert_eq!(found.mode() & 0o7777, u32::from(metadata.mode), "mode of {shown}");
        assert_eq!((found.uid(), found.gid()), (shown_id(metadata.uid), shown_id(metadata.gid)), "owner of {shown}");
        let time = (metadata.mtime.seconds, if nanoseconds { i64::from(metadata.mtime.nanoseconds) } else { 0 });
        assert_eq!((found.mtime(), found.mtime_nsec()), time, "mtime of {shown}");
        assert_eq!((found.ctime(), found.ctime_nsec()), time, "ctime of {shown}");
        assert_eq!(xattrs(&at), tree.xattrs(metadata.xattrs), "xattrs of {shown}");
        assert_eq!(*inodes.entry(id).or_insert(found.ino()), found.ino(), "{shown} is a hard link");
        compare_kind(tree, id, node, &at, &found);
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(count(root), seen + usize::from(tree.lookup("lost+found").is_none()), "entries");
}

fn compare_kind(tree: &Tree, id: NodeId, node: &Node, at: &Path, found: &fs::Metadata) {
    let shown = at.display();
    let kind = found.file_type();
    match node.kind {
        NodeKind::Directory => {
            assert!(kind.is_dir(), "{shown}");
            let subdirectories = tree.entries(id).iter().filter(|entry| tree.node(entry.node).is_directory()).count();
            let added = usize::from(id == NodeId::ROOT && tree.lookup("lost+found").is_none());
            let links = subdirectories + added + 2;
            assert_eq!(found.nlink(), if links > 65_000 { 1 } else { u64::try_from(links).unwrap() }, "links of {shown}");
            return;
        }
        NodeKind::File(file) => {
            assert!(kind.is_file(), "{shown}");
            assert_eq!(found.len(), file.length, "length of {shown}");
            compare_contents(tree, &file, at);
        }
        NodeKind::Symlink(_) => assert_eq!(fs::read_link(at).unwrap().as_os_str().as_bytes(), tree.target(id), "{shown}"),
        NodeKind::CharDevice(device) | NodeKind::BlockDevice(device) => {
            assert_eq!((kind.is_char_device(), kind.is_block_device()), (matches!(node.kind, NodeKind::CharDevice(_)), !kind.is_char_device()));
            let number = rustix::fs::makedev(device.major, device.minor);
            assert_eq!(found.rdev(), number, "device of {shown}");
        }
        NodeKind::Fifo => assert!(kind.is_fifo(), "{shown}"),
        NodeKind::Socket => assert!(kind.is_socket(), "{shown}"),
    }
    assert_eq!(found.nlink(), u64::from(node.links), "links of {shown}");
}

fn compare_contents(tree: &Tree, file: &rootvol::tree::FileData, at: &Path) {
    const WHOLE: u64 = 64 << 20;
    let opened = fs::File::open(at).unwrap();
    let ranges: Vec<(u64, u64)> = tree.data_ranges(file).collect();
    let parts = if file.length <= WHOLE {
        vec![(0, file.length)]
    } else {
        // Around each range of data: enough to see where it begins and ends.
        ranges.iter().map(|(start, len)| (start.saturating_sub(9000), (len + 18_000).min(file.length - start.saturating_sub(9000)))).collect()
    };
    for (start, len) in parts {
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        opened.read_exact_at(&mut bytes, start).unwrap();
        assert!(bytes == expected(tree, file, start, len), "contents of {} from {start}", at.display());
    }
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    1 + entries.map(|entry| if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 1 }).sum::<usize>()
}

/// Mounts read-only and compares; mounts for writing, writes a lot, and asks e2fsck.
pub(crate) fn judge_by_kernel(image: &Image, sample: &Sample, options: &Options) {
    image.check();
    let Some(mounted) = Mounted::new(image.path(), "ro") else { return };
    compare_with(mounted.path(), sample, options);
    drop(mounted);
    let Some(mounted) = Mounted::for_writing(image.path(), options) else { return };
    use_heavily(mounted.path());
    drop(mounted);
    e2fsck(image.path());
    if let Some(fields) = image.dumpe2fs() {
        assert!(!fields.iter().any(|(name, _)| name.starts_with("FS Error count")), "the kernel has seen errors");
    }
}

/// Whether the running kernel is made with quotas: without, it mounts filesystems that have quota files read-only alone, also mke2fs's.
fn keeps_quotas() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let (image, folder) = (NamedTempFile::new().unwrap(), TempDir::new().unwrap());
        image.as_file().set_len(16 << 20).unwrap();
        let Some(mut mke2fs) = judge("mke2fs") else { return false };
        crate::common::run(mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "quota"]).arg(image.path()));
        let mounted = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image.path()).arg(folder.path()).output().unwrap().status.success();
        if mounted {
            crate::common::run(Command::new("umount").arg(folder.path()));
        }
        mounted
    })
}

/// Makes, extends, links, renames and removes until the disk is full, or nearly so.
fn use_heavily(root: &Path) {
    match write_a_lot(root) {
        Err(error) if error.kind() != ErrorKind::StorageFull => panic!("{error}"),
        Ok(()) | Err(_) => {}
    }
    // Room for what follows: the kernel frees what was in use, also beneath inodes and blocks that it found there.
    let _ = fs::remove_dir_all(root.join("xattrs/shared"));
    let _ = fs::remove_file(root.join("filler 0"));
    rustix::fs::syncfs(fs::File::open(root).unwrap()).unwrap();
}

fn write_a_lot(root: &Path) -> io::Result<()> {
    let folder = root.join("heavy use");
    fs::create_dir(&folder)?;
    let name = |n: usize| folder.join(format!("a file with a name that fills directories {n}"));
    for n in 0..800 {
        fs::write(name(n), vec![b'x'; n * 37])?;
    }
    for n in (0..800).step_by(3) {
        fs::remove_file(name(n))?;
    }
    for n in 0..50 {
        fs::create_dir_all(folder.join(format!("deep/{n}/x/y/z")))?;
    }
    fs::rename(folder.join("deep"), root.join("moved"))?;
    if root.join("files").is_dir() {
        fs::write(root.join("files/4097"), b"short now")?;
    }
    if let Ok(comb) = fs::OpenOptions::new().write(true).open(root.join("holes/comb")) {
        for n in 0..500 {
            comb.write_all_at(b"filled", n * 8192 + 5000)?;
        }
    }
    for n in 0..40 {
        fs::write(root.join(format!("filler {n}")), vec![n; 3 << 20])?;
    }
    Ok(())
}

#[test]
fn the_kernel_shows_the_tree_and_writes_to_it() {
    let sample = everything();
    for size in [SizeRequest::Exact(64 << 20), SizeRequest::Minimum { free_bytes: 40 << 20 }] {
        judge_by_kernel(&Image::make(&sample, &options(size)), &sample, &options(size));
    }
}

#[test]
fn lazy_inode_tables_are_initialised_by_the_kernel() {
    let sample = everything();
    let mut options = options(SizeRequest::Exact(300 << 20));
    options.lazy_inode_tables = true;
    judge_by_kernel(&Image::make(&sample, &options), &sample, &options);
}
