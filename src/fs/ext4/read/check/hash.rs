//! The hashes of names by which directories are indexed, over signed and unsigned bytes.
//!
//! Specification: Linux, fs/ext4/hash.c.

use super::super::super::htree::transform;

/// The hash that stands for the end of a directory.
const END: u32 = 0xffff_fffe;

/// How an index hashes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash {
    kind: Kind,
    unsigned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Legacy,
    HalfMd4,
    Tea,
}

impl Hash {
    /// By the root's `hash_version`; `unsigned` is what the superblock says of all of them.
    pub(super) fn new(version: u8, unsigned: bool) -> Option<Self> {
        let kind = match version % 3 {
            _ if version > 5 => return None,
            0 => Kind::Legacy,
            1 => Kind::HalfMd4,
            _ => Kind::Tea,
        };
        Some(Self { kind, unsigned: unsigned || version >= 3 })
    }

    /// The hash of a name, its lowest bit clear.
    pub(super) fn of(self, name: &[u8], seed: &[u8; 16]) -> u32 {
        const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        let mut state = START;
        if *seed != [0; 16] {
            for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        let hash = match self.kind {
            Kind::Legacy => self.legacy(name),
            Kind::HalfMd4 => {
                let mut rest = name;
                while !rest.is_empty() {
                    transform(&mut state, &self.words::<8>(rest));
                    rest = rest.get(32..).unwrap_or(&[]);
                }
                state[1]
            }
            Kind::Tea => {
                let mut rest = name;
                while !rest.is_empty() {
                    tea(&mut state, self.words::<4>(rest));
                    rest = rest.get(16..).unwrap_or(&[]);
                }
                state[0]
            }
        };
        let hash = hash & !1;
        if hash == END { END - 2 } else { hash }
    }

    fn byte(self, byte: u8) -> u32 {
        if self.unsigned { u32::from(byte) } else { u32::from_le_bytes(i32::from(i8::from_le_bytes([byte])).to_le_bytes()) }
    }

    /// The first bytes of `name` as words, first byte highest, padded with the length.
    fn words<const N: usize>(self, name: &[u8]) -> [u32; N] {
        let [len, ..] = name.len().to_le_bytes();
        let mut words = [u32::from_le_bytes([len; 4]); N];
        for (word, bytes) in words.iter_mut().zip(name.chunks(4)) {
            for byte in bytes {
                *word = (*word << 8).wrapping_add(self.byte(*byte));
            }
        }
        words
    }

    /// `dx_hack_hash`.
    fn legacy(self, name: &[u8]) -> u32 {
        let (mut hash0, mut hash1) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for byte in name {
            let mut hash = hash1.wrapping_add(hash0 ^ self.byte(*byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (hash1, hash0) = (hash0, hash);
        }
        hash0 << 1
    }
}

/// The Tiny Encryption Algorithm over four words, 16 rounds.
fn tea(state: &mut [u32; 4], [a, b, c, d]: [u32; 4]) {
    let mut sum = 0_u32;
    let (mut b0, mut b1) = (state[0], state[1]);
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        b0 = b0.wrapping_add((b1 << 4).wrapping_add(a) ^ b1.wrapping_add(sum) ^ (b1 >> 5).wrapping_add(b));
        b1 = b1.wrapping_add((b0 << 4).wrapping_add(c) ^ b0.wrapping_add(sum) ^ (b0 >> 5).wrapping_add(d));
    }
    state[0] = state[0].wrapping_add(b0);
    state[1] = state[1].wrapping_add(b1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 16] = [0; 16];

    #[test]
    fn half_md4_is_the_writers() {
        let hash = Hash::new(1, false).unwrap();
        for name in [&b"a"[..], b"abcd", b"lost+found", &[b'n'; 255], b"\xff\xfe\x80", b"012345678901234567890123456789012"] {
            assert_eq!(hash.of(name, &SEED), super::super::super::super::htree::half_md4(name, &SEED));
        }
        assert_eq!(Hash::new(4, false).unwrap().of(b"abc", &SEED), hash.of(b"abc", &SEED));
        assert_ne!(Hash::new(4, false).unwrap().of(b"\xff", &SEED), hash.of(b"\xff", &SEED));
        assert_eq!((Hash::new(6, false), Hash::new(1, true)), (None, Hash::new(4, false)));
    }

    #[test]
    fn the_other_hashes_are_those_of_debugfs() {
        // `debugfs -R "dx_hash -h legacy|tea NAME"`, e2fsprogs 1.47.0.
        for (version, name, expected) in DEBUGFS {
            assert_eq!(Hash::new(*version, false).unwrap().of(name, &SEED), *expected, "{version} {name:?}");
        }
    }

    const DEBUGFS: &[(u8, &[u8], u32)] = &[
        (0, b"a", 0xe74b_53e2),
        (0, b"lost+found", 0x5e2a_ba24),
        (0, b"0123456789012345678901234567890123456789", 0x7c4f_f9ee),
        (0, b"\xff\xfe\x80", 0x999e_7bae),
        (2, b"a", 0x6d0e_a4c0),
        (2, b"lost+found", 0x2dbf_9e80),
        (2, b"0123456789012345678901234567890123456789", 0xcb53_9f50),
        (2, b"\xff\xfe\x80", 0x2b0a_d86a),
    ];
}
