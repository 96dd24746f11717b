//! Every command and code block of the README runs here (the test command itself is run by `.ci/run`).

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, unreachable_pub, reason = "a test: it may panic and print")]

mod common;

use common::{lab, run};
use rootvol::{Format, Size};
use std::fs;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");

/// The fenced block behind the line `<!-- marker -->`.
fn block(marker: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("<!-- {marker} -->\n")).unwrap_or_else(|| panic!("README has no block {marker}"));
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0
}

/// The README's program, line by line.
fn program() -> Result<(), Box<dyn std::error::Error>> {
    // readme: begin
    let tree = rootvol::source::open("rootfs.tar.zst")?;
    let disk = rootvol::DiskSpec::bootable(tree).name("web").free(Size::gib(1)).plan()?; // nothing is written yet
    println!("{disk}"); // map, sizes, loader, kernel
    let report = disk.write_file("web.vhd", Format::Vhd)?; // atomic, hashed
    let request = report.import_image("my-bucket", "images/web.vhd")?;
    std::fs::write("import-image.json", request.to_json())?;
    // readme: end
    Ok(())
}

#[test]
fn the_program_is_the_readme_s_and_runs() {
    let own = include_str!("readme.rs");
    let (_, rest) = own.split_once("// readme: begin\n").unwrap();
    let (code, _) = rest.split_once("    // readme: end").unwrap();
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeeze(code), squeeze(block("first-program")), "README and tests/readme.rs differ");
    let Some(tar) = lab("debian.tar") else { return };
    let folder = tempfile::tempdir().unwrap();
    let packed = zstd::encode_all(fs::File::open(tar).unwrap(), 1).unwrap();
    fs::write(folder.path().join("rootfs.tar.zst"), packed).unwrap();
    std::env::set_current_dir(folder.path()).unwrap();
    program().unwrap();
    let request: serde_json::Value = serde_json::from_slice(&fs::read("import-image.json").unwrap()).unwrap();
    assert_eq!(request["DiskContainers"][0]["UserBucket"]["S3Key"], "images/web.vhd");
    std::env::set_current_dir("/").unwrap();
}

#[test]
fn the_first_command_makes_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let command = block("first-image").trim().replace("cargo run --release --", env!("CARGO_BIN_EXE_rootvol"));
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), folder.path().join("src")).unwrap();
    let output = run(Command::new("sh").arg("-ec").arg(command).current_dir(folder.path()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ext4") && said.contains("Next:"), "{said}");
    assert!(folder.path().join("first.vhd").exists());
}

/// The Debian walk-through, with the tree that is there already; its scripts are the ones that CI has run.
#[test]
fn the_debian_steps_name_what_there_is() {
    let steps = block("debian");
    for step in steps.lines() {
        let program = step.split_whitespace().find(|word| !word.contains('=')).unwrap();
        if program.contains('/') {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(program).exists(), "{program} is not there");
        }
    }
    let Some(tar) = lab("debian.tar") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("target/lab")).unwrap();
    std::os::unix::fs::symlink(tar, folder.path().join("target/lab/debian.tar")).unwrap();
    let build = steps.lines().find(|line| line.contains("-- build")).unwrap().replace("cargo run --release --", env!("CARGO_BIN_EXE_rootvol"));
    run(Command::new("sh").arg("-ec").arg(build).current_dir(folder.path()));
    for companion in ["", ".report.json", ".blocks.jsonl", ".import-image.json", ".containers.json", ".import-snapshot.json", ".register-image.json"] {
        assert!(folder.path().join(format!("web.vhd{companion}")).exists(), "web.vhd{companion} is not there");
    }
}

