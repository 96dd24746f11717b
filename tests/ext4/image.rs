//! Making a filesystem into a file, and asking e2fsprogs about it.

use crate::common::judge;
use crate::sample::Sample;
use rootvol::fs::ext4::{Ext4Layout, Options, SizeRequest, plan};
use rootvol::layout::{Layout, SegmentSource, assert_well_formed, fill, segments};
use rootvol::tree::Timestamp;
use rootvol::{ErrorKind, Guid};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

pub(crate) const EPOCH: i64 = 1_700_000_000;
const CHUNK: u64 = 1 << 20;

pub(crate) fn options(size: SizeRequest) -> Options {
    let mut options = Options::new(Guid::from_name("uuid"), Guid::from_name("hash"), Timestamp::from_seconds(EPOCH));
    options.size = size;
    options.label = b"rootvol-test".to_vec();
    options
}

/// A filesystem in a file.
pub(crate) struct Image {
    pub(crate) layout: Ext4Layout,
    pub(crate) file: NamedTempFile,
}

impl Image {
    /// Plans and writes; unused bytes hold noise, so that whoever trusts them to be zero is found out.
    pub(crate) fn make(sample: &Sample, options: &Options) -> Self {
        Self::try_make(sample, options, true).unwrap()
    }

    /// Writes only segments: for filesystems too large to fill.
    pub(crate) fn make_sparse(sample: &Sample, options: &Options) -> Self {
        Self::try_make(sample, options, false).unwrap()
    }

    /// Writes metadata alone: e2fsck reads nothing else.
    pub(crate) fn make_metadata(sample: &Sample, options: &Options) -> Self {
        let layout = plan(Arc::clone(&sample.tree), options).unwrap();
        assert_well_formed(&layout);
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(layout.size_bytes()).unwrap();
        write_segments(&layout, sample, file.as_file(), |source| source == SegmentSource::Metadata);
        Self { layout, file }
    }

    pub(crate) fn try_make(sample: &Sample, options: &Options, noise: bool) -> rootvol::Result<Self> {
        let layout = plan(Arc::clone(&sample.tree), options)?;
        assert_well_formed(&layout);
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(layout.size_bytes()).unwrap();
        if noise {
            write_all(&layout, sample, file.as_file());
        } else {
            write_segments(&layout, sample, file.as_file(), |source| source != SegmentSource::Zeros);
        }
        Ok(Self { layout, file })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// e2fsck finds nothing to mend.
    pub(crate) fn check(&self) {
        e2fsck(self.path());
    }

    pub(crate) fn debugfs(&self, request: &str) -> Option<String> {
        let output = judge("debugfs")?.arg("-R").arg(request).arg(self.path()).output().unwrap();
        assert!(output.status.success());
        Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }

    /// What the superblock says, as dumpe2fs reads it, is what the summary says.
    pub(crate) fn agrees_with_dumpe2fs(&self) {
        let Some(fields) = self.dumpe2fs() else { return };
        let number = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.parse::<u64>().unwrap();
        let summary = self.layout.summary();
        let block_bytes = u64::from(summary.block_bytes);
        let expected = (summary.size_bytes, summary.free_bytes, summary.inodes.unwrap(), summary.free_inodes.unwrap());
        let found = (number("Block count") * block_bytes, number("Free blocks") * block_bytes, number("Inode count"), number("Free inodes"));
        assert_eq!(found, expected);
    }

    /// dumpe2fs -h as (name, value) lines.
    pub(crate) fn dumpe2fs(&self) -> Option<Vec<(String, String)>> {
        dumpe2fs(self.path())
    }
}

pub(crate) fn dumpe2fs(path: &Path) -> Option<Vec<(String, String)>> {
    let output = judge("dumpe2fs")?.arg("-h").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

pub(crate) fn e2fsck(path: &Path) {
    let Some(mut command) = judge("e2fsck") else { return };
    let output = command.args(["-f", "-n"]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("ix? no") && !text.contains("QUOTA WARNING"), "e2fsck: {text}");
}

fn noise(at: u64, out: &mut [u8]) {
    for (byte, at) in out.iter_mut().zip(at..) {
        *byte = u8::try_from((at ^ (at >> 8) ^ (at >> 16)).wrapping_mul(0x9e37_79b9) >> 24 & 0xff).unwrap() | 1;
    }
}

fn write_all(layout: &Ext4Layout, sample: &Sample, file: &File) {
    let mut at = 0;
    while at < layout.size_bytes() {
        let end = (at + CHUNK).min(layout.size_bytes());
        let mut chunk = vec![0; usize::try_from(end - at).unwrap()];
        fill(layout, &*sample.contents, at, &mut chunk).unwrap();
        let mut used = at;
        for segment in segments(layout, at..end) {
            noise(used, &mut chunk[usize::try_from(used - at).unwrap()..usize::try_from(segment.range.start - at).unwrap()]);
            used = segment.range.end;
        }
        noise(used, &mut chunk[usize::try_from(used - at).unwrap()..]);
        file.write_all_at(&chunk, at).unwrap();
        at = end;
    }
}

fn write_segments(layout: &Ext4Layout, sample: &Sample, file: &File, wanted: impl Fn(SegmentSource) -> bool) {
    let mut chunk = vec![0; usize::try_from(CHUNK).unwrap()];
    for segment in segments(layout, 0..layout.size_bytes()).filter(|segment| wanted(segment.source)) {
        let mut at = segment.range.start;
        while at < segment.range.end {
            let end = (at + CHUNK).min(segment.range.end);
            let part = &mut chunk[..usize::try_from(end - at).unwrap()];
            fill(layout, &*sample.contents, at, part).unwrap();
            file.write_all_at(part, at).unwrap();
            at = end;
        }
    }
}

/// The error of planning.
pub(crate) fn refusal(sample: &Sample, options: &Options) -> (ErrorKind, String) {
    let error = plan(Arc::clone(&sample.tree), options).expect_err("it was planned");
    (error.kind(), error.to_string())
}
