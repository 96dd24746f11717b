//! Kernels, command lines, fstab and the other files that are made.

use super::*;
use crate::ErrorKind;

const SD_BOOT: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const ROOT: &str = "root=PARTUUID=11111111-2222-8333-8444-555555555555";

#[test]
fn the_newest_kernel_goes_with_the_initramfs_of_its_name() {
    let bz = bzimage;
    for (name, fake, kernel, initramfs) in [
        (
            "Debian, two versions, links to the newest",
            Fake::new()
                .file("boot/vmlinuz-6.1.0-9-amd64", bz())
                .file("boot/vmlinuz-6.1.0-28-amd64", bz())
                .file("boot/vmlinuz-6.1.0-30-amd64.dpkg-new", bz())
                .file("boot/initrd.img-6.1.0-9-amd64", "i")
                .file("boot/initrd.img-6.1.0-28-amd64", "i")
                .link("vmlinuz", "boot/vmlinuz-6.1.0-9-amd64")
                .link("boot/vmlinuz", "vmlinuz-6.1.0-9-amd64"),
            "/boot/vmlinuz-6.1.0-28-amd64",
            Some("/boot/initrd.img-6.1.0-28-amd64"),
        ),
        (
            "Fedora with a rescue kernel",
            Fake::new()
                .file("boot/vmlinuz-0-rescue-aaaa", bz())
                .file("boot/vmlinuz-6.10.3-200.fc40.x86_64", bz())
                .file("boot/initramfs-6.10.3-200.fc40.x86_64.img", "i")
                .file("usr/lib/modules/6.10.3-200.fc40.x86_64/vmlinuz", bz()),
            "/boot/vmlinuz-6.10.3-200.fc40.x86_64",
            Some("/boot/initramfs-6.10.3-200.fc40.x86_64.img"),
        ),
        (
            "a kernel with its modules alone",
            Fake::new().file("usr/lib/modules/6.6.1/vmlinuz", bz()).file("usr/lib/modules/6.6.1/initramfs.img", "i").link("lib", "usr/lib"),
            "/usr/lib/modules/6.6.1/vmlinuz",
            Some("/usr/lib/modules/6.6.1/initramfs.img"),
        ),
        (
            "SUSE, links to the modules' folder",
            Fake::new()
                .file("usr/lib/modules/6.4.0-1-default/vmlinuz", bz())
                .link("boot/vmlinuz-6.4.0-1-default", "../usr/lib/modules/6.4.0-1-default/vmlinuz")
                .file("boot/initrd-6.4.0-1-default", "i"),
            "/usr/lib/modules/6.4.0-1-default/vmlinuz",
            Some("/boot/initrd-6.4.0-1-default"),
        ),
        (
            "Arch, a name that outlives updates",
            Fake::new()
                .file("boot/vmlinuz-linux", bz())
                .file("boot/initramfs-linux.img", "i")
                .file("usr/lib/modules/6.9.1-arch1-1/vmlinuz", bz())
                .file("usr/lib/modules/6.9.1-arch1-1/pkgbase", "linux\n"),
            "/boot/vmlinuz-linux",
            Some("/boot/initramfs-linux.img"),
        ),
        ("Alpine", Fake::new().file("boot/vmlinuz-virt", bz()).file("boot/initramfs-virt", "i"), "/boot/vmlinuz-virt", Some("/boot/initramfs-virt")),
        ("no version at all", Fake::new().file("boot/vmlinuz", bz()).file("boot/initrd.img", "i"), "/boot/vmlinuz", Some("/boot/initrd.img")),
        (
            "an initramfs of another version",
            Fake::new().file("boot/vmlinuz-6.1", bz()).file("boot/initrd.img-6.2", "i").file("boot/initrd.img-6.1", ""),
            "/boot/vmlinuz-6.1",
            None,
        ),
    ] {
        let (tree, store) = fake.done();
        let found = find(&tree, &store, &Options::default()).unwrap();
        let first = found.kernels.first().unwrap_or_else(|| panic!("{name}: {:?}", found.seen));
        assert_eq!(first.file.shown(), kernel, "{name}");
        assert_eq!(first.initramfs.as_ref().map(TreeFile::shown).as_deref(), initramfs, "{name}");
    }
}

