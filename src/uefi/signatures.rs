//! Signature lists: what the variables of Secure Boot hold (UEFI specification 2.10, section 32.4.1).
//!
//! ```text
//!   EFI_SIGNATURE_LIST   0  GUID SignatureType     16  u32 SignatureListSize     20  u32 SignatureHeaderSize     24  u32 SignatureSize
//!                       28  header, SignatureHeaderSize bytes, then as often as fits
//!   EFI_SIGNATURE_DATA      GUID SignatureOwner, SignatureSize - 16 bytes: a certificate (DER), a digest
//! ```

use crate::checksum::base64_decode;
use crate::error::{Error, Result, escape};
use crate::guid::Guid;
use crate::units::{index_of, u64_of};
use byteorder::{ByteOrder as _, LittleEndian};

/// The list without header and signatures.
const LIST_BYTES: usize = 28;
/// A signature's owner.
const OWNER_BYTES: usize = 16;
/// EFI_VARIABLE_AUTHENTICATION_2 (section 8.2.2): EFI_TIME, then WIN_CERTIFICATE_UEFI_GUID with its length.
const TIME_BYTES: usize = 16;
/// Its revision, type and GUID (EFI_CERT_TYPE_PKCS7_GUID).
const WIN_CERTIFICATE: [u8; 20] = [0x00, 0x02, 0xf1, 0x0e, 0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7];
const PEM_BEGIN: &str = "-----BEGIN ";

/// What a list holds (section 32.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureKind {
    /// EFI_CERT_X509_GUID: certificates in DER.
    X509,
    /// EFI_CERT_SHA256_GUID: digests of images.
    Sha256,
    /// Another kind, by its GUID.
    Other(Guid),
}

const X509: Guid = Guid::from_bytes([0xa5, 0xc0, 0x59, 0xa1, 0x94, 0xe4, 0x4a, 0xa7, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
const SHA256: Guid = Guid::from_bytes([0xc1, 0xc4, 0x16, 0x26, 0x50, 0x4c, 0x40, 0x92, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28]);

impl SignatureKind {
    /// Its GUID.
    #[must_use]
    pub fn guid(self) -> Guid {
        match self {
            Self::X509 => X509,
            Self::Sha256 => SHA256,
            Self::Other(guid) => guid,
        }
    }

    fn of(guid: Guid) -> Self {
        match guid {
            X509 => Self::X509,
            SHA256 => Self::Sha256,
            other => Self::Other(other),
        }
    }
}

/// A list of signatures of one kind and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureList {
    /// What it holds.
    pub kind: SignatureKind,
    /// Empty for all kinds that are known.
    pub header: Vec<u8>,
    /// Owner and signature; at least one, all of one length.
    pub signatures: Vec<(Guid, Vec<u8>)>,
}

impl SignatureList {
    /// The list of one certificate in DER.
    #[must_use]
    pub fn certificate(owner: Guid, der: Vec<u8>) -> Self {
        Self { kind: SignatureKind::X509, header: Vec::new(), signatures: vec![(owner, der)] }
    }

    /// The bytes of the list.
    ///
    /// # Panics
    /// Where the signatures are not of one length, or over 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len = self.signatures.first().map_or(0, |(_, signature)| signature.len());
        assert!(self.signatures.iter().all(|(_, signature)| signature.len() == len), "signatures of a list are of one length");
        let size = |bytes: usize| u32::try_from(bytes).expect("a list is below 4 GiB");
        let mut list = [0; LIST_BYTES];
        list[..16].copy_from_slice(&self.kind.guid().to_bytes_le());
        LittleEndian::write_u32(&mut list[16..20], size(LIST_BYTES + self.header.len() + self.signatures.len() * (OWNER_BYTES + len)));
        LittleEndian::write_u32(&mut list[20..24], size(self.header.len()));
        LittleEndian::write_u32(&mut list[24..28], size(OWNER_BYTES + len));
        let mut bytes = [&list[..], &self.header].concat();
        for (owner, signature) in &self.signatures {
            bytes.extend_from_slice(&owner.to_bytes_le());
            bytes.extend_from_slice(signature);
        }
        bytes
    }

    /// All lists that `bytes` consist of.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) with the offset for sizes that contradict each other or are not there.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>> {
        let mut lists = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (list, len) = Self::decode(&bytes[at..]).map_err(|error| error.at_offset(u64_of(at)))?;
            lists.push(list);
            at += len;
        }
        Ok(lists)
    }

    fn decode(bytes: &[u8]) -> Result<(Self, usize)> {
        let Some(head) = bytes.first_chunk::<LIST_BYTES>() else {
            return Err(Error::corrupt(format!("a signature list begins with {LIST_BYTES} bytes, and {} are left", bytes.len())));
        };
        let mut guid = [0; 16];
        guid.copy_from_slice(&head[..16]);
        let size = |at: usize| index_of(LittleEndian::read_u32(&head[at..at + 4]));
        let (list, header, signature) = (size(16), size(20), size(24));
        let signatures = list.checked_sub(LIST_BYTES).and_then(|rest| rest.checked_sub(header)).filter(|_| list <= bytes.len());
        let signatures = signatures.filter(|all| signature > OWNER_BYTES && *all > 0 && all.is_multiple_of(signature)).ok_or_else(|| {
            Error::corrupt(format!("a signature list of {list} bytes, with a header of {header} and signatures of {signature}, where {} are left", bytes.len()))
        })?;
        let body = &bytes[LIST_BYTES..list];
        let one = |bytes: &[u8]| {
            let mut owner = [0; 16];
            owner.copy_from_slice(&bytes[..OWNER_BYTES]);
            (Guid::from_bytes_le(owner), bytes[OWNER_BYTES..].to_vec())
        };
        debug_assert_eq!(body.len(), header + signatures);
        let read = Self {
            kind: SignatureKind::of(Guid::from_bytes_le(guid)),
            header: body[..header].to_vec(),
            signatures: body[header..].chunks_exact(signature).map(one).collect(),
        };
        Ok((read, list))
    }
}

