//! Whole trees, each with a reviewed list of what is found in it: no false alarm, and nothing of what is true of it missing.

use crate::common::lab;
use crate::import::x86_kernel;
use crate::{found, source_of};
use rootvol::lint::{LintOptions, Linted, lint_source};
use rootvol::source;
use std::collections::BTreeMap;

/// How often each rule objects.
fn counts(linted: &Linted) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for finding in &linted.findings {
        *counts.entry(finding.rule.id).or_default() += 1;
    }
    counts
}

fn lint_tar(name: &str) -> Option<Linted> {
    let tree = source::open(lab(name)?).unwrap();
    let linted = lint_source(&tree, &LintOptions::default()).unwrap();
    eprintln!("{linted}");
    Some(linted)
}

/// Holds the findings of a tree to the reviewed list: each rule that objects, how often, and why that is true of the tree.
fn reviewed(linted: &Linted, expected: &[(&str, usize, &str)]) {
    let counts = counts(linted);
    let listed: BTreeMap<&str, usize> = expected.iter().map(|(rule, count, _)| (*rule, *count)).collect();
    assert_eq!(counts, listed, "{linted}");
}

#[test]
fn a_minimal_debian_with_a_cloud_kernel() {
    let Some(linted) = lint_tar("debian.tar") else { return };
    reviewed(
        &linted,
        &[
            ("os-unsupported", 1, "the guide's table ends at 12.4"),
            ("key-agent-missing", 1, "no cloud-init in it"),
            ("ssh-server-missing", 1, "no sshd in it"),
            ("network-without-dhcp", 1, "nothing sets up a network"),
            ("growth-tool-missing", 1, "no growpart in it"),
            ("file-capabilities", 1, "/opt/rootvol/capable is made for the tests"),
            ("hostname", 1, "the host is called rootvol"),
        ],
    );
}

#[test]
fn an_arm64_tree_that_was_only_unpacked() {
    let Some(linted) = lint_tar("debian-arm64.tar") else { return };
    reviewed(
        &linted,
        &[
            ("import-architecture", 1, "arm64"),
            ("os-unknown", 1, "base-files is not in it"),
            ("key-agent-missing", 1, "busybox alone"),
            ("ssh-server-missing", 1, "busybox alone"),
            ("network-without-dhcp", 1, "busybox alone"),
            ("growth-tool-missing", 1, "busybox alone"),
            ("hostname", 1, "the host is called rootvol"),
        ],
    );
}

#[test]
fn a_freshly_built_cloud_image_gives_no_false_alarm() {
    let Some(linted) = lint_tar("cloud.tar") else { return };
    assert_eq!(linted.errors().count(), 0, "{linted}");
    reviewed(
        &linted,
        &[
            ("os-unsupported", 1, "the guide's table ends at 12.4"),
            ("ssh-password-login", 1, "sshd_config leaves it at yes, and cloud.cfg of Debian says nothing of it"),
            ("example-secret", 4, "examples in the documentation of cloud-init and python3-jwt"),
        ],
    );
}

#[test]
fn a_tree_of_debootstrap_that_nobody_cleaned() {
    let Some(linted) = lint_tar("debootstrap.tar") else { return };
    reviewed(
        &linted,
        &[
            ("loader-missing", 1, "GRUB for BIOS alone"),
            ("grub-missing", 1, "GRUB for BIOS alone"),
            ("os-unsupported", 1, "the guide's table ends at 12.4"),
            ("key-agent-missing", 1, "no cloud-init in it"),
            ("network-without-dhcp", 1, "nothing sets up a network"),
            ("growth-tool-missing", 1, "no growpart in it"),
            ("machine-id", 1, "made when systemd was installed"),
            ("ssh-host-keys", 6, "made when sshd was installed: three pairs"),
            ("private-key", 3, "the same, as what they are"),
            ("ssh-password-login", 1, "Debian's default"),
            ("build-logs", 3, "of dpkg and debootstrap"),
            ("hostname", 1, "that of the machine it was made on"),
            ("package-cache", 2, "packages and lists"),
        ],
    );
}

