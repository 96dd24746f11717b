//! Rules of the tree that ImportImage holds guests to.

use crate::{disk, image, in_bytes, in_image, in_tree};

const ROOT: &str = "UUID=2f6f1ff5-4d4c-8d1f-9a52-0f9ad9e0a0c1 / ext4 rw 0 1\n";

#[test]
fn fstab_is_readable_has_a_root_and_names_that_outlive_the_hypervisor() {
    let cases: [(&str, &str, &[&str]); 14] = [
        ("fstab-unreadable", "UUID=1 /\n", &["/etc/fstab:1: \"UUID=1 /\" is no entry"]),
        ("fstab-unreadable", "a\0b\n", &["/etc/fstab: it has NUL"]),
        ("fstab-unreadable", "# nothing\n\nUUID=1 / ext4\n", &[]),
        ("fstab-no-root", "UUID=1 /srv ext4 rw 0 2\n", &["/etc/fstab: it has no line for /"]),
        ("fstab-no-root", ROOT, &[]),
        ("fstab-no-root", "# UNCONFIGURED FSTAB\n", &[]),
        (
            "fstab-device-names",
            "# c\n/dev/sda1 / ext4 rw 0 1\n/dev/xvdb /data ext4 rw,nofail 0 2\n",
            &["/etc/fstab:2: / is mounted from /dev/sda1", "/etc/fstab:3: /data"],
        ),
        ("fstab-device-names", "/dev/nvme0n1p1 / ext4 rw 0 1\n", &["/etc/fstab:1"]),
        ("fstab-device-names", "/dev/mapper/root / ext4 rw\ntmpfs /tmp tmpfs rw\n/dev/disk/by-uuid/1 /a ext4\n", &[]),
        ("fstab-device-names", "LABEL=root / ext4 rw 0 1\n", &[]),
        ("fstab-removable", "/dev/cdrom /media/cdrom0 udf,iso9660 user,noauto 0 0\n", &["/etc/fstab:1: /dev/cdrom"]),
        ("fstab-removable", ROOT, &[]),
        ("swap-on-ebs", "UUID=9 none swap sw 0 0\n", &["/etc/fstab:1: UUID=9 is swap"]),
        ("atime", "UUID=9 / ext4 rw,strictatime 0 1\n", &["/etc/fstab:1: / is mounted with access times"]),
    ];
    for (rule, text, expected) in cases {
        let findings = in_tree(&[("etc/fstab", text)], rule);
        assert_eq!(findings.len(), expected.len(), "{rule} of {text:?}: {findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.starts_with(expected), "{rule} of {text:?}: {finding}");
        }
    }
    assert_eq!(in_tree(&[], "fstab-unreadable"), Vec::<String>::new(), "build makes one");
    assert_eq!(in_tree(&[("etc/fstab/", "")], "fstab-unreadable"), ["/etc/fstab: it is no file"]);
    assert_eq!(in_image(&image(disk(&[("etc/hostname", "x\n")])), "fstab-unreadable"), ["/etc/fstab: there is none"]);
}

#[test]
fn fstab_of_an_image_names_what_its_disk_has() {
    let with = |text: &str| in_image(&image(disk(&[("etc/fstab", text)])), "fstab-unknown-device");
    let planned = disk(&[("etc/fstab", ROOT)]).plan().unwrap();
    let partition = &planned.partitions()[0];
    let uuid = &partition.filesystem.as_ref().unwrap().uuid;
    let partuuid = partition.guid.unwrap();
    for known in [format!("UUID={uuid}"), format!("UUID=\"{}\"", uuid.to_uppercase()), format!("PARTUUID={partuuid}"), format!("/dev/disk/by-uuid/{uuid}")] {
        assert_eq!(with(&format!("{known} / ext4 rw 0 1\n")), Vec::<String>::new(), "{known}");
    }
    assert_eq!(with(&format!("UUID={uuid} / ext4\nUUID=dead-beef /data ext4 nofail 0 2\nLABEL=x /x ext4 noauto\nproc /proc proc\n")), Vec::<String>::new());
    for unknown in ["UUID=dead-beef", "LABEL=none", "PARTUUID=00000000-0000-0000-0000-000000000000", "PARTLABEL=none", "/dev/disk/by-label/none"] {
        let findings = with(&format!("{unknown} / ext4 rw 0 1\n"));
        assert!(findings.len() == 1 && findings[0].starts_with("/etc/fstab:1: / is mounted from"), "{unknown}: {findings:?}");
    }
}

