//! Every loader from every place where distributions leave it.

use super::*;
use crate::ErrorKind;

const SD_BOOT: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const UUID: &str = "66666666-7777-8888-8999-aaaaaaaaaaaa";
const ROOT: &str = "root=PARTUUID=11111111-2222-8333-8444-555555555555";

#[test]
fn signed_grub_goes_to_the_esp_with_a_stub_and_the_configuration_to_the_root() {
    let made = Fake::debian_grub().prepare(&Options::default()).unwrap();
    let expected = ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi", "EFI/debian/grub.cfg"];
    assert_eq!(made.esp_files(), expected);
    let stub = format!("search --no-floppy --fs-uuid --set=root {UUID}\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n");
    assert_eq!(made.esp("EFI/BOOT/grub.cfg"), stub);
    assert_eq!(made.esp("EFI/debian/grub.cfg"), stub);
    let config = made.root("boot/grub/grub.cfg");
    let entry = format!(
        "menuentry 'Debian GNU/Linux 12, with Linux 6.1.0-9-cloud-amd64' {{\n\tlinux /boot/vmlinuz-6.1.0-9-cloud-amd64 {ROOT} rw console=ttyS0\n\
         \tinitrd /boot/initrd.img-6.1.0-9-cloud-amd64\n}}\n"
    );
    assert!(config.ends_with(&entry), "{config}");
    assert!(config.contains(&format!("--set=root {UUID}")), "{config}");
    let summary = &made.prepared.summary;
    assert_eq!((summary.loader.as_str(), summary.architecture.as_str(), summary.mode.as_str()), ("grub", "x86_64", "uefi"));
    assert_eq!(summary.kernel.as_deref(), Some("/boot/vmlinuz-6.1.0-9-cloud-amd64"));
    assert_eq!(summary.initramfs.as_deref(), Some("/boot/initrd.img-6.1.0-9-cloud-amd64"));
    assert_eq!(summary.cmdline.as_deref(), Some(format!("{ROOT} rw console=ttyS0").as_str()));
    assert!(summary.grub_packages.is_empty());
    // The file on the ESP is the file in the root: one content.
    let content = |tree: &Tree, path: &str| match tree.node(tree.resolve(path).unwrap()).kind {
        NodeKind::File(file) => file.content,
        _ => panic!("{path} is no file"),
    };
    assert_eq!(content(&made.prepared.esp, "EFI/BOOT/BOOTX64.EFI"), content(&made.prepared.root, "usr/lib/shim/shimx64.efi.signed"));
}

/// Where a GRUB lies, and what the ESP then has.
struct Layout {
    name: &'static str,
    os: &'static str,
    /// path, vendor in the image's prefix (a GRUB) or none (any other image).
    files: &'static [(&'static str, Option<&'static str>)],
    taken: &'static str,
    esp: &'static [&'static str],
    config: &'static str,
}

