//! Identifiers: every GUID, UUID, hash seed and volume id derives from one seed, so that the same recipe gives
//! the same bytes.

use crate::error::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A 128-bit identifier in the byte order of RFC 9562 (the order in which its text is written).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Guid([u8; 16]);

impl Guid {
    /// The identifier with these bytes, in text order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes in text order, as ext4 stores a UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The bytes as GPT and UEFI store a GUID: the first three fields little-endian (UEFI specification, appendix A).
    #[must_use]
    pub fn to_bytes_le(self) -> [u8; 16] {
        uuid::Uuid::from_bytes(self.0).to_bytes_le()
    }

    /// Reads what [`Guid::to_bytes_le`] gives.
    #[must_use]
    pub fn from_bytes_le(bytes: [u8; 16]) -> Self {
        Self(*uuid::Uuid::from_bytes_le(bytes).as_bytes())
    }

    /// The identifier of `role` under `seed`: SHA-256 over both, as a version 8 UUID (RFC 9562, section 5.8).
    ///
    /// Roles name disk and partition, such as `"disk"` or `"partition 2 ext4"`: two roles never share an identifier.
    #[must_use]
    pub fn derive(seed: Self, role: &str) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(b"rootvol identifier 1\0").chain_update(seed.0).chain_update(role.as_bytes()).finalize().into();
        Self::from_digest(&digest)
    }

    /// A version 8 UUID from the first half of a digest.
    #[must_use]
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes())
    }

    /// The seed that a name stands for.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(b"rootvol name 1\0").chain_update(name.as_bytes()).finalize().into();
        Self::from_digest(&digest)
    }

    /// The first four bytes as a number: a FAT volume id or an MBR disk signature. Never 0, which means "none" there.
    #[must_use]
    pub fn to_u32(self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]).max(1)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid::Uuid::from_bytes(self.0).hyphenated().to_string())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is not a UUID: a form like 0fc63daf-8483-4772-8e79-3d69d8477de4 was expected"));
        if text.len() != 36 {
            return Err(bad());
        }
        uuid::Uuid::try_parse(text).map(|uuid| Self(*uuid.as_bytes())).map_err(|_| bad())
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.to_string()
    }
}

impl TryFrom<String> for Guid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_both_byte_orders_agree() {
        let guid: Guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse().unwrap();
        assert_eq!(guid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        // UEFI specification 2.10, table 5-7: the EFI system partition's GUID on disk.
        assert_eq!(guid.to_bytes_le(), [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
        assert_eq!(Guid::from_bytes_le(guid.to_bytes_le()), guid);
    }

    #[test]
    fn derivation_is_stable_and_separates_roles() {
        let seed = Guid::from_name("web");
        assert_eq!(Guid::derive(seed, "disk"), Guid::derive(seed, "disk"));
        assert_ne!(Guid::derive(seed, "disk"), Guid::derive(seed, "partition 1"));
        assert_eq!(Guid::derive(seed, "disk").to_string().as_bytes()[14], b'8');
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "c12a7328", "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}", "c12a7328f81f11d2ba4b00a0c93ec93b"] {
            assert!(text.parse::<Guid>().is_err(), "{text:?} was accepted");
        }
    }
}
