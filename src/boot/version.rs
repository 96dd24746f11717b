//! Which of two versions is newer: by runs of digits as numbers, as dpkg and `sort -V` do.

use std::cmp::Ordering;

/// Compares two versions by Debian's rule (Debian Policy, section 5.6.12): runs of non-digits by letters first,
/// `~` before everything, the end included; runs of digits as numbers.
///
/// A version that begins with a digit is newer than one that does not: `6.1.0` is a release, `linux` is a name.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let released = |version: &[u8]| version.first().is_some_and(u8::is_ascii_digit);
    released(a).cmp(&released(b)).then_with(|| compare_runs(a, b)).then_with(|| a.cmp(b))
}

fn compare_runs(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = split(a, |byte| !byte.is_ascii_digit());
        let (b_text, b_rest) = split(b, |byte| !byte.is_ascii_digit());
        for at in 0..a_text.len().max(b_text.len()) {
            let unequal = order(a_text.get(at)).cmp(&order(b_text.get(at)));
            if unequal != Ordering::Equal {
                return unequal;
            }
        }
        let (a_digits, a_after) = split(a_rest, u8::is_ascii_digit);
        let (b_digits, b_after) = split(b_rest, u8::is_ascii_digit);
        let (a_number, b_number) = (without_zeros(a_digits), without_zeros(b_digits));
        let unequal = a_number.len().cmp(&b_number.len()).then_with(|| a_number.cmp(b_number));
        if unequal != Ordering::Equal {
            return unequal;
        }
        (a, b) = (a_after, b_after);
    }
    Ordering::Equal
}

/// The leading bytes for which `belongs` holds, and the rest.
fn split(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| !belongs(byte)).unwrap_or(bytes.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    split(digits, |digit| *digit == b'0').1
}

/// The rank of a byte that is no digit; the end of the version ranks between `~` and the letters.
fn order(byte: Option<&u8>) -> (u8, u8) {
    match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(letter) if letter.is_ascii_alphabetic() => (2, *letter),
        Some(other) => (3, *other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ascend_as_dpkg_orders_them() {
        let ascending = [
            "linux",
            "virt",
            "2.6.9",
            "2.6.32",
            "5.10.0-9-cloud-amd64",
            "5.10.0-28-cloud-amd64",
            "6.1.0~rc1",
            "6.1.0",
            "6.1.0-9-amd64",
            "6.1.0-056-amd64",
            "6.1.0-100-amd64",
            "6.10.3-200.fc40.x86_64",
            "99999999999999999999999999",
        ];
        for (at, older) in ascending.iter().enumerate() {
            assert_eq!(compare(older.as_bytes(), older.as_bytes()), Ordering::Equal);
            for newer in &ascending[at + 1..] {
                assert_eq!(compare(older.as_bytes(), newer.as_bytes()), Ordering::Less, "{older} {newer}");
                assert_eq!(compare(newer.as_bytes(), older.as_bytes()), Ordering::Greater, "{newer} {older}");
            }
        }
    }
}
