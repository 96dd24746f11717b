//! The example of an uploader in the same process runs.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

#[path = "examples/upload.rs"]
mod upload;

#[test]
fn four_threads_upload_every_block_though_each_fails_once() {
    upload::run(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
}
