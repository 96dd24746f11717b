//! The structures of a FAT volume with the names of the specification: "Microsoft Extensible Firmware Initiative FAT32
//! File System Specification", version 1.03 (fatgen103). All numbers are little-endian.

use byteorder::{ByteOrder as _, LittleEndian};

/// Bytes that hold the boot sector's structures, whatever the size of a sector.
pub(super) const BOOT_SECTOR_BYTES: usize = 512;
/// Bytes in a directory entry, long name or not.
pub(super) const ENTRY_BYTES: usize = 32;
/// `Signature_word` at the end of the boot sector.
pub(super) const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// `BPB_Media` and the low byte of FAT entry 0: a fixed disk.
pub(super) const MEDIA_FIXED: u8 = 0xf8;
/// `BS_BootSig`: volume id, label and type follow.
pub(super) const BOOT_SIG_EXTENDED: u8 = 0x29;
/// `DIR_Attr`: not to be written to.
pub(super) const ATTR_READ_ONLY: u8 = 0x01;
/// `DIR_Attr`: a volume label.
pub(super) const ATTR_VOLUME_ID: u8 = 0x08;
/// `DIR_Attr`: a directory.
pub(super) const ATTR_DIRECTORY: u8 = 0x10;
/// `DIR_Attr`: a file changed since it was archived, as every new file is.
pub(super) const ATTR_ARCHIVE: u8 = 0x20;
/// `DIR_Attr`: part of a long name.
pub(super) const ATTR_LONG_NAME: u8 = 0x0f;
/// `LDIR_Ord`: the last part of a long name, which stands first.
pub(super) const LAST_LONG_ENTRY: u8 = 0x40;
/// The bits of `DIR_Attr` that mark a long name.
pub(super) const ATTR_LONG_NAME_MASK: u8 = 0x3f;
/// `DIR_Name[0]` of an entry that was deleted.
pub(super) const ENTRY_DELETED: u8 = 0xe5;
/// `DIR_Name[0]` that stands for [`ENTRY_DELETED`] in a name that begins with that byte.
pub(super) const ENTRY_KANJI_E5: u8 = 0x05;
/// `DIR_NTRes`: the name before the dot is shown in lower case (Windows NT; the specification reserves the byte).
pub(super) const NT_LOWER_BASE: u8 = 0x08;
/// `DIR_NTRes`: the extension is shown in lower case.
pub(super) const NT_LOWER_EXTENSION: u8 = 0x10;
/// UTF-16 units in one part of a long name.
pub(super) const LONG_NAME_UNITS: usize = 13;

/// The boot sector and BIOS parameter block that all kinds share: bytes 0 to 35 (section "Boot Sector and BPB").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bpb {
    pub(super) bs_jmp_boot: [u8; 3],
    pub(super) bs_oem_name: [u8; 8],
    pub(super) bpb_byts_per_sec: u16,
    pub(super) bpb_sec_per_clus: u8,
    pub(super) bpb_rsvd_sec_cnt: u16,
    pub(super) bpb_num_fats: u8,
    pub(super) bpb_root_ent_cnt: u16,
    pub(super) bpb_tot_sec16: u16,
    pub(super) bpb_media: u8,
    pub(super) bpb_fat_sz16: u16,
    pub(super) bpb_sec_per_trk: u16,
    pub(super) bpb_num_heads: u16,
    pub(super) bpb_hidd_sec: u32,
    pub(super) bpb_tot_sec32: u32,
}

