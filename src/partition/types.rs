//! Partition types by name: those of the Discoverable Partitions Specification (uapi-group.org, "Defined Partition Type
//! UUIDs"), of the UEFI specification (2.10, table 5-7) and a few more, with the names that systemd uses.
//!
//! A type can be written as a name, as a GUID (GPT) or as a byte such as `0x83` (MBR). The names `root`, `usr` and their
//! verity partners stand for those of an architecture.

use super::TableKind;
use crate::error::{Error, Result};
use crate::guid::Guid;
use std::fmt;

/// The type of a partition as its table stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// A type GUID.
    Gpt(Guid),
    /// A type byte.
    Mbr(u8),
}

/// A type that has a name.
#[derive(Debug)]
struct Known {
    name: &'static str,
    guid: Guid,
    /// What comes nearest in an MBR, if anything does.
    mbr: Option<u8>,
}

const fn known(name: &'static str, guid: u128, mbr: Option<u8>) -> Known {
    Known { name, guid: Guid::from_bytes(guid.to_be_bytes()), mbr }
}

/// All types by name. Of types that share an MBR byte the first gives the byte its name.
const KNOWN: &[Known] = &[
    known("esp", 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, Some(0xef)),
    known("xbootldr", 0xbc13c2ff_59e6_4262_a352_b275fd6f7172, Some(0xea)),
    known("linux", 0x0fc63daf_8483_4772_8e79_3d69d8477de4, Some(0x83)),
    known("swap", 0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f, Some(0x82)),
    known("home", 0x933ac7e1_2eb4_4f13_b844_0e14e2aef915, Some(0x83)),
    known("srv", 0x3b8f8425_20e0_4f3b_907f_1a25a76f98e8, Some(0x83)),
    known("var", 0x4d21b016_b534_45c2_a9fb_5c16e091fd2d, Some(0x83)),
    known("tmp", 0x7ec6f557_3bc5_4aca_b293_16ef5df639d1, Some(0x83)),
    known("user-home", 0x773f91ef_66d4_49b5_bd83_d683bf40ad16, Some(0x83)),
    known("linux-lvm", 0xe6d6d379_f507_44c2_a23c_238f2a3df928, Some(0x8e)),
    known("linux-raid", 0xa19d880f_05fc_4d3b_a006_743f0f84911e, Some(0xfd)),
    known("bios-boot", 0x21686148_6449_6e6f_744e_656564454649, None),
    known("prep", 0x9e1a2d38_c612_4316_aa26_8b49521e5a8b, Some(0x41)),
    known("microsoft-reserved", 0xe3c9e316_0b5c_4db8_817d_f92df00215ae, None),
    known("microsoft-basic-data", 0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7, Some(0x07)),
    known("root-x86-64", 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709, Some(0x83)),
    known("root-x86", 0x44479540_f297_41b2_9af7_d131d5f0458a, Some(0x83)),
    known("root-arm64", 0xb921b045_1df0_41c3_af44_4c6f280d3fae, Some(0x83)),
    known("root-arm", 0x69dad710_2ce4_4e3c_b16c_21a1d49abed3, Some(0x83)),
    known("root-riscv64", 0x72ec70a6_cf74_40e6_bd49_4bda08e8f224, Some(0x83)),
    known("root-loongarch64", 0x77055800_792c_4f94_b39a_98c91b762bb6, Some(0x83)),
    known("root-ppc64-le", 0xc31c45e6_3f39_412e_80fb_4809c4980599, Some(0x83)),
    known("root-s390x", 0x5eead9a9_fe09_4a1e_a1d7_520d00531306, Some(0x83)),
    known("root-x86-64-verity", 0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5, Some(0x83)),
    known("root-x86-verity", 0xd13c5d3b_b5d1_422a_b29f_9454fdc89d76, Some(0x83)),
    known("root-arm64-verity", 0xdf3300ce_d69f_4c92_978c_9bfb0f38d820, Some(0x83)),
    known("root-arm-verity", 0x7386cdf2_203c_47a9_a498_f2ecce45a2d6, Some(0x83)),
    known("root-riscv64-verity", 0xb6ed5582_440b_4209_b8da_5ff7c419ea3d, Some(0x83)),
    known("root-loongarch64-verity", 0xf3393b22_e9af_4613_a948_9d3bfbd0c535, Some(0x83)),
    known("root-ppc64-le-verity", 0x906bd944_4589_4aae_a4e4_dd983917446a, Some(0x83)),
    known("root-s390x-verity", 0xb325bfbe_c7be_4ab8_8357_139e652d2f6b, Some(0x83)),
    known("root-x86-64-verity-sig", 0x41092b05_9fc8_4523_994f_2def0408b176, Some(0x83)),
    known("root-x86-verity-sig", 0x5996fc05_109c_48de_808b_23fa0830b676, Some(0x83)),
    known("root-arm64-verity-sig", 0x6db69de6_29f4_4758_a7a5_962190f00ce3, Some(0x83)),
    known("root-arm-verity-sig", 0x42b0455f_eb11_491d_98d3_56145ba9d037, Some(0x83)),
    known("root-riscv64-verity-sig", 0xefe0f087_ea8d_4469_821a_4c2a96a8386a, Some(0x83)),
    known("root-loongarch64-verity-sig", 0x5afb67eb_ecc8_4f85_ae8e_ac1e7c50e7d0, Some(0x83)),
    known("root-ppc64-le-verity-sig", 0xd4a236e7_e873_4c07_bf1d_bf6cf7f1c3c6, Some(0x83)),
    known("root-s390x-verity-sig", 0xc80187a5_73a3_491a_901a_017c3fa953e9, Some(0x83)),
    known("usr-x86-64", 0x8484680c_9521_48c6_9c11_b0720656f69e, Some(0x83)),
    known("usr-x86", 0x75250d76_8cc6_458e_bd66_bd47cc81a812, Some(0x83)),
    known("usr-arm64", 0xb0e01050_ee5f_4390_949a_9101b17104e9, Some(0x83)),
    known("usr-arm", 0x7d0359a3_02b3_4f0a_865c_654403e70625, Some(0x83)),
    known("usr-riscv64", 0xbeaec34b_8442_439b_a40b_984381ed097d, Some(0x83)),
    known("usr-loongarch64", 0xe611c702_575c_4cbe_9a46_434fa0bf7e3f, Some(0x83)),
    known("usr-ppc64-le", 0x15bb03af_77e7_4d4a_b12b_c0d084f7491c, Some(0x83)),
    known("usr-s390x", 0x8a4f5770_50aa_4ed3_874a_99b710db6fea, Some(0x83)),
    known("usr-x86-64-verity", 0x77ff5f63_e7b6_4633_acf4_1565b864c0e6, Some(0x83)),
    known("usr-x86-verity", 0x8f461b0d_14ee_4e81_9aa9_049b6fb97abd, Some(0x83)),
    known("usr-arm64-verity", 0x6e11a4e7_fbca_4ded_b9e9_e1a512bb664e, Some(0x83)),
    known("usr-arm-verity", 0xc215d751_7bcd_4649_be90_6627490a4c05, Some(0x83)),
    known("usr-riscv64-verity", 0x8f1056be_9b05_47c4_81d6_be53128e5b54, Some(0x83)),
    known("usr-loongarch64-verity", 0xf46b2c26_59ae_48f0_9106_c50ed47f673d, Some(0x83)),
    known("usr-ppc64-le-verity", 0xee2b9983_21e8_4153_86d9_b6901a54d1ce, Some(0x83)),
    known("usr-s390x-verity", 0x31741cc4_1a2a_4111_a581_e00b447d2d06, Some(0x83)),
    known("usr-x86-64-verity-sig", 0xe7bb33fb_06cf_4e81_8273_e543b413e2e2, Some(0x83)),
    known("usr-x86-verity-sig", 0x974a71c0_de41_43c3_be5d_5c5ccd1ad2c0, Some(0x83)),
    known("usr-arm64-verity-sig", 0xc23ce4ff_44bd_4b00_b2d4_b41b3419e02a, Some(0x83)),
    known("usr-arm-verity-sig", 0xd7ff812f_37d1_4902_a810_d76ba57b975a, Some(0x83)),
    known("usr-riscv64-verity-sig", 0xd2f9000a_7a18_453f_b5cd_4d32f77a7b32, Some(0x83)),
    known("usr-loongarch64-verity-sig", 0xb024f315_d330_444c_8461_44bbde524e99, Some(0x83)),
    known("usr-ppc64-le-verity-sig", 0xc8bfbd1e_268e_4521_8bba_bf314c399557, Some(0x83)),
    known("usr-s390x-verity-sig", 0x3f324816_667b_46ae_86ee_9b0c0c6c11b4, Some(0x83)),
];

