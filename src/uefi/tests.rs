//! The published store, both ways; Secure Boot's keys; hostile input.

use super::*;
use crate::ErrorKind;
use crate::checksum::{base64_decode, base64_encode};
use serde_json::Value;

/// python-uefivars' test data (see NOTICE): 23 variables as its own tool wrote them, and the same as JSON.
const PUBLISHED: &str = include_str!("../../tests/uefi/t02.aws");
const PUBLISHED_JSON: &str = include_str!("../../tests/uefi/t02.json");
const OWNER: Guid = Guid::from_bytes([7; 16]);

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

#[test]
fn the_published_store_is_read_and_written_byte_for_byte() {
    let data = UefiData::from_base64(PUBLISHED).unwrap();
    assert_eq!(data.to_base64().unwrap(), PUBLISHED.trim_end());
    let json: Value = serde_json::from_str(PUBLISHED_JSON).unwrap();
    let mut from_json = UefiData::new();
    for variable in json["variables"].as_array().unwrap() {
        let text = |name: &str| variable[name].as_str().unwrap();
        let attributes = u32::try_from(variable["attr"].as_u64().unwrap()).unwrap();
        let authentication = (attributes & attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS != 0).then(Authentication::default);
        let vendor = text("guid").parse().unwrap();
        from_json.variables.push(Variable { name: text("name").into(), vendor, attributes, authentication, data: hex(text("data")) });
    }
    assert_eq!(from_json, data, "the same variables as python-uefivars reads");
    assert_eq!(data.variables.len(), 23);
    assert_eq!(from_json.to_base64().unwrap(), PUBLISHED.trim_end());
}

