//! `ebs-snapshot.json`: the plan of a snapshot that is written through the EBS direct API, without S3 and without an import
//! (EBS direct API reference: StartSnapshot, PutSnapshotBlock, CompleteSnapshot).
//!
//! ```text
//!   Report ─────────┐                  ┌─ StartSnapshot      VolumeSize, ClientToken, Encrypted or ParentSnapshotId
//!   blocks.jsonl ───┼─► EbsSnapshotPlan┼─ PutSnapshotBlock   a block of 512 KiB each: index, checksum, data or zero
//!   parent's blocks ┘                  └─ CompleteSnapshot   how many, and the LINEAR checksum over exactly these
//! ```
//!
//! Offsets are those of the disk: the bytes are read through the container, so a VHD is as good as a raw image. A short last
//! block is padded with zeros to 512 KiB, and hashed so.
//!
//! # What is listed
//! A snapshot holds what was written to it, and what its parent holds. A block that it does not hold reads as zeros from an
//! unencrypted volume, but as random bytes from an encrypted one, and an account can encrypt by default. So zero blocks, which
//! somebody trusts to be zero, are listed like data; unused ones, which nobody reads, are not.
//!
//! | the image's block is | no parent, or the parent left it unused | the parent wrote data | the parent wrote zeros |
//! |---|---|---|---|
//! | data | data | data, where the digests differ | data |
//! | zero | zeros ¹ | zeros | inherited ² |
//! | unused, or behind the image's end | not listed | zeros | zeros ¹ |
//!
//! ¹ Left out by [`EbsSnapshotBuilder::omit_zero`]. ² Listed where the parent's zeros were left out.
//!
//! Whoever wrote the parent so, and its parent, has a snapshot in which every block is what the image's own list says: the last
//! row keeps what a deleted file of an earlier version left behind from coming back.
//!
//! # Refused
//! A block list that does not fit the report, disks that EBS has not (over 64 TiB, sectors other than 512 bytes), and whatever
//! the service model or its prose does not take. A snapshot is never smaller than its parent.

mod document;
mod overlaps;
mod request;
#[cfg(test)]
mod tests;
mod upload;

pub use document::PutSnapshotBlockRequest;
pub use request::{CompleteSnapshotRequest, StartSnapshotRequest};
pub use upload::BlockSource;

use super::choices::AmiChoices;
use super::import_image::check_disk;
use super::rules;
use super::shapes::Tag;
use crate::checksum::{BlockChecksum, BlockChecksums, BlockState};
use crate::error::{Error, ErrorKind, Result};
use crate::report::Report;
use crate::units::{BLOCK_BYTES, BlockIndex, GIB, Size};
use overlaps::Overlaps;
use std::collections::BTreeMap;

/// The largest volume, in GiB (EBS direct API, StartSnapshot, VolumeSize; EBS user guide, volume constraints).
pub const VOLUME_MAX_GIB: u64 = 65_536;
/// Blocks in a GiB.
const BLOCKS_PER_GIB: u64 = GIB / BLOCK_BYTES;
/// Blocks of the largest volume.
const BLOCKS_MAX: u64 = VOLUME_MAX_GIB * BLOCKS_PER_GIB;
/// Minutes without a block after which AWS gives a snapshot up, where nothing else is said: the API's own default.
const TIMEOUT_MINUTES: u32 = 60;