#[test]
fn every_kernel_has_a_menu_entry_the_newest_first() {
    let made =
        Fake::debian_grub().file("boot/vmlinuz-5.10.0-1-amd64", bzimage()).file("boot/vmlinuz-6.12.0-1-amd64", bzimage()).prepare(&Options::default()).unwrap();
    let config = made.root("boot/grub/grub.cfg");
    let at = |version: &str| config.find(&format!("linux /boot/vmlinuz-{version}")).unwrap();
    assert!(at("6.12.0-1-amd64") < at("6.1.0-9-cloud-amd64") && at("6.1.0-9-cloud-amd64") < at("5.10.0-1-amd64"), "{config}");
    assert_eq!(made.prepared.summary.kernel.as_deref(), Some("/boot/vmlinuz-6.12.0-1-amd64"));
}

#[test]
fn the_command_line_is_the_callers_else_the_trees_else_a_default() {
    let cmdline = |fake: Fake, options: Options| fake.prepare(&options).unwrap().prepared.summary.cmdline.unwrap();
    let given = |text: &str| Options { cmdline: Some(text.into()), ..Options::default() };
    let etc = |text: &str| Fake::debian_grub().file("etc/default/grub", text);
    let default = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"console=ttyS0,115200\"\n";
    for (fake, options, expected) in [
        (Fake::debian_grub(), Options::default(), format!("{ROOT} rw console=ttyS0")),
        (Fake::debian_grub(), given("  quiet  "), format!("{ROOT} quiet")),
        (Fake::debian_grub(), given(""), ROOT.to_owned()),
        (Fake::debian_grub(), given("root=/dev/vda2 ro"), "root=/dev/vda2 ro".to_owned()),
        (etc(default), Options::default(), format!("{ROOT} console=ttyS0,115200 quiet")),
        (etc(default), given("rw"), format!("{ROOT} rw")),
        (etc("GRUB_CMDLINE_LINUX_DEFAULT=quiet\n"), Options::default(), format!("{ROOT} quiet console=ttyS0")),
        (etc("GRUB_CMDLINE_LINUX=\"\"\n"), Options::default(), format!("{ROOT} rw console=ttyS0")),
        (etc("GRUB_CMDLINE_LINUX=\"$X console=tty0\"\n"), Options::default(), format!("{ROOT} rw console=ttyS0")),
        (
            etc(default).file("etc/default/grub.d/50-cloud.cfg", "GRUB_CMDLINE_LINUX_DEFAULT=nosplash\n"),
            Options::default(),
            format!("{ROOT} console=ttyS0,115200 nosplash"),
        ),
        (Fake::debian_grub().file("etc/kernel/cmdline", "console=tty0\n  debug\n"), Options::default(), format!("{ROOT} console=tty0 debug")),
    ] {
        assert_eq!(cmdline(fake, options), expected);
    }
    assert!(etc("GRUB_CMDLINE_LINUX=`x`\n").prepare(&Options::default()).unwrap().has_note("needs a shell"));
    let root = |root| Options { root, cmdline: Some("rw".into()), ..Options::default() };
    assert_eq!(cmdline(Fake::debian_grub(), root(RootBy::Uuid)), "root=UUID=66666666-7777-8888-8999-aaaaaaaaaaaa rw");
    assert_eq!(cmdline(Fake::debian_grub(), root(RootBy::Label)), "root=LABEL=root rw");
    assert_eq!(cmdline(Fake::debian_grub(), root(RootBy::None)), "rw");
    let (kind, message) = Fake::debian_grub().refusal(&Options { initramfs: InitramfsChoice::None, ..root(RootBy::Uuid) });
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(message.contains("need an initramfs"), "{message}");
    assert!(Fake::debian_grub().prepare(&given("rw\nmenuentry x")).is_err());
    let made = Fake::debian_grub().prepare(&given("root=UUID=00000000-0000-0000-0000-000000000000")).unwrap();
    assert!(made.has_note("which this disk is not known by"), "{:?}", made.prepared.notes);
}

