//! `rootvol inspect`.

use super::args::InspectArgs;
use super::show;
use crate::error::Result;
use crate::inspect;

pub(super) fn inspect(args: &InspectArgs) -> Result<()> {
    let format = args.input_format.as_deref().map(str::parse).transpose().map_err(show::as_usage)?;
    let found = inspect::inspect(&args.image, format)?;
    if args.json { show::json(&found) } else { show::text(&found.to_string()) }
}
