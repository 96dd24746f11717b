//! From a recipe to a [`DiskSpec`]: sources are opened, files laid over the tree, words turned into settings.

use super::Recipe;
use super::sections::{BootSection, FileKind, FileSection, PartitionSection};
use crate::clean::{self, Cleaned, Removed};
use crate::content::MemoryContents;
use crate::disk::{DEFAULT_EPOCH, DiskSpec, Filesystem, FilesystemKind, Parent, PartitionSpec};
use crate::error::{Error, Result};
use crate::order::BootOrder;
use crate::source::{self, Source};
use crate::tree::{Metadata, NewNode, Timestamp, TreeBuilder, Xattr};
use crate::units::u64_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a recipe does not say: where the machine has room, and what is given beside it.
#[derive(Debug, Default)]
pub struct Given {
    /// Folder for what has to be spooled from compressed sources.
    pub spool_folder: Option<PathBuf>,
    /// A root filesystem that is open already, for a recipe without one.
    pub root: Option<Source>,
    /// The build's own time, in place of the recipe's.
    pub epoch: Option<i64>,
}

impl Recipe {
    /// Opens the recipe's sources and says what disk is wanted.
    ///
    /// # Errors
    /// Those of [`source::open_with`], naming the source, and of [`BootOrder::open`]; files that cannot be laid over the tree; what is not supported.
    pub fn disk_spec(&self, given: Given) -> Result<DiskSpec> {
        self.check()?;
        let epoch = given.epoch.or(self.epoch).map_or(DEFAULT_EPOCH, Timestamp::from_seconds);
        let mut spec = DiskSpec::new(given.root).epoch(epoch);
        spec.name.clone_from(&self.name);
        spec.parent = self.parent.as_ref().map(|path| Parent::open(path).map(Arc::new)).transpose()?;
        spec.repack = self.repack;
        spec.version.clone_from(&self.version);
        spec.seed = self.seed;
        spec.table = self.disk.table;
        spec.sector_bytes = self.disk.sector_size.unwrap_or(spec.sector_bytes);
        spec.signature = self.disk.signature;
        spec.disk_guid = self.disk.uuid;
        spec.align_size = self.disk.align_size.unwrap_or(spec.align_size);
        spec.size = self.disk.size;
        for section in &self.partitions {
            spec.partitions.push(partition(section, given.spool_folder.as_deref())?);
        }
        if let Some(section) = &self.boot {
            apply_boot(section, &mut spec);
            if let Some(path) = &section.order {
                spec.boot_order = BootOrder::open(path)?;
                spec.inputs.push(path.clone());
            }
        }
        if let Some(ami) = &self.ami {
            spec.boot.architecture = ami.architecture;
            spec.boot.import_image = ami.bucket.is_some();
        }
        self.change_root(&mut spec)?;
        Ok(spec)
    }

    /// Cleans the tree of the root, or of the only partition with a source, and lays every `[[file]]` over what is left: these are wanted.
    fn change_root(&self, spec: &mut DiskSpec) -> Result<()> {
        if self.files.is_empty() && self.clean.is_none() {
            return Ok(());
        }
        let epoch = spec.own_time();
        let of_partitions = spec.partitions.iter_mut().filter(|partition| partition.source.is_some());
        let mut candidates: Vec<&mut PartitionSpec> = of_partitions.collect();
        let place = match candidates.iter().position(|partition| partition.is_root()) {
            Some(at) => Some(&mut candidates.swap_remove(at).source),
            None if candidates.len() == 1 => Some(&mut candidates.swap_remove(0).source),
            None => None,
        };
        let place = place.unwrap_or(&mut spec.root);
        let none = || match self.files.is_empty() {
            false => Error::invalid("[[file]] entries, but no partition with a source that they could be laid over"),
            true => Error::invalid("[clean], but no partition with a source that could be cleaned"),
        };
        let mut source = place.take().ok_or_else(none)?;
        if let Some(options) = &self.clean {
            let Cleaned { tree, removed, .. } = clean::clean(source.tree, options)?;
            if !removed.is_empty() {
                source.inodes = Vec::new();
                source.notes.push(cleaned_note(&removed));
            }
            source.tree = tree;
            spec.removed = removed.iter().map(ToString::to_string).collect();
        }
        *place = Some(if self.files.is_empty() { source } else { with_files(source, &self.files, epoch)? });
        Ok(())
    }
}

/// What was cleaned, in a sentence.
fn cleaned_note(removed: &[Removed]) -> String {
    let emptied = removed.iter().filter(|removed| removed.emptied).count();
    let gone = removed.len() - emptied;
    let entries = |count: usize| if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") };
    match (gone, emptied) {
        (gone, 0) => format!("[clean] removed {} from the tree", entries(gone)),
        (0, emptied) => format!("[clean] emptied {} of the tree", entries(emptied)),
        (gone, emptied) => format!("[clean] removed {} from the tree and emptied {emptied}", entries(gone)),
    }
}

