//! `rootvol manifest`: one document for AWS, from a report, to standard output.

mod args;

use super::exit::Exit;
use super::manifest_ebs::EbsSnapshotArgs;
use super::show::{self, as_usage};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::manifest::{
    AmiChoices, DeregistrationProtection, IMAGE_PLACEHOLDER, ImportDisk, SNAPSHOT_PLACEHOLDER, UtcTime, image_of, read_bounded, read_report,
};
use crate::recipe::{LoadOptions, Recipe};
use crate::report::Report;
use args::{
    DeprecationArgs, ImportImageArgs, ImportSnapshotArgs, ImportVolumeArgs, ObjectArgs, ProtectionArgs, RegisterArgs, RoleArgs, ScriptArgs, ShareArgs,
    SharingArgs, Subject, VolumeArgs,
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest list of URLs: that of as many parts as a manifest has, roughly.
const PART_URLS_MAX_BYTES: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    #[command(subcommand)]
    kind: Kind,
}

/// The documents, a subcommand each.
#[derive(Debug, Subcommand)]
enum Kind {
    /// The AMI as a whole: everything that it is, as JSON.
    Ami(RegisterArgs),
    /// The request of ImportImage, which makes an AMI of an image in S3 (x86-64, GRUB).
    ImportImage(ImportImageArgs),
    /// The request of ImportSnapshot, which makes a snapshot of an image in S3.
    ImportSnapshot(ImportSnapshotArgs),
    /// The request of RegisterImage, which makes an AMI of a snapshot.
    RegisterImage(RegisterArgs),
    /// The request of ModifyImageAttribute that says who may launch instances of an AMI.
    LaunchPermission(ShareArgs),
    /// The request of EnableImageDeprecation.
    Deprecation(DeprecationArgs),
    /// The request of EnableImageDeregistrationProtection.
    DeregistrationProtection(ProtectionArgs),
    /// The plan of a snapshot by the EBS direct API: StartSnapshot, every PutSnapshotBlock, CompleteSnapshot.
    EbsSnapshot(EbsSnapshotArgs),
    /// The legacy manifest (XML) of ImportVolume, or its request.
    ImportVolume(ImportVolumeArgs),
    /// The trust policy and the role policy of the service role of imports.
    VmimportRole(RoleArgs),
    /// A policy of the bucket that lets the service role in, for a bucket of another account.
    BucketPolicy(RoleArgs),
    /// A script of the aws commands of a route, in order, with waits and rollback.
    Cli(ScriptArgs),
}

pub(super) fn manifest(args: &ManifestArgs) -> Result<Exit> {
    let text = match &args.kind {
        Kind::Ami(args) => ami(args, |report, choices| Ok(report.ami(choices)?.to_json()))?,
        Kind::ImportImage(args) => import_image(args)?,
        Kind::ImportSnapshot(args) => {
            let (report, choices) = prepare(&args.subject, |choices| lay_object(&args.object, choices))?;
            let request = report.import_snapshot(&choices)?;
            if args.disk_container { request.container_json() } else { request.to_json() }
        }
        Kind::RegisterImage(args) => ami(args, |report, choices| Ok(report.register_image(choices)?.to_json()))?,
        Kind::LaunchPermission(args) => {
            let (report, choices) = prepare(&args.subject, |choices| {
                set(&mut choices.image_id, args.image_id.clone());
                lay_sharing(&args.sharing, choices, args.remove);
                Ok(())
            })?;
            warn_of_image(&choices);
            report.ami(&choices)?.launch_permission()?.to_json()
        }
        Kind::Deprecation(args) => {
            let (report, choices) = prepare(&args.subject, |choices| {
                set(&mut choices.image_id, args.image_id.clone());
                set(&mut choices.deprecate_at, args.deprecate_at);
                choices.launch_permission.public |= args.public;
                Ok(())
            })?;
            warn_of_image(&choices);
            report.ami(&choices)?.deprecation()?.to_json()
        }
        Kind::DeregistrationProtection(args) => {
            let (report, choices) = prepare(&args.subject, |choices| {
                set(&mut choices.image_id, args.image_id.clone());
                lay_protection(choices, true, args.with_cooldown);
                Ok(())
            })?;
            warn_of_image(&choices);
            report.ami(&choices)?.deregistration_protection()?.to_json()
        }
        // Of a large disk it is long, and written as it is made.
        Kind::EbsSnapshot(args) => return super::manifest_ebs::ebs_snapshot(args).map(|()| Exit::Done),
        Kind::ImportVolume(args) => import_volume(args)?,
        Kind::VmimportRole(args) => role(args, false)?,
        Kind::BucketPolicy(args) => role(args, true)?,
        Kind::Cli(args) => script(args)?,
    };
    show::text(&text)?;
    Ok(Exit::Done)
}

