//! The layer table of ARCHITECTURE.md, enforced on the sources: imports point down.

#![allow(clippy::unwrap_used, reason = "a test: it may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// A module and the layer it stands in. A module may use modules of lower layers only.
const LAYERS: &[(&str, u32)] = &[
    ("error", 0),
    ("units", 0),
    ("guid", 0),
    ("crc", 0),
    ("text", 0),
    ("tree", 1),
    ("layout", 1),
    ("content", 1),
    ("compressed", 1),
    ("report", 1),
    ("fs", 2),
    ("partition", 2),
    ("checksum", 2),
    ("initramfs", 2),
    ("format", 2),
    ("output", 2),
    ("source", 3),
    ("boot", 3),
    ("labels", 3),
    ("clean", 3),
    ("order", 3),
    ("stream", 3),
    ("uefi", 3),
    ("disk", 4),
    ("listing", 4),
    ("manifest", 5),
    ("inspect", 5),
    ("extract", 5),
    ("diff", 5),
    ("verify", 5),
    ("lint", 5),
    ("trace", 5),
    ("build", 6),
    ("recipe", 6),
    ("cli", 6),
    ("main", 6),
    ("lib", 6),
];

/// Modules of one layer that may use each other: the vocabulary of layers 0 and 1, and the command over the recipe.
const TOGETHER: &[u32] = &[0, 1, 6];

fn layer(module: &str) -> u32 {
    LAYERS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("module {module} is not in the layer table")).1
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The code of a file: without comments and without what comes after its `#[cfg(test)] mod tests`.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    shipped.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that `crate::…` paths in `code` begin with, those in `crate::{…}` groups included.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut at_start = true;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_start = true,
                    c if at_start && depth == 0 && !c.is_whitespace() => {
                        used.push(name(&group[at..]));
                        at_start = false;
                    }
                    _ => {}
                }
            }
        } else {
            used.push(name(rest));
        }
    }
    used.retain(|module| LAYERS.iter().any(|(name, _)| name == module));
    used
}

fn all() -> Vec<(PathBuf, Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "only {} sources found", files.len());
    files
        .into_iter()
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let parts: Vec<String> = relative.components().map(|part| part.as_os_str().to_str().unwrap().to_string()).collect();
            let code = code(&path);
            (path, parts, code)
        })
        .collect()
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, parts, code) in all() {
        if parts[0] == "lib" {
            continue;
        }
        let own = layer(&parts[0]);
        for used in used_modules(&code) {
            let allowed = used == parts[0] || layer(&used) < own || (layer(&used) == own && TOGETHER.contains(&own));
            if !allowed {
                wrong.push(format!("{}: uses {used} (layer {}) from layer {own}", path.display(), layer(&used)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn filesystems_do_not_know_each_other() {
    for (path, parts, code) in all() {
        if parts[0] == "fs" && parts.len() > 2 {
            let other = if parts[1] == "ext4" { "fs::fat" } else { "fs::ext4" };
            assert!(!code.contains(other), "{} uses {other}", path.display());
        }
    }
}

#[test]
fn planning_has_no_clock_no_threads_no_environment_and_no_input() {
    for (path, parts, code) in all() {
        if matches!(parts[0].as_str(), "fs" | "partition" | "tree" | "layout") {
            for forbidden in ["std::thread", "std::time", "std::env", "std::fs", "std::net", "rayon", "Instant", "SystemTime"] {
                assert!(!code.contains(forbidden), "{} uses {forbidden}: planning is a function of its input alone", path.display());
            }
            // What is there already is read: beside the planners, never by them.
            let reads = parts[0] == "fs" && (parts.len() == 2 || parts.get(2).is_some_and(|part| part == "read"));
            assert!(
                parts[0] == "layout" || reads || !code.contains("crate::content"),
                "{} uses contents: planning places bytes, it does not read them",
                path.display()
            );
        }
    }
}

#[test]
fn only_the_command_prints_reads_the_environment_and_exits() {
    for (path, parts, code) in all() {
        if !matches!(parts[0].as_str(), "cli" | "main") {
            for forbidden in ["println!", "eprintln!", "std::env::", "process::exit", "SystemTime::now"] {
                assert!(!code.contains(forbidden), "{} uses {forbidden}, which is the command's affair", path.display());
            }
        }
    }
}

#[test]
fn threads_belong_to_the_stream_and_to_the_scan_of_directories() {
    for (path, parts, code) in all() {
        if parts[0] != "stream" && parts.get(..2) != Some(&["source".to_string(), "dir".to_string()]) {
            assert!(!code.contains("thread::spawn") && !code.contains("thread::scope"), "{} starts a thread", path.display());
        }
    }
}

#[test]
fn unsafe_code_lives_in_one_folder() {
    for (path, parts, code) in all() {
        if parts.get(..2) != Some(&["checksum".to_string(), "sha256".to_string()]) {
            assert!(!code.contains("allow(unsafe_code)"), "{} allows unsafe code", path.display());
        }
    }
}

#[test]
fn the_table_in_the_architecture_names_every_module() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    for (module, _) in LAYERS {
        assert!(text.contains(&format!("`{module}`")), "ARCHITECTURE.md does not name `{module}`");
    }
}
