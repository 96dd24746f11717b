//! `rootvol inspect`.

use super::args::InspectArgs;
use super::show;
use crate::error::Result;
use crate::inspect;

pub(super) fn inspect(args: &InspectArgs) -> Result<()> {
    let found = inspect::inspect_with(&args.image, &args.input.open_options())?;
    if args.json { show::json(&found) } else { show::text(&found.to_string()) }
}
