//! Recognising container images, which are no root filesystems: `docker save` and OCI layouts hold layers and
//! descriptions of them (OCI Image Layout Specification, "oci-layout file"; Docker Image Specification v1.2).

use crate::error::{Error, Result};
use crate::tree::{NodeId, NodeKind, Tree};

/// Refuses a tree that is a container image, with the way round.
pub(super) fn check(tree: &Tree) -> Result<()> {
    let file = |name: &str| tree.lookup(name).is_some_and(|id| matches!(tree.node(id).kind, NodeKind::File(_)));
    let directory = |name: &str| tree.lookup(name).is_some_and(|id| tree.node(id).is_directory());
    let layers = || {
        tree.entries(NodeId::ROOT).iter().any(|entry| {
            let name = tree.name(entry);
            let layer_file = name.ends_with(b".tar") && matches!(tree.node(entry.node).kind, NodeKind::File(_) | NodeKind::Symlink(_));
            layer_file || tree.child(entry.node, b"layer.tar").is_some()
        })
    };
    let what = if file("oci-layout") && file("index.json") && directory("blobs") {
        "an OCI image layout"
    } else if file("manifest.json") && (file("repositories") || directory("blobs") || layers()) {
        "an archive of `docker save`"
    } else {
        return Ok(());
    };
    Err(Error::unsupported(format!(
        "this is {what}: the layers of a container image, not a root filesystem. Make one container of it and export that: \
         `docker create --name c IMAGE && docker export c > rootfs.tar`, or `podman export`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, NewNode, TreeBuilder};
    use crate::units::ContentId;

    #[test]
    fn container_images_are_recognised_and_root_filesystems_are_not() {
        for (paths, refused) in [
            (&["oci-layout", "index.json", "blobs/sha256/aa"][..], true),
            (&["manifest.json", "repositories", "0123/layer.tar", "0123/json"], true),
            (&["manifest.json", "0123/layer.tar"], true),
            (&["manifest.json", "0123.tar", "0123.json"], true),
            (&["manifest.json", "blobs/sha256/aa"], true),
            (&["manifest.json", "etc/passwd"], false),
            (&["index.json", "usr/bin/sh"], false),
            (&["etc/passwd"], false),
            (&[], false),
        ] {
            let mut tree = TreeBuilder::new();
            for path in paths {
                tree.add(path, Metadata::default(), NewNode::File { content: ContentId(0), length: 0, data: None }).unwrap();
            }
            let checked = check(&tree.freeze().unwrap());
            assert_eq!(checked.is_err(), refused, "{paths:?}");
            assert!(checked.err().is_none_or(|error| error.to_string().contains("docker export")));
        }
    }
}
