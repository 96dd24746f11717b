use super::*;
use crate::units::{BLOCK_LEN, u64_of};

/// Kernels that can be tested here; the others are said.
fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| {
        let is_available = kernel.is_available();
        if !is_available {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "SKIPPED: this processor lacks {kernel:?}");
        }
        is_available
    })
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
    ] {
        for kernel in kernels() {
            let mut digests = [[0; 32]; MESSAGES_MAX];
            hash_blocks_with(kernel, &[message; MESSAGES_MAX], &mut digests);
            assert!(digests.iter().all(|digest| hex(digest) == expected), "{kernel:?}, {} bytes", message.len());
        }
    }
}

/// A byte that depends on its message and place.
fn message(number: usize, len: usize) -> Vec<u8> {
    (0..u64_of(len)).map(|at| (at + u64_of(number) * 0x0123_4567).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]).collect()
}

/// Every number of messages against sha2, in lengths around the padding's turns and of a block of the disk.
#[test]
fn every_kernel_agrees_with_sha2_on_ragged_counts_and_all_lengths() {
    let lengths = (0..=200).chain([1000, 4096, 65_535, BLOCK_LEN]);
    for len in lengths {
        let messages: Vec<_> = (0..2 * MESSAGES_MAX + 3).map(|number| message(number, len)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
        let counts = if len < 1000 { 0..messages.len() + 1 } else { messages.len()..messages.len() + 1 };
        for kernel in kernels() {
            for count in counts.clone() {
                let mut digests = vec![[0xee; 32]; count];
                hash_blocks_with(kernel, &messages[..count], &mut digests);
                assert!(digests == expected[..count], "{kernel:?}, {count} messages of {len} bytes");
            }
        }
    }
}

proptest::proptest! {
    #[test]
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
#[should_panic(expected = "messages of one length")]
fn messages_of_two_lengths_are_a_mistake_of_the_caller() {
    hash_blocks(&[&[0; 3], &[0; 4]], &mut [[0; 32]; 2]);
}
