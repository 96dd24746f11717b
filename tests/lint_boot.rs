//! Lint's family "boot" and the reading of initramfs: against archives that cpio and the packers themselves make, against the initramfs
//! of a Debian system, and over whole trees and images, with the list of what is found in them.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, run};
use rootvol::content::Contents as _;
use rootvol::initramfs::{self, Limits, Packing, Summary};
use rootvol::lint::{LintOptions, Linted};
use rootvol::tree::NodeKind;
use rootvol::{Error, ErrorKind};
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

/// Name, mode, size.
type Shown = (String, u32, u64);

/// All entries of an initramfs.
fn entries(bytes: &[u8]) -> Result<(Vec<Shown>, Summary), Error> {
    let mut all = Vec::new();
    let summary = initramfs::read(bytes, &Limits::default(), |entry| {
        all.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.mode, entry.size_bytes));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((all, summary))
}

fn packings(summary: &Summary) -> Vec<Packing> {
    summary.segments.iter().map(|segment| segment.packing).collect()
}

/// Runs a filter.
fn through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let _ = writer.join().unwrap();
    output.stdout
}

/// A folder with a few files of each kind, and the names as cpio takes them.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("usr/lib/modules/6.1.0/kernel")).unwrap();
    fs::write(path.join("init"), "#!/bin/sh\nexec sh\n").unwrap();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("usr/lib/modules/6.1.0/kernel/nvme.ko"), vec![7; 300_001]).unwrap();
    fs::write(path.join("usr/lib/modules/6.1.0/kernel/ena.ko.zst"), (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect::<Vec<_>>())
        .unwrap();
    std::os::unix::fs::symlink("usr/lib", path.join("lib")).unwrap();
    fs::hard_link(path.join("init"), path.join("init-too")).unwrap();
    let names = b".\0empty\0init\0init-too\0lib\0usr\0usr/lib\0usr/lib/modules\0usr/lib/modules/6.1.0\0usr/lib/modules/6.1.0/kernel\0usr/lib/modules/6.1.0/kernel/ena.ko.zst\0usr/lib/modules/6.1.0/kernel/nvme.ko\0";
    (folder, names.to_vec())
}

fn cpio(folder: &Path, names: &[u8], format: &str) -> Vec<u8> {
    through(Command::new("cpio").current_dir(folder).args(["-0", "-o", "--quiet", "-H", format]), names)
}

