//! UEFI data: the store of UEFI variables that an AMI carries (RegisterImage, `UefiData`), with which its instances first boot.
//!
//! ```text
//!   base64 of:  0  "AMZNUEFI"
//!               8  u32  CRC-32C of all that follows
//!              12  u32  version, 0
//!              16  zlib stream (RFC 1950), level 9, with a preset dictionary of 11,381 bytes, of:
//!                    u64  number of variables, and for each
//!                    u64  length, name (UTF-8)     u64  length, data     16  vendor GUID     u32  attributes
//!                    and where these have TIME_BASED_AUTHENTICATED_WRITE_ACCESS:  16  EFI_TIME     u64  length, digest
//! ```
//! Integers are little-endian. There is no specification but AWS's own tool, python-uefivars, which wrote the published store that
//! the tests reproduce byte for byte; the dictionary is its (MIT, see NOTICE). Variables, their attributes, Secure Boot's
//! keys and signature lists are those of the UEFI specification 2.10, sections 8.2 and 32.4.1.
//!
//! **Secure Boot**: with a platform key (`PK`) it is on, without one the instance is in setup mode (EC2 user guide, "How UEFI
//! Secure Boot works"). [`UefiData::enroll`] sets `PK`, `KEK`, `db` and `dbx` from certificates (PEM, DER), signature lists (ESL) and
//! signed updates of such (`.auth`, as dbx is published).
//!
//! Refused: more than the 64,000 characters that RegisterImage takes; what inflates to more than [`INFLATED_MAX_BYTES`]; lengths that
//! are not there; a private key, wherever a certificate was expected.

mod deflate;
mod format;
mod show;
mod signatures;
#[cfg(test)]
mod tests;

pub use show::{SignatureSummary, Summary, VariableSummary};
pub use signatures::{SignatureKind, SignatureList, read_signatures};

use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::text::words;

/// Longest text (RegisterImage, ImageUefiDataRequest).
pub const TEXT_MAX_CHARS: usize = 64_000;
/// What a store may inflate to: some twenty times what a full one of certificates does.
pub const INFLATED_MAX_BYTES: usize = 1 << 20;
/// The vendor of `PK`, `KEK`, `BootOrder` (UEFI 3.3, EFI_GLOBAL_VARIABLE).
pub const GLOBAL_VARIABLE: Guid = Guid::from_bytes([0x8b, 0xe4, 0xdf, 0x61, 0x93, 0xca, 0x11, 0xd2, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
/// The vendor of `db` and `dbx` (UEFI 32.6.1, EFI_IMAGE_SECURITY_DATABASE_GUID).
pub const IMAGE_SECURITY_DATABASE: Guid = Guid::from_bytes([0xd7, 0x19, 0xb2, 0xcb, 0x3d, 0x3a, 0x45, 0x96, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);

/// Attributes of variables (UEFI 8.2).
pub mod attributes {
    /// It outlives a reset.
    pub const NON_VOLATILE: u32 = 0x01;
    /// Read before ExitBootServices.
    pub const BOOTSERVICE_ACCESS: u32 = 0x02;
    /// Read by the operating system too.
    pub const RUNTIME_ACCESS: u32 = 0x04;
    /// Writes are signed and have a time.
    pub const TIME_BASED_AUTHENTICATED_WRITE_ACCESS: u32 = 0x20;
    /// Those of Secure Boot's keys.
    pub const SECURE_BOOT: u32 = NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS | TIME_BASED_AUTHENTICATED_WRITE_ACCESS;
}

/// What signed writes leave with a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// EFI_TIME (UEFI 8.3) of the last write, which the next one has to be later than; all zeros: any is.
    pub timestamp: [u8; 16],
    /// The digest of the signer's key; 32 zeros where there is none.
    pub digest: Vec<u8>,
}

impl Default for Authentication {
    /// No time, no digest.
    fn default() -> Self {
        Self { timestamp: [0; 16], digest: vec![0; 32] }
    }
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Such as `BootOrder`.
    pub name: String,
    /// The vendor; name and vendor are what a variable is known by.
    pub vendor: Guid,
    /// See [`attributes`].
    pub attributes: u32,
    /// There exactly where the attributes have TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
    pub authentication: Option<Authentication>,
    /// Its value.
    pub data: Vec<u8>,
}

/// The variables of Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The platform key: one certificate. With it Secure Boot is on.
    Pk,
    /// Keys that may change `db` and `dbx`.
    Kek,
    /// What may boot.
    Db,
    /// What may not, whatever `db` says.
    Dbx,
}

words!(Key, "a variable of Secure Boot", [Pk = "PK", Kek = "KEK", Db = "db", Dbx = "dbx"]);

impl Key {
    /// Its vendor.
    #[must_use]
    pub fn vendor(self) -> Guid {
        match self {
            Self::Pk | Self::Kek => GLOBAL_VARIABLE,
            Self::Db | Self::Dbx => IMAGE_SECURITY_DATABASE,
        }
    }
}

/// A store of variables, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UefiData {
    /// The variables.
    pub variables: Vec<Variable>,
}

