//! Damaged images: whenever e2fsck finds something to mend, so does the check, and the other way round, but for what [`THEIRS`] and
//! [`OURS`] say.

use crate::common::judge;
use crate::damage::{Numbers, read_bytes, sample};
use std::fs;
use tempfile::NamedTempFile;

/// Forms of small images.
const FORMS: &[&str] = &[
    "-t ext4 -b 1024 -N 640 -J size=1",
    "-t ext2 -b 1024 -N 640",
    "-t ext3 -b 1024 -N 640 -J size=1",
    "-t ext4 -O ^metadata_csum,^has_journal -b 4096 -N 640",
];

/// What e2fsck alone finds: the check has no clock, and features that it does not know, but may read past, are notes.
const THEIRS: &[&str] = &["is in the future", "unsupported feature"];

/// What the check alone finds: e2fsck 1.47 meets equal names only where it builds an index, follows the list of deleted inodes only where it
/// may write, takes the superblock's totals from the groups without a word, and looks at no copies.
const OURS: &[&str] = &["has this name twice", "list of deleted inodes", "the superblock says", "'s copy in block group", "the copy of block group"];

/// Images of each form.
fn count() -> usize {
    std::env::var("EXT4_READ_DAMAGED").ok().and_then(|count| count.parse().ok()).unwrap_or(60)
}

/// What e2fsck says: `None` if it is sound.
fn e2fsck(bytes: &[u8]) -> Option<Option<String>> {
    let mut command = judge("e2fsck")?;
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let output = command.args(["-f", "-n"]).arg(file.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // A wrong checksum of a descriptor is offered to be mended, and no error in the end.
    Some((!output.status.success() || text.contains("? no")).then_some(text))
}

fn own(bytes: &[u8]) -> Option<String> {
    match read_bytes(bytes) {
        Ok(None) => Some("no filesystem".to_owned()),
        Ok(Some(read)) if read.is_sound() => None,
        Ok(Some(read)) => Some(read.damage.iter().chain(&read.findings).map(|error| format!("{error}\n")).collect()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn what_e2fsck_finds_the_check_finds() {
    let (mut both, mut neither, mut ours, mut theirs) = (0, 0, Vec::new(), Vec::new());
    for (form, seed) in FORMS.iter().zip(77..) {
        let Some(image) = sample(form, "4M") else { return };
        assert_eq!((own(&image), e2fsck(&image)), (None, Some(None)), "{form}");
        let mut numbers = Numbers(seed);
        let mut done = 0;
        while done < count() {
            // The superblock, descriptors, and bytes that are not zero, or near such, in the first part of the image, where metadata lie.
            let block_bytes = 1024 << image[1024 + 0x18];
            let at = match numbers.below(8) {
                0 => 1024 + numbers.below(0x180),
                1 => (2048.max(block_bytes)) + numbers.below(32),
                _ => 1024 + numbers.below(image.len() / 2),
            };
            if image[at.saturating_sub(16)..(at + 16).min(image.len())].iter().all(|byte| *byte == 0) {
                continue;
            }
            done += 1;
            let mut changed = image.clone();
            match numbers.below(3) {
                0 => changed[at] = numbers.below(256).to_le_bytes()[0],
                _ => changed[at] ^= 1 << numbers.below(8),
            }
            let Some(judged) = e2fsck(&changed) else { return };
            match (own(&changed), judged) {
                (Some(_), Some(_)) => both += 1,
                (None, None) => neither += 1,
                (Some(own), None) if OURS.iter().any(|known| own.contains(known)) => {}
                (None, Some(text)) if THEIRS.iter().any(|known| text.contains(known)) => {}
                (Some(own), None) => ours.push(format!("{form}, byte {at}: {own}")),
                (None, Some(text)) => theirs.push(format!("{form}, byte {at}: {text}")),
            }
        }
    }
    println!("both {both}, neither {neither}, ours {}, theirs {}", ours.len(), theirs.len());
    for one in &ours {
        println!("OURS {one}");
    }
    for one in &theirs {
        println!("THEIRS {one}");
    }
    assert!(theirs.is_empty() && ours.is_empty(), "only one of the two found these");
}
