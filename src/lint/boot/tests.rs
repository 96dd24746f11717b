//! A tree that everything is right with, and what each change of it triggers; images of it, and what of them is wrong on a disk.

use crate::boot::tests::{AMD64, ARM64, Fake, arm_image, pe, uki};
use crate::format::Format;
use crate::initramfs::tests::{archive, entry, gzip};
use crate::lint::{Family, LintOptions, Linted, lint_image, lint_source};
use crate::source::{DiskImage, Source};
use crate::{DiskSpec, Size};

const VERSION: &str = "6.1.0-9-cloud-amd64";

/// An ELF file's header.
fn elf(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes
}

fn initramfs(modules: &[&str]) -> Vec<u8> {
    let paths: Vec<String> = modules.iter().map(|module| format!("usr/lib/modules/{VERSION}/kernel/{module}")).collect();
    let names: Vec<&str> = std::iter::once("init").chain(paths.iter().map(String::as_str)).collect();
    [archive(&["kernel/x86/microcode/GenuineIntel.bin"]), gzip(&archive(&names))].concat()
}

fn modules_folder(file: &str) -> String {
    format!("usr/lib/modules/{VERSION}/{file}")
}

/// Debian as a cloud image has it: nothing to object to.
fn good() -> Fake {
    Fake::debian_grub()
        .file("sbin/init", elf(62))
        .file(&format!("boot/initrd.img-{VERSION}"), initramfs(&["nvme.ko.xz", "nvme-core.ko.xz"]))
        .file(&modules_folder("kernel/nvme.ko"), elf(62))
        .file(&modules_folder("kernel/nvme-core.ko"), elf(62))
        .file(&modules_folder("kernel/ena.ko"), elf(62))
        .file(&modules_folder("modules.dep"), "kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\nkernel/ena.ko:\n")
        .file(&modules_folder("modules.builtin"), "kernel/fs/ext4/ext4.ko\n")
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/bin/cloud-init", "#!/usr/bin/python3\n")
        .file("usr/lib/systemd/system/cloud-init.service", "[Unit]\n")
        .link("etc/systemd/system/cloud-init.target.wants/cloud-init.service", "/lib/systemd/system/cloud-init.service")
        .file("etc/cloud/cloud.cfg.d/90_dpkg.cfg", "# to update this file, run dpkg-reconfigure cloud-init\ndatasource_list: [ NoCloud, Ec2, None ]\n")
        .file("usr/sbin/sshd", elf(62))
        .file("usr/lib/systemd/system/ssh.service", "[Unit]\n")
        .link("etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service")
        .file("usr/lib/systemd/systemd-udevd", elf(62))
        .file("etc/machine-id", "")
}

/// The same with a network of its own in place of cloud-init's.
fn own_network() -> Fake {
    good()
        .without("usr/bin/cloud-init")
        .without("usr/lib/systemd/system/cloud-init.service")
        .without("etc/systemd/system/cloud-init.target.wants/cloud-init.service")
        .file("usr/bin/amazon-ssm-agent", "")
        .file("usr/lib/systemd/system/amazon-ssm-agent.service", "")
        .link("etc/systemd/system/multi-user.target.wants/amazon-ssm-agent.service", "x")
}

