//! SELinux labels: the `security.selinux` of every file, by a policy's `file_contexts`, without root and without SELinux.
//!
//! What `setfiles -F` would do to the running system is done to its tree. The rules are those of libselinux's `selabel_file(5)`,
//! version 3.4 (Debian 12), whose `matchpathcon` and `setfiles` judge the tests.
//!
//! ```text
//!  file_contexts            PATTERN [--|-d|-l|-c|-b|-s|-p] CONTEXT        one line a specification; CONTEXT may be <<none>>
//!  file_contexts.homedirs   the same, behind it
//!  file_contexts.local      the same, behind that
//!  file_contexts.subs       PATH OTHER                    /srv/www is looked up as /var/www, say
//!  file_contexts.subs_dist  the same, for what .subs leaves or makes of a path
//! ```
//! The way of a path:
//! 1. Slashes that are doubled or at the end go. Of `.subs`, then of `.subs_dist`, at most one line is applied each; **the last** that
//!    holds wins (since libselinux 3.8 the first).
//! 2. Specifications are sorted: those with one of `.^$?*+|[({` unescaped in their pattern, then those that name one path; within both
//!    in the order of files and lines. **The last** that matches the path and the file's type wins.
//! 3. A pattern is a regular expression (PCRE2, bytes, `.` matches all) over the whole path; what is taken of them stands below.
//!    One whose first part has no special character is tried only on paths with that very first part.
//! 4. `<<none>>`, or no match: the file keeps what it has.
//!
//! A file with several names gets the context of the first one in tree order that has one (`setfiles`: the first it meets); where
//! the others' differ there is a note. The value is the context with a NUL behind it, as `setfiles` writes it.
//!
//! Newer versions differ where policies hardly go: from 3.8 on backslashes in a first part match, a path without special
//! characters never matches the same path with a line feed behind it, of several lines for one path those for the file's type
//! win, and `)`, `]`, `}` and unusual escapes count as special characters.
//!
//! `lost+found` is made by the ext4 writer where the tree has none, and the writer knows no policies: whoever wants it labelled puts it
//! into the tree first, as a disk with `file_contexts` does.
//!
//! **Refused**, with file and line: lines of another form, contexts of another form than `user:role:type[:range]` (whether the policy
//! knows them is not asked), patterns that are no regular expressions
//! in the strict sense (look-around, back references, possessive quantifiers, `$` in the middle, `\Q…\E`), words that are not ASCII, anything over the limits below;
//! compiled files (`file_contexts.bin`), which libselinux makes of the same text.

mod apply;
mod index;
mod origin;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;

pub use apply::{Labelled, XATTR_SELINUX, apply};
pub use origin::{Origin, companions};

use crate::content::Contents;
use crate::error::{Error, Result, escape};
use crate::tree::{NodeKind, Tree};
use crate::units::index_of;
use index::Index;
use parse::Substitution;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Look, literal};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

/// The longest file of a policy: the largest that distributions ship have half a MiB.
pub const FILE_MAX_BYTES: u64 = 8 << 20;
/// Specifications of one policy; distributions have 5,000 to 10,000.
pub const SPECIFICATIONS_MAX: usize = 65_536;
/// Lines in one file of substitutions; distributions have under 100.
pub const SUBSTITUTIONS_MAX: usize = 4_096;
/// All patterns of one policy together, in bytes and classes with their repetitions written out: bounds the memory that their
/// compiled forms can take. Distributions have 200,000.
pub const STEPS_MAX: usize = 4_000_000;

/// What a file is, as policies tell files apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// `--`
    File,
    /// `-d`
    Directory,
    /// `-l`
    Symlink,
    /// `-c`
    CharDevice,
    /// `-b`
    BlockDevice,
    /// `-p`
    Fifo,
    /// `-s`
    Socket,
}

impl From<&NodeKind> for FileType {
    fn from(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::Directory => Self::Directory,
            NodeKind::File(_) => Self::File,
            NodeKind::Symlink(_) => Self::Symlink,
            NodeKind::CharDevice(_) => Self::CharDevice,
            NodeKind::BlockDevice(_) => Self::BlockDevice,
            NodeKind::Fifo => Self::Fifo,
            NodeKind::Socket => Self::Socket,
        }
    }
}

/// A policy's file contexts, ready to be looked up in.
#[derive(Debug)]
pub struct FileContexts {
    /// In the order of trying, backwards: the last that matches wins.
    specs: Vec<Spec>,
    /// Each with its NUL.
    contexts: Vec<Box<[u8]>>,
    index: Index,
    subs: Vec<Substitution>,
    subs_dist: Vec<Substitution>,
    /// The files as they were named, in the order of reading.
    files: Vec<Vec<u8>>,
    digest: [u8; 32],
}

#[derive(Debug)]
struct Spec {
    matcher: Matcher,
    /// What the path begins with, up to its second slash.
    stem: Option<Box<[u8]>>,
    kind: Option<FileType>,
    /// `None` for `<<none>>`.
    context: Option<u32>,
    /// Of [`FileContexts::files`].
    file: usize,
    line: u32,
}

