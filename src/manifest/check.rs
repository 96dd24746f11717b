//! What is wrong with the choices of `[ami]` by themselves, and at which key, so that a recipe's mistakes get line and column.

use super::choices::AmiChoices;
use super::devices;
use super::rules;
use super::time::UtcTime;
use super::values::BootMode;
use crate::error::{Error, Result};

/// A choice that is wrong: the keys that lead to it from `[ami]`, and why.
pub(crate) type Wrong = (Vec<String>, Error);

/// Names the key of a rule that is broken.
pub(super) fn at(key: &str, result: Result<()>) -> Result<(), Wrong> {
    result.map_err(|error| (vec![key.to_owned()], error))
}

/// [`at`] for a value that need not be there.
pub(super) fn each<'a, T: ?Sized>(key: &str, value: Option<&'a T>, rule: impl Fn(&'a T) -> Result<()>) -> Result<(), Wrong> {
    value.map_or(Ok(()), |value| at(key, rule(value)))
}

/// Puts keys in front of those of a mistake.
pub(super) fn within<'a>(keys: impl IntoIterator<Item = &'a str>, result: Result<(), Wrong>) -> Result<(), Wrong> {
    result.map_err(|(inner, error)| (keys.into_iter().map(str::to_owned).chain(inner).collect(), error))
}

impl AmiChoices {
    /// Checks the choices by themselves, without an image.
    ///
    /// # Errors
    /// The first choice that AWS would refuse, with the rule's source.
    pub fn check(&self) -> Result<()> {
        self.find_wrong().map_err(|(_, error)| error)
    }

    /// Checks what depends on the day: an AMI is deprecated in the future, and not too far in it.
    ///
    /// # Errors
    /// A time that has passed, or is later than AWS allows.
    pub fn check_at(&self, now: UtcTime) -> Result<()> {
        self.deprecate_at.map_or(Ok(()), |time| rules::deprecation(time, now, self.launch_permission.public))
    }

    /// The first choice that [`AmiChoices::check`] objects to, and why.
    pub(crate) fn find_wrong(&self) -> Result<(), Wrong> {
        self.check_words()?;
        self.check_import()?;
        self.check_volumes()?;
        self.check_sharing()?;
        if let Some(import) = &self.import_volume {
            within(["import_volume"], import.find_wrong(self.key.is_some()))?;
        }
        if let Some(role) = &self.vmimport_role {
            within(["vmimport_role"], role.find_wrong())?;
            if self.bucket.is_none() {
                return at("vmimport_role", Err(Error::invalid("the role's policy names the bucket that it reads: `bucket` is missing")));
            }
            each("kms_key_id", self.kms_key_id.as_deref(), |key| rules::kms_key_arn(key).map(|_| ()))?;
        }
        at("tags", rules::tags(&self.tags))
    }

    /// Names, ids and texts, each by its own rule.
    fn check_words(&self) -> Result<(), Wrong> {
        each("bucket", self.bucket.as_deref(), rules::bucket)?;
        each("key", self.key.as_deref(), rules::key)?;
        each("url", self.url.as_deref(), rules::object_url)?;
        each("name", self.name.as_deref(), rules::ami_name)?;
        each("description", self.description.as_deref(), rules::description)?;
        each("role_name", self.role_name.as_deref(), rules::role_name)?;
        each("usage_operation", self.usage_operation.as_deref(), rules::usage_operation)?;
        each("kms_key_id", self.kms_key_id.as_deref(), rules::kms_key_id)?;
        each("root_device_name", self.root_device_name.as_deref(), rules::root_device_name)?;
        each("snapshot_id", self.snapshot_id.as_deref(), rules::snapshot_id)?;
        each("image_id", self.image_id.as_deref(), rules::image_id)?;
        each("uefi_data", self.uefi_data.as_deref(), rules::uefi_data)?;
        if self.uefi_data.is_some() && self.uefi_data_file.is_some() {
            return at("uefi_data_file", Err(Error::invalid("`uefi_data` and `uefi_data_file` both give the UEFI variable store: one of them is to go")));
        }
        Ok(())
    }

    /// What imports are told.
    fn check_import(&self) -> Result<(), Wrong> {
        match (&self.bucket, &self.key) {
            // The policies of the role name a bucket without an object.
            (Some(_), None) if self.vmimport_role.is_none() => return at("bucket", Err(Error::invalid("`bucket` needs `key`: an import names both"))),
            (None, Some(_)) => return at("key", Err(Error::invalid("`key` needs `bucket`: an import names both"))),
            (_, Some(_)) if self.url.is_some() => {
                return at(
                    "url",
                    Err(Error::invalid("a disk container has a Url or a UserBucket: `url` and `key` exclude each other (EC2 API, ImageDiskContainer)")),
                );
            }
            _ => {}
        }
        at("kms_key_id", rules::encryption(self.encrypted, self.kms_key_id.as_deref()))?;
        at("license_type", rules::license(self.license_type, self.usage_operation.as_deref()))?;
        if self.attempt == Some(0) {
            return at("attempt", Err(Error::invalid("attempts are counted from 1")));
        }
        for (index, disk) in self.disks.iter().enumerate() {
            within(["disk", &index.to_string()], disk.find_wrong())?;
        }
        devices::import_names(&self.disks).map(|_| ()).map_err(|(index, error)| (vec!["disk".to_owned(), index.to_string()], error))
    }

    /// The root volume and the other devices.
    fn check_volumes(&self) -> Result<(), Wrong> {
        at("volume_type", rules::root_volume(self.volume_type(), self.iops, self.throughput))?;
        let gib = self.volume_size.map(rules::whole_gib).transpose();
        let gib = gib.map_err(|error| (vec!["volume_size".to_owned()], error))?;
        if let Some(gib) = gib {
            at("volume_size", rules::volume_size(self.volume_type(), gib))?;
            at("iops", rules::volume_ratios(self.volume_type(), gib, self.iops, self.throughput))?;
        }
        match (self.tpm_support, self.boot_mode) {
            (Some(_), Some(BootMode::Uefi) | None) | (None, _) => {}
            (Some(_), Some(_)) => return at("tpm_support", Err(rules::tpm_needs_uefi())),
        }
        let mut names = vec![self.root_device_name()];
        for (index, device) in self.devices.iter().enumerate() {
            let index = index.to_string();
            within(["device", &index], device.find_wrong())?;
            within(["device", &index], at("name", devices::check_new_name(&names, &device.name)))?;
            names.push(device.name.clone());
        }
        Ok(())
    }

    /// Who gets the AMI, and what of it cannot be given away.
    fn check_sharing(&self) -> Result<(), Wrong> {
        within(["launch_permission"], self.launch_permission.find_wrong())?;
        within(["remove_launch_permission"], self.remove_launch_permission.find_wrong())?;
        let (given, taken) = (self.launch_permission.list(), self.remove_launch_permission.list());
        if taken.iter().any(|entry| given.contains(entry)) {
            return at("remove_launch_permission", Err(Error::invalid("one launch permission is given and taken away at once")));
        }
        let encrypted_device = self.devices.iter().any(|device| device.encrypted == Some(true));
        if self.launch_permission.public && (self.encrypted == Some(true) || encrypted_device) {
            return within(["launch_permission"], at("public", Err(rules::public_is_not_encrypted())));
        }
        if !self.launch_permission.is_empty() && self.encrypted == Some(true) && self.kms_key_id.as_deref().is_none_or(|key| key.ends_with("alias/aws/ebs")) {
            return at("launch_permission", Err(rules::shared_needs_own_key()));
        }
        Ok(())
    }
}
