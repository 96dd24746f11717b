//! Base64 of RFC 4648, section 4, with padding: bytes that are no text, in a recipe.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` as base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let sextets = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        for (index, sextet) in sextets.into_iter().enumerate() {
            out.push(if index <= chunk.len() { char::from(ALPHABET[usize::from(sextet)]) } else { '=' });
        }
    }
    out
}

/// What [`encode`] gives; `None` for any other text, bits behind the end that are not zero included.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let digits = group.iter().take_while(|b| **b != b'=').count();
        if group.len() != 4 || digits < 2 || group[digits..].iter().any(|b| *b != b'=') {
            return None;
        }
        let mut bits = 0_u32;
        for digit in &group[..digits] {
            let sextet = ALPHABET.iter().position(|letter| letter == digit)?;
            bits = bits << 6 | u32::try_from(sextet).ok()?;
        }
        bits <<= 6 * (4 - u32::try_from(digits).ok()?);
        out.extend(&bits.to_be_bytes()[1..digits]);
    }
    // A padded group before the end, or bits that are not zero behind the last byte, would not come out again.
    (encode(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_vectors_of_the_rfc_go_both_ways() {
        // RFC 4648, section 10.
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["Zg", "Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Z===", "====", "Zm9v\n", "Zm 9", "Zm-_", "Zg=a"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
