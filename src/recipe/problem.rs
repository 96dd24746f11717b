//! A mistake in a recipe and its place: by key while the recipe is data, by line and column where there is a text.

use crate::error::{Error, escape};
use std::fmt::Display;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with the value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Keys from the top, indices of lists in decimal.
    key: Vec<String>,
    /// One sentence; what it quotes of the recipe is escaped.
    message: String,
}

impl Problem {
    /// A mistake at a key, such as `&[&"partition", &2, &"size"]`.
    pub(super) fn at(key: &[&dyn Display], message: impl Into<String>) -> Self {
        Self { key: key.iter().map(ToString::to_string).collect(), message: message.into() }
    }

    /// The error for a recipe that is no text.
    pub(super) fn by_key(&self) -> Error {
        let mut place = String::new();
        for part in &self.key {
            match part.parse::<usize>() {
                Ok(index) => place.push_str(&format!("[{index}]")),
                Err(_) if place.is_empty() => place.push_str(&escape(part.as_bytes())),
                Err(_) => place.push_str(&format!(".{}", escape(part.as_bytes()))),
            }
        }
        Error::invalid(format!("`{place}`: {}", self.message))
    }

    /// The error for the recipe that was read from `text`.
    pub(super) fn in_text(&self, text: &str, name: &[u8]) -> Error {
        at_position(text, name, self.span(text).start, &self.message)
    }

    /// Where the key's value stands; where the key is missing, the table that lacks it.
    fn span(&self, text: &str) -> Range<usize> {
        let Some((first, rest)) = self.key.split_first() else { return 0..0 };
        let Ok(root) = DeTable::parse(text) else { return 0..0 };
        let Some(mut value) = entry(root.get_ref(), first) else { return 0..0 };
        let mut span = value.span();
        for part in rest {
            let next = match value.get_ref() {
                DeValue::Table(table) => entry(table, part),
                DeValue::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
            span = value.span();
        }
        span
    }
}

fn entry<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// What the TOML reader refuses.
pub(super) fn from_toml(text: &str, name: &[u8], error: &toml::de::Error) -> Error {
    // serde speaks of fields and variants; a recipe has keys and values.
    let message =
        [("unknown field", "unknown key"), ("unknown variant", "unknown value"), ("missing field", "missing key"), ("duplicate field", "duplicate key")]
            .iter()
            .find_map(|(theirs, ours)| error.message().strip_prefix(theirs).map(|rest| format!("{ours}{rest}")))
            .unwrap_or_else(|| error.message().to_owned());
    let offset = error.span().map_or(text.len(), |span| span.start);
    at_position(text, name, offset, &escape(message.as_bytes()))
}

fn at_position(text: &str, name: &[u8], offset: usize, message: &str) -> Error {
    let (line, column) = position(text, offset);
    Error::invalid(format!("line {line}, column {column}: {message}")).at_path(name)
}

/// Line and column, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, c)| c);
    before.fold((1, 1), |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_never_leave_the_text() {
        let text = "é = 1\nüü = 2\n";
        for (offset, expected) in [(0, (1, 1)), (2, (1, 2)), (1, (1, 2)), (7, (2, 1)), (9, (2, 2)), (999, (3, 1))] {
            assert_eq!(position(text, offset), expected, "{offset}");
        }
    }

    #[test]
    fn keys_are_found_in_the_text() {
        let text = "name = 1\n[disk]\nsize = \"x\"\n[[file]]\npath = \"/a\"\n[[file]]\n\n  path = \"/b\"\n";
        let cases: [(&[&dyn Display], _); 6] = [
            (&[&"name"], (1, 8)),
            (&[&"disk", &"size"], (3, 8)),
            (&[&"disk", &"none"], (2, 1)),
            (&[&"file", &1, &"path"], (8, 10)),
            (&[&"file", &1, &"none"], (6, 1)),
            (&[&"none"], (1, 1)),
        ];
        for (key, expected) in cases {
            assert_eq!(position(text, Problem::at(key, "").span(text).start), expected, "{:?}", Problem::at(key, ""));
        }
        assert_eq!(Problem::at(&[&"file", &1, &"path"], "bad").by_key().to_string(), "`file[1].path`: bad");
    }
}
