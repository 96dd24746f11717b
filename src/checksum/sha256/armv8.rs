//! Four streams at once with the SHA-256 instructions of ARMv8 ("Arm Architecture Reference Manual", C7.2: SHA256H, SHA256H2,
//! SHA256SU0, SHA256SU1).
//!
//! How many streams was **predicted, not measured**: llvm-mca 22 on the loop over the chunks, bytes a cycle of one core.
//!
//! | streams | 1 | 2 | 3 | 4 | 5 | 6 |
//! |---|---|---|---|---|---|---|
//! | Neoverse N1 | 0.65 | 1.12 | 1.12 | 1.13 | 0.94 | 0.72 |
//! | Neoverse V1 | 0.65 | 1.31 | 1.45 | 1.45 | 1.42 | 1.37 |
//! | Neoverse N2 | 0.65 | 1.12 | 1.12 | 1.13 | 1.06 | 1.00 |
//! | Neoverse V2 | 0.65 | 1.14 | 1.14 | 1.14 | 1.12 | 1.08 |
//! | Apple M1 | 0.49 | 0.98 | 1.13 | 1.13 | 1.13 | 1.13 |
//!
//! Four streams and what they need beside fill the 32 registers; more have to be spilled.
use super::fips::{CHUNK, H, K};
use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vld1q_u8, vld1q_u32, vreinterpretq_u8_u32, vreinterpretq_u32_u8, vrev32q_u8, vsha256h2q_u32, vsha256hq_u32, vsha256su0q_u32,
    vsha256su1q_u32, vst1q_u8,
};

/// Streams side by side.
pub(super) const STREAMS: usize = 4;

streams!("sha2");

/// The working variables; the first named is in the lowest lane.
#[derive(Clone, Copy)]
struct State {
    abcd: uint32x4_t,
    efgh: uint32x4_t,
}

#[inline]
#[target_feature(enable = "sha2")]
fn vector(words: &[u32; 4]) -> uint32x4_t {
    // SAFETY: the reference is to four words.
    unsafe { vld1q_u32(words.as_ptr()) }
}

#[inline]
#[target_feature(enable = "sha2")]
fn initial() -> State {
    let [a, b, c, d, e, f, g, h] = H;
    State { abcd: vector(&[a, b, c, d]), efgh: vector(&[e, f, g, h]) }
}

#[inline]
#[target_feature(enable = "sha2")]
fn finish(state: State) -> [u8; 32] {
    let mut digest = [0; 32];
    for (half, words) in digest.as_chunks_mut::<16>().0.iter_mut().zip([state.abcd, state.efgh]) {
        // SAFETY: the array has the vector's 16 bytes, and the store needs no alignment.
        unsafe { vst1q_u8(half.as_mut_ptr(), vrev32q_u8(vreinterpretq_u8_u32(words))) };
    }
    digest
}

/// Four rounds of every stream, for each literal; `$w` of a stream are the sixteen newest words of its message schedule, and
/// the literal is the number of the four that are used. Those that take their place are made as soon as they are read.
macro_rules! rounds {
    ($states:ident $w:ident $k:ident $($four:literal)*) => {$(
        let k = vector(&$k[$four]);
        for (state, w) in $states.iter_mut().zip(&mut $w) {
            const AT: usize = $four % 4;
            let sum = vaddq_u32(w[AT], k);
            if $four < 12 {
                w[AT] = vsha256su1q_u32(vsha256su0q_u32(w[AT], w[(AT + 1) % 4]), w[(AT + 2) % 4], w[(AT + 3) % 4]);
            }
            let abcd = state.abcd;
            state.abcd = vsha256hq_u32(abcd, state.efgh, sum);
            state.efgh = vsha256h2q_u32(state.efgh, abcd, sum);
        }
    )*};
}

#[inline]
#[target_feature(enable = "sha2")]
fn compress<const N: usize>(states: &mut [State; N], chunks: &[&[u8; CHUNK]; N]) {
    let before = *states;
    let mut w = [[before[0].abcd; 4]; N];
    for (w, chunk) in w.iter_mut().zip(chunks) {
        for (words, bytes) in w.iter_mut().zip(chunk.as_chunks::<16>().0) {
            // SAFETY: the reference is to 16 bytes.
            *words = vreinterpretq_u32_u8(vrev32q_u8(unsafe { vld1q_u8(bytes.as_ptr()) }));
        }
    }
    let (k, _) = K.as_chunks::<4>();
    rounds!(states w k 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (state, before) in states.iter_mut().zip(before) {
        state.abcd = vaddq_u32(state.abcd, before.abcd);
        state.efgh = vaddq_u32(state.efgh, before.efgh);
    }
}