/// The three ways to a disk's aggregate agree.
#[test]
fn the_checksums_of_an_image_agree() {
    let Some(_) = common::judge("qemu-img") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rootfs")).unwrap();
    fs::write(folder.path().join("rootfs/file"), "contents").unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    run(build.args(["build", "rootfs", "--owner", "0:0", "--size", "64 MiB", "-o", "web.vhd"]).current_dir(folder.path()));
    let bin = Path::new(env!("CARGO_BIN_EXE_rootvol")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let said = common::text(Command::new("sh").arg("-ec").arg(block("checksum")).env("PATH", path).current_dir(folder.path()));
    let aggregate = said.lines().last().unwrap();
    assert!(said.contains(&format!("LINEAR {aggregate}")) && said.contains(&format!("\"linear_checksum\": \"{aggregate}\"")), "{said}");
    assert!(folder.path().join("web.blocks.jsonl").exists());
}

/// The tour of what looks into images, on an image that the README's own walk-through would make.
#[test]
fn looking_into_images_works_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian\"\n"), ("usr/bin/true", "#!/bin/sh\n")] {
        let path = folder.path().join("rootfs").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir(folder.path().join("esp")).unwrap();
    fs::write(folder.path().join("esp/file.txt"), "on the ESP").unwrap();
    let recipe = "[boot]\nmode = \"none\"\n[[partition]]\ntype = \"esp\"\nsource = \"esp\"\n[[partition]]\ntype = \"root-x86-64\"\nsource = \"rootfs\"\nowner = \"0:0\"\n";
    fs::write(folder.path().join("web.toml"), recipe).unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    run(build.args(["build", "--recipe", "web.toml", "-o", "web.vhd"]).current_dir(folder.path()));
    let bin = Path::new(env!("CARGO_BIN_EXE_rootvol")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    // Without a kernel in the tree the new image is a data disk.
    let said = common::text(Command::new("sh").arg("-ec").arg(block("looking")).env("PATH", path).current_dir(folder.path()));
    for part in ["system on partition 2: Debian", "etc/os-release", "ID=debian", "\"sha256\":\"", "nothing is wrong", "2 GiB", "a new snapshot would store"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("etc/etc/os-release")).unwrap(), "ID=debian\nPRETTY_NAME=\"Debian\"\n");
    assert!(folder.path().join("web.tar.zst").exists());
}

/// The next version of an image, with a parent.
#[test]
fn versions_stay_close_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(fs::File::create(folder.path().join("rootfs.tar")).unwrap());
    for (path, text) in [("etc/hostname", "web\n"), ("usr/bin/true", "#!/bin/sh\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(text.len().try_into().unwrap());
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.finish().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_rootvol")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let said = common::text(Command::new("sh").arg("-ec").arg(block("versions")).env("PATH", path).current_dir(folder.path()));
    assert!(said.contains("0 blocks of 512 KiB differ"), "{said}");
    let [one, two, three] = ["web-1.vhd", "web-2.vhd", "web-3.vhd"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert!(one == two && two == three, "the same tree gives the same image");
}

/// The loop of a first boot; in place of the boot a trace of everything that the image holds.
#[test]
fn the_steps_of_a_first_boot_work_as_they_are_written() {
    let Some(tar) = lab("debian.tar") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(tar, folder.path().join("debian.tar")).unwrap();
    let (boots, steps): (Vec<&str>, Vec<&str>) = block("first-boot").lines().partition(|line| line.starts_with("QEMU_EXTRA="));
    let script = boots[0].split_whitespace().find(|word| word.ends_with("boot_image.sh")).unwrap();
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(script).exists(), "{script} is not there");
    let bin = Path::new(env!("CARGO_BIN_EXE_rootvol")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| common::text(Command::new("sh").arg("-ec").arg(script).env("PATH", &path).current_dir(folder.path()));
    shell(steps[0]);
    let blocks = fs::read_to_string(folder.path().join("web.raw.blocks.jsonl")).unwrap();
    let held = blocks.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).filter(|line| line["state"] == "data");
    let trace: String = held.map(|line| format!("{} 524288\n", line["index"].as_u64().unwrap() * 524_288)).collect();
    fs::write(folder.path().join("boot.trace"), trace).unwrap();
    let said = shell(&steps[1..].join("\n"));
    assert!(said.contains("512 KiB") && folder.path().join("web-2.raw").exists(), "{said}");
    let order = fs::read_to_string(folder.path().join("web.order")).unwrap();
    assert!(order.contains("/usr/lib/systemd/systemd\n"), "{order}");
}

#[test]
fn the_recipe_builds() {
    let recipe = block("recipe");
    rootvol::recipe::Recipe::parse(recipe, "image.toml").unwrap();
    let Some(tar) = lab("debian.tar") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("image.toml"), recipe).unwrap();
    // A link out of the recipe's folder has to be allowed.
    std::os::unix::fs::symlink(&tar, folder.path().join("debian.tar")).unwrap();
    let allowed = tar.canonicalize().unwrap().parent().unwrap().to_path_buf();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    run(command.args(["build", "--recipe", "image.toml", "-o", "web.vhd", "--allow-source"]).arg(allowed).current_dir(folder.path()));
    assert!(folder.path().join("web.vhd.import-image.json").exists());
}

