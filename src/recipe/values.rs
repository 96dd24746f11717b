//! Values that a recipe writes as text, each with one form: what is printed is what is read.

use super::base64;
use crate::error::{Error, Result};
use crate::units::{GIB, KIB, MIB, Size, TIB};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

/// Reads any type from its text form.
struct Text<T> {
    expected: &'static str,
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = Error>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// `Deserialize` by `FromStr`, `Serialize` by `Display`.
macro_rules! text_form {
    ($kind:ty, $expected:literal) => {
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text { expected: $expected, kind: PhantomData })
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

text_form!(DiskSize, "\"auto\" or a size with its unit, such as \"8 GiB\"");
text_form!(PartitionSize, "\"auto\", \"fill\" or a size with its unit, such as \"96 MiB\"");
text_form!(Journal, "\"auto\", \"none\" or a size with its unit, such as \"64 MiB\"");
text_form!(Initramfs, "\"auto\", \"none\" or a path in the tree");
text_form!(Owner, "an owner and a group, such as \"0:0\"");
text_form!(IdMap, "a range of ids, such as \"0:100000:65536\" (IMAGE:HOST:COUNT)");
text_form!(FileMode, "permissions as a string of octal digits, such as \"0644\"");
text_form!(VolumeId, "a FAT volume id, such as \"1234-ABCD\"");

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { expected: "a size with its unit, such as \"8 GiB\"", kind: PhantomData })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&exact(*self))
    }
}

/// A size in the largest unit that leaves no fraction: unlike what people are shown, nothing is rounded.
fn exact(size: Size) -> String {
    let bytes = size.as_bytes();
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

/// The size of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskSize {
    /// What is needed, rounded up.
    #[default]
    Auto,
    /// This size.
    Exact(Size),
}

impl FromStr for DiskSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Exact) }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Exact(size) => f.pad(&exact(*size)),
        }
    }
}

/// The size of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionSize {
    /// What the contents need.
    #[default]
    Auto,
    /// The rest of the disk.
    Fill,
    /// This size.
    Exact(Size),
}

impl FromStr for PartitionSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "fill" => Ok(Self::Fill),
            _ => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for PartitionSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fill => f.pad("fill"),
            Self::Exact(size) => f.pad(&exact(*size)),
        }
    }
}

/// The journal of an ext4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journal {
    /// As large as mke2fs makes it.
    #[default]
    Auto,
    /// No journal.
    None,
    /// This size.
    Exact(Size),
}

impl FromStr for Journal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::None => f.pad("none"),
            Self::Exact(size) => f.pad(&exact(*size)),
        }
    }
}

/// Which initramfs goes with the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Initramfs {
    /// The one that belongs to the kernel, if the tree has it.
    #[default]
    Auto,
    /// None, even if the tree has one.
    None,
    /// This file of the tree.
    Path(String),
}

impl FromStr for Initramfs {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "none" => Self::None,
            path => Self::Path(path.to_owned()),
        })
    }
}

impl fmt::Display for Initramfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Path(path) => path,
        })
    }
}

