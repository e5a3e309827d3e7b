//! `tidegate run`: the proxy, until it is told to stop.

use std::io::Write;

use super::{Exit, SettingsArgs};

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let _ = (args.settings, out, err);
    todo!()
}