/// A snapshot, as the three calls of the EBS direct API write it. Made by [`Report::ebs_snapshot`], read by serde.
///
/// The bytes come from the image or the [`Disk`](crate::Disk); an uploader in this process needs no more than this:
///
/// ```
/// use rootvol::manifest::{CompleteSnapshotRequest, EbsSnapshotPlan, StartSnapshotRequest};
/// use rootvol::stream::{Block, BlockSink};
/// use rootvol::{Disk, DiskSpec, Format, Result};
/// # #[derive(Default)]
/// # struct Ebs { put: Vec<u64>, linear: Vec<u8> }
/// # impl Ebs {
/// #     fn start_snapshot(&mut self, request: &StartSnapshotRequest) -> String { assert_eq!(request.volume_size, 1); "snap-0abc".into() }
/// #     fn put_snapshot_block(&mut self, _: &str, index: u64, data: &[u8; 524_288], sha256: String) {
/// #         let digest = sha2::Sha256::digest(data);
/// #         assert_eq!(rootvol::checksum::base64_encode(&digest), sha256);
/// #         self.put.push(index);
/// #         self.linear.extend_from_slice(&digest);
/// #     }
/// #     fn complete_snapshot(&mut self, _: &str, request: &CompleteSnapshotRequest) {
/// #         assert_eq!(request.changed_blocks_count, u64::try_from(self.put.len()).unwrap());
/// #         assert_eq!(request.checksum, rootvol::checksum::base64_encode(&sha2::Sha256::digest(&self.linear)));
/// #     }
/// # }
/// # use sha2::Digest as _;
///
/// struct Upload<'a>(&'a mut Ebs, String); // a client of the EBS direct API, and the snapshot that it has started
///
/// impl BlockSink for Upload<'_> {
///     fn block(&mut self, block: Block<'_>) -> Result<()> {
///         self.0.put_snapshot_block(&self.1, block.index.0, block.data, rootvol::checksum::base64_encode(block.checksum));
///         Ok(())
///     }
/// }
///
/// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (image, mut ebs) = (folder.path().join("data.vhd"), Ebs::default());
/// # let disk = DiskSpec::data(rootvol::source::open("src/manifest")?).name("data").plan()?;
/// let (written, file) = disk.write_unnamed(&image, Format::Vhd, Default::default())?;
/// file.commit()?;
/// let plan: EbsSnapshotPlan = written.report.ebs_snapshot(&written.checksums).plan()?;
///
/// let disk = rootvol::format::open(&image, None)?; // or the Disk itself: no image is needed
/// let snapshot = ebs.start_snapshot(&plan.start_snapshot);
/// plan.send_to(&*disk, &mut Upload(&mut ebs, snapshot.clone()))?; // every listed block, checked once more
/// ebs.complete_snapshot(&snapshot, &plan.complete_snapshot);
/// # assert!(!ebs.put.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EbsSnapshotPlan {
    /// The first call.
    pub start_snapshot: StartSnapshotRequest,
    /// The last call; the snapshot that StartSnapshot has answered with is added to it.
    pub complete_snapshot: CompleteSnapshotRequest,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What is put, and nothing else: unused here means not listed. As many blocks as the volume has.
    listed: BlockChecksums,
}

/// What a snapshot is to be; see [`Report::ebs_snapshot`].
#[derive(Debug, Clone)]
pub struct EbsSnapshotBuilder<'a> {
    report: &'a Report,
    blocks: &'a BlockChecksums,
    parent: Option<(String, &'a BlockChecksums)>,
    parent_omitted_zero: bool,
    omit_zero: bool,
    name: Option<String>,
    description: Option<String>,
    tags: BTreeMap<String, String>,
    encrypted: Option<bool>,
    kms_key_arn: Option<String>,
    volume_gib: Option<u64>,
    timeout_minutes: u32,
    attempt: u32,
}

impl Report {
    /// Begins the plan of a snapshot of this image, of which `blocks` is the block list.
    #[must_use]
    pub fn ebs_snapshot<'a>(&'a self, blocks: &'a BlockChecksums) -> EbsSnapshotBuilder<'a> {
        EbsSnapshotBuilder {
            report: self,
            blocks,
            parent: None,
            parent_omitted_zero: false,
            omit_zero: false,
            name: AmiChoices::default().ami_name(self.name.as_deref(), self.version.as_deref()),
            description: None,
            tags: BTreeMap::new(),
            encrypted: None,
            kms_key_arn: None,
            volume_gib: None,
            timeout_minutes: TIMEOUT_MINUTES,
            attempt: 1,
        }
    }

