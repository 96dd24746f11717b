//! What the vector kernels share: FIPS 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3 and 6.2.2, a message a lane.

/// Section 4.2.2.
pub(super) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5, //
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174, //
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da, //
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967, //
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85, //
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070, //
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3, //
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Section 5.3.3.
pub(super) const H: [u32; 8] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes in a block of SHA-256.
pub(super) const CHUNK: usize = 64;

/// The last one or two chunks of a message of `len` bytes: what is left over in `rest`, and the padding (section 5.1.1).
pub(super) fn padded(rest: &[u8], len: usize) -> ([u8; 2 * CHUNK], usize) {
    let mut tail = [0; 2 * CHUNK];
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let end = if rest.len() < CHUNK - 8 { CHUNK } else { 2 * CHUNK };
    tail[end - 8..end].copy_from_slice(&(crate::units::u64_of(len) * 8).to_be_bytes());
    (tail, end)
}

/// One of the 64 rounds; the working variables are renamed instead of moved.
macro_rules! round {
    ($w:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident] $t:literal, $k:expr) => {
        let t1 = add(add($h, add(splat($k[$t]), $w[$t])), add(big_sigma1($e), choose($e, $f, $g)));
        $d = add($d, t1);
        $h = add(t1, add(big_sigma0($a), majority($a, $b, $c)));
    };
}

/// Sixteen rounds.
macro_rules! rounds {
    ($w:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident] $k:expr) => {
        round!($w [$a $b $c $d $e $f $g $h] 0, $k);
        round!($w [$h $a $b $c $d $e $f $g] 1, $k);
        round!($w [$g $h $a $b $c $d $e $f] 2, $k);
        round!($w [$f $g $h $a $b $c $d $e] 3, $k);
        round!($w [$e $f $g $h $a $b $c $d] 4, $k);
        round!($w [$d $e $f $g $h $a $b $c] 5, $k);
        round!($w [$c $d $e $f $g $h $a $b] 6, $k);
        round!($w [$b $c $d $e $f $g $h $a] 7, $k);
        round!($w [$a $b $c $d $e $f $g $h] 8, $k);
        round!($w [$h $a $b $c $d $e $f $g] 9, $k);
        round!($w [$g $h $a $b $c $d $e $f] 10, $k);
        round!($w [$f $g $h $a $b $c $d $e] 11, $k);
        round!($w [$e $f $g $h $a $b $c $d] 12, $k);
        round!($w [$d $e $f $g $h $a $b $c] 13, $k);
        round!($w [$c $d $e $f $g $h $a $b] 14, $k);
        round!($w [$b $c $d $e $f $g $h $a] 15, $k);
    };
}

/// The next sixteen words of the message schedule, in place of those before.
macro_rules! schedule {
    ($w:ident $($t:literal)*) => {
        $($w[$t] = add(add($w[$t], small_sigma0($w[($t + 1) % 16])), add($w[($t + 9) % 16], small_sigma1($w[($t + 14) % 16])));)*
    };
}

/// Defines `compress` (section 6.2.2) and `hash` of a kernel from its vector type, its lanes and its instructions. In
/// scope have to be the functions of section 4.1.2 on vectors, `add`, `splat`, `load` (the transposed words of one chunk of
/// every message) and `store` (the lanes of a vector).
macro_rules! kernel {
    ($vector:ty, $lanes:literal, $features:literal) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn compress(state: &mut [$vector; 8], mut w: [$vector; 16]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            let (groups, _) = crate::checksum::sha256::lanes::K.as_chunks::<16>();
            rounds!(w [a b c d e f g h] groups[0]);
            for k in &groups[1..] {
                schedule!(w 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
                rounds!(w [a b c d e f g h] k);
            }
            for (state, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                *state = add(*state, word);
            }
        }

        /// Hashes one message at least, and as many as there are lanes at most, all of one length.
        #[target_feature(enable = $features)]
        pub(super) fn hash(messages: &[&[u8]], digests: &mut [crate::checksum::Digest]) {
            use crate::checksum::sha256::lanes::{CHUNK, H, padded};
            assert!((1..=$lanes).contains(&messages.len()) && messages.len() == digests.len(), "messages fit the lanes");
            let len = messages[0].len();
            assert!(messages.iter().all(|message| message.len() == len), "messages of one length");
            // Lanes without a message hash the first one again.
            let mut all = [messages[0]; $lanes];
            all[..messages.len()].copy_from_slice(messages);

            // Plain loops: closures do not take part in `target_feature`, and calls a chunk would cost a tenth of the time.
            let mut state = [splat(0); 8];
            for (state, word) in state.iter_mut().zip(H) {
                *state = splat(word);
            }
            let mut chunks = [messages[0].first_chunk::<CHUNK>().unwrap_or(&[0; CHUNK]); $lanes];
            for at in 0..len / CHUNK {
                for (chunk, message) in chunks.iter_mut().zip(&all) {
                    *chunk = message[at * CHUNK..].first_chunk::<CHUNK>().expect("the message has this chunk");
                }
                compress(&mut state, load(&chunks));
            }
            let tails = all.map(|message| padded(&message[len / CHUNK * CHUNK..], len));
            for at in (0..tails[0].1).step_by(CHUNK) {
                let mut chunks = [tails[0].0.first_chunk::<CHUNK>().expect("a tail has two chunks"); $lanes];
                for (chunk, (tail, _)) in chunks.iter_mut().zip(&tails) {
                    *chunk = tail[at..].first_chunk().expect("a tail has two chunks");
                }
                compress(&mut state, load(&chunks));
            }
            for (word, lanes) in state.map(|word| store(word)).iter().enumerate() {
                for (digest, value) in digests.iter_mut().zip(lanes) {
                    digest[word * 4..word * 4 + 4].copy_from_slice(&value.to_be_bytes());
                }
            }
        }
    };
}
