//! Accounts: passwords, superusers, and who becomes root without a password.

use crate::error::{Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, SHARED, Severity};
use crate::lint::subject::Subject;

pub(super) const RULES: &[&Rule] = &[&EMPTY, &HASH, &WEAK, &UID_ZERO, &NOPASSWD];

static EMPTY: Rule = Rule {
    id: "password-empty",
    family: Family::Share,
    severity: Severity::Error,
    concerns: EVERY,
    why: "everybody can log in to the account; AWS Marketplace refuses images with empty passwords of root",
    mend: "`passwd -l USER`: a locked account still takes SSH keys",
    source: "EC2 user guide, recommendations for creating shared Linux AMIs; AWS Marketplace seller guide, AMI-based product requirements",
};

static HASH: Rule = Rule {
    id: "password-hash",
    concerns: SHARED,
    why: "all instances have the same password, whose hash everybody can take from the image and try words on; AWS asks for a locked root and refuses fixed passwords",
    mend: "`passwd -l USER` and empty the hash (`usermod -p '!' USER`), and let cloud-init set a password where one is needed",
    ..EMPTY
};

static WEAK: Rule = Rule {
    id: "password-hash-weak",
    severity: Severity::Warning,
    why: "a hash of this kind (DES, MD5) is broken within hours by trying passwords",
    mend: "set the password anew with yescrypt or SHA-512, or lock the account",
    source: "crypt(5), hash methods",
    ..EMPTY
};

static UID_ZERO: Rule = Rule {
    id: "uid-zero",
    concerns: SHARED,
    why: "an account with user id 0 is root under another name, which nobody looks for",
    mend: "remove the account, or give it an id and sudo",
    source: "EC2 user guide, best practices for shared Linux AMIs: check for other login-capable or superuser accounts",
    ..EMPTY
};

static NOPASSWD: Rule = Rule {
    id: "sudo-nopasswd",
    severity: Severity::Warning,
    concerns: SHARED,
    why: "whoever gets into the account is root. cloud-init writes such a line for its user at the first boot; in the image it holds for whom nobody chose",
    mend: "remove the line: cloud-init makes its own (`[clean]` removes 90-cloud-init-users)",
    source: "EC2 Image Builder user guide, security best practices: the clean-up script",
    ..EMPTY
};

/// Homes that are followed; a hostile passwd has a million.
const HOMES_MAX: usize = 4096;

/// The homes of all accounts, as absolute paths.
pub(super) fn homes(subject: &Subject<'_>) -> Result<Vec<String>> {
    let Some(text) = subject.text("etc/passwd")? else { return Ok(Vec::new()) };
    let home = |line: &[u8]| line.split(|byte| *byte == b':').nth(5).and_then(|home| String::from_utf8(home.to_vec()).ok()).filter(|home| home.len() > 1);
    let mut homes: Vec<String> = text.lines().filter_map(|(_, line)| home(line)).filter(|home| !home.contains('*')).take(HOMES_MAX).collect();
    homes.sort();
    homes.dedup();
    Ok(homes)
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    if let Some(text) = subject.text("etc/passwd")? {
        for (number, line) in text.lines() {
            let mut fields = line.split(|byte| *byte == b':');
            let (user, password, uid) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
            // `+` lines are of NIS.
            let Some((password, uid)) = password.zip(uid).filter(|_| !user.starts_with(b"+") && !user.starts_with(b"-")) else { continue };
            if uid == b"0" && user != b"root" {
                findings.add(&UID_ZERO, Place::line(&text.path, number), format!("{} has user id 0", escape(user)));
            }
            if password != b"x" {
                password_of(user, password, Place::line(&text.path, number), findings);
            }
        }
    }
    // The copies that passwd and useradd leave have the hashes of before.
    for path in ["etc/shadow", "etc/shadow-", "etc/passwd-"] {
        let Some(text) = subject.text(path)? else { continue };
        for (number, line) in text.lines() {
            let mut fields = line.split(|byte| *byte == b':');
            let (Some(user), Some(password)) = (fields.next(), fields.next()) else { continue };
            let is_copy = path.ends_with('-');
            if !(is_copy && (password.is_empty() || password == b"x")) {
                password_of(user, password, Place::line(&text.path, number), findings);
            }
        }
    }
    sudoers(subject, findings)
}

/// Judges a password field (shadow(5), crypt(5)). Of a hash nothing is shown but its method.
fn password_of(user: &[u8], field: &[u8], place: Place, findings: &mut Findings<'_>) {
    let user = escape(user);
    if field.is_empty() {
        return findings.add(&EMPTY, place, format!("{user} has no password"));
    }
    let hash = &field[field.iter().position(|byte| *byte != b'!').unwrap_or(field.len())..];
    let locked = hash.len() < field.len();
    let method = match hash {
        [b'$', b'1', b'$', ..] => "MD5",
        [b'$', b'2', ..] => "bcrypt",
        [b'$', b'5', b'$', ..] => "SHA-256",
        [b'$', b'6', b'$', ..] => "SHA-512",
        [b'$', b'y', b'$', ..] => "yescrypt",
        [b'$', b'7', b'$', ..] => "scrypt",
        [b'$', b'g', b'y', ..] => "gost-yescrypt",
        [b'$', ..] => "another method",
        [b'_', ..] if hash.len() == 20 => "DES",
        _ if hash.len() == 13 && hash.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')) => "DES",
        _ => return,
    };
    let state = if locked { ", and is locked: the hash goes out all the same" } else { "" };
    if matches!(method, "MD5" | "DES") {
        findings.add(&WEAK, place.clone(), format!("{user} has a password hashed with {method}{state}"));
    }
    findings.add(&HASH, place, format!("{user} has a password (hashed with {method}){state}"));
}

fn sudoers(subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
    for pattern in ["etc/sudoers", "usr/etc/sudoers", "etc/sudoers.d/*", "usr/etc/sudoers.d/*"] {
        for file in subject.files.expand(pattern, false) {
            let Some(text) = subject.text(&file.path)? else { continue };
            for (number, line) in text.lines() {
                if memchr::memmem::find(line, b"NOPASSWD").is_some() && !line.starts_with(b"Defaults") {
                    let who = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
                    findings.add(&NOPASSWD, Place::line(&text.path, number), format!("{} becomes root without a password", escape(who)));
                }
            }
        }
    }
    for pattern in ["etc/doas.conf", "etc/doas.d/*"] {
        for file in subject.files.expand(pattern, false) {
            let Some(text) = subject.text(&file.path)? else { continue };
            for (number, line) in text.lines().filter(|(_, line)| line.starts_with(b"permit") && memchr::memmem::find(line, b"nopass").is_some()) {
                findings.add(&NOPASSWD, Place::line(&text.path, number), format!("{} without a password", escape(line)));
            }
        }
    }
    Ok(())
}
