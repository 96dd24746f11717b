//! What lies in a tree by its path alone: which places belong to packages, to users, to one machine.

/// The last part of a path.
pub(super) fn name(path: &[u8]) -> &[u8] {
    &path[memchr::memrchr(b'/', path).map_or(0, |at| at + 1)..]
}

/// The path without its last part.
pub(super) fn folder(path: &[u8]) -> &[u8] {
    &path[..memchr::memrchr(b'/', path).unwrap_or(0)]
}

/// Whether a package's own file lies here, which everybody has: what the distribution installs, not what an administrator does.
pub(super) fn is_package_code(path: &[u8]) -> bool {
    let under = |folder: &[u8]| path.starts_with(folder);
    (under(b"usr/") && !under(b"usr/local/")) || under(b"lib/") || under(b"lib64/") || under(b"bin/") || under(b"sbin/") || under(b"var/lib/dpkg/info/")
}

/// Whether this is documentation, an example or test data of a package: keys and tokens in it are published anyway.
pub(super) fn is_example(path: &[u8]) -> bool {
    const DOCUMENTS: [&[u8]; 8] = [
        b"usr/share/doc/",
        b"usr/share/man/",
        b"usr/share/info/",
        b"usr/share/help/",
        b"usr/share/gtk-doc/",
        b"usr/share/perl",
        b"usr/share/licenses/",
        b"usr/src/",
    ];
    const PARTS: [&[u8]; 18] = [
        b"test",
        b"tests",
        b"testing",
        b"testdata",
        b"test_data",
        b"test-data",
        b"testsuite",
        b"test-suite",
        b"unittests",
        b"example",
        b"examples",
        b"samples",
        b"doc",
        b"docs",
        b"fixtures",
        b"spec",
        b"demo",
        b"demos",
    ];
    const LIBRARIES: [&[u8]; 6] = [b"/site-packages/", b"/dist-packages/", b"/node_modules/", b"/gems/", b"/pkg/mod/", b"/vendor/"];
    if DOCUMENTS.iter().any(|folder| path.starts_with(folder)) {
        return true;
    }
    let library = is_package_code(path) || LIBRARIES.iter().any(|part| memchr::memmem::find(path, part).is_some());
    library && folder(path).split(|byte| *byte == b'/').any(|part| PARTS.contains(&part))
}

/// Whether the certificates of authorities lie here, which are everybody's.
pub(super) fn is_trust_store(path: &[u8]) -> bool {
    const STORES: [&[u8]; 12] = [
        b"etc/ssl/certs/",
        b"etc/ssl/cert.pem",
        b"etc/ssl/ca-bundle.pem",
        b"etc/ca-certificates/",
        b"etc/pki/ca-trust/",
        b"etc/pki/tls/cert.pem",
        b"etc/pki/tls/certs/ca-bundle",
        b"etc/pki/java/",
        b"etc/pki/rpm-gpg/",
        b"etc/pki/fwupd",
        b"etc/pki/product",
        b"var/lib/ca-certificates/",
    ];
    let keys_of_secure_boot = [&b"var/lib/shim-signed/"[..], b"etc/pki/entitlement", b"boot/efi/", b"efi/"].iter().any(|folder| path.starts_with(folder));
    is_package_code(path) || keys_of_secure_boot || STORES.iter().any(|store| path.starts_with(store))
}
