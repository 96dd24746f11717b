//! SHA-256 (FIPS 180-4) of many messages of one length at once.
//!
//! One stream of SHA-256 waits for itself; blocks of a disk are independent. The interface takes a handful of them, so
//! that kernels which work on several at a time fit behind it.

use super::Digest;
use ::sha2::{Digest as _, Sha256};

/// The most messages that any kernel works on at once.
pub const MESSAGES_MAX: usize = 16;

/// How many messages a call should be given for the best rate.
#[must_use]
pub fn preferred_messages() -> usize {
    1
}

/// Writes the SHA-256 of `messages[i]` to `digests[i]`.
///
/// # Panics
/// If the messages are not of one length, or there are not as many digests as messages.
pub fn hash_blocks(messages: &[&[u8]], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "a digest a message");
    assert!(messages.windows(2).all(|pair| pair[0].len() == pair[1].len()), "messages of one length");
    for (message, digest) in messages.iter().zip(digests) {
        *digest = Sha256::digest(message).into();
    }
}
