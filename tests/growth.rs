//! Growth: the disk is enlarged, and the running kernel of a guest (QEMU) grows the mounted filesystems to its new size: growpart
//! and resize2fs for every shape of [`SHAPES`], 1 GiB → 100 GiB → 2 TiB, and systemd's own growfs. Judged from outside
//! afterwards: sgdisk, sfdisk, e2fsck, dumpe2fs, and debugfs for the contents.

#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{judge, lab, run, text, tool};
use rootvol::units::{GIB, MIB, TIB};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A partition may end this much before what a GPT leaves to it: sfdisk aligns ends too.
const TAIL_MAX_BYTES: u64 = 2 * MIB;

/// A filesystem that has to grow.
struct Shape {
    name: &'static str,
    /// Lines of `[partition.ext4]` in its recipe.
    ext4: &'static str,
    /// The size of its disk when it is built.
    built: &'static str,
    /// What its disk is enlarged to, boot after boot.
    grown: &'static [u64],
}

/// All but the first are further disks of one guest, whose root filesystem is the first. Growth to 2 TiB takes ten seconds and
/// more for each, that to 100 GiB a second or two.
const SHAPES: &[Shape] = &[
    // Descriptors are reserved for growth to 1,024 times the size; beyond, the kernel changes to meta_bg: here at 1 TiB,
    Shape { name: "default", ext4: "", built: "1 GiB", grown: &[100 * GIB, 2 * TIB] },
    // and here at 64 GiB.
    Shape { name: "tiny", ext4: "", built: "64 MiB", grown: &[100 * GIB] },
    Shape { name: "no-journal", ext4: "journal = \"none\"", built: "1 GiB", grown: &[100 * GIB] },
    Shape { name: "lazy-tables", ext4: "lazy_inode_tables = true", built: "1 GiB", grown: &[100 * GIB] },
    Shape { name: "modern", ext4: "features = \"modern\"", built: "1 GiB", grown: &[100 * GIB] },
    Shape { name: "meta-bg", ext4: "features = [\"meta_bg\"]", built: "1 GiB", grown: &[100 * GIB] },
    // Groups of 8 MiB, so many that growth takes its time; 33 GiB are reserved.
    Shape { name: "small-blocks", ext4: "block_size = 1024", built: "1 GiB", grown: &[40 * GIB] },
];

/// A disk image, and the partition in it that grows.
struct Image {
    path: PathBuf,
    partition: u32,
    /// Its contents as they were built, extracted.
    built: PathBuf,
}

