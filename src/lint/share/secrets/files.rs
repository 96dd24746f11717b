//! Files that hold credentials by their very purpose, told by path, and where in them one stands.

use super::text::{base64, base64url, line_of, run, value};

/// A credential in a file that is made for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lint::share) struct Credential {
    /// What it is, in words.
    pub(in crate::lint::share) kind: &'static str,
    /// From 1.
    pub(in crate::lint::share) line: u64,
    /// Its first characters, four at most.
    pub(in crate::lint::share) first: Vec<u8>,
}

/// A file with credentials in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lint::share) enum CredentialFile {
    Netrc,
    PgPass,
    /// Docker's and Podman's logins.
    DockerLogins,
    Kubeconfig,
    Htpasswd,
    /// Settings with keys that hold secrets: what these are called, and what the file is.
    Settings(&'static [&'static [u8]], &'static str),
    /// Every line that says something is one.
    Lines(&'static str),
    /// All of it is one.
    Whole(&'static str),
}

use CredentialFile::{DockerLogins, Htpasswd, Kubeconfig, Lines, Netrc, PgPass, Settings, Whole};

const WIFI: &[&[u8]] = &[
    b"psk",
    b"password",
    b"wep-key0",
    b"wep_key0",
    b"wep_key1",
    b"sae_password",
    b"private_key_passwd",
    b"private-key-password",
    b"secret",
    b"private-key",
    b"preshared-key",
    b"pin",
    b"leap-password",
];

impl CredentialFile {
    /// What the file at `path` is, if it is one.
    pub(in crate::lint::share) fn of(path: &[u8]) -> Option<Self> {
        let slash = memchr::memrchr(b'/', path);
        let (folder, name) = slash.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
        let parent = folder.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Some(match name {
            b".netrc" | b"_netrc" => Netrc,
            b".pgpass" | b"pgpass.conf" => PgPass,
            b"config.json" if parent == b".docker" => DockerLogins,
            b".dockercfg" | b".dockerconfigjson" => DockerLogins,
            b"auth.json" if parent == b"containers" => DockerLogins,
            b"config" if parent == b".kube" => Kubeconfig,
            b"k3s.yaml" | b"kubeconfig" | b"kubeconfig.yaml" => Kubeconfig,
            b"admin.conf" | b"super-admin.conf" | b"kubelet.conf" | b"controller-manager.conf" | b"scheduler.conf" if folder == b"etc/kubernetes" => Kubeconfig,
            b".htpasswd" | b"htpasswd" | b"htpasswd.users" => Htpasswd,
            _ if name.ends_with(b".htpasswd") => Htpasswd,
            b".my.cnf" | b"debian.cnf" => Settings(&[b"password"], "MySQL password"),
            b".mylogin.cnf" => Whole("MySQL login file"),
            b".vault-token" => Whole("Vault token"),
            b"hosts.yml" if parent == b"gh" => Settings(&[b"oauth_token"], "GitHub token"),
            b"rclone.conf" => Settings(&[b"pass", b"password", b"token", b"secret_access_key", b"client_secret", b"key"], "rclone credential"),
            b".s3cfg" => Settings(&[b"secret_key", b"access_token"], "S3 credential"),
            b"credentials" if parent == b".aws" => Settings(&[b"aws_secret_access_key", b"aws_session_token"], "AWS credential"),
            b".boto" | b"boto.cfg" => Settings(&[b"aws_secret_access_key", b"gs_secret_access_key"], "AWS credential"),
            b"accessTokens.json" | b"msal_token_cache.json" if parent == b".azure" => Whole("Azure tokens"),
            b"access_tokens.db" | b"credentials.db" if parent == b"gcloud" => Whole("Google Cloud credentials"),
            b"application_default_credentials.json" => Settings(&[b"\"refresh_token", b"\"private_key"], "Google Cloud credential"),
            b"rndc.key" => Settings(&[b"secret "], "rndc key, which every instance would share"),
            b"chap-secrets" | b"pap-secrets" if parent == b"ppp" => Lines("PPP password"),
            b"ipsec.secrets" => Lines("IPsec secret"),
            b"krb5.keytab" => Whole("Kerberos key table"),
            b"munge.key" if parent == b"munge" => Whole("MUNGE key"),
            b"secring.gpg" => Whole("GnuPG secret keyring"),
            _ if parent == b"private-keys-v1.d" && name.ends_with(b".key") => Whole("GnuPG private key"),
            _ if parent == b"system-connections" => Settings(WIFI, "network password"),
            _ if name.starts_with(b"wpa_supplicant") && name.ends_with(b".conf") => Settings(WIFI, "network password"),
            _ if parent == b"netplan" && name.ends_with(b".yaml") => Settings(&[b"password", b"client-key-password"], "network password"),
            _ if parent == b"wireguard" && name.ends_with(b".conf") => Settings(&[b"PrivateKey", b"PresharedKey"], "WireGuard key"),
            _ => return None,
        })
    }

    /// Whether what is not text is looked at too.
    pub(in crate::lint::share) fn is_whole(self) -> bool {
        matches!(self, Whole(_))
    }

    /// The first credentials in the file, at most `most`.
    pub(in crate::lint::share) fn find(self, bytes: &[u8], most: usize) -> Vec<Credential> {
        let at = |kind: &'static str, secret: &[u8]| Credential { kind, line: 1, first: secret[..secret.len().min(4)].to_vec() };
        let in_lines = |kind: &'static str, secret_of: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
            let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
            let found = lines.filter_map(|(line, text)| secret_of(text.trim_ascii()).map(|secret| Credential { line, ..at(kind, &secret) }));
            found.take(most).collect()
        };
        match self {
            Whole(kind) => vec![at(kind, &[])],
            Lines(kind) => in_lines(kind, &|line| {
                let quoted = line.iter().position(|byte| *byte == b'"').and_then(|at| line.get(at + 1..));
                let said = !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"include");
                let fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
                said.then(|| quoted.or(fields.clone().nth(2)).unwrap_or_default().to_vec())
            }),
            Settings(keys, kind) => in_lines(kind, &|line| setting(line, keys)),
            PgPass => in_lines("PostgreSQL password", &|line| {
                let password = (!line.starts_with(b"#")).then(|| line.splitn(5, |byte| *byte == b':').nth(4)).flatten()?;
                (!password.is_empty() && password != b"*").then(|| password.to_vec())
            }),
            Htpasswd => in_lines("password hash of a web server", &|line| {
                let (user, hash) = line.split_at_checked(memchr::memchr(b':', line)?)?;
                let hash = hash[1..].split(|byte| *byte == b':').next_back().unwrap_or_default();
                (!user.is_empty() && !line.starts_with(b"#") && (hash.starts_with(b"$") || hash.starts_with(b"{") || hash.len() == 13)).then(|| hash.to_vec())
            }),
            Kubeconfig => in_lines("Kubernetes credential", &|line| {
                let line = line.strip_prefix(b"- ").unwrap_or(line);
                setting(line, &[b"client-key-data", b"token", b"password", b"id-token", b"refresh-token"]).filter(|value| value.len() >= 8)
            }),
            DockerLogins => {
                let mut found = Vec::new();
                for key in [&b"\"auth\""[..], b"\"identitytoken\""] {
                    for start in memchr::memmem::find_iter(bytes, key).take(most) {
                        let secret = value(bytes, start + key.len() - 1).map(|range| &bytes[range]).unwrap_or_default();
                        if secret.len() >= 8 && secret.iter().all(|byte| base64(*byte) || base64url(*byte) || matches!(byte, b'=' | b'.')) {
                            found.push(Credential { line: line_of(bytes, start), ..at("container registry login", secret) });
                        }
                    }
                }
                found.truncate(most);
                found
            }
            Netrc => netrc(bytes, most),
        }
    }
}