/// The day, for what may not lie in the past.
pub(super) fn now() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime::from_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The report, and the choices: the recipe's, with the options laid over them.
fn prepare(subject: &Subject, lay: impl FnOnce(&mut AmiChoices) -> Result<()>) -> Result<(Report, AmiChoices)> {
    let common = &subject.common;
    let mut choices = of_recipe(common.recipe.as_deref(), &common.allow_source)?;
    set(&mut choices.name, common.name.clone());
    set(&mut choices.description, common.description.clone());
    set(&mut choices.architecture, common.architecture);
    set(&mut choices.boot_mode, common.boot_mode);
    for tag in &common.tag {
        let (key, value) = tag.split_once('=').ok_or_else(|| usage(format!("\"{}\" is no tag: KEY=VALUE was expected", escape(tag.as_bytes()))))?;
        choices.tags.insert(key.to_owned(), value.to_owned());
    }
    lay(&mut choices)?;
    choices.check().map_err(as_usage)?;
    choices.check_at(now()).map_err(as_usage)?;
    Ok((read_report(&subject.report, subject.image.as_deref())?, choices))
}

fn of_recipe(recipe: Option<&Path>, allow_source: &[PathBuf]) -> Result<AmiChoices> {
    let Some(path) = recipe else { return Ok(AmiChoices::default()) };
    let recipe = Recipe::load(path, &LoadOptions { allow_source: allow_source.to_vec() })?;
    Ok(recipe.ami.unwrap_or_default())
}

/// A document of the AMI, before it is registered.
fn ami(args: &RegisterArgs, make: impl FnOnce(&Report, &AmiChoices) -> Result<String>) -> Result<String> {
    let (report, choices) = prepare(&args.subject, |choices| lay_volume(&args.volume, choices))?;
    let text = make(&report, &choices)?;
    if choices.snapshot_id.is_none() {
        show::say(&format!("warning: {SNAPSHOT_PLACEHOLDER} stands for the snapshot, which --snapshot names"));
    }
    Ok(text)
}

fn import_image(args: &ImportImageArgs) -> Result<String> {
    let (report, mut choices) = prepare(&args.subject, |choices| {
        set(&mut choices.license_type, args.license_type);
        set(&mut choices.usage_operation, args.usage_operation.clone());
        lay_object(&args.object, choices)
    })?;
    for disk in &args.data_disk {
        let (path, key) = disk.rsplit_once('=').ok_or_else(|| usage(format!("\"{}\" is no data volume: REPORT=KEY was expected", escape(disk.as_bytes()))))?;
        choices.disks.push(ImportDisk::of_report(&read_report(Path::new(path), None)?, key)?);
    }
    let request = report.import_image_with(&choices)?;
    Ok(if args.disk_containers { request.containers_json() } else { request.to_json() })
}

fn import_volume(args: &ImportVolumeArgs) -> Result<String> {
    let urls = args.part_urls.as_deref().map(|path| -> Result<_> {
        let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
        let text = read_bounded(path, "list of URLs", PART_URLS_MAX_BYTES).map_err(named)?;
        serde_json::from_slice(&text).map_err(|error| named(Error::invalid("this is no list of the parts' URLs").caused_by(error)))
    });
    let urls = urls.transpose()?;
    let (report, choices) = prepare(&args.subject, |choices| {
        let import = choices.import_volume.get_or_insert_default();
        set(&mut import.part_key, args.part_key.clone());
        set(&mut import.part_size, args.part_size);
        set(&mut import.head_url, args.head_url.clone());
        set(&mut import.get_url, args.get_url.clone());
        set(&mut import.delete_url, args.delete_url.clone());
        set(&mut import.self_destruct_url, args.self_destruct_url.clone());
        set(&mut import.manifest_url, args.manifest_url.clone());
        set(&mut import.availability_zone, args.availability_zone.clone());
        import.parts = urls.unwrap_or_else(|| std::mem::take(&mut import.parts));
        // The request says nothing of the parts, so they need no key.
        if args.request && import.part_key.is_none() && choices.key.is_none() {
            import.part_key = Some("unused".to_owned());
        }
        Ok(())
    })?;
    if args.request {
        show::say("warning: the aws command has no import-volume; an SDK sends the request, in the Regions that have had ImportVolume for long");
        return Ok(report.import_volume(&choices)?.to_json());
    }
    show::say("warning: presigned URLs stand in the manifest, and whoever has it can use them until they end");
    Ok(report.import_volume_manifest(&choices)?.to_xml())
}