impl Image {
    /// Builds the recipe `text` in `folder` and extracts what the partition holds, but for the entries of its root directory that
    /// the guest's system will write to.
    fn build(folder: &Path, name: &str, partition: u32, text: &str, changing: &[&str]) -> Self {
        let (recipe, path) = (folder.join(format!("{name}.toml")), folder.join(format!("{name}.raw")));
        fs::write(&recipe, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
        command.arg("build").arg("--recipe").arg(recipe).arg("-o").arg(&path);
        for tree in TREES.iter().filter_map(|name| lab(name)) {
            command.arg("--allow-source").arg(tree.canonicalize().unwrap().parent().unwrap());
        }
        run(&mut command);
        let image = Self { path, partition, built: folder.join(format!("{name}.built")) };
        let mut entries = image.entries();
        entries.retain(|name| !changing.contains(&name.as_str()));
        assert!(!entries.is_empty());
        image.extract(&entries, &image.built);
        image
    }

    fn enlarge(&self, bytes: u64) {
        File::options().write(true).open(&self.path).unwrap().set_len(bytes).unwrap();
    }

    /// Start and size of the partition in bytes, from sfdisk.
    fn place(&self) -> (u64, u64) {
        let table: serde_json::Value = serde_json::from_str(&text(judge("sfdisk").unwrap().arg("--json").arg(&self.path))).unwrap();
        let index = usize::try_from(self.partition - 1).unwrap();
        let sectors = |name: &str| table["partitiontable"]["partitions"][index][name].as_u64().unwrap();
        (sectors("start") * 512, sectors("size") * 512)
    }

    /// The filesystem, as e2fsprogs name one that lies in a disk.
    fn filesystem(&self) -> String {
        format!("{}?offset={}", self.path.display(), self.place().0)
    }

    fn debugfs(&self, request: &str) -> String {
        text(judge("debugfs").unwrap().arg("-R").arg(request).arg(self.filesystem()))
    }

    /// Names in the root directory.
    fn entries(&self) -> Vec<String> {
        let listing = self.debugfs("ls -p /");
        let names = listing.lines().filter_map(|line| line.split('/').nth(5)).map(str::to_owned);
        names.filter(|name| !matches!(name.as_str(), "" | "." | ".." | "lost+found")).collect()
    }

    /// Extracts these entries of the root directory into the folder `to`.
    fn extract(&self, entries: &[String], to: &Path) {
        fs::create_dir(to).unwrap();
        let paths: String = entries.iter().fold(String::new(), |mut paths, name| {
            write!(paths, " /{name}").unwrap();
            paths
        });
        // It complains of owners that only root can give.
        self.debugfs(&format!("rdump{paths} {}", to.display()));
    }

    /// What holds after growth to a disk of `disk_bytes`, whoever grew it.
    fn judge(&self, disk_bytes: u64) {
        let shown = self.path.display();
        let found = text(judge("sgdisk").unwrap().arg("-v").arg(&self.path));
        assert!(found.contains("No problems found"), "{shown}: sgdisk: {found}");
        let found = text(judge("sfdisk").unwrap().arg("--verify").arg(&self.path));
        assert!(found.contains("No errors detected"), "{shown}: sfdisk: {found}");
        let (start, size) = self.place();
        assert!((disk_bytes - TAIL_MAX_BYTES..disk_bytes).contains(&(start + size)), "{shown}: partition from {start}, {size} bytes, of {disk_bytes}");

        let checked = judge("e2fsck").unwrap().arg("-fn").arg(self.filesystem()).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("ix? no"), "{shown}: e2fsck: {said}");

        let header = self.header();
        // resize2fs rounds down to pages.
        assert_eq!(number(&header, "Block count") * number(&header, "Block size"), size / 4096 * 4096, "{shown}: the filesystem fills its partition\n{header}");
        assert!(field(&header, "Filesystem state") == "clean" && !header.contains("FS Error count"), "{shown}:\n{header}");
        self.compare_with_built();
    }

    fn header(&self) -> String {
        text(judge("dumpe2fs").unwrap().arg("-h").arg(self.filesystem()))
    }

    /// What was built is there still, and unchanged.
    fn compare_with_built(&self) {
        let now = self.built.with_extension("now");
        let entries: Vec<String> = fs::read_dir(&self.built).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        self.extract(&entries, &now);
        run(Command::new("diff").args(["-r", "--no-dereference"]).arg(&self.built).arg(&now));
        fs::remove_dir_all(now).unwrap();
    }

    /// What `grow_in_guest.sh` has written in its boots until `boots`: by its own sums, and far away where it said so.
    fn judge_written(&self, boots: usize, built_blocks: u64) {
        let to = self.built.with_extension("written");
        let entries: Vec<String> = (1..=boots).map(|boot| format!("grown-{boot}")).collect();
        self.extract(&entries, &to);
        for folder in &entries {
            run(Command::new("md5sum").args(["--quiet", "-c", "sums"]).current_dir(to.join(folder)));
        }
        fs::remove_dir_all(to).unwrap();
        let header = self.header();
        if !field(&header, "Filesystem features").contains("extent") {
            return;
        }
        let (blocks, block_bytes) = (number(&header, "Block count"), number(&header, "Block size"));
        for boot in 1..=boots {
            let status = self.debugfs(&format!("stat /far-{boot}"));
            let size: u64 = status.split_once("Size: ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap().parse().unwrap();
            let last = self.debugfs(&format!("bmap /far-{boot} {}", size / block_bytes - 1)).trim().parse::<u64>().unwrap();
            assert!((built_blocks..blocks).contains(&last), "{}: far-{boot} ends in block {last} of {blocks}; {built_blocks} were built", self.path.display());
        }
    }
}

/// The value that `dumpe2fs -h` gives for `name`.
fn field<'a>(header: &'a str, name: &str) -> &'a str {
    let line = header.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("dumpe2fs gives no {name}:\n{header}")).trim()
}

fn number(header: &str, name: &str) -> u64 {
    field(header, name).parse().unwrap()
}

