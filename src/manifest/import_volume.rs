//! `import-volume.xml` and `import-volume.json`: the manifest of the older import, and the request of ImportVolume that names it
//! (EC2 API reference, ImportVolume; "VM import manifest"). It makes an EBS volume, of which a snapshot and an AMI are made.
//!
//! ```text
//! manifest ─ version, file-format, importer, self-destruct-url
//!          └ import ─ size (bytes of the file), volume-size (GiB)
//!                   └ parts ─ part ─ byte-range start..=end, key, head-url, get-url, delete-url
//! ```
//!
//! The image lies in S3 as one object, or cut into parts; AWS reads it through presigned URLs, which only the owner of the
//! bucket can make (`aws s3 presign` makes those of GET): they are given, not made here. Whoever has such a URL can do what it
//! was signed for until it ends, so a manifest is as secret as they are.
//!
//! `end` of a byte range is inclusive, as in the first of AWS's two examples; the second has one byte too many.
//! The aws command has no import-volume any more; the API has, in the Regions where it always was.
//!
//! **Refused**: disks of 16 TiB and more, URLs that are not https, patterns without a mark for the part where there are
//! several parts, parts of less than 1 MiB.

use super::ami::gib_of;
use super::check::{Wrong, at, each};
use super::choices::AmiChoices;
use super::shapes::{self, DiskFormat};
use super::{import_image::check_disk, import_snapshot::check_size, rules};
use crate::error::{Error, Result, escape};
use crate::report::Report;
use crate::units::{MIB, Size};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The version of the manifest's form.
const VERSION: &str = "2010-11-15";
/// Parts that a manifest has at most, so that it stays a text that can be read.
const PARTS_MAX: u64 = 100_000;
/// The smallest part.
const PART_MIN_BYTES: u64 = MIB;
/// What stands for the number of a part in a pattern, from 0.
const PART_MARK: &str = "{part}";

/// The table `[ami.import_volume]`. In the URLs `{part}` stands for the number of a part, from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportVolumeChoices {
    /// Size of a part. Default: the image is one part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_size: Option<Size>,
    /// Key of a part. Default: the image's key, and `.part` and the number where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_key: Option<String>,
    /// Presigned URL that HEAD of a part is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_url: Option<String>,
    /// Presigned URL that GET of a part is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_url: Option<String>,
    /// Presigned URL that DELETE of a part is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_url: Option<String>,
    /// The URLs of each part, in place of patterns: signatures differ from part to part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartUrls>,
    /// Presigned URL that DELETE of the manifest is sent to, when the import has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_destruct_url: Option<String>,
    /// Presigned URL that GET of the manifest is sent to; for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_url: Option<String>,
    /// Where the volume is made, such as `us-east-1a`; for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

/// The URLs of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartUrls {
    /// For HEAD.
    pub head_url: String,
    /// For GET.
    pub get_url: String,
    /// For DELETE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_url: Option<String>,
}

