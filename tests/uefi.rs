//! UEFI data, judged by a second reader and writer with Python's zlib (tests/tools/uefi_data.py), by openssl's certificates, and by the
//! command.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, run, text};
use rootvol::Guid;
use rootvol::uefi::{Authentication, UefiData, Variable, attributes};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PUBLISHED: &str = include_str!("uefi/t02.aws");

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

/// What the second reader finds in each store; it has to write each of them again with the same bytes.
fn judged(stores: &[String]) -> Option<Vec<serde_json::Value>> {
    judge("python3")?;
    let dictionary = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/uefi/aws_v0_dict.bin");
    let mut child = common::tool("uefi_data.py").arg(dictionary).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = stores.join("\n");
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(lines.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).unwrap();
    Some(read.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next(256)).unwrap()
    }

    /// Values of all kinds: noise, few letters, repeats from near and far, pieces of the published store.
    fn data(&mut self, published: &[u8], len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < len {
            let piece = 1 + self.next(400);
            match self.next(6) {
                0 => data.extend((0..piece).map(|_| self.byte())),
                1 => data.extend((0..piece).map(|_| b"abc"[self.next(3)])),
                2 => data.extend(vec![self.byte(); piece]),
                3 => {
                    let at = self.next(published.len() - 400);
                    data.extend_from_slice(&published[at..at + piece]);
                }
                _ if data.is_empty() => {}
                _ => {
                    let at = self.next(data.len());
                    let end = (at + piece).min(data.len());
                    data.extend_from_within(at..end);
                }
            }
        }
        data.truncate(len);
        data
    }
}

#[test]
fn python_reads_what_we_write_and_writes_the_same_bytes() {
    let published: Vec<u8> = UefiData::from_base64(PUBLISHED).unwrap().variables.iter().flat_map(|variable| variable.data.clone()).collect();
    let mut random = Random(7);
    let mut made = vec![UefiData::new(), UefiData::from_base64(PUBLISHED).unwrap()];
    for round in 0..150 {
        let mut data = UefiData::new();
        for number in 0..random.next(5) {
            let signed = random.next(2) == 0;
            let authentication = signed.then(|| Authentication { timestamp: [random.byte(); 16], digest: vec![random.byte(); random.next(40)] });
            // Up to several blocks of DEFLATE and more than its window.
            let longest = [10, 300, 5_000, 40_000, 200_000][round % 5];
            let len = random.next(longest);
            data.variables.push(Variable {
                name: format!("Größe{number}"),
                vendor: Guid::from_bytes([random.byte(); 16]),
                attributes: if signed { attributes::SECURE_BOOT } else { 7 },
                authentication,
                data: random.data(&published, len),
            });
        }
        made.push(data);
    }
    // What does not fit in an AMI is refused; the others are judged.
    let written: Vec<(&UefiData, String)> = made.iter().filter_map(|data| Some((data, data.to_base64().ok()?))).collect();
    assert!(written.len() > 100, "{} stores fit", written.len());
    let texts: Vec<String> = written.iter().map(|(_, text)| text.clone()).collect();
    let Some(read) = judged(&texts) else { return };
    assert_eq!(read.len(), written.len());
    for ((data, text), read) in written.iter().zip(&read) {
        assert_eq!(UefiData::from_base64(text).unwrap(), **data);
        let expected = data.variables.iter().map(|variable| {
            let time = variable.authentication.as_ref().map(|authentication| hex(&authentication.timestamp));
            let digest = variable.authentication.as_ref().map(|authentication| hex(&authentication.digest));
            serde_json::json!([variable.name, variable.vendor.to_string(), variable.attributes, time, digest, hex(&variable.data)])
        });
        let expected = serde_json::Value::Array(expected.collect());
        assert_eq!(*read, expected);
    }
}

#[test]
fn the_command_makes_and_shows_secure_boot_keys() {
    let Some(mut openssl) = judge("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Platform", "-days", "30", "-keyout"])
        .arg(at("key.pem"))
        .arg("-out")
        .arg(at("pk.pem")));
    run(Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(at("pk.pem")).arg("-out").arg(at("pk.der")));
    let fingerprint = text(Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(at("pk.pem")));
    let fingerprint = fingerprint.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase();
    let owner = "77fa9abd-0359-4d32-bd60-28f4e78f784b";
    let made = text(rootvol().args(["uefi-data", "make", "--owner", owner, "--epoch", "1795269600", "--pk"]).arg(at("pk.pem")).arg("--db").arg(at("pk.der")));
    fs::write(at("data.b64"), &made).unwrap();
    let shown = text(rootvol().args(["uefi-data", "show"]).arg(at("data.b64")));
    assert!(
        shown.contains("Secure Boot on") && shown.matches(&fingerprint).count() == 2 && shown.contains(owner) && shown.contains("2026-11-21T14:00:00Z"),
        "{shown}"
    );
    let json: serde_json::Value = serde_json::from_str(&text(rootvol().args(["uefi-data", "show", "--json"]).arg(at("data.b64")))).unwrap();
    assert_eq!((&json["secure_boot"], &json["variables"][1]["signatures"][0]["sha256"]), (&true.into(), &fingerprint.into()));
    if let Some(read) = judged(&[made.trim().to_owned()]) {
        assert_eq!((&read[0][0][0], &read[0][1][0], &read[0][1][2]), (&"PK".into(), &"db".into(), &0x27.into()));
    }
    // The published store again, byte for byte, and with a key in addition.
    fs::write(at("published.b64"), PUBLISHED).unwrap();
    let again = text(rootvol().args(["uefi-data", "make", "--from"]).arg(at("published.b64")));
    assert_eq!(again.trim(), PUBLISHED.trim());
    let more =
        rootvol().args(["uefi-data", "make", "--from"]).arg(at("published.b64")).arg("--kek").arg(at("pk.pem")).arg("-o").arg(at("more.b64")).output().unwrap();
    assert!(more.status.success(), "{more:?}");
    let count = UefiData::from_base64(&fs::read_to_string(at("more.b64")).unwrap()).unwrap().variables.len();
    assert!((23..=24).contains(&count), "{count} variables");
    for (arguments, code, why) in [
        (vec!["make"], 2, "nothing to make"),
        (vec!["make", "--pk", "key.pem"], 1, "private key"),
        (vec!["make", "--pk", "none"], 1, "cannot read"),
        (vec!["make", "--from", "pk.pem"], 1, "base64"),
        (vec!["show", "pk.der"], 1, "base64"),
        (vec!["make", "--pk", "pk.pem", "-o", "more.b64"], 1, "exists"),
    ] {
        let output = rootvol().arg("uefi-data").args(&arguments).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}