/// Numbers between colons, `N` of them, each without sign.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(':');
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// An owner and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let [uid, gid] = numbers(text).ok_or_else(|| Error::invalid(format!("{text:?} is no owner: two numbers below 2^32 were expected, such as \"0:0\"")))?;
        Ok(Self { uid, gid })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A range of ids: `host + n` in the source becomes `image + n` in the tree, for n below `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id in the image.
    pub image: u32,
    /// First id in the source.
    pub host: u32,
    /// Ids in the range, at least 1.
    pub count: u32,
}

impl FromStr for IdMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is no range of ids: IMAGE:HOST:COUNT was expected, such as \"0:100000:65536\", with all ids below 2^32"));
        let [image, host, count] = numbers(text).ok_or_else(bad)?;
        let last = count.checked_sub(1).ok_or_else(bad)?;
        if image.checked_add(last).is_none() || host.checked_add(last).is_none() {
            return Err(bad());
        }
        Ok(Self { image, host, count })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.image, self.host, self.count)
    }
}

/// Permissions: 0 to 0o7777.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u16);

impl FileMode {
    /// The permissions of these bits; the bits of the file type are cut off.
    #[must_use]
    pub const fn new(bits: u16) -> Self {
        Self(bits & 0o7777)
    }

    /// Permission bits with setuid, setgid and sticky.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = (3..=5).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let bits = u16::from_str_radix(text, 8).ok().filter(|bits| digits && *bits <= 0o7777);
        bits.map(Self).ok_or_else(|| Error::invalid(format!("{text:?} is no mode: three or four octal digits were expected, such as \"0644\"")))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// A FAT volume id, as blkid shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeId(pub u32);

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.split_once('-').filter(|(high, low)| high.len() == 4 && low.len() == 4 && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()));
        let id = digits.and_then(|(high, low)| u32::from_str_radix(&[high, low].concat(), 16).ok());
        id.map(Self).ok_or_else(|| Error::invalid(format!("{text:?} is no volume id: four and four hex digits were expected, such as \"1234-ABCD\"")))
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}-{:04X}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A percentage with at most two decimals, as a TOML integer or float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    hundredths: u16,
}

impl Percent {
    /// So many hundredths of a per cent: 50 is 0.5 %.
    #[must_use]
    pub const fn from_hundredths(hundredths: u16) -> Self {
        Self { hundredths }
    }

    /// Hundredths of a per cent.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.hundredths
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.hundredths.is_multiple_of(100) {
            serializer.serialize_u16(self.hundredths / 100)
        } else {
            serializer.serialize_f64(f64::from(self.hundredths) / 100.0)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage from 0 to 100 with at most two decimals")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Percent, E> {
                percent(&value.to_string()).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Percent, E> {
                // A float prints as the shortest decimal that reads back as itself, so 0.29 is "0.29" here.
                percent(&value.to_string()).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Reads digits and at most two decimals.
fn percent(text: &str) -> Option<Percent> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 2 || !whole.bytes().chain(decimals.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hundredths: u16 = format!("{whole}{decimals:0<2}").parse().ok()?;
    (hundredths <= 10_000).then_some(Percent { hundredths })
}

/// The value of an extended attribute: text, or `{ base64 = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrValue(pub Vec<u8>);

impl Serialize for XattrValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.contains(char::is_control) => serializer.serialize_str(text),
            _ => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64::encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for XattrValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = XattrValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or { base64 = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<XattrValue, E> {
                Ok(XattrValue(text.as_bytes().to_vec()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<XattrValue, A::Error> {
                let mut value = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "base64" {
                        return Err(de::Error::unknown_field(&key, &["base64"]));
                    }
                    let text: String = map.next_value()?;
                    value = Some(base64::decode(&text).ok_or_else(|| de::Error::custom("this is no base64 (RFC 4648, section 4, with padding)"))?);
                }
                value.map(XattrValue).ok_or_else(|| de::Error::missing_field("base64"))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

/// One path, or a list of paths.
pub(super) mod one_or_more {
    use super::{Deserializer, MapAccess, PathBuf, SeqAccess, Serialize as _, Serializer, Visitor, de, fmt};

    pub(in crate::recipe) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        if let [path] = paths { path.serialize(serializer) } else { paths.serialize(serializer) }
    }

    pub(in crate::recipe) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        struct Paths;
        impl<'de> Visitor<'de> for Paths {
            type Value = Vec<PathBuf>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Vec<PathBuf>, E> {
                Ok(vec![PathBuf::from(path)])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<PathBuf>, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = items.next_element()? {
                    paths.push(path);
                }
                Ok(paths)
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Vec<PathBuf>, A::Error> {
                Err(de::Error::invalid_type(de::Unexpected::Map, &self))
            }
        }
        deserializer.deserialize_any(Paths)
    }
}