impl ImportVolumeChoices {
    pub(super) fn find_wrong(&self, has_key: bool) -> Result<(), Wrong> {
        if let Some(size) = self.part_size.filter(|size| size.as_bytes() < PART_MIN_BYTES) {
            return at("part_size", Err(Error::invalid(format!("a part has at least {}, not {size}", Size::bytes(PART_MIN_BYTES)))));
        }
        each("part_key", self.part_key.as_deref(), rules::key)?;
        if self.part_key.is_none() && !has_key {
            return at("part_key", Err(Error::invalid("the parts are objects: `part_key` is missing, or `bucket` and `key` of the image")));
        }
        each("head_url", self.head_url.as_deref(), rules::https_url)?;
        each("get_url", self.get_url.as_deref(), rules::https_url)?;
        each("delete_url", self.delete_url.as_deref(), rules::https_url)?;
        each("self_destruct_url", self.self_destruct_url.as_deref(), rules::https_url)?;
        each("manifest_url", self.manifest_url.as_deref(), rules::https_url)?;
        let zone = |zone: &str| if is_zone(zone) { Ok(()) } else { Err(Error::invalid(format!("\"{}\" is no availability zone", escape(zone.as_bytes())))) };
        each("availability_zone", self.availability_zone.as_deref(), zone)?;
        let patterns = self.head_url.is_some() || self.get_url.is_some() || self.delete_url.is_some();
        if patterns && !self.parts.is_empty() {
            return at("parts", Err(Error::invalid("the URLs of parts are given one by one or as patterns, not both")));
        }
        for (index, part) in self.parts.iter().enumerate() {
            let urls = [("head_url", Some(&part.head_url)), ("get_url", Some(&part.get_url)), ("delete_url", part.delete_url.as_ref())];
            for (key, url) in urls {
                let wrong = |error| (vec!["parts".to_owned(), index.to_string(), key.to_owned()], error);
                url.map_or(Ok(()), |url| rules::https_url(url)).map_err(wrong)?;
            }
        }
        Ok(())
    }
}

/// Such as `us-east-1a`, or the id `use1-az1`.
fn is_zone(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct ImportVolumeManifest {
    /// Always `2010-11-15`.
    pub version: String,
    /// The file's format.
    pub file_format: DiskFormat,
    /// What wrote the manifest.
    pub importer: Importer,
    /// Where DELETE of the manifest is sent.
    pub self_destruct_url: String,
    /// The image.
    pub import: ManifestImport,
}

/// What wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Importer {
    /// `rootvol`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The release of the form.
    pub release: String,
}

/// The image of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestImport {
    /// Bytes of the file.
    pub size: u64,
    /// GiB of the volume.
    pub volume_size: u64,
    /// The parts of the file, in order.
    pub parts: Vec<ManifestPart>,
}

/// A part of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestPart {
    /// Number, from 0.
    pub index: u64,
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
    /// The object.
    pub key: String,
    /// Where HEAD is sent.
    pub head_url: String,
    /// Where GET is sent.
    pub get_url: String,
    /// Where DELETE is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_url: Option<String>,
}

/// The request of ImportVolume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ImportVolumeRequest {
    /// Where the volume is made.
    pub availability_zone: String,
    /// What is imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The image.
    pub image: DiskImageDetail,
    /// The volume.
    pub volume: VolumeDetail,
}

/// The image of an ImportVolume request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DiskImageDetail {
    /// The file's format.
    pub format: DiskFormat,
    /// Bytes of the file. (The reference says GiB; what is in use sends bytes.)
    pub bytes: u64,
    /// Presigned URL that GET of the manifest is sent to.
    pub import_manifest_url: String,
}

/// The volume of an ImportVolume request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct VolumeDetail {
    /// GiB.
    pub size: u64,
}