#[test]
fn the_command_line_is_left_where_kernel_updates_read_it() {
    let quoted = format!("GRUB_CMDLINE_LINUX='{ROOT} rw console=ttyS0'\nGRUB_CMDLINE_LINUX_DEFAULT=\n");
    let made = Fake::debian_grub().prepare(&Options::default()).unwrap();
    assert!(made.root("etc/default/grub.d/50-rootvol.cfg").ends_with(&quoted));
    // A grub-mkconfig that knows no grub.d reads one file; what is there stays before our lines.
    let made = Fake::debian_grub()
        .file("usr/sbin/grub-mkconfig", "#!/bin/sh\n. ${sysconfdir}/default/grub\n")
        .file("etc/default/grub", "GRUB_TIMEOUT=5")
        .prepare(&Options::default())
        .unwrap();
    let text = made.root("etc/default/grub");
    assert!(text.starts_with("GRUB_TIMEOUT=5\n#") && text.ends_with(&quoted), "{text}");
    assert!(made.prepared.root.lookup("etc/default/grub.d").is_none());
    let made = Fake::debian_grub()
        .file("usr/sbin/grub-mkconfig", "for x in ${sysconfdir}/default/grub.d/*.cfg")
        .file("etc/default/grub", "X=1")
        .prepare(&Options::default())
        .unwrap();
    assert_eq!(made.root("etc/default/grub"), "X=1");
    assert!(made.root("etc/default/grub.d/50-rootvol.cfg").ends_with(&quoted));
}

#[test]
fn a_grub_with_blscfg_gets_entries_where_its_distribution_updates_them() {
    let image = pe(AMD64, &[(b"mods\0\0\0\0", b"\0/EFI/fedora\0blscfg\0")]);
    let fedora = || {
        Fake::new()
            .file("usr/lib/os-release", "ID=fedora\nPRETTY_NAME='Fedora Linux 40'\n")
            .file("boot/vmlinuz-6.10.3", bzimage())
            .file("boot/initramfs-6.10.3.img", "i")
            .file("boot/efi/EFI/fedora/grubx64.efi", &image)
            .file("boot/efi/EFI/fedora/shimx64.efi", pe(AMD64, &[]))
            .file("boot/efi/EFI/fedora/grub.cfg", "stale")
    };
    let made = fedora().prepare(&Options::default()).unwrap();
    let entry = format!(
        "title Fedora Linux 40\nversion 6.10.3\nsort-key fedora\nlinux /boot/vmlinuz-6.10.3\ninitrd /boot/initramfs-6.10.3.img\noptions {ROOT} rw console=ttyS0\n"
    );
    assert_eq!(made.root("boot/loader/entries/fedora-6.10.3.conf"), entry);
    let config = made.root("boot/grub2/grub.cfg");
    assert!(config.find("blscfg\n").unwrap() < config.find("menuentry").unwrap(), "{config}");
    let environment = made.root("boot/grub2/grubenv");
    assert!(environment.starts_with("# GRUB Environment Block\nsaved_entry=fedora-6.10.3\n#") && environment.len() == 1024);
    assert_eq!(made.root("etc/kernel/cmdline"), format!("{ROOT} rw console=ttyS0\n"));
    assert!(made.root("etc/default/grub").starts_with("GRUB_ENABLE_BLSCFG=true\n"));
    assert!(made.has_note("replaced /EFI/fedora/grub.cfg on the ESP"), "{:?}", made.prepared.notes);
    // An entry that a package made while the tree was built names the build machine's root: it is made anew.
    let machine = "0123456789abcdef0123456789abcdef";
    let made = fedora().file(&format!("boot/loader/entries/{machine}-6.10.3.conf"), "options root=UUID=build-machine").prepare(&Options::default()).unwrap();
    assert_eq!(made.root(&format!("boot/loader/entries/{machine}-6.10.3.conf")), entry);
    let made = fedora().file("etc/machine-id", format!("{machine}\n")).prepare(&Options::default()).unwrap();
    assert_eq!(made.root(&format!("boot/loader/entries/{machine}-6.10.3.conf")), entry);
}

#[test]
fn a_configuration_of_the_tree_is_kept_and_what_does_not_fit_is_said() {
    let kept = |text: &str| Fake::debian_grub().file("boot/grub/grub.cfg", text);
    let good = format!("search --fs-uuid --set=root {}\nlinux /boot/vmlinuz {ROOT} ro\n", ids().root_uuid);
    let made = kept(&good).prepare(&Options::default()).unwrap();
    assert_eq!(made.root("boot/grub/grub.cfg"), good);
    assert_eq!(made.prepared.summary.cmdline, None);
    assert!(made.has_note("is kept") && !made.has_note("not known by"), "{:?}", made.prepared.notes);
    assert!(made.prepared.root.lookup("etc/default/grub.d/50-rootvol.cfg").is_none());
    let stale = "search --no-floppy --fs-uuid --set=root deadbeef-0000\n\tlinux /boot/vmlinuz root=UUID=deadbeef-0000 ro\n";
    let made = kept(stale).prepare(&Options { cmdline: Some("quiet".into()), ..Options::default() }).unwrap();
    for part in ["searches for a filesystem with UUID deadbeef-0000", "names the root as UUID=deadbeef-0000", "is not in /boot/grub/grub.cfg"] {
        assert!(made.has_note(part), "{part}: {:?}", made.prepared.notes);
    }
    assert!(made.root("etc/default/grub.d/50-rootvol.cfg").contains("quiet"));
    let made = kept("a").file("boot/grub2/grub.cfg", "b").prepare(&Options::default()).unwrap();
    assert!(made.has_note("ImportImage refuses several"));
    // An empty file is none.
    assert!(kept("").prepare(&Options::default()).unwrap().root("boot/grub/grub.cfg").contains("menuentry"));
}

