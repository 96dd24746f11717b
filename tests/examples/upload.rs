//! Blocks to an uploader in the same process, without an image file: `cargo run --example upload [ROOTFS]`.
//!
//! Four threads upload. Every block fails once, as requests do, and is made again from the plan by whichever thread
//! repeats it: nothing has to be kept for a retry.

use rootvol::checksum::{self, BlockState};
use rootvol::disk::WriteOptions;
use rootvol::stream::{Block, BlockSink};
use rootvol::units::BLOCK_LEN;
use rootvol::{BlockIndex, Disk, DiskSpec, Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What the EBS direct API would hold: PutSnapshotBlock by index.
#[derive(Default)]
struct Snapshot {
    blocks: Mutex<BTreeMap<u64, [u8; 32]>>,
    failed_once: Mutex<BTreeMap<u64, ()>>,
}

impl Snapshot {
    /// Refuses every block once, and a block whose checksum is wrong always.
    fn put(&self, index: BlockIndex, data: &[u8], checksum: &[u8; 32]) -> std::result::Result<(), &'static str> {
        if self.failed_once.lock().expect("no thread panics").insert(index.0, ()).is_none() {
            return Err("throttled");
        }
        if Sha256::digest(data)[..] != checksum[..] {
            return Err("wrong checksum");
        }
        self.blocks.lock().expect("no thread panics").insert(index.0, *checksum);
        Ok(())
    }
}

/// A block on its way to a thread: its bytes, for the first try.
struct Parcel {
    index: BlockIndex,
    checksum: [u8; 32],
    data: Box<[u8]>,
}

/// Hands blocks to the threads; a full channel holds the stream back.
struct Upload(SyncSender<Parcel>);

impl BlockSink for Upload {
    fn block(&mut self, block: Block<'_>) -> Result<()> {
        assert_ne!(block.state, BlockState::Unused, "unused blocks never come");
        let parcel = Parcel { index: block.index, checksum: *block.checksum, data: block.data[..].into() };
        self.0.send(parcel).map_err(|_| Error::new(ErrorKind::Io, "the uploader has stopped"))
    }
}

fn upload(disk: &Disk, parcels: &Mutex<Receiver<Parcel>>, snapshot: &Snapshot) -> Result<()> {
    loop {
        let Ok(Parcel { index, checksum, data }) = parcels.lock().expect("no thread panics").recv() else { return Ok(()) };
        if snapshot.put(index, &data, &checksum).is_ok() {
            continue;
        }
        let mut again = Box::new([0; BLOCK_LEN]);
        disk.read_block(index, &mut again)?;
        snapshot.put(index, &again[..], &checksum).map_err(|why| Error::new(ErrorKind::Io, format!("block {}: {why}", index.0)))?;
    }
}

/// Uploads a data disk made from `rootfs` and checks that the snapshot holds what the report says.
pub(crate) fn run(rootfs: &str) -> Result<()> {
    let disk = DiskSpec::data(rootvol::source::open(rootfs)?).name("upload").plan()?;
    let snapshot = Snapshot::default();
    let (send, receive) = sync_channel(8);
    let receive = Mutex::new(receive);
    let written = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| upload(&disk, &receive, &snapshot))).collect();
        let written = disk.send_to(&mut Upload(send), WriteOptions::default());
        for thread in threads {
            thread.join().expect("no thread panics")?;
        }
        written
    })?;
    let blocks = snapshot.blocks.into_inner().expect("no thread panics");
    let count = written.report.blocks.data + written.report.blocks.zero;
    assert_eq!(u64::try_from(blocks.len()), Ok(count), "ChangedBlocksCount");
    let linear = blocks.values().fold(Sha256::new(), |hash, digest| hash.chain_update(digest)).finalize();
    assert_eq!(checksum::base64_encode(&linear), written.report.blocks.linear_checksum, "the LINEAR checksum of CompleteSnapshot");
    Ok(())
}

#[allow(dead_code, reason = "a test runs this file as a module")]
fn main() -> Result<()> {
    let rootfs = std::env::args().nth(1).unwrap_or_else(|| "src".into());
    run(&rootfs)
}
