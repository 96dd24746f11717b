//! `launch-permission.json`: the request of ModifyImageAttribute that says who may launch instances of an AMI (EC2 API
//! reference, ModifyImageAttribute, LaunchPermissionModifications; EC2 user guide, "Shared AMIs").
//!
//! An entry is exactly one of a group (`all`: the AMI is public), an account, an organization and an organizational unit,
//! the last two by their whole ARNs. A public AMI has no encrypted volume; an encrypted one is shared with a customer
//! managed key only: [`AmiChoices::check`](super::AmiChoices::check) refuses what is known of that before anything is made.

use super::ami::Ami;
use super::check::{Wrong, at};
use super::{rules, shapes};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most entities that an AMI is shared with (EC2 user guide, AMI quotas).
const ENTITIES_MAX: usize = 1_000;

/// The table `[ami.launch_permission]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchPermissions {
    /// Everybody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// Accounts: twelve digits each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Whole ARNs of organizations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// Whole ARNs of organizational units.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizational_units: Vec<String>,
}

impl LaunchPermissions {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.public && self.users.is_empty() && self.organizations.is_empty() && self.organizational_units.is_empty()
    }

    /// The entries of a request, in the order of the fields.
    #[must_use]
    pub fn list(&self) -> Vec<LaunchPermission> {
        let entry = LaunchPermission::default;
        let group = self.public.then(|| LaunchPermission { group: Some(PermissionGroup::All), ..entry() });
        let users = self.users.iter().map(|id| LaunchPermission { user_id: Some(id.clone()), ..entry() });
        let organizations = self.organizations.iter().map(|arn| LaunchPermission { organization_arn: Some(arn.clone()), ..entry() });
        let units = self.organizational_units.iter().map(|arn| LaunchPermission { organizational_unit_arn: Some(arn.clone()), ..entry() });
        group.into_iter().chain(users).chain(organizations).chain(units).collect()
    }

    pub(super) fn find_wrong(&self) -> Result<(), Wrong> {
        type Rule = fn(&str) -> Result<()>;
        let lists: [(&str, &[String], Rule); 3] = [
            ("users", &self.users, rules::account),
            ("organizations", &self.organizations, rules::organization_arn),
            ("organizational_units", &self.organizational_units, rules::organizational_unit_arn),
        ];
        for (key, list, rule) in lists {
            for (index, text) in list.iter().enumerate() {
                let again = || Error::invalid("it is named twice");
                let result = rule(text).and_then(|()| if list[..index].contains(text) { Err(again()) } else { Ok(()) });
                result.map_err(|error| (vec![key.to_owned(), index.to_string()], error))?;
            }
        }
        at("users", check_count(&self.list()))
    }
}

/// The whole request: `aws ec2 modify-image-attribute --cli-input-json file://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ModifyImageAttributeRequest {
    /// The AMI.
    pub image_id: String,
    /// Who is added and who is taken away.
    pub launch_permission: LaunchPermissionModifications,
}

/// Changes of launch permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct LaunchPermissionModifications {
    /// Who may launch instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<LaunchPermission>,
    /// Who may no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<LaunchPermission>,
}

/// One who may launch instances: exactly one member is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct LaunchPermission {
    /// Everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<PermissionGroup>,
    /// An account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// An organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_arn: Option<String>,
    /// An organizational unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_unit_arn: Option<String>,
}

/// The only group there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PermissionGroup {
    /// Everybody: the AMI is public.
    All,
}

impl LaunchPermission {
    /// Holds the entry to its rules.
    fn check(&self) -> Result<()> {
        let said = [self.group.is_some(), self.user_id.is_some(), self.organization_arn.is_some(), self.organizational_unit_arn.is_some()];
        let said = said.into_iter().filter(|said| *said).count();
        if said != 1 {
            return Err(Error::invalid(format!("a launch permission is for one group, account, organization or unit, not {said} (EC2 API, LaunchPermission)")));
        }
        self.user_id.as_deref().map_or(Ok(()), rules::account)?;
        self.organization_arn.as_deref().map_or(Ok(()), rules::organization_arn)?;
        self.organizational_unit_arn.as_deref().map_or(Ok(()), rules::organizational_unit_arn)
    }
}

fn check_count(list: &[LaunchPermission]) -> Result<()> {
    if list.len() > ENTITIES_MAX {
        return Err(Error::invalid(format!("an AMI is shared with at most {ENTITIES_MAX} entities, not {} (EC2 user guide, AMI quotas)", list.len())));
    }
    Ok(())
}

impl Ami {
    /// The request that shares the AMI, and takes away what is to be taken away.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) where nobody is named, and for what [`Ami::check`] finds.
    pub fn launch_permission(&self) -> Result<ModifyImageAttributeRequest> {
        self.check()?;
        let request = ModifyImageAttributeRequest {
            image_id: self.image_id.clone(),
            launch_permission: LaunchPermissionModifications { add: self.launch_permissions.clone(), remove: self.remove_launch_permissions.clone() },
        };
        request.check()?;
        Ok(request)
    }
}

impl ModifyImageAttributeRequest {
    /// Holds the request to the rules of ModifyImageAttribute, those in prose included.
    ///
    /// # Errors
    /// The first rule that it breaks, with its source.
    pub fn check(&self) -> Result<()> {
        rules::image_id(&self.image_id)?;
        let LaunchPermissionModifications { add, remove } = &self.launch_permission;
        if add.is_empty() && remove.is_empty() {
            return Err(Error::invalid("a launch permission is given to nobody and taken from nobody: name an account, an organization, a unit, or all"));
        }
        for list in [add, remove] {
            check_count(list)?;
            list.iter().try_for_each(LaunchPermission::check)?;
        }
        if add.iter().any(|entry| remove.contains(entry)) {
            return Err(Error::invalid("one launch permission is given and taken away at once"));
        }
        Ok(())
    }

    /// The document for `--cli-input-json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}
