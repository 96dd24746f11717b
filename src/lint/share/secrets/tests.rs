//! Shapes: what is a secret, and what only looks like one.

use super::files::CredentialFile;
use super::shapes::{Sort, find};
use super::text::checksum_62;

/// A token made at run time, so that no scanner takes this file for a leak.
fn joined(parts: &[&str]) -> String {
    parts.concat()
}

/// 30 characters and their checksum, as GitHub makes them.
pub(super) fn github(prefix: &str) -> String {
    let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
    joined(&[prefix, body, "0mLq17"])
}

const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";

#[test]
fn secrets_of_every_shape_are_found_with_their_kind() {
    let hex64 = "4f1b7c9ad3e05826b94c7f10a8d25e6349b7c1d80f3a5e927c6b41d08f95e3a2";
    let cases: Vec<(String, Sort, &str)> = vec![
        (format!("-----BEGIN RSA PRIVATE KEY-----\n{BODY}"), Sort::PrivateKey, "PEM private key"),
        (format!("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB\n\n{BODY}"), Sort::PrivateKey, "PEM private key"),
        (format!("\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}", BODY.trim()), Sort::PrivateKey, "PEM private key"),
        (format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{BODY}"), Sort::PrivateKey, "PEM private key"),
        (format!("-----BEGIN OPENSSH PRIVATE KEY-----\r\n{BODY}"), Sort::PrivateKey, "PEM private key"),
        (format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"\n{BODY}"), Sort::PrivateKey, "SSH2 private key"),
        (format!("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{BODY}"), Sort::PrivateKey, "PuTTY private key"),
        (format!("-----BEGIN CERTIFICATE-----\n{BODY}"), Sort::Certificate, "PEM certificate"),
        (joined(&["id = AKIA", "QZ3N5XK7WDTR2MPJ"]), Sort::AwsKey, "AWS access key id"),
        (joined(&["aws_secret_access_key = ", "kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKa"]), Sort::AwsKey, "AWS secret access key"),
        (joined(&["\"SecretAccessKey\": \"", "kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKa\""]), Sort::AwsKey, "AWS secret access key"),
        (joined(&["secret_key=", "kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKa"]), Sort::AwsKey, "AWS secret access key"),
        (github("ghp_"), Sort::Token, "GitHub personal access token"),
        (format!("token={}", github("gho_")), Sort::Token, "GitHub OAuth token"),
        (github("npm_"), Sort::Token, "npm access token"),
        (
            joined(&["github_pat_11AZBYCXD0kF9xT2mQ7vLp_", "W4zR8sNcB3hJ6dYgA1uE5oXiPtKaW4zR8sNcB3hJ6dYgA1uE5oXiPtKaQZ3"]),
            Sort::Token,
            "GitHub fine-grained token",
        ),
        (joined(&["glpat-", "kF9xT2mQ7vLpW4zR8sNc"]), Sort::Token, "GitLab personal access token"),
        (joined(&["xoxb-", "738201945562-738201945563-kF9xT2mQ7vLpW4zR"]), Sort::Token, "Slack bot token"),
        (joined(&["https://hooks.slack.com/services/T", "0A1B2C3D/B0A1B2C3D/kF9xT2mQ7vLpW4zR8sNcB3hJ"]), Sort::Token, "Slack webhook"),
        (joined(&["AIza", "SyC8kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1u"]), Sort::Token, "Google API key"),
        (joined(&["sk_live_", "kF9xT2mQ7vLpW4zR8sNcB3hJ"]), Sort::Token, "Stripe secret key"),
        (joined(&["//registry.npmjs.org/:_authToken=", "8f14e45f-ceea-467f-a2d1-91b5c0d2e7aa"]), Sort::Token, "npm registry token"),
        (joined(&["pypi-AgE", "IcHlwaS5vcmcCJDk4kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKaW4zR8sNc"]), Sort::Token, "PyPI token"),
        (
            joined(&["AccountKey=", "kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKaZq/0w+kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKa", "=="]),
            Sort::Token,
            "Azure storage key",
        ),
        (joined(&["dop_v1_", hex64]), Sort::Token, "DigitalOcean token"),
        (
            joined(&["eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiJzb21lYm9keSIsImlhdCI6MX0.", "kF9xT2mQ7vLpW4zR8sNcB3hJ6dYgA1uE5oXiPtKaW4z"]),
            Sort::Token,
            "JSON web token",
        ),
        ("proxy=http://deploy:Tr0ub4dor@proxy.corp.lan:3128/".to_owned(), Sort::Url, "URL with a password"),
        ("redis://:kF9xT2mQ@cache:6379/0".to_owned(), Sort::Url, "URL with a password"),
    ];
    for (text, sort, kind) in cases {
        let text = format!("# a comment\n{text}\nmore\n");
        let found = find(text.as_bytes(), text.len(), 9, |_| true);
        assert_eq!(found.iter().map(|secret| (secret.sort, secret.kind)).collect::<Vec<_>>(), [(sort, kind)], "{text}");
        let secret = &found[0];
        assert_eq!(secret.first[..], text.as_bytes()[secret.at..secret.at + 4], "{text}");
    }
}

