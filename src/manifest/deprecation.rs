//! `deprecation.json`: the request of EnableImageDeprecation, which says from when on an AMI is deprecated: still there for
//! those who use it, no longer shown to others (EC2 API reference, EnableImageDeprecation; EC2 user guide, "Deprecate an AMI").
//!
//! The limits depend on the day: not in the past, at most ten years from now, for a public AMI at most two years after it was
//! made. A document has no clock, so [`EnableImageDeprecationRequest::check_at`] is told the time.

use super::ami::Ami;
use super::time::UtcTime;
use super::{rules, shapes};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The whole request: `aws ec2 enable-image-deprecation --cli-input-json file://…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableImageDeprecationRequest {
    /// The AMI.
    pub image_id: String,
    /// From when on; EC2 rounds to the minute.
    pub deprecate_at: UtcTime,
}

impl Ami {
    /// The request that deprecates the AMI when it was said that it shall.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where no time is given, and for what [`Ami::check`] finds.
    pub fn deprecation(&self) -> Result<EnableImageDeprecationRequest> {
        self.check()?;
        let missing = || Error::invalid("a deprecation needs its time: `deprecate_at` is missing (EC2 API, EnableImageDeprecation, DeprecateAt)");
        let request = EnableImageDeprecationRequest { image_id: self.image_id.clone(), deprecate_at: self.deprecate_at.ok_or_else(missing)? };
        request.check()?;
        Ok(request)
    }
}

impl EnableImageDeprecationRequest {
    /// Holds the request to the rules that do not depend on the day.
    ///
    /// # Errors
    /// An id that is none.
    pub fn check(&self) -> Result<()> {
        rules::image_id(&self.image_id)
    }

    /// [`EnableImageDeprecationRequest::check`], and that the time is one that EC2 takes now, of an AMI made today.
    ///
    /// # Errors
    /// A time that has passed, or is later than AWS allows.
    pub fn check_at(&self, now: UtcTime, public: bool) -> Result<()> {
        self.check()?;
        rules::deprecation(self.deprecate_at, now, public)
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}