    /// Whether `blocks` is the block list of this image: as many blocks, of each state as many, and the same LINEAR checksum.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), with what is there and what was expected; [`Unsupported`](ErrorKind::Unsupported) for a disk over 64 TiB.
    pub fn check_blocks(&self, blocks: &BlockChecksums) -> Result<()> {
        let ours = &self.blocks;
        let total = self.disk.size_bytes.div_ceil(BLOCK_BYTES);
        let mismatch = |what: &str, expected: u64, there: u64| {
            Err(Error::corrupt(format!("the block list is not that of the image in the report: {expected} {what} were expected, {there} are there")))
        };
        if ours.block_bytes != BLOCK_BYTES {
            return mismatch("bytes in a block", BLOCK_BYTES, ours.block_bytes);
        }
        if ours.total != total {
            let size = Size::bytes(self.disk.size_bytes);
            return Err(Error::corrupt(format!("the report contradicts itself: a disk of {size} has {total} blocks, and it counts {}", ours.total)));
        }
        if blocks.slice().start != BlockIndex(0) {
            return mismatch("as the first block", 0, blocks.slice().start.0);
        }
        for (what, expected, there) in [
            ("blocks", ours.total, blocks.block_count()),
            ("data blocks", ours.data, blocks.data_blocks()),
            ("zero blocks", ours.zero, blocks.zero_blocks()),
            ("unused blocks", ours.unused, blocks.unused_blocks()),
        ] {
            if expected != there {
                return mismatch(what, expected, there);
            }
        }
        // Hashing takes the time that the count says, so the count is bounded first.
        if total > BLOCKS_MAX {
            return Err(too_large(self.disk.size_bytes.div_ceil(GIB)));
        }
        let linear = blocks.linear_checksum();
        if ours.linear_checksum != linear {
            return Err(Error::corrupt(format!(
                "the block list is not that of the image in the report: LINEAR checksum {} was expected, its own is {linear}",
                crate::error::escape(ours.linear_checksum.as_bytes()),
            )));
        }
        Ok(())
    }
}

impl<'a> EbsSnapshotBuilder<'a> {
    /// Takes what the choices about the AMI say of its snapshot: name, description, tags, encryption, attempt.
    #[must_use]
    pub fn ami(mut self, ami: &AmiChoices) -> Self {
        self.name = ami.ami_name(self.report.name.as_deref(), self.report.version.as_deref());
        self.description.clone_from(&ami.description);
        self.tags.clone_from(&ami.tags);
        self.encrypted = ami.encrypted;
        self.kms_key_arn.clone_from(&ami.kms_key_id);
        self.attempt = ami.attempt();
        self
    }

    /// Writes on top of the snapshot `id`, which holds `blocks`: the block list of the image that it was written from.
    /// Encryption follows the parent then, and cannot be chosen.
    #[must_use]
    pub fn parent(mut self, id: impl Into<String>, blocks: &'a BlockChecksums) -> Self {
        self.parent = Some((id.into(), blocks));
        self
    }

    /// The parent was written with its zeros left out, so none can be inherited.
    #[must_use]
    pub fn parent_omitted_zero(mut self, omitted: bool) -> Self {
        self.parent_omitted_zero = omitted;
        self
    }

    /// Leaves zero blocks out where the snapshot then holds nothing. Unsafe where the snapshot is, or by the account's default
    /// becomes, encrypted: what it does not hold reads as random bytes there, and filesystems trust these blocks to be zero.
    #[must_use]
    pub fn omit_zero(mut self, omit: bool) -> Self {
        self.omit_zero = omit;
        self
    }

    /// The tag `Name`, and what the description begins with. Default: the image's name, and `-` and its version.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the description begins with, in place of the name; the LINEAR checksum follows.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Encrypts the snapshot, with the account's key for EBS. Not with a parent.
    #[must_use]
    pub fn encrypted(mut self, encrypted: bool) -> Self {
        self.encrypted = Some(encrypted);
        self
    }

    /// Encrypts with this key, an ARN; needs [`EbsSnapshotBuilder::encrypted`]. Not with a parent.
    #[must_use]
    pub fn kms_key_arn(mut self, arn: impl Into<String>) -> Self {
        self.kms_key_arn = Some(arn.into());
        self
    }

    /// The volume's size, where it is to be more than the image and the parent's image need: where the parent's snapshot is larger than
    /// its image, because its own parent was, nobody but the caller knows.
    #[must_use]
    pub fn volume_gib(mut self, gib: u64) -> Self {
        self.volume_gib = Some(gib);
        self
    }

    /// Minutes, 10 to 4,320, after which AWS gives the snapshot up when no block comes. Default: 60.
    #[must_use]
    pub fn timeout_minutes(mut self, minutes: u32) -> Self {
        self.timeout_minutes = minutes;
        self
    }