#[test]
fn what_only_looks_like_a_secret_is_none() {
    let texts = [
        // Names of forms, and bodies that are none.
        "grep -q '-----BEGIN RSA PRIVATE KEY-----' \"$file\"",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        "    -----BEGIN RSA PRIVATE KEY-----\n    MIIBxwIBAAJhAKD0YSHy73nUgysO13XsJmd4fHiFyQ+00R7VVu2iV9Qco\n    ...\n",
        "0 string -----BEGIN\\ PRIVATE\\ KEY----- PEM private key\n",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo\n",
        "PuTTY-User-Key-File-2 is the first line",
        // Examples of the issuers.
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AKIAXXXXXXXXXXXXXXXX",
        "AKIA0123456789012345",
        "MAKIAQZ3N5XK7WDTR2MPJ",
        "AKIAQZ3N5XK7WDTR2MPJQZ3N",
        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoMGMw==",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
        // A checksum that is not theirs, and lengths that are not.
        "ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18",
        "ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxk",
        "npm_config_registry=https://registry.npmjs.org/",
        "glpat-xxxxxxxxxxxxxxxxxxxx",
        "AIzaSy",
        "sk_live_",
        "_authToken=${NPM_TOKEN}",
        "secret_key = settings.SECRET_KEY",
        "SECRET_KEY_BASE",
        // URLs without a password, or with what stands for one.
        "https://example.org/path:with@sign",
        "http://user:password@host/",
        "http://${USER}:${PASS}@proxy:8080/",
        "http://<user>:<pass>@proxy:8080/",
        "https://name:secret-of-mine@www.example.com/",
        "ssh://git@github.com:22/x",
        "mailto:a@b.c",
        "http://[::1]:80/ mail a@b",
        "git+https://x-access-token:%TOKEN%@github.com",
    ];
    for text in texts {
        assert_eq!(find(text.as_bytes(), text.len(), 9, |_| true), [], "{text}");
    }
}

#[test]
fn work_is_bounded_whatever_a_text_repeats() {
    for unit in [
        "://",
        "://a:b",
        "-----BEGIN ",
        "eyJ",
        "AKIA",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nA: \n",
        "PuTTY-User-Key-File-",
        "secret_key =",
        "ghp_",
    ] {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = std::time::Instant::now();
        find(text.as_bytes(), text.len(), 16, |_| true);
        assert!(start.elapsed().as_secs() < 20, "{unit}: {:?}", start.elapsed());
    }
    // Every beginning at the end of a text, and cut anywhere.
    let text = format!("x {} -----BEGIN RSA PRIVATE KEY-----\n{BODY} http://a:bcdefg@h AKIAQZ3N5XK7WDTR2MPJ", github("ghp_"));
    for cut in 0..text.len() {
        find(&text.as_bytes()[..cut], cut, 16, |_| true);
        find(&text.as_bytes()[cut..], text.len() - cut, 16, |_| true);
    }
}

