//! What the vector kernels share: FIPS 180-4, sections 4.1.2 and 6.2.2, a message a lane.

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
            let (groups, _) = crate::checksum::sha256::fips::K.as_chunks::<16>();
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
            use crate::checksum::sha256::fips::{CHUNK, H, padded};
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
