//! The command `rootvol`: parse, call the library, print, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    rootvol::cli::main(std::env::args_os())
}