impl UefiData {
    /// No variables: an instance makes what it needs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text that RegisterImage takes and GetInstanceUefiData gives; blanks and line ends in it are no part of it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) with the place, [`LimitExceeded`](crate::ErrorKind::LimitExceeded),
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for another version.
    pub fn from_base64(text: &str) -> Result<Self> {
        format::read(text)
    }

    /// The text for RegisterImage. Equal stores give equal texts, which are those that python-uefivars writes with zlib.
    ///
    /// # Errors
    /// A variable without a name, or whose attributes contradict its authentication; two with one name and vendor; over 64,000 characters.
    pub fn to_base64(&self) -> Result<String> {
        format::write(self)
    }

    /// The variable, where there is one.
    #[must_use]
    pub fn get(&self, name: &str, vendor: Guid) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.name == name && variable.vendor == vendor)
    }

    /// Sets a variable: in place of the one with its name and vendor, else behind all others.
    pub fn set(&mut self, variable: Variable) {
        let same = self.variables.iter().position(|old| old.name == variable.name && old.vendor == variable.vendor);
        match same {
            Some(place) => self.variables[place] = variable,
            None => self.variables.push(variable),
        }
    }

    /// Sets a key of Secure Boot to `lists`, with the time `timestamp` (EFI_TIME; zeros: none).
    ///
    /// # Errors
    /// No list at all; a `PK` that is not one certificate.
    pub fn enroll(&mut self, key: Key, lists: &[SignatureList], timestamp: [u8; 16]) -> Result<()> {
        if lists.is_empty() {
            return Err(Error::invalid(format!("{key} needs at least one certificate or signature")));
        }
        let is_one_certificate = matches!(lists, [SignatureList { kind: SignatureKind::X509, signatures, .. }] if signatures.len() == 1);
        if key == Key::Pk && !is_one_certificate {
            return Err(Error::invalid("PK is one certificate (UEFI specification, section 32.3)"));
        }
        self.set(Variable {
            name: key.to_string(),
            vendor: key.vendor(),
            attributes: attributes::SECURE_BOOT,
            authentication: Some(Authentication { timestamp, ..Authentication::default() }),
            data: lists.iter().flat_map(SignatureList::encode).collect(),
        });
        Ok(())
    }

    /// Whether instances boot with Secure Boot on.
    #[must_use]
    pub fn secure_boot(&self) -> bool {
        self.get("PK", GLOBAL_VARIABLE).is_some_and(|pk| !pk.data.is_empty())
    }
}

/// EFI_TIME (UEFI 8.3) of a time in seconds since 1970, in UTC, as signed writes have it: no fraction, zone and daylight zero.
///
/// # Errors
/// A year that is not one of 1900 to 9999.
pub fn efi_time(seconds: i64) -> Result<[u8; 16]> {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let year = u16::try_from(year).ok().filter(|year| (1900..=9999).contains(year));
    let year = year.ok_or_else(|| Error::invalid(format!("{seconds} s since 1970 is not in a year from 1900 to 9999, which EFI_TIME has")))?;
    let byte = |value: i64| u8::try_from(value).expect("months, days, hours, minutes and seconds are below 256");
    let [low, high] = year.to_le_bytes();
    let mut time = [0; 16];
    time[..7].copy_from_slice(&[low, high, byte(month), byte(day), byte(second / 3600), byte(second / 60 % 60), byte(second % 60)]);
    Ok(time)
}

/// The date of a day since 1970 in the Gregorian calendar, counted in years from March (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * from_march + 2) / 5 + 1)
}
