//! The example of an uploader in the same process runs.

#[path = "examples/upload.rs"]
mod upload;

#[test]
fn four_threads_upload_every_block_though_each_fails_once() {
    upload::run(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
}
