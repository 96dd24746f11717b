//! Sixteen messages at once with AVX-512 F (rotations, three-operand logic) and BW (byte shuffles).

use super::fips::CHUNK;
use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_set4_epi32, _mm512_shuffle_epi8,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

/// Truth tables for `vpternlogd`, bit `4a + 2b + c`.
const XOR3: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

kernel!(__m512i, 16, "avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_sigma0(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR3>(_mm512_ror_epi32::<2>(x), _mm512_ror_epi32::<13>(x), _mm512_ror_epi32::<22>(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn big_sigma1(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR3>(_mm512_ror_epi32::<6>(x), _mm512_ror_epi32::<11>(x), _mm512_ror_epi32::<25>(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn small_sigma0(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR3>(_mm512_ror_epi32::<7>(x), _mm512_ror_epi32::<18>(x), _mm512_srli_epi32::<3>(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn small_sigma1(x: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR3>(_mm512_ror_epi32::<17>(x), _mm512_ror_epi32::<19>(x), _mm512_srli_epi32::<10>(x))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<CHOOSE>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<MAJORITY>(x, y, z)
}

/// Word `t` of all chunks in vector `t`: the words are turned to native order and the 16 × 16 matrix transposed, first
/// inside the 128-bit quarters of the vectors, then the quarters themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(chunks: &[&[u8; CHUNK]; 16]) -> [__m512i; 16] {
    let big_endian = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [big_endian; 16];
    for (row, chunk) in rows.iter_mut().zip(chunks) {
        // SAFETY: the reference is to 64 bytes, and the load needs no alignment.
        let bytes = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
        *row = _mm512_shuffle_epi8(bytes, big_endian);
    }
    // Quarter q of quarters[4i + j] is word 4q + j of chunks 4i to 4i + 3.
    let mut quarters = rows;
    for i in 0..4 {
        let [a, b, c, d] = [rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]];
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        quarters[4 * i] = _mm512_unpacklo_epi64(ab_low, cd_low);
        quarters[4 * i + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        quarters[4 * i + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        quarters[4 * i + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    let mut words = rows;
    for j in 0..4 {
        let [a, b, c, d] = [quarters[j], quarters[4 + j], quarters[8 + j], quarters[12 + j]];
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        words[j] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(vector: __m512i) -> [u32; 16] {
    let mut lanes = [0_u32; 16];
    // SAFETY: the array has the vector's 64 bytes, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn prefetch(address: *const u8) {
    // SAFETY: a prefetch changes nothing that a program sees, whatever the address.
    #[allow(unused_unsafe, reason = "Rust 1.89, the oldest that the crate builds with, has it as unsafe")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(address.cast())
    };
}