impl Bpb {
    pub(super) const BYTES: usize = 36;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..3].copy_from_slice(&self.bs_jmp_boot);
        out[3..11].copy_from_slice(&self.bs_oem_name);
        LittleEndian::write_u16(&mut out[11..13], self.bpb_byts_per_sec);
        out[13] = self.bpb_sec_per_clus;
        LittleEndian::write_u16(&mut out[14..16], self.bpb_rsvd_sec_cnt);
        out[16] = self.bpb_num_fats;
        LittleEndian::write_u16(&mut out[17..19], self.bpb_root_ent_cnt);
        LittleEndian::write_u16(&mut out[19..21], self.bpb_tot_sec16);
        out[21] = self.bpb_media;
        LittleEndian::write_u16(&mut out[22..24], self.bpb_fat_sz16);
        LittleEndian::write_u16(&mut out[24..26], self.bpb_sec_per_trk);
        LittleEndian::write_u16(&mut out[26..28], self.bpb_num_heads);
        LittleEndian::write_u32(&mut out[28..32], self.bpb_hidd_sec);
        LittleEndian::write_u32(&mut out[32..36], self.bpb_tot_sec32);
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            bs_jmp_boot: copy(&bytes[0..3]),
            bs_oem_name: copy(&bytes[3..11]),
            bpb_byts_per_sec: LittleEndian::read_u16(&bytes[11..13]),
            bpb_sec_per_clus: bytes[13],
            bpb_rsvd_sec_cnt: LittleEndian::read_u16(&bytes[14..16]),
            bpb_num_fats: bytes[16],
            bpb_root_ent_cnt: LittleEndian::read_u16(&bytes[17..19]),
            bpb_tot_sec16: LittleEndian::read_u16(&bytes[19..21]),
            bpb_media: bytes[21],
            bpb_fat_sz16: LittleEndian::read_u16(&bytes[22..24]),
            bpb_sec_per_trk: LittleEndian::read_u16(&bytes[24..26]),
            bpb_num_heads: LittleEndian::read_u16(&bytes[26..28]),
            bpb_hidd_sec: LittleEndian::read_u32(&bytes[28..32]),
            bpb_tot_sec32: LittleEndian::read_u32(&bytes[32..36]),
        }
    }
}

/// What identifies the volume: from byte 36 in FAT12 and FAT16, from byte 64 in FAT32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtendedBoot {
    pub(super) bs_drv_num: u8,
    pub(super) bs_reserved1: u8,
    pub(super) bs_boot_sig: u8,
    pub(super) bs_vol_id: u32,
    pub(super) bs_vol_lab: [u8; 11],
    pub(super) bs_fil_sys_type: [u8; 8],
}

impl ExtendedBoot {
    pub(super) const BYTES: usize = 26;
    /// Where it stands in the boot sector of FAT12 and FAT16.
    pub(super) const OFFSET_16: usize = 36;
    /// Where it stands in the boot sector of FAT32.
    pub(super) const OFFSET_32: usize = 64;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0] = self.bs_drv_num;
        out[1] = self.bs_reserved1;
        out[2] = self.bs_boot_sig;
        LittleEndian::write_u32(&mut out[3..7], self.bs_vol_id);
        out[7..18].copy_from_slice(&self.bs_vol_lab);
        out[18..26].copy_from_slice(&self.bs_fil_sys_type);
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            bs_drv_num: bytes[0],
            bs_reserved1: bytes[1],
            bs_boot_sig: bytes[2],
            bs_vol_id: LittleEndian::read_u32(&bytes[3..7]),
            bs_vol_lab: copy(&bytes[7..18]),
            bs_fil_sys_type: copy(&bytes[18..26]),
        }
    }
}

/// What only FAT32 has: bytes 36 to 51, and zeros to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fat32Bpb {
    pub(super) bpb_fat_sz32: u32,
    pub(super) bpb_ext_flags: u16,
    pub(super) bpb_fs_ver: u16,
    pub(super) bpb_root_clus: u32,
    pub(super) bpb_fs_info: u16,
    pub(super) bpb_bk_boot_sec: u16,
}

