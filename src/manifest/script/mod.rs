//! `import-image.sh`, `import-snapshot.sh`, `ebs.sh`: a script of the `aws` commands of one route, from the image file to the AMI,
//! that a person can read, change and run.
//!
//! ```text
//! import-image     s3 cp ─► import-image ─► wait ─────────────────────────────────┐
//! import-snapshot  s3 cp ─► import-snapshot ─► wait ─► register-image ─► wait ────┼─► deprecation, launch permissions, protection
//! ebs              coldsnap upload ─► wait ───────────► register-image ─► wait ───┘
//! ```
//!
//! - **Whole.** The requests stand in it, as the documents have them; it needs bash, the aws command (1 or 2) and, for `ebs`,
//!   coldsnap. Credentials and Region are those that the aws command finds; nothing in the script is secret.
//! - **In order, with waits.** Tasks are looked at until they end, for hours: the aws command's waiters give up after ten minutes. What
//!   AWS says of a failure is shown.
//! - **Rolled back.** When a step fails or the script is interrupted, what the steps before it made is deleted. An object that
//!   was in the bucket before stays.
//! - The protection from being deregistered comes last, as it would stand in the way of rolling back.
//!
//! A program of one's own need not write a file at all for the EBS direct API: [`stream::BlockSink`](crate::stream::BlockSink)
//! gets every used block with its checksum while the image is made.

use super::ami::{Ami, IMAGE_PLACEHOLDER, gib_of};
use super::choices::AmiChoices;
use super::deprecation::EnableImageDeprecationRequest;
use super::deregistration_protection::EnableImageDeregistrationProtectionRequest;
use super::import_image::{ImportImageRequest, OTHER_ROUTE};
use super::import_snapshot::ImportSnapshotRequest;
use super::launch_permission::ModifyImageAttributeRequest;
use super::register_image::{RegisterImageRequest, SNAPSHOT_PLACEHOLDER};
use super::shapes::{Tag, UserBucket};
use super::shell::{file_argument, quote};
use super::values::{ImdsSupport, Route};
use super::{import_image::check_disk, rules};
use crate::checksum::base64_decode;
use crate::error::{Error, Result, escape};
use crate::report::Report;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// What a script does: the requests it sends, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Script {
    /// The route.
    pub route: Route,
    /// What the image is called, for the first line.
    pub title: String,
    /// The image's file, as a word of the shell.
    pub image: String,
    /// Length of that file.
    pub image_bytes: u64,
    /// Whether that file holds the bytes of the disk as they are.
    pub is_raw: bool,
    /// Size of the disk in GiB.
    pub volume_gib: u64,
    /// The disk's LINEAR checksum in hexadecimal digits.
    pub linear_sha256: String,
    /// Where the image is uploaded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<UserBucket>,
    /// Objects that have to be there already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_objects: Vec<UserBucket>,
    /// Of the route import-image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_image: Option<ImportImageRequest>,
    /// Of the route import-snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_snapshot: Option<ImportSnapshotRequest>,
    /// The ARN of the key that a snapshot written by coldsnap is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// Tags: of the AMI on the route import-image, of the snapshot on the route ebs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Whether the AMI is set to require IMDSv2, where the import cannot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_imds_v2: bool,
    /// Of the routes that make a snapshot; missing for a data disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register_image: Option<RegisterImageRequest>,
    /// When the AMI is deprecated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecation: Option<EnableImageDeprecationRequest>,
    /// With whom it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_permission: Option<ModifyImageAttributeRequest>,
    /// That it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregistration_protection: Option<EnableImageDeregistrationProtectionRequest>,
}

