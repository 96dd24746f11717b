//! What a shared image does by itself: who listens, what runs by the clock, where logs go.

use super::places::name;
use crate::boot::files::{TreeFile, join};
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{Family, Rule, SHARED, Severity};
use crate::lint::subject::Subject;

pub(super) const RULES: &[&Rule] = &[&LISTENING, &CRON, &REMOTE_LOGS];

const CONSUMER: &str = "EC2 user guide, best practices for shared Linux AMIs: what users are told to check";

static LISTENING: Rule = Rule {
    id: "listening-service",
    family: Family::Share,
    severity: Severity::Note,
    concerns: SHARED,
    why: "what listens on the network can be attacked as soon as the instance starts, before its user has set anything up; users of shared AMIs are told to look for it",
    mend: "disable the unit, or say in the product's description that it listens",
    source: CONSUMER,
};

static CRON: Rule = Rule {
    id: "cron-job",
    why: "it runs in every instance, and belongs to no package that is known; users of shared AMIs are told to look for it",
    mend: "remove the job, or silence the rule for its path with what it does",
    ..LISTENING
};

static REMOTE_LOGS: Rule = Rule {
    id: "remote-logging",
    severity: Severity::Warning,
    why: "every instance sends its logs to this host, whoever runs the instance; users of shared AMIs are told to look for it",
    mend: "remove the line",
    ..LISTENING
};

/// Services that listen on the network as they are installed, other than sshd. By the names of their units on Debian, Fedora and openSUSE,
/// and of their scripts on Alpine.
const DAEMONS: &[&str] = &[
    "apache2",
    "avahi-daemon",
    "bind9",
    "caddy",
    "cassandra",
    "cockpit",
    "consul",
    "couchdb",
    "cups",
    "cups-browsed",
    "cupsd",
    "dnsmasq",
    "docker-registry",
    "dovecot",
    "elasticsearch",
    "etcd",
    "exim",
    "exim4",
    "gitlab-runsvdir",
    "grafana-server",
    "haproxy",
    "httpd",
    "inetd",
    "influxdb",
    "isc-dhcp-server",
    "jenkins",
    "k3s",
    "kubelet",
    "lighttpd",
    "mariadb",
    "memcached",
    "minidlna",
    "mongod",
    "mosquitto",
    "mysql",
    "mysqld",
    "named",
    "named-chroot",
    "nfs-server",
    "nginx",
    "nmbd",
    "node_exporter",
    "openvpn",
    "php-fpm",
    "postfix",
    "postgresql",
    "prometheus",
    "prometheus-node-exporter",
    "proftpd",
    "pure-ftpd",
    "rabbitmq-server",
    "redis",
    "redis-server",
    "rpcbind",
    "rsync",
    "rsyncd",
    "rpc-statd",
    "samba",
    "sendmail",
    "slapd",
    "smbd",
    "snmpd",
    "squid",
    "telnet",
    "telnetd",
    "tftpd-hpa",
    "tomcat",
    "tomcat10",
    "tomcat9",
    "transmission-daemon",
    "unbound",
    "vault",
    "vncserver",
    "vsftpd",
    "webmin",
    "xinetd",
    "xrdp",
    "zabbix-agent",
];

/// Jobs that packages of Debian, Ubuntu, Fedora, Amazon Linux, Alpine and openSUSE bring.
const JOBS: &[&str] = &[
    "0anacron",
    "0hourly",
    "amtu",
    "anacron",
    "apache2",
    "apport",
    "apt-compat",
    "aptitude",
    "aide",
    "bsdmainutils",
    "certbot",
    "certwatch",
    "cracklib-runtime",
    "debsums",
    "dlocate",
    "dpkg",
    "e2scrub_all",
    "exim4-base",
    "fake-hwclock",
    "fstrim",
    "google-chrome",
    "logcheck",
    "logrotate",
    "man-db",
    "mdadm",
    "mdcheck",
    "mlocate",
    "mlocate.cron",
    "munin",
    "ntp",
    "ntpsec",
    "passwd",
    "php",
    "plocate",
    "popularity-contest",
    "postgresql-common",
    "quota",
    "raid-check",
    "rpm",
    "rhsmd",
    "samba",
    "spamassassin",
    "suse.de-snapper",
    "suse-btrfs",
    "btrfs-scrub",
    "sysstat",
    "tmpwatch",
    "ubuntu-advantage-tools",
    "unattended-upgrades",
    "update-notifier-common",
    "xfs",
    "zfsutils-linux",
    "root",
];

/// Links and lines that are looked at of one sort.
const LOOKED_MAX: usize = 4096;

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    listening(subject, findings)?;
    cron(subject, findings)?;
    remote_logs(subject, findings)
}

