//! The shapes of secrets: what each begins with, and what has to follow for it to be one.
//!
//! One automaton finds all beginnings in one pass (Aho and Corasick, "Efficient string matching", 1975); only there is anything else looked
//! at. What follows is checked by alphabet, length, checksum where the issuer has one, and entropy, so that documentation, format strings
//! and random bytes are not taken for secrets. Sources of the shapes: the issuers' own descriptions; RFC 7468 for PEM, RFC 9580 for OpenPGP,
//! RFC 7519 for JWT, RFC 3986 for URLs.

use super::text::{alnum, base64, base64url, begins, checksum_62, mixed, random, run, run_of, value, word};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::ops::Range;
use std::sync::LazyLock;

/// What sort of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lint::share) enum Sort {
    /// A private key.
    PrivateKey,
    /// An AWS access key, or its secret half.
    AwsKey,
    /// A token of another service.
    Token,
    /// A URL with a password in it.
    Url,
    /// A certificate.
    Certificate,
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lint::share) struct Secret {
    pub(in crate::lint::share) sort: Sort,
    /// What it is, in words.
    pub(in crate::lint::share) kind: &'static str,
    /// Where it begins.
    pub(in crate::lint::share) at: usize,
    /// Its first four characters.
    pub(in crate::lint::share) first: [u8; 4],
}

/// Where the secret lies, if it is one: of a text, the place where its begin was found, and that begin.
type Check = fn(&[u8], usize, &'static [u8]) -> Option<Range<usize>>;

/// What is looked for; several of one file are each told.
struct Shape {
    begin: &'static [u8],
    sort: Sort,
    kind: &'static str,
    check: Check,
}

const fn shape(begin: &'static [u8], sort: Sort, kind: &'static str, check: Check) -> Shape {
    Shape { begin, sort, kind, check }
}

const SHAPES: &[Shape] = &[
    shape(b"-----BEGIN ", Sort::PrivateKey, "PEM private key", pem_private_key),
    shape(b"-----BEGIN CERTIFICATE-----", Sort::Certificate, "PEM certificate", pem_certificate),
    shape(b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", Sort::PrivateKey, "SSH2 private key", pem_ssh2),
    shape(b"PuTTY-User-Key-File-", Sort::PrivateKey, "PuTTY private key", putty),
    shape(b"AGE-SECRET-KEY-1", Sort::PrivateKey, "age private key", |bytes, at, begin| token(bytes, at, begin, alnum, 58..59, 3.0)),
    shape(b"AKIA", Sort::AwsKey, "AWS access key id", aws_id),
    shape(b"ASIA", Sort::AwsKey, "temporary AWS access key id", aws_id),
    shape(b"aws_secret_", Sort::AwsKey, "AWS secret access key", aws_secret),
    shape(b"AWS_SECRET_", Sort::AwsKey, "AWS secret access key", aws_secret),
    shape(b"ecretAccessKey", Sort::AwsKey, "AWS secret access key", aws_secret),
    shape(b"secret_key", Sort::AwsKey, "AWS secret access key", aws_secret),
    shape(b"ghp_", Sort::Token, "GitHub personal access token", checked),
    shape(b"gho_", Sort::Token, "GitHub OAuth token", checked),
    shape(b"ghu_", Sort::Token, "GitHub user token", checked),
    shape(b"ghs_", Sort::Token, "GitHub server token", checked),
    shape(b"ghr_", Sort::Token, "GitHub refresh token", checked),
    shape(b"npm_", Sort::Token, "npm access token", checked),
    shape(b"github_pat_", Sort::Token, "GitHub fine-grained token", |bytes, at, begin| token(bytes, at, begin, word, 82..83, 3.5)),
    shape(b"glpat-", Sort::Token, "GitLab personal access token", gitlab),
    shape(b"gldt-", Sort::Token, "GitLab deploy token", gitlab),
    shape(b"glrt-", Sort::Token, "GitLab runner token", gitlab),
    shape(b"xoxb-", Sort::Token, "Slack bot token", slack),
    shape(b"xoxp-", Sort::Token, "Slack user token", slack),
    shape(b"xoxa-", Sort::Token, "Slack app token", slack),
    shape(b"xoxr-", Sort::Token, "Slack refresh token", slack),
    shape(b"xoxs-", Sort::Token, "Slack token", slack),
    shape(b"hooks.slack.com/services/T", Sort::Token, "Slack webhook", slack_hook),
    shape(b"AIza", Sort::Token, "Google API key", |bytes, at, begin| token(bytes, at, begin, base64url, 35..36, 3.5)),
    shape(b"sk_live_", Sort::Token, "Stripe secret key", |bytes, at, begin| token(bytes, at, begin, alnum, 20..256, 3.0)),
    shape(b"rk_live_", Sort::Token, "Stripe restricted key", |bytes, at, begin| token(bytes, at, begin, alnum, 20..256, 3.0)),
    shape(b"_authToken", Sort::Token, "npm registry token", auth_token),
    shape(b"pypi-AgE", Sort::Token, "PyPI token", |bytes, at, begin| token(bytes, at, begin, base64url, 50..1024, 3.5)),
    shape(b"AccountKey=", Sort::Token, "Azure storage key", azure),
    shape(b"sk-ant-", Sort::Token, "Anthropic API key", |bytes, at, begin| token(bytes, at, begin, base64url, 80..256, 3.5)),
    shape(b"sk-proj-", Sort::Token, "OpenAI API key", |bytes, at, begin| token(bytes, at, begin, base64url, 40..256, 3.5)),
    shape(b"dop_v1_", Sort::Token, "DigitalOcean token", |bytes, at, begin| token(bytes, at, begin, alnum, 64..65, 3.0)),
    shape(b"dckr_pat_", Sort::Token, "Docker Hub token", |bytes, at, begin| token(bytes, at, begin, base64url, 27..28, 3.0)),
    shape(b"hvs.", Sort::Token, "Vault token", |bytes, at, begin| token(bytes, at, begin, base64url, 24..256, 3.5)),
    shape(b"eyJ", Sort::Token, "JSON web token", jwt),
    shape(b"://", Sort::Url, "URL with a password", url),
];

/// Finds the beginnings. `secret_key` is a part of other names: the first that begins wins, the longest of those that begin together.
static BEGINS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let begins = SHAPES.iter().map(|shape| shape.begin);
    let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::DFA)).build(begins);
    built.expect("some forty short strings, far below what an automaton has room for")
});