impl Report {
    /// The legacy manifest of this image.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a disk that imports do not take; [`InvalidInput`](crate::ErrorKind::InvalidInput) where a URL is
    /// missing or is none, and for as many given parts as the image has not.
    pub fn import_volume_manifest(&self, choices: &AmiChoices) -> Result<ImportVolumeManifest> {
        choices.check()?;
        check_disk(self)?;
        check_size(self)?;
        let chosen = choices.import_volume.clone().unwrap_or_default();
        let missing = |what: &str| Error::invalid(format!("the manifest needs `{what}`, a presigned URL (EC2 API, VM import manifest)"));
        let manifest = ImportVolumeManifest {
            version: VERSION.to_owned(),
            file_format: shapes::disk_format(self)?,
            importer: Importer { name: "rootvol".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), release: VERSION.to_owned() },
            self_destruct_url: chosen.self_destruct_url.clone().ok_or_else(|| missing("self_destruct_url"))?,
            import: ManifestImport {
                size: self.file.size_bytes,
                volume_size: gib_of(self.disk.size_bytes),
                parts: parts(self.file.size_bytes, &chosen, choices.key.as_deref())?,
            },
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// The request that imports the image by its manifest.
    ///
    /// # Errors
    /// Those of a disk that imports do not take; a missing zone or URL of the manifest.
    pub fn import_volume(&self, choices: &AmiChoices) -> Result<ImportVolumeRequest> {
        choices.check()?;
        check_disk(self)?;
        check_size(self)?;
        let chosen = choices.import_volume.clone().unwrap_or_default();
        let missing = |what: &str| Error::invalid(format!("ImportVolume needs `{what}` (EC2 API, ImportVolume)"));
        let request = ImportVolumeRequest {
            availability_zone: chosen.availability_zone.ok_or_else(|| missing("availability_zone"))?,
            description: choices.description.clone().or_else(|| choices.ami_name(self.name.as_deref(), self.version.as_deref())),
            image: DiskImageDetail {
                format: shapes::disk_format(self)?,
                bytes: self.file.size_bytes,
                import_manifest_url: chosen.manifest_url.ok_or_else(|| missing("manifest_url"))?,
            },
            volume: VolumeDetail { size: gib_of(self.disk.size_bytes) },
        };
        request.check()?;
        Ok(request)
    }
}

/// The parts of a file of so many bytes.
fn parts(size_bytes: u64, chosen: &ImportVolumeChoices, image_key: Option<&str>) -> Result<Vec<ManifestPart>> {
    let part_bytes = chosen.part_size.map_or(size_bytes, Size::as_bytes).max(1);
    let count = size_bytes.div_ceil(part_bytes);
    if !(1..=PARTS_MAX).contains(&count) {
        return Err(Error::invalid(format!("a manifest has 1 to {PARTS_MAX} parts, not {count}: choose another `part_size`")));
    }
    let given = crate::units::u64_of(chosen.parts.len());
    if given != 0 && given != count {
        return Err(Error::invalid(format!("URLs are given for {given} parts, and the file of {size_bytes} bytes has {count}")));
    }
    let pattern = |what: &str, pattern: Option<&String>| -> Result<String> {
        let pattern =
            pattern.ok_or_else(|| Error::invalid(format!("the manifest needs `{what}`, a presigned URL of each part (EC2 API, VM import manifest)")))?;
        if count > 1 && !pattern.contains(PART_MARK) {
            return Err(Error::invalid(format!("`{what}` is one URL for {count} parts: {PART_MARK} in it stands for the number of a part")));
        }
        Ok(pattern.clone())
    };
    let default_key = image_key.map(|key| if count > 1 { format!("{key}.part{PART_MARK}") } else { key.to_owned() });
    let key = pattern("part_key", chosen.part_key.as_ref().or(default_key.as_ref()))?;
    let urls = if given == 0 {
        let delete_url = chosen.delete_url.as_ref().map(|url| pattern("delete_url", Some(url))).transpose()?;
        Some(PartUrls { head_url: pattern("head_url", chosen.head_url.as_ref())?, get_url: pattern("get_url", chosen.get_url.as_ref())?, delete_url })
    } else {
        None
    };
    let part = |index: u64| {
        let number = index.to_string();
        let filled = |text: &String| text.replace(PART_MARK, &number);
        let own = usize::try_from(index).ok().and_then(|index| chosen.parts.get(index));
        let urls = match (own, &urls) {
            (Some(own), _) => own.clone(),
            (None, Some(urls)) => {
                PartUrls { head_url: filled(&urls.head_url), get_url: filled(&urls.get_url), delete_url: urls.delete_url.as_ref().map(filled) }
            }
            (None, None) => PartUrls::default(),
        };
        let start = index * part_bytes;
        let end = start.saturating_add(part_bytes).min(size_bytes) - 1;
        ManifestPart { index, start, end, key: filled(&key), head_url: urls.head_url, get_url: urls.get_url, delete_url: urls.delete_url }
    };
    Ok((0..count).map(part).collect())
}

impl ImportVolumeManifest {
    /// Holds the manifest to its form: parts without gap from the first byte to the last, and URLs that are some.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<()> {
        if self.version != VERSION {
            return Err(Error::invalid(format!("a manifest has version {VERSION} (EC2 API, VM import manifest)")));
        }
        rules::https_url(&self.self_destruct_url)?;
        let mut next = 0;
        for (number, part) in self.import.parts.iter().enumerate() {
            if part.index != crate::units::u64_of(number) || part.start != next || part.end < part.start || part.end >= self.import.size {
                return Err(Error::invalid(format!(
                    "part {number} of the manifest is bytes {} to {} with index {}: the parts follow each other from byte 0 to the last of {} bytes",
                    part.start, part.end, part.index, self.import.size
                )));
            }
            next = part.end + 1;
            rules::key(&part.key)?;
            for url in [Some(&part.head_url), Some(&part.get_url), part.delete_url.as_ref()].into_iter().flatten() {
                rules::https_url(url)?;
            }
        }
        if next != self.import.size || self.import.size == 0 {
            return Err(Error::invalid(format!("the parts of the manifest end at byte {next}, and the file has {}", self.import.size)));
        }
        Ok(())
    }

