//! Whether anybody can log in: who fetches the key that an instance is started with, and who lets its owner in.

use super::services::{enabled, exists, is_nixos, program};
use crate::boot::distro::assignments;
use crate::boot::files::Files;
use crate::error::Result;
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, Severity};
use crate::lint::subject::{Subject, Text};

const KEYS: &str = "EC2 user guide, \"Key pairs\": the public key is given by the instance metadata; cloud-init, datasource Ec2";

pub(super) static NO_AGENT: Rule = Rule {
    id: "key-agent-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "nothing fetches the public key that the instance is started with, so nobody can log in: \"Permission denied (publickey)\"",
    mend: "install cloud-init (Debian, Ubuntu, Fedora, RHEL, SUSE, Arch, Alpine: package cloud-init), or afterburn, tiny-cloud (Alpine: tiny-cloud-aws), ec2-instance-connect, amazon-ssm-agent",
    source: KEYS,
};

pub(super) static AGENT_OFF: Rule = Rule {
    id: "key-agent-disabled",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "what would fetch the key does not start by itself, so nobody can log in: \"Permission denied (publickey)\"",
    mend: "systemd: systemctl enable cloud-init-local cloud-init cloud-config cloud-final, and remove /etc/cloud/cloud-init.disabled; OpenRC: setup-cloud-init, or rc-update add NAME boot",
    source: "cloud-init, \"How to disable cloud-init\"",
};

pub(super) static NO_DATASOURCE: Rule = Rule {
    id: "cloud-init-without-ec2",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "cloud-init asks only the data sources of its list: without Ec2 it finds none and does nothing: no key, no user data",
    mend: "datasource_list: [ Ec2, None ] in a file of /etc/cloud/cloud.cfg.d (Debian, Ubuntu: dpkg-reconfigure cloud-init)",
    source: "cloud-init, \"Datasources\" and ds-identify",
};

pub(super) static NO_SSHD: Rule = Rule {
    id: "ssh-server-missing",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "an instance is reached by SSH; without a server there is only the serial console, and Session Manager where its agent runs",
    mend: "install openssh-server (Arch, SUSE, Alpine: openssh), or amazon-ssm-agent",
    source: "VM Import/Export user guide, \"Prepare your VM\": enable SSH",
};

pub(super) static SSHD_OFF: Rule = Rule {
    id: "ssh-server-disabled",
    family: Family::Boot,
    severity: Severity::Warning,
    concerns: EVERY,
    why: "there is an SSH server, and it does not start by itself: connections are refused",
    mend: "Debian, Ubuntu: systemctl enable ssh; Fedora, RHEL, SUSE, Arch: systemctl enable sshd; OpenRC: rc-update add sshd default",
    source: "VM Import/Export user guide, \"Prepare your VM\": enable SSH",
};

pub(super) const RULES: &[&Rule] = &[&NO_AGENT, &AGENT_OFF, &NO_DATASOURCE, &NO_SSHD, &SSHD_OFF];

/// cloud-init's services over the years: one of them suffices.
const CLOUD_INIT: [&str; 4] = ["cloud-init.service", "cloud-init-local.service", "cloud-init-main.service", "cloud-init-network.service"];
/// Other agents that give an instance its key or its owner a way in: programs, and the units or scripts that start them.
const AGENTS: [(&[&str], &[&str]); 8] = [
    (&["afterburn"], &["afterburn-sshkeys@core.service", "afterburn-sshkeys@.service", "afterburn.service", "afterburn-sshkeys.target"]),
    (&["ignition"], &[]),
    (&["amazon-init"], &["amazon-init.service"]),
    (&["tiny-cloud"], &["tiny-cloud.service", "tiny-cloud-boot.service", "tiny-cloud-early.service", "tiny-cloud-main.service"]),
    (&["tiny-ec2-bootstrap"], &["tiny-ec2-bootstrap.service"]),
    (&["ec2-get-credentials"], &["ec2-get-credentials.service", "ec2-init.service"]),
    (&["amazon-ssm-agent"], &["amazon-ssm-agent.service", "snap.amazon-ssm-agent.amazon-ssm-agent.service"]),
    (&["bootc-aws-keys", "ssh-ec2-keys"], &["ssh-ec2-keys.service"]),
];
/// SSH servers and what starts them.
const SSHD_PROGRAMS: [&str; 4] = ["sshd", "dropbear", "tinysshd", "dropbearmulti"];
const SSHD_UNITS: [&str; 10] = [
    "ssh.service",
    "sshd.service",
    "ssh.socket",
    "sshd.socket",
    "sshd-openssh.service",
    "dropbear.service",
    "dropbear.socket",
    "dropbear@.service",
    "tinysshd.socket",
    "tinysshd.service",
];

/// How far cloud-init gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloudInit {
    Absent,
    Disabled,
    /// It starts, but never asks EC2.
    WithoutEc2,
    Active,
}

/// Looks for cloud-init: whether it is there, starts, and asks EC2.
///
/// # Errors
/// Those of reading.
pub(super) fn cloud_init(subject: &Subject<'_>, cmdline: Option<&str>, findings: &mut Findings<'_>) -> Result<CloudInit> {
    let files = &subject.files;
    if !program(files, &["cloud-init"]) && !exists(files, &CLOUD_INIT) {
        return Ok(CloudInit::Absent);
    }
    let off_by_cmdline = cmdline.is_some_and(|cmdline| cmdline.split_ascii_whitespace().any(|word| word == "cloud-init=disabled"));
    if off_by_cmdline {
        findings.add(&AGENT_OFF, Place::Image, "cloud-init is switched off by cloud-init=disabled on the kernel command line");
        return Ok(CloudInit::Disabled);
    }
    if let Some(file) = files.file("etc/cloud/cloud-init.disabled") {
        findings.add(&AGENT_OFF, Place::path(file.path), "cloud-init is there, and switched off by this file");
        return Ok(CloudInit::Disabled);
    }
    if !enabled(files, &CLOUD_INIT)? {
        findings.add(&AGENT_OFF, Place::Image, "cloud-init is there, and no target or runlevel starts it");
        return Ok(CloudInit::Disabled);
    }
    let Some((place, list)) = datasources(subject)? else { return Ok(CloudInit::Active) };
    if list.iter().any(|name| name.eq_ignore_ascii_case("ec2")) {
        return Ok(CloudInit::Active);
    }
    findings.add(&NO_DATASOURCE, place, format!("the data sources are {}", crate::error::escape(list.join(", ").as_bytes())));
    Ok(CloudInit::WithoutEc2)
}

