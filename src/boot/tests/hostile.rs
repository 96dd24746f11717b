//! Files that lie: an error or a refusal, never a panic.

use super::*;

/// A small generator of numbers (splitmix64): the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// Puts `bytes` everywhere where a kernel or a loader is looked for.
fn everywhere(bytes: &[u8]) -> Fake {
    Fake::new()
        .file("boot/vmlinuz-1", bytes)
        .file("usr/lib/shim/shimx64.efi.signed", bytes)
        .file("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", bytes)
        .file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", bytes)
        .file("usr/lib/linux/web.efi", bytes)
        .file("etc/os-release", bytes)
        .file("etc/fstab", bytes)
        .file("etc/default/grub", bytes)
        .file("etc/kernel/cmdline", bytes)
        .file("usr/lib/modules/1/pkgbase", bytes)
}

/// With every loader; whatever comes of it, it comes.
fn survives(bytes: &[u8]) {
    for loader in [LoaderChoice::Auto, LoaderChoice::Uki, LoaderChoice::SystemdBoot] {
        drop(everywhere(bytes).prepare(&with(loader)));
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &arm_image()).unwrap();
    vec![bzimage(), arm_image(), uki(AMD64, "root=LABEL=x rw"), systemd_boot(AMD64), grub(AMD64, "debian"), gz.finish().unwrap()]
}

#[test]
fn truncated_images_never_panic() {
    for sample in samples() {
        for end in 0..sample.len() {
            survives(&sample[..end]);
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut numbers = Numbers(1);
    for sample in samples() {
        for _ in 0..200 {
            let mut bytes = sample.clone();
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            survives(&bytes);
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut numbers = Numbers(2);
    for _ in 0..200 {
        let length = numbers.below(0x400);
        let mut bytes: Vec<u8> = (0..length).map(|_| numbers.byte()).collect();
        if numbers.below(2) == 0 && length > 0x48 {
            bytes[..2].copy_from_slice(b"MZ");
            bytes[0x3c..0x40].copy_from_slice(&[0x40, 0, 0, 0]);
            bytes[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        }
        survives(&bytes);
    }
}

#[test]
fn headers_that_lie_are_no_images() {
    let image = uki(AMD64, "rw");
    let changed = |at: usize, value: u32| {
        let mut image = image.clone();
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        image
    };
    let uki_cmdline = |bytes: Vec<u8>| {
        let (tree, store) = Fake::new().file("usr/lib/linux/web.efi", bytes).done();
        find(&tree, &store, &Options::default()).unwrap().loaders.ukis.into_iter().next().map(|uki| uki.cmdline)
    };
    assert_eq!(uki_cmdline(image.clone()), Some(Some("rw".to_owned())));
    // e_lfanew past the end, and at the very end.
    for offset in [u32::MAX, u32::try_from(image.len()).unwrap(), u32::try_from(image.len() - 4).unwrap()] {
        assert_eq!(uki_cmdline(changed(0x3c, offset)), None);
    }
    // The section .cmdline: its data past the end, its size over the limit.
    let section = 0x68 + SectionHeader::BYTES;
    assert_eq!(uki_cmdline(changed(section + 20, u32::MAX)), Some(None));
    let mut long = changed(section + 8, u32::MAX);
    long[section + 16..section + 20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(uki_cmdline(long), Some(None));
}

#[test]
fn names_that_would_change_a_configuration_are_not_taken() {
    let name = "boot/vmlinuz-1\nmenuentry x {";
    let (kind, message) = Fake::new().file(name, bzimage()).signed_grub("x64", "x86_64", AMD64).refusal(&Options::default());
    assert_eq!(kind, crate::ErrorKind::NotBootable);
    assert!(message.contains("vmlinuz-1\\x0Amenuentry x {: a name that no loader's configuration can hold"), "{message}");
    let named = Options { kernel: Some(name.into()), ..Options::default() };
    assert!(Fake::new().file(name, bzimage()).prepare(&named).is_err());
    let made = Fake::debian_grub()
        .without("usr/lib/os-release")
        .file("usr/lib/os-release", "PRETTY_NAME=\"x' {\u{1b}}\\n reboot\"\n")
        .prepare(&Options::default())
        .unwrap();
    assert!(made.root("boot/grub/grub.cfg").contains("menuentry 'x {}n reboot, with"), "{}", made.root("boot/grub/grub.cfg"));
}

#[test]
fn loops_of_links_and_crowds_of_names_end() {
    let mut fake =
        Fake::new().link("boot/vmlinuz-1", "vmlinuz-2").link("boot/vmlinuz-2", "vmlinuz-1").link("etc/os-release", "/etc/os-release").link("efi", "efi");
    for number in 0..2000 {
        fake = fake
            .file(&format!("boot/vmlinuz-3.{number}"), "")
            .file(&format!("boot/efi/EFI/v{number}/grubx64.efi"), "junk")
            .folder(&format!("usr/lib/modules/{number}"));
    }
    let (kind, _) = fake.refusal(&Options::default());
    assert_eq!(kind, crate::ErrorKind::NotBootable);
}

#[test]
fn holes_read_as_zeros_and_big_configuration_files_are_refused() {
    let mut fake = Fake::debian_grub();
    let content = fake.memory.push(&b"x"[..]).unwrap();
    let sparse = NewNode::File { content, length: 1 << 40, data: Some(&[]) };
    fake.tree.add("boot/vmlinuz-9", Metadata::default(), sparse).unwrap();
    let made = fake.prepare(&Options::default()).unwrap();
    assert_eq!(made.prepared.summary.kernel.as_deref(), Some("/boot/vmlinuz-6.1.0-9-cloud-amd64"));
    let (kind, message) = Fake::debian_grub().file("etc/fstab", vec![b'#'; 2 << 20]).refusal(&Options::default());
    assert_eq!(kind, crate::ErrorKind::LimitExceeded);
    assert!(message.contains("etc/fstab"), "{message}");
}