/// Reads a file with certificates or signatures: PEM (one certificate or more), DER, signature lists (ESL), or a signed update of a
/// variable (`.auth`), told by what is in it. Certificates get the owner `owner`.
///
/// # Errors
/// What is none of these; a private key, whose bytes are in no message.
pub fn read_signatures(bytes: &[u8], owner: Guid) -> Result<Vec<SignatureList>> {
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains(PEM_BEGIN)) {
        return pem(text, owner);
    }
    if let Some(der) = is_der(bytes) {
        return match der {
            Der::Certificate => Ok(vec![SignatureList::certificate(owner, bytes.to_vec())]),
            Der::Other => Err(Error::invalid("this is DER, but no certificate (a private key must never come here)")),
        };
    }
    let signed = bytes.get(TIME_BYTES..).and_then(|rest| rest.split_first_chunk::<4>()).filter(|(_, rest)| rest.starts_with(&WIN_CERTIFICATE));
    let (lists, at) = match signed {
        None => (bytes, 0),
        Some((len, _)) => {
            let at = TIME_BYTES + index_of(u32::from_le_bytes(*len));
            (bytes.get(at..).ok_or_else(|| Error::corrupt(format!("a signed update whose signature ends at byte {at} of {}", bytes.len())))?, at)
        }
    };
    let lists = SignatureList::decode_all(lists).map_err(|error| error.within(format!("the signature lists from byte {at} on")))?;
    if lists.is_empty() {
        return Err(Error::invalid("there is no certificate and no signature in it"));
    }
    Ok(lists)
}

fn pem(text: &str, owner: Guid) -> Result<Vec<SignatureList>> {
    let mut lists = Vec::new();
    let mut block: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(label) = line.strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix("-----")) {
            if label.contains("PRIVATE KEY") {
                return Err(Error::invalid(format!("line {number}: a private key, which never belongs into an image; the certificate was expected")));
            }
            if !matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") || block.is_some() {
                return Err(Error::invalid(format!("line {number}: a certificate was expected, not \"{}\"", escape(label.as_bytes()))));
            }
            block = Some(String::new());
        } else if line.starts_with("-----END ") {
            let der = block.take().and_then(|text| base64_decode(&text)).filter(|der| matches!(is_der(der), Some(Der::Certificate)));
            let der = der.ok_or_else(|| Error::corrupt(format!("line {number}: what ends here is no certificate")))?;
            lists.push(SignatureList::certificate(owner, der));
        } else if let Some(block) = &mut block {
            block.push_str(line);
        }
    }
    match block {
        Some(_) => Err(Error::corrupt("the last certificate is cut off")),
        None if lists.is_empty() => Err(Error::invalid("there is no certificate in it")),
        None => Ok(lists),
    }
}

enum Der {
    Certificate,
    Other,
}

/// Whether all of it is one DER sequence, and whether that looks like a certificate: a sequence of two sequences and a bit string
/// (RFC 5280, section 4.1). Keys begin with an integer.
fn is_der(bytes: &[u8]) -> Option<Der> {
    let (0x30, body, []) = element(bytes)? else { return None };
    let parts = || {
        let (tbs, content, rest) = element(body)?;
        let (algorithm, _, rest) = element(rest)?;
        let (signature, _, rest) = element(rest)?;
        Some((tbs, algorithm, signature) == (0x30, 0x30, 0x03) && rest.is_empty() && !content.is_empty())
    };
    Some(if parts() == Some(true) { Der::Certificate } else { Der::Other })
}

/// Tag, contents and what follows of the first DER element (X.690, section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((*tag, contents, rest))
}
