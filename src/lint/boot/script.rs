//! GRUB's configuration as far as it says what is started (GRUB manual, "Shell-like scripting", "menuentry", "blscfg"): menu entries
//! with their commands `linux` and `initrd`, variables that are set once and plainly. Nothing is run: conditions are taken as if
//! each held, and the last assignment of a variable counts, which is right for what `grub-mkconfig` writes.

use std::collections::BTreeMap;

/// Entries that are read; a menu has a few.
const ENTRIES_MAX: usize = 512;
/// Menus within menus.
const DEPTH_MAX: usize = 16;

/// A menu entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MenuEntry {
    /// Title, and identifier where one is given.
    pub(super) names: Vec<String>,
    /// Its numbers, from the outermost menu on: `1>0`.
    pub(super) number: String,
    /// The line of its kernel, from 1.
    pub(super) line: u64,
    pub(super) linux: String,
    pub(super) options: String,
    pub(super) initrds: Vec<String>,
}

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) entries: Vec<MenuEntry>,
    pub(super) variables: BTreeMap<String, String>,
    /// Filesystems that it searches, with their lines.
    pub(super) searched: Vec<(u64, Searched)>,
    /// Whether it shows the entries of the Boot Loader Specification.
    pub(super) blscfg: bool,
}

/// What `search` looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Searched {
    Uuid(String),
    Label(String),
}

/// What a brace closes.
enum Block {
    Submenu { next: usize },
    Entry,
    Other,
}

/// Reads a configuration; `variables` are those of the environment block.
pub(super) fn read(text: &[u8], variables: BTreeMap<String, String>) -> Script {
    let mut script = Script { variables, ..Script::default() };
    // As grub-mkconfig's header sets it, in a condition.
    script.variables.entry("menuentry_id_option".to_owned()).or_insert_with(|| "--id".to_owned());
    let mut blocks = vec![Block::Submenu { next: 0 }];
    let mut numbers: Vec<usize> = Vec::new();
    let mut entry: Option<MenuEntry> = None;
    for (at, line) in String::from_utf8_lossy(text).lines().enumerate() {
        let line_number = crate::units::u64_of(at) + 1;
        let words = words(line, &script.variables);
        let Some(command) = words.first().map(String::as_str) else { continue };
        match command {
            "menuentry" | "submenu" => {
                let number = blocks.iter_mut().rev().find_map(|block| match block {
                    Block::Submenu { next } => {
                        *next += 1;
                        Some(*next - 1)
                    }
                    _ => None,
                });
                numbers.push(number.unwrap_or_default());
                if command == "menuentry" {
                    let number = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(">");
                    entry = Some(MenuEntry { names: names(&words), number, ..MenuEntry::default() });
                    blocks.push(Block::Entry);
                } else {
                    blocks.push(Block::Submenu { next: 0 });
                }
            }
            "}" => match blocks.pop() {
                Some(Block::Entry) => {
                    numbers.pop();
                    let whole = entry.take().filter(|entry| !entry.linux.is_empty() && script.entries.len() < ENTRIES_MAX);
                    script.entries.extend(whole);
                }
                Some(Block::Submenu { .. }) if !blocks.is_empty() => {
                    numbers.pop();
                }
                Some(Block::Submenu { next }) => blocks.push(Block::Submenu { next }),
                Some(Block::Other) | None => {}
            },
            "linux" | "linuxefi" | "linux16" => {
                if let (Some(entry), Some(path)) = (&mut entry, words.get(1)) {
                    (entry.line, entry.linux) = (line_number, path.clone());
                    entry.options = words[2..].join(" ");
                }
            }
            "initrd" | "initrdefi" | "initrd16" => {
                if let Some(entry) = &mut entry {
                    entry.initrds = words[1..].to_vec();
                }
            }
            "search" | "search.fs_uuid" | "search.fs_label" => script.searched.extend(searched(&words).map(|searched| (line_number, searched))),
            "blscfg" => script.blscfg = true,
            "set" | "export" => {
                if let Some((name, value)) = words.get(1).and_then(|word| word.split_once('=')) {
                    script.variables.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => {
                // `function x {` and the like; conditions have no braces.
                if words.last().is_some_and(|word| word == "{") && blocks.len() < DEPTH_MAX {
                    blocks.push(Block::Other);
                }
            }
        }
        if blocks.len() >= DEPTH_MAX {
            break;
        }
    }
    script
}

/// Title and identifier of a menu entry.
fn names(words: &[String]) -> Vec<String> {
    let mut names: Vec<String> = words.get(1).into_iter().cloned().collect();
    let id = words.iter().position(|word| word == "--id");
    names.extend(id.and_then(|at| words.get(at + 1)).cloned());
    names
}

/// What a `search` looks for: its last word, or the value of the option.
fn searched(words: &[String]) -> Option<Searched> {
    let value = words.iter().skip(1).rfind(|word| !word.starts_with("--"))?.clone();
    if value.is_empty() || value.contains('$') {
        return None;
    }
    let has = |long: &str, short: &str| words[0].ends_with(long) || words.iter().any(|word| word == &format!("--{}", long.replace('_', "-")) || word == short);
    if has("fs_uuid", "-u") {
        Some(Searched::Uuid(value))
    } else if has("fs_label", "-l") || words.iter().any(|word| word == "--label") {
        Some(Searched::Label(value))
    } else {
        None
    }
}

/// The entry that `default` means: a number, a title, an identifier, each maybe behind its menus; else the first.
pub(super) fn default_entry(entries: &[MenuEntry], default: &str) -> usize {
    let last = default.rsplit('>').next().unwrap_or_default();
    let by_number = || entries.iter().position(|entry| entry.number == default);
    // A number that means a menu means its first entry.
    let within = || entries.iter().position(|entry| !default.is_empty() && entry.number.starts_with(&format!("{default}>")));
    let by_name = || entries.iter().position(|entry| entry.names.iter().any(|name| name == last));
    by_number().or_else(by_name).or_else(within).unwrap_or(0)
}

/// The words of a line: quotes taken away, variables put in. A variable that is not known stays as `$name`; a word that is nothing
/// else is dropped.
pub(super) fn words(line: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut open, mut any, mut unknown) = (None, false, false);
    let mut rest = line.trim().chars().peekable();
    let mut finish = |word: &mut String, any: &mut bool, unknown: &mut bool| {
        let only_unknown = *unknown && word.starts_with('$') && !word.contains(['=', '/', ':']);
        let taken = std::mem::take(word);
        if *any && !only_unknown {
            words.push(taken);
        }
        (*any, *unknown) = (false, false);
    };
    while let Some(c) = rest.next() {
        match (c, open) {
            ('#', None) if !any => break,
            ('\'' | '"', None) => (open, any) = (Some(c), true),
            (_, Some(quote)) if c == quote => open = None,
            ('\\', None | Some('"')) => {
                word.extend(rest.next());
                any = true;
            }
            ('$', None | Some('"')) => {
                let braces = rest.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '?') {
                    name.push(c);
                }
                if braces {
                    rest.next_if_eq(&'}');
                }
                match variables.get(&name) {
                    // What stands in a variable without quotes is parted at its spaces.
                    Some(value) if open.is_none() => {
                        for (at, part) in value.split(' ').enumerate() {
                            if at > 0 {
                                finish(&mut word, &mut any, &mut unknown);
                            }
                            word.push_str(part);
                            any |= !part.is_empty();
                        }
                    }
                    Some(value) => {
                        word.push_str(value);
                        any = true;
                    }
                    None => {
                        word.push('$');
                        word.push_str(&name);
                        (any, unknown) = (true, true);
                    }
                }
            }
            (' ' | '\t' | ';', None) => finish(&mut word, &mut any, &mut unknown),
            _ => {
                word.push(c);
                any = true;
            }
        }
    }
    finish(&mut word, &mut any, &mut unknown);
    words
}