/// Ubuntu's layout as its cloud images have it, by hand: netplan through cloud-init, the kernel linux-aws with NVMe built in, snapd's units.
#[test]
fn an_ubuntu_like_tree() {
    let kernel = x86_kernel();
    let files: Vec<(&str, &[u8])> = vec![
        ("usr/lib/os-release", b"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"\n"),
        ("etc/os-release -> ../usr/lib/os-release", b""),
        ("etc/debian_version", b"bookworm/sid\n"),
        ("boot/vmlinuz-5.15.0-1030-aws", &kernel),
        ("boot/config-5.15.0-1030-aws", b"CONFIG_BLK_DEV_NVME=y\nCONFIG_NVME_CORE=y\nCONFIG_ENA_ETHERNET=y\nCONFIG_EXT4_FS=y\n"),
        (
            "usr/lib/modules/5.15.0-1030-aws/modules.builtin",
            b"kernel/drivers/nvme/host/nvme.ko\nkernel/drivers/nvme/host/nvme-core.ko\nkernel/fs/ext4/ext4.ko\nkernel/drivers/net/ethernet/amazon/ena/ena.ko\n",
        ),
        ("usr/lib/modules/5.15.0-1030-aws/modules.dep", b""),
        ("usr/sbin/init -> ../lib/systemd/systemd", b""),
        ("usr/lib/systemd/systemd", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"),
        ("sbin -> usr/sbin", b""),
        ("usr/bin/cloud-init", b"#!/usr/bin/python3\n"),
        ("usr/lib/systemd/system/cloud-init.service", b"[Unit]\n"),
        ("etc/cloud/cloud.cfg", b"users:\n  - default\ndisable_root: true\nssh_pwauth: false\n"),
        ("etc/systemd/system/cloud-init.target.wants/cloud-init.service -> /lib/systemd/system/cloud-init.service", b""),
        ("usr/bin/growpart", b"#!/bin/sh\n"),
        ("usr/sbin/sshd", b"\x7fELF"),
        ("etc/ssh/sshd_config", b"Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin prohibit-password\n"),
        ("etc/ssh/sshd_config.d/60-cloudimg-settings.conf", b"PasswordAuthentication no\n"),
        ("etc/systemd/system/multi-user.target.wants/ssh.service -> /lib/systemd/system/ssh.service", b""),
        ("usr/lib/systemd/system/ssh.service", b"[Unit]\n"),
        ("etc/machine-id", b""),
        ("etc/fstab", b"LABEL=cloudimg-rootfs\t/\text4\tdiscard,errors=remount-ro\t0 1\nLABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1\n"),
        ("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        ("etc/shadow", b"root:*:19000:0:99999:7:::\n"),
        ("usr/lib/shim/shimx64.efi.signed", b"no loader\n"),
    ];
    let linted = lint_source(&source_of(&files), &LintOptions::default()).unwrap();
    for rule in [
        "os-unsupported",
        "nvme-driver-missing",
        "ena-driver-missing",
        "key-agent-missing",
        "key-agent-disabled",
        "ssh-server-missing",
        "ssh-password-login",
        "no-trim",
        "machine-id",
        "fstab-device-names",
        "growth-tool-missing",
        "network-without-dhcp",
        "init-missing",
        "kernel-missing",
        "password-hash",
    ] {
        assert_eq!(found(&linted, rule), Vec::<String>::new(), "{linted}");
    }
    // shim without GRUB: what is missing is said.
    assert_eq!(found(&linted, "loader-missing").len(), 1, "{linted}");
}

/// Alpine's layout by hand: OpenRC, busybox, tiny-cloud, a kernel without version in its name.
#[test]
fn an_alpine_like_tree() {
    let kernel = x86_kernel();
    let files: Vec<(&str, &[u8])> = vec![
        ("etc/os-release", b"NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n"),
        ("boot/vmlinuz-virt", &kernel),
        ("sbin/init -> /bin/busybox", b""),
        ("bin/busybox", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"),
        ("etc/runlevels/default/sshd -> /etc/init.d/sshd", b""),
        ("etc/runlevels/default/tiny-cloud -> /etc/init.d/tiny-cloud", b""),
        ("etc/runlevels/boot/networking -> /etc/init.d/networking", b""),
        ("etc/init.d/sshd", b"#!/sbin/openrc-run\n"),
        ("etc/init.d/tiny-cloud", b"#!/sbin/openrc-run\n"),
        ("etc/init.d/networking", b"#!/sbin/openrc-run\n"),
        ("usr/sbin/sshd", b"\x7fELF"),
        ("etc/ssh/sshd_config", b"PermitRootLogin no\nPasswordAuthentication no\n"),
        ("etc/network/interfaces", b"auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n"),
        ("etc/fstab", b"LABEL=/\t/\text4\tdefaults,noatime,discard\t1 1\n"),
        ("etc/shadow", b"root:*::0:::::\n"),
        ("root/.ash_history", b"apk add foo\n"),
    ];
    let linted = lint_source(&source_of(&files), &LintOptions::default()).unwrap();
    for (rule, count) in [
        ("os-unsupported", 1),
        ("shell-history", 1),
        ("loader-missing", 1),
        ("ssh-server-missing", 0),
        ("ssh-server-disabled", 0),
        ("network-without-dhcp", 0),
        ("fstab-device-names", 0),
        ("no-trim", 0),
        ("ssh-root-login", 0),
        ("ssh-password-login", 0),
        ("init-missing", 0),
    ] {
        assert_eq!(found(&linted, rule).len(), count, "{rule}: {linted}");
    }
}