    /// The manifest as XML, without a namespace, as AWS's examples are.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let Self { version, file_format, importer, self_destruct_url, import } = self;
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<manifest>\n");
        element(&mut xml, 1, "version", version);
        element(&mut xml, 1, "file-format", &rules::word(file_format));
        xml += "  <importer>\n";
        element(&mut xml, 2, "name", &importer.name);
        element(&mut xml, 2, "version", &importer.version);
        element(&mut xml, 2, "release", &importer.release);
        xml += "  </importer>\n";
        element(&mut xml, 1, "self-destruct-url", self_destruct_url);
        xml += "  <import>\n";
        element(&mut xml, 2, "size", &import.size.to_string());
        element(&mut xml, 2, "volume-size", &import.volume_size.to_string());
        let _ = writeln!(xml, "    <parts count=\"{}\">", import.parts.len());
        for part in &import.parts {
            let _ = writeln!(xml, "      <part index=\"{}\">\n        <byte-range end=\"{}\" start=\"{}\"/>", part.index, part.end, part.start);
            element(&mut xml, 4, "key", &part.key);
            element(&mut xml, 4, "head-url", &part.head_url);
            element(&mut xml, 4, "get-url", &part.get_url);
            if let Some(url) = &part.delete_url {
                element(&mut xml, 4, "delete-url", url);
            }
            xml += "      </part>\n";
        }
        xml += "    </parts>\n  </import>\n</manifest>\n";
        xml
    }
}

fn element(xml: &mut String, depth: usize, name: &str, text: &str) {
    let _ = writeln!(xml, "{:indent$}<{name}>{}</{name}>", "", escape_xml(text), indent = 2 * depth);
}

/// Character data (XML 1.0, section 2.4). Control characters, which XML has not, are refused before ([`ImportVolumeManifest::check`]).
fn escape_xml(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            c => out.push(c),
        }
        out
    })
}

impl ImportVolumeRequest {
    /// Holds the request to the rules of ImportVolume.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<()> {
        if !is_zone(&self.availability_zone) {
            return Err(Error::invalid(format!("\"{}\" is no availability zone", escape(self.availability_zone.as_bytes()))));
        }
        self.description.as_deref().map_or(Ok(()), rules::description)?;
        if self.image.bytes == 0 || self.volume.size == 0 {
            return Err(Error::invalid("ImportVolume takes an image with bytes and a volume with GiB (EC2 API, DiskImageDetail)"));
        }
        rules::https_url(&self.image.import_manifest_url)
    }

    /// The request as JSON; for an SDK: the aws command has no import-volume any more.
    #[must_use]
    pub fn to_json(&self) -> String {
        shapes::to_json(self)
    }
}
