//! The command: one file a subcommand. Only here is anything printed, the environment read, a signal handled.

mod args;
mod build;
mod checksum;
mod convert;
mod diff;
mod exit;
mod extract;
mod inspect;
mod lint;
mod ls;
mod manifest;
mod manifest_ebs;
mod progress;
mod show;
mod signals;
mod source;
mod trace;
mod uefi;
mod verify;

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
    // Commands that compare and judge have an exit code of their own for what they find, and another one for what they cannot do.
    let judges = matches!(cli.command, Command::Diff(_) | Command::Verify(_) | Command::Lint(_));
    let outcome = match cli.command {
        Command::Build(args) => build::build(&args, &signals),
        Command::Plan(args) => build::plan(&args),
        Command::Inspect(args) => inspect::inspect(&args).map(|()| Exit::Done),
        Command::Ls(args) => ls::ls(&args),
        Command::Cat(args) => ls::cat(&args),
        Command::Extract(args) => extract::extract(&args, &signals),
        Command::Diff(args) => diff::diff(&args, &signals),
        Command::Verify(args) => verify::verify(&args, &signals),
        Command::Lint(args) => lint::lint(&args, &signals),
        Command::Convert(args) => convert::convert(&args, &signals).map(|()| Exit::Done),
        Command::BootOrder(args) => trace::boot_order(&args).map(|()| Exit::Done),
        Command::FirstBoot(args) => trace::first_boot(&args).map(|()| Exit::Done),
        Command::UefiData { command } => uefi::run(&command).map(|()| Exit::Done),
        Command::Checksum(args) => checksum::checksum(&args, &signals).map(|()| Exit::Done),
        Command::Manifest(args) => manifest::manifest(&args),
    };
    let exit = outcome.unwrap_or_else(|error| {
        show::error(&error);
        exit::of(&error, &signals, judges)
    });
    exit.into()
}
