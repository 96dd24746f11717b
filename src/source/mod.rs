//! Sources: what a root filesystem is read from, told by what it is and not by its name.
//!
//! | source | how its contents are read |
//! |---|---|
//! | directory | each file when it is needed, checked to be as it was scanned |
//! | disk image: raw or VHD, a partition of it | in place, through its filesystem (ext2, ext3, ext4, FAT) |
//! | tar | in place, by position |
//! | tar in gzip, zstd or xz; tar from a pipe | spooled once: memory, then an unnamed temporary file |
//!
//! Kept without loss: names as bytes, all mode bits, owners to 2^32 - 1, times to the nanosecond, xattrs with ACLs and
//! capabilities, hard links, symbolic links, devices, pipes, sockets, holes. What cannot be kept is an error or stands
//! in [`Source::notes`].
//!
//! Refused: whatever is ambiguous or damaged (the heads of the modules list it), container images that are layers and
//! not filesystems, named pipes and devices given as paths.

mod assembly;
mod dir;
mod filter;
mod host;
mod image;
mod kind;
mod oci;
mod options;
mod packed;
mod regular;
mod tar;

pub use host::HostFile;
pub use image::DiskImage;
pub use options::{Holes, IdMap, Limits, Options};

use crate::compressed::{Compression, Decompressed, unwrap_io};
use crate::content::ContentStore;
use crate::error::{Error, Result, escape};
use crate::report::{DiskSummary, PartitionSummary};
use crate::tree::{Tree, TreeBuilder};
use regular::RegularFile;
use std::io::Read;
use std::path::{Path, PathBuf};

impl Source {
    /// A tree that a program has built, with its contents.
    ///
    /// ```
    /// use rootvol::content::{ContentStore, MemoryContents};
    /// use rootvol::tree::{Metadata, NewNode, TreeBuilder};
    /// use std::sync::Arc;
    ///
    /// let mut files = MemoryContents::new();
    /// let content = files.push(&b"hello\n"[..])?;
    /// let mut tree = TreeBuilder::new();
    /// tree.add("etc/motd", Metadata { mode: 0o644, ..Metadata::default() }, NewNode::File { content, length: 6, data: None })?;
    ///
    /// let mut contents = ContentStore::new();
    /// let count = files.count();
    /// contents.add(Arc::new(files), count)?;
    /// let source = rootvol::source::Source::new(tree.freeze()?, contents, "made in memory");
    /// let disk = rootvol::DiskSpec::data(source).name("motd").plan()?;
    /// let mut image = Vec::new();
    /// disk.write_to(&mut image, rootvol::format::Format::Vhd, Default::default())?; // any std::io::Write
    /// # Ok::<(), rootvol::Error>(())
    /// ```
    #[must_use]
    pub fn new(tree: Tree, contents: ContentStore, description: impl Into<String>) -> Self {
        Self {
            tree,
            contents,
            description: description.into(),
            notes: Vec::new(),
            paths: Vec::new(),
            damage: Vec::new(),
            unreadable: Vec::new(),
            inodes: Vec::new(),
            disk: None,
        }
    }
}

/// Bytes that tell what an input is: magics stand at the front.
const HEAD_BYTES: usize = 16;

/// A root filesystem that has been read: its tree, and where the contents of its files are.
#[derive(Debug)]
#[non_exhaustive]
pub struct Source {
    /// Names and metadata.
    pub tree: Tree,
    /// The contents of the files, by the numbers in the tree.
    pub contents: ContentStore,
    /// What it was read from, for reports.
    pub description: String,
    /// What a person should know: what was not kept, what was odd.
    pub notes: Vec<String>,
    /// The files and directories that it was read from, which no output may overwrite.
    pub paths: Vec<PathBuf>,
    /// What of a damaged image is not in the tree, or not all of it ([`Options::keep_going`]).
    pub damage: Vec<Error>,
    /// What of an image is encrypted, by path: it stands in the tree, empty ([`Options::keep_going`]).
    pub unreadable: Vec<Error>,
    /// The inode of each node of the tree, where a filesystem was read as it is; else empty.
    pub inodes: Vec<u32>,
    /// The disk that it was read from, where it was an image: what is built of it keeps its identifiers unless it is given others.
    pub disk: Option<Box<SourceDisk>>,
}