const LAYOUTS: [Layout; 8] = [
    Layout {
        name: "Ubuntu whose alternatives did not run",
        os: "ID=ubuntu\nID_LIKE=debian",
        files: &[("usr/lib/shim/shimx64.efi.signed.latest", None), ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", Some("ubuntu"))],
        taken: "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/ubuntu/grub.cfg"],
        config: "boot/grub/grub.cfg",
    },
    Layout {
        name: "Debian's GRUB without shim",
        os: "ID=debian",
        files: &[("usr/lib/grub/x86_64-efi/monolithic/grubx64.efi", Some("debian"))],
        taken: "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/debian/grub.cfg"],
        config: "boot/grub/grub.cfg",
    },
    Layout {
        name: "Fedora's packages, which own files on the ESP",
        os: "ID=fedora",
        files: &[
            ("boot/efi/EFI/BOOT/BOOTX64.EFI", None),
            ("boot/efi/EFI/fedora/shimx64.efi", None),
            ("boot/efi/EFI/fedora/mmx64.efi", None),
            ("boot/efi/EFI/fedora/grubx64.efi", Some("fedora")),
        ],
        taken: "/boot/efi/EFI/fedora/grubx64.efi",
        esp: &[
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grub.cfg",
            "EFI/BOOT/grubx64.efi",
            "EFI/BOOT/mmx64.efi",
            "EFI/fedora/grub.cfg",
            "EFI/fedora/grubx64.efi",
            "EFI/fedora/mmx64.efi",
            "EFI/fedora/shimx64.efi",
        ],
        config: "boot/grub2/grub.cfg",
    },
    Layout {
        name: "Fedora's later packages, which keep them in /usr",
        os: "ID=fedora",
        files: &[("usr/lib/efi/shim/15.8/EFI/fedora/shimx64.efi", None), ("usr/lib/efi/grub2/2.12/EFI/fedora/grubx64.efi", Some("fedora"))],
        taken: "/usr/lib/efi/grub2/2.12/EFI/fedora/grubx64.efi",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/fedora/grub.cfg"],
        config: "boot/grub2/grub.cfg",
    },
    Layout {
        name: "bootupd",
        os: "ID=rhel\nID_LIKE=fedora",
        files: &[("usr/lib/bootupd/updates/EFI/redhat/shimx64.efi", None), ("usr/lib/bootupd/updates/EFI/redhat/grubx64.efi", Some("redhat"))],
        taken: "/usr/lib/bootupd/updates/EFI/redhat/grubx64.efi",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubx64.efi", "EFI/redhat/grub.cfg"],
        config: "boot/grub2/grub.cfg",
    },
    Layout {
        name: "Amazon Linux, GRUB on the ESP without shim",
        os: "ID=amzn\nID_LIKE=fedora",
        files: &[("boot/efi/EFI/amzn/grubx64.efi", Some("amzn"))],
        taken: "/boot/efi/EFI/amzn/grubx64.efi",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/amzn/grub.cfg", "EFI/amzn/grubx64.efi"],
        config: "boot/grub2/grub.cfg",
    },
    Layout {
        name: "SUSE, whose shim starts grub.efi",
        os: "ID=opensuse-leap\nID_LIKE=suse",
        files: &[("usr/share/efi/x86_64/shim.efi", None), ("usr/share/efi/x86_64/MokManager.efi", None), ("usr/share/efi/x86_64/grub.efi", Some("BOOT"))],
        taken: "/usr/share/efi/x86_64/grub.efi",
        esp: &["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/MokManager.efi", "EFI/BOOT/grub.cfg", "EFI/BOOT/grub.efi", "EFI/opensuse/grub.cfg"],
        config: "boot/grub2/grub.cfg",
    },
    Layout {
        name: "a disk that boots by its fallback already",
        os: "ID=debian",
        files: &[("boot/efi/EFI/boot/bootx64.efi", None), ("boot/efi/EFI/boot/grubx64.efi", Some("debian"))],
        taken: "/boot/efi/EFI/boot/grubx64.efi",
        esp: &["EFI/boot/bootx64.efi", "EFI/boot/grub.cfg", "EFI/boot/grubx64.efi", "EFI/debian/grub.cfg"],
        config: "boot/grub/grub.cfg",
    },
];

#[test]
fn grub_is_found_where_each_distribution_leaves_it() {
    for layout in LAYOUTS {
        let mut fake = Fake::debian().without("usr/lib/os-release").file("usr/lib/os-release", layout.os);
        for (path, vendor) in layout.files {
            fake = fake.file(path, vendor.map_or_else(|| pe(AMD64, &[]), |vendor| grub(AMD64, vendor)));
        }
        let made = fake.prepare(&Options::default()).unwrap_or_else(|error| panic!("{}: {error}", layout.name));
        assert_eq!(made.prepared.summary.loader_path, layout.taken, "{}", layout.name);
        assert_eq!(made.esp_files(), layout.esp, "{}", layout.name);
        assert!(made.root(layout.config).contains("menuentry"), "{}", layout.name);
        let folder = layout.config.trim_end_matches("/grub.cfg");
        assert!(made.esp(layout.esp.iter().find(|path| path.ends_with("grub.cfg")).unwrap()).contains(folder), "{}", layout.name);
        // The ESP's files are no longer in the root.
        assert_eq!(made.prepared.root.entries(made.prepared.root.lookup("boot/efi").unwrap()).len(), 0, "{}", layout.name);
    }
}

