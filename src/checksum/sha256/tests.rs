use super::*;
use crate::units::{BLOCK_LEN, u64_of};

/// Kernels that can be tested here.
fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| kernel.is_available())
}

/// `tests/tools/other-processors.sh` reads these lines.
#[test]
fn kernels_that_are_not_tested_are_said() {
    for kernel in Kernel::ALL.into_iter().filter(|kernel| !kernel.is_available()) {
        let is_of_this_architecture = match kernel {
            Kernel::Portable => true,
            Kernel::Avx2 | Kernel::ShaNi | Kernel::Avx512 => cfg!(target_arch = "x86_64"),
            Kernel::ArmV8 => cfg!(target_arch = "aarch64"),
        };
        if is_of_this_architecture {
            use std::io::Write as _;
            let _ = std::io::stderr().write_all(format!("SKIPPED: this processor lacks {kernel:?}\n").as_bytes());
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FIPS 180-4 examples (NIST, "SHA-256 examples") and the empty message.
#[test]
fn every_kernel_gives_the_vectors_of_nist() {
    let million = vec![b'a'; 1_000_000];
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (message, expected) in [
        (b"".as_slice(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ]
    .into_iter()
    .take(if cfg!(miri) { 3 } else { 4 })
    {
        for kernel in kernels() {
            let mut digests = vec![[0; 32]; kernel.lanes()];
            hash_blocks_with(kernel, &vec![message; kernel.lanes()], &mut digests);
            assert!(digests.iter().all(|digest| hex(digest) == expected), "{kernel:?}, {} bytes", message.len());
        }
    }
}

/// A byte that depends on its message and place.
fn message(number: usize, len: usize) -> Vec<u8> {
    (0..u64_of(len)).map(|at| (at + u64_of(number) * 0x0123_4567).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]).collect()
}

/// Every number of messages against sha2, in lengths around the padding's turns and of a block of the disk. Miri, which is
/// slow, looks at some of each.
#[test]
fn every_kernel_agrees_with_sha2_on_ragged_counts_and_all_lengths() {
    let lengths: Vec<usize> = if cfg!(miri) { vec![55, 130] } else { (0..=200).chain([1000, 4096, 65_535, BLOCK_LEN]).collect() };
    for len in lengths {
        let messages: Vec<_> = (0..if len < BLOCK_LEN { 2 * MESSAGES_MAX + 3 } else { 7 }).map(|number| message(number, len)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
        let counts: Vec<usize> = match len {
            _ if cfg!(miri) => vec![1, 3, 6, 17],
            55 | 56 => (0..=messages.len()).collect(),
            0..1000 => vec![1, 2, 3, 4, messages.len()],
            1000..BLOCK_LEN => vec![messages.len()],
            _ => vec![7],
        };
        for count in counts {
            for kernel in kernels() {
                let mut digests = vec![[0xee; 32]; count];
                hash_blocks_with(kernel, &messages[..count], &mut digests);
                assert!(digests == expected[..count], "{kernel:?}, {count} messages of {len} bytes");
            }
            let mut digests = vec![[0xee; 32]; count];
            hash_blocks(&messages[..count], &mut digests);
            assert!(digests == expected[..count], "chosen for {count} messages of {len} bytes");
        }
    }
}

proptest::proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "Miri is slow, and proptest reads files")]
    fn every_kernel_agrees_with_sha2_on_any_messages(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..6000), count in 1_usize..40) {
        let len = bytes.len() / count;
        let messages: Vec<&[u8]> = (0..count).map(|number| &bytes[number * len..(number + 1) * len]).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
        for kernel in Kernel::ALL {
            let mut digests = vec![[0xee; 32]; count];
            hash_blocks_with(kernel, &messages, &mut digests);
            proptest::prop_assert!(digests == expected, "{:?}", kernel);
        }
    }
}

#[test]
fn few_messages_go_to_a_kernel_of_this_processor() {
    for kernel in kernels() {
        for count in 0..kernel.lanes() {
            let few = kernel.for_few(count);
            assert!(few.is_available() && few.lanes() <= kernel.lanes(), "{count} messages of {kernel:?}: {few:?}");
        }
    }
}

#[test]
#[should_panic(expected = "messages of one length")]
fn messages_of_two_lengths_are_a_mistake_of_the_caller() {
    hash_blocks(&[&[0; 3], &[0; 4]], &mut [[0; 32]; 2]);
}

/// Messages of lengths that end at every turn of the padding, alone and among much longer ones.
#[test]
fn every_kernel_agrees_with_sha2_on_messages_of_different_lengths() {
    let lengths: Vec<usize> = if cfg!(miri) { vec![0, 130, 55, 64] } else { (0..140).rev().chain([5000, 0, 63, 64, 65, 119, 120, 100_000, 1, 4096]).collect() };
    let messages: Vec<_> = lengths.iter().enumerate().map(|(number, len)| message(number, *len)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let expected: Vec<Digest> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
    for kernel in kernels() {
        for count in if cfg!(miri) { vec![3] } else { vec![0, 1, 2, 5, 9, 17, messages.len()] } {
            let from = messages.len() - count;
            let mut digests = vec![[0xee; 32]; count];
            hash_messages_with(kernel, &messages[from..], &mut digests);
            assert!(digests == expected[from..], "{kernel:?}, the last {count} messages");
        }
    }
}
