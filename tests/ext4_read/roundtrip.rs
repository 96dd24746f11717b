//! What our own writer makes comes back as it was.

use crate::image::{Image, e2fsck, options};
use crate::reading::{assert_same, read_sound};
use crate::sample::{Maker, everything, metadata, without};
use rootvol::ErrorKind;
use rootvol::fs::ext4::{Features, Options, SizeRequest, plan};
use rootvol::tree::{Metadata, NewNode, attribute};
use std::sync::Arc;

fn with(features: &str, block_bytes: u32, inode_bytes: u16) -> Options {
    let mut options = options(SizeRequest::Minimum { free_bytes: 2_000_000 });
    options.features = Features::parse([features]).unwrap();
    options.block_bytes = block_bytes;
    options.inode_bytes = inode_bytes;
    options
}

#[test]
fn a_tree_with_everything_comes_back_from_every_set_of_features() {
    let sample = everything();
    for (features, block_bytes, inode_bytes) in [
        ("default", 4096, 256),
        ("default", 1024, 256),
        ("modern", 2048, 512),
        ("ext2", 4096, 256),
        ("ext3", 1024, 256),
        ("ext2", 1024, 128),
        ("default,meta_bg", 4096, 256),
        ("default,uninit_bg", 4096, 256),
        ("default,inline_data", 4096, 256),
        ("default,inline_data", 1024, 1024),
        ("default,ea_inode", 4096, 256),
        ("default,project", 4096, 256),
        ("default,^dir_index,^flex_bg", 4096, 256),
    ] {
        let options = with(features, block_bytes, inode_bytes);
        let smaller = (block_bytes < 4096 || inode_bytes == 128 || !options.features.has(rootvol::fs::ext4::Feature::Extent)).then(|| {
            without(&sample, |path| {
                let id = sample.tree.lookup(path).unwrap();
                let node = sample.tree.node(id);
                let length = if let rootvol::tree::NodeKind::File(file) = node.kind { file.length } else { 0 };
                let time = node.metadata.mtime;
                let values: usize = sample.tree.xattrs(node.metadata.xattrs).iter().map(|xattr| xattr.name.len() + xattr.value.len() + 20).sum();
                length > 1 << 30
                    || (inode_bytes == 128 && (time.nanoseconds > 0 || time.seconds >= 1 << 31))
                    || values + 50 > usize::try_from(block_bytes).unwrap()
                    || sample.tree.target(id).len() >= usize::try_from(block_bytes).unwrap()
            })
        });
        let sample = smaller.as_ref().unwrap_or(&sample);
        let image = Image::make(sample, &options);
        println!("{features} {block_bytes} {inode_bytes}");
        let read = read_sound(image.path());
        assert_same(&read, &sample.tree, &*sample.contents);
    }
}

#[test]
fn attributes_and_projects_are_written_and_read() {
    let mut maker = Maker::default();
    maker.add("", Metadata { attributes: 0x2002_0000, ..metadata(0o755) }, NewNode::Directory);
    for bit in (0..32).map(|bit| 1_u32 << bit).filter(|bit| attribute::SETTABLE & bit != 0) {
        maker.file(format!("file-{bit:x}"), Metadata { attributes: bit, project: bit, ..metadata(0o644) }, 5000);
        maker.add(format!("folder-{bit:x}"), Metadata { attributes: bit, project: 7, ..metadata(0o755) }, NewNode::Directory);
    }
    maker.add("all", Metadata { attributes: attribute::SETTABLE, project: u32::MAX - 1, ..metadata(0o755) }, NewNode::Directory);
    maker.add("link", Metadata { attributes: 0xc0, project: 3, ..metadata(0o777) }, NewNode::Symlink(b"all"));
    let sample = maker.finish();
    for features in ["project", "modern,project,inline_data"] {
        let image = Image::make(&sample, &with(features, 4096, 256));
        e2fsck(image.path());
        assert_same(&read_sound(image.path()), &sample.tree, &*sample.contents);
        assert!(image.layout.notes().is_empty());
    }
    let layout = plan(Arc::clone(&sample.tree), &with("default", 4096, 256)).unwrap();
    assert!(layout.notes().iter().any(|note| note.contains("lose their project")), "{:?}", layout.notes());
}

#[test]
fn what_only_the_kernel_can_make_is_refused_by_path() {
    for (attributes, expected) in [(attribute::ENCRYPTED, "encrypted"), (attribute::VERITY, "fs-verity"), (attribute::CASEFOLDED, "casefolded")] {
        let mut maker = Maker::default();
        maker.add("odd", Metadata { attributes, ..metadata(0o755) }, NewNode::Directory);
        let error = plan(maker.finish().tree, &with("default", 4096, 256)).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.path() == Some(b"odd") && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn places_are_of_what_lies_there() {
    use rootvol::content::ReadAt as _;
    use rootvol::fs::PlaceOwner;
    let mut maker = Maker::default();
    maker.add("", metadata(0o755), NewNode::Directory);
    maker.file("a/file", metadata(0o644), 100_000);
    maker.file_with("hole", metadata(0o644), 1 << 20, Some(vec![(500_000, 10_000)]));
    let sample = maker.finish();
    let image = Image::make(&sample, &with("default", 4096, 256));
    let read = read_sound(image.path());
    let disk = crate::reading::FileDisk::open(image.path());
    for place in &read.places {
        let PlaceOwner::Data { node, offset_bytes } = place.owner else { continue };
        let rootvol::tree::NodeKind::File(file) = read.tree.node(node).kind else { continue };
        let len = (place.range.end - place.range.start).min(file.length - offset_bytes);
        let (mut there, mut expected) = (vec![0; usize::try_from(len).unwrap()], vec![0; usize::try_from(len).unwrap()]);
        disk.read_exact_at(place.range.start, &mut there).unwrap();
        read.contents.read_exact_at(file.content, offset_bytes, &mut expected).unwrap();
        assert!(there == expected, "{place:?}");
    }
    let used: u64 = read.places.iter().map(|place| place.range.end - place.range.start).sum();
    assert_eq!(used, read.summary.used_bytes);
    assert!(matches!(read.at(1024).unwrap().owner, PlaceOwner::Structure { what: "superblock", group: Some(0) }));
    assert_eq!(read.inodes[0], 2);
}
