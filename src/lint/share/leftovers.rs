//! What a system writes while it runs and a golden image must not carry: told by path, counted by folder.
//!
//! Only what is not empty counts: distributions ship empty logs, so that they have the right owner.

use super::places::name;
use crate::boot::files::show;
use crate::clean::{in_home, is_history};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, SHARED, Severity};
use crate::tree::{NodeKind, Tree};
use crate::units::Size;
use std::collections::BTreeMap;

pub(super) const RULES: &[&Rule] = &[&CLOUD_INIT, &LEASES, &LOGS, &BUILD_LOGS, &SEEDS, &CACHES, &TEMPORARY, &MAIL, &CORES, &LEFTOVERS, &HISTORY];

const IMAGE_BUILDER: &str = "EC2 Image Builder user guide, security best practices: the clean-up script";
const SHARED_AMIS: &str = "EC2 user guide, recommendations for creating shared Linux AMIs";

const fn rule(id: &'static str, severity: Severity, why: &'static str, mend: &'static str, source: &'static str) -> Rule {
    Rule { id, family: Family::Share, severity, concerns: SHARED, why, mend, source }
}

static CLOUD_INIT: Rule = Rule {
    concerns: EVERY,
    ..rule(
        "cloud-init-state",
        Severity::Warning,
        "what cloud-init knows of the machine that the image was made on (its user data may hold secrets) goes out, and what it does once is not done again",
        "`[clean]` in the recipe, or `cloud-init clean --logs` before the image is made",
        IMAGE_BUILDER,
    )
};

static LEASES: Rule = Rule {
    concerns: EVERY,
    ..rule(
        "dhcp-leases",
        Severity::Warning,
        "instances ask for the address of the machine that the image was made on, whose network the leases describe",
        "`[clean]` in the recipe, or remove the leases",
        IMAGE_BUILDER,
    )
};

static LOGS: Rule = rule(
    "logs",
    Severity::Warning,
    "logs and journals say who logged in from where, and programs write secrets to them",
    "`[clean]` in the recipe, or remove the logs",
    IMAGE_BUILDER,
);

static BUILD_LOGS: Rule = rule(
    "build-logs",
    Severity::Note,
    "logs of package managers and installers tell how the image was made; an installer's also which passwords it was given",
    "`[clean]` in the recipe, or remove the logs",
    IMAGE_BUILDER,
);

static SEEDS: Rule = Rule {
    concerns: EVERY,
    ..rule(
        "random-seed",
        Severity::Warning,
        "all instances begin with the same secret: random numbers that are credited as such, or the key that systemd's credentials are sealed with",
        "`[clean]` in the recipe, or remove the file: it is made anew",
        "systemd, \"Building Images Safely\"",
    )
};

static CACHES: Rule = Rule {
    concerns: EVERY,
    ..rule(
        "package-cache",
        Severity::Note,
        "it takes space in every volume and is old when the instance starts",
        "`apt-get clean`, `dnf clean all`, or `exclude` in the recipe",
        IMAGE_BUILDER,
    )
};

static TEMPORARY: Rule = rule(
    "temporary-files",
    Severity::Note,
    "what a build left in temporary folders was not meant for anybody",
    "`[clean]` in the recipe, or remove the files",
    IMAGE_BUILDER,
);

static MAIL: Rule = rule("mail", Severity::Warning, "mail is private, and what cron mails to root may hold secrets", "remove the mail", SHARED_AMIS);

static CORES: Rule =
    rule("core-dumps", Severity::Warning, "a core dump holds the memory of a program, with its keys and passwords", "remove the dumps", SHARED_AMIS);

static LEFTOVERS: Rule = rule(
    "build-leftovers",
    Severity::Note,
    "it tells how and where the image was made, may hold passwords (kickstart, preseed), or keeps services from starting (policy-rc.d)",
    "`[clean]` in the recipe, or remove it",
    SHARED_AMIS,
);

