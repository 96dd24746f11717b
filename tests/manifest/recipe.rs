//! The table `[ami]` of a recipe: every key, and every mistake with line and column.

use crate::cases::uefi_data;
use rootvol::manifest::{DeregistrationProtection, Partition, Route};
use rootvol::recipe::Recipe;
use std::fmt::Write as _;

const EVERY_KEY: &str = r#"
[ami]
architecture = "x86_64"
boot_mode = "uefi"
bucket = "my-bucket"
key = "images/web.vhd"
snapshot_id = "snap-0abc"
image_id = "ami-0abc"
name = "web 1"
description = "the web"
role_name = "importer"
license_type = "BYOL"
platform = "Linux"
encrypted = true
kms_key_id = "arn:aws:kms:us-east-1:012345678910:key/abcd1234"
attempt = 2
root_device_name = "/dev/sda1"
volume_type = "gp3"
volume_size = "20 GiB"
iops = 4000
throughput = 250
delete_on_termination = true
ena_support = true
imds_support = "v2.0"
tpm_support = "v2.0"
sriov_net_support = "simple"
uefi_data_file = "vars"
deprecate_at = "2030-01-01T00:00:00Z"
deregistration_protection = "enabled-without-cooldown"
script = ["import-image", "import-snapshot", "ebs"]
tags = { team = "web" }
[ami.launch_permission]
users = ["123456789012"]
organizations = ["arn:aws:organizations::123456789012:organization/o-abcdefghij"]
organizational_units = ["arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-abcd-abcdefgh"]
[ami.remove_launch_permission]
public = true
[ami.import_volume]
part_size = "10 MiB"
part_key = "p{part}"
head_url = "https://h/{part}"
get_url = "https://g/{part}"
delete_url = "https://d/{part}"
self_destruct_url = "https://s"
manifest_url = "https://m"
availability_zone = "us-east-1a"
[ami.vmimport_role]
partition = "aws-us-gov"
source_account = "123456789012"
[[ami.disk]]
device_name = "/dev/sdg"
description = "data"
format = "VHD"
bucket = "other-bucket"
key = "data.vhd"
[[ami.disk]]
format = "RAW"
url = "s3://b/k"
[[ami.disk]]
snapshot_id = "snap-0abc"
[[ami.device]]
name = "/dev/sdf"
snapshot_id = "snap-0abc"
volume_size = "20 GiB"
volume_type = "io1"
iops = 100
delete_on_termination = true
[[ami.device]]
name = "/dev/sdh"
volume_size = "1 GiB"
throughput = 125
encrypted = true
[[ami.device]]
name = "/dev/sdb"
virtual_name = "ephemeral0"
[[ami.device]]
name = "/dev/sdc"
no_device = true
"#;

#[test]
fn every_key_is_read_and_written() {
    let recipe = Recipe::parse(EVERY_KEY, "image.toml").unwrap();
    let ami = recipe.ami.as_ref().unwrap();
    assert_eq!(ami.script, [Route::ImportImage, Route::ImportSnapshot, Route::Ebs]);
    assert_eq!(ami.vmimport_role.as_ref().unwrap().partition, Some(Partition::GovCloud));
    assert_eq!(ami.deregistration_protection, Some(DeregistrationProtection::EnabledWithoutCooldown));
    assert_eq!((ami.disks.len(), ami.devices.len(), ami.devices[1].encrypted), (3, 4, Some(true)));
    let written = recipe.to_toml().unwrap();
    assert_eq!(Recipe::parse(&written, "written").unwrap_or_else(|error| panic!("{error}\n{written}")), recipe);
}

/// What stands behind `[ami]`, the line and column in it, and what is said.
const BAD: &[(&str, usize, usize, &str)] = &[
    ("url = \"http://x\"", 2, 7, "s3:// or https://"),
    ("snapshot_id = \"0\"", 2, 15, "no snapshot"),
    ("image_id = \"ami-X\"", 2, 12, "no AMI"),
    ("volume_size = \"20\"", 2, 15, "is not a size"),
    ("volume_size = \"20 MiB\"", 2, 15, "whole GiB"),
    ("volume_size = \"4 GiB\"\niops = 4000", 3, 8, "at most 3000 IOPS"),
    ("sriov_net_support = \"yes\"", 2, 21, "unknown value `yes`"),
    ("uefi_data = \"AAAA\"", 2, 13, "AMZNUEFI"),
    ("deprecate_at = \"tomorrow\"", 2, 16, "2028-11-21T00:00:00Z"),
    ("deregistration_protection = true", 2, 29, "wanted string or table"),
    ("script = [\"ebs\", \"boat\"]", 2, 18, "unknown value `boat`"),
    ("launch_permission = { users = [\"123456789012\", \"1\"] }", 2, 48, "twelve digits"),
    ("launch_permission = { public = true, user = 1 }", 2, 38, "unknown key `user`"),
    ("encrypted = true\n[ami.launch_permission]\npublic = true", 4, 10, "public AMI has no encrypted volumes"),
    ("[ami.remove_launch_permission]\norganizations = [\"o-abcdefghij\"]", 3, 18, "whole ARN"),
    ("bucket = \"my-bucket\"\nkey = \"k\"\n[ami.import_volume]\npart_size = \"1 KiB\"", 5, 13, "at least 1 MiB"),
    ("[ami.import_volume]\nget_url = \"https://g\"", 2, 1, "`part_key` is missing"),
    ("vmimport_role = {}", 2, 17, "`bucket` is missing"),
    ("bucket = \"my-bucket\"\n[ami.vmimport_role]\nsource_account = \"x\"", 4, 18, "twelve digits"),
    ("bucket = \"my-bucket\"\n[ami.vmimport_role]\npartition = \"mars\"", 4, 13, "unknown value `mars`"),
    ("[[ami.disk]]\nformat = \"VHD\"", 2, 1, "not 0 of them"),
    ("[[ami.disk]]\nsnapshot_id = \"snap-0\"\n[[ami.disk]]\nsnapshot_id = \"snap-0\"\ndevice_name = \"/dev/sdf1\"", 6, 15, "no device name"),
    ("[[ami.disk]]\nformat = \"OVA\"\nkey = \"k\"", 3, 10, "unknown value `OVA`"),
    ("[[ami.device]]\nvolume_size = \"1 GiB\"", 2, 1, "no device name"),
    ("[[ami.device]]\nname = \"/dev/sdf\"\nvolume_size = \"1 GiB\"\nvolume_type = \"st1\"", 4, 15, "125 to 16384 GiB"),
    ("[[ami.device]]\nname = \"/dev/sdf\"\nno_device = true\n[[ami.device]]\nname = \"/dev/xvdf\"\nno_device = true", 6, 8, "are one"),
];

#[test]
fn mistakes_have_line_and_column() {
    let mut wrong = String::new();
    for (text, line, column, why) in BAD {
        let text = format!("[ami]\n{text}\n");
        let message = Recipe::parse(&text, "image.toml").expect_err(&text).to_string();
        let place = format!("image.toml: line {line}, column {column}: ");
        if !message.starts_with(&place) || !message.contains(why) {
            let _ = writeln!(wrong, "{text}{message}\nexpected {place}{why}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let long = format!("[ami]\nuefi_data = \"{}\"\n", uefi_data(64_004));
    let message = Recipe::parse(&long, "image.toml").unwrap_err().to_string();
    assert!(message.starts_with("image.toml: line 2, column 13: ") && message.contains("64000"), "{message}");
}