#[derive(Debug)]
enum Matcher {
    Literal(Box<[u8]>),
    /// Compiled when it is first tried: most of a policy is about what a tree does not have.
    Regex {
        text: Box<str>,
        compiled: OnceLock<Regex>,
    },
}

impl FileContexts {
    /// Reads the policy whose file of contexts is `path`, with its companions where they are ([`companions`]).
    ///
    /// # Errors
    /// What cannot be read, is no regular file or over [`FILE_MAX_BYTES`]; with file and line, what the head of this module refuses.
    pub fn load(path: &Path) -> Result<Self> {
        origin::from_host(path).and_then(Self::new)
    }

    /// As [`FileContexts::load`], from a file of `tree`; symbolic links are followed inside the tree.
    ///
    /// # Errors
    /// As [`FileContexts::load`].
    pub fn from_tree(tree: &Tree, contents: &dyn Contents, path: impl AsRef<[u8]>) -> Result<Self> {
        origin::from_tree(tree, contents, path.as_ref()).and_then(Self::new)
    }

    /// From the texts of the files.
    fn new(files: Vec<origin::PolicyFile>) -> Result<Self> {
        let mut hash = Sha256::new();
        let mut reading = Reading::default();
        let (mut subs, mut subs_dist) = (Vec::new(), Vec::new());
        for (number, origin::PolicyFile { name, suffix, text }) in files.iter().enumerate() {
            hash.update(suffix);
            hash.update([0]);
            hash.update(Sha256::digest(text));
            let read = match *suffix {
                ".subs" => parse::substitutions(text, SUBSTITUTIONS_MAX).map(|found| subs = found),
                ".subs_dist" => parse::substitutions(text, SUBSTITUTIONS_MAX).map(|found| subs_dist = found),
                _ => reading.file(number, text),
            };
            read.map_err(|error| error.at_path(name))?;
        }
        let Reading { mut special, plain, prefixes, contexts, .. } = reading;
        // Prefixes were noted for numbers in each of the two; those that name one path come behind all others.
        let first_plain = u32::try_from(special.len()).expect("at most SPECIFICATIONS_MAX");
        let prefixes = prefixes.into_iter().map(|(text, spec, is_plain)| (text, if is_plain { first_plain + spec } else { spec })).collect();
        special.extend(plain);
        let files = files.into_iter().map(|file| file.name).collect();
        Ok(Self { specs: special, contexts, index: Index::new(prefixes), subs, subs_dist, files, digest: hash.finalize().into() })
    }

    /// The number of specifications.
    #[must_use]
    pub fn specifications(&self) -> usize {
        self.specs.len()
    }

    /// SHA-256 over what was read, whatever it was named.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The file that was named, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.files.first().map(|name| escape(name)).unwrap_or_default()
    }

    /// The context, without NUL, of a file with this absolute path in the running system; `None` where the policy has none for it.
    ///
    /// # Errors
    /// A pattern that cannot be compiled after all; none is known that gets through [`FileContexts::load`].
    pub fn context(&self, path: &[u8], kind: FileType) -> Result<Option<&[u8]>> {
        let found = self.find(path, kind, &mut Vec::new())?;
        Ok(found.and_then(|number| self.value(number).split_last()).map(|(_, context)| context))
    }

    /// A context with its NUL.
    fn value(&self, number: u32) -> &[u8] {
        &self.contexts[index_of(number)]
    }

    /// The number of the context; `scratch` is used again from call to call.
    fn find(&self, path: &[u8], kind: FileType, scratch: &mut Vec<u32>) -> Result<Option<u32>> {
        let clean = cleaned(path);
        let path = clean.as_deref().unwrap_or(path);
        let local = parse::substitute(&self.subs, path);
        let path = local.as_deref().unwrap_or(path);
        let dist = parse::substitute(&self.subs_dist, path);
        let path = dist.as_deref().unwrap_or(path);
        // PCRE's "$" also matches before a line feed at the end.
        let without_line_feed = path.strip_suffix(b"\n");
        self.index.candidates(path, scratch);
        for number in &*scratch {
            let spec = &self.specs[index_of(*number)];
            let tried = spec.kind.is_none_or(|of| of == kind)
                && spec.stem.as_ref().is_none_or(|stem| path.strip_prefix(&**stem).is_some_and(|rest| rest.first() == Some(&b'/')));
            if !tried {
                continue;
            }
            for path in [Some(path), without_line_feed].into_iter().flatten() {
                if self.matches(spec, path)? {
                    return Ok(spec.context);
                }
            }
        }
        Ok(None)
    }

    fn matches(&self, spec: &Spec, path: &[u8]) -> Result<bool> {
        Ok(match &spec.matcher {
            Matcher::Literal(text) => **text == *path,
            Matcher::Regex { text, compiled } => match compiled.get() {
                Some(regex) => regex.is_match(path),
                None => {
                    let regex = compile(text).map_err(|error| parse::at(spec.line, error).at_path(&self.files[spec.file]))?;
                    compiled.get_or_init(|| regex).is_match(path)
                }
            },
        })
    }
}

