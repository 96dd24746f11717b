use super::*;

fn set(list: &[(&str, usize)]) -> Vec<Xattr> {
    list.iter().map(|(name, len)| Xattr::new(name, vec![7; *len])).collect()
}

const ROOM: Room = Room { region_bytes: 96, block_bytes: 4096 };

#[test]
fn prefixes_become_numbers_and_others_are_refused() {
    for (name, expected) in [
        ("user.a", Some((1, "a"))),
        ("user.", None),
        ("user", None),
        ("system.posix_acl_access", Some((2, ""))),
        ("system.posix_acl_default", Some((3, ""))),
        ("system.posix_acl_other", None),
        ("trusted.overlay.opaque", Some((4, "overlay.opaque"))),
        ("security.selinux", Some((6, "selinux"))),
        ("system.richacl", Some((8, ""))),
        ("gnu.translator", Some((10, "translator"))),
        ("lustre.lov", None),
    ] {
        assert_eq!(split_name(name.as_bytes()), expected.map(|(index, rest)| (index, rest.as_bytes())), "{name}");
    }
}

#[test]
fn acls_lose_the_unused_ids_and_nonsense_is_refused() {
    let entry = |tag: u16, perm: u16, id: u32| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let value =
        [vec![2, 0, 0, 0], entry(1, 6, none), entry(2, 4, 1000), entry(4, 4, none), entry(8, 5, 50), entry(0x10, 5, none), entry(0x20, 4, none)].concat();
    let expected = [&[1, 0, 0, 0][..], &[1, 0, 6, 0], &entry(2, 4, 1000), &[4, 0, 4, 0], &entry(8, 5, 50), &[0x10, 0, 5, 0], &[0x20, 0, 4, 0]].concat();
    assert_eq!(acl_to_disk(&value).unwrap(), expected);
    for bad in [&[][..], &[2, 0, 0, 0], &[1, 0, 0, 0], &value[..value.len() - 1], &[&[2, 0, 0, 0][..], &entry(3, 0, 0)].concat()] {
        assert_eq!(acl_to_disk(bad), None, "{bad:?}");
    }
}

#[test]
fn the_kernel_s_favourites_go_into_the_inode_first() {
    let list = set(&[("security.capability", 20), ("security.selinux", 30), ("user.aa", 4)]);
    let (inside, outside) = ROOM.split(on_disk(&list).unwrap()).unwrap();
    assert_eq!(inside.iter().map(|xattr| xattr.name).collect::<Vec<_>>(), [b"aa".as_slice(), b"selinux"]);
    assert_eq!(outside.iter().map(|xattr| xattr.name).collect::<Vec<_>>(), [b"capability"]);
}

#[test]
fn sets_fit_to_the_last_byte_and_not_beyond() {
    // An entry of a name of 1 byte takes 20; inode 88, block 4,060.
    for (list, fits) in [
        (vec![("user.a", 68)], true),
        (vec![("user.a", 69)], true),
        (vec![("user.a", 4040)], true),
        (vec![("user.a", 4041)], false),
        (vec![("user.a", 4040), ("user.b", 68)], true),
        (vec![("user.a", 4040), ("user.b", 69)], false),
        // First come fills 24 + 24 of 88 and leaves too much; 20 + 68 and the rest in the block is the only way.
        (vec![("security.aaaa", 4), ("security.bbbb", 4), ("user.c", 68), ("user.d", 4040 - 48)], true),
        (vec![("security.aaaa", 4), ("security.bbbb", 4), ("user.c", 68), ("user.d", 4041 - 48)], false),
    ] {
        let list = set(&list);
        let split = ROOM.split(on_disk(&list).unwrap());
        assert_eq!(split.is_some(), fits, "{:?}", list.iter().map(|xattr| (escape(&xattr.name), xattr.value.len())).collect::<Vec<_>>());
        if fits {
            ROOM.fill_inode(on_disk(&list).unwrap(), None, &mut [0xff; 96]);
            ROOM.fill_block(on_disk(&list).unwrap(), 1, 1, Csum::of_seed(1), &mut [0xff; 4096]);
        }
    }
}

#[test]
fn entries_and_values_are_found_again() {
    let list = vec![Xattr::new("user.b", b"beta"), Xattr::new("user.empty", b""), Xattr::new("trusted.a", vec![1; 200]), Xattr::new("user.a", b"12345")];
    let mut block = vec![0xff; 4096];
    ROOM.fill_block(on_disk(&list).unwrap(), 3, 77, Csum::of_seed(9), &mut block);
    let header = XattrBlockHeader::decode(&block[..32].try_into().unwrap());
    assert_eq!((header.h_magic, header.h_refcount, header.h_blocks), (XATTR_MAGIC, 3, 1));
    let mut unsigned = block.clone();
    unsigned[0x10..0x14].fill(0);
    assert_eq!(header.h_checksum, Csum::of_seed(9).over(&[&77_u64.to_le_bytes(), &unsigned]));
    let mut region = vec![0xff; 96];
    ROOM.fill_inode(on_disk(&list).unwrap(), None, &mut region);
    assert_eq!(region[..4], XATTR_MAGIC.to_le_bytes());
    let mut found = Vec::new();
    for (area, first) in [(&block[..], 32), (&region[4..], 0)] {
        let mut at = first;
        while area[at..at + 4] != [0; 4] {
            let entry = XattrEntry::decode(&area[at..at + 16].try_into().unwrap());
            let name = &area[at + 16..][..usize::from(entry.e_name_len)];
            let value = &area[usize::from(entry.e_value_offs)..][..index_of(entry.e_value_size)];
            found.push((entry.e_name_index, name.to_vec(), value.to_vec()));
            if first == 32 {
                assert_eq!(entry.e_hash, entry_hash(name, value));
            }
            at += (16 + name.len()).next_multiple_of(4);
        }
    }
    found.sort();
    let expected = [(1, &b"a"[..], b"12345".to_vec()), (1, b"b", b"beta".to_vec()), (1, b"empty", vec![]), (4, b"a", vec![1; 200])];
    assert_eq!(found, expected.map(|(index, name, value)| (index, name.to_vec(), value)));
}