impl Report {
    /// The script of `route` for this image, which lies at `image` where the script is run.
    ///
    /// # Errors
    /// Those of the route's documents; what the route cannot do.
    pub fn script(&self, choices: &AmiChoices, route: Route, image: &Path) -> Result<Script> {
        choices.check()?;
        check_disk(self)?;
        // The script knows the ids when it has made what they are of.
        let choices = AmiChoices { snapshot_id: None, image_id: None, ..choices.clone() };
        let ami = if self.boot.is_some() || choices.architecture.is_some() { Some(self.ami(&choices)?) } else { None };
        let made = |wanted: bool| ami.as_ref().filter(|_| wanted);
        let title = choices.ami_name(self.name.as_deref(), self.version.as_deref()).unwrap_or_else(|| "a data disk".to_owned());
        let uploads = route != Route::Ebs;
        let script = Script {
            route,
            title,
            image: quote(&file_argument(image)),
            image_bytes: self.file.size_bytes,
            is_raw: self.file.format == "raw",
            volume_gib: gib_of(self.disk.size_bytes),
            linear_sha256: hex_checksum(self)?,
            object: if uploads { Some(object(&choices)?) } else { None },
            other_objects: if route == Route::ImportImage { other_objects(&choices) } else { Vec::new() },
            import_image: if route == Route::ImportImage { Some(import_image(self, &choices)?) } else { None },
            import_snapshot: if route == Route::ImportSnapshot { Some(self.import_snapshot(&choices)?) } else { None },
            kms_key_arn: if uploads { None } else { coldsnap_key(&choices)? },
            tags: ami.as_ref().filter(|_| route != Route::ImportSnapshot).map(|ami| ami.tags.clone()).unwrap_or_default(),
            require_imds_v2: made(route == Route::ImportImage).is_some_and(|ami| ami.imds_support == Some(ImdsSupport::V2)),
            register_image: made(route != Route::ImportImage).map(Ami::register_image).transpose()?,
            deprecation: made(choices.deprecate_at.is_some()).map(Ami::deprecation).transpose()?,
            launch_permission: made(!choices.launch_permission.is_empty() || !choices.remove_launch_permission.is_empty())
                .map(Ami::launch_permission)
                .transpose()?,
            deregistration_protection: made(choices.deregistration_protection.is_some()).map(Ami::deregistration_protection).transpose()?,
        };
        script.check()?;
        Ok(script)
    }
}

