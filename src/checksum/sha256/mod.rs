//! SHA-256 (FIPS 180-4) of many messages at once.
//!
//! One stream of SHA-256 waits for itself; blocks of a disk are independent. So several messages are worked on together, in
//! one of two ways: a message a vector lane, so that every instruction works on all of them; or, where the processor has
//! instructions for SHA-256, a few streams side by side, whose instructions fill each other's waits. The kernel is chosen at
//! run time:
//!
//! | processor | kernel |
//! |---|---|
//! | x86-64 with AVX-512 F and BW | 16 lanes |
//! | x86-64 with SHA extensions | 4 streams |
//! | x86-64 with AVX2 | 8 lanes |
//! | ARMv8 with SHA-256 instructions | 4 streams |
//! | any other | the crate sha2, message by message |
//!
//! Not the crate tape-sha256 0.2, which has like kernels: it gives one for the processor at hand, others (to be tested on a
//! processor that has several) only by unsafe functions, hashes what is left of four streams one by one, and is under
//! Apache-2.0 alone. isa-l_crypto is in C and assembly. `benches/hashes.sh` measures ours beside others.
//!
//! Every kernel is compared with sha2: in `tests.rs`, which runs on emulated processors too
//! (`tests/tools/other-processors.sh`), in `fuzz/fuzz_targets/sha256.rs`, and under Miri, in `tests/processors`:
//! `RUSTFLAGS="-C target-feature=+sha,+avx2,+avx512f,+avx512bw" cargo +nightly miri test --lib`.
//!
//! This folder is the only one with unsafe code: loads and stores of vectors, and calls of functions that need instructions
//! which were looked for.
#![allow(unsafe_code)]

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
mod fips;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod lanes;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
#[macro_use]
mod streams;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod armv8;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod shani;

use super::Digest;
use ::sha2::{Digest as _, Sha256};

/// The most messages that any kernel works on at once.
pub const MESSAGES_MAX: usize = 16;

/// A way to compute SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// The crate sha2, message by message; it uses SHA instructions where there are any.
    Portable,
    /// 8 messages at once with AVX2.
    Avx2,
    /// 4 messages side by side with the SHA extensions of x86-64.
    ShaNi,
    /// 16 messages at once with AVX-512 F and BW.
    Avx512,
    /// 4 messages side by side with the SHA-256 instructions of ARMv8.
    ArmV8,
}

impl Kernel {
    /// All kernels, also those of other processors; of two that a processor has, the later is the faster.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::ShaNi, Self::Avx512, Self::ArmV8];

    /// Whether this processor can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::ArmV8 => std::arch::is_aarch64_feature_detected!("sha2"),
            #[allow(unreachable_patterns, reason = "kernels of other processors")]
            _ => false,
        }
    }

    /// The one for this processor.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|kernel| kernel.is_available()).unwrap_or(Self::Portable)
    }

    /// Where only `count` messages are left for this kernel, the one that is faster for them.
    ///
    /// A pass of vector lanes takes the same time however few of them are in use (measured with 512 KiB and AVX-512: 3.0 ms
    /// for 2 messages, 3.1 ms for 8, 3.5 ms for 16; sha2 without SHA instructions: 2.8 ms for one, AVX2 3.6 ms for 2 to 8),
    /// that of streams is their number's. Four streams have half the rate of sixteen lanes at least, as others measured on
    /// processors with both (`BENCHMARKS.md` of the crate tape-sha256 0.2.2: 0.57 to 1.14 of it).
    fn for_few(self, count: usize) -> Self {
        let streams = Self::ShaNi;
        match self {
            Self::Avx512 if count <= self.lanes() / 2 && streams.is_available() => streams,
            Self::Avx512 | Self::Avx2 if count == 1 => Self::Portable,
            _ => self,
        }
    }

    /// Messages that it works on at once.
    #[must_use]
    pub const fn lanes(self) -> usize {
        match self {
            Self::Portable => 1,
            Self::ShaNi | Self::ArmV8 => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }
}

/// How many messages a call should be given for the best rate.
#[must_use]
pub fn preferred_messages() -> usize {
    Kernel::best().lanes()
}

