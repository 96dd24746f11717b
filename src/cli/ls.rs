//! `rootvol ls` and `rootvol cat`.

use super::args::{CatArgs, LsArgs, check_threads};
use super::exit::Exit;
use super::show;
use super::source::{bytes, open_to_look, report_damage};
use crate::error::{Error, ErrorKind, Result};
use crate::extract;
use crate::listing::{ListOptions, list};
use crate::stream::Cancel;
use std::io::{self, BufWriter, Write as _};

pub(super) fn ls(args: &LsArgs) -> Result<Exit> {
    check_threads(args.threads)?;
    let source = open_to_look(&args.source)?;
    let mut damaged = report_damage(&source, args.source.reading.keep_going)?;
    for error in &source.unreadable {
        show::say(&format!("rootvol: note: {error}"));
    }
    let mut options = ListOptions { recursive: args.recursive, hash: args.hash, ..ListOptions::default() };
    options.path = args.path.as_deref().map(bytes).unwrap_or_default();
    options.threads = args.threads.unwrap_or(options.threads);
    let mut out = BufWriter::new(io::stdout().lock());
    let cannot = |error| Error::io("cannot write to standard output", error);
    let listed = list(&source, &options, |entry| {
        if args.json {
            serde_json::to_writer(&mut out, entry).map_err(|error| cannot(error.into()))?;
            out.write_all(b"\n").map_err(cannot)
        } else {
            writeln!(out, "{entry}").map_err(cannot)
        }
    });
    let failed = match listed.and_then(|failed| out.flush().map_err(cannot).map(|()| failed)) {
        Err(error) if is_broken_pipe(&error) => return Ok(Exit::Done),
        listed => listed?,
    };
    for error in &failed {
        if !args.source.reading.keep_going && error.kind() != ErrorKind::Unsupported {
            return Err(Error::new(error.kind(), format!("{error} (--keep-going gives the rest)")));
        }
        show::error(error);
        damaged = true;
    }
    Ok(if damaged { Exit::Partly } else { Exit::Done })
}

/// A reader that has read enough and went away.
fn is_broken_pipe(error: &Error) -> bool {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

pub(super) fn cat(args: &CatArgs) -> Result<Exit> {
    let source = open_to_look(&args.source)?;
    let path = bytes(&args.path);
    let shown = extract::cat(&source, &path, &mut io::stdout().lock(), &Cancel::new());
    match shown {
        Err(error) if is_broken_pipe(&error) => {}
        // What is not there may be what is damaged.
        Err(error) if source.tree.resolve(&path).is_none() && !source.damage.is_empty() => {
            source.damage.iter().for_each(show::error);
            return Err(error);
        }
        shown => drop(shown?),
    }
    Ok(Exit::Done)
}