#[test]
fn archives_of_cpio_are_read_whatever_packs_them_and_with_microcode_before() {
    if judge("cpio").is_none() {
        return;
    }
    let (folder, names) = folder();
    let microcode = {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("kernel/x86/microcode")).unwrap();
        fs::write(folder.path().join("kernel/x86/microcode/AuthenticAMD.bin"), vec![1; 70_000]).unwrap();
        cpio(folder.path(), b"kernel\0kernel/x86\0kernel/x86/microcode\0kernel/x86/microcode/AuthenticAMD.bin\0", "newc")
    };
    for format in ["newc", "crc"] {
        let plain = cpio(folder.path(), &names, format);
        let (expected, summary) = entries(&plain).unwrap();
        let read: Vec<&str> = expected.iter().map(|(name, ..)| &**name).collect();
        let given: Vec<&str> = std::str::from_utf8(&names).unwrap().split_terminator('\0').collect();
        // cpio puts hard links where their data is.
        assert_eq!(read.iter().copied().collect::<std::collections::BTreeSet<_>>(), given.iter().copied().collect());
        assert_eq!(packings(&summary), [Packing::Plain]);
        let size = |name: &str| expected.iter().find(|(own, ..)| own == name).unwrap().2;
        assert_eq!((size("usr/lib/modules/6.1.0/kernel/nvme.ko"), size("lib"), size("empty")), (300_001, 7, 0));
        for (tool, arguments, packing) in [
            ("gzip", &["-9"][..], Packing::Gzip),
            ("zstd", &["-19", "-q"], Packing::Zstd),
            ("xz", &["--check=crc32"], Packing::Xz),
            ("xz", &["--format=lzma"], Packing::Lzma),
            ("lz4", &["-l", "-9", "-q"], Packing::Lz4),
        ] {
            if judge(tool).is_none() {
                continue;
            }
            let packed = through(Command::new(tool).args(arguments).arg("-c"), &plain);
            let (read, summary) = entries(&packed).unwrap_or_else(|error| panic!("{tool} {arguments:?}: {error}"));
            assert_eq!((&read, packings(&summary)), (&expected, vec![packing]), "{tool}");
            let (both, summary) = entries(&[&microcode[..], &packed].concat()).unwrap();
            assert_eq!((both.len(), packings(&summary)), (expected.len() + 4, vec![Packing::Plain, packing]), "{tool}");
            // Zeros behind it, and a second one: what a loader does with two files.
            if packing != Packing::Lzma {
                let padded = [&packed[..], &[0; 6]].concat();
                assert_eq!(entries(&padded).unwrap().0, expected, "{tool}");
                let gzip = through(Command::new("gzip").arg("-c"), &microcode);
                let behind = if packing == Packing::Lz4 { 0 } else { 4 };
                let two = if behind == 0 { padded } else { [&padded[..], &gzip].concat() };
                assert_eq!(entries(&two).unwrap().0.len(), expected.len() + behind, "{tool}");
            }
            // The last byte of an lzma stream says nothing that the decoder does not know by then.
            let cuts = [packed.len() / 2, packed.len() - 1, 5].into_iter().filter(|cut| packing != Packing::Lzma || cut + 1 < packed.len());
            for length in cuts {
                let error = entries(&packed[..length]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{tool} to {length}: {error}");
            }
        }
    }
}

#[test]
fn what_the_kernel_refuses_is_refused_with_what_to_do() {
    if judge("cpio").is_none() {
        return;
    }
    let (folder, names) = folder();
    let plain = cpio(folder.path(), &names, "newc");
    for (tool, arguments, kind, says) in [
        ("xz", &["--check=crc64"][..], ErrorKind::Corrupt, "--check=crc32"),
        ("lz4", &["-q"], ErrorKind::Corrupt, "lz4 -l"),
        ("bzip2", &[], ErrorKind::Unsupported, "bzip2"),
    ] {
        if judge(tool).is_none() {
            continue;
        }
        let packed = through(Command::new(tool).args(arguments).arg("-c"), &plain);
        let error = entries(&packed).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(says), "{error}");
    }
    for (format, says) in [("odc", "newc"), ("bin", "newc")] {
        let error = entries(&cpio(folder.path(), &names, format)).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(says), "{format}: {error}");
    }
    let error = entries(&[&plain[..], b"junk"].concat()).unwrap_err();
    assert_eq!(error.offset(), u64::try_from(plain.len()).ok(), "{error}");
}

#[test]
fn the_initramfs_of_debian_has_the_names_that_cpio_lists() {
    let (Some(tar), Some(_), Some(_)) = (lab("debian.tar"), judge("cpio"), judge("zstd")) else { return };
    let source = rootvol::source::open(tar).unwrap();
    let boot = source.tree.resolve("boot").unwrap();
    let name = source.tree.entries(boot).iter().map(|entry| source.tree.name(entry)).find(|name| name.starts_with(b"initrd.img-")).unwrap();
    let node = source.tree.child(boot, name).unwrap();
    let NodeKind::File(file) = source.tree.node(node).kind else { panic!("no file") };
    let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
    source.contents.read_exact_at(file.content, 0, &mut bytes).unwrap();
    let (read, summary) = entries(&bytes).unwrap();
    assert_eq!(packings(&summary), [Packing::Zstd]);
    let plain = through(Command::new("zstd").args(["-dcq"]), &bytes);
    let listed = String::from_utf8(through(Command::new("cpio").args(["-t", "--quiet"]), &plain)).unwrap();
    assert_eq!(read.iter().map(|(name, ..)| &**name).collect::<Vec<_>>(), listed.lines().collect::<Vec<_>>());
    assert!(read.len() > 100, "{} entries", read.len());
}

