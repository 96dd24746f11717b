//! What the loaders of a system start: kernel, initramfs and command line of each entry, and which entry is the default.
//!
//! ```text
//! \EFI\BOOT\BOOTX64.EFI ─┬─ UKI
//!                        ├─ systemd-boot ─► \loader\entries\*.conf, \EFI\Linux\*.efi
//!                        └─ shim, GRUB ───► /boot/grub/grub.cfg ─► menu entries, /boot/loader/entries/*.conf
//! ```
//! A tree that has no entries yet is judged by what `build` would start: the loader and the newest kernel that it would take.

use super::script::{self, MenuEntry, Script, Searched};
use crate::boot::files::{Files, TreeFile, join, trim};
use crate::boot::find::Taken;
use crate::boot::loader::{self, ESP_MOUNT_POINTS};
use crate::boot::pe::Pe;
use crate::boot::{self, Architecture, version};
use crate::error::{Result, escape};
use crate::lint::finding::Place;
use crate::lint::subject::Subject;
use std::collections::BTreeMap;
use std::ops::Range;

/// Where GRUB has its configuration.
const GRUB_FOLDERS: [&str; 2] = ["boot/grub", "boot/grub2"];
/// Where entries of the Boot Loader Specification lie beneath `/boot` or the ESP.
const BLS_FOLDER: &str = "loader/entries";

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) file: TreeFile,
    pub(super) range: Range<u64>,
}

impl Blob {
    fn whole(file: TreeFile) -> Self {
        let range = 0..file.data.length;
        Self { file, range }
    }
}

/// An entry of a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it is written.
    pub(super) place: Place,
    pub(super) kernel: Option<Blob>,
    pub(super) initrds: Vec<Blob>,
    /// Files that it names and that are not there.
    pub(super) missing: Vec<String>,
    /// The command line; none where `build` makes it.
    pub(super) cmdline: Option<String>,
    /// The kernel's version, where the entry says it.
    pub(super) version: Option<Vec<u8>>,
    pub(super) architecture: Option<Architecture>,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) all: Vec<Entry>,
    /// Which of them starts if nobody chooses.
    pub(super) default: Option<usize>,
    /// Filesystems that GRUB's configurations search.
    pub(super) searched: Vec<(Place, Searched)>,
}

impl Entries {
    /// The entry that starts if nobody chooses.
    pub(super) fn chosen(&self) -> Option<&Entry> {
        self.default.and_then(|at| self.all.get(at))
    }
}

/// Where the ESP may be mounted, the likeliest first.
pub(super) fn esp_mounts(subject: &Subject<'_>) -> Vec<Vec<u8>> {
    let own = boot::esp_mount_point(subject.tree(), subject.contents(), &boot::Options::default()).ok();
    let mut mounts: Vec<Vec<u8>> = own.into_iter().chain(ESP_MOUNT_POINTS.iter().map(|mount| mount.as_bytes().to_vec())).collect();
    let mut seen = Vec::new();
    mounts.retain(|mount| {
        !seen.contains(mount) && {
            seen.push(mount.clone());
            true
        }
    });
    mounts
}

/// The loaders that firmware starts by itself, with the architecture that their names promise.
pub(super) fn fallback_loaders(subject: &Subject<'_>) -> Vec<(TreeFile, Architecture)> {
    let mut found: Vec<(TreeFile, Architecture)> = Vec::new();
    for mount in esp_mounts(subject) {
        for architecture in Architecture::ALL {
            let pattern = format!("{}/EFI/BOOT/{}", String::from_utf8_lossy(&mount), architecture.fallback_name());
            found.extend(subject.files.expand(&pattern, true).into_iter().filter(|file| file.data.length > 0).map(|file| (file, architecture)));
        }
    }
    let mut nodes = Vec::new();
    found.retain(|(file, _)| {
        !nodes.contains(&file.node) && {
            nodes.push(file.node);
            true
        }
    });
    found
}

