//! Independent readers of ext4, written in Rust.

use crate::common::judge;
use crate::image::{Image, options};
use crate::sample::{Sample, everything, expected, without};
use ext4::{Enhanced, SuperBlock};
use ext4_view::{Ext4, Ext4Read, FileType};
use rootvol::fs::ext4::SizeRequest;
use rootvol::tree::{NodeKind, Timestamp};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

const READ_MAX: u64 = 64 << 20;

struct Reader(File);

impl Ext4Read for Reader {
    fn read(&mut self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Ok(self.0.read_exact_at(dst, start_byte)?)
    }
}

fn compare_by_ext4_view(image: &Image, sample: &Sample) {
    let tree = &sample.tree;
    let found = Ext4::load(Box::new(Reader(image.file.reopen().unwrap()))).unwrap();
    tree.walk(|path, id| {
        let full = [b"/", path].concat();
        let at = full.as_slice();
        let shown = rootvol::error::escape(at);
        let node = tree.node(id);
        let metadata = found.symlink_metadata(at).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (node.metadata.mode, node.metadata.uid, node.metadata.gid), "{shown}");
        let expected_time = node.metadata.mtime;
        for time in [metadata.modified(), metadata.accessed(), metadata.created().unwrap()] {
            assert_eq!(Timestamp { seconds: time.seconds(), nanoseconds: time.nanoseconds() }, expected_time, "{shown}");
        }
        let kind = match node.kind {
            NodeKind::Directory => {
                let added = usize::from(path.is_empty() && tree.lookup("lost+found").is_none());
                assert_eq!(found.read_dir(at).unwrap().count(), tree.entries(id).len() + added + 2, "{shown}");
                FileType::Directory
            }
            NodeKind::File(file) => {
                assert_eq!(metadata.len(), file.length, "{shown}");
                if file.length <= READ_MAX {
                    assert!(found.read(at).unwrap() == expected(tree, &file, 0, file.length), "contents of {shown}");
                }
                FileType::Regular
            }
            NodeKind::Symlink(_) => {
                let target = found.read_link(at).unwrap();
                let target: &[u8] = target.as_ref();
                assert_eq!(target, tree.target(id), "{shown}");
                FileType::Symlink
            }
            NodeKind::CharDevice(_) => FileType::CharacterDevice,
            NodeKind::BlockDevice(_) => FileType::BlockDevice,
            NodeKind::Fifo => FileType::Fifo,
            NodeKind::Socket => FileType::Socket,
        };
        assert_eq!(metadata.file_type(), kind, "{shown}");
        Ok(())
    })
    .unwrap();
}

