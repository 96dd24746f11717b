//! `deregistration-protection.json`: the request of EnableImageDeregistrationProtection, which keeps an AMI from being
//! deregistered (EC2 API reference, EnableImageDeregistrationProtection).
//!
//! With a cooldown the AMI stays protected for 24 hours after the protection was taken away.

use super::ami::Ami;
use super::values::DeregistrationProtection;
use super::{rules, shapes};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The whole request: `aws ec2 enable-image-deregistration-protection --cli-input-json file://…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableImageDeregistrationProtectionRequest {
    /// The AMI.
    pub image_id: String,
    /// Whether the protection outlasts its end by 24 hours.
    pub with_cooldown: bool,
}

impl Ami {
    /// The request that protects the AMI.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where no protection was asked for, and for what [`Ami::check`] finds.
    pub fn deregistration_protection(&self) -> Result<EnableImageDeregistrationProtectionRequest> {
        self.check()?;
        let missing = || Error::invalid("no protection is asked for: `deregistration_protection` is missing");
        let with_cooldown = self.deregistration_protection.ok_or_else(missing)? == DeregistrationProtection::EnabledWithCooldown;
        Ok(EnableImageDeregistrationProtectionRequest { image_id: self.image_id.clone(), with_cooldown })
    }
}

impl EnableImageDeregistrationProtectionRequest {
    /// Holds the request to its rules.
    ///
    /// # Errors
    /// An id that is none.
    pub fn check(&self) -> Result<()> {
        rules::image_id(&self.image_id)
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}