/// The value of a key of `keys`, where the line sets one: not empty, no variable, no reference.
fn setting(line: &[u8], keys: &[&[u8]]) -> Option<Vec<u8>> {
    let line = line.strip_prefix(b"export ").unwrap_or(line);
    let unquoted = line.strip_prefix(b"\"").unwrap_or(line);
    let key = keys.iter().find(|key| line.starts_with(key) || unquoted.starts_with(key))?;
    let rest = if line.starts_with(key) { &line[key.len()..] } else { &unquoted[key.len()..] };
    // A key that ends with a blank has its value behind it: `secret "…";` of rndc.key.
    let rest = if key.ends_with(b" ") { rest } else { rest.strip_prefix(b"\"").unwrap_or(rest).trim_ascii_start() };
    let rest = match rest {
        [b'=' | b':', rest @ ..] => rest,
        [b'"', ..] if key.ends_with(b" ") => rest,
        _ => return None,
    };
    let quotes = |byte: &u8| matches!(byte, b'"' | b'\'' | b',' | b';');
    let rest = rest.trim_ascii();
    let start = rest.iter().position(|byte| !quotes(byte)).unwrap_or(rest.len());
    let end = rest.iter().rposition(|byte| !quotes(byte)).map_or(start, |at| at + 1);
    let value = &rest[start..end];
    (value.len() >= 3 && !value.starts_with(b"$") && !value.starts_with(b"<") && value != b"null").then(|| value.to_vec())
}

/// `machine HOST login USER password SECRET`, over any white space.
fn netrc(bytes: &[u8], most: usize) -> Vec<Credential> {
    let mut found = Vec::new();
    for start in memchr::memmem::find_iter(bytes, b"password") {
        let before = start.checked_sub(1).is_none_or(|before| bytes[before].is_ascii_whitespace());
        let after = start + b"password".len();
        let blanks = run(bytes, after, |byte| byte.is_ascii_whitespace()).len();
        let secret = run(bytes, after + blanks, |byte| !byte.is_ascii_whitespace());
        let login_before = memchr::memrchr(b'\n', &bytes[..start]).map_or(0, |at| at + 1);
        if before
            && blanks > 0
            && !bytes[login_before..].starts_with(b"#")
            && secret.len() >= 3
            && !secret.starts_with(b"$")
            && !secret.starts_with(b"<")
            && !secret.eq_ignore_ascii_case(b"password")
        {
            found.push(Credential { kind: "password for a host", line: line_of(bytes, start), first: secret[..secret.len().min(4)].to_vec() });
        }
        if found.len() >= most {
            break;
        }
    }
    found
}