/// GRUB's environment block (GRUB manual, "The GRUB environment block"): `name=value` lines.
pub(super) fn environment(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.replace("\\\\", "\\"))).collect()
}

/// An entry of the Boot Loader Specification (UAPI group, "Type #1"): its fields, in order.
pub(super) fn bls(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once([' ', '\t'])).map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = r#"
set default="0"
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="1>gnulinux-old"
fi
function recordfail {
  set recordfail=1
}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-ab' {
	search --no-floppy --fs-uuid --set=root 11-22
	linux	/boot/vmlinuz-2 root=UUID=11-22 ro  quiet $vt_handoff
	initrd	/boot/initrd.img-2 /boot/other
}
submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced' {
	menuentry 'two' $menuentry_id_option 'gnulinux-two' {
		linux	/boot/vmlinuz-2 root=UUID=11-22 ${cmd}
	}
	menuentry 'one' $menuentry_id_option 'gnulinux-old' {
		linux	/boot/vmlinuz-1 "a b" root=$unknown
	}
}
menuentry 'UEFI Firmware Settings' { fwsetup
}
"#;

    #[test]
    fn menus_are_read_with_numbers_names_and_variables() {
        let script = read(DEBIAN.as_bytes(), BTreeMap::from([("cmd".to_owned(), "ro x".to_owned())]));
        let shown: Vec<(&str, &str, &str)> = script.entries.iter().map(|entry| (&*entry.number, &*entry.linux, &*entry.options)).collect();
        assert_eq!(
            shown,
            [
                ("0", "/boot/vmlinuz-2", "root=UUID=11-22 ro quiet"),
                ("1>0", "/boot/vmlinuz-2", "root=UUID=11-22 ro x"),
                ("1>1", "/boot/vmlinuz-1", "a b root=$unknown"),
            ]
        );
        assert_eq!(script.entries[0].initrds, ["/boot/initrd.img-2", "/boot/other"]);
        assert_eq!(script.entries[0].line, 13);
        assert_eq!(script.searched, [(12, Searched::Uuid("11-22".to_owned()))]);
        assert_eq!(default_entry(&script.entries, &script.variables["default"]), 2);
        for (default, expected) in [("0", 0), ("1", 1), ("1>1", 2), ("two", 1), ("nothing", 0), ("", 0), ("gnulinux-advanced>gnulinux-old", 2)] {
            assert_eq!(default_entry(&script.entries, default), expected, "{default}");
        }
    }

    #[test]
    fn hostile_menus_end() {
        for text in ["}\n}\n}}\nmenuentry", &"submenu x {\n".repeat(10_000), "menuentry 'x' {\nlinux\n}\n", "search --fs-uuid", "set", "${", "linux '", "\\"] {
            read(text.as_bytes(), BTreeMap::new());
        }
    }

    #[test]
    fn the_environment_block_and_entries_are_read() {
        let environment = environment(b"# GRUB Environment Block\nsaved_entry=abc-6.1\nkernelopts=root=UUID=1 ro\n######");
        assert_eq!(environment["kernelopts"], "root=UUID=1 ro");
        assert_eq!(environment["saved_entry"], "abc-6.1");
        let entry = bls(b"title x y\n# c\nlinux\t/vmlinuz\noptions a\noptions b=c\n");
        assert_eq!(entry[1], ("linux".to_owned(), "/vmlinuz".to_owned()));
        assert_eq!(entry.len(), 4);
    }
}