/// Writes the SHA-256 of `messages[i]` to `digests[i]`, with the kernels for this processor.
///
/// # Panics
/// If the messages are not of one length, or there are not as many digests as messages.
pub fn hash_blocks(messages: &[&[u8]], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "a digest a message");
    let kernel = Kernel::best();
    let few = messages.len() % kernel.lanes();
    let (messages, last_messages) = messages.split_at(messages.len() - few);
    let (digests, last_digests) = digests.split_at_mut(messages.len());
    hash_blocks_with(kernel, messages, digests);
    hash_blocks_with(kernel.for_few(few), last_messages, last_digests);
}

/// [`hash_blocks`] with a kernel of one's choice; one that this processor lacks is replaced by the portable one.
///
/// # Panics
/// Those of [`hash_blocks`].
pub fn hash_blocks_with(kernel: Kernel, messages: &[&[u8]], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "a digest a message");
    assert!(messages.windows(2).all(|pair| pair[0].len() == pair[1].len()), "messages of one length");
    let kernel = if kernel.is_available() { kernel } else { Kernel::Portable };
    // Spread evenly: five messages for four streams are three and two, as a stream by itself is slow.
    let passes = messages.len().div_ceil(kernel.lanes());
    let in_a_pass = messages.len().div_ceil(passes.max(1)).max(1);
    for (messages, digests) in messages.chunks(in_a_pass).zip(digests.chunks_mut(in_a_pass)) {
        hash_pass(kernel, messages, digests);
    }
}

/// Writes the SHA-256 of `messages[i]`, of any lengths, to `digests[i]`. Messages of like lengths are worked on together; a pass
/// takes as long as its longest message.
///
/// # Panics
/// If there are not as many digests as messages.
pub fn hash_messages(messages: &[&[u8]], digests: &mut [Digest]) {
    hash_messages_with(Kernel::best(), messages, digests);
}

/// [`hash_messages`] with a kernel of one's choice; one that this processor lacks is replaced by the portable one.
///
/// # Panics
/// Those of [`hash_messages`].
pub fn hash_messages_with(kernel: Kernel, messages: &[&[u8]], digests: &mut [Digest]) {
    assert_eq!(messages.len(), digests.len(), "a digest a message");
    let kernel = if kernel.is_available() { kernel } else { Kernel::Portable };
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_unstable_by_key(|at| messages[*at].len());
    let mut some = [[0; 32]; MESSAGES_MAX];
    for pass in order.chunks(kernel.lanes()) {
        let mut together = [&[][..]; MESSAGES_MAX];
        for (message, at) in together.iter_mut().zip(pass) {
            *message = messages[*at];
        }
        let few = if pass.len() < kernel.lanes() { kernel.for_few(pass.len()) } else { kernel };
        for (messages, digests) in together[..pass.len()].chunks(few.lanes()).zip(some.chunks_mut(few.lanes())) {
            let count = messages.len();
            hash_pass(few, messages, &mut digests[..count]);
        }
        for (at, digest) in pass.iter().zip(&some) {
            digests[*at] = *digest;
        }
    }
}

fn hash_each(messages: &[&[u8]], digests: &mut [Digest]) {
    for (message, digest) in messages.iter().zip(digests) {
        *digest = Sha256::digest(message).into();
    }
}

/// One pass: at least one message, at most as many as the available `kernel` has lanes.
fn hash_pass(kernel: Kernel, messages: &[&[u8]], digests: &mut [Digest]) {
    assert!(kernel.is_available(), "the kernel was looked for");
    match kernel {
        // SAFETY: the processor has AVX2, asserted above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => unsafe { avx2::hash(messages, digests) },
        // SAFETY: the processor has the SHA extensions, SSE4.1 and SSSE3, asserted above.
        #[cfg(target_arch = "x86_64")]
        Kernel::ShaNi => unsafe { shani::hash(messages, digests) },
        // SAFETY: the processor has AVX-512 F and BW, asserted above.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => unsafe { avx512::hash(messages, digests) },
        // SAFETY: the processor has the SHA-256 instructions, asserted above.
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        Kernel::ArmV8 => unsafe { armv8::hash(messages, digests) },
        _ => hash_each(messages, digests),
    }
}

#[cfg(test)]
mod tests;
