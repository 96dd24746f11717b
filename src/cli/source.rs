//! Opening the sources of commands that look into them.

use super::args::{ReadingArgs, SourceArgs};
use super::show;
use crate::error::{Error, Result, escape};
use crate::source::{self, Source};
use std::ffi::OsStr;
use std::path::Path;

/// Where spool files go that nobody named a folder for: on a disk, unlike /tmp on many machines.
pub(super) const SPOOL_FOLDER: &str = "/var/tmp";

/// How sources are read under these arguments.
pub(super) fn options(args: &ReadingArgs) -> source::Options {
    source::Options {
        input_format: args.input.input_format,
        vhd_parents: args.input.vhd_parent.clone(),
        partition: args.partition.clone(),
        keep_going: args.keep_going,
        spool_folder: Some(args.input.spool_dir.clone().unwrap_or_else(|| SPOOL_FOLDER.into())),
        ..source::Options::default()
    }
}

/// Opens a source; `-` is a tar on standard input.
pub(super) fn open(source: &OsStr, options: &source::Options) -> Result<Source> {
    if source == OsStr::new("-") { source::from_reader("standard input", std::io::stdin(), options) } else { source::open_with(Path::new(source), options) }
}

/// Opens a source to be looked at, as far as it can be read: whoever calls this says what is damaged.
pub(super) fn open_to_look(args: &SourceArgs) -> Result<Source> {
    let mut options = options(&args.reading);
    options.keep_going = true;
    let source = open(&args.source, &options)?;
    for note in &source.notes {
        show::say(&format!("rootvol: note: {}", escape(note.as_bytes())));
    }
    Ok(source)
}

/// Says what is damaged, and stops unless it was asked to go on. Gives whether anything is.
pub(super) fn report_damage(source: &Source, keep_going: bool) -> Result<bool> {
    if source.damage.is_empty() {
        return Ok(false);
    }
    if !keep_going {
        let more = source.damage.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Error::corrupt(format!("{}{more} (--keep-going gives the rest)", source.damage[0])));
    }
    source.damage.iter().for_each(show::error);
    Ok(true)
}

/// Paths of the command line are bytes.
pub(super) fn bytes(path: &OsStr) -> Vec<u8> {
    path.as_encoded_bytes().to_vec()
}