#[test]
fn fstab_is_made_where_it_has_no_entries_and_kept_where_it_has() {
    let lines = "UUID=66666666-7777-8888-8999-aaaaaaaaaaaa\t/\text4\trw,errors=remount-ro\t0\t1\nUUID=12AB-34CD\t/boot/efi\tvfat\tumask=0077,nofail\t0\t2\n";
    for (old, expected) in [
        (None, lines.to_owned()),
        (Some(""), lines.to_owned()),
        (Some("# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"), lines.to_owned()),
        (Some("  \n# by hand"), format!("# by hand\n{lines}")),
    ] {
        let mut fake = Fake::debian_grub();
        if let Some(old) = old {
            fake = fake.file("etc/fstab", old);
        }
        assert_eq!(fake.prepare(&Options::default()).unwrap().root("etc/fstab"), expected, "{old:?}");
    }
    let made = Fake::debian_grub().file("etc/fstab", "/dev/sda1 / ext4 rw 0 1\n").prepare(&Options::default()).unwrap();
    assert_eq!(made.root("etc/fstab"), "/dev/sda1 / ext4 rw 0 1\n");
    assert!(made.has_note("names the root as /dev/sda1") && made.has_note("no line for the ESP"), "{:?}", made.prepared.notes);
    let made = Fake::debian_grub().file("etc/fstab", "tmpfs /tmp tmpfs\nUUID=0000-0000 /efi vfat\n").prepare(&Options::default()).unwrap();
    assert_eq!(made.prepared.esp_mount_point, b"efi");
    assert!(made.has_note("no line for /") && made.has_note("the ESP is UUID=12AB-34CD"), "{:?}", made.prepared.notes);
    let made = Fake::debian_grub().file("etc/fstab", lines).prepare(&Options::default()).unwrap();
    assert!(!made.has_note("fstab"), "{:?}", made.prepared.notes);

    let (tree, mut store) = Fake::debian_grub().done();
    let mount = Mount { what: "UUID=x".into(), mount_point: "/srv/a b".into(), filesystem: "ext4".into(), options: "rw".into(), pass: 2 };
    let prepared = prepare(tree, None, &mut store, &Options::default(), &Identities { mounts: vec![mount], ..ids() }).unwrap();
    assert!(text(&prepared.root, &store, "etc/fstab").unwrap().ends_with("UUID=x\t/srv/a\\040b\text4\trw\t0\t2\n"));
}

#[test]
fn files_that_are_there_keep_owner_and_mode_and_links_are_followed() {
    let mut fake = Fake::debian_grub().file("etc/fstab.real", "").link("etc/fstab", "fstab.real");
    let (id, _) = fake.tree.get("etc/fstab.real").unwrap();
    fake.tree.set_metadata(id, Metadata { mode: 0o600, uid: 7, gid: 8, ..Metadata::default() }).unwrap();
    let made = fake.prepare(&Options::default()).unwrap();
    let root = &made.prepared.root;
    assert_eq!(root.target(root.lookup("etc/fstab").unwrap()), b"fstab.real");
    assert!(Fake::debian_grub().folder("etc/fstab").prepare(&Options::default()).is_err());
    let metadata = root.node(root.lookup("etc/fstab.real").unwrap()).metadata;
    assert_eq!((metadata.mode, metadata.uid, metadata.gid, metadata.mtime), (0o600, 7, 8, ids().epoch));
    let made_folder = root.node(root.lookup("boot/grub").unwrap());
    assert_eq!((made_folder.metadata.mode, made_folder.metadata.mtime, made_folder.implied), (0o755, ids().epoch, false));
}

