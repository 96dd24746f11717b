//! The CRC-32C of ext4's metadata checksums, in the kernel's convention.

/// Continues a CRC-32C (Castagnoli) over `data` as the kernel's `crc32c_le` does: the state goes in and comes out
/// as it is, without the final inversion. ext4 starts from `!0` (kernel documentation, "Checksums" of ext4).
#[must_use]
pub(crate) fn crc32c(state: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!state, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_check_value_and_continues() {
        // RFC 3720, appendix B.4: 32 bytes of zeros give 0x8a9136aa after the final inversion.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
