//! All documents of one image: those that can be written, and why the others cannot.

use super::choices::AmiChoices;
use crate::error::Result;
use crate::report::Report;
use std::fmt;

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
    /// The text of the file.
    pub json: String,
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
pub(super) const REGISTER_IMAGE: &str = "register-image.json";

impl Documents {
    /// Whether a document with this suffix is written.
    #[must_use]
    pub fn has(&self, suffix: &str) -> bool {
        self.written.iter().any(|document| document.suffix == suffix)
    }

    fn add(&mut self, suffix: &'static str, document: Result<String>) {
        match document {
            Ok(json) => self.written.push(Document { suffix, json }),
            Err(error) => self.withheld.push(Withheld { suffix, reason: error.to_string() }),
        }
    }
}

/// Every document that `ami` asks for: those of the imports where it names a bucket and key, and that of RegisterImage
/// where it says anything at all.
///
/// Each document stands for itself: one that AWS would refuse is withheld, with the reason, and the others are written.
/// `containers.json` goes with `import-image.json`. Choices that contradict the image withhold documents too; a program
/// that wants to fail before it writes an image asks [`AmiChoices::check_against`] first.
#[must_use]
pub fn documents(report: &Report, ami: &AmiChoices) -> Documents {
    let mut documents = Documents::default();
    if ami.names_an_object() {
        let request = report.import_image_with(ami);
        let containers = request.as_ref().ok().map(super::ImportImageRequest::containers_json);
        documents.add(IMPORT_IMAGE, request.map(|request| request.to_json()));
        documents.written.extend(containers.map(|json| Document { suffix: CONTAINERS, json }));
        documents.add(IMPORT_SNAPSHOT, report.import_snapshot(ami).map(|request| request.to_json()));
    }
    if *ami != AmiChoices::default() {
        documents.add(REGISTER_IMAGE, report.register_image(ami).map(|request| request.to_json()));
    }
    documents
}

/// The suffixes of the documents that `ami` asks for, whether or not AWS would take them.
#[must_use]
pub fn document_suffixes(ami: &AmiChoices) -> &'static [&'static str] {
    match (ami.names_an_object(), *ami == AmiChoices::default()) {
        (true, _) => &[IMPORT_IMAGE, CONTAINERS, IMPORT_SNAPSHOT, REGISTER_IMAGE],
        (false, false) => &[REGISTER_IMAGE],
        (false, true) => &[],
    }
}
