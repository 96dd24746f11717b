//! StartSnapshot and CompleteSnapshot, with the API's own member names (EBS direct API reference; the service model of
//! botocore 1.44).

use super::super::rules;
use super::super::shapes::Tag;
use super::super::token;
use super::VOLUME_MAX_GIB;
use crate::checksum::base64_decode;
use crate::error::{Error, Result, escape};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// StartSnapshot, Timeout, in minutes.
const TIMEOUTS: RangeInclusive<u32> = 10..=4320;
/// Tag, Value: one character less than EC2 takes.
const TAG_VALUE_MAX_CHARS: usize = 255;
/// IdempotencyToken.
const TOKEN_MAX_CHARS: usize = 255;
/// KmsKeyArn.
const KEY_MAX_CHARS: usize = 2048;

/// The request of StartSnapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct StartSnapshotRequest {
    /// Size of the volume in GiB: the disk's, rounded up.
    pub volume_size: u64,
    /// The snapshot that this one is written on top of; excludes `Encrypted` and `KmsKeyArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_snapshot_id: Option<String>,
    /// Whether the snapshot is encrypted. Where it is not said, the account's default holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// With which key; needs `Encrypted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// Minutes without a block after which AWS gives the snapshot up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// What it is: at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags of the snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Equal requests of one attempt have one token, and start one snapshot. [`StartSnapshotRequest::set_attempt`] renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl StartSnapshotRequest {
    /// Renews the ClientToken for attempt number `attempt`, from 1: SHA-256, in 64 hex digits, of the request without it as
    /// canonical JSON (members sorted, no blanks), a newline, and the number.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.client_token = Some(token::client_token(self, attempt));
    }

    /// Holds the request to the rules of StartSnapshot, those in prose included.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(format!("{message} (EBS direct API, StartSnapshot)")));
        if !(1..=VOLUME_MAX_GIB).contains(&self.volume_size) {
            return invalid(format!("a volume has 1 to {VOLUME_MAX_GIB} GiB, not {}", self.volume_size));
        }
        if self.parent_snapshot_id.is_some() && (self.encrypted.is_some() || self.kms_key_arn.is_some()) {
            return invalid("ParentSnapshotId excludes Encrypted and KmsKeyArn: the parent decides".to_owned());
        }
        self.parent_snapshot_id.as_deref().map_or(Ok(()), rules::snapshot_id)?;
        if self.kms_key_arn.is_some() && self.encrypted != Some(true) {
            return invalid("KmsKeyArn needs Encrypted".to_owned());
        }
        if let Some(arn) = self.kms_key_arn.as_deref().filter(|arn| !is_key_arn(arn)) {
            let shown = escape(arn.as_bytes());
            return invalid(format!(
                "\"{shown}\" is no KMS key: the key's ARN was expected, such as arn:aws:kms:us-east-1:012345678910:key/…, not an id or alias"
            ));
        }
        if let Some(timeout) = self.timeout.filter(|timeout| !TIMEOUTS.contains(timeout)) {
            return invalid(format!("Timeout is {} to {} minutes, not {timeout}", TIMEOUTS.start(), TIMEOUTS.end()));
        }
        match self.description.as_deref() {
            Some("") => return invalid("a description has at least one character".to_owned()),
            Some(text) => rules::description(text)?,
            None => {}
        }
        let good = |token: &str| (1..=TOKEN_MAX_CHARS).contains(&token.chars().count()) && !token.chars().any(char::is_whitespace);
        if self.client_token.as_deref().is_some_and(|token| !good(token)) {
            return invalid(format!("a ClientToken has 1 to {TOKEN_MAX_CHARS} characters without blanks"));
        }
        self.check_tags()
    }

    fn check_tags(&self) -> Result<()> {
        let mut all = BTreeMap::new();
        for Tag { key, value } in &self.tags {
            if all.insert(key.clone(), value.clone()).is_some() {
                return Err(Error::invalid(format!("the tag \"{}\" is given twice", escape(key.as_bytes()))));
            }
            let chars = value.chars().count();
            if chars > TAG_VALUE_MAX_CHARS {
                let key = escape(key.as_bytes());
                return Err(Error::invalid(format!(
                    "a tag's value has at most {TAG_VALUE_MAX_CHARS} characters, that of \"{key}\" has {chars} (EBS direct API, Tag)"
                )));
            }
        }
        rules::tags(&all)
    }
}

/// `arn:aws[a-z\-]*:kms:.*:[0-9]{12}:key/.*` (EBS direct API, KmsKeyArn).
fn is_key_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, key] = parts[..] else { return false };
    arn.len() <= KEY_MAX_CHARS
        && prefix == "arn"
        && partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        && service == "kms"
        && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && key.strip_prefix("key/").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic()))
}

/// The request of CompleteSnapshot; the snapshot that StartSnapshot has answered with is added to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct CompleteSnapshotRequest {
    /// How many blocks were put.
    pub changed_blocks_count: u64,
    /// SHA-256 over the digests of exactly these blocks (32 bytes each, not their text), ascending, in base64.
    pub checksum: String,
    /// `SHA256`.
    pub checksum_algorithm: String,
    /// `LINEAR`.
    pub checksum_aggregation_method: String,
}

impl CompleteSnapshotRequest {
    pub(super) fn new(changed_blocks_count: u64, checksum: String) -> Self {
        Self { changed_blocks_count, checksum, checksum_algorithm: "SHA256".to_owned(), checksum_aggregation_method: "LINEAR".to_owned() }
    }

    /// Holds the request to the rules of CompleteSnapshot.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        let digest = base64_decode(&self.checksum).is_some_and(|bytes| bytes.len() == 32);
        if digest && self.checksum_algorithm == "SHA256" && self.checksum_aggregation_method == "LINEAR" {
            return Ok(());
        }
        Err(Error::invalid("a snapshot is completed with a checksum of 32 bytes in base64, SHA256 and LINEAR (EBS direct API, CompleteSnapshot)"))
    }
}
