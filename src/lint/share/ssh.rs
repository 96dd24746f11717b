//! SSH: whose keys are in the image, and who may log in how.
//!
//! `sshd_config` is read as sshd does (sshd_config(5)): the first value of a keyword counts, `Include` is read where it stands, its files by
//! name, and what stands behind `Match` holds for some only, to the next `Match` or the end of the outermost file's part.

use super::places::name;
use crate::boot::files::TreeFile;
use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, MARKETPLACE, Rule, SHARED, Severity};
use crate::lint::subject::Subject;

pub(super) const RULES: &[&Rule] = &[&HOST_KEYS, &AUTHORIZED_KEYS, &ROOT_LOGIN, &PASSWORD_LOGIN, &EMPTY_PASSWORDS];

const SHARED_AMIS: &str = "EC2 user guide, recommendations for creating shared Linux AMIs";

static HOST_KEYS: Rule = Rule {
    id: "ssh-host-keys",
    family: Family::Share,
    severity: Severity::Error,
    concerns: SHARED,
    why: "whoever has the image can pretend to be any of its instances; AWS audits public AMIs for host keys, notifies their users and makes the AMI private",
    mend: "`[clean]` in the recipe, or remove them: sshd's unit or cloud-init makes new ones at the first boot",
    source: SHARED_AMIS,
};

static AUTHORIZED_KEYS: Rule = Rule {
    id: "authorized-keys",
    why: "whoever has the key's other half can log in to every instance of the image; AWS asks that shared AMIs have none",
    mend: "`[clean]` in the recipe, or remove them: cloud-init puts the key that the instance was launched with there",
    ..HOST_KEYS
};

static ROOT_LOGIN: Rule = Rule {
    id: "ssh-root-login",
    why: "root can log in from anywhere with a password that is guessed or that is the same in every instance",
    mend: "`PermitRootLogin prohibit-password` or `no` in /etc/ssh/sshd_config",
    ..HOST_KEYS
};

static PASSWORD_LOGIN: Rule = Rule {
    id: "ssh-password-login",
    concerns: MARKETPLACE,
    why: "AWS Marketplace refuses products that allow logins with a password",
    mend: "`PasswordAuthentication no` in /etc/ssh/sshd_config or a file that it includes; sshd allows it where nothing is said",
    source: "AWS Marketplace seller guide, AMI-based product requirements: access",
    ..HOST_KEYS
};

static EMPTY_PASSWORDS: Rule = Rule {
    id: "ssh-empty-passwords",
    concerns: EVERY,
    why: "accounts without a password are open to everybody who reaches the instance",
    mend: "`PermitEmptyPasswords no`, which is what holds where nothing is said",
    source: "sshd_config(5); AWS Marketplace seller guide, AMI-based product requirements: access",
    ..HOST_KEYS
};

/// How deep `Include` is followed, and how many lines are read in all: sshd's own limit is 16.
const INCLUDE_DEPTH: usize = 16;
const LINES_MAX: usize = 100_000;

/// A keyword with its value, where it stands, and the `Match` that it holds for.
struct Setting {
    keyword: String,
    value: Vec<u8>,
    place: Place,
    conditional: bool,
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    let settings = settings(subject)?;
    if let Some(settings) = &settings {
        logins(subject, settings, findings)?;
    }
    let settings = settings.unwrap_or_default();
    host_keys(subject, &settings, findings);
    authorized_keys(subject, &settings, findings)
}

/// All settings of sshd in their order; none where there is no sshd.
fn settings(subject: &Subject<'_>) -> Result<Option<Vec<Setting>>> {
    let mut settings = Vec::new();
    // openSUSE and others have the distribution's file in /usr.
    for path in ["etc/ssh/sshd_config", "usr/etc/ssh/sshd_config"] {
        if subject.files.file(path).is_some() {
            let mut lines = 0;
            read(subject, path.as_bytes(), false, 0, &mut lines, &mut settings)?;
            return Ok(Some(settings));
        }
    }
    Ok(None)
}

fn read(subject: &Subject<'_>, path: &[u8], conditional: bool, depth: usize, lines: &mut usize, settings: &mut Vec<Setting>) -> Result<()> {
    let Some(text) = subject.text(path)? else { return Ok(()) };
    let mut conditional = conditional;
    for (number, line) in text.lines() {
        *lines += 1;
        if *lines > LINES_MAX {
            return Ok(());
        }
        let end = line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=').unwrap_or(line.len());
        let keyword = String::from_utf8_lossy(&line[..end]).to_ascii_lowercase();
        let value = line[end..].trim_ascii_start();
        let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
        match keyword.as_str() {
            "match" => conditional = !value.eq_ignore_ascii_case(b"all"),
            "include" if depth < INCLUDE_DEPTH => {
                for pattern in value.split(u8::is_ascii_whitespace).filter(|pattern| !pattern.is_empty()) {
                    let Ok(pattern) = std::str::from_utf8(pattern) else { continue };
                    let pattern = pattern.trim_matches('"');
                    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("etc/ssh/{pattern}") };
                    for file in subject.files.expand(&pattern, false) {
                        read(subject, &file.path, conditional, depth + 1, lines, settings)?;
                    }
                }
            }
            _ => settings.push(Setting { keyword, value: value.to_vec(), place: Place::line(&text.path, number), conditional }),
        }
    }
    Ok(())
}

/// The value that holds, and those that hold for some.
fn of<'a>(settings: &'a [Setting], keyword: &'a str) -> (Option<&'a Setting>, impl Iterator<Item = &'a Setting>) {
    let all = move || settings.iter().filter(move |setting| setting.keyword == keyword);
    (all().find(|setting| !setting.conditional), all().filter(|setting| setting.conditional))
}