/// MBR types that have no GUID of their own.
const MBR_ONLY: &[(&str, u8)] = &[("fat12", 0x01), ("fat16", 0x0e), ("fat32", 0x0c), ("extended", 0x0f), ("gpt-protective", 0xee)];

/// Names that stand for the type of an architecture: the parts before and after it.
const BY_ARCHITECTURE: &[(&str, &str, &str)] = &[
    ("root", "root", ""),
    ("root-verity", "root", "-verity"),
    ("root-verity-sig", "root", "-verity-sig"),
    ("usr", "usr", ""),
    ("usr-verity", "usr", "-verity"),
    ("usr-verity-sig", "usr", "-verity-sig"),
];

/// Architectures by every name in use, and as they stand in the names of types.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("x86_64", "x86-64"),
    ("x86-64", "x86-64"),
    ("amd64", "x86-64"),
    ("arm64", "arm64"),
    ("aarch64", "arm64"),
    ("x86", "x86"),
    ("i386", "x86"),
    ("arm", "arm"),
    ("riscv64", "riscv64"),
    ("loongarch64", "loongarch64"),
    ("ppc64-le", "ppc64-le"),
    ("ppc64le", "ppc64-le"),
    ("s390x", "s390x"),
];

impl PartitionType {
    /// Reads a type for a table of the given kind: a name, else a GUID (GPT) or a byte like `0x83` (MBR). `root` and `usr` are
    /// resolved by `architecture` (`x86_64`, `arm64`, …).
    ///
    /// # Errors
    /// An unknown name; a type that the kind of table does not have; `root` or `usr` without an architecture that is known.
    pub fn parse(text: &str, table: TableKind, architecture: Option<&str>) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let name = by_architecture(&lower, table, architecture)?.unwrap_or_else(|| lower.clone());
        let found = KNOWN.iter().find(|known| known.name == name || (name == "linux-generic" && known.name == "linux"));
        let impossible = || Error::invalid(format!("the partition type {text:?} is not possible in a table of the kind {table}"));
        if table == TableKind::Mbr {
            let only = MBR_ONLY.iter().find(|(only, _)| *only == name).map(|(_, byte)| *byte);
            let byte = lower.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok());
            return match (found, only.or(byte)) {
                (_, Some(0)) => Err(Error::invalid("the partition type 0x00 means that there is no partition")),
                (_, Some(byte)) => Ok(Self::Mbr(byte)),
                (Some(known), None) => known.mbr.map(Self::Mbr).ok_or_else(impossible),
                (None, None) if name.parse::<Guid>().is_ok() => Err(impossible()),
                (None, None) => Err(unknown(text)),
            };
        }
        match (found, name.parse::<Guid>()) {
            (Some(known), _) => Ok(Self::Gpt(known.guid)),
            (None, Ok(guid)) if *guid.as_bytes() == [0; 16] => Err(Error::invalid("the partition type of only zeros means that there is no partition")),
            (None, Ok(guid)) => Ok(Self::Gpt(guid)),
            (None, Err(_)) if MBR_ONLY.iter().any(|(only, _)| *only == name) || name.starts_with("0x") => Err(impossible()),
            (None, Err(_)) => Err(unknown(text)),
        }
    }

    /// The name of the type, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Gpt(guid) => KNOWN.iter().find(|known| known.guid == *guid).map(|known| known.name),
            Self::Mbr(byte) => {
                let only = MBR_ONLY.iter().find(|(_, only)| only == byte).map(|(name, _)| *name);
                only.or_else(|| KNOWN.iter().find(|known| known.mbr == Some(*byte)).map(|known| known.name))
            }
        }
    }

    /// Whether this is an EFI system partition.
    #[must_use]
    pub fn is_esp(&self) -> bool {
        self.name() == Some("esp")
    }

    /// Whether this is the root partition of an architecture. An MBR has no such type.
    #[must_use]
    pub fn is_root(&self) -> bool {
        let rest = self.name().and_then(|name| name.strip_prefix("root-"));
        rest.is_some_and(|rest| ARCHITECTURES.iter().any(|(_, architecture)| *architecture == rest))
    }
}

