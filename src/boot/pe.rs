//! What an EFI image or a kernel says of itself in its headers.
//!
//! Read: PE/COFF (Microsoft, "PE Format", sections "MS-DOS Stub", "COFF File Header", "Section Table"), Linux' x86
//! boot protocol (Documentation/arch/x86/boot.rst), arm64's Image header (Documentation/arch/arm64/booting.rst), the
//! compressed EFI image (drivers/firmware/efi/libstub/zboot-header.S), a gzipped Image. Files may be hostile: every
//! field is checked against the length before it is followed, and a header that lies is "not a kernel", never a panic.

use super::Architecture;
use super::files::{Files, TreeFile};
use crate::error::Result;
use crate::units::{u64_of, usize_of};
use byteorder::{ByteOrder as _, LittleEndian};
use std::io::Read as _;

/// IMAGE_FILE_MACHINE_AMD64.
const MACHINE_AMD64: u16 = 0x8664;
/// IMAGE_FILE_MACHINE_ARM64.
const MACHINE_ARM64: u16 = 0xaa64;
/// The most sections that Windows loads; UKIs have about ten.
const SECTIONS_MAX: u16 = 96;
/// The longest section that is read as text (`.cmdline`, `.osrel`, `.uname`).
const SECTION_TEXT_MAX_BYTES: u64 = 64 << 10;

/// "COFF File Header", behind the signature `PE\0\0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoffHeader {
    pub(super) machine: u16,
    pub(super) number_of_sections: u16,
    pub(super) time_date_stamp: u32,
    pub(super) pointer_to_symbol_table: u32,
    pub(super) number_of_symbols: u32,
    pub(super) size_of_optional_header: u16,
    pub(super) characteristics: u16,
}

impl CoffHeader {
    pub(super) const BYTES: usize = 20;

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            machine: LittleEndian::read_u16(&bytes[0..]),
            number_of_sections: LittleEndian::read_u16(&bytes[2..]),
            time_date_stamp: LittleEndian::read_u32(&bytes[4..]),
            pointer_to_symbol_table: LittleEndian::read_u32(&bytes[8..]),
            number_of_symbols: LittleEndian::read_u32(&bytes[12..]),
            size_of_optional_header: LittleEndian::read_u16(&bytes[16..]),
            characteristics: LittleEndian::read_u16(&bytes[18..]),
        }
    }

    #[cfg(test)]
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        LittleEndian::write_u16(&mut bytes[0..], self.machine);
        LittleEndian::write_u16(&mut bytes[2..], self.number_of_sections);
        LittleEndian::write_u32(&mut bytes[4..], self.time_date_stamp);
        LittleEndian::write_u32(&mut bytes[8..], self.pointer_to_symbol_table);
        LittleEndian::write_u32(&mut bytes[12..], self.number_of_symbols);
        LittleEndian::write_u16(&mut bytes[16..], self.size_of_optional_header);
        LittleEndian::write_u16(&mut bytes[18..], self.characteristics);
        bytes
    }
}

/// "Section Table (Section Headers)": the fields that say where a section's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SectionHeader {
    pub(super) name: [u8; 8],
    pub(super) virtual_size: u32,
    pub(super) virtual_address: u32,
    pub(super) size_of_raw_data: u32,
    pub(super) pointer_to_raw_data: u32,
}

impl SectionHeader {
    pub(super) const BYTES: usize = 40;

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut name = [0; 8];
        name.copy_from_slice(&bytes[..8]);
        Self {
            name,
            virtual_size: LittleEndian::read_u32(&bytes[8..]),
            virtual_address: LittleEndian::read_u32(&bytes[12..]),
            size_of_raw_data: LittleEndian::read_u32(&bytes[16..]),
            pointer_to_raw_data: LittleEndian::read_u32(&bytes[20..]),
        }
    }

    #[cfg(test)]
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.name);
        LittleEndian::write_u32(&mut bytes[8..], self.virtual_size);
        LittleEndian::write_u32(&mut bytes[12..], self.virtual_address);
        LittleEndian::write_u32(&mut bytes[16..], self.size_of_raw_data);
        LittleEndian::write_u32(&mut bytes[20..], self.pointer_to_raw_data);
        bytes
    }
}

/// A PE image.
#[derive(Debug, Clone)]
pub(crate) struct Pe {
    /// The architecture, if it is one that boots here.
    pub(crate) architecture: Option<Architecture>,
    /// IMAGE_FILE_MACHINE_…, for messages.
    pub(crate) machine: u16,
    sections: Vec<SectionHeader>,
}

