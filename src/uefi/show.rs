//! What is in a store, for people and programs: names, lengths and digests, never a value. Values may be secret (passwords of machine
//! owners), and any name comes from input.

use super::{IMAGE_SECURITY_DATABASE, SignatureKind, SignatureList, UefiData, Variable, attributes};
use crate::error::escape;
use crate::units::u64_of;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Whether instances boot with Secure Boot on: there is a PK.
    pub secure_boot: bool,
    /// The variables, in their order.
    pub variables: Vec<VariableSummary>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VariableSummary {
    /// Its name, escaped.
    pub name: String,
    /// Its vendor's GUID.
    pub vendor: String,
    /// Its attributes.
    pub attributes: u32,
    /// EFI_TIME as `2026-11-21T14:00:00Z`, where there is one.
    pub timestamp: Option<String>,
    /// Bytes of its value.
    pub data_bytes: u64,
    /// SHA-256 of its value.
    pub data_sha256: String,
    /// What a key of Secure Boot holds; none where its lists cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignatureSummary>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignatureSummary {
    /// `x509`, `sha256` or the GUID of its kind.
    pub kind: String,
    /// Its owner's GUID.
    pub owner: String,
    /// SHA-256: of a certificate its fingerprint, of an image's digest the digest itself.
    pub sha256: String,
}

impl UefiData {
    /// What is in the store.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut notes = Vec::new();
        let variables = self.variables.iter().map(|variable| summary(variable, &mut notes)).collect();
        let secure_boot = self.secure_boot();
        if secure_boot && self.get("db", IMAGE_SECURITY_DATABASE).is_none_or(|db| db.data.is_empty()) {
            notes.push("there is a PK and no db: Secure Boot is on, and nothing may boot".to_owned());
        }
        Summary { secure_boot, variables, notes }
    }
}

fn summary(variable: &Variable, notes: &mut Vec<String>) -> VariableSummary {
    let name = escape(variable.name.as_bytes());
    let mut signatures = Vec::new();
    if variable.name.parse::<super::Key>().is_ok_and(|key| key.vendor() == variable.vendor) {
        match SignatureList::decode_all(&variable.data) {
            Ok(lists) => signatures.extend(lists.iter().flat_map(SignatureSummary::of)),
            Err(error) => notes.push(format!("{name}: {error}")),
        }
    }
    VariableSummary {
        name,
        vendor: variable.vendor.to_string(),
        attributes: variable.attributes,
        timestamp: variable.authentication.as_ref().and_then(|authentication| time(&authentication.timestamp)),
        data_bytes: u64_of(variable.data.len()),
        data_sha256: hex(&Sha256::digest(&variable.data)),
        signatures,
    }
}

impl SignatureSummary {
    fn of(list: &SignatureList) -> impl Iterator<Item = Self> + '_ {
        let kind = match list.kind {
            SignatureKind::X509 => "x509".to_owned(),
            SignatureKind::Sha256 => "sha256".to_owned(),
            SignatureKind::Other(guid) => guid.to_string(),
        };
        list.signatures.iter().map(move |(owner, signature)| {
            let sha256 = if list.kind == SignatureKind::Sha256 { hex(signature) } else { hex(&Sha256::digest(signature)) };
            Self { kind: kind.clone(), owner: owner.to_string(), sha256 }
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// EFI_TIME (UEFI 8.3) as text; `None` where it is all zeros.
fn time(time: &[u8; 16]) -> Option<String> {
    let [low, high, month, day, hour, minute, second, ..] = *time;
    let year = u16::from_le_bytes([low, high]);
    (*time != [0; 16]).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} variables, Secure Boot {}",
            self.variables.len(),
            if self.secure_boot { "on (there is a PK)" } else { "off (setup mode: there is no PK)" }
        )?;
        for variable in &self.variables {
            let VariableSummary { name, vendor, attributes, timestamp, data_bytes, .. } = variable;
            write!(f, "{name}  {vendor}  {}  {data_bytes} bytes", words(*attributes))?;
            writeln!(f, "{}", timestamp.as_ref().map_or(String::new(), |time| format!("  {time}")))?;
            for SignatureSummary { kind, owner, sha256 } in &variable.signatures {
                writeln!(f, "  {kind}  {sha256}  owner {owner}")?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {}", escape(note.as_bytes())))
    }
}

/// Attributes by the short names that firmware shells print.
fn words(attributes: u32) -> String {
    const NAMES: [(u32, &str); 4] = [
        (attributes::NON_VOLATILE, "NV"),
        (attributes::BOOTSERVICE_ACCESS, "BS"),
        (attributes::RUNTIME_ACCESS, "RT"),
        (attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS, "AT"),
    ];
    let known = NAMES.iter().filter(|(bit, _)| attributes & bit != 0).map(|(_, name)| (*name).to_owned());
    let others = attributes & !NAMES.iter().fold(0, |all, (bit, _)| all | bit);
    let all: Vec<String> = known.chain((others != 0).then(|| format!("{others:#x}"))).collect();
    all.join("+")
}
