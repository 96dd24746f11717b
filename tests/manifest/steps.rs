//! The lines that a build prints at its end.

use crate::cases::{ami, report};
use rootvol::manifest::{AmiChoices, SNAPSHOT_PLACEHOLDER, documents, next_steps};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[test]
fn the_next_steps_are_those_of_the_route_that_fits() {
    let steps = |changes: &Value, choices: &Value, path: &str| next_steps(&report(changes), Path::new(path), &ami(choices)).join("\n");
    assert_eq!(
        steps(&json!({}), &json!({}), "web.vhd"),
        "aws s3 cp web.vhd s3://my-bucket/images/web.vhd\n\
         task=$(aws ec2 import-image --cli-input-json file://web.vhd.import-image.json --query ImportTaskId --output text)\n\
         aws ec2 describe-import-image-tasks --import-task-ids \"$task\"  # again until its Status is completed: it has the ImageId then\n\
         qemu-system-x86_64 -machine q35 -cpu max -m 1G -bios /usr/share/ovmf/OVMF.fd \
         -drive if=none,id=disk,snapshot=on,format=vpc,force_size_calc=current_size,file=web.vhd -device nvme,drive=disk,serial=rootvol -nographic"
    );
    assert_eq!(
        steps(&json!({ "boot": { "architecture": "arm64" }, "file": { "format": "raw" }, "disk": { "sector_bytes": 512 } }), &json!({}), "my, web.raw"),
        "aws s3 cp 'my, web.raw' s3://my-bucket/images/web.vhd\n\
         task=$(aws ec2 import-snapshot --cli-input-json 'file://my, web.raw.import-snapshot.json' --query ImportTaskId --output text)\n\
         aws ec2 wait snapshot-imported --import-task-ids \"$task\"  # gives up after 10 minutes: then wait again\n\
         snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids \"$task\" --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text)\n\
         aws ec2 register-image --cli-input-json \"$(sed \"s/snap-00000000000000000/$snapshot/\" 'my, web.raw.register-image.json')\"\n\
         qemu-system-aarch64 -machine virt -cpu max,pauth-impdef=on -m 1G -bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd \
         -drive 'if=none,id=disk,snapshot=on,format=raw,file=my,, web.raw' -device nvme,drive=disk,serial=rootvol -nographic"
    );
    let odd = steps(&json!({}), &json!({}), "-$x.vhd");
    assert!(odd.contains("aws s3 cp './-$x.vhd' ") && odd.contains("\"$(cat './-$x.vhd.import-image.json')\""), "{odd}");
    let data = steps(&json!({ "boot": null }), &json!({}), "data.vhd");
    assert!(data.contains("import-snapshot") && !data.contains("register-image") && !data.contains("qemu"), "{data}");
    let sectors = steps(&json!({ "disk": { "sector_bytes": 4096 }, "file": { "format": "raw" } }), &json!({}), "web.raw");
    assert!(!sectors.contains("aws") && sectors.contains("logical_block_size=4096,physical_block_size=4096"), "{sectors}");
    assert_eq!(next_steps(&report(&json!({ "boot": null })), Path::new("x"), &AmiChoices::default()), Vec::<String>::new());
}

/// The lines do in a shell what they say: a function stands in for the aws command and shows what it is given.
#[cfg(unix)]
#[test]
fn a_shell_reads_the_next_steps_as_they_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let image = Path::new("it's $HOME, a \"web\".vhd");
    let choices = ami(&json!({ "key": "a b/it's $(x).vhd" }));
    let made = report(&json!({ "boot": { "loader": "uki" } }));
    for document in documents(&made, &choices, image).written {
        std::fs::write(folder.path().join(format!("{}.{}", image.display(), document.suffix)), document.text).unwrap();
    }
    let stand_in = r#"aws() { printf '[%s]' "$@" >&2; echo >&2; case $2 in import-snapshot) echo import-snap-1;; describe-*) echo snap-0abc;; esac; }"#;
    let lines = next_steps(&made, image, &choices);
    let script = [&[stand_in.to_owned()], &lines[..lines.len() - 1]].concat().join("\n");
    let output = Command::new("sh").args(["-eu", "-c", &script]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let import = made.import_snapshot(&choices).unwrap().to_json();
    let register = made.register_image(&choices).unwrap().to_json().replace(SNAPSHOT_PLACEHOLDER, "snap-0abc");
    for part in [
        "[s3][cp][it's $HOME, a \"web\".vhd][s3://my-bucket/a b/it's $(x).vhd]\n".to_owned(),
        format!("[--cli-input-json][{}]", import.trim_end()),
        "[wait][snapshot-imported][--import-task-ids][import-snap-1]\n".to_owned(),
        format!("[register-image][--cli-input-json][{}]\n", register.trim_end()),
    ] {
        assert!(said.contains(&part), "{said}\nlacks\n{part}");
    }
}
