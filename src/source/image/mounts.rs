//! The other filesystems of a disk where its root mounts them: so that all of an image comes as one tree.

use super::{DiskImage, Options, Source, of_filesystem, read_options};
use crate::content::{Contents, MemoryContents};
use crate::error::{Error, Result, escape};
use crate::report::PartitionSummary;
use crate::tree::{Metadata, NewNode, NodeId, NodeKind, Tree, TreeBuilder};
use crate::units::{ContentId, u64_of, usize_of};
use std::sync::Arc;

/// The longest fstab that is read.
const FSTAB_MAX_BYTES: u64 = 1 << 20;
/// Where the ESP is mounted if fstab does not say it: the first of these directories that there is.
const ESP_MOUNT_POINTS: [&str; 2] = ["boot/efi", "efi"];

/// The EFI system partition of a disk whose root is partition `root`.
fn esp_of(image: &DiskImage, root: u32) -> Option<&PartitionSummary> {
    image.partitions().iter().find(|partition| partition.partition_type == "esp" && partition.number != root && partition.filesystem.is_some())
}

impl DiskImage {
    /// Where the running system has the other partitions of the disk that hold a filesystem: numbers and paths (without the first
    /// slash), a mount point above another one first. By the fstab(5) of `tree`, which was read from partition `root` with `contents`;
    /// the ESP is at `boot/efi` or `efi` where that does not say it.
    ///
    /// # Errors
    /// Those of reading the fstab.
    pub fn mount_points(&self, root: u32, tree: &Tree, contents: &dyn Contents) -> Result<Vec<(u32, Vec<u8>)>> {
        let mut mounts = of_fstab(self, root, tree, contents)?;
        if let Some(esp) = esp_of(self, root).filter(|esp| mounts.iter().all(|(number, _)| *number != esp.number)) {
            let place = ESP_MOUNT_POINTS.iter().find(|place| tree.resolve(place).is_some_and(|id| tree.node(id).is_directory()));
            mounts.push((esp.number, place.unwrap_or(&ESP_MOUNT_POINTS[0]).as_bytes().to_vec()));
        }
        mounts.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(mounts)
    }
}

/// Lays the filesystems of `image` over `source`, its partition `root`, where fstab(5) has them; the ESP also where it does not.
pub(super) fn lay_over(image: &DiskImage, root: u32, source: Source, options: &Options) -> Result<Source> {
    let mounts = image.mount_points(root, &source.tree, &source.contents)?;
    if mounts.is_empty() {
        return Ok(source);
    }
    let esp = esp_of(image, root).map(|esp| esp.number);
    let fstab = fstab_without(&source, image, |number| Some(number) != esp && mounts.iter().any(|(mounted, _)| *mounted == number))?;
    let Source { tree, mut contents, description, mut notes, paths, mut damage, mut unreadable, disk, .. } = source;
    let mut builder = TreeBuilder::from_tree(tree);
    if let Some((path, metadata, text)) = fstab {
        let length = u64_of(text.len());
        let mut memory = MemoryContents::new();
        let content = memory.push(text)?;
        let base = contents.add(Arc::new(memory), 1)?;
        builder.add(&path, metadata, NewNode::File { content: ContentId(content.0 + base), length, data: None })?;
        notes.push("/etc/fstab: what is part of the root now is no longer mounted".to_owned());
    }
    for (number, place) in mounts {
        let read = image.read_known(number, &read_options(options))?;
        let upper = of_filesystem(image, number, read)?;
        let base = contents.add_store(&upper.contents)?;
        let hides = builder.mount(&upper.tree, &place, base)?;
        notes.push(format!("partition {number} is taken as /{}{}", escape(&place), if hides { "; what the root has beneath is hidden by it" } else { "" }));
        let beneath = |error: Error| error.within(format!("/{}", escape(&place)));
        damage.extend(upper.damage.into_iter().map(beneath));
        unreadable.extend(upper.unreadable.into_iter().map(beneath));
    }
    Ok(Source { tree: builder.freeze()?, contents, description, notes, paths, damage, unreadable, inodes: Vec::new(), disk })
}

