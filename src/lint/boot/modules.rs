//! A kernel's drivers: what is built in, what lies beside it as modules, what needs what.
//!
//! Sources, in this order: the kernel's settings (`/boot/config-VERSION`, `/usr/lib/modules/VERSION/config`), `modules.builtin`, the
//! modules themselves, `modules.dep` (kmod: modules.dep(5)). `-` and `_` are the same in names of modules.

use crate::boot::files::{Files, join};
use crate::error::Result;
use crate::lint::subject::Subject;
use crate::tree::{NodeId, NodeKind};
use std::collections::{BTreeMap, BTreeSet};

/// The longest `modules.dep` that is read: distributions have under 1 MiB.
const DEP_MAX_BYTES: u64 = 16 << 20;
/// Folders of modules, newer systems first.
pub(super) const FOLDERS: [&str; 2] = ["usr/lib/modules", "lib/modules"];
/// How modules may be packed.
const ENDS: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// The name of the module in a file of this path; `None` if it is none.
pub(super) fn module_name(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let stem = ENDS.iter().find_map(|end| name.strip_suffix(end.as_bytes()))?;
    Some(String::from_utf8_lossy(stem).replace('-', "_"))
}

/// Where a driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    BuiltIn,
    Module,
    /// The kernel's settings leave it out, or there is no such module beside those that there are.
    Absent,
    /// Neither settings nor modules are there.
    Unknown,
}

/// What is known of a kernel's drivers.
#[derive(Debug, Default)]
pub(super) struct Modules {
    settings: Option<Vec<u8>>,
    builtin: BTreeSet<String>,
    has_builtin_list: bool,
    /// Modules with their files.
    modules: BTreeMap<String, NodeId>,
    needs: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Reads what there is of a version.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read(subject: &Subject<'_>, version: &[u8]) -> Result<Self> {
        let files = &subject.files;
        let mut modules = Self::default();
        let folder = FOLDERS.iter().map(|folder| join(folder.as_bytes(), version)).find(|folder| !version.is_empty() && files.is_directory(folder));
        let mut settings = vec![[&b"boot/config-"[..], version].concat()];
        settings.extend(folder.iter().flat_map(|folder| [join(folder, b"config"), join(folder, b"build/.config")]));
        modules.settings = settings.iter().find_map(|path| files.text(path).transpose()).transpose()?;
        let Some(folder) = folder else { return Ok(modules) };
        if let Some(list) = files.text(join(&folder, b"modules.builtin"))? {
            modules.has_builtin_list = true;
            modules.builtin = list.split(|byte| *byte == b'\n').filter_map(|line| module_name(line.trim_ascii())).collect();
        }
        if let Some(root) = subject.tree().resolve(&folder) {
            subject.tree().walk_beneath(root, |path, id| {
                let is_file = matches!(subject.tree().node(id).kind, NodeKind::File(_));
                if let Some(name) = module_name(path).filter(|_| is_file) {
                    modules.modules.insert(name, id);
                }
                Ok(())
            })?;
        }
        modules.needs = needs(files, &join(&folder, b"modules.dep"))?;
        Ok(modules)
    }

    /// A setting of the kernel: `y`, `m`, `n`; `None` where the settings are not there.
    pub(super) fn setting(&self, name: &str) -> Option<char> {
        let settings = self.settings.as_ref()?;
        let line = |line: &[u8]| line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?.first().map(|byte| char::from(*byte));
        Some(settings.split(|byte| *byte == b'\n').find_map(line).unwrap_or('n'))
    }

    /// Where the driver is that is the module `name` and the kernel's setting `setting`.
    pub(super) fn driver(&self, name: &str, setting: &str) -> Driver {
        if self.is_builtin(name) || self.setting(setting) == Some('y') {
            return Driver::BuiltIn;
        }
        if self.modules.contains_key(name) {
            return Driver::Module;
        }
        match self.setting(setting) {
            Some('m') if self.modules.is_empty() => Driver::Module,
            Some(_) => Driver::Absent,
            None if self.has_builtin_list || !self.modules.is_empty() => Driver::Absent,
            None => Driver::Unknown,
        }
    }

    fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// A module and all that it needs and is not built in.
    pub(super) fn with_needs(&self, name: &str) -> Vec<String> {
        let needs = self.needs.get(name).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(name.to_owned()).chain(needs.iter().filter(|name| !self.is_builtin(name)).cloned()).collect()
    }

    /// The file of some module, the first by name, for a look at its header.
    pub(super) fn any(&self) -> Option<NodeId> {
        ["ena", "nvme", "ext4"].iter().find_map(|name| self.modules.get(*name)).or_else(|| self.modules.values().next()).copied()
    }
}

/// modules.dep(5): `PATH: PATH …`, all that a module needs, directly or not.
fn needs(files: &Files<'_>, path: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut needs = BTreeMap::new();
    let Some(file) = files.file(path).filter(|file| file.data.length <= DEP_MAX_BYTES) else { return Ok(needs) };
    for line in files.read_prefix(&file, DEP_MAX_BYTES)?.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        // Only a few are asked for, and all others have long lines.
        let Some(name) = module_name(&line[..colon]).filter(|name| super::drivers::ASKED_FOR.contains(&name.as_str())) else { continue };
        needs.insert(name, line[colon + 1..].split(u8::is_ascii_whitespace).filter_map(module_name).collect());
    }
    Ok(needs)
}

/// The versions that have modules.
pub(super) fn versions<'a>(files: &Files<'a>) -> Vec<&'a [u8]> {
    let mut versions: Vec<&[u8]> = FOLDERS.iter().flat_map(|folder| files.names(folder)).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}
