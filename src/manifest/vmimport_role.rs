//! The service role of VM Import/Export: who may assume it (trust policy) and what it may do (role policy), and a policy of the
//! bucket that lets it in (VM Import/Export user guide, "Required permissions"; IAM user guide, "Policy grammar").
//!
//! `aws iam create-role --role-name vmimport --assume-role-policy-document file://…vmimport-trust-policy.json`, then
//! `aws iam put-role-policy --role-name vmimport --policy-name vmimport --policy-document file://…vmimport-role-policy.json`.
//! A bucket in the same account needs no policy of its own; one in another account does.
//!
//! The key, where there is one, is named by its ARN: a policy's alias gives no right to what it stands for.

use super::check::{Wrong, each};
use super::choices::AmiChoices;
use super::values::Partition;
use super::{rules, shapes};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of IAM's policy language.
const POLICY_VERSION: &str = "2012-10-17";
/// The name that VM Import/Export looks for where a request names none.
const ROLE_NAME: &str = "vmimport";

/// The table `[ami.vmimport_role]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleChoices {
    /// `aws` (the default), `aws-cn` or `aws-us-gov`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// The account: the role then serves imports of this account only, and the bucket's policy can name the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_account: Option<String>,
}

impl RoleChoices {
    pub(super) fn find_wrong(&self) -> Result<(), Wrong> {
        each("source_account", self.source_account.as_deref(), rules::account)
    }
}

/// The role and its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct VmImportRole {
    /// The role's name.
    pub role_name: String,
    /// Who may assume it.
    pub trust_policy: PolicyDocument,
    /// What it may do.
    pub role_policy: PolicyDocument,
    /// What the bucket lets it do: where the account is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_policy: Option<PolicyDocument>,
}

/// A policy of IAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyDocument {
    /// The version of the language.
    pub version: String,
    /// What is allowed and what is denied.
    pub statement: Vec<Statement>,
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    /// What it is for: letters and digits.
    pub sid: String,
    /// Allow or Deny.
    pub effect: Effect,
    /// Who; in policies of roles and buckets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub principal: BTreeMap<String, String>,
    /// What is done.
    pub action: Vec<String>,
    /// To what; a trust policy has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// When: operator, key, value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Lets.
    Allow,
    /// Keeps from, whatever lets.
    Deny,
}

impl AmiChoices {
    /// The role that imports with these choices need: for the bucket, the KMS key where there is one, and the role's name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a bucket, for a KMS key that is not named by its ARN, and for an ARN of another partition.
    pub fn vmimport_role(&self) -> Result<VmImportRole> {
        let with_role = Self { vmimport_role: Some(self.vmimport_role.clone().unwrap_or_default()), ..self.clone() };
        with_role.check()?;
        let chosen = with_role.vmimport_role.unwrap_or_default();
        let bucket = self.bucket.as_deref().ok_or_else(|| Error::invalid("the role's policy names the bucket that it reads: `bucket` is missing"))?;
        let partition = chosen.partition.unwrap_or_default();
        if let Some(key) = self.kms_key_id.as_deref().filter(|key| rules::kms_key_arn(key).ok() != Some(partition)) {
            return Err(Error::invalid(format!("the key {key} is not in the partition {}: choose another `partition`", partition.name())));
        }
        let mut buckets = vec![bucket];
        buckets.extend(self.disks.iter().filter_map(|disk| disk.bucket.as_deref()).filter(|other| *other != bucket));
        let role_name = self.role_name.clone().unwrap_or_else(|| ROLE_NAME.to_owned());
        let account = chosen.source_account.as_deref();
        let role = VmImportRole {
            trust_policy: trust_policy(partition, account),
            role_policy: role_policy(partition, &buckets, self.kms_key_id.as_deref()),
            bucket_policy: account.map(|account| bucket_policy(partition, account, &role_name, bucket)),
            role_name,
        };
        role.check()?;
        Ok(role)
    }
}

impl VmImportRole {
    /// Holds the policies to IAM's grammar.
    ///
    /// # Errors
    /// The first rule that one breaks.
    pub fn check(&self) -> Result<()> {
        rules::role_name(&self.role_name)?;
        self.trust_policy.check()?;
        self.role_policy.check()?;
        self.bucket_policy.as_ref().map_or(Ok(()), PolicyDocument::check)
    }

    /// Name and policies as JSON, for people and programs.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}

impl PolicyDocument {
    fn new(statement: Vec<Statement>) -> Self {
        Self { version: POLICY_VERSION.to_owned(), statement }
    }