/// The disk of an image that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceDisk {
    /// The disk.
    pub summary: DiskSummary,
    /// The partition that was read.
    pub root: PartitionSummary,
    /// Its EFI system partition.
    pub esp: Option<PartitionSummary>,
}

/// Opens a directory or a tar (plain, gzip, zstd, xz) with default [`Options`].
///
/// # Errors
/// As [`open_with`].
pub fn open(path: impl AsRef<Path>) -> Result<Source> {
    open_with(path, &Options::default())
}

/// Opens a directory, a tar (plain, gzip, zstd, xz) or a disk image; of an image the partition that `IMAGE:2` or
/// `IMAGE:label` or [`Options::partition`] names, else the root. A path that exists as it is written is taken as it is.
///
/// What a file is, its first bytes tell, and a VHD's last ones: never its name, and nothing that lies inside a disk but what
/// every disk has (a boot sector, a superblock). [`Options::input_format`] says that it is an image.
///
/// # Errors
/// Anything else at `path`; damaged, ambiguous or hostile archives, naming the entry and the offset in the unpacked
/// archive; files that cannot be read; images that are damaged, naming path and offset; what is over [`Options::limits`].
pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Source> {
    let (path, selector) = image::split_selector(path.as_ref());
    let path = path.as_path();
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let metadata = std::fs::metadata(path).map_err(|error| named(Error::io("cannot open", error)))?;
    let selected = selector.is_some() || options.partition.is_some();
    if metadata.is_dir() {
        let no_image = || Err(named(Error::invalid("a partition was named, and this is a directory")));
        return if selected { no_image() } else { dir::open(path, options) };
    }
    if is_block_device(&metadata) || options.input_format.is_some() || kind::is_image(path, options)? {
        let image = DiskImage::open(path, &options.open_options())?;
        return image::open(&image, selector.as_deref(), options).map_err(|error| in_source(error, path.as_os_str().as_encoded_bytes()));
    }
    if selected {
        return Err(named(Error::invalid("a partition was named, and this is a tar")));
    }
    open_tar(path, options)
}