impl fmt::Display for PartitionType {
    /// The name, else the GUID or the byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.pad(name),
            (None, Self::Gpt(guid)) => fmt::Display::fmt(guid, f),
            (None, Self::Mbr(byte)) => f.pad(&format!("0x{byte:02x}")),
        }
    }
}

/// The GPT type of the root partition of an architecture (`x86_64`, `arm64`, …).
///
/// # Errors
/// An architecture that the Discoverable Partitions Specification does not have, or that is not in our table.
pub fn root_type(architecture: &str) -> Result<PartitionType> {
    PartitionType::parse("root", TableKind::Gpt, Some(architecture))
}

/// The name that `root`, `usr`, … stand for; `None` for other names.
fn by_architecture(name: &str, table: TableKind, architecture: Option<&str>) -> Result<Option<String>> {
    let Some((_, before, after)) = BY_ARCHITECTURE.iter().find(|(generic, ..)| *generic == name) else { return Ok(None) };
    // All are one type in an MBR.
    let architecture = if table == TableKind::Mbr { "x86-64" } else { architecture.unwrap_or_default() };
    let known = ARCHITECTURES.iter().find(|(other, _)| other.eq_ignore_ascii_case(architecture));
    let (_, part) = known.ok_or_else(|| match architecture {
        "" => Error::invalid(format!("the partition type {name:?} needs an architecture; say {name:?} by its full name, such as \"{before}-x86-64{after}\"")),
        other => Error::invalid(format!("there is no partition type {name:?} for the architecture {other:?}")),
    })?;
    Ok(Some(format!("{before}-{part}{after}")))
}

