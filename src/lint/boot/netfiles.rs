//! Files that configure interfaces, as far as they tell of names, MACs and addresses.
//!
//! | program | files |
//! |---|---|
//! | ifupdown | `/etc/network/interfaces`, `/etc/network/interfaces.d/*` (interfaces(5)) |
//! | netplan | `/etc/netplan/*.yaml`, `/usr/lib/netplan/*.yaml` (netplan(5)), line by line: no YAML but what people and tools write there |
//! | systemd-networkd | `/etc/systemd/network/*.network`, `*.link`, `/usr/lib/systemd/network` (systemd.network(5)) |
//! | NetworkManager | `/etc/NetworkManager/system-connections/*` (nm-settings-keyfile(5)) |
//! | ifcfg | `/etc/sysconfig/network-scripts/ifcfg-*`, `/etc/sysconfig/network/ifcfg-*` |
//! | dhcpcd | `/etc/dhcpcd.conf` |

use crate::boot::distro::assignments;
use crate::boot::files::{MATCHES_MAX, join, position_of};
use crate::error::Result;
use crate::lint::finding::Place;
use crate::lint::subject::{Subject, Text};

/// What starts ifupdown.
pub(super) const IFUPDOWN: &[&str] = &["networking.service", "ifupdown-ng.service", "network.service"];
const NETWORKD: &[&str] = &["systemd-networkd.service", "systemd-networkd.socket"];
const NETWORK_MANAGER: &[&str] = &["NetworkManager.service", "networkmanager.service"];
const IFCFG: &[&str] = &["network.service", "NetworkManager.service", "wicked.service", "wickedd.service"];
const DHCPCD: &[&str] = &["dhcpcd.service", "dhcpcd@.service"];
/// netplan configures one of the two.
pub(super) const NETPLAN: &[&str] = &["systemd-networkd.service", "systemd-networkd.socket", "NetworkManager.service", "netplan-configure.service"];

/// A configuration of interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) place: Place,
    /// What starts it; none where nothing has to.
    pub(super) manager: Option<&'static [&'static str]>,
    /// The name that it is for; none where it is for any.
    pub(super) name: Option<String>,
    /// The MAC that it is for, and where that stands.
    pub(super) mac: Option<(Place, Vec<u8>)>,
    /// An address of its own.
    pub(super) address: Option<(Place, Vec<u8>)>,
    pub(super) dhcp: bool,
    /// Whether cloud-init wrote it, and will write it anew.
    pub(super) by_cloud_init: bool,
}

impl Interface {
    fn new(place: Place, manager: &'static [&'static str]) -> Self {
        Self { place, manager: Some(manager), name: None, mac: None, address: None, dhcp: false, by_cloud_init: false }
    }
}

/// Reads a file of one kind.
type Reader = fn(&Text) -> Vec<Interface>;

/// Reads them all.
///
/// # Errors
/// Those of reading.
pub(super) fn read(subject: &Subject<'_>) -> Result<Vec<Interface>> {
    let mut all = Vec::new();
    let readers: [(&[&str], &[&str], Reader); 6] = [
        (&["etc/network"], &["interfaces"], ifupdown),
        (&["etc/network/interfaces.d"], &[""], ifupdown),
        (&["etc/netplan", "usr/lib/netplan", "lib/netplan"], &[".yaml"], netplan),
        (&["etc/systemd/network", "usr/lib/systemd/network"], &[".network", ".link"], networkd),
        (&["etc/NetworkManager/system-connections", "usr/lib/NetworkManager/system-connections"], &[""], network_manager),
        (&["etc"], &["dhcpcd.conf"], dhcpcd),
    ];
    for (folders, ends, reader) in readers {
        for folder in folders {
            let fitting = |name: &&[u8]| ends.iter().any(|end| name.ends_with(end.as_bytes())) && (*folder != "etc" || *name == b"dhcpcd.conf");
            let names: Vec<&[u8]> = subject.files.names(folder).filter(fitting).take(MATCHES_MAX).collect();
            for name in names {
                add(subject, &join(folder.as_bytes(), name), reader, &mut all)?;
            }
        }
    }
    for folder in ["etc/sysconfig/network-scripts", "etc/sysconfig/network"] {
        let names: Vec<&[u8]> = subject.files.names(folder).filter(|name| name.starts_with(b"ifcfg-") && *name != b"ifcfg-lo").take(MATCHES_MAX).collect();
        for name in names {
            add(subject, &join(folder.as_bytes(), name), ifcfg, &mut all)?;
        }
    }
    Ok(all)
}

fn add(subject: &Subject<'_>, path: &[u8], reader: Reader, all: &mut Vec<Interface>) -> Result<()> {
    let Some(text) = subject.text(path)? else { return Ok(()) };
    let bytes = text.bytes();
    let by_cloud_init = position_of(&bytes[..bytes.len().min(1024)], b"cloud-init").is_some() || position_of(path, b"cloud-init").is_some();
    all.extend(reader(&text).into_iter().map(|interface| Interface { by_cloud_init, ..interface }));
    Ok(())
}

