//! `rootvol manifest`: one document for AWS, from a report, to standard output.

use super::exit::Exit;
use super::show::{self, as_usage};
use crate::error::{Error, ErrorKind, Result, escape};
use crate::manifest::{
    AmiChoices, BootMode, DeregistrationProtection, Device, IMAGE_PLACEHOLDER, ImdsSupport, ImportDisk, LicenseType, Partition, Route, SNAPSHOT_PLACEHOLDER,
    SriovNetSupport, TpmSupport, UtcTime, VolumeType, image_of, read_bounded, read_report,
};
use crate::recipe::{LoadOptions, Recipe};
use crate::report::{Architecture, Report};
use crate::units::Size;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
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
    /// The legacy manifest (XML) of ImportVolume, or its request.
    ImportVolume(ImportVolumeArgs),
    /// The trust policy and the role policy of the service role of imports.
    VmimportRole(RoleArgs),
    /// A policy of the bucket that lets the service role in, for a bucket of another account.
    BucketPolicy(RoleArgs),
    /// A script of the aws commands of a route, in order, with waits and rollback.
    Cli(ScriptArgs),
}

/// What every document is made of.
#[derive(Debug, Args)]
struct Subject {
    /// The build's report: OUT.report.json.
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    /// The image, held against the report [default: the one beside the report, where there is one].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Take `[ami]` of this recipe; other options override it.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Let the recipe take sources from this folder as well as its own.
    #[arg(long, value_name = "DIR")]
    allow_source: Vec<PathBuf>,
    /// Name of the AMI [default: the image's name and version].
    #[arg(long)]
    name: Option<String>,
    /// Description of the AMI and of the import tasks.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Tag of the AMI and of the import tasks.
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Architecture, where the report knows none: x86_64 or arm64.
    #[arg(long)]
    architecture: Option<Architecture>,
    /// How instances boot [default: what the image boots by]: legacy-bios, uefi or uefi-preferred.
    #[arg(long, value_name = "MODE", value_parser = word::<BootMode>)]
    boot_mode: Option<BootMode>,
}

/// Where the uploaded image lies, and how it is imported.
#[derive(Debug, Args)]
struct ObjectArgs {
    /// S3 bucket that the image is uploaded to.
    #[arg(long)]
    bucket: Option<String>,
    /// S3 key that the image has.
    #[arg(long)]
    key: Option<String>,
    /// URL of the image (s3:// or https://), in place of bucket and key.
    #[arg(long)]
    url: Option<String>,
    /// Service role [default: vmimport].
    #[arg(long, value_name = "ROLE")]
    role_name: Option<String>,
    /// Encrypt the snapshots.
    #[arg(long)]
    encrypted: bool,
    /// Key to encrypt with: id, alias or ARN.
    #[arg(long, value_name = "KEY")]
    kms_key_id: Option<String>,
    /// Number of the attempt: 2 after a failure, so that AWS does not answer with the task that failed.
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
}

/// What RegisterImage is told.
#[derive(Debug, Args)]
struct VolumeArgs {
    /// The image's snapshot.
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// /dev/xvda or /dev/sda1 [default: /dev/xvda].
    #[arg(long, value_name = "DEVICE")]
    root_device_name: Option<String>,
    /// Size of the root volume in whole GiB, such as "20 GiB" [default: the image's].
    #[arg(long, value_name = "SIZE")]
    volume_size: Option<Size>,
    /// Type of the root volume [default: gp3].
    #[arg(long, value_name = "TYPE", value_parser = word::<VolumeType>)]
    volume_type: Option<VolumeType>,
    /// IOPS of the root volume.
    #[arg(long)]
    iops: Option<u32>,
    /// MiB/s of the root volume.
    #[arg(long, value_name = "MIB")]
    throughput: Option<u32>,
    /// Whether the root volume goes with its instance [default: true].
    #[arg(long, value_name = "BOOL")]
    delete_on_termination: Option<bool>,
    /// A further device, as in a recipe: 'name = "/dev/sdf", volume_size = "20 GiB"'.
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Vec<Device>,
    /// Enhanced networking [default: true].
    #[arg(long, value_name = "BOOL")]
    ena_support: Option<bool>,
    /// Enhanced networking of older instance types: simple.
    #[arg(long, value_name = "WORD", value_parser = word::<SriovNetSupport>)]
    sriov_net_support: Option<SriovNetSupport>,
    /// v2.0 (instances require IMDSv2) or none (the account decides) [default: v2.0].
    #[arg(long, value_name = "VERSION", value_parser = word::<ImdsSupport>)]
    imds_support: Option<ImdsSupport>,
    /// NitroTPM: v2.0; needs boot mode uefi.
    #[arg(long, value_name = "VERSION", value_parser = word::<TpmSupport>)]
    tpm_support: Option<TpmSupport>,
    /// File with the UEFI variable store in base64.
    #[arg(long, value_name = "FILE")]
    uefi_data: Option<PathBuf>,
}

/// Who gets the AMI.
#[derive(Debug, Args)]
struct SharingArgs {
    /// Account that may launch instances.
    #[arg(long, value_name = "ACCOUNT")]
    user: Vec<String>,
    /// Everybody may.
    #[arg(long)]
    public: bool,
    /// Organization that may, by its ARN.
    #[arg(long, value_name = "ARN")]
    organization_arn: Vec<String>,
    /// Organizational unit that may, by its ARN.
    #[arg(long, value_name = "ARN")]
    organizational_unit_arn: Vec<String>,
}

