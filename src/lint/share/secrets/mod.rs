//! Secrets in files: one pass over all text, in parallel.
//!
//! A file is text if there is no zero byte among its first ones; of each the first [`TEXT_MAX_BYTES`] are looked at. What is found is told
//! with its place, what it is, and its first four characters: never whole.
//!
//! Where something is found decides what it is worth, by path alone: keys and tokens in a package's documentation, examples and test data
//! are published anyway, and are a note; certificates of authorities are everybody's; a URL with a password in a package's own code is an
//! example in a comment.

mod files;
mod shapes;
#[cfg(test)]
mod tests;
mod text;

pub(super) use files::CredentialFile;
pub(super) use shapes::{Sort, find};

use super::places::{is_example, is_package_code, is_trust_store, name};
use crate::boot::files::TEXT_MAX_BYTES;
use crate::error::{Error, Result, escape};
use crate::lint::finding::{Findings, Place};
use crate::lint::rule::{EVERY, Family, Rule, SHARED, Severity};
use crate::lint::subject::Subject;
use crate::stream::{LookAt, WholeContents, look_at_files};
use crate::tree::{FileData, NodeId};
use std::ops::Range;

pub(super) const RULES: &[&Rule] = &[&PRIVATE_KEY, &AWS_KEY, &TOKEN, &CREDENTIALS, &URL, &CERTIFICATE, &EXAMPLE];

const SHARED_AMIS: &str = "EC2 user guide, recommendations for creating shared Linux AMIs; AWS Marketplace seller guide, AMI-based product requirements";

static PRIVATE_KEY: Rule = Rule {
    id: "private-key",
    family: Family::Share,
    severity: Severity::Error,
    concerns: SHARED,
    why: "whoever has the image has the key, and all instances have the same one; AWS asks that shared AMIs hold no private keys",
    mend: "remove it and make it at the first boot, or fetch it from Secrets Manager; a key that went out is to be replaced",
    source: SHARED_AMIS,
};

static AWS_KEY: Rule = Rule {
    id: "aws-access-key",
    concerns: EVERY,
    why: "whoever sees the image, a snapshot of it or an instance acts as your account",
    mend: "delete the key in IAM, remove it from the image, and give the instance a role",
    ..PRIVATE_KEY
};

static TOKEN: Rule = Rule {
    id: "secret-token",
    why: "whoever has the image can use the token",
    mend: "revoke it with its issuer, remove it, and hand secrets over at boot (user data by reference, Secrets Manager)",
    ..PRIVATE_KEY
};

static CREDENTIALS: Rule = Rule {
    id: "credentials-file",
    why: "whoever has the image can log in with it",
    mend: "change the password, remove it, and hand secrets over at boot (Secrets Manager, SSM parameters)",
    ..PRIVATE_KEY
};

static URL: Rule = Rule {
    id: "url-password",
    severity: Severity::Warning,
    why: "whoever has the image has the password of what the URL names: a proxy, a package mirror, a repository",
    mend: "change the password, and keep it out of the image",
    ..PRIVATE_KEY
};

static CERTIFICATE: Rule = Rule {
    id: "certificate",
    severity: Severity::Note,
    why: "a certificate names its owner, and mostly lies beside its key; all instances present themselves with it",
    mend: "remove it, and make or fetch certificates at the first boot",
    ..PRIVATE_KEY
};

static EXAMPLE: Rule = Rule {
    id: "example-secret",
    severity: Severity::Note,
    why: "it looks like a secret, but lies where packages have documentation, examples and test data, which are published: by its path, not by what it is",
    mend: "nothing, if a package brought it; else remove it",
    ..PRIVATE_KEY
};

/// Secrets of one file that are told; there are no files with more that somebody would read on about.
const FOUND_PER_FILE: usize = 16;
/// A file with a zero byte among its first ones is no text (as git decides).
const TEXT_HEAD_BYTES: usize = 8000;

/// Files to be looked at, gathered entry by entry.
pub(super) struct Candidates {
    /// By node: a file with several names is looked at once.
    seen: Vec<bool>,
    paths: Vec<u8>,
    files: Vec<Candidate>,
    contents: Vec<WholeContents>,
}

struct Candidate {
    path: Range<usize>,
    credentials: Option<CredentialFile>,
}

impl Candidates {
    pub(super) fn new(nodes: usize) -> Self {
        Self { seen: vec![false; nodes], paths: Vec::new(), files: Vec::new(), contents: Vec::new() }
    }

    /// Takes a file that may hold something.
    pub(super) fn entry(&mut self, path: &[u8], id: NodeId, data: &FileData) {
        if data.length == 0 || std::mem::replace(&mut self.seen[id.index()], true) || is_never_text(path) {
            return;
        }
        let start = self.paths.len();
        self.paths.extend_from_slice(path);
        self.files.push(Candidate { path: start..self.paths.len(), credentials: CredentialFile::of(path) });
        self.contents.push(WholeContents { id: data.content, length: data.length.min(TEXT_MAX_BYTES) });
    }

    fn path(&self, at: usize) -> &[u8] {
        &self.paths[self.files[at].path.clone()]
    }