fn listening(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let folders = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for folder in folders {
        let wants = subject.files.names(folder).filter(|name| name.ends_with(b".wants") || name.ends_with(b".requires")).take(LOOKED_MAX);
        for path in wants.map(|name| join(folder.as_bytes(), name)) {
            for unit in subject.files.names(&path).take(LOOKED_MAX) {
                let (stem, suffix) = unit.split_at(memchr::memrchr(b'.', unit).unwrap_or(unit.len()));
                let stem = &stem[..memchr::memchr(b'@', stem).unwrap_or(stem.len())];
                let link = join(&path, unit);
                if seen.iter().any(|other| other == unit) {
                    continue;
                }
                if suffix == b".service" && DAEMONS.iter().any(|daemon| daemon.as_bytes() == stem) {
                    findings.add(&LISTENING, Place::path(&link), format!("{} is enabled, and listens on the network", escape(unit)));
                    seen.push(unit.to_vec());
                } else if suffix == b".socket"
                    && !matches!(stem, b"ssh" | b"sshd")
                    && let Some(address) = network_address(subject, &link)?
                {
                    findings.add(&LISTENING, Place::path(&link), format!("{} is enabled, and listens on {}", escape(unit), escape(&address)));
                    seen.push(unit.to_vec());
                }
            }
        }
    }
    for script in subject.files.names("etc/runlevels/default").filter(|name| DAEMONS.iter().any(|daemon| daemon.as_bytes() == *name)) {
        findings.add(&LISTENING, Place::path(join(b"etc/runlevels/default", script)), format!("{} is enabled, and listens on the network", escape(script)));
    }
    Ok(())
}

/// What of the network a socket unit listens on, if anything (systemd.socket(5)): neither a path nor an abstract name, and no other
/// sort of socket than streams and datagrams.
fn network_address(subject: &Subject<'_>, unit: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(text) = subject.text(unit)? else { return Ok(None) };
    let address = |line: &[u8]| {
        let value = [&b"ListenStream="[..], b"ListenDatagram="].iter().find_map(|key| line.strip_prefix(*key))?.trim_ascii().to_vec();
        let local = value.is_empty()
            || matches!(value[0], b'/' | b'@' | b'%')
            || value.starts_with(b"vsock:")
            || value.starts_with(b"127.")
            || value.starts_with(b"[::1]");
        (!local).then_some(value)
    };
    Ok(text.lines().find_map(|(_, line)| address(line)))
}

fn cron(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let mut unknown: Vec<TreeFile> = Vec::new();
    for pattern in ["etc/cron.d/*", "etc/cron.hourly/*", "etc/cron.daily/*", "etc/cron.weekly/*", "etc/cron.monthly/*", "etc/periodic/*/*"] {
        let files = subject.files.expand(pattern, false).into_iter();
        unknown.extend(
            files.filter(|file| file.data.length > 0 && !name(&file.path).starts_with(b".") && !JOBS.iter().any(|job| job.as_bytes() == name(&file.path))),
        );
    }
    if !unknown.is_empty() {
        forget_packaged(subject, &mut unknown)?;
    }
    for file in &unknown {
        findings.add(&CRON, Place::path(&file.path), "a job that runs by the clock");
    }
    // Tables of users, and lines that somebody added to the system's.
    for pattern in ["var/spool/cron/*", "var/spool/cron/crontabs/*", "var/spool/cron/tabs/*", "etc/crontabs/*", "etc/crontab"] {
        for file in subject.files.expand(pattern, false) {
            let Some(text) = subject.text(&file.path)? else { continue };
            let is_job = |line: &[u8]| {
                let setting =
                    line.iter().position(|byte| *byte == b'=').is_some_and(|at| line[..at].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'));
                !setting && memchr::memmem::find(line, b"run-parts").is_none()
            };
            if let Some((line, _)) = text.lines().find(|(_, line)| is_job(line)) {
                findings.add(&CRON, Place::line(&file.path, line), "a line that runs by the clock");
            }
        }
    }
    Ok(())
}

/// Takes away what dpkg's lists of files name.
fn forget_packaged(subject: &Subject<'_>, files: &mut Vec<TreeFile>) -> Result<()> {
    const FOLDER: &[u8] = b"var/lib/dpkg/info";
    for list in subject.files.names(FOLDER).filter(|name| name.ends_with(b".list")) {
        let Some(file) = subject.files.file(join(FOLDER, list)) else { continue };
        let text = subject.files.read_prefix(&file, crate::boot::files::TEXT_MAX_BYTES)?;
        files.retain(|file| {
            let line = [b"/", &file.path[..], b"\n"].concat();
            memchr::memmem::find(&text, &line).is_none()
        });
        if files.is_empty() {
            break;
        }
    }
    Ok(())
}

fn remote_logs(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    for pattern in
        ["etc/rsyslog.conf", "etc/rsyslog.d/*.conf", "etc/syslog.conf", "etc/systemd/journal-upload.conf", "etc/systemd/journal-upload.conf.d/*.conf"]
    {
        for file in subject.files.expand(pattern, false) {
            let Some(text) = subject.text(&file.path)? else { continue };
            for (number, line) in text.lines() {
                let action = line.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
                // `*.* @host`, `*.* @@host:514`, `action(type="omfwd" …)`, `URL=…`.
                let classic = line.len() > action.len() && action.starts_with(b"@") && !line.starts_with(b"$");
                let forward = memchr::memmem::find(line, b"\"omfwd\"").is_some() || (line.starts_with(b"URL=") && line.len() > 4);
                if classic || forward {
                    findings.add(&REMOTE_LOGS, Place::line(&file.path, number), "logs are sent to another host");
                }
            }
        }
    }
    Ok(())
}