    /// Holds the policy to IAM's grammar, as far as policies here use it.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<()> {
        let wrong = |rule: &str| Err(Error::invalid(format!("{rule} (IAM user guide, policy grammar)")));
        if self.version != POLICY_VERSION || self.statement.is_empty() {
            return wrong("a policy has version 2012-10-17 and at least one statement");
        }
        for (index, statement) in self.statement.iter().enumerate() {
            if statement.sid.is_empty() || !statement.sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return wrong("a statement's Sid is letters and digits");
            }
            if self.statement[..index].iter().any(|other| other.sid == statement.sid) {
                return wrong("the Sids of a policy differ");
            }
            if statement.action.is_empty() || !statement.action.iter().all(|action| action.split(':').count() == 2) {
                return wrong("a statement has actions of the form service:Action");
            }
            if statement.resource.is_empty() && statement.principal.is_empty() {
                return wrong("a statement has a principal or resources");
            }
            if !statement.resource.iter().all(|resource| resource == "*" || resource.starts_with("arn:")) {
                return wrong("a resource is an ARN or *");
            }
        }
        Ok(())
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}

fn statement(sid: &str, effect: Effect, action: &[&str], resource: Vec<String>) -> Statement {
    let action = action.iter().map(|action| (*action).to_owned()).collect();
    Statement { sid: sid.to_owned(), effect, principal: BTreeMap::new(), action, resource, condition: BTreeMap::new() }
}

fn one<V>(key: &str, value: V) -> BTreeMap<String, V> {
    BTreeMap::from([(key.to_owned(), value)])
}

/// VM Import/Export may assume the role, with the external id `vmimport`; for imports of one account only, where one is named.
fn trust_policy(partition: Partition, account: Option<&str>) -> PolicyDocument {
    let mut trust = statement("VMImportAssumesTheRole", Effect::Allow, &["sts:AssumeRole"], Vec::new());
    trust.principal = one("Service", "vmie.amazonaws.com".to_owned());
    let mut equals = one("sts:Externalid", "vmimport".to_owned());
    if let Some(account) = account {
        equals.insert("aws:SourceAccount".to_owned(), account.to_owned());
        let source = format!("arn:{}:vmie:*:{account}:*", partition.name());
        trust.condition.insert("ArnLike".to_owned(), one("aws:SourceArn", source));
    }
    trust.condition.insert("StringEquals".to_owned(), equals);
    PolicyDocument::new(vec![trust])
}

/// What an import does: read the objects, make snapshots and AMIs, use the key.
fn role_policy(partition: Partition, buckets: &[&str], kms_key: Option<&str>) -> PolicyDocument {
    let arn = |rest: &str| format!("arn:{}:s3:::{rest}", partition.name());
    let objects = buckets.iter().flat_map(|bucket| [arn(bucket), arn(&format!("{bucket}/*"))]).collect();
    let mut statements = vec![
        statement("ReadTheImages", Effect::Allow, &["s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"], objects),
        statement(
            "MakeSnapshotsAndImages",
            Effect::Allow,
            &["ec2:ModifySnapshotAttribute", "ec2:CopySnapshot", "ec2:RegisterImage", "ec2:Describe*"],
            vec!["*".to_owned()],
        ),
    ];
    if let Some(key) = kms_key {
        let actions = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"];
        statements.push(statement("UseTheKey", Effect::Allow, &actions, vec![key.to_owned()]));
    }
    PolicyDocument::new(statements)
}

/// The role may read, and nobody without TLS. For a bucket of another account than the role's.
fn bucket_policy(partition: Partition, account: &str, role_name: &str, bucket: &str) -> PolicyDocument {
    let name = partition.name();
    let (whole, objects) = (format!("arn:{name}:s3:::{bucket}"), format!("arn:{name}:s3:::{bucket}/*"));
    let role = one("AWS", format!("arn:{name}:iam::{account}:role/{role_name}"));
    let mut list = statement("VMImportFindsTheBucket", Effect::Allow, &["s3:GetBucketLocation", "s3:ListBucket"], vec![whole.clone()]);
    list.principal.clone_from(&role);
    let mut read = statement("VMImportReadsTheImages", Effect::Allow, &["s3:GetObject"], vec![objects.clone()]);
    read.principal = role;
    let mut deny = statement("OnlyWithTls", Effect::Deny, &["s3:*"], vec![whole, objects]);
    deny.principal = one("AWS", "*".to_owned());
    deny.condition = one("Bool", one("aws:SecureTransport", "false".to_owned()));
    PolicyDocument::new(vec![list, read, deny])
}
