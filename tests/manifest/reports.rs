//! Reports are read from anywhere: what is none, contradicts itself or is another image's is refused in bounded work.

use crate::cases::report;
use rootvol::manifest::{REPORT_MAX_BYTES, read_report};
use rootvol::{Error, ErrorKind};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What reading a report with this text gives, without an image beside it.
fn read(text: &[u8]) -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.report.json");
    fs::write(&path, text).unwrap();
    read_report(&path, None).map(|_| ())
}

fn value() -> Value {
    serde_json::to_value(report(&json!({}))).unwrap()
}

#[test]
fn our_reports_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.report.json");
    fs::write(&path, report(&json!({})).to_json()).unwrap();
    assert_eq!(read_report(&path, None).unwrap(), report(&json!({})));
}

#[test]
fn what_is_no_report_is_refused_clearly() {
    let mut deep = value();
    deep["blocks"]["surprise"] = json!(1);
    let mut in_list = value();
    in_list["partitions"] = json!([{ "number": 1, "partition_type": "esp", "guid": null, "label": null, "offset_bytes": 0, "size_bytes": 1, "mount_point": null,
        "filesystem": null, "x\u{1b}y": 1 }]);
    let twice = report(&json!({})).to_json().replacen("\"name\"", "\"name\": \"other\",\n  \"name\"", 1);
    let cases: [(Vec<u8>, &str); 10] = [
        (Vec::new(), "no report"),
        (b"[]".to_vec(), "no report_version"),
        (b"{}".to_vec(), "no report_version"),
        (b"{\"report_version\": 2}".to_vec(), "version 2"),
        (b"{\"report_version\": \"1\\u001b\"}".to_vec(), "version"),
        (b"{\"report_version\": 1}".to_vec(), "missing field"),
        (deep.to_string().into_bytes(), "no member blocks.surprise"),
        (in_list.to_string().into_bytes(), "no member partitions[0].x\\x1By"),
        (twice.into_bytes(), "duplicate field"),
        (b"[".repeat(100_000), "no report"),
    ];
    for (text, why) in cases {
        let error = read(&text).expect_err(why);
        let message = error.to_string();
        assert!(message.contains(why), "{message} does not say {why:?}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
    let large = vec![b' '; usize::try_from(REPORT_MAX_BYTES).unwrap() + 1];
    assert_eq!(read(&large).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(read_report(Path::new("/dev/zero"), None).unwrap_err().to_string().contains("no regular file"));
    assert!(read_report(Path::new("/"), None).unwrap_err().to_string().contains("no regular file"));
}

#[test]
fn reports_that_contradict_themselves_are_refused() {
    for (changes, why) in [
        (json!({ "blocks": { "linear_checksum": "x\u{202e}" } }), "no SHA-256"),
        (json!({ "blocks": { "linear_checksum": "AAAA" } }), "no SHA-256"),
        (json!({ "blocks": { "block_bytes": 4096 } }), "524288"),
        (json!({ "blocks": { "data": u64::MAX } }), "other blocks"),
        (json!({ "blocks": { "total": 4097 } }), "other blocks"),
        (json!({ "disk": { "size_bytes": u64::MAX } }), "other blocks"),
        (json!({ "disk": { "size_bytes": 0 }, "blocks": { "total": 0, "data": 0, "zero": 0, "unused": 0 } }), "no bytes"),
        (json!({ "file": { "format": "raw" } }), "a raw file"),
        (json!({ "file": { "sha256": "00" } }), "file.sha256"),
    ] {
        let error = read(report(&changes).to_json().as_bytes()).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
    }
}

#[test]
fn a_report_of_another_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.vhd.report.json");
    fs::write(&path, report(&json!({ "file": { "size_bytes": 4 } })).to_json()).unwrap();
    let image = folder.path().join("x.vhd");
    fs::write(&image, "1234").unwrap();
    assert!(read_report(&path, None).is_ok());
    fs::write(&image, "12345").unwrap();
    for named in [None, Some(image.as_path())] {
        let error = read_report(&path, named).unwrap_err();
        assert!(error.to_string().contains("has 5 bytes, and the report is of one of 4"), "{error}");
    }
    fs::remove_file(&image).unwrap();
    assert!(read_report(&path, Some(&image)).is_err());
    // Zero blocks without end cost nothing.
    let list = folder.path().join("x.vhd.blocks.jsonl");
    for text in ["{\"index\":0,\"count\":4096,\"state\":\"unused\"}\n", "{\"index\":0,\"count\":9000000000000000000,\"state\":\"zero\"}\n"] {
        fs::write(&list, text).unwrap();
        let error = read_report(&path, None).unwrap_err();
        assert!(error.to_string().contains("two images"), "{error}");
    }
    let counts = json!({ "file": { "size_bytes": 4 }, "blocks": { "data": 0, "zero": 40, "unused": 4056 } });
    fs::write(&path, report(&counts).to_json()).unwrap();
    fs::write(&list, "{\"index\":0,\"count\":40,\"state\":\"zero\"}\n{\"index\":40,\"count\":4056,\"state\":\"unused\"}\n").unwrap();
    let error = read_report(&path, None).unwrap_err();
    assert!(error.to_string().contains("another LINEAR checksum"), "{error}");
}