/// Looks for the entries that are reached from where firmware or `build` begins.
///
/// # Errors
/// Those of reading.
pub(super) fn find(subject: &Subject<'_>) -> Result<Entries> {
    let mounts = esp_mounts(subject);
    let mut entries = Entries::default();
    match begin(subject)? {
        Begin::Uki(image) => entries.all.extend(of_uki(&subject.files, &image)?),
        Begin::SystemdBoot => esp_entries(subject, &mounts, &mut entries)?,
        Begin::Grub => {
            entries.default = grub_entries(subject, &mounts, &mut entries)?;
            if entries.all.is_empty() && subject.image.is_some() {
                esp_entries(subject, &mounts, &mut entries)?;
            }
        }
        Begin::Build => {}
    }
    if entries.all.is_empty() {
        entries.all.extend(of_build(subject)?);
    }
    if entries.default.is_none() && !entries.all.is_empty() {
        entries.default = Some(0);
    }
    Ok(entries)
}

/// Where the way to the kernel begins.
enum Begin {
    Uki(TreeFile),
    SystemdBoot,
    Grub,
    /// Nowhere yet: `build` places loader and entries.
    Build,
}

fn begin(subject: &Subject<'_>) -> Result<Begin> {
    if subject.image.is_none() {
        // `build` keeps GRUB's configuration, and makes the entries of all others.
        let options = boot::Options::default();
        let takes_another = subject.found.select(&options).is_ok_and(|selection| !matches!(selection.taken, Taken::Grub(_)));
        return Ok(if takes_another { Begin::Build } else { Begin::Grub });
    }
    let Some((file, _)) = fallback_loaders(subject).into_iter().next() else { return Ok(Begin::Grub) };
    if subject.found.loaders.ukis.iter().any(|uki| uki.image.node == file.node) {
        return Ok(Begin::Uki(file));
    }
    let is_systemd_boot = loader::contains(&subject.files, &file, b"LoaderInfo: systemd-boot")?;
    Ok(if is_systemd_boot { Begin::SystemdBoot } else { Begin::Grub })
}

/// The entries of the ESP: files of the Boot Loader Specification, then UKIs.
fn esp_entries(subject: &Subject<'_>, mounts: &[Vec<u8>], entries: &mut Entries) -> Result<()> {
    for mount in mounts {
        bls_entries(&subject.files, &join(mount, BLS_FOLDER.as_bytes()), mounts, &BTreeMap::new(), entries)?;
    }
    uki_entries(subject, mounts, entries)
}

/// The processor that an entry's kernel runs on, as far as it was looked at already.
pub(super) fn architecture(subject: &Subject<'_>, entry: &Entry) -> Option<Architecture> {
    let of_kernel = |kernel: &Blob| subject.found.kernels.iter().find(|known| known.file.node == kernel.file.node).map(|known| known.architecture);
    entry.architecture.or_else(|| entry.kernel.as_ref().and_then(of_kernel))
}

/// GRUB's entries; returns the default one.
fn grub_entries(subject: &Subject<'_>, mounts: &[Vec<u8>], entries: &mut Entries) -> Result<Option<usize>> {
    let files = &subject.files;
    // What stands on the ESP only leads to the configuration, or is it itself.
    let stubs = mounts.iter().flat_map(|mount| files.expand(&format!("{}/EFI/*/grub.cfg", String::from_utf8_lossy(mount)), true));
    let own = GRUB_FOLDERS.iter().filter_map(|folder| files.file(format!("{folder}/grub.cfg")));
    let mut default = None;
    let mut read = Vec::new();
    for file in own.chain(stubs) {
        if file.data.length == 0 || read.contains(&file.node) {
            continue;
        }
        read.push(file.node);
        let Some(text) = files.text(&file.path)? else { continue };
        let script = script::read(&text, environment(files, &file)?);
        entries.searched.extend(script.searched.iter().map(|(line, searched)| (Place::line(&file.path, *line), searched.clone())));
        let first = entries.all.len();
        entries.all.extend(script.entries.iter().map(|entry| of_menu(files, &file, entry, mounts)));
        if script.blscfg {
            bls_entries(files, &join(b"boot", BLS_FOLDER.as_bytes()), mounts, &script.variables, entries)?;
        }
        if default.is_none() && entries.all.len() > first {
            default = Some(first + default_of(&script, &entries.all[first..]));
        }
    }
    Ok(default)
}