impl Fat32Bpb {
    pub(super) const BYTES: usize = 16;
    /// Where it stands in the boot sector.
    pub(super) const OFFSET: usize = 36;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        LittleEndian::write_u32(&mut out[0..4], self.bpb_fat_sz32);
        LittleEndian::write_u16(&mut out[4..6], self.bpb_ext_flags);
        LittleEndian::write_u16(&mut out[6..8], self.bpb_fs_ver);
        LittleEndian::write_u32(&mut out[8..12], self.bpb_root_clus);
        LittleEndian::write_u16(&mut out[12..14], self.bpb_fs_info);
        LittleEndian::write_u16(&mut out[14..16], self.bpb_bk_boot_sec);
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            bpb_fat_sz32: LittleEndian::read_u32(&bytes[0..4]),
            bpb_ext_flags: LittleEndian::read_u16(&bytes[4..6]),
            bpb_fs_ver: LittleEndian::read_u16(&bytes[6..8]),
            bpb_root_clus: LittleEndian::read_u32(&bytes[8..12]),
            bpb_fs_info: LittleEndian::read_u16(&bytes[12..14]),
            bpb_bk_boot_sec: LittleEndian::read_u16(&bytes[14..16]),
        }
    }
}

/// `BPB_ExtFlags`: only the FAT in the low four bits is kept up to date.
pub(super) const EXT_FLAGS_ONE_FAT: u16 = 0x80;
/// `BS_Reserved1`: Windows NT and Linux set it while the volume is mounted.
pub(super) const BOOT_STATE_DIRTY: u8 = 0x01;

/// The FSInfo sector of FAT32 (section "FAT32 FSInfo Sector Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FsInfo {
    pub(super) fsi_lead_sig: u32,
    pub(super) fsi_struc_sig: u32,
    pub(super) fsi_free_count: u32,
    pub(super) fsi_nxt_free: u32,
    pub(super) fsi_trail_sig: u32,
}

impl FsInfo {
    pub(super) const BYTES: usize = 512;
    pub(super) const LEAD_SIG: u32 = 0x4161_5252;
    pub(super) const STRUC_SIG: u32 = 0x6141_7272;
    pub(super) const TRAIL_SIG: u32 = 0xaa55_0000;

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        LittleEndian::write_u32(&mut out[0..4], self.fsi_lead_sig);
        LittleEndian::write_u32(&mut out[484..488], self.fsi_struc_sig);
        LittleEndian::write_u32(&mut out[488..492], self.fsi_free_count);
        LittleEndian::write_u32(&mut out[492..496], self.fsi_nxt_free);
        LittleEndian::write_u32(&mut out[508..512], self.fsi_trail_sig);
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            fsi_lead_sig: LittleEndian::read_u32(&bytes[0..4]),
            fsi_struc_sig: LittleEndian::read_u32(&bytes[484..488]),
            fsi_free_count: LittleEndian::read_u32(&bytes[488..492]),
            fsi_nxt_free: LittleEndian::read_u32(&bytes[492..496]),
            fsi_trail_sig: LittleEndian::read_u32(&bytes[508..512]),
        }
    }
}

/// An entry of a directory (section "FAT Directory Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirectoryEntry {
    pub(super) dir_name: [u8; 11],
    pub(super) dir_attr: u8,
    pub(super) dir_nt_res: u8,
    pub(super) dir_crt_time_tenth: u8,
    pub(super) dir_crt_time: u16,
    pub(super) dir_crt_date: u16,
    pub(super) dir_lst_acc_date: u16,
    pub(super) dir_fst_clus_hi: u16,
    pub(super) dir_wrt_time: u16,
    pub(super) dir_wrt_date: u16,
    pub(super) dir_fst_clus_lo: u16,
    pub(super) dir_file_size: u32,
}