/// Finds at most `most` secrets in `bytes` that begin before `end` and are of a sort that `wants`.
pub(in crate::lint::share) fn find(bytes: &[u8], end: usize, most: usize, wants: impl Fn(Sort) -> bool) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let mut behind = 0;
    for begun in BEGINS.find_iter(bytes) {
        if begun.start() >= end || found.len() >= most {
            break;
        }
        let shape = &SHAPES[begun.pattern().as_usize()];
        if begun.start() < behind || !wants(shape.sort) {
            continue;
        }
        let Some(range) = (shape.check)(bytes, begun.start(), shape.begin) else { continue };
        behind = range.end;
        let mut first = [b'?'; 4];
        first.iter_mut().zip(&bytes[range.clone()]).for_each(|(to, from)| *to = *from);
        found.push(Secret { sort: shape.sort, kind: shape.kind, at: range.start, first });
    }
    found
}

/// A token with a fixed begin: so many bytes of one alphabet behind it, and nothing of it further.
fn token(bytes: &[u8], at: usize, begin: &[u8], of: fn(u8) -> bool, len: Range<usize>, bits: f64) -> Option<Range<usize>> {
    if !begins(bytes, at) {
        return None;
    }
    let body = run_of(bytes, at + begin.len(), of, len.end);
    (len.contains(&body.len()) && random(body, bits)).then_some(at..at + begin.len() + body.len())
}

/// A token of GitHub's form: 30 characters and their checksum.
fn checked(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let body = run_of(bytes, at + begin.len(), alnum, 37);
    (begins(bytes, at) && body.len() == 36 && checksum_62(body)).then_some(at..at + begin.len() + body.len())
}

fn gitlab(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    token(bytes, at, begin, |byte| base64url(byte) || byte == b'.', 20..320, 3.0)
}

fn slack(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let found = token(bytes, at, begin, |byte| alnum(byte) || byte == b'-', 24..256, 2.5)?;
    let body = &bytes[at + begin.len()..found.end];
    let first = body.split(|byte| *byte == b'-').next().unwrap_or_default();
    (body.iter().filter(|byte| **byte == b'-').count() >= 1 && first.len() >= 8 && first.iter().all(u8::is_ascii_digit)).then_some(found)
}