/// The root's fstab: its node and its text.
fn read_fstab(tree: &Tree, contents: &dyn Contents) -> Result<Option<(NodeId, Vec<u8>)>> {
    let Some(id) = tree.resolve("etc/fstab") else { return Ok(None) };
    let NodeKind::File(file) = tree.node(id).kind else { return Ok(None) };
    let mut text = vec![0; usize_of(file.length.min(FSTAB_MAX_BYTES))];
    contents.read_exact_at(file.content, 0, &mut text)?;
    Ok(Some((id, text)))
}

/// The partition of this disk that a line of fstab mounts, and where.
fn mounted(image: &DiskImage, line: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (what, place) = (fields.next()?, fields.next()?);
    if what.starts_with(b"#") || !place.starts_with(b"/") || place == b"/" {
        return None;
    }
    let meant = image.partitions().iter().find(|partition| partition.filesystem.is_some() && is_named(image, partition, what))?;
    let place: Vec<u8> = unescape(place).split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
    // `..` and the like are nothing that a mount point has.
    (!place.is_empty() && crate::tree::split_path(&place).is_ok()).then_some((meant.number, place))
}

/// The partitions of this disk that fstab mounts, with their places; the first where one is mounted twice.
fn of_fstab(image: &DiskImage, root: u32, tree: &Tree, contents: &dyn Contents) -> Result<Vec<(u32, Vec<u8>)>> {
    let Some((_, text)) = read_fstab(tree, contents)? else { return Ok(Vec::new()) };
    let mut mounts: Vec<(u32, Vec<u8>)> = Vec::new();
    for (number, place) in text.split(|byte| *byte == b'\n').filter_map(|line| mounted(image, line)) {
        if number != root && mounts.iter().all(|(other, _)| *other != number) {
            mounts.push((number, place));
        }
    }
    Ok(mounts)
}

/// Path, metadata and text of an fstab.
type Fstab = (Vec<u8>, Metadata, Vec<u8>);

/// The root's fstab with the lines that mount `gone` partitions as comments; `None` where there are none.
fn fstab_without(source: &Source, image: &DiskImage, gone: impl Fn(u32) -> bool) -> Result<Option<Fstab>> {
    let Some((id, text)) = read_fstab(&source.tree, &source.contents)? else { return Ok(None) };
    let mut changed = false;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let is_gone = mounted(image, line).is_some_and(|(number, _)| gone(number));
        changed |= is_gone;
        lines.push(if is_gone { [b"# now in the root: ", line].concat() } else { line.to_vec() });
    }
    Ok(changed.then(|| (source.tree.path_of(id), source.tree.node(id).metadata, lines.join(&b'\n'))))
}

/// Whether the first field of an fstab line, or `root=` of a kernel, means this partition.
pub(super) fn is_named(image: &DiskImage, partition: &PartitionSummary, what: &[u8]) -> bool {
    let Ok(what) = std::str::from_utf8(what) else { return false };
    let Some((tag, value)) = what.split_once('=') else { return false };
    let value = value.trim_matches('"');
    let filesystem = partition.filesystem.as_ref();
    match tag {
        "UUID" => filesystem.is_some_and(|filesystem| filesystem.uuid.eq_ignore_ascii_case(value)),
        "LABEL" => filesystem.is_some_and(|filesystem| !value.is_empty() && filesystem.label == value),
        "PARTUUID" => {
            // Of an MBR the kernel makes one of the disk's signature and the number (Linux, block/partitions/msdos.c).
            let of_mbr = || image.summary().signature.map(|signature| format!("{signature:08x}-{:02x}", partition.number));
            let own = partition.guid.map(|guid| guid.to_string()).or_else(of_mbr);
            own.is_some_and(|own| own.eq_ignore_ascii_case(value))
        }
        "PARTLABEL" => !value.is_empty() && partition.label.as_deref() == Some(value),
        _ => false,
    }
}

/// fstab(5) writes blanks in paths as `\040` and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_mount_points_are_read() {
        assert_eq!(unescape(b"/mnt/a\\040b\\134"), b"/mnt/a b\\");
        assert_eq!(unescape(b"/a\\04"), b"/a\\04");
    }
}