#[test]
fn github_s_checksum_is_theirs() {
    assert!(checksum_62(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"));
    assert!(!checksum_62(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkK0mLq17"));
    assert!(!checksum_62(b"0mLq"));
}

#[test]
fn files_for_credentials_are_known_by_path_and_read() {
    type Found = &'static [(u64, &'static str)];
    let cases: &[(&str, &str, Found)] = &[
        ("root/.netrc", "machine a login b\n password s3cr3tt\n", &[(2, "s3cr")]),
        ("root/.netrc", "machine a login b password password\n# machine x password kF9xT2mQ\n", &[]),
        ("home/a/.pgpass", "# h:p:d:u:pw\nh:5432:*:me:s3cret\n", &[(2, "s3cr")]),
        ("home/a/.pgpass", "h:5432:*:me:\n", &[]),
        ("root/.docker/config.json", "{\"auths\": {\"r\": {\"auth\": \"dXNlcjpwYXNz\"}}}", &[(1, "dXNl")]),
        ("root/.docker/config.json", "{\"auths\": {\"r\": {}}, \"credsStore\": \"pass\"}", &[]),
        ("run/containers/auth.json", "{\n\"identitytoken\" : \"abcdefghi\"}", &[(2, "abcd")]),
        ("home/a/.kube/config", "users:\n- user:\n    token: kF9xT2mQ7v\n", &[(3, "kF9x")]),
        ("etc/kubernetes/admin.conf", "- client-key-data: LS0tLS1CRUdJTg==\n", &[(1, "LS0t")]),
        ("home/a/.kube/config", "users: []\n", &[]),
        ("etc/apache2/.htpasswd", "# x\njo:$apr1$abc$def\n", &[(2, "$apr")]),
        ("etc/wpa_supplicant/wpa_supplicant-wlan0.conf", "network={\n  ssid=\"x\"\n  psk=\"correct horse\"\n}\n", &[(3, "corr")]),
        ("etc/wpa_supplicant.conf", "#psk=\"x\"\nkey_mgmt=NONE\n", &[]),
        ("etc/NetworkManager/system-connections/home.nmconnection", "[wifi-security]\npsk=hunter22\n", &[(2, "hunt")]),
        ("etc/NetworkManager/system-connections/eth.nmconnection", "[connection]\nid=eth\n", &[]),
        ("etc/netplan/50-cloud-init.yaml", "  access-points:\n    x:\n      password: \"wlanpass\"\n", &[(3, "wlan")]),
        ("etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n", &[(2, "yAnz")]),
        ("etc/ppp/chap-secrets", "# comment\nme * s3cret *\n", &[(2, "s3cr")]),
        ("etc/ipsec.secrets", "include /var/lib/x\n: PSK \"abcdef\"\n", &[(2, "abcd")]),
        ("root/.my.cnf", "[client]\npassword = \"pa55\"\n", &[(2, "pa55")]),
        ("etc/bind/rndc.key", "key \"rndc-key\" {\n\tsecret \"abcd1234==\";\n};\n", &[(2, "abcd")]),
        ("etc/krb5.keytab", "\x05\x02", &[(1, "")]),
        ("root/.gnupg/private-keys-v1.d/0A.key", "(x)", &[(1, "")]),
    ];
    for (path, text, expected) in cases {
        let file = CredentialFile::of(path.as_bytes()).unwrap_or_else(|| panic!("{path}"));
        let found: Vec<(u64, String)> = file.find(text.as_bytes(), 9).into_iter().map(|found| (found.line, String::from_utf8(found.first).unwrap())).collect();
        let expected: Vec<(u64, String)> = expected.iter().map(|(line, first)| (*line, (*first).to_owned())).collect();
        assert_eq!(found, expected, "{path}: {text}");
    }
    for path in ["etc/passwd", "usr/share/doc/netrc", "root/config.json", "etc/config"] {
        assert_eq!(CredentialFile::of(path.as_bytes()), None, "{path}");
    }
}