/// Which of a script's entries starts, menu entries before those of the Boot Loader Specification.
fn default_of(script: &Script, all: &[Entry]) -> usize {
    let default = script.variables.get("default").or_else(|| script.variables.get("saved_entry")).map_or("", String::as_str);
    let default = default.strip_prefix('$').map_or(default, |name| script.variables.get(name).map_or("", String::as_str));
    if !script.entries.is_empty() {
        return script::default_entry(&script.entries, default);
    }
    // Entries of the specification are known by their file names.
    let named = |entry: &Entry| match &entry.place {
        Place::Path { path, .. } => path.ends_with(format!("/{default}.conf").as_bytes()),
        _ => false,
    };
    all.iter().position(named).or_else(|| default.parse().ok().filter(|at| *at < all.len())).unwrap_or(0)
}

/// The variables of the environment block beside a configuration.
fn environment(files: &Files<'_>, configuration: &TreeFile) -> Result<BTreeMap<String, String>> {
    let beside = join(configuration.folder(), b"grubenv");
    let mut variables = BTreeMap::new();
    for path in [beside, b"boot/grub2/grubenv".to_vec(), b"boot/grub/grubenv".to_vec()] {
        if let Some(text) = files.text(path)? {
            variables = script::environment(&text);
            break;
        }
    }
    Ok(variables)
}

fn of_menu(files: &Files<'_>, file: &TreeFile, entry: &MenuEntry, mounts: &[Vec<u8>]) -> Entry {
    let mut made = Entry::new(Place::line(&file.path, entry.line));
    made.take(files, mounts, Some(&entry.linux), &entry.initrds);
    made.cmdline = Some(entry.options.clone());
    made
}

impl Entry {
    fn new(place: Place) -> Self {
        Self { place, kernel: None, initrds: Vec::new(), missing: Vec::new(), cmdline: None, version: None, architecture: None }
    }

    /// Finds the files that the entry names.
    fn take(&mut self, files: &Files<'_>, mounts: &[Vec<u8>], linux: Option<&str>, initrds: &[String]) {
        let mut find = |path: &str| {
            let found = file_of(files, path, mounts);
            if found.is_none() && !path.contains('$') {
                self.missing.push(escape(path.as_bytes()));
            }
            found.map(Blob::whole)
        };
        self.kernel = linux.and_then(&mut find);
        self.initrds = initrds.iter().filter_map(|path| find(path)).collect();
    }
}

/// The file that a loader means: paths count from the filesystem that it lies on, which is the root, `/boot` or the ESP.
fn file_of(files: &Files<'_>, path: &str, mounts: &[Vec<u8>]) -> Option<TreeFile> {
    // `($root)/vmlinuz`, and a subvolume of btrfs before the path.
    let path = path.split_once(')').map_or(path, |(_, path)| path);
    let path = trim(path.strip_prefix("/@").unwrap_or(path).as_bytes());
    let bases = [&b""[..], b"boot"].into_iter().map(<[u8]>::to_vec).chain(mounts.iter().cloned());
    bases.into_iter().find_map(|base| files.file(join(&base, path)).or_else(|| folded(files, &join(&base, path)))).filter(|file| file.data.length > 0)
}

/// FAT knows no case.
fn folded(files: &Files<'_>, path: &[u8]) -> Option<TreeFile> {
    let text = std::str::from_utf8(path).ok().filter(|text| !text.contains('*'))?;
    files.expand(text, true).into_iter().next()
}

