//! What the kernels with SHA instructions share: a few streams side by side, a message a stream.

/// Defines `hash` of a kernel from its instructions. In scope have to be `STREAMS`, `State` with `initial()` and
/// `digest(State)`, and `compress` (FIPS 180-4, section 6.2.2: one chunk of every stream).
macro_rules! streams {
    ($features:literal) => {
        /// Hashes one message at least and [`STREAMS`] at most, all of one length. As many streams run as there are messages.
        #[target_feature(enable = $features)]
        pub(super) fn hash(messages: &[&[u8]], digests: &mut [crate::checksum::Digest]) {
            match messages.len() {
                1 => hash_streams::<1>(messages, digests),
                2 => hash_streams::<2>(messages, digests),
                3 => hash_streams::<3>(messages, digests),
                _ => hash_streams::<STREAMS>(messages, digests),
            }
        }

        #[target_feature(enable = $features)]
        fn hash_streams<const N: usize>(messages: &[&[u8]], digests: &mut [crate::checksum::Digest]) {
            use crate::checksum::sha256::fips::{CHUNK, padded};
            let messages: [&[u8]; N] = messages.try_into().expect("a message a stream");
            let len = messages[0].len();
            assert!(messages.iter().all(|message| message.len() == len), "messages of one length");
            assert!(digests.len() == N, "a digest a message");

            // Plain loops: what closures hold does not become part of a function with `target_feature`.
            let mut states = [initial(); N];
            let mut chunks = [&[0; CHUNK]; N];
            for at in 0..len / CHUNK {
                for (chunk, message) in chunks.iter_mut().zip(&messages) {
                    *chunk = message[at * CHUNK..].first_chunk().expect("the message has this chunk");
                }
                compress(&mut states, &chunks);
            }
            let tails = messages.map(|message| padded(&message[len / CHUNK * CHUNK..], len));
            for at in (0..tails[0].1).step_by(CHUNK) {
                let mut chunks = [&[0; CHUNK]; N];
                for (chunk, (tail, _)) in chunks.iter_mut().zip(&tails) {
                    *chunk = tail[at..].first_chunk().expect("a tail has two chunks");
                }
                compress(&mut states, &chunks);
            }
            for (digest, state) in digests.iter_mut().zip(states) {
                *digest = finish(state);
            }
        }
    };
}