    /// The number of the attempt, from 1, which enters the ClientToken: AWS answers a token that it knows with the snapshot that
    /// it knows, a failed one too.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Plans the snapshot.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) for a block list that is not that of the image, [`Unsupported`](ErrorKind::Unsupported) for a
    /// disk that EBS has not, [`InvalidInput`](ErrorKind::InvalidInput) for choices that the API does not take, with the rule's source.
    pub fn plan(&self) -> Result<EbsSnapshotPlan> {
        check_disk(self.report)?;
        self.report.check_blocks(self.blocks)?;
        if self.attempt == 0 {
            return Err(Error::invalid("attempts are counted from 1"));
        }
        let mut notes = Vec::new();
        let volume_gib = self.size_gib(&mut notes)?;
        let (listed, omitted) = self.listed(volume_gib);
        let linear = listed.linear_checksum();
        if self.parent.is_none() && !self.omit_zero && linear != self.report.blocks.linear_checksum {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("the plan's LINEAR checksum is {linear}, the report's {}", self.report.blocks.linear_checksum),
            ));
        }
        if omitted > 0 {
            notes.push(omission_note(omitted));
        }
        let complete_snapshot = CompleteSnapshotRequest::new(listed.data_blocks() + listed.zero_blocks(), linear);
        let start_snapshot = self.start(volume_gib, &complete_snapshot.checksum, &mut notes)?;
        Ok(EbsSnapshotPlan { start_snapshot, complete_snapshot, notes, listed })
    }

    fn size_gib(&self, notes: &mut Vec<String>) -> Result<u64> {
        let image = self.report.disk.size_bytes.div_ceil(GIB).max(1);
        let parent = self.parent.as_ref().map_or(0, |(_, blocks)| blocks.slice().end.0.div_ceil(BLOCKS_PER_GIB));
        if let Some((_, blocks)) = &self.parent
            && blocks.slice().start != BlockIndex(0)
        {
            return Err(Error::invalid(format!("the parent's block list begins at block {}, and is to be that of a whole disk", blocks.slice().start.0)));
        }
        let needed = image.max(parent);
        let gib = self.volume_gib.unwrap_or(needed);
        if gib < needed {
            let whose = if parent > image { "the parent" } else { "the image" };
            return Err(Error::invalid(format!(
                "{whose} needs {needed} GiB, so a volume of {gib} GiB is too small (EBS direct API, StartSnapshot, VolumeSize)"
            )));
        }
        if gib > VOLUME_MAX_GIB {
            return Err(too_large(gib));
        }
        if self.parent.is_some() && gib > image {
            notes.push(format!(
                "the parent is larger than this image, which needs {image} GiB: a snapshot is never smaller than its parent, so this one has {gib} GiB, \
                 and so have volumes made from it (register-image: VolumeSize {gib} at least)"
            ));
        }
        Ok(gib)
    }

    fn start(&self, volume_size: u64, linear: &str, notes: &mut Vec<String>) -> Result<StartSnapshotRequest> {
        let mut tags = self.tags.clone();
        if let Some(name) = &self.name {
            tags.entry("Name".to_owned()).or_insert_with(|| name.clone());
        }
        let mut start = StartSnapshotRequest {
            volume_size,
            parent_snapshot_id: None,
            encrypted: self.encrypted,
            kms_key_arn: self.kms_key_arn.clone(),
            timeout: Some(self.timeout_minutes),
            description: Some(self.described(linear)?),
            tags: tags.into_iter().map(|(key, value)| Tag { key, value }).collect(),
            client_token: None,
        };
        if let Some((id, _)) = &self.parent {
            if start.encrypted.is_some() || start.kms_key_arn.is_some() {
                notes.push(
                    "the choice of encryption is left out: a snapshot with a parent is encrypted as its parent is (EBS direct API, StartSnapshot)".into(),
                );
            }
            (start.encrypted, start.kms_key_arn) = (None, None);
            start.parent_snapshot_id = Some(id.clone());
        }
        start.set_attempt(self.attempt);
        start.check()?;
        Ok(start)
    }

    /// The checksum makes the request, and so its ClientToken, another one when the blocks are other ones: StartSnapshot has no
    /// other place for it.
    fn described(&self, linear: &str) -> Result<String> {
        let text = self.description.as_deref().or(self.name.as_deref()).unwrap_or("disk");
        let description = format!("{text}, LINEAR SHA-256 {linear}");
        let excess = description.chars().count().saturating_sub(rules::DESCRIPTION_MAX_CHARS);
        if excess > 0 {
            let most = text.chars().count().saturating_sub(excess);
            return Err(Error::invalid(format!(
                "the description of a snapshot has at most {} characters (EBS direct API, StartSnapshot, Description), and ends with the checksum: \
                 at most {most} are left for the text before it; say a shorter `description`",
                rules::DESCRIPTION_MAX_CHARS
            )));
        }
        Ok(description)
    }

    /// What is put, and how many zero blocks were left out.
    fn listed(&self, volume_gib: u64) -> (BlockChecksums, u64) {
        let nothing = BlockChecksums::new(0);
        let parent = self.parent.as_ref().map_or(&nothing, |(_, blocks)| *blocks);
        let mut listed = BlockChecksums::new(volume_gib * BLOCKS_PER_GIB);
        let mut omitted = 0;
        for (range, ours, theirs) in Overlaps::new(self.blocks, parent) {
            let count = range.end - range.start;
            let zeros = match (ours, theirs) {
                (BlockState::Data, _) => {
                    for index in range.map(BlockIndex) {
                        let block = self.blocks.get(index).expect("a block in a run of data has a digest");
                        if parent.get(index).map(|parent| parent.digest) != Some(block.digest) {
                            listed.push_data(index, block.digest);
                        }
                    }
                    continue;
                }
                (BlockState::Unused, BlockState::Unused) => continue,
                (BlockState::Zero | BlockState::Unused, BlockState::Data) => true,
                (BlockState::Zero, BlockState::Zero) if !self.parent_omitted_zero => continue,
                (BlockState::Zero, _) => {
                    omitted += if self.omit_zero { count } else { 0 };
                    !self.omit_zero
                }
                (BlockState::Unused, BlockState::Zero) => !self.omit_zero,
            };
            if zeros {
                listed.push_zeros(BlockIndex(range.start), count);
            }
        }
        (listed, omitted)
    }
}

