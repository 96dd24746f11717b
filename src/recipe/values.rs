//! Values that only a recipe has. Those that it shares with the layers below are theirs.

use crate::checksum::{base64_decode, base64_encode};
use crate::error::{Error, Result};
use crate::text::{numbers, text_form};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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

text_form!(Owner, "an owner and a group, such as \"0:0\"");

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

text_form!(FileMode, "permissions as a string of octal digits, such as \"0644\"");

/// The value of an extended attribute: text, or `{ base64 = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrValue(pub Vec<u8>);

impl Serialize for XattrValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.contains(char::is_control) => serializer.serialize_str(text),
            _ => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64_encode(&self.0))?;
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
                    value = Some(base64_decode(&text).ok_or_else(|| de::Error::custom("this is no base64 (RFC 4648, section 4, with padding)"))?);
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

/// `clean = true`, or a table of what is cleaned.
pub(super) mod clean {
    use super::{Deserialize as _, Deserializer, MapAccess, Serialize as _, Serializer, Visitor, de, fmt};
    use crate::clean::CleanOptions;

    pub(in crate::recipe) fn serialize<S: Serializer>(options: &Option<CleanOptions>, serializer: S) -> Result<S::Ok, S::Error> {
        match options {
            Some(options) if *options == CleanOptions::default() => serializer.serialize_bool(true),
            Some(options) => options.serialize(serializer),
            None => serializer.serialize_bool(false),
        }
    }

    pub(in crate::recipe) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CleanOptions>, D::Error> {
        struct Clean;
        impl<'de> Visitor<'de> for Clean {
            type Value = Option<CleanOptions>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a table")
            }

            fn visit_bool<E: de::Error>(self, clean: bool) -> Result<Self::Value, E> {
                Ok(clean.then(CleanOptions::default))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                CleanOptions::deserialize(de::value::MapAccessDeserializer::new(map)).map(Some)
            }
        }
        deserializer.deserialize_any(Clean)
    }
}