fn words(line: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(line).split_ascii_whitespace().map(str::to_owned).collect()
}

/// interfaces(5).
fn ifupdown(text: &Text) -> Vec<Interface> {
    let mut all: Vec<Interface> = Vec::new();
    for (line, bytes) in text.lines() {
        let words = words(bytes);
        let place = || Place::line(&text.path, line);
        match (words[0].as_str(), words.get(1), words.get(3)) {
            ("iface", Some(name), method) => {
                let mut interface = Interface::new(place(), IFUPDOWN);
                interface.name = (name != "lo").then(|| name.clone());
                interface.dhcp = name != "lo" && method.is_some_and(|method| method == "dhcp");
                // Kept for the lines that follow, dropped below.
                interface.by_cloud_init = name == "lo";
                all.push(interface);
            }
            ("address", Some(address), _) => {
                if let Some(last) = all.last_mut() {
                    last.address = Some((place(), address.clone().into_bytes()));
                }
            }
            ("use", Some(what), _) => {
                if let Some(last) = all.last_mut() {
                    last.dhcp |= what == "dhcp";
                }
            }
            ("hwaddress", Some(_), _) => {
                if let (Some(last), Some(mac)) = (all.last_mut(), words.last()) {
                    last.mac = Some((place(), mac.clone().into_bytes()));
                }
            }
            _ => {}
        }
    }
    all.retain(|interface| interface.name.is_some());
    all
}

/// netplan(5): what stands beneath `ethernets:`, by its indentation.
fn netplan(text: &Text) -> Vec<Interface> {
    let mut all: Vec<Interface> = Vec::new();
    let (mut section, mut level, mut matches, mut addresses) = (None::<usize>, None::<usize>, false, None::<usize>);
    for (at, raw) in text.bytes().split(|byte| *byte == b'\n').enumerate() {
        let line = crate::units::u64_of(at) + 1;
        let content = raw.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        let indent = raw.iter().take_while(|byte| **byte == b' ').count();
        let content = String::from_utf8_lossy(content).into_owned();
        let (key, value) = content.split_once(':').map_or((content.as_str(), ""), |(key, value)| (key.trim_matches(['"', '\'']), value.trim()));
        if key == "ethernets" {
            (section, level) = (Some(indent), None);
            continue;
        }
        let Some(outer) = section else { continue };
        if indent <= outer {
            section = None;
            continue;
        }
        let place = || Place::line(&text.path, line);
        if indent <= *level.get_or_insert(indent) {
            let mut interface = Interface::new(place(), NETPLAN);
            interface.name = Some(key.to_owned());
            (matches, addresses) = (false, None);
            all.push(interface);
        }
        let Some(last) = all.last_mut() else { continue };
        let yes = value.starts_with("true") || value.starts_with("yes") || value.starts_with("on");
        addresses = addresses.filter(|outer| indent >= *outer && key.starts_with('-'));
        match key {
            "match" => (matches, last.name) = (true, None),
            "name" if matches => last.name = Some(value.trim_matches(['"', '\'']).to_owned()),
            "macaddress" => last.mac = Some((place(), value.trim_matches(['"', '\'']).as_bytes().to_vec())),
            "dhcp4" => last.dhcp |= yes,
            "addresses" if value.is_empty() => addresses = Some(indent),
            "addresses" if value.contains('/') && last.address.is_none() => last.address = Some((place(), value.as_bytes().to_vec())),
            // Lists of DNS servers have addresses without a prefix.
            _ if addresses.is_some() && content.contains('/') && last.address.is_none() => {
                last.address = Some((place(), content.trim_matches(['-', ' ', '"', '\'']).as_bytes().to_vec()));
            }
            _ => {}
        }
    }
    all
}