#[cfg(unix)]
fn is_block_device(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_block_device(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// Opens what lies at `path` as a disk image, if it is one and all of it is meant: no partition is selected.
///
/// # Errors
/// As [`open_with`].
pub fn open_whole_image(path: impl AsRef<Path>, options: &Options) -> Result<Option<DiskImage>> {
    let (path, selector) = image::split_selector(path.as_ref());
    let metadata = std::fs::metadata(&path).map_err(|error| Error::io("cannot open", error).at_path(path.as_os_str().as_encoded_bytes()))?;
    if selector.is_some() || options.partition.is_some() || metadata.is_dir() {
        return Ok(None);
    }
    if is_block_device(&metadata) || options.input_format.is_some() || kind::is_image(&path, options)? {
        DiskImage::open(&path, &options.open_options()).map(Some)
    } else {
        Ok(None)
    }
}

/// Reads the partition of an opened image that [`Options::partition`] names, else its root, as a source.
///
/// # Errors
/// As [`open_with`].
pub fn open_image(image: &DiskImage, options: &Options) -> Result<Source> {
    image::open(image, None, options)
}

fn open_tar(path: &Path, options: &Options) -> Result<Source> {
    let named = |error: Error| error.at_path(path.as_os_str().as_encoded_bytes());
    let file = RegularFile::open(path)?;
    let mut head = [0; HEAD_BYTES];
    let count = usize::try_from(file.size()).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
    file.read_exact_at(0, &mut head[..count])?;
    let opened = match recognise(&head[..count]).map_err(named)? {
        None => tar::open(file, describe(path, None), options),
        Some(compression) => {
            let description = describe(path, Some(compression));
            // The folder that has room for the compressed source is the best guess where none is named.
            let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let spool_folder = options.spool_folder.clone().or_else(|| Some(beside.to_path_buf()));
            let options = Options { spool_folder, ..options.clone() };
            let mut reader = &file.file;
            let source = decompress(&mut reader, compression, description, vec![path.to_path_buf()], &options);
            // A change explains damage better than the damage does.
            file.check_unchanged()?;
            source
        }
    };
    opened.map_err(|error| in_source(error, path.as_os_str().as_encoded_bytes()))
}

/// Reads a tar (plain, gzip, zstd, xz) from a stream to its end, such as standard input. `name` stands in messages.
///
/// # Errors
/// As [`open_with`]; what `reader` reports.
pub fn from_reader(name: &str, mut reader: impl Read + Send, options: &Options) -> Result<Source> {
    let mut head = [0; HEAD_BYTES];
    let mut count = 0;
    while count < HEAD_BYTES {
        match reader.read(&mut head[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unwrap_io("cannot read", error).at_path(name)),
        }
    }
    let mut whole = (&head[..count]).chain(reader);
    let source = match recognise(&head[..count]) {
        Ok(None) => tar::read(&mut whole, format!("{} (tar)", escape(name.as_bytes())), Vec::new(), options),
        Ok(Some(compression)) => {
            let description = format!("{} (tar, {})", escape(name.as_bytes()), compression.name());
            decompress(&mut whole, compression, description, Vec::new(), options)
        }
        Err(error) => Err(error),
    };
    source.map_err(|error| in_source(error, name.as_bytes()))
}

/// Lays sources over each other, the first at the bottom, by the rules of [`TreeBuilder`].
///
/// # Errors
/// No sources; more than a tree holds.
pub fn layered(sources: Vec<Source>) -> Result<Source> {
    let mut sources = sources.into_iter();
    let first = sources.next().ok_or_else(|| Error::invalid("no sources"))?;
    if sources.len() == 0 {
        return Ok(first);
    }
    let Source { tree, mut contents, mut description, mut notes, mut paths, mut damage, mut unreadable, disk, .. } = first;
    let mut builder = TreeBuilder::from_tree(tree);
    for upper in sources {
        let base = contents.add_store(&upper.contents)?;
        builder.overlay(&upper.tree, base)?;
        description = format!("{description} + {}", upper.description);
        notes.extend(upper.notes);
        paths.extend(upper.paths);
        damage.extend(upper.damage);
        unreadable.extend(upper.unreadable);
    }
    Ok(Source { tree: builder.freeze()?, contents, description, notes, paths, damage, unreadable, inodes: Vec::new(), disk })
}

/// Whether no entry of `tree` belongs to root: a tree that somebody unpacked without being root, which will not boot
/// as it was meant (`sudo` refuses, services cannot read their keys). Directories that no source named do not count.
#[must_use]
pub fn nothing_belongs_to_root(tree: &Tree) -> bool {
    let mut named = tree.nodes().filter(|(_, node)| !node.implied).peekable();
    named.peek().is_some() && named.all(|(_, node)| node.metadata.uid != 0)
}

/// Stops where [`nothing_belongs_to_root`], with what to do about it; for disks that are to boot.
///
/// # Errors
/// [`crate::ErrorKind::InvalidInput`], naming the ways out.
pub fn check_owners(tree: &Tree) -> Result<()> {
    if !nothing_belongs_to_root(tree) {
        return Ok(());
    }
    let owner = tree.nodes().find(|(_, node)| !node.implied).map_or(0, |(_, node)| node.metadata.uid);
    Err(Error::invalid(format!(
        "nothing in the tree belongs to root (its first entry belongs to user id {owner}), so the system would not work: \
         give everything to root with --owner 0:0, translate the ids of a user namespace with --map-ids 0:{owner}:65536, \
         or make a tar that keeps the owners (with fakeroot, or mmdebstrap to a .tar)"
    )))
}

fn recognise(head: &[u8]) -> Result<Option<Compression>> {
    tar::check_magic(head)?;
    Compression::of(head)
}

fn decompress(reader: &mut dyn Read, compression: Compression, description: String, paths: Vec<PathBuf>, options: &Options) -> Result<Source> {
    let mut unpacked = Decompressed::new(reader, compression, options.limits.compressed())?;
    let mut source = tar::read(&mut unpacked, description, paths, options)?;
    source.notes.extend(unpacked.note());
    Ok(source)
}

fn describe(path: &Path, compression: Option<Compression>) -> String {
    let name = shown_name(path);
    match compression {
        None => format!("{name} (tar)"),
        Some(compression) => format!("{name} (tar, {})", compression.name()),
    }
}

/// `error` with the source that it is in, beside the entry that it may name.
fn in_source(error: Error, source: &[u8]) -> Error {
    match error.path() {
        Some(path) if path != source => error.within(escape(source)),
        _ => error.at_path(source),
    }
}

/// The last part of a path, for reports: where it lies on this machine is nobody else's business.
fn shown_name(path: &Path) -> String {
    escape(path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes())
}

#[cfg(test)]
mod tests;