/// The data sources that cloud-init is told, and where; the last word counts.
fn datasources(subject: &Subject<'_>) -> Result<Option<(Place, Vec<String>)>> {
    let mut last = None;
    let mut names: Vec<&[u8]> = subject.files.names("etc/cloud/cloud.cfg.d").filter(|name| name.ends_with(b".cfg")).collect();
    names.sort_unstable();
    let drop_ins = names.into_iter().map(|name| [b"etc/cloud/cloud.cfg.d/", name].concat());
    for path in std::iter::once(b"etc/cloud/cloud.cfg".to_vec()).chain(drop_ins) {
        let Some(text) = subject.text(&path)? else { continue };
        if let Some((line, list)) = list_in(&text) {
            last = Some((Place::line(&text.path, line), list));
        }
    }
    // What ds-identify is told comes before that.
    if let Some(text) = subject.text("etc/cloud/ds-identify.cfg")? {
        for (line, bytes) in text.lines() {
            let bytes = String::from_utf8_lossy(bytes).replacen(": ", "=", 1);
            for (name, value) in assignments(bytes.as_bytes()).filter(|(name, _)| *name == "datasource" || *name == "policy") {
                let value = String::from_utf8_lossy(&value).into_owned();
                if (name == "datasource") || value == "disabled" {
                    last = Some((Place::line(&text.path, line), vec![value]));
                }
            }
        }
    }
    Ok(last)
}

/// `datasource_list: [ A, B ]`, or with a line for each.
fn list_in(text: &Text) -> Option<(u64, Vec<String>)> {
    let clean = |name: &str| name.trim_matches(|c: char| c.is_whitespace() || "'\"[],".contains(c)).to_owned();
    let mut found: Option<(u64, Vec<String>)> = None;
    let mut open = false;
    for (line, bytes) in text.lines() {
        let bytes = String::from_utf8_lossy(bytes);
        let bytes = bytes.split(" #").next().unwrap_or_default();
        if let Some(rest) = bytes.strip_prefix("datasource_list:") {
            let names: Vec<String> = rest.split(',').map(clean).filter(|name| !name.is_empty()).collect();
            open = names.is_empty() || !rest.contains(']') && rest.contains('[');
            found = Some((line, names));
        } else if open {
            let Some((_, names)) = &mut found else { break };
            let item = bytes.strip_prefix('-').or((!bytes.contains(':')).then_some(bytes));
            match item {
                Some(item) => names.extend(item.split(',').map(clean).filter(|name| !name.is_empty())),
                None => open = false,
            }
            open &= !bytes.contains(']');
        }
    }
    found.filter(|(_, names)| !names.is_empty())
}

/// Whether somebody fetches the key and somebody lets its owner in.
///
/// # Errors
/// Those of reading.
pub(super) fn check(subject: &Subject<'_>, cloud_init: CloudInit, findings: &mut Findings<'_>) -> Result<()> {
    let files = &subject.files;
    if is_nixos(files) {
        findings.cannot_check("who fetches the SSH key, which services start and what brings the network up: NixOS makes its /etc when it boots");
        return Ok(());
    }
    let mut off = None;
    let mut agent =
        connects(subject)? || files.is_directory("usr/lib/ignition") || files.names("usr/lib/dracut/modules.d").any(|name| name.ends_with(b"ignition"));
    let mut ssm = false;
    for (programs, units) in AGENTS {
        if program(files, programs) || exists(files, units) {
            let on = units.is_empty() || enabled(files, units)?;
            agent |= on;
            ssm |= on && programs == ["amazon-ssm-agent"];
            off = off.or((!on).then_some(programs[0]));
        }
    }
    if cloud_init == CloudInit::Absent && !agent {
        match off {
            Some(name) => findings.add(&AGENT_OFF, Place::Image, format!("{name} is there, and nothing starts it")),
            None => findings.add(&NO_AGENT, Place::Image, "neither cloud-init nor another agent that fetches the SSH key was found"),
        }
    }
    if ssm {
        return Ok(());
    }
    if !program(files, &SSHD_PROGRAMS) {
        findings.add(&NO_SSHD, Place::Image, "neither sshd nor dropbear was found");
    } else if !enabled(files, &SSHD_UNITS)? {
        findings.add(&SSHD_OFF, Place::Image, "an SSH server is there, and no target, socket or runlevel starts it");
    }
    Ok(())
}

/// EC2 Instance Connect asks for keys at every login.
fn connects(subject: &Subject<'_>) -> Result<bool> {
    let files: &Files<'_> = &subject.files;
    if files.is_directory("usr/share/ec2-instance-connect") || files.file("opt/aws/bin/eic_run_authorized_keys").is_some() {
        return Ok(true);
    }
    let Some(text) = subject.text("etc/ssh/sshd_config")? else { return Ok(false) };
    Ok(text.lines().any(|(_, line)| line.to_ascii_lowercase().starts_with(b"authorizedkeyscommand ")))
}
