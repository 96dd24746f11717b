//! Messages of one length through every kernel of SHA-256 that this processor has.
//!
//! Invariants:
//! - No panic; the digests that sha2 gives, and nothing written elsewhere.
//! - The order of messages is kept, whatever their number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::checksum::sha256::{Kernel, hash_blocks, hash_blocks_with};
use sha2::{Digest as _, Sha256};

type Digest = [u8; 32];

fuzz_target!(|data: &[u8]| {
    let [count, step, offset, bytes @ ..] = data else { return };
    let count = usize::from(*count) % 40;
    // Messages overlap where there are few bytes, so that a short input is many long messages too.
    let step = usize::from(*step);
    let Some(len) = bytes.len().checked_sub(step * count.saturating_sub(1)) else { return };
    // A beginning that no vector is aligned to.
    let copy: Vec<u8> = [&[0; 64][..usize::from(*offset) % 64], bytes].concat();
    let bytes = &copy[usize::from(*offset) % 64..];
    let messages: Vec<&[u8]> = (0..count).map(|number| &bytes[number * step..number * step + len]).collect();
    let expected: Vec<Digest> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
    let mut digests = vec![[0xee; 32]; count];
    hash_blocks(&messages, &mut digests);
    assert_eq!(digests, expected, "chosen");
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_available()) {
        digests.fill([0xee; 32]);
        hash_blocks_with(kernel, &messages, &mut digests);
        assert_eq!(digests, expected, "{kernel:?}");
    }
});
