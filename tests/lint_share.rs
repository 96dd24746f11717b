//! The family "share" of lint, and `[clean]`: trees that a rule objects to beside trees that it does not, a real Debian tree, free space
//! of images that others made.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]
#![allow(clippy::too_many_lines, clippy::type_complexity, reason = "a table of rules is as long as there are rules")]

mod common;

use common::{judge, lab, run, text};
use rootvol::clean::{CleanOptions, clean};
use rootvol::content::{ContentStore, MemoryContents};
use rootvol::lint::{Allowance, Family, LintOptions, Linted, Purpose, Severity, lint_image, lint_source, rule, rules};
use rootvol::source::{DiskImage, Source};
use rootvol::tree::{Metadata, NewNode, TreeBuilder, Xattr};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// An entry of a tree that a test makes.
enum Entry<'a> {
    /// A file: path, contents.
    File(&'a str, &'a str),
    /// A file or folder (`x/`) with a mode.
    Mode(&'a str, u16),
    Link(&'a str, &'a str),
    Capability(&'a str),
}

use Entry::{Capability, File, Link, Mode};

fn source(entries: &[Entry<'_>]) -> Source {
    let mut files = MemoryContents::new();
    let mut tree = TreeBuilder::new();
    let metadata = Metadata { mode: 0o644, ..Metadata::default() };
    for entry in entries {
        match entry {
            File(path, text) => {
                let content = files.push(text.as_bytes()).unwrap();
                let length = u64::try_from(text.len()).unwrap();
                tree.add(path, metadata, NewNode::File { content, length, data: None }).unwrap();
            }
            Mode(path, mode) => {
                let node =
                    if path.ends_with('/') { NewNode::Directory } else { NewNode::File { content: files.push(&b""[..]).unwrap(), length: 0, data: None } };
                tree.add(path.trim_end_matches('/'), Metadata { mode: *mode, ..metadata }, node).unwrap();
            }
            Link(path, target) => {
                tree.add(path, Metadata { mode: 0o777, ..metadata }, NewNode::Symlink(target.as_bytes())).unwrap();
            }
            Capability(path) => {
                let xattrs = tree.intern_xattrs(vec![Xattr::new("security.capability", [1, 0, 0, 2])]).unwrap();
                tree.add(path, Metadata { mode: 0o755, xattrs, ..metadata }, NewNode::File { content: files.push(&b""[..]).unwrap(), length: 0, data: None })
                    .unwrap();
            }
        }
    }
    let mut contents = ContentStore::new();
    let count = files.count();
    contents.add(Arc::new(files), count).unwrap();
    Source::new(tree.freeze().unwrap(), contents, "made in memory")
}

fn lint(entries: &[Entry<'_>]) -> Linted {
    lint_source(&source(entries), &LintOptions::default()).unwrap()
}

/// What the rules of this family say: id and place.
fn said(linted: &Linted) -> Vec<String> {
    let share = linted.findings.iter().filter(|finding| finding.rule.family == Family::Share);
    share.map(|finding| format!("{} {}", finding.rule.id, finding.place)).collect()
}

const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\n{BODY}\n-----END {label}-----\n")
}

/// In parts, so that no scanner takes this file for a leak.
fn aws_id() -> String {
    ["AKIA", "QZ3N5XK7WDTR2MPJ"].concat()
}

fn aws_secret() -> String {
    ["kF9xT2mQ7vLpW4zR8sNc", "B3hJ6dYgA1uE5oXiPtKa"].concat()
}

fn github() -> String {
    ["ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"].concat()
}

/// (rule, trees that it objects to, with the places; trees that it does not object to)
#[test]
fn every_rule_is_told_of_what_it_is_about_and_of_nothing_else() {
    let key = pem("OPENSSH PRIVATE KEY");
    let (id, secret, token) = (aws_id(), aws_secret(), github());
    let credentials = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let long_line = format!("{}\n{}\nx\n", "a".repeat(70_000), token);
    let bad: Vec<(&str, Vec<Entry<'_>>, &str)> = vec![
        ("cloud-init-state", vec![File("var/lib/cloud/instance/user-data.txt", "x")], "/var/lib/cloud/instance/user-data.txt"),
        ("cloud-init-state", vec![File("var/log/cloud-init.log", "x")], "/var/log/cloud-init.log"),
        ("dhcp-leases", vec![File("var/lib/dhcp/dhclient.eth0.leases", "lease {}")], "/var/lib/dhcp/dhclient.eth0.leases"),
        ("logs", vec![File("var/log/syslog", "x"), File("var/log/auth.log", "x")], "/var/log"),
        ("logs", vec![File("var/log/journal/0/system.journal", "x")], "/var/log/journal/0/system.journal"),
        ("build-logs", vec![File("var/log/dpkg.log", "x")], "/var/log/dpkg.log"),
        ("random-seed", vec![File("var/lib/systemd/random-seed", "x")], "/var/lib/systemd/random-seed"),
        ("package-cache", vec![File("var/cache/apt/pkgcache.bin", "x")], "/var/cache/apt/pkgcache.bin"),
        ("temporary-files", vec![File("tmp/x", "x")], "/tmp/x"),
        ("mail", vec![File("var/mail/root", "From x")], "/var/mail/root"),
        ("core-dumps", vec![File("var/crash/x.crash", "x")], "/var/crash/x.crash"),
        ("core-dumps", vec![File("root/core.123", &long_line)], "/root/core.123"),
        ("build-leftovers", vec![File(".dockerenv", "")], "/.dockerenv"),
        ("build-leftovers", vec![File("root/anaconda-ks.cfg", "rootpw x")], "/root/anaconda-ks.cfg"),
        ("shell-history", vec![File("home/jo/.bash_history", "ls")], "/home/jo/.bash_history"),
        ("shell-history", vec![File("root/.local/share/fish/fish_history", "ls")], "/root/.local/share/fish/fish_history"),
        ("machine-id", vec![File("etc/machine-id", "0123456789abcdef0123456789abcdef\n")], "/etc/machine-id"),
        ("machine-id", vec![File("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n")], "/var/lib/dbus/machine-id"),
        ("hostname", vec![File("etc/hostname", "build-7\n")], "/etc/hostname:1"),
        ("machine-identity", vec![File("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.x\n")], "/etc/iscsi/initiatorname.iscsi"),
        ("ssh-host-keys", vec![File("etc/ssh/ssh_host_ed25519_key", "x")], "/etc/ssh/ssh_host_ed25519_key"),
        ("ssh-host-keys", vec![File("etc/ssh/sshd_config", "HostKey /srv/hk\nPasswordAuthentication no\n"), File("srv/hk", "x")], "/srv/hk"),
        ("authorized-keys", vec![File("root/.ssh/authorized_keys", "# x\nssh-ed25519 AAAA\n")], "/root/.ssh/authorized_keys"),
        ("authorized-keys", vec![File("opt/x/.ssh/authorized_keys2", "ssh-rsa A\n")], "/opt/x/.ssh/authorized_keys2"),
        (
            "authorized-keys",
            vec![File("etc/ssh/sshd_config", "AuthorizedKeysFile /etc/ssh/keys/%u\nPasswordAuthentication no\n"), File("etc/ssh/keys/jo", "ssh-rsa A\n")],
            "/etc/ssh/keys/jo",
        ),
        (
            "authorized-keys",
            vec![
                File("etc/ssh/sshd_config", "AuthorizedKeysFile keys\nPasswordAuthentication no\n"),
                File("etc/passwd", "jo:x:1000:1000::/srv/jo:/bin/sh\n"),
                File("srv/jo/keys", "ssh-rsa A\n"),
            ],
            "/srv/jo/keys",
        ),
        ("ssh-root-login", vec![File("etc/ssh/sshd_config", "x\npermitrootlogin=yes\n")], "/etc/ssh/sshd_config:2"),
        ("ssh-root-login", vec![File("etc/ssh/sshd_config", "PermitRootLogin no\nMatch Address 10.*\n PermitRootLogin yes\n")], "/etc/ssh/sshd_config:3"),
        ("ssh-password-login", vec![File("etc/ssh/sshd_config", "")], "/etc/ssh/sshd_config"),
        (
            "ssh-password-login",
            vec![
                File("etc/ssh/sshd_config", "Include sshd_config.d/*.conf\nPasswordAuthentication no\n"),
                File("etc/ssh/sshd_config.d/10.conf", "PasswordAuthentication yes\n"),
                File("etc/ssh/sshd_config.d/20.conf", "PasswordAuthentication no\n"),
            ],
            "/etc/ssh/sshd_config.d/10.conf:1",
        ),
        ("ssh-empty-passwords", vec![File("etc/ssh/sshd_config", "PasswordAuthentication no\nPermitEmptyPasswords yes\n")], "/etc/ssh/sshd_config:2"),
        ("password-empty", vec![File("etc/shadow", "root::1:::::\n")], "/etc/shadow:1"),
        ("password-empty", vec![File("etc/passwd", "root::0:0::/root:/bin/sh\n")], "/etc/passwd:1"),
        ("password-hash", vec![File("etc/shadow", "bin:*:1\njo:$6$abc$def:1:::::\n")], "/etc/shadow:2"),
        ("password-hash", vec![File("etc/shadow-", "jo:!$y$j9T$x$y:1:::::\n")], "/etc/shadow-:1"),
        ("password-hash-weak", vec![File("etc/shadow", "jo:$1$abc$def:1\n")], "/etc/shadow:1"),
        ("password-hash-weak", vec![File("etc/shadow", "jo:ab0123456789.:1\n")], "/etc/shadow:1"),
        ("uid-zero", vec![File("etc/passwd", "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")], "/etc/passwd:2"),
        ("sudo-nopasswd", vec![File("etc/sudoers.d/x", "# x\njo ALL=(ALL) NOPASSWD: ALL\n")], "/etc/sudoers.d/x:2"),
        ("setuid-file", vec![Mode("usr/local/bin/x", 0o4755)], "/usr/local/bin/x"),
        ("setuid-file", vec![Mode("usr/bin/rootme", 0o2755)], "/usr/bin/rootme"),
        ("setuid-file", vec![Mode("tmp/su", 0o4755)], "/tmp/su"),
        ("file-capabilities", vec![Capability("opt/x")], "/opt/x"),
        ("world-writable", vec![Mode("etc/x.conf", 0o666)], "/etc/x.conf"),
        ("world-writable", vec![Mode("srv/x/", 0o777)], "/srv/x"),
        (
            "listening-service",
            vec![Link("etc/systemd/system/multi-user.target.wants/nginx.service", "/lib/systemd/system/nginx.service")],
            "/etc/systemd/system/multi-user.target.wants/nginx.service",
        ),
        (
            "listening-service",
            vec![
                Link("etc/systemd/system/sockets.target.wants/x.socket", "/usr/lib/systemd/system/x.socket"),
                File("usr/lib/systemd/system/x.socket", "[Socket]\nListenStream=/run/x\nListenStream=0.0.0.0:9\n"),
            ],
            "/etc/systemd/system/sockets.target.wants/x.socket",
        ),
        ("cron-job", vec![File("etc/cron.d/mine", "* * * * * root x\n")], "/etc/cron.d/mine"),
        ("cron-job", vec![File("var/spool/cron/crontabs/root", "# x\nMAILTO=a\n@daily x\n")], "/var/spool/cron/crontabs/root:3"),
        ("remote-logging", vec![File("etc/rsyslog.d/x.conf", "# x\n*.*  @@logs.corp.lan:514\n")], "/etc/rsyslog.d/x.conf:2"),
        ("private-key", vec![File("etc/x/y", &key)], "/etc/x/y:2"),
        ("private-key", vec![File("etc/ssl/private/ssl-cert-snakeoil.key", &key)], "/etc/ssl/private/ssl-cert-snakeoil.key:2"),
        ("private-key", vec![File("root/a.p12", "0\u{9}\u{2}\u{1}\u{3}x")], "/root/a.p12"),
        ("aws-access-key", vec![File("home/jo/deploy.sh", &id)], "/home/jo/deploy.sh:1"),
        ("aws-access-key", vec![File("home/jo/.aws/config", &credentials)], "/home/jo/.aws/config:2"),
        ("secret-token", vec![File("srv/app/x.yml", &long_line)], "/srv/app/x.yml:2"),
        ("credentials-file", vec![File("root/.netrc", "machine x login y password hunter22\n")], "/root/.netrc:1"),
        ("credentials-file", vec![File("home/jo/.aws/credentials", &credentials)], "/home/jo/.aws/credentials:3"),
        ("url-password", vec![File("etc/environment", "http_proxy=http://jo:Tr0ub4dor@proxy.lan:3128\n")], "/etc/environment:1"),
        ("certificate", vec![], ""),
        ("example-secret", vec![File("usr/share/doc/x/key.pem", &key)], "/usr/share/doc/x/key.pem:2"),
        ("example-secret", vec![File("usr/lib/python3/dist-packages/x/tests/t.py", &token)], "/usr/lib/python3/dist-packages/x/tests/t.py:1"),
    ];
    for (id, entries, place) in &bad {
        let linted = lint(entries);
        // These trees have no disk, and most of them no system.
        let of_family = linted.not_checked.iter().find(|why| !why.starts_with("container, ") && !why.starts_with("how it imports and boots"));
        assert_eq!(of_family, None, "{id}");
        let said = said(&linted);
        if !place.is_empty() {
            assert!(said.contains(&format!("{id} {place}")), "{id} {place}: {said:?}");
        }
    }
    let certificate = pem("CERTIFICATE");
    assert_eq!(said(&lint(&[File("etc/nginx/site.crt", &certificate)])), ["certificate /etc/nginx/site.crt:2"]);
    // Each rule is told of something here; free space needs a disk.
    let told: BTreeSet<&str> = bad.iter().map(|(id, ..)| *id).collect();
    for rule in rules().into_iter().filter(|rule| rule.family == Family::Share && !rule.id.starts_with("free-space")) {
        assert!(told.contains(rule.id), "{} has no test", rule.id);
    }
}

#[test]
fn what_every_system_has_is_no_finding() {
    let key = pem("PRIVATE KEY");
    let certificate = pem("CERTIFICATE");
    let good = [
        File("etc/machine-id", ""),
        Link("var/lib/dbus/machine-id", "/etc/machine-id"),
        File("etc/hostname", "localhost\n"),
        File("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
        File("etc/passwd", "root:x:0:0::/root:/bin/sh\n+::::::\n"),
        File("etc/shadow", "root:*:1\nbin:!:1\njo:!!:1\nsd:!*:1\n"),
        File("etc/sudoers", "# %wheel ALL=(ALL) NOPASSWD: ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"),
        File("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin prohibit-password\nMatch all\nPermitEmptyPasswords no\n"),
        File("etc/cloud/cloud.cfg", "ssh_pwauth: false\n"),
        File("root/.ssh/authorized_keys", "# none\n\n"),
        File("root/.bashrc", "HISTFILE=.bash_history\n"),
        File("var/log/wtmp", ""),
        Mode("tmp/", 0o1777),
        Mode("usr/bin/su", 0o4755),
        Mode("bin/ping", 0o4755),
        Mode("usr/lib/dbus-1.0/dbus-daemon-launch-helper", 0o4754),
        Mode("usr/sbin/unix_chkpwd", 0o2755),
        Capability("usr/bin/newuidmap"),
        Link("etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service"),
        Link("usr/lib/systemd/system/sockets.target.wants/dbus.socket", "../dbus.socket"),
        File("usr/lib/systemd/system/dbus.socket", "[Socket]\nListenStream=/run/dbus/system_bus_socket\n"),
        File("etc/cron.d/e2scrub_all", "30 3 * * 0 root x\n"),
        File("etc/cron.daily/mypkg", "x\n"),
        File("var/lib/dpkg/info/mypkg.list", "/.\n/etc/cron.daily\n/etc/cron.daily/mypkg\n"),
        File("etc/crontab", "SHELL=/bin/sh\n17 * * * * root cd / && run-parts --report /etc/cron.hourly\n"),
        File("etc/rsyslog.conf", "#*.* @host\nauth,authpriv.* /var/log/auth.log\n"),
        File("etc/ssl/certs/ca.pem", &certificate),
        File("usr/share/ca-certificates/x.crt", &certificate),
        File("usr/lib/x/readme.py", "proxy = 'http://joe:s3crettt@proxy.lan'\n"),
        File("etc/apt/sources.list", "deb http://deb.debian.org/debian bookworm main\n"),
        File("boot/grub/fonts/unicode.pf2", &format!("\0{key}")),
    ];
    assert_eq!(said(&lint(&good)), Vec::<String>::new());
}

#[test]
fn severities_are_those_of_the_purpose_and_findings_can_be_allowed() {
    let entries = [File("etc/ssh/ssh_host_rsa_key", "x"), File("var/log/syslog", "x")];
    let errors = |purposes: &[Purpose]| {
        let mut options = LintOptions::default();
        options.purposes = purposes.to_vec();
        lint_source(&source(&entries), &options)
            .unwrap()
            .findings
            .iter()
            .filter(|finding| finding.rule.id == "ssh-host-keys")
            .map(|finding| finding.severity)
            .collect::<Vec<_>>()
    };
    assert_eq!(errors(&[Purpose::Public]), [Severity::Error]);
    assert_eq!(errors(&[]), [Severity::Warning]);
    assert_eq!(errors(&[Purpose::Ebs]), []);
    let mut options = LintOptions::default();
    options.allow.push(Allowance { rule: rule("logs").unwrap(), path: Some(b"/var/log".to_vec()), reason: "a demo".into() });
    let linted = lint_source(&source(&entries), &options).unwrap();
    assert!(linted.allowed.iter().any(|allowed| allowed.finding.rule.id == "logs") && !said(&linted).iter().any(|said| said.starts_with("logs")));
}

#[test]
fn no_secret_is_ever_shown_whole() {
    let (id, secret, token) = (aws_id(), aws_secret(), github());
    let text = format!("{id}\naws_secret_access_key={secret}\n{token}\nhttp://jo:Tr0ub4dorAnd3@h.lan/\n{}", pem("RSA PRIVATE KEY"));
    let netrc = "machine a login b password LongPassword99\n";
    let linted = lint(&[
        File("srv/x", &text),
        File("root/.netrc", netrc),
        File("etc/shadow", "jo:$6$saltsalt$hashhashhash:1\n"),
        File("etc/machine-id", "0123456789abcdef\n"),
    ]);
    let shown = format!("{linted}\n{}", serde_json::to_string(&linted).unwrap());
    for secret in [&id[..], &secret[..], &token[..], "Tr0ub4dorAnd3", "LongPassword99", BODY, "saltsalt", "hashhashhash", "0123456789abcdef"] {
        assert!(!shown.contains(&secret[..8]), "{secret}: {shown}");
    }
    assert!(shown.contains("(AKIA…)") && shown.contains("(Long…)"), "{shown}");
}

#[test]
fn hostile_trees_are_looked_at_within_bounds() {
    let many: Vec<String> = (0..30_000).map(|at| format!("srv/{at:05}\n\u{1b}[31m")).collect();
    let mut entries: Vec<Entry<'_>> = many.iter().map(|path| Mode(path, 0o666)).collect();
    let line = format!("{}\n", github());
    let text = line.repeat(20_000);
    entries.push(File("srv/many", &text));
    let linted = lint(&entries);
    let of = |id: &str| linted.findings.iter().filter(|finding| finding.rule.id == id).count();
    assert_eq!((of("secret-token"), of("world-writable")), (16, 4096));
    assert!(linted.not_checked.iter().any(|why| why.starts_with("25904 more findings of world-writable")), "{:?}", linted.not_checked);
    assert!(!linted.to_string().contains('\u{1b}'));
    // A file of 10 GiB that is said to be text: its begin is looked at, and what cannot be read is told.
    let mut files = MemoryContents::new();
    let content = files.push(text.as_bytes()).unwrap();
    let mut tree = TreeBuilder::new();
    tree.add("srv/log", Metadata::default(), NewNode::File { content, length: 10 << 30, data: None }).unwrap();
    tree.add("srv/short", Metadata::default(), NewNode::File { content, length: 800_000, data: None }).unwrap();
    let mut contents = ContentStore::new();
    contents.add(Arc::new(files), 1).unwrap();
    let linted = lint_source(&Source::new(tree.freeze().unwrap(), contents, "hostile"), &LintOptions::default()).unwrap();
    let found = said(&linted);
    assert!(found.iter().any(|said| said.starts_with("secret-token /srv/short")), "{found:?}");
    assert!(linted.not_checked.iter().any(|why| why.contains("srv/log")), "{:?}", linted.not_checked);
}

#[test]
fn a_clean_tree_has_nothing_of_what_clean_is_about() {
    let dirty = source(&[
        File("etc/machine-id", "0123\n"),
        File("var/lib/dbus/machine-id", "0123\n"),
        File("etc/hostname", "h\n"),
        File("etc/ssh/ssh_host_rsa_key", "x"),
        File("etc/ssh/ssh_host_rsa_key.pub", "x"),
        File("root/.ssh/authorized_keys", "ssh-rsa A\n"),
        File("home/jo/.bash_history", "x"),
        File("var/lib/cloud/instance/x", "x"),
        File("var/log/cloud-init.log", "x"),
        File("var/log/journal/0/x.journal", "x"),
        File("var/log/wtmp", "x"),
        File("var/log/apt/history.log", "x"),
        File("var/lib/dhclient/dhclient-eth0.lease", "x"),
        File("var/lib/systemd/random-seed", "x"),
        File("etc/sudoers.d/90-cloud-init-users", "jo ALL=(ALL) NOPASSWD:ALL\n"),
        File("var/tmp/x", "x"),
        File("root/anaconda-ks.cfg", "x"),
        File(".dockerenv", ""),
    ]);
    let Source { tree, contents, .. } = dirty;
    let cleaned = clean(tree, &CleanOptions::default()).unwrap();
    let linted = lint_source(&Source::new(cleaned.tree, contents, "clean"), &LintOptions::default()).unwrap();
    assert_eq!(said(&linted), Vec::<String>::new());
}

#[test]
fn a_debian_tree_gives_no_false_alarm() {
    let Some(tar) = lab("debian.tar") else { return };
    let source = rootvol::source::open(tar).unwrap();
    let linted = lint_source(&source, &LintOptions::default()).unwrap();
    // Both are true of it: make-debian-tree.sh gives the host a name, and puts a file with capabilities there.
    assert_eq!(said(&linted), ["file-capabilities /opt/rootvol/capable", "hostname /etc/hostname:1"], "{linted}");
}

fn rootvol() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rootvol"))
}

#[test]
fn a_recipe_cleans_before_it_lays_files_and_says_what_went() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for (path, text) in [
        ("tree/etc/machine-id", "0123\n"),
        ("tree/etc/hostname", "build\n"),
        ("tree/etc/motd", "x"),
        ("tree/root/.bash_history", "x"),
        ("tree/var/log/app/x.log", "x"),
    ] {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), text).unwrap();
    }
    fs::write(
        at("image.toml"),
        "name = \"x\"\n[clean]\nkeep = [\"var/log/app\"]\n[[partition]]\nsource = \"tree\"\nowner = \"0:0\"\n[[file]]\npath = \"/etc/hostname\"\ncontent = \"web\\n\"\n",
    )
    .unwrap();
    let plan = text(rootvol().arg("plan").arg("--recipe").arg(at("image.toml")));
    for line in [
        "cleaned: /etc/machine-id (emptied)",
        "cleaned: /etc/hostname",
        "cleaned: /root/.bash_history",
        "note: [clean] removed 2 entries from the tree and emptied 1",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    run(rootvol().arg("build").arg("--recipe").arg(at("image.toml")).arg("-o").arg(at("x.raw")));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(at("x.raw.report.json")).unwrap()).unwrap();
    assert_eq!(report["removed"], serde_json::json!(["/etc/hostname", "/etc/machine-id (emptied)", "/root/.bash_history"]));
    let image = DiskImage::open(at("x.raw"), &rootvol::format::OpenOptions::default()).unwrap();
    let source = rootvol::source::open_image(&image, &rootvol::source::Options::default()).unwrap();
    let length = |path: &str| {
        source.tree.lookup(path).map(|node| match source.tree.node(node).kind {
            rootvol::tree::NodeKind::File(data) => data.length,
            _ => 0,
        })
    };
    assert_eq!(
        [length("etc/hostname"), length("etc/machine-id"), length("root/.bash_history"), length("var/log/app/x.log")],
        [Some(4), Some(0), None, Some(1)]
    );
}