impl DirectoryEntry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[0..11].copy_from_slice(&self.dir_name);
        out[11] = self.dir_attr;
        out[12] = self.dir_nt_res;
        out[13] = self.dir_crt_time_tenth;
        LittleEndian::write_u16(&mut out[14..16], self.dir_crt_time);
        LittleEndian::write_u16(&mut out[16..18], self.dir_crt_date);
        LittleEndian::write_u16(&mut out[18..20], self.dir_lst_acc_date);
        LittleEndian::write_u16(&mut out[20..22], self.dir_fst_clus_hi);
        LittleEndian::write_u16(&mut out[22..24], self.dir_wrt_time);
        LittleEndian::write_u16(&mut out[24..26], self.dir_wrt_date);
        LittleEndian::write_u16(&mut out[26..28], self.dir_fst_clus_lo);
        LittleEndian::write_u32(&mut out[28..32], self.dir_file_size);
        out
    }

    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        Self {
            dir_name: copy(&bytes[0..11]),
            dir_attr: bytes[11],
            dir_nt_res: bytes[12],
            dir_crt_time_tenth: bytes[13],
            dir_crt_time: LittleEndian::read_u16(&bytes[14..16]),
            dir_crt_date: LittleEndian::read_u16(&bytes[16..18]),
            dir_lst_acc_date: LittleEndian::read_u16(&bytes[18..20]),
            dir_fst_clus_hi: LittleEndian::read_u16(&bytes[20..22]),
            dir_wrt_time: LittleEndian::read_u16(&bytes[22..24]),
            dir_wrt_date: LittleEndian::read_u16(&bytes[24..26]),
            dir_fst_clus_lo: LittleEndian::read_u16(&bytes[26..28]),
            dir_file_size: LittleEndian::read_u32(&bytes[28..32]),
        }
    }
}

/// A part of a long name (section "FAT Long Directory Entries").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongNameEntry {
    pub(super) ldir_ord: u8,
    /// `LDIR_Name1`, `LDIR_Name2` and `LDIR_Name3` in one: the 13 units in order.
    pub(super) ldir_name: [u16; LONG_NAME_UNITS],
    pub(super) ldir_attr: u8,
    pub(super) ldir_type: u8,
    pub(super) ldir_chksum: u8,
    pub(super) ldir_fst_clus_lo: u16,
}

impl LongNameEntry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[0] = self.ldir_ord;
        LittleEndian::write_u16_into(&self.ldir_name[0..5], &mut out[1..11]);
        out[11] = self.ldir_attr;
        out[12] = self.ldir_type;
        out[13] = self.ldir_chksum;
        LittleEndian::write_u16_into(&self.ldir_name[5..11], &mut out[14..26]);
        LittleEndian::write_u16(&mut out[26..28], self.ldir_fst_clus_lo);
        LittleEndian::write_u16_into(&self.ldir_name[11..13], &mut out[28..32]);
        out
    }

    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut ldir_name = [0; LONG_NAME_UNITS];
        LittleEndian::read_u16_into(&bytes[1..11], &mut ldir_name[0..5]);
        LittleEndian::read_u16_into(&bytes[14..26], &mut ldir_name[5..11]);
        LittleEndian::read_u16_into(&bytes[28..32], &mut ldir_name[11..13]);
        Self {
            ldir_ord: bytes[0],
            ldir_name,
            ldir_attr: bytes[11],
            ldir_type: bytes[12],
            ldir_chksum: bytes[13],
            ldir_fst_clus_lo: LittleEndian::read_u16(&bytes[26..28]),
        }
    }
}

