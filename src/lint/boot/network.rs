//! Whether the network comes up on any instance: by DHCP, on whatever its interface is called and whatever its MAC is.
//!
//! Read: ifupdown, netplan, systemd-networkd, NetworkManager, ifcfg (Fedora, SUSE), dhcpcd, udev's rules with names. What cloud-init
//! wrote on another machine it writes anew on the next one, and is passed over where cloud-init starts.

use super::access::CloudInit;
use super::netfiles::{self, Interface};
use super::services::{enabled, is_nixos, program};
use crate::boot::files::{Files, position_of};
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use crate::tree::NodeKind;

pub(super) static FIXED_MAC: Rule = Rule {
    id: "network-fixed-mac",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "every instance has another MAC: what is configured for one of another machine applies to nothing, and the instance has no network",
    mend: "remove the line (HWADDR, macaddress, MACAddress=, mac-address), and /etc/udev/rules.d/70-persistent-net.rules",
    source: "VM Import/Export user guide, \"Prepare your VM\": network; EC2 user guide, \"Elastic network interfaces\"",
};

pub(super) static STATIC: Rule = Rule {
    id: "network-static-address",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "an instance gets its address from its subnet, by DHCP; with another one it is not reached by anybody",
    mend: "DHCP in its place: iface … inet dhcp; dhcp4: true; DHCP=yes; method=auto; BOOTPROTO=dhcp",
    source: "VM Import/Export user guide, \"Prepare your VM\": \"DHCP client\"; ImportImage rewrites static addresses, the other ways do not",
};

pub(super) static FIXED_NAME: Rule = Rule {
    id: "network-fixed-name",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "the first interface of a Nitro instance is ens5 on most types and others on some; eth0 only with net.ifnames=0: what is configured for another name applies to nothing",
    mend: "configure all of them (Name=en* eth*; match: {name: \"e*\"}), leave it to cloud-init, or net.ifnames=0 on the kernel command line with eth0",
    source: "VM Import/Export user guide, \"Limitations\": predictable network interface names; systemd.net-naming-scheme(7)",
};

pub(super) static NO_DHCP: Rule = Rule {
    id: "network-without-dhcp",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "nothing brings an interface up by DHCP: the instance has no network, fetches no key and fails its status check (\"Instance reachability check failed\")",
    mend: "install cloud-init; or systemd-networkd: /etc/systemd/network/80-ec2.network with [Match] Name=en* eth* and [Network] DHCP=yes, systemctl enable systemd-networkd systemd-resolved; or NetworkManager",
    source: "VM Import/Export user guide, \"Prepare your VM\": \"DHCP client\"",
};

pub(super) static NO_CLIENT: Rule = Rule {
    id: "network-dhcp-client-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "the configuration asks for DHCP, and there is no program that does it: \"No DHCP client software found!\"",
    mend: "Debian, Ubuntu: isc-dhcp-client or dhcpcd-base; Alpine: dhcpcd (BusyBox' udhcpc does it too); wicked and NetworkManager have their own",
    source: "interfaces(5), method dhcp",
};

pub(super) const RULES: &[&Rule] = &[&FIXED_MAC, &STATIC, &FIXED_NAME, &NO_DHCP, &NO_CLIENT];
/// Programs that ask for an address.
const CLIENTS: [&str; 6] = ["dhclient", "dhcpcd", "udhcpc", "dhcpcd5", "pump", "busybox"];

