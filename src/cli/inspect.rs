//! `rootvol inspect`.

use super::args::InspectArgs;
use super::show;
use crate::error::Result;
use crate::inspect;

pub(super) fn inspect(args: &InspectArgs) -> Result<()> {
    let found = inspect::inspect(&args.image, args.input_format)?;
    if args.json { show::json(&found) } else { show::text(&found.to_string()) }
}
