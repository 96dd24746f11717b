//! `rootvol verify`.

use super::args::{VerifyArgs, check_threads};
use super::exit::Exit;
use super::progress::Bar;
use super::show;
use super::signals::Signals;
use crate::error::Result;
use crate::source::DiskImage;
use crate::stream::Progress;
use crate::verify::{self, Expected, VerifyOptions};
use std::ops::ControlFlow;

pub(super) fn verify(args: &VerifyArgs, signals: &Signals) -> Result<Exit> {
    check_threads(args.threads)?;
    let expected = match &args.expected {
        Some(path) => Expected::open(path)?,
        None => Expected::default(),
    };
    let image = DiskImage::open(&args.image, &args.input.open_options())?;
    let bar = Bar::new(args.quiet);
    let mut options = VerifyOptions { filesystems: args.fs, ..VerifyOptions::default() };
    options.checksums.threads = args.threads.unwrap_or(options.checksums.threads);
    options.checksums.progress = Box::new(|progress: &Progress| {
        bar.show(progress);
        if signals.received().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let verified = verify::verify(&image, &expected, options);
    bar.clear();
    let verified = verified?;
    match (args.json, args.quiet) {
        (true, _) => show::json(&verified)?,
        (false, false) => show::text(&verified.to_string())?,
        (false, true) => {}
    }
    Ok(if verified.is_clean() { Exit::Done } else { Exit::Found })
}