/// What guests are made of.
const TREES: [&str; 2] = ["debian.tar", "growth-tools.tar"];

/// Whether everything is here that grows and judges, or visible skips; with the trees for the guests.
fn ready() -> Option<(PathBuf, PathBuf)> {
    let judges = ["qemu-system-x86_64", "sgdisk", "sfdisk", "e2fsck", "dumpe2fs", "debugfs"];
    let missing = judges.iter().filter(|name| judge(name).is_none()).count();
    let trees = (lab(TREES[0])?.canonicalize().unwrap(), lab(TREES[1])?.canonicalize().unwrap());
    (missing == 0).then_some(trees)
}

/// Boots an image until `marker` and the guest's own power off, and gives what the guest printed, which is shown if anything fails.
fn boot(image: &Path, marker: &str, settings: &[(&str, &str)]) -> String {
    let log = image.with_extension("serial.log");
    let mut command = tool("boot_image.sh");
    command.arg(image).args(["raw", "uefi", marker]).envs([("WRITE", "1"), ("WAIT_POWEROFF", "1"), ("TIMEOUT", "600")]).env("SERIAL_LOG", &log);
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let serial = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    assert!(output.status.success(), "{}\n--- the whole serial log:\n{serial}", String::from_utf8_lossy(&output.stderr));
    serial
}

/// A folder with files of many sizes, deep folders, a hole: what has to outlive growth.
fn sample(at: &Path) {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..4 << 20).map(|_| next()).collect()
    });
    fs::create_dir_all(at.join("many")).unwrap();
    for n in 0..1000 {
        fs::write(at.join(format!("many/file {n}")), &noise[n..n + n * 7]).unwrap();
    }
    let deep = at.join("deep/".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "found").unwrap();
    fs::write(at.join("large"), noise.repeat(4)).unwrap();
    File::create(at.join("hole")).unwrap().set_len(5 << 20).unwrap();
    std::os::unix::fs::symlink("large", at.join("symlink")).unwrap();
}

/// The recipe of a disk with one data filesystem.
fn data_recipe(shape: &Shape) -> String {
    format!(
        r#"
name = "growth-{}"
[disk]
format = "raw"
size = "{}"
[[partition]]
type = "linux"
size = "fill"
source = "sample"
owner = "0:0"
[partition.ext4]
{}
"#,
        shape.name, shape.built, shape.ext4
    )
}

/// The recipe of a bootable disk from the Debian tree and the tools; `rest` are its further lines.
fn bootable_recipe(name: &str, (debian, tools): &(PathBuf, PathBuf), size: &str, exclude: &str, rest: &str) -> String {
    format!(
        r#"
name = "{name}"
[disk]
format = "raw"
size = "{size}"
[[partition]]
type = "esp"
size = "64 MiB"
[[partition]]
type = "root"
size = "fill"
uuid = "{ROOT_PARTUUID}"
source = ["{}", "{}"]
exclude = [{exclude}]
{rest}
"#,
        debian.display(),
        tools.display()
    )
}

const ROOT_PARTUUID: &str = "5a0e3c52-6f4b-4c0b-9a51-3a6f0a8e7d11";

/// The guest of [`SHAPES`]: a small tree whose init is `grow_in_guest.sh`.
fn small_recipe(shape: &Shape, trees: &(PathBuf, PathBuf)) -> String {
    let exclude = r#""usr/lib/modules/**", "usr/lib/udev/**", "usr/lib/grub/**", "usr/lib/shim/**", "usr/share/**", "boot/initrd*", "var/lib/dpkg/**""#;
    let rest = format!(
        r#"
[partition.ext4]
{}
[boot]
loader = "systemd-boot"
initramfs = "none"
cmdline = "rw console=ttyS0 init=/grow_in_guest.sh"
[[file]]
path = "/grow_in_guest.sh"
source = "grow_in_guest.sh"
mode = "0755"
"#,
        shape.ext4
    );
    bootable_recipe(&format!("growth-{}", shape.name), trees, shape.built, exclude, &rest)
}

