//! The command `rootvol manifest`, and the documents that a build writes.

use crate::cases::{report, uefi_data};
use crate::common::{run, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

fn rootvol(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootvol"));
    command.current_dir(folder);
    command
}

/// A folder with a report.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.vhd.report.json"), report(&json!({})).to_json()).unwrap();
    let data = report(&json!({ "name": "data", "boot": null, "file": { "format": "vhd-fixed" } }));
    fs::write(folder.path().join("data.vhd.report.json"), data.to_json()).unwrap();
    fs::write(folder.path().join("vars"), uefi_data(64) + "\n").unwrap();
    folder
}

/// What a subcommand prints, as JSON.
fn document(folder: &Path, line: &str) -> Value {
    serde_json::from_str(&text(rootvol(folder).arg("manifest").args(line.split(' ')))).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn options_override_what_the_report_says() {
    let folder = folder();
    let at = folder.path();
    let import =
        document(at, "import-image web.vhd.report.json --bucket my-bucket --key k --name other --attempt 2 --tag a=b --data-disk data.vhd.report.json=d");
    assert_eq!((&import["Description"], &import["DiskContainers"][0]["DeviceName"]), (&json!("other"), &json!("/dev/sda1")));
    let disk = &import["DiskContainers"][1];
    assert_eq!((&disk["DeviceName"], &disk["Format"], &disk["UserBucket"]["S3Key"]), (&json!("/dev/sdf"), &json!("VHD"), &json!("d")));
    let list = document(at, "import-image web.vhd.report.json --url s3://my-bucket/k --disk-containers");
    assert_eq!(list[0]["Url"], "s3://my-bucket/k");
    let one = document(at, "import-snapshot data.vhd.report.json --bucket my-bucket --key k --disk-container");
    assert_eq!(one["UserBucket"]["S3Bucket"], "my-bucket");
    let register = document(at, "register-image web.vhd.report.json --snapshot snap-0abc --volume-size 20GiB --iops 4000 --uefi-data vars --imds-support none");
    let volume = &register["BlockDeviceMappings"][0]["Ebs"];
    assert_eq!((&volume["SnapshotId"], &volume["VolumeSize"], &volume["Iops"]), (&json!("snap-0abc"), &json!(20), &json!(4000)));
    assert_eq!((register["UefiData"].as_str(), register.get("ImdsSupport")), (Some(uefi_data(64).as_str()), None));
    let whole = document(at, "ami web.vhd.report.json --boot-mode uefi-preferred");
    assert_eq!((&whole["Name"], &whole["BootMode"]), (&json!("web-2026.11.1"), &json!("uefi-preferred")));
    let share = document(at, "launch-permission web.vhd.report.json --image-id ami-0abc --user 123456789012 --public --remove");
    assert_eq!(share, json!({ "ImageId": "ami-0abc", "LaunchPermission": { "Remove": [{ "Group": "all" }, { "UserId": "123456789012" }] } }));
    let deprecation = document(at, "deprecation web.vhd.report.json --deprecate-at 2030-01-01T00:00Z");
    assert_eq!(deprecation["DeprecateAt"], "2030-01-01T00:00:00Z");
    let protection = document(at, "deregistration-protection web.vhd.report.json --with-cooldown");
    assert_eq!(protection, json!({ "ImageId": "ami-00000000000000000", "WithCooldown": true }));
    let role = document(at, "vmimport-role --bucket my-bucket --source-account 123456789012");
    assert_eq!(role["RoleName"], "vmimport");
    assert_eq!(document(at, "vmimport-role web.vhd.report.json --bucket my-bucket --trust")["Version"], "2012-10-17");
    assert_eq!(document(at, "bucket-policy --bucket my-bucket --source-account 123456789012")["Statement"][2]["Effect"], "Deny");
    let request = document(at, "import-volume web.vhd.report.json --request --manifest-url https://m --availability-zone us-east-1a");
    assert_eq!((&request["Image"]["Bytes"], &request["Volume"]["Size"]), (&json!(1_300_000_000), &json!(2)));
    let xml = text(
        rootvol(at)
            .args("manifest import-volume web.vhd.report.json --part-key k --head-url https://h --get-url https://g --self-destruct-url https://s".split(' ')),
    );
    assert!(xml.starts_with("<?xml") && xml.contains("<key>k</key>"), "{xml}");
    let script =
        text(rootvol(at).args("manifest cli web.vhd.report.json --route ebs".split(' ')).args(["--device", "name = \"/dev/sdf\", volume_size = \"20 GiB\""]));
    assert!(script.contains("image=web.vhd\n") && script.contains("\"DeviceName\": \"/dev/sdf\"") && script.contains("rootvol convert"), "{script}");
}

#[test]
fn mistakes_have_their_exit_codes_and_warnings_go_to_standard_error() {
    let folder = folder();
    for (line, code, why) in [
        ("register-image web.vhd.report.json", 0, "snap-00000000000000000 stands for the snapshot"),
        ("deregistration-protection web.vhd.report.json", 0, "ami-00000000000000000 stands for the AMI"),
        ("register-image web.vhd.report.json --volume-size 1GiB", 1, "the image needs 2 GiB"),
        ("register-image data.vhd.report.json", 1, "data disk"),
        ("register-image nothing.report.json", 1, "cannot be read"),
        ("register-image web.vhd.report.json --volume-type gp4", 2, "unknown value `gp4`"),
        ("register-image web.vhd.report.json --device name=1", 2, "invalid"),
        ("register-image web.vhd.report.json --tag x", 2, "KEY=VALUE"),
        ("import-image web.vhd.report.json --bucket b", 2, "3 to 63"),
        ("import-image web.vhd.report.json --data-disk x", 2, "REPORT=KEY"),
        ("deprecation web.vhd.report.json --deprecate-at 2020-01-01", 2, "has passed"),
        ("deprecation web.vhd.report.json --deprecate-at tomorrow", 2, "2028-11-21T00:00:00Z"),
        ("launch-permission web.vhd.report.json", 1, "nobody"),
        ("bucket-policy --bucket my-bucket", 2, "--source-account"),
        ("cli web.vhd.report.json --route boat", 2, "unknown value `boat`"),
        ("unknown web.vhd.report.json", 2, "unrecognized"),
    ] {
        let output = rootvol(folder.path()).arg("manifest").args(line.split(' ')).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(why), "{line}: {said}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{line}");
    }
}