/// `N` bytes as an array; the callers slice exactly that many.
pub(super) fn copy<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice has the length of the field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_sector_fields_lie_where_the_specification_has_them() {
        let bpb = Bpb {
            bs_jmp_boot: [0xeb, 1, 2],
            bs_oem_name: *b"ABCDEFGH",
            bpb_byts_per_sec: 0x1112,
            bpb_sec_per_clus: 0x13,
            bpb_rsvd_sec_cnt: 0x1415,
            bpb_num_fats: 0x16,
            bpb_root_ent_cnt: 0x1718,
            bpb_tot_sec16: 0x1920,
            bpb_media: 0x21,
            bpb_fat_sz16: 0x2223,
            bpb_sec_per_trk: 0x2425,
            bpb_num_heads: 0x2627,
            bpb_hidd_sec: 0x2829_3031,
            bpb_tot_sec32: 0x3233_3435,
        };
        let bytes = bpb.encode();
        assert_eq!(Bpb::decode(&bytes), bpb);
        for (offset, value) in [(0, 0xeb), (3, b'A'), (11, 0x12), (13, 0x13), (14, 0x15), (16, 0x16), (17, 0x18), (19, 0x20), (21, 0x21), (22, 0x23)] {
            assert_eq!(bytes[offset], value, "at {offset}");
        }
        for (offset, value) in [(24, 0x25), (26, 0x27), (28, 0x31), (32, 0x35)] {
            assert_eq!(bytes[offset], value, "at {offset}");
        }

        let id = ExtendedBoot {
            bs_drv_num: 0x80,
            bs_reserved1: 1,
            bs_boot_sig: 0x29,
            bs_vol_id: 0x1234_5678,
            bs_vol_lab: *b"LABEL67890A",
            bs_fil_sys_type: *b"FAT16   ",
        };
        assert_eq!(ExtendedBoot::decode(&id.encode()), id);
        assert_eq!(&id.encode()[7..18], b"LABEL67890A");
        assert_eq!(ExtendedBoot::OFFSET_16 + ExtendedBoot::BYTES, 62);
        assert_eq!(ExtendedBoot::OFFSET_32 + ExtendedBoot::BYTES, 90);

        let fat32 = Fat32Bpb { bpb_fat_sz32: 0x3637_3839, bpb_ext_flags: 0x4041, bpb_fs_ver: 0x4243, bpb_root_clus: 2, bpb_fs_info: 1, bpb_bk_boot_sec: 6 };
        let bytes = fat32.encode();
        assert_eq!(Fat32Bpb::decode(&bytes), fat32);
        for (offset, value) in [(36, 0x39), (40, 0x41), (42, 0x43), (44, 2), (48, 1), (50, 6)] {
            assert_eq!(bytes[offset - Fat32Bpb::OFFSET], value, "at {offset}");
        }
    }

    #[test]
    fn fs_info_fields_lie_where_the_specification_has_them() {
        let info =
            FsInfo { fsi_lead_sig: FsInfo::LEAD_SIG, fsi_struc_sig: FsInfo::STRUC_SIG, fsi_free_count: 7, fsi_nxt_free: 9, fsi_trail_sig: FsInfo::TRAIL_SIG };
        let bytes = info.encode();
        assert_eq!(FsInfo::decode(&bytes), info);
        assert_eq!((&bytes[0..4], &bytes[484..488], bytes[488], bytes[492]), (&b"RRaA"[..], &b"rrAa"[..], 7, 9));
        assert_eq!(bytes[508..512], [0, 0, 0x55, 0xaa]);
    }

    #[test]
    fn directory_entries_lie_where_the_specification_has_them() {
        let entry = DirectoryEntry {
            dir_name: *b"NAME    TXT",
            dir_attr: 0x20,
            dir_nt_res: 0x12,
            dir_crt_time_tenth: 0x13,
            dir_crt_time: 0x1415,
            dir_crt_date: 0x1617,
            dir_lst_acc_date: 0x1819,
            dir_fst_clus_hi: 0x2021,
            dir_wrt_time: 0x2223,
            dir_wrt_date: 0x2425,
            dir_fst_clus_lo: 0x2627,
            dir_file_size: 0x2829_3031,
        };
        let bytes = entry.encode();
        assert_eq!(DirectoryEntry::decode(&bytes), entry);
        for (offset, value) in
            [(11, 0x20), (12, 0x12), (13, 0x13), (14, 0x15), (16, 0x17), (18, 0x19), (20, 0x21), (22, 0x23), (24, 0x25), (26, 0x27), (28, 0x31)]
        {
            assert_eq!(bytes[offset], value, "at {offset}");
        }

        let mut ldir_name = [0; LONG_NAME_UNITS];
        ldir_name.iter_mut().zip(0x41..).for_each(|(unit, value)| *unit = value);
        let long = LongNameEntry { ldir_ord: 0x41, ldir_name, ldir_attr: ATTR_LONG_NAME, ldir_type: 0, ldir_chksum: 0x99, ldir_fst_clus_lo: 0 };
        let bytes = long.encode();
        assert_eq!(LongNameEntry::decode(&bytes), long);
        for (offset, value) in [(0, 0x41), (1, 0x41), (9, 0x45), (11, 0x0f), (13, 0x99), (14, 0x46), (24, 0x4b), (26, 0), (28, 0x4c), (30, 0x4d)] {
            assert_eq!(bytes[offset], value, "at {offset}");
        }
    }
}
