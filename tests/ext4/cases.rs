use crate::image::{Image, options};
use crate::sample::everything;
use rootvol::fs::ext4::SizeRequest;

#[test]
fn a_tree_of_everything_passes_e2fsck() {
    let sample = everything();
    for size in [SizeRequest::Minimum { free_bytes: 0 }, SizeRequest::Exact(64 << 20)] {
        let image = Image::make(&sample, &options(size));
        image.check();
    }
}
