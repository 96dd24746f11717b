//! What our own writer makes comes back as it was.

use crate::image::{Image, options};
use crate::reading::{assert_same, read_sound};
use crate::sample::{everything, without};
use rootvol::fs::ext4::{Features, Options, SizeRequest};

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
