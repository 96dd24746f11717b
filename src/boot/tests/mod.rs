//! Trees with tiny kernels and loaders, and what is made of them.

mod hostile;
mod loaders;
mod settings;

use super::pe::{CoffHeader, SectionHeader};
use super::*;
use crate::content::MemoryContents;
use crate::tree::{Metadata, NewNode, NodeKind, Timestamp, TreeBuilder};
use std::sync::Arc;

pub(crate) const AMD64: u16 = 0x8664;
pub(crate) const ARM64: u16 = 0xaa64;

/// A tree in the making, with contents in memory.
pub(crate) struct Fake {
    tree: TreeBuilder,
    memory: MemoryContents,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { tree: TreeBuilder::new(), memory: MemoryContents::new() }
    }

    /// Debian with a kernel, its initramfs and init; no loader.
    pub(crate) fn debian() -> Self {
        Self::new()
            .file("usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")
            .link("etc/os-release", "../usr/lib/os-release")
            .file("boot/vmlinuz-6.1.0-9-cloud-amd64", bzimage())
            .file("boot/initrd.img-6.1.0-9-cloud-amd64", "initrd")
            .file("sbin/init", "init")
    }

    /// The same with shim and signed GRUB.
    pub(crate) fn debian_grub() -> Self {
        Self::debian().signed_grub("x64", "x86_64", AMD64)
    }

    pub(crate) fn signed_grub(self, suffix: &str, platform: &str, machine: u16) -> Self {
        self.file(&format!("usr/lib/shim/shim{suffix}.efi.signed"), pe(machine, &[]))
            .file(&format!("usr/lib/shim/mm{suffix}.efi.signed"), pe(machine, &[]))
            .file(&format!("usr/lib/shim/fb{suffix}.efi.signed"), pe(machine, &[]))
            .file(&format!("usr/lib/grub/{platform}-efi-signed/grub{suffix}.efi.signed"), grub(machine, "debian"))
    }

    pub(crate) fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let content = self.memory.push(bytes.as_ref()).unwrap();
        let length = crate::units::u64_of(bytes.as_ref().len());
        self.tree.add(path, Metadata { mode: 0o644, ..Metadata::default() }, NewNode::File { content, length, data: None }).unwrap();
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.tree.add(path, Metadata { mode: 0o777, ..Metadata::default() }, NewNode::Symlink(target.as_bytes())).unwrap();
        self
    }

    pub(crate) fn folder(mut self, path: &str) -> Self {
        self.tree.add(path, Metadata { mode: 0o755, ..Metadata::default() }, NewNode::Directory).unwrap();
        self
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        assert!(self.tree.remove(path).unwrap(), "{path}");
        self
    }

    pub(crate) fn done(self) -> (Tree, ContentStore) {
        let mut store = ContentStore::new();
        let count = self.memory.count();
        store.add(Arc::new(self.memory), count).unwrap();
        (self.tree.freeze().unwrap(), store)
    }

    /// Prepared with `options`.
    pub(crate) fn prepare(self, options: &Options) -> Result<Made> {
        let (tree, mut store) = self.done();
        let prepared = prepare(tree, None, &mut store, options, &ids())?;
        Ok(Made { prepared, store })
    }

    /// The message of the error that preparing gives.
    pub(crate) fn refusal(self, options: &Options) -> (crate::ErrorKind, String) {
        let error = self.prepare(options).map(|made| made.prepared.summary).unwrap_err();
        (error.kind(), error.to_string())
    }
}

/// What was made.
pub(crate) struct Made {
    pub(crate) prepared: Prepared,
    pub(crate) store: ContentStore,
}

impl Made {
    pub(crate) fn root(&self, path: &str) -> String {
        text(&self.prepared.root, &self.store, path).unwrap_or_else(|| panic!("no {path} in the root"))
    }

    pub(crate) fn esp(&self, path: &str) -> String {
        text(&self.prepared.esp, &self.store, path).unwrap_or_else(|| panic!("no {path} on the ESP: {:?}", self.esp_files()))
    }

