//! What the vector kernels share: FIPS 180-4, sections 4.1.2 and 6.2.2, a message a lane.

/// One of the 64 rounds; the working variables are renamed instead of moved.
macro_rules! round {
    ($w:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident] $t:literal, $k:expr) => {
        let t1 = add(add($h, add(splat($k[$t]), $w[$t])), add(big_sigma1($e), choose($e, $f, $g)));
        $d = add($d, t1);
        $h = add(t1, add(big_sigma0($a), majority($a, $b, $c)));
    };
}

/// A round, and the word of the message schedule that takes the place of the one that it used. Done between the rounds, as
/// both wait for different units of the processor.
macro_rules! round_and_word {
    ($w:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident] $t:literal, $k:expr) => {
        round!($w [$a $b $c $d $e $f $g $h] $t, $k);
        $w[$t] = add(add($w[$t], small_sigma0($w[($t + 1) % 16])), add($w[($t + 9) % 16], small_sigma1($w[($t + 14) % 16])));
    };
}

/// Sixteen rounds of one of these kinds.
macro_rules! sixteen {
    ($round:ident $w:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident] $k:expr) => {
        $round!($w [$a $b $c $d $e $f $g $h] 0, $k);
        $round!($w [$h $a $b $c $d $e $f $g] 1, $k);
        $round!($w [$g $h $a $b $c $d $e $f] 2, $k);
        $round!($w [$f $g $h $a $b $c $d $e] 3, $k);
        $round!($w [$e $f $g $h $a $b $c $d] 4, $k);
        $round!($w [$d $e $f $g $h $a $b $c] 5, $k);
        $round!($w [$c $d $e $f $g $h $a $b] 6, $k);
        $round!($w [$b $c $d $e $f $g $h $a] 7, $k);
        $round!($w [$a $b $c $d $e $f $g $h] 8, $k);
        $round!($w [$h $a $b $c $d $e $f $g] 9, $k);
        $round!($w [$g $h $a $b $c $d $e $f] 10, $k);
        $round!($w [$f $g $h $a $b $c $d $e] 11, $k);
        $round!($w [$e $f $g $h $a $b $c $d] 12, $k);
        $round!($w [$d $e $f $g $h $a $b $c] 13, $k);
        $round!($w [$c $d $e $f $g $h $a $b] 14, $k);
        $round!($w [$b $c $d $e $f $g $h $a] 15, $k);
    };
}

/// How many chunks ahead of the one that is worked on memory is asked for. A step takes long enough for it to come, but the
/// processor looks only a tenth of a step ahead, and its own prefetching loses its way among so many streams.
pub(super) const AHEAD: usize = 2;

/// Defines `compress` (section 6.2.2) and `hash` of a kernel from its vector type, its lanes and its instructions. In
/// scope have to be the functions of section 4.1.2 on vectors, `add`, `splat`, `load` (the transposed words of one chunk of
/// every message), `store` (the lanes of a vector) and `prefetch` (of the cache line at an address).
macro_rules! kernel {
    ($vector:ty, $lanes:literal, $features:literal) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn compress(state: &mut [$vector; 8], mut w: [$vector; 16]) {
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            let ([first @ .., last], _) = crate::checksum::sha256::fips::K.as_chunks::<16>() else { unreachable!("64 constants") };
            for k in first {
                sixteen!(round_and_word w [a b c d e f g h] k);
            }
            sixteen!(round w [a b c d e f g h] last);
            for (state, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                *state = add(*state, word);
            }
        }

        /// Hashes one message at least, and as many as there are lanes at most. It takes as long as the longest of them.
        #[target_feature(enable = $features)]
        pub(super) fn hash(messages: &[&[u8]], digests: &mut [crate::checksum::Digest]) {
            use crate::checksum::sha256::{
                fips::{CHUNK, H, padded},
                lanes::AHEAD,
            };
            assert!((1..=$lanes).contains(&messages.len()) && messages.len() == digests.len(), "messages fit the lanes");
            // Lanes without a message hash the first one again.
            let mut all = [messages[0]; $lanes];
            all[..messages.len()].copy_from_slice(messages);

            // Plain loops: closures do not take part in `target_feature`, and calls a chunk would cost a tenth of the time.
            let mut state = [splat(0); 8];
            for (state, word) in state.iter_mut().zip(H) {
                *state = splat(word);
            }
            let wholes = all.map(|message| message.len() / CHUNK);
            let tails = all.map(|message| padded(&message[message.len() / CHUNK * CHUNK..], message.len()));
            let ends: [usize; $lanes] = std::array::from_fn(|lane| wholes[lane] + tails[lane].1 / CHUNK);
            let mut chunks = [&[0; CHUNK]; $lanes];
            let mut at = 0;
            // To the end of the shortest message that is left, and so on.
            while let Some(end) = ends.iter().copied().filter(|end| *end > at).min() {
                while at < end {
                    for (chunk, (message, ((tail, _), whole))) in chunks.iter_mut().zip(all.iter().zip(tails.iter().zip(&wholes))) {
                        // Behind its end a lane hashes the end of its tail, which nobody looks at.
                        let rest = if at < *whole { &message[at * CHUNK..] } else { &tail[(at - whole).min(1) * CHUNK..] };
                        *chunk = rest.first_chunk().expect("the message or its tail has this chunk");
                        prefetch(message.as_ptr().wrapping_add((at + AHEAD) * CHUNK));
                    }
                    compress(&mut state, load(&chunks));
                    at += 1;
                }
                for (word, lanes) in state.map(|word| store(word)).iter().enumerate() {
                    for ((digest, value), _) in digests.iter_mut().zip(lanes).zip(&ends).filter(|(_, lane_end)| **lane_end == end) {
                        digest[word * 4..word * 4 + 4].copy_from_slice(&value.to_be_bytes());
                    }
                }
            }
        }
    };
}