fn unknown(text: &str) -> Error {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).take_while(|name| !name.starts_with("root-")).collect();
    Error::invalid(format!(
        "{text:?} is no partition type: a name ({}, root, root-x86-64, root-arm64, usr, …), a GUID (GPT) or a byte like 0x83 (MBR) was expected",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn gpt(text: &str) -> Result<PartitionType> {
        PartitionType::parse(text, TableKind::Gpt, None)
    }

    fn mbr(text: &str) -> Result<PartitionType> {
        PartitionType::parse(text, TableKind::Mbr, None)
    }

    #[test]
    fn names_guids_and_bytes_are_read() {
        assert_eq!(gpt("esp").unwrap().to_string(), "esp");
        assert_eq!(gpt("ESP").unwrap(), gpt("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").unwrap());
        assert_eq!(gpt("C12A7328-F81F-11D2-BA4B-00A0C93EC93B").unwrap().name(), Some("esp"));
        assert_eq!(gpt("linux-generic").unwrap(), gpt("linux").unwrap());
        assert_eq!(gpt("12345678-1234-1234-1234-123456789abc").unwrap().to_string(), "12345678-1234-1234-1234-123456789abc");
        for (text, byte) in
            [("esp", 0xef), ("linux", 0x83), ("swap", 0x82), ("fat32", 0x0c), ("0x83", 0x83), ("root", 0x83), ("root-arm64", 0x83), ("0xA5", 0xa5)]
        {
            assert_eq!(mbr(text).unwrap(), PartitionType::Mbr(byte), "{text}");
        }
        assert_eq!(PartitionType::Mbr(0x83).to_string(), "linux");
        assert_eq!(PartitionType::Mbr(0xa5).to_string(), "0xa5");
    }

    #[test]
    fn types_that_do_not_go_with_the_table_or_do_not_exist_are_refused() {
        for text in ["", "0x83", "fat32", "nonsense", "root", "00000000-0000-0000-0000-000000000000"] {
            assert!(gpt(text).is_err(), "{text}");
        }
        for text in ["", "0x00", "0x100", "bios-boot", "nonsense", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
            assert!(mbr(text).is_err(), "{text}");
        }
    }

    #[test]
    fn root_is_resolved_by_architecture() {
        for (architecture, name) in [("x86_64", "root-x86-64"), ("arm64", "root-arm64"), ("aarch64", "root-arm64"), ("riscv64", "root-riscv64")] {
            assert_eq!(root_type(architecture).unwrap().to_string(), name);
            assert!(root_type(architecture).unwrap().is_root());
        }
        assert_eq!(PartitionType::parse("usr-verity-sig", TableKind::Gpt, Some("x86_64")).unwrap().to_string(), "usr-x86-64-verity-sig");
        assert!(!gpt("root-x86-64-verity").unwrap().is_root() && !gpt("linux").unwrap().is_root());
        assert!(root_type("vax").is_err());
    }

    #[test]
    fn names_and_guids_are_unique() {
        assert_eq!(KNOWN.iter().map(|known| known.name).collect::<HashSet<_>>().len(), KNOWN.len());
        assert_eq!(KNOWN.iter().map(|known| known.guid).collect::<HashSet<_>>().len(), KNOWN.len());
    }
}