fn networkd(fake: Fake) -> Fake {
    fake.file("usr/lib/systemd/system/systemd-networkd.service", "").link("etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "x")
}

fn ifupdown(fake: Fake, text: &str) -> Fake {
    fake.file("etc/network/interfaces", format!("auto lo\niface lo inet loopback\n{text}"))
        .file("usr/lib/systemd/system/networking.service", "")
        .file("usr/sbin/dhclient", "")
        .link("etc/systemd/system/multi-user.target.wants/networking.service", "x")
}

fn source(fake: Fake) -> Source {
    let (tree, contents) = fake.done();
    Source::new(tree, contents, "test")
}

fn lint(fake: Fake) -> Linted {
    lint_source(&source(fake), &LintOptions::default()).unwrap()
}

fn shown(linted: &Linted) -> Vec<String> {
    let own = linted.findings.iter().filter(|finding| finding.rule.family == Family::Boot);
    own.map(|finding| format!("{} {}: {}", finding.rule.id, finding.place, finding.message)).collect()
}

fn ids(linted: &Linted) -> Vec<&'static str> {
    let mut ids: Vec<&str> = linted.findings.iter().filter(|finding| finding.rule.family == Family::Boot).map(|finding| finding.rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[track_caller]
fn assert_finds(cases: Vec<(&str, Fake, &[&str])>) {
    for (name, fake, expected) in cases {
        let linted = lint(fake);
        assert_eq!(ids(&linted), expected, "{name}: {:#?}\n{:#?}", shown(&linted), linted.not_checked);
    }
}

#[test]
fn rules_have_names_of_their_own_and_say_what_to_do() {
    let mut ids: Vec<&str> = super::RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
    for rule in super::RULES {
        assert!(rule.family == Family::Boot && !rule.why.is_empty() && !rule.mend.is_empty() && !rule.source.is_empty(), "{}", rule.id);
    }
}

#[test]
fn a_cloud_image_has_nothing_to_object_to() {
    let linted = lint(good());
    assert!(ids(&linted).is_empty(), "{:#?}", shown(&linted));
    let linted = lint(networkd(own_network()).file("etc/systemd/network/80-ec2.network", "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n"));
    assert!(ids(&linted).is_empty(), "{:#?}", shown(&linted));
}

#[test]
fn kernel_loader_and_init_must_be_there_and_for_one_processor() {
    let kernel = format!("boot/vmlinuz-{VERSION}");
    assert_finds(vec![
        ("no kernel", good().without(&kernel), &["kernel-missing"]),
        ("no loader", good().without("usr/lib/grub"), &["loader-missing"]),
        ("no init", good().without("sbin/init"), &["init-missing"]),
        ("init of arm64", good().file("sbin/init", elf(183)), &["architecture-mismatch"]),
        ("init of i386", good().file("sbin/init", elf(3)), &[]),
        ("script as init", good().file("sbin/init", "#!/bin/sh -e\n").file("bin/sh", elf(183)), &["architecture-mismatch"]),
        ("modules of arm64", good().file(&modules_folder("kernel/ena.ko"), elf(183)), &["architecture-mismatch"]),
        (
            "packed module of arm64",
            good().without(&modules_folder("kernel/ena.ko")).file(&modules_folder("kernel/ena.ko.gz"), gzip(&elf(183))),
            &["architecture-mismatch"],
        ),
        ("kernel of arm64", good().file(&kernel, arm_image()), &["architecture-mismatch", "loader-missing"]),
        ("ESP's loader for another machine", good().file("boot/efi/EFI/BOOT/BOOTX64.EFI", pe(ARM64, &[])), &["architecture-mismatch"]),
        ("ESP's loader none", good().file("boot/efi/EFI/BOOT/BOOTX64.EFI", "text"), &["architecture-mismatch"]),
        (
            "a configuration that names another kernel",
            good().file("boot/grub/grub.cfg", "menuentry 'x' {\n linux /boot/vmlinuz-5 root=UUID=1 console=ttyS0\n}\n"),
            &["boot-entry-broken"],
        ),
    ]);
}

#[test]
fn drivers_of_disk_and_root_are_needed_early_and_the_network_at_all() {
    let initrd = format!("boot/initrd.img-{VERSION}");
    let with = |modules: &[&str]| good().file(&initrd, initramfs(modules));
    let config = |text: &str| good().file(&format!("boot/config-{VERSION}"), text);
    assert_finds(vec![
        ("not in the initramfs", with(&["virtio_blk.ko"]), &["nvme-driver-missing"]),
        ("without what it needs", with(&["nvme.ko"]), &["nvme-driver-missing"]),
        ("under either name", with(&["nvme.ko", "nvme_core.ko"]), &[]),
        ("no initramfs", good().without(&initrd), &["nvme-driver-missing"]),
        ("built in, no initramfs", config("CONFIG_BLK_DEV_NVME=y\n").without(&initrd), &[]),
        (
            "left out",
            config("CONFIG_RD_GZIP=y\n# CONFIG_BLK_DEV_NVME is not set\n").file(&initrd, initramfs(&[])).without(&modules_folder("kernel/nvme.ko")),
            &["nvme-driver-missing"],
        ),
        ("no ena", good().without(&modules_folder("kernel/ena.ko")), &["ena-driver-missing"]),
        ("ena built in", good().without(&modules_folder("kernel/ena.ko")).file(&modules_folder("modules.builtin"), "k/ext4.ko\nk/ena.ko\n"), &[]),
        (
            "ext4 as a module",
            good().file(&modules_folder("modules.builtin"), "").file(&modules_folder("kernel/ext4.ko"), elf(62)),
            &["root-filesystem-driver-missing"],
        ),
        ("xfs by fstab", good().file("etc/fstab", "LABEL=root / xfs defaults 0 0\n"), &["root-filesystem-driver-missing"]),
        ("modules of another version", good().without("usr/lib/modules").file("usr/lib/modules/5.10/kernel/ena.ko", elf(62)), &["kernel-modules-missing"]),
        (
            "initramfs of another version",
            good().file(&initrd, gzip(&archive(&["init", "usr/lib/modules/5.10/kernel/nvme.ko"]))),
            &["initramfs-of-other-kernel", "nvme-driver-missing"],
        ),
        (
            "initramfs without init",
            good().file(&initrd, gzip(&archive(&[&modules_folder("nvme.ko"), &modules_folder("nvme-core.ko")]))),
            &["initramfs-without-init"],
        ),
        ("text as initramfs", good().file(&initrd, "initrd"), &["initramfs-unreadable"]),
        ("packed as the kernel cannot", config("CONFIG_BLK_DEV_NVME=y\nCONFIG_ENA_ETHERNET=m\nCONFIG_EXT4_FS=y\n"), &["initramfs-unreadable"]),
        (
            "programs of arm64 in it",
            good().file(&initrd, [entry("init", 0o100_755, &elf(183), false), initramfs(&["nvme.ko", "nvme-core.ko"])].concat()),
            &["architecture-mismatch"],
        ),
    ]);
}

#[test]
fn what_cannot_be_judged_is_said() {
    let linted = lint(good().without("usr/lib/modules").file(&format!("boot/initrd.img-{VERSION}"), b"BZh91AY&SY".as_slice()));
    assert!(ids(&linted).iter().all(|id| *id == "kernel-modules-missing"), "{:#?}", shown(&linted));
    for part in ["bzip2", "ena in"] {
        assert!(linted.not_checked.iter().any(|why| why.contains(part)), "{part}: {:#?}", linted.not_checked);
    }
    let linted = lint(good().file(&format!("boot/initrd.img-{VERSION}"), gzip(&archive(&["init", "squashfs-root.img"]))));
    assert!(ids(&linted).is_empty() || shown(&linted).iter().all(|line| line.contains("nvme")), "{:#?}", shown(&linted));
}

fn menu(cmdline: &str) -> String {
    format!("menuentry 'x' {{\n linux /boot/vmlinuz-{VERSION} {cmdline}\n initrd /boot/initrd.img-{VERSION}\n}}\n")
}

#[test]
fn command_lines_name_a_root_that_nitro_has_and_a_console() {
    let with = |cmdline: &str| good().file("boot/grub/grub.cfg", menu(cmdline));
    assert_finds(vec![
        ("fine", with("root=UUID=12 ro console=tty0 console=ttyS0,115200n8"), &[]),
        ("sda", with("root=/dev/sda1 console=ttyS0"), &["root-device-name"]),
        ("xvda", with("root=/dev/xvda1 console=ttyS0"), &["root-device-name"]),
        ("by path", with("root=/dev/disk/by-path/pci-0000 console=ttyS0"), &["root-device-name"]),
        ("nvme", with("root=/dev/nvme0n1p1 console=ttyS0"), &["root-nvme-name"]),
        ("mapper", with("root=/dev/mapper/vg-root console=ttyS0"), &[]),
        ("variable", with("root=UUID=$x console=ttyS0"), &[]),
        ("no console", with("root=UUID=12"), &["serial-console-missing"]),
        ("another console", with("root=UUID=12 console=ttyS1 console=ttyAMA0"), &["serial-console-missing"]),
        (
            "settings for the next configuration",
            with("root=UUID=12 console=ttyS0").file("etc/default/grub.d/x.cfg", "GRUB_CMDLINE_LINUX=\"root=/dev/sda1\"\n"),
            &["grub-defaults-device"],
        ),
        (
            "no initramfs",
            good()
                .file(&modules_folder("modules.builtin"), "a/ext4.ko\na/nvme.ko\n")
                .file("boot/grub/grub.cfg", format!("menuentry 'x' {{\n linux /boot/vmlinuz-{VERSION} root=LABEL=a console=ttyS0\n}}\n")),
            &["root-needs-initramfs"],
        ),
        (
            "entries by blscfg with variables",
            good()
                .file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")
                .file("boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry=b\nkernelopts=root=/dev/vda1 console=ttyS0\n")
                .file("boot/loader/entries/a.conf", format!("linux /vmlinuz-{VERSION}\ninitrd /initrd.img-{VERSION}\noptions root=UUID=1\n"))
                .file("boot/loader/entries/b.conf", format!("linux /vmlinuz-{VERSION}\ninitrd /initrd.img-{VERSION}\noptions $kernelopts $tuned_params\n")),
            &["root-device-name"],
        ),
    ]);
}

#[test]
fn somebody_fetches_the_key_and_lets_its_owner_in() {
    let wants = "etc/systemd/system/cloud-init.target.wants/cloud-init.service";
    let network = |fake: Fake| networkd(fake).file("etc/systemd/network/80-ec2.network", "[Match]\nName=e*\n[Network]\nDHCP=yes\n");
    let sshd = "etc/systemd/system/multi-user.target.wants/ssh.service";
    let no_agent = || network(good().without("usr/bin/cloud-init").without("usr/lib/systemd/system/cloud-init.service").without(wants));
    assert_finds(vec![
        ("no agent", no_agent(), &["key-agent-missing"]),
        ("another agent", no_agent().file("etc/init.d/tiny-cloud", "").link("etc/runlevels/boot/tiny-cloud", "x").file("usr/bin/tiny-cloud", ""), &[]),
        ("another agent that does not start", no_agent().file("usr/bin/tiny-cloud", ""), &["key-agent-disabled"]),
        ("not wanted", network(good().without(wants)), &["key-agent-disabled"]),
        ("masked", network(good().link("etc/systemd/system/cloud-init.service", "/dev/null")), &["key-agent-disabled"]),
        ("switched off", network(good().file("etc/cloud/cloud-init.disabled", "")), &["key-agent-disabled"]),
        (
            "by preset at the first boot",
            good().without(wants).without("etc/machine-id").file("usr/lib/systemd/system-preset/90.preset", "enable cloud-*\n"),
            &[],
        ),
        ("not Ec2", network(good().file("etc/cloud/cloud.cfg.d/91.cfg", "datasource_list:\n  - NoCloud\n  - None\n")), &["cloud-init-without-ec2"]),
        ("Ec2 in lines", good().file("etc/cloud/cloud.cfg.d/91.cfg", "datasource_list:\n  - Ec2\n"), &[]),
        ("ds-identify", network(good().file("etc/cloud/ds-identify.cfg", "datasource: NoCloud\n")), &["cloud-init-without-ec2"]),
        ("no sshd", good().without("usr/sbin/sshd"), &["ssh-server-missing"]),
        ("sshd does not start", good().without(sshd), &["ssh-server-disabled"]),
        ("sshd by its socket", good().without(sshd).link("etc/systemd/system/sockets.target.wants/ssh.socket", "x"), &[]),
        ("sshd by a runlevel", good().without(sshd).link("etc/runlevels/default/sshd", "/etc/init.d/sshd"), &[]),
        ("Session Manager is a way in", networkd(own_network()).without("usr/sbin/sshd").file("etc/systemd/network/a.network", "[Network]\nDHCP=ipv4\n"), &[]),
        ("nothing grows the root", good().without("usr/bin/growpart"), &["growth-tool-missing"]),
        ("systemd grows it", good().without("usr/bin/growpart").file("etc/fstab", "LABEL=root / ext4 x-systemd.growfs 0 1\n"), &[]),
    ]);
}

#[test]
fn the_network_comes_up_on_any_instance() {
    let netplan = |text: &str| networkd(own_network()).file("etc/netplan/01.yaml", format!("network:\n  version: 2\n  ethernets:\n{text}"));
    let network = |text: &str| networkd(own_network()).file("etc/systemd/network/a.network", text);
    let manager = || {
        own_network().file("usr/lib/systemd/system/NetworkManager.service", "").link("etc/systemd/system/multi-user.target.wants/NetworkManager.service", "x")
    };
    let keyfile = |text: &str| manager().file("etc/NetworkManager/system-connections/a.nmconnection", format!("[connection]\ntype=ethernet\n{text}"));
    let ifcfg = |text: &str| manager().file("etc/sysconfig/network-scripts/ifcfg-eth0", text);
    assert_finds(vec![
        ("nothing", own_network(), &["network-without-dhcp"]),
        ("ifupdown", ifupdown(own_network(), "auto ens5\niface ens5 inet dhcp\n"), &[]),
        ("ifupdown, not started", own_network().file("etc/network/interfaces", "iface ens5 inet dhcp\n"), &["network-without-dhcp"]),
        ("ifupdown, no client", ifupdown(own_network(), "iface ens5 inet dhcp\n").without("usr/sbin/dhclient"), &["network-dhcp-client-missing"]),
        ("eth0", ifupdown(own_network(), "iface eth0 inet dhcp\n"), &["network-fixed-name"]),
        ("eth0 without udev", ifupdown(own_network(), "iface eth0 inet dhcp\n").without("usr/lib/systemd/systemd-udevd"), &[]),
        (
            "eth0 as the kernel is told",
            ifupdown(own_network(), "iface eth0 inet dhcp\n").file("boot/grub/grub.cfg", menu("root=UUID=1 console=ttyS0 net.ifnames=0")),
            &[],
        ),
        ("static", ifupdown(own_network(), "iface ens5 inet static\n address 10.0.0.2/24\n"), &["network-static-address", "network-without-dhcp"]),
        ("hwaddress", ifupdown(own_network(), "iface ens5 inet dhcp\n hwaddress ether 02:00:00:00:00:01\n"), &["network-fixed-mac"]),
        ("netplan", netplan("    all:\n      match: {name: \"e*\"}\n      dhcp4: true\n"), &[]),
        (
            "netplan, MAC",
            netplan("    eth0:\n      match:\n        macaddress: \"02:00:00:00:00:01\"\n      dhcp4: true\n      set-name: eth0\n"),
            &["network-fixed-mac"],
        ),
        ("netplan, name", netplan("    enp3s0:\n      dhcp4: true\n"), &["network-fixed-name"]),
        (
            "netplan, static",
            netplan("    ens5:\n      addresses:\n        - 10.0.0.2/24\n      nameservers:\n        addresses: [10.0.0.1]\n"),
            &["network-static-address", "network-without-dhcp"],
        ),
        ("networkd, MAC", network("[Match]\nMACAddress=02:00:00:00:00:01\n[Network]\nDHCP=yes\n"), &["network-fixed-mac"]),
        ("networkd, name", network("[Match]\nName=enp0s3\n[Network]\nDHCP=yes\n"), &["network-fixed-name"]),
        ("networkd, static", network("[Match]\nName=en*\n[Network]\nAddress=10.0.0.2/24\n"), &["network-static-address", "network-without-dhcp"]),
        ("networkd, containers", network("[Match]\nKind=veth\nName=ve-*\n[Network]\nAddress=0.0.0.0/28\nDHCP=no\n"), &["network-without-dhcp"]),
        ("networkd, not started", own_network().file("etc/systemd/network/a.network", "[Network]\nDHCP=yes\n"), &["network-without-dhcp"]),
        ("NetworkManager", manager(), &[]),
        ("NetworkManager, MAC", keyfile("[ethernet]\nmac-address=02:00:00:00:00:01\n[ipv4]\nmethod=auto\n"), &["network-fixed-mac"]),
        ("NetworkManager, name", keyfile("interface-name=eth0\n[ipv4]\nmethod=auto\n"), &["network-fixed-name"]),
        ("NetworkManager, static", keyfile("[ipv4]\nmethod=manual\naddress1=10.0.0.2/24,10.0.0.1\n"), &["network-static-address"]),
        ("ifcfg", ifcfg("DEVICE=ens5\nBOOTPROTO=dhcp\n"), &[]),
        ("ifcfg, MAC", ifcfg("DEVICE=eth0\nHWADDR=02:00:00:00:00:01\nBOOTPROTO=dhcp\n"), &["network-fixed-mac"]),
        ("ifcfg, static", ifcfg("DEVICE=ens5\nBOOTPROTO=none\nIPADDR=10.0.0.2\n"), &["network-static-address"]),
        ("ifcfg, name", ifcfg("BOOTPROTO=dhcp\n"), &["network-fixed-name"]),
        ("dhcpcd", own_network().link("etc/runlevels/default/dhcpcd", "/etc/init.d/dhcpcd"), &[]),
        (
            "udev's names",
            good().file("etc/udev/rules.d/70-persistent-net.rules", "SUBSYSTEM==\"net\", ATTR{address}==\"02:00:00:00:00:01\", NAME=\"eth0\"\n"),
            &["network-fixed-mac"],
        ),
        (
            "what cloud-init writes anew",
            good().file("etc/netplan/50-cloud-init.yaml", "network:\n  ethernets:\n    eth0:\n      match:\n        macaddress: 02:00\n"),
            &[],
        ),
    ]);
}

/// An image of a tree, as `build` makes it.
fn image_of(fake: Fake, change: impl FnOnce(&mut DiskSpec)) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.raw");
    let mut spec = DiskSpec::bootable(source(fake)).name("test");
    change(&mut spec);
    spec.plan().unwrap().write_file(&path, Format::Raw).unwrap();
    (folder, path)
}

fn lint_at(path: &std::path::Path) -> Linted {
    lint_image(&DiskImage::open(path, &Default::default()).unwrap(), &LintOptions::default()).unwrap()
}

#[test]
fn an_image_that_build_makes_has_nothing_to_object_to() {
    for fake in [good(), good().without("usr/lib/grub").file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", crate::boot::tests::systemd_boot(AMD64))] {
        let (_folder, path) = image_of(fake, |_| {});
        let linted = lint_at(&path);
        assert!(ids(&linted).is_empty(), "{:#?}", shown(&linted));
    }
}

#[test]
fn names_are_held_against_the_disk() {
    let cases: Vec<(&str, Fake, &[&str])> = vec![
        ("no such UUID", good().file("boot/grub/grub.cfg", menu("root=UUID=12345678-0000-0000-0000-000000000000 console=ttyS0")), &["root-not-found"]),
        ("no such PARTUUID", good().file("boot/grub/grub.cfg", menu("root=PARTUUID=12345678-01 console=ttyS0")), &["root-not-found"]),
        ("no root", good().file("boot/grub/grub.cfg", menu("ro console=ttyS0")), &["root-argument-missing"]),
        (
            "no such filesystem to search",
            good().file("boot/grub/grub.cfg", format!("search --no-floppy --fs-uuid --set=root 1-2-3\n{}", menu("root=LABEL=root console=ttyS0"))),
            &["grub-search-not-found"],
        ),
    ];
    for (name, fake, expected) in cases {
        let (_folder, path) = image_of(fake, |_| {});
        let linted = lint_at(&path);
        assert_eq!(ids(&linted), expected, "{name}: {:#?}", shown(&linted));
    }
}

#[test]
fn only_what_the_loader_reaches_is_judged() {
    let stale = "menuentry 'x' {\n linux /boot/vmlinuz-5 root=/dev/sda1\n}\n";
    let systemd_boot = || good().without("usr/lib/grub").file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", crate::boot::tests::systemd_boot(AMD64));
    let (_folder, path) = image_of(systemd_boot().file("boot/grub/grub.cfg", stale), |_| {});
    let linted = lint_at(&path);
    assert!(ids(&linted).is_empty(), "{:#?}", shown(&linted));
    assert!(ids(&lint(systemd_boot().file("boot/grub/grub.cfg", stale))).is_empty());

    let uki = uki(AMD64, "root=UUID=1-2 console=ttyS0");
    let (_folder, path) = image_of(good().without("usr/lib/grub").file("usr/lib/linux/a.efi", uki), |_| {});
    let linted = lint_at(&path);
    assert_eq!(ids(&linted), ["nvme-driver-missing", "root-needs-initramfs", "root-not-found"], "{:#?}", shown(&linted));
}

#[test]
fn disks_that_cannot_grow_or_start_are_told() {
    let (_folder, path) = image_of(good(), |_| {});
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + (8 << 20)).unwrap();
    let linted = lint_at(&path);
    assert_eq!(ids(&linted), ["backup-gpt-misplaced"], "{:#?}", shown(&linted));
    let of_disk = linted.findings.iter().filter(|finding| finding.rule.id == "disk-structure").count();
    assert_eq!(of_disk, 0, "said once");

    // A data disk of the same tree: no ESP, nothing that starts.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.raw");
    DiskSpec::data(source(good())).name("test").size(Size::mib(64)).plan().unwrap().write_file(&path, Format::Raw).unwrap();
    let linted = lint_at(&path);
    assert_eq!(ids(&linted), ["loader-missing"], "{:#?}", shown(&linted));
}

#[test]
fn hostile_trees_end_in_findings() {
    let deep = "submenu x {\n".repeat(1000);
    for bytes in [&b"\0\0\0\0"[..], b"linux", deep.as_bytes(), b"menuentry {\n linux ../../../../etc/passwd\n}\n", b"search --fs-uuid \n"] {
        let fake = good()
            .file("boot/grub/grub.cfg", bytes)
            .file("boot/grub/grubenv", bytes)
            .file("etc/fstab", bytes)
            .file("etc/network/interfaces", bytes)
            .file("etc/netplan/a.yaml", bytes)
            .file("etc/cloud/cloud.cfg", bytes)
            .file("etc/dhcpcd.conf", bytes)
            .file(&modules_folder("modules.dep"), bytes)
            .file(&modules_folder("modules.builtin"), bytes);
        lint(fake);
    }
}