/// Settings of `boot_image.sh`: every image a namespace of one further NVMe controller.
fn as_disks(images: &[&Image]) -> String {
    images.iter().zip(1..).fold("-device nvme,id=more,serial=more".to_owned(), |mut extra, (image, at)| {
        let path = image.path.display();
        // What the kernel zeroes stays a hole in the file.
        write!(extra, " -drive if=none,id=m{at},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap,file={path}").unwrap();
        write!(extra, " -device nvme-ns,drive=m{at},bus=more,nsid={at}").unwrap();
        extra
    })
}

#[test]
fn growpart_and_resize2fs_grow_every_shape_from_1_gib_to_100_gib_and_on_to_2_tib() {
    let Some(trees) = ready() else { return };
    let folder = tempfile::tempdir().unwrap();
    sample(&folder.path().join("sample"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/grow_in_guest.sh"), folder.path().join("grow_in_guest.sh")).unwrap();
    let build = |(at, shape): (usize, &Shape)| match at {
        0 => Image::build(folder.path(), shape.name, 2, &small_recipe(shape, &trees), &[]),
        _ => Image::build(folder.path(), shape.name, 1, &data_recipe(shape), &[]),
    };
    let images: Vec<Image> = SHAPES.iter().enumerate().map(build).collect();
    let built: Vec<u64> = images.iter().map(|image| number(&image.header(), "Block count")).collect();

    for step in 0..SHAPES[0].grown.len() {
        let growing: Vec<(usize, u64)> = SHAPES.iter().enumerate().filter_map(|(at, shape)| Some((at, *shape.grown.get(step)?))).collect();
        for (at, bytes) in &growing {
            images[*at].enlarge(*bytes);
        }
        let others: Vec<&Image> = growing[1..].iter().map(|(at, _)| &images[*at]).collect();
        boot(&images[0].path, "ROOTVOL-GROWTH-OK", &[("QEMU_EXTRA", &as_disks(&others)), ("MEM", "1024")]);
        for (at, bytes) in growing {
            images[at].judge(bytes);
            images[at].judge_written(step + 1, built[at]);
        }
    }
}

/// As cloud images do it: a unit of the guest grows the partition, fstab asks systemd to grow the filesystem behind it.
const GROWFS: &str = r#"
[partition.ext4]
uuid = "7d1f0c1e-2f8e-4e3e-8f5a-0d6b0a1c9e42"
[boot]
loader = "systemd-boot"
initramfs = "none"
cmdline = "rw console=ttyS0 rootvol.heavy"
[[file]]
path = "/etc/fstab"
content = "UUID=7d1f0c1e-2f8e-4e3e-8f5a-0d6b0a1c9e42 / ext4 rw,x-systemd.growfs 0 1\n"
[[file]]
path = "/etc/systemd/system/grow-partition.service"
content = """
[Unit]
Description=Grow the partition of the root filesystem
DefaultDependencies=no
After=systemd-remount-fs.service
Before=systemd-growfs@-.service systemd-growfs-root.service
[Service]
Type=oneshot
ExecStart=/usr/bin/growpart /dev/nvme0n1 2
StandardOutput=journal+console
"""
[[file]]
path = "/etc/systemd/system/local-fs.target.wants/grow-partition.service"
symlink = "../grow-partition.service"
[[file]]
path = "/etc/rootvol-extra"
mode = "0755"
content = """
#!/bin/sh
systemctl show --property=Id,Result,ExecMainStatus,ActiveState 'systemd-growfs*' grow-partition.service
journalctl --no-pager --boot --unit 'systemd-growfs*' --unit grow-partition.service
"""
"#;

#[test]
fn systemd_grows_the_root_filesystem_from_1_gib_to_100_gib() {
    let Some(trees) = ready() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = Image::build(folder.path(), "growfs", 2, &bootable_recipe("growfs", &trees, "1 GiB", "", GROWFS), &["etc", "tmp", "var"]);
    image.enlarge(100 * GIB);
    let serial = boot(&image.path, "ROOTVOL-HEAVY-OK", &[]);
    assert!(serial.contains("Successfully resized \"/\""), "systemd-growfs did nothing:\n{serial}");
    assert!(serial.contains("rootvol: failed 0"), "units failed:\n{serial}");
    // That the copy of the GPT was not at the end of the enlarged disk is expected.
    let complaint = serial.lines().find(|line| line.starts_with("rootvol: klog") && !line.contains("GPT:"));
    assert_eq!(complaint, None, "the guest's kernel complained:\n{serial}");
    image.judge(100 * GIB);
}
