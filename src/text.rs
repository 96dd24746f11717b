//! Values with a text form: the same word in recipes, options and reports.
//!
//! `FromStr` reads it and `Display` prints it, both beside the type; [`text_form!`] gives them to serde. [`words!`] gives a plain
//! enum all of this, from one list of words. What cannot be read is answered with what was expected, so that an error in a
//! recipe, which adds line and column, needs no further word.

use crate::error::Error;
use serde::de::{self, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// Reads any type from its text form, for serde.
pub(crate) struct Text<T> {
    expected: &'static str,
    kind: PhantomData<T>,
}

impl<T> Text<T> {
    /// A reader that says of other values than text that `expected` was expected.
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self { expected, kind: PhantomData }
    }
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

/// `Deserialize` by `FromStr` and `Serialize` by `Display`, for a type and what a reader is told to write.
macro_rules! text_form {
    ($kind:ty, $expected:expr) => {
        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::Text::new($expected))
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

/// The words of a plain enum: `words!(Shape, "a shape", [Round = "round", Square = "square"])`.
macro_rules! words {
    ($kind:ident, $what:literal, [$first:ident = $first_word:literal $(, $value:ident = $word:literal)+]) => {
        impl $kind {
            /// All values.
            pub const ALL: [Self; 1 + [$($word),+].len()] = [Self::$first $(, Self::$value)+];

            /// The word for it in recipes, options and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$value => $word),+
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> $crate::error::Result<Self> {
                let known = Self::ALL.into_iter().find(|value| value.name() == text);
                known.ok_or_else(|| $crate::text::unknown(text, $what, &Self::ALL.map(Self::name)))
            }
        }

        $crate::text::text_form!($kind, concat!("one of ", $first_word $(, ", ", $word)+));
    };
}

pub(crate) use {text_form, words};

/// The error for a word that is none of a list.
pub(crate) fn unknown(text: &str, what: &str, words: &[&str]) -> Error {
    let (last, others) = words.split_last().map_or(("", &[][..]), |(last, others)| (*last, others));
    Error::invalid(format!("{text:?} is not {what}: {} or {last} was expected", others.join(", ")))
}

/// Numbers between colons, `N` of them, each without sign.
pub(crate) fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(':');
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    #![expect(unreachable_pub, reason = "words! is for public types")]

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Shape {
        Round,
        Square,
    }
    words!(Shape, "a shape", [Round = "round", Square = "square"]);

    #[test]
    fn a_word_is_read_printed_and_refused_everywhere_alike() {
        for shape in Shape::ALL {
            assert_eq!(shape.name().parse::<Shape>().unwrap(), shape);
            assert_eq!(serde_json::from_str::<Shape>(&serde_json::to_string(&shape).unwrap()).unwrap(), shape);
        }
        let expected = "\"oval\" is not a shape: round or square was expected";
        assert_eq!("oval".parse::<Shape>().unwrap_err().to_string(), expected);
        assert!(serde_json::from_str::<Shape>("\"oval\"").unwrap_err().to_string().starts_with(expected));
        assert!(serde_json::from_str::<Shape>("1").unwrap_err().to_string().contains("expected one of round, square"));
        assert_eq!(format!("{:>7}", Shape::Round), "  round");
    }

    #[test]
    fn numbers_have_no_signs() {
        assert_eq!(numbers("0:4294967295"), Some([0, u32::MAX]));
        for text in ["", "1", "1:", ":1", "+1:1", "1:-1", "1:2:3", "1:4294967296", "1: 2"] {
            assert_eq!(numbers::<2>(text), None, "{text:?}");
        }
    }
}