/// ext4 in a file, as mke2fs makes it of a folder.
fn mke2fs(image: &Path, folder: &Path) -> bool {
    let Some(mut mke2fs) = judge("mke2fs") else { return false };
    run(mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(folder).arg(image).arg("16M"));
    true
}

fn free_findings(image: &Path) -> Vec<String> {
    let mut options = rootvol::format::OpenOptions::default();
    options.format = Some(rootvol::Format::Raw);
    let image = DiskImage::open(image, &options).unwrap();
    let linted = lint_image(&image, &LintOptions::default()).unwrap();
    let free = linted.findings.iter().filter(|finding| finding.rule.id.starts_with("free-space"));
    free.map(|finding| format!("{}: {}", finding.rule.id, finding.message)).collect()
}

#[test]
fn what_a_deleted_file_left_in_free_space_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("tree")).unwrap();
    fs::create_dir(at("tree/root")).unwrap();
    fs::write(at("tree/root/stays"), "stays").unwrap();
    fs::write(at("tree/root/id_rsa"), format!("{}{}\n{}", pem("RSA PRIVATE KEY"), github(), "x".repeat(9000))).unwrap();
    let image = at("disk.img");
    if !mke2fs(&image, &at("tree")) {
        return;
    }
    let Some(mut debugfs) = judge("debugfs") else { return };
    assert_eq!(free_findings(&image), Vec::<String>::new(), "what is in use is not free");
    run(debugfs.args(["-w", "-R", "rm root/id_rsa"]).arg(&image));
    // strings sees it, and so does everybody who gets the snapshot.
    let Some(mut strings) = judge("strings") else { return };
    assert!(text(strings.arg(&image)).contains("-----BEGIN RSA PRIVATE KEY-----"));
    let found = free_findings(&image);
    let has = |text: &str| found.iter().any(|found| found == text);
    assert!(has("free-space-secret: PEM private key (MIIE…), in free space"), "{found:?}");
    assert!(has("free-space-secret: GitHub personal access token (ghp_…), in free space"), "{found:?}");
    assert!(
        found.iter().any(|found| found.starts_with("free-space-data: ") && found.ends_with("in free space are not zero, the first ones here")),
        "{found:?}"
    );
    // Built anew, there is nothing left of it.
    let mut command = rootvol();
    run(command.arg("build").arg(&image).arg("-o").arg(at("new.raw")).args(["--boot", "none", "--name", "x", "--input-format", "raw"]));
    assert_eq!(free_findings(&at("new.raw")), Vec::<String>::new());
}

#[test]
fn what_lies_between_partitions_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/x"), "x").unwrap();
    run(rootvol().arg("build").arg(at("tree")).arg("-o").arg(at("x.raw")).args(["--boot", "none", "--name", "x", "--owner", "0:0"]));
    assert_eq!(free_findings(&at("x.raw")), Vec::<String>::new());
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().write(true).open(at("x.raw")).unwrap();
    let length = file.metadata().unwrap().len();
    // Behind the filesystem and before the backup of the GPT: at the end of the partition, which is a whole number of MiB.
    file.write_at(format!(" {} ", aws_id()).as_bytes(), length - 600_000).unwrap();
    let found = free_findings(&at("x.raw"));
    assert!(found.iter().any(|found| found.starts_with("free-space-secret: AWS access key id (AKIA…)")), "{found:?}");
    assert!(found.iter().any(|found| found.starts_with("free-space-data: 4 KiB")), "{found:?}");
}
