//! What no single key says: values in their ranges, and keys that contradict each other.

use super::Recipe;
use super::problem::Problem;
use super::sections::{Attribute, BootSection, DiskSection, FileKind, FileSection, PartitionSection};
use crate::boot::{InitramfsChoice, LoaderChoice, RootBy};
use crate::disk::{BootMode, DiskSize, Ext4Settings, FatSettings, FilesystemKind, PartitionSize};
use crate::error::escape;
use crate::format::Format;
use crate::fs::ext4::format::TIME_MAX_SECONDS;
use crate::fs::ext4::{self, Journal};
use crate::labels::Origin;
use crate::partition::{NAME_MAX_UNITS, TableKind};
use crate::tree::{self, XATTR_NAME_MAX_BYTES, XATTR_VALUE_MAX_BYTES};
use crate::units::Size;
use std::collections::BTreeMap;
use std::path::Path;

/// The first mistake, if any.
pub(super) fn first_problem(recipe: &Recipe) -> Option<Problem> {
    check(recipe).err()
}

type Checked = Result<(), Problem>;

/// Longest name or version, in bytes; an AMI's name has at most 128 characters.
const NAME_MAX_BYTES: usize = 128;
/// Linux's PATH_MAX, without the NUL.
const PATH_MAX_BYTES: usize = 4095;

fn check(recipe: &Recipe) -> Checked {
    for (key, text) in [("name", &recipe.name), ("version", &recipe.version)] {
        check_name(key, text.as_deref())?;
    }
    check_time(&[&"epoch"], recipe.epoch)?;
    if recipe.repack && recipe.parent.is_none() {
        return Err(Problem::at(&[&"repack"], "files are placed afresh of a parent alone: `repack` (--repack) goes with `parent` (--parent)".to_owned()));
    }
    check_disk(&recipe.disk)?;
    check_partitions(recipe)?;
    if let Some(boot) = &recipe.boot {
        check_boot(boot)?;
    }
    if let Some((list, at, error)) = recipe.clean.as_ref().and_then(crate::clean::CleanOptions::first_wrong) {
        return Err(Problem::at(&[&"clean", &list, &at], error.to_string()));
    }
    check_files(&recipe.files)?;
    recipe.lint.check()?;
    match recipe.ami.as_ref().map_or(Ok(()), crate::manifest::AmiChoices::find_wrong) {
        Err((keys, error)) => {
            let mut path: Vec<&dyn std::fmt::Display> = vec![&"ami"];
            for key in &keys {
                path.push(key);
            }
            Err(Problem::at(&path, error.to_string()))
        }
        Ok(()) => Ok(()),
    }
}

fn check_name(key: &'static str, text: Option<&str>) -> Checked {
    match text {
        Some("") => Err(Problem::at(&[&key], format!("the {key} is empty"))),
        Some(text) if text.len() > NAME_MAX_BYTES => {
            Err(Problem::at(&[&key], format!("the {key} has {} bytes, at most {NAME_MAX_BYTES} are possible", text.len())))
        }
        Some(text) if text.contains(char::is_control) => Err(Problem::at(&[&key], format!("the {key} has control characters in it"))),
        _ => Ok(()),
    }
}

fn check_time(key: &[&dyn std::fmt::Display], seconds: Option<i64>) -> Checked {
    match seconds {
        Some(seconds) if !(0..=TIME_MAX_SECONDS).contains(&seconds) => {
            Err(Problem::at(key, format!("the time {seconds} is outside of what an image can hold: 0 (1970) to {TIME_MAX_SECONDS} (2446) are possible")))
        }
        _ => Ok(()),
    }
}