/// `[Section]` and `Key=value`, for systemd and NetworkManager.
fn keys(text: &Text) -> Vec<(u64, String, String, String)> {
    let mut section = String::new();
    let mut all = Vec::new();
    for (line, bytes) in text.lines() {
        let shown = String::from_utf8_lossy(bytes);
        if let Some(name) = shown.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = shown.split_once('=') {
            all.push((line, section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    all
}

/// systemd.network(5), systemd.link(5).
fn networkd(text: &Text) -> Vec<Interface> {
    let is_link = text.path.ends_with(b".link");
    let mut interface = Interface::new(Place::path(&text.path), NETWORKD);
    let mut ours = true;
    for (line, section, key, value) in keys(text) {
        let place = || Place::line(&text.path, line);
        match (section.as_str(), key.as_str()) {
            // A network of containers, a bridge: nothing that an instance has by itself.
            ("Match", "Driver") => ours &= value.split_ascii_whitespace().any(|driver| driver == "ena"),
            ("Match", "Kind" | "Virtualization") if !value.starts_with('!') => ours = false,
            ("Match", "Name" | "OriginalName") => interface.name = Some(value),
            ("Match", "Type") => ours &= value.split_ascii_whitespace().any(|kind| kind == "ether"),
            ("Match", "MACAddress" | "PermanentMACAddress") => interface.mac = Some((place(), value.into_bytes())),
            ("Network", "DHCP") => interface.dhcp = matches!(value.as_str(), "yes" | "true" | "ipv4" | "both" | "1" | "on"),
            ("Network" | "Address", "Address") if !is_link => interface.address = Some((place(), value.into_bytes())),
            _ => {}
        }
    }
    if let Some(name) = &interface.name {
        let names: Vec<&str> = name.split_ascii_whitespace().collect();
        let any = names.iter().any(|name| name.contains(['*', '?']) && ["ens5", "eth0", "enp39s0"].iter().any(|own| super::services::fits(name, own)));
        let ethernet = names.iter().any(|name| name.starts_with('e'));
        if any {
            interface.name = None;
        } else if !ethernet {
            ours = false;
        }
    } else if is_link {
        // A link file without a name is about something else, unless it is for a MAC.
        ours &= interface.mac.is_some();
    }
    let bridged = interface.address.as_ref().is_some_and(|(_, address)| address.starts_with(b"0.0.0.0"));
    if ours && !bridged { vec![interface] } else { Vec::new() }
}

/// nm-settings-keyfile(5).
fn network_manager(text: &Text) -> Vec<Interface> {
    let mut interface = Interface::new(Place::path(&text.path), NETWORK_MANAGER);
    let mut ethernet = false;
    let mut address = None;
    let mut manual = false;
    for (line, section, key, value) in keys(text) {
        match (section.as_str(), key.as_str()) {
            ("connection", "type") => ethernet = value == "ethernet" || value == "802-3-ethernet",
            ("connection", "interface-name") => interface.name = Some(value),
            ("ethernet" | "802-3-ethernet", "mac-address") => interface.mac = Some((Place::line(&text.path, line), value.into_bytes())),
            ("ipv4", "method") => (interface.dhcp, manual) = (value == "auto", value == "manual"),
            ("ipv4", key) if key.starts_with("address") => address = Some((Place::line(&text.path, line), value.into_bytes())),
            _ => {}
        }
    }
    interface.address = address.filter(|_| manual);
    if ethernet { vec![interface] } else { Vec::new() }
}

/// sysconfig.txt of initscripts, ifcfg(5) of wicked.
fn ifcfg(text: &Text) -> Vec<Interface> {
    let mut interface = Interface::new(Place::path(&text.path), IFCFG);
    let mut is_static = false;
    let mut address = None;
    for (line, bytes) in text.lines() {
        for (key, value) in assignments(bytes) {
            let place = || Place::line(&text.path, line);
            let shown = String::from_utf8_lossy(&value).to_ascii_lowercase();
            match key {
                "DEVICE" => interface.name = Some(shown),
                "HWADDR" | "LLADDR" => interface.mac = Some((place(), value)),
                "BOOTPROTO" => (interface.dhcp, is_static) = (shown.starts_with("dhcp"), matches!(shown.as_str(), "static" | "none")),
                "IPADDR" | "IPADDR0" => address = Some((place(), value)),
                "TYPE" if shown != "ethernet" => return Vec::new(),
                _ => {}
            }
        }
    }
    if interface.name.is_none() {
        // SUSE's files have the name of the interface alone.
        let name = text.path.rsplit(|byte| *byte == b'/').next().and_then(|name| name.strip_prefix(b"ifcfg-")).map(String::from_utf8_lossy);
        interface.name = name.map(std::borrow::Cow::into_owned);
    }
    if interface.name.as_deref() == Some("lo") {
        return Vec::new();
    }
    // Without BOOTPROTO the address counts as well.
    interface.address = address.filter(|(_, value)| !value.is_empty() && (is_static || !interface.dhcp));
    interface.mac = interface.mac.filter(|(_, value)| !value.is_empty());
    vec![interface]
}

/// dhcpcd.conf(5).
fn dhcpcd(text: &Text) -> Vec<Interface> {
    let mut interface = Interface::new(Place::path(&text.path), DHCPCD);
    for (line, bytes) in text.lines() {
        let words = words(bytes);
        let address = words.get(1).and_then(|word| word.strip_prefix("ip_address=")).filter(|_| words[0] == "static");
        if let Some(address) = address {
            interface.address = Some((Place::line(&text.path, line), address.as_bytes().to_vec()));
        }
    }
    interface.dhcp = interface.address.is_none();
    vec![interface]
}
