//! Which specifications are worth trying on a path: those that begin with what the path begins with.
//!
//! Every specification stands under the bytes that all its matches begin with. The prefixes are sorted, and each knows the longest
//! other one that is a prefix of it:
//!
//! ```text
//!  ""   ◄─ "/"  ◄─ "/usr/"  ◄─ "/usr/bin/"  ◄─ "/usr/bin/ssh"
//!                      ▲────── "/usr/lib/"
//! ```
//! The last prefix that does not sort behind a path is the longest prefix of the path, or the way up from it leads there: one binary
//! search and a few steps find all candidates.

use crate::units::index_of;

#[derive(Debug)]
struct Prefix {
    text: Box<[u8]>,
    /// The longest other prefix that this one begins with.
    above: Option<u32>,
    /// Where its specifications end in [`Index::specs`]; they begin where those of the prefix before end.
    end: u32,
}

/// Specifications by prefix.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Sorted by text.
    prefixes: Vec<Prefix>,
    specs: Vec<u32>,
}

impl Index {
    /// From pairs of a prefix and the number of a specification, in any order.
    pub(super) fn new(mut pairs: Vec<(Box<[u8]>, u32)>) -> Self {
        pairs.sort_unstable();
        let mut index = Self::default();
        // The way up from the prefix that was made last.
        let mut open: Vec<u32> = Vec::new();
        let mut count = 0;
        for (text, spec) in pairs {
            if index.prefixes.last().is_none_or(|last| last.text != text) {
                while open.last().is_some_and(|at| !text.starts_with(&index.prefixes[index_of(*at)].text)) {
                    open.pop();
                }
                index.prefixes.push(Prefix { text, above: open.last().copied(), end: count });
                open.push(u32::try_from(index.prefixes.len() - 1).expect("specifications are far fewer than 2^32"));
            }
            index.specs.push(spec);
            count += 1;
            if let Some(prefix) = index.prefixes.last_mut() {
                prefix.end = count;
            }
        }
        index
    }

    /// Fills `out` with the specifications whose prefix `path` has, the highest number first.
    pub(super) fn candidates(&self, path: &[u8], out: &mut Vec<u32>) {
        out.clear();
        let behind = self.prefixes.partition_point(|prefix| *prefix.text <= *path);
        let mut at = behind.checked_sub(1);
        while let Some(here) = at {
            let prefix = &self.prefixes[here];
            if path.starts_with(&prefix.text) {
                let start = here.checked_sub(1).map_or(0, |before| index_of(self.prefixes[before].end));
                out.extend_from_slice(&self.specs[start..index_of(prefix.end)]);
            }
            at = prefix.above.map(index_of);
        }
        out.sort_unstable_by(|a, b| b.cmp(a));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_those_whose_prefix_the_path_has() {
        let texts: [&[u8]; 9] = [b"", b"/", b"/usr/", b"/usr/bin/", b"/usr/bin/ssh", b"/usr/lib/", b"/usr/", b"/var", b"/usr/bin/ssh-"];
        let index = Index::new(texts.iter().zip(0..).map(|(text, spec)| (Box::from(*text), spec)).collect());
        for path in ["", "/", "/usr", "/usr/", "/usr/bin/ssh", "/usr/bin/ssh-add", "/usr/bin/sshd", "/usr/lib64", "/var/x", "/zz", "a"] {
            let mut out = Vec::new();
            index.candidates(path.as_bytes(), &mut out);
            let expected: Vec<u32> = (0..).zip(texts).filter(|(_, text)| path.as_bytes().starts_with(text)).map(|(spec, _)| spec).collect();
            out.reverse();
            assert_eq!(out, expected, "{path}");
        }
        Index::new(Vec::new()).candidates(b"/x", &mut Vec::new());
    }
}