impl Pe {
    /// Reads the headers of `file`; `None` if it is no PE image.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn read(files: &Files<'_>, file: &TreeFile) -> Result<Option<Self>> {
        let Some(dos) = files.read_array::<64>(file, 0)? else { return Ok(None) };
        if &dos[..2] != b"MZ" {
            return Ok(None);
        }
        let pe_offset = u64::from(LittleEndian::read_u32(&dos[0x3c..]));
        if files.read_array::<4>(file, pe_offset)?.as_ref() != Some(b"PE\0\0") {
            return Ok(None);
        }
        let Some(coff) = files.read_array(file, pe_offset + 4)? else { return Ok(None) };
        let coff = CoffHeader::decode(&coff);
        let architecture = match coff.machine {
            MACHINE_AMD64 => Some(Architecture::X86_64),
            MACHINE_ARM64 => Some(Architecture::Arm64),
            _ => None,
        };
        let mut sections = Vec::new();
        let table = pe_offset + 4 + u64_of(CoffHeader::BYTES) + u64::from(coff.size_of_optional_header);
        for at in 0..u64::from(coff.number_of_sections.min(SECTIONS_MAX)) {
            let Some(section) = files.read_array(file, table + at * u64_of(SectionHeader::BYTES))? else { break };
            sections.push(SectionHeader::decode(&section));
        }
        Ok(Some(Self { architecture, machine: coff.machine, sections }))
    }

    /// Whether this is a unified kernel image as loaders accept it: `.linux` and `.osrel` (UAPI, "Unified Kernel Image").
    pub(crate) fn is_uki(&self) -> bool {
        self.section(b".linux").is_some() && self.section(b".osrel").is_some()
    }

    fn section(&self, name: &[u8]) -> Option<&SectionHeader> {
        self.sections.iter().find(|section| section.name.split(|byte| *byte == 0).next() == Some(name))
    }

    /// Where the bytes of a section lie in the file; `None` if there is no such section or its header lies.
    pub(crate) fn section_range(&self, file: &TreeFile, name: &[u8]) -> Option<std::ops::Range<u64>> {
        let section = self.section(name)?;
        let start = u64::from(section.pointer_to_raw_data);
        // The size in memory leaves out the padding that the size in the file has.
        let end = start + u64::from(section.virtual_size.min(section.size_of_raw_data));
        (end <= file.data.length).then_some(start..end)
    }

    /// The text of a section without trailing NULs; `None` if there is no such section or its header lies.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn section_text(&self, files: &Files<'_>, file: &TreeFile, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(section) = self.section(name) else { return Ok(None) };
        let length = u64::from(section.virtual_size.min(section.size_of_raw_data));
        if length > SECTION_TEXT_MAX_BYTES {
            return Ok(None);
        }
        let mut text = vec![0; usize_of(length)];
        if !files.read(file, u64::from(section.pointer_to_raw_data), &mut text)? {
            return Ok(None);
        }
        text.truncate(text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        Ok(Some(text))
    }
}

/// What a kernel's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelImage {
    pub(crate) architecture: Architecture,
    /// Whether firmware and systemd-boot can start it: it is a PE image.
    pub(crate) efi_stub: bool,
}

/// A kernel, or why the file is none.
pub(crate) type Inspected = std::result::Result<KernelImage, String>;

/// Reads the header of a kernel.
///
/// # Errors
/// Those of reading; a file that is no kernel is no error.
pub(crate) fn inspect_kernel(files: &Files<'_>, file: &TreeFile) -> Result<Inspected> {
    let head = files.read_prefix(file, 0x260)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let packed = files.read_prefix(file, 64 << 10)?;
        let mut unpacked = [0; 64];
        let filled = flate2::read::GzDecoder::new(&packed[..]).read_exact(&mut unpacked).is_ok();
        return Ok(match filled.then(|| arm64_image(&unpacked)).flatten() {
            Some(architecture) => Ok(KernelImage { architecture, efi_stub: false }),
            None => Err("gzip data that is no arm64 kernel".to_owned()),
        });
    }
    let pe = Pe::read(files, file)?;
    let efi_stub = pe.as_ref().is_some_and(|pe| pe.architecture.is_some());
    if let Some(x86) = x86_image(&head) {
        return Ok(x86.map(|architecture| KernelImage { architecture, efi_stub }));
    }
    if let Some(architecture) = arm64_image(&head) {
        return Ok(Ok(KernelImage { architecture, efi_stub }));
    }
    Ok(match pe {
        // A zboot image, or a PE kernel of another making.
        Some(Pe { architecture: Some(architecture), .. }) => Ok(KernelImage { architecture, efi_stub: true }),
        Some(Pe { machine, .. }) => Err(format!("a PE image for machine 0x{machine:04x}; x86_64 and arm64 boot")),
        None if head.starts_with(b"\x7fELF") => Err("an ELF file; loaders take a bzImage (x86_64) or an Image (arm64)".to_owned()),
        None => Err("no kernel header in it".to_owned()),
    })
}

/// x86's "real-mode kernel header": `HdrS` at 0x202, protocol version at 0x206, `xloadflags` at 0x236 from 2.12.
fn x86_image(head: &[u8]) -> Option<std::result::Result<Architecture, String>> {
    const XLF_KERNEL_64: u16 = 1;
    if head.get(0x1fe..0x200)? != [0x55, 0xaa] || head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let version = LittleEndian::read_u16(head.get(0x206..0x208)?);
    let xloadflags = LittleEndian::read_u16(head.get(0x236..0x238)?);
    Some(if version >= 0x020c && xloadflags & XLF_KERNEL_64 != 0 {
        Ok(Architecture::X86_64)
    } else {
        Err("a 32-bit x86 kernel; x86_64 and arm64 boot".to_owned())
    })
}

/// arm64's header: `ARM\x64` at 56.
fn arm64_image(head: &[u8]) -> Option<Architecture> {
    (head.get(56..60)? == b"ARM\x64").then_some(Architecture::Arm64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structs_lie_where_the_specification_says() {
        let coff = CoffHeader {
            machine: MACHINE_AMD64,
            number_of_sections: 2,
            time_date_stamp: 3,
            pointer_to_symbol_table: 4,
            number_of_symbols: 5,
            size_of_optional_header: 6,
            characteristics: 7,
        };
        let bytes = coff.encode();
        assert_eq!(bytes, [0x64, 0x86, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 7, 0]);
        assert_eq!(CoffHeader::decode(&bytes), coff);
        let section = SectionHeader { name: *b".linux\0\0", virtual_size: 8, virtual_address: 12, size_of_raw_data: 16, pointer_to_raw_data: 20 };
        let bytes = section.encode();
        for (offset, value) in [(8, 8), (12, 12), (16, 16), (20, 20)] {
            assert_eq!(bytes[offset], value, "at {offset}");
        }
        assert_eq!(SectionHeader::decode(&bytes), section);
    }
}