/// Looks at all that configures interfaces.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, cloud_init: CloudInit, cmdline: Option<&str>, findings: &mut Findings<'_>) -> Result<()> {
    let files = &subject.files;
    if is_nixos(files) {
        return Ok(());
    }
    let interfaces = netfiles::read(subject)?;
    let renders = cloud_init == CloudInit::Active;
    let kernel_names = names_are_the_kernels(files, cmdline);
    let mut dhcp = renders || cmdline.is_some_and(|cmdline| cmdline.split_ascii_whitespace().any(|word| word.starts_with("ip=") && word.contains("dhcp")));
    for interface in interfaces.iter().filter(|interface| !(renders && interface.by_cloud_init)) {
        // netplan's generator starts what it configures.
        let by_netplan = interface.manager == Some(netfiles::NETPLAN) && program(files, &["netplan"]);
        let on = by_netplan || interface.manager.is_none_or(|units| enabled(files, units).unwrap_or(false));
        judge(interface, kernel_names, findings);
        dhcp |= interface.dhcp && on;
        let own_client = interface.manager != Some(netfiles::IFUPDOWN);
        if interface.dhcp && on && !own_client && !program(files, &CLIENTS) {
            findings.add(&NO_CLIENT, interface.place.clone(), "DHCP for ifupdown, and none of dhclient, dhcpcd, udhcpc is there");
        }
    }
    persistent_names(subject, findings)?;
    if !dhcp && !starts_by_itself(files)? {
        let seen =
            if interfaces.is_empty() { "no configuration of an interface was found" } else { "no configuration of an interface that starts asks for DHCP" };
        findings.add(&NO_DHCP, Place::Image, seen);
    }
    Ok(())
}

/// Whether something that starts asks for an address on every interface, without being told.
fn starts_by_itself(files: &Files<'_>) -> Result<bool> {
    const UNITS: [&str; 7] =
        ["NetworkManager.service", "networkmanager.service", "dhcpcd.service", "connman.service", "wicked.service", "wickedd.service", "iwd.service"];
    enabled(files, &UNITS)
}

/// Whether interfaces keep the kernel's names (eth0): without udev, or told so.
fn names_are_the_kernels(files: &Files<'_>, cmdline: Option<&str>) -> bool {
    let off = |path: &str| match files.tree.lookup(path).map(|id| (id, files.tree.node(id).kind)) {
        Some((id, NodeKind::Symlink(_))) => files.tree.target(id) == b"/dev/null",
        Some((_, NodeKind::File(data))) => data.length == 0,
        _ => false,
    };
    let udev = program(files, &["systemd-udevd", "udevd", "udevadm"]);
    cmdline.is_some_and(|cmdline| cmdline.split_ascii_whitespace().any(|word| word == "net.ifnames=0"))
        || !udev
        || off("etc/udev/rules.d/80-net-setup-link.rules")
        || off("etc/udev/rules.d/80-net-name-slot.rules")
        || off("etc/systemd/network/99-default.link")
}

fn judge(interface: &Interface, kernel_names: bool, findings: &mut Findings<'_>) {
    if let Some((place, mac)) = &interface.mac {
        findings.add(&FIXED_MAC, place.clone(), format!("for the MAC {} alone", escape(mac)));
    }
    if let Some((place, address)) = &interface.address {
        findings.add(&STATIC, place.clone(), format!("the address {}", escape(address)));
    }
    let Some(name) = &interface.name else { return };
    let nitro = name.starts_with("ens") || name.contains(['*', '?', '[', '!', '/', ' ']);
    let fits = if kernel_names { name == "eth0" || nitro } else { nitro };
    let is_ethernet = name.starts_with("eth") || name.starts_with("en") || name.starts_with("em");
    if is_ethernet && !fits && interface.mac.is_none() {
        let also = if kernel_names { ", and the first interface is eth0 here" } else { "" };
        findings.add(&FIXED_NAME, interface.place.clone(), format!("for the interface {} alone{also}", escape(name.as_bytes())));
    }
}

/// udev's rules that name an interface by its MAC.
fn persistent_names(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    for name in subject.files.names("etc/udev/rules.d").filter(|name| position_of(name, b"net").is_some() && name.ends_with(b".rules")) {
        let Some(text) = subject.text([b"etc/udev/rules.d/", name].concat())? else { continue };
        for (line, bytes) in text.lines() {
            let mac = position_of(bytes, b"ATTR{address}==").map(|at| &bytes[at + b"ATTR{address}==".len()..]);
            if let Some(mac) = mac.filter(|_| position_of(bytes, b"NAME=").is_some()) {
                let mac = mac.split(|byte| *byte == b',').next().unwrap_or_default();
                findings.add(&FIXED_MAC, Place::line(&text.path, line), format!("a name for the MAC {}", escape(mac)));
            }
        }
    }
    Ok(())
}