fn logins(subject: &Subject<'_>, settings: &[Setting], findings: &mut Findings<'_>) -> Result<()> {
    let yes = |setting: &Setting| setting.value.trim_ascii().eq_ignore_ascii_case(b"yes");
    let shown = |setting: &Setting| {
        let when = if setting.conditional { ", for those that Match names" } else { "" };
        format!("{} {}{when}", escape(setting.keyword.as_bytes()), escape(&setting.value))
    };
    for (rule, keyword) in [(&ROOT_LOGIN, "permitrootlogin"), (&EMPTY_PASSWORDS, "permitemptypasswords"), (&PASSWORD_LOGIN, "passwordauthentication")] {
        let (first, conditional) = of(settings, keyword);
        for setting in first.into_iter().chain(conditional).filter(|setting| yes(setting)) {
            findings.add(rule, setting.place.clone(), shown(setting));
        }
        if keyword == "passwordauthentication" && first.is_none() && !cloud_init_forbids_passwords(subject)? {
            findings.add(rule, Place::path("etc/ssh/sshd_config"), "PasswordAuthentication is not set, and yes is the default");
        }
    }
    Ok(())
}

/// Whether cloud-init writes `PasswordAuthentication no` at the first boot: `ssh_pwauth`, the last file that says it wins.
fn cloud_init_forbids_passwords(subject: &Subject<'_>) -> Result<bool> {
    let files = ["etc/cloud/cloud.cfg", "etc/cloud/cloud.cfg.d/*.cfg"].iter().flat_map(|pattern| subject.files.expand(pattern, false));
    let mut forbids = false;
    for file in files {
        let Some(text) = subject.text(&file.path)? else { continue };
        for (_, line) in text.lines() {
            if let Some(value) = line.strip_prefix(b"ssh_pwauth:") {
                let value = value.trim_ascii().to_ascii_lowercase();
                forbids = matches!(&value[..], b"0" | b"no" | b"false" | b"off");
            }
        }
    }
    Ok(forbids)
}

fn host_keys(subject: &Subject<'_>, settings: &[Setting], findings: &mut Findings<'_>) {
    let usual = ["etc/ssh/ssh_host_*", "etc/dropbear/dropbear_*_host_key"].map(str::to_owned);
    let named = settings.iter().filter(|setting| setting.keyword == "hostkey").filter_map(|setting| String::from_utf8(setting.value.clone()).ok());
    let expand = |pattern: &str| subject.files.expand(pattern.trim_matches('"'), false);
    // The pattern fits more than keys; what sshd is told to use is one whatever it is called.
    let is_key = |file: &TreeFile| memchr::memmem::find(name(&file.path), b"key").is_some();
    let mut files: Vec<TreeFile> = usual.iter().flat_map(|pattern| expand(pattern)).filter(is_key).collect();
    files.extend(named.flat_map(|pattern| expand(&pattern)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    for file in files.iter().filter(|file| file.data.length > 0) {
        let half = if file.path.ends_with(b".pub") { "the public half of a host key" } else { "a private host key" };
        findings.add(&HOST_KEYS, Place::path(&file.path), half);
    }
}

/// Keys of those who may log in: in every `.ssh`, and where sshd is told to look.
fn authorized_keys(subject: &Subject<'_>, settings: &[Setting], findings: &mut Findings<'_>) -> Result<()> {
    const FOUND_MAX: usize = 100_000;
    let mut paths: Vec<Vec<u8>> = Vec::new();
    let tree = subject.tree();
    tree.walk(|path, id| {
        let in_ssh = |name: &[u8]| path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"));
        if !tree.node(id).is_directory() && (in_ssh(b".ssh/authorized_keys") || in_ssh(b".ssh/authorized_keys2")) && paths.len() < FOUND_MAX {
            paths.push(path.to_vec());
        }
        Ok(())
    })?;
    let homes = super::users::homes(subject)?;
    for setting in settings.iter().filter(|setting| setting.keyword == "authorizedkeysfile") {
        let Ok(value) = std::str::from_utf8(&setting.value) else { continue };
        for pattern in value
            .split_ascii_whitespace()
            .map(|pattern| pattern.trim_matches('"'))
            .filter(|pattern| !matches!(*pattern, "none" | ".ssh/authorized_keys" | ".ssh/authorized_keys2"))
        {
            let pattern = pattern.replace("%u", "*").replace("%U", "*");
            let in_home = pattern.strip_prefix("%h/").or_else(|| (!pattern.starts_with('/')).then_some(&*pattern));
            let patterns: Vec<String> = match in_home {
                Some(rest) => homes.iter().map(|home| format!("{home}/{rest}")).collect(),
                None => vec![pattern],
            };
            paths.extend(patterns.iter().flat_map(|pattern| subject.files.expand(pattern, false)).map(|file| file.path));
        }
    }
    paths.sort();
    paths.dedup();
    for path in paths {
        // A link may lead nowhere, and a file may be of any length.
        let Some(file) = subject.files.file(&path) else { continue };
        let bytes = subject.files.read_prefix(&file, crate::boot::files::TEXT_MAX_BYTES)?;
        let keys = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty() && !line.trim_ascii_start().starts_with(b"#")).count();
        if keys > 0 {
            findings.add(&AUTHORIZED_KEYS, Place::path(&path), format!("{keys} {} may log in", if keys == 1 { "key" } else { "keys" }));
        }
    }
    Ok(())
}
