//! What tells one machine from another, and must not be the same in all instances.

use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::Subject;
use crate::tree::NodeKind;

pub(super) const RULES: &[&Rule] = &[&MACHINE_ID, &HOSTNAME, &IDENTITY];

static MACHINE_ID: Rule = Rule {
    id: "machine-id",
    family: Family::Share,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "all instances have one machine id: they get each other's DHCP addresses, their journals cannot be told apart, and what runs once at the first boot does not run",
    mend: "`[clean]` in the recipe, or `truncate -s 0 /etc/machine-id`; /var/lib/dbus/machine-id is a link to it, or missing",
    source: "machine-id(5); EC2 Image Builder user guide, security best practices: the clean-up script",
};

static HOSTNAME: Rule = Rule {
    id: "hostname",
    severity: Severity::Note,
    why: "all instances call themselves so until cloud-init names them, and it tells whose machine the image was made on",
    mend: "`[clean]` in the recipe, or remove /etc/hostname",
    source: "EC2 Image Builder user guide, security best practices: the clean-up script",
    ..MACHINE_ID
};

static IDENTITY: Rule = Rule {
    id: "machine-identity",
    why: "all instances present themselves to others (storage, management, VPN) as one machine",
    mend: "remove the file: it is made anew where it is needed",
    source: "systemd, \"Building Images Safely\"",
    ..MACHINE_ID
};

/// Files that name one machine, or hold what it was given under its name.
const FILES: &[&str] = &[
    "etc/hostid",
    "etc/iscsi/initiatorname.iscsi",
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "etc/salt/minion_id",
    "etc/salt/pki/minion/minion.pem",
    "etc/chef/client.pem",
    "var/lib/NetworkManager/secret_key",
    "var/lib/amazon/ssm/Vault/Store/RegistrationKey",
    "var/lib/puppet/ssl/private_keys/*",
    "etc/puppetlabs/puppet/ssl/private_keys/*",
    "var/lib/tailscale/tailscaled.state",
    "var/lib/zerotier-one/identity.secret",
    "var/lib/ubuntu-advantage/private/machine-token.json",
    "etc/pki/consumer/key.pem",
    "etc/sysconfig/rhn/systemid",
    "etc/zypp/credentials.d/SCCcredentials",
];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    for path in ["etc/machine-id", "var/lib/dbus/machine-id"] {
        // A link to the other one is told there.
        let is_file = subject.tree().lookup(path).is_some_and(|node| matches!(subject.tree().node(node).kind, NodeKind::File(_)));
        if let Some(text) = subject.text(path)?.filter(|_| is_file) {
            let id = text.bytes().trim_ascii();
            if !matches!(id, b"" | b"uninitialized") {
                findings.add(&MACHINE_ID, Place::path(path), format!("an id is set ({}…)", escape(&id[..id.len().min(4)])));
            }
        }
    }
    if let Some(text) = subject.text("etc/hostname")?
        && let Some((line, host)) = text.lines().next()
        && !matches!(host, b"localhost" | b"localhost.localdomain" | b"(none)")
    {
        findings.add(&HOSTNAME, Place::line(&text.path, line), format!("the host is called {}", escape(&host[..host.len().min(255)])));
    }
    for file in FILES.iter().flat_map(|pattern| subject.files.expand(pattern, false)).filter(|file| file.data.length > 0) {
        // open-iscsi and Alpine ship a file that only says that a name is to be made.
        let text = subject.files.read_prefix(&file, 4096)?;
        if memchr::memmem::find(&text, b"GenerateName=yes").is_none() {
            findings.add(&IDENTITY, Place::path(&file.path), "it names one machine");
        }
    }
    Ok(())
}