    /// Looks at all of them.
    ///
    /// # Errors
    /// Those that end the look; the first file that cannot be read, when all others were looked at.
    pub(super) fn scan(&self, subject: &Subject<'_>, findings: &mut Findings<'_>) -> Result<()> {
        let found = look_at_files(subject.contents(), &self.contents, subject.threads, subject.cancel, &Scan(self))?;
        let mut failed: Option<Error> = None;
        let mut more = 0_u64;
        for (at, found) in found {
            match found {
                Ok(found) => {
                    for (rule, line, message) in found {
                        let place = if line > 0 { Place::line(self.path(at), line) } else { Place::path(self.path(at)) };
                        findings.add(rule, place, message);
                    }
                }
                Err(error) if failed.is_none() => failed = Some(error.at_path(self.path(at))),
                Err(_) => more += 1,
            }
        }
        match failed {
            Some(error) if more > 0 => Err(error.within(format!("one of {} files that cannot be read", more + 1))),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Endings of files that are never text, and so need not be opened: most of the bytes of most trees.
fn is_never_text(path: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 14] = [b".ko", b".ko.xz", b".ko.zst", b".ko.gz", b".so", b".gz", b".xz", b".zst", b".pyc", b".mo", b".mod", b".png", b".a", b".bz2"];
    path.starts_with(b"usr/") && ENDINGS.iter().any(|ending| path.ends_with(ending))
}

struct Scan<'a>(&'a Candidates);

impl LookAt for Scan<'_> {
    /// Rule, line (0 for the file as a whole), message.
    type Found = Vec<(&'static Rule, u64, String)>;

    fn wants(&self, at: usize, head: &[u8]) -> bool {
        let is_text = memchr::memchr(0, &head[..head.len().min(TEXT_HEAD_BYTES)]).is_none();
        is_text || self.0.files[at].credentials.is_some_and(CredentialFile::is_whole) || binary_key(self.0.path(at), head).is_some()
    }

    fn look(&self, at: usize, bytes: &[u8]) -> Option<Self::Found> {
        let path = self.0.path(at);
        let mut found = Vec::new();
        let example = is_example(path);
        let worth = |rule: &'static Rule| if example { &EXAMPLE } else { rule };
        if let Some(kind) = binary_key(path, bytes) {
            found.push((worth(&PRIVATE_KEY), 0, kind.to_owned()));
        }
        if let Some(credentials) = self.0.files[at].credentials {
            for credential in credentials.find(bytes, FOUND_PER_FILE) {
                let first = if credential.first.is_empty() { String::new() } else { format!(" ({}…)", escape(&credential.first)) };
                let line = if credentials.is_whole() { 0 } else { credential.line };
                found.push((worth(&CREDENTIALS), line, format!("{}{first}", credential.kind)));
            }
        }
        if memchr::memchr(0, &bytes[..bytes.len().min(TEXT_HEAD_BYTES)]).is_none() {
            for (rule, line, message) in shapes_in(path, bytes, example) {
                // What its own file tells already is not told twice: the same line, and the same first characters.
                let shown = |message: &str| message.split_once('(').map(|(_, first)| first.split('…').next().unwrap_or_default().to_owned());
                if !found.iter().any(|(_, other, told)| *other == line && shown(told) == shown(&message)) {
                    found.push((rule, line, message));
                }
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

/// The secrets of known shapes in a text.
fn shapes_in(path: &[u8], bytes: &[u8], example: bool) -> Vec<(&'static Rule, u64, String)> {
    let code = is_package_code(path);
    let trusted = is_trust_store(path);
    let wants = |sort: Sort| match sort {
        Sort::Url => !code && !example,
        Sort::Certificate => !trusted && !example,
        _ => true,
    };
    let secrets = find(bytes, bytes.len(), FOUND_PER_FILE, wants);
    let has_secret_half = secrets.iter().any(|secret| secret.kind == "AWS secret access key");
    let mut found: Vec<(&'static Rule, u64, String)> = Vec::new();
    for secret in secrets {
        let rule = match secret.sort {
            _ if example => &EXAMPLE,
            Sort::PrivateKey => &PRIVATE_KEY,
            Sort::AwsKey => &AWS_KEY,
            // Signed statements that expire, and examples of them, are common in packages' code.
            Sort::Token if code && secret.kind == "JSON web token" => continue,
            Sort::Token => &TOKEN,
            Sort::Url => &URL,
            Sort::Certificate => &CERTIFICATE,
        };
        // A chain of certificates is one thing to know.
        if secret.sort == Sort::Certificate && found.iter().any(|(rule, ..)| rule.id == CERTIFICATE.id) {
            continue;
        }
        let alone = if secret.kind == "AWS access key id" && !has_secret_half { "; its secret half does not stand in this file" } else { "" };
        let snakeoil = if name(path).starts_with(b"ssl-cert-snakeoil") { ", made when the package was installed: all instances share it" } else { "" };
        found.push((rule, text::line_of(bytes, secret.at), format!("{} ({}…){alone}{snakeoil}", secret.kind, escape(&secret.first))));
    }
    found
}

/// What key a file holds that is no text: by its name and how it begins.
fn binary_key(path: &[u8], head: &[u8]) -> Option<&'static str> {
    let file = name(path);
    let named = |endings: &[&[u8]]| endings.iter().any(|ending| file.len() > ending.len() && file.to_ascii_lowercase().ends_with(ending));
    // A SEQUENCE that begins with version 0 or 1 is PKCS#8, PKCS#1 or SEC 1; with version 3, PKCS#12 (RFC 5958, 8017, 5915, 7292).
    let version = match head {
        [0x30, 0x82, _, _, 2, 1, version, ..] | [0x30, 0x81, _, 2, 1, version, ..] | [0x30, _, 2, 1, version, ..] => Some(*version),
        _ => None,
    };
    match (version, head) {
        (Some(0 | 1), _) if named(&[b".key", b".der", b".pk8", b".priv", b".pkcs8"]) => Some("DER private key"),
        (Some(3), _) if named(&[b".p12", b".pfx", b".pkcs12"]) => Some("PKCS#12 key store"),
        (_, [0xfe, 0xed, 0xfe, 0xed | 0xce, ..]) if named(&[b".jks", b".keystore", b".ks"]) => Some("Java key store"),
        _ => None,
    }
}
