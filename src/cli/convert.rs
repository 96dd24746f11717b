//! `rootvol convert`.

use super::args::ConvertArgs;
use super::build::{Destination, source_date_epoch, write};
use super::show::as_usage;
use super::signals::Signals;
use crate::disk::{Disk, ImageOptions};
use crate::error::Result;
use crate::format;
use crate::manifest::AmiChoices;
use crate::source::DiskImage;
use crate::tree::Timestamp;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub(super) fn convert(args: &ConvertArgs, signals: &Signals) -> Result<()> {
    let start = Instant::now();
    let to = Destination::new(&args.output, &args.writing)?;
    let format = to.format(args.format, None)?;
    let image = open(args, to.folder())?;
    let mut options = ImageOptions { size: args.resize, name: args.name.clone(), ..ImageOptions::default() };
    options.epoch = source_date_epoch().map_err(as_usage)?.map(Timestamp::from_seconds);
    options.cancel = signals.cancel();
    let disk = Disk::of_image(&image, &options)?;
    write(&disk, &to, format, &AmiChoices::default(), signals, start)
}

/// Standard input is spooled, as it is read twice: once for its zeros, and to be written.
fn open(args: &ConvertArgs, folder: &Path) -> Result<DiskImage> {
    let mut options = args.input.open_options();
    if args.image.as_os_str() != OsStr::new("-") {
        return DiskImage::open(&args.image, &options);
    }
    options.spool.folder.get_or_insert_with(|| folder.to_path_buf());
    let disk = format::open_reader(&mut io::stdin().lock(), &options).map_err(|error| error.at_path("standard input"))?;
    DiskImage::of(Arc::from(disk), PathBuf::from("standard input"))
}
