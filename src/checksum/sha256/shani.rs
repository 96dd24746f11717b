//! Four streams at once with the SHA extensions of x86-64 (Intel, "Software Developer's Manual", volume 2: SHA256RNDS2,
//! SHA256MSG1, SHA256MSG2).
//!
//! How many streams was **predicted, not measured**: llvm-mca 22 on the loop over the chunks, bytes a cycle of one core.
//!
//! | streams | 1 | 2 | 3 | 4 | 5 | 6 |
//! |---|---|---|---|---|---|---|
//! | Ice Lake (its model of these instructions is a guess) | 0.40 | 1.06 | 1.18 | 1.21 | 1.21 | 1.18 |
//! | Sapphire Rapids | 0.33 | 0.76 | 0.75 | 0.77 | 0.77 | 0.76 |
//! | Zen 3, Zen 4 | 0.50 | 0.56 | 0.57 | 0.57 | 0.57 | 0.56 |
//!
//! From two streams on the units are busy; four leave room for what the models do not know. Streams by four rounds each in
//! turn need 24 registers where there are 16, but a message schedule made first and kept in memory was slower in all models
//! (0.74, 0.68 and 0.55 with four streams): the spilled words are read early, and not waited for. The crate tape-sha256,
//! which does the same, measured 2.1 times the rate of sha2 on Zen 3 and Zen 4, 1.2 to 1.3 times on Intel.
use super::fips::{CHUNK, H, K};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
};

/// Streams side by side.
pub(super) const STREAMS: usize = 4;

streams!("sha,sse4.1,ssse3");

/// The working variables, as SHA256RNDS2 takes them; the first named is in the highest lane.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn vector(high: u32, b: u32, c: u32, low: u32) -> __m128i {
    _mm_set_epi32(high.cast_signed(), b.cast_signed(), c.cast_signed(), low.cast_signed())
}

/// Turns words to native order and back.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn swap_bytes(words: __m128i) -> __m128i {
    _mm_shuffle_epi8(words, vector(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203))
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn initial() -> State {
    let [a, b, c, d, e, f, g, h] = H;
    State { abef: vector(a, b, e, f), cdgh: vector(c, d, g, h) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn finish(state: State) -> [u8; 32] {
    // The lowest lane is the first word of the digest.
    let feba = _mm_shuffle_epi32::<0b00_01_10_11>(state.abef);
    let dchg = _mm_shuffle_epi32::<0b10_11_00_01>(state.cdgh);
    let dcba = _mm_blend_epi16::<0xf0>(feba, dchg);
    let hgfe = _mm_alignr_epi8::<8>(dchg, feba);
    let mut digest = [0; 32];
    for (half, words) in digest.as_chunks_mut::<16>().0.iter_mut().zip([dcba, hgfe]) {
        // SAFETY: the array has the vector's 16 bytes, and the store needs no alignment.
        unsafe { _mm_storeu_si128(half.as_mut_ptr().cast(), swap_bytes(words)) };
    }
    digest
}

/// Four rounds of every stream, for each literal; `$w` of a stream are the sixteen newest words of its message schedule, and
/// the literal is the number of the four that are used. The words that come next are made between, a half of their sum at a
/// time: SHA256MSG1 when its operands are at hand, SHA256MSG2 three fours later.
macro_rules! rounds {
    ($states:ident $w:ident $($four:literal)*) => {$(
        let k = vector(K[4 * $four + 3], K[4 * $four + 2], K[4 * $four + 1], K[4 * $four]);
        for (state, w) in $states.iter_mut().zip(&mut $w) {
            const OLDEST: usize = ($four + 1) % 4;
            const NEWEST: usize = $four % 4;
            const BEFORE: usize = ($four + 3) % 4;
            let sum = _mm_add_epi32(w[NEWEST], k);
            state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, sum);
            if 3 <= $four && $four < 15 {
                let seven_before = _mm_alignr_epi8::<4>(w[NEWEST], w[BEFORE]);
                w[OLDEST] = _mm_sha256msg2_epu32(_mm_add_epi32(w[OLDEST], seven_before), w[NEWEST]);
            }
            state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32::<0b11_10>(sum));
            if 1 <= $four && $four < 13 {
                w[BEFORE] = _mm_sha256msg1_epu32(w[BEFORE], w[NEWEST]);
            }
        }
    )*};
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress<const N: usize>(states: &mut [State; N], chunks: &[&[u8; CHUNK]; N]) {
    let before = *states;
    let mut w = [[before[0].abef; 4]; N];
    for (w, chunk) in w.iter_mut().zip(chunks) {
        for (words, bytes) in w.iter_mut().zip(chunk.as_chunks::<16>().0) {
            // SAFETY: the reference is to 16 bytes, and the load needs no alignment.
            *words = swap_bytes(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
        }
    }
    rounds!(states w 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (state, before) in states.iter_mut().zip(before) {
        state.abef = _mm_add_epi32(state.abef, before.abef);
        state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
    }
}
