//! What is left out and whose everything is: `--exclude`, `--owner`, `--map-ids`.

use super::options::{Holes, IdMap, Options};
use crate::error::{Error, Result, escape};
use crate::tree::{Metadata, Tree, TreeBuilder, Xattr};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// `system.posix_acl_access` and `_default`, in the form of the system calls: version 2, then entries of tag (u16),
/// permissions (u16) and id (u32), little endian (Linux, include/uapi/linux/posix_acl_xattr.h).
const ACL_NAMES: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const ACL_HEAD_BYTES: usize = 4;
const ACL_ENTRY_BYTES: usize = 8;
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;
/// `security.capability` (Linux, include/uapi/linux/capability.h): the revision is the top byte of the first word;
/// revision 3 has one word more, the owner of the user namespace.
const CAPABILITY_NAME: &[u8] = b"security.capability";
const CAPABILITY_REVISION_2: u8 = 2;
const CAPABILITY_REVISION_3: u8 = 3;
const CAPABILITY_3_BYTES: usize = 24;

/// The options of one source that change what it holds, checked and compiled.
#[derive(Debug)]
pub(super) struct Filter {
    globs: Option<GlobSet>,
    owner: Option<(u32, u32)>,
    map_ids: Vec<IdMap>,
}

impl Filter {
    pub(super) fn new(options: &Options) -> Result<Self> {
        if options.owner.is_some() && !options.map_ids.is_empty() {
            return Err(Error::invalid("both one owner for everything and a translation of owners: only one of them can be meant"));
        }
        for (nth, a) in options.map_ids.iter().enumerate() {
            // One id that could become two, or two that would become one.
            let overlap = |a: u32, b: u32, a_count: u32, b_count: u32| {
                u64::from(a) < u64::from(b) + u64::from(b_count) && u64::from(b) < u64::from(a) + u64::from(a_count)
            };
            if options.map_ids[..nth].iter().any(|b| overlap(a.host, b.host, a.count, b.count) || overlap(a.image, b.image, a.count, b.count)) {
                return Err(Error::invalid(format!("the id map {}:{}:{} overlaps another one", a.image, a.host, a.count)));
            }
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &options.exclude {
            let from_root = pattern.trim_start_matches('/').trim_end_matches('/');
            if from_root.is_empty() {
                return Err(Error::invalid(format!("the pattern {pattern:?} excludes the root itself")));
            }
            let glob = GlobBuilder::new(from_root).literal_separator(true).backslash_escape(true).build();
            set.add(glob.map_err(|error| Error::invalid(format!("cannot read the pattern {pattern:?}")).caused_by(error))?);
        }
        let globs = set.build().map_err(|error| Error::invalid("cannot use the patterns of what is excluded").caused_by(error))?;
        Ok(Self { globs: (!globs.is_empty()).then_some(globs), owner: options.owner, map_ids: options.map_ids.clone() })
    }

    /// Whether the entry at `path` (no leading slash) is left out, and all that is in it.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        self.globs.as_ref().is_some_and(|globs| !path.is_empty() && globs.is_match_candidate(&Candidate::from_bytes(path)))
    }

    /// Whether owners change.
    pub(super) fn changes_metadata(&self) -> bool {
        self.owner.is_some() || !self.map_ids.is_empty()
    }

    /// `tree` with its owners translated, and without holes where they are not kept.
    pub(super) fn apply(&self, tree: &Tree, holes: Holes) -> Result<Tree> {
        let mut builder = TreeBuilder::new();
        builder.overlay(tree, 0)?;
        // The numbers are not yet those of a frozen tree: nodes are found by their paths.
        tree.walk(|path, id| {
            let metadata = tree.node(id).metadata;
            let (uid, gid) = self.owner(metadata.uid, metadata.gid).map_err(|error| error.at_path(path))?;
            let Some((made, node)) = builder.get(path) else { return Ok(()) };
            let (made, implied) = (made, node.implied);
            let set =
                tree.xattrs(metadata.xattrs).iter().cloned().map(|xattr| self.xattr(xattr)).collect::<Result<_>>().map_err(|error| error.at_path(path))?;
            let xattrs = builder.intern_xattrs(set)?;
            if !implied {
                builder.set_metadata(made, Metadata { uid, gid, xattrs, ..metadata })?;
            }
            if holes == Holes::None {
                builder.fill_holes(made);
            }
            Ok(())
        })?;
        builder.freeze()
    }