/// Something that looks like a certificate: a sequence of two sequences and a bit string.
fn certificate(len: u8) -> Vec<u8> {
    let tbs = [&[0x30, len][..], &vec![5; len.into()]].concat();
    let body = [&tbs[..], &[0x30, 0, 3, 1, 0]].concat();
    [&[0x30, 0x81, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64_encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("comment\n-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n", lines.join("\r\n"))
}

#[test]
fn keys_are_enrolled_from_pem_der_lists_and_signed_updates() {
    let (one, two) = (certificate(100), certificate(90));
    let (a, b) = (SignatureList::certificate(OWNER, one.clone()), SignatureList::certificate(OWNER, two.clone()));
    let both = [a.clone(), b.clone()];
    let list: Vec<u8> = both.iter().flat_map(SignatureList::encode).collect();
    // EFI_TIME, then a certificate of 24 bytes and a signature of 9.
    let signed = [
        &[1; 16][..],
        &33_u32.to_le_bytes(),
        &[0, 2, 0xf1, 0x0e],
        &[0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7],
        &[8; 9],
        &list,
    ]
    .concat();
    for (what, bytes, lists) in [
        ("PEM", pem("CERTIFICATE", &one).into_bytes(), &both[..1]),
        ("PEM chain", (pem("CERTIFICATE", &one) + &pem("CERTIFICATE", &two)).into_bytes(), &both),
        ("DER", two.clone(), &both[1..]),
        ("ESL", list.clone(), &both),
        ("auth", signed, &both),
    ] {
        assert_eq!(read_signatures(&bytes, OWNER).unwrap(), lists, "{what}");
    }
    let mut data = UefiData::new();
    assert!(!data.secure_boot());
    data.enroll(Key::Db, &both, efi_time(1_795_269_600).unwrap()).unwrap();
    data.enroll(Key::Pk, &both[..1], [0; 16]).unwrap();
    let read = UefiData::from_base64(&data.to_base64().unwrap()).unwrap();
    assert_eq!(read, data);
    assert!(read.secure_boot());
    let db = read.get("db", IMAGE_SECURITY_DATABASE).unwrap();
    assert_eq!((db.attributes, &db.data), (0x27, &list));
    assert_eq!(db.authentication.as_ref().unwrap().timestamp, [0xea, 7, 11, 21, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let summary = read.summary();
    assert_eq!(summary.variables[0].timestamp.as_deref(), Some("2026-11-21T14:00:00Z"));
    assert_eq!((summary.variables[0].signatures.len(), summary.notes.len()), (2, 0));
    data.enroll(Key::Db, &both[..1], [0; 16]).unwrap();
    assert_eq!(data.variables.len(), 2, "a key is replaced");
    assert!(data.enroll(Key::Pk, &both, [0; 16]).unwrap_err().to_string().contains("PK is one certificate"));
    assert!(data.enroll(Key::Dbx, &[], [0; 16]).is_err());
}

#[test]
fn private_keys_and_what_is_no_certificate_are_refused_and_never_shown() {
    let rsa = [&[0x30, 0x81, 0x90, 0x02, 1, 0][..], &[0x41; 141]].concat();
    let secret = base64_encode(&rsa);
    let mut bad_list = SignatureList::certificate(OWNER, certificate(9)).encode();
    for (what, bytes, why) in [
        ("key in PEM", pem("PRIVATE KEY", &rsa).into_bytes(), "private key"),
        ("encrypted key", pem("ENCRYPTED PRIVATE KEY", &rsa).into_bytes(), "private key"),
        ("key behind a certificate", (pem("CERTIFICATE", &certificate(9)) + &pem("RSA PRIVATE KEY", &rsa)).into_bytes(), "private key"),
        ("key as certificate", pem("CERTIFICATE", &rsa).into_bytes(), "no certificate"),
        ("key in DER", rsa.clone(), "no certificate"),
        ("request", pem("CERTIFICATE REQUEST", &certificate(9)).into_bytes(), "not \"CERTIFICATE REQUEST\""),
        ("cut off", b"-----BEGIN CERTIFICATE-----\nMIIB".to_vec(), "cut off"),
        ("empty", Vec::new(), "no certificate"),
        ("text", b"hello".to_vec(), "28 bytes, and 5 are left"),
        ("terminal", b"-----BEGIN \x1b[2J-----\n".to_vec(), "\\x1B[2J"),
    ] {
        let error = read_signatures(&bytes, OWNER).expect_err(what).to_string();
        assert!(error.contains(why) && !error.contains(&secret[..16]) && !error.contains("AAAA"), "{what}: {error}");
    }
    for (at, value) in [(16, 27_u32), (16, u32::MAX), (20, 1), (20, u32::MAX), (24, 0), (24, 16), (24, 17), (24, u32::MAX)] {
        let old = bad_list[at..at + 4].to_vec();
        bad_list[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(SignatureList::decode_all(&bad_list).unwrap_err().kind(), ErrorKind::Corrupt, "{value} at {at}");
        bad_list[at..at + 4].copy_from_slice(&old);
    }
    assert!(SignatureList::decode_all(&bad_list).is_ok());
}

/// A store around these inflated bytes.
fn store(inflated: &[u8]) -> String {
    let dictionary = format::DICTIONARY;
    let stream =
        [&[0x78, 0xf9][..], &deflate::adler32(dictionary).to_be_bytes(), &deflate::deflate(dictionary, inflated), &deflate::adler32(inflated).to_be_bytes()]
            .concat();
    sealed([&b"AMZNUEFI\0\0\0\0\0\0\0\0"[..], &stream].concat())
}

fn sealed(mut bytes: Vec<u8>) -> String {
    let sum = !crate::crc::crc32c(!0, &bytes[12..]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    base64_encode(&bytes)
}

#[test]
fn hostile_stores_are_refused_with_the_place() {
    let mut good = base64_decode(PUBLISHED.trim_end()).unwrap();
    let spoiled = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        sealed(bytes)
    };
    let one = |name: u64, data: u64| [&1_u64.to_le_bytes()[..], &name.to_le_bytes(), b"N", &data.to_le_bytes(), &[0; 60]].concat();
    let unsealed = base64_encode(&[&good[..20], &[0], &good[21..]].concat());
    let bomb = store(&vec![0; INFLATED_MAX_BYTES + 1]);
    assert!(bomb.len() < 3000);
    for (what, text, kind, why) in [
        ("no base64", "AMZN!".into(), ErrorKind::Corrupt, "base64"),
        ("empty", String::new(), ErrorKind::Corrupt, "16 bytes"),
        ("long", "A".repeat(TEXT_MAX_CHARS + 1), ErrorKind::LimitExceeded, "64000"),
        ("magic", spoiled(0, 0x1b), ErrorKind::Corrupt, "\\x1BMZNUEFI (at byte 0)"),
        ("checksum", unsealed, ErrorKind::Corrupt, "checksum"),
        ("version", spoiled(12, 1), ErrorKind::Unsupported, "version 1"),
        ("zlib header", spoiled(16, 0x79), ErrorKind::Corrupt, "RFC 1950"),
        ("dictionary", spoiled(18, 0), ErrorKind::Corrupt, "dictionary"),
        ("Adler", spoiled(good.len() - 1, good[good.len() - 1] ^ 1), ErrorKind::Corrupt, "Adler"),
        ("cut off", sealed(good[..good.len() - 3].to_vec()), ErrorKind::Corrupt, "cut off"),
        ("cut off inside", sealed(good[..3000].to_vec()), ErrorKind::Corrupt, "cut off"),
        ("more", sealed([&good[..], b"x"].concat()), ErrorKind::Corrupt, "1 bytes follow"),
        ("bomb", bomb, ErrorKind::LimitExceeded, "1048576"),
        ("count", store(&u64::MAX.to_le_bytes()), ErrorKind::Corrupt, "room for 0"),
        ("nothing", store(b"abc"), ErrorKind::Corrupt, "8 bytes, where 3 are left"),
        ("name length", store(&one(u64::MAX, 0)), ErrorKind::Corrupt, "a name of 18446744073709551615 bytes"),
        ("data length", store(&one(1, 1 << 62)), ErrorKind::Corrupt, "data of 4611686018427387904 bytes"),
        ("behind", store(&one(1, 0)), ErrorKind::Corrupt, "bytes follow the last variable"),
        ("name", store(&[&1_u64.to_le_bytes()[..], &1_u64.to_le_bytes(), b"\xff", &[0; 28]].concat()), ErrorKind::Corrupt, "\\xFF"),
    ] {
        let error = UefiData::from_base64(&text).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(why), "{what}: {error} does not say {why:?}");
    }
    // Any bit flipped behind the checksum is an error or a store, never a panic.
    for at in (16..good.len()).step_by(7) {
        good[at] ^= 1 << (at % 8);
        let _ = UefiData::from_base64(&sealed(good.clone()));
        good[at] ^= 1 << (at % 8);
    }
}

#[test]
fn stores_that_nobody_could_read_are_not_written() {
    let variable = |name: &str, attributes, authentication: Option<Authentication>, len| Variable {
        name: name.into(),
        vendor: OWNER,
        attributes,
        authentication,
        data: noise(len),
    };
    let write = |variables: &[Variable]| UefiData { variables: variables.to_vec() }.to_base64();
    assert!(write(&[variable("", 7, None, 1)]).is_err());
    assert!(write(&[variable("A", 7, None, 1), variable("A", 7, None, 2)]).unwrap_err().to_string().contains("alone"));
    assert!(write(&[variable("A", 0x27, None, 1)]).unwrap_err().to_string().contains("time"));
    assert!(write(&[variable("A", 7, Some(Authentication::default()), 1)]).is_err());
    assert_eq!(write(&[variable("A", 7, None, 50_000)]).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(write(&[variable("A", 7, None, INFLATED_MAX_BYTES)]).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(write(&[variable("A", 7, None, 47_000)]).is_ok());
    let odd = UefiData { variables: vec![variable("a\u{1b}[2J\u{202e}", 0x107, None, 3)] };
    let shown = odd.summary().to_string();
    assert!(shown.contains("a\\x1B[2J\\xE2\\x80\\xAE") && shown.contains("NV+BS+RT+0x100"), "{shown}");
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, time) in [(0, [0xb2, 7, 1, 1, 0, 0, 0]), (951_782_400 + 86_399, [0xd0, 7, 2, 29, 23, 59, 59]), (-1, [0xb1, 7, 12, 31, 23, 59, 59])] {
        assert_eq!(efi_time(seconds).unwrap()[..7], time, "{seconds}");
    }
    assert!(efi_time(i64::MAX / 2).is_err() && efi_time(i64::MIN / 2).is_err());
}
