//! What the kernels with SHA instructions share: a few streams side by side, a message a stream.

/// Defines `hash` of a kernel from its instructions. In scope have to be `STREAMS`, `State` with `initial()` and
/// `digest(State)`, and `compress` (FIPS 180-4, section 6.2.2: one chunk of every stream).
macro_rules! streams {
    ($features:literal) => {
        /// Hashes one message at least and [`STREAMS`] at most. As many streams run as there are messages.
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
            assert!(digests.len() == N, "a digest a message");

            // Plain loops: what closures hold does not become part of a function with `target_feature`.
            let mut states = [initial(); N];
            let wholes = messages.map(|message| message.len() / CHUNK);
            let tails = messages.map(|message| padded(&message[message.len() / CHUNK * CHUNK..], message.len()));
            let ends: [usize; N] = std::array::from_fn(|stream| wholes[stream] + tails[stream].1 / CHUNK);
            let mut chunks = [&[0; CHUNK]; N];
            let mut at = 0;
            // To the end of the shortest message that is left, and so on.
            while let Some(end) = ends.iter().copied().filter(|end| *end > at).min() {
                while at < end {
                    for (chunk, (message, ((tail, _), whole))) in chunks.iter_mut().zip(messages.iter().zip(tails.iter().zip(&wholes))) {
                        // Behind its end a stream hashes the end of its tail, which nobody looks at.
                        let rest = if at < *whole { &message[at * CHUNK..] } else { &tail[(at - whole).min(1) * CHUNK..] };
                        *chunk = rest.first_chunk().expect("the message or its tail has this chunk");
                    }
                    compress(&mut states, &chunks);
                    at += 1;
                }
                for ((digest, state), _) in digests.iter_mut().zip(states).zip(&ends).filter(|(_, stream_end)| **stream_end == end) {
                    *digest = finish(state);
                }
            }
        }
    };
}
