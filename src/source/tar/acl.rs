//! POSIX ACLs as text, turned into the xattrs that the kernel keeps.
//!
//! POSIX.1e draft 17, section 23 (text form), with star's fourth field that gives the number beside a name; Linux,
//! include/uapi/linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry in a fixed order.
//! Names without a number are refused (but `root`): the host's users are not the image's.

use crate::error::{Error, Result, escape};
use crate::tree::Xattr;

const POSIX_ACL_XATTR_VERSION: u32 = 2;
const ACL_USER_OBJ: u16 = 0x01;
const ACL_USER: u16 = 0x02;
const ACL_GROUP_OBJ: u16 = 0x04;
const ACL_GROUP: u16 = 0x08;
const ACL_MASK: u16 = 0x10;
const ACL_OTHER: u16 = 0x20;
const ACL_UNDEFINED_ID: u32 = u32::MAX;
const ACCESS: &[u8] = b"system.posix_acl_access";

/// The two ACLs that a file can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Of the file itself.
    Access,
    /// Of a directory, for what will be made in it.
    Default,
}

/// The xattr of an ACL; `None` for an access ACL that says no more than the mode, which the kernel does not keep.
pub(super) fn from_text(text: &[u8], which: Which) -> Result<Option<Xattr>> {
    let mut entries: Vec<(u16, u32, u16)> = Vec::new();
    for line in text.split(|byte| matches!(byte, b',' | b'\n')) {
        let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if !entry.is_empty() {
            entries.push(parse_entry(entry).map_err(|error| error.within(format_args!("the ACL entry \"{}\"", escape(entry))))?);
        }
    }
    if entries.is_empty() {
        return Ok(None);
    }
    entries.sort_unstable();
    let has = |tag: u16| entries.iter().filter(|entry| entry.0 == tag).count();
    if [ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_OTHER].iter().any(|tag| has(*tag) != 1) || has(ACL_MASK) > 1 {
        return Err(Error::corrupt("an ACL needs one entry each for the owner, the group and others, and at most one mask"));
    }
    if entries.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1) {
        return Err(Error::corrupt("an ACL names a user or group twice"));
    }
    if has(ACL_MASK) == 0 && entries.len() > 3 {
        return Err(Error::corrupt("an ACL with named users or groups needs a mask"));
    }
    if which == Which::Access && entries.len() == 3 {
        return Ok(None);
    }
    let mut value = POSIX_ACL_XATTR_VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    let name: &[u8] = match which {
        Which::Access => ACCESS,
        Which::Default => b"system.posix_acl_default",
    };
    Ok(Some(Xattr::new(name, value)))
}

/// The permission bits that go with an access ACL among `xattrs`. Setting an ACL sets them (Linux, posix_acl.c,
/// `posix_acl_update_mode`): the group's are the mask's. libarchive has the group's own there.
pub(super) fn permissions(xattrs: &[Xattr]) -> Option<u16> {
    let acl = xattrs.iter().find(|xattr| *xattr.name == *ACCESS)?;
    let entries = acl.value.strip_prefix(&POSIX_ACL_XATTR_VERSION.to_le_bytes())?.chunks_exact(8);
    let entries: Vec<(u16, u16)> = entries.map(|entry| (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]) & 7)).collect();
    let of = |tag: u16| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1);
    Some((of(ACL_USER_OBJ)? << 6) | (of(ACL_MASK).or(of(ACL_GROUP_OBJ))? << 3) | of(ACL_OTHER)?)
}

