use super::*;

fn builder(paths: &[&str]) -> TreeBuilder {
    let mut builder = TreeBuilder::new();
    for path in paths {
        let (node, path) = match path.split_once("->") {
            Some((path, target)) => (NewNode::Symlink(target.as_bytes()), path),
            None if path.ends_with('/') => (NewNode::Directory, *path),
            None => (NewNode::File { content: ContentId(0), length: 3, data: None }, *path),
        };
        builder.add(path, Metadata { mode: 0o644, ..Metadata::default() }, node).unwrap();
    }
    builder
}

fn paths(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    tree.walk(|path, _| {
        all.push(String::from_utf8(path.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn freezing_numbers_in_tree_order_whatever_the_order_of_making() {
    let a = builder(&["b/", "b/z", "b/a", "a/", "a/q", "b.c"]).freeze().unwrap();
    let b = builder(&["b.c", "a/", "a/q", "b/", "b/a", "b/z"]).freeze().unwrap();
    assert_eq!(paths(&a), ["", "a", "a/q", "b", "b/a", "b/z", "b.c"]);
    assert_eq!(a, b);
    assert_eq!(a.lookup("b/z"), Some(NodeId(5)));
    assert_eq!(a.path_of(NodeId(5)), b"b/z");
}

#[test]
fn parents_that_are_links_are_followed_inside_the_tree() {
    let mut tree = builder(&["usr/lib/", "lib->usr/lib", "abs->/usr", "up->../../usr", "loop->loop"]);
    for path in ["lib/x", "abs/lib/y", "up/lib/z"] {
        tree.add(path, Metadata::default(), NewNode::Fifo).unwrap();
    }
    assert!(tree.add("loop/x", Metadata::default(), NewNode::Fifo).is_err());
    let tree = tree.freeze().unwrap();
    assert_eq!(tree.entries(tree.lookup("usr/lib").unwrap()).len(), 3);
    assert_eq!(tree.resolve("lib/x"), tree.lookup("usr/lib/x"));
    assert_eq!(tree.resolve("loop/x"), None);
}

#[test]
fn names_that_leave_the_root_are_refused_and_absolute_ones_confined() {
    let mut tree = TreeBuilder::new();
    assert!(tree.add("a/../b", Metadata::default(), NewNode::Fifo).is_err());
    assert!(tree.add([b'x'; 256], Metadata::default(), NewNode::Fifo).is_err());
    assert!(tree.add("a\0b", Metadata::default(), NewNode::Fifo).is_err());
    tree.add("//./abs", Metadata::default(), NewNode::Fifo).unwrap();
    assert_eq!(paths(&tree.freeze().unwrap()), ["", "abs"]);
}

#[test]
fn hard_links_share_a_node_and_bad_ones_are_refused() {
    let mut tree = builder(&["d/", "f", "s->nowhere"]);
    tree.link("d/g", "f").unwrap();
    tree.link("t", "s").unwrap();
    for (path, target) in [("x", "missing"), ("x", "d"), ("f", "f"), ("", "f")] {
        assert!(tree.link(path, target).is_err(), "{path} => {target}");
    }
    let tree = tree.freeze().unwrap();
    let id = tree.lookup("f").unwrap();
    assert_eq!(tree.lookup("d/g"), Some(id));
    assert_eq!(tree.node(id).links, 2);
    assert_eq!(tree.target(tree.lookup("t").unwrap()), b"nowhere");
}

#[test]
fn later_entries_replace_earlier_ones_without_stale_children() {
    let mut tree = builder(&["d/", "d/old", "f"]);
    tree.add("d", Metadata::default(), NewNode::Fifo).unwrap();
    tree.add("d", Metadata::default(), NewNode::Directory).unwrap();
    tree.add("f", Metadata::default(), NewNode::Directory).unwrap();
    assert!(tree.remove("f").unwrap());
    assert!(!tree.remove("f").unwrap());
    assert_eq!(paths(&tree.freeze().unwrap()), ["", "d"]);
}

#[test]
fn overlays_keep_links_and_implied_directories_give_way() {
    let lower = builder(&["usr/lib/", "lib->usr/lib", "etc/", "etc/a"]).freeze().unwrap();
    let mut upper = builder(&["lib/new", "etc/a"]);
    upper.link("etc/b", "etc/a").unwrap();
    let upper = upper.freeze().unwrap();
    let mut tree = TreeBuilder::from_tree(lower);
    tree.overlay(&upper, 10).unwrap();
    let tree = tree.freeze().unwrap();
    assert!(tree.lookup("usr/lib/new").is_some());
    assert_eq!(tree.lookup("etc/a"), tree.lookup("etc/b"));
    let NodeKind::File(file) = tree.node(tree.lookup("etc/a").unwrap()).kind else { panic!("no file") };
    assert_eq!(file.content, ContentId(10));
}

#[test]
fn splitting_takes_what_is_beneath_and_leaves_the_mount_point() {
    let mut tree = builder(&["boot/", "boot/efi/", "boot/efi/EFI/", "boot/efi/EFI/a", "etc/", "f"]);
    tree.link("boot/efi/b", "boot/efi/EFI/a").unwrap();
    let (rest, beneath) = tree.freeze().unwrap().split_off("/boot/efi").unwrap();
    assert_eq!(paths(&rest), ["", "boot", "boot/efi", "etc", "f"]);
    let beneath = beneath.unwrap();
    assert_eq!(paths(&beneath), ["", "EFI", "EFI/a", "b"]);
    assert_eq!(beneath.lookup("b"), beneath.lookup("EFI/a"));
    assert!(rest.split_off("none").unwrap().1.is_none());

    let mut tree = builder(&["boot/", "f"]);
    tree.link("boot/g", "f").unwrap();
    assert!(tree.freeze().unwrap().split_off("boot").is_err());
}

#[test]
fn xattr_sets_are_numbered_in_tree_order_whatever_the_order_of_making() {
    let tree = |order: [&str; 3]| {
        let mut tree = TreeBuilder::new();
        tree.intern_xattrs(vec![Xattr::new("user.unused", "x")]).unwrap();
        for name in order {
            let xattrs = tree.intern_xattrs(vec![Xattr::new("user.name", name.trim_end_matches('2'))]).unwrap();
            tree.add(name, Metadata { xattrs, ..Metadata::default() }, NewNode::Fifo).unwrap();
        }
        tree.freeze().unwrap()
    };
    let (a, b) = (tree(["a", "b", "a2"]), tree(["b", "a2", "a"]));
    for name in ["a", "a2", "b"] {
        let set = |tree: &Tree| tree.node(tree.lookup(name).unwrap()).metadata.xattrs;
        assert_eq!(set(&a), set(&b), "{name}");
        assert_eq!(a.xattrs(set(&a)), b.xattrs(set(&b)), "{name}");
    }
}

#[test]
fn holes_are_checked_and_merged() {
    let mut tree = TreeBuilder::new();
    let mut file =
        |name: &str, length, data: &[(u64, u64)]| tree.add(name, Metadata::default(), NewNode::File { content: ContentId(0), length, data: Some(data) });
    assert!(file("x", 10, &[(5, 6)]).is_err());
    assert!(file("x", 10, &[(5, 2), (6, 1)]).is_err());
    assert!(file("x", u64::MAX, &[]).is_err());
    assert!(file("x", 10, &[(u64::MAX, 2)]).is_err());
    file("dense", 10, &[(0, 4), (4, 6)]).unwrap();
    file("holes", 100, &[(10, 5), (15, 0), (15, 5)]).unwrap();
    let tree = tree.freeze().unwrap();
    let ranges = |name: &str| match tree.node(tree.lookup(name).unwrap()).kind {
        NodeKind::File(file) => tree.data_ranges(&file).collect::<Vec<_>>(),
        _ => panic!("no file"),
    };
    assert_eq!(ranges("dense"), [(0, 10)]);
    assert_eq!(ranges("holes"), [(10, 10)]);
}

#[test]
fn nodes_are_small() {
    assert!(size_of::<Node>() <= 96, "{}", size_of::<Node>());
    assert!(size_of::<Entry>() <= 16, "{}", size_of::<Entry>());
}

#[test]
fn implied_directories_have_the_time_that_was_asked_for() {
    let mut tree = TreeBuilder::from_tree(builder(&["a/b"]).freeze().unwrap()).with_implied_time(Timestamp::from_seconds(7));
    tree.add("c/d", Metadata::default(), NewNode::Fifo).unwrap();
    let tree = tree.freeze().unwrap();
    let seconds = |path: &str| tree.node(tree.lookup(path).unwrap()).metadata.mtime.seconds;
    assert_eq!((seconds(""), seconds("a"), seconds("c")), (0, 0, 7));
}

#[test]
fn an_attribute_is_set_beside_others_and_sets_that_nobody_has_any_more_go() {
    let mut builder = builder(&["a", "b", "c", "d/"]);
    let old = builder.intern_xattrs(vec![Xattr::new("user.x", "old"), Xattr::new("user.y", "1")]).unwrap();
    for path in ["a", "b"] {
        let (id, node) = builder.get(path).map(|(id, node)| (id, node.metadata)).unwrap();
        builder.set_metadata(id, Metadata { xattrs: old, ..node }).unwrap();
    }
    let mut tree = builder.freeze().unwrap();
    let unset = tree.lookup("c").unwrap();
    tree.set_xattr(b"user.x", |id| (id != unset).then_some(b"new")).unwrap();
    let set = |path: &str| tree.node(tree.lookup(path).unwrap()).metadata.xattrs;
    assert_eq!(set("a"), set("b"));
    assert_eq!(tree.xattrs(set("a")), [Xattr::new("user.x", "new"), Xattr::new("user.y", "1")]);
    assert_eq!(tree.xattrs(set("d")), [Xattr::new("user.x", "new")]);
    assert_eq!(set("c"), XattrSetId::NONE);
    assert_eq!(tree.xattrs.count(), 2);
    assert!(tree.set_xattr(b"", |_| Some(b"")).is_err());
}