#[derive(Debug, Args)]
struct ImportImageArgs {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    object: ObjectArgs,
    /// Data volume to import with it: the report of its image, and the image's key in the bucket.
    #[arg(long, value_name = "REPORT=KEY")]
    data_disk: Vec<String>,
    /// Licence: AWS or BYOL.
    #[arg(long, value_name = "TYPE", value_parser = word::<LicenseType>)]
    license_type: Option<LicenseType>,
    /// Such as RunInstances:0010, in place of the licence.
    #[arg(long, value_name = "OPERATION")]
    usage_operation: Option<String>,
    /// Print the list of disks alone, for `aws ec2 import-image --disk-containers`.
    #[arg(long)]
    disk_containers: bool,
}

#[derive(Debug, Args)]
struct ImportSnapshotArgs {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    object: ObjectArgs,
    /// Print the disk alone, for `aws ec2 import-snapshot --disk-container`.
    #[arg(long)]
    disk_container: bool,
}

#[derive(Debug, Args)]
struct RegisterArgs {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    volume: VolumeArgs,
}

#[derive(Debug, Args)]
struct ShareArgs {
    #[command(flatten)]
    subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    image_id: Option<String>,
    #[command(flatten)]
    sharing: SharingArgs,
    /// Take the permissions away in place of giving them.
    #[arg(long)]
    remove: bool,
}

#[derive(Debug, Args)]
struct DeprecationArgs {
    #[command(flatten)]
    subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    image_id: Option<String>,
    /// From when on, in UTC, such as 2028-11-21T00:00:00Z; at most 10 years from now, 2 for a public AMI.
    #[arg(long, value_name = "TIME")]
    deprecate_at: Option<UtcTime>,
    /// The AMI is public.
    #[arg(long)]
    public: bool,
}

#[derive(Debug, Args)]
struct ProtectionArgs {
    #[command(flatten)]
    subject: Subject,
    /// The AMI.
    #[arg(long, value_name = "AMI")]
    image_id: Option<String>,
    /// Protected for 24 hours after the protection was taken away.
    #[arg(long)]
    with_cooldown: bool,
}

#[derive(Debug, Args)]
struct ImportVolumeArgs {
    #[command(flatten)]
    subject: Subject,
    /// Key of a part; {part} is its number from 0 [default: the image's, with .part{part} where there are several].
    #[arg(long, value_name = "KEY")]
    part_key: Option<String>,
    /// Size of a part, such as "10 MiB" [default: the image is one part].
    #[arg(long, value_name = "SIZE")]
    part_size: Option<Size>,
    /// Presigned URL for HEAD of a part, with {part}.
    #[arg(long, value_name = "URL")]
    head_url: Option<String>,
    /// Presigned URL for GET of a part, with {part}.
    #[arg(long, value_name = "URL")]
    get_url: Option<String>,
    /// Presigned URL for DELETE of a part, with {part}.
    #[arg(long, value_name = "URL")]
    delete_url: Option<String>,
    /// File with the URLs of each part, as JSON: [{"head_url": "…", "get_url": "…", "delete_url": "…"}].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["head_url", "get_url", "delete_url"])]
    part_urls: Option<PathBuf>,
    /// Presigned URL for DELETE of the manifest.
    #[arg(long, value_name = "URL")]
    self_destruct_url: Option<String>,
    /// Print the request in place of the manifest; with --manifest-url and --availability-zone.
    #[arg(long)]
    request: bool,
    /// Presigned URL for GET of the manifest.
    #[arg(long, value_name = "URL")]
    manifest_url: Option<String>,
    /// Where the volume is made.
    #[arg(long, value_name = "ZONE")]
    availability_zone: Option<String>,
}

#[derive(Debug, Args)]
struct RoleArgs {
    /// The build's report; the policies do not depend on it.
    #[arg(value_name = "REPORT")]
    report: Option<PathBuf>,
    /// Take `[ami]` of this recipe; other options override it.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// S3 bucket that images are uploaded to.
    #[arg(long)]
    bucket: Option<String>,
    /// ARN of the key that snapshots are encrypted with.
    #[arg(long, value_name = "ARN")]
    kms_key_id: Option<String>,
    /// Name of the role [default: vmimport].
    #[arg(long, value_name = "ROLE")]
    role_name: Option<String>,
    /// aws, aws-cn or aws-us-gov [default: aws].
    #[arg(long, value_parser = word::<Partition>)]
    partition: Option<Partition>,
    /// Account of the role, which then serves imports of this account only.
    #[arg(long, value_name = "ACCOUNT")]
    source_account: Option<String>,
    /// Print the trust policy alone.
    #[arg(long, conflicts_with = "permissions")]
    trust: bool,
    /// Print the role policy alone.
    #[arg(long)]
    permissions: bool,
}

#[derive(Debug, Args)]
struct ScriptArgs {
    #[command(flatten)]
    subject: Subject,
    /// import-image, import-snapshot or ebs.
    #[arg(long, value_parser = word::<Route>)]
    route: Route,
    #[command(flatten)]
    object: ObjectArgs,
    #[command(flatten)]
    volume: VolumeArgs,
    #[command(flatten)]
    sharing: SharingArgs,
    /// When the AMI is deprecated, in UTC.
    #[arg(long, value_name = "TIME")]
    deprecate_at: Option<UtcTime>,
    /// Keep the AMI from being deregistered.
    #[arg(long)]
    protect: bool,
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

/// A word of the EC2 API, as recipes have it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|error| error.to_string().replacen("unknown variant", "unknown value", 1))
}

/// A device in the words of a recipe.
fn device(text: &str) -> Result<Device, String> {
    #[derive(serde::Deserialize)]
    struct Line {
        device: Device,
    }
    toml::from_str::<Line>(&format!("device = {{ {text} }}")).map(|line| line.device).map_err(|error| error.message().to_owned())
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
