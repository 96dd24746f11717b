//! Labels of whole images, from recipes.

use super::*;

/// What a build is told by this recipe, beside which `files` lie.
fn planned(folder: &Path, recipe: &str, files: &[(&str, &str)]) -> rootvol::Result<rootvol::Disk> {
    for (path, text) in files {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), text).unwrap();
    }
    fs::write(folder.join("image.toml"), recipe).unwrap();
    Recipe::load(&folder.join("image.toml"), &LoadOptions::default())?.disk_spec(Given::default())?.plan()
}

const FILES: &[(&str, &str)] = &[
    ("rootfs/etc/passwd", "root"),
    ("rootfs/etc/selinux/fc", "/.* u:r:tree:s0\n/var/log/.* u:r:log:s0\n"),
    ("rootfs/etc/selinux/fc.local", "/etc/passwd -- u:r:passwd:s0\n"),
    ("rootfs/var/log/messages", "hello"),
    ("rootfs/var/lib/x", ""),
    ("srv/index.html", "<p>"),
    ("policy/fc", "/.* u:r:host:s0\n/srv/.* u:r:srv:s0\n/srv/index\\.html u:r:index:s0\n"),
    ("policy/fc.subs", "/www /srv\n"),
];

/// The labels of a partition of an image, as debugfs reads them; `None` where the judge is not there.
fn labels_of(image: &Path, offset_bytes: u64, path: &str) -> Option<String> {
    let mut debugfs = judge("debugfs")?;
    let of = format!("{}?offset={offset_bytes}", image.display());
    Some(common::text(debugfs.arg("-R").arg(format!("ea_get -x {path} security.selinux")).arg(of)))
}

/// As `ea_get -x` prints it.
fn shown(context: &str) -> String {
    let bytes: Vec<String> = context.bytes().chain([0]).map(|byte| format!("{byte:02x}")).collect();
    format!("security.selinux ({}) = {}", context.len() + 1, bytes.join(" "))
}

#[test]
fn an_image_has_labels_for_the_paths_of_the_running_system() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = r#"
[[partition]]
type = "linux"
mount_point = "/"
source = "rootfs"
owner = "0:0"
ext4 = { file_contexts = "tree:/etc/selinux/fc" }
[[partition]]
mount_point = "/var"
[[partition]]
mount_point = "/www"
source = "srv"
ext4 = { file_contexts = "policy/fc" }
[[partition]]
mount_point = "/opt"
source = "srv"
[[partition]]
mount_point = "/home"
size = "8 MiB"
[boot]
mode = "none"
"#;
    let disk = planned(folder.path(), recipe, FILES).unwrap();
    let notes: Vec<&String> = disk.notes().iter().filter(|note| note.contains("SELinux")).collect();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[0].contains("partition 1: SELinux labels for 11 of 11 entries, by tree:/etc/selinux/fc with 3 specifications"), "{notes:?}");
    assert!(disk.inputs().contains(&folder.path().join("policy/fc.subs")) && !disk.inputs().contains(&folder.path().join("policy/fc.local")));
    let image = folder.path().join("image.raw");
    disk.write_file(&image, Format::Raw).unwrap();
    let cases: &[(u32, &str, Option<&str>)] = &[
        (1, "/", Some("u:r:tree:s0")),
        (1, "/etc/passwd", Some("u:r:passwd:s0")),
        (1, "/lost+found", Some("u:r:tree:s0")),
        (1, "/var", Some("u:r:tree:s0")),
        (1, "/home", Some("u:r:tree:s0")),
        (2, "/", Some("u:r:tree:s0")),
        (2, "/log/messages", Some("u:r:log:s0")),
        (2, "/lib/x", Some("u:r:tree:s0")),
        (3, "/", Some("u:r:host:s0")),
        (3, "/index.html", Some("u:r:index:s0")),
        (4, "/index.html", None),
        (5, "/", Some("u:r:tree:s0")),
        (5, "/lost+found", Some("u:r:tree:s0")),
    ];
    for (number, path, context) in cases {
        let partition = disk.partitions().iter().find(|partition| partition.number == *number).unwrap();
        let Some(found) = labels_of(&image, partition.offset_bytes, path) else { return };
        assert_eq!(found.trim(), context.map(shown).unwrap_or_default(), "{path} of partition {number}");
    }
}

/// What a policy is named, and where it lies, says nothing; what it says does.
#[test]
fn identifiers_follow_what_a_policy_says_and_not_where_it_lies() {
    let image = |policy: &str, files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let recipe = format!("[[partition]]\nsource = \"srv\"\nowner = \"0:0\"\next4 = {{ file_contexts = {policy:?} }}\n[boot]\nmode = \"none\"");
        for (path, _) in files.iter().chain(FILES) {
            // The tree's times come from the folder.
            fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        }
        let all: Vec<(&str, &str)> = FILES.iter().chain(files).copied().collect();
        let disk = {
            planned(folder.path(), "", &all).ok();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
            for path in ["srv", "srv/index.html"] {
                fs::File::open(folder.path().join(path)).unwrap().set_modified(time).unwrap();
            }
            planned(folder.path(), &recipe, &[]).unwrap()
        };
        disk.partitions()[0].guid.unwrap()
    };
    let first = image("policy/fc", &[]);
    assert_eq!(image("other/name", &[("other/name", FILES[6].1), ("other/name.subs", FILES[7].1)]), first);
    assert_ne!(image("policy/fc", &[("policy/fc.local", "/a u:r:t:s0")]), first);
}

#[test]
fn policies_that_a_recipe_cannot_have_are_refused() {
    let load = |policy: &str, files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<(&str, &str)> = FILES.iter().chain(files).copied().collect();
        let recipe = format!("[[partition]]\nsource = \"rootfs\"\next4 = {{ file_contexts = {policy:?} }}\n[boot]\nmode = \"none\"");
        planned(folder.path(), &recipe, &all).unwrap_err().to_string()
    };
    for (policy, said) in [
        ("/etc/passwd", "line 3, column 26: the source /etc/passwd is an absolute path"),
        ("../fc", "line 3, column 26: the source ../fc is outside"),
        ("none", "line 3, column 26: the source none cannot be found"),
        ("", "line 3, column 26: a file was expected"),
        ("tree:etc/fc", "line 3, column 26: \"etc/fc\" is not absolute"),
        ("tree:/etc/../fc", "line 3, column 26: \"/etc/../fc\" is not in its plain form"),
        ("tree:/etc/none", "tree:/etc/none: the tree has no such file contexts"),
        ("rootfs", "rootfs: no regular file"),
    ] {
        let error = load(policy, &[]);
        assert!(error.contains(said), "{policy}: {error}");
    }
    let error = load("bad", &[("bad", "/.* u:r:t\n/a(\tu:r:t\n")]);
    assert!(error.contains("bad: in line 2: the pattern /a(: a group is not closed"), "{error}");
    // A companion that is a link to elsewhere.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("secret"), "").unwrap();
    std::os::unix::fs::symlink("../secret", folder.path().join("in/fc.local")).unwrap();
    let recipe = "[[partition]]\next4 = { file_contexts = \"fc\" }";
    let error = planned(&folder.path().join("in"), recipe, &[("fc", "")]).unwrap_err().to_string();
    assert!(error.contains("fc.local is ") && error.contains("outside of the recipe's folder"), "{error}");
}
