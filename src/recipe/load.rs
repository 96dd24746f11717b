//! Reading a recipe's file, and finding its sources.
//!
//! A recipe can come from somebody else, so it reaches what lies beside it and nothing more: sources are relative to the
//! recipe's folder and stay in it, by their names *and* after symbolic links are followed. Absolute paths, `..` that leaves
//! the folder and links that lead out need [`LoadOptions::allow_source`]. Names that leave the folder are refused before the
//! host's filesystem is asked, so a recipe cannot even find out what exists elsewhere.

use super::Recipe;
use super::problem::Problem;
use crate::error::{Error, Result, escape};
use crate::labels::{Origin, companions};
use crate::manifest;
use crate::units::u64_of;
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// The longest recipe. The text of a file belongs beside a recipe when it is longer than this.
pub const RECIPE_MAX_BYTES: usize = 1024 * 1024;

/// How a recipe's file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Folders, besides the recipe's own, that sources may lie in.
    pub allow_source: Vec<PathBuf>,
}

/// Refuses a recipe that is too long.
pub(super) fn check_length(bytes: usize, name: &[u8]) -> Result<()> {
    if bytes > RECIPE_MAX_BYTES {
        return Err(Error::limit(format!("a recipe has at most {RECIPE_MAX_BYTES} bytes")).at_path(name));
    }
    Ok(())
}

impl Recipe {
    /// Reads the recipe at `path`. Paths of sources come out joined to the recipe's folder, ready to be opened.
    ///
    /// # Errors
    /// Those of [`Recipe::parse`]; a recipe that is no regular file or no UTF-8; with line and column, a source that does
    /// not exist, or lies outside of the recipe's folder and of [`LoadOptions::allow_source`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let name = path.as_os_str().as_encoded_bytes();
        let text = read(path).map_err(|error| error.at_path(name))?;
        let mut recipe = Self::parse_named(&text, name)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let places = Places::new(folder, &options.allow_source)?;
        resolve_all(&mut recipe, &places).map_err(|problem| problem.in_text(&text, name))?;
        Ok(recipe)
    }
}

/// The text of a regular file. Nothing else is opened: a named pipe would wait for ever.
fn read(path: &Path) -> Result<String> {
    let cannot = |error| Error::io("the recipe cannot be read", error);
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::invalid("the recipe is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(u64_of(RECIPE_MAX_BYTES) + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    check_length(bytes.len(), path.as_os_str().as_encoded_bytes())?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = u64_of(error.utf8_error().valid_up_to());
        Error::invalid("the recipe is no UTF-8").at_offset(offset)
    })
}

fn resolve_all(recipe: &mut Recipe, places: &Places) -> Result<(), Problem> {
    if let Some(parent) = &mut recipe.parent {
        *parent = places.resolve(parent).map_err(|message| Problem::at(&[&"parent"], message))?;
    }
    for (index, partition) in recipe.partitions.iter_mut().enumerate() {
        for (number, source) in partition.source.iter_mut().enumerate() {
            *source = places.resolve(source).map_err(|message| Problem::at(&[&"partition", &index, &"source", &number], message))?;
        }
        if let Some(Origin::Host(path)) = partition.ext4.as_mut().and_then(|ext4| ext4.file_contexts.as_mut()) {
            let resolve = |path: &Path| places.resolve(path).map_err(|message| Problem::at(&[&"partition", &index, &"ext4", &"file_contexts"], message));
            let named = std::mem::take(path);
            *path = resolve(&named)?;
            // A link beside it must not lead out either.
            for companion in companions(&named).iter().zip(companions(path)).filter(|(_, path)| path.exists()) {
                resolve(companion.0)?;
            }
        }
    }
    for (index, file) in recipe.files.iter_mut().enumerate() {
        if let Some(source) = &mut file.source {
            *source = places.resolve(source).map_err(|message| Problem::at(&[&"file", &index, &"source"], message))?;
        }
    }
    if let Some(order) = recipe.boot.as_mut().and_then(|boot| boot.order.as_mut()) {
        *order = places.resolve(order).map_err(|message| Problem::at(&[&"boot", &"order"], message))?;
    }
    if let Some(ami) = &mut recipe.ami
        && let Some(path) = ami.uefi_data_file.take()
    {
        let text = places.resolve(&path).and_then(|path| manifest::read_uefi_data(&path).map_err(|error| error.to_string()));
        ami.uefi_data = Some(text.map_err(|message| Problem::at(&[&"ami", &"uefi_data_file"], message))?);
    }
    Ok(())
}

/// Where sources may lie.
struct Places {
    /// The recipe's folder as it was named.
    folder: PathBuf,
    /// It and the allowed folders, without symbolic links.
    allowed: Vec<PathBuf>,
}

impl Places {
    fn new(folder: &Path, allow_source: &[PathBuf]) -> Result<Self> {
        let real = |place: &Path| {
            let cannot = |error| Error::io("the folder of sources cannot be found", error).at_path(place.as_os_str().as_encoded_bytes());
            fs::canonicalize(place).map_err(cannot)
        };
        let allowed = std::iter::once(folder).chain(allow_source.iter().map(PathBuf::as_path)).map(real).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), allowed })
    }

    /// The path to open for `source`.
    fn resolve(&self, source: &Path) -> Result<PathBuf, String> {
        let shown = escape(source.as_os_str().as_encoded_bytes());
        if !stays_inside(source) && self.allowed.len() == 1 {
            let what = if source.has_root() { "is an absolute path" } else { "is outside of the recipe's folder" };
            return Err(format!("the source {shown} {what}: sources are relative to the recipe and beneath it (--allow-source DIR allows more)"));
        }
        let joined = if self.folder == Path::new(".") { source.to_owned() } else { self.folder.join(source) };
        let real = fs::canonicalize(&joined).map_err(|error| format!("the source {shown} cannot be found: {error}"))?;
        // The recipe's own folder is no leave for absolute paths: such a recipe works on one machine only.
        let places = if source.has_root() { &self.allowed[1..] } else { &self.allowed[..] };
        if !places.iter().any(|place| real.starts_with(place)) {
            let real = escape(real.as_os_str().as_encoded_bytes());
            return Err(format!("the source {shown} is {real}, outside of the recipe's folder (--allow-source DIR allows more)"));
        }
        Ok(joined)
    }
}

/// Whether a path leads, by its names alone, nowhere but down.
fn stays_inside(path: &Path) -> bool {
    let mut depth = 0_usize;
    path.components().all(|component| match component {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir if depth > 0 => {
            depth -= 1;
            true
        }
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    })
}