/// The entries of the Boot Loader Specification in a folder, the newest first.
fn bls_entries(files: &Files<'_>, folder: &[u8], mounts: &[Vec<u8>], variables: &BTreeMap<String, String>, entries: &mut Entries) -> Result<()> {
    let mut names: Vec<&[u8]> = files.names(folder).filter(|name| name.ends_with(b".conf")).take(boot::files::MATCHES_MAX).collect();
    names.sort_by(|a, b| version::compare(version_in(b), version_in(a)).then_with(|| version::compare(b, a)));
    let mut found = Vec::new();
    for name in names {
        let path = join(folder, name);
        let Some(text) = files.text(&path)? else { continue };
        let fields = script::bls(&text);
        let all = |key: &str| fields.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect::<Vec<_>>();
        let Some(linux) = all("linux").pop() else { continue };
        let mut entry = Entry::new(Place::path(&path));
        let initrds: Vec<String> = all("initrd").iter().flat_map(|line| script::words(line, variables)).collect();
        entry.take(files, mounts, Some(&linux), &initrds);
        entry.cmdline = Some(script::words(&all("options").join(" "), variables).join(" "));
        entry.version = all("version").pop().map(String::into_bytes);
        if !entries.all.iter().any(|other| other.place == entry.place) {
            found.push(entry);
        }
    }
    entries.all.extend(found);
    Ok(())
}

/// What of an entry's name is its version: behind the token.
fn version_in(name: &[u8]) -> &[u8] {
    let digits = name.windows(2).position(|pair| pair[0] == b'-' && pair[1].is_ascii_digit());
    digits.map_or(name, |at| &name[at + 1..])
}

/// UKIs on the ESP, the newest first.
fn uki_entries(subject: &Subject<'_>, mounts: &[Vec<u8>], entries: &mut Entries) -> Result<()> {
    for uki in &subject.found.loaders.ukis {
        if mounts.iter().any(|mount| uki.image.path.starts_with(&[mount, &b"/"[..]].concat())) {
            entries.all.extend(of_uki(&subject.files, &uki.image)?);
        }
    }
    Ok(())
}

fn of_uki(files: &Files<'_>, image: &TreeFile) -> Result<Option<Entry>> {
    let Some(pe) = Pe::read(files, image)? else { return Ok(None) };
    let mut entry = Entry::new(Place::path(&image.path));
    let blobs = [&b".linux"[..], b".ucode", b".initrd"].map(|name| pe.section_range(image, name).map(|range| Blob { file: image.clone(), range }));
    let [kernel, microcode, initramfs] = blobs;
    (entry.kernel, entry.initrds) = (kernel, [microcode, initramfs].into_iter().flatten().collect());
    entry.cmdline = pe.section_text(files, image, b".cmdline")?.map(|text| String::from_utf8_lossy(text.trim_ascii()).into_owned());
    entry.version = pe.section_text(files, image, b".uname")?.map(|text| text.trim_ascii().to_vec());
    entry.architecture = pe.architecture;
    Ok(Some(entry))
}

/// What `build` would start, for a tree without entries.
fn of_build(subject: &Subject<'_>) -> Result<Option<Entry>> {
    let options = boot::Options::default();
    let selection = subject.found.select(&options).ok();
    if let Some(Taken::Uki(uki, _)) = selection.as_ref().map(|selection| selection.taken) {
        return of_uki(&subject.files, &uki.image);
    }
    let kernels = selection.map_or_else(|| subject.found.kernels.iter().collect(), |selection| selection.kernels);
    Ok(kernels.first().map(|kernel| Entry {
        kernel: Some(Blob::whole(kernel.file.clone())),
        initrds: kernel.initramfs.iter().cloned().map(Blob::whole).collect(),
        version: Some(kernel.version.clone()).filter(|version| !version.is_empty()),
        architecture: Some(kernel.architecture),
        ..Entry::new(Place::path(&kernel.file.path))
    }))
}
