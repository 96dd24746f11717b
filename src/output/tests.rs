use super::*;
use crate::error::ErrorKind;
use std::fs;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_when_committed_and_holes_are_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.img");
    let mut file = AtomicFile::create(&path, false).unwrap();
    assert!(!path.exists() && names(folder.path()).len() == 1);
    file.zeros(5).unwrap();
    file.write(b"abc").unwrap();
    file.unused(3).unwrap();
    file.write(b"").unwrap();
    file.write(b"d").unwrap();
    file.zeros(4).unwrap();
    file.finish().unwrap();
    assert!(!path.exists());
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\0\0abc\0\0\0d\0\0\0\0");
    assert_eq!(names(folder.path()), ["a.img"]);
}

#[test]
fn r29_dropping_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.img");
    fs::write(&path, "old").unwrap();
    let mut file = AtomicFile::create(&path, true).unwrap();
    file.write(b"new").unwrap();
    drop(file);
    assert_eq!((fs::read(&path).unwrap().as_slice(), names(folder.path()).len()), (b"old".as_slice(), 1));
}

#[test]
fn an_existing_file_needs_force_also_if_it_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.img");
    let late = AtomicFile::create(&path, false).unwrap();
    write_atomic(&path, b"first", false).unwrap();
    assert_eq!(write_atomic(&path, b"second", false).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(late.commit().unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    write_atomic(&path, b"third", true).unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), names(folder.path()).len()), (b"third".as_slice(), 1));
}

#[test]
fn a_bare_file_name_stands_in_the_working_folder_and_no_name_is_refused() {
    for path in ["", "/", "..", "."] {
        assert!(AtomicFile::create(path, true).is_err(), "{path:?}");
    }
    assert!(AtomicFile::create("/nonexistent/folder/a.img", true).is_err());
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn r29_a_symlink_is_replaced_and_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (link, secret) = (folder.path().join("link"), folder.path().join("secret"));
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, &link).unwrap();
        assert_eq!(write_atomic(&link, b"image", false).unwrap_err().kind(), ErrorKind::Exists);
        write_atomic(&link, b"image", true).unwrap();
        assert_eq!((fs::read(&secret).unwrap().as_slice(), fs::read(&link).unwrap().as_slice()), (b"secret".as_slice(), b"image".as_slice()));
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_folder_device_or_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/null")] {
            assert_eq!(write_atomic(path, b"", true).unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
        assert_eq!(names(folder.path()), ["pipe"]);
    }

    #[test]
    fn the_mode_is_the_umasks_or_that_of_the_file_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
        fs::write(&plain, "").unwrap();
        write_atomic(&ours, b"", false).unwrap();
        assert_eq!(fs::metadata(&ours).unwrap().mode(), fs::metadata(&plain).unwrap().mode());
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o600)).unwrap();
        write_atomic(&ours, b"", true).unwrap();
        assert_eq!(fs::metadata(&ours).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn holes_take_no_space() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let mut file = AtomicFile::create(&path, false).unwrap();
        file.write(&[1; 4096]).unwrap();
        file.unused(1 << 34).unwrap();
        file.finish().unwrap();
        file.commit().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), (1 << 34) + 4096);
        assert!(metadata.blocks() * 512 <= 1 << 16, "{} blocks", metadata.blocks());
    }

    #[test]
    fn one_file_under_two_names_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "").unwrap();
        fs::write(path("b"), "").unwrap();
        fs::hard_link(path("a"), path("hard")).unwrap();
        symlink(path("a"), path("soft")).unwrap();
        assert!(same_file(path("a"), path("a")) && same_file(path("a"), path("hard")) && same_file(path("soft"), path("a")));
        assert!(!same_file(path("a"), path("b")) && !same_file(path("a"), path("none")) && !same_file(path("none"), path("none")));
    }
}