fn hex_checksum(report: &Report) -> Result<String> {
    let digest = base64_decode(&report.blocks.linear_checksum).filter(|digest| digest.len() == 32);
    let digest = digest.ok_or_else(|| Error::corrupt("the report's linear_checksum is no SHA-256 in base64"))?;
    Ok(digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// The object to upload to. A presigned URL is a secret and takes no `aws s3 cp`.
fn object(choices: &AmiChoices) -> Result<UserBucket> {
    match (&choices.bucket, &choices.key) {
        (Some(bucket), Some(key)) => Ok(UserBucket { s3_bucket: bucket.clone(), s3_key: key.clone() }),
        _ => Err(Error::invalid("the script uploads the image, so it needs `bucket` and `key`")),
    }
}

fn other_objects(choices: &AmiChoices) -> Vec<UserBucket> {
    let object = |disk: &super::devices::ImportDisk| {
        let bucket = disk.bucket.clone().or_else(|| choices.bucket.clone())?;
        Some(UserBucket { s3_bucket: bucket, s3_key: disk.key.clone()? })
    };
    choices.disks.iter().filter_map(object).collect()
}

/// ImportImage makes the AMI itself: what it cannot be told is refused here, not left out.
fn import_image(report: &Report, choices: &AmiChoices) -> Result<ImportImageRequest> {
    let cannot = [
        ("tpm_support", choices.tpm_support.is_some()),
        ("uefi_data", choices.uefi_data.is_some()),
        ("sriov_net_support", choices.sriov_net_support.is_some()),
        ("device", !choices.devices.is_empty()),
        ("volume_size", choices.volume_size.is_some()),
    ];
    if let Some((key, _)) = cannot.into_iter().find(|(_, said)| *said) {
        return Err(Error::unsupported(format!("ImportImage makes the AMI and takes no `{key}` (EC2 API, ImportImage); {OTHER_ROUTE}")));
    }
    if choices.disks.iter().any(|disk| disk.url.is_some()) {
        return Err(Error::unsupported("a data volume by its URL is no object that the script can look for; name its `key`"));
    }
    report.import_image_with(choices)
}

/// coldsnap encrypts with a key that is named by its ARN, else as the account does by default.
fn coldsnap_key(choices: &AmiChoices) -> Result<Option<String>> {
    match (&choices.kms_key_id, choices.encrypted) {
        (Some(key), _) => rules::kms_key_arn(key).map(|_| Some(key.clone())),
        (None, Some(true)) => {
            Err(Error::unsupported("coldsnap encrypts with a key by its ARN only: `kms_key_id` is missing (or let the account encrypt by default)"))
        }
        _ => Ok(None),
    }
}

impl Script {
    /// Holds every request to its rules, and the script to its route.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<()> {
        let fits = match self.route {
            Route::ImportImage => self.import_image.is_some() && self.import_snapshot.is_none() && self.register_image.is_none() && self.object.is_some(),
            Route::ImportSnapshot => self.import_snapshot.is_some() && self.import_image.is_none() && self.object.is_some(),
            Route::Ebs => self.import_snapshot.is_none() && self.import_image.is_none() && self.object.is_none(),
        };
        if !fits {
            return Err(Error::invalid(format!("a script of the route {} has the requests of that route", self.route.name())));
        }
        if self.title.chars().any(char::is_control) || self.linear_sha256.len() != 64 || !self.linear_sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid("a script has a title of one line and the checksum in 64 hexadecimal digits"));
        }
        for object in self.object.iter().chain(&self.other_objects) {
            rules::bucket(&object.s3_bucket)?;
            rules::key(&object.s3_key)?;
        }
        self.import_image.as_ref().map_or(Ok(()), ImportImageRequest::check)?;
        self.import_snapshot.as_ref().map_or(Ok(()), ImportSnapshotRequest::check)?;
        self.register_image.as_ref().map_or(Ok(()), RegisterImageRequest::check)?;
        self.deprecation.as_ref().map_or(Ok(()), EnableImageDeprecationRequest::check)?;
        self.launch_permission.as_ref().map_or(Ok(()), ModifyImageAttributeRequest::check)?;
        self.deregistration_protection.as_ref().map_or(Ok(()), EnableImageDeregistrationProtectionRequest::check)?;
        self.kms_key_arn.as_deref().map_or(Ok(()), |key| rules::kms_key_arn(key).map(|_| ()))
    }

    /// The script, for bash 3.2 and later.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.head();
        self.requests(&mut text);
        text += "\n";
        text += include_str!("start.sh");
        text += "\n";
        match self.route {
            Route::ImportImage => {
                self.other_uploads(&mut text);
                text += include_str!("upload.sh");
                text += "\n";
                text += include_str!("import-image.sh");
            }
            Route::ImportSnapshot => {
                text += include_str!("upload.sh");
                text += "\n";
                text += include_str!("import-snapshot.sh");
            }
            Route::Ebs => self.upload_blocks(&mut text),
        }
        text += "\n";
        self.make_ami(&mut text);
        self.end(&mut text);
        text
    }

    fn head(&self) -> String {
        let Self { route, image, image_bytes, linear_sha256, .. } = self;
        let title = escape(self.title.as_bytes());
        let needs = match route {
            Route::Ebs if self.is_raw => ", and coldsnap (0.9 or later)",
            Route::Ebs => ", coldsnap (0.9 or later) and rootvol",
            _ => ", and the role vmimport in the account",
        };
        let result = if self.makes_ami() { "AMI" } else { "snapshot" };
        let mut text = format!(
            "#!/usr/bin/env bash\n\
             # {title}: from the image to an {result} by the route {}. Written by rootvol.\n\
             #\n\
             # Run it as   bash SCRIPT [IMAGE]\n\
             # Needs       the aws command (1 or 2) with credentials and a Region of its own{needs}. Nothing in here is secret.\n\
             # Prints      the id of the {result} on standard output, and what it does on standard error.\n\
             # On failure  deletes what it has made; KEEP=1 leaves it.\n\
             # Waits       with a look every POLL seconds (15), for at most HOURS (24).\n\
             set -euo pipefail\n\
             export AWS_PAGER=''\n\n\
             image={image}\n\
             [ \"$#\" -eq 0 ] || image=$1\n\
             image_bytes={image_bytes}\n\
             poll=${{POLL:-15}} hours=${{HOURS:-24}}\n\
             deadline=$((SECONDS + hours * 3600))\n",
            route.name()
        );
        if let Some(UserBucket { s3_bucket, s3_key }) = &self.object {
            let object = quote(format!("s3://{s3_bucket}/{s3_key}").as_bytes());
            let _ = write!(text, "bucket={} key={}\nobject={object}\nchecksum={linear_sha256}\n", quote(s3_bucket.as_bytes()), quote(s3_key.as_bytes()));
        }
        text
    }

    /// The requests, each as a function that prints it.
    fn requests(&self, text: &mut String) {
        let requests = [
            ("import_image", self.import_image.as_ref().map(ImportImageRequest::to_json)),
            ("import_snapshot", self.import_snapshot.as_ref().map(ImportSnapshotRequest::to_json)),
            ("register_image", self.register_image.as_ref().map(RegisterImageRequest::to_json)),
            ("deprecation", self.deprecation.as_ref().map(EnableImageDeprecationRequest::to_json)),
            ("launch_permission", self.launch_permission.as_ref().map(ModifyImageAttributeRequest::to_json)),
            ("deregistration_protection", self.deregistration_protection.as_ref().map(EnableImageDeregistrationProtectionRequest::to_json)),
        ];
        for (name, json) in requests.into_iter().filter_map(|(name, json)| json.map(|json| (name, json))) {
            // No line of the JSON is the word that ends it: each begins with a bracket, a quote or a blank.
            let _ = write!(text, "\n{name}() {{\n  cat <<'REQUEST'\n{json}REQUEST\n}}\n");
        }
    }

    /// Data volumes are uploaded by whoever made them.
    fn other_uploads(&self, text: &mut String) {
        if self.other_objects.is_empty() {
            return;
        }
        text.push_str("# 0. The data volumes have to be in S3 already.\n");
        for UserBucket { s3_bucket, s3_key } in &self.other_objects {
            let (bucket, key) = (quote(s3_bucket.as_bytes()), quote(s3_key.as_bytes()));
            let missing = quote(format!("s3://{s3_bucket}/{s3_key} is not there: upload that data volume first").as_bytes());
            let _ = writeln!(text, "aws s3api head-object --bucket {bucket} --key {key} >/dev/null || die {missing}");
        }
        text.push('\n');
    }

    fn upload_blocks(&self, text: &mut String) {
        text.push_str(
            "# 1. coldsnap writes the snapshot through the EBS direct API, zeros too: on an encrypted volume a block that was not written does not read\n\
             #    as zeros. (In a program of one's own: rootvol::stream::BlockSink gets every block that has to be written while the image is made.)\n\
             command -v coldsnap >/dev/null || die \"coldsnap is not installed: https://github.com/awslabs/coldsnap\"\n\
             raw=$image\n",
        );
        if !self.is_raw {
            text.push_str(
                "scratch=$image.ebs.raw\n\
                 if [ -e \"$scratch\" ]; then\n  other=$scratch scratch=''\n  die \"$other is in the way\"\nfi\n\
                 rootvol convert --quiet --format raw \"$image\" \"$scratch\"\nraw=$scratch\n",
            );
        }
        let mut options = format!("--volume-size {} --description {}", self.volume_gib, quote(self.title.as_bytes()));
        if let Some(key) = &self.kms_key_arn {
            let _ = write!(options, " --kms-key-id {}", quote(key.as_bytes()));
        }
        for tag in &self.tags {
            let _ = write!(options, " \\\n  --tag {}", quote(format!("Key={},Value={}", tag.key, tag.value).as_bytes()));
        }
        let _ = write!(text, "say \"writing the snapshot\"\nsnapshots=$(coldsnap upload --no-progress {options} \\\n  \"$raw\")\n\n# 2. EBS completes it.\n");
        text.push_str(include_str!("ebs-wait.sh"));
    }

    fn makes_ami(&self) -> bool {
        self.route == Route::ImportImage || self.register_image.is_some()
    }

    fn make_ami(&self, text: &mut String) {
        let (mut step, placeholder) = (2, IMAGE_PLACEHOLDER);
        let mut next = |text: &mut String, what: &str| {
            step += 1;
            let _ = writeln!(text, "# {step}. {what}");
        };
        if self.register_image.is_some() {
            next(text, "The snapshot becomes an AMI.");
            let _ = write!(
                text,
                "ami=$(aws ec2 register-image --cli-input-json \"$(register_image | sed \"s/{SNAPSHOT_PLACEHOLDER}/$snapshots/\")\" --query ImageId --output text)\n\
                 say \"$ami is registered\"\n"
            );
        }
        if self.makes_ami() {
            text.push_str(include_str!("available.sh"));
            text.push('\n');
        }
        if self.route == Route::ImportImage && !self.tags.is_empty() {
            next(text, "The import tags its task, not the AMI.");
            let tags = serde_json::to_string(&self.tags).expect("tags are strings");
            let _ = writeln!(text, "aws ec2 create-tags --resources \"$ami\" --tags {} >&2\n", quote(tags.as_bytes()));
        }
        if self.require_imds_v2 {
            next(text, "Instances require IMDSv2, which the import cannot be told.");
            text.push_str("aws ec2 modify-image-attribute --image-id \"$ami\" --imds-support Value=v2.0 >&2\n\n");
        }
        let steps = [
            (self.deprecation.is_some(), "The AMI is deprecated in time.", "enable-image-deprecation", "deprecation"),
            (self.launch_permission.is_some(), "It is shared.", "modify-image-attribute", "launch_permission"),
            (self.deregistration_protection.is_some(), "It is kept.", "enable-image-deregistration-protection", "deregistration_protection"),
        ];
        for (_, what, command, request) in steps.into_iter().filter(|(wanted, ..)| *wanted) {
            next(text, what);
            let _ = writeln!(text, "aws ec2 {command} --cli-input-json \"$({request} | sed \"s/{placeholder}/$ami/\")\" >&2\n");
        }
    }

    fn end(&self, text: &mut String) {
        if self.object.is_some() {
            text.push_str("say \"done; the uploaded image is not needed any more: aws s3 rm $object\"\n");
        }
        let result = if self.makes_ami() { "ami" } else { "snapshots" };
        let _ = writeln!(text, "printf '%s\\n' \"${result}\"");
    }
}