fn role(args: &RoleArgs, bucket_policy: bool) -> Result<String> {
    if let Some(report) = &args.report {
        read_report(report, None)?;
    }
    let mut choices = of_recipe(args.recipe.as_deref(), &[])?;
    set(&mut choices.bucket, args.bucket.clone());
    set(&mut choices.role_name, args.role_name.clone());
    if args.kms_key_id.is_some() {
        choices.kms_key_id.clone_from(&args.kms_key_id);
        choices.encrypted = Some(true);
    }
    let chosen = choices.vmimport_role.get_or_insert_default();
    set(&mut chosen.partition, args.partition);
    set(&mut chosen.source_account, args.source_account.clone());
    let role = choices.vmimport_role().map_err(as_usage)?;
    if bucket_policy {
        show::say("note: only a bucket of another account than the role's needs a policy; it lies in the Region of the import, and stays closed to the public");
        let policy = role.bucket_policy.ok_or_else(|| usage("the bucket's policy names the role's account: --source-account is missing".to_owned()))?;
        return Ok(policy.to_json());
    }
    Ok(match (args.trust, args.permissions) {
        (true, _) => role.trust_policy.to_json(),
        (_, true) => role.role_policy.to_json(),
        _ => role.to_json(),
    })
}

fn script(args: &ScriptArgs) -> Result<String> {
    let (report, choices) = prepare(&args.subject, |choices| {
        lay_object(&args.object, choices)?;
        lay_volume(&args.volume, choices)?;
        lay_sharing(&args.sharing, choices, false);
        set(&mut choices.deprecate_at, args.deprecate_at);
        lay_protection(choices, args.protect, false);
        Ok(())
    })?;
    let image = args.subject.image.clone().or_else(|| image_of(&args.subject.report));
    let image = image.ok_or_else(|| usage("the report is not called OUT.report.json, so --image has to name the image".to_owned()))?;
    Ok(report.script(&choices, args.route, &image)?.to_text())
}

fn lay_object(args: &ObjectArgs, choices: &mut AmiChoices) -> Result<()> {
    if args.url.is_some() {
        (choices.bucket, choices.key) = (None, None);
    }
    if args.bucket.is_some() || args.key.is_some() {
        choices.url = None;
    }
    set(&mut choices.bucket, args.bucket.clone());
    set(&mut choices.key, args.key.clone());
    set(&mut choices.url, args.url.clone());
    set(&mut choices.role_name, args.role_name.clone());
    set(&mut choices.encrypted, args.encrypted.then_some(true));
    set(&mut choices.kms_key_id, args.kms_key_id.clone());
    set(&mut choices.attempt, args.attempt);
    Ok(())
}

fn lay_volume(args: &VolumeArgs, choices: &mut AmiChoices) -> Result<()> {
    set(&mut choices.snapshot_id, args.snapshot.clone());
    set(&mut choices.root_device_name, args.root_device_name.clone());
    set(&mut choices.volume_size, args.volume_size);
    set(&mut choices.volume_type, args.volume_type);
    set(&mut choices.iops, args.iops);
    set(&mut choices.throughput, args.throughput);
    set(&mut choices.delete_on_termination, args.delete_on_termination);
    set(&mut choices.ena_support, args.ena_support);
    set(&mut choices.sriov_net_support, args.sriov_net_support);
    set(&mut choices.imds_support, args.imds_support);
    set(&mut choices.tpm_support, args.tpm_support);
    choices.devices.extend(args.device.iter().cloned());
    if let Some(path) = &args.uefi_data {
        choices.uefi_data = Some(crate::manifest::read_uefi_data(path)?);
    }
    Ok(())
}

fn lay_sharing(args: &SharingArgs, choices: &mut AmiChoices, remove: bool) {
    let list = if remove { &mut choices.remove_launch_permission } else { &mut choices.launch_permission };
    list.public |= args.public;
    list.users.extend(args.user.iter().cloned());
    list.organizations.extend(args.organization_arn.iter().cloned());
    list.organizational_units.extend(args.organizational_unit_arn.iter().cloned());
}

fn lay_protection(choices: &mut AmiChoices, wanted: bool, with_cooldown: bool) {
    if with_cooldown {
        choices.deregistration_protection = Some(DeregistrationProtection::EnabledWithCooldown);
    } else if wanted {
        choices.deregistration_protection.get_or_insert(DeregistrationProtection::EnabledWithoutCooldown);
    }
}

fn warn_of_image(choices: &AmiChoices) {
    if choices.image_id.is_none() {
        show::say(&format!("warning: {IMAGE_PLACEHOLDER} stands for the AMI, which --image-id names"));
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// The option wins over what is there.
fn set<T>(place: &mut Option<T>, option: Option<T>) {
    if option.is_some() {
        *place = option;
    }
}
