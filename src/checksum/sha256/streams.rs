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
            let whole = len / CHUNK;
            let tails = messages.map(|message| padded(&message[whole * CHUNK..], len));
            let mut chunks = [&[0; CHUNK]; N];
            for at in 0..whole + tails[0].1 / CHUNK {
                for (chunk, (message, (tail, _))) in chunks.iter_mut().zip(messages.iter().zip(&tails)) {
                    let rest = if at < whole { &message[at * CHUNK..] } else { &tail[(at - whole) * CHUNK..] };
                    *chunk = rest.first_chunk().expect("the message or its tail has this chunk");
                }
                compress(&mut states, &chunks);
            }
            for (digest, state) in digests.iter_mut().zip(states) {
                *digest = finish(state);
            }
        }
    };
}