#[test]
fn grub_has_one_menu_with_a_default() {
    let menu = "menuentry 'a' {\n linux /vmlinuz\n}\n";
    let stub = "search --fs-uuid --set=root 1\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n";
    let several = "grub-several-configurations";
    assert_eq!(
        in_tree(&[("boot/grub/grub.cfg", menu), ("boot/efi/EFI/debian/grub.cfg", stub), ("boot/efi/EFI/BOOT/grub.cfg", stub)], several),
        Vec::<String>::new()
    );
    assert_eq!(in_tree(&[("boot/grub/grub.cfg", menu), ("boot/grub2/grub.cfg", menu)], several), Vec::<String>::new(), "equal ones are one");
    assert_eq!(in_tree(&[("boot/grub/grub.cfg", menu), ("boot/grub2 -> grub", "")], several), Vec::<String>::new());
    for other in ["boot/grub2/grub.cfg", "boot/grub/menu.lst", "boot/efi/EFI/fedora/grub.cfg", "boot/efi/efi/x/grub.conf"] {
        let findings = in_tree(&[("boot/grub/grub.cfg", menu), (other, "kernel /vmlinuz\nmenuentry b {}\n")], several);
        assert_eq!(findings.len(), 1, "{other}: {findings:?}");
    }

    let bls = ("boot/grub2/grub.cfg", "insmod blscfg\nblscfg\n");
    let entry = ("boot/loader/entries/abc-5.14.conf", "title x\n");
    let default = "bls-default";
    assert_eq!(in_tree(&[bls, entry, ("boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry=abc-5.14\n#####")], default), Vec::<String>::new());
    assert_eq!(in_tree(&[bls, entry, ("boot/grub2/grubenv", "saved_entry=0\n")], default), Vec::<String>::new());
    assert_eq!(
        in_tree(&[bls, entry, ("boot/grub2/grubenv", "saved_entry=gone\n")], default),
        ["/boot/grub2/grubenv:1: saved_entry is \"gone\", and there is no such entry"]
    );
    assert_eq!(in_tree(&[bls, entry, ("boot/grub2/grubenv", "#\n")], default), ["/boot/grub2/grubenv: it has no saved_entry"]);
    let without = image(disk(&[bls, entry]));
    assert_eq!(in_image(&without, default), ["/boot/grub2/grub.cfg: there is no grubenv that says which entry is the default"]);
    assert_eq!(in_image(&image(disk(&[bls])), "bls-no-entries").len(), 1);
    assert_eq!(in_image(&without, "bls-no-entries"), Vec::<String>::new());

    assert_eq!(in_image(&image(disk(&[("etc/hostname", "x\n")])), "grub-missing").len(), 1);
    assert_eq!(in_image(&image(disk(&[("boot/grub/grub.cfg", menu)])), "grub-missing"), Vec::<String>::new());
    assert_eq!(in_tree(&[("etc/hostname", "x\n")], "grub-missing"), Vec::<String>::new(), "without kernel it is no system");
}

