//! `rootvol convert`.

use super::args::ConvertArgs;
use super::build::{Destination, source_date_epoch, write};
use super::show::as_usage;
use super::signals::Signals;
use super::source::cancel;
use crate::disk::{Disk, ImageOptions};
use crate::error::Result;
use crate::manifest::Ami;
use crate::source::DiskImage;
use crate::tree::Timestamp;
use std::time::Instant;

pub(super) fn convert(args: &ConvertArgs, signals: &Signals) -> Result<()> {
    let start = Instant::now();
    let to = Destination::new(&args.output, &args.writing)?;
    let format = to.format(args.format, None)?;
    let image = DiskImage::open(&args.input, args.input_format)?;
    let mut options = ImageOptions { size: args.resize, name: args.name.clone(), ..ImageOptions::default() };
    options.epoch = source_date_epoch().map_err(as_usage)?.map(Timestamp::from_seconds);
    options.cancel = cancel(signals);
    let disk = Disk::of_image(&image, &options)?;
    write(&disk, &to, format, &Ami::default(), signals, start)
}