static HISTORY: Rule = rule(
    "shell-history",
    Severity::Warning,
    "histories hold what was typed, passwords and keys among it; AWS asks that none is shared",
    "`[clean]` in the recipe, or remove the histories",
    SHARED_AMIS,
);

/// Folders, each with what lies beneath it: the rule, and the prefix of the path. The first that fits counts.
const FOLDERS: &[(&Rule, &str)] = &[
    (&CLOUD_INIT, "var/lib/cloud/"),
    (&CLOUD_INIT, "var/log/cloud-init"),
    (&LEASES, "var/lib/dhclient/"),
    (&LEASES, "var/lib/dhcp/"),
    (&LEASES, "var/lib/dhcpcd/"),
    (&LEASES, "var/lib/dhcpcd5/"),
    (&LEASES, "var/lib/udhcpd/"),
    (&LEASES, "var/lib/NetworkManager/dhclient-"),
    (&LEASES, "var/lib/NetworkManager/internal-"),
    (&LEASES, "run/systemd/netif/leases/"),
    (&CORES, "var/log/core"),
    (&LEFTOVERS, "var/log/installer/"),
    (&LEFTOVERS, "var/log/anaconda/"),
    (&LEFTOVERS, "var/log/YaST2/"),
    (&BUILD_LOGS, "var/log/apt/"),
    (&BUILD_LOGS, "var/log/dpkg.log"),
    (&BUILD_LOGS, "var/log/alternatives.log"),
    (&BUILD_LOGS, "var/log/bootstrap.log"),
    (&BUILD_LOGS, "var/log/fontconfig.log"),
    (&BUILD_LOGS, "var/log/dnf"),
    (&BUILD_LOGS, "var/log/yum.log"),
    (&BUILD_LOGS, "var/log/hawkey.log"),
    (&BUILD_LOGS, "var/log/zyp"),
    (&BUILD_LOGS, "var/log/pacman.log"),
    (&BUILD_LOGS, "var/log/apk.log"),
    (&LOGS, "var/log/journal/"),
    (&LOGS, "run/log/journal/"),
    (&LOGS, "var/log/audit/"),
    (&LOGS, "var/log/"),
    (&LOGS, "var/lib/rsyslog/imjournal.state"),
    (&SEEDS, "var/lib/systemd/random-seed"),
    (&SEEDS, "var/lib/systemd/credential.secret"),
    (&SEEDS, "var/lib/random-seed"),
    (&SEEDS, "var/lib/urandom/random-seed"),
    (&SEEDS, "var/lib/misc/random-seed"),
    (&SEEDS, "var/lib/seedrng/"),
    (&SEEDS, "boot/loader/random-seed"),
    (&SEEDS, "efi/loader/random-seed"),
    (&SEEDS, "boot/efi/loader/random-seed"),
    (&CACHES, "var/cache/apt/"),
    (&CACHES, "var/lib/apt/lists/"),
    (&CACHES, "var/cache/dnf/"),
    (&CACHES, "var/cache/libdnf5/"),
    (&CACHES, "var/cache/yum/"),
    (&CACHES, "var/cache/apk/"),
    (&CACHES, "var/cache/zypp/"),
    (&CACHES, "var/cache/pacman/pkg/"),
    (&CACHES, "root/.cache/"),
    (&TEMPORARY, "tmp/"),
    (&TEMPORARY, "var/tmp/"),
    (&MAIL, "var/mail/"),
    (&MAIL, "var/spool/mail/"),
    (&MAIL, "var/spool/mqueue/"),
    (&MAIL, "var/spool/clientmqueue/"),
    (&MAIL, "var/spool/postfix/deferred/"),
    (&MAIL, "var/spool/postfix/active/"),
    (&MAIL, "var/spool/postfix/incoming/"),
    (&MAIL, "var/spool/postfix/maildrop/"),
    (&MAIL, "var/spool/postfix/hold/"),
    (&MAIL, "var/spool/exim4/input/"),
    (&CORES, "var/lib/systemd/coredump/"),
    (&CORES, "var/crash/"),
    (&CORES, "var/spool/abrt/"),
    (&LEFTOVERS, "root/.ansible/"),
    (&LEFTOVERS, "root/.ssh/known_hosts"),
    (&LEFTOVERS, "root/anaconda-ks.cfg"),
    (&LEFTOVERS, "root/original-ks.cfg"),
    (&LEFTOVERS, "root/initial-setup-ks.cfg"),
    (&LEFTOVERS, "root/install.log"),
    (&LEFTOVERS, "preseed.cfg"),
    (&LEFTOVERS, "etc/preseed.cfg"),
    (&LEFTOVERS, "var/lib/preseed/"),
    (&LEFTOVERS, "etc/apt/apt.conf.d/90curtin-aptproxy"),
    (&LEFTOVERS, "etc/apt/apt.conf.d/01proxy"),
    (&LEFTOVERS, "home/vagrant/"),
    (&LEFTOVERS, "usr/sbin/policy-rc.d"),
];