fn check_disk(disk: &DiskSection) -> Checked {
    let at = |key: &'static str, message: String| Err(Problem::at(&[&"disk", &key], message));
    let sector = disk.sector_size.unwrap_or(512);
    if !matches!(sector, 512 | 4096) {
        return at("sector_size", format!("sectors have 512 or 4096 bytes, not {sector}"));
    }
    if sector == 4096 && matches!(disk.format, Some(Format::Vhd | Format::VhdFixed)) {
        return at("sector_size", "a VHD has sectors of 512 bytes; 4096 go with `format = \"raw\"` only".to_owned());
    }
    let whole_sectors = |size: Size| size.as_bytes() > 0 && size.as_bytes().is_multiple_of(u64::from(sector));
    if let Some(align) = disk.align_size.filter(|align| !whole_sectors(*align)) {
        return at("align_size", format!("the disk cannot be aligned to {align}: a multiple of {sector} bytes above 0 is possible"));
    }
    if let DiskSize::Exact(size) = disk.size
        && !whole_sectors(size)
    {
        return at("size", format!("a disk cannot have {size}: a multiple of {sector} bytes above 0 is possible"));
    }
    match disk.table {
        TableKind::Gpt | TableKind::None if disk.signature.is_some() => {
            at("signature", "a disk signature stands in an MBR: it needs `table = \"mbr\"` (a GPT has `uuid`)".to_owned())
        }
        TableKind::Mbr | TableKind::None if disk.uuid.is_some() => {
            at("uuid", "a disk GUID stands in a GPT: it needs `table = \"gpt\"` (an MBR has `signature`)".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_partitions(recipe: &Recipe) -> Checked {
    let partitions = &recipe.partitions;
    let most = recipe.disk.table.partitions_max();
    // The first partition that says a thing that only one can say.
    let mut numbers = BTreeMap::new();
    let mut mounts = BTreeMap::new();
    let mut uuids = BTreeMap::new();
    let mut fill = None;
    for (index, partition) in partitions.iter().enumerate() {
        let at = |key: &'static str, message: String| Err(Problem::at(&[&"partition", &index, &key], message));
        if u32::try_from(index).map_or(true, |index| index >= most) {
            let table = recipe.disk.table;
            return Err(Problem::at(
                &[&"partition", &index],
                format!("a disk with `table = \"{table}\"` has at most {most} partitions, the recipe has {}", partitions.len()),
            ));
        }
        check_partition(index, partition, &recipe.disk)?;
        if let Some(number) = partition.number {
            if !(1..=most).contains(&number) {
                return at("number", format!("partitions have numbers from 1 to {most}, not {number}"));
            }
            if numbers.insert(number, index).is_some() {
                return at("number", format!("another partition has number {number}"));
            }
        }
        if let Some(path) = &partition.mount_point
            && mounts.insert(path.as_str(), index).is_some()
        {
            return at("mount_point", format!("another partition is mounted on {}", escape(path.as_bytes())));
        }
        if let Some(uuid) = partition.uuid
            && uuids.insert(uuid, index).is_some()
        {
            return at("uuid", format!("another partition has the identifier {uuid}"));
        }
        if partition.size == PartitionSize::Fill && fill.replace(index).is_some() {
            return at("size", "another partition takes the rest of the disk: only one can fill it".to_owned());
        }
    }
    Ok(())
}

fn check_partition(index: usize, partition: &PartitionSection, disk: &DiskSection) -> Checked {
    let at = |key: &'static str, message: &str| Err(Problem::at(&[&"partition", &index, &key], message));
    if partition.partition_type.as_deref() == Some("") {
        return at("type", "the type is empty: a name such as \"root\", a GUID or an MBR byte such as \"0x83\" was expected");
    }
    if disk.table != TableKind::Gpt {
        let keys = [("label", partition.label.is_some()), ("uuid", partition.uuid.is_some())];
        if let Some((key, _)) = keys.into_iter().find(|(_, said)| *said) {
            return at(key, "labels and identifiers of partitions stand in a GPT: they need `table = \"gpt\"`");
        }
    }
    if disk.table == TableKind::None && (partition.number.is_some() || !partition.attributes.is_empty()) {
        return at(if partition.number.is_some() { "number" } else { "attributes" }, "without a partition table there are no numbers and attributes");
    }
    if disk.table == TableKind::Mbr && partition.attributes.iter().any(|attribute| *attribute != Attribute::LegacyBiosBootable) {
        return at("attributes", "an MBR has one attribute, legacy-bios-bootable (active)");
    }
    if let Some(label) = &partition.label {
        let units = label.encode_utf16().count();
        if units > NAME_MAX_UNITS || label.contains('\0') {
            return at("label", &format!("a label has at most {NAME_MAX_UNITS} UTF-16 units and no NUL, this one has {units}"));
        }
    }
    if let PartitionSize::Exact(size) = partition.size
        && (size.as_bytes() == 0 || !size.as_bytes().is_multiple_of(512))
    {
        return at("size", &format!("a partition cannot have {size}: a multiple of 512 bytes above 0 is possible"));
    }
    if let Some(path) = partition.mount_point.as_deref().filter(|path| *path != "/") {
        check_path(path).map_err(|message| Problem::at(&[&"partition", &index, &"mount_point"], message))?;
    }
    check_sources(index, partition)?;
    check_filesystem(index, partition)
}

fn check_sources(index: usize, partition: &PartitionSection) -> Checked {
    for (number, source) in partition.source.iter().enumerate() {
        let at = |message: &str| Err(Problem::at(&[&"partition", &index, &"source", &number], message));
        if source.as_os_str().is_empty() {
            return at("the path of a source is empty");
        }
        if source == Path::new("-") {
            return at("a recipe does not read standard input: name it on the command line (a file of that name is \"./-\")");
        }
        if source.as_os_str().as_encoded_bytes().contains(&0) {
            return at("a path has no NUL in it");
        }
    }
    let reading = [
        ("exclude", !partition.exclude.is_empty()),
        ("one_file_system", partition.one_file_system.is_some()),
        ("owner", partition.owner.is_some()),
        ("map_ids", !partition.map_ids.is_empty()),
        ("holes", partition.holes.is_some()),
    ];
    match reading.into_iter().find(|(_, said)| *said && partition.source.is_empty()) {
        Some((key, _)) => Err(Problem::at(&[&"partition", &index, &key], "this says how sources are read, and the partition has none: `source` is missing")),
        None => Ok(()),
    }
}

fn check_filesystem(index: usize, partition: &PartitionSection) -> Checked {
    let at = |key: &'static str, message: &str| Err(Problem::at(&[&"partition", &index, &key], message));
    let filesystem = partition.filesystem_or_usual();
    if partition.ext4.is_some() && filesystem != FilesystemKind::Ext4 {
        return at("ext4", "[partition.ext4] goes with `filesystem = \"ext4\"`, this partition has another filesystem or none");
    }
    if partition.fat.is_some() && filesystem != FilesystemKind::Fat {
        return at("fat", "[partition.fat] goes with `filesystem = \"fat\"`, this partition has another filesystem or none");
    }
    if filesystem == FilesystemKind::None {
        let contents = [("source", !partition.source.is_empty()), ("mount_point", partition.mount_point.is_some()), ("free", partition.free.is_some())];
        if let Some((key, _)) = contents.into_iter().find(|(_, said)| *said) {
            return at(key, "a partition without a filesystem holds nothing: `filesystem` is \"none\", or usual for this type");
        }
        if partition.size == PartitionSize::Auto {
            return at("size", "a partition without a filesystem needs a size: there are no contents to measure");
        }
    }
    partition.ext4.as_ref().map_or(Ok(()), |ext4| check_ext4(index, ext4))?;
    partition.fat.as_ref().map_or(Ok(()), |fat| check_fat(index, fat))
}

fn check_ext4(index: usize, settings: &Ext4Settings) -> Checked {
    let at = |key: &'static str, message: String| Err(Problem::at(&[&"partition", &index, &"ext4", &key], message));
    if let Some(size) = settings.block_bytes.filter(|size| !matches!(size, 1024 | 2048 | 4096)) {
        return at("block_size", format!("ext4 blocks have 1024, 2048 or 4096 bytes, not {size}"));
    }
    if let Some(size) = settings.inode_bytes.filter(|size| !matches!(size, 128 | 256 | 512 | 1024)) {
        return at("inode_size", format!("ext4 inodes have 128, 256, 512 or 1024 bytes, not {size}"));
    }
    if settings.inodes.is_some() && settings.bytes_per_inode.is_some() {
        return at("bytes_per_inode", "`inodes` and `bytes_per_inode` both say how many inodes there are: one of them is to go".to_owned());
    }
    if settings.inodes == Some(0) || settings.bytes_per_inode == Some(0) {
        return at(if settings.inodes == Some(0) { "inodes" } else { "bytes_per_inode" }, "0 inodes hold nothing".to_owned());
    }
    if settings.reserved.is_some_and(|percent| percent > ext4::RESERVED_MAX) {
        return at("reserved_percent", format!("at most {} per cent can be reserved", ext4::RESERVED_MAX));
    }
    if settings.journal == Journal::Bytes(0) {
        return at("journal", "a journal of no bytes is `journal = \"none\"`".to_owned());
    }
    if let Some(path) = &settings.file_contexts {
        check_file_contexts(path).map_err(|message| Problem::at(&[&"partition", &index, &"ext4", &"file_contexts"], message))?;
    }
    match &settings.label {
        Some(label) if label.len() > ext4::LABEL_MAX_BYTES || label.contains('\0') => {
            at("label", format!("an ext4 label has at most {} bytes and no NUL, this one has {}", ext4::LABEL_MAX_BYTES, label.len()))
        }
        _ => Ok(()),
    }
}

fn check_file_contexts(path: &Origin) -> Result<(), String> {
    match path {
        Origin::Tree(path) => check_path(path),
        Origin::Host(path) if path.as_os_str().is_empty() || path == Path::new("-") || path.as_os_str().as_encoded_bytes().contains(&0) => {
            Err("a file was expected: a path, or \"tree:\" and an absolute path in the tree".to_owned())
        }
        Origin::Host(_) => Ok(()),
    }
}

fn check_fat(index: usize, fat: &FatSettings) -> Checked {
    let at = |key: &'static str, message: String| Err(Problem::at(&[&"partition", &index, &"fat", &key], message));
    if let Some(size) = fat.cluster_bytes.filter(|size| !size.is_power_of_two() || !(512..=32_768).contains(size)) {
        return at("cluster_size", format!("FAT clusters have a power of two of bytes from 512 to 32768, not {size}"));
    }
    match &fat.label {
        Some(label) if label.chars().count() > 11 => at("label", format!("a FAT label has at most 11 characters, this one has {}", label.chars().count())),
        _ => Ok(()),
    }
}

fn check_boot(boot: &BootSection) -> Checked {
    let at = |key: &'static str, message: &str| Err(Problem::at(&[&"boot", &key], message));
    let paths = [("kernel", &boot.kernel), ("loader_path", &boot.loader_path), ("uki", &boot.uki)];
    let initramfs = if let InitramfsChoice::Path(path) = &boot.initramfs { Some(String::from_utf8_lossy(path).into_owned()) } else { None };
    for (key, path) in paths.into_iter().chain([("initramfs", &initramfs)]) {
        if let Some(path) = path {
            check_path(path).map_err(|message| Problem::at(&[&"boot", &key], message))?;
        }
    }
    if boot.mode == BootMode::None {
        let said = [
            ("loader", boot.loader != LoaderChoice::Auto),
            ("cmdline", boot.cmdline.is_some()),
            ("root", boot.root != RootBy::default()),
            ("kernel", boot.kernel.is_some()),
            ("initramfs", boot.initramfs != InitramfsChoice::Auto),
            ("loader_path", boot.loader_path.is_some()),
            ("uki", boot.uki.is_some()),
        ];
        if let Some((key, _)) = said.into_iter().find(|(_, said)| *said) {
            return at(key, "this says how the disk boots, and `mode = \"none\"` says that it does not");
        }
    }
    if boot.uki.is_some() && !matches!(boot.loader, LoaderChoice::Auto | LoaderChoice::Uki) {
        return at("uki", "a UKI is its own loader: it goes with `loader = \"uki\"`");
    }
    if let Some(order) = &boot.order
        && (order.as_os_str().is_empty() || order == Path::new("-") || order.as_os_str().as_encoded_bytes().contains(&0))
    {
        return at("order", "the path of a file was expected");
    }
    if boot.cmdline.as_ref().is_some_and(|cmdline| cmdline.contains(char::is_control)) {
        return at("cmdline", "a command line has no line breaks and control characters");
    }
    Ok(())
}

fn check_files(files: &[FileSection]) -> Checked {
    let mut paths: BTreeMap<&str, bool> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let at = |key: &'static str, message: String| Err(Problem::at(&[&"file", &index, &key], message));
        if file.path.is_empty() {
            return Err(Problem::at(&[&"file", &index], "the file has no `path`"));
        }
        if file.path != "/" || file.kind() != Some(FileKind::Directory) {
            check_path(&file.path).map_err(|message| Problem::at(&[&"file", &index, &"path"], message))?;
        }
        let kind = check_kind(index, file)?;
        // Removing first and making anew is the one way to name a path twice and mean it.
        let removed = kind == FileKind::Remove;
        if paths.insert(&file.path, removed).is_some_and(|removed_before| !removed_before || removed) {
            return at("path", format!("another [[file]] has the path {}", escape(file.path.as_bytes())));
        }
        check_metadata(index, file, kind)?;
    }
    Ok(())
}

/// That exactly one key says what the file is.
fn check_kind(index: usize, file: &FileSection) -> Result<FileKind<'_>, Problem> {
    const KINDS: &str = "content, source, symlink, directory = true, remove = true";
    if let Some(kind) = file.kind() {
        return Ok(kind);
    }
    let said = [
        ("content", file.content.is_some()),
        ("source", file.source.is_some()),
        ("symlink", file.symlink.is_some()),
        ("directory", file.directory == Some(true)),
        ("remove", file.remove == Some(true)),
    ];
    let said: Vec<&str> = said.into_iter().filter(|(_, said)| *said).map(|(key, _)| key).collect();
    match said.get(1) {
        Some(second) => Err(Problem::at(&[&"file", &index, second], format!("the file is {} at once: exactly one of {KINDS} is possible", said.join(" and ")))),
        None => Err(Problem::at(&[&"file", &index], format!("nothing says what the file is: exactly one of {KINDS} is needed"))),
    }
}

fn check_metadata(index: usize, file: &FileSection, kind: FileKind<'_>) -> Checked {
    let at = |key: &'static str, message: String| Err(Problem::at(&[&"file", &index, &key], message));
    match kind {
        FileKind::Symlink(target) if target.is_empty() || target.len() > PATH_MAX_BYTES || target.contains('\0') => {
            return at("symlink", format!("a symbolic link has a target of 1 to {PATH_MAX_BYTES} bytes without NUL, not of {}", target.len()));
        }
        FileKind::Symlink(_) if file.mode.is_some() => return at("mode", "symbolic links have no mode".to_owned()),
        FileKind::Source(source) if source.as_os_str().is_empty() || source.as_os_str().as_encoded_bytes().contains(&0) => {
            return at("source", "the path of a source is empty, or has a NUL in it".to_owned());
        }
        FileKind::Source(source) if source == Path::new("-") => {
            return at("source", "a recipe does not read standard input (a file of that name is \"./-\")".to_owned());
        }
        FileKind::Remove => {
            let said = [("mode", file.mode.is_some()), ("owner", file.owner.is_some()), ("mtime", file.mtime.is_some()), ("xattrs", !file.xattrs.is_empty())];
            if let Some((key, _)) = said.into_iter().find(|(_, said)| *said) {
                return at(key, "what is removed has no metadata".to_owned());
            }
        }
        _ => {}
    }
    check_time(&[&"file", &index, &"mtime"], file.mtime)?;
    for (name, value) in &file.xattrs {
        let at = |message: String| Err(Problem::at(&[&"file", &index, &"xattrs", name], message));
        let shown = escape(name.as_bytes());
        if !["user.", "trusted.", "security.", "system."].iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix)) {
            return at(format!("\"{shown}\" is no extended attribute: names begin with user., trusted., security. or system."));
        }
        if name.len() > XATTR_NAME_MAX_BYTES || name.contains('\0') || value.0.len() > XATTR_VALUE_MAX_BYTES {
            return at(format!("\"{shown}\" is too long: names have at most {XATTR_NAME_MAX_BYTES} bytes and no NUL, values {XATTR_VALUE_MAX_BYTES}"));
        }
    }
    Ok(())
}

/// A path in the tree below its root: absolute, and written in its one form.
fn check_path(path: &str) -> Result<(), String> {
    let shown = escape(path.as_bytes());
    let Some(rest) = path.strip_prefix('/') else { return Err(format!("\"{shown}\" is not absolute: a path in the tree begins with /")) };
    if path.len() > PATH_MAX_BYTES || path.contains('\0') {
        return Err(format!("a path has at most {PATH_MAX_BYTES} bytes and no NUL, this one has {}", path.len()));
    }
    for name in rest.split('/') {
        if matches!(name, "" | "." | "..") {
            return Err(format!("\"{shown}\" is not in its plain form: no empty names, \".\" and \"..\" are possible"));
        }
        if name.len() > tree::NAME_MAX_BYTES {
            return Err(format!("a name in a path has at most {} bytes, one here has {}", tree::NAME_MAX_BYTES, name.len()));
        }
    }
    Ok(())
}
