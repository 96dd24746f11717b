//! Base64 with padding (RFC 4648, section 4), the form of checksums in AWS's interfaces. Two short functions for
//! digests of 32 bytes: a dependency would be more to read than they are.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = crate::units::index_of(bits >> (18 - 6 * at) & 0x3f);
            let is_padding = crate::units::index_of(at) > group.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[digit]) });
        }
    }
    text
}

/// The bytes that `text` stands for, or `None` if it is not base64: wrong length, character or padding, or bits set
/// behind the last byte.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (number, group) in groups.iter().enumerate() {
        let is_last = number + 1 == groups.len();
        let padding = group.iter().rev().take_while(|c| **c == b'=').count();
        if padding > 2 || padding > 0 && !is_last {
            return None;
        }
        let mut bits: u32 = 0;
        for c in &group[..4 - padding] {
            let digit = ALPHABET.iter().position(|known| known == c)?;
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        bits <<= 6 * padding;
        let [_, three @ ..] = bits.to_be_bytes();
        let (kept, dropped) = three.split_at(3 - padding);
        if dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn matches_the_vectors_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["Zg=", "Zg", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm-_", "=m9v"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