#[test]
fn arm64_has_its_own_names() {
    let arm = || Fake::new().file("boot/vmlinuz-6.1", arm_image()).file("sbin/init", "").file("usr/lib/os-release", "ID=debian");
    let made = arm().signed_grub("aa64", "arm64", ARM64).prepare(&Options::default()).unwrap();
    assert_eq!(made.esp_files(), ["EFI/BOOT/BOOTAA64.EFI", "EFI/BOOT/grub.cfg", "EFI/BOOT/grubaa64.efi", "EFI/BOOT/mmaa64.efi", "EFI/debian/grub.cfg"]);
    assert_eq!(made.prepared.architecture, Architecture::Arm64);
    assert!(made.root("boot/grub/grub.cfg").contains("rw console=ttyAMA0 console=ttyS0\n}"));
    let made = arm().file("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", systemd_boot(ARM64)).prepare(&Options::default()).unwrap();
    assert!(made.esp_files().contains(&"EFI/BOOT/BOOTAA64.EFI".to_owned()));
    assert!(made.esp_files().contains(&"EFI/systemd/systemd-bootaa64.efi".to_owned()));
    assert!(made.prepared.summary.grub_packages.is_empty(), "ImportImage refuses arm64 with GRUB too");
    // A compressed Image has no EFI stub: GRUB starts it, systemd-boot cannot.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &arm_image()).unwrap();
    let packed = gz.finish().unwrap();
    let gz = || Fake::new().file("boot/Image-6.1", &packed).file("usr/lib/os-release", "ID=debian");
    gz().signed_grub("aa64", "arm64", ARM64).prepare(&Options::default()).unwrap();
    let (kind, message) = gz().file("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", systemd_boot(ARM64)).refusal(&Options::default());
    assert_eq!(kind, ErrorKind::NotBootable);
    assert!(message.contains("no EFI stub"), "{message}");
}

#[test]
fn systemd_boot_gets_kernel_initramfs_and_entry() {
    let made = Fake::debian().file(SD_BOOT, systemd_boot(AMD64)).prepare(&Options::default()).unwrap();
    let version = "6.1.0-9-cloud-amd64";
    assert_eq!(
        made.esp_files(),
        [
            "EFI/BOOT/BOOTX64.EFI".to_owned(),
            "EFI/systemd/systemd-bootx64.efi".to_owned(),
            format!("debian/{version}/initrd.img-{version}"),
            format!("debian/{version}/linux"),
            format!("loader/entries/debian-{version}.conf"),
            "loader/entries.srel".to_owned(),
            "loader/loader.conf".to_owned(),
        ]
    );
    let entry = made.esp(&format!("loader/entries/debian-{version}.conf"));
    let expected = format!(
        "title Debian GNU/Linux 12\nversion {version}\nsort-key debian\nlinux /debian/{version}/linux\ninitrd /debian/{version}/initrd.img-{version}\n\
         options {ROOT} rw console=ttyS0\n"
    );
    assert_eq!(entry, expected);
    assert_eq!(made.root("etc/kernel/cmdline"), format!("{ROOT} rw console=ttyS0\n"));
    assert_eq!(made.root("etc/kernel/entry-token"), "debian\n");
    assert_eq!(made.prepared.summary.grub_packages, ["Debian, Ubuntu: shim-signed grub-efi-amd64-signed"]);
    // The tree's own token and loader.conf stay.
    let made = Fake::debian()
        .file(SD_BOOT, systemd_boot(AMD64))
        .file("etc/kernel/entry-token", "web\n")
        .file("boot/efi/loader/loader.conf", "timeout 3\n")
        .prepare(&Options::default())
        .unwrap();
    assert_eq!(made.esp("loader/loader.conf"), "timeout 3\n");
    assert!(made.esp_files().contains(&format!("web/{version}/linux")));
}

#[test]
fn a_uki_is_its_own_fallback_unless_systemd_boot_is_there() {
    let options = Options::default();
    let uki = || Fake::debian().without("boot/vmlinuz-6.1.0-9-cloud-amd64");
    let image = super::uki(AMD64, "root=LABEL=root rw");
    let made = uki().file("usr/lib/modules/6.1.0/vmlinuz-virt.efi", &image).prepare(&options).unwrap();
    assert_eq!(made.esp_files(), ["EFI/BOOT/BOOTX64.EFI", "EFI/Linux/linux-6.1.0.efi"]);
    assert_eq!((made.prepared.summary.loader.as_str(), &made.prepared.summary.cmdline), ("uki", &None));
    assert_eq!(made.root("etc/kernel/cmdline"), "root=LABEL=root rw\n");
    let made =
        uki().file("usr/lib/linux/web-2.efi", &image).file("usr/lib/linux/web-10.efi", &image).file(SD_BOOT, systemd_boot(AMD64)).prepare(&options).unwrap();
    assert_eq!(made.esp_files(), ["EFI/BOOT/BOOTX64.EFI", "EFI/Linux/web-10.efi", "EFI/systemd/systemd-bootx64.efi", "loader/loader.conf"]);
    // On the ESP already, in each place of the ESP.
    for mount in ["efi", "boot/efi"] {
        let made = uki().file(&format!("{mount}/EFI/Linux/web.efi"), &image).prepare(&options).unwrap();
        assert_eq!(made.esp_files(), ["EFI/BOOT/BOOTX64.EFI", "EFI/Linux/web.efi"], "{mount}");
        assert_eq!(made.prepared.esp_mount_point, mount.as_bytes());
        assert!(!made.has_note("replaced"), "{:?}", made.prepared.notes);
    }
    let made = uki().file("boot/efi/EFI/BOOT/BOOTX64.EFI", &image).prepare(&options).unwrap();
    assert_eq!(made.esp_files(), ["EFI/BOOT/BOOTX64.EFI"]);
    let made = uki().file("usr/lib/linux/web.efi", super::uki(AMD64, "rw")).prepare(&Options { cmdline: Some("quiet".into()), ..options }).unwrap();
    assert!(made.has_note("cannot apply"), "{:?}", made.prepared.notes);
}

