//! Opening what lies below a directory without ever leaving it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, Result};

/// What the kernel takes in one path, with the NUL.
#[cfg(any(target_os = "linux", target_os = "android"))]
const KERNEL_PATH_MAX: usize = 4096;

/// Opens `path` below `root`, following no symbolic link, not even as its last part. Never waits, as opening a named
/// pipe would.
pub(super) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if path.is_empty() {
        return openat(root, ".", flags, Mode::empty());
    }
    if !path.contains(&b'/') && !matches!(path, b"." | b"..") {
        // One name leads nowhere else.
        return openat(root, path, flags, Mode::empty());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if path.len() < KERNEL_PATH_MAX {
        use rustix::fs::{ResolveFlags, openat2};
        match openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
            // Before Linux 5.6, in some sandboxes, and while something is renamed: the way below.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::INVAL) => {}
            result => return result,
        }
    }
    walk(root, path, flags)
}

/// As above, one part at a time.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut held: Option<OwnedFd> = None;
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        if matches!(part, b"" | b"." | b"..") {
            return Err(Errno::INVAL);
        }
        let at = held.as_ref().map_or(root, |held| held.as_fd());
        let wanted = if parts.peek().is_some() { folder } else { flags };
        held = Some(openat(at, part, wanted, Mode::empty())?);
    }
    held.ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r13_links_are_not_followed_anywhere_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/file"), "x").unwrap();
        for (link, target) in [("up", ".."), ("a/loop", "b"), ("a/b/abs", "/etc/passwd")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let root = std::fs::File::open(folder.path()).unwrap();
        let all = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        assert!(open_beneath(root.as_fd(), b"a/b/file", OFlags::RDONLY).is_ok());
        assert!(walk(root.as_fd(), b"a/b/file", all).is_ok());
        assert!(open_beneath(root.as_fd(), b"", OFlags::RDONLY).is_ok());
        for path in [&b"up/etc/passwd"[..], b"a/loop/file", b"a/b/abs", b"a/../a/b/file", b"a/b/missing", b"/a/b/file"] {
            assert!(walk(root.as_fd(), path, all).is_err(), "{path:?}");
            let opened = open_beneath(root.as_fd(), path, OFlags::RDONLY);
            assert!(opened.is_err() || path == b"a/../a/b/file", "{path:?}");
        }
    }
}