/// `source` with the files laid over it, in their order.
fn with_files(source: Source, files: &[FileSection], epoch: Timestamp) -> Result<Source> {
    let Source { tree, mut contents, .. } = source;
    let mut builder = TreeBuilder::from_tree(tree).with_implied_time(epoch);
    let mut memory = MemoryContents::new();
    // Contents of texts have numbers behind all that is there; files of the host get theirs behind these.
    let texts = files.iter().filter(|file| matches!(file.kind(), Some(FileKind::Content(_)))).count();
    let texts_from = contents.count();
    let hosts_from =
        texts_from.checked_add(u32::try_from(texts).map_err(|_| Error::limit("over 2^32 files"))?).ok_or_else(|| Error::limit("over 2^32 files"))?;
    let mut hosts = Vec::new();
    let mut paths = source.paths;
    for file in files {
        let directory = matches!(file.kind(), Some(FileKind::Directory));
        let set = file.xattrs.iter().map(|(name, value)| Xattr::new(name, &value.0)).collect();
        let metadata = Metadata {
            mode: file.mode.map_or(if directory { 0o755 } else { 0o644 }, super::FileMode::bits),
            uid: file.owner.map_or(0, |owner| owner.uid),
            gid: file.owner.map_or(0, |owner| owner.gid),
            mtime: file.mtime.map_or(epoch, Timestamp::from_seconds),
            xattrs: builder.intern_xattrs(set).map_err(|error| error.at_path(&file.path))?,
            ..Metadata::default()
        };
        match file.kind() {
            Some(FileKind::Content(text)) => {
                let content = crate::ContentId(texts_from + memory.push(text.as_bytes())?.0);
                builder.add(&file.path, metadata, NewNode::File { content, length: u64_of(text.len()), data: None })?;
            }
            Some(FileKind::Source(path)) => {
                let host = source::HostFile::open(path)?;
                let number =
                    u32::try_from(hosts.len()).ok().and_then(|number| hosts_from.checked_add(number)).ok_or_else(|| Error::limit("over 2^32 files"))?;
                builder.add(&file.path, metadata, NewNode::File { content: crate::ContentId(number), length: host.length(), data: None })?;
                hosts.push(host);
                paths.push(path.to_path_buf());
            }
            Some(FileKind::Symlink(target)) => {
                builder.add(&file.path, Metadata { mode: 0o777, ..metadata }, NewNode::Symlink(target.as_bytes()))?;
            }
            Some(FileKind::Directory) => {
                builder.add(&file.path, metadata, NewNode::Directory)?;
            }
            Some(FileKind::Remove) => {
                builder.remove(&file.path)?;
            }
            None => return Err(Error::invalid("a [[file]] is exactly one of content, source, symlink, directory and remove").at_path(&file.path)),
        }
    }
    let count = memory.count();
    contents.add(Arc::new(memory), count)?;
    for host in hosts {
        contents.add(Arc::new(host), 1)?;
    }
    Ok(Source { tree: builder.freeze()?, contents, paths, ..source })
}

fn partition(section: &PartitionSection, spool_folder: Option<&Path>) -> Result<PartitionSpec> {
    let mut spec = PartitionSpec::new(section.partition_type.clone().unwrap_or_else(|| "linux".into()));
    spec.number = section.number;
    spec.label.clone_from(&section.label);
    spec.guid = section.uuid;
    spec.attributes = section.attributes.iter().fold(0, |bits, attribute| bits | 1 << attribute.bit());
    spec.size = section.size;
    spec.filesystem = Some(match section.filesystem_or_usual() {
        FilesystemKind::None => Filesystem::None,
        FilesystemKind::Ext4 => Filesystem::Ext4(section.ext4.clone().unwrap_or_default()),
        FilesystemKind::Fat => Filesystem::Fat(section.fat.clone().unwrap_or_default()),
    });
    spec.mount_point.clone_from(&section.mount_point);
    spec.free = section.free;
    if !section.source.is_empty() {
        let options = source_options(section, spool_folder);
        let sources = section.source.iter().map(|path| source::open_with(path, &options)).collect::<Result<Vec<_>>>()?;
        spec.source = Some(source::layered(sources)?);
    }
    Ok(spec)
}

fn source_options(section: &PartitionSection, spool_folder: Option<&Path>) -> source::Options {
    let mut options = source::Options::default();
    options.exclude.clone_from(&section.exclude);
    options.one_file_system = section.one_file_system.unwrap_or(false);
    options.owner = section.owner.map(|owner| (owner.uid, owner.gid));
    options.map_ids = section.map_ids.clone();
    options.holes = section.holes.unwrap_or_default();
    // An image comes with what its fstab mounts where all of the system is meant.
    options.mounts = section.partition_type.as_deref().is_none_or(|name| PartitionSpec::new(name).is_root());
    options.spool_folder = spool_folder.map(Path::to_path_buf);
    options
}

fn apply_boot(section: &BootSection, spec: &mut DiskSpec) {
    let bytes = |path: &Option<String>| path.clone().map(String::into_bytes);
    spec.boot_mode = section.mode;
    spec.boot.loader = section.loader;
    spec.boot.cmdline.clone_from(&section.cmdline);
    spec.boot.root = section.root;
    spec.boot.kernel = bytes(&section.kernel);
    spec.boot.initramfs = section.initramfs.clone();
    spec.boot.loader_path = bytes(&section.loader_path);
    spec.boot.uki = bytes(&section.uki);
}