#[test]
fn the_settings_of_ext4_are_a_recipe_s_and_build() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rootfs")).unwrap();
    fs::write(folder.path().join("rootfs/file"), "contents").unwrap();
    fs::write(folder.path().join("image.toml"), format!("name = \"data\"\n{}", block("ext4"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    let output = run(command.args(["plan", "--recipe", "image.toml"]).current_dir(folder.path()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("inode tables") && said.contains("journal"), "{said}");
    // The long run is of a test that there is.
    assert!(block("long").contains("--test ext4 random") && include_str!("ext4/random.rs").contains("PROPTEST_CASES"));
}

/// What a bench says of small inputs, one run each, with the program that the tests have: that it works, not how fast it is.
fn quick(script: &str, more: &[&str]) -> Option<String> {
    let (true, Some(tar), Some(mut python)) = (common::root(), lab("debian.tar"), common::judge("python3")) else { return None };
    let folder = tempfile::tempdir().unwrap();
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).arg(tar).args(["--quick", "--runs", "1", "--work"]).arg(folder.path());
    Some(common::text(python.args(["--rootvol", env!("CARGO_BIN_EXE_rootvol")]).args(more)))
}

#[test]
fn the_bench_of_whole_jobs_prints_its_tables() {
    let said = block("bench");
    for line in [
        "cargo build --release && benches/peers.sh",
        "benches/jobs.py target/lab/debian.tar --work /dev/shm",
        "benches/scaling.py target/lab/debian.tar --work /dev/shm",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}");
    }
    let Some(said) = quick("benches/jobs.py", &[]) else { return };
    for job in ["debian", "deep", "small", "directory", "checksum"] {
        assert!(said.contains(&format!("\n## {job}: ")), "{job} is not in: {said}");
    }
    assert!(said.contains("| rootvol, dynamic VHD |") && said.contains("| rootvol checksum, 2 threads |"), "{said}");
}

#[test]
fn the_bench_of_scaling_prints_its_tables() {
    let Some(said) = quick("benches/scaling.py", &[]) else { return };
    for job in ["threads", "data", "entries", "disk"] {
        assert!(said.contains(&format!("\n## {job}: ")), "{job} is not in: {said}");
    }
}

#[test]
fn the_bench_of_lint_prints_its_tables() {
    let Some(said) = quick("benches/lint.py", &[]) else { return };
    for heading in ["## lint: a directory of 20,000 files", "## lint: an image of it"] {
        assert!(said.contains(heading), "{heading}: {said}");
    }
}

#[test]
fn the_bench_of_reading_prints_its_tables() {
    let Some(said) = quick("benches/reading.py", &[]) else { return };
    for job in ["list", "convert", "extract"] {
        assert!(said.contains(&format!("\n## {job}: ")), "{job} is not in: {said}");
    }
}

/// Counts, not times: that versions stay close is held here too.
#[test]
fn the_bench_of_next_versions_counts_few_blocks() {
    assert!(block("bench").contains("benches/next_version.py target/lab/debian.tar --work /dev/shm"));
    let (Some(tar), Some(mut python)) = (lab("debian.tar"), common::judge("python3")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/next_version.py")).arg(tar).arg("--work").arg(folder.path());
    python.args(["--kind", "percent,one-byte", "--runs", "1", "--rootvol", env!("CARGO_BIN_EXE_rootvol"), "--json"]).arg(&json);
    let said = common::text(&mut python);
    assert!(said.contains("## percent: "), "{said}");
    let figures: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    for (kind, way, most) in [
        ("percent", "rootvol, disk", 150),
        ("percent", "rootvol --parent, disk", 80),
        ("one-byte", "rootvol, disk", 6),
        ("one-byte", "rootvol --parent, disk", 6),
    ] {
        let differ = figures[kind][way]["differ"].as_u64().unwrap();
        assert!((1..=most).contains(&differ), "{kind}, {way}: {differ} blocks differ, at most {most} should; {said}");
    }
}

/// With a trace that says that all of the image was read, in place of a boot.
#[test]
fn the_bench_of_first_boots_prints_its_table() {
    assert!(block("bench").contains("benches/first_boot.py target/lab/debian.tar --work /dev/shm"));
    let (Some(tar), Some(mut python), Some(_)) = (lab("debian.tar"), common::judge("python3"), common::judge("qemu-system-x86_64")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("boot.trace");
    // What the firmware and the loader look at, and the superblock.
    let reads = (0..2048_u64).map(|read| format!("blk_co_preadv blk 0x1 bs 0x2 offset {} bytes 4096 flags 0x0\n", read * 65_536 + 135_266_304));
    fs::write(&trace, reads.collect::<String>()).unwrap();
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/first_boot.py")).arg(tar).arg("--work").arg(folder.path());
    python.args(["--ways", "plain", "--rootvol", env!("CARGO_BIN_EXE_rootvol"), "--trace"]).arg(format!("plain={}", trace.display()));
    let said = common::text(&mut python);
    assert!(said.contains("| plain | 256 |"), "{said}");
}

#[test]
fn the_instructions_are_counted() {
    assert!(block("instructions").contains("benches/instructions.sh"));
    let (Some(_), Some(_)) = (common::judge("valgrind"), common::judge("python3")) else { return };
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.sh"));
    let said = common::text(script.args(["--rootvol", env!("CARGO_BIN_EXE_rootvol")]));
    assert!(said.contains("\ninstructions: "), "{said}");
}

/// One run over one case, without the others' programs, which `benches/peers.sh` builds from sources it fetches.
#[test]
fn the_bench_of_ext4_prints_its_table() {
    let (true, Some(tar), Some(python)) = (common::root(), lab("debian.tar"), common::judge("python3")) else { return };
    assert!(block("bench-ext4").contains("benches/peers.sh && benches/ext4.py target/lab/debian.tar --work"));
    let folder = tempfile::tempdir().unwrap();
    let mut python = python;
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/ext4.py")).arg(tar).args(["--cases", "a", "--runs", "1", "--work"]).arg(folder.path());
    let said = common::text(python.args(["--rootvol", env!("CARGO_BIN_EXE_rootvol"), "--peers", "nowhere"]));
    assert!(said.contains("| rootvol, tar |") && said.contains("the tree of the tar"), "{said}");
}

/// Documents and lint, of a Debian image.
#[test]
fn documents_and_lint_work_as_they_are_written() {
    let Some(tar) = lab("debian.tar") else { return };
    let Some(mut openssl) = common::judge("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    run(build.arg("build").arg(tar).args(["--name", "web", "-o", "web.vhd", "--quiet"]).current_dir(folder.path()));
    run(openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", "key.pem", "-out", "pk.pem"])
        .current_dir(folder.path()));
    for name in ["kek.pem", "db.pem"] {
        fs::copy(folder.path().join("pk.pem"), folder.path().join(name)).unwrap();
    }
    let bin = Path::new(env!("CARGO_BIN_EXE_rootvol")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |block: &str| common::text(Command::new("sh").arg("-ec").arg(block).env("PATH", &path).current_dir(folder.path()));
    shell(block("documents"));
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    assert_eq!(json("register-image.json")["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"], "snap-0123456789abcdef0");
    assert_eq!(json("launch-permission.json")["LaunchPermission"]["Add"][0]["UserId"], "123456789012");
    assert!(json("plan.json")["CompleteSnapshot"]["ChangedBlocksCount"].as_u64().unwrap() > 500);
    assert!(fs::read_to_string(folder.path().join("import.sh")).unwrap().contains("import-snapshot"));
    // AMZNUEFI in base64, but for its last character: that one also holds bits of the checksum behind it.
    assert!(fs::read_to_string(folder.path().join("uefi-data.txt")).unwrap().starts_with("QU1aTlVFRk"), "AMZNUEFI");
    let said = shell(block("lint"));
    assert!(said.contains("web") && said.contains("nvme-driver-missing (boot, error;"), "{said}");
    assert!(json("findings.json")["findings"].as_array().unwrap().iter().all(|finding| finding["rule"].is_string()));

    let recipe: rootvol::recipe::Recipe = rootvol::recipe::Recipe::parse(block("lint-recipe"), "README").unwrap();
    assert_eq!(recipe.lint.options().allow.len(), 1);
}

#[test]
fn every_code_block_is_known_to_these_tests() {
    let known = [
        "first-image",
        "first-program",
        "test-command",
        "debian",
        "recipe",
        "checksum",
        "looking",
        "documents",
        "lint",
        "lint-recipe",
        "bench",
        "bench-ext4",
        "instructions",
        "ext4",
        "long",
        "versions",
        "first-boot",
    ];
    let lines: Vec<&str> = README.lines().collect();
    let mut inside = false;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("```") {
            inside = !inside;
            if inside {
                let marker = lines[at - 1].trim_start_matches("<!-- ").trim_end_matches(" -->");
                assert!(known.contains(&marker), "the block at line {} has no marker that a test knows", at + 1);
            }
        }
    }
}
