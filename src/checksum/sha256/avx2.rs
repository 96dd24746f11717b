//! Eight messages at once with AVX2.

use super::fips::CHUNK;
use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

kernel!(__m256i, 8, "avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates to the right; AVX2 has no instruction for it. `LEFT` is `32 - RIGHT`.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    const { assert!(RIGHT + LEFT == 32) };
    _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn big_sigma0(x: __m256i) -> __m256i {
    xor3(rotate::<2, 30>(x), rotate::<13, 19>(x), rotate::<22, 10>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn big_sigma1(x: __m256i) -> __m256i {
    xor3(rotate::<6, 26>(x), rotate::<11, 21>(x), rotate::<25, 7>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn small_sigma0(x: __m256i) -> __m256i {
    xor3(rotate::<7, 25>(x), rotate::<18, 14>(x), _mm256_srli_epi32::<3>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn small_sigma1(x: __m256i) -> __m256i {
    xor3(rotate::<17, 15>(x), rotate::<19, 13>(x), _mm256_srli_epi32::<10>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
}

/// Word `t` of all chunks in vector `t`.
#[inline]
#[target_feature(enable = "avx2")]
fn load(chunks: &[&[u8; CHUNK]; 8]) -> [__m256i; 16] {
    let mut words = [splat(0); 16];
    for half in 0..2 {
        let rows = chunks.map(|chunk| {
            let half = chunk[32 * half..].first_chunk::<32>().expect("a chunk has two halves");
            // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
            unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
        });
        words[8 * half..8 * half + 8].copy_from_slice(&transpose(rows));
    }
    words
}

/// Turns words to native order and transposes the 8 × 8 matrix, first inside the 128-bit halves of the vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(mut rows: [__m256i; 8]) -> [__m256i; 8] {
    let big_endian = _mm256_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    for row in &mut rows {
        *row = _mm256_shuffle_epi8(*row, big_endian);
    }
    // Half q of halves[4i + j] is word 4q + j of chunks 4i to 4i + 3.
    let mut halves = rows;
    for i in 0..2 {
        let [a, b, c, d] = [rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]];
        let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        halves[4 * i] = _mm256_unpacklo_epi64(ab_low, cd_low);
        halves[4 * i + 1] = _mm256_unpackhi_epi64(ab_low, cd_low);
        halves[4 * i + 2] = _mm256_unpacklo_epi64(ab_high, cd_high);
        halves[4 * i + 3] = _mm256_unpackhi_epi64(ab_high, cd_high);
    }
    let mut words = rows;
    for j in 0..4 {
        words[j] = _mm256_permute2x128_si256::<0x20>(halves[j], halves[4 + j]);
        words[4 + j] = _mm256_permute2x128_si256::<0x31>(halves[j], halves[4 + j]);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m256i) -> [u32; 8] {
    let mut lanes = [0_u32; 8];
    // SAFETY: the array has the vector's 32 bytes, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

#[inline]
#[target_feature(enable = "avx2")]
fn prefetch(address: *const u8) {
    // SAFETY: a prefetch changes nothing that a program sees, whatever the address.
    #[allow(unused_unsafe, reason = "Rust 1.89, the oldest that the crate builds with, has it as unsafe")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(address.cast())
    };
}