/// Tag, id, permissions; sorting these gives the kernel's order.
fn parse_entry(entry: &[u8]) -> Result<(u16, u32, u16)> {
    let fields: Vec<&[u8]> = entry.split(|byte| *byte == b':').map(<[u8]>::trim_ascii).collect();
    let bad = || Error::corrupt("it is not of the form user:1000:rwx");
    let (tag, qualifier, permissions, number) = match fields.as_slice() {
        [tag, permissions] => (*tag, &[][..], *permissions, None),
        [tag, qualifier, permissions] => (*tag, *qualifier, *permissions, None),
        [tag, qualifier, permissions, number] => (*tag, *qualifier, *permissions, Some(*number)),
        _ => return Err(bad()),
    };
    let named = !qualifier.is_empty() || number.is_some();
    let tag = match (tag, named) {
        (b"user" | b"u", false) => ACL_USER_OBJ,
        (b"user" | b"u", true) => ACL_USER,
        (b"group" | b"g", false) => ACL_GROUP_OBJ,
        (b"group" | b"g", true) => ACL_GROUP,
        (b"mask" | b"m", false) => ACL_MASK,
        (b"other" | b"o", false) => ACL_OTHER,
        _ => return Err(bad()),
    };
    let mut bits = 0;
    for permission in permissions {
        bits |= match permission {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return Err(bad()),
        };
    }
    if permissions.is_empty() {
        return Err(bad());
    }
    let id = match number.unwrap_or(qualifier) {
        b"" => ACL_UNDEFINED_ID,
        // The one user and group whose number is the same everywhere.
        b"root" => 0,
        digits => {
            let id = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
            id.filter(|id| *id != ACL_UNDEFINED_ID)
                .ok_or_else(|| Error::unsupported("it has a name but no number, and this machine's users are not the image's; GNU tar keeps numbers with --xattrs --xattrs-include='*' and without --acls, bsdtar always"))?
        }
    };
    Ok((tag, id, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_gnu_tar_star_and_libarchive_give_the_kernels_form() {
        let mut expected = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [(1_u8, 7_u8, u32::MAX), (2, 4, 7), (2, 6, 1000), (4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)] {
            expected.extend([tag, 0, permissions, 0]);
            expected.extend(id.to_le_bytes());
        }
        for text in [
            "user::rwx,user:1000:rw-,user:7:r--,group::r-x,mask::rwx,other::---",
            "user::rwx\nuser:lp:r--:7\nuser:1000:rw-:1000\ngroup::r-x\nmask::rwx\nother::---\n",
            "u::rwx,u:7:r,u:1000:rw\t#effective:r--\ng::rx,m:rwx,o:-",
        ] {
            let xattr = from_text(text.as_bytes(), Which::Access).unwrap().unwrap();
            assert_eq!((&*xattr.name, &*xattr.value), (&b"system.posix_acl_access"[..], &expected[..]), "{text}");
        }
    }

    #[test]
    fn an_access_acl_that_is_the_mode_is_none_and_a_default_one_is_kept() {
        let text = b"user::rwx,group::r-x,other::r-x";
        assert_eq!(from_text(text, Which::Access).unwrap(), None);
        assert_eq!(from_text(text, Which::Default).unwrap().unwrap().value.len(), 28);
        assert_eq!(from_text(b"", Which::Default).unwrap(), None);
    }

    #[test]
    fn root_is_a_number() {
        let xattr = from_text(b"user::rwx,user:root:r--,group::r-x,group:root:r--,mask::rwx,other::---", Which::Access).unwrap().unwrap();
        assert_eq!(xattr.value[12..20], [2, 0, 4, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn permissions_follow_the_acl_with_the_mask_as_the_groups() {
        let acl = from_text(b"user::rw-,user:7:r--,group::r--,mask::rwx,other::--x", Which::Access).unwrap().unwrap();
        assert_eq!(permissions(&[Xattr::new("user.a", "b"), acl]), Some(0o671));
        assert_eq!(permissions(&[Xattr::new("system.posix_acl_access", [2, 0, 0, 0])]), None);
        assert_eq!(permissions(&[]), None);
    }

    #[test]
    fn names_without_numbers_and_broken_acls_are_refused() {
        for text in [
            "user::rwx,user:lp:r--,group::r-x,mask::rwx,other::---",
            "user::rwx,user:7:r--,group::r-x,other::---",
            "user::rwx,user:7:r--,user:7:r--,group::r-x,mask::rwx,other::---",
            "user::rwx,group::r-x",
            "user::rwz,group::r-x,other::---",
            "user::rwx,group::r-x,other:5:---",
            "user:::::",
            "user",
            "user::rwx,user:4294967295:r--,group::r-x,mask::rwx,other::---",
        ] {
            assert!(from_text(text.as_bytes(), Which::Access).is_err(), "{text}");
        }
    }
}