/// Marks of containers and files that are leftovers even when they are empty.
const MARKS: [&str; 3] = [".dockerenv", ".dockerinit", "run/.containerenv"];

/// What of a tree is left over, gathered entry by entry.
#[derive(Default)]
pub(super) struct Leftovers {
    /// By position in [`FOLDERS`]: how many, how long together, the first path.
    found: BTreeMap<usize, (u64, u64, Vec<u8>)>,
}

impl Leftovers {
    /// Looks at one entry that is no directory.
    pub(super) fn entry(&mut self, tree: &Tree, path: &[u8], kind: &NodeKind, findings: &mut Findings<'_>) {
        let length = match kind {
            NodeKind::Directory => return,
            NodeKind::File(data) => tree.data_ranges(data).map(|(_, length)| length).sum(),
            NodeKind::Symlink(_) => 0,
            _ => 1,
        };
        if let Ok(text) = std::str::from_utf8(path)
            && MARKS.contains(&text)
        {
            findings.add(&LEFTOVERS, Place::path(path), "a container's mark");
        }
        if length == 0 {
            return;
        }
        if let Some(rest) = in_home(path) {
            home(path, rest, findings);
        }
        // What packages own is in /usr, but for one.
        if path.starts_with(b"usr/") && path != b"usr/sbin/policy-rc.d" {
            return;
        }
        if is_core(path) && length > 4096 {
            findings.add(&CORES, Place::path(path), format!("a file with the name of a core dump, of {}", Size::bytes(length)));
        }
        // Of package indexes and locks only the former take space.
        if matches!(name(path), b"lock" | b"README" | b".gitkeep" | b".keep") {
            return;
        }
        if let Some(at) = FOLDERS.iter().position(|(_, prefix)| path.starts_with(prefix.as_bytes())) {
            let (count, bytes, _) = self.found.entry(at).or_insert_with(|| (0, 0, path.to_vec()));
            *count += 1;
            *bytes = bytes.saturating_add(length);
        }
    }

    /// Tells what was gathered: a finding a folder.
    pub(super) fn finish(self, findings: &mut Findings<'_>) {
        for (at, (count, bytes, first)) in self.found {
            let (rule, prefix) = FOLDERS[at];
            let size = Size::bytes(bytes);
            if count == 1 {
                findings.add(rule, Place::path(&first), format!("a file of {size}"));
            } else {
                let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
                findings.add(rule, Place::path(folder), format!("{count} files of {size} together, the first {}", show(&first)));
            }
        }
    }
}

/// What a user's home has: histories, and more of what was typed.
fn home(path: &[u8], rest: &[u8], findings: &mut Findings<'_>) {
    if is_history(rest) {
        findings.add(&HISTORY, Place::path(path), "a history of what was typed, searched or visited");
    }
    if rest == b".ssh/known_hosts" && !path.starts_with(b"root/") {
        findings.add(&LEFTOVERS, Place::path(path), "the hosts that somebody connected to");
    }
}

fn is_core(path: &[u8]) -> bool {
    let file = name(path);
    file == b"core" || file.strip_prefix(b"core.").is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}