#[test]
fn what_the_tree_has_beneath_the_mount_point_goes_to_the_esp() {
    let tree = || Fake::debian_grub().file("boot/efi/efi/boot/bootx64.efi", "old").file("boot/efi/efi/tool.efi", "tool").folder("boot/efi/empty");
    let made = tree().prepare(&Options::default()).unwrap();
    // FAT knows no case: ours go into the folders that are there.
    assert_eq!(
        made.esp_files(),
        ["efi/boot/bootx64.efi", "efi/boot/grub.cfg", "efi/boot/grubx64.efi", "efi/boot/mmx64.efi", "efi/debian/grub.cfg", "efi/tool.efi"]
    );
    assert!(made.prepared.esp.lookup("empty").is_some());
    assert_eq!(made.esp("efi/tool.efi"), "tool");
    assert!(made.has_note("replaced /efi/boot/bootx64.efi on the ESP"), "{:?}", made.prepared.notes);
    // A caller who parted the trees already gets the same.
    let (whole, mut store) = tree().done();
    let (root, esp) = esp::split(whole, b"boot/efi", ids().epoch).unwrap();
    let parted = prepare(root.freeze().unwrap(), Some(&esp.freeze().unwrap()), &mut store, &Options::default(), &ids()).unwrap();
    assert_eq!(parted.esp, made.prepared.esp);
    assert_eq!(parted.root, made.prepared.root);
    assert!(tree().file("boot/efi/efi/debian/grub.cfg/x", "").prepare(&Options::default()).is_err());
}

#[test]
fn the_esp_is_mounted_where_options_fstab_or_tree_say() {
    let at = |fake: Fake, given: Option<&str>| {
        let (tree, store) = fake.done();
        let options = Options { esp_mount_point: given.map(|path| path.as_bytes().to_vec()), ..Options::default() };
        esp_mount_point(&tree, &store, &options).map(|path| String::from_utf8(path).unwrap())
    };
    assert_eq!(at(Fake::new(), None).unwrap(), "boot/efi");
    assert_eq!(at(Fake::new().folder("efi"), None).unwrap(), "efi");
    assert_eq!(at(Fake::new().folder("efi").folder("boot/efi"), None).unwrap(), "boot/efi");
    assert_eq!(at(Fake::new().folder("boot/efi").link("efi", "boot/efi"), Some("/efi/")).unwrap(), "boot/efi");
    assert_eq!(at(Fake::new().file("etc/fstab", "UUID=1234-ABCD /efi vfat\n"), None).unwrap(), "efi");
    assert_eq!(at(Fake::new(), Some("/esp")).unwrap(), "esp");
    for bad in ["/", "", "/a/../b", "/etc/x"] {
        assert!(at(Fake::new().file("etc/x", ""), Some(bad)).is_err(), "{bad}");
    }
    let (kind, _) = Fake::debian_grub().refusal(&Options { esp_mount_point: Some(b"/boot".to_vec()), ..Options::default() });
    assert_eq!(kind, ErrorKind::Unsupported);
}

#[test]
fn mending_makes_what_a_container_lacks_and_drops_its_mark() {
    let mut tree = Fake::new().folder("proc").link("run", "var/run").file(".dockerenv", "").tree;
    let notes = mend(&mut tree, ids().epoch).unwrap();
    assert_eq!(notes, ["made /dev, /sys, /tmp, which the tree lacked", "dropped /.dockerenv: a machine is no container"]);
    assert!(mend(&mut tree, ids().epoch).unwrap().is_empty());
    let tree = tree.freeze().unwrap();
    assert_eq!(tree.node(tree.lookup("tmp").unwrap()).metadata.mode, 0o1777);
    assert!(tree.lookup(".dockerenv").is_none());
}

#[test]
fn a_tree_without_init_is_told_so() {
    let made = Fake::debian_grub().without("sbin/init").prepare(&Options::default()).unwrap();
    assert!(made.has_note("/sbin/init"));
    let made = Fake::debian_grub().without("sbin/init").prepare(&Options { cmdline: Some("rw init=/app".into()), ..Options::default() }).unwrap();
    assert!(!made.has_note("/sbin/init"));
    let made = Fake::debian().file(SD_BOOT, systemd_boot(AMD64)).prepare(&Options::default()).unwrap();
    assert!(made.has_note("later kernels reach the ESP only with Debian's package systemd-boot"));
}

#[test]
fn the_same_tree_gives_the_same_trees() {
    let make = || Fake::debian_grub().prepare(&Options::default()).unwrap();
    let (a, b) = (make(), make());
    assert_eq!((a.prepared.root.digest(), a.prepared.esp.digest()), (b.prepared.root.digest(), b.prepared.esp.digest()));
}