    /// The files of the ESP.
    pub(crate) fn esp_files(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.prepared
            .esp
            .walk(|path, id| {
                if !self.prepared.esp.node(id).is_directory() {
                    all.push(String::from_utf8(path.to_vec()).unwrap());
                }
                Ok(())
            })
            .unwrap();
        all
    }

    pub(crate) fn has_note(&self, part: &str) -> bool {
        self.prepared.notes.iter().any(|note| note.contains(part))
    }
}

fn text(tree: &Tree, store: &ContentStore, path: &str) -> Option<String> {
    let NodeKind::File(file) = tree.node(tree.resolve(path)?).kind else { return None };
    let mut bytes = vec![0; crate::units::usize_of(file.length)];
    store.read_exact_at(file.content, 0, &mut bytes).unwrap();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn ids() -> Identities {
    Identities {
        root_partuuid: "11111111-2222-8333-8444-555555555555".into(),
        root_uuid: "66666666-7777-8888-8999-aaaaaaaaaaaa".into(),
        root_label: "root".into(),
        root_filesystem: "ext4".into(),
        esp_uuid: "12AB-34CD".into(),
        mounts: Vec::new(),
        epoch: Timestamp::from_seconds(946_684_800),
    }
}

pub(crate) fn with(loader: LoaderChoice) -> Options {
    Options { loader, ..Options::default() }
}

/// A PE image with these sections.
pub(crate) fn pe(machine: u16, sections: &[(&[u8; 8], &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 0x80];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x40;
    image[0x40..0x44].copy_from_slice(b"PE\0\0");
    let header = CoffHeader {
        machine,
        number_of_sections: u16::try_from(sections.len()).unwrap(),
        time_date_stamp: 0,
        pointer_to_symbol_table: 0,
        number_of_symbols: 0,
        size_of_optional_header: 0x10,
        characteristics: 0,
    };
    image[0x44..0x44 + CoffHeader::BYTES].copy_from_slice(&header.encode());
    image.truncate(0x68);
    let mut at = 0x68 + SectionHeader::BYTES * sections.len();
    for (name, bytes) in sections {
        let length = u32::try_from(bytes.len()).unwrap();
        let pointer = u32::try_from(at).unwrap();
        let header = SectionHeader { name: **name, virtual_size: length, virtual_address: 0, size_of_raw_data: length, pointer_to_raw_data: pointer };
        image.extend(header.encode());
        at += bytes.len();
    }
    for (_, bytes) in sections {
        image.extend(*bytes);
    }
    image
}

/// A 64-bit bzImage with EFI stub.
pub(crate) fn bzimage() -> Vec<u8> {
    let mut image = pe(AMD64, &[]);
    image.resize(0x300, 0);
    image[0x1fe..0x206].copy_from_slice(b"\x55\xaa\0\0HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x236] = 1;
    image
}

/// An arm64 Image with EFI stub.
pub(crate) fn arm_image() -> Vec<u8> {
    let mut image = pe(ARM64, &[]);
    // Real images have their PE header behind the 64 bytes of the Image header, as here.
    image[56..60].copy_from_slice(b"ARM\x64");
    image.resize(0x300, 0);
    image
}

/// GRUB with a built-in prefix.
pub(crate) fn grub(machine: u16, vendor: &str) -> Vec<u8> {
    pe(machine, &[(b"mods\0\0\0\0", format!("(memdisk)\0/EFI/ no prefix /EFI/BOOT\0\0/EFI/{vendor}\0\0").as_bytes())])
}

/// A UKI with a command line.
pub(crate) fn uki(machine: u16, cmdline: &str) -> Vec<u8> {
    pe(machine, &[(b".osrel\0\0", b"ID=debian\n"), (b".cmdline", format!("{cmdline}\n\0\0").as_bytes()), (b".linux\0\0", b"kernel")])
}

pub(crate) fn systemd_boot(machine: u16) -> Vec<u8> {
    pe(machine, &[(b".sdmagic", b"#### LoaderInfo: systemd-boot 252 ####\0")])
}