fn compare_by_ext4(image: &Image, sample: &Sample) {
    let tree = &sample.tree;
    let found = SuperBlock::new(image.file.reopen().unwrap()).unwrap();
    let root = found.root().unwrap();
    let mut seen = 0;
    found
        .walk(&root, "", &mut |found, path, inode, kind| {
            if path == "/lost+found" {
                return Ok(true);
            }
            seen += 1;
            let id = tree.lookup(path).unwrap_or_else(|| panic!("{path} is not in the tree"));
            let node = tree.node(id);
            let stat = &inode.stat;
            assert_eq!((stat.file_mode & 0o7777, stat.uid, stat.gid), (node.metadata.mode, node.metadata.uid, node.metadata.gid), "{path}");
            assert_eq!((i64::from(stat.mtime.epoch_secs) - node.metadata.mtime.seconds) % (1 << 32), 0, "{path}");
            let attributes: usize = stat.xattrs.len();
            assert_eq!(attributes, tree.xattrs(node.metadata.xattrs).len(), "{path}");
            for xattr in tree.xattrs(node.metadata.xattrs).iter().filter(|xattr| !xattr.name.starts_with(b"system.")) {
                assert_eq!(stat.xattrs[std::str::from_utf8(&xattr.name).unwrap()], *xattr.value, "{path}");
            }
            if !node.is_directory() {
                assert_eq!(u32::from(stat.link_count), node.links, "{path}");
            }
            match (node.kind, kind) {
                (NodeKind::File(file), Enhanced::RegularFile) => {
                    assert_eq!(stat.size, file.length);
                    if file.length <= READ_MAX {
                        let mut bytes = Vec::new();
                        found.open(inode)?.read_to_end(&mut bytes)?;
                        assert!(bytes == expected(tree, &file, 0, file.length), "contents of {path}");
                    }
                }
                (NodeKind::Symlink(_), Enhanced::SymbolicLink(target)) => assert_eq!(target.as_bytes(), tree.target(id), "{path}"),
                (NodeKind::CharDevice(device), Enhanced::CharacterDevice(major, minor))
                | (NodeKind::BlockDevice(device), Enhanced::BlockDevice(major, minor)) => {
                    assert_eq!((u32::from(*major), *minor), (device.major, device.minor), "{path}");
                }
                (NodeKind::Directory, Enhanced::Directory(_)) | (NodeKind::Fifo, Enhanced::Fifo) | (NodeKind::Socket, Enhanced::Socket) => {}
                _ => panic!("{path} is {kind:?}"),
            }
            Ok(true)
        })
        .unwrap();
    let mut entries = 0;
    tree.walk(|_, _| {
        entries += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, entries);
}

#[test]
fn the_crate_ext4_view_reads_the_tree_back() {
    // It refuses times whose low word has its highest bit set, and long link targets: valid as they are.
    let unread = [&b"times/1901"[..], b"times/1969", b"times/2038-after", b"links/symbolic-1000", b"links/symbolic-4095"];
    let sample = without(&everything(), |path| unread.contains(&path));
    compare_by_ext4_view(&Image::make(&sample, &options(SizeRequest::Minimum { free_bytes: 0 })), &sample);
}

#[test]
fn the_crate_ext4_reads_the_tree_back() {
    // It has names and targets as text, ends a directory after its first block, reads 8 bytes of zeros as the end of xattrs (there
    // are 4), and no lengths that need many blocks of memory.
    let unread = [&b"xattrs/shared"[..], b"xattrs/inode-full", b"xattrs/block-full", b"xattrs/both-full", b"links/bytes", b"holes/largest"];
    let sample = without(&everything(), |path| std::str::from_utf8(path).is_err() || unread.contains(&path));
    compare_by_ext4(&Image::make(&sample, &options(SizeRequest::Minimum { free_bytes: 0 })), &sample);
}

#[test]
fn grub_reads_files_in_indexed_directories_and_through_deep_extent_trees() {
    let sample = everything();
    let image = Image::make(&sample, &options(SizeRequest::Exact(64 << 20)));
    // A file that begins with a hole is one that GRUB 2.06 reads from no ext4 filesystem ("something wrong with extent").
    for path in ["files/1000000", "files/4097", "holes/comb", "holes/begin", "xattrs/many", "links/b"] {
        let Some(mut grub) = judge("grub-fstest") else { return };
        let NodeKind::File(file) = sample.tree.node(sample.tree.lookup(path).unwrap()).kind else { panic!("{path} is no file") };
        let copy = tempfile::NamedTempFile::new().unwrap();
        copy.as_file().write_all_at(&expected(&sample.tree, &file, 0, file.length), 0).unwrap();
        let output = grub.arg(image.path()).args(["cmp", &format!("(loop0)/{path}")]).arg(copy.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{path}: {output:?}");
    }
    let Some(mut grub) = judge("grub-fstest") else { return };
    let output = grub.arg(image.path()).args(["ls", "(loop0)/xattrs/shared/"]).output().unwrap();
    let names = String::from_utf8_lossy(&output.stdout).split_whitespace().filter(|name| name.parse::<u32>().is_ok()).count();
    assert_eq!(names, 1030, "{output:?}");
}