fn too_large(gib: u64) -> Error {
    Error::unsupported(format!("EBS volumes have at most {VOLUME_MAX_GIB} GiB, not {gib} (EBS direct API, StartSnapshot, VolumeSize)"))
}

/// Why leaving zeros out is unsafe.
fn omission_note(omitted: u64) -> String {
    format!(
        "{omitted} zero blocks are left out, which is unsafe where the snapshot is encrypted, and an account can encrypt every snapshot by default: \
         from an encrypted volume a block that was never written reads as random bytes, not as zeros, and filesystems trust these blocks to be zero \
         (inode tables, journal). Upload this plan only where `aws ec2 get-ebs-encryption-by-default` says false and volumes made from the snapshot stay unencrypted"
    )
}

impl EbsSnapshotPlan {
    /// The blocks to put, ascending, with their digests: data, and zeros.
    pub fn blocks(&self) -> impl Iterator<Item = BlockChecksum> + '_ {
        self.listed.iter()
    }

    /// The same as a block list over the volume, in which unused means not listed.
    #[must_use]
    pub fn listed(&self) -> &BlockChecksums {
        &self.listed
    }

    /// The request that puts `block`; the snapshot and the data are added to it.
    #[must_use]
    pub fn put_snapshot_block(&self, block: &BlockChecksum) -> PutSnapshotBlockRequest {
        PutSnapshotBlockRequest::new(block)
    }

    /// Holds the plan to the rules of the API, and its parts to each other.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        self.start_snapshot.check()?;
        self.complete_snapshot.check()?;
        let blocks = self.start_snapshot.volume_size * BLOCKS_PER_GIB;
        if self.listed.slice() != (BlockIndex(0)..BlockIndex(blocks)) {
            return Err(Error::invalid(format!("the volume has {blocks} blocks, and blocks {:?} are planned", self.listed.slice())));
        }
        let (count, linear) = (self.listed.data_blocks() + self.listed.zero_blocks(), self.listed.linear_checksum());
        if self.complete_snapshot.changed_blocks_count != count {
            return Err(Error::invalid(format!("{count} blocks are listed, but ChangedBlocksCount is {}", self.complete_snapshot.changed_blocks_count)));
        }
        if self.complete_snapshot.checksum != linear {
            return Err(Error::invalid(format!("the listed blocks have the LINEAR checksum {linear}, but CompleteSnapshot another one")));
        }
        Ok(())
    }
}