/// The path without doubled slashes and slashes at its end; `None` where there are none.
fn cleaned(path: &[u8]) -> Option<Vec<u8>> {
    let trailing = path.len() > 1 && path.ends_with(b"/");
    if !trailing && !path.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let mut clean = path.to_vec();
    clean.dedup_by(|a, b| *a == b'/' && *b == b'/');
    if clean.len() > 1 && clean.ends_with(b"/") {
        clean.pop();
    }
    Some(clean)
}

fn compile(text: &str) -> Result<Regex> {
    // Patterns are small (pattern::STEPS_MAX), so the limit of the compiled form only has to be out of their way; that of the
    // cache of states bounds what thousands of patterns take together.
    let built = RegexBuilder::new(text).unicode(false).size_limit(64 << 20).dfa_size_limit(64 << 10).build();
    built.map_err(|error| Error::unsupported("the pattern cannot be compiled").caused_by(error))
}

/// Files of contexts on their way into [`FileContexts`].
#[derive(Default)]
struct Reading {
    /// Patterns with special characters.
    special: Vec<Spec>,
    /// Patterns that name one path.
    plain: Vec<Spec>,
    /// What all matches of a specification begin with, its number in one of the two lists, and whether it is the second.
    prefixes: Vec<(Box<[u8]>, u32, bool)>,
    contexts: Vec<Box<[u8]>>,
    /// Only looked up in, never walked.
    numbers: HashMap<Box<[u8]>, u32>,
    steps: usize,
}

impl Reading {
    fn file(&mut self, file: usize, text: &[u8]) -> Result<()> {
        if [0xf97c_ff8a_u32.to_le_bytes(), 0xf97c_ff8a_u32.to_be_bytes()].iter().any(|magic| text.starts_with(magic)) {
            return Err(Error::unsupported("a compiled file (sefcontext_compile); the text that it was made of was expected"));
        }
        for line in parse::contexts(text) {
            let line = line?;
            let number = line.number;
            self.line(file, line).map_err(|error| parse::at(number, error))?;
        }
        Ok(())
    }

    fn line(&mut self, file: usize, line: parse::Line<'_>) -> Result<()> {
        if self.special.len() + self.plain.len() >= SPECIFICATIONS_MAX {
            return Err(Error::limit(format!("over {SPECIFICATIONS_MAX} specifications")));
        }
        let context = line.context.map(|context| self.context(context));
        let shown = escape(line.pattern);
        let pattern = pattern::translate(line.pattern).map_err(|why| Error::unsupported(format!("the pattern {shown}: {why}")))?;
        self.steps += pattern.steps;
        if self.steps > STEPS_MAX {
            return Err(Error::limit(format!("patterns of over {STEPS_MAX} bytes and classes together, repetitions written out")));
        }
        let is_plain = !parse::has_meta_characters(line.pattern);
        let list = if is_plain { &mut self.plain } else { &mut self.special };
        let number = u32::try_from(list.len()).expect("at most SPECIFICATIONS_MAX");
        let matcher = if let Some(literal) = pattern.literal {
            self.prefixes.push((literal.as_slice().into(), number, is_plain));
            Matcher::Literal(literal.into())
        } else {
            let prefixes = prefixes(&pattern.text).map_err(|error| Error::unsupported(format!("the pattern {shown}")).caused_by(error))?;
            self.prefixes.extend(prefixes.into_iter().map(|prefix| (prefix, number, is_plain)));
            Matcher::Regex { text: pattern.text.into(), compiled: OnceLock::new() }
        };
        let stem = parse::stem_length(line.pattern).map(|length| line.pattern[..length].into());
        list.push(Spec { matcher, stem, kind: line.kind, context, file, line: line.number });
        Ok(())
    }

    /// The number of a context, which gets its NUL here.
    fn context(&mut self, context: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(context) {
            return *number;
        }
        let number = u32::try_from(self.contexts.len()).expect("at most SPECIFICATIONS_MAX");
        self.contexts.push([context, &[0]].concat().into());
        self.numbers.insert(context.into(), number);
        number
    }
}

/// Some prefixes, one of which every match begins with, and none of which begins with another.
fn prefixes(text: &str) -> std::result::Result<Vec<Box<[u8]>>, Box<regex_syntax::Error>> {
    let hir = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text).map_err(Box::new)?;
    let anywhere = || vec![Box::default()];
    // "\A/a|/b\z" also matches in the middle of a path.
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return Ok(anywhere());
    }
    let mut extractor = literal::Extractor::new();
    // Some few alternatives tell enough; more would let a hostile file take many times its size.
    extractor.kind(literal::ExtractKind::Prefix).limit_class(4).limit_repeat(4).limit_literal_len(64).limit_total(16);
    let sequence = extractor.extract(&hir);
    let Some(literals) = sequence.literals() else { return Ok(anywhere()) };
    let mut found: Vec<Box<[u8]>> = literals.iter().map(|literal| literal.as_bytes().into()).collect();
    found.sort_unstable();
    found.dedup_by(|next, before| next.starts_with(before));
    Ok(found)
}