fn shown(linted: &Linted) -> Vec<String> {
    let own = linted.findings.iter().filter(|finding| finding.rule.family == rootvol::lint::Family::Boot);
    own.map(|finding| format!("{} {} {}: {}", finding.severity, finding.rule.id, finding.place, finding.message)).collect()
}

/// What these trees lack on purpose, and nothing else.
const LACKS: [&str; 4] = ["growth-tool-missing", "key-agent-missing", "network-without-dhcp", "ssh-server-missing"];

fn assert_lacks(linted: &Linted, lacks: &[&str]) {
    let mut ids: Vec<&str> =
        linted.findings.iter().filter(|finding| finding.rule.family == rootvol::lint::Family::Boot).map(|finding| finding.rule.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, lacks, "{:#?}\n{:#?}", shown(linted), linted.not_checked);
    let ours: Vec<&String> = linted.not_checked.iter().filter(|why| why.contains("boot")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn trees_of_debian_lack_what_they_lack_and_nothing_else() {
    for name in ["debian.tar", "debian-arm64.tar"] {
        let Some(tar) = lab(name) else { return };
        let linted = rootvol::lint::lint_source(&rootvol::source::open(tar).unwrap(), &LintOptions::default()).unwrap();
        assert_lacks(&linted, &LACKS);
    }
}

#[test]
fn a_root_that_the_kernel_never_grows_is_told() {
    let Some(mut mke2fs) = judge("mke2fs") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("tree/etc")).unwrap();
    fs::write(folder.path().join("tree/etc/fstab"), "").unwrap();
    fs::write(folder.path().join("tree/etc/os-release"), "ID=debian\n").unwrap();
    let image = folder.path().join("root.raw");
    run(mke2fs.args(["-q", "-t", "ext4", "-O", "sparse_super2", "-d"]).arg(folder.path().join("tree")).arg(&image).arg("64M"));
    let linted = rootvol::lint::lint_image(&rootvol::source::DiskImage::open(&image, &Default::default()).unwrap(), &LintOptions::default()).unwrap();
    let found = shown(&linted);
    for id in ["root-not-growable", "kernel-missing", "loader-missing"] {
        assert!(found.iter().any(|line| line.contains(id)), "{id}: {found:#?}");
    }
}

#[test]
fn images_that_build_makes_of_them_have_nothing_more() {
    for (name, arguments) in [
        ("debian.tar", &["--loader", "grub"][..]),
        ("debian.tar", &["--loader", "systemd-boot"]),
        ("debian-arm64.tar", &["--loader", "grub"]),
        ("debian-arm64.tar", &["--loader", "systemd-boot"]),
    ] {
        let Some(tar) = lab(name) else { return };
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("web.raw");
        run(Command::new(env!("CARGO_BIN_EXE_rootvol")).arg("build").arg(tar).arg("-o").arg(&image).args(arguments));
        let open = || rootvol::source::DiskImage::open(&image, &Default::default()).unwrap();
        assert_lacks(&rootvol::lint::lint_image(&open(), &LintOptions::default()).unwrap(), &LACKS);
        // Made longer by hand, the backup table is no longer at the end.
        let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
        file.set_len(file.metadata().unwrap().len() + (64 << 20)).unwrap();
        let longer = [&["backup-gpt-misplaced"][..], &LACKS].concat();
        assert_lacks(&rootvol::lint::lint_image(&open(), &LintOptions::default()).unwrap(), &longer);
        // Mended, and the new room given to another partition: the root cannot have it.
        let Some(mut sgdisk) = judge("sgdisk") else { continue };
        run(sgdisk.args(["-e", "-n", "0:0:+16M"]).arg(&image));
        let mut full = [&LACKS[..], &["root-not-last"]].concat();
        full.sort_unstable();
        assert_lacks(&rootvol::lint::lint_image(&open(), &LintOptions::default()).unwrap(), &full);
    }
}