#[test]
fn auto_takes_grub_then_a_uki_then_systemd_boot() {
    let all = || Fake::debian_grub().file("usr/lib/linux/web.efi", uki(AMD64, "root=LABEL=root")).file(SD_BOOT, systemd_boot(AMD64));
    let grub = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
    let loader = |fake: Fake, options: &Options| fake.prepare(options).unwrap().prepared.summary.loader;
    assert_eq!(loader(all(), &Options::default()), "grub");
    assert_eq!(loader(all().without(grub), &Options::default()), "uki");
    assert_eq!(loader(all().without(grub).without("usr/lib/linux/web.efi"), &Options::default()), "systemd-boot");
    for (choice, name) in [(LoaderChoice::Grub, "grub"), (LoaderChoice::Uki, "uki"), (LoaderChoice::SystemdBoot, "systemd-boot")] {
        assert_eq!(loader(all(), &with(choice)), name);
    }
    // With a document for ImportImage the disk is made all the same; what to install for it goes with it.
    let made = all().without(grub).prepare(&Options { import_image: true, ..Options::default() }).unwrap();
    assert!(made.prepared.summary.grub_packages[0].contains("grub-efi-amd64-signed"));
}

#[test]
fn named_files_are_taken_and_must_be_what_they_are_named_for() {
    let all = || {
        Fake::debian_grub()
            .file("opt/web.efi", uki(AMD64, "rw"))
            .file("opt/sd.efi", systemd_boot(AMD64))
            .file("opt/grub.efi", grub(AMD64, "x"))
            .file("opt/vmlinuz", bzimage())
    };
    let path = |path: &str| Some(path.as_bytes().to_vec());
    let taken = |options: Options| all().prepare(&options).map(|made| (made.prepared.summary.loader.clone(), made.prepared.summary.loader_path.clone()));
    let named = |name: &str, loader| taken(Options { loader_path: path(name), loader, ..Options::default() });
    assert_eq!(named("/opt/web.efi", LoaderChoice::Auto).unwrap(), ("uki".to_owned(), "/opt/web.efi".to_owned()));
    assert_eq!(named("/opt/sd.efi", LoaderChoice::Auto).unwrap(), ("systemd-boot".to_owned(), "/opt/sd.efi".to_owned()));
    assert_eq!(named("opt/grub.efi", LoaderChoice::Grub).unwrap(), ("grub".to_owned(), "/opt/grub.efi".to_owned()));
    assert!(named("/opt/grub.efi", LoaderChoice::Uki).unwrap_err().to_string().contains("named as the loader uki, but it looks like grub"));
    assert!(named("/opt/vmlinux", LoaderChoice::Auto).is_err());
    assert!(named("/usr/lib/os-release", LoaderChoice::Auto).unwrap_err().to_string().contains("no EFI image"));
    assert_eq!(taken(Options { uki: path("opt/web.efi"), ..Options::default() }).unwrap().0, "uki");
    assert!(taken(Options { uki: path("opt/web.efi"), loader: LoaderChoice::Grub, ..Options::default() }).is_err());
    // The shim of a GRUB that was found goes with it.
    let made = all().prepare(&Options { loader_path: path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"), ..Options::default() }).unwrap();
    assert!(made.esp_files().contains(&"EFI/BOOT/grubx64.efi".to_owned()));

    let options = Options { kernel: path("/opt/vmlinuz"), initramfs: InitramfsChoice::Path(b"/opt/web.efi".to_vec()), ..Options::default() };
    let made = all().prepare(&options).unwrap();
    let config = made.root("boot/grub/grub.cfg");
    assert!(config.contains("linux /opt/vmlinuz ") && config.contains("initrd /opt/web.efi\n") && config.matches("menuentry").count() == 1, "{config}");
    let made = all().prepare(&Options { initramfs: InitramfsChoice::None, ..Options::default() }).unwrap();
    assert!(!made.root("boot/grub/grub.cfg").contains("initrd"));
    assert!(made.has_note("without initramfs"));
    for bad in ["/opt/sd", "/usr/lib/os-release"] {
        assert!(all().prepare(&Options { kernel: path(bad), ..Options::default() }).is_err(), "{bad}");
    }
}

#[test]
fn the_refusal_names_what_was_looked_for_what_is_there_and_what_mends_it() {
    let auto = Options::default();
    for (fake, options, parts) in [
        (
            Fake::new(),
            auto.clone(),
            &["neither kernel nor loader", "Debian, Ubuntu: shim-signed grub-efi-amd64-signed", "Fedora", "Looked for: a kernel (/boot/vmlinuz-*"][..],
        ),
        (Fake::debian(), auto.clone(), &["kernel /boot/vmlinuz-6.1.0-9-cloud-amd64 for x86_64; no UEFI loader", "grub-efi-amd64-signed"]),
        (Fake::debian().folder("usr/lib/grub/i386-pc"), auto.clone(), &["grub-pc: BIOS only (/usr/lib/grub/i386-pc)"]),
        (Fake::debian().folder("boot/extlinux"), auto.clone(), &["extlinux: BIOS only"]),
        (Fake::debian().folder("usr/lib/grub/x86_64-efi"), auto.clone(), &["GRUB's modules, but no EFI image"]),
        (Fake::debian_grub().without("boot/vmlinuz-6.1.0-9-cloud-amd64"), auto.clone(), &["no kernel; GRUB for x86_64"]),
        (
            Fake::debian().file("usr/lib/shim/x", "").signed_grub("aa64", "arm64", ARM64),
            auto.clone(),
            &["kernel /boot/vmlinuz", "for x86_64", "GRUB for arm64"],
        ),
        (Fake::debian_grub(), with(LoaderChoice::Uki), &["UEFI and a UKI is in the tree", "GRUB for x86_64"]),
        (Fake::debian_grub(), with(LoaderChoice::SystemdBoot), &["UEFI and systemd-boot", "systemd-bootx64.efi in /usr/lib/systemd/boot/efi"]),
        (Fake::new().file("usr/lib/os-release", "ID=amzn").file("boot/Image-6.1", arm_image()), auto.clone(), &["grub2-efi-aa64", "for arm64"]),
        (Fake::debian().file("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "junk"), auto.clone(), &["grubx64.efi.signed: no EFI image"]),
        (Fake::new().file("boot/vmlinuz-1", "\x7fELF junk"), auto.clone(), &["/boot/vmlinuz-1: an ELF file"]),
    ] {
        let (kind, message) = fake.refusal(&options);
        assert_eq!(kind, ErrorKind::NotBootable, "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn the_architecture_comes_from_the_kernel_and_contradictions_are_errors() {
    let asked = |architecture| Options { architecture: Some(architecture), ..Options::default() };
    let (kind, message) = Fake::debian_grub().refusal(&asked(Architecture::Arm64));
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(message.contains("arm64 was asked for") && message.contains("is for x86_64"), "{message}");
    let both = || Fake::debian_grub().signed_grub("aa64", "arm64", ARM64).file("boot/vmlinuz-6.1.0-1-arm64", arm_image());
    let (kind, message) = both().refusal(&Options::default());
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(message.contains("kernels for two architectures"), "{message}");
    for architecture in Architecture::ALL {
        let made = both().prepare(&asked(architecture)).unwrap();
        assert_eq!(made.prepared.architecture, architecture);
        assert!(made.esp_files().contains(&format!("EFI/BOOT/{}", architecture.fallback_name())));
    }
    // A loader under the other architecture's name is none.
    let (kind, message) = Fake::debian().signed_grub("x64", "x86_64", ARM64).refusal(&Options::default());
    assert_eq!(kind, ErrorKind::NotBootable);
    assert!(message.contains("an EFI image for machine 0xaa64, where x86_64 was expected"), "{message}");
    let mut old = bzimage();
    old[0x236] = 0;
    let (_, message) = Fake::new().file("boot/vmlinuz-1", old).refusal(&Options::default());
    assert!(message.contains("32-bit"), "{message}");
}

#[test]
fn finding_says_whether_a_tree_is_meant_to_boot() {
    let found = |fake: Fake| {
        let (tree, store) = fake.done();
        let found = find(&tree, &store, &Options::default()).unwrap();
        (found.has_kernel(), found.is_bootable(&Options::default()))
    };
    assert_eq!(found(Fake::new().file("srv/data", "x")), (false, false));
    assert_eq!(found(Fake::debian()), (true, false));
    assert_eq!(found(Fake::debian_grub()), (true, true));
    assert_eq!(found(Fake::new().file("efi/EFI/Linux/web.efi", uki(AMD64, ""))), (true, true));
}