    /// `tree` without what is left out. Done on the whole tree and not entry by entry, because an archive can name
    /// one thing by several paths, and a hard link outlives its first name.
    pub(super) fn prune(&self, tree: Tree) -> Result<Tree> {
        if self.globs.is_none() {
            return Ok(tree);
        }
        let mut removed: Vec<Vec<u8>> = Vec::new();
        tree.walk(|path, _| {
            let below = removed.last().is_some_and(|top| path.strip_prefix(top.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/')));
            if !below && self.excludes(path) {
                removed.push(path.to_vec());
            }
            Ok(())
        })?;
        if removed.is_empty() {
            return Ok(tree);
        }
        let mut builder = TreeBuilder::from_tree(tree);
        for path in &removed {
            builder.remove(path)?;
        }
        builder.freeze()
    }

    /// Owner and group in the image.
    pub(super) fn owner(&self, uid: u32, gid: u32) -> Result<(u32, u32)> {
        match self.owner {
            Some(owner) => Ok(owner),
            None => Ok((self.map(uid, "user")?, self.map(gid, "group")?)),
        }
    }

    /// An xattr as it is in the image: ids in ACLs and capabilities are translated with all others.
    pub(super) fn xattr(&self, xattr: Xattr) -> Result<Xattr> {
        if self.map_ids.is_empty() {
            return Ok(xattr);
        }
        let Xattr { name, mut value } = xattr;
        if ACL_NAMES.contains(&&*name) && value.len() >= ACL_HEAD_BYTES {
            for entry in value[ACL_HEAD_BYTES..].chunks_exact_mut(ACL_ENTRY_BYTES) {
                let tag = u16::from_le_bytes([entry[0], entry[1]]);
                if tag == ACL_USER || tag == ACL_GROUP {
                    let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
                    let id = self.map(id, if tag == ACL_USER { "user" } else { "group" }).map_err(|error| error.within("its ACL"))?;
                    entry[4..].copy_from_slice(&id.to_le_bytes());
                }
            }
        } else if *name == *CAPABILITY_NAME && value.len() == CAPABILITY_3_BYTES && value[3] == CAPABILITY_REVISION_3 {
            let root = u32::from_le_bytes([value[20], value[21], value[22], value[23]]);
            let root = self.map(root, "user")?;
            if root == 0 {
                value[3] = CAPABILITY_REVISION_2;
                value = value[..20].into();
            } else {
                value[20..].copy_from_slice(&root.to_le_bytes());
            }
        }
        Ok(Xattr { name, value })
    }

    fn map(&self, id: u32, what: &str) -> Result<u32> {
        if self.map_ids.is_empty() {
            return Ok(id);
        }
        let found = self.map_ids.iter().find_map(|map| id.checked_sub(map.host).filter(|nth| *nth < map.count).and_then(|nth| map.image.checked_add(nth)));
        found.ok_or_else(|| Error::invalid(format!("{what} id {id} is in none of the ranges of the id map (--map-ids IMAGE:HOST:COUNT)")))
    }
}

/// Refuses names that only container layers have: left in an image they would bring deleted files back.
pub(super) fn check_whiteouts(tree: &Tree) -> Result<()> {
    const PREFIX: &[u8] = b".wh.";
    for (id, _) in tree.nodes().filter(|(_, node)| node.is_directory()) {
        for entry in tree.entries(id) {
            let name = tree.name(entry);
            if name.starts_with(PREFIX) {
                let mut path = tree.path_of(id);
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                return Err(Error::unsupported(format!(
                    "the name says that {} was deleted in a layer of a container image; a layer is no root filesystem: take the whole one from `docker export` (or exclude '**/.wh.*')",
                    escape(&name[PREFIX.len()..])
                ))
                .at_path(path));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NewNode;

    fn filter(exclude: &[&str], map_ids: &[&str]) -> Filter {
        let exclude = exclude.iter().map(|pattern| (*pattern).to_string()).collect();
        let map_ids = map_ids.iter().map(|map| map.parse().unwrap()).collect();
        Filter::new(&Options { exclude, map_ids, ..Options::default() }).unwrap()
    }

    #[test]
    fn patterns_match_from_the_root_and_stars_stop_at_slashes() {
        for (pattern, path, matches) in [
            ("tmp", "tmp", true),
            ("/tmp/", "tmp", true),
            ("tmp", "var/tmp", false),
            ("var/cache/*", "var/cache/apt", true),
            ("var/cache/*", "var/cache", false),
            ("var/cache/*", "var/cache/apt/archives", false),
            ("**/*.pyc", "a.pyc", true),
            ("**/*.pyc", "usr/lib/a.pyc", true),
            ("*.pyc", "usr/lib/a.pyc", false),
            ("a[0-9]?", "a1x", true),
            ("{a,b}/c", "b/c", true),
        ] {
            assert_eq!(filter(&[pattern], &[]).excludes(path.as_bytes()), matches, "{pattern} on {path}");
        }
        assert!(filter(&["d/*"], &[]).excludes(b"d/\xff\xfe"), "names are bytes");
        for bad in ["/", "", "a[", "{a"] {
            assert!(Filter::new(&Options { exclude: vec![bad.into()], ..Options::default() }).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn id_maps_that_overlap_are_refused() {
        let check = |maps: &[&str]| Options { map_ids: maps.iter().map(|map| map.parse().unwrap()).collect(), ..Options::default() }.check();
        check(&["0:100000:1000", "1000:1000:1", "1001:101000:5"]).unwrap();
        for maps in [["0:100:50", "100:149:10"], ["0:100:50", "49:200:10"], ["0:0:4294967294", "4294967293:4294967294:1"]] {
            assert!(check(&maps).unwrap_err().to_string().contains("overlaps"), "{maps:?}");
        }
    }

    #[test]
    fn what_is_excluded_goes_with_its_content_and_hard_links_outlive_it() {
        let mut tree = TreeBuilder::new();
        for path in ["a", "a/b", "ab"] {
            tree.add(path, Metadata::default(), NewNode::Directory).unwrap();
        }
        tree.add("a/b/file", Metadata::default(), NewNode::Fifo).unwrap();
        tree.link("ab/other", "a/b/file").unwrap();
        let tree = filter(&["a"], &[]).prune(tree.freeze().unwrap()).unwrap();
        assert!(tree.lookup("a").is_none());
        assert_eq!(tree.node(tree.lookup("ab/other").unwrap()).links, 1);
        assert_eq!(tree.node_count(), 3);
    }

    #[test]
    fn ids_are_translated_everywhere_and_unknown_ones_refused() {
        let filter = filter(&[], &["0:100000:1000", "1000:1000:1"]);
        assert_eq!(filter.owner(100_000, 1000).unwrap(), (0, 1000));
        assert!(filter.owner(5, 100_000).is_err());
        let acl = [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0xa5, 0x86, 1, 0];
        let mapped = filter.xattr(Xattr::new("system.posix_acl_access", acl)).unwrap();
        assert_eq!(mapped.value[12..], [2, 0, 6, 0, 5, 0, 0, 0]);
        assert_eq!(mapped.value[8..12], [255; 4]);
        let mut capability = [0_u8; 24];
        capability[3] = 3;
        capability[20..].copy_from_slice(&100_000_u32.to_le_bytes());
        let mapped = filter.xattr(Xattr::new("security.capability", capability)).unwrap();
        assert_eq!((mapped.value.len(), mapped.value[3]), (20, 2));
        let both = Options { owner: Some((0, 0)), map_ids: vec!["0:1:1".parse().unwrap()], ..Options::default() };
        assert!(Filter::new(&both).is_err());
    }
}
