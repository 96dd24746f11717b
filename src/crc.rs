//! The cyclic redundancy checks of ext4's metadata, in the kernel's convention.

/// Continues a CRC-32C (Castagnoli) over `data` as the kernel's `crc32c_le` does: the state goes in and comes out
/// as it is, without the final inversion. ext4 starts from `!0` (kernel documentation, "Checksums" of ext4).
#[must_use]
pub(crate) fn crc32c(state: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!state, data)
}

/// Continues a CRC-16 (polynomial 0x8005, reflected) as the kernel's `crc16` does. For group descriptors of 32 or 64 bytes, so by bits.
#[must_use]
pub(crate) fn crc16(state: u16, data: &[u8]) -> u16 {
    data.iter().fold(state, |state, byte| (0..8).fold(state ^ u16::from(*byte), |state, _| if state & 1 == 1 { state >> 1 ^ 0xa001 } else { state >> 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_check_values() {
        // CRC-16/ARC (from 0) and CRC-16/MODBUS (from !0) of the catalogue of parametrised CRC algorithms.
        assert_eq!((crc16(0, b"123456789"), crc16(!0, b"123456789")), (0xbb3d, 0x4b37));
        assert_eq!(crc16(crc16(!0, b"1234"), b"56789"), 0x4b37);
    }

    #[test]
    fn matches_the_check_value_and_continues() {
        // RFC 3720, appendix B.4: 32 bytes of zeros give 0x8a9136aa after the final inversion.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
