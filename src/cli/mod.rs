//! The command: one file a subcommand. Only here is anything printed, the environment read, a signal handled.

mod args;
mod build;
mod checksum;
mod exit;
mod inspect;
mod progress;
mod show;
mod signals;

use args::{Cli, Command};
use clap::Parser as _;
use exit::Exit;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with these arguments (the program's name first) and gives its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to standard output and mistakes to standard error; a closed pipe is no error here.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let signals = signals::Signals::install();
    let outcome = match cli.command {
        Command::Build(args) => build::build(&args, &signals),
        Command::Plan(args) => build::plan(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Checksum(args) => checksum::checksum(&args, &signals),
    };
    let exit = match outcome {
        Ok(()) => Exit::Done,
        Err(error) => {
            show::error(&error);
            exit::of(&error, &signals)
        }
    };
    exit.into()
}