fn slack_hook(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let begin = begin.len() - 1;
    let path = run(bytes, at + begin, |byte| alnum(byte) || byte == b'/');
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    (parts.len() == 3 && parts[1].len() >= 8 && parts[2].len() >= 20 && random(parts[2], 3.0)).then_some(at + begin..at + begin + path.len())
}

/// Ids are base 32 behind four letters (IAM user guide, "IAM identifiers").
fn aws_id(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let body = run_of(bytes, at + begin.len(), word, 17);
    let base32 = body.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    (begins(bytes, at) && body.len() == 16 && base32 && random(body, 2.75)).then_some(at..at + 20)
}

/// 40 characters of base64 behind their name.
fn aws_secret(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let range = value(bytes, at + begin.len())?;
    let value = &bytes[range.clone()];
    (value.len() == 40 && value.iter().all(|byte| base64(*byte)) && mixed(value) && random(value, 3.5)).then_some(range)
}

fn auth_token(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let range = value(bytes, at + begin.len())?;
    let value = &bytes[range.clone()];
    let plain = value.iter().all(|byte| base64(*byte) || base64url(*byte) || matches!(byte, b'=' | b'.'));
    (value.len() >= 16 && plain && random(value, 3.0)).then_some(range)
}

/// 64 bytes in base64. The key of the storage emulator is known to all.
fn azure(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let body = run(bytes, at + begin.len(), base64);
    let start = at + begin.len();
    (body.len() == 86 && bytes[start..].get(86..88) == Some(b"==") && !body.starts_with(b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1") && random(body, 4.0))
        .then_some(start..start + 88)
}

/// Three parts, the first of which is JSON with an algorithm. The token that jwt.io shows is known to all.
fn jwt(bytes: &[u8], at: usize, _begin: &[u8]) -> Option<Range<usize>> {
    const HEAD_MAX: usize = 512;
    if !begins(bytes, at) {
        return None;
    }
    let head = run_of(bytes, at, base64url, HEAD_MAX);
    // `"alg"` in its three alignments.
    let algorithm = [&b"ImFsZy"[..], b"JhbGci", b"iYWxnI"].iter().any(|alg| memchr::memmem::find(head, alg).is_some());
    if !algorithm {
        return None;
    }
    let whole = run(bytes, at, |byte| base64url(byte) || byte == b'.');
    let parts: Vec<&[u8]> = whole.splitn(4, |byte| *byte == b'.').collect();
    let [_, body, signature] = parts[..] else { return None };
    let example = body.starts_with(b"eyJzdWIiOiIxMjM0NTY3ODkwI");
    (!example && body.len() >= 16 && signature.len() >= 40 && random(signature, 4.0)).then_some(at..at + whole.len())
}

/// A private key: RFC 7468's form with a body. Text that only names the form has none.
fn pem_private_key(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    let label = run(bytes, at + begin.len(), |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let after = at + begin.len() + label.len();
    let private = label.ends_with(b"PRIVATE KEY") || label == b"PGP PRIVATE KEY BLOCK";
    if !private || bytes.get(after..after + 5) != Some(b"-----") {
        return None;
    }
    // Documentation leaves the rest of a key out: `...` on the line behind the first.
    pem_body(bytes, after + 5).filter(|body| {
        let rest = bytes.get(body.end..).unwrap_or_default();
        let text = rest.iter().position(|byte| !byte.is_ascii_whitespace()).map_or(&[][..], |at| &rest[at..]);
        !text.starts_with(b"...") && !text.starts_with("…".as_bytes())
    })
}

fn pem_certificate(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    pem_body(bytes, at + begin.len())
}

fn pem_ssh2(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    pem_body(bytes, at + begin.len())
}

/// The first line of base64 behind headers, where there is one of 32 characters or more. Line breaks may be escaped, as in JSON.
fn pem_body(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    const HEADERS_MAX: usize = 12;
    const LINE_MAX: usize = 1024;
    let mut at = at;
    for _ in 0..HEADERS_MAX {
        let rest = bytes.get(at..)?;
        let rest = &rest[..rest.len().min(LINE_MAX)];
        // Quotes and what joins lines in sources.
        let skip = match rest {
            [b'\\', b'r' | b'n', ..] => 2,
            [b'\r' | b'\n' | b' ' | b'\t' | b'"' | b'\'' | b'+' | b'#', ..] => {
                rest.iter().position(|byte| !b"\r\n \t\"'+#".contains(byte)).unwrap_or(rest.len())
            }
            _ => 0,
        };
        if skip > 0 {
            at += skip;
            continue;
        }
        let body = run(rest, 0, base64);
        if body.len() >= 32 && random(body, 2.5) {
            return Some(at..at + body.len());
        }
        // `Proc-Type: 4,ENCRYPTED`, `Version: GnuPG v2`, `Comment: …`; nothing else may stand before the body.
        let line = &rest[..rest.iter().position(|byte| *byte == b'\n' || *byte == b'\\')?];
        if !line.contains(&b':') || line.starts_with(b"-----") {
            return None;
        }
        at += line.len();
    }
    None
}

/// A PuTTY key is what has private lines.
fn putty(bytes: &[u8], at: usize, _begin: &[u8]) -> Option<Range<usize>> {
    const KEY_MAX: usize = 16 << 10;
    let key = &bytes[at..bytes.len().min(at + KEY_MAX)];
    let lines = memchr::memmem::find(key, b"Private-Lines: ")?;
    let body = memchr::memchr(b'\n', &key[lines..])? + lines + 1;
    let body_run = run(key, body, base64);
    (body_run.len() >= 32).then_some(at + body..at + body + body_run.len())
}

/// `scheme://user:password@host` (RFC 3986, section 3.2.1) with a password that somebody might use.
fn url(bytes: &[u8], at: usize, begin: &[u8]) -> Option<Range<usize>> {
    const USERINFO_MAX: usize = 256;
    let start = at + begin.len();
    let rest = &bytes[start..bytes.len().min(start + USERINFO_MAX)];
    let end = rest.iter().position(|byte| {
        matches!(byte, b'@' | b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'|' | b'^') || *byte <= b' ' || *byte >= 127
    })?;
    if rest[end] != b'@' || !at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let colon = rest[..end].iter().position(|byte| *byte == b':')?;
    let (user, password) = (&rest[..colon], &rest[colon + 1..end]);
    let host = run(bytes, start + end + 1, |byte| alnum(byte) || matches!(byte, b'.' | b'-' | b'[' | b':'));
    (is_password(user, password) && is_host(host)).then_some(start + colon + 1..start + end)
}

/// Not what documentation writes in place of a password.
fn is_password(user: &[u8], password: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[
        b"pass",
        b"passwd",
        b"password",
        b"passw0rd",
        b"pw",
        b"pwd",
        b"secret",
        b"token",
        b"user",
        b"username",
        b"foo",
        b"bar",
        b"baz",
        b"word",
        b"test",
        b"guest",
        b"anonymous",
        b"joe",
        b"mypass",
        b"mypasswd",
        b"mypassword",
        b"yourpass",
        b"yourpassword",
        b"dbpassword",
        b"userpass",
        b"userpassword",
        b"proxypass",
        b"proxypassword",
        b"secretpassword",
        b"somepassword",
        b"thepassword",
        b"xoauthbasic",
        b"hunter2",
    ];
    let lower: Vec<u8> = password.iter().filter(|byte| !matches!(byte, b'-' | b'_' | b'.')).map(u8::to_ascii_lowercase).collect();
    let sign = |byte: &u8| matches!(byte, b'$' | b'{' | b'}' | b'*' | b'(' | b')' | b'[' | b']' | b'<' | b'>');
    let variable = password.iter().any(sign) || (password.contains(&b'%') && !is_escaped(password));
    let placeholder = [&b"xxx"[..], b"example", b"changeme"].iter().any(|part| memchr::memmem::find(&lower, part).is_some());
    lower.len() >= 3 && !variable && !placeholder && !WORDS.contains(&&lower[..]) && !user.eq_ignore_ascii_case(password)
}

/// Whether every `%` begins an escaped byte.
fn is_escaped(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%').skip(1).all(|part| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit))
}

fn is_host(host: &[u8]) -> bool {
    let lower = host.to_ascii_lowercase();
    let reserved = [&b"example.com"[..], b"example.org", b"example.net", b".example", b".invalid", b".test"].iter().any(|end| lower.ends_with(end));
    !host.is_empty() && !reserved && !matches!(&lower[..], b"host" | b"hostname" | b"server" | b"proxy" | b"example")
}
