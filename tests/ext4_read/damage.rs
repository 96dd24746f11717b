//! Images that are cut off or changed: no panic, no endless work, and what is wrong is named.

use crate::made::{mke2fs, populate};
use crate::reading::checking;
use rootvol::content::ReadAt;
use rootvol::fs::{ReadFilesystem, ext4};
use rootvol::tree::NodeKind;
use rootvol::{ErrorKind, Result};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) fn read_bytes(bytes: &[u8]) -> Result<Option<ReadFilesystem>> {
    let disk: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
    let begun = Instant::now();
    let read = ext4::read(&disk, &checking());
    if let Ok(Some(read)) = &read {
        crate::reading::assert_places(read);
        // Contents can be read or are refused; nothing else.
        for (_, node) in read.tree.nodes() {
            if let NodeKind::File(file) = node.kind {
                let mut out = vec![0; usize::try_from(file.length.min(10_000)).unwrap()];
                let _ = read.contents.read_exact_at(file.content, file.length - u64::try_from(out.len()).unwrap(), &mut out);
            }
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    read
}

/// A small image of this form.
pub(crate) fn sample(form: &str, size: &str) -> Option<Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let (source, image) = (folder.path().join("source"), folder.path().join("image"));
    populate(&source);
    fs::remove_file(source.join("big")).unwrap();
    fs::remove_file(source.join("folder/deep/big too")).unwrap();
    mke2fs(form, Some(&source), &image, size)?;
    Some(fs::read(&image).unwrap())
}

/// Numbers that look random and are the same every time (Knuth's MMIX).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

const FORMS: &[&str] = &["-t ext4 -b 1024 -N 1024 -J size=1", "-t ext2 -b 1024 -N 1024", "-t ext4 -O ^metadata_csum,inline_data,^has_journal -b 4096 -N 1024"];

#[test]
fn an_image_that_is_cut_off_says_what_is_needed() {
    for form in FORMS {
        let Some(image) = sample(form, "6M") else { return };
        let len = image.len();
        for cut in [0, 1, 511, 512, 513, 1024, 2047, 2048, 4096, len / 4, len / 2, len - 512, len - 1] {
            match read_bytes(&image[..cut]) {
                Ok(None) => assert!(cut < 2048, "{cut}"),
                Ok(Some(_)) => panic!("{form}: {cut} of {len} bytes were read"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TooSmall { needed: u64::try_from(len).unwrap(), available: u64::try_from(cut).unwrap() }, "{error}")
                }
            }
        }
    }
}

#[test]
fn changed_bytes_never_panic_or_take_long() {
    for (form, seed) in FORMS.iter().zip(1..) {
        let Some(image) = sample(form, "6M") else { return };
        assert!(read_bytes(&image).unwrap().unwrap().is_sound());
        let used = image.iter().rposition(|byte| *byte != 0).unwrap();
        let mut numbers = Numbers(seed);
        for _ in 0..67 {
            let mut changed = image.clone();
            for _ in 0..1 + numbers.below(8) {
                let at = numbers.below(used);
                changed[at] = numbers.below(256).to_le_bytes()[0];
            }
            let _ = read_bytes(&changed);
        }
        // Only what is metadata, for that is where it hurts: every word of the superblock, then bytes of what is not zero.
        for at in (1024..1024 + 0x280).step_by(4).filter(|at| seed == 2 || at % 16 == 0) {
            for value in [0_u32, 1, !0] {
                let mut changed = image.clone();
                changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let _ = read_bytes(&changed);
            }
        }
    }
}

#[test]
fn claims_of_a_small_image_cost_nothing() {
    let Some(mut image) = sample("-t ext2 -b 1024 -N 1024", "6M") else { return };
    // 2^32 - 1 inodes, 2^32 - 1 blocks.
    image[1024..1032].fill(0xff);
    let begun = Instant::now();
    assert!(read_bytes(&image).is_err());
    assert!(begun.elapsed() < Duration::from_millis(500));
}
