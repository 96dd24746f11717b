//! All documents of one image: those that can be written, and why the others cannot.

use super::ami::Ami;
use super::choices::AmiChoices;
use super::values::Route;
use crate::error::Result;
use crate::report::Report;
use std::fmt;
use std::path::Path;

/// The documents of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// Those to write beside the image.
    pub written: Vec<Document>,
    /// Those that AWS would refuse.
    pub withheld: Vec<Withheld>,
}

/// A document to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What follows the image's file name and a dot, such as `import-image.json`.
    pub suffix: &'static str,
    /// The text of the file: JSON, XML, or a script.
    pub text: String,
}

/// A document that is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// What its suffix would be.
    pub suffix: &'static str,
    /// Why, with the rule's source, and which route works: one line.
    pub reason: String,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is withheld: {}", self.suffix, self.reason)
    }
}

/// The suffixes, in the order of writing.
pub(super) const IMPORT_IMAGE: &str = "import-image.json";
pub(super) const CONTAINERS: &str = "containers.json";
pub(super) const IMPORT_SNAPSHOT: &str = "import-snapshot.json";
pub(super) const CONTAINER: &str = "container.json";
pub(super) const REGISTER_IMAGE: &str = "register-image.json";
/// Made of the block list besides the report, and so by whoever has it.
pub(crate) const EBS_SNAPSHOT: &str = "ebs-snapshot.json";
pub(super) const LAUNCH_PERMISSION: &str = "launch-permission.json";
pub(super) const DEPRECATION: &str = "deprecation.json";
pub(super) const DEREGISTRATION_PROTECTION: &str = "deregistration-protection.json";
pub(super) const IMPORT_VOLUME_MANIFEST: &str = "import-volume.xml";
pub(super) const IMPORT_VOLUME: &str = "import-volume.json";
pub(super) const TRUST_POLICY: &str = "vmimport-trust-policy.json";
pub(super) const ROLE_POLICY: &str = "vmimport-role-policy.json";
pub(super) const BUCKET_POLICY: &str = "bucket-policy.json";

/// The script of a route.
pub(super) const fn script_suffix(route: Route) -> &'static str {
    match route {
        Route::ImportImage => "import-image.sh",
        Route::ImportSnapshot => "import-snapshot.sh",
        Route::Ebs => "ebs.sh",
    }
}

impl Documents {
    /// Whether a document with this suffix is written.
    #[must_use]
    pub fn has(&self, suffix: &str) -> bool {
        self.written.iter().any(|document| document.suffix == suffix)
    }

    fn add(&mut self, suffix: &'static str, document: Result<String>) {
        match document {
            Ok(text) => self.written.push(Document { suffix, text }),
            Err(error) => self.withheld.push(Withheld { suffix, reason: error.to_string() }),
        }
    }
}

/// Every document that the choices ask for: those of the imports where they say where the image will lie, that of RegisterImage
/// where they say anything at all, and each of the others where they say what is in it. `image` is the image's file name, for scripts.
///
/// The plan of a snapshot needs the block list: [`Report::ebs_snapshot`] makes it.
/// Each document stands for itself: one that AWS would refuse is withheld, with the reason, and the others are written.
/// `containers.json` and `container.json` go with the requests that they are a part of. Choices that contradict the image withhold
/// documents too; a program that wants to fail before it writes an image asks [`AmiChoices::check_against`] first.
#[must_use]
pub fn documents(report: &Report, choices: &AmiChoices, image: &Path) -> Documents {
    let mut documents = Documents::default();
    for suffix in document_suffixes(choices).into_iter().filter(|suffix| *suffix != EBS_SNAPSHOT) {
        match document(report, choices, image, suffix) {
            // A part of a request that is withheld says no second time why.
            Err(_) if matches!(suffix, CONTAINERS | CONTAINER) => {}
            document => documents.add(suffix, document),
        }
    }
    documents
}

fn document(report: &Report, choices: &AmiChoices, image: &Path, suffix: &str) -> Result<String> {
    let ami = || report.ami(choices);
    Ok(match suffix {
        IMPORT_IMAGE => report.import_image_with(choices)?.to_json(),
        CONTAINERS => report.import_image_with(choices)?.containers_json(),
        IMPORT_SNAPSHOT => report.import_snapshot(choices)?.to_json(),
        CONTAINER => report.import_snapshot(choices)?.container_json(),
        LAUNCH_PERMISSION => ami()?.launch_permission()?.to_json(),
        DEPRECATION => ami()?.deprecation()?.to_json(),
        DEREGISTRATION_PROTECTION => ami()?.deregistration_protection()?.to_json(),
        IMPORT_VOLUME_MANIFEST => report.import_volume_manifest(choices)?.to_xml(),
        IMPORT_VOLUME => report.import_volume(choices)?.to_json(),
        TRUST_POLICY => choices.vmimport_role()?.trust_policy.to_json(),
        ROLE_POLICY => choices.vmimport_role()?.role_policy.to_json(),
        BUCKET_POLICY => choices.vmimport_role()?.bucket_policy.map(|policy| policy.to_json()).unwrap_or_default(),
        _ => match choices.script.iter().find(|route| script_suffix(**route) == suffix) {
            Some(route) => report.script(choices, *route, image)?.to_text(),
            None => ami().and_then(|ami| Ami::register_image(&ami))?.to_json(),
        },
    })
}

/// The suffixes of the documents that the choices ask for, whether or not AWS would take them.
#[must_use]
pub fn document_suffixes(choices: &AmiChoices) -> Vec<&'static str> {
    let import = choices.names_an_object();
    let share = !choices.launch_permission.is_empty() || !choices.remove_launch_permission.is_empty();
    let volume = choices.import_volume.as_ref();
    let role = choices.vmimport_role.as_ref();
    let wanted = [
        (IMPORT_IMAGE, import),
        (CONTAINERS, import),
        (IMPORT_SNAPSHOT, import),
        (CONTAINER, import),
        (REGISTER_IMAGE, *choices != AmiChoices::default()),
        (EBS_SNAPSHOT, choices.ebs_snapshot),
        (LAUNCH_PERMISSION, share),
        (DEPRECATION, choices.deprecate_at.is_some()),
        (DEREGISTRATION_PROTECTION, choices.deregistration_protection.is_some()),
        (IMPORT_VOLUME_MANIFEST, volume.is_some()),
        (IMPORT_VOLUME, volume.is_some_and(|volume| volume.manifest_url.is_some() || volume.availability_zone.is_some())),
        (TRUST_POLICY, role.is_some()),
        (ROLE_POLICY, role.is_some()),
        (BUCKET_POLICY, role.is_some_and(|role| role.source_account.is_some())),
    ];
    let scripts = [Route::ImportImage, Route::ImportSnapshot, Route::Ebs].into_iter().filter(|route| choices.script.contains(route));
    wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(suffix, _)| suffix).chain(scripts.map(script_suffix)).collect()
}
