//! `rootvol extract`.

use super::args::ExtractArgs;
use super::exit::Exit;
use super::show;
use super::signals::Signals;
use super::source::{bytes, open_to_look, report_damage};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{ExtractOptions, Extracted, Privileges, TarCompression, extract_to_dir, extract_to_tar, write_tar};
use crate::units::Size;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};

pub(super) fn extract(args: &ExtractArgs, signals: &Signals) -> Result<Exit> {
    let keep_going = args.source.reading.keep_going;
    let to_stdout = args.output.as_os_str() == OsStr::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Usage, "a tar is not for a terminal; send standard output to a file or a pipe"));
    }
    let tar = if to_stdout { Some(TarCompression::None) } else { TarCompression::from_name(&args.output) };
    if tar.is_some() && (args.same_owner || args.setuid || args.devices || args.xattrs) {
        return Err(Error::new(ErrorKind::Usage, "--same-owner, --setuid, --devices and --xattrs are for directories; a tar keeps everything"));
    }
    let source = open_to_look(&args.source)?;
    let mut partly = report_damage(&source, keep_going)?;
    partly |= refuse_unreadable(&source.unreadable, keep_going)?;
    if !to_stdout {
        signals.hold();
    }
    let mut options = ExtractOptions { keep_going, force: args.force, cancel: signals.cancel(), ..ExtractOptions::default() };
    options.paths = args.paths.iter().map(|path| bytes(path)).collect();
    options.privileges = if args.all { Privileges::all() } else { Privileges::default() };
    for (asked, privilege) in [
        (args.same_owner, &mut options.privileges.owners),
        (args.setuid, &mut options.privileges.setuid),
        (args.devices, &mut options.privileges.devices),
        (args.xattrs, &mut options.privileges.xattrs),
    ] {
        *privilege |= asked;
    }
    let done = match tar {
        Some(compression) if to_stdout => write_tar(&source, io::stdout().lock(), compression, &options)?,
        Some(compression) => extract_to_tar(&source, &args.output, compression, &options)?,
        None => extract_to_dir(&source, &args.output, &options)?,
    };
    done.failed.iter().for_each(show::error);
    partly |= !done.failed.is_empty();
    match (args.json, args.quiet) {
        (true, _) if !to_stdout => show::json(&done)?,
        (false, false) if !to_stdout => show::text(&text(&done, tar.is_some()))?,
        _ => {}
    }
    Ok(if partly { Exit::Partly } else { Exit::Done })
}

/// What is encrypted would come out as something else.
fn refuse_unreadable(unreadable: &[Error], keep_going: bool) -> Result<bool> {
    match unreadable.first() {
        Some(first) if !keep_going => Err(Error::unsupported(format!("{first} (--keep-going gives the rest)"))),
        Some(_) => {
            unreadable.iter().for_each(show::error);
            Ok(true)
        }
        None => Ok(false),
    }
}

fn text(done: &Extracted, is_tar: bool) -> String {
    let mut text = format!("{} entries, {} of contents\n", done.entries, Size::bytes(done.bytes));
    if is_tar {
        return text;
    }
    for (count, what, option) in [
        (done.owners_left_out, "entries belong to you instead of their owners", " (--same-owner, as root)"),
        (done.setuid_left_out, "files without their setuid or setgid bit", " (--setuid)"),
        (done.devices_left_out, "devices left out", " (--devices, as root)"),
        (done.xattrs_left_out, "entries without their xattrs", " (--xattrs)"),
        (done.attributes_left_out, "entries without their chattr attributes or project; a tar keeps them", ""),
    ] {
        if count > 0 {
            text.push_str(&format!("note: {count} {what}{option}\n"));
        }
    }
    text
}