/// What makes a file a kernel for x86_64: the header of the boot protocol (Linux, Documentation/arch/x86/boot.rst).
pub fn x86_kernel() -> Vec<u8> {
    let mut bytes = vec![0; 0x300];
    bytes[0x1fe..0x206].copy_from_slice(b"\x55\xaa\0\0HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    bytes[0x236] = 1;
    bytes
}

/// An Image for arm64 (Linux, Documentation/arch/arm64/booting.rst).
fn arm_kernel() -> Vec<u8> {
    let mut bytes = vec![0; 0x300];
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

#[test]
fn the_kernel_is_for_x86_64_and_of_the_series_of_its_release() {
    let (x86, arm) = (x86_kernel(), arm_kernel());
    assert_eq!(in_bytes(&[("boot/vmlinuz-6.1.0-1-amd64", &x86)], "import-architecture"), Vec::<String>::new());
    assert_eq!(in_bytes(&[("boot/vmlinuz-6.1.0-1-arm64", &arm)], "import-architecture").len(), 1);
    assert_eq!(in_bytes(&[("boot/vmlinuz", &x86)], "kernel-version-unknown").len(), 1);
    assert_eq!(in_bytes(&[("boot/vmlinuz-6.1.0-1-amd64", &x86)], "kernel-version-unknown"), Vec::<String>::new());
    assert_eq!(in_bytes(&[("boot/vmlinuz-6.1.0-1-amd64", &x86)], "grub-missing").len(), 1);
    let debian: (&str, &[u8]) = ("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n");
    for (kernel, fits) in [("boot/vmlinuz-6.1.0-30-cloud-amd64", true), ("boot/vmlinuz-6.12.9+bpo-amd64", false), ("boot/vmlinuz-6.10.1", false)] {
        assert_eq!(in_bytes(&[debian, (kernel, &x86)], "kernel-unsupported").is_empty(), fits, "{kernel}");
    }
}

#[test]
fn the_system_is_one_that_import_image_knows() {
    let os = |id: &str, version: &str| format!("NAME=x\nID={id}\nVERSION_ID=\"{version}\"\n");
    assert_eq!(in_tree(&[("etc/hostname", "x\n")], "os-unknown").len(), 1);
    assert_eq!(in_tree(&[("etc/os-release", "NAME=x\n")], "os-unknown"), ["/etc/os-release: it names no ID"]);
    assert_eq!(in_tree(&[("usr/lib/os-release", &os("debian", "12"))], "os-unknown"), Vec::<String>::new());
    for (id, version, debian, known) in [
        ("debian", "12", "12.4\n", true),
        ("debian", "12", "12.11\n", false),
        ("debian", "11", "11.9\n", true),
        ("debian", "13", "13.0\n", false),
        ("ubuntu", "22.04", "bookworm/sid\n", true),
        ("ubuntu", "24.04", "trixie/sid\n", false),
        ("rhel", "9.2", "", true),
        ("rhel", "9.4", "", false),
        ("amzn", "2023", "", true),
        ("alpine", "3.20", "", false),
        ("nixos", "", "", false),
    ] {
        let text = os(id, version);
        let findings = in_tree(&[("etc/os-release", &text), ("etc/debian_version", debian)], "os-unsupported");
        assert_eq!(findings.is_empty(), known, "{id} {version}: {findings:?}");
    }
}

#[test]
fn tools_of_other_hypervisors_are_seen() {
    assert_eq!(in_tree(&[("usr/bin/vmtoolsd", "x")], "guest-tools"), ["/usr/bin/vmtoolsd: tools of another hypervisor"]);
    assert_eq!(in_tree(&[("usr/bin/vim", "x")], "guest-tools"), Vec::<String>::new());
}

#[test]
fn trimming_is_set_up_one_way_or_another() {
    let fstab = ("etc/fstab", ROOT);
    assert_eq!(in_tree(&[fstab], "no-trim").len(), 1);
    assert_eq!(in_tree(&[("etc/fstab", "UUID=1 / ext4 rw,discard 0 1\n")], "no-trim"), Vec::<String>::new());
    for timer in ["etc/systemd/system/timers.target.wants/fstrim.timer -> /lib/systemd/system/fstrim.timer", "etc/cron.weekly/fstrim"] {
        assert_eq!(in_tree(&[fstab, (timer, "x")], "no-trim"), Vec::<String>::new(), "{timer}");
    }
}
