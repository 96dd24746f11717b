//! Any bytes as a UEFI variable store, as its inflated variables, and as a file with certificates.
//!
//! ```text
//! first byte 0: a store, whose checksum is set right   1: the same in base64   2: certificates or signature lists
//! ```
//!
//! Invariants:
//! - No panic; memory and time bounded, whatever the stream inflates to.
//! - A store that is read and can be written reads back equal, and is written with the same bytes again.
//! - Signature lists that are read are written as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::Guid;
use rootvol::checksum::base64_encode;
use rootvol::uefi::{SignatureList, UefiData, read_signatures};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 3 {
        0 => {
            let mut store = data.to_vec();
            if let Some((head, rest)) = store.split_at_mut_checked(12) {
                head[8..].copy_from_slice(&crc32c(rest).to_le_bytes());
            }
            check(&base64_encode(&store));
        }
        1 => {
            if let Ok(text) = std::str::from_utf8(data) {
                check(text);
            }
        }
        _ => {
            if let Ok(lists) = SignatureList::decode_all(data) {
                assert!(lists.iter().flat_map(SignatureList::encode).eq(data.iter().copied()));
            }
            if let Ok(lists) = read_signatures(data, Guid::from_bytes([1; 16])) {
                assert!(!lists.is_empty());
            }
        }
    }
});

fn check(text: &str) {
    let Ok(store) = UefiData::from_base64(text) else { return };
    let _ = store.summary().to_string();
    if let Ok(text) = store.to_base64() {
        let again = UefiData::from_base64(&text).expect("what is written can be read");
        assert_eq!(again, store);
        assert_eq!(again.to_base64().expect("it was written once"), text);
    }
}

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }))
}