const RECIPE: &str = r#"
name = "data"
version = "7"
[disk]
size = "64 MiB"
[[partition]]
type = "linux"
source = "rootfs"
[boot]
mode = "none"
[ami]
architecture = "x86_64"
boot_mode = "uefi"
bucket = "my-bucket"
key = "images/data.vhd"
uefi_data_file = "vars"
deprecate_at = "2030-01-01T00:00:00Z"
deregistration_protection = "enabled-with-cooldown"
script = ["import-snapshot", "ebs"]
[ami.launch_permission]
users = ["123456789012"]
[ami.import_volume]
head_url = "https://h"
get_url = "https://g"
self_destruct_url = "https://s"
[ami.vmimport_role]
source_account = "123456789012"
[[ami.device]]
name = "/dev/sdf"
volume_size = "20 GiB"
"#;

#[test]
fn a_build_writes_every_document_that_the_recipe_asks_for() {
    let folder = folder();
    let at = folder.path();
    fs::create_dir(at.join("rootfs")).unwrap();
    fs::write(at.join("rootfs/file"), "contents").unwrap();
    fs::write(at.join("image.toml"), RECIPE).unwrap();
    run(rootvol(at).args("build --recipe image.toml -o out.vhd --quiet".split(' ')));
    let suffixes = [
        "import-snapshot.json",
        "container.json",
        "register-image.json",
        "launch-permission.json",
        "deprecation.json",
        "deregistration-protection.json",
        "import-volume.xml",
        "vmimport-trust-policy.json",
        "vmimport-role-policy.json",
        "bucket-policy.json",
        "import-snapshot.sh",
        "ebs.sh",
    ];
    for suffix in suffixes {
        assert!(at.join(format!("out.vhd.{suffix}")).is_file(), "{suffix} is not there");
    }
    assert!(!at.join("out.vhd.import-image.json").exists());
    // The command gives the same, from the report and the recipe.
    for (kind, suffix) in [("register-image", "register-image.json"), ("launch-permission", "launch-permission.json"), ("import-volume", "import-volume.xml")] {
        let printed = text(rootvol(at).args(["manifest", kind, "out.vhd.report.json", "--recipe", "image.toml"]));
        assert_eq!(printed, fs::read_to_string(at.join(format!("out.vhd.{suffix}"))).unwrap(), "{kind}");
    }
    let printed = text(rootvol(at).args(["manifest", "cli", "out.vhd.report.json", "--recipe", "image.toml", "--route", "ebs"]));
    assert_eq!(printed, fs::read_to_string(at.join("out.vhd.ebs.sh")).unwrap());
    let register: Value = serde_json::from_str(&fs::read_to_string(at.join("out.vhd.register-image.json")).unwrap()).unwrap();
    assert_eq!(register["UefiData"], uefi_data(64));
    // A store that is none, one that is not there and one outside of the folder are mistakes with line and column.
    for (file, why) in [("rootfs/file", "AMZNUEFI"), ("nothing", "cannot be found"), ("../x", "outside of the recipe's folder")] {
        fs::write(at.join("bad.toml"), RECIPE.replace("\"vars\"", &format!("\"{file}\""))).unwrap();
        let output = rootvol(at).args("build --recipe bad.toml -o bad.vhd".split(' ')).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("bad.toml: line 16, column 18") && said.contains(why), "{said}");
    }
    // Two versions of one recipe are told as such.
    fs::write(at.join("next.toml"), RECIPE.replace("version = \"7\"", "version = \"8\"")).unwrap();
    run(rootvol(at).args("build --recipe next.toml -o next.vhd --quiet".split(' ')));
    let said = text(rootvol(at).args(["diff", "out.vhd.report.json", "next.vhd.report.json"]));
    assert!(said.contains("note: two versions of data: 7 and 8"), "{said}");
    // An image of another length beside the report.
    fs::write(at.join("out.vhd"), "x").unwrap();
    let output = rootvol(at).args(["manifest", "ami", "out.vhd.report.json", "--recipe", "image.toml"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is another image's"));
}
